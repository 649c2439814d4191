//! The same images used in another way than mixing them: is it better, or worse?
//!
//! Every condition that the plan trains both mixed and in another regime is one
//! comparison, paired by seed in the layout that the conditions of both share. All of them hold
//! together at 95 % (Bonferroni).

use serde::Serialize;

use super::{ALPHA, Estimate, Grid, Refusal, Standing, standing};
use crate::experiment::plan::{Arm, ExperimentPlan};
use crate::experiment::sentence::{WaySentence, way_subject};
use crate::experiment::statistics::{minimal_detectable_difference, t_quantile};
use crate::experiment::trial::{Condition, Regime};

/// One way to use the images, compared with mixing the same ones.
#[derive(Debug, Clone, Serialize)]
pub struct WaySummary {
    pub regime: Regime,
    /// Where the synthetic images come from, where there are several sources.
    pub source: Option<String>,
    pub sentence: String,
    /// Why nothing is claimed, where nothing is.
    pub refusal: Option<Refusal>,
    /// One a ratio, rising.
    pub comparisons: Vec<WayComparison>,
    /// True difference that would be found with 80 % power.
    pub minimal_detectable_difference: Option<f64>,
}

/// The same images, mixed and in another way.
#[derive(Debug, Clone, Serialize)]
pub struct WayComparison {
    /// The ratio: `real-only` or `2x`.
    pub label: String,
    /// That of the other way.
    pub condition: Condition,
    pub ap_mixed: Option<Estimate>,
    pub ap: Option<Estimate>,
    /// AP minus that of mixing, paired by seed, simultaneous over all comparisons of the
    /// experiment.
    pub difference: Option<Estimate>,
    pub standing: Standing,
}

impl Grid<'_> {
    /// Compares each arm that does not mix its images with mixing them, wherever the plan
    /// does both.
    pub(super) fn ways(&self, plan: &ExperimentPlan) -> Vec<WaySummary> {
        let trained = plan.conditions();
        let compared: Vec<(&Arm, Grid, Vec<WayComparison>)> = plan
            .arms
            .iter()
            // What further cells of the factors change is told as their effects.
            .filter(|arm| arm.cell == 0)
            .map(|arm| {
                let own = arm.conditions();
                let mixed = own.iter().map(|condition| condition.mixed());
                let mixed = mixed.filter(|condition| trained.contains(condition));
                let mut all: Vec<Condition> = own.iter().copied().chain(mixed).collect();
                all.sort();
                all.dedup();
                let grid = self.of(&all);
                let comparisons = grid.comparisons(arm, &trained);
                (arm, grid, comparisons)
            })
            .filter(|(.., comparisons)| !comparisons.is_empty())
            .collect();
        let family = compared
            .iter()
            .map(|(.., comparisons)| comparisons.len())
            .sum();
        compared
            .into_iter()
            .map(|(arm, grid, comparisons)| {
                let source = plan.setting_name(arm).filter(|_| plan.crossing.is_empty());
                grid.way(arm, source.as_deref(), comparisons, family)
            })
            .collect()
    }

    /// The comparisons of an arm, as yet without a claim.
    fn comparisons(&self, arm: &Arm, trained: &[Condition]) -> Vec<WayComparison> {
        arm.levels
            .iter()
            .filter(|level| {
                let condition = level.condition;
                condition.regime != Regime::Joint && trained.contains(&condition.mixed())
            })
            .map(|level| WayComparison {
                label: if level.condition.n_synthetic == 0 {
                    Standing::Reference.label().to_owned()
                } else {
                    arm.kind.label(level.ratio)
                },
                condition: level.condition,
                ap_mixed: self.mean(&self.ap, level.condition.mixed()),
                ap: self.mean(&self.ap, level.condition),
                difference: None,
                standing: Standing::NoClaim,
            })
            .collect()
    }

    /// Draws the conclusions of one arm, whose comparisons belong to a family of that size.
    fn way(
        &self,
        arm: &Arm,
        source: Option<&str>,
        mut comparisons: Vec<WayComparison>,
        family: usize,
    ) -> WaySummary {
        let regime = arm.kind.regime();
        let layout = match self.allowed(arm) {
            Ok((layout, _)) => layout,
            Err(refusal) => {
                return WaySummary {
                    regime,
                    source: source.map(str::to_owned),
                    sentence: format!(
                        "{}: no claim, because {}.",
                        way_subject(regime),
                        refusal.reason()
                    ),
                    refusal: Some(refusal),
                    comparisons,
                    minimal_detectable_difference: None,
                };
            }
        };
        // Comparisons that cannot be made count too: which these are is known only from
        // the results.
        let mut detectable = 0.0_f64;
        for comparison in &mut comparisons {
            let condition = comparison.condition;
            let (Some(own), Some(mixed)) = (self.row(condition), self.row(condition.mixed()))
            else {
                continue;
            };
            // As with an arm's real-only: nothing can lose that much from there.
            if layout.means()[mixed] <= self.smallest_effect {
                continue;
            }
            let contrast = layout.difference(own, mixed);
            let (error, degrees) = (contrast.error, contrast.degrees);
            let critical = t_quantile(1.0 - ALPHA / (2.0 * family as f64), degrees);
            let difference = Estimate::of(&contrast, critical);
            detectable = detectable.max(minimal_detectable_difference(error, critical, degrees));
            comparison.difference = Some(difference);
            comparison.standing = standing(difference, self.smallest_effect);
        }
        WaySummary {
            regime,
            source: source.map(str::to_owned),
            sentence: WaySentence {
                regime,
                source,
                comparisons: &comparisons,
                smallest_effect: self.smallest_effect,
            }
            .to_string(),
            refusal: None,
            comparisons,
            minimal_detectable_difference: (detectable > 0.0).then_some(detectable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MIN_SEEDS, analyse};
    use super::*;
    use crate::experiment::plan::tests::plan_with_ways;
    use crate::experiment::trial::{Measurement, TrialResult};
    use crate::seed::SeedKey;
    use rand_distr::{Distribution as _, Normal};

    /// AP that new seeds of a condition have on average.
    fn truth(condition: Condition) -> f64 {
        let synthetic = 0.01 * condition.n_synthetic as f64 / 100.0;
        0.40 + match condition.regime {
            Regime::Joint => -synthetic,
            Regime::Pretraining | Regime::Curriculum => 0.06 - synthetic,
            Regime::Auxiliary if condition.n_synthetic == 0 => 0.0,
            Regime::Auxiliary => -0.08,
            Regime::Augmentation => 0.03,
        }
    }

    /// Results around the truth; `noise` is the deviation of a trial and of a seed.
    fn results(plan: &ExperimentPlan, noise: f64, draw: u64) -> Vec<TrialResult> {
        let normal = Normal::new(0.0, noise).unwrap();
        let key = SeedKey::new(b"ways", draw);
        plan.trials()
            .into_iter()
            .map(|trial| {
                let of_trial = normal.sample(&mut key.generator(&trial.id, 0));
                let of_seed = normal.sample(&mut key.generator("seed", trial.seed));
                let mut stats = [-1.0; 12];
                stats[0] = truth(trial.condition) + of_trial + of_seed;
                stats[1] = stats[0];
                TrialResult {
                    trial,
                    measurement: Measurement {
                        stats,
                        steps: 10,
                        ..Measurement::default()
                    },
                    seconds: 1.0,
                }
            })
            .collect()
    }

    #[test]
    fn known_differences_are_found() {
        let plan = plan_with_ways();
        let summary = analyse(&plan, &results(&plan, 0.004, 1));
        let [pretraining, auxiliary] = &summary.ways[..] else {
            panic!("{:?}", summary.ways);
        };
        let standings = |way: &WaySummary| -> Vec<(String, Standing)> {
            let of = |c: &WayComparison| (c.label.clone(), c.standing);
            way.comparisons.iter().map(of).collect()
        };
        assert_eq!(
            standings(pretraining),
            [
                ("1x".to_owned(), Standing::Better),
                ("2x".to_owned(), Standing::Better)
            ]
        );
        assert_eq!(
            standings(auxiliary),
            [
                ("real-only".to_owned(), Standing::NoHarm),
                ("1x".to_owned(), Standing::Harm),
                ("2x".to_owned(), Standing::Harm)
            ]
        );
        for comparison in summary.ways.iter().flat_map(|way| &way.comparisons) {
            let condition = comparison.condition;
            let expected = truth(condition) - truth(condition.mixed());
            let found = comparison.difference.unwrap();
            assert!(
                found.low < expected && expected < found.high,
                "{condition:?}: {found:?}"
            );
        }
        assert!(
            pretraining.sentence.contains("better at 1x (+0.0"),
            "{}",
            pretraining.sentence
        );
        assert!(
            auxiliary
                .sentence
                .contains("no worse at real-only (a loss of 0.02 AP or more is excluded)")
                && auxiliary.sentence.contains("worse at 1x (-0.0"),
            "{}",
            auxiliary.sentence
        );
        assert!(summary.conclusion.ends_with(&auxiliary.sentence));
    }

    #[test]
    fn all_comparisons_hold_together_in_95_of_100_experiments() {
        let plan = plan_with_ways();
        let experiments = 1000;
        let holding = (0..experiments)
            .filter(|&draw| {
                let results = results(&plan, 0.02, draw);
                let ways = Grid::new(&plan, &results).ways(&plan);
                ways.iter().flat_map(|way| &way.comparisons).all(|c| {
                    let expected = truth(c.condition) - truth(c.condition.mixed());
                    c.difference
                        .is_some_and(|d| d.low <= expected && expected <= d.high)
                })
            })
            .count();
        let coverage = holding as f64 / experiments as f64;
        // Bonferroni is on the safe side.
        assert!((0.94..0.985).contains(&coverage), "{coverage}");
    }

    #[test]
    fn noise_is_called_noise() {
        let plan = plan_with_ways();
        let summary = analyse(&plan, &results(&plan, 0.1, 2));
        let way = &summary.ways[0];
        assert!(
            way.sentence.ends_with("too noisy to say at 1x and 2x."),
            "{}",
            way.sentence
        );
        assert!(way.minimal_detectable_difference.unwrap() > 0.1);
    }

    #[test]
    fn nothing_is_claimed_where_an_arm_claims_nothing() {
        let plan = plan_with_ways();
        let mut few = results(&plan, 0.01, 3);
        few.pop();
        let summary = analyse(&plan, &few);
        for way in &summary.ways {
            let complete = MIN_SEEDS - 1;
            assert_eq!(way.refusal, Some(Refusal::TooFewSeeds { complete }));
            assert!(way.sentence.contains("no claim"), "{}", way.sentence);
            assert!(way.comparisons.iter().all(|c| c.difference.is_none()));
        }
        // Mixing that fails at one ratio leaves the comparisons at the others.
        let mut failed = results(&plan, 0.004, 4);
        for result in &mut failed {
            if result.trial.condition == Condition::joint(100, 200) {
                result.measurement.stats[0] *= 0.01;
            }
        }
        let summary = analyse(&plan, &failed);
        let comparisons = &summary.ways[0].comparisons;
        assert_eq!(comparisons[0].standing, Standing::Better);
        assert_eq!(comparisons[1].standing, Standing::NoClaim);
        assert!(
            summary.ways[0].sentence.contains("no claim at 2x"),
            "{}",
            summary.ways[0].sentence
        );
    }

    #[test]
    fn what_is_not_mixed_too_is_not_compared() {
        let mut plan = plan_with_ways();
        plan.arms.remove(1);
        let results = results(&plan, 0.004, 5);
        let summary = analyse(&plan, &results);
        // Of the substitution arm there is real-only, which the auxiliary arm has too.
        assert_eq!(summary.ways.len(), 1);
        assert_eq!(summary.ways[0].regime, Regime::Auxiliary);
        let labels: Vec<&str> = summary.ways[0]
            .comparisons
            .iter()
            .map(|c| c.label.as_str())
            .collect();
        assert_eq!(labels, ["real-only"]);
    }
}
