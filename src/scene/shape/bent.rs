//! Shapes with each point moved at random, alike where points are near.

use glam::{Mat3, Vec3};

use super::super::asset::Geometry;
use super::super::noise::value_noise;

/// Smooth noise seldom strays farther than this from its mean.
const USUAL_STRAY: f32 = 0.3;

/// Moves points by about `amount` metres, over lengths of `scale` metres, with the normals
/// that belong to the new surface. What touched before touches afterwards.
pub(super) fn bend(mut geometry: Geometry, amount: f32, scale: f32, variant: usize) -> Geometry {
    let shift = |at: Vec3| {
        let draw = |axis: usize| {
            let far = Vec3::new(31.7, 57.3, 13.9) * (3 * variant + axis) as f32;
            (value_noise(at / scale + far) - 0.5) / USUAL_STRAY
        };
        Vec3::from_array([0, 1, 2].map(draw)) * amount
    };
    let step = scale * 0.02;
    for (position, normal) in geometry.positions.iter_mut().zip(&mut geometry.normals) {
        let slope = |axis: Vec3| {
            axis + (shift(*position + axis * step) - shift(*position - axis * step)) / (2.0 * step)
        };
        let jacobian = Mat3::from_cols(slope(Vec3::X), slope(Vec3::Y), slope(Vec3::Z));
        // Where the shape folds over itself there is no such normal.
        if jacobian.determinant() > 1e-3 {
            *normal = (jacobian.inverse().transpose() * *normal).normalize();
        }
        *position += shift(*position);
    }
    geometry
}
