//! The executor that draws a mixture, trains the bundled detector and evaluates it.

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use thiserror::Error;

use super::exhibit::{detection_exhibits, pairs, training_exhibits};
use super::mlflow::Tracker;
use super::plan::ExperimentPlan;
use super::regime::{DETECTOR, stages};
use super::runner::{PAIRS, keep_pairs, read_json, trial_folder};
use super::sources::Sources;
use super::trial::{Condition, Measurement, Regime, Trial, TrialResult};
use super::{Executor, ExperimentError};
use crate::annotation::Detection;
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

/// What a trial's detector found on the real test images, in its folder.
const DETECTIONS: &str = "detections.json";

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
    tracker: Option<Tracker>,
}

impl DetectorExecutor {
    /// Trials of `plan`, drawn from `sources`.
    pub fn new(sources: Sources, plan: &ExperimentPlan) -> Self {
        DetectorExecutor {
            sources,
            plan: plan.clone(),
            diversity: OnceLock::new(),
            tracker: None,
        }
    }

    /// The same, which tells a tracking server of its trials.
    pub fn with_tracker(mut self, tracker: Option<Tracker>) -> Self {
        self.tracker = tracker;
        self
    }

    /// Draws, for each arm of the first cell, the test images on which its largest ratio loses
    /// most to real-only, by the trials of the first seed in `out`, for the report.
    ///
    /// # Errors
    /// Detections or images that cannot be read, a file that cannot be written.
    pub fn draw_pairs(&self, out: &Path) -> Result<(), ExperimentError> {
        let folder = out.join(PAIRS);
        let trials = self.plan.trials();
        let mut all = Vec::new();
        for (index, arm) in self.plan.arms.iter().enumerate() {
            let (Some(first), Some(last)) = (arm.levels.first(), arm.levels.last()) else {
                continue;
            };
            if arm.cell > 0 {
                continue;
            }
            let found = |condition: Condition| -> Result<Option<Vec<Detection>>, ExperimentError> {
                let mut shown = trials.iter().filter(|trial| trial.exhibits);
                let Some(trial) = shown.find(|trial| trial.condition == condition) else {
                    return Ok(None);
                };
                read_json(&trial_folder(out, trial).join(DETECTIONS))
            };
            let (Some(without), Some(with)) = (found(first.condition)?, found(last.condition)?)
            else {
                continue;
            };
            std::fs::create_dir_all(&folder).map_err(|source| DatasetError::Write {
                path: folder.clone(),
                source,
            })?;
            let name = format!("arm{}_{}", index + 1, arm.kind.name());
            all.extend(pairs(
                &self.sources.test,
                [&without, &with],
                index,
                &folder,
                &name,
            )?);
        }
        keep_pairs(out, &all)
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

    /// AP on the val split; `None` where there is none or it has no boxes.
    fn validation_ap(
        &self,
        detector: &Detector,
        observer: &dyn Observer,
    ) -> Result<Option<f64>, String> {
        let validation = &self.sources.validation;
        if validation.box_count() == 0 {
            return Ok(None);
        }
        let found = detector.predict(validation, observer);
        let found = found.map_err(|error| error.to_string())?;
        let scored = crate::evaluation::evaluate(validation, &found);
        Ok(Some(scored.map_err(|error| error.to_string())?.stats[0]))
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
        self.plan.train_of(trial.condition).steps
    }

    /// Results are kept whatever the tracking server answers, which may be told later.
    fn finished(&self, result: &TrialResult, observer: &dyn Observer) {
        let Some(tracker) = &self.tracker else {
            return;
        };
        if let Err(error) = tracker.tell(&self.plan, result) {
            observer.message(&format!(
                "{}: {error}; the result is kept, and the same command tells it later",
                result.trial.id
            ));
        }
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
        let settings = self.plan.train_of(trial.condition);
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
        let validation_ap = self.validation_ap(&detector, &inner).map_err(fail)?;
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
        write_atomically(&folder.join(DETECTIONS), &json)?;
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
            validation_ap,
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
