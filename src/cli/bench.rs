//! `admix bench`: this machine's rates, as an estimate for plans, and how well an
//! experiment's intervals hold.

mod augment;
mod calibration;
mod render;
mod score;
mod train;

use clap::{Args, Subcommand};
use serde::Serialize;

/// Arguments of `admix bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
    /// Print the result as JSON on standard output.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Render a scene without writing it.
    Render(render::RenderArgs),
    /// Train with data already in memory: forward, backward and step.
    Train(train::TrainArgs),
    /// Apply a preset to images in memory.
    Augment(augment::AugmentArgs),
    /// COCO metrics of a made-up set of detections.
    Score(score::ScoreArgs),
    /// How often an experiment's intervals hold the truth, on simulated curves.
    Calibration(calibration::CalibrationArgs),
}

/// A measured rate. `wall_s` is the time of all `items` without set-up and warm-up.
#[derive(Debug, Serialize)]
pub struct Rate {
    pub name: String,
    pub items_per_s: f64,
    pub wall_s: f64,
    pub items: u64,
    /// Peak resident memory of the process, in MiB.
    pub peak_rss_mib: f64,
}

pub(super) fn run(args: BenchArgs) -> anyhow::Result<()> {
    let json = args.json;
    let rate = match args.what {
        What::Render(args) => render::run(args)?,
        What::Train(args) => train::run(args)?,
        What::Augment(args) => augment::run(args)?,
        What::Score(args) => score::run(args)?,
        What::Calibration(args) => return calibration::run(&args, json),
    };
    if json {
        println!("{}", serde_json::to_string(&rate)?);
    } else {
        println!(
            "{}: {:.2} items/s ({} items in {:.2} s, peak memory {:.0} MiB)",
            rate.name, rate.items_per_s, rate.items, rate.wall_s, rate.peak_rss_mib
        );
    }
    Ok(())
}

/// Peak resident memory of this process in MiB; 0 where the system does not tell.
pub(super) fn peak_rss_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| {
        line.strip_prefix("VmHWM:")?
            .trim()
            .strip_suffix("kB")?
            .trim()
            .parse::<f64>()
            .ok()
    });
    kib.unwrap_or(0.0) / 1024.0
}
