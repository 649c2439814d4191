//! The only reader of YAML, and the value types that specs are written in.
//!
//! A *spec* mirrors a YAML file and may be wrong; a *plan* is made from it, checked
//! as a whole, and cannot be. Spec structs use `#[serde(deny_unknown_fields)]`.
//! Enums are externally tagged and written as one-key maps (`uniform: [0, 1]`).

use std::fmt;
use std::path::{Path, PathBuf};

use rand::RngExt;
use rand_distr::Distribution as _;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_yaml::Value;
use thiserror::Error;

use crate::seed::Generator;

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

/// A closed interval `low..=high`, written `[low, high]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(into = "[f64; 2]")]
pub struct Interval {
    low: f64,
    high: f64,
}

impl From<Interval> for [f64; 2] {
    fn from(interval: Interval) -> Self {
        [interval.low, interval.high]
    }
}

impl Interval {
    /// `None` where a bound is not finite or `low > high`.
    pub fn new(low: f64, high: f64) -> Option<Self> {
        (low.is_finite() && high.is_finite() && low <= high).then_some(Interval { low, high })
    }

    pub fn low(&self) -> f64 {
        self.low
    }

    pub fn high(&self) -> f64 {
        self.high
    }

    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// A uniform draw.
    pub fn sample(&self, generator: &mut Generator) -> f64 {
        self.low + (self.high - self.low) * generator.random::<f64>()
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let [low, high] = <[f64; 2]>::deserialize(deserializer)?;
        Interval::new(low, high).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "[{low}, {high}] is not an interval: write [low, high] with low <= high"
            ))
        })
    }
}

/// A distribution of one real number, as data.
///
/// In YAML it is a plain number (always that value) or a one-key map:
/// `uniform: [low, high]`, `normal: {mean, sd}`,
/// `truncated_normal: {mean, sd, low, high}`, `log_uniform: [low, high]`,
/// `choice: {values: [..], weights: [..]}`, `poisson: {mean}`,
/// `beta: {alpha, beta, low, high}`. A value that exists is a valid distribution:
/// parameters are checked when it is read.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    Constant(f64),
    Uniform(Interval),
    Normal {
        mean: f64,
        sd: f64,
    },
    /// A normal distribution conditioned on `low..=high`.
    TruncatedNormal {
        mean: f64,
        sd: f64,
        low: f64,
        high: f64,
    },
    /// The logarithm is uniform; both bounds are positive.
    LogUniform(Interval),
    Choice {
        values: Vec<f64>,
        weights: Vec<f64>,
    },
    Poisson {
        mean: f64,
    },
    /// A beta distribution stretched from `0..=1` to `low..=high`.
    Beta {
        alpha: f64,
        beta: f64,
        low: f64,
        high: f64,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum TaggedDistribution {
    Uniform(Interval),
    Normal {
        mean: f64,
        sd: f64,
    },
    TruncatedNormal {
        mean: f64,
        sd: f64,
        low: f64,
        high: f64,
    },
    LogUniform(Interval),
    Choice {
        values: Vec<f64>,
        #[serde(default)]
        weights: Vec<f64>,
    },
    Poisson {
        mean: f64,
    },
    Beta {
        alpha: f64,
        beta: f64,
        #[serde(default)]
        low: f64,
        #[serde(default = "one")]
        high: f64,
    },
}

fn one() -> f64 {
    1.0
}

impl Distribution {
    /// The smallest interval that every draw falls into; infinite bounds for
    /// `normal` and `poisson` are given as `f64::INFINITY`.
    pub fn support(&self) -> (f64, f64) {
        match self {
            Distribution::Constant(value) => (*value, *value),
            Distribution::Uniform(interval) | Distribution::LogUniform(interval) => {
                (interval.low, interval.high)
            }
            Distribution::Normal { .. } => (f64::NEG_INFINITY, f64::INFINITY),
            Distribution::TruncatedNormal { low, high, .. }
            | Distribution::Beta { low, high, .. } => (*low, *high),
            Distribution::Choice { values, .. } => values
                .iter()
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                    (low.min(*value), high.max(*value))
                }),
            Distribution::Poisson { .. } => (0.0, f64::INFINITY),
        }
    }

    /// Draws one value.
    pub fn sample(&self, generator: &mut Generator) -> f64 {
        const CHECKED: &str = "the parameters were checked when the distribution was read";
        match self {
            Distribution::Constant(value) => *value,
            Distribution::Uniform(interval) => interval.sample(generator),
            Distribution::Normal { mean, sd } => rand_distr::Normal::new(*mean, *sd)
                .expect(CHECKED)
                .sample(generator),
            Distribution::TruncatedNormal {
                mean,
                sd,
                low,
                high,
            } => sample_truncated_normal(*mean, *sd, *low, *high, generator),
            Distribution::LogUniform(interval) => {
                let log = Interval {
                    low: interval.low.ln(),
                    high: interval.high.ln(),
                };
                log.sample(generator)
                    .exp()
                    .clamp(interval.low, interval.high)
            }
            Distribution::Choice { values, weights } => {
                let total: f64 = weights.iter().sum();
                let mut left = generator.random::<f64>() * total;
                for (value, weight) in values.iter().zip(weights) {
                    if left < *weight {
                        return *value;
                    }
                    left -= weight;
                }
                // Rounding can leave a sliver beyond the last weight.
                values[values.len() - 1]
            }
            Distribution::Poisson { mean } => rand_distr::Poisson::new(*mean)
                .expect(CHECKED)
                .sample(generator),
            Distribution::Beta {
                alpha,
                beta,
                low,
                high,
            } => {
                low + (high - low)
                    * rand_distr::Beta::new(*alpha, *beta)
                        .expect(CHECKED)
                        .sample(generator)
            }
        }
    }

    fn checked(self) -> Result<Self, String> {
        let (low, high) = self.support();
        match &self {
            Distribution::Constant(value) if !value.is_finite() => {
                Err(format!("{value} is not a finite number"))
            }
            Distribution::Normal { mean, sd }
                if !(mean.is_finite() && sd.is_finite() && *sd >= 0.0) =>
            {
                Err("normal needs a finite mean and sd >= 0".into())
            }
            Distribution::TruncatedNormal { mean, sd, .. }
                if !(mean.is_finite()
                    && sd.is_finite()
                    && *sd > 0.0
                    && low < high
                    && low.is_finite()
                    && high.is_finite()) =>
            {
                Err("truncated_normal needs a finite mean, sd > 0 and low < high".into())
            }
            Distribution::LogUniform(_) if low <= 0.0 => {
                Err("log_uniform needs positive bounds".into())
            }
            Distribution::Choice { values, weights }
                if values.is_empty() || weights.len() != values.len() =>
            {
                Err("choice needs at least one value, and either no weights or one a value".into())
            }
            Distribution::Choice { values, weights }
                if values.iter().any(|v| !v.is_finite())
                    || weights.iter().any(|w| !w.is_finite() || *w < 0.0)
                    || weights.iter().sum::<f64>() <= 0.0 =>
            {
                Err("choice needs finite values and weights >= 0 that are not all zero".into())
            }
            Distribution::Poisson { mean }
                if !(mean.is_finite() && *mean > 0.0 && *mean <= 1e6) =>
            {
                Err("poisson needs a mean in (0, 1e6]".into())
            }
            Distribution::Beta { alpha, beta, .. }
                if !(*alpha > 0.0
                    && *beta > 0.0
                    && alpha.is_finite()
                    && beta.is_finite()
                    && low <= high
                    && low.is_finite()
                    && high.is_finite()) =>
            {
                Err("beta needs alpha > 0, beta > 0 and low <= high".into())
            }
            _ => Ok(self),
        }
    }
}

/// Rejection from the normal for a support that is likely, inversion of the uniform
/// proposal for one that is not (Robert 1995, "Simulation of truncated normal
/// variables", section 2, the two-sided case with a uniform proposal).
fn sample_truncated_normal(
    mean: f64,
    sd: f64,
    low: f64,
    high: f64,
    generator: &mut Generator,
) -> f64 {
    let (a, b) = ((low - mean) / sd, (high - mean) / sd);
    let nearest_to_mean = 0.0_f64.clamp(a, b);
    let wide = b - a > 1.0 && a < 0.5 && b > -0.5;
    loop {
        let z = if wide {
            let z: f64 = rand_distr::StandardNormal.sample(generator);
            if !(a..=b).contains(&z) {
                continue;
            }
            z
        } else {
            let z = a + (b - a) * generator.random::<f64>();
            if generator.random::<f64>() > ((nearest_to_mean * nearest_to_mean - z * z) / 2.0).exp()
            {
                continue;
            }
            z
        };
        return (mean + sd * z).clamp(low, high);
    }
}

impl<'de> Deserialize<'de> for Distribution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrMap;

        impl<'de> Visitor<'de> for NumberOrMap {
            type Value = Distribution;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number, or one of uniform, normal, truncated_normal, log_uniform, choice, poisson, beta with its parameters")
            }

            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Distribution, E> {
                Distribution::Constant(value).checked().map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Distribution, E> {
                Ok(Distribution::Constant(value as f64))
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Distribution, E> {
                Ok(Distribution::Constant(value as f64))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, _items: A) -> Result<Distribution, A::Error> {
                Err(serde::de::Error::custom(
                    "a list is not a distribution: write `uniform: [low, high]` for a range, or `choice: {values: [..]}`",
                ))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Distribution, A::Error> {
                let tagged = TaggedDistribution::deserialize(
                    serde::de::value::MapAccessDeserializer::new(map),
                )?;
                Distribution::from(tagged)
                    .checked()
                    .map_err(serde::de::Error::custom)
            }
        }

        deserializer.deserialize_any(NumberOrMap)
    }
}

impl From<TaggedDistribution> for Distribution {
    fn from(tagged: TaggedDistribution) -> Self {
        match tagged {
            TaggedDistribution::Uniform(interval) => Distribution::Uniform(interval),
            TaggedDistribution::Normal { mean, sd } => Distribution::Normal { mean, sd },
            TaggedDistribution::TruncatedNormal {
                mean,
                sd,
                low,
                high,
            } => Distribution::TruncatedNormal {
                mean,
                sd,
                low,
                high,
            },
            TaggedDistribution::LogUniform(interval) => Distribution::LogUniform(interval),
            TaggedDistribution::Choice { values, weights } if weights.is_empty() => {
                let weights = vec![1.0; values.len()];
                Distribution::Choice { values, weights }
            }
            TaggedDistribution::Choice { values, weights } => {
                Distribution::Choice { values, weights }
            }
            TaggedDistribution::Poisson { mean } => Distribution::Poisson { mean },
            TaggedDistribution::Beta {
                alpha,
                beta,
                low,
                high,
            } => Distribution::Beta {
                alpha,
                beta,
                low,
                high,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::SeedKey;

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

    #[test]
    fn draws_stay_in_the_support_and_have_the_stated_mean() {
        let uniform = Interval::new(-2.0, 4.0).unwrap();
        let cases = [
            (Distribution::Uniform(uniform), 1.0),
            (Distribution::Normal { mean: 3.0, sd: 2.0 }, 3.0),
            (
                Distribution::TruncatedNormal {
                    mean: 0.0,
                    sd: 1.0,
                    low: -1.0,
                    high: 1.0,
                },
                0.0,
            ),
            // Mean of a standard normal above 2, below 8: phi(2) / (1 - Phi(2)) = 2.3732.
            (
                Distribution::TruncatedNormal {
                    mean: 0.0,
                    sd: 1.0,
                    low: 2.0,
                    high: 8.0,
                },
                2.3732,
            ),
            (
                Distribution::LogUniform(Interval::new(1.0, std::f64::consts::E).unwrap()),
                std::f64::consts::E - 1.0,
            ),
            (
                Distribution::Choice {
                    values: vec![1.0, 5.0],
                    weights: vec![3.0, 1.0],
                },
                2.0,
            ),
            (Distribution::Poisson { mean: 4.0 }, 4.0),
            (
                Distribution::Beta {
                    alpha: 2.0,
                    beta: 6.0,
                    low: 0.0,
                    high: 4.0,
                },
                1.0,
            ),
        ];
        for (index, (distribution, mean)) in cases.into_iter().enumerate() {
            let mut generator = SeedKey::new(b"test", 1).generator("draw", index as u64);
            let (low, high) = distribution.support();
            let n = 20_000;
            let draws: Vec<f64> = (0..n)
                .map(|_| distribution.sample(&mut generator))
                .collect();
            assert!(
                draws.iter().all(|draw| (low..=high).contains(draw)),
                "{distribution:?}"
            );
            let average = draws.iter().sum::<f64>() / n as f64;
            assert!(
                (average - mean).abs() < 0.06,
                "{distribution:?}: mean {average}, expected {mean}"
            );
        }
    }
}
