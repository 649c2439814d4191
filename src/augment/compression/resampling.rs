//! Fewer pixels and fewer levels.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a picture is scaled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    Nearest,
    /// The mean over the area of a pixel.
    Box,
    #[default]
    Bilinear,
    /// Catmull and Rom's.
    Bicubic,
    Lanczos3,
}

/// Scales to a part of the size and back again, on encoded values, as devices do.
pub(in crate::augment) fn resample(
    image: &RgbImage,
    factor: f64,
    down: Filter,
    up: Filter,
) -> RgbImage {
    let size = [image.width(), image.height()];
    let small = size.map(|side| crate::augment::geometry::part(side, factor));
    scaled(&scaled(image, small, down), size, up)
}

/// Scales encoded values to `[width, height]` pixels.
fn scaled(image: &RgbImage, [width, height]: [u32; 2], filter: Filter) -> RgbImage {
    const SAME: &str = "both pictures have three bytes a pixel and the size that they say";
    let algorithm = match filter {
        Filter::Nearest => ResizeAlg::Nearest,
        Filter::Box => ResizeAlg::Convolution(FilterType::Box),
        Filter::Bilinear => ResizeAlg::Convolution(FilterType::Bilinear),
        Filter::Bicubic => ResizeAlg::Convolution(FilterType::CatmullRom),
        Filter::Lanczos3 => ResizeAlg::Convolution(FilterType::Lanczos3),
    };
    let from = ImageRef::new(
        image.width(),
        image.height(),
        image.as_raw(),
        PixelType::U8x3,
    );
    let mut to = Image::new(width, height, PixelType::U8x3);
    Resizer::new()
        .resize(
            &from.expect(SAME),
            &mut to,
            &ResizeOptions::new().resize_alg(algorithm),
        )
        .expect(SAME);
    RgbImage::from_raw(width, height, to.into_vec()).expect(SAME)
}

/// Rounds each channel to so many levels from black to white, `2..=256`; with `dither` after a
/// pattern of 8 x 8 thresholds is added (Bayer 1973).
pub(in crate::augment) fn banding(image: &mut RgbImage, levels: u32, dither: bool) {
    let steps = (levels.clamp(2, 256) - 1) as f32;
    let width = image.width().max(1);
    for (index, pixel) in image.pixels_mut().enumerate() {
        let (x, y) = (index as u32 % width, index as u32 / width);
        let threshold = if dither { bayer(x, y) } else { 0.5 };
        for value in &mut pixel.0 {
            let level = (f32::from(*value) / 255.0 * steps + threshold).floor();
            *value = (level.min(steps) / steps * 255.0).round() as u8;
        }
    }
}

/// Thresholds between 0 and 1, of which each of 64 stands once in 8 x 8 pixels: the bits of
/// `x ^ y` and of `y` by turns, the lowest ones first.
fn bayer(x: u32, y: u32) -> f32 {
    let mut rank = 0;
    for bit in 0..3 {
        let (across, down) = ((x >> bit) & 1, (y >> bit) & 1);
        rank = (rank << 2) | ((across ^ down) << 1) | down;
    }
    (rank as f32 + 0.5) / 64.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn all_filters_keep_size_and_mean_and_differ() {
        let image = RgbImage::from_fn(90, 60, |x, y| {
            Rgb([((x / 3 + y / 5) % 2 * 180) as u8 + 20; 3])
        });
        let mean = |image: &RgbImage| {
            image.iter().map(|v| f64::from(*v)).sum::<f64>() / image.len() as f64
        };
        let mut seen = Vec::new();
        for filter in [
            Filter::Nearest,
            Filter::Box,
            Filter::Bilinear,
            Filter::Bicubic,
            Filter::Lanczos3,
        ] {
            let out = resample(&image, 0.5, filter, filter);
            assert_eq!(out.dimensions(), (90, 60));
            assert!((mean(&out) - mean(&image)).abs() < 15.0, "{filter:?}");
            assert!(!seen.contains(&out), "{filter:?}");
            seen.push(out);
        }
        let point = RgbImage::from_pixel(1, 1, Rgb([7; 3]));
        assert_eq!(
            resample(&point, 0.02, Filter::Lanczos3, Filter::Nearest),
            point
        );
    }

    #[test]
    fn dither_keeps_the_mean_that_banding_loses() {
        let grey = RgbImage::from_pixel(64, 64, Rgb([80; 3]));
        let mean = |image: &RgbImage| {
            image.iter().map(|v| f64::from(*v)).sum::<f64>() / image.len() as f64
        };
        let (mut plain, mut dithered) = (grey.clone(), grey.clone());
        banding(&mut plain, 2, false);
        banding(&mut dithered, 2, true);
        assert_eq!(mean(&plain), 0.0);
        assert!((mean(&dithered) - 80.0).abs() < 2.0);
        let mut all = RgbImage::from_fn(256, 1, |x, _| Rgb([x as u8; 3]));
        let before = all.clone();
        banding(&mut all, 256, false);
        assert_eq!(all, before);
        let mut ranks: Vec<u32> = (0..64)
            .map(|i| (bayer(i % 8, i / 8) * 64.0) as u32)
            .collect();
        ranks.sort_unstable();
        assert_eq!(ranks, (0..64).collect::<Vec<_>>());
    }
}
