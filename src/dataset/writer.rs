//! Writes a data set unit by unit, so that a killed run loses nothing that was done.
//!
//! Everything goes to `OUT.partial/` first. A unit is published by renaming its record
//! into `records/`; the whole is published by renaming the folder to `OUT`. A second
//! run with the same plan finds the records and goes on after them.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Dataset, DatasetError, Record};
use crate::annotation::{Annotation, BoundingBox, Category};
use crate::seed::PlanHash;

/// The pixels of a sample to be written.
#[derive(Debug)]
pub enum ImageFile {
    /// An encoded image.
    Bytes(Vec<u8>),
    /// An existing file, hard-linked where the file system allows and copied otherwise.
    Existing(PathBuf),
}

/// A sample to be written. Annotation identifiers are assigned when the data set is
/// finished; those given here are ignored.
#[derive(Debug)]
pub struct NewSample {
    /// File name below `images/`.
    pub file_name: String,
    pub image: ImageFile,
    pub width: u32,
    pub height: u32,
    pub annotations: Vec<Annotation>,
    /// `id`, `file_name` and `hash` are filled in by the writer.
    pub record: Record,
    /// Further files of the sample: path relative to the data set, and content.
    pub sidecars: Vec<(String, Vec<u8>)>,
}

/// The writer of one data set. Methods take `&self` and may be called from any thread.
#[derive(Debug)]
pub struct DatasetWriter {
    out: PathBuf,
    partial: PathBuf,
    categories: Vec<Category>,
    done: HashSet<u64>,
}

/// What [`DatasetWriter::begin`] found.
#[derive(Debug)]
pub enum Begun {
    /// The data set is whole already: nothing is left to do.
    Complete(Dataset),
    /// Units are to be written; some may be done already.
    Writing(DatasetWriter),
}

#[derive(Serialize, Deserialize)]
struct Header {
    plan: PlanHash,
}

#[derive(Serialize, Deserialize)]
struct UnitRecord {
    width: u32,
    height: u32,
    annotations: Vec<CocoObject>,
    record: Record,
}

#[derive(Serialize, Deserialize)]
struct CocoObject {
    id: u64,
    image_id: u64,
    category_id: u32,
    bbox: BoundingBox,
    area: f64,
    iscrowd: u8,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

#[derive(Serialize)]
struct CocoImage<'a> {
    id: u64,
    file_name: &'a str,
    width: u32,
    height: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'a str,
}

#[derive(Serialize)]
struct CocoFile<'a> {
    info: Map<String, Value>,
    images: Vec<CocoImage<'a>>,
    annotations: Vec<&'a CocoObject>,
    categories: &'a [Category],
}

const HEADER: &str = "admix.json";

/// What names of files begin with that are not whole yet.
const TEMPORARY: &str = ".admix-";

impl DatasetWriter {
    /// Begins or resumes the data set `out`. `plan` identifies all that the data set
    /// is made of: inputs, settings, seed and number of units.
    ///
    /// # Errors
    /// [`DatasetError::Occupied`] where `out` or `out.partial` holds something else.
    pub fn begin(
        out: &Path,
        plan: &PlanHash,
        categories: &[Category],
    ) -> Result<Begun, DatasetError> {
        if out.exists() {
            let same = read_header(out).is_some_and(|header| header.plan == *plan);
            let empty = std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_none());
            if same {
                return Ok(Begun::Complete(Dataset::open(out)?));
            }
            if !empty {
                return Err(DatasetError::Occupied {
                    path: out.to_owned(),
                });
            }
        }
        let mut partial_name = out.file_name().unwrap_or_default().to_owned();
        partial_name.push(".partial");
        let partial = out.with_file_name(partial_name);
        if partial.exists() {
            match read_header(&partial) {
                Some(header) if header.plan == *plan => {}
                _ => return Err(DatasetError::Occupied { path: partial }),
            }
            remove_unfinished_files(&partial)?;
        }
        for folder in ["images", "records"] {
            create_dir_all(&partial.join(folder))?;
        }
        let header =
            serde_json::to_vec(&Header { plan: plan.clone() }).expect("a header serialises");
        write_atomically(&partial.join(HEADER), &header)?;
        let done = finished_units(&partial)?;
        Ok(Begun::Writing(DatasetWriter {
            out: out.to_owned(),
            partial,
            categories: categories.to_vec(),
            done,
        }))
    }

    /// Whether unit `index` was published by an earlier run.
    pub fn is_done(&self, index: u64) -> bool {
        self.done.contains(&index)
    }

    /// How many units earlier runs published.
    pub fn done_count(&self) -> usize {
        self.done.len()
    }

    /// Writes one unit; its image gets the identifier `index + 1`.
    pub fn publish(&self, index: u64, sample: NewSample) -> Result<(), DatasetError> {
        let id = index + 1;
        let image_path = self.partial.join("images").join(&sample.file_name);
        if let Some(parent) = image_path.parent() {
            create_dir_all(parent)?;
        }
        let hash = match &sample.image {
            ImageFile::Bytes(bytes) => {
                write_atomically(&image_path, bytes)?;
                blake3::hash(bytes)
            }
            ImageFile::Existing(from) => {
                let bytes = std::fs::read(from).map_err(|source| DatasetError::Read {
                    path: from.clone(),
                    source,
                })?;
                if image_path.exists() {
                    std::fs::remove_file(&image_path).map_err(|source| DatasetError::Write {
                        path: image_path.clone(),
                        source,
                    })?;
                }
                if std::fs::hard_link(from, &image_path).is_err() {
                    write_atomically(&image_path, &bytes)?;
                }
                blake3::hash(&bytes)
            }
        };
        for (name, bytes) in &sample.sidecars {
            let path = self.partial.join(name);
            if let Some(parent) = path.parent() {
                create_dir_all(parent)?;
            }
            write_atomically(&path, bytes)?;
        }
        let record = Record {
            id,
            file_name: sample.file_name,
            hash: hash.to_hex().to_string(),
            ..sample.record
        };
        let annotations = sample.annotations.into_iter().map(|a| CocoObject {
            id: 0,
            image_id: id,
            category_id: a.category_id,
            bbox: a.bbox,
            area: a.area,
            iscrowd: u8::from(a.is_crowd),
            extra: a.extra,
        });
        let unit = UnitRecord {
            width: sample.width,
            height: sample.height,
            annotations: annotations.collect(),
            record,
        };
        let json = serde_json::to_vec(&unit).expect("a unit's record serialises");
        write_atomically(&self.unit_path(index), &json)
    }

    /// Joins the units in the order of their indices and publishes the data set.
    pub fn finish(self) -> Result<Dataset, DatasetError> {
        let mut indices: Vec<u64> = finished_units(&self.partial)?.into_iter().collect();
        indices.sort_unstable();
        let mut units = Vec::with_capacity(indices.len());
        let mut next_annotation = 1;
        for index in indices {
            let path = self.unit_path(index);
            let bytes = std::fs::read(&path).map_err(|source| DatasetError::Read {
                path: path.clone(),
                source,
            })?;
            let mut unit: UnitRecord =
                serde_json::from_slice(&bytes).map_err(|error| DatasetError::Format {
                    path,
                    message: error.to_string(),
                })?;
            for object in &mut unit.annotations {
                object.id = next_annotation;
                next_annotation += 1;
            }
            units.push(unit);
        }
        let coco = CocoFile {
            info: Map::from_iter([("description".to_owned(), Value::from("written by admix"))]),
            images: units
                .iter()
                .map(|unit| CocoImage {
                    id: unit.record.id,
                    file_name: &unit.record.file_name,
                    width: unit.width,
                    height: unit.height,
                    group: &unit.record.group,
                })
                .collect(),
            annotations: units.iter().flat_map(|unit| &unit.annotations).collect(),
            categories: &self.categories,
        };
        let json = serde_json::to_vec(&coco).expect("COCO serialises");
        write_atomically(&self.partial.join("annotations.json"), &json)?;
        let mut manifest = Vec::new();
        for unit in &units {
            serde_json::to_writer(&mut manifest, &unit.record).expect("a manifest line serialises");
            manifest.push(b'\n');
        }
        write_atomically(&self.partial.join("manifest.jsonl"), &manifest)?;
        let records = self.partial.join("records");
        if self.out.exists() {
            // `begin` made sure that it is an empty folder.
            std::fs::remove_dir(&self.out).map_err(|source| DatasetError::Write {
                path: self.out.clone(),
                source,
            })?;
        }
        std::fs::rename(&self.partial, &self.out).map_err(|source| DatasetError::Write {
            path: self.out.clone(),
            source,
        })?;
        // Only after the rename: a kill in between leaves a whole data set with a spare folder.
        let spare = self
            .out
            .join(records.file_name().expect("the folder has a name"));
        std::fs::remove_dir_all(&spare).map_err(|source| DatasetError::Write {
            path: spare,
            source,
        })?;
        Dataset::open(&self.out)
    }

    fn unit_path(&self, index: u64) -> PathBuf {
        self.partial
            .join("records")
            .join(format!("{index:08}.json"))
    }
}

/// Removes what a killed run was writing at its end, which would else become part of the
/// data set.
fn remove_unfinished_files(partial: &Path) -> Result<(), DatasetError> {
    let mut open = vec![partial.to_owned()];
    while let Some(folder) = open.pop() {
        let fail = |source| DatasetError::Write {
            path: folder.clone(),
            source,
        };
        for entry in std::fs::read_dir(&folder).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            if entry.file_type().map_err(fail)?.is_dir() {
                open.push(entry.path());
            } else if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                std::fs::remove_file(entry.path()).map_err(fail)?;
            }
        }
    }
    Ok(())
}

fn read_header(folder: &Path) -> Option<Header> {
    serde_json::from_slice(&std::fs::read(folder.join(HEADER)).ok()?).ok()
}

fn finished_units(partial: &Path) -> Result<HashSet<u64>, DatasetError> {
    let records = partial.join("records");
    let entries = std::fs::read_dir(&records).map_err(|source| DatasetError::Read {
        path: records,
        source,
    })?;
    Ok(entries
        .filter_map(|entry| {
            entry
                .ok()?
                .file_name()
                .to_str()?
                .strip_suffix(".json")?
                .parse()
                .ok()
        })
        .collect())
}

fn create_dir_all(path: &Path) -> Result<(), DatasetError> {
    std::fs::create_dir_all(path).map_err(|source| DatasetError::Write {
        path: path.to_owned(),
        source,
    })
}

/// The error without the temporary file's path, which `tempfile` adds and which means
/// nothing to a user.
fn without_temporary_path(error: std::io::Error) -> std::io::Error {
    let text = error.to_string();
    match text.split_once(" at path ") {
        Some((cause, _)) => std::io::Error::new(error.kind(), cause),
        None => error,
    }
}

/// Writes a file under a temporary name beside its place and renames it, so that a
/// reader sees either nothing or the whole.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), DatasetError> {
    let fail = |source| DatasetError::Write {
        path: path.to_owned(),
        source: without_temporary_path(source),
    };
    let folder = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .tempfile_in(folder)
        .map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    // A temporary file is private; what it becomes should be as readable as any other.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file()
            .set_permissions(std::fs::Permissions::from_mode(0o644))
            .map_err(fail)?;
    }
    file.persist(path).map_err(|error| fail(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Origin;

    fn categories() -> Vec<Category> {
        vec![Category {
            id: 1,
            name: "die".into(),
            ..Category::default()
        }]
    }

    fn sample(index: u64) -> NewSample {
        let mut bytes = Vec::new();
        let pixels = image::RgbImage::from_pixel(4, 3, image::Rgb([index as u8, 0, 0]));
        pixels
            .write_to(
                &mut std::io::Cursor::new(&mut bytes),
                image::ImageFormat::Png,
            )
            .unwrap();
        NewSample {
            file_name: format!("{index:06}.png"),
            image: ImageFile::Bytes(bytes),
            width: 4,
            height: 3,
            annotations: vec![Annotation {
                id: 99,
                category_id: 1,
                bbox: BoundingBox::from([1.0, 1.0, 2.0, 1.0]),
                area: 2.0,
                is_crowd: false,
                extra: Map::from_iter([("visible_fraction".to_owned(), Value::from(0.5))]),
            }],
            record: Record::new(0, "", Origin::Synthetic),
            sidecars: vec![(format!("masks/{index:06}.txt"), vec![1, 2])],
        }
    }

    fn folder_of_partial(out: &Path) -> PathBuf {
        out.with_extension("partial")
    }

    fn begin(out: &Path, plan: &str) -> Result<Begun, DatasetError> {
        DatasetWriter::begin(out, &PlanHash::of(plan), &categories())
    }

    fn writing(out: &Path, plan: &str) -> DatasetWriter {
        match begin(out, plan).unwrap() {
            Begun::Writing(writer) => writer,
            Begun::Complete(_) => panic!("nothing was finished yet"),
        }
    }

    #[test]
    fn an_interrupted_run_goes_on_and_equals_an_uninterrupted_one() {
        let folder = tempfile::tempdir().unwrap();
        let (whole, resumed) = (folder.path().join("whole"), folder.path().join("resumed"));
        let writer = writing(&whole, "p");
        for index in 0..3 {
            writer.publish(index, sample(index)).unwrap();
        }
        let dataset = writer.finish().unwrap();
        assert_eq!(dataset.samples.len(), 3);
        assert_eq!(
            dataset.samples[2].annotations[0].extra["visible_fraction"],
            0.5
        );
        assert_eq!(dataset.samples[2].annotations[0].id, 3);

        writing(&resumed, "p").publish(1, sample(1)).unwrap();
        for folder in ["", "images", "masks", "records"] {
            let file = folder_of_partial(&resumed)
                .join(folder)
                .join(".admix-killed");
            std::fs::write(file, "half").unwrap();
        }
        let writer = writing(&resumed, "p");
        assert!(writer.is_done(1) && !writer.is_done(0));
        writer.publish(2, sample(2)).unwrap();
        writer.publish(0, sample(0)).unwrap();
        writer.finish().unwrap();
        for name in [
            "annotations.json",
            "manifest.jsonl",
            "images/000001.png",
            "masks/000002.txt",
        ] {
            assert_eq!(
                std::fs::read(whole.join(name)).unwrap(),
                std::fs::read(resumed.join(name)).unwrap(),
                "{name}"
            );
        }
        for folder in ["", "images", "masks"] {
            let file = resumed.join(folder).join(".admix-killed");
            assert!(!file.exists(), "{folder}");
        }
        assert!(matches!(begin(&resumed, "p").unwrap(), Begun::Complete(_)));
        assert!(!resumed.join("records").exists());
    }

    #[test]
    fn a_failed_write_names_the_file_and_not_the_temporary_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone/file.json");
        let message = write_atomically(&path, b"{}").unwrap_err().to_string();
        assert!(message.contains("gone/file.json: "), "{message}");
        assert!(!message.contains(TEMPORARY), "{message}");
    }

    #[test]
    fn another_plan_never_overwrites() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("set");
        writing(&out, "p").publish(0, sample(0)).unwrap();
        assert!(matches!(
            begin(&out, "q"),
            Err(DatasetError::Occupied { .. })
        ));
        writing(&out, "p").finish().unwrap();
        assert!(matches!(
            begin(&out, "q"),
            Err(DatasetError::Occupied { .. })
        ));
        std::fs::create_dir(folder.path().join("mine")).unwrap();
        std::fs::write(folder.path().join("mine/note.txt"), "keep").unwrap();
        assert!(matches!(
            begin(&folder.path().join("mine"), "p"),
            Err(DatasetError::Occupied { .. })
        ));
    }
}
