//! The results as a table, and the layouts fitted to it.

use super::{ALPHA, Estimate, MIN_SEEDS, Refusal};
use crate::experiment::exchange_rate::{ExchangeRate, exchange};
use crate::experiment::plan::{Arm, ExperimentPlan};
use crate::experiment::statistics::{ImageNoise, Layout};
use crate::experiment::trial::{Condition, Regime, TrialResult};

/// Spread below which the runs of a condition count as identical.
const IDENTICAL_SPREAD: f64 = 1e-9;

/// The results as a table, and the layouts fitted to its complete seeds.
pub(super) struct Grid<'a> {
    pub results: &'a [TrialResult],
    pub smallest_effect: f64,
    pub seeds: Vec<u64>,
    /// Rows of the layouts: conditions whose runs vary.
    conditions: Vec<Condition>,
    pub ap: Option<Layout>,
    pub ap50: Option<Layout>,
    distinct_seeds: usize,
    pub test_groups: Option<usize>,
}

impl<'a> Grid<'a> {
    /// Over all conditions of a plan.
    pub fn new(plan: &ExperimentPlan, results: &'a [TrialResult]) -> Self {
        let all = plan.conditions();
        let finished = |condition, seed| find(results, condition, seed);
        let seeds: Vec<u64> = plan
            .seeds
            .iter()
            .copied()
            .filter(|&seed| {
                all.iter()
                    .all(|&condition| finished(condition, seed).is_some())
            })
            .collect();
        let mut columns: Vec<Vec<u64>> = seeds
            .iter()
            .map(|&seed| {
                let trials = all
                    .iter()
                    .filter_map(|&condition| finished(condition, seed));
                trials
                    .map(|result| result.measurement.ap().to_bits())
                    .collect()
            })
            .collect();
        columns.sort();
        columns.dedup();
        Grid::fitted(results, plan.smallest_effect, seeds, columns.len(), &all)
    }

    /// Over some of the conditions. Runs vary more the fewer real images they have, so that
    /// only what is compared shares a residual variance.
    pub fn of(&self, conditions: &[Condition]) -> Self {
        self.of_seeds(conditions, &self.seeds)
    }

    /// Over some of the conditions and seeds.
    pub fn of_seeds(&self, conditions: &[Condition], seeds: &[u64]) -> Self {
        Grid::fitted(
            self.results,
            self.smallest_effect,
            seeds.to_vec(),
            self.distinct_seeds,
            conditions,
        )
    }

    fn fitted(
        results: &'a [TrialResult],
        smallest_effect: f64,
        seeds: Vec<u64>,
        distinct_seeds: usize,
        conditions: &[Condition],
    ) -> Self {
        let row = |condition: Condition, value: fn(&TrialResult) -> f64| -> Vec<f64> {
            seeds
                .iter()
                .filter_map(|&seed| find(results, condition, seed).map(value))
                .collect()
        };
        let ap_of: fn(&TrialResult) -> f64 = |result| result.measurement.ap();
        let ap50_of: fn(&TrialResult) -> f64 = |result| result.measurement.ap50();
        let conditions: Vec<Condition> = conditions
            .iter()
            .copied()
            .filter(|&condition| spread(&row(condition, ap_of)) > IDENTICAL_SPREAD)
            .collect();
        let layout = |value: fn(&TrialResult) -> f64| {
            let rows: Vec<Vec<f64>> = conditions.iter().map(|&c| row(c, value)).collect();
            Layout::fit(&rows)
        };
        let images = image_noise(results, &conditions, &seeds);
        let test_groups = images.as_ref().map(|images| images.groups);
        let ap = layout(ap_of).map(|layout| match images {
            Some(images) => layout.with_images(images),
            None => layout,
        });
        Grid {
            results,
            smallest_effect,
            ap,
            ap50: layout(ap50_of),
            seeds,
            conditions,
            distinct_seeds,
            test_groups,
        }
    }

    pub fn row(&self, condition: Condition) -> Option<usize> {
        self.conditions.iter().position(|&other| other == condition)
    }

    /// What mixtures are worth on the learning curve of real images alone.
    pub fn exchange_rate(&self, plan: &ExperimentPlan) -> Option<ExchangeRate> {
        if plan.learning_curve.is_empty() || self.enough_seeds().is_err() {
            return None;
        }
        let mut joint = self.conditions.clone();
        joint.retain(|condition| condition.regime == Regime::Joint && condition.cell == 0);
        let grid = self.of(&joint);
        let layout = grid.ap.as_ref().filter(|layout| !layout.is_degenerate())?;
        let rows = || grid.conditions.iter().copied().zip(0..);
        let mut real: Vec<(usize, usize)> = rows()
            .filter(|(condition, _)| condition.n_synthetic == 0)
            .map(|(condition, row)| (condition.n_real, row))
            .collect();
        real.sort_unstable();
        let mixed: Vec<(Condition, usize)> = rows()
            .filter(|(condition, _)| condition.n_synthetic > 0)
            .collect();
        Some(exchange(layout, &real, &mixed, plan.prices))
    }

    /// Whether there are seeds enough for a claim.
    fn enough_seeds(&self) -> Result<(), Refusal> {
        if self.seeds.len() < MIN_SEEDS {
            return Err(Refusal::TooFewSeeds {
                complete: self.seeds.len(),
            });
        }
        if self.distinct_seeds < MIN_SEEDS {
            return Err(Refusal::IdenticalRuns {
                distinct: self.distinct_seeds,
            });
        }
        Ok(())
    }

    /// The layout and the row of real-only, where claims are allowed.
    pub fn allowed(&self, arm: &Arm) -> Result<(&Layout, usize), Refusal> {
        self.enough_seeds()?;
        let reference = arm
            .levels
            .first()
            .and_then(|level| self.row(level.condition));
        match (&self.ap, reference) {
            (Some(layout), Some(row)) if !layout.is_degenerate() => {
                let (ap, smallest_effect) = (layout.means()[row], self.smallest_effect);
                if ap > smallest_effect {
                    Ok((layout, row))
                } else {
                    Err(Refusal::NothingToLose {
                        ap,
                        smallest_effect,
                    })
                }
            }
            _ => Err(Refusal::NoVariation),
        }
    }

    pub fn points(&self, condition: Condition) -> Vec<(u64, f64, f64)> {
        self.results
            .iter()
            .filter(|result| result.trial.condition == condition)
            .map(|result| {
                let measured = &result.measurement;
                (result.trial.seed, measured.ap(), measured.ap50())
            })
            .collect()
    }

    pub fn mean(&self, layout: &Option<Layout>, condition: Condition) -> Option<Estimate> {
        let (layout, row) = (layout.as_ref()?, self.row(condition)?);
        let value = *layout.means().get(row)?;
        let half = layout.mean_half_width(row, ALPHA);
        Some(Estimate {
            value,
            low: value - half,
            high: value + half,
        })
    }
}

/// What other test images would have given each condition, if all trials were scored on the
/// same ones.
fn image_noise(
    results: &[TrialResult],
    conditions: &[Condition],
    seeds: &[u64],
) -> Option<ImageNoise> {
    let mut means = Vec::new();
    let mut groups = None;
    for &condition in conditions {
        let mut sum: Vec<f64> = Vec::new();
        for &seed in seeds {
            let measured = &find(results, condition, seed)?.measurement;
            let redrawn = measured.redrawn.as_ref()?;
            if *groups.get_or_insert(redrawn.groups) != redrawn.groups {
                return None;
            }
            sum.resize(redrawn.ap.len().max(sum.len()), 0.0);
            for (sum, ap) in sum.iter_mut().zip(&redrawn.ap) {
                // One undefined value makes the draw undefined.
                *sum = if *ap < 0.0 {
                    f64::NAN
                } else {
                    *sum + ap / seeds.len() as f64
                };
            }
        }
        means.push(sum);
    }
    let draws = means.iter().map(Vec::len).min()?;
    let defined: Vec<usize> = (0..draws)
        .filter(|&draw| means.iter().all(|row| row[draw].is_finite()))
        .collect();
    let kept = means
        .iter()
        .map(|row| defined.iter().map(|&draw| row[draw]).collect());
    Some(ImageNoise {
        groups: groups?,
        means: kept.collect(),
    })
}

pub(super) fn find(
    results: &[TrialResult],
    condition: Condition,
    seed: u64,
) -> Option<&TrialResult> {
    results
        .iter()
        .find(|result| result.trial.condition == condition && result.trial.seed == seed)
}

fn spread(values: &[f64]) -> f64 {
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    high - low
}
