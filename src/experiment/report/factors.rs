//! What the factors change, as a drawing and a table.

use std::fmt::Write;

use super::super::tipping_point::{Estimate, FactorEffect, FactorSummary, Summary};
use super::page::{difference_interval, standing_class};
use crate::html::{escape, round_ticks};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 330.0;
const RIGHT: f64 = 24.0;
const ROW: f64 = 34.0;
const BOTTOM: f64 = 44.0;
const TOP: f64 = 12.0;

/// How combinations fell out, where the plan halves them.
pub(super) fn write_halving(html: &mut String, summary: &Summary) {
    let Some(halving) = &summary.halving else {
        return;
    };
    let _ = writeln!(
        html,
        "<section><h2>Which combination is best</h2><p>{}</p>",
        escape(&halving.sentence)
    );
    if !halving.survivors.is_empty() {
        html.push_str(
            "<div class=\"scroll\"><table><thead><tr><th>left</th><th>arm</th><th>AP minus that of \
             the first combination</th><th>says</th></tr></thead><tbody>",
        );
        for survivor in &halving.survivors {
            let _ = write!(
                html,
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td><span class=\"chip \
                 {}\">{}</span></td></tr>",
                escape(&survivor.name),
                survivor.kind.name(),
                difference_interval(survivor.difference),
                standing_class(survivor.standing),
                survivor.standing.label_of_way()
            );
        }
        html.push_str("</tbody></table></div>\n");
    }
    for (number, round) in (1..).zip(&halving.rounds) {
        let _ = write!(
            html,
            "<details><summary>Round {number}: {} seeds</summary><div class=\"scroll\"><table><thead>\
             <tr><th>combination</th><th>AP on val</th><th>goes on</th></tr></thead><tbody>",
            round.seeds
        );
        for cell in &round.ranking {
            let _ = write!(
                html,
                "<tr><th scope=\"row\">{}</th><td>{:.3}</td><td>{}</td></tr>",
                escape(&cell.name),
                cell.validation_ap,
                if cell.is_kept { "yes" } else { "no" }
            );
        }
        html.push_str("</tbody></table></div></details>\n");
    }
    html.push_str(
        "<p>Rounds rank by the mean AP on the val split over all trials of a combination; the first \
         always goes on, since the others are compared with it. What is left is compared on the test \
         split with all seeds, the mean over the ratios with synthetic images, together at 95 % \
         (Bonferroni).</p></section>\n",
    );
}

/// The factors of every arm. Writing to a `String` cannot fail, here and below.
pub(super) fn write_factors(html: &mut String, summary: &Summary) {
    for factors in &summary.factors {
        let _ = writeln!(
            html,
            "<section><h2>What else changes the AP ({})</h2><p>{}</p>",
            factors.kind.name(),
            escape(&factors.sentence)
        );
        if let Some(svg) = effects(factors, summary.smallest_effect) {
            let _ = writeln!(
                html,
                "<figure>{svg}<figcaption>Main effects, the largest first, with intervals that hold \
                 together at 95 %. Shaded: less than the smallest effect of interest ({} \
                 AP).</figcaption></figure>",
                summary.smallest_effect
            );
        }
        for (title, effects) in [
            ("main effect", &factors.main_effects),
            ("interaction", &factors.interactions),
        ] {
            write_table(html, title, effects);
        }
        let _ = write!(
            html,
            "<p>{} of {} combinations of levels were tried, at every ratio and with the same seeds. A \
             main effect is the mean over the ratios with synthetic images and over the other \
             factors; quantity is the largest ratio in place of the smallest. An interaction says by \
             how much more one change does under the other. Each table holds together at 95 % \
             (Bonferroni).",
            factors.cells, factors.cells_of_all
        );
        if factors.mixed_with_interactions {
            html.push_str(
                " So few combinations cannot tell a main effect from an interaction of two others: \
                 a main effect is right where factors do not depend on each other.",
            );
        }
        html.push_str("</p></section>\n");
    }
}

fn write_table(html: &mut String, title: &str, effects: &[FactorEffect]) {
    if effects.is_empty() {
        return;
    }
    let mut labels: Vec<&str> = Vec::new();
    for (label, _) in effects.iter().flat_map(|effect| &effect.at_ratios) {
        if !labels.contains(&label.as_str()) {
            labels.push(label);
        }
    }
    labels.sort_by(|a, b| numeric(a).total_cmp(&numeric(b)));
    let _ = write!(
        html,
        "<div class=\"scroll\"><table><thead><tr><th>{title}</th><th>change</th><th>AP</th>"
    );
    for label in &labels {
        let _ = write!(html, "<th>at {}</th>", escape(label));
    }
    html.push_str("<th>says</th></tr></thead><tbody>");
    for effect in effects {
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td>",
            escape(&effect.factor),
            escape(&effect.change),
            difference_interval(Some(effect.difference))
        );
        for label in &labels {
            let at = effect.at_ratios.iter().find(|(own, _)| own == label);
            let at: Option<Estimate> = at.map(|(_, estimate)| *estimate);
            let _ = write!(html, "<td>{}</td>", difference_interval(at));
        }
        let _ = write!(
            html,
            "<td><span class=\"chip {}\">{}</span></td></tr>",
            standing_class(effect.standing),
            effect.standing.label_of_way()
        );
    }
    html.push_str("</tbody></table></div>\n");
}

/// The number that a ratio's label begins with.
fn numeric(label: &str) -> f64 {
    let end = label.find(|c: char| !c.is_ascii_digit() && c != '.');
    label[..end.unwrap_or(label.len())].parse().unwrap_or(0.0)
}

/// Main effects as dots with whiskers, a row each. `None` where there are none.
pub(super) fn effects(factors: &FactorSummary, smallest_effect: f64) -> Option<String> {
    let shown = &factors.main_effects;
    if shown.is_empty() {
        return None;
    }
    let sides = shown
        .iter()
        .flat_map(|e| [e.difference.low, e.difference.high]);
    let sides: Vec<f64> = sides.chain([-smallest_effect, smallest_effect]).collect();
    let low = sides.iter().copied().fold(f64::INFINITY, f64::min);
    let high = sides.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let margin = 0.06 * (high - low).max(1e-3);
    let (low, high) = (low - margin, high + margin);
    let bottom = TOP + ROW * shown.len() as f64;
    let height = bottom + BOTTOM;
    let px = |value: f64| LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Main effects of the factors on the AP\">\
         <rect class=\"zone\" x=\"{:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>",
        px(-smallest_effect),
        px(smallest_effect) - px(-smallest_effect),
        bottom - TOP
    );
    let (ticks, decimals) = round_ticks(low, high);
    for tick in ticks {
        let x = px(tick);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:+.decimals$}</text>",
            bottom + 18.0,
            tick + 0.0
        );
    }
    let zero = px(0.0);
    let _ = write!(
        svg,
        "<line class=\"reference\" x1=\"{zero:.1}\" x2=\"{zero:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
         <text class=\"title\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">change of AP</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        bottom + 38.0
    );
    for (index, effect) in shown.iter().enumerate() {
        let y = TOP + ROW * (index as f64 + 0.5);
        let d = effect.difference;
        let (from, to) = (px(d.low), px(d.high));
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <g class=\"{}\"><line class=\"whisker\" x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <circle class=\"dot\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"5\"><title>{}: {:+.4} [{:+.4}, {:+.4}], {}</title></circle></g>",
            LEFT - 12.0,
            y - 2.0,
            escape(&effect.factor),
            LEFT - 12.0,
            y + 12.0,
            escape(&effect.change),
            standing_class(effect.standing),
            px(d.value),
            escape(&effect.change),
            d.value,
            d.low,
            d.high,
            effect.standing.label_of_way()
        );
    }
    svg.push_str("</svg>");
    Some(svg)
}
