//! A trained detector as an ONNX file that needs nothing of this program.

use super::assignment::Grid;
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
        let grid = Grid::of(plan.input, plan.output_stride);
        let logits = class_channels(self.classes().len());
        let mut graph = Graph::default();
        let graph_input = graph.input("images", &[3, height, width]);
        let images = normalised(&mut graph, &graph_input);
        let map = self.model().describe(&mut graph, &images);

        let last = graph.node(
            "Transpose",
            &[&map],
            &[("perm", Attribute::Integers(vec![0, 2, 3, 1]))],
        );
        let sizes = graph.integers(&[0, grid.cells() as i64, (BOX_END + logits) as i64]);
        let cells = graph.node("Reshape", &[&last, &sizes], &[]);
        let boxes = decoded(&mut graph, &cells, grid);
        let objectness = graph.slice(&cells, 2, (0, 1));
        let mut scores = graph.node("Sigmoid", &[&objectness], &[]);
        if logits > 0 {
            let classes = graph.slice(&cells, 2, (BOX_END, BOX_END + logits));
            let classes = graph.node("Sigmoid", &[&classes], &[]);
            scores = graph.node("Mul", &[&scores, &classes], &[]);
        }
        graph.output("boxes", boxes, &[grid.cells(), 4]);
        graph.output("scores", scores, &[grid.cells(), logits.max(1)]);
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
    use crate::detector::{Detector, InputSize, TrainSpec};
    use crate::seed::{PlanHash, SeedKey};

    #[test]
    fn every_form_of_the_network_gives_a_whole_graph() {
        let folder = tempfile::tempdir().unwrap();
        for (output_stride, fuse_stride_32, classes) in
            [(16, true, 3), (16, false, 1), (32, true, 2)]
        {
            let spec = TrainSpec {
                width_multiplier: 0.2,
                input: InputSize {
                    height: 64,
                    width: 96,
                },
                output_stride,
                fuse_stride_32,
                ..TrainSpec::default()
            };
            let plan = spec.into_plan("test".as_ref()).unwrap();
            let model = Model::new(&plan, classes, [0.0; 2], SeedKey::new(b"test", 1));
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
            let bytes = Detector::load(folder.path()).unwrap().to_onnx();
            let (nodes, outputs) = check(&bytes);
            assert!(nodes > 60, "{nodes}");
            assert_eq!(outputs, ["boxes", "scores"]);
        }
    }
}
