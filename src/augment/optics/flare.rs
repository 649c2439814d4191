//! Stray light of a bright source in or near the picture.

use rand::RngExt;

use crate::augment::photometric::Linear;
use crate::seed::SeedKey;

/// Adds the stray light of a source at `place`, as shares of width and height, which may lie
/// outside of `0..=1`: a veil over all of the picture, rays around the source, and reflections
/// between lenses on the line through the picture's centre (Hullin et al. 2011,
/// "Physically-based real-time lens flare rendering", section 3). `strength` is the light that
/// the veil adds beside the source, as a share of white.
pub(in crate::augment) fn flare(image: &mut Linear, place: [f64; 2], strength: f64, seed: u64) {
    let (width, height) = image.dimensions();
    let size = [f64::from(width), f64::from(height)];
    let unit = size[0].hypot(size[1]);
    let source = [place[0] * size[0], place[1] * size[1]];
    let mut generator = SeedKey::new(b"flare", seed).generator("lens", 0);
    // The aperture's blades: an even number gives as many rays, an odd one twice as many.
    let blades = generator.random_range(5..=8_u32);
    let rays = if blades % 2 == 0 { blades } else { 2 * blades };
    let turn = std::f64::consts::TAU * generator.random::<f64>();
    let ghosts: Vec<Ghost> = (0..7)
        .map(|_| {
            // 1 is the source, 0 the centre, -1 opposite to the source.
            let along = generator.random_range(-1.2..0.8);
            let centre =
                [0, 1].map(|axis| size[axis] / 2.0 + along * (source[axis] - size[axis] / 2.0));
            let tint: [f64; 3] = std::array::from_fn(|_| generator.random_range(0.3..1.0));
            Ghost {
                centre,
                radius: unit * generator.random_range(0.01..0.06),
                light: tint.map(|tint| (0.15 * strength * tint) as f32),
            }
        })
        .collect();
    for (y, line) in image
        .chunks_exact_mut(3 * width.max(1) as usize)
        .enumerate()
    {
        for (x, pixel) in line.chunks_exact_mut(3).enumerate() {
            let at = [x as f64 + 0.5, y as f64 + 0.5];
            let [dx, dy] = [at[0] - source[0], at[1] - source[1]];
            let distance = dx.hypot(dy) / unit;
            // The scattering of a lens falls off with nearly the square of the angle.
            let veil = strength / (1.0 + (distance / 0.08).powi(2)) + 0.15 * strength;
            let angle = dy.atan2(dx) + turn;
            let ray = (0.5 + 0.5 * (angle * f64::from(rays)).cos()).powi(24);
            let star = 0.8 * strength * ray / (1.0 + (distance / 0.05).powi(2));
            let light = (veil + star) as f32;
            // The source is the sun or a lamp: a little warmer than white.
            for (value, tint) in pixel.iter_mut().zip([1.0, 0.93, 0.82]) {
                *value += light * tint;
            }
            for ghost in &ghosts {
                ghost.add(at, pixel);
            }
        }
    }
}

/// One reflection of the aperture.
struct Ghost {
    centre: [f64; 2],
    radius: f64,
    light: [f32; 3],
}

impl Ghost {
    fn add(&self, [x, y]: [f64; 2], pixel: &mut [f32]) {
        let (dx, dy) = (x - self.centre[0], y - self.centre[1]);
        if dx.abs() > self.radius || dy.abs() > self.radius {
            return;
        }
        let share = dx.hypot(dy) / self.radius;
        if share < 1.0 {
            // A soft disc, brighter at its rim.
            let edge = ((1.0 - share) / 0.15).min(1.0);
            let profile = (edge * (0.6 + 0.4 * share)) as f32;
            for (value, light) in pixel.iter_mut().zip(self.light) {
                *value += profile * light;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn stray_light_is_added_most_beside_the_source() {
        let before = Linear::from_pixel(160, 120, Rgb([0.2; 3]));
        let mut after = before.clone();
        flare(&mut after, [0.25, 0.25], 0.5, 3);
        assert!(after.iter().zip(before.iter()).all(|(a, b)| a > b));
        let added = |x: u32, y: u32| after.get_pixel(x, y)[1] - 0.2;
        assert!(added(41, 31) > 0.4 && added(158, 118) < 0.2);
        let mut none = before.clone();
        flare(&mut none, [0.5, 0.5], 0.0, 3);
        assert_eq!(none, before);
    }
}
