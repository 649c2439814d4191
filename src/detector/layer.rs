//! Convolution, batch normalisation and activation as one layer, in NHWC.
//!
//! The detector is built of nothing else. Activations are `[images, height, width,
//! channels]` from the first layer to the last, because then a pointwise convolution
//! is one matrix product and a depthwise one is vectorised over the channels.

use burn::module::{Flag, Module, Param, RunningState};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor};

/// What follows the normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Nothing: the linear bottleneck of MobileNetV2.
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
}

/// What a [`ConvBnAct`] is made of. It is deterministic after `device.seed(..)`.
#[derive(Debug, Clone, PartialEq)]
pub struct ConvBnActConfig {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output; equals `in_channels` where the layer is depthwise.
    pub out_channels: usize,
    /// Side of the square kernel: 1 or 3. The padding is half of it, rounded down.
    pub kernel: usize,
    /// 1 or 2.
    pub stride: usize,
    /// One filter a channel in place of a dense convolution.
    pub depthwise: bool,
    /// What follows the normalisation.
    pub activation: Activation,
    /// Share of the batch in each update of the running statistics.
    pub momentum: f64,
    /// Added to the variance.
    pub epsilon: f64,
}

impl ConvBnActConfig {
    /// A dense layer with stride 1, momentum 0.1 and epsilon 1e-5.
    pub fn dense(
        in_channels: usize,
        out_channels: usize,
        kernel: usize,
        activation: Activation,
    ) -> Self {
        ConvBnActConfig {
            in_channels,
            out_channels,
            kernel,
            stride: 1,
            depthwise: false,
            activation,
            momentum: 0.1,
            epsilon: 1e-5,
        }
    }

    /// A depthwise 3x3 layer with stride 1, momentum 0.1 and epsilon 1e-5.
    pub fn depthwise(channels: usize, activation: Activation) -> Self {
        ConvBnActConfig {
            depthwise: true,
            ..Self::dense(channels, channels, 3, activation)
        }
    }

    /// The same layer with another stride.
    pub fn with_stride(self, stride: usize) -> Self {
        ConvBnActConfig { stride, ..self }
    }

    /// The same layer with another momentum.
    pub fn with_momentum(self, momentum: f64) -> Self {
        ConvBnActConfig { momentum, ..self }
    }

    /// Makes the layer: weights from He's normal distribution with the fan-out, scale 1,
    /// shift 0, running mean 0 and running variance 1.
    ///
    /// # Panics
    /// On a kernel other than 1 or 3, a stride other than 1 or 2, no channels, or a
    /// depthwise layer that changes the number of channels: these are mistakes in the
    /// code that builds a model, not in its input.
    pub fn init(&self, device: &Device) -> ConvBnAct {
        assert!(matches!(self.kernel, 1 | 3), "kernel {}", self.kernel);
        assert!(matches!(self.stride, 1 | 2), "stride {}", self.stride);
        assert!(self.in_channels > 0 && self.out_channels > 0, "no channels");
        assert!(
            !self.depthwise || self.in_channels == self.out_channels,
            "a depthwise layer keeps its {} channels",
            self.in_channels
        );
        let groups = if self.depthwise { self.in_channels } else { 1 };
        let shape = [
            self.out_channels,
            self.in_channels / groups,
            self.kernel,
            self.kernel,
        ];
        let fan_out = self.out_channels / groups * self.kernel * self.kernel;
        let deviation = (2.0 / fan_out as f64).sqrt();
        let weight = Tensor::random(shape, Distribution::Normal(0.0, deviation), device);
        let channels = [self.out_channels];
        ConvBnAct {
            weight: Param::from_tensor(weight),
            gamma: Param::from_tensor(Tensor::ones(channels, device)),
            beta: Param::from_tensor(Tensor::zeros(channels, device)),
            training: Param::from_bool(true),
            running_mean: RunningState::new(Tensor::zeros(channels, device)),
            running_var: RunningState::new(Tensor::ones(channels, device)),
            stride: self.stride,
            groups,
            activation: self.activation,
            momentum: self.momentum,
            epsilon: self.epsilon,
        }
    }
}

/// Convolution without bias, batch normalisation and activation.
#[derive(Module, Debug)]
pub struct ConvBnAct {
    /// `[out, in / groups, kernel, kernel]`, as PyTorch lays it out.
    pub weight: Param<Tensor<4>>,
    /// Scale of the normalised channels, `[out]`.
    pub gamma: Param<Tensor<1>>,
    /// Shift of the normalised channels, `[out]`.
    pub beta: Param<Tensor<1>>,
    /// Off where the layer is frozen: it then uses its running statistics.
    pub training: Param<Flag>,
    /// Running mean of each channel, `[out]`.
    pub running_mean: RunningState<Tensor<1>>,
    /// Running (biased) variance of each channel, `[out]`.
    pub running_var: RunningState<Tensor<1>>,
    #[module(skip)]
    stride: usize,
    #[module(skip)]
    groups: usize,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    momentum: f64,
    #[module(skip)]
    epsilon: f64,
}

impl ConvBnAct {
    /// `[N, H, W, in]` to `[N, ceil(H / stride), ceil(W / stride), out]`.
    ///
    /// On an autodiff device it normalises with the batch's statistics and updates the
    /// running ones; elsewhere, and where frozen, it uses the running statistics.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let conv = self.convolve(x);
        if conv.device().is_autodiff() && self.training.is_enabled() {
            let channels = conv.dims()[3];
            let rows = conv.dims()[..3].iter().product::<usize>();
            let flat = conv.clone().reshape([rows, channels]);
            let mean = flat.clone().mean_dim(0);
            let var = (flat - mean.clone()).square().mean_dim(0);
            let (mean, var) = (mean.reshape([channels]), var.reshape([channels]));
            self.update_running(mean.clone(), var.clone());
            self.normalise(conv, mean, var)
        } else {
            let (mean, var) = (self.running_mean.value(), self.running_var.value());
            self.normalise(conv, mean, var)
        }
    }

    fn convolve(&self, x: Tensor<4>) -> Tensor<4> {
        let weight = self.weight.val();
        let padding = weight.dims()[2] / 2;
        let options = ConvOptions::new(
            [self.stride, self.stride],
            [padding, padding],
            [1, 1],
            self.groups,
        );
        conv2d(x.permute([0, 3, 1, 2]), weight, None, options).permute([0, 2, 3, 1])
    }

    fn normalise(&self, conv: Tensor<4>, mean: Tensor<1>, var: Tensor<1>) -> Tensor<4> {
        let scale = self.gamma.val() / (var + self.epsilon).sqrt();
        let shift = self.beta.val() - mean * scale.clone();
        let channels = scale.dims()[0];
        let shape = [1, 1, 1, channels];
        let y = conv * scale.reshape(shape) + shift.reshape(shape);
        match self.activation {
            Activation::None => y,
            Activation::Relu => y.clamp_min(0.0),
            Activation::Relu6 => y.clamp(0.0, 6.0),
        }
    }

    fn update_running(&self, mean: Tensor<1>, var: Tensor<1>) {
        for (state, batch) in [(&self.running_mean, mean), (&self.running_var, var)] {
            let old = state.value_sync().mul_scalar(1.0 - self.momentum);
            let new = old + batch.detach().mul_scalar(self.momentum);
            state.update(new.detach());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn training_normalises_the_batch_and_inference_uses_the_running_statistics() {
        let device = Device::flex().autodiff();
        device.seed(3);
        let config = ConvBnActConfig::dense(3, 8, 3, Activation::None)
            .with_stride(2)
            .with_momentum(1.0);
        let layer = config.init(&device);
        let x = Tensor::<4>::random([2, 7, 5, 3], Distribution::Normal(1.0, 2.0), &device);
        let trained = layer.forward(x.clone());
        assert_eq!(trained.dims(), [2, 4, 3, 8]);
        let flat = trained.clone().reshape([24, 8]);
        let mean = flat.clone().mean_dim(0).abs().max().into_scalar::<f32>();
        assert!(mean < 1e-4, "mean {mean}");
        let var = flat.square().mean_dim(0) - 1.0;
        let var = var.abs().max().into_scalar::<f32>();
        assert!(var < 1e-3, "variance off by {var}");

        // With momentum 1 the running statistics are the batch's, so both modes agree.
        let inferred = layer.valid().forward(x.without_autodiff());
        let gap = (trained.without_autodiff() - inferred).abs().max();
        let gap = gap.into_scalar::<f32>();
        assert!(gap < 1e-4, "gap {gap}");
    }
}
