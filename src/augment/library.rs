//! Other pictures that transforms take from.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use image::RgbImage;
use rand::RngExt;

use super::catalogue::TransformSpec;
use super::{AugmentError, AugmentPlan, Transform};
use crate::annotation::Annotation;
use crate::dataset::{Dataset, Sample, Split, pictures_in, read_image};
use crate::seed::Generator;

/// The data set that is augmented, and the pictures that it shall be made like.
///
/// A picture takes only from others of its own split, and no picture is made like one of a
/// validation or test split, so that nothing of a test image reaches training.
#[derive(Debug, Default)]
pub struct Library<'a> {
    samples: HashMap<&'a str, &'a Sample>,
    /// Names of the images of each split, in order.
    peers: BTreeMap<Option<Split>, Vec<&'a str>>,
    /// Names of the images of each split and group, in order.
    groups: HashMap<(Option<Split>, &'a str), Vec<&'a str>>,
    references: BTreeMap<PathBuf, Vec<PathBuf>>,
    /// Identifiers of all classes.
    pub(super) classes: Vec<u32>,
}

impl<'a> Library<'a> {
    /// Lists the pictures that `plan` can take from while it augments `dataset`.
    ///
    /// # Errors
    /// A reference that cannot be read or holds no picture.
    pub fn open(plan: &AugmentPlan, dataset: &'a Dataset) -> Result<Self, AugmentError> {
        let mut library = Library {
            classes: dataset.categories.iter().map(|class| class.id).collect(),
            ..Library::default()
        };
        let mut samples: Vec<&Sample> = dataset.samples.iter().collect();
        samples.sort_by(|a, b| a.file_name.cmp(&b.file_name));
        for sample in samples {
            let (name, split) = (sample.file_name.as_str(), sample.record.split);
            library.samples.insert(name, sample);
            library.peers.entry(split).or_default().push(name);
            let group = library.groups.entry((split, sample.group())).or_default();
            group.push(name);
        }
        for spec in plan.transforms() {
            if let Some(folder) = Donors::reference(spec)
                && !library.references.contains_key(folder)
            {
                let pictures = reference_pictures(folder)?;
                library.references.insert(folder.clone(), pictures);
            }
        }
        Ok(library)
    }

    /// The picture and labels of an image of the data set.
    pub(super) fn sample(&self, name: &str) -> Result<(RgbImage, Vec<Annotation>), AugmentError> {
        let sample = self.find(name)?;
        Ok((read_image(&sample.path)?, sample.annotations.clone()))
    }

    pub(super) fn labels(&self, name: &str) -> Result<Vec<Annotation>, AugmentError> {
        Ok(self.find(name)?.annotations.clone())
    }

    fn find(&self, name: &str) -> Result<&Sample, AugmentError> {
        let found = self.samples.get(name).copied();
        found.ok_or_else(|| AugmentError::NoDonor {
            name: name.to_owned(),
        })
    }
}

/// The training part of a data set, or all pictures of a plain folder.
fn reference_pictures(folder: &Path) -> Result<Vec<PathBuf>, AugmentError> {
    let of_dataset = |dataset: Dataset| {
        let train = dataset.split(Split::Train);
        let part = if train.samples.is_empty() {
            dataset.filtered(|sample| sample.record.split.is_none())
        } else {
            train
        };
        part.samples.into_iter().map(|sample| sample.path).collect()
    };
    let mut pictures: Vec<PathBuf> = match Dataset::open(folder) {
        Ok(dataset) => of_dataset(dataset),
        // A folder without labels is no data set, and good enough to be looked at.
        Err(_) => pictures_in(folder)?,
    };
    pictures.sort();
    if pictures.is_empty() {
        return Err(AugmentError::NoReference {
            folder: folder.to_owned(),
        });
    }
    Ok(pictures)
}

/// Which other pictures a transform takes from.
pub(super) enum Donors<'a> {
    None,
    /// So many of the same split.
    Peers(usize),
    /// One of a reference.
    Reference(&'a Path),
    /// The one so many images earlier in the same group.
    Earlier(usize),
}

impl<'a> Donors<'a> {
    pub fn of(spec: &'a TransformSpec, drawn: &Transform) -> Self {
        match drawn {
            Transform::Mosaic { .. } => Donors::Peers(3),
            Transform::MixUp { .. } | Transform::CopyPaste { .. } => Donors::Peers(1),
            Transform::LabelDelay { frames } => Donors::Earlier(*frames as usize),
            _ => match Donors::reference(spec) {
                Some(folder) => Donors::Reference(folder),
                None => Donors::None,
            },
        }
    }

    /// The folder whose pictures a transform makes a picture like.
    pub fn reference(spec: &TransformSpec) -> Option<&PathBuf> {
        match spec {
            TransformSpec::MatchHistogram { reference, .. }
            | TransformSpec::MatchColour { reference, .. }
            | TransformSpec::MatchSpectrum { reference, .. } => reference.as_ref(),
            _ => None,
        }
    }

    /// File names or paths. A picture is its own peer where there is no other.
    pub fn choose(self, library: &Library, name: &str, generator: &mut Generator) -> Vec<String> {
        let sample = library.samples.get(name);
        let split = sample.and_then(|sample| sample.record.split);
        match self {
            Donors::None => Vec::new(),
            Donors::Peers(count) => {
                let peers = library.peers.get(&split).map_or(&[][..], Vec::as_slice);
                let own = peers.binary_search(&name).ok();
                let draw = |_| {
                    let others = peers.len() - usize::from(own.is_some());
                    if others == 0 {
                        return name.to_owned();
                    }
                    let index = generator.random_range(0..others);
                    let skip = own.is_some_and(|own| index >= own);
                    peers[index + usize::from(skip)].to_owned()
                };
                (0..count).map(draw).collect()
            }
            Donors::Reference(folder) => {
                let pictures = library
                    .references
                    .get(folder)
                    .map_or(&[][..], Vec::as_slice);
                if pictures.is_empty() {
                    return Vec::new();
                }
                let chosen = &pictures[generator.random_range(0..pictures.len())];
                vec![chosen.display().to_string()]
            }
            Donors::Earlier(frames) => {
                let group = sample.and_then(|sample| library.groups.get(&(split, sample.group())));
                let group = group.map_or(&[][..], Vec::as_slice);
                let place = group.binary_search(&name).unwrap_or(0);
                let earlier = group.get(place.saturating_sub(frames));
                earlier.map(|name| (*name).to_owned()).into_iter().collect()
            }
        }
    }
}
