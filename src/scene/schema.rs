//! The form of a scene file as a JSON Schema, for editors.

use serde_json::Value;

use super::spec::SceneSpec;

/// The JSON Schema (draft 2020-12) of scene files. It tells keys, kinds of values and what is
/// left out; ranges and what values have to do with each other are checked with the plan.
pub fn scene_schema() -> Value {
    let mut schema = Value::from(schemars::schema_for!(SceneSpec));
    schema["title"] = "An admix scene".into();
    write_defaults_as_yaml(&mut schema, false);
    schema
}

/// A number that never varies is written as such in YAML, and not as the program stores it.
fn write_defaults_as_yaml(value: &mut Value, is_default: bool) {
    match value {
        Value::Object(map) => {
            if is_default
                && map.len() == 1
                && let Some(constant) = map.get("constant").cloned()
            {
                *value = constant;
                return;
            }
            for (key, inner) in map {
                write_defaults_as_yaml(inner, is_default || key == "default");
            }
        }
        Value::Array(items) => {
            for item in items {
                write_defaults_as_yaml(item, is_default);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::spec;

    /// Why a value does not fit a schema, for what scene schemas are made of.
    fn fault(value: &Value, schema: &Value, root: &Value) -> Option<String> {
        let known = [
            "$ref",
            "$schema",
            "$defs",
            "title",
            "description",
            "default",
            "format",
            "type",
            "properties",
            "required",
            "additionalProperties",
            "items",
            "minItems",
            "maxItems",
            "minimum",
            "maximum",
            "anyOf",
            "oneOf",
            "enum",
            "const",
            "pattern",
        ];
        if let Some(key) = schema
            .as_object()?
            .keys()
            .find(|key| !known.contains(&key.as_str()))
        {
            return Some(format!("the check does not know `{key}`"));
        }
        if let Some(place) = schema["$ref"].as_str() {
            let found = root.pointer(place.trim_start_matches('#'));
            let told = fault(value, found.expect("references lead somewhere"), root);
            if told.is_some() {
                return told;
            }
        }
        let is_of = |kind: &str| match kind {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "number" => value.is_number(),
            "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            _ => false,
        };
        let kinds: Vec<&str> = match &schema["type"] {
            Value::String(kind) => vec![kind],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if !kinds.is_empty() && !kinds.iter().any(|kind| is_of(kind)) {
            return Some(format!("{value} is no {kinds:?}"));
        }
        let is_const = schema.get("const").is_none_or(|one| one == value);
        let is_listed = schema["enum"]
            .as_array()
            .is_none_or(|all| all.contains(value));
        if !is_const || !is_listed {
            return Some(format!("{value} is not allowed"));
        }
        for choice in [&schema["anyOf"], &schema["oneOf"]]
            .iter()
            .filter_map(|c| c.as_array())
        {
            let faults: Vec<String> = choice
                .iter()
                .map_while(|one| fault(value, one, root))
                .collect();
            if faults.len() == choice.len() {
                return Some(format!("fits none: {faults:?}"));
            }
        }
        if let Some(items) = value.as_array() {
            let least = schema["minItems"].as_u64().unwrap_or(0) as usize;
            let most = schema["maxItems"].as_u64().unwrap_or(u64::MAX) as usize;
            if !(least..=most).contains(&items.len()) {
                return Some(format!("{} items", items.len()));
            }
            let each = schema.get("items");
            return each.and_then(|each| items.iter().find_map(|item| fault(item, each, root)));
        }
        let map = value.as_object()?;
        let required = schema["required"].as_array().into_iter().flatten();
        let mut missing = required
            .filter_map(Value::as_str)
            .filter(|key| !map.contains_key(*key));
        if let Some(key) = missing.next() {
            return Some(format!("`{key}` is missing"));
        }
        map.iter()
            .find_map(|(key, inner)| match schema["properties"].get(key) {
                Some(inner_schema) => {
                    fault(inner, inner_schema, root).map(|told| format!("{key}: {told}"))
                }
                None if schema["additionalProperties"] == Value::Bool(false) => {
                    Some(format!("`{key}` is no key"))
                }
                None => None,
            })
    }

    fn scene(name: &str) -> Value {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("scenes")
            .join(name);
        spec::load(&path, &[]).unwrap()
    }

    #[test]
    fn every_scene_in_the_repository_fits() {
        let schema = scene_schema();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenes");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.path().is_dir() {
                continue;
            }
            let name = entry.file_name().into_string().unwrap();
            assert_eq!(fault(&scene(&name), &schema, &schema), None, "{name}");
            count += 1;
        }
        assert!(count >= 2);
    }

    #[test]
    fn what_is_no_scene_does_not_fit() {
        let schema = scene_schema();
        for (place, value) in [
            ("/camera/distance", serde_json::json!(3)),
            ("/camera/distance_mm", serde_json::json!("far")),
            ("/exposure_ev", serde_json::json!({"unifrom": [0, 1]})),
            ("/exposure_ev", serde_json::json!({"uniform": [0, 1, 2]})),
            ("/environment", serde_json::json!({"sky": {"level": 1}})),
            ("/objects/0/paints/0/body", serde_json::json!(7)),
            (
                "/objects/0/shape",
                serde_json::json!({"sphere": {"radius_mm": 2}}),
            ),
        ] {
            let mut spoilt = scene("shapes.yaml");
            let (around, key) = place.rsplit_once('/').unwrap();
            spoilt.pointer_mut(around).unwrap()[key] = value;
            assert_ne!(fault(&spoilt, &schema, &schema), None, "{place}");
        }
    }

    #[test]
    fn keys_are_described_and_defaults_are_as_in_yaml() {
        let schema = scene_schema();
        let paint = &schema["properties"]["exposure_ev"];
        assert!(paint["description"].as_str().unwrap().contains("stops"));
        let text = schema.to_string();
        assert!(!text.contains("\"constant\""), "defaults are numbers");
    }
}
