//! Reads YOLO as Ultralytics lays it out: `data.yaml`, `images/` and `labels/*.txt`
//! with one `class x_center y_center width height` a line, in fractions of the image.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::decode::image_size;
use super::intake::{
    Numbering, box_in_image, fault_of_names, files_below, is_image, keep_utf8_names, name_below,
    read_text, relative,
};
use super::{Dataset, DatasetError, Split, Warnings};
use crate::annotation::{Annotation, BoundingBox, Category};
use crate::spec;

/// Names that the data file has in the wild.
const DATA_FILES: [&str; 4] = ["data.yaml", "data.yml", "dataset.yaml", "dataset.yml"];

/// What is read of `data.yaml`; further keys (`nc`, `download`) are other tools'.
#[derive(Deserialize)]
struct Data {
    path: Option<String>,
    train: Option<Places>,
    val: Option<Places>,
    test: Option<Places>,
    names: Names,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a folder, a .txt file of image paths, or a list of these"
)]
enum Places {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a list of class names, or a map of number to name"
)]
enum Names {
    List(Vec<String>),
    Map(BTreeMap<u32, String>),
}

fn data_file(root: &Path) -> Option<PathBuf> {
    DATA_FILES
        .iter()
        .map(|name| root.join(name))
        .find(|path| path.is_file())
}

/// Whether the folder holds a YOLO data file.
pub(super) fn is_here(root: &Path) -> bool {
    data_file(root).is_some()
}

pub(super) fn open(root: &Path) -> Result<Dataset, DatasetError> {
    let Some(path) = data_file(root) else {
        return Err(DatasetError::Unknown {
            path: root.to_owned(),
            message: "there is no data.yaml".to_owned(),
        });
    };
    let data: Data = spec::parse(&read_text(&path)?, &path, &[])?;
    let names: BTreeMap<u32, String> = match data.names {
        Names::List(names) => (0..).zip(names).collect(),
        Names::Map(names) => names,
    };
    if let Some(fault) = fault_of_names(names.values()) {
        return Err(DatasetError::Format {
            path,
            message: format!("names: {fault}"),
        });
    }
    let mut reader = Reader {
        base: base_folder(root, data.path.as_deref()),
        data_file: path,
        classes: names.keys().copied().collect(),
        numbering: Numbering::new(root)?,
        warnings: Warnings::default(),
        found: BTreeMap::new(),
    };
    let places = [data.train, data.val, data.test].map(|places| match places {
        None => Vec::new(),
        Some(Places::One(place)) => vec![place],
        Some(Places::Many(places)) => places,
    });
    // Trainers require both keys, so equal ones are how a set without splits is written.
    let has_splits = places[0] != places[1];
    for (split, places) in Split::ALL.into_iter().zip(&places) {
        if split == Split::Val && !has_splits {
            continue;
        }
        for place in places.iter().filter(|place| !place.is_empty()) {
            for image in reader.images_of(place)? {
                let has_split = has_splits || split == Split::Test;
                reader.list(image, has_split.then_some(split));
            }
        }
    }
    reader.read()?;
    let samples = reader.numbering.into_samples();
    if samples.is_empty() {
        let place = reader.data_file.display().to_string();
        reader.warnings.add("no images in any split", place);
    }
    let categories = names.into_iter().map(|(class, name)| Category {
        id: class.saturating_add(1),
        name,
        ..Category::default()
    });
    Ok(Dataset {
        root: root.to_owned(),
        categories: categories.collect(),
        samples,
        warnings: reader.warnings.into_vec(),
    })
}

/// The folder that `train`, `val` and `test` are relative to. `path` often names a
/// folder of the machine that the set was made on: then it is the root.
fn base_folder(root: &Path, path: Option<&str>) -> PathBuf {
    path.and_then(relative)
        .map(|path| root.join(path))
        .filter(|folder| folder.is_dir())
        .unwrap_or_else(|| root.to_owned())
}

struct Reader {
    base: PathBuf,
    data_file: PathBuf,
    classes: Vec<u32>,
    numbering: Numbering,
    warnings: Warnings,
    /// Images and the split of each; `None` where several splits list the image.
    found: BTreeMap<PathBuf, Option<Split>>,
}

impl Reader {
    fn error(&self, message: String) -> DatasetError {
        DatasetError::Format {
            path: self.data_file.clone(),
            message,
        }
    }

    /// `place` below the base folder. Exports write `../train/images` for a folder
    /// beside the data file, so leading `..` are dropped where that leads somewhere.
    fn resolve(&self, place: &str) -> Result<PathBuf, DatasetError> {
        let climbs_off: PathBuf = Path::new(place)
            .components()
            .skip_while(|part| matches!(part, Component::ParentDir | Component::CurDir))
            .collect();
        let inside = climbs_off.to_str().and_then(relative).ok_or_else(|| {
            self.error(format!(
                "`{place}` lies outside the data set's folder; give a path below it"
            ))
        })?;
        let path = self.base.join(inside);
        if path.exists() {
            return Ok(path);
        }
        Err(self.error(format!(
            "`{place}` is not there: {} was looked for",
            path.display()
        )))
    }

    fn images_of(&mut self, place: &str) -> Result<Vec<PathBuf>, DatasetError> {
        let path = self.resolve(place)?;
        if path.is_dir() {
            let mut files = files_below(&path)?;
            files.retain(|file| is_image(file));
            self.warn_of_lone_labels(&path, &files)?;
            keep_utf8_names(&mut files, &self.base, &mut self.warnings);
            return Ok(files);
        }
        let lines = read_text(&path)?;
        let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
        lines
            .map(|line| {
                relative(line)
                    .map(|inside| self.base.join(inside))
                    .ok_or_else(|| DatasetError::Format {
                        path: path.clone(),
                        message: format!("image `{line}` lies outside the data set's folder"),
                    })
            })
            .collect()
    }

    /// Warns of label files in the twin of an image folder that have no image there.
    fn warn_of_lone_labels(
        &mut self,
        folder: &Path,
        images: &[PathBuf],
    ) -> Result<(), DatasetError> {
        let twin = label_twin(folder, &self.base);
        if twin == folder || !twin.is_dir() {
            return Ok(());
        }
        let known: BTreeSet<PathBuf> = images
            .iter()
            .map(|image| label_path(image, &self.base))
            .collect();
        for label in files_below(&twin)? {
            if label.extension().is_some_and(|ending| ending == "txt") && !known.contains(&label) {
                let kind = "label file whose image is missing: left out";
                self.warnings.add(kind, label.display().to_string());
            }
        }
        Ok(())
    }

    fn list(&mut self, image: PathBuf, split: Option<Split>) {
        match self.found.get(&image) {
            Some(other) if *other != split => {
                let kind = "image stands in several splits: in none now";
                self.warnings.add(kind, image.display().to_string());
                self.found.insert(image, None);
            }
            _ => {
                self.found.insert(image, split);
            }
        }
    }

    /// Numbers the images that were found, with their labels.
    fn read(&mut self) -> Result<(), DatasetError> {
        let images_folder = self.base.join("images");
        for (order, (path, split)) in (1_u64..).zip(std::mem::take(&mut self.found)) {
            let place = path.display().to_string();
            if !path.is_file() {
                self.warnings.add("image file is missing: left out", place);
                continue;
            }
            let size = match image_size(&path) {
                Ok(size) => size,
                Err(error) => {
                    let kind = "image cannot be read: left out";
                    self.warnings.add(kind, error.to_string());
                    continue;
                }
            };
            let folder = if path.starts_with(&images_folder) {
                &images_folder
            } else {
                &self.base
            };
            let file_name = name_below(&path, folder);
            let annotations = self.labels(&label_path(&path, &self.base), size)?;
            self.numbering
                .add(order, path, file_name, size, split, annotations)?;
        }
        Ok(())
    }

    /// The boxes of a label file; none where there is no file, which is how YOLO marks
    /// an image without objects.
    fn labels(&mut self, path: &Path, size: (u32, u32)) -> Result<Vec<Annotation>, DatasetError> {
        if !path.is_file() {
            return Ok(Vec::new());
        }
        let mut annotations = Vec::new();
        for (index, line) in read_text(path)?.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let fail = |message: String| DatasetError::Format {
                path: path.to_owned(),
                message: format!("line {}: {message}", index + 1),
            };
            let (class, unit_box) = parse_line(line).map_err(fail)?;
            if !self.classes.contains(&class) {
                return Err(fail(format!(
                    "class {class} is not among the names of {}",
                    self.data_file.display()
                )));
            }
            let (width, height) = (f64::from(size.0), f64::from(size.1));
            let bbox = BoundingBox {
                x: unit_box.x * width,
                y: unit_box.y * height,
                width: unit_box.width * width,
                height: unit_box.height * height,
            };
            let place = format!("{} line {}", path.display(), index + 1);
            let Some(bbox) = box_in_image(bbox, size, &place, &mut self.warnings) else {
                continue;
            };
            annotations.push(Annotation {
                id: 0,
                category_id: class.saturating_add(1),
                bbox,
                area: bbox.area(),
                is_crowd: false,
                extra: serde_json::Map::new(),
            });
        }
        Ok(annotations)
    }
}

/// `labels/x.txt` of `images/x.jpg`; beside the image where no folder is `images`.
fn label_path(image: &Path, base: &Path) -> PathBuf {
    label_twin(image, base).with_extension("txt")
}

/// The path with `labels` in place of the last `images`.
fn label_twin(path: &Path, base: &Path) -> PathBuf {
    let below = path.strip_prefix(base).unwrap_or(path);
    let parts: Vec<_> = below.components().collect();
    let swap = parts.iter().rposition(|part| part.as_os_str() == "images");
    let swapped = parts.iter().enumerate().map(|(index, part)| {
        if Some(index) == swap {
            "labels".as_ref()
        } else {
            part.as_os_str()
        }
    });
    base.join(swapped.collect::<PathBuf>())
}

/// Class and box, in fractions of the image, of one line: five numbers, or a class and
/// the corners of a polygon, whose bounding box is taken.
fn parse_line(line: &str) -> Result<(u32, BoundingBox), String> {
    let mut words = line.split_whitespace();
    let class = words.next().unwrap_or_default();
    // Tools that write a table of floating-point numbers write classes as `3.0`.
    let class = class
        .strip_suffix(".0")
        .unwrap_or(class)
        .parse()
        .map_err(|_| format!("`{class}` is not a class number"))?;
    let numbers: Vec<f64> = words
        .map(|word| {
            word.parse()
                .map_err(|_| format!("`{word}` is not a number"))
        })
        .collect::<Result<_, _>>()?;
    match numbers.as_slice() {
        &[x, y, width, height] => Ok((
            class,
            BoundingBox::from([x - width / 2.0, y - height / 2.0, width, height]),
        )),
        corners if corners.len() >= 6 && corners.len().is_multiple_of(2) => {
            let of = |axis: usize| corners.iter().skip(axis).step_by(2).copied();
            let least = |axis| of(axis).fold(f64::INFINITY, f64::min);
            let most = |axis| of(axis).fold(f64::NEG_INFINITY, f64::max);
            Ok((
                class,
                BoundingBox::from_corners(least(0), least(1), most(0), most(1)),
            ))
        }
        other => Err(format!(
            "{} numbers after the class; 4 (x_center y_center width height) or a polygon are allowed",
            other.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(root: &Path, yaml: &str) {
        for (image, label) in [
            (
                "images/train/a.png",
                "0 0.5 0.5 0.2 0.4\n1 0.0 0.0 0.5 0.0 0.5 1.0\n",
            ),
            ("images/val/b.png", "1 0.5 0.5 nan 0.4\n0 5.0 0.5 0.2 0.2\n"),
        ] {
            let image = root.join(image);
            std::fs::create_dir_all(image.parent().unwrap()).unwrap();
            image::RgbImage::new(20, 10).save(&image).unwrap();
            let label_file = label_path(&image, root);
            std::fs::create_dir_all(label_file.parent().unwrap()).unwrap();
            std::fs::write(label_file, label).unwrap();
        }
        std::fs::write(root.join("data.yaml"), yaml).unwrap();
    }

    #[test]
    fn names_as_list_or_map_and_paths_of_exports() {
        for yaml in [
            "train: images/train\nval: images/val\nnc: 2\nnames: [die, coin]\n",
            "path: /content/set\ntrain: ../images/train\nval: [images/val]\nnames:\n  0: die\n  1: coin\n",
        ] {
            let folder = tempfile::tempdir().unwrap();
            make(folder.path(), yaml);
            let dataset = Dataset::open(folder.path()).unwrap();
            assert_eq!(dataset.categories[1].name, "coin");
            let a = &dataset.split(Split::Train).samples[0];
            assert_eq!(
                (a.file_name.as_str(), a.width, a.height),
                ("train/a.png", 20, 10)
            );
            assert_eq!(
                a.annotations[0].bbox,
                BoundingBox::from([8.0, 3.0, 4.0, 4.0])
            );
            assert_eq!(
                a.annotations[1].bbox,
                BoundingBox::from([0.0, 0.0, 10.0, 10.0])
            );
            assert!(dataset.split(Split::Val).samples[0].annotations.is_empty());
            assert_eq!(dataset.warnings.len(), 2, "{:?}", dataset.warnings);
        }
    }

    #[test]
    fn faults_name_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), "train: images/train\nnames: [die]\n");
        let message = Dataset::open(folder.path()).unwrap_err().to_string();
        assert!(message.contains("a.txt: line 2: class 1"), "{message}");
        make(folder.path(), "train: images/gone\nnames: [die, coin]\n");
        let message = Dataset::open(folder.path()).unwrap_err().to_string();
        assert!(message.contains("`images/gone` is not there"), "{message}");
        make(folder.path(), "train: images/train\nnames: 3\n");
        let message = Dataset::open(folder.path()).unwrap_err().to_string();
        assert!(message.contains("list of class names"), "{message}");
        assert_eq!(parse_line("3.0 1 2 3 4").unwrap().0, 3);
        assert!(parse_line("0.5 1 2 3 4").is_err());
        assert!(parse_line("0 1 2 3").is_err() && parse_line("x 1 1 1 1").is_err());
    }
}
