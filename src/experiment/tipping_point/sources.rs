//! The same ratios with images of another source: does it matter where they come from?
//!
//! Source and ratio are crossed factors of one layout. Its main effect is the mean over the
//! ratios of the difference between two sources; its interaction with the ratio is by how much
//! that difference is another at the largest ratio than at the smallest. Both are contrasts of
//! the condition means (Montgomery, *Design and Analysis of Experiments*, ch. 5), and hold
//! together with the differences at each ratio at 95 % (Bonferroni).

use serde::Serialize;

use super::{ALPHA, Estimate, Grid, Refusal, Standing, standing};
use crate::experiment::plan::{Arm, ArmKind, ExperimentPlan};
use crate::experiment::sentence::{listed, signed};
use crate::experiment::statistics::{Contrast, t_quantile};
use crate::experiment::trial::Condition;

/// One source compared with the first, in one arm.
#[derive(Debug, Clone, Serialize)]
pub struct SourceSummary {
    pub kind: ArmKind,
    pub name: String,
    /// The first source.
    pub reference: String,
    pub sentence: String,
    pub refusal: Option<Refusal>,
    /// One a ratio, rising.
    pub comparisons: Vec<SourceComparison>,
    /// Mean difference over the ratios.
    pub main_effect: Option<Estimate>,
    /// Difference at the largest ratio minus that at the smallest, where there are two.
    pub interaction: Option<Estimate>,
}

/// As many images of two sources.
#[derive(Debug, Clone, Serialize)]
pub struct SourceComparison {
    pub label: String,
    /// With images of the source itself.
    pub condition: Condition,
    pub difference: Estimate,
    pub standing: Standing,
}

impl Grid<'_> {
    /// Compares each further source with the first, arm by arm.
    pub(super) fn sources(&self, plan: &ExperimentPlan) -> Vec<SourceSummary> {
        // With factors the sources are levels of one.
        let further: Vec<&Arm> = plan
            .arms
            .iter()
            .filter(|arm| arm.source > 0 && plan.crossing.is_empty())
            .collect();
        // Ratios, main effect and interaction of every arm, also those that cannot be said.
        let family = further.iter().map(|arm| arm.levels.len() + 1).sum();
        let compared = further.iter().filter_map(|arm| {
            let same = |first: &&Arm| first.source == 0 && first.kind == arm.kind;
            let first = plan.arms.iter().find(same)?;
            let mut both = arm.conditions();
            both.extend(first.conditions());
            both.sort();
            both.dedup();
            Some(self.of(&both).source(plan, arm, first, family))
        });
        compared.collect()
    }

    fn source(
        &self,
        plan: &ExperimentPlan,
        arm: &Arm,
        first: &Arm,
        family: usize,
    ) -> SourceSummary {
        let name = |arm| plan.setting_name(arm).unwrap_or_default();
        let mut summary = SourceSummary {
            kind: arm.kind,
            name: name(arm),
            reference: name(first),
            sentence: String::new(),
            refusal: None,
            comparisons: Vec::new(),
            main_effect: None,
            interaction: None,
        };
        let about = format!(
            "{} in place of {} ({})",
            summary.name,
            summary.reference,
            arm.kind.name()
        );
        let layout = match self.allowed(arm) {
            Ok((layout, _)) => layout,
            Err(refusal) => {
                summary.sentence = format!("{about}: no claim, because {}.", refusal.reason());
                summary.refusal = Some(refusal);
                return summary;
            }
        };
        let estimate = |contrast: Contrast| {
            let tail = ALPHA / (2.0 * family as f64);
            Estimate::of(&contrast, t_quantile(1.0 - tail, contrast.degrees))
        };
        let mut pairs = Vec::new();
        for (level, own) in arm
            .levels
            .iter()
            .zip(&first.levels)
            .map(|(a, b)| (a, (a, b)))
        {
            if level.condition.n_synthetic == 0 {
                continue;
            }
            let rows = [own.0.condition, own.1.condition].map(|condition| self.row(condition));
            let [Some(own), Some(other)] = rows else {
                continue;
            };
            pairs.push((own, other));
            let difference = estimate(layout.difference(own, other));
            summary.comparisons.push(SourceComparison {
                label: arm.kind.label(level.ratio),
                condition: level.condition,
                difference,
                standing: standing(difference, self.smallest_effect),
            });
        }
        let share = 1.0 / pairs.len().max(1) as f64;
        let weights: Vec<(usize, f64)> = pairs
            .iter()
            .flat_map(|&(own, other)| [(own, share), (other, -share)])
            .collect();
        if !pairs.is_empty() {
            summary.main_effect = Some(estimate(layout.contrast(&weights)));
        }
        if let [(low, other_low), .., (high, other_high)] = pairs[..] {
            let weights = [
                (high, 1.0),
                (other_high, -1.0),
                (low, -1.0),
                (other_low, 1.0),
            ];
            summary.interaction = Some(estimate(layout.contrast(&weights)));
        }
        summary.sentence = self.source_sentence(&about, &summary);
        summary
    }

    fn source_sentence(&self, about: &str, summary: &SourceSummary) -> String {
        let Some(main) = summary.main_effect else {
            return format!("{about}: no claim, because no ratio varies with both.");
        };
        let effect = self.smallest_effect;
        let mut text = match standing(main, effect) {
            Standing::Better => format!("{about}: better, {} on average", signed(main)),
            Standing::Harm => format!("{about}: worse, {} on average", signed(main)),
            Standing::NoHarm if main.high < effect => format!(
                "{about}: no difference that matters, {} on average",
                signed(main)
            ),
            Standing::NoHarm => format!("{about}: no worse, {} on average", signed(main)),
            _ => format!("{about}: too noisy to say, {} on average", signed(main)),
        };
        let standing_at = |standing: Standing| -> Vec<String> {
            let at = summary
                .comparisons
                .iter()
                .filter(|c| c.standing == standing);
            at.map(|c| c.label.clone()).collect()
        };
        for (standing, word) in [(Standing::Better, "better"), (Standing::Harm, "worse")] {
            let at = standing_at(standing);
            if !at.is_empty() {
                text += &format!("; {word} at {}", listed(&at));
            }
        }
        match summary.interaction {
            Some(change) if change.low > 0.0 => {
                text += &format!(
                    "; the difference rises with the ratio (by {})",
                    signed(change)
                );
            }
            Some(change) if change.high < 0.0 => {
                text += &format!(
                    "; the difference falls with the ratio (by {})",
                    signed(change)
                );
            }
            _ => {}
        }
        text + "."
    }
}

#[cfg(test)]
mod tests {
    use super::super::analyse;
    use super::*;
    use crate::experiment::plan::SyntheticSource;
    use crate::experiment::plan::tests::plan;
    use crate::experiment::trial::{Measurement, TrialResult};
    use crate::seed::SeedKey;
    use rand_distr::{Distribution as _, Normal};

    fn plan_of_two() -> ExperimentPlan {
        let mut plan = plan();
        plan.other_synthetic = vec![("traced".into(), SyntheticSource::Dataset("t".into()))];
        let further: Vec<Arm> = plan.arms.iter().map(|arm| arm.of_source(1)).collect();
        plan.arms.extend(further);
        plan
    }

    /// `gain` AP for each synthetic share of 1 with images of the second source.
    fn results(plan: &ExperimentPlan, gain: f64, noise: f64) -> Vec<TrialResult> {
        let normal = Normal::new(0.0, noise).unwrap();
        let key = SeedKey::new(b"sources", 0);
        let trials = plan.trials().into_iter().map(|trial| {
            let c = trial.condition;
            let share = c.n_synthetic as f64 / (c.n_real + c.n_synthetic) as f64;
            let mut stats = [-1.0; 12];
            stats[0] = 0.5 - 0.1 * share
                + gain * share * c.source as f64
                + normal.sample(&mut key.generator(&trial.id, 0));
            TrialResult {
                trial,
                measurement: Measurement {
                    stats,
                    ..Measurement::default()
                },
                seconds: 1.0,
            }
        });
        trials.collect()
    }

    #[test]
    fn real_only_is_shared_and_other_trials_are_their_own() {
        let plan = plan_of_two();
        let trials = plan.trials();
        assert_eq!(
            plan.conditions().len(),
            11,
            "six of the first and five more"
        );
        let ids: std::collections::BTreeSet<&str> = trials.iter().map(|t| t.id.as_str()).collect();
        assert_eq!(ids.len(), 55);
        assert!(ids.contains("r100-s0-seed7") && ids.contains("r100-s200-source2-seed7"));
        let mut one = plan.clone();
        one.other_synthetic.clear();
        one.arms.retain(|arm| arm.source == 0);
        assert!(
            one.trials().iter().all(|trial| trials.contains(trial)),
            "they are kept"
        );
    }

    #[test]
    fn a_better_source_and_its_interaction_are_found() {
        let plan = plan_of_two();
        let summary = analyse(&plan, &results(&plan, 0.08, 0.002));
        assert_eq!(summary.arms.len(), 4);
        let [substitution, addition] = &summary.sources[..] else {
            panic!()
        };
        // Shares of 0.25, 0.5 and 1: 0.02, 0.04 and 0.08, of mean 0.0467.
        let main = substitution.main_effect.unwrap();
        assert!(
            main.low < 0.0467 && 0.0467 < main.high && main.low > 0.03,
            "{main:?}"
        );
        let change = substitution.interaction.unwrap();
        assert!(
            change.low > 0.0 && (change.value - 0.06).abs() < 0.01,
            "{change:?}"
        );
        assert!(
            substitution
                .sentence
                .starts_with("traced in place of synthetic (substitution): better, +0.0")
                && substitution
                    .sentence
                    .contains("better at 25 %, 50 % and 100 %; the difference rises"),
            "{}",
            substitution.sentence
        );
        assert_eq!(addition.comparisons.len(), 2);
        assert!(
            summary.arms[2].sentence.contains("of traced"),
            "{}",
            summary.arms[2].sentence
        );
        assert!(summary.conclusion.contains(&addition.sentence));
    }

    #[test]
    fn equal_sources_are_no_difference_and_noise_is_noise() {
        let mut plan = plan_of_two();
        plan.smallest_effect = 0.02;
        let equal = analyse(&plan, &results(&plan, 0.0, 0.002));
        let sentence = &equal.sources[0].sentence;
        assert!(
            sentence.contains("no difference that matters"),
            "{sentence}"
        );
        let noisy = analyse(&plan, &results(&plan, 0.0, 0.1));
        assert!(
            noisy.sources[0].sentence.contains("too noisy"),
            "{}",
            noisy.sources[0].sentence
        );
        let mut few = results(&plan, 0.0, 0.01);
        few.pop();
        let refused = analyse(&plan, &few);
        assert!(refused.sources[0].sentence.contains("no claim"));
        assert!(refused.sources[0].main_effect.is_none());
    }
}
