//! Draws scene instances, with ground truth for each pixel.
//!
//! [`Renderer`] rasterises with wgpu; `raster` is the only module that names it.
//! [`PathTracer`] follows paths of light on the processor. A [`SceneRenderer`] is either, as the
//! scene chooses; one [`RenderDevice`] is lent to any number of them, each for one thread.

mod backdrop;
mod device;
mod exposure;
mod frame;
mod raster;
mod silhouette;
mod trace;
mod view;

pub use device::{RenderDevice, SceneRenderer};
pub use frame::{Frame, GroundTruth, PixelSet, Silhouette, VisibleObject};
pub use raster::{AdapterSummary, GpuContext, RenderError, Renderer};
pub use trace::PathTracer;
