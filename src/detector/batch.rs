//! Batches of training images: exact composition, augmentation, targets.
//!
//! Batch `i` depends on the seed and on `i` alone, so that any worker may prepare it
//! and an interrupted training resumes with the batch that would have followed.

use rand::RngExt;
use rand::seq::SliceRandom;

use super::assignment::{Grid, Target, assign};
use super::config::{AugmentationSpec, InputSize, TrainPlan};
use super::head::class_channels;
use super::image_store::StoredImage;
use super::letterbox::Letterbox;
use super::loss::BatchTargets;
use super::model::grid;
use crate::annotation::BoundingBox;
use crate::seed::{Generator, SeedKey};

/// What lies around an image, 8-bit sRGB.
const BORDER: f32 = 114.0;

/// Smallest share of an object's area that must stay visible for its label to stay.
const MIN_VISIBLE: f64 = 0.25;

/// Smallest side of an object in input pixels.
const MIN_SIDE_PX: f64 = 2.0;

/// Network input of an 8-bit value: `-2..=2`.
pub(super) fn normalised(value: f32) -> f32 {
    value * (4.0 / 255.0) - 2.0
}

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
        let input = self.plan.input;
        let grid = grid(self.plan);
        let members = self.members(step);
        let mut pixels = vec![0.0; members.len() * input.height * input.width * 3];
        let mut targets = BatchTargets {
            objectness: vec![0.0; members.len() * grid.cells()],
            weight: vec![1.0; members.len() * grid.cells()],
            ..BatchTargets::default()
        };
        let slots = pixels.chunks_exact_mut(input.height * input.width * 3);
        let first_slot = step * self.plan.batch_size as u64;
        for (slot, (&member, pixels)) in members.iter().zip(slots).enumerate() {
            let image = &self.images[member];
            let mut generator = self.key.generator("augmentation", first_slot + slot as u64);
            let view = View::draw(&self.plan.augmentation, &mut generator);
            view.render(image, input, pixels);
            let objects = view.targets(image, input);
            let crowds = image
                .crowds
                .iter()
                .map(|b| view.moved(b, input))
                .collect::<Vec<_>>();
            self.add_targets(&mut targets, slot, &objects, &crowds, grid);
        }
        Batch {
            step,
            pixels,
            targets,
            real: self.composition().real_in(step),
        }
    }

    fn add_targets(
        &self,
        batch: &mut BatchTargets,
        slot: usize,
        objects: &[Target],
        crowds: &[BoundingBox],
        grid: Grid,
    ) {
        let assignment = assign(objects, crowds, grid, &self.plan.assignment);
        let first = slot * grid.cells();
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

/// One way to see a training image, drawn and ready to apply.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct View {
    flip_x: bool,
    flip_y: bool,
    scale: f64,
    /// Shift as a share of the input's width and height.
    shift: [f64; 2],
    brightness: f32,
    contrast: f32,
    saturation: f32,
}

impl View {
    /// The image as it is.
    pub const IDENTITY: View = View {
        flip_x: false,
        flip_y: false,
        scale: 1.0,
        shift: [0.0; 2],
        brightness: 1.0,
        contrast: 1.0,
        saturation: 1.0,
    };

    fn draw(spec: &AugmentationSpec, generator: &mut Generator) -> Self {
        let shift =
            |generator: &mut Generator| spec.translate * (2.0 * generator.random::<f64>() - 1.0);
        View {
            flip_x: generator.random::<f64>() < spec.flip_horizontal,
            flip_y: generator.random::<f64>() < spec.flip_vertical,
            scale: spec.scale.sample(generator),
            shift: [shift(generator), shift(generator)],
            brightness: spec.brightness.sample(generator) as f32,
            contrast: spec.contrast.sample(generator) as f32,
            saturation: spec.saturation.sample(generator) as f32,
        }
    }

    /// A coordinate of the input after the view, along one axis of length `len`.
    fn forward(&self, axis: usize, value: f64, len: f64) -> f64 {
        let flip = if axis == 0 { self.flip_x } else { self.flip_y };
        let value = if flip { len - value } else { value };
        (value - len / 2.0) * self.scale + len / 2.0 + self.shift[axis] * len
    }

    /// The inverse of [`View::forward`].
    fn backward(&self, axis: usize, value: f64, len: f64) -> f64 {
        let flip = if axis == 0 { self.flip_x } else { self.flip_y };
        let value = (value - len / 2.0 - self.shift[axis] * len) / self.scale + len / 2.0;
        if flip { len - value } else { value }
    }

    fn moved(&self, b: &BoundingBox, input: InputSize) -> BoundingBox {
        let (width, height) = (input.width as f64, input.height as f64);
        let (x0, x1) = (
            self.forward(0, b.x, width),
            self.forward(0, b.right(), width),
        );
        let (y0, y1) = (
            self.forward(1, b.y, height),
            self.forward(1, b.bottom(), height),
        );
        BoundingBox::from_corners(x0.min(x1), y0.min(y1), x0.max(x1), y0.max(y1))
    }

    /// The objects that can still be seen, clipped to the input.
    fn targets(&self, image: &StoredImage, input: InputSize) -> Vec<Target> {
        let seen = |target: &Target| {
            let moved = self.moved(&target.bbox, input);
            let bbox = moved.clipped_to(input.width as f64, input.height as f64)?;
            let visible = bbox.area() >= MIN_VISIBLE * moved.area();
            let large = bbox.width >= MIN_SIDE_PX && bbox.height >= MIN_SIDE_PX;
            (visible && large).then_some(Target {
                bbox,
                class: target.class,
            })
        };
        image.targets.iter().filter_map(seen).collect()
    }

    /// Draws the image into `pixels` (`[height, width, 3]`, normalised) with bilinear
    /// interpolation.
    pub fn render(&self, image: &StoredImage, input: InputSize, pixels: &mut [f32]) {
        let box_ = &image.letterbox;
        let columns = self.taps(0, input.width, box_.left, box_.content_width);
        let rows = self.taps(1, input.height, box_.top, box_.content_height);
        let line = box_.content_width * 3;
        for (row, out) in rows.iter().zip(pixels.chunks_exact_mut(input.width * 3)) {
            for (column, out) in columns.iter().zip(out.chunks_exact_mut(3)) {
                let (Some(row), Some(column)) = (row, column) else {
                    out.fill(normalised(BORDER));
                    continue;
                };
                let mut rgb = [0.0f32; 3];
                for (channel, value) in rgb.iter_mut().enumerate() {
                    let at =
                        |y: usize, x: usize| f32::from(image.pixels[y * line + x * 3 + channel]);
                    let mix = |a: f32, b: f32, share: f32| a + (b - a) * share;
                    let above = mix(at(row.0, column.0), at(row.0, column.1), column.2);
                    let below = mix(at(row.1, column.0), at(row.1, column.1), column.2);
                    *value = mix(above, below, row.2);
                }
                out.copy_from_slice(&self.coloured(rgb).map(normalised));
            }
        }
    }

    /// For each output pixel along an axis the two source pixels and the share of the
    /// second, or `None` outside the image.
    fn taps(
        &self,
        axis: usize,
        len: usize,
        first: f64,
        content: usize,
    ) -> Vec<Option<(usize, usize, f32)>> {
        let tap = |index: usize| {
            let place = self.backward(axis, index as f64 + 0.5, len as f64) - first;
            (0.0..content as f64).contains(&place).then(|| {
                let place = (place - 0.5).clamp(0.0, (content - 1) as f64);
                let low = place as usize;
                (low, (low + 1).min(content - 1), (place - low as f64) as f32)
            })
        };
        (0..len).map(tap).collect()
    }

    /// Applies saturation, contrast and brightness to an 8-bit colour.
    fn coloured(&self, [r, g, b]: [f32; 3]) -> [f32; 3] {
        // Luma of ITU-R BT.601.
        let grey = 0.299 * r + 0.587 * g + 0.114 * b;
        [r, g, b].map(|value| {
            let value = grey + (value - grey) * self.saturation;
            let value = 127.5 + (value - 127.5) * self.contrast;
            (value * self.brightness).clamp(0.0, 255.0)
        })
    }
}

/// An image as it is, for the network: `[height, width, 3]`, normalised.
pub(super) fn plain_input(letterbox: Letterbox, pixels: Vec<u8>, input: InputSize) -> Vec<f32> {
    let image = StoredImage {
        letterbox,
        pixels,
        targets: Vec::new(),
        crowds: Vec::new(),
        is_real: true,
    };
    let mut out = vec![0.0; input.height * input.width * 3];
    View::IDENTITY.render(&image, input, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detector::TrainSpec;

    const INPUT: InputSize = InputSize {
        height: 64,
        width: 64,
    };

    fn image(is_real: bool) -> StoredImage {
        let mut pixels = vec![0; 64 * 64 * 3];
        for y in 10..20 {
            for x in 30..50 {
                pixels[(y * 64 + x) * 3] = 255;
            }
        }
        StoredImage {
            letterbox: Letterbox::fit(64, 64, INPUT),
            pixels,
            targets: vec![Target {
                bbox: BoundingBox::from([30.0, 10.0, 20.0, 10.0]),
                class: 0,
            }],
            crowds: Vec::new(),
            is_real,
        }
    }

    fn plan(batch_size: usize) -> TrainPlan {
        let spec = TrainSpec {
            input: INPUT,
            batch_size,
            ..TrainSpec::default()
        };
        spec.into_plan("test".as_ref()).unwrap()
    }

    #[test]
    fn each_batch_and_each_epoch_has_the_exact_ratio() {
        let plan = plan(4);
        let images: Vec<_> = (0..11).map(|index| image(index < 3)).collect();
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

    #[test]
    fn boxes_follow_the_pixels() {
        let image = image(true);
        let spec = AugmentationSpec {
            flip_vertical: 0.5,
            ..AugmentationSpec::default()
        };
        let mut pixels = vec![0.0; 64 * 64 * 3];
        let mut seen = 0;
        for index in 0..40 {
            let mut generator = SeedKey::new(b"view", 0).generator("view", index);
            let view = View {
                brightness: 1.0,
                contrast: 1.0,
                saturation: 1.0,
                ..View::draw(&spec, &mut generator)
            };
            view.render(&image, INPUT, &mut pixels);
            let red = |x: usize, y: usize| {
                pixels[(y * 64 + x) * 3] > 0.0 && pixels[(y * 64 + x) * 3 + 1] < -1.0
            };
            let mut bounds = [64usize, 64, 0, 0];
            for (x, y) in (0..64).flat_map(|y| (0..64).map(move |x| (x, y))) {
                if red(x, y) {
                    bounds = [
                        bounds[0].min(x),
                        bounds[1].min(y),
                        bounds[2].max(x + 1),
                        bounds[3].max(y + 1),
                    ];
                }
            }
            let [left, top, right, bottom] = bounds.map(|value| value as f64);
            for target in view.targets(&image, INPUT) {
                let b = target.bbox;
                let errors = [
                    b.x - left,
                    b.y - top,
                    b.right() - right,
                    b.bottom() - bottom,
                ];
                assert!(
                    errors.iter().all(|e| e.abs() <= 1.0),
                    "{view:?}: {b:?} {bounds:?}"
                );
                seen += 1;
            }
        }
        assert!(seen > 30, "{seen}");
    }

    #[test]
    fn the_plain_view_changes_no_pixel() {
        let image = image(true);
        let out = plain_input(image.letterbox, image.pixels.clone(), INPUT);
        let wanted: Vec<f32> = image
            .pixels
            .iter()
            .map(|&v| normalised(f32::from(v)))
            .collect();
        assert_eq!(out, wanted);
    }
}
