//! Whether the intervals hold what they promise: experiments on known curves.

use std::path::Path;

use rand_distr::{Distribution as _, Normal};
use rayon::prelude::*;
use serde::Serialize;

use super::crossing::Place;
use super::plan::{ArmsSpec, ExperimentPlan, ExperimentSpec, Seeds, SubstitutionSpec};
use super::plan::{SyntheticSource, TrainSource};
use super::tipping_point::{ArmSummary, analyse};
use super::trial::{Condition, Measurement, TrialResult};
use crate::evaluation::Redrawn;
use crate::observer::Observer;
use crate::seed::{Generator, SeedKey};

/// Synthetic shares of the simulated experiments.
const SHARES: [f64; 6] = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0];
/// AP of real-only.
const BASE: f64 = 0.5;
/// Smallest effect of interest.
const MARGIN: f64 = 0.02;
/// Standard deviations of a seed, of a trial beside it, and of a group of test images.
const OF_SEED: f64 = 0.015;
const OF_TRIAL: f64 = 0.012;
const OF_GROUP: f64 = 0.03;
/// Groups of test images, and test splits drawn anew from them.
const GROUPS: usize = 60;
const REDRAWS: usize = 200;

/// A true curve: AP minus that of real-only, of the synthetic share.
struct Shape {
    name: &'static str,
    curve: fn(f64) -> f64,
}

const SHAPES: [Shape; 7] = [
    Shape {
        name: "flat",
        curve: |_| 0.0,
    },
    Shape {
        name: "falls from the start",
        curve: |r| -0.06 * r,
    },
    Shape {
        name: "falls ever faster",
        curve: |r| -0.08 * r * r,
    },
    Shape {
        name: "peak, then harm",
        curve: |r| 0.25 * r * (0.6 - r),
    },
    Shape {
        name: "early peak, long tail",
        curve: |r| 0.35 * r * (-5.0 * r).exp() - 0.035 * r * r,
    },
    Shape {
        name: "plateau, then a cliff",
        curve: |r| 0.03 * (r / 0.1).min(1.0) - 0.25 * (r - 0.65).max(0.0),
    },
    Shape {
        name: "rises throughout",
        curve: |r| 0.05 * r.sqrt(),
    },
];

/// How often the conclusions about one curve were right, over many simulated experiments.
#[derive(Debug, Clone, Serialize)]
pub struct CalibrationCell {
    pub shape: String,
    pub seeds: usize,
    /// Share of experiments whose set of ratios that may be the best holds the true one.
    pub peak: f64,
    /// The same of the interval of the tipping point.
    pub tipping_point: f64,
    /// The same of the break-even point, among `gains`.
    pub break_even: f64,
    /// Experiments that found a gain, and so a break-even point.
    pub gains: usize,
    /// Share that called a ratio safe at which the loss is the margin or more.
    pub false_safe: f64,
    /// Share that called a ratio harmful at which nothing is lost.
    pub false_harm: f64,
    /// Median width of the tipping point's interval, up to the largest ratio.
    pub width: f64,
}

/// Simulates `runs` experiments of each shape and each number of seeds, and analyses each as
/// a real one. Differences between seeds, between trials of a seed, and between test images
/// are normal.
pub fn calibrate(runs: u64, seeds: &[usize], observer: &dyn Observer) -> Vec<CalibrationCell> {
    let cells = (SHAPES.len() * seeds.len()) as u64;
    observer.begin("calibration", cells * runs, 0);
    let mut found = Vec::new();
    for &count in seeds {
        let plan = plan(count);
        for shape in &SHAPES {
            let verdicts: Vec<Verdict> = (0..runs)
                .into_par_iter()
                .filter_map(|run| {
                    let key = SeedKey::new(shape.name.as_bytes(), run);
                    let results =
                        simulated(&plan, shape, &mut key.generator("experiment", count as u64));
                    observer.advance(1);
                    let summary = analyse(&plan, &results);
                    summary.arms.first().map(|arm| Verdict::of(arm, shape))
                })
                .collect();
            found.push(cell(shape, count, &verdicts));
        }
    }
    observer.end();
    found
}

fn plan(seeds: usize) -> ExperimentPlan {
    let spec = ExperimentSpec {
        real: "real".into(),
        class_agnostic: None,
        synthetic: SyntheticSource::Dataset("synthetic".into()),
        other_synthetic: Default::default(),
        synthetic_test: 0,
        arms: ArmsSpec {
            substitution: Some(SubstitutionSpec {
                total: 100,
                shares: SHARES.to_vec(),
            }),
            ..ArmsSpec::default()
        },
        factors: Vec::new(),
        cells: None,
        halving: None,
        rate_check: None,
        seeds: Seeds::Count(seeds as u64),
        train: TrainSource::Settings(Box::default()),
        prices: None,
        smallest_effect: MARGIN,
    };
    spec.into_plan(Path::new("calibration"), 1)
        .expect("the simulated plan is a valid one")
}

fn simulated(plan: &ExperimentPlan, shape: &Shape, generator: &mut Generator) -> Vec<TrialResult> {
    let mut draw = |deviation: f64| {
        let normal = Normal::new(0.0, deviation).expect("a deviation is finite");
        normal.sample(generator)
    };
    let conditions = plan.conditions();
    // What each group of test images adds to the AP of each condition.
    let groups: Vec<Vec<f64>> = conditions
        .iter()
        .map(|_| (0..GROUPS).map(|_| draw(OF_GROUP)).collect())
        .collect();
    let of_seeds: Vec<f64> = plan.seeds.iter().map(|_| draw(OF_SEED)).collect();
    let key = SeedKey::new(b"calibration", 0);
    let splits: Vec<Vec<usize>> = (0..REDRAWS)
        .map(|split| {
            use rand::RngExt;
            let mut generator = key.generator("test images", split as u64);
            (0..GROUPS)
                .map(|_| generator.random_range(0..GROUPS))
                .collect()
        })
        .collect();
    let mean = |of: &[f64], chosen: &[usize]| {
        chosen.iter().map(|&group| of[group]).sum::<f64>() / chosen.len() as f64
    };
    let all: Vec<usize> = (0..GROUPS).collect();
    let rows: Vec<(f64, Vec<f64>)> = groups
        .iter()
        .map(|of| {
            (
                mean(of, &all),
                splits.iter().map(|split| mean(of, split)).collect(),
            )
        })
        .collect();
    plan.trials()
        .into_iter()
        .map(|trial| {
            let row = conditions.iter().position(|c| *c == trial.condition);
            let row = row.expect("each trial is of a condition of the plan");
            let seed = plan.seeds.iter().position(|seed| *seed == trial.seed);
            let truth = BASE
                + (shape.curve)(share(trial.condition))
                + of_seeds[seed.unwrap_or_default()]
                + draw(OF_TRIAL);
            let mut stats = [-1.0; 12];
            stats[0] = truth + rows[row].0;
            stats[1] = stats[0];
            let redrawn = rows[row].1.iter().map(|images| truth + images);
            TrialResult {
                trial,
                measurement: Measurement {
                    stats,
                    redrawn: Some(Redrawn {
                        groups: GROUPS,
                        ap: redrawn.collect(),
                    }),
                    ..Measurement::default()
                },
                seconds: 1.0,
            }
        })
        .collect()
}

fn share(condition: Condition) -> f64 {
    let total = condition.n_real + condition.n_synthetic;
    condition.n_synthetic as f64 / total as f64
}

/// What one simulated experiment got right.
struct Verdict {
    peak: bool,
    tipping_point: bool,
    /// `None` where no gain was found.
    break_even: Option<bool>,
    false_safe: bool,
    false_harm: bool,
    width: f64,
}

impl Verdict {
    fn of(arm: &ArmSummary, shape: &Shape) -> Self {
        let truth = |ratio: f64| (shape.curve)(ratio);
        let best = SHARES.into_iter().fold(0.0, |best, ratio| {
            if truth(ratio) > truth(best) {
                ratio
            } else {
                best
            }
        });
        let last = SHARES[SHARES.len() - 1];
        let safe = arm.safe_up_to.unwrap_or(0.0);
        let harmed = arm
            .levels
            .iter()
            .any(|level| level.standing == super::Standing::Harm && truth(level.ratio) >= 0.0);
        let place = arm.tipping_point;
        Verdict {
            peak: arm
                .peak
                .as_ref()
                .is_some_and(|p| p.indistinguishable.contains(&best)),
            tipping_point: place.is_some_and(|place| holds(&place, crossing(&truth, -MARGIN, 0.0))),
            break_even: arm
                .break_even
                .map(|place| truth(best) > 0.0 && holds(&place, crossing(&truth, 0.0, best))),
            false_safe: SHARES.into_iter().any(|r| r <= safe && truth(r) <= -MARGIN),
            false_harm: harmed,
            width: place.map_or(last, |place| place.high.unwrap_or(last) - place.low),
        }
    }
}

/// The first ratio after `from` at which the true curve falls below `level`.
fn crossing(truth: &dyn Fn(f64) -> f64, level: f64, from: f64) -> Option<f64> {
    const STEPS: usize = 100_000;
    let places = (1..=STEPS).map(|step| step as f64 / STEPS as f64);
    places
        .filter(|ratio| *ratio > from)
        .find(|ratio| truth(*ratio) < level)
}

/// Whether an interval holds the true place; `None` is beyond the largest ratio.
fn holds(place: &Place, truth: Option<f64>) -> bool {
    // The places that are looked at are this far apart.
    const GRID: f64 = 0.002;
    match (truth, place.high) {
        (None, high) => high.is_none(),
        (Some(truth), None) => place.low <= truth + GRID,
        (Some(truth), Some(high)) => place.low <= truth + GRID && truth <= high + GRID,
    }
}

fn cell(shape: &Shape, seeds: usize, verdicts: &[Verdict]) -> CalibrationCell {
    let share = |of: &dyn Fn(&Verdict) -> bool| {
        verdicts.iter().filter(|verdict| of(verdict)).count() as f64 / verdicts.len() as f64
    };
    let found: Vec<bool> = verdicts.iter().filter_map(|v| v.break_even).collect();
    let right = found.iter().filter(|right| **right).count();
    let mut widths: Vec<f64> = verdicts.iter().map(|verdict| verdict.width).collect();
    widths.sort_by(f64::total_cmp);
    CalibrationCell {
        shape: shape.name.to_owned(),
        seeds,
        peak: share(&|v| v.peak),
        tipping_point: share(&|v| v.tipping_point),
        break_even: right as f64 / found.len().max(1) as f64,
        gains: found.len(),
        false_safe: share(&|v| v.false_safe),
        false_harm: share(&|v| v.false_harm),
        width: widths.get(widths.len() / 2).copied().unwrap_or(0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observer::Silent;

    /// The bars with what 120 experiments a curve leave open: three binomial deviations.
    #[test]
    fn intervals_hold_on_every_curve() {
        for cell in calibrate(120, &[8], &Silent) {
            assert!(cell.peak > 0.88 && cell.tipping_point > 0.88, "{cell:?}");
            assert!(cell.gains < 30 || cell.break_even > 0.88, "{cell:?}");
            assert!(
                cell.false_safe < 0.075 && cell.false_harm < 0.06,
                "{cell:?}"
            );
        }
    }

    #[test]
    fn a_place_holds_what_lies_in_it() {
        let open = Place {
            value: None,
            low: 0.4,
            high: None,
        };
        assert!(holds(&open, None) && holds(&open, Some(0.7)) && !holds(&open, Some(0.3)));
        let closed = Place {
            high: Some(0.6),
            ..open
        };
        assert!(!holds(&closed, None) && holds(&closed, Some(0.5)) && !holds(&closed, Some(0.7)));
        let line = |ratio: f64| -0.04 * ratio;
        let found = crossing(&line, -MARGIN, 0.0).unwrap();
        assert!((found - 0.5).abs() < 1e-4);
        assert_eq!(crossing(&line, -0.05, 0.0), None);
    }
}
