//! Named points of objects in the image.

use glam::Vec3;

use super::label::camera_from_world;
use crate::render::GroundTruth;
use crate::scene::SceneInstance;

/// How deep a point may lie under the surface and still count as on it, as a share of its
/// object's diagonal: whoever places it does so by eye.
const TOLERANCE: f64 = 0.02;

/// Pixels over which depth may vary between a point and the centre of its pixel.
const SLACK_PX: f64 = 2.0;

/// COCO's numbers of whether a keypoint shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visibility {
    Outside = 0,
    Hidden = 1,
    Visible = 2,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Keypoint {
    /// From the outer corner of the top left pixel; zero outside the image.
    pub place_px: [f64; 2],
    pub visibility: Visibility,
}

/// Where a point of object `index`, given in the object's own space, is in the image. It is
/// hidden where another object lies before it, or where its own surface or the ground does by
/// more than a tolerance. What light passes through hides nothing.
pub(super) fn keypoint(
    instance: &SceneInstance,
    truth: &GroundTruth,
    index: usize,
    at_m: Vec3,
) -> Keypoint {
    let object = &instance.objects[index];
    let in_world = object
        .world_from_object
        .as_dmat4()
        .transform_point3(at_m.as_dvec3());
    let in_camera = camera_from_world(&instance.camera).transform_point3(in_world);
    let size = [instance.width_px, instance.height_px];
    let projection = instance.camera.projection(size[0], size[1]);
    let place_px = projection.image_point(in_camera.as_vec3());
    let place_px = place_px.map(|place| place.as_dvec2().to_array());
    let inside = |place: &[f64; 2]| {
        let [width, height] = size.map(f64::from);
        (0.0..width).contains(&place[0]) && (0.0..height).contains(&place[1])
    };
    let Some(place_px) = place_px.filter(inside) else {
        return Keypoint {
            place_px: [0.0; 2],
            visibility: Visibility::Outside,
        };
    };
    let pixel = place_px[1] as usize * truth.width_px as usize + place_px[0] as usize;
    let drawn_m = f64::from(truth.depth_m[pixel]);
    let owner = (truth.ids[pixel] as usize).checked_sub(1);
    let pixel_m = in_camera.z / f64::from(instance.camera.focal_px(instance.height_px));
    let diagonal_m = 2.0 * f64::from(object.half_extents_m.length());
    let slack_m = SLACK_PX * pixel_m;
    let before_m = in_camera.z - drawn_m;
    let is_hidden = match owner {
        // Beyond the edge of the ground nothing is drawn.
        _ if drawn_m <= 0.0 => false,
        Some(owner) if truth.silhouettes[owner].is_transparent => false,
        Some(owner) if owner != index => before_m > 0.0,
        _ => before_m > TOLERANCE * diagonal_m + slack_m,
    };
    Keypoint {
        place_px,
        visibility: if is_hidden {
            Visibility::Hidden
        } else {
            Visibility::Visible
        },
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use glam::Mat4;

    use super::*;
    use crate::render::Silhouette;
    use crate::scene::{self, Camera, ScenePlan};
    use crate::seed::SeedKey;

    /// An object of 20 mm on each side in the middle of an image of 100x100 pixels, seen from
    /// straight above at half a metre, where a pixel is 1 mm.
    fn seen_from_above() -> (SceneInstance, GroundTruth) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenes/shapes.yaml");
        let plan = ScenePlan::load(&path, &["placement.count=1".parse().unwrap()]).unwrap();
        let mut instance = scene::sample(&plan, &SeedKey::new(b"test", 0), 0);
        (instance.width_px, instance.height_px) = (100, 100);
        instance.camera = Camera {
            position_m: Vec3::new(0.0, 0.0, 0.51),
            target_m: Vec3::ZERO,
            up: Vec3::Y,
            vertical_fov_deg: 2.0 * 0.1_f32.atan().to_degrees(),
            ..Camera::default()
        };
        instance.objects.truncate(1);
        instance.objects[0].world_from_object = Mat4::from_translation(Vec3::Z * 0.01);
        instance.objects[0].half_extents_m = Vec3::splat(0.01);
        let is_object = |pixel: usize| {
            let (x, y) = (pixel % 100, pixel / 100);
            (40..60).contains(&x) && (40..60).contains(&y)
        };
        let truth = GroundTruth {
            width_px: 100,
            ids: (0..10_000)
                .map(|pixel| u32::from(is_object(pixel)))
                .collect(),
            depth_m: (0..10_000)
                .map(|pixel| if is_object(pixel) { 0.49 } else { 0.51 })
                .collect(),
            silhouettes: vec![Silhouette::default(), Silhouette::default()],
            normals: None,
        };
        (instance, truth)
    }

    #[test]
    fn points_show_where_nothing_lies_before_them() {
        let (instance, mut truth) = seen_from_above();
        let at = |truth: &GroundTruth, x: f32, y: f32, z: f32| {
            keypoint(&instance, truth, 0, Vec3::new(x, y, z))
        };
        let top = at(&truth, 0.0, 0.0, 0.01);
        assert_eq!(top.visibility, Visibility::Visible);
        assert!(top.place_px.iter().all(|along| (along - 50.0).abs() < 1e-3));
        // To the right and up in the world is to the right and up in the image: 49 cm away a
        // millimetre is 50 / 49 pixels.
        let corner = at(&truth, 0.008, 0.004, 0.01);
        let expected = [50.0 + 400.0 / 49.0, 50.0 - 200.0 / 49.0];
        for (found, expected) in corner.place_px.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-3, "{found}, not {expected}");
        }
        let bottom = at(&truth, 0.0, 0.0, -0.01);
        assert_eq!(
            bottom.visibility,
            Visibility::Hidden,
            "its own body hides it"
        );
        let beside = at(&truth, 0.018, 0.0, 0.0);
        assert_eq!(
            beside.visibility,
            Visibility::Visible,
            "in the air above the ground"
        );
        let outside = at(&truth, 0.08, 0.0, 0.0);
        assert_eq!(
            (outside.visibility, outside.place_px),
            (Visibility::Outside, [0.0; 2])
        );
        // Another object a little nearer.
        (truth.ids[50 * 100 + 50], truth.depth_m[50 * 100 + 50]) = (2, 0.4899);
        assert_eq!(at(&truth, 0.0, 0.0, 0.01).visibility, Visibility::Hidden);
        truth.silhouettes[1].is_transparent = true;
        assert_eq!(at(&truth, 0.0, 0.0, 0.01).visibility, Visibility::Visible);
        // And one further off, as at the object's own edge.
        (truth.ids[50 * 100 + 50], truth.depth_m[50 * 100 + 50]) = (2, 0.51);
        truth.silhouettes[1].is_transparent = false;
        assert_eq!(at(&truth, 0.0, 0.0, 0.01).visibility, Visibility::Visible);
    }
}
