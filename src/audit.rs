//! What data sets are like in numbers, how two of them differ, and what is wrong with one.
//!
//! ```text
//!                side                feature            statistics, classifier
//!  data sets --> which images --> numbers an image --> distances, p-values, AUC --> sentence, page
//! ```
//!
//! Images of one group (a burst of photographs, tiles of one field) are alike, so that they
//! count as one observation: permutations and folds move whole groups.

mod chart;
mod check;
mod classifier;
mod diversity;
mod feature;
mod gap;
mod page;
mod scale;
mod sentence;
mod side;
mod statistics;

use std::path::PathBuf;

use thiserror::Error;

pub use check::{
    Audit, AuditFiles, ClassSummary, Finding, Issue, Part, SplitSummary, audit, write_audit,
};
pub use classifier::{Separation, domain_auc};
pub use diversity::DiversityScale;
pub use feature::Feature;
pub use gap::{Breadth, Difference, FeatureGap, Gap, SetSummary, Shift, Spread, compare};
pub use page::{GapFiles, write_gap};
pub use side::Side;

use crate::dataset::{DatasetError, Split};

/// Why two data sets cannot be compared.
#[derive(Debug, Error)]
pub enum AuditError {
    #[error("{path} has no usable images to compare", path = path.display())]
    NoImages { path: PathBuf },
    #[error("{path} has no splits, so that `{split}` cannot be chosen; leave the split out to compare with all of its images", path = path.display())]
    NoSplits { path: PathBuf, split: Split },
    #[error("{path} has no images in split {split}; choose one that has: {found}", path = path.display())]
    EmptySplit {
        path: PathBuf,
        split: Split,
        /// The splits that have images, with their counts.
        found: String,
    },
    #[error(transparent)]
    Dataset(#[from] DatasetError),
}

impl AuditError {
    /// Whether the user can mend it by other input, rather than a failure on the way.
    pub fn is_mistake(&self) -> bool {
        match self {
            AuditError::Dataset(error) => error.is_mistake(),
            _ => true,
        }
    }
}
