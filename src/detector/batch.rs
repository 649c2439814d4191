//! Batches of training images: exact composition, augmentation, targets.
//!
//! Batch `i` depends on the seed and on `i` alone, so that any worker may prepare it
//! and an interrupted training resumes with the batch that would have followed.

use rand::seq::SliceRandom;

use super::assignment::{Grid, Grids, Target, assign};
use super::config::TrainPlan;
use super::head::class_channels;
use super::image_store::StoredImage;
use super::loss::BatchTargets;
use super::segmentation::averaged;
use super::view::View;
use crate::annotation::BoundingBox;
use crate::seed::SeedKey;

/// How many images of each batch are real. Each batch has the set's ratio up to one
/// image, and what rounding leaves is carried on, so that any run of batches is
/// within one image of the exact ratio and whole epochs match it exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchComposition {
    pub real_images: u64,
    pub synthetic_images: u64,
    pub batch_size: u64,
}

impl BatchComposition {
    /// Real images in the batches before `step`.
    pub fn real_before(&self, step: u64) -> u64 {
        let drawn = u128::from(step) * u128::from(self.batch_size);
        let all = u128::from(self.real_images + self.synthetic_images).max(1);
        (drawn * u128::from(self.real_images) / all) as u64
    }

    /// Real images in batch `step`.
    pub fn real_in(&self, step: u64) -> u64 {
        self.real_before(step + 1) - self.real_before(step)
    }
}

/// One batch, ready for the network.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Batch {
    pub step: u64,
    /// `[batch, height, width, 3]`, normalised.
    pub pixels: Vec<f32>,
    pub targets: BatchTargets,
    /// Images that count as real.
    pub real: u64,
}

/// Makes the batches of a training.
pub(super) struct Batcher<'a> {
    plan: &'a TrainPlan,
    images: &'a [StoredImage],
    real: Vec<usize>,
    synthetic: Vec<usize>,
    classes: usize,
    key: SeedKey,
}

impl<'a> Batcher<'a> {
    pub fn new(
        plan: &'a TrainPlan,
        images: &'a [StoredImage],
        classes: usize,
        key: SeedKey,
    ) -> Self {
        let (real, synthetic) = (0..images.len()).partition(|&index| images[index].is_real);
        Batcher {
            plan,
            images,
            real,
            synthetic,
            classes,
            key,
        }
    }

    pub fn composition(&self) -> BatchComposition {
        BatchComposition {
            real_images: self.real.len() as u64,
            synthetic_images: self.synthetic.len() as u64,
            batch_size: self.plan.batch_size as u64,
        }
    }

    /// Indices of the images of batch `step`, the real ones first.
    pub fn members(&self, step: u64) -> Vec<usize> {
        let composition = self.composition();
        let real_before = composition.real_before(step);
        let real = composition.real_in(step);
        let synthetic_before = step * composition.batch_size - real_before;
        let synthetic = composition.batch_size - real;
        let mut members = self.drawn("real order", &self.real, real_before, real);
        members.extend(self.drawn(
            "synthetic order",
            &self.synthetic,
            synthetic_before,
            synthetic,
        ));
        members
    }

    /// Draws `from..from + count` of an endless sequence of shuffled epochs.
    fn drawn(&self, purpose: &str, pool: &[usize], from: u64, count: u64) -> Vec<usize> {
        let mut order: (Option<u64>, Vec<usize>) = (None, Vec::new());
        (from..from + count)
            .map(|draw| {
                let epoch = draw / pool.len() as u64;
                if order.0 != Some(epoch) {
                    let mut shuffled = pool.to_vec();
                    shuffled.shuffle(&mut self.key.generator(purpose, epoch));
                    order = (Some(epoch), shuffled);
                }
                order.1[(draw % pool.len() as u64) as usize]
            })
            .collect()
    }

    /// Prepares batch `step`.
    pub fn batch(&self, step: u64) -> Batch {
        let size = self.plan.training_size();
        let grids = Grids::of(size, &self.plan.output_strides);
        let members = self.members(step);
        let mut pixels = vec![0.0; members.len() * size.height * size.width * 3];
        let mut targets = BatchTargets {
            objectness: vec![0.0; members.len() * grids.cells()],
            masks: vec![
                Vec::new();
                self.plan
                    .segmentation
                    .as_ref()
                    .map_or(0, |s| s.strides.len())
            ],
            ..BatchTargets::default()
        };
        let slots = pixels.chunks_exact_mut(size.height * size.width * 3);
        let first_slot = step * self.plan.batch_size as u64;
        for (slot, (&member, pixels)) in members.iter().zip(slots).enumerate() {
            let image = &self.images[member];
            let mut generator = self.key.generator("augmentation", first_slot + slot as u64);
            let view = View::draw(self.plan, image, &mut generator);
            view.render(image, pixels);
            if let Some(spec) = &self.plan.segmentation {
                let mask = view.mask(image);
                for (stride, cells) in spec.strides.iter().zip(&mut targets.masks) {
                    cells.extend(averaged(&mask, size, *stride));
                }
            }
            let objects = view.targets(image);
            let weight = if image.is_real {
                1.0
            } else {
                self.plan.loss.synthetic_weight as f32
            };
            let cells = targets.weight.len() + grids.cells();
            targets.weight.resize(cells, weight);
            let seen = |class| objects.iter().any(|object| object.class == class);
            let seen = (0..self.classes).map(|class| f32::from(seen(class)));
            targets.image_classes.extend(seen);
            let crowds = image
                .crowds
                .iter()
                .map(|b| view.moved(b))
                .collect::<Vec<_>>();
            for (map, (first, grid)) in grids.maps().enumerate() {
                let own = |object: &&Target| grids.map_for(&object.bbox) == map;
                let own: Vec<Target> = objects.iter().filter(own).cloned().collect();
                let first = slot * grids.cells() + first;
                self.add_targets(&mut targets, first, &own, &crowds, grid, weight);
            }
        }
        Batch {
            step,
            pixels,
            targets,
            real: self.composition().real_in(step),
        }
    }

    /// Adds what a map, whose first cell is number `first` of the batch, is to learn.
    fn add_targets(
        &self,
        batch: &mut BatchTargets,
        first: usize,
        objects: &[Target],
        crowds: &[BoundingBox],
        grid: Grid,
        weight: f32,
    ) {
        let assignment = assign(objects, crowds, grid, &self.plan.assignment);
        for cell in assignment.ignored {
            batch.weight[first + cell] = 0.0;
        }
        let stride = grid.stride as f64;
        let logits = class_channels(self.classes);
        for (cell, target) in assignment.positives {
            let Target { bbox, class } = &objects[target];
            let (x, y) = grid.centre(cell);
            batch.objectness[first + cell] = 1.0;
            batch.positives.push((first + cell) as i32);
            batch.positive_weights.push(weight);
            batch.boxes.extend(
                [
                    bbox.x + bbox.width / 2.0 - x,
                    bbox.y + bbox.height / 2.0 - y,
                    bbox.width,
                    bbox.height,
                ]
                .map(|value| (value / stride) as f32),
            );
            batch
                .classes
                .extend((0..logits).map(|index| f32::from(index == *class)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detector::TrainSpec;
    use crate::detector::config::InputSize;
    use crate::detector::image_store::red_box;

    fn plan(batch_size: usize) -> TrainPlan {
        let spec = TrainSpec {
            input: InputSize {
                height: 64,
                width: 64,
            },
            batch_size,
            ..TrainSpec::default()
        };
        spec.into_plan("test".as_ref()).unwrap()
    }

    #[test]
    fn the_cells_of_synthetic_images_have_their_weight() {
        let mut spec = TrainSpec::clone(&plan(4));
        spec.loss.synthetic_weight = 0.25;
        let plan = spec.into_plan("test".as_ref()).unwrap();
        let images: Vec<_> = (0..4).map(|index| red_box(index < 2)).collect();
        let batcher = Batcher::new(&plan, &images, 1, SeedKey::new(b"test", 1));
        let targets = batcher.batch(0).targets;
        let cells = targets.weight.len() / 4;
        for (slot, weights) in targets.weight.chunks(cells).enumerate() {
            let wanted = if slot < 2 { 1.0 } else { 0.25 };
            assert_eq!(weights, vec![wanted; cells]);
        }
        for (cell, weight) in targets.positives.iter().zip(&targets.positive_weights) {
            assert_eq!(*weight, targets.weight[*cell as usize]);
        }
        assert!(targets.positive_weights.contains(&0.25));
    }

    #[test]
    fn each_batch_and_each_epoch_has_the_exact_ratio() {
        let plan = plan(4);
        let images: Vec<_> = (0..11).map(|index| red_box(index < 3)).collect();
        let batcher = Batcher::new(&plan, &images, 1, SeedKey::new(b"test", 1));
        // Four epochs are 11 batches.
        let mut times = vec![0; images.len()];
        for step in 0..11 {
            let members = batcher.members(step);
            let real = members
                .iter()
                .filter(|&&index| images[index].is_real)
                .count();
            assert_eq!(members.len(), 4);
            assert!((1..=2).contains(&real), "4 x 3/11 is 1.09, got {real}");
            assert_eq!(real as u64, batcher.composition().real_in(step));
            for member in members {
                times[member] += 1;
            }
        }
        assert_eq!(times, vec![4; 11], "every image four times");
        let first: Vec<_> = batcher.members(0);
        let again = Batcher::new(&plan, &images, 1, SeedKey::new(b"test", 1));
        let other = Batcher::new(&plan, &images, 1, SeedKey::new(b"test", 2));
        assert_eq!(first, again.members(0));
        assert!((0..5).any(|step| again.members(step) != other.members(step)));
    }
}
