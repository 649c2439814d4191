//! `admix convert`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::progress::Progress;
use super::{Common, UserMistake};
use crate::dataset::{Dataset, Depth, Format, Split, Warning, export};
use crate::observer::Observer;

/// Arguments of `admix convert`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  admix convert labels/ dice-yolo --to yolo
  admix convert VOC2012 voc-coco --to coco
  admix convert dice dice-test --to voc --split test
  admix convert shapes shapes-bop --to bop
  admix convert dice dice-coco --to coco --verify full")]
pub struct ConvertArgs {
    /// Data set to read: COCO, YOLO or Pascal VOC, recognised by its files.
    input: PathBuf,
    /// Folder to write; it must not exist or be empty.
    output: PathBuf,
    /// Format to write.
    #[arg(long, value_enum)]
    to: To,
    /// Only the images of this split: train, val or test.
    #[arg(long)]
    split: Option<Split>,
    /// How the images are checked first.
    #[arg(long, value_enum, default_value = "header")]
    verify: Verify,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum To {
    Coco,
    Yolo,
    Voc,
    /// Poses of rigid objects, of a data set that was rendered with --depth --segmentation.
    Bop,
    /// KITTI's object detection, of a rendered data set.
    Kitti,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Verify {
    /// Not at all.
    None,
    /// Format and size.
    Header,
    /// All pixels, which finds truncated files.
    Full,
}

#[derive(Serialize)]
struct Summary {
    output: PathBuf,
    images: usize,
    boxes: usize,
    categories: usize,
    warnings: Vec<String>,
}

pub(super) fn run(args: ConvertArgs) -> anyhow::Result<()> {
    args.common.refuse_overrides("`convert`")?;
    let progress = Progress::new(false);
    let mut warnings = Vec::new();
    let mut note = |found: Vec<Warning>| {
        for warning in found {
            progress.message(&format!("warning: {warning}"));
            warnings.push(warning.to_string());
        }
    };
    let mut dataset = Dataset::open(&args.input)?;
    note(std::mem::take(&mut dataset.warnings));
    if let Some(split) = args.split {
        dataset = dataset.split(split);
    }
    if dataset.samples.is_empty() {
        let of_split = args.split.map(|split| format!(" in split {split}"));
        return Err(UserMistake(format!(
            "{} has no usable images{}",
            args.input.display(),
            of_split.unwrap_or_default()
        ))
        .into());
    }
    if args.common.dry_run {
        println!(
            "convert {} images with {} boxes of {} classes from {} to {} ({:?})",
            dataset.samples.len(),
            dataset.box_count(),
            dataset.categories.len(),
            args.input.display(),
            args.output.display(),
            args.to
        );
        return Ok(());
    }
    let depth = match args.verify {
        Verify::None => None,
        Verify::Header => Some(Depth::Header),
        Verify::Full => Some(Depth::Pixels),
    };
    if let Some(depth) = depth {
        note(dataset.verify_images(depth, args.common.jobs(), &progress)?);
    }
    let format = match args.to {
        To::Coco => Format::Coco,
        To::Yolo => Format::Yolo,
        To::Voc => Format::Voc,
        To::Bop => Format::Bop,
        To::Kitti => Format::Kitti,
    };
    note(export(&dataset, format, &args.output, &progress)?);
    let summary = Summary {
        images: dataset.samples.len(),
        boxes: dataset.box_count(),
        categories: dataset.categories.len(),
        output: args.output,
        warnings,
    };
    if args.common.json {
        println!("{}", serde_json::to_string(&summary)?);
    } else {
        println!(
            "{}: {} images, {} boxes, {} classes",
            summary.output.display(),
            summary.images,
            summary.boxes,
            summary.categories
        );
    }
    Ok(())
}
