//! Scores a detections file against a COCO ground truth file, without images.

use std::collections::HashSet;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Evaluation, EvaluationError, Parameters, Truth, TruthObject, evaluate_truth};
use crate::annotation::{BoundingBox, Detection};

#[derive(Deserialize)]
struct File {
    images: Vec<Image>,
    annotations: Vec<Object>,
    categories: Vec<Class>,
}

#[derive(Deserialize)]
struct Image {
    id: u64,
}

#[derive(Deserialize)]
struct Class {
    id: u64,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Object {
    image_id: u64,
    category_id: u64,
    bbox: BoundingBox,
    area: Option<f64>,
    #[serde(default)]
    iscrowd: u8,
}

/// Scores the detections file `detections` (COCO's results format: a list of
/// `image_id`, `category_id`, `bbox` and `score`) against the COCO file
/// `ground_truth`. Boxes are taken as they are, also outside their image, as
/// pycocotools takes them.
///
/// # Errors
/// A file that cannot be read or parsed (with line and column), an object or
/// detection of an unknown image, a duplicate identifier, a number that is not finite.
pub fn score_files(
    ground_truth: &Path,
    detections: &Path,
    parameters: Parameters,
) -> Result<Evaluation, EvaluationError> {
    let file: File = read(
        ground_truth,
        "a COCO file with `images`, `annotations` and `categories`",
    )?;
    let truth = checked(file).map_err(|message| EvaluationError::Format {
        path: ground_truth.to_owned(),
        message,
    })?;
    let found: Vec<Detection> = read(
        detections,
        "a list of detections, each with `image_id`, `category_id`, `bbox` and `score`",
    )?;
    evaluate_truth(&truth, &found, parameters).map_err(|error| match error {
        EvaluationError::UnknownImage { .. } | EvaluationError::BadDetection { .. } => {
            EvaluationError::Format {
                path: detections.to_owned(),
                message: error.to_string(),
            }
        }
        other => other,
    })
}

fn read<T: DeserializeOwned>(path: &Path, expected: &str) -> Result<T, EvaluationError> {
    let bytes = std::fs::read(path).map_err(|source| EvaluationError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut json = serde_json::Deserializer::from_slice(&bytes);
    let format = |message: String| EvaluationError::Format {
        path: path.to_owned(),
        message,
    };
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let place = error.path().to_string();
        let place = if place == "." {
            String::new()
        } else {
            format!("{place}: ")
        };
        format(format!("{place}{}; expected {expected}", error.inner()))
    })?;
    json.end()
        .map_err(|error| format(format!("{error}; expected {expected} and nothing after it")))?;
    Ok(value)
}

/// The identifiers as a set, or the message that one stands twice.
fn unique(what: &str, ids: impl Iterator<Item = u64>) -> Result<HashSet<u64>, String> {
    let mut seen = HashSet::new();
    for id in ids {
        if !seen.insert(id) {
            return Err(format!(
                "{what} id {id} stands twice; identifiers must be unique"
            ));
        }
    }
    Ok(seen)
}

fn checked(file: File) -> Result<Truth, String> {
    let images = unique("image", file.images.iter().map(|image| image.id))?;
    let classes = unique("category", file.categories.iter().map(|class| class.id))?;
    let mut objects = Vec::with_capacity(file.annotations.len());
    for (index, object) in file.annotations.into_iter().enumerate() {
        let area = object.area.unwrap_or_else(|| object.bbox.area());
        let bbox: [f64; 4] = object.bbox.into();
        if !images.contains(&object.image_id) {
            return Err(format!(
                "annotations[{index}]: image {} is not among the images",
                object.image_id
            ));
        }
        if !classes.contains(&object.category_id) {
            return Err(format!(
                "annotations[{index}]: category {} is not among the categories",
                object.category_id
            ));
        }
        if !bbox.iter().chain([&area]).all(|value| value.is_finite()) {
            return Err(format!(
                "annotations[{index}]: box {bbox:?}, area {area}; numbers must be finite"
            ));
        }
        objects.push(TruthObject {
            image_id: object.image_id,
            category_id: object.category_id,
            bbox: object.bbox,
            area,
            is_crowd: object.iscrowd != 0,
        });
    }
    Ok(Truth {
        images: file.images.into_iter().map(|image| image.id).collect(),
        categories: file
            .categories
            .into_iter()
            .map(|class| (class.id, class.name))
            .collect(),
        objects,
    })
}
