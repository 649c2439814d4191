//! The policy: what may be drawn, with which probability.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use rand::RngExt;
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::catalogue::{Stage, TransformSpec};
use super::library::Donors;
use super::{Library, Transform};
use crate::seed::SeedKey;
use crate::spec::{self, Override, Problems, SpecError};

/// A preset, as in YAML. Steps are put into the order of light: see [`Stage`].
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "A preset of admix augment")]
pub struct AugmentSpec {
    pub steps: Vec<StepSpec>,
    /// Doses, from the least to the most: keys of this file, such as
    /// `steps.0.transform.exposure.ev`, with a value for each severity. They are set by
    /// `--severity`, and shown by `admix preview`.
    #[serde(default)]
    pub ladder: BTreeMap<String, Vec<f64>>,
}

/// The JSON Schema of presets.
pub fn preset_schema() -> serde_json::Value {
    schemars::schema_for!(AugmentSpec).to_value()
}

/// One transform, or several of which something is done, and the probability of it. Just one
/// of `transform`, `one_of`, `in_order` and `shuffled` is given.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepSpec {
    /// Probability that an image gets the step, 0..1; 1 unless it is said.
    pub probability: Option<f64>,
    /// How often it is chosen within `one_of`, relative to the others; 1 unless it is said.
    pub weight: Option<f64>,
    pub transform: Option<TransformSpec>,
    /// Steps of which one is chosen.
    pub one_of: Option<Vec<StepSpec>>,
    /// Steps that are done as they are written, in the place of the first.
    pub in_order: Option<Vec<StepSpec>>,
    /// Steps that are done in an order drawn for each image, in the place of the first.
    pub shuffled: Option<Vec<StepSpec>>,
}

/// A transform that was drawn, with all that it depends on: what is stored and replayed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drawn {
    pub transform: Transform,
    /// What random values of single pixels or places follow from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// Other pictures that it takes from: file names of the data set, or paths of references.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    donors: Vec<String>,
}

impl From<Transform> for Drawn {
    fn from(transform: Transform) -> Self {
        Drawn {
            transform,
            seed: None,
            donors: Vec::new(),
        }
    }
}

impl Drawn {
    /// The same with another seed.
    pub fn with_seed(self, seed: u64) -> Self {
        let seed = Some(seed);
        Drawn { seed, ..self }
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed.unwrap_or_default()
    }

    pub(super) fn donors(&self) -> &[String] {
        &self.donors
    }
}

/// A checked step.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    pub probability: f64,
    #[serde(skip_serializing_if = "is_one")]
    weight: f64,
    /// Which step of its kind it is, in the order of the file.
    #[serde(skip)]
    number: u64,
    #[serde(flatten)]
    pub action: Action,
}

fn is_one(weight: &f64) -> bool {
    *weight == 1.0
}

/// What a step does.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Transform(Box<TransformSpec>),
    OneOf(Vec<Step>),
    InOrder(Vec<Step>),
    Shuffled(Vec<Step>),
}

impl Action {
    /// Place in the order of light; a group stands where its first step would.
    fn stage(&self) -> Stage {
        match self {
            Action::Transform(transform) => transform.stage(),
            Action::OneOf(steps) | Action::InOrder(steps) | Action::Shuffled(steps) => steps
                .first()
                .map_or(Stage::Composition, |step| step.action.stage()),
        }
    }

    /// The name that draws are keyed by.
    fn name(&self) -> &'static str {
        match self {
            Action::Transform(transform) => transform.name(),
            Action::OneOf(_) => "one_of",
            Action::InOrder(_) => "in_order",
            Action::Shuffled(_) => "shuffled",
        }
    }
}

/// A checked policy, with its steps in the order in which they are applied.
#[derive(Debug, Clone, Serialize)]
pub struct AugmentPlan {
    steps: Vec<Step>,
}

impl AugmentSpec {
    /// Reads a preset, at a severity of its ladder, from 1, where one is given.
    ///
    /// # Errors
    /// What [`spec::load`] tells, and a severity that the ladder does not have.
    pub fn load(
        path: &Path,
        overrides: &[Override],
        severity: Option<usize>,
    ) -> Result<Self, SpecError> {
        let preset: Self = spec::load(path, overrides)?;
        let Some(severity) = severity else {
            return Ok(preset);
        };
        let doses = preset.severities();
        let invalid = |message: String| SpecError::Invalid {
            location: path.display().to_string(),
            message,
        };
        if doses == 0 {
            let message =
                "there is no ladder of severities in it; leave --severity out, or add one";
            return Err(invalid(message.to_owned()));
        }
        if !(1..=doses).contains(&severity) {
            let message = format!("severity {severity} is not in 1..={doses}, its ladder");
            return Err(invalid(message));
        }
        let mut all = overrides.to_vec();
        for (key, doses) in &preset.ladder {
            let dose = doses.get(severity - 1).copied();
            let dose = dose.ok_or_else(|| invalid(format!("ladder.{key} is too short")))?;
            all.push(Override::of(key, &dose.into())?);
        }
        spec::load(path, &all)
    }

    /// How many severities the ladder has.
    pub fn severities(&self) -> usize {
        self.ladder.values().map(Vec::len).max().unwrap_or(0)
    }

    /// Checks the spec as a whole. `path` names it in errors.
    ///
    /// # Errors
    /// [`SpecError::Problems`] with all that is wrong.
    pub fn into_plan(self, path: &Path) -> Result<AugmentPlan, SpecError> {
        let mut check = Check::default();
        let mut steps = check.steps(self.steps, "steps");
        let mut lengths = self.ladder.iter().map(|(key, doses)| (key, doses.len()));
        if let Some((first, count)) = lengths.next() {
            let problems = &mut check.problems;
            let key = format!("ladder.{first}");
            problems.require(count > 0, &key, "there is no dose");
            for (key, other) in lengths {
                problems.require(
                    other == count,
                    &format!("ladder.{key}"),
                    format!("there are {other} doses, and {count} of {first}"),
                );
            }
        }
        steps.sort_by_key(|step| step.action.stage());
        check.problems.into_result(path, AugmentPlan { steps })
    }
}

/// What is gathered while a spec is checked.
#[derive(Default)]
struct Check {
    problems: Problems,
    /// How many steps of each kind there were so far.
    met: BTreeMap<&'static str, u64>,
}

impl Check {
    fn steps(&mut self, specs: Vec<StepSpec>, key: &str) -> Vec<Step> {
        self.problems
            .require(!specs.is_empty(), key, "there is no step");
        let specs = specs.into_iter().enumerate();
        specs
            .filter_map(|(index, spec)| self.step(spec, &format!("{key}.{index}")))
            .collect()
    }

    fn step(&mut self, spec: StepSpec, key: &str) -> Option<Step> {
        let probability = spec.probability.unwrap_or(1.0);
        self.problems.require(
            (0.0..=1.0).contains(&probability),
            &format!("{key}.probability"),
            format!("{probability} is not in 0..=1"),
        );
        let weight = spec.weight.unwrap_or(1.0);
        self.problems.require(
            weight.is_finite() && weight > 0.0,
            &format!("{key}.weight"),
            format!("{weight} is not above 0"),
        );
        let action = match (spec.transform, spec.one_of, spec.in_order, spec.shuffled) {
            (Some(transform), None, None, None) => {
                Action::Transform(Box::new(self.transform(transform, key)))
            }
            (None, Some(steps), None, None) => {
                Action::OneOf(self.steps(steps, &format!("{key}.one_of")))
            }
            (None, None, Some(steps), None) => {
                Action::InOrder(self.steps(steps, &format!("{key}.in_order")))
            }
            (None, None, None, Some(steps)) => {
                Action::Shuffled(self.steps(steps, &format!("{key}.shuffled")))
            }
            _ => {
                self.problems.add(
                    key,
                    "give just one of transform, one_of, in_order and shuffled",
                );
                return None;
            }
        };
        let met = self.met.entry(action.name()).or_default();
        let number = *met;
        *met += 1;
        Some(Step {
            probability,
            weight,
            number,
            action,
        })
    }

    fn transform(&mut self, mut transform: TransformSpec, key: &str) -> TransformSpec {
        transform.complete();
        let name = transform.name();
        for (parameter, distribution, bounds) in transform.limits() {
            let (from, to) = distribution.support();
            let (low, high) = (bounds.low, bounds.high);
            self.problems.require(
                from >= low && to <= high,
                &format!("{key}.transform.{name}.{parameter}"),
                if from == to {
                    format!("{from} is not in {low}..={high}")
                } else {
                    format!("draws from {from}..={to}, but must stay in {low}..={high}")
                },
            );
        }
        if Donors::reference(&transform).is_some_and(|path| path.as_os_str().is_empty()) {
            self.problems.add(
                &format!("{key}.transform.{name}.reference"),
                "name a data set or a folder of pictures to be like",
            );
        }
        transform
    }
}

impl AugmentPlan {
    /// The steps in the order in which they are applied.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Every transform that may be drawn.
    pub(super) fn transforms(&self) -> Vec<&TransformSpec> {
        fn gather<'a>(steps: &'a [Step], found: &mut Vec<&'a TransformSpec>) {
            for step in steps {
                match &step.action {
                    Action::Transform(transform) => found.push(transform),
                    Action::OneOf(steps) | Action::InOrder(steps) | Action::Shuffled(steps) => {
                        gather(steps, found);
                    }
                }
            }
        }
        let mut found = Vec::new();
        gather(&self.steps, &mut found);
        found
    }

    /// The transforms of the image called `name`, in the order in which they are
    /// applied. Other pictures that they need are chosen from `library`.
    ///
    /// What a step draws depends on the seed, the name and which step of its kind it is:
    /// not on the other images, nor on the other steps. A preset that differs in one
    /// step thus leaves the draws of the others as they are.
    pub fn draw(&self, seed: u64, name: &str, library: &Library) -> Vec<Drawn> {
        let drawing = Drawing {
            key: SeedKey::new(b"augment", seed).child(name, 0),
            name,
            library,
        };
        let mut blocks = Vec::new();
        for step in &self.steps {
            drawing.step(step, &mut blocks);
        }
        blocks.sort_by_key(|block| block.stage);
        blocks.into_iter().flat_map(|block| block.steps).collect()
    }
}

/// Steps that stay together, at one place in the order of light.
struct Block {
    stage: Stage,
    steps: Vec<Drawn>,
}

/// What the draws for one image have in common.
struct Drawing<'a> {
    key: SeedKey,
    name: &'a str,
    library: &'a Library<'a>,
}

impl Drawing<'_> {
    fn step(&self, step: &Step, blocks: &mut Vec<Block>) {
        let mut generator = self.key.generator(step.action.name(), step.number);
        if generator.random::<f64>() >= step.probability {
            return;
        }
        match &step.action {
            Action::Transform(spec) => {
                let mut drawn = Drawn::from(spec.draw(&mut generator));
                if spec.is_seeded() {
                    drawn.seed = Some(generator.random());
                }
                drawn.donors = Donors::of(spec, &drawn.transform).choose(
                    self.library,
                    self.name,
                    &mut generator,
                );
                blocks.push(Block {
                    stage: spec.stage(),
                    steps: vec![drawn],
                });
            }
            Action::OneOf(steps) => {
                let total: f64 = steps.iter().map(|step| step.weight).sum();
                let mut left = generator.random::<f64>() * total;
                let chosen = steps.iter().find(|step| {
                    left -= step.weight;
                    left < 0.0
                });
                // Rounding can leave a sliver beyond the last weight.
                if let Some(chosen) = chosen.or(steps.last()) {
                    self.step(chosen, blocks);
                }
            }
            Action::InOrder(steps) => self.group(step.action.stage(), steps.iter(), blocks),
            Action::Shuffled(steps) => {
                let mut order: Vec<&Step> = steps.iter().collect();
                order.shuffle(&mut generator);
                self.group(step.action.stage(), order.into_iter(), blocks);
            }
        }
    }

    fn group<'s>(
        &self,
        stage: Stage,
        steps: impl Iterator<Item = &'s Step>,
        blocks: &mut Vec<Block>,
    ) {
        let mut within = Vec::new();
        for step in steps {
            self.step(step, &mut within);
        }
        let steps = within.into_iter().flat_map(|block| block.steps).collect();
        blocks.push(Block { stage, steps });
    }
}
