//! Where a network computes.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::DetectorError;

/// The processor or a GPU. Only the processor gives the same bits from run to run, and only
/// it has the detector's own operation; the others run the same network on burn's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComputeDevice {
    /// The processor.
    #[default]
    Cpu,
    /// A GPU through Vulkan, with the feature `wgpu`.
    Wgpu,
    /// A GPU of NVIDIA's, with the feature `cuda`.
    Cuda,
}

impl ComputeDevice {
    /// All of them, whether this build has them or not.
    pub const ALL: [ComputeDevice; 3] =
        [ComputeDevice::Cpu, ComputeDevice::Wgpu, ComputeDevice::Cuda];

    /// As settings and the command line call it.
    pub fn name(self) -> &'static str {
        match self {
            ComputeDevice::Cpu => "cpu",
            ComputeDevice::Wgpu => "wgpu",
            ComputeDevice::Cuda => "cuda",
        }
    }

    /// Whether networks can run there.
    ///
    /// # Errors
    /// A build without the feature, or a machine without the hardware or its driver.
    pub fn check(self) -> Result<(), DetectorError> {
        self.open().map(|_| ())
    }

    pub(super) fn open(self) -> Result<Device, DetectorError> {
        let device = match self {
            ComputeDevice::Cpu => Ok(Device::flex()),
            ComputeDevice::Wgpu => wgpu(),
            ComputeDevice::Cuda => cuda(),
        };
        device.map_err(|message| DetectorError::NoDevice {
            device: self.name(),
            message,
        })
    }
}

impl std::str::FromStr for ComputeDevice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|device| device.name() == text);
        named.ok_or_else(|| "expected cpu, wgpu or cuda".to_owned())
    }
}

#[cfg(feature = "wgpu")]
fn wgpu() -> Result<Device, String> {
    use burn::tensor::DeviceKind;
    use burn::tensor::wgpu::WgpuInitError;
    use std::sync::OnceLock;
    // The runtime of an adapter can be made once in a process.
    static DEVICE: OnceLock<Result<Device, String>> = OnceLock::new();
    let first = || match Device::wgpu_options().init() {
        Ok(device) => Ok(device),
        // burn has made it: the state of an optimiser is read onto its default device first.
        Err(WgpuInitError::Registration { .. }) => Ok(Device::wgpu(DeviceKind::DefaultDevice)),
        Err(error) => Err(error.to_string()),
    };
    DEVICE.get_or_init(first).clone()
}

#[cfg(not(feature = "wgpu"))]
fn wgpu() -> Result<Device, String> {
    Err(not_built("wgpu"))
}

#[cfg(feature = "cuda")]
fn cuda() -> Result<Device, String> {
    Ok(Device::cuda(0))
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> Result<Device, String> {
    Err(not_built("cuda"))
}

#[cfg(not(all(feature = "wgpu", feature = "cuda")))]
fn not_built(feature: &str) -> String {
    format!("this program was built without it; build it with --features {feature}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_refused() {
        for device in ComputeDevice::ALL {
            assert_eq!(device.name().parse(), Ok(device));
            let written = serde_json::to_string(&device).unwrap();
            assert_eq!(written, format!("\"{}\"", device.name()));
        }
        assert!("gpu".parse::<ComputeDevice>().is_err());
        ComputeDevice::Cpu.check().unwrap();
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_device_that_was_not_built_is_named_with_the_remedy() {
        let message = ComputeDevice::Cuda.check().unwrap_err().to_string();
        assert!(
            message.contains("cuda") && message.contains("--features"),
            "{message}"
        );
    }
}
