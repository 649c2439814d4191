//! `manifest.jsonl`: where each image came from and what was drawn for it.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{DatasetError, Split};
use crate::seed::PlanHash;

/// Where an image came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A photograph.
    Real,
    /// A render of this program or of another simulator.
    Synthetic,
    /// A photograph or render that was degraded or transformed.
    Augmented,
    /// An image from a generative model.
    Generated,
}

impl Origin {
    /// Whether mixing counts the image as real. An augmented image counts as what it
    /// was made from, which its `source_origin` says.
    pub fn is_real(self) -> bool {
        self == Origin::Real
    }
}

/// One line of the manifest. Fields that do not apply are left out of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The image's identifier in `annotations.json`.
    pub id: u64,
    pub file_name: String,
    pub origin: Origin,
    /// What the image was made from, for an augmented one: that image's origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_origin: Option<Origin>,
    /// What the image was copied or made from: a path or `dataset#id`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// BLAKE3 of the image file, in hexadecimal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hash: String,
    /// The user's seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanHash>,
    /// What was drawn: light, exposure, camera, objects, transforms.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub factors: serde_json::Map<String, serde_json::Value>,
}

impl Record {
    /// A record that says only where the image came from.
    pub fn new(id: u64, file_name: impl Into<String>, origin: Origin) -> Self {
        Record {
            id,
            file_name: file_name.into(),
            origin,
            source_origin: None,
            source: String::new(),
            group: String::new(),
            split: None,
            hash: String::new(),
            seed: None,
            plan: None,
            factors: serde_json::Map::new(),
        }
    }

    /// Whether mixing counts the image as real: a photograph, or one made from it.
    pub fn counts_as_real(&self) -> bool {
        self.source_origin.unwrap_or(self.origin).is_real()
    }
}

/// Reads a manifest, keyed by image identifier; empty where there is no file.
///
/// # Errors
/// A line that is not a record, or an identifier that stands twice.
pub fn read_manifest(path: &Path) -> Result<BTreeMap<u64, Record>, DatasetError> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(source) => {
            return Err(DatasetError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    let mut records = BTreeMap::new();
    for (index, line) in std::io::BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|source| DatasetError::Read {
            path: path.to_owned(),
            source,
        })?;
        if line.trim().is_empty() {
            continue;
        }
        let format = |message: String| DatasetError::Format {
            path: path.to_owned(),
            message: format!("line {}: {message}", index + 1),
        };
        let record: Record = serde_json::from_str(&line).map_err(|error| {
            // The parser counts lines from the start of its text, which is one line.
            let message = error.to_string();
            let place = format!(" at line 1 column {}", error.column());
            format(match message.strip_suffix(&place) {
                Some(message) => format!("column {}: {message}", error.column()),
                None => message,
            })
        })?;
        let id = record.id;
        if records.insert(id, record).is_some() {
            return Err(format(format!(
                "image id {id} stands twice; identifiers must be unique"
            )));
        }
    }
    Ok(records)
}
