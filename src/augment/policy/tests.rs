use super::*;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn draw(plan: &AugmentPlan, seed: u64, name: &str) -> Vec<Drawn> {
    plan.draw(seed, name, &Library::default())
}

fn plan(text: &str) -> Result<AugmentPlan, SpecError> {
    let path = Path::new("preset.yaml");
    spec::parse::<AugmentSpec>(text, path, &[])?.into_plan(path)
}

const EVERYTHING: &str = "steps:
  - {transform: {jpeg: {quality: {uniform: [20, 90]}}}}
  - {transform: {gamma: {power: 1.1}}}
  - {transform: {downscale: {factor: 0.5}}}
  - {transform: {resize: {factor: 0.5}}}
  - {transform: {noise: {shot: 0.001, read: 0.01}}}
  - {transform: {motion_blur: {length_px: 5, angle_deg: {uniform: [0, 180]}}}}
  - {transform: {defocus: {radius_px: 2}}}
  - {transform: {colour_temperature: {kelvin: {uniform: [3000, 9000]}}}}
  - {transform: {white_balance: {red: 1.1, blue: 0.9}}}
  - {transform: {exposure: {ev: {uniform: [-2, 2]}}}}
  - {transform: {crop: {size: {uniform: [0.5, 1]}}}}
  - {transform: {affine: {rotate_deg: {uniform: [-10, 10]}}}}
  - {transform: {flip_vertical: {}}}
  - {probability: 0.5, transform: {flip_horizontal: {keypoint_pairs: [[1, 2]]}}}
";

#[test]
fn steps_follow_the_light_and_are_keyed_by_name_alone() {
    let all = plan(EVERYTHING).unwrap();
    let stages: Vec<Stage> = all.steps().iter().map(|s| s.action.stage()).collect();
    assert!(stages.is_sorted());
    let one = plan("steps: [{transform: {exposure: {ev: {uniform: [-2, 2]}}}}]").unwrap();
    let mut flips = 0;
    for index in 0..40 {
        let name = format!("{index}.png");
        let drawn = draw(&all, 7, &name);
        assert_eq!(drawn, draw(&all, 7, &name));
        let exposure = draw(&one, 7, &name).remove(0);
        assert!(drawn.contains(&exposure), "other steps change nothing");
        flips += drawn.len() - 13;
    }
    assert!(
        (10..30).contains(&flips),
        "{flips} of 40 at probability 0.5"
    );
    assert_ne!(draw(&all, 7, "a.png"), draw(&all, 8, "a.png"));
    assert_ne!(draw(&all, 7, "a.png"), draw(&all, 7, "b.png"));
}

#[test]
fn two_steps_of_a_kind_draw_apart_and_transforms_replay_from_json() {
    let step = "{transform: {exposure: {ev: {uniform: [-2, 2]}}}}";
    let twice = plan(&format!("steps: [{step}, {step}]")).unwrap();
    let drawn = draw(&twice, 0, "a");
    assert_ne!(drawn[0], drawn[1]);
    let drawn = draw(&plan(EVERYTHING).unwrap(), 0, "a");
    let json = serde_json::to_string(&drawn).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Drawn>>(&json).unwrap(), drawn);
}

#[test]
fn all_problems_are_told_with_their_keys() {
    let error = plan(
        "steps:
  - {probability: 1.5, transform: {exposure: {ev: {normal: {mean: 0, sd: 1}}}}}
  - {transform: {crop: {size: 1.5, min_visible: 2}}}
  - {transform: {colour_temperature: {kelvin: 100}}}",
    )
    .unwrap_err()
    .to_string();
    for part in [
        "5 problem(s)",
        "steps.0.probability",
        "steps.0.transform.exposure.ev: draws from -inf..=inf",
        "steps.1.transform.crop.size: 1.5 is not in 0.05..=1",
        "steps.1.transform.crop.min_visible: 2 is not in 0..=1",
        "steps.2.transform.colour_temperature.kelvin",
    ] {
        assert!(error.contains(part), "{part} is missing in {error}");
    }
    assert!(
        plan("steps: []")
            .unwrap_err()
            .to_string()
            .contains("no step")
    );
}

/// Half of the images get the first of three, as its weight says; nothing gets two.
#[test]
fn one_of_several_steps_is_chosen_by_weight() {
    let plan = plan(
        "steps:
  - one_of:
      - {weight: 2, transform: {exposure: {ev: 1}}}
      - {transform: {gamma: {power: 2}}}
      - {transform: {defocus: {radius_px: {uniform: [1, 3]}}}}
  - {transform: {white_balance: {red: 1, blue: 1}}}",
    )
    .unwrap();
    let mut counts = [0_i32; 3];
    for index in 0..400 {
        let drawn = draw(&plan, 1, &format!("{index}"));
        assert_eq!(drawn.len(), 2);
        // White balance belongs to the light, gamma and blur come later.
        let place = drawn
            .iter()
            .position(|step| matches!(step.transform, Transform::WhiteBalance { .. }));
        let (kind, expected) = match drawn[1 - place.unwrap()].transform {
            Transform::Exposure { .. } => (0, 1),
            Transform::Gamma { .. } => (1, 0),
            _ => (2, 0),
        };
        counts[kind] += 1;
        assert_eq!(place, Some(expected));
    }
    // Four standard deviations of a binomial count.
    assert!((counts[0] - 200).abs() < 40, "{counts:?}");
    assert!((counts[1] - 100).abs() < 35, "{counts:?}");
}

#[test]
fn groups_keep_their_order_or_shuffle_it_as_one_block() {
    let steps = "- {transform: {jpeg: {quality: 30}}}
      - {transform: {gamma: {power: 1.1}}}
      - {transform: {exposure: {ev: 1}}}";
    let group = |kind: &str| {
        plan(&format!(
            "steps:\n  - {kind}:\n      {steps}\n  - {{transform: {{resize: {{factor: 0.5}}}}}}"
        ))
        .unwrap()
    };
    let kinds = |drawn: Vec<Drawn>| -> Vec<Stage> {
        drawn.iter().map(|step| step.transform.stage()).collect()
    };
    let written = kinds(draw(&group("in_order"), 0, "a"));
    use Stage::{Compression, Light, Processing};
    assert_eq!(written, [Processing, Compression, Processing, Light]);
    let shuffled = group("shuffled");
    let mut orders: Vec<Vec<Stage>> = (0..60)
        .map(|index| kinds(draw(&shuffled, 0, &format!("{index}"))))
        .collect();
    assert!(orders.iter().all(|order| order[0] == Processing));
    orders.sort();
    orders.dedup();
    assert_eq!(orders.len(), 6, "all orders of three steps");
}

#[test]
fn a_step_that_is_none_or_two_things_and_ladders_of_two_lengths_are_refused() {
    let error = plan(
        "steps:
  - {probability: 0.5}
  - {transform: {gamma: {power: 1}}, one_of: []}
  - {weight: 0, transform: {match_colour: {}}}
ladder: {a: [1, 2], b: [1]}",
    )
    .unwrap_err()
    .to_string();
    for part in [
        "steps.0: give just one of",
        "steps.1: give just one of",
        "steps.2.weight: 0 is not above 0",
        "steps.2.transform.match_colour.reference: name a data set",
        "ladder.b: there are 1 doses, and 2 of a",
    ] {
        assert!(error.contains(part), "{part} is missing in {error}");
    }
}

#[test]
fn the_presets_are_sound() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("presets");
    let mut found = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        if !text.contains("\nsteps:\n") {
            continue;
        }
        let whole = AugmentSpec::load(&path, &[], None).unwrap();
        for severity in 1..=whole.severities() {
            let dose = AugmentSpec::load(&path, &[], Some(severity)).unwrap();
            dose.into_plan(&path).unwrap();
        }
        whole.into_plan(&path).unwrap();
        found += 1;
    }
    assert!(found >= 2, "{found} presets");
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    /// A file with a piece cut out or put in is refused or drawn from, and never ends the
    /// program.
    #[test]
    fn no_mangled_preset_ends_the_program(
        from in 0..EVERYTHING.len(),
        length in 0..40_usize,
        piece in "[-0-9a-z{}\\[\\]:, .\n#&*!|>'\"%@]{0,12}",
    ) {
        let to = (from + length).min(EVERYTHING.len());
        let text = format!("{}{piece}{}", &EVERYTHING[..from], &EVERYTHING[to..]);
        if let Ok(plan) = plan(&text) {
            for index in 0..3 {
                draw(&plan, 1, &format!("{index}"));
            }
        }
    }
}
