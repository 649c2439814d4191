//! A trained detector in use: images in, detections out.

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use rayon::prelude::*;

use super::DetectorError;
use super::assignment::Grids;
use super::checkpoint::{self, ModelConfig};
use super::compute::ComputeDevice;
use super::config::{self, PredictionSpec, TrainPlan};
use super::head::{BOX_END, class_channels};
use super::image_store::resized;
use super::letterbox::Letterbox;
use super::loss::LOG_SIZE_BOUNDS;
use super::model::Model;
use super::view::plain_input;
use crate::annotation::{BoundingBox, Detection};
use crate::dataset::{Dataset, DatasetError, Sample, read_image};
use crate::observer::Observer;
use crate::seed::SeedKey;

/// Images that go through the network together.
const BATCH: usize = 16;

/// Most boxes of an image that suppression compares with each other.
pub(super) const MAX_CANDIDATES: usize = 1000;

/// A trained detector.
pub struct Detector {
    config: ModelConfig,
    model: Model,
    device: Device,
}

/// A detection before it is tied to an image and to a data set's categories.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredBox {
    /// Index into [`Detector::classes`].
    pub class: usize,
    /// In pixels of the image.
    pub bbox: BoundingBox,
    /// `0..=1`.
    pub score: f64,
}

impl Detector {
    /// Loads what [`super::train`] wrote to `folder`, to predict on `device`, which need not
    /// be the one that it was trained on.
    ///
    /// # Errors
    /// A folder without a complete training, or with files that do not belong together; a
    /// device that this build or machine lacks.
    pub fn load(folder: &Path, device: ComputeDevice) -> Result<Self, DetectorError> {
        let fail = |message: &str| DetectorError::Model {
            path: folder.to_owned(),
            message: message.to_owned(),
        };
        let config = ModelConfig::read(folder)?.ok_or_else(|| fail("there is no config.json"))?;
        if !folder.join(checkpoint::MODEL_FILE).is_file() {
            return Err(fail("its training has not finished"));
        }
        let key = SeedKey::new(b"train", config.seed);
        let mut model = Model::unsized_for(&config.plan, config.classes.len(), key);
        checkpoint::load_weights(folder, &mut model)?;
        let device = device.open()?;
        Ok(Detector {
            config,
            model: model.fork(&device),
            device,
        })
    }

    /// Names of the classes.
    pub fn classes(&self) -> &[String] {
        &self.config.classes
    }

    /// The plan that the detector was trained by.
    pub fn plan(&self) -> &TrainPlan {
        &self.config.plan
    }

    pub(super) fn model(&self) -> &Model {
        &self.model
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// The data set with the labels that the detector speaks of: itself, or all
    /// categories joined where the detector was trained without them.
    pub fn relabelled(&self, dataset: &Dataset) -> Dataset {
        match &self.config.plan.class_agnostic {
            Some(name) => config::class_agnostic(dataset, name),
            None => dataset.clone(),
        }
    }

    /// Detections in all images of a data set, image by image in its order, best
    /// first. Category identifiers are those of the data set, matched by name; a
    /// class that it lacks is left out.
    ///
    /// # Errors
    /// An unreadable image, or a data set that has none of the detector's classes
    /// (see [`Detector::relabelled`]).
    pub fn predict(
        &self,
        dataset: &Dataset,
        observer: &dyn Observer,
    ) -> Result<Vec<Detection>, DetectorError> {
        let ids = self.category_ids(dataset)?;
        observer.begin("predict", dataset.samples.len() as u64, 0);
        let mut detections = Vec::new();
        for samples in dataset.samples.chunks(BATCH) {
            let inputs = self.inputs(samples)?;
            for (sample, boxes) in samples.iter().zip(self.detect(inputs)) {
                let (width, height) = (f64::from(sample.width), f64::from(sample.height));
                detections.extend(boxes.into_iter().filter_map(|found| {
                    Some(Detection {
                        image_id: sample.id,
                        category_id: ids[found.class]?,
                        bbox: found.bbox.clipped_to(width, height)?,
                        score: found.score,
                    })
                }));
            }
            observer.advance(samples.len() as u64);
        }
        observer.end();
        Ok(detections)
    }

    /// What the detector makes of each image of a data set, in its order: the mean over the
    /// image of the features that the finest head reads.
    ///
    /// # Errors
    /// An unreadable image.
    pub fn embed(&self, dataset: &Dataset) -> Result<Vec<Vec<f64>>, DetectorError> {
        let mut embedded = Vec::new();
        for samples in dataset.samples.chunks(BATCH) {
            let (images, _) = self.tensor(self.inputs(samples)?);
            let features = self.model.embed(images);
            let [_, channels] = features.dims();
            let values: Vec<f32> = features
                .into_data()
                .try_to_vec()
                .expect("the network computes in 32-bit floats");
            let rows = values.chunks_exact(channels);
            embedded.extend(rows.map(|row| row.iter().copied().map(f64::from).collect::<Vec<_>>()));
        }
        Ok(embedded)
    }

    /// Images as the network takes them, and where in the input they lie.
    fn inputs(&self, samples: &[Sample]) -> Result<Vec<(Vec<f32>, Letterbox)>, DetectorError> {
        let inputs: Result<_, DatasetError> = samples
            .par_iter()
            .map(|sample| {
                let image = read_image(&sample.path)?;
                self.input(image, (sample.width, sample.height))
                    .map_err(|message| DatasetError::Image {
                        path: sample.path.clone(),
                        message,
                    })
            })
            .collect();
        Ok(inputs?)
    }

    fn tensor(&self, inputs: Vec<(Vec<f32>, Letterbox)>) -> (Tensor<4>, Vec<Letterbox>) {
        let input = self.config.plan.input;
        let shape = [inputs.len(), input.height, input.width, 3];
        let (pixels, letterboxes): (Vec<_>, Vec<_>) = inputs.into_iter().unzip();
        let data = TensorData::new(pixels.concat(), shape);
        (Tensor::from_data(data, &self.device), letterboxes)
    }

    /// Detections in one image, best first.
    ///
    /// # Errors
    /// An image without pixels.
    pub fn predict_image(&self, image: &RgbImage) -> Result<Vec<ScoredBox>, DetectorError> {
        let (width, height) = image.dimensions();
        let input = self.input_of(image)?;
        let found = self.detect(vec![input]).into_iter().flatten();
        let clipped = found.filter_map(|found| {
            let bbox = found.bbox.clipped_to(f64::from(width), f64::from(height))?;
            Some(ScoredBox { bbox, ..found })
        });
        Ok(clipped.collect())
    }

    /// An image as the network takes it, and where in the input it lies.
    pub(super) fn input_of(
        &self,
        image: &RgbImage,
    ) -> Result<(Vec<f32>, Letterbox), DetectorError> {
        let input = self.input(image.clone(), image.dimensions());
        Ok(input.map_err(|message| DatasetError::Image {
            path: "image in memory".into(),
            message,
        })?)
    }

    fn category_ids(&self, dataset: &Dataset) -> Result<Vec<Option<u32>>, DetectorError> {
        let id = |name: &String| {
            let same = |category: &&crate::annotation::Category| category.name == *name;
            dataset
                .categories
                .iter()
                .find(same)
                .map(|category| category.id)
        };
        let ids: Vec<Option<u32>> = self.config.classes.iter().map(id).collect();
        if ids.iter().all(Option::is_none) {
            let names: Vec<&str> = dataset
                .categories
                .iter()
                .map(|category| category.name.as_str())
                .collect();
            return Err(DetectorError::Categories {
                path: dataset.root.clone(),
                detector: self.config.classes.join(", "),
                dataset: names.join(", "),
            });
        }
        Ok(ids)
    }

    fn input(&self, image: RgbImage, size: (u32, u32)) -> Result<(Vec<f32>, Letterbox), String> {
        let input = self.config.plan.input;
        let letterbox = Letterbox::fit(size.0, size.1, input);
        let pixels = resized(image, letterbox)?;
        Ok((plain_input(letterbox, pixels, input), letterbox))
    }

    /// Runs the network and decodes its map, in pixels of each image.
    fn detect(&self, inputs: Vec<(Vec<f32>, Letterbox)>) -> Vec<Vec<ScoredBox>> {
        let plan = &self.config.plan;
        let (images, letterboxes) = self.tensor(inputs);
        let output: Vec<f32> = self
            .model
            .predict(images)
            .into_data()
            .try_to_vec()
            .expect("the network computes in 32-bit floats");
        let grids = Grids::of(plan.input, &plan.output_strides);
        let logits = class_channels(self.config.classes.len());
        let values = output.chunks_exact(grids.cells() * (BOX_END + logits));
        letterboxes
            .iter()
            .zip(values)
            .map(|(letterbox, values)| {
                let mut boxes = decode(values, &grids, logits, plan.prediction.score_threshold);
                for found in &mut boxes {
                    found.bbox = letterbox.to_image(&found.bbox);
                }
                suppress(boxes, &plan.prediction)
            })
            .collect()
    }
}

fn sigmoid(logit: f32) -> f64 {
    1.0 / (1.0 + (-f64::from(logit)).exp())
}

/// The boxes of one image's output (`[cells, 5 + logits]`) whose score reaches the
/// threshold, in input pixels. The score is objectness times class probability.
fn decode(values: &[f32], grids: &Grids, logits: usize, threshold: f64) -> Vec<ScoredBox> {
    let (low, high) = LOG_SIZE_BOUNDS;
    let mut boxes = Vec::new();
    let cells = grids
        .maps()
        .flat_map(|(_, grid)| (0..grid.cells()).map(move |cell| (grid, cell)));
    for ((grid, cell), values) in cells.zip(values.chunks_exact(BOX_END + logits)) {
        let stride = grid.stride as f64;
        let objectness = sigmoid(values[0]);
        if objectness < threshold {
            continue;
        }
        let (x, y) = grid.centre(cell);
        let side = |logarithm: f32| f64::from(logarithm.clamp(low, high)).exp() * stride;
        let (width, height) = (side(values[3]), side(values[4]));
        let bbox = BoundingBox {
            x: x + f64::from(values[1]) * stride - width / 2.0,
            y: y + f64::from(values[2]) * stride - height / 2.0,
            width,
            height,
        };
        let finite = [bbox.x, bbox.y, bbox.width, bbox.height]
            .iter()
            .all(|value| value.is_finite());
        for class in 0..logits.max(1) {
            let probability = values
                .get(BOX_END + class)
                .map_or(1.0, |&logit| sigmoid(logit));
            let score = objectness * probability;
            if finite && score >= threshold {
                boxes.push(ScoredBox { class, bbox, score });
            }
        }
    }
    boxes
}

/// Greedy non-maximum suppression within each class; best first.
fn suppress(mut boxes: Vec<ScoredBox>, spec: &PredictionSpec) -> Vec<ScoredBox> {
    // The sort is stable, so equal scores keep the order of the cells.
    boxes.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<ScoredBox> = Vec::new();
    for found in boxes.into_iter().take(MAX_CANDIDATES) {
        if kept.len() == spec.max_detections {
            break;
        }
        let overlaps = |other: &ScoredBox| {
            other.class == found.class && other.bbox.iou(&found.bbox) > spec.nms_iou
        };
        if !kept.iter().any(overlaps) {
            kept.push(found);
        }
    }
    kept
}
