//! Rasterises with wgpu. Where the camera's rays meet surfaces is drawn first, and each
//! pixel is then shaded once, or at each of its samples where surfaces meet.

mod context;
pub(super) mod environment;
mod fault;
mod meshes;
mod normals;
mod occluders;
pub(super) mod octahedral;
mod pipeline;
mod renderer;
mod shader;
mod shadow;
mod target;
mod textures;
pub(super) mod uniforms;

pub use context::{AdapterSummary, GpuContext, RenderError};
pub use renderer::Renderer;
