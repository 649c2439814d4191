//! Surfaces of revolution around the z axis.

use std::f32::consts::{FRAC_PI_2, PI, TAU};

use glam::{Vec2, Vec3};

use super::super::asset::Geometry;

/// A point of a profile: radius and height in metres, and the outward normal there.
pub(super) type ProfilePoint = (Vec2, Vec2);

/// Turns a profile, from its lower end to its upper, around the axis. Equal neighbours with
/// different normals make an edge.
pub(super) fn build(profile: &[ProfilePoint], segments: usize) -> Geometry {
    let mut geometry = Geometry::default();
    let widest = profile
        .iter()
        .fold(0.0, |most: f32, (at, _)| most.max(at.x));
    let is_off_axis = |at: &Vec2| at.x > 1e-5 * widest;
    let count = profile.len() as u32;
    let (low, high) = profile.iter().fold(
        (f32::INFINITY, f32::NEG_INFINITY),
        |(low, high), (at, _)| (low.min(at.y), high.max(at.y)),
    );
    for side in 0..=segments {
        // The seam's two sides lie at one place.
        let angle = TAU * (side % segments) as f32 / segments as f32;
        let out = Vec3::new(angle.cos(), angle.sin(), 0.0);
        for (at, normal) in profile {
            let radius = if is_off_axis(at) { at.x } else { 0.0 };
            geometry.positions.push(out * radius + Vec3::Z * at.y);
            geometry.normals.push(out * normal.x + Vec3::Z * normal.y);
            geometry.uvs.push(Vec2::new(
                side as f32 / segments as f32,
                (high - at.y) / (high - low).max(1e-9),
            ));
        }
    }
    for side in 0..segments as u32 {
        for (index, pair) in (0..).zip(profile.windows(2)) {
            let [(from, _), (to, _)] = pair else { continue };
            if from.distance(*to) <= 1e-5 * widest {
                continue;
            }
            let a = side * count + index;
            let (b, c, d) = (a + count, a + count + 1, a + 1);
            if is_off_axis(from) {
                geometry.triangles.push([a, b, c]);
            }
            if is_off_axis(to) {
                geometry.triangles.push([a, c, d]);
            }
        }
    }
    geometry
}

/// A cylinder or cone of this height around the origin, with rounded rims and flat ends.
pub(super) fn frustum(
    bottom: f32,
    top: f32,
    height: f32,
    rounding: f32,
    segments: usize,
) -> Vec<ProfilePoint> {
    let half = height / 2.0;
    let mut profile = vec![(Vec2::new(0.0, -half), Vec2::NEG_Y)];
    if rounding > 0.0 {
        let steps = segments / 4;
        for (radius, sign) in [(bottom, -1.0), (top, 1.0)] {
            let arc = (0..=steps).map(|step| {
                let share = step as f32 / steps as f32;
                let angle = FRAC_PI_2 * if sign < 0.0 { share - 1.0 } else { share };
                let normal = Vec2::from_angle(angle);
                let centre = Vec2::new(radius - rounding, sign * (half - rounding));
                (centre + normal * rounding, normal)
            });
            profile.extend(arc);
        }
    } else {
        let slope = Vec2::new(height, bottom - top).normalize();
        profile.extend([
            (Vec2::new(bottom, -half), Vec2::NEG_Y),
            (Vec2::new(bottom, -half), slope),
            (Vec2::new(top, half), slope),
            (Vec2::new(top, half), Vec2::Y),
        ]);
    }
    profile.push((Vec2::new(0.0, half), Vec2::Y));
    profile.dedup();
    profile
}

/// A torus: a tube of radius `tube` whose middle runs at `radius` around the axis.
pub(super) fn ring(radius: f32, tube: f32, segments: usize) -> Vec<ProfilePoint> {
    // From the inner side below around to the inner side again.
    let steps = (segments * 2 / 3).max(6);
    (0..=steps)
        .map(|step| {
            let share = (step % steps) as f32 / steps as f32;
            let normal = Vec2::from_angle(TAU * share - PI);
            (Vec2::new(radius, 0.0) + normal * tube, normal)
        })
        .collect()
}

/// A disc whose faces are hollow, such as a red blood cell: thick as `rim` where it is
/// thickest and as `middle` on its axis. Its half thickness is that of Evans and Fung (1972),
/// `sqrt(1 - x^2) (c0 + c1 x^2 + c2 x^4)` of the relative radius x, with c1 and c2 chosen
/// for the rim's thickness at x = 0.7 and a round edge.
pub(super) fn dimpled_disc(
    radius: f32,
    rim: f32,
    middle: f32,
    segments: usize,
) -> Vec<ProfilePoint> {
    let c0 = middle / 2.0;
    // Where x = 0.7: sqrt(0.51) (c0 + 0.49 c1 + 0.2401 c2) = rim / 2, and c1 = -2 c2, as
    // nearly holds of the published cell.
    let at_rim = rim / 2.0 / 0.51_f32.sqrt() - c0;
    let c1 = at_rim / (0.49 - 0.2401 / 2.0);
    let c2 = -c1 / 2.0;
    let half = |angle: f32| {
        let x2 = angle.sin().powi(2);
        angle.cos() * (c0 + c1 * x2 + c2 * x2 * x2)
    };
    let steps = segments.max(8);
    let at = |step: usize| {
        // From the lower face's middle over the edge to the upper face's.
        let angle = PI * step as f32 / steps as f32;
        let x = if step == 0 || step == steps {
            0.0
        } else {
            angle.sin()
        };
        Vec2::new(radius * x, -half(angle))
    };
    let normal = |step: usize| match step {
        0 => Vec2::NEG_Y,
        step if step == steps => Vec2::Y,
        step => {
            let along = at(step + 1) - at(step - 1);
            Vec2::new(along.y, -along.x).normalize()
        }
    };
    (0..=steps).map(|step| (at(step), normal(step))).collect()
}

/// A profile of straight pieces, with edges where it bends by more than 35 degrees.
pub(super) fn polyline(points: &[Vec2]) -> Vec<ProfilePoint> {
    let normals: Vec<Vec2> = points
        .windows(2)
        .map(|pair| {
            let along = pair[1] - pair[0];
            Vec2::new(along.y, -along.x).normalize_or(Vec2::X)
        })
        .collect();
    let mut profile = Vec::new();
    for (index, point) in points.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|i| normals.get(i));
        match (before, normals.get(index)) {
            (Some(a), Some(b)) if a.dot(*b) > 0.82 => {
                profile.push((*point, (*a + *b).normalize()));
            }
            (a, b) => profile.extend(a.into_iter().chain(b).map(|normal| (*point, *normal))),
        }
    }
    profile
}
