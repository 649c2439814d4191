//! `admix score`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::{Common, UserMistake};
use crate::evaluation::{Evaluation, EvaluationError, Parameters, STAT_NAMES, score_files};

/// Arguments of `admix score`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  admix score ground_truth.json detections.json
  admix score ground_truth.json detections.json --json
  admix score ground_truth.json detections.json --class-agnostic --max-dets 1,10,300")]
pub struct ScoreArgs {
    /// Ground truth: a COCO file with images, annotations and categories.
    ground_truth: PathBuf,
    /// Detections: a list of {image_id, category_id, bbox, score}.
    detections: PathBuf,
    /// Most detections that count, an image and class: of AR1, of AR10 and of the rest.
    #[arg(
        long,
        value_name = "A,B,C",
        value_delimiter = ',',
        default_value = "1,10,100"
    )]
    max_dets: Vec<usize>,
    /// Ignore the classes: a detection may match any object.
    #[arg(long)]
    class_agnostic: bool,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: ScoreArgs) -> anyhow::Result<()> {
    let max_dets = <[usize; 3]>::try_from(args.max_dets.as_slice())
        .map_err(|_| UserMistake("--max-dets takes three numbers, such as 1,10,100".to_owned()))?;
    let parameters = Parameters {
        max_dets,
        class_agnostic: args.class_agnostic,
    };
    args.common.refuse_overrides("`score`")?;
    if args.common.dry_run {
        println!(
            "score {} against {}, at most {max_dets:?} detections, classes {}",
            args.detections.display(),
            args.ground_truth.display(),
            if args.class_agnostic {
                "ignored"
            } else {
                "kept apart"
            }
        );
        return Ok(());
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(args.common.jobs())
        .build()
        .context("starting worker threads")?;
    let evaluation = pool
        .install(|| score_files(&args.ground_truth, &args.detections, parameters))
        .map_err(mistake_or_failure)?;
    if evaluation.ignored_detections > 0 {
        eprintln!(
            "warning: {} detections are of classes that the ground truth does not list: ignored",
            evaluation.ignored_detections
        );
    }
    print_evaluation(&evaluation, args.common.json)
}

/// Prints metrics as a table, or as one JSON object.
pub(super) fn print_evaluation(evaluation: &Evaluation, json: bool) -> anyhow::Result<()> {
    if json {
        let text = serde_json::to_string(evaluation).context("metrics as JSON")?;
        println!("{text}");
    } else {
        print(evaluation);
    }
    Ok(())
}

/// All but a failure of the metrics themselves is the user's to mend.
fn mistake_or_failure(error: EvaluationError) -> anyhow::Error {
    match error {
        EvaluationError::Metrics(_) => error.into(),
        mistake => UserMistake(mistake.to_string()).into(),
    }
}

fn print(evaluation: &Evaluation) {
    for (name, value) in STAT_NAMES.iter().zip(evaluation.stats) {
        println!("{name:<6} {}", number(value));
    }
    let width = evaluation
        .per_category
        .keys()
        .map(|name| name.chars().count())
        .max();
    let width = width.unwrap_or(0).max("class".len());
    println!(
        "\n{:<width$} {:>7} {:>7} {:>7} {:>7}",
        "class", "AP", "AP50", "AP75", "AR"
    );
    for (name, score) in &evaluation.per_category {
        println!(
            "{name:<width$} {:>7} {:>7} {:>7} {:>7}",
            number(score.ap),
            number(score.ap50),
            number(score.ap75),
            number(score.ar)
        );
    }
}

/// A metric for people: four digits, or a dash where there is nothing to measure it on.
fn number(value: f64) -> String {
    if value < 0.0 {
        "-".to_owned()
    } else {
        format!("{value:.4}")
    }
}
