//! Finds copies of an image: exact ones by the file's hash, re-encoded, resized or
//! slightly brightened ones by how the picture looks.
//!
//! Two photographs of one table differ in a few small objects only, so that a 64-bit
//! perceptual hash alone would call them copies. It serves as a filter here; what
//! decides is the correlation of the fine structure of two thumbnails.

use std::path::Path;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::imageops;
use image::{GrayImage, RgbImage};

use super::{DatasetError, decode_image};

/// Side of the thumbnail that is compared, in pixels.
const THUMBNAIL_PX: u32 = 64;
/// Radius of the local mean that is taken off the thumbnail, in its pixels. It removes
/// light and background, which photographs of one place share.
const LOCAL_MEAN_RADIUS_PX: usize = 3;
/// The most bits of 64 in which the difference hashes of a copy may differ.
const MAX_HASH_DISTANCE: u32 = 12;
/// The least correlation of the fine structure of a copy. Photographs of different
/// throws of dice on one table reach 0.96; copies at half size, at JPEG quality 40 or
/// 20 levels brighter keep 0.978 or more.
const MIN_CORRELATION: f64 = 0.97;
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
    /// The thumbnail in cells of 8 x 8, with zero mean and unit length: a cheap first look.
    coarse: [f32; COARSE_CELLS * COARSE_CELLS],
}

/// Cells a side of the coarse thumbnail.
const COARSE_CELLS: usize = 8;

/// The least correlation of the coarse thumbnails of a copy.
const MIN_COARSE_CORRELATION: f32 = 0.9;

/// A way to mirror or turn a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Left and right are exchanged.
    Mirrored,
    /// Top and bottom are exchanged.
    UpsideDown,
    Half,
    QuarterLeft,
    QuarterRight,
    /// Mirrored along a diagonal.
    Transposed,
    Antitransposed,
}

impl Turn {
    const ALL: [Turn; 7] = [
        Turn::Mirrored,
        Turn::UpsideDown,
        Turn::Half,
        Turn::QuarterLeft,
        Turn::QuarterRight,
        Turn::Transposed,
        Turn::Antitransposed,
    ];

    /// In words, of a copy.
    pub fn name(self) -> &'static str {
        match self {
            Turn::Mirrored => "mirrored",
            Turn::UpsideDown => "mirrored top to bottom",
            Turn::Half => "turned by half",
            Turn::QuarterLeft => "turned a quarter to the left",
            Turn::QuarterRight => "turned a quarter to the right",
            Turn::Transposed | Turn::Antitransposed => "mirrored along a diagonal",
        }
    }

    /// Where the turned picture takes the cell of column `x` and row `y` from, of `side` cells.
    fn source(self, x: usize, y: usize, side: usize) -> (usize, usize) {
        let last = side - 1;
        match self {
            Turn::Mirrored => (last - x, y),
            Turn::UpsideDown => (x, last - y),
            Turn::Half => (last - x, last - y),
            Turn::QuarterLeft => (last - y, x),
            Turn::QuarterRight => (y, last - x),
            Turn::Transposed => (y, x),
            Turn::Antitransposed => (last - y, last - x),
        }
    }

    /// Correlation of a turned thumbnail of unit length with another.
    fn correlation(self, thumbnail: &[f32], other: &[f32], side: usize) -> f32 {
        let mut sum = 0.0;
        for y in 0..side {
            for x in 0..side {
                let (from_x, from_y) = self.source(x, y, side);
                sum += thumbnail[from_y * side + from_x] * other[y * side + x];
            }
        }
        sum
    }
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
        Self::of_grey(bytes, imageops::grayscale(pixels))
    }

    /// The fingerprint of a file's bytes and the grey values of its pixels.
    pub fn of_grey(bytes: &[u8], grey: GrayImage) -> Self {
        let small = shrunk(&grey, 9, 8);
        let mut difference_hash = 0;
        for y in 0..8 {
            for x in 0..8 {
                let darker = small.get_pixel(x, y)[0] < small.get_pixel(x + 1, y)[0];
                difference_hash = difference_hash << 1 | u64::from(darker);
            }
        }
        let thumbnail = shrunk(&grey, THUMBNAIL_PX, THUMBNAIL_PX);
        Fingerprint {
            file_hash: blake3::hash(bytes),
            difference_hash,
            structure: fine_structure(&thumbnail),
            coarse: coarse(&thumbnail),
        }
    }

    /// How `other` shows this picture mirrored or turned, if it does.
    pub fn turn_to(&self, other: &Self) -> Option<Turn> {
        if self.structure.is_empty() || other.structure.is_empty() {
            return None;
        }
        let side = THUMBNAIL_PX as usize;
        Turn::ALL.into_iter().find(|turn| {
            let coarse = turn.correlation(&self.coarse, &other.coarse, COARSE_CELLS);
            coarse >= MIN_COARSE_CORRELATION && {
                let fine = turn.correlation(&self.structure, &other.structure, side);
                f64::from(fine) >= MIN_CORRELATION
            }
        })
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

/// The image at another size, by the triangle filter, each pixel being a mean of all that it
/// covers.
pub fn shrunk(grey: &GrayImage, width: u32, height: u32) -> GrayImage {
    let mut small = Image::new(width, height, PixelType::U8);
    let source = ImageRef::new(grey.width(), grey.height(), grey.as_raw(), PixelType::U8);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(
        fast_image_resize::FilterType::Bilinear,
    ));
    let resized = source
        .ok()
        .map(|source| Resizer::new().resize(&source, &mut small, &options));
    if !matches!(resized, Some(Ok(()))) {
        // An image without pixels shows nothing.
        return GrayImage::new(width, height);
    }
    GrayImage::from_raw(width, height, small.into_vec()).expect("there is a byte a pixel")
}

/// Correlation of the fine structure of two pictures of 64 x 64 pixels, in `-1..=1`; 0 where one
/// has none.
///
/// # Panics
/// A picture of another size.
pub fn fine_correlation(one: &GrayImage, other: &GrayImage) -> f64 {
    let size = (THUMBNAIL_PX, THUMBNAIL_PX);
    assert_eq!((one.dimensions(), other.dimensions()), (size, size));
    let products = fine_structure(one).into_iter().zip(fine_structure(other));
    products.map(|(a, b)| f64::from(a) * f64::from(b)).sum()
}

/// Means of the thumbnail's cells, with zero mean and unit length; zeros of a flat one.
fn coarse(thumbnail: &GrayImage) -> [f32; COARSE_CELLS * COARSE_CELLS] {
    let cell_px = THUMBNAIL_PX / COARSE_CELLS as u32;
    let mut cells = [0.0_f32; COARSE_CELLS * COARSE_CELLS];
    for (x, y, level) in thumbnail.enumerate_pixels() {
        let cell = (y / cell_px) as usize * COARSE_CELLS + (x / cell_px) as usize;
        cells[cell] += f32::from(level[0]);
    }
    let mean = cells.iter().sum::<f32>() / cells.len() as f32;
    cells.iter_mut().for_each(|cell| *cell -= mean);
    let length = cells.iter().map(|cell| cell * cell).sum::<f32>().sqrt();
    cells.iter_mut().for_each(|cell| *cell /= length.max(1.0));
    cells
}

/// The thumbnail less its local mean, scaled to zero mean and unit length.
fn fine_structure(thumbnail: &image::GrayImage) -> Vec<f32> {
    let side = THUMBNAIL_PX as usize;
    let reach = LOCAL_MEAN_RADIUS_PX;
    let pixels = thumbnail.as_raw();
    // Sums over columns and then over rows, with the edge's pixels repeated outside.
    let clamp = |v: usize| v.saturating_sub(reach).min(side - 1);
    let mut columns = vec![0_u32; side * side];
    for y in 0..side {
        for offset in 0..=2 * reach {
            let row = clamp(y + offset) * side;
            for x in 0..side {
                columns[y * side + x] += u32::from(pixels[row + x]);
            }
        }
    }
    let cells = ((2 * reach + 1) * (2 * reach + 1)) as f64;
    let mut values = Vec::with_capacity(side * side);
    for y in 0..side {
        for x in 0..side {
            let sum: u32 = (0..=2 * reach)
                .map(|offset| columns[y * side + clamp(x + offset)])
                .sum();
            values.push(f64::from(pixels[y * side + x]) - f64::from(sum) / cells);
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
    use image::imageops::FilterType;

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
        imageops::colorops::brighten_in_place(&mut bright, 15);
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

    #[test]
    fn a_mirrored_or_turned_copy_is_told_and_how() {
        let original = table(3);
        let first = png(&original);
        for (turned, turn) in [
            (imageops::flip_horizontal(&original), Turn::Mirrored),
            (imageops::flip_vertical(&original), Turn::UpsideDown),
            (imageops::rotate180(&original), Turn::Half),
            (imageops::rotate90(&original), Turn::QuarterRight),
            (imageops::rotate270(&original), Turn::QuarterLeft),
        ] {
            assert_eq!(first.likeness(&png(&turned)), None, "{turn:?}");
            assert_eq!(first.turn_to(&png(&turned)), Some(turn));
            let half = imageops::thumbnail(&turned, turned.width() / 2, turned.height() / 2);
            assert_eq!(first.turn_to(&png(&half)), Some(turn));
        }
        assert_eq!(first.turn_to(&png(&table(4))), None);
        let flat = png(&RgbImage::from_pixel(64, 64, Rgb([9; 3])));
        assert_eq!(flat.turn_to(&flat), None);
        assert!(fine_correlation(&GrayImage::new(64, 64), &GrayImage::new(64, 64)) == 0.0);
    }
}
