//! What the camera sees, and how finely objects must be drawn for it.

use glam::{Mat4, Vec2, Vec3, camera::rh};

use super::exposure::Moment;
use crate::scene::{Assets, Part, Projection, SceneInstance};

/// The near plane over the distance of what the camera looks at.
const NEAR_SHARE: f32 = 0.01;

/// The largest side of the image that is drawn for a lens, in pixels.
const MAX_DRAWN_PX: f32 = 4096.0;

/// Pixels around what a lens shows, for the means of neighbours.
const SPARE_PX: f32 = 4.0;

/// Sides of images that are drawn for lenses are multiples of this, so that targets fit more
/// than one of them.
const STEP_PX: f32 = 32.0;

/// How much finer an image is drawn for a lens that enlarges, at most.
const MAX_SCALE: f32 = 1.5;

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

/// A pinhole and its image: all that is drawn at once.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub position: Vec3,
    /// Right, up, along the line of sight.
    pub axes: [Vec3; 3],
    pub size_px: [u32; 2],
    /// Tangents of half the image, to the right and up.
    pub tangents: [f32; 2],
    /// Tangents of the image's middle, to the right and up.
    pub middle: [f32; 2],
    pub near: f32,
    pub focal_px: f32,
    /// Inward unit normals of the four sides of what is seen, through the position.
    sides: [Vec3; 4],
}

/// The image of a pinhole that holds what a lens shows, or is the image itself.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Plate {
    size_px: [u32; 2],
    focal_px: f32,
    tangents: [f32; 2],
    middle: [f32; 2],
}

impl Plate {
    fn new(scene: &SceneInstance, projection: &Projection) -> Self {
        let size_px = [scene.width_px, scene.height_px];
        let field = projection
            .field()
            .ok()
            .filter(|_| projection.is_distorted());
        let Some(field) = field else {
            let vertical = (scene.camera.vertical_fov_deg.to_radians() / 2.0).tan();
            let horizontal = vertical * scene.width_px as f32 / scene.height_px as f32;
            let offset = scene.camera.principal_offset_px / projection.focal_px;
            return Plate {
                size_px,
                focal_px: projection.focal_px,
                tangents: [horizontal, vertical],
                middle: [-offset.x, offset.y],
            };
        };
        let extent = field.high - field.low;
        let whole = field.scale.min(MAX_SCALE) * projection.focal_px;
        let most = (MAX_DRAWN_PX - 2.0 * SPARE_PX) / extent.max_element();
        let focal_px = whole.min(most);
        let side = |extent: f32| {
            let least = extent * focal_px + 2.0 * SPARE_PX;
            ((least / STEP_PX).ceil() * STEP_PX).min(MAX_DRAWN_PX)
        };
        let size = Vec2::new(side(extent.x), side(extent.y));
        let middle = (field.low + field.high) / 2.0;
        Plate {
            size_px: [size.x as u32, size.y as u32],
            focal_px,
            tangents: (size / 2.0 / focal_px).to_array(),
            middle: [middle.x, -middle.y],
        }
    }
}

impl View {
    /// The view of the middle of the exposure through the middle of the lens.
    pub(super) fn new(scene: &SceneInstance, projection: &Projection) -> Self {
        Self::at(scene, projection, Moment::MIDDLE)
    }

    /// The view at one moment of the exposure through one point of the lens, sheared so that
    /// what is in focus stays where it is.
    pub(super) fn at(scene: &SceneInstance, projection: &Projection, moment: Moment) -> Self {
        let camera = scene.camera.at_time(moment.time);
        let axes = camera.axes();
        let [right, up, forward] = axes;
        let Plate {
            size_px,
            focal_px,
            tangents,
            middle: [mut across, mut upwards],
        } = Plate::new(scene, projection);
        if let Some(aperture) = camera.aperture {
            let shift = moment.on_lens * aperture.radius_m() / aperture.focus_m;
            across -= shift.x;
            upwards -= shift.y;
        }
        let [horizontal, vertical] = tangents;
        let side = |across: Vec3, tangent: f32| (across + forward * tangent).normalize();
        View {
            position: camera.position_m + camera.lens_offset_m(moment.on_lens),
            axes,
            size_px,
            tangents,
            middle: [across, upwards],
            near: (camera.position_m - camera.target_m).length() * NEAR_SHARE,
            focal_px,
            sides: [
                side(right, horizontal - across),
                side(-right, horizontal + across),
                side(up, vertical - upwards),
                side(-up, vertical + upwards),
            ],
        }
    }

    /// Depth runs from 1 at the near plane to 0 at infinity.
    pub(super) fn clip_from_world(&self) -> Mat4 {
        let [horizontal, vertical] = self.tangents;
        let mut clip_from_view = rh::proj::directx::perspective_infinite_reverse(
            2.0 * vertical.atan(),
            horizontal / vertical,
            self.near,
        );
        // Along the line of sight z falls.
        clip_from_view.z_axis.x += self.middle[0] / horizontal;
        clip_from_view.z_axis.y += self.middle[1] / vertical;
        let [_, up, forward] = self.axes;
        clip_from_view * rh::view::look_at_mat4(self.position, self.position + forward, up)
    }

    /// Where in the image a point with these tangents to the right and up is, in pixels.
    pub(super) fn image_point(&self, tangents: Vec2) -> Vec2 {
        let [width, height] = self.size_px.map(|side| side as f32 / 2.0);
        let [x, y] = [tangents.x - self.middle[0], tangents.y - self.middle[1]];
        Vec2::new(width + x * self.focal_px, height - y * self.focal_px)
    }

    /// The tangents to the right and up of a place in the image, in pixels.
    pub(super) fn tangents_at(&self, at_px: Vec2) -> Vec2 {
        let from_middle = at_px - Vec2::from(self.size_px.map(|side| side as f32 / 2.0));
        let upwards = Vec2::new(from_middle.x, -from_middle.y) / self.focal_px;
        upwards + Vec2::from(self.middle)
    }

    /// The direction through a place in the image, in pixels; its length along the line of
    /// sight is 1.
    pub(super) fn ray(&self, at_px: Vec2) -> Vec3 {
        let [right, up, forward] = self.axes;
        let tangents = self.tangents_at(at_px);
        forward + right * tangents.x + up * tangents.y
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
            size_px: [200, 100],
            tangents: [1.0, 0.5],
            middle: [0.0; 2],
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
    fn a_lens_is_drawn_from_a_pinholes_image_around_it() {
        use crate::scene::{Camera, Distortion, ScenePlan, sample};
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenes/shapes.yaml");
        let plan = ScenePlan::load(&path, &[]).unwrap();
        let barrel = Distortion::BrownConrady {
            k1: -0.2,
            k2: 0.0,
            k3: 0.0,
            p1: 0.003,
            p2: -0.002,
        };
        let mut scene = sample(&plan, &crate::seed::SeedKey::new(b"view", 0), 0);
        scene.camera = Camera {
            distortion: barrel,
            principal_offset_px: Vec2::new(20.0, 5.0),
            ..Camera::default()
        };
        let projection = scene.camera.projection(640, 480);
        let view = View::new(&scene, &projection);
        assert!(view.size_px[0] > 640 && view.size_px[1] > 480);
        let [width, height] = view.size_px.map(|side| side as f32);
        for (x, y) in [
            (0.0, 0.0),
            (640.0, 0.0),
            (640.0, 480.0),
            (0.0, 240.0),
            (320.0, 480.0),
        ] {
            let direction = projection.camera_direction(Vec2::new(x, y));
            let tangents = Vec2::new(direction.x, -direction.y) / direction.z;
            let at = view.image_point(tangents);
            let inside = at.cmpge(Vec2::ONE).all() && at.x < width - 1.0 && at.y < height - 1.0;
            assert!(inside, "{x} {y} is seen at {at} of {width} {height}");
            // Clip space agrees, and nothing there is culled.
            let world = scene.camera.position_m + projection.direction(Vec2::new(x, y)) * 0.7;
            let clip = view.clip_from_world().project_point3(world);
            let pixel = Vec2::new(clip.x + 1.0, 1.0 - clip.y) / 2.0 * Vec2::new(width, height);
            assert!((pixel - at).length() < 0.05, "{pixel} for {at}");
            assert!(view.may_see(
                Ball {
                    centre: world,
                    radius: 0.0
                },
                Vec3::ZERO
            ));
        }
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
