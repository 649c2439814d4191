//! The way back through a chain of layers.

use std::ops::Range;

use super::super::convolution::ConvShape;
use super::super::normalise::{GradientMap, GradientSummation, GradientSums, add};
use super::super::source::{Reader, Source};
use super::super::tasks::{self, Blank, Passing};
use super::{Kept, Layer, blocks, numbers};

/// Gradients of what a layer learns.
pub struct LayerGradients {
    /// Of the weights, in PyTorch's layout; empty where it was not wanted.
    pub weight: Vec<f32>,
    /// Of the scale.
    pub gamma: Vec<f32>,
    /// Of the shift.
    pub beta: Vec<f32>,
}

/// What the backward pass of a chain starts from.
pub struct Backward<'a> {
    /// The chain.
    pub layers: &'a [Layer<'a>],
    /// Its input.
    pub x: &'a [f32],
    /// Whether the input was added to the output.
    pub adds_input: bool,
    /// Whether the gradient of `x` is wanted.
    pub wants_input: bool,
    /// Whether the gradient of the weights is wanted, for each layer.
    pub wants_weight: &'a [bool],
}

impl Backward<'_> {
    /// The gradients of the input (empty where it was not wanted) and of each layer, from
    /// that of the output. What a layer keeps is freed as soon as it is not needed.
    ///
    /// # Panics
    /// Without layers.
    pub fn run(&self, mut kept: Vec<Kept>, upstream: &[f32]) -> (Vec<f32>, Vec<LayerGradients>) {
        let last = kept.len() - 1;
        let mut sums = sums(&self.layers[last].shape, upstream, &kept[last]);
        let mut gradient: Option<Passing> = None;
        let mut layers = Vec::with_capacity(kept.len());
        while let Some(own) = kept.pop() {
            let index = kept.len();
            let (layer, before) = (&self.layers[index], kept.last());
            let channels = &own.channels;
            let count = own.conv.len() / channels.mean.len();
            let pass = LayerBackward {
                layer,
                own: &own,
                map: channels.gradient_map(&sums, count, layer.running.is_none()),
                upstream: gradient.as_deref().unwrap_or(upstream),
                source: before.map_or(Source::plain(self.x), Kept::activations),
                before,
                added: (self.adds_input && index == 0).then_some(upstream),
                wants_input: self.wants_input || index > 0,
                wants_weight: self.wants_weight[index],
            };
            let (dx, weight, sums_before) = pass.run();
            let inverse = channels.inverse_deviation.iter();
            let products = sums.product.iter().zip(inverse);
            layers.push(LayerGradients {
                weight,
                gamma: products
                    .map(|(product, inverse)| (product * f64::from(*inverse)) as f32)
                    .collect(),
                beta: sums.gradient.iter().map(|sum| *sum as f32).collect(),
            });
            gradient = Some(dx);
            sums = sums_before;
        }
        layers.reverse();
        let gradient = gradient.map_or(Vec::new(), Passing::into_numbers);
        (gradient, layers)
    }
}

fn sums(shape: &ConvShape, upstream: &[f32], kept: &Kept) -> GradientSums {
    let parts = tasks::run(shape.lines(), |lines| {
        let mut summation = kept.channels.summation();
        for block in blocks(shape, lines) {
            let range = numbers(shape, &block);
            summation.add(&upstream[range.clone()], &kept.conv[range]);
        }
        summation.finish()
    });
    merged(parts, shape.out_channels)
}

fn merged(parts: Vec<GradientSums>, channels: usize) -> GradientSums {
    let mut sums = GradientSums::empty(channels);
    for part in &parts {
        sums.merge(part);
    }
    sums
}

/// The way back through one layer.
struct LayerBackward<'a> {
    layer: &'a Layer<'a>,
    own: &'a Kept,
    map: GradientMap<'a>,
    /// The gradient of the layer's activations.
    upstream: &'a [f32],
    source: Source<'a>,
    /// The layer before, whose activations the source is.
    before: Option<&'a Kept>,
    /// What reaches the input past the layers.
    added: Option<&'a [f32]>,
    wants_input: bool,
    wants_weight: bool,
}

impl LayerBackward<'_> {
    /// Gradients of input and weights, and the sums of the layer before.
    fn run(&self) -> (Passing, Vec<f32>, GradientSums) {
        let shape = &self.layer.shape;
        if !self.wants_input && !self.wants_weight {
            return (Passing::empty(), Vec::new(), GradientSums::empty(0));
        }
        let filter = shape.filter_from_torch(self.layer.weight);
        // Lines of a pointwise layer are independent; in others they share the input, so
        // that a task takes whole images.
        let (total, in_len) = if shape.is_pointwise() {
            (shape.lines(), shape.in_line_len())
        } else {
            (shape.images, shape.in_image_len())
        };
        let in_len = if self.wants_input { in_len } else { 0 };
        let (dx, parts) = tasks::make_passing(total, in_len, self.before.is_none(), |range, dx| {
            let filter_len = if self.wants_weight { filter.len() } else { 0 };
            let mut task = Task {
                pass: self,
                filter: &filter,
                reader: Reader::new(*shape, self.source),
                filter_gradient: vec![0.0; filter_len],
                finish: Finish {
                    before: self.before,
                    sums: self.before.map(|before| before.channels.summation()),
                    added: self.added,
                },
            };
            if shape.depthwise {
                range.for_each(|image| task.depthwise_image(image, dx));
            } else if shape.is_pointwise() {
                task.pointwise_lines(range, dx);
            } else {
                task.dense_images(range, dx);
            }
            let sums = task.finish.sums.map(GradientSummation::finish);
            (task.filter_gradient, sums)
        });
        let mut filter_gradient = vec![0.0; if self.wants_weight { filter.len() } else { 0 }];
        let mut sums = Vec::with_capacity(parts.len());
        for (part, own_sums) in parts {
            add(&mut filter_gradient, &part);
            sums.extend(own_sums);
        }
        let weight = if self.wants_weight {
            shape.filter_to_torch(&filter_gradient)
        } else {
            Vec::new()
        };
        (dx, weight, merged(sums, shape.in_channels))
    }
}

/// What happens to a part of the input's gradient while it is fresh.
struct Finish<'a> {
    before: Option<&'a Kept>,
    sums: Option<GradientSummation<'a>>,
    added: Option<&'a [f32]>,
}

impl Finish<'_> {
    /// `dx` is the gradient of `range` of the input.
    fn part(&mut self, range: Range<usize>, dx: &mut [f32]) {
        if let Some((before, sums)) = self.before.zip(self.sums.as_mut()) {
            sums.add(dx, &before.conv[range.clone()]);
        }
        if let Some(added) = self.added {
            add(dx, &added[range]);
        }
    }
}

/// The work of a thread on the way back through a layer.
struct Task<'a> {
    pass: &'a LayerBackward<'a>,
    filter: &'a [f32],
    reader: Reader<'a>,
    filter_gradient: Vec<f32>,
    finish: Finish<'a>,
}

impl LayerBackward<'_> {
    /// Writes the gradient of the convolution's output of `range`.
    fn conv_gradient(&self, range: Range<usize>, out: &mut [f32]) {
        let upstream = &self.upstream[range.clone()];
        self.map.apply(upstream, &self.own.conv[range], out);
    }
}

impl Task<'_> {
    fn depthwise_image(&mut self, image: usize, blank: &mut Blank) {
        let (pass, shape) = (self.pass, &self.pass.layer.shape);
        let finish = &mut self.finish;
        let in_len = shape.in_line_len();
        let finish_line =
            |line: usize, dx: &mut [f32]| finish.part(line * in_len..(line + 1) * in_len, dx);
        shape.backward_depthwise(
            &mut self.reader,
            self.filter,
            image,
            |line, out| pass.conv_gradient(numbers(shape, &(line..line + 1)), out),
            &mut self.filter_gradient,
            pass.wants_input.then_some((blank, finish_line)),
        );
    }

    fn pointwise_lines(&mut self, lines: Range<usize>, blank: &mut Blank) {
        let shape = self.pass.layer.shape;
        let (mut gradient, mut columns) = (Vec::new(), Vec::new());
        for block in blocks(&shape, lines) {
            self.filter_gradient(&block, &mut gradient);
            if self.pass.wants_input {
                let in_len = shape.in_line_len();
                let dx = blank.take(block.len() * in_len);
                let lines = (block.clone(), block.start);
                shape.input_gradient(self.filter, lines, &gradient, dx, &mut columns);
                let range = block.start * in_len..block.end * in_len;
                self.finish.part(range, dx);
            }
        }
    }

    /// For layers whose windows overlap: blocks add to each other's input.
    fn dense_images(&mut self, images: Range<usize>, blank: &mut Blank) {
        let shape = self.pass.layer.shape;
        let in_len = shape.in_image_len();
        let (mut gradient, mut columns) = (Vec::new(), Vec::new());
        for image in images {
            let lines = image * shape.out_height()..(image + 1) * shape.out_height();
            let wanted = if self.pass.wants_input { in_len } else { 0 };
            let dx = blank.take_zero(wanted);
            for block in blocks(&shape, lines.clone()) {
                self.filter_gradient(&block, &mut gradient);
                if self.pass.wants_input {
                    let lines = (block, lines.start);
                    shape.input_gradient(self.filter, lines, &gradient, dx, &mut columns);
                }
            }
            if self.pass.wants_input {
                self.finish.part(image * in_len..(image + 1) * in_len, dx);
            }
        }
    }

    /// Fills `gradient` with that of the convolution's output of `lines` and adds to the
    /// filter's.
    fn filter_gradient(&mut self, lines: &Range<usize>, gradient: &mut Vec<f32>) {
        let (pass, shape) = (self.pass, &self.pass.layer.shape);
        let range = numbers(shape, lines);
        gradient.resize(range.len(), 0.0);
        pass.conv_gradient(range, gradient);
        if !self.filter_gradient.is_empty() {
            let (reader, sum) = (&mut self.reader, &mut self.filter_gradient);
            shape.filter_gradient(reader, lines.clone(), gradient, sum);
        }
    }
}
