//! What an experiment will be able to tell, before it is run.

use std::fmt::Write;

use super::plan::ExperimentPlan;
use super::statistics::{
    Sides, dunnett_critical_value, minimal_detectable_difference, seeds_needed,
};
use super::tipping_point::{ALPHA, MIN_SEEDS, analyse};
use super::trial::TrialResult;

/// Deviations of a paired difference, in AP, that stand for what is not measured yet: about
/// the least and the most that detectors on a few hundred photographs showed.
const ASSUMED: [f64; 3] = [0.01, 0.02, 0.04];

/// In words, which differences to real-only the plan's seeds can show, and how many seeds its
/// smallest effect needs. The deviation of a difference between two trials of a seed is that
/// of `results` where they have two complete seeds, and assumed otherwise. Noise of the test
/// images is not in it: that is known only from results.
pub fn power(plan: &ExperimentPlan, results: &[TrialResult]) -> String {
    let measured = analyse(plan, results).difference_deviation;
    let deviations = match measured {
        Some(deviation) => vec![deviation],
        None => ASSUMED.to_vec(),
    };
    let compared = plan
        .arms
        .iter()
        .map(|arm| arm.levels.len() - 1)
        .max()
        .unwrap_or(1);
    let seeds = plan.seeds.len();
    let degrees = ((plan.conditions().len().max(2) - 1) * (seeds.max(2) - 1)) as f64;
    let critical = dunnett_critical_value(compared, degrees, ALPHA, Sides::Two);
    let many = dunnett_critical_value(compared, 1e4, ALPHA, Sides::Two);
    let mut text = String::new();
    for deviation in deviations {
        let error = deviation / (seeds as f64).sqrt();
        let detectable = minimal_detectable_difference(error, critical, degrees);
        let known = if measured.is_some() {
            "as they do so far"
        } else {
            "if they do"
        };
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "paired trials differing by {deviation:.3} AP ({known}): {seeds} seeds show {detectable:.3} AP \
             with 80 % power",
        );
        let needed = seeds_needed(deviation, plan.smallest_effect, many, 0.0);
        if let Some(needed) = needed {
            let _ = write!(
                text,
                "; {} AP needs {}",
                plan.smallest_effect,
                needed.max(MIN_SEEDS as u64)
            );
        }
        text.push('\n');
    }
    if seeds < MIN_SEEDS {
        let _ = writeln!(
            text,
            "no claim is made from {seeds} seeds: {MIN_SEEDS} are the least"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::plan;
    use super::super::tipping_point::tests::results;
    use super::*;

    #[test]
    fn power_is_said_before_and_after_and_for_too_few_seeds() {
        let mut plan = plan();
        let before = power(&plan, &[]);
        assert_eq!(before.lines().count(), ASSUMED.len(), "{before}");
        assert!(
            before.contains("differing by 0.020 AP (if they do): 5 seeds show 0.0"),
            "{before}"
        );
        let after = power(&plan, &results(&plan, 0.01));
        assert_eq!(after.lines().count(), 1);
        assert!(
            after.contains("as they do so far") && after.contains("0.01 AP needs"),
            "{after}"
        );
        plan.seeds.truncate(3);
        assert!(power(&plan, &[]).contains("no claim is made from 3 seeds"));
    }
}
