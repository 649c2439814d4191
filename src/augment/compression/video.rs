//! The loss of a video frame that is coded on its own, as in H.264.

use image::{Rgb, RgbImage};

/// Side of a block.
const SIDE: usize = 4;

type Block = [[f32; SIDE]; SIDE];

/// Codes and decodes a picture as an intra frame of H.264 does in its main steps (ITU-T H.264):
/// blocks of 4 x 4 are predicted from their decoded neighbours (mean, rows or columns, whichever
/// is nearest), the rest is transformed and rounded to multiples of `0.625 * 2^(qp / 6)`, colour
/// at half the resolution. `qp` is in `0..=51`. With `deblock`, edges between blocks that are no
/// edges of the picture are smoothed afterwards.
///
/// Entropy coding loses nothing and is left out, as are prediction in other directions and in
/// blocks of 16 x 16, which save bits.
pub(in crate::augment) fn video(image: &RgbImage, qp: f64, deblock: bool) -> RgbImage {
    let (width, height) = (image.width() as usize, image.height() as usize);
    if width == 0 || height == 0 {
        return image.clone();
    }
    let (small_width, small_height) = (width.div_ceil(2), height.div_ceil(2));
    let mut planes = [
        Plane::new(width, height),
        Plane::new(small_width, small_height),
        Plane::new(small_width, small_height),
    ];
    for (x, y, Rgb(rgb)) in image.enumerate_pixels() {
        let (x, y) = (x as usize, y as usize);
        let [r, g, b] = rgb.map(f32::from);
        // BT.601, full range, as JFIF has it too.
        let luma = 0.299 * r + 0.587 * g + 0.114 * b;
        planes[0].values[y * width + x] = luma;
        // A pixel of colour is the mean of those that it stands for, at the border fewer.
        let cover = |place: usize, side: usize| if place / 2 * 2 + 1 < side { 2.0 } else { 1.0 };
        let share = 1.0 / (cover(x, width) * cover(y, height));
        let to = y / 2 * small_width + x / 2;
        planes[1].values[to] += share * (128.0 + 0.564 * (b - luma));
        planes[2].values[to] += share * (128.0 + 0.713 * (r - luma));
    }
    for plane in &mut planes {
        plane.code(qp);
        if deblock {
            plane.deblock(qp);
        }
    }
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let luma = planes[0].values[y as usize * width + x as usize];
        let from = y as usize / 2 * small_width + x as usize / 2;
        let [cb, cr] = [1, 2].map(|plane: usize| planes[plane].values[from] - 128.0);
        let (r, b) = (luma + cr / 0.713, luma + cb / 0.564);
        let g = (luma - 0.299 * r - 0.114 * b) / 0.587;
        Rgb([r, g, b].map(|value| value.round().clamp(0.0, 255.0) as u8))
    })
}

/// One component of the picture, `0..=255`.
struct Plane {
    width: usize,
    height: usize,
    values: Vec<f32>,
}

impl Plane {
    fn new(width: usize, height: usize) -> Self {
        Plane {
            width,
            height,
            values: vec![0.0; width * height],
        }
    }

    /// Replaces the plane by what a decoder makes of it, block by block: a block is predicted
    /// from those above and to the left, which have been decoded.
    fn code(&mut self, qp: f64) {
        let step = (0.625 * (qp / 6.0).exp2()) as f32;
        for top in (0..self.height).step_by(SIDE) {
            for left in (0..self.width).step_by(SIDE) {
                let block = self.block(left, top);
                let prediction = self.prediction(left, top, &block);
                let rest = minus(&block, &prediction);
                // Intra frames round to zero below two thirds of a step.
                let coded = transform(&rest).map(|row| {
                    row.map(|value| {
                        let level = (value.abs() / step + 1.0 / 3.0).floor();
                        value.signum() * level * step
                    })
                });
                let decoded = inverse(&coded);
                for (j, row) in decoded.iter().enumerate() {
                    for (i, value) in row.iter().enumerate() {
                        let (x, y) = (left + i, top + j);
                        if x < self.width && y < self.height {
                            let value = value + prediction[j][i];
                            self.values[y * self.width + x] = value.round().clamp(0.0, 255.0);
                        }
                    }
                }
            }
        }
    }

    /// A block; beyond the border the picture goes on as at the border.
    fn block(&self, left: usize, top: usize) -> Block {
        std::array::from_fn(|j| {
            std::array::from_fn(|i| {
                let x = (left + i).min(self.width - 1);
                let y = (top + j).min(self.height - 1);
                self.values[y * self.width + x]
            })
        })
    }

    fn prediction(&self, left: usize, top: usize, block: &Block) -> Block {
        let above: Option<[f32; SIDE]> = top.checked_sub(1).map(|y| {
            std::array::from_fn(|i| self.values[y * self.width + (left + i).min(self.width - 1)])
        });
        let beside: Option<[f32; SIDE]> = left.checked_sub(1).map(|x| {
            std::array::from_fn(|j| self.values[(top + j).min(self.height - 1) * self.width + x])
        });
        let known = || above.iter().chain(&beside).flatten();
        let mean = if above.is_some() || beside.is_some() {
            known().sum::<f32>() / known().count() as f32
        } else {
            128.0
        };
        let flat = [[mean; SIDE]; SIDE];
        let columns = above.map(|row| [row; SIDE]);
        let rows = beside.map(|column| column.map(|value| [value; SIDE]));
        let distance = |prediction: &Block| -> f32 {
            minus(block, prediction)
                .iter()
                .flatten()
                .map(|v| v.abs())
                .sum()
        };
        [Some(flat), columns, rows]
            .into_iter()
            .flatten()
            .min_by(|a, b| distance(a).total_cmp(&distance(b)))
            .unwrap_or(flat)
    }

    /// The deblocking filter for edges of intra blocks (ITU-T H.264, section 8.7), with its
    /// thresholds by the formulas that their tables follow.
    fn deblock(&mut self, qp: f64) {
        let alpha = (0.8 * ((qp / 6.0).exp2() - 1.0)) as f32;
        let beta = (0.5 * qp - 7.0).max(0.0) as f32;
        let limit = alpha / 8.0 + 1.0;
        let (width, height) = (self.width, self.height);
        // Distance in memory across the edge, and the first place of each edge.
        for edge in (SIDE..width).step_by(SIDE) {
            for y in 0..height {
                self.smooth(y * width + edge, 1, edge + 1 < width, [alpha, beta, limit]);
            }
        }
        for edge in (SIDE..height).step_by(SIDE) {
            for x in 0..width {
                self.smooth(
                    edge * width + x,
                    width,
                    edge + 1 < height,
                    [alpha, beta, limit],
                );
            }
        }
    }

    fn smooth(&mut self, place: usize, across: usize, has_next: bool, limits: [f32; 3]) {
        let [alpha, beta, limit] = limits;
        let values = &self.values;
        let [p1, p0, q0] = [place - 2 * across, place - across, place].map(|at| values[at]);
        let q1 = if has_next { values[place + across] } else { q0 };
        if (p0 - q0).abs() < alpha && (p1 - p0).abs() < beta && (q1 - q0).abs() < beta {
            let change = (((q0 - p0) * 4.0 + (p1 - q1)) / 8.0).clamp(-limit, limit);
            self.values[place - across] = (p0 + change).clamp(0.0, 255.0);
            self.values[place] = (q0 - change).clamp(0.0, 255.0);
        }
    }
}

fn minus(a: &Block, b: &Block) -> Block {
    std::array::from_fn(|j| std::array::from_fn(|i| a[j][i] - b[j][i]))
}

/// Rows of the orthonormal cosine transform of four values, which H.264's whole-number
/// transform with its scaling stands for.
const COSINES: Block = [
    [0.5, 0.5, 0.5, 0.5],
    [0.653_281_5, 0.270_598_05, -0.270_598_05, -0.653_281_5],
    [0.5, -0.5, -0.5, 0.5],
    [0.270_598_05, -0.653_281_5, 0.653_281_5, -0.270_598_05],
];

fn transform(block: &Block) -> Block {
    let rows: Block = std::array::from_fn(|j| {
        std::array::from_fn(|u| (0..SIDE).map(|i| COSINES[u][i] * block[j][i]).sum())
    });
    std::array::from_fn(|v| {
        std::array::from_fn(|u| (0..SIDE).map(|j| COSINES[v][j] * rows[j][u]).sum())
    })
}

fn inverse(coded: &Block) -> Block {
    let columns: Block = std::array::from_fn(|j| {
        std::array::from_fn(|u| (0..SIDE).map(|v| COSINES[v][j] * coded[v][u]).sum())
    });
    std::array::from_fn(|j| {
        std::array::from_fn(|i| (0..SIDE).map(|u| COSINES[u][i] * columns[j][u]).sum())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> RgbImage {
        RgbImage::from_fn(62, 45, |x, y| {
            let wave = (f64::from(x) / 9.0).sin() * 60.0 + (f64::from(y) / 7.0).cos() * 40.0;
            Rgb([(128.0 + wave) as u8, (120.0 - wave) as u8, (2 * y) as u8])
        })
    }

    fn psnr(a: &RgbImage, b: &RgbImage) -> f64 {
        let squares: f64 = a
            .iter()
            .zip(b.iter())
            .map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2))
            .sum();
        10.0 * (255.0 * 255.0 / (squares / a.len() as f64).max(1e-9)).log10()
    }

    #[test]
    fn a_coarser_step_is_farther_from_the_picture() {
        let image = picture();
        let mut last = f64::INFINITY;
        for qp in [0.0, 20.0, 32.0, 44.0, 51.0] {
            let now = psnr(&image, &video(&image, qp, false));
            assert!(now < last, "qp {qp}: {now} dB after {last}");
            last = now;
        }
        assert!(psnr(&image, &video(&image, 0.0, false)) > 36.0);
        assert!(last < 30.0, "{last}");
    }

    #[test]
    fn the_transform_has_an_inverse_and_keeps_lengths() {
        let block: Block =
            std::array::from_fn(|j| std::array::from_fn(|i| (7 * i + 3 * j * j) as f32));
        let there = transform(&block);
        let length = |block: &Block| block.iter().flatten().map(|v| v * v).sum::<f32>();
        assert!((length(&there) / length(&block) - 1.0).abs() < 1e-5);
        let off = minus(&inverse(&there), &block);
        assert!(off.iter().flatten().all(|value| value.abs() < 1e-3));
    }

    /// A slow ramp at a coarse step turns into stairs; smoothing makes its steps smaller.
    #[test]
    fn deblocking_smooths_edges_between_blocks() {
        let ramp = RgbImage::from_fn(128, 32, |x, _| Rgb([60 + x as u8; 3]));
        let largest = |image: &RgbImage| {
            (1..128)
                .map(|x| image.get_pixel(x, 16)[0].abs_diff(image.get_pixel(x - 1, 16)[0]))
                .max()
        };
        let (plain, smooth) = (video(&ramp, 40.0, false), video(&ramp, 40.0, true));
        assert!(
            largest(&plain) > largest(&smooth),
            "{:?} {:?}",
            largest(&plain),
            largest(&smooth)
        );
        for size in [(1, 1), (1, 9), (5, 3)] {
            let image = RgbImage::from_pixel(size.0, size.1, Rgb([200, 20, 90]));
            assert_eq!(video(&image, 30.0, true).dimensions(), size);
        }
    }
}
