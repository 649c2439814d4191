//! The curves of several arms in one drawing, each of which can be switched off.
//!
//! The switches are check boxes that a style sheet reads, so that the page needs no script.

use std::fmt::Write;

use super::super::plan::ArmKind;
use super::super::tipping_point::{ArmSummary, LevelSummary, Summary};
use super::chart::Axes;
use crate::html::escape;

/// Curves that the page's style has colours for; no more are drawn.
const COLOURS: usize = 8;

/// One drawing for arms of a fixed total, and one for those of fixed real images, where there
/// are several of either. Writing to a `String` cannot fail, here and below.
pub(super) fn write_overlays(html: &mut String, summary: &Summary) {
    let is_share = |arm: &&ArmSummary| arm.kind == ArmKind::Substitution;
    let shares: Vec<&ArmSummary> = summary.arms.iter().filter(is_share).collect();
    let multiples: Vec<&ArmSummary> = summary.arms.iter().filter(|arm| !is_share(arm)).collect();
    for (number, mut arms) in [shares, multiples].into_iter().enumerate() {
        let all = arms.len();
        arms.truncate(COLOURS);
        let Some(drawing) = overlay(&arms) else {
            continue;
        };
        html.push_str("<section><h2>The curves together</h2><div class=\"overlay\">");
        for (index, arm) in arms.iter().enumerate() {
            let series = series(index);
            let _ = write!(
                html,
                "<input type=\"checkbox\" checked class=\"toggle {series}\" id=\"curve{number}_{index}\">\
                 <label class=\"{series}\" for=\"curve{number}_{index}\">{}</label>",
                escape(&name(arm))
            );
        }
        let _ = writeln!(
            html,
            "<figure>{drawing}<figcaption>Means over the complete seeds; the intervals are those of \
             each arm's own drawing. Untick a name to hide its curve.{}</figcaption></figure></div></section>",
            match all {
                0..=COLOURS => String::new(),
                _ => format!(" The first {COLOURS} of {all} arms."),
            }
        );
    }
}

/// The curves of arms whose ratios mean the same; `None` where there are not two.
pub(super) fn overlay(arms: &[&ArmSummary]) -> Option<String> {
    if arms.len() < 2 {
        return None;
    }
    let all: Vec<LevelSummary> = arms.iter().flat_map(|arm| arm.levels.clone()).collect();
    let means: Vec<f64> = all.iter().filter_map(|l| Some(l.ap?.value)).collect();
    if means.is_empty() {
        return None;
    }
    let axes = Axes::new(&all, &means, 380.0);
    let mut svg = axes.open("AP over the synthetic ratio, a curve for each arm");
    let labelled = arms.iter().max_by(|a, b| {
        let reach = |arm: &ArmSummary| arm.levels.last().map_or(0.0, |level| level.ratio);
        (reach(a), a.levels.len())
            .partial_cmp(&(reach(b), b.levels.len()))
            .unwrap_or(std::cmp::Ordering::Equal)
    })?;
    let x_title = match labelled.kind {
        ArmKind::Substitution => "synthetic share of a training set of fixed size",
        _ => "synthetic images, per real image",
    };
    let titles = [x_title, "AP on the real test split"];
    axes.frame(&mut svg, labelled, titles, false);
    for (index, arm) in arms.iter().enumerate() {
        let points: Vec<(f64, f64, &LevelSummary)> = arm
            .levels
            .iter()
            .filter_map(|level| Some((axes.px(level.ratio), axes.py(level.ap?.value), level)))
            .collect();
        let line: Vec<String> = points
            .iter()
            .map(|(x, y, _)| format!("{x:.1},{y:.1}"))
            .collect();
        let _ = write!(
            svg,
            "<g class=\"series {}\"><polyline class=\"curve\" points=\"{}\"/>",
            series(index),
            line.join(" ")
        );
        for (x, y, level) in points {
            let ap = level.ap.map_or(String::new(), |ap| {
                format!("{:.3} [{:.3}, {:.3}]", ap.value, ap.low, ap.high)
            });
            let _ = write!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.6\"><title>{}, {}: {ap}</title></circle>",
                escape(&name(arm)),
                escape(&level.label)
            );
        }
        svg.push_str("</g>");
    }
    svg.push_str("</svg>");
    Some(svg)
}

fn series(index: usize) -> String {
    format!("s{}", index + 1)
}

/// An arm's kind, with its setting where there are several.
pub(super) fn name(arm: &ArmSummary) -> String {
    match &arm.source {
        Some(source) => format!("{}, {source}", arm.kind.name()),
        None => arm.kind.name().to_owned(),
    }
}
