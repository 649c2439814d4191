//! Where pixels go, and images resampled on the way.

mod map;

use std::sync::Arc;

use image::{ImageBuffer, Luma};

use self::map::{Back, Bumps, Map, Perspective, Radial, Rows};
use super::photometric::Linear;
use super::picture::{Picture, WholeMove};
use super::wide::wide;
use super::{Drawn, Transform};

pub(super) use self::map::Affine;

/// Where the places of an image go, and the size of the image that they go to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Motion {
    /// One after the other; two affine maps never follow each other.
    maps: Vec<Map>,
    /// Width and height, in pixels.
    pub size: [u32; 2],
}

impl Motion {
    pub fn affine(map: Affine, size: [u32; 2]) -> Self {
        Motion {
            maps: vec![Map::Affine(map)],
            size,
        }
    }

    /// What one step does to an image of `size` pixels; `None` for one that moves nothing.
    pub fn of(step: &Drawn, size: [u32; 2]) -> Option<Self> {
        let whole = size.map(f64::from);
        let [width, height] = whole;
        let (map, size) = match &step.transform {
            Transform::FlipHorizontal { .. } => {
                (Map::Affine(Affine([-1.0, 0.0, width, 0.0, 1.0, 0.0])), size)
            }
            Transform::FlipVertical { .. } => (
                Map::Affine(Affine([1.0, 0.0, 0.0, 0.0, -1.0, height])),
                size,
            ),
            Transform::Affine {
                rotate_deg,
                scale,
                shear_deg,
                translate_x,
                translate_y,
                ..
            } => {
                let (sin, cos) = rotate_deg.to_radians().sin_cos();
                let shear = shear_deg.to_radians().tan();
                let [a, b] = [scale * cos, scale * (cos * shear - sin)];
                let [d, e] = [scale * sin, scale * (sin * shear + cos)];
                let (cx, cy) = (width / 2.0, height / 2.0);
                let c = cx - a * cx - b * cy + translate_x * width;
                let f = cy - d * cx - e * cy + translate_y * height;
                (Map::Affine(Affine([a, b, c, d, e, f])), size)
            }
            Transform::Crop {
                size: share,
                aspect,
                x,
                y,
                ..
            } => {
                let stretch = aspect.sqrt();
                let cut = [
                    part(size[0], (share * stretch).min(1.0)),
                    part(size[1], (share / stretch).min(1.0)),
                ];
                let left = (f64::from(size[0] - cut[0]) * x).round();
                let top = (f64::from(size[1] - cut[1]) * y).round();
                (Map::Affine(Affine::shift(-left, -top)), cut)
            }
            Transform::Resize { factor } => {
                let to = size.map(|side| part(side, *factor));
                let [x, y] = [f64::from(to[0]) / width, f64::from(to[1]) / height];
                (Map::Affine(Affine::scale(x, y)), to)
            }
            Transform::Perspective {
                pan_deg,
                tilt_deg,
                view_deg,
                ..
            } => {
                let map = Perspective::new(*pan_deg, *tilt_deg, *view_deg, whole);
                (Map::Perspective(map), size)
            }
            Transform::LensDistortion { k1, k2, .. } => {
                (Map::Radial(Radial::new(*k1, *k2, whole)), size)
            }
            Transform::RollingShutter {
                skew,
                wobble,
                waves,
                ..
            } => {
                let rows = Rows {
                    slope: skew * width / height,
                    middle: height / 2.0,
                    amplitude: wobble * width,
                    turn: std::f64::consts::TAU * waves / height,
                };
                (Map::Rows(rows), size)
            }
            Transform::Elastic {
                strength, distance, ..
            } => {
                let bumps = Bumps::new(*strength, *distance, whole, step.seed());
                (Map::Bumps(Arc::new(bumps)), size)
            }
            _ => return None,
        };
        Some(Motion {
            maps: vec![map],
            size,
        })
    }

    /// What all steps together do to an image of `size` pixels.
    pub fn of_all(steps: &[Drawn], size: [u32; 2]) -> Option<Self> {
        steps.iter().fold(None, |whole: Option<Motion>, next| {
            let size = whole.as_ref().map_or(size, |whole| whole.size);
            match (whole, Motion::of(next, size)) {
                (Some(whole), Some(next)) => Some(whole.then(next)),
                (whole, next) => next.or(whole),
            }
        })
    }

    fn then(mut self, next: Motion) -> Motion {
        for map in next.maps {
            match (self.maps.last_mut(), map) {
                (Some(Map::Affine(last)), Map::Affine(map)) => *last = last.then(&map),
                (_, map) => self.maps.push(map),
            }
        }
        self.size = next.size;
        self
    }

    pub fn point(&self, point: [f64; 2]) -> [f64; 2] {
        self.maps.iter().fold(point, |point, map| map.point(point))
    }

    /// Where a place of the new image came from.
    pub fn back(&self, point: [f64; 2]) -> [f64; 2] {
        let maps = self.maps.iter().rev();
        maps.fold(point, |point, map| map.back(point))
    }

    /// The way back, prepared for whole rows of places.
    fn rows_back(&self) -> RowsBack<'_> {
        RowsBack {
            maps: self.maps.iter().rev().map(Map::prepared).collect(),
        }
    }

    /// The map, where it is affine.
    fn as_affine(&self) -> Option<&Affine> {
        match self.maps.as_slice() {
            [Map::Affine(map)] => Some(map),
            _ => None,
        }
    }

    /// Whether straight lines may become curved.
    pub fn bends_lines(&self) -> bool {
        self.maps
            .iter()
            .any(|map| matches!(map, Map::Radial(_) | Map::Bumps(_) | Map::Rows(_)))
    }

    /// Whether upright boxes stay upright boxes.
    pub fn keeps_boxes_upright(&self) -> bool {
        self.as_affine().is_some_and(Affine::keeps_boxes_upright)
    }

    /// Whether left and right are swapped. No map but an affine one can do that.
    pub fn mirrors(&self) -> bool {
        let mirrors = self.maps.iter().map(|map| match map {
            Map::Affine(map) => map.determinant() < 0.0,
            _ => false,
        });
        mirrors.fold(false, |odd, next| odd != next)
    }

    /// How many pixels of the old image fall on one of the new one along a side, where they
    /// are most; measured on a grid over the image.
    fn shrinkage(&self) -> f64 {
        if let Some(map) = self.as_affine() {
            return map.determinant().abs().sqrt().recip();
        }
        const PLACES: u32 = 5;
        let mut most = 0.0_f64;
        for i in 0..PLACES * PLACES {
            let share = [i % PLACES, i / PLACES].map(|i| (f64::from(i) + 0.5) / f64::from(PLACES));
            let [x, y] = [0, 1].map(|axis| share[axis] * f64::from(self.size[axis]));
            let [here, right, below] = [[x, y], [x + 1.0, y], [x, y + 1.0]].map(|p| self.back(p));
            let [a, b] = [right[0] - here[0], right[1] - here[1]];
            let [c, d] = [below[0] - here[0], below[1] - here[1]];
            most = most.max((a * d - b * c).abs().sqrt());
        }
        most
    }
}

/// See [`Motion::rows_back`].
struct RowsBack<'a> {
    /// From the last of the maps to the first.
    maps: Vec<Back<'a>>,
}

impl RowsBack<'_> {
    /// Moves the places of a row, which have one y, to where they came from.
    fn row(&self, places: &mut [[f64; 2]]) {
        for map in &self.maps {
            map.row(places);
        }
    }
}

/// A part of a side, in whole pixels, at least one.
pub(super) fn part(side: u32, share: f64) -> u32 {
    ((f64::from(side) * share).round() as u32).clamp(1, side.max(1))
}

/// Resamples with bilinear weights; what comes from outside is black. Where the image
/// shrinks, several places a pixel are averaged, so that fine structure does not alias.
/// Flips and crops move levels as they are.
pub(super) fn warp(mut picture: Picture, motion: &Motion) -> Picture {
    if let Some(back) = motion.as_affine().map(Affine::inverse)
        && back.moves_whole_pixels()
    {
        // The middle of the first pixel tells where it comes from.
        let start = back.point([0.5, 0.5]);
        let mirrored = [back.0[0] < 0.0, back.0[4] < 0.0];
        let axes = [0, 1].map(|axis| WholeMove {
            start: start[axis].floor() as i64,
            mirrored: mirrored[axis],
        });
        return picture.moved(motion.size, axes);
    }
    let moved = resampled(picture.light(), motion);
    picture.set_light(moved);
    picture
}

fn resampled(image: &Linear, motion: &Motion) -> Linear {
    // Bilinear weights reach over two pixels, which hold up to one and a half times as many.
    let places = motion.shrinkage().round().clamp(1.0, 8.0) as u32;
    let offsets: Vec<f64> = (0..places)
        .map(|i| (f64::from(i) + 0.5) / f64::from(places))
        .collect();
    let weight = 1.0 / (places * places) as f32;
    let width = motion.size[0] as usize;
    let source = Framed::of(image);
    let back = motion.rows_back();
    let mut out = Linear::new(motion.size[0], motion.size[1]);
    // A row of places at once: where they come from, and then what is there.
    let mut row = vec![[0.0; 2]; width];
    let mut corners = vec![Corner::default(); width];
    for (y, line) in out.chunks_exact_mut((3 * width).max(1)).enumerate() {
        for dy in &offsets {
            for dx in &offsets {
                for (index, place) in row.iter_mut().enumerate() {
                    *place = [dx + index as f64, y as f64 + dy];
                }
                back.row(&mut row);
                find_corners(&source, &row, &mut corners);
                add_bilinear(&source, &corners, weight, line);
            }
        }
    }
    out
}

/// An image of four numbers a pixel in a frame of black, so that the four pixels around any
/// place are four vectors and none needs a test.
struct Framed {
    pixels: Vec<[f32; 4]>,
    stride: usize,
    /// Of the image without its frame.
    size: [f64; 2],
}

impl Framed {
    fn of(image: &Linear) -> Self {
        let (width, height) = (image.width() as usize, image.height() as usize);
        // One pixel of frame before and two after: what lies beyond is moved there.
        let stride = width + 3;
        let mut pixels = vec![[0.0; 4]; stride * (height + 3)];
        let lines = pixels.chunks_exact_mut(stride).skip(1);
        for (to, from) in lines.zip(image.chunks_exact((3 * width).max(1))) {
            for (to, [r, g, b]) in to[1..].iter_mut().zip(from.as_chunks::<3>().0) {
                *to = [*r, *g, *b, 0.0];
            }
        }
        Framed {
            pixels,
            stride,
            size: [width as f64, height as f64],
        }
    }
}

/// The first of the four pixels around a place, and how far the place is from it.
#[derive(Clone, Copy, Default)]
struct Corner {
    first: u32,
    right: f32,
    down: f32,
}

wide! {
    fn find_corners(source: &Framed, places: &[[f64; 2]], corners: &mut [Corner]) {
        /// Added to a number, leaves the nearest whole one in the last bits: 1.5 times 2^52.
        const SHIFT: f64 = 6_755_399_441_055_744.0;
        let [width, height] = source.size;
        let stride = source.stride as u32;
        for (corner, [x, y]) in corners.iter_mut().zip(places) {
            // From the frame's corner and the middles of pixels. NaN, of no place at all,
            // becomes the frame.
            let x = (x + 0.5).max(0.0).min(width + 1.0);
            let y = (y + 0.5).max(0.0).min(height + 1.0);
            // Of a whole number the one before may come out; its share is then 0.
            let (left, top) = ((x - 0.5) + SHIFT, (y - 0.5) + SHIFT);
            *corner = Corner {
                first: (top.to_bits() as u32) * stride + left.to_bits() as u32,
                right: (x - (left - SHIFT)) as f32,
                down: (y - (top - SHIFT)) as f32,
            };
        }
    }
}

wide! {
    /// Adds what is at the places of a row, times `weight`, to its pixels.
    fn add_bilinear(source: &Framed, corners: &[Corner], weight: f32, line: &mut [f32]) {
        for (sum, corner) in line.as_chunks_mut::<3>().0.iter_mut().zip(corners) {
            let (u, v) = (corner.right, corner.down);
            let first = corner.first as usize;
            let upper: &[[f32; 4]] = &source.pixels[first..first + 2];
            let lower: &[[f32; 4]] = &source.pixels[first + source.stride..][..2];
            let above = mixed(&upper[0], &upper[1], u);
            let below = mixed(&lower[0], &lower[1], u);
            let there = mixed(&above, &below, v);
            sum[0] += weight * there[0];
            sum[1] += weight * there[1];
            sum[2] += weight * there[2];
        }
    }
}

/// `share` of the way from a pixel to another.
#[inline(always)]
fn mixed(from: &[f32; 4], to: &[f32; 4], share: f32) -> [f32; 4] {
    std::array::from_fn(|channel| from[channel] + share * (to[channel] - from[channel]))
}

/// Identifiers or depths, of which each new pixel takes the nearest; 0 from outside.
pub(super) fn warp_nearest<T: image::Primitive>(
    image: &ImageBuffer<Luma<T>, Vec<T>>,
    motion: &Motion,
) -> ImageBuffer<Luma<T>, Vec<T>> {
    let [width, height] = [image.width(), image.height()].map(f64::from);
    let back = motion.rows_back();
    let mut out = ImageBuffer::new(motion.size[0], motion.size[1]);
    let mut row = vec![[0.0; 2]; motion.size[0] as usize];
    for (y, line) in out.chunks_exact_mut(row.len().max(1)).enumerate() {
        for (x, place) in row.iter_mut().enumerate() {
            *place = [x as f64 + 0.5, y as f64 + 0.5];
        }
        back.row(&mut row);
        for (to, [x, y]) in line.iter_mut().zip(&row) {
            if *x >= 0.0 && *y >= 0.0 && *x < width && *y < height {
                *to = image.get_pixel(*x as u32, *y as u32)[0];
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage};

    fn affine(rotate_deg: f64, scale: f64, shear_deg: f64, translate: [f64; 2]) -> Drawn {
        Drawn::from(Transform::Affine {
            rotate_deg,
            scale,
            shear_deg,
            translate_x: translate[0],
            translate_y: translate[1],
            min_visible: 0.25,
        })
    }

    fn flip() -> Drawn {
        Drawn::from(Transform::FlipHorizontal {
            keypoint_pairs: Vec::new(),
        })
    }

    fn close([x, y]: [f64; 2], [u, v]: [f64; 2]) {
        assert!(
            (x - u).abs() < 1e-9 && (y - v).abs() < 1e-9,
            "{x}, {y} and {u}, {v}"
        );
    }

    /// Worked by hand for an image of 200 x 100 pixels, whose centre is (100, 50).
    #[test]
    fn points_go_where_they_should() {
        let at = |step: &Drawn, point| Motion::of(step, [200, 100]).unwrap().point(point);
        // Right of the centre goes below it: clockwise as seen.
        close(
            at(&affine(90.0, 1.0, 0.0, [0.0; 2]), [120.0, 50.0]),
            [100.0, 70.0],
        );
        close(
            at(&affine(0.0, 2.0, 0.0, [0.0; 2]), [110.0, 45.0]),
            [120.0, 40.0],
        );
        close(
            at(&affine(0.0, 1.0, 45.0, [0.0; 2]), [100.0, 60.0]),
            [110.0, 60.0],
        );
        close(
            at(&affine(0.0, 1.0, 0.0, [0.1, -0.2]), [0.0, 0.0]),
            [20.0, -20.0],
        );
        // A share of 0.4 and an aspect of 4 leave 0.8 of the width and 0.2 of the height,
        // 160 x 20 pixels; a quarter of the free 40 is 10, half of 80 is 40.
        let crop = Drawn::from(Transform::Crop {
            size: 0.4,
            aspect: 4.0,
            x: 0.25,
            y: 0.5,
            min_visible: 0.25,
        });
        assert_eq!(Motion::of(&crop, [200, 100]).unwrap().size, [160, 20]);
        close(at(&crop, [15.0, 45.0]), [5.0, 5.0]);
        let resize = Drawn::from(Transform::Resize { factor: 0.333 });
        assert_eq!(Motion::of(&resize, [200, 100]).unwrap().size, [67, 33]);
        close(at(&resize, [200.0, 100.0]), [67.0, 33.0]);
    }

    #[test]
    fn composition_and_inverse_are_those_of_maps() {
        let steps = [
            affine(20.0, 1.3, 5.0, [0.1, 0.0]),
            flip(),
            Drawn::from(Transform::LensDistortion {
                k1: 0.1,
                k2: 0.0,
                min_visible: 0.25,
            }),
            Drawn::from(Transform::Resize { factor: 0.5 }),
        ];
        let whole = Motion::of_all(&steps, [64, 48]).unwrap();
        assert_eq!(whole.size, [32, 24]);
        let mut point = [11.0, 7.0];
        let mut size = [64, 48];
        for step in &steps {
            let motion = Motion::of(step, size).unwrap();
            (point, size) = (motion.point(point), motion.size);
        }
        close(whole.point([11.0, 7.0]), point);
        close(whole.back(point), [11.0, 7.0]);
        assert_eq!(whole.maps.len(), 3, "the first two are one map");
        assert!(whole.mirrors() && whole.bends_lines());
    }

    #[test]
    fn flips_and_crops_move_pixels_without_resampling() {
        let image = RgbImage::from_fn(7, 5, |x, y| Rgb([x as u8, y as u8, (x * y) as u8]));
        let once = Motion::of(&flip(), [7, 5]).unwrap();
        let flipped = warp(Picture::new(image.clone()), &once);
        let twice = warp(flipped.clone(), &once).into_image();
        assert_eq!(flipped.into_image().get_pixel(0, 3), image.get_pixel(6, 3));
        assert_eq!(twice, image);
    }

    #[test]
    fn shrinking_averages_instead_of_aliasing() {
        let stripes = Linear::from_fn(64, 64, |x, _| Rgb([(x % 2) as f32; 3]));
        let small = resampled(
            &stripes,
            &Motion::of(&affine(0.0, 0.25, 0.0, [0.0; 2]), [64, 64]).unwrap(),
        );
        assert!((small.get_pixel(32, 32)[0] - 0.5).abs() < 0.05);
    }
}
