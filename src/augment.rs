//! Degrades and transforms labelled images as cameras do.
//!
//! A policy draws a plain list of [`Transform`]s from seed and file name; applying the
//! list involves no further choice, so it can be stored and replayed. Whatever the
//! order in the YAML file, stages follow the light: geometry of the scene, light,
//! lens, sensor, processing, compression.

mod blur;
mod compression;
mod geometry;
mod label;
mod photometric;
mod plan;
mod run;
mod sidecar;
mod transform;

use thiserror::Error;

pub use label::{DroppedLabel, LabelChanges};
pub use photometric::{
    NEUTRAL_KELVIN, colour_temperature_gains, linear_from_srgb, srgb_from_linear,
};
pub use plan::{AugmentPlan, AugmentSpec, StepSpec, TransformSpec};
pub use run::{AugmentSummary, augment_dataset};
pub use transform::{Augmented, Transform, apply};

use crate::dataset::DatasetError;

/// Why a data set cannot be augmented.
#[derive(Debug, Error)]
pub enum AugmentError {
    #[error("cannot encode {file_name}: {message}")]
    Encode { file_name: String, message: String },
    #[error(transparent)]
    Dataset(#[from] DatasetError),
}

impl AugmentError {
    /// Whether the user can mend it by other input, rather than a failure on the way.
    pub fn is_mistake(&self) -> bool {
        matches!(self, AugmentError::Dataset(error) if error.is_mistake())
    }
}
