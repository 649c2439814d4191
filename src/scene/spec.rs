//! A scene family as its YAML file gives it.

mod camera;
mod surroundings;
mod texture;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

pub use camera::{CameraSpec, DistortionSpec, MotionSpec, PoseSpec};

pub use super::placement::{Method, PlacementSpec, Placements, Zone};
use crate::spec::Distribution;

pub use surroundings::{
    BackgroundSpec, EnvironmentSpec, MapSpec, PhotosSpec, PictureSpec, SkySpec,
};
pub use texture::{DecalSpec, MappingSpec, Side, TextureSpec};

/// A scene family. Lengths are millimetres, angles degrees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SceneSpec {
    pub image: ImageSpec,
    pub camera: CameraSpec,
    pub lights: Vec<LightSpec>,
    pub environment: EnvironmentSpec,
    /// What is seen where the camera looks past the ground.
    #[serde(default, skip_serializing_if = "BackgroundSpec::is_default")]
    pub background: BackgroundSpec,
    /// Exposure relative to the scene's own brightness, in stops.
    pub exposure_ev: Distribution,
    pub sensor: SensorSpec,
    pub ground: GroundSpec,
    /// Sets of unlabelled things, of which one is chosen for an image.
    #[serde(default)]
    pub dressing: Vec<Dressing>,
    pub placement: Placements,
    pub objects: Vec<Family>,
    #[serde(default)]
    pub labels: LabelRule,
}

/// Size and encoding of the images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageSpec {
    pub width_px: u32,
    pub height_px: u32,
    #[serde(default)]
    pub format: ImageFormat,
    /// Samples a pixel along each axis where surfaces meet: 1 leaves edges jagged, 2 smooths
    /// them. Ground truth always has one value a pixel.
    #[serde(default = "two")]
    pub supersampling: u32,
    /// What draws the images.
    #[serde(default, skip_serializing_if = "RendererChoice::is_raster")]
    pub renderer: RendererChoice,
}

/// What draws the images of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RendererChoice {
    /// Rasterises on a Vulkan adapter.
    #[default]
    Raster,
    /// Follows paths of light on the processor.
    PathTraced(PathTracing),
}

impl RendererChoice {
    fn is_raster(&self) -> bool {
        *self == RendererChoice::Raster
    }
}

/// How paths of light are traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PathTracing {
    /// Paths a pixel.
    pub samples: u32,
    /// How often light is reflected on its way from the surface that it lights first to that
    /// which is seen: 0 is direct light only.
    pub bounces: u32,
    /// Whether noise is smoothed away.
    pub denoise: bool,
}

impl Default for PathTracing {
    fn default() -> Self {
        PathTracing {
            samples: 16,
            bounces: 4,
            denoise: true,
        }
    }
}

impl ImageSpec {
    /// Images of this size, drawn and encoded as usual.
    pub fn new(width_px: u32, height_px: u32) -> Self {
        ImageSpec {
            width_px,
            height_px,
            format: ImageFormat::default(),
            supersampling: two(),
            renderer: RendererChoice::default(),
        }
    }
}

fn two() -> u32 {
    2
}

/// How images are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImageFormat {
    /// Quality 90, chroma halved in both directions.
    #[default]
    Jpeg,
    Png,
}

impl ImageFormat {
    /// The file name's ending.
    pub fn extension(self) -> &'static str {
        match self {
            ImageFormat::Jpeg => "jpg",
            ImageFormat::Png => "png",
        }
    }
}

/// A light. Intensities are radiances of a white diffuse surface that faces the light, of
/// full scale at an exposure of 0 EV: at any distance from a directional light, at one metre
/// from the others. Each casts shadows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LightSpec {
    /// Infinitely far, such as the sun.
    Directional {
        intensity: Distribution,
        /// Correlated colour temperature in kelvin; 6,600 is white.
        kelvin: Distribution,
        /// Above the horizon.
        elevation_deg: Distribution,
        /// From the x axis towards the y axis.
        azimuth_deg: Distribution,
        /// How wide the light is, which softens shadows; the sun's is 0.53.
        #[serde(default = "none")]
        angular_diameter_deg: Distribution,
    },
    /// A glowing ball.
    Point {
        intensity: Distribution,
        kelvin: Distribution,
        position_mm: [Distribution; 3],
        diameter_mm: Distribution,
    },
    /// A ball that shines within a cone.
    Spot {
        intensity: Distribution,
        kelvin: Distribution,
        position_mm: [Distribution; 3],
        /// Where the cone's axis points.
        target_mm: [Distribution; 3],
        diameter_mm: Distribution,
        /// Full angle of the cone, whose outer fifth fades out.
        cone_deg: Distribution,
    },
    /// A rectangle that shines from its front.
    Area {
        intensity: Distribution,
        kelvin: Distribution,
        /// Its centre.
        position_mm: [Distribution; 3],
        /// Where its front faces.
        target_mm: [Distribution; 3],
        /// Width, which is level, and height.
        size_mm: [Distribution; 2],
    },
}

/// What lens and sensor add.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SensorSpec {
    /// Standard deviation of noise, of full scale.
    pub noise: Distribution,
    pub blur_px: Distribution,
    /// Loss of light in the corners, in 0..=1.
    pub vignetting: Distribution,
    /// Whether it sees no colours.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub monochrome: bool,
}

/// The ground that objects lie on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroundSpec {
    /// Side of the square that it covers around the origin.
    #[serde(default = "six_metres")]
    pub side_mm: f64,
    pub paints: Vec<Paint>,
    pub texture_strength: Distribution,
    pub texture_scale_mm: Distribution,
    pub roughness: Distribution,
    /// A picture in place of the paints, with the texture over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<TextureSpec>,
}

fn six_metres() -> f64 {
    6000.0
}

/// A set of unlabelled things.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dressing {
    pub weight: f64,
    #[serde(default)]
    pub parts: Vec<DressingPart>,
}

/// One unlabelled thing at a fixed place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DressingPart {
    /// What `placement.surface` calls it; several may share a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub shape: Shape,
    /// Centre of its footprint, and its height above the ground.
    pub position_mm: [f64; 3],
    /// Standard deviation of its place along x and y.
    #[serde(default)]
    pub jitter_mm: f64,
    /// Meshes from files have their own where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colour: Option<Colour>,
    #[serde(default)]
    pub material: MaterialSpec,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decals: Vec<DecalSpec>,
}

/// A family of objects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Family {
    pub name: String,
    pub class: Class,
    #[serde(default = "one")]
    pub weight: f64,
    /// What it looks like, where it is of one part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
    /// What it looks like, where it is of several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<FamilyPart>,
    /// Factor on the whole object.
    #[serde(default = "unit")]
    pub scale: Distribution,
    /// Factors along its own axes.
    #[serde(default = "units")]
    pub stretch: [Distribution; 3],
    /// Of which each object has one; meshes from files have their own where there are none.
    #[serde(default)]
    pub paints: Vec<Paint>,
    #[serde(default)]
    pub material: MaterialSpec,
    /// On its `shape`; the last lies uppermost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decals: Vec<DecalSpec>,
    /// Named points of the object, which are labelled where they show.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keypoints: Vec<KeypointSpec>,
    /// Pairs of keypoints, by name, that a line joins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skeleton: Vec<[String; 2]>,
}

/// A named point of an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeypointSpec {
    pub name: String,
    /// In the space that its parts are placed in, before stretch and scale; the origin is the
    /// middle of a `shape`.
    pub position_mm: [f64; 3],
}

impl Family {
    /// The shapes of all its parts.
    pub fn shapes(&self) -> impl Iterator<Item = &Shape> {
        let parts = self.parts.iter().map(|part| &part.shape);
        self.shape.iter().chain(parts)
    }

    /// The materials of all its parts.
    pub fn materials(&self) -> impl Iterator<Item = &MaterialSpec> {
        let parts = self.parts.iter().filter_map(|part| part.material.as_ref());
        std::iter::once(&self.material).chain(parts)
    }
}

/// One part of an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FamilyPart {
    pub shape: Shape,
    /// Place of its middle in the object.
    #[serde(default = "nones")]
    pub position_mm: [Distribution; 3],
    /// Turns around the object's x, y and z axes, in that order.
    #[serde(default = "nones")]
    pub rotation_deg: [Distribution; 3],
    /// Factor on the part.
    #[serde(default = "unit")]
    pub scale: Distribution,
    /// Factors along its own axes.
    #[serde(default = "units")]
    pub stretch: [Distribution; 3],
    /// How often an object has it.
    #[serde(default = "one")]
    pub probability: f64,
    /// Its colours; those of the object where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paints: Vec<Paint>,
    /// What it is made of; as the object where this is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub material: Option<MaterialSpec>,
    /// The last lies uppermost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decals: Vec<DecalSpec>,
}

/// What something is made of. Colours come from its paint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MaterialSpec {
    /// 0 is a mirror, 1 is matt.
    pub roughness: Distribution,
    /// Strength of the reflection of what is no metal: 1 is that of glass or plastic.
    pub gloss: Distribution,
    /// 1 for bare metal, whose reflection has the body's colour.
    pub metallic: Distribution,
    /// How much of the second colour streaks through, in 0..=1.
    pub marbling: Distribution,
    /// How much the ground shines through, in 0..=1.
    pub translucency: Distribution,
    /// Share of the surface under a layer of lacquer, in 0..=1.
    pub clear_coat: Distribution,
    pub clear_coat_roughness: Distribution,
    /// Radiance that the surface gives off in the body's colour.
    pub emission: Distribution,
    /// A picture in place of the paint's colour, which shows where the picture is transparent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub texture: Option<TextureSpec>,
    /// The body has no surface: light passes straight through it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub medium: Option<MediumSpec>,
}

impl Default for MaterialSpec {
    fn default() -> Self {
        MaterialSpec {
            roughness: Distribution::Constant(0.7),
            gloss: none(),
            metallic: none(),
            marbling: none(),
            translucency: none(),
            clear_coat: none(),
            clear_coat_roughness: Distribution::Constant(0.05),
            emission: none(),
            texture: None,
            medium: None,
        }
    }
}

impl MaterialSpec {
    /// Whether anything of it is lacquered or gives off light.
    pub fn has_finish(&self) -> bool {
        [&self.clear_coat, &self.emission]
            .iter()
            .any(|share| **share != none())
    }
}

/// A body that light passes straight through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MediumSpec {
    pub effect: MediumEffect,
    /// Thickness at which the effect is as said.
    pub thickness_mm: Distribution,
    /// How much the density varies from place to place, in 0..=1.
    #[serde(default = "none")]
    pub mottling: Distribution,
    /// Over what length it varies.
    #[serde(default = "unit")]
    pub mottling_scale_mm: Distribution,
}

/// What a medium does to light.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum MediumEffect {
    /// White light comes out in the paint's colour, and more of it is lost in a thicker body.
    Absorbs,
    /// It gives off light of this radiance in the paint's colour.
    Glows { level: Distribution },
}

fn one() -> f64 {
    1.0
}

fn unit() -> Distribution {
    Distribution::Constant(1.0)
}

fn units() -> [Distribution; 3] {
    [unit(), unit(), unit()]
}

fn nones() -> [Distribution; 3] {
    [none(), none(), none()]
}

fn none() -> Distribution {
    Distribution::Constant(0.0)
}

/// What class an object has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// `one` to `six`, by the face of a die that lies uppermost.
    UpperFace,
    Fixed(String),
    /// A distractor.
    Unlabelled,
}

/// A shape; sizes are full extents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Shape {
    /// A cube with pips; `rounding` and `pip_radius` are shares of half its size.
    Die {
        size_mm: f64,
        rounding: f64,
        pip_radius: f64,
    },
    Box {
        size_mm: [f64; 3],
        #[serde(default)]
        rounding_mm: f64,
    },
    Sphere {
        diameter_mm: f64,
    },
    Ellipsoid {
        size_mm: [f64; 3],
    },
    /// Lies on its side.
    Capsule {
        length_mm: f64,
        diameter_mm: f64,
    },
    /// Stands upright.
    Cylinder {
        diameter_mm: f64,
        height_mm: f64,
        #[serde(default)]
        rounding_mm: f64,
    },
    /// Stands upright.
    Cone {
        bottom_diameter_mm: f64,
        #[serde(default)]
        top_diameter_mm: f64,
        height_mm: f64,
    },
    /// Lies flat.
    Torus {
        /// From side to side.
        diameter_mm: f64,
        /// Thickness of the ring.
        tube_mm: f64,
    },
    /// Lies flat, with hollow faces, such as a red blood cell.
    Disc {
        diameter_mm: f64,
        /// Thickness where it is thickest.
        rim_mm: f64,
        /// Thickness on its axis.
        middle_mm: f64,
    },
    /// A profile turned around the upright axis: pairs of radius and height, from the lower
    /// end on the axis to the upper.
    Lathe {
        profile_mm: Vec<[f64; 2]>,
    },
    /// An outline in the plane of the ground, pulled up.
    Extrusion {
        outline_mm: Vec<[f64; 2]>,
        height_mm: f64,
    },
    /// Triangles from a file.
    Mesh(MeshSpec),
    /// A card without thickness that lies flat.
    Quad {
        size_mm: [f64; 2],
    },
    /// Another shape with each point moved at random, alike where points are near. An object
    /// is one of `variants`.
    Bent {
        shape: Box<Shape>,
        /// How far points move, about.
        amount_mm: f64,
        /// Over what length they move alike.
        scale_mm: f64,
        #[serde(default = "eight")]
        variants: usize,
    },
}

/// A mesh file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MeshSpec {
    /// A .glb, .gltf or .obj file beside the scene file.
    pub file: String,
    /// Length of the longest side of the box around it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_side_mm: Option<f64>,
    /// Or else the length of the file's unit: a metre where both are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_mm: Option<f64>,
    /// Which of the file's axes points up.
    #[serde(default)]
    pub up: UpAxis,
}

/// An axis that points up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpAxis {
    /// As glTF has it.
    #[default]
    Y,
    Z,
}

fn eight() -> usize {
    8
}

/// Colours that go together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Paint {
    #[serde(default = "one")]
    pub weight: f64,
    pub body: Colour,
    /// The colour of marbling streaks.
    #[serde(default)]
    pub second: Option<Colour>,
    #[serde(default)]
    pub pips: Option<Colour>,
}

/// An sRGB colour, written `"#rrggbb"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Colour(pub [u8; 3]);

impl Colour {
    /// Linear light, each channel in 0..=1 (IEC 61966-2-1).
    pub fn linear_rgb(self) -> [f32; 3] {
        self.0.map(|value| {
            let value = f32::from(value) / 255.0;
            if value <= 0.04045 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        })
    }
}

impl TryFrom<String> for Colour {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let fail = || format!("`{text}` is not a colour: write \"#rrggbb\", with quotes");
        let digits = text.strip_prefix('#').ok_or_else(fail)?;
        if digits.len() != 6 || !digits.is_ascii() {
            return Err(fail());
        }
        let value = u32::from_str_radix(digits, 16).map_err(|_| fail())?;
        let [_, red, green, blue] = value.to_be_bytes();
        Ok(Colour([red, green, blue]))
    }
}

impl From<Colour> for String {
    fn from(colour: Colour) -> Self {
        let [red, green, blue] = colour.0;
        format!("#{red:02x}{green:02x}{blue:02x}")
    }
}

impl JsonSchema for Colour {
    fn schema_name() -> Cow<'static, str> {
        "Colour".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An sRGB colour, written \"#rrggbb\", with quotes.",
            "type": "string",
            "pattern": "^#[0-9a-fA-F]{6}$",
        })
    }
}

/// Which objects get a box, those that show at least this much inside the image, and
/// how it is drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LabelRule {
    pub min_visible_px: u32,
    /// Visible pixels over those that it would cover inside the image if nothing hid it.
    pub min_visible_fraction: f64,
    /// How much longer a box's sides are than the visible extent, as a share of it. People
    /// draw boxes with room around the object; a detector learns that.
    #[serde(skip_serializing_if = "is_none")]
    pub margin: Distribution,
    /// Whether boxes are squares on the longer side.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub square: bool,
}

fn is_none(distribution: &Distribution) -> bool {
    *distribution == none()
}

impl Default for LabelRule {
    fn default() -> Self {
        LabelRule {
            min_visible_px: 16,
            min_visible_fraction: 0.2,
            margin: none(),
            square: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_read_and_linearised() {
        let colour = Colour::try_from("#ff8000".to_owned()).unwrap();
        assert_eq!(String::from(colour), "#ff8000");
        let [red, green, blue] = colour.linear_rgb();
        assert!(red == 1.0 && blue == 0.0 && (green - 0.21586).abs() < 1e-4);
        for wrong in ["ff8000", "#ff80", "#gg8000", "#é8000"] {
            assert!(Colour::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
