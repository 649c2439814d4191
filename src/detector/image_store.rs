//! Training images in memory: decoded once, resized to the network's input.

use fast_image_resize::images::Image;
use fast_image_resize::{PixelType, Resizer};
use image::RgbImage;
use rayon::prelude::*;
use serde_json::Value;

use super::DetectorError;
use super::assignment::Target;
use super::config::InputSize;
use super::letterbox::Letterbox;
use crate::annotation::{BoundingBox, Category, Outline};
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
    /// 255 where an object is, `content_height * content_width`; empty where it was not asked
    /// for.
    pub mask: Vec<u8>,
}

/// Reads all images of a data set, and what their objects cover where `with_masks`.
///
/// # Errors
/// An image that cannot be read or decoded.
pub(super) fn load_all(
    dataset: &Dataset,
    input: InputSize,
    with_masks: bool,
    observer: &dyn Observer,
) -> Result<Vec<StoredImage>, DetectorError> {
    observer.begin("images", dataset.samples.len() as u64, 0);
    let stored = dataset
        .samples
        .par_iter()
        .map(|sample| {
            let image = load(sample, &dataset.categories, input, with_masks);
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
    with_mask: bool,
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
        mask: if with_mask {
            covered(sample, letterbox)
        } else {
            Vec::new()
        },
    })
}

/// What the objects of an image cover, at the size of the letterbox's content. Where a label
/// has no outline, the ellipse within its box is taken for it.
fn covered(sample: &Sample, letterbox: Letterbox) -> Vec<u8> {
    let (width, height) = (letterbox.content_width, letterbox.content_height);
    let mut mask = vec![0; width * height];
    let size = [sample.width, sample.height];
    for annotation in &sample.annotations {
        let value = annotation.extra.get("segmentation");
        let is_empty = |value: &&Value| value.as_array().is_some_and(Vec::is_empty);
        let outline = value.filter(|value| !is_empty(value));
        match outline.and_then(|value| Outline::parse(value, size)) {
            Some(outline) => outline.draw(&mut mask, [width, height], size),
            None => draw_ellipse(&mut mask, [width, height], &annotation.bbox, letterbox),
        }
    }
    mask
}

/// Marks the pixels within the ellipse that a box of the image holds.
fn draw_ellipse(
    mask: &mut [u8],
    [width, height]: [usize; 2],
    bbox: &BoundingBox,
    letterbox: Letterbox,
) {
    let (scale_x, scale_y) = (letterbox.scale_x, letterbox.scale_y);
    let (x, y) = (bbox.x * scale_x, bbox.y * scale_y);
    let (half_width, half_height) = (bbox.width * scale_x / 2.0, bbox.height * scale_y / 2.0);
    let bound = |value: f64, most: usize| value.clamp(0.0, most as f64) as usize;
    let columns = bound(x, width)..bound((x + 2.0 * half_width).ceil(), width);
    for row in bound(y, height)..bound((y + 2.0 * half_height).ceil(), height) {
        for column in columns.clone() {
            let across = (column as f64 + 0.5 - x - half_width) / half_width;
            let down = (row as f64 + 0.5 - y - half_height) / half_height;
            if across.hypot(down) <= 1.0 {
                mask[row * width + column] = u8::MAX;
            }
        }
    }
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
        mask: (0..64 * 64)
            .map(|place| {
                let inside = (10..20).contains(&(place / 64)) && (30..50).contains(&(place % 64));
                if inside { u8::MAX } else { 0 }
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotation::Annotation;
    use crate::dataset::{Origin, Record};
    use serde_json::json;

    #[test]
    fn outlines_are_drawn_and_ellipses_stand_for_missing_ones() {
        let annotation = |segmentation: Value| Annotation {
            id: 1,
            category_id: 1,
            bbox: BoundingBox::from([20.0, 0.0, 40.0, 20.0]),
            area: 800.0,
            is_crowd: false,
            extra: [("segmentation".to_owned(), segmentation)]
                .into_iter()
                .collect(),
        };
        let sample = |segmentation: Value| Sample {
            id: 1,
            path: "a.png".into(),
            file_name: "a.png".to_owned(),
            width: 80,
            height: 40,
            annotations: vec![annotation(segmentation)],
            record: Record::new(1, "a.png".to_owned(), Origin::Real),
        };
        let input = InputSize {
            height: 64,
            width: 160,
        };
        // Doubled in size, without the border.
        let letterbox = Letterbox::fit(80, 40, input);
        assert_eq!(
            (letterbox.content_width, letterbox.content_height),
            (128, 64)
        );
        let count = |segmentation: Value| {
            let mask = covered(&sample(segmentation), letterbox);
            assert_eq!(mask.len(), 128 * 64);
            let on = |(x, y): (usize, usize)| mask[y * 128 + x] > 0;
            assert!(on((64, 16)) && !on((64, 40)));
            mask.iter().filter(|value| **value > 0).count() as f64
        };
        let area = 1.6 * 1.6;
        let square = json!([[30, 0, 50, 0, 50, 20, 30, 20]]);
        assert_eq!(count(square), 1024.0, "20x20 pixels are 32x32");
        let ellipse = std::f64::consts::PI * 200.0 * area;
        for missing in [json!([]), Value::Null, json!("nonsense")] {
            assert!((count(missing) - ellipse).abs() < 0.02 * ellipse);
        }
    }
}
