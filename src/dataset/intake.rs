//! Checks that the readers of all formats share.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

use super::decode::MAX_SIDE_PX;
use super::{DatasetError, Origin, Record, Sample, Split, Warnings};
use crate::annotation::{Annotation, BoundingBox};

/// How far, in pixels, a box may reach out of its image before that is worth a
/// warning: tools that round corners outwards stay below it.
const OVERHANG_PX: f64 = 1.0;

/// Endings of the image files that are decoded.
pub(super) const IMAGE_ENDINGS: [&str; 7] = ["jpg", "jpeg", "png", "bmp", "tif", "tiff", "webp"];

pub(super) fn is_image(path: &Path) -> bool {
    path.extension()
        .and_then(|ending| ending.to_str())
        .is_some_and(|ending| IMAGE_ENDINGS.contains(&ending.to_ascii_lowercase().as_str()))
}

/// `name` as a path that stays below the folder it is joined to, or `None` where it
/// is absolute, empty or climbs with `..`.
pub(super) fn relative(name: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            _ => return None,
        }
    }
    (path.file_name().is_some()).then_some(path)
}

/// As [`relative`], with an error that names the label file.
pub(super) fn relative_or_error(name: &str, label_file: &Path) -> Result<PathBuf, DatasetError> {
    relative(name).ok_or_else(|| DatasetError::Format {
        path: label_file.to_owned(),
        message: format!(
            "image file `{name}` lies outside the data set's folder; file names must be relative and without `..`"
        ),
    })
}

/// Whether an image of this size is kept. One of no size or beyond what is decoded is
/// left out with a warning.
pub(super) fn size_is_usable(
    (width, height): (u32, u32),
    place: &str,
    warnings: &mut Warnings,
) -> bool {
    if width == 0 || height == 0 {
        warnings.add("image without width or height: left out", place);
        return false;
    }
    if width > MAX_SIDE_PX || height > MAX_SIDE_PX {
        let kind = format!("image larger than {MAX_SIDE_PX} px a side: left out");
        warnings.add(&kind, format!("{place}: {width} x {height}"));
        return false;
    }
    true
}

/// The part of a box inside its image, or `None` where nothing usable is there.
pub(super) fn box_in_image(
    bbox: BoundingBox,
    (width, height): (u32, u32),
    place: &str,
    warnings: &mut Warnings,
) -> Option<BoundingBox> {
    let numbers: [f64; 4] = bbox.into();
    if !numbers.iter().all(|number| number.is_finite()) {
        warnings.add("box with a number that is not finite: dropped", place);
        return None;
    }
    if bbox.width <= 0.0 || bbox.height <= 0.0 {
        warnings.add("box of no or negative size: dropped", place);
        return None;
    }
    let (width, height) = (f64::from(width), f64::from(height));
    let Some(clipped) = bbox.clipped_to(width, height) else {
        warnings.add("box outside its image: dropped", place);
        return None;
    };
    let overhang = [
        -bbox.x,
        -bbox.y,
        bbox.right() - width,
        bbox.bottom() - height,
    ];
    if overhang.iter().any(|&reach| reach > OVERHANG_PX) {
        warnings.add("box reaches out of its image: cut at the edge", place);
    }
    Some(clipped)
}

/// Collects the samples of formats whose files have no identifiers: images are numbered by
/// the manifest where it names them, else in their order, and boxes in theirs.
pub(super) struct Numbering {
    manifest: PathBuf,
    records: HashMap<String, Record>,
    samples: BTreeMap<u64, Sample>,
    boxes: u64,
}

impl Numbering {
    pub(super) fn new(root: &Path) -> Result<Self, DatasetError> {
        let manifest = root.join("manifest.jsonl");
        let records = super::read_manifest(&manifest)?
            .into_values()
            .map(|record| (record.file_name.clone(), record));
        Ok(Numbering {
            records: records.collect(),
            manifest,
            samples: BTreeMap::new(),
            boxes: 0,
        })
    }

    /// Adds image number `order`, counted from 1.
    ///
    /// # Errors
    /// An identifier that is taken, which a manifest of only some of the images leads to.
    pub(super) fn add(
        &mut self,
        order: u64,
        path: PathBuf,
        file_name: String,
        (width, height): (u32, u32),
        split: Option<Split>,
        mut annotations: Vec<Annotation>,
    ) -> Result<(), DatasetError> {
        let record = self.records.remove(&file_name).unwrap_or_else(|| {
            let mut record = Record::new(order, file_name.clone(), Origin::Real);
            record.split = split;
            record
        });
        for annotation in &mut annotations {
            self.boxes += 1;
            annotation.id = self.boxes;
        }
        let sample = Sample {
            id: record.id,
            path,
            file_name,
            width,
            height,
            annotations,
            record,
        };
        match self.samples.insert(sample.id, sample) {
            None => Ok(()),
            Some(other) => Err(DatasetError::Format {
                path: self.manifest.clone(),
                message: format!(
                    "it covers only part of the images: id {} is taken twice; remove it",
                    other.id
                ),
            }),
        }
    }

    pub(super) fn into_samples(self) -> Vec<Sample> {
        self.samples.into_values().collect()
    }
}

/// The files below a folder, sorted, with their path relative to it. Hidden files are
/// left out, and links to folders are not followed.
pub(super) fn files_below(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        let fail = |source| DatasetError::Read {
            path: next.clone(),
            source,
        };
        for entry in std::fs::read_dir(&next).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            if entry.file_type().map_err(fail)?.is_dir() {
                open.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The pictures below a folder, sorted.
///
/// # Errors
/// A folder that cannot be read.
pub fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let mut files = files_below(folder)?;
    files.retain(|file| is_image(file));
    Ok(files)
}

/// Drops the files whose path below `folder` is not UTF-8, with a warning: label files,
/// manifests and results could not name them.
pub(super) fn keep_utf8_names(files: &mut Vec<PathBuf>, folder: &Path, warnings: &mut Warnings) {
    files.retain(|file| {
        let is_utf8 = file.strip_prefix(folder).unwrap_or(file).to_str().is_some();
        if !is_utf8 {
            let kind = "file name is not UTF-8: left out, rename it";
            warnings.add(kind, file.display().to_string());
        }
        is_utf8
    });
}

/// What is wrong with the names of categories: one that is empty or stands twice.
pub(super) fn fault_of_names<'a>(names: impl Iterator<Item = &'a String>) -> Option<String> {
    let mut seen = BTreeSet::new();
    for name in names {
        if name.trim().is_empty() {
            return Some("a class has an empty name; give it one".to_owned());
        }
        if !seen.insert(name) {
            return Some(format!(
                "two classes are named `{name}`; rename or merge them"
            ));
        }
    }
    None
}

/// `path` below `folder`, with forward slashes, as label files write it.
pub(super) fn name_below(path: &Path, folder: &Path) -> String {
    path.strip_prefix(folder)
        .unwrap_or(path)
        .components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect::<Vec<_>>()
        .join("/")
}

/// The text of a label file, without the byte order mark that some editors put first.
pub(super) fn read_text(path: &Path) -> Result<String, DatasetError> {
    let text = std::fs::read_to_string(path).map_err(|source| DatasetError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_below_the_folder_pass() {
        assert_eq!(relative("./a/b.png"), Some(PathBuf::from("a/b.png")));
        for escaping in ["../a.png", "a/../../b.png", "/etc/passwd", "", "."] {
            assert_eq!(relative(escaping), None, "{escaping}");
        }
    }

    #[test]
    fn each_kind_of_bad_box_has_its_warning() {
        let mut warnings = Warnings::default();
        for (numbers, kept) in [
            ([1.0, 1.0, 2.0, 2.0], true),
            ([f64::NAN, 1.0, 2.0, 2.0], false),
            ([1.0, 1.0, -2.0, 2.0], false),
            ([50.0, 1.0, 2.0, 2.0], false),
            ([7.0, 1.0, 20.0, 2.0], true),
        ] {
            let bbox = box_in_image(numbers.into(), (10, 10), "here", &mut warnings);
            assert_eq!(bbox.is_some(), kept, "{numbers:?}");
        }
        assert_eq!(warnings.into_vec().len(), 4);
    }
}
