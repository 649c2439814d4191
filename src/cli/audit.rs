//! `admix audit`: faults of a data set, on one page.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::progress::Progress;
use super::{Common, UserMistake};
use crate::audit::{self, Audit, Issue, Side};
use crate::dataset::{Dataset, Split};

/// Arguments of `admix audit`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  admix audit data/dice -o audits/dice
  admix audit data/dice --split train --fail-at 0.9
  admix audit data/dice_synthetic --against data/dice -o audits/dice_synthetic")]
pub struct AuditArgs {
    /// Data set to audit, in any format that is read; nothing in it is changed.
    #[arg(value_name = "DATASET")]
    dataset: PathBuf,
    /// Folder of audit.html and audit.json; without it findings are printed alone.
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Only the images of this split: train, val or test.
    #[arg(long)]
    split: Option<Split>,
    /// Compares the images with those of real ones too: gap.html and gap.json.
    #[arg(long, value_name = "DATASET", requires = "out")]
    against: Option<PathBuf>,
    /// Ends with exit code 1 where a finding is as severe, 0 to 1, for pipelines.
    #[arg(long, value_name = "SEVERITY")]
    fail_at: Option<f64>,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: AuditArgs) -> anyhow::Result<()> {
    args.common.refuse_overrides("`audit`")?;
    if let Some(limit) = args.fail_at.filter(|limit| !(0.0..=1.0).contains(limit)) {
        return Err(UserMistake(format!("--fail-at: {limit} is not between 0 and 1")).into());
    }
    let mut dataset = Dataset::open(&args.dataset)?;
    if let Some(split) = args.split {
        let warnings = std::mem::take(&mut dataset.warnings);
        dataset = dataset.split(split);
        dataset.warnings = warnings;
    }
    // What cannot be compared is told before the audit.
    let against = match &args.against {
        Some(path) => Some(Side::reference(Dataset::open(path)?, None)?),
        None => None,
    };
    if args.common.dry_run {
        println!(
            "audit {} images with {} boxes of {}",
            dataset.samples.len(),
            dataset.box_count(),
            args.dataset.display()
        );
        return Ok(());
    }
    let observer = Progress::new(false);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(args.common.jobs())
        .build()
        .context("starting worker threads")?;
    let audit = pool.install(|| audit::audit(&dataset, &observer))?;
    let mut files = Vec::new();
    let mut gap = None;
    if let Some(out) = &args.out {
        std::fs::create_dir_all(out)
            .with_context(|| format!("making the folder {}", out.display()))?;
        let written = pool.install(|| audit::write_audit(&audit, &dataset, out))?;
        files.extend([written.html, written.json]);
        if let Some(real) = against {
            let own = Side::whole(dataset)?;
            let seed = args.common.seed;
            let found = pool.install(|| audit::compare(&real, &own, seed, &observer))?;
            let written = audit::write_gap(&found, out)?;
            files.extend([written.html, written.json]);
            gap = Some(found);
        }
    }
    if args.common.json {
        let mut value = serde_json::to_value(&audit)?;
        if let Some(gap) = &gap {
            value["gap"] = serde_json::to_value(gap)?;
        }
        println!("{}", serde_json::to_string_pretty(&value)?);
    } else {
        print(&audit);
        if let Some(gap) = &gap {
            println!("\n{gap}");
        }
        let paths: Vec<String> = files
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        if !paths.is_empty() {
            println!("\nPages: {}", paths.join(", "));
        }
    }
    fail(&audit, args.fail_at)
}

/// A line an issue, worst first, with its worst finding.
fn print(audit: &Audit) {
    println!("{}", audit.sentence());
    let mut issues: Vec<Issue> = Issue::ALL
        .into_iter()
        .filter(|issue| audit.of(*issue).next().is_some())
        .collect();
    let worst = |issue: Issue| audit.of(issue).map(|f| f.severity).fold(0.0, f64::max);
    issues.sort_by(|a, b| worst(*b).total_cmp(&worst(*a)));
    for issue in issues {
        let Some(first) = audit.of(issue).next() else {
            continue;
        };
        let place = first
            .image
            .as_deref()
            .map_or(String::new(), |i| format!("{i}: "));
        println!(
            "{:>6}  {:.2}  {}; such as {place}{}",
            audit.of(issue).count(),
            first.severity,
            issue.title(),
            first.message
        );
    }
}

fn fail(audit: &Audit, limit: Option<f64>) -> anyhow::Result<()> {
    let Some(limit) = limit else {
        return Ok(());
    };
    let severe = audit
        .findings
        .iter()
        .filter(|f| f.severity >= limit)
        .count();
    anyhow::ensure!(
        severe == 0,
        "{severe} findings are as severe as {limit} or more (--fail-at)"
    );
    Ok(())
}
