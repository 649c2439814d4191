//! `admix generate`.

use std::path::PathBuf;

use clap::Args;

use super::Common;
use super::progress::Progress;
use crate::audit::{self, Gap, GapFiles, Side};
use crate::dataset::{Dataset, Split};
use crate::generate::{self, Sidecars};
use crate::observer::Observer;
use crate::render::RenderDevice;
use crate::scene::ScenePlan;

/// Arguments of `admix generate`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  admix generate scenes/dice.yaml -n 400 -o data/dice_synthetic
  admix generate scenes/dice.yaml -n 50 -o data/dim --set exposure_ev=-1 --seed 3
  admix generate scenes/shapes.yaml -n 100 -o data/shapes --masks --depth
  admix generate scenes/shapes.yaml -n 100 -o data/poses --depth --segmentation
  admix generate scenes/dice.yaml -n 150 -o data/dice_synthetic --like data/dice")]
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
    /// Also write class_masks/: 8-bit PNG, 0 for the ground, otherwise the category's identifier.
    #[arg(long)]
    class_masks: bool,
    /// Also write normals/: 8-bit RGB PNG in the camera's space: x right, y up, z towards it.
    #[arg(long)]
    normals: bool,
    /// Also write masks into annotations.json: `segmentation` and `amodal_segmentation`.
    #[arg(long)]
    segmentation: bool,
    /// Then compare with these real images: prints how the synthetic ones differ, and writes
    /// gap.html and gap.json into DIR.
    #[arg(long, value_name = "DATASET")]
    like: Option<PathBuf>,
    /// Split of the real images to compare with: train, val or test [default: train where there
    /// are splits, else all images].
    #[arg(long, value_name = "SPLIT", requires = "like")]
    like_split: Option<Split>,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: GenerateArgs) -> anyhow::Result<()> {
    let plan = ScenePlan::load(&args.scene, &args.common.overrides)?;
    let observer = Progress::new(false);
    // Mistakes are told before an hour of rendering, not after it.
    let real = args.real_side(&observer)?;
    if args.common.dry_run {
        println!("{}", serde_json::to_string_pretty(&plan)?);
        return Ok(());
    }
    let device = RenderDevice::new(plan.spec().image.renderer, args.common.jobs())?;
    let sidecars = Sidecars {
        masks: args.masks,
        depth: args.depth,
        class_masks: args.class_masks,
        normals: args.normals,
        segmentation: args.segmentation,
    };
    let dataset = generate::generate(
        &plan,
        args.count,
        args.common.seed,
        &args.out,
        args.common.jobs(),
        sidecars,
        &device,
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
    let gap = real
        .map(|real| args.compare(&real, dataset, &observer))
        .transpose()?;
    if args.common.json {
        let mut result = serde_json::json!({
            "out": args.out, "images": images, "boxes": boxes, "objects_without_room": no_room,
            "adapter": device.summary(), "wall_s": observer.elapsed().as_secs_f64(),
        });
        if let Some((gap, files)) = &gap {
            result["gap"] = serde_json::to_value(gap)?;
            result["gap_page"] = serde_json::to_value(&files.html)?;
        }
        println!("{result}");
        return Ok(());
    }
    println!("{}: {images} images, {boxes} boxes", args.out.display());
    if let Some((gap, files)) = gap {
        println!("\n{gap}\n");
        let (page, numbers) = (files.html.display(), files.json.display());
        println!("Page: {page}, numbers: {numbers}");
    }
    Ok(())
}

impl GenerateArgs {
    /// The real images to compare with, where they are asked for.
    fn real_side(&self, observer: &Progress) -> anyhow::Result<Option<Side>> {
        let Some(path) = &self.like else {
            return Ok(None);
        };
        let dataset = Dataset::open(path)?;
        for warning in &dataset.warnings {
            observer.message(&format!("warning: {}: {warning}", path.display()));
        }
        Ok(Some(Side::reference(dataset, self.like_split)?))
    }

    fn compare(
        &self,
        real: &Side,
        synthetic: Dataset,
        observer: &Progress,
    ) -> anyhow::Result<(Gap, GapFiles)> {
        let synthetic = Side::whole(synthetic)?;
        let workers = rayon::ThreadPoolBuilder::new()
            .num_threads(self.common.jobs())
            .build()?;
        let seed = self.common.seed;
        let gap = workers.install(|| audit::compare(real, &synthetic, seed, observer))?;
        let files = audit::write_gap(&gap, &self.out)?;
        Ok((gap, files))
    }
}
