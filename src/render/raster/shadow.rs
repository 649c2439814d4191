//! What the lights see.

use glam::{Mat4, Vec3, camera::rh};

use super::super::view::{Ball, View, level_for};
use crate::scene::{Assets, Light, LightSource, SceneInstance};

/// Side of a shadow map.
pub(super) const SHADOW_SIDE_PX: u32 = 1024;

/// How far triangles may lie from the surface that they stand for, in texels of the map.
const SHADOW_TOLERANCE_TEXELS: f32 = 0.5;

/// What one light sees.
#[derive(Debug, Clone)]
pub(super) struct ShadowView {
    pub light_from_world: Mat4,
    /// Depth range in metres, or the projection's two terms.
    pub terms: [f32; 2],
    /// The map's width a metre, or a unit of tangent.
    pub width_per_unit: f32,
    /// A texel's side in metres, or at a distance of one metre.
    pub texel: f32,
    /// How far behind what hides it a surface may lie, in metres; or the largest difference
    /// of their distances from the light over the product of both.
    pub reach: f32,
    /// The level of each part, or `None` where it casts no shadow or its shadow falls out of sight.
    pub levels: Vec<Option<usize>>,
}

impl ShadowView {
    /// A map that holds every object. `seen` are the levels at which the camera sees them.
    pub(super) fn new(
        light: &Light,
        scene: &SceneInstance,
        assets: &Assets,
        balls: &[Ball],
        view: &View,
        seen: &[Option<usize>],
    ) -> Self {
        let position = match light.source {
            LightSource::Directional { towards, .. } => {
                return Self::directional(towards, scene, assets, balls, view, seen);
            }
            LightSource::Point { position_m, .. }
            | LightSource::Spot { position_m, .. }
            | LightSource::Area { position_m, .. } => position_m,
        };
        let centre = balls.iter().map(|ball| ball.centre).sum::<Vec3>() / balls.len().max(1) as f32;
        let forward = (centre - position).normalize_or(Vec3::NEG_Z);
        let (mut near, mut far, mut tangent) = (f32::INFINITY, 0.0_f32, 0.05_f32);
        for ball in balls {
            let between = ball.centre - position;
            let along = between.dot(forward);
            let across = (between - forward * along).length();
            near = near.min(along - ball.radius);
            far = far.max(along + ball.radius);
            // What reaches beside the light or behind it casts no shadow beyond the map.
            let reach = (across + ball.radius) / (along - ball.radius).max(1e-3);
            tangent = tangent.max(reach.min(4.0));
        }
        let far = far.max(1e-2) * 1.01;
        let near = near.clamp(far * 1e-3, far * 0.9);
        let projection = rh::proj::directx::perspective(2.0 * tangent.atan(), 1.0, near, far * 4.0);
        let texel = 2.0 * tangent / SHADOW_SIDE_PX as f32;
        let far = far * 4.0;
        let levels = scene.parts().zip(balls).zip(seen);
        let levels = levels.map(|(((_, part), ball), seen)| {
            let tolerance = SHADOW_TOLERANCE_TEXELS * texel * ball.centre.distance(position);
            let casts = part.material.medium.is_none();
            casts.then(|| no_finer(level_for(part, assets, tolerance), *seen))
        });
        ShadowView {
            light_from_world: projection
                * rh::view::look_at_mat4(position, position + forward, across(forward)),
            terms: [far / (far - near), -far * near / (far - near)],
            reach: 1.0 / near - 1.0 / far,
            width_per_unit: 0.5 / tangent,
            texel,
            levels: levels.collect(),
        }
    }

    fn directional(
        towards: Vec3,
        scene: &SceneInstance,
        assets: &Assets,
        balls: &[Ball],
        view: &View,
        seen: &[Option<usize>],
    ) -> Self {
        let light_from_world = rh::view::look_at_mat4(Vec3::ZERO, -towards, across(towards));
        let (mut low, mut high) = (Vec3::INFINITY, Vec3::NEG_INFINITY);
        let mut cast = Vec::new();
        let mut reach = 0.0_f32;
        for ((_, part), ball) in scene.parts().zip(balls) {
            // Down to the ground, which nothing lies below.
            let fall = ((ball.centre.z + ball.radius) / towards.z.max(0.05)).max(0.0);
            let casts = part.material.medium.is_none();
            let may_show = casts && view.may_see(*ball, -towards * fall);
            reach = reach.max(fall);
            cast.push(may_show);
            if may_show {
                let at = light_from_world.transform_point3(ball.centre);
                low = low.min(at - ball.radius);
                high = high.max(at + ball.radius);
            }
        }
        if !low.is_finite() {
            (low, high) = (Vec3::splat(-1.0), Vec3::ONE);
        }
        // Square, so that a texel is one, and deep enough for the ground below.
        let centre = (low + high) / 2.0;
        let half = ((high - low).truncate().max_element() / 2.0).max(1e-4) * 1.02;
        let span = high.z - low.z;
        let range = span + 2.0 * half + span;
        let projection = rh::proj::directx::orthographic(
            centre.x - half,
            centre.x + half,
            centre.y - half,
            centre.y + half,
            -high.z - 0.01 * range,
            -high.z + 0.99 * range,
        );
        let texel = 2.0 * half / SHADOW_SIDE_PX as f32;
        let levels = scene.parts().zip(&cast).zip(seen);
        let levels = levels.map(|(((_, part), may_show), seen)| {
            let tolerance = SHADOW_TOLERANCE_TEXELS * texel;
            may_show.then(|| no_finer(level_for(part, assets, tolerance), *seen))
        });
        ShadowView {
            light_from_world: projection * light_from_world,
            terms: [range, 0.0],
            reach,
            width_per_unit: 0.5 / half,
            texel,
            levels: levels.collect(),
        }
    }
}

/// The level for the map where the camera sees another: a finer surface would lie before the
/// one that is seen and keep light off it in spots.
fn no_finer(level: usize, seen: Option<usize>) -> usize {
    level.max(seen.unwrap_or(0))
}

/// Some direction that is not parallel to this one.
fn across(direction: Vec3) -> Vec3 {
    if direction.z.abs() > 0.9 {
        Vec3::Y
    } else {
        Vec3::Z
    }
}
