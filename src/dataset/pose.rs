//! Cameras and poses of a rendered data set, for formats that hold them.

use std::collections::BTreeMap;

use glam::{DMat3, DMat4, DVec3};
use serde_json::Value;

use super::{Dataset, DatasetError, Sample};
use crate::annotation::{Annotation, BoundingBox, numbers};

/// How a message names what [`Camera::of`] reads.
pub(super) const CAMERA: &str = "`camera` without distortion in manifest.jsonl";

/// The camera of an image.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Camera {
    /// Focal lengths and principal point in pixels, from the outer corner of the top left
    /// pixel.
    pub focal_px: [f64; 2],
    pub principal_px: [f64; 2],
    /// OpenCV's axes: x to the right, y down, z along the line of sight; metres.
    pub camera_from_world: DMat4,
}

impl Camera {
    /// Reads the camera from an image's factors; `None` where there is none, or one whose lens
    /// distorts.
    pub(super) fn of(sample: &Sample) -> Option<Self> {
        let camera = sample.record.factors.get("camera")?;
        if camera
            .get("distortion")
            .is_some_and(|lens| !lens.is_null() && lens != "none")
        {
            return None;
        }
        if let (Some(k), Some(pose)) = (camera.get("K"), camera.get("world_from_camera")) {
            let k = rows_of(k, 3)?;
            return Some(Camera {
                focal_px: [k[0], k[4]],
                principal_px: [k[2], k[5]],
                camera_from_world: matrix_of(pose)?.inverse(),
            });
        }
        let vector = |key: &str| -> Option<DVec3> {
            let parts = numbers(camera.get(key)?)?;
            (parts.len() == 3).then(|| DVec3::from_slice(&parts))
        };
        let (position, target, up) = (vector("position_m")?, vector("target_m")?, vector("up")?);
        let forward = (target - position).try_normalize()?;
        let right = forward.cross(up).try_normalize()?;
        let down = forward.cross(right);
        let camera_from_world =
            DMat4::from_mat3(DMat3::from_cols(right, down, forward).transpose())
                * DMat4::from_translation(-position);
        let fov = camera.get("vertical_fov_deg")?.as_f64()?;
        let (width, height) = (f64::from(sample.width), f64::from(sample.height));
        let focal = height / 2.0 / (fov.to_radians() / 2.0).tan();
        (focal.is_finite() && focal > 0.0).then_some(Camera {
            focal_px: [focal; 2],
            principal_px: [width / 2.0, height / 2.0],
            camera_from_world,
        })
    }

    /// The camera matrix row by row, in the convention of OpenCV and of the formats written
    /// here, whose origin is the *centre* of the top left pixel.
    pub(super) fn k(&self) -> [f64; 9] {
        let ([fx, fy], [cx, cy]) = (self.focal_px, self.principal_px);
        [fx, 0.0, cx - 0.5, 0.0, fy, cy - 0.5, 0.0, 0.0, 1.0]
    }
}

/// Pose and size of an object.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pose {
    pub camera_from_object: DMat4,
    /// Full extents along its own axes.
    pub size_m: DVec3,
    pub amodal_bbox: BoundingBox,
}

impl Pose {
    /// Reads an annotation's further keys; what is missing is noted.
    pub(super) fn of(annotation: &Annotation, place: &str, lacking: &mut Lacking) -> Option<Self> {
        let extra = &annotation.extra;
        let matrix = extra.get("camera_from_object").and_then(matrix_of);
        let list = |key: &str, count: usize| {
            let found = extra.get(key).and_then(numbers);
            found.filter(|list| list.len() == count)
        };
        let size = list("size_m", 3);
        let amodal = list("amodal_bbox", 4);
        lacking.require(matrix.is_some(), "`camera_from_object`", place);
        lacking.require(size.is_some(), "`size_m`", place);
        lacking.require(amodal.is_some(), "`amodal_bbox`", place);
        let amodal: [f64; 4] = amodal?.try_into().ok()?;
        Some(Pose {
            camera_from_object: matrix?,
            size_m: DVec3::from_slice(&size?),
            amodal_bbox: amodal.into(),
        })
    }
}

fn matrix_of(value: &Value) -> Option<DMat4> {
    let flat: [f64; 16] = rows_of(value, 4)?.try_into().ok()?;
    Some(DMat4::from_cols_array(&flat).transpose())
}

/// The numbers of a square matrix that is written row by row.
fn rows_of(value: &Value, side: usize) -> Option<Vec<f64>> {
    let rows: Vec<Vec<f64>> = value
        .as_array()?
        .iter()
        .map(numbers)
        .collect::<Option<_>>()?;
    let is_square = rows.len() == side && rows.iter().all(|row| row.len() == side);
    is_square.then(|| rows.concat())
}

/// Three rows of a rotation, and a translation in millimetres.
pub(super) fn rotation_and_mm(pose: &DMat4) -> ([f64; 9], [f64; 3]) {
    let rows = DMat3::from_mat4(*pose).transpose().to_cols_array();
    (rows, (pose.w_axis.truncate() * 1000.0).to_array())
}

/// What a data set lacks, by key, with how often and where first.
#[derive(Debug, Default)]
pub(super) struct Lacking(BTreeMap<&'static str, (usize, String)>);

impl Lacking {
    pub(super) fn require(&mut self, is_there: bool, key: &'static str, place: &str) {
        if !is_there {
            self.0.entry(key).or_insert((0, place.to_owned())).0 += 1;
        }
    }

    /// All that is missing as one error, with what to do.
    pub(super) fn into_result(
        self,
        dataset: &Dataset,
        format: &'static str,
        flags: &str,
    ) -> Result<(), DatasetError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let missing = |(key, (count, first)): (&&str, &(usize, String))| {
            format!("{key} ({count}x; first at {first})")
        };
        let missing: Vec<String> = self.0.iter().map(missing).collect();
        Err(DatasetError::Lacking {
            path: dataset.root.clone(),
            format,
            message: format!(
                "{}. Render the data set with `admix generate SCENE.yaml -n N -o DIR{flags}` and \
                 convert that folder; geometric augmentation takes poses away",
                missing.join(", ")
            ),
        })
    }
}

/// Where an annotation stands, for messages.
pub(super) fn place_of(sample: &Sample, annotation: &Annotation) -> String {
    format!("{} annotation {}", sample.file_name, annotation.id)
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::annotation::{Category, Outline};
    use crate::dataset::{Origin, Record, Split};

    /// Two images of 80x60 pixels, the first in train and the second in val, each with a box
    /// of 40x20x30 mm upright before a level camera, as `generate` labels them. The camera
    /// stands at the height of the boxes' middle and looks along y.
    pub(in crate::dataset) fn rendered(root: &std::path::Path) -> Dataset {
        std::fs::create_dir_all(root.join("images")).unwrap();
        std::fs::create_dir_all(root.join("depth")).unwrap();
        let sample = |(index, split): (u64, Split)| {
            let file_name = format!("{index:06}.png");
            let path = root.join("images").join(&file_name);
            image::RgbImage::new(80, 60).save(&path).unwrap();
            let values = (0..80 * 60).map(|pixel| if pixel == 0 { u16::MAX } else { 2000 });
            let depth = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(
                80,
                60,
                values.collect::<Vec<u16>>(),
            );
            depth
                .unwrap()
                .save(root.join("depth").join(&file_name))
                .unwrap();
            let mut record = Record::new(index + 1, file_name.as_str(), Origin::Synthetic);
            record.split = Some(split);
            record.factors.insert(
                "camera".to_owned(),
                json!({"position_m": [0.0, 0.0, 0.015], "target_m": [0.0, 0.2, 0.015],
                    "up": [0.0, 0.0, 1.0], "vertical_fov_deg": 90.0}),
            );
            // 0.2 m away and 0.05 m to the right; a metre is 30 / 0.2 pixels there.
            let bbox = BoundingBox::from([44.0, 27.0, 7.0, 6.0]);
            let mask = Outline::of_pixels([80, 60], &bbox, |_, _| true).to_json();
            let extra = json!({
                "family": "brick", "visible_fraction": 1.0, "truncated": 0.0,
                "amodal_bbox": bbox, "size_m": [0.04, 0.02, 0.03], "diameter_m": 0.0538516,
                "camera_from_object": [[1.0, 0.0, 0.0, 0.05], [0.0, 0.0, -1.0, 0.0],
                    [0.0, 1.0, 0.0, 0.2], [0.0, 0.0, 0.0, 1.0]],
                "segmentation": mask, "amodal_segmentation": mask,
            });
            Sample {
                id: index + 1,
                path,
                file_name,
                width: 80,
                height: 60,
                annotations: vec![Annotation {
                    id: index + 1,
                    category_id: 1,
                    bbox,
                    area: 42.0,
                    is_crowd: false,
                    extra: extra.as_object().unwrap().clone(),
                }],
                record,
            }
        };
        Dataset {
            root: root.to_owned(),
            categories: vec![Category {
                id: 1,
                name: "small box".to_owned(),
                ..Category::default()
            }],
            samples: [(0, Split::Train), (1, Split::Val)].map(sample).to_vec(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn the_camera_is_read_from_what_was_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = rendered(folder.path());
        let camera = Camera::of(&dataset.samples[0]).unwrap();
        assert!((camera.focal_px[0] - 30.0).abs() < 1e-9);
        let k = camera.k();
        assert!((k[2] - 39.5).abs() < 1e-9 && (k[5] - 29.5).abs() < 1e-9);
        let seen = camera
            .camera_from_world
            .transform_point3(DVec3::new(0.05, 0.2, 0.0));
        assert!(
            (seen - DVec3::new(0.05, 0.015, 0.2)).length() < 1e-9,
            "{seen}"
        );
        let mut calibrated = dataset.samples[1].clone();
        calibrated.record.factors.insert(
            "camera".to_owned(),
            json!({"K": [[30.0, 0.0, 41.0], [0.0, 31.0, 30.0], [0.0, 0.0, 1.0]],
                "distortion": "none",
                "world_from_camera": [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0],
                    [0.0, -1.0, 0.0, 0.015], [0.0, 0.0, 0.0, 1.0]]}),
        );
        let found = Camera::of(&calibrated).unwrap();
        assert_eq!((found.k()[2], found.k()[4]), (40.5, 31.0));
        let seen = found
            .camera_from_world
            .transform_point3(DVec3::new(0.05, 0.2, 0.0));
        assert!(
            (seen - DVec3::new(0.05, 0.015, 0.2)).length() < 1e-9,
            "{seen}"
        );
        calibrated.record.factors["camera"]["distortion"] = json!({"fisheye": {"k1": 0.1}});
        assert_eq!(Camera::of(&calibrated), None, "a bent image has no matrix");
        let mut lacking = Lacking::default();
        let annotation = &dataset.samples[0].annotations[0];
        let pose = Pose::of(annotation, "here", &mut lacking).unwrap();
        assert_eq!(
            pose.camera_from_object.w_axis.truncate(),
            DVec3::new(0.05, 0.0, 0.2)
        );
        let (turn, shift) = rotation_and_mm(&pose.camera_from_object);
        assert_eq!(turn, [1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.0]);
        assert_eq!(shift, [50.0, 0.0, 200.0]);
        assert!(lacking.into_result(&dataset, "x", "").is_ok());
    }

    #[test]
    fn all_that_is_missing_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut dataset = rendered(folder.path());
        let mut lacking = Lacking::default();
        let annotation = &mut dataset.samples[0].annotations[0];
        annotation.extra.shift_remove("size_m");
        annotation
            .extra
            .insert("camera_from_object".to_owned(), json!([[1.0, 2.0]]));
        assert_eq!(
            Pose::of(annotation, "000000.png annotation 1", &mut lacking),
            None
        );
        let message = lacking
            .into_result(&dataset, "BOP", " --depth")
            .unwrap_err()
            .to_string();
        for part in [
            "`size_m`",
            "`camera_from_object` (1x",
            "annotation 1",
            "--depth",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
}
