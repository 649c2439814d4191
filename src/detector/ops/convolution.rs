//! Bare convolutions in NHWC and their gradients, on one thread, a part at a time.

use std::ops::Range;

use super::depthwise::{self, Line};
use super::matmul::{Matrix, matmul};
use super::source::Reader;
use super::tasks::Blank;

/// Sizes of a convolution with a square kernel of side 1 or 3, padded by half of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvShape {
    /// Images in the batch.
    pub images: usize,
    /// Height of the input.
    pub height: usize,
    /// Width of the input.
    pub width: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// 1 or 3.
    pub kernel: usize,
    /// 1 or 2.
    pub stride: usize,
    /// One filter a channel.
    pub depthwise: bool,
}

impl ConvShape {
    /// Height of the output.
    pub fn out_height(&self) -> usize {
        (self.height - 1) / self.stride + 1
    }

    /// Width of the output.
    pub fn out_width(&self) -> usize {
        (self.width - 1) / self.stride + 1
    }

    /// Lines of the output of the whole batch.
    pub fn lines(&self) -> usize {
        self.images * self.out_height()
    }

    /// Numbers in a line of the output.
    pub fn line_len(&self) -> usize {
        self.out_width() * self.out_channels
    }

    /// Numbers in a line of the input.
    pub fn in_line_len(&self) -> usize {
        self.width * self.in_channels
    }

    /// Numbers in one image of the input.
    pub fn in_image_len(&self) -> usize {
        self.height * self.in_line_len()
    }

    /// Whether an output position sees only the input position at the same place.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1 && !self.depthwise
    }

    /// Numbers in the window of a dense filter.
    pub fn window(&self) -> usize {
        self.kernel * self.kernel * self.in_channels
    }

    fn taps(&self) -> usize {
        self.kernel * self.kernel
    }

    fn depthwise_line(&self) -> Line {
        Line {
            width: self.width,
            out_width: self.out_width(),
            channels: self.out_channels,
            stride: self.stride,
        }
    }

    /// The line of an image that row `tap_row` of the filter sees from output line `row`;
    /// `None` in the padding.
    pub fn input_row(&self, row: usize, tap_row: usize) -> Option<usize> {
        (row * self.stride + tap_row)
            .checked_sub(self.kernel / 2)
            .filter(|row| *row < self.height)
    }

    /// From PyTorch's layout to the kernels': `[out, kernel, kernel, in]` for a dense
    /// filter, `[kernel, kernel, channels]` for a depthwise one.
    pub fn filter_from_torch(&self, weight: &[f32]) -> Vec<f32> {
        let taps = self.taps();
        if self.depthwise {
            transpose(weight, self.out_channels, taps)
        } else {
            let filters = weight.chunks_exact(self.window());
            filters
                .flat_map(|filter| transpose(filter, self.in_channels, taps))
                .collect()
        }
    }

    /// The inverse of [`ConvShape::filter_from_torch`].
    pub fn filter_to_torch(&self, filter: &[f32]) -> Vec<f32> {
        let taps = self.taps();
        if self.depthwise {
            transpose(filter, taps, self.out_channels)
        } else {
            let filters = filter.chunks_exact(self.window());
            filters
                .flat_map(|filter| transpose(filter, taps, self.in_channels))
                .collect()
        }
    }

    /// Convolves `lines` (numbered through the batch) of the output into `out`.
    pub fn forward(
        &self,
        reader: &mut Reader,
        filter: &[f32],
        lines: Range<usize>,
        out: &mut [f32],
    ) {
        if self.depthwise {
            for (line, out) in lines.zip(out.chunks_exact_mut(self.line_len())) {
                let input = reader.rows(line);
                depthwise::forward_line(self.depthwise_line(), input, filter, out);
            }
            return;
        }
        let filter = Matrix::new(filter, self.out_channels, self.window()).transposed();
        let rows = lines.len() * self.out_width();
        let windows = Matrix::new(reader.windows(lines), rows, self.window());
        matmul(out, windows, filter, false);
    }

    /// Adds to the filter's gradient what `lines` give whose output gradient is
    /// `gradient`. Not for depthwise layers.
    pub fn filter_gradient(
        &self,
        reader: &mut Reader,
        lines: Range<usize>,
        gradient: &[f32],
        filter_gradient: &mut [f32],
    ) {
        let rows = lines.len() * self.out_width();
        let upstream = Matrix::new(gradient, rows, self.out_channels);
        let windows = Matrix::new(reader.windows(lines), rows, self.window());
        matmul(filter_gradient, upstream.transposed(), windows, true);
    }

    /// Adds to `dx` what `lines` give whose output gradient is `gradient`. `dx` starts
    /// with the input of output line `first_line`, for other than pointwise layers the
    /// first line of its image; a pointwise layer writes over it. `columns` is scratch.
    /// Not for depthwise layers.
    pub fn input_gradient(
        &self,
        filter: &[f32],
        (lines, first_line): (Range<usize>, usize),
        gradient: &[f32],
        dx: &mut [f32],
        columns: &mut Vec<f32>,
    ) {
        let rows = lines.len() * self.out_width();
        let upstream = Matrix::new(gradient, rows, self.out_channels);
        let filter = Matrix::new(filter, self.out_channels, self.window());
        if self.is_pointwise() {
            let start = (lines.start - first_line) * self.in_line_len();
            let end = start + lines.len() * self.in_line_len();
            matmul(&mut dx[start..end], upstream, filter, false);
        } else {
            columns.resize(rows * self.window(), 0.0);
            matmul(columns, upstream, filter, false);
            self.scatter(columns, lines, first_line, dx);
        }
    }

    /// Adds the windows of `lines` to the input's gradient; the inverse of
    /// [`Reader::windows`].
    /// `dx` starts with the image of output line `first_line`.
    fn scatter(&self, columns: &[f32], lines: Range<usize>, first_line: usize, dx: &mut [f32]) {
        let start = first_line / self.out_height() * self.in_image_len();
        for (line, columns) in lines.zip(columns.chunks(self.out_width() * self.window())) {
            self.for_runs(line, |from, to, len| {
                let to = &mut dx[to - start..][..len];
                for (sum, value) in to.iter_mut().zip(&columns[from..from + len]) {
                    *sum += value;
                }
            });
        }
    }

    /// Calls `visit(offset in the windows of the line, offset in the input, length)` for
    /// each row of the filter at each position of an output line, as far as it lies in the
    /// image: neighbouring taps of a row are neighbours in the input too.
    pub fn for_runs(&self, line: usize, mut visit: impl FnMut(usize, usize, usize)) {
        let (image, row) = (line / self.out_height(), line % self.out_height());
        let margin = self.kernel / 2;
        for tap_row in 0..self.kernel {
            let Some(in_row) = self.input_row(row, tap_row) else {
                continue;
            };
            let line_start = image * self.in_image_len() + in_row * self.in_line_len();
            for column in 0..self.out_width() {
                // Columns of the padded input, of which the first `margin` are padding.
                let window = column * self.stride..column * self.stride + self.kernel;
                let (first, end) = (
                    window.start.max(margin),
                    window.end.min(self.width + margin),
                );
                let tap = tap_row * self.kernel + first - window.start;
                visit(
                    column * self.window() + tap * self.in_channels,
                    line_start + (first - margin) * self.in_channels,
                    (end - first) * self.in_channels,
                );
            }
        }
    }

    /// Gradients of one image of a depthwise layer. `gradient_line` writes the output's
    /// gradient of a line (numbered through the batch) and is called once a line, from
    /// the top. The input's gradient is taken from `dx`, if it is wanted, a line at a
    /// time; `finish` gets each, with its number through the batch, while it is fresh.
    pub fn backward_depthwise(
        &self,
        reader: &mut Reader,
        filter: &[f32],
        image: usize,
        mut gradient_line: impl FnMut(usize, &mut [f32]),
        filter_gradient: &mut [f32],
        mut dx: Option<(&mut Blank, impl FnMut(usize, &mut [f32]))>,
    ) {
        let (height, out_height, len) = (self.height, self.out_height(), self.line_len());
        let line = self.depthwise_line();
        let zeros = vec![0.0; len];
        let mut flipped = filter.to_vec();
        for (to, from) in flipped
            .chunks_exact_mut(self.out_channels)
            .zip(filter.chunks_exact(self.out_channels).rev())
        {
            to.copy_from_slice(from);
        }
        // The last three lines of the output's gradient; line `i` stands at `i % 3`.
        let mut ring = vec![0.0; 3 * len];
        let mut done = 0;
        for row in 0..height {
            let last_needed = (row + 1) / self.stride;
            while done <= last_needed && done < out_height {
                let number = image * out_height + done;
                let gradient = &mut ring[done % 3 * len..][..len];
                gradient_line(number, gradient);
                if !filter_gradient.is_empty() {
                    let input = reader.rows(number);
                    depthwise::filter_gradient_line(line, input, gradient, filter_gradient);
                }
                done += 1;
            }
            let Some((blank, finish)) = &mut dx else {
                continue;
            };
            let out = blank.take(self.in_line_len());
            let gradient = |row: usize| &ring[row % 3 * len..][..len];
            if self.stride == 1 {
                let above = row.checked_sub(1).map_or(&zeros[..], gradient);
                let below = if row + 1 < out_height {
                    gradient(row + 1)
                } else {
                    &zeros
                };
                let upstream = [above, gradient(row), below];
                depthwise::forward_line(line, upstream, &flipped, out);
            } else {
                let mut upstream = Vec::with_capacity(2);
                if row % 2 == 0 {
                    upstream.push((gradient(row / 2), 1));
                } else {
                    upstream.push((gradient(row / 2), 2));
                    if row / 2 + 1 < out_height {
                        upstream.push((gradient(row / 2 + 1), 0));
                    }
                }
                depthwise::input_gradient_line_stride_2(line, &upstream, filter, out);
            }
            finish(image * height + row, out);
        }
    }
}

fn transpose(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(matrix.len());
    for column in 0..columns {
        out.extend((0..rows).map(|row| matrix[row * columns + column]));
    }
    out
}
