//! Which images of a data set are compared.

use super::AuditError;
use crate::dataset::{Dataset, Split};

/// The images of one data set that are compared: at least one.
#[derive(Debug, Clone)]
pub struct Side {
    dataset: Dataset,
    split: Option<Split>,
    images_in_set: usize,
}

impl Side {
    /// All images of a data set.
    ///
    /// # Errors
    /// A data set without images.
    pub fn whole(dataset: Dataset) -> Result<Self, AuditError> {
        Side {
            images_in_set: dataset.samples.len(),
            dataset,
            split: None,
        }
        .checked()
    }

    /// The images of a data set that a scene may be fitted to: those of `split`; where none
    /// is given those of the training split, or all of a data set without splits.
    ///
    /// # Errors
    /// A data set without images, a split of a data set without splits, a split without images.
    pub fn reference(dataset: Dataset, split: Option<Split>) -> Result<Self, AuditError> {
        let found: Vec<String> = Split::ALL
            .into_iter()
            .filter_map(|split| {
                let is_in = |sample: &&_| has_split(sample, split);
                let count = dataset.samples.iter().filter(is_in).count();
                (count > 0).then(|| format!("{split} ({count} images)"))
            })
            .collect();
        if found.is_empty() || dataset.samples.is_empty() {
            return match split {
                Some(split) if !dataset.samples.is_empty() => Err(AuditError::NoSplits {
                    path: dataset.root,
                    split,
                }),
                _ => Side::whole(dataset),
            };
        }
        let split = split.unwrap_or(Split::Train);
        let part = dataset.split(split);
        if part.samples.is_empty() {
            return Err(AuditError::EmptySplit {
                path: dataset.root,
                split,
                found: found.join(", "),
            });
        }
        Ok(Side {
            images_in_set: dataset.samples.len(),
            dataset: part,
            split: Some(split),
        })
    }

    fn checked(self) -> Result<Self, AuditError> {
        if self.dataset.samples.is_empty() {
            return Err(AuditError::NoImages {
                path: self.dataset.root,
            });
        }
        Ok(self)
    }

    /// The compared images.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// The split that was chosen, or `None` where all images are compared.
    pub fn split(&self) -> Option<Split> {
        self.split
    }

    /// How many images there are with those that are not compared.
    pub fn images_in_set(&self) -> usize {
        self.images_in_set
    }
}

fn has_split(sample: &crate::dataset::Sample, split: Split) -> bool {
    sample.record.split == Some(split)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::dataset::{Origin, Record, Sample};

    fn dataset(splits: &[Option<Split>]) -> Dataset {
        let sample = |(id, split): (u64, &Option<Split>)| {
            let mut record = Record::new(id, "a.png", Origin::Real);
            record.split = *split;
            Sample {
                id,
                path: PathBuf::from("a.png"),
                file_name: "a.png".to_owned(),
                width: 4,
                height: 3,
                annotations: Vec::new(),
                record,
            }
        };
        Dataset {
            root: PathBuf::from("photographs"),
            categories: Vec::new(),
            samples: (1..).zip(splits).map(sample).collect(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn only_the_training_split_is_taken_unless_another_is_asked_for() {
        let splits = [Split::Train, Split::Test, Split::Train].map(Some);
        let side = Side::reference(dataset(&splits), None).unwrap();
        assert_eq!(side.split(), Some(Split::Train));
        assert_eq!((side.dataset().samples.len(), side.images_in_set()), (2, 3));
        let side = Side::reference(dataset(&splits), Some(Split::Test)).unwrap();
        assert_eq!(side.dataset().samples[0].id, 2);
        let side = Side::reference(dataset(&[None, None]), None).unwrap();
        assert_eq!((side.split(), side.dataset().samples.len()), (None, 2));
    }

    #[test]
    fn what_cannot_be_chosen_is_told() {
        let message = |splits: &[Option<Split>], split| {
            Side::reference(dataset(splits), split)
                .unwrap_err()
                .to_string()
        };
        let text = message(&[Some(Split::Test)], None);
        assert!(text.contains("no images in split train"), "{text}");
        assert!(text.contains("test (1 images)"), "{text}");
        let text = message(&[None], Some(Split::Val));
        assert!(text.contains("photographs has no splits"), "{text}");
        for split in [None, Some(Split::Val)] {
            let text = message(&[], split);
            assert!(text.contains("no usable images"), "{text}");
        }
    }
}
