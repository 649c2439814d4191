//! Whether an arm wins or loses by its learning rate: its ends at other rates too.
//!
//! Each condition's own best rate is chosen by the val split, and what it gains over the planned
//! one is read from the test split, so that the choice does not flatter itself by the images; it
//! still may by the trainings, which are the same. All intervals hold together at 95 %
//! (Bonferroni) over one two-way layout of the check's own seeds.

use serde::Serialize;

use super::{ALPHA, Estimate, Grid, find};
use crate::experiment::plan::{ArmKind, ExperimentPlan, RateCheck};
use crate::experiment::sentence::{signed, subject};
use crate::experiment::statistics::t_quantile;
use crate::experiment::trial::{Condition, Measurement};

/// What the rate check says.
#[derive(Debug, Clone, Serialize)]
pub struct RateSummary {
    pub sentence: String,
    /// Whether all trials that it compares are finished.
    pub is_complete: bool,
    pub seeds: Vec<u64>,
    pub conditions: Vec<RatedCondition>,
    pub arms: Vec<RatedArm>,
}

/// One end of an arm at all rates.
#[derive(Debug, Clone, Serialize)]
pub struct RatedCondition {
    /// Such as `addition 4x`, of the first arm that it stands in.
    pub label: String,
    pub condition: Condition,
    /// By rising rate.
    pub tried: Vec<TriedRate>,
    /// Multiple of the planned rate that is best on the val split.
    pub best: Option<f64>,
    /// Whether the best is the largest or the smallest tried, so that a further one may be
    /// better.
    pub is_at_edge: bool,
    /// AP on the test split at the best rate minus that at the planned one.
    pub gain: Option<Estimate>,
}

/// Means over the check's seeds at one rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TriedRate {
    pub multiple: f64,
    pub validation_ap: Option<f64>,
    pub ap: Option<f64>,
}

/// What an arm's difference of the largest ratio to real-only owes to the learning rate.
#[derive(Debug, Clone, Serialize)]
pub struct RatedArm {
    pub kind: ArmKind,
    pub source: Option<String>,
    /// Its largest ratio.
    pub label: String,
    /// The difference on the check's seeds, both ends at the planned rate.
    pub planned: Option<Estimate>,
    /// Each end at its own best rate.
    pub own_best: Option<Estimate>,
    /// The second minus the first.
    pub change: Option<Estimate>,
}

impl Grid<'_> {
    /// Compares the ends of the arms at the rates that the plan tries.
    pub(super) fn rate_check(&self, plan: &ExperimentPlan) -> Option<RateSummary> {
        let check = plan.rate_check.as_ref()?;
        let seeds = &plan.seeds[..check.seeds.min(plan.seeds.len())];
        let checked = plan.rate_checked();
        let all: Vec<Condition> = checked
            .iter()
            .flat_map(|&condition| check.tried().map(move |(rate, _)| condition.at_rate(rate)))
            .collect();
        let grid = self.of_seeds(&all, seeds);
        let is_complete = all
            .iter()
            .all(|&condition| grid.means(condition, seeds, |m| m.validation_ap).is_some());
        let arms = plan.arms.iter().filter(|arm| arm.cell == 0);
        let family = checked.len() + arms.clone().count();
        let contrast = |weights: &[(Condition, f64)]| -> Option<Estimate> {
            let layout = grid.ap.as_ref().filter(|layout| !layout.is_degenerate())?;
            let rows = weights
                .iter()
                .map(|(c, weight)| Some((grid.row(*c)?, *weight)));
            // A row that stands twice counts with the sum of its weights.
            let mut summed: Vec<(usize, f64)> = Vec::new();
            for (row, weight) in rows.collect::<Option<Vec<_>>>()? {
                match summed.iter_mut().find(|(known, _)| *known == row) {
                    Some((_, sum)) => *sum += weight,
                    None => summed.push((row, weight)),
                }
            }
            let contrast = layout.contrast(&summed);
            let tail = ALPHA / (2 * family) as f64;
            Some(Estimate::of(
                &contrast,
                t_quantile(1.0 - tail, contrast.degrees),
            ))
        };
        let mut conditions: Vec<RatedCondition> = Vec::new();
        let mut best: Vec<(Condition, Condition)> = Vec::new();
        for &condition in &checked {
            let tried = grid.tried(check, condition, seeds);
            let chosen = if is_complete { best_of(&tried) } else { None };
            let at_best = chosen.and_then(|multiple| {
                let mut rates = check.tried();
                let (rate, _) = rates.find(|(_, other)| *other == multiple)?;
                Some(condition.at_rate(rate))
            });
            best.extend(at_best.map(|at_best| (condition, at_best)));
            let edges = [tried.first(), tried.last()];
            let is_at_edge = edges
                .into_iter()
                .flatten()
                .any(|t| Some(t.multiple) == chosen);
            conditions.push(RatedCondition {
                label: label(plan, condition),
                condition,
                is_at_edge,
                tried,
                best: chosen,
                gain: at_best.and_then(|b| contrast(&[(b, 1.0), (condition, -1.0)])),
            });
        }
        let own = |condition: Condition| {
            let known = best.iter().find(|(planned, _)| *planned == condition);
            known.map(|(_, at_best)| *at_best)
        };
        let arms = arms.filter_map(|arm| {
            let (first, last) = (arm.levels.first()?, arm.levels.last()?);
            let (real, mixed) = (first.condition, last.condition);
            let planned = [(mixed, 1.0), (real, -1.0)];
            let own_best = own(mixed)
                .zip(own(real))
                .map(|(m, r)| [(m, 1.0), (r, -1.0)]);
            let change = own_best.and_then(|[m, r]| contrast(&[m, r, (mixed, -1.0), (real, 1.0)]));
            Some(RatedArm {
                kind: arm.kind,
                source: plan.setting_name(arm).filter(|_| plan.crossing.is_empty()),
                label: arm.kind.label(last.ratio),
                planned: contrast(&planned),
                own_best: own_best.and_then(|weights| contrast(&weights)),
                change,
            })
        });
        let mut summary = RateSummary {
            sentence: String::new(),
            is_complete,
            seeds: seeds.to_vec(),
            arms: arms.collect(),
            conditions,
        };
        summary.sentence = sentence(&summary, self.smallest_effect);
        Some(summary)
    }

    /// Mean of a condition over seeds that are all finished and have the value.
    fn means(
        &self,
        condition: Condition,
        seeds: &[u64],
        of: impl Fn(&Measurement) -> Option<f64>,
    ) -> Option<f64> {
        let values = seeds
            .iter()
            .map(|&seed| of(&find(self.results, condition, seed)?.measurement));
        let values: Vec<f64> = values.collect::<Option<_>>()?;
        Some(values.iter().sum::<f64>() / values.len() as f64)
    }

    fn tried(&self, check: &RateCheck, condition: Condition, seeds: &[u64]) -> Vec<TriedRate> {
        let tried = check.tried().map(|(rate, multiple)| {
            let condition = condition.at_rate(rate);
            TriedRate {
                multiple,
                validation_ap: self.means(condition, seeds, |m| m.validation_ap),
                ap: self.means(condition, seeds, |m| Some(m.ap())),
            }
        });
        let mut tried: Vec<TriedRate> = tried.collect();
        tried.sort_by(|a, b| a.multiple.total_cmp(&b.multiple));
        tried
    }
}

/// The multiple that scores best on the val split; of equals the one nearest to the planned rate.
fn best_of(tried: &[TriedRate]) -> Option<f64> {
    let scored = tried
        .iter()
        .filter_map(|t| Some((t.multiple, t.validation_ap?)));
    let distance = |multiple: f64| multiple.ln().abs();
    let best = scored.max_by(|a, b| {
        let nearer = distance(b.0).total_cmp(&distance(a.0));
        a.1.total_cmp(&b.1).then(nearer)
    });
    best.map(|(multiple, _)| multiple)
}

fn label(plan: &ExperimentPlan, condition: Condition) -> String {
    if condition.n_synthetic == 0 {
        let way = match condition.mixed() == condition {
            true => String::new(),
            false => format!(", {}", condition.regime.name()),
        };
        return format!("real-only of {}{way}", condition.n_real);
    }
    let arms = plan.arms.iter().filter(|arm| arm.cell == 0);
    let mut found = arms.flat_map(|arm| arm.levels.iter().map(move |level| (arm, level)));
    found
        .find(|(_, level)| level.condition == condition)
        .map_or(String::new(), |(arm, level)| {
            let source = plan.setting_name(arm).filter(|_| plan.crossing.is_empty());
            let source = source.map_or(String::new(), |source| format!(", {source}"));
            format!(
                "{} {}{source}",
                arm.kind.name(),
                arm.kind.label(level.ratio)
            )
        })
}

/// What the check says of the arms.
fn sentence(summary: &RateSummary, smallest_effect: f64) -> String {
    const ABOUT: &str = "Learning rate";
    if !summary.is_complete {
        return format!(
            "{ABOUT}: its trials are not all finished, or not all scored on the val split."
        );
    }
    let seeds = summary.seeds.len();
    let all = summary.conditions.iter().flat_map(|end| &end.tried);
    let highest = all.filter_map(|tried| tried.ap).fold(0.0, f64::max);
    if highest <= smallest_effect {
        return format!(
            "{ABOUT}: no claim, because no end reaches more than {highest:.3} AP at any rate, from \
             where nothing can lose {smallest_effect}."
        );
    }
    let changes = |arm: &RatedArm| arm.change.map(|change| (arm.clone(), change));
    let changed: Vec<(RatedArm, Estimate)> = summary.arms.iter().filter_map(changes).collect();
    let clear: Vec<String> = changed
        .iter()
        .filter(|(_, change)| change.low > 0.0 || change.high < 0.0)
        .map(|(arm, change)| {
            let value = |estimate: Option<Estimate>| estimate.map_or(0.0, |e| e.value);
            format!(
                "with each end at its own best rate, {} at {} differs from real-only by {:+.3} AP in \
                 place of {:+.3} (a change of {})",
                lower_first(&subject(arm.kind, arm.source.as_deref(), false)),
                arm.label,
                value(arm.own_best),
                value(arm.planned),
                signed(*change)
            )
        })
        .collect();
    if !clear.is_empty() {
        return format!("{ABOUT} matters: {}, by {seeds} seeds.", clear.join("; "));
    }
    let Some((arm, largest)) = changed
        .iter()
        .max_by(|a, b| a.1.value.abs().total_cmp(&b.1.value.abs()))
    else {
        return format!("{ABOUT}: no claim, because runs did not vary.");
    };
    let within = |change: &Estimate| change.low > -smallest_effect && change.high < smallest_effect;
    if changed.iter().all(|(_, change)| within(change)) {
        return format!(
            "{ABOUT}: no arm's difference to real-only changes by {smallest_effect} AP or more with \
             each end at its own best rate.{}",
            gains(summary)
        );
    }
    format!(
        "{ABOUT}: by {seeds} seeds, no arm clearly wins or loses by it; with each end at its own best \
         rate the difference to real-only changes most for {} at {}, by {}.",
        arm.kind.name(),
        arm.label,
        signed(*largest)
    ) + &gains(summary)
}

/// Ends that another rate serves better, though not their arms' differences.
fn gains(summary: &RateSummary) -> String {
    let ends = summary.conditions.len();
    let gain = |end: &&RatedCondition| end.gain.is_some_and(|gain| gain.low > 0.0);
    match summary.conditions.iter().filter(gain).count() {
        0 => String::new(),
        gained => format!(" By themselves {gained} of {ends} ends score higher at another rate."),
    }
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::plan::tests::{plan, plan_with_rates};
    use crate::experiment::tipping_point::analyse;
    use crate::experiment::tipping_point::tests::results;
    use crate::experiment::trial::{Regime, TrialResult};

    /// Results in which each condition gains so much at each rate, on both splits.
    fn rated(gain: impl Fn(Regime, f64) -> f64) -> (ExperimentPlan, Vec<TrialResult>) {
        let plan = plan_with_rates();
        let mut results = results(&plan, 0.004);
        for result in &mut results {
            let condition = result.trial.condition;
            let measured = &mut result.measurement;
            measured.stats[0] += gain(condition.regime, plan.rate_of(condition));
            measured.validation_ap = Some(measured.stats[0] + 0.05);
        }
        (plan, results)
    }

    #[test]
    fn an_arm_that_wins_by_its_rate_is_told() {
        let (plan, results) = rated(|regime, rate| match (regime, rate) {
            (Regime::Pretraining, 3.0) => 0.08,
            (_, 0.3) => -0.05,
            (_, 3.0) => -0.03,
            _ => 0.0,
        });
        let check = analyse(&plan, &results).rate_check.unwrap();
        assert!(check.is_complete);
        let labels: Vec<&str> = check.conditions.iter().map(|c| c.label.as_str()).collect();
        assert_eq!(
            labels,
            [
                "real-only of 100",
                "substitution 100 %",
                "addition 2x",
                "pretraining 2x"
            ]
        );
        let best: Vec<_> = check
            .conditions
            .iter()
            .map(|c| (c.best, c.is_at_edge))
            .collect();
        assert_eq!(best[..3], [(Some(1.0), false); 3]);
        assert_eq!(best[3], (Some(3.0), true));
        let gain = check.conditions[3].gain.unwrap();
        assert!(
            gain.low > 0.04 && gain.low < 0.08 && gain.high > 0.08,
            "{gain:?}"
        );
        let zero = check.conditions[0].gain.unwrap();
        assert_eq!((zero.low, zero.value, zero.high), (0.0, 0.0, 0.0));
        let pretraining = &check.arms[2];
        let value = |estimate: Option<Estimate>| estimate.unwrap().value;
        assert_eq!(pretraining.label, "2x");
        let change = value(pretraining.own_best) - value(pretraining.planned);
        assert!((change - value(pretraining.change)).abs() < 1e-12);
        assert!(
            check.sentence.starts_with(
                "Learning rate matters: with each end at its own best rate, training on \
                 synthetic images first at 2x differs"
            ),
            "{}",
            check.sentence
        );
    }

    #[test]
    fn where_the_planned_rate_is_best_nothing_changes() {
        let (plan, results) = rated(|_, rate| if rate == 1.0 { 0.0 } else { -0.1 });
        let summary = analyse(&plan, &results);
        let check = summary.rate_check.as_ref().unwrap();
        assert!(
            check.sentence.contains("no arm's difference"),
            "{}",
            check.sentence
        );
        assert!(summary.conclusion.contains(&check.sentence));
        assert!(analyse(&self::plan(), &[]).rate_check.is_none());
    }

    /// Nothing is chosen before the last trial, nor by the test split where val was not scored.
    #[test]
    fn nothing_is_said_before_all_are_finished() {
        let (plan, mut results) = rated(|_, _| 0.0);
        results[0].measurement.validation_ap = None;
        let check = analyse(&plan, &results).rate_check.unwrap();
        assert!(!check.is_complete && check.sentence.contains("not all finished"));
        assert!(
            check
                .conditions
                .iter()
                .all(|c| c.best.is_none() && c.gain.is_none())
        );
        assert!(check.arms.iter().all(|arm| arm.change.is_none()));
    }

    #[test]
    fn of_equal_rates_the_one_nearest_to_the_planned_is_taken() {
        let tried = |multiple, ap| TriedRate {
            multiple,
            validation_ap: Some(ap),
            ap: None,
        };
        let equal = [tried(0.3, 0.5), tried(1.0, 0.5), tried(3.0, 0.5)];
        assert_eq!(best_of(&equal), Some(1.0));
        assert_eq!(best_of(&[tried(0.1, 0.5), tried(3.0, 0.5)]), Some(3.0));
        assert_eq!(best_of(&[]), None);
    }
}
