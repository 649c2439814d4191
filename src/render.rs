//! Draws scene instances with wgpu and takes ground truth from the id buffer.
//!
//! The only module that names wgpu. One [`GpuContext`] is lent to any number of
//! [`Renderer`]s, each for one thread.

mod context;
mod ground_truth;
mod mesh;
mod pipeline;
mod renderer;
mod shader;
mod target;
mod uniforms;

pub use context::{AdapterSummary, GpuContext, RenderError};
pub use ground_truth::{GroundTruth, VisibleObject};
pub use renderer::{Frame, Renderer};
