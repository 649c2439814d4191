//! What hangs in the air between scene and lens, in linear light.

mod particles;

use image::{Luma, Rgb};
use rand::RngExt;

use super::photometric::{self, Linear};
use super::transform::DepthMap;
use crate::seed::SeedKey;

pub(super) use particles::{Rain, Snow, rain, snow};

/// Distances over a flat ground for a picture without any: a camera sees the horizon at the
/// share `horizon` of the height from above, and what is at the lower edge is `near_m` away.
/// Above the horizon nothing is, which is 0. The distance of the ground falls with the angle
/// below the horizon.
pub(super) fn ground_distances([width, height]: [u32; 2], near_m: f64, horizon: f64) -> DepthMap {
    let rows: Vec<f32> = (0..height)
        .map(|y| {
            let below = (f64::from(y) + 0.5) / f64::from(height) - horizon;
            if below > 0.0 {
                (near_m * (1.0 - horizon) / below) as f32
            } else {
                0.0
            }
        })
        .collect();
    DepthMap::from_fn(width, height, |_, y| Luma([rows[y as usize]]))
}

/// Fog of an even light: what is `d` metres away keeps `exp(-3.912 d / visibility_m)` of its
/// light and gets the rest from the fog (Koschmieder 1924; at the visibility, 2 % of the
/// contrast are left). `airlight` is the fog's own light. `patchiness` in `0..=1` varies the
/// density smoothly over the picture, by up to that share.
pub(super) fn fog(
    image: &mut Linear,
    depth: &DepthMap,
    visibility_m: f64,
    airlight: f64,
    patchiness: f64,
    seed: u64,
) {
    if depth.dimensions() != image.dimensions() {
        return;
    }
    let density = (-3.912 / visibility_m) as f32;
    let airlight = airlight as f32;
    let clouds = Clouds::new(image.dimensions().into(), patchiness as f32, seed);
    let width = image.width().max(1) as usize;
    let lines = image
        .chunks_exact_mut(3 * width)
        .zip(depth.chunks_exact(width));
    for (y, (line, distances)) in lines.enumerate() {
        let row = clouds.row(y);
        for ((pixel, metres), cloud) in line.chunks_exact_mut(3).zip(distances).zip(row) {
            let kept = if *metres > 0.0 {
                (density * metres * cloud).exp()
            } else {
                0.0
            };
            for value in pixel {
                *value = airlight + kept * (*value - airlight);
            }
        }
    }
}

/// Smooth random factors around 1: two octaves of bilinear noise.
struct Clouds {
    width: usize,
    /// Nodes a row, in both directions.
    nodes: usize,
    size: [f32; 2],
    values: Vec<f32>,
}

impl Clouds {
    const NODES: usize = 8;

    fn new([width, height]: [u32; 2], patchiness: f32, seed: u64) -> Self {
        let mut generator = SeedKey::new(b"fog", seed).generator("patches", 0);
        let count = (Self::NODES + 1) * (Self::NODES + 1);
        let value = |_| 1.0 + patchiness * generator.random_range(-1.0..1.0_f32);
        Clouds {
            width: width as usize,
            nodes: Self::NODES,
            size: [width as f32, height as f32],
            values: (0..count).map(value).collect(),
        }
    }

    fn row(&self, y: usize) -> impl Iterator<Item = f32> + '_ {
        let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
        let stride = self.nodes + 1;
        let place = (y as f32 + 0.5) / self.size[1] * self.nodes as f32;
        let (j, v) = ((place as usize).min(self.nodes - 1), smooth(place.fract()));
        let step = self.nodes as f32 / self.size[0];
        (0..self.width).map(move |x| {
            let place = (x as f32 + 0.5) * step;
            let (i, u) = ((place as usize).min(self.nodes - 1), smooth(place.fract()));
            let at = |i: usize, j: usize| self.values[j * stride + i];
            let above = at(i, j) + u * (at(i + 1, j) - at(i, j));
            let below = at(i, j + 1) + u * (at(i + 1, j + 1) - at(i, j + 1));
            above + v * (below - above)
        })
    }
}

/// Low sun from a side: its half of the picture turns to the colour of 3,200 K and brighter,
/// the other to the blue of the sky, and a warm veil lies around it. `x` is the sun's place
/// from 0, left, to 1, right; `strength` is in `0..=1`.
pub(super) fn low_sun(image: &mut Linear, x: f64, strength: f64) {
    let (width, height) = image.dimensions();
    let warm = photometric::colour_temperature_gains(3200.0, 0.0);
    let cool = photometric::colour_temperature_gains(9500.0, 0.0);
    for (row, line) in image
        .chunks_exact_mut(3 * width.max(1) as usize)
        .enumerate()
    {
        let down = (row as f64 + 0.5) / f64::from(height);
        for (column, pixel) in line.chunks_exact_mut(3).enumerate() {
            let across = (column as f64 + 0.5) / f64::from(width);
            let away = (across - x).abs();
            let sunny = strength * (1.0 - away).max(0.0);
            let veil = 0.25 * strength / (1.0 + ((across - x).hypot(down - 0.1) / 0.35).powi(2));
            for (channel, value) in pixel.iter_mut().enumerate() {
                let (warm, cool) = (warm[channel], cool[channel]);
                let light = sunny * (1.4 * warm) + (strength - sunny) * (0.55 * cool);
                let gain = 1.0 - strength + light;
                *value = (f64::from(*value) * gain + veil * warm) as f32;
            }
        }
    }
}

/// Light of what is bright in a picture, such as the sky: the mean of the brightest tenth.
fn bright_light(image: &Linear) -> [f32; 3] {
    let mut pixels: Vec<Rgb<f32>> = image.pixels().step_by(17).copied().collect();
    if pixels.is_empty() {
        return [0.0; 3];
    }
    let luminance = |pixel: &Rgb<f32>| 0.2126 * pixel[0] + 0.7152 * pixel[1] + 0.0722 * pixel[2];
    let count = pixels.len().div_ceil(10);
    pixels.select_nth_unstable_by(count - 1, |a, b| luminance(b).total_cmp(&luminance(a)));
    let mut sum = [0.0_f64; 3];
    for pixel in &pixels[..count] {
        for (sum, value) in sum.iter_mut().zip(pixel.0) {
            *sum += f64::from(value);
        }
    }
    sum.map(|sum| (sum / count as f64) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At the visibility, 2 % of the contrast between black and white are left.
    #[test]
    fn fog_leaves_two_percent_of_the_contrast_at_the_visibility() {
        let mut image = Linear::from_fn(40, 20, |x, _| Rgb([(x % 2) as f32; 3]));
        let depth = DepthMap::from_fn(40, 20, |_, y| {
            Luma([[0.0, 100.0, 200.0, 50.0][y as usize % 4]])
        });
        fog(&mut image, &depth, 200.0, 0.7, 0.0, 1);
        let contrast = |y: u32| image.get_pixel(1, y)[0] - image.get_pixel(0, y)[0];
        assert!((contrast(2) - 0.02).abs() < 1e-4);
        assert!((contrast(1) - 0.02_f32.sqrt()).abs() < 1e-4);
        assert_eq!(
            image.get_pixel(5, 0).0,
            [0.7; 3],
            "nothing is seen at infinity"
        );
        let mut patchy = Linear::from_pixel(40, 20, Rgb([0.0; 3]));
        let even = DepthMap::from_pixel(40, 20, Luma([30.0]));
        fog(&mut patchy, &even, 200.0, 0.7, 0.5, 1);
        let values: Vec<f32> = patchy.pixels().map(|pixel| pixel[0]).collect();
        let spread = values.iter().fold(0.0_f32, |a, b| a.max(*b))
            - values.iter().fold(1.0_f32, |a, b| a.min(*b));
        assert!(spread > 0.05, "{spread}");
    }

    /// With the horizon at half the height, what is half way down to the lower edge is twice
    /// as far as the edge.
    #[test]
    fn the_ground_is_further_away_towards_the_horizon() {
        let depth = ground_distances([3, 1000], 5.0, 0.5);
        let at = |y: u32| depth.get_pixel(1, y)[0];
        assert!((at(999) - 5.0).abs() < 0.01);
        assert!((at(749) - 10.0).abs() < 0.05);
        assert_eq!(at(400), 0.0);
    }

    #[test]
    fn low_sun_warms_its_side_and_cools_the_other() {
        let mut image = Linear::from_pixel(100, 60, Rgb([0.3; 3]));
        low_sun(&mut image, 0.0, 0.8);
        let ratio = |x: u32| image.get_pixel(x, 40)[0] / image.get_pixel(x, 40)[2];
        assert!(ratio(5) > 1.5 && ratio(5) > ratio(50) && ratio(50) > ratio(95));
        assert!(image.get_pixel(5, 40)[1] > image.get_pixel(95, 40)[1]);
        let before = Linear::from_pixel(10, 10, Rgb([0.3; 3]));
        let mut none = before.clone();
        low_sun(&mut none, 0.5, 0.0);
        assert!(
            none.iter()
                .zip(before.iter())
                .all(|(a, b)| (a - b).abs() < 1e-6)
        );
    }
}
