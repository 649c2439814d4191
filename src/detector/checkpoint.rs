//! The files of a training: what it is of, what it resumes from, what it leaves.
//!
//! `config.json` comes first and says whose folder it is, `checkpoint/` is there
//! while the training runs, and `model.safetensors` comes last: where it stands the
//! training is complete.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::store::{ModuleSnapshot, SafetensorsStore};
use burn::tensor::Tensor;
use safetensors::{SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};

use super::config::TrainPlan;
use super::model::Model;
use super::segmentation::SegmentationLine;
use super::{DetectorError, TrainOutcome};
use crate::dataset::write_atomically;
use crate::seed::PlanHash;

pub(super) const MODEL_FILE: &str = "model.safetensors";
pub(super) const LOG_FILE: &str = "train_log.jsonl";
const CONFIG_FILE: &str = "config.json";
const CHECKPOINT_FOLDER: &str = "checkpoint";

/// `config.json`: everything that is needed to use the weights or to make them anew.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ModelConfig {
    /// Hash of plan, data set and seed.
    pub run: PlanHash,
    pub plan: TrainPlan,
    pub seed: u64,
    /// Names of the classes in the order of the class logits.
    pub classes: Vec<String>,
    pub images: usize,
    pub real_images: usize,
    pub boxes: usize,
}

impl ModelConfig {
    pub fn read(folder: &Path) -> Result<Option<Self>, DetectorError> {
        let path = folder.join(CONFIG_FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(&path, error)),
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| unusable(&path, error))
    }

    pub fn write(&self, folder: &Path) -> Result<(), DetectorError> {
        write_json(&folder.join(CONFIG_FILE), self)
    }
}

/// One line of `train_log.jsonl`: means over the steps since the line before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// Steps done.
    pub step: u64,
    pub loss: f32,
    pub objectness: f32,
    #[serde(rename = "box")]
    pub bounding_box: f32,
    pub class: f32,
    #[serde(default)]
    pub image_class: f32,
    pub learning_rate: f64,
    /// Images drawn so far, and how many of them count as real.
    pub images: u64,
    pub real_images: u64,
    /// Time since the program began.
    pub elapsed_s: f64,
    /// Time that this run's steps have waited for batches.
    #[serde(default)]
    pub waited_s: f64,
    /// Where the network has a segmentation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segmentation: Option<SegmentationLine>,
}

/// What a training resumes from.
#[derive(Serialize, Deserialize)]
struct Progress {
    run: PlanHash,
    step: u64,
    log: Vec<LogLine>,
}

/// The state of a training after some steps.
pub(super) struct TrainState {
    /// Steps done.
    pub step: u64,
    /// On an autodiff device.
    pub model: Model,
    pub optimizer: ModuleOptimizer,
    /// Running average of [`Model::tensors`], without autodiff.
    pub average: Vec<Tensor<1>>,
    pub log: Vec<LogLine>,
}

pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), DetectorError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| unwritable(path, error))?;
    bytes.push(b'\n');
    Ok(write_atomically(path, &bytes)?)
}

pub(super) fn write_log(folder: &Path, log: &[LogLine]) -> Result<(), DetectorError> {
    let path = folder.join(LOG_FILE);
    let mut text = String::new();
    for line in log {
        text += &serde_json::to_string(line).map_err(|error| unwritable(&path, error))?;
        text.push('\n');
    }
    Ok(write_atomically(&path, text.as_bytes())?)
}

fn unwritable(path: &Path, error: impl std::fmt::Display) -> DetectorError {
    DetectorError::Write {
        path: path.to_owned(),
        message: error.to_string(),
    }
}

fn unusable(path: &Path, error: impl std::fmt::Display) -> DetectorError {
    DetectorError::Model {
        path: path.to_owned(),
        message: error.to_string(),
    }
}

/// Writes `model.safetensors`.
pub(super) fn save_weights(folder: &Path, model: &Model) -> Result<(), DetectorError> {
    let path = folder.join(MODEL_FILE);
    let mut store = SafetensorsStore::from_bytes(None);
    model
        .save_into(&mut store)
        .map_err(|error| unwritable(&path, error))?;
    let bytes = store
        .get_bytes()
        .map_err(|error| unwritable(&path, error))?;
    let bytes = in_order(&bytes).map_err(|error| unwritable(&path, error))?;
    Ok(write_atomically(&path, &bytes)?)
}

/// The same tensors in the order of their names and without the parameters' identifiers, which
/// are random: the same weights make the same file.
fn in_order(bytes: &[u8]) -> Result<Vec<u8>, SafeTensorError> {
    let tensors = SafeTensors::deserialize(bytes)?;
    let by_name: BTreeMap<_, _> = tensors.tensors().into_iter().collect();
    safetensors::serialize(by_name, None)
}

/// Reads `model.safetensors` into a model of the same plan.
pub(super) fn load_weights(folder: &Path, model: &mut Model) -> Result<(), DetectorError> {
    let path = folder.join(MODEL_FILE);
    let bytes = std::fs::read(&path).map_err(|error| unusable(&path, error))?;
    let mut store = SafetensorsStore::from_bytes(Some(bytes));
    let result = model
        .load_from(&mut store)
        .map_err(|error| unusable(&path, error))?;
    if !result.errors.is_empty() || !result.missing.is_empty() {
        return Err(unusable(&path, "its weights do not fit config.json"));
    }
    Ok(())
}

/// Replaces the checkpoint in `folder` by `state`, all of it or nothing.
pub(super) fn save(folder: &Path, run: &PlanHash, state: &TrainState) -> Result<(), DetectorError> {
    let whole = folder.join(CHECKPOINT_FOLDER);
    let partial = folder.join(format!("{CHECKPOINT_FOLDER}.partial"));
    let old = folder.join(format!("{CHECKPOINT_FOLDER}.old"));
    let io = |error: std::io::Error| unwritable(&whole, error);
    remove_folder(&partial)?;
    std::fs::create_dir_all(&partial).map_err(io)?;
    let model = state.model.valid();
    // A clone would share its running statistics with the model and overwrite them.
    let average = state.model.valid().with_tensors(state.average.clone());
    for (name, module) in [("model", model), ("average", average)] {
        let path = partial.join(format!("{name}.bpk"));
        module
            .save_file(&path)
            .map_err(|error| unwritable(&path, error))?;
    }
    let path = partial.join("optimizer.bpk");
    state
        .optimizer
        .save(&path)
        .map_err(|error| unwritable(&path, error))?;
    let progress = Progress {
        run: run.clone(),
        step: state.step,
        log: state.log.clone(),
    };
    write_json(&partial.join("progress.json"), &progress)?;
    if whole.exists() {
        // Only now: after a kill between the two renames the old one is the only one.
        remove_folder(&old)?;
        std::fs::rename(&whole, &old).map_err(io)?;
    }
    std::fs::rename(&partial, &whole).map_err(io)?;
    remove_folder(&old)
}

/// The checkpoint in `folder`, if there is a whole one of this run. `fresh` is the
/// state that the training began with; its weights are replaced.
pub(super) fn resume(
    folder: &Path,
    run: &PlanHash,
    plain_model: &Model,
    make_optimizer: impl Fn(&Model) -> ModuleOptimizer,
) -> Result<Option<TrainState>, DetectorError> {
    let places = [CHECKPOINT_FOLDER, "checkpoint.old"].map(|name| folder.join(name));
    let Some((place, progress)) = places.into_iter().find_map(|place| {
        let bytes = std::fs::read(place.join("progress.json")).ok()?;
        let progress: Progress = serde_json::from_slice(&bytes).ok()?;
        (progress.run == *run).then_some((place, progress))
    }) else {
        return Ok(None);
    };
    let damaged = |error: &dyn std::fmt::Display| DetectorError::Checkpoint {
        path: place.clone(),
        message: error.to_string(),
    };
    let load = |name: &str| {
        let path = place.join(format!("{name}.bpk"));
        plain_model
            .clone()
            .try_load_file(&path)
            .map_err(|error| damaged(&error))
    };
    let model = load("model")?;
    let path: PathBuf = place.join("optimizer.bpk");
    let optimizer = make_optimizer(&model)
        .load(&path)
        .map_err(|error| damaged(&error))?;
    // `train` gives the model running statistics of its own, before the average is
    // loaded into those that clones share.
    let model = model.train();
    let average = load("average")?.tensors();
    Ok(Some(TrainState {
        step: progress.step,
        model,
        optimizer,
        average,
        log: progress.log,
    }))
}

/// Whether a folder without `config.json` holds files that a training would replace.
pub(super) fn holds_foreign_files(folder: &Path) -> bool {
    [MODEL_FILE, LOG_FILE]
        .iter()
        .any(|name| folder.join(name).exists())
}

/// Removes what only an unfinished training needs.
pub(super) fn clear(folder: &Path) -> Result<(), DetectorError> {
    for name in ["checkpoint", "checkpoint.old", "checkpoint.partial"] {
        remove_folder(&folder.join(name))?;
    }
    Ok(())
}

fn remove_folder(path: &Path) -> Result<(), DetectorError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(unwritable(path, error)),
        _ => Ok(()),
    }
}

/// The outcome of a complete training of this run in `folder`, if there is one.
pub(super) fn finished(folder: &Path, config: &ModelConfig) -> Option<TrainOutcome> {
    if !folder.join(MODEL_FILE).is_file() {
        return None;
    }
    let text = std::fs::read_to_string(folder.join(LOG_FILE)).ok()?;
    let last: LogLine = serde_json::from_str(text.lines().last()?).ok()?;
    Some(TrainOutcome {
        folder: folder.to_owned(),
        run: config.run.clone(),
        steps: config.plan.steps,
        final_loss: last.loss,
        images_drawn: last.images,
        real_images_drawn: last.real_images,
        resumed_from: config.plan.steps,
        train_s: 0.0,
        waited_s: 0.0,
        segmentation: last.segmentation,
    })
}
