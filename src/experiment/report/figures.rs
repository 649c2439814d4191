//! Each figure of the page as a file of its own, with the numbers that it shows.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::super::ExperimentError;
use super::super::tipping_point::{ArmSummary, Estimate, Summary};
use super::chart;
use super::learning_curve::learning_curve;
use crate::dataset::{DatasetError, write_atomically};
use crate::html::STYLE;

/// Writes `figures/NAME.svg` and `NAME.csv` of every arm and of the learning curve, and tells
/// where.
///
/// # Errors
/// A file that cannot be written.
pub(super) fn write_figures(
    summary: &Summary,
    out: &Path,
) -> Result<Vec<PathBuf>, ExperimentError> {
    let folder = out.join("figures");
    std::fs::create_dir_all(&folder).map_err(|source| DatasetError::Write {
        path: folder.clone(),
        source,
    })?;
    let mut written = Vec::new();
    let mut write = |name: &str, text: &str| -> Result<(), ExperimentError> {
        let path = folder.join(name);
        write_atomically(&path, text.as_bytes())?;
        written.push(path);
        Ok(())
    };
    for arm in &summary.arms {
        let name = match &arm.source {
            // A source's name may hold what no file's may.
            Some(source) => format!("{}_{}", arm.kind.name(), file_name(source)),
            None => arm.kind.name().to_owned(),
        };
        let curve = chart::curve(arm, "AP on the real test split", |p| p.1, |l| l.ap, true);
        write(&format!("{name}.svg"), &standalone(&curve))?;
        if let Some(differences) = chart::differences(arm, summary.smallest_effect) {
            write(&format!("{name}_difference.svg"), &standalone(&differences))?;
        }
        write(&format!("{name}.csv"), &levels(arm))?;
    }
    for factors in &summary.factors {
        let Some(effects) = super::factors::effects(factors, summary.smallest_effect) else {
            continue;
        };
        let name = format!("factors_{}", factors.kind.name());
        write(&format!("{name}.svg"), &standalone(&effects))?;
        let mut csv = "factor,change,ap_difference,low,high\n".to_owned();
        for effect in factors.main_effects.iter().chain(&factors.interactions) {
            csv.push_str(&format!(
                "{},\"{}\",{}\n",
                effect.factor,
                effect.change,
                numbers(Some(effect.difference))
            ));
        }
        write(&format!("{name}.csv"), &csv)?;
    }
    if let Some(rate) = &summary.exchange_rate
        && let Some(curve) = learning_curve(rate, summary)
    {
        write("learning_curve.svg", &standalone(&curve))?;
        let mut csv = "n_real,fitted_ap,low,high\n".to_owned();
        for (n, ap) in &rate.band {
            csv.push_str(&format!("{n:.2},{}\n", numbers(Some(*ap))));
        }
        write("learning_curve.csv", &csv)?;
    }
    Ok(written)
}

/// A chart of the page with the page's style in it.
fn standalone(svg: &str) -> String {
    svg.replacen("<svg ", "<svg xmlns=\"http://www.w3.org/2000/svg\" ", 1)
        .replacen('>', &format!("><style>{STYLE}</style>"), 1)
}

fn file_name(text: &str) -> String {
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c
        } else {
            '_'
        }
    };
    text.chars().map(safe).collect()
}

/// One row a ratio.
fn levels(arm: &ArmSummary) -> String {
    let mut csv = "ratio,n_real,n_synthetic,ap,ap_low,ap_high,difference,difference_low,\
                   difference_high,fitted_ap,standing\n"
        .to_owned();
    for level in &arm.levels {
        let fitted = arm.fitted.iter().find(|(ratio, _)| *ratio == level.ratio);
        // Writing to a String cannot fail.
        let _ = writeln!(
            csv,
            "{},{},{},{},{},{},{}",
            level.ratio,
            level.condition.n_real,
            level.condition.n_synthetic,
            numbers(level.ap),
            numbers(level.difference),
            fitted.map_or(String::new(), |(_, ap)| format!("{ap:.6}")),
            level.standing.label()
        );
    }
    csv
}

fn numbers(estimate: Option<Estimate>) -> String {
    estimate.map_or(",,".to_owned(), |e| {
        format!("{:.6},{:.6},{:.6}", e.value, e.low, e.high)
    })
}
