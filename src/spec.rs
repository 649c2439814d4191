//! The only reader of YAML, and the value types that specs are written in.
//!
//! A *spec* mirrors a YAML file and may be wrong; a *plan* is made from it, checked
//! as a whole, and cannot be. Spec structs use `#[serde(deny_unknown_fields)]`.
//! Enums are externally tagged and written as one-key maps (`uniform: [0, 1]`).

mod distribution;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};
use serde_yaml::Value;
use thiserror::Error;

pub use distribution::{Distribution, Interval};

/// What is wrong with a YAML file or with a `--set` override.
#[derive(Debug, Error)]
pub enum SpecError {
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{location}: {message}")]
    Invalid { location: String, message: String },
    #[error("--set {text}: {reason}; write --set dotted.key=value, for example --set seed=3")]
    Override { text: String, reason: String },
    /// Every problem that a plan found in its spec, at once.
    #[error("{path}: {count} problem(s):\n{list}", path = path.display(), count = problems.len(), list = bullet_list(problems))]
    Problems {
        path: PathBuf,
        problems: Vec<String>,
    },
}

fn bullet_list(problems: &[String]) -> String {
    problems
        .iter()
        .map(|problem| format!("  - {problem}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Collects the problems of a spec while it is turned into a plan, so that the user
/// sees all of them at once.
#[derive(Debug, Default)]
pub struct Problems(Vec<String>);

impl Problems {
    /// Notes a problem at a key's path, such as `camera.focal_mm`.
    pub fn add(&mut self, key: &str, problem: impl fmt::Display) {
        self.0.push(format!("{key}: {problem}"));
    }

    /// Notes a problem where `ok` does not hold.
    pub fn require(&mut self, ok: bool, key: &str, problem: impl fmt::Display) {
        if !ok {
            self.add(key, problem);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The plan if nothing was wrong, or all that was.
    pub fn into_result<T>(self, path: &Path, plan: T) -> Result<T, SpecError> {
        if self.0.is_empty() {
            Ok(plan)
        } else {
            Err(SpecError::Problems {
                path: path.to_owned(),
                problems: self.0,
            })
        }
    }
}

/// One `--set dotted.key=value`. The value is YAML.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    text: String,
    keys: Vec<String>,
    value: Value,
}

impl std::str::FromStr for Override {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let fail = |reason: String| SpecError::Override {
            text: text.to_owned(),
            reason,
        };
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| fail("there is no `=`".into()))?;
        let keys: Vec<String> = key.split('.').map(|part| part.trim().to_owned()).collect();
        if keys.iter().any(String::is_empty) {
            return Err(fail("a part of the key is empty".into()));
        }
        let value = serde_yaml::from_str(value)
            .map_err(|error| fail(format!("the value is not YAML: {error}")))?;
        Ok(Override {
            text: text.to_owned(),
            keys,
            value,
        })
    }
}

impl Override {
    fn apply(&self, root: &mut Value) -> Result<(), SpecError> {
        let fail = |reason: String| SpecError::Override {
            text: self.text.clone(),
            reason,
        };
        let mut place = root;
        for key in &self.keys {
            if place.is_null() {
                *place = Value::Mapping(Default::default());
            }
            place = match place {
                Value::Mapping(map) => map.entry(Value::String(key.clone())).or_insert(Value::Null),
                Value::Sequence(items) => {
                    let len = items.len();
                    key.parse::<usize>()
                        .ok()
                        .and_then(|index| items.get_mut(index))
                        .ok_or_else(|| fail(format!("`{key}` is not an index below {len}")))?
                }
                _ => {
                    return Err(fail(format!(
                        "`{key}` is looked for in a value that has no keys"
                    )));
                }
            };
        }
        *place = self.value.clone();
        Ok(())
    }
}

/// Reads a spec from a YAML file and applies overrides in order.
///
/// # Errors
/// An unreadable file, or YAML that does not fit `T`: the error names file, line,
/// column, the key's path, what was found and what is allowed.
pub fn load<T: DeserializeOwned>(path: &Path, overrides: &[Override]) -> Result<T, SpecError> {
    let text = std::fs::read_to_string(path).map_err(|source| SpecError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(&text, path, overrides)
}

/// As [`load`], from text that is already in memory; `path` only names it.
pub fn parse<T: DeserializeOwned>(
    text: &str,
    path: &Path,
    overrides: &[Override],
) -> Result<T, SpecError> {
    if overrides.is_empty() {
        return read_value(serde_yaml::Deserializer::from_str(text), text, path);
    }
    let mut value: Value = serde_yaml::from_str(text)
        .map_err(|error| invalid(path, error.location(), "", &error.to_string()))?;
    for item in overrides {
        item.apply(&mut value)?;
    }
    read_value(value, text, path)
}

/// Reads a spec from a value that is already in memory, such as one inside another spec.
pub fn from_value<T: DeserializeOwned>(value: Value, path: &Path) -> Result<T, SpecError> {
    read_value(value, "", path)
}

/// Lets serde_yaml read enums as one-key maps everywhere below.
struct Root<T>(T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Root<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_yaml::with::singleton_map_recursive::deserialize(deserializer).map(Root)
    }
}

fn read_value<'de, T, D>(deserializer: D, text: &str, path: &Path) -> Result<T, SpecError>
where
    T: DeserializeOwned,
    D: Deserializer<'de, Error = serde_yaml::Error>,
{
    serde_path_to_error::deserialize::<D, Root<T>>(deserializer)
        .map(|root| root.0)
        .map_err(|error| {
            let key = error.path().to_string();
            let inner = error.into_inner();
            let location = inner.location();
            if location.is_some() {
                return invalid(path, location, &key, &inner.to_string());
            }
            let message = inner.to_string();
            match line_of_key(text, &key) {
                Some(line) => SpecError::Invalid {
                    location: format!("{}:{line}", path.display()),
                    message: with_key(&key, &message),
                },
                None => invalid(path, None, &key, &message),
            }
        })
}

fn with_key(key: &str, message: &str) -> String {
    if key.is_empty() || key == "." || message.starts_with(&format!("{key}: ")) {
        message.to_owned()
    } else {
        format!("{key}: {message}")
    }
}

fn invalid(
    path: &Path,
    location: Option<serde_yaml::Location>,
    key: &str,
    message: &str,
) -> SpecError {
    let place = match &location {
        Some(place) => format!("{}:{}:{}", path.display(), place.line(), place.column()),
        None => path.display().to_string(),
    };
    // serde_yaml repeats the place at the end of its message; once is enough.
    let message = match &location {
        Some(place) => message.replace(
            &format!(" at line {} column {}", place.line(), place.column()),
            "",
        ),
        None => message.to_owned(),
    };
    SpecError::Invalid {
        location: place,
        message: with_key(key, &message),
    }
}

/// The line on which a dotted key stands, by indentation: good enough to point a
/// reader at the place after overrides have cut the parser's own positions off.
fn line_of_key(text: &str, key: &str) -> Option<usize> {
    let mut from = 0;
    let mut found = None;
    for part in key
        .split('.')
        .map(|part| part.split('[').next().unwrap_or(part))
        .filter(|part| !part.is_empty())
    {
        let offset = text.lines().skip(from).position(|line| {
            line.trim_start()
                .trim_start_matches("- ")
                .starts_with(&format!("{part}:"))
        })?;
        from += offset;
        found = Some(from + 1);
        from += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Scene {
        camera: Camera,
        #[serde(default)]
        count: Option<Distribution>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Camera {
        focal_mm: Distribution,
        #[serde(default)]
        shape: Option<Shape>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Shape {
        Sphere { radius: f64 },
        Quad,
    }

    fn read(text: &str, overrides: &[&str]) -> Result<Scene, String> {
        let overrides: Vec<Override> = overrides.iter().map(|text| text.parse().unwrap()).collect();
        parse(text, Path::new("scene.yaml"), &overrides).map_err(|error| error.to_string())
    }

    #[test]
    fn enums_are_one_key_maps() {
        let scene = read(
            "camera:\n  focal_mm: {uniform: [20, 30]}\n  shape: {sphere: {radius: 2}}\n",
            &[],
        )
        .unwrap();
        assert_eq!(scene.camera.shape, Some(Shape::Sphere { radius: 2.0 }));
        assert_eq!(
            scene.camera.focal_mm,
            Distribution::Uniform(Interval::new(20.0, 30.0).unwrap())
        );
        let scene = read("camera:\n  focal_mm: 35\n  shape: quad\n", &[]).unwrap();
        assert_eq!(scene.camera.shape, Some(Shape::Quad));
        assert_eq!(scene.camera.focal_mm, Distribution::Constant(35.0));
    }

    #[test]
    fn errors_name_file_line_key_and_what_is_allowed() {
        let error = read("camera:\n  focal_mm: 35\n  focus: 3\n", &[]).unwrap_err();
        assert!(error.starts_with("scene.yaml:"), "{error}");
        assert!(
            error.contains("camera.focus") || error.contains("camera"),
            "{error}"
        );
        assert!(
            error.contains("unknown field `focus`") && error.contains("`focal_mm`"),
            "{error}"
        );
        let error = read("camera:\n  focal_mm: {uniform: [30, 20]}\n", &[]).unwrap_err();
        assert!(
            error.contains("camera.focal_mm") && error.contains("low <= high"),
            "{error}"
        );
        let error = read("camera:\n  focal_mm: {unifrom: [20, 30]}\n", &[]).unwrap_err();
        assert!(
            error.contains("unifrom") && error.contains("truncated_normal"),
            "{error}"
        );
        assert!(error.contains(":2"), "the line is named: {error}");
    }

    #[test]
    fn overrides_reach_into_maps_and_are_reported_with_a_line() {
        let text = "camera:\n  focal_mm: 35\n";
        assert_eq!(
            read(text, &["camera.focal_mm=50"]).unwrap().camera.focal_mm,
            Distribution::Constant(50.0)
        );
        assert_eq!(
            read(text, &["count={poisson: {mean: 3}}"]).unwrap().count,
            Some(Distribution::Poisson { mean: 3.0 })
        );
        let error = read(text, &["camera.focal_mm=wide"]).unwrap_err();
        assert!(
            error.starts_with("scene.yaml:2") && error.contains("camera.focal_mm"),
            "{error}"
        );
        assert!("novalue".parse::<Override>().is_err());
        assert!("a..b=1".parse::<Override>().is_err());
    }
}
