//! Keeps held-out images out of training.

use std::collections::HashMap;
use std::fmt;

use rayon::prelude::*;

use super::MixError;
use crate::dataset::{Dataset, DatasetError, Fingerprint, Likeness};

/// A training image that gives a held-out image away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// Path of the training image.
    pub train: String,
    /// Path of the held-out image.
    pub held_out: String,
    pub reason: LeakReason,
}

/// Why an image leaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeakReason {
    /// The files are the same.
    SameFile,
    /// The pictures are the same but for encoding, size or brightness.
    NearDuplicate,
    /// Both belong to one group of one data set.
    SameGroup,
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let reason = match self.reason {
            LeakReason::SameFile => "is the same file as",
            LeakReason::NearDuplicate => "is a near duplicate of",
            LeakReason::SameGroup => "is of the same group as",
        };
        write!(f, "{} {reason} {}", self.train, self.held_out)
    }
}

/// Looks for held-out images, their near duplicates and their groups in a training
/// set. Decodes every image of both once, on the current rayon pool. Groups are names
/// within a data set, so they are compared only where both images lie in one folder.
///
/// # Errors
/// [`MixError::Leakage`] with every offender, or an image that cannot be read.
pub fn check_leakage(train: &Dataset, test: &Dataset) -> Result<(), MixError> {
    let test_prints = fingerprints(test)?;
    let train_prints = fingerprints(train)?;
    let groups: HashMap<_, _> = test
        .samples
        .iter()
        .map(|sample| ((sample.path.parent(), sample.group()), sample))
        .collect();
    let leaks: Vec<Leak> = train
        .samples
        .par_iter()
        .zip(&train_prints)
        .filter_map(|(sample, print)| {
            let leak = |held_out: &crate::dataset::Sample, reason| Leak {
                train: sample.path.display().to_string(),
                held_out: held_out.path.display().to_string(),
                reason,
            };
            let copy = test
                .samples
                .iter()
                .zip(&test_prints)
                .find_map(|(held_out, other)| {
                    let reason = match print.likeness(other)? {
                        Likeness::SameFile => LeakReason::SameFile,
                        Likeness::NearDuplicate => LeakReason::NearDuplicate,
                    };
                    Some(leak(held_out, reason))
                });
            copy.or_else(|| {
                let held_out = groups.get(&(sample.path.parent(), sample.group()))?;
                Some(leak(held_out, LeakReason::SameGroup))
            })
        })
        .collect();
    if leaks.is_empty() {
        Ok(())
    } else {
        Err(MixError::Leakage { leaks })
    }
}

fn fingerprints(dataset: &Dataset) -> Result<Vec<Fingerprint>, DatasetError> {
    dataset
        .samples
        .par_iter()
        .map(|sample| Fingerprint::of_file(&sample.path))
        .collect()
}
