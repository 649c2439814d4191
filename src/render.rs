//! Draws scene instances, with ground truth for each pixel.
//!
//! [`Renderer`] rasterises with wgpu; `raster` is the only module that names it. One
//! [`GpuContext`] is lent to any number of renderers, each for one thread.

mod backdrop;
mod exposure;
mod frame;
mod raster;
mod silhouette;
mod view;

pub use frame::{Frame, GroundTruth, PixelSet, Silhouette, VisibleObject};
pub use raster::{AdapterSummary, GpuContext, RenderError, Renderer};
