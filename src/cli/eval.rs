//! `admix eval`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::Common;
use super::progress::Progress;
use super::score::print_evaluation;
use super::train::{training_part, use_threads};
use crate::dataset::{Dataset, Split, write_atomically};
use crate::detector::{ComputeDevice, Detector, MaskScore};
use crate::evaluation::evaluate;

/// Arguments of `admix eval`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  admix eval --model runs/baseline --data photos
  admix eval --model runs/baseline --data photos --split val -o runs/baseline/val --json")]
pub struct EvalArgs {
    /// Folder of a trained detector.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Labelled data set.
    #[arg(long, value_name = "DATASET")]
    data: PathBuf,
    /// Part of the data set; the whole of a data set that has no splits.
    #[arg(long, default_value = "test")]
    split: Split,
    /// Folder to write detections.json to [default: the detector's].
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Where to compute: cpu, or wgpu or cuda where the program was built with them.
    #[arg(long, default_value = "cpu")]
    device: ComputeDevice,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: EvalArgs) -> anyhow::Result<()> {
    use_threads(&args.common);
    let detector = Detector::load(&args.model, args.device)?;
    let dataset = training_part(&Dataset::open(&args.data)?, args.split);
    let dataset = detector.relabelled(&dataset);
    if args.common.dry_run {
        println!(
            "evaluate {} on {} images of {}",
            args.model.display(),
            dataset.samples.len(),
            args.data.display()
        );
        return Ok(());
    }
    let progress = Progress::new(false);
    let detections = detector.predict(&dataset, &progress)?;
    let folder = args.output.as_ref().unwrap_or(&args.model);
    std::fs::create_dir_all(folder)?;
    let path = folder.join("detections.json");
    write_atomically(&path, &serde_json::to_vec(&detections)?)?;
    let evaluation = evaluate(&dataset, &detections)?;
    match detector.score_masks(&dataset, &progress)? {
        Some(masks) if args.common.json => {
            let result = json!({"detection": evaluation, "masks": masks});
            println!("{result}");
            Ok(())
        }
        Some(masks) => {
            print_evaluation(&evaluation, false)?;
            print_masks(&masks);
            Ok(())
        }
        None => print_evaluation(&evaluation, args.common.json),
    }
}

fn print_masks(score: &MaskScore) {
    println!("\nmasks: IoU {:.4}, loss {:.4}", score.iou, score.loss);
    println!(
        "{:<9} {:>8} {:>9} {:>12} {:>13}",
        "path", "own IoU", "own loss", "IoU without", "loss without"
    );
    for path in &score.paths {
        println!(
            "stride {:<2} {:>8.4} {:>9.4} {:>12.4} {:>13.4}",
            path.stride, path.own_iou, path.own_loss, path.iou_without, path.loss_without
        );
    }
}
