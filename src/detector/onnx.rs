//! A network as an ONNX file: a builder of the few nodes that the detector needs, in the
//! operators of opset 13, NCHW.
//!
//! The messages are the part of `onnx.proto3` (ONNX 1.8, IR version 7) that the builder
//! writes, with its field numbers.

use prost::Message;

/// Version of the messages.
const IR_VERSION: i64 = 7;

/// Version of the operators.
const OPSET: i64 = 13;

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer_name: String,
    #[prost(string, tag = "3")]
    producer_version: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSet>,
    #[prost(message, repeated, tag = "14")]
    metadata: Vec<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
struct OperatorSet {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfo>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, tag = "3")]
    i: i64,
    #[prost(bytes = "vec", tag = "4")]
    s: Vec<u8>,
    #[prost(int64, repeated, tag = "8")]
    ints: Vec<i64>,
    /// 2 for `i`, 3 for `s`, 7 for `ints`.
    #[prost(int32, tag = "20")]
    kind: i32,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    /// 1 for 32-bit floats, 7 for 64-bit integers.
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    /// Little-endian.
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfo {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeProto {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorType {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<ShapeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct ShapeProto {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(oneof = "Length", tags = "1, 2")]
    length: Option<Length>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Length {
    #[prost(int64, tag = "1")]
    Value(i64),
    #[prost(string, tag = "2")]
    Name(String),
}

/// A value of the graph, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value(String);

/// What a node is told besides its inputs.
pub(super) enum Attribute {
    Integer(i64),
    Integers(Vec<i64>),
    Text(&'static str),
}

/// A graph in the making. Nodes stand in the order in which they run.
#[derive(Default)]
pub(super) struct Graph {
    proto: GraphProto,
    /// Values made so far, for their names.
    count: usize,
}

impl Graph {
    fn fresh(&mut self, stem: &str) -> String {
        self.count += 1;
        format!("{stem}_{}", self.count)
    }

    /// The graph's input of 32-bit floats; the first dimension is the batch.
    pub fn input(&mut self, name: &str, dims: &[usize]) -> Value {
        self.proto.input.push(value_info(name, dims));
        Value(name.to_owned())
    }

    /// Gives out a value under a name of its own; its first dimension is the batch.
    pub fn output(&mut self, name: &str, value: Value, dims: &[usize]) {
        self.proto.node.push(NodeProto {
            input: vec![value.0],
            output: vec![name.to_owned()],
            name: format!("give_{name}"),
            op_type: "Identity".to_owned(),
            attribute: Vec::new(),
        });
        self.proto.output.push(value_info(name, dims));
    }

    /// Constant 32-bit floats.
    pub fn floats(&mut self, stem: &str, dims: &[usize], values: &[f32]) -> Value {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        self.constant(stem, dims, 1, bytes.collect())
    }

    /// A list of constant integers.
    pub fn integers(&mut self, values: &[i64]) -> Value {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        self.constant("sizes", &[values.len()], 7, bytes.collect())
    }

    fn constant(&mut self, stem: &str, dims: &[usize], data_type: i32, bytes: Vec<u8>) -> Value {
        let name = self.fresh(stem);
        self.proto.initializer.push(TensorProto {
            dims: dims.iter().map(|dim| *dim as i64).collect(),
            data_type,
            name: name.clone(),
            raw_data: bytes,
        });
        Value(name)
    }

    /// A node with one output.
    pub fn node(
        &mut self,
        op_type: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute)],
    ) -> Value {
        let name = self.fresh(&op_type.to_lowercase());
        let attribute = attributes.iter().map(|(name, attribute)| {
            let empty = AttributeProto {
                name: (*name).to_owned(),
                ..AttributeProto::default()
            };
            match attribute {
                Attribute::Integer(i) => AttributeProto {
                    i: *i,
                    kind: 2,
                    ..empty
                },
                Attribute::Text(text) => AttributeProto {
                    s: text.as_bytes().to_vec(),
                    kind: 3,
                    ..empty
                },
                Attribute::Integers(ints) => AttributeProto {
                    ints: ints.clone(),
                    kind: 7,
                    ..empty
                },
            }
        });
        self.proto.node.push(NodeProto {
            input: inputs.iter().map(|value| value.0.clone()).collect(),
            output: vec![name.clone()],
            name: name.clone(),
            op_type: op_type.to_owned(),
            attribute: attribute.collect(),
        });
        Value(name)
    }

    /// A square convolution, padded by half of its kernel. `weight` is in PyTorch's layout.
    pub fn conv(
        &mut self,
        x: &Value,
        (weight, dims): (&[f32], [usize; 4]),
        bias: &[f32],
        (stride, groups): (usize, usize),
    ) -> Value {
        let [_, _, kernel, _] = dims.map(|dim| dim as i64);
        let weight = self.floats("weight", &dims, weight);
        let bias = self.floats("bias", &[bias.len()], bias);
        let stride = stride as i64;
        let attributes = [
            ("kernel_shape", Attribute::Integers(vec![kernel; 2])),
            ("strides", Attribute::Integers(vec![stride; 2])),
            ("pads", Attribute::Integers(vec![kernel / 2; 4])),
            ("group", Attribute::Integer(groups as i64)),
        ];
        self.node("Conv", &[x, &weight, &bias], &attributes)
    }

    /// Each cell repeated twice along both sides.
    pub fn doubled(&mut self, x: &Value) -> Value {
        let scales = self.floats("scales", &[4], &[1.0, 1.0, 2.0, 2.0]);
        let attributes = [
            ("mode", Attribute::Text("nearest")),
            (
                "coordinate_transformation_mode",
                Attribute::Text("asymmetric"),
            ),
            ("nearest_mode", Attribute::Text("floor")),
        ];
        let inputs = [x, &Value(String::new()), &scales];
        self.node("Resize", &inputs, &attributes)
    }

    /// `start..end` along an axis.
    pub fn slice(&mut self, x: &Value, axis: i64, (start, end): (usize, usize)) -> Value {
        let start = self.integers(&[start as i64]);
        let end = self.integers(&[end as i64]);
        let axis = self.integers(&[axis]);
        self.node("Slice", &[x, &start, &end, &axis], &[])
    }

    /// Each number forced between two bounds; an infinite bound is none.
    pub fn clip(&mut self, x: Value, (low, high): (f32, f32)) -> Value {
        match (low.is_finite(), high.is_finite()) {
            (false, false) => x,
            (true, false) if low == 0.0 => self.node("Relu", &[&x], &[]),
            _ => {
                let (low, high) = (
                    self.floats("low", &[], &[low]),
                    self.floats("high", &[], &[high]),
                );
                self.node("Clip", &[&x, &low, &high], &[])
            }
        }
    }

    /// The file's bytes. `metadata` are pairs that readers of the file find with it.
    pub fn into_bytes(mut self, name: &str, metadata: &[(&str, String)]) -> Vec<u8> {
        self.proto.name = name.to_owned();
        let metadata = metadata.iter().map(|(key, value)| Metadata {
            key: (*key).to_owned(),
            value: value.clone(),
        });
        ModelProto {
            ir_version: IR_VERSION,
            producer_name: env!("CARGO_PKG_NAME").to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(self.proto),
            opset_import: vec![OperatorSet {
                domain: String::new(),
                version: OPSET,
            }],
            metadata: metadata.collect(),
        }
        .encode_to_vec()
    }
}

fn value_info(name: &str, dims: &[usize]) -> ValueInfo {
    let batch = Dimension {
        length: Some(Length::Name("batch".to_owned())),
    };
    let others = dims.iter().map(|dim| Dimension {
        length: Some(Length::Value(*dim as i64)),
    });
    let shape = ShapeProto {
        dim: std::iter::once(batch).chain(others).collect(),
    };
    ValueInfo {
        name: name.to_owned(),
        kind: Some(TypeProto {
            tensor_type: Some(TensorType {
                elem_type: 1,
                shape: Some(shape),
            }),
        }),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Panics if a node reads what nothing before it has made. Returns the number of nodes
    /// and the names of the outputs.
    pub fn check(bytes: &[u8]) -> (usize, Vec<String>) {
        let model = ModelProto::decode(bytes).unwrap();
        assert_eq!(model.opset_import[0].version, OPSET);
        let graph = model.graph.unwrap();
        let mut known: HashSet<&String> = graph.initializer.iter().map(|t| &t.name).collect();
        known.extend(graph.input.iter().map(|value| &value.name));
        for node in &graph.node {
            for input in node.input.iter().filter(|input| !input.is_empty()) {
                assert!(known.contains(input), "{} reads {input}", node.name);
            }
            for output in &node.output {
                assert!(known.insert(output), "{output} is made twice");
            }
        }
        let outputs: Vec<String> = graph.output.iter().map(|v| v.name.clone()).collect();
        assert!(outputs.iter().all(|output| known.contains(output)));
        for tensor in &graph.initializer {
            let count: i64 = tensor.dims.iter().product();
            let size = if tensor.data_type == 1 { 4 } else { 8 };
            assert_eq!(tensor.raw_data.len(), count as usize * size);
        }
        (graph.node.len(), outputs)
    }

    #[test]
    fn a_small_graph_is_whole() {
        let mut graph = Graph::default();
        let x = graph.input("images", &[3, 8, 8]);
        let weight: Vec<f32> = (0..27).map(|v| v as f32).collect();
        let y = graph.conv(&x, (&weight, [1, 3, 3, 3]), &[0.5], (2, 1));
        let y = graph.clip(y, (0.0, 6.0));
        let unbounded = graph.clip(y.clone(), (f32::NEG_INFINITY, f32::INFINITY));
        assert_eq!(y, unbounded);
        graph.output("map", y, &[1, 4, 4]);
        let bytes = graph.into_bytes("small", &[("classes", "[]".to_owned())]);
        assert_eq!(check(&bytes), (3, vec!["map".to_owned()]));
    }
}
