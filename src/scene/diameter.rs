//! The largest distance between two points of an object.

use glam::Vec3;

use super::asset::Assets;
use super::instance::Object;

/// Directions in which the two farthest points are sought.
const DIRECTIONS: usize = 96;

/// How far, as a share of a part's size, its triangles may lie from the surface.
const TOLERANCE: f32 = 0.003;

/// The largest distance between two points of an object's surface, in metres, to about a
/// hundredth.
pub fn diameter_m(object: &Object, assets: &Assets) -> f32 {
    let mut points = Vec::new();
    for part in &object.parts {
        let mesh = &assets.meshes[part.mesh];
        let level = mesh.level_for(TOLERANCE * mesh.half_extents_m.max_element());
        let positions = &mesh.levels[level].geometry.positions;
        points.extend(
            positions
                .iter()
                .map(|at| part.world_from_local.transform_point3(*at)),
        );
    }
    directions()
        .filter_map(|direction| {
            let along = |point: &&Vec3| point.dot(direction);
            let by = |a: &&Vec3, b: &&Vec3| along(a).total_cmp(&along(b));
            let (low, high) = (points.iter().min_by(by)?, points.iter().max_by(by)?);
            Some(low.distance(*high))
        })
        .fold(0.0, f32::max)
}

/// Directions that are even over half a sphere, by turns of the golden angle.
fn directions() -> impl Iterator<Item = Vec3> {
    let golden_angle = std::f32::consts::PI * (3.0 - 5_f32.sqrt());
    (0..DIRECTIONS).map(move |step| {
        let z = (step as f32 + 0.5) / DIRECTIONS as f32;
        let (sin, cos) = (step as f32 * golden_angle).sin_cos();
        let radius = (1.0 - z * z).sqrt();
        Vec3::new(cos * radius, sin * radius, z)
    })
}

#[cfg(test)]
mod tests {
    use glam::Mat4;

    use super::*;
    use crate::scene::{Material, Part, Shape};

    #[test]
    fn a_box_is_as_wide_as_its_diagonal_and_a_ball_as_its_diameter() {
        let diameter = |shape: Shape, scale: Vec3| {
            let mut assets = Assets::default();
            let mesh = assets.add(&shape);
            let pose = Mat4::from_rotation_y(0.4) * Mat4::from_scale(scale);
            let object = Object {
                family: "x".to_owned(),
                category_id: None,
                world_from_object: Mat4::from_rotation_y(0.4),
                half_extents_m: assets.meshes[mesh].half_extents_m * scale,
                parts: vec![Part {
                    mesh,
                    world_from_local: pose,
                    half_extents_m: assets.meshes[mesh].half_extents_m * scale,
                    material: Material::default(),
                    decals: Vec::new(),
                }],
                keypoints_m: Vec::new(),
                label_margin: 0.0,
            };
            diameter_m(&object, &assets)
        };
        let close = |found: f32, expected: f32| {
            assert!(
                (found / expected - 1.0).abs() < 0.01,
                "{found}, not {expected}"
            );
        };
        let brick = Shape::Box {
            size_mm: [30.0, 40.0, 120.0],
            rounding_mm: 0.0,
        };
        close(diameter(brick.clone(), Vec3::ONE), 0.13);
        close(diameter(brick, Vec3::new(2.0, 2.0, 2.0)), 0.26);
        let ball = Shape::Sphere { diameter_mm: 50.0 };
        close(diameter(ball.clone(), Vec3::ONE), 0.05);
        close(diameter(ball, Vec3::new(1.0, 1.0, 3.0)), 0.15);
    }
}
