//! The executor that draws a mixture, trains the bundled detector and evaluates it.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use thiserror::Error;

use super::plan::ExperimentPlan;
use super::regime::{DETECTOR, stages};
use super::sources::{Sources, detection_exhibits, training_exhibits};
use super::trial::{Measurement, Regime, Trial};
use super::{Executor, ExperimentError};
use crate::audit::{AuditError, DiversityScale, domain_auc};
use crate::augment::{AugmentError, augment_dataset};
use crate::dataset::{Dataset, DatasetError, Sample, write_atomically};
use crate::detector::{Detector, DetectorError};
use crate::mix::{MixError, MixPlan, Policy, Source};
use crate::observer::Observer;
use crate::seed::SeedKey;
use crate::spec::SpecError;

/// Test splits drawn anew that each trial is scored on: a standard error from as many is
/// itself within 5 %.
const REDRAWS: usize = 400;

/// Folder of a trial's treated training images, which are removed when it has ended.
const TREATED: &str = "treated";

/// Runs trials with the bundled detector.
#[derive(Debug)]
pub struct DetectorExecutor {
    sources: Sources,
    plan: ExperimentPlan,
    /// Of the real training images, so that the diversity of all trials has one unit. Measured
    /// by the first trial that needs it.
    diversity: OnceLock<DiversityScale>,
}

impl DetectorExecutor {
    /// Trials of `plan`, drawn from `sources`.
    pub fn new(sources: Sources, plan: &ExperimentPlan) -> Self {
        DetectorExecutor {
            sources,
            plan: plan.clone(),
            diversity: OnceLock::new(),
        }
    }

    /// The images of a trial. They depend on its counts and seed, not on how they are used.
    fn draw(&self, trial: &Trial, observer: &dyn Observer) -> Result<Dataset, MixError> {
        let pool = &self.sources.pools[trial.condition.source];
        // Copies are made of what is drawn, and are not drawn themselves.
        let n_synthetic = match trial.condition.regime {
            Regime::Augmentation => 0,
            _ => trial.condition.n_synthetic,
        };
        let plan = MixPlan {
            real: Source::train_of(&self.sources.real.root),
            synthetic: (n_synthetic > 0).then(|| Source::train_of(&pool.train.root)),
            policy: Policy::Addition {
                real: Some(trial.condition.n_real),
                synthetic: n_synthetic,
            },
            held_out: Vec::new(),
        };
        let mixture = crate::mix::draw(
            &plan,
            &self.sources.real,
            Some(&pool.train),
            &self.sources.held_out,
            trial.seed,
            observer,
        )?;
        Ok(mixture.to_dataset())
    }

    /// The real images of a trial, and as many augmented copies of them as it asks for, all
    /// images by turns. A copy depends on the trial's seed and its image alone, so that those
    /// of fewer copies are among those of more.
    fn with_copies(
        &self,
        real: Dataset,
        trial: &Trial,
        folder: &Path,
        observer: &dyn Observer,
    ) -> Result<Dataset, CopyError> {
        let settings = self
            .plan
            .regimes
            .augmentation
            .as_ref()
            .ok_or(CopyError::Missing)?;
        let policy = settings.policy()?;
        let key = SeedKey::new(b"augmented copies", trial.seed);
        let mut all = real.clone();
        let mut next = real
            .samples
            .iter()
            .map(|sample| sample.id)
            .max()
            .unwrap_or(0)
            + 1;
        let mut left = trial.condition.n_synthetic;
        for round in 0.. {
            let mut originals = real.clone();
            originals.samples.truncate(left);
            if originals.samples.is_empty() {
                break;
            }
            left -= originals.samples.len();
            let out = folder.join(format!("copies_{round}"));
            let seed = key.child("round", round).to_u64();
            let (copies, _) = augment_dataset(&policy, &originals, seed, &out, observer)?;
            for mut copy in copies.samples {
                copy.id = next;
                next += 1;
                all.samples.push(copy);
            }
        }
        Ok(all)
    }

    /// Vendi score of the training images.
    fn diversity(&self, train: &Dataset) -> Result<f64, AuditError> {
        let scale = match self.diversity.get() {
            Some(scale) => scale,
            None => {
                let measured = DiversityScale::of(&self.sources.real)?;
                self.diversity.get_or_init(|| measured)
            }
        };
        scale.vendi_score(train)
    }

    /// How well the detector's features tell the real test images from the synthetic ones.
    fn domain_auc(
        &self,
        detector: &Detector,
        synthetic: &Dataset,
        seed: u64,
    ) -> Result<Option<f64>, DetectorError> {
        let embedded = |images: &Dataset| -> Result<Vec<(String, Vec<f64>)>, DetectorError> {
            let groups = images.samples.iter().map(|s| s.group().to_owned());
            Ok(groups.zip(detector.embed(images)?).collect())
        };
        let (real, made) = (embedded(&self.sources.test)?, embedded(synthetic)?);
        let key = SeedKey::new(b"domain classifier", seed);
        Ok(domain_auc(&real, &made, &key))
    }

    /// The images of a trial after what its cell does to them. What happens to an image depends
    /// on the trial's seed and the image alone, so that it is the same at every ratio.
    fn treated(
        &self,
        drawn: Dataset,
        trial: &Trial,
        folder: &Path,
        observer: &dyn Observer,
    ) -> Result<Dataset, CopyError> {
        let Some(cell) = self.plan.crossing.cells.get(trial.condition.cell) else {
            return Ok(drawn);
        };
        let mut all = drawn;
        for (kind, is_real, treatments) in [
            ("real", true, &cell.real),
            ("synthetic", false, &cell.synthetic),
        ] {
            for (number, treatment) in (0..).zip(treatments) {
                let policy = treatment.policy()?;
                let seed = SeedKey::new(b"treated images", trial.seed).child(kind, number);
                let concerned = all.filtered(|s| s.record.counts_as_real() == is_real);
                if concerned.samples.is_empty() {
                    continue;
                }
                let out = folder.join(TREATED).join(format!("{kind}_{number}"));
                let (treated, _) =
                    augment_dataset(&policy, &concerned, seed.to_u64(), &out, observer)?;
                let mut treated = treated.samples.into_iter();
                for sample in &mut all.samples {
                    if sample.record.counts_as_real() == is_real
                        && let Some(changed) = treated.next()
                    {
                        *sample = Sample {
                            id: sample.id,
                            ..changed
                        };
                    }
                }
            }
        }
        Ok(all)
    }
}

/// Why a trial's copies could not be made, or its images not be treated.
#[derive(Debug, Error)]
enum CopyError {
    #[error("the plan has no settings for augmentation")]
    Missing,
    #[error(transparent)]
    Preset(#[from] SpecError),
    #[error(transparent)]
    Augment(#[from] AugmentError),
}

impl Executor for DetectorExecutor {
    /// Optimiser steps, of all trainings of the trial together.
    fn units(&self, trial: &Trial) -> u64 {
        self.plan.train_in(trial.condition.cell).steps
    }

    /// Leaves in `folder`: `detector/` and, where synthetic images came first,
    /// `pretraining/` (which a killed training resumes from), `detections.json` and the
    /// exhibits.
    fn run(
        &self,
        trial: &Trial,
        folder: &Path,
        observer: &dyn Observer,
    ) -> Result<Measurement, ExperimentError> {
        let fail = |message: String| ExperimentError::Trial {
            trial: trial.id.clone(),
            message,
        };
        let inner = WithinTrial::new(observer);
        let train = self
            .draw(trial, &inner)
            .map_err(|error| fail(error.to_string()))?;
        let train = match trial.condition.regime {
            Regime::Augmentation => self
                .with_copies(train, trial, folder, &inner)
                .map_err(|error| fail(error.to_string()))?,
            _ => train,
        };
        let train = self
            .treated(train, trial, folder, &inner)
            .map_err(|error| fail(error.to_string()))?;
        let settings = self.plan.train_in(trial.condition.cell);
        let stages = stages(trial.condition.regime, settings, &self.plan.regimes, folder)
            .map_err(|error| fail(error.to_string()))?;
        let mut steps = 0;
        for stage in stages {
            let images = stage.images(&train);
            let outcome =
                crate::detector::train(&stage.plan, &images, trial.seed, &stage.folder, &inner)
                    .map_err(|error| fail(error.to_string()))?;
            steps += outcome.steps;
            inner.complete(steps);
        }
        let detector = Detector::load(&folder.join(DETECTOR), settings.device)
            .map_err(|error| fail(error.to_string()))?;
        let detections = detector
            .predict(&self.sources.test, &inner)
            .map_err(|error| fail(error.to_string()))?;
        let examined = crate::evaluation::examine(&self.sources.test, &detections, REDRAWS)
            .map_err(|error| fail(error.to_string()))?;
        let evaluation = examined.evaluation;
        let synthetic = &self.sources.pools[trial.condition.source].test;
        let diversity = self
            .diversity(&train)
            .map_err(|error| fail(error.to_string()))?;
        let domain_auc = self
            .domain_auc(&detector, synthetic, trial.seed)
            .map_err(|error| fail(error.to_string()))?;
        let synthetic_stats = if synthetic.samples.is_empty() {
            None
        } else {
            let found = detector
                .predict(synthetic, &inner)
                .map_err(|error| fail(error.to_string()))?;
            let evaluation = crate::evaluation::evaluate(synthetic, &found)
                .map_err(|error| fail(error.to_string()))?;
            Some(evaluation.stats)
        };
        let json = serde_json::to_vec(&detections).expect("detections serialise");
        write_atomically(&folder.join("detections.json"), &json)?;
        let mut exhibits = training_exhibits(&train, trial, folder)?;
        exhibits.extend(detection_exhibits(
            &self.sources.test,
            &detections,
            trial,
            folder,
        )?);
        let treated = folder.join(TREATED);
        if treated.exists() {
            std::fs::remove_dir_all(&treated).map_err(|source| DatasetError::Write {
                path: treated,
                source,
            })?;
        }
        Ok(Measurement {
            stats: evaluation.stats,
            per_category: evaluation
                .per_category
                .iter()
                .map(|(name, score)| (name.clone(), score.ap))
                .collect(),
            redrawn: Some(examined.redrawn),
            errors: Some(examined.errors),
            synthetic_stats,
            diversity: Some(diversity),
            domain_auc,
            steps,
            exhibits,
        })
    }
}

/// Passes messages and time on, and of the stages only the steps of the trainings.
struct WithinTrial<'a> {
    outer: &'a dyn Observer,
    trains: AtomicBool,
    steps: AtomicU64,
}

impl<'a> WithinTrial<'a> {
    fn new(outer: &'a dyn Observer) -> Self {
        WithinTrial {
            outer,
            trains: AtomicBool::new(false),
            steps: AtomicU64::new(0),
        }
    }

    /// Tells of those of the trial's first `steps` that an earlier run took.
    fn complete(&self, steps: u64) {
        let told = self.steps.swap(steps, Ordering::Relaxed);
        self.outer.advance(steps.saturating_sub(told));
    }
}

impl Observer for WithinTrial<'_> {
    fn begin(&self, stage: &str, _total: u64, _done: u64) {
        self.trains.store(stage == "train", Ordering::Relaxed);
    }
    fn advance(&self, units: u64) {
        if self.trains.load(Ordering::Relaxed) {
            self.steps.fetch_add(units, Ordering::Relaxed);
            self.outer.advance(units);
        }
    }
    fn message(&self, text: &str) {
        self.outer.message(text);
    }
    fn end(&self) {
        self.trains.store(false, Ordering::Relaxed);
    }
    fn elapsed(&self) -> Duration {
        self.outer.elapsed()
    }
}

#[cfg(test)]
mod tests {
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
        let paths = |images: &Dataset| -> Vec<_> {
            images.samples.iter().map(|s| s.path.clone()).collect()
        };
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
}
