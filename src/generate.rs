//! Sample, render, annotate and write a data set.

mod label;
mod point;
mod sidecar;
mod sight;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::dataset::{
    Begun, Dataset, DatasetError, DatasetWriter, ImageFile, NewSample, Origin, Record,
};
use crate::observer::Observer;
use crate::render::{Frame, RenderDevice, RenderError, SceneRenderer};
use crate::scene::{self, Background, RendererChoice, SceneInstance, ScenePlan};
use crate::seed::{PlanHash, SeedKey};

pub use label::annotations;
pub use sidecar::encoded_normal;
pub use sight::Sight;

/// The largest identifier that a class mask holds.
const MAX_MASK_CATEGORY: u32 = 255;

/// Why no data set came about.
#[derive(Debug, Error)]
pub enum GenerateError {
    #[error("image {index:06}: {source}")]
    Render { index: u64, source: RenderError },
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    #[error("cannot encode {name}: {message}; choose the other image.format")]
    Encode { name: String, message: String },
    #[error(
        "class masks hold {MAX_MASK_CATEGORY} classes and the scene has {count}; leave --class-masks out"
    )]
    TooManyClasses { count: usize },
    #[error("this renderer gives no normals; leave --normals out")]
    NoNormals,
    /// The data set is whole, and of no use.
    #[error("{path}: {sight}", path = path.display())]
    NothingInView { path: PathBuf, sight: Sight },
}

impl GenerateError {
    /// Whether the user can mend it by other input, rather than a failure on the way.
    pub fn is_mistake(&self) -> bool {
        match self {
            GenerateError::Dataset(error) => error.is_mistake(),
            GenerateError::TooManyClasses { .. }
            | GenerateError::NoNormals
            | GenerateError::NothingInView { .. } => true,
            GenerateError::Render { .. } | GenerateError::Encode { .. } => false,
        }
    }
}

/// What is written besides images, boxes and poses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sidecars {
    /// `masks/NAME.png`: 16-bit, 0 for the ground, otherwise the object's number from 1.
    pub masks: bool,
    /// `depth/NAME.png`: 16-bit, tenths of a millimetre from the camera's plane, 0 where
    /// nothing is, 65,535 from 6.5535 m on.
    pub depth: bool,
    /// `class_masks/NAME.png`: 8-bit, 0 for the ground and what has no class, otherwise the
    /// category's identifier.
    pub class_masks: bool,
    /// `normals/NAME.png`: 8-bit RGB, `n / 2 + 1 / 2` of each part: x to the right, y up, z
    /// towards the camera; black where nothing is.
    pub normals: bool,
    /// `segmentation` and `amodal_segmentation` of each annotation, as run-length masks.
    pub segmentation: bool,
}

/// The key that the scenes of a plan are drawn from. It does not depend on how boxes are
/// drawn, nor on the renderer and the images' format, so that each can be compared on the same
/// scenes.
pub fn scene_key(plan: &ScenePlan, seed: u64) -> SeedKey {
    let scenes = plan.of_scenes();
    SeedKey::new(PlanHash::of(&scenes).as_str().as_bytes(), seed)
}

/// Renders `count` labelled images into the folder `out`; the bytes do not depend on
/// `jobs`. A second call goes on where an interrupted one stopped.
///
/// # Errors
/// The adapter fails, or `out` cannot be written or holds something else; many images and no
/// labelled object in view. What was published stays.
#[expect(
    clippy::too_many_arguments,
    reason = "each is a separate choice of the caller"
)]
pub fn generate(
    plan: &ScenePlan,
    count: u64,
    seed: u64,
    out: &Path,
    jobs: usize,
    sidecars: Sidecars,
    device: &RenderDevice,
    observer: &dyn Observer,
) -> Result<Dataset, GenerateError> {
    if sidecars.normals && plan.spec().image.renderer != RendererChoice::Raster {
        return Err(GenerateError::NoNormals);
    }
    let classes = plan.categories();
    if sidecars.class_masks && classes.iter().any(|class| class.id > MAX_MASK_CATEGORY) {
        let count = classes.len();
        return Err(GenerateError::TooManyClasses { count });
    }
    let hash = PlanHash::of(&(plan, count, seed, sidecars));
    let writer = match DatasetWriter::begin(out, &hash, plan.categories())? {
        Begun::Complete(dataset) => return in_view(dataset, out, observer),
        Begun::Writing(writer) => writer,
    };
    observer.begin("generate", count, writer.done_count() as u64);
    let key = scene_key(plan, seed);
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let failure = Mutex::new(None);
    let sight = Mutex::new(Sight::default());
    let work = || -> Result<(), GenerateError> {
        let mut renderer = SceneRenderer::new(device, plan.assets(), &plan.spec().image);
        if sidecars.normals {
            renderer = renderer.with_normals();
        }
        while !stop.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                break;
            }
            if writer.is_done(index) {
                continue;
            }
            let instance = scene::sample(plan, &key, index);
            let drawn = renderer.render(&instance);
            let frame = drawn.map_err(|source| GenerateError::Render { index, source })?;
            let mut sample = annotate(plan, &instance, &frame, index, sidecars)?;
            sample.record.seed = Some(seed);
            sample.record.plan = Some(hash.clone());
            let boxes = sample.annotations.len() as u64;
            let without_box = sight::without_box(&sample.record);
            writer.publish(index, sample)?;
            observer.advance(1);
            let mut seen = sight.lock().unwrap_or_else(PoisonError::into_inner);
            let was_sure = seen.is_sure();
            seen.add(boxes, without_box);
            // Told while hours of such images can still be stopped; at the end it is an error.
            if seen.is_sure() && !was_sure && seen.is_empty() && seen.images() < count {
                observer.message(&format!("warning: {seen}"));
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                if let Err(error) = work() {
                    stop.store(true, Ordering::Relaxed);
                    let mut place = failure.lock().unwrap_or_else(PoisonError::into_inner);
                    place.get_or_insert(error);
                }
            });
        }
    });
    observer.end();
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => in_view(writer.finish()?, out, observer),
    }
}

/// The data set, where it shows something of what is to be labelled or is too small to tell.
fn in_view(
    dataset: Dataset,
    out: &Path,
    observer: &dyn Observer,
) -> Result<Dataset, GenerateError> {
    let sight = Sight::of(&dataset);
    if sight.is_empty() && sight.is_sure() {
        let path = out.to_owned();
        return Err(GenerateError::NothingInView { path, sight });
    }
    if sight.is_empty() {
        observer.message(&format!("warning: {sight}"));
    }
    Ok(dataset)
}

fn annotate(
    plan: &ScenePlan,
    instance: &SceneInstance,
    frame: &Frame,
    index: u64,
    sidecars: Sidecars,
) -> Result<NewSample, GenerateError> {
    let format = plan.spec().image.format;
    let stem = format!("{index:06}");
    let file_name = format!("{stem}.{}", format.extension());
    let (width, height) = frame.rgb.dimensions();
    let (annotations, unlabelled) = annotations(plan, instance, frame, sidecars.segmentation);
    let mut record = Record::new(index + 1, file_name.as_str(), Origin::Synthetic);
    record.group = format!("scene-{stem}");
    record.factors = factors(instance, unlabelled);
    Ok(NewSample {
        image: ImageFile::Bytes(sidecar::encode(&frame.rgb, format, &file_name)?),
        sidecars: sidecar::files(instance, &frame.truth, sidecars, &stem)?,
        file_name,
        width,
        height,
        annotations,
        record,
    })
}

fn round4(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// What was drawn, for the manifest.
fn factors(instance: &SceneInstance, unlabelled: usize) -> Map<String, Value> {
    let colour = |rgb: [f32; 3]| rgb.map(|value| round4(f64::from(value)));
    let objects: Vec<Value> = instance
        .objects
        .iter()
        .filter(|object| object.family != "dressing")
        .map(|object| {
            json!({
                "family": object.family,
                "category_id": object.category_id,
                "size_m": object.half_extents_m.to_array().map(|half| round4(f64::from(2.0 * half))),
                "linear_rgb": object.parts.first().map(|part| colour(part.material.linear_rgb)),
            })
        })
        .collect();
    let mut factors = Map::from_iter([
        ("exposure_ev".to_owned(), json!(instance.exposure_ev)),
        ("lights".to_owned(), json!(instance.lights)),
        ("environment".to_owned(), json!(instance.environment)),
        ("camera".to_owned(), json!(instance.camera_record())),
        ("sensor".to_owned(), json!(instance.sensor)),
        (
            "ground_linear_rgb".to_owned(),
            json!(colour(instance.ground.linear_rgb)),
        ),
        ("objects".to_owned(), Value::from(objects)),
        (
            "objects_without_room".to_owned(),
            json!(instance.not_placed),
        ),
        ("objects_without_box".to_owned(), json!(unlabelled)),
    ]);
    if instance.background != Background::default() {
        factors.insert("background".to_owned(), json!(instance.background));
    }
    factors
}

#[cfg(test)]
mod tests {
    use glam::{DMat4, DVec3, Vec3};

    use super::*;
    use crate::annotation::{BoundingBox, Outline, numbers};
    use crate::dataset::{Format, SIDECARS, export};
    use crate::observer::Silent;
    use crate::render::{GpuContext, Renderer};

    #[test]
    fn how_boxes_are_drawn_does_not_change_what_is_drawn() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenes/dice.yaml");
        let draw = |text: &str| {
            let plan = ScenePlan::load(&path, &[text.parse().unwrap()]).unwrap();
            let mut scene = scene::sample(&plan, &scene_key(&plan, 3), 4);
            for object in &mut scene.objects {
                object.label_margin = 0.0;
            }
            scene
        };
        assert_eq!(
            draw("labels.margin={uniform: [0, 0.5]}"),
            draw("labels={min_visible_px: 40, square: true}")
        );
    }

    fn plan() -> ScenePlan {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenes/dice.yaml");
        let smaller =
            ["image.width_px=200", "image.height_px=160"].map(|text| text.parse().unwrap());
        ScenePlan::load(&path, &smaller).unwrap()
    }

    #[test]
    fn what_draws_the_images_does_not_change_the_scenes() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenes/dice.yaml");
        let draw = |text: &str| {
            let plan = ScenePlan::load(&path, &[text.parse().unwrap()]).unwrap();
            (
                scene::sample(&plan, &scene_key(&plan, 3), 4),
                PlanHash::of(&plan),
            )
        };
        let (scene, hash) = draw("image.supersampling=2");
        for text in [
            "image.supersampling=1",
            "image.format=png",
            "image.renderer={path_traced: {samples: 4}}",
        ] {
            let (other, other_hash) = draw(text);
            assert_eq!(scene, other, "{text}");
            assert_ne!(hash, other_hash, "{text} makes another data set");
        }
        assert_ne!(scene, draw("exposure_ev=1").0);
    }

    #[test]
    #[ignore = "needs a Vulkan adapter: make test installs one and runs these"]
    fn bytes_do_not_depend_on_the_number_of_jobs() {
        assert_same_bytes(&plan());
    }

    #[test]
    fn bytes_of_traced_images_do_not_depend_on_the_number_of_jobs() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenes/dice.yaml");
        let overrides = [
            "image.width_px=64",
            "image.height_px=56",
            "image.renderer={path_traced: {samples: 2}}",
        ];
        let overrides = overrides.map(|text| text.parse().unwrap());
        assert_same_bytes(&ScenePlan::load(&path, &overrides).unwrap());
    }

    fn assert_same_bytes(plan: &ScenePlan) {
        let folder = tempfile::tempdir().unwrap();
        let sidecars = Sidecars {
            masks: true,
            depth: true,
            class_masks: true,
            // Only rasterising gives them.
            normals: plan.spec().image.renderer == RendererChoice::Raster,
            segmentation: true,
        };
        for jobs in [1, 3] {
            let out = folder.path().join(jobs.to_string());
            let device = RenderDevice::new(plan.spec().image.renderer, jobs).unwrap();
            generate(plan, 5, 7, &out, jobs, sidecars, &device, &Silent).unwrap();
        }
        let mut files = vec!["annotations.json".to_owned(), "manifest.jsonl".to_owned()];
        for index in 0..5 {
            files.push(format!("images/{index:06}.jpg"));
            let written = SIDECARS
                .iter()
                .filter(|folder| **folder != "normals" || sidecars.normals);
            files.extend(written.map(|folder| format!("{folder}/{index:06}.png")));
        }
        for name in files {
            let read = |jobs: &str| std::fs::read(folder.path().join(jobs).join(&name)).unwrap();
            assert_eq!(read("1"), read("3"), "{name}");
        }
    }

    #[test]
    #[ignore = "needs a Vulkan adapter: make test installs one and runs these"]
    fn labels_fit_the_picture() {
        let plan = plan();
        let device = RenderDevice::new(RendererChoice::Raster, 1).unwrap();
        let key = scene_key(&plan, 0);
        let mut renderer = SceneRenderer::new(&device, plan.assets(), &plan.spec().image);
        let mut boxes = 0;
        for index in 0..6 {
            let instance = scene::sample(&plan, &key, index);
            let frame = renderer.render(&instance).unwrap();
            for seen in frame.truth.visible_objects() {
                // A pixel at the outline may belong to an object that its centre misses.
                let covered = f64::from(frame.truth.silhouettes[seen.index].pixels);
                let outline = seen.bbox.width + seen.bbox.height;
                assert!(
                    f64::from(seen.visible_px) <= covered + 0.5 * outline,
                    "{seen:?} of {covered}"
                );
            }
            // The middle of what is labelled lies as far off as the camera is high.
            let far = (instance.camera.position_m - instance.camera.target_m).length() * 1.6;
            let depths = frame.truth.ids.iter().zip(&frame.truth.depth_m);
            let camera = &instance.camera;
            let forward = (camera.target_m - camera.position_m).normalize();
            let right = forward.cross(camera.up).normalize();
            let up = right.cross(forward);
            let half = (camera.vertical_fov_deg.to_radians() / 2.0).tan();
            for (index, (id, depth)) in (0..).zip(depths) {
                assert!(*depth > 0.0 && *depth < far, "{depth} of {far}");
                let (x, y) = ((index % 200) as f32 + 0.5, (index / 200) as f32 + 0.5);
                let (x, y) = ((x - 100.0) / 80.0 * half, (80.0 - y) / 80.0 * half);
                let ground = -camera.position_m.z / (forward + right * x + up * y).z;
                // What lies on the ground is nearer than the ground behind it.
                let nearer = if *id == 0 { 0.0 } else { 0.05 };
                assert!(
                    (ground - nearer - 1e-4..ground + 1e-4).contains(depth),
                    "pixel {index}: {depth} of {ground}"
                );
            }
            let (found, missing) = annotations(&plan, &instance, &frame, false);
            let labelled = instance.objects.iter().filter(|o| o.category_id.is_some());
            assert_eq!(found.len() + missing, labelled.count());
            boxes += found.len();
        }
        assert!(boxes > 6, "{boxes}");
    }
    /// Solids in all poses, tightly packed and cut by the image's edges, with keypoints.
    fn solids() -> ScenePlan {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenes/shapes.yaml");
        let overrides = [
            "image.width_px=240",
            "image.height_px=180",
            "image.format=png",
            "placement.area_mm=[420, 330]",
            "placement.count=22",
            "placement.overlap=0.4",
            "labels.min_visible_fraction=0",
            "objects.0.keypoints=[{name: top, position_mm: [0, 0, 7]}, {name: bottom, position_mm: [0, 0, -7]}]",
        ];
        let overrides = overrides.map(|text| text.parse().unwrap());
        ScenePlan::load(&path, &overrides).unwrap()
    }

    fn extent_of(pixels: impl Iterator<Item = (u32, u32)>) -> BoundingBox {
        let none = (u32::MAX, u32::MAX, 0, 0);
        let (left, top, right, bottom) = pixels.fold(none, |(a, b, c, d), (x, y)| {
            (a.min(x), b.min(y), c.max(x + 1), d.max(y + 1))
        });
        let [left, top, right, bottom] = [left, top, right, bottom].map(f64::from);
        BoundingBox::from_corners(left, top, right, bottom)
    }

    #[test]
    #[ignore = "needs a Vulkan adapter: make test installs one and runs these"]
    fn labels_agree_with_pixels_and_poses() {
        let (plan, context) = (solids(), GpuContext::new().unwrap());
        let key = scene_key(&plan, 1);
        let mut renderer = Renderer::new(&context, plan.assets(), 240, 180, 2).with_normals();
        let (mut cut, mut hidden, mut tops, mut bottoms) = (0, 0, 0, 0);
        for index in 0..6 {
            let instance = scene::sample(&plan, &key, index);
            let frame = renderer.render(&instance).unwrap();
            let (found, _) = annotations(&plan, &instance, &frame, true);
            for label in found {
                let extra = &label.extra;
                let number = extra["instance"].as_u64().unwrap() as u32;
                let list = |key: &str| numbers(&extra[key]).unwrap();
                let amodal: [f64; 4] = list("amodal_bbox").try_into().unwrap();
                let amodal = BoundingBox::from(amodal);
                let pixels = (0..180).flat_map(|y| (0..240).map(move |x| (x, y)));
                let own = |(x, y): &(u32, u32)| frame.truth.ids[(y * 240 + x) as usize] == number;
                let mask = extent_of(pixels.filter(own));
                assert_eq!(label.bbox, mask, "the box is that of the pixels");
                let outline = |key: &str| Outline::parse(&extra[key], [240, 180]).unwrap();
                assert_eq!(outline("segmentation").extent(), Some(mask));
                assert_eq!(outline("amodal_segmentation").extent(), Some(amodal));
                assert_eq!(amodal.joined(&mask), amodal);
                hidden += usize::from(extra["visible_fraction"].as_f64() < Some(0.9));
                // The box in space is seen around the whole object.
                let rows: Vec<f64> = extra["camera_from_object"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .flat_map(|row| numbers(row).unwrap())
                    .collect();
                let pose = DMat4::from_cols_slice(&rows).transpose();
                let half = DVec3::from_slice(&list("size_m")) / 2.0;
                let corners = (0..8).map(|corner| {
                    let sign = |bit: u32| f64::from(corner >> bit & 1) * 2.0 - 1.0;
                    let at = half * DVec3::new(sign(0), sign(1), sign(2));
                    let at = pose.transform_point3(at).as_vec3();
                    let seen = instance.camera.projection(240, 180).image_point(at);
                    seen.unwrap().as_dvec2().to_array()
                });
                let corners: Vec<[f64; 2]> = corners.collect();
                let bound = |axis: usize, pick: fn(f64, f64) -> f64, from: f64| {
                    corners.iter().map(|corner| corner[axis]).fold(from, pick)
                };
                let (left, top) = (bound(0, f64::min, 1e9), bound(1, f64::min, 1e9));
                let (right, bottom) = (bound(0, f64::max, -1e9), bound(1, f64::max, -1e9));
                assert!(left <= amodal.x + 1.0 && top <= amodal.y + 1.0, "{label:?}");
                let ends = (amodal.right() - 1.0, amodal.bottom() - 1.0);
                assert!(right >= ends.0 && bottom >= ends.1, "{label:?}");
                let truncated = extra["truncated"].as_f64().unwrap();
                let whole = left >= 0.0 && top >= 0.0 && right <= 240.0 && bottom <= 180.0;
                assert!(!whole || truncated == 0.0, "{label:?}");
                assert!((0.0..1.0).contains(&truncated), "{label:?}");
                cut += usize::from(truncated > 0.05);
                if let Some(points) = extra.get("keypoints").and_then(numbers) {
                    tops += usize::from(points[2] == 2.0);
                    bottoms += usize::from(points[5] == 2.0);
                    let seen = [points[2], points[5]].iter().filter(|v| **v > 0.0).count();
                    assert_eq!(extra["num_keypoints"], seen);
                }
            }
            let normals = frame.truth.normals.unwrap();
            let [right, up, forward] = instance.camera.axes();
            let towards = Vec3::new(right.z, up.z, -forward.z);
            let focal_px = instance.camera.focal_px(180);
            for (pixel, (id, normal)) in (0..).zip(frame.truth.ids.iter().zip(&normals)) {
                assert!((normal.length() - 1.0).abs() < 1e-3, "{normal}");
                let (x, y) = (pixel % 240, pixel / 240);
                let ray = Vec3::new(x as f32 - 119.5, 89.5 - y as f32, -focal_px).normalize();
                // Normals between corners of a mesh may turn away a little at its outline.
                assert!(
                    normal.dot(ray) < 0.4,
                    "what is seen faces the camera: {normal}"
                );
                assert!(
                    *id > 0 || (*normal - towards).length() < 1e-3,
                    "the ground's is up"
                );
            }
        }
        assert!(cut > 3 && hidden > 3, "{cut} cut, {hidden} hidden");
        assert!(tops > 5 && bottoms == 0, "{tops} tops, {bottoms} bottoms");
    }

    #[test]
    #[ignore = "needs a Vulkan adapter: make test installs one and runs these"]
    fn what_is_generated_is_exported_with_poses() {
        let (plan, device) = (
            solids(),
            RenderDevice::new(RendererChoice::Raster, 1).unwrap(),
        );
        let folder = tempfile::tempdir().unwrap();
        let sidecars = Sidecars {
            depth: true,
            class_masks: true,
            segmentation: true,
            ..Sidecars::default()
        };
        let out = folder.path().join("set");
        let dataset = generate(&plan, 2, 0, &out, 1, sidecars, &device, &Silent).unwrap();
        let category = &dataset.categories[0];
        assert_eq!(category.keypoints, ["top", "bottom"]);
        let classes = image::open(out.join("class_masks/000001.png"))
            .unwrap()
            .into_luma8();
        for label in &dataset.samples[1].annotations {
            let own = classes
                .pixels()
                .filter(|p| u32::from(p.0[0]) == label.category_id);
            assert!(own.count() as f64 >= label.area, "{label:?}");
        }
        for (name, format) in [("bop", Format::Bop), ("kitti", Format::Kitti)] {
            export(&dataset, format, &folder.path().join(name), &Silent).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let scene: Value = serde_json::from_str(&read("bop/train/000000/scene_gt.json")).unwrap();
        let camera = read("bop/train/000000/scene_camera.json");
        let camera: Value = serde_json::from_str(&camera).unwrap();
        let lines = read("kitti/training/label_2/000001.txt");
        let labels = &dataset.samples[1].annotations;
        assert_eq!(lines.lines().count(), labels.len());
        let k = numbers(&camera["1"]["cam_K"]).unwrap();
        for (index, label) in labels.iter().enumerate() {
            let t = numbers(&scene["1"][index]["cam_t_m2c"]).unwrap();
            let (x, y) = (
                k[0] * t[0] / t[2] + k[2] + 0.5,
                k[4] * t[1] / t[2] + k[5] + 0.5,
            );
            // The middle of what is not cut lies in its box.
            let amodal: [f64; 4] = numbers(&label.extra["amodal_bbox"])
                .unwrap()
                .try_into()
                .unwrap();
            let b = BoundingBox::from(amodal);
            let inside = (b.x..b.right()).contains(&x) && (b.y..b.bottom()).contains(&y);
            assert!(
                inside || label.extra["truncated"] != 0.0,
                "{x}, {y}: {label:?}"
            );
        }
    }
}
