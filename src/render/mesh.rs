//! Template meshes that the vertex stage stretches to any size and rounding.
//!
//! A vertex is `core * (half_extents - rounding) + rounding * direction`, so that one
//! mesh serves boxes, spheres and capsules, and another cylinders.

use glam::Vec3;

use crate::scene::Template;

/// Rounding steps between a face and its edge's middle.
const STEPS: usize = 4;

/// Vertices around a cylinder.
const SIDES: usize = 32;

/// Mirrors `VertexIn` of the shaders.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(super) struct Vertex {
    pub core: [f32; 3],
    pub direction: [f32; 3],
}

/// Triangles, counter-clockwise from outside.
pub(super) fn build(template: Template) -> Vec<Vertex> {
    match template {
        Template::RoundedBox => rounded_box(),
        Template::Cylinder => cylinder(),
    }
}

fn vertex(core: Vec3, direction: Vec3) -> Vertex {
    Vertex {
        core: core.to_array(),
        direction: direction.normalize().to_array(),
    }
}

fn quad(vertices: &mut Vec<Vertex>, [a, b, c, d]: [Vertex; 4]) {
    vertices.extend([a, b, c, a, c, d]);
}

fn rounded_box() -> Vec<Vertex> {
    // Along one side of a face: where the core is, and how far the normal leans.
    let lean = |step: usize| (std::f32::consts::FRAC_PI_4 * step as f32 / STEPS as f32).tan();
    let line: Vec<(f32, f32)> = (0..=STEPS)
        .rev()
        .map(|step| (-1.0, -lean(step)))
        .chain((0..=STEPS).map(|step| (1.0, lean(step))))
        .collect();
    let mut vertices = Vec::new();
    for axis in 0..3 {
        for sign in [-1.0, 1.0] {
            let normal =
                Vec3::from_array(std::array::from_fn(|i| if i == axis { sign } else { 0.0 }));
            let u = Vec3::from_array(std::array::from_fn(|i| {
                f32::from(u8::from(i == (axis + 1) % 3))
            }));
            let v = normal.cross(u);
            let at = |i: usize, j: usize| {
                let ((core_u, lean_u), (core_v, lean_v)) = (line[i], line[j]);
                vertex(
                    normal + u * core_u + v * core_v,
                    normal + u * lean_u + v * lean_v,
                )
            };
            for i in 0..line.len() - 1 {
                for j in 0..line.len() - 1 {
                    quad(
                        &mut vertices,
                        [at(i, j), at(i + 1, j), at(i + 1, j + 1), at(i, j + 1)],
                    );
                }
            }
        }
    }
    vertices
}

fn cylinder() -> Vec<Vertex> {
    let around = |side: usize| {
        let angle = std::f32::consts::TAU * (side % SIDES) as f32 / SIDES as f32;
        Vec3::new(angle.cos(), angle.sin(), 0.0)
    };
    // The profile from the lower cap's rim to the upper one's: height and elevation.
    let quarter = |step: usize| std::f32::consts::FRAC_PI_2 * step as f32 / STEPS as f32;
    let profile: Vec<(f32, f32)> = (0..=STEPS)
        .rev()
        .map(|step| (-1.0, -quarter(step)))
        .chain((0..=STEPS).map(|step| (1.0, quarter(step))))
        .collect();
    let mut vertices = Vec::new();
    for side in 0..SIDES {
        let at = |side: usize, (height, elevation): (f32, f32)| {
            let out = around(side);
            vertex(
                out + Vec3::Z * height,
                out * elevation.cos() + Vec3::Z * elevation.sin(),
            )
        };
        for pair in profile.windows(2) {
            quad(
                &mut vertices,
                [
                    at(side, pair[0]),
                    at(side + 1, pair[0]),
                    at(side + 1, pair[1]),
                    at(side, pair[1]),
                ],
            );
        }
        for sign in [-1.0, 1.0] {
            let up = Vec3::Z * sign;
            let (a, b) = (
                vertex(around(side) + up, up),
                vertex(around(side + 1) + up, up),
            );
            let centre = vertex(up, up);
            vertices.extend(if sign > 0.0 {
                [centre, a, b]
            } else {
                [centre, b, a]
            });
        }
    }
    vertices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meshes_are_closed_and_wound_outwards() {
        for (template, volume) in [
            (Template::RoundedBox, 8.0),
            (Template::Cylinder, 2.0 * std::f32::consts::PI),
        ] {
            for rounding in [0.0, 0.3] {
                let place = |v: &Vertex| {
                    Vec3::from(v.core) * (1.0 - rounding) + Vec3::from(v.direction) * rounding
                };
                let measured: f32 = build(template)
                    .chunks(3)
                    .map(|t| place(&t[0]).dot(place(&t[1]).cross(place(&t[2]))) / 6.0)
                    .sum();
                let share = measured / volume;
                let expected = if rounding == 0.0 {
                    0.985..1.001
                } else {
                    0.9..0.99
                };
                assert!(expected.contains(&share), "{template:?} {rounding} {share}");
            }
        }
    }
}
