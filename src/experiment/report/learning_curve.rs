//! The learning curve of real images, and where on it the mixtures stand, as inline SVG.

use std::fmt::Write;

use super::super::exchange_rate::ExchangeRate;
use super::super::tipping_point::Summary;
use crate::html::{escape, round_ticks};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 50.0;

/// AP over the number of real images, on a logarithmic axis. `None` without a curve.
/// Writing to a `String` cannot fail, here and below.
pub(super) fn learning_curve(rate: &ExchangeRate, summary: &Summary) -> Option<String> {
    let (first, last) = (rate.points.first()?.0 as f64, rate.points.last()?.0 as f64);
    rate.curve?;
    let mixtures: Vec<(f64, f64, String)> = rate
        .rows
        .iter()
        .filter_map(|row| {
            let levels = summary.arms.iter().flat_map(|arm| &arm.levels);
            let level = levels
                .into_iter()
                .find(|level| level.condition == row.condition)?;
            let name = format!(
                "{} real + {} synthetic: AP {:.3}, as {:.0} real",
                row.condition.n_real,
                row.condition.n_synthetic,
                level.ap?.value,
                row.equivalent.value
            );
            Some((row.condition.n_real as f64, level.ap?.value, name))
        })
        .filter(|(n_real, ..)| *n_real >= first)
        .collect();
    let heights = rate.band.iter().flat_map(|(_, ap)| [ap.low, ap.high]);
    let heights = heights.chain(rate.points.iter().map(|(_, ap)| *ap));
    let heights: Vec<f64> = heights
        .chain(mixtures.iter().map(|(_, ap, _)| *ap))
        .collect();
    let low = heights.iter().copied().fold(f64::INFINITY, f64::min);
    let high = heights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let margin = 0.08 * (high - low).max(1e-3);
    let (low, high) = (low - margin, high + margin);
    let px = |n: f64| {
        let along = (n / first).ln() / (last / first).ln();
        LEFT + 16.0 + along * (WIDTH - LEFT - RIGHT - 32.0)
    };
    let py = |ap: f64| TOP + (high - ap) / (high - low) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"AP over the number of real images\">"
    );
    let bottom = HEIGHT - BOTTOM;
    let (ticks, decimals) = round_ticks(low, high);
    for tick in ticks {
        let y = py(tick);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{tick:.decimals$}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            y + 4.5
        );
    }
    for (n, _) in &rate.points {
        let x = px(*n as f64);
        let _ = write!(
            svg,
            "<line class=\"axis\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{bottom}\" y2=\"{:.1}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{n}</text>",
            bottom + 5.0,
            bottom + 20.0
        );
    }
    let _ = write!(
        svg,
        "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{bottom}\" y2=\"{bottom}\"/>\
         <text class=\"title\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">real images, logarithmic</text>\
         <text class=\"title\" x=\"{LEFT}\" y=\"16\">AP on the real test split</text>",
        WIDTH - RIGHT,
        (LEFT + WIDTH - RIGHT) / 2.0,
        bottom + 40.0
    );
    let corner = |(n, ap): (f64, f64)| format!("{:.1},{:.1}", px(n), py(ap));
    let upper = rate.band.iter().map(|(n, ap)| corner((*n, ap.high)));
    let lower = rate.band.iter().rev().map(|(n, ap)| corner((*n, ap.low)));
    let outline: Vec<String> = upper.chain(lower).collect();
    let line: Vec<String> = rate
        .band
        .iter()
        .map(|(n, ap)| corner((*n, ap.value)))
        .collect();
    let _ = write!(
        svg,
        "<polygon class=\"band\" points=\"{}\"/><polyline class=\"line\" points=\"{}\"/>",
        outline.join(" "),
        line.join(" ")
    );
    for (n, ap) in &rate.points {
        let _ = write!(
            svg,
            "<circle class=\"mean\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4.6\"><title>{n} real: AP {ap:.3}</title></circle>",
            px(*n as f64),
            py(*ap)
        );
    }
    for (n_real, ap, name) in &mixtures {
        let (x, y) = (px(*n_real), py(*ap));
        let _ = write!(
            svg,
            "<rect class=\"mixture\" x=\"{:.1}\" y=\"{:.1}\" width=\"9\" height=\"9\"><title>{}</title></rect>",
            x - 4.5,
            y - 4.5,
            escape(name)
        );
    }
    svg.push_str("</svg>");
    Some(svg)
}
