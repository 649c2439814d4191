//! Weights to begin a training with: a detector trained before, or MobileNetV2 as
//! torchvision publishes it for ImageNet.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, Param};
use burn::store::pytorch_reader::{DType, PytorchReader};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};
use half::{bf16, f16};
use image::RgbImage;
use image::imageops::{self, FilterType};
use safetensors::{Dtype, SafeTensors};

use super::DetectorError;
use super::backbone::{self, Backbone};
use super::checkpoint::{MODEL_FILE, ModelConfig};
use super::config::TrainPlan;
use super::layer::{Activation, ConvBnAct, ConvBnActConfig};
use super::model::{Model, replaced};
use super::view::normalised;

/// Sides in pixels of torchvision's ImageNet preprocessing: shorter side, then centre.
const IMAGENET_SIDES: [u32; 2] = [256, 224];

/// Channels of torchvision's last convolution.
const LAST_CHANNELS: usize = 1280;

/// Shape of its filters.
const LAST_SHAPE: [usize; 4] = [LAST_CHANNELS, 320, 1, 1];

/// Shape and values by name.
type Tensors = HashMap<String, (Vec<usize>, Vec<f32>)>;

/// The tensors of a file.
struct Weights {
    path: PathBuf,
    tensors: Tensors,
    /// Whether the names are torchvision's, not this program's.
    is_torchvision: bool,
    /// That of the detector, where it is one of this program's.
    plan: Option<TrainPlan>,
}

impl Weights {
    /// Reads a folder that `admix train` finished, or a `.safetensors` or PyTorch file
    /// with its names or torchvision's.
    fn read(path: &Path) -> Result<Self, DetectorError> {
        let path = weights_file(path);
        let tensors = if path.extension().is_some_and(|end| end == "safetensors") {
            let bytes = std::fs::read(&path).map_err(|error| unusable(&path, error))?;
            from_safetensors(&bytes)
        } else {
            from_pytorch(&path)
        };
        let tensors = tensors.map_err(|message| unusable(&path, message))?;
        let has = |name: &str| tensors.contains_key(name);
        let is_torchvision = has("features.0.0.weight");
        if !is_torchvision && !has("backbone.stem.weight") {
            let message = "it has neither torchvision's names of a MobileNetV2 \
                           (features.0.0.weight) nor those of a detector of this program";
            return Err(unusable(&path, message));
        }
        let last = tensors.get("features.18.0.weight");
        let is_mobilenet_v2 = last.is_some_and(|(shape, _)| *shape == LAST_SHAPE);
        if is_torchvision && !is_mobilenet_v2 {
            let message = format!(
                "it is another network than torchvision's MobileNetV2, whose \
                 features.18.0.weight has shape {LAST_SHAPE:?}"
            );
            return Err(unusable(&path, message));
        }
        let plan = if path.ends_with(MODEL_FILE) {
            let folder = path.parent().unwrap_or(Path::new("."));
            ModelConfig::read(folder)?.map(|config| config.plan)
        } else {
            None
        };
        Ok(Weights {
            path,
            tensors,
            is_torchvision,
            plan,
        })
    }

    /// The tensor for a parameter of this program's network, by its path there.
    fn tensor(&self, path: &str) -> Option<&(Vec<usize>, Vec<f32>)> {
        if self.is_torchvision {
            self.tensors.get(&torchvision_name(path)?)
        } else {
            self.tensors.get(path)
        }
    }

    /// Renames what the network has once a stride to the places that these have in `plan`, and
    /// leaves the rest of it out.
    fn order_by_stride(&mut self, plan: &TrainPlan) {
        let Some(own) = &self.plan else {
            return;
        };
        let lists = [
            (
                "heads.",
                own.output_strides.clone(),
                plan.output_strides.clone(),
            ),
            ("neck.laterals.", own.levels(), plan.levels()),
        ];
        let place = |name: &str| -> Option<String> {
            let list = lists.iter().find(|(prefix, ..)| name.starts_with(prefix));
            let Some((prefix, own, wanted)) = list else {
                return Some(name.to_owned());
            };
            let (index, rest) = name.strip_prefix(prefix)?.split_once('.')?;
            let stride = own.get(index.parse::<usize>().ok()?)?;
            let index = wanted.iter().position(|other| other == stride)?;
            Some(format!("{prefix}{index}.{rest}"))
        };
        let tensors = std::mem::take(&mut self.tensors).into_iter();
        let placed = tensors.filter_map(|(name, tensor)| Some((place(&name)?, tensor)));
        self.tensors = placed.collect();
    }

    fn error(&self, message: String) -> DetectorError {
        unusable(&self.path, message)
    }

    /// `module` with the file's values wherever a name and a shape fit. `prefix` stands
    /// before the paths in the module.
    fn assign<M: Module>(&self, module: M, prefix: &str) -> (M, Vec<Misfit>) {
        let mut assign = Assign {
            weights: self,
            path: vec![prefix.to_owned()],
            misfits: Vec::new(),
        };
        let module = module.map(&mut assign);
        (module, assign.misfits)
    }
}

fn from_safetensors(bytes: &[u8]) -> Result<Tensors, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let mut tensors = HashMap::new();
    for (name, view) in file.tensors() {
        let bytes = view.data();
        let values = match view.dtype() {
            Dtype::F64 => floats(bytes, |word| f64::from_le_bytes(word) as f32),
            Dtype::F32 => floats(bytes, f32::from_le_bytes),
            Dtype::F16 => floats(bytes, |word| f16::from_le_bytes(word).to_f32()),
            Dtype::BF16 => floats(bytes, |word| bf16::from_le_bytes(word).to_f32()),
            // Counters, which nothing here reads.
            _ => continue,
        };
        tensors.insert(name, (view.shape().to_vec(), values));
    }
    Ok(tensors)
}

fn from_pytorch(path: &Path) -> Result<Tensors, String> {
    let mut reader = PytorchReader::new(path).map_err(|error| error.to_string())?;
    let nested = "state_dict";
    let prefix = format!("{nested}.");
    if reader.keys().iter().any(|key| key.starts_with(&prefix)) {
        reader =
            PytorchReader::with_top_level_key(path, nested).map_err(|error| error.to_string())?;
    }
    let mut tensors = HashMap::new();
    for (name, tensor) in reader.into_tensors() {
        let kind = tensor.dtype();
        if !matches!(kind, DType::F64 | DType::F32 | DType::F16 | DType::BF16) {
            continue;
        }
        let bytes = tensor.read().map_err(|error| error.to_string())?;
        let values = match kind {
            DType::F64 => floats(&bytes, |word| f64::from_ne_bytes(word) as f32),
            DType::F16 => floats(&bytes, |word| f16::from_ne_bytes(word).to_f32()),
            DType::BF16 => floats(&bytes, |word| bf16::from_ne_bytes(word).to_f32()),
            _ => floats(&bytes, f32::from_ne_bytes),
        };
        tensors.insert(name, (tensor.shape().to_vec(), values));
    }
    Ok(tensors)
}

fn floats<const N: usize>(bytes: &[u8], from: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (numbers, _) = bytes.as_chunks::<N>();
    numbers.iter().map(|bytes| from(*bytes)).collect()
}

/// A parameter that a file has no fitting tensor for.
struct Misfit {
    path: String,
    wanted: Vec<usize>,
    /// The shape in the file, where the name stands there.
    found: Option<Vec<usize>>,
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Misfit {
            path,
            wanted,
            found,
        } = self;
        match found {
            Some(found) => write!(f, "{path} has shape {found:?} there and {wanted:?} here"),
            None => write!(f, "it lacks {path}"),
        }
    }
}

struct Assign<'a> {
    weights: &'a Weights,
    path: Vec<String>,
    misfits: Vec<Misfit>,
}

impl ModuleMapper for Assign<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.join(".").trim_start_matches('.').to_owned();
        let wanted = param.val().dims().to_vec();
        match self.weights.tensor(&path) {
            Some((shape, values)) if *shape == wanted => replaced(param, values.clone()),
            other => {
                self.misfits.push(Misfit {
                    path,
                    wanted,
                    found: other.map(|(shape, _)| shape.clone()),
                });
                param
            }
        }
    }
}

/// Where torchvision keeps a parameter of the backbone, or of the classifier's own layer
/// `last`.
fn torchvision_name(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('.').collect();
    let parameter = *parts.last()?;
    let (is_filter, own) = match parameter {
        "weight" => (true, "weight"),
        "gamma" => (false, "weight"),
        "beta" => (false, "bias"),
        "running_mean" | "running_var" => (false, parameter),
        _ => return None,
    };
    let pair = |place: String| format!("{place}.{}.{own}", if is_filter { 0 } else { 1 });
    match parts[..] {
        ["backbone", "stem", _] => Some(pair("features.0".to_owned())),
        ["last", _] => Some(pair("features.18".to_owned())),
        ["backbone", part, index, layer, _] => {
            let block = 1 + backbone::first_block(part)? + index.parse::<usize>().ok()?;
            // The first block has no expansion.
            let depthwise = usize::from(block > 1);
            Some(match layer {
                "expand" => pair(format!("features.{block}.conv.0")),
                "depthwise" => pair(format!("features.{block}.conv.{depthwise}")),
                "project" => {
                    let place = depthwise + if is_filter { 1 } else { 2 };
                    format!("features.{block}.conv.{place}.{own}")
                }
                _ => return None,
            })
        }
        _ => None,
    }
}

/// What identifies the weights at `path`.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn content(path: &Path) -> Result<String, DetectorError> {
    let path = weights_file(path);
    let bytes = std::fs::read(&path).map_err(|error| unusable(&path, error))?;
    Ok(blake3::hash(&bytes).to_hex().to_string())
}

fn weights_file(path: &Path) -> PathBuf {
    if path.is_dir() {
        path.join(MODEL_FILE)
    } else {
        path.to_owned()
    }
}

fn unusable(path: &Path, error: impl std::fmt::Display) -> DetectorError {
    DetectorError::Weights {
        path: path.to_owned(),
        message: error.to_string(),
    }
}

/// The network with the weights of `path` in its backbone, and in neck and head wherever
/// they have them in the same shape; what there is once a stride begins with that of the same
/// stride. `plan` is the model's.
///
/// # Errors
/// A file that cannot be read, or whose backbone is not this one.
pub(super) fn begin_with(
    model: Model,
    path: &Path,
    plan: &TrainPlan,
) -> Result<Model, DetectorError> {
    let mut weights = Weights::read(path)?;
    weights.order_by_stride(plan);
    let (model, misfits) = weights.assign(model, "");
    let is_backbone = |misfit: &&Misfit| misfit.path.starts_with("backbone.");
    match misfits.iter().find(is_backbone) {
        None => Ok(model),
        Some(misfit) => Err(weights.error(format!(
            "{misfit}; set width_multiplier {}",
            if weights.is_torchvision {
                "to 1.0"
            } else {
                "and the strides as in its training"
            },
        ))),
    }
}

/// Classes of ImageNet in an image by torchvision's MobileNetV2: index and probability of
/// the five most likely. Shows that weights are read as they were meant.
///
/// # Errors
/// A file that cannot be read or is not torchvision's MobileNetV2.
pub fn classify(weights: &Path, image: &RgbImage) -> Result<Vec<(usize, f32)>, DetectorError> {
    let [shorter, side] = IMAGENET_SIDES;
    let (width, height) = image.dimensions();
    let scale = f64::from(shorter) / f64::from(width.min(height).max(1));
    let scaled = |length: u32| ((f64::from(length) * scale) as u32).max(shorter);
    let (width, height) = (scaled(width), scaled(height));
    let resized = imageops::resize(image, width, height, FilterType::Triangle);
    let (x, y) = ((width - side) / 2, (height - side) / 2);
    let centre = imageops::crop_imm(&resized, x, y, side, side).to_image();
    let logits = imagenet_logits(weights, &centre)?;
    let count = logits.len();
    let logits = Tensor::<1>::from_data(TensorData::new(logits, [count]), &Device::flex());
    let probabilities: Vec<f32> = softmax(logits, 0)
        .into_data()
        .try_to_vec()
        .expect("the network computes in 32-bit floats");
    let mut ranked: Vec<(usize, f32)> = probabilities.into_iter().enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked.truncate(5);
    Ok(ranked)
}

/// Logits of an image as it is, in torchvision's order of the classes.
fn imagenet_logits(path: &Path, image: &RgbImage) -> Result<Vec<f32>, DetectorError> {
    let weights = Weights::read(path)?;
    let device = Device::flex();
    let (backbone, mut misfits) = weights.assign(Backbone::new(1.0, true, &device), "backbone");
    let [_, _, channels] = Backbone::channels(1.0);
    let last = ConvBnActConfig::dense(channels, LAST_CHANNELS, 1, Activation::Relu6);
    let (last, more): (ConvBnAct, _) = weights.assign(last.init(&device), "last");
    misfits.extend(more);
    if let Some(misfit) = misfits.first() {
        return Err(weights.error(misfit.to_string()));
    }
    let classifier = |name: &str| {
        let name = format!("classifier.1.{name}");
        let tensor = weights.tensors.get(&name);
        tensor.ok_or_else(|| weights.error(format!("it lacks {name}")))
    };
    let ((shape, weight), (bias_shape, bias)) = (classifier("weight")?, classifier("bias")?);
    let &[classes, LAST_CHANNELS] = shape.as_slice() else {
        return Err(weights.error(format!("classifier.1.weight has shape {shape:?}")));
    };
    if *bias_shape != [classes] {
        return Err(weights.error(format!(
            "classifier.1.bias has shape {bias_shape:?} for {classes} classes"
        )));
    }
    let (width, height) = (image.width() as usize, image.height() as usize);
    let pixels: Vec<f32> = image
        .pixels()
        .flat_map(|pixel| normalised(pixel.0.map(f32::from)))
        .collect();
    let data = TensorData::new(pixels, [1, height, width, 3]);
    let mut features = backbone.forward(Tensor::from_data(data, &device));
    let coarsest = features.pop();
    let features = last.forward(coarsest.expect("the backbone gives two features or three"));
    let [_, rows, columns, channels] = features.dims();
    let pooled = features.reshape([rows * columns, channels]).mean_dim(0);
    let data = TensorData::new(weight.clone(), [classes, LAST_CHANNELS]);
    let weight = Tensor::<2>::from_data(data, &device);
    let bias = Tensor::<1>::from_data(TensorData::new(bias.clone(), [classes]), &device);
    let logits = pooled.matmul(weight.transpose()) + bias.unsqueeze_dim::<2>(0);
    let logits = logits.into_data().try_to_vec();
    Ok(logits.expect("the network computes in 32-bit floats"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detector::{InputSize, TrainSpec};
    use crate::seed::SeedKey;

    fn model(width_multiplier: f64, classes: usize, seed: u64) -> (TrainPlan, Model) {
        let spec = TrainSpec {
            width_multiplier,
            input: InputSize {
                height: 32,
                width: 32,
            },
            ..TrainSpec::default()
        };
        let plan = spec.into_plan("test".as_ref()).unwrap();
        let model = Model::unsized_for(&plan, classes, SeedKey::new(b"test", seed));
        (plan, model)
    }

    #[test]
    fn torchvisions_names_of_all_blocks() {
        for (path, wanted) in [
            ("backbone.stem.weight", "features.0.0.weight"),
            ("backbone.stem.running_var", "features.0.1.running_var"),
            (
                "backbone.to_stride_8.0.depthwise.weight",
                "features.1.conv.0.0.weight",
            ),
            (
                "backbone.to_stride_8.0.project.weight",
                "features.1.conv.1.weight",
            ),
            (
                "backbone.to_stride_8.0.project.beta",
                "features.1.conv.2.bias",
            ),
            (
                "backbone.to_stride_8.1.expand.gamma",
                "features.2.conv.0.1.weight",
            ),
            (
                "backbone.to_stride_16.0.depthwise.weight",
                "features.7.conv.1.0.weight",
            ),
            (
                "backbone.to_stride_32.3.project.running_mean",
                "features.17.conv.3.running_mean",
            ),
        ] {
            assert_eq!(torchvision_name(path).as_deref(), Some(wanted));
        }
        assert_eq!(torchvision_name("neck.from_stride_8.weight"), None);
    }

    #[test]
    fn a_detector_begins_with_another_and_keeps_its_own_classes() {
        let folder = tempfile::tempdir().unwrap();
        let (_, earlier) = model(0.2, 3, 1);
        super::super::checkpoint::save_weights(folder.path(), &earlier).unwrap();
        let (plan, fresh) = model(0.2, 5, 2);
        let own = fresh.values();
        let begun = begin_with(fresh, folder.path(), &plan).unwrap().values();
        let earlier = earlier.values();
        let prediction = own.len() - 2;
        assert_eq!(begun[..prediction], earlier[..prediction]);
        assert_eq!(begun[prediction..], own[prediction..], "other classes");
    }

    #[test]
    fn weights_that_do_not_fit_are_named_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let (_, earlier) = model(0.2, 1, 1);
        super::super::checkpoint::save_weights(folder.path(), &earlier).unwrap();
        let message = |width_multiplier: f64, path: &Path| {
            let (plan, fresh) = model(width_multiplier, 1, 2);
            match begin_with(fresh, path, &plan) {
                Ok(_) => panic!("weights that do not fit were taken"),
                Err(error) => error.to_string(),
            }
        };
        let other = message(0.5, folder.path());
        assert!(other.contains("backbone.") && other.contains("width_multiplier"));
        let none = message(0.2, Path::new("no/such.pth"));
        assert!(none.contains("no/such.pth"), "{none}");
        let text = folder.path().join("notes.pth");
        std::fs::write(&text, "not weights").unwrap();
        let unread = message(0.2, &text);
        assert!(unread.contains("notes.pth"), "{unread}");
    }

    #[test]
    fn a_head_begins_with_that_of_its_stride() {
        let folder = tempfile::tempdir().unwrap();
        let of = |output_strides: &[usize], seed: u64| {
            let spec = TrainSpec {
                width_multiplier: 0.2,
                output_strides: output_strides.to_vec(),
                fuse_strides: if output_strides.contains(&32) {
                    vec![]
                } else {
                    vec![32]
                },
                ..TrainSpec::default()
            };
            let plan = spec.into_plan("test".as_ref()).unwrap();
            let model = Model::unsized_for(&plan, 1, SeedKey::new(b"test", seed));
            (plan, model)
        };
        let (plan, earlier) = of(&[8, 16], 1);
        super::super::checkpoint::save_weights(folder.path(), &earlier).unwrap();
        let config = ModelConfig {
            run: crate::seed::PlanHash::of(&"test"),
            plan,
            seed: 1,
            classes: vec!["thing".to_owned()],
            images: 1,
            real_images: 1,
            boxes: 1,
        };
        config.write(folder.path()).unwrap();
        // Four layers of five tensors and a linear one; the heads come last.
        const HEAD: usize = 4 * 5 + 2;
        let heads = |model: &Model| -> [Vec<Vec<f32>>; 2] {
            let values = model.values();
            let (rest, second) = values.split_at(values.len() - HEAD);
            [rest[rest.len() - HEAD..].to_vec(), second.to_vec()]
        };
        let (plan, fresh) = of(&[16, 32], 2);
        let own = heads(&fresh);
        let begun = heads(&begin_with(fresh, folder.path(), &plan).unwrap());
        assert_eq!(begun[0], heads(&earlier)[1], "stride 16");
        assert_eq!(begun[1], own[1], "stride 32 is new");
    }

    #[test]
    fn weights_of_half_precision_are_widened() {
        let values = [1.5f32, -0.25, 3.0];
        let half: Vec<u8> = values
            .iter()
            .flat_map(|v| f16::from_f32(*v).to_le_bytes())
            .collect();
        let brain: Vec<u8> = values
            .iter()
            .flat_map(|v| bf16::from_f32(*v).to_le_bytes())
            .collect();
        let double: Vec<u8> = values
            .iter()
            .flat_map(|v| f64::from(*v).to_le_bytes())
            .collect();
        let kinds = [
            (Dtype::F16, &half),
            (Dtype::BF16, &brain),
            (Dtype::F64, &double),
        ];
        for (kind, bytes) in kinds {
            let view = safetensors::tensor::TensorView::new(kind, vec![3], bytes).unwrap();
            let file = safetensors::serialize([("a", view)], None).unwrap();
            assert_eq!(
                from_safetensors(&file).unwrap()["a"],
                (vec![3], values.to_vec())
            );
        }
    }

    #[test]
    fn another_network_of_torchvisions_is_told_from_mobilenet_v2() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("efficientnet.safetensors");
        let bytes = vec![0; 32 * 27 * 4];
        let view = safetensors::tensor::TensorView::new(Dtype::F32, vec![32, 3, 3, 3], &bytes);
        let file = safetensors::serialize([("features.0.0.weight", view.unwrap())], None);
        std::fs::write(&path, file.unwrap()).unwrap();
        let (plan, fresh) = model(1.0, 1, 1);
        let message = match begin_with(fresh, &path, &plan) {
            Ok(_) => panic!("it was taken"),
            Err(error) => error.to_string(),
        };
        assert!(message.contains("another network"), "{message}");
        assert!(!message.contains("width_multiplier"), "{message}");
    }

    /// Logits by torchvision 0.29 for the image below: `benches/imagenet_reference.py`.
    #[test]
    #[ignore = "reads weights/mobilenet_v2-b0353104.pth: `make pretrained` fetches and tests it"]
    fn imagenet_logits_agree_with_torchvision() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/mobilenet_v2-b0353104.pth");
        let image = RgbImage::from_fn(224, 192, |x, y| {
            image::Rgb([x as u8, y as u8, ((x / 16 + y / 16) % 2 * 200) as u8])
        });
        let logits = imagenet_logits(&path, &image).unwrap();
        assert_eq!(logits.len(), 1000);
        for (class, wanted) in REFERENCE {
            let got = logits[class];
            assert!((got - wanted).abs() < 1e-4, "{class}: {got} for {wanted}");
        }
    }

    const REFERENCE: [(usize, f32); 7] = [
        (0, 0.08171),
        (500, -1.67906),
        (599, 5.70068),
        (879, 5.81939),
        (902, 5.40476),
        (904, 5.26233),
        (999, 1.61978),
    ];
}
