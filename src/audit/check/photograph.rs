//! What is measured of one image: exposure, sharpness, noise, blocks, and what its file says.

use std::sync::LazyLock;

use image::RgbImage;
use rayon::prelude::*;

use super::crops::Corners;
use crate::dataset::{Dataset, FileFacts, Fingerprint, Sample, decode_with_facts};
use crate::observer::Observer;

/// A pixel is at an edge where its grey value changes by more than this, in levels a pixel.
const EDGE_LEVELS: i32 = 12;

/// Side of the blocks that JPEG and most video codecs code, in pixels.
const BLOCK_PX: usize = 8;

/// Reach of the box filter that an image is blurred with once more, in pixels to either side.
const REBLUR_PX: usize = 4;

/// One of so many rows tells whether an image has colour.
const COLOUR_ROWS: usize = 4;

/// Images of which only every so many-th row is read for detail have more pixels than this.
const DENSE_PIXELS: usize = 1 << 21;

/// One image of a data set, as far as the checks need it.
#[derive(Debug)]
pub(super) struct Photograph {
    pub size: (u32, u32),
    pub facts: FileFacts,
    pub measures: Measures,
    pub print: Fingerprint,
    pub corners: Corners,
}

/// Numbers of an image's pixels. Grey is 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measures {
    /// Levels below which 1, 50 and 99 % of the pixels lie.
    pub percentiles: [u8; 3],
    /// Binary logarithm of the mean linear light; 1 EV brighter is 1 more.
    pub exposure_ev: f64,
    /// Share of pixels at the upper end, from level 250 on.
    pub clipped: f64,
    /// Standard deviation of grey, in levels.
    pub contrast: f64,
    /// Difference of the largest and the smallest channel that 99 % of the pixels stay below.
    pub colour: u8,
    /// Natural logarithm of the standard deviation of the Laplacian over the contrast.
    pub log_sharpness: f64,
    /// How little a further blur changes it, 0 to 1: Crete et al., "The blur effect" (2007), with
    /// a box of nine pixels.
    pub blur: f64,
    /// Standard deviation of the noise where there are no edges, in levels: Immerkaer (1996).
    pub noise: f64,
    /// By how much steps at the borders of blocks of 8 pixels exceed those within, in levels.
    pub blocks: f64,
}

/// Reads every image, in the order of the samples; what went wrong where one cannot be.
pub(super) fn read_all(
    dataset: &Dataset,
    observer: &dyn Observer,
) -> Vec<Result<Photograph, String>> {
    observer.begin("audit", dataset.samples.len() as u64, 0);
    let read = |sample: &Sample| {
        let read = Photograph::read(sample);
        observer.advance(1);
        read
    };
    let all = dataset.samples.par_iter().map(read).collect();
    observer.end();
    all
}

impl Photograph {
    fn read(sample: &Sample) -> Result<Self, String> {
        let bytes = std::fs::read(&sample.path).map_err(|error| error.to_string())?;
        let (pixels, facts) =
            decode_with_facts(&bytes, &sample.path).map_err(|error| error.to_string())?;
        let grey = Grey::of(&pixels);
        let measures = grey.measures();
        let picture = grey.into_image();
        Ok(Photograph {
            size: pixels.dimensions(),
            facts,
            measures,
            corners: Corners::of(&picture),
            print: Fingerprint::of_grey(&bytes, picture),
        })
    }
}

/// The linear light of a level (IEC 61966-2-1).
static LINEAR: LazyLock<[f64; 256]> = LazyLock::new(|| {
    std::array::from_fn(|level| {
        let value = level as f64 / 255.0;
        match value <= 0.040_45 {
            true => value / 12.92,
            false => ((value + 0.055) / 1.055).powf(2.4),
        }
    })
});

/// The grey values of an image and its histograms.
struct Grey {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
    levels: [u64; 256],
    colours: [u64; 256],
}

impl Grey {
    fn of(image: &RgbImage) -> Self {
        let (width, height) = (image.width() as usize, image.height() as usize);
        // Weights in 1/256, which add up to 256.
        let level = |&[red, green, blue]: &[u8; 3]| {
            ((77 * u32::from(red) + 150 * u32::from(green) + 29 * u32::from(blue)) >> 8) as u8
        };
        let rgb = image.as_raw().as_chunks::<3>().0;
        let pixels: Vec<u8> = rgb.iter().map(level).collect();
        let spread =
            |&[red, green, blue]: &[u8; 3]| red.max(green).max(blue) - red.min(green).min(blue);
        let rows = rgb.chunks(width.max(1)).step_by(COLOUR_ROWS);
        Grey {
            levels: histogram(pixels.iter().copied()),
            colours: histogram(rows.flat_map(|row| row.iter().map(spread))),
            width,
            height,
            pixels,
        }
    }

    fn into_image(self) -> image::GrayImage {
        let (width, height) = (self.width as u32, self.height as u32);
        image::GrayImage::from_raw(width, height, self.pixels).expect("there is a byte a pixel")
    }

    fn measures(&self) -> Measures {
        let count = self.pixels.len().max(1) as f64;
        let weighted = |weight: &dyn Fn(usize) -> f64| {
            let sum = self.levels.iter().enumerate();
            sum.map(|(level, n)| *n as f64 * weight(level)).sum::<f64>() / count
        };
        let mean = weighted(&|level| level as f64);
        let contrast = weighted(&|level| (level as f64 - mean).powi(2)).sqrt();
        // Half a level of black, so that the logarithm is finite.
        let light = weighted(&|level| LINEAR[level]).max(LINEAR[1] / 2.0);
        let detail = Detail::of(self);
        Measures {
            percentiles: [0.01, 0.5, 0.99].map(|share| percentile(&self.levels, share)),
            exposure_ev: light.log2(),
            clipped: self.levels[250..].iter().sum::<u64>() as f64 / count,
            contrast,
            colour: percentile(&self.colours, 0.99),
            log_sharpness: (detail.laplacian.max(0.01) / contrast.max(1.0)).ln(),
            blur: detail.blur,
            noise: detail.noise,
            blocks: detail.blocks,
        }
    }
}

/// How often each value stands there. Four counts by turns, since neighbours are often equal, and
/// a count that was just written is slow to read.
fn histogram(values: impl Iterator<Item = u8>) -> [u64; 256] {
    let mut counts = [[0_u32; 256]; 4];
    for (place, value) in values.enumerate() {
        counts[place % 4][usize::from(value)] += 1;
    }
    std::array::from_fn(|value| counts.iter().map(|c| u64::from(c[value])).sum())
}

/// The least level that `share` of the counted pixels do not exceed.
fn percentile(levels: &[u64; 256], share: f64) -> u8 {
    let wanted = share * levels.iter().sum::<u64>() as f64;
    let mut sum = 0;
    for (level, count) in levels.iter().enumerate() {
        sum += count;
        if sum as f64 >= wanted {
            return level as u8;
        }
    }
    255
}

/// What neighbouring pixels say; zeros where there are too few.
#[derive(Debug, Default)]
struct Detail {
    laplacian: f64,
    blur: f64,
    noise: f64,
    blocks: f64,
}

/// Sums over rows.
#[derive(Default)]
struct Sums {
    laplacian_squares: u64,
    smooth: u64,
    smooth_pixels: u64,
    inner: u64,
    /// Steps to the right and down, and what is left of them after a blur.
    steps: [u64; 2],
    kept: [u64; 2],
    /// Steps to the right by column and down by row, each modulo the block.
    phases: [[(u64, u64); BLOCK_PX]; 2],
}

impl Detail {
    fn of(grey: &Grey) -> Self {
        let (width, height) = (grey.width, grey.height);
        let margin = REBLUR_PX + 1;
        if width < 2 * margin + 1 || height < 2 * margin + 1 {
            return Detail::default();
        }
        let row = |y: usize| &grey.pixels[y * width..(y + 1) * width];
        let every = (width * height).div_ceil(DENSE_PIXELS).max(1);
        let mut sums = Sums::default();
        // Whole blocks of rows, so that each border between blocks counts as often as the rest.
        for y in (margin..height - margin).filter(|y| (y / BLOCK_PX).is_multiple_of(every)) {
            sums.neighbours([row(y - 1), row(y), row(y + 1)]);
            sums.across(row(y));
            let rows = [row(y - 1), row(y), row(y + REBLUR_PX), row(y - margin)];
            sums.down(rows, y);
        }
        sums.detail()
    }
}

/// Of steps between two rows of pixels and the same after a blur (times nine): nine times the
/// sum, nine times what the blur takes away, and the sum.
fn steps(sharp: [&[u8]; 2], soft: [&[u8]; 2]) -> [u64; 3] {
    // So short that 32 bits hold the sums.
    const RUN: usize = 4096;
    let (mut total, mut kept) = (0_u64, 0_u64);
    let runs = sharp[0].chunks(RUN).zip(sharp[1].chunks(RUN));
    let soft = soft[0].chunks(RUN).zip(soft[1].chunks(RUN));
    for ((a, b), (c, d)) in runs.zip(soft) {
        let (mut sum, mut left) = (0_u32, 0_u32);
        let count = a.len().min(b.len()).min(c.len()).min(d.len());
        let (a, b, c, d) = (&a[..count], &b[..count], &c[..count], &d[..count]);
        for x in 0..count {
            let sharp = 9 * u16::from(a[x].abs_diff(b[x]));
            let soft = u16::from(c[x].abs_diff(d[x]));
            sum += u32::from(sharp);
            left += u32::from(sharp.saturating_sub(soft));
        }
        total += u64::from(sum);
        kept += u64::from(left);
    }
    [total, kept, total / 9]
}

impl Sums {
    /// The Laplacian, and the noise beside edges.
    fn neighbours(&mut self, rows: [&[u8]; 3]) {
        // So short that 32 bits hold the sums: a squared Laplacian is below 2^20.
        const RUN: usize = 2048;
        let inner = rows[0].len() - 2;
        for start in (0..inner).step_by(RUN) {
            let count = RUN.min(inner - start);
            // The nine neighbours of each pixel, as slices of one length.
            let [above, here, below] = rows
                .map(|row| [0, 1, 2].map(|offset| &row[start + offset..start + offset + count]));
            let (mut squares, mut smooth, mut pixels) = (0_u32, 0_u32, 0_u32);
            for x in 0..count {
                let at = |slice: &[u8]| i32::from(slice[x]);
                let (nw, n, ne) = (at(above[0]), at(above[1]), at(above[2]));
                let (w, centre, e) = (at(here[0]), at(here[1]), at(here[2]));
                let (sw, s, se) = (at(below[0]), at(below[1]), at(below[2]));
                let cross = n + s + w + e;
                let corners = nw + ne + sw + se;
                let laplacian = cross - 4 * centre;
                squares += (laplacian * laplacian) as u32;
                // Sobel's weights add up to eight a pixel of distance.
                let across = ne + 2 * e + se - nw - 2 * w - sw;
                let down = sw + 2 * s + se - nw - 2 * n - ne;
                let limit = 8 * EDGE_LEVELS;
                let is_smooth = u32::from(across * across + down * down <= limit * limit);
                let response = (corners - 2 * cross + 4 * centre).unsigned_abs();
                smooth += response * is_smooth;
                pixels += is_smooth;
            }
            self.laplacian_squares += u64::from(squares);
            self.smooth += u64::from(smooth);
            self.smooth_pixels += u64::from(pixels);
        }
        self.inner += inner as u64;
    }

    /// Steps along a row.
    fn across(&mut self, row: &[u8]) {
        let margin = REBLUR_PX + 1;
        let count = row.len() - 2 * REBLUR_PX - 1;
        let slice = |start: usize| &row[start..start + count];
        let sharp = [slice(margin), slice(margin - 1)];
        // The step of the row after a box filter of nine pixels, times nine.
        let soft = [slice(margin + REBLUR_PX), slice(0)];
        let [steps, kept, _] = steps(sharp, soft);
        self.steps[0] += steps;
        self.kept[0] += kept;
        let mut sums = [0_u32; BLOCK_PX];
        let blocks = (row.len() - 1) / BLOCK_PX;
        for block in 0..blocks {
            let start = block * BLOCK_PX;
            let (own, next) = (
                &row[start..start + BLOCK_PX],
                &row[start + 1..start + 1 + BLOCK_PX],
            );
            for (sum, (a, b)) in sums.iter_mut().zip(own.iter().zip(next)) {
                *sum += u32::from(a.abs_diff(*b));
            }
        }
        for (phase, sum) in self.phases[0].iter_mut().zip(sums) {
            phase.0 += u64::from(sum);
            phase.1 += blocks as u64;
        }
    }

    /// Steps from the row above to row `y`, with the rows that a blur brings in.
    fn down(&mut self, [above, here, ahead, behind]: [&[u8]; 4], y: usize) {
        let [steps, kept, plain] = steps([here, above], [ahead, behind]);
        self.steps[1] += steps;
        self.kept[1] += kept;
        // The step to row y is that of phase y - 1, as the step to column x is of x - 1.
        let phase = &mut self.phases[1][(y - 1) % BLOCK_PX];
        phase.0 += plain;
        phase.1 += here.len() as u64;
    }

    fn detail(&self) -> Detail {
        let inner = self.inner.max(1) as f64;
        let smooth = self.smooth_pixels.max(1) as f64;
        let blur = (0..2).map(|axis| match self.steps[axis] {
            0 => 1.0,
            steps => 1.0 - self.kept[axis] as f64 / steps as f64,
        });
        let blocks = self.phases.iter().map(border_excess);
        Detail {
            laplacian: (self.laplacian_squares as f64 / inner).sqrt(),
            // The blurrier direction, as motion blurs one alone.
            blur: blur.fold(0.0, f64::max),
            // The mask multiplies the deviation of white noise by 6; sqrt(2 / pi) is the mean of
            // a standard normal's absolute value.
            noise: (std::f64::consts::PI / 2.0).sqrt() / 6.0 * self.smooth as f64 / smooth,
            blocks: blocks.fold(f64::INFINITY, f64::min),
        }
    }
}

/// By how much the mean step at the borders of blocks exceeds the largest of the others.
fn border_excess(phases: &[(u64, u64); BLOCK_PX]) -> f64 {
    let mean = |(sum, count): &(u64, u64)| *sum as f64 / (*count).max(1) as f64;
    let (border, within) = (&phases[BLOCK_PX - 1], &phases[..BLOCK_PX - 1]);
    mean(border) - within.iter().map(mean).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{Rgb, imageops};
    use rand_distr::{Distribution, Normal};

    use super::*;
    use crate::seed::SeedKey;

    /// Coloured discs on a slope.
    fn picture() -> RgbImage {
        RgbImage::from_fn(256, 192, |x, y| {
            let (cx, cy) = (x as i32 % 48 - 24, y as i32 % 48 - 24);
            let slope = (70 + x / 4 + y / 8) as u8;
            match cx * cx + cy * cy < 200 {
                true => Rgb([slope + 60, slope / 2, 40]),
                false => Rgb([slope, slope + 20, slope]),
            }
        })
    }

    fn measures(image: &RgbImage) -> Measures {
        Grey::of(image).measures()
    }

    #[test]
    fn exposure_is_told_in_ev_and_clipping_as_a_share() {
        let grey = |level: u8| measures(&RgbImage::from_pixel(64, 64, Rgb([level; 3])));
        // Level 188 is half the light of 255 (IEC 61966-2-1: 0.5029).
        assert!((grey(188).exposure_ev + 1.0).abs() < 0.01);
        assert!((grey(255).exposure_ev).abs() < 1e-12 && grey(255).clipped == 1.0);
        assert!(grey(0).exposure_ev.is_finite());
        let half = RgbImage::from_fn(64, 64, |x, _| Rgb([if x < 32 { 20 } else { 240 }; 3]));
        let half = measures(&half);
        assert_eq!((half.percentiles, half.contrast), ([20, 20, 240], 110.0));
        assert_eq!(half.colour, 0);
        assert!(measures(&picture()).colour > 40);
    }

    #[test]
    fn a_blur_lowers_the_detail_and_raises_the_blur() {
        let sharp = measures(&picture());
        for sigma in [1.0, 2.0, 6.0] {
            let blurred = measures(&imageops::blur(&picture(), sigma));
            assert!(blurred.blur > sharp.blur, "{sigma}: {sharp:?} {blurred:?}");
            assert!(
                blurred.log_sharpness < sharp.log_sharpness - 0.3,
                "{sigma}: {blurred:?}"
            );
        }
        // A blur along one axis counts by that axis.
        let along = RgbImage::from_fn(256, 192, |x, y| {
            let sum = (0..9).fold([0_u32; 3], |sum, offset| {
                let pixel = picture().get_pixel((x + offset).min(255), y).0;
                [0, 1, 2].map(|c| sum[c] + u32::from(pixel[c]))
            });
            Rgb(sum.map(|value| (value / 9) as u8))
        });
        assert!(measures(&along).blur > sharp.blur + 0.1);
    }

    #[test]
    fn noise_is_measured_in_levels() {
        let mut generator = SeedKey::new(b"noise", 1).generator("pixels", 0);
        let noise = Normal::new(0.0, 6.0).unwrap();
        let image = RgbImage::from_fn(200, 150, |x, _| {
            let base = if x / 20 % 2 == 0 { 90.0 } else { 150.0 };
            Rgb([(base + noise.sample(&mut generator)) as u8; 3])
        });
        let found = measures(&image).noise;
        assert!((found - 6.0).abs() < 0.6, "{found}");
    }

    #[test]
    fn blocks_of_a_strong_compression_remain_when_it_is_saved_anew() {
        let saved = |quality| {
            let mut bytes = Vec::new();
            let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, quality);
            picture().write_with_encoder(encoder).unwrap();
            let read = image::ImageReader::new(Cursor::new(bytes));
            read.with_guessed_format()
                .unwrap()
                .decode()
                .unwrap()
                .into_rgb8()
        };
        let blocks = [95, 10].map(|quality| measures(&saved(quality)).blocks);
        assert!(blocks[0] < 0.5 && blocks[1] > 1.0, "{blocks:?}");
    }

    #[test]
    fn images_too_small_for_detail_have_none() {
        for (width, height) in [(1, 1), (11, 4), (4, 300), (11, 11), (12, 40)] {
            let image = RgbImage::from_fn(width, height, |x, y| Rgb([(x * y) as u8; 3]));
            let measures = measures(&image);
            assert!(measures.log_sharpness.is_finite() && measures.blur.is_finite());
        }
    }
}
