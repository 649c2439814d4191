//! Reads COCO: one `annotations.json`, or one file a split in `annotations/`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::manifest::{Origin, Record, read_manifest};
use super::{Dataset, DatasetError, Sample, Split, Warnings};
use crate::annotation::{Annotation, BoundingBox, Category};

#[derive(Deserialize)]
struct File {
    images: Vec<Image>,
    #[serde(default)]
    annotations: Vec<Object>,
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Image {
    id: u64,
    file_name: String,
    width: u32,
    height: u32,
    #[serde(default)]
    group: String,
}

#[derive(Deserialize)]
struct Object {
    id: u64,
    image_id: u64,
    category_id: u32,
    bbox: BoundingBox,
    area: Option<f64>,
    #[serde(default)]
    iscrowd: u8,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

/// The label files of a COCO folder with the split that each holds.
fn label_files(root: &Path) -> Vec<(PathBuf, Option<Split>)> {
    let single = root.join("annotations.json");
    if single.is_file() {
        return vec![(single, None)];
    }
    let Ok(entries) = std::fs::read_dir(root.join("annotations")) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let stem = path.file_stem()?.to_str()?.to_owned();
            let is_json = path
                .extension()
                .is_some_and(|extension| extension == "json");
            let split = stem
                .split(['_', '-'])
                .find_map(|part| part.trim_end_matches(char::is_numeric).parse().ok());
            is_json.then_some((path, split))
        })
        .collect();
    files.sort();
    files
}

pub(super) fn open(root: &Path) -> Result<Dataset, DatasetError> {
    let files = label_files(root);
    if files.is_empty() {
        let message = "there is no annotations.json and no annotations/*.json".to_owned();
        return Err(DatasetError::Unknown {
            path: root.to_owned(),
            message,
        });
    }
    let mut manifest = read_manifest(&root.join("manifest.jsonl"))?;
    let mut warnings = Warnings::default();
    let mut categories: BTreeMap<u32, Category> = BTreeMap::new();
    let mut samples: BTreeMap<u64, Sample> = BTreeMap::new();
    for (path, split) in files {
        let text = std::fs::read(&path).map_err(|source| DatasetError::Read {
            path: path.clone(),
            source,
        })?;
        let format = |message: String| DatasetError::Format {
            path: path.clone(),
            message,
        };
        let file: File =
            serde_json::from_slice(&text).map_err(|error| format(error.to_string()))?;
        for category in file.categories {
            if let Some(other) = categories.insert(category.id, category.clone())
                && other.name != category.name
            {
                return Err(format(format!(
                    "category id {} is both `{}` and `{}`",
                    category.id, other.name, category.name
                )));
            }
        }
        let mut own: HashMap<u64, Sample> = HashMap::new();
        for image in file.images {
            let mut record = manifest
                .remove(&image.id)
                .unwrap_or_else(|| Record::new(image.id, image.file_name.clone(), Origin::Real));
            if record.group.is_empty() {
                record.group = image.group;
            }
            record.split = record.split.or(split);
            let sample = Sample {
                id: image.id,
                path: root.join("images").join(&image.file_name),
                file_name: image.file_name,
                width: image.width,
                height: image.height,
                annotations: Vec::new(),
                record,
            };
            let id = sample.id;
            if samples.contains_key(&id) || own.insert(id, sample).is_some() {
                return Err(format(format!(
                    "image id {id} stands twice; identifiers must be unique"
                )));
            }
        }
        let mut seen = HashSet::new();
        for object in file.annotations {
            let place = format!("{} annotation {}", path.display(), object.id);
            if !seen.insert(object.id) {
                return Err(format(format!(
                    "annotation id {} stands twice; identifiers must be unique",
                    object.id
                )));
            }
            if !categories.contains_key(&object.category_id) {
                return Err(format(format!(
                    "annotation {}: category {} is not among the categories",
                    object.id, object.category_id
                )));
            }
            let Some(sample) = own.get_mut(&object.image_id) else {
                return Err(format(format!(
                    "annotation {}: image {} is not among the images",
                    object.id, object.image_id
                )));
            };
            let Some(bbox) = object
                .bbox
                .clipped_to(f64::from(sample.width), f64::from(sample.height))
            else {
                warnings.add("box empty or outside its image: dropped", place);
                continue;
            };
            sample.annotations.push(Annotation {
                id: object.id,
                category_id: object.category_id,
                area: object.area.unwrap_or_else(|| object.bbox.area()),
                bbox,
                is_crowd: object.iscrowd != 0,
                extra: object.extra,
            });
        }
        samples.extend(own);
    }
    Ok(Dataset {
        root: root.to_owned(),
        categories: categories.into_values().collect(),
        samples: samples.into_values().collect(),
        warnings: warnings.into_vec(),
    })
}
