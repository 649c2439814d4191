//! One training of the grid, and what came of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::exhibit::Exhibit;
use crate::evaluation::{ErrorKinds, Redrawn};
use crate::seed::PlanHash;

/// How a trial uses its images.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Regime {
    /// Real and synthetic images are mixed in each batch and teach alike.
    #[default]
    Joint,
    /// First the synthetic images alone, then the real ones alone.
    Pretraining,
    /// One kind after the other, and both mixed, in an order of the plan's.
    Curriculum,
    /// Mixed in each batch, with the auxiliary task and another weight of synthetic images.
    Auxiliary,
    /// Augmented copies of the real images in place of synthetic ones, mixed in each batch.
    Augmentation,
}

impl Regime {
    pub fn name(self) -> &'static str {
        match self {
            Regime::Joint => "joint",
            Regime::Pretraining => "pretraining",
            Regime::Curriculum => "curriculum",
            Regime::Auxiliary => "auxiliary",
            Regime::Augmentation => "augmentation",
        }
    }

    fn is_joint(&self) -> bool {
        *self == Regime::Joint
    }
}

/// What a detector is trained on: exact image counts, and how they are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Condition {
    pub n_real: usize,
    /// Synthetic images, or augmented copies in their place.
    pub n_synthetic: usize,
    /// Left out where joint, so that identifiers and hashes stay those of experiments that
    /// were begun before there were others.
    #[serde(default, skip_serializing_if = "Regime::is_joint")]
    pub regime: Regime,
    /// Which of the plan's sources the synthetic images come from; left out where it is the
    /// first, as the regime is. 0 where there are no synthetic images.
    #[serde(default, skip_serializing_if = "is_first")]
    pub source: usize,
    /// The cell of the plan's factors; left out where it is the first.
    #[serde(default, skip_serializing_if = "is_first")]
    pub cell: usize,
    /// Which of the rate check's learning rates it is trained at; left out at the planned one.
    #[serde(default, skip_serializing_if = "is_first")]
    pub rate: usize,
}

fn is_first(index: &usize) -> bool {
    *index == 0
}

impl Condition {
    /// Mixing that many images.
    pub fn joint(n_real: usize, n_synthetic: usize) -> Self {
        Condition {
            n_real,
            n_synthetic,
            regime: Regime::Joint,
            source: 0,
            cell: 0,
            rate: 0,
        }
    }

    /// The same with images of another source; without synthetic images all sources are one.
    pub fn of_source(self, source: usize) -> Self {
        Condition {
            source: if self.n_synthetic > 0 { source } else { 0 },
            ..self
        }
    }

    /// The same at another learning rate.
    pub fn at_rate(self, rate: usize) -> Self {
        Condition { rate, ..self }
    }

    /// Mixing the same images.
    pub fn mixed(self) -> Self {
        Condition {
            regime: Regime::Joint,
            ..self
        }
    }

    /// Name of its trial at `seed`, fit for a folder. `rate` and `cell` are what its learning
    /// rate and its cell add to it.
    pub(super) fn trial_id(self, rate: &str, cell: &str, seed: u64) -> String {
        let mut id = format!("r{}-s{}", self.n_real, self.n_synthetic);
        if self.source > 0 && self.cell == 0 {
            id += &format!("-source{}", self.source + 1);
        }
        if !self.regime.is_joint() {
            id += &format!("-{}", self.regime.name());
        }
        format!("{id}{rate}-seed{seed}{cell}")
    }
}

/// One cell of the grid. Trials of the same condition and seed are the same trial,
/// whatever arm they stand in, and are run once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Unique in its experiment and fit for a folder name.
    pub id: String,
    pub condition: Condition,
    /// Seed of the data draw and of the detector's initial weights.
    pub seed: u64,
    /// Hash of all that the result depends on.
    pub hash: PlanHash,
    /// Whether the trial should leave images for the report.
    pub exhibits: bool,
}

/// What an executor measured on the real test split.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The twelve numbers in pycocotools' order; -1 where undefined.
    pub stats: [f64; 12],
    /// AP of each category by name; -1 where undefined.
    #[serde(default)]
    pub per_category: BTreeMap<String, f64>,
    /// On test splits drawn anew, the same in every trial.
    #[serde(default)]
    pub redrawn: Option<Redrawn>,
    /// AP on the real val split, by which settings may be chosen; `None` without one.
    #[serde(default)]
    pub validation_ap: Option<f64>,
    /// The kinds of errors on the real test split.
    #[serde(default)]
    pub errors: Option<ErrorKinds>,
    /// The twelve numbers on synthetic images that no trial trains on.
    #[serde(default)]
    pub synthetic_stats: Option<[f64; 12]>,
    /// Vendi score of the training images.
    #[serde(default)]
    pub diversity: Option<f64>,
    /// How well real and synthetic images, neither trained on, are told apart by what the
    /// detector makes of them: an area under the ROC curve.
    #[serde(default)]
    pub domain_auc: Option<f64>,
    /// Optimiser steps taken.
    #[serde(default)]
    pub steps: u64,
    #[serde(default)]
    pub exhibits: Vec<Exhibit>,
}

impl Measurement {
    /// Average precision over IoU 0.50 to 0.95.
    pub fn ap(&self) -> f64 {
        self.stats[0]
    }

    /// AP on held-out synthetic images minus that on real ones: how much better the detector
    /// knows the generator than the world.
    pub fn generator_fit(&self) -> Option<f64> {
        let synthetic = self.synthetic_stats?[0];
        (synthetic >= 0.0).then(|| synthetic - self.ap())
    }

    /// Average precision at IoU 0.50.
    pub fn ap50(&self) -> f64 {
        self.stats[1]
    }
}

/// A finished trial, as it stands in `trials/ID/result.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialResult {
    pub trial: Trial,
    pub measurement: Measurement,
    /// Wall time of the trial in seconds.
    pub seconds: f64,
}
