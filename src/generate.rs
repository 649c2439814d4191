//! Sample, render, annotate and write a data set.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::Serialize;
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::annotation::{Annotation, BoundingBox};
use crate::dataset::{
    Begun, Dataset, DatasetError, DatasetWriter, ImageFile, NewSample, Origin, Record,
};
use crate::observer::Observer;
use crate::render::{Frame, RenderDevice, RenderError, SceneRenderer};
use crate::scene::{self, ImageFormat, SceneInstance, ScenePlan};
use crate::seed::{PlanHash, SeedKey};

/// Quality of JPEG files, in percent.
const JPEG_QUALITY: u8 = 90;

/// Why no data set came about.
#[derive(Debug, Error)]
pub enum GenerateError {
    #[error(transparent)]
    Render(#[from] RenderError),
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    #[error("cannot encode {name}: {message}; choose the other image.format")]
    Encode { name: String, message: String },
}

impl GenerateError {
    /// Whether the user can mend it by other input, rather than a failure on the way.
    pub fn is_mistake(&self) -> bool {
        matches!(self, GenerateError::Dataset(error) if error.is_mistake())
    }
}

/// Which files are written beside the images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sidecars {
    /// `masks/NAME.png`: 16-bit, 0 for the ground, otherwise the object's number from 1.
    pub masks: bool,
    /// `depth/NAME.png`: 16-bit, tenths of a millimetre from the camera's plane, 0 where
    /// nothing is, 65,535 from 6.5535 m on.
    pub depth: bool,
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
/// The adapter fails, or `out` cannot be written or holds something else. What was
/// published stays.
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
    let hash = PlanHash::of(&(plan, count, seed, sidecars));
    let writer = match DatasetWriter::begin(out, &hash, plan.categories())? {
        Begun::Complete(dataset) => return Ok(dataset),
        Begun::Writing(writer) => writer,
    };
    observer.begin("generate", count, writer.done_count() as u64);
    let key = scene_key(plan, seed);
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let failure = Mutex::new(None);
    let work = || -> Result<(), GenerateError> {
        let mut renderer = SceneRenderer::new(device, plan.assets(), &plan.spec().image);
        while !stop.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                break;
            }
            if writer.is_done(index) {
                continue;
            }
            let instance = scene::sample(plan, &key, index);
            let frame = renderer.render(&instance)?;
            let mut sample = annotate(plan, &instance, &frame, index, sidecars)?;
            sample.record.seed = Some(seed);
            sample.record.plan = Some(hash.clone());
            writer.publish(index, sample)?;
            observer.advance(1);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                if let Err(error) = work() {
                    stop.store(true, Ordering::Relaxed);
                    let mut place = failure
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner);
                    place.get_or_insert(error);
                }
            });
        }
    });
    observer.end();
    match failure
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
    {
        Some(error) => Err(error),
        None => Ok(writer.finish()?),
    }
}

/// The labels of a frame by the plan's rule, and how many labelled objects show too
/// little for one.
pub fn annotations(
    plan: &ScenePlan,
    instance: &SceneInstance,
    frame: &Frame,
) -> (Vec<Annotation>, usize) {
    let rule = &plan.spec().labels;
    let mut found = Vec::new();
    let labelled = instance.objects.iter().filter(|o| o.category_id.is_some());
    for seen in frame.truth.visible_objects() {
        let Some(category_id) = instance.objects[seen.index].category_id else {
            continue;
        };
        if seen.visible_px < rule.min_visible_px
            || seen.visible_fraction < rule.min_visible_fraction
        {
            continue;
        }
        let margin = f64::from(instance.objects[seen.index].label_margin);
        let (width, height) = (f64::from(instance.width_px), f64::from(instance.height_px));
        let drawn = drawn_box(seen.bbox, margin, rule.square);
        let Some(bbox) = drawn.clipped_to(width, height) else {
            continue;
        };
        let extra = Map::from_iter([
            (
                "visible_fraction".to_owned(),
                json!(round4(seen.visible_fraction)),
            ),
            ("instance".to_owned(), json!(seen.index + 1)),
        ]);
        found.push(Annotation {
            id: 0,
            category_id,
            bbox,
            area: f64::from(seen.visible_px),
            is_crowd: false,
            extra,
        });
    }
    let missing = labelled.count() - found.len();
    (found, missing)
}

/// A box around the same centre with room around what it encloses.
fn drawn_box(exact: BoundingBox, margin: f64, square: bool) -> BoundingBox {
    let longer = exact.width.max(exact.height);
    let side = |length: f64| (if square { longer } else { length }) * (1.0 + margin);
    let (width, height) = (side(exact.width), side(exact.height));
    let drawn = [
        exact.x + (exact.width - width) / 2.0,
        exact.y + (exact.height - height) / 2.0,
        width,
        height,
    ];
    drawn.map(round4).into()
}

fn round4(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
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
    let (annotations, unlabelled) = annotations(plan, instance, frame);
    let mut record = Record::new(index + 1, file_name.as_str(), Origin::Synthetic);
    record.group = format!("scene-{stem}");
    record.factors = factors(instance, unlabelled);
    let mut files = Vec::new();
    if sidecars.masks {
        let ids = frame.truth.ids.iter().map(|id| *id as u16);
        files.push((
            format!("masks/{stem}.png"),
            encode_16_bit(width, height, ids, &stem)?,
        ));
    }
    if sidecars.depth {
        let depth = frame
            .truth
            .depth_m
            .iter()
            .map(|metres| (metres * 1e4).round() as u16);
        files.push((
            format!("depth/{stem}.png"),
            encode_16_bit(width, height, depth, &stem)?,
        ));
    }
    Ok(NewSample {
        image: ImageFile::Bytes(encode(&frame.rgb, format, &file_name)?),
        file_name,
        width,
        height,
        annotations,
        record,
        sidecars: files,
    })
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
    Map::from_iter([
        ("exposure_ev".to_owned(), json!(instance.exposure_ev)),
        ("lights".to_owned(), json!(instance.lights)),
        ("environment".to_owned(), json!(instance.environment)),
        ("camera".to_owned(), json!(instance.camera)),
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
    ])
}

fn encode(
    image: &image::RgbImage,
    format: ImageFormat,
    name: &str,
) -> Result<Vec<u8>, GenerateError> {
    let fail = |message: String| GenerateError::Encode {
        name: name.to_owned(),
        message,
    };
    let mut bytes = Vec::new();
    match format {
        ImageFormat::Jpeg => {
            let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, JPEG_QUALITY);
            encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_2);
            encoder
                .encode(
                    image,
                    image.width() as u16,
                    image.height() as u16,
                    jpeg_encoder::ColorType::Rgb,
                )
                .map_err(|error| fail(error.to_string()))?;
        }
        ImageFormat::Png => {
            let encoder = image::codecs::png::PngEncoder::new_with_quality(
                &mut bytes,
                image::codecs::png::CompressionType::Fast,
                image::codecs::png::FilterType::Adaptive,
            );
            image
                .write_with_encoder(encoder)
                .map_err(|error| fail(error.to_string()))?;
        }
    }
    Ok(bytes)
}

fn encode_16_bit(
    width: u32,
    height: u32,
    values: impl Iterator<Item = u16>,
    name: &str,
) -> Result<Vec<u8>, GenerateError> {
    let image = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(
        width,
        height,
        values.collect::<Vec<_>>(),
    )
    .expect("there is one value a pixel");
    let mut bytes = Vec::new();
    image
        .write_to(
            &mut std::io::Cursor::new(&mut bytes),
            image::ImageFormat::Png,
        )
        .map_err(|error| GenerateError::Encode {
            name: name.to_owned(),
            message: error.to_string(),
        })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observer::Silent;
    use crate::scene::RendererChoice;

    #[test]
    fn a_loose_box_keeps_its_centre() {
        let exact = BoundingBox::from([10.0, 20.0, 4.0, 8.0]);
        assert_eq!(drawn_box(exact, 0.0, false), exact);
        assert_eq!(
            drawn_box(exact, 0.5, false),
            BoundingBox::from([9.0, 18.0, 6.0, 12.0])
        );
        assert_eq!(
            drawn_box(exact, 0.25, true),
            BoundingBox::from([7.0, 19.0, 10.0, 10.0])
        );
    }

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
        };
        for jobs in [1, 3] {
            let out = folder.path().join(jobs.to_string());
            let device = RenderDevice::new(plan.spec().image.renderer, jobs).unwrap();
            generate(plan, 5, 7, &out, jobs, sidecars, &device, &Silent).unwrap();
        }
        let mut files = vec!["annotations.json".to_owned(), "manifest.jsonl".to_owned()];
        for index in 0..5 {
            files.push(format!("images/{index:06}.jpg"));
            files.push(format!("masks/{index:06}.png"));
            files.push(format!("depth/{index:06}.png"));
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
            let (found, missing) = annotations(&plan, &instance, &frame);
            let labelled = instance.objects.iter().filter(|o| o.category_id.is_some());
            assert_eq!(found.len() + missing, labelled.count());
            boxes += found.len();
        }
        assert!(boxes > 6, "{boxes}");
    }
}
