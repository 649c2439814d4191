//! The detector's own operation on burn's `flex` backend: convolution, batch
//! normalisation and activation in one, with its gradient, in NHWC.
//!
//! Stock operations would spend most of a training in the generic gradient of the
//! depthwise convolution and in passes over memory. Here the activation is recomputed
//! from the convolution's output, and only that output is kept for the backward pass.

mod convolution;
mod depthwise;
mod fused;
mod matmul;
mod normalise;
mod simd;
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
use fused::{Channels, Normalisation, Statistics};

/// What the operation does besides its tensors.
#[derive(Debug, Clone, Copy)]
pub struct FusedOptions {
    /// 1 or 2.
    pub stride: usize,
    /// One filter a channel.
    pub depthwise: bool,
    /// Lower and upper bound of the activation, infinite where it has none.
    pub bounds: (f32, f32),
    /// Added to the variance.
    pub epsilon: f64,
    /// Normalise with the batch's statistics in place of the given ones.
    pub batch_statistics: bool,
}

/// The tensors that the operation takes.
#[derive(Debug, Clone, ExtensionType)]
pub struct FusedInputs<B: Backend> {
    /// Input, `[N, H, W, in]`.
    pub x: FloatTensor<B>,
    /// Weights, `[out, in / groups, k, k]`.
    pub weight: FloatTensor<B>,
    /// Scale, `[out]`.
    pub gamma: FloatTensor<B>,
    /// Shift, `[out]`.
    pub beta: FloatTensor<B>,
    /// Running mean, `[out]`; a constant.
    pub mean: FloatTensor<B>,
    /// Running variance, `[out]`; a constant.
    pub variance: FloatTensor<B>,
}

/// What the operation gives back.
#[derive(Debug, Clone, ExtensionType)]
pub struct FusedOutputs<B: Backend> {
    /// Activations, `[N, ceil(H / stride), ceil(W / stride), out]`.
    pub y: FloatTensor<B>,
    /// The mean that was used, `[out]`; no gradient flows into it.
    pub mean: FloatTensor<B>,
    /// The biased variance that was used, `[out]`; no gradient flows into it.
    pub variance: FloatTensor<B>,
}

/// Backends that have the operation.
#[backend_extension(Flex, Autodiff)]
pub trait FusedBackend: Backend {
    /// Convolution, batch normalisation and activation.
    fn conv_bn_act(
        #[extension_type] inputs: FusedInputs<Self>,
        options: FusedOptions,
    ) -> FusedOutputs<Self>;
}

/// Whether a device runs on the backend that has the operation.
pub fn is_flex(device: &Device) -> bool {
    matches!(
        device.as_dispatch().clone().inner(),
        DispatchDevice::Flex(_)
    )
}

/// The operation on tensors: activations, mean and biased variance.
///
/// # Panics
/// On another backend than `flex`, with or without autodiff, and on tensors of another
/// type than `f32`.
pub fn conv_bn_act(
    x: Tensor<4>,
    weight: Tensor<4>,
    (gamma, beta): (Tensor<1>, Tensor<1>),
    (mean, variance): (Tensor<1>, Tensor<1>),
    options: FusedOptions,
) -> (Tensor<4>, Tensor<1>, Tensor<1>) {
    let inputs = FusedInputs {
        x: x.into_dispatch(),
        weight: weight.into_dispatch(),
        gamma: gamma.into_dispatch(),
        beta: beta.into_dispatch(),
        mean: mean.into_dispatch(),
        variance: variance.into_dispatch(),
    };
    let outputs = <Dispatch as FusedBackend>::conv_bn_act(inputs, options);
    (
        Tensor::from_dispatch(outputs.y),
        Tensor::from_dispatch(outputs.mean),
        Tensor::from_dispatch(outputs.variance),
    )
}

fn shape_of(x: &FlexTensor, weight: &FlexTensor, options: &FusedOptions) -> ConvShape {
    let [images, height, width, in_channels] = x.shape().dims();
    let [out_channels, _, kernel, _] = weight.shape().dims();
    ConvShape {
        images,
        height,
        width,
        in_channels,
        out_channels,
        kernel,
        stride: options.stride,
        depthwise: options.depthwise,
    }
}

/// Runs `read` on the numbers of a tensor that [`contiguous`] has made.
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

fn output_dims(shape: &ConvShape) -> [usize; 4] {
    let (height, width) = (shape.out_height(), shape.out_width());
    [shape.images, height, width, shape.out_channels]
}

/// The inputs as contiguous tensors.
fn contiguous_inputs(inputs: FusedInputs<Flex>) -> FusedInputs<Flex> {
    FusedInputs {
        x: contiguous(inputs.x),
        weight: contiguous(inputs.weight),
        gamma: contiguous(inputs.gamma),
        beta: contiguous(inputs.beta),
        mean: contiguous(inputs.mean),
        variance: contiguous(inputs.variance),
    }
}

/// The forward pass with what the backward pass needs.
fn forward(inputs: &FusedInputs<Flex>, options: &FusedOptions) -> fused::Forward {
    let shape = shape_of(&inputs.x, &inputs.weight, options);
    let statistics = if options.batch_statistics {
        Statistics::Batch
    } else {
        Statistics::Given(numbers(&inputs.mean), numbers(&inputs.variance))
    };
    fused::forward(
        &shape,
        numbers(&inputs.x),
        numbers(&inputs.weight),
        (numbers(&inputs.gamma), numbers(&inputs.beta)),
        statistics,
        Normalisation {
            epsilon: options.epsilon,
            bounds: options.bounds,
        },
    )
}

fn outputs(y: Vec<f32>, channels: &Channels, shape: &ConvShape) -> FusedOutputs<Flex> {
    FusedOutputs {
        y: tensor(y, output_dims(shape)),
        mean: tensor(channels.mean.clone(), [shape.out_channels]),
        variance: tensor(channels.variance.clone(), [shape.out_channels]),
    }
}

impl FusedBackend for Flex {
    fn conv_bn_act(inputs: FusedInputs<Self>, options: FusedOptions) -> FusedOutputs<Self> {
        let inputs = contiguous_inputs(inputs);
        let shape = shape_of(&inputs.x, &inputs.weight, &options);
        if options.batch_statistics {
            let pass = forward(&inputs, &options);
            return outputs(pass.y, &pass.channels, &shape);
        }
        let channels = Channels::new(
            numbers(&inputs.gamma),
            numbers(&inputs.beta),
            numbers(&inputs.mean).to_vec(),
            numbers(&inputs.variance).to_vec(),
            options.epsilon,
        );
        let (x, weight) = (numbers(&inputs.x), numbers(&inputs.weight));
        let y = fused::infer(&shape, x, weight, &channels, options.bounds);
        outputs(y, &channels, &shape)
    }
}

/// What a backward pass needs of its forward pass.
#[derive(Debug, Clone)]
struct Kept {
    x: FlexTensor,
    weight: FlexTensor,
    conv: FlexTensor,
    channels: Channels,
    options: FusedOptions,
}

/// The gradient of the operation towards input, weights, scale and shift.
#[derive(Debug)]
struct FusedBackward;

impl Backward<Flex, 4> for FusedBackward {
    type State = Kept;

    fn backward(self, ops: Ops<Kept, 4>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let [x, weight, gamma, beta] = ops.parents;
        let upstream = contiguous(grads.consume::<Flex>(&ops.node));
        let kept = ops.state;
        let shape = shape_of(&kept.x, &kept.weight, &kept.options);
        let gradients = fused::Backward {
            shape: &shape,
            x: numbers(&kept.x),
            weight: numbers(&kept.weight),
            conv: numbers(&kept.conv),
            channels: &kept.channels,
            bounds: kept.options.bounds,
            batch_statistics: kept.options.batch_statistics,
            wants_input: x.is_some(),
            wants_weight: weight.is_some(),
        }
        .run(numbers(&upstream));
        if let Some(node) = x {
            let dims = kept.x.shape().dims::<4>();
            grads.register::<Flex>(node.id, tensor(gradients.x, dims));
        }
        if let Some(node) = weight {
            let dims = kept.weight.shape().dims::<4>();
            grads.register::<Flex>(node.id, tensor(gradients.weight, dims));
        }
        for (node, values) in [(gamma, gradients.gamma), (beta, gradients.beta)] {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, tensor(values, [shape.out_channels]));
            }
        }
    }
}

impl<C: CheckpointStrategy> FusedBackend for Autodiff<Flex, C> {
    fn conv_bn_act(inputs: FusedInputs<Self>, options: FusedOptions) -> FusedOutputs<Self> {
        let nodes = [
            inputs.x.node(),
            inputs.weight.node(),
            inputs.gamma.node(),
            inputs.beta.node(),
        ];
        let plain = contiguous_inputs(FusedInputs {
            x: inputs.x.into_primitive(),
            weight: inputs.weight.into_primitive(),
            gamma: inputs.gamma.into_primitive(),
            beta: inputs.beta.into_primitive(),
            mean: inputs.mean.into_primitive(),
            variance: inputs.variance.into_primitive(),
        });
        let constant = <Self as burn::backend::AutodiffBackend>::from_inner;
        match FusedBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let shape = shape_of(&plain.x, &plain.weight, &options);
                let pass = forward(&plain, &options);
                let outputs = outputs(pass.y, &pass.channels, &shape);
                let kept = Kept {
                    x: plain.x,
                    weight: plain.weight,
                    conv: tensor(pass.conv, output_dims(&shape)),
                    channels: pass.channels,
                    options,
                };
                FusedOutputs {
                    y: prepared.finish(kept, outputs.y),
                    mean: constant(outputs.mean),
                    variance: constant(outputs.variance),
                }
            }
            OpsKind::UnTracked(prepared) => {
                let outputs = <Flex as FusedBackend>::conv_bn_act(plain, options);
                FusedOutputs {
                    y: prepared.finish(outputs.y),
                    mean: constant(outputs.mean),
                    variance: constant(outputs.variance),
                }
            }
        }
    }
}
