//! MobileNetV2 (Sandler et al. 2018, table 2), cut where the neck takes its features.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::layer::{Activation, ConvBnAct, ConvBnActConfig, chain};
use super::onnx::{Graph, Value};

/// Expansion, channels, blocks and stride of each stage at width 1.
const STAGES: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

/// Stages up to stride 8.
const STAGES_TO_STRIDE_8: usize = 3;

/// Stages up to stride 16; the rest has stride 32.
const STAGES_TO_STRIDE_16: usize = 5;

/// Channels of the stem at width 1.
const STEM_CHANNELS: usize = 32;

/// Scales a channel count and rounds it to a multiple of 8, never below 90 %.
pub(super) fn scaled_channels(channels: usize, width_multiplier: f64) -> usize {
    let wanted = channels as f64 * width_multiplier;
    let rounded = (((wanted + 4.0) / 8.0) as usize * 8).max(8);
    if (rounded as f64) < 0.9 * wanted {
        rounded + 8
    } else {
        rounded
    }
}

/// The number, from 0 and through the whole backbone, of the first inverted residual of one
/// of its parts; `None` for another name.
pub(super) fn first_block(part: &str) -> Option<usize> {
    let stages = match part {
        "to_stride_8" => 0,
        "to_stride_16" => STAGES_TO_STRIDE_8,
        "to_stride_32" => STAGES_TO_STRIDE_16,
        _ => return None,
    };
    Some(STAGES[..stages].iter().map(|stage| stage.2).sum())
}

/// An inverted residual with a linear bottleneck (section 3.3).
#[derive(Module, Debug)]
pub(super) struct InvertedResidual {
    expand: Option<ConvBnAct>,
    depthwise: ConvBnAct,
    project: ConvBnAct,
    #[module(skip)]
    is_residual: bool,
}

impl InvertedResidual {
    fn new(input: usize, output: usize, stride: usize, expansion: usize, device: &Device) -> Self {
        let hidden = input * expansion;
        let is_residual = stride == 1 && input == output;
        let expand = ConvBnActConfig::dense(input, hidden, 1, Activation::Relu6);
        let project = ConvBnActConfig::dense(hidden, output, 1, Activation::None);
        let project = if is_residual {
            project.starting_at_zero()
        } else {
            project
        };
        InvertedResidual {
            expand: (expansion != 1).then(|| expand.init(device)),
            depthwise: ConvBnActConfig::depthwise(hidden, Activation::Relu6)
                .with_stride(stride)
                .init(device),
            project: project.init(device),
            is_residual,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut layers: Vec<&ConvBnAct> = self.expand.iter().collect();
        layers.extend([&self.depthwise, &self.project]);
        chain(x, &layers, self.is_residual)
    }

    fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        let mut y = x.clone();
        for layer in self.expand.iter().chain([&self.depthwise, &self.project]) {
            y = layer.describe(graph, &y);
        }
        if self.is_residual {
            graph.node("Add", &[x, &y], &[])
        } else {
            y
        }
    }
}

/// Strides of the features.
pub(super) const FEATURE_STRIDES: [usize; 3] = [8, 16, 32];

/// Features of an image at strides 8, 16 and, where asked for, 32:
/// `[N, H / stride, W / stride, C]`.
pub(super) type Features<T = Tensor<4>> = Vec<T>;

/// MobileNetV2 up to stride 16, and to stride 32 where asked for.
#[derive(Module, Debug)]
pub(super) struct Backbone {
    stem: ConvBnAct,
    to_stride_8: Vec<InvertedResidual>,
    to_stride_16: Vec<InvertedResidual>,
    to_stride_32: Vec<InvertedResidual>,
}

impl Backbone {
    pub fn new(width_multiplier: f64, with_stride_32: bool, device: &Device) -> Self {
        let mut channels = scaled_channels(STEM_CHANNELS, width_multiplier);
        let stem = ConvBnActConfig::dense(3, channels, 3, Activation::Relu6).with_stride(2);
        let (mut to_stride_8, mut to_stride_16, mut to_stride_32) =
            (Vec::new(), Vec::new(), Vec::new());
        let count = if with_stride_32 {
            STAGES.len()
        } else {
            STAGES_TO_STRIDE_16
        };
        for (index, (expansion, stage_channels, blocks, stride)) in
            STAGES.into_iter().take(count).enumerate()
        {
            let output = scaled_channels(stage_channels, width_multiplier);
            let part = match index {
                0..STAGES_TO_STRIDE_8 => &mut to_stride_8,
                STAGES_TO_STRIDE_8..STAGES_TO_STRIDE_16 => &mut to_stride_16,
                _ => &mut to_stride_32,
            };
            for block in 0..blocks {
                let stride = if block == 0 { stride } else { 1 };
                part.push(InvertedResidual::new(
                    channels, output, stride, expansion, device,
                ));
                channels = output;
            }
        }
        Backbone {
            stem: stem.init(device),
            to_stride_8,
            to_stride_16,
            to_stride_32,
        }
    }

    /// Channels of the features at strides 8, 16 and 32.
    pub fn channels(width_multiplier: f64) -> [usize; 3] {
        [STAGES_TO_STRIDE_8, STAGES_TO_STRIDE_16, STAGES.len()]
            .map(|stages| scaled_channels(STAGES[stages - 1].1, width_multiplier))
    }

    /// `[N, H, W, 3]` to features.
    pub fn forward(&self, images: Tensor<4>) -> Features {
        let run = |x: Tensor<4>, blocks: &[InvertedResidual]| {
            blocks.iter().fold(x, |x, block| block.forward(x))
        };
        let stride_8 = run(self.stem.forward(images), &self.to_stride_8);
        let stride_16 = run(stride_8.clone(), &self.to_stride_16);
        let stride_32 =
            (!self.to_stride_32.is_empty()).then(|| run(stride_16.clone(), &self.to_stride_32));
        [stride_8, stride_16].into_iter().chain(stride_32).collect()
    }

    /// Adds the backbone to a graph, as [`Backbone::forward`] runs it, but in NCHW.
    pub fn describe(&self, graph: &mut Graph, images: &Value) -> Features<Value> {
        let stem = self.stem.describe(graph, images);
        let mut run = |x: &Value, blocks: &[InvertedResidual]| {
            let next = |x, block: &InvertedResidual| block.describe(graph, &x);
            blocks.iter().fold(x.clone(), next)
        };
        let stride_8 = run(&stem, &self.to_stride_8);
        let stride_16 = run(&stride_8, &self.to_stride_16);
        let stride_32 =
            (!self.to_stride_32.is_empty()).then(|| run(&stride_16, &self.to_stride_32));
        [stride_8, stride_16].into_iter().chain(stride_32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_those_of_the_published_models() {
        let at = |width| STAGES.map(|stage| scaled_channels(stage.1, width));
        assert_eq!(at(1.0), [16, 24, 32, 64, 96, 160, 320]);
        assert_eq!(at(0.35), [8, 8, 16, 24, 32, 56, 112]);
        assert_eq!(scaled_channels(STEM_CHANNELS, 0.35), 16);
    }
}
