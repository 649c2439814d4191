//! The learning rates that an arm's ends are tried at, beside the planned one.

use serde::{Deserialize, Serialize};

use super::{ExperimentPlan, Problems};
use crate::detector::{TrainPlan, TrainSpec};
use crate::experiment::trial::Condition;
use crate::spec::SpecError;

/// Largest multiple of the planned rate, and the inverse of the smallest.
const MAX_MULTIPLE: f64 = 100.0;

/// Trains both ends of every arm at other learning rates too.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateCheckSpec {
    /// Multiples of the planned rate.
    #[serde(default = "default_rates")]
    pub rates: Vec<f64>,
    /// The first of the experiment's seeds, two or more.
    #[serde(default = "default_seeds")]
    pub seeds: usize,
}

/// Half a decade to either side.
fn default_rates() -> Vec<f64> {
    vec![0.3, 3.0]
}

fn default_seeds() -> usize {
    2
}

/// A checked [`RateCheckSpec`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RateCheck {
    /// Rising, without the planned rate; [`Condition::rate`] counts them from 1.
    pub rates: Vec<OtherRate>,
    /// How many of the plan's first seeds are tried at them.
    pub seeds: usize,
}

/// A multiple of the planned rate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OtherRate {
    pub multiple: f64,
    pub train: TrainPlan,
}

impl RateCheckSpec {
    /// `None` where something is wrong, which is then among the problems.
    pub(super) fn check(
        &self,
        train: &TrainPlan,
        seeds: usize,
        problems: &mut Problems,
    ) -> Option<RateCheck> {
        problems.require(
            (2..=seeds).contains(&self.seeds),
            "rate_check.seeds",
            format!(
                "{} is not between 2, the fewest that tell how runs vary, and the {seeds} seeds of \
                 the experiment",
                self.seeds
            ),
        );
        problems.require(
            !self.rates.is_empty(),
            "rate_check.rates",
            "there is none; give multiples of the planned learning rate, such as [0.3, 3]",
        );
        let mut multiples = self.rates.clone();
        multiples.sort_by(f64::total_cmp);
        problems.require(
            multiples.windows(2).all(|pair| pair[0] != pair[1]),
            "rate_check.rates",
            "a rate stands twice; leave one out",
        );
        let mut rates = Vec::new();
        for multiple in multiples {
            if !(1.0 / MAX_MULTIPLE..=MAX_MULTIPLE).contains(&multiple) || multiple == 1.0 {
                problems.add(
                    "rate_check.rates",
                    format!(
                        "{multiple} is not a multiple of the planned rate between {} and \
                         {MAX_MULTIPLE} other than 1, which is tried anyway",
                        1.0 / MAX_MULTIPLE
                    ),
                );
                continue;
            }
            let mut spec = TrainSpec::clone(train);
            spec.optimizer = spec.optimizer.scaled(multiple);
            match spec.into_plan("rate_check".as_ref()) {
                Ok(train) => rates.push(OtherRate { multiple, train }),
                Err(SpecError::Problems {
                    problems: found, ..
                }) => found.iter().for_each(|problem| {
                    problems.add("rate_check.rates", format!("{multiple}: {problem}"));
                }),
                Err(error) => problems.add("rate_check.rates", error),
            }
        }
        Some(RateCheck {
            rates,
            seeds: self.seeds,
        })
    }
}

impl RateCheck {
    /// The rates that a condition is trained at, as [`Condition::rate`] counts them, with the
    /// multiples of the planned rate.
    pub fn tried(&self) -> impl Iterator<Item = (usize, f64)> {
        let others = self.rates.iter().map(|rate| rate.multiple);
        std::iter::once(1.0).chain(others).enumerate()
    }
}

impl ExperimentPlan {
    /// Real-only and the largest ratio of every arm, each once: what is tried at other rates.
    /// Cells of factors say themselves what they train with.
    pub fn rate_checked(&self) -> Vec<Condition> {
        let mut checked = Vec::new();
        if self.rate_check.is_none() {
            return checked;
        }
        for arm in self.arms.iter().filter(|arm| arm.cell == 0) {
            for level in arm.levels.first().into_iter().chain(arm.levels.last()) {
                if !checked.contains(&level.condition) {
                    checked.push(level.condition);
                }
            }
        }
        checked
    }

    /// The same at the other rates, which no curve holds.
    pub(super) fn conditions_at_other_rates(&self) -> Vec<Condition> {
        let others = self.rate_check.iter().flat_map(|check| check.tried());
        let others: Vec<usize> = others.map(|(rate, _)| rate).filter(|r| *r > 0).collect();
        let checked = self.rate_checked();
        let at = |condition: &Condition| {
            let condition = *condition;
            others.iter().map(move |&rate| condition.at_rate(rate))
        };
        checked.iter().flat_map(at).collect()
    }
}
