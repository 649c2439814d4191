//! Which pixels each object would cover if nothing hid it.

use std::borrow::Cow;

use glam::{Vec2, Vec3};

use super::frame::{PixelSet, Silhouette};
use super::view::View;
use crate::annotation::BoundingBox;
use crate::scene::{Assets, Geometry, Part, Projection, SceneInstance};

/// Longer side in pixels of the picture in which the share of an outline outside the image
/// is counted.
const SHARE_SIDE_PX: f32 = 256.0;

/// How far, in pixels, an edge that a lens bends may lie from the straight one it is drawn as.
const BEND_PX: f32 = 0.2;

/// How often an edge is halved for that, at most.
const MAX_HALVINGS: u32 = 6;

/// What each object covers inside the image, hidden or not. Parts out of sight (`None` among
/// `levels`) and those that reach behind the camera cover nothing.
pub(super) fn silhouettes(
    scene: &SceneInstance,
    assets: &Assets,
    projection: &Projection,
    view: &View,
    levels: &[Option<usize>],
) -> Vec<Silhouette> {
    let mut levels = levels.iter();
    let mut canvas = Canvas::default();
    let size = Vec2::new(scene.width_px as f32, scene.height_px as f32);
    let outline_of = |part: &Part, level: usize| {
        let geometry = &assets.meshes[part.mesh].levels[level].geometry;
        Outline::new(part, geometry, projection, view.near)
    };
    let objects = scene.objects.iter().map(|object| {
        let of_object: Vec<_> = object.parts.iter().zip(levels.by_ref()).collect();
        let parts = of_object.iter();
        let outlines: Vec<Outline> = parts
            .filter_map(|(part, level)| outline_of(part, (**level)?))
            .collect();
        let mut found = canvas.draw(&outlines, scene.width_px, scene.height_px);
        if found.pixels > 0 {
            // Out of sight, parts have no level; the coarsest will do.
            let whole: Option<Vec<Outline>> = of_object
                .iter()
                .map(|(part, level)| {
                    let coarsest = assets.meshes[part.mesh].levels.len() - 1;
                    outline_of(part, level.unwrap_or(coarsest))
                })
                .collect();
            found.truncated = whole.map(|whole| canvas.share_outside(whole, size));
        }
        let mut media = object.parts.iter().map(|part| part.material.medium);
        found.is_transparent = media.all(|medium| medium.is_some());
        found
    });
    objects.collect()
}

/// Triangles in the image.
struct Outline<'a> {
    points: Vec<Vec2>,
    triangles: Cow<'a, [[u32; 3]]>,
}

impl<'a> Outline<'a> {
    /// `None` where a part reaches behind the near plane.
    fn new(
        part: &Part,
        geometry: &'a Geometry,
        projection: &Projection,
        near: f32,
    ) -> Option<Self> {
        let own = |position: &Vec3| {
            let at = projection.camera_point(part.world_from_local.transform_point3(*position));
            (at.z > near).then_some(at)
        };
        if !projection.is_distorted() {
            let project = |position| projection.image_point(own(position)?);
            let points: Option<Vec<Vec2>> = geometry.positions.iter().map(project).collect();
            return Some(Outline {
                points: points?,
                triangles: Cow::Borrowed(&geometry.triangles),
            });
        }
        let positions: Option<Vec<Vec3>> = geometry.positions.iter().map(own).collect();
        let positions = positions?;
        let mut bent = Bent {
            projection,
            points: Vec::new(),
            triangles: Vec::new(),
        };
        for triangle in &geometry.triangles {
            let corners = triangle.map(|index| positions[index as usize]);
            let seen = corners.map(|corner| projection.image_point(corner));
            if let [Some(a), Some(b), Some(c)] = seen {
                bent.add(corners, [a, b, c], MAX_HALVINGS);
            }
        }
        Some(Outline {
            points: bent.points,
            triangles: Cow::Owned(bent.triangles),
        })
    }
}

/// Triangles whose edges a lens bends, as smaller ones.
struct Bent<'a> {
    projection: &'a Projection,
    points: Vec<Vec2>,
    triangles: Vec<[u32; 3]>,
}

impl Bent<'_> {
    /// Adds a triangle along the camera's axes whose corners are seen at `seen`, or its four
    /// quarters where an edge is bent too much.
    fn add(&mut self, corners: [Vec3; 3], seen: [Vec2; 3], halvings: u32) {
        let [a, b, c] = corners;
        let between = [(a + b) / 2.0, (b + c) / 2.0, (c + a) / 2.0];
        // Where a halved edge is seen; near corners make it differ from the middle even without
        // a lens, so that it is compared with the whole line.
        let middles = between.map(|middle| self.projection.image_point(middle));
        if let [Some(p), Some(q), Some(r)] = middles
            && halvings > 0
        {
            let [x, y, z] = seen;
            let edges = [(x, p, y), (y, q, z), (z, r, x)];
            if edges
                .iter()
                .any(|(from, at, to)| off_line(*from, *at, *to) > BEND_PX)
            {
                let [d, e, f] = between;
                self.add([a, d, f], [x, p, r], halvings - 1);
                self.add([d, b, e], [p, y, q], halvings - 1);
                self.add([f, e, c], [r, q, z], halvings - 1);
                self.add([d, e, f], [p, q, r], halvings - 1);
                return;
            }
        }
        let first = self.points.len() as u32;
        self.points.extend(seen);
        self.triangles.push([first, first + 1, first + 2]);
    }
}

/// Distance of a point from the line through two others.
fn off_line(from: Vec2, at: Vec2, to: Vec2) -> f32 {
    let along = (to - from).normalize_or_zero();
    (at - from).perp_dot(along).abs()
}

/// Least and greatest coordinates.
fn extent_of(outlines: &[Outline]) -> (Vec2, Vec2) {
    let points = || outlines.iter().flat_map(|outline| &outline.points).copied();
    let low = points().fold(Vec2::INFINITY, Vec2::min);
    (low, points().fold(Vec2::NEG_INFINITY, Vec2::max))
}

/// One bit a pixel of the rectangle around an object.
#[derive(Default)]
struct Canvas {
    rows: Vec<u64>,
}

impl Canvas {
    /// The pixels that any of the triangles covers.
    fn draw(&mut self, outlines: &[Outline], width: u32, height: u32) -> Silhouette {
        let (low, high) = extent_of(outlines);
        let last = Vec2::new(width as f32, height as f32) - 1.0;
        if !(high.cmpge(Vec2::ZERO).all() && low.cmple(last + 1.0).all()) {
            return Silhouette::default();
        }
        let low = low.max(Vec2::ZERO).floor();
        let high = high.min(last).floor();
        if high.cmplt(low).any() {
            return Silhouette::default();
        }
        let words = (high.x - low.x) as usize / 64 + 1;
        let rows = (high.y - low.y) as usize + 1;
        self.rows.clear();
        self.rows.resize(words * rows, 0);
        for Outline { points, triangles } in outlines {
            for triangle in triangles.iter() {
                let corners = triangle.map(|index| points[index as usize] - low);
                self.fill(corners, words, rows, (high.x - low.x) as i64);
            }
        }
        Silhouette {
            pixels: self.rows.iter().map(|word| word.count_ones()).sum(),
            bbox: self.extent(words, low),
            covered: PixelSet {
                left: low.x as u32,
                top: low.y as u32,
                words,
                rows: self.rows.clone(),
            },
            ..Silhouette::default()
        }
    }

    /// The share of the outlines' joint area outside an image of this size, counted in a
    /// picture of the whole that is as large as is needed for it.
    fn share_outside(&mut self, mut outlines: Vec<Outline>, size: Vec2) -> f64 {
        let (low, high) = extent_of(&outlines);
        if low.cmpge(Vec2::ZERO).all() && high.cmple(size).all() {
            return 0.0;
        }
        let scale = SHARE_SIDE_PX / (high - low).max_element().max(1e-6);
        for point in outlines.iter_mut().flat_map(|outline| &mut outline.points) {
            *point = (*point - low) * scale;
        }
        let last = ((high - low) * scale).floor();
        let words = last.x as usize / 64 + 1;
        let rows = last.y as usize + 1;
        self.rows.clear();
        self.rows.resize(words * rows, 0);
        for Outline { points, triangles } in &outlines {
            for triangle in triangles.iter() {
                let corners = triangle.map(|index| points[index as usize]);
                self.fill(corners, words, rows, last.x as i64);
            }
        }
        let (mut whole, mut inside) = (0_u32, 0_u32);
        for (row, line) in self.rows.chunks(words).enumerate() {
            for column in
                (0..words * 64).filter(|column| line[column / 64] >> (column % 64) & 1 == 1)
            {
                let at = low + (Vec2::new(column as f32, row as f32) + 0.5) / scale;
                whole += 1;
                inside += u32::from(at.cmpge(Vec2::ZERO).all() && at.cmplt(size).all());
            }
        }
        1.0 - f64::from(inside) / f64::from(whole.max(1))
    }

    /// The extent of what is set, with the canvas's corner at `low`.
    fn extent(&self, words: usize, low: Vec2) -> Option<BoundingBox> {
        let is_set = |row: &[u64]| row.iter().any(|word| *word != 0);
        let rows = || self.rows.chunks(words);
        let top = rows().position(is_set)?;
        let bottom = rows().rposition(is_set)? + 1;
        let first = |row: &[u64]| {
            let word = row.iter().position(|word| *word != 0)?;
            Some(word * 64 + row[word].trailing_zeros() as usize)
        };
        let last = |row: &[u64]| {
            let word = row.iter().rposition(|word| *word != 0)?;
            Some(word * 64 + 64 - row[word].leading_zeros() as usize)
        };
        let left = rows().filter_map(first).min()?;
        let right = rows().filter_map(last).max()?;
        let x = |column: usize| f64::from(low.x) + column as f64;
        let y = |row: usize| f64::from(low.y) + row as f64;
        Some(BoundingBox::from_corners(
            x(left),
            y(top),
            x(right),
            y(bottom),
        ))
    }

    /// Sets the pixels whose centres lie within a triangle.
    fn fill(&mut self, corners: [Vec2; 3], words: usize, rows: usize, last_column: i64) {
        let [a, b, c] = corners;
        let top = a.y.min(b.y).min(c.y);
        let bottom = a.y.max(b.y).max(c.y);
        let first = (top - 0.5).ceil().max(0.0) as usize;
        let end = ((bottom - 0.5).floor() + 1.0).clamp(0.0, rows as f32) as usize;
        for row in first..end {
            let y = row as f32 + 0.5;
            let (mut left, mut right) = (f32::INFINITY, f32::NEG_INFINITY);
            for (from, to) in [(a, b), (b, c), (c, a)] {
                if (from.y <= y) != (to.y <= y) {
                    let x = from.x + (to.x - from.x) * (y - from.y) / (to.y - from.y);
                    left = left.min(x);
                    right = right.max(x);
                }
            }
            if left > right {
                continue;
            }
            let from = ((left - 0.5).ceil() as i64).max(0);
            let to = ((right - 0.5).floor() as i64).min(last_column);
            let line = &mut self.rows[row * words..(row + 1) * words];
            let mut column = from;
            while column <= to {
                let (word, bit) = (column / 64, column % 64);
                let count = (to - column + 1).min(64 - bit);
                let mask = u64::MAX >> (64 - count);
                line[word as usize] |= mask << bit;
                column += count;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(points: &[Vec2], triangles: &[[u32; 3]]) -> Silhouette {
        let outline = Outline {
            points: points.to_vec(),
            triangles: Cow::Borrowed(triangles),
        };
        Canvas::default().draw(&[outline], 200, 100)
    }

    fn count(points: &[Vec2], triangles: &[[u32; 3]]) -> u32 {
        draw(points, triangles).pixels
    }

    #[test]
    fn a_rectangle_covers_its_pixels_once() {
        let corners = |x: f32, y: f32, width: f32, height: f32| {
            [
                Vec2::new(x, y),
                Vec2::new(x + width, y),
                Vec2::new(x + width, y + height),
                Vec2::new(x, y + height),
            ]
        };
        let halves = [[0, 1, 2], [0, 2, 3]];
        let found = draw(&corners(3.0, 2.0, 150.0, 20.0), &halves);
        let extent = BoundingBox::from_corners(3.0, 2.0, 153.0, 22.0);
        assert_eq!((found.pixels, found.bbox), (3000, Some(extent)));
        let both_sides = [[0, 1, 2], [0, 2, 3], [0, 2, 1], [0, 3, 2]];
        assert_eq!(count(&corners(3.0, 2.0, 150.0, 20.0), &both_sides), 3000);
        assert_eq!(
            count(&corners(190.0, 90.0, 50.0, 50.0), &halves),
            100,
            "clipped"
        );
        assert_eq!(
            count(&corners(-50.0, -50.0, 60.0, 60.0), &halves),
            100,
            "clipped"
        );
        assert_eq!(count(&corners(300.0, 2.0, 5.0, 5.0), &halves), 0);
        assert_eq!(
            count(&corners(3.6, 2.0, 0.8, 10.0), &halves),
            0,
            "no centre is covered"
        );
    }

    #[test]
    fn the_share_outside_is_that_of_the_area() {
        let halves = [[0, 1, 2], [0, 2, 3]];
        let share = |x: f32, y: f32, width: f32, height: f32| {
            let corners = [
                [x, y],
                [x + width, y],
                [x + width, y + height],
                [x, y + height],
            ];
            let outline = Outline {
                points: corners.map(Vec2::from).to_vec(),
                triangles: Cow::Borrowed(&halves),
            };
            Canvas::default().share_outside(vec![outline], Vec2::new(200.0, 100.0))
        };
        assert_eq!(share(3.0, 2.0, 150.0, 20.0), 0.0);
        assert!((share(-30.0, 2.0, 120.0, 20.0) - 0.25).abs() < 0.01);
        assert!((share(195.0, 95.0, 10.0, 10.0) - 0.75).abs() < 0.01);
        // Far larger than the image.
        assert!((share(-4900.0, -4950.0, 10000.0, 10000.0) - 0.9998).abs() < 1e-3);
    }

    #[test]
    fn pixels_are_kept_where_they_are() {
        let corners = [[70.0, 3.0], [140.0, 3.0], [140.0, 5.0], [70.0, 5.0]];
        let found = draw(&corners.map(Vec2::from), &[[0, 1, 2], [0, 2, 3]]);
        let covers = |x: u32, y: u32| (70..140).contains(&x) && (3..5).contains(&y);
        for (x, y) in (0..100).flat_map(|y| (0..200).map(move |x| (x, y))) {
            assert_eq!(found.covered.contains(x, y), covers(x, y), "{x}, {y}");
        }
    }

    #[test]
    fn a_round_outline_has_its_area() {
        let middle = Vec2::new(100.0, 50.0);
        let mut points: Vec<Vec2> = (0..90)
            .map(|step| middle + 40.0 * Vec2::from_angle(step as f32 * 4_f32.to_radians()))
            .collect();
        points.push(middle);
        let triangles: Vec<[u32; 3]> = (0..90).map(|step| [90, step, (step + 1) % 90]).collect();
        let area = std::f32::consts::PI * 1600.0;
        assert!((count(&points, &triangles) as f32 / area - 1.0).abs() < 0.01);
    }
}
