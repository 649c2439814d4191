//! The command line: one file a command, each `load spec -> plan -> run -> print`.

mod audit;
mod augment;
mod bench;
mod convert;
mod doctor;
mod drawing;
mod eval;
mod experiment;
mod export;
mod generate;
mod mix;
mod predict;
mod preview;
mod progress;
mod report;
mod schema;
mod score;
mod sweep;
mod train;

use std::ffi::OsString;

use clap::{Args, Parser, Subcommand};

use crate::audit::AuditError;
use crate::augment::AugmentError;
use crate::dataset::DatasetError;
use crate::detector::DetectorError;
use crate::experiment::ExperimentError;
use crate::generate::GenerateError;
use crate::mix::MixError;
use crate::spec::{Override, SpecError};

/// Measures how much synthetic data a detector should be trained on, and where more
/// of it starts to hurt.
#[derive(Debug, Parser)]
#[command(
    name = "admix",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the adapter, drivers and cores, and what will run where.
    Doctor(doctor::DoctorArgs),
    /// Render a labelled data set from a scene.
    Generate(generate::GenerateArgs),
    /// Print the JSON Schema of scene files or presets, for editors.
    Schema(schema::SchemaArgs),
    /// Draw a contact sheet of a scene or data set with boxes, masks and depth.
    Preview(preview::PreviewArgs),
    /// Degrade or transform a data set.
    Augment(augment::AugmentArgs),
    /// Run a preset or a scene over lists and ranges of its values.
    Sweep(sweep::SweepArgs),
    /// Find faults of a data set's labels, images and splits.
    Audit(audit::AuditArgs),
    /// Convert a data set between COCO, YOLO and Pascal VOC.
    Convert(convert::ConvertArgs),
    /// Build one training set at an exact real/synthetic ratio.
    Mix(mix::MixArgs),
    /// Train one detector.
    Train(train::TrainArgs),
    /// Evaluate a detector on a data set: COCO metrics and detections.
    Eval(eval::EvalArgs),
    /// Write a detector as an ONNX file.
    Export(export::ExportArgs),
    /// Run a detector on images: drawn boxes and JSON.
    Predict(predict::PredictArgs),
    /// COCO metrics of any detections file.
    Score(score::ScoreArgs),
    /// Run the grid of ratios and seeds and report where synthetic data helps and hurts.
    Experiment(experiment::ExperimentArgs),
    /// Rebuild report.html, results.csv and summary.json of an experiment.
    Report(report::ReportArgs),
    /// Measure this machine's rates, as an estimate for plans.
    Bench(bench::BenchArgs),
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Override a value of the YAML file; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<Override>,
    /// Seed of everything that is drawn at random.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Number of worker threads [default: all cores].
    #[arg(long, value_name = "N")]
    pub jobs: Option<std::num::NonZeroUsize>,
    /// Print the plan and stop.
    #[arg(long)]
    pub dry_run: bool,
    /// Print the result as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

impl Common {
    /// The number of worker threads to use.
    pub fn jobs(&self) -> usize {
        self.jobs
            .or_else(|| std::thread::available_parallelism().ok())
            .map_or(1, std::num::NonZeroUsize::get)
    }

    /// Refuses `--set` where `command` reads no file that it could change.
    fn refuse_overrides(&self, command: &str) -> Result<(), UserMistake> {
        if self.overrides.is_empty() {
            Ok(())
        } else {
            Err(UserMistake(format!(
                "--set: {command} reads no YAML file to override"
            )))
        }
    }
}

/// A mistake of the user that is not in a file: it ends the program with exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UserMistake(pub String);

/// Refuses arguments that are not UTF-8: manifests and results hold paths as JSON, which
/// could not name such a file.
pub fn check_arguments(mut arguments: impl Iterator<Item = OsString>) -> anyhow::Result<()> {
    match arguments.find(|argument| argument.to_str().is_none()) {
        Some(argument) => Err(UserMistake(format!(
            "the argument {} is not UTF-8; rename the file or folder",
            argument.display()
        ))
        .into()),
        None => Ok(()),
    }
}

/// Runs a parsed command line.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Doctor(args) => doctor::run(args),
        Command::Generate(args) => generate::run(args),
        Command::Schema(args) => schema::run(args),
        Command::Preview(args) => preview::run(args),
        Command::Audit(args) => audit::run(args),
        Command::Augment(args) => augment::run(args),
        Command::Sweep(args) => sweep::run(args),
        Command::Convert(args) => convert::run(args),
        Command::Mix(args) => mix::run(args),
        Command::Train(args) => train::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Export(args) => export::run(args),
        Command::Predict(args) => predict::run(args),
        Command::Score(args) => score::run(args),
        Command::Experiment(args) => experiment::run(args),
        Command::Report(args) => report::run(args),
        Command::Bench(args) => bench::run(args),
    }
}

/// An error with its causes, outermost first. The library's errors tell their cause in
/// their own text, which also stands in warnings and records, so a cause is told again
/// only where no text before it holds it.
pub fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// 2 for a user's mistake, 1 for a failure.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    let is_mistake = error.chain().any(|cause| {
        cause.is::<SpecError>()
            || cause.is::<UserMistake>()
            || cause
                .downcast_ref::<DetectorError>()
                .is_some_and(DetectorError::is_users_mistake)
            || cause
                .downcast_ref::<MixError>()
                .is_some_and(MixError::is_mistake)
            || cause
                .downcast_ref::<DatasetError>()
                .is_some_and(DatasetError::is_mistake)
            || cause
                .downcast_ref::<ExperimentError>()
                .is_some_and(ExperimentError::is_mistake)
            || cause
                .downcast_ref::<GenerateError>()
                .is_some_and(GenerateError::is_mistake)
            || cause
                .downcast_ref::<AugmentError>()
                .is_some_and(AugmentError::is_mistake)
            || cause
                .downcast_ref::<AuditError>()
                .is_some_and(AuditError::is_mistake)
    });
    if is_mistake { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let missing = || std::io::Error::from_raw_os_error(2);
        let read = SpecError::Read {
            path: PathBuf::from("scene.yaml"),
            source: missing(),
        };
        let told = describe(&anyhow::Error::from(read).context("loading"));
        assert_eq!(
            told,
            "loading: cannot read scene.yaml: No such file or directory (os error 2)"
        );
        let told = describe(&anyhow::Error::from(missing()).context("cannot create out"));
        assert_eq!(
            told,
            "cannot create out: No such file or directory (os error 2)"
        );
    }
}
