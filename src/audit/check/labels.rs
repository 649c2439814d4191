//! Faults of labels that the labels alone show.

use std::collections::BTreeMap;

use super::{Finding, Issue, Usual, severity};
use crate::annotation::{Annotation, BoundingBox};
use crate::dataset::{Dataset, Sample};

/// Overlap (IoU) from which on two boxes are one object's.
const SAME_IOU: f64 = 0.9;

/// Overlap (IoU) of two boxes of a class from which on they may be one object's.
const CROSSING_IOU: f64 = 0.6;

/// Side below which a box holds no object, in pixels.
const TINY_PX: f64 = 3.0;

/// Share of its image from which on a box is one around all of it.
const WHOLE_SHARE: f64 = 0.98;

/// Least factor by which a box's size is unusual, and its aspect, whatever the class varies.
const SIZE_FACTOR: f64 = 3.0;
const ASPECT_FACTOR: f64 = 3.0;

/// Deviations of a class from which on a box of it is unusual.
const DEVIATIONS: f64 = 5.0;

/// Least labels in all images for one without to be unusual: share of images with some.
const LABELLED_SHARE: f64 = 0.5;

/// What is usual of the boxes of a class, as natural logarithms.
struct UsualBox {
    size: Option<Usual>,
    aspect: Option<Usual>,
}

pub(super) fn check(dataset: &Dataset) -> Vec<Finding> {
    let mut findings = of_reading(dataset);
    let usual = usual_boxes(dataset);
    for (index, sample) in dataset.samples.iter().enumerate() {
        let objects: Vec<&Annotation> = sample.annotations.iter().filter(|a| !a.is_crowd).collect();
        for (number, object) in objects.iter().enumerate() {
            findings.extend(of_box(dataset, index, object, &usual));
            for other in &objects[number + 1..] {
                findings.extend(of_pair(dataset, index, object, other));
            }
        }
    }
    findings.extend(without_labels(dataset));
    findings.extend(like_names(dataset));
    findings
}

/// What the reader of the label files had to drop or cut.
fn of_reading(dataset: &Dataset) -> Vec<Finding> {
    let told = |warning: &crate::dataset::Warning| {
        let examples = warning.examples.join("; ");
        let more = match warning.count > warning.examples.len() {
            true => "; ...",
            false => "",
        };
        let message = format!("{} ({}x): {examples}{more}", warning.kind, warning.count);
        // A box that is lost is worse than one that was cut.
        let severity = match warning.kind.contains("drop") || warning.kind.contains("left out") {
            true => 0.9,
            false => 0.6,
        };
        Finding::of_set(Issue::UnusableLabel, severity, message)
    };
    dataset.warnings.iter().map(told).collect()
}

fn log_size(bbox: &BoundingBox) -> f64 {
    (bbox.width * bbox.height).max(f64::MIN_POSITIVE).ln() / 2.0
}

fn log_aspect(bbox: &BoundingBox) -> f64 {
    (bbox.width / bbox.height.max(f64::MIN_POSITIVE))
        .max(f64::MIN_POSITIVE)
        .ln()
}

/// By the relative size, so that images of several sizes can be compared.
fn relative(sample: &Sample, bbox: &BoundingBox) -> f64 {
    let longer = f64::from(sample.width.max(sample.height).max(1));
    log_size(bbox) - longer.ln()
}

/// An object that its image cuts may have any size and shape.
fn is_cut(sample: &Sample, bbox: &BoundingBox) -> bool {
    const EDGE_PX: f64 = 1.0;
    bbox.x <= EDGE_PX
        || bbox.y <= EDGE_PX
        || bbox.right() >= f64::from(sample.width) - EDGE_PX
        || bbox.bottom() >= f64::from(sample.height) - EDGE_PX
}

fn usual_boxes(dataset: &Dataset) -> BTreeMap<u32, UsualBox> {
    let mut by_class: BTreeMap<u32, Vec<(f64, f64)>> = BTreeMap::new();
    for sample in &dataset.samples {
        let whole = |object: &&Annotation| !object.is_crowd && !is_cut(sample, &object.bbox);
        for object in sample.annotations.iter().filter(whole) {
            let measured = (relative(sample, &object.bbox), log_aspect(&object.bbox));
            by_class
                .entry(object.category_id)
                .or_default()
                .push(measured);
        }
    }
    let usual = |(class, boxes): (u32, Vec<(f64, f64)>)| {
        let usual = UsualBox {
            size: Usual::of(boxes.iter().map(|(size, _)| *size)),
            aspect: Usual::of(boxes.iter().map(|(_, aspect)| *aspect)),
        };
        (class, usual)
    };
    by_class.into_iter().map(usual).collect()
}

fn class_name(dataset: &Dataset, id: u32) -> String {
    let category = dataset.category(id);
    category.map_or_else(|| format!("class {id}"), |c| c.name.clone())
}

fn of_box(
    dataset: &Dataset,
    index: usize,
    object: &Annotation,
    usual: &BTreeMap<u32, UsualBox>,
) -> Vec<Finding> {
    let sample = &dataset.samples[index];
    let bbox = &object.bbox;
    let found = |issue: Issue, severity: f64, message: String| Finding {
        boxes: vec![*bbox],
        ..Finding::of_image(issue, severity, dataset, index, message)
    };
    let name = class_name(dataset, object.category_id);
    let cut = is_cut(sample, bbox);
    let (shorter, longer) = (bbox.width.min(bbox.height), bbox.width.max(bbox.height));
    // Of an object that its image cuts a sliver may be left.
    if longer < TINY_PX || (shorter < TINY_PX && !cut) {
        let message = format!("{name}: {:.1} x {:.1} px", bbox.width, bbox.height);
        return vec![found(Issue::TinyBox, 0.8, message)];
    }
    let area = f64::from(sample.width) * f64::from(sample.height);
    let share = bbox.width * bbox.height / area.max(1.0);
    if share >= WHOLE_SHARE {
        let message = format!("{name}: {:.0} % of the image", 100.0 * share);
        return vec![found(Issue::WholeImageBox, 0.6, message)];
    }
    let mut findings = Vec::new();
    let Some(usual) = usual.get(&object.category_id) else {
        return findings;
    };
    if let Some(size) = &usual.size {
        let excess = size.excess(relative(sample, bbox), SIZE_FACTOR.ln(), DEVIATIONS);
        // A cut object may be small.
        if excess > 1.0 || (excess < -1.0 && !cut) {
            let factor = (relative(sample, bbox) - size.median).exp();
            let message = format!("{name}: {factor:.2} times as long as usual");
            let severity = severity(excess.abs());
            findings.push(found(Issue::OddBoxSize, severity, message));
        }
    }
    if let Some(aspect) = usual.aspect.as_ref().filter(|_| !cut) {
        let excess = aspect.excess(log_aspect(bbox), ASPECT_FACTOR.ln(), DEVIATIONS);
        if excess.abs() > 1.0 {
            let message = format!(
                "{name}: {:.2} wide to high, usual is {:.2}",
                log_aspect(bbox).exp(),
                aspect.median.exp()
            );
            let severity = severity(excess.abs());
            findings.push(found(Issue::OddBoxShape, severity, message));
        }
    }
    findings
}

fn of_pair(
    dataset: &Dataset,
    index: usize,
    one: &Annotation,
    other: &Annotation,
) -> Option<Finding> {
    let iou = one.bbox.iou(&other.bbox);
    if iou < CROSSING_IOU {
        return None;
    }
    let names = [one, other].map(|object| class_name(dataset, object.category_id));
    let is_one_class = one.category_id == other.category_id;
    let (issue, severity) = match (iou >= SAME_IOU, is_one_class) {
        (true, true) => (Issue::DuplicateBox, 0.95),
        (true, false) => (Issue::TwoClasses, 0.95),
        (false, true) => (Issue::Crossing, 0.5 + (iou - CROSSING_IOU)),
        (false, false) => return None,
    };
    let message = match is_one_class {
        true => format!("{}: IoU {iou:.2}", names[0]),
        false => format!("{} and {}: IoU {iou:.2}", names[0], names[1]),
    };
    Some(Finding {
        boxes: vec![one.bbox, other.bbox],
        ..Finding::of_image(issue, severity, dataset, index, message)
    })
}

/// Images without a label, where most have one.
fn without_labels(dataset: &Dataset) -> Vec<Finding> {
    let images = dataset.samples.len();
    let is_bare = |index: &usize| dataset.samples[*index].annotations.is_empty();
    let bare: Vec<usize> = (0..images).filter(is_bare).collect();
    let labelled = (images - bare.len()) as f64 / images.max(1) as f64;
    if labelled < LABELLED_SHARE {
        return Vec::new();
    }
    // The fewer there are, the less they look like a purpose.
    bare.iter()
        .map(|&index| {
            let message = format!("{:.1} % of the images have labels", 100.0 * labelled);
            Finding::of_image(Issue::NoLabels, 0.6 * labelled, dataset, index, message)
        })
        .collect()
}

/// Classes whose names differ in case, spaces or signs alone, or by a plural.
fn like_names(dataset: &Dataset) -> Vec<Finding> {
    let bare = |name: &str| {
        let letters = name.chars().filter(|c| c.is_alphanumeric());
        let letters: String = letters.flat_map(char::to_lowercase).collect();
        letters
            .strip_suffix('s')
            .filter(|rest| rest.chars().count() > 2)
            .map_or(letters.clone(), str::to_owned)
    };
    let mut alike: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for category in &dataset.categories {
        alike
            .entry(bare(&category.name))
            .or_default()
            .push(&category.name);
    }
    alike
        .into_values()
        .filter(|names| names.len() > 1)
        .map(|names| Finding::of_set(Issue::LikeNames, 0.8, names.join(", ")))
        .collect()
}
