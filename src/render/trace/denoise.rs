//! Takes noise out of pictures of few samples.
//!
//! Light without the surfaces' own colours is smoothed by a few passes of a small kernel with
//! growing gaps (Dammertz et al. 2010, "Edge-avoiding à-trous wavelet transform"), where
//! neighbours count as far as their normals, colours and distances are alike, and their light
//! within what its variance explains (Schied et al. 2017, "Spatiotemporal variance-guided
//! filtering"). The more samples there are, the less is smoothed.

use glam::{Vec3, Vec3A, Vec4};
use rayon::prelude::*;

use super::path::Pixel;
use crate::scene::luminance;

/// Gaps between the taps of each pass, in pixels.
const GAPS: [usize; 4] = [1, 2, 4, 8];

/// How many standard deviations light may differ.
const LIGHT_TOLERANCE: f32 = 4.0;

/// How far normals may differ, as the length of their difference.
const NORMAL_TOLERANCE: f32 = 0.25;

/// How far colours may differ.
const COLOUR_TOLERANCE: f32 = 0.35;

/// How far distances may differ, as a share, a pixel.
const DEPTH_TOLERANCE: f32 = 0.01;

/// How many standard deviations a speck may stand out by; what stands out further is no chance.
const SPECK_DEVIATIONS: f32 = 3.0;

/// The least albedo that light is divided by.
const LEAST_ALBEDO: f32 = 0.03;

/// What does not change from pass to pass.
#[derive(Debug, Clone, Copy)]
struct Guide {
    normal: Vec3A,
    albedo: Vec3A,
    depth: f32,
}

/// Smoothed radiances of pixels in rows of `width`.
pub(super) fn denoised(pixels: &[Pixel], width: usize) -> Vec<Vec3> {
    let guides: Vec<Guide> = pixels
        .par_iter()
        .map(|pixel| Guide {
            normal: pixel.normal.into(),
            albedo: pixel.albedo.max(Vec3::splat(LEAST_ALBEDO)).into(),
            depth: pixel.depth_m,
        })
        .collect();
    // Light, and the variance of its luminance.
    let mut light: Vec<Vec4> = pixels
        .par_iter()
        .zip(&guides)
        .map(|(pixel, guide)| {
            let albedo = Vec3::from(guide.albedo);
            let variance = pixel.variance / luminance(albedo).powi(2);
            (pixel.radiance / albedo).extend(variance)
        })
        .collect();
    light = without_specks(&light, width);
    for gap in GAPS {
        let steady = steadied(&light, width);
        let mut next = vec![Vec4::ZERO; light.len()];
        next.par_chunks_mut(width)
            .enumerate()
            .for_each(|(row, line)| {
                for (column, out) in line.iter_mut().enumerate() {
                    *out = smoothed(&light, &steady, &guides, width, [column, row], gap);
                }
            });
        light = next;
    }
    light
        .par_iter()
        .zip(&guides)
        .map(|(light, guide)| light.truncate() * Vec3::from(guide.albedo))
        .collect()
}

/// Limits each pixel to the second brightest of its neighbours: single paths of very much light
/// are specks, which no smoothing spreads far enough.
fn without_specks(light: &[Vec4], width: usize) -> Vec<Vec4> {
    let height = light.len() / width;
    let brightness: Vec<f32> = light
        .par_iter()
        .map(|light| luminance(light.truncate()))
        .collect();
    let mut limited = light.to_vec();
    limited
        .par_chunks_mut(width)
        .enumerate()
        .for_each(|(row, line)| {
            let rows = row.saturating_sub(1)..(row + 2).min(height);
            for (column, out) in line.iter_mut().enumerate() {
                let columns = column.saturating_sub(1)..(column + 2).min(width);
                let place = row * width + column;
                let own = brightness[place];
                let (mut most, mut second) = (0.0_f32, 0.0_f32);
                for row in rows.clone() {
                    let line = &brightness[row * width..][columns.clone()];
                    for (at, brightness) in (row * width + columns.start..).zip(line) {
                        let other = if at == place { 0.0 } else { *brightness };
                        second = second.max(other.min(most));
                        most = most.max(other);
                    }
                }
                // A highlight that all paths of the pixel show is none.
                let is_unsure = own - second < SPECK_DEVIATIONS * out.w.sqrt();
                if own > second && is_unsure {
                    let share = second / own;
                    *out = (out.truncate() * share).extend(out.w * share * share);
                }
            }
        });
    limited
}

/// Variances averaged over nine pixels: those of few samples vary much themselves.
fn steadied(light: &[Vec4], width: usize) -> Vec<f32> {
    let height = light.len() / width;
    let mut steady = vec![0.0; light.len()];
    steady
        .par_chunks_mut(width)
        .enumerate()
        .for_each(|(row, line)| {
            let rows = row.saturating_sub(1)..(row + 2).min(height);
            let sums: Vec<f32> = (0..width)
                .map(|column| rows.clone().map(|row| light[row * width + column].w).sum())
                .collect();
            for (column, out) in line.iter_mut().enumerate() {
                let columns = column.saturating_sub(1)..(column + 2).min(width);
                let count = (columns.len() * rows.len()) as f32;
                *out = sums[columns].iter().sum::<f32>() / count;
            }
        });
    steady
}

#[inline(always)]
fn smoothed(
    light: &[Vec4],
    steady: &[f32],
    guides: &[Guide],
    width: usize,
    [column, row]: [usize; 2],
    gap: usize,
) -> Vec4 {
    let height = light.len() / width;
    let place = row * width + column;
    let (own, guide) = (light[place], &guides[place]);
    let own_luminance = luminance(own.truncate());
    let noise = 1.0 / (LIGHT_TOLERANCE * LIGHT_TOLERANCE);
    let depth_scale = 1.0 / (guide.depth * DEPTH_TOLERANCE * gap as f32).max(1e-9);
    let (mut sum, mut weights, mut squares) = (own * 4.0, 4.0, 16.0 * own.w);
    for (y, vertical) in [row.wrapping_sub(gap), row, row + gap]
        .into_iter()
        .zip([1.0, 2.0, 1.0])
    {
        if y >= height {
            continue;
        }
        for (x, horizontal) in [column.wrapping_sub(gap), column, column + gap]
            .into_iter()
            .zip([1.0, 2.0, 1.0])
        {
            if x >= width || (x == column && y == row) {
                continue;
            }
            let at = y * width + x;
            let (other, beside) = (light[at], &guides[at]);
            let difference = own_luminance - luminance(other.truncate());
            let explained = steady[place] + steady[at] + 1e-8;
            let distance = (guide.normal - beside.normal).length_squared()
                * (1.0 / (NORMAL_TOLERANCE * NORMAL_TOLERANCE))
                + (guide.albedo - beside.albedo).length_squared()
                    * (1.0 / (COLOUR_TOLERANCE * COLOUR_TOLERANCE))
                + ((guide.depth - beside.depth) * depth_scale).powi(2)
                + difference * difference * noise / explained;
            // Falls smoothly to nothing at a distance of 1.
            let alike = (1.0 - distance).max(0.0);
            let weight = vertical * horizontal * alike * alike;
            sum += other * weight;
            weights += weight;
            squares += weight * weight * other.w;
        }
    }
    let mean = sum / weights;
    mean.truncate().extend(squares / (weights * weights))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two surfaces side by side, each with even light of its own and noise on it.
    fn halves(side: usize, noise: f32) -> (Vec<Pixel>, Vec<Vec3>) {
        let mut state = 1_u32;
        let mut draw = || {
            state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            (state >> 8) as f32 / 16_777_216.0 - 0.5
        };
        let pixels = (0..side * side).map(|index| {
            let is_left = index % side < side / 2;
            let (albedo, normal, light) = if is_left {
                (Vec3::new(0.8, 0.4, 0.2), Vec3::Z, 0.5)
            } else {
                (Vec3::new(0.2, 0.3, 0.7), Vec3::X, 0.9)
            };
            let clean = albedo * light;
            let pixel = Pixel {
                radiance: clean * (1.0 + noise * draw()),
                albedo,
                normal,
                variance: luminance(clean).powi(2) * noise * noise / 12.0,
                id: 0,
                depth_m: 1.0,
            };
            (pixel, clean)
        });
        pixels.unzip()
    }

    fn error(found: &[Vec3], clean: &[Vec3]) -> f32 {
        let sum: f32 = found
            .iter()
            .zip(clean)
            .map(|(a, b)| (*a - *b).length_squared())
            .sum();
        (sum / found.len() as f32).sqrt()
    }

    #[test]
    fn noise_goes_and_edges_stay() {
        let (pixels, clean) = halves(48, 0.6);
        let noisy: Vec<Vec3> = pixels.iter().map(|pixel| pixel.radiance).collect();
        let smooth = denoised(&pixels, 48);
        let (before, after) = (error(&noisy, &clean), error(&smooth, &clean));
        assert!(after < 0.3 * before, "{after} of {before}");
        for row in 0..48 {
            let (left, right) = (smooth[row * 48 + 23], smooth[row * 48 + 24]);
            assert!(left.x > 0.25 && right.x < 0.25, "{left} beside {right}");
        }
    }

    #[test]
    fn what_has_no_noise_is_left_alone() {
        let (pixels, clean) = halves(16, 0.0);
        assert!(error(&denoised(&pixels, 16), &clean) < 1e-6);
    }

    #[test]
    fn specks_go() {
        let (mut pixels, clean) = halves(16, 0.0);
        pixels[16 * 8 + 3].radiance *= 50.0;
        pixels[16 * 8 + 3].variance = 40.0;
        assert!(error(&denoised(&pixels, 16), &clean) < 1e-3);
    }
}
