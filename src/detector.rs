//! The bundled detector: a MobileNetV2 backbone, an anchor-free head, its training and use.

pub mod layer;
mod ops;
pub mod throughput;
