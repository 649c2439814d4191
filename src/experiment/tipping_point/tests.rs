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

/// A curve that falls from the start peaks at real-only.
#[test]
fn real_only_may_be_the_best() {
    let plan = plan();
    let mut results = results(&plan, 0.005);
    for result in &mut results {
        let condition = result.trial.condition;
        let share =
            condition.n_synthetic as f64 / (condition.n_real + condition.n_synthetic) as f64;
        result.measurement.stats[0] -= 0.35 * share;
    }
    let summary = analyse(&plan, &results);
    let arm = &summary.arms[0];
    assert_eq!(arm.peak.as_ref().unwrap().ratio, 0.0);
    assert!(
        arm.sentence.contains("real-only scores highest"),
        "{}",
        arm.sentence
    );
    // Losses of 0.044 at 25 % and 0.15 at 50 %: the 0.01 that matter are reached before 25 %.
    let place = arm.tipping_point.unwrap();
    let (value, high) = (place.value.unwrap(), place.high.unwrap());
    assert!(
        place.low < value && value < high && high < 0.25,
        "{place:?}"
    );
    assert_eq!((arm.safe_up_to, arm.break_even), (Some(0.0), None));
}

/// Where images vary much from one test split to another, the intervals are as wide, and no
/// number of seeds mends it.
#[test]
fn noise_of_test_images_widens_every_interval() {
    use crate::evaluation::Redrawn;
    let plan = plan();
    let mut results = results(&plan, 0.005);
    let before = analyse(&plan, &results);
    for result in &mut results {
        let ap = result.measurement.ap();
        let synthetic = result.trial.condition.n_synthetic as f64;
        let of_split = |split: i32| ap + 0.05 * f64::from(split % 5 - 2) * (synthetic / 100.0);
        result.measurement.redrawn = Some(Redrawn {
            groups: 20,
            ap: (0..100).map(of_split).collect(),
        });
    }
    let after = analyse(&plan, &results);
    assert_eq!((before.test_groups, after.test_groups), (None, Some(20)));
    let width = |summary: &Summary, level: usize| {
        let difference = summary.arms[0].levels[level].difference.unwrap();
        difference.high - difference.low
    };
    assert!(width(&after, 3) > 3.0 * width(&before, 3));
    assert!(before.arms[0].seeds_needed.is_some() && after.arms[0].seeds_needed.is_none());
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
