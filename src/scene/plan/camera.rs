//! Checks the camera of a scene.

use glam::Vec2;

use super::super::instance::Camera;
use super::super::lens::Distortion;
use super::super::pose::{LEAST_FOCUS, LEAST_HEIGHT_M};
use super::super::projection::LensError;
use super::super::spec::{CameraSpec, DistortionSpec, ImageSpec, PoseSpec};
use super::check_range;
use crate::spec::{Distribution, Problems};

/// Lowest place of a camera in millimetres.
const LEAST_HEIGHT_MM: f64 = LEAST_HEIGHT_M as f64 * 1000.0;

/// The most frames that are averaged.
const MAX_SUBFRAMES: u32 = 1024;

/// The most points of a path.
const MAX_POINTS: usize = 256;

/// How far the proportions of sensor and image may be apart.
const PROPORTION_TOLERANCE: f64 = 0.01;

pub(super) fn check_camera(problems: &mut Problems, camera: &CameraSpec, image: &ImageSpec) {
    check_place(problems, camera);
    check_lens(problems, camera, image);
    if let Some(motion) = &camera.motion {
        for along in &motion.translation_mm {
            check_range(problems, "camera.motion.translation_mm", along, -1e5, 1e5);
        }
        for turn in &motion.rotation_deg {
            check_range(problems, "camera.motion.rotation_deg", turn, -90.0, 90.0);
        }
    }
    if let Some(subframes) = camera.subframes {
        let ok = (1..=MAX_SUBFRAMES).contains(&subframes);
        let range = format!("{subframes} is not within 1..={MAX_SUBFRAMES}");
        problems.require(ok, "camera.subframes", range);
        let ok = camera.aperture_f_number.is_some() || camera.motion.is_some();
        let rule = "is for `aperture_f_number` and `motion`, which are missing";
        problems.require(ok, "camera.subframes", rule);
    }
}

fn check_place(problems: &mut Problems, camera: &CameraSpec) {
    let none = (f64::NEG_INFINITY, f64::INFINITY);
    for (key, found, (low, high)) in [
        ("camera.distance_mm", &camera.distance_mm, (20.0, 1e5)),
        ("camera.tilt_deg", &camera.tilt_deg, (-75.0, 75.0)),
        ("camera.roll_deg", &camera.roll_deg, none),
        ("camera.offset_mm", &camera.offset_mm, none),
    ] {
        match (found, &camera.pose) {
            (Some(found), None) => check_range(problems, key, found, low, high),
            (None, None) => problems.add(
                key,
                "is missing: a camera that looks down needs distance_mm, tilt_deg, roll_deg and offset_mm, any other a `pose`",
            ),
            (Some(_), Some(_)) => problems.add(
                key,
                "is for a camera that looks down on the ground; leave it out beside `pose`, which has its own keys",
            ),
            (None, Some(_)) => {}
        }
    }
    match &camera.pose {
        None => {}
        Some(PoseSpec::OnSphere {
            target_mm,
            distance_mm,
            elevation_deg,
            ..
        }) => {
            let key = "camera.pose.on_sphere";
            check_around(problems, key, distance_mm, elevation_deg);
            check_point(problems, &format!("{key}.target_mm"), target_mm);
        }
        Some(PoseSpec::AtObject {
            distance_mm,
            elevation_deg,
            offset_mm,
            ..
        }) => {
            let key = "camera.pose.at_object";
            check_around(problems, key, distance_mm, elevation_deg);
            check_point(problems, &format!("{key}.offset_mm"), offset_mm);
        }
        Some(PoseSpec::InBox {
            position_mm,
            target_mm,
            ..
        }) => {
            let key = "camera.pose.in_box";
            check_point(problems, &format!("{key}.target_mm"), target_mm);
            check_point(problems, &format!("{key}.position_mm"), position_mm);
            let (low, _) = position_mm[2].support();
            let ok = low >= LEAST_HEIGHT_MM || low.is_infinite();
            let rule = format!("its height must be {LEAST_HEIGHT_MM} or more: the ground is at 0");
            problems.require(ok, &format!("{key}.position_mm"), rule);
        }
        Some(PoseSpec::OnPath {
            points_mm,
            along,
            target_mm,
            ..
        }) => {
            let key = "camera.pose.on_path";
            check_range(problems, &format!("{key}.along"), along, 0.0, 1.0);
            if let Some(target_mm) = target_mm {
                check_point(problems, &format!("{key}.target_mm"), target_mm);
            }
            let is_place = |point: &[f64; 3]| {
                point.iter().all(|x| x.abs() <= 1e6) && point[2] >= LEAST_HEIGHT_MM
            };
            let ok = (2..=MAX_POINTS).contains(&points_mm.len())
                && points_mm.iter().all(is_place)
                && points_mm.windows(2).all(|pair| pair[0] != pair[1]);
            problems.require(
                ok,
                &format!("{key}.points_mm"),
                format!(
                    "needs 2 to {MAX_POINTS} points, neighbours apart, at heights of {LEAST_HEIGHT_MM} or more"
                ),
            );
        }
    }
}

fn check_around(
    problems: &mut Problems,
    key: &str,
    distance_mm: &Distribution,
    elevation_deg: &Distribution,
) {
    check_range(
        problems,
        &format!("{key}.distance_mm"),
        distance_mm,
        20.0,
        1e6,
    );
    check_range(
        problems,
        &format!("{key}.elevation_deg"),
        elevation_deg,
        -90.0,
        90.0,
    );
}

fn check_point(problems: &mut Problems, key: &str, point: &[Distribution; 3]) {
    for along in point {
        check_range(problems, key, along, -1e6, 1e6);
    }
}

fn check_lens(problems: &mut Problems, camera: &CameraSpec, image: &ImageSpec) {
    let before = problems.len();
    match (&camera.vertical_fov_deg, &camera.focal_length_mm) {
        (Some(fov), None) => check_range(problems, "camera.vertical_fov_deg", fov, 1.0, 150.0),
        (None, Some(focal)) => {
            check_range(problems, "camera.focal_length_mm", focal, 0.1, 1e4);
            let ok = focal.support().0.is_finite();
            let rule = "needs a least value: take truncated_normal in place of normal";
            problems.require(ok, "camera.focal_length_mm", rule);
        }
        (None, None) => problems.add(
            "camera.vertical_fov_deg",
            "is missing: a lens needs it, or focal_length_mm with sensor_mm",
        ),
        (Some(_), Some(_)) => problems.add(
            "camera.focal_length_mm",
            "stands beside vertical_fov_deg; leave out one of them",
        ),
    }
    let has_focal = camera.focal_length_mm.is_some();
    let proportion = f64::from(image.width_px) / f64::from(image.height_px.max(1));
    match camera.sensor_mm {
        Some(_) if !has_focal => problems.add(
            "camera.sensor_mm",
            "is for focal_length_mm, which is missing",
        ),
        None if has_focal => problems.add(
            "camera.sensor_mm",
            "is missing: focal_length_mm needs the sensor's [width, height]",
        ),
        Some([width, height]) => {
            let ok = [width, height]
                .iter()
                .all(|side| (0.1..=1e4).contains(side));
            problems.require(ok, "camera.sensor_mm", "sides must be within 0.1..=10000");
            let ok = !ok || (width / height / proportion - 1.0).abs() < PROPORTION_TOLERANCE;
            let rule = format!(
                "pixels are square, so that its proportions must be those of the image, {}:{}",
                image.width_px, image.height_px
            );
            problems.require(ok, "camera.sensor_mm", rule);
        }
        None => {}
    }
    if let Some(f_number) = &camera.aperture_f_number {
        check_range(problems, "camera.aperture_f_number", f_number, 0.5, 128.0);
        let rule = "needs focal_length_mm and sensor_mm, which say how wide the opening is";
        problems.require(has_focal, "camera.aperture_f_number", rule);
    }
    if let Some(focus) = &camera.focus_mm {
        let most = camera
            .focal_length_mm
            .as_ref()
            .map_or(0.1, |focal| focal.support().1);
        let least = if most.is_finite() {
            LEAST_FOCUS as f64 * most
        } else {
            0.1
        };
        check_range(problems, "camera.focus_mm", focus, least, 1e7);
        let rule = "is for aperture_f_number, which is missing: without it everything is sharp";
        problems.require(camera.aperture_f_number.is_some(), "camera.focus_mm", rule);
    }
    for (side, offset) in [image.width_px, image.height_px]
        .iter()
        .zip(&camera.principal_offset_px)
    {
        let half = f64::from(*side) / 2.0;
        check_range(problems, "camera.principal_offset_px", offset, -half, half);
    }
    // Only a lens that is sound so far has an image.
    if let Some(distortion) = &camera.distortion
        && problems.len() == before
    {
        check_distortion(problems, camera, image, distortion);
    }
}

/// Tries all corners of the coefficients' ranges at the widest field.
fn check_distortion(
    problems: &mut Problems,
    camera: &CameraSpec,
    image: &ImageSpec,
    distortion: &DistortionSpec,
) {
    let coefficients = distortion.coefficients();
    let bounded = coefficients
        .iter()
        .map(|(_, coefficient)| coefficient)
        .chain(&camera.principal_offset_px.each_ref())
        .all(|found| found.support().0.is_finite() && found.support().1.is_finite());
    if !bounded {
        problems.add(
            "camera.distortion",
            "its coefficients and principal_offset_px need bounds: take truncated_normal in place of normal",
        );
        return;
    }
    let widest_deg = match (
        &camera.focal_length_mm,
        camera.sensor_mm,
        &camera.vertical_fov_deg,
    ) {
        (Some(focal), Some([_, height_mm]), _) => {
            let half = (height_mm / 2.0 / focal.support().0.max(0.1)).atan();
            (2.0 * half).to_degrees().min(150.0)
        }
        (_, _, Some(fov)) => fov.support().1.min(150.0),
        _ => return,
    };
    let ends = |distribution: &Distribution, upper: bool| {
        let (low, high) = distribution.support();
        (if upper { high } else { low }) as f32
    };
    let count = coefficients.len();
    for corner in 0..1_u32 << (count + 2) {
        let is_upper = |place: usize| corner >> place & 1 == 1;
        let drawn = |place: usize| ends(coefficients[place].1, is_upper(place));
        let lens = match distortion {
            DistortionSpec::BrownConrady { .. } => Distortion::BrownConrady {
                k1: drawn(0),
                k2: drawn(1),
                k3: drawn(2),
                p1: drawn(3),
                p2: drawn(4),
            },
            DistortionSpec::Fisheye { .. } => Distortion::Fisheye {
                k1: drawn(0),
                k2: drawn(1),
                k3: drawn(2),
                k4: drawn(3),
            },
        };
        let [x, y] = camera.principal_offset_px.each_ref();
        let candidate = Camera {
            vertical_fov_deg: widest_deg as f32,
            principal_offset_px: Vec2::new(ends(x, is_upper(count)), ends(y, is_upper(count + 1))),
            distortion: lens,
            ..Camera::default()
        };
        let field = candidate
            .projection(image.width_px, image.height_px)
            .field();
        if let Err(error) = field {
            let names: Vec<String> = coefficients
                .iter()
                .enumerate()
                .map(|(place, (name, _))| format!("{name} {}", drawn(place)))
                .collect();
            let remedy = match error {
                LensError::Folds => "take coefficients nearer to 0, or a longer focal length",
                LensError::TooWide { .. } => "take a longer focal length",
            };
            problems.add(
                "camera.distortion",
                format!("at {}: {error}; {remedy}", names.join(", ")),
            );
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::ScenePlan;

    fn load(camera: &str) -> Result<ScenePlan, String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenes/shapes.yaml");
        let text = format!("camera={{{camera}}}");
        ScenePlan::load(&path, &[text.parse().unwrap()]).map_err(|error| error.to_string())
    }

    const DOWN: &str = "distance_mm: 400, tilt_deg: 0, roll_deg: 0, offset_mm: 0";

    #[test]
    fn keys_that_do_not_go_together_are_all_told() {
        let error = load(
            "distance_mm: 400, pose: {in_box: {position_mm: [0, 0, -5]}}, focal_length_mm: 30, aperture_f_number: 0.1, focus_mm: 20, subframes: 0",
        )
        .unwrap_err();
        for part in [
            "camera.distance_mm: is for a camera that looks down",
            "camera.pose.in_box.position_mm: its height",
            "camera.sensor_mm: is missing",
            "camera.aperture_f_number: draws of 0.1",
            "camera.focus_mm: draws of 20..=20 are not within 60",
            "camera.subframes: 0 is not",
        ] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
        let error = load("distance_mm: 400, sensor_mm: [3, 2], subframes: 8").unwrap_err();
        for part in [
            "camera.tilt_deg: is missing",
            "camera.vertical_fov_deg: is missing",
            "camera.sensor_mm: is for focal_length_mm",
            "camera.subframes: is for",
        ] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
        // The image is 4:3.
        let lens = "focal_length_mm: 30, sensor_mm: [36, 24]";
        let error = load(&format!("{DOWN}, {lens}")).unwrap_err();
        assert!(error.contains("640:480"), "{error}");
    }

    #[test]
    fn a_lens_must_be_one_to_one_over_its_image() {
        let lens = |fov: u32, distortion: &str| {
            load(&format!(
                "{DOWN}, vertical_fov_deg: {fov}, distortion: {{{distortion}}}"
            ))
        };
        lens(45, "brown_conrady: {k1: {uniform: [-0.3, 0.3]}, p1: 0.002}").unwrap();
        lens(70, "fisheye: {k1: {uniform: [-0.05, 0.05]}}").unwrap();
        // Only the lower end of the range folds.
        let error = lens(75, "brown_conrady: {k1: {uniform: [-0.4, 0]}}").unwrap_err();
        assert!(
            error.contains("at k1 -0.4,") && error.contains("folds"),
            "{error}"
        );
        let error = lens(120, "fisheye: {}").unwrap_err();
        assert!(error.contains("more than 80"), "{error}");
        let error = lens(45, "brown_conrady: {k1: {normal: {mean: 0, sd: 0.1}}}").unwrap_err();
        assert!(error.contains("truncated_normal"), "{error}");
    }

    #[test]
    fn a_pinhole_that_looks_down_is_written_as_before() {
        let plan = load(&format!("{DOWN}, vertical_fov_deg: 40")).unwrap();
        let text = serde_json::to_string(&plan.spec().camera).unwrap();
        let expected = concat!(
            r#"{"distance_mm":{"constant":400.0},"vertical_fov_deg":{"constant":40.0},"#,
            r#""tilt_deg":{"constant":0.0},"roll_deg":{"constant":0.0},"#,
            r#""offset_mm":{"constant":0.0}}"#
        );
        // Scenes are drawn from the plan's hash: another text would draw others.
        assert_eq!(text, expected);
    }
}
