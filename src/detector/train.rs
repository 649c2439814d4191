//! The training loop.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use burn::module::{Module, ParamGroup};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::DetectorError;
use super::assignment::Grids;
use super::batch::{Batch, Batcher};
use super::checkpoint::{self, LogLine, ModelConfig, TrainState};
use super::config::{self, OptimizerSpec, TrainPlan, TrainSpec};
use super::events::EventFile;
use super::image_store::{StoredImage, load_all};
use super::layer::floats;
use super::letterbox::Letterbox;
use super::loss::{BatchTargets, LossTerms, loss};
use super::model::Model;
use super::ops;
use super::pretrained;
use super::segmentation::{PathLine, SegmentationLine};
use super::view::MIN_SIDE_PX;
use crate::annotation::BoundingBox;
use crate::dataset::{Dataset, DatasetError, Sample};
use crate::observer::Observer;
use crate::seed::{PlanHash, SeedKey};

/// Threads that prepare batches ahead of the training.
const WORKERS: u64 = 2;

/// Batches that each worker may be ahead.
const AHEAD: usize = 2;

/// Learning rate at the end of the cosine, as a share of the highest.
const FINAL_SHARE: f64 = 0.01;

/// What a training left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainOutcome {
    /// Where `config.json`, `model.safetensors` and `train_log.jsonl` are.
    pub folder: PathBuf,
    /// Hash of plan, data set and seed.
    pub run: PlanHash,
    pub steps: u64,
    /// Mean loss over the last line of the log.
    pub final_loss: f32,
    pub images_drawn: u64,
    pub real_images_drawn: u64,
    /// Step that an earlier run had reached; `steps` where it was complete.
    pub resumed_from: u64,
    /// Seconds from the first step of this run to the last.
    pub train_s: f64,
    /// Seconds of them in which the training waited for batches.
    pub waited_s: f64,
    /// The last line of the log's, where the network has a segmentation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segmentation: Option<SegmentationLine>,
}

/// Trains a detector on all images of `train` and writes it to `out`.
///
/// The same plan, data set and seed give the same weights, bit for bit, on one kind
/// of machine, for any number of threads and however often the training is
/// interrupted. Where `out` holds the complete result already it returns at once.
///
/// # Errors
/// A set without images or boxes, an unreadable image, a loss that is not a number,
/// a folder with another training, a full disk.
pub fn train(
    plan: &TrainPlan,
    train: &Dataset,
    seed: u64,
    out: &Path,
    observer: &dyn Observer,
) -> Result<TrainOutcome, DetectorError> {
    train_until(plan, train, seed, out, observer, plan.steps)?.ok_or_else(|| {
        DetectorError::Worker {
            step: plan.steps,
            message: "the training ended early".to_owned(),
        }
    })
}

/// As [`train`], but stops after step `stop` as if it were interrupted there.
fn train_until(
    plan: &TrainPlan,
    train: &Dataset,
    seed: u64,
    out: &Path,
    observer: &dyn Observer,
    stop: u64,
) -> Result<Option<TrainOutcome>, DetectorError> {
    let merged;
    let train = match &plan.class_agnostic {
        Some(name) => {
            merged = config::class_agnostic(train, name);
            &merged
        }
        None => train,
    };
    check(plan, train)?;
    let device = plan.device.open()?;
    let config = model_config(plan, train, seed)?;
    if let Some(earlier) = ModelConfig::read(out)? {
        if earlier.run != config.run {
            return Err(DetectorError::Occupied {
                path: out.to_owned(),
            });
        }
        if let Some(outcome) = checkpoint::finished(out, &config) {
            checkpoint::clear(out)?;
            return Ok(Some(outcome));
        }
    } else if checkpoint::holds_foreign_files(out) {
        return Err(DetectorError::Occupied {
            path: out.to_owned(),
        });
    }
    let key = SeedKey::new(b"train", seed);
    if let Some(start) = &plan.start {
        // Weights that do not fit must show before the folder is this training's.
        let model = Model::unsized_for(plan, config.classes.len(), key);
        pretrained::begin_with(model, &start.weights, plan)?;
    }
    // So must an image that cannot be read, whose removal makes this another training.
    let images = load_all(train, plan.input, plan.segmentation.is_some(), observer)?;
    std::fs::create_dir_all(out).map_err(|error| DetectorError::Write {
        path: out.to_owned(),
        message: error.to_string(),
    })?;
    config.write(out)?;
    let mut state = begin(plan, &device, &config, &images, key, out)?;
    let resumed_from = state.step;
    let batcher = Batcher::new(plan, &images, config.classes.len(), key);
    let began = observer.elapsed();
    observer.begin("train", plan.steps, state.step);
    let result = run(&config, &device, &batcher, &mut state, out, observer, stop);
    observer.end();
    ops::forget_memory();
    let waited = match result {
        Ok(waited) => waited,
        Err(error) => {
            // The log shows how it came to that; the error itself is the one to report.
            let _ = checkpoint::write_log(out, &state.log);
            return Err(error);
        }
    };
    if state.step < plan.steps {
        return Ok(None);
    }
    checkpoint::write_log(out, &state.log)?;
    let average = state.model.valid().with_tensors(state.average);
    checkpoint::save_weights(out, &average)?;
    checkpoint::clear(out)?;
    let outcome = checkpoint::finished(out, &config);
    Ok(outcome.map(|outcome| TrainOutcome {
        resumed_from,
        train_s: (observer.elapsed() - began).as_secs_f64(),
        waited_s: waited.as_secs_f64(),
        ..outcome
    }))
}

/// How many objects teach nothing, as a side of theirs is under two pixels at the input's size.
pub fn too_small(plan: &TrainPlan, dataset: &Dataset) -> usize {
    let small = |sample: &Sample| {
        let letterbox = Letterbox::fit(sample.width, sample.height, plan.input);
        let objects = sample.annotations.iter().filter(|label| !label.is_crowd);
        let sides = objects.map(move |annotation| {
            let seen = letterbox.to_input(&annotation.bbox);
            seen.width.min(seen.height)
        });
        sides.filter(|side| *side < MIN_SIDE_PX).count()
    };
    dataset.samples.iter().map(small).sum()
}

fn check(plan: &TrainPlan, train: &Dataset) -> Result<(), DetectorError> {
    let root = train.root.clone();
    let images = train.samples.len();
    if images == 0 {
        return Err(DetectorError::NoImages { root });
    }
    let teaches =
        |sample: &&Sample| plan.loss.synthetic_weight > 0.0 || sample.record.counts_as_real();
    let samples = train.samples.iter().filter(teaches);
    let mut annotations = samples.flat_map(|sample| &sample.annotations);
    if annotations.all(|annotation| annotation.is_crowd) {
        return Err(DetectorError::NoBoxes { root, images });
    }
    Ok(())
}

/// What stands for an image in the hash of a run.
#[derive(Serialize)]
struct HashedImage {
    id: u64,
    content: String,
    size: [u32; 2],
    is_real: bool,
    /// Category, box and whether it is a crowd region.
    annotations: Vec<(u32, BoundingBox, bool)>,
}

fn model_config(
    plan: &TrainPlan,
    train: &Dataset,
    seed: u64,
) -> Result<ModelConfig, DetectorError> {
    let mut hashed = Vec::new();
    for sample in &train.samples {
        let content = if sample.record.hash.is_empty() {
            let bytes = std::fs::read(&sample.path).map_err(|source| DatasetError::Read {
                path: sample.path.clone(),
                source,
            })?;
            blake3::hash(&bytes).to_hex().to_string()
        } else {
            sample.record.hash.clone()
        };
        hashed.push(HashedImage {
            id: sample.id,
            content,
            size: [sample.width, sample.height],
            is_real: sample.record.counts_as_real(),
            annotations: sample
                .annotations
                .iter()
                .map(|label| (label.category_id, label.bbox, label.is_crowd))
                .collect(),
        });
    }
    // What stands in the weights counts, not where they lie.
    let mut pathless = TrainSpec::clone(plan);
    if let Some(start) = &mut pathless.start {
        start.weights = PathBuf::new();
    }
    let start = match &plan.start {
        Some(start) => Some(pretrained::content(&start.weights)?),
        None => None,
    };
    let real_images = hashed.iter().filter(|image| image.is_real).count();
    Ok(ModelConfig {
        run: PlanHash::of(&(pathless, &train.categories, &hashed, seed, start)),
        plan: plan.clone(),
        seed,
        classes: train
            .categories
            .iter()
            .map(|category| category.name.clone())
            .collect(),
        images: train.samples.len(),
        real_images,
        boxes: train.box_count(),
    })
}

/// The state that the training goes on from: a checkpoint's or a fresh one.
fn begin(
    plan: &TrainPlan,
    device: &Device,
    config: &ModelConfig,
    images: &[StoredImage],
    key: SeedKey,
    out: &Path,
) -> Result<TrainState, DetectorError> {
    let boxes = images.iter().flat_map(|image| &image.targets);
    let log_sizes = Grids::of(plan.input, &plan.output_strides)
        .typical_log_sizes(boxes.map(|target| &target.bbox));
    let plain = Model::new(plan, config.classes.len(), &log_sizes, key).fork(device);
    let make_optimizer = |model: &Model| optimizer(&plan.optimizer, model);
    let resumed = checkpoint::resume(out, &config.run, &plain, make_optimizer)?;
    let mut state = match (resumed, &plan.start) {
        (Some(state), _) => state,
        (None, start) => {
            let plain = match start {
                Some(start) => pretrained::begin_with(plain, &start.weights, plan)?,
                None => plain,
            };
            TrainState {
                step: 0,
                optimizer: make_optimizer(&plain),
                average: plain.tensors(),
                model: plain.train(),
                log: Vec::new(),
            }
        }
    };
    if backbone_rate(plan) == 0.0 {
        state.model = state.model.with_frozen_backbone();
    }
    Ok(state)
}

/// Learning rate of the backbone as a share of that of the rest.
fn backbone_rate(plan: &TrainPlan) -> f64 {
    plan.start.as_ref().map_or(1.0, |start| start.backbone_rate)
}

pub(super) fn optimizer(spec: &OptimizerSpec, model: &Model) -> ModuleOptimizer {
    let decayed = ParamGroup::from_ids(model.decayed_parameters());
    match *spec {
        OptimizerSpec::Adamw { weight_decay, .. } => {
            let with = |decay: f64| {
                AdamWConfig::new()
                    .with_epsilon(1e-8)
                    .with_weight_decay(decay as f32)
            };
            with(0.0)
                .init()
                .with_group(decayed, with(weight_decay).build(), None)
        }
        OptimizerSpec::Sgd {
            momentum,
            weight_decay,
            ..
        } => {
            let with = |decay: Option<f64>| {
                let momentum = MomentumConfig::new()
                    .with_momentum(momentum)
                    .with_dampening(0.0);
                SgdConfig::new()
                    .with_momentum(Some(momentum))
                    .with_weight_decay(decay.map(|decay| WeightDecayConfig::new(decay as f32)))
            };
            with(None)
                .init()
                .with_group(decayed, with(Some(weight_decay)).build(), None)
        }
    }
}

/// Learning rate of a step: a line up from 0, then half a cosine down.
fn learning_rate(plan: &TrainPlan, step: u64) -> f64 {
    let peak = plan.optimizer.learning_rate();
    if step < plan.warmup_steps {
        return peak * (step + 1) as f64 / (plan.warmup_steps + 1) as f64;
    }
    let done = (step - plan.warmup_steps) as f64 / (plan.steps - plan.warmup_steps) as f64;
    let share = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
    peak * (FINAL_SHARE + (1.0 - FINAL_SHARE) * share)
}

/// Prepares batches on worker threads and takes the steps up to `stop`. Returns how long
/// these waited for batches.
fn run(
    config: &ModelConfig,
    device: &Device,
    batcher: &Batcher,
    state: &mut TrainState,
    out: &Path,
    observer: &dyn Observer,
    stop: u64,
) -> Result<Duration, DetectorError> {
    let plan = &config.plan;
    let (from, stop) = (state.step, stop.min(plan.steps));
    let mut events = EventFile::begin(out, &state.log)?;
    std::thread::scope(|scope| {
        let receivers: Vec<Receiver<Batch>> = (0..WORKERS)
            .map(|worker| {
                let (sender, receiver) = sync_channel(AHEAD);
                scope.spawn(move || {
                    let own = (from..stop).filter(|step| step % WORKERS == worker);
                    for step in own {
                        // A closed channel means that the training has ended early.
                        if sender.send(batcher.batch(step)).is_err() {
                            break;
                        }
                    }
                });
                receiver
            })
            .collect();
        let mut meter = Meter::default();
        for step in from..stop {
            let asked = observer.elapsed();
            let batch = receivers[(step % WORKERS) as usize]
                .recv()
                .map_err(|error| DetectorError::Worker {
                    step,
                    message: error.to_string(),
                })?;
            meter.waited += observer.elapsed() - asked;
            let images = images(plan, batch.pixels, device);
            take_step(plan, state, images, &batch.targets, &mut meter)?;
            observer.advance(1);
            let is_last = state.step == plan.steps;
            if state.step.is_multiple_of(plan.log_every) || is_last {
                let line = meter.line(plan, batcher, state.step, observer);
                events.add(&line)?;
                state.log.push(line);
            }
            let is_due =
                plan.checkpoint_every > 0 && state.step.is_multiple_of(plan.checkpoint_every);
            if is_due && !is_last {
                checkpoint::save(out, &config.run, state)?;
                checkpoint::write_log(out, &state.log)?;
            }
        }
        Ok(meter.waited)
    })
}

/// The images of a batch as a training takes them, `[batch, height, width, 3]`.
pub(super) fn images(plan: &TrainPlan, pixels: Vec<f32>, device: &Device) -> Tensor<4> {
    let size = plan.training_size();
    let shape = [plan.batch_size, size.height, size.width, 3];
    Tensor::from_data(TensorData::new(pixels, shape), &device.clone().autodiff())
}

pub(super) fn take_step(
    plan: &TrainPlan,
    state: &mut TrainState,
    images: Tensor<4>,
    targets: &BatchTargets,
    meter: &mut Meter,
) -> Result<(), DetectorError> {
    let terms = loss(state.model.forward(images), targets, plan);
    let mut gradients = terms.total.backward();
    meter.add(&terms, state.model.path_gradients(&gradients));
    let value = meter.last;
    if !value.is_finite() {
        return Err(DetectorError::Diverged {
            step: state.step,
            loss: value,
        });
    }
    let rate = learning_rate(plan, state.step);
    let share = backbone_rate(plan);
    if share < 1.0 {
        let backbone = state.model.backbone_parameters();
        let own = GradientsParams::from_params(&mut gradients, &state.model, &backbone);
        state.model = state.optimizer.step(rate * share, state.model.clone(), own);
    }
    let rest = GradientsParams::from_grads(gradients, &state.model);
    state.model = state.optimizer.step(rate, state.model.clone(), rest);
    state.step += 1;
    average(state, plan.weight_averaging);
    Ok(())
}

/// Moves the running average towards the weights. Early on it follows closely, so
/// that the random beginning is forgotten.
fn average(state: &mut TrainState, decay: f64) {
    let step = state.step as f64;
    let now = state.model.valid().tensors();
    if decay == 0.0 {
        state.average = now;
        return;
    }
    let share = 1.0 - decay.min(step / (step + 9.0)) as f32;
    for (mean, now) in state.average.iter_mut().zip(now) {
        *mean = mean.clone() + (now - mean.clone()) * share;
    }
}

/// Means of the loss terms since the last line of the log.
#[derive(Default)]
pub(super) struct Meter {
    /// In the order of [`Meter::add`].
    sums: Vec<f64>,
    count: u64,
    last: f32,
    /// Time that steps have waited for batches, since the beginning.
    waited: Duration,
}

impl Meter {
    /// The loss that was added last.
    pub fn last(&self) -> f32 {
        self.last
    }

    /// Adds the terms of a step, and the gradient of each path of the segmentation.
    fn add(&mut self, terms: &LossTerms, path_gradients: Vec<Tensor<1>>) {
        let mut ordered = vec![
            terms.total.clone(),
            terms.objectness.clone(),
            terms.bounding_box.clone(),
            terms.class.clone(),
            terms.image_class.clone(),
        ];
        if let Some(masks) = &terms.masks {
            ordered.push(masks.joined.clone());
            for (path, gradient) in masks.paths.iter().zip(path_gradients) {
                ordered.extend([path.own.clone(), gradient, path.without.clone()]);
            }
        }
        // Together, since every read waits for the device.
        let values = floats(Tensor::cat(ordered, 0));
        self.sums.resize(values.len(), 0.0);
        for (sum, &value) in self.sums.iter_mut().zip(&values) {
            *sum += f64::from(value);
        }
        self.count += 1;
        self.last = values[0];
    }

    fn line(
        &mut self,
        plan: &TrainPlan,
        batcher: &Batcher,
        step: u64,
        observer: &dyn Observer,
    ) -> LogLine {
        let mean = |sum: &f64| (sum / self.count.max(1) as f64) as f32;
        let mut means = self.sums.iter().map(mean);
        let mut next = || means.next().unwrap_or_default();
        let [total, objectness, bounding_box, class, image_class] = [(); 5].map(|()| next());
        let segmentation = plan.segmentation.as_ref().map(|spec| SegmentationLine {
            loss: next(),
            paths: spec
                .strides
                .iter()
                .map(|&stride| PathLine {
                    stride,
                    loss: next(),
                    gradient: next(),
                    loss_without: next(),
                })
                .collect(),
        });
        *self = Meter {
            waited: self.waited,
            ..Meter::default()
        };
        LogLine {
            step,
            loss: total,
            objectness,
            bounding_box,
            class,
            image_class,
            learning_rate: learning_rate(plan, step.saturating_sub(1)),
            images: step * plan.batch_size as u64,
            real_images: batcher.composition().real_before(step),
            elapsed_s: observer.elapsed().as_secs_f64(),
            waited_s: self.waited.as_secs_f64(),
            segmentation,
        }
    }
}

#[cfg(test)]
mod tests;
