//! The segmentation: which cells of a map belong to an object, from several maps at once.
//!
//! Each path turns the backbone's features of one stride into a map of logits, and the sum of
//! the maps, the coarser ones doubled in size, is the answer (Long et al. 2015, fully
//! convolutional networks, figure 3). Each map has a learnt share in the sum (Xie and Tu 2015,
//! holistically-nested edge detection, fusion layer): maps that each say all they know would say
//! it too loudly together. The loss is laid on the sum alone, or on each path's own map too,
//! each against the mask at that map's size. What a path contributes is seen in its gradient
//! and in the loss of the sum without it.

mod score;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::backbone::{Backbone, FEATURE_STRIDES};
use super::config::{InputSize, SegmentationSpec};
use super::layer::{Activation, ConvBnAct, ConvBnActConfig, chain};
use super::loss::cross_entropy;
use super::neck::doubled;

pub use score::{MaskScore, PathScore};

/// Channels of a path between the backbone's features and its logits.
const PATH_CHANNELS: usize = 32;

/// One map's way to its logits.
#[derive(Module, Debug)]
struct Path {
    reduce: ConvBnAct,
    spread: ConvBnAct,
    /// `[PATH_CHANNELS, 1]`.
    weight: Param<Tensor<2>>,
    /// `[1]`.
    bias: Param<Tensor<1>>,
    /// Index of the backbone's features that it reads.
    #[module(skip)]
    features: usize,
}

impl Path {
    fn new(features: usize, channels: usize, device: &Device) -> Self {
        let reduce = ConvBnActConfig::dense(channels, PATH_CHANNELS, 1, Activation::Relu6);
        let spread = ConvBnActConfig::depthwise(PATH_CHANNELS, Activation::Relu6);
        Path {
            reduce: reduce.init(device),
            spread: spread.init(device),
            weight: Param::from_tensor(Tensor::zeros([PATH_CHANNELS, 1], device)),
            bias: Param::from_tensor(Tensor::zeros([1], device)),
            features,
        }
    }

    /// `[N, H, W, C]` to logits, `[N, H, W, 1]`.
    fn forward(&self, features: Tensor<4>) -> Tensor<4> {
        let x = chain(features, &[&self.reduce, &self.spread], false);
        let [images, rows, columns, channels] = x.dims();
        let flat = x.reshape([images * rows * columns, channels]);
        let logits = flat.matmul(self.weight.val()) + self.bias.val().unsqueeze_dim::<2>(0);
        logits.reshape([images, rows, columns, 1])
    }
}

/// The paths of a segmentation, the finest first.
#[derive(Module, Debug)]
pub(super) struct Segmentation {
    paths: Vec<Path>,
    /// Share of each path's map in the sum, `[paths]`.
    shares: Param<Tensor<1>>,
}

/// What the paths say of a batch.
pub(super) struct Masks {
    /// Logits of each path's map, the finest first: `[N, H / stride, W / stride, 1]`.
    pub maps: Vec<Tensor<4>>,
    /// Share of each in the sum, `[paths]`.
    pub shares: Tensor<1>,
}

impl Segmentation {
    pub fn new(spec: &SegmentationSpec, width_multiplier: f64, device: &Device) -> Self {
        let channels = Backbone::channels(width_multiplier);
        let strides = FEATURE_STRIDES.iter().enumerate();
        let read = strides.filter(|(_, stride)| spec.strides.contains(stride));
        let paths = read.map(|(features, _)| Path::new(features, channels[features], device));
        let paths: Vec<Path> = paths.collect();
        let count = paths.len();
        Segmentation {
            paths,
            shares: Param::from_tensor(Tensor::full([count], 1.0 / count as f64, device)),
        }
    }

    pub fn forward(&self, features: &[Tensor<4>]) -> Masks {
        let paths = self.paths.iter();
        Masks {
            maps: paths
                .map(|path| path.forward(features[path.features].clone()))
                .collect(),
            shares: self.shares.val(),
        }
    }

    /// Length of the gradient of each path's parameters, `[1]`.
    pub fn gradients(&self, gradients: &Gradients) -> Vec<Tensor<1>> {
        let length = |path: &Path| {
            let mut squares = Squares {
                gradients,
                sum: None,
            };
            path.visit(&mut squares);
            squares.sum.map(Tensor::sqrt)
        };
        self.paths.iter().filter_map(length).collect()
    }
}

/// Adds up the squares of the gradients of parameters.
struct Squares<'a> {
    gradients: &'a Gradients,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad(self.gradients) {
            let squares = gradient.square().sum();
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + squares,
                None => squares,
            });
        }
    }
}

impl Masks {
    /// The sum at the size of the finest map, without the map of index `absent`.
    fn joined(&self, absent: Option<usize>) -> Tensor<4> {
        let finest = &self.maps[0];
        let rows = finest.dims()[1];
        let mut sum = Tensor::zeros(finest.dims(), &finest.device());
        for (index, map) in self.maps.iter().enumerate() {
            if absent == Some(index) {
                continue;
            }
            let share = self.shares.clone().narrow(0, index, 1);
            let mut map = map.clone() * share.reshape([1, 1, 1, 1]);
            while map.dims()[1] < rows {
                map = doubled(map);
            }
            sum = sum + map;
        }
        sum
    }

    /// The same without gradients.
    fn detached(&self) -> Masks {
        Masks {
            maps: self.maps.iter().map(|map| map.clone().detach()).collect(),
            shares: self.shares.clone().detach(),
        }
    }
}

/// The losses of a segmentation, each a tensor of one value.
pub(super) struct MaskTerms {
    /// What to add to the loss of a training; it has the gradient.
    pub total: Tensor<1>,
    /// Of the sum of all paths.
    pub joined: Tensor<1>,
    pub paths: Vec<PathTerms>,
}

/// The losses of one path.
pub(super) struct PathTerms {
    /// Of its own map.
    pub own: Tensor<1>,
    /// Of the sum of all others.
    pub without: Tensor<1>,
}

/// Mean binary cross-entropy of the sum and of each map against `wanted`: how much of each cell
/// objects cover, `[N * cells]` of each map.
pub(super) fn mask_loss(masks: &Masks, wanted: &[Vec<f32>], spec: &SegmentationSpec) -> MaskTerms {
    let device = masks.shares.device();
    let against = |logits: Tensor<4>, mask: &[f32]| {
        let wanted = TensorData::new(mask.to_vec(), logits.dims());
        cross_entropy(logits, Tensor::from_data(wanted, &device)).mean()
    };
    let whole = against(masks.joined(None), &wanted[0]);
    let mut total = whole.clone() * spec.weight;
    let mut paths = Vec::new();
    let constant = masks.detached();
    for (index, (map, mask)) in masks.maps.iter().zip(wanted).enumerate() {
        let own = against(map.clone(), mask);
        if spec.scale_weight > 0.0 {
            total = total + own.clone() * spec.scale_weight;
        }
        paths.push(PathTerms {
            own,
            without: against(constant.joined(Some(index)), &wanted[0]),
        });
    }
    MaskTerms {
        total,
        joined: whole,
        paths,
    }
}

/// The share of each cell of `stride` pixels that a mask covers. `mask` is an image of `size`,
/// row by row, with values in `0..=1`.
pub(super) fn averaged(mask: &[f32], size: InputSize, stride: usize) -> Vec<f32> {
    let (rows, columns) = (size.height / stride, size.width / stride);
    let mut cells = vec![0.0; rows * columns];
    for (y, line) in mask.chunks_exact(size.width).enumerate() {
        for (x, value) in line.iter().enumerate() {
            cells[y / stride * columns + x / stride] += value;
        }
    }
    let pixels = (stride * stride) as f32;
    cells.iter().map(|sum| sum / pixels).collect()
}

/// What a line of the log says of a segmentation: means over the steps since the line before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentationLine {
    /// Cross-entropy of the sum of all paths.
    pub loss: f32,
    /// The finest first.
    pub paths: Vec<PathLine>,
}

/// What a line of the log says of a path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathLine {
    /// Pixels a cell.
    pub stride: usize,
    /// Cross-entropy of the path's own map against the mask at its size.
    pub loss: f32,
    /// Length of the gradient of the path's parameters.
    pub gradient: f32,
    /// Cross-entropy of the sum of the other paths.
    pub loss_without: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(values: &[f32], side: usize, device: &Device) -> Tensor<4> {
        Tensor::from_data(TensorData::new(values.to_vec(), [1, side, side, 1]), device)
    }

    #[test]
    fn a_mask_is_averaged_over_cells() {
        let size = InputSize {
            height: 2,
            width: 4,
        };
        let mask = [1.0, 1.0, 0.0, 0.5, 1.0, 0.0, 0.0, 0.5];
        assert_eq!(averaged(&mask, size, 2), [0.75, 0.25]);
        assert_eq!(averaged(&mask, size, 1), mask);
    }

    #[test]
    fn losses_agree_with_worked_values_and_an_absent_path_is_left_out() {
        let device = Device::flex().autodiff();
        let fine = map(&[1.0, -1.0, 2.0, 0.0], 2, &device).require_grad();
        let coarse = map(&[0.5], 1, &device).require_grad();
        let wanted = [vec![1.0, 0.0, 1.0, 0.0], vec![0.5]];
        let shares = Tensor::<1>::from_floats([2.0, 0.5], &device).require_grad();
        let masks = Masks {
            maps: vec![fine.clone(), coarse.clone()],
            shares: shares.clone(),
        };
        let entropy = |logit: f32, wanted: f32| {
            let p = 1.0 / (1.0 + (-logit).exp());
            -(wanted * p.ln() + (1.0 - wanted) * (1.0 - p).ln())
        };
        let mean = |logits: [f32; 4]| {
            let pairs = logits.iter().zip(&wanted[0]);
            pairs.map(|(x, wanted)| entropy(*x, *wanted)).sum::<f32>() / 4.0
        };
        for scale_weight in [0.0, 3.0] {
            let spec = SegmentationSpec {
                strides: vec![8, 16],
                weight: 2.0,
                scale_weight,
            };
            let terms = mask_loss(&masks, &wanted, &spec);
            let close = |tensor: &Tensor<1>, wanted: f32| {
                let got = tensor.clone().into_scalar::<f32>();
                assert!((got - wanted).abs() < 1e-5, "{got} for {wanted}");
            };
            let whole = mean([2.25, -1.75, 4.25, 0.25]);
            let own = [mean([1.0, -1.0, 2.0, 0.0]), entropy(0.5, 0.5)];
            close(&terms.joined, whole);
            close(&terms.paths[0].own, own[0]);
            close(&terms.paths[1].own, own[1]);
            close(&terms.paths[0].without, mean([0.25; 4]));
            close(&terms.paths[1].without, mean([2.0, -2.0, 4.0, 0.0]));
            let weighted = 2.0 * whole + scale_weight as f32 * (own[0] + own[1]);
            close(&terms.total, weighted);
            // The coarse cell has its share of the mean error of the four fine ones and, where
            // it has a label of its own, its own error.
            let gradients = terms.total.backward();
            let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
            let errors = [2.25f32, -1.75, 4.25, 0.25].iter().zip(&wanted[0]);
            let error: f32 = errors.map(|(x, wanted)| sigmoid(*x) - wanted).sum::<f32>() / 4.0;
            let own = scale_weight as f32 * (sigmoid(0.5) - 0.5);
            let of_map = coarse.grad(&gradients).unwrap();
            close(&of_map.reshape([1]), 2.0 * 0.5 * error + own);
            let of_shares = shares.grad(&gradients).unwrap();
            close(&of_shares.narrow(0, 1, 1), 2.0 * 0.5 * error);
        }
    }
}
