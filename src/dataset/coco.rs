//! Reads COCO: one `annotations.json`; one file a split in `annotations/`; or, as
//! Roboflow exports it, `SPLIT/_annotations.coco.json` beside the images.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::intake::{box_in_image, fault_of_names, read_text, relative_or_error, size_is_usable};
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
    #[serde(default, deserialize_with = "flag")]
    iscrowd: bool,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

/// Reads `iscrowd`, which tools write as `0`, `1`, `false` or `true`.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Bool(flag) => Ok(flag),
        Value::Number(number) => Ok(number.as_f64() != Some(0.0)),
        Value::Null => Ok(false),
        other => Err(serde::de::Error::custom(format!(
            "iscrowd is {other}; 0 or 1 is allowed"
        ))),
    }
}

/// One label file.
struct LabelFile {
    path: PathBuf,
    split: Option<Split>,
    /// Folders that may hold its images, best first.
    image_folders: Vec<PathBuf>,
    /// What goes before file names, so that splits with folders of their own differ.
    prefix: String,
}

/// The label files of a COCO folder; none where the folder is in another format.
fn label_files(root: &Path) -> Vec<LabelFile> {
    let images = root.join("images");
    let single = root.join("annotations.json");
    if single.is_file() {
        return vec![LabelFile {
            path: single,
            split: None,
            image_folders: vec![images, root.to_owned()],
            prefix: String::new(),
        }];
    }
    let mut files = Vec::new();
    for path in sorted_entries(&root.join("annotations")) {
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else {
            continue;
        };
        if path.extension().is_none_or(|ending| ending != "json") {
            continue;
        }
        let part = stem.split(['_', '-']).find(|part| {
            part.trim_end_matches(char::is_numeric)
                .parse::<Split>()
                .is_ok()
        });
        let split = part.and_then(|part| part.trim_end_matches(char::is_numeric).parse().ok());
        let mut image_folders = vec![images.clone()];
        for name in [part, Some(stem)].into_iter().flatten() {
            image_folders.extend([images.join(name), root.join(name)]);
        }
        image_folders.push(root.to_owned());
        files.push(LabelFile {
            split,
            image_folders,
            prefix: String::new(),
            path,
        });
    }
    if !files.is_empty() {
        return files;
    }
    for folder in sorted_entries(root) {
        let path = folder.join("_annotations.coco.json");
        let name = folder.file_name().and_then(|name| name.to_str());
        if let Some(name) = name.filter(|_| path.is_file()) {
            files.push(LabelFile {
                path,
                split: name.parse().ok(),
                prefix: format!("{name}/"),
                image_folders: vec![root.to_owned()],
            });
        }
    }
    files
}

fn sorted_entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    paths
}

/// Whether the folder holds COCO label files.
pub(super) fn is_here(root: &Path) -> bool {
    !label_files(root).is_empty()
}

pub(super) fn open(root: &Path) -> Result<Dataset, DatasetError> {
    let mut reader = Reader {
        root,
        manifest: read_manifest(&root.join("manifest.jsonl"))?,
        warnings: Warnings::default(),
        categories: BTreeMap::new(),
        samples: BTreeMap::new(),
        names: HashMap::new(),
    };
    for label_file in label_files(root) {
        reader.read(&label_file)?;
    }
    if let Some(fault) = fault_of_names(reader.categories.values().map(|c| &c.name)) {
        return Err(format_error(root, format!("categories: {fault}")));
    }
    Ok(Dataset {
        root: root.to_owned(),
        categories: reader.categories.into_values().collect(),
        samples: reader.samples.into_values().collect(),
        warnings: reader.warnings.into_vec(),
    })
}

struct Reader<'a> {
    root: &'a Path,
    manifest: BTreeMap<u64, Record>,
    warnings: Warnings,
    categories: BTreeMap<u32, Category>,
    samples: BTreeMap<u64, Sample>,
    /// File names that were met, with the label file of each.
    names: HashMap<String, PathBuf>,
}

impl Reader<'_> {
    fn read(&mut self, label_file: &LabelFile) -> Result<(), DatasetError> {
        let path = &label_file.path;
        let file = parse(path)?;
        if file.images.is_empty() {
            self.warnings
                .add("label file without images", path.display().to_string());
        }
        for category in file.categories {
            if let Some(other) = self.categories.insert(category.id, category.clone())
                && other.name != category.name
            {
                return Err(format_error(
                    path,
                    format!(
                        "category id {} is both `{}` and `{}`; identifiers must be unique",
                        category.id, other.name, category.name
                    ),
                ));
            }
        }
        let mut own = self.read_images(label_file, file.images)?;
        self.read_objects(path, file.annotations, &mut own)?;
        for sample in own.into_values().flatten() {
            self.samples.insert(sample.id, sample);
        }
        Ok(())
    }

    /// The images by the identifier in their file; `None` for one that is left out.
    fn read_images(
        &mut self,
        label_file: &LabelFile,
        images: Vec<Image>,
    ) -> Result<BTreeMap<u64, Option<Sample>>, DatasetError> {
        let path = &label_file.path;
        let mut own = BTreeMap::new();
        let mut largest = images.iter().map(|image| image.id).max().unwrap_or(0);
        largest = largest.max(self.samples.keys().next_back().copied().unwrap_or(0));
        for image in images {
            let place = format!(
                "{} image {} ({})",
                path.display(),
                image.id,
                image.file_name
            );
            let file_id = image.id;
            if own.contains_key(&file_id) {
                let message =
                    format!("image id {file_id} stands twice; identifiers must be unique");
                return Err(format_error(path, message));
            }
            let relative = relative_or_error(&image.file_name, path)?;
            let file_name = format!("{}{}", label_file.prefix, image.file_name);
            let relative = Path::new(&label_file.prefix).join(relative);
            let found = label_file
                .image_folders
                .iter()
                .map(|folder| folder.join(&relative))
                .find(|candidate| candidate.is_file());
            let size = (image.width, image.height);
            let usable = size_is_usable(size, &place, &mut self.warnings);
            if found.is_none() {
                self.warnings
                    .add("image file is missing: left out", place.clone());
            }
            let (Some(image_path), true) = (found, usable) else {
                own.insert(file_id, None);
                continue;
            };
            if let Some(other) = self.names.insert(file_name.clone(), path.clone()) {
                let kind = "image file is listed twice: kept twice, check the splits for leakage";
                self.warnings
                    .add(kind, format!("{place} and {}", other.display()));
            }
            let id = if self.samples.contains_key(&file_id) {
                largest += 1;
                let kind = "image id is taken by another split's file: renumbered";
                self.warnings.add(kind, format!("{place} is now {largest}"));
                largest
            } else {
                file_id
            };
            let mut record = self
                .manifest
                .remove(&id)
                .unwrap_or_else(|| Record::new(id, file_name.clone(), Origin::Real));
            if record.file_name != file_name {
                let kind = "manifest.jsonl names another file for the image: label file believed";
                self.warnings.add(kind, place);
                record.file_name.clone_from(&file_name);
            }
            if record.group.is_empty() {
                record.group = image.group;
            }
            record.split = record.split.or(label_file.split);
            let sample = Sample {
                id,
                path: image_path,
                file_name,
                width: image.width,
                height: image.height,
                annotations: Vec::new(),
                record,
            };
            own.insert(file_id, Some(sample));
        }
        if !own.is_empty() && own.values().all(Option::is_none) {
            let message = format!(
                "none of its {} images can be used; {} they were looked for in {}",
                own.len(),
                first_reason(&self.warnings),
                folder_list(self.root, &label_file.image_folders)
            );
            return Err(format_error(path, message));
        }
        Ok(own)
    }

    fn read_objects(
        &mut self,
        path: &Path,
        objects: Vec<Object>,
        own: &mut BTreeMap<u64, Option<Sample>>,
    ) -> Result<(), DatasetError> {
        let mut seen = HashSet::new();
        for object in objects {
            let id = object.id;
            let place = format!("{} annotation {id}", path.display());
            if !seen.insert(id) {
                let message =
                    format!("annotation id {id} stands twice; identifiers must be unique");
                return Err(format_error(path, message));
            }
            if !self.categories.contains_key(&object.category_id) {
                let message = format!(
                    "annotation {id}: category {} is not among the categories; add it or remove the annotation",
                    object.category_id
                );
                return Err(format_error(path, message));
            }
            let Some(sample) = own.get_mut(&object.image_id) else {
                let message = format!(
                    "annotation {id}: image {} is not among the images; add it or remove the annotation",
                    object.image_id
                );
                return Err(format_error(path, message));
            };
            let Some(sample) = sample else {
                continue;
            };
            let size = (sample.width, sample.height);
            let Some(bbox) = box_in_image(object.bbox, size, &place, &mut self.warnings) else {
                continue;
            };
            sample.annotations.push(Annotation {
                id,
                category_id: object.category_id,
                area: object
                    .area
                    .filter(|area| area.is_finite() && *area >= 0.0)
                    .unwrap_or_else(|| bbox.area()),
                bbox,
                is_crowd: object.iscrowd,
                extra: object.extra,
            });
        }
        Ok(())
    }
}

fn first_reason(warnings: &Warnings) -> String {
    warnings
        .0
        .iter()
        .find(|(kind, _)| kind.ends_with("left out"))
        .map(|(kind, (_, examples))| format!("{kind} ({});", examples.join("; ")))
        .unwrap_or_default()
}

fn folder_list(root: &Path, folders: &[PathBuf]) -> String {
    let names: Vec<String> = folders
        .iter()
        .map(|folder| format!("{}/", folder.strip_prefix(root).unwrap_or(folder).display()))
        .collect();
    format!("{} below {}", names.join(", "), root.display())
}

fn format_error(path: &Path, message: String) -> DatasetError {
    DatasetError::Format {
        path: path.to_owned(),
        message,
    }
}

/// Parses a label file; an error names the key's path, line and column.
fn parse(path: &Path) -> Result<File, DatasetError> {
    let text = read_text(path)?;
    if text.trim_start().starts_with('[') {
        let message = "it is a list, as detections are; an object with `images`, \
                       `annotations` and `categories` is expected";
        return Err(format_error(path, message.to_owned()));
    }
    let mut json = serde_json::Deserializer::from_str(&text);
    let file = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let place = match error.path().to_string() {
            place if place == "." => String::new(),
            place => format!("{place}: "),
        };
        format_error(path, format!("{place}{}", error.inner()))
    })?;
    json.end()
        .map_err(|error| format_error(path, error.to_string()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn write_image(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::RgbImage::new(20, 10).save(path).unwrap();
    }

    fn labels(image_id: u64, file_name: &str) -> Value {
        json!({
            "images": [{"id": image_id, "file_name": file_name, "width": 20, "height": 10, "group": "g"}],
            "annotations": [{"id": 1, "image_id": image_id, "category_id": 2,
                "bbox": [1.0, 2.0, 3.0, 4.0], "iscrowd": false, "pose": "left"}],
            "categories": [{"id": 2, "name": "die"}],
        })
    }

    fn write(path: &Path, labels: &Value) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, labels.to_string()).unwrap();
    }

    #[test]
    fn split_files_with_colliding_identifiers_are_renumbered() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write_image(&root.join("images/a.png"));
        write_image(&root.join("images/b.png"));
        write(&root.join("annotations/train.json"), &labels(1, "a.png"));
        write(
            &root.join("annotations/instances_val2017.json"),
            &labels(1, "b.png"),
        );
        let dataset = Dataset::open(root).unwrap();
        assert_eq!(
            dataset.samples.iter().map(|s| s.id).collect::<Vec<_>>(),
            [1, 2]
        );
        let train = dataset.split(Split::Train);
        assert_eq!(train.samples[0].file_name, "a.png");
        assert_eq!(train.samples[0].group(), "g");
        assert_eq!(train.samples[0].annotations[0].extra["pose"], "left");
        assert_eq!(dataset.split(Split::Val).samples[0].file_name, "b.png");
        assert!(dataset.warnings[0].kind.contains("renumbered"));
    }

    #[test]
    fn a_folder_a_split_keeps_images_of_one_name_apart() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (id, split) in [(0, "train"), (7, "valid")] {
            write_image(&root.join(split).join("a.png"));
            write(
                &root.join(split).join("_annotations.coco.json"),
                &labels(id, "a.png"),
            );
        }
        let dataset = Dataset::open(root).unwrap();
        assert!(dataset.warnings.is_empty(), "{:?}", dataset.warnings);
        assert_eq!(dataset.samples[0].file_name, "train/a.png");
        assert_eq!(dataset.samples[1].record.split, Some(Split::Val));
        assert!(dataset.samples[1].path.is_file());
    }
}
