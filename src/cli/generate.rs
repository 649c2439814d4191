//! `admix generate`.

use std::path::PathBuf;

use clap::Args;

use super::Common;
use super::progress::Progress;
use crate::generate::{self, Sidecars};
use crate::observer::Observer;
use crate::render::GpuContext;
use crate::scene::ScenePlan;

/// Arguments of `admix generate`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  admix generate scenes/dice.yaml -n 400 -o data/dice_synthetic
  admix generate scenes/dice.yaml -n 50 -o data/dim --set exposure_ev=-1 --seed 3
  admix generate scenes/shapes.yaml -n 100 -o data/shapes --masks --depth")]
pub struct GenerateArgs {
    /// Scene file.
    scene: PathBuf,
    /// Number of images.
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Folder of the data set.
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Also write masks/: 16-bit PNG, 0 for the ground, otherwise the object's number.
    #[arg(long)]
    masks: bool,
    /// Also write depth/: 16-bit PNG in tenths of a millimetre from the camera's plane.
    #[arg(long)]
    depth: bool,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: GenerateArgs) -> anyhow::Result<()> {
    let plan = ScenePlan::load(&args.scene, &args.common.overrides)?;
    if args.common.dry_run {
        println!("{}", serde_json::to_string_pretty(&plan)?);
        return Ok(());
    }
    let context = GpuContext::new()?;
    let observer = Progress::new(false);
    let sidecars = Sidecars {
        masks: args.masks,
        depth: args.depth,
    };
    let dataset = generate::generate(
        &plan,
        args.count,
        args.common.seed,
        &args.out,
        args.common.jobs(),
        sidecars,
        &context,
        &observer,
    )?;
    let no_room: u64 = dataset
        .samples
        .iter()
        .filter_map(|sample| sample.record.factors.get("objects_without_room")?.as_u64())
        .sum();
    if no_room > 0 {
        observer.message(&format!(
            "warning: {no_room} objects found no room and are not in the images; raise placement.area_mm or lower placement.count"
        ));
    }
    let images = dataset.samples.len();
    let boxes: usize = dataset.samples.iter().map(|s| s.annotations.len()).sum();
    if args.common.json {
        let result = serde_json::json!({
            "out": args.out, "images": images, "boxes": boxes, "objects_without_room": no_room,
            "adapter": context.summary(), "wall_s": observer.elapsed().as_secs_f64(),
        });
        println!("{result}");
    } else {
        println!("{}: {images} images, {boxes} boxes", args.out.display());
    }
    Ok(())
}
