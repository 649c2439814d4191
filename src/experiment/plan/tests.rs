use super::*;

const YAML: &str = "
real: data/real
synthetic: {dataset: data/synthetic}
arms:
  substitution: {total: 100, shares: [0.5, 0.25, 1]}
  addition: {real: 100, multiples: [0, 1, 2]}
train: {settings: {steps: 10, warmup_steps: 2}}
";

/// Two further arms at the counts of `addition`.
const WAYS: &str = "
  pretraining: {real: 100, multiples: [1, 2]}
  auxiliary: {real: 100, multiples: [1, 2]}
train:";

pub(in crate::experiment) fn plan() -> ExperimentPlan {
    parse(YAML).unwrap()
}

/// [`plan`] with all arms, and an effect that 0.004 of noise can tell.
pub(in crate::experiment) fn plan_with_ways() -> ExperimentPlan {
    parse(&(YAML.replace("\ntrain:", WAYS) + "smallest_effect: 0.02\n")).unwrap()
}

/// Plain mixing and pretraining, whose ends are tried at other rates with two of five seeds.
pub(in crate::experiment) fn plan_with_rates() -> ExperimentPlan {
    let arms = YAML
        .replace("\ntrain:", WAYS)
        .replace("  auxiliary: {real: 100, multiples: [1, 2]}\n", "");
    parse(&(arms + "rate_check: {rates: [3, 0.3]}\nsmallest_effect: 0.02\n")).unwrap()
}

/// Ten real images with up to 20 synthetic ones, in two scenes and with two kinds of labels.
const FACTORS: &str = "
real: data/real
synthetic: {scene: {file: scenes/dice.yaml, set: [exposure_ev=0]}}
arms:
  addition: {real: 10, multiples: [1, 2]}
factors:
  - name: fidelity
    levels: [{name: raster}, {name: traced, scene: [image.renderer=path_traced]}]
  - name: labels
    levels: [{name: clean}, {name: faulty, real: {preset: PRESET, severity: 3}}]
train: {settings: {steps: 10, warmup_steps: 2}}
smallest_effect: 0.02
";

/// The path of the project's preset stands in its place.
fn with_preset(yaml: &str) -> String {
    let preset = concat!(env!("CARGO_MANIFEST_DIR"), "/presets/label_faults.yaml");
    yaml.replace("PRESET", preset)
}

/// An addition arm crossed with two factors of two levels, of whose combinations so many are
/// tried.
pub(in crate::experiment) fn plan_with_factors(cells: Option<usize>) -> ExperimentPlan {
    let cells = cells.map_or(String::new(), |cells| format!("cells: {cells}\n"));
    parse(&with_preset(&(FACTORS.to_owned() + &cells))).unwrap()
}

fn parse(yaml: &str) -> Result<ExperimentPlan, SpecError> {
    let path = Path::new("experiment.yaml");
    crate::spec::parse::<ExperimentSpec>(yaml, path, &[])?.into_plan(path, 7)
}

#[test]
fn real_only_is_added_and_shared_trials_run_once() {
    let plan = plan();
    let ratios: Vec<f64> = plan.arms[0].levels.iter().map(|l| l.ratio).collect();
    assert_eq!(ratios, [0.0, 0.25, 0.5, 1.0]);
    assert_eq!(plan.seeds, [7, 8, 9, 10, 11]);
    assert_eq!(plan.conditions().len(), 6, "real-only stands in both arms");
    let trials = plan.trials();
    assert_eq!(trials.len(), 30);
    let ids: BTreeSet<_> = trials.iter().map(|trial| &trial.id).collect();
    assert_eq!(ids.len(), 30);
    assert_eq!(trials[0].id, "r100-s0-seed7");
    assert_eq!((plan.real_needed(), plan.synthetic_needed()), (100, 200));
}

#[test]
fn augmented_copies_need_no_pool_and_follow_their_preset() {
    let preset = Path::new(env!("CARGO_MANIFEST_DIR")).join("presets/geometry.yaml");
    let arm = format!(
        "\n  augmentation: {{real: 100, multiples: [1, 9], preset: {}}}\ntrain:",
        preset.display()
    );
    let with_copies =
        YAML.replace("\ntrain:", &arm) + "other_synthetic: {folder: {dataset: data/other}}\n";
    let plan = parse(&with_copies).unwrap();
    assert_eq!(
        plan.synthetic_needed(),
        200,
        "the 900 copies come from no pool"
    );
    let copying = plan
        .arms
        .iter()
        .filter(|arm| arm.kind == ArmKind::Augmentation);
    assert_eq!(copying.count(), 1, "and so not from each source");
    let trials = plan.trials();
    assert!(
        trials
            .iter()
            .any(|t| t.id == "r100-s900-augmentation-seed7")
    );
    let text = plan.describe(0, None);
    assert!(
        text.contains("900 augmented") && text.contains("geometry.yaml"),
        "{text}"
    );
    let missing = with_copies.replace("geometry.yaml", "none.yaml");
    assert!(
        parse(&missing)
            .unwrap_err()
            .to_string()
            .contains("none.yaml")
    );
}

#[test]
fn adding_seeds_keeps_the_hashes_and_other_settings_change_them() {
    let plan = plan();
    let mut longer = plan.clone();
    longer.seeds.push(99);
    assert_eq!(plan.trials()[..], longer.trials()[..30]);
    let mut other = plan.clone();
    other.train = TrainSpec::default().into_plan(Path::new("x")).unwrap();
    assert_ne!(plan.trials()[0].hash, other.trials()[0].hash);
}

#[test]
fn all_problems_are_told_at_once() {
    let yaml = YAML
        .replace("[0.5, 0.25, 1]", "[0.5, 1.5, 0.501]")
        .replace("real: 100", "real: 0")
        + "seeds: [1, 1]\nsmallest_effect: 0\n";
    let message = parse(&yaml).unwrap_err().to_string();
    for key in [
        "seeds",
        "shares.1",
        "0.5 and 0.501",
        "addition.real",
        "smallest_effect",
    ] {
        assert!(message.contains(key), "{key} is missing in {message}");
    }
}

#[test]
fn the_real_path_can_be_overridden_and_seeds_must_be_numbers() {
    let path = Path::new("e.yaml");
    let set = |text: &str| [text.parse().unwrap()];
    let spec: ExperimentSpec = crate::spec::parse(YAML, path, &set("real=x/y")).unwrap();
    assert_eq!(spec.real, Path::new("x/y"));
    let error = crate::spec::parse::<ExperimentSpec>(YAML, path, &set("seeds=many")).unwrap_err();
    assert!(error.to_string().contains("a number of seeds"), "{error}");
}

#[test]
fn the_grid_is_described_with_counts_and_time() {
    let text = plan().describe(10, Some(3.0));
    assert!(text.contains("25 %") && text.contains("75 real"), "{text}");
    assert!(
        text.contains("same trials as in substitution"),
        "real-only is shared: {text}"
    );
    assert!(
        text.contains("30 trials, 10 finished, 20 to run; about 60 s"),
        "{text}"
    );
}

#[test]
fn other_ways_have_the_levels_of_addition_and_share_its_real_only() {
    let plan = plan_with_ways();
    let kinds: Vec<ArmKind> = plan.arms.iter().map(|arm| arm.kind).collect();
    assert_eq!(
        kinds,
        [
            ArmKind::Substitution,
            ArmKind::Addition,
            ArmKind::Pretraining,
            ArmKind::Auxiliary
        ]
    );
    let counts = |arm: &Arm| -> Vec<Condition> {
        let levels = arm.levels.iter();
        levels.map(|level| level.condition.mixed()).collect()
    };
    for arm in &plan.arms[2..] {
        assert_eq!(counts(arm), counts(&plan.arms[1]));
        assert_eq!(arm.kind.label(arm.levels[2].ratio), "2x");
    }
    let real_only = |index: usize| plan.arms[index].levels[0].condition;
    assert_eq!(
        real_only(2),
        real_only(1),
        "there is nothing to pretrain on"
    );
    assert_ne!(real_only(3), real_only(1));
    assert_eq!(plan.conditions().len(), 6 + 2 + 3);
    let ids: Vec<String> = plan.trials().into_iter().map(|trial| trial.id).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 55);
    for id in [
        "r100-s0-seed7",
        "r100-s100-pretraining-seed7",
        "r100-s0-auxiliary-seed7",
        "r100-s200-auxiliary-seed11",
    ] {
        assert!(ids.iter().any(|other| other == id), "{id} in {ids:?}");
    }
    let text = plan.describe(0, None);
    for part in [
        "pretraining       1x     100 real +    100 synthetic  x 5 seeds\n",
        "(same trials as in addition)",
        "pretraining: 5 of 10 steps on the synthetic images, then 5 on the real ones at 0.1",
        "auxiliary: mixed, with image_class_weight 0.5 and synthetic_weight 0;",
        "55 trials",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[test]
fn trials_that_mix_keep_their_identifiers_and_hashes_beside_other_ways() {
    /// A condition as it was hashed when mixing was all that there was.
    #[derive(Serialize)]
    struct Counts {
        n_real: usize,
        n_synthetic: usize,
    }
    let (mut before, mut after) = (plan(), plan_with_ways());
    // As those were that held no synthetic images out.
    for plan in [&mut before, &mut after] {
        plan.synthetic_test = 0;
    }
    let known = after.trials();
    for trial in before.trials() {
        assert!(known.contains(&trial), "{trial:?}");
    }
    let trial = &before.trials()[0];
    let context = PlanHash::of(&(
        &before.real,
        &before.class_agnostic,
        &before.synthetic,
        &before.train,
    ));
    let counts = Counts {
        n_real: 100,
        n_synthetic: 0,
    };
    assert_eq!(trial.hash, PlanHash::of(&(&context, counts, 7u64)));
    let stored = serde_json::to_string(&before).unwrap();
    assert!(!stored.contains("regime"), "{stored}");
    let read: ExperimentPlan = serde_json::from_str(&stored).unwrap();
    assert_eq!(read.trials(), before.trials());
}

#[test]
fn settings_of_a_way_change_the_hashes_of_its_trials_alone() {
    let plan = plan_with_ways();
    let mut other = plan.clone();
    other.regimes.pretraining.as_mut().unwrap().rate = 0.2;
    for (before, after) in plan.trials().iter().zip(&other.trials()) {
        let is_pretraining = before.condition.regime == Regime::Pretraining;
        assert_eq!(before.hash != after.hash, is_pretraining, "{}", before.id);
    }
    let stored = serde_json::to_string(&plan).unwrap();
    let read: ExperimentPlan = serde_json::from_str(&stored).unwrap();
    assert_eq!(read.trials(), plan.trials());
}

#[test]
fn all_problems_of_the_other_ways_are_told_at_once() {
    let ways = "
  pretraining: {real: 0, multiples: [1, -2], share_of_steps: 1, rate: 0}
  auxiliary: {real: 100, multiples: [0], image_class_weight: 0, synthetic_weight: -1}
train:";
    let message = parse(&YAML.replace("\ntrain:", ways))
        .unwrap_err()
        .to_string();
    for key in [
        "pretraining.real",
        "pretraining.multiples.1",
        "pretraining.share_of_steps",
        "pretraining.rate",
        "auxiliary.multiples",
        "auxiliary.image_class_weight",
        "auxiliary.synthetic_weight",
    ] {
        assert!(message.contains(key), "{key} is missing in {message}");
    }
    let uneven = "\n  pretraining: {real: 9, multiples: [1], share_of_steps: 0.99}\ntrain:";
    let message = parse(&YAML.replace("\ntrain:", uneven))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("0.99 leaves none of 10 steps"),
        "{message}"
    );
}

#[test]
fn the_presets_are_sound() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, conditions) in [
        ("demo", 3),
        ("tipping_dice", 12),
        ("tipping_blood_cells", 9),
        ("tipping_nuclei", 11),
        ("quality_dice", 20),
        ("known_gap", 13),
        ("tipping_faces", 10),
        ("ways_dice", 11),
    ] {
        let path = root.join(format!("presets/{name}.yaml"));
        let spec: ExperimentSpec = crate::spec::load(&path, &[]).unwrap();
        let plan = spec.into_plan(&path, 0).unwrap();
        assert_eq!(plan.conditions().len(), conditions, "{name}");
    }
}

#[test]
fn factors_are_crossed_and_trainings_that_are_alike_are_one() {
    let plan = plan_with_factors(None);
    assert_eq!(plan.crossing.cells.len(), 4);
    assert_eq!(plan.arms.len(), 4);
    // Two ratios in four cells; real-only knows no scene, so that it is two.
    assert_eq!(plan.conditions().len(), 10);
    let trials = plan.trials();
    let ids: BTreeSet<&str> = trials.iter().map(|trial| trial.id.as_str()).collect();
    assert_eq!(ids.len(), 50);
    for id in [
        "r10-s0-seed7",
        "r10-s0-seed7+labels.faulty",
        "r10-s20-seed7+fidelity.traced+labels.faulty",
    ] {
        assert!(ids.contains(id), "{id} is missing in {ids:?}");
    }
    let sources: Vec<&str> = plan.sources().iter().map(|(name, _)| *name).collect();
    assert_eq!(
        sources,
        ["synthetic", "traced"],
        "two pools serve four cells"
    );
    let SyntheticSource::Scene(traced) = plan.sources()[1].1 else {
        panic!()
    };
    assert_eq!(traced.set, ["exposure_ev=0", "image.renderer=path_traced"]);
    let text = plan.describe(0, None);
    assert!(text.contains("20 traced, faulty"), "{text}");
}

#[test]
fn trials_of_the_first_cell_are_those_of_a_plan_without_factors() {
    let with = plan_with_factors(None);
    let at = FACTORS.find("factors:").unwrap();
    let end = FACTORS.find("train:").unwrap();
    let without = parse(&(FACTORS[..at].to_owned() + &FACTORS[end..])).unwrap();
    let first = without.trials();
    let all = with.trials();
    assert!(first.iter().all(|trial| all.contains(trial)));
    let hashes: BTreeSet<String> = all.iter().map(|t| t.hash.as_str().to_owned()).collect();
    assert_eq!(hashes.len(), all.len());
}

#[test]
fn a_training_setting_is_a_factor() {
    let yaml = FACTORS.replace(
        "- name: labels\n    levels: [{name: clean}, {name: faulty, real: {preset: PRESET, severity: 3}}]",
        "- name: length\n    levels: [{name: short}, {name: long, train: [steps=30]}]",
    );
    let plan = parse(&yaml).unwrap();
    let steps: Vec<u64> = (0..4)
        .map(|cell| {
            plan.train_of(Condition {
                cell,
                ..Condition::joint(10, 0)
            })
            .steps
        })
        .collect();
    assert_eq!(steps, [10, 30, 10, 30]);
    let wrong = parse(&yaml.replace("steps=30", "stepps=30")).unwrap_err();
    assert!(wrong.to_string().contains("stepps"), "{wrong}");
}

#[test]
fn factors_that_cannot_be_crossed_are_told() {
    let told = |from: &str, to: &str| {
        let yaml = with_preset(FACTORS);
        assert!(yaml.contains(from), "{from}");
        parse(&yaml.replace(from, to)).unwrap_err().to_string()
    };
    for (from, to, expected) in [
        ("name: labels", "name: fidelity", "names two factors"),
        ("name: clean", "name: faulty", "names two levels"),
        ("name: raster", "name: 'a/b'", "other characters"),
        ("{name: raster}, ", "", "nothing to compare"),
        ("train:", "cells: 2\ntrain:", "2 is not between 3"),
        ("train:", "cells: 5\ntrain:", "and 4, all combinations"),
        (
            "image.renderer=path_traced",
            "image.renderer",
            "there is no `=`",
        ),
        ("label_faults.yaml", "none.yaml", "none.yaml"),
        (
            "train:",
            "other_synthetic: {x: {dataset: y}}\ntrain:",
            "levels of a factor",
        ),
        (
            "{scene: {file: scenes/dice.yaml, set: [exposure_ev=0]}}",
            "{dataset: d}",
            "a level sets keys of a scene",
        ),
        (
            "{name: raster}",
            "{name: raster, source: {dataset: d}, scene: [a=1]}",
            "`source` replaces",
        ),
    ] {
        let message = told(from, to);
        assert!(
            message.contains(expected),
            "{expected} is missing in {message}"
        );
    }
    let nothing = parse(&(YAML.to_owned() + "cells: 4\n"))
        .unwrap_err()
        .to_string();
    assert!(nothing.contains("give `factors`"), "{nothing}");
}

#[test]
fn the_ends_of_each_arm_are_tried_at_other_rates() {
    let plan = plan_with_rates();
    let planned = plan.train.optimizer.learning_rate();
    let without = ExperimentPlan {
        rate_check: None,
        ..plan.clone()
    };
    // Real-only is shared; the largest ratios of substitution, addition and pretraining are not.
    assert_eq!(plan.rate_checked().len(), 4);
    let trials = plan.trials();
    let others: Vec<&Trial> = trials.iter().filter(|t| t.condition.rate > 0).collect();
    assert_eq!(others.len(), 4 * 2 * 2);
    assert_eq!(others[0].id, "r100-s0-rate0.3-seed7");
    assert!(others.iter().all(|trial| trial.seed < 9 && !trial.exhibits));
    let known: Vec<Trial> = trials
        .iter()
        .filter(|t| t.condition.rate == 0)
        .cloned()
        .collect();
    assert_eq!(
        known,
        without.trials(),
        "the trials of the arms stay as they are"
    );
    let ids: BTreeSet<_> = trials.iter().map(|trial| &trial.id).collect();
    let hashes: BTreeSet<_> = trials.iter().map(|trial| trial.hash.as_str()).collect();
    assert_eq!((ids.len(), hashes.len()), (trials.len(), trials.len()));
    for trial in others {
        let rate = plan.train_of(trial.condition).optimizer.learning_rate();
        assert_eq!(rate, planned * plan.rate_of(trial.condition));
    }
    let told = plan.describe(0, None);
    assert!(
        told.contains("rate check: 4 of them at 0.3 and 3 times the learning rate  x 2 seeds"),
        "{told}"
    );
    let again: ExperimentPlan =
        serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
    assert_eq!(again.trials(), trials);
}

#[test]
fn rates_that_cannot_be_tried_are_told() {
    for (check, part) in [
        ("{rates: [1]}", "1 is not a multiple of the planned rate"),
        ("{rates: [.nan]}", ".nan is not a finite number"),
        ("{rates: [1e9]}", "1000000000 is not a multiple"),
        ("{rates: [3, 3]}", "a rate stands twice"),
        ("{rates: []}", "there is none"),
        ("{seeds: 1}", "1 is not between 2"),
        (
            "{seeds: 6}",
            "6 is not between 2, the fewest that tell how runs vary, and the 5 seeds",
        ),
        ("{speed: 6}", "unknown field"),
    ] {
        let error = parse(&format!("{YAML}rate_check: {check}\n")).unwrap_err();
        assert!(error.to_string().contains(part), "{check}: {error}");
    }
}

#[test]
fn halving_needs_cells_and_seeds_to_drop() {
    let halved = |cells: &str, halving: &str| {
        let yaml = format!("{FACTORS}{cells}halving: {halving}\n");
        parse(&with_preset(&yaml))
    };
    let plan = halved("", "{}").unwrap();
    assert_eq!(plan.halving.unwrap().first_seeds, 2);
    let told = plan.describe(0, None);
    assert!(
        told.contains("halving: 2 seeds of all combinations"),
        "{told}"
    );
    for (halving, part) in [
        (
            "{first_seeds: 5}",
            "5 is not between 1 and one less than the 5 seeds",
        ),
        ("{first_seeds: 0}", "0 is not between 1"),
        ("{keep: 1}", "1 is not a share of the cells"),
        ("{keep: .nan}", ".nan is not a finite number"),
    ] {
        let error = halved("", halving).unwrap_err().to_string();
        assert!(error.contains(part), "{halving}: {error}");
    }
    let error = parse(&format!("{YAML}halving: {{}}\n")).unwrap_err();
    assert!(
        error.to_string().contains("of which none can be dropped"),
        "{error}"
    );
}
