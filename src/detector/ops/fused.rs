//! Convolution, batch normalisation and activation in two passes, and their gradients in
//! two more.
//!
//! Work is cut into a fixed number of tasks that depends on the sizes alone, and what
//! tasks sum up is joined in their order: results have the same bits on any number of
//! threads. Within a task, blocks are small enough to stay in the cache between the
//! product and what is done with it.

use std::ops::Range;

use rayon::prelude::*;

use super::convolution::{ConvShape, Sinks};
use super::normalise::{Affine, GradientMap, GradientSums, Moments, tile};

/// Tasks of a pass, for any number of threads.
const TASKS: usize = 8;

/// Numbers of the output in a block: 128 KiB.
const BLOCK: usize = 32 * 1024;

/// What a layer is besides its sizes.
#[derive(Debug, Clone, Copy)]
pub struct Normalisation {
    /// Added to the variance.
    pub epsilon: f64,
    /// Lower and upper bound of the activation, infinite where it has none.
    pub bounds: (f32, f32),
}

/// Scale, shift and statistics of each channel.
#[derive(Debug, Clone)]
pub struct Channels {
    /// Mean of the convolution's output.
    pub mean: Vec<f32>,
    /// Its biased variance.
    pub variance: Vec<f32>,
    gamma: Vec<f32>,
    inverse_deviation: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Channels {
    /// Joins learnt scale and shift with statistics.
    pub fn new(
        gamma: &[f32],
        beta: &[f32],
        mean: Vec<f32>,
        variance: Vec<f32>,
        epsilon: f64,
    ) -> Self {
        let inverse_deviation: Vec<f32> = variance
            .iter()
            .map(|variance| (1.0 / (f64::from(*variance) + epsilon).sqrt()) as f32)
            .collect();
        let scale: Vec<f32> = gamma
            .iter()
            .zip(&inverse_deviation)
            .map(|(gamma, inverse)| gamma * inverse)
            .collect();
        let shift = (0..scale.len())
            .map(|c| (f64::from(beta[c]) - f64::from(mean[c]) * f64::from(scale[c])) as f32)
            .collect();
        Channels {
            mean,
            variance,
            gamma: gamma.to_vec(),
            inverse_deviation,
            scale,
            shift,
        }
    }

    fn affine(&self, bounds: (f32, f32)) -> Affine {
        Affine::new(&self.scale, &self.shift, bounds)
    }
}

/// Where the statistics come from in a forward pass.
pub enum Statistics<'a> {
    /// From the batch itself.
    Batch,
    /// Given: running mean and variance.
    Given(&'a [f32], &'a [f32]),
}

/// A forward pass in training.
pub struct Forward {
    /// The activations.
    pub y: Vec<f32>,
    /// The convolution's output, for the backward pass.
    pub conv: Vec<f32>,
    /// Statistics and what derives from them.
    pub channels: Channels,
}

fn split(total: usize) -> Vec<Range<usize>> {
    let tasks = TASKS.min(total);
    (0..tasks)
        .map(|task| task * total / tasks..(task + 1) * total / tasks)
        .collect()
}

/// Runs `work` over `ranges`, each with its part of `out` (`unit` numbers for each of the
/// range), and returns the results in the order of the ranges.
fn in_parallel<R: Send>(
    ranges: Vec<Range<usize>>,
    mut out: &mut [f32],
    unit: usize,
    work: impl Fn(Range<usize>, &mut [f32]) -> R + Sync,
) -> Vec<R> {
    let mut tasks = Vec::with_capacity(ranges.len());
    for range in ranges {
        let (part, rest) = std::mem::take(&mut out).split_at_mut(range.len() * unit);
        tasks.push((range, part));
        out = rest;
    }
    tasks
        .into_par_iter()
        .with_max_len(1)
        .map(|(range, part)| work(range, part))
        .collect()
}

/// Cuts `lines` into blocks of about [`BLOCK`] numbers of the output.
fn blocks(shape: &ConvShape, lines: Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
    let step = (BLOCK / shape.line_len()).max(1);
    let end = lines.end;
    lines
        .step_by(step)
        .map(move |start| start..(start + step).min(end))
}

/// Convolves, and hands each block to `each` while it is in the cache.
fn convolve<R: Send>(
    shape: &ConvShape,
    x: &[f32],
    weight: &[f32],
    each: impl Fn(&mut R, &mut [f32]) + Sync,
    start: impl Fn() -> R + Sync,
) -> (Vec<f32>, Vec<R>) {
    let filter = shape.filter_from_torch(weight);
    let len = shape.line_len();
    let mut out = vec![0.0; shape.lines() * len];
    let results = in_parallel(split(shape.lines()), &mut out, len, |lines, out| {
        let mut result = start();
        let mut columns = Vec::new();
        let first = lines.start;
        for block in blocks(shape, lines) {
            let out = &mut out[(block.start - first) * len..(block.end - first) * len];
            shape.forward(x, &filter, block, out, &mut columns);
            each(&mut result, out);
        }
        result
    });
    (out, results)
}

/// The activations alone, with given statistics.
pub fn infer(
    shape: &ConvShape,
    x: &[f32],
    weight: &[f32],
    channels: &Channels,
    bounds: (f32, f32),
) -> Vec<f32> {
    let affine = channels.affine(bounds);
    let each = |(): &mut (), block: &mut [f32]| affine.apply_in_place(block);
    convolve(shape, x, weight, each, || ()).0
}

/// The forward pass that a backward pass follows. `x` is `[images, height, width, in]`,
/// `weight` in PyTorch's layout.
pub fn forward(
    shape: &ConvShape,
    x: &[f32],
    weight: &[f32],
    (gamma, beta): (&[f32], &[f32]),
    statistics: Statistics,
    normalisation: Normalisation,
) -> Forward {
    let count = shape.out_channels;
    let (conv, (mean, variance)): (Vec<f32>, (Vec<f32>, Vec<f32>)) = match statistics {
        Statistics::Batch => {
            let each = |moments: &mut Moments, block: &mut [f32]| {
                moments.merge(&Moments::of_block(block, count));
            };
            let (conv, parts) = convolve(shape, x, weight, each, || Moments::empty(count));
            let mut moments = Moments::empty(count);
            for part in &parts {
                moments.merge(part);
            }
            let mean = moments.mean.iter().map(|mean| *mean as f32).collect();
            let variance = moments.variance().iter().map(|v| *v as f32).collect();
            (conv, (mean, variance))
        }
        Statistics::Given(mean, variance) => {
            let (conv, _) = convolve(shape, x, weight, |(), _| (), || ());
            (conv, (mean.to_vec(), variance.to_vec()))
        }
    };
    let channels = Channels::new(gamma, beta, mean, variance, normalisation.epsilon);
    let affine = channels.affine(normalisation.bounds);
    let mut y = vec![0.0; conv.len()];
    in_parallel(
        split(shape.lines()),
        &mut y,
        shape.line_len(),
        |lines, y| {
            let conv = &conv[lines.start * shape.line_len()..lines.end * shape.line_len()];
            affine.apply(conv, y);
        },
    );
    Forward { y, conv, channels }
}

/// What the backward pass starts from.
pub struct Backward<'a> {
    /// Sizes.
    pub shape: &'a ConvShape,
    /// The layer's input.
    pub x: &'a [f32],
    /// The weights in PyTorch's layout.
    pub weight: &'a [f32],
    /// The convolution's output.
    pub conv: &'a [f32],
    /// Of the forward pass.
    pub channels: &'a Channels,
    /// Bounds of the activation.
    pub bounds: (f32, f32),
    /// Whether the statistics were the batch's, so that gradients flow through them.
    pub batch_statistics: bool,
    /// Whether the gradient of `x` is wanted.
    pub wants_input: bool,
    /// Whether the gradient of `weight` is wanted.
    pub wants_weight: bool,
}

/// Gradients of a layer; those that were not wanted are empty.
pub struct LayerGradients {
    /// Of the input.
    pub x: Vec<f32>,
    /// Of the weights, in PyTorch's layout.
    pub weight: Vec<f32>,
    /// Of the scale.
    pub gamma: Vec<f32>,
    /// Of the shift.
    pub beta: Vec<f32>,
}

impl Backward<'_> {
    /// All gradients from that of the activations. The formulas are those of Ioffe and
    /// Szegedy 2015, section 3, with the sums of a channel taken first.
    pub fn run(&self, upstream: &[f32]) -> LayerGradients {
        let sums = self.sums(upstream);
        let channels = self.channels;
        let count = (self.conv.len() / self.shape.out_channels) as f64;
        let through = if self.batch_statistics { 1.0 } else { 0.0 };
        let inverse = |c: usize| f64::from(channels.inverse_deviation[c]);
        let scale = |c: usize| f64::from(channels.gamma[c]) * inverse(c);
        let range = 0..self.shape.out_channels;
        let slope: Vec<f32> = range
            .clone()
            .map(|c| (-through * scale(c) * inverse(c).powi(2) * sums.product[c] / count) as f32)
            .collect();
        let offset: Vec<f32> = range
            .clone()
            .map(|c| (-through * scale(c) * sums.gradient[c] / count) as f32)
            .collect();
        let affine = channels.affine(self.bounds);
        let map = GradientMap::new(affine, &channels.mean, &slope, &offset);
        let (x, weight) = if self.wants_input || self.wants_weight {
            self.convolution_gradients(upstream, &map)
        } else {
            (Vec::new(), Vec::new())
        };
        LayerGradients {
            x,
            weight,
            gamma: range
                .map(|c| (sums.product[c] * inverse(c)) as f32)
                .collect(),
            beta: sums.gradient.iter().map(|sum| *sum as f32).collect(),
        }
    }

    fn sums(&self, upstream: &[f32]) -> GradientSums {
        let (shape, channels) = (self.shape, self.shape.out_channels);
        let affine = self.channels.affine(self.bounds);
        let mean = tile(&self.channels.mean);
        let len = shape.line_len();
        let parts = in_parallel(split(shape.lines()), &mut [], 0, |lines, _| {
            let mut sums = GradientSums::empty(channels);
            for block in blocks(shape, lines) {
                let range = block.start * len..block.end * len;
                let (upstream, conv) = (&upstream[range.clone()], &self.conv[range]);
                let part = GradientSums::of_block(upstream, conv, &affine, &mean, channels);
                sums.merge(&part);
            }
            sums
        });
        let mut sums = GradientSums::empty(channels);
        for part in &parts {
            sums.merge(part);
        }
        sums
    }

    /// Gradients of input and weights.
    fn convolution_gradients(&self, upstream: &[f32], map: &GradientMap) -> (Vec<f32>, Vec<f32>) {
        let shape = self.shape;
        let filter = shape.filter_from_torch(self.weight);
        let filter_len = if self.wants_weight { filter.len() } else { 0 };
        // Lines of a pointwise layer are independent; in others they share the input, so
        // that a task takes whole images.
        let (total, lines_each, in_len) = if shape.is_pointwise() {
            (shape.lines(), 1, shape.in_line_len())
        } else {
            (shape.images, shape.out_height(), shape.in_image_len())
        };
        let in_len = if self.wants_input { in_len } else { 0 };
        let mut dx = vec![0.0; total * in_len];
        let parts = in_parallel(split(total), &mut dx, in_len, |range, dx| {
            let mut filter_gradient = vec![0.0; filter_len];
            if shape.depthwise {
                for (image, number) in range.enumerate() {
                    let dx = &mut dx[image * in_len..(image + 1) * in_len];
                    self.depthwise_image(upstream, map, &filter, number, &mut filter_gradient, dx);
                }
            } else {
                let lines = range.start * lines_each..range.end * lines_each;
                self.dense_lines(upstream, map, &filter, lines, &mut filter_gradient, dx);
            }
            filter_gradient
        });
        let mut parts = parts.into_iter();
        let mut total = parts.next().unwrap_or_default();
        for part in parts {
            for (sum, value) in total.iter_mut().zip(&part) {
                *sum += value;
            }
        }
        if !self.wants_weight {
            return (dx, Vec::new());
        }
        (dx, shape.filter_to_torch(&total))
    }

    fn depthwise_image(
        &self,
        upstream: &[f32],
        map: &GradientMap,
        filter: &[f32],
        image: usize,
        filter_gradient: &mut [f32],
        dx: &mut [f32],
    ) {
        let len = self.shape.line_len();
        let gradient_line = |line: usize, out: &mut [f32]| {
            let range = line * len..(line + 1) * len;
            map.apply(&upstream[range.clone()], &self.conv[range], out);
        };
        self.shape
            .backward_depthwise(self.x, filter, image, gradient_line, filter_gradient, dx);
    }

    fn dense_lines(
        &self,
        upstream: &[f32],
        map: &GradientMap,
        filter: &[f32],
        lines: Range<usize>,
        filter_gradient: &mut [f32],
        dx: &mut [f32],
    ) {
        let len = self.shape.line_len();
        let first_line = lines.start;
        let (mut gradient, mut columns) = (Vec::new(), Vec::new());
        for block in blocks(self.shape, lines) {
            let range = block.start * len..block.end * len;
            gradient.resize(range.len(), 0.0);
            map.apply(&upstream[range.clone()], &self.conv[range], &mut gradient);
            let sinks = Sinks {
                filter: filter_gradient,
                dx,
                first_line,
            };
            let (x, columns) = (self.x, &mut columns);
            self.shape
                .backward_dense(x, filter, block, &gradient, sinks, columns);
        }
    }
}
