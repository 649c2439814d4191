//! Notices scenes whose camera sees nothing of what is to be labelled.

use std::fmt;

use crate::dataset::{Dataset, Record};

/// From this many images on a run without a single box is a mistake. A shorter one may have
/// missed its objects by chance.
const ENOUGH_IMAGES: u64 = 20;

/// How many labelled objects of an image have no box.
pub(super) fn without_box(record: &Record) -> u64 {
    let count = record.factors.get("objects_without_box");
    count.and_then(serde_json::Value::as_u64).unwrap_or(0)
}

/// How many labelled objects some images have, and how many of these have boxes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sight {
    images: u64,
    boxes: u64,
    without_box: u64,
}

impl Sight {
    /// What the images of a whole data set show.
    pub(super) fn of(dataset: &Dataset) -> Self {
        let mut sight = Self::default();
        for sample in &dataset.samples {
            sight.add(sample.annotations.len() as u64, without_box(&sample.record));
        }
        sight
    }

    /// Counts one image with `boxes`, and labelled objects `without_box`.
    pub fn add(&mut self, boxes: u64, without_box: u64) {
        self.images += 1;
        self.boxes += boxes;
        self.without_box += without_box;
    }

    pub fn images(&self) -> u64 {
        self.images
    }

    /// Whether there are labelled objects and none of them has a box.
    pub fn is_empty(&self) -> bool {
        self.boxes == 0 && self.without_box > 0
    }

    /// Whether so many images cannot have missed their objects by chance.
    pub fn is_sure(&self) -> bool {
        self.images >= ENOUGH_IMAGES
    }
}

/// What to tell the user where [`Sight::is_empty`] holds.
impl fmt::Display for Sight {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self {
            images,
            without_box,
            ..
        } = self;
        write!(
            f,
            "none of the {without_box} labelled objects of {images} image(s) is in view: let \
             `camera` look where `placement` puts them, or lower labels.min_visible_px and \
             labels.min_visible_fraction where they are too small or too hidden for a box; \
             `admix preview` shows what the camera sees"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_that_were_asked_for_are_missed() {
        let mut sight = Sight::default();
        sight.add(0, 0);
        assert!(!sight.is_empty(), "no object was asked for");
        for _ in 0..19 {
            sight.add(0, 2);
        }
        assert!(sight.is_empty() && sight.is_sure());
        let told = sight.to_string();
        assert!(told.contains("38 labelled objects of 20 image"), "{told}");
        sight.add(1, 5);
        assert!(!sight.is_empty(), "one box is enough");
    }
}
