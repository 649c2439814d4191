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
        let rows: Vec<&[f32]> = (0..ends.len())
            .map(|row| sums[(y + row).saturating_sub(reach).min(height - 1)].as_slice())
            .collect();
        add_rows(&rows, &ends, to);
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
    /// Sums the rows of the disc around each pixel of a line.
    fn add_rows(rows: &[&[f32]], ends: &[End], to: &mut [f32]) {
        // As many sums at once as registers hold.
        const BLOCK: usize = 32;
        for (index, block) in to.chunks_mut(BLOCK).enumerate() {
            let mut total = [0.0_f32; BLOCK];
            let count = block.len();
            for (sums, end) in rows.iter().zip(ends) {
                let at = |place: usize| &sums[place + BLOCK * index..][..count];
                let (right, right_far) = (at(end.right), at(end.right + 3));
                let (left, left_far) = (at(end.left + 3), at(end.left));
                for i in 0..count {
                    total[i] +=
                        end.near * (right[i] - left[i]) + end.far * (right_far[i] - left_far[i]);
                }
            }
            block.copy_from_slice(&total[..count]);
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
    let pixels = row.as_chunks::<3>().0;
    let mut sums = vec![0.0; row.len() + 6 * margin + 3];
    let mut sum = [0.0_f64; 3];
    let first = std::iter::repeat_n(&pixels[0], margin);
    let last = std::iter::repeat_n(&pixels[pixels.len() - 1], margin);
    let places = sums.as_chunks_mut::<3>().0.iter_mut();
    for (to, pixel) in places.zip(first.chain(pixels).chain(last)) {
        for channel in 0..3 {
            to[channel] = sum[channel] as f32;
            sum[channel] += f64::from(pixel[channel]);
        }
    }
    sums.as_chunks_mut::<3>().0[pixels.len() + 2 * margin] = sum.map(|sum| sum as f32);
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
