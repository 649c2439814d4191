//! Corruptions of single values: noise and colour.

use rand::RngExt;

use super::Encoded;
use crate::augment::variates::{COUNTED_BELOW, Normals, Poissons};
use crate::seed::Generator;

pub(super) fn gaussian_noise(picture: &mut Encoded, sigma: f32, generator: &mut Generator) {
    with_normals(picture, generator, |value, z| value + sigma * z);
}

pub(super) fn speckle_noise(picture: &mut Encoded, sigma: f32, generator: &mut Generator) {
    with_normals(picture, generator, |value, z| value + value * sigma * z);
}

fn with_normals(
    picture: &mut Encoded,
    generator: &mut Generator,
    change: impl Fn(f32, f32) -> f32,
) {
    let normals = Normals::new();
    let (mut drawn, mut bytes) = (vec![0.0; 3 * picture.width], Vec::new());
    for line in picture.values.chunks_exact_mut(3 * picture.width) {
        normals.fill(&mut drawn, &mut bytes, generator);
        for (value, z) in line.iter_mut().zip(&drawn) {
            *value = change(*value, *z);
        }
    }
}

/// Counts of `photons` at white.
pub(super) fn shot_noise(picture: &mut Encoded, photons: f32, generator: &mut Generator) {
    let poissons = Poissons::new();
    // The tables end at a mean: the counts of several parts add up to that of the whole.
    let parts = (photons / COUNTED_BELOW) as u32 + 1;
    for value in &mut picture.values {
        let part = *value * photons / parts as f32;
        let count: u32 = (0..parts).map(|_| poissons.draw(part, generator)).sum();
        *value = count as f32 / photons;
    }
}

/// A share of all values becomes black or white, as likely.
pub(super) fn impulse_noise(picture: &mut Encoded, share: f32, generator: &mut Generator) {
    for value in &mut picture.values {
        let drawn: f32 = generator.random();
        if drawn < share / 2.0 {
            *value = 0.0;
        } else if drawn < share {
            *value = 1.0;
        }
    }
}

/// Draws every value towards the mean of its channel.
pub(super) fn contrast(picture: &mut Encoded, factor: f64) {
    let mut sums = [0.0_f64; 3];
    for pixel in picture.values.chunks_exact(3) {
        for (sum, value) in sums.iter_mut().zip(pixel) {
            *sum += f64::from(*value);
        }
    }
    let count = (picture.values.len() / 3) as f64;
    let means = sums.map(|sum| sum / count);
    for pixel in picture.values.chunks_exact_mut(3) {
        for (value, mean) in pixel.iter_mut().zip(means) {
            *value = ((f64::from(*value) - mean) * factor + mean) as f32;
        }
    }
}

/// Adds to V of the hexcone model (Smith 1978), which is the largest of a pixel's values, and
/// keeps hue and saturation.
pub(super) fn brightness(picture: &mut Encoded, more: f32) {
    for pixel in picture.values.chunks_exact_mut(3) {
        let most = pixel[0].max(pixel[1]).max(pixel[2]);
        let new = (most + more).min(1.0);
        for value in pixel {
            *value = if most > 0.0 { *value * new / most } else { new };
        }
    }
}

/// Scales saturation of the hexcone model and adds to it. Grey has the hue of red there.
pub(super) fn saturate(picture: &mut Encoded, factor: f32, more: f32) {
    for pixel in picture.values.chunks_exact_mut(3) {
        let most = pixel[0].max(pixel[1]).max(pixel[2]);
        let least = pixel[0].min(pixel[1]).min(pixel[2]);
        let saturation = if most > 0.0 {
            (most - least) / most
        } else {
            0.0
        };
        let new = (saturation * factor + more).clamp(0.0, 1.0);
        if saturation > 0.0 {
            for value in pixel {
                *value = most - (most - *value) * new / saturation;
            }
        } else {
            pixel[1] = most * (1.0 - new);
            pixel[2] = pixel[1];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(pixel: [f32; 3]) -> Encoded {
        Encoded {
            width: 1,
            height: 1,
            values: pixel.to_vec(),
        }
    }

    /// By hand: (0.2, 0.4, 0.8) has V 0.8 and S 0.75.
    #[test]
    fn brightness_and_saturation_are_those_of_the_hexcone() {
        let mut picture = one([0.2, 0.4, 0.8]);
        brightness(&mut picture, 0.1);
        let expected = [0.225, 0.45, 0.9];
        assert!(
            picture
                .values
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-6)
        );
        let mut picture = one([0.2, 0.4, 0.8]);
        saturate(&mut picture, 0.5, 0.0);
        let expected = [0.5, 0.6, 0.8];
        assert!(
            picture
                .values
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-6)
        );
        let mut grey = one([0.5; 3]);
        saturate(&mut grey, 20.0, 0.2);
        assert_eq!(grey.values, [0.5, 0.4, 0.4]);
    }

    #[test]
    fn contrast_keeps_the_mean() {
        let mut picture = Encoded {
            width: 2,
            height: 1,
            values: vec![0.2, 0.0, 1.0, 0.6, 1.0, 1.0],
        };
        contrast(&mut picture, 0.5);
        let expected = [0.3, 0.25, 1.0, 0.5, 0.75, 1.0];
        assert!(
            picture
                .values
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-6)
        );
    }
}
