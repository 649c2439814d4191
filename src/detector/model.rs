//! The whole network, its seeded weights and its weights as plain numbers.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use rand_distr::Distribution as _;

use super::backbone::Backbone;
use super::config::TrainPlan;
use super::head::Head;
use super::neck::{Neck, uses_stride_32};
use crate::seed::SeedKey;

/// Standard deviation of the prediction layer's first weights.
const PREDICTION_DEVIATION: f64 = 0.01;

/// Backbone, neck and head.
#[derive(Module, Debug)]
pub(super) struct Model {
    backbone: Backbone,
    neck: Neck,
    head: Head,
}

impl Model {
    /// Makes the network on a device without autodiff. Its weights come from `key`
    /// alone: burn's own generator is shared by all threads of the process, so two
    /// trainings at once would disturb each other.
    pub fn new(plan: &TrainPlan, classes: usize, log_size: [f32; 2], key: SeedKey) -> Self {
        let device = Device::flex();
        let model = Model {
            backbone: Backbone::new(plan.width_multiplier, uses_stride_32(plan), &device),
            neck: Neck::new(plan, &device),
            head: Head::new(plan.head_channels, classes, log_size, &device),
        };
        model.map(&mut Initialise { key, index: 0 })
    }

    /// `[N, H, W, 3]` to `[N * cells, 5 + class logits]`: see [`Head::forward`].
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.head
            .forward(self.neck.forward(self.backbone.forward(images)))
    }

    /// All weights and running statistics in the order of the network. The model must
    /// not be on an autodiff device: see [`Module::valid`].
    pub fn values(&self) -> Vec<Vec<f32>> {
        let mut collect = Collect::default();
        self.visit(&mut collect);
        collect.values
    }

    /// The same network with other values, in the order of [`Model::values`].
    pub fn with_values(self, values: Vec<Vec<f32>>) -> Self {
        self.map(&mut Replace(values.into_iter()))
    }

    /// The parameters that weight decay applies to: matrices and filters, but neither
    /// biases nor normalisation.
    pub fn decayed_parameters(&self) -> Vec<ParamId> {
        let mut collect = Collect::default();
        self.visit(&mut collect);
        collect.matrices
    }
}

/// He's normal distribution with the fan-out for filters, a small one for the
/// prediction; vectors keep what their layers gave them.
struct Initialise {
    key: SeedKey,
    index: u64,
}

impl ModuleMapper for Initialise {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let index = self.index;
        self.index += 1;
        let dims = param.val().dims();
        let deviation = match dims.as_slice() {
            [out, per_group, height, width] => {
                // A depthwise filter sees one channel and feeds one.
                let fan_out = if *per_group == 1 { 1 } else { *out } * height * width;
                (2.0 / fan_out as f64).sqrt()
            }
            [_, _] => PREDICTION_DEVIATION,
            _ => return param,
        };
        let normal = rand_distr::Normal::new(0.0, deviation)
            .expect("a deviation from a positive fan is finite and positive");
        let mut generator = self.key.generator("weights", index);
        let count = dims.iter().product::<usize>();
        let values = (0..count)
            .map(|_| normal.sample(&mut generator) as f32)
            .collect();
        replaced(param, values)
    }
}

fn replaced<const D: usize>(param: Param<Tensor<D>>, values: Vec<f32>) -> Param<Tensor<D>> {
    param.map(|tensor| {
        let data = TensorData::new(values, tensor.dims());
        Tensor::from_data(data, &tensor.device())
    })
}

#[derive(Default)]
struct Collect {
    values: Vec<Vec<f32>>,
    matrices: Vec<ParamId>,
}

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let data = param.val().into_data();
        self.values
            .push(data.try_to_vec().expect("the weights are 32-bit floats"));
        if D > 1 {
            self.matrices.push(param.id);
        }
    }
}

struct Replace(std::vec::IntoIter<Vec<f32>>);

impl ModuleMapper for Replace {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.0.next() {
            Some(values) => replaced(param, values),
            None => param,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use super::*;
    use crate::detector::TrainSpec;
    use crate::detector::assignment::Grid;
    use crate::detector::config::{InputSize, LossSpec, ObjectnessLoss};
    use crate::detector::loss::{BatchTargets, loss};

    /// Gradients in the order of [`Model::values`]; empty for running statistics.
    struct Gradients<'a>(&'a burn::tensor::Gradients, Vec<Vec<f32>>);

    impl ModuleVisitor for Gradients<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = param.val().grad(self.0);
            let values = gradient.map(|gradient| gradient.into_data().try_to_vec().unwrap());
            self.1.push(values.unwrap_or_default());
        }
    }

    /// Along the gradient of each parameter the loss changes as the gradient says: a
    /// mistake anywhere in the network's backward pass would show.
    #[test]
    fn gradients_of_the_whole_network_agree_with_differences() {
        let spec = TrainSpec {
            input: InputSize {
                height: 64,
                width: 96,
            },
            ..TrainSpec::default()
        };
        let plan = spec.into_plan("test".as_ref()).unwrap();
        let key = SeedKey::new(b"gradient", 1);
        let plain = Model::new(&plan, 1, [0.0; 2], key);
        // Away from the first weights, which make some gradients zero.
        let mut generator = key.generator("move", 0);
        let mut values = plain.values();
        for value in values.iter_mut().flatten() {
            let noise: f32 = rand_distr::StandardNormal.sample(&mut generator);
            *value += 0.05 * noise.abs();
        }
        let cells = Grid::of(plan.input, plan.output_stride).cells();
        let images = 4;
        let pixels: Vec<f32> = (0..images * 64 * 96 * 3)
            .map(|_| rand_distr::StandardNormal.sample(&mut generator))
            .collect();
        let mut targets = BatchTargets {
            objectness: vec![0.0; images * cells],
            weight: vec![1.0; images * cells],
            ..BatchTargets::default()
        };
        for cell in (3..images * cells).step_by(5) {
            targets.objectness[cell] = 1.0;
            targets.positives.push(cell as i32);
            let at = cell as f32;
            targets
                .boxes
                .extend([at.sin(), at.cos(), 1.2 + at.sin() / 2.0, 1.0]);
        }
        // The quality focal loss holds its target constant, so differences would not agree.
        let spec = LossSpec {
            objectness: ObjectnessLoss::Focal {
                alpha: 0.5,
                gamma: 2.0,
            },
            ..LossSpec::default()
        };
        let terms = |values: &[Vec<f32>]| {
            let model = Model::new(&plan, 1, [0.0; 2], key).with_values(values.to_vec());
            let model = model.train();
            let data = TensorData::new(pixels.clone(), [images, 64, 96, 3]);
            let images = Tensor::from_data(data, &Device::flex().autodiff());
            let terms = loss(model.forward(images), &targets, &spec);
            (model, terms.total)
        };
        let (model, total) = terms(&values);
        let backward = total.backward();
        let mut gradients = Gradients(&backward, Vec::new());
        model.visit(&mut gradients);
        assert_eq!(gradients.1.len(), values.len());
        let mut errors = Vec::new();
        for (index, gradient) in gradients.1.iter().enumerate() {
            let norm = gradient.iter().map(|g| g * g).sum::<f32>().sqrt();
            if gradient.is_empty() || norm < 0.4 {
                continue;
            }
            let step = 0.02 / norm;
            let moved = |sign: f32| {
                let mut values = values.clone();
                for (value, gradient) in values[index].iter_mut().zip(gradient) {
                    *value += sign * step * gradient / norm;
                }
                terms(&values).1.into_scalar::<f32>()
            };
            let slope = (moved(1.0) - moved(-1.0)) / (2.0 * step);
            let error = (slope / norm - 1.0).abs();
            // Steps cross some of the activations' bounds, most of all in the first layers.
            assert!(error < 0.5, "parameter {index}: {slope} for {norm}");
            errors.push(error);
        }
        errors.sort_by(f32::total_cmp);
        let median = errors[errors.len() / 2];
        assert!(median < 0.03, "median error {median}");
        assert!(errors.len() > 40, "only {} parameters count", errors.len());
    }
}
