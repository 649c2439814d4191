//! The experiment: a grid of ratio x seed, and what it says about synthetic data.
//!
//! ```text
//!  spec --> plan --> trials --> runner (Executor: mix, train, evaluate) --> results
//!                                                                             |
//!   report.html, results.csv, summary.json <-- tipping_point <-- statistics <-+
//! ```
//!
//! [`ExperimentPlan`] lists the trials. [`run`] gives each to an [`Executor`] and
//! keeps its result at once, so that a kill loses one trial at most. [`analyse`]
//! turns results into conclusions with intervals, and [`write_report`] writes them.

mod calibration;
mod crossing;
mod design;
mod exchange_rate;
mod executor;
mod exhibit;
mod halving;
mod mlflow;
mod plan;
mod power;
mod regime;
mod report;
mod runner;
mod sentence;
mod sources;
mod statistics;
mod tipping_point;
mod trial;
mod umbrella;

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::dataset::DatasetError;
use crate::observer::Observer;

pub use calibration::{CalibrationCell, calibrate};
pub use crossing::Place;
pub use exchange_rate::{ExchangeRate, PowerLaw, Prices, Worth};
pub use executor::DetectorExecutor;
pub use exhibit::{Exhibit, ExhibitKind, draw_exhibit};
pub use halving::{Halving, Round, Rounds};
pub use mlflow::{Clock, Credentials, Tracker, TrackerError};
pub use plan::{
    AdditionSpec, Arm, ArmKind, ArmsSpec, AugmentationSpec, AuxiliarySpec, Cell, Crossing,
    CurriculumSpec, ExperimentPlan, ExperimentSpec, Factor, FactorSpec, LearningCurveSpec, Level,
    LevelSpec, OtherRate, PretrainingSpec, RateCheck, RateCheckSpec, SceneSource, SubstitutionSpec,
    SyntheticSource, TrainSource, TreatmentSpec,
};
pub use power::power;
pub use regime::{
    AugmentationSettings, AuxiliarySettings, CurriculumSettings, PretrainingSettings,
    RegimeSettings, Seen,
};
pub use report::{ReportFiles, write_report};
pub use runner::{DataRecord, Progress, load_plan, load_results, progress, record_data, run};
pub use sources::{RealData, Sources};
pub use statistics::{
    Contrast, ImageNoise, Layout, Sides, dunnett_critical_value, minimal_detectable_difference,
    seeds_needed, t_quantile,
};
pub use tipping_point::{
    ArmSummary, FactorEffect, FactorSummary, HalvingSummary, HarmOnset, LevelSummary, RankedCell,
    RateSummary, RatedArm, RatedCondition, Refusal, RoundSummary, SourceComparison, SourceSummary,
    Standing, Summary, Survivor, TriedRate, WayComparison, WaySummary, Why, analyse,
};
pub use trial::{Condition, Measurement, Regime, Trial, TrialResult};

/// Runs one trial: draws the training set, trains and evaluates.
///
/// The runner knows nothing else of data and detectors, so that the whole pipeline
/// is tested with an executor that answers in microseconds.
pub trait Executor: Sync {
    /// Units of progress in a trial, such as its optimiser steps.
    fn units(&self, trial: &Trial) -> u64;

    /// Runs `trial` and tells `observer` of all its units. `folder` is the trial's own; what an earlier, killed run left
    /// there may be used again. Exhibits are written there too.
    ///
    /// # Errors
    /// Whatever keeps the trial from a measurement; the run stops with it.
    fn run(
        &self,
        trial: &Trial,
        folder: &Path,
        observer: &dyn Observer,
    ) -> Result<Measurement, ExperimentError>;

    /// Told of each result of the plan: of those that are there when a run begins, and of the
    /// others once they are written.
    fn finished(&self, _result: &TrialResult, _observer: &dyn Observer) {}
}

/// Why an experiment could not be run or reported.
#[derive(Debug, Error)]
pub enum ExperimentError {
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    #[error("{path} is damaged: {message}; remove it and run the experiment again", path = path.display())]
    Damaged { path: PathBuf, message: String },
    #[error("{path} has no experiment: there is no plan.json; run `admix experiment` first", path = path.display())]
    NoExperiment { path: PathBuf },
    #[error("{path} was made with other settings; choose another output folder or remove it", path = path.display())]
    OtherPlan { path: PathBuf },
    #[error("{path} belongs to other real images or labels than those given now; choose another folder, or restore the data", path = path.display())]
    OtherData { path: PathBuf },
    #[error("the data do not allow this experiment:\n{problems}")]
    Data { problems: String },
    #[error("trial {trial}: {message}")]
    Trial { trial: String, message: String },
}

impl ExperimentError {
    /// Whether the user can mend it by other input, rather than a failure on the way.
    pub fn is_mistake(&self) -> bool {
        if let ExperimentError::Dataset(error) = self {
            return error.is_mistake();
        }
        matches!(
            self,
            ExperimentError::NoExperiment { .. }
                | ExperimentError::OtherPlan { .. }
                | ExperimentError::OtherData { .. }
                | ExperimentError::Damaged { .. }
                | ExperimentError::Data { .. }
        )
    }
}
