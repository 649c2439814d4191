//! Successive halving: cells of factors that score low with few seeds get no more of them.
//!
//! Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter
//! optimization" (2016), with seeds as the resource. Cells are ranked by the val split, so that
//! what is later read from the test split is of other images than the choice.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::plan::ExperimentPlan;
use super::trial::{Condition, Trial, TrialResult};
use crate::spec::Problems;

/// Mirrors `halving` of `experiment.yaml`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Halving {
    /// Seeds of all cells before the first are dropped; each round doubles them.
    #[serde(default = "default_first_seeds")]
    pub first_seeds: usize,
    /// Share of the cells that a round keeps, rounded up.
    #[serde(default = "default_keep")]
    pub keep: f64,
}

fn default_first_seeds() -> usize {
    2
}

fn default_keep() -> f64 {
    0.5
}

impl Halving {
    pub(super) fn check(&self, cells: usize, seeds: usize, problems: &mut Problems) {
        problems.require(
            cells > 2,
            "halving",
            format!(
                "there are {cells} cells of factors, of which none can be dropped; leave it out"
            ),
        );
        problems.require(
            (1..seeds).contains(&self.first_seeds),
            "halving.first_seeds",
            format!(
                "{} is not between 1 and one less than the {seeds} seeds of the experiment",
                self.first_seeds
            ),
        );
        problems.require(
            self.keep > 0.0 && self.keep < 1.0,
            "halving.keep",
            format!("{} is not a share of the cells between 0 and 1", self.keep),
        );
    }
}

/// A round that is over.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Round {
    /// Seeds that it ranks by.
    pub seeds: usize,
    /// The cells that were in it with their mean AP on the val split, best first.
    pub ranking: Vec<(usize, f64)>,
    /// Those that go on, rising; the first cell always does, since all are compared with it.
    pub kept: Vec<usize>,
}

/// How far the halving of a plan has come.
#[derive(Debug, Clone, PartialEq)]
pub struct Rounds {
    pub over: Vec<Round>,
    /// Cells that are still in.
    pub alive: Vec<usize>,
    /// Seeds that these are run with in the present round.
    pub seeds: usize,
}

impl Rounds {
    /// What the finished trials of `plan` decide; without halving all cells stay in.
    pub fn of(plan: &ExperimentPlan, results: &[TrialResult]) -> Self {
        let all: Vec<usize> = (0..plan.crossing.cells.len().max(1)).collect();
        let Some(halving) = plan.halving else {
            return Rounds {
                over: Vec::new(),
                alive: all,
                seeds: plan.seeds.len(),
            };
        };
        let mut rounds = Rounds {
            over: Vec::new(),
            alive: all,
            seeds: halving.first_seeds.min(plan.seeds.len()),
        };
        while rounds.seeds < plan.seeds.len() && rounds.alive.len() > 1 {
            let seeds = &plan.seeds[..rounds.seeds];
            let scores = rounds.alive.iter().map(|&cell| {
                let score = score(plan, results, cell, seeds)?;
                Some((cell, score))
            });
            let Some(mut ranking) = scores.collect::<Option<Vec<(usize, f64)>>>() else {
                return rounds;
            };
            // Equal cells stay in their order.
            ranking.sort_by(|a, b| b.1.total_cmp(&a.1));
            let count = (ranking.len() as f64 * halving.keep).ceil() as usize;
            let best = ranking.iter().take(count).map(|(cell, _)| *cell);
            let kept: BTreeSet<usize> = best.chain([0]).collect();
            rounds.alive = kept.into_iter().collect();
            rounds.over.push(Round {
                seeds: rounds.seeds,
                ranking,
                kept: rounds.alive.clone(),
            });
            rounds.seeds = (rounds.seeds * 2).min(plan.seeds.len());
        }
        // With the first cell alone there is nothing left to rank.
        if rounds.alive.len() == 1 {
            rounds.seeds = plan.seeds.len();
        }
        rounds
    }

    /// The trials that were asked for in the rounds that are over and in the present one, in
    /// the order in which they are run.
    pub fn trials(&self, plan: &ExperimentPlan) -> Vec<Trial> {
        let mut trials = plan.trials();
        if plan.halving.is_none() {
            return trials;
        }
        // A cell that was dropped was run with the seeds of its last round.
        let seeds_of = |cell: usize| {
            let dropped = self.over.iter().find(|round| !round.kept.contains(&cell));
            dropped.map_or(self.seeds, |round| round.seeds)
        };
        trials.retain(|trial| {
            let holds = |condition: Condition| condition == trial.condition.at_rate(0);
            let own = plan
                .arms
                .iter()
                .filter(|arm| arm.levels.iter().any(|level| holds(level.condition)));
            let seeds = own.map(|arm| seeds_of(arm.cell)).max();
            let seeds = seeds.unwrap_or(self.seeds);
            plan.seeds[..seeds].contains(&trial.seed)
        });
        trials
    }
}

/// Mean AP on the val split of what is trained in a cell; `None` before it is all finished.
fn score(
    plan: &ExperimentPlan,
    results: &[TrialResult],
    cell: usize,
    seeds: &[u64],
) -> Option<f64> {
    let crossed = |arm: &super::Arm| {
        let mut others = plan.arms.iter();
        others.any(|other| other.kind == arm.kind && other.cell > 0)
    };
    let own = plan.arms.iter().filter(|arm| arm.cell == cell);
    let own = own.filter(|arm| crossed(arm));
    let conditions = own.flat_map(|arm| arm.levels.iter().map(|level| level.condition));
    let mut sum = 0.0;
    let mut count = 0_usize;
    for condition in conditions {
        for &seed in seeds {
            let result = results
                .iter()
                .find(|r| r.trial.condition == condition && r.trial.seed == seed)?;
            sum += result.measurement.validation_ap?;
            count += 1;
        }
    }
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::Ordering;

    use super::super::plan::tests::plan_with_factors;
    use super::super::runner::tests::{Mock, ONE};
    use super::super::{Executor, ExperimentError, Measurement, run};
    use super::*;
    use crate::observer::{Observer, Silent};

    /// Cell 3 is the best and cell 1 the worst.
    struct Ranked(Mock);

    impl Executor for Ranked {
        fn units(&self, _: &Trial) -> u64 {
            1
        }

        fn run(
            &self,
            trial: &Trial,
            folder: &Path,
            observer: &dyn Observer,
        ) -> Result<Measurement, ExperimentError> {
            let mut measured = self.0.run(trial, folder, observer)?;
            let gain = [0.1, -0.1, 0.0, 0.2][trial.condition.cell];
            measured.validation_ap = Some(measured.stats[0] + gain);
            Ok(measured)
        }
    }

    fn halved() -> ExperimentPlan {
        let mut plan = plan_with_factors(None);
        plan.seeds = (0..8).collect();
        plan.halving = Some(Halving {
            first_seeds: 2,
            keep: 0.5,
        });
        plan
    }

    #[test]
    fn each_round_keeps_the_better_half_and_doubles_the_seeds() {
        let plan = halved();
        let folder = tempfile::tempdir().unwrap();
        let executor = Ranked(Mock::new(0.01));
        let results = run(&plan, folder.path(), &executor, ONE, &Silent).unwrap();
        let rounds = Rounds::of(&plan, &results);
        let order: Vec<Vec<usize>> = rounds
            .over
            .iter()
            .map(|round| round.ranking.iter().map(|(cell, _)| *cell).collect())
            .collect();
        // Cells that differ in their scene alone share real-only with the one before.
        assert_eq!(order, [vec![3, 0, 2, 1], vec![3, 0]]);
        let kept: Vec<_> = rounds.over.iter().map(|round| round.kept.clone()).collect();
        assert_eq!(kept, [vec![0, 3], vec![0, 3]]);
        assert_eq!((rounds.alive.clone(), rounds.seeds), (vec![0, 3], 8));
        let of = |cell: usize| {
            let seeds: BTreeSet<u64> = results
                .iter()
                .filter(|r| r.trial.condition.cell == cell && r.trial.condition.n_synthetic > 0)
                .map(|r| r.trial.seed)
                .collect();
            seeds.len()
        };
        assert_eq!([0, 1, 2, 3].map(of), [8, 2, 2, 8]);
        assert_eq!(rounds.trials(&plan).len(), results.len());
        assert!(results.len() < plan.trials().len());
    }

    #[test]
    fn a_killed_run_decides_the_same() {
        let plan = halved();
        let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let expected = run(&plan, whole.path(), &Ranked(Mock::new(0.01)), ONE, &Silent).unwrap();
        for last in [3, 25, 31] {
            let mut dying = Ranked(Mock::new(0.01));
            dying.0.fail_at = Some(last);
            // The later ones may have nothing left to die of.
            let _ = run(&plan, cut.path(), &dying, ONE, &Silent);
        }
        let resumed = run(&plan, cut.path(), &Ranked(Mock::new(0.01)), ONE, &Silent).unwrap();
        assert_eq!(resumed, expected);
        let idle = Ranked(Mock::new(0.01));
        run(&plan, whole.path(), &idle, ONE, &Silent).unwrap();
        assert_eq!(idle.0.ran.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn without_halving_every_trial_is_asked_for() {
        let plan = plan_with_factors(None);
        let rounds = Rounds::of(&plan, &[]);
        assert_eq!(rounds.trials(&plan), plan.trials());
        assert_eq!(rounds.alive, [0, 1, 2, 3]);
    }
}
