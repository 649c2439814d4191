//! Joins the backbone's features into the one map that the head reads.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::backbone::{Backbone, Features};
use super::config::TrainPlan;
use super::layer::{Activation, ConvBnAct, ConvBnActConfig};
use super::onnx::{Graph, Value};

/// Layers to a common number of channels, whose maps are added: the coarse one doubled
/// in size (Lin et al. 2017, feature pyramids, figure 3), the finest one halved by a
/// strided 3x3 window (Liu et al. 2018, path aggregation, figure 1b).
#[derive(Module, Debug)]
pub(super) struct Neck {
    from_stride_8: Option<ConvBnAct>,
    from_stride_16: Option<ConvBnAct>,
    from_stride_32: Option<ConvBnAct>,
}

impl Neck {
    pub fn new(plan: &TrainPlan, device: &Device) -> Self {
        let [finest, fine, coarse] = Backbone::channels(plan.width_multiplier);
        let lateral =
            |channels| ConvBnActConfig::dense(channels, plan.head_channels, 1, Activation::None);
        let from_stride_32 = match plan.output_stride {
            16 => lateral(coarse).starting_at_zero(),
            _ => lateral(coarse),
        };
        // A window of 3x3 at every second place keeps where in a cell a thing lies.
        let from_stride_8 =
            ConvBnActConfig::dense(finest, plan.head_channels, 3, Activation::None).with_stride(2);
        Neck {
            from_stride_8: (plan.output_stride == 16 && plan.fuse_stride_8)
                .then(|| from_stride_8.init(device)),
            from_stride_16: (plan.output_stride == 16).then(|| lateral(fine).init(device)),
            from_stride_32: uses_stride_32(plan).then(|| from_stride_32.init(device)),
        }
    }

    /// `[N, H / stride, W / stride, head_channels]` at the plan's output stride.
    pub fn forward(&self, features: Features) -> Tensor<4> {
        let Features {
            stride_8,
            stride_16,
            stride_32,
        } = features;
        let run = |layer: &Option<ConvBnAct>, x: Option<Tensor<4>>| {
            layer.as_ref().zip(x).map(|(layer, x)| layer.forward(x))
        };
        let coarse = run(&self.from_stride_32, stride_32);
        let joined = match run(&self.from_stride_16, Some(stride_16)) {
            Some(map) => [
                run(&self.from_stride_8, Some(stride_8)),
                coarse.map(doubled),
            ]
            .into_iter()
            .flatten()
            .fold(map, |sum, map| sum + map),
            None => coarse.expect("with output stride 32 there is a layer for that stride"),
        };
        joined.clamp_min(0.0)
    }
}

impl Neck {
    /// Adds the neck to a graph, as [`Neck::forward`] runs it, but in NCHW.
    pub fn describe(&self, graph: &mut Graph, features: &Features<Value>) -> Value {
        let mut maps = Vec::new();
        let fine = [
            (&self.from_stride_16, &features.stride_16),
            (&self.from_stride_8, &features.stride_8),
        ];
        for (layer, x) in fine {
            maps.extend(layer.as_ref().map(|layer| layer.describe(graph, x)));
        }
        if let Some((layer, x)) = self
            .from_stride_32
            .as_ref()
            .zip(features.stride_32.as_ref())
        {
            let coarse = layer.describe(graph, x);
            maps.push(if maps.is_empty() {
                coarse
            } else {
                graph.doubled(&coarse)
            });
        }
        let joined = maps
            .into_iter()
            .reduce(|sum, map| graph.node("Add", &[&sum, &map], &[]));
        graph.clip(
            joined.expect("a neck has a layer for some stride"),
            (0.0, f32::INFINITY),
        )
    }
}

/// Whether the model needs the backbone's last stages.
pub(super) fn uses_stride_32(plan: &TrainPlan) -> bool {
    plan.output_stride == 32 || plan.fuse_stride_32
}

/// Repeats each cell twice along both sides.
fn doubled(x: Tensor<4>) -> Tensor<4> {
    let [images, rows, columns, channels] = x.dims();
    x.reshape([images * rows, 1, columns, channels])
        .repeat_dim(1, 2)
        .reshape([images * rows * 2, columns, 1, channels])
        .repeat_dim(2, 2)
        .reshape([images, rows * 2, columns * 2, channels])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    #[test]
    fn doubling_repeats_each_cell_in_a_square() {
        let values: Vec<f32> = (0..8).map(|v| v as f32).collect();
        let x = Tensor::<4>::from_data(TensorData::new(values, [1, 2, 2, 2]), &Device::flex());
        let y: Vec<f32> = doubled(x).into_data().try_to_vec().unwrap();
        let first_channel: Vec<f32> = y.iter().step_by(2).copied().collect();
        let expected = [
            0., 0., 2., 2., //
            0., 0., 2., 2., //
            4., 4., 6., 6., //
            4., 4., 6., 6.,
        ];
        assert_eq!(first_channel, expected);
    }
}
