//! Defocus: blur by an even disc.

use crate::augment::blur;
use crate::augment::photometric::Linear;
use crate::augment::wide::wide;

/// Below, the shares of single pixels matter, and there are few enough to take each.
const DIRECT_PX: f64 = 3.0;

/// Blurs by a disc of `radius_px`, `0..=32`; beyond the border the image goes on as at the
/// border.
///
/// Each row of the disc is a difference of two running sums along the row, interpolated where
/// its ends lie within pixels, so that the cost grows with the radius and not with its square.
pub(in crate::augment) fn defocus(image: &Linear, radius_px: f64) -> Linear {
    let halves = half_widths(radius_px);
    let reach = halves.len() / 2;
    let (width, height) = (image.width() as usize, image.height() as usize);
    if width == 0 || height == 0 {
        return image.clone();
    }
    if radius_px < DIRECT_PX {
        return blur::convolve(image, &blur::disc(radius_px));
    }
    let area: f64 = 2.0 * halves.iter().sum::<f64>();
    // Two more than the widest row reaches.
    let margin = radius_px.ceil() as usize + 2;
    let sums: Vec<Vec<f32>> = image
        .as_raw()
        .chunks_exact(3 * width)
        .map(|row| running_sums(row, margin))
        .collect();
    let scale = (1.0 / area) as f32;
    let ends: Vec<End> = halves
        .iter()
        .map(|half| End::new(*half, margin, scale))
        .collect();
    let mut blurred = Linear::new(image.width(), image.height());
    for (y, to) in blurred.chunks_exact_mut(3 * width).enumerate() {
        for (row, end) in ends.iter().enumerate() {
            let from = (y + row).saturating_sub(reach).min(height - 1);
            add_row(&sums[from], end, to);
        }
    }
    blurred
}

/// Where a row of the disc ends, from the middle of a pixel: places in the running sums and
/// the shares of the two next to it.
struct End {
    right: usize,
    left: usize,
    near: f32,
    far: f32,
}

impl End {
    fn new(half: f64, margin: usize, scale: f32) -> Self {
        let end = half + 0.5;
        let whole = end as usize;
        let rest = (end - whole as f64) as f32;
        End {
            right: 3 * (margin + whole),
            left: 3 * (margin - whole),
            near: (1.0 - rest) * scale,
            far: rest * scale,
        }
    }
}

wide! {
    fn add_row(sums: &[f32], end: &End, to: &mut [f32]) {
        let count = to.len();
        let (right, right_far) = (&sums[end.right..][..count], &sums[end.right + 3..][..count]);
        let (left, left_far) = (&sums[end.left + 3..][..count], &sums[end.left..][..count]);
        for i in 0..count {
            to[i] += end.near * (right[i] - left[i]) + end.far * (right_far[i] - left_far[i]);
        }
    }
}

/// Half the length of each row of a disc, from its upper to its lower one: the mean over the
/// row's height.
fn half_widths(radius_px: f64) -> Vec<f64> {
    const SAMPLES: i32 = 32;
    let reach = (radius_px + 0.5).floor() as i32;
    (-reach..=reach)
        .map(|row| {
            let samples = (0..SAMPLES).map(|sample| {
                let y = f64::from(row) + (f64::from(sample) + 0.5) / f64::from(SAMPLES) - 0.5;
                (radius_px * radius_px - y * y).max(0.0).sqrt()
            });
            samples.sum::<f64>() / f64::from(SAMPLES)
        })
        .collect()
}

/// `3 * i + channel` holds the sum of the pixels before the one at `i - margin`, with the first
/// and the last pixel repeated beyond the border.
fn running_sums(row: &[f32], margin: usize) -> Vec<f32> {
    let width = row.len() / 3;
    let mut sums = Vec::with_capacity(row.len() + 6 * margin + 3);
    let mut sum = [0.0_f64; 3];
    for i in 0..width + 2 * margin {
        let pixel = 3 * i.saturating_sub(margin).min(width - 1);
        for channel in 0..3 {
            sums.push(sum[channel] as f32);
            sum[channel] += f64::from(row[pixel + channel]);
        }
    }
    sums.extend(sum.map(|sum| sum as f32));
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn it_is_the_convolution_with_a_disc() {
        let image = Linear::from_fn(70, 50, |x, y| {
            Rgb([
                (x * 7 % 13) as f32 / 13.0,
                (y % 5) as f32 / 5.0,
                (x * y % 17) as f32 / 17.0,
            ])
        });
        for radius in [0.7, 2.5, 3.0, 6.0, 11.3] {
            let exact = blur::convolve(&image, &blur::disc(radius));
            let fast = defocus(&image, radius);
            let off = exact
                .iter()
                .zip(fast.iter())
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(off < 0.02, "{radius}: {off}");
        }
        assert_eq!(defocus(&image, 0.0), image);
    }

    #[test]
    fn an_even_picture_stays_even_at_any_size() {
        for (width, height) in [(1, 1), (3, 50), (640, 2)] {
            let image = Linear::from_pixel(width, height, Rgb([0.3, 3.0, 30.0]));
            for radius in [0.1, 0.5, 5.0, 32.0] {
                for pixel in defocus(&image, radius).pixels() {
                    for (value, wanted) in pixel.0.iter().zip([0.3, 3.0, 30.0]) {
                        assert!((value / wanted - 1.0).abs() < 1e-3, "{radius}: {value}");
                    }
                }
            }
        }
    }
}
