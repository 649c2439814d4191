//! How synthetic images differ from real ones, feature by feature and all together.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::path::PathBuf;

use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::Serialize;

use super::AuditError;
use super::classifier::{self, Rows, Separation};
use super::feature::{
    BOX_FEATURES, COUNT_FEATURE, Feature, ImageMeasures, PIXEL_FEATURES, common_side_px,
    measure_all,
};
use super::side::Side;
use super::statistics::{
    Ranked, holm, mean_and_variance, permutation_p_value, quantile, standardised_difference,
};
use crate::dataset::Split;
use crate::observer::Observer;
use crate::seed::SeedKey;

/// Relabellings of the groups that say which distances chance gives.
const PERMUTATIONS: usize = 1999;

/// A difference is clear where its p-value, corrected for the number of features, is at most
/// this.
pub(super) const SIGNIFICANCE: f64 = 0.05;

/// The fewest groups of each set from which anything is claimed.
pub(super) const MIN_GROUPS: usize = 5;

/// A comparison of real with synthetic images.
#[derive(Debug, Clone, Serialize)]
pub struct Gap {
    /// The main differences in words, and what the classifier says.
    pub sentences: Vec<String>,
    /// What could not be compared, and why.
    pub notes: Vec<String>,
    pub real: SetSummary,
    pub synthetic: SetSummary,
    /// The longer side that images were brought to, in pixels.
    pub common_side_px: u32,
    pub seed: u64,
    /// Relabellings behind each p-value of a feature.
    pub permutations: usize,
    /// The greatest Kolmogorov-Smirnov distance first.
    pub features: Vec<FeatureGap>,
    /// `None` where a set has too few groups of images.
    pub classifier: Option<Separation>,
}

/// What was compared of one data set.
#[derive(Debug, Clone, Serialize)]
pub struct SetSummary {
    pub path: PathBuf,
    /// `None` where all images are compared.
    pub split: Option<Split>,
    pub images: usize,
    /// Images of the data set with those of other splits.
    pub images_in_set: usize,
    /// Groups of images that are independent of each other.
    pub groups: usize,
    /// Boxes without crowd regions.
    pub boxes: usize,
    /// Mean over the images of their mean colours, in `0..=255`.
    pub mean_rgb: [f64; 3],
}

/// The values of one feature in one set.
#[derive(Debug, Clone, Serialize)]
pub struct Spread {
    pub low_10: f64,
    pub median: f64,
    pub high_90: f64,
    pub mean: f64,
    /// Images or boxes.
    pub count: usize,
    /// All values in order.
    #[serde(skip)]
    pub sorted: Vec<f64>,
}

impl Spread {
    /// Of at least one value.
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Spread {
            low_10: quantile(&values, 0.1),
            median: quantile(&values, 0.5),
            high_90: quantile(&values, 0.9),
            mean: mean_and_variance(&values).0,
            count: values.len(),
            sorted: values,
        }
    }
}

/// In which way the synthetic values differ: at least one of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub shift: Option<Shift>,
    pub breadth: Option<Breadth>,
}

/// Where the synthetic values lie as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shift {
    Higher,
    Lower,
}

/// How far the synthetic values reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Breadth {
    Wider,
    Narrower,
}

/// One feature in both sets.
#[derive(Debug, Clone, Serialize)]
pub struct FeatureGap {
    pub feature: &'static Feature,
    pub real: Spread,
    pub synthetic: Spread,
    /// Kolmogorov-Smirnov distance, in `0..=1`: the greatest difference of the distribution
    /// functions.
    pub ks_distance: f64,
    /// Share of relabellings of the groups that reach the distance.
    pub p_value: f64,
    /// The same, corrected for the number of features (Holm 1979).
    pub p_holm: f64,
    /// Synthetic minus real mean over the root of the mean variance; `None` where neither set
    /// varies.
    pub standardised_difference: Option<f64>,
    /// `None` where no difference is clear, and nothing is claimed.
    pub difference: Option<Difference>,
}

/// Compares real with synthetic images. The result depends on the images, their order and
/// `seed`, and not on the number of threads.
///
/// # Errors
/// An image that cannot be read or decoded.
pub fn compare(
    real: &Side,
    synthetic: &Side,
    seed: u64,
    observer: &dyn Observer,
) -> Result<Gap, AuditError> {
    let side_px = common_side_px([real.dataset(), synthetic.dataset()]);
    let real = Measured {
        images: measure_all(real, side_px, "real", observer)?,
        group: groups(real),
        side: real,
    };
    let synthetic = Measured {
        images: measure_all(synthetic, side_px, "synthetic", observer)?,
        group: groups(synthetic),
        side: synthetic,
    };
    Ok(gap_of(&real, &synthetic, side_px, seed, observer))
}

/// One side with what was measured of it.
struct Measured<'a> {
    side: &'a Side,
    images: Vec<ImageMeasures>,
    /// The group of each image, counted from 0.
    group: Vec<usize>,
}

/// The group of each image, counted from 0 in the order of the samples.
fn groups(side: &Side) -> Vec<usize> {
    let mut known = HashMap::new();
    let samples = &side.dataset().samples;
    let number = |sample: &'_ crate::dataset::Sample| {
        let next = known.len();
        *known.entry(sample.group().to_owned()).or_insert(next)
    };
    samples.iter().map(number).collect()
}

impl Measured<'_> {
    fn group_count(&self) -> usize {
        self.group.iter().max().map_or(0, |last| last + 1)
    }

    fn box_count(&self) -> usize {
        self.images.iter().map(|image| image.boxes.len()).sum()
    }

    fn summary(&self) -> SetSummary {
        let mean = |channel: usize| {
            let sum: f64 = self.images.iter().map(|i| i.mean_rgb[channel]).sum();
            sum / self.images.len().max(1) as f64
        };
        SetSummary {
            path: self.side.dataset().root.clone(),
            split: self.side.split(),
            images: self.images.len(),
            images_in_set: self.side.images_in_set(),
            groups: self.group_count(),
            boxes: self.box_count(),
            mean_rgb: [mean(0), mean(1), mean(2)],
        }
    }

    /// Every value of a feature, rounded, with the group that it belongs to.
    fn values(&self, which: Which) -> Vec<(f64, u32)> {
        let mut values = Vec::new();
        for (image, group) in self.images.iter().zip(&self.group) {
            let group = *group as u32;
            match which {
                Which::Pixels(index) => values.push((image.pixels[index], group)),
                Which::Count => values.push((image.boxes.len() as f64, group)),
                Which::Box(index) => {
                    values.extend(image.boxes.iter().map(|b| (b[index], group)));
                }
            }
        }
        for (value, _) in &mut values {
            *value = which.feature().rounded(*value);
        }
        values
    }
}

/// Where a feature is found.
#[derive(Debug, Clone, Copy)]
enum Which {
    Pixels(usize),
    Count,
    Box(usize),
}

impl Which {
    fn all(with_boxes: bool) -> Vec<Self> {
        let mut all: Vec<Which> = (0..PIXEL_FEATURES.len()).map(Which::Pixels).collect();
        if with_boxes {
            all.push(Which::Count);
            all.extend((0..BOX_FEATURES.len()).map(Which::Box));
        }
        all
    }

    fn feature(self) -> &'static Feature {
        match self {
            Which::Pixels(index) => &PIXEL_FEATURES[index],
            Which::Count => &COUNT_FEATURE,
            Which::Box(index) => &BOX_FEATURES[index],
        }
    }
}

fn gap_of(
    real: &Measured,
    synthetic: &Measured,
    side_px: u32,
    seed: u64,
    observer: &dyn Observer,
) -> Gap {
    let key = SeedKey::new(b"admix gap v1", seed);
    let with_boxes = real.box_count() > 0 && synthetic.box_count() > 0;
    let counts = [real.group_count(), synthetic.group_count()];
    let is_real: Vec<bool> = (0..counts[0] + counts[1])
        .map(|group| group < counts[0])
        .collect();
    let features = feature_gaps(
        real,
        synthetic,
        &Which::all(with_boxes),
        &is_real,
        &key,
        observer,
    );
    let rows = rows(real, synthetic, with_boxes);
    let separation = classifier::separate(&rows, &is_real, &key, observer);
    let mut gap = Gap {
        sentences: Vec::new(),
        notes: notes(real, synthetic),
        real: real.summary(),
        synthetic: synthetic.summary(),
        common_side_px: side_px,
        seed,
        permutations: PERMUTATIONS,
        features,
        classifier: separation,
    };
    gap.sentences = super::sentence::sentences(&gap);
    gap
}

fn feature_gaps(
    real: &Measured,
    synthetic: &Measured,
    all: &[Which],
    is_real: &[bool],
    key: &SeedKey,
    observer: &dyn Observer,
) -> Vec<FeatureGap> {
    let offset = real.group_count() as u32;
    let values: Vec<[Vec<(f64, u32)>; 2]> = all
        .iter()
        .map(|which| [real.values(*which), synthetic.values(*which)])
        .collect();
    let ranked: Vec<Ranked> = values
        .iter()
        .map(|[real, synthetic]| {
            let moved = synthetic.iter().map(|(v, group)| (*v, group + offset));
            Ranked::new(real.iter().copied().chain(moved).collect())
        })
        .collect();
    let distances: Vec<[f64; 2]> = ranked.iter().map(|r| r.distances(is_real)).collect();
    let reached = reached_by_chance(&ranked, &distances, is_real, key, observer);
    let [p_values, p_smaller] = [0, 1].map(|side| {
        let p_value = |reached: &[usize; 2]| permutation_p_value(reached[side], PERMUTATIONS);
        reached.iter().map(p_value).collect::<Vec<f64>>()
    });
    let corrected = holm(&p_values);
    let real_groups = is_real.iter().filter(|real| **real).count();
    let enough = real_groups.min(is_real.len() - real_groups) >= MIN_GROUPS;
    let mut gaps: Vec<FeatureGap> = all
        .iter()
        .zip(values)
        .enumerate()
        .map(|(index, (which, sets))| {
            let [real, synthetic] =
                sets.map(|set| Spread::of(set.into_iter().map(|(value, _)| value).collect()));
            let is_clear = enough && corrected[index] <= SIGNIFICANCE;
            let crosses = p_smaller[index] <= SIGNIFICANCE;
            FeatureGap {
                feature: which.feature(),
                standardised_difference: standardised_difference(&real.sorted, &synthetic.sorted),
                difference: is_clear.then(|| way(distances[index], crosses, &real, &synthetic)),
                real,
                synthetic,
                ks_distance: distances[index][0].max(distances[index][1]),
                p_value: p_values[index],
                p_holm: corrected[index],
            }
        })
        .collect();
    gaps.sort_by(|a, b| b.ks_distance.total_cmp(&a.ks_distance));
    gaps
}

/// For each feature, how many relabellings of whole groups have a distance that reaches the
/// larger, and the smaller, of its one-sided distances. All features share the relabellings.
fn reached_by_chance(
    ranked: &[Ranked],
    distances: &[[f64; 2]],
    is_real: &[bool],
    key: &SeedKey,
    observer: &dyn Observer,
) -> Vec<[usize; 2]> {
    observer.begin("permute", PERMUTATIONS as u64, 0);
    let reached = (0..PERMUTATIONS as u64)
        .into_par_iter()
        .map(|permutation| {
            let mut labels = is_real.to_vec();
            labels.shuffle(&mut key.generator("labels", permutation));
            observer.advance(1);
            ranked
                .iter()
                .zip(distances)
                .map(|(ranks, [higher, lower])| {
                    let by_chance = ranks.distance(&labels);
                    // Room for rounding: an equal distance is one that was reached.
                    [higher.max(*lower), higher.min(*lower)]
                        .map(|distance| usize::from(by_chance >= distance - 1e-12))
                })
                .collect::<Vec<_>>()
        })
        .reduce(
            || vec![[0; 2]; ranked.len()],
            |a, b| {
                let sum = |(a, b): (&[usize; 2], &[usize; 2])| [a[0] + b[0], a[1] + b[1]];
                a.iter().zip(&b).map(sum).collect()
            },
        );
    observer.end();
    reached
}

/// In which way the values differ, by the one-sided distances `[higher, lower]`. Where both are
/// too large for chance, the distribution functions cross (`crosses`): one set reaches further.
fn way([higher, lower]: [f64; 2], crosses: bool, real: &Spread, synthetic: &Spread) -> Difference {
    let is_higher = higher >= lower;
    // Medians of counts and of overlaps are often equal; the means then say which way.
    let moved = match synthetic.median - real.median {
        0.0 => synthetic.mean - real.mean,
        moved => moved,
    };
    let agrees = if is_higher { moved > 0.0 } else { moved < 0.0 };
    let is_shift = agrees && higher.min(lower) <= higher.max(lower) / 2.0;
    let width = |spread: &Spread| spread.high_90 - spread.low_10;
    let breadth = (crosses || !is_shift)
        .then(|| width(synthetic).total_cmp(&width(real)))
        .and_then(|order| match order {
            Ordering::Greater => Some(Breadth::Wider),
            Ordering::Less => Some(Breadth::Narrower),
            Ordering::Equal => None,
        });
    let shift = if is_higher {
        Shift::Higher
    } else {
        Shift::Lower
    };
    Difference {
        shift: (is_shift || breadth.is_none()).then_some(shift),
        breadth,
    }
}

/// One image's numbers: of its pixels, and of its boxes their number, the means of their
/// features and the greatest overlap.
pub(super) fn image_row(image: &ImageMeasures, with_boxes: bool) -> Vec<f64> {
    let overlap = BOX_FEATURES.len() - 1;
    let mut row = image.pixels.to_vec();
    if with_boxes {
        let count = image.boxes.len() as f64;
        row.push(count);
        row.extend((0..BOX_FEATURES.len()).map(|index| {
            let values = image.boxes.iter().map(|measured| measured[index]);
            if index == overlap {
                values.fold(0.0, f64::max)
            } else {
                // NaN where there are no boxes: not known.
                values.sum::<f64>() / count
            }
        }));
    }
    row
}

/// What the classifier sees of each image: real ones first, with their groups.
fn rows(real: &Measured, synthetic: &Measured, with_boxes: bool) -> Rows {
    let overlap = BOX_FEATURES.len() - 1;
    let mut inputs: Vec<String> = PIXEL_FEATURES.iter().map(|f| f.name.to_owned()).collect();
    if with_boxes {
        inputs.push(COUNT_FEATURE.name.to_owned());
        inputs.extend(BOX_FEATURES.iter().enumerate().map(|(index, feature)| {
            let summary = if index == overlap { "greatest" } else { "mean" };
            format!("{summary} {}", feature.name)
        }));
    }
    let row = |image: &ImageMeasures| image_row(image, with_boxes);
    let offset = real.group_count();
    let later = synthetic.group.iter().map(|group| group + offset);
    Rows {
        values: real
            .images
            .iter()
            .chain(&synthetic.images)
            .map(row)
            .collect(),
        group: real.group.iter().copied().chain(later).collect(),
        inputs,
    }
}

fn notes(real: &Measured, synthetic: &Measured) -> Vec<String> {
    let mut notes = Vec::new();
    let without = match [real.box_count(), synthetic.box_count()] {
        [0, 0] => Some("Neither set has boxes"),
        [0, _] => Some("The real set has no boxes"),
        [_, 0] => Some("The synthetic set has no boxes"),
        _ => None,
    };
    if let Some(without) = without {
        notes.push(format!("{without}, so that objects are not compared."));
    }
    for (name, side) in [("real", real), ("synthetic", synthetic)] {
        let groups = side.group_count();
        if groups < classifier::MIN_GROUPS {
            notes.push(format!(
                "No classifier was trained: it needs {} groups of images in each set, and the {name} set has {groups}.",
                classifier::MIN_GROUPS
            ));
            break;
        }
    }
    notes
}

#[cfg(test)]
pub(super) mod tests;
