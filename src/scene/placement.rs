//! Where objects lie: rectangles on the ground that share no area.

use glam::{Vec2, Vec3};
use rand::RngExt;

use super::spec::PlacementSpec;
use crate::seed::Generator;

/// Attempts to find room for one object before it is left out.
const PLACEMENT_ATTEMPTS: usize = 60;

/// The rectangle on the ground that an object covers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Footprint {
    pub centre: Vec2,
    pub half: Vec2,
    pub yaw: f32,
}

impl Footprint {
    /// Whether two rectangles share area, by the separating axis theorem.
    fn overlaps(&self, other: &Footprint) -> bool {
        let between = other.centre - self.centre;
        let axes = |f: &Footprint| {
            let (sin, cos) = f.yaw.sin_cos();
            [Vec2::new(cos, sin), Vec2::new(-sin, cos)]
        };
        let reach = |f: &Footprint, axis: Vec2| {
            let [u, v] = axes(f);
            f.half.x * u.dot(axis).abs() + f.half.y * v.dot(axis).abs()
        };
        let mut all = axes(self).into_iter().chain(axes(other));
        all.all(|axis| between.dot(axis).abs() < reach(self, axis) + reach(other, axis))
    }
}

/// A free place in the area for something of these half extents, or `None` after
/// [`PLACEMENT_ATTEMPTS`]. `neighbours` are those of `taken` that it may lie close to.
pub(super) fn find_room(
    placement: &PlacementSpec,
    half_extents: Vec3,
    taken: &[Footprint],
    neighbours: std::ops::Range<usize>,
    generator: &mut Generator,
) -> Option<Footprint> {
    let area = Vec2::new(placement.area_mm[0] as f32, placement.area_mm[1] as f32) / 2000.0;
    let half = half_extents.truncate() * (1.0 - placement.overlap as f32);
    let near = generator.random::<f64>() < placement.clustering && !neighbours.is_empty();
    (0..PLACEMENT_ATTEMPTS).find_map(|attempt| {
        let mut unit = || generator.random::<f32>() * 2.0 - 1.0;
        let yaw = unit() * std::f32::consts::PI;
        let centre = if near && attempt < PLACEMENT_ATTEMPTS / 2 {
            let angle = unit() * std::f32::consts::PI;
            let stretch = 1.25 + 0.35 * unit();
            let other = taken[generator.random_range(neighbours.clone())];
            other.centre
                + Vec2::from_angle(angle)
                    * stretch
                    * (other.half.max_element() + half.max_element())
        } else {
            Vec2::new(unit(), unit()) * area
        };
        let candidate = Footprint { centre, half, yaw };
        let inside = centre.abs().cmple(area).all();
        let free = taken.iter().all(|other| !candidate.overlaps(other));
        (inside && free).then_some(candidate)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn footprints_overlap_only_where_they_share_area() {
        let at = |x: f32, yaw: f32| Footprint {
            centre: Vec2::new(x, 0.0),
            half: Vec2::ONE,
            yaw,
        };
        assert!(at(0.0, 0.0).overlaps(&at(1.9, 0.0)));
        assert!(!at(0.0, 0.0).overlaps(&at(2.1, 0.0)));
        let eighth = std::f32::consts::FRAC_PI_4;
        assert!(at(0.0, 0.0).overlaps(&at(2.3, eighth)));
        assert!(!at(0.0, 0.0).overlaps(&at(2.5, eighth)));
    }
}
