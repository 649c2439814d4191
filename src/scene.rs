//! What is drawn: scene families as specs and plans, and the instances sampled from them.
//!
//! A [`SceneSpec`] mirrors a YAML file, a [`ScenePlan`] is one that was checked as a
//! whole, and [`sample`] draws the [`SceneInstance`] of one image from it.

mod asset;
mod body;
mod instance;
mod light;
mod noise;
mod placement;
mod plan;
mod sampler;
mod shape;
mod spec;

pub use asset::{Assets, Geometry, Level, Mesh};
pub use instance::{
    Camera, Environment, Ground, Light, LightSource, Material, Medium, Object, Part, Pattern,
    SceneInstance, Sensor, kelvin_rgb, smoothstep,
};
pub use noise::value_noise;
pub use plan::ScenePlan;
pub use sampler::sample;
pub use spec::{
    CameraSpec, Class, Colour, Dressing, DressingPart, EnvironmentSpec, Family, FamilyPart,
    GroundSpec, ImageFormat, ImageSpec, LabelRule, LightSpec, MaterialSpec, MediumEffect,
    MediumSpec, Paint, PathTracing, PlacementSpec, RendererChoice, SceneSpec, SensorSpec, Shape,
};
