//! From the world to the image and back, for both renderers.

use glam::{DVec2, DVec3, Mat4, Quat, Vec2, Vec3, Vec4};
use serde::Serialize;
use thiserror::Error;

use super::instance::{Camera, SceneInstance};
use super::lens::Distortion;

/// The widest angle to the line of sight that an image may show, in degrees: it is drawn as a
/// pinhole's, which grows without end towards 90.
pub(super) const MAX_ANGLE_DEG: f64 = 80.0;

/// Places on each side of the image where its field is measured.
const PLACES: u32 = 16;

/// The diaphragm of a thin lens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Aperture {
    pub f_number: f32,
    pub focal_length_m: f32,
    /// Distance along the line of sight of what is sharp.
    pub focus_m: f32,
}

impl Aperture {
    /// Radius of the opening in metres.
    pub fn radius_m(&self) -> f32 {
        self.focal_length_m / self.f_number / 2.0
    }
}

/// How a camera moves from the beginning to the end of the exposure, along and around its own
/// axes: x to the right, y down, z along the line of sight. The pose is that of the middle.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Motion {
    pub translation_m: Vec3,
    /// A vector along the axis, as long as the angle.
    pub rotation_deg: Vec3,
}

/// Why a lens cannot be drawn with.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum LensError {
    #[error("the lens folds its image: two directions are seen at one point")]
    Folds,
    #[error(
        "the image shows {angle_deg:.0} degrees from the line of sight, more than {MAX_ANGLE_DEG}"
    )]
    TooWide { angle_deg: f64 },
}

/// What of a pinhole's image a lens shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Field {
    /// Least and largest tangents to the right and down.
    pub low: Vec2,
    pub high: Vec2,
    /// The largest tangent of an angle to the line of sight.
    pub reach: f32,
    /// How much longer than a pinhole the lens draws small things, at most, and at least 1.
    pub scale: f32,
}

impl Camera {
    /// The camera at a time of the exposure in 0..=1.
    pub fn at_time(&self, time: f32) -> Self {
        let Some(motion) = self.motion else {
            return self.clone();
        };
        let [right, up, forward] = self.axes();
        let in_world = |v: Vec3| right * v.x - up * v.y + forward * v.z;
        let share = time - 0.5;
        let turn = Quat::from_scaled_axis(in_world(motion.rotation_deg) * share.to_radians());
        let position_m = self.position_m + in_world(motion.translation_m) * share;
        Camera {
            position_m,
            target_m: position_m + turn * (self.target_m - self.position_m),
            up: turn * self.up,
            ..self.clone()
        }
    }

    /// The place in the world, from the camera's own, of a point of the lens; `on_lens` lies in
    /// the unit disc, x to the right and y up.
    pub fn lens_offset_m(&self, on_lens: Vec2) -> Vec3 {
        let radius_m = self.aperture.map_or(0.0, |aperture| aperture.radius_m());
        let [right, up, _] = self.axes();
        (right * on_lens.x + up * on_lens.y) * radius_m
    }

    /// From the camera's axes (x right, y down, z along the line of sight) to the world's, in
    /// metres, as OpenCV has them.
    pub fn world_from_camera(&self) -> Mat4 {
        let [right, up, forward] = self.axes().map(|axis| axis.extend(0.0));
        Mat4::from_cols(right, -up, forward, self.position_m.extend(1.0))
    }

    /// How an image of this size is projected.
    pub fn projection(&self, width_px: u32, height_px: u32) -> Projection {
        let mut projection = Projection {
            camera: self.clone(),
            axes: self.axes(),
            size_px: [width_px, height_px],
            focal_px: self.focal_px(height_px),
            principal_px: Vec2::new(width_px as f32, height_px as f32) / 2.0
                + self.principal_offset_px,
            limit: f64::INFINITY,
        };
        projection.limit = projection.limit();
        projection
    }
}

/// A camera with the size of its image. Points of the image are in pixels, the origin at the
/// outer corner of the first.
#[derive(Debug, Clone, PartialEq)]
pub struct Projection {
    camera: Camera,
    /// Right, up, along the line of sight.
    axes: [Vec3; 3],
    size_px: [u32; 2],
    pub focal_px: f32,
    /// What lies on the line of sight.
    pub principal_px: Vec2,
    /// Tangent of the angle to the line of sight up to which the lens is taken at its word;
    /// beyond the image it is straight.
    limit: f64,
}

impl Projection {
    /// Whether it matters where on the lens a ray begins.
    pub fn has_aperture(&self) -> bool {
        self.camera.aperture.is_some()
    }

    /// How far a direction of the world leads along the line of sight.
    pub fn along(&self, direction: Vec3) -> f32 {
        direction.dot(self.axes[2])
    }

    pub fn is_distorted(&self) -> bool {
        self.camera.distortion != Distortion::None
    }

    /// OpenCV's camera matrix, row by row; pixels as everywhere here, so that programs which
    /// count from the first pixel's centre want half a pixel less in the third column.
    pub fn matrix(&self) -> [[f32; 3]; 3] {
        let Vec2 { x, y } = self.principal_px;
        [
            [self.focal_px, 0.0, x],
            [0.0, self.focal_px, y],
            [0.0, 0.0, 1.0],
        ]
    }

    /// A point of the world along the camera's axes: x to the right, y down, z along the line
    /// of sight.
    pub fn camera_point(&self, at_m: Vec3) -> Vec3 {
        let between = at_m - self.camera.position_m;
        let [x, y, z] = self.axes.map(|axis| between.dot(axis));
        Vec3::new(x, -y, z)
    }

    /// Where a point of the world is seen through the middle of the lens; `None` for what is
    /// not before the camera. Points far out of the image stay out of it.
    pub fn project(&self, at_m: Vec3) -> Option<Vec2> {
        self.image_point(self.camera_point(at_m))
    }

    /// As [`Self::project`], of a point along the camera's axes.
    pub fn image_point(&self, at: Vec3) -> Option<Vec2> {
        if at.z <= 0.0 {
            return None;
        }
        if !self.is_distorted() {
            return Some(self.principal_px + at.truncate() * self.focal_px / at.z);
        }
        let across = at.truncate().as_dvec2() / f64::from(at.z);
        let beyond = (across.length() / self.limit).max(1.0);
        let seen = self.camera.distortion.bend((across / beyond).extend(1.0))?;
        Some(self.principal_px + (seen * beyond).as_vec2() * self.focal_px)
    }

    fn centred(&self, at_px: Vec2) -> DVec2 {
        ((at_px - self.principal_px) / self.focal_px).as_dvec2()
    }

    /// The direction along the camera's axes, a unit vector, of the ray through a point of the
    /// image and the middle of the lens. A lens that is not one to one there counts as none.
    pub fn camera_direction(&self, at_px: Vec2) -> Vec3 {
        let at = self.centred(at_px);
        let straight = || at.extend(1.0).normalize();
        let found = self.camera.distortion.straighten(at);
        found.unwrap_or_else(straight).as_vec3()
    }

    /// The same in the world.
    pub fn direction(&self, at_px: Vec2) -> Vec3 {
        let Vec3 { x, y, z } = self.camera_direction(at_px);
        let [right, up, forward] = self.axes;
        right * x - up * y + forward * z
    }

    /// Origin in metres and direction of the ray through a point of the image and a point of
    /// the lens, which lies in the unit disc. All rays of a point of the image meet at the
    /// distance that is in focus.
    pub fn ray(&self, at_px: Vec2, on_lens: Vec2) -> (Vec3, Vec3) {
        let direction = self.direction(at_px);
        let along = direction.dot(self.axes[2]);
        let position_m = self.camera.position_m;
        match self.camera.aperture {
            Some(aperture) if along > 1e-3 => {
                let offset_m = self.camera.lens_offset_m(on_lens);
                let sharp = direction * (aperture.focus_m / along) - offset_m;
                (position_m + offset_m, sharp.normalize())
            }
            _ => (position_m, direction),
        }
    }

    /// Points around the image, in pixels.
    fn border(&self) -> impl Iterator<Item = Vec2> {
        let [width, height] = self.size_px.map(|side| side as f32);
        (0..PLACES).flat_map(move |place| {
            let share = place as f32 / PLACES as f32;
            let (x, y) = (width * share, height * share);
            [
                Vec2::new(x, 0.0),
                Vec2::new(width, y),
                Vec2::new(width - x, height),
                Vec2::new(0.0, height - y),
            ]
        })
    }

    /// What of a pinhole's image is seen.
    ///
    /// # Errors
    /// The lens is not one to one over the image, or sees too much.
    pub fn field(&self) -> Result<Field, LensError> {
        let mut field = Field {
            low: Vec2::INFINITY,
            high: Vec2::NEG_INFINITY,
            reach: 0.0,
            scale: 1.0,
        };
        for at_px in self.border() {
            let found = self
                .camera
                .distortion
                .straighten_surely(self.centred(at_px));
            let (direction, scale) = found.ok_or(LensError::Folds)?;
            let angle_deg = direction.angle_between(DVec3::Z).to_degrees();
            if angle_deg > MAX_ANGLE_DEG {
                return Err(LensError::TooWide { angle_deg });
            }
            let tangents = (direction / direction.z).truncate().as_vec2();
            field.low = field.low.min(tangents);
            field.high = field.high.max(tangents);
            field.reach = field.reach.max(tangents.length());
            field.scale = field.scale.max(scale as f32);
        }
        Ok(field)
    }

    fn limit(&self) -> f64 {
        if !self.is_distorted() {
            return f64::INFINITY;
        }
        let Ok(field) = self.field() else {
            return 1.0;
        };
        let reach = f64::from(field.reach);
        let mut limit = reach;
        while limit < 1.5 * reach && self.camera.distortion.is_one_to_one_at(limit * 1.02) {
            limit *= 1.02;
        }
        limit
    }
}

/// A camera as the manifest holds it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CameraRecord {
    position_m: Vec3,
    target_m: Vec3,
    up: Vec3,
    vertical_fov_deg: f32,
    /// See [`Projection::matrix`].
    #[serde(rename = "K")]
    matrix: [[f32; 3]; 3],
    distortion: Distortion,
    /// Row by row; see [`Camera::world_from_camera`].
    world_from_camera: [Vec4; 4],
    #[serde(skip_serializing_if = "Option::is_none")]
    aperture: Option<Aperture>,
    #[serde(skip_serializing_if = "Option::is_none")]
    motion: Option<Motion>,
}

impl SceneInstance {
    /// The camera of the middle of the exposure, with all that its calibration would tell.
    pub fn camera_record(&self) -> CameraRecord {
        let camera = &self.camera;
        let pose = camera.world_from_camera();
        CameraRecord {
            position_m: camera.position_m,
            target_m: camera.target_m,
            up: camera.up,
            vertical_fov_deg: camera.vertical_fov_deg,
            matrix: camera.projection(self.width_px, self.height_px).matrix(),
            distortion: camera.distortion,
            world_from_camera: [0, 1, 2, 3].map(|row| pose.row(row)),
            aperture: camera.aperture,
            motion: camera.motion,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn camera(distortion: Distortion) -> Camera {
        Camera {
            position_m: Vec3::new(0.4, -0.9, 1.3),
            target_m: Vec3::new(0.1, 0.2, 0.3),
            vertical_fov_deg: 55.0,
            principal_offset_px: Vec2::new(13.0, -9.0),
            distortion,
            ..Camera::default()
        }
    }

    const BARREL: Distortion = Distortion::BrownConrady {
        k1: -0.25,
        k2: 0.05,
        k3: 0.0,
        p1: 0.001,
        p2: -0.002,
    };
    const FISHEYE: Distortion = Distortion::Fisheye {
        k1: -0.02,
        k2: 0.005,
        k3: 0.0,
        k4: 0.0,
    };

    proptest! {
        #[test]
        fn rays_pass_through_what_is_seen_at_their_point(
            x in 0.0_f32..640.0,
            y in 0.0_f32..480.0,
            far in 0.2_f32..5.0,
        ) {
            for distortion in [Distortion::None, BARREL, FISHEYE] {
                let projection = camera(distortion).projection(640, 480);
                projection.field().unwrap();
                let at_px = Vec2::new(x, y);
                let (origin, direction) = projection.ray(at_px, Vec2::ONE);
                let back = projection.project(origin + direction * far).unwrap();
                prop_assert!((back - at_px).length() < 0.01, "{distortion:?}: {back} for {at_px}");
            }
        }

        #[test]
        fn rays_of_one_point_meet_in_the_plane_of_focus(
            x in 0.0_f32..640.0,
            y in 0.0_f32..480.0,
            turn in 0.0_f32..6.2,
        ) {
            let aperture = Aperture { f_number: 2.0, focal_length_m: 0.05, focus_m: 0.8 };
            let lens = Camera { aperture: Some(aperture), ..camera(BARREL) };
            let projection = lens.projection(640, 480);
            let (origin, direction) = projection.ray(Vec2::new(x, y), Vec2::from_angle(turn));
            prop_assert!(((origin - lens.position_m).length() - 0.0125).abs() < 1e-6);
            let forward = lens.axes()[2];
            let way = (0.8 - (origin - lens.position_m).dot(forward)) / direction.dot(forward);
            let back = projection.project(origin + direction * way).unwrap();
            prop_assert!((back - Vec2::new(x, y)).length() < 0.02, "{back}");
        }
    }

    #[test]
    fn the_matrix_and_the_pose_project_as_opencv_does() {
        let camera = camera(Distortion::None);
        let projection = camera.projection(640, 480);
        let [[fx, _, cx], [_, fy, cy], _] = projection.matrix();
        let at_m = Vec3::new(0.2, 0.1, 0.05);
        let own = camera.world_from_camera().inverse().transform_point3(at_m);
        let seen = Vec2::new(fx * own.x / own.z + cx, fy * own.y / own.z + cy);
        let expected = projection.project(at_m).unwrap();
        assert!((seen - expected).length() < 1e-3, "{seen} for {expected}");
        assert!((camera.world_from_camera().determinant() - 1.0).abs() < 1e-5);
    }

    #[test]
    fn what_lies_beyond_a_barrels_fold_stays_out_of_the_image() {
        let strong = Distortion::BrownConrady {
            k1: -0.3,
            k2: 0.0,
            k3: 0.0,
            p1: 0.0,
            p2: 0.0,
        };
        let camera = Camera {
            vertical_fov_deg: 40.0,
            ..camera(strong)
        };
        let projection = camera.projection(640, 480);
        projection.field().unwrap();
        for tangent in [1.5, 1.8, 2.5, 10.0] {
            let seen = projection
                .image_point(Vec3::new(tangent, 0.0, 1.0))
                .unwrap();
            assert!(seen.x > 640.0, "{tangent}: {seen}");
        }
    }

    #[test]
    fn lenses_that_cannot_be_drawn_are_found() {
        let barrel = Distortion::BrownConrady {
            k1: -0.3,
            k2: 0.0,
            k3: 0.0,
            p1: 0.0,
            p2: 0.0,
        };
        let folds = Camera {
            vertical_fov_deg: 60.0,
            ..camera(barrel)
        };
        let error = folds.projection(640, 480).field().unwrap_err();
        assert_eq!(error, LensError::Folds);
        let wide = Camera {
            vertical_fov_deg: 110.0,
            ..camera(FISHEYE)
        };
        let error = wide.projection(640, 480).field().unwrap_err();
        assert!(matches!(error, LensError::TooWide { .. }), "{error}");
    }

    #[test]
    fn a_camera_moves_around_the_middle_of_its_exposure() {
        let still = camera(Distortion::None);
        let motion = Motion {
            translation_m: Vec3::new(0.02, 0.0, 0.0),
            rotation_deg: Vec3::new(0.0, 2.0, 0.0),
        };
        let moving = Camera {
            motion: Some(motion),
            ..still.clone()
        };
        assert!((moving.at_time(0.5).position_m - still.position_m).length() < 1e-6);
        let (begin, end) = (moving.at_time(0.0), moving.at_time(1.0));
        let right = still.axes()[0];
        let way = end.position_m - begin.position_m;
        assert!((way - right * 0.02).length() < 1e-6);
        let turn = begin.axes()[2].angle_between(end.axes()[2]).to_degrees();
        assert!((turn - 2.0).abs() < 1e-3, "{turn}");
        // A turn around the axis that points down is one to the right.
        assert!(end.axes()[2].dot(right) > begin.axes()[2].dot(right));
    }
}
