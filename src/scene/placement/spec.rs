//! How many objects lie where, as a YAML file gives it.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::spec::Distribution;

/// The groups of objects of a scene, which are placed one after the other: in YAML the map of
/// one group, or a list of such maps.
#[derive(Debug, Clone, PartialEq)]
pub struct Placements(pub Vec<PlacementSpec>);

impl Placements {
    /// The key's path of a group, for messages.
    pub fn key(&self, group: usize) -> String {
        match self.0.len() {
            1 => "placement".to_owned(),
            _ => format!("placement[{group}]"),
        }
    }
}

impl JsonSchema for Placements {
    fn schema_name() -> Cow<'static, str> {
        "Placements".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let group = generator.subschema_for::<PlacementSpec>();
        json_schema!({
            "description": "One group of objects, or a list of groups that are placed in order.",
            "anyOf": [group, {"type": "array", "items": group}],
        })
    }
}

impl Serialize for Placements {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [group] => group.serialize(serializer),
            groups => groups.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Placements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Placements;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("the map of one group of objects, or a list of such maps")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Placements, A::Error> {
                let group = PlacementSpec::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Placements(vec![group]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Placements, A::Error> {
                let mut groups = Vec::new();
                while let Some(group) = list.next_element()? {
                    groups.push(group);
                }
                Ok(Placements(groups))
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}

/// A group of objects: how many lie where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlacementSpec {
    /// Number of objects, rounded to the nearest whole number. A grid's is that of its cells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Distribution>,
    /// Size of the rectangle in which their middles lie; all of what they lie on where this is
    /// missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub area_mm: Option<[f64; 2]>,
    /// Probability that an object lies close to an earlier one of the group.
    #[serde(default)]
    pub clustering: f64,
    /// Probability that all objects of the group are of one family and paint.
    #[serde(default)]
    pub same_kind: f64,
    /// How far objects may lie over each other, as a share of their sizes in 0..1: 0 keeps
    /// them apart.
    #[serde(default)]
    pub overlap: f64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub method: Method,
    /// Names of the families that its objects are of; all families where this is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub families: Vec<String>,
    /// Name of the dressing parts, or of a family of an earlier group, that they lie on; the
    /// ground where this is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surface: Option<String>,
    /// Middle of the area or grid, from the middle of what they lie on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub centre_mm: [f64; 2],
    /// Turn about the upright axis; any where this is missing, and 0 in a grid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yaw_deg: Option<Distribution>,
    /// Least distance from an object's footprint to that of anything else.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gap_mm: f64,
    /// Where no object's footprint lies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep_out: Vec<Zone>,
    /// The largest share of a labelled object in the image that other things may hide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_hidden: Option<f64>,
    /// Number of objects of unlabelled families; `count` is then that of labelled ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distractors: Option<Distribution>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How objects come to lie where they do.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Method {
    /// Anywhere in the area, next to each other.
    #[default]
    Scattered,
    /// In the cells of a grid, one an object.
    Grid {
        columns: u32,
        rows: u32,
        /// Between the middles of neighbouring cells along x and y.
        spacing_mm: [f64; 2],
        /// Distance from the middle of a cell along each axis.
        #[serde(default = "none")]
        jitter_mm: Distribution,
        /// Probability that a cell has an object, drawn once an image.
        #[serde(default = "whole")]
        fill: Distribution,
    },
    /// Falling with any turn until all lie still.
    Dropped {
        /// Height of an object's lowest point above what it falls on, at least.
        height_mm: Distribution,
        /// Size of the rectangle in the middle of the area that they fall from; the whole area
        /// where this is missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from_mm: Option<[f64; 2]>,
        /// Coefficient of friction of everything, drawn once an image.
        #[serde(default = "half")]
        friction: Distribution,
        /// Coefficient of restitution of everything, drawn once an image.
        #[serde(default = "fifth")]
        restitution: Distribution,
    },
}

fn none() -> Distribution {
    Distribution::Constant(0.0)
}

fn whole() -> Distribution {
    Distribution::Constant(1.0)
}

fn half() -> Distribution {
    Distribution::Constant(0.5)
}

fn fifth() -> Distribution {
    Distribution::Constant(0.2)
}

/// A part of the ground, seen from above.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Zone {
    Rectangle {
        centre_mm: [f64; 2],
        size_mm: [f64; 2],
    },
    Disc {
        centre_mm: [f64; 2],
        diameter_mm: f64,
    },
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::spec;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Scene {
        placement: Placements,
    }

    fn parse(text: &str) -> Result<Scene, spec::SpecError> {
        spec::parse(text, Path::new("s.yaml"), &[])
    }

    #[test]
    fn one_group_or_several_are_read() {
        let one = parse("placement: {count: 3, area_mm: [1, 2]}").unwrap();
        assert_eq!(one.placement.0.len(), 1);
        // Serialised as scenes of one group always were, since images are drawn from the hash.
        let json = serde_json::to_string(&one).unwrap();
        assert_eq!(
            json,
            "{\"placement\":{\"count\":{\"constant\":3.0},\"area_mm\":[1.0,2.0],\
             \"clustering\":0.0,\"same_kind\":0.0,\"overlap\":0.0}}"
        );
        let text = "placement:\n  - {method: {grid: {columns: 2, rows: 1, spacing_mm: [5, 5]}}}\n  - {count: 2, method: {dropped: {height_mm: 3}}, keep_out: [{disc: {centre_mm: [0, 0], diameter_mm: 4}}]}\n";
        let two = parse(text).unwrap();
        assert_eq!(two.placement.key(1), "placement[1]");
        assert!(matches!(two.placement.0[1].method, Method::Dropped { .. }));
    }

    #[test]
    fn a_wrong_key_is_named_with_its_path() {
        let text = "placement:\n  - {count: 1, area_mm: [1, 1]}\n  - {cuont: 1}\n";
        let message = parse(text).unwrap_err().to_string();
        assert!(
            message.contains("placement[1]") && message.contains("cuont"),
            "{message}"
        );
        let message = parse("placement: 3").unwrap_err().to_string();
        assert!(message.contains("map of one group"), "{message}");
    }
}
