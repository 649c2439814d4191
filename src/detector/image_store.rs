//! Training images in memory: decoded once, resized to the network's input.

use fast_image_resize::images::Image;
use fast_image_resize::{PixelType, Resizer};
use image::RgbImage;
use rayon::prelude::*;

use super::DetectorError;
use super::assignment::Target;
use super::config::InputSize;
use super::letterbox::Letterbox;
use crate::annotation::{BoundingBox, Category};
use crate::dataset::{Dataset, DatasetError, Sample, read_image};
use crate::observer::Observer;

/// An image at the size that it has within the network's input, without borders.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoredImage {
    /// Where the pixels lie in the input.
    pub letterbox: Letterbox,
    /// 8-bit sRGB, row by row, `content_height * content_width * 3`.
    pub pixels: Vec<u8>,
    /// Objects in input pixels.
    pub targets: Vec<Target>,
    /// Crowd regions in input pixels.
    pub crowds: Vec<BoundingBox>,
    pub is_real: bool,
}

/// Reads all images of a data set.
///
/// # Errors
/// An image that cannot be read or decoded.
pub(super) fn load_all(
    dataset: &Dataset,
    input: InputSize,
    observer: &dyn Observer,
) -> Result<Vec<StoredImage>, DetectorError> {
    observer.begin("images", dataset.samples.len() as u64, 0);
    let stored = dataset
        .samples
        .par_iter()
        .map(|sample| {
            let image = load(sample, &dataset.categories, input);
            observer.advance(1);
            image
        })
        .collect();
    observer.end();
    stored
}

/// Reads one image.
pub(super) fn load(
    sample: &Sample,
    categories: &[Category],
    input: InputSize,
) -> Result<StoredImage, DetectorError> {
    let image = read_image(&sample.path)?;
    let letterbox = Letterbox::fit(sample.width, sample.height, input);
    let pixels = resized(image, letterbox).map_err(|message| DatasetError::Image {
        path: sample.path.clone(),
        message,
    })?;
    let class = |id: u32| categories.iter().position(|category| category.id == id);
    let (crowds, objects): (Vec<_>, Vec<_>) = sample
        .annotations
        .iter()
        .partition(|annotation| annotation.is_crowd);
    let targets = objects.into_iter().filter_map(|annotation| {
        Some(Target {
            bbox: letterbox.to_input(&annotation.bbox),
            class: class(annotation.category_id)?,
        })
    });
    Ok(StoredImage {
        letterbox,
        pixels,
        targets: targets.collect(),
        crowds: crowds
            .iter()
            .map(|annotation| letterbox.to_input(&annotation.bbox))
            .collect(),
        is_real: sample.record.counts_as_real(),
    })
}

/// The pixels of an image at the size of the letterbox's content.
pub(super) fn resized(image: RgbImage, letterbox: Letterbox) -> Result<Vec<u8>, String> {
    let (width, height) = (letterbox.content_width, letterbox.content_height);
    if (image.width() as usize, image.height() as usize) == (width, height) {
        return Ok(image.into_raw());
    }
    let (from_width, from_height) = image.dimensions();
    let source = Image::from_vec_u8(from_width, from_height, image.into_raw(), PixelType::U8x3)
        .map_err(|error| error.to_string())?;
    let mut target = Image::new(width as u32, height as u32, PixelType::U8x3);
    Resizer::new()
        .resize(&source, &mut target, None)
        .map_err(|error| error.to_string())?;
    Ok(target.into_vec())
}

/// A red rectangle on a black image of 64x64 pixels, for tests.
#[cfg(test)]
pub(super) fn red_box(is_real: bool) -> StoredImage {
    let mut pixels = vec![0; 64 * 64 * 3];
    for (x, y) in (10..20).flat_map(|y| (30..50).map(move |x| (x, y))) {
        pixels[(y * 64 + x) * 3] = 255;
    }
    let input = InputSize {
        height: 64,
        width: 64,
    };
    StoredImage {
        letterbox: Letterbox::fit(64, 64, input),
        pixels,
        targets: vec![Target {
            bbox: BoundingBox::from([30.0, 10.0, 20.0, 10.0]),
            class: 0,
        }],
        crowds: Vec::new(),
        is_real,
    }
}
