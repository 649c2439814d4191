//! Degrades and transforms labelled images as cameras do.
//!
//! A policy draws a plain list of [`Transform`]s from seed and file name; applying the
//! list involves no further choice, so it can be stored and replayed. Whatever the
//! order in the YAML file, stages follow the light: see [`Stage`].

mod blur;
mod camera;
mod catalogue;
mod collage;
mod compression;
mod corruption;
mod fault;
mod geometry;
mod label;
mod library;
mod optics;
mod photometric;
mod picture;
mod policy;
mod run;
mod sidecar;
mod transfer;
mod transform;
mod variates;
mod weather;
mod wide;

use std::path::PathBuf;

use thiserror::Error;

pub use catalogue::{Stage, Transform, TransformSpec};
pub use compression::{Filter, Subsampling};
pub use corruption::Corruption;
pub use label::{DroppedLabel, LabelChanges};
pub use library::Library;
pub use photometric::{
    NEUTRAL_KELVIN, colour_temperature_gains, linear_from_srgb, srgb_from_linear,
};
pub use policy::{Action, AugmentPlan, AugmentSpec, Drawn, Step, StepSpec, preset_schema};
pub use run::{AugmentSummary, augment_dataset};
pub use sidecar::depth_of;
pub use transform::{Augmented, DepthMap, Subject, apply};

use crate::dataset::DatasetError;

/// Why a data set cannot be augmented.
#[derive(Debug, Error)]
pub enum AugmentError {
    #[error("cannot encode {file_name}: {message}")]
    Encode { file_name: String, message: String },
    #[error("{folder} holds no picture of a training part or without a part; name another reference", folder = folder.display())]
    NoReference { folder: PathBuf },
    #[error(
        "{name} is to lend its picture or labels, but is not in the data set; replay with the data set that was augmented"
    )]
    NoDonor { name: String },
    #[error(transparent)]
    Dataset(#[from] DatasetError),
}

impl AugmentError {
    /// Whether the user can mend it by other input, rather than a failure on the way.
    pub fn is_mistake(&self) -> bool {
        match self {
            AugmentError::Encode { .. } => false,
            AugmentError::NoReference { .. } | AugmentError::NoDonor { .. } => true,
            AugmentError::Dataset(error) => error.is_mistake(),
        }
    }
}
