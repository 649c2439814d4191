//! Shapes as triangles.
//!
//! Every shape is made at several numbers of segments around a full circle. A chord of `n`
//! segments lies `r (1 - cos(pi / n))` from its circle of radius `r`, which is the level's
//! error.

mod bent;
mod extrusion;
mod lathe;
mod quad;
mod rounded_box;

use glam::{Vec2, Vec3};

pub(super) use self::extrusion::signed_area;
use super::asset::{Geometry, Level};
use super::spec::Shape;

/// Segments around a full circle, from the finest level to the coarsest; multiples of eight,
/// so that a quarter of a circle and its half are whole.
const SEGMENTS: [usize; 6] = [96, 64, 40, 24, 16, 8];

/// How many meshes a shape has.
pub(super) fn variants(shape: &Shape) -> usize {
    match shape {
        Shape::Bent { variants, .. } => *variants,
        // Those of files are read once.
        Shape::Mesh(_) => 0,
        _ => 1,
    }
}

/// The levels of one variant of a shape, the finest first.
pub(super) fn levels(shape: &Shape, variant: usize) -> Vec<Level> {
    let curved = largest_radius(shape);
    let counts: &[usize] = if curved > 0.0 {
        &SEGMENTS
    } else {
        &SEGMENTS[5..]
    };
    counts
        .iter()
        .map(|segments| Level {
            geometry: build(shape, *segments, variant),
            error_m: curved * (1.0 - (std::f32::consts::PI / *segments as f32).cos()),
        })
        .collect()
}

fn metres(mm: f64) -> f32 {
    (mm / 1000.0) as f32
}

/// The largest radius of a circle of the shape, in metres; 0 where all is flat.
fn largest_radius(shape: &Shape) -> f32 {
    match shape {
        Shape::Die {
            size_mm, rounding, ..
        } => metres(size_mm / 2.0 * rounding),
        Shape::Box { rounding_mm, .. } => metres(*rounding_mm),
        Shape::Sphere { diameter_mm }
        | Shape::Capsule { diameter_mm, .. }
        | Shape::Cylinder { diameter_mm, .. }
        | Shape::Disc { diameter_mm, .. } => metres(diameter_mm / 2.0),
        Shape::Ellipsoid { size_mm } => {
            metres(size_mm.iter().fold(0.0, |a: f64, b| a.max(*b)) / 2.0)
        }
        Shape::Cone {
            bottom_diameter_mm,
            top_diameter_mm,
            ..
        } => metres(bottom_diameter_mm.max(*top_diameter_mm) / 2.0),
        Shape::Torus {
            diameter_mm,
            tube_mm,
        } => metres(diameter_mm / 2.0).max(metres(*tube_mm)),
        Shape::Lathe { profile_mm } => {
            metres(profile_mm.iter().fold(0.0, |most: f64, at| most.max(at[0])))
        }
        Shape::Extrusion { .. } | Shape::Quad { .. } | Shape::Mesh(_) => 0.0,
        Shape::Bent { shape, .. } => largest_radius(shape),
    }
}

fn build(shape: &Shape, segments: usize, variant: usize) -> Geometry {
    match shape {
        Shape::Die {
            size_mm, rounding, ..
        } => {
            let half = metres(size_mm / 2.0);
            rounded_box::build(Vec3::splat(half), half * *rounding as f32, segments)
        }
        Shape::Box {
            size_mm,
            rounding_mm,
        } => rounded_box::build(
            Vec3::from(size_mm.map(metres)) / 2.0,
            metres(*rounding_mm),
            segments,
        ),
        Shape::Sphere { diameter_mm } => {
            let radius = metres(diameter_mm / 2.0);
            rounded_box::build(Vec3::splat(radius), radius, segments)
        }
        Shape::Ellipsoid { size_mm } => {
            let half = Vec3::from(size_mm.map(metres)) / 2.0;
            stretched(rounded_box::build(Vec3::ONE, 1.0, segments), half)
        }
        Shape::Capsule {
            length_mm,
            diameter_mm,
        } => {
            let radius = metres(diameter_mm / 2.0);
            let half = Vec3::new(metres(length_mm / 2.0), radius, radius);
            rounded_box::build(half, radius, segments)
        }
        Shape::Cylinder {
            diameter_mm,
            height_mm,
            rounding_mm,
        } => {
            let radius = metres(diameter_mm / 2.0);
            lathe::build(
                &lathe::frustum(
                    radius,
                    radius,
                    metres(*height_mm),
                    metres(*rounding_mm),
                    segments,
                ),
                segments,
            )
        }
        Shape::Cone {
            bottom_diameter_mm,
            top_diameter_mm,
            height_mm,
        } => lathe::build(
            &lathe::frustum(
                metres(bottom_diameter_mm / 2.0),
                metres(top_diameter_mm / 2.0),
                metres(*height_mm),
                0.0,
                segments,
            ),
            segments,
        ),
        Shape::Torus {
            diameter_mm,
            tube_mm,
        } => {
            let tube = metres(tube_mm / 2.0);
            lathe::build(
                &lathe::ring(metres(diameter_mm / 2.0) - tube, tube, segments),
                segments,
            )
        }
        Shape::Disc {
            diameter_mm,
            rim_mm,
            middle_mm,
        } => lathe::build(
            &lathe::dimpled_disc(
                metres(diameter_mm / 2.0),
                metres(*rim_mm),
                metres(*middle_mm),
                segments,
            ),
            segments,
        ),
        Shape::Lathe { profile_mm } => {
            let points: Vec<Vec2> = profile_mm
                .iter()
                .map(|[radius, height]| Vec2::new(metres(*radius), metres(*height)))
                .collect();
            lathe::build(&lathe::polyline(&points), segments)
        }
        Shape::Extrusion {
            outline_mm,
            height_mm,
        } => {
            let points: Vec<Vec2> = outline_mm
                .iter()
                .map(|[x, y]| Vec2::new(metres(*x), metres(*y)))
                .collect();
            extrusion::build(&points, metres(*height_mm))
        }
        Shape::Mesh(_) => Geometry::default(),
        Shape::Quad { size_mm } => quad::build(Vec2::from(size_mm.map(metres)) / 2.0),
        Shape::Bent {
            shape,
            amount_mm,
            scale_mm,
            ..
        } => bent::bend(
            build(shape, segments, variant),
            metres(*amount_mm),
            metres(*scale_mm),
            variant,
        ),
    }
}

/// Scales along the axes, with the normals that belong to the new surface.
fn stretched(mut geometry: Geometry, factors: Vec3) -> Geometry {
    for position in &mut geometry.positions {
        *position *= factors;
    }
    for normal in &mut geometry.normals {
        *normal = (*normal / factors).normalize();
    }
    geometry
}

#[cfg(test)]
pub(super) mod tests {
    use std::f32::consts::PI;

    use super::*;

    /// Enclosed volume by the divergence theorem; negative where triangles face inwards.
    pub(crate) fn volume(geometry: &Geometry) -> f32 {
        let at = |index: u32| geometry.positions[index as usize];
        geometry
            .triangles
            .iter()
            .map(|[a, b, c]| at(*a).dot(at(*b).cross(at(*c))) / 6.0)
            .sum()
    }

    fn closed_shapes() -> Vec<(Shape, f32)> {
        vec![
            (
                Shape::Box {
                    size_mm: [2000.0, 4000.0, 6000.0],
                    rounding_mm: 0.0,
                },
                48.0,
            ),
            (
                Shape::Sphere {
                    diameter_mm: 2000.0,
                },
                4.0 / 3.0 * PI,
            ),
            (
                Shape::Ellipsoid {
                    size_mm: [2000.0, 4000.0, 6000.0],
                },
                4.0 / 3.0 * PI * 6.0,
            ),
            (
                Shape::Capsule {
                    length_mm: 4000.0,
                    diameter_mm: 2000.0,
                },
                4.0 / 3.0 * PI + 2.0 * PI,
            ),
            (
                Shape::Cylinder {
                    diameter_mm: 2000.0,
                    height_mm: 3000.0,
                    rounding_mm: 0.0,
                },
                3.0 * PI,
            ),
            (
                Shape::Cone {
                    bottom_diameter_mm: 2000.0,
                    top_diameter_mm: 0.0,
                    height_mm: 3000.0,
                },
                PI,
            ),
            (
                Shape::Torus {
                    diameter_mm: 6000.0,
                    tube_mm: 2000.0,
                },
                2.0 * PI * PI * 2.0,
            ),
            (
                Shape::Lathe {
                    profile_mm: vec![[0.0, 0.0], [1000.0, 0.0], [1000.0, 3000.0], [0.0, 3000.0]],
                },
                3.0 * PI,
            ),
            (
                Shape::Extrusion {
                    outline_mm: vec![
                        [0.0, 0.0],
                        [2000.0, 0.0],
                        [2000.0, 1000.0],
                        [1000.0, 1000.0],
                        [1000.0, 2000.0],
                        [0.0, 2000.0],
                    ],
                    height_mm: 500.0,
                },
                1.5,
            ),
        ]
    }

    #[test]
    fn shapes_enclose_their_volumes() {
        for (shape, expected) in closed_shapes() {
            let levels = levels(&shape, 0);
            let measured = volume(&levels[0].geometry);
            assert!(
                (measured / expected - 1.0).abs() < 0.004,
                "{shape:?}: {measured} for {expected}"
            );
        }
    }

    #[test]
    fn shapes_are_closed() {
        let mut shapes: Vec<Shape> = closed_shapes()
            .into_iter()
            .map(|(shape, _)| shape)
            .collect();
        shapes.push(Shape::Disc {
            diameter_mm: 8.0,
            rim_mm: 2.4,
            middle_mm: 1.0,
        });
        shapes.push(Shape::Die {
            size_mm: 16.0,
            rounding: 0.3,
            pip_radius: 0.2,
        });
        shapes.push(Shape::Bent {
            shape: Box::new(Shape::Sphere { diameter_mm: 20.0 }),
            amount_mm: 1.5,
            scale_mm: 8.0,
            variants: 3,
        });
        for shape in shapes {
            for level in levels(&shape, 0) {
                let geometry = &level.geometry;
                // Corners that lie at one place count as one.
                let key = |index: u32| {
                    let scale = 1e5 / largest_side(geometry);
                    (geometry.positions[index as usize] * scale)
                        .round()
                        .to_array()
                        .map(|x| x as i64)
                };
                let mut edges = std::collections::HashMap::new();
                for [a, b, c] in &geometry.triangles {
                    for (from, to) in [(a, b), (b, c), (c, a)] {
                        assert_ne!(key(*from), key(*to), "{shape:?} has an edge of no length");
                        *edges.entry((key(*from), key(*to))).or_insert(0) += 1;
                    }
                }
                for ((from, to), count) in &edges {
                    assert_eq!(edges.get(&(*to, *from)), Some(count), "{shape:?} has a gap");
                }
            }
        }
    }

    fn largest_side(geometry: &Geometry) -> f32 {
        geometry
            .positions
            .iter()
            .fold(0.0, |most: f32, at| most.max(at.abs().max_element()))
    }

    #[test]
    fn normals_are_those_of_the_triangles() {
        for (shape, _) in closed_shapes() {
            let geometry = &levels(&shape, 0)[0].geometry;
            for [a, b, c] in &geometry.triangles {
                let at = |index: &u32| geometry.positions[*index as usize];
                let flat = (at(b) - at(a)).cross(at(c) - at(a)).normalize();
                for index in [a, b, c] {
                    let normal = geometry.normals[*index as usize];
                    assert!((normal.length() - 1.0).abs() < 1e-4, "{shape:?}");
                    assert!(normal.dot(flat) > 0.9, "{shape:?}: {normal} on {flat}");
                }
            }
        }
    }

    #[test]
    fn no_point_of_a_level_is_farther_off_than_it_says() {
        let shape = Shape::Sphere {
            diameter_mm: 2000.0,
        };
        for level in levels(&shape, 0) {
            let geometry = &level.geometry;
            let at = |index: u32| geometry.positions[index as usize];
            let farthest = geometry
                .triangles
                .iter()
                .map(|[a, b, c]| 1.0 - ((at(*a) + at(*b) + at(*c)) / 3.0).length())
                .fold(0.0, f32::max);
            // A triangle's middle lies deeper than the middle of a chord of one circle.
            assert!(
                farthest < 2.0 * level.error_m + 1e-6,
                "{farthest} of {}",
                level.error_m
            );
            assert!(
                farthest > 0.2 * level.error_m,
                "{farthest} of {}",
                level.error_m
            );
        }
    }
}
