//! Chains of layers, each convolution, batch normalisation and activation, and their
//! gradients.
//!
//! Of each layer only the convolution's output is written to memory, and kept for the
//! backward pass; the next layer normalises and activates it as it reads ([`super::source`]).
//! On the way back the gradient of a layer's activations is written once, its sums a
//! channel are taken while it is fresh, and the next layer maps it through normalisation
//! and activation as it reads.
//!
//! Results have the same bits on any number of threads: see [`super::tasks`]. Within a
//! task, blocks are small enough to stay in the cache between the product and what is
//! done with it.

mod backward;

use std::ops::Range;

use super::convolution::ConvShape;
use super::normalise::{Affine, GradientMap, GradientSummation, GradientSums, Moments, add, tile};
use super::source::{Reader, Source};
use super::tasks::{self, Passing};
pub use backward::Backward;

/// Numbers of the output in a block: 128 KiB.
const BLOCK: usize = 32 * 1024;

/// A layer of a chain. Its input has the sizes of the output of the one before.
#[derive(Clone, Copy)]
pub struct Layer<'a> {
    /// Sizes.
    pub shape: ConvShape,
    /// In PyTorch's layout.
    pub weight: &'a [f32],
    /// Scale of the normalised channels.
    pub gamma: &'a [f32],
    /// Shift of the normalised channels.
    pub beta: &'a [f32],
    /// Running mean and variance, to normalise with in place of the batch's.
    pub running: Option<(&'a [f32], &'a [f32])>,
    /// Added to the variance.
    pub epsilon: f64,
    /// Lower and upper bound of the activation, infinite where it has none.
    pub bounds: (f32, f32),
}

/// Scale, shift and statistics of each channel of a layer.
#[derive(Debug, Clone)]
pub struct Channels {
    /// Mean of the convolution's output.
    pub mean: Vec<f32>,
    /// Its biased variance.
    pub variance: Vec<f32>,
    gamma: Vec<f32>,
    inverse_deviation: Vec<f32>,
    tiled_mean: Vec<f32>,
    affine: Affine,
}

impl Channels {
    /// Joins what a layer has learnt with statistics.
    fn new(layer: &Layer, mean: Vec<f32>, variance: Vec<f32>) -> Self {
        let inverse_deviation: Vec<f32> = variance
            .iter()
            .map(|variance| (1.0 / (f64::from(*variance) + layer.epsilon).sqrt()) as f32)
            .collect();
        let scale: Vec<f32> = layer
            .gamma
            .iter()
            .zip(&inverse_deviation)
            .map(|(gamma, inverse)| gamma * inverse)
            .collect();
        let shift: Vec<f32> = (0..scale.len())
            .map(|c| {
                let moved = f64::from(mean[c]) * f64::from(scale[c]);
                (f64::from(layer.beta[c]) - moved) as f32
            })
            .collect();
        Channels {
            tiled_mean: tile(&mean),
            affine: Affine::new(&scale, &shift, layer.bounds),
            mean,
            variance,
            gamma: layer.gamma.to_vec(),
            inverse_deviation,
        }
    }

    fn summation(&self) -> GradientSummation<'_> {
        GradientSummation::new(&self.affine, &self.tiled_mean, self.mean.len())
    }

    /// The map from the gradient of the activations to that of the convolution's output,
    /// of which each channel has `count` numbers. The formulas are those of Ioffe and
    /// Szegedy 2015, section 3, with the sums of a channel taken first.
    fn gradient_map(&self, sums: &GradientSums, count: usize, is_batch: bool) -> GradientMap<'_> {
        let through = if is_batch { 1.0 / count as f64 } else { 0.0 };
        let inverse = |c: usize| f64::from(self.inverse_deviation[c]);
        let scale = |c: usize| f64::from(self.gamma[c]) * inverse(c);
        let range = 0..self.mean.len();
        let slope: Vec<f32> = range
            .clone()
            .map(|c| (-through * scale(c) * inverse(c).powi(2) * sums.product[c]) as f32)
            .collect();
        let offset: Vec<f32> = range
            .map(|c| (-through * scale(c) * sums.gradient[c]) as f32)
            .collect();
        GradientMap::new(&self.affine, &self.tiled_mean, &slope, &offset)
    }
}

/// What a layer keeps for the backward pass.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The convolution's output.
    conv: Passing,
    /// Statistics and what derives from them.
    pub channels: Channels,
}

impl Kept {
    fn activations(&self) -> Source<'_> {
        Source::activated(&self.conv, &self.channels.affine)
    }
}

/// Cuts `lines` into blocks of about [`BLOCK`] numbers of the output.
fn blocks(shape: &ConvShape, lines: Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
    let step = (BLOCK / shape.line_len()).max(1);
    let end = lines.end;
    lines
        .step_by(step)
        .map(move |start| start..(start + step).min(end))
}

/// The numbers of `lines` of the output.
fn numbers(shape: &ConvShape, lines: &Range<usize>) -> Range<usize> {
    lines.start * shape.line_len()..lines.end * shape.line_len()
}

impl Layer<'_> {
    /// Convolves, and hands each block, with its range of the output, to `each` while it
    /// is in the cache. The output may `stay` longer than a step.
    fn convolve<R: Send>(
        &self,
        source: Source,
        stay: bool,
        start: impl Fn() -> R + Sync,
        each: impl Fn(&mut R, Range<usize>, &mut [f32]) + Sync,
    ) -> (Passing, Vec<R>) {
        let shape = &self.shape;
        let filter = shape.filter_from_torch(self.weight);
        tasks::make_passing(shape.lines(), shape.line_len(), stay, |lines, blank| {
            let mut result = start();
            let mut reader = Reader::new(*shape, source);
            for block in blocks(shape, lines) {
                let range = numbers(shape, &block);
                let out = blank.take(range.len());
                shape.forward(&mut reader, &filter, block, out);
                each(&mut result, range, out);
            }
            result
        })
    }

    fn forward(&self, source: Source) -> Kept {
        if let Some((mean, variance)) = self.running {
            let (conv, _) = self.convolve(source, false, || (), |(), _, _| ());
            let channels = Channels::new(self, mean.to_vec(), variance.to_vec());
            return Kept { conv, channels };
        }
        let count = self.shape.out_channels;
        let (conv, parts) = self.convolve(
            source,
            false,
            || Moments::empty(count),
            |moments, _, block| moments.merge(&Moments::of_block(block, count)),
        );
        let mut moments = Moments::empty(count);
        for part in &parts {
            moments.merge(part);
        }
        let mean = moments.mean.iter().map(|mean| *mean as f32).collect();
        let variance = moments.variance().iter().map(|v| *v as f32).collect();
        let channels = Channels::new(self, mean, variance);
        Kept { conv, channels }
    }
}

/// The activations of the last layer, plus `x` where `adds_input`, without what a backward
/// pass needs. `x` is `[images, height, width, in]`.
///
/// # Panics
/// If a layer has no running statistics.
pub fn infer(layers: &[Layer], x: &[f32], adds_input: bool) -> Vec<f32> {
    let mut y: Option<Passing> = None;
    for (index, layer) in layers.iter().enumerate() {
        let (mean, variance) = layer.running.expect("inference has running statistics");
        let affine = Channels::new(layer, mean.to_vec(), variance.to_vec()).affine;
        let is_last = index + 1 == layers.len();
        let source = Source::plain(y.as_deref().unwrap_or(x));
        let (out, _) = layer.convolve(
            source,
            is_last,
            || (),
            |(), range, block| {
                affine.apply_in_place(block);
                if adds_input && is_last {
                    add(block, &x[range]);
                }
            },
        );
        y = Some(out);
    }
    y.map_or_else(|| x.to_vec(), Passing::into_numbers)
}

/// The forward pass that a backward pass follows: the activations of the last layer, plus
/// `x` where `adds_input`, and what is kept of each layer.
///
/// # Panics
/// Without layers.
pub fn forward(layers: &[Layer], x: &[f32], adds_input: bool) -> (Vec<f32>, Vec<Kept>) {
    let mut kept: Vec<Kept> = Vec::with_capacity(layers.len());
    for layer in layers {
        let source = kept.last().map_or(Source::plain(x), Kept::activations);
        let own = layer.forward(source);
        kept.push(own);
    }
    let (shape, last) = (&layers[layers.len() - 1].shape, &kept[layers.len() - 1]);
    let (y, _) = tasks::make(shape.lines(), shape.line_len(), |lines, blank| {
        for block in blocks(shape, lines) {
            let range = numbers(shape, &block);
            let y = blank.take(range.len());
            last.channels.affine.apply(&last.conv[range.clone()], y);
            if adds_input {
                add(y, &x[range]);
            }
        }
    });
    (y, kept)
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

    fn inputs_per_filter(shape: &ConvShape) -> usize {
        if shape.depthwise {
            1
        } else {
            shape.in_channels
        }
    }

    /// The convolution as its definition says, in f64.
    fn convolution(shape: &ConvShape, x: &[f64], weight: &[f64]) -> Vec<f64> {
        let inputs = inputs_per_filter(shape);
        let (pad, taps) = (shape.kernel / 2, shape.kernel * shape.kernel);
        let mut conv = Vec::new();
        for n in 0..shape.images {
            for row in 0..shape.out_height() {
                for column in 0..shape.out_width() {
                    for out in 0..shape.out_channels {
                        let mut sum = 0.0;
                        for input in 0..inputs {
                            for tap in 0..taps {
                                let iy = row * shape.stride + tap / shape.kernel;
                                let ix = column * shape.stride + tap % shape.kernel;
                                if iy < pad || ix < pad {
                                    continue;
                                }
                                let (iy, ix) = (iy - pad, ix - pad);
                                if iy >= shape.height || ix >= shape.width {
                                    continue;
                                }
                                let channel = if shape.depthwise { out } else { input };
                                let at = (n * shape.height + iy) * shape.width + ix;
                                sum += x[at * shape.in_channels + channel]
                                    * weight[(out * inputs + input) * taps + tap];
                            }
                        }
                        conv.push(sum);
                    }
                }
            }
        }
        conv
    }

    /// Normalised with the statistics of the batch, and at least 0.
    fn activations(conv: &[f64], gamma: &[f64], beta: &[f64]) -> Vec<f64> {
        let channels = gamma.len();
        let rows = (conv.len() / channels) as f64;
        let mut y = vec![0.0; conv.len()];
        for c in 0..channels {
            let own = || conv.iter().skip(c).step_by(channels);
            let mean = own().sum::<f64>() / rows;
            let variance = own().map(|v| (v - mean).powi(2)).sum::<f64>() / rows;
            let inverse = 1.0 / (variance + EPSILON).sqrt();
            for (y, v) in y.iter_mut().skip(c).step_by(channels).zip(own()) {
                *y = ((v - mean) * inverse * gamma[c] + beta[c]).max(0.0);
            }
        }
        y
    }

    /// The sum of outputs times `upstream`. `arguments` are the input and then weight,
    /// scale and shift of each layer.
    fn reference(
        shapes: &[ConvShape],
        arguments: &[Vec<f64>],
        upstream: &[f32],
        adds_input: bool,
    ) -> f64 {
        let mut y = arguments[0].clone();
        for (shape, own) in shapes.iter().zip(arguments[1..].chunks(3)) {
            y = activations(&convolution(shape, &y, &own[0]), &own[1], &own[2]);
        }
        if adds_input {
            y.iter_mut().zip(&arguments[0]).for_each(|(y, x)| *y += x);
        }
        y.iter()
            .zip(upstream)
            .map(|(y, up)| y * f64::from(*up))
            .sum()
    }

    fn check(shapes: &[ConvShape], adds_input: bool) {
        let (first, last) = (&shapes[0], &shapes[shapes.len() - 1]);
        let mut arguments = vec![noise(first.images * first.in_image_len(), 1)];
        for (index, shape) in shapes.iter().enumerate() {
            let filter = inputs_per_filter(shape) * shape.kernel * shape.kernel;
            let gamma = noise(shape.out_channels, 3 + 10 * index);
            arguments.push(noise(shape.out_channels * filter, 2 + 10 * index));
            arguments.push(gamma.iter().map(|gamma| gamma + 1.5).collect());
            arguments.push(noise(shape.out_channels, 4 + 10 * index));
        }
        let upstream = noise(last.lines() * last.line_len(), 5);
        let layers: Vec<Layer> = shapes
            .iter()
            .zip(arguments[1..].chunks(3))
            .map(|(shape, own)| Layer {
                shape: *shape,
                weight: &own[0],
                gamma: &own[1],
                beta: &own[2],
                running: None,
                epsilon: EPSILON,
                bounds: (0.0, f32::INFINITY),
            })
            .collect();
        let (y, kept) = forward(&layers, &arguments[0], adds_input);
        let backward = Backward {
            layers: &layers,
            x: &arguments[0],
            adds_input,
            wants_input: true,
            wants_weight: &vec![true; layers.len()],
        };
        let (dx, gradients) = backward.run(kept, &upstream);
        let mut got = vec![dx];
        for layer in gradients {
            got.extend([layer.weight, layer.gamma, layer.beta]);
        }

        let wide: Vec<Vec<f64>> = arguments
            .iter()
            .map(|values| values.iter().map(|v| f64::from(*v)).collect())
            .collect();
        let value = |arguments: &[Vec<f64>]| reference(shapes, arguments, &upstream, adds_input);
        let products = y.iter().zip(&upstream);
        let sum: f64 = products.map(|(y, u)| f64::from(*y) * f64::from(*u)).sum();
        let wanted = value(&wide);
        assert!(
            (sum - wanted).abs() < 1e-3 * wanted.abs().max(1.0),
            "{shapes:?}: forward {sum} for {wanted}"
        );
        for (which, got) in got.iter().enumerate() {
            assert_eq!(got.len(), wide[which].len());
            let step = 1e-6;
            for i in (0..got.len()).step_by(1 + got.len() / 23) {
                let at = |offset: f64| {
                    let mut moved = wide.clone();
                    moved[which][i] += offset;
                    value(&moved)
                };
                let slope = (at(step) - at(-step)) / (2.0 * step);
                let gap = (slope - f64::from(got[i])).abs() / slope.abs().max(1.0);
                assert!(gap < 1e-3, "{shapes:?} {which} {i}: {slope} {}", got[i]);
            }
        }
    }

    fn shape(
        [images, height, width]: [usize; 3],
        (in_channels, out_channels): (usize, usize),
        (kernel, stride, depthwise): (usize, usize, bool),
    ) -> ConvShape {
        ConvShape {
            images,
            height,
            width,
            in_channels,
            out_channels,
            kernel,
            stride,
            depthwise,
        }
    }

    #[test]
    fn gradients_of_a_layer_are_the_slopes_of_the_definition() {
        for stride in [1, 2] {
            for size in [[1, 5, 7], [3, 6, 4], [9, 3, 3]] {
                for (channels, kernel, depthwise) in [
                    ((1, 1), 1, false),
                    ((5, 3), 1, false),
                    ((3, 4), 3, false),
                    ((1, 1), 3, true),
                    ((11, 11), 3, true),
                ] {
                    check(&[shape(size, channels, (kernel, stride, depthwise))], false);
                }
            }
        }
    }

    #[test]
    fn gradients_of_a_chain_are_the_slopes_of_the_definition() {
        for size in [[1usize, 5, 7], [3, 6, 4], [9, 3, 3]] {
            let [images, height, width] = size;
            let halved = [images, height.div_ceil(2), width.div_ceil(2)];
            let expand = shape(size, (3, 11), (1, 1, false));
            let depthwise = |stride| shape(size, (11, 11), (3, stride, true));
            let project = |size, out| shape(size, (11, out), (1, 1, false));
            check(&[expand, depthwise(1), project(size, 3)], true);
            check(&[expand, depthwise(1), project(size, 5)], false);
            check(&[expand, depthwise(2), project(halved, 5)], false);
            check(&[depthwise(2), project(halved, 4)], false);
            // Windows of activations, and an input that is added to overlapping windows.
            let window = shape(size, (11, 3), (3, 1, false));
            check(&[expand, window], true);
            check(&[shape(size, (3, 3), (3, 1, true))], true);
            check(&[shape(size, (3, 3), (3, 1, false))], true);
        }
    }
}
