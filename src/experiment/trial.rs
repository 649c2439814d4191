//! One training of the grid, and what came of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::exhibit::Exhibit;
use crate::seed::PlanHash;

/// What a training set is made of: exact image counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Condition {
    pub n_real: usize,
    pub n_synthetic: usize,
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The twelve numbers in pycocotools' order; -1 where undefined.
    pub stats: [f64; 12],
    /// AP of each category by name; -1 where undefined.
    #[serde(default)]
    pub per_category: BTreeMap<String, f64>,
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
