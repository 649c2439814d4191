//! Concrete transforms and their application to pixels and boxes.

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};
use serde::{Deserialize, Serialize};

use super::photometric::{self, Linear};
use crate::annotation::{Annotation, BoundingBox};

/// The least part of a box that must stay inside the image for it to be kept.
pub const MIN_VISIBLE_FRACTION: f64 = 0.25;

/// One transform with all its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    FlipHorizontal,
    FlipVertical,
    /// Rotation (clockwise as seen), scale and shear about the centre, then a shift
    /// by fractions of width and height. What comes from outside is black.
    Affine {
        rotate_deg: f64,
        scale: f64,
        shear_deg: f64,
        translate: [f64; 2],
    },
    /// Exposure in stops: linear light times `2^ev`.
    Exposure {
        ev: f64,
    },
    /// Gains of red, green and blue in linear light.
    WhiteBalance {
        gains: [f64; 3],
    },
    /// Blur by a disc.
    Defocus {
        radius_px: f64,
    },
    /// Blur by a line.
    MotionBlur {
        length_px: f64,
        angle_deg: f64,
    },
    /// Variance `shot * v + read^2` in linear light.
    Noise {
        shot: f64,
        read: f64,
        seed: u64,
    },
    /// The encoded value to a power.
    Gamma {
        power: f64,
    },
    /// Reduction to a part of the size and enlargement back to it.
    Downscale {
        factor: f64,
    },
    /// JPEG compression at a quality in `1..=100`.
    Jpeg {
        quality: u8,
    },
}

/// Applies transforms in order. Boxes are the extents of their transformed corners,
/// clipped to the image: after a rotation they can be looser than the object. A box
/// with less than [`MIN_VISIBLE_FRACTION`] of its area inside is dropped. Masks and
/// other shape in `extra` are removed by geometric transforms, which do not move them.
pub fn apply(
    transforms: &[Transform],
    image: RgbImage,
    annotations: Vec<Annotation>,
) -> (RgbImage, Vec<Annotation>) {
    if transforms.is_empty() {
        return (image, annotations);
    }
    let mut linear = photometric::decode(&image);
    let mut annotations = annotations;
    for transform in transforms {
        let size = [f64::from(linear.width()), f64::from(linear.height())];
        if let Some(matrix) = matrix(transform, size) {
            linear = warp(&linear, &matrix);
            annotations = annotations
                .into_iter()
                .filter_map(|annotation| carry(annotation, &matrix, size))
                .collect();
        } else {
            linear = photometric_step(transform, linear);
        }
    }
    (photometric::encode(&linear), annotations)
}

/// `[a, b, c, d, e, f]`: x' = a x + b y + c, y' = d x + e y + f.
type Matrix = [f64; 6];

/// The pixel motion of a geometric transform; `None` for one that moves nothing.
fn matrix(transform: &Transform, [width, height]: [f64; 2]) -> Option<Matrix> {
    match transform {
        Transform::FlipHorizontal => Some([-1.0, 0.0, width, 0.0, 1.0, 0.0]),
        Transform::FlipVertical => Some([1.0, 0.0, 0.0, 0.0, -1.0, height]),
        Transform::Affine {
            rotate_deg,
            scale,
            shear_deg,
            translate,
        } => {
            let (sin, cos) = rotate_deg.to_radians().sin_cos();
            let shear = shear_deg.to_radians().tan();
            let [a, b] = [scale * cos, scale * (cos * shear - sin)];
            let [d, e] = [scale * sin, scale * (sin * shear + cos)];
            let (cx, cy) = (width / 2.0, height / 2.0);
            let c = cx - a * cx - b * cy + translate[0] * width;
            let f = cy - d * cx - e * cy + translate[1] * height;
            Some([a, b, c, d, e, f])
        }
        _ => None,
    }
}

fn warp(image: &Linear, [a, b, c, d, e, f]: &Matrix) -> Linear {
    let determinant = a * e - b * d;
    let at = |x: i64, y: i64| {
        let inside =
            x >= 0 && y >= 0 && x < i64::from(image.width()) && y < i64::from(image.height());
        if inside {
            image.get_pixel(x as u32, y as u32).0
        } else {
            [0.0; 3]
        }
    };
    Linear::from_fn(image.width(), image.height(), |x, y| {
        let (dx, dy) = (f64::from(x) + 0.5 - c, f64::from(y) + 0.5 - f);
        let from_x = (e * dx - b * dy) / determinant - 0.5;
        let from_y = (a * dy - d * dx) / determinant - 0.5;
        let (left, top) = (from_x.floor(), from_y.floor());
        let (u, v) = ((from_x - left) as f32, (from_y - top) as f32);
        let mut sum = [0.0; 3];
        for (i, j, weight) in [
            (0, 0, (1.0 - u) * (1.0 - v)),
            (1, 0, u * (1.0 - v)),
            (0, 1, (1.0 - u) * v),
            (1, 1, u * v),
        ] {
            for (sum, value) in sum.iter_mut().zip(at(left as i64 + i, top as i64 + j)) {
                *sum += weight * value;
            }
        }
        Rgb(sum)
    })
}

fn carry(mut annotation: Annotation, m: &Matrix, size: [f64; 2]) -> Option<Annotation> {
    let b = annotation.bbox;
    let corners = [
        (b.x, b.y),
        (b.right(), b.y),
        (b.x, b.bottom()),
        (b.right(), b.bottom()),
    ]
    .map(|(x, y)| (m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5]));
    let [mut low, mut high] = [[f64::INFINITY; 2], [f64::NEG_INFINITY; 2]];
    for (x, y) in corners {
        low = [low[0].min(x), low[1].min(y)];
        high = [high[0].max(x), high[1].max(y)];
    }
    let whole = BoundingBox::from_corners(low[0], low[1], high[0], high[1]);
    let clipped = whole.clipped_to(size[0], size[1])?;
    let visible = clipped.area() / whole.area();
    if visible < MIN_VISIBLE_FRACTION {
        return None;
    }
    annotation.area *= (m[0] * m[4] - m[1] * m[3]).abs() * visible;
    annotation.bbox = clipped;
    annotation.extra.shift_remove("segmentation");
    annotation.extra.shift_remove("keypoints");
    Some(annotation)
}

fn photometric_step(transform: &Transform, mut linear: Linear) -> Linear {
    match transform {
        Transform::Exposure { ev } => {
            photometric::scale_channels(&mut linear, [ev.exp2() as f32; 3]);
        }
        Transform::WhiteBalance { gains } => {
            photometric::scale_channels(&mut linear, gains.map(|gain| gain as f32));
        }
        Transform::Defocus { radius_px } => {
            linear = photometric::convolve(&linear, &photometric::disc(*radius_px));
        }
        Transform::MotionBlur {
            length_px,
            angle_deg,
        } => {
            linear = photometric::convolve(&linear, &photometric::line(*length_px, *angle_deg));
        }
        Transform::Noise { shot, read, seed } => {
            photometric::noise(&mut linear, *shot as f32, *read as f32, *seed);
        }
        Transform::Gamma { power } => photometric::gamma(&mut linear, *power as f32),
        Transform::Downscale { factor } => {
            let (width, height) = linear.dimensions();
            let part = |side: u32| (f64::from(side) * factor).round().max(1.0) as u32;
            let small = imageops::resize(&linear, part(width), part(height), FilterType::Triangle);
            linear = imageops::resize(&small, width, height, FilterType::Triangle);
        }
        Transform::Jpeg { quality } => linear = photometric::decode(&jpeg(&linear, *quality)),
        Transform::FlipHorizontal | Transform::FlipVertical | Transform::Affine { .. } => {}
    }
    linear
}

fn jpeg(linear: &Linear, quality: u8) -> RgbImage {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality.clamp(1, 100))
        .encode_image(&photometric::encode(linear))
        .expect(
            "encoding into memory fails only above 65,535 pixels a side, which no reader lets in",
        );
    image::load_from_memory_with_format(&bytes, image::ImageFormat::Jpeg)
        .expect("a JPEG that was just encoded decodes")
        .into_rgb8()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked() -> (RgbImage, Vec<Annotation>) {
        let bbox = BoundingBox::from([50.0, 20.0, 20.0, 10.0]);
        let image = RgbImage::from_fn(120, 80, |x, y| {
            let inside = (50..70).contains(&x) && (20..30).contains(&y);
            Rgb([if inside { 255 } else { 0 }; 3])
        });
        let annotation = Annotation {
            id: 1,
            category_id: 1,
            bbox,
            area: bbox.area(),
            is_crowd: false,
            extra: Default::default(),
        };
        (image, vec![annotation])
    }

    #[test]
    fn boxes_follow_the_rendered_mark_within_a_pixel() {
        let affine = |rotate_deg, scale, shear_deg| Transform::Affine {
            rotate_deg,
            scale,
            shear_deg,
            translate: [0.05, -0.02],
        };
        for transform in [
            Transform::FlipHorizontal,
            Transform::FlipVertical,
            affine(20.0, 1.2, 0.0),
            affine(-35.0, 0.9, 8.0),
        ] {
            let (image, annotations) = marked();
            let (image, annotations) = apply(std::slice::from_ref(&transform), image, annotations);
            let [mut low, mut high] = [[f64::INFINITY; 2], [0.0_f64; 2]];
            for (x, y, pixel) in image.enumerate_pixels() {
                if pixel[0] > 100 {
                    low = [low[0].min(f64::from(x)), low[1].min(f64::from(y))];
                    high = [
                        high[0].max(f64::from(x) + 1.0),
                        high[1].max(f64::from(y) + 1.0),
                    ];
                }
            }
            let b = annotations[0].bbox;
            for (a, b) in [
                (b.x, low[0]),
                (b.y, low[1]),
                (b.right(), high[0]),
                (b.bottom(), high[1]),
            ] {
                assert!((a - b).abs() <= 1.0, "{transform:?}: {a} and {b}");
            }
        }
    }

    #[test]
    fn one_stop_doubles_linear_light_and_identity_is_identity() {
        let image = RgbImage::from_fn(64, 4, |x, y| Rgb([x as u8, y as u8, 100]));
        let before = photometric::decode(&image);
        let after = photometric_step(&Transform::Exposure { ev: 1.0 }, before.clone());
        assert!(before.iter().zip(after.iter()).all(|(a, b)| 2.0 * a == *b));
        let identity = [
            Transform::Exposure { ev: 0.0 },
            Transform::Defocus { radius_px: 0.0 },
        ];
        assert_eq!(apply(&identity, image.clone(), Vec::new()).0, image);
    }

    #[test]
    fn lower_jpeg_quality_is_farther_from_the_image() {
        let (image, _) = marked();
        let error = |quality| -> u64 {
            let out = apply(&[Transform::Jpeg { quality }], image.clone(), Vec::new()).0;
            let pairs = out.iter().zip(image.iter());
            pairs.map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum()
        };
        assert!(error(5) > error(30) && error(30) > error(90));
    }
}
