//! `admix augment`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::progress::Progress;
use super::{Common, UserMistake};
use crate::augment::{Action, AugmentPlan, AugmentSpec, Library, Step, augment_dataset};
use crate::dataset::{Dataset, Split};
use crate::observer::Observer;

/// Arguments of `admix augment`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  admix augment presets/exposure_quality.yaml -i data/real -o runs/degraded --split train
  admix augment presets/exposure_quality.yaml -i data/real -o runs/degraded --seed 3 --dry-run
  admix augment presets/exposure_quality.yaml -i data/real -o runs/dark --set steps.0.transform.exposure.ev=-2
  admix augment presets/low_light.yaml -i data/real -o runs/night --severity 4")]
pub struct AugmentArgs {
    /// What may be drawn.
    #[arg(value_name = "PRESET.yaml")]
    preset: PathBuf,
    /// Data set to augment.
    #[arg(short, long, value_name = "DIR")]
    input: PathBuf,
    /// Folder of the result. A run that was interrupted goes on there.
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Only this split: train, val or test.
    #[arg(long)]
    split: Option<Split>,
    /// Dose of the preset's ladder, from 1 for the least.
    #[arg(long, value_name = "N")]
    severity: Option<usize>,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: AugmentArgs) -> anyhow::Result<()> {
    let common = &args.common;
    let spec = AugmentSpec::load(&args.preset, &common.overrides, args.severity)?;
    let plan = spec.into_plan(&args.preset)?;
    let progress = Progress::new(common.json);
    let mut input = Dataset::open(&args.input)?;
    for warning in &input.warnings {
        progress.message(&format!("warning: {warning}"));
    }
    if let Some(split) = args.split {
        input = input.split(split);
    }
    refuse_empty(&input, &args.input, args.split)?;
    if common.dry_run {
        return print_plan(&args, &plan, &input);
    }
    let workers = rayon::ThreadPoolBuilder::new()
        .num_threads(common.jobs())
        .build()?;
    let (_, summary) =
        workers.install(|| augment_dataset(&plan, &input, common.seed, &args.out, &progress))?;
    if common.json {
        let result =
            json!({"out": args.out, "seed": common.seed, "summary": summary, "plan": plan});
        println!("{result}");
    } else {
        println!(
            "{}: {} images with {} labels; {} labels cut at the edge, {} dropped",
            args.out.display(),
            summary.images,
            summary.labels,
            summary.cut,
            summary.dropped
        );
        for (fault, labels) in &summary.faults {
            println!("{fault}: {labels} labels, named in manifest.jsonl");
        }
    }
    Ok(())
}

/// Refuses a data set, or a part of it, without images.
pub(super) fn refuse_empty(
    part: &Dataset,
    folder: &Path,
    split: Option<Split>,
) -> Result<(), UserMistake> {
    if !part.samples.is_empty() {
        return Ok(());
    }
    let folder = folder.display();
    Err(UserMistake(match split {
        Some(split) => {
            format!(
                "{folder} has no images in its {split} split; leave the split out for all images"
            )
        }
        None => format!("{folder} has no images"),
    }))
}

/// The steps in their order, and what the first images would get.
fn print_plan(args: &AugmentArgs, plan: &AugmentPlan, input: &Dataset) -> anyhow::Result<()> {
    const SHOWN: usize = 3;
    let seed = args.common.seed;
    let library = Library::open(plan, input)?;
    let drawn: Vec<_> = input
        .samples
        .iter()
        .take(SHOWN)
        .map(|sample| {
            let name = &sample.file_name;
            (name, plan.draw(seed, name, &library))
        })
        .collect();
    if args.common.json {
        let first: Vec<_> = drawn
            .iter()
            .map(|(name, transforms)| json!({"file_name": name, "transforms": transforms}))
            .collect();
        let images = input.samples.len();
        let result =
            json!({"out": args.out, "images": images, "seed": seed, "plan": plan, "first": first});
        println!("{result}");
        return Ok(());
    }
    println!(
        "{} images would go to {}, seed {seed}. Steps in the order in which they are applied:",
        input.samples.len(),
        args.out.display()
    );
    for step in plan.steps() {
        print_step(step, 1)?;
    }
    for (name, transforms) in drawn {
        println!("{name}: {}", serde_json::to_string(&transforms)?);
    }
    Ok(())
}

/// A step on a line; those of a group below it.
fn print_step(step: &Step, depth: usize) -> anyhow::Result<()> {
    let indent = "  ".repeat(depth);
    let share = 100.0 * step.probability;
    let (name, steps) = match &step.action {
        Action::Transform(transform) => {
            let transform = serde_json::to_string(transform)?;
            println!("{indent}{share:>5.1} %  {transform}");
            return Ok(());
        }
        Action::OneOf(steps) => ("one of", steps),
        Action::InOrder(steps) => ("in order", steps),
        Action::Shuffled(steps) => ("shuffled", steps),
    };
    println!("{indent}{share:>5.1} %  {name}:");
    steps
        .iter()
        .try_for_each(|step| print_step(step, depth + 2))
}
