//! Draws the lights of one image.

use std::sync::Arc;

use glam::Vec3;
use rand::RngExt;

use super::environment::Environment;
use super::instance::{Light, LightSource};
use super::library::Library;
use super::sky::Sky;
use super::spec::{EnvironmentSpec, LightSpec};
use crate::seed::SeedKey;
use crate::spec::Distribution;

/// Share of a spot's cone, from its edge, over which it fades.
const FADE: f32 = 0.2;

/// One light a spec; each has a stream of its own.
pub(super) fn sample_lights(specs: &[LightSpec], key: &SeedKey) -> Vec<Light> {
    (0..)
        .zip(specs)
        .map(|(number, spec)| sample_light(spec, key, number))
        .collect()
}

fn sample_light(spec: &LightSpec, key: &SeedKey, number: u64) -> Light {
    let mut generator = key.generator("light", number);
    let mut draw = |distribution: &Distribution| distribution.sample(&mut generator) as f32;
    let (intensity, kelvin) = match spec {
        LightSpec::Directional {
            intensity, kelvin, ..
        }
        | LightSpec::Point {
            intensity, kelvin, ..
        }
        | LightSpec::Spot {
            intensity, kelvin, ..
        }
        | LightSpec::Area {
            intensity, kelvin, ..
        } => (draw(intensity).max(0.0), draw_kelvin(&mut draw, kelvin)),
    };
    let mut place = |at: &[Distribution; 3]| Vec3::from(at.each_ref().map(&mut draw)) / 1000.0;
    let source = match spec {
        LightSpec::Directional {
            elevation_deg,
            azimuth_deg,
            angular_diameter_deg,
            ..
        } => {
            let elevation_deg = draw(elevation_deg).clamp(5.0, 90.0);
            LightSource::Directional {
                towards: direction(elevation_deg, draw(azimuth_deg)),
                angular_diameter_deg: draw(angular_diameter_deg).clamp(0.0, 90.0),
            }
        }
        LightSpec::Point {
            position_mm,
            diameter_mm,
            ..
        } => LightSource::Point {
            position_m: place(position_mm),
            radius_m: draw(diameter_mm).max(0.0) / 2000.0,
        },
        LightSpec::Spot {
            position_mm,
            target_mm,
            diameter_mm,
            cone_deg,
            ..
        } => {
            let position_m = place(position_mm);
            let axis = towards(position_m, place(target_mm));
            let radius_m = draw(diameter_mm).max(0.0) / 2000.0;
            let half = draw(cone_deg).clamp(1.0, 170.0).to_radians() / 2.0;
            LightSource::Spot {
                position_m,
                radius_m,
                axis,
                cos_outer: half.cos(),
                cos_inner: (half * (1.0 - FADE)).cos(),
            }
        }
        LightSpec::Area {
            position_mm,
            target_mm,
            size_mm,
            ..
        } => {
            let position_m = place(position_mm);
            let front = towards(position_m, place(target_mm));
            let [width, height] = size_mm.each_ref().map(|side| draw(side).max(0.1) / 2000.0);
            // Level, so long as it does not face straight up or down.
            let level = front.cross(Vec3::Z).normalize_or(Vec3::X);
            LightSource::Area {
                position_m,
                half_width_m: level * width,
                half_height_m: front.cross(level) * height,
            }
        }
    };
    Light {
        intensity,
        kelvin,
        source,
    }
}

/// Straight down where both are at one place.
fn towards(from: Vec3, to: Vec3) -> Vec3 {
    (to - from).normalize_or(Vec3::NEG_Z)
}

fn draw_kelvin(draw: &mut impl FnMut(&Distribution) -> f32, kelvin: &Distribution) -> f32 {
    draw(kelvin).clamp(1000.0, 40_000.0)
}

/// Draws the environment; its maps come from the library.
pub(super) fn sample_environment(
    spec: &EnvironmentSpec,
    library: &Library,
    key: &SeedKey,
) -> Environment {
    let mut generator = key.generator("environment", 0);
    let mut draw = |distribution: &Distribution| distribution.sample(&mut generator) as f32;
    match spec {
        EnvironmentSpec::Uniform { level, kelvin } => Environment::Uniform {
            level: draw(level).max(0.0),
            kelvin: draw_kelvin(&mut draw, kelvin),
        },
        EnvironmentSpec::Room { level, kelvin } => Environment::Room {
            level: draw(level).max(0.0),
            kelvin: draw_kelvin(&mut draw, kelvin),
        },
        EnvironmentSpec::Gradient {
            zenith,
            horizon,
            level,
        } => Environment::gradient(
            Vec3::from(zenith.linear_rgb()),
            Vec3::from(horizon.linear_rgb()),
            draw(level).max(0.0),
        ),
        EnvironmentSpec::Sky(sky) => {
            let level = draw(&sky.level).max(0.0);
            let elevation_deg = draw(&sky.sun_elevation_deg).clamp(5.0, 90.0);
            let towards_sun = direction(elevation_deg, draw(&sky.sun_azimuth_deg));
            let turbidity = draw(&sky.turbidity).clamp(2.0, 10.0);
            let overcast = draw(&sky.overcast).clamp(0.0, 1.0);
            Environment::Sky(Sky::new(turbidity, overcast, towards_sun, sky.sun, level))
        }
        EnvironmentSpec::Map(map) => {
            let (level, rotation_deg) = (draw(&map.level).max(0.0), draw(&map.rotation_deg));
            let number = generator.random_range(0..library.maps().len());
            Environment::Map {
                map: Arc::clone(&library.maps()[number]),
                rotation_deg,
                level,
            }
        }
    }
}

/// Unit vector to a place in the sky; the azimuth runs from the x axis towards the y axis.
fn direction(elevation_deg: f32, azimuth_deg: f32) -> Vec3 {
    let (elevation, azimuth) = (elevation_deg.to_radians(), azimuth_deg.to_radians());
    Vec3::new(
        elevation.cos() * azimuth.cos(),
        elevation.cos() * azimuth.sin(),
        elevation.sin(),
    )
}
