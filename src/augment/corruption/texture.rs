//! Snow and fog: random textures laid over the picture.

use rand::RngExt;

use super::blur::{motion_blur_plane, zoomed_plane};
use super::{Encoded, Plane};
use crate::augment::variates::Normals;
use crate::seed::Generator;

/// One severity of snow.
pub(super) struct Snow {
    mean: f32,
    sd: f32,
    zoom: f64,
    threshold: f32,
    radius: usize,
    sigma: f64,
    /// Share of the picture that keeps its colour.
    own: f32,
}

pub(super) const SNOW: [Snow; 5] = [
    Snow {
        mean: 0.1,
        sd: 0.3,
        zoom: 3.0,
        threshold: 0.5,
        radius: 10,
        sigma: 4.0,
        own: 0.8,
    },
    Snow {
        mean: 0.2,
        sd: 0.3,
        zoom: 2.0,
        threshold: 0.5,
        radius: 12,
        sigma: 4.0,
        own: 0.7,
    },
    Snow {
        mean: 0.55,
        sd: 0.3,
        zoom: 4.0,
        threshold: 0.9,
        radius: 12,
        sigma: 8.0,
        own: 0.7,
    },
    Snow {
        mean: 0.55,
        sd: 0.3,
        zoom: 4.5,
        threshold: 0.85,
        radius: 12,
        sigma: 8.0,
        own: 0.65,
    },
    Snow {
        mean: 0.55,
        sd: 0.3,
        zoom: 2.5,
        threshold: 0.85,
        radius: 12,
        sigma: 12.0,
        own: 0.55,
    },
];

/// Enlarged noise above a threshold, blurred along its fall, is added together with itself
/// upside down to a picture that is whitened.
pub(super) fn snow(picture: &mut Encoded, dose: &Snow, generator: &mut Generator) {
    let normals = Normals::new();
    let mut layer = picture.plane();
    for value in &mut layer.values {
        *value = dose.mean + dose.sd * normals.draw(generator);
    }
    let mut layer = zoomed_plane(&layer, dose.zoom);
    for value in &mut layer.values {
        *value = if *value < dose.threshold {
            0.0
        } else {
            value.clamp(0.0, 1.0)
        };
    }
    let angle_deg = generator.random_range(-135.0..-45.0);
    motion_blur_plane(&mut layer, dose.radius, dose.sigma, angle_deg);
    for value in &mut layer.values {
        *value = (*value * 255.0).round() / 255.0;
    }
    let flakes = layer.values.iter().zip(layer.values.iter().rev());
    for (pixel, (flake, other)) in picture.values.chunks_exact_mut(3).zip(flakes) {
        // The grey of BT.601.
        let grey = 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2];
        for value in pixel {
            let white = value.max(grey * 1.5 + 0.5);
            *value = dose.own * *value + (1.0 - dose.own) * white + flake + other;
        }
    }
}

/// Adds a fractal and scales back to the range that the picture had.
pub(super) fn fog(picture: &mut Encoded, strength: f32, decay: f32, generator: &mut Generator) {
    let side = picture.width.max(picture.height).next_power_of_two();
    let most = picture.values.iter().copied().fold(0.0, f32::max);
    let clouds = plasma(side, decay, generator);
    let scale = if most > 0.0 {
        most / (most + strength)
    } else {
        0.0
    };
    for (y, line) in picture
        .values
        .chunks_exact_mut(3 * picture.width)
        .enumerate()
    {
        let clouds = &clouds.values[y * side..];
        for (pixel, cloud) in line.chunks_exact_mut(3).zip(clouds) {
            for value in pixel {
                *value = (*value + strength * cloud) * scale;
            }
        }
    }
}

/// A square fractal of values from 0 to 1 by the diamond-square algorithm (Fournier, Fussell and
/// Carpenter 1982) on a torus. `side` is a power of two; the random part shrinks by `decay`
/// each time the grid is halved.
pub(super) fn plasma(side: usize, decay: f32, generator: &mut Generator) -> Plane {
    let mut map = Plane {
        width: side,
        height: side,
        values: vec![0.0; side * side],
    };
    let (mut step, mut wobble) = (side, 100.0_f32);
    while step >= 2 {
        let half = step / 2;
        let mut place = |map: &mut Plane, x: usize, y: usize, corners: [[usize; 2]; 4]| {
            let at = |[x, y]: [usize; 2]| map.values[y % side * side + x % side];
            let mean = corners.into_iter().map(at).sum::<f32>() / 4.0;
            map.values[y * side + x] =
                mean + wobble * wobble * generator.random_range(-1.0..1.0_f32);
        };
        for y in (half..side).step_by(step) {
            for x in (half..side).step_by(step) {
                let [left, top] = [x - half, y - half];
                let corners = [
                    [left, top],
                    [left + step, top],
                    [left, top + step],
                    [left + step, top + step],
                ];
                place(&mut map, x, y, corners);
            }
        }
        for y in (0..side).step_by(half) {
            // On rows of the old grid between its nodes, on rows of the new one at them.
            let start = if y % step == 0 { half } else { 0 };
            for x in (start..side).step_by(step) {
                let before = |place: usize| place + side - half;
                let corners = [[before(x), y], [x + half, y], [x, before(y)], [x, y + half]];
                place(&mut map, x, y, corners);
            }
        }
        step = half;
        wobble /= decay;
    }
    let least = map.values.iter().copied().fold(f32::INFINITY, f32::min);
    let most = map.values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let range = if most > least { most - least } else { 1.0 };
    for value in &mut map.values {
        *value = (*value - least) / range;
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::SeedKey;

    #[test]
    fn a_fractal_fills_its_square_from_0_to_1_and_a_faster_decay_is_smoother() {
        let roughness = |decay: f32| {
            let mut generator = SeedKey::new(b"test", 1).generator("plasma", 0);
            let map = plasma(64, decay, &mut generator);
            let least = map.values.iter().copied().fold(1.0, f32::min);
            let most = map.values.iter().copied().fold(0.0, f32::max);
            assert_eq!((least, most), (0.0, 1.0));
            let zeros = map.values.iter().filter(|value| **value == 0.0).count();
            assert!(zeros < 10, "every place is filled");
            map.values
                .windows(2)
                .map(|pair| (pair[0] - pair[1]).abs())
                .sum::<f32>()
        };
        assert!(roughness(3.0) < roughness(1.5));
        let mut generator = SeedKey::new(b"test", 1).generator("plasma", 0);
        assert_eq!(plasma(1, 2.0, &mut generator).values, [0.0]);
    }
}
