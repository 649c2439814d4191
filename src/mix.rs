//! Builds training sets at exact real/synthetic ratios.
//!
//! Each pool gets one random order, which depends on the seed and on the image alone.
//! A mixture takes images from the front of each order, so that draws nest: at the
//! same seed, a mixture with more synthetic images holds those of one with fewer, and
//! likewise for real ones. Differences along a mixing curve then come from the images
//! that were added or replaced, not from another draw.
//!
//! Nothing is drawn without [`HeldOut`], the images that training must not see: each
//! draw is compared with them, and a copy, a near duplicate or a shared group is an
//! error that names both files.

mod balance;
mod draw;
mod leakage;
mod plan;
mod write;

use std::path::PathBuf;

use thiserror::Error;

pub use draw::{ClassCount, Mixture, draw};
pub use leakage::{HeldOut, Leak, LeakReason, held_out_part};
pub use plan::{MixPlan, MixSpec, Policy, PolicySpec, Ratio, Source, SourceSpec};

use crate::dataset::DatasetError;

/// Why a mixture cannot be drawn or written.
#[derive(Debug, Error)]
pub enum MixError {
    #[error("{asked} {pool} images are asked for, but {path} has {available} in its training split; ask for fewer or add images", path = path.display())]
    TooFew {
        pool: Pool,
        path: PathBuf,
        asked: usize,
        available: usize,
    },
    #[error(
        "{pool} images: {asked} with class `{class}` are asked for among {total}, but only {reached} can be had exactly; change images_per_class or the total"
    )]
    ClassCount {
        pool: Pool,
        class: String,
        asked: usize,
        reached: usize,
        total: usize,
    },
    #[error("{pool} images: class `{class}` of images_per_class is not in {path}; its classes are {known}", path = path.display())]
    UnknownClass {
        pool: Pool,
        class: String,
        path: PathBuf,
        known: String,
    },
    #[error("{count} training image(s) give held-out images away:\n  {list}\nremove them from training or from the held-out set; a group must stay in one split", count = leaks.len(), list = first_leaks(leaks))]
    Leakage { leaks: Vec<Leak> },
    #[error("{path} is in a held-out split, but was not among the {given} held-out images that training images are compared with; give all of them to HeldOut::of", path = path.display())]
    NotCompared { path: PathBuf, given: usize },
    #[error(transparent)]
    Dataset(#[from] DatasetError),
}

impl MixError {
    /// Whether the user's files or numbers are at fault.
    pub fn is_mistake(&self) -> bool {
        !matches!(
            self,
            MixError::Dataset(DatasetError::Write { .. }) | MixError::NotCompared { .. }
        )
    }
}

fn first_leaks(leaks: &[Leak]) -> String {
    let mut shown: Vec<String> = leaks.iter().take(20).map(Leak::to_string).collect();
    if leaks.len() > shown.len() {
        shown.push(format!("... and {} more", leaks.len() - shown.len()));
    }
    shown.join("\n  ")
}

/// The two sides of a mixture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    Real,
    Synthetic,
}

impl std::fmt::Display for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Pool::Real => "real",
            Pool::Synthetic => "synthetic",
        })
    }
}
