//! `admix bench train`.

use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Instant;

use clap::Args;

use crate::detector::throughput::{ENDLESS, TrainingLoad};
use crate::detector::{ComputeDevice, InputSize, TrainSpec};

/// Steps before the measured ones, in which memory is taken and caches fill.
const WARM_UP: u64 = 2;

/// Arguments of `admix bench train`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  admix bench train
  admix bench train --width-multiplier 1.0 --input 384x640 --batch 8
  admix bench train --inference
  admix bench train --output-strides 8,16,32 --inference
  admix bench train --jobs 1 --json")]
pub struct TrainArgs {
    /// Width of the network as a multiple of MobileNetV2's.
    #[arg(long, value_name = "F", default_value_t = 0.35)]
    width_multiplier: f64,
    /// Height and width of the images in pixels, multiples of 32.
    #[arg(long, value_name = "HxW", default_value = "192x320")]
    input: Input,
    /// Pixels a cell of each output map, of 8, 16, 32 and 64.
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_value = "8")]
    output_strides: Vec<usize>,
    /// Strides of features that are added to them [default: 16,32 with output stride 8].
    #[arg(long, value_name = "N,..", value_delimiter = ',', num_args = 0..)]
    fuse_strides: Option<Vec<usize>>,
    /// Images a step.
    #[arg(long, value_name = "N", default_value = "16")]
    batch: NonZeroUsize,
    /// Steps that are timed.
    #[arg(long, value_name = "N", default_value = "10")]
    iters: NonZeroUsize,
    /// Time the forward pass of a prediction in place of a training step.
    #[arg(long)]
    inference: bool,
    /// Where to compute: cpu, or wgpu or cuda where the program was built with them.
    #[arg(long, default_value = "cpu")]
    device: ComputeDevice,
    /// Number of worker threads [default: all cores].
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Seed of the network and of the images.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Input([usize; 2]);

impl FromStr for Input {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sides = text
            .split_once('x')
            .and_then(|(height, width)| Some([height.parse().ok()?, width.parse().ok()?]));
        match sides {
            Some(sides) if sides.iter().all(|side| *side > 0 && side % 32 == 0) => Ok(Input(sides)),
            _ => Err("expected HEIGHTxWIDTH in multiples of 32, such as 192x320".to_owned()),
        }
    }
}

pub(super) fn run(args: TrainArgs) -> anyhow::Result<super::Rate> {
    let threads = args.jobs.map_or(0, NonZeroUsize::get);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()?;
    pool.install(|| measure(&args))
}

fn measure(args: &TrainArgs) -> anyhow::Result<super::Rate> {
    let batch = args.batch.get();
    let Input([height, width]) = args.input;
    let fuse_strides = match (&args.fuse_strides, args.output_strides.as_slice()) {
        (Some(strides), _) => strides.clone(),
        (None, [8]) => TrainSpec::default().fuse_strides,
        (None, _) => Vec::new(),
    };
    let spec = TrainSpec {
        width_multiplier: args.width_multiplier,
        input: InputSize { height, width },
        output_strides: args.output_strides.clone(),
        fuse_strides,
        batch_size: batch,
        device: args.device,
        steps: ENDLESS,
        ..TrainSpec::default()
    };
    let plan = spec.into_plan("the command line".as_ref())?;
    let mut load = TrainingLoad::new(plan, args.seed)?;
    let mut once = || -> anyhow::Result<()> {
        if args.inference {
            load.predict();
        } else {
            load.step()?;
        }
        Ok(())
    };
    for _ in 0..WARM_UP {
        once()?;
    }
    let began = Instant::now();
    for _ in 0..args.iters.get() {
        once()?;
    }
    let wall_s = began.elapsed().as_secs_f64();
    let items = (batch * args.iters.get()) as u64;
    Ok(super::Rate {
        name: if args.inference { "predict" } else { "train" }.to_owned(),
        items_per_s: items as f64 / wall_s,
        wall_s,
        items,
        peak_rss_mib: super::peak_rss_mib(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_two_multiples_of_32() {
        assert_eq!("192x320".parse(), Ok(Input([192, 320])));
        for wrong in ["192", "0x32", "100x320", "192x320x3", "axb"] {
            assert!(wrong.parse::<Input>().is_err(), "{wrong}");
        }
    }
}
