//! What is drawn: scene families as specs and plans, and the instances sampled from them.
//!
//! A [`SceneSpec`] mirrors a YAML file, a [`ScenePlan`] is one that was checked as a
//! whole, and [`sample`] draws the [`SceneInstance`] of one image from it.

mod asset;
mod body;
mod diameter;
mod instance;
mod keypoint;
mod lens;
mod light;
mod noise;
mod placement;
mod plan;
mod pose;
mod projection;
mod sampler;
mod shape;
mod spec;

pub use asset::{Assets, Geometry, Level, Mesh};
pub use diameter::diameter_m;
pub use instance::{
    Camera, Environment, Ground, Light, LightSource, Material, Medium, Object, Part, Pattern,
    SceneInstance, Sensor, kelvin_rgb,
};
pub use lens::Distortion;
pub use noise::value_noise;
pub use plan::ScenePlan;
pub use projection::{Aperture, CameraRecord, Field, LensError, Motion, Projection};
pub use sampler::sample;
pub use spec::{
    CameraSpec, Class, Colour, DistortionSpec, Dressing, DressingPart, EnvironmentSpec, Family,
    FamilyPart, GroundSpec, ImageFormat, ImageSpec, KeypointSpec, LabelRule, LightSpec,
    MaterialSpec, MediumEffect, MediumSpec, Method, MotionSpec, Paint, PlacementSpec, Placements,
    PoseSpec, SceneSpec, SensorSpec, Shape, Zone,
};
