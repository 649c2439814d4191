//! The whole network, its seeded weights and its weights as plain numbers.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use rand_distr::Distribution as _;

use super::backbone::Backbone;
use super::config::TrainPlan;
use super::head::{Head, ImageClassifier};
use super::neck::Neck;
use super::onnx::{Graph, Value};
use super::segmentation::{Masks, Segmentation};
use crate::seed::SeedKey;

/// Standard deviation of the prediction layer's first weights.
const PREDICTION_DEVIATION: f64 = 0.01;

/// What the network says of a batch.
pub(super) struct Output {
    /// `[N * cells, 5 + class logits]`: see [`Head::forward`]. The cells of an image lie map
    /// by map, the finest first.
    pub cells: Tensor<2>,
    /// Logits of each class's being in the image, `[N, classes]`, where the network has the
    /// auxiliary task.
    pub image_classes: Option<Tensor<2>>,
    /// Where the network has a segmentation.
    pub masks: Option<Masks>,
}

/// Backbone, neck, a head for each output map and the auxiliary task.
#[derive(Module, Debug)]
pub(super) struct Model {
    backbone: Backbone,
    neck: Neck,
    heads: Vec<Head>,
    image_classifier: Option<ImageClassifier>,
    segmentation: Option<Segmentation>,
}

impl Model {
    /// Makes the network on a device without autodiff. Its weights come from `key`
    /// alone: burn's own generator is shared by all threads of the process, so two
    /// trainings at once would disturb each other. `log_sizes` are the logarithms of width
    /// and height in cells at which the boxes of each output map start.
    pub fn new(plan: &TrainPlan, classes: usize, log_sizes: &[[f32; 2]], key: SeedKey) -> Self {
        let device = Device::flex();
        let needs_all = plan.reads_stride_32();
        let head = |log_size: &[f32; 2]| Head::new(plan.head_channels, classes, *log_size, &device);
        let model = Model {
            backbone: Backbone::new(plan.width_multiplier, needs_all, &device),
            neck: Neck::new(plan, &device),
            heads: log_sizes.iter().map(head).collect(),
            image_classifier: (plan.loss.image_class_weight > 0.0).then(|| {
                let [_, fine, coarse] = Backbone::channels(plan.width_multiplier);
                let channels = if needs_all { coarse } else { fine };
                ImageClassifier::new(channels, classes, &device)
            }),
            segmentation: plan
                .segmentation
                .as_ref()
                .map(|spec| Segmentation::new(spec, plan.width_multiplier, &device)),
        };
        model.map(&mut Initialise { key, index: 0 })
    }

    /// The network before it has seen a data set.
    pub fn unsized_for(plan: &TrainPlan, classes: usize, key: SeedKey) -> Self {
        Self::new(
            plan,
            classes,
            &vec![[0.0; 2]; plan.output_strides.len()],
            key,
        )
    }

    /// `[N, H, W, 3]` to what training compares with the labels.
    pub fn forward(&self, images: Tensor<4>) -> Output {
        let features = self.backbone.forward(images);
        let image_classes = self.image_classifier.as_ref().zip(features.last());
        let image_classes = image_classes.map(|(task, x)| task.forward(x.clone()));
        Output {
            cells: self.detect(&features),
            image_classes,
            masks: self.masks(&features),
        }
    }

    /// `[N, H, W, 3]` to the masks of [`Output`].
    pub fn segment(&self, images: Tensor<4>) -> Option<Masks> {
        self.masks(&self.backbone.forward(images))
    }

    fn masks(&self, features: &[Tensor<4>]) -> Option<Masks> {
        let segmentation = self.segmentation.as_ref();
        segmentation.map(|paths| paths.forward(features))
    }

    /// Length of the gradient of each path of the segmentation, `[1]`.
    pub fn path_gradients(&self, gradients: &Gradients) -> Vec<Tensor<1>> {
        let segmentation = self.segmentation.as_ref();
        segmentation.map_or(Vec::new(), |paths| paths.gradients(gradients))
    }

    /// `[N, H, W, 3]` to the cells of [`Output`].
    pub fn predict(&self, images: Tensor<4>) -> Tensor<2> {
        self.detect(&self.backbone.forward(images))
    }

    /// `[N, H, W, 3]` to the mean over each image of what the finest head reads: `[N, C]`.
    pub fn embed(&self, images: Tensor<4>) -> Tensor<2> {
        let maps = self.neck.forward(&self.backbone.forward(images));
        let finest = maps.into_iter().next().expect("there is a head");
        let [images, height, width, channels] = finest.dims();
        let cells = finest.reshape([images, height * width, channels]);
        cells.mean_dim(1).reshape([images, channels])
    }

    fn detect(&self, features: &[Tensor<4>]) -> Tensor<2> {
        let maps = self.neck.forward(features);
        let heads = self.heads.iter().zip(maps);
        let mut outputs: Vec<Tensor<3>> = heads.map(|(head, map)| head.forward(map)).collect();
        let joined = match outputs.len() {
            1 => outputs.remove(0),
            _ => Tensor::cat(outputs, 1),
        };
        let [images, cells, channels] = joined.dims();
        joined.reshape([images * cells, channels])
    }

    /// Adds the network to a graph: `[N, 3, H, W]` to `[N, 5 + class logits, rows, columns]`
    /// of each output map, finest first.
    pub fn describe(&self, graph: &mut Graph, images: &Value) -> Vec<Value> {
        let features = self.backbone.describe(graph, images);
        let maps = self.neck.describe(graph, &features);
        let heads = self.heads.iter().zip(maps);
        heads.map(|(head, map)| head.describe(graph, map)).collect()
    }

    /// All weights and running statistics in the order of the network, each as one row. The
    /// model must not be on an autodiff device: see [`Module::valid`].
    pub fn tensors(&self) -> Vec<Tensor<1>> {
        let mut collect = Collect::default();
        self.visit(&mut collect);
        collect.rows
    }

    /// The same network with other values, in the order of [`Model::tensors`].
    pub fn with_tensors(self, rows: Vec<Tensor<1>>) -> Self {
        self.map(&mut Replace(rows.into_iter()))
    }

    /// The numbers of [`Model::tensors`].
    #[cfg(test)]
    pub fn values(&self) -> Vec<Vec<f32>> {
        let rows = self.tensors().into_iter();
        rows.map(super::layer::floats).collect()
    }

    /// The model with a backbone that does not learn and uses its running statistics.
    pub fn with_frozen_backbone(self) -> Self {
        Model {
            backbone: self.backbone.freeze(),
            ..self
        }
    }

    /// The parameters of the backbone.
    pub fn backbone_parameters(&self) -> Vec<ParamId> {
        let mut collect = Collect::default();
        self.backbone.visit(&mut collect);
        collect.all
    }

    /// The parameters that weight decay applies to: matrices and filters, but neither
    /// biases nor normalisation.
    pub fn decayed_parameters(&self) -> Vec<ParamId> {
        let mut collect = Collect::default();
        self.visit(&mut collect);
        collect.matrices
    }
}

/// He's normal distribution with the fan-out for filters, a small one for the
/// prediction; vectors keep what their layers gave them.
struct Initialise {
    key: SeedKey,
    index: u64,
}

impl ModuleMapper for Initialise {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let index = self.index;
        self.index += 1;
        let dims = param.val().dims();
        let deviation = match dims.as_slice() {
            [out, per_group, height, width] => {
                // A depthwise filter sees one channel and feeds one.
                let fan_out = if *per_group == 1 { 1 } else { *out } * height * width;
                (2.0 / fan_out as f64).sqrt()
            }
            [_, _] => PREDICTION_DEVIATION,
            _ => return param,
        };
        let normal = rand_distr::Normal::new(0.0, deviation)
            .expect("a deviation from a positive fan is finite and positive");
        let mut generator = self.key.generator("weights", index);
        let count = dims.iter().product::<usize>();
        let values = (0..count)
            .map(|_| normal.sample(&mut generator) as f32)
            .collect();
        replaced(param, values)
    }
}

/// The parameter with other values, as many as it has.
pub(super) fn replaced<const D: usize>(
    param: Param<Tensor<D>>,
    values: Vec<f32>,
) -> Param<Tensor<D>> {
    param.map(|tensor| {
        let data = TensorData::new(values, tensor.dims());
        Tensor::from_data(data, &tensor.device())
    })
}

#[derive(Default)]
struct Collect {
    rows: Vec<Tensor<1>>,
    all: Vec<ParamId>,
    matrices: Vec<ParamId>,
}

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let count = value.shape().num_elements();
        self.rows.push(value.reshape([count]));
        self.all.push(param.id);
        if D > 1 {
            self.matrices.push(param.id);
        }
    }
}

struct Replace(std::vec::IntoIter<Tensor<1>>);

impl ModuleMapper for Replace {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.0.next() {
            Some(row) => param.map(|tensor| row.reshape(tensor.dims())),
            None => param,
        }
    }
}

#[cfg(test)]
mod agreement;
