//! Keeps held-out images out of training.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use super::MixError;
use crate::dataset::{Dataset, DatasetError, Fingerprint, Likeness, Origin, Sample, Split};
use crate::observer::Observer;

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

/// The images of a data set that are in a split other than train.
pub fn held_out_part(dataset: &Dataset) -> Dataset {
    dataset.filtered(|sample| {
        sample
            .record
            .split
            .is_some_and(|split| split != Split::Train)
    })
}

/// The images that training must not see. [`super::draw`] asks for them, so that no
/// mixture comes about that was not compared with them.
#[derive(Debug)]
pub struct HeldOut {
    images: Vec<(PathBuf, Fingerprint)>,
    paths: HashSet<PathBuf>,
    /// Folder of a data set and group, with one image of it. Groups are names within
    /// a data set.
    groups: HashMap<(PathBuf, String), PathBuf>,
    /// Training images that were compared already and are no copies.
    cleared: Mutex<HashSet<PathBuf>>,
}

impl HeldOut {
    /// Takes all images of the given data sets, each of which is decoded once, on the
    /// current rayon pool. See [`held_out_part`] for a data set with splits.
    ///
    /// # Errors
    /// An image that cannot be read.
    pub fn of(datasets: &[&Dataset], observer: &dyn Observer) -> Result<Self, MixError> {
        let samples: Vec<(&Path, &Sample)> = datasets
            .iter()
            .flat_map(|dataset| dataset.samples.iter().map(|s| (dataset.root.as_path(), s)))
            .collect();
        let prints = fingerprints(
            samples.iter().map(|(_, s)| *s).collect(),
            "held out",
            observer,
        )?;
        let path = |sample: &Sample| sample.path.clone();
        let groups = samples
            .iter()
            .map(|(root, s)| ((root.to_path_buf(), s.group().to_owned()), path(s)));
        Ok(HeldOut {
            groups: groups.collect(),
            paths: samples.iter().map(|(_, s)| path(s)).collect(),
            images: samples.iter().map(|(_, s)| path(s)).zip(prints).collect(),
            cleared: Mutex::new(HashSet::new()),
        })
    }

    /// Number of held-out images.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// The training images of a data set that give held-out images away, copies and
    /// shared groups alike. `real_root` is the folder whose groups augmented copies of
    /// photographs keep.
    ///
    /// # Errors
    /// An image that cannot be read.
    pub fn leaks(
        &self,
        train: &Dataset,
        real_root: &Path,
        observer: &dyn Observer,
    ) -> Result<Vec<Leak>, MixError> {
        let samples: Vec<&Sample> = train.samples.iter().collect();
        let mut leaks = self.copies(&samples, observer)?;
        let known: HashSet<String> = leaks.iter().map(|leak| leak.train.clone()).collect();
        let groups = self.shared_groups(&train.root, real_root, &samples);
        leaks.extend(
            groups
                .into_iter()
                .filter(|leak| !known.contains(&leak.train)),
        );
        Ok(leaks)
    }

    /// An image of one of `dataset`'s held-out splits that is not among these, if any.
    pub(super) fn not_compared(&self, dataset: &Dataset) -> Option<PathBuf> {
        let paths = held_out_part(dataset).samples.into_iter().map(|s| s.path);
        paths.into_iter().find(|path| !self.paths.contains(path))
    }

    /// Samples whose group is held out. No pixels are read.
    pub(super) fn shared_groups(
        &self,
        root: &Path,
        real_root: &Path,
        samples: &[&Sample],
    ) -> Vec<Leak> {
        let shared = |sample: &&Sample| {
            let group = |root: &Path| {
                self.groups
                    .get(&(root.to_owned(), sample.group().to_owned()))
            };
            // An image made from a photograph keeps its group.
            let is_copy = sample.record.source_origin == Some(Origin::Real);
            let held_out = group(root).or_else(|| group(real_root).filter(|_| is_copy))?;
            Some(leak(sample, held_out, LeakReason::SameGroup))
        };
        samples.iter().filter_map(shared).collect()
    }

    /// Samples that are copies or near duplicates of held-out images. Each sample is
    /// decoded once, however often it is asked for.
    pub(super) fn copies(
        &self,
        samples: &[&Sample],
        observer: &dyn Observer,
    ) -> Result<Vec<Leak>, MixError> {
        if self.is_empty() {
            return Ok(Vec::new());
        }
        let new: Vec<&Sample> = {
            let cleared = self.cleared();
            let is_new = |sample: &&Sample| !cleared.contains(&sample.path);
            samples.iter().copied().filter(is_new).collect()
        };
        let prints = fingerprints(new.clone(), "compare", observer)?;
        let leaks: Vec<Leak> = new
            .par_iter()
            .zip(&prints)
            .filter_map(|(sample, print)| {
                self.images.iter().find_map(|(held_out, other)| {
                    let reason = match print.likeness(other)? {
                        Likeness::SameFile => LeakReason::SameFile,
                        Likeness::NearDuplicate => LeakReason::NearDuplicate,
                    };
                    Some(leak(sample, held_out, reason))
                })
            })
            .collect();
        let leaking: HashSet<&str> = leaks.iter().map(|leak| leak.train.as_str()).collect();
        let clear = new
            .iter()
            .filter(|sample| !leaking.contains(sample.path.to_string_lossy().as_ref()));
        self.cleared()
            .extend(clear.map(|sample| sample.path.clone()));
        Ok(leaks)
    }

    fn cleared(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.cleared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn leak(sample: &Sample, held_out: &Path, reason: LeakReason) -> Leak {
    Leak {
        train: sample.path.to_string_lossy().into_owned(),
        held_out: held_out.to_string_lossy().into_owned(),
        reason,
    }
}

fn fingerprints(
    samples: Vec<&Sample>,
    stage: &str,
    observer: &dyn Observer,
) -> Result<Vec<Fingerprint>, DatasetError> {
    if samples.is_empty() {
        return Ok(Vec::new());
    }
    observer.begin(stage, samples.len() as u64, 0);
    let prints = samples
        .par_iter()
        .map(|sample| {
            let print = Fingerprint::of_file(&sample.path);
            observer.advance(1);
            print
        })
        .collect();
    observer.end();
    prints
}
