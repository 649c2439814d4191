//! Writes BOP: a benchmark's format for poses of rigid objects (Hodan et al. 2018;
//! `docs/bop_datasets_format.md` of bop_toolkit). Lengths are millimetres, the camera's axes
//! OpenCV's.

use std::collections::BTreeMap;
use std::path::Path;

use image::{GrayImage, Luma};
use serde_json::{Map, Value, json};

use super::export::{make_parent, manifest_line, place_image, write as write_text, write_png};
use super::pose::{CAMERA, Camera, Lacking, Pose, place_of, rotation_and_mm};
use super::sidecar::sidecar_path;
use super::writer::write_atomically;
use super::{Dataset, DatasetError, Sample, Split, Warnings};
use crate::annotation::{Annotation, BoundingBox, Outline};
use crate::observer::Observer;

/// Millimetres of one step of a depth image.
const DEPTH_SCALE: f64 = 0.1;

/// What our depth images hold from their farthest depth on, which BOP has no word for.
const TOO_FAR: u16 = u16::MAX;

/// How much the sizes of one object may differ before that is worth a warning.
const SIZE_TOLERANCE: f64 = 0.01;

/// Flags of `generate` that make all that is needed.
const FLAGS: &str = " --depth --segmentation";

/// All that one annotation says.
struct Target {
    pose: Pose,
    family: String,
    diameter_m: f64,
    visible: Outline,
    whole: Outline,
    truncated: f64,
}

impl Target {
    fn of(sample: &Sample, annotation: &Annotation, lacking: &mut Lacking) -> Option<Self> {
        let (extra, place) = (&annotation.extra, place_of(sample, annotation));
        let size = [sample.width, sample.height];
        let outline = |key: &str| Outline::parse(extra.get(key)?, size);
        let family = extra.get("family").and_then(Value::as_str);
        let diameter = extra.get("diameter_m").and_then(Value::as_f64);
        let (visible, whole) = (outline("segmentation"), outline("amodal_segmentation"));
        lacking.require(family.is_some(), "`family`", &place);
        lacking.require(diameter.is_some(), "`diameter_m`", &place);
        lacking.require(visible.is_some(), "`segmentation`", &place);
        lacking.require(whole.is_some(), "`amodal_segmentation`", &place);
        Some(Target {
            pose: Pose::of(annotation, &place, lacking)?,
            family: family?.to_owned(),
            diameter_m: diameter?,
            visible: visible?,
            whole: whole?,
            truncated: extra
                .get("truncated")
                .and_then(Value::as_f64)
                .unwrap_or(0.0),
        })
    }
}

/// What a data set must hold, or all that it lacks.
fn targets(dataset: &Dataset) -> Result<Vec<(Camera, Vec<Target>)>, DatasetError> {
    let mut lacking = Lacking::default();
    let mut found = Vec::new();
    for sample in &dataset.samples {
        let camera = Camera::of(sample);
        let depth = dataset.root.join(sidecar_path("depth", &sample.file_name));
        lacking.require(camera.is_some(), CAMERA, &sample.file_name);
        lacking.require(depth.is_file(), "`depth/`", &sample.file_name);
        let annotations = sample.annotations.iter();
        let of_image: Vec<_> = annotations
            .filter_map(|annotation| Target::of(sample, annotation, &mut lacking))
            .collect();
        found.extend(camera.map(|camera| (camera, of_image)));
    }
    lacking.into_result(dataset, "BOP", FLAGS)?;
    Ok(found)
}

/// The files of one split, which is one BOP scene.
#[derive(Default)]
struct Scene {
    camera: Map<String, Value>,
    gt: Map<String, Value>,
    gt_info: Map<String, Value>,
}

pub(super) fn write(
    dataset: &Dataset,
    folder: &Path,
    observer: &dyn Observer,
    warnings: &mut Warnings,
) -> Result<(), DatasetError> {
    let targets = targets(dataset)?;
    let all = || targets.iter().flat_map(|(_, of_image)| of_image);
    // A family is one object: its shape is the same whatever its class.
    let mut families: BTreeMap<&str, Vec<&Target>> = BTreeMap::new();
    for target in all() {
        families.entry(&target.family).or_default().push(target);
    }
    let numbers: BTreeMap<&str, usize> = families.keys().copied().zip(1..).collect();
    let mut scenes: BTreeMap<&str, Scene> = BTreeMap::new();
    let mut manifest = String::new();
    for (sample, (camera, of_image)) in dataset.samples.iter().zip(&targets) {
        let split = sample.record.split.unwrap_or(Split::Train).name();
        let scene = scenes.entry(split).or_default();
        let image_id = scene.camera.len();
        let root = folder.join(split).join("000000");
        let ending = Path::new(&sample.file_name).extension().unwrap_or_default();
        let name = format!("{image_id:06}.{}", ending.to_string_lossy());
        place_image(sample, &root.join("rgb").join(&name))?;
        let depth = place_depth(
            dataset,
            sample,
            &root.join(format!("depth/{image_id:06}.png")),
        )?;
        let (mut gt, mut info) = (Vec::new(), Vec::new());
        for (index, target) in of_image.iter().enumerate() {
            let draw = |kind: &str, outline: &Outline| {
                let to = root.join(format!("{kind}/{image_id:06}_{index:06}.png"));
                write_mask(outline, sample, &to)
            };
            let whole = draw("mask", &target.whole)?;
            let visible = draw("mask_visib", &target.visible)?;
            let (turn, shift_mm) = rotation_and_mm(&target.pose.camera_from_object);
            let obj_id = numbers[target.family.as_str()];
            gt.push(json!({"cam_R_m2c": turn, "cam_t_m2c": shift_mm, "obj_id": obj_id}));
            info.push(gt_info(target, &whole, &visible, &depth));
        }
        let (turn, shift_mm) = rotation_and_mm(&camera.camera_from_world);
        let key = image_id.to_string();
        scene.camera.insert(
            key.clone(),
            json!({"cam_K": camera.k(), "depth_scale": DEPTH_SCALE,
                "cam_R_w2c": turn, "cam_t_w2c": shift_mm}),
        );
        scene.gt.insert(key.clone(), gt.into());
        scene.gt_info.insert(key, info.into());
        manifest_line(sample, &format!("{split}/000000/rgb/{name}"), &mut manifest);
        observer.advance(1);
    }
    for (split, scene) in scenes {
        let root = folder.join(split).join("000000");
        for (name, content) in [
            ("scene_camera", scene.camera),
            ("scene_gt", scene.gt),
            ("scene_gt_info", scene.gt_info),
        ] {
            let text = Value::from(content).to_string();
            write_text(&root.join(format!("{name}.json")), &text)?;
        }
    }
    if let (Some(sample), Some((camera, _))) = (dataset.samples.first(), targets.first()) {
        let k = camera.k();
        let text = json!({"fx": k[0], "fy": k[4], "cx": k[2], "cy": k[5],
            "width": sample.width, "height": sample.height, "depth_scale": DEPTH_SCALE});
        write_text(&folder.join("camera.json"), &text.to_string())?;
    }
    let info = models_info(&families, warnings);
    write_text(&folder.join("models/models_info.json"), &info.to_string())?;
    write_text(&folder.join("manifest.jsonl"), &manifest)
}

/// Size and diameter of each object, by its number; of the middle one where they vary.
fn models_info(families: &BTreeMap<&str, Vec<&Target>>, warnings: &mut Warnings) -> Value {
    let mut models = Map::new();
    for (number, (family, targets)) in (1..).zip(families) {
        let median = |of: &dyn Fn(&Target) -> f64| {
            let mut values: Vec<f64> = targets.iter().map(|target| of(target)).collect();
            values.sort_by(f64::total_cmp);
            let (low, high) = (values[0], values[values.len() - 1]);
            (
                1000.0 * values[values.len() / 2],
                high > low * (1.0 + SIZE_TOLERANCE),
            )
        };
        let sides = [0, 1, 2].map(|axis| median(&|target| target.pose.size_m[axis]));
        let [x, y, z] = sides.map(|(side, _)| side);
        if sides.iter().any(|(_, varies)| *varies) {
            let kind = "objects of one family differ in size, which BOP does not know: \
                        models_info.json has the middle one; make them alike with `scale` and \
                        `stretch` of 1";
            warnings.add(kind, *family);
        }
        models.insert(
            number.to_string(),
            json!({
                "diameter": median(&|target| target.diameter_m).0,
                "min_x": -x / 2.0, "min_y": -y / 2.0, "min_z": -z / 2.0,
                "size_x": x, "size_y": y, "size_z": z,
                "name": family,
            }),
        );
    }
    models.into()
}

/// Copies a depth image, in which what is too far becomes unknown; returns its values.
fn place_depth(dataset: &Dataset, sample: &Sample, to: &Path) -> Result<Vec<u16>, DatasetError> {
    let from = dataset.root.join(sidecar_path("depth", &sample.file_name));
    let fail = |message: String| DatasetError::Image {
        path: from.clone(),
        message,
    };
    let bytes = std::fs::read(&from).map_err(|source| DatasetError::Read {
        path: from.clone(),
        source,
    })?;
    let depth = image::load_from_memory_with_format(&bytes, image::ImageFormat::Png);
    let mut depth = depth
        .map_err(|error| fail(error.to_string()))?
        .into_luma16();
    if depth.dimensions() != (sample.width, sample.height) {
        return Err(fail("its size is not that of the image".to_owned()));
    }
    let is_too_far = |pixel: &&mut Luma<u16>| pixel.0[0] == TOO_FAR;
    let changed = depth
        .pixels_mut()
        .filter(is_too_far)
        .map(|pixel| pixel.0[0] = 0)
        .count();
    if changed > 0 {
        write_png(&depth, to)?;
    } else {
        make_parent(to)?;
        write_atomically(to, &bytes)?;
    }
    Ok(depth.into_raw())
}

/// Writes a mask as an image of 0 and 255, whose pixels are returned.
fn write_mask(outline: &Outline, sample: &Sample, to: &Path) -> Result<Vec<u8>, DatasetError> {
    let (width, height) = (sample.width, sample.height);
    let mut pixels = vec![0; width as usize * height as usize];
    let size = [width as usize, height as usize];
    outline.draw(&mut pixels, size, [width, height]);
    let image = GrayImage::from_raw(width, height, pixels).expect("there is one value a pixel");
    write_png(&image, to)?;
    Ok(image.into_raw())
}

/// Counts of an object's pixels. Those outside the image are known by their share only.
fn gt_info(target: &Target, whole: &[u8], visible: &[u8], depth: &[u16]) -> Value {
    let count = |mask: &[u8]| mask.iter().filter(|pixel| **pixel > 0).count();
    let (inside, seen) = (count(whole), count(visible));
    let valid = whole
        .iter()
        .zip(depth)
        .filter(|(on, depth)| **on > 0 && **depth > 0)
        .count();
    let share = (1.0 - target.truncated).max(1e-6);
    let all = ((inside as f64 / share).round() as usize).max(inside);
    json!({
        "bbox_obj": corners(&target.pose.amodal_bbox),
        "bbox_visib": corners(&extent(&target.visible)),
        "px_count_all": all,
        "px_count_valid": valid,
        "px_count_visib": seen,
        "visib_fract": seen as f64 / all.max(1) as f64,
    })
}

fn extent(outline: &Outline) -> BoundingBox {
    outline.extent().unwrap_or(BoundingBox::from([-1.0; 4]))
}

/// Whole numbers, as the benchmark's own files have.
fn corners(bbox: &BoundingBox) -> [i64; 4] {
    let list: [f64; 4] = (*bbox).into();
    list.map(|value| value.round() as i64)
}

#[cfg(test)]
mod tests {
    use glam::{DMat3, DVec3};

    use super::*;
    use crate::annotation::numbers as list;
    use crate::dataset::pose::tests::rendered;
    use crate::dataset::{Format, export};
    use crate::observer::Silent;

    fn read(path: &Path) -> Value {
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn what_is_written_projects_into_its_box() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = rendered(&folder.path().join("in"));
        let out = folder.path().join("out");
        let warnings = export(&dataset, Format::Bop, &out, &Silent).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let models = read(&out.join("models/models_info.json"));
        let model = |key: &str| models["1"][key].as_f64().unwrap();
        assert!((model("diameter") - 53.8516).abs() < 1e-3);
        for split in ["train", "val"] {
            let scene = out.join(split).join("000000");
            let camera = read(&scene.join("scene_camera.json"));
            let k = list(&camera["0"]["cam_K"]).unwrap();
            assert_eq!(camera["0"]["depth_scale"], 0.1);
            let gt = read(&scene.join("scene_gt.json"));
            assert_eq!(gt["0"][0]["obj_id"], 1);
            let turn = list(&gt["0"][0]["cam_R_m2c"]).unwrap();
            let turn = DMat3::from_cols_slice(&turn).transpose();
            let shift = DVec3::from_slice(&list(&gt["0"][0]["cam_t_m2c"]).unwrap());
            let info = read(&scene.join("scene_gt_info.json"));
            let bbox = list(&info["0"][0]["bbox_obj"]).unwrap();
            for corner in 0..8 {
                let along = |axis: &str, bit: usize| {
                    model(&format!("min_{axis}"))
                        + model(&format!("size_{axis}")) * f64::from(corner >> bit & 1)
                };
                let at = turn * DVec3::new(along("x", 0), along("y", 1), along("z", 2)) + shift;
                // Centres of pixels are whole numbers.
                let (x, y) = (at.x / at.z * k[0] + k[2], at.y / at.z * k[4] + k[5]);
                assert!(
                    (bbox[0] - 1.0..bbox[0] + bbox[2]).contains(&x),
                    "{x} of {bbox:?}"
                );
                assert!(
                    (bbox[1] - 1.0..bbox[1] + bbox[3]).contains(&y),
                    "{y} of {bbox:?}"
                );
            }
            assert_eq!(info["0"][0]["px_count_visib"], 42);
            assert_eq!(info["0"][0]["px_count_valid"], 42);
            assert_eq!(info["0"][0]["visib_fract"], 1.0);
            let mask = image::open(scene.join("mask_visib/000000_000000.png")).unwrap();
            let on = mask
                .to_luma8()
                .pixels()
                .filter(|pixel| pixel.0[0] == 255)
                .count();
            assert_eq!(on, 42);
            let depth = image::open(scene.join("depth/000000.png"))
                .unwrap()
                .into_luma16();
            assert_eq!((depth[(0, 0)].0[0], depth[(1, 0)].0[0]), (0, 2000));
            assert!(scene.join("rgb/000000.png").is_file());
        }
    }

    #[test]
    fn sizes_that_vary_are_told_and_a_photograph_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut dataset = rendered(&folder.path().join("in"));
        let extra = &mut dataset.samples[0].annotations[0].extra;
        extra.insert("size_m".to_owned(), json!([0.05, 0.02, 0.03]));
        let warnings = export(&dataset, Format::Bop, &folder.path().join("a"), &Silent).unwrap();
        assert!(warnings[0].kind.contains("differ in size"), "{warnings:?}");
        for sample in &mut dataset.samples {
            sample.annotations[0].extra.clear();
            sample.record.factors.clear();
        }
        std::fs::remove_dir_all(dataset.root.join("depth")).unwrap();
        let out = folder.path().join("b");
        let message = export(&dataset, Format::Bop, &out, &Silent)
            .unwrap_err()
            .to_string();
        for part in [
            "`camera` without distortion in manifest.jsonl (2x",
            "`depth/`",
            "`segmentation`",
            FLAGS,
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert!(!out.exists());
    }
}
