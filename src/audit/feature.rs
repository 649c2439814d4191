//! What is measured of an image and of its boxes.

use std::f64::consts::PI;

use fast_image_resize::images::Image;
use fast_image_resize::{PixelType, Resizer};
use image::RgbImage;
use rayon::prelude::*;

use super::side::Side;
use crate::annotation::{Annotation, BoundingBox};
use crate::dataset::{Dataset, DatasetError, Sample, read_image};
use crate::observer::Observer;

/// The longer side that images are brought to, in pixels, where none is smaller.
const LARGEST_SIDE_PX: u32 = 640;

/// Least common side, in pixels: below it the finest details of an image are its content.
const SMALLEST_SIDE_PX: u32 = 32;

/// A pixel is an edge where the grey value changes by more than this, in grey levels a pixel.
const EDGE_LEVELS: f32 = 12.0;

/// A number that is measured, and the words for its differences.
#[derive(Debug, PartialEq, serde::Serialize)]
pub struct Feature {
    /// Name in files.
    pub key: &'static str,
    pub name: &'static str,
    pub unit: &'static str,
    /// How it is computed.
    pub definition: &'static str,
    /// Decimals that it is compared and printed with: a smaller difference is none.
    #[serde(skip)]
    pub decimals: usize,
    /// What the images do that are `higher` or `lower`: "are", "have".
    #[serde(skip)]
    pub verb: &'static str,
    #[serde(skip)]
    pub higher: &'static str,
    #[serde(skip)]
    pub lower: &'static str,
}

impl Feature {
    /// A value with the decimals that count.
    pub(super) fn rounded(&self, value: f64) -> f64 {
        let parts = 10f64.powi(self.decimals as i32);
        (value * parts).round() / parts
    }
}

/// How many features an image's pixels have.
pub(super) const PIXEL_COUNT: usize = 8;

/// How many features a box has.
pub(super) const BOX_COUNT: usize = 5;

/// Measured on an image's pixels, in the order of [`ImageMeasures::pixels`].
pub(super) static PIXEL_FEATURES: [Feature; PIXEL_COUNT] = [
    Feature {
        key: "brightness",
        name: "brightness",
        unit: "grey levels",
        definition: "mean grey, 0.299 R + 0.587 G + 0.114 B of the sRGB values 0 to 255 (ITU-R BT.601)",
        decimals: 1,
        verb: "are",
        higher: "brighter",
        lower: "darker",
    },
    Feature {
        key: "contrast",
        name: "contrast",
        unit: "grey levels",
        definition: "standard deviation of grey",
        decimals: 1,
        verb: "have",
        higher: "more contrast",
        lower: "less contrast",
    },
    Feature {
        key: "saturation",
        name: "saturation",
        unit: "%",
        definition: "mean saturation of HSV, (max - min) / max of a pixel's channels; 0 for black",
        decimals: 1,
        verb: "are",
        higher: "more saturated",
        lower: "less saturated",
    },
    Feature {
        key: "red_cast",
        name: "red cast",
        unit: "grey levels",
        definition: "mean red minus mean grey",
        decimals: 1,
        verb: "are",
        higher: "redder",
        lower: "less red",
    },
    Feature {
        key: "blue_cast",
        name: "blue cast",
        unit: "grey levels",
        definition: "mean blue minus mean grey",
        decimals: 1,
        verb: "are",
        higher: "bluer",
        lower: "less blue",
    },
    Feature {
        key: "sharpness",
        name: "sharpness",
        unit: "grey levels",
        definition: "standard deviation of the Laplacian of grey with four neighbours (its square: Pech-Pacheco et al. 2000)",
        decimals: 1,
        verb: "are",
        higher: "sharper",
        lower: "blurrier",
    },
    Feature {
        key: "noise",
        name: "noise",
        unit: "grey levels",
        definition: "standard deviation of the noise of grey by Immerkaer's mask (1996), where there are no edges",
        decimals: 2,
        verb: "have",
        higher: "more noise",
        lower: "less noise",
    },
    Feature {
        key: "edge_density",
        name: "edge density",
        unit: "% of pixels",
        definition: "share of pixels where the gradient of grey (Sobel) is above 12 grey levels a pixel",
        decimals: 1,
        verb: "have",
        higher: "more edges",
        lower: "fewer edges",
    },
];

/// The number of boxes of an image.
pub(super) static COUNT_FEATURE: Feature = Feature {
    key: "object_count",
    name: "objects an image",
    unit: "boxes",
    definition: "number of boxes of an image",
    decimals: 0,
    verb: "have",
    higher: "more objects",
    lower: "fewer objects",
};

/// Measured on every box, in the order of [`ImageMeasures::boxes`].
pub(super) static BOX_FEATURES: [Feature; BOX_COUNT] = [
    Feature {
        key: "object_size",
        name: "object size",
        unit: "% of the longer side",
        definition: "longer side of a box over the longer side of its image",
        decimals: 1,
        verb: "have",
        higher: "larger objects",
        lower: "smaller objects",
    },
    Feature {
        key: "centre_x",
        name: "object position, x",
        unit: "% of the width",
        definition: "centre of a box from the left edge",
        decimals: 0,
        verb: "have",
        higher: "objects further right",
        lower: "objects further left",
    },
    Feature {
        key: "centre_y",
        name: "object position, y",
        unit: "% of the height",
        definition: "centre of a box from the top edge",
        decimals: 0,
        verb: "have",
        higher: "objects further down",
        lower: "objects further up",
    },
    Feature {
        key: "aspect",
        name: "box aspect",
        unit: "width / height",
        definition: "width of a box over its height",
        decimals: 2,
        verb: "have",
        higher: "wider boxes",
        lower: "narrower boxes",
    },
    Feature {
        key: "overlap",
        name: "box overlap",
        unit: "IoU",
        definition: "greatest intersection over union of a box with another box of its image; 0 where none touches it",
        decimals: 2,
        verb: "have",
        higher: "boxes that overlap more",
        lower: "boxes that overlap less",
    },
];

/// What was measured of one image.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ImageMeasures {
    /// In the order and units of [`PIXEL_FEATURES`].
    pub pixels: [f64; PIXEL_COUNT],
    pub mean_rgb: [f64; 3],
    /// One entry a box, in the order and units of [`BOX_FEATURES`].
    pub boxes: Vec<[f64; BOX_COUNT]>,
}

/// The longer side that images of both data sets are brought to, in pixels: 640, or less
/// where a tenth or more of either data set is smaller, since an enlarged image has no fine
/// detail to compare.
pub(super) fn common_side_px(sets: [&Dataset; 2]) -> u32 {
    let small = sets.map(|dataset| {
        let longer = |sample: &Sample| sample.width.max(sample.height);
        let mut sides: Vec<u32> = dataset.samples.iter().map(longer).collect();
        sides.sort_unstable();
        sides.get(sides.len() / 10).copied()
    });
    let smallest = small.into_iter().flatten().min();
    smallest
        .unwrap_or(LARGEST_SIDE_PX)
        .clamp(SMALLEST_SIDE_PX, LARGEST_SIDE_PX)
}

/// Measures every image of a side, in the order of its samples.
///
/// # Errors
/// An image that cannot be read or decoded.
pub(super) fn measure_all(
    side: &Side,
    side_px: u32,
    stage: &str,
    observer: &dyn Observer,
) -> Result<Vec<ImageMeasures>, DatasetError> {
    let samples = &side.dataset().samples;
    observer.begin(stage, samples.len() as u64, 0);
    let measures = samples
        .par_iter()
        .map(|sample| {
            let measured = measure(sample, side_px);
            observer.advance(1);
            measured
        })
        .collect();
    observer.end();
    measures
}

fn measure(sample: &Sample, side_px: u32) -> Result<ImageMeasures, DatasetError> {
    let fail = |message: String| DatasetError::Image {
        path: sample.path.clone(),
        message,
    };
    let image = resized(read_image(&sample.path)?, side_px).map_err(fail)?;
    let (pixels, mean_rgb) = measure_pixels(&image);
    Ok(ImageMeasures {
        pixels,
        mean_rgb,
        boxes: measure_boxes(&sample.annotations, sample.width, sample.height),
    })
}

/// The image with a longer side of `side_px`, by Lanczos' filter.
fn resized(image: RgbImage, side_px: u32) -> Result<RgbImage, String> {
    let (width, height) = image.dimensions();
    let longer = width.max(height);
    if longer == side_px || longer == 0 {
        return Ok(image);
    }
    let scaled = |side: u32| {
        let length = f64::from(side) * f64::from(side_px) / f64::from(longer);
        (length.round() as u32).max(1)
    };
    let source = Image::from_vec_u8(width, height, image.into_raw(), PixelType::U8x3)
        .map_err(|error| error.to_string())?;
    let mut target = Image::new(scaled(width), scaled(height), PixelType::U8x3);
    Resizer::new()
        .resize(&source, &mut target, None)
        .map_err(|error| error.to_string())?;
    let (width, height) = (target.width(), target.height());
    Ok(
        RgbImage::from_raw(width, height, target.into_vec())
            .expect("there are three bytes a pixel"),
    )
}

/// The features of an image's pixels, and its mean red, green and blue.
fn measure_pixels(image: &RgbImage) -> ([f64; PIXEL_COUNT], [f64; 3]) {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let count = ((width * height) as f64).max(1.0);
    let mut sum = [0.0; 3];
    let mut saturation = 0.0;
    let mut grey = Vec::with_capacity(width * height);
    for pixel in image.pixels() {
        let [red, green, blue] = pixel.0.map(f32::from);
        for (total, value) in sum.iter_mut().zip(pixel.0) {
            *total += f64::from(value);
        }
        let (low, high) = (red.min(green).min(blue), red.max(green).max(blue));
        saturation += f64::from((high - low) / high.max(1.0));
        grey.push(0.299 * red + 0.587 * green + 0.114 * blue);
    }
    let mean_rgb = sum.map(|total| total / count);
    let (mean, deviation) = mean_and_deviation(&grey);
    let detail = Detail::of(&grey, width, height);
    let pixels = [
        mean,
        deviation,
        100.0 * saturation / count,
        mean_rgb[0] - mean,
        mean_rgb[2] - mean,
        detail.laplacian_deviation,
        detail.noise,
        detail.edge_percent,
    ];
    (pixels, mean_rgb)
}

fn mean_and_deviation(values: &[f32]) -> (f64, f64) {
    let count = (values.len() as f64).max(1.0);
    let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
    let squares = values
        .iter()
        .map(|value| (f64::from(*value) - mean).powi(2));
    (mean, (squares.sum::<f64>() / count).sqrt())
}

/// What the 3 x 3 neighbourhoods of an image say; zeros where there are none.
#[derive(Debug, Default)]
struct Detail {
    laplacian_deviation: f64,
    noise: f64,
    edge_percent: f64,
}

impl Detail {
    /// `grey` holds `width * height` values row by row.
    fn of(grey: &[f32], width: usize, height: usize) -> Self {
        if width < 3 || height < 3 {
            return Detail::default();
        }
        let inner = (width - 2) * (height - 2);
        let mut laplacian = Vec::with_capacity(inner);
        let mut response_sum = 0.0;
        let mut edges = 0_usize;
        for y in 1..height - 1 {
            let row = |y: usize| &grey[y * width..(y + 1) * width];
            let (above, here, below) = (row(y - 1), row(y), row(y + 1));
            for x in 1..width - 1 {
                let [nw, n, ne] = [above[x - 1], above[x], above[x + 1]];
                let [w, centre, e] = [here[x - 1], here[x], here[x + 1]];
                let [sw, s, se] = [below[x - 1], below[x], below[x + 1]];
                laplacian.push(n + s + w + e - 4.0 * centre);
                // Sobel's weights add up to eight a pixel of distance.
                let gradient_x = (ne + 2.0 * e + se - nw - 2.0 * w - sw) / 8.0;
                let gradient_y = (sw + 2.0 * s + se - nw - 2.0 * n - ne) / 8.0;
                if gradient_x.hypot(gradient_y) > EDGE_LEVELS {
                    edges += 1;
                } else {
                    let response = nw + ne + sw + se - 2.0 * (n + s + w + e) + 4.0 * centre;
                    response_sum += f64::from(response.abs());
                }
            }
        }
        let smooth = (inner - edges).max(1) as f64;
        Detail {
            laplacian_deviation: mean_and_deviation(&laplacian).1,
            // The mask multiplies the deviation of white noise by 6, the root of the sum of its
            // squared weights; sqrt(2 / pi) is the mean of a standard normal's absolute value.
            // A median would be robust, but JPEG makes most responses zero.
            noise: (PI / 2.0).sqrt() / 6.0 * response_sum / smooth,
            edge_percent: 100.0 * edges as f64 / inner as f64,
        }
    }
}

/// The features of the boxes of an image of `width` x `height` pixels. Crowd regions are no
/// objects and are left out.
fn measure_boxes(annotations: &[Annotation], width: u32, height: u32) -> Vec<[f64; BOX_COUNT]> {
    let (width, height) = (f64::from(width.max(1)), f64::from(height.max(1)));
    let boxes: Vec<BoundingBox> = annotations
        .iter()
        .filter(|annotation| !annotation.is_crowd)
        .map(|annotation| annotation.bbox)
        .collect();
    let measured = |(index, bbox): (usize, &BoundingBox)| {
        let others = boxes
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index);
        let overlap = others.map(|(_, other)| bbox.iou(other)).fold(0.0, f64::max);
        [
            100.0 * bbox.width.max(bbox.height) / width.max(height),
            100.0 * (bbox.x + bbox.width / 2.0) / width,
            100.0 * (bbox.y + bbox.height / 2.0) / height,
            // Readers drop boxes without area; the bound keeps the ratio finite all the same.
            bbox.width.max(1e-3) / bbox.height.max(1e-3),
            overlap,
        ]
    };
    boxes.iter().enumerate().map(measured).collect()
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use rand_distr::{Distribution, Normal};

    use super::*;
    use crate::seed::SeedKey;

    fn value(image: &RgbImage, key: &str) -> f64 {
        let index = PIXEL_FEATURES.iter().position(|f| f.key == key).unwrap();
        measure_pixels(image).0[index]
    }

    fn assert_close(found: f64, expected: f64, tolerance: f64) {
        assert!(
            (found - expected).abs() <= tolerance,
            "{found} is not {expected}"
        );
    }

    #[test]
    fn a_plain_image_has_its_colour_and_no_detail() {
        let image = RgbImage::from_pixel(40, 30, Rgb([200, 0, 0]));
        let (pixels, mean_rgb) = measure_pixels(&image);
        let grey = 0.299 * 200.0;
        let expected = [grey, 0.0, 100.0, 200.0 - grey, -grey, 0.0, 0.0, 0.0];
        for (found, expected) in pixels.into_iter().zip(expected) {
            assert_close(found, expected, 1e-4);
        }
        assert_eq!(mean_rgb, [200.0, 0.0, 0.0]);
        let black = RgbImage::from_pixel(40, 30, Rgb([0; 3]));
        assert_eq!(value(&black, "saturation"), 0.0);
    }

    #[test]
    fn a_step_has_known_contrast_edges_and_sharpness() {
        let step = |height: u8| {
            RgbImage::from_fn(42, 12, move |x, _| {
                Rgb(if x < 21 { [0; 3] } else { [height; 3] })
            })
        };
        assert_close(value(&step(200), "brightness"), 100.0, 1e-3);
        assert_close(value(&step(200), "contrast"), 100.0, 1e-3);
        // Two of the forty inner columns see a gradient of half the step: 100 and 10 levels.
        assert_close(value(&step(200), "edge_density"), 5.0, 1e-9);
        assert_eq!(value(&step(20), "edge_density"), 0.0);
        // The Laplacian is +200 and -200 there and 0 elsewhere.
        assert_close(
            value(&step(200), "sharpness"),
            200.0 * 0.05_f64.sqrt(),
            1e-3,
        );
        let corner = RgbImage::from_fn(42, 42, |x, y| {
            Rgb(if x < 21 && y < 21 { [0; 3] } else { [200; 3] })
        });
        assert_eq!(value(&corner, "noise"), 0.0, "an edge is no noise");
    }

    #[test]
    fn noise_is_measured_beside_edges() {
        let mut generator = SeedKey::new(b"noise", 1).generator("pixels", 0);
        let noise = Normal::new(0.0, 6.0).unwrap();
        let image = RgbImage::from_fn(200, 150, |x, _| {
            let base = if x / 20 % 2 == 0 { 90.0 } else { 150.0 };
            Rgb([(base + noise.sample(&mut generator)) as u8; 3])
        });
        assert_close(value(&image, "noise"), 6.0, 0.6);
    }

    #[test]
    fn boxes_have_known_sizes_places_and_overlaps() {
        let object = |bbox: [f64; 4], is_crowd| Annotation {
            id: 0,
            category_id: 1,
            bbox: bbox.into(),
            area: 0.0,
            is_crowd,
            extra: serde_json::Map::new(),
        };
        let boxes = [
            object([0.0, 0.0, 20.0, 10.0], false),
            object([10.0, 0.0, 20.0, 10.0], false),
            object([80.0, 40.0, 10.0, 10.0], false),
            object([0.0, 0.0, 100.0, 50.0], true),
        ];
        let measured = measure_boxes(&boxes, 100, 50);
        let third = 1.0 / 3.0;
        let expected = [
            [20.0, 10.0, 10.0, 2.0, third],
            [20.0, 20.0, 10.0, 2.0, third],
            [10.0, 85.0, 90.0, 1.0, 0.0],
        ];
        assert_eq!(measured.len(), 3, "a crowd is no object");
        for (found, expected) in measured.iter().flatten().zip(expected.iter().flatten()) {
            assert_close(*found, *expected, 1e-9);
        }
        assert_eq!(measure_boxes(&[], 100, 50), Vec::<[f64; BOX_COUNT]>::new());
    }

    #[test]
    fn the_same_picture_at_two_sizes_measures_alike() {
        let picture = |side: u32| {
            RgbImage::from_fn(side, side / 2, |x, y| {
                let at = |v: u32| f64::from(v) / f64::from(side) * 40.0;
                let wave = 120.0 + 60.0 * at(x).sin() * at(y).cos();
                Rgb([wave as u8, (wave * 0.8) as u8, 90])
            })
        };
        let [small, large] = [256, 1024].map(|side| {
            let image = resized(picture(side), 256).unwrap();
            assert_eq!(image.dimensions(), (256, 128));
            measure_pixels(&image).0
        });
        for (feature, (small, large)) in PIXEL_FEATURES.iter().zip(small.into_iter().zip(large)) {
            let room = 0.05 * small.abs().max(5.0);
            assert!(
                (small - large).abs() < room,
                "{}: {small} {large}",
                feature.key
            );
        }
    }

    #[test]
    fn tiny_images_have_no_detail_and_no_panic() {
        for (width, height) in [(1, 1), (2, 9), (9, 2)] {
            let image = RgbImage::from_fn(width, height, |x, y| Rgb([(x + y) as u8 * 9; 3]));
            assert_eq!(value(&image, "sharpness"), 0.0);
            assert!(value(&image, "brightness").is_finite());
        }
        let wide = RgbImage::from_pixel(900, 1, Rgb([7; 3]));
        assert_eq!(resized(wide, 64).unwrap().dimensions(), (64, 1));
    }
}
