//! Joins the backbone's features into the one map that the head reads.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::backbone::{Backbone, Features};
use super::config::TrainPlan;
use super::layer::{Activation, ConvBnAct, ConvBnActConfig};

/// One or two pointwise layers to a common number of channels; the coarse map is
/// doubled in size and added (Lin et al. 2017, feature pyramids, figure 3).
#[derive(Module, Debug)]
pub(super) struct Neck {
    from_stride_16: Option<ConvBnAct>,
    from_stride_32: Option<ConvBnAct>,
}

impl Neck {
    pub fn new(plan: &TrainPlan, device: &Device) -> Self {
        let (fine, coarse) = Backbone::channels(plan.width_multiplier);
        let lateral = |channels| {
            ConvBnActConfig::dense(channels, plan.head_channels, 1, Activation::None).init(device)
        };
        Neck {
            from_stride_16: (plan.output_stride == 16).then(|| lateral(fine)),
            from_stride_32: uses_stride_32(plan).then(|| lateral(coarse)),
        }
    }

    /// `[N, H / stride, W / stride, head_channels]` at the plan's output stride.
    pub fn forward(&self, features: Features) -> Tensor<4> {
        let coarse = self
            .from_stride_32
            .as_ref()
            .zip(features.stride_32)
            .map(|(layer, x)| layer.forward(x));
        let fine = self
            .from_stride_16
            .as_ref()
            .map(|layer| layer.forward(features.stride_16));
        let joined = match (fine, coarse) {
            (Some(fine), Some(coarse)) => fine + doubled(coarse),
            (Some(map), None) | (None, Some(map)) => map,
            (None, None) => unreachable!("`Neck::new` makes at least one of the layers"),
        };
        joined.clamp_min(0.0)
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
