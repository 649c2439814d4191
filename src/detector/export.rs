//! A trained detector as an ONNX file that needs nothing of this program.

use super::assignment::{Grid, Grids};
use super::head::{BOX_END, class_channels};
use super::loss::LOG_SIZE_BOUNDS;
use super::onnx::{Attribute, Graph, Value};
use super::predict::Detector;
use super::view::CHANNELS;

impl Detector {
    /// The detector as the bytes of an ONNX file (opset 13).
    ///
    /// Input `images`, `[batch, 3, height, width]`: letterboxed RGB in `0..=255`. Outputs
    /// `boxes`, `[batch, cells, 4]`: left, top, right and bottom in input pixels; `scores`,
    /// `[batch, cells, classes]` in `0..=1`. What is left to the reader is to drop low scores
    /// and boxes that overlap better ones. The metadata hold `classes`, a JSON list.
    pub fn to_onnx(&self) -> Vec<u8> {
        let plan = self.plan();
        let (height, width) = (plan.input.height, plan.input.width);
        let grids = Grids::of(plan.input, &plan.output_strides);
        let logits = class_channels(self.classes().len());
        let mut graph = Graph::default();
        let graph_input = graph.input("images", &[3, height, width]);
        let images = normalised(&mut graph, &graph_input);
        let maps = self.model().describe(&mut graph, &images);
        let (mut boxes, mut scores) = (Vec::new(), Vec::new());
        for (map, (_, grid)) in maps.iter().zip(grids.maps()) {
            let cells = cells_of(&mut graph, map, grid, BOX_END + logits);
            boxes.push(decoded(&mut graph, &cells, grid));
            scores.push(scored(&mut graph, &cells, logits));
        }
        let (boxes, scores) = (joined(&mut graph, boxes), joined(&mut graph, scores));
        graph.output("boxes", boxes, &[grids.cells(), 4]);
        graph.output("scores", scores, &[grids.cells(), logits.max(1)]);
        let classes = serde_json::Value::from(self.classes().to_vec());
        graph.into_bytes("detector", &[("classes", classes.to_string())])
    }
}

/// 8-bit values to what the network was trained on.
fn normalised(graph: &mut Graph, images: &Value) -> Value {
    let shape = [1, 3, 1, 1];
    let means = graph.floats("mean", &shape, &CHANNELS.map(|(mean, _)| mean * 255.0));
    let deviations = CHANNELS.map(|(_, deviation)| deviation * 255.0);
    let deviations = graph.floats("deviation", &shape, &deviations);
    let centred = graph.node("Sub", &[images, &means], &[]);
    graph.node("Div", &[&centred, &deviations], &[])
}

/// `[batch, channels, rows, columns]` to `[batch, cells, channels]`.
fn cells_of(graph: &mut Graph, map: &Value, grid: Grid, channels: usize) -> Value {
    let order = [("perm", Attribute::Integers(vec![0, 2, 3, 1]))];
    let last = graph.node("Transpose", &[map], &order);
    let sizes = graph.integers(&[0, grid.cells() as i64, channels as i64]);
    graph.node("Reshape", &[&last, &sizes], &[])
}

/// Objectness times the probability of each class: `[batch, cells, classes]`.
fn scored(graph: &mut Graph, cells: &Value, logits: usize) -> Value {
    let objectness = graph.slice(cells, 2, (0, 1));
    let objectness = graph.node("Sigmoid", &[&objectness], &[]);
    if logits == 0 {
        return objectness;
    }
    let classes = graph.slice(cells, 2, (BOX_END, BOX_END + logits));
    let classes = graph.node("Sigmoid", &[&classes], &[]);
    graph.node("Mul", &[&objectness, &classes], &[])
}

/// The cells of all maps, one map after the other.
fn joined(graph: &mut Graph, maps: Vec<Value>) -> Value {
    let maps: Vec<&Value> = maps.iter().collect();
    match maps.as_slice() {
        [map] => (*map).clone(),
        maps => graph.node("Concat", maps, &[("axis", Attribute::Integer(1))]),
    }
}

/// `[batch, cells, 5 + logits]` to corners in input pixels, `[batch, cells, 4]`.
fn decoded(graph: &mut Graph, cells: &Value, grid: Grid) -> Value {
    let centres: Vec<f32> = (0..grid.cells())
        .flat_map(|cell| {
            let (x, y) = grid.centre(cell);
            [x as f32, y as f32]
        })
        .collect();
    let centres = graph.floats("centres", &[1, grid.cells(), 2], &centres);
    let stride = graph.floats("stride", &[], &[grid.stride as f32]);
    let half_stride = graph.floats("half_stride", &[], &[grid.stride as f32 / 2.0]);
    let offset = graph.slice(cells, 2, (1, 3));
    let offset = graph.node("Mul", &[&offset, &stride], &[]);
    let centre = graph.node("Add", &[&offset, &centres], &[]);
    let size = graph.slice(cells, 2, (3, BOX_END));
    let size = graph.clip(size, LOG_SIZE_BOUNDS);
    let size = graph.node("Exp", &[&size], &[]);
    let half = graph.node("Mul", &[&size, &half_stride], &[]);
    let low = graph.node("Sub", &[&centre, &half], &[]);
    let high = graph.node("Add", &[&centre, &half], &[]);
    let axis = [("axis", Attribute::Integer(2))];
    graph.node("Concat", &[&low, &high], &axis)
}

#[cfg(test)]
mod tests {
    use crate::detector::checkpoint::{ModelConfig, save_weights};
    use crate::detector::model::Model;
    use crate::detector::onnx::tests::check;
    use crate::detector::{ComputeDevice, Detector, InputSize, TrainSpec};
    use crate::seed::{PlanHash, SeedKey};

    #[test]
    fn every_form_of_the_network_gives_a_whole_graph() {
        let folder = tempfile::tempdir().unwrap();
        for (output_strides, fuse_strides, classes) in [
            (vec![16], vec![8, 32], 3),
            (vec![16], vec![], 1),
            (vec![32], vec![64], 2),
            (vec![8, 16, 32], vec![], 2),
        ] {
            let spec = TrainSpec {
                width_multiplier: 0.2,
                input: InputSize {
                    height: 64,
                    width: 128,
                },
                output_strides,
                fuse_strides,
                ..TrainSpec::default()
            };
            let plan = spec.into_plan("test".as_ref()).unwrap();
            let model = Model::unsized_for(&plan, classes, SeedKey::new(b"test", 1));
            save_weights(folder.path(), &model).unwrap();
            let config = ModelConfig {
                run: PlanHash::of(&1),
                plan,
                seed: 0,
                classes: (0..classes).map(|class| format!("class {class}")).collect(),
                images: 1,
                real_images: 1,
                boxes: 1,
            };
            config.write(folder.path()).unwrap();
            let bytes = Detector::load(folder.path(), ComputeDevice::Cpu)
                .unwrap()
                .to_onnx();
            let (nodes, outputs) = check(&bytes);
            assert!(nodes > 60, "{nodes}");
            assert_eq!(outputs, ["boxes", "scores"]);
        }
    }
}
