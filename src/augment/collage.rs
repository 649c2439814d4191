//! What is in the picture: parts of other pictures, and what hides its own.

use image::{Rgb, RgbImage};
use rand::RngExt;
use rand::seq::SliceRandom;

use super::geometry::{self, Affine, Motion};
use super::label::{Carriage, LabelChanges, hide};
use super::photometric::{self, Linear, linear_from_srgb};
use super::picture::Picture;
use crate::annotation::{Annotation, Outline};
use crate::seed::SeedKey;

/// A picture with its labels.
pub(super) type Labelled = (RgbImage, Vec<Annotation>);

/// Four pictures around the point at the shares `meeting` of width and height: the first above
/// on the left, then above on the right, below on the left and on the right. Each turns the
/// corner that is opposite to its own towards that point.
pub(super) fn mosaic(
    pictures: [Labelled; 4],
    [width, height]: [u32; 2],
    meeting: [f64; 2],
    scale: f64,
    min_visible: f64,
    changes: &mut LabelChanges,
) -> (Picture, Vec<Annotation>) {
    let left = geometry::part(width, meeting[0]);
    let above = geometry::part(height, meeting[1]);
    let (mut whole, mut labels) = (RgbImage::new(width, height), Vec::new());
    for (quarter, (image, own)) in pictures.into_iter().enumerate() {
        let (at_right, below) = (quarter % 2 == 1, quarter / 2 == 1);
        let (x, w) = if at_right {
            (left, width - left)
        } else {
            (0, left)
        };
        let (y, h) = if below {
            (above, height - above)
        } else {
            (0, above)
        };
        if w == 0 || h == 0 {
            continue;
        }
        let from = [image.width(), image.height()];
        let covering = [w, h].into_iter().zip(from);
        let covering = covering.map(|(side, from)| f64::from(side) / f64::from(from));
        let scale = covering.fold(scale, f64::max);
        let shift = |opposite: bool, side: u32, from: u32| {
            if opposite {
                0.0
            } else {
                f64::from(side) - scale * f64::from(from)
            }
        };
        let map = Affine::scale(scale, scale).then(&Affine::shift(
            shift(at_right, w, from[0]),
            shift(below, h, from[1]),
        ));
        let cut = Motion::affine(map, [w, h]);
        let part = geometry::warp(Picture::new(image), &cut).into_image();
        image::imageops::replace(&mut whole, &part, i64::from(x), i64::from(y));
        let carriage = Carriage {
            motion: &cut,
            from,
            min_visible,
            keypoint_pairs: &[],
        };
        let own = carriage.carry(own, changes);
        let place = Motion::affine(Affine::shift(f64::from(x), f64::from(y)), [width, height]);
        let carriage = Carriage {
            motion: &place,
            from: [w, h],
            ..carriage
        };
        labels.extend(carriage.carry(own, changes));
    }
    (Picture::new(whole), labels)
}

/// Adds a share of another picture's light, scaled to the same size, and its labels.
pub(super) fn mix_up(
    picture: &mut Picture,
    labels: &mut Vec<Annotation>,
    (other, others): Labelled,
    share: f64,
    changes: &mut LabelChanges,
) {
    let size = picture.size();
    let from = [other.width(), other.height()];
    let [x, y] = [0, 1].map(|axis| f64::from(size[axis]) / f64::from(from[axis]));
    let motion = Motion::affine(Affine::scale(x, y), size);
    let mut other = geometry::warp(Picture::new(other), &motion);
    let share = share as f32;
    let light = picture.light().iter_mut();
    for (value, other) in light.zip(other.light().iter()) {
        *value += share * (other - *value);
    }
    let carriage = Carriage {
        motion: &motion,
        from,
        min_visible: 0.0,
        keypoint_pairs: &[],
    };
    labels.extend(carriage.carry(others, changes));
}

/// How objects are copied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pasting {
    pub count: usize,
    pub scale: f64,
    pub feather_px: f64,
    pub min_visible: f64,
    pub seed: u64,
}

/// Cuts objects out of another picture and puts them to places drawn from the seed. What they
/// hide of earlier labels is taken from those.
pub(super) fn copy_paste(
    picture: &mut Picture,
    labels: &mut Vec<Annotation>,
    (other, others): Labelled,
    pasting: Pasting,
    changes: &mut LabelChanges,
) {
    let mut generator = SeedKey::new(b"copy paste", pasting.seed).generator("objects", 0);
    let from = [other.width(), other.height()];
    let size = picture.size();
    let mut objects: Vec<Annotation> = others
        .into_iter()
        .filter(|label| {
            let segmentation = label.extra.get("segmentation");
            !label.is_crowd && segmentation.and_then(|s| Outline::parse(s, from)).is_some()
        })
        .collect();
    objects.shuffle(&mut generator);
    objects.truncate(pasting.count);
    let source = photometric::decode(&other);
    for object in objects {
        let (bbox, scale) = (object.bbox, pasting.scale);
        let place = [
            (size[0], bbox.x, bbox.width),
            (size[1], bbox.y, bbox.height),
        ]
        .map(|(side, low, length)| {
            let free = f64::from(side) - scale * length;
            free * generator.random::<f64>() - scale * low
        });
        let map = Affine::scale(scale, scale).then(&Affine::shift(place[0], place[1]));
        let motion = Motion::affine(map, size);
        let outline = Outline::parse(&object.extra["segmentation"], from);
        let Some(outline) = outline else { continue };
        let carriage = Carriage {
            motion: &motion,
            from,
            min_visible: pasting.min_visible,
            keypoint_pairs: &[],
        };
        let pasted = carriage.carry(vec![object], changes);
        if pasted.is_empty() {
            continue;
        }
        let covered = paste(picture, &source, &outline, &motion, pasting.feather_px);
        hide(labels, size, &covered, pasting.min_visible, changes);
        labels.extend(pasted);
    }
}

/// Lays the part of `source` within its outline over the picture. Which pixels it covers by
/// more than half is given back, row by row.
fn paste(
    picture: &mut Picture,
    source: &Linear,
    outline: &Outline,
    motion: &Motion,
    feather_px: f64,
) -> Vec<u8> {
    let from = [source.width(), source.height()];
    let mut inside = vec![0; source.width() as usize * source.height() as usize];
    outline.draw(&mut inside, from.map(|side| side as usize), from);
    // Light times coverage, and coverage: blurring both together keeps dark rims away.
    let coverage = Linear::from_fn(from[0], from[1], |x, y| {
        let place = y as usize * from[0] as usize + x as usize;
        Rgb([f32::from(inside[place] != 0); 3])
    });
    let coverage = super::blur::convolve(&coverage, &super::blur::disc(feather_px));
    let mut moved = Picture::new(RgbImage::new(1, 1));
    moved.set_light(coverage);
    let mut moved = geometry::warp(moved, motion);
    let mut light = Picture::new(RgbImage::new(1, 1));
    light.set_light(source.clone());
    let mut light = geometry::warp(light, motion);
    let [width, height] = picture.size();
    let mut covered = vec![0; width as usize * height as usize];
    let pixels = picture.light().pixels_mut().zip(light.light().pixels());
    let coverage = moved.light().pixels().zip(&mut covered);
    for ((pixel, new), (share, covered)) in pixels.zip(coverage) {
        for channel in 0..3 {
            pixel[channel] += share[0] * (new[channel] - pixel[channel]);
        }
        *covered = if share[0] > 0.5 { u8::MAX } else { 0 };
    }
    covered
}

/// Grey rectangles at places drawn from the seed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cutting {
    pub count: usize,
    /// Sides as a share of the shorter side of the picture.
    pub size: f64,
    /// Encoded value, `0..=1`.
    pub grey: f64,
    pub min_visible: f64,
    pub seed: u64,
}

/// Hides rectangles of the picture, whose aspect is between 1:2 and 2:1.
pub(super) fn cut_out(
    picture: &mut Picture,
    labels: &mut Vec<Annotation>,
    cutting: Cutting,
    changes: &mut LabelChanges,
) {
    let [width, height] = picture.size();
    let mut generator = SeedKey::new(b"cut out", cutting.seed).generator("rectangles", 0);
    let side = cutting.size * f64::from(width.min(height));
    let mut hidden = vec![0; width as usize * height as usize];
    for _ in 0..cutting.count {
        let stretch = (generator.random::<f64>() - 0.5).exp2();
        let sides = [(width, side * stretch), (height, side / stretch)];
        let [x, y] = sides.map(|(whole, length)| {
            let length = (length.round() as u32).clamp(1, whole);
            let start = generator.random_range(0..=whole - length);
            start..start + length
        });
        for row in y {
            let row = row as usize * width as usize;
            hidden[row + x.start as usize..row + x.end as usize].fill(u8::MAX);
        }
    }
    let grey = Rgb([linear_from_srgb(cutting.grey as f32); 3]);
    for (pixel, hidden) in picture.light().pixels_mut().zip(&hidden) {
        if *hidden != 0 {
            *pixel = grey;
        }
    }
    hide(
        labels,
        [width, height],
        &hidden,
        cutting.min_visible,
        changes,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotation::BoundingBox;
    use serde_json::json;

    fn label(id: u64, bbox: [f64; 4], with_outline: bool) -> Annotation {
        let [x, y, w, h] = bbox;
        let mut extra = serde_json::Map::new();
        if with_outline {
            let polygon = [x, y, x + w, y, x + w, y + h, x, y + h];
            extra.insert("segmentation".to_owned(), json!([polygon]));
        }
        Annotation {
            id,
            category_id: 1,
            bbox: bbox.into(),
            area: w * h,
            is_crowd: false,
            extra,
        }
    }

    fn flat(width: u32, height: u32, level: u8) -> RgbImage {
        RgbImage::from_pixel(width, height, Rgb([level; 3]))
    }

    /// Quarters of 40 x 20 pixels, each from a picture of 80 x 40 at half its size: boxes
    /// shrink to half, and lie in their quarter.
    #[test]
    fn a_mosaic_shows_four_pictures_with_their_labels() {
        let pictures = [10, 80, 150, 220].map(|level| {
            let id = u64::from(level);
            (
                flat(80, 40, level),
                vec![label(id, [20.0, 10.0, 40.0, 20.0], true)],
            )
        });
        let mut changes = LabelChanges::default();
        let (picture, labels) = mosaic(pictures, [80, 40], [0.5, 0.5], 0.5, 0.25, &mut changes);
        let image = picture.into_image();
        for (x, y, level) in [(5, 5, 10), (75, 5, 80), (5, 35, 150), (75, 35, 220)] {
            assert_eq!(image.get_pixel(x, y)[0], level);
        }
        let boxes: Vec<[f64; 4]> = labels.iter().map(|label| label.bbox.into()).collect();
        assert_eq!(
            boxes,
            [
                [10.0, 5.0, 20.0, 10.0],
                [50.0, 5.0, 20.0, 10.0],
                [10.0, 25.0, 20.0, 10.0],
                [50.0, 25.0, 20.0, 10.0]
            ]
        );
        assert!(labels.iter().all(|label| (label.area - 200.0).abs() < 1e-9));
    }

    #[test]
    fn a_double_exposure_adds_light_and_labels() {
        let mut picture = Picture::new(flat(20, 10, 0));
        let mut labels = vec![label(1, [0.0, 0.0, 5.0, 5.0], false)];
        let other = (
            flat(40, 20, 255),
            vec![label(2, [20.0, 10.0, 10.0, 8.0], false)],
        );
        mix_up(
            &mut picture,
            &mut labels,
            other,
            0.5,
            &mut LabelChanges::default(),
        );
        assert!((picture.light().get_pixel(3, 3)[0] - 0.5).abs() < 1e-6);
        assert_eq!(labels[1].bbox, BoundingBox::from([10.0, 5.0, 5.0, 4.0]));
    }

    /// A pasted white square: its box is where the picture is white, and a label beneath it
    /// loses just what it covers.
    #[test]
    fn a_pasted_object_is_where_its_label_says_and_hides_what_lies_below() {
        let mut other = flat(60, 60, 0);
        for y in 10..30 {
            for x in 20..40 {
                other.put_pixel(x, y, Rgb([255; 3]));
            }
        }
        for seed in 0..20 {
            let mut picture = Picture::new(flat(60, 60, 0));
            let mut labels = vec![label(1, [0.0, 0.0, 60.0, 60.0], true)];
            let pasting = Pasting {
                count: 1,
                scale: 1.0,
                feather_px: 0.0,
                min_visible: 0.25,
                seed,
            };
            let objects = vec![label(2, [20.0, 10.0, 20.0, 20.0], true)];
            let mut changes = LabelChanges::default();
            copy_paste(
                &mut picture,
                &mut labels,
                (other.clone(), objects),
                pasting,
                &mut changes,
            );
            let image = picture.into_image();
            let white = |x: u32, y: u32| image.get_pixel(x, y)[0] > 100;
            let count = image.pixels().filter(|pixel| pixel[0] > 100).count() as f64;
            assert!((count - 400.0).abs() < 45.0, "{count} white pixels");
            let bbox = labels[1].bbox;
            let [x, y] = [bbox.x + 10.0, bbox.y + 10.0].map(|place| place as u32);
            assert!(white(x, y), "{bbox:?}");
            assert!(
                (labels[0].area - (3600.0 - count)).abs() < 45.0,
                "{}",
                labels[0].area
            );
        }
    }

    #[test]
    fn cut_out_drops_what_it_hides_and_keeps_what_it_touches() {
        let cutting = Cutting {
            count: 1,
            size: 1.0,
            grey: 1.0,
            min_visible: 0.5,
            seed: 4,
        };
        let mut picture = Picture::new(flat(40, 40, 0));
        let mut labels: Vec<Annotation> = (0..100_u32)
            .map(|i| {
                let [x, y] = [i % 10, i / 10].map(|i| f64::from(4 * i));
                label(u64::from(i), [x, y, 4.0, 4.0], i % 2 == 0)
            })
            .collect();
        let mut changes = LabelChanges::default();
        cut_out(&mut picture, &mut labels, cutting, &mut changes);
        let image = picture.into_image();
        assert!(!changes.dropped.is_empty() && !labels.is_empty());
        let white_share = |x: u32, y: u32| {
            let cells = (0..16).filter(|i| image.get_pixel(x + i % 4, y + i / 4)[0] == 255);
            cells.count() as f64 / 16.0
        };
        for i in 0..100_u32 {
            let kept = labels.iter().any(|label| label.id == u64::from(i));
            let hidden = white_share(4 * (i % 10), 4 * (i / 10));
            assert_eq!(kept, hidden <= 0.5, "{i}: {hidden} hidden");
        }
    }
}
