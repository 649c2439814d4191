use super::*;
use crate::annotation::BoundingBox;
use image::Rgb;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
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

fn affine(rotate_deg: f64, scale: f64, shear_deg: f64) -> Drawn {
    Drawn::from(Transform::Affine {
        rotate_deg,
        scale,
        shear_deg,
        translate_x: 0.05,
        translate_y: -0.02,
        min_visible: 0.25,
    })
}

fn flip() -> Drawn {
    Drawn::from(Transform::FlipHorizontal {
        keypoint_pairs: vec![[0, 1]],
    })
}

/// A share of the width, and as good as all of the height.
fn crop(x: f64, width: f64, min_visible: f64) -> Drawn {
    Drawn::from(Transform::Crop {
        size: width.sqrt(),
        aspect: width,
        x,
        y: 0.0,
        min_visible,
    })
}

fn apply(steps: &[Drawn], image: RgbImage, annotations: Vec<Annotation>) -> Augmented {
    let subject = Subject {
        image,
        annotations,
        depth: None,
    };
    super::apply(steps, subject, &Library::default()).unwrap()
}

/// Steps that bend lines or move the horizon.
fn bending() -> [Drawn; 3] {
    let min_visible = 0.25;
    [
        Transform::Perspective {
            pan_deg: 8.0,
            tilt_deg: -6.0,
            view_deg: 60.0,
            min_visible,
        },
        Transform::LensDistortion {
            k1: 0.3,
            k2: 0.05,
            min_visible,
        },
        Transform::Elastic {
            strength: 0.2,
            distance: 0.2,
            min_visible,
        },
    ]
    .map(|transform| Drawn::from(transform).with_seed(3))
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
        vec![Drawn::from(Transform::FlipVertical {
            keypoint_pairs: vec![[0, 1]],
        })],
        vec![affine(20.0, 1.2, 0.0)],
        vec![affine(-35.0, 0.9, 8.0)],
        vec![flip(), affine(10.0, 1.0, 0.0), crop(0.5, 0.9, 0.25)],
        vec![bending()[0].clone()],
        vec![bending()[1].clone()],
        vec![bending()[2].clone()],
        vec![
            bending()[2].clone(),
            affine(10.0, 1.0, 0.0),
            bending()[0].clone(),
        ],
        vec![
            crop(0.3, 0.8, 0.0),
            Drawn::from(Transform::Resize { factor: 1.0 }),
        ],
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
    let still = Drawn::from(Transform::Exposure { ev: 0.0 });
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
    let out = apply(&[Transform::Resize { factor: 0.5 }.into()], image, labels);
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
    let mirror = Drawn::from(Transform::FlipHorizontal {
        keypoint_pairs: Vec::new(),
    });
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
    let light = apply(
        &[Transform::Exposure { ev: 1.0 }.into()],
        image,
        labels.clone(),
    );
    assert_eq!((light.annotations, light.changes), (labels, None));
}

/// Level 100 is 0.12744 in linear light; twice that is level 138.18 by the formula of
/// IEC 61966-2-1. Level 188 is 0.5029, which one stop takes beyond white.
#[test]
fn one_stop_doubles_linear_light_until_it_clips() {
    let image = RgbImage::from_pixel(2, 2, Rgb([100, 0, 188]));
    let up = Drawn::from(Transform::Exposure { ev: 1.0 });
    let out = apply(&[up], image.clone(), Vec::new()).image;
    assert_eq!(out.get_pixel(0, 0).0, [138, 0, 255]);
    let identity = [
        Transform::Exposure { ev: 0.0 },
        Transform::Defocus { radius_px: 0.0 },
        Transform::ColourTemperature {
            kelvin: 6504.0,
            tint_duv: 0.0,
        },
    ]
    .map(Drawn::from);
    assert_eq!(apply(&identity, image.clone(), Vec::new()).image, image);
}

/// Red twice as bright: level 100 becomes 138 as above; green and blue stay.
#[test]
fn white_balance_scales_channels_in_linear_light() {
    let image = RgbImage::from_pixel(1, 1, Rgb([100; 3]));
    let (red, blue) = (2.0, 1.0);
    let warm = Drawn::from(Transform::WhiteBalance { red, blue });
    let out = apply(&[warm], image, Vec::new()).image;
    assert_eq!(out.get_pixel(0, 0).0, [138, 100, 100]);
}

/// Stripes of black and white average to 0.5 in linear light, which is level 188.
#[test]
fn downscaling_averages_light_and_keeps_the_size() {
    let image = RgbImage::from_fn(64, 64, |x, _| Rgb([if x % 2 == 0 { 0 } else { 255 }; 3]));
    let out = apply(
        &[Transform::Downscale { factor: 0.25 }.into()],
        image,
        Vec::new(),
    )
    .image;
    assert_eq!(out.dimensions(), (64, 64));
    assert!(out.get_pixel(32, 32)[0].abs_diff(188) <= 2);
}

fn any_move() -> impl Strategy<Value = Drawn> {
    let min_visible = 0.0;
    prop_oneof![
        Just(flip()),
        (-40.0..40.0, 0.7..1.4, -10.0..10.0).prop_map(|(r, s, h)| affine(r, s, h)),
        (0.0..1.0, 0.5..1.0).prop_map(|(x, width)| crop(x, width, 0.0)),
        (-15.0..15.0, -15.0..15.0).prop_map(move |(pan_deg, tilt_deg)| {
            Drawn::from(Transform::Perspective {
                pan_deg,
                tilt_deg,
                view_deg: 60.0,
                min_visible,
            })
        }),
        (-0.2..0.6, 0.0..0.2).prop_map(move |(k1, k2)| {
            Drawn::from(Transform::LensDistortion {
                k1,
                k2,
                min_visible,
            })
        }),
        (0.0..0.25, any::<u64>()).prop_map(move |(strength, seed)| {
            let distance = 0.2;
            Drawn::from(Transform::Elastic {
                strength,
                distance,
                min_visible,
            })
            .with_seed(seed)
        }),
        (-0.2..0.2, 0.0..0.02).prop_map(move |(skew, wobble)| {
            Drawn::from(Transform::RollingShutter {
                skew,
                wobble,
                waves: 2.0,
                min_visible,
            })
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    /// Whatever moves the picture: boxes stay within it, an object is not larger than its
    /// box, and the box around a mask is that of the polygon.
    #[test]
    fn boxes_masks_and_polygons_agree_after_any_moves(steps in prop::collection::vec(any_move(), 1..4)) {
        let (image, labels) = marked();
        let out = apply(&steps, image, labels);
        let (width, height) = (f64::from(out.image.width()), f64::from(out.image.height()));
        for label in &out.annotations {
            let bbox = label.bbox;
            prop_assert!(bbox.x >= 0.0 && bbox.y >= 0.0, "{bbox:?}");
            prop_assert!(bbox.right() <= width + 1e-9 && bbox.bottom() <= height + 1e-9);
            prop_assert!(label.area <= bbox.area() * 1.05 + 2.0, "{} in {bbox:?}", label.area);
        }
        let of = |id: u64| out.annotations.iter().find(|label| label.id == id);
        if let (Some(polygon), Some(mask)) = (of(1), of(2)) {
            let (a, b): ([f64; 4], [f64; 4]) = (polygon.bbox.into(), mask.bbox.into());
            // What is cut to a sliver between two rows of pixels is in no mask.
            let is_cut = out.changes.as_ref().is_some_and(|changes| changes.cut > 0);
            for (a, b) in a.iter().zip(b).filter(|_| !is_cut) {
                prop_assert!((a - b).abs() <= 2.5, "{a} and {b}: {steps:?}");
            }
        }
    }

    /// A smaller crop of the same place never shows more of an object.
    #[test]
    fn what_is_visible_grows_with_the_crop(a in 0.1..1.0_f64, b in 0.1..1.0_f64) {
        let (less, more) = (a.min(b), a.max(b));
        let area = |width: f64| {
            let (image, labels) = marked();
            let out = apply(&[crop(0.0, width, 0.0)], image, labels);
            out.annotations.first().map_or(0.0, |label| label.area)
        };
        prop_assert!(area(less) <= area(more) + 1e-9);
    }
}
