//! Joins the backbone's features into the maps that the heads read.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::backbone::{Backbone, FEATURE_STRIDES};
use super::config::TrainPlan;
use super::layer::{Activation, ConvBnAct, ConvBnActConfig};
use super::onnx::{Graph, Value};

/// A ladder of maps with a common number of channels. From the coarsest down, each is added,
/// doubled in size, to the next finer one (Lin et al. 2017, feature pyramids, figure 3); to
/// the finest of them the features below it may be added through a strided 3x3 window (Liu
/// et al. 2018, path aggregation, figure 1b). Some or all of the maps are outputs.
#[derive(Module, Debug)]
pub(super) struct Neck {
    from_finer: Option<ConvBnAct>,
    /// Index of the features that `from_finer` reads.
    #[module(skip)]
    finer: usize,
    /// Of each level, the finest first.
    laterals: Vec<ConvBnAct>,
    #[module(skip)]
    levels: Vec<Level>,
}

/// A rung of the ladder.
#[derive(Debug, Clone, PartialEq)]
struct Level {
    /// Index of the features that it reads.
    features: usize,
    is_output: bool,
}

impl Neck {
    pub fn new(plan: &TrainPlan, device: &Device) -> Self {
        let channels = Backbone::channels(plan.width_multiplier);
        let layer = |features: usize, kernel| {
            let inputs = channels[features];
            ConvBnActConfig::dense(inputs, plan.head_channels, kernel, Activation::None)
        };
        let (mut levels, mut laterals) = (Vec::new(), Vec::new());
        for (index, stride) in plan.levels().into_iter().enumerate() {
            let last = FEATURE_STRIDES.len() - 1;
            let known = FEATURE_STRIDES.iter().position(|&known| known == stride);
            let level = Level {
                features: known.unwrap_or(last),
                is_output: plan.output_strides.contains(&stride),
            };
            let lateral = match known {
                Some(features) => layer(features, 1),
                // Beyond the backbone (Lin et al. 2017, focal loss, footnote 2).
                None => layer(last, 3).with_stride(2),
            };
            // What only adds to a finer map begins without a word in it.
            let lateral = if level.is_output || index == 0 {
                lateral
            } else {
                lateral.starting_at_zero()
            };
            laterals.push(lateral.init(device));
            levels.push(level);
        }
        // A window of 3x3 at every second place keeps where in a cell a thing lies.
        let half = plan.output_strides[0] / 2;
        let finer = FEATURE_STRIDES.iter().position(|&stride| stride == half);
        let from_finer = finer
            .filter(|_| plan.fuses_finer())
            .map(|finer| layer(finer, 3).with_stride(2).init(device));
        Neck {
            from_finer,
            finer: finer.unwrap_or(0),
            laterals,
            levels,
        }
    }

    /// The backbone's features to the output maps, finest first:
    /// `[N, H / stride, W / stride, head_channels]`.
    pub fn forward(&self, features: &[Tensor<4>]) -> Vec<Tensor<4>> {
        let mut outputs = Vec::new();
        let mut above: Option<Tensor<4>> = None;
        for (index, (level, lateral)) in self.levels.iter().zip(&self.laterals).enumerate().rev() {
            let mut map = lateral.forward(features[level.features].clone());
            if let (0, Some(layer)) = (index, &self.from_finer) {
                map = map + layer.forward(features[self.finer].clone());
            }
            if let Some(above) = above {
                map = map + doubled(above);
            }
            if level.is_output {
                outputs.push(map.clone().clamp_min(0.0));
            }
            above = Some(map);
        }
        outputs.reverse();
        outputs
    }

    /// Adds the neck to a graph, as [`Neck::forward`] runs it, but in NCHW.
    pub fn describe(&self, graph: &mut Graph, features: &[Value]) -> Vec<Value> {
        let mut outputs = Vec::new();
        let mut above: Option<Value> = None;
        for (index, (level, lateral)) in self.levels.iter().zip(&self.laterals).enumerate().rev() {
            let mut map = lateral.describe(graph, &features[level.features]);
            if let (0, Some(layer)) = (index, &self.from_finer) {
                let finer = layer.describe(graph, &features[self.finer]);
                map = graph.node("Add", &[&map, &finer], &[]);
            }
            if let Some(above) = above {
                let above = graph.doubled(&above);
                map = graph.node("Add", &[&map, &above], &[]);
            }
            if level.is_output {
                outputs.push(graph.clip(map.clone(), (0.0, f32::INFINITY)));
            }
            above = Some(map);
        }
        outputs.reverse();
        outputs
    }
}

/// Repeats each cell twice along both sides.
pub(super) fn doubled(x: Tensor<4>) -> Tensor<4> {
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
    use crate::detector::TrainSpec;
    use burn::tensor::TensorData;

    fn ones(side: usize, channels: usize, factor: f32) -> Tensor<4> {
        Tensor::full([1, side, side, channels], factor, &Device::flex())
    }

    #[test]
    fn the_maps_of_a_pyramid_hear_of_coarser_ones_but_not_of_finer_ones() {
        let spec = TrainSpec {
            output_strides: vec![8, 16, 64],
            fuse_strides: vec![32],
            ..TrainSpec::default()
        };
        let plan = spec.into_plan("test".as_ref()).unwrap();
        let device = Device::flex();
        device.seed(1);
        let neck = Neck::new(&plan, &device);
        let channels = Backbone::channels(plan.width_multiplier);
        let sides = [16, 8, 4];
        let run = |changed: Option<usize>| -> Vec<Vec<f32>> {
            let features: Vec<Tensor<4>> = (0..3)
                .map(|index| {
                    let factor = if changed == Some(index) { 2.0 } else { 1.0 };
                    ones(sides[index], channels[index], factor)
                })
                .collect();
            let maps = neck.forward(&features);
            let dims: Vec<[usize; 4]> = maps.iter().map(Tensor::dims).collect();
            let side = |side| [1, side, side, plan.head_channels];
            assert_eq!(dims, [side(16), side(8), side(2)]);
            let values = maps.into_iter().map(|map| map.into_data().try_to_vec());
            values.map(Result::unwrap).collect()
        };
        let plain = run(None);
        for (changed, wanted) in [
            (0, [true, false, false]),
            (1, [true, true, false]),
            // Stride 64 is made of stride 32.
            (2, [true, true, true]),
        ] {
            let now = run(Some(changed));
            let differs: Vec<bool> = plain.iter().zip(&now).map(|(a, b)| a != b).collect();
            assert_eq!(differs, wanted, "features {changed}");
        }
    }

    #[test]
    fn every_ladder_that_a_plan_allows_gives_maps_of_its_strides() {
        let device = Device::flex();
        let subset = |bits: usize| -> Vec<usize> {
            let strides = [8, 16, 32, 64].into_iter().enumerate();
            let chosen = strides.filter(|(index, _)| bits >> index & 1 == 1);
            chosen.map(|(_, stride)| stride).collect()
        };
        let mut checked = 0;
        for (output_strides, fuse_strides) in
            (0..256).map(|bits| (subset(bits % 16), subset(bits / 16)))
        {
            let spec = TrainSpec {
                width_multiplier: 0.1,
                head_channels: 8,
                output_strides: output_strides.clone(),
                fuse_strides,
                ..TrainSpec::default()
            };
            let Ok(plan) = spec.into_plan("test".as_ref()) else {
                continue;
            };
            let channels = Backbone::channels(plan.width_multiplier);
            let features: Vec<Tensor<4>> = [32, 16, 8]
                .into_iter()
                .zip(channels)
                .map(|(side, channels)| ones(side, channels, 1.0))
                .collect();
            let maps = Neck::new(&plan, &device).forward(&features);
            let sides: Vec<usize> = maps.iter().map(|map| map.dims()[1]).collect();
            let wanted: Vec<usize> = output_strides.iter().map(|stride| 256 / stride).collect();
            assert_eq!(sides, wanted, "{:?}", plan.fuse_strides);
            checked += 1;
        }
        assert!(checked > 25, "{checked}");
    }

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
