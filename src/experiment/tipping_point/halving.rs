//! What successive halving left, compared with the first cell.

use serde::Serialize;

use super::{ALPHA, Estimate, Grid, Refusal, Standing, standing};
use crate::experiment::halving::Rounds;
use crate::experiment::plan::{Arm, ArmKind, ExperimentPlan};
use crate::experiment::sentence::signed;
use crate::experiment::statistics::t_quantile;
use crate::experiment::trial::Condition;

/// How cells of the factors fell out, and what is left.
#[derive(Debug, Clone, Serialize)]
pub struct HalvingSummary {
    pub sentence: String,
    /// Why nothing is claimed of those that are left, where nothing is.
    pub refusal: Option<Refusal>,
    pub rounds: Vec<RoundSummary>,
    /// The cells that are left but the first, one an arm that they are crossed with.
    pub survivors: Vec<Survivor>,
}

/// One round: the cells that were in it, best first.
#[derive(Debug, Clone, Serialize)]
pub struct RoundSummary {
    pub seeds: usize,
    pub ranking: Vec<RankedCell>,
}

/// A cell in a round.
#[derive(Debug, Clone, Serialize)]
pub struct RankedCell {
    /// Its levels.
    pub name: String,
    /// Mean over its trials, on the val split.
    pub validation_ap: f64,
    pub is_kept: bool,
}

/// A cell that was never dropped.
#[derive(Debug, Clone, Serialize)]
pub struct Survivor {
    pub kind: ArmKind,
    /// Its levels.
    pub name: String,
    /// Mean AP over the ratios with synthetic images minus that of the first cell, on the test
    /// split; all survivors together at 95 % (Bonferroni).
    pub difference: Option<Estimate>,
    pub standing: Standing,
}

impl Grid<'_> {
    /// `None` without halving. The grid is of the cells that are left.
    pub(super) fn halving(&self, plan: &ExperimentPlan, rounds: &Rounds) -> Option<HalvingSummary> {
        plan.halving?;
        let name = |cell: usize| plan.crossing.name(cell).unwrap_or_default();
        let left = |arm: &&Arm| arm.cell > 0 && rounds.alive.contains(&arm.cell);
        let left: Vec<&Arm> = plan.arms.iter().filter(left).collect();
        let mut refusal = None;
        let survivors = left.iter().map(|arm| {
            let difference = self.to_first_cell(plan, arm, left.len());
            Survivor {
                kind: arm.kind,
                name: name(arm.cell),
                standing: match &difference {
                    Ok(difference) => standing(*difference, self.smallest_effect),
                    Err(_) => Standing::NoClaim,
                },
                difference: difference.map_err(|why| refusal = Some(why)).ok(),
            }
        });
        let survivors: Vec<Survivor> = survivors.collect();
        let over = rounds.over.iter().map(|round| RoundSummary {
            seeds: round.seeds,
            ranking: round
                .ranking
                .iter()
                .map(|(cell, validation_ap)| RankedCell {
                    name: name(*cell),
                    validation_ap: *validation_ap,
                    is_kept: round.kept.contains(cell),
                })
                .collect(),
        });
        let mut summary = HalvingSummary {
            sentence: String::new(),
            refusal,
            rounds: over.collect(),
            survivors,
        };
        summary.sentence = sentence(&summary, plan, rounds);
        Some(summary)
    }

    /// An arm in a further cell minus the same arm in the first one.
    fn to_first_cell(
        &self,
        plan: &ExperimentPlan,
        arm: &Arm,
        family: usize,
    ) -> Result<Estimate, Refusal> {
        let first = plan.arms.iter().find(|a| a.kind == arm.kind && a.cell == 0);
        let first = first.ok_or(Refusal::NoVariation)?;
        let mut all: Vec<Condition> = [arm, first].iter().flat_map(|a| a.conditions()).collect();
        all.sort();
        all.dedup();
        let grid = self.of(&all);
        let (layout, _) = grid.allowed(first)?;
        let with_synthetic = |arm: &Arm| -> Vec<Condition> {
            let conditions = arm.conditions().into_iter();
            conditions.filter(|c| c.n_synthetic > 0).collect()
        };
        let mut rows = Vec::new();
        for (conditions, sign) in [(with_synthetic(arm), 1.0), (with_synthetic(first), -1.0)] {
            let weight = sign / conditions.len().max(1) as f64;
            for condition in conditions {
                let row = grid.row(condition).ok_or(Refusal::NoVariation)?;
                rows.push((row, weight));
            }
        }
        let contrast = layout.contrast(&rows);
        let tail = ALPHA / (2 * family.max(1)) as f64;
        Ok(Estimate::of(
            &contrast,
            t_quantile(1.0 - tail, contrast.degrees),
        ))
    }
}

fn sentence(summary: &HalvingSummary, plan: &ExperimentPlan, rounds: &Rounds) -> String {
    let all = plan.crossing.cells.len();
    let about = format!("Halving of {all} combinations");
    if rounds.over.is_empty() {
        return format!("{about}: the first round is not finished.");
    }
    if summary.survivors.is_empty() {
        return format!("{about} left only the first.");
    }
    if let Some(refusal) = &summary.refusal {
        return format!("{about}: no claim, because {}.", refusal.reason());
    }
    let told: Vec<String> = summary
        .survivors
        .iter()
        .filter_map(|survivor| {
            let difference = signed(survivor.difference?);
            Some(format!(
                "{} ({}): {difference}, {}",
                survivor.name,
                survivor.kind.name(),
                survivor.standing.label_of_way()
            ))
        })
        .collect();
    format!(
        "{about} left {} beside the first. Against it, over the ratios with synthetic images: {}.",
        rounds.alive.len() - 1,
        told.join("; ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::halving::Halving;
    use crate::experiment::plan::tests::plan_with_factors;
    use crate::experiment::tipping_point::analyse;
    use crate::experiment::tipping_point::tests::results;
    use crate::experiment::trial::TrialResult;

    fn halved(gains: [f64; 4]) -> (ExperimentPlan, Vec<TrialResult>) {
        let mut plan = plan_with_factors(None);
        plan.seeds = (0..8).collect();
        let mut results = results(&plan, 0.004);
        plan.halving = Some(Halving {
            first_seeds: 2,
            keep: 0.5,
        });
        for result in &mut results {
            let measured = &mut result.measurement;
            if result.trial.condition.n_synthetic > 0 {
                measured.stats[0] += gains[result.trial.condition.cell];
            }
            measured.validation_ap = Some(measured.stats[0]);
        }
        let asked = Rounds::of(&plan, &results).trials(&plan);
        results.retain(|result| asked.iter().any(|trial| trial.id == result.trial.id));
        (plan, results)
    }

    #[test]
    fn what_is_left_is_compared_with_the_first_cell() {
        let (plan, results) = halved([0.0, 0.06, -0.1, -0.2]);
        let summary = analyse(&plan, &results);
        assert_eq!(summary.trials_finished, summary.trials_total);
        assert_eq!(summary.seeds_used.len(), 8);
        let cells: Vec<usize> = summary.arms.iter().map(|arm| arm.cell).collect();
        assert_eq!(cells, [0, 1], "arms that were dropped claim nothing");
        assert!(summary.arms.iter().all(|arm| arm.refusal.is_none()));
        assert!(
            summary.factors.is_empty(),
            "of half the cells there are no effects"
        );
        let halving = summary.halving.as_ref().unwrap();
        assert_eq!(halving.rounds.len(), 2);
        let kept = halving.rounds[0].ranking.iter().map(|cell| cell.is_kept);
        assert_eq!(kept.collect::<Vec<_>>(), [true, true, false, false]);
        let [survivor] = &halving.survivors[..] else {
            panic!("{:?}", halving.survivors);
        };
        let difference = survivor.difference.unwrap();
        assert!(
            difference.low > 0.05 && difference.low < 0.06 && difference.high > 0.06,
            "{difference:?}"
        );
        assert_eq!(survivor.standing, Standing::Better);
        assert!(
            summary
                .conclusion
                .contains("Halving of 4 combinations left 1 beside the first."),
            "{}",
            summary.conclusion
        );
    }

    #[test]
    fn where_the_first_is_best_it_may_be_left_alone() {
        let (mut plan, _) = halved([0.0; 4]);
        plan.halving = Some(Halving {
            first_seeds: 2,
            keep: 0.2,
        });
        let (_, all) = halved([0.0; 4]);
        let mut results = all;
        for result in &mut results {
            let loss = 0.1 * result.trial.condition.cell as f64;
            result.measurement.validation_ap = Some(0.5 - loss);
        }
        let halving = analyse(&plan, &results).halving.unwrap();
        assert_eq!(
            halving.sentence,
            "Halving of 4 combinations left only the first."
        );
        let none = analyse(&plan, &[]).halving.unwrap();
        assert!(none.sentence.contains("first round is not finished"));
    }
}
