//! Finds copies of an image: exact ones by the file's hash, re-encoded, resized or
//! slightly brightened ones by how the picture looks.
//!
//! Two photographs of one table differ in a few small objects only, so that a 64-bit
//! perceptual hash alone would call them copies. It serves as a filter here; what
//! decides is the correlation of the fine structure of two thumbnails.

use std::path::Path;

use image::RgbImage;
use image::imageops::{self, FilterType};

use super::{DatasetError, decode_image};

/// Side of the thumbnail that is compared, in pixels.
const THUMBNAIL_PX: u32 = 64;
/// Radius of the local mean that is taken off the thumbnail, in its pixels. It removes
/// light and background, which photographs of one place share.
const LOCAL_MEAN_RADIUS_PX: i64 = 3;
/// The most bits of 64 in which the difference hashes of a copy may differ.
const MAX_HASH_DISTANCE: u32 = 14;
/// The least correlation of the fine structure of a copy.
const MIN_CORRELATION: f64 = 0.9;
/// The least standard deviation of fine structure, in 8-bit levels, that can be told
/// from noise. Flatter images are compared by file hash alone.
const MIN_STRUCTURE: f64 = 0.5;

/// What an image is recognised by.
#[derive(Debug, Clone)]
pub struct Fingerprint {
    file_hash: blake3::Hash,
    /// Bit set where a cell of the 9 x 8 grey thumbnail is darker than the one to its
    /// right ("dHash", N. Krawetz 2013).
    difference_hash: u64,
    /// Fine structure of the grey thumbnail with zero mean and unit length, or empty
    /// where the image is too flat.
    structure: Vec<f32>,
}

/// How an image is a copy of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    /// The files are the same.
    SameFile,
    /// The pictures are the same but for encoding, size or brightness.
    NearDuplicate,
}

impl Fingerprint {
    /// Reads an image file.
    ///
    /// # Errors
    /// A file that cannot be read or decoded.
    pub fn of_file(path: &Path) -> Result<Self, DatasetError> {
        let bytes = std::fs::read(path).map_err(|source| DatasetError::Read {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self::of(&bytes, &decode_image(&bytes, path)?))
    }

    /// The fingerprint of a file's bytes and its pixels.
    pub fn of(bytes: &[u8], pixels: &RgbImage) -> Self {
        let grey = imageops::grayscale(pixels);
        let small = imageops::resize(&grey, 9, 8, FilterType::Triangle);
        let mut difference_hash = 0;
        for y in 0..8 {
            for x in 0..8 {
                let darker = small.get_pixel(x, y)[0] < small.get_pixel(x + 1, y)[0];
                difference_hash = difference_hash << 1 | u64::from(darker);
            }
        }
        let thumbnail = imageops::resize(&grey, THUMBNAIL_PX, THUMBNAIL_PX, FilterType::Triangle);
        Fingerprint {
            file_hash: blake3::hash(bytes),
            difference_hash,
            structure: fine_structure(&thumbnail),
        }
    }

    /// Whether and how `other` is a copy of this image.
    pub fn likeness(&self, other: &Self) -> Option<Likeness> {
        if self.file_hash == other.file_hash {
            return Some(Likeness::SameFile);
        }
        let near = self.hash_distance(other) <= MAX_HASH_DISTANCE
            && self.correlation(other) >= MIN_CORRELATION;
        near.then_some(Likeness::NearDuplicate)
    }

    /// Number of differing bits of the difference hashes, in `0..=64`.
    pub fn hash_distance(&self, other: &Self) -> u32 {
        (self.difference_hash ^ other.difference_hash).count_ones()
    }

    /// Correlation of the fine structure, in `-1..=1`; 0 where an image has none.
    pub fn correlation(&self, other: &Self) -> f64 {
        self.structure
            .iter()
            .zip(&other.structure)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    }
}

/// The thumbnail less its local mean, scaled to zero mean and unit length.
fn fine_structure(thumbnail: &image::GrayImage) -> Vec<f32> {
    let side = i64::from(THUMBNAIL_PX);
    let level = |x: i64, y: i64| {
        let clamp = |v: i64| v.clamp(0, side - 1) as u32;
        f64::from(thumbnail.get_pixel(clamp(x), clamp(y))[0])
    };
    let window = LOCAL_MEAN_RADIUS_PX;
    let cells = ((2 * window + 1) * (2 * window + 1)) as f64;
    let mut values = Vec::with_capacity((side * side) as usize);
    for y in 0..side {
        for x in 0..side {
            let sum: f64 = (-window..=window)
                .flat_map(|dy| (-window..=window).map(move |dx| (dx, dy)))
                .map(|(dx, dy)| level(x + dx, y + dy))
                .sum();
            values.push(level(x, y) - sum / cells);
        }
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let length = values
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>()
        .sqrt();
    if length < MIN_STRUCTURE * count.sqrt() {
        return Vec::new();
    }
    values
        .iter()
        .map(|value| ((value - mean) / length) as f32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    /// A bright table with a few dark squares, a different throw for each `throw`.
    fn table(throw: u32) -> RgbImage {
        let mut image = RgbImage::from_fn(320, 240, |x, y| {
            let light = 120 + (x / 4 + y / 8) as u8;
            Rgb([light, light, light.saturating_sub(20)])
        });
        for die in 0..6 {
            let left = (37 * die + 71 * throw + die * die * throw * 13) % 290;
            let top = (53 * die + 29 * throw + die * throw * 41) % 210;
            for y in top..top + 24 {
                for x in left..left + 24 {
                    let pip = (x - left) / 8 == 1 && (y - top) / 8 == 1;
                    image.put_pixel(x, y, if pip { Rgb([240; 3]) } else { Rgb([40; 3]) });
                }
            }
        }
        image
    }

    fn png(image: &RgbImage) -> Fingerprint {
        Fingerprint::of(image.as_raw(), image)
    }

    #[test]
    fn copies_are_found_and_other_throws_are_not() {
        let original = table(1);
        let first = png(&original);
        assert_eq!(first.likeness(&first), Some(Likeness::SameFile));
        let mut jpeg = Vec::new();
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 40)
            .encode_image(&original)
            .unwrap();
        let decoded = decode_image(&jpeg, Path::new("copy.jpg")).unwrap();
        let half = imageops::resize(&original, 160, 120, FilterType::Lanczos3);
        let mut bright = original.clone();
        imageops::brighten_in_place(&mut bright, 15);
        for (name, copy) in [("jpeg", decoded), ("half", half), ("bright", bright)] {
            assert_eq!(
                first.likeness(&png(&copy)),
                Some(Likeness::NearDuplicate),
                "{name}"
            );
        }
        for throw in 2..8 {
            assert_eq!(first.likeness(&png(&table(throw))), None, "throw {throw}");
        }
    }

    #[test]
    fn flat_images_are_alike_only_as_files() {
        let flat = |level| png(&RgbImage::from_pixel(64, 64, Rgb([level; 3])));
        assert_eq!(flat(10).likeness(&flat(12)), None);
        assert_eq!(flat(10).likeness(&flat(10)), Some(Likeness::SameFile));
    }
}
