//! Light, lens and sensor, all in linear light.

use image::{ImageBuffer, Rgb, RgbImage};
use rand_distr::Distribution as _;

use crate::seed::SeedKey;

/// An image in linear light; 1.0 is sRGB white.
pub(super) type Linear = ImageBuffer<Rgb<f32>, Vec<f32>>;

/// Linear light of an encoded value in `0..=1` (IEC 61966-2-1).
pub fn linear_from_srgb(encoded: f32) -> f32 {
    if encoded <= 0.04045 {
        encoded / 12.92
    } else {
        ((encoded + 0.055) / 1.055).powf(2.4)
    }
}

/// Encoded value of linear light in `0..=1` (IEC 61966-2-1).
pub fn srgb_from_linear(linear: f32) -> f32 {
    if linear <= 0.003_130_8 {
        12.92 * linear
    } else {
        1.055 * linear.powf(1.0 / 2.4) - 0.055
    }
}

pub(super) fn decode(image: &RgbImage) -> Linear {
    let table: Vec<f32> = (0..=255_u8)
        .map(|level| linear_from_srgb(f32::from(level) / 255.0))
        .collect();
    let mut linear = Linear::new(image.width(), image.height());
    for (to, from) in linear.iter_mut().zip(image.as_raw()) {
        *to = table[usize::from(*from)];
    }
    linear
}

/// Clips at white, as a sensor does, and rounds to 8 bits.
pub(super) fn encode(linear: &Linear) -> RgbImage {
    let mut image = RgbImage::new(linear.width(), linear.height());
    for (to, from) in image.iter_mut().zip(linear.as_raw()) {
        *to = (srgb_from_linear(from.clamp(0.0, 1.0)) * 255.0).round() as u8;
    }
    image
}

pub(super) fn scale_channels(image: &mut Linear, gains: [f32; 3]) {
    for pixel in image.pixels_mut() {
        for (value, gain) in pixel.0.iter_mut().zip(gains) {
            *value *= gain;
        }
    }
}

/// Raises the encoded value to a power: below 1 brightens the dark parts.
pub(super) fn gamma(image: &mut Linear, power: f32) {
    for value in image.iter_mut() {
        let encoded = srgb_from_linear(value.clamp(0.0, 1.0));
        *value = linear_from_srgb(encoded.powf(power));
    }
}

/// Poisson-Gaussian noise in its normal approximation: the variance of a value `v` is
/// `shot * v + read^2` (Foi et al. 2008, "Practical Poissonian-Gaussian noise
/// modeling", equation 3).
pub(super) fn noise(image: &mut Linear, shot: f32, read: f32, seed: u64) {
    let mut generator = SeedKey::new(b"sensor noise", seed).generator("pixels", 0);
    for value in image.iter_mut() {
        let sd = (shot * value.max(0.0) + read * read).sqrt();
        let z: f32 = rand_distr::StandardNormal.sample(&mut generator);
        *value += sd * z;
    }
}

/// Weights of a point spread function: offset in pixels, weight; weights sum to 1.
pub(super) type Psf = Vec<((i64, i64), f32)>;

/// A disc, with partly covered pixels weighted by their coverage (8 x 8 samples).
pub(super) fn disc(radius_px: f64) -> Psf {
    rasterised(radius_px.ceil() as i64, |x, y| x.hypot(y) <= radius_px)
}

/// A line of one pixel's width through the centre; the angle is from the x axis
/// towards the y axis, which points down.
pub(super) fn line(length_px: f64, angle_deg: f64) -> Psf {
    let (sin, cos) = angle_deg.to_radians().sin_cos();
    let half = (length_px / 2.0).max(0.5);
    rasterised(half.ceil() as i64 + 1, |x, y| {
        (x * cos + y * sin).abs() <= half && (y * cos - x * sin).abs() <= 0.5
    })
}

fn rasterised(reach: i64, inside: impl Fn(f64, f64) -> bool) -> Psf {
    const SAMPLES: i32 = 8;
    let place = |cell: i64, i: i32| cell as f64 + (f64::from(i) + 0.5) / f64::from(SAMPLES) - 0.5;
    let mut psf = Psf::new();
    for y in -reach..=reach {
        for x in -reach..=reach {
            let covered = (0..SAMPLES * SAMPLES)
                .filter(|i| inside(place(x, i % SAMPLES), place(y, i / SAMPLES)))
                .count();
            if covered > 0 {
                psf.push(((x, y), covered as f32));
            }
        }
    }
    if psf.is_empty() {
        return vec![((0, 0), 1.0)];
    }
    let sum: f32 = psf.iter().map(|(_, weight)| weight).sum();
    for (_, weight) in &mut psf {
        *weight /= sum;
    }
    psf
}

/// Convolves; beyond the border the image goes on as at the border.
pub(super) fn convolve(image: &Linear, psf: &Psf) -> Linear {
    let (width, height) = (i64::from(image.width()), i64::from(image.height()));
    Linear::from_fn(image.width(), image.height(), |x, y| {
        let mut sum = [0.0; 3];
        for ((dx, dy), weight) in psf {
            let from_x = (i64::from(x) + dx).clamp(0, width - 1) as u32;
            let from_y = (i64::from(y) + dy).clamp(0, height - 1) as u32;
            let pixel = image.get_pixel(from_x, from_y);
            for (sum, value) in sum.iter_mut().zip(pixel.0) {
                *sum += weight * value;
            }
        }
        Rgb(sum)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(image: &Linear) -> f64 {
        image.iter().map(|v| f64::from(*v)).sum::<f64>() / image.len() as f64
    }

    #[test]
    fn eight_bits_survive_the_round_trip() {
        let all = RgbImage::from_fn(256, 1, |x, _| Rgb([x as u8; 3]));
        assert_eq!(encode(&decode(&all)), all);
    }

    #[test]
    fn noise_has_the_models_variance() {
        let mut image = Linear::from_pixel(200, 200, Rgb([0.3; 3]));
        noise(&mut image, 0.01, 0.02, 1);
        let count = image.len() as f64;
        let variance = image
            .iter()
            .map(|v| (f64::from(*v) - 0.3).powi(2))
            .sum::<f64>()
            / count;
        let expected = 0.01 * 0.3 + 0.02 * 0.02;
        // Five standard errors of a variance: sqrt(2 / count) each.
        assert!((variance / expected - 1.0).abs() < 5.0 * (2.0 / count).sqrt());
        assert!((mean(&image) - 0.3).abs() < 5.0 * (expected / count).sqrt());
    }

    #[test]
    fn blur_keeps_the_mean_of_linear_light() {
        let mut image = Linear::new(41, 41);
        image.put_pixel(20, 20, Rgb([1.0; 3]));
        for psf in [disc(4.3), line(9.0, 30.0)] {
            let blurred = convolve(&image, &psf);
            assert!((mean(&blurred) / mean(&image) - 1.0).abs() < 1e-5);
            assert!(blurred.get_pixel(20, 20)[0] < 0.2);
        }
        assert_eq!(disc(0.0).len(), 1);
    }
}
