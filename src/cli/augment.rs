//! `admix augment`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::Common;
use super::progress::Progress;
use crate::augment::{AugmentSpec, augment_dataset};
use crate::dataset::{Dataset, Split};
use crate::spec;

/// Arguments of `admix augment`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  admix augment presets/exposure_quality.yaml -i data/real -o runs/degraded --split train
  admix augment presets/exposure_quality.yaml -i data/real -o runs/degraded --seed 3 --dry-run")]
pub struct AugmentArgs {
    /// What may be drawn.
    #[arg(value_name = "PRESET.yaml")]
    preset: PathBuf,
    /// Data set to augment.
    #[arg(short, long, value_name = "DIR")]
    input: PathBuf,
    /// Folder of the result; it must not exist yet.
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Only this split: train, val or test.
    #[arg(long)]
    split: Option<Split>,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: AugmentArgs) -> anyhow::Result<()> {
    let common = &args.common;
    let spec: AugmentSpec = spec::load(&args.preset, &common.overrides)?;
    let plan = spec.into_plan(&args.preset)?;
    let mut input = Dataset::open(&args.input)?;
    if let Some(split) = args.split {
        input = input.split(split);
    }
    let summary =
        json!({"out": args.out, "images": input.samples.len(), "seed": common.seed, "plan": plan});
    if !common.dry_run {
        let workers = rayon::ThreadPoolBuilder::new()
            .num_threads(common.jobs())
            .build()?;
        let progress = Progress::new(common.json);
        workers.install(|| augment_dataset(&plan, &input, common.seed, &args.out, &progress))?;
    }
    if common.json || common.dry_run {
        println!("{summary}");
    } else {
        println!("{}: {} images", args.out.display(), input.samples.len());
    }
    Ok(())
}
