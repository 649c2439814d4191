//! Maps of points: where the places of a picture go, and where they came from.

use std::sync::Arc;

use glam::{DMat3, DVec3};
use rand::RngExt;

use crate::augment::wide::wide;
use crate::seed::SeedKey;

/// A map of pixel coordinates, whose origin is the outer corner of the top left pixel. Each
/// can be followed in both directions.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::augment) enum Map {
    Affine(Affine),
    Perspective(Perspective),
    Radial(Radial),
    Bumps(Arc<Bumps>),
    Rows(Rows),
}

impl Map {
    pub fn point(&self, point: [f64; 2]) -> [f64; 2] {
        match self {
            Map::Affine(map) => map.point(point),
            Map::Perspective(map) => projected(&map.to, point),
            Map::Radial(map) => map.point(point),
            Map::Bumps(map) => map.point(point),
            Map::Rows(map) => [point[0] + map.shift(point[1]), point[1]],
        }
    }

    /// Where a place of the new picture came from.
    pub fn back(&self, point: [f64; 2]) -> [f64; 2] {
        match self {
            Map::Affine(map) => map.inverse().point(point),
            Map::Perspective(map) => projected(&map.back, point),
            Map::Radial(map) => map.back(point),
            Map::Bumps(map) => map.back(point),
            Map::Rows(map) => [point[0] - map.shift(point[1]), point[1]],
        }
    }
}

impl Map {
    /// The way back with all that does not depend on the place computed once.
    pub fn prepared(&self) -> Back<'_> {
        match self {
            Map::Affine(map) => Back::Affine(map.inverse()),
            other => Back::Other(other),
        }
    }
}

/// The way back through one map, for rows of places.
pub(in crate::augment) enum Back<'a> {
    /// The inverse.
    Affine(Affine),
    Other(&'a Map),
}

impl Back<'_> {
    /// Moves each place to where it came from, as [`Map::back`] does.
    pub fn row(&self, places: &mut [[f64; 2]]) {
        match self {
            Back::Affine(map) => affine_row(map, places),
            Back::Other(Map::Perspective(map)) => projected_row(&map.back, places),
            Back::Other(Map::Radial(map)) => radial_row(map, places),
            Back::Other(Map::Bumps(map)) => map.row_back(places),
            Back::Other(map) => {
                for place in places {
                    *place = map.back(*place);
                }
            }
        }
    }
}

wide! {
    fn affine_row(map: &Affine, places: &mut [[f64; 2]]) {
        for place in places {
            *place = map.point(*place);
        }
    }
}

wide! {
    fn projected_row(matrix: &DMat3, places: &mut [[f64; 2]]) {
        for place in places {
            *place = projected(matrix, *place);
        }
    }
}

wide! {
    /// Moves each place by what four nodes of one row, `step` of them a pixel, say of it.
    fn shift_row(nodes: &[[f64; 2]], step: f64, cells: f64, places: &mut [[f64; 2]]) {
        for place in places {
            let across = place[0] * step;
            if !(0.0..cells).contains(&across) {
                continue;
            }
            let i = across as usize;
            let weights = spline(across - i as f64);
            for (shift, weight) in nodes[i..i + 4].iter().zip(weights) {
                place[0] += weight * shift[0];
                place[1] += weight * shift[1];
            }
        }
    }
}

wide! {
    fn radial_row(map: &Radial, places: &mut [[f64; 2]]) {
        for place in places {
            *place = map.back(*place);
        }
    }
}

/// `x' = a x + b y + c`, `y' = d x + e y + f`, stored as `[a, b, c, d, e, f]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::augment) struct Affine(pub [f64; 6]);

impl Affine {
    pub fn scale(x: f64, y: f64) -> Self {
        Affine([x, 0.0, 0.0, 0.0, y, 0.0])
    }

    pub fn shift(x: f64, y: f64) -> Self {
        Affine([1.0, 0.0, x, 0.0, 1.0, y])
    }

    /// This map, and then another.
    pub fn then(&self, next: &Self) -> Self {
        let ([a, b, c, d, e, f], n) = (self.0, next.0);
        Affine([
            n[0] * a + n[1] * d,
            n[0] * b + n[1] * e,
            n[0] * c + n[1] * f + n[2],
            n[3] * a + n[4] * d,
            n[3] * b + n[4] * e,
            n[3] * c + n[4] * f + n[5],
        ])
    }

    #[inline(always)]
    pub fn point(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let [a, b, c, d, e, f] = self.0;
        [a * x + b * y + c, d * x + e * y + f]
    }

    /// Factor by which areas grow; negative where left and right are swapped.
    pub fn determinant(&self) -> f64 {
        let [a, b, _, d, e, _] = self.0;
        a * e - b * d
    }

    pub fn inverse(&self) -> Self {
        let [a, b, c, d, e, f] = self.0;
        let determinant = self.determinant();
        let [a, b, d, e] = [e, -b, -d, a].map(|value| value / determinant);
        Affine([a, b, -(a * c + b * f), d, e, -(d * c + e * f)])
    }

    /// Whether each pixel covers exactly one afterwards, as in flips and crops.
    pub fn moves_whole_pixels(&self) -> bool {
        let [a, _, c, _, e, f] = self.0;
        let whole = c.fract() == 0.0 && f.fract() == 0.0;
        self.keeps_boxes_upright() && a.abs() == 1.0 && e.abs() == 1.0 && whole
    }

    /// Whether upright boxes stay upright boxes.
    pub fn keeps_boxes_upright(&self) -> bool {
        self.0[1] == 0.0 && self.0[3] == 0.0
    }
}

/// The picture that a camera sees after it turned about its centre: `K R K^-1` with the
/// camera matrix `K` and the rotation `R` (Hartley and Zisserman 2004, section 8.4.2).
#[derive(Debug, Clone, PartialEq)]
pub(in crate::augment) struct Perspective {
    to: DMat3,
    back: DMat3,
}

impl Perspective {
    /// A turn to the right and upwards, for a picture of `size` pixels whose width spans an
    /// angle of `view_deg`.
    pub fn new(pan_deg: f64, tilt_deg: f64, view_deg: f64, [width, height]: [f64; 2]) -> Self {
        let focal_px = width / 2.0 / (view_deg.to_radians() / 2.0).tan();
        let camera = DMat3::from_cols(
            DVec3::new(focal_px, 0.0, 0.0),
            DVec3::new(0.0, focal_px, 0.0),
            DVec3::new(width / 2.0, height / 2.0, 1.0),
        );
        // The y axis points down and z away: what the camera turns to moves to the centre.
        let turn = DMat3::from_rotation_x(-tilt_deg.to_radians())
            * DMat3::from_rotation_y(-pan_deg.to_radians());
        Perspective {
            to: camera * turn * camera.inverse(),
            back: camera * turn.transpose() * camera.inverse(),
        }
    }
}

/// What lies behind the camera is put far outside of the picture.
#[inline(always)]
fn projected(matrix: &DMat3, [x, y]: [f64; 2]) -> [f64; 2] {
    let point = *matrix * DVec3::new(x, y, 1.0);
    let depth = point.z.max(0.02);
    [point.x / depth, point.y / depth]
}

/// What is now at distance `r` from the centre, in half diagonals, was at
/// `r (1 + k1 r^2 + k2 r^4)` (Brown 1966). Beyond the corners it goes on along its tangent,
/// so that every place has one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::augment) struct Radial {
    centre: [f64; 2],
    half_diagonal: f64,
    k1: f64,
    k2: f64,
}

impl Radial {
    pub fn new(k1: f64, k2: f64, [width, height]: [f64; 2]) -> Self {
        Radial {
            centre: [width / 2.0, height / 2.0],
            half_diagonal: width.hypot(height) / 2.0,
            k1,
            k2,
        }
    }

    fn old_radius(&self, r: f64) -> f64 {
        let inner = r.min(1.0);
        let r2 = inner * inner;
        inner * (1.0 + r2 * (self.k1 + r2 * self.k2)) + (r - inner) * self.slope(1.0)
    }

    fn slope(&self, r: f64) -> f64 {
        let r2 = r.min(1.0).powi(2);
        1.0 + r2 * (3.0 * self.k1 + 5.0 * r2 * self.k2)
    }

    fn scaled(&self, point: [f64; 2], radius: impl Fn(f64) -> f64) -> [f64; 2] {
        let [x, y] = [0, 1].map(|i| point[i] - self.centre[i]);
        let r = x.hypot(y) / self.half_diagonal;
        let factor = if r > 0.0 { radius(r) / r } else { 1.0 };
        [self.centre[0] + x * factor, self.centre[1] + y * factor]
    }

    #[inline(always)]
    fn back(&self, point: [f64; 2]) -> [f64; 2] {
        let [x, y] = [0, 1].map(|i| point[i] - self.centre[i]);
        let r2 = (x * x + y * y) / (self.half_diagonal * self.half_diagonal);
        let inner = r2.min(1.0);
        let factor = 1.0 + inner * (self.k1 + inner * self.k2);
        // On the tangent beyond the corners.
        let factor = if r2 > 1.0 {
            let r = r2.sqrt();
            (factor + (r - 1.0) * self.slope(1.0)) / r
        } else {
            factor
        };
        [self.centre[0] + x * factor, self.centre[1] + y * factor]
    }

    /// Newton's method; the bounds of `k1` and `k2` keep the slope positive.
    fn point(&self, point: [f64; 2]) -> [f64; 2] {
        self.scaled(point, |old| {
            let mut r = old / self.slope(1.0).max(1.0);
            for _ in 0..50 {
                let step = (self.old_radius(r) - old) / self.slope(r);
                r = (r - step).max(0.0);
                if step.abs() < 1e-12 {
                    break;
                }
            }
            r
        })
    }
}

/// Each row moves along itself: what a sensor sees that is read row by row while the camera
/// pans and shakes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::augment) struct Rows {
    /// Pixels of shift a row.
    pub slope: f64,
    /// The row that stays, but for vibration.
    pub middle: f64,
    /// Of the vibration, in pixels.
    pub amplitude: f64,
    /// Angle of the vibration that passes from row to row.
    pub turn: f64,
}

impl Rows {
    fn shift(&self, y: f64) -> f64 {
        self.slope * (y - self.middle) + self.amplitude * (self.turn * y).sin()
    }
}

/// A smooth random shift of each place: cubic B-splines over a grid of random vectors that
/// vanish at the picture's edge.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::augment) struct Bumps {
    /// Distance of the grid's nodes, in pixels.
    cell: [f64; 2],
    /// Nodes along x and y, one more than cells.
    nodes: [usize; 2],
    /// Shifts in pixels, row by row.
    shifts: Vec<[f64; 2]>,
}

impl Bumps {
    /// Bumps about `distance` times the shorter side apart, which shift by up to `strength`
    /// times their distance. Up to a strength of 0.25 the map is one to one: its slope stays
    /// below 1.
    pub fn new(strength: f64, distance: f64, [width, height]: [f64; 2], seed: u64) -> Self {
        let wanted = distance * width.min(height);
        let cells = [width, height].map(|side| (side / wanted).round().clamp(4.0, 200.0));
        let cell = [width / cells[0], height / cells[1]];
        let nodes = cells.map(|count| count as usize + 1);
        let longest = strength * cell[0].min(cell[1]);
        let mut generator = SeedKey::new(b"elastic", seed).generator("bumps", 0);
        let mut shifts = Vec::with_capacity(nodes[0] * nodes[1]);
        for j in 0..nodes[1] {
            for i in 0..nodes[0] {
                let angle = std::f64::consts::TAU * generator.random::<f64>();
                let length = longest * generator.random::<f64>().sqrt();
                // Two rings of zeros hold the edge: a spline reaches over two cells.
                let inside = (2..nodes[0].saturating_sub(2)).contains(&i)
                    && (2..nodes[1].saturating_sub(2)).contains(&j);
                let (sin, cos) = angle.sin_cos();
                shifts.push(if inside {
                    [length * cos, length * sin]
                } else {
                    [0.0; 2]
                });
            }
        }
        Bumps {
            cell,
            nodes,
            shifts,
        }
    }

    fn shift(&self, point: [f64; 2]) -> [f64; 2] {
        let place = [0, 1].map(|axis| point[axis] / self.cell[axis]);
        let outside =
            |axis: usize| place[axis] < 0.0 || place[axis] >= (self.nodes[axis] - 1) as f64;
        if outside(0) || outside(1) {
            return [0.0; 2];
        }
        let weights = place.map(|place| spline(place.fract()));
        let mut sum = [0.0; 2];
        for (dy, wy) in weights[1].iter().enumerate() {
            let Some(j) = (place[1] as usize + dy)
                .checked_sub(1)
                .filter(|j| *j < self.nodes[1])
            else {
                continue;
            };
            for (dx, wx) in weights[0].iter().enumerate() {
                let i = (place[0] as usize + dx).checked_sub(1);
                if let Some(i) = i.filter(|i| *i < self.nodes[0]) {
                    let shift = self.shifts[j * self.nodes[0] + i];
                    sum[0] += wx * wy * shift[0];
                    sum[1] += wx * wy * shift[1];
                }
            }
        }
        sum
    }

    fn back(&self, point: [f64; 2]) -> [f64; 2] {
        let shift = self.shift(point);
        [point[0] + shift[0], point[1] + shift[1]]
    }

    /// As [`Self::back`] of each place. Places of one height share the nodes' columns, which
    /// are weighted down to one row of nodes first.
    fn row_back(&self, places: &mut [[f64; 2]]) {
        let Some([_, y]) = places.first().copied() else {
            return;
        };
        let cells = [0, 1].map(|axis| (self.nodes[axis] - 1) as f64);
        let down = y / self.cell[1];
        let is_level = places.iter().all(|place| place[1] == y);
        if !is_level || !(0.0..cells[1]).contains(&down) {
            for place in places {
                *place = self.back(*place);
            }
            return;
        }
        // A node beyond either end of the row, of no shift, saves a test of the ends.
        let mut row = vec![[0.0; 2]; self.nodes[0] + 3];
        for (dy, weight) in spline(down.fract()).iter().enumerate() {
            let j = (down as usize + dy).checked_sub(1);
            let Some(j) = j.filter(|j| *j < self.nodes[1]) else {
                continue;
            };
            let nodes = &self.shifts[j * self.nodes[0]..][..self.nodes[0]];
            for (sum, shift) in row[1..].iter_mut().zip(nodes) {
                sum[0] += weight * shift[0];
                sum[1] += weight * shift[1];
            }
        }
        shift_row(&row, 1.0 / self.cell[0], cells[0], places);
    }

    /// The fixed point of `p - shift(p)`, which contracts.
    fn point(&self, old: [f64; 2]) -> [f64; 2] {
        let mut place = old;
        for _ in 0..100 {
            let shift = self.shift(place);
            let next = [old[0] - shift[0], old[1] - shift[1]];
            let step = (next[0] - place[0]).abs().max((next[1] - place[1]).abs());
            place = next;
            if step < 1e-9 {
                break;
            }
        }
        place
    }
}

/// Weights of the uniform cubic B-spline for four neighbouring nodes.
#[inline(always)]
fn spline(t: f64) -> [f64; 4] {
    let s = 1.0 - t;
    [
        s * s * s / 6.0,
        (3.0 * t * t * t - 6.0 * t * t + 4.0) / 6.0,
        (3.0 * s * s * s - 6.0 * s * s + 4.0) / 6.0,
        t * t * t / 6.0,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    const SIZE: [f64; 2] = [200.0, 120.0];

    fn close([x, y]: [f64; 2], [u, v]: [f64; 2], tolerance: f64) {
        let off = (x - u).hypot(y - v);
        assert!(off < tolerance, "{x}, {y} and {u}, {v}");
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(1),
            ..ProptestConfig::default()
        })]

        /// Every map and its inverse, within the picture.
        #[test]
        fn back_undoes_point(
            x in 0.0..200.0, y in 0.0..120.0,
            (pan, tilt, view) in (-25.0..25.0, -25.0..25.0, 10.0..80.0),
            (k1, k2) in (-0.2..1.0, -0.05..0.5),
            (strength, distance) in (0.0..0.25, 0.02..0.25),
            seed: u64,
        ) {
            for map in [
                Map::Perspective(Perspective::new(pan, tilt, view, SIZE)),
                Map::Radial(Radial::new(k1, k2, SIZE)),
                Map::Bumps(Arc::new(Bumps::new(strength, distance, SIZE, seed))),
                Map::Rows(Rows {
                    slope: k1,
                    middle: 60.0,
                    amplitude: 10.0 * strength,
                    turn: 0.3,
                }),
                Map::Affine(Affine([1.2, 0.1, -5.0, -0.3, 0.9, 8.0])),
            ] {
                let old = map.back([x, y]);
                let far = old[0].abs().max(old[1].abs()) > 1e4;
                if !far {
                    let there = map.point(old);
                    prop_assert!((there[0] - x).hypot(there[1] - y) < 1e-5, "{map:?}");
                }
            }
        }
    }

    /// Rows of places go back as single ones do.
    #[test]
    fn rows_go_back_as_places_do() {
        for map in [
            Map::Affine(Affine([1.2, 0.1, -5.0, -0.3, 0.9, 8.0])),
            Map::Perspective(Perspective::new(12.0, -9.0, 50.0, SIZE)),
            Map::Radial(Radial::new(0.3, -0.05, SIZE)),
            Map::Bumps(Arc::new(Bumps::new(0.2, 0.15, SIZE, 4))),
            Map::Rows(Rows {
                slope: 0.2,
                middle: 60.0,
                amplitude: 3.0,
                turn: 0.3,
            }),
        ] {
            for y in [-3.0, 0.5, 17.25, 119.5, 130.0] {
                let places: Vec<[f64; 2]> = (-8..216).map(|x| [f64::from(x) + 0.5, y]).collect();
                let mut row = places.clone();
                map.prepared().row(&mut row);
                // And once more, from places of different heights.
                let mut twice = row.clone();
                map.prepared().row(&mut twice);
                for ((place, there), again) in places.iter().zip(&row).zip(&twice) {
                    close(*there, map.back(*place), 1e-9);
                    close(*again, map.back(*there), 1e-9);
                }
            }
        }
    }

    /// 60 degrees of view over 200 pixels: a turn of 30 degrees brings the right edge to
    /// the centre.
    #[test]
    fn a_pan_brings_what_was_at_the_edge_to_the_centre() {
        let right = Perspective::new(25.0, 0.0, 50.0, SIZE);
        close(projected(&right.to, [200.0, 60.0]), [100.0, 60.0], 1e-9);
        let up = Perspective::new(0.0, 10.0, 60.0, SIZE);
        let [_, y] = projected(&up.to, [100.0, 20.0]);
        assert!(y > 20.0, "what was above comes down: {y}");
    }

    /// A corner is one half diagonal away: it came from `1 + k1 + k2` of them.
    #[test]
    fn a_corner_comes_from_where_the_formula_says() {
        let map = Radial::new(0.2, 0.1, SIZE);
        close(map.back([0.0, 0.0]), [-30.0, -18.0], 1e-9);
        close(map.back([100.0, 60.0]), [100.0, 60.0], 1e-12);
    }

    #[test]
    fn bumps_leave_the_edge_and_move_the_inside() {
        let map = Bumps::new(0.25, 0.1, SIZE, 3);
        let mut most = 0.0_f64;
        for i in 0..=100 {
            let t = f64::from(i) / 100.0;
            for edge in [
                [200.0 * t, 0.0],
                [0.0, 120.0 * t],
                [200.0 * t, 120.0 - 1e-9],
            ] {
                close(map.back(edge), edge, 1e-6);
            }
            let inside = map.shift([30.0 + 140.0 * t, 60.0]);
            most = most.max(inside[0].hypot(inside[1]));
        }
        assert!(most > 0.5 && most < 0.25 * 12.0, "{most} pixels");
    }
}
