//! Settings of YAML keys over lists and ranges: what `admix sweep` runs.

use std::path::{Path, PathBuf};

use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dataset::Split;
use crate::seed::{Generator, SeedKey};
use crate::spec::{Interval, Override, Problems, SpecError};

/// Most points of a grid.
const MAX_POINTS: usize = 10_000;

/// A sweep, as in YAML.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepSpec {
    /// What is run at each point.
    pub run: RunSpec,
    pub axes: Vec<AxisSpec>,
    #[serde(default)]
    pub draw: Draw,
    /// Folder of a trained detector, which is then scored on each point's images.
    pub model: Option<PathBuf>,
}

/// What is run at each point, with the axes' keys set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RunSpec {
    /// A data set is augmented.
    Augment {
        preset: PathBuf,
        input: PathBuf,
        /// Part of the data set; all of it unless it is said.
        split: Option<Split>,
    },
    /// A scene is rendered.
    Generate { scene: PathBuf, images: u64 },
}

/// A key and its values: either a list, or a range.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AxisSpec {
    /// Dotted key of the preset or scene.
    pub key: String,
    pub values: Option<Vec<Value>>,
    pub range: Option<Interval>,
    /// Steps of the logarithm are even.
    #[serde(default)]
    pub log: bool,
    /// Number of values that a grid takes from a range, its ends among them.
    pub count: Option<usize>,
}

/// How points are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Draw {
    /// Every combination of the axes' values.
    #[default]
    Grid,
    /// So many independent draws.
    Random(usize),
    /// So many draws, of which each axis has one in each of as many equal parts (McKay, Beckman
    /// and Conover 1979).
    LatinHypercube(usize),
}

/// One setting of all keys.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// Key and value, in the order of the axes.
    pub settings: Vec<(String, Value)>,
}

impl Point {
    /// # Errors
    /// A key that `--set` would not take.
    pub fn overrides(&self) -> Result<Vec<Override>, SpecError> {
        let settings = self.settings.iter();
        settings
            .map(|(key, value)| Override::of(key, value))
            .collect()
    }
}

/// A checked sweep.
#[derive(Debug, Clone, Serialize)]
pub struct SweepPlan {
    pub run: RunSpec,
    pub model: Option<PathBuf>,
    axes: Vec<Axis>,
    draw: Draw,
}

/// A checked axis.
#[derive(Debug, Clone, Serialize)]
struct Axis {
    key: String,
    values: Values,
}

#[derive(Debug, Clone, Serialize)]
enum Values {
    List(Vec<Value>),
    Range {
        range: Interval,
        log: bool,
        /// For a grid.
        count: usize,
    },
}

impl SweepSpec {
    /// Checks the spec as a whole. `path` names it in errors.
    ///
    /// # Errors
    /// [`SpecError::Problems`] with all that is wrong.
    pub fn into_plan(self, path: &Path) -> Result<SweepPlan, SpecError> {
        let mut problems = Problems::default();
        problems.require(!self.axes.is_empty(), "axes", "there is no axis");
        let mut axes: Vec<Axis> = Vec::new();
        for (index, axis) in self.axes.into_iter().enumerate() {
            let at = |name: &str| format!("axes.{index}.{name}");
            if axes.iter().any(|other| other.key == axis.key) {
                problems.add(&at("key"), format!("{} is swept twice", axis.key));
            }
            if let Err(error) = Override::of(&axis.key, &Value::Null) {
                problems.add(&at("key"), error);
            }
            let values = match (axis.values, axis.range) {
                (Some(values), None) => {
                    problems.require(!values.is_empty(), &at("values"), "there is no value");
                    Values::List(values)
                }
                (None, Some(range)) => {
                    let count = axis.count.unwrap_or(2);
                    let needed = self.draw == Draw::Grid;
                    problems.require(
                        !needed || axis.count.is_some_and(|count| (2..=1000).contains(&count)),
                        &at("count"),
                        "a grid takes 2 to 1000 values from a range; say how many",
                    );
                    problems.require(
                        !axis.log || range.low() > 0.0,
                        &at("range"),
                        "a logarithmic range is above 0",
                    );
                    let log = axis.log;
                    Values::Range { range, log, count }
                }
                _ => {
                    problems.add(&format!("axes.{index}"), "give either values or a range");
                    continue;
                }
            };
            let key = axis.key;
            axes.push(Axis { key, values });
        }
        let count = match self.draw {
            Draw::Grid => axes.iter().map(Axis::len).fold(1, usize::saturating_mul),
            Draw::Random(count) | Draw::LatinHypercube(count) => count,
        };
        problems.require(
            (1..=MAX_POINTS).contains(&count),
            "draw",
            format!("there are {count} points; 1 to {MAX_POINTS} can be run"),
        );
        let plan = SweepPlan {
            run: self.run,
            model: self.model,
            axes,
            draw: self.draw,
        };
        problems.into_result(path, plan)
    }
}

impl Axis {
    /// Number of values in a grid.
    fn len(&self) -> usize {
        match &self.values {
            Values::List(values) => values.len(),
            Values::Range { count, .. } => *count,
        }
    }

    /// The value at a share of the axis, `0..=1`.
    fn at(&self, share: f64) -> Value {
        match &self.values {
            Values::List(values) => {
                let index = (share * values.len() as f64) as usize;
                values[index.min(values.len() - 1)].clone()
            }
            Values::Range { range, log, .. } => {
                let (low, high) = (range.low(), range.high());
                let value = if *log {
                    (low.ln() + share * (high.ln() - low.ln())).exp()
                } else {
                    low + share * (high - low)
                };
                // Both ends are met exactly, and figures stay readable.
                let value = (value.clamp(low, high) * 1e9).round() / 1e9;
                value.into()
            }
        }
    }

    fn of_grid(&self, index: usize) -> Value {
        match &self.values {
            Values::List(values) => values[index].clone(),
            Values::Range { count, .. } => self.at(index as f64 / (count - 1) as f64),
        }
    }
}

impl SweepPlan {
    /// The keys that are swept, in the order of the axes.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.axes.iter().map(|axis| axis.key.as_str())
    }

    /// All points; the last axis of a grid moves fastest.
    pub fn points(&self, seed: u64) -> Vec<Point> {
        let mut generator = SeedKey::new(b"sweep", seed).generator("points", 0);
        let points = match self.draw {
            Draw::Grid => self.grid(),
            Draw::Random(count) => (0..count)
                .map(|_| {
                    let axes = self.axes.iter();
                    axes.map(|axis| axis.at(generator.random())).collect()
                })
                .collect(),
            Draw::LatinHypercube(count) => self.latin_hypercube(count, &mut generator),
        };
        let named = |values: Vec<Value>| Point {
            settings: self.keys().map(str::to_owned).zip(values).collect(),
        };
        points.into_iter().map(named).collect()
    }

    fn grid(&self) -> Vec<Vec<Value>> {
        let mut points = vec![Vec::new()];
        for axis in &self.axes {
            points = points
                .into_iter()
                .flat_map(|point: Vec<Value>| {
                    (0..axis.len()).map(move |index| {
                        let mut point = point.clone();
                        point.push(axis.of_grid(index));
                        point
                    })
                })
                .collect();
        }
        points
    }

    fn latin_hypercube(&self, count: usize, generator: &mut Generator) -> Vec<Vec<Value>> {
        let mut points = vec![Vec::new(); count];
        for axis in &self.axes {
            let mut parts: Vec<usize> = (0..count).collect();
            parts.shuffle(generator);
            for (point, part) in points.iter_mut().zip(parts) {
                let share = (part as f64 + generator.random::<f64>()) / count as f64;
                point.push(axis.at(share));
            }
        }
        points
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;

    fn plan(axes: &str, draw: &str) -> Result<SweepPlan, SpecError> {
        let text =
            format!("run: {{augment: {{preset: p.yaml, input: d}}}}\naxes: {axes}\ndraw: {draw}");
        let path = Path::new("sweep.yaml");
        spec::parse::<SweepSpec>(&text, path, &[])?.into_plan(path)
    }

    const AXES: &str =
        "[{key: a.0, values: [x, y, z]}, {key: b, range: [1, 100], log: true, count: 3}]";

    #[test]
    fn a_grid_holds_every_combination() {
        let points = plan(AXES, "grid").unwrap().points(0);
        assert_eq!(points.len(), 9);
        let values: Vec<(Value, Value)> = points
            .iter()
            .map(|point| (point.settings[0].1.clone(), point.settings[1].1.clone()))
            .collect();
        assert_eq!(values[0], ("x".into(), 1.0.into()));
        assert_eq!(values[1], ("x".into(), 10.0.into()));
        assert_eq!(values[8], ("z".into(), 100.0.into()));
        let overrides = points[1].overrides().unwrap();
        assert_eq!(overrides[1], "b=10.0".parse().unwrap());
    }

    /// Each of 30 parts of the logarithmic range holds one point, each letter ten.
    #[test]
    fn a_latin_hypercube_has_one_point_in_each_part() {
        let points = plan(AXES, "{latin_hypercube: 30}").unwrap().points(4);
        let mut parts: Vec<usize> = points
            .iter()
            .map(|point| {
                let value = point.settings[1].1.as_f64().unwrap();
                (value.ln() / 100_f64.ln() * 30.0) as usize
            })
            .collect();
        parts.sort_unstable();
        assert_eq!(parts, (0..30).collect::<Vec<_>>());
        let letters = points.iter().filter(|point| point.settings[0].1 == "y");
        assert_eq!(letters.count(), 10);
        assert_ne!(
            points,
            plan(AXES, "{latin_hypercube: 30}").unwrap().points(5)
        );
    }

    #[test]
    fn random_points_stay_in_their_range() {
        for point in plan(AXES, "{random: 200}").unwrap().points(1) {
            let value = point.settings[1].1.as_f64().unwrap();
            assert!((1.0..=100.0).contains(&value));
        }
    }

    #[test]
    fn all_problems_are_told() {
        let error = plan(
            "[{key: a}, {key: b, range: [0, 1], log: true}, {key: b, values: []}, {key: 'c..d', values: [1]}]",
            "grid",
        );
        let error = error.unwrap_err().to_string();
        for part in [
            "axes.0: give either values or a range",
            "axes.1.count: a grid takes",
            "axes.1.range: a logarithmic range is above 0",
            "axes.2.key: b is swept twice",
            "axes.2.values: there is no value",
            "axes.3.key",
            "draw: there are 0 points",
        ] {
            assert!(error.contains(part), "{part} is missing in {error}");
        }
    }

    #[test]
    fn the_sweeps_of_presets_are_sound() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (name, count) in [("imagenet_c.yaml", 75), ("sweep_exposure.yaml", 9)] {
            let path = root.join("presets").join(name);
            let sweep: SweepSpec = spec::load(&path, &[]).unwrap();
            let plan = sweep.into_plan(&path).unwrap();
            let points = plan.points(0);
            assert_eq!(points.len(), count, "{name}");
            assert!(points.iter().all(|point| point.overrides().is_ok()));
            let RunSpec::Augment { preset, .. } = &plan.run else {
                panic!("{name} runs a preset");
            };
            assert!(root.join(preset).is_file(), "{name}");
        }
    }
}
