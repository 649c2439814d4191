//! The adapter and device that everything is drawn with.

use thiserror::Error;

use super::fault::Faults;
use crate::scene::PhotoError;

/// Why nothing can be drawn.
#[derive(Debug, Error)]
pub enum RenderError {
    #[error(
        "no Vulkan adapter answers; install a GPU driver, or Mesa's software adapter: `make vulkan`, or apt-get install mesa-vulkan-drivers libvulkan1"
    )]
    NoAdapter,
    #[error(
        "the adapter `{adapter}` gives no device: {message}; update its driver or use mesa-vulkan-drivers"
    )]
    NoDevice { adapter: String, message: String },
    #[error("cannot start {threads} threads: {message}; give fewer --jobs")]
    NoThreads { threads: usize, message: String },
    #[error(
        "the adapter failed while drawing: {message}; run again, with fewer --jobs if memory is short"
    )]
    Lost { message: String },
    #[error(
        "the adapter has no memory left: {message}; run again with fewer --jobs or smaller images, which goes on where this stopped"
    )]
    OutOfMemory { message: String },
    #[error(transparent)]
    Photo(#[from] PhotoError),
}

/// What an adapter says of itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AdapterSummary {
    pub name: String,
    pub backend: String,
    pub device_type: String,
    pub driver: String,
}

/// A device to draw with; lent to renderers, which may stand on several threads.
#[derive(Debug)]
pub struct GpuContext {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) faults: Faults,
    summary: AdapterSummary,
}

impl GpuContext {
    /// Opens the fastest Vulkan adapter, which may be a software one.
    ///
    /// # Errors
    /// No adapter, or one that gives no device.
    pub fn new() -> Result<Self, RenderError> {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::VULKAN;
        let instance = wgpu::Instance::new(descriptor);
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter = pollster::block_on(instance.request_adapter(&options))
            .map_err(|_| RenderError::NoAdapter)?;
        let info = adapter.get_info();
        let request = adapter.request_device(&wgpu::DeviceDescriptor::default());
        let (device, queue) =
            pollster::block_on(request).map_err(|error| RenderError::NoDevice {
                adapter: info.name.clone(),
                message: error.to_string(),
            })?;
        let summary = AdapterSummary {
            name: info.name,
            backend: format!("{:?}", info.backend),
            device_type: format!("{:?}", info.device_type),
            driver: format!("{} {}", info.driver, info.driver_info),
        };
        Ok(GpuContext {
            faults: Faults::of(&device),
            device,
            queue,
            summary,
        })
    }

    pub fn summary(&self) -> &AdapterSummary {
        &self.summary
    }
}
