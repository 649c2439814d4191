//! Writes KITTI's object detection format (Geiger et al. 2012; the development kit's
//! `readme.txt`). The camera's axes are x to the right, y down, z along the line of sight;
//! lengths are metres.

use std::collections::BTreeMap;
use std::f64::consts::{PI, TAU};
use std::fmt::Write as _;
use std::path::Path;

use glam::DVec3;
use serde_json::Value;

use super::export::{manifest_line, place_image, write as write_text, write_png};
use super::pose::{CAMERA, Camera, Lacking, Pose, place_of};
use super::{Dataset, DatasetError, Sample, Split, Warnings, read_image};
use crate::annotation::{Annotation, BoundingBox};
use crate::observer::Observer;

/// From which visible share on an object counts as fully visible, and as partly hidden.
const FULLY_VISIBLE: f64 = 0.95;
const PARTLY_VISIBLE: f64 = 0.5;

/// How far, in degrees, an object may lean against the camera's upright before that is worth a
/// warning.
const MAX_LEAN_DEG: f64 = 10.0;

/// A box in the camera's space that can only turn about the y axis.
#[derive(Debug, Clone, PartialEq)]
struct UprightBox {
    /// Along y, along z and along x where it is not turned.
    height_m: f64,
    width_m: f64,
    length_m: f64,
    /// Middle of the bottom.
    location_m: DVec3,
    rotation_y: f64,
    /// Between the object's own upright axis and the camera's.
    lean_deg: f64,
}

impl UprightBox {
    /// The box nearest to a pose. The object's axis that is nearest to the camera's upright
    /// becomes its height, the first of the others its length; the centre stays.
    fn of(pose: &Pose) -> Self {
        let axes = [0, 1, 2].map(|axis| pose.camera_from_object.col(axis).truncate());
        let [upright, along, across] = if axes[2].y.abs() >= axes[0].y.abs().max(axes[1].y.abs()) {
            [2, 0, 1]
        } else if axes[1].y.abs() >= axes[0].y.abs() {
            [1, 0, 2]
        } else {
            [0, 1, 2]
        };
        let height_m = pose.size_m[upright];
        let forward = axes[along];
        UprightBox {
            height_m,
            width_m: pose.size_m[across],
            length_m: pose.size_m[along],
            location_m: pose.camera_from_object.w_axis.truncate() + DVec3::Y * height_m / 2.0,
            // A turn about y takes x towards -z.
            rotation_y: (-forward.z).atan2(forward.x),
            lean_deg: axes[upright].y.abs().min(1.0).acos().to_degrees(),
        }
    }

    /// The turn relative to the ray to the object.
    fn alpha(&self) -> f64 {
        let alpha = self.rotation_y - self.location_m.x.atan2(self.location_m.z);
        alpha - TAU * ((alpha + PI) / TAU).floor()
    }
}

/// One line of a label file.
fn line(class: &str, annotation: &Annotation, pose: &Pose, found: &UprightBox) -> String {
    let share = |key: &str| annotation.extra.get(key).and_then(Value::as_f64);
    let visible = share("visible_fraction").unwrap_or(1.0);
    let occluded = match visible {
        visible if visible >= FULLY_VISIBLE => 0,
        visible if visible >= PARTLY_VISIBLE => 1,
        _ => 2,
    };
    let BoundingBox { x, y, .. } = pose.amodal_bbox;
    // Corners are pixels that belong to the box.
    let (right, bottom) = (
        pose.amodal_bbox.right() - 1.0,
        pose.amodal_bbox.bottom() - 1.0,
    );
    let at = found.location_m;
    format!(
        "{class} {:.2} {occluded} {:.4} {x:.2} {y:.2} {right:.2} {bottom:.2} {:.6} {:.6} {:.6} \
         {:.6} {:.6} {:.6} {:.4}\n",
        share("truncated").unwrap_or(-1.0),
        found.alpha(),
        found.height_m,
        found.width_m,
        found.length_m,
        at.x,
        at.y,
        at.z,
        found.rotation_y
    )
}

/// The calibration file: all cameras are the one camera, and the laser scanner that KITTI's
/// car has stands at the same place, its axes x forward, y to the left and z up.
fn calibration(camera: &Camera) -> String {
    let k = camera.k();
    let row = |values: &[f64]| -> String {
        let values: Vec<String> = values.iter().map(|value| format!("{value:.9e}")).collect();
        values.join(" ")
    };
    let p = [
        k[0], k[1], k[2], 0.0, k[3], k[4], k[5], 0.0, k[6], k[7], k[8], 0.0,
    ];
    let mut text = String::new();
    for number in 0..4 {
        let _ = writeln!(text, "P{number}: {}", row(&p));
    }
    let identity = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
    let _ = writeln!(text, "R0_rect: {}", row(&identity));
    let camera_from_scanner = [0.0, -1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0];
    let _ = writeln!(text, "Tr_velo_to_cam: {}", row(&camera_from_scanner));
    let unmoved = [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0];
    let _ = writeln!(text, "Tr_imu_to_velo: {}", row(&unmoved));
    text
}

/// Readers of KITTI expect PNG files.
fn place_png(sample: &Sample, to: &Path) -> Result<(), DatasetError> {
    if sample
        .path
        .extension()
        .is_some_and(|ending| ending == "png")
    {
        return place_image(sample, to);
    }
    let image = read_image(&sample.path)?;
    write_png(&image, to)
}

/// Camera and poses of every image, or all that the data set lacks.
fn poses(dataset: &Dataset) -> Result<Vec<(Camera, Vec<Pose>)>, DatasetError> {
    let mut lacking = Lacking::default();
    let mut found = Vec::new();
    for sample in &dataset.samples {
        let camera = Camera::of(sample);
        lacking.require(camera.is_some(), CAMERA, &sample.file_name);
        let of_image: Vec<_> = sample
            .annotations
            .iter()
            .filter_map(|annotation| {
                Pose::of(annotation, &place_of(sample, annotation), &mut lacking)
            })
            .collect();
        found.extend(camera.map(|camera| (camera, of_image)));
    }
    lacking.into_result(dataset, "KITTI", "")?;
    Ok(found)
}

pub(super) fn write(
    dataset: &Dataset,
    folder: &Path,
    observer: &dyn Observer,
    warnings: &mut Warnings,
) -> Result<(), DatasetError> {
    let poses = poses(dataset)?;
    let class_of = |annotation: &Annotation| {
        let category = dataset.category(annotation.category_id);
        // Words are separated by spaces.
        category.map_or(String::new(), |category| {
            category
                .name
                .split_whitespace()
                .collect::<Vec<_>>()
                .join("_")
        })
    };
    let training = folder.join("training");
    let mut manifest = String::new();
    let mut lists: BTreeMap<Split, String> = BTreeMap::new();
    for (index, (sample, (camera, of_image))) in dataset.samples.iter().zip(&poses).enumerate() {
        let name = format!("{index:06}");
        place_png(sample, &training.join(format!("image_2/{name}.png")))?;
        let mut labels = String::new();
        for (annotation, pose) in sample.annotations.iter().zip(of_image) {
            let found = UprightBox::of(pose);
            if found.lean_deg > MAX_LEAN_DEG {
                let kind = format!(
                    "object leans more than {MAX_LEAN_DEG} degrees against the camera's upright, \
                     which KITTI cannot say: an upright box around the same centre was written"
                );
                warnings.add(&kind, place_of(sample, annotation));
            }
            labels.push_str(&line(&class_of(annotation), annotation, pose, &found));
        }
        write_text(&training.join(format!("label_2/{name}.txt")), &labels)?;
        write_text(
            &training.join(format!("calib/{name}.txt")),
            &calibration(camera),
        )?;
        if let Some(split) = sample.record.split {
            let list = lists.entry(split).or_default();
            let _ = writeln!(list, "{name}");
        }
        let file_name = format!("training/image_2/{name}.png");
        manifest_line(sample, &file_name, &mut manifest);
        observer.advance(1);
    }
    for (split, list) in &lists {
        write_text(&folder.join(format!("ImageSets/{split}.txt")), list)?;
    }
    write_text(&folder.join("manifest.jsonl"), &manifest)
}

#[cfg(test)]
mod tests {
    use glam::DMat4;

    use super::*;
    use crate::dataset::pose::tests::rendered;
    use crate::dataset::{Format, export};
    use crate::observer::Silent;

    fn pose(camera_from_object: DMat4) -> Pose {
        Pose {
            camera_from_object,
            size_m: DVec3::new(4.0, 2.0, 1.5),
            amodal_bbox: BoundingBox::from([0.0; 4]),
        }
    }

    /// From an object's space with z up to the camera's, turned about the camera's y.
    fn standing(rotation_y: f64) -> DMat4 {
        let upright = DMat4::from_rotation_x(PI / 2.0);
        let place = DMat4::from_translation(DVec3::new(3.0, 0.75, 10.0));
        place * DMat4::from_rotation_y(rotation_y) * upright
    }

    #[test]
    fn turns_about_y_are_found() {
        for turn in [-3.0, -1.2, 0.0, 0.4, 1.5, 3.1] {
            let found = UprightBox::of(&pose(standing(turn)));
            assert!(
                (found.rotation_y - turn).abs() < 1e-9,
                "{found:?}, not {turn}"
            );
            let sides = [found.height_m, found.width_m, found.length_m];
            assert_eq!(sides, [1.5, 2.0, 4.0]);
            assert!(found.lean_deg < 1e-5);
            assert!((found.location_m - DVec3::new(3.0, 1.5, 10.0)).length() < 1e-9);
            let alpha = turn - 0.3_f64.atan();
            let around = (found.alpha() - alpha).rem_euclid(TAU);
            assert!(around.min(TAU - around) < 1e-9 && found.alpha().abs() <= PI);
        }
        let leaning = UprightBox::of(&pose(standing(0.3) * DMat4::from_rotation_x(0.5)));
        assert!((leaning.lean_deg - 0.5_f64.to_degrees()).abs() < 1e-6);
        // On its side, another axis is upright.
        let lying = UprightBox::of(&pose(standing(0.3) * DMat4::from_rotation_x(PI / 2.0)));
        assert_eq!(
            [lying.height_m, lying.width_m, lying.length_m],
            [2.0, 1.5, 4.0]
        );
        assert!((lying.rotation_y - 0.3).abs() < 1e-9);
    }

    #[test]
    fn what_is_written_projects_into_its_box() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = rendered(&folder.path().join("in"));
        let out = folder.path().join("out");
        let warnings = export(&dataset, Format::Kitti, &out, &Silent).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
        let label = read("training/label_2/000001.txt");
        let words: Vec<&str> = label.split_whitespace().collect();
        assert_eq!((words[0], words.len()), ("small_box", 15));
        let values: Vec<f64> = words[1..]
            .iter()
            .map(|word| word.parse().unwrap())
            .collect();
        assert_eq!(values[..2], [0.0, 0.0], "neither cut nor hidden");
        assert_eq!(values[7..10], [0.03, 0.02, 0.04]);
        let calibration = read("training/calib/000001.txt");
        let p2 = calibration
            .lines()
            .nth(2)
            .unwrap()
            .strip_prefix("P2: ")
            .unwrap();
        let p2: Vec<f64> = p2.split(' ').map(|word| word.parse().unwrap()).collect();
        let (h, w, l) = (values[7], values[8], values[9]);
        let (sin, cos) = values[13].sin_cos();
        for corner in 0..8 {
            let half = |bit: usize| f64::from(corner >> bit & 1) - 0.5;
            let (x, y, z) = (l * half(0), h * (half(1) - 0.5), w * half(2));
            let at = [
                cos * x + sin * z + values[10],
                y + values[11],
                -sin * x + cos * z + values[12],
            ];
            let project = |row: usize| {
                (0..3)
                    .map(|axis| p2[4 * row + axis] * at[axis])
                    .sum::<f64>()
                    + p2[4 * row + 3]
            };
            let (x, y) = (project(0) / project(2), project(1) / project(2));
            assert!(
                (values[3] - 1.0..values[5] + 1.0).contains(&x),
                "{x}: {label}"
            );
            assert!(
                (values[4] - 1.0..values[6] + 1.0).contains(&y),
                "{y}: {label}"
            );
        }
        assert_eq!(read("ImageSets/val.txt"), "000001\n");
        assert!(out.join("training/image_2/000000.png").is_file());
    }
}
