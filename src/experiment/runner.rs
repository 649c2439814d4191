//! Runs the trials that have no result yet, and keeps each result at once.
//!
//! ```text
//! DIR/plan.json                  the plan
//! DIR/trials/ID/result.json      a finished trial; written last, atomically
//! DIR/results.jsonl              all finished trials, one a line
//! DIR/data.json                  what the trials draw from
//! DIR/pairs/                     test images that two detectors are compared on
//! ```

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::exhibit::Pair;
use super::halving::Rounds;
use super::plan::ExperimentPlan;
use super::trial::{Trial, TrialResult};
use super::{Executor, ExperimentError};
use crate::dataset::{DatasetError, write_atomically};
use crate::observer::Observer;
use crate::seed::PlanHash;

const PLAN: &str = "plan.json";
const RESULTS: &str = "results.jsonl";
const DATA: &str = "data.json";

/// Folder of the test images that are shown side by side, and its list of them.
pub(super) const PAIRS: &str = "pairs";
const INDEX: &str = "pairs.json";

/// How far an output folder has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    pub finished: usize,
    /// Mean wall time of the finished trials, if there is one.
    pub seconds_per_trial: Option<f64>,
}

/// The folder of a trial.
pub(super) fn trial_folder(out: &Path, trial: &Trial) -> PathBuf {
    out.join("trials").join(&trial.id)
}

/// Looks how many of the plan's trials are finished in `out`.
///
/// # Errors
/// A result that cannot be read or was made with other settings.
pub fn progress(plan: &ExperimentPlan, out: &Path) -> Result<Progress, ExperimentError> {
    let results = load_results(plan, out)?;
    let finished = results.len();
    let seconds: f64 = results.iter().map(|result| result.seconds).sum();
    Ok(Progress {
        finished,
        seconds_per_trial: (finished > 0).then(|| seconds / finished as f64),
    })
}

/// Runs every trial of `plan` that has no result in `out` yet, `at_once` of them at a
/// time. Returns all results in the plan's order, which do not depend on `at_once`.
///
/// # Errors
/// After a trial that fails none is begun; those that finish are kept.
pub fn run(
    plan: &ExperimentPlan,
    out: &Path,
    executor: &dyn Executor,
    at_once: NonZeroUsize,
    observer: &dyn Observer,
) -> Result<Vec<TrialResult>, ExperimentError> {
    create_dir_all(out)?;
    let mut results = load_results(plan, out)?;
    let json = serde_json::to_vec_pretty(plan).expect("a plan serialises");
    write_atomically(&out.join(PLAN), &json)?;
    write_results(out, &results)?;
    for result in &results {
        executor.finished(result, observer);
    }
    // What a round of halving decides is known when its trials are finished.
    loop {
        let trials = Rounds::of(plan, &results).trials(plan);
        if trials.iter().all(|trial| is_finished(trial, &results)) {
            return Ok(results);
        }
        run_trials(&trials, &results, out, executor, at_once, observer)?;
        results = load_results(plan, out)?;
    }
}

fn is_finished(trial: &Trial, results: &[TrialResult]) -> bool {
    results.iter().any(|done| done.trial.id == trial.id)
}

/// Runs those of `trials` that have no result yet.
fn run_trials(
    trials: &[Trial],
    results: &[TrialResult],
    out: &Path,
    executor: &dyn Executor,
    at_once: NonZeroUsize,
    observer: &dyn Observer,
) -> Result<(), ExperimentError> {
    let is_missing = |trial: &&Trial| !is_finished(trial, results);
    let missing: Vec<&Trial> = trials.iter().filter(is_missing).collect();
    let queue = Queue {
        next: AtomicUsize::new(0),
        results: Mutex::new(results.to_vec()),
        failure: Mutex::new(None),
    };
    let total: u64 = trials.iter().map(|trial| executor.units(trial)).sum();
    let left: u64 = missing.iter().map(|trial| executor.units(trial)).sum();
    observer.begin("experiment", total, total - left);
    std::thread::scope(|scope| {
        for _ in 0..at_once.get().min(missing.len()) {
            scope.spawn(|| queue.work(&missing, out, executor, observer));
        }
    });
    observer.end();
    let failure = queue.failure.into_inner();
    match failure.unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// The trials that wait, and what came of the others.
struct Queue {
    next: AtomicUsize,
    results: Mutex<Vec<TrialResult>>,
    failure: Mutex<Option<ExperimentError>>,
}

impl Queue {
    /// Takes trials until there are none or one has failed.
    fn work(
        &self,
        missing: &[&Trial],
        out: &Path,
        executor: &dyn Executor,
        observer: &dyn Observer,
    ) {
        let failure = || self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        while failure().is_none() {
            let Some(trial) = missing.get(self.next.fetch_add(1, Ordering::Relaxed)) else {
                return;
            };
            let outcome = measure(trial, out, executor, observer).and_then(|result| {
                self.keep(result.clone(), out, observer)?;
                executor.finished(&result, observer);
                Ok(())
            });
            if let Err(error) = outcome {
                failure().get_or_insert(error);
            }
        }
    }

    fn keep(
        &self,
        result: TrialResult,
        out: &Path,
        observer: &dyn Observer,
    ) -> Result<(), ExperimentError> {
        observer.message(&format!(
            "{}: AP {:.4}, AP50 {:.4}, {:.1} s",
            result.trial.id,
            result.measurement.ap(),
            result.measurement.ap50(),
            result.seconds
        ));
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        results.push(result);
        write_results(out, &results)
    }
}

/// Runs one trial and writes its `result.json`.
fn measure(
    trial: &Trial,
    out: &Path,
    executor: &dyn Executor,
    observer: &dyn Observer,
) -> Result<TrialResult, ExperimentError> {
    let folder = trial_folder(out, trial);
    create_dir_all(&folder)?;
    let began = observer.elapsed();
    let measurement = executor.run(trial, &folder, observer)?;
    if !(0.0..=1.0).contains(&measurement.ap()) {
        return Err(ExperimentError::Trial {
            trial: trial.id.clone(),
            message: format!(
                "the AP is {}, which is undefined; the real test split needs labelled boxes",
                measurement.ap()
            ),
        });
    }
    let result = TrialResult {
        trial: trial.clone(),
        measurement,
        seconds: (observer.elapsed() - began).as_secs_f64(),
    };
    let json = serde_json::to_vec_pretty(&result).expect("a result serialises");
    write_atomically(&folder.join("result.json"), &json)?;
    Ok(result)
}

fn create_dir_all(path: &Path) -> Result<(), ExperimentError> {
    std::fs::create_dir_all(path).map_err(|source| {
        ExperimentError::Dataset(DatasetError::Write {
            path: path.to_owned(),
            source,
        })
    })
}

/// Rewrites `results.jsonl` whole: it repeats the trials' own files for readers who
/// want one.
fn write_results(out: &Path, results: &[TrialResult]) -> Result<(), ExperimentError> {
    let mut lines = String::new();
    for result in results {
        lines.push_str(&serde_json::to_string(result).expect("a result serialises"));
        lines.push('\n');
    }
    Ok(write_atomically(&out.join(RESULTS), lines.as_bytes())?)
}

/// Reads the plan of an output folder.
///
/// # Errors
/// [`ExperimentError::NoExperiment`] where there is none.
pub fn load_plan(out: &Path) -> Result<ExperimentPlan, ExperimentError> {
    let path = out.join(PLAN);
    match read_json(&path)? {
        Some(plan) => Ok(plan),
        None => Err(ExperimentError::NoExperiment {
            path: out.to_owned(),
        }),
    }
}

/// Reads the finished trials of `plan`, in its order.
///
/// # Errors
/// A result that cannot be read or was made with other settings.
pub fn load_results(
    plan: &ExperimentPlan,
    out: &Path,
) -> Result<Vec<TrialResult>, ExperimentError> {
    let mut results = Vec::new();
    for trial in plan.trials() {
        let folder = trial_folder(out, &trial);
        let Some(mut result) = read_json::<TrialResult>(&folder.join("result.json"))? else {
            continue;
        };
        if result.trial.hash != trial.hash {
            return Err(ExperimentError::OtherPlan { path: folder });
        }
        result.trial = trial;
        results.push(result);
    }
    Ok(results)
}

/// What an experiment's output folder remembers of its data, in `data.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataRecord {
    /// Hash of the real images and their labels.
    pub real: PlanHash,
    /// Images that no trial may train on, and why.
    pub left_out: Vec<String>,
}

/// Keeps what the trials in `out` draw from.
///
/// # Errors
/// [`ExperimentError::OtherData`] where earlier trials in `out` drew from other images or
/// labels; a folder that cannot be written.
pub fn record_data(out: &Path, record: &DataRecord) -> Result<(), ExperimentError> {
    let path = out.join(DATA);
    if load_data(out)?.is_some_and(|earlier| earlier.real != record.real) {
        return Err(ExperimentError::OtherData { path });
    }
    create_dir_all(out)?;
    let json = serde_json::to_vec_pretty(record).expect("a record serialises");
    Ok(write_atomically(&path, &json)?)
}

/// What [`record_data`] kept, if it has kept something.
pub(super) fn load_data(out: &Path) -> Result<Option<DataRecord>, ExperimentError> {
    read_json(&out.join(DATA))
}

/// Keeps which test images are shown side by side.
pub(super) fn keep_pairs(out: &Path, pairs: &[Pair]) -> Result<(), ExperimentError> {
    if pairs.is_empty() {
        return Ok(());
    }
    let json = serde_json::to_vec_pretty(pairs).expect("pairs serialise");
    Ok(write_atomically(&out.join(PAIRS).join(INDEX), &json)?)
}

/// What [`keep_pairs`] kept; none before the end of a run.
pub(super) fn load_pairs(out: &Path) -> Result<Vec<Pair>, ExperimentError> {
    Ok(read_json(&out.join(PAIRS).join(INDEX))?.unwrap_or_default())
}

/// `None` where there is no file.
pub(super) fn read_json<T: serde::de::DeserializeOwned>(
    path: &Path,
) -> Result<Option<T>, ExperimentError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(ExperimentError::Dataset(DatasetError::Read {
                path: path.to_owned(),
                source,
            }));
        }
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| ExperimentError::Damaged {
            path: path.to_owned(),
            message: error.to_string(),
        })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::plan::tests::plan;
    use super::super::trial::Measurement;
    use super::*;
    use crate::observer::Silent;
    use crate::seed::SeedKey;
    use rand::RngExt;

    pub(in crate::experiment) const ONE: NonZeroUsize = NonZeroUsize::MIN;

    /// Answers at once from a curve that rises to a quarter synthetic and then falls.
    pub(in crate::experiment) struct Mock {
        pub noise: f64,
        pub ran: AtomicUsize,
        pub fail_at: Option<usize>,
    }

    impl Mock {
        pub(in crate::experiment) fn new(noise: f64) -> Self {
            Mock {
                noise,
                ran: AtomicUsize::new(0),
                fail_at: None,
            }
        }
    }

    impl Executor for Mock {
        fn units(&self, _: &Trial) -> u64 {
            1
        }

        fn run(
            &self,
            trial: &Trial,
            _folder: &Path,
            _observer: &dyn Observer,
        ) -> Result<Measurement, ExperimentError> {
            let number = self.ran.fetch_add(1, Ordering::Relaxed);
            if self.fail_at.is_some_and(|last| number >= last) {
                return Err(ExperimentError::Trial {
                    trial: trial.id.clone(),
                    message: "killed".into(),
                });
            }
            let real = trial.condition.n_real as f64;
            let synthetic = trial.condition.n_synthetic as f64;
            let share = synthetic / (real + synthetic);
            let curve = 0.40 + 0.30 * share - 0.50 * share * share;
            let mut generator = SeedKey::new(b"mock", trial.seed).generator(&trial.id, 0);
            let mut block = SeedKey::new(b"mock", trial.seed).generator("block", 0);
            let noise = generator.random::<f64>() + block.random::<f64>() - 1.0;
            let mut stats = [-1.0; 12];
            stats[0] = (curve + self.noise * noise).clamp(0.0, 1.0);
            stats[1] = (stats[0] * 1.6).min(1.0);
            Ok(Measurement {
                stats,
                steps: 100,
                ..Measurement::default()
            })
        }
    }

    #[test]
    fn a_killed_run_goes_on_where_it_stopped_and_gives_the_same() {
        let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let plan = plan();
        let expected = run(&plan, whole.path(), &Mock::new(0.01), ONE, &Silent).unwrap();
        let mut dying = Mock::new(0.01);
        dying.fail_at = Some(11);
        run(&plan, cut.path(), &dying, ONE, &Silent).unwrap_err();
        assert_eq!(progress(&plan, cut.path()).unwrap().finished, 11);
        let lines = std::fs::read_to_string(cut.path().join(RESULTS)).unwrap();
        assert_eq!(lines.lines().count(), 11);
        let rest = Mock::new(0.01);
        let resumed = run(&plan, cut.path(), &rest, ONE, &Silent).unwrap();
        assert_eq!(
            rest.ran.load(Ordering::Relaxed),
            19,
            "finished trials are not run again"
        );
        assert_eq!(resumed, expected);
        let idle = Mock::new(0.01);
        run(&plan, cut.path(), &idle, ONE, &Silent).unwrap();
        assert_eq!(idle.ran.load(Ordering::Relaxed), 0);
        assert_eq!(load_plan(cut.path()).unwrap().trials(), plan.trials());
    }

    #[test]
    fn several_trials_at_once_give_the_same_results() {
        let (one, four) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let plan = plan();
        let expected = run(&plan, one.path(), &Mock::new(0.01), ONE, &Silent).unwrap();
        let mock = Mock::new(0.01);
        let at_once = NonZeroUsize::new(4).unwrap();
        let results = run(&plan, four.path(), &mock, at_once, &Silent).unwrap();
        assert_eq!(results, expected);
        assert_eq!(mock.ran.load(Ordering::Relaxed), expected.len());
    }

    #[test]
    fn other_settings_and_damaged_results_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let plan = plan();
        run(&plan, folder.path(), &Mock::new(0.01), ONE, &Silent).unwrap();
        let mut other = plan.clone();
        other.class_agnostic = Some("die".into());
        assert!(matches!(
            run(&other, folder.path(), &Mock::new(0.01), ONE, &Silent),
            Err(ExperimentError::OtherPlan { .. })
        ));
        let broken = trial_folder(folder.path(), &plan.trials()[3]).join("result.json");
        std::fs::write(&broken, "{").unwrap();
        let error = load_results(&plan, folder.path()).unwrap_err().to_string();
        assert!(error.contains("r0-s100-seed7"), "{error}");
    }

    #[test]
    fn other_images_under_the_same_path_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let record = |labels: u32| DataRecord {
            real: PlanHash::of(&labels),
            left_out: Vec::new(),
        };
        record_data(folder.path(), &record(1)).unwrap();
        record_data(folder.path(), &record(1)).unwrap();
        let error = record_data(folder.path(), &record(2)).unwrap_err();
        assert!(matches!(error, ExperimentError::OtherData { .. }));
        assert_eq!(load_data(folder.path()).unwrap(), Some(record(1)));
    }

    #[test]
    fn an_undefined_ap_is_no_result() {
        struct NoBoxes;
        impl Executor for NoBoxes {
            fn units(&self, _: &Trial) -> u64 {
                1
            }

            fn run(
                &self,
                _: &Trial,
                _: &Path,
                _: &dyn Observer,
            ) -> Result<Measurement, ExperimentError> {
                Ok(Measurement {
                    stats: [-1.0; 12],
                    steps: 0,
                    ..Measurement::default()
                })
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let error = run(&plan(), folder.path(), &NoBoxes, ONE, &Silent).unwrap_err();
        assert!(error.to_string().contains("undefined"), "{error}");
        assert_eq!(progress(&plan(), folder.path()).unwrap().finished, 0);
    }

    #[test]
    fn a_folder_without_an_experiment_says_so() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            load_plan(folder.path()),
            Err(ExperimentError::NoExperiment { .. })
        ));
    }
}
