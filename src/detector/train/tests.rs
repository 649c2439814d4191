//! Small trainings from end to end.

use std::path::Path;

use image::{Rgb, RgbImage};
use rand::RngExt;

use super::*;
use crate::annotation::{Annotation, Category};
use crate::dataset::{Origin, Record, Sample};
use crate::detector::{
    AugmentationSpec, ComputeDevice, Detector, InputSize, MaskScore, SegmentationSpec, TrainSpec,
};
use crate::observer::Silent;
use crate::spec::Interval;

const SIDE: u32 = 64;

/// Grey images with red and blue squares.
fn squares(folder: &Path, count: u64) -> Dataset {
    let categories = ["red", "blue"]
        .iter()
        .zip([3, 8])
        .map(|(name, id)| Category {
            id,
            name: (*name).to_owned(),
            ..Category::default()
        });
    let samples = (0..count).map(|id| {
        let mut generator = SeedKey::new(b"squares", 0).generator("image", id);
        let mut image = RgbImage::from_pixel(SIDE, SIDE, Rgb([90, 100, 90]));
        let mut annotations = Vec::new();
        for (place, category_id) in [(0, 3), (1, 8)] {
            let side = generator.random_range(14..22u32);
            let x = place * 32 + generator.random_range(0..32 - side);
            let y = generator.random_range(0..SIDE - side);
            let colour = if category_id == 3 {
                [220, 30, 30]
            } else {
                [30, 30, 220]
            };
            for (dx, dy) in (0..side).flat_map(|dy| (0..side).map(move |dx| (dx, dy))) {
                image.put_pixel(x + dx, y + dy, Rgb(colour));
            }
            let [x, y, side] = [x, y, side].map(f64::from);
            annotations.push(Annotation {
                id: id * 2 + u64::from(place),
                category_id,
                bbox: BoundingBox::from([x, y, side, side]),
                area: side * side,
                is_crowd: false,
                extra: serde_json::Map::new(),
            });
        }
        let file_name = format!("{id}.png");
        let path = folder.join(&file_name);
        image.save(&path).unwrap();
        Sample {
            id,
            path,
            file_name: file_name.clone(),
            width: SIDE,
            height: SIDE,
            annotations,
            record: Record::new(id, file_name, Origin::Real),
        }
    });
    Dataset {
        root: folder.to_owned(),
        categories: categories.collect(),
        samples: samples.collect(),
        warnings: Vec::new(),
    }
}

fn plan(steps: u64) -> TrainPlan {
    let one = Interval::new(1.0, 1.0).unwrap();
    let spec = TrainSpec {
        width_multiplier: 0.2,
        input: InputSize {
            height: 64,
            width: 64,
        },
        head_channels: 32,
        steps,
        batch_size: 4,
        warmup_steps: steps / 10,
        weight_averaging: 0.9,
        checkpoint_every: 3,
        log_every: 1,
        augmentation: AugmentationSpec {
            scale: one,
            brightness: one,
            contrast: one,
            saturation: one,
            ..AugmentationSpec::default()
        },
        ..TrainSpec::default()
    };
    spec.into_plan("test".as_ref()).unwrap()
}

#[test]
fn it_learns_a_few_images_and_tells_their_classes_apart() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = squares(folder.path(), 8);
    let out = folder.path().join("out");
    let plan = plan(200);
    let outcome = train(&plan, &dataset, 1, &out, &Silent).unwrap();
    assert_eq!(
        (outcome.images_drawn, outcome.real_images_drawn),
        (800, 800)
    );
    let (found, right_class) = found_and_named(&out, &dataset);
    assert!(found >= 15, "{found} of 16 objects found");
    assert!(
        right_class + 1 >= found,
        "{right_class} of {found} have the right class"
    );
    let again = train(&plan, &dataset, 1, &out, &Silent).unwrap();
    assert_eq!(
        again.resumed_from, 200,
        "a complete training is not repeated"
    );
}

#[test]
fn a_pyramid_with_the_auxiliary_task_learns_both() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = squares(folder.path(), 8);
    let out = folder.path().join("out");
    let mut spec = TrainSpec::clone(&plan(200));
    spec.output_strides = vec![8, 16];
    spec.fuse_strides = vec![32];
    spec.loss.image_class_weight = 0.5;
    let plan = spec.into_plan("test".as_ref()).unwrap();
    train(&plan, &dataset, 1, &out, &Silent).unwrap();
    let (found, right_class) = found_and_named(&out, &dataset);
    assert!(
        found >= 14 && right_class + 2 >= found,
        "{found} {right_class}"
    );
    let log = std::fs::read_to_string(out.join("train_log.jsonl")).unwrap();
    let losses: Vec<f32> = log
        .lines()
        .map(|line| serde_json::from_str::<LogLine>(line).unwrap().image_class)
        .collect();
    assert!((losses[0] - 2f32.ln()).abs() < 0.01, "it begins undecided");
    assert!(losses[199] < 0.1, "{}", losses[199]);
}

#[test]
fn a_segmentation_finds_the_objects_pixels_and_tells_of_its_paths() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = squares(folder.path(), 8);
    let score = |scale_weight: f64| {
        let out = folder.path().join(format!("scale{scale_weight}"));
        // Fewer end, with one seed in four, before the threshold is passed.
        let mut spec = TrainSpec::clone(&plan(250));
        spec.segmentation = Some(SegmentationSpec {
            scale_weight,
            ..SegmentationSpec::default()
        });
        let plan = spec.into_plan("test".as_ref()).unwrap();
        let outcome = train(&plan, &dataset, 1, &out, &Silent).unwrap();
        let last = outcome.segmentation.unwrap();
        assert_eq!(last.paths.len(), 3);
        for path in &last.paths {
            assert!(path.gradient > 0.0 && path.gradient.is_finite());
            assert!(path.loss_without.is_finite());
        }
        let detector = Detector::load(&out, ComputeDevice::Cpu).unwrap();
        let score = detector.score_masks(&dataset, &Silent).unwrap().unwrap();
        assert!(score.iou > 0.6, "{score:?}");
        let image = crate::dataset::read_image(&dataset.samples[0].path).unwrap();
        let object = detector.object_pixels(&image).unwrap().unwrap();
        let share = object.iter().filter(|object| **object).count() as f64 / object.len() as f64;
        assert!((0.02..0.3).contains(&share), "{share}");
        let label = dataset.samples[0].annotations[0].bbox;
        let (x, y) = (label.x + label.width / 2.0, label.y + label.height / 2.0);
        assert!(object[y as usize * SIDE as usize + x as usize]);
        let fine = &score.paths[0];
        assert!(fine.loss_without > score.loss, "{score:?}");
        score
    };
    let (labelled, summed) = (score(1.0), score(0.0));
    // Without a label of its own a path says what the others lack, not what is there.
    let own = |score: &MaskScore| score.paths.iter().map(|path| path.own_loss).sum::<f64>();
    assert!(own(&labelled) < own(&summed), "{labelled:?} {summed:?}");
}

/// How many objects a detector finds, and of how many of these it tells the class.
fn found_and_named(detector: &Path, dataset: &Dataset) -> (usize, usize) {
    let detector = Detector::load(detector, ComputeDevice::Cpu).unwrap();
    let detections = detector.predict(dataset, &Silent).unwrap();
    let mut found = 0;
    let mut right_class = 0;
    for sample in &dataset.samples {
        for object in &sample.annotations {
            let mut hits: Vec<_> = detections
                .iter()
                .filter(|hit| hit.image_id == sample.id && hit.bbox.iou(&object.bbox) > 0.5)
                .collect();
            hits.sort_by(|a, b| b.score.total_cmp(&a.score));
            if let Some(best) = hits.first() {
                found += 1;
                right_class += usize::from(best.category_id == object.category_id);
            }
        }
    }
    (found, right_class)
}

/// The tensors by name.
fn weights(folder: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensors: std::collections::BTreeMap<_, _> = tensors
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, view.data().to_vec()))
        .collect();
    assert!(tensors.len() > 20, "the weights are read");
    tensors
}

fn log_without_time(folder: &Path) -> Vec<LogLine> {
    // `Silent` has no clock: every line says 0 seconds.
    let text = std::fs::read_to_string(folder.join("train_log.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_resumed_training_equals_an_uninterrupted_one() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = squares(folder.path(), 6);
    let [whole, halves, other] = ["whole", "halves", "other"].map(|name| folder.path().join(name));
    let plan = plan(8);
    train(&plan, &dataset, 1, &whole, &Silent).unwrap();
    // It stops after step 5; the checkpoint is that of step 3.
    let stopped = train_until(&plan, &dataset, 1, &halves, &Silent, 5).unwrap();
    assert!(stopped.is_none());
    assert!(
        Detector::load(&halves, ComputeDevice::Cpu).is_err(),
        "it is not complete"
    );
    let resumed = train(&plan, &dataset, 1, &halves, &Silent).unwrap();
    assert_eq!(resumed.resumed_from, 3);
    assert_eq!(log_without_time(&whole), log_without_time(&halves));
    let bytes = |folder: &Path| std::fs::read(folder.join("model.safetensors")).unwrap();
    assert!(bytes(&whole) == bytes(&halves), "the files differ");
    assert!(!halves.join("checkpoint").exists());
    train(&plan, &dataset, 2, &other, &Silent).unwrap();
    assert!(
        weights(&whole) != weights(&other),
        "the seed changes the weights"
    );
    let error = train(&plan, &dataset, 2, &whole, &Silent).unwrap_err();
    assert!(matches!(error, DetectorError::Occupied { .. }), "{error}");
}

#[test]
fn a_frozen_backbone_stays_as_it_came_and_a_misfit_leaves_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = squares(folder.path(), 4);
    let [earlier, tuned, wide] = ["earlier", "tuned", "wide"].map(|name| folder.path().join(name));
    train(&plan(4), &dataset, 1, &earlier, &Silent).unwrap();
    let begun = |width_multiplier: f64| TrainSpec {
        width_multiplier,
        start: Some(crate::detector::StartSpec {
            weights: earlier.clone(),
            backbone_rate: 0.0,
        }),
        ..(*plan(8)).clone()
    };
    let checked = |spec: TrainSpec| spec.into_plan("test".as_ref()).unwrap();
    // It stops after step 5 and goes on from the checkpoint of step 3.
    let plan = checked(begun(0.2));
    train_until(&plan, &dataset, 2, &tuned, &Silent, 5).unwrap();
    train(&plan, &dataset, 2, &tuned, &Silent).unwrap();
    let (before, after) = (weights(&earlier), weights(&tuned));
    for (name, value) in &before {
        let is_backbone = name.starts_with("backbone.");
        assert!(!is_backbone || after[name] == *value, "{name} has moved");
    }
    assert!(before != after, "neck and head learn");
    let error = train(&checked(begun(0.5)), &dataset, 2, &wide, &Silent).unwrap_err();
    assert!(matches!(error, DetectorError::Weights { .. }), "{error}");
    assert!(!wide.exists(), "nothing is written");
}

#[test]
fn objects_that_vanish_at_the_inputs_size_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut dataset = squares(folder.path(), 2);
    assert_eq!(too_small(&plan(1), &dataset), 0);
    dataset.samples[0].annotations[1].bbox.height = 1.5;
    assert_eq!(too_small(&plan(1), &dataset), 1);
    for annotation in dataset.samples.iter_mut().flat_map(|s| &mut s.annotations) {
        annotation.bbox.width = 5.0;
    }
    // Ten times as large as the input.
    dataset.samples[1].width *= 10;
    dataset.samples[1].height *= 10;
    assert_eq!(too_small(&plan(1), &dataset), 3);
}

#[test]
fn sets_without_images_or_boxes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut dataset = squares(folder.path(), 2);
    let out = folder.path().join("out");
    for sample in &mut dataset.samples {
        sample.annotations.clear();
    }
    let error = train(&plan(8), &dataset, 1, &out, &Silent).unwrap_err();
    assert!(
        matches!(error, DetectorError::NoBoxes { images: 2, .. }),
        "{error}"
    );
    dataset.samples.clear();
    let error = train(&plan(8), &dataset, 1, &out, &Silent).unwrap_err();
    assert!(matches!(error, DetectorError::NoImages { .. }), "{error}");
    assert!(!out.exists(), "nothing is written");
}

#[test]
fn a_loss_that_is_not_a_number_stops_the_training() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = squares(folder.path(), 2);
    let spec = TrainSpec {
        loss: crate::detector::LossSpec {
            box_weight: 1e4,
            ..crate::detector::LossSpec::default()
        },
        optimizer: OptimizerSpec::Sgd {
            learning_rate: 10.0,
            momentum: 0.99,
            weight_decay: 10.0,
        },
        warmup_steps: 0,
        ..(*plan(200)).clone()
    };
    let plan = spec.into_plan("test".as_ref()).unwrap();
    let error = train(&plan, &dataset, 1, &folder.path().join("out"), &Silent).unwrap_err();
    assert!(matches!(error, DetectorError::Diverged { .. }), "{error}");
}

#[test]
fn the_learning_rate_rises_then_falls() {
    let plan = plan(100);
    let rates: Vec<f64> = (0..100).map(|step| learning_rate(&plan, step)).collect();
    let peak = plan.optimizer.learning_rate();
    assert!(rates[..10].windows(2).all(|pair| pair[0] < pair[1]));
    assert!(rates[10..].windows(2).all(|pair| pair[0] > pair[1]));
    assert_eq!(rates[10], peak);
    assert!(rates[99] < 0.02 * peak && rates[99] > 0.0);
}

/// On Mesa's software adapter as on a GPU: `make wgpu` builds and runs it.
#[cfg(feature = "wgpu")]
#[test]
fn wgpu_trains_resumes_and_predicts_as_the_processor_does() {
    use crate::annotation::Detection;
    use crate::detector::PredictionSpec;
    let folder = tempfile::tempdir().unwrap();
    let dataset = squares(folder.path(), 8);
    let on = |device: ComputeDevice| {
        let spec = TrainSpec {
            device,
            // Few kernels to compile.
            width_multiplier: 0.1,
            output_strides: vec![16, 32],
            fuse_strides: vec![8],
            // Everything that the network says is a detection.
            prediction: PredictionSpec {
                score_threshold: 0.0,
                nms_iou: 1.0,
                max_detections: 100,
            },
            ..TrainSpec::clone(&plan(5))
        };
        spec.into_plan("test".as_ref()).unwrap()
    };
    let [cpu, whole, halves] = ["cpu", "whole", "halves"].map(|name| folder.path().join(name));
    let (cpu_plan, gpu_plan) = (on(ComputeDevice::Cpu), on(ComputeDevice::Wgpu));
    train(&cpu_plan, &dataset, 1, &cpu, &Silent).unwrap();
    train(&gpu_plan, &dataset, 1, &whole, &Silent).unwrap();
    let stopped = train_until(&gpu_plan, &dataset, 1, &halves, &Silent, 4).unwrap();
    assert!(stopped.is_none());
    let resumed = train(&gpu_plan, &dataset, 1, &halves, &Silent).unwrap();
    assert_eq!(resumed.resumed_from, 3, "the last checkpoint");
    let close = |wanted: f32, got: f32, tolerance: f32| {
        let distance = (wanted - got).abs() / wanted.abs();
        assert!(distance < tolerance, "{got} for {wanted}");
    };
    let [cpu_log, whole, halves_log] = [&cpu, &whole, &halves].map(|out| log_without_time(out));
    // Later steps go apart: AdamW's first ones follow the signs of gradients, which rounding
    // turns where they are all but zero.
    close(cpu_log[0].loss, whole[0].loss, 1e-4);
    close(cpu_log[0].bounding_box, whole[0].bounding_box, 1e-4);
    assert_eq!((whole.len(), halves_log.len()), (5, 5));
    for (whole, halves) in whole.iter().zip(&halves_log) {
        close(whole.loss, halves.loss, 1e-3);
    }
    let found = [ComputeDevice::Cpu, ComputeDevice::Wgpu].map(|device| {
        let detector = Detector::load(&halves, device).unwrap();
        detector.predict(&dataset, &Silent).unwrap()
    });
    // A box and two classes a cell.
    assert_eq!(found[0].len(), 8 * (16 + 4) * 2);
    assert_eq!(found[1].len(), found[0].len());
    let near = |a: &Detection, b: &Detection| {
        let sides = |b: &BoundingBox| [b.x, b.y, b.width, b.height];
        let pairs = sides(&a.bbox).into_iter().zip(sides(&b.bbox));
        (a.image_id, a.category_id) == (b.image_id, b.category_id)
            && (a.score - b.score).abs() < 1e-3
            && pairs.into_iter().all(|(a, b)| (a - b).abs() < 0.05)
    };
    for wanted in &found[0] {
        let is_found = found[1].iter().any(|got| near(wanted, got));
        assert!(is_found, "{wanted:?}");
    }
}
