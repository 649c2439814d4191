//! Conclusions in words.

use super::crossing::Place;
use super::plan::ArmKind;
use super::tipping_point::{Estimate, HarmOnset, LevelSummary, Peak, Standing, WayComparison};
use super::trial::Regime;

/// What an arm does, as the subject of a sentence; `setting` names where its synthetic images
/// come from, where there are several, or the levels of its cell, where factors are crossed.
pub(super) fn subject(kind: ArmKind, setting: Option<&str>, is_crossed: bool) -> String {
    if is_crossed {
        let levels = setting.map_or(String::new(), |levels| format!(" ({levels})"));
        return subject(kind, None, false) + &levels;
    }
    let source = setting;
    let of = source.map_or(String::new(), |source| format!(" of {source}"));
    match kind {
        ArmKind::Substitution => match source {
            Some(source) => format!("Replacing real images by those of {source}"),
            None => "Replacing real images".to_owned(),
        },
        ArmKind::Addition => format!("Adding synthetic images{of}"),
        ArmKind::Pretraining => format!("Training on synthetic images{of} first"),
        ArmKind::Curriculum => format!("Training on synthetic images{of} and real ones in turn"),
        ArmKind::Augmentation => "Adding augmented copies of the real images".to_owned(),
        ArmKind::Auxiliary => format!("Adding synthetic images{of} with the auxiliary task"),
    }
}

/// What a way to use the images is compared with, as the subject of a sentence.
pub(super) fn way_subject(regime: Regime) -> &'static str {
    match regime {
        Regime::Joint => "Mixing",
        Regime::Pretraining => "Training on synthetic images first, instead of mixing them in",
        Regime::Curriculum => "Training on synthetic and real images in turn, instead of mixing",
        Regime::Auxiliary => "Training with the auxiliary task, instead of mixing plainly",
        Regime::Augmentation => {
            "Adding augmented copies of the real images, instead of synthetic ones"
        }
    }
}

/// An arm's conclusion in words.
pub(super) struct Sentence<'a> {
    pub kind: ArmKind,
    pub subject: &'a str,
    pub levels: &'a [LevelSummary],
    pub peak: &'a Peak,
    pub harm_onset: HarmOnset,
    pub tipping_point: Option<Place>,
    pub break_even: Option<Place>,
    pub safe_up_to: f64,
    pub detectable: f64,
    pub needed: Option<u64>,
    pub seeds: usize,
    pub smallest_effect: f64,
}

impl std::fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}: ", self.subject)?;
        self.write_peak(f)?;
        if let Some(place) = self.break_even {
            write!(f, "; the gain is used up at {}", self.place(place))?;
        }
        write!(f, "; ")?;
        self.write_harm(f)?;
        write!(f, ".")
    }
}

impl Sentence<'_> {
    fn label(&self, ratio: f64) -> String {
        self.kind.label(ratio)
    }

    fn write_peak(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let best = self.levels.iter().find(|l| l.ratio == self.peak.ratio);
        let ratio = self.label(self.peak.ratio);
        let ties = &self.peak.indistinguishable;
        let gain = best.and_then(|level| level.difference);
        match gain {
            Some(gain) if gain.low > 0.0 => {
                write!(
                    f,
                    "best at {ratio} synthetic, {} over real-only",
                    signed(gain)
                )?;
            }
            Some(gain) => write!(
                f,
                "no clear gain (highest at {ratio} synthetic, {} to real-only)",
                signed(gain)
            )?,
            None => write!(f, "real-only scores highest")?,
        }
        if let ([first, .., last], true) = (ties.as_slice(), ties.len() > 1) {
            write!(
                f,
                ", and {} of {} ratios from {} to {} cannot be told from the best",
                ties.len(),
                self.levels.len(),
                self.label(*first),
                self.label(*last)
            )?;
        }
        Ok(())
    }

    /// `61 % [52 %, 74 %]`, with `> 100 %` for what lies beyond the largest ratio.
    fn place(&self, place: Place) -> String {
        let largest = self.levels.last().map_or(0.0, |level| level.ratio);
        let beyond = format!("> {}", self.label(largest));
        let text = |ratio: Option<f64>| ratio.map_or(beyond.clone(), |ratio| self.label(ratio));
        format!(
            "{} [{}, {}]",
            text(place.value),
            self.label(place.low),
            text(place.high)
        )
    }

    fn write_harm(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let safe_up_to = self.safe_up_to;
        match self.harm_onset {
            HarmOnset::From {
                ratio, difference, ..
            } => {
                write!(
                    f,
                    "harm from {} on ({})",
                    self.label(ratio),
                    signed(difference)
                )?;
                if safe_up_to > 0.0 {
                    write!(f, ", safe up to {}", self.label(safe_up_to))?;
                }
                let between = |l: &&LevelSummary| l.ratio > safe_up_to && l.ratio < ratio;
                match self.levels.iter().rfind(between) {
                    Some(level) => write!(f, ", too noisy to say at {}", level.label)?,
                    None if safe_up_to == 0.0 => write!(f, ", the smallest ratio tried")?,
                    None => {}
                }
                self.write_tipping_point(f)
            }
            HarmOnset::NotSeen { up_to } => write!(
                f,
                "no harm seen up to {} (a loss of {} AP or more is excluded)",
                self.label(up_to),
                self.smallest_effect
            ),
            HarmOnset::TooNoisy { .. } => {
                if safe_up_to > 0.0 {
                    write!(f, "safe up to {}, beyond that ", self.label(safe_up_to))?;
                } else {
                    write!(f, "whether more hurts is ")?;
                }
                let effect = self.smallest_effect;
                write!(
                    f,
                    "too noisy to say: {} seeds show differences from {:.3} AP on, and ",
                    self.seeds, self.detectable
                )?;
                match self.needed {
                    Some(needed) => write!(f, "{effect} AP needs about {needed} seeds")?,
                    None => write!(
                        f,
                        "{effect} AP needs more test images, whatever the number of seeds"
                    )?,
                }
                self.write_tipping_point(f)
            }
        }
    }

    fn write_tipping_point(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self.tipping_point {
            Some(place) if place.high.is_some() => write!(
                f,
                ", and the loss reaches {} AP at {}",
                self.smallest_effect,
                self.place(place)
            ),
            _ => Ok(()),
        }
    }
}

/// In words, how another way to use the same images compares with mixing them.
pub(super) struct WaySentence<'a> {
    pub regime: Regime,
    pub source: Option<&'a str>,
    pub comparisons: &'a [WayComparison],
    pub smallest_effect: f64,
}

impl std::fmt::Display for WaySentence<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let mut clauses = Vec::new();
        for standing in [
            Standing::Better,
            Standing::Harm,
            Standing::NoHarm,
            Standing::TooNoisy,
            Standing::NoClaim,
        ] {
            let of_this = self.comparisons.iter().filter(|c| c.standing == standing);
            let ratios: Vec<String> = of_this
                .map(|c| match (standing, c.difference) {
                    (Standing::Better | Standing::Harm, Some(difference)) => {
                        format!("{} ({})", c.label, signed(difference))
                    }
                    _ => c.label.clone(),
                })
                .collect();
            if ratios.is_empty() {
                continue;
            }
            let ratios = listed(&ratios);
            let label = standing.label_of_way();
            clauses.push(match standing {
                Standing::NoHarm => format!(
                    "{label} at {ratios} (a loss of {} AP or more is excluded)",
                    self.smallest_effect
                ),
                Standing::TooNoisy => format!("{label} to say at {ratios}"),
                _ => format!("{label} at {ratios}"),
            });
        }
        let of = self
            .source
            .map_or(String::new(), |source| format!(" (of {source})"));
        write!(
            f,
            "{}{of}: {}.",
            way_subject(self.regime),
            clauses.join("; ")
        )
    }
}

/// `1x, 2x and 4x`.
pub(super) fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [firsts @ .., last] => format!("{} and {last}", firsts.join(", ")),
    }
}

/// `+0.031 AP [0.012, 0.050]`.
pub fn signed(estimate: Estimate) -> String {
    format!(
        "{:+.3} AP [{:+.3}, {:+.3}]",
        estimate.value, estimate.low, estimate.high
    )
}
