//! From `experiment.yaml` to the list of trials.

mod arms;
mod factors;
mod rates;
#[cfg(test)]
pub(super) mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::exchange_rate::Prices;
use super::halving::Halving;
use super::regime::{AugmentationSettings, RegimeSettings};
use super::trial::{Condition, Regime, Trial};
use crate::detector::{TrainPlan, TrainSpec};
use crate::seed::PlanHash;
use crate::spec::{Override, Problems, SpecError};

use arms::largest_need;
pub use arms::{
    AdditionSpec, Arm, ArmKind, ArmsSpec, AugmentationSpec, AuxiliarySpec, CurriculumSpec,
    LearningCurveSpec, Level, PretrainingSpec, SubstitutionSpec,
};
pub use factors::{Cell, Crossing, Factor, FactorSpec, LevelSpec, TreatmentSpec};
pub use rates::{OtherRate, RateCheck, RateCheckSpec};

/// Seeds of an experiment that names none: fewer allow no claim.
const DEFAULT_SEEDS: u64 = 5;

/// Most seeds that a plan may ask for; more is a slip of the pen.
const MAX_SEEDS: u64 = 1_000;

/// Mirrors `experiment.yaml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentSpec {
    /// Folder of the real data set, with a train and a test split.
    pub real: PathBuf,
    /// Joins all classes of both sources under this name.
    #[serde(default)]
    pub class_agnostic: Option<String>,
    pub synthetic: SyntheticSource,
    /// Further sources by name, each with the same arms, compared with `synthetic`.
    #[serde(default)]
    pub other_synthetic: BTreeMap<String, SyntheticSource>,
    /// Synthetic images that no trial trains on, on which each detector is tested too.
    #[serde(default = "default_synthetic_test")]
    pub synthetic_test: usize,
    pub arms: ArmsSpec,
    /// What else is tried in several ways, at every ratio.
    #[serde(default)]
    pub factors: Vec<FactorSpec>,
    /// How many combinations of the factors' levels are tried; all where left out.
    #[serde(default)]
    pub cells: Option<usize>,
    /// Drops combinations that score low with few seeds.
    #[serde(default)]
    pub halving: Option<Halving>,
    #[serde(default)]
    pub seeds: Seeds,
    /// Whether an arm wins or loses by its learning rate.
    #[serde(default)]
    pub rate_check: Option<RateCheckSpec>,
    pub train: TrainSource,
    /// What images cost, for what synthetic ones save.
    #[serde(default)]
    pub prices: Option<Prices>,
    /// Smallest AP difference that matters to the user, in `0..=1`.
    #[serde(default = "default_smallest_effect")]
    pub smallest_effect: f64,
}

fn default_synthetic_test() -> usize {
    50
}

fn default_smallest_effect() -> f64 {
    0.01
}

/// Where synthetic images come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyntheticSource {
    /// A labelled folder.
    Dataset(PathBuf),
    /// A scene that is rendered first.
    Scene(SceneSource),
}

/// A scene to be rendered into a pool of images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SceneSource {
    pub file: PathBuf,
    /// How many images to render; as many as the largest trial needs where left out.
    #[serde(default)]
    pub images: Option<usize>,
    /// Values of the scene's keys, each as `key=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
}

impl SceneSource {
    /// The values of the scene's keys.
    ///
    /// # Errors
    /// What is wrong with the first that is not of the form `key=value`.
    pub fn overrides(&self) -> Result<Vec<Override>, String> {
        let parsed = self.set.iter().map(|text| text.parse::<Override>());
        parsed
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())
    }
}

/// Settings of the trainings, which are the same in every trial.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainSource {
    /// A file as `admix train` takes it.
    File(PathBuf),
    /// The same keys, written in place.
    Settings(Box<TrainSpec>),
}

impl TrainSource {
    /// The checked settings. Data and class names are the experiment's to say, so that
    /// those of the file are left aside. `path` names the experiment's file in errors.
    fn into_plan(self, path: &Path) -> Result<TrainPlan, SpecError> {
        let (mut spec, path) = match self {
            TrainSource::File(file) => (crate::spec::load(&file, &[])?, file),
            TrainSource::Settings(spec) => (*spec, path.to_owned()),
        };
        spec.class_agnostic = None;
        spec.into_plan(&path)
    }
}

/// A number of seeds, or the seeds themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seeds {
    Count(u64),
    List(Vec<u64>),
}

impl Default for Seeds {
    fn default() -> Self {
        Seeds::Count(DEFAULT_SEEDS)
    }
}

impl<'de> Deserialize<'de> for Seeds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SeedsVisitor;
        impl<'de> Visitor<'de> for SeedsVisitor {
            type Value = Seeds;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number of seeds, such as 5, or a list, such as [1, 2, 3, 4, 5]")
            }
            fn visit_u64<E>(self, count: u64) -> Result<Seeds, E> {
                Ok(Seeds::Count(count))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Seeds, A::Error> {
                let mut seeds = Vec::new();
                while let Some(seed) = seq.next_element()? {
                    seeds.push(seed);
                }
                Ok(Seeds::List(seeds))
            }
        }
        deserializer.deserialize_any(SeedsVisitor)
    }
}

fn is_zero(value: &usize) -> bool {
    *value == 0
}

/// A checked experiment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExperimentPlan {
    pub real: PathBuf,
    pub class_agnostic: Option<String>,
    pub synthetic: SyntheticSource,
    /// Further sources of synthetic images, with their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_synthetic: Vec<(String, SyntheticSource)>,
    /// Most synthetic images that are held out of training to test on.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub synthetic_test: usize,
    pub arms: Vec<Arm>,
    #[serde(default, skip_serializing_if = "Crossing::is_empty")]
    pub crossing: Crossing,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halving: Option<Halving>,
    /// Rising numbers of real images that detectors are trained on alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub learning_curve: Vec<usize>,
    /// In the order in which they are run; unique.
    pub seeds: Vec<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_check: Option<RateCheck>,
    pub train: TrainPlan,
    /// Settings of the arms that use their images in another way than mixing them.
    #[serde(default, skip_serializing_if = "RegimeSettings::is_empty")]
    pub regimes: RegimeSettings,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prices: Option<Prices>,
    pub smallest_effect: f64,
}

impl ExperimentSpec {
    /// Checks the spec as a whole. A list of seeds is taken as it is; a number of
    /// seeds counts from `first_seed`. Each arm gets its real-only level where the
    /// spec leaves it out, since everything is compared with it.
    ///
    /// # Errors
    /// Every problem of the spec at once; `path` names its file.
    pub fn into_plan(self, path: &Path, first_seed: u64) -> Result<ExperimentPlan, SpecError> {
        let mut problems = Problems::default();
        let seeds = match self.seeds {
            Seeds::Count(count) => {
                problems.require(
                    (1..=MAX_SEEDS).contains(&count),
                    "seeds",
                    format!("{count} is not between 1 and {MAX_SEEDS}"),
                );
                (0..count.min(MAX_SEEDS))
                    .map(|index| first_seed.wrapping_add(index))
                    .collect()
            }
            Seeds::List(list) => {
                problems.require(!list.is_empty(), "seeds", "the list is empty");
                let distinct: BTreeSet<_> = list.iter().collect();
                problems.require(
                    distinct.len() == list.len(),
                    "seeds",
                    "a seed stands twice; a repeated run is no further evidence",
                );
                list
            }
        };
        let (mut arms, mut regimes) = self.arms.check(&mut problems);
        if let Some(augmentation) = &self.arms.augmentation {
            regimes.augmentation = Some(AugmentationSettings::of(&augmentation.preset, &[], None)?);
        }
        // Copies of real images come from no source.
        let from_source = arms.iter().filter(|arm| arm.kind != ArmKind::Augmentation);
        let first: Vec<Arm> = from_source.cloned().collect();
        for source in 1..=self.other_synthetic.len() {
            arms.extend(first.iter().map(|arm| arm.of_source(source)));
        }
        let train = self.train.into_plan(path)?;
        let mut other_synthetic: Vec<_> = self.other_synthetic.into_iter().collect();
        let base = factors::Base {
            synthetic: &self.synthetic,
            train: &train,
            path,
        };
        let crossing = factors::cross(
            &self.factors,
            self.cells,
            &base,
            &mut other_synthetic,
            &mut problems,
        )?;
        crossing.cross(&mut arms);
        let named = other_synthetic.iter();
        let named = named.map(|(name, source)| (format!("other_synthetic.{name}"), source));
        let needed = largest_need(&arms);
        for (key, source) in std::iter::once(("synthetic".to_owned(), &self.synthetic)).chain(named)
        {
            check_source(&key, source, needed, &mut problems);
        }
        let learning_curve = self.arms.learning_curve(&mut problems);
        problems.require(
            self.smallest_effect > 0.0 && self.smallest_effect < 1.0,
            "smallest_effect",
            format!(
                "{} is not an AP difference between 0 and 1, such as 0.01",
                self.smallest_effect
            ),
        );
        if let Some(prices) = &self.prices {
            for (key, price) in [("real", prices.real), ("synthetic", prices.synthetic)] {
                problems.require(
                    price.is_finite() && price >= 0.0,
                    &format!("prices.{key}"),
                    format!("{price} is no price of an image"),
                );
            }
        }
        if let Some(name) = &self.class_agnostic {
            problems.require(
                !name.trim().is_empty(),
                "class_agnostic",
                "the name is empty",
            );
        }
        if let Some(halving) = self.halving {
            halving.check(crossing.cells.len(), seeds.len(), &mut problems);
        }
        let check = self.rate_check.as_ref();
        let rate_check = check.and_then(|check| check.check(&train, seeds.len(), &mut problems));
        regimes.check(&train, &mut problems);
        let of_cells = crossing.cells.iter().filter_map(|cell| cell.train.as_ref());
        let of_rates = rate_check.iter().flat_map(|check| &check.rates);
        for train in of_cells.chain(of_rates.map(|rate| &rate.train)) {
            regimes.check(train, &mut problems);
        }
        let plan = ExperimentPlan {
            real: self.real,
            class_agnostic: self.class_agnostic,
            synthetic: self.synthetic,
            other_synthetic,
            synthetic_test: self.synthetic_test,
            arms,
            crossing,
            halving: self.halving,
            learning_curve,
            seeds,
            rate_check,
            train,
            regimes,
            prices: self.prices,
            smallest_effect: self.smallest_effect,
        };
        problems.into_result(path, plan)
    }
}

fn check_source(key: &str, source: &SyntheticSource, needed: usize, problems: &mut Problems) {
    let SyntheticSource::Scene(scene) = source else {
        return;
    };
    if let Some(images) = scene.images {
        problems.require(
            images >= needed,
            &format!("{key}.scene.images"),
            format!("the largest trial needs {needed}, so {images} are too few"),
        );
    }
    if let Err(error) = scene.overrides() {
        problems.add(&format!("{key}.scene.set"), error);
    }
}

/// Name of the first source of synthetic images.
const FIRST_SOURCE: &str = "synthetic";

impl ExperimentPlan {
    /// The sources of synthetic images with their names; never empty.
    pub fn sources(&self) -> Vec<(&str, &SyntheticSource)> {
        let others = self.other_synthetic.iter();
        std::iter::once((FIRST_SOURCE, &self.synthetic))
            .chain(others.map(|(name, source)| (name.as_str(), source)))
            .collect()
    }

    /// The same with the arms of some cells.
    pub(super) fn of_cells(&self, cells: &[usize]) -> Self {
        let mut plan = self.clone();
        plan.arms.retain(|arm| cells.contains(&arm.cell));
        plan
    }

    /// Name of an arm's source or of its cell's levels, where there are several.
    pub fn setting_name(&self, arm: &Arm) -> Option<String> {
        if !self.crossing.is_empty() {
            return self.crossing.name(arm.cell);
        }
        let sources = self.sources();
        let name = || {
            sources
                .get(arm.source)
                .map_or(FIRST_SOURCE, |(name, _)| name)
        };
        (sources.len() > 1).then(|| name().to_owned())
    }

    /// Every condition once, in the order of the arms.
    pub fn conditions(&self) -> Vec<Condition> {
        let mut seen = BTreeSet::new();
        self.arms
            .iter()
            .flat_map(|arm| &arm.levels)
            .map(|level| level.condition)
            .chain(
                self.learning_curve
                    .iter()
                    .map(|&n_real| Condition::joint(n_real, 0)),
            )
            .filter(|condition| seen.insert(*condition))
            .collect()
    }

    /// The trials, seed by seed: a run that is cut short leaves whole blocks, which
    /// is what the analysis can use.
    pub fn trials(&self) -> Vec<Trial> {
        let in_arms = self.conditions();
        let at_other_rates = self.conditions_at_other_rates();
        let all = in_arms.iter().chain(&at_other_rates);
        let contexts: Vec<(Condition, PlanHash)> = all.map(|&c| (c, self.context(c))).collect();
        let checked_seeds = self.rate_check.as_ref().map_or(0, |check| check.seeds);
        let mut trials = Vec::new();
        for (block, &seed) in self.seeds.iter().enumerate() {
            let own = match block < checked_seeds {
                true => contexts.len(),
                false => in_arms.len(),
            };
            for (placed, context) in &contexts[..own] {
                // The numbers of cell and rate change where others are added; what they stand
                // for is in the context.
                let condition = Condition {
                    cell: 0,
                    rate: 0,
                    source: match placed.cell {
                        0 => placed.source,
                        _ => 0,
                    },
                    ..*placed
                };
                // A regime's settings concern its own trials alone, so that those of the
                // others are kept where an arm is added or changed.
                let hash = match condition.regime {
                    Regime::Joint => PlanHash::of(&(context, condition, seed)),
                    Regime::Pretraining => {
                        PlanHash::of(&(context, condition, seed, &self.regimes.pretraining))
                    }
                    Regime::Curriculum => {
                        PlanHash::of(&(context, condition, seed, &self.regimes.curriculum))
                    }
                    Regime::Auxiliary => {
                        PlanHash::of(&(context, condition, seed, &self.regimes.auxiliary))
                    }
                    Regime::Augmentation => {
                        PlanHash::of(&(context, condition, seed, &self.regimes.augmentation))
                    }
                };
                let cell = self.crossing.suffix(placed.cell);
                let rate = match self.other_rate(*placed) {
                    Some(rate) => format!("-rate{}", rate.multiple),
                    None => String::new(),
                };
                trials.push(Trial {
                    id: placed.trial_id(&rate, &cell, seed),
                    condition: *placed,
                    seed,
                    hash,
                    exhibits: block == 0 && placed.rate == 0,
                });
            }
        }
        trials
    }

    /// Hash of what the trials of a condition depend on beside it and their seed.
    fn context(&self, condition: Condition) -> PlanHash {
        let (_, source) = self.sources()[condition.source];
        let train = self.train_of(condition);
        let mut context = PlanHash::of(&(&self.real, &self.class_agnostic, source, train));
        if self.synthetic_test > 0 {
            context = PlanHash::of(&(context, self.synthetic_test));
        }
        match self.crossing.cells.get(condition.cell) {
            Some(cell) if !cell.real.is_empty() || !cell.synthetic.is_empty() => {
                PlanHash::of(&(context, &cell.real, &cell.synthetic))
            }
            _ => context,
        }
    }

    /// Settings of the trainings of a condition.
    pub fn train_of(&self, condition: Condition) -> &TrainPlan {
        if let Some(rate) = self.other_rate(condition) {
            return &rate.train;
        }
        let own = self.crossing.cells.get(condition.cell);
        own.and_then(|cell| cell.train.as_ref())
            .unwrap_or(&self.train)
    }

    /// The learning rate of a condition's trainings as a multiple of the planned one.
    pub fn rate_of(&self, condition: Condition) -> f64 {
        self.other_rate(condition).map_or(1.0, |rate| rate.multiple)
    }

    /// The rate of the rate check that a condition is trained at; `None` at the planned one.
    fn other_rate(&self, condition: Condition) -> Option<&OtherRate> {
        let check = self.rate_check.as_ref()?;
        check.rates.get(condition.rate.checked_sub(1)?)
    }

    /// How many synthetic images the largest trial needs.
    pub fn synthetic_needed(&self) -> usize {
        largest_need(&self.arms)
    }

    /// How many real training images the largest trial needs.
    pub fn real_needed(&self) -> usize {
        self.conditions()
            .iter()
            .map(|condition| condition.n_real)
            .max()
            .unwrap_or(0)
    }

    /// The grid as text: a line a level, then the totals. `seconds_per_trial` gives
    /// an estimate where earlier trials were timed.
    pub fn describe(&self, finished: usize, seconds_per_trial: Option<f64>) -> String {
        use fmt::Write;
        let mut text = String::new();
        let mut first: BTreeMap<Condition, ArmKind> = BTreeMap::new();
        for arm in &self.arms {
            for level in &arm.levels {
                let Condition {
                    n_real,
                    n_synthetic,
                    ..
                } = level.condition;
                let shared = match first.insert(level.condition, arm.kind) {
                    Some(kind) => format!("  (same trials as in {})", kind.name()),
                    None => String::new(),
                };
                // Writing to a String cannot fail.
                let name = self.setting_name(arm);
                let source = match arm.kind {
                    ArmKind::Augmentation => "augmented",
                    _ => name.as_deref().unwrap_or(FIRST_SOURCE),
                };
                let _ = writeln!(
                    text,
                    "{:<13} {:>6}  {n_real:>6} real + {n_synthetic:>6} {source}  x {} seeds{shared}",
                    arm.kind.name(),
                    arm.kind.label(level.ratio),
                    self.seeds.len(),
                );
            }
        }
        for &n_real in &self.learning_curve {
            let shared = match first.get(&Condition::joint(n_real, 0)) {
                Some(kind) => format!("  (same trials as in {})", kind.name()),
                None => String::new(),
            };
            let _ = writeln!(
                text,
                "learning curve        {n_real:>6} real                      x {} seeds{shared}",
                self.seeds.len(),
            );
        }
        for kind in self
            .arms
            .iter()
            .filter(|arm| arm.source == 0 && arm.cell == 0)
            .map(|arm| arm.kind)
        {
            if let Some(how) = self.regimes.describe(kind.regime(), self.train.steps) {
                let _ = writeln!(text, "{}: {how}", kind.name());
            }
        }
        if let Some(check) = &self.rate_check {
            let multiples: Vec<String> =
                check.rates.iter().map(|r| r.multiple.to_string()).collect();
            let checked = self.rate_checked().len();
            let _ = writeln!(
                text,
                "rate check: {checked} of them at {} times the learning rate  x {} seeds",
                multiples.join(" and "),
                check.seeds
            );
        }
        if let Some(halving) = self.halving {
            let _ = writeln!(
                text,
                "halving: {} seeds of all combinations, then {} of them with twice the seeds, and so \
                 on; so there will be fewer trials than these",
                halving.first_seeds, halving.keep
            );
        }
        let total = self.trials().len();
        let left = total.saturating_sub(finished);
        let _ = write!(text, "{total} trials, {finished} finished, {left} to run");
        let _ = match seconds_per_trial {
            Some(seconds) => writeln!(
                text,
                "; about {:.0} s at {seconds:.1} s a trial so far",
                seconds * left as f64
            ),
            None => writeln!(text, "; no trial has been timed yet"),
        };
        text
    }
}
