//! What the pages that admix writes have in common: the style, escaping and round numbers
//! of an axis.

mod picture;

pub use picture::{jpeg_address, jpeg_with_boxes};

/// The style of every page: light and dark, for screens and phones, nothing fetched.
pub const STYLE: &str = include_str!("html/page.css");

/// Text as HTML text or attribute value.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// Four to eleven round values within `low..=high`, and the decimals that write them exactly.
/// `low` must be below `high`, and both finite.
pub fn round_ticks(low: f64, high: f64) -> (Vec<f64>, usize) {
    let largest = (high - low) / 4.0;
    let exponent = largest.log10().floor();
    let factor = [5.0, 2.0, 1.0]
        .into_iter()
        .find(|factor| factor * 10f64.powf(exponent) <= largest)
        .unwrap_or(1.0);
    let step = factor * 10f64.powf(exponent);
    let decimals = (-exponent).max(0.0) as usize;
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    let ticks = (first..=last).map(|index| index as f64 * step).collect();
    (ticks, decimals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_inside_and_written_exactly() {
        for (low, high) in [
            (0.183, 0.467),
            (0.45, 0.56),
            (-0.093, 0.032),
            (0.0, 1.0),
            (3.0, 88.0),
        ] {
            let (ticks, decimals) = round_ticks(low, high);
            assert!((4..=11).contains(&ticks.len()), "{low}..{high}: {ticks:?}");
            for tick in ticks {
                assert!((low..=high).contains(&tick));
                let written: f64 = format!("{tick:.decimals$}").parse().unwrap();
                assert!((written - tick).abs() < 1e-9, "{tick} is written {written}");
            }
        }
    }

    #[test]
    fn what_html_reads_as_markup_is_escaped() {
        assert_eq!(
            escape("<a href='x'>\"&"),
            "&lt;a href=&#39;x&#39;&gt;&quot;&amp;"
        );
    }
}
