//! The learning-rate check of the report.

use std::fmt::Write;

use super::super::tipping_point::{RateSummary, Summary};
use super::page::difference_interval;
use crate::html::escape;

/// Writes what the arms' ends score at other learning rates, where the plan tries some. Writing
/// to a `String` cannot fail.
pub(super) fn write_rates(html: &mut String, summary: &Summary) {
    let Some(check) = &summary.rate_check else {
        return;
    };
    let _ = writeln!(
        html,
        "<section><h2>Does an arm win or lose by its learning rate?</h2>\n<p>{}</p>",
        escape(&check.sentence)
    );
    write_conditions(html, check);
    if check.is_complete {
        write_arms(html, check);
    }
    let _ = writeln!(
        html,
        "<p>Both ends of each arm, trained at multiples of the planned learning rate with {} seeds: AP \
         on the val split, which chooses, and on the test split. <strong>Bold</strong> is best on val; \
         where that is the last on its side, a rate beyond it may be better still. Intervals hold \
         together at 95 % (Bonferroni). The same trainings choose and are scored, on other images, \
         which still flatters the chosen rate a little.</p></section>",
        check.seeds.len()
    );
}

fn write_conditions(html: &mut String, check: &RateSummary) {
    html.push_str("<div class=\"scroll\"><table><thead><tr><th>trained on</th>");
    let multiples = check.conditions.first().map_or(&[][..], |c| &c.tried);
    for tried in multiples {
        let _ = write!(html, "<th>rate x {}: val, test</th>", tried.multiple);
    }
    html.push_str("<th>gain on test at its best</th></tr></thead><tbody>");
    let number = |value: Option<f64>| value.map_or("&ndash;".to_owned(), |v| format!("{v:.3}"));
    for condition in &check.conditions {
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{}</th>",
            escape(&condition.label)
        );
        for tried in &condition.tried {
            let text = format!("{}, {}", number(tried.validation_ap), number(tried.ap));
            let _ = match condition.best == Some(tried.multiple) {
                true => write!(html, "<td><strong>{text}</strong></td>"),
                false => write!(html, "<td>{text}</td>"),
            };
        }
        let gain = match condition.best {
            Some(1.0) => "planned rate".to_owned(),
            _ => difference_interval(condition.gain),
        };
        let edge = match condition.is_at_edge {
            true => " (last tried)",
            false => "",
        };
        let _ = write!(html, "<td>{gain}{edge}</td></tr>");
    }
    html.push_str("</tbody></table></div>\n");
}

fn write_arms(html: &mut String, check: &RateSummary) {
    html.push_str(
        "<h3>What the arms' differences become</h3>\n<div class=\"scroll\"><table><thead><tr><th>arm</th><th>ratio</th><th>difference to \
         real-only, planned rate</th><th>each end at its best</th><th>change</th></tr></thead><tbody>",
    );
    for arm in &check.arms {
        let source = arm.source.as_ref();
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{}{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            arm.kind.name(),
            source.map_or(String::new(), |source| format!(", {}", escape(source))),
            escape(&arm.label),
            difference_interval(arm.planned),
            difference_interval(arm.own_best),
            difference_interval(arm.change),
        );
    }
    html.push_str("</tbody></table></div>\n");
}
