//! The anchor-free head: objectness, box and class logits of every cell.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::layer::{Activation, ConvBnAct, ConvBnActConfig, chain, floats};
use super::onnx::{Graph, Value};

/// Depthwise-separable layers before the prediction.
const BLOCKS: usize = 2;

/// Values before the class logits: objectness, centre x and y, log width and height.
pub(super) const BOX_END: usize = 5;

/// Share of cells taken to hold an object before anything is learnt (Lin et al.
/// 2017, section 4.1), so that the many empty cells do not swamp the first steps.
const OBJECT_PRIOR: f64 = 0.01;

/// Number of class logits: none where there is only one class.
pub(super) fn class_channels(classes: usize) -> usize {
    if classes > 1 { classes } else { 0 }
}

/// The auxiliary task: the logit of each class's being in the image, from the mean of a map.
#[derive(Module, Debug)]
pub(super) struct ImageClassifier {
    /// `[channels, classes]`.
    weight: Param<Tensor<2>>,
    /// `[classes]`.
    bias: Param<Tensor<1>>,
}

impl ImageClassifier {
    pub fn new(channels: usize, classes: usize, device: &Device) -> Self {
        ImageClassifier {
            weight: Param::from_tensor(Tensor::zeros([channels, classes], device)),
            bias: Param::from_tensor(Tensor::zeros([classes], device)),
        }
    }

    /// `[N, rows, columns, channels]` to `[N, classes]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let [images, rows, columns, channels] = x.dims();
        let cells = x.reshape([images, rows * columns, channels]);
        let mean = cells.mean_dim(1).reshape([images, channels]);
        mean.matmul(self.weight.val()) + self.bias.val().unsqueeze_dim::<2>(0)
    }
}

/// Two depthwise-separable layers and a linear one.
#[derive(Module, Debug)]
pub(super) struct Head {
    blocks: Vec<ConvBnAct>,
    /// `[head_channels, 5 + class logits]`.
    weight: Param<Tensor<2>>,
    /// `[5 + class logits]`.
    bias: Param<Tensor<1>>,
}

impl Head {
    /// `log_size` is the typical logarithm of an object's width and height in cells,
    /// where the boxes start.
    pub fn new(channels: usize, classes: usize, log_size: [f32; 2], device: &Device) -> Self {
        let outputs = BOX_END + class_channels(classes);
        let mut bias = vec![0.0f32; outputs];
        bias[0] = (OBJECT_PRIOR / (1.0 - OBJECT_PRIOR)).ln() as f32;
        bias[3..BOX_END].copy_from_slice(&log_size);
        let layers = (0..BLOCKS).flat_map(|_| {
            [
                ConvBnActConfig::depthwise(channels, Activation::Relu6),
                ConvBnActConfig::dense(channels, channels, 1, Activation::Relu6),
            ]
        });
        Head {
            blocks: layers.map(|layer| layer.init(device)).collect(),
            weight: Param::from_tensor(Tensor::zeros([channels, outputs], device)),
            bias: Param::from_tensor(Tensor::from_data(bias.as_slice(), device)),
        }
    }

    /// `[N, rows, columns, head_channels]` to `[N, rows * columns, 5 + class logits]`.
    ///
    /// The box of a cell is `(cx, cy, ln w, ln h)` in cells, its centre relative to
    /// the cell's.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<3> {
        let separable = |x, block: &[ConvBnAct]| chain(x, &[&block[0], &block[1]], false);
        let x = self.blocks.chunks_exact(2).fold(x, separable);
        let [images, rows, columns, channels] = x.dims();
        let flat = x.reshape([images * rows * columns, channels]);
        let logits = flat.matmul(self.weight.val()) + self.bias.val().unsqueeze_dim::<2>(0);
        let outputs = logits.dims()[1];
        logits.reshape([images, rows * columns, outputs])
    }

    /// Adds the head to a graph: `[N, head_channels, rows, columns]` to
    /// `[N, 5 + class logits, rows, columns]`.
    pub fn describe(&self, graph: &mut Graph, x: Value) -> Value {
        let next = |x, block: &ConvBnAct| block.describe(graph, &x);
        let x = self.blocks.iter().fold(x, next);
        let [channels, outputs] = self.weight.val().dims();
        let weight = floats(self.weight.val().transpose());
        let bias = floats(self.bias.val());
        graph.conv(&x, (&weight, [outputs, channels, 1, 1]), &bias, (1, 1))
    }
}
