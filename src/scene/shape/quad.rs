//! A flat card, seen from both sides.

use glam::{Vec2, Vec3};

use super::super::asset::Geometry;

/// A rectangle in the plane z = 0 with a front that faces +z and a back that faces -z. The
/// front's image is upright with +y up.
pub(super) fn build(half: Vec2) -> Geometry {
    let mut geometry = Geometry::default();
    for up in [1.0, -1.0] {
        let first = geometry.positions.len() as u32;
        for (x, y) in [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)] {
            geometry
                .positions
                .push((Vec2::new(x, y) * half).extend(0.0));
            geometry.normals.push(Vec3::Z * up);
            geometry.uvs.push(Vec2::new(0.5 + x / 2.0, 0.5 - y / 2.0));
        }
        let [a, b, c, d] = [first, first + 1, first + 2, first + 3];
        if up > 0.0 {
            geometry.triangles.extend([[a, b, c], [a, c, d]]);
        } else {
            geometry.triangles.extend([[a, c, b], [a, d, c]]);
        }
    }
    geometry
}
