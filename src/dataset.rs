//! Labelled data sets on disk: where renderer, augmentation, mixing and trainer meet.
//!
//! A data set that admix writes is a folder with `images/`, `annotations.json`
//! (COCO) and `manifest.jsonl` (one [`Record`] a line). [`Dataset::open`] also reads
//! COCO folders with one file a split, Pascal VOC and YOLO folders.

mod bop;
mod coco;
mod decode;
mod export;
mod fingerprint;
mod intake;
mod kitti;
mod manifest;
mod pose;
mod sample;
mod sidecar;
mod split;
mod verify;
mod voc;
mod writer;
mod yolo;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use thiserror::Error;

pub use decode::{FileFacts, MAX_SIDE_PX, decode_image, decode_with_facts, image_size, read_image};
pub use export::{Format, export};
pub use fingerprint::{Fingerprint, Likeness, Turn, fine_correlation, shrunk};
pub use intake::pictures_in;
pub use manifest::{Origin, Record, read_manifest};
pub use sample::Sample;
pub use sidecar::{SIDECARS, encode_png, sidecar_path};
pub use split::Split;
pub use verify::Depth;
pub use writer::{Begun, DatasetWriter, ImageFile, NewSample, write_atomically};

use crate::annotation::Category;
use crate::spec::SpecError;

/// A data set in memory: labels and manifest, but no pixels.
#[derive(Debug, Clone)]
pub struct Dataset {
    pub root: PathBuf,
    /// Sorted by identifier; names and identifiers are unique.
    pub categories: Vec<Category>,
    /// Sorted by identifier, which is unique.
    pub samples: Vec<Sample>,
    /// What was wrong with the files and could be left out or mended.
    pub warnings: Vec<Warning>,
}

/// A fault that a reader met one or more times and worked around.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What was wrong and what was done, such as "box outside its image: dropped".
    pub kind: String,
    pub count: usize,
    /// File and record of the first few.
    pub examples: Vec<String>,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(
            f,
            "{} ({}x; {})",
            self.kind,
            self.count,
            self.examples.join("; ")
        )?;
        if self.count > self.examples.len() {
            write!(f, "; ...")
        } else {
            Ok(())
        }
    }
}

/// Counts warnings by kind while a data set is read.
#[derive(Debug, Default)]
pub struct Warnings(BTreeMap<String, (usize, Vec<String>)>);

impl Warnings {
    const EXAMPLES: usize = 3;

    /// Notes one fault. `place` names file and record.
    pub fn add(&mut self, kind: &str, place: impl Into<String>) {
        let (count, examples) = self.0.entry(kind.to_owned()).or_default();
        *count += 1;
        if examples.len() < Self::EXAMPLES {
            examples.push(place.into());
        }
    }

    pub fn into_vec(self) -> Vec<Warning> {
        self.0
            .into_iter()
            .map(|(kind, (count, examples))| Warning {
                kind,
                count,
                examples,
            })
            .collect()
    }
}

/// Why a data set could not be read or written. Each names the file, the record
/// where there is one, and what to do.
#[derive(Debug, Error)]
pub enum DatasetError {
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path}: {message}", path = path.display())]
    Format { path: PathBuf, message: String },
    #[error("{path} lacks what {format} files need: {message}", path = path.display())]
    Lacking {
        path: PathBuf,
        format: &'static str,
        message: String,
    },
    #[error("{path} is not a data set that admix reads: {message}", path = path.display())]
    Unknown { path: PathBuf, message: String },
    #[error("cannot decode {path}: {message}; remove or replace the image", path = path.display())]
    Image { path: PathBuf, message: String },
    #[error("{path} exists and was made by another command or plan; choose another folder or remove it", path = path.display())]
    Occupied { path: PathBuf },
    #[error(transparent)]
    Spec(#[from] SpecError),
}

impl DatasetError {
    /// Whether the user can mend it by other input, rather than a failure on the way.
    pub fn is_mistake(&self) -> bool {
        !matches!(self, DatasetError::Write { .. })
    }
}

impl Dataset {
    /// Reads the data set in a folder, whatever its format.
    ///
    /// # Errors
    /// A folder in no known format, a file that cannot be parsed, a duplicate
    /// identifier, an annotation of an unknown image or category, an image file
    /// outside the folder. What can be left out or mended is in [`Dataset::warnings`].
    pub fn open(root: &Path) -> Result<Self, DatasetError> {
        let unknown = |message: &str| DatasetError::Unknown {
            path: root.to_owned(),
            message: message.to_owned(),
        };
        if !root.exists() {
            return Err(unknown("there is no such folder"));
        }
        if !root.is_dir() {
            return Err(unknown("it is a file; give the folder of the data set"));
        }
        if coco::is_here(root) {
            coco::open(root)
        } else if yolo::is_here(root) {
            yolo::open(root)
        } else if voc::is_here(root) {
            voc::open(root)
        } else {
            Err(unknown(
                "there is no annotations.json, annotations/*.json or \
                 SPLIT/_annotations.coco.json (COCO), no data.yaml (YOLO) and no \
                 Annotations/*.xml (Pascal VOC)",
            ))
        }
    }

    /// The samples of one split; none where the data set has no splits.
    pub fn split(&self, split: Split) -> Dataset {
        self.filtered(|sample| sample.record.split == Some(split))
    }

    /// The samples that `keep` accepts, with the same categories.
    pub fn filtered(&self, keep: impl Fn(&Sample) -> bool) -> Dataset {
        Dataset {
            root: self.root.clone(),
            categories: self.categories.clone(),
            samples: self
                .samples
                .iter()
                .filter(|sample| keep(sample))
                .cloned()
                .collect(),
            warnings: Vec::new(),
        }
    }

    /// The category of an identifier that stands in this data set.
    pub fn category(&self, id: u32) -> Option<&Category> {
        self.categories
            .binary_search_by_key(&id, |category| category.id)
            .ok()
            .map(|index| &self.categories[index])
    }

    /// How many boxes, crowd regions included, there are.
    pub fn box_count(&self) -> usize {
        self.samples
            .iter()
            .map(|sample| sample.annotations.len())
            .sum()
    }
}
