//! Lights as bodies of a size: where on them to look from a point, and what a ray sees of them.

use std::f32::consts::PI;

use glam::{Vec3, Vec4};

use super::lanes::{Vec3x4, sqrt};
use super::sample::{across, cone};
use crate::scene::{Light, LightSource, smoothstep};

/// One light of a scene, ready to be sampled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Emitter {
    /// Radiance of its surface, or, without a size, the irradiance of what faces it (one metre
    /// away from all but a directional light).
    strength: Vec3,
    body: Body,
}

#[derive(Debug, Clone, Copy)]
enum Body {
    /// Directions within a cone around one.
    Cone { axes: [Vec3; 3], versine: f32 },
    Ball {
        centre: Vec3,
        radius: f32,
        spot: Option<Spot>,
    },
    Rectangle {
        centre: Vec3,
        half: [Vec3; 2],
        front: Vec3,
        area: f32,
    },
}

#[derive(Debug, Clone, Copy)]
struct Spot {
    axis: Vec3,
    cos_outer: f32,
    cos_inner: f32,
}

impl Spot {
    fn share(&self, towards: Vec3) -> f32 {
        smoothstep(self.cos_outer, self.cos_inner, -towards.dot(self.axis))
    }
}

/// What of a light is looked at, from four points.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight {
    pub towards: Vec3x4,
    pub distance: Vec4,
    /// Radiance over the density of the direction; nothing where the light is not seen.
    pub arriving: Vec3x4,
    /// Density over solid angle, or 0 where no other ray could meet the light.
    pub density: Vec4,
}

impl Emitter {
    pub(super) fn new(light: &Light) -> Self {
        // Irradiance of a surface of radiance 1 that is white and diffuse.
        let irradiance = light.linear_rgb() * PI;
        let (strength, body) = match light.source {
            LightSource::Directional {
                towards,
                angular_diameter_deg,
            } => {
                let half = angular_diameter_deg.to_radians() / 2.0;
                let [x, y] = across(Vec3x4::splat(towards)).map(|axis| axis.lanes()[0]);
                // The integral of the cosine over the cone is pi times the square of the sine.
                let solid = PI * half.sin().powi(2);
                let versine = 2.0 * (half / 2.0).sin().powi(2);
                let is_point = versine <= 1e-9;
                let body = Body::Cone {
                    axes: [x, y, towards],
                    versine: if is_point { 0.0 } else { versine },
                };
                (
                    if is_point {
                        irradiance
                    } else {
                        irradiance / solid
                    },
                    body,
                )
            }
            LightSource::Point {
                position_m,
                radius_m,
            } => ball(irradiance, position_m, radius_m, None),
            LightSource::Spot {
                position_m,
                radius_m,
                axis,
                cos_outer,
                cos_inner,
            } => {
                let spot = Spot {
                    axis,
                    cos_outer,
                    cos_inner,
                };
                ball(irradiance, position_m, radius_m, Some(spot))
            }
            LightSource::Area {
                position_m,
                half_width_m,
                half_height_m,
            } => {
                let front = half_width_m.cross(half_height_m);
                let area = (4.0 * front.length()).max(1e-12);
                let body = Body::Rectangle {
                    centre: position_m,
                    half: [half_width_m, half_height_m],
                    front: front.normalize_or_zero(),
                    area,
                };
                (irradiance / area, body)
            }
        };
        Emitter { strength, body }
    }

    /// Directions from points towards the light, with their density over solid angle.
    #[inline(always)]
    pub(super) fn sampled(&self, from: Vec3x4, at: [Vec4; 2]) -> Sight {
        let strength = Vec3x4::splat(self.strength);
        match self.body {
            Body::Cone { axes, versine } => {
                let solid = 2.0 * PI * versine;
                let is_point = versine <= 0.0;
                Sight {
                    towards: turned(axes.map(Vec3x4::splat), cone(at, Vec4::splat(versine))),
                    distance: Vec4::INFINITY,
                    arriving: strength * Vec4::splat(if is_point { 1.0 } else { solid }),
                    density: Vec4::splat(if is_point { 0.0 } else { 1.0 / solid }),
                }
            }
            Body::Ball {
                centre,
                radius,
                spot,
            } => {
                let between = Vec3x4::splat(centre) - from;
                let squared = between.dot(between).max(Vec4::splat(1e-12));
                let distance = sqrt(squared);
                let axis = between * (1.0 / distance);
                let share = spot.map_or(Vec4::ONE, |spot| {
                    Vec4::from(axis.lanes().map(|axis| spot.share(axis)))
                });
                if radius == 0.0 {
                    return Sight {
                        towards: axis,
                        distance,
                        arriving: strength * (share / squared),
                        density: Vec4::ZERO,
                    };
                }
                // From within the ball none of it is seen.
                let sine_squared = Vec4::splat(radius * radius) / squared;
                let is_outside = sine_squared.cmplt(Vec4::ONE);
                let share = Vec4::select(is_outside, share, Vec4::ZERO);
                let versine = versine_of(sine_squared.min(Vec4::splat(0.9999)));
                let [x, y] = across(axis);
                let local = cone(at, versine);
                // Where the direction meets the ball.
                let off = squared * (1.0 - local.z * local.z).max(Vec4::ZERO);
                let depth = sqrt((radius * radius - off).max(Vec4::ZERO));
                let solid = 2.0 * PI * versine;
                Sight {
                    towards: turned([x, y, axis], local),
                    distance: distance * local.z - depth,
                    arriving: strength * (share * solid),
                    density: 1.0 / solid,
                }
            }
            Body::Rectangle {
                centre,
                half,
                front,
                area,
            } => {
                let [x, y] = at.map(|along| along * 2.0 - 1.0);
                let [width, height] = half.map(Vec3x4::splat);
                let between = Vec3x4::splat(centre) + width * x + height * y - from;
                let squared = between.dot(between).max(Vec4::splat(1e-12));
                let distance = sqrt(squared);
                let towards = between * (1.0 / distance);
                let cosine = -towards.dot(Vec3x4::splat(front));
                let facing = cosine.max(Vec4::ZERO) * area;
                Sight {
                    towards,
                    distance,
                    arriving: strength * (facing / squared),
                    density: squared / facing.max(Vec4::splat(1e-12)),
                }
            }
        }
    }

    /// What a ray sees of the light within `far`: its radiance and the density with which
    /// `sampled` takes the direction.
    #[inline(always)]
    pub(super) fn seen(&self, from: Vec3, towards: Vec3, far: f32) -> Option<(Vec3, f32)> {
        match self.body {
            Body::Cone { axes, versine } => {
                let is_met =
                    versine > 0.0 && far == f32::INFINITY && towards.dot(axes[2]) >= 1.0 - versine;
                is_met.then(|| (self.strength, 1.0 / (2.0 * PI * versine)))
            }
            Body::Ball {
                centre,
                radius,
                spot,
            } => {
                let between = centre - from;
                let along = between.dot(towards);
                let squared = between.length_squared();
                let off = (between - towards * along).length_squared();
                if radius == 0.0 || along <= 0.0 || off > radius * radius {
                    return None;
                }
                let versine = ball_versine(radius, squared)?;
                let distance = along - (radius * radius - off).sqrt();
                let share = spot.map_or(1.0, |spot| spot.share(between / squared.sqrt()));
                (distance < far).then(|| (self.strength * share, 1.0 / (2.0 * PI * versine)))
            }
            Body::Rectangle {
                centre,
                half,
                front,
                area,
            } => {
                let cosine = -towards.dot(front);
                if cosine <= 1e-6 {
                    return None;
                }
                let distance = (from - centre).dot(front) / cosine;
                if distance <= 0.0 || distance >= far {
                    return None;
                }
                let at = from + towards * distance - centre;
                let inside = half
                    .iter()
                    .all(|side| at.dot(*side).abs() <= side.length_squared());
                inside.then(|| (self.strength, distance * distance / (cosine * area)))
            }
        }
    }
}

fn ball(irradiance: Vec3, centre: Vec3, radius: f32, spot: Option<Spot>) -> (Vec3, Body) {
    // A ball of radiance 1 gives what faces it pi times the square of its radius over its
    // distance's.
    let strength = if radius > 0.0 {
        irradiance / (PI * radius * radius)
    } else {
        irradiance
    };
    let body = Body::Ball {
        centre,
        radius,
        spot,
    };
    (strength, body)
}

/// 1 less the cosine of an angle, by the square of its sine: for small angles without the loss
/// of digits of that difference.
#[inline(always)]
fn versine_of(sine_squared: Vec4) -> Vec4 {
    sine_squared / (1.0 + sqrt(1.0 - sine_squared))
}

/// 1 less the cosine of half the angle under which a ball is seen, or `None` from within it.
#[inline(always)]
fn ball_versine(radius: f32, squared_distance: f32) -> Option<f32> {
    let sine_squared = radius * radius / squared_distance;
    (sine_squared < 1.0).then(|| versine_of(Vec4::splat(sine_squared)).x)
}

#[inline(always)]
fn turned([x, y, z]: [Vec3x4; 3], local: Vec3x4) -> Vec3x4 {
    x * local.x + y * local.y + z * local.z
}

#[cfg(test)]
mod tests {
    use super::*;

    fn light(source: LightSource) -> Emitter {
        Emitter::new(&Light {
            intensity: 2.0,
            kelvin: 6600.0,
            source,
        })
    }

    /// Irradiance over pi of a surface at a point, by sampling the light.
    fn lit(emitter: &Emitter, at: Vec3, normal: Vec3) -> f32 {
        const SIDE: usize = 200;
        let unit = |index: usize| (index as f32 + 0.5) / SIDE as f32;
        let sum: f32 = (0..SIDE * SIDE)
            .filter_map(|index| {
                let place = [unit(index % SIDE), unit(index / SIDE)].map(Vec4::splat);
                let sight = emitter.sampled(Vec3x4::splat(at), place);
                let (towards, arriving) = (sight.towards.lanes()[1], sight.arriving.lanes()[1]);
                let distance = sight.distance.y;
                if sight.density.y > 0.0 && arriving.x > 0.0 {
                    // A ray at the very edge may miss.
                    let (radiance, density) = emitter.seen(at, towards, f32::INFINITY)?;
                    let expected = radiance / density;
                    assert!((arriving / expected - 1.0).abs().max_element() < 1e-2);
                    let again = emitter.seen(at, towards, distance * 0.99);
                    assert!(again.is_none() || distance.is_infinite(), "lies nearer");
                }
                Some(arriving.x * towards.dot(normal).max(0.0))
            })
            .sum();
        sum / (SIDE * SIDE) as f32 / PI
    }

    #[test]
    fn lights_are_as_bright_as_they_are_said_to_be() {
        for angular_diameter_deg in [0.0, 0.53, 30.0] {
            let sun = light(LightSource::Directional {
                towards: Vec3::new(0.0, 0.6, 0.8),
                angular_diameter_deg,
            });
            let facing = lit(&sun, Vec3::ZERO, Vec3::new(0.0, 0.6, 0.8));
            assert!((facing - 2.0).abs() < 0.01, "{facing}");
        }
        for radius_m in [0.0, 0.01, 0.3] {
            let point = light(LightSource::Point {
                position_m: Vec3::new(0.0, 0.0, 2.0),
                radius_m,
            });
            let facing = lit(&point, Vec3::ZERO, Vec3::Z);
            assert!((facing - 0.5).abs() < 0.005, "{facing}");
            let spot = light(LightSource::Spot {
                position_m: Vec3::new(0.0, 0.0, 2.0),
                radius_m,
                axis: Vec3::NEG_Z,
                cos_outer: 0.8,
                cos_inner: 0.9,
            });
            assert!((lit(&spot, Vec3::ZERO, Vec3::Z) - 0.5).abs() < 0.005);
            assert_eq!(lit(&spot, Vec3::new(3.0, 0.0, 0.0), Vec3::Z), 0.0);
        }
    }

    #[test]
    fn a_rectangle_lights_a_plane_as_the_closed_form_says() {
        // The configuration factor of a rectangle from a point below one of its corners
        // (Howell, "A catalog of radiation heat transfer configuration factors", C-17), four
        // times for the whole rectangle.
        let (half_width, half_height, above) = (0.6_f32, 0.25_f32, 0.5_f32);
        let emitter = light(LightSource::Area {
            position_m: Vec3::new(0.0, 0.0, above),
            half_width_m: Vec3::new(0.0, half_height, 0.0),
            half_height_m: Vec3::new(half_width, 0.0, 0.0),
        });
        let (a, b) = (half_width / above, half_height / above);
        let term = |a: f32, b: f32| a / (1.0 + a * a).sqrt() * (b / (1.0 + a * a).sqrt()).atan();
        let factor = 4.0 * (term(a, b) + term(b, a)) / (2.0 * PI);
        // Its radiance is the intensity times pi over the area.
        let radiance = 2.0 * PI / (4.0 * half_width * half_height);
        let found = lit(&emitter, Vec3::ZERO, Vec3::Z);
        assert!(
            (found / (radiance * factor) - 1.0).abs() < 0.01,
            "{found} for {}",
            radiance * factor
        );
        assert_eq!(
            lit(&emitter, Vec3::new(0.0, 0.0, 1.0), Vec3::NEG_Z),
            0.0,
            "behind it"
        );
    }
}
