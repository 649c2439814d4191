//! How fast this machine trains and predicts: the detector's own step and its forward pass
//! with a batch already in memory.

use burn::module::Module;
use burn::tensor::Tensor;
use rand::RngExt;

use super::DetectorError;
use super::assignment::Grids;
use super::checkpoint::TrainState;
use super::config::TrainPlan;
use super::loss::BatchTargets;
use super::model::Model;
use super::train::{Meter, images, optimizer, take_step};
use crate::seed::SeedKey;

/// Steps of a schedule that does not end, however many are measured.
pub const ENDLESS: u64 = 10_000_000;

/// One cell in this many learns an object.
const CELLS_PER_OBJECT: usize = 17;

/// Repeats a training step on one batch of noise.
pub struct TrainingLoad {
    plan: TrainPlan,
    /// The network as it was before the first step.
    inference: Model,
    state: TrainState,
    /// For a step; a prediction takes them without autodiff.
    images: Tensor<4>,
    targets: BatchTargets,
}

impl TrainingLoad {
    /// Makes the network of `plan` for one class, and a batch.
    ///
    /// # Errors
    /// A device that this build or machine lacks.
    pub fn new(plan: TrainPlan, seed: u64) -> Result<Self, DetectorError> {
        let device = plan.device.open()?;
        let key = SeedKey::new(b"training load", seed);
        let model = Model::unsized_for(&plan, 1, key).fork(&device);
        let inference = model.clone();
        let state = TrainState {
            step: 0,
            optimizer: optimizer(&plan.optimizer, &model),
            average: model.tensors(),
            model: model.train(),
            log: Vec::new(),
        };
        let (pixels, targets) = noise(&plan, key);
        Ok(TrainingLoad {
            images: images(&plan, pixels, &device),
            plan,
            inference,
            state,
            targets,
        })
    }

    /// One step: forward, backward, optimiser, running average. Returns the loss.
    ///
    /// # Errors
    /// A loss that is not a number.
    pub fn step(&mut self) -> Result<f32, DetectorError> {
        let mut meter = Meter::default();
        take_step(
            &self.plan,
            &mut self.state,
            self.images.clone(),
            &self.targets,
            &mut meter,
        )?;
        Ok(meter.last())
    }

    /// The forward pass of a prediction, whose output is dropped.
    pub fn predict(&self) {
        let images = self.images.clone().inner();
        // A GPU has computed it once it has been read.
        let _ = self.inference.predict(images).into_data();
    }
}

fn noise(plan: &TrainPlan, key: SeedKey) -> (Vec<f32>, BatchTargets) {
    let mut generator = key.generator("pixels", 0);
    let size = plan.training_size();
    let count = plan.batch_size * size.height * size.width * 3;
    let cells = plan.batch_size * Grids::of(size, &plan.output_strides).cells();
    let mut targets = BatchTargets {
        objectness: vec![0.0; cells],
        weight: vec![1.0; cells],
        image_classes: vec![1.0; plan.batch_size],
        ..BatchTargets::default()
    };
    for cell in (0..cells).step_by(CELLS_PER_OBJECT) {
        targets.objectness[cell] = 1.0;
        targets.positives.push(cell as i32);
        targets.positive_weights.push(1.0);
        targets.boxes.extend([0.2, -0.1, 1.5, 1.2]);
    }
    let pixels = (0..count).map(|_| generator.random_range(-2.0..2.0));
    (pixels.collect(), targets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detector::{InputSize, TrainSpec};

    #[test]
    fn steps_lower_the_loss() {
        for (output_strides, fuse_strides) in [
            (vec![16], vec![8, 32]),
            (vec![32], vec![64]),
            (vec![8, 16, 32], vec![]),
        ] {
            let spec = TrainSpec {
                width_multiplier: 0.2,
                input: InputSize {
                    height: 64,
                    width: 64,
                },
                output_strides,
                fuse_strides,
                batch_size: 2,
                warmup_steps: 0,
                steps: ENDLESS,
                ..TrainSpec::default()
            };
            let mut load = TrainingLoad::new(spec.into_plan("test".as_ref()).unwrap(), 4).unwrap();
            let first = load.step().unwrap();
            for _ in 0..10 {
                load.step().unwrap();
            }
            assert!(load.step().unwrap() < first);
        }
    }
}
