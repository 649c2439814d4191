//! Finds images that are a part of another one.
//!
//! Corners of a small pyramid are described by 256 comparisons of brightness (BRIEF, Calonder et
//! al. 2010), like descriptions are found through tables of some of their bits
//! (locality-sensitive hashing, Indyk and Motwani 1998), and pairs of images whose corners agree
//! on one scale and shift are compared pixel by pixel. Nothing here turns with the image: a crop
//! that was turned too is not found.

use std::collections::HashMap;
use std::sync::LazyLock;

use image::{GrayImage, Luma};
use rand::RngExt;
use rayon::prelude::*;

use crate::dataset::{fine_correlation, shrunk};
use crate::seed::SeedKey;

/// Longer side of the lowest level, in pixels.
const SIDE_PX: u32 = 192;

/// How much smaller each level is, and how many there are: parts down to half the side are found.
const LEVEL_STEP: f64 = 0.84;
const LEVELS: usize = 5;

/// Most corners of a level, and their least distance in pixels.
const CORNERS: usize = 60;
const APART_PX: usize = 5;

/// Reach of a description around its corner, and of the means that it compares, in pixels.
const REACH_PX: i32 = 13;
const MEAN_PX: i32 = 2;

/// Tables, and the bits of a description that are the key of one.
const TABLES: usize = 8;
const KEY_BITS: usize = 18;

/// A key of more descriptions than this says nothing.
const COMMONEST: usize = 24;

/// Most bits in which the descriptions of one corner differ.
const MAX_DISTANCE: u32 = 40;

/// Corners that have to agree.
const FEWEST_CORNERS: usize = 8;

/// How far, in pixels of the lowest level, corners may lie from where they agree to.
const AGREE_PX: f64 = 4.0;

/// Least magnification of a part: below it the images are near duplicates or none.
const LEAST_SCALE: f64 = 1.06;

/// How far a part may reach out of the whole, as a share of its side.
const OVERHANG: f64 = 0.03;

/// Least correlation of the fine structure of a part and what it is a part of.
const MIN_CORRELATION: f64 = 0.85;

/// Side of the pictures that are compared in the end, in pixels.
const COMPARED_PX: u32 = 64;

/// A described corner.
#[derive(Debug, Clone, Copy)]
struct Corner {
    /// In pixels of the lowest level.
    x: f64,
    y: f64,
    level: usize,
    description: [u64; 4],
}

/// What an image is recognised by as a part or as a whole.
#[derive(Debug)]
pub(super) struct Corners {
    small: GrayImage,
    corners: Vec<Corner>,
}

/// An image that shows a part of another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Crop {
    pub whole: usize,
    pub part: usize,
    /// Share of the whole's area, in `0..1`.
    pub share: f64,
}

/// Places that a description compares, relative to its corner.
static PATTERN: LazyLock<Vec<[(i32, i32); 2]>> = LazyLock::new(|| {
    let mut generator = SeedKey::new(b"places that are compared", 0).generator("pattern", 0);
    let reach = REACH_PX - MEAN_PX;
    let mut place = || {
        let mut one = || generator.random_range(-reach..=reach);
        (one(), one())
    };
    (0..256).map(|_| [place(), place()]).collect()
});

/// Bits of a description that are each table's key.
static KEYS: LazyLock<Vec<[usize; KEY_BITS]>> = LazyLock::new(|| {
    let mut generator = SeedKey::new(b"keys of tables", 0).generator("bits", 0);
    let mut table = || std::array::from_fn(|_| generator.random_range(0..256));
    (0..TABLES).map(|_| table()).collect()
});

impl Corners {
    /// Of an image's grey values.
    pub fn of(grey: &GrayImage) -> Self {
        let (width, height) = grey.dimensions();
        let scale = f64::from(SIDE_PX) / f64::from(width.max(height).max(1));
        let side = |length: u32, scale: f64| ((f64::from(length) * scale).round() as u32).max(1);
        let small = shrunk(grey, side(width, scale), side(height, scale));
        let mut corners = Vec::new();
        for level in 0..LEVELS {
            let scale = LEVEL_STEP.powi(level as i32);
            let image = match level {
                0 => small.clone(),
                _ => shrunk(
                    &small,
                    side(small.width(), scale),
                    side(small.height(), scale),
                ),
            };
            describe(&image, level, &mut corners);
        }
        Corners { small, corners }
    }
}

/// Sums of all pixels above and to the left.
struct Sums {
    width: usize,
    sums: Vec<u32>,
}

impl Sums {
    fn of(image: &GrayImage) -> Self {
        let width = image.width() as usize + 1;
        let mut sums = vec![0_u32; width * (image.height() as usize + 1)];
        for (y, row) in image.rows().enumerate() {
            let mut sum = 0;
            for (x, pixel) in row.enumerate() {
                sum += u32::from(pixel[0]);
                sums[(y + 1) * width + x + 1] = sums[y * width + x + 1] + sum;
            }
        }
        Sums { width, sums }
    }

    /// Sum over the square of [`MEAN_PX`] around a pixel.
    fn around(&self, x: i32, y: i32) -> u32 {
        let at = |x: i32, y: i32| self.sums[y as usize * self.width + x as usize];
        let (left, top) = (x - MEAN_PX, y - MEAN_PX);
        let (right, bottom) = (x + MEAN_PX + 1, y + MEAN_PX + 1);
        at(right, bottom) + at(left, top) - at(left, bottom) - at(right, top)
    }
}

/// Adds the corners of one level.
fn describe(image: &GrayImage, level: usize, corners: &mut Vec<Corner>) {
    let (width, height) = (image.width() as i32, image.height() as i32);
    if width <= 2 * REACH_PX + 2 || height <= 2 * REACH_PX + 2 {
        return;
    }
    let sums = Sums::of(image);
    let scale = LEVEL_STEP.powi(level as i32);
    for (x, y) in strongest(image) {
        let mut description = [0_u64; 4];
        for (bit, [a, b]) in PATTERN.iter().enumerate() {
            let mean = |(dx, dy): (i32, i32)| sums.around(x + dx, y + dy);
            description[bit / 64] |= u64::from(mean(*a) < mean(*b)) << (bit % 64);
        }
        corners.push(Corner {
            x: f64::from(x) / scale,
            y: f64::from(y) / scale,
            level,
            description,
        });
    }
}

/// The strongest corners that have room around them for a description, apart from each other: by
/// the smaller eigenvalue of the gradients' second moments (Shi and Tomasi 1994).
fn strongest(image: &GrayImage) -> Vec<(i32, i32)> {
    // Steps of five levels a pixel in both directions, over all pixels of the window.
    const LEAST: f32 = (WINDOW * WINDOW) as f32 * 100.0;
    const WINDOW: usize = 5;
    // Of more corners than this the weakest are never chosen.
    const CANDIDATES: usize = 2_000;
    let (width, height) = (image.width() as usize, image.height() as usize);
    let pixels = image.as_raw();
    let inner = width - 2;
    // Products of the gradients (differences over two pixels), row by row.
    let mut products: Vec<[Vec<f32>; 3]> = vec![Default::default(); height];
    for (y, own) in products.iter_mut().enumerate().take(height - 1).skip(1) {
        let row = |y: usize| &pixels[y * width..(y + 1) * width];
        let (above, here, below) = (&row(y - 1)[1..], row(y), &row(y + 1)[1..]);
        *own = [0, 1, 2].map(|_| vec![0.0; inner]);
        for x in 0..inner {
            let across = f32::from(here[x + 2]) - f32::from(here[x]);
            let down = f32::from(below[x]) - f32::from(above[x]);
            own[0][x] = across * across;
            own[1][x] = across * down;
            own[2][x] = down * down;
        }
    }
    let margin = REACH_PX as usize + 1;
    let mut scored = Vec::new();
    let mut columns = [0, 1, 2].map(|_| vec![0.0_f32; inner]);
    for y in margin..height - margin {
        for (index, column) in columns.iter_mut().enumerate() {
            column.fill(0.0);
            for row in &products[y - WINDOW / 2..=y + WINDOW / 2] {
                column
                    .iter_mut()
                    .zip(&row[index])
                    .for_each(|(sum, own)| *sum += own);
            }
        }
        for x in margin..width - margin {
            // The first product is that of the second pixel.
            let start = x - 1 - WINDOW / 2;
            let [a, b, c] =
                [0, 1, 2].map(|index| columns[index][start..start + WINDOW].iter().sum::<f32>());
            // Its smaller eigenvalue is above the least one.
            let (trace, determinant) = (a + c, a * c - b * b);
            if trace > 2.0 * LEAST && determinant > LEAST * (trace - LEAST) {
                let smaller = trace / 2.0 - (((a - c) / 2.0).powi(2) + b * b).sqrt();
                scored.push((smaller, x, y));
            }
        }
    }
    let order = |a: &(f32, usize, usize), b: &(f32, usize, usize)| {
        b.0.total_cmp(&a.0).then((a.2, a.1).cmp(&(b.2, b.1)))
    };
    if scored.len() > CANDIDATES {
        scored.select_nth_unstable_by(CANDIDATES, order);
        scored.truncate(CANDIDATES);
    }
    scored.sort_unstable_by(order);
    let cells_across = width / APART_PX + 1;
    let mut taken = vec![false; cells_across * (height / APART_PX + 1)];
    let mut chosen = Vec::new();
    for (_, x, y) in scored {
        let (cell_x, cell_y) = (x / APART_PX, y / APART_PX);
        let around = |offset: usize, limit: usize, cell: usize| {
            let at = (cell + offset).checked_sub(1)?;
            (at < limit).then_some(at)
        };
        let cells_down = taken.len() / cells_across;
        let is_free = (0..9).all(|index| {
            let cell =
                around(index % 3, cells_across, cell_x).zip(around(index / 3, cells_down, cell_y));
            cell.is_none_or(|(cx, cy)| !taken[cy * cells_across + cx])
        });
        if is_free {
            taken[cell_y * cells_across + cell_x] = true;
            chosen.push((x as i32, y as i32));
            if chosen.len() == CORNERS {
                break;
            }
        }
    }
    chosen
}

/// The pairs of images of which one is a part of the other, in the order of the images.
pub(super) fn find(images: &[(usize, &Corners)]) -> Vec<Crop> {
    let matches = matches(images);
    let mut found: Vec<Crop> = matches
        .into_par_iter()
        .filter(|(_, corners)| corners.len() >= FEWEST_CORNERS)
        .filter_map(|((one, other), corners)| crop(&images[one], &images[other], &corners))
        .collect();
    found.sort_by_key(|crop| (crop.part, crop.whole));
    found
}

/// Corners of two images, by index, that may be one.
type Matches = HashMap<(usize, usize), Vec<(usize, usize)>>;

fn matches(images: &[(usize, &Corners)]) -> Matches {
    let mut found: Matches = HashMap::new();
    for bits in KEYS.iter() {
        let mut table: HashMap<u32, Vec<(usize, usize)>> = HashMap::new();
        for (image, (_, corners)) in images.iter().enumerate() {
            for (index, corner) in corners.corners.iter().enumerate() {
                let bit = |bit: usize| (corner.description[bit / 64] >> (bit % 64)) & 1;
                let key = bits.iter().fold(0, |key, &b| key << 1 | bit(b) as u32);
                table.entry(key).or_default().push((image, index));
            }
        }
        for entries in table.into_values().filter(|e| e.len() <= COMMONEST) {
            for (place, &(one, first)) in entries.iter().enumerate() {
                for &(other, second) in &entries[place + 1..] {
                    let corner = |image: usize, index: usize| &images[image].1.corners[index];
                    if one != other
                        && distance(corner(one, first), corner(other, second)) <= MAX_DISTANCE
                    {
                        found.entry((one, other)).or_default().push((first, second));
                    }
                }
            }
        }
    }
    for corners in found.values_mut() {
        corners.sort_unstable();
        corners.dedup();
    }
    found
}

fn distance(one: &Corner, other: &Corner) -> u32 {
    let bits = one.description.iter().zip(&other.description);
    bits.map(|(a, b)| (a ^ b).count_ones()).sum()
}

/// From pixels of one image to those of another: a magnification and a shift.
#[derive(Debug, Clone, Copy)]
struct Map {
    scale: f64,
    shift: [f64; 2],
}

impl Map {
    fn apply(&self, x: f64, y: f64) -> [f64; 2] {
        [
            self.scale * x + self.shift[0],
            self.scale * y + self.shift[1],
        ]
    }

    fn inverse(&self) -> Self {
        Map {
            scale: 1.0 / self.scale,
            shift: self.shift.map(|shift| -shift / self.scale),
        }
    }
}

fn crop(
    one: &(usize, &Corners),
    other: &(usize, &Corners),
    matches: &[(usize, usize)],
) -> Option<Crop> {
    let pairs: Vec<(Corner, Corner)> = matches
        .iter()
        .map(|&(first, second)| (one.1.corners[first], other.1.corners[second]))
        .collect();
    let map = agreed(&pairs)?;
    // The part is magnified.
    let (whole, part, map) = match map.scale > 1.0 {
        true => (one, other, map),
        false => (other, one, map.inverse()),
    };
    if map.scale < LEAST_SCALE {
        return None;
    }
    let to_whole = map.inverse();
    let (part_width, part_height) = part.1.small.dimensions();
    let (width, height) = whole.1.small.dimensions();
    let [left, top] = to_whole.apply(0.0, 0.0);
    let [right, bottom] = to_whole.apply(f64::from(part_width), f64::from(part_height));
    let overhang = OVERHANG * f64::from(SIDE_PX);
    let is_inside = left >= -overhang
        && top >= -overhang
        && right <= f64::from(width) + overhang
        && bottom <= f64::from(height) + overhang;
    if !is_inside {
        return None;
    }
    let small = |image: &GrayImage, place: &dyn Fn(f64, f64) -> [f64; 2]| {
        GrayImage::from_fn(COMPARED_PX, COMPARED_PX, |x, y| {
            let along = |v: u32, length: u32| {
                (f64::from(v) + 0.5) / f64::from(COMPARED_PX) * f64::from(length)
            };
            let [x, y] = place(along(x, part_width), along(y, part_height));
            Luma([bilinear(image, x - 0.5, y - 0.5)])
        })
    };
    let seen = small(&part.1.small, &|x, y| [x, y]);
    let expected = small(&whole.1.small, &|x, y| to_whole.apply(x, y));
    (fine_correlation(&seen, &expected) >= MIN_CORRELATION).then(|| Crop {
        whole: whole.0,
        part: part.0,
        share: (right - left) * (bottom - top) / (f64::from(width) * f64::from(height)),
    })
}

/// The grey value at a place between pixels' centres; that of the edge outside.
fn bilinear(image: &GrayImage, x: f64, y: f64) -> u8 {
    let (width, height) = image.dimensions();
    let at = |x: f64, y: f64| {
        let clamp = |v: f64, length: u32| v.clamp(0.0, f64::from(length - 1)) as u32;
        f64::from(image.get_pixel(clamp(x, width), clamp(y, height))[0])
    };
    let (left, top) = (x.floor(), y.floor());
    let (across, down) = (x - left, y - top);
    let upper = at(left, top) * (1.0 - across) + at(left + 1.0, top) * across;
    let lower = at(left, top + 1.0) * (1.0 - across) + at(left + 1.0, top + 1.0) * across;
    (upper * (1.0 - down) + lower * down).round() as u8
}

/// The map on which most pairs of corners agree, fitted to them by least squares; `None` where
/// too few do.
fn agreed(pairs: &[(Corner, Corner)]) -> Option<Map> {
    let proposed = |(one, other): &(Corner, Corner)| {
        let steps = other.level as i32 - one.level as i32;
        let scale = LEVEL_STEP.powi(-steps);
        Map {
            scale,
            shift: [other.x - scale * one.x, other.y - scale * one.y],
        }
    };
    // A proposal is as coarse as the levels; what agrees with it roughly is fitted.
    const ROUGH_PX: f64 = 12.0;
    let agrees = |map: &Map, limit: f64, (one, other): &(Corner, Corner)| {
        let [x, y] = map.apply(one.x, one.y);
        (x - other.x).powi(2) + (y - other.y).powi(2) <= limit * limit
    };
    let count = |map: &Map, limit: f64| pairs.iter().filter(|p| agrees(map, limit, p)).count();
    // Where most pairs agree, one of the first does.
    const PROPOSALS: usize = 100;
    let best = pairs
        .iter()
        .take(PROPOSALS)
        .map(proposed)
        .max_by_key(|map| count(map, ROUGH_PX))?;
    let mut map = best;
    for limit in [ROUGH_PX, ROUGH_PX, AGREE_PX] {
        let own: Vec<&(Corner, Corner)> = pairs.iter().filter(|p| agrees(&map, limit, p)).collect();
        if own.len() < FEWEST_CORNERS {
            return None;
        }
        map = fitted(&own)?;
    }
    // Corners of several levels lie at one place: places count.
    const PLACE_PX: f64 = 6.0;
    let places = |corner: fn(&(Corner, Corner)) -> &Corner| {
        let own = pairs.iter().filter(|p| agrees(&map, AGREE_PX, p));
        let rough = |v: f64| (v / PLACE_PX) as i64;
        let mut places: Vec<(i64, i64)> = own
            .map(|pair| (rough(corner(pair).x), rough(corner(pair).y)))
            .collect();
        places.sort_unstable();
        places.dedup();
        places.len()
    };
    let distinct = places(|pair| &pair.0).min(places(|pair| &pair.1));
    (distinct >= FEWEST_CORNERS).then_some(map)
}

/// Least squares of one magnification and a shift.
fn fitted(pairs: &[&(Corner, Corner)]) -> Option<Map> {
    let n = pairs.len() as f64;
    let mean = |of: &dyn Fn(&(Corner, Corner)) -> f64| pairs.iter().map(|p| of(p)).sum::<f64>() / n;
    let [x, y] = [mean(&|p| p.0.x), mean(&|p| p.0.y)];
    let [u, v] = [mean(&|p| p.1.x), mean(&|p| p.1.y)];
    let mut spread = 0.0;
    let mut product = 0.0;
    for (one, other) in pairs.iter().map(|p| (&p.0, &p.1)) {
        spread += (one.x - x).powi(2) + (one.y - y).powi(2);
        product += (one.x - x) * (other.x - u) + (one.y - y) * (other.y - v);
    }
    let scale = product / spread;
    (scale.is_finite() && scale > 0.0).then_some(Map {
        scale,
        shift: [u - scale * x, v - scale * y],
    })
}

#[cfg(test)]
mod tests {
    use image::imageops::{FilterType, crop_imm, resize};

    use super::*;

    /// Discs of all sizes and greys on a slope, others for each `scene`.
    fn scene(scene: u64) -> GrayImage {
        let mut generator = SeedKey::new(b"discs", scene).generator("places", 0);
        let mut image = GrayImage::from_fn(480, 360, |x, y| Luma([(60 + x / 8 + y / 12) as u8]));
        for _ in 0..160 {
            let (x, y) = (
                generator.random_range(0..480),
                generator.random_range(0..360),
            );
            let radius: i32 = generator.random_range(4..22);
            let level: u8 = generator.random();
            for dy in -radius..=radius {
                for dx in -radius..=radius {
                    let (px, py) = (x + dx, y + dy);
                    if dx * dx + dy * dy <= radius * radius
                        && (0..480).contains(&px)
                        && (0..360).contains(&py)
                    {
                        image.put_pixel(px as u32, py as u32, Luma([level]));
                    }
                }
            }
        }
        image
    }

    #[test]
    fn parts_are_found_with_their_share() {
        let whole = scene(1);
        let part = |left, top, width, height| crop_imm(&whole, left, top, width, height).to_image();
        let images = [
            whole.clone(),
            scene(2),
            part(60, 40, 336, 252),
            resize(&part(0, 90, 360, 270), 300, 225, FilterType::Lanczos3),
            scene(3),
            resize(&whole, 320, 240, FilterType::Lanczos3),
        ];
        let corners: Vec<Corners> = images.iter().map(Corners::of).collect();
        let indexed: Vec<(usize, &Corners)> = corners.iter().enumerate().collect();
        let found = find(&indexed);
        let of = |whole: usize, part: usize| {
            let own = found.iter().find(|c| (c.whole, c.part) == (whole, part));
            own.map(|crop| crop.share)
        };
        for (part, share) in [(2, 0.49), (3, 0.5625)] {
            // Both the image and its copy at two thirds of the size are the whole.
            for whole in [0, 5] {
                let found = of(whole, part).unwrap_or_default();
                assert!((found - share).abs() < 0.03, "{whole} {part}: {found}");
            }
        }
        assert_eq!(found.len(), 4, "{found:?}");
    }

    #[test]
    fn images_without_corners_and_tiny_ones_are_parts_of_nothing() {
        let images = [
            GrayImage::new(1, 1),
            GrayImage::new(600, 2),
            GrayImage::from_pixel(300, 300, Luma([90])),
            GrayImage::from_pixel(200, 200, Luma([90])),
        ];
        let corners: Vec<Corners> = images.iter().map(Corners::of).collect();
        let indexed: Vec<(usize, &Corners)> = corners.iter().enumerate().collect();
        assert!(find(&indexed).is_empty());
    }
}
