//! Which combinations of levels are tried, and what their means say of each factor.
//!
//! The means of the cells follow a linear model in effects coding, in which a factor's levels
//! add up to zero: main effects, and interactions of two factors where the cells tell them
//! apart. Least squares makes every effect a weighted sum of the cells' means, which for all
//! combinations are plain averages (Montgomery, *Design and Analysis of Experiments*, ch. 5
//! and 10). Where not all combinations are tried, those are chosen that make the determinant
//! of the information matrix largest by exchange of cells (Fedorov 1972), with the interactions
//! as potential terms of prior variance 1 (DuMouchel and Jones 1994): they are then mixed up
//! with the main effects as little as may be.

use nalgebra::{DMatrix, DVector};
use rand::RngExt;

use crate::seed::SeedKey;

/// Most combinations of levels; more is a slip of the pen.
pub(super) const MAX_CELLS: usize = 1_024;

/// Beginnings of the exchange, of which the best end is taken.
const STARTS: u64 = 20;

/// Prior variance's inverse of an interaction in the choice of cells.
const PRIOR_OF_INTERACTION: f64 = 1.0;

/// Keeps the information matrix of a poor start from being singular.
const RIDGE: f64 = 1e-6;

/// A pivot below this part of the largest counts as zero.
const RANK_TOLERANCE: f64 = 1e-9;

/// Terms of the model: the mean, the main effects, and interactions of two factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Terms {
    Main,
    Pairs,
}

/// A change of one factor, or of how much one change depends on another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// A level of a factor in place of the first, averaged over the other factors' levels.
    Main { factor: usize, level: usize },
    /// By how much the first change is another where the second is made too.
    Pair {
        first: (usize, usize),
        second: (usize, usize),
    },
}

/// Fewest cells that tell every main effect.
pub(super) fn fewest_cells(counts: &[usize]) -> usize {
    1 + counts
        .iter()
        .map(|count| count.saturating_sub(1))
        .sum::<usize>()
}

/// All combinations of levels; the first factor's changes slowest.
fn combinations(counts: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for &count in counts {
        all = all
            .into_iter()
            .flat_map(|begun| {
                (0..count).map(move |level| {
                    let mut longer: Vec<usize> = begun.clone();
                    longer.push(level);
                    longer
                })
            })
            .collect();
    }
    all
}

/// The `wanted` combinations of levels that are tried, in the order of all of them. The first
/// has the first level of every factor.
pub(super) fn choose(counts: &[usize], wanted: usize) -> Vec<Vec<usize>> {
    let all = combinations(counts);
    if wanted >= all.len() {
        return all;
    }
    let rows: Vec<DVector<f64>> = all
        .iter()
        .map(|levels| row(levels, counts, Terms::Pairs))
        .collect();
    let mains = fewest_cells(counts);
    let all_rows = DMatrix::from_rows(&rows.iter().map(DVector::transpose).collect::<Vec<_>>());
    let information = |chosen: &[usize]| -> DMatrix<f64> {
        let prior = DVector::from_fn(all_rows.ncols(), |term, _| {
            if term < mains {
                RIDGE
            } else {
                PRIOR_OF_INTERACTION
            }
        });
        let mut matrix = DMatrix::from_diagonal(&prior);
        for &cell in chosen {
            matrix.ger(1.0, &rows[cell], &rows[cell], 1.0);
        }
        matrix
    };
    let mut best: Option<(f64, Vec<usize>)> = None;
    for start in 0..STARTS {
        let mut generator = SeedKey::new(b"design", 0).generator("start", start);
        // The first cell, which everything is compared with, always stays.
        let mut chosen = vec![0];
        while chosen.len() < wanted {
            let cell = generator.random_range(0..all.len());
            if !chosen.contains(&cell) {
                chosen.push(cell);
            }
        }
        let mut value = f64::NEG_INFINITY;
        // It is positive definite, so that neither of the two fails.
        while let Some(factor) = information(&chosen).cholesky() {
            value = factor
                .l_dirty()
                .diagonal()
                .iter()
                .map(|d| 2.0 * d.ln())
                .sum();
            let Some((place, cell)) = best_exchange(&chosen, &all_rows, &factor.inverse()) else {
                break;
            };
            chosen[place] = cell;
        }
        chosen.sort_unstable();
        if best.as_ref().is_none_or(|(most, _)| value > most + 1e-9) {
            best = Some((value, chosen));
        }
    }
    let chosen = best.map_or_else(Vec::new, |(_, chosen)| chosen);
    chosen.into_iter().map(|cell| all[cell].clone()).collect()
}

/// The exchange of one chosen cell, but the first, for another that makes the determinant
/// largest, where one makes it larger: `covariance` is the information's inverse, in which an
/// exchange of x for y multiplies the determinant by `(1 + v(y)) (1 - v(x)) + v(x, y)^2`
/// (Fedorov 1972).
fn best_exchange(
    chosen: &[usize],
    rows: &DMatrix<f64>,
    covariance: &DMatrix<f64>,
) -> Option<(usize, usize)> {
    let spread = rows * covariance;
    let between = |one: usize, other: usize| spread.row(one).dot(&rows.row(other));
    let own: Vec<f64> = (0..rows.nrows()).map(|cell| between(cell, cell)).collect();
    let mut best = (1.0 + 1e-9, None);
    for (place, &old) in chosen.iter().enumerate().skip(1) {
        for new in (0..rows.nrows()).filter(|cell| !chosen.contains(cell)) {
            let ratio = (1.0 + own[new]) * (1.0 - own[old]) + between(old, new).powi(2);
            if ratio > best.0 {
                best = (ratio, Some((place, new)));
            }
        }
    }
    best.1
}

/// A factor's part of a row of the model: one column for each level but the first.
fn codes(level: usize, count: usize) -> Vec<f64> {
    (1..count)
        .map(|column| match level {
            0 => -1.0,
            _ if level == column => 1.0,
            _ => 0.0,
        })
        .collect()
}

fn row(levels: &[usize], counts: &[usize], terms: Terms) -> DVector<f64> {
    let parts: Vec<Vec<f64>> = levels
        .iter()
        .zip(counts)
        .map(|(&level, &count)| codes(level, count))
        .collect();
    let mut row = vec![1.0];
    row.extend(parts.iter().flatten());
    if terms == Terms::Pairs {
        for (index, first) in parts.iter().enumerate() {
            for second in &parts[index + 1..] {
                row.extend(first.iter().flat_map(|a| second.iter().map(move |b| a * b)));
            }
        }
    }
    DVector::from_vec(row)
}

/// What the means of some cells say of the factors.
pub(super) struct Model {
    counts: Vec<usize>,
    terms: Terms,
    /// Coefficients from the cells' means: terms x cells.
    inverse: DMatrix<f64>,
    mixed_with_pairs: bool,
}

impl Model {
    /// The model that these cells can be fitted with; `None` where they do not even tell the
    /// main effects apart.
    pub fn of(counts: &[usize], cells: &[Vec<usize>]) -> Option<Self> {
        let matrix = |terms| {
            let rows: Vec<_> = cells
                .iter()
                .map(|levels| row(levels, counts, terms).transpose())
                .collect();
            DMatrix::from_rows(&rows)
        };
        for terms in [Terms::Pairs, Terms::Main] {
            let x = matrix(terms);
            let information = x.tr_mul(&x);
            let pivots = information.clone().full_piv_lu().u().diagonal().abs();
            if pivots.min() <= RANK_TOLERANCE * pivots.max() {
                continue;
            }
            let inverse = information.cholesky()?.solve(&x.transpose());
            let mixed_with_pairs = terms == Terms::Main && {
                let both = matrix(Terms::Pairs);
                let pairs = both.columns(x.ncols(), both.ncols() - x.ncols());
                let alias = &inverse * pairs;
                alias.rows(1, x.ncols() - 1).amax() > 1e-6
            };
            return Some(Model {
                counts: counts.to_vec(),
                terms,
                inverse,
                mixed_with_pairs,
            });
        }
        None
    }

    /// Whether an interaction of two factors would be taken for a main effect.
    pub fn mixes_pairs_with_main_effects(&self) -> bool {
        self.mixed_with_pairs
    }

    /// The effects that the model knows: main effects, then those of pairs.
    pub fn effects(&self) -> Vec<Effect> {
        let levels = |factor: usize| (1..self.counts[factor]).map(move |level| (factor, level));
        let factors = 0..self.counts.len();
        let mut effects: Vec<Effect> = factors
            .clone()
            .flat_map(levels)
            .map(|(factor, level)| Effect::Main { factor, level })
            .collect();
        if self.terms == Terms::Pairs {
            for one in factors.clone() {
                for other in one + 1..self.counts.len() {
                    for first in levels(one) {
                        effects.extend(levels(other).map(|second| Effect::Pair { first, second }));
                    }
                }
            }
        }
        effects
    }

    /// The weights of the cells' means whose sum is the effect; they add up to 0.
    pub fn weights(&self, effect: Effect) -> Vec<f64> {
        let mut wanted = vec![0.0];
        let change = |factor: usize, level: usize| -> Vec<f64> {
            let count = self.counts[factor];
            let [own, first] = [level, 0].map(|level| codes(level, count));
            own.iter().zip(first).map(|(a, b)| a - b).collect()
        };
        let part = |factor: usize| -> Vec<f64> {
            match effect {
                Effect::Main { factor: f, level } if f == factor => change(factor, level),
                _ => vec![0.0; self.counts[factor] - 1],
            }
        };
        wanted.extend((0..self.counts.len()).flat_map(part));
        if self.terms == Terms::Pairs {
            for one in 0..self.counts.len() {
                for other in one + 1..self.counts.len() {
                    let zeros = vec![0.0; (self.counts[one] - 1) * (self.counts[other] - 1)];
                    wanted.extend(match effect {
                        Effect::Pair { first, second } if (first.0, second.0) == (one, other) => {
                            let b = change(other, second.1);
                            let a = change(one, first.1);
                            a.iter()
                                .flat_map(|a| b.iter().map(move |b| a * b))
                                .collect()
                        }
                        _ => zeros,
                    });
                }
            }
        }
        let wanted = DVector::from_vec(wanted);
        self.inverse.tr_mul(&wanted).iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9)
    }

    /// The pilot plant's filtration rate, a 2^4 design (Montgomery, *Design and Analysis of
    /// Experiments*, example 6.2): the published effects of A, C, D, AC and AD.
    #[test]
    fn effects_of_a_two_level_design_are_those_of_the_textbook() {
        let counts = [2; 4];
        let cells = combinations(&counts);
        // Standard order changes the first factor fastest.
        let standard = [
            45.0, 71.0, 48.0, 65.0, 68.0, 60.0, 80.0, 65.0, 43.0, 100.0, 45.0, 104.0, 75.0, 86.0,
            70.0, 96.0,
        ];
        let rate = |levels: &[usize]| -> f64 {
            let index = levels
                .iter()
                .rev()
                .fold(0, |index, level| 2 * index + level);
            standard[index]
        };
        let model = Model::of(&counts, &cells).unwrap();
        let value = |effect| -> f64 {
            let weights = model.weights(effect);
            weights.iter().zip(&cells).map(|(w, c)| w * rate(c)).sum()
        };
        let main = |factor| value(Effect::Main { factor, level: 1 });
        let found = [0, 1, 2, 3].map(main);
        assert!(near(&found, &[21.625, 3.125, 9.875, 14.625]), "{found:?}");
        // The textbook's interaction is half of the difference of two differences.
        let pair = |a, b| {
            value(Effect::Pair {
                first: (a, 1),
                second: (b, 1),
            })
        };
        assert!(near(
            &[pair(0, 2), pair(0, 3)],
            &[2.0 * -18.125, 2.0 * 16.625]
        ));
    }

    #[test]
    fn weights_of_all_combinations_are_averages_and_effects_are_clean() {
        let counts = [3, 2];
        let cells = combinations(&counts);
        let model = Model::of(&counts, &cells).unwrap();
        assert!(!model.mixes_pairs_with_main_effects());
        let weights = model.weights(Effect::Main {
            factor: 0,
            level: 2,
        });
        assert!(
            near(&weights, &[-0.5, -0.5, 0.0, 0.0, 0.5, 0.5]),
            "{weights:?}"
        );
        assert_eq!(model.effects().len(), 2 + 1 + 2);
        for effect in model.effects() {
            assert!(model.weights(effect).iter().sum::<f64>().abs() < 1e-9);
        }
    }

    /// Half of a 2^4 design has resolution IV: no main effect is mixed with a pair.
    #[test]
    fn a_half_fraction_keeps_main_effects_clear_of_pairs() {
        let counts = [2; 4];
        let cells = choose(&counts, 8);
        assert_eq!(cells.len(), 8);
        assert_eq!(cells[0], [0; 4]);
        let model = Model::of(&counts, &cells).unwrap();
        assert!(!model.mixes_pairs_with_main_effects(), "{cells:?}");
        let weights = model.weights(Effect::Main {
            factor: 2,
            level: 1,
        });
        assert!(
            weights.iter().all(|w| (w.abs() - 0.25).abs() < 1e-9),
            "{weights:?}"
        );
    }

    #[test]
    fn the_fewest_cells_tell_main_effects_mixed_with_pairs() {
        let counts = [2, 2, 3];
        let cells = choose(&counts, fewest_cells(&counts));
        assert_eq!(cells.len(), 5);
        let model = Model::of(&counts, &cells).unwrap();
        assert!(model.mixes_pairs_with_main_effects());
        assert_eq!(model.effects().len(), 4);
        assert!(Model::of(&counts, &cells[..4]).is_none());
    }

    /// Every estimable effect of a truth without interactions is found from any fraction.
    #[test]
    fn an_additive_truth_is_found_from_every_fraction() {
        let counts = [2, 3, 2];
        let truth = |levels: &[usize]| {
            0.3 + [0.0, 0.05][levels[0]] + [0.0, -0.02, 0.04][levels[1]] + [0.0, 0.01][levels[2]]
        };
        for wanted in fewest_cells(&counts)..=12 {
            let cells = choose(&counts, wanted);
            let model = Model::of(&counts, &cells).unwrap();
            for (factor, level, expected) in
                [(0, 1, 0.05), (1, 1, -0.02), (1, 2, 0.04), (2, 1, 0.01)]
            {
                let weights = model.weights(Effect::Main { factor, level });
                let found: f64 = weights.iter().zip(&cells).map(|(w, c)| w * truth(c)).sum();
                assert!(
                    (found - expected).abs() < 1e-9,
                    "{wanted} cells: {found} for {expected}"
                );
            }
        }
    }
}
