//! Lens and motion: point spread functions and their convolution in linear light.

use super::photometric::Linear;
use super::wide::wide;

/// Weights of a point spread function: offset in pixels, weight; weights sum to 1.
pub(super) type Psf = Vec<((i64, i64), f32)>;

/// Defocus: a disc, with partly covered pixels weighted by their coverage.
pub(super) fn disc(radius_px: f64) -> Psf {
    rasterised(radius_px.ceil() as i64, |x, y| x.hypot(y) <= radius_px)
}

/// Even motion: a line of one pixel's width through the centre; the angle is from the
/// x axis towards the y axis, which points down. A length of up to 1 moves nothing.
pub(super) fn line(length_px: f64, angle_deg: f64) -> Psf {
    if length_px <= 1.0 {
        return vec![((0, 0), 1.0)];
    }
    let (sin, cos) = angle_deg.to_radians().sin_cos();
    let half = length_px / 2.0;
    rasterised(half.ceil() as i64 + 1, |x, y| {
        (x * cos + y * sin).abs() <= half && (y * cos - x * sin).abs() <= 0.5
    })
}

/// Each pixel's share of a shape, from 16 x 16 samples; empty shapes are the identity.
fn rasterised(reach: i64, inside: impl Fn(f64, f64) -> bool) -> Psf {
    const SAMPLES: i32 = 16;
    let place = |cell: i64, i: i32| cell as f64 + (f64::from(i) + 0.5) / f64::from(SAMPLES) - 0.5;
    let mut psf = Psf::new();
    for y in -reach..=reach {
        for x in -reach..=reach {
            let covered = (0..SAMPLES * SAMPLES)
                .filter(|i| inside(place(x, i % SAMPLES), place(y, i / SAMPLES)))
                .count();
            if covered > 0 {
                psf.push(((x, y), covered as f32));
            }
        }
    }
    if psf.is_empty() {
        return vec![((0, 0), 1.0)];
    }
    let sum: f32 = psf.iter().map(|(_, weight)| weight).sum();
    for (_, weight) in &mut psf {
        *weight /= sum;
    }
    psf
}

/// Convolves; beyond the border the image goes on as at the border.
pub(super) fn convolve(image: &Linear, psf: &Psf) -> Linear {
    if let [((0, 0), _)] = psf[..] {
        return image.clone();
    }
    let (width, height) = (image.width() as usize, image.height() as usize);
    let reach = psf.iter().map(|((x, y), _)| x.abs().max(y.abs())).max();
    let reach = reach.unwrap_or(0) as usize;
    let padded = padded(image, reach);
    let stride = 3 * (width + 2 * reach);
    let taps: Vec<(usize, f32)> = psf
        .iter()
        .map(|((dx, dy), weight)| {
            let row = (reach as i64 + dy) as usize;
            (row * stride + 3 * (reach as i64 + dx) as usize, *weight)
        })
        .collect();
    let mut blurred = Linear::new(image.width(), image.height());
    for (y, to) in blurred.chunks_exact_mut(3 * width).enumerate().take(height) {
        weighted_sums(&padded[y * stride..], &taps, to);
    }
    blurred
}

wide! {
    /// `to[i]` becomes the sum of `weight * from[offset + i]` over the taps, in their order.
    pub(super) fn weighted_sums(from: &[f32], taps: &[(usize, f32)], to: &mut [f32]) {
        // As many sums at once as registers hold: memory is read once a tap and written once.
        const BLOCK: usize = 64;
        let (blocks, rest) = to.as_chunks_mut::<BLOCK>();
        let done = BLOCK * blocks.len();
        for (index, block) in blocks.iter_mut().enumerate() {
            let mut sums = [0.0_f32; BLOCK];
            for (offset, weight) in taps {
                let from = &from[offset + BLOCK * index..][..BLOCK];
                for (sum, value) in sums.iter_mut().zip(from) {
                    *sum += weight * value;
                }
            }
            *block = sums;
        }
        for (index, to) in rest.iter_mut().enumerate() {
            let values = taps.iter().map(|(offset, weight)| weight * from[offset + done + index]);
            *to = values.fold(0.0, |sum, value| sum + value);
        }
    }
}

/// The image's values with `reach` more pixels on each side, as at the border.
fn padded(image: &Linear, reach: usize) -> Vec<f32> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let mut values = Vec::with_capacity(3 * (width + 2 * reach) * (height + 2 * reach));
    for y in 0..height + 2 * reach {
        let y = y.saturating_sub(reach).min(height - 1);
        let row = &image.as_raw()[3 * width * y..][..3 * width];
        for _ in 0..reach {
            values.extend_from_slice(&row[..3]);
        }
        values.extend_from_slice(row);
        for _ in 0..reach {
            values.extend_from_slice(&row[3 * width - 3..]);
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn weight(psf: &Psf, place: (i64, i64)) -> f32 {
        let found = psf.iter().find(|(offset, _)| *offset == place);
        found.map_or(0.0, |(_, weight)| *weight)
    }

    #[test]
    fn point_spreads_sum_to_one_and_centre_on_their_pixel() {
        for radius in [0.0, 0.3, 1.0, 2.5, 12.0, 32.0] {
            let disc = disc(radius);
            let sum: f32 = disc.iter().map(|(_, weight)| weight).sum();
            assert!((sum - 1.0).abs() < 1e-4, "disc {radius}: {sum}");
        }
        for (length, angle) in [(0.0, 0.0), (3.0, 0.0), (7.5, 33.0), (64.0, -120.0)] {
            let line = line(length, angle);
            let sum: f32 = line.iter().map(|(_, weight)| weight).sum();
            assert!((sum - 1.0).abs() < 1e-4, "line {length}: {sum}");
            let mean_x: f32 = line.iter().map(|((x, _), w)| *x as f32 * w).sum();
            let mean_y: f32 = line.iter().map(|((_, y), w)| *y as f32 * w).sum();
            assert!(mean_x.abs() < 1e-3 && mean_y.abs() < 1e-3);
        }
    }

    /// A horizontal line of 3 pixels gives each a third; one of 4 pixels reaches half
    /// way into the outer two of five, so 1/4 each for three and 1/8 for those.
    #[test]
    fn a_level_line_spreads_evenly_along_its_length() {
        let three = line(3.0, 0.0);
        assert_eq!(three.len(), 3);
        assert!(
            three
                .iter()
                .all(|(_, weight)| (weight - 1.0 / 3.0).abs() < 1e-6)
        );
        let four = line(4.0, 0.0);
        for (x, expected) in [(-2, 0.125), (-1, 0.25), (0, 0.25), (1, 0.25), (2, 0.125)] {
            assert!((weight(&four, (x, 0)) - expected).abs() < 1e-6);
        }
        let down = line(3.0, 90.0);
        assert!((weight(&down, (0, 1)) - 1.0 / 3.0).abs() < 1e-3);
    }

    /// The variance of a disc of radius r along one axis is r^2 / 4, to which the width
    /// of the pixels adds 1/12.
    #[test]
    fn a_disc_has_the_spread_of_its_radius() {
        for radius in [3.0, 8.0, 20.0] {
            let disc = disc(radius);
            let spread: f64 = disc
                .iter()
                .map(|((x, _), w)| (*x as f64).powi(2) * f64::from(*w))
                .sum();
            let expected = radius * radius / 4.0 + 1.0 / 12.0;
            assert!(
                (spread / expected - 1.0).abs() < 0.02,
                "{radius}: {spread} and {expected}"
            );
        }
    }

    #[test]
    fn convolution_equals_its_definition_at_the_border_too() {
        let image = Linear::from_fn(9, 7, |x, y| {
            Rgb([x as f32, (y * y) as f32, (x * y % 5) as f32])
        });
        let psf = line(5.0, 25.0);
        let blurred = convolve(&image, &psf);
        for (x, y, pixel) in blurred.enumerate_pixels() {
            for channel in 0..3 {
                let exact: f32 = psf
                    .iter()
                    .map(|((dx, dy), weight)| {
                        let from_x = (i64::from(x) + dx).clamp(0, 8) as u32;
                        let from_y = (i64::from(y) + dy).clamp(0, 6) as u32;
                        weight * image.get_pixel(from_x, from_y)[channel]
                    })
                    .sum();
                assert!((pixel[channel] - exact).abs() < 1e-4);
            }
        }
        assert_eq!(convolve(&image, &disc(0.0)), image);
    }
}
