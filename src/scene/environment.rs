//! The light from everywhere else, as one scene has it.

use std::f32::consts::{PI, TAU};
use std::sync::Arc;

use glam::{Quat, Vec3};
use serde::{Serialize, Serializer};

use super::instance::{Light, LightSource, kelvin_rgb, luminance, rgb_kelvin, smoothstep};
use super::radiance_map::RadianceMap;
use super::sky::Sky;

/// Rows of the grid of directions; there are twice as many columns.
const ROWS: usize = 128;

/// The light from everywhere else.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// The same from all sides.
    Uniform { level: f32, kelvin: f32 },
    /// Darker towards the floor.
    Room { level: f32, kelvin: f32 },
    /// Radiance overhead and at the horizon.
    Gradient {
        zenith_linear_rgb: Vec3,
        horizon_linear_rgb: Vec3,
    },
    /// Daylight.
    Sky(Sky),
    /// A picture of all directions, turned around the upright axis.
    Map {
        #[serde(rename = "file", serialize_with = "as_file")]
        map: Arc<RadianceMap>,
        rotation_deg: f32,
        /// Radiance of a white matt surface that faces up.
        level: f32,
    },
}

fn as_file<S: Serializer>(map: &Arc<RadianceMap>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(map.file())
}

/// A part of all directions, and the light from there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// Unit vector to its middle.
    pub direction: Vec3,
    pub solid_angle: f32,
    pub radiance: Vec3,
}

impl Environment {
    /// A gradient between these colours, scaled so that a white matt surface that faces up has
    /// a luminance of `level`.
    pub(super) fn gradient(zenith: Vec3, horizon: Vec3, level: f32) -> Self {
        // The mean of the height's root over the cosine-weighted upper half is 4/5.
        let mean = luminance(horizon.lerp(zenith, 0.8));
        let scale = level / mean.max(1e-9);
        Environment::Gradient {
            zenith_linear_rgb: zenith * scale,
            horizon_linear_rgb: horizon * scale,
        }
    }

    /// Radiance from a unit direction. A uniform environment and a room give it averaged over
    /// the lobe of a mirror of this roughness (0..=1); of the others it is that of a smooth
    /// mirror, and [`Environment::cells`] has what there is to average.
    pub fn radiance(&self, direction: Vec3, roughness: f32) -> Vec3 {
        match self {
            Environment::Uniform { level, kelvin } => kelvin_rgb(*kelvin) * *level,
            Environment::Room { level, kelvin } => {
                let spread = 0.6 * roughness;
                let share = smoothstep(-0.2 - spread, 0.9 + spread, direction.z);
                kelvin_rgb(*kelvin) * *level * (0.35 + 0.65 * share)
            }
            Environment::Gradient {
                zenith_linear_rgb,
                horizon_linear_rgb,
            } => {
                let share = direction.z.max(0.0).sqrt();
                horizon_linear_rgb.lerp(*zenith_linear_rgb, share)
            }
            Environment::Sky(sky) => sky.radiance(direction),
            Environment::Map { .. } => self.radiance_within(direction, 0.0),
        }
    }

    /// Radiance from a unit direction, averaged over about this angle where a picture has finer
    /// details.
    pub fn radiance_within(&self, direction: Vec3, angle_rad: f32) -> Vec3 {
        match self {
            Environment::Map {
                map,
                rotation_deg,
                level,
            } => {
                let turn = Quat::from_rotation_z(-rotation_deg.to_radians());
                map.radiance(turn * direction, angle_rad) * *level
            }
            _ => self.radiance(direction, 0.0),
        }
    }

    /// Whether it is a picture that goes on below the horizon; below others the ground does.
    pub fn shows_below(&self) -> bool {
        matches!(self, Environment::Map { .. })
    }

    /// All directions in small parts; none where [`Environment::radiance`] is averaged already.
    /// Those well below the horizon are dark where the ground is seen in their place.
    pub fn cells(&self) -> Option<Vec<Cell>> {
        match self {
            Environment::Uniform { .. } | Environment::Room { .. } => None,
            Environment::Gradient { .. } | Environment::Sky(_) => {
                let seen = |direction: Vec3| match direction.z > -0.05 {
                    true => self.radiance(direction, 0.0),
                    false => Vec3::ZERO,
                };
                let cells = grid(0.0).map(|(direction, solid_angle)| Cell {
                    direction,
                    solid_angle,
                    radiance: seen(direction),
                });
                Some(cells.collect())
            }
            Environment::Map {
                map,
                rotation_deg,
                level,
            } => {
                let turned = grid(rotation_deg.to_radians());
                let cells = turned.zip(map.rows(ROWS));
                let cells = cells.map(|((direction, solid_angle), radiance)| Cell {
                    direction,
                    solid_angle,
                    radiance: *radiance * *level,
                });
                Some(cells.collect())
            }
        }
    }

    /// The light that comes with it, such as the sun.
    pub(super) fn sun(&self) -> Option<Light> {
        let (arriving, towards, angular_diameter_deg) = match self {
            Environment::Sky(sky) => sky.sun()?,
            Environment::Map {
                map,
                rotation_deg,
                level,
            } => {
                let spot = map.spot()?;
                let turn = Quat::from_rotation_z(rotation_deg.to_radians());
                let towards = turn * spot.towards;
                (spot.arriving * *level, towards, spot.angular_diameter_deg)
            }
            _ => return None,
        };
        Some(Light {
            intensity: luminance(arriving),
            kelvin: rgb_kelvin(arriving),
            source: LightSource::Directional {
                towards,
                angular_diameter_deg,
            },
        })
    }
}

/// Middles and solid angles of a grid over all directions as an equirectangular picture has
/// them, row by row from the top, turned around the upright axis. The middle of the picture
/// faces along x, its left half towards y.
fn grid(turn_rad: f32) -> impl Iterator<Item = (Vec3, f32)> {
    let columns = 2 * ROWS;
    let azimuths: Vec<(f32, f32)> = (0..columns)
        .map(|column| {
            let across = (column as f32 + 0.5) / columns as f32;
            (turn_rad + (0.5 - across) * TAU).sin_cos()
        })
        .collect();
    (0..ROWS).flat_map(move |row| {
        let angle = |edge: f32| (edge / ROWS as f32 * PI).sin_cos();
        let (row, (above, below)) = (row as f32, (angle(row as f32).1, angle(row as f32 + 1.0).1));
        let (radius, z) = angle(row + 0.5);
        let solid_angle = (above - below) * TAU / columns as f32;
        let directions = azimuths.clone().into_iter();
        directions.map(move |(sin, cos)| (Vec3::new(radius * cos, radius * sin, z), solid_angle))
    })
}

/// Radiance of a white matt surface with this unit normal.
#[cfg(test)]
pub(super) fn matt(environment: &Environment, normal: Vec3) -> Vec3 {
    let cells = environment.cells().unwrap();
    let light = cells
        .iter()
        .map(|cell| cell.radiance * (cell.direction.dot(normal).max(0.0) * cell.solid_angle / PI));
    light.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_covers_all_directions_once() {
        let (mut area, mut middle) = (0.0_f64, glam::DVec3::ZERO);
        for (direction, solid_angle) in grid(0.3) {
            assert!((direction.length() - 1.0).abs() < 1e-5);
            area += f64::from(solid_angle);
            middle += (direction * solid_angle).as_dvec3();
        }
        assert!((area / (4.0 * std::f64::consts::PI) - 1.0).abs() < 1e-5);
        assert!(middle.length() < 1e-4, "{middle}");
    }

    #[test]
    fn a_gradient_has_the_stated_level() {
        let (zenith, horizon) = (Vec3::new(0.1, 0.2, 0.6), Vec3::new(0.8, 0.7, 0.6));
        let gradient = Environment::gradient(zenith, horizon, 0.7);
        let seen = luminance(matt(&gradient, Vec3::Z));
        assert!((seen - 0.7).abs() < 2e-3, "{seen}");
        let up = gradient.radiance(Vec3::Z, 0.0);
        assert!(up.z > up.x && gradient.radiance(Vec3::X, 0.0).x > up.x);
    }
}
