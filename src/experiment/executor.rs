//! The executor that draws a mixture, trains the bundled detector and evaluates it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::sources::{Sources, detection_exhibits, training_exhibits};
use super::trial::{Measurement, Trial};
use super::{Executor, ExperimentError};
use crate::dataset::write_atomically;
use crate::detector::{Detector, TrainPlan};
use crate::mix::{MixPlan, Policy, Source};
use crate::observer::Observer;

/// Runs trials with the bundled detector, all with the same settings.
#[derive(Debug)]
pub struct DetectorExecutor {
    sources: Sources,
    train: TrainPlan,
}

impl DetectorExecutor {
    pub fn new(sources: Sources, train: TrainPlan) -> Self {
        DetectorExecutor { sources, train }
    }
}

impl Executor for DetectorExecutor {
    /// Optimiser steps.
    fn units(&self) -> u64 {
        self.train.steps
    }

    /// Leaves in `folder`: `detector/` (which a killed training resumes from),
    /// `detections.json` and the exhibits.
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
        let plan = MixPlan {
            real: Source::train_of(&self.sources.real.root),
            synthetic: (trial.condition.n_synthetic > 0)
                .then(|| Source::train_of(&self.sources.synthetic.root)),
            policy: Policy::Addition {
                real: Some(trial.condition.n_real),
                synthetic: trial.condition.n_synthetic,
            },
            held_out: Vec::new(),
        };
        let inner = WithinTrial::new(observer);
        let train = crate::mix::draw(
            &plan,
            &self.sources.real,
            Some(&self.sources.synthetic),
            &self.sources.held_out,
            trial.seed,
            &inner,
        )
        .map_err(|error| fail(error.to_string()))?
        .to_dataset();
        let detector_folder = folder.join("detector");
        let outcome =
            crate::detector::train(&self.train, &train, trial.seed, &detector_folder, &inner)
                .map_err(|error| fail(error.to_string()))?;
        inner.complete(self.units());
        let detections = Detector::load(&detector_folder, self.train.device)
            .and_then(|detector| detector.predict(&self.sources.test, &inner))
            .map_err(|error| fail(error.to_string()))?;
        let evaluation = crate::evaluation::evaluate(&self.sources.test, &detections)
            .map_err(|error| fail(error.to_string()))?;
        let json = serde_json::to_vec(&detections).expect("detections serialise");
        write_atomically(&folder.join("detections.json"), &json)?;
        let mut exhibits = training_exhibits(&train, trial, folder)?;
        exhibits.extend(detection_exhibits(
            &self.sources.test,
            &detections,
            trial,
            folder,
        )?);
        Ok(Measurement {
            stats: evaluation.stats,
            per_category: evaluation
                .per_category
                .iter()
                .map(|(name, score)| (name.clone(), score.ap))
                .collect(),
            steps: outcome.steps,
            exhibits,
        })
    }
}

/// Passes messages and time on, and of the stages only the training's steps.
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

    /// Tells of the steps that an earlier run took in this trial.
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
