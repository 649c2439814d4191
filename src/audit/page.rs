//! The page of a comparison: one file, no network, readable on a phone and in dark mode.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::AuditError;
use super::chart;
use super::gap::{FeatureGap, Gap, SetSummary, Spread};
use super::sentence::{printed, set_in_words, verdict};
use crate::dataset::write_atomically;
use crate::html::{STYLE, escape};

const GAP_STYLE: &str = include_str!("page.css");

/// Where a comparison was written.
#[derive(Debug, Clone)]
pub struct GapFiles {
    pub html: PathBuf,
    pub json: PathBuf,
}

/// Writes `gap.html` and `gap.json` into an existing folder, which may be that of a data set:
/// readers and writers of data sets look at neither.
///
/// # Errors
/// A file that cannot be written.
pub fn write_gap(gap: &Gap, folder: &Path) -> Result<GapFiles, AuditError> {
    let files = GapFiles {
        html: folder.join("gap.html"),
        json: folder.join("gap.json"),
    };
    let json = serde_json::to_vec_pretty(gap).expect("numbers and text serialise");
    write_atomically(&files.json, &json)?;
    write_atomically(&files.html, render(gap).as_bytes())?;
    Ok(files)
}

/// Renders the page. Writing to a `String` cannot fail, here and below.
fn render(gap: &Gap) -> String {
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <title>Synthetic beside real images</title><style>{STYLE}{GAP_STYLE}</style></head><body><main>\n\
         <p class=\"kicker\">admix &middot; {} real and {} synthetic images{}</p>\n\
         <h1>Synthetic beside real images</h1>\n",
        gap.real.images,
        gap.synthetic.images,
        gap.real
            .split
            .map_or(String::new(), |split| format!(" &middot; split {split}"))
    );
    for sentence in &gap.sentences {
        let _ = writeln!(html, "<p class=\"verdict\">{}</p>", escape(sentence));
    }
    for note in &gap.notes {
        let _ = writeln!(html, "<p>{}</p>", escape(note));
    }
    write_charts(&mut html, gap);
    write_table(&mut html, gap);
    write_method(&mut html, gap);
    html.push_str("</main></body></html>\n");
    html
}

fn chip(gap: &FeatureGap) -> String {
    let class = if gap.difference.is_some() {
        "bad"
    } else {
        "muted"
    };
    format!("<span class=\"chip {class}\">{}</span>", verdict(gap))
}

fn write_charts(html: &mut String, gap: &Gap) {
    html.push_str(
        "<section><h2>Feature by feature</h2>\n\
         <p>Curves: share of the images or boxes that are at or below a value. Bars: the range \
         from 10 to 90 %; dot: the median. Dashed: where the curves are furthest apart, which is the \
         Kolmogorov-Smirnov distance. The largest comes first.</p>\n\
         <p class=\"key\"><b class=\"real\">&#9679; real</b> <b class=\"synthetic\">&#9679; synthetic</b></p>\n\
         <div class=\"charts\">\n",
    );
    for feature in &gap.features {
        let _ = writeln!(
            html,
            "<figure><h3>{} {}</h3>{}<figcaption>Distance {:.2}, {}.</figcaption></figure>",
            escape(feature.feature.name),
            chip(feature),
            chart::curves(feature),
            feature.ks_distance,
            p_in_words(feature.p_holm)
        );
    }
    html.push_str("</div></section>\n");
}

fn p_in_words(p: f64) -> String {
    if p < 0.001 {
        "p &lt; 0.001".to_owned()
    } else {
        format!("p = {p:.3}")
    }
}

fn write_table(html: &mut String, gap: &Gap) {
    html.push_str(
        "<section><h2>The numbers</h2><div class=\"scroll\"><table><thead><tr><th>feature</th>\
         <th>real</th><th>synthetic</th><th>distance</th><th>p</th><th>std. difference</th>\
         <th>synthetic images</th></tr></thead><tbody>",
    );
    for feature in &gap.features {
        let spread = |set: &Spread| {
            let [low, median, high] =
                [set.low_10, set.median, set.high_90].map(|value| printed(feature, value));
            format!("{median} <span class=\"range\">[{low}, {high}]</span>")
        };
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{}<small>{}</small></th><td>{}</td><td>{}</td><td>{:.2}</td>\
             <td>{:.3}</td><td>{}</td><td>{}</td></tr>",
            escape(feature.feature.name),
            escape(feature.feature.unit),
            spread(&feature.real),
            spread(&feature.synthetic),
            feature.ks_distance,
            feature.p_holm,
            feature
                .standardised_difference
                .map_or("&ndash;".to_owned(), |d| format!("{d:+.2}")),
            chip(feature)
        );
    }
    html.push_str(
        "</tbody></table></div>\n<p>Median and range from 10 to 90 %. p: corrected for the number \
         of features (Holm). Standardised difference: synthetic minus real mean, in standard \
         deviations.</p></section>\n",
    );
}

/// A patch of the mean colour with its values.
fn colour(set: &SetSummary) -> String {
    let [red, green, blue] = set.mean_rgb.map(|value| value.round() as u8);
    format!(
        "<span class=\"swatch\" style=\"background:rgb({red},{green},{blue})\"></span> {red} {green} {blue}"
    )
}

fn write_method(html: &mut String, gap: &Gap) {
    html.push_str("<section><h2>How this was made</h2><dl>");
    for (name, set) in [("Real", &gap.real), ("Synthetic", &gap.synthetic)] {
        let _ = write!(
            html,
            "<dt>{name}</dt><dd>{}, {} boxes; mean colour {}</dd>",
            escape(&set_in_words(set)),
            set.boxes,
            colour(set)
        );
    }
    let _ = write!(
        html,
        "<dt>Image size</dt><dd>a longer side of {} px for all images</dd><dt>Seed</dt><dd>{}</dd>",
        gap.common_side_px, gap.seed
    );
    if let Some(found) = &gap.classifier {
        let _ = write!(
            html,
            "<dt>Classifier</dt><dd>logistic regression with an L2 penalty on {} inputs ({}), \
             standardised and cut at four deviations; {} folds of whole groups; area under the ROC \
             curve over pairs of one fold, interval by Newcombe (2006, method 5) on {} real and {} \
             synthetic groups; p = {:.3} by {} relabellings</dd>",
            found.inputs.len(),
            escape(&found.inputs.join(", ")),
            found.folds,
            gap.real.groups,
            gap.synthetic.groups,
            found.p_value,
            found.permutations
        );
    }
    let _ = write!(
        html,
        "</dl><p>p-values come from {} random relabellings of whole groups: boxes move with their \
         image, and images with their group (a burst of photographs, tiles of one field). A \
         difference is called clear where its corrected p-value is at most 0.05; no clear difference \
         does not mean that there is none. What no feature measures, such as worn edges, print or \
         folds of a cloth, stands on no line of this page.</p>\n\
         <details><summary>What the features are</summary><dl>",
        gap.permutations
    );
    for feature in &gap.features {
        let _ = write!(
            html,
            "<dt>{}</dt><dd>{}</dd>",
            escape(feature.feature.name),
            escape(feature.feature.definition)
        );
    }
    html.push_str("</dl></details></section>\n");
}

#[cfg(test)]
mod tests {
    use super::super::gap::tests::{Tweak, gap};
    use super::*;

    #[test]
    fn the_page_is_one_safe_file_with_every_feature() {
        let folder = tempfile::tempdir().unwrap();
        let tweak = Tweak {
            brightness: -30.0,
            ..Tweak::default()
        };
        let gap = gap([40, 30], tweak);
        let files = write_gap(&gap, folder.path()).unwrap();
        let html = std::fs::read_to_string(&files.html).unwrap();
        assert!(html.contains("some &lt;set&gt;") && !html.contains("some <set>"));
        for forbidden in ["<script", "http://", "https://", "src=", "@import", "url("] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
        assert_eq!(html.matches("<svg").count(), 14);
        assert_eq!(
            html.matches("<figure").count(),
            html.matches("</figure>").count()
        );
        assert!(html.contains("40 real and 30 synthetic images"));
        assert!(html.contains("<span class=\"chip bad\">darker</span>"));
        for sentence in &gap.sentences {
            assert!(html.contains(&escape(sentence)), "{sentence}");
        }
        let json: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&files.json).unwrap()).unwrap();
        let first = &json["features"][0];
        assert_eq!(first["feature"]["key"], "brightness");
        assert_eq!(first["difference"]["shift"], "lower");
        assert!(first["ks_distance"].as_f64().unwrap() > 0.5);
        assert_eq!(json["real"]["images"], 40);
        assert!(json["classifier"]["auc"].as_f64().unwrap() > 0.8);
    }

    #[test]
    fn one_image_a_set_makes_a_page_without_claims() {
        let html = render(&gap([1, 1], Tweak::default()));
        assert!(html.contains("Nothing is claimed"));
        assert!(!html.contains("NaN") && !html.contains("chip bad"));
    }
}
