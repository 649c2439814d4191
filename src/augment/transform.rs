//! Concrete transforms and their application to pixels and labels.

use image::RgbImage;
use image::imageops::{self, FilterType};
use serde::{Deserialize, Serialize};

use super::geometry::{self, Motion};
use super::label::{Carriage, LabelChanges};
use super::photometric::{self, Linear};
use super::{blur, compression};
use crate::annotation::Annotation;

/// One transform with all its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// Left and right change places; keypoints of a pair swap names.
    FlipHorizontal {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keypoint_pairs: Vec<[usize; 2]>,
    },
    /// Top and bottom change places; keypoints of a pair swap names.
    FlipVertical {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keypoint_pairs: Vec<[usize; 2]>,
    },
    /// Shear along x, rotation (clockwise as seen) and scale about the centre, then a
    /// shift by fractions of width and height. What comes from outside is black.
    Affine {
        rotate_deg: f64,
        scale: f64,
        shear_deg: f64,
        translate: [f64; 2],
        min_visible: f64,
    },
    /// A part of the image: shares of width and height, and where in the free room it
    /// lies, 0 for left or top and 1 for right or bottom.
    Crop {
        width: f64,
        height: f64,
        x: f64,
        y: f64,
        min_visible: f64,
    },
    /// Exposure in stops: linear light times `2^ev`.
    Exposure { ev: f64 },
    /// Gains of red, green and blue in linear light.
    WhiteBalance { gains: [f64; 3] },
    /// The light's colour, see [`super::colour_temperature_gains`].
    ColourTemperature { kelvin: f64, tint_duv: f64 },
    /// Blur by a disc.
    Defocus { radius_px: f64 },
    /// Blur by a line.
    MotionBlur { length_px: f64, angle_deg: f64 },
    /// Variance `shot * v + read^2` in linear light.
    Noise { shot: f64, read: f64, seed: u64 },
    /// The encoded value to a power.
    Gamma { power: f64 },
    /// Reduction to a part of the size and enlargement back to it.
    Downscale { factor: f64 },
    /// Reduction to a part of the size, boxes along with it.
    Resize { factor: f64 },
    /// JPEG compression at a quality in `1..=100`.
    Jpeg { quality: u8 },
}

impl Transform {
    /// Whether pixels only change places, so that several can be done in one go.
    fn moves_pixels(&self) -> bool {
        matches!(
            self,
            Transform::FlipHorizontal { .. }
                | Transform::FlipVertical { .. }
                | Transform::Affine { .. }
                | Transform::Crop { .. }
        )
    }

    fn min_visible(&self) -> f64 {
        match self {
            Transform::Affine { min_visible, .. } | Transform::Crop { min_visible, .. } => {
                *min_visible
            }
            _ => 0.0,
        }
    }

    fn keypoint_pairs(&self) -> &[[usize; 2]] {
        match self {
            Transform::FlipHorizontal { keypoint_pairs }
            | Transform::FlipVertical { keypoint_pairs } => keypoint_pairs,
            _ => &[],
        }
    }
}

/// An image and its labels after some transforms.
#[derive(Debug, Clone)]
pub struct Augmented {
    pub image: RgbImage,
    pub annotations: Vec<Annotation>,
    /// What became of the labels; `None` where no transform moved pixels.
    pub changes: Option<LabelChanges>,
}

/// Applies transforms in order. Neighbouring geometric transforms are joined into one,
/// so that pixels are resampled and labels cut once.
///
/// A label keeps its outline (polygons, run-length mask) and keypoints. Its box is
/// the moved box where that stays upright and whole, else the extent of the moved
/// outline within the image, or of the moved box's corners where there is none. A
/// label of which less than `min_visible` is left is dropped.
pub fn apply(transforms: &[Transform], image: RgbImage, labels: Vec<Annotation>) -> Augmented {
    let (mut annotations, mut changes) = (labels, None);
    if transforms.is_empty() {
        return Augmented {
            image,
            annotations,
            changes,
        };
    }
    let mut linear = photometric::decode(&image);
    let mut rest = transforms;
    while let Some(first) = rest.first() {
        let neighbours = rest.iter().take_while(|next| next.moves_pixels()).count();
        let (now, later) = rest.split_at(neighbours.max(1));
        rest = later;
        let from = [linear.width(), linear.height()];
        let Some(motion) = Motion::of_all(now, from) else {
            linear = photometric_step(first, linear);
            continue;
        };
        linear = match first {
            Transform::Resize { .. } => resize(linear, motion.size),
            _ => geometry::warp(&linear, &motion),
        };
        let carriage = Carriage {
            motion,
            from,
            min_visible: now.iter().map(Transform::min_visible).fold(0.0, f64::max),
            keypoint_pairs: now
                .iter()
                .map(Transform::keypoint_pairs)
                .find(|pairs| !pairs.is_empty())
                .unwrap_or(&[]),
        };
        annotations = carriage.carry(annotations, changes.get_or_insert_default());
    }
    Augmented {
        image: photometric::encode(&linear),
        annotations,
        changes,
    }
}

/// Averages over the area that falls on each new pixel. The sensor has clipped before.
fn resize(mut linear: Linear, [width, height]: [u32; 2]) -> Linear {
    photometric::clip(&mut linear);
    imageops::resize(&linear, width, height, FilterType::Triangle)
}

fn photometric_step(transform: &Transform, mut linear: Linear) -> Linear {
    match transform {
        Transform::Exposure { ev } => {
            photometric::scale_channels(&mut linear, [ev.exp2() as f32; 3]);
        }
        Transform::WhiteBalance { gains } => {
            photometric::scale_channels(&mut linear, gains.map(|gain| gain as f32));
        }
        Transform::ColourTemperature { kelvin, tint_duv } => {
            let gains = photometric::colour_temperature_gains(*kelvin, *tint_duv);
            photometric::scale_channels(&mut linear, gains.map(|gain| gain as f32));
        }
        Transform::Defocus { radius_px } => {
            linear = blur::convolve(&linear, &blur::disc(*radius_px));
        }
        Transform::MotionBlur {
            length_px,
            angle_deg,
        } => linear = blur::convolve(&linear, &blur::line(*length_px, *angle_deg)),
        Transform::Noise { shot, read, seed } => {
            photometric::noise(&mut linear, *shot as f32, *read as f32, *seed);
        }
        Transform::Gamma { power } => photometric::gamma(&mut linear, *power as f32),
        Transform::Downscale { factor } => {
            let [width, height] = [linear.width(), linear.height()];
            let small = [width, height].map(|side| geometry::part(side, *factor));
            linear = resize(linear, small);
            linear = imageops::resize(&linear, width, height, FilterType::Triangle);
        }
        Transform::Jpeg { quality } => {
            let bytes = compression::jpeg(&photometric::encode(&linear), *quality);
            linear = photometric::decode(&compression::decode(&bytes));
        }
        Transform::FlipHorizontal { .. }
        | Transform::FlipVertical { .. }
        | Transform::Affine { .. }
        | Transform::Crop { .. }
        | Transform::Resize { .. } => {}
    }
    linear
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotation::BoundingBox;
    use image::Rgb;
    use serde_json::{Map, Value, json};

    /// A white rectangle on black, with its box, polygon, mask and two keypoints.
    fn marked() -> (RgbImage, Vec<Annotation>) {
        let bbox = BoundingBox::from([50.0, 20.0, 20.0, 10.0]);
        let image = RgbImage::from_fn(120, 80, |x, y| {
            let inside = (50..70).contains(&x) && (20..30).contains(&y);
            Rgb([if inside { 255 } else { 0 }; 3])
        });
        let label = |id, segmentation: Value| Annotation {
            id,
            category_id: 1,
            bbox,
            area: bbox.area(),
            is_crowd: false,
            extra: Map::from_iter([
                ("segmentation".to_owned(), segmentation),
                (
                    "keypoints".to_owned(),
                    json!([50.5, 20.5, 2, 69.5, 29.5, 1, 0, 0, 0]),
                ),
                ("num_keypoints".to_owned(), json!(2)),
            ]),
        };
        let polygon = json!([[50, 20, 70, 20, 70, 30, 50, 30]]);
        // Columns of 80 pixels: 50 empty ones, and 20 rows above in the next.
        let mut counts = vec![50 * 80 + 20];
        for _ in 0..19 {
            counts.extend([10, 70]);
        }
        counts.extend([10, 50 + 50 * 80]);
        let mask = json!({"size": [80, 120], "counts": counts});
        let mut plain = label(3, Value::Null);
        plain.extra.clear();
        (image, vec![label(1, polygon), label(2, mask), plain])
    }

    fn affine(rotate_deg: f64, scale: f64, shear_deg: f64) -> Transform {
        Transform::Affine {
            rotate_deg,
            scale,
            shear_deg,
            translate: [0.05, -0.02],
            min_visible: 0.25,
        }
    }

    fn flip() -> Transform {
        Transform::FlipHorizontal {
            keypoint_pairs: vec![[0, 1]],
        }
    }

    fn crop(x: f64, width: f64, min_visible: f64) -> Transform {
        Transform::Crop {
            width,
            height: 1.0,
            x,
            y: 0.0,
            min_visible,
        }
    }

    fn extent_of_white(image: &RgbImage) -> BoundingBox {
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
        BoundingBox::from_corners(low[0], low[1], high[0], high[1])
    }

    fn assert_close(a: &BoundingBox, b: &BoundingBox, tolerance: f64, what: &str) {
        let (a, b): ([f64; 4], [f64; 4]) = ((*a).into(), (*b).into());
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() <= tolerance, "{what}: {a} and {b}");
        }
    }

    #[test]
    fn boxes_polygons_masks_and_keypoints_follow_the_pixels() {
        for transforms in [
            vec![flip()],
            vec![Transform::FlipVertical {
                keypoint_pairs: vec![[0, 1]],
            }],
            vec![affine(20.0, 1.2, 0.0)],
            vec![affine(-35.0, 0.9, 8.0)],
            vec![flip(), affine(10.0, 1.0, 0.0), crop(0.5, 0.9, 0.25)],
            vec![crop(0.3, 0.8, 0.0), Transform::Resize { factor: 1.0 }],
        ] {
            let (image, labels) = marked();
            let out = apply(&transforms, image, labels);
            let seen = extent_of_white(&out.image);
            for label in &out.annotations {
                assert_close(&label.bbox, &seen, 1.5, &format!("{transforms:?}"));
            }
            let rle = &out.annotations[1].extra["segmentation"];
            let white = out.image.pixels().filter(|pixel| pixel[0] > 187).count() as f64;
            assert!((out.annotations[1].area / white - 1.0).abs() < 0.1);
            assert_eq!(rle["size"], json!([out.image.height(), out.image.width()]));
            let points = out.annotations[0].extra["keypoints"].as_array().unwrap();
            for point in points.chunks(3).filter(|point| point[2] != json!(0)) {
                let [x, y] = [0, 1].map(|i| point[i].as_f64().unwrap());
                let grown = seen.x - 1.0..=seen.right() + 1.0;
                assert!(grown.contains(&x), "{x} in {seen:?}");
                assert!((seen.y - 1.0..=seen.bottom() + 1.0).contains(&y));
            }
        }
    }

    /// The corners of the box, turned by hand with the matrix of the documentation.
    #[test]
    fn the_box_after_an_affine_is_the_hull_of_its_polygon() {
        let (image, labels) = marked();
        let out = apply(&[affine(30.0, 1.1, 0.0)], image, labels);
        let (sin, cos) = 30_f64.to_radians().sin_cos();
        let turned = [[50.0, 20.0], [70.0, 20.0], [70.0, 30.0], [50.0, 30.0]].map(|[x, y]| {
            let (x, y) = (x - 60.0, y - 40.0);
            [
                60.0 + 1.1 * (x * cos - y * sin) + 0.05 * 120.0,
                40.0 + 1.1 * (x * sin + y * cos) - 0.02 * 80.0,
            ]
        });
        let axis = |i: usize| turned.map(|point| point[i]);
        let least = |i| axis(i).into_iter().fold(f64::INFINITY, f64::min);
        let most = |i| axis(i).into_iter().fold(0.0, f64::max);
        let hull = BoundingBox::from_corners(least(0), least(1), most(0), most(1));
        assert_close(&out.annotations[0].bbox, &hull, 1e-9, "polygon");
        assert_close(&out.annotations[2].bbox, &hull, 1e-9, "box alone");
        assert!((out.annotations[0].area - 200.0 * 1.21).abs() < 1e-9);
        assert_eq!(out.changes, Some(LabelChanges::default()));
    }

    #[test]
    fn flipping_twice_is_the_identity() {
        let (image, labels) = marked();
        // A step in between keeps the flips from being joined.
        let still = Transform::Exposure { ev: 0.0 };
        let out = apply(&[flip(), still, flip()], image.clone(), labels.clone());
        assert_eq!(out.image, image);
        assert_eq!(out.annotations[2], labels[2]);
        for (label, before) in out.annotations.iter().zip(&labels) {
            assert_eq!(label.bbox, before.bbox);
            for key in ["keypoints", "segmentation"] {
                let flat = |label: &Annotation| -> Vec<f64> {
                    let text = label
                        .extra
                        .get(key)
                        .map(Value::to_string)
                        .unwrap_or_default();
                    let parts = text.split(|c: char| !(c.is_ascii_digit() || c == '.'));
                    parts.filter_map(|part| part.parse().ok()).collect()
                };
                assert_eq!(flat(label), flat(before), "{key}");
            }
        }
    }

    /// A crop of the left 60 of 120 pixels leaves 10 of the box's 20: half of it.
    #[test]
    fn a_crop_cuts_boxes_and_drops_those_hardly_visible() {
        let (image, labels) = marked();
        let out = apply(&[crop(0.0, 0.5, 0.5)], image.clone(), labels.clone());
        assert_eq!(out.image.dimensions(), (60, 80));
        let changes = out.changes.unwrap();
        assert_eq!((changes.cut, changes.dropped.len()), (3, 0));
        for label in &out.annotations {
            assert_eq!(label.bbox, BoundingBox::from([50.0, 20.0, 10.0, 10.0]));
            assert!((label.area - 100.0).abs() < 1e-9);
        }
        let first = &out.annotations[0].extra;
        assert_eq!(
            first["keypoints"],
            json!([50.5, 20.5, 2, 0.0, 0.0, 0, 0.0, 0.0, 0])
        );
        assert_eq!(first["num_keypoints"], 1);
        let out = apply(&[crop(0.0, 0.5, 0.51)], image, labels);
        let changes = out.changes.unwrap();
        assert!(out.annotations.is_empty());
        assert_eq!((changes.cut, changes.dropped.len()), (0, 3));
        assert_eq!(
            (changes.dropped[1].id, changes.dropped[1].visible),
            (2, 0.5)
        );
    }

    #[test]
    fn resizing_scales_image_and_labels() {
        let (image, labels) = marked();
        let out = apply(&[Transform::Resize { factor: 0.5 }], image, labels);
        assert_eq!(out.image.dimensions(), (60, 40));
        for label in &out.annotations {
            assert_eq!(label.bbox, BoundingBox::from([25.0, 10.0, 10.0, 5.0]));
            assert!((label.area - 50.0).abs() < 1e-9);
        }
        let extent = extent_of_white(&out.image);
        assert_close(&out.annotations[0].bbox, &extent, 1.0, "extent");
    }

    /// The string is that of the same runs by COCO's own coding.
    #[test]
    fn a_compressed_mask_is_carried_and_stays_compressed() {
        let (image, mut labels) = marked();
        let counts = labels[1].extra["segmentation"]["counts"].clone();
        let counts: Vec<u32> = serde_json::from_value(counts).unwrap();
        let (h, w) = (80, 120);
        let text = hotcoco::mask::rle_to_string(&hotcoco::Rle { h, w, counts });
        labels[1].extra["segmentation"]["counts"] = json!(text);
        let out = apply(&[flip()], image, labels);
        let mask = &out.annotations[1].extra["segmentation"];
        let text = mask["counts"].as_str().unwrap();
        let rle = hotcoco::mask::rle_from_string(text, 80, 120).unwrap();
        assert_eq!(hotcoco::mask::to_bbox(&rle), [50.0, 20.0, 20.0, 10.0]);
        assert_eq!(hotcoco::mask::area(&rle), 200);
        assert_eq!(out.changes, Some(LabelChanges::default()));
    }

    #[test]
    fn what_cannot_be_carried_is_named() {
        let (image, mut labels) = marked();
        labels[0].extra["segmentation"] = json!("corrupt");
        labels[1].extra["keypoints"] = json!([1, 2]);
        labels[2]
            .extra
            .insert("cuboid".to_owned(), json!({"at": [1, 2]}));
        labels[2].extra.insert("colour".to_owned(), json!("red"));
        labels[2]
            .extra
            .insert("visible_fraction".to_owned(), json!(0.5));
        let mirror = Transform::FlipHorizontal {
            keypoint_pairs: Vec::new(),
        };
        let out = apply(&[mirror], image.clone(), labels.clone());
        let lost: Vec<String> = out.changes.unwrap().lost.into_keys().collect();
        assert_eq!(lost.len(), 4, "{lost:?}");
        for part in ["cuboid", "keypoint_pairs", "x, y, v", "neither polygons"] {
            assert!(
                lost.iter().any(|what| what.contains(part)),
                "{part} in {lost:?}"
            );
        }
        assert_eq!(out.annotations[2].extra["colour"], "red");
        assert_eq!(out.annotations[2].extra["visible_fraction"], 0.5);
        assert!(!out.annotations[2].extra.contains_key("cuboid"));
        let light = apply(&[Transform::Exposure { ev: 1.0 }], image, labels.clone());
        assert_eq!((light.annotations, light.changes), (labels, None));
    }

    /// Level 100 is 0.12744 in linear light; twice that is level 138.18 by the formula of
    /// IEC 61966-2-1. Level 188 is 0.5029, which one stop takes beyond white.
    #[test]
    fn one_stop_doubles_linear_light_until_it_clips() {
        let image = RgbImage::from_pixel(2, 2, Rgb([100, 0, 188]));
        let before = photometric::decode(&image);
        let up = Transform::Exposure { ev: 1.0 };
        let after = photometric_step(&up, before.clone());
        assert!(before.iter().zip(after.iter()).all(|(a, b)| 2.0 * a == *b));
        let out = apply(&[up], image.clone(), Vec::new()).image;
        assert_eq!(out.get_pixel(0, 0).0, [138, 0, 255]);
        let identity = [
            Transform::Exposure { ev: 0.0 },
            Transform::Defocus { radius_px: 0.0 },
            Transform::ColourTemperature {
                kelvin: 6504.0,
                tint_duv: 0.0,
            },
        ];
        assert_eq!(apply(&identity, image.clone(), Vec::new()).image, image);
    }

    /// Red twice as bright: level 100 becomes 138 as above; green and blue stay.
    #[test]
    fn white_balance_scales_channels_in_linear_light() {
        let image = RgbImage::from_pixel(1, 1, Rgb([100; 3]));
        let gains = [2.0, 1.0, 1.0];
        let out = apply(&[Transform::WhiteBalance { gains }], image, Vec::new()).image;
        assert_eq!(out.get_pixel(0, 0).0, [138, 100, 100]);
    }

    /// Stripes of black and white average to 0.5 in linear light, which is level 188.
    #[test]
    fn downscaling_averages_light_and_keeps_the_size() {
        let image = RgbImage::from_fn(64, 64, |x, _| Rgb([if x % 2 == 0 { 0 } else { 255 }; 3]));
        let out = apply(&[Transform::Downscale { factor: 0.25 }], image, Vec::new()).image;
        assert_eq!(out.dimensions(), (64, 64));
        assert!(out.get_pixel(32, 32)[0].abs_diff(188) <= 2);
    }
}
