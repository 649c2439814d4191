//! Lenses and their motion, in linear light: blur, aberrations, stray light and dirt.

mod dirt;
mod disc;
mod flare;

use image::Rgb;
use rand::RngExt;
use rand_distr::Distribution as _;

use super::blur::{self, Psf};
use super::photometric::Linear;
use super::transform::DepthMap;
use crate::seed::SeedKey;

pub(super) use dirt::{drops, lens_dirt};
pub(super) use disc::defocus;
pub(super) use flare::flare;

/// Blur that follows distance: the circle of confusion of a thin lens has the radius
/// `strength_px * |1 - focus_m / distance|`, so that `strength_px` is that of what lies at
/// infinity. At most 32 pixels. Distances of 0 are at infinity.
///
/// The picture is blurred as a whole by some radii, and each pixel is blended from the two
/// next to its own. A pixel takes no light from nearer layers than its own that are sharper,
/// as a blurred background would be blurred over a sharp object in front of it.
pub(super) fn defocus_by_depth(
    image: &Linear,
    depth: &DepthMap,
    focus_m: f64,
    strength_px: f64,
) -> Linear {
    const MAX_RADIUS_PX: f64 = 32.0;
    const LAYERS: usize = 7;
    let radius = |metres: f32| {
        let blur = if metres > 0.0 {
            1.0 - focus_m / f64::from(metres)
        } else {
            1.0
        };
        (strength_px * blur.abs()).min(MAX_RADIUS_PX)
    };
    let radii: Vec<f64> = depth.iter().map(|metres| radius(*metres)).collect();
    let largest = radii.iter().copied().fold(0.0, f64::max);
    let smallest = radii.iter().copied().fold(MAX_RADIUS_PX, f64::min);
    if largest < 0.25 || radii.len() != image.pixels().len() {
        return image.clone();
    }
    let step = (largest - smallest) / (LAYERS - 1) as f64;
    let mut blurred = Linear::new(image.width(), image.height());
    for layer in 0..LAYERS {
        let layer_radius = smallest + step * layer as f64;
        // What is sharper than the layer is left out of it, and its place filled from around.
        let mut weighted = image.clone();
        let mut weights = image.clone();
        for ((value, weight), own) in weighted.pixels_mut().zip(weights.pixels_mut()).zip(&radii) {
            let share =
                (1.0 - (layer_radius - own) / (step.max(1e-9) * 1.5)).clamp(1e-3, 1.0) as f32;
            *value = Rgb(value.0.map(|v| v * share));
            *weight = Rgb([share; 3]);
        }
        let weighted = defocus(&weighted, layer_radius);
        let weights = defocus(&weights, layer_radius);
        let pixels = weighted.pixels().zip(weights.pixels());
        for (((value, weight), own), to) in pixels.zip(&radii).zip(blurred.pixels_mut()) {
            let apart = (own - layer_radius).abs() / step.max(1e-9);
            let share = (1.0 - apart).max(0.0) as f32;
            let share = if step == 0.0 && layer > 0 { 0.0 } else { share };
            for channel in 0..3 {
                to[channel] += share * value[channel] / weight[0];
            }
        }
    }
    blurred
}

/// Blur of a hand that trembles: the image moves along a smooth random path whose extent is
/// `length_px`. The path is a sum of three sines an axis with random phases, whose amplitude
/// falls with their frequency, as tremor's does between 1 and 10 Hz.
pub(super) fn camera_shake(image: &Linear, length_px: f64, seed: u64) -> Linear {
    blur::convolve(image, &shake(length_px, seed))
}

fn shake(length_px: f64, seed: u64) -> Psf {
    const PLACES: usize = 512;
    let mut generator = SeedKey::new(b"camera shake", seed).generator("path", 0);
    let mut axis = || {
        let waves: Vec<[f64; 3]> = (1..=3)
            .map(|harmonic| {
                let frequency = f64::from(harmonic) * (0.4 + 0.3 * generator.random::<f64>());
                let amplitude: f64 = rand_distr::StandardNormal.sample(&mut generator);
                let phase = std::f64::consts::TAU * generator.random::<f64>();
                [frequency, amplitude / f64::from(harmonic), phase]
            })
            .collect();
        (0..PLACES)
            .map(|place| {
                let time = place as f64 / PLACES as f64;
                let wave = |[frequency, amplitude, phase]: &[f64; 3]| {
                    amplitude * (std::f64::consts::TAU * frequency * time + phase).sin()
                };
                waves.iter().map(wave).sum()
            })
            .collect::<Vec<f64>>()
    };
    let (x, y) = (axis(), axis());
    let range = |values: &[f64]| {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (low, high)
    };
    let (range_x, range_y) = (range(&x), range(&y));
    let extent = (range_x.1 - range_x.0).hypot(range_y.1 - range_y.0);
    let scale = if extent > 0.0 {
        length_px / extent
    } else {
        0.0
    };
    let centre = |(low, high): (f64, f64)| (low + high) / 2.0;
    let mut weights = std::collections::BTreeMap::new();
    for (x, y) in x.iter().zip(&y) {
        let x = (x - centre(range_x)) * scale;
        let y = (y - centre(range_y)) * scale;
        // Each moment's light is shared among the four nearest pixels.
        let (left, top) = (x.floor(), y.floor());
        let (u, v) = (x - left, y - top);
        for (dx, dy, share) in [
            (0, 0, (1.0 - u) * (1.0 - v)),
            (1, 0, u * (1.0 - v)),
            (0, 1, (1.0 - u) * v),
            (1, 1, u * v),
        ] {
            let place = (left as i64 + dx, top as i64 + dy);
            *weights.entry(place).or_insert(0.0) += share / PLACES as f64;
        }
    }
    let weights = weights.into_iter().filter(|(_, weight)| *weight > 0.0);
    weights
        .map(|(place, weight)| (place, weight as f32))
        .collect()
}

/// Lateral chromatic aberration: red and blue are magnified about the centre. Green stays.
pub(super) fn chromatic_aberration(image: &Linear, red_scale: f64, blue_scale: f64) -> Linear {
    let (width, height) = image.dimensions();
    let mut out = image.clone();
    for (channel, scale) in [(0, red_scale), (2, blue_scale)] {
        let places = |side: u32, stride: usize| -> Vec<(usize, usize, f32)> {
            let (centre, last) = (f64::from(side) / 2.0, f64::from(side) - 1.0);
            (0..side)
                .map(|place| {
                    let from = (f64::from(place) + 0.5 - centre) / scale + centre - 0.5;
                    let from = from.clamp(0.0, last);
                    let low = from as usize;
                    let next = (low + 1).min(side as usize - 1);
                    (stride * low, stride * next, (from - low as f64) as f32)
                })
                .collect()
        };
        let stride = 3 * width as usize;
        let (columns, rows) = (places(width, 1), places(height, stride));
        let values = image.as_raw();
        // First down each column of the channel, which runs along memory, then along the row.
        let mut mixed = vec![0.0; width as usize];
        for (line, (above, below, v)) in out.chunks_exact_mut(stride.max(1)).zip(&rows) {
            let (above, below) = (&values[*above..][..stride], &values[*below..][..stride]);
            let pixels = above
                .as_chunks::<3>()
                .0
                .iter()
                .zip(below.as_chunks::<3>().0);
            for (mixed, (a, b)) in mixed.iter_mut().zip(pixels) {
                *mixed = a[channel] + v * (b[channel] - a[channel]);
            }
            let pixels = line.as_chunks_mut::<3>().0.iter_mut();
            for (pixel, (left, right, u)) in pixels.zip(&columns) {
                let (a, b) = (mixed[*left], mixed[*right]);
                pixel[channel] = a + u * (b - a);
            }
        }
    }
    out
}

/// Light falls off towards the corners as the fourth power of the cosine of the field angle,
/// which is chosen such that a corner keeps `1 - strength`.
pub(super) fn vignette(image: &mut Linear, strength: f64) {
    let (width, height) = image.dimensions();
    let centre = [f64::from(width) / 2.0, f64::from(height) / 2.0];
    let corner = centre[0].hypot(centre[1]).max(0.5);
    // cos^4 = 1 / (1 + tan^2)^2.
    let tan2 = (1.0 - strength.min(0.999)).powf(-0.5) - 1.0;
    for (y, line) in image
        .chunks_exact_mut(3 * width.max(1) as usize)
        .enumerate()
    {
        let dy = y as f64 + 0.5 - centre[1];
        for (x, pixel) in line.chunks_exact_mut(3).enumerate() {
            let dx = x as f64 + 0.5 - centre[0];
            let r2 = (dx * dx + dy * dy) / (corner * corner);
            let kept = (1.0 + r2 * tan2).powi(-2) as f32;
            for value in pixel {
                *value *= kept;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(image: &Linear) -> f64 {
        image.iter().map(|value| f64::from(*value)).sum()
    }

    /// A bright point on black, far from the border.
    fn point() -> Linear {
        let mut image = Linear::new(121, 101);
        image.put_pixel(60, 50, Rgb([100.0; 3]));
        image
    }

    #[test]
    fn a_trembling_hand_keeps_the_light_and_the_stated_extent() {
        for seed in 0..20 {
            let psf = shake(20.0, seed);
            let total: f32 = psf.iter().map(|(_, weight)| weight).sum();
            assert!((total - 1.0).abs() < 1e-4);
            let extent = |axis: fn(&(i64, i64)) -> i64| {
                let places = psf.iter().map(|(place, _)| axis(place));
                (places.clone().max().unwrap() - places.min().unwrap()) as f64
            };
            let diagonal = extent(|p| p.0).hypot(extent(|p| p.1));
            assert!((18.0..=23.0).contains(&diagonal), "{seed}: {diagonal}");
        }
        let out = camera_shake(&point(), 20.0, 3);
        assert!((sum(&out) - 300.0).abs() < 0.1);
        assert_ne!(shake(20.0, 1), shake(20.0, 2));
    }

    /// The edge of a bright square 50 pixels off the centre moves by 2 % of that in red.
    #[test]
    fn red_and_blue_are_magnified_about_the_centre() {
        let image = Linear::from_fn(200, 100, |x, _| Rgb([if x < 150 { 1.0 } else { 0.0 }; 3]));
        let out = chromatic_aberration(&image, 1.02, 0.98);
        let edge =
            |channel: usize| -> f32 { (0..200).map(|x| out.get_pixel(x, 50)[channel]).sum() };
        assert!((edge(0) - 151.0).abs() < 0.05, "{}", edge(0));
        assert!((edge(1) - 150.0).abs() < 1e-3);
        assert!((edge(2) - 149.0).abs() < 0.05);
    }

    #[test]
    fn a_corner_keeps_what_the_strength_leaves() {
        let mut image = Linear::from_pixel(400, 300, Rgb([1.0; 3]));
        vignette(&mut image, 0.6);
        assert!((image.get_pixel(0, 0)[0] - 0.4).abs() < 0.01);
        assert!((image.get_pixel(200, 150)[0] - 1.0).abs() < 0.01);
        assert!(image.get_pixel(100, 150)[0] < image.get_pixel(150, 150)[0]);
    }

    /// A sharp white half in front of a blurred black one keeps its edge: the far side does
    /// not get its light, and the near side stays white.
    #[test]
    fn what_is_in_focus_stays_sharp_before_a_blurred_background() {
        let image = Linear::from_fn(80, 40, |x, y| {
            let texture = ((x + y) % 2) as f32;
            Rgb([if x < 40 { 1.0 } else { 0.5 * texture }; 3])
        });
        let depth = DepthMap::from_fn(80, 40, |x, _| image::Luma([if x < 40 { 1.0 } else { 0.0 }]));
        let out = defocus_by_depth(&image, &depth, 1.0, 6.0);
        assert!((out.get_pixel(39, 20)[0] - 1.0).abs() < 1e-3);
        let background: Vec<f32> = (46..70).map(|x| out.get_pixel(x, 20)[0]).collect();
        assert!(
            background.iter().all(|value| (value - 0.25).abs() < 0.05),
            "{background:?}"
        );
        let none = defocus_by_depth(&image, &depth, 1.0, 0.1);
        assert_eq!(none, image);
    }

    #[test]
    fn pictures_of_one_pixel_are_taken() {
        for (width, height) in [(1, 1), (1, 9), (7, 1)] {
            let mut image = Linear::from_pixel(width, height, Rgb([0.5; 3]));
            let depth = DepthMap::from_pixel(width, height, image::Luma([3.0]));
            let whole = defocus_by_depth(&image, &depth, 1.0, 30.0);
            assert!(whole.iter().all(|value| (value - 0.5).abs() < 1e-3));
            assert!(
                chromatic_aberration(&image, 1.01, 0.99)
                    .iter()
                    .all(|v| v.is_finite())
            );
            camera_shake(&image, 30.0, 1);
            flare(&mut image, [0.3, 0.2], 0.5, 1);
            lens_dirt(&mut image, 1.0, 1);
            drops(&mut image, 5, 8.0, 1);
            vignette(&mut image, 1.0);
            assert!(image.iter().all(|value| value.is_finite() && *value >= 0.0));
        }
    }
}
