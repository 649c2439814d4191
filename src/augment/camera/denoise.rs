//! The developer's noise filter.

use super::window::Window;

/// Colour as a filter wants it, in white-balanced camera colour. It takes the place that
/// the picture will have: each row is a row of luma, `(R + 2 G + B) / 4`, then one of the
/// first chroma, `R - G`, and one of the second, `B - G`.
pub(super) struct Planes {
    pub(super) size_px: [usize; 2],
    pub(super) rows: Vec<f32>,
}

impl Planes {
    /// Row `y` of luma (0) or a chroma (1, 2).
    fn row(&self, plane: usize, y: usize) -> &[f32] {
        let [width, _] = self.size_px;
        &self.rows[(3 * y + plane) * width..][..width]
    }

    /// Rows `y` of luma and both chromas.
    pub(super) fn rows_mut(&mut self, y: usize) -> [&mut [f32]; 3] {
        let [width, _] = self.size_px;
        let row = &mut self.rows[3 * y * width..][..3 * width];
        let (luma, rest) = row.split_at_mut(width);
        let (first, second) = rest.split_at_mut(width);
        [luma, first, second]
    }
}

/// Variance of balanced photosites: `shot * light + floor` for a gain of 1; a channel
/// with gain g has `g shot * light + g^2 floor`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Profile {
    pub(super) shot: f32,
    pub(super) floor: f32,
    pub(super) balance: [f32; 3],
}

/// Variance in a flat field after demosaicing, for variance 1 at the photosites of red,
/// green and blue: of luma, and of luma and both chromas in means of 2 x 2 pixels.
const LUMA: [f32; 3] = [0.1497, 0.3696, 0.1497];
const HALF_LUMA: [f32; 3] = [0.0650, 0.1261, 0.0650];
const HALF_CHROMA: [[f32; 3]; 2] = [[0.2930, 0.1729, 0.0049], [0.0049, 0.1729, 0.2930]];

/// Variance above which a detail is kept, in variances of the noise. A variance over
/// 25 pixels scatters, and below this the scatter itself would show as mottle.
const KEEP_ABOVE: f32 = 2.0;
/// Least variance in flat parts, in squares of the light: well above what the rounding
/// of a difference of squares leaves.
const ROUNDING: f32 = 1e-5;
/// Share of the luma noise that the full strength takes; cameras leave some grain.
const LUMA_SHARE: f32 = 0.8;

impl Profile {
    /// Four standard deviations of the noise at 16 electrons, in the noisiest channel.
    pub(super) fn slack(&self) -> f32 {
        let gain = self.balance.into_iter().fold(1.0, f32::max);
        4.0 * gain * (self.floor + 16.0 * self.shot * self.shot).sqrt()
    }

    /// Variance of luma in a flat field of this light.
    #[cfg(test)]
    pub(super) fn luma(&self, light: f32) -> f32 {
        let [slope, floor] = self.through(LUMA);
        slope * light + floor
    }

    /// Slope and floor of the variance of a sum with these weights.
    fn through(&self, weights: [f32; 3]) -> [f32; 2] {
        let (mut slope, mut floor) = (0.0, 0.0);
        for (weight, gain) in weights.into_iter().zip(self.balance) {
            slope += weight * gain * self.shot;
            floor += weight * gain * gain * self.floor;
        }
        [slope, floor]
    }
}

/// Removes noise by `strength` in `0..=1` of what is found.
///
/// Luma: the local Wiener filter (Lee 1980) in the form of a guided filter (He et al.
/// 2013) over 5 x 5 pixels with the sensor's noise as its threshold. Chroma:
/// a guided filter at half resolution, guided by luma, which keeps what luma does not
/// explain only where it is above the noise. So edges and texture stay, and colour
/// noise goes first.
pub(super) fn denoise(planes: &mut Planes, profile: &Profile, strength: f32) {
    luma(planes, profile.through(LUMA), strength * LUMA_SHARE);
    chroma(planes, profile, strength);
}

/// Pulls luma towards a line through its surroundings' mean, by `strength`.
///
/// Rows go through two windows, one after the other, so that nothing leaves the cache.
fn luma(planes: &mut Planes, [slope, floor]: [f32; 2], strength: f32) {
    let [width, height] = planes.size_px;
    let mut moments = [Window::new(width, height), Window::new(width, height)];
    let mut lines = [Window::new(width, height), Window::new(width, height)];
    let (mut first, mut second) = (vec![0.0; width], vec![0.0; width]);
    for step in 0..height + 4 {
        if step < height {
            let from = planes.row(0, step);
            multiply(from, from, &mut second);
            moments[0].push(from);
            moments[1].push(&second);
        }
        if (2..height + 2).contains(&step) {
            moments[0].mean(step - 2, &mut first);
            moments[1].mean(step - 2, &mut second);
            for (mean, square) in first.iter_mut().zip(&mut second) {
                let light = if *mean > 0.0 { *mean } else { 0.0 };
                let noise = KEEP_ABOVE * (slope * light + floor);
                let keep = kept(*square - *mean * *mean, noise);
                (*mean, *square) = ((1.0 - keep) * *mean, keep);
            }
            lines[0].push(&first);
            lines[1].push(&second);
        }
        if step >= 4 {
            lines[0].mean(step - 4, &mut first);
            lines[1].mean(step - 4, &mut second);
            let [to, _, _] = planes.rows_mut(step - 4);
            for ((to, offset), factor) in to.iter_mut().zip(&first).zip(&second) {
                *to += strength * (factor * *to + offset - *to);
            }
        }
    }
}

/// Share of a local variance that is not noise.
#[inline]
fn kept(variance: f32, noise: f32) -> f32 {
    let signal = variance - noise;
    if signal > 0.0 { signal / variance } else { 0.0 }
}

/// Pulls both chromas towards a line through their surroundings, as luma guides.
fn chroma(planes: &mut Planes, profile: &Profile, strength: f32) {
    let [width, height] = planes.size_px;
    let half = [width.div_ceil(2), height.div_ceil(2)];
    let window = || Window::new(half[0], half[1]);
    let row = || vec![0.0; half[0]];
    let mut luma_moments = [window(), window()];
    let mut moments = [0, 1].map(|_| [window(), window(), window()]);
    let mut lines = [0, 1].map(|_| [window(), window(), window()]);
    let (mut luma, mut luma_variance, mut values, mut work) = (row(), row(), row(), row());
    let mut now = [0, 1].map(|_| [row(), row(), row()]);
    let mut last = now.clone();
    let mut wide = Widener::new(width);
    let luma_noise = profile.through(HALF_LUMA);
    let noise = HALF_CHROMA.map(|weights| profile.through(weights));
    for step in 0..half[1] + 4 {
        if step < half[1] {
            halve(planes, 0, step, &mut luma);
            multiply(&luma, &luma, &mut work);
            luma_moments[0].push(&luma);
            luma_moments[1].push(&work);
            for (which, [mean, square, product]) in moments.iter_mut().enumerate() {
                halve(planes, 1 + which, step, &mut values);
                mean.push(&values);
                multiply(&values, &values, &mut work);
                square.push(&work);
                multiply(&values, &luma, &mut work);
                product.push(&work);
            }
        }
        if (2..half[1] + 2).contains(&step) {
            luma_moments[0].mean(step - 2, &mut work);
            luma_moments[1].mean(step - 2, &mut luma_variance);
            for (variance, mean) in luma_variance.iter_mut().zip(&work) {
                *variance -= mean * mean;
            }
            for (which, rows) in now.iter_mut().enumerate() {
                for (row, window) in rows.iter_mut().zip(&moments[which]) {
                    window.mean(step - 2, row);
                }
                line(rows, [&work, &luma_variance], luma_noise, noise[which]);
                for (row, window) in rows.iter().zip(&mut lines[which]) {
                    window.push(row);
                }
            }
        }
        if step >= 4 {
            let y = step - 4;
            for (rows, windows) in now.iter_mut().zip(&lines) {
                for (row, window) in rows.iter_mut().zip(windows) {
                    window.mean(y, row);
                }
            }
            if y == 0 {
                last.clone_from(&now);
            } else {
                wide.apply(planes, 2 * y - 1, &last, &now, strength);
            }
            wide.apply(planes, 2 * y, &now, &last, strength);
            std::mem::swap(&mut now, &mut last);
        }
    }
    if height % 2 == 0 {
        wide.apply(planes, height - 1, &last, &last, strength);
    }
}

/// From the means of chroma, of its square and of its product with luma: the offset, the
/// share kept and the slope of chroma on luma, in place.
fn line(
    [mean, square, product]: &mut [Vec<f32>; 3],
    [luma_mean, luma_variance]: [&[f32]; 2],
    luma_noise: [f32; 2],
    noise: [f32; 2],
) {
    let chromas = mean.iter_mut().zip(square).zip(product);
    for (((mean, square), product), (luma_mean, luma_variance)) in
        chromas.zip(luma_mean.iter().zip(luma_variance))
    {
        let light = if *luma_mean > 0.0 { *luma_mean } else { 0.0 };
        let covariance = *product - *mean * luma_mean;
        let rounding = ROUNDING * light * light + 1e-12;
        let variance = if *luma_variance > 0.0 {
            *luma_variance
        } else {
            0.0
        };
        let slope = covariance / (variance + luma_noise[0] * light + luma_noise[1] + rounding);
        let rest = *square - *mean * *mean - slope * covariance;
        let noise = noise[0] * light + noise[1] + 0.1 * rounding;
        let keep = kept(rest, KEEP_ABOVE * noise);
        *mean = (1.0 - keep) * (*mean - slope * luma_mean);
        (*square, *product) = (keep, (1.0 - keep) * slope);
    }
}

/// Brings half-resolution lines to full resolution, by linear interpolation.
struct Widener {
    column: Vec<f32>,
    wide: [Vec<f32>; 3],
}

impl Widener {
    fn new(width: usize) -> Self {
        Widener {
            column: vec![0.0; width.div_ceil(2) + 2],
            wide: [0, 1, 2].map(|_| vec![0.0; width]),
        }
    }

    /// Applies to row `y`, which lies a quarter of the way from `near` to `far`.
    fn apply(
        &mut self,
        planes: &mut Planes,
        y: usize,
        near: &[[Vec<f32>; 3]; 2],
        far: &[[Vec<f32>; 3]; 2],
        strength: f32,
    ) {
        let [width, _] = planes.size_px;
        let [luma, first, second] = planes.rows_mut(y);
        let luma = &luma[..width];
        for ((chroma, near), far) in [first, second].into_iter().zip(near).zip(far) {
            for ((wide, near), far) in self.wide.iter_mut().zip(near).zip(far) {
                widen(near, far, &mut self.column, wide);
            }
            let [offset, keep, slope] = self.wide.each_ref().map(|row| &row[..width]);
            let chroma = &mut chroma[..width];
            for x in 0..width {
                let filtered = slope[x] * luma[x] + offset[x] + keep[x] * chroma[x];
                chroma[x] += strength * (filtered - chroma[x]);
            }
        }
    }
}

fn widen(near: &[f32], far: &[f32], column: &mut [f32], to: &mut [f32]) {
    let width = near.len();
    for ((to, near), far) in column[1..].iter_mut().zip(near).zip(far) {
        *to = 0.75 * near + 0.25 * far;
    }
    (column[0], column[width + 1]) = (column[1], column[width]);
    for (to, w) in to.chunks_exact_mut(2).zip(column.windows(3)) {
        to[0] = 0.75 * w[1] + 0.25 * w[0];
        to[1] = 0.75 * w[1] + 0.25 * w[2];
    }
    if to.len() % 2 == 1 {
        to[to.len() - 1] = 0.75 * column[width] + 0.25 * column[width - 1];
    }
}

fn multiply(a: &[f32], b: &[f32], to: &mut [f32]) {
    for ((to, a), b) in to.iter_mut().zip(a).zip(b) {
        *to = a * b;
    }
}

/// Row `y` of a plane's means of 2 x 2 pixels; an odd last row or column stands for two.
fn halve(planes: &Planes, plane: usize, y: usize, to: &mut [f32]) {
    let [width, height] = planes.size_px;
    let upper = planes.row(plane, 2 * y);
    let lower = planes.row(plane, (2 * y + 1).min(height - 1));
    let pairs = upper.chunks_exact(2).zip(lower.chunks_exact(2));
    for (to, (upper, lower)) in to.iter_mut().zip(pairs) {
        *to = 0.25 * ((upper[0] + upper[1]) + (lower[0] + lower[1]));
    }
    if width % 2 == 1 {
        to[width / 2] = 0.5 * (upper[width - 1] + lower[width - 1]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::camera::develop::demosaiced;
    use crate::augment::camera::sensor::MARGIN;
    use crate::seed::SeedKey;
    use rand_distr::{Distribution as _, StandardNormal};

    /// Energy in a 2 x 2 tile's outputs of unit impulses at its photosites of a colour.
    fn energies(of: impl Fn(&Planes) -> Vec<f32>, outputs: f32) -> [f32; 3] {
        const SIDE: usize = 16;
        let stride = SIDE + 2 * MARGIN;
        let energy = |x: usize, y: usize| {
            let fill = |row: usize, to: &mut [f32]| {
                to.fill(0.0);
                to[x + MARGIN] = f32::from(u8::from(row == y + MARGIN)) * 0.5;
                assert_eq!(to.len(), stride);
            };
            let out = of(&demosaiced([SIDE, SIDE], 1e6, fill));
            out.iter().map(|value| 4.0 * value * value).sum::<f32>() / outputs
        };
        [energy(8, 8), energy(9, 8) + energy(8, 9), energy(9, 9)]
    }

    #[test]
    fn variances_of_a_flat_field_are_those_of_the_demosaicing_filters() {
        let half = |planes: &Planes, plane| {
            let mut half = vec![0.0; 64];
            for (y, row) in half.chunks_exact_mut(8).enumerate() {
                halve(planes, plane, y, row);
            }
            half
        };
        let luma = |p: &Planes| (0..16).flat_map(|y| p.row(0, y).to_vec()).collect();
        for (constants, found) in [
            (LUMA, energies(luma, 4.0)),
            (HALF_LUMA, energies(|p| half(p, 0), 1.0)),
            (HALF_CHROMA[0], energies(|p| half(p, 1), 1.0)),
            (HALF_CHROMA[1], energies(|p| half(p, 2), 1.0)),
        ] {
            for (constant, found) in constants.into_iter().zip(found) {
                assert!((constant - found).abs() < 0.001, "{constants:?}: {found:?}");
            }
        }
    }

    const GREY: Profile = Profile {
        shot: 0.0,
        floor: 1e-3,
        balance: [1.0; 3],
    };

    /// A field of light with an edge in the middle, and the noise of `GREY`.
    fn field(size: [usize; 2], light: [f32; 2]) -> Planes {
        let mut generator = SeedKey::new(b"denoise tests", 1).generator("noise", 0);
        demosaiced(size, GREY.slack(), |_, to| {
            let middle = to.len() / 2;
            for (x, to) in to.iter_mut().enumerate() {
                let z: f32 = StandardNormal.sample(&mut generator);
                *to = light[usize::from(x >= middle)] + 1e-3_f32.sqrt() * z;
            }
        })
    }

    /// Variance over the columns from `from`.
    fn variance(planes: &Planes, plane: usize, from: usize) -> f64 {
        let rows = (0..planes.size_px[1]).map(|y| &planes.row(plane, y)[from..]);
        let values: Vec<f64> = rows.flatten().map(|v| f64::from(*v)).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64
    }

    #[test]
    fn more_strength_takes_more_noise_and_more_of_chroma() {
        let noisy = field([160, 120], [0.3; 2]);
        let before = [0, 1, 2].map(|plane| variance(&noisy, plane, 0));
        let mut last = [1.0; 3];
        for strength in [0.25, 0.5, 1.0] {
            let mut planes = field([160, 120], [0.3; 2]);
            denoise(&mut planes, &GREY, strength);
            let left = [0, 1, 2].map(|plane| variance(&planes, plane, 0) / before[plane]);
            assert!((0..3).all(|plane| left[plane] < last[plane]), "{left:?}");
            assert!(left[1] < left[0] && left[2] < left[0], "{left:?}");
            last = left;
        }
        assert!(last[0] < 0.15 && last[1] < 0.05, "{last:?}");
    }

    #[test]
    fn an_edge_above_the_noise_stays() {
        let mut planes = field([80, 60], [0.1, 0.8]);
        denoise(&mut planes, &GREY, 1.0);
        let mean = |x: usize| (0..60).map(|y| planes.row(0, y)[x]).sum::<f32>() / 60.0;
        // Demosaicing itself overshoots by an eighth of the step at most.
        assert!(
            mean(39) < 0.2 && mean(40) > 0.7,
            "{} {}",
            mean(39),
            mean(40)
        );
        assert!((mean(30) - 0.1).abs() < 0.01 && (mean(50) - 0.8).abs() < 0.01);
    }

    #[test]
    fn without_noise_a_clean_picture_stays() {
        let clean = Profile { floor: 0.0, ..GREY };
        let fill = |row: usize, to: &mut [f32]| {
            for (x, to) in to.iter_mut().enumerate() {
                *to = 0.4 + 0.2 * (x as f32 * 0.3).sin() * (row as f32 * 0.2).cos();
            }
        };
        let before = demosaiced([64, 48], 0.001, fill);
        let mut after = demosaiced([64, 48], 0.001, fill);
        denoise(&mut after, &clean, 1.0);
        for (a, b) in after.rows.iter().zip(&before.rows) {
            // The false colour that demosaicing leaves may go.
            assert!((a - b).abs() < 0.01, "{a} and {b}");
        }
    }
}
