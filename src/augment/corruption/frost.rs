//! Frost on a pane.

use rand::RngExt;

use super::Encoded;
use super::texture::plasma;
use crate::seed::Generator;

/// Adds a share of drawn ice to a share of the picture.
///
/// Published work lays photographs of frost over the picture. Here the ice is drawn: feathers
/// that grow from the rim, each a stem with branches at 60 degrees, over a milky pane that
/// is thicker towards the rim.
pub(super) fn frost(picture: &mut Encoded, own: f32, ice: f32, generator: &mut Generator) {
    let (width, height) = (picture.width, picture.height);
    let side = width.max(height).next_power_of_two();
    let pane = plasma(side, 1.9, generator);
    let mut crystals = picture.plane().values;
    let mut pen = Pen {
        crystals: &mut crystals,
        size: [width, height],
        generator,
    };
    pen.grow();
    // Cold light: the blue of shade.
    let tint = [0.86, 0.95, 1.0];
    for (y, line) in picture.values.chunks_exact_mut(3 * width).enumerate() {
        let down = (2.0 * (y as f32 + 0.5) / height as f32 - 1.0).abs();
        for (x, pixel) in line.chunks_exact_mut(3).enumerate() {
            let across = (2.0 * (x as f32 + 0.5) / width as f32 - 1.0).abs();
            let rim = across.max(down);
            let cloud = pane.values[y * side + x];
            let milk = 0.25 + 0.45 * cloud + 0.3 * rim * rim * cloud;
            let white = (0.8 * milk + 0.5 * crystals[y * width + x]).min(1.0);
            for (value, tint) in pixel.iter_mut().zip(tint) {
                *value = own * *value + ice * white * tint;
            }
        }
    }
}

/// Draws crystals.
struct Pen<'a> {
    crystals: &'a mut [f32],
    size: [usize; 2],
    generator: &'a mut Generator,
}

impl Pen<'_> {
    fn grow(&mut self) {
        let [width, height] = self.size.map(|side| side as f32);
        let shorter = width.min(height);
        // So many that feathers cover the pane at any size.
        for _ in 0..90 {
            // From the rim inwards, denser near the corners.
            let along: f32 = self.generator.random();
            let inset = shorter * 0.3 * self.generator.random::<f32>().powi(2);
            let (from, inwards) = match self.generator.random_range(0..4) {
                0 => ([along * width, inset], 90.0),
                1 => ([along * width, height - inset], -90.0),
                2 => ([inset, along * height], 0.0),
                _ => ([width - inset, along * height], 180.0_f32),
            };
            let direction = inwards + self.generator.random_range(-60.0..60.0_f32);
            let length = shorter * self.generator.random_range(0.08..0.4_f32);
            let light = self.generator.random_range(0.4..1.0_f32);
            self.feather(from, direction, length, light);
        }
    }

    fn feather(&mut self, from: [f32; 2], direction_deg: f32, length: f32, light: f32) {
        self.stroke(from, direction_deg, length, light);
        let (sin, cos) = direction_deg.to_radians().sin_cos();
        let gap = (length / 22.0).max(2.5);
        let count = (length / gap) as usize;
        for branch in 1..count {
            let along = branch as f32 * gap;
            let place = [from[0] + cos * along, from[1] + sin * along];
            // Shorter towards the tip, like a feather.
            let reach = 0.35 * (length - along) * self.generator.random_range(0.6..1.0_f32);
            for side in [-60.0, 60.0] {
                self.stroke(place, direction_deg + side, reach, 0.7 * light);
            }
        }
    }

    /// A line of one pixel that fades towards its end.
    fn stroke(&mut self, from: [f32; 2], direction_deg: f32, length: f32, light: f32) {
        let (sin, cos) = direction_deg.to_radians().sin_cos();
        for step in 0..length as usize {
            let along = step as f32;
            let (x, y) = (from[0] + cos * along, from[1] + sin * along);
            let (left, top) = (x.floor(), y.floor());
            let (u, v) = (x - left, y - top);
            let ink = light * (1.0 - along / length);
            for (dx, dy, share) in [
                (0.0, 0.0, (1.0 - u) * (1.0 - v)),
                (1.0, 0.0, u * (1.0 - v)),
                (0.0, 1.0, (1.0 - u) * v),
                (1.0, 1.0, u * v),
            ] {
                let (x, y) = (left + dx, top + dy);
                if x >= 0.0 && y >= 0.0 && x < self.size[0] as f32 && y < self.size[1] as f32 {
                    let place = y as usize * self.size[0] + x as usize;
                    let value = &mut self.crystals[place];
                    *value = (*value + ink * share).min(1.0);
                }
            }
        }
    }
}
