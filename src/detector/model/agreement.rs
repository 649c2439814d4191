//! One training step's numbers against those of PyTorch in 64-bit floats, computed by
//! `benches/pytorch_agreement.py`.

use std::collections::HashMap;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;

use super::Model;
use crate::detector::config::InputSize;
use crate::detector::loss::{BatchTargets, loss};
use crate::detector::{ComputeDevice, TrainSpec};
use crate::seed::SeedKey;

/// The script's example at width 0.1.
const SMALL: &str = "tests/pytorch/small.safetensors";

/// Largest relative error of the loss, of each gradient and of each running statistic.
const TOLERANCE: f64 = 1e-3;

/// What the script has written.
struct Reference {
    bytes: Vec<u8>,
    metadata: HashMap<String, String>,
}

impl Reference {
    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|error| {
            panic!(
                "{}: {error}; benches/pytorch_agreement.py writes it",
                path.display()
            )
        });
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().clone().unwrap();
        Reference { bytes, metadata }
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> T {
        let parsed = self.metadata[key].parse();
        parsed.unwrap_or_else(|_| panic!("{key} is {}", self.metadata[key]))
    }

    fn input(&self) -> InputSize {
        let (height, width) = self.metadata["input"].split_once('x').unwrap();
        InputSize {
            height: height.parse().unwrap(),
            width: width.parse().unwrap(),
        }
    }

    fn floats(&self, name: &str) -> Option<Vec<f32>> {
        let tensors = SafeTensors::deserialize(&self.bytes).unwrap();
        let words = tensors.tensor(name).ok()?.data().chunks_exact(4);
        Some(
            words
                .map(|word| f32::from_le_bytes(word.try_into().unwrap()))
                .collect(),
        )
    }

    /// The tensors `before.000`, `before.001`, ...
    fn before(&self) -> Vec<Vec<f32>> {
        (0..)
            .map_while(|index| self.floats(&format!("before.{index:03}")))
            .collect()
    }

    fn targets(&self) -> BatchTargets {
        let objectness = self.floats("objectness").unwrap();
        let positives = self.floats("positives").unwrap();
        BatchTargets {
            weight: vec![1.0; objectness.len()],
            positive_weights: vec![1.0; positives.len()],
            objectness,
            // The bits of 32-bit integers.
            positives: positives.iter().map(|word| word.to_bits() as i32).collect(),
            boxes: self.floats("boxes").unwrap(),
            classes: self.floats("classes").unwrap(),
            image_classes: Vec::new(),
            masks: Vec::new(),
        }
    }

    fn loss(&self) -> Vec<f64> {
        let tensors = SafeTensors::deserialize(&self.bytes).unwrap();
        let words = tensors.tensor("loss").unwrap().data().chunks_exact(8);
        words
            .map(|word| f64::from_le_bytes(word.try_into().unwrap()))
            .collect()
    }
}

/// Gradients in the order of [`Model::values`]; empty for running statistics.
struct Gradients<'a>(&'a burn::tensor::Gradients, Vec<Vec<f32>>);

impl ModuleVisitor for Gradients<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad(self.0);
        let values = gradient.map(|gradient| gradient.into_data().try_to_vec().unwrap());
        self.1.push(values.unwrap_or_default());
    }
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

fn length(values: &[f32]) -> f64 {
    norm(values.iter().map(|value| f64::from(*value)))
}

/// Length of the difference over the length of the wanted values, or over `floor` where
/// that is more.
fn error(got: &[f32], wanted: &[f32], floor: f64) -> f64 {
    assert_eq!(got.len(), wanted.len());
    let pairs = got.iter().zip(wanted);
    norm(pairs.map(|(a, b)| f64::from(*a) - f64::from(*b))) / length(wanted).max(floor)
}

#[test]
fn a_step_agrees_with_pytorch() {
    check(SMALL, ComputeDevice::Cpu);
}

/// On Mesa's software adapter as on a GPU: `make wgpu` builds and runs it.
#[cfg(feature = "wgpu")]
#[test]
fn a_step_on_wgpu_agrees_with_pytorch() {
    check(SMALL, ComputeDevice::Wgpu);
}

#[test]
#[ignore = "needs PyTorch's numbers for the default width: `make agreement` computes them"]
fn a_step_of_the_default_width_agrees_with_pytorch() {
    check(
        "target/pytorch/default_width.safetensors",
        ComputeDevice::Cpu,
    );
}

/// Compares a step with the reference at `path`, from the project's folder.
fn check(path: &str, device: ComputeDevice) {
    let device = device.open().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let reference = Reference::read(&path);
    let input = reference.input();
    let spec = TrainSpec {
        input,
        width_multiplier: reference.number("width_multiplier"),
        head_channels: reference.number("head_channels"),
        output_strides: vec![16],
        fuse_strides: vec![8, 32],
        ..TrainSpec::default()
    };
    let plan = spec.into_plan(&path).unwrap();
    let classes = reference.number("classes");
    let before = reference.before();
    let model = Model::unsized_for(&plan, classes, SeedKey::new(b"agreement", 0));
    let lengths = |values: &[Vec<f32>]| values.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(lengths(&model.values()), lengths(&before));
    let rows = before
        .into_iter()
        .map(|values| Tensor::<1>::from_data(values.as_slice(), &Device::flex()));
    let model = model.with_tensors(rows.collect()).fork(&device).train();
    let shape = [reference.number("images"), input.height, input.width, 3];
    let pixels = TensorData::new(reference.floats("pixels").unwrap(), shape);
    let images = Tensor::<4>::from_data(pixels, &device.autodiff());
    let terms = loss(
        model.forward(images),
        &reference.targets(),
        &TrainSpec::default(),
    );
    let got = [
        &terms.total,
        &terms.objectness,
        &terms.bounding_box,
        &terms.class,
    ];
    for (got, wanted) in got.into_iter().zip(reference.loss()) {
        let got = f64::from(got.clone().into_scalar::<f32>());
        assert!((got / wanted - 1.0).abs() < TOLERANCE, "{got} for {wanted}");
    }
    let backward = terms.total.backward();
    let mut gradients = Gradients(&backward, Vec::new());
    model.visit(&mut gradients);
    let after = model.valid().values();
    let wanted = |kind: &str, index: usize| reference.floats(&format!("{kind}.{index:03}"));
    let all = (0..after.len()).filter_map(|index| wanted("gradient", index));
    let whole = norm(all.map(|gradient| length(&gradient)));
    let mut errors = Vec::new();
    for (index, (gradient, after)) in gradients.1.iter().zip(&after).enumerate() {
        let error = match (wanted("gradient", index), wanted("running", index)) {
            // A gradient that is all but zero is noise in any precision.
            (Some(wanted), None) => error(gradient, &wanted, 1e-4 * whole),
            (None, Some(wanted)) => error(after, &wanted, 1e-4),
            _ => panic!("value {index} is either learnt or a statistic"),
        };
        errors.push(error);
    }
    assert_eq!(errors.len(), after.len());
    let large: Vec<(usize, f64)> = errors
        .into_iter()
        .enumerate()
        .filter(|(_, error)| error.is_nan() || *error >= TOLERANCE)
        .collect();
    assert!(large.is_empty(), "errors of values: {large:.1?}");
}
