//! The light from everywhere else, as rays that miss everything see it.

use std::f32::consts::PI;

use glam::{Vec2, Vec3, Vec3A};

use super::super::raster::environment::Surroundings;
use super::super::raster::octahedral::{from_square, to_square};

/// Texels along a side of the octahedron's square; those outside lie on its edges.
const SIDE: usize = 96;

/// Light is looked for in the sky's bright places where the brightest is this many times its
/// mean. Below that, the surfaces' own lobes find it as well.
const EVEN_CONTRAST: f32 = 6.0;

/// Radiance by direction, with the means to find its bright places.
#[derive(Debug)]
pub(super) struct Sky {
    texels: Vec<Vec3A>,
    /// Sums of the cells' weights, row by row; empty where the sky is even.
    sums: Vec<f32>,
}

impl Sky {
    pub(super) fn new(surroundings: &Surroundings) -> Self {
        Sky::from_radiance(|direction| surroundings.radiance(direction, 0.0))
    }

    pub(super) fn from_radiance(radiance: impl Fn(Vec3) -> Vec3) -> Self {
        let place = |index: usize| {
            let at = Vec2::new((index % SIDE) as f32, (index / SIDE) as f32);
            at / (SIDE - 1) as f32 * 2.0 - 1.0
        };
        let texels: Vec<Vec3A> = (0..SIDE * SIDE)
            .map(|index| radiance(from_square(place(index))).max(Vec3::ZERO).into())
            .collect();
        let mut sky = Sky {
            texels,
            sums: Vec::new(),
        };
        let (mut sum, mut most) = (0.0, 0.0_f32);
        let mut sums = Vec::with_capacity((SIDE - 1) * (SIDE - 1));
        for index in 0..(SIDE - 1) * (SIDE - 1) {
            let (column, row) = (index % (SIDE - 1), index / (SIDE - 1));
            let corners = [0, 1, SIDE, SIDE + 1].map(|step| sky.texels[row * SIDE + column + step]);
            let bright = corners.iter().map(|texel| texel.element_sum()).sum::<f32>() / 12.0;
            most = most.max(bright);
            sum += bright * solid_angle(cell_middle(column, row)) + 1e-12;
            sums.push(sum);
        }
        let mean = sum * cell_area_share() / (4.0 * PI);
        if most > EVEN_CONTRAST * mean {
            sky.sums = sums;
        }
        sky
    }

    /// Whether light should be looked for in its bright places.
    pub(super) fn is_uneven(&self) -> bool {
        !self.sums.is_empty()
    }

    /// Radiance from a unit direction.
    #[inline(always)]
    pub(super) fn radiance(&self, direction: Vec3) -> Vec3 {
        let at = (to_square(direction) * 0.5 + 0.5) * (SIDE - 1) as f32;
        let (column, row) = ((at.x as usize).min(SIDE - 2), (at.y as usize).min(SIDE - 2));
        let share = at - Vec2::new(column as f32, row as f32);
        let first = row * SIDE + column;
        let upper = self.texels[first].lerp(self.texels[first + 1], share.x);
        let lower = self.texels[first + SIDE].lerp(self.texels[first + SIDE + 1], share.x);
        upper.lerp(lower, share.y).into()
    }

    /// A direction by its brightness, and its density; only of an uneven sky.
    pub(super) fn sampled(&self, at: Vec2) -> (Vec3, f32) {
        let whole = self.sums.last().copied().unwrap_or(0.0);
        let aim = at.x * whole;
        let cell = self
            .sums
            .partition_point(|sum| *sum <= aim)
            .min(self.sums.len() - 1);
        let before = if cell > 0 { self.sums[cell - 1] } else { 0.0 };
        // What is left of the number within its cell is one coordinate there.
        let across = ((aim - before) / (self.sums[cell] - before)).clamp(0.0, 1.0);
        let corner = Vec2::new((cell % (SIDE - 1)) as f32, (cell / (SIDE - 1)) as f32);
        let square = (corner + Vec2::new(across, at.y)) / (SIDE - 1) as f32 * 2.0 - 1.0;
        let direction = from_square(square);
        (direction, self.density(direction))
    }

    /// The density with which `sampled` takes a direction.
    pub(super) fn density(&self, direction: Vec3) -> f32 {
        let at = to_square(direction);
        let cell = (at * 0.5 + 0.5) * (SIDE - 1) as f32;
        let (column, row) = (
            (cell.x as usize).min(SIDE - 2),
            (cell.y as usize).min(SIDE - 2),
        );
        let index = row * (SIDE - 1) + column;
        let before = if index > 0 { self.sums[index - 1] } else { 0.0 };
        let whole = self.sums.last().copied().unwrap_or(1.0);
        (self.sums[index] - before) / (whole * solid_angle(at) * cell_area_share())
    }
}

/// Area of one cell of the square -1..1.
fn cell_area_share() -> f32 {
    (2.0 / (SIDE - 1) as f32).powi(2)
}

fn cell_middle(column: usize, row: usize) -> Vec2 {
    (Vec2::new(column as f32, row as f32) + 0.5) / (SIDE - 1) as f32 * 2.0 - 1.0
}

/// Solid angle for an area of the square about a point: the octahedron's face there, seen from
/// its middle, is turned and as far off as its point.
fn solid_angle(at: Vec2) -> f32 {
    let up = 1.0 - at.x.abs() - at.y.abs();
    let below = (-up).max(0.0);
    let point = Vec3::new(at.x.abs() - below, at.y.abs() - below, up.abs());
    // A face's area is the root of three of that below it, its distance one over that root.
    1.0 / point.length().powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bright spot of about a hundredth of the sphere, over a dim rest.
    fn spot(direction: Vec3) -> Vec3 {
        let towards = Vec3::new(0.3, -0.5, 0.6).normalize();
        Vec3::splat(if direction.dot(towards) > 0.98 {
            50.0
        } else {
            0.5
        })
    }

    #[test]
    fn radiance_is_that_of_the_surroundings() {
        let sky = Sky::from_radiance(|direction| direction * 0.5 + 0.5);
        assert!(!sky.is_uneven());
        for index in 0..200 {
            let turn = Vec2::from_angle(index as f32 * 2.4);
            let z = 1.0 - (index as f32 + 0.5) / 100.0;
            let direction = (turn * (1.0 - z * z).sqrt()).extend(z);
            let error = sky.radiance(direction) - (direction * 0.5 + 0.5);
            assert!(error.abs().max_element() < 5e-3, "{direction}: {error}");
        }
    }

    #[test]
    fn bright_places_are_found_with_the_density_that_is_said() {
        let sky = Sky::from_radiance(spot);
        assert!(sky.is_uneven());
        let (side, mut sum, mut light, mut bright) = (300, 0.0, 0.0, 0);
        for index in 0..side * side {
            let unit = |step: usize| (step as f32 + 0.5) / side as f32;
            let (direction, density) =
                sky.sampled(Vec2::new(unit(index % side), unit(index / side)));
            assert!((direction.length() - 1.0).abs() < 1e-4 && density > 0.0);
            bright += usize::from(spot(direction).x > 1.0);
            sum += 1.0 / density;
            light += sky.radiance(direction).x / density;
        }
        let count = (side * side) as f32;
        // The sphere's area, and its light.
        assert!(
            (sum / count / (4.0 * PI) - 1.0).abs() < 0.02,
            "{}",
            sum / count
        );
        let expected = 4.0 * PI * 0.5 + 2.0 * PI * 0.02 * 49.5;
        assert!(
            (light / count / expected - 1.0).abs() < 0.03,
            "{} for {expected}",
            light / count
        );
        assert!(bright as f32 / count > 0.4, "{bright}");
    }

    #[test]
    fn densities_sum_to_one() {
        let sky = Sky::from_radiance(spot);
        let (rings, sectors) = (500, 800);
        let sum: f32 = (0..rings * sectors)
            .map(|index| {
                let z = 1.0 - ((index / sectors) as f32 + 0.5) / rings as f32 * 2.0;
                let turn =
                    Vec2::from_angle(((index % sectors) as f32 + 0.5) / sectors as f32 * 2.0 * PI);
                sky.density((turn * (1.0 - z * z).sqrt()).extend(z))
            })
            .sum();
        let sum = sum * 4.0 * PI / (rings * sectors) as f32;
        assert!((sum - 1.0).abs() < 0.01, "{sum}");
    }
}
