//! Pictures made like another one, without a network.

use glam::{Mat3, Vec3};
use image::RgbImage;
use image::imageops::{self, FilterType};

use super::photometric::Linear;

/// Gives each channel the distribution of levels that `reference` has: a level goes to the one
/// of the same rank (Gonzalez and Woods 2018, section 3.3, histogram specification).
/// `strength` blends from 0, no change, to 1.
pub(super) fn match_histogram(image: &mut RgbImage, reference: &RgbImage, strength: f64) {
    let (own, wanted) = (ranks(image), ranks(reference));
    let tables: [[u8; 256]; 3] = std::array::from_fn(|channel| {
        let (own, wanted) = (&own[channel], &wanted[channel]);
        std::array::from_fn(|level| {
            let matched = wanted.partition_point(|rank| *rank < own[level]).min(255) as f64;
            let level = level as f64;
            (level + strength * (matched - level)).round() as u8
        })
    });
    for pixel in image.pixels_mut() {
        for (value, table) in pixel.0.iter_mut().zip(&tables) {
            *value = table[usize::from(*value)];
        }
    }
}

/// Share of pixels below a level plus half of those at it, of each channel.
fn ranks(image: &RgbImage) -> [[f64; 256]; 3] {
    let mut counts = [[0_u64; 256]; 3];
    for pixel in image.pixels() {
        for (counts, level) in counts.iter_mut().zip(pixel.0) {
            counts[usize::from(level)] += 1;
        }
    }
    let total = f64::from(image.width()) * f64::from(image.height());
    counts.map(|counts| {
        let mut below = 0;
        counts.map(|count| {
            let rank = (below as f64 + count as f64 / 2.0) / total.max(1.0);
            below += count;
            rank
        })
    })
}

/// L, M and S from linear sRGB, after Reinhard et al. 2001, "Color transfer
/// between images", equations 4 to 6 (for linear RGB of Rec. 709 primaries).
const LMS_FROM_RGB: Mat3 = Mat3::from_cols_array_2d(&[
    [0.3811, 0.1967, 0.0241],
    [0.5783, 0.7244, 0.1288],
    [0.0402, 0.0782, 0.8444],
]);

/// Light below this has no logarithm worth the name; it is a fifth of the least 8-bit level.
const DARK: f32 = 6e-5;

/// Gives the picture mean and standard deviation of `reference` in the three axes of
/// l-alpha-beta: lightness, yellow to blue and red to green (Reinhard et al. 2001).
/// `strength` blends from 0, no change, to 1.
pub(super) fn match_colour(light: &mut Linear, reference: &Linear, strength: f64) {
    let (own, wanted) = (moments(light), moments(reference));
    let strength = strength as f32;
    let rgb_from_lms = LMS_FROM_RGB.inverse();
    for pixel in light.pixels_mut() {
        let mut axes = lab(pixel.0);
        for (axis, value) in axes.iter_mut().enumerate() {
            let ([mean, sd], [to_mean, to_sd]) = (own[axis], wanted[axis]);
            // A flat picture has nothing to spread.
            let gain = if sd > 1e-6 { to_sd / sd } else { 1.0 };
            let matched = (*value - mean) * gain + to_mean;
            *value += strength * (matched - *value);
        }
        pixel.0 = rgb(&rgb_from_lms, axes);
    }
}

fn lab(linear_rgb: [f32; 3]) -> [f32; 3] {
    let lms = LMS_FROM_RGB * Vec3::from(linear_rgb);
    let [l, m, s] = lms.to_array().map(|value| value.max(DARK).ln());
    [
        (l + m + s) / 3.0_f32.sqrt(),
        (l + m - 2.0 * s) / 6.0_f32.sqrt(),
        (l - m) / 2.0_f32.sqrt(),
    ]
}

fn rgb(rgb_from_lms: &Mat3, [lightness, alpha, beta]: [f32; 3]) -> [f32; 3] {
    let a = lightness / 3.0_f32.sqrt();
    let b = alpha / 6.0_f32.sqrt();
    let c = beta / 2.0_f32.sqrt();
    let lms = [a + b + c, a + b - c, a - 2.0 * b].map(f32::exp);
    let rgb = *rgb_from_lms * Vec3::from(lms);
    rgb.to_array().map(|value| value.max(0.0))
}

/// Mean and standard deviation of each axis.
fn moments(light: &Linear) -> [[f32; 2]; 3] {
    let (mut sum, mut squares) = ([0.0_f64; 3], [0.0_f64; 3]);
    for pixel in light.pixels() {
        for (axis, value) in lab(pixel.0).into_iter().enumerate() {
            sum[axis] += f64::from(value);
            squares[axis] += f64::from(value) * f64::from(value);
        }
    }
    let count = (f64::from(light.width()) * f64::from(light.height())).max(1.0);
    std::array::from_fn(|axis| {
        let mean = sum[axis] / count;
        let variance = (squares[axis] / count - mean * mean).max(0.0);
        [mean as f32, variance.sqrt() as f32]
    })
}

/// Gives the lowest frequencies the amplitudes that `reference` has, and leaves their phases
/// (Yang and Soatto 2020, "FDA: Fourier domain adaptation for semantic segmentation",
/// equation 3, on encoded values). Frequencies up to `share` times the shorter side are changed.
///
/// Only those are computed, by two passes of plain sums: the rest of the picture stays as it
/// is to the bit before rounding.
pub(super) fn match_spectrum(image: &mut RgbImage, reference: &RgbImage, share: f64) {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let reach = (share * width.min(height) as f64).floor() as usize;
    let reach = reach.min(width.min(height).saturating_sub(1) / 2);
    let reference = imageops::resize(
        reference,
        image.width(),
        image.height(),
        FilterType::Triangle,
    );
    let waves = Waves::new(width, height, reach);
    for channel in 0..3 {
        let own = waves.spectrum(image, channel);
        let wanted = waves.spectrum(&reference, channel);
        let change: Vec<Complex> = own
            .iter()
            .zip(&wanted)
            .map(|(own, wanted)| {
                let amplitude = own[0].hypot(own[1]);
                let wanted = wanted[0].hypot(wanted[1]);
                if amplitude > 0.0 {
                    own.map(|part| part * (wanted / amplitude - 1.0))
                } else {
                    [wanted, 0.0]
                }
            })
            .collect();
        waves.add(image, channel, &change);
    }
}

/// Real and imaginary part.
type Complex = [f64; 2];

/// The frequencies `(u, v)` with `u` in `0..=reach` along x and `v` in `-reach..=reach` along y
/// of an image; the others up to `reach` are their conjugates.
struct Waves {
    width: usize,
    height: usize,
    reach: usize,
    /// `exp(-2 pi i k / side)` for each k below the side.
    along_x: Vec<Complex>,
    along_y: Vec<Complex>,
}

impl Waves {
    fn new(width: usize, height: usize, reach: usize) -> Self {
        let roots = |side: usize| {
            let root = |k: usize| {
                let (sin, cos) = (std::f64::consts::TAU * k as f64 / side as f64).sin_cos();
                [cos, -sin]
            };
            (0..side).map(root).collect()
        };
        Waves {
            width,
            height,
            reach,
            along_x: roots(width),
            along_y: roots(height),
        }
    }

    fn rows(&self) -> impl Iterator<Item = i64> {
        -(self.reach as i64)..=self.reach as i64
    }

    /// The root for frequency `v` at `y`.
    fn root_y(&self, v: i64, y: usize) -> Complex {
        let turn = (v * y as i64).rem_euclid(self.height as i64);
        self.along_y[turn as usize]
    }

    /// Coefficients, row by row of `v`, each with all `u`.
    fn spectrum(&self, image: &RgbImage, channel: usize) -> Vec<Complex> {
        let columns = self.reach + 1;
        let mut spectrum = vec![[0.0; 2]; columns * (2 * self.reach + 1)];
        for (y, row) in image.as_raw().chunks_exact(3 * self.width).enumerate() {
            for u in 0..columns {
                let (mut re, mut im, mut turn) = (0.0, 0.0, 0);
                for x in 0..self.width {
                    let value = f64::from(row[3 * x + channel]);
                    re += value * self.along_x[turn][0];
                    im += value * self.along_x[turn][1];
                    turn += u;
                    if turn >= self.width {
                        turn -= self.width;
                    }
                }
                for (index, v) in self.rows().enumerate() {
                    let [c, s] = self.root_y(v, y);
                    let to = &mut spectrum[index * columns + u];
                    to[0] += re * c - im * s;
                    to[1] += re * s + im * c;
                }
            }
        }
        spectrum
    }

    /// Adds the inverse transform of `change` to a channel.
    fn add(&self, image: &mut RgbImage, channel: usize, change: &[Complex]) {
        let columns = self.reach + 1;
        let scale = 1.0 / (self.width * self.height) as f64;
        let rows = image.chunks_exact_mut(3 * self.width).enumerate();
        for (y, row) in rows {
            let along: Vec<Complex> = (0..columns)
                .map(|u| {
                    let mut sum = [0.0; 2];
                    for (index, v) in self.rows().enumerate() {
                        let [c, s] = self.root_y(v, y);
                        let [re, im] = change[index * columns + u];
                        // The inverse turns the other way.
                        sum[0] += re * c + im * s;
                        sum[1] += im * c - re * s;
                    }
                    // Each but the constant along x stands for its conjugate too.
                    sum.map(|part| part * scale * if u == 0 { 1.0 } else { 2.0 })
                })
                .collect();
            for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
                let mut value = f64::from(pixel[channel]);
                for (u, [re, im]) in along.iter().enumerate() {
                    let [c, s] = self.along_x[u * x % self.width];
                    value += re * c + im * s;
                }
                pixel[channel] = value.round().clamp(0.0, 255.0) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::photometric::{decode, encode};
    use super::*;
    use image::Rgb;

    fn textured(width: u32, height: u32, base: [u8; 3], step: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            let wave = ((x * step + y * 3) % 40) as u8;
            Rgb(base.map(|level| level + wave))
        })
    }

    fn mean(image: &RgbImage, channel: usize) -> f64 {
        let sum: f64 = image.pixels().map(|pixel| f64::from(pixel[channel])).sum();
        sum / f64::from(image.width() * image.height())
    }

    #[test]
    fn histograms_match_and_half_the_strength_goes_half_way() {
        let (dark, bright) = (
            textured(64, 48, [20; 3], 1),
            textured(50, 50, [180, 120, 60], 7),
        );
        let mut whole = dark.clone();
        match_histogram(&mut whole, &bright, 1.0);
        let mut half = dark.clone();
        match_histogram(&mut half, &bright, 0.5);
        for channel in 0..3 {
            let (from, to) = (mean(&dark, channel), mean(&bright, channel));
            assert!((mean(&whole, channel) - to).abs() < 1.0);
            assert!((mean(&half, channel) - (from + to) / 2.0).abs() < 1.5);
        }
        let mut same = dark.clone();
        match_histogram(&mut same, &dark, 1.0);
        assert_eq!(same, dark, "a picture is already like itself");
    }

    #[test]
    fn colour_moments_match_and_the_axes_go_back_and_forth() {
        for pixel in [[0.2, 0.5, 0.7], [1.0, 1.0, 1.0], [0.9, 0.05, 0.01]] {
            let back = rgb(&LMS_FROM_RGB.inverse(), lab(pixel));
            for channel in 0..3 {
                assert!(
                    (back[channel] - pixel[channel]).abs() < 1e-5,
                    "{pixel:?} {back:?}"
                );
            }
        }
        let mut light = decode(&textured(64, 48, [60, 70, 90], 1));
        let reference = decode(&textured(40, 40, [150, 110, 80], 5));
        match_colour(&mut light, &reference, 1.0);
        for (own, wanted) in moments(&light).iter().zip(moments(&reference)) {
            assert!((own[0] - wanted[0]).abs() < 0.02 && (own[1] - wanted[1]).abs() < 0.02);
        }
        let image = textured(16, 16, [60, 70, 90], 1);
        let mut same = decode(&image);
        match_colour(&mut same, &decode(&image), 0.0);
        let same = encode(&same);
        let off = same
            .iter()
            .zip(image.iter())
            .map(|(a, b)| a.abs_diff(*b))
            .max();
        assert!(off <= Some(1));
    }

    /// The mean is the amplitude of frequency zero: it becomes that of the reference, while a
    /// wave of ten periods stays.
    #[test]
    fn low_frequencies_are_taken_over_and_high_ones_stay() {
        let wave = |base: f64| {
            RgbImage::from_fn(80, 60, |x, _| {
                let phase = std::f64::consts::TAU * 10.0 * f64::from(x) / 80.0;
                Rgb([(base + 20.0 * phase.sin()).round() as u8; 3])
            })
        };
        let mut image = wave(80.0);
        let reference = RgbImage::from_pixel(33, 20, Rgb([150; 3]));
        match_spectrum(&mut image, &reference, 0.05);
        let off = image
            .iter()
            .zip(wave(150.0).iter())
            .map(|(a, b)| a.abs_diff(*b))
            .max();
        assert!(off <= Some(1), "{off:?}");
        let mut same = wave(80.0);
        match_spectrum(&mut same, &wave(80.0), 0.2);
        assert_eq!(same, wave(80.0));
    }

    #[test]
    fn pictures_of_one_pixel_are_taken() {
        let reference = textured(9, 7, [100; 3], 2);
        for size in [(1, 1), (1, 5), (6, 1)] {
            let image = RgbImage::from_pixel(size.0, size.1, Rgb([10, 20, 30]));
            let (mut a, mut b, mut c) = (image.clone(), decode(&image), image.clone());
            match_histogram(&mut a, &reference, 1.0);
            match_colour(&mut b, &decode(&reference), 1.0);
            match_spectrum(&mut c, &reference, 0.2);
            assert!(b.iter().all(|value| value.is_finite()));
            assert_ne!(a, image);
            assert_eq!(c.dimensions(), size);
        }
    }
}
