//! Boxes with rounded edges; with full rounding they are spheres and capsules.

use glam::{Vec2, Vec3};

use super::super::asset::Geometry;
use super::super::instance::facing_plane;

/// A box around the origin whose edges are rounded with radius `rounding`; `segments` go
/// around a full circle. Each face shows the whole image, upright.
pub(super) fn build(half: Vec3, rounding: f32, segments: usize) -> Geometry {
    let mut geometry = Geometry::default();
    let core = (half - rounding).max(Vec3::ZERO);
    for axis in 0..3 {
        for sign in [-1.0, 1.0] {
            face(&mut geometry, axis, sign, core, rounding, segments / 8);
        }
    }
    geometry
}

/// Where along one side of a face: the end of the core, and how far the normal leans.
fn line(core: f32, rounding: f32, steps: usize) -> Vec<(f32, f32)> {
    let lean = |step: usize| (std::f32::consts::FRAC_PI_4 * step as f32 / steps as f32).tan();
    // Without rounding only the flat part is left; without a flat part its strip is none.
    let steps = if rounding > 0.0 { steps } else { 0 };
    let low = (0..=steps)
        .rev()
        .map(|step| (-1.0, -lean_or_none(step, lean)));
    let high = (0..=steps).map(|step| (1.0, lean_or_none(step, lean)));
    let skip = usize::from(core <= 0.0);
    low.chain(high.skip(skip)).collect()
}

fn lean_or_none(step: usize, lean: impl Fn(usize) -> f32) -> f32 {
    if step == 0 { 0.0 } else { lean(step) }
}

fn face(geometry: &mut Geometry, axis: usize, sign: f32, core: Vec3, rounding: f32, steps: usize) {
    let normal = Vec3::from_array(std::array::from_fn(|i| f32::from(i == axis))) * sign;
    let [u, v] = facing_plane(normal);
    let along = |direction: Vec3| core.dot(direction.abs());
    let columns = line(along(u), rounding, steps);
    let rows = line(along(v), rounding, steps);
    let first = geometry.positions.len() as u32;
    let half = core + rounding;
    for (core_u, lean_u) in &columns {
        for (core_v, lean_v) in &rows {
            let direction = (normal + u * *lean_u + v * *lean_v).normalize();
            let corner = (normal + u * *core_u + v * *core_v) * core;
            let position = corner + direction * rounding;
            geometry.positions.push(position);
            geometry.normals.push(direction);
            let at = Vec2::new(
                position.dot(u) / half.dot(u.abs()),
                position.dot(v) / half.dot(v.abs()),
            );
            geometry
                .uvs
                .push(Vec2::new(0.5 + at.x / 2.0, 0.5 - at.y / 2.0));
        }
    }
    let width = rows.len() as u32;
    for i in 0..columns.len() as u32 - 1 {
        for j in 0..width - 1 {
            let a = first + i * width + j;
            let (b, c, d) = (a + width, a + width + 1, a + 1);
            geometry.triangles.extend([[a, b, c], [a, c, d]]);
        }
    }
}
