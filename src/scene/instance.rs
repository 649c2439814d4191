//! One concrete scene: plain data that can be printed, stored and replayed.

use glam::{Mat4, Vec3};
use serde::Serialize;

/// Everything that one image shows. World space is in metres, right-handed, z up; the
/// ground is z = 0.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SceneInstance {
    pub width_px: u32,
    pub height_px: u32,
    pub camera: Camera,
    pub light: Light,
    pub exposure_ev: f32,
    pub sensor: Sensor,
    pub ground_linear_rgb: [f32; 3],
    pub ground_texture_strength: f32,
    pub ground_texture_scale_m: f32,
    pub ground_roughness: f32,
    pub objects: Vec<Object>,
    /// Objects that found no room.
    pub not_placed: u32,
}

/// A pinhole camera.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Camera {
    pub position_m: Vec3,
    pub target_m: Vec3,
    /// Direction of the image's top, not parallel to the line of sight.
    pub up: Vec3,
    pub vertical_fov_deg: f32,
}

/// The key light and the light from everywhere else.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Light {
    /// Unit vector towards the light.
    pub direction: Vec3,
    pub intensity: f32,
    pub kelvin: f32,
    pub softness_m: f32,
    pub ambient: f32,
}

/// What lens and sensor add.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sensor {
    pub noise: f32,
    pub blur_px: f32,
    pub vignetting: f32,
    /// Seed of the noise's pattern.
    pub noise_seed: u32,
}

/// Which mesh is stretched to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Template {
    /// A box whose edges are rounded; with full rounding a sphere or capsule.
    RoundedBox,
    Cylinder,
}

/// How a surface is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Surface {
    Plain,
    /// Pips on six faces: one +x, two +y, three +z, four -z, five -y, six -x.
    Die,
}

/// One convex object.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Object {
    /// The family's name, or `dressing`.
    pub family: String,
    /// Identifier of its category; `None` for what is not labelled.
    pub category_id: Option<u32>,
    pub template: Template,
    pub surface: Surface,
    pub world_from_local: Mat4,
    pub half_extents_m: Vec3,
    pub rounding_m: f32,
    pub body_linear_rgb: [f32; 3],
    pub second_linear_rgb: [f32; 3],
    pub pips_linear_rgb: [f32; 3],
    /// Radius of pips over half the die's size.
    pub pip_radius: f32,
    pub roughness: f32,
    pub gloss: f32,
    pub marbling: f32,
    pub translucency: f32,
    /// How much longer its box's sides are than its visible extent, as a share of it.
    pub label_margin: f32,
}
