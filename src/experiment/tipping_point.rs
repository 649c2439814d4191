//! From results to conclusions: where the curve peaks, and from where on it hurts.
//!
//! All conditions of the experiment share one two-way layout, so that one residual
//! variance serves every comparison. Within an arm, all differences to real-only hold
//! together at 95 % (Dunnett). The peak is the set of ratios that cannot be told from
//! the best (Hsu's multiple comparisons with the best, 1984).

mod ways;

use serde::Serialize;

use super::plan::{Arm, ArmKind, ExperimentPlan};
use super::sentence::{Sentence, subject};
use super::statistics::{
    Layout, Sides, dunnett_critical_value, minimal_detectable_difference, seeds_needed,
};
use super::trial::{Condition, TrialResult};
use crate::seed::PlanHash;

pub use ways::{WayComparison, WaySummary};

/// Fewest seeds that any claim is made from.
pub const MIN_SEEDS: usize = 5;

/// Error probability of every interval and of every family of differences.
pub const ALPHA: f64 = 0.05;

/// Spread below which the runs of a condition count as identical.
const IDENTICAL_SPREAD: f64 = 1e-9;

/// All that the experiment says, as `summary.json` holds it.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The conclusion in plain words: one sentence an arm, then one a way.
    pub conclusion: String,
    pub plan: PlanHash,
    pub trials_total: usize,
    pub trials_finished: usize,
    /// Seeds whose trials are all finished: what the intervals rest on.
    pub seeds_used: Vec<u64>,
    pub confidence: f64,
    pub smallest_effect: f64,
    /// Standard deviation of a difference between two trials of one seed.
    pub difference_deviation: Option<f64>,
    pub seconds_per_trial: Option<f64>,
    pub arms: Vec<ArmSummary>,
    /// Other ways to use the same images, compared with mixing them.
    pub ways: Vec<WaySummary>,
}

/// One arm's curve and conclusions.
#[derive(Debug, Clone, Serialize)]
pub struct ArmSummary {
    pub kind: ArmKind,
    pub sentence: String,
    /// Why nothing is claimed, where nothing is.
    pub refusal: Option<Refusal>,
    pub levels: Vec<LevelSummary>,
    pub peak: Option<Peak>,
    pub harm_onset: Option<HarmOnset>,
    /// True difference to real-only that would be found with 80 % power.
    pub minimal_detectable_difference: Option<f64>,
    /// Seeds for finding the smallest effect of interest with 80 % power.
    pub seeds_needed: Option<u64>,
}

/// Why an arm claims nothing.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Fewer than [`MIN_SEEDS`] seeds are complete.
    TooFewSeeds { complete: usize },
    /// Seeds that repeat each other are no evidence of how runs vary.
    IdenticalRuns { distinct: usize },
    /// Real-only, or everything but real-only, gave one value in every run.
    NoVariation,
    /// Real-only scores no more than the smallest effect of interest, so that no ratio
    /// could lose as much as would count as harm.
    NothingToLose { ap: f64, smallest_effect: f64 },
}

impl Refusal {
    /// The reason as half a sentence.
    pub fn reason(&self) -> String {
        match self {
            Refusal::TooFewSeeds { complete } => format!(
                "only {complete} seed(s) are complete and a claim needs at least {MIN_SEEDS}"
            ),
            Refusal::IdenticalRuns { distinct } => format!(
                "seeds gave identical results (only {distinct} differ), so how much runs vary is unknown"
            ),
            Refusal::NothingToLose {
                ap,
                smallest_effect,
            } => format!(
                "real-only reaches only {ap:.3} AP, and nothing can lose {smallest_effect} AP from there; \
                 train for more steps or at a larger input"
            ),
            Refusal::NoVariation => {
                "runs with different seeds gave the same AP, so how much they vary is unknown"
                    .to_owned()
            }
        }
    }
}

/// A value with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

/// One ratio of an arm.
#[derive(Debug, Clone, Serialize)]
pub struct LevelSummary {
    pub ratio: f64,
    pub label: String,
    pub condition: Condition,
    /// One a finished trial: seed, AP, AP50.
    pub points: Vec<(u64, f64, f64)>,
    /// Mean over the complete seeds, with its 95 % interval for new seeds.
    pub ap: Option<Estimate>,
    pub ap50: Option<Estimate>,
    /// AP minus that of real-only, paired by seed, simultaneous within the arm.
    pub difference: Option<Estimate>,
    pub standing: Standing,
}

/// What a level's difference to real-only says, or that of a way to mixing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Real-only itself.
    Reference,
    /// The whole interval lies above zero.
    Better,
    /// The interval excludes a loss of the smallest effect of interest.
    NoHarm,
    /// The whole interval lies below zero, and the loss may matter.
    Harm,
    /// The interval holds both no loss and one that matters.
    TooNoisy,
    /// Nothing may be claimed.
    NoClaim,
}

impl Standing {
    pub fn label(self) -> &'static str {
        match self {
            Standing::Reference => "real-only",
            Standing::Better => "better",
            Standing::NoHarm => "no harm",
            Standing::Harm => "harm",
            Standing::TooNoisy => "too noisy",
            Standing::NoClaim => "no claim",
        }
    }

    /// As [`Standing::label`], of a way compared with mixing.
    pub fn label_of_way(self) -> &'static str {
        match self {
            Standing::NoHarm => "no worse",
            Standing::Harm => "worse",
            other => other.label(),
        }
    }

    fn is_safe(self) -> bool {
        matches!(
            self,
            Standing::Reference | Standing::Better | Standing::NoHarm
        )
    }
}

/// The best ratio and those that cannot be told from it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Peak {
    pub ratio: f64,
    /// Rising; holds `ratio` itself.
    pub indistinguishable: Vec<f64>,
}

/// From where on more synthetic data hurts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HarmOnset {
    /// Every ratio from `ratio` on is significantly below real-only. The onset lies
    /// above `clear_up_to`, the last ratio of an unbroken run without harm.
    From {
        ratio: f64,
        clear_up_to: f64,
        difference: Estimate,
    },
    /// No ratio up to the largest loses as much as the smallest effect of interest.
    NotSeen { up_to: f64 },
    /// Ratios above `clear_up_to` can neither be called harmful nor harmless.
    TooNoisy { clear_up_to: f64 },
}

/// Draws the conclusions from the results of a plan, finished or not.
pub fn analyse(plan: &ExperimentPlan, results: &[TrialResult]) -> Summary {
    let grid = Grid::new(plan, results);
    let arms: Vec<ArmSummary> = plan.arms.iter().map(|arm| grid.arm(arm)).collect();
    let ways = grid.ways(plan);
    let sentences: Vec<&str> = arms
        .iter()
        .map(|arm| arm.sentence.as_str())
        .chain(ways.iter().map(|way| way.sentence.as_str()))
        .collect();
    let seconds: f64 = results.iter().map(|result| result.seconds).sum();
    Summary {
        conclusion: sentences.join(" "),
        plan: PlanHash::of(plan),
        trials_total: plan.trials().len(),
        trials_finished: results.len(),
        seeds_used: grid.seeds.clone(),
        confidence: 1.0 - ALPHA,
        smallest_effect: plan.smallest_effect,
        difference_deviation: grid.ap.as_ref().map(difference_deviation),
        seconds_per_trial: (!results.is_empty()).then(|| seconds / results.len() as f64),
        arms,
        ways,
    }
}

fn difference_deviation(layout: &Layout) -> f64 {
    (2.0 * layout.mean_square_error).sqrt()
}

/// The results as a table, and the layouts fitted to its complete seeds.
struct Grid<'a> {
    results: &'a [TrialResult],
    smallest_effect: f64,
    seeds: Vec<u64>,
    /// Rows of the layouts: conditions whose runs vary.
    conditions: Vec<Condition>,
    ap: Option<Layout>,
    ap50: Option<Layout>,
    distinct_seeds: usize,
}

impl<'a> Grid<'a> {
    fn new(plan: &ExperimentPlan, results: &'a [TrialResult]) -> Self {
        let all = plan.conditions();
        let seeds: Vec<u64> = plan
            .seeds
            .iter()
            .copied()
            .filter(|&seed| {
                all.iter()
                    .all(|&condition| find(results, condition, seed).is_some())
            })
            .collect();
        let row = |condition: Condition, value: fn(&TrialResult) -> f64| -> Vec<f64> {
            seeds
                .iter()
                .filter_map(|&seed| find(results, condition, seed).map(value))
                .collect()
        };
        let ap_of: fn(&TrialResult) -> f64 = |result| result.measurement.ap();
        let ap50_of: fn(&TrialResult) -> f64 = |result| result.measurement.ap50();
        let mut columns: Vec<Vec<u64>> = (0..seeds.len())
            .map(|seed| all.iter().map(|&c| row(c, ap_of)[seed].to_bits()).collect())
            .collect();
        columns.sort();
        columns.dedup();
        let conditions: Vec<Condition> = all
            .into_iter()
            .filter(|&condition| spread(&row(condition, ap_of)) > IDENTICAL_SPREAD)
            .collect();
        let layout = |value: fn(&TrialResult) -> f64| {
            let rows: Vec<Vec<f64>> = conditions.iter().map(|&c| row(c, value)).collect();
            Layout::fit(&rows)
        };
        Grid {
            results,
            smallest_effect: plan.smallest_effect,
            ap: layout(ap_of),
            ap50: layout(ap50_of),
            seeds,
            conditions,
            distinct_seeds: columns.len(),
        }
    }

    fn row(&self, condition: Condition) -> Option<usize> {
        self.conditions.iter().position(|&other| other == condition)
    }

    /// The layout and the row of real-only, where claims are allowed.
    fn allowed(&self, arm: &Arm) -> Result<(&Layout, usize), Refusal> {
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

    fn arm(&self, arm: &Arm) -> ArmSummary {
        let mut levels: Vec<LevelSummary> = arm
            .levels
            .iter()
            .map(|level| LevelSummary {
                ratio: level.ratio,
                label: arm.kind.label(level.ratio),
                condition: level.condition,
                points: self.points(level.condition),
                ap: self.mean(&self.ap, level.condition),
                ap50: self.mean(&self.ap50, level.condition),
                difference: None,
                standing: Standing::NoClaim,
            })
            .collect();
        let (layout, reference) = match self.allowed(arm) {
            Ok(found) => found,
            Err(refusal) => {
                return ArmSummary {
                    kind: arm.kind,
                    sentence: format!(
                        "{}: no claim, because {}.",
                        subject(arm.kind),
                        refusal.reason()
                    ),
                    refusal: Some(refusal),
                    levels,
                    peak: None,
                    harm_onset: None,
                    minimal_detectable_difference: None,
                    seeds_needed: None,
                };
            }
        };
        let compared = levels
            .iter()
            .skip(1)
            .filter(|level| self.row(level.condition).is_some())
            .count();
        let degrees = layout.error_degrees();
        let critical = dunnett_critical_value(compared, degrees, ALPHA, Sides::Two);
        let reach = critical * layout.difference_error();
        for (index, level) in levels.iter_mut().enumerate() {
            let Some(row) = self.row(level.condition) else {
                continue;
            };
            if index == 0 {
                level.standing = Standing::Reference;
                continue;
            }
            let value = layout.means()[row] - layout.means()[reference];
            let difference = Estimate {
                value,
                low: value - reach,
                high: value + reach,
            };
            level.difference = Some(difference);
            level.standing = standing(difference, self.smallest_effect);
        }
        let many_seeds = dunnett_critical_value(compared, 1e4, ALPHA, Sides::Two);
        let peak = self.peak(layout, &levels, compared);
        let harm_onset = harm_onset(&levels);
        let detectable =
            minimal_detectable_difference(layout.difference_error(), critical, degrees);
        let needed = seeds_needed(
            difference_deviation(layout),
            self.smallest_effect,
            many_seeds,
        );
        let sentence = Sentence {
            kind: arm.kind,
            levels: &levels,
            peak: &peak,
            harm_onset,
            detectable,
            needed,
            seeds: self.seeds.len(),
            smallest_effect: self.smallest_effect,
        }
        .to_string();
        ArmSummary {
            kind: arm.kind,
            sentence,
            refusal: None,
            levels,
            peak: Some(peak),
            harm_onset: Some(harm_onset),
            minimal_detectable_difference: Some(detectable),
            seeds_needed: Some(needed),
        }
    }

    fn points(&self, condition: Condition) -> Vec<(u64, f64, f64)> {
        self.results
            .iter()
            .filter(|result| result.trial.condition == condition)
            .map(|result| {
                let measured = &result.measurement;
                (result.trial.seed, measured.ap(), measured.ap50())
            })
            .collect()
    }

    fn mean(&self, layout: &Option<Layout>, condition: Condition) -> Option<Estimate> {
        let layout = layout.as_ref()?;
        let value = *layout.means().get(self.row(condition)?)?;
        let half = layout.mean_half_width(ALPHA);
        Some(Estimate {
            value,
            low: value - half,
            high: value + half,
        })
    }

    fn peak(&self, layout: &Layout, levels: &[LevelSummary], compared: usize) -> Peak {
        let critical = dunnett_critical_value(compared, layout.error_degrees(), ALPHA, Sides::One);
        let reach = critical * layout.difference_error();
        let means: Vec<(f64, f64)> = levels
            .iter()
            .filter_map(|level| {
                let row = self.row(level.condition)?;
                Some((level.ratio, layout.means()[row]))
            })
            .collect();
        let (ratio, best) = means
            .iter()
            .copied()
            .fold((0.0, f64::NEG_INFINITY), |best, level| {
                if level.1 > best.1 { level } else { best }
            });
        Peak {
            ratio,
            indistinguishable: means
                .iter()
                .filter(|(_, mean)| best - mean <= reach)
                .map(|(ratio, _)| *ratio)
                .collect(),
        }
    }
}

fn find(results: &[TrialResult], condition: Condition, seed: u64) -> Option<&TrialResult> {
    results
        .iter()
        .find(|result| result.trial.condition == condition && result.trial.seed == seed)
}

fn spread(values: &[f64]) -> f64 {
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    high - low
}

fn standing(difference: Estimate, smallest_effect: f64) -> Standing {
    if difference.low > 0.0 {
        Standing::Better
    } else if difference.low > -smallest_effect {
        Standing::NoHarm
    } else if difference.high < 0.0 {
        Standing::Harm
    } else {
        Standing::TooNoisy
    }
}

fn harm_onset(levels: &[LevelSummary]) -> HarmOnset {
    let clear_up_to = levels
        .iter()
        .take_while(|level| level.standing.is_safe())
        .last()
        .map_or(0.0, |level| level.ratio);
    let harmed = levels
        .iter()
        .rev()
        .take_while(|level| level.standing == Standing::Harm)
        .last();
    match harmed.and_then(|level| Some((level.ratio, level.difference?))) {
        Some((ratio, difference)) => HarmOnset::From {
            ratio,
            clear_up_to,
            difference,
        },
        None if levels.iter().all(|level| level.standing.is_safe()) => {
            HarmOnset::NotSeen { up_to: clear_up_to }
        }
        None => HarmOnset::TooNoisy { clear_up_to },
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::plan::tests::plan;
    use super::super::runner::run;
    use super::super::runner::tests::{Mock, ONE};
    use super::*;
    use crate::observer::Silent;

    pub(in crate::experiment) fn results(plan: &ExperimentPlan, noise: f64) -> Vec<TrialResult> {
        let folder = tempfile::tempdir().unwrap();
        run(plan, folder.path(), &Mock::new(noise), ONE, &Silent).unwrap()
    }

    #[test]
    fn a_clear_curve_gives_its_peak_and_harm_onset() {
        let plan = plan();
        let summary = analyse(&plan, &results(&plan, 0.005));
        let arm = &summary.arms[0];
        // The mock's curve is 0.40, 0.444, 0.425, 0.20 at 0, 25, 50, 100 %.
        assert_eq!(arm.peak.as_ref().unwrap().ratio, 0.25);
        assert_eq!(arm.peak.as_ref().unwrap().indistinguishable, [0.25]);
        let Some(HarmOnset::From {
            ratio,
            clear_up_to,
            difference,
        }) = arm.harm_onset
        else {
            panic!("{:?}", arm.harm_onset);
        };
        assert_eq!((ratio, clear_up_to), (1.0, 0.5));
        assert!(
            difference.low < -0.2 && difference.high > -0.21,
            "{difference:?}"
        );
        assert!(
            summary.conclusion.contains("harm from 100 % on"),
            "{}",
            summary.conclusion
        );
        // Adding: 0.40, 0.425, 0.378: harm at twice as many.
        assert!(summary.arms[1].sentence.contains("harm from 2x on"));
    }

    #[test]
    fn noise_gives_no_verdict_but_the_seeds_needed() {
        let plan = plan();
        let mut noisy = plan.clone();
        noisy.arms.truncate(1);
        noisy.arms[0].levels.truncate(3);
        let summary = analyse(&noisy, &results(&noisy, 0.2));
        let arm = &summary.arms[0];
        assert!(matches!(arm.harm_onset, Some(HarmOnset::TooNoisy { .. })));
        assert!(arm.seeds_needed.unwrap() > 50);
        assert!(
            arm.sentence.contains("too noisy to say"),
            "{}",
            arm.sentence
        );
    }

    #[test]
    fn fewer_than_five_complete_seeds_claim_nothing() {
        let plan = plan();
        let mut results = results(&plan, 0.005);
        results.pop();
        let summary = analyse(&plan, &results);
        assert_eq!(summary.seeds_used.len(), 4);
        for arm in &summary.arms {
            assert_eq!(arm.refusal, Some(Refusal::TooFewSeeds { complete: 4 }));
            assert!(arm.peak.is_none() && arm.harm_onset.is_none());
            assert!(arm.levels.iter().all(|l| l.standing == Standing::NoClaim));
        }
        assert!(
            summary.conclusion.contains("no claim"),
            "{}",
            summary.conclusion
        );
    }

    #[test]
    fn identical_runs_claim_nothing() {
        let plan = plan();
        let summary = analyse(&plan, &results(&plan, 0.0));
        assert_eq!(
            summary.arms[0].refusal,
            Some(Refusal::IdenticalRuns { distinct: 1 })
        );
        // One condition without spread claims nothing about itself only.
        let mut results = results(&plan, 0.005);
        for result in &mut results {
            if result.trial.condition.n_real == 0 {
                result.measurement.stats[0] = 0.0;
            }
        }
        let summary = analyse(&plan, &results);
        let levels = &summary.arms[0].levels;
        assert_eq!(levels[3].standing, Standing::NoClaim);
        assert_eq!(levels[1].standing, Standing::Better);
        assert!(matches!(
            summary.arms[0].harm_onset,
            Some(HarmOnset::TooNoisy { clear_up_to: 0.5 })
        ));
    }

    #[test]
    fn a_detector_that_learnt_nothing_claims_nothing() {
        let plan = plan();
        let mut results = results(&plan, 0.01);
        for result in &mut results {
            result.measurement.stats[0] *= plan.smallest_effect;
        }
        let summary = analyse(&plan, &results);
        assert!(!summary.arms.is_empty());
        for arm in &summary.arms {
            assert!(matches!(
                arm.refusal,
                Some(Refusal::NothingToLose { ap, .. }) if ap < plan.smallest_effect
            ));
            assert!(
                arm.sentence.contains("train for more steps"),
                "{}",
                arm.sentence
            );
            assert!(arm.harm_onset.is_none());
        }
    }

    #[test]
    fn no_results_at_all_are_no_panic() {
        let summary = analyse(&plan(), &[]);
        assert_eq!(summary.trials_finished, 0);
        assert_eq!(
            summary.arms[0].refusal,
            Some(Refusal::TooFewSeeds { complete: 0 })
        );
    }
}
