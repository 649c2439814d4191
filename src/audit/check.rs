//! Faults of one data set: of its labels, its images and the set as a whole.
//!
//! ```text
//!  labels ----------------------> check/labels
//!  images --> check/photograph --> check/images      } --> findings, worst first --> page
//!         --> fingerprints ------> check/copies
//!  splits, classes -------------> check/set
//! ```
//!
//! What is usual differs from set to set: microscope slides overlap and night scenes are dark.
//! Most checks therefore compare an image or a box with the others of its set or class, by
//! median and median absolute deviation, and ask that the difference matters in its own unit
//! too. Few have an absolute limit, beyond which no set is right.

mod copies;
mod crops;
mod images;
mod labels;
mod page;
mod photograph;
mod set;
#[cfg(test)]
mod tests;

use serde::Serialize;

use super::AuditError;
use crate::annotation::BoundingBox;
use crate::dataset::{Dataset, Split};
use crate::observer::Observer;

pub use page::{AuditFiles, write_audit};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Issue {
    Unreadable,
    SizeMismatch,
    UnusableLabel,
    DuplicateBox,
    TwoClasses,
    Crossing,
    TinyBox,
    WholeImageBox,
    OddBoxSize,
    OddBoxShape,
    NoLabels,
    LikeNames,
    RareClass,
    ClassMissingInSplit,
    GroupInSplits,
    CopyInSplits,
    SameFile,
    NearDuplicate,
    Mirrored,
    Cropped,
    Dark,
    Bright,
    LowContrast,
    Blurred,
    Noisy,
    Blocky,
    Grey,
    Rotated,
    ColourProfile,
    OddSize,
    OddShape,
}

/// What an issue is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Labels,
    Images,
    Set,
}

impl Issue {
    /// All of them, in the order of their declaration.
    pub const ALL: [Issue; 31] = [
        Issue::Unreadable,
        Issue::SizeMismatch,
        Issue::UnusableLabel,
        Issue::DuplicateBox,
        Issue::TwoClasses,
        Issue::Crossing,
        Issue::TinyBox,
        Issue::WholeImageBox,
        Issue::OddBoxSize,
        Issue::OddBoxShape,
        Issue::NoLabels,
        Issue::LikeNames,
        Issue::RareClass,
        Issue::ClassMissingInSplit,
        Issue::GroupInSplits,
        Issue::CopyInSplits,
        Issue::SameFile,
        Issue::NearDuplicate,
        Issue::Mirrored,
        Issue::Cropped,
        Issue::Dark,
        Issue::Bright,
        Issue::LowContrast,
        Issue::Blurred,
        Issue::Noisy,
        Issue::Blocky,
        Issue::Grey,
        Issue::Rotated,
        Issue::ColourProfile,
        Issue::OddSize,
        Issue::OddShape,
    ];

    /// In words, as a heading.
    pub fn title(self) -> &'static str {
        self.facts().1
    }

    pub fn part(self) -> Part {
        self.facts().0
    }

    /// What it does to a detector or its score, and what to do.
    pub fn advice(self) -> &'static str {
        self.facts().2
    }

    fn facts(self) -> (Part, &'static str, &'static str) {
        use Part::{Images, Labels, Set};
        match self {
            Issue::Unreadable => (
                Images,
                "cannot be read",
                "Training stops at it, or learns from grey. Replace or remove the file.",
            ),
            Issue::SizeMismatch => (
                Images,
                "another size than its labels say",
                "Boxes are at other places than drawn. Correct width and height, or label anew.",
            ),
            Issue::UnusableLabel => (
                Labels,
                "labels that readers drop or cut",
                "Objects are lost without a word in other tools. Correct them in the label file.",
            ),
            Issue::DuplicateBox => (
                Labels,
                "one object boxed twice",
                "A detector that finds it once is scored a miss. Remove one box.",
            ),
            Issue::TwoClasses => (
                Labels,
                "one object with two classes",
                "Whatever a detector answers is half wrong. Keep the right class.",
            ),
            Issue::Crossing => (
                Labels,
                "boxes of a class that cover each other unusually far",
                "Often one object boxed twice. Look, and remove one box where it is.",
            ),
            Issue::TinyBox => (
                Labels,
                "boxes too small to hold an object",
                "Slips of the mouse. Remove them, or draw them anew.",
            ),
            Issue::WholeImageBox => (
                Labels,
                "boxes around the whole image",
                "Often an image class saved as a box. Look whether an object fills the image.",
            ),
            Issue::OddBoxSize => (
                Labels,
                "boxes of an unusual size for their class",
                "A wrong class, or two objects in one box. Look.",
            ),
            Issue::OddBoxShape => (
                Labels,
                "boxes of an unusual shape for their class",
                "A wrong class, a cut object, or a slip of the mouse. Look.",
            ),
            Issue::NoLabels => (
                Labels,
                "images without labels",
                "Right for a background image; wrong where objects were forgotten, which teaches to miss them.",
            ),
            Issue::LikeNames => (
                Labels,
                "classes whose names are nearly the same",
                "One class split in two learns badly. Join them.",
            ),
            Issue::RareClass => (
                Set,
                "classes with few boxes",
                "Too few to learn from or to score by. Add images, or join or leave out the class.",
            ),
            Issue::ClassMissingInSplit => (
                Set,
                "classes that a split lacks",
                "It is learnt and never scored, or scored and never learnt. Split anew by group.",
            ),
            Issue::GroupInSplits => (
                Set,
                "groups in two splits",
                "Images of one place or moment give the test away. Keep a group in one split.",
            ),
            Issue::CopyInSplits => (
                Set,
                "copies in two splits",
                "The test is known from training, and its score too high. Remove one of them.",
            ),
            Issue::SameFile => (
                Set,
                "the same file twice",
                "It counts twice in training. Remove one.",
            ),
            Issue::NearDuplicate => (
                Set,
                "near duplicates",
                "They count as two and say one thing. Keep them in one split, or remove one.",
            ),
            Issue::Mirrored => (
                Set,
                "mirrored or turned copies",
                "Saved augmentation: keep them in one split, and let the training augment.",
            ),
            Issue::Cropped => (
                Set,
                "cropped copies",
                "Saved augmentation or tiles: keep them in one split.",
            ),
            Issue::Dark => (
                Images,
                "far darker than the others",
                "Underexposed: objects drown in the dark. Expose anew, or keep it if use is as dark.",
            ),
            Issue::Bright => (
                Images,
                "far brighter than the others",
                "Overexposed: what is clipped cannot be brought back. Expose anew.",
            ),
            Issue::LowContrast => (
                Images,
                "little contrast",
                "Fog, a fogged lens or a lifted black. Look whether use is alike.",
            ),
            Issue::Blurred => (
                Images,
                "blurred",
                "Out of focus or moved. Boxes cannot be exact in it; remove it unless use is alike.",
            ),
            Issue::Noisy => (
                Images,
                "noisy",
                "High gain or a damaged file. Small objects drown in it.",
            ),
            Issue::Blocky => (
                Images,
                "blocks of strong compression",
                "Edges are those of blocks. Take the original, or a higher quality.",
            ),
            Issue::Grey => (
                Images,
                "grey among coloured images",
                "Another camera or mode. A detector may learn to tell by it.",
            ),
            Issue::Rotated => (
                Images,
                "to be turned, by its EXIF",
                "Some tools turn it and some do not, so that boxes may lie on another picture. Turn the pixels and remove the tag.",
            ),
            Issue::ColourProfile => (
                Images,
                "another colour profile than the others",
                "Its colours are read as if they were sRGB. Convert it.",
            ),
            Issue::OddSize => (
                Images,
                "of an unusual size",
                "Its objects are scaled unlike the others'. Look where it comes from.",
            ),
            Issue::OddShape => (
                Images,
                "of an unusual shape",
                "A panorama or a strip: letterboxing leaves few pixels of it.",
            ),
        }
    }
}

/// One fault at one place.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    pub issue: Issue,
    /// How much it harms, as far as is known without training: in `0..=1`.
    pub severity: f64,
    /// File name of the image; `None` for what is wrong with the set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The boxes concerned, in pixels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub boxes: Vec<BoundingBox>,
    /// The other image of a pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<String>,
    /// What was measured, in words.
    pub message: String,
    /// Indices of both images in the data set.
    #[serde(skip)]
    pub(super) samples: Vec<usize>,
}

impl Finding {
    /// Of an image, at no special place in it.
    fn of_image(
        issue: Issue,
        severity: f64,
        dataset: &Dataset,
        sample: usize,
        message: String,
    ) -> Self {
        Finding {
            issue,
            severity,
            image: Some(dataset.samples[sample].file_name.clone()),
            boxes: Vec::new(),
            other: None,
            message,
            samples: vec![sample],
        }
    }

    /// Of the set.
    fn of_set(issue: Issue, severity: f64, message: String) -> Self {
        Finding {
            issue,
            severity,
            image: None,
            boxes: Vec::new(),
            other: None,
            message,
            samples: Vec::new(),
        }
    }
}

/// Severity of what exceeds its limit `excess` times: one half at the limit, rising to 1.
fn severity(excess: f64) -> f64 {
    1.0 - 0.5 / excess.max(1.0)
}

/// What is usual of a number.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Usual {
    median: f64,
    /// Median absolute deviation, scaled to the standard deviation of normal values.
    deviation: f64,
}

impl Usual {
    /// `None` of fewer than five values, which have no usual one.
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        const FEWEST: usize = 5;
        // 1 / the upper quartile of the standard normal distribution.
        const NORMAL: f64 = 1.4826;
        let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        if values.len() < FEWEST {
            return None;
        }
        let median = median(&mut values);
        for value in &mut values {
            *value = (*value - median).abs();
        }
        Some(Usual {
            median,
            deviation: NORMAL * self::median(&mut values),
        })
    }

    /// How often `value` is further above the median than both `least` and `deviations`
    /// deviations; negative where it lies below.
    fn excess(&self, value: f64, least: f64, deviations: f64) -> f64 {
        (value - self.median) / least.max(deviations * self.deviation)
    }
}

/// Of one value or more.
fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    let is_odd = values.len() % 2 == 1;
    let (below, &mut upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    if is_odd {
        return upper;
    }
    let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (lower + upper) / 2.0
}

/// How many images and boxes a part of a set has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SplitSummary {
    /// `None` for images of no split.
    pub split: Option<Split>,
    pub images: usize,
    pub boxes: usize,
}

/// How often a class is labelled.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassSummary {
    pub name: String,
    pub boxes: usize,
    pub images: usize,
}

/// All that was found in a data set.
#[derive(Debug, Clone, Serialize)]
pub struct Audit {
    pub images: usize,
    pub boxes: usize,
    pub splits: Vec<SplitSummary>,
    pub classes: Vec<ClassSummary>,
    /// Worst first.
    pub findings: Vec<Finding>,
}

impl Audit {
    /// What was found, in a sentence.
    pub fn sentence(&self) -> String {
        page::sentence(self)
    }

    /// The findings of one issue, worst first.
    pub fn of(&self, issue: Issue) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |f| f.issue == issue)
    }
}

/// Audits a data set on the current rayon pool. An image that cannot be read is a finding.
///
/// # Errors
/// A data set without images.
pub fn audit(dataset: &Dataset, observer: &dyn Observer) -> Result<Audit, AuditError> {
    if dataset.samples.is_empty() {
        return Err(AuditError::NoImages {
            path: dataset.root.clone(),
        });
    }
    let photographs = photograph::read_all(dataset, observer);
    let mut findings = labels::check(dataset);
    findings.extend(images::check(dataset, &photographs));
    findings.extend(copies::check(dataset, &photographs, observer));
    findings.extend(set::check(dataset));
    let key = |finding: &Finding| (finding.issue, finding.image.clone());
    findings.sort_by(|a, b| {
        let worse = b.severity.total_cmp(&a.severity);
        worse.then_with(|| key(a).cmp(&key(b)))
    });
    Ok(Audit {
        images: dataset.samples.len(),
        boxes: dataset.box_count(),
        splits: set::splits(dataset),
        classes: set::classes(dataset),
        findings,
    })
}
