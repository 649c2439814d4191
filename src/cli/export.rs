//! `admix export`.

use std::path::PathBuf;

use clap::Args;

use super::{Common, UserMistake};
use crate::dataset::write_atomically;
use crate::detector::{ComputeDevice, Detector};

/// Arguments of `admix export`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  admix export --model runs/baseline -o detector.onnx

Input `images`, [batch, 3, height, width]: letterboxed RGB in 0..255. Outputs `boxes`,
[batch, cells, 4]: left, top, right, bottom in input pixels; `scores`, [batch, cells,
classes]. Dropping low scores and overlapping boxes is left to the reader.")]
pub struct ExportArgs {
    /// A folder that `admix train` finished.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// File to write, ending in .onnx.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: ExportArgs) -> anyhow::Result<()> {
    args.common.refuse_overrides("`export`")?;
    if args.output.extension().is_none_or(|end| end != "onnx") {
        return Err(UserMistake(format!(
            "{}: the file's name must end in .onnx, the only format besides the \
             model.safetensors that stands in the model's folder",
            args.output.display()
        ))
        .into());
    }
    let detector = Detector::load(&args.model, ComputeDevice::Cpu)?;
    let bytes = detector.to_onnx();
    let input = detector.plan().input;
    if !args.common.dry_run {
        write_atomically(&args.output, &bytes)?;
    }
    if args.common.json {
        let result = serde_json::json!({
            "file": args.output,
            "bytes": bytes.len(),
            "classes": detector.classes(),
            "height": input.height,
            "width": input.width,
        });
        println!("{result}");
    } else {
        let done = if args.common.dry_run {
            "would write"
        } else {
            "wrote"
        };
        println!(
            "{done} {}: {:.1} MB, input {}x{}, classes {}",
            args.output.display(),
            bytes.len() as f64 / 1e6,
            input.height,
            input.width,
            detector.classes().join(", ")
        );
    }
    Ok(())
}
