//! What is drawn: scene families as specs and plans, and the instances sampled from them.
//!
//! A [`SceneSpec`] mirrors a YAML file, a [`ScenePlan`] is one that was checked as a
//! whole, and [`sample`] draws the [`SceneInstance`] of one image from it.

mod asset;
mod background;
mod body;
mod cover;
mod diameter;
mod environment;
mod instance;
mod keypoint;
mod lens;
mod library;
mod light;
mod mesh_file;
mod noise;
mod placement;
mod plan;
mod pose;
mod projection;
mod radiance_map;
mod sampler;
mod schema;
mod shape;
mod sky;
mod spec;
mod text;
mod texture;

pub use asset::{Assets, Geometry, Level, Mesh};
pub use background::{Background, Picture};
pub use diameter::diameter_m;
pub use environment::{Cell, Environment};
pub use instance::{
    Camera, Decal, Ground, Light, LightSource, Mapping, Material, Medium, Object, Part, Pattern,
    SceneInstance, Sensor, Texture, Tiles, facing_plane, kelvin_rgb, luminance, smoothstep,
};
pub use lens::Distortion;
pub use library::{Photo, PhotoError};
pub use noise::value_noise;
pub use plan::ScenePlan;
pub use projection::{Aperture, CameraRecord, Field, LensError, Motion, Projection};
pub use radiance_map::RadianceMap;
pub use sampler::sample;
pub use schema::scene_schema;
pub use sky::Sky;
pub use spec::{
    BackgroundSpec, CameraSpec, Class, Colour, DecalSpec, DistortionSpec, Dressing, DressingPart,
    EnvironmentSpec, Family, FamilyPart, GroundSpec, ImageFormat, ImageSpec, KeypointSpec,
    LabelRule, LightSpec, MapSpec, MappingSpec, MaterialSpec, MediumEffect, MediumSpec, MeshSpec,
    Method, MotionSpec, Paint, PathTracing, PhotosSpec, PictureSpec, PlacementSpec, Placements,
    PoseSpec, RendererChoice, SceneSpec, SensorSpec, Shape, Side, SkySpec, TextureSpec, Zone,
};
pub use texture::Textures;
