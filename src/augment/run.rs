//! Augments a whole data set.

use std::collections::{BTreeMap, HashMap};
use std::io::Cursor;
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::sidecar::{carried_sidecars, depth_of};
use super::{
    AugmentError, AugmentPlan, DepthMap, Drawn, LabelChanges, Library, Stage, Subject, Transform,
    apply, compression,
};
use crate::dataset::{
    Begun, Dataset, DatasetWriter, ImageFile, NewSample, Origin, Sample, read_image,
};
use crate::observer::Observer;
use crate::seed::PlanHash;

/// What became of a data set, counted from its manifest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AugmentSummary {
    pub images: usize,
    /// Labels that were kept, those cut at an edge among them.
    pub labels: usize,
    pub cut: usize,
    pub dropped: usize,
    /// What could not be carried along, with the number of labels.
    pub lost: BTreeMap<String, usize>,
    /// Faults that were planted, with the number of labels.
    #[serde(default)]
    pub faults: BTreeMap<String, usize>,
}

/// Writes one augmented image for each image of `input`, on the current rayon pool.
///
/// What is drawn depends on the seed and the image's file name alone, so that a part
/// of a data set gives the same pictures as the whole, and the number of workers
/// changes nothing. An interrupted run goes on. An image whose last step is JPEG is
/// stored as that JPEG, others as PNG.
///
/// # Errors
/// An image that cannot be read, or a folder that cannot be written.
pub fn augment_dataset(
    plan: &AugmentPlan,
    input: &Dataset,
    seed: u64,
    out: &Path,
    observer: &dyn Observer,
) -> Result<(Dataset, AugmentSummary), AugmentError> {
    let inputs: Vec<_> = input
        .samples
        .iter()
        .map(|s| (s.id, &s.file_name, &s.record.hash))
        .collect();
    let hash = PlanHash::of(&("augment", plan, seed, &input.root, inputs));
    let dataset = match DatasetWriter::begin(out, &hash, &input.categories)? {
        Begun::Complete(dataset) => dataset,
        Begun::Writing(writer) => {
            let total = input.samples.len() as u64;
            observer.begin("augment", total, writer.done_count() as u64);
            let stems = stems(input);
            let job = Job {
                plan,
                library: &Library::open(plan, input)?,
                root: &input.root,
                seed,
                hash: &hash,
            };
            let done = (0..).zip(&input.samples).collect::<Vec<_>>();
            done.into_par_iter()
                .zip(&stems)
                .try_for_each(|((index, sample), stem)| {
                    if !writer.is_done(index) {
                        writer.publish(index, job.augmented(sample, stem)?)?;
                        observer.advance(1);
                    }
                    Ok::<(), AugmentError>(())
                })?;
            observer.end();
            writer.finish()?
        }
    };
    let summary = summary_of(&dataset);
    for (what, count) in &summary.lost {
        observer.message(&format!("warning: {what} ({count} labels)"));
    }
    Ok((dataset, summary))
}

/// File names without their ending; with it where two images differ in it alone.
fn stems(input: &Dataset) -> Vec<String> {
    let stem = |sample: &Sample| {
        let name = Path::new(&sample.file_name).with_extension("");
        name.to_string_lossy().into_owned()
    };
    let mut count: HashMap<String, usize> = HashMap::new();
    for sample in &input.samples {
        *count.entry(stem(sample)).or_default() += 1;
    }
    let mut repeated: HashMap<&str, usize> = HashMap::new();
    input
        .samples
        .iter()
        .map(|sample| {
            let short = stem(sample);
            if count[&short] == 1 {
                return short;
            }
            let repeat = repeated.entry(&sample.file_name).or_default();
            *repeat += 1;
            match *repeat {
                1 => sample.file_name.clone(),
                // One file can stand in two splits of a COCO folder.
                more => format!("{}-{more}", sample.file_name),
            }
        })
        .collect()
}

fn summary_of(dataset: &Dataset) -> AugmentSummary {
    let mut summary = AugmentSummary {
        images: dataset.samples.len(),
        labels: dataset.box_count(),
        ..AugmentSummary::default()
    };
    for sample in &dataset.samples {
        let changes = sample.record.factors.get("labels");
        let changes = changes.and_then(|json| LabelChanges::deserialize(json).ok());
        let changes = changes.unwrap_or_default();
        summary.cut += changes.cut;
        summary.dropped += changes.dropped.len();
        for (what, count) in changes.lost {
            *summary.lost.entry(what).or_default() += count;
        }
        for (what, labels) in changes.faults {
            *summary.faults.entry(what).or_default() += labels.len();
        }
    }
    summary
}

/// What the images of one run have in common.
struct Job<'a> {
    plan: &'a AugmentPlan,
    library: &'a Library<'a>,
    root: &'a Path,
    seed: u64,
    hash: &'a PlanHash,
}

impl Job<'_> {
    fn augmented(&self, sample: &Sample, stem: &str) -> Result<NewSample, AugmentError> {
        let steps = self.plan.draw(self.seed, &sample.file_name, self.library);
        // The file itself is the last compression: what was drawn is what is stored.
        let last = steps
            .iter()
            .rposition(|step| step.transform.stage() != Stage::Labels);
        let quality = last.and_then(|last| match steps[last].transform {
            Transform::Jpeg {
                quality,
                subsampling,
            } => Some((last, quality as u8, subsampling)),
            _ => None,
        });
        let mut now = steps.clone();
        if let Some((last, ..)) = quality {
            now.remove(last);
        }
        let image = read_image(&sample.path)?;
        let from = [image.width(), image.height()];
        let subject = Subject {
            image,
            annotations: sample.annotations.clone(),
            depth: self.depth(sample, &now)?,
        };
        let out = apply(&now, subject, self.library)?;
        let (ending, bytes) = match quality {
            Some((_, quality, subsampling)) => {
                ("jpg", compression::jpeg(&out.image, quality, subsampling))
            }
            None => ("png", self.png(sample, &out.image)?),
        };
        let mut record = sample.record.clone();
        record.source_origin = Some(record.source_origin.unwrap_or(record.origin));
        record.origin = Origin::Augmented;
        record.source = sample.path.display().to_string();
        record.group = sample.group().to_owned();
        record.seed = Some(self.seed);
        record.plan = Some(self.hash.clone());
        let factors = &mut record.factors;
        factors.insert("transforms".to_owned(), json!(steps));
        factors.shift_remove("labels");
        if let Some(changes) = out.changes {
            factors.insert("labels".to_owned(), json!(changes));
        }
        Ok(NewSample {
            file_name: format!("{stem}.{ending}"),
            image: ImageFile::Bytes(bytes),
            width: out.image.width(),
            height: out.image.height(),
            annotations: out.annotations,
            record,
            sidecars: carried_sidecars(self.root, &sample.file_name, stem, &now, from)?,
        })
    }

    /// Distances, where a step asks for them and the data set has them.
    fn depth(&self, sample: &Sample, steps: &[Drawn]) -> Result<Option<DepthMap>, AugmentError> {
        let asks = |step: &Drawn| {
            matches!(
                step.transform,
                Transform::Fog { .. } | Transform::DefocusByDepth { .. }
            )
        };
        if steps.iter().any(asks) {
            depth_of(self.root, sample)
        } else {
            Ok(None)
        }
    }

    fn png(&self, sample: &Sample, image: &image::RgbImage) -> Result<Vec<u8>, AugmentError> {
        let mut bytes = Vec::new();
        image
            .write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png)
            .map_err(|error| AugmentError::Encode {
                file_name: sample.file_name.clone(),
                message: error.to_string(),
            })?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotation::{Annotation, BoundingBox, Category};
    use crate::augment::AugmentSpec;
    use crate::dataset::Record;
    use crate::observer::Silent;
    use crate::spec;

    const PRESET: &str = "steps:
  - {probability: 0.5, transform: {flip_horizontal: {}}}
  - {probability: 0.5, transform: {crop: {size: {uniform: [0.4, 1]}}}}
  - {transform: {exposure: {ev: {uniform: [-2, 2]}}}}
  - {transform: {noise: {shot: 0.002, read: 0.01}}}
  - {probability: 0.5, transform: {jpeg: {quality: {uniform: [20, 90]}}}}
";

    fn plan() -> AugmentPlan {
        let path = Path::new("preset.yaml");
        let spec: AugmentSpec = spec::parse(PRESET, path, &[]).unwrap();
        spec.into_plan(path).unwrap()
    }

    /// Ten photographs with a box each, and object numbers beside them.
    fn input(root: &Path) -> Dataset {
        for folder in ["images", "masks"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        let sample = |id: u64| {
            let file_name = format!("{id:03}.png");
            let path = root.join("images").join(&file_name);
            image::RgbImage::from_fn(48, 32, |x, y| {
                image::Rgb([x as u8 * 5, y as u8 * 7, id as u8])
            })
            .save(&path)
            .unwrap();
            image::ImageBuffer::<image::Luma<u16>, _>::from_fn(48, 32, |x, _| {
                image::Luma([if x < 24 { 1 } else { 300 }])
            })
            .save(root.join("masks").join(&file_name))
            .unwrap();
            let bbox = BoundingBox::from([4.0, 4.0, 10.0, 10.0]);
            Sample {
                id,
                path,
                file_name: file_name.clone(),
                width: 48,
                height: 32,
                annotations: vec![Annotation {
                    id,
                    category_id: 1,
                    bbox,
                    area: bbox.area(),
                    is_crowd: false,
                    extra: Default::default(),
                }],
                record: Record::new(id, file_name, Origin::Real),
            }
        };
        Dataset {
            root: root.to_owned(),
            categories: vec![Category {
                id: 1,
                name: "die".into(),
                ..Category::default()
            }],
            samples: (0..10).map(sample).collect(),
            warnings: Vec::new(),
        }
    }

    fn run(input: &Dataset, out: &Path, jobs: usize) -> AugmentSummary {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(jobs).build();
        pool.unwrap()
            .install(|| augment_dataset(&plan(), input, 3, out, &Silent).unwrap().1)
    }

    /// Every file of a data set with its bytes, but for the marker of its plan.
    fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        for part in ["", "images", "masks"] {
            for entry in std::fs::read_dir(folder.join(part)).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    let name = path
                        .strip_prefix(folder)
                        .unwrap()
                        .to_string_lossy()
                        .into_owned();
                    found.insert(name, std::fs::read(path).unwrap());
                }
            }
        }
        found
    }

    #[test]
    fn neither_workers_nor_an_interruption_nor_the_other_images_change_a_byte() {
        let folder = tempfile::tempdir().unwrap();
        let input = input(&folder.path().join("input"));
        let at = |name: &str| folder.path().join(name);
        let summary = run(&input, &at("one"), 1);
        assert_eq!(summary, run(&input, &at("three"), 3));
        assert_eq!(summary.labels + summary.dropped, 10);
        let whole = files(&at("one"));
        assert_eq!(whole, files(&at("three")));

        // A later image that cannot be read stops a run; what was done stays.
        let last = &input.samples[9].path;
        let bytes = std::fs::read(last).unwrap();
        std::fs::write(last, b"not an image").unwrap();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .unwrap();
        let error = pool.install(|| augment_dataset(&plan(), &input, 3, &at("cut"), &Silent));
        assert!(error.unwrap_err().is_mistake());
        let records = at("cut.partial").join("records");
        assert!(std::fs::read_dir(&records).unwrap().count() > 0);
        std::fs::write(last, bytes).unwrap();
        assert_eq!(run(&input, &at("cut"), 2), summary);
        assert_eq!(whole, files(&at("cut")));

        let some = input.filtered(|sample| sample.id % 3 == 1);
        run(&some, &at("some"), 2);
        let part = files(&at("some"));
        let pictures: Vec<_> = part.iter().filter(|(name, _)| name.contains('/')).collect();
        assert_eq!(pictures.len(), 6);
        for (name, bytes) in pictures {
            assert_eq!(&whole[name], bytes, "{name}");
        }
    }

    #[test]
    fn the_manifest_replays_the_picture_and_sidecars_follow_it() {
        let folder = tempfile::tempdir().unwrap();
        let input = input(&folder.path().join("input"));
        let (dataset, _) =
            augment_dataset(&plan(), &input, 3, &folder.path().join("out"), &Silent).unwrap();
        let mut endings = BTreeMap::new();
        for (sample, before) in dataset.samples.iter().zip(&input.samples) {
            let record = &sample.record;
            let steps: Vec<Drawn> =
                serde_json::from_value(record.factors["transforms"].clone()).unwrap();
            let subject = Subject {
                image: read_image(Path::new(&record.source)).unwrap(),
                annotations: before.annotations.clone(),
                depth: None,
            };
            let replayed = apply(&steps, subject, &Library::default()).unwrap();
            assert_eq!(replayed.image, read_image(&sample.path).unwrap());
            assert_eq!(replayed.annotations.len(), sample.annotations.len());
            assert_eq!(record.source_origin, Some(Origin::Real));
            let ending = sample.path.extension().unwrap().to_owned();
            *endings.entry(ending).or_insert(0) += 1;
            let mask = dataset.root.join("masks").join(&before.file_name);
            let mask = image::open(mask).unwrap().into_luma16();
            assert_eq!(mask.dimensions(), (sample.width, sample.height));
            let flipped = steps
                .iter()
                .any(|next| matches!(next.transform, Transform::FlipHorizontal { .. }));
            let (left, right) = (
                mask.get_pixel(0, 0)[0],
                mask.get_pixel(sample.width - 1, 0)[0],
            );
            assert!(if flipped {
                left >= right
            } else {
                left <= right
            });
            assert!([1, 300].contains(&left));
        }
        assert_eq!(
            endings.len(),
            2,
            "PNG and JPEG are both stored: {endings:?}"
        );
    }

    #[test]
    fn names_that_differ_in_their_ending_alone_stay_apart() {
        let folder = tempfile::tempdir().unwrap();
        let mut input = input(&folder.path().join("input"));
        input.samples[1].file_name = "000.jpg".to_owned();
        input.samples[3].file_name = "002.png".to_owned();
        assert_eq!(
            stems(&input)[..5],
            ["000.png", "000.jpg", "002.png", "002.png-2", "004"]
        );
    }
}
