//! What a layer reads.
//!
//! Within a chain of layers the activations of one are never written down: the next makes
//! them from the convolution's output as it goes, a few lines at a time, because a whole
//! tensor of them would go to memory only to come back once, and would be kept until the
//! backward pass.

use std::ops::Range;

use super::convolution::ConvShape;
use super::normalise::Affine;

/// Lines of the input under a depthwise filter.
const ROWS: usize = 3;

/// The input of a layer: numbers as they are, or the activations of a convolution.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    numbers: &'a [f32],
    activation: Option<&'a Affine>,
}

impl<'a> Source<'a> {
    /// Numbers as they are.
    pub fn plain(numbers: &'a [f32]) -> Self {
        Source {
            numbers,
            activation: None,
        }
    }

    /// The activations of the convolution `conv`.
    pub fn activated(conv: &'a [f32], activation: &'a Affine) -> Self {
        Source {
            numbers: conv,
            activation: Some(activation),
        }
    }

    /// Writes the numbers of `range`, which starts at the first channel of a position.
    fn write(&self, range: Range<usize>, out: &mut [f32]) {
        match self.activation {
            Some(activation) => activation.apply(&self.numbers[range], out),
            None => out.copy_from_slice(&self.numbers[range]),
        }
    }
}

/// Reads a layer's input in the order of its output lines, on one thread.
pub struct Reader<'a> {
    shape: ConvShape,
    source: Source<'a>,
    /// Windows or activations of a block.
    scratch: Vec<f32>,
    /// The last activated lines; line `i` of the batch stands at `i % ROWS`.
    ring: Vec<f32>,
    /// Numbers of the lines in the ring.
    held: [Option<usize>; ROWS],
    /// A line of the padding.
    zeros: Vec<f32>,
}

impl<'a> Reader<'a> {
    /// A reader of the input of a layer of `shape`.
    pub fn new(shape: ConvShape, source: Source<'a>) -> Self {
        let line = if shape.depthwise {
            shape.in_line_len()
        } else {
            0
        };
        let ring = if source.activation.is_some() { line } else { 0 };
        Reader {
            shape,
            source,
            scratch: Vec::new(),
            ring: vec![0.0; ROWS * ring],
            held: [None; ROWS],
            zeros: vec![0.0; line],
        }
    }

    /// The windows of output `lines`, one a row: the input itself for a pointwise layer.
    pub fn windows(&mut self, lines: Range<usize>) -> &[f32] {
        let shape = self.shape;
        if shape.is_pointwise() {
            let range = lines.start * shape.in_line_len()..lines.end * shape.in_line_len();
            if self.source.activation.is_none() {
                return &self.source.numbers[range];
            }
            self.scratch.resize(range.len(), 0.0);
            self.source.write(range, &mut self.scratch);
            return &self.scratch;
        }
        let len = shape.out_width() * shape.window();
        self.scratch.clear();
        self.scratch.resize(lines.len() * len, 0.0);
        for (line, windows) in lines.zip(self.scratch.chunks_mut(len)) {
            shape.for_runs(line, |to, from, len| {
                self.source
                    .write(from..from + len, &mut windows[to..to + len]);
            });
        }
        &self.scratch
    }

    /// The lines of the input under a depthwise filter at an output line.
    pub fn rows(&mut self, line: usize) -> [&[f32]; ROWS] {
        let (shape, len) = (self.shape, self.shape.in_line_len());
        let (image, row) = (line / shape.out_height(), line % shape.out_height());
        let inputs: [Option<usize>; ROWS] = std::array::from_fn(|tap_row| {
            let row = shape.input_row(row, tap_row)?;
            Some(image * shape.height + row)
        });
        if self.source.activation.is_some() {
            for input in inputs.into_iter().flatten() {
                if self.held[input % ROWS] != Some(input) {
                    let slot = &mut self.ring[input % ROWS * len..][..len];
                    self.source.write(input * len..(input + 1) * len, slot);
                    self.held[input % ROWS] = Some(input);
                }
            }
        }
        inputs.map(|input| match (input, self.source.activation) {
            (Some(input), Some(_)) => &self.ring[input % ROWS * len..][..len],
            (Some(input), None) => &self.source.numbers[input * len..][..len],
            (None, _) => &self.zeros[..],
        })
    }
}
