//! COCO metrics of detections, equal to pycocotools on its own conventions.
//!
//! Matching and accumulation are those of the `hotcoco` crate, which follows
//! pycocotools (`cocoeval.py`: greedy matching by score, ten IoU thresholds, 101
//! recall points). `docs/evaluation.md` states where the two differ on purpose.

mod files;
mod resampling;

use std::collections::BTreeMap;
use std::path::PathBuf;

use hotcoco::{COCO, COCOeval, IouType};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use files::score_files;

use resampling::Redraws;

use crate::annotation::{BoundingBox, Detection};
use crate::dataset::Dataset;

/// The names of [`Evaluation::stats`], in pycocotools' order.
pub const STAT_NAMES: [&str; 12] = [
    "AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl",
];

/// What a metric is where there is nothing to measure it on.
pub const UNDEFINED: f64 = -1.0;

/// How detections are matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// Most detections an image and class that count, ascending: those of `AR1`,
    /// `AR10` and everything else in [`STAT_NAMES`].
    pub max_dets: [usize; 3],
    /// Ignore the classes: a box may match any box.
    pub class_agnostic: bool,
}

impl Default for Parameters {
    fn default() -> Self {
        Parameters {
            max_dets: [1, 10, 100],
            class_agnostic: false,
        }
    }
}

/// COCO metrics of one set of detections. All are in `0..=1`, or [`UNDEFINED`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// The 12 numbers in pycocotools' order: see [`STAT_NAMES`].
    pub stats: [f64; 12],
    /// Metrics of each class by its name; one entry `all` where classes are ignored.
    /// Where two classes share a name, `#` and the identifier are appended.
    pub per_category: BTreeMap<String, CategoryScore>,
    /// Detections of a class that the ground truth does not list. As in pycocotools
    /// they count neither for nor against the detector.
    #[serde(skip)]
    pub ignored_detections: usize,
}

/// Metrics of one class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CategoryScore {
    /// Average precision over IoU 0.50 to 0.95.
    #[serde(rename = "AP")]
    pub ap: f64,
    #[serde(rename = "AP50")]
    pub ap50: f64,
    #[serde(rename = "AP75")]
    pub ap75: f64,
    /// Objects below 32 x 32 square pixels.
    #[serde(rename = "APs")]
    pub ap_small: f64,
    /// Objects of 32 x 32 to 96 x 96 square pixels.
    #[serde(rename = "APm")]
    pub ap_medium: f64,
    /// Objects above 96 x 96 square pixels.
    #[serde(rename = "APl")]
    pub ap_large: f64,
    /// Average recall over IoU 0.50 to 0.95.
    #[serde(rename = "AR")]
    pub ar: f64,
}

impl Evaluation {
    /// Average precision over IoU 0.50 to 0.95 and all classes.
    pub fn ap(&self) -> f64 {
        self.stats[0]
    }

    /// Average precision at IoU 0.50.
    pub fn ap50(&self) -> f64 {
        self.stats[1]
    }

    /// Average recall at the greatest number of detections an image.
    pub fn ar(&self) -> f64 {
        self.stats[8]
    }
}

/// What more detections say than their score.
#[derive(Debug, Clone, PartialEq)]
pub struct Examination {
    pub evaluation: Evaluation,
    pub errors: ErrorKinds,
    pub redrawn: Redrawn,
}

/// AP on test splits drawn anew from the groups of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Redrawn {
    /// Groups that there are to draw.
    pub groups: usize,
    /// One a draw, the same draws for every set of detections; [`UNDEFINED`] in one without
    /// an object.
    pub ap: Vec<f64>,
}

/// By how much AP50 would rise were all errors of one kind mended, in `0..=1` (Bolya et al.
/// 2020, "TIDE: A General Toolbox for Identifying Object Detection Errors", section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ErrorKinds {
    /// An object that nothing points at.
    pub missed: f64,
    /// The right class in the wrong place: an IoU of 0.1 to 0.5.
    pub mislocated: f64,
    /// The right place and the wrong class.
    pub confused: f64,
    /// Wrong in both.
    pub both: f64,
    /// A second find of an object.
    pub duplicate: f64,
    /// A find where nothing is.
    pub background: f64,
}

/// Why detections could not be scored.
#[derive(Debug, Error)]
pub enum EvaluationError {
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path}: {message}", path = path.display())]
    Format { path: PathBuf, message: String },
    #[error(
        "detection {index}: image {image_id} is not in the ground truth; score against the data set that was predicted on"
    )]
    UnknownImage { index: usize, image_id: u64 },
    #[error(
        "detection {index} (image {image_id}): {message}; detections need finite boxes and scores"
    )]
    BadDetection {
        index: usize,
        image_id: u64,
        message: String,
    },
    #[error("max-dets {0:?}: three ascending numbers above 0 are needed, such as 1,10,100")]
    MaxDets([usize; 3]),
    #[error("the metrics could not be computed: {0}")]
    Metrics(#[from] hotcoco::Error),
}

/// Ground truth, reduced to what metrics need.
struct Truth {
    images: Vec<u64>,
    categories: Vec<(u64, String)>,
    objects: Vec<TruthObject>,
}

struct TruthObject {
    image_id: u64,
    category_id: u64,
    bbox: BoundingBox,
    area: f64,
    is_crowd: bool,
}

/// Scores detections against a data set with pycocotools' standard parameters.
/// Detections of equal score rank by image, then by their order in `detections`.
///
/// # Errors
/// A detection of an unknown image, or one whose box or score is not finite.
pub fn evaluate(
    ground_truth: &Dataset,
    detections: &[Detection],
) -> Result<Evaluation, EvaluationError> {
    evaluate_with(ground_truth, detections, Parameters::default())
}

/// As [`evaluate`], with other parameters.
pub fn evaluate_with(
    ground_truth: &Dataset,
    detections: &[Detection],
    parameters: Parameters,
) -> Result<Evaluation, EvaluationError> {
    evaluate_truth(&Truth::of(ground_truth), detections, parameters)
}

/// As [`evaluate`], with the kinds of errors, and the AP on `redraws` other test splits.
pub fn examine(
    ground_truth: &Dataset,
    detections: &[Detection],
    redraws: usize,
) -> Result<Examination, EvaluationError> {
    const RIGHT_IOU: f64 = 0.5;
    const BACKGROUND_IOU: f64 = 0.1;
    let truth = Truth::of(ground_truth);
    let (evaluator, evaluation) = matched(&truth, detections, Parameters::default())?;
    let tide = evaluator.tide_errors(RIGHT_IOU, BACKGROUND_IOU)?;
    let gain = |kind: &str| tide.delta_ap.get(kind).copied().unwrap_or(0.0);
    Ok(Examination {
        errors: ErrorKinds {
            missed: gain("Miss"),
            mislocated: gain("Loc"),
            confused: gain("Cls"),
            both: gain("Both"),
            duplicate: gain("Dupe"),
            background: gain("Bkg"),
        },
        redrawn: Redraws::new(ground_truth, redraws).score(&evaluator),
        evaluation,
    })
}

impl Truth {
    fn of(dataset: &Dataset) -> Self {
        let objects = dataset.samples.iter().flat_map(|sample| {
            sample.annotations.iter().map(|annotation| TruthObject {
                image_id: sample.id,
                category_id: u64::from(annotation.category_id),
                bbox: annotation.bbox,
                area: annotation.area,
                is_crowd: annotation.is_crowd,
            })
        });
        Truth {
            images: dataset.samples.iter().map(|s| s.id).collect(),
            categories: dataset
                .categories
                .iter()
                .map(|category| (u64::from(category.id), category.name.clone()))
                .collect(),
            objects: objects.collect(),
        }
    }
}

fn evaluate_truth(
    truth: &Truth,
    detections: &[Detection],
    parameters: Parameters,
) -> Result<Evaluation, EvaluationError> {
    matched(truth, detections, parameters).map(|(_, evaluation)| evaluation)
}

/// The metrics, and the matches that they come from.
fn matched(
    truth: &Truth,
    detections: &[Detection],
    parameters: Parameters,
) -> Result<(COCOeval, Evaluation), EvaluationError> {
    let [a, b, c] = parameters.max_dets;
    if !(0 < a && a < b && b < c) {
        return Err(EvaluationError::MaxDets(parameters.max_dets));
    }
    let ignored_detections = check_detections(truth, detections)?;
    let ground_truth = COCO::from_dataset(hotcoco_truth(truth));
    let found = ground_truth.load_res_anns(detections.iter().map(hotcoco_detection).collect())?;
    let mut evaluator = COCOeval::new(ground_truth, found, IouType::Bbox);
    evaluator.params.max_dets = parameters.max_dets.to_vec();
    evaluator.params.use_cats = !parameters.class_agnostic;
    evaluator.evaluate()?;
    evaluator.accumulate();
    let lookup = Lookup::new(&evaluator)?;
    let evaluation = Evaluation {
        stats: lookup.stats(),
        per_category: lookup.per_category(truth),
        ignored_detections,
    };
    Ok((evaluator, evaluation))
}

/// How many detections are of a class that the ground truth does not list.
fn check_detections(truth: &Truth, detections: &[Detection]) -> Result<usize, EvaluationError> {
    let images: std::collections::HashSet<u64> = truth.images.iter().copied().collect();
    let categories: std::collections::HashSet<u64> =
        truth.categories.iter().map(|(id, _)| *id).collect();
    let mut ignored = 0;
    for (index, detection) in detections.iter().enumerate() {
        let image_id = detection.image_id;
        if !images.contains(&image_id) {
            return Err(EvaluationError::UnknownImage { index, image_id });
        }
        let bbox: [f64; 4] = detection.bbox.into();
        if !bbox.iter().all(|value| value.is_finite()) || !detection.score.is_finite() {
            let message = format!("box {bbox:?}, score {}", detection.score);
            return Err(EvaluationError::BadDetection {
                index,
                image_id,
                message,
            });
        }
        ignored += usize::from(!categories.contains(&u64::from(detection.category_id)));
    }
    Ok(ignored)
}

fn hotcoco_truth(truth: &Truth) -> hotcoco::Dataset {
    let images = truth.images.iter().map(|&id| hotcoco::Image {
        id,
        ..Default::default()
    });
    let categories = truth.categories.iter().map(|(id, name)| hotcoco::Category {
        id: *id,
        name: name.clone(),
        ..Default::default()
    });
    // Identifiers are made anew, from 1: pycocotools reads a match to an object with
    // identifier 0 as no match, and nothing else depends on them.
    let annotations = (1..)
        .zip(&truth.objects)
        .map(|(id, o)| hotcoco::Annotation {
            id,
            image_id: o.image_id,
            category_id: o.category_id,
            bbox: Some(o.bbox.into()),
            area: Some(o.area),
            iscrowd: o.is_crowd,
            ..Default::default()
        });
    hotcoco::Dataset {
        images: images.collect(),
        annotations: annotations.collect(),
        categories: categories.collect(),
        ..Default::default()
    }
}

fn hotcoco_detection(detection: &Detection) -> hotcoco::Annotation {
    hotcoco::Annotation {
        image_id: detection.image_id,
        category_id: u64::from(detection.category_id),
        bbox: Some(detection.bbox.into()),
        score: Some(detection.score),
        ..Default::default()
    }
}

/// Reads means from the accumulated precision (IoU, recall, class, area, detections)
/// and recall (IoU, class, area, detections).
struct Lookup<'a> {
    curves: &'a hotcoco::AccumulatedEval,
}

/// Positions of the area ranges in hotcoco's and pycocotools' parameters.
const ALL: usize = 0;
const SMALL: usize = 1;
const MEDIUM: usize = 2;
const LARGE: usize = 3;
/// Positions of IoU 0.50 and 0.75 among the ten thresholds.
const IOU_50: usize = 0;
const IOU_75: usize = 5;

impl<'a> Lookup<'a> {
    fn new(evaluator: &'a COCOeval) -> Result<Self, EvaluationError> {
        let curves = evaluator
            .accumulated()
            .ok_or_else(|| hotcoco::Error::InvalidState("nothing was accumulated".to_owned()))?;
        Ok(Lookup { curves })
    }

    /// Mean of the defined values of precision; one IoU threshold or all, one class or all.
    fn precision(&self, iou: Option<usize>, class: Option<usize>, area: usize) -> f64 {
        let shape = &self.curves.shape;
        let last = shape.m - 1;
        let values = positions(iou, shape.t).flat_map(|t| {
            (0..shape.r).flat_map(move |r| {
                positions(class, shape.k)
                    .map(move |k| self.curves.precision_idx(t, r, k, area, last))
            })
        });
        mean(values.map(|index| self.curves.precision[index]))
    }

    /// As [`Self::precision`], of the greatest recall over all IoU thresholds.
    fn recall(&self, class: Option<usize>, area: usize, max_det: usize) -> f64 {
        let shape = &self.curves.shape;
        let values = (0..shape.t).flat_map(|t| {
            positions(class, shape.k).map(move |k| self.curves.recall_idx(t, k, area, max_det))
        });
        mean(values.map(|index| self.curves.recall[index]))
    }

    fn stats(&self) -> [f64; 12] {
        [
            self.precision(None, None, ALL),
            self.precision(Some(IOU_50), None, ALL),
            self.precision(Some(IOU_75), None, ALL),
            self.precision(None, None, SMALL),
            self.precision(None, None, MEDIUM),
            self.precision(None, None, LARGE),
            self.recall(None, ALL, 0),
            self.recall(None, ALL, 1),
            self.recall(None, ALL, 2),
            self.recall(None, SMALL, 2),
            self.recall(None, MEDIUM, 2),
            self.recall(None, LARGE, 2),
        ]
    }

    fn category(&self, class: usize) -> CategoryScore {
        let class = Some(class);
        CategoryScore {
            ap: self.precision(None, class, ALL),
            ap50: self.precision(Some(IOU_50), class, ALL),
            ap75: self.precision(Some(IOU_75), class, ALL),
            ap_small: self.precision(None, class, SMALL),
            ap_medium: self.precision(None, class, MEDIUM),
            ap_large: self.precision(None, class, LARGE),
            ar: self.recall(class, ALL, 2),
        }
    }

    fn per_category(&self, truth: &Truth) -> BTreeMap<String, CategoryScore> {
        if self.curves.cat_ids.is_empty() && self.curves.shape.k == 1 {
            return BTreeMap::from([("all".to_owned(), self.category(0))]);
        }
        let names: BTreeMap<u64, &str> = truth
            .categories
            .iter()
            .map(|(id, name)| (*id, name.as_str()))
            .collect();
        let shared = |name: &str| names.values().filter(|other| **other == name).count() > 1;
        let entry = |(class, id): (usize, &u64)| {
            let name = match names.get(id) {
                Some(name) if !name.is_empty() && !shared(name) => (*name).to_owned(),
                other => format!("{}#{id}", other.copied().unwrap_or_default()),
            };
            (name, self.category(class))
        };
        self.curves.cat_ids.iter().enumerate().map(entry).collect()
    }
}

fn positions(one: Option<usize>, count: usize) -> std::ops::Range<usize> {
    one.map_or(0..count, |index| index..index + 1)
}

/// Mean of the values above [`UNDEFINED`], which is also the mean of none.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values
        .filter(|value| *value > UNDEFINED)
        .fold((0.0, 0_u64), |(sum, count), value| (sum + value, count + 1));
    if count == 0 {
        UNDEFINED
    } else {
        sum / count as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotation::{Annotation, Category};
    use crate::dataset::{Origin, Record, Sample};

    fn dataset() -> Dataset {
        let sample = |id: u64| Sample {
            id,
            path: PathBuf::new(),
            file_name: format!("{id}.png"),
            width: 200,
            height: 200,
            annotations: vec![Annotation {
                id: 0,
                category_id: 1,
                bbox: BoundingBox::from([10.0, 10.0, 50.0, 50.0]),
                area: 2500.0,
                is_crowd: false,
                extra: serde_json::Map::new(),
            }],
            record: Record::new(id, format!("{id}.png"), Origin::Real),
        };
        Dataset {
            root: PathBuf::new(),
            categories: [(1, "die"), (4, "coin")]
                .map(|(id, name)| Category {
                    id,
                    name: name.into(),
                    ..Category::default()
                })
                .to_vec(),
            samples: vec![sample(3), sample(9)],
            warnings: Vec::new(),
        }
    }

    fn detection(image_id: u64, category_id: u32, score: f64) -> Detection {
        Detection {
            image_id,
            category_id,
            bbox: BoundingBox::from([10.0, 10.0, 50.0, 50.0]),
            score,
        }
    }

    #[test]
    fn one_of_two_objects_found() {
        let evaluation = evaluate(&dataset(), &[detection(3, 1, 0.9)]).unwrap();
        // Precision is 1 up to recall 0.5, which is 51 of the 101 points.
        assert!((evaluation.ap() - 51.0 / 101.0).abs() < 1e-12);
        assert!((evaluation.ap50() - 51.0 / 101.0).abs() < 1e-12);
        assert_eq!(evaluation.ar(), 0.5);
        assert_eq!(evaluation.stats[3], UNDEFINED);
        assert_eq!(evaluation.per_category["coin"].ap, UNDEFINED);
        assert_eq!(evaluation.per_category["die"].ar, 0.5);
    }

    #[test]
    fn no_detections_score_zero_and_no_objects_are_undefined() {
        assert_eq!(evaluate(&dataset(), &[]).unwrap().ap(), 0.0);
        let mut empty = dataset();
        empty.samples.iter_mut().for_each(|s| s.annotations.clear());
        assert_eq!(
            evaluate(&empty, &[detection(3, 1, 0.5)]).unwrap().stats,
            [UNDEFINED; 12]
        );
        empty.samples.clear();
        empty.categories.clear();
        assert_eq!(evaluate(&empty, &[]).unwrap().stats, [UNDEFINED; 12]);
    }

    #[test]
    fn bad_detections_are_refused_by_name() {
        let unknown = evaluate(&dataset(), &[detection(3, 1, 0.9), detection(4, 1, 0.9)]);
        let message = unknown.unwrap_err().to_string();
        assert!(message.contains("detection 1: image 4"), "{message}");
        let nan = evaluate(&dataset(), &[detection(3, 1, f64::NAN)]);
        assert!(nan.unwrap_err().to_string().contains("NaN"));
        let other = evaluate(&dataset(), &[detection(3, 7, 0.9)]).unwrap();
        assert_eq!((other.ignored_detections, other.ap()), (1, 0.0));
    }

    /// The second image's object is missed and the first one's is found: a draw scores by how
    /// often it holds each.
    #[test]
    fn redrawn_splits_score_by_what_they_hold() {
        let examined = examine(&dataset(), &[detection(3, 1, 0.9)], 300).unwrap();
        assert!((examined.evaluation.ap() - 51.0 / 101.0).abs() < 1e-12);
        let mut counts = [0; 3];
        for ap in &examined.redrawn.ap {
            let kind = [0.0, 51.0 / 101.0, 1.0]
                .iter()
                .position(|v| (v - ap).abs() < 1e-12);
            counts[kind.unwrap()] += 1;
        }
        // Binomial of two draws: a quarter, a half, a quarter.
        assert!(
            (50..100).contains(&counts[0]) && (50..100).contains(&counts[2]),
            "{counts:?}"
        );
        let errors = examined.errors;
        assert!((errors.missed - 50.0 / 101.0).abs() < 1e-9, "{errors:?}");
        assert_eq!((errors.background, errors.mislocated), (0.0, 0.0));
        let again = examine(&dataset(), &[detection(3, 1, 0.9)], 300).unwrap();
        assert_eq!(again, examined);
        // Images of one group come and go together.
        let mut grouped = dataset();
        for sample in &mut grouped.samples {
            sample.record.group = "burst".to_owned();
        }
        let together = examine(&grouped, &[detection(3, 1, 0.9)], 20).unwrap();
        assert!(
            together
                .redrawn
                .ap
                .iter()
                .all(|ap| (ap - 51.0 / 101.0).abs() < 1e-12)
        );
    }

    /// Many random boxes of two classes: a split whose every image is drawn as often as it is
    /// there has the AP of the split itself, and one that lacks an image that of the rest.
    #[test]
    fn the_curve_is_that_of_the_metrics() {
        use rand::RngExt;
        let mut generator = crate::seed::SeedKey::new(b"curve", 1).generator("boxes", 0);
        let mut truth = dataset();
        let template = truth.samples[0].clone();
        truth.samples = (1..=12)
            .map(|id| Sample {
                id,
                ..template.clone()
            })
            .collect();
        let mut found = Vec::new();
        for sample in &mut truth.samples {
            sample.record.group = sample.id.to_string();
            sample.annotations.clear();
            for index in 0..6 {
                let mut place = || 150.0 * generator.random::<f64>();
                let bbox = BoundingBox::from([place(), place(), 40.0, 40.0]);
                let category_id = if index % 2 == 0 { 1 } else { 4 };
                let annotation = &template.annotations[0];
                sample.annotations.push(Annotation {
                    bbox,
                    category_id,
                    ..annotation.clone()
                });
                let mut jitter = || 16.0 * (generator.random::<f64>() - 0.5);
                found.push(Detection {
                    image_id: sample.id,
                    category_id,
                    bbox: BoundingBox::from([bbox.x + jitter(), bbox.y + jitter(), 40.0, 40.0]),
                    score: generator.random::<f64>(),
                });
            }
        }
        let draws = 40;
        let examined = examine(&truth, &found, draws).unwrap();
        let redraws = Redraws::new(&truth, draws);
        let mut differ = 0;
        for (draw, ap) in examined.redrawn.ap.iter().enumerate() {
            // The same split written out, an image drawn twice as two images.
            let mut copied = truth.clone();
            copied.samples.clear();
            let mut copies = Vec::new();
            for sample in &truth.samples {
                for copy in 0..u64::from(redraws.times(draw, sample.id)) {
                    let id = sample.id * 100 + copy;
                    copied.samples.push(Sample {
                        id,
                        ..sample.clone()
                    });
                    let of_image = found.iter().filter(|d| d.image_id == sample.id);
                    copies.extend(of_image.map(|d| Detection {
                        image_id: id,
                        ..d.clone()
                    }));
                }
            }
            let expected = evaluate(&copied, &copies).unwrap().ap();
            assert!(
                (ap - expected).abs() < 1e-9,
                "draw {draw}: {ap} and {expected}"
            );
            differ += usize::from((ap - examined.evaluation.ap()).abs() > 1e-6);
        }
        assert!(differ > draws / 2, "the draws differ from the split");
    }

    #[test]
    fn max_dets_must_ascend() {
        let parameters = Parameters {
            max_dets: [1, 1, 100],
            ..Parameters::default()
        };
        assert!(evaluate_with(&dataset(), &[], parameters).is_err());
    }
}
