//! The allowed name that an unknown one was probably meant to be.

/// Adds the nearest allowed name to serde's message about an unknown field or variant:
/// "unknown field `x`, expected one of `a`, `b`". Other messages stay as they are.
pub(super) fn with_nearest_name(message: &str) -> String {
    let is_about_a_name =
        message.starts_with("unknown field") || message.starts_with("unknown variant");
    let mut quoted = message.split('`').skip(1).step_by(2);
    match quoted.next().filter(|_| is_about_a_name) {
        Some(found) => match nearest(found, quoted) {
            Some(name) => format!("{message}; did you mean `{name}`?"),
            None => message.to_owned(),
        },
        None => message.to_owned(),
    }
}

/// The most similar candidate, or `None` where none is similar enough for a guess: at
/// most a third of the letters plus one differ, or one name contains the other.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = 1 + name.chars().count() / 3;
    candidates
        .map(|candidate| (edit_distance(name, candidate), candidate))
        .filter(|(distance, candidate)| {
            let contained = candidate.contains(name) || name.contains(candidate);
            *distance <= most || contained && name.len().min(candidate.len()) >= 3
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions and replacements of letters that turn `a` into `b`
/// (Levenshtein 1966).
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (index, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_of_known_words() {
        for (a, b, distance) in [
            ("kitten", "sitting", 3),
            ("", "abc", 3),
            ("same", "same", 0),
            ("kelvn", "kelvin", 1),
        ] {
            assert_eq!(edit_distance(a, b), distance, "{a} {b}");
            assert_eq!(edit_distance(b, a), distance, "{b} {a}");
        }
    }

    #[test]
    fn only_a_similar_name_is_guessed() {
        let of = |found: &str| {
            with_nearest_name(&format!(
                "unknown field `{found}`, expected one of `distance_mm`, `tilt_deg`, `roll_deg`"
            ))
        };
        assert!(of("distanc_mm").ends_with("did you mean `distance_mm`?"));
        assert!(of("tilt").ends_with("did you mean `tilt_deg`?"));
        assert!(of("colour").ends_with("`roll_deg`"));
        assert_eq!(
            with_nearest_name("missing field `tilt_deg`"),
            "missing field `tilt_deg`"
        );
    }
}
