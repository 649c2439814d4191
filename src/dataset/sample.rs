//! One labelled image.

use std::path::PathBuf;

use crate::annotation::Annotation;

use super::manifest::Record;

/// An image's labels and manifest record. Pixels stay on disk: see [`super::read_image`].
#[derive(Debug, Clone)]
pub struct Sample {
    /// Identifier within its data set.
    pub id: u64,
    /// Path of the image, ready to open.
    pub path: PathBuf,
    /// Path as the label file gives it, relative to the image folder.
    pub file_name: String,
    /// Size in pixels, as the label file gives it.
    pub width: u32,
    pub height: u32,
    pub annotations: Vec<Annotation>,
    pub record: Record,
}

impl Sample {
    /// The group that splits follow; an image without one is its own group.
    pub fn group(&self) -> &str {
        if self.record.group.is_empty() {
            &self.file_name
        } else {
            &self.record.group
        }
    }
}
