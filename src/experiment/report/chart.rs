//! The curve of an arm and its differences to real-only, as inline SVG. Colours are
//! CSS variables of the page, so that dark mode recolours them.

use std::fmt::Write;

use super::super::plan::ArmKind;
use super::super::tipping_point::{ArmSummary, Estimate, HarmOnset, LevelSummary};
use crate::html::{escape, round_ticks};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 50.0;

/// How far the points of the first and last seed stand from their ratio, in units of
/// the drawing.
const JITTER: f64 = 7.0;

/// Least distance of two labels of the horizontal axis, in units of the drawing: wide
/// enough for the larger letters of a narrow screen.
const LABEL_ROOM: f64 = 62.0;

/// Width of the reference's name and value, in units of the drawing.
const REFERENCE_ROOM: f64 = 110.0;

/// Maps data to the drawing.
pub(super) struct Axes {
    x: (f64, f64),
    y: (f64, f64),
    height: f64,
}

impl Axes {
    pub(super) fn new(levels: &[LevelSummary], values: &[f64], height: f64) -> Self {
        let high_x = levels.iter().map(|level| level.ratio).fold(0.0, f64::max);
        let margin_x = 0.04 * high_x.max(1e-9);
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (low, high) = if low.is_finite() {
            (low, high)
        } else {
            (0.0, 1.0)
        };
        let margin_y = 0.08 * (high - low).max(1e-3);
        Axes {
            x: (-margin_x, high_x + margin_x),
            y: (low - margin_y, high + margin_y),
            height,
        }
    }

    pub(super) fn px(&self, ratio: f64) -> f64 {
        LEFT + (ratio - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - LEFT - RIGHT)
    }

    pub(super) fn py(&self, value: f64) -> f64 {
        let inner = self.height - TOP - BOTTOM;
        TOP + (self.y.1 - value) / (self.y.1 - self.y.0) * inner
    }

    /// The drawing's first tag.
    pub(super) fn open(&self, description: &str) -> String {
        open(self.height, description)
    }

    /// Grid, tick labels and titles. Writing to a `String` cannot fail, here and below.
    pub(super) fn frame(
        &self,
        svg: &mut String,
        arm: &ArmSummary,
        [x_title, y_title]: [&str; 2],
        signed: bool,
    ) {
        let bottom = self.height - BOTTOM;
        let (ticks, decimals) = round_ticks(self.y.0, self.y.1);
        for tick in ticks {
            let y = self.py(tick);
            let label = if signed {
                format!("{tick:+.decimals$}")
            } else {
                format!("{tick:.decimals$}")
            };
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                WIDTH - RIGHT,
                LEFT - 8.0,
                y + 4.5
            );
        }
        let mut last_label = f64::NEG_INFINITY;
        let end = arm.levels.last().map_or(0.0, |level| self.px(level.ratio));
        for level in &arm.levels {
            let x = self.px(level.ratio);
            let _ = write!(
                svg,
                "<line class=\"axis\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{bottom}\" y2=\"{:.1}\"/>",
                bottom + 5.0
            );
            let has_room = x - last_label >= LABEL_ROOM && end - x >= LABEL_ROOM;
            if has_room || x == end {
                last_label = x;
                let _ = write!(
                    svg,
                    "<text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                    bottom + 20.0,
                    escape(&level.label)
                );
            }
        }
        let _ = write!(
            svg,
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{bottom}\" y2=\"{bottom}\"/>\
             <text class=\"title\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{x_title}</text>\
             <text class=\"title\" x=\"{LEFT}\" y=\"16\">{y_title}</text>",
            WIDTH - RIGHT,
            (LEFT + WIDTH - RIGHT) / 2.0,
            bottom + 40.0
        );
    }

    /// The horizontal place of harm onset, in units of the drawing, and its ratio.
    fn harm_line(&self, arm: &ArmSummary) -> Option<(f64, f64)> {
        match arm.harm_onset {
            Some(HarmOnset::From { ratio, .. }) => Some((self.px(ratio), ratio)),
            _ => None,
        }
    }

    /// A shaded region from harm onset to the right edge.
    fn harm(&self, svg: &mut String, arm: &ArmSummary) {
        let Some((x, ratio)) = self.harm_line(arm) else {
            return;
        };
        let right = WIDTH - RIGHT;
        let near_edge = right - x < 240.0;
        let (anchor, text_x) = if near_edge {
            ("end", x - 6.0)
        } else {
            ("start", x + 6.0)
        };
        let _ = write!(
            svg,
            "<rect class=\"harm-area\" x=\"{x:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>\
             <line class=\"harm-line\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/>\
             <text class=\"harm-text\" x=\"{text_x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">harm from {} on</text>",
            right - x,
            self.height - TOP - BOTTOM,
            self.height - BOTTOM,
            self.height - BOTTOM - 16.0,
            escape(&arm.kind.label(ratio))
        );
    }
}

/// What an arm's ratio is, as the title of the axis.
fn x_title(kind: ArmKind) -> &'static str {
    match kind {
        ArmKind::Substitution => "synthetic share of a training set of fixed size",
        ArmKind::Addition => "synthetic images added, per real image",
        ArmKind::Pretraining => "synthetic images trained on first, per real image",
        ArmKind::Curriculum => "synthetic images trained on in turn, per real image",
        ArmKind::Auxiliary => "synthetic images added with the auxiliary task, per real image",
        ArmKind::Augmentation => "augmented copies, per real image",
    }
}

fn open(height: f64, description: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">",
        escape(description)
    )
}

/// AP (or another value) over the ratio: points of every seed, mean, interval band,
/// real-only line, peak and harm onset.
pub(super) fn curve(
    arm: &ArmSummary,
    y_title: &str,
    point: fn(&(u64, f64, f64)) -> f64,
    mean: fn(&LevelSummary) -> Option<Estimate>,
    marks: bool,
) -> String {
    let mut values: Vec<f64> = Vec::new();
    for level in &arm.levels {
        values.extend(level.points.iter().map(point));
        values.extend(
            mean(level)
                .iter()
                .flat_map(|m| [m.low.max(0.0), m.high.min(1.0)]),
        );
    }
    let height = 380.0;
    let axes = Axes::new(&arm.levels, &values, height);
    let mut svg = open(height, &format!("{y_title} over the synthetic ratio"));
    if marks {
        axes.harm(&mut svg, arm);
    }
    axes.frame(&mut svg, arm, [x_title(arm.kind), y_title], false);
    let means: Vec<(f64, Estimate)> = arm
        .levels
        .iter()
        .filter_map(|level| Some((level.ratio, mean(level)?)))
        .collect();
    // The line of harm onset does not cross the name of the reference.
    let right = WIDTH - RIGHT;
    let name_ends = match axes.harm_line(arm) {
        Some((x, _)) if marks && right - x < REFERENCE_ROOM => x - 6.0,
        _ => right,
    };
    band_and_line(&mut svg, &axes, &means, name_ends);
    for level in &arm.levels {
        let count = level.points.len();
        for (index, seed_point) in level.points.iter().enumerate() {
            let offset = if count > 1 {
                JITTER * (2.0 * index as f64 / (count - 1) as f64 - 1.0)
            } else {
                0.0
            };
            let value = point(seed_point);
            let _ = write!(
                svg,
                "<circle class=\"seed\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.2\"><title>{}, seed {}: {value:.4}</title></circle>",
                axes.px(level.ratio) + offset,
                axes.py(value),
                escape(&level.label),
                seed_point.0
            );
        }
    }
    for (ratio, estimate) in &means {
        let _ = write!(
            svg,
            "<circle class=\"mean\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4.6\"><title>mean {:.4} [{:.4}, {:.4}]</title></circle>",
            axes.px(*ratio),
            axes.py(estimate.value),
            estimate.value,
            estimate.low,
            estimate.high
        );
    }
    if marks {
        peak(&mut svg, &axes, arm, &means);
        tipping_point(&mut svg, &axes, arm);
    }
    svg.push_str("</svg>");
    svg
}

/// A bar above the axis over the ratios at which the loss may reach what matters.
fn tipping_point(svg: &mut String, axes: &Axes, arm: &ArmSummary) {
    let Some(place) = arm.tipping_point else {
        return;
    };
    let largest = arm.levels.last().map_or(0.0, |level| level.ratio);
    let y = axes.height - BOTTOM - 4.0;
    let label = |ratio: Option<f64>| match ratio {
        Some(ratio) => arm.kind.label(ratio),
        None => format!("> {}", arm.kind.label(largest)),
    };
    let title = format!(
        "the loss reaches the smallest effect of interest at {} [{}, {}]",
        label(place.value),
        arm.kind.label(place.low),
        label(place.high)
    );
    let _ = write!(
        svg,
        "<line class=\"tipping\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"><title>{}</title></line>",
        axes.px(place.low),
        axes.px(place.high.unwrap_or(largest)),
        escape(&title)
    );
    if let Some(value) = place.value {
        let _ = write!(
            svg,
            "<circle class=\"tipping-point\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"4.6\"/>",
            axes.px(value)
        );
    }
}

fn band_and_line(svg: &mut String, axes: &Axes, means: &[(f64, Estimate)], name_ends: f64) {
    let Some((_, reference)) = means.first() else {
        return;
    };
    let mut band = String::new();
    for (ratio, estimate) in means {
        let _ = write!(
            band,
            "{:.1},{:.1} ",
            axes.px(*ratio),
            axes.py(estimate.high.min(axes.y.1))
        );
    }
    for (ratio, estimate) in means.iter().rev() {
        let _ = write!(
            band,
            "{:.1},{:.1} ",
            axes.px(*ratio),
            axes.py(estimate.low.max(axes.y.0))
        );
    }
    let line: Vec<String> = means
        .iter()
        .map(|(ratio, estimate)| format!("{:.1},{:.1}", axes.px(*ratio), axes.py(estimate.value)))
        .collect();
    let y = axes.py(reference.value);
    let _ = write!(
        svg,
        "<polygon class=\"band\" points=\"{}\"/>\
         <line class=\"reference\" x1=\"{LEFT}\" x2=\"{right:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
         <text class=\"reference-text\" x=\"{name_ends:.1}\" y=\"{:.1}\" text-anchor=\"end\">real-only {:.3}</text>\
         <polyline class=\"line\" points=\"{}\"/>",
        band.trim_end(),
        y - 6.0,
        reference.value,
        line.join(" "),
        right = WIDTH - RIGHT
    );
}

/// A ring at the best ratio, and a bar over those that cannot be told from it.
fn peak(svg: &mut String, axes: &Axes, arm: &ArmSummary, means: &[(f64, Estimate)]) {
    let Some(peak) = &arm.peak else { return };
    let Some((_, best)) = means.iter().find(|(ratio, _)| *ratio == peak.ratio) else {
        return;
    };
    let (x, y) = (axes.px(peak.ratio), axes.py(best.value));
    let _ = write!(
        svg,
        "<circle class=\"peak\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"9\"/>"
    );
    let ends = peak
        .indistinguishable
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), ratio| {
            (low.min(*ratio), high.max(*ratio))
        });
    let (from, to) = (axes.px(ends.0) - 8.0, axes.px(ends.1) + 8.0);
    let _ = write!(
        svg,
        "<rect class=\"peak-bar\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"5\" rx=\"2.5\"/>",
        TOP - 5.0,
        to - from
    );
    for ratio in &peak.indistinguishable {
        let _ = write!(
            svg,
            "<circle class=\"peak-dot\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\"/>",
            axes.px(*ratio),
            TOP - 2.5
        );
    }
}

/// Differences to real-only with their simultaneous intervals, and the zone in which
/// a loss does not matter.
pub(super) fn differences(arm: &ArmSummary, smallest_effect: f64) -> Option<String> {
    let shown: Vec<(&LevelSummary, Estimate)> = arm
        .levels
        .iter()
        .filter_map(|level| Some((level, level.difference?)))
        .collect();
    if shown.is_empty() {
        return None;
    }
    let mut values = vec![-smallest_effect, smallest_effect];
    values.extend(shown.iter().flat_map(|(_, d)| [d.low, d.high]));
    let height = 300.0;
    let axes = Axes::new(&arm.levels, &values, height);
    let mut svg = open(
        height,
        "AP difference to real-only over the synthetic ratio",
    );
    let _ = write!(
        svg,
        "<rect class=\"zone\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
        axes.py(smallest_effect),
        WIDTH - LEFT - RIGHT,
        axes.py(-smallest_effect) - axes.py(smallest_effect)
    );
    let titles = [x_title(arm.kind), "AP difference to real-only"];
    axes.frame(&mut svg, arm, titles, true);
    let zero = axes.py(0.0);
    let _ = write!(
        svg,
        "<line class=\"reference\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{zero:.1}\" y2=\"{zero:.1}\"/>",
        WIDTH - RIGHT
    );
    for (level, d) in shown {
        let x = axes.px(level.ratio);
        let (low, high) = (axes.py(d.low), axes.py(d.high));
        let class = match level.standing {
            super::super::tipping_point::Standing::Harm => "bad",
            super::super::tipping_point::Standing::Better => "good",
            super::super::tipping_point::Standing::NoHarm => "fine",
            _ => "open",
        };
        let _ = write!(
            svg,
            "<g class=\"{class}\"><line class=\"whisker\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{high:.1}\" y2=\"{low:.1}\"/>"
        );
        for y in [low, high] {
            let _ = write!(
                svg,
                "<line class=\"whisker\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
                x - 6.0,
                x + 6.0
            );
        }
        let _ = write!(
            svg,
            "<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{:.1}\" r=\"5\"><title>{}: {:+.4} [{:+.4}, {:+.4}], {}</title></circle></g>",
            axes.py(d.value),
            escape(&level.label),
            d.value,
            d.low,
            d.high,
            level.standing.label()
        );
    }
    svg.push_str("</svg>");
    Some(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_points_give_a_finite_drawing() {
        let axes = Axes::new(&[], &[], 300.0);
        assert!(axes.px(0.0).is_finite() && axes.py(0.5).is_finite());
    }
}
