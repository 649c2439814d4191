//! From radiance to the picture: lens blur, vignetting, exposure, noise and the transfer curve,
//! as `shaders/post.wgsl` has them.

use glam::{Vec2, Vec3};
use rayon::prelude::*;

use super::super::raster::uniforms::blur_weights;
use super::sample::mixed;
use crate::scene::{SceneInstance, luminance};

/// The 8-bit sRGB picture of radiances in rows.
pub(super) fn develop(scene: &SceneInstance, radiance: Vec<Vec3>) -> image::RgbImage {
    let (width, height) = (scene.width_px as usize, scene.height_px as usize);
    let radiance = blurred(radiance, width, scene.sensor.blur_px);
    let gain = scene.exposure_ev.exp2();
    let is_grey = scene.sensor.monochrome;
    let size = Vec2::new(width as f32, height as f32);
    let mut rgb = vec![0; width * height * 3];
    rgb.par_chunks_mut(width * 3)
        .enumerate()
        .for_each(|(row, line)| {
            for (column, out) in line.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                let position = Vec2::new(column as f32, row as f32) + 0.5;
                let centred = (position / size - 0.5) * 2.0;
                let falloff = 1.0 - scene.sensor.vignetting * centred.length_squared() * 0.5;
                let place = row * width + column;
                let sum = match is_grey {
                    true => Vec3::splat(luminance(radiance[place])),
                    false => radiance[place],
                };
                let linear = sum * (falloff * gain);
                let mut colour =
                    Vec3::from(linear.to_array().map(|value| encoded(shoulder(value))));
                if scene.sensor.noise > 0.0 {
                    let key = mixed(place as u32 ^ scene.sensor.noise_seed);
                    let grain = [0, 1, 2].map(|channel| normal_draw(key.wrapping_add(channel)));
                    colour += scene.sensor.noise
                        * match is_grey {
                            true => Vec3::splat(grain[1]),
                            false => Vec3::from(grain) * 0.5 + grain[1] * 0.6,
                        };
                }
                *out = (colour.clamp(Vec3::ZERO, Vec3::ONE) * 255.0)
                    .to_array()
                    .map(|c| c.round() as u8);
            }
        });
    image::RgbImage::from_raw(scene.width_px, scene.height_px, rgb)
        .expect("the buffer has three bytes a pixel")
}

/// A normal blur along both axes; what lies outside is as the nearest pixel.
fn blurred(radiance: Vec<Vec3>, width: usize, sigma_px: f32) -> Vec<Vec3> {
    let (weights, reach) = blur_weights(sigma_px);
    if reach == 0 {
        return radiance;
    }
    let height = radiance.len() / width;
    let along = |from: &[Vec3], step: usize, place: usize, index: usize, count: usize| {
        let first = place - index * step;
        let mut sum = from[place] * weights[0];
        for (offset, weight) in weights.iter().enumerate().take(reach + 1).skip(1) {
            let before = from[first + index.saturating_sub(offset) * step];
            let after = from[first + (index + offset).min(count - 1) * step];
            sum += (before + after) * *weight;
        }
        sum
    };
    let pass = |from: &[Vec3], is_row: bool| {
        let mut to = vec![Vec3::ZERO; from.len()];
        to.par_chunks_mut(width)
            .enumerate()
            .for_each(|(row, line)| {
                for (column, out) in line.iter_mut().enumerate() {
                    let place = row * width + column;
                    *out = match is_row {
                        true => along(from, 1, place, column, width),
                        false => along(from, width, place, row, height),
                    };
                }
            });
        to
    };
    pass(&pass(&radiance, true), false)
}

/// Nearly normal, of unit variance: the sum of four uniform draws.
fn normal_draw(key: u32) -> f32 {
    let a = mixed(key);
    let b = mixed(a ^ 0x68bc_21eb);
    let sum = [a & 0xffff, a >> 16, b & 0xffff, b >> 16]
        .map(|part| part as f32)
        .iter()
        .sum::<f32>();
    (sum / 65_535.0 - 2.0) * 1.732_050_8
}

/// The sRGB transfer curve (IEC 61966-2-1).
fn encoded(linear: f32) -> f32 {
    let c = linear.clamp(0.0, 1.0);
    if c <= 0.003_130_8 {
        12.92 * c
    } else {
        1.055 * c.powf(1.0 / 2.4) - 0.055
    }
}

/// Leaves dark and middle tones alone and rolls off what is brighter than 0.7.
fn shoulder(value: f32) -> f32 {
    if value <= 0.7 {
        value
    } else {
        0.7 + 0.3 * (1.0 - (-(value - 0.7) / 0.3).exp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blur_spreads_a_point_and_keeps_its_light() {
        let (width, height) = (31, 21);
        let mut point = vec![Vec3::ZERO; width * height];
        point[10 * width + 15] = Vec3::new(4.0, 2.0, 1.0);
        let spread = blurred(point.clone(), width, 1.5);
        let sum: Vec3 = spread.iter().sum();
        assert!(
            (sum - Vec3::new(4.0, 2.0, 1.0)).abs().max_element() < 1e-4,
            "{sum}"
        );
        let at = |x: usize, y: usize| spread[y * width + x].x;
        assert!(
            (at(16, 10) - at(15, 11)).abs() < 1e-6,
            "alike along both axes"
        );
        assert!((at(16, 10) / at(15, 10) - (-1.0_f32 / 4.5).exp()).abs() < 1e-4);
        assert_eq!(blurred(point.clone(), width, 0.1), point);
    }

    #[test]
    fn tones_are_those_of_the_curve() {
        for (linear, expected) in [(0.5, 0.735_357), (0.001, 0.012_92), (0.0, 0.0), (2.0, 1.0)] {
            assert!((encoded(linear) - expected).abs() < 1e-4, "{linear}");
        }
        assert_eq!(shoulder(0.6), 0.6);
        assert!(shoulder(0.8) < 0.8 && shoulder(9.0) <= 1.0 && shoulder(0.8) > shoulder(0.75));
    }

    #[test]
    fn noise_has_unit_variance() {
        let draws: Vec<f32> = (0..20_000).map(|index| normal_draw(mixed(index))).collect();
        let mean = draws.iter().sum::<f32>() / draws.len() as f32;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / draws.len() as f32;
        assert!(
            mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05,
            "{mean} and {variance}"
        );
    }
}
