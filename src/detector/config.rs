//! What a training is told: the spec as YAML writes it and the plan made from it.

mod check;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::compute::ComputeDevice;
use crate::annotation::Category;
use crate::dataset::{Dataset, Split};
use crate::spec::{Interval, Problems, SpecError};

/// The largest stride of the backbone: input sides are multiples of it.
const BACKBONE_STRIDE: usize = 32;

/// Strides that a map may have.
const STRIDES: [usize; 4] = [8, 16, 32, 64];

/// Largest side of an input.
const MAX_SIDE: usize = 4096;

/// A training as YAML writes it. Every key has a default.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainSpec {
    /// The data set of `admix train`; an experiment brings its own.
    pub data: Option<PathBuf>,
    /// The split of `data` to train on.
    pub split: Split,
    /// Where given, all categories become one of this name.
    pub class_agnostic: Option<String>,
    /// Where given, the training begins with these weights in place of random ones.
    pub start: Option<StartSpec>,
    /// Where the training computes.
    pub device: ComputeDevice,
    /// Scale of the backbone's channels, `0.1..=2`; 1 is the published MobileNetV2.
    pub width_multiplier: f64,
    /// Size that images are letterboxed to; multiples of 32, and of 64 where that is a
    /// stride.
    pub input: InputSize,
    /// Where given, a training sees windows of this size instead of whole inputs;
    /// multiples as of the input, which is the most. Small objects then have enough pixels at the
    /// cost of a small input, most of whose pixels would show none.
    pub window: Option<InputSize>,
    /// Pixels a cell of each output map, ascending, of 8, 16, 32 and 64. Several make a
    /// feature pyramid, where each object is learnt by the map that suits its size.
    pub output_strides: Vec<usize>,
    /// Strides of further features that are added: coarser ones doubled in size, and those
    /// of half the finest output stride, which know best where in a cell a small object
    /// lies.
    pub fuse_strides: Vec<usize>,
    /// Channels of neck and head.
    pub head_channels: usize,
    /// Optimiser steps: the budget, which does not depend on the size of the set.
    pub steps: u64,
    pub batch_size: usize,
    pub optimizer: OptimizerSpec,
    /// Steps over which the learning rate rises from 0; it then falls as a cosine.
    pub warmup_steps: u64,
    /// Decay of the running average of the weights that is saved, `0..1`; 0 saves the
    /// last weights. The average forgets its beginning (see `docs/training.md`).
    pub weight_averaging: f64,
    pub loss: LossSpec,
    /// Where given, the network also learns which cells belong to an object.
    pub segmentation: Option<SegmentationSpec>,
    pub assignment: AssignmentSpec,
    pub augmentation: AugmentationSpec,
    pub prediction: PredictionSpec,
    /// Steps between checkpoints that an interrupted training resumes from; 0 for none.
    pub checkpoint_every: u64,
    /// Steps between lines of `train_log.jsonl`.
    pub log_every: u64,
}

impl Default for TrainSpec {
    fn default() -> Self {
        TrainSpec {
            data: None,
            split: Split::Train,
            class_agnostic: None,
            start: None,
            device: ComputeDevice::Cpu,
            width_multiplier: 0.35,
            input: InputSize {
                height: 320,
                width: 320,
            },
            window: None,
            output_strides: vec![8],
            fuse_strides: vec![16, 32],
            head_channels: 64,
            steps: 1000,
            batch_size: 16,
            optimizer: OptimizerSpec::Adamw {
                learning_rate: 1e-2,
                weight_decay: 0.02,
            },
            warmup_steps: 50,
            weight_averaging: 0.99,
            loss: LossSpec::default(),
            segmentation: None,
            assignment: AssignmentSpec::default(),
            augmentation: AugmentationSpec::default(),
            prediction: PredictionSpec::default(),
            checkpoint_every: 200,
            log_every: 10,
        }
    }
}

/// Size of the network's input in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSize {
    pub height: usize,
    pub width: usize,
}

/// Weights to begin with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartSpec {
    /// A folder that `admix train` finished, or a file of torchvision's MobileNetV2
    /// (`.pth` or `.safetensors`; width multiplier 1).
    pub weights: PathBuf,
    /// Learning rate of the backbone as a share of that of neck and head, `0..=1`; 0
    /// freezes it, and its normalisation then uses the statistics that come with it.
    #[serde(default = "full_rate")]
    pub backbone_rate: f64,
}

fn full_rate() -> f64 {
    1.0
}

/// The optimiser and its constants. Weight decay spares normalisation and biases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OptimizerSpec {
    /// Loshchilov and Hutter 2019, decoupled decay.
    Adamw {
        learning_rate: f64,
        weight_decay: f64,
    },
    /// Stochastic gradient descent with momentum.
    Sgd {
        learning_rate: f64,
        momentum: f64,
        weight_decay: f64,
    },
}

impl OptimizerSpec {
    /// The learning rate after warm-up, before the cosine.
    pub fn learning_rate(&self) -> f64 {
        match self {
            OptimizerSpec::Adamw { learning_rate, .. } => *learning_rate,
            OptimizerSpec::Sgd { learning_rate, .. } => *learning_rate,
        }
    }

    /// The same optimiser with its learning rate multiplied by `factor`.
    pub fn scaled(mut self, factor: f64) -> Self {
        match &mut self {
            OptimizerSpec::Adamw { learning_rate, .. }
            | OptimizerSpec::Sgd { learning_rate, .. } => *learning_rate *= factor,
        }
        self
    }
}

/// Which loss says whether a cell holds an object.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ObjectnessLoss {
    /// Lin et al. 2017, equation 5. `alpha` weighs the cells with an object.
    Focal { alpha: f64, gamma: f64 },
    /// Binary cross-entropy; `positive_weight` weighs the cells with an object.
    Bce { positive_weight: f64 },
    /// Li et al. 2020 (generalised focal loss), equation 5: a cell with an object wants
    /// the overlap (IoU) of its box, so that of several boxes of an object the best one
    /// has the highest score.
    Quality { beta: f64 },
}

/// Which overlap measure the box loss is 1 minus of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BoxLoss {
    /// Rezatofighi et al. 2019, algorithm 1.
    Giou,
    /// Zheng et al. 2020, equation 7.
    Diou,
    /// Zheng et al. 2020, equation 10.
    Ciou,
}

/// The terms of the loss and their weights. Each is divided by the number of cells
/// with an object in the batch, those of synthetic images counted by their weight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossSpec {
    pub objectness: ObjectnessLoss,
    pub objectness_weight: f64,
    #[serde(rename = "box")]
    pub box_kind: BoxLoss,
    pub box_weight: f64,
    /// Share of the distance between the cell's raw values and those wanted in the box
    /// loss. Overlap alone teaches little while small boxes do not touch: the
    /// generalised measure then first grows the box.
    pub distance_weight: f64,
    pub class_weight: f64,
    /// Weight of an auxiliary task: to say of the whole image which classes are in it, from
    /// the mean of the backbone's last features. It shapes these and is not used to predict.
    /// 0 leaves it out.
    pub image_class_weight: f64,
    /// Weight of what a synthetic image says of objectness, boxes and classes, where that of a
    /// real one is 1. At 0 synthetic images serve the auxiliary task alone.
    pub synthetic_weight: f64,
}

impl Default for LossSpec {
    fn default() -> Self {
        LossSpec {
            objectness: ObjectnessLoss::Quality { beta: 2.0 },
            objectness_weight: 4.0,
            box_kind: BoxLoss::Giou,
            box_weight: 2.0,
            distance_weight: 0.5,
            class_weight: 1.0,
            image_class_weight: 0.0,
            synthetic_weight: 1.0,
        }
    }
}

/// A second task: which cells belong to an object, of whatever class, from several maps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SegmentationSpec {
    /// Pixels a cell of each path's map, ascending, of 8, 16 and 32. The paths are added at
    /// the finest.
    pub strides: Vec<usize>,
    /// Weight of the loss of their sum.
    pub weight: f64,
    /// Weight of the loss of each path's own map, against the mask at its size; 0 gives a
    /// label to the sum alone.
    pub scale_weight: f64,
}

impl Default for SegmentationSpec {
    fn default() -> Self {
        SegmentationSpec {
            strides: vec![8, 16, 32],
            weight: 1.0,
            scale_weight: 1.0,
        }
    }
}

/// Which cells learn an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AssignmentSpec {
    /// Most cells an object gets: the one nearest its centre and its neighbours.
    pub cells_per_object: usize,
    /// Farthest centre of a neighbour from the object's centre, in cells.
    pub radius_cells: f64,
}

impl Default for AssignmentSpec {
    fn default() -> Self {
        AssignmentSpec {
            cells_per_object: 3,
            radius_cells: 1.0,
        }
    }
}

/// How training images vary. Drawn anew for every image of every batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentationSpec {
    /// Probability of mirroring left and right.
    pub flip_horizontal: f64,
    /// Probability of mirroring top and bottom.
    pub flip_vertical: f64,
    /// Probability of mirroring along the diagonal; with both flips at 0.5 as well, all
    /// quarter turns are seen.
    pub transpose: f64,
    /// Factors on pixel values; 1 changes nothing.
    pub brightness: Interval,
    /// Factors on the distance from mid-grey.
    pub contrast: Interval,
    /// Factors on the distance from the pixel's grey.
    pub saturation: Interval,
    /// Zoom factors about the image's centre.
    pub scale: Interval,
    /// Largest shift, as a share of the input's sides.
    pub translate: f64,
}

impl Default for AugmentationSpec {
    fn default() -> Self {
        let interval =
            |low, high| Interval::new(low, high).expect("the default bounds are ordered");
        AugmentationSpec {
            flip_horizontal: 0.5,
            flip_vertical: 0.0,
            transpose: 0.0,
            brightness: interval(0.7, 1.3),
            contrast: interval(0.7, 1.3),
            saturation: interval(0.6, 1.4),
            scale: interval(0.8, 1.25),
            translate: 0.1,
        }
    }
}

/// How the output map becomes detections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PredictionSpec {
    /// Detections below this score are dropped.
    pub score_threshold: f64,
    /// A box that overlaps a better one of its class by more is dropped.
    pub nms_iou: f64,
    /// Most detections an image.
    pub max_detections: usize,
}

impl Default for PredictionSpec {
    fn default() -> Self {
        PredictionSpec {
            score_threshold: 0.01,
            nms_iou: 0.5,
            max_detections: 100,
        }
    }
}

/// A spec that has been checked as a whole. It says nothing of where the data lies.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrainPlan(#[serde(deserialize_with = "checked")] TrainSpec);

/// Reads a spec and checks it, since a file may have been edited since it was written.
fn checked<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<TrainSpec, D::Error> {
    let spec = TrainSpec::deserialize(deserializer)?;
    let plan = spec.into_plan(Path::new("the plan"));
    plan.map(|plan| plan.0).map_err(serde::de::Error::custom)
}

impl std::ops::Deref for TrainPlan {
    type Target = TrainSpec;

    fn deref(&self) -> &TrainSpec {
        &self.0
    }
}

impl TrainPlan {
    /// Size of what a training sees of an image.
    pub fn training_size(&self) -> InputSize {
        self.window.unwrap_or(self.input)
    }

    /// Strides of the maps that are joined from coarse to fine, ascending: from the finest
    /// output to the coarsest stride in use.
    pub fn levels(&self) -> Vec<usize> {
        let (finest, coarsest) = (self.output_strides[0], self.0.coarsest_stride());
        let within = |stride: &usize| (finest..=coarsest).contains(stride);
        STRIDES.into_iter().filter(within).collect()
    }

    /// Whether the backbone's features of stride 32 are read.
    pub fn reads_stride_32(&self) -> bool {
        let segments = |spec: &SegmentationSpec| spec.strides.contains(&BACKBONE_STRIDE);
        self.levels()
            .last()
            .is_some_and(|coarsest| *coarsest >= BACKBONE_STRIDE)
            || self.segmentation.as_ref().is_some_and(segments)
    }

    /// Whether the features of half the finest output stride are added.
    pub fn fuses_finer(&self) -> bool {
        self.fuse_strides
            .iter()
            .any(|stride| *stride < self.output_strides[0])
    }
}

impl TrainSpec {
    /// Checks the spec. `path` names it in the error.
    ///
    /// # Errors
    /// All problems at once.
    pub fn into_plan(mut self, path: &Path) -> Result<TrainPlan, SpecError> {
        let mut problems = Problems::default();
        self.check(&mut problems);
        self.data = None;
        self.split = Split::Train;
        problems.into_result(path, TrainPlan(self))
    }
}

/// The same data set with all categories joined into one called `name`, identifier 1.
pub fn class_agnostic(dataset: &Dataset, name: &str) -> Dataset {
    let mut merged = dataset.clone();
    merged.categories = vec![Category {
        id: 1,
        name: name.to_owned(),
        ..Category::default()
    }];
    for annotation in merged
        .samples
        .iter_mut()
        .flat_map(|sample| &mut sample.annotations)
    {
        annotation.category_id = 1;
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;

    pub(super) fn plan(yaml: &str) -> Result<TrainPlan, SpecError> {
        let path = Path::new("train.yaml");
        spec::parse::<TrainSpec>(yaml, path, &[])?.into_plan(path)
    }

    #[test]
    fn the_preset_is_the_default() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("presets/train.yaml");
        let preset: TrainSpec = spec::load(&path, &[]).unwrap();
        let json =
            |spec: TrainSpec| serde_json::to_string(&spec.into_plan(&path).unwrap()).unwrap();
        assert_eq!(json(preset), json(TrainSpec::default()));
    }

    #[test]
    fn a_stored_plan_is_checked_when_it_is_read() {
        let stored = serde_json::to_string(&plan("steps: 100").unwrap()).unwrap();
        let read = serde_json::from_str::<TrainPlan>(&stored).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), stored);
        let edited = stored.replace("\"output_strides\":[8]", "\"output_strides\":[]");
        assert_ne!(edited, stored);
        let message = serde_json::from_str::<TrainPlan>(&edited)
            .unwrap_err()
            .to_string();
        assert!(message.contains("output_strides"), "{message}");
    }

    #[test]
    fn enums_are_one_key_maps() {
        let plan = plan(
            "loss: {objectness: {bce: {positive_weight: 2}}, box: ciou}\n\
             optimizer: {sgd: {learning_rate: 0.01, momentum: 0.9, weight_decay: 0.0001}}",
        )
        .unwrap();
        assert_eq!(
            plan.loss.objectness,
            ObjectnessLoss::Bce {
                positive_weight: 2.0
            }
        );
        assert_eq!(plan.loss.box_kind, BoxLoss::Ciou);
        assert_eq!(plan.optimizer.learning_rate(), 0.01);
    }
}
