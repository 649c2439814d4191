//! `admix mix`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::Common;
use super::progress::Progress;
use crate::dataset::Dataset;
use crate::mix::{self, HeldOut, MixError, MixSpec, Pool, held_out_part};
use crate::observer::Observer;
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
    /// Folder of the training set. A run that was interrupted goes on there.
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: MixArgs) -> anyhow::Result<()> {
    let common = &args.common;
    let spec: MixSpec = spec::load(&args.spec, &common.overrides)?;
    let seed = spec.seed.unwrap_or(common.seed);
    let plan = spec.into_plan(&args.spec)?;
    let progress = Progress::new(common.json);
    let open = |path: &Path| {
        let dataset = Dataset::open(path)?;
        for warning in &dataset.warnings {
            progress.message(&format!("warning: {}: {warning}", path.display()));
        }
        Ok::<_, anyhow::Error>(dataset)
    };
    let real = open(&plan.real.path)?;
    let synthetic = plan.synthetic.as_ref().map(|source| open(&source.path));
    let synthetic = synthetic.transpose()?;
    let mut unseen: Vec<Dataset> = [Some(&real), synthetic.as_ref()]
        .into_iter()
        .flatten()
        .map(held_out_part)
        .collect();
    for path in &plan.held_out {
        let dataset = open(path)?;
        let has_splits = dataset.samples.iter().any(|s| s.record.split.is_some());
        unseen.push(if has_splits {
            held_out_part(&dataset)
        } else {
            dataset
        });
    }
    let workers = rayon::ThreadPoolBuilder::new()
        .num_threads(common.jobs())
        .build()?;
    let (mixture, compared) = workers.install(|| {
        let held_out = HeldOut::of(&unseen.iter().collect::<Vec<_>>(), &progress)?;
        let mixture = mix::draw(&plan, &real, synthetic.as_ref(), &held_out, seed, &progress)?;
        Ok::<_, MixError>((mixture, held_out.len()))
    })?;
    if !common.dry_run {
        mixture.write(&args.out, &progress)?;
    }
    if common.json {
        let result = json!({
            "out": args.out,
            "seed": seed,
            "real": mixture.count(Pool::Real),
            "synthetic": mixture.count(Pool::Synthetic),
            "held_out_compared": compared,
            "classes": mixture.class_counts(),
            "plan": plan,
        });
        println!("{result}");
        return Ok(());
    }
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
    for class in mixture.class_counts() {
        let ([real, synthetic], boxes) = (class.images, class.boxes);
        println!(
            "  {}: in {real} + {synthetic} images, {} + {} boxes",
            class.name, boxes[0], boxes[1]
        );
    }
    match compared {
        0 => println!("  nothing is held out, so that nothing was compared"),
        _ => println!("  no copy, near duplicate or group of {compared} held-out images"),
    }
    Ok(())
}
