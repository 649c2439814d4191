//! What goes wrong on the adapter, told to the caller instead of ending the program.

use std::sync::{Arc, Mutex, PoisonError};

use super::context::RenderError;

/// What the adapter reported outside any frame, and whether it is gone.
#[derive(Debug, Default, Clone)]
pub(super) struct Faults {
    reported: Arc<Mutex<Option<RenderError>>>,
}

impl Faults {
    /// Takes over the device's reports, which would end the program otherwise.
    pub(super) fn of(device: &wgpu::Device) -> Self {
        let faults = Faults::default();
        let uncaptured = faults.clone();
        device.on_uncaptured_error(Arc::new(move |error| uncaptured.report(error.into())));
        let lost = faults.clone();
        device.set_device_lost_callback(move |_, message| {
            lost.report(RenderError::Lost { message });
        });
        faults
    }

    fn report(&self, error: RenderError) {
        let mut first = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(error);
    }

    fn take(&self) -> Option<RenderError> {
        let mut first = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        first.take()
    }

    /// Does some work on the adapter, whose mistakes and shortages this thread's work alone
    /// answers for.
    ///
    /// # Errors
    /// Those of the work, of the adapter meanwhile, and what was reported before.
    pub(super) fn guarded<T>(
        &self,
        device: &wgpu::Device,
        work: impl FnOnce() -> Result<T, RenderError>,
    ) -> Result<T, RenderError> {
        use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
        let scopes = [OutOfMemory, Internal, Validation].map(|f| device.push_error_scope(f));
        let result = work();
        // Scopes nest, the last within the first.
        let mut found = None;
        for scope in scopes.into_iter().rev() {
            let error = pollster::block_on(scope.pop()).map(RenderError::from);
            found = found.or(error);
        }
        match self.take().or(found) {
            Some(error) => Err(error),
            None => result,
        }
    }
}

impl From<wgpu::Error> for RenderError {
    fn from(error: wgpu::Error) -> Self {
        match error {
            wgpu::Error::OutOfMemory { source } => RenderError::OutOfMemory {
                message: source.to_string(),
            },
            wgpu::Error::Validation { description, .. }
            | wgpu::Error::Internal { description, .. } => RenderError::Lost {
                message: description,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::GpuContext;
    use super::*;

    #[test]
    #[ignore = "needs a Vulkan adapter: make test installs one and runs these"]
    fn what_the_adapter_refuses_is_an_error_of_the_frame() {
        let context = GpuContext::new().unwrap();
        let too_large = || {
            let _refused = context.device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: u64::MAX / 2,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            });
            Ok(())
        };
        let guarded = |work: &dyn Fn() -> Result<(), RenderError>| {
            context.faults.guarded(&context.device, work)
        };
        assert!(guarded(&too_large).is_err());
        assert!(guarded(&|| Ok(())).is_ok(), "the next frame is drawn");
        // Outside any frame, the next one tells.
        too_large().unwrap();
        assert!(guarded(&|| Ok(())).is_err());
    }

    #[test]
    #[ignore = "needs a Vulkan adapter: make test installs one and runs these"]
    fn a_lost_device_is_an_error() {
        let context = GpuContext::new().unwrap();
        context.device.destroy();
        let drawn = context.faults.guarded(&context.device, || {
            let encoder = context.device.create_command_encoder(&Default::default());
            context.queue.submit([encoder.finish()]);
            context
                .device
                .poll(wgpu::PollType::wait_indefinitely())
                .map_err(|error| RenderError::Lost {
                    message: error.to_string(),
                })
        });
        assert!(matches!(drawn, Err(RenderError::Lost { .. })), "{drawn:?}");
    }
}
