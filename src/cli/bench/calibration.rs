//! `admix bench calibration`.

use clap::Args;

use crate::cli::progress::Progress;
use crate::experiment::{CalibrationCell, calibrate};

/// Arguments of `admix bench calibration`.
#[derive(Debug, Args)]
pub struct CalibrationArgs {
    /// Simulated experiments of each curve and number of seeds.
    #[arg(short = 'n', long, default_value_t = 200)]
    runs: u64,
    /// Numbers of seeds of the simulated experiments, at least 5 each.
    #[arg(long, value_delimiter = ',', default_value = "5,8,15", value_parser = clap::value_parser!(u16).range(5..=1000))]
    seeds: Vec<u16>,
}

pub(super) fn run(args: &CalibrationArgs, json: bool) -> anyhow::Result<()> {
    let seeds: Vec<usize> = args.seeds.iter().map(|&count| usize::from(count)).collect();
    let cells = calibrate(args.runs, &seeds, &Progress::new(false));
    if json {
        println!("{}", serde_json::to_string_pretty(&cells)?);
        return Ok(());
    }
    println!(
        "| curve | seeds | peak | tipping point | width | break-even (gains) | false safe | false harm |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    cells.iter().for_each(print_row);
    Ok(())
}

fn print_row(cell: &CalibrationCell) {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let break_even = if cell.gains == 0 {
        "-".to_owned()
    } else {
        format!("{} ({})", percent(cell.break_even), cell.gains)
    };
    println!(
        "| {} | {} | {} | {} | {:.2} | {break_even} | {} | {} |",
        cell.shape,
        cell.seeds,
        percent(cell.peak),
        percent(cell.tipping_point),
        cell.width,
        percent(cell.false_safe),
        percent(cell.false_harm),
    );
}
