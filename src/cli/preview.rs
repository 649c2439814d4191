//! `admix preview`.

mod doses;
mod figures;
mod truth;

use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use image::{Rgb, RgbImage};

use self::figures::{Figures, Summary};
use super::drawing::{class_colour, keypoint, outline};
use super::progress::Progress;
use super::{Common, UserMistake};
use crate::annotation::{Annotation, numbers};
use crate::augment::AugmentSpec;
use crate::dataset::{Dataset, SIDECARS, Sample, Split, read_image, write_atomically};
use crate::generate::{self, Sight, scene_key};
use crate::observer::Observer;
use crate::render::{RenderDevice, SceneRenderer};
use crate::scene::{self, ScenePlan};

/// Side of a tile, in pixels.
const TILE_PX: u32 = 320;

/// Arguments of `admix preview`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  admix preview scenes/dice.yaml -o dice.png
  admix preview scenes/dice.yaml -o truth.png --truth -n 4
  admix preview data/shapes -o sidecars.png --truth -n 6
  admix preview data/dice -o photographs.png -n 24
  admix preview data/dice -o train.png -n 1000 --split train --json
  admix preview presets/low_light.yaml --of data/dice -o ladder.png -n 4")]
pub struct PreviewArgs {
    /// Scene file, folder of a data set, or with --of the preset of an augmentation.
    input: PathBuf,
    /// Data set to show a preset on: each image as it is, and at each severity of the
    /// preset's ladder, or as drawn five times where it has none.
    #[arg(long, value_name = "DATASET")]
    of: Option<PathBuf>,
    /// PNG file to write.
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Number of images.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=1000))]
    count: u32,
    /// Only the images of this split of a data set: train, val or test.
    #[arg(long)]
    split: Option<Split>,
    /// Leave the boxes out.
    #[arg(long)]
    no_boxes: bool,
    /// Beside each image, show objects' numbers, classes, depth and normals: all of a scene, and
    /// what there is of a data set.
    #[arg(long)]
    truth: bool,
    #[command(flatten)]
    common: Common,
}

/// Pictures in the order in which they stand on the sheet.
struct Tiles {
    tiles: Vec<RgbImage>,
    /// How many of them belong to each image.
    per_image: usize,
    summary: Summary,
}

impl PreviewArgs {
    /// The boxes that are drawn.
    fn drawn<'a>(&self, boxes: &'a [Annotation]) -> &'a [Annotation] {
        if self.no_boxes { &[] } else { boxes }
    }
}

pub(super) fn run(args: PreviewArgs) -> anyhow::Result<()> {
    if args
        .out
        .extension()
        .is_none_or(|ending| !ending.eq_ignore_ascii_case("png"))
    {
        let message = format!(
            "{}: the sheet is a PNG file; name it so, such as sheet.png",
            args.out.display()
        );
        return Err(UserMistake(message).into());
    }
    let Tiles {
        tiles,
        per_image,
        summary,
    } = if let Some(of) = &args.of {
        doses::tiles(&args, of)?
    } else if args.input.is_dir() {
        args.common.refuse_overrides("`preview` of a data set")?;
        dataset_tiles(&args)?
    } else if AugmentSpec::load(&args.input, &[], None).is_ok() {
        let message = format!(
            "{} is the preset of an augmentation; name the images to show it on with --of DATASET",
            args.input.display()
        );
        return Err(UserMistake(message).into());
    } else {
        let plan = ScenePlan::load(&args.input, &args.common.overrides)?;
        if args.common.dry_run {
            println!("{}", serde_json::to_string_pretty(&plan)?);
            return Ok(());
        }
        scene_tiles(&args, &plan)?
    };
    if args.common.dry_run {
        println!("{} tiles would go to {}", tiles.len(), args.out.display());
        return Ok(());
    }
    // An image and its sidecars stand together.
    let images = (tiles.len() / per_image) as u32;
    let across = match per_image {
        1 => f64::from(images).sqrt().ceil() as u32,
        _ => (6 / per_image as u32).clamp(1, images.max(1)),
    };
    let columns = (across * per_image as u32).max(1);
    let rows = (tiles.len() as u32).div_ceil(columns).max(1);
    let row_px = tiles.iter().map(RgbImage::height).max().unwrap_or(TILE_PX);
    let mut sheet = RgbImage::from_pixel(columns * TILE_PX, rows * row_px, Rgb([24, 24, 24]));
    for (index, tile) in (0..).zip(&tiles) {
        let (x, y) = (index % columns * TILE_PX, index / columns * row_px);
        image::imageops::replace(&mut sheet, tile, i64::from(x), i64::from(y));
    }
    let mut bytes = Vec::new();
    sheet.write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png)?;
    if let Some(folder) = args.out.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    write_atomically(&args.out, &bytes)?;
    if args.common.json {
        println!(
            "{}",
            serde_json::json!({"out": args.out, "tiles": tiles.len(), "summary": summary})
        );
    } else {
        println!("{}: {} tiles", args.out.display(), tiles.len());
        println!("{summary}");
    }
    Ok(())
}

/// The images to show: those of the split that was asked for.
fn open(root: &Path, args: &PreviewArgs) -> anyhow::Result<Dataset> {
    let mut dataset = Dataset::open(root)?;
    let progress = Progress::new(true);
    for warning in &dataset.warnings {
        progress.message(&format!("warning: {warning}"));
    }
    if let Some(split) = args.split {
        dataset = dataset.split(split);
    }
    if dataset.samples.is_empty() {
        let place = args.split.map(|split| format!(" in split {split}"));
        let message = format!(
            "{} has no usable images{}",
            root.display(),
            place.unwrap_or_default()
        );
        return Err(UserMistake(message).into());
    }
    Ok(dataset)
}

/// So many images spread over the data set, whose neighbours are often alike.
fn spread(dataset: &Dataset, count: u32) -> impl Iterator<Item = &Sample> {
    let count = (count as usize).min(dataset.samples.len());
    (0..count).map(move |index| &dataset.samples[index * dataset.samples.len() / count])
}

fn dataset_tiles(args: &PreviewArgs) -> anyhow::Result<Tiles> {
    let dataset = open(&args.input, args)?;
    let folders: Vec<&str> = SIDECARS
        .into_iter()
        .filter(|folder| args.truth && args.input.join(folder).is_dir())
        .collect();
    if args.truth && folders.is_empty() {
        let message = format!(
            "--truth: {} has none of {}; `generate` writes them with --masks, --depth, \
             --class-masks and --normals",
            args.input.display(),
            SIDECARS.map(|folder| format!("{folder}/")).join(", ")
        );
        return Err(UserMistake(message).into());
    }
    let mut figures = Figures::default();
    let mut tiles = Vec::new();
    for sample in spread(&dataset, args.count) {
        let image = read_image(&sample.path)?;
        figures.add(&image, &sample.annotations);
        tiles.push(tile(&image, args.drawn(&sample.annotations)));
        for folder in &folders {
            let picture = truth::sidecar_picture(&args.input, folder, &sample.file_name)?;
            // A missing one leaves its place dark.
            tiles.push(tile(&picture.unwrap_or_else(|| RgbImage::new(1, 1)), &[]));
        }
    }
    Ok(Tiles {
        tiles,
        per_image: 1 + folders.len(),
        summary: figures.summary(&dataset.categories),
    })
}

fn scene_tiles(args: &PreviewArgs, plan: &ScenePlan) -> anyhow::Result<Tiles> {
    if args.split.is_some() {
        let message = "--split: a scene has no splits, only a data set has";
        return Err(UserMistake(message.to_owned()).into());
    }
    let image = &plan.spec().image;
    let device = RenderDevice::new(image.renderer, args.common.jobs())?;
    let mut renderer = SceneRenderer::new(&device, plan.assets(), image);
    if args.truth {
        renderer = renderer.with_normals();
    }
    let key = scene_key(plan, args.common.seed);
    let mut figures = Figures::default();
    let mut sight = Sight::default();
    let mut tiles = Vec::new();
    for index in 0..u64::from(args.count) {
        let instance = scene::sample(plan, &key, index);
        let frame = renderer.render(&instance)?;
        let (boxes, without_box) = generate::annotations(plan, &instance, &frame, false);
        sight.add(boxes.len() as u64, without_box as u64);
        figures.add(&frame.rgb, &boxes);
        tiles.push(tile(&frame.rgb, args.drawn(&boxes)));
        if args.truth {
            let pictures = truth::frame_pictures(&instance, &frame.truth);
            tiles.extend(pictures.iter().map(|picture| tile(picture, &[])));
        }
    }
    // The sheet is drawn all the same: it shows where the camera looks.
    if sight.is_empty() {
        Progress::new(true).message(&format!("warning: {sight}"));
    }
    Ok(Tiles {
        tiles,
        per_image: if args.truth { 1 + SIDECARS.len() } else { 1 },
        summary: figures.summary(plan.categories()),
    })
}

/// An image scaled into a tile, with the boxes and keypoints in its categories' colours.
fn tile(image: &RgbImage, boxes: &[Annotation]) -> RgbImage {
    let (width, height) = (
        f64::from(image.width().max(1)),
        f64::from(image.height().max(1)),
    );
    let scale = f64::from(TILE_PX) / width.max(height);
    let side = |length: f64| ((length * scale) as u32).max(1);
    let filter = image::imageops::FilterType::Triangle;
    let mut tile = image::imageops::resize(image, side(width), side(height), filter);
    for object in boxes {
        let colour = class_colour(object.category_id as usize);
        outline(&mut tile, &object.bbox, scale, colour, 1);
        let flat = object.extra.get("keypoints").and_then(numbers);
        for point in flat.unwrap_or_default().as_chunks::<3>().0 {
            let [x, y, visibility] = *point;
            if visibility > 0.0 {
                keypoint(&mut tile, [x * scale, y * scale], colour, visibility > 1.0);
            }
        }
    }
    tile
}
