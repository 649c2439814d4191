//! The only reader of YAML, and the value types that specs are written in.
//!
//! A *spec* mirrors a YAML file and may be wrong; a *plan* is made from it, checked
//! as a whole, and cannot be. Spec structs use `#[serde(deny_unknown_fields)]`.
//! Enums are externally tagged and written as one-key maps (`uniform: [0, 1]`).

mod distribution;
mod suggestion;

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
    #[error("--set {text}: {reason}")]
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

    pub fn len(&self) -> usize {
        self.0.len()
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

const USAGE: &str = "write --set dotted.key=value, for example --set seed=3";

impl std::str::FromStr for Override {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let fail = |reason: String| SpecError::Override {
            text: text.to_owned(),
            reason,
        };
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| fail(format!("there is no `=`; {USAGE}")))?;
        let keys: Vec<String> = key.split('.').map(|part| part.trim().to_owned()).collect();
        if keys.iter().any(String::is_empty) {
            return Err(fail(format!("a part of the key is empty; {USAGE}")));
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
    /// Sets the value at a dotted key.
    ///
    /// # Errors
    /// An empty part of the key.
    pub fn of(key: &str, value: &serde_json::Value) -> Result<Self, SpecError> {
        // JSON is YAML.
        format!("{key}={value}").parse()
    }

    /// Whether it set the value at a key's path, one around it or one within it.
    fn touches(&self, key: &str) -> bool {
        let parts = parts_of_key(key);
        let shared = parts.len().min(self.keys.len());
        shared > 0 && parts.iter().zip(&self.keys).all(|(a, b)| a == b)
    }

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
    let of_text = || match serde_yaml::from_str(text) {
        Ok(value) => match not_finite(&value, "") {
            Some(fault) => Err(fault.placed_by_key(text)),
            // Unlike the value, the text still has positions.
            None => read_value::<T, _>(serde_yaml::Deserializer::from_str(text)),
        },
        Err(error) => Err(Fault::new(String::new(), &error)),
    };
    if overrides.is_empty() {
        return of_text().map_err(|fault| fault.into_error(path));
    }
    let mut value: Value = serde_yaml::from_str(text)
        .map_err(|error| Fault::new(String::new(), &error).into_error(path))?;
    for item in overrides {
        item.apply(&mut value)?;
    }
    read_finite(value).map_err(|fault: Fault| {
        // The file's own fault has a position, which a value with overrides has lost.
        if let Err(own) = of_text()
            && (&own.key, &own.message) == (&fault.key, &fault.message)
        {
            return own.into_error(path);
        }
        match overrides.iter().rev().find(|item| item.touches(&fault.key)) {
            Some(item) => SpecError::Override {
                text: item.text.clone(),
                reason: with_key(&fault.key, &fault.message),
            },
            None => fault.placed_by_key(text).into_error(path),
        }
    })
}

/// Reads a spec from a value that is already in memory, such as one inside another spec.
pub fn from_value<T: DeserializeOwned>(value: Value, path: &Path) -> Result<T, SpecError> {
    read_finite(value).map_err(|fault| fault.into_error(path))
}

/// Lets serde_yaml read enums as one-key maps everywhere below.
struct Root<T>(T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Root<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_yaml::with::singleton_map_recursive::deserialize(deserializer)
            .map(|Erased(value)| Root(value))
    }
}

/// Reads through one type of deserializer, so that the code which reads a spec exists once and
/// not for each layer of deserializers over text and over values.
struct Erased<T>(T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Erased<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut erased = <dyn erased_serde::Deserializer>::erase(deserializer);
        erased_serde::deserialize(&mut erased)
            .map(Erased)
            .map_err(serde::de::Error::custom)
    }
}

fn read_value<'de, T, D>(deserializer: D) -> Result<T, Fault>
where
    T: DeserializeOwned,
    D: Deserializer<'de, Error = serde_yaml::Error>,
{
    serde_path_to_error::deserialize::<D, Root<T>>(deserializer)
        .map(|root| root.0)
        .map_err(|error| Fault::new(error.path().to_string(), error.inner()))
}

/// No spec has a use for larger numbers. Their squares are still finite in 32 bits.
const MAX_NUMBER: f64 = 1e19;

/// Reads a value whose numbers are all ones to reckon with: what is drawn with others would
/// only be seen to be wrong much later.
fn read_finite<T: DeserializeOwned>(value: Value) -> Result<T, Fault> {
    match not_finite(&value, "") {
        Some(fault) => Err(fault),
        None => read_value(value),
    }
}

/// The first number within the value at `key` that is not finite, or beyond [`MAX_NUMBER`].
fn not_finite(value: &Value, key: &str) -> Option<Fault> {
    let fault = |message| {
        Some(Fault {
            key: key.to_owned(),
            message,
            position: None,
        })
    };
    match value {
        // Seeds are whole and may be larger.
        Value::Number(number) if number.is_f64() => match number.as_f64()? {
            x if !x.is_finite() => fault(format!("{number} is not a finite number")),
            x if x.abs() > MAX_NUMBER => fault(format!(
                "{number} is not within -{MAX_NUMBER:e}..={MAX_NUMBER:e}"
            )),
            _ => None,
        },
        Value::Sequence(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| not_finite(item, &format!("{key}[{index}]"))),
        Value::Mapping(map) => map.iter().find_map(|(name, inner)| {
            let name = name.as_str().unwrap_or("?");
            let dot = if key.is_empty() { "" } else { "." };
            not_finite(inner, &format!("{key}{dot}{name}"))
        }),
        Value::Tagged(tagged) => not_finite(&tagged.value, key),
        _ => None,
    }
}

/// A message of serde_yaml without the place at its end, and that line and column.
fn without_place(message: &str) -> Option<(&str, (usize, usize))> {
    let (rest, place) = message.rsplit_once(" at line ")?;
    let (line, column) = place.split_once(" column ")?;
    Some((rest, (line.parse().ok()?, column.parse().ok()?)))
}

/// What does not fit in a YAML value, and where.
struct Fault {
    /// Path of the key, such as `objects[0].paints`; empty or `.` at the root.
    key: String,
    message: String,
    /// Line and column, from 1.
    position: Option<(usize, usize)>,
}

impl Fault {
    fn new(key: String, error: &serde_yaml::Error) -> Self {
        let mut position = error.location().map(|at| (at.line(), at.column()));
        let mut message = error.to_string();
        if let Some((line, column)) = position {
            // serde_yaml repeats the place of what is no YAML in its message; once is enough.
            message = message.replace(&format!(" at line {line} column {column}"), "");
        } else {
            // Each map around a wrong value adds its place at the end; the first is the value's.
            while let Some((rest, place)) = without_place(&message) {
                position = Some(place);
                message = rest.to_owned();
            }
        }
        // It also adds its path at the beginning.
        while let Some((around, rest)) = message.split_once(": ")
            && !around.is_empty()
            && parts_of_key(&key).starts_with(&parts_of_key(around))
        {
            message = rest.to_owned();
        }
        Fault {
            message: suggestion::with_nearest_name(&message),
            key,
            position,
        }
    }

    /// The same with the position at which the key stands in `text`, by its name: good
    /// enough to point a reader at the place where the parser's own is lost.
    fn placed_by_key(mut self, text: &str) -> Self {
        let mut from = 0;
        for part in parts_of_key(&self.key) {
            // A list's items have no name to look for.
            if part.parse::<usize>().is_ok() {
                continue;
            }
            let found = text
                .lines()
                .enumerate()
                .skip(from)
                .find_map(|(line, content)| {
                    let name = content.trim_start_matches([' ', '-']);
                    name.starts_with(&format!("{part}:"))
                        .then_some((line, content.len() - name.len()))
                });
            let Some((line, column)) = found else {
                break;
            };
            self.position = Some((line + 1, column + 1));
            from = line + 1;
        }
        self
    }

    fn into_error(self, path: &Path) -> SpecError {
        let place = match self.position {
            Some((line, column)) => format!("{}:{line}:{column}", path.display()),
            None => path.display().to_string(),
        };
        SpecError::Invalid {
            location: place,
            message: with_key(&self.key, &self.message),
        }
    }
}

fn with_key(key: &str, message: &str) -> String {
    if key.is_empty() || key == "." {
        message.to_owned()
    } else {
        format!("{key}: {message}")
    }
}

/// `objects[0].paints` as `objects`, `0`, `paints`.
fn parts_of_key(key: &str) -> Vec<&str> {
    key.split(['.', '[', ']'])
        .filter(|part| !part.is_empty())
        .collect()
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
    fn numbers_that_are_not_finite_are_refused_by_their_key() {
        for (text, sets, start) in [
            (
                "count: 3\ncamera:\n  focal_mm: .nan\n",
                &[][..],
                "scene.yaml:3:3: camera.focal_mm: .nan is",
            ),
            (
                "camera:\n  shape: {sphere: {radius: -.inf}}\n  focal_mm: 35\n",
                &["count=2"],
                "scene.yaml:2:3: camera.shape.sphere.radius: -.inf is",
            ),
            (
                "camera: {focal_mm: {uniform: [3, .INF]}}\n",
                &[],
                "scene.yaml:1:1: camera.focal_mm.uniform[1]: .inf is",
            ),
            (
                "camera: {focal_mm: 3}\n",
                &["camera.focal_mm=.NaN"],
                "--set camera.focal_mm=.NaN: camera.focal_mm: .nan is",
            ),
        ] {
            let error = read(text, sets).unwrap_err();
            assert!(error.starts_with(start), "{error}");
            assert!(error.ends_with(" not a finite number"), "{error}");
        }
        let value: Value = serde_yaml::from_str("{mean: [.nan]}").unwrap();
        let error = from_value::<Distribution>(value, Path::new("a.yaml")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a.yaml: mean[0]: .nan is not a finite number"
        );
        let error = read("camera: {focal_mm: -1e39}", &[]).unwrap_err();
        assert!(error.contains("camera.focal_mm: "), "{error}");
        assert!(error.ends_with("not within -1e19..=1e19"), "{error}");
        assert!(
            read(
                "camera: {focal_mm: -1e19}\ncount: 18446744073709551615",
                &[]
            )
            .is_ok()
        );
    }

    #[test]
    fn overrides_reach_into_maps_and_are_named_where_they_do_not_fit() {
        let text = "camera:\n  focal_mm: 35\n";
        assert_eq!(
            read(text, &["camera.focal_mm=50"]).unwrap().camera.focal_mm,
            Distribution::Constant(50.0)
        );
        assert_eq!(
            read(text, &["count={poisson: {mean: 3}}"]).unwrap().count,
            Some(Distribution::Poisson { mean: 3.0 })
        );
        for (set, parts) in [
            ("camera.focal_mm=wide", ["camera.focal_mm: ", "a number"]),
            (
                "camera.focal=50",
                ["camera.focal: ", "did you mean `focal_mm`?"],
            ),
            ("camra.focal_mm=50", ["camra: ", "did you mean `camera`?"]),
            ("camera={focal: 50}", ["camera.focal: ", "`focal_mm`?"]),
        ] {
            let error = read(text, &[set]).unwrap_err();
            assert!(error.starts_with(&format!("--set {set}: ")), "{error}");
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
        assert!("novalue".parse::<Override>().is_err());
        assert!("a..b=1".parse::<Override>().is_err());
    }

    #[test]
    fn a_fault_of_the_file_keeps_its_place_beside_overrides() {
        let text = "count: 3\ncamera:\n  focal_mm: 35\n  shap: quad\n";
        for overrides in [&[][..], &["camera.focal_mm=50"], &["count=2"]] {
            let error = read(text, overrides).unwrap_err();
            assert!(
                error.starts_with("scene.yaml:4:3: camera.shap: "),
                "{error}"
            );
            assert!(error.ends_with("did you mean `shape`?"), "{error}");
        }
        // The override mends the first fault and the second is told with its line.
        let text = "count: many\ncamera:\n  focal_mm: 35\n  shap: quad\n";
        let error = read(text, &["count=2"]).unwrap_err();
        assert!(
            error.starts_with("scene.yaml:4:3: camera.shap: "),
            "{error}"
        );
    }
}
