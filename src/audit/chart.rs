//! The distribution functions of a feature in both sets, as inline SVG. Colours are CSS
//! variables of the page, so that dark mode recolours them.

use std::fmt::Write;

use super::gap::{FeatureGap, Spread};
use super::sentence::printed;
use super::statistics::quantile;
use crate::html::{escape, round_ticks};

const WIDTH: f64 = 430.0;
const HEIGHT: f64 = 236.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 44.0;

/// Width of a digit and of the space between two labels, in units of the drawing.
const DIGIT: f64 = 8.0;
const LABEL_SPACE: f64 = 12.0;

/// Where the strips of the real and the synthetic set lie above the curves.
const STRIPS: [(&str, f64); 2] = [("real", 14.0), ("synthetic", 28.0)];

/// Maps a feature to the drawing.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    /// Room for all but the outermost values of both sets.
    fn of(gap: &FeatureGap) -> Self {
        let at = |share: f64| [&gap.real, &gap.synthetic].map(|set| quantile(&set.sorted, share));
        let low = at(0.005).into_iter().fold(f64::INFINITY, f64::min);
        let high = at(0.995).into_iter().fold(f64::NEG_INFINITY, f64::max);
        let width = high - low;
        // Room for a label's width where all values are equal.
        let margin = if width > 1e-9 * low.abs().max(1.0) {
            0.04 * width
        } else {
            0.5 * low.abs().max(1.0)
        };
        Axis {
            low: low - margin,
            high: high + margin,
        }
    }

    fn px(&self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low);
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }
}

fn py(share: f64) -> f64 {
    TOP + (1.0 - share) * (HEIGHT - TOP - BOTTOM)
}

/// Share of sorted values that are at most `value`.
fn share_up_to(sorted: &[f64], value: f64) -> f64 {
    sorted.partition_point(|v| *v <= value) as f64 / sorted.len() as f64
}

/// Both curves, the greatest distance between them, and above them the range from 10 to 90 %
/// and the median of each set. Writing to a `String` cannot fail, here and below.
pub(super) fn curves(gap: &FeatureGap) -> String {
    let axis = Axis::of(gap);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        escape(&format!(
            "Distribution of {} in real and synthetic images",
            gap.feature.name
        ))
    );
    frame(&mut svg, &axis, gap);
    for ((class, y), set) in STRIPS.into_iter().zip([&gap.real, &gap.synthetic]) {
        strip(&mut svg, &axis, class, y, set, gap);
        curve(&mut svg, &axis, class, set);
    }
    distance(&mut svg, &axis, gap);
    svg.push_str("</svg>");
    svg
}

/// Grid, tick labels and the title of the axis.
fn frame(svg: &mut String, axis: &Axis, gap: &FeatureGap) {
    let right = WIDTH - RIGHT;
    for percent in [0, 25, 50, 75, 100] {
        let y = py(f64::from(percent) / 100.0);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
        );
        if percent % 50 == 0 {
            let _ = write!(
                svg,
                "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{percent} %</text>",
                LEFT - 6.0,
                y + 4.5
            );
        }
    }
    let bottom = HEIGHT - BOTTOM;
    let (ticks, decimals) = round_ticks(axis.low, axis.high);
    let mut label_end = f64::NEG_INFINITY;
    for tick in ticks {
        let x = axis.px(tick);
        let _ = write!(
            svg,
            "<line class=\"axis\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{bottom}\" y2=\"{:.1}\"/>",
            bottom + 4.0
        );
        let label = format!("{tick:.decimals$}");
        let half = label.len() as f64 * DIGIT / 2.0;
        if x - half >= label_end + LABEL_SPACE && x + half <= WIDTH {
            label_end = x + half;
            let _ = write!(
                svg,
                "<text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
                bottom + 18.0
            );
        }
    }
    let _ = write!(
        svg,
        "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{bottom}\" y2=\"{bottom}\"/>\
         <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
        (LEFT + right) / 2.0,
        bottom + 36.0,
        escape(gap.feature.unit)
    );
}

/// The range from 10 to 90 % as a bar, the median as a dot.
fn strip(svg: &mut String, axis: &Axis, class: &str, y: f64, set: &Spread, gap: &FeatureGap) {
    let [low, median, high] = [set.low_10, set.median, set.high_90];
    let words = [low, median, high].map(|value| printed(gap, value));
    let _ = write!(
        svg,
        "<g class=\"{class}\"><title>{class}: {} / {} / {} (10 % / median / 90 %)</title>\
         <line class=\"range-bar\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y}\" y2=\"{y}\"/>\
         <circle class=\"dot\" cx=\"{:.1}\" cy=\"{y}\" r=\"4.5\"/></g>",
        words[0],
        words[1],
        words[2],
        axis.px(low),
        axis.px(high),
        axis.px(median)
    );
}

/// The distribution function, one point a unit of the drawing.
fn curve(svg: &mut String, axis: &Axis, class: &str, set: &Spread) {
    let columns = (WIDTH - LEFT - RIGHT) as u32;
    let mut points = String::new();
    let mut last = f64::NAN;
    for column in 0..=columns {
        let value = axis.low + (axis.high - axis.low) * f64::from(column) / f64::from(columns);
        let share = share_up_to(&set.sorted, value);
        // A level stretch needs its two ends only.
        if share != last && column > 0 && last.is_finite() {
            let before = LEFT + f64::from(column - 1);
            let _ = write!(points, "{before:.0},{:.1} ", py(last));
        }
        if share != last || column == columns {
            let _ = write!(points, "{:.0},{:.1} ", LEFT + f64::from(column), py(share));
        }
        last = share;
    }
    let _ = write!(
        svg,
        "<polyline class=\"curve {class}\" points=\"{}\"/>",
        points.trim_end()
    );
}

/// A dashed line where the curves are furthest apart.
fn distance(svg: &mut String, axis: &Axis, gap: &FeatureGap) {
    let shares =
        |value: f64| [&gap.real, &gap.synthetic].map(|set| share_up_to(&set.sorted, value));
    let apart = |value: f64| {
        let [real, synthetic] = shares(value);
        (real - synthetic).abs()
    };
    let values = gap.real.sorted.iter().chain(&gap.synthetic.sorted).copied();
    let Some(place) = values.max_by(|a, b| apart(*a).total_cmp(&apart(*b))) else {
        return;
    };
    if apart(place) == 0.0 {
        return;
    }
    let (x, [real, synthetic]) = (axis.px(place), shares(place));
    let _ = write!(
        svg,
        "<line class=\"reference\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
        py(real),
        py(synthetic)
    );
}

#[cfg(test)]
mod tests {
    use super::super::gap::tests::{Tweak, gap};
    use super::*;

    #[test]
    fn curves_rise_from_left_to_right_and_stay_inside() {
        for feature in &gap([30, 20], Tweak::default()).features {
            let svg = curves(feature);
            let lines: Vec<&str> = svg.split("points=\"").skip(1).collect();
            assert_eq!(lines.len(), 2);
            for line in lines {
                let numbers: Vec<f64> = line
                    .split('"')
                    .next()
                    .unwrap()
                    .split([' ', ','])
                    .map(|number| number.parse().unwrap())
                    .collect();
                for point in numbers.chunks(2) {
                    assert!((LEFT..=WIDTH - RIGHT).contains(&point[0]), "{point:?}");
                    assert!((TOP..=HEIGHT - BOTTOM).contains(&point[1]), "{point:?}");
                }
                let rises = numbers
                    .windows(4)
                    .step_by(2)
                    .all(|p| p[2] >= p[0] && p[3] <= p[1]);
                assert!(rises, "{}: {numbers:?}", feature.feature.key);
            }
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
