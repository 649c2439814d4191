//! How fast this machine trains: MobileNetV2's shapes with data already in memory.

use burn::module::Module;
use burn::optim::{GradientsParams, SgdConfig, momentum::MomentumConfig};
use burn::tensor::{Device, Distribution, Tensor};

use super::layer::{Activation, ConvBnAct, ConvBnActConfig};

/// Expansion, channels at width 1, repeats and stride of the bottlenecks (Sandler et al.
/// 2018, table 2).
const BOTTLENECKS: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

/// Channels at a width, rounded to a multiple of 8 without losing more than a tenth.
fn scaled(channels: usize, width_multiplier: f64) -> usize {
    let exact = channels as f64 * width_multiplier;
    let rounded = ((exact + 4.0) / 8.0).floor().max(1.0) * 8.0;
    let kept = if rounded < 0.9 * exact {
        rounded + 8.0
    } else {
        rounded
    };
    kept as usize
}

#[derive(Module, Debug)]
struct Bottleneck {
    layers: Vec<ConvBnAct>,
    #[module(skip)]
    adds_input: bool,
}

impl Bottleneck {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut y = x.clone();
        for layer in &self.layers {
            y = layer.forward(y);
        }
        if self.adds_input { x + y } else { y }
    }
}

#[derive(Module, Debug)]
struct Stack {
    blocks: Vec<Bottleneck>,
}

impl Stack {
    fn new(width_multiplier: f64, device: &Device) -> Self {
        let width = |channels| scaled(channels, width_multiplier);
        let relu6 = Activation::Relu6;
        let mut channels = width(32);
        let stem = ConvBnActConfig::dense(3, channels, 3, relu6).with_stride(2);
        let mut blocks = vec![Bottleneck {
            layers: vec![stem.init(device)],
            adds_input: false,
        }];
        for (expansion, out, repeats, stride) in BOTTLENECKS {
            let out = width(out);
            for repeat in 0..repeats {
                let stride = if repeat == 0 { stride } else { 1 };
                let hidden = channels * expansion;
                let mut layers = Vec::new();
                if expansion > 1 {
                    layers.push(ConvBnActConfig::dense(channels, hidden, 1, relu6));
                }
                layers.push(ConvBnActConfig::depthwise(hidden, relu6).with_stride(stride));
                layers.push(ConvBnActConfig::dense(hidden, out, 1, Activation::None));
                blocks.push(Bottleneck {
                    layers: layers.iter().map(|layer| layer.init(device)).collect(),
                    adds_input: stride == 1 && channels == out,
                });
                channels = out;
            }
        }
        let last = ConvBnActConfig::dense(channels, 1280.max(width(1280)), 1, relu6);
        blocks.push(Bottleneck {
            layers: vec![last.init(device)],
            adds_input: false,
        });
        Stack { blocks }
    }
}

/// Trains a MobileNetV2 on one batch of noise: forward, backward and step.
pub struct TrainingLoad {
    step: Box<dyn FnMut() -> f32>,
}

impl TrainingLoad {
    /// Makes the network and the batch. `input` is height and width in pixels, multiples
    /// of 32.
    pub fn new(width_multiplier: f64, input: [usize; 2], batch: usize, seed: u64) -> Self {
        let device = Device::flex().autodiff();
        device.seed(seed);
        let mut model = Stack::new(width_multiplier, &device);
        let dims = [batch, input[0], input[1], 3];
        let images = Tensor::<4>::random(dims, Distribution::Normal(0.0, 1.0), &device);
        let momentum = MomentumConfig::new().with_momentum(0.9);
        let mut optimizer = SgdConfig::new().with_momentum(Some(momentum)).init();
        let step = move || {
            let mut x = images.clone();
            for block in &model.blocks {
                x = block.forward(x);
            }
            let loss = x.square().mean();
            let value = loss.clone().into_scalar::<f32>();
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(1e-3, model.clone(), gradients);
            value
        };
        TrainingLoad {
            step: Box::new(step),
        }
    }

    /// One step; returns the loss.
    pub fn step(&mut self) -> f32 {
        (self.step)()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_multiples_of_eight_near_the_exact_ones() {
        assert_eq!(scaled(32, 0.35), 16);
        assert_eq!(scaled(24, 0.35), 8);
        assert_eq!(scaled(160, 0.35), 56);
        assert_eq!(scaled(320, 1.0), 320);
    }

    #[test]
    fn steps_lower_the_loss() {
        let mut load = TrainingLoad::new(0.25, [32, 64], 2, 4);
        let first = load.step();
        for _ in 0..10 {
            load.step();
        }
        assert!(load.step() < first);
    }
}
