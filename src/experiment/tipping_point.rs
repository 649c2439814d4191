//! From results to conclusions: where the curve peaks, and from where on it hurts.
//!
//! The conditions of an arm share one two-way layout, so that one residual variance serves
//! all of its comparisons; so do those of two arms that are compared. Within an arm, all differences to real-only hold
//! together at 95 % (Dunnett). The peak is the set of ratios that cannot be told from
//! the best (Hsu's multiple comparisons with the best, 1984).

mod factors;
mod grid;
mod halving;
mod rates;
mod sources;
#[cfg(test)]
pub(super) mod tests;
mod ways;
mod why;

use serde::Serialize;

use super::crossing::{Curve, Place};
use super::exchange_rate::ExchangeRate;
use super::halving::Rounds;
use super::plan::{Arm, ArmKind, ExperimentPlan};
use super::sentence::{Sentence, subject};
use super::statistics::{
    Contrast, Layout, Sides, dunnett_critical_value, minimal_detectable_difference, seeds_needed,
};
use super::trial::{Condition, TrialResult};
use crate::seed::PlanHash;

pub use factors::{FactorEffect, FactorSummary};
use grid::{Grid, find};
pub use halving::{HalvingSummary, RankedCell, RoundSummary, Survivor};
pub use rates::{RateSummary, RatedArm, RatedCondition, TriedRate};
pub use sources::{SourceComparison, SourceSummary};
pub use ways::{WayComparison, WaySummary};
pub use why::Why;

/// Fewest seeds that any claim is made from.
pub const MIN_SEEDS: usize = 5;

/// Error probability of every interval and of every family of differences.
pub const ALPHA: f64 = 0.05;

/// Degrees of freedom of an experiment with more seeds than anyone runs.
const MANY_DEGREES: f64 = 1e4;

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
    /// Standard deviation of a difference between two trials of one seed, in the arm where it
    /// is largest.
    pub difference_deviation: Option<f64>,
    /// Groups of test images that the intervals speak of; `None` where they speak of new
    /// seeds alone.
    pub test_groups: Option<usize>,
    /// Not in the file, which is the same whenever and wherever the trials were run.
    #[serde(skip)]
    pub seconds_per_trial: Option<f64>,
    pub arms: Vec<ArmSummary>,
    /// Other ways to use the same images, compared with mixing them.
    pub ways: Vec<WaySummary>,
    /// Further sources of synthetic images, compared with the first.
    pub sources: Vec<SourceSummary>,
    /// What the factors change, one an arm that they are crossed with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub factors: Vec<FactorSummary>,
    /// How cells of the factors fell out, where the plan halves them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub halving: Option<HalvingSummary>,
    /// What the arms' ends score at other learning rates, where the plan tries some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_check: Option<RateSummary>,
    /// What synthetic images are worth in real ones, where the plan has a learning curve.
    pub exchange_rate: Option<ExchangeRate>,
}

fn is_first(index: &usize) -> bool {
    *index == 0
}

/// One arm's curve and conclusions.
#[derive(Debug, Clone, Serialize)]
pub struct ArmSummary {
    pub kind: ArmKind,
    /// Where the synthetic images come from, where there are several sources; the levels of
    /// its cell, where factors are crossed.
    pub source: Option<String>,
    /// Its cell of the factors.
    #[serde(skip_serializing_if = "is_first")]
    pub cell: usize,
    pub sentence: String,
    /// Why nothing is claimed, where nothing is.
    pub refusal: Option<Refusal>,
    pub levels: Vec<LevelSummary>,
    pub peak: Option<Peak>,
    pub harm_onset: Option<HarmOnset>,
    /// Where the loss reaches the smallest effect of interest, after the peak.
    pub tipping_point: Option<Place>,
    /// Where a gain is used up and the curve is back at real-only; `None` without a gain.
    pub break_even: Option<Place>,
    /// The largest ratio up to which a loss of the smallest effect of interest is excluded at
    /// every ratio tried; 0 where it is not even at the smallest.
    pub safe_up_to: Option<f64>,
    /// Standard deviation of a difference between two trials of one seed.
    pub difference_deviation: Option<f64>,
    /// The unimodal curve through the means, at each ratio whose runs vary.
    pub fitted: Vec<(f64, f64)>,
    /// True difference to real-only that would be found with 80 % power.
    pub minimal_detectable_difference: Option<f64>,
    /// Seeds for finding the smallest effect of interest with 80 % power; `None` where no
    /// number of seeds finds it on these test images.
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

impl Estimate {
    /// The value and its sides changed alike, by a rising function.
    pub fn map(self, change: impl Fn(f64) -> f64) -> Self {
        Estimate {
            value: change(self.value),
            low: change(self.low),
            high: change(self.high),
        }
    }

    fn of(contrast: &Contrast, critical: f64) -> Self {
        let [low, high] = contrast.interval(critical);
        Estimate {
            value: contrast.value,
            low,
            high,
        }
    }
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
    pub why: Why,
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
    let rounds = Rounds::of(plan, results);
    let asked = rounds.trials(plan).len();
    let hash = PlanHash::of(plan);
    // Of cells that were dropped there are too few seeds for a claim.
    let plan = &plan.of_cells(&rounds.alive);
    let grid = Grid::new(plan, results);
    let arms: Vec<ArmSummary> = plan
        .arms
        .iter()
        .map(|arm| {
            grid.of(&arm.conditions())
                .arm(arm, plan.setting_name(arm), !plan.crossing.is_empty())
        })
        .collect();
    let ways = grid.ways(plan);
    let sources = grid.sources(plan);
    let factors = match plan.halving {
        Some(_) => Vec::new(),
        None => grid.factors(plan),
    };
    let halving = grid.halving(plan, &rounds);
    let rate_check = grid.rate_check(plan);
    let exchange_rate = grid.exchange_rate(plan);
    let seconds: f64 = results.iter().map(|result| result.seconds).sum();
    let mut summary = Summary {
        conclusion: String::new(),
        plan: hash,
        trials_total: asked,
        trials_finished: results.len(),
        seeds_used: grid.seeds.clone(),
        confidence: 1.0 - ALPHA,
        smallest_effect: plan.smallest_effect,
        difference_deviation: arms
            .iter()
            .filter_map(|arm| arm.difference_deviation)
            .reduce(f64::max),
        test_groups: grid.test_groups,
        seconds_per_trial: (!results.is_empty()).then(|| seconds / results.len() as f64),
        arms,
        ways,
        sources,
        factors,
        halving,
        rate_check,
        exchange_rate,
    };
    summary.conclusion = summary.sentences().join(" ");
    summary
}

impl Summary {
    /// The conclusion sentence by sentence. Where factors are crossed, their effects sum up what
    /// the arms of further cells say.
    pub fn sentences(&self) -> Vec<&str> {
        let arms = self.arms.iter().filter(|arm| arm.cell == 0);
        arms.map(|arm| arm.sentence.as_str())
            .chain(self.factors.iter().map(|f| f.sentence.as_str()))
            .chain(self.halving.iter().map(|h| h.sentence.as_str()))
            .chain(self.ways.iter().map(|way| way.sentence.as_str()))
            .chain(self.sources.iter().map(|source| source.sentence.as_str()))
            .chain(self.rate_check.iter().map(|check| check.sentence.as_str()))
            .chain(self.exchange_rate.iter().map(|rate| rate.sentence.as_str()))
            .collect()
    }
}

fn difference_deviation(layout: &Layout) -> f64 {
    (2.0 * layout.mean_square_error).sqrt()
}

impl Grid<'_> {
    /// The conclusions of one arm. `setting` names its source, or its cell where it is crossed.
    fn arm(&self, arm: &Arm, setting: Option<String>, is_crossed: bool) -> ArmSummary {
        let subject = subject(arm.kind, setting.as_deref(), is_crossed);
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
                why: Why::of(self.results, level.condition, &self.seeds),
            })
            .collect();
        let (layout, reference) = match self.allowed(arm) {
            Ok(found) => found,
            Err(refusal) => {
                let deviation = self.ap.as_ref().map(difference_deviation);
                return refused(arm, &subject, setting, levels, refusal, deviation);
            }
        };
        let varying: Vec<(f64, usize)> = levels
            .iter()
            .filter_map(|level| Some((level.ratio, self.row(level.condition)?)))
            .collect();
        let compared = varying.len() - 1;
        let critical = |degrees: f64| dunnett_critical_value(compared, degrees, ALPHA, Sides::Two);
        let mut detectable = 0.0_f64;
        let mut image_variance = 0.0_f64;
        for (index, level) in levels.iter_mut().enumerate() {
            let Some(row) = self.row(level.condition) else {
                continue;
            };
            if index == 0 {
                level.standing = Standing::Reference;
                continue;
            }
            let contrast = layout.difference(row, reference);
            let critical = critical(contrast.degrees);
            let difference = Estimate::of(&contrast, critical);
            level.difference = Some(difference);
            level.standing = standing(difference, self.smallest_effect);
            detectable = detectable.max(minimal_detectable_difference(
                contrast.error,
                critical,
                contrast.degrees,
            ));
            image_variance = image_variance.max(contrast.image_variance);
        }
        let peak = self.peak(layout, &levels, compared);
        let harm_onset = harm_onset(&levels);
        let needed = seeds_needed(
            difference_deviation(layout),
            self.smallest_effect,
            critical(MANY_DEGREES),
            image_variance,
        );
        let (ratios, rows) = varying.into_iter().unzip();
        let curve = Curve {
            layout,
            ratios,
            rows,
        };
        let gained = curve.ratios.iter().rposition(|ratio| {
            let level = levels.iter().find(|level| level.ratio == *ratio);
            level.is_some_and(|level| level.standing == Standing::Better)
        });
        let last = curve.ratios.len() - 1;
        let break_even =
            gained.map(|first| curve.falls_to(0.0, first.min(last.saturating_sub(1)), ALPHA));
        let tipping_point = (last > 0).then(|| curve.falls_to(-self.smallest_effect, 0, ALPHA));
        let safe_up_to = curve.safe_up_to(self.smallest_effect, ALPHA / 2.0);
        let sentence = Sentence {
            kind: arm.kind,
            subject: &subject,
            levels: &levels,
            peak: &peak,
            harm_onset,
            tipping_point,
            break_even,
            safe_up_to,
            detectable,
            needed,
            seeds: self.seeds.len(),
            smallest_effect: self.smallest_effect,
        }
        .to_string();
        ArmSummary {
            kind: arm.kind,
            source: setting,
            cell: arm.cell,
            sentence,
            refusal: None,
            levels,
            peak: Some(peak),
            harm_onset: Some(harm_onset),
            tipping_point,
            break_even,
            safe_up_to: Some(safe_up_to),
            difference_deviation: Some(difference_deviation(layout)),
            fitted: curve.fitted_means(),
            minimal_detectable_difference: Some(detectable),
            seeds_needed: needed,
        }
    }

    fn peak(&self, layout: &Layout, levels: &[LevelSummary], compared: usize) -> Peak {
        let rows: Vec<(f64, usize)> = levels
            .iter()
            .filter_map(|level| Some((level.ratio, self.row(level.condition)?)))
            .collect();
        let mean = |level: &(f64, usize)| layout.means()[level.1];
        // Of equal means the smallest ratio.
        let highest = rows.iter().rev().max_by(|a, b| mean(a).total_cmp(&mean(b)));
        let best = highest.copied().unwrap_or_default();
        let cannot_be_told = |row: usize| {
            let behind = layout.difference(best.1, row);
            let critical = dunnett_critical_value(compared, behind.degrees, ALPHA, Sides::One);
            behind.value <= critical * behind.error
        };
        Peak {
            ratio: best.0,
            indistinguishable: rows
                .iter()
                .filter(|(_, row)| *row == best.1 || cannot_be_told(*row))
                .map(|(ratio, _)| *ratio)
                .collect(),
        }
    }
}

/// An arm that claims nothing.
fn refused(
    arm: &Arm,
    subject: &str,
    source: Option<String>,
    levels: Vec<LevelSummary>,
    refusal: Refusal,
    difference_deviation: Option<f64>,
) -> ArmSummary {
    ArmSummary {
        kind: arm.kind,
        sentence: format!("{subject}: no claim, because {}.", refusal.reason()),
        source,
        cell: arm.cell,
        refusal: Some(refusal),
        levels,
        peak: None,
        harm_onset: None,
        tipping_point: None,
        break_even: None,
        safe_up_to: None,
        difference_deviation,
        fitted: Vec::new(),
        minimal_detectable_difference: None,
        seeds_needed: None,
    }
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
