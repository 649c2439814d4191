//! Draws the camera of one image: its pose, its lens and its motion.

use glam::{Mat3, Quat, Vec2, Vec3};
use rand::RngExt;

use super::instance::{Camera, Object};
use super::lens::Distortion;
use super::projection::{Aperture, Motion};
use super::sampler::metres;
use super::spec::{CameraSpec, DistortionSpec, ImageSpec, PoseSpec};
use crate::seed::{Generator, SeedKey};
use crate::spec::Distribution;

/// A camera is never lower than this above the ground.
pub(super) const LEAST_HEIGHT_M: f32 = 0.005;

/// A camera is never nearer than this to what it looks at.
const LEAST_DISTANCE_M: f32 = 0.02;

/// A camera that looks at an object keeps this many times its radius from its middle.
const LEAST_RADII: f32 = 1.2;

/// Nearer than this many focal lengths nothing is in focus: there it is shown in life size.
pub(super) const LEAST_FOCUS: f32 = 2.0;

/// Frames that are averaged where nothing else is said.
pub(super) const SUBFRAMES: u32 = 16;

/// Draws the camera. Poses that look down on the ground take their draws from `view`, which
/// goes on with other things; all others from streams of their own.
pub(super) fn sample_camera(
    spec: &CameraSpec,
    image: &ImageSpec,
    objects: &[Object],
    view: &mut Generator,
    key: &SeedKey,
) -> Camera {
    let mut lens = key.generator("lens", 0);
    let mut camera = match &spec.pose {
        None => looking_down(spec, view),
        Some(pose) => {
            let mut generator = key.generator("camera", 0);
            let mut camera = posed(pose, objects, &mut generator);
            let mut draw = |distribution: &Distribution| distribution.sample(&mut lens) as f32;
            if let Some(fov) = &spec.vertical_fov_deg {
                camera.vertical_fov_deg = draw(fov).clamp(1.0, 150.0);
            }
            camera
        }
    };
    let distance_m = (camera.target_m - camera.position_m).length();
    let mut draw = |distribution: &Distribution| distribution.sample(&mut lens) as f32;
    let focal_length_m = spec
        .focal_length_mm
        .as_ref()
        .map(|f| draw(f).max(0.1) / 1000.0);
    let focus_m = spec
        .focus_mm
        .as_ref()
        .map_or(distance_m, |focus| draw(focus) / 1000.0);
    if let (Some(focal_length_m), Some([_, height_mm])) = (focal_length_m, spec.sensor_mm) {
        let focus_m = focus_m.max(LEAST_FOCUS * focal_length_m);
        camera.aperture = spec.aperture_f_number.as_ref().map(|f_number| Aperture {
            f_number: draw(f_number).clamp(0.5, 128.0),
            focal_length_m,
            focus_m,
        });
        // The thin lens equation; without a diaphragm the lens is focused at infinity.
        let image_m = match camera.aperture {
            Some(_) => focal_length_m * focus_m / (focus_m - focal_length_m),
            None => focal_length_m,
        };
        let half = (metres(height_mm) / 2.0 / image_m).atan();
        camera.vertical_fov_deg = (2.0 * half).to_degrees().clamp(1.0, 150.0);
    }
    camera.principal_offset_px = Vec2::from(spec.principal_offset_px.each_ref().map(&mut draw));
    let size = Vec2::new(image.width_px as f32, image.height_px as f32);
    camera.principal_offset_px = camera.principal_offset_px.clamp(-size / 2.0, size / 2.0);
    camera.distortion = match &spec.distortion {
        None => Distortion::None,
        Some(DistortionSpec::BrownConrady { k1, k2, k3, p1, p2 }) => Distortion::BrownConrady {
            k1: draw(k1),
            k2: draw(k2),
            k3: draw(k3),
            p1: draw(p1),
            p2: draw(p2),
        },
        Some(DistortionSpec::Fisheye { k1, k2, k3, k4 }) => Distortion::Fisheye {
            k1: draw(k1),
            k2: draw(k2),
            k3: draw(k3),
            k4: draw(k4),
        },
    };
    let mut moved = key.generator("motion", 0);
    camera.motion = spec.motion.as_ref().map(|motion| {
        let mut draw = |axes: &[Distribution; 3]| {
            Vec3::from(axes.each_ref().map(|axis| axis.sample(&mut moved) as f32))
        };
        Motion {
            translation_m: draw(&motion.translation_mm) / 1000.0,
            rotation_deg: draw(&motion.rotation_deg).clamp(Vec3::splat(-90.0), Vec3::splat(90.0)),
        }
    });
    camera.subframes = spec.subframes.unwrap_or(SUBFRAMES);
    camera
}

fn looking_down(spec: &CameraSpec, view: &mut Generator) -> Camera {
    let mut draw = |distribution: &Option<Distribution>| {
        let drawn = distribution.as_ref().map(|found| found.sample(view));
        drawn.unwrap_or(0.0) as f32
    };
    let (distance, fov, tilt, roll) = (
        draw(&spec.distance_mm).max(20.0) / 1000.0,
        draw(&spec.vertical_fov_deg).clamp(1.0, 150.0),
        draw(&spec.tilt_deg).clamp(-75.0, 75.0).to_radians(),
        draw(&spec.roll_deg).to_radians(),
    );
    let target_m = Vec3::new(draw(&spec.offset_mm), draw(&spec.offset_mm), 0.0) / 1000.0;
    // The tilt leans the camera towards the image's bottom edge.
    let turn = Mat3::from_rotation_z(roll);
    Camera {
        position_m: target_m + turn * Vec3::new(0.0, -tilt.sin(), tilt.cos()) * distance,
        target_m,
        up: turn * Vec3::Y,
        vertical_fov_deg: fov,
        ..Camera::default()
    }
}

fn posed(pose: &PoseSpec, objects: &[Object], generator: &mut Generator) -> Camera {
    match pose {
        PoseSpec::OnSphere {
            target_mm,
            distance_mm,
            elevation_deg,
            azimuth_deg,
            roll_deg,
        } => {
            let target_m = place(target_mm, generator);
            let distance_m = draw(distance_mm, generator) / 1000.0;
            let angles = [elevation_deg, azimuth_deg].map(|angle| draw(angle, generator));
            let (away, up) = on_sphere(angles);
            let position_m = target_m + away * distance_m.max(LEAST_DISTANCE_M);
            camera(position_m, target_m, up, draw(roll_deg, generator))
        }
        PoseSpec::InBox {
            position_mm,
            target_mm,
            roll_deg,
        } => {
            let position_m = place(position_mm, generator);
            let target_m = place(target_mm, generator);
            camera(position_m, target_m, Vec3::Z, draw(roll_deg, generator))
        }
        PoseSpec::OnPath {
            points_mm,
            along,
            target_mm,
            roll_deg,
        } => {
            let points: Vec<Vec3> = points_mm
                .iter()
                .map(|point| Vec3::from(point.map(metres)))
                .collect();
            let (position_m, ahead) = on_curve(&points, draw(along, generator).clamp(0.0, 1.0));
            let target_m = match target_mm {
                Some(target_mm) => place(target_mm, generator),
                None => position_m + ahead,
            };
            camera(position_m, target_m, Vec3::Z, draw(roll_deg, generator))
        }
        PoseSpec::AtObject {
            distance_mm,
            elevation_deg,
            azimuth_deg,
            offset_mm,
            roll_deg,
        } => {
            // Drawn first and always, so that all else stays as it is for any number of objects.
            let share: f64 = generator.random();
            let things: Vec<&Object> = objects
                .iter()
                .filter(|object| object.family != "dressing")
                .collect();
            let chosen = things.get((share * things.len() as f64) as usize);
            let (middle, radius) = chosen.map_or((Vec3::ZERO, 0.0), |object| {
                let middle = object.world_from_object.w_axis.truncate();
                (middle, object.half_extents_m.length())
            });
            let distance_m = draw(distance_mm, generator) / 1000.0;
            let angles = [elevation_deg, azimuth_deg].map(|angle| draw(angle, generator));
            let (away, up) = on_sphere(angles);
            let least = LEAST_DISTANCE_M.max(LEAST_RADII * radius);
            let position_m = middle + away * distance_m.max(least);
            let target_m = middle + place(offset_mm, generator);
            camera(position_m, target_m, up, draw(roll_deg, generator))
        }
    }
}

fn draw(distribution: &Distribution, generator: &mut Generator) -> f32 {
    distribution.sample(generator) as f32
}

fn place(at_mm: &[Distribution; 3], generator: &mut Generator) -> Vec3 {
    Vec3::from(at_mm.each_ref().map(|along| draw(along, generator))) / 1000.0
}

/// The unit vector at an elevation and an azimuth in degrees, and the one at a right angle to
/// it that points upwards.
fn on_sphere([elevation_deg, azimuth_deg]: [f32; 2]) -> (Vec3, Vec3) {
    let (sin, cos) = elevation_deg.clamp(-90.0, 90.0).to_radians().sin_cos();
    let level = Vec2::from_angle(azimuth_deg.to_radians());
    ((level * cos).extend(sin), (level * -sin).extend(cos))
}

/// A camera above the ground that stands off from what it looks at. `up` is that of the image
/// without a roll, which turns the camera counter-clockwise as seen from behind.
fn camera(position_m: Vec3, target_m: Vec3, up: Vec3, roll_deg: f32) -> Camera {
    let raised = |at: Vec3| at.truncate().extend(at.z.max(LEAST_HEIGHT_M));
    let mut position_m = raised(position_m);
    let away = position_m - target_m;
    if away.length() < LEAST_DISTANCE_M {
        position_m = raised(target_m + away.normalize_or(Vec3::Z) * LEAST_DISTANCE_M);
    }
    let forward = (target_m - position_m).normalize_or(Vec3::NEG_Z);
    // Straight down or up there is no upwards.
    let up = if forward.cross(up).length() < 1e-3 {
        Vec3::Y
    } else {
        up
    };
    Camera {
        position_m,
        target_m,
        up: Quat::from_axis_angle(-forward, roll_deg.to_radians()) * up,
        ..Camera::default()
    }
}

/// A point of the curve through points and the unit vector along it (Catmull and Rom 1974),
/// with the first and the last point mirrored beyond the ends. Fewer than two points are no
/// curve.
fn on_curve(points: &[Vec3], along: f32) -> (Vec3, Vec3) {
    let [.., last] = points else {
        return (Vec3::Z, Vec3::NEG_Z);
    };
    let stretches = points.len() - 1;
    if stretches == 0 {
        return (*last, Vec3::NEG_Z);
    }
    let at = along * stretches as f32;
    let index = (at as usize).min(stretches - 1);
    let t = at - index as f32;
    let (b, c) = (points[index], points[index + 1]);
    let a = if index > 0 {
        points[index - 1]
    } else {
        b * 2.0 - c
    };
    let d = points.get(index + 2).copied().unwrap_or(c * 2.0 - b);
    let terms = [
        b * 2.0,
        c - a,
        a * 2.0 - b * 5.0 + c * 4.0 - d,
        b * 3.0 - a - c * 3.0 + d,
    ];
    let place = (terms[0] + (terms[1] + (terms[2] + terms[3] * t) * t) * t) / 2.0;
    let ahead = terms[1] + (terms[2] * 2.0 + terms[3] * 3.0 * t) * t;
    (place, ahead.normalize_or(c - b).normalize_or(Vec3::NEG_Z))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::scene::{ScenePlan, sample};

    fn drawn(overrides: &[&str], index: u64) -> crate::scene::SceneInstance {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenes/shapes.yaml");
        let overrides: Vec<_> = overrides.iter().map(|text| text.parse().unwrap()).collect();
        let plan = ScenePlan::load(&path, &overrides).unwrap();
        sample(&plan, &SeedKey::new(b"pose", 1), index)
    }

    fn posed(pose: &str, index: u64) -> crate::scene::SceneInstance {
        drawn(
            &[&format!("camera={{vertical_fov_deg: 40, {pose}}}")],
            index,
        )
    }

    #[test]
    fn on_a_sphere_it_keeps_its_distance_and_its_angles() {
        let pose = "pose: {on_sphere: {target_mm: [100, 0, 50], distance_mm: 400, elevation_deg: 30, azimuth_deg: 90}}";
        let camera = posed(pose, 0).camera;
        let expected = Vec3::new(0.1, 0.4 * 30_f32.to_radians().cos(), 0.05 + 0.2);
        assert!((camera.position_m - expected).length() < 1e-5);
        let [right, up, _] = camera.axes();
        assert!(right.z.abs() < 1e-5 && up.z > 0.0, "its image is level");
        let above = pose.replace("elevation_deg: 30", "elevation_deg: 90");
        assert!(posed(&above, 0).camera.axes()[0].is_finite());
    }

    #[test]
    fn a_roll_turns_all_cameras_the_same_way() {
        let down = "distance_mm: 400, tilt_deg: 0, offset_mm: 0, roll_deg: 25";
        let sphere = "pose: {on_sphere: {distance_mm: 400, elevation_deg: 90, azimuth_deg: -90, roll_deg: 25}}";
        let (down, sphere) = (posed(down, 0).camera, posed(sphere, 0).camera);
        assert!((down.position_m - sphere.position_m).length() < 1e-4);
        for (a, b) in down.axes().into_iter().zip(sphere.axes()) {
            assert!((a - b).length() < 1e-4, "{a} {b}");
        }
    }

    #[test]
    fn a_path_goes_through_its_points() {
        let points = [
            Vec3::new(0.0, 0.0, 1.0),
            Vec3::new(1.0, 0.5, 1.0),
            Vec3::new(1.5, 2.0, 2.0),
            Vec3::new(0.0, 3.0, 1.0),
        ];
        for (index, point) in points.iter().enumerate() {
            let (place, _) = on_curve(&points, index as f32 / 3.0);
            assert!((place - point).length() < 1e-5, "{place}");
        }
        // The curve and its direction are smooth where stretches meet.
        let (before, after) = (on_curve(&points, 0.3333), on_curve(&points, 0.3334));
        assert!((before.0 - after.0).length() < 1e-3);
        assert!(before.1.dot(after.1) > 0.999);
        let ahead =
            "pose: {on_path: {points_mm: [[0, 0, 300], [100, 0, 300], [200, 0, 300]], along: 0.4}}";
        let camera = posed(ahead, 0).camera;
        assert!(camera.axes()[2].dot(Vec3::X) > 0.999, "{camera:?}");
    }

    #[test]
    fn it_looks_at_one_of_the_objects() {
        let pose = "pose: {at_object: {distance_mm: {uniform: [100, 150]}, elevation_deg: {uniform: [20, 80]}, azimuth_deg: {uniform: [0, 360]}}}";
        let mut chosen = std::collections::BTreeSet::new();
        for index in 0..20 {
            let scene = posed(pose, index);
            let target_m = scene.camera.target_m;
            let middle = |object: &Object| object.world_from_object.w_axis.truncate();
            let found = scene
                .objects
                .iter()
                .position(|object| (middle(object) - target_m).length() < 1e-6);
            chosen.insert(found.expect("it looks at an object"));
            assert!(scene.camera.position_m.z >= LEAST_HEIGHT_M);
        }
        assert!(chosen.len() > 2, "{chosen:?}");
    }

    #[test]
    fn the_camera_leaves_objects_and_light_as_they_are() {
        let key = SeedKey::new(b"same", 1);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenes/shapes.yaml");
        let of = |text: &str| {
            let plan = ScenePlan::load(&path, &[text.parse().unwrap()]).unwrap();
            sample(&plan, &key, 3)
        };
        let a = of("camera={vertical_fov_deg: 40, pose: {in_box: {position_mm: [0, -300, 200]}}}");
        let b = of(
            "camera={focal_length_mm: 35, sensor_mm: [32, 24], aperture_f_number: 4, motion: {translation_mm: [1, 0, 0]}, pose: {at_object: {distance_mm: 200, elevation_deg: 40, azimuth_deg: 0}}}",
        );
        assert_ne!(a.camera, b.camera);
        assert_eq!(
            (a.objects, a.lights, a.sensor),
            (b.objects, b.lights, b.sensor)
        );
    }

    #[test]
    fn a_camera_stays_above_the_ground_and_off_its_target() {
        let low = camera(Vec3::new(0.0, 0.3, -0.2), Vec3::ZERO, Vec3::Z, 0.0);
        assert_eq!(low.position_m.z, LEAST_HEIGHT_M);
        let at_target = camera(Vec3::splat(0.3), Vec3::splat(0.3), Vec3::Z, 0.0);
        let distance = (at_target.position_m - at_target.target_m).length();
        assert!((distance - LEAST_DISTANCE_M).abs() < 1e-6);
        assert!(at_target.axes()[0].is_finite());
    }

    #[test]
    fn the_image_distance_is_that_of_a_thin_lens() {
        let lens = "distance_mm: 500, tilt_deg: 0, roll_deg: 0, offset_mm: 0, focal_length_mm: 50, sensor_mm: [32, 24]";
        let pinhole = drawn(&[&format!("camera={{{lens}}}")], 0).camera;
        let tangent = |camera: &Camera| (camera.vertical_fov_deg.to_radians() / 2.0).tan();
        assert!((tangent(&pinhole) - 12.0 / 50.0).abs() < 1e-5);
        let sharp = drawn(&[&format!("camera={{{lens}, aperture_f_number: 2}}")], 0).camera;
        // 1 / 50 = 1 / 500 + 1 / v.
        assert!((tangent(&sharp) - 12.0 / 55.555_556).abs() < 1e-5);
        let aperture = sharp.aperture.unwrap();
        assert!((aperture.focus_m - 0.5).abs() < 1e-6);
        assert!((aperture.radius_m() - 0.0125).abs() < 1e-6);
    }
}
