//! What sticks to the front lens.

use image::Rgb;
use image::imageops::{self, FilterType};
use rand::RngExt;

use crate::augment::photometric::Linear;
use crate::seed::SeedKey;

/// Dust and smudges on the front lens, far out of focus: soft spots that take light away and
/// scatter the picture's mean light in its place. `amount` in `0..=1` gives up to 60 spots.
pub(in crate::augment) fn lens_dirt(image: &mut Linear, amount: f64, seed: u64) {
    let (width, height) = image.dimensions();
    let mut generator = SeedKey::new(b"lens dirt", seed).generator("spots", 0);
    let mean = mean_light(image);
    let side = f64::from(width.max(height));
    let count = (60.0 * amount).round() as usize;
    for _ in 0..count {
        let centre =
            [f64::from(width), f64::from(height)].map(|side| side * generator.random::<f64>());
        // Many small ones and few large ones.
        let radius = side * 0.008 * (10.0_f64).powf(generator.random::<f64>());
        let stretch: f64 = generator.random_range(0.7..1.4);
        let density = amount.sqrt() * generator.random_range(0.1..0.5);
        for_each_in_disc(
            image,
            centre,
            radius * stretch.max(1.0),
            |[dx, dy], pixel| {
                let share = (dx / stretch).hypot(dy) / radius;
                let cover = density * smooth_step((1.0 - share) / 0.7);
                for (value, mean) in pixel.iter_mut().zip(mean) {
                    // A third of what is taken comes back as scattered light.
                    *value += cover as f32 * (0.35 * mean - *value * 0.8);
                }
            },
        );
    }
}

/// Water drops on the front lens: each shows the scene small, upside down and out of focus
/// behind a dark rim.
pub(in crate::augment) fn drops(image: &mut Linear, count: usize, radius_px: f64, seed: u64) {
    let (width, height) = image.dimensions();
    let mut generator = SeedKey::new(b"drops", seed).generator("drops", 0);
    let small = [width, height].map(|side| side.div_ceil(8));
    let blurred = imageops::resize(image, small[0], small[1], FilterType::Triangle);
    for _ in 0..count {
        let centre =
            [f64::from(width), f64::from(height)].map(|side| side * generator.random::<f64>());
        let radius = radius_px * generator.random_range(0.5..1.5);
        let flat: f64 = generator.random_range(0.85..1.15);
        for_each_in_disc(image, centre, radius * 1.2, |[dx, dy], pixel| {
            let share = (dx * flat).hypot(dy / flat) / radius;
            if share >= 1.0 {
                return;
            }
            // A ball lens: the further out, the more it bends, up to the whole field.
            let bend = 6.0 * (1.0 + share * share);
            let from = [0, 1].map(|axis| {
                let place = centre[axis] - [dx, dy][axis] * bend;
                let last = small[axis] - 1;
                ((place / 8.0).max(0.0) as u32).min(last)
            });
            let seen: Rgb<f32> = *blurred.get_pixel(from[0], from[1]);
            // Less light comes through the rim, and the edge is out of focus.
            let rim = 1.0 - 0.75 * smooth_step((share - 0.6) / 0.4);
            let cover = smooth_step((1.0 - share) / 0.25) as f32;
            for (value, seen) in pixel.iter_mut().zip(seen.0) {
                *value += cover * (seen * rim as f32 - *value);
            }
        });
    }
}

fn mean_light(image: &Linear) -> [f32; 3] {
    let count = image.pixels().len().max(1) as f64;
    let mut sum = [0.0_f64; 3];
    for pixel in image.pixels() {
        for (sum, value) in sum.iter_mut().zip(pixel.0) {
            *sum += f64::from(value);
        }
    }
    sum.map(|sum| (sum / count) as f32)
}

/// 0 below 0, 1 above 1, and smooth between.
fn smooth_step(t: f64) -> f64 {
    let t = t.clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Changes the pixels within `radius` of `centre`, given their offset from it.
fn for_each_in_disc(
    image: &mut Linear,
    centre: [f64; 2],
    radius: f64,
    change: impl Fn([f64; 2], &mut [f32; 3]),
) {
    let size = [image.width(), image.height()];
    let [columns, rows] = [0, 1].map(|axis| {
        let bound = |place: f64| place.clamp(0.0, f64::from(size[axis])) as u32;
        bound((centre[axis] - radius).floor())..bound((centre[axis] + radius).ceil())
    });
    for y in rows {
        for x in columns.clone() {
            let offset = [
                f64::from(x) + 0.5 - centre[0],
                f64::from(y) + 0.5 - centre[1],
            ];
            if offset[0].hypot(offset[1]) < radius {
                change(offset, &mut image.get_pixel_mut(x, y).0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_dirt_takes_more_light_and_changes_more_pixels() {
        let clean = Linear::from_fn(160, 120, |x, _| Rgb([0.3 + x as f32 / 400.0; 3]));
        let mut last = 0.0;
        for amount in [0.1, 0.4, 1.0] {
            let mut dirty = clean.clone();
            lens_dirt(&mut dirty, amount, 7);
            let lost: f64 = clean
                .iter()
                .zip(dirty.iter())
                .map(|(a, b)| f64::from(a - b))
                .sum();
            assert!(lost > last, "{amount}: {lost} after {last}");
            assert!(dirty.iter().all(|value| *value >= 0.0));
            last = lost;
        }
    }

    /// A picture that is dark above and bright below: a drop shows it upside down.
    #[test]
    fn a_drop_shows_the_scene_upside_down() {
        let scene = Linear::from_fn(400, 400, |_, y| Rgb([if y < 200 { 0.1 } else { 0.9 }; 3]));
        let mut wet = scene.clone();
        drops(&mut wet, 40, 14.0, 2);
        let brighter = |rows: std::ops::Range<u32>| {
            rows.flat_map(|y| (0..400).map(move |x| (x, y)))
                .filter(|(x, y)| wet.get_pixel(*x, *y)[0] > scene.get_pixel(*x, *y)[0] + 0.2)
                .count()
        };
        assert!(
            brighter(100..200) > 50,
            "drops above the edge show the bright part"
        );
        assert_eq!(
            brighter(200..400),
            0,
            "drops below show the dark part, or a rim"
        );
    }
}
