//! Small pictures that a trial leaves for the report.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::trial::Trial;
use crate::annotation::{Annotation, BoundingBox, Detection};
use crate::dataset::{Dataset, DatasetError, Sample, read_image, write_atomically};
use crate::html::jpeg_with_boxes;

/// Longest side of an exhibit, in pixels.
const SIDE_PX: u32 = 240;

/// Pictures of each kind that a trial leaves for the report.
const EXHIBITS: usize = 3;

/// Least score of a detection that is drawn.
const DRAWN_SCORE: f64 = 0.3;

/// Overlap (IoU) with a label of its class from which on a drawn detection is right.
const RIGHT_IOU: f64 = 0.5;

/// Labels, and detections that are right.
const RIGHT_COLOUR: [u8; 3] = [60, 220, 120];
const WRONG_COLOUR: [u8; 3] = [255, 170, 40];

/// What a picture shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExhibitKind {
    /// A real training image with its labels.
    TrainReal,
    /// A synthetic training image with its labels.
    TrainSynthetic,
    /// A test image with what the detector found.
    Detections,
    /// A test image that the detector does worst on, with what it found.
    Worst,
}

/// A picture in the trial's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exhibit {
    pub kind: ExhibitKind,
    /// File name in the trial's folder.
    pub file: String,
    pub caption: String,
}

/// Draws `boxes` (in pixels of the image at `source`) on it, shrinks it and writes it
/// into `folder` as a JPEG. Each box has its own colour.
///
/// # Errors
/// An image that cannot be read, or a file that cannot be written.
pub fn draw_exhibit(
    kind: ExhibitKind,
    source: &Path,
    boxes: &[(BoundingBox, [u8; 3])],
    folder: &Path,
    name: &str,
    caption: String,
) -> Result<Exhibit, DatasetError> {
    let image = read_image(source)?;
    let bytes = jpeg_with_boxes(&image, boxes, SIDE_PX).map_err(|error| DatasetError::Image {
        path: folder.join(name),
        message: error.to_string(),
    })?;
    let file = format!("{name}.jpg");
    write_atomically(&folder.join(&file), &bytes)?;
    Ok(Exhibit {
        kind,
        file,
        caption,
    })
}

/// Draws a few training images with their labels, real and synthetic in turn.
///
/// # Errors
/// An image that cannot be read, or a file that cannot be written.
pub(super) fn training_exhibits(
    train: &Dataset,
    trial: &Trial,
    folder: &Path,
) -> Result<Vec<Exhibit>, DatasetError> {
    if !trial.exhibits {
        return Ok(Vec::new());
    }
    let mut exhibits = Vec::new();
    for (kind, is_real) in [
        (ExhibitKind::TrainReal, true),
        (ExhibitKind::TrainSynthetic, false),
    ] {
        let chosen = train
            .samples
            .iter()
            .filter(|sample| sample.record.counts_as_real() == is_real)
            .take(EXHIBITS);
        for (index, sample) in chosen.enumerate() {
            let boxes: Vec<(BoundingBox, [u8; 3])> = sample
                .annotations
                .iter()
                .map(|annotation| (annotation.bbox, RIGHT_COLOUR))
                .collect();
            let name = format!(
                "train_{}_{index}",
                if is_real { "real" } else { "synthetic" }
            );
            let caption = format!("{}: {} labelled", sample.file_name, boxes.len());
            exhibits.push(draw_exhibit(
                kind,
                &sample.path,
                &boxes,
                folder,
                &name,
                caption,
            )?);
        }
    }
    Ok(exhibits)
}

/// Draws what was found on a few test images: the same in every trial, spread evenly over the
/// split, and those that this detector does worst on. All have labels.
///
/// # Errors
/// An image that cannot be read, or a file that cannot be written.
pub(super) fn detection_exhibits(
    test: &Dataset,
    detections: &[Detection],
    trial: &Trial,
    folder: &Path,
) -> Result<Vec<Exhibit>, DatasetError> {
    if !trial.exhibits {
        return Ok(Vec::new());
    }
    let labelled: Vec<&Sample> = test
        .samples
        .iter()
        .filter(|sample| !sample.annotations.is_empty())
        .collect();
    let mut worst: Vec<(f64, &Sample)> = labelled
        .iter()
        .map(|sample| (harmonic_mean(sample, &drawn(sample, detections)), *sample))
        .collect();
    // Of equal ones the first of the split.
    worst.sort_by(|a, b| a.0.total_cmp(&b.0));
    let step = labelled.len().div_ceil(EXHIBITS).max(1);
    let spread = labelled.iter().step_by(step).copied();
    let worst = worst.iter().take(EXHIBITS).map(|(_, sample)| *sample);
    let mut exhibits = Vec::new();
    let spread = spread.map(|sample| (ExhibitKind::Detections, "test", sample));
    let worst = worst.map(|sample| (ExhibitKind::Worst, "worst", sample));
    for (index, (kind, name, sample)) in spread.chain(worst).enumerate() {
        let name = format!("{name}_{index}");
        exhibits.push(draw_detections(kind, sample, detections, folder, &name)?);
    }
    Ok(exhibits)
}

/// What is drawn of the detections on an image.
fn drawn<'a>(sample: &Sample, detections: &'a [Detection]) -> Vec<&'a Detection> {
    detections
        .iter()
        .filter(|found| found.image_id == sample.id && found.score >= DRAWN_SCORE)
        .collect()
}

/// Of precision and recall on one image with labels, in `0..=1`: each label counts for the best
/// detection of its class that overlaps it enough.
fn harmonic_mean(sample: &Sample, found: &[&Detection]) -> f64 {
    let is_found = |label: &&Annotation| found.iter().any(|found| is_right(found, label));
    let right = sample.annotations.iter().filter(is_found).count();
    2.0 * right as f64 / (found.len() + sample.annotations.len()).max(1) as f64
}

fn is_right(found: &Detection, label: &Annotation) -> bool {
    label.category_id == found.category_id && label.bbox.iou(&found.bbox) >= RIGHT_IOU
}

fn colour(found: &Detection, labels: &[Annotation]) -> [u8; 3] {
    if labels.iter().any(|label| is_right(found, label)) {
        RIGHT_COLOUR
    } else {
        WRONG_COLOUR
    }
}

/// One test image with what two detectors found on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// Index of the plan's arm.
    pub arm: usize,
    /// By real-only of the arm; its file is in the folder of pairs.
    pub without: Exhibit,
    /// By the arm's largest ratio.
    pub with: Exhibit,
}

/// Draws the labelled test images on which the second of two detectors loses most to the first,
/// both side by side; fewer where it loses on fewer. `name` begins the files in `folder`.
///
/// # Errors
/// An image that cannot be read, or a file that cannot be written.
pub(super) fn pairs(
    test: &Dataset,
    [without, with]: [&[Detection]; 2],
    arm: usize,
    folder: &Path,
    name: &str,
) -> Result<Vec<Pair>, DatasetError> {
    let lost = |sample: &Sample| {
        let score = |detections| harmonic_mean(sample, &drawn(sample, detections));
        score(without) - score(with)
    };
    let labelled = test.samples.iter().filter(|s| !s.annotations.is_empty());
    let mut losses: Vec<(f64, &Sample)> = labelled.map(|sample| (lost(sample), sample)).collect();
    losses.retain(|(loss, _)| *loss > 0.0);
    // Of equal ones the first of the split.
    losses.sort_by(|a, b| b.0.total_cmp(&a.0));
    losses.truncate(EXHIBITS);
    let drawn_pair = |(index, (_, sample)): (usize, &(f64, &Sample))| {
        let one = |detections: &[Detection], side: &str| {
            let name = format!("{name}_{index}_{side}");
            draw_detections(ExhibitKind::Worst, sample, detections, folder, &name)
        };
        Ok(Pair {
            arm,
            without: one(without, "without")?,
            with: one(with, "with")?,
        })
    };
    losses.iter().enumerate().map(drawn_pair).collect()
}

fn draw_detections(
    kind: ExhibitKind,
    sample: &Sample,
    detections: &[Detection],
    folder: &Path,
    name: &str,
) -> Result<Exhibit, DatasetError> {
    let boxes: Vec<(BoundingBox, [u8; 3])> = drawn(sample, detections)
        .iter()
        .map(|found| (found.bbox, colour(found, &sample.annotations)))
        .collect();
    let right = boxes.iter().filter(|(_, c)| *c == RIGHT_COLOUR).count();
    let caption = format!(
        "{}: {} found with a score of {DRAWN_SCORE} or more, {right} of them right, {} labelled",
        sample.file_name,
        boxes.len(),
        sample.annotations.len()
    );
    draw_exhibit(kind, &sample.path, &boxes, folder, name, caption)
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::*;
    use crate::dataset::{Origin, Record};

    fn sample(folder: &Path, id: u64) -> Sample {
        let path = folder.join(format!("{id}.png"));
        RgbImage::new(40, 40).save(&path).unwrap();
        let label = Annotation {
            id,
            category_id: 10,
            bbox: BoundingBox::from([1.0, 1.0, 4.0, 4.0]),
            area: 16.0,
            is_crowd: false,
            extra: Default::default(),
        };
        Sample {
            id,
            path,
            file_name: format!("{id}.png"),
            width: 40,
            height: 40,
            annotations: vec![label],
            record: Record::new(id, format!("{id}.png"), Origin::Real),
        }
    }

    fn found(image_id: u64, category_id: u32, bbox: [f64; 4]) -> Detection {
        Detection {
            image_id,
            category_id,
            bbox: BoundingBox::from(bbox),
            score: 0.9,
        }
    }

    #[test]
    fn pairs_show_where_the_second_detector_loses() {
        let folder = tempfile::tempdir().unwrap();
        let test = Dataset {
            root: folder.path().to_owned(),
            categories: Vec::new(),
            samples: (1..=6).map(|id| sample(folder.path(), id)).collect(),
            warnings: Vec::new(),
        };
        let label = [1.0, 1.0, 4.0, 4.0];
        let all: Vec<Detection> = (1..=6).map(|id| found(id, 10, label)).collect();
        // Nothing on the second image, and something wrong beside on the fifth.
        let mut fewer = all.clone();
        fewer.retain(|detection| detection.image_id != 2);
        fewer.push(found(5, 10, [20.0, 20.0, 9.0, 9.0]));
        let both = [&all[..], &fewer[..]];
        let pairs = pairs(&test, both, 1, folder.path(), "addition").unwrap();
        let names: Vec<&str> = pairs.iter().map(|pair| pair.with.file.as_str()).collect();
        assert_eq!(names, ["addition_0_with.jpg", "addition_1_with.jpg"]);
        assert!(pairs[0].without.caption.contains("2.png: 1 found"));
        assert!(pairs[0].with.caption.contains("2.png: 0 found"));
        assert!(pairs[1].with.caption.contains("5.png: 2 found"));
        assert!(pairs.iter().all(|pair| pair.arm == 1));
        assert!(folder.path().join("addition_1_without.jpg").exists());
    }

    #[test]
    fn a_detection_is_right_with_the_class_and_the_place_of_a_label() {
        let folder = tempfile::tempdir().unwrap();
        let labels = sample(folder.path(), 1).annotations;
        let found = |category_id: u32, x: f64| found(1, category_id, [x, 1.0, 4.0, 4.0]);
        assert_eq!(colour(&found(10, 1.5), &labels), RIGHT_COLOUR);
        assert_eq!(colour(&found(20, 1.5), &labels), WRONG_COLOUR);
        assert_eq!(colour(&found(10, 4.0), &labels), WRONG_COLOUR);
    }

    #[test]
    fn an_image_scores_by_the_labels_found_and_the_detections_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let sample = sample(folder.path(), 1);
        let right = found(1, 10, sample.annotations[0].bbox.into());
        let wrong = found(1, 10, [500.0, 500.0, 9.0, 9.0]);
        assert_eq!(harmonic_mean(&sample, &[]), 0.0);
        assert_eq!(harmonic_mean(&sample, &[&right]), 1.0);
        assert!((harmonic_mean(&sample, &[&right, &wrong]) - 2.0 / 3.0).abs() < 1e-12);
    }
}
