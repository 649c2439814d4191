//! One of two ways to draw a scene, as its family chooses.

use rayon::ThreadPool;

use super::frame::Frame;
use super::raster::{AdapterSummary, GpuContext, RenderError, Renderer};
use super::trace::PathTracer;
use crate::scene::{Assets, ImageSpec, PathTracing, RendererChoice, SceneInstance};

/// What scenes are drawn on; lent to any number of renderers.
#[derive(Debug)]
pub enum RenderDevice {
    /// A Vulkan adapter, for rasterising.
    Adapter(GpuContext),
    /// Threads of the processor, for tracing paths.
    Processor {
        workers: ThreadPool,
        settings: PathTracing,
    },
}

impl RenderDevice {
    /// Opens what the choice needs; only the rasteriser needs a Vulkan adapter. `threads` are
    /// those that trace paths.
    ///
    /// # Errors
    /// No adapter, or one that gives no device; no threads.
    pub fn new(choice: RendererChoice, threads: usize) -> Result<Self, RenderError> {
        match choice {
            RendererChoice::Raster => Ok(RenderDevice::Adapter(GpuContext::new()?)),
            RendererChoice::PathTraced(settings) => {
                let workers = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads.max(1))
                    .build();
                let workers = workers.map_err(|error| RenderError::NoThreads {
                    threads,
                    message: error.to_string(),
                })?;
                Ok(RenderDevice::Processor { workers, settings })
            }
        }
    }

    /// What draws, for people and records.
    pub fn summary(&self) -> AdapterSummary {
        match self {
            RenderDevice::Adapter(context) => context.summary().clone(),
            RenderDevice::Processor { workers, settings } => AdapterSummary {
                name: format!("path tracer, {} samples", settings.samples),
                backend: "processor".to_owned(),
                device_type: "Cpu".to_owned(),
                driver: format!("{} threads", workers.current_num_threads()),
            },
        }
    }
}

/// Draws the scenes of one family; used by one thread at a time.
#[derive(Debug)]
pub enum SceneRenderer<'a> {
    Raster(Box<Renderer<'a>>),
    PathTraced(PathTracer<'a>),
}

impl<'a> SceneRenderer<'a> {
    /// A renderer for images of a family.
    pub fn new(device: &'a RenderDevice, assets: &'a Assets, image: &ImageSpec) -> Self {
        match device {
            RenderDevice::Adapter(context) => SceneRenderer::Raster(Box::new(Renderer::new(
                context,
                assets,
                image.width_px,
                image.height_px,
                image.supersampling,
            ))),
            RenderDevice::Processor { workers, settings } => {
                SceneRenderer::PathTraced(PathTracer::new(assets, workers, *settings))
            }
        }
    }

    /// The same renderer, whose ground truth holds normals too, which only rasterising gives.
    pub fn with_normals(self) -> Self {
        match self {
            SceneRenderer::Raster(renderer) => {
                SceneRenderer::Raster(Box::new(renderer.with_normals()))
            }
            SceneRenderer::PathTraced(_) => self,
        }
    }

    /// Draws a scene of this renderer's family.
    ///
    /// # Errors
    /// The device was lost.
    pub fn render(&mut self, scene: &SceneInstance) -> Result<Frame, RenderError> {
        match self {
            SceneRenderer::Raster(renderer) => renderer.render(scene),
            SceneRenderer::PathTraced(tracer) => Ok(tracer.render(scene)),
        }
    }
}
