//! AP on other test images: the test split drawn anew, group by group.

use std::collections::{BTreeMap, HashMap};

use hotcoco::{COCOeval, EvalImg};
use rand::RngExt;

use super::Redrawn;
use crate::dataset::Dataset;
use crate::seed::SeedKey;

/// Points at which the precision of a curve is read, as in pycocotools.
const RECALL_POINTS: usize = 101;

/// How often each image stands in test splits drawn anew.
///
/// Groups are drawn with replacement, since images of one group, such as the frames of a
/// burst, are no independent evidence (Efron and Tibshirani 1993, section 8.5). The draws
/// depend on the groups' order alone, so that detectors scored on one split are scored on
/// the same new ones, and their differences are paired.
pub(super) struct Redraws {
    groups: usize,
    /// Place of each image in `counts`.
    places: HashMap<u64, usize>,
    /// One row a draw.
    counts: Vec<Vec<u32>>,
}

impl Redraws {
    pub fn new(dataset: &Dataset, draws: usize) -> Self {
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, sample) in dataset.samples.iter().enumerate() {
            groups.entry(sample.group()).or_default().push(place);
        }
        let groups: Vec<Vec<usize>> = groups.into_values().collect();
        let key = SeedKey::new(b"test images", 0);
        let counts = (0..draws).map(|draw| {
            let mut generator = key.generator("groups", draw as u64);
            let mut counts = vec![0; dataset.samples.len()];
            for _ in 0..groups.len() {
                for &place in &groups[generator.random_range(0..groups.len())] {
                    counts[place] += 1;
                }
            }
            counts
        });
        Redraws {
            groups: groups.len(),
            counts: counts.collect(),
            places: dataset
                .samples
                .iter()
                .enumerate()
                .map(|(place, sample)| (sample.id, place))
                .collect(),
        }
    }

    /// How often a draw holds an image.
    #[cfg(test)]
    pub fn times(&self, draw: usize, image: u64) -> u32 {
        self.places
            .get(&image)
            .map_or(0, |&place| self.counts[draw][place])
    }

    /// AP over IoU 0.50 to 0.95 and all classes in each draw; [`super::UNDEFINED`] in one without
    /// an object.
    pub fn score(&self, evaluator: &COCOeval) -> Redrawn {
        let all_sizes = evaluator.params.area_ranges.first().map(|area| area.range);
        let mut classes: BTreeMap<u64, Class> = BTreeMap::new();
        for cell in evaluator.eval_imgs().iter().flatten() {
            if Some(cell.area_rng) == all_sizes
                && let Some(&place) = self.places.get(&cell.image_id)
            {
                classes
                    .entry(cell.category_id)
                    .or_default()
                    .add(cell, place);
            }
        }
        for class in classes.values_mut() {
            // Stable, as pycocotools' merge sort: ties stay in the order of the images.
            class.found.sort_by(|a, b| b.score.total_cmp(&a.score));
        }
        let thresholds = evaluator.params.iou_thrs.len();
        let score = |counts: &Vec<u32>| {
            let values = classes.values().filter_map(|class| {
                let objects = class.objects(counts);
                (objects > 0).then(|| class.ap(counts, objects, thresholds))
            });
            super::mean(values)
        };
        Redrawn {
            groups: self.groups,
            ap: self.counts.iter().map(score).collect(),
        }
    }
}

/// All that was found of one class, and how much there was to find.
#[derive(Default)]
struct Class {
    /// By falling score.
    found: Vec<Found>,
    /// Place of the image, objects that count.
    truths: Vec<(usize, u32)>,
}

struct Found {
    score: f64,
    place: usize,
    /// A bit for each IoU threshold: whether an object was hit, and whether the detection
    /// counts at all.
    hit: u32,
    counts: u32,
}

impl Class {
    fn add(&mut self, cell: &EvalImg, place: usize) {
        self.truths
            .push((place, cell.num_gt_in_denominator() as u32));
        for (index, &score) in cell.dt_scores.iter().enumerate() {
            let bits = |of: &dyn Fn(usize) -> bool| {
                let thresholds = 0..cell.dt_matched.num_rows();
                thresholds.fold(0, |bits, t| bits | (u32::from(of(t)) << t))
            };
            self.found.push(Found {
                score,
                place,
                hit: bits(&|t| cell.dt_matched[(t, index)]),
                counts: bits(&|t| !cell.dt_ignore[(t, index)]),
            });
        }
    }

    fn objects(&self, counts: &[u32]) -> u64 {
        let of = |(place, objects): &(usize, u32)| u64::from(counts[*place] * objects);
        self.truths.iter().map(of).sum()
    }

    /// Mean over the IoU thresholds of the area below the curve of precision, read at 101
    /// recalls as pycocotools does. An image that was drawn twice adds its detections twice.
    fn ap(&self, counts: &[u32], objects: u64, thresholds: usize) -> f64 {
        let mut curve: Vec<(f64, f64)> = Vec::with_capacity(self.found.len());
        let mut sum = 0.0;
        for threshold in 0..thresholds {
            let bit = 1 << threshold;
            let (mut right, mut wrong) = (0_u64, 0_u64);
            curve.clear();
            for found in &self.found {
                let times = u64::from(counts[found.place]);
                if times == 0 || found.counts & bit == 0 {
                    continue;
                }
                if found.hit & bit == 0 {
                    wrong += times;
                } else {
                    right += times;
                    let precision = right as f64 / (right + wrong) as f64;
                    curve.push((right as f64 / objects as f64, precision));
                }
            }
            sum += area(&curve);
        }
        sum / thresholds as f64
    }
}

/// Mean precision at 101 recalls: of each, the best precision at that recall or a higher
/// one. `curve` rises in recall.
fn area(curve: &[(f64, f64)]) -> f64 {
    let mut sum = 0.0;
    let (mut best, mut rest) = (0.0_f64, curve);
    for point in (0..RECALL_POINTS).rev() {
        let recall = point as f64 / (RECALL_POINTS - 1) as f64;
        while let Some((last, shorter)) = rest.split_last()
            && last.0 >= recall
        {
            best = best.max(last.1);
            rest = shorter;
        }
        sum += best;
    }
    sum / RECALL_POINTS as f64
}
