//! How well a classifier tells the two sets apart, from the features of whole images.
//!
//! A two-sample test by classification (Lopez-Paz and Oquab 2017): if images that the
//! classifier was not trained on can be told apart, the sets differ.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::Serialize;

use super::scale::Scale;
use super::statistics::{permutation_p_value, quantile};
use crate::observer::Observer;
use crate::seed::{Generator, SeedKey};

/// Parts of the cross-validation.
const FOLDS: usize = 5;

/// The fewest groups of a set that leave two to be judged in every fold.
pub(super) const MIN_GROUPS: usize = 2 * FOLDS;

/// Relabellings that say what chance gives.
pub(super) const PERMUTATIONS: usize = 499;

/// Newton steps of a fit; more than six are rare.
const MAX_STEPS: usize = 30;

/// How well the sets are told apart.
#[derive(Debug, Clone, Serialize)]
pub struct Separation {
    /// Area under the ROC curve, within `0..=1`: how often a synthetic image scores higher
    /// than a real one of the same fold. 0.5 is chance.
    pub auc: f64,
    /// 95 % interval of the area (Newcombe 2006, method 5, on the numbers of groups).
    pub auc_low: f64,
    pub auc_high: f64,
    /// The area that 95 % of random relabellings stay below.
    pub chance_high: f64,
    /// Share of relabellings that reach the area.
    pub p_value: f64,
    pub permutations: usize,
    pub folds: usize,
    /// The features that the classifier sees.
    pub inputs: Vec<String>,
}

/// Images as the classifier sees them.
#[derive(Debug)]
pub(super) struct Rows {
    /// Image after image, one value an input; NaN where an image has none.
    pub values: Vec<Vec<f64>>,
    /// The group of each image.
    pub group: Vec<usize>,
    pub inputs: Vec<String>,
}

/// Trains and judges the classifier by cross-validation over groups, with `is_real` of each
/// group. `None` where a set has fewer than [`MIN_GROUPS`] groups.
pub(super) fn separate(
    rows: &Rows,
    is_real: &[bool],
    key: &SeedKey,
    observer: &dyn Observer,
) -> Option<Separation> {
    let real = is_real.iter().filter(|real| **real).count();
    let synthetic = is_real.len() - real;
    if real.min(synthetic) < MIN_GROUPS {
        return None;
    }
    let auc = cross_validated_auc(rows, is_real, &mut key.generator("folds", 0));
    observer.begin("classify", PERMUTATIONS as u64, 0);
    let mut by_chance: Vec<f64> = (1..=PERMUTATIONS as u64)
        .into_par_iter()
        .map(|permutation| {
            let mut labels = is_real.to_vec();
            labels.shuffle(&mut key.generator("classifier labels", permutation));
            let mut folds = key.generator("folds", permutation);
            let auc = cross_validated_auc(rows, &labels, &mut folds);
            observer.advance(1);
            auc
        })
        .collect();
    observer.end();
    let reached = by_chance.iter().filter(|chance| **chance >= auc).count();
    by_chance.sort_by(f64::total_cmp);
    let (auc_low, auc_high) = auc_interval(auc, real, synthetic);
    Some(Separation {
        auc,
        auc_low,
        auc_high,
        chance_high: quantile(&by_chance, 0.95),
        p_value: permutation_p_value(reached, PERMUTATIONS),
        permutations: PERMUTATIONS,
        folds: FOLDS,
        inputs: rows.inputs.clone(),
    })
}

/// How well a classifier tells two sets apart by any numbers of their images, each beside the
/// name of its group: the cross-validated area under the ROC curve, as in [`Separation`].
/// `None` where a set has fewer than ten groups.
pub fn domain_auc(
    real: &[(String, Vec<f64>)],
    synthetic: &[(String, Vec<f64>)],
    key: &SeedKey,
) -> Option<f64> {
    let mut is_real = Vec::new();
    let mut group = Vec::new();
    for (set, real) in [(real, true), (synthetic, false)] {
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        for (name, _) in set {
            let next = is_real.len();
            let number = *numbers.entry(name).or_insert(next);
            if number == next {
                is_real.push(real);
            }
            group.push(number);
        }
        if numbers.len() < MIN_GROUPS {
            return None;
        }
    }
    let values = real.iter().chain(synthetic);
    let rows = Rows {
        values: values.map(|(_, numbers)| numbers.clone()).collect(),
        group,
        inputs: Vec::new(),
    };
    let mut folds = key.generator("folds", 0);
    Some(cross_validated_auc(&rows, &is_real, &mut folds))
}

/// The area under the ROC curve over pairs of one fold. Scores of different folds come from
/// different classifiers and are not compared; pooled, they would give less than 0.5 by chance.
fn cross_validated_auc(rows: &Rows, is_real: &[bool], generator: &mut Generator) -> f64 {
    let fold_of_group = deal_folds(is_real, generator);
    let fold_of = |image: usize| fold_of_group[rows.group[image]];
    let label_of = |image: usize| is_real[rows.group[image]];
    let (mut won, mut pairs) = (0.0, 0.0);
    for fold in 0..FOLDS {
        let (judged, train): (Vec<usize>, Vec<usize>) =
            (0..rows.values.len()).partition(|image| fold_of(*image) == fold);
        let scale = Scale::of(train.iter().map(|image| rows.values[*image].as_slice()));
        let prepared: Vec<Vec<f64>> = train
            .iter()
            .map(|image| with_constant(&scale, &rows.values[*image]))
            .collect();
        let is_synthetic: Vec<bool> = train.iter().map(|image| !label_of(*image)).collect();
        let weights = fit(&prepared, &is_synthetic);
        let scores: Vec<(f64, bool)> = judged
            .iter()
            .map(|image| {
                let score = dot(&weights, &with_constant(&scale, &rows.values[*image]));
                (score, !label_of(*image))
            })
            .collect();
        let (fold_won, fold_pairs) = ordered_pairs(scores);
        won += fold_won;
        pairs += fold_pairs;
    }
    won / pairs
}

/// The fold of each group. Groups of each set are dealt in turn, so that every fold has both.
fn deal_folds(is_real: &[bool], generator: &mut Generator) -> Vec<usize> {
    let mut order: Vec<usize> = (0..is_real.len()).collect();
    order.shuffle(generator);
    let mut next = [0, 0];
    let mut folds = vec![0; is_real.len()];
    for group in order {
        let turn = &mut next[usize::from(is_real[group])];
        folds[group] = *turn;
        *turn = (*turn + 1) % FOLDS;
    }
    folds
}

/// How many pairs of a positive and a negative score are in order, ties counting half, and
/// how many pairs there are.
fn ordered_pairs(mut scores: Vec<(f64, bool)>) -> (f64, f64) {
    scores.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut won, mut negatives, mut positives) = (0.0, 0.0, 0.0);
    for tied in scores.chunk_by(|a, b| a.0 == b.0) {
        let tied_positives = tied.iter().filter(|(_, positive)| *positive).count() as f64;
        let tied_negatives = tied.len() as f64 - tied_positives;
        won += tied_positives * (negatives + tied_negatives / 2.0);
        negatives += tied_negatives;
        positives += tied_positives;
    }
    (won, positives * negatives)
}

/// Standardised values, and a final 1 for the constant.
fn with_constant(scale: &Scale, row: &[f64]) -> Vec<f64> {
    let mut values = scale.standardised(row);
    values.push(1.0);
    values
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Logistic regression with an L2 penalty by Newton's method (Hastie et al., *The Elements of
/// Statistical Learning*, 4.4.1): weights of the inputs, the last of them, the constant, without
/// penalty. Both classes weigh the same. The penalty is that of one image: half the squared
/// norm over the number of images, beside the mean loss.
fn fit(rows: &[Vec<f64>], is_positive: &[bool]) -> Vec<f64> {
    let inputs = rows.first().map_or(0, Vec::len);
    let positives = is_positive.iter().filter(|positive| **positive).count();
    let share = [rows.len() - positives, positives].map(|count| 0.5 / count.max(1) as f64);
    let penalty = 1.0 / rows.len().max(1) as f64;
    let is_constant = |input: usize| input + 1 == inputs;
    let loss = |weights: &[f64]| {
        let of_row = |(row, positive): (&Vec<f64>, &bool)| {
            let margin = dot(weights, row) * if *positive { 1.0 } else { -1.0 };
            // ln(1 + exp(-m)) without overflow.
            share[usize::from(*positive)] * ((-margin.abs()).exp().ln_1p() + (-margin).max(0.0))
        };
        let squares: f64 = weights[..inputs - 1].iter().map(|w| w * w).sum();
        rows.iter().zip(is_positive).map(of_row).sum::<f64>() + penalty / 2.0 * squares
    };
    let mut weights = vec![0.0; inputs];
    if inputs == 0 {
        return weights;
    }
    let mut best = loss(&weights);
    for _ in 0..MAX_STEPS {
        let mut gradient = vec![0.0; inputs];
        let mut hessian = vec![0.0; inputs * inputs];
        for input in 0..inputs {
            // A little on the constant as well keeps the matrix positive definite.
            let ridge = if is_constant(input) { 1e-9 } else { penalty };
            gradient[input] = ridge * weights[input];
            hessian[input * inputs + input] = ridge;
        }
        for (row, positive) in rows.iter().zip(is_positive) {
            let probability = 1.0 / (1.0 + (-dot(&weights, row)).exp());
            let share = share[usize::from(*positive)];
            let error = share * (probability - f64::from(u8::from(*positive)));
            let curvature = share * probability * (1.0 - probability);
            for (i, value) in row.iter().enumerate() {
                gradient[i] += error * value;
                for (j, other) in row.iter().enumerate().take(i + 1) {
                    hessian[i * inputs + j] += curvature * value * other;
                }
            }
        }
        if gradient.iter().all(|slope| slope.abs() < 1e-7) {
            break;
        }
        let step = solve_positive_definite(hessian, gradient);
        // A full step can overshoot far from the minimum; half of it, again and again, cannot.
        let mut length = 1.0;
        let moved = loop {
            let tried: Vec<f64> = weights
                .iter()
                .zip(&step)
                .map(|(w, s)| w - length * s)
                .collect();
            let value = loss(&tried);
            if value < best {
                best = value;
                weights = tried;
                break true;
            }
            length /= 2.0;
            if length < 1e-6 {
                break false;
            }
        };
        if !moved {
            break;
        }
    }
    weights
}

/// Solves `A x = b` by Cholesky's method, for the lower triangle of a positive definite `A`
/// stored row by row.
fn solve_positive_definite(mut a: Vec<f64>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for i in 0..n {
        for j in 0..=i {
            let done: f64 = (0..j).map(|k| a[i * n + k] * a[j * n + k]).sum();
            let rest = a[i * n + j] - done;
            a[i * n + j] = if i == j {
                rest.max(1e-300).sqrt()
            } else {
                rest / a[j * n + j]
            };
        }
    }
    for i in 0..n {
        let done: f64 = (0..i).map(|k| a[i * n + k] * b[k]).sum();
        b[i] = (b[i] - done) / a[i * n + i];
    }
    for i in (0..n).rev() {
        let done: f64 = (i + 1..n).map(|k| a[k * n + i] * b[k]).sum();
        b[i] = (b[i] - done) / a[i * n + i];
    }
    b
}

/// 95 % interval of an area under the ROC curve from `m` and `n` independent observations:
/// the areas whose own standard error (Hanley and McNeil 1982, with the mean of both numbers)
/// leaves the observed one within 1.96 of it (Newcombe 2006, part 2, method 5). Unlike an
/// interval around the observed area, it does not shrink to a point at 1.
fn auc_interval(auc: f64, m: usize, n: usize) -> (f64, f64) {
    let (m, n) = (m as f64, n as f64);
    let spare = (m + n) / 2.0 - 1.0;
    let variance = |area: f64| {
        let pairs = 1.0 + spare * ((1.0 - area) / (2.0 - area) + area / (1.0 + area));
        area * (1.0 - area) * pairs / (m * n)
    };
    let is_compatible = |area: f64| (auc - area).abs() <= 1.96 * variance(area).sqrt();
    // Halves the distance between an area that is compatible and one that is not.
    let bound = |mut inside: f64, mut outside: f64| {
        if is_compatible(outside) {
            return outside;
        }
        for _ in 0..60 {
            let middle = (inside + outside) / 2.0;
            if is_compatible(middle) {
                inside = middle;
            } else {
                outside = middle;
            }
        }
        inside
    };
    (bound(auc, 0.0), bound(auc, 1.0))
}

#[cfg(test)]
mod tests {
    use rand_distr::{Distribution, StandardNormal};

    use super::*;
    use crate::observer::Silent;

    fn rows(seed: u64, images: usize, shift: f64) -> (Rows, Vec<bool>) {
        let mut generator = SeedKey::new(b"rows", seed).generator("values", 0);
        let is_real: Vec<bool> = (0..images).map(|image| image % 2 == 0).collect();
        let value = |real: bool| {
            (0..6)
                .map(|input| {
                    let noise: f64 = StandardNormal.sample(&mut generator);
                    noise + if input == 2 && !real { shift } else { 0.0 }
                })
                .collect()
        };
        let rows = Rows {
            values: is_real.iter().copied().map(value).collect(),
            group: (0..images).collect(),
            inputs: (0..6).map(|input| input.to_string()).collect(),
        };
        (rows, is_real)
    }

    fn separation(seed: u64, images: usize, shift: f64) -> Separation {
        let (rows, is_real) = rows(seed, images, shift);
        separate(&rows, &is_real, &SeedKey::new(b"test", seed), &Silent).unwrap()
    }

    #[test]
    fn what_differs_is_told_apart_and_what_does_not_is_not() {
        let far = separation(1, 60, 9.0);
        assert!(far.auc > 0.999 && far.p_value < 0.01, "{far:?}");
        assert!(far.auc_low > 0.85 && far.auc_low < far.auc, "{far:?}");
        let mut areas = Vec::new();
        let mut claims = 0;
        // The area of one set of noise varies by 0.11, the mean of 200 by 0.0075.
        for seed in 0..200 {
            let (rows, is_real) = rows(seed, 60, 0.0);
            let mut folds = SeedKey::new(b"test", seed).generator("folds", 0);
            areas.push(cross_validated_auc(&rows, &is_real, &mut folds));
            if seed < 10 {
                claims += usize::from(separation(seed, 60, 0.0).p_value <= 0.05);
            }
        }
        let mean = areas.iter().sum::<f64>() / areas.len() as f64;
        assert!((mean - 0.5).abs() < 0.03, "mean area by chance {mean}");
        assert!(claims <= 2, "{claims} of 10 sets of noise are told apart");
    }

    #[test]
    fn a_shift_gives_the_area_that_theory_gives() {
        // Two normals 1 deviation apart: area = Phi(1 / sqrt(2)) = 0.7602.
        let areas: Vec<f64> = (0..12).map(|seed| separation(seed, 200, 1.0).auc).collect();
        let mean = areas.iter().sum::<f64>() / areas.len() as f64;
        assert!((mean - 0.76).abs() < 0.03, "{mean}");
    }

    #[test]
    fn copies_of_a_group_do_not_give_it_away() {
        // Twenty groups of five equal images: were images dealt, copies would be known.
        let (few, is_real) = rows(3, 20, 0.0);
        let copied = Rows {
            values: few
                .values
                .iter()
                .flat_map(|row| vec![row.clone(); 5])
                .collect(),
            group: (0..20).flat_map(|group| [group; 5]).collect(),
            inputs: few.inputs.clone(),
        };
        let folds = || SeedKey::new(b"folds", 0).generator("folds", 0);
        let [alone, together] =
            [&few, &copied].map(|rows| cross_validated_auc(rows, &is_real, &mut folds()));
        assert!((alone - together).abs() < 0.1, "{alone} {together}");
    }

    #[test]
    fn folds_hold_both_sets_and_whole_groups() {
        let is_real: Vec<bool> = (0..27).map(|group| group < 11).collect();
        let folds = deal_folds(&is_real, &mut SeedKey::new(b"f", 0).generator("folds", 0));
        for real in [true, false] {
            let count = |fold| {
                let is_in = |group: &usize| folds[*group] == fold && is_real[*group] == real;
                (0..27).filter(is_in).count()
            };
            let counts: Vec<usize> = (0..FOLDS).map(count).collect();
            let fewest = if real { 2 } else { 3 };
            assert!(
                counts.iter().all(|c| (fewest..=fewest + 1).contains(c)),
                "{counts:?}"
            );
        }
    }

    #[test]
    fn too_few_groups_are_not_judged() {
        let (rows, is_real) = rows(0, 2 * MIN_GROUPS - 1, 9.0);
        assert!(separate(&rows, &is_real, &SeedKey::new(b"t", 0), &Silent).is_none());
    }

    #[test]
    fn constant_and_missing_inputs_do_no_harm() {
        let (mut rows, is_real) = rows(5, 60, 9.0);
        for (image, row) in rows.values.iter_mut().enumerate() {
            row[0] = 3.0;
            if image % 7 == 0 {
                row[1] = f64::NAN;
            }
        }
        let found = separate(&rows, &is_real, &SeedKey::new(b"t", 0), &Silent).unwrap();
        assert!(found.auc > 0.99, "{found:?}");
    }

    #[test]
    fn pairs_of_known_scores() {
        let scores = vec![(0.1, false), (0.4, false), (0.35, true), (0.8, true)];
        // scikit-learn's example of roc_auc_score: 0.75.
        assert_eq!(ordered_pairs(scores), (3.0, 4.0));
        assert_eq!(ordered_pairs(vec![(1.0, true), (1.0, false)]), (0.5, 1.0));
    }

    #[test]
    fn the_fit_solves_its_equations() {
        let (rows, is_real) = rows(8, 80, 1.0);
        let scale = Scale::of(rows.values.iter().map(Vec::as_slice));
        let prepared: Vec<Vec<f64>> = rows
            .values
            .iter()
            .map(|row| with_constant(&scale, row))
            .collect();
        let positive: Vec<bool> = is_real.iter().map(|real| !real).collect();
        let weights = fit(&prepared, &positive);
        // At the minimum the slope of the loss equals that of the penalty, and no slope is left
        // along the constant. Both classes have 40 images, so that every image weighs 1/80.
        for (input, weight) in weights.iter().enumerate() {
            let slope: f64 = prepared
                .iter()
                .zip(&positive)
                .map(|(row, positive)| {
                    let probability = 1.0 / (1.0 + (-dot(&weights, row)).exp());
                    (probability - f64::from(u8::from(*positive))) * row[input] / 80.0
                })
                .sum();
            let penalty = if input == 6 { 0.0 } else { weight / 80.0 };
            assert!((slope + penalty).abs() < 1e-6, "{input}: {slope} {penalty}");
        }
        assert!(weights[2] > 0.5, "the input that differs weighs most");
    }

    #[test]
    fn the_interval_is_symmetric_and_covers() {
        let (low, high) = auc_interval(0.5, 40, 40);
        assert!((low + high - 1.0).abs() < 1e-9);
        let (low, high) = auc_interval(1.0, 20, 20);
        assert!(high == 1.0 && (0.8..0.95).contains(&low), "{low}");
        // Two normals 1 deviation apart, 30 of each: the true area is 0.7602.
        let mut generator = SeedKey::new(b"coverage", 0).generator("normals", 0);
        let mut draw = |shift: f64| {
            let noise: f64 = StandardNormal.sample(&mut generator);
            noise + shift
        };
        let covered = (0..1000).filter(|_| {
            let scores = (0..60)
                .map(|i| (draw(f64::from(i % 2)), i % 2 == 1))
                .collect();
            let (won, pairs) = ordered_pairs(scores);
            let (low, high) = auc_interval(won / pairs, 30, 30);
            (low..=high).contains(&0.7602)
        });
        let share = covered.count() as f64 / 1000.0;
        assert!((0.93..=0.98).contains(&share), "covers in {share}");
    }
}
