//! What the camera sees, and how finely objects must be drawn for it.

use glam::{Mat4, Vec3, camera::rh};

use crate::scene::{Assets, Part, SceneInstance};

/// The near plane over the distance of what the camera looks at.
const NEAR_SHARE: f32 = 0.01;

/// How far, in pixels, triangles may lie from the surface that they stand for.
pub(super) const TOLERANCE_PX: f32 = 0.3;

/// A ball around a part of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ball {
    pub centre: Vec3,
    pub radius: f32,
}

impl Ball {
    pub(super) fn around(part: &Part, assets: &Assets) -> Self {
        let mesh = &assets.meshes[part.mesh];
        Ball {
            centre: part.world_from_local.transform_point3(mesh.centre_m),
            radius: part.half_extents_m.length(),
        }
    }
}

/// The camera of one image.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub position: Vec3,
    /// Right, up, along the line of sight.
    pub axes: [Vec3; 3],
    /// Tangents of half the horizontal and half the vertical field of view.
    pub tangents: [f32; 2],
    pub near: f32,
    pub focal_px: f32,
    /// Inward unit normals of the four sides of what is seen, through the position.
    sides: [Vec3; 4],
}

impl View {
    pub(super) fn new(scene: &SceneInstance) -> Self {
        let camera = &scene.camera;
        let axes = camera.axes();
        let [right, up, forward] = axes;
        let vertical = (camera.vertical_fov_deg.to_radians() / 2.0).tan();
        let horizontal = vertical * scene.width_px as f32 / scene.height_px as f32;
        let side = |across: Vec3, tangent: f32| (across + forward * tangent).normalize();
        View {
            position: camera.position_m,
            axes,
            tangents: [horizontal, vertical],
            near: (camera.position_m - camera.target_m).length() * NEAR_SHARE,
            focal_px: camera.focal_px(scene.height_px),
            sides: [
                side(right, horizontal),
                side(-right, horizontal),
                side(up, vertical),
                side(-up, vertical),
            ],
        }
    }

    /// Depth runs from 1 at the near plane to 0 at infinity.
    pub(super) fn clip_from_world(&self) -> Mat4 {
        let [horizontal, vertical] = self.tangents;
        let clip_from_view = rh::proj::directx::perspective_infinite_reverse(
            2.0 * vertical.atan(),
            horizontal / vertical,
            self.near,
        );
        let [_, up, forward] = self.axes;
        clip_from_view * rh::view::look_at_mat4(self.position, self.position + forward, up)
    }

    /// Distance of a point along the line of sight.
    pub(super) fn depth(&self, at: Vec3) -> f32 {
        (at - self.position).dot(self.axes[2])
    }

    /// Whether any point of a ball that is swept along `sweep` may be seen.
    pub(super) fn may_see(&self, ball: Ball, sweep: Vec3) -> bool {
        let ends = [ball.centre, ball.centre + sweep].map(|at| at - self.position);
        self.sides
            .iter()
            .all(|side| ends.iter().any(|end| end.dot(*side) > -ball.radius))
    }

    /// The level of each part, or `None` where it is out of sight.
    pub(super) fn levels(
        &self,
        scene: &SceneInstance,
        assets: &Assets,
        balls: &[Ball],
    ) -> Vec<Option<usize>> {
        let level = |((_, part), ball): ((usize, &Part), &Ball)| {
            self.may_see(*ball, Vec3::ZERO).then(|| {
                let nearest = (self.depth(ball.centre) - ball.radius).max(self.near);
                let tolerance_m = TOLERANCE_PX * nearest / self.focal_px;
                level_for(part, assets, tolerance_m)
            })
        };
        scene.parts().zip(balls).map(level).collect()
    }
}

/// The level whose error, at the part's scale, is at most this.
pub(super) fn level_for(part: &Part, assets: &Assets, tolerance_m: f32) -> usize {
    let axes = part.world_from_local;
    let scale = [axes.x_axis, axes.y_axis, axes.z_axis]
        .iter()
        .fold(1e-9, |most: f32, axis| most.max(axis.length()));
    assets.meshes[part.mesh].level_for(tolerance_m / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        View {
            position: Vec3::new(0.0, 0.0, 2.0),
            axes: [Vec3::X, Vec3::Y, Vec3::NEG_Z],
            tangents: [1.0, 0.5],
            near: 0.02,
            focal_px: 100.0,
            sides: [
                Vec3::new(1.0, 0.0, -1.0).normalize(),
                Vec3::new(-1.0, 0.0, -1.0).normalize(),
                Vec3::new(0.0, 1.0, -0.5).normalize(),
                Vec3::new(0.0, -1.0, -0.5).normalize(),
            ],
        }
    }

    #[test]
    fn clip_space_is_the_cameras() {
        let clip = view().clip_from_world();
        let corner = clip.project_point3(Vec3::new(2.0, 1.0, 0.0));
        assert!(
            (corner - Vec3::new(1.0, 1.0, 0.01)).length() < 1e-5,
            "{corner}"
        );
    }

    #[test]
    fn what_is_out_of_sight_is_left_out() {
        let at = |x: f32| Ball {
            centre: Vec3::new(x, 0.0, 0.0),
            radius: 0.5,
        };
        assert!(view().may_see(at(2.4), Vec3::ZERO));
        assert!(!view().may_see(at(2.9), Vec3::ZERO));
        assert!(
            view().may_see(at(2.9), Vec3::new(-1.0, 0.0, 0.0)),
            "its shadow is seen"
        );
    }
}
