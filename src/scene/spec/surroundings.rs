//! What is around a scene, as its YAML file gives it: the light from everywhere, and what is
//! seen behind the objects.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Colour, none, unit};
use crate::spec::Distribution;

/// The light from everywhere else. Levels are radiances, 1 being full scale at 0 EV.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum EnvironmentSpec {
    /// The same from all sides, as in a light tent.
    Uniform {
        level: Distribution,
        kelvin: Distribution,
    },
    /// A room that grows darker towards the floor; `level` is its ceiling's.
    Room {
        level: Distribution,
        kelvin: Distribution,
    },
    /// A colour overhead that changes into another at the horizon.
    Gradient {
        zenith: Colour,
        horizon: Colour,
        /// Radiance of a white matt surface that faces up.
        level: Distribution,
    },
    /// Daylight, clear or overcast, with its sun.
    Sky(SkySpec),
    /// A picture of all directions, from a file.
    Map(MapSpec),
}

/// Daylight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SkySpec {
    /// Radiance of a white matt surface that faces up, in the light of sky and sun together.
    pub level: Distribution,
    /// Above the horizon.
    pub sun_elevation_deg: Distribution,
    /// From the x axis towards the y axis.
    pub sun_azimuth_deg: Distribution,
    /// Haze: 2 is very clear air, 3 a clear day, 6 a hazy one.
    #[serde(default = "three")]
    pub turbidity: Distribution,
    /// 0 is a clear sky, 1 one that clouds cover without a gap, so that no sun is left.
    #[serde(default = "none")]
    pub overcast: Distribution,
    /// Whether the sun shines as one of the lights, or else stands behind something.
    #[serde(default = "yes")]
    pub sun: bool,
}

/// Pictures of all directions: equirectangular radiance maps, `.hdr` or `.exr`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MapSpec {
    /// The map, beside the scene file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// In place of `file`: a folder of maps, of which one is chosen for an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Radiance of a white matt surface that faces up, in the light of the whole map.
    pub level: Distribution,
    /// How far the map is turned around the upright axis.
    #[serde(default = "none")]
    pub rotation_deg: Distribution,
    /// Whether the map's brightest spot is taken out of it and shines as one of the lights, so
    /// that it casts shadows.
    #[serde(default)]
    pub sun: bool,
}

/// What is seen behind the objects.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackgroundSpec {
    #[serde(default)]
    pub picture: PictureSpec,
    /// Whether the ground shows the picture too, under the objects' shadows.
    #[serde(default)]
    pub covers_ground: bool,
}

impl BackgroundSpec {
    pub fn is_default(&self) -> bool {
        *self == BackgroundSpec::default()
    }
}

/// What the background shows. Colours are drawn from lists; an empty list stands for any
/// colour.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PictureSpec {
    /// What the light comes from.
    #[default]
    Environment,
    /// One colour.
    Colour {
        #[serde(default)]
        colours: Vec<Colour>,
    },
    /// A colour at the upper edge that changes into another at the lower.
    Gradient {
        #[serde(default)]
        top: Vec<Colour>,
        #[serde(default)]
        bottom: Vec<Colour>,
    },
    /// Patches of two colours.
    Noise {
        #[serde(default)]
        colours: Vec<Colour>,
        /// Size of the patches, about.
        scale_px: Distribution,
    },
    /// A part of a photograph.
    Photos(PhotosSpec),
}

/// Photographs that fill the image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PhotosSpec {
    /// The photographs' folder, beside the scene file.
    pub folder: String,
    /// Side of the part that is shown, as a share of the largest that fits.
    #[serde(default = "unit")]
    pub crop: Distribution,
    /// Whether left and right are exchanged in every other image, at random.
    #[serde(default = "yes")]
    pub mirror: bool,
}

fn three() -> Distribution {
    Distribution::Constant(3.0)
}

fn yes() -> bool {
    true
}
