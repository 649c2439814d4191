//! The comparison in words and as a table of text.

use super::gap::{
    Breadth, Difference, FeatureGap, Gap, MIN_GROUPS, SIGNIFICANCE, SetSummary, Shift, Spread,
};

/// How many of the largest differences are named.
const NAMED: usize = 3;

/// The main differences, and what the classifier says.
pub(super) fn sentences(gap: &Gap) -> Vec<String> {
    let mut sentences = vec![main_sentence(gap)];
    sentences.extend(classifier_sentence(gap));
    sentences
}

fn main_sentence(gap: &Gap) -> String {
    for (name, set) in [("real", &gap.real), ("synthetic", &gap.synthetic)] {
        if set.groups < MIN_GROUPS {
            let groups = counted(set.groups, "group of images", "groups of images");
            return format!(
                "Nothing is claimed: the {name} set has {groups}, and fewer than {MIN_GROUPS} cannot tell a difference from chance."
            );
        }
    }
    let clear: Vec<(&FeatureGap, Difference)> = gap
        .features
        .iter()
        .filter_map(|feature| Some((feature, feature.difference?)))
        .collect();
    let total = gap.features.len();
    if clear.is_empty() {
        return format!("No clear difference in any of the {total} features.");
    }
    let named: Vec<String> = clear
        .iter()
        .take(NAMED)
        .map(|(feature, difference)| {
            let numbers = numbers(feature, *difference);
            format!("{} ({numbers})", predicate(feature, *difference))
        })
        .collect();
    format!(
        "The synthetic images {}; {} of {total} features differ clearly.",
        joined(&named),
        clear.len()
    )
}

/// What the classifier adds; nothing where there is none.
fn classifier_sentence(gap: &Gap) -> Option<String> {
    let found = gap.classifier.as_ref()?;
    let area = format!(
        "AUC {:.2} [{:.2}, {:.2}]; by chance 0.5, in 95 % of relabellings below {:.2}",
        found.auc, found.auc_low, found.auc_high, found.chance_high
    );
    if found.p_value > SIGNIFICANCE {
        return Some(format!(
            "A linear classifier of the features does not tell them apart ({area})."
        ));
    }
    let any_clear = gap.features.iter().any(|f| f.difference.is_some());
    let although = if any_clear {
        ""
    } else {
        ", although no feature alone does"
    };
    Some(format!(
        "A linear classifier of the features tells them apart{although} ({area})."
    ))
}

/// "are brighter", "vary more in noise".
fn predicate(gap: &FeatureGap, difference: Difference) -> String {
    let feature = gap.feature;
    match (difference.shift, difference.breadth) {
        (Some(Shift::Higher), _) => format!("{} {}", feature.verb, feature.higher),
        (Some(Shift::Lower), _) => format!("{} {}", feature.verb, feature.lower),
        (None, Some(Breadth::Narrower)) => format!("vary less in {}", feature.name),
        (None, _) => format!("vary more in {}", feature.name),
    }
}

/// The difference in a few words, for a table.
pub(super) fn verdict(gap: &FeatureGap) -> String {
    let Some(difference) = gap.difference else {
        return "no clear difference".to_owned();
    };
    let shift = difference.shift.map(|shift| match shift {
        Shift::Higher => gap.feature.higher,
        Shift::Lower => gap.feature.lower,
    });
    let breadth = difference.breadth.map(|breadth| match breadth {
        Breadth::Wider => "varies more",
        Breadth::Narrower => "varies less",
    });
    let words: Vec<&str> = [shift, breadth].into_iter().flatten().collect();
    words.join(", ")
}

/// The medians of a shift, the ranges of a breadth.
fn numbers(gap: &FeatureGap, difference: Difference) -> String {
    let unit = gap.feature.unit;
    let mut parts = Vec::new();
    if difference.shift.is_some() {
        let [synthetic, real] = [&gap.synthetic, &gap.real].map(|set| printed(gap, set.median));
        parts.push(if synthetic == real {
            let decimals = gap.feature.decimals + 1;
            let (synthetic, real) = (gap.synthetic.mean, gap.real.mean);
            format!("mean {synthetic:.decimals$} {unit}, real {real:.decimals$}")
        } else {
            format!("median {synthetic} {unit}, real {real}")
        });
    }
    if difference.breadth.is_some() {
        let range = |set: &Spread| {
            let [low, high] = [set.low_10, set.high_90].map(|value| printed(gap, value));
            format!("{low} to {high}")
        };
        let (synthetic, real) = (range(&gap.synthetic), range(&gap.real));
        let unit = if parts.is_empty() { unit } else { "" };
        let text = format!("10 to 90 %: {synthetic} {unit}")
            .trim_end()
            .to_owned();
        parts.push(format!("{text}, real {real}"));
    }
    parts.join("; ")
}

/// A value with the decimals of its feature.
pub(super) fn printed(gap: &FeatureGap, value: f64) -> String {
    let decimals = gap.feature.decimals;
    let text = format!("{value:.decimals$}");
    // A rounded zero has no sign.
    match text.strip_prefix('-') {
        Some(positive) if positive.chars().all(|c| c == '0' || c == '.') => positive.to_owned(),
        _ => text,
    }
}

/// "a", "a and b", "a, b and c".
fn joined(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// "149 of 250 images in 43 groups (split train of data/dice)".
pub(super) fn set_in_words(set: &SetSummary) -> String {
    let images = counted(set.images, "image", "images");
    let count = if set.images == set.images_in_set {
        images
    } else {
        format!(
            "{} of {}",
            set.images,
            counted(set.images_in_set, "image", "images")
        )
    };
    let groups = if set.groups == set.images {
        String::new()
    } else {
        format!(" in {}", counted(set.groups, "group", "groups"))
    };
    let split = set.split.map(|split| format!("split {split} of "));
    format!(
        "{count}{groups} ({}{})",
        split.unwrap_or_default(),
        set.path.display()
    )
}

impl std::fmt::Display for Gap {
    /// Sentences, notes and one line a feature.
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        for sentence in self.sentences.iter().chain(&self.notes) {
            writeln!(f, "{sentence}")?;
        }
        writeln!(f, "real:      {}", set_in_words(&self.real))?;
        writeln!(f, "synthetic: {}", set_in_words(&self.synthetic))?;
        writeln!(
            f,
            "\n{:<38} {:>20} {:>20} {:>5} {:>7} {:>6}  synthetic",
            "10 % / median / 90 %", "real", "synthetic", "KS", "p", "d"
        )?;
        for gap in &self.features {
            let spread = |set: &Spread| {
                [set.low_10, set.median, set.high_90]
                    .map(|value| printed(gap, value))
                    .join(" / ")
            };
            let d = gap
                .standardised_difference
                .map_or("-".to_owned(), |d| format!("{d:+.2}"));
            writeln!(
                f,
                "{:<38} {:>20} {:>20} {:>5.2} {:>7.4} {d:>6}  {}",
                format!("{}, {}", gap.feature.name, gap.feature.unit),
                spread(&gap.real),
                spread(&gap.synthetic),
                gap.ks_distance,
                gap.p_holm,
                verdict(gap)
            )?;
        }
        write!(
            f,
            "KS: Kolmogorov-Smirnov distance; p: by {} relabellings, Holm-corrected; d: standardised difference",
            self.permutations
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::gap::tests::{Tweak, gap};
    use super::*;

    #[test]
    fn the_largest_differences_are_named_with_their_direction() {
        let tweak = Tweak {
            brightness: -30.0,
            size: 2.5,
            ..Tweak::default()
        };
        let gap = gap([60, 50], tweak);
        let text = &gap.sentences[0];
        assert!(
            text.starts_with("The synthetic images are darker (median "),
            "{text}"
        );
        assert!(text.contains(" and have larger objects (median "), "{text}");
        assert!(
            text.ends_with("; 2 of 14 features differ clearly."),
            "{text}"
        );
        let second = &gap.sentences[1];
        assert!(second.contains("tells them apart (AUC 0.9"), "{second}");
        let table = gap.to_string();
        assert!(table.contains("no clear difference"), "{table}");
        assert_eq!(table.lines().filter(|l| l.contains(" / ")).count(), 15);
    }

    #[test]
    fn nothing_clear_is_said_so() {
        let gap = gap([40, 40], Tweak::default());
        assert_eq!(
            gap.sentences[0],
            "No clear difference in any of the 14 features."
        );
        assert!(gap.sentences[1].contains("does not tell them apart"));
    }

    #[test]
    fn lists_and_numbers_are_written_as_people_do() {
        let parts = |count: usize| vec!["x".to_owned(); count];
        assert_eq!(joined(&parts(1)), "x");
        assert_eq!(joined(&parts(3)), "x, x and x");
        let gap = gap([5, 5], Tweak::default());
        let brightness = gap.features.iter().find(|g| g.feature.key == "brightness");
        assert_eq!(printed(brightness.unwrap(), -0.04), "0.0");
        assert_eq!(printed(brightness.unwrap(), -0.06), "-0.1");
        let set = SetSummary {
            split: Some(crate::dataset::Split::Train),
            images_in_set: 9,
            groups: 1,
            ..gap.real.clone()
        };
        assert_eq!(
            set_in_words(&set),
            "5 of 9 images in 1 group (split train of some <set>)"
        );
    }
}
