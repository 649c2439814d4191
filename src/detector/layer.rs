//! Convolution, batch normalisation and activation as one layer, in NHWC, and chains of
//! such layers.
//!
//! The detector is built of nothing else. Activations are `[images, height, width,
//! channels]` from the first layer to the last, because then a pointwise convolution
//! is one matrix product and a depthwise one is vectorised over the channels.

use burn::module::{Flag, Module, Param, RunningState};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor};

use super::onnx::{Graph, Value};
use super::ops::{self, ChainOptions, LayerOptions, LayerTensors, is_flex};

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

impl Activation {
    /// Lower and upper bound; infinite where there is none.
    fn bounds(self) -> (f32, f32) {
        match self {
            Activation::None => (f32::NEG_INFINITY, f32::INFINITY),
            Activation::Relu => (0.0, f32::INFINITY),
            Activation::Relu6 => (0.0, 6.0),
        }
    }
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
    /// The scale `gamma` of each channel before training.
    pub scale: f64,
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
            scale: 1.0,
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

    /// The same layer with output 0 before training. What it is added to begins alone:
    /// layers that have learnt nothing yet would only disturb it (Goyal et al. 2017,
    /// section 5.1).
    pub fn starting_at_zero(self) -> Self {
        ConvBnActConfig { scale: 0.0, ..self }
    }

    /// Makes the layer: weights from He's normal distribution with the fan-out, shift 0,
    /// running mean 0 and running variance 1.
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
            gamma: Param::from_tensor(Tensor::full(channels, self.scale, device)),
            beta: Param::from_tensor(Tensor::zeros(channels, device)),
            training: Param::from_bool(true),
            running_mean: RunningState::new(Tensor::zeros(channels, device)),
            running_var: RunningState::new(Tensor::ones(channels, device)),
            stride: self.stride,
            depthwise: self.depthwise,
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
    /// Running (unbiased) variance of each channel, `[out]`.
    pub running_var: RunningState<Tensor<1>>,
    #[module(skip)]
    stride: usize,
    #[module(skip)]
    depthwise: bool,
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
        chain(x, &[self], false)
    }

    /// Adds the layer with its running statistics, which become part of the weights. The
    /// layer must not be on an autodiff device.
    pub(super) fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        let (gamma, beta) = (floats(self.gamma.val()), floats(self.beta.val()));
        let mean = floats(self.running_mean.value());
        let var = floats(self.running_var.value());
        let scale: Vec<f64> = gamma
            .iter()
            .zip(&var)
            .map(|(gamma, var)| f64::from(*gamma) / (f64::from(*var) + self.epsilon).sqrt())
            .collect();
        let bias: Vec<f32> = (0..scale.len())
            .map(|c| (f64::from(beta[c]) - f64::from(mean[c]) * scale[c]) as f32)
            .collect();
        let dims = self.weight.val().dims();
        let mut weight = floats(self.weight.val());
        let filter = weight.len() / dims[0];
        for (filter, scale) in weight.chunks_exact_mut(filter).zip(&scale) {
            for weight in filter {
                *weight = (f64::from(*weight) * scale) as f32;
            }
        }
        let groups = if self.depthwise { dims[0] } else { 1 };
        let y = graph.conv(x, (&weight, dims), &bias, (self.stride, groups));
        graph.clip(y, self.activation.bounds())
    }

    fn trains_on(&self, device: &Device) -> bool {
        device.is_autodiff() && self.training.is_enabled()
    }

    fn tensors(&self) -> LayerTensors {
        LayerTensors {
            weight: self.weight.val(),
            learnt: [self.gamma.val(), self.beta.val()],
            // Two passes may come one after the other without a look at the state between.
            running: [
                self.running_mean.value_sync(),
                self.running_var.value_sync(),
            ],
        }
    }

    /// The same layer from burn's own operations: for other backends, and what the tests
    /// compare the fused operation with.
    fn forward_by_primitives(&self, x: Tensor<4>, trains: bool) -> Tensor<4> {
        let conv = self.convolve(x);
        if !trains {
            let (mean, var) = (self.running_mean.value(), self.running_var.value());
            return self.normalise(conv, mean, var);
        }
        let channels = conv.dims()[3];
        let rows = conv.dims()[..3].iter().product::<usize>();
        let flat = conv.clone().reshape([rows, channels]);
        let mean = flat.clone().mean_dim(0);
        let var = (flat - mean.clone()).square().mean_dim(0);
        let (mean, var) = (mean.reshape([channels]), var.reshape([channels]));
        self.update_running(mean.clone(), var.clone(), rows);
        self.normalise(conv, mean, var)
    }

    fn convolve(&self, x: Tensor<4>) -> Tensor<4> {
        let weight = self.weight.val();
        let padding = weight.dims()[2] / 2;
        let groups = if self.depthwise { x.dims()[3] } else { 1 };
        let options = ConvOptions::new(
            [self.stride, self.stride],
            [padding, padding],
            [1, 1],
            groups,
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

    /// Moves the running statistics towards a batch's, whose variance is that of `rows`
    /// values; the running one estimates that of all images and is therefore unbiased.
    fn update_running(&self, mean: Tensor<1>, var: Tensor<1>, rows: usize) {
        let var = var * (rows as f64 / rows.saturating_sub(1).max(1) as f64);
        for (state, batch) in [(&self.running_mean, mean), (&self.running_var, var)] {
            let old = state.value_sync().mul_scalar(1.0 - self.momentum);
            let new = old + batch.detach().mul_scalar(self.momentum);
            state.update(new.detach());
        }
    }
}

/// The numbers of a tensor of 32-bit floats.
pub(super) fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let values = tensor.into_data().try_to_vec();
    values.expect("the network computes in 32-bit floats")
}

/// One to three layers, each on the output of the one before, and the input added at the
/// end where `adds_input`: the same as calling them in turn, without writing down what
/// only the next one reads.
pub fn chain(x: Tensor<4>, layers: &[&ConvBnAct], adds_input: bool) -> Tensor<4> {
    let device = x.device();
    if !is_flex(&device) {
        let y = layers.iter().fold(x.clone(), |x, layer| {
            layer.forward_by_primitives(x, layer.trains_on(&device))
        });
        return if adds_input { x + y } else { y };
    }
    let options = layers.iter().map(|layer| LayerOptions {
        stride: layer.stride,
        depthwise: layer.depthwise,
        bounds: layer.activation.bounds(),
        epsilon: layer.epsilon,
        batch_statistics: layer.trains_on(&device),
        momentum: layer.momentum,
    });
    let options = ChainOptions {
        layers: options.collect(),
        adds_input,
    };
    let tensors = layers.iter().map(|layer| layer.tensors()).collect();
    let (y, running) = ops::chain(x, tensors, options);
    for (layer, [mean, var]) in layers.iter().zip(running) {
        if layer.trains_on(&device) {
            layer.running_mean.update(mean);
            layer.running_var.update(var);
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Shape, TensorData};
    use rand_distr::Distribution as _;

    use super::*;
    use crate::seed::{Generator, SeedKey};

    /// Random tensors of a test's own: burn's generator is shared by all tests that run at
    /// the same time, so its numbers differ from run to run.
    struct Noise(Generator);

    impl Noise {
        fn new(seed: u64) -> Self {
            Noise(SeedKey::new(b"layer test", seed).generator("numbers", 0))
        }

        fn normal<const D: usize>(
            &mut self,
            dims: [usize; D],
            (mean, deviation): (f32, f32),
            device: &Device,
        ) -> Tensor<D> {
            let normal = rand_distr::Normal::new(mean, deviation).unwrap();
            let count = dims.iter().product::<usize>();
            let values: Vec<f32> = (0..count).map(|_| normal.sample(&mut self.0)).collect();
            Tensor::from_data(TensorData::new(values, dims), device)
        }

        fn uniform(&mut self, len: usize, (low, high): (f32, f32), device: &Device) -> Tensor<1> {
            let uniform = rand_distr::Uniform::new(low, high).unwrap();
            let values: Vec<f32> = (0..len).map(|_| uniform.sample(&mut self.0)).collect();
            Tensor::from_data(TensorData::new(values, [len]), device)
        }
    }

    fn largest(x: Tensor<1>) -> f32 {
        x.abs().max().into_scalar::<f32>()
    }

    /// Largest difference over the largest magnitude.
    fn gap<const D: usize>(got: Tensor<D>, expected: Tensor<D>) -> f32 {
        assert_eq!(got.dims(), expected.dims());
        let count = Shape::from(got.dims()).num_elements();
        let scale = largest(expected.clone().reshape([count])).max(1e-3);
        largest((got - expected).reshape([count])) / scale
    }

    fn layers() -> Vec<ConvBnActConfig> {
        let mut layers = Vec::new();
        for stride in [1, 2] {
            for channels in [1, 3, 8, 24, 27] {
                let layer = ConvBnActConfig::depthwise(channels, Activation::Relu);
                layers.push(layer.with_stride(stride));
            }
            for (inputs, outputs, kernel) in [(3, 16, 3), (1, 1, 3), (5, 7, 1), (16, 40, 1)] {
                let layer = ConvBnActConfig::dense(inputs, outputs, kernel, Activation::Relu);
                layers.push(layer.with_stride(stride));
            }
        }
        layers
    }

    fn input(
        config: &ConvBnActConfig,
        [n, h, w]: [usize; 3],
        noise: &mut Noise,
        device: &Device,
    ) -> Tensor<4> {
        noise.normal([n, h, w, config.in_channels], (0.3, 1.0), device)
    }

    /// A layer whose scale and shift are not the trivial ones.
    fn trained(config: &ConvBnActConfig, noise: &mut Noise, device: &Device) -> ConvBnAct {
        let mut layer = config.init(device);
        let count = config.out_channels;
        let mut random = |low, high| noise.uniform(count, (low, high), device);
        layer.gamma = Param::from_tensor(random(0.5, 1.5));
        layer.beta = Param::from_tensor(random(-0.5, 0.5));
        layer.running_mean = RunningState::new(random(-0.2, 0.2));
        layer.running_var = RunningState::new(random(0.5, 2.0));
        let dims = layer.weight.val().dims();
        layer.weight = Param::from_tensor(noise.normal(dims, (0.0, 0.5), device));
        layer
    }

    /// Output, gradients of input, weights, scale and shift, running mean and variance.
    type Everything = (
        Tensor<4>,
        Tensor<4>,
        Tensor<4>,
        Tensor<1>,
        Tensor<1>,
        [Tensor<1>; 2],
    );

    fn everything(
        layer: &ConvBnAct,
        x: &Tensor<4>,
        upstream: &Tensor<4>,
        forward: impl Fn(Tensor<4>) -> Tensor<4>,
    ) -> Everything {
        let x = x.clone().detach().require_grad();
        let y = forward(x.clone());
        let grads = (y.clone() * upstream.clone()).sum().backward();
        let running = [&layer.running_mean, &layer.running_var].map(|s| s.value_sync());
        (
            y.without_autodiff(),
            x.grad(&grads).unwrap(),
            layer.weight.val().grad(&grads).unwrap(),
            layer.gamma.val().grad(&grads).unwrap(),
            layer.beta.val().grad(&grads).unwrap(),
            running.map(|s| s.without_autodiff()),
        )
    }

    fn assert_close(got: Everything, expected: Everything, what: &str) {
        let gaps = [
            gap(got.0, expected.0),
            gap(got.1, expected.1),
            gap(got.2, expected.2),
            gap(got.3, expected.3),
            gap(got.4, expected.4),
            gap(got.5[0].clone(), expected.5[0].clone()),
            gap(got.5[1].clone(), expected.5[1].clone()),
        ];
        assert!(gaps.iter().all(|gap| *gap < 1e-4), "{what}: {gaps:?}");
    }

    #[test]
    fn fused_operation_equals_burns_own() {
        let device = Device::flex().autodiff();
        let mut noise = Noise::new(5);
        for config in layers() {
            for activation in [Activation::None, Activation::Relu] {
                for (size, frozen) in [
                    ([2, 7, 5], false),
                    ([1, 6, 9], false),
                    ([11, 8, 4], false),
                    ([3, 5, 6], true),
                ] {
                    let config = ConvBnActConfig {
                        activation,
                        ..config.clone()
                    };
                    let mut layer = trained(&config, &mut noise, &device);
                    layer.training = Param::from_bool(!frozen);
                    let x = input(&config, size, &mut noise, &device);
                    let own = layer.clone();
                    let [n, h, w] = size;
                    let (h, w) = (h.div_ceil(config.stride), w.div_ceil(config.stride));
                    let dims = [n, h, w, config.out_channels];
                    let upstream = noise.normal(dims, (0.0, 1.0), &device);
                    // `clone` shares the running statistics, so they start afresh.
                    let state = |state: &RunningState<Tensor<1>>| RunningState::new(state.value());
                    let own = ConvBnAct {
                        running_mean: state(&layer.running_mean),
                        running_var: state(&layer.running_var),
                        ..own
                    };
                    let got = everything(&layer, &x, &upstream, |x| layer.forward(x));
                    let expected = everything(&own, &x, &upstream, |x| {
                        own.forward_by_primitives(x, !frozen)
                    });
                    assert_close(got, expected, &format!("{config:?} {size:?} {frozen}"));
                }
            }
        }
    }

    #[test]
    fn a_chain_equals_its_layers_in_turn() {
        let device = Device::flex().autodiff();
        let mut noise = Noise::new(12);
        for (stride, frozen) in [(1, None), (2, None), (1, Some(0)), (2, Some(1))] {
            let configs = [
                ConvBnActConfig::dense(5, 12, 1, Activation::Relu6),
                ConvBnActConfig::depthwise(12, Activation::Relu6).with_stride(stride),
                ConvBnActConfig::dense(12, 5, 1, Activation::None),
            ];
            let layers: Vec<ConvBnAct> = (0..3)
                .map(|index| {
                    let mut layer = trained(&configs[index], &mut noise, &device);
                    layer.training = Param::from_bool(frozen != Some(index));
                    layer
                })
                .collect();
            // `clone` shares the running statistics, so they start afresh.
            let state = |state: &RunningState<Tensor<1>>| RunningState::new(state.value());
            let alone: Vec<ConvBnAct> = layers
                .iter()
                .map(|layer| ConvBnAct {
                    running_mean: state(&layer.running_mean),
                    running_var: state(&layer.running_var),
                    ..layer.clone()
                })
                .collect();
            let x = noise.normal([3, 9, 7, 5], (0.3, 1.0), &device);
            let adds_input = stride == 1;
            let joined = |x: Tensor<4>| chain(x, &layers.iter().collect::<Vec<_>>(), adds_input);
            let in_turn = |x: Tensor<4>| {
                let y = alone.iter().fold(x.clone(), |x, layer| layer.forward(x));
                if adds_input { x + y } else { y }
            };
            let [rows, columns] = [9usize, 7].map(|side| side.div_ceil(stride));
            let upstream = noise.normal([3, rows, columns, 5], (0.0, 1.0), &device);
            for index in 0..3 {
                let got = everything(&layers[index], &x, &upstream, joined);
                let expected = everything(&alone[index], &x, &upstream, in_turn);
                assert_close(got, expected, &format!("{stride} {frozen:?} layer {index}"));
            }
            let inner = |layer: &ConvBnAct| layer.clone().valid();
            let plain: Vec<ConvBnAct> = layers.iter().map(inner).collect();
            let x = x.without_autodiff();
            let expected = plain.iter().fold(x.clone(), |x, layer| layer.forward(x));
            let expected = if adds_input {
                expected + x.clone()
            } else {
                expected
            };
            let plain: Vec<&ConvBnAct> = plain.iter().collect();
            assert!(gap(chain(x, &plain, adds_input), expected) < 1e-6);
        }
    }

    #[test]
    fn relu6_passes_gradients_only_between_its_bounds() {
        // The scale spreads the activations past both bounds. Positions whose argument
        // lies within rounding of a bound are excused.
        let device = Device::flex().autodiff();
        let mut noise = Noise::new(8);
        let config = ConvBnActConfig::dense(6, 9, 1, Activation::Relu6);
        let mut layer = trained(&config, &mut noise, &device);
        layer.gamma = Param::from_tensor(Tensor::full([9], 5.0, &device));
        let x = input(&config, [2, 9, 7], &mut noise, &device);
        let linear = ConvBnAct {
            activation: Activation::None,
            ..layer.clone()
        };
        let y = layer.forward(x.clone()).without_autodiff();
        let argument = linear.forward(x).without_autodiff();
        assert!(gap(y.clone(), argument.clone().clamp(0.0, 6.0)) < 1e-6);
        let inside = argument.clone().greater_elem(0.0).float();
        let inside = inside * argument.lower_elem(6.0).float();
        let share = inside.clone().mean().into_scalar::<f32>();
        assert!((0.2..0.8).contains(&share), "both bounds are reached");
        // The shift's gradient counts the positions that let the gradient through.
        let x = input(&config, [2, 9, 7], &mut noise, &device);
        let y = layer.forward(x.clone());
        let inside = y.clone().without_autodiff();
        let inside = inside.clone().greater_elem(0.0).float() * inside.lower_elem(6.0).float();
        let counted = inside.reshape([126, 9]).sum_dim(0).reshape([9]);
        let grads = y.sum().backward();
        let beta = layer.beta.val().grad(&grads).unwrap();
        assert_eq!(
            beta.into_data().try_to_vec::<f32>().unwrap(),
            counted.into_data().try_to_vec::<f32>().unwrap()
        );
    }

    #[test]
    fn inference_uses_the_running_statistics() {
        let device = Device::flex();
        let mut noise = Noise::new(6);
        for config in layers() {
            let layer = trained(&config, &mut noise, &device);
            let x = input(&config, [1, 9, 7], &mut noise, &device);
            let expected = layer.forward_by_primitives(x.clone(), false);
            let gap = gap(layer.forward(x), expected);
            assert!(gap < 1e-5, "{config:?}: {gap}");
        }
    }

    #[test]
    fn training_normalises_the_batch_and_inference_agrees_with_it() {
        let device = Device::flex().autodiff();
        let mut noise = Noise::new(3);
        let config = ConvBnActConfig::dense(3, 8, 3, Activation::None)
            .with_stride(2)
            .with_momentum(1.0);
        let mut layer = config.init(&device);
        layer.weight = Param::from_tensor(noise.normal([8, 3, 3, 3], (0.0, 0.2), &device));
        let x = noise.normal([2, 7, 5, 3], (1.0, 2.0), &device);
        let trained = layer.forward(x.clone());
        assert_eq!(trained.dims(), [2, 4, 3, 8]);
        let flat = trained.clone().reshape([24, 8]);
        let mean = largest(flat.clone().mean_dim(0).reshape([8]));
        assert!(mean < 1e-4, "mean {mean}");
        let var = largest((flat.square().mean_dim(0) - 1.0).reshape([8]));
        assert!(var < 1e-3, "variance off by {var}");

        // With momentum 1 the running statistics are the batch's, the variance that of 24
        // values without bias, so both modes agree up to this factor.
        let inferred = layer.valid().forward(x.without_autodiff()) * (24.0f64 / 23.0).sqrt();
        let gap = gap(inferred, trained.without_autodiff());
        assert!(gap < 1e-4, "gap {gap}");
    }

    #[test]
    fn bits_do_not_depend_on_the_number_of_threads() {
        let device = Device::flex().autodiff();
        let mut noise = Noise::new(9);
        let cases: Vec<_> = layers()
            .iter()
            .map(|config| {
                let layer = trained(config, &mut noise, &device);
                let x = input(config, [5, 33, 17], &mut noise, &device);
                let y = layer.forward(x.clone()).without_autodiff();
                (layer, x, Tensor::from_inner(y * 0.7 - 0.2))
            })
            .collect();
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| {
                let mut bits: Vec<u32> = Vec::new();
                for (layer, x, upstream) in &cases {
                    // Momentum 0.1 would carry the statistics from run to run.
                    let layer = ConvBnAct {
                        running_mean: RunningState::new(Tensor::zeros(
                            [layer.gamma.dims()[0]],
                            &device,
                        )),
                        running_var: RunningState::new(Tensor::ones(
                            [layer.gamma.dims()[0]],
                            &device,
                        )),
                        ..layer.clone()
                    };
                    let all = everything(&layer, x, upstream, |x| layer.forward(x));
                    let tensors = [all.0.into_data(), all.1.into_data(), all.2.into_data()];
                    let vectors = [all.3.into_data(), all.4.into_data()];
                    let running = all.5.map(Tensor::into_data);
                    for data in tensors.iter().chain(&vectors).chain(&running) {
                        bits.extend(
                            data.try_to_vec::<f32>()
                                .unwrap()
                                .iter()
                                .map(|v| v.to_bits()),
                        );
                    }
                }
                bits
            })
        };
        let one = run(1);
        for threads in [1, 2, 4] {
            assert!(run(threads) == one, "{threads} threads give other bits");
        }
    }

    #[test]
    fn bits_of_a_chain_do_not_depend_on_the_number_of_threads() {
        let device = Device::flex().autodiff();
        let mut noise = Noise::new(14);
        let layers = [
            ConvBnActConfig::dense(5, 30, 1, Activation::Relu6),
            ConvBnActConfig::depthwise(30, Activation::Relu6),
            ConvBnActConfig::dense(30, 5, 1, Activation::None),
        ]
        .map(|config| trained(&config, &mut noise, &device));
        let x = noise.normal([5, 33, 17, 5], (0.3, 1.0), &device);
        let upstream = noise.normal([5, 33, 17, 5], (0.0, 1.0), &device);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| {
                let x = x.clone().detach().require_grad();
                let y = chain(x.clone(), &layers.each_ref(), true);
                let grads = (y.clone() * upstream.clone()).sum().backward();
                let mut all = vec![y.without_autodiff().into_data()];
                all.push(x.grad(&grads).unwrap().into_data());
                for layer in &layers {
                    all.push(layer.weight.val().grad(&grads).unwrap().into_data());
                    all.push(layer.gamma.val().grad(&grads).unwrap().into_data());
                    all.push(layer.beta.val().grad(&grads).unwrap().into_data());
                }
                all.iter()
                    .flat_map(|data| data.try_to_vec::<f32>().unwrap())
                    .map(f32::to_bits)
                    .collect::<Vec<u32>>()
            })
        };
        let one = run(1);
        for threads in [1, 2, 4] {
            assert!(run(threads) == one, "{threads} threads give other bits");
        }
    }
}
