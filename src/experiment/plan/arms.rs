//! The arms of an experiment: which conditions stand on each curve.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::super::regime::{
    AuxiliarySettings, CurriculumSettings, PretrainingSettings, RegimeSettings, Seen,
};
use super::super::trial::{Condition, Regime};
use crate::spec::Problems;

/// Most images that a plan may ask for; more is a slip of the pen.
const MAX_IMAGES: usize = 10_000_000;

/// The arms of an experiment; at least one.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmsSpec {
    #[serde(default)]
    pub substitution: Option<SubstitutionSpec>,
    #[serde(default)]
    pub addition: Option<AdditionSpec>,
    #[serde(default)]
    pub pretraining: Option<PretrainingSpec>,
    #[serde(default)]
    pub curriculum: Option<CurriculumSpec>,
    #[serde(default)]
    pub auxiliary: Option<AuxiliarySpec>,
    #[serde(default)]
    pub augmentation: Option<AugmentationSpec>,
    /// Real images alone, to tell what synthetic ones are worth in real ones.
    #[serde(default)]
    pub learning_curve: Option<LearningCurveSpec>,
}

/// As many images as in addition, but copies of the real ones, augmented.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AugmentationSpec {
    pub real: usize,
    /// Augmented copies per real image.
    pub multiples: Vec<f64>,
    /// As `admix augment` takes it.
    pub preset: PathBuf,
}

/// Trainings on real images alone.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearningCurveSpec {
    /// Numbers of real images; at least four differ, real-only of the other arms included.
    pub real: Vec<usize>,
}

/// Synthetic images take the place of real ones in a set of fixed size.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubstitutionSpec {
    pub total: usize,
    /// Synthetic shares in `0..=1`.
    pub shares: Vec<f64>,
}

/// Synthetic images come on top of a fixed number of real ones.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdditionSpec {
    pub real: usize,
    /// Synthetic images per real image.
    pub multiples: Vec<f64>,
}

/// The same images as in addition, but one kind after the other: a training on the
/// synthetic ones, and from its weights one on the real ones.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainingSpec {
    pub real: usize,
    /// Synthetic images per real image.
    pub multiples: Vec<f64>,
    /// Share of the optimiser steps that the synthetic images get, above 0 and below 1.
    #[serde(default = "default_share_of_steps")]
    pub share_of_steps: f64,
    /// Learning rate on the real images as a share of the usual one, above 0, at most 1.
    #[serde(default = "default_rate")]
    pub rate: f64,
}

/// The same images as in addition, in several trainings of as many steps, each from the weights
/// of the one before.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurriculumSpec {
    pub real: usize,
    /// Synthetic images per real image.
    pub multiples: Vec<f64>,
    /// What the trainings see, two or more: `synthetic`, `mixed` or `real`.
    #[serde(default = "default_order")]
    pub order: Vec<Seen>,
}

fn default_order() -> Vec<Seen> {
    vec![Seen::Synthetic, Seen::Mixed, Seen::Real]
}

fn default_share_of_steps() -> f64 {
    0.5
}

fn default_rate() -> f64 {
    0.1
}

/// The same images as in addition, mixed as there, but with these weights in the loss.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuxiliarySpec {
    pub real: usize,
    /// Synthetic images per real image.
    pub multiples: Vec<f64>,
    /// `loss.image_class_weight`, above 0, at most 1e4.
    #[serde(default = "default_image_class_weight")]
    pub image_class_weight: f64,
    /// `loss.synthetic_weight`, `0..=1e4`.
    #[serde(default)]
    pub synthetic_weight: f64,
}

fn default_image_class_weight() -> f64 {
    0.5
}

/// How synthetic images join the real ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArmKind {
    Substitution,
    Addition,
    Pretraining,
    Curriculum,
    Auxiliary,
    Augmentation,
}

impl ArmKind {
    pub fn name(self) -> &'static str {
        match self {
            ArmKind::Substitution => "substitution",
            ArmKind::Addition => "addition",
            ArmKind::Pretraining => "pretraining",
            ArmKind::Curriculum => "curriculum",
            ArmKind::Auxiliary => "auxiliary",
            ArmKind::Augmentation => "augmentation",
        }
    }

    /// How the arm's trials use their images. Real-only of pretraining and curriculum is joint,
    /// since there is nothing to train on first.
    pub fn regime(self) -> Regime {
        match self {
            ArmKind::Substitution | ArmKind::Addition => Regime::Joint,
            ArmKind::Pretraining => Regime::Pretraining,
            ArmKind::Curriculum => Regime::Curriculum,
            ArmKind::Auxiliary => Regime::Auxiliary,
            ArmKind::Augmentation => Regime::Augmentation,
        }
    }

    /// A level's ratio as people say it: `25 %` or `2x`.
    pub fn label(self, ratio: f64) -> String {
        match self {
            ArmKind::Substitution => format!("{} %", trimmed(ratio * 100.0)),
            ArmKind::Addition
            | ArmKind::Pretraining
            | ArmKind::Curriculum
            | ArmKind::Auxiliary
            | ArmKind::Augmentation => {
                format!("{}x", trimmed(ratio))
            }
        }
    }
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// One curve of the experiment. Levels rise by ratio; the first is real-only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    pub kind: ArmKind,
    /// Which of the plan's sources its synthetic images come from.
    #[serde(default, skip_serializing_if = "is_first")]
    pub source: usize,
    /// The cell of the plan's factors that it is run in.
    #[serde(default, skip_serializing_if = "is_first")]
    pub cell: usize,
    pub levels: Vec<Level>,
}

fn is_first(index: &usize) -> bool {
    *index == 0
}

impl Arm {
    /// What is trained at its levels.
    pub(in crate::experiment) fn conditions(&self) -> Vec<Condition> {
        self.levels.iter().map(|level| level.condition).collect()
    }

    /// The same ratios with images of another source.
    pub(in crate::experiment) fn of_source(&self, source: usize) -> Self {
        let levels = self.levels.iter().map(|level| Level {
            condition: level.condition.of_source(source),
            ..*level
        });
        Arm {
            kind: self.kind,
            source,
            cell: 0,
            levels: levels.collect(),
        }
    }
}

/// One point of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// Synthetic share of the set, or synthetic images per real one.
    pub ratio: f64,
    pub condition: Condition,
}

/// How many synthetic images the largest trial of `arms` needs.
pub(super) fn largest_need(arms: &[Arm]) -> usize {
    arms.iter()
        .filter(|arm| arm.kind != ArmKind::Augmentation)
        .flat_map(|arm| &arm.levels)
        .map(|level| level.condition.n_synthetic)
        .max()
        .unwrap_or(0)
}

impl ArmsSpec {
    /// The arms in the order of their fields, and the settings of those that do not mix
    /// their images plainly.
    pub(super) fn check(&self, problems: &mut Problems) -> (Vec<Arm>, RegimeSettings) {
        let mut arms = Vec::new();
        if let Some(spec) = &self.substitution {
            arms.push(spec.levels(problems));
        }
        for (kind, counts) in [
            (
                ArmKind::Addition,
                self.addition.as_ref().map(|s| (s.real, &s.multiples)),
            ),
            (
                ArmKind::Pretraining,
                self.pretraining.as_ref().map(|s| (s.real, &s.multiples)),
            ),
            (
                ArmKind::Curriculum,
                self.curriculum.as_ref().map(|s| (s.real, &s.multiples)),
            ),
            (
                ArmKind::Auxiliary,
                self.auxiliary.as_ref().map(|s| (s.real, &s.multiples)),
            ),
            (
                ArmKind::Augmentation,
                self.augmentation.as_ref().map(|s| (s.real, &s.multiples)),
            ),
        ] {
            if let Some((real, multiples)) = counts {
                arms.push(levels_of_multiples(kind, real, multiples, problems));
            }
        }
        problems.require(
            !arms.is_empty(),
            "arms",
            "there is none; give one or more of `substitution: {total, shares}`, `addition: {real, \
             multiples}`, `pretraining: {real, multiples}`, `curriculum: {real, multiples, order}`, \
             `auxiliary: {real, multiples}` and `augmentation: {real, multiples, preset}`",
        );
        let regimes = RegimeSettings {
            pretraining: self.pretraining.as_ref().map(|s| s.settings(problems)),
            curriculum: self.curriculum.as_ref().map(|s| s.settings(problems)),
            auxiliary: self.auxiliary.as_ref().map(|s| s.settings(problems)),
            augmentation: None,
        };
        (arms, regimes)
    }
}

impl ArmsSpec {
    /// The numbers of real images of the learning curve, rising.
    pub(super) fn learning_curve(&self, problems: &mut Problems) -> Vec<usize> {
        let Some(spec) = &self.learning_curve else {
            return Vec::new();
        };
        for (index, count) in spec.real.iter().enumerate() {
            problems.require(
                (1..=MAX_IMAGES).contains(count),
                &format!("arms.learning_curve.real.{index}"),
                format!("{count} is not between 1 and {MAX_IMAGES}"),
            );
        }
        let counts: BTreeSet<usize> = spec.real.iter().copied().collect();
        counts.into_iter().collect()
    }
}

impl SubstitutionSpec {
    fn levels(&self, problems: &mut Problems) -> Arm {
        let total = self.total;
        problems.require(
            (1..=MAX_IMAGES).contains(&total),
            "arms.substitution.total",
            format!("{total} is not between 1 and {MAX_IMAGES}"),
        );
        for (index, share) in self.shares.iter().enumerate() {
            problems.require(
                (0.0..=1.0).contains(share),
                &format!("arms.substitution.shares.{index}"),
                format!("{share} is not a share between 0 and 1"),
            );
        }
        let condition = |share: f64| {
            let n_synthetic = (total as f64 * share).round() as usize;
            Condition::joint(total.saturating_sub(n_synthetic), n_synthetic)
        };
        let key = "arms.substitution.shares";
        arm(
            ArmKind::Substitution,
            &self.shares,
            condition,
            key,
            problems,
        )
    }
}

impl PretrainingSpec {
    fn settings(&self, problems: &mut Problems) -> PretrainingSettings {
        let (share, rate) = (self.share_of_steps, self.rate);
        problems.require(
            share > 0.0 && share < 1.0,
            "arms.pretraining.share_of_steps",
            format!(
                "{share} is not a share between 0 and 1, so that one of the trainings has no steps"
            ),
        );
        problems.require(
            rate > 0.0 && rate <= 1.0,
            "arms.pretraining.rate",
            format!("{rate} is not above 0 and at most 1"),
        );
        PretrainingSettings {
            share_of_steps: share,
            rate,
        }
    }
}

impl CurriculumSpec {
    fn settings(&self, problems: &mut Problems) -> CurriculumSettings {
        let is_change = |pair: &[Seen]| pair[0] != pair[1];
        problems.require(
            self.order.len() > 1 && self.order.windows(2).all(is_change),
            "arms.curriculum.order",
            "it needs two or more of `synthetic`, `mixed` and `real`, each another than the one \
             before",
        );
        CurriculumSettings {
            order: self.order.clone(),
        }
    }
}

impl AuxiliarySpec {
    fn settings(&self, problems: &mut Problems) -> AuxiliarySettings {
        let (task, synthetic) = (self.image_class_weight, self.synthetic_weight);
        problems.require(
            task > 0.0 && task <= 1e4,
            "arms.auxiliary.image_class_weight",
            format!("{task} is not above 0 and at most 1e4; at 0 there is no auxiliary task"),
        );
        problems.require(
            (0.0..=1e4).contains(&synthetic),
            "arms.auxiliary.synthetic_weight",
            format!("{synthetic} is outside 0..=1e4"),
        );
        AuxiliarySettings {
            image_class_weight: task,
            synthetic_weight: synthetic,
        }
    }
}

/// The levels of an arm that keeps `n_real` real images and has multiples of them in
/// synthetic ones.
fn levels_of_multiples(
    kind: ArmKind,
    n_real: usize,
    multiples: &[f64],
    problems: &mut Problems,
) -> Arm {
    let name = kind.name();
    problems.require(
        (1..=MAX_IMAGES).contains(&n_real),
        &format!("arms.{name}.real"),
        format!("{n_real} is not between 1 and {MAX_IMAGES}"),
    );
    let key = format!("arms.{name}.multiples");
    for (index, multiple) in multiples.iter().enumerate() {
        problems.require(
            *multiple >= 0.0 && multiple * n_real as f64 <= MAX_IMAGES as f64,
            &format!("{key}.{index}"),
            format!("{multiple} is not a number of synthetic images per real one"),
        );
    }
    let condition = |multiple: f64| {
        let n_synthetic = (n_real as f64 * multiple).round() as usize;
        let regime = match kind.regime() {
            Regime::Pretraining | Regime::Curriculum | Regime::Augmentation if n_synthetic == 0 => {
                Regime::Joint
            }
            regime => regime,
        };
        Condition {
            regime,
            ..Condition::joint(n_real, n_synthetic)
        }
    };
    arm(kind, multiples, condition, &key, problems)
}

/// Sorts the ratios, puts real-only first and refuses two that give the same set.
fn arm(
    kind: ArmKind,
    ratios: &[f64],
    condition: impl Fn(f64) -> Condition,
    key: &str,
    problems: &mut Problems,
) -> Arm {
    let mut ratios: Vec<f64> = ratios.iter().copied().chain([0.0]).collect();
    ratios.sort_by(f64::total_cmp);
    ratios.dedup();
    let levels: Vec<Level> = ratios
        .iter()
        .map(|&ratio| Level {
            ratio,
            condition: condition(ratio),
        })
        .collect();
    problems.require(
        levels.len() > 1,
        key,
        "there is no ratio but real-only, so there is nothing to compare",
    );
    for pair in levels.windows(2) {
        problems.require(
            pair[0].condition != pair[1].condition,
            key,
            format!(
                "{} and {} give the same number of images; leave one out",
                pair[0].ratio, pair[1].ratio
            ),
        );
    }
    Arm {
        kind,
        source: 0,
        cell: 0,
        levels,
    }
}
