//! What is drawn: scene families as specs and plans, and the instances sampled from them.
//!
//! A [`SceneSpec`] mirrors a YAML file, a [`ScenePlan`] is one that was checked as a
//! whole, and [`sample`] draws the [`SceneInstance`] of one image from it.

mod asset;
mod instance;
mod placement;
mod plan;
mod sampler;
mod spec;

pub use instance::{Camera, Light, Object, SceneInstance, Sensor, Surface, Template};
pub use plan::ScenePlan;
pub use sampler::sample;
pub use spec::{
    CameraSpec, Class, Colour, Dressing, Family, GroundSpec, ImageFormat, ImageSpec, LabelRule,
    LightSpec, Paint, Part, PlacementSpec, SceneSpec, SensorSpec, Shape,
};
