//! How well a detector's segmentation fits the masks of a data set.

use burn::tensor::{Tensor, TensorData};
use image::RgbImage;
use rayon::prelude::*;
use serde::Serialize;

use super::averaged;
use crate::dataset::Dataset;
use crate::detector::config::{InputSize, SegmentationSpec};
use crate::detector::image_store::{self, StoredImage};
use crate::detector::layer::floats;
use crate::detector::view::View;
use crate::detector::{Detector, DetectorError};
use crate::observer::Observer;

/// Images that go through the network together.
const BATCH: usize = 16;

/// How well masks are found, over all cells of all images of a data set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MaskScore {
    /// Intersection over union of the cells that are more than half object, at the finest
    /// stride, in `0..=1`; 1 where there is neither a predicted nor a labelled one.
    pub iou: f64,
    /// Mean binary cross-entropy.
    pub loss: f64,
    /// The finest first.
    pub paths: Vec<PathScore>,
}

/// What one path does for the whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PathScore {
    /// Pixels a cell.
    pub stride: usize,
    /// Of its own map against the mask at its size.
    pub own_iou: f64,
    pub own_loss: f64,
    /// Of the sum of the other paths.
    pub iou_without: f64,
    pub loss_without: f64,
}

/// The logits of a batch of images.
struct Logits {
    /// Of each path's map, the finest first, image by image.
    maps: Vec<Vec<f32>>,
    /// Share of each in the sum.
    shares: Vec<f32>,
}

/// Cells, their overlap and their loss so far.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    cells: u64,
    common: u64,
    either: u64,
    loss: f64,
}

impl Tally {
    fn add(&mut self, logit: f32, wanted: f32) {
        let (found, is_object) = (logit > 0.0, wanted > 0.5);
        self.cells += 1;
        self.common += u64::from(found && is_object);
        self.either += u64::from(found || is_object);
        let (logit, wanted) = (f64::from(logit), f64::from(wanted));
        // ln(1 + e^x) - wanted x, without overflow.
        self.loss += logit.max(0.0) + (-logit.abs()).exp().ln_1p() - wanted * logit;
    }

    fn iou(&self) -> f64 {
        match self.either {
            0 => 1.0,
            either => self.common as f64 / either as f64,
        }
    }

    fn loss(&self) -> f64 {
        self.loss / self.cells.max(1) as f64
    }
}

/// The tallies of a whole, of each path's own map and of the sum without each.
struct Tallies {
    whole: Tally,
    own: Vec<Tally>,
    without: Vec<Tally>,
}

impl Tallies {
    /// Adds an image. `maps` and `masks` are `[rows * columns]` of each path, finest first;
    /// `columns` are those of the finest.
    fn add(
        &mut self,
        (maps, shares): (&[&[f32]], &[f32]),
        masks: &[Vec<f32>],
        strides: &[usize],
        columns: usize,
    ) {
        for ((tally, map), mask) in self.own.iter_mut().zip(maps).zip(masks) {
            for (logit, wanted) in map.iter().zip(mask) {
                tally.add(*logit, *wanted);
            }
        }
        for (cell, &wanted) in masks[0].iter().enumerate() {
            let (row, column) = (cell / columns, cell % columns);
            let paths = maps.iter().zip(strides).zip(shares);
            let logits = paths.map(|((map, stride), share)| {
                let times = stride / strides[0];
                map[row / times * (columns / times) + column / times] * share
            });
            let logits: Vec<f32> = logits.collect();
            let sum = |absent: Option<usize>| -> f32 {
                let present = logits.iter().enumerate();
                let present = present.filter(|(index, _)| Some(*index) != absent);
                present.map(|(_, logit)| logit).sum()
            };
            self.whole.add(sum(None), wanted);
            for (index, tally) in self.without.iter_mut().enumerate() {
                tally.add(sum(Some(index)), wanted);
            }
        }
    }

    fn score(&self, strides: &[usize]) -> MaskScore {
        let paths = strides.iter().zip(self.own.iter().zip(&self.without));
        MaskScore {
            iou: self.whole.iou(),
            loss: self.whole.loss(),
            paths: paths
                .map(|(&stride, (own, without))| PathScore {
                    stride,
                    own_iou: own.iou(),
                    own_loss: own.loss(),
                    iou_without: without.iou(),
                    loss_without: without.loss(),
                })
                .collect(),
        }
    }
}

impl Detector {
    /// How well the segmentation fits the masks of a data set; `None` where the detector has
    /// none. Where a label has no outline the ellipse within its box is taken for it.
    ///
    /// # Errors
    /// An unreadable image.
    pub fn score_masks(
        &self,
        dataset: &Dataset,
        observer: &dyn Observer,
    ) -> Result<Option<MaskScore>, DetectorError> {
        let Some(spec) = &self.plan().segmentation else {
            return Ok(None);
        };
        let paths = spec.strides.len();
        let mut tallies = Tallies {
            whole: Tally::default(),
            own: vec![Tally::default(); paths],
            without: vec![Tally::default(); paths],
        };
        observer.begin("masks", dataset.samples.len() as u64, 0);
        for samples in dataset.samples.chunks(BATCH) {
            let stored = samples.par_iter().map(|sample| {
                image_store::load(sample, &dataset.categories, self.plan().input, true)
            });
            let stored: Vec<StoredImage> = stored.collect::<Result<_, _>>()?;
            if let Some(logits) = self.logits(&stored) {
                self.tally(&stored, &logits, spec, &mut tallies);
            }
            observer.advance(samples.len() as u64);
        }
        observer.end();
        Ok(Some(tallies.score(&spec.strides)))
    }

    /// Which pixels of an image belong to an object by the segmentation, row by row, to the
    /// precision of its finest map; `None` where the detector has none.
    ///
    /// # Errors
    /// An image without pixels.
    pub fn object_pixels(&self, image: &RgbImage) -> Result<Option<Vec<bool>>, DetectorError> {
        let Some(spec) = &self.plan().segmentation else {
            return Ok(None);
        };
        let (width, height) = image.dimensions();
        let (pixels, letterbox) = self.input_of(image)?;
        let input = self.plan().input;
        let data = TensorData::new(pixels, [1, input.height, input.width, 3]);
        let images = Tensor::from_data(data, self.device());
        let Some(masks) = self.model().segment(images) else {
            return Ok(None);
        };
        let logits = floats(masks.joined(None));
        let stride = spec.strides[0];
        let (rows, columns) = (input.height / stride, input.width / stride);
        let cell = |place: u32, scale: f64, first: f64, count: usize| {
            let seen = (f64::from(place) + 0.5) * scale + first;
            (seen as usize / stride).min(count - 1)
        };
        let object = (0..height).flat_map(|y| {
            let row = cell(y, letterbox.scale_y, letterbox.top, rows);
            let logits = &logits;
            (0..width).map(move |x| {
                let column = cell(x, letterbox.scale_x, letterbox.left, columns);
                logits[row * columns + column] > 0.0
            })
        });
        Ok(Some(object.collect()))
    }

    fn logits(&self, images: &[StoredImage]) -> Option<Logits> {
        let input = self.plan().input;
        let view = View::plain(input);
        let mut pixels = vec![0.0; images.len() * input.height * input.width * 3];
        let slots = pixels.par_chunks_exact_mut(input.height * input.width * 3);
        slots
            .zip(images)
            .for_each(|(pixels, image)| view.render(image, pixels));
        let shape = [images.len(), input.height, input.width, 3];
        let data = TensorData::new(pixels, shape);
        let masks = self
            .model()
            .segment(Tensor::from_data(data, self.device()))?;
        Some(Logits {
            maps: masks.maps.into_iter().map(floats).collect(),
            shares: floats(masks.shares),
        })
    }

    fn tally(
        &self,
        images: &[StoredImage],
        logits: &Logits,
        spec: &SegmentationSpec,
        tallies: &mut Tallies,
    ) {
        let input = self.plan().input;
        let view = View::plain(input);
        for (index, image) in images.iter().enumerate() {
            let masks = masks(&view.mask(image), input, &spec.strides);
            let own = logits.maps.iter().map(|map| {
                let cells = map.len() / images.len();
                &map[index * cells..(index + 1) * cells]
            });
            let own: Vec<&[f32]> = own.collect();
            let columns = input.width / spec.strides[0];
            tallies.add((&own, &logits.shares), &masks, &spec.strides, columns);
        }
    }
}

/// A mask at the size of each stride's map.
fn masks(mask: &[f32], size: InputSize, strides: &[usize]) -> Vec<Vec<f32>> {
    let at = |&stride: &usize| averaged(mask, size, stride);
    strides.iter().map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_and_loss_agree_with_worked_values() {
        let mut tallies = Tallies {
            whole: Tally::default(),
            own: vec![Tally::default(); 2],
            without: vec![Tally::default(); 2],
        };
        // Doubled and halved by their shares.
        let (fine, coarse) = ([1.0, -1.5, 0.5, -0.5], [-3.0]);
        let masks = [vec![1.0, 0.0, 1.0, 1.0], vec![0.75]];
        let maps: [&[f32]; 2] = [&fine, &coarse];
        tallies.add((&maps, &[2.0, 0.5]), &masks, &[8, 16], 2);
        let score = tallies.score(&[8, 16]);
        // Sums 0.5, -4.5, -0.5, -2.5: one of three objects is found.
        assert_eq!(score.iou, 1.0 / 3.0);
        let entropy = |x: f64, wanted: f64| x.exp().ln_1p() - wanted * x;
        let wanted =
            (entropy(0.5, 1.0) + entropy(-4.5, 0.0) + entropy(-0.5, 1.0) + entropy(-2.5, 1.0))
                / 4.0;
        assert!((score.loss - wanted).abs() < 1e-9);
        let [fine, coarse] = score.paths.as_slice() else {
            panic!("two paths");
        };
        assert_eq!((fine.own_iou, coarse.iou_without), (2.0 / 3.0, 2.0 / 3.0));
        assert_eq!((coarse.own_iou, fine.iou_without), (0.0, 0.0));
        assert!((coarse.own_loss - entropy(-3.0, 0.75)).abs() < 1e-9);
        let wanted = (3.0 * entropy(-1.5, 1.0) + entropy(-1.5, 0.0)) / 4.0;
        assert!((fine.loss_without - wanted).abs() < 1e-9);
    }

    #[test]
    fn large_logits_do_not_overflow_and_empty_images_are_whole() {
        let mut tally = Tally::default();
        tally.add(-900.0, 0.0);
        tally.add(-800.0, 0.0);
        assert_eq!((tally.iou(), tally.loss()), (1.0, 0.0));
        tally.add(900.0, 0.0);
        assert_eq!(tally.loss(), 300.0);
        assert_eq!(tally.iou(), 0.0);
    }
}
