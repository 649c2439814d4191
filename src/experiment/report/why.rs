//! The sections that explain a curve: kinds of errors, generator fit, worth in real images.

use std::fmt::Write;

use super::super::exchange_rate::Worth;
use super::super::tipping_point::{ArmSummary, Estimate, Summary, Why};
use super::learning_curve::learning_curve;
use super::page::{difference_interval, standing_class};
use crate::evaluation::ErrorKinds;
use crate::html::escape;

/// Why each ratio of an arm scores as it does. Writing to a `String` cannot fail, here and
/// below.
pub(super) fn write_why(html: &mut String, arm: &ArmSummary) {
    let explained = |why: &Why| why.errors.is_some() || why.generator_fit.is_some();
    let has_domains = arm
        .levels
        .iter()
        .any(|level| level.why.domain_auc.is_some());
    let has_diversity = arm.levels.iter().any(|level| level.why.diversity.is_some());
    if !arm.levels.iter().any(|level| explained(&level.why)) {
        return;
    }
    html.push_str(
        "<details open><summary>Why: what the detectors get wrong, and whether they know the generator \
         better than the world</summary><div class=\"scroll\"><table><thead><tr><th>synthetic</th>\
         <th>generator fit</th>",
    );
    if has_domains {
        html.push_str("<th>told apart</th>");
    }
    if has_diversity {
        html.push_str("<th>diver&shy;sity</th>");
    }
    html.push_str(
        "<th>missed</th><th>mis&shy;located</th><th>confused</th>\
         <th>duplicate</th><th>back&shy;ground</th><th>AP small</th><th>AP medium</th>\
         <th>AP large</th></tr></thead><tbody>",
    );
    for level in &arm.levels {
        let why = &level.why;
        let number =
            |value: Option<f64>| value.map_or("&ndash;".to_owned(), |value| format!("{value:.3}"));
        let error = |of: fn(&ErrorKinds) -> f64| number(why.errors.as_ref().map(of));
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{}</th><td>{}</td>",
            escape(&level.label),
            signed_interval(why.generator_fit),
        );
        if has_domains {
            let _ = write!(html, "<td>{}</td>", number(why.domain_auc));
        }
        if has_diversity {
            let score = why
                .diversity
                .map_or("&ndash;".to_owned(), |v| format!("{v:.1}"));
            let _ = write!(html, "<td>{score}</td>");
        }
        let _ = write!(
            html,
            "<td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            error(|e| e.missed),
            error(|e| e.mislocated),
            error(|e| e.confused),
            error(|e| e.duplicate),
            error(|e| e.background),
            number(why.sizes[0]),
            number(why.sizes[1]),
            number(why.sizes[2]),
        );
    }
    html.push_str(
        "</tbody></table></div><p>Generator fit: AP on synthetic images that no detector was \
         trained on, minus AP on real ones. It rises where training makes a detector know the \
         generator rather than the world. ",
    );
    if has_domains {
        html.push_str(
            "Told apart: how well a classifier tells real from synthetic images, neither trained on, \
             by the detector's features (area under the ROC curve; 0.5 is chance). ",
        );
    }
    if has_diversity {
        html.push_str(
            "Diversity: the Vendi score of the training images, as so many that are all unlike each \
             other; to be compared at equal numbers of images. ",
        );
    }
    html.push_str(
        "Kinds of errors: by how much AP50 would rise without them. Means over the complete \
         seeds.</p></details>\n",
    );
}

fn signed_interval(estimate: Option<Estimate>) -> String {
    match estimate {
        None => "&ndash;".to_owned(),
        Some(e) if e.low.is_finite() => format!(
            "{:+.3} <span class=\"range\">[{:+.3}, {:+.3}]</span>",
            e.value, e.low, e.high
        ),
        Some(e) => format!("{:+.3}", e.value),
    }
}

/// The same ratios with images of another source.
pub(super) fn write_sources(html: &mut String, summary: &Summary) {
    if summary.sources.is_empty() {
        return;
    }
    html.push_str("<section><h2>Where the synthetic images come from</h2>\n");
    for source in &summary.sources {
        let _ = writeln!(html, "<p>{}</p>", escape(&source.sentence));
    }
    html.push_str(
        "<div class=\"scroll\"><table><thead><tr><th>source</th><th>arm</th><th>synthetic</th>\
         <th>difference to the first source</th><th>says</th></tr></thead><tbody>",
    );
    for source in &summary.sources {
        let mut row = |what: &str, difference: Option<Estimate>, says: String| {
            let _ = write!(
                html,
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{what}</td><td>{}</td><td>{says}</td></tr>",
                escape(&source.name),
                source.kind.name(),
                difference_interval(difference),
            );
        };
        for comparison in &source.comparisons {
            let says = format!(
                "<span class=\"chip {}\">{}</span>",
                standing_class(comparison.standing),
                comparison.standing.label_of_way()
            );
            row(
                &escape(&comparison.label),
                Some(comparison.difference),
                says,
            );
        }
        if source.main_effect.is_some() {
            row("on average", source.main_effect, String::new());
        }
        if source.interaction.is_some() {
            row(
                "largest less smallest ratio",
                source.interaction,
                String::new(),
            );
        }
    }
    html.push_str(
        "</tbody></table></div>\n<p>Each row trains on as many images of two sources, paired by \
         seed. All rows hold together at 95 % (Bonferroni).</p></section>\n",
    );
}

/// What synthetic images are worth in real ones.
pub(super) fn write_worth(html: &mut String, summary: &Summary) {
    let Some(rate) = &summary.exchange_rate else {
        return;
    };
    let _ = writeln!(
        html,
        "<section><h2>What synthetic images are worth</h2><p>{}</p>",
        escape(&rate.sentence)
    );
    if let Some(svg) = learning_curve(rate, summary) {
        let law = rate.curve.map_or(String::new(), |law| {
            format!(
                "AP = {:.3} - {:.3} n<sup>-{:.2}</sup>",
                law.limit, law.gap, law.rate
            )
        });
        let _ = writeln!(
            html,
            "<figure>{svg}<figcaption>Dots: real images alone. Line: {law}, with its 95 % band. \
             Squares: mixtures, at the real images that they have; a square above the line is one \
             whose synthetic images are worth real ones.</figcaption></figure>"
        );
    }
    if rate.rows.is_empty() {
        html.push_str("</section>\n");
        return;
    }
    let priced = rate.rows.iter().any(|row| row.saved.is_some());
    html.push_str(
        "<div class=\"scroll\"><table><thead><tr><th>real</th><th>synth.</th>\
         <th>score as so many real ones</th><th>the synthetic ones are worth</th>\
         <th>each</th>",
    );
    html.push_str(if priced {
        "<th>saved</th></tr></thead><tbody>"
    } else {
        "</tr></thead><tbody>"
    });
    for row in &rate.rows {
        write_worth_row(html, row, priced);
    }
    html.push_str(
        "</tbody></table></div><p>Read from the fitted curve within the real images tried; \
         * where the value or a side of its interval is at an end of them, and so only a bound. Intervals at 95 %, each for itself.</p></section>\n",
    );
}

fn write_worth_row(html: &mut String, row: &Worth, priced: bool) {
    let mark = if row.is_bounded { " *" } else { "" };
    let range = |e: Estimate, decimals: usize| {
        // No minus before a zero.
        let unit = 10.0_f64.powi(decimals as i32);
        let e = e.map(|value| (value * unit).round() / unit + 0.0);
        format!(
            "{:.decimals$} <span class=\"range\">[{:.decimals$}, {:.decimals$}]</span>",
            e.value, e.low, e.high
        )
    };
    let each = row
        .worth
        .map(|images| images / row.condition.n_synthetic as f64);
    let _ = write!(
        html,
        "<tr><td>{}</td><td>{}</td><td>{}{mark}</td><td>{}</td><td>{}</td>",
        row.condition.n_real,
        row.condition.n_synthetic,
        range(row.equivalent, 0),
        range(row.worth, 0),
        range(each, 2),
    );
    if priced {
        let saved = row
            .saved
            .map_or("&ndash;".to_owned(), |saved| range(saved, 2));
        let _ = write!(html, "<td>{saved}</td>");
    }
    html.push_str("</tr>");
}
