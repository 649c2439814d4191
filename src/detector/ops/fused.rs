//! Convolution, batch normalisation and activation in two passes, and their gradients in
//! two more.
//!
//! Results have the same bits on any number of threads: see [`super::tasks`]. Within a
//! task, blocks are small enough to stay in the cache between the product and what is
//! done with it.

use std::ops::Range;

use super::convolution::{ConvShape, Sinks};
use super::normalise::{Affine, GradientMap, GradientSums, Moments, tile};
use super::tasks::{self, Blank};

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
    tasks::make(shape.lines(), len, |lines, blank| {
        let mut result = start();
        let mut columns = Vec::new();
        for block in blocks(shape, lines) {
            let out = blank.take(block.len() * len);
            shape.forward(x, &filter, block, out, &mut columns);
            each(&mut result, out);
        }
        result
    })
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
    let len = shape.line_len();
    let (y, _) = tasks::make(shape.lines(), len, |lines, blank| {
        for block in blocks(shape, lines) {
            let y = blank.take(block.len() * len);
            affine.apply(&conv[block.start * len..block.end * len], y);
        }
    });
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
        let parts = tasks::run(shape.lines(), |lines| {
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
        let (dx, parts) = tasks::make(total, in_len, |range, dx| {
            let mut filter_gradient = vec![0.0; filter_len];
            if shape.depthwise {
                for image in range {
                    self.depthwise_image(upstream, map, &filter, image, &mut filter_gradient, dx);
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
        dx: &mut Blank,
    ) {
        let len = self.shape.line_len();
        let dx = self.wants_input.then_some(dx);
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
        blank: &mut Blank,
    ) {
        let (len, is_pointwise) = (self.shape.line_len(), self.shape.is_pointwise());
        let in_len = if self.wants_input {
            self.shape.in_line_len()
        } else {
            0
        };
        // Where windows overlap, blocks add to each other's input.
        let (mut dx, mut first_line) = (Default::default(), lines.start);
        if !is_pointwise {
            dx = blank.take(lines.len() / self.shape.out_height() * self.shape.height * in_len);
        }
        let (mut gradient, mut columns) = (Vec::new(), Vec::new());
        for block in blocks(self.shape, lines) {
            if is_pointwise {
                first_line = block.start;
                dx = blank.take(block.len() * in_len);
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    const EPSILON: f64 = 1e-3;

    /// Numbers that look random and are not.
    fn noise(count: usize, salt: usize) -> Vec<f32> {
        (0..count)
            .map(|i| ((i * 7919 + salt * 104_729) % 1009) as f32 / 504.0 - 1.0)
            .collect()
    }

    /// The layer as its definition says, in f64: the sum of activations times `upstream`.
    fn reference(
        shape: &ConvShape,
        [x, weight, gamma, beta]: [&[f64]; 4],
        upstream: &[f32],
    ) -> f64 {
        let (out_height, out_width) = (shape.out_height(), shape.out_width());
        let inputs = if shape.depthwise {
            1
        } else {
            shape.in_channels
        };
        let mut conv = Vec::new();
        for n in 0..shape.images {
            for row in 0..out_height {
                for column in 0..out_width {
                    for out in 0..shape.out_channels {
                        let mut sum = 0.0;
                        for input in 0..inputs {
                            for tap in 0..shape.kernel * shape.kernel {
                                let (dy, dx) = (tap / shape.kernel, tap % shape.kernel);
                                let iy = row * shape.stride + dy;
                                let ix = column * shape.stride + dx;
                                let pad = shape.kernel / 2;
                                if iy < pad || ix < pad {
                                    continue;
                                }
                                let (iy, ix) = (iy - pad, ix - pad);
                                if iy >= shape.height || ix >= shape.width {
                                    continue;
                                }
                                let channel = if shape.depthwise { out } else { input };
                                let at = (n * shape.height + iy) * shape.width + ix;
                                let taps = shape.kernel * shape.kernel;
                                sum += x[at * shape.in_channels + channel]
                                    * weight[(out * inputs + input) * taps + tap];
                            }
                        }
                        conv.push(sum);
                    }
                }
            }
        }
        let channels = shape.out_channels;
        let rows = (conv.len() / channels) as f64;
        let mut total = 0.0;
        for c in 0..channels {
            let own = || conv.iter().skip(c).step_by(channels);
            let mean = own().sum::<f64>() / rows;
            let variance = own().map(|v| (v - mean).powi(2)).sum::<f64>() / rows;
            let inverse = 1.0 / (variance + EPSILON).sqrt();
            for (v, up) in own().zip(upstream.iter().skip(c).step_by(channels)) {
                let y = (v - mean) * inverse * gamma[c] + beta[c];
                total += y.max(0.0) * f64::from(*up);
            }
        }
        total
    }

    fn check(shape: ConvShape) {
        let inputs = if shape.depthwise {
            1
        } else {
            shape.in_channels
        };
        let weights = shape.out_channels * inputs * shape.kernel * shape.kernel;
        let x = noise(shape.images * shape.in_image_len(), 1);
        let weight = noise(weights, 2);
        let gamma: Vec<f32> = noise(shape.out_channels, 3)
            .iter()
            .map(|g| g + 1.5)
            .collect();
        let beta = noise(shape.out_channels, 4);
        let upstream = noise(shape.lines() * shape.line_len(), 5);
        let bounds = (0.0, f32::INFINITY);
        let normalisation = Normalisation {
            epsilon: EPSILON,
            bounds,
        };
        let pass = forward(
            &shape,
            &x,
            &weight,
            (&gamma, &beta),
            Statistics::Batch,
            normalisation,
        );
        let backward = Backward {
            shape: &shape,
            x: &x,
            weight: &weight,
            conv: &pass.conv,
            channels: &pass.channels,
            bounds,
            batch_statistics: true,
            wants_input: true,
            wants_weight: true,
        };
        let gradients = backward.run(&upstream);
        let wide = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
        let arguments = [wide(&x), wide(&weight), wide(&gamma), wide(&beta)];
        let value = |arguments: &[Vec<f64>; 4]| {
            reference(&shape, arguments.each_ref().map(Vec::as_slice), &upstream)
        };
        let sum: f64 = pass
            .y
            .iter()
            .zip(&upstream)
            .map(|(y, u)| f64::from(y * u))
            .sum();
        assert!((sum - value(&arguments)).abs() < 1e-3, "{shape:?}: forward");

        let got = [
            gradients.x,
            gradients.weight,
            gradients.gamma,
            gradients.beta,
        ];
        for (which, got) in got.iter().enumerate() {
            assert_eq!(got.len(), arguments[which].len());
            let step = 1e-6;
            for i in (0..got.len()).step_by(1 + got.len() / 23) {
                let at = |offset: f64| {
                    let mut moved = arguments.clone();
                    moved[which][i] += offset;
                    value(&moved)
                };
                let slope = (at(step) - at(-step)) / (2.0 * step);
                let gap = (slope - f64::from(got[i])).abs() / slope.abs().max(1.0);
                assert!(gap < 1e-3, "{shape:?} {which} {i}: {slope} {}", got[i]);
            }
        }
    }

    #[test]
    fn gradients_are_the_slopes_of_the_definition() {
        for stride in [1, 2] {
            for (images, height, width) in [(1, 5, 7), (3, 6, 4), (9, 3, 3)] {
                for (in_channels, out_channels, kernel, depthwise) in [
                    (1, 1, 1, false),
                    (5, 3, 1, false),
                    (3, 4, 3, false),
                    (1, 1, 3, true),
                    (11, 11, 3, true),
                ] {
                    check(ConvShape {
                        images,
                        height,
                        width,
                        in_channels,
                        out_channels,
                        kernel,
                        stride,
                        depthwise,
                    });
                }
            }
        }
    }
}
