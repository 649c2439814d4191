//! Checks of what is around a scene.

use super::{MAX_LIGHTS, check_range};
use crate::scene::spec::{EnvironmentSpec, PictureSpec, SceneSpec};
use crate::spec::{Distribution, Problems};

/// The highest radiance.
const MAX_LEVEL: f64 = 1e3;

impl SceneSpec {
    /// The most lights of one image, with that which the environment may bring.
    pub(in crate::scene) fn max_lights(&self) -> usize {
        let has_sun = match &self.environment {
            EnvironmentSpec::Sky(sky) => sky.sun,
            EnvironmentSpec::Map(map) => map.sun,
            _ => false,
        };
        self.lights.len() + usize::from(has_sun)
    }

    /// Whether the background is drawn as a picture of its own.
    pub(in crate::scene) fn has_backdrop(&self) -> bool {
        let has_details = match &self.environment {
            EnvironmentSpec::Uniform { .. } | EnvironmentSpec::Room { .. } => false,
            EnvironmentSpec::Gradient { .. }
            | EnvironmentSpec::Sky(_)
            | EnvironmentSpec::Map(_) => true,
        };
        has_details || !self.background.is_default()
    }

    pub(super) fn check_surroundings(&self, problems: &mut Problems) {
        let ok = self.max_lights() <= MAX_LIGHTS;
        problems.require(
            ok,
            "lights",
            format!("at most {MAX_LIGHTS} lights, of which the environment's sun is one"),
        );
        let mut check = |key: &str, distribution: &Distribution, low: f64, high: f64| {
            check_range(
                problems,
                &format!("environment.{key}"),
                distribution,
                low,
                high,
            );
        };
        match &self.environment {
            EnvironmentSpec::Uniform { level, kelvin }
            | EnvironmentSpec::Room { level, kelvin } => {
                check("level", level, 0.0, MAX_LEVEL);
                check("kelvin", kelvin, 1000.0, 40_000.0);
            }
            EnvironmentSpec::Gradient { level, .. } => {
                check("gradient.level", level, 0.0, MAX_LEVEL);
            }
            EnvironmentSpec::Sky(sky) => {
                check("sky.level", &sky.level, 0.0, MAX_LEVEL);
                check("sky.sun_elevation_deg", &sky.sun_elevation_deg, 5.0, 90.0);
                check("sky.sun_azimuth_deg", &sky.sun_azimuth_deg, -3600.0, 3600.0);
                check("sky.turbidity", &sky.turbidity, 2.0, 10.0);
                check("sky.overcast", &sky.overcast, 0.0, 1.0);
            }
            EnvironmentSpec::Map(map) => {
                check("map.level", &map.level, 0.0, MAX_LEVEL);
                check("map.rotation_deg", &map.rotation_deg, -3600.0, 3600.0);
            }
        }
        match &self.background.picture {
            PictureSpec::Noise { scale_px, .. } => {
                check_range(
                    problems,
                    "background.picture.noise.scale_px",
                    scale_px,
                    1.0,
                    1e4,
                );
            }
            PictureSpec::Photos(photos) => {
                check_range(
                    problems,
                    "background.picture.photos.crop",
                    &photos.crop,
                    0.05,
                    1.0,
                );
            }
            PictureSpec::Environment
            | PictureSpec::Colour { .. }
            | PictureSpec::Gradient { .. } => {}
        }
    }
}
