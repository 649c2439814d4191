//! The bundled detector: a MobileNetV2 backbone, an anchor-free head, its training
//! and use.
//!
//! [`train`] turns a [`TrainPlan`] and a data set into a folder with weights,
//! [`Detector`] loads that folder and predicts. Nothing outside this module sees a
//! tensor.

mod assignment;
mod backbone;
mod batch;
mod checkpoint;
mod compute;
mod config;
mod events;
mod export;
mod head;
mod image_store;
pub mod layer;
mod letterbox;
mod loss;
mod model;
mod neck;
mod onnx;
mod ops;
mod predict;
pub mod pretrained;
mod segmentation;
pub mod throughput;
mod train;
mod view;

use std::path::PathBuf;

use thiserror::Error;

pub use batch::BatchComposition;
pub use checkpoint::LogLine;
pub use compute::ComputeDevice;
pub use config::{
    AssignmentSpec, AugmentationSpec, BoxLoss, InputSize, LossSpec, ObjectnessLoss, OptimizerSpec,
    PredictionSpec, SegmentationSpec, StartSpec, TrainPlan, TrainSpec, class_agnostic,
};
pub use letterbox::Letterbox;
pub use predict::{Detector, ScoredBox};
pub use segmentation::{MaskScore, PathLine, PathScore, SegmentationLine};
pub use train::{TrainOutcome, too_small, train};

use crate::dataset::DatasetError;

/// Why a detector could not be trained, loaded or used.
#[derive(Debug, Error)]
pub enum DetectorError {
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    #[error("the training set {path} has no images; check the split's name", path = root.display())]
    NoImages { root: PathBuf },
    #[error("the training set {path} has {images} images but no boxes to learn from; label some objects or choose another set (with loss.synthetic_weight 0 only real images count)", path = root.display())]
    NoBoxes { root: PathBuf, images: usize },
    #[error(
        "the loss became {loss} at step {step}; lower optimizer.learning_rate or lengthen warmup_steps"
    )]
    Diverged { step: u64, loss: f32 },
    #[error("{path} holds another training (a different plan, data set or seed) or other weights; choose another folder, or remove it if it is not needed", path = path.display())]
    Occupied { path: PathBuf },
    #[error("{path} is not a trained detector: {message}; name a folder that `admix train` finished", path = path.display())]
    Model { path: PathBuf, message: String },
    #[error("cannot compute on {device}: {message}")]
    NoDevice {
        device: &'static str,
        message: String,
    },
    #[error("cannot resume from {path}: {message}; remove that folder to begin the training anew", path = path.display())]
    Checkpoint { path: PathBuf, message: String },
    #[error("cannot begin with the weights {path}: {message}", path = path.display())]
    Weights { path: PathBuf, message: String },
    #[error("cannot write {path}: {message}", path = path.display())]
    Write { path: PathBuf, message: String },
    #[error("the detector's classes [{detector}] do not stand in {path}, which has [{dataset}]; rename the categories or train on them", path = path.display())]
    Categories {
        path: PathBuf,
        detector: String,
        dataset: String,
    },
    #[error("the batch worker stopped before step {step}: {message}")]
    Worker { step: u64, message: String },
}

impl DetectorError {
    /// Whether the user can mend it, as opposed to a failure of the machine.
    pub fn is_users_mistake(&self) -> bool {
        match self {
            DetectorError::Dataset(error) => !matches!(error, DatasetError::Write { .. }),
            DetectorError::Write { .. } | DetectorError::Worker { .. } => false,
            DetectorError::Diverged { .. } => false,
            _ => true,
        }
    }
}
