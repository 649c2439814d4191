//! Which objects may darken which part of the image.

use glam::{Vec3, Vec4};

use super::super::view::{Ball, View};
use crate::scene::Part;

/// Side of a tile; a constant of the shader too.
pub(super) const TILE_PX: u32 = 32;

/// How far an occluder reaches, in its radii; a constant of the shader too.
const REACH: f32 = 2.8;

/// For each tile of the image the place and the number of its occluders in the list that
/// comes with it, of middles and radii. Occluders of radius 0 darken nothing.
pub(super) fn tile_lists(view: &View, occluders: &[Ball]) -> (Vec<[u32; 2]>, Vec<Vec4>) {
    let [width_px, height_px] = view.size_px;
    let columns = width_px.div_ceil(TILE_PX);
    let rows = height_px.div_ceil(TILE_PX);
    let mut tiles = vec![Vec::new(); (columns * rows) as usize];
    for ball in occluders.iter().filter(|ball| ball.radius > 0.0) {
        let Some([left, right, top, bottom]) = bounds(view, ball) else {
            continue;
        };
        for row in top / TILE_PX..=bottom / TILE_PX {
            for column in left / TILE_PX..=right / TILE_PX {
                let tile = &mut tiles[(row * columns + column) as usize];
                tile.push(ball.centre.extend(ball.radius));
            }
        }
    }
    let mut list = Vec::new();
    let places = tiles.iter().map(|tile| {
        let first = list.len() as u32;
        list.extend_from_slice(tile);
        [first, tile.len() as u32]
    });
    let places = places.collect();
    // A binding cannot be empty.
    list.push(Vec4::ZERO);
    (places, list)
}

/// The first and last column and row that a ball of the occluder's reach may cover.
fn bounds(view: &View, ball: &Ball) -> Option<[u32; 4]> {
    let [width_px, height_px] = view.size_px;
    let reach = ball.radius * REACH;
    let between = ball.centre - view.position;
    let [x, y, z] = view.axes.map(|axis| between.dot(axis));
    if z + reach <= view.near {
        return None;
    }
    let whole = [0, width_px - 1, 0, height_px - 1];
    if z - reach <= view.near {
        return Some(whole);
    }
    let side = |centre: f32, size: u32, tangent: f32| {
        let middle = size as f32 / 2.0 - tangent * view.focal_px;
        let ends = [centre - reach, centre + reach]
            .map(|end| [z - reach, z + reach].map(|depth| middle + view.focal_px * end / depth));
        let ends = ends.as_flattened();
        let low = ends.iter().copied().fold(f32::INFINITY, f32::min);
        let high = ends.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let last = (size - 1) as f32;
        (high >= 0.0 && low <= last).then(|| (low.max(0.0) as u32, high.min(last) as u32))
    };
    let [across, upwards] = view.middle;
    let (left, right) = side(x, width_px, across)?;
    let (top, bottom) = side(-y, height_px, -upwards)?;
    Some([left, right, top, bottom])
}

/// What keeps no light away.
pub(super) const NO_OCCLUDER: Ball = Ball {
    centre: Vec3::ZERO,
    radius: 0.0,
};

/// The ball that a part keeps light away with, a little larger than its least extent.
pub(super) fn occluder(centre: Vec3, part: &Part) -> Ball {
    let is_medium = part.material.medium.is_some();
    let radius = part.half_extents_m.min_element() * 1.2;
    Ball {
        centre,
        radius: if is_medium { 0.0 } else { radius },
    }
}
