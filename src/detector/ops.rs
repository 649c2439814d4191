//! The detector's own operation on burn's `flex` backend: up to three layers, each
//! convolution, batch normalisation and activation, with their gradient, in NHWC.
//!
//! Stock operations would spend most of a training in the generic gradient of the
//! depthwise convolution and in passes over memory. Here activations are recomputed from
//! the convolutions' outputs, and only these are kept for the backward pass.

mod convolution;
mod depthwise;
mod fused;
mod matmul;
mod normalise;
mod simd;
mod source;
mod tasks;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, Backend, Dispatch, DispatchDevice, ExtensionType, Flex, TensorMetadata,
    backend_extension,
};
use burn::tensor::{Device, Tensor, TensorData};

use convolution::ConvShape;
use fused::{Backward as ChainBackward, Channels, Kept, Layer};
pub use tasks::forget as forget_memory;

/// Layers in the longest chain.
pub const LONGEST: usize = 3;

/// What a layer does besides its tensors.
#[derive(Debug, Clone, Copy)]
pub struct LayerOptions {
    /// 1 or 2.
    pub stride: usize,
    /// One filter a channel.
    pub depthwise: bool,
    /// Lower and upper bound of the activation, infinite where it has none.
    pub bounds: (f32, f32),
    /// Added to the variance.
    pub epsilon: f64,
    /// Normalise with the batch's statistics in place of the running ones, and move
    /// these by `momentum` towards the batch's.
    pub batch_statistics: bool,
    /// Share of the batch in the new running statistics.
    pub momentum: f64,
}

/// What a chain does besides its tensors.
#[derive(Debug, Clone)]
pub struct ChainOptions {
    /// Of each layer.
    pub layers: Vec<LayerOptions>,
    /// Add the chain's input to its output.
    pub adds_input: bool,
}

/// The tensors of a layer.
#[derive(Debug, Clone, ExtensionType)]
pub struct LayerInputs<B: Backend> {
    /// Weights, `[out, in / groups, k, k]`.
    pub weight: FloatTensor<B>,
    /// Scale, `[out]`.
    pub gamma: FloatTensor<B>,
    /// Shift, `[out]`.
    pub beta: FloatTensor<B>,
    /// Running mean, `[out]`; a constant.
    pub mean: FloatTensor<B>,
    /// Running (unbiased) variance, `[out]`; a constant.
    pub variance: FloatTensor<B>,
}

/// The input of a chain, `[N, H, W, in]`, and its layers from first to last.
#[derive(Debug, Clone, ExtensionType)]
pub enum ChainInputs<B: Backend> {
    /// One layer.
    One(FloatTensor<B>, #[extension_type] LayerInputs<B>),
    /// Two layers.
    Two(
        FloatTensor<B>,
        #[extension_type] LayerInputs<B>,
        #[extension_type] LayerInputs<B>,
    ),
    /// Three layers.
    Three(
        FloatTensor<B>,
        #[extension_type] LayerInputs<B>,
        #[extension_type] LayerInputs<B>,
        #[extension_type] LayerInputs<B>,
    ),
}

impl<B: Backend> ChainInputs<B> {
    fn into_parts(self) -> (FloatTensor<B>, Vec<LayerInputs<B>>) {
        match self {
            ChainInputs::One(x, a) => (x, vec![a]),
            ChainInputs::Two(x, a, b) => (x, vec![a, b]),
            ChainInputs::Three(x, a, b, c) => (x, vec![a, b, c]),
        }
    }

    fn from_parts(x: FloatTensor<B>, layers: Vec<LayerInputs<B>>) -> Self {
        let mut layers = layers.into_iter();
        match (layers.next(), layers.next(), layers.next(), layers.next()) {
            (Some(a), None, None, None) => ChainInputs::One(x, a),
            (Some(a), Some(b), None, None) => ChainInputs::Two(x, a, b),
            (Some(a), Some(b), Some(c), None) => ChainInputs::Three(x, a, b, c),
            _ => panic!("a chain has one to {LONGEST} layers"),
        }
    }
}

/// The running statistics of a layer after the batch; no gradient flows into them.
#[derive(Debug, Clone, ExtensionType)]
pub struct Running<B: Backend> {
    /// Mean, `[out]`.
    pub mean: FloatTensor<B>,
    /// Unbiased variance, `[out]`.
    pub variance: FloatTensor<B>,
}

/// The output of a chain, `[N, ceil(H / stride), ceil(W / stride), out]`, and the running
/// statistics of its layers.
#[derive(Debug, Clone, ExtensionType)]
pub enum ChainOutputs<B: Backend> {
    /// One layer.
    One(FloatTensor<B>, #[extension_type] Running<B>),
    /// Two layers.
    Two(
        FloatTensor<B>,
        #[extension_type] Running<B>,
        #[extension_type] Running<B>,
    ),
    /// Three layers.
    Three(
        FloatTensor<B>,
        #[extension_type] Running<B>,
        #[extension_type] Running<B>,
        #[extension_type] Running<B>,
    ),
}

impl<B: Backend> ChainOutputs<B> {
    fn into_parts(self) -> (FloatTensor<B>, Vec<Running<B>>) {
        match self {
            ChainOutputs::One(y, a) => (y, vec![a]),
            ChainOutputs::Two(y, a, b) => (y, vec![a, b]),
            ChainOutputs::Three(y, a, b, c) => (y, vec![a, b, c]),
        }
    }

    fn from_parts(y: FloatTensor<B>, layers: Vec<Running<B>>) -> Self {
        let mut layers = layers.into_iter();
        match (layers.next(), layers.next(), layers.next(), layers.next()) {
            (Some(a), None, None, None) => ChainOutputs::One(y, a),
            (Some(a), Some(b), None, None) => ChainOutputs::Two(y, a, b),
            (Some(a), Some(b), Some(c), None) => ChainOutputs::Three(y, a, b, c),
            _ => panic!("a chain has one to {LONGEST} layers"),
        }
    }
}

/// Backends that have the operation.
#[backend_extension(Flex, Autodiff)]
pub trait FusedBackend: Backend {
    /// Layers of convolution, batch normalisation and activation, one after the other.
    fn chain(
        #[extension_type] inputs: ChainInputs<Self>,
        options: ChainOptions,
    ) -> ChainOutputs<Self>;
}

/// Whether a device runs on the backend that has the operation.
pub fn is_flex(device: &Device) -> bool {
    matches!(
        device.as_dispatch().clone().inner(),
        DispatchDevice::Flex(_)
    )
}

/// The tensors of a layer: see [`LayerInputs`].
pub struct LayerTensors {
    /// Weights.
    pub weight: Tensor<4>,
    /// Scale and shift.
    pub learnt: [Tensor<1>; 2],
    /// Running mean and variance.
    pub running: [Tensor<1>; 2],
}

/// The operation on tensors: the chain's output, and the new running mean and variance of
/// each layer.
///
/// # Panics
/// On another backend than `flex`, with or without autodiff, on tensors of another type
/// than `f32`, and on other than one to [`LONGEST`] layers.
pub fn chain(
    x: Tensor<4>,
    layers: Vec<LayerTensors>,
    options: ChainOptions,
) -> (Tensor<4>, Vec<[Tensor<1>; 2]>) {
    let layers = layers
        .into_iter()
        .map(|layer| {
            let [gamma, beta] = layer.learnt.map(Tensor::into_dispatch);
            let [mean, variance] = layer.running.map(Tensor::into_dispatch);
            LayerInputs {
                weight: layer.weight.into_dispatch(),
                gamma,
                beta,
                mean,
                variance,
            }
        })
        .collect();
    let inputs = ChainInputs::from_parts(x.into_dispatch(), layers);
    let (y, running) = <Dispatch as FusedBackend>::chain(inputs, options).into_parts();
    let running = running
        .into_iter()
        .map(|layer| [layer.mean, layer.variance].map(Tensor::from_dispatch))
        .collect();
    (Tensor::from_dispatch(y), running)
}

/// The numbers of a tensor that [`contiguous`] has made.
fn numbers(tensor: &FlexTensor) -> &[f32] {
    tensor
        .as_slice()
        .expect("a contiguous f32 tensor; the detector has no other")
}

fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

fn tensor<const D: usize>(values: Vec<f32>, dims: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, dims))
}

/// A chain on contiguous tensors.
#[derive(Debug, Clone)]
struct Chain {
    x: FlexTensor,
    layers: Vec<LayerInputs<Flex>>,
    options: ChainOptions,
}

impl Chain {
    fn new(x: FlexTensor, layers: Vec<LayerInputs<Flex>>, options: ChainOptions) -> Self {
        let layers = layers.into_iter().map(|layer| LayerInputs {
            weight: contiguous(layer.weight),
            gamma: contiguous(layer.gamma),
            beta: contiguous(layer.beta),
            mean: contiguous(layer.mean),
            variance: contiguous(layer.variance),
        });
        Chain {
            x: contiguous(x),
            layers: layers.collect(),
            options,
        }
    }

    fn layers(&self) -> Vec<Layer<'_>> {
        let [images, mut height, mut width, mut in_channels] = self.x.shape().dims();
        let pairs = self.layers.iter().zip(&self.options.layers);
        pairs
            .map(|(layer, options)| {
                let [out_channels, _, kernel, _] = layer.weight.shape().dims();
                let shape = ConvShape {
                    images,
                    height,
                    width,
                    in_channels,
                    out_channels,
                    kernel,
                    stride: options.stride,
                    depthwise: options.depthwise,
                };
                (height, width) = (shape.out_height(), shape.out_width());
                in_channels = out_channels;
                let running = (numbers(&layer.mean), numbers(&layer.variance));
                Layer {
                    shape,
                    weight: numbers(&layer.weight),
                    gamma: numbers(&layer.gamma),
                    beta: numbers(&layer.beta),
                    running: (!options.batch_statistics).then_some(running),
                    epsilon: options.epsilon,
                    bounds: options.bounds,
                }
            })
            .collect()
    }

    /// The output and what the backward pass needs.
    fn forward(&self) -> (ChainOutputs<Flex>, Vec<Kept>) {
        let layers = self.layers();
        let (y, kept) = fused::forward(&layers, numbers(&self.x), self.options.adds_input);
        let running = (0..kept.len()).map(|index| {
            let rows = layers[index].shape.lines() * layers[index].shape.out_width();
            self.running(index, &kept[index].channels, rows)
        });
        let running = running.collect();
        (ChainOutputs::from_parts(output(y, &layers), running), kept)
    }

    /// The running statistics of a layer after a batch of `rows` values a channel. They
    /// estimate the variance of all images, hence without bias.
    fn running(&self, index: usize, batch: &Channels, rows: usize) -> Running<Flex> {
        let (layer, options) = (&self.layers[index], &self.options.layers[index]);
        if !options.batch_statistics {
            return Running {
                mean: layer.mean.clone(),
                variance: layer.variance.clone(),
            };
        }
        let unbiased = rows as f64 / rows.saturating_sub(1).max(1) as f64;
        let moved = |old: &FlexTensor, new: &[f32], factor: f64| {
            let values: Vec<f32> = numbers(old)
                .iter()
                .zip(new)
                .map(|(old, new)| {
                    let (old, new) = (f64::from(*old), f64::from(*new) * factor);
                    (old + options.momentum * (new - old)) as f32
                })
                .collect();
            let count = values.len();
            tensor(values, [count])
        };
        Running {
            mean: moved(&layer.mean, &batch.mean, 1.0),
            variance: moved(&layer.variance, &batch.variance, unbiased),
        }
    }
}

fn output(y: Vec<f32>, layers: &[Layer]) -> FlexTensor {
    let shape = &layers[layers.len() - 1].shape;
    let (height, width) = (shape.out_height(), shape.out_width());
    tensor(y, [shape.images, height, width, shape.out_channels])
}

impl FusedBackend for Flex {
    fn chain(inputs: ChainInputs<Self>, options: ChainOptions) -> ChainOutputs<Self> {
        let (x, layers) = inputs.into_parts();
        let chain = Chain::new(x, layers, options);
        let trains = |layer: &LayerOptions| layer.batch_statistics;
        if chain.options.layers.iter().any(trains) {
            return chain.forward().0;
        }
        let layers = chain.layers();
        let y = fused::infer(&layers, numbers(&chain.x), chain.options.adds_input);
        let y = output(y, &layers);
        let running = chain.layers.iter().map(|layer| Running {
            mean: layer.mean.clone(),
            variance: layer.variance.clone(),
        });
        ChainOutputs::from_parts(y, running.collect())
    }
}

/// Parents of a layer in the graph: weights, scale and shift.
const PARENTS: usize = 3;

/// The gradient of the operation towards its input and, of each layer, weights, scale and
/// shift.
#[derive(Debug)]
struct FusedBackward;

impl<const N: usize> Backward<Flex, N> for FusedBackward {
    type State = (Chain, Vec<Kept>);

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let upstream = contiguous(grads.consume::<Flex>(&ops.node));
        let (chain, kept) = ops.state;
        let (x, parents) = (&ops.parents[0], &ops.parents[1..]);
        let wants_weight: Vec<bool> = parents
            .chunks(PARENTS)
            .map(|layer| layer[0].is_some())
            .collect();
        let (dx, layers) = ChainBackward {
            layers: &chain.layers(),
            x: numbers(&chain.x),
            adds_input: chain.options.adds_input,
            wants_input: x.is_some(),
            wants_weight: &wants_weight,
        }
        .run(kept, numbers(&upstream));
        if let Some(node) = x {
            grads.register::<Flex>(node.id, tensor(dx, chain.x.shape().dims::<4>()));
        }
        for ((layer, parents), inputs) in layers
            .into_iter()
            .zip(parents.chunks(PARENTS))
            .zip(&chain.layers)
        {
            let [weight, gamma, beta] = parents else {
                unreachable!("the parents of a layer come in threes");
            };
            if let Some(node) = weight {
                let dims = inputs.weight.shape().dims::<4>();
                grads.register::<Flex>(node.id, tensor(layer.weight, dims));
            }
            for (node, values) in [(gamma, layer.gamma), (beta, layer.beta)] {
                if let Some(node) = node {
                    let count = values.len();
                    grads.register::<Flex>(node.id, tensor(values, [count]));
                }
            }
        }
    }
}

/// The operation on the graph; `N` counts the chain's input and [`PARENTS`] a layer.
fn tracked<C: CheckpointStrategy, const N: usize>(
    x: FloatTensor<Autodiff<Flex, C>>,
    layers: Vec<LayerInputs<Autodiff<Flex, C>>>,
    options: ChainOptions,
) -> ChainOutputs<Autodiff<Flex, C>> {
    let mut nodes = vec![x.node()];
    for layer in &layers {
        nodes.extend([layer.weight.node(), layer.gamma.node(), layer.beta.node()]);
    }
    let Ok(nodes) = <[_; N]>::try_from(nodes) else {
        unreachable!("the caller counts the parents");
    };
    let layers = layers
        .into_iter()
        .map(|layer| LayerInputs {
            weight: layer.weight.into_primitive(),
            gamma: layer.gamma.into_primitive(),
            beta: layer.beta.into_primitive(),
            mean: layer.mean.into_primitive(),
            variance: layer.variance.into_primitive(),
        })
        .collect();
    let chain = Chain::new(x.into_primitive(), layers, options);
    let prepared = FusedBackward.prepare::<C>(nodes).compute_bound();
    let (y, running) = match prepared.stateful() {
        OpsKind::Tracked(prepared) => {
            let (outputs, kept) = chain.forward();
            let (y, running) = outputs.into_parts();
            (prepared.finish((chain, kept), y), running)
        }
        OpsKind::UnTracked(prepared) => {
            let inputs = ChainInputs::from_parts(chain.x, chain.layers);
            let outputs = <Flex as FusedBackend>::chain(inputs, chain.options);
            let (y, running) = outputs.into_parts();
            (prepared.finish(y), running)
        }
    };
    let constant = <Autodiff<Flex, C> as burn::backend::AutodiffBackend>::from_inner;
    let running = running.into_iter().map(|layer| Running {
        mean: constant(layer.mean),
        variance: constant(layer.variance),
    });
    ChainOutputs::from_parts(y, running.collect())
}

impl<C: CheckpointStrategy> FusedBackend for Autodiff<Flex, C> {
    fn chain(inputs: ChainInputs<Self>, options: ChainOptions) -> ChainOutputs<Self> {
        let (x, layers) = inputs.into_parts();
        match layers.len() {
            1 => tracked::<C, { 1 + PARENTS }>(x, layers, options),
            2 => tracked::<C, { 1 + 2 * PARENTS }>(x, layers, options),
            _ => tracked::<C, { 1 + LONGEST * PARENTS }>(x, layers, options),
        }
    }
}
