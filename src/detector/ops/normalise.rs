//! Batch normalisation and activation, and their gradients, a block at a time.
//!
//! Values a channel are repeated until a row of them is long enough to keep a vector
//! unit busy ([`tile`]); the loops are then plain ones over long slices.

use super::simd::multiversion;

/// Shortest row of repeated values a channel.
const TILE: usize = 256;

/// `values` repeated up to at least [`TILE`] numbers.
pub fn tile(values: &[f32]) -> Vec<f32> {
    values.repeat(TILE.div_ceil(values.len()).max(1))
}

/// Adds up a tiled row of sums, channel by channel, in a fixed order.
fn fold(tiled: &[f32], channels: usize) -> Vec<f64> {
    let mut sums = vec![0.0; channels];
    for row in tiled.chunks_exact(channels) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += f64::from(*value);
        }
    }
    sums
}

/// Count, mean and sum of squared deviations of each channel.
#[derive(Debug, Clone)]
pub struct Moments {
    count: f64,
    /// Mean of each channel.
    pub mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    /// The moments of nothing.
    pub fn empty(channels: usize) -> Self {
        Moments {
            count: 0.0,
            mean: vec![0.0; channels],
            squares: vec![0.0; channels],
        }
    }

    /// The moments of a block of whole rows of channels.
    pub fn of_block(block: &[f32], channels: usize) -> Self {
        let count = (block.len() / channels) as f64;
        let mut sums = tile(&vec![0.0; channels]);
        add_up(block, &mut sums);
        let mean: Vec<f32> = fold(&sums, channels)
            .iter()
            .map(|sum| (sum / count) as f32)
            .collect();
        sums.fill(0.0);
        add_up_squares(block, &tile(&mean), &mut sums);
        Moments {
            count,
            mean: mean.iter().map(|mean| f64::from(*mean)).collect(),
            squares: fold(&sums, channels),
        }
    }

    /// Joins two disjoint parts (Chan, Golub and LeVeque 1983, equation 2.1).
    pub fn merge(&mut self, other: &Moments) {
        let total = self.count + other.count;
        if other.count == 0.0 {
            return;
        }
        for channel in 0..self.mean.len() {
            let gap = other.mean[channel] - self.mean[channel];
            self.mean[channel] += gap * other.count / total;
            self.squares[channel] +=
                other.squares[channel] + gap * gap * self.count * other.count / total;
        }
        self.count = total;
    }

    /// The biased variance of each channel.
    pub fn variance(&self) -> Vec<f64> {
        self.squares
            .iter()
            .map(|squares| squares / self.count)
            .collect()
    }
}

multiversion! {
    fn add_up<A>(block: &[f32], sums: &mut [f32]) {
        for row in block.chunks(sums.len()) {
            for (sum, x) in sums.iter_mut().zip(row) {
                *sum += x;
            }
        }
    }
}

multiversion! {
    fn add_up_squares<A>(block: &[f32], mean: &[f32], sums: &mut [f32]) {
        for row in block.chunks(sums.len()) {
            for ((sum, x), mean) in sums.iter_mut().zip(row).zip(mean) {
                let deviation = x - mean;
                *sum = A::mul_add(deviation, deviation, *sum);
            }
        }
    }
}

/// The normalisation and activation of each channel as
/// `clamp(x * scale + shift, low, high)`, rows tiled.
#[derive(Debug, Clone)]
pub struct Affine {
    scale: Vec<f32>,
    shift: Vec<f32>,
    low: f32,
    high: f32,
}

impl Affine {
    /// `bounds` are those of the activation, infinite where it has none.
    pub fn new(scale: &[f32], shift: &[f32], bounds: (f32, f32)) -> Self {
        Affine {
            scale: tile(scale),
            shift: tile(shift),
            low: bounds.0,
            high: bounds.1,
        }
    }

    /// Writes the activations of `conv` to `out`. Not-a-number stays what it is.
    pub fn apply(&self, conv: &[f32], out: &mut [f32]) {
        affine(conv, out, &self.scale, &self.shift, self.low, self.high);
    }

    /// As [`Affine::apply`], over the block itself.
    pub fn apply_in_place(&self, block: &mut [f32]) {
        affine_in_place(block, &self.scale, &self.shift, self.low, self.high);
    }
}

#[inline(always)]
fn clamp(y: f32, low: f32, high: f32) -> f32 {
    let y = if y < low { low } else { y };
    if y > high { high } else { y }
}

multiversion! {
    fn affine<A>(conv: &[f32], out: &mut [f32], scale: &[f32], shift: &[f32], low: f32, high: f32) {
        let tile = scale.len();
        for (out, conv) in out.chunks_mut(tile).zip(conv.chunks(tile)) {
            for (((out, x), scale), shift) in out.iter_mut().zip(conv).zip(scale).zip(shift) {
                *out = clamp(A::mul_add(*x, *scale, *shift), low, high);
            }
        }
    }
}

multiversion! {
    fn affine_in_place<A>(block: &mut [f32], scale: &[f32], shift: &[f32], low: f32, high: f32) {
        for block in block.chunks_mut(scale.len()) {
            for ((x, scale), shift) in block.iter_mut().zip(scale).zip(shift) {
                *x = clamp(A::mul_add(*x, *scale, *shift), low, high);
            }
        }
    }
}

multiversion! {
    /// Adds `addend` to `sum`, number by number.
    pub fn add<A>(sum: &mut [f32], addend: &[f32]) {
        for (sum, addend) in sum.iter_mut().zip(addend) {
            *sum += addend;
        }
    }
}

/// Sums over rows, of each channel: the gradient behind the activation, and its product
/// with the centred convolution.
#[derive(Debug, Clone)]
pub struct GradientSums {
    /// Sum of the gradient.
    pub gradient: Vec<f64>,
    /// Sum of the gradient times (convolution - mean).
    pub product: Vec<f64>,
}

impl GradientSums {
    /// The sums of nothing.
    pub fn empty(channels: usize) -> Self {
        GradientSums {
            gradient: vec![0.0; channels],
            product: vec![0.0; channels],
        }
    }

    /// Adds the sums of another part.
    pub fn merge(&mut self, other: &GradientSums) {
        for (sum, value) in self.gradient.iter_mut().zip(&other.gradient) {
            *sum += value;
        }
        for (sum, value) in self.product.iter_mut().zip(&other.product) {
            *sum += value;
        }
    }
}

/// Adds up [`GradientSums`] block by block.
pub struct GradientSummation<'a> {
    affine: &'a Affine,
    /// Tiled.
    mean: &'a [f32],
    /// Of the numbers since the last fold, tiled.
    sums: Vec<f32>,
    products: Vec<f32>,
    pending: usize,
    total: GradientSums,
}

impl<'a> GradientSummation<'a> {
    /// Numbers after which the 32-bit sums go into the 64-bit ones.
    const FOLD: usize = 32 * 1024;

    /// `mean` is tiled.
    pub fn new(affine: &'a Affine, mean: &'a [f32], channels: usize) -> Self {
        GradientSummation {
            affine,
            mean,
            sums: vec![0.0; mean.len()],
            products: vec![0.0; mean.len()],
            pending: 0,
            total: GradientSums::empty(channels),
        }
    }

    /// Adds whole rows of channels.
    pub fn add(&mut self, upstream: &[f32], conv: &[f32]) {
        let (sums, products) = (&mut self.sums, &mut self.products);
        gradient_sums(upstream, conv, self.affine, self.mean, sums, products);
        self.pending += upstream.len();
        if self.pending >= Self::FOLD {
            self.fold();
        }
    }

    fn fold(&mut self) {
        let channels = self.total.gradient.len();
        self.total.merge(&GradientSums {
            gradient: fold(&self.sums, channels),
            product: fold(&self.products, channels),
        });
        self.sums.fill(0.0);
        self.products.fill(0.0);
        self.pending = 0;
    }

    /// The sums of all that was added.
    pub fn finish(mut self) -> GradientSums {
        self.fold();
        self.total
    }
}

/// The upstream gradient where the activation lets it through: strictly between the
/// bounds, from the activation's argument `y`.
#[inline(always)]
fn gate(upstream: f32, y: f32, low: f32, high: f32) -> f32 {
    if (y <= low) | (y >= high) {
        0.0
    } else {
        upstream
    }
}

multiversion! {
    fn gradient_sums<A>(
        upstream: &[f32],
        conv: &[f32],
        affine: &Affine,
        mean: &[f32],
        sums: &mut [f32],
        products: &mut [f32],
    ) {
        let (low, high) = (affine.low, affine.high);
        let tile = mean.len();
        let (scale, shift) = (&affine.scale[..tile], &affine.shift[..tile]);
        for (upstream, conv) in upstream.chunks(tile).zip(conv.chunks(tile)) {
            let count = upstream.len().min(conv.len());
            let (upstream, conv) = (&upstream[..count], &conv[..count]);
            let (scale, shift, mean) = (&scale[..count], &shift[..count], &mean[..count]);
            let (sums, products) = (&mut sums[..count], &mut products[..count]);
            for i in 0..count {
                let y = A::mul_add(conv[i], scale[i], shift[i]);
                let gradient = gate(upstream[i], y, low, high);
                sums[i] += gradient;
                products[i] = A::mul_add(gradient, conv[i] - mean[i], products[i]);
            }
        }
    }
}

/// The gradient of the convolution's output from that of the activation's:
/// `scale * gate(upstream) + slope * (conv - mean) + offset`, rows tiled.
#[derive(Debug, Clone)]
pub struct GradientMap<'a> {
    affine: &'a Affine,
    mean: &'a [f32],
    slope: Vec<f32>,
    offset: Vec<f32>,
}

impl<'a> GradientMap<'a> {
    /// `mean` is tiled; `slope` and `offset` are not, and are zero where the statistics are
    /// constants.
    pub fn new(affine: &'a Affine, mean: &'a [f32], slope: &[f32], offset: &[f32]) -> Self {
        GradientMap {
            affine,
            mean,
            slope: tile(slope),
            offset: tile(offset),
        }
    }

    /// Writes the gradient of the convolution's output to `out`.
    pub fn apply(&self, upstream: &[f32], conv: &[f32], out: &mut [f32]) {
        conv_gradient(self, upstream, conv, out);
    }
}

multiversion! {
    fn conv_gradient<A>(map: &GradientMap<'_>, upstream: &[f32], conv: &[f32], out: &mut [f32]) {
        let (low, high) = (map.affine.low, map.affine.high);
        let tile = map.mean.len();
        let blocks = upstream.chunks(tile).zip(conv.chunks(tile));
        for (out, (upstream, conv)) in out.chunks_mut(tile).zip(blocks) {
            let count = out.len();
            let (upstream, conv) = (&upstream[..count], &conv[..count]);
            let (scale, shift) = (&map.affine.scale[..count], &map.affine.shift[..count]);
            let (mean, slope, offset) =
                (&map.mean[..count], &map.slope[..count], &map.offset[..count]);
            for i in 0..count {
                let y = A::mul_add(conv[i], scale[i], shift[i]);
                let gradient = gate(upstream[i], y, low, high);
                let centred = A::mul_add(slope[i], conv[i] - mean[i], offset[i]);
                out[i] = A::mul_add(scale[i], gradient, centred);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_moments_are_those_of_the_whole() {
        let values: Vec<f32> = (0..3 * 1001)
            .map(|i| 100.0 + ((i * 37) % 101) as f32 * 0.01)
            .collect();
        let mut moments = Moments::empty(3);
        for block in values.chunks(3 * 130) {
            moments.merge(&Moments::of_block(block, 3));
        }
        for channel in 0..3 {
            let own = || {
                values
                    .iter()
                    .skip(channel)
                    .step_by(3)
                    .map(|v| f64::from(*v))
            };
            let mean = own().sum::<f64>() / 1001.0;
            let variance = own().map(|v| (v - mean).powi(2)).sum::<f64>() / 1001.0;
            assert!((moments.mean[channel] - mean).abs() < 1e-5);
            assert!((moments.variance()[channel] / variance - 1.0).abs() < 1e-4);
        }
    }

    #[test]
    fn activation_keeps_not_a_number_and_clamps_the_rest() {
        let affine = Affine::new(&[1.0], &[0.0], (0.0, 6.0));
        let mut block = [-1.0, 3.0, 7.0, f32::NAN];
        affine.apply_in_place(&mut block);
        assert_eq!(block[..3], [0.0, 3.0, 6.0]);
        assert!(block[3].is_nan(), "a diverged training must show");
    }
}
