//! `admix report`: the report of an experiment, from its results.

use std::path::PathBuf;

use clap::Args;

use super::Common;
use crate::experiment::{ReportFiles, load_plan, progress, write_report};

/// Arguments of `admix report`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  admix report runs/tipping_dice
  admix report runs/tipping_dice --json | jq .conclusion")]
pub struct ReportArgs {
    /// Output folder of `admix experiment`, finished or not.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: ReportArgs) -> anyhow::Result<()> {
    if args.common.dry_run {
        let plan = load_plan(&args.folder)?;
        let so_far = progress(&plan, &args.folder)?;
        print!(
            "{}",
            plan.describe(so_far.finished, so_far.seconds_per_trial)
        );
        return Ok(());
    }
    let files = write_report(&args.folder)?;
    print_report(&files, args.common.json)
}

/// Prints the conclusion and where the report is, or the summary as JSON.
pub(super) fn print_report(files: &ReportFiles, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(&files.summary)?);
    } else {
        for sentence in files.summary.sentences() {
            println!("{sentence}");
        }
        println!(
            "Report: {}, {}, {}",
            files.html.display(),
            files.csv.display(),
            files.summary_json.display()
        );
    }
    Ok(())
}
