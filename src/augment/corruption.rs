//! The corruptions of ImageNet-C (Hendrycks and Dietterich 2019, "Benchmarking neural network
//! robustness to common corruptions and perturbations"), in the form for pictures of any size
//! that Michaelis et al. 2019 ("Benchmarking robustness in object detection") use.
//!
//! They are arithmetic on encoded values, on purpose: figures of published work depend on it.
//! Results are cut off to 8 bits, not rounded, as published. The photographs of frost are
//! replaced by drawn ones.

mod blur;
mod frost;
mod pixels;
mod spatter;
mod texture;

use std::fmt;
use std::ops::Range;

use image::{Rgb, RgbImage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::compression::{self, Subsampling};
use crate::augment::wide::wide;
use crate::seed::SeedKey;

/// A kind of corruption.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Corruption {
    GaussianNoise,
    ShotNoise,
    ImpulseNoise,
    DefocusBlur,
    GlassBlur,
    MotionBlur,
    ZoomBlur,
    Snow,
    Frost,
    Fog,
    Brightness,
    Contrast,
    ElasticTransform,
    Pixelate,
    JpegCompression,
    SpeckleNoise,
    GaussianBlur,
    Spatter,
    Saturate,
}

impl Corruption {
    pub const ALL: [Self; 19] = [
        Self::GaussianNoise,
        Self::ShotNoise,
        Self::ImpulseNoise,
        Self::DefocusBlur,
        Self::GlassBlur,
        Self::MotionBlur,
        Self::ZoomBlur,
        Self::Snow,
        Self::Frost,
        Self::Fog,
        Self::Brightness,
        Self::Contrast,
        Self::ElasticTransform,
        Self::Pixelate,
        Self::JpegCompression,
        Self::SpeckleNoise,
        Self::GaussianBlur,
        Self::Spatter,
        Self::Saturate,
    ];

    /// The name in files and in published tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::GaussianNoise => "gaussian_noise",
            Self::ShotNoise => "shot_noise",
            Self::ImpulseNoise => "impulse_noise",
            Self::DefocusBlur => "defocus_blur",
            Self::GlassBlur => "glass_blur",
            Self::MotionBlur => "motion_blur",
            Self::ZoomBlur => "zoom_blur",
            Self::Snow => "snow",
            Self::Frost => "frost",
            Self::Fog => "fog",
            Self::Brightness => "brightness",
            Self::Contrast => "contrast",
            Self::ElasticTransform => "elastic_transform",
            Self::Pixelate => "pixelate",
            Self::JpegCompression => "jpeg_compression",
            Self::SpeckleNoise => "speckle_noise",
            Self::GaussianBlur => "gaussian_blur",
            Self::Spatter => "spatter",
            Self::Saturate => "saturate",
        }
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Encoded values, `0..=1`, row by row, three a pixel.
#[derive(Debug, Clone, PartialEq)]
struct Encoded {
    width: usize,
    height: usize,
    values: Vec<f32>,
}

impl Encoded {
    fn of(image: &RgbImage) -> Self {
        Encoded {
            width: image.width() as usize,
            height: image.height() as usize,
            values: {
                let mut values = vec![0.0; image.len()];
                shares_of_white(image, &mut values);
                values
            },
        }
    }

    /// What is beyond black and white is lost, and fractions of a level are cut off. A value
    /// that is a whole level but for the rounding of 32 bits is that level.
    fn cut_off(&self) -> RgbImage {
        let mut levels = vec![0; self.values.len()];
        cut_off_values(&self.values, &mut levels);
        let (width, height) = (self.width as u32, self.height as u32);
        RgbImage::from_raw(width, height, levels).expect("there are three values a pixel")
    }

    fn plane(&self) -> Plane {
        Plane {
            width: self.width,
            height: self.height,
            values: vec![0.0; self.width * self.height],
        }
    }
}

wide! {
    fn shares_of_white(levels: &[u8], to: &mut [f32]) {
        for (to, level) in to.iter_mut().zip(levels) {
            *to = f32::from(*level) / 255.0;
        }
    }
}

wide! {
    fn cut_off_values(values: &[f32], to: &mut [u8]) {
        for (to, value) in to.iter_mut().zip(values) {
            // By way of 32 bits, for which there are vectors.
            *to = (value.clamp(0.0, 1.0) * 255.0 + 1e-4) as i32 as u8;
        }
    }
}

/// One value a pixel, row by row.
#[derive(Debug, Clone, PartialEq)]
struct Plane {
    width: usize,
    height: usize,
    values: Vec<f32>,
}

/// Corrupts a picture with a `severity` in `1..=5`; beyond, the nearest of them is taken.
/// Pictures without pixels are given back.
pub(super) fn corrupt(
    image: &RgbImage,
    corruption: Corruption,
    severity: u8,
    seed: u64,
) -> RgbImage {
    let dose = usize::from(severity.clamp(1, 5)) - 1;
    if image.is_empty() {
        return image.clone();
    }
    let generator = &mut SeedKey::new(b"corruption", seed).generator(corruption.name(), 0);
    let mut picture = Encoded::of(image);
    match corruption {
        Corruption::GaussianNoise => {
            pixels::gaussian_noise(
                &mut picture,
                [0.08, 0.12, 0.18, 0.26, 0.38][dose],
                generator,
            );
        }
        Corruption::ShotNoise => {
            let photons = [60.0, 25.0, 12.0, 5.0, 3.0][dose];
            pixels::shot_noise(&mut picture, photons, generator);
        }
        Corruption::ImpulseNoise => {
            pixels::impulse_noise(
                &mut picture,
                [0.03, 0.06, 0.09, 0.17, 0.27][dose],
                generator,
            );
        }
        Corruption::SpeckleNoise => {
            pixels::speckle_noise(&mut picture, [0.15, 0.2, 0.35, 0.45, 0.6][dose], generator);
        }
        Corruption::Brightness => {
            pixels::brightness(&mut picture, [0.1, 0.2, 0.3, 0.4, 0.5][dose]);
        }
        Corruption::Contrast => pixels::contrast(&mut picture, [0.4, 0.3, 0.2, 0.1, 0.05][dose]),
        Corruption::Saturate => {
            let factor = [0.3, 0.1, 2.0, 5.0, 20.0][dose];
            pixels::saturate(&mut picture, factor, [0.0, 0.0, 0.0, 0.1, 0.2][dose]);
        }
        Corruption::GaussianBlur => {
            blur::gaussian_blur(&mut picture, [1.0, 2.0, 3.0, 4.0, 6.0][dose]);
        }
        Corruption::DefocusBlur => {
            let radius = [3, 4, 6, 8, 10][dose];
            blur::defocus_blur(&mut picture, radius, [0.1, 0.5, 0.5, 0.5, 0.5][dose]);
        }
        Corruption::GlassBlur => {
            let sigma = [0.7, 0.9, 1.0, 1.1, 1.5][dose];
            let (reach, rounds) = ([1, 2, 2, 3, 4][dose], [2, 1, 3, 2, 2][dose]);
            blur::glass_blur(&mut picture, sigma, reach, rounds, generator);
        }
        Corruption::MotionBlur => {
            let radius = [10, 15, 15, 15, 20][dose];
            let sigma = [3.0, 5.0, 8.0, 12.0, 15.0][dose];
            blur::motion_blur(&mut picture, radius, sigma, generator);
        }
        Corruption::ZoomBlur => {
            let step = [0.01, 0.01, 0.02, 0.02, 0.03][dose];
            blur::zoom_blur(&mut picture, [12, 16, 11, 13, 11][dose], step);
        }
        Corruption::ElasticTransform => {
            let strength = [12.5, 16.25, 21.25, 25.0, 30.0][dose];
            blur::elastic(&mut picture, strength, generator);
        }
        Corruption::Snow => texture::snow(&mut picture, &texture::SNOW[dose], generator),
        Corruption::Fog => {
            let strength = [1.5, 2.0, 2.5, 2.5, 3.0][dose];
            texture::fog(
                &mut picture,
                strength,
                [2.0, 2.0, 1.7, 1.5, 1.4][dose],
                generator,
            );
        }
        Corruption::Frost => {
            let (own, ice) = (
                [1.0, 0.8, 0.7, 0.65, 0.6][dose],
                [0.4, 0.6, 0.7, 0.7, 0.75][dose],
            );
            frost::frost(&mut picture, own, ice, generator);
        }
        Corruption::Spatter => spatter::spatter(&mut picture, &spatter::DOSES[dose], generator),
        Corruption::Pixelate => return pixelate(image, [0.6, 0.5, 0.4, 0.3, 0.25][dose]),
        Corruption::JpegCompression => {
            let quality = [25, 18, 15, 10, 7][dose];
            return compression::decode(&compression::jpeg(image, quality, Subsampling::Quarter));
        }
    }
    picture.cut_off()
}

/// Each block of pixels becomes its mean: reduced to `share` of the sides and enlarged again.
fn pixelate(image: &RgbImage, share: f64) -> RgbImage {
    let size = [image.width(), image.height()];
    let small = size.map(|side| ((f64::from(side) * share) as u32).max(1));
    // The pixels whose centre lies in a block; of two blocks that meet there, the first.
    let blocks = |axis: usize| -> Vec<Range<u32>> {
        let length = f64::from(size[axis]) / f64::from(small[axis]);
        let end = |block: u32| ((f64::from(block) * length + 0.5).floor() as u32).min(size[axis]);
        (0..small[axis])
            .map(|block| end(block)..end(block + 1))
            .collect()
    };
    let (columns, rows) = (blocks(0), blocks(1));
    let reduced = RgbImage::from_fn(small[0], small[1], |x, y| {
        let mut sum = [0_u32; 3];
        let (columns, rows) = (columns[x as usize].clone(), rows[y as usize].clone());
        let count = columns.len() as u32 * rows.len() as u32;
        for y in rows {
            for x in columns.clone() {
                for (sum, level) in sum.iter_mut().zip(image.get_pixel(x, y).0) {
                    *sum += u32::from(level);
                }
            }
        }
        Rgb(sum.map(|sum| ((sum + count / 2) / count.max(1)) as u8))
    });
    // Where the middle of a pixel falls on the edge between two blocks, the rounding of these
    // sums decides, as in the program that published figures come from.
    let nearest = |axis: usize| -> Vec<u32> {
        let step = f64::from(small[axis]) / f64::from(size[axis]);
        let mut place = 0.5 * step;
        let next = |_| {
            let block = (place as u32).min(small[axis] - 1);
            place += step;
            block
        };
        (0..size[axis]).map(next).collect()
    };
    let (columns, rows) = (nearest(0), nearest(1));
    RgbImage::from_fn(size[0], size[1], |x, y| {
        *reduced.get_pixel(columns[x as usize], rows[y as usize])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_corruption_takes_every_size_and_repeats_itself() {
        for (width, height) in [(1, 1), (1, 7), (9, 1), (33, 20)] {
            let image = RgbImage::from_fn(width, height, |x, y| {
                Rgb([(x * 7) as u8, (y * 11) as u8, 128])
            });
            for corruption in Corruption::ALL {
                for severity in [1, 5] {
                    let out = corrupt(&image, corruption, severity, 3);
                    assert_eq!(out.dimensions(), image.dimensions(), "{corruption}");
                    assert_eq!(
                        out,
                        corrupt(&image, corruption, severity, 3),
                        "{corruption}"
                    );
                }
            }
        }
    }

    #[test]
    fn names_in_files_are_those_of_tables() {
        for corruption in Corruption::ALL {
            let json = serde_json::to_value(corruption).unwrap();
            assert_eq!(json, corruption.name());
        }
    }

    #[test]
    fn noise_depends_on_the_seed() {
        let image = RgbImage::from_pixel(20, 20, Rgb([100; 3]));
        for corruption in [
            Corruption::GaussianNoise,
            Corruption::ShotNoise,
            Corruption::GlassBlur,
            Corruption::Fog,
            Corruption::Frost,
        ] {
            let textured = corrupt(&image, Corruption::ImpulseNoise, 3, 1);
            let (a, b) = (
                corrupt(&textured, corruption, 3, 1),
                corrupt(&textured, corruption, 3, 2),
            );
            assert_ne!(a, b, "{corruption}");
        }
    }
}
