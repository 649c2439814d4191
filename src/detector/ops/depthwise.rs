//! Depthwise 3x3 convolution, a line of the output at a time, vectorised over channels.
//!
//! Filters are laid out `[9, channels]`, so that the taps of neighbouring channels lie
//! side by side. Loops run over 16 channels at once (one AVX-512 register), then 8, then 1.

use super::simd::multiversion;

/// Numbers of taps of the filter.
pub const TAPS: usize = 9;

/// What the line kernels need to know of a layer.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// Width of the input.
    pub width: usize,
    /// Width of the output.
    pub out_width: usize,
    /// Number of channels.
    pub channels: usize,
    /// 1 or 2.
    pub stride: usize,
}

/// Calls `$call::<A, LANES>(first_channel)` over all channels, the widest lanes first.
macro_rules! for_lanes {
    ($channels:expr, $call:ident::<$isa:ident>($($arg:expr),*)) => {
        let mut channel = 0;
        while channel + 16 <= $channels {
            $call::<$isa, 16>($($arg,)* channel);
            channel += 16;
        }
        if channel + 8 <= $channels {
            $call::<$isa, 8>($($arg,)* channel);
            channel += 8;
        }
        while channel < $channels {
            $call::<$isa, 1>($($arg,)* channel);
            channel += 1;
        }
    };
}

#[inline(always)]
fn load<const LANES: usize>(row: &[f32], at: usize) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    lanes.copy_from_slice(&row[at..at + LANES]);
    lanes
}

#[inline(always)]
fn add_product<A: super::simd::Arithmetic, const LANES: usize>(
    sum: &mut [f32; LANES],
    a: &[f32; LANES],
    b: &[f32; LANES],
) {
    for lane in 0..LANES {
        sum[lane] = A::mul_add(a[lane], b[lane], sum[lane]);
    }
}

multiversion! {
    /// Writes one line of the output, `[out_width, channels]`, from the three lines of
    /// the input under the filter, `[width, channels]` each (zeros outside the image).
    pub fn forward_line<A>(line: Line, input: [&[f32]; 3], taps: &[f32], out: &mut [f32]) {
        for_lanes!(line.channels, forward_lanes::<A>(line, &input, taps, out));
    }
}

#[inline(always)]
fn forward_lanes<A: super::simd::Arithmetic, const LANES: usize>(
    line: Line,
    input: &[&[f32]; 3],
    taps: &[f32],
    out: &mut [f32],
    channel: usize,
) {
    let channels = line.channels;
    let taps: [[f32; LANES]; TAPS] =
        std::array::from_fn(|tap| load(taps, tap * channels + channel));
    for column in 0..line.out_width {
        let centre = column * line.stride;
        let mut sum = [0.0; LANES];
        for (row, taps) in input.iter().zip(taps.chunks_exact(3)) {
            let at = centre * channels + channel;
            if centre > 0 {
                add_product::<A, LANES>(&mut sum, &load(row, at - channels), &taps[0]);
            }
            add_product::<A, LANES>(&mut sum, &load(row, at), &taps[1]);
            if centre + 1 < line.width {
                add_product::<A, LANES>(&mut sum, &load(row, at + channels), &taps[2]);
            }
        }
        let at = column * channels + channel;
        out[at..at + LANES].copy_from_slice(&sum);
    }
}

multiversion! {
    /// Adds what one line of the output's gradient, `[out_width, channels]`, gives to the
    /// gradient of the filter, `[9, channels]`.
    pub fn filter_gradient_line<A>(
        line: Line,
        input: [&[f32]; 3],
        gradient: &[f32],
        taps: &mut [f32],
    ) {
        for_lanes!(line.channels, filter_lanes::<A>(line, &input, gradient, taps));
    }
}

#[inline(always)]
fn filter_lanes<A: super::simd::Arithmetic, const LANES: usize>(
    line: Line,
    input: &[&[f32]; 3],
    gradient: &[f32],
    taps: &mut [f32],
    channel: usize,
) {
    let channels = line.channels;
    let mut sums = [[0.0; LANES]; TAPS];
    for column in 0..line.out_width {
        let centre = column * line.stride;
        let upstream: [f32; LANES] = load(gradient, column * channels + channel);
        for (row, sums) in input.iter().zip(sums.chunks_exact_mut(3)) {
            let at = centre * channels + channel;
            if centre > 0 {
                add_product::<A, LANES>(&mut sums[0], &load(row, at - channels), &upstream);
            }
            add_product::<A, LANES>(&mut sums[1], &load(row, at), &upstream);
            if centre + 1 < line.width {
                add_product::<A, LANES>(&mut sums[2], &load(row, at + channels), &upstream);
            }
        }
    }
    for (tap, sum) in sums.iter().enumerate() {
        let at = tap * channels + channel;
        for (total, value) in taps[at..at + LANES].iter_mut().zip(sum) {
            *total += value;
        }
    }
}

multiversion! {
    /// Writes one line of the input's gradient under stride 2, `[width, channels]`. Each
    /// of `upstream` is a line of the output's gradient and the row of the filter through
    /// which it reaches this line; there are one or two.
    pub fn input_gradient_line_stride_2<A>(
        line: Line,
        upstream: &[(&[f32], usize)],
        taps: &[f32],
        out: &mut [f32],
    ) {
        for_lanes!(line.channels, input_lanes::<A>(line, upstream, taps, out));
    }
}

#[inline(always)]
fn input_lanes<A: super::simd::Arithmetic, const LANES: usize>(
    line: Line,
    upstream: &[(&[f32], usize)],
    taps: &[f32],
    out: &mut [f32],
    channel: usize,
) {
    let channels = line.channels;
    for column in 0..line.out_width {
        let mut even = [0.0; LANES];
        let mut odd = [0.0; LANES];
        for (row, filter_row) in upstream {
            let tap = |side: usize| -> [f32; LANES] {
                load(taps, (filter_row * 3 + side) * channels + channel)
            };
            let here = load(row, column * channels + channel);
            add_product::<A, LANES>(&mut even, &here, &tap(1));
            add_product::<A, LANES>(&mut odd, &here, &tap(2));
            if column + 1 < line.out_width {
                let next = load(row, (column + 1) * channels + channel);
                add_product::<A, LANES>(&mut odd, &next, &tap(0));
            }
        }
        let at = 2 * column * channels + channel;
        out[at..at + LANES].copy_from_slice(&even);
        if 2 * column + 1 < line.width {
            let at = at + channels;
            out[at..at + LANES].copy_from_slice(&odd);
        }
    }
}
