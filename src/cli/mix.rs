//! `admix mix`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::Common;
use super::progress::Progress;
use crate::dataset::Dataset;
use crate::mix::{self, MixSpec, Pool};
use crate::spec;

/// Arguments of `admix mix`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  admix mix presets/mix_substitution.yaml -o runs/mix25 --set policy.substitution.share=0.25
  admix mix presets/mix_addition.yaml -o runs/plus500 --set policy.addition.synthetic=500 --seed 3
  admix mix presets/mix_addition.yaml -o runs/plus500 --dry-run --json")]
pub struct MixArgs {
    /// What to mix.
    #[arg(value_name = "MIX.yaml")]
    spec: PathBuf,
    /// Folder of the training set; it must not exist yet.
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Skip the search for copies of val and test images, which decodes every image.
    #[arg(long)]
    skip_leakage_check: bool,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: MixArgs) -> anyhow::Result<()> {
    let common = &args.common;
    let spec: MixSpec = spec::load(&args.spec, &common.overrides)?;
    let seed = spec.seed.unwrap_or(common.seed);
    let plan = spec.into_plan(&args.spec)?;
    let progress = Progress::new(common.json);
    let real = Dataset::open(&plan.real.path)?;
    let synthetic = match &plan.synthetic {
        Some(source) => Dataset::open(&source.path)?,
        None => real.filtered(|_| false),
    };
    let mixture = mix::draw(&plan, &real, &synthetic, seed)?;
    let summary = json!({
        "out": args.out,
        "seed": seed,
        "real": mixture.count(Pool::Real),
        "synthetic": mixture.count(Pool::Synthetic),
        "classes": mixture.categories.iter().map(|c| &c.name).collect::<Vec<_>>(),
        "plan": plan,
    });
    if !common.dry_run {
        if !args.skip_leakage_check {
            let workers = rayon::ThreadPoolBuilder::new()
                .num_threads(common.jobs())
                .build()?;
            let held_out = real.filtered(|sample| {
                sample
                    .record
                    .split
                    .is_some_and(|split| split != plan.real.split)
            });
            workers.install(|| mix::check_leakage(&mixture.to_dataset(), &held_out))?;
        }
        mixture.write(&args.out, &progress)?;
    }
    if common.json {
        println!("{summary}");
    } else {
        println!(
            "{}: {} real + {} synthetic images, seed {seed}{}",
            args.out.display(),
            mixture.count(Pool::Real),
            mixture.count(Pool::Synthetic),
            if common.dry_run {
                " (nothing written)"
            } else {
                ""
            }
        );
    }
    Ok(())
}
