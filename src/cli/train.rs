//! `admix train`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::progress::Progress;
use super::{Common, UserMistake};
use crate::dataset::Dataset;
use crate::detector::{SegmentationLine, TrainSpec, too_small, train};
use crate::spec;

/// Arguments of `admix train`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  admix train presets/train.yaml --set data=photos -o runs/baseline
  admix train presets/train.yaml --set data=photos --set steps=300 --seed 2 -o runs/short
  admix train presets/train.yaml --set data=photos --set class_agnostic=die -o runs/one-class
  admix train presets/train.yaml --set data=photos --set start.weights=runs/synthetic \
      --set start.backbone_rate=0.1 --set optimizer.adamw.learning_rate=0.002 -o runs/tuned

The folder holds config.json, model.safetensors, train_log.jsonl and the same log for
TensorBoard (tensorboard --logdir DIR). The same command
again resumes an interrupted training, and does nothing where it is complete.")]
pub struct TrainArgs {
    /// The training: see presets/train.yaml for every key.
    spec: PathBuf,
    /// Folder to write the detector to.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: TrainArgs) -> anyhow::Result<()> {
    let common = &args.common;
    let spec: TrainSpec = spec::load(&args.spec, &common.overrides)?;
    let (data, split) = (spec.data.clone(), spec.split);
    let plan = spec.into_plan(&args.spec)?;
    if common.dry_run {
        println!("{}", serde_json::to_string_pretty(&plan)?);
        return Ok(());
    }
    let data = data.ok_or_else(|| {
        UserMistake(format!(
            "{}: data is missing; name a data set there or with --set data=FOLDER",
            args.spec.display()
        ))
    })?;
    use_threads(common);
    let progress = Progress::new(false);
    let dataset = training_part(&Dataset::open(&data)?, split);
    for warning in &dataset.warnings {
        crate::observer::Observer::message(&progress, &warning.to_string());
    }
    let small = too_small(&plan, &dataset);
    if small > 0 {
        let text = format!(
            "{small} of {} objects have a side under 2 pixels at the input's size and teach nothing; raise `input`",
            dataset.box_count()
        );
        crate::observer::Observer::message(&progress, &text);
    }
    let outcome = train(&plan, &dataset, common.seed, &args.output, &progress)
        .with_context(|| format!("training on {}", data.display()))?;
    if common.json {
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        println!(
            "{}: {} steps in {:.1} s ({:.1} images/s; {:.1} % waiting for data), {} images drawn, {} of them real, final loss {:.4}",
            outcome.folder.display(),
            outcome.steps,
            outcome.train_s,
            images_per_s(&outcome, plan.batch_size),
            100.0 * outcome.waited_s / outcome.train_s.max(1e-9),
            outcome.images_drawn,
            outcome.real_images_drawn,
            outcome.final_loss
        );
        if let Some(segmentation) = &outcome.segmentation {
            print_paths(segmentation);
        }
    }
    Ok(())
}

/// What each path of a segmentation learnt with and does, at the end of a training.
fn print_paths(segmentation: &SegmentationLine) {
    println!("masks: loss {:.4}", segmentation.loss);
    for path in &segmentation.paths {
        println!(
            "  path of stride {:<2}  gradient {:.4}  own loss {:.4}  loss without it {:.4}",
            path.stride, path.gradient, path.loss, path.loss_without
        );
    }
}

fn images_per_s(outcome: &crate::detector::TrainOutcome, batch_size: usize) -> f64 {
    let images = (outcome.steps - outcome.resumed_from) * batch_size as u64;
    images as f64 / outcome.train_s.max(1e-9)
}

/// A split, or the whole of a data set that has none.
pub(super) fn training_part(dataset: &Dataset, split: crate::dataset::Split) -> Dataset {
    let has_splits = dataset
        .samples
        .iter()
        .any(|sample| sample.record.split.is_some());
    let mut part = if has_splits {
        dataset.split(split)
    } else {
        dataset.clone()
    };
    part.warnings = dataset.warnings.clone();
    part
}

/// Bounds the threads of the network and of the decoders.
pub(super) fn use_threads(common: &Common) {
    // The pool can be built only once; a second try changes nothing and is harmless.
    let _ = rayon::ThreadPoolBuilder::new()
        .num_threads(common.jobs())
        .build_global();
}
