//! Outlines that are pulled up into solids.

use glam::{Vec2, Vec3};

use super::super::asset::Geometry;

/// A solid around the height 0 whose horizontal section is `outline`, a simple polygon in
/// either direction of turning. Its texture coordinates span the outline's bounding box.
pub(super) fn build(outline: &[Vec2], height: f32) -> Geometry {
    let mut points = outline.to_vec();
    if signed_area(&points) < 0.0 {
        points.reverse();
    }
    let low = points.iter().copied().fold(Vec2::INFINITY, Vec2::min);
    let size = points.iter().copied().fold(Vec2::NEG_INFINITY, Vec2::max) - low;
    let uv = |at: Vec2| {
        let share = (at - low) / size.max(Vec2::splat(1e-9));
        Vec2::new(share.x, 1.0 - share.y)
    };
    let half = height / 2.0;
    let mut geometry = Geometry::default();
    let ears = triangulate(&points);
    for (z, up) in [(-half, -1.0), (half, 1.0)] {
        let first = geometry.positions.len() as u32;
        for at in &points {
            geometry.positions.push(at.extend(z));
            geometry.normals.push(Vec3::Z * up);
            geometry.uvs.push(uv(*at));
        }
        geometry.triangles.extend(ears.iter().map(|[a, b, c]| {
            let [b, c] = if up > 0.0 { [b, c] } else { [c, b] };
            [first + a, first + b, first + c]
        }));
    }
    for index in 0..points.len() {
        let (from, to) = (points[index], points[(index + 1) % points.len()]);
        let along = to - from;
        let normal = Vec3::new(along.y, -along.x, 0.0).normalize_or(Vec3::X);
        let first = geometry.positions.len() as u32;
        for (at, z) in [(from, -half), (to, -half), (to, half), (from, half)] {
            geometry.positions.push(at.extend(z));
            geometry.normals.push(normal);
            geometry.uvs.push(uv(at));
        }
        geometry
            .triangles
            .extend([[first, first + 1, first + 2], [first, first + 2, first + 3]]);
    }
    geometry
}

/// Twice the enclosed area, positive where the corners run counter-clockwise.
pub(in crate::scene) fn signed_area(points: &[Vec2]) -> f32 {
    (0..points.len())
        .map(|index| points[index].perp_dot(points[(index + 1) % points.len()]))
        .sum()
}

/// Cuts ears off a simple polygon that runs counter-clockwise (Meisters, "Polygons have
/// ears", 1975). What has no ear left, as a polygon that crosses itself, is left out.
fn triangulate(points: &[Vec2]) -> Vec<[u32; 3]> {
    let mut left: Vec<usize> = (0..points.len()).collect();
    let mut triangles = Vec::new();
    while left.len() >= 3 {
        let count = left.len();
        let ear = (0..count).find(|i| {
            let [a, b, c] = [
                left[(i + count - 1) % count],
                left[*i],
                left[(i + 1) % count],
            ];
            let corners = [points[a], points[b], points[c]];
            let turns_left = (corners[1] - corners[0]).perp_dot(corners[2] - corners[1]) > 0.0;
            turns_left
                && left
                    .iter()
                    .filter(|other| ![a, b, c].contains(other))
                    .all(|other| !contains(corners, points[*other]))
        });
        let Some(i) = ear else { break };
        triangles.push(
            [
                left[(i + count - 1) % count],
                left[i],
                left[(i + 1) % count],
            ]
            .map(|p| p as u32),
        );
        left.remove(i);
    }
    triangles
}

fn contains([a, b, c]: [Vec2; 3], at: Vec2) -> bool {
    let left_of = |from: Vec2, to: Vec2| (to - from).perp_dot(at - from) >= 0.0;
    left_of(a, b) && left_of(b, c) && left_of(c, a)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hollow_outline_is_cut_into_its_area() {
        // A star with five points.
        let star: Vec<Vec2> = (0..10)
            .map(|index| {
                let angle = std::f32::consts::PI * index as f32 / 5.0;
                Vec2::from_angle(angle) * if index % 2 == 0 { 1.0 } else { 0.4 }
            })
            .collect();
        let triangles = triangulate(&star);
        assert_eq!(triangles.len(), 8);
        let area: f32 = triangles
            .iter()
            .map(|t| signed_area(&t.map(|index| star[index as usize])))
            .sum();
        assert!((area - signed_area(&star)).abs() < 1e-5);
    }

    #[test]
    fn either_direction_gives_the_same_solid() {
        let outline = [Vec2::ZERO, Vec2::X, Vec2::ONE, Vec2::Y];
        let mut reversed = outline;
        reversed.reverse();
        for points in [outline, reversed] {
            let volume = super::super::tests::volume(&build(&points, 2.0));
            assert!((volume - 2.0).abs() < 1e-5, "{volume}");
        }
    }
}
