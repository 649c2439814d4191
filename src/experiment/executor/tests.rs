use std::num::NonZeroUsize;

use image::{Rgb, RgbImage};
use rand::RngExt;

use super::super::plan::tests::plan_with_ways;
use super::super::plan::{Arm, ArmKind, Cell, Factor};
use super::super::regime::AugmentationSettings;
use super::super::run;
use super::super::sources::Pool;
use super::super::trial::Condition;
use super::*;
use crate::annotation::{Annotation, BoundingBox, Category};
use crate::dataset::{Origin, Record};
use crate::detector::{InputSize, TrainSpec};
use crate::mix::HeldOut;
use crate::observer::Silent;
use crate::seed::SeedKey;

const SIDE: u32 = 64;

/// Grey images with a red square each.
fn squares(folder: &Path, name: &str, count: u64, origin: Origin) -> Dataset {
    let samples = (1..=count).map(|id| {
        let mut generator = SeedKey::new(b"executor", 0).generator(name, id);
        let side = generator.random_range(14..22u32);
        let [x, y] = [(); 2].map(|_| generator.random_range(0..SIDE - side));
        let image = RgbImage::from_fn(SIDE, SIDE, |px, py| {
            let inside = (x..x + side).contains(&px) && (y..y + side).contains(&py);
            Rgb(if inside { [220, 30, 30] } else { [90, 100, 90] })
        });
        let file_name = format!("{name}{id}.png");
        let path = folder.join(&file_name);
        image.save(&path).unwrap();
        let [x, y, side] = [x, y, side].map(f64::from);
        Sample {
            id,
            path,
            file_name: file_name.clone(),
            width: SIDE,
            height: SIDE,
            annotations: vec![Annotation {
                id,
                category_id: 1,
                bbox: BoundingBox::from([x, y, side, side]),
                area: side * side,
                is_crowd: false,
                extra: Default::default(),
            }],
            record: Record::new(id, file_name, origin),
        }
    });
    Dataset {
        root: folder.join(name),
        categories: vec![Category {
            id: 1,
            name: "square".to_owned(),
            ..Category::default()
        }],
        samples: samples.collect(),
        warnings: Vec::new(),
    }
}

fn sources(folder: &Path) -> Sources {
    Sources {
        real: squares(folder, "real", 4, Origin::Real),
        test: squares(folder, "test", 2, Origin::Real),
        validation: squares(folder, "val", 2, Origin::Real),
        pools: vec![Pool {
            train: squares(folder, "synthetic", 4, Origin::Synthetic),
            test: squares(folder, "unseen", 2, Origin::Synthetic),
        }],
        held_out: HeldOut::of(&[], &Silent).unwrap(),
        left_out: Vec::new(),
    }
}

/// Real-only, and pretraining on as many synthetic images, at one seed: 5 steps, of which
/// the synthetic images get 2.
fn plan() -> ExperimentPlan {
    let mut plan = plan_with_ways();
    let spec = TrainSpec {
        width_multiplier: 0.1,
        input: InputSize {
            height: 64,
            width: 64,
        },
        fuse_strides: vec![],
        head_channels: 8,
        steps: 5,
        batch_size: 2,
        warmup_steps: 2,
        checkpoint_every: 0,
        ..TrainSpec::default()
    };
    plan.train = spec.into_plan(Path::new("train.yaml")).unwrap();
    plan.regimes.pretraining.as_mut().unwrap().share_of_steps = 0.4;
    plan.arms.retain(|arm| arm.kind == ArmKind::Pretraining);
    let Arm { levels, .. } = &mut plan.arms[0];
    levels.truncate(2);
    for level in levels {
        level.condition.n_real = 4;
        level.condition.n_synthetic /= 25;
    }
    plan.seeds.truncate(1);
    plan
}

/// Counts the units that it is told of.
#[derive(Default)]
struct Counting(AtomicU64);

impl Observer for Counting {
    fn begin(&self, _: &str, _: u64, _: u64) {}
    fn advance(&self, units: u64) {
        self.0.fetch_add(units, Ordering::Relaxed);
    }
    fn message(&self, _: &str) {}
    fn end(&self) {}
    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

#[test]
fn pretraining_runs_both_trainings_and_a_second_run_uses_them_again() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan();
    let executor = DetectorExecutor::new(sources(folder.path()), &plan);
    let out = folder.path().join("out");
    let run_all = || {
        let counting = Counting::default();
        let results = run(&plan, &out, &executor, NonZeroUsize::MIN, &counting).unwrap();
        (results, counting.0.into_inner())
    };
    let (results, units) = run_all();
    assert_eq!(units, 10, "each step of both trials is told once");
    assert!(results.iter().all(|result| result.measurement.steps == 5));
    let id = "r4-s4-pretraining-seed7";
    assert_eq!(results[1].trial.id, id);
    let trial = out.join("trials").join(id);
    let config = |stage: &str| -> serde_json::Value {
        let text = std::fs::read(trial.join(stage).join("config.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    };
    let (first, second) = (config("pretraining"), config("detector"));
    assert_eq!(
        (&first["images"], &first["real_images"]),
        (&4.into(), &0.into())
    );
    assert_eq!(
        (&second["images"], &second["real_images"]),
        (&4.into(), &4.into())
    );
    assert_eq!(first["plan"]["steps"], 2);
    assert_eq!(second["plan"]["steps"], 3);

    let weights = ["pretraining", "detector"].map(|s| trial.join(s).join("model.safetensors"));
    let written = || {
        let modified = |path: &std::path::PathBuf| path.metadata().unwrap().modified().unwrap();
        weights.each_ref().map(modified)
    };
    let before = written();
    std::fs::remove_file(trial.join("result.json")).unwrap();
    let (again, units) = run_all();
    assert_eq!(units, 5, "steps of an earlier run count once too");
    assert_eq!(written(), before, "nothing is trained anew");
    assert_eq!(again, results);

    // A run that was killed in the second training has the first one's weights.
    std::fs::remove_file(trial.join("result.json")).unwrap();
    std::fs::remove_file(&weights[1]).unwrap();
    let (again, units) = run_all();
    assert_eq!(units, 5);
    assert_eq!(written()[0], before[0]);
    assert_eq!(again, results);
}

/// Of two real images, three copies: one image twice, whatever else is asked for.
#[test]
fn copies_of_the_real_images_take_turns_and_nest() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan();
    let preset = Path::new(env!("CARGO_MANIFEST_DIR")).join("presets/geometry.yaml");
    plan.regimes.augmentation = Some(AugmentationSettings::of(&preset, &[], None).unwrap());
    let executor = DetectorExecutor::new(sources(folder.path()), &plan);
    let mut trial = plan.trials().remove(0);
    trial.condition.regime = Regime::Augmentation;
    trial.condition.n_real = 2;
    let copies = |count: usize| {
        let mut trial = trial.clone();
        trial.condition.n_synthetic = count;
        let real = executor.draw(&trial, &Silent).unwrap();
        assert_eq!(real.samples.len(), 2, "no synthetic image is drawn");
        let out = folder.path().join(format!("{count}"));
        let all = executor.with_copies(real, &trial, &out, &Silent).unwrap();
        let ids: std::collections::BTreeSet<u64> = all.samples.iter().map(|s| s.id).collect();
        assert_eq!(ids.len(), 2 + count, "identifiers are unique");
        assert!(all.samples.iter().all(|s| s.record.counts_as_real()));
        all
    };
    let (few, many) = (copies(1), copies(3));
    let bytes = |sample: &Sample| std::fs::read(&sample.path).unwrap();
    assert_eq!(bytes(&few.samples[2]), bytes(&many.samples[2]));
    let stems: Vec<&str> = many.samples[2..]
        .iter()
        .map(|sample| sample.file_name.trim_end_matches(".png"))
        .collect();
    assert_eq!(stems[0], stems[2], "the first image's turn comes again");
    assert_ne!(stems[0], stems[1]);
    assert_ne!(bytes(&many.samples[2]), bytes(&many.samples[4]));
    // A trial trains on them.
    trial.condition.n_synthetic = 3;
    let measured = executor
        .run(&trial, &folder.path().join("trial"), &Silent)
        .unwrap();
    assert_eq!(measured.steps, 5);
    assert!(measured.synthetic_stats.is_some() && measured.redrawn.is_some());
}

/// A cell whose real images lose their labels and whose synthetic ones stay.
#[test]
fn a_cell_treats_the_images_that_it_names_alike_at_every_ratio() {
    let folder = tempfile::tempdir().unwrap();
    let preset = folder.path().join("unlabelled.yaml");
    std::fs::write(&preset, "steps: [{transform: {label_missing: {share: 1}}}]").unwrap();
    let mut plan = plan();
    plan.crossing.factors = vec![Factor {
        name: "labels".into(),
        levels: vec!["clean".into(), "none".into()],
    }];
    let cell = |level: usize| Cell {
        levels: vec![level],
        source: 0,
        train: None,
        real: Vec::new(),
        synthetic: Vec::new(),
    };
    plan.crossing.cells = vec![cell(0), cell(1)];
    plan.crossing.cells[1].real = vec![AugmentationSettings::of(&preset, &[], None).unwrap()];
    let executor = DetectorExecutor::new(sources(folder.path()), &plan);
    let mut trial = plan.trials().remove(0);
    trial.condition = Condition::joint(2, 2);
    let treated = |cell: usize| {
        let mut trial = trial.clone();
        trial.condition.cell = cell;
        let drawn = executor.draw(&trial, &Silent).unwrap();
        let out = folder.path().join(format!("trial_{cell}"));
        let treated = executor.treated(drawn.clone(), &trial, &out, &Silent);
        (drawn, treated.unwrap())
    };
    let (drawn, same) = treated(0);
    let paths =
        |images: &Dataset| -> Vec<_> { images.samples.iter().map(|s| s.path.clone()).collect() };
    assert_eq!(paths(&same), paths(&drawn));
    let (drawn, changed) = treated(1);
    for (before, after) in drawn.samples.iter().zip(&changed.samples) {
        let is_real = before.record.counts_as_real();
        assert_eq!(after.record.counts_as_real(), is_real);
        assert_eq!(after.id, before.id);
        let left = if is_real { 0 } else { before.annotations.len() };
        assert_eq!(after.annotations.len(), left);
    }
    trial.condition.cell = 1;
    let out = folder.path().join("whole");
    let measured = executor.run(&trial, &out, &Silent).unwrap();
    assert!(
        measured
            .diversity
            .is_some_and(|score| (1.0..=4.0).contains(&score))
    );
    assert_eq!(
        measured.domain_auc, None,
        "two images of a kind are too few"
    );
    assert!(!out.join(TREATED).exists(), "they are removed");
}

#[test]
fn real_images_of_a_seed_are_the_same_in_every_regime() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan();
    for level in &mut plan.arms[0].levels {
        level.condition.n_real = 2;
        level.condition.n_synthetic /= 2;
    }
    let executor = DetectorExecutor::new(sources(folder.path()), &plan);
    let trial = plan.trials().remove(1);
    let mut mixed = trial.clone();
    mixed.condition = trial.condition.mixed();
    let drawn = executor.draw(&trial, &Silent).unwrap();
    let names = |dataset: &Dataset| -> Vec<String> {
        let samples = dataset.samples.iter();
        samples.map(|sample| sample.file_name.clone()).collect()
    };
    assert_eq!(
        names(&drawn),
        names(&executor.draw(&mixed, &Silent).unwrap())
    );
    let stages = stages(
        trial.condition.regime,
        &plan.train,
        &plan.regimes,
        folder.path(),
    )
    .unwrap();
    let [first, second] = [0, 1].map(|index: usize| names(&stages[index].images(&drawn)));
    assert!(first.iter().all(|name| name.starts_with("synthetic")));
    assert!(second.iter().all(|name| name.starts_with("real")));
    assert_eq!([second, first].concat(), names(&drawn));
}
