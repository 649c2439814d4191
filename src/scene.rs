//! What is drawn: scene families as specs and plans, and the instances sampled from them.
//!
//! A [`SceneSpec`] mirrors a YAML file, a [`ScenePlan`] is one that was checked as a
//! whole, and [`sample`] draws the [`SceneInstance`] of one image from it.

mod asset;
mod instance;
mod light;
mod placement;
mod plan;
mod sampler;
mod shape;
mod spec;

pub use asset::{Assets, Geometry, Level, Mesh};
pub use instance::{
    Camera, Environment, Ground, Light, LightSource, Material, Object, Pattern, SceneInstance,
    Sensor, kelvin_rgb,
};
pub use plan::ScenePlan;
pub use sampler::sample;
pub use spec::{
    CameraSpec, Class, Colour, Dressing, EnvironmentSpec, Family, GroundSpec, ImageFormat,
    ImageSpec, LabelRule, LightSpec, Paint, Part, PlacementSpec, SceneSpec, SensorSpec, Shape,
};
