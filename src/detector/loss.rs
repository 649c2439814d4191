//! The loss of a batch: objectness over all cells, box and class over those with an
//! object, and the classes of whole images.

use burn::tensor::activation::{log_sigmoid, sigmoid};
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData};

use super::config::{BoxLoss, ObjectnessLoss, TrainSpec};
use super::head::BOX_END;
use super::model::Output;
use super::segmentation::{MaskTerms, mask_loss};

/// Bounds of the predicted log width and height in cells, so that an early outlier
/// cannot overflow.
pub(super) const LOG_SIZE_BOUNDS: (f32, f32) = (-4.0, 5.0);

const EPSILON: f64 = 1e-7;

/// What the cells of a batch should say.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct BatchTargets {
    /// 1 where a cell learns an object, `[N * cells]`.
    pub objectness: Vec<f32>,
    /// Weight of each cell's objectness: 0 where it is ignored, else its image's,
    /// `[N * cells]`.
    pub weight: Vec<f32>,
    /// Cells with an object, `[P]`.
    pub positives: Vec<i32>,
    /// Weights of their images, `[P]`.
    pub positive_weights: Vec<f32>,
    /// `(cx, cy, w, h)` in cells, relative to the cell's centre, `[P, 4]`.
    pub boxes: Vec<f32>,
    /// One-hot classes, `[P, class logits]`.
    pub classes: Vec<f32>,
    /// 1 where a class is seen in an image, `[N, classes]`.
    pub image_classes: Vec<f32>,
    /// Share of each cell that objects cover, `[N * cells]` of each path of the segmentation.
    pub masks: Vec<Vec<f32>>,
}

/// The terms of a loss, each a tensor of one value; `total` has the gradient.
pub(super) struct LossTerms {
    pub total: Tensor<1>,
    pub objectness: Tensor<1>,
    pub bounding_box: Tensor<1>,
    pub class: Tensor<1>,
    pub image_class: Tensor<1>,
    /// Where the network has a segmentation.
    pub masks: Option<MaskTerms>,
}

/// The loss of a network's output.
pub(super) fn loss(output: Output, targets: &BatchTargets, plan: &TrainSpec) -> LossTerms {
    let spec = &plan.loss;
    let Output {
        cells: output,
        image_classes,
        masks,
    } = output;
    let device = output.device();
    let [cells, channels] = output.dims();
    let count = targets.positives.len();
    let weighted: f64 = targets
        .positive_weights
        .iter()
        .copied()
        .map(f64::from)
        .sum();
    let scale = if weighted > 0.0 { 1.0 / weighted } else { 1.0 };
    let logits = output.clone().slice([0..cells, 0..1]).reshape([cells]);
    let mut wanted_objectness = vector(&targets.objectness, &device);
    let weight = vector(&targets.weight, &device);
    let zero = || Tensor::<1>::zeros([1], &device);
    let (mut bounding_box, mut class) = (zero(), zero());
    if count > 0 {
        let index = Tensor::<1, Int>::from_data(
            TensorData::new(targets.positives.clone(), [count]),
            &device,
        );
        let of_image = vector(&targets.positive_weights, &device);
        let rows = output.select(0, index.clone());
        let wanted = matrix(&targets.boxes, 4, &device);
        let raw = rows.clone().slice([0..count, 1..BOX_END]);
        let Overlap { iou, measure } = overlap(decoded(raw.clone()), wanted.clone(), spec.box_kind);
        let distance = (raw - encoded(wanted)).abs().sum_dim(1).reshape([count]);
        let each = measure.neg() + 1.0 + distance * spec.distance_weight;
        bounding_box = (each * of_image.clone()).sum() * scale;
        if matches!(spec.objectness, ObjectnessLoss::Quality { .. }) {
            // Each cell with an object has 1 so far.
            let missing = iou.detach() - 1.0;
            wanted_objectness =
                wanted_objectness.select_assign(0, index, missing, IndexingUpdateOp::Add);
        }
        if channels > BOX_END {
            let logits = rows.slice([0..count, BOX_END..channels]);
            let wanted = matrix(&targets.classes, channels - BOX_END, &device);
            let of_image = of_image.unsqueeze_dim::<2>(1);
            class = (cross_entropy(logits, wanted) * of_image).sum() * scale;
        }
    }
    let objectness =
        (objectness_loss(logits, wanted_objectness, spec.objectness) * weight).sum() * scale;
    let mut total = objectness.clone() * spec.objectness_weight
        + bounding_box.clone() * spec.box_weight
        + class.clone() * spec.class_weight;
    let image_class = match image_classes {
        Some(logits) => {
            let wanted = matrix(&targets.image_classes, logits.dims()[1], &device);
            let loss = cross_entropy(logits, wanted).mean();
            total = total + loss.clone() * spec.image_class_weight;
            loss
        }
        None => zero(),
    };
    let segmentation = plan.segmentation.as_ref().zip(masks.as_ref());
    let masks = segmentation.map(|(spec, masks)| mask_loss(masks, &targets.masks, spec));
    if let Some(terms) = &masks {
        total = total + terms.total.clone();
    }
    LossTerms {
        total,
        objectness,
        bounding_box,
        class,
        image_class,
        masks,
    }
}

fn vector(values: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

fn matrix(values: &[f32], columns: usize, device: &Device) -> Tensor<2> {
    let rows = values.len() / columns;
    Tensor::from_data(TensorData::new(values.to_vec(), [rows, columns]), device)
}

/// `(cx, cy, ln w, ln h)` to `(cx, cy, w, h)`, `[P, 4]`.
fn decoded(raw: Tensor<2>) -> Tensor<2> {
    let count = raw.dims()[0];
    let centre = raw.clone().slice([0..count, 0..2]);
    let (low, high) = LOG_SIZE_BOUNDS;
    let size = raw.slice([0..count, 2..4]).clamp(low, high).exp();
    Tensor::cat(vec![centre, size], 1)
}

/// The inverse of [`decoded`].
fn encoded(boxes: Tensor<2>) -> Tensor<2> {
    let count = boxes.dims()[0];
    let centre = boxes.clone().slice([0..count, 0..2]);
    let (low, high) = LOG_SIZE_BOUNDS;
    let size = boxes.slice([0..count, 2..4]).log().clamp(low, high);
    Tensor::cat(vec![centre, size], 1)
}

/// Binary cross-entropy of logits, elementwise, without overflow.
pub(super) fn cross_entropy<const D: usize>(logits: Tensor<D>, wanted: Tensor<D>) -> Tensor<D> {
    let rest = wanted.clone().neg() + 1.0;
    (wanted * log_sigmoid(logits.clone()) + rest * log_sigmoid(logits.neg())).neg()
}

fn objectness_loss(logits: Tensor<1>, wanted: Tensor<1>, kind: ObjectnessLoss) -> Tensor<1> {
    match kind {
        ObjectnessLoss::Bce { positive_weight } => {
            let weight = wanted.clone() * (positive_weight - 1.0) + 1.0;
            cross_entropy(logits, wanted) * weight
        }
        ObjectnessLoss::Focal { alpha, gamma } => {
            let p = sigmoid(logits.clone());
            let rest = wanted.clone().neg() + 1.0;
            // The probability given to the wrong answer, and the weight of the right one.
            let wrong = wanted.clone() * (p.clone().neg() + 1.0) + rest * p;
            let weight = wanted.clone() * (2.0 * alpha - 1.0) + (1.0 - alpha);
            cross_entropy(logits, wanted) * powered(wrong, gamma) * weight
        }
        ObjectnessLoss::Quality { beta } => {
            let error = (sigmoid(logits.clone()) - wanted.clone()).abs();
            cross_entropy(logits, wanted) * powered(error, beta)
        }
    }
}

/// A power of numbers that are not negative.
fn powered(x: Tensor<1>, exponent: f64) -> Tensor<1> {
    if exponent == 2.0 {
        x.square()
    } else {
        // The gradient of a power of zero is not finite.
        (x + EPSILON).powf_scalar(exponent as f32)
    }
}

/// How boxes overlap, `[P]`.
struct Overlap {
    iou: Tensor<1>,
    /// What the box loss is 1 minus of.
    measure: Tensor<1>,
}

/// The overlap of boxes `(cx, cy, w, h)`, `[P, 4]`.
fn overlap(predicted: Tensor<2>, wanted: Tensor<2>, kind: BoxLoss) -> Overlap {
    let count = predicted.dims()[0];
    let column = |boxes: &Tensor<2>, index: usize| {
        boxes
            .clone()
            .slice([0..count, index..index + 1])
            .reshape([count])
    };
    let sides = |boxes: &Tensor<2>, axis: usize| {
        let (centre, half) = (column(boxes, axis), column(boxes, axis + 2) * 0.5);
        (centre.clone() - half.clone(), centre + half)
    };
    let area = |boxes: &Tensor<2>| column(boxes, 2) * column(boxes, 3);
    let mut common = Vec::new();
    let mut hull = Vec::new();
    for axis in 0..2 {
        let ((a0, a1), (b0, b1)) = (sides(&predicted, axis), sides(&wanted, axis));
        common.push(
            (a1.clone().min_pair(b1.clone()) - a0.clone().max_pair(b0.clone())).clamp_min(0.0),
        );
        hull.push(a1.max_pair(b1) - a0.min_pair(b0));
    }
    let intersection = common[0].clone() * common[1].clone();
    let union = area(&predicted) + area(&wanted) - intersection.clone();
    let iou = intersection / (union.clone() + EPSILON);
    let measure = match kind {
        BoxLoss::Giou => {
            let hull = hull[0].clone() * hull[1].clone();
            iou.clone() - (hull.clone() - union) / (hull + EPSILON)
        }
        BoxLoss::Diou | BoxLoss::Ciou => {
            let diagonal = hull[0].clone().square() + hull[1].clone().square();
            let distance = (column(&predicted, 0) - column(&wanted, 0)).square()
                + (column(&predicted, 1) - column(&wanted, 1)).square();
            let diou = iou.clone() - distance / (diagonal + EPSILON);
            if kind == BoxLoss::Diou {
                diou
            } else {
                let angle = |boxes: &Tensor<2>| (column(boxes, 2) / column(boxes, 3)).atan();
                let factor = 4.0 / std::f64::consts::PI.powi(2);
                let v = (angle(&wanted) - angle(&predicted)).square() * factor;
                // Held constant, as in section 4.2 of the paper.
                let alpha = v.clone() / (iou.clone().neg() + 1.0 + v.clone() + EPSILON);
                diou - alpha.detach() * v
            }
        }
    };
    Overlap { iou, measure }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detector::LossSpec;

    fn with(loss: LossSpec) -> TrainSpec {
        TrainSpec {
            loss,
            ..TrainSpec::default()
        }
    }

    fn measure(a: [f32; 4], b: [f32; 4], kind: BoxLoss) -> f32 {
        let device = Device::flex();
        // From corners to centre and size.
        let tensor = |[x0, y0, x1, y1]: [f32; 4]| {
            let values = [(x0 + x1) / 2.0, (y0 + y1) / 2.0, x1 - x0, y1 - y0];
            matrix(&values, 4, &device)
        };
        overlap(tensor(a), tensor(b), kind)
            .measure
            .into_scalar::<f32>()
    }

    #[test]
    fn overlap_measures_agree_with_worked_values() {
        // Intersection 1, union 7, hull 9, squared distance 2, squared diagonal 18.
        let (a, b) = ([0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 3.0, 3.0]);
        let close = |got: f32, wanted: f64| {
            assert!((f64::from(got) - wanted).abs() < 1e-5, "{got} for {wanted}");
        };
        close(measure(a, b, BoxLoss::Giou), 1.0 / 7.0 - 2.0 / 9.0);
        close(measure(a, b, BoxLoss::Diou), 1.0 / 7.0 - 2.0 / 18.0);
        close(measure(a, b, BoxLoss::Ciou), 1.0 / 7.0 - 2.0 / 18.0);
        // Apart: union 2, hull 3.
        let far = [2.0, 0.0, 3.0, 1.0];
        close(
            measure([0.0, 0.0, 1.0, 1.0], far, BoxLoss::Giou),
            -1.0 / 3.0,
        );
        close(measure(a, a, BoxLoss::Giou), 1.0);
        // 2x1 within 2x2: v = 4/pi^2 (atan 1 - atan 2)^2 = 0.041958, alpha = v / (0.5 + v).
        let v = 4.0 / std::f64::consts::PI.powi(2) * (1f64.atan() - 2f64.atan()).powi(2);
        let ciou = 0.5 - 0.25 / 8.0 - v * v / (0.5 + v);
        close(measure([0.0, 0.0, 2.0, 1.0], a, BoxLoss::Ciou), ciou);
    }

    /// The cells of a network with two classes and without the auxiliary task.
    fn cells(values: &[f32], device: &Device) -> Output {
        Output {
            cells: matrix(values, 7, device),
            image_classes: None,
            masks: None,
        }
    }

    #[test]
    fn the_classes_of_an_image_are_part_of_the_loss_where_they_are_asked_for() {
        let device = Device::flex().autodiff();
        let (output, targets) = example();
        let spec = with(LossSpec {
            image_class_weight: 2.0,
            ..LossSpec::default()
        });
        let without = loss(cells(&output, &device), &targets, &spec);
        let logits = matrix(&[0.0, 1.0], 2, &device).require_grad();
        let with = Output {
            image_classes: Some(logits.clone()),
            masks: None,
            ..cells(&output, &device)
        };
        let with = loss(with, &targets, &spec);
        // Seen at a probability of a half, and not seen at sigmoid(1).
        let wanted = (2f32.ln() + (1.0 + 1f32.exp()).ln()) / 2.0;
        assert!((with.image_class.clone().into_scalar::<f32>() - wanted).abs() < 1e-6);
        let more = with.total.clone() - without.total;
        assert!((more.into_scalar::<f32>() - 2.0 * wanted).abs() < 1e-5);
        let gradient = logits.grad(&with.total.backward()).unwrap();
        let gradient: Vec<f32> = gradient.into_data().try_to_vec().unwrap();
        let sigmoid = 1.0 / (1.0 + (-1f32).exp());
        assert!((gradient[0] + 0.5).abs() < 1e-6 && (gradient[1] - sigmoid).abs() < 1e-6);
    }

    fn example() -> (Vec<f32>, BatchTargets) {
        let output = vec![
            0.3, 0.1, -0.2, 0.2, 0.4, 0.5, -0.3, //
            -1.2, 0.0, 0.3, -0.1, 0.1, 0.2, 0.9, //
            2.0, 0.4, 0.1, 0.3, -0.2, -0.7, 0.1,
        ];
        let targets = BatchTargets {
            objectness: vec![1.0, 0.0, 0.0],
            weight: vec![1.0, 1.0, 0.0],
            positives: vec![0],
            positive_weights: vec![1.0],
            boxes: vec![0.3, 0.1, 1.5, 1.0],
            classes: vec![1.0, 0.0],
            image_classes: vec![1.0, 0.0],
            masks: Vec::new(),
        };
        (output, targets)
    }

    #[test]
    fn gradients_agree_with_differences() {
        let (output, targets) = example();
        let device = Device::flex().autodiff();
        for (objectness, box_kind) in [
            (
                ObjectnessLoss::Focal {
                    alpha: 0.3,
                    gamma: 2.0,
                },
                BoxLoss::Giou,
            ),
            (
                ObjectnessLoss::Focal {
                    alpha: 0.3,
                    gamma: 1.5,
                },
                BoxLoss::Diou,
            ),
            (
                ObjectnessLoss::Bce {
                    positive_weight: 3.0,
                },
                BoxLoss::Giou,
            ),
        ] {
            let spec = with(LossSpec {
                objectness,
                box_kind,
                ..LossSpec::default()
            });
            let value = |values: &[f32]| {
                let output = cells(values, &Device::flex());
                loss(output, &targets, &spec).total.into_scalar::<f32>()
            };
            let x = matrix(&output, 7, &device).require_grad();
            let tracked = Output {
                cells: x.clone(),
                image_classes: None,
                masks: None,
            };
            let grads = loss(tracked, &targets, &spec).total.backward();
            let grad: Vec<f32> = x.grad(&grads).unwrap().into_data().try_to_vec().unwrap();
            assert_eq!(grad[14], 0.0, "an ignored cell has no gradient");
            for index in 0..output.len() {
                let step = 1e-2;
                let mut moved = output.clone();
                moved[index] += step;
                let above = value(&moved);
                moved[index] -= 2.0 * step;
                let slope = (above - value(&moved)) / (2.0 * step);
                assert!(
                    (slope - grad[index]).abs() < 2e-3 + 0.02 * slope.abs(),
                    "{spec:?} {index}: {slope} against {}",
                    grad[index]
                );
            }
        }
    }

    #[test]
    fn quality_focal_loss_wants_the_overlap_and_agrees_with_worked_values() {
        let device = Device::flex();
        let at = |logit: f32, wanted: f32| {
            let kind = ObjectnessLoss::Quality { beta: 2.0 };
            let value = |v: f32| vector(&[v], &device);
            objectness_loss(value(logit), value(wanted), kind).into_scalar::<f32>()
        };
        // Probability 0.5 for a wanted 0.8: 0.3^2 ln 2.
        assert!((at(0.0, 0.8) - 0.09 * 2f32.ln()).abs() < 1e-6);
        let logit = (0.8f32 / 0.2).ln();
        assert!(at(logit, 0.8).abs() < 1e-6, "the minimum is at the overlap");
        // In a batch: the predicted box of the only object overlaps with IoU `iou`, and a
        // cell that says so has no objectness loss.
        let (mut output, mut targets) = example();
        targets.weight = vec![1.0, 0.0, 0.0];
        let predicted = [0.1f32, -0.2, 0.2f32.exp(), 0.4f32.exp()];
        let side =
            |axis: usize, b: &[f32]| (b[axis] - b[axis + 2] / 2.0, b[axis] + b[axis + 2] / 2.0);
        let common: f32 = (0..2)
            .map(|axis| {
                let (a, b) = (side(axis, &predicted), side(axis, &targets.boxes));
                a.1.min(b.1) - a.0.max(b.0)
            })
            .product();
        let areas = predicted[2] * predicted[3] + targets.boxes[2] * targets.boxes[3];
        let iou = common / (areas - common);
        let spec = with(LossSpec {
            objectness: ObjectnessLoss::Quality { beta: 2.0 },
            ..LossSpec::default()
        });
        let mut term = |logit: f32| {
            output[0] = logit;
            let terms = loss(cells(&output, &device), &targets, &spec);
            terms.objectness.into_scalar::<f32>()
        };
        let best = (iou / (1.0 - iou)).ln();
        assert!(term(best) < 1e-6);
        assert!(term(best + 1.0) > 1e-3 && term(best - 1.0) > 1e-3);
    }

    #[test]
    fn a_cell_of_weight_zero_is_as_if_it_were_not_there_and_weights_are_relative() {
        let device = Device::flex();
        let (output, one) = example();
        let terms = |targets: &BatchTargets| {
            let terms = loss(cells(&output, &device), targets, &TrainSpec::default());
            [terms.objectness, terms.bounding_box, terms.class]
                .map(|term| term.into_scalar::<f32>())
        };
        let mut two = one.clone();
        two.objectness[2] = 1.0;
        two.positives.push(2);
        two.boxes.extend([0.0, 0.2, 2.0, 0.5]);
        two.classes.extend([0.0, 1.0]);
        two.positive_weights.push(0.0);
        assert_eq!(terms(&two), terms(&one));
        // Alone in a batch, a weight changes nothing but its share in it.
        let mut heavy = one.clone();
        heavy.positive_weights = vec![4.0];
        heavy.weight = vec![4.0, 4.0, 0.0];
        for (heavy, one) in terms(&heavy).into_iter().zip(terms(&one)) {
            assert!((heavy - one).abs() < 1e-6, "{heavy} for {one}");
        }
        two.weight[2] = 3.0;
        two.positive_weights = vec![1.0, 3.0];
        let mut other = two.clone();
        other.positives.remove(0);
        other.boxes.drain(..4);
        other.classes.drain(..2);
        other.positive_weights = vec![1.0];
        let [_, both, _] = terms(&two);
        let ([_, first, _], [_, second, _]) = (terms(&one), terms(&other));
        assert!((both - (first + 3.0 * second) / 4.0).abs() < 1e-5);
    }

    #[test]
    fn a_batch_without_objects_has_a_finite_loss() {
        let (output, mut targets) = example();
        targets.objectness[0] = 0.0;
        targets.positives.clear();
        targets.positive_weights.clear();
        targets.boxes.clear();
        targets.classes.clear();
        let terms = loss(
            cells(&output, &Device::flex()),
            &targets,
            &TrainSpec::default(),
        );
        assert!(terms.total.into_scalar::<f32>() > 0.0);
        assert_eq!(terms.bounding_box.into_scalar::<f32>(), 0.0);
    }
}
