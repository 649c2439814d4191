//! Corruptions that mix or move pixels.

use rand::RngExt;

use super::{Encoded, Plane};
use crate::augment::blur::weighted_sums;
use crate::seed::Generator;

/// How a picture goes on beyond its border.
#[derive(Debug, Clone, Copy)]
pub(super) enum Edge {
    /// As at the border: `a a | a b c`.
    Nearest,
    /// Mirrored, the border twice: `b a | a b c`.
    Reflect,
    /// Mirrored at the border: `c b | a b c`.
    Mirror,
}

impl Edge {
    pub fn place(self, place: i64, side: usize) -> usize {
        let side = side as i64;
        let folded = match self {
            Edge::Nearest => place.clamp(0, side - 1),
            Edge::Reflect => {
                let turn = place.rem_euclid(2 * side);
                turn.min(2 * side - 1 - turn)
            }
            Edge::Mirror if side == 1 => 0,
            Edge::Mirror => {
                let turn = place.rem_euclid(2 * side - 2);
                turn.min(2 * side - 2 - turn)
            }
        };
        folded as usize
    }
}

/// Weights of a Gaussian out to `truncate` standard deviations, from the centre on.
fn gaussian_weights(sigma: f64, truncate: f64) -> Vec<f32> {
    let reach = (truncate * sigma + 0.5) as i32;
    let weight = |place: i32| (-0.5 * (f64::from(place) / sigma).powi(2)).exp();
    let sum: f64 = (-reach..=reach).map(weight).sum();
    (0..=reach)
        .map(|place| (weight(place) / sum) as f32)
        .collect()
}

/// Convolves values of `channels` a pixel with a Gaussian along both axes.
pub(super) fn gaussian(
    values: &mut [f32],
    [width, height, channels]: [usize; 3],
    [sigma_x, sigma_y]: [f64; 2],
    truncate: f64,
    edge: Edge,
) {
    let stride = width * channels;
    let weights = gaussian_weights(sigma_y, truncate);
    let mut blurred = vec![0.0; values.len()];
    for (y, to) in blurred.chunks_exact_mut(stride).enumerate() {
        let mut taps = Vec::with_capacity(2 * weights.len());
        for (distance, weight) in weights.iter().enumerate() {
            for place in [y as i64 - distance as i64, y as i64 + distance as i64] {
                taps.push((edge.place(place, height) * stride, *weight));
                if distance == 0 {
                    break;
                }
            }
        }
        weighted_sums(values, &taps, to);
    }
    let weights = gaussian_weights(sigma_x, truncate);
    let reach = weights.len() - 1;
    let mut padded = vec![0.0; (width + 2 * reach) * channels];
    let mut taps = vec![(reach * channels, weights[0])];
    for (distance, weight) in weights.iter().enumerate().skip(1) {
        taps.push(((reach - distance) * channels, *weight));
        taps.push(((reach + distance) * channels, *weight));
    }
    for (line, to) in blurred
        .chunks_exact(stride)
        .zip(values.chunks_exact_mut(stride))
    {
        padded[reach * channels..][..stride].copy_from_slice(line);
        for index in (0..reach).chain(reach + width..width + 2 * reach) {
            let from = edge.place(index as i64 - reach as i64, width);
            padded[index * channels..][..channels]
                .copy_from_slice(&line[from * channels..][..channels]);
        }
        weighted_sums(&padded, &taps, to);
    }
}

pub(super) fn gaussian_blur(picture: &mut Encoded, sigma: f64) {
    let size = [picture.width, picture.height, 3];
    gaussian(&mut picture.values, size, [sigma; 2], 4.0, Edge::Nearest);
}

/// A disc of whole pixels, softened by a small Gaussian of `3` or, for a radius above 8, `5`
/// pixels.
pub(super) fn defocus_blur(picture: &mut Encoded, radius: i32, alias_sigma: f64) {
    let reach = radius.max(8);
    let side = (2 * reach + 1) as usize;
    let mut kernel = vec![0.0_f32; side * side];
    for y in -reach..=reach {
        for x in -reach..=reach {
            if x * x + y * y <= radius * radius {
                kernel[(y + reach) as usize * side + (x + reach) as usize] = 1.0;
            }
        }
    }
    let sum: f32 = kernel.iter().sum();
    let soft = if radius <= 8 { 1.0 } else { 2.0 };
    // So many standard deviations that the Gaussian has as many pixels.
    let truncate = soft / alias_sigma;
    gaussian(
        &mut kernel,
        [side, side, 1],
        [alias_sigma; 2],
        truncate,
        Edge::Mirror,
    );
    let taps: Vec<(i64, i64, f32)> = kernel
        .iter()
        .enumerate()
        .filter(|(_, weight)| **weight > 1e-8)
        .map(|(index, weight)| {
            let (x, y) = (index % side, index / side);
            let offset = |place: usize| place as i64 - i64::from(reach);
            (offset(x), offset(y), weight / sum)
        })
        .collect();
    convolve(picture, &taps, Edge::Mirror);
}

/// Sums the picture over offsets with their weights.
fn convolve(picture: &mut Encoded, taps: &[(i64, i64, f32)], edge: Edge) {
    let (width, height) = (picture.width, picture.height);
    let reach = taps.iter().map(|(x, ..)| x.unsigned_abs() as usize).max();
    let reach = reach.unwrap_or(0);
    let wide = 3 * (width + 2 * reach);
    let mut padded = Vec::with_capacity(wide * height);
    for line in picture.values.chunks_exact(3 * width) {
        for index in 0..width + 2 * reach {
            let from = 3 * edge.place(index as i64 - reach as i64, width);
            padded.extend_from_slice(&line[from..from + 3]);
        }
    }
    for (y, to) in picture.values.chunks_exact_mut(3 * width).enumerate() {
        to.fill(0.0);
        for (dx, dy, weight) in taps {
            let row = edge.place(y as i64 + dy, height);
            let start = row * wide + 3 * (reach as i64 + dx) as usize;
            for (to, from) in to.iter_mut().zip(&padded[start..start + 3 * width]) {
                *to += weight * from;
            }
        }
    }
}

/// Blurs, gives each pixel the colour of a random one near by, and blurs again. The paper
/// speaks of swapping; the program that published figures come from copies.
pub(super) fn glass_blur(
    picture: &mut Encoded,
    sigma: f64,
    reach: usize,
    rounds: usize,
    generator: &mut Generator,
) {
    gaussian_blur(picture, sigma);
    for value in &mut picture.values {
        *value = (value.clamp(0.0, 1.0) * 255.0 + 1e-4).floor() / 255.0;
    }
    let (width, height) = (picture.width, picture.height);
    let span = 2 * reach as u32;
    for _ in 0..rounds {
        // From below and from the right, so that a colour can travel on.
        for y in (reach + 1..=height.saturating_sub(reach)).rev() {
            for x in (reach + 1..=width.saturating_sub(reach)).rev() {
                let mut near =
                    |place: usize| place + generator.random_range(0..span) as usize - reach;
                let (from_x, from_y) = (near(x), near(y));
                let from = 3 * (from_y * width + from_x);
                picture
                    .values
                    .copy_within(from..from + 3, 3 * (y * width + x));
            }
        }
    }
    gaussian_blur(picture, sigma);
}

pub(super) fn motion_blur(
    picture: &mut Encoded,
    radius: usize,
    sigma: f64,
    generator: &mut Generator,
) {
    let angle_deg = generator.random_range(-45.0..45.0);
    let [width, height] = [picture.width, picture.height];
    let taps = motion_taps([width, height], radius, sigma, angle_deg);
    convolve(picture, &taps, Edge::Nearest);
}

/// The same for a single plane.
pub(super) fn motion_blur_plane(plane: &mut Plane, radius: usize, sigma: f64, angle_deg: f64) {
    let taps = motion_taps([plane.width, plane.height], radius, sigma, angle_deg);
    let mut picture = Encoded {
        width: plane.width,
        height: plane.height,
        values: plane.values.iter().flat_map(|value| [*value; 3]).collect(),
    };
    convolve(&mut picture, &taps, Edge::Nearest);
    plane.values = picture
        .values
        .chunks_exact(3)
        .map(|pixel| pixel[0])
        .collect();
}

/// A line to one side in whole pixels, whose weights are half a Gaussian.
fn motion_taps(
    [width, height]: [usize; 2],
    radius: usize,
    sigma: f64,
    angle_deg: f64,
) -> Vec<(i64, i64, f32)> {
    let count = 2 * radius + 1;
    let weight = |place: usize| (-0.5 * (place as f64 / sigma).powi(2)).exp();
    let sum: f64 = (0..count).map(weight).sum();
    let (sin, cos) = angle_deg.to_radians().sin_cos();
    (0..count)
        .map(|place| {
            let step = |along: f64| -((place as f64 * along - 0.5).ceil() as i64);
            // What the picture is shifted by is where a pixel comes from, reversed.
            (-step(cos), -step(sin), (weight(place) / sum) as f32)
        })
        .take_while(|(x, y, _)| {
            (x.unsigned_abs() as usize) < width && (y.unsigned_abs() as usize) < height
        })
        .collect()
}

/// The mean of the picture and `count` enlargements of it by `step` each.
pub(super) fn zoom_blur(picture: &mut Encoded, count: usize, step: f64) {
    let mut sum = picture.values.clone();
    for index in 0..count {
        let layer = zoomed(picture, 1.0 + step * index as f64);
        for (sum, value) in sum.iter_mut().zip(&layer.values) {
            *sum += value;
        }
    }
    for value in &mut sum {
        *value /= (count + 1) as f32;
    }
    picture.values = sum;
}

/// The upper left part of the middle of the picture, enlarged by `factor`, of the size of the
/// picture. Where rounding leaves it smaller, zeros follow.
fn zoomed(picture: &Encoded, factor: f64) -> Encoded {
    let mut out = picture.clone();
    let [rows, columns] = [picture.height, picture.width].map(|side| Zoom::new(side, factor));
    for (y, line) in out.values.chunks_exact_mut(3 * picture.width).enumerate() {
        for (x, pixel) in line.chunks_exact_mut(3).enumerate() {
            let (Some((top, below, v)), Some((left, right, u))) = (rows.of(y), columns.of(x))
            else {
                pixel.fill(0.0);
                continue;
            };
            for (channel, value) in pixel.iter_mut().enumerate() {
                let at = |x: usize, y: usize| picture.values[3 * (y * picture.width + x) + channel];
                let above = at(left, top) + u * (at(right, top) - at(left, top));
                let lower = at(left, below) + u * (at(right, below) - at(left, below));
                *value = above + v * (lower - above);
            }
        }
    }
    out
}

/// The same for a single plane.
pub(super) fn zoomed_plane(plane: &Plane, factor: f64) -> Plane {
    let picture = Encoded {
        width: plane.width,
        height: plane.height,
        values: plane.values.iter().flat_map(|value| [*value; 3]).collect(),
    };
    let values = zoomed(&picture, factor).values;
    Plane {
        values: values.chunks_exact(3).map(|pixel| pixel[0]).collect(),
        ..*plane
    }
}

/// One axis of an enlargement: the first and last pixels of the part that is enlarged are the
/// first and last of the result.
struct Zoom {
    start: usize,
    part: usize,
    size: usize,
}

impl Zoom {
    fn new(side: usize, factor: f64) -> Self {
        let part = ((side as f64 / factor).ceil() as usize).clamp(1, side);
        Zoom {
            start: (side - part) / 2,
            part,
            size: (part as f64 * factor).round() as usize,
        }
    }

    /// The two places that one of the result lies between, and how near to the second.
    fn of(&self, place: usize) -> Option<(usize, usize, f32)> {
        if place >= self.size {
            return None;
        }
        let last = self.part - 1;
        let from = if self.size > 1 {
            place as f64 * last as f64 / (self.size - 1) as f64
        } else {
            0.0
        };
        let low = (from as usize).min(last);
        let high = (low + 1).min(last);
        Some((
            self.start + low,
            self.start + high,
            (from - low as f64) as f32,
        ))
    }
}

/// A smooth random shift of each pixel.
pub(super) fn elastic(picture: &mut Encoded, strength: f32, generator: &mut Generator) {
    let [width, height] = [picture.width, picture.height];
    let largest = height as f32 * 0.005;
    let sigma = [0.01 * width as f64, 0.01 * height as f64];
    let mut shifts = || {
        let draw = |_| generator.random_range(-1.0..1.0_f32) * largest;
        let mut shifts: Vec<f32> = (0..width * height).map(draw).collect();
        gaussian(&mut shifts, [width, height, 1], sigma, 3.0, Edge::Reflect);
        shifts
    };
    let (across, down) = (shifts(), shifts());
    let source = picture.clone();
    for (index, pixel) in picture.values.chunks_exact_mut(3).enumerate() {
        let x = (index % width) as f32 + across[index] * strength;
        let y = (index / width) as f32 + down[index] * strength;
        let (left, top) = (x.floor(), y.floor());
        let (u, v) = (x - left, y - top);
        for (channel, value) in pixel.iter_mut().enumerate() {
            let at = |dx: i64, dy: i64| {
                let x = Edge::Reflect.place(left as i64 + dx, width);
                let y = Edge::Reflect.place(top as i64 + dy, height);
                source.values[3 * (y * width + x) + channel]
            };
            let above = at(0, 0) + u * (at(1, 0) - at(0, 0));
            let below = at(0, 1) + u * (at(1, 1) - at(0, 1));
            *value = above + v * (below - above);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_go_on_as_they_are_drawn() {
        let of = |edge: Edge| -> Vec<usize> { (-3..6).map(|place| edge.place(place, 3)).collect() };
        assert_eq!(of(Edge::Nearest), [0, 0, 0, 0, 1, 2, 2, 2, 2]);
        assert_eq!(of(Edge::Reflect), [2, 1, 0, 0, 1, 2, 2, 1, 0]);
        assert_eq!(of(Edge::Mirror), [1, 2, 1, 0, 1, 2, 1, 0, 1]);
        assert_eq!(Edge::Mirror.place(-5, 1), 0);
    }

    #[test]
    fn an_even_picture_stays_even() {
        let even = Encoded {
            width: 23,
            height: 17,
            values: vec![0.4; 3 * 23 * 17],
        };
        let close = |picture: &Encoded| {
            picture
                .values
                .iter()
                .all(|value| (value - 0.4).abs() < 1e-4)
        };
        let mut blurred = even.clone();
        gaussian_blur(&mut blurred, 3.0);
        assert!(close(&blurred));
        defocus_blur(&mut blurred, 6, 0.5);
        assert!(close(&blurred));
        let mut generator = crate::seed::SeedKey::new(b"test", 0).generator("blur", 0);
        motion_blur(&mut blurred, 10, 3.0, &mut generator);
        elastic(&mut blurred, 30.0, &mut generator);
        assert!(close(&blurred));
    }

    /// The spread of a point is that of the Gaussian.
    #[test]
    fn a_gaussian_has_its_standard_deviation() {
        let mut values = vec![0.0; 101 * 101];
        values[50 * 101 + 50] = 1.0;
        gaussian(&mut values, [101, 101, 1], [3.0, 5.0], 4.0, Edge::Nearest);
        let spread = |axis: fn(usize) -> f64| -> f64 {
            let squares = values.iter().enumerate();
            squares
                .map(|(index, value)| f64::from(*value) * (axis(index) - 50.0).powi(2))
                .sum()
        };
        assert!((spread(|index| (index % 101) as f64).sqrt() - 3.0).abs() < 0.02);
        assert!((spread(|index| (index / 101) as f64).sqrt() - 5.0).abs() < 0.02);
    }
}
