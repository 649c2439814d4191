//! Patterns of surfaces, as `shaders/include/pattern.wgsl` draws them.

use glam::{Vec2, Vec3};

use crate::scene::{smoothstep, value_noise};

/// Half the width of a pip's edge, over half the die's size.
const PIP_EDGE: f32 = 0.05;

/// What a pip does to a point of a die.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pip {
    pub coverage: f32,
    /// Tilt of the dimple's wall in the die's space.
    pub tilt: Vec3,
}

/// The pip at a point of the surface of a die that reaches from -1 to 1.
pub(super) fn pip(p: Vec3, radius: f32) -> Pip {
    let size = p.abs();
    let (u, v, pips) = if size.y >= size.x && size.y >= size.z {
        (Vec3::Z, Vec3::X, if p.y > 0.0 { 2 } else { 5 })
    } else if size.z >= size.x && size.z >= size.y {
        (Vec3::X, Vec3::Y, if p.z > 0.0 { 3 } else { 4 })
    } else {
        (Vec3::Y, Vec3::Z, if p.x > 0.0 { 1 } else { 6 })
    };
    let at = Vec2::new(p.dot(u), p.dot(v));
    let spread = if pips == 6 { 0.52 } else { 0.5 };
    let side = |value: f32, is_positive: bool| if is_positive { value } else { -value };
    let mut nearest = Vec2::splat(9.0);
    let mut offer = |middle: Vec2| {
        if (at - middle).length_squared() < nearest.length_squared() {
            nearest = at - middle;
        }
    };
    if pips % 2 == 1 {
        offer(Vec2::ZERO);
    }
    if pips > 1 {
        offer(Vec2::splat(side(spread, at.x + at.y > 0.0)));
    }
    if pips > 3 {
        let other = side(spread, at.x - at.y > 0.0);
        offer(Vec2::new(other, -other));
    }
    if pips == 6 {
        offer(Vec2::new(side(spread, at.x > 0.0), 0.0));
    }
    let distance = nearest.length();
    let coverage = 1.0 - smoothstep(radius - PIP_EDGE, radius + PIP_EDGE, distance);
    let slope = -0.5 * coverage * distance / radius.max(1e-3);
    let away = nearest / distance.max(1e-4);
    Pip {
        coverage,
        tilt: (u * away.x + v * away.y) * slope,
    }
}

/// How much of the second colour marble shows at a point, in metres, of part `number`.
pub(super) fn marble(at_m: Vec3, number: u32) -> f32 {
    let streaks =
        value_noise(at_m * 260.0 + number as f32 * 17.0) * 0.65 + value_noise(at_m * 700.0) * 0.35;
    smoothstep(0.42, 0.6, streaks)
}

/// The factor of the ground's albedo at a point in cells of its texture; z is the pattern's seed.
pub(super) fn cloth(at: Vec3, strength: f32) -> f32 {
    let creases = value_noise(at * Vec3::new(1.0, 0.35, 1.0)) - 0.5;
    let weave = value_noise(at * 9.0) - 0.5;
    1.0 + strength * (creases + 0.35 * weave)
}

/// The density of a medium at a point, in metres times its cells a metre, of part `number`.
pub(super) fn density(at_cells: Vec3, mottling: f32, number: u32) -> f32 {
    if mottling == 0.0 {
        return 1.0;
    }
    let at = at_cells + number as f32 * 17.0;
    let clumps = value_noise(at) * 0.65 + value_noise(at * 2.7) * 0.35;
    1.0 + 2.0 * mottling * (clumps - 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faces_have_their_pips() {
        for (number, up) in (1..).zip([Vec3::X, Vec3::Y, Vec3::Z, -Vec3::Z, -Vec3::Y, -Vec3::X]) {
            // Middles of pips are where coverage is whole and the wall level.
            let side = if up.z == 0.0 { Vec3::Z } else { Vec3::X };
            let mut area = 0;
            for row in 0..80 {
                for column in 0..80 {
                    let unit = |step: i32| (step as f32 + 0.5) / 40.0 - 1.0;
                    let p = up + side * unit(row) + side.cross(up) * unit(column);
                    area += i32::from(pip(p * 0.999 + up * 0.01, 0.18).coverage > 0.5);
                }
            }
            let expected = number as f32 * std::f32::consts::PI * (0.18 * 40.0_f32).powi(2);
            assert!(
                (area as f32 / expected - 1.0).abs() < 0.06,
                "{number}: {area} of {expected}"
            );
        }
        let wall = pip(Vec3::new(1.0, 0.1, 0.0), 0.2);
        assert!(
            wall.tilt.y < -0.1 && wall.tilt.x == 0.0,
            "leans to the middle: {wall:?}"
        );
    }
}
