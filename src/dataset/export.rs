//! Writes a data set in another format, with its images. `manifest.jsonl` goes along,
//! so that identifiers, splits, groups and origins survive the way back.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use image::{EncodableLayout, ImageBuffer, PixelWithColorType};
use quick_xml::escape::escape;

use super::sidecar::{encode_png, of_sample};
use super::voc::LABELS_FILE;
use super::writer::{Begun, DatasetWriter, ImageFile, NewSample, write_atomically};
use super::{Dataset, DatasetError, Record, Sample, Split, Warning, Warnings, bop, kitti};
use crate::observer::Observer;
use crate::seed::PlanHash;

/// A format that data sets are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `images/`, `annotations.json` and `manifest.jsonl`.
    Coco,
    /// `data.yaml`, `images/SPLIT/` and `labels/SPLIT/*.txt`.
    Yolo,
    /// `JPEGImages/`, `Annotations/*.xml` and `ImageSets/Main/SPLIT.txt`.
    Voc,
    /// `SPLIT/000000/` with images, depth, masks and poses, and `models/models_info.json`.
    Bop,
    /// `training/` with images, labels of boxes in space, and calibration.
    Kitti,
}

/// Folder of images that are in no split.
const NO_SPLIT: &str = "all";

/// Writes `dataset` to the folder `out`, which must not exist or be empty. The folder
/// appears when it is whole. Images are hard-linked where possible, else copied.
/// Returns what the format cannot hold.
///
/// # Errors
/// [`DatasetError::Occupied`], an image that cannot be read, a failed write, or
/// [`DatasetError::Lacking`] where a format needs what only rendered data sets have.
pub fn export(
    dataset: &Dataset,
    format: Format,
    out: &Path,
    observer: &dyn Observer,
) -> Result<Vec<Warning>, DatasetError> {
    observer.begin("convert", dataset.samples.len() as u64, 0);
    let mut warnings = Warnings::default();
    match format {
        Format::Coco => coco(dataset, out, observer)?,
        Format::Yolo => into_folder(out, |folder| yolo(dataset, folder, observer, &mut warnings))?,
        Format::Voc => into_folder(out, |folder| voc(dataset, folder, observer))?,
        Format::Bop => into_folder(out, |folder| {
            bop::write(dataset, folder, observer, &mut warnings)
        })?,
        Format::Kitti => into_folder(out, |folder| {
            kitti::write(dataset, folder, observer, &mut warnings)
        })?,
    }
    observer.end();
    Ok(warnings.into_vec())
}

/// What the writer's plan hash is made of, so that a second run finds the first.
fn plan_of(dataset: &Dataset) -> PlanHash {
    let samples: Vec<_> = dataset
        .samples
        .iter()
        .map(|sample| {
            let boxes: Vec<_> = sample
                .annotations
                .iter()
                .map(|a| (a.category_id, a.bbox, a.area, a.is_crowd, &a.extra))
                .collect();
            (
                // A folder's name need not be UTF-8, which JSON must be.
                sample.path.to_string_lossy(),
                &sample.record,
                sample.width,
                sample.height,
                boxes,
            )
        })
        .collect();
    PlanHash::of(&("convert", &dataset.categories, samples))
}

fn coco(dataset: &Dataset, out: &Path, observer: &dyn Observer) -> Result<(), DatasetError> {
    let writer = match DatasetWriter::begin(out, &plan_of(dataset), &dataset.categories)? {
        Begun::Complete(_) => return Ok(()),
        Begun::Writing(writer) => writer,
    };
    let mut names = Names::default();
    for (index, sample) in (0..).zip(&dataset.samples) {
        let file_name = names.unique(&sample.file_name, sample.id);
        if !writer.is_done(index) {
            writer.publish(
                index,
                NewSample {
                    sidecars: of_sample(&dataset.root, sample, &file_name)?,
                    file_name,
                    image: ImageFile::Existing(sample.path.clone()),
                    width: sample.width,
                    height: sample.height,
                    annotations: sample.annotations.clone(),
                    record: sample.record.clone(),
                },
            )?;
        }
        observer.advance(1);
    }
    writer.finish().map(|_| ())
}

/// Lets `fill` write to a temporary folder beside `out`, then renames it.
fn into_folder(
    out: &Path,
    fill: impl FnOnce(&Path) -> Result<(), DatasetError>,
) -> Result<(), DatasetError> {
    let fail = |source| DatasetError::Write {
        path: out.to_owned(),
        source,
    };
    let is_empty = std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_none());
    if out.exists() && !is_empty {
        return Err(DatasetError::Occupied {
            path: out.to_owned(),
        });
    }
    let parent = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(parent).map_err(fail)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".admix-");
    // A temporary folder is private; what it becomes should be as readable as any other.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o755));
    }
    let folder = builder.tempdir_in(parent).map_err(fail)?;
    fill(folder.path())?;
    if is_empty {
        std::fs::remove_dir(out).map_err(fail)?;
    }
    std::fs::rename(folder.path(), out).map_err(fail)?;
    // It has moved: there is nothing left to remove.
    let _ = folder.keep();
    Ok(())
}

/// Makes names that differ also without their endings, as label files need.
#[derive(Default)]
struct Names(HashSet<PathBuf>);

impl Names {
    fn unique(&mut self, name: &str, id: u64) -> String {
        let path = Path::new(name);
        if self.0.insert(path.with_extension("")) {
            return name.to_owned();
        }
        let stem = path.with_extension("").to_string_lossy().into_owned();
        let ending = path.extension().map(|e| e.to_string_lossy().into_owned());
        let mut number = id;
        loop {
            let renamed = format!("{stem}_{number}");
            if self.0.insert(PathBuf::from(&renamed)) {
                return match ending {
                    Some(ending) => format!("{renamed}.{ending}"),
                    None => renamed,
                };
            }
            number += 1;
        }
    }
}

pub(super) fn place_image(sample: &Sample, to: &Path) -> Result<(), DatasetError> {
    make_parent(to)?;
    if std::fs::hard_link(&sample.path, to).is_err() {
        let bytes = std::fs::read(&sample.path).map_err(|source| DatasetError::Read {
            path: sample.path.clone(),
            source,
        })?;
        write_atomically(to, &bytes)?;
    }
    Ok(())
}

pub(super) fn make_parent(path: &Path) -> Result<(), DatasetError> {
    let parent = path.parent().unwrap_or(path);
    std::fs::create_dir_all(parent).map_err(|source| DatasetError::Write {
        path: parent.to_owned(),
        source,
    })
}

/// Writes a PNG file, and the folders it stands in.
pub(super) fn write_png<P>(
    image: &ImageBuffer<P, Vec<P::Subpixel>>,
    to: &Path,
) -> Result<(), DatasetError>
where
    P: PixelWithColorType,
    [P::Subpixel]: EncodableLayout,
{
    let bytes = encode_png(image).map_err(|error| DatasetError::Image {
        path: to.to_owned(),
        message: error.to_string(),
    })?;
    make_parent(to)?;
    write_atomically(to, &bytes)
}

pub(super) fn write(path: &Path, text: &str) -> Result<(), DatasetError> {
    make_parent(path)?;
    write_atomically(path, text.as_bytes())
}

pub(super) fn manifest_line(sample: &Sample, file_name: &str, manifest: &mut String) {
    let record = Record {
        id: sample.id,
        file_name: file_name.to_owned(),
        ..sample.record.clone()
    };
    let line = serde_json::to_string(&record).expect("a manifest line serialises");
    manifest.push_str(&line);
    manifest.push('\n');
}

/// A file name as it stands below the folder of its split: without that folder, which
/// it may come from, and without folders named `images`, by which YOLO finds labels.
fn below_split(file_name: &str, split: Option<Split>) -> String {
    let mut parts: Vec<&str> = file_name
        .split('/')
        .filter(|part| *part != "images")
        .collect();
    let comes_from_split = parts.len() > 1 && split.is_some() && parts[0].parse().ok() == split;
    if comes_from_split {
        parts.remove(0);
    }
    parts.join("/")
}

fn yolo(
    dataset: &Dataset,
    folder: &Path,
    observer: &dyn Observer,
    warnings: &mut Warnings,
) -> Result<(), DatasetError> {
    let classes: BTreeMap<u32, usize> = dataset
        .categories
        .iter()
        .enumerate()
        .map(|(class, c)| (c.id, class))
        .collect();
    let has_splits = dataset.samples.iter().any(|s| s.record.split.is_some());
    let mut names = Names::default();
    let mut manifest = String::new();
    let mut folders = BTreeMap::new();
    for sample in &dataset.samples {
        let split = match sample.record.split {
            None if has_splits => {
                warnings.add(
                    "image in no split: listed with train",
                    sample.path.display().to_string(),
                );
                Split::Train.name()
            }
            None => NO_SPLIT,
            Some(split) => split.name(),
        };
        folders.insert(split, ());
        let bare = below_split(&sample.file_name, sample.record.split);
        let name = names.unique(&format!("{split}/{bare}"), sample.id);
        place_image(sample, &folder.join("images").join(&name))?;
        let mut labels = String::new();
        for annotation in &sample.annotations {
            if annotation.is_crowd {
                let place = format!("{} annotation {}", sample.path.display(), annotation.id);
                warnings.add("crowd region: YOLO has none, left out", place);
                continue;
            }
            let (width, height) = (f64::from(sample.width), f64::from(sample.height));
            let b = annotation.bbox;
            // Nine decimals are less than a ten-thousandth of a pixel of any image read.
            let _ = writeln!(
                labels,
                "{} {:.9} {:.9} {:.9} {:.9}",
                classes
                    .get(&annotation.category_id)
                    .copied()
                    .unwrap_or_default(),
                (b.x + b.width / 2.0) / width,
                (b.y + b.height / 2.0) / height,
                b.width / width,
                b.height / height
            );
        }
        write(
            &folder.join("labels").join(&name).with_extension("txt"),
            &labels,
        )?;
        manifest_line(sample, &name, &mut manifest);
        observer.advance(1);
    }
    let mut yaml = String::new();
    for split in Split::ALL {
        if folders.contains_key(split.name()) {
            let _ = writeln!(yaml, "{split}: images/{split}");
        }
    }
    if folders.contains_key(NO_SPLIT) {
        // Both keys are required by trainers; equal folders say that there is no split.
        let _ = write!(yaml, "train: images/{NO_SPLIT}\nval: images/{NO_SPLIT}\n");
    }
    yaml.push_str("names:\n");
    for (class, category) in dataset.categories.iter().enumerate() {
        // A JSON string is a YAML string, whatever it holds.
        let name = serde_json::Value::from(category.name.as_str());
        let _ = writeln!(yaml, "  {class}: {name}");
    }
    write(&folder.join("data.yaml"), &yaml)?;
    write(&folder.join("manifest.jsonl"), &manifest)
}

fn voc(dataset: &Dataset, folder: &Path, observer: &dyn Observer) -> Result<(), DatasetError> {
    let mut names = Names::default();
    let mut manifest = String::new();
    let mut lists: BTreeMap<Split, String> = BTreeMap::new();
    for sample in &dataset.samples {
        // VOC's tools expect one flat folder.
        let name = names.unique(&sample.file_name.replace('/', "_"), sample.id);
        let stem = Path::new(&name)
            .with_extension("")
            .to_string_lossy()
            .into_owned();
        place_image(sample, &folder.join("JPEGImages").join(&name))?;
        let xml = voc_xml(dataset, sample, &name);
        write(
            &folder.join("Annotations").join(format!("{stem}.xml")),
            &xml,
        )?;
        if let Some(split) = sample.record.split {
            let list = lists.entry(split).or_default();
            list.push_str(&stem);
            list.push('\n');
        }
        manifest_line(sample, &name, &mut manifest);
        observer.advance(1);
    }
    for (split, list) in &lists {
        write(
            &folder.join("ImageSets/Main").join(format!("{split}.txt")),
            list,
        )?;
    }
    let labels: String = dataset
        .categories
        .iter()
        .map(|c| format!("{}\n", c.name))
        .collect();
    write(&folder.join(LABELS_FILE), &labels)?;
    write(&folder.join("manifest.jsonl"), &manifest)
}

fn voc_xml(dataset: &Dataset, sample: &Sample, file_name: &str) -> String {
    let mut xml = format!(
        "<annotation>\n  <folder>JPEGImages</folder>\n  <filename>{}</filename>\n  \
         <size><width>{}</width><height>{}</height><depth>3</depth></size>\n  \
         <segmented>0</segmented>\n",
        escape(file_name),
        sample.width,
        sample.height
    );
    for annotation in &sample.annotations {
        let b = annotation.bbox;
        let name = dataset
            .category(annotation.category_id)
            .map_or("", |category| category.name.as_str());
        let _ = writeln!(
            xml,
            "  <object><name>{}</name><pose>Unspecified</pose><truncated>0</truncated>\
             <difficult>{}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax>\
             <ymax>{}</ymax></bndbox></object>",
            escape(name),
            u8::from(annotation.is_crowd),
            b.x + 1.0,
            b.y + 1.0,
            b.right(),
            b.bottom()
        );
    }
    xml.push_str("</annotation>\n");
    xml
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotation::{Annotation, BoundingBox, Category};
    use crate::dataset::pose::tests::rendered;
    use crate::dataset::{Origin, sidecar_path};
    use crate::observer::Silent;

    /// Four images in three splits, of which two share a stem and some have folders.
    fn dataset(root: &Path) -> Dataset {
        let files = [
            ("a.png", Some(Split::Train)),
            ("train/images/a.bmp", Some(Split::Train)),
            ("test/c d.png", Some(Split::Test)),
            ("valid/images/c d.png", Some(Split::Val)),
        ];
        let sample = |(index, (name, split)): (usize, (&str, Option<Split>))| {
            let path = root.join(name);
            make_parent(&path).unwrap();
            image::RgbImage::new(333, 217).save(&path).unwrap();
            let mut record = Record::new(0, name, Origin::Synthetic);
            record.split = split;
            record.group = format!("g{index}");
            let shift = index as f64 + 0.123_456;
            Sample {
                id: index as u64 + 4,
                path,
                file_name: name.to_owned(),
                width: 333,
                height: 217,
                annotations: vec![Annotation {
                    id: 1,
                    category_id: 7,
                    bbox: BoundingBox::from([shift, 10.7, 100.3, 51.9]),
                    area: 100.3 * 51.9,
                    is_crowd: false,
                    extra: serde_json::Map::new(),
                }],
                record,
            }
        };
        Dataset {
            root: root.to_owned(),
            categories: [(3, "yes: <no> & \"x\""), (7, "die")]
                .map(|(id, name)| Category {
                    id,
                    name: name.into(),
                    ..Category::default()
                })
                .to_vec(),
            samples: files.into_iter().enumerate().map(sample).collect(),
            warnings: Vec::new(),
        }
    }

    fn assert_same(ours: &Dataset, theirs: &Dataset) {
        assert!(theirs.warnings.is_empty(), "{:?}", theirs.warnings);
        assert_eq!(ours.samples.len(), theirs.samples.len());
        let names = |d: &Dataset| {
            d.categories
                .iter()
                .map(|c| c.name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(ours), names(theirs));
        for (a, b) in ours.samples.iter().zip(&theirs.samples) {
            assert_eq!(a.record.split, b.record.split);
            assert_eq!(a.group(), b.group());
            assert_eq!(a.record.origin, b.record.origin);
            assert_eq!(
                std::fs::read(&a.path).unwrap(),
                std::fs::read(&b.path).unwrap()
            );
            assert_eq!(a.annotations.len(), b.annotations.len());
            for (x, y) in a.annotations.iter().zip(&b.annotations) {
                let name = |d: &Dataset, id| d.category(id).unwrap().name.clone();
                assert_eq!(name(ours, x.category_id), name(theirs, y.category_id));
                let (x, y): ([f64; 4], [f64; 4]) = (x.bbox.into(), y.bbox.into());
                for (x, y) in x.iter().zip(y) {
                    assert!((x - y).abs() < 1e-3, "{x} became {y}");
                }
            }
        }
    }

    #[test]
    fn every_format_there_and_back_keeps_boxes_splits_and_groups() {
        let folder = tempfile::tempdir().unwrap();
        let original = dataset(&folder.path().join("in"));
        let mut last = original.clone();
        for (step, format) in [
            Format::Coco,
            Format::Yolo,
            Format::Coco,
            Format::Voc,
            Format::Yolo,
            Format::Voc,
            Format::Coco,
        ]
        .into_iter()
        .enumerate()
        {
            let out = folder.path().join(format!("step{step}"));
            let warnings = export(&last, format, &out, &Silent).unwrap();
            assert!(warnings.is_empty(), "{warnings:?}");
            last = Dataset::open(&out).unwrap();
            assert_same(&original, &last);
        }
    }

    #[test]
    fn without_a_manifest_splits_come_from_the_format_itself() {
        let folder = tempfile::tempdir().unwrap();
        let original = dataset(&folder.path().join("in"));
        for (name, format) in [("yolo", Format::Yolo), ("voc", Format::Voc)] {
            let out = folder.path().join(name);
            export(&original, format, &out, &Silent).unwrap();
            std::fs::remove_file(out.join("manifest.jsonl")).unwrap();
            let read = Dataset::open(&out).unwrap();
            assert_eq!(read.split(Split::Train).samples.len(), 2);
            assert_eq!(read.split(Split::Test).samples.len(), 1);
        }
    }

    #[test]
    fn no_split_stays_no_split_and_crowds_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        let mut original = dataset(&folder.path().join("in"));
        for sample in &mut original.samples {
            sample.record.split = None;
            sample.annotations[0].is_crowd = true;
        }
        let out = folder.path().join("out");
        let warnings = export(&original, Format::Yolo, &out, &Silent).unwrap();
        assert_eq!(warnings[0].count, original.samples.len());
        std::fs::remove_file(out.join("manifest.jsonl")).unwrap();
        let read = Dataset::open(&out).unwrap();
        assert!(read.warnings.is_empty(), "{:?}", read.warnings);
        assert!(read.samples.iter().all(|s| s.record.split.is_none()));
    }

    #[test]
    fn sidecars_and_further_keys_survive_a_copy() {
        let folder = tempfile::tempdir().unwrap();
        let original = rendered(&folder.path().join("in"));
        let out = folder.path().join("out");
        export(&original, Format::Coco, &out, &Silent).unwrap();
        let read = Dataset::open(&out).unwrap();
        for (ours, theirs) in original.samples.iter().zip(&read.samples) {
            assert_eq!(ours.annotations[0].extra, theirs.annotations[0].extra);
            assert_eq!(ours.record.factors, theirs.record.factors);
            let depth = sidecar_path("depth", &ours.file_name);
            let bytes = |root: &Path| std::fs::read(root.join(&depth)).unwrap();
            assert_eq!(bytes(&original.root), bytes(&out));
        }
    }

    #[test]
    fn a_failed_export_leaves_nothing_and_overwrites_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let original = dataset(&folder.path().join("in"));
        std::fs::remove_file(&original.samples[1].path).unwrap();
        let out = folder.path().join("out");
        assert!(export(&original, Format::Voc, &out, &Silent).is_err());
        let left: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .flatten()
            .collect();
        assert_eq!(left.len(), 1, "{left:?}");
        let into_itself = export(&original, Format::Yolo, &original.root, &Silent);
        assert!(matches!(into_itself, Err(DatasetError::Occupied { .. })));
    }
}
