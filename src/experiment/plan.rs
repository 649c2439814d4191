//! From `experiment.yaml` to the list of trials.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::trial::{Condition, Trial};
use crate::detector::{TrainPlan, TrainSpec};
use crate::seed::PlanHash;
use crate::spec::{Problems, SpecError};

/// Seeds of an experiment that names none: fewer allow no claim.
const DEFAULT_SEEDS: u64 = 5;

/// Most seeds, levels and images that a plan may ask for; more is a slip of the pen.
const MAX_SEEDS: u64 = 1_000;
const MAX_IMAGES: usize = 10_000_000;

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
    pub arms: ArmsSpec,
    #[serde(default)]
    pub seeds: Seeds,
    pub train: TrainSource,
    /// Smallest AP difference that matters to the user, in `0..=1`.
    #[serde(default = "default_smallest_effect")]
    pub smallest_effect: f64,
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

/// The arms of an experiment; at least one.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmsSpec {
    #[serde(default)]
    pub substitution: Option<SubstitutionSpec>,
    #[serde(default)]
    pub addition: Option<AdditionSpec>,
}

/// Synthetic images take the place of real ones in a set of fixed size.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubstitutionSpec {
    pub total: usize,
    /// Synthetic shares in `0..=1`.
    pub shares: Vec<f64>,
}

/// Synthetic images come on top of a fixed number of real ones.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdditionSpec {
    pub real: usize,
    /// Synthetic images per real image.
    pub multiples: Vec<f64>,
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

/// How synthetic images join the real ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArmKind {
    Substitution,
    Addition,
}

impl ArmKind {
    pub fn name(self) -> &'static str {
        match self {
            ArmKind::Substitution => "substitution",
            ArmKind::Addition => "addition",
        }
    }

    /// A level's ratio as people say it: `25 %` or `2x`.
    pub fn label(self, ratio: f64) -> String {
        match self {
            ArmKind::Substitution => format!("{} %", trimmed(ratio * 100.0)),
            ArmKind::Addition => format!("{}x", trimmed(ratio)),
        }
    }
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// One curve of the experiment. Levels rise by ratio; the first is real-only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    pub kind: ArmKind,
    pub levels: Vec<Level>,
}

/// One point of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// Synthetic share of the set, or synthetic images per real one.
    pub ratio: f64,
    pub condition: Condition,
}

/// A checked experiment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExperimentPlan {
    pub real: PathBuf,
    pub class_agnostic: Option<String>,
    pub synthetic: SyntheticSource,
    pub arms: Vec<Arm>,
    /// In the order in which they are run; unique.
    pub seeds: Vec<u64>,
    pub train: TrainPlan,
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
        let mut arms = Vec::new();
        if let Some(spec) = &self.arms.substitution {
            arms.push(spec.levels(&mut problems));
        }
        if let Some(spec) = &self.arms.addition {
            arms.push(spec.levels(&mut problems));
        }
        problems.require(
            !arms.is_empty(),
            "arms",
            "there is none; give `substitution: {total, shares}`, `addition: {real, multiples}` or both",
        );
        problems.require(
            self.smallest_effect > 0.0 && self.smallest_effect < 1.0,
            "smallest_effect",
            format!(
                "{} is not an AP difference between 0 and 1, such as 0.01",
                self.smallest_effect
            ),
        );
        if let Some(name) = &self.class_agnostic {
            problems.require(
                !name.trim().is_empty(),
                "class_agnostic",
                "the name is empty",
            );
        }
        if let SyntheticSource::Scene(SceneSource {
            images: Some(images),
            ..
        }) = self.synthetic
        {
            let needed = largest_need(&arms);
            problems.require(
                images >= needed,
                "synthetic.scene.images",
                format!("the largest trial needs {needed}, so {images} are too few"),
            );
        }
        let train = self.train.into_plan(path)?;
        let plan = ExperimentPlan {
            real: self.real,
            class_agnostic: self.class_agnostic,
            synthetic: self.synthetic,
            arms,
            seeds,
            train,
            smallest_effect: self.smallest_effect,
        };
        problems.into_result(path, plan)
    }
}

fn largest_need(arms: &[Arm]) -> usize {
    arms.iter()
        .flat_map(|arm| &arm.levels)
        .map(|level| level.condition.n_synthetic)
        .max()
        .unwrap_or(0)
}

impl SubstitutionSpec {
    fn levels(&self, problems: &mut Problems) -> Arm {
        let total = self.total;
        problems.require(
            (1..=MAX_IMAGES).contains(&total),
            "arms.substitution.total",
            format!("{total} is not between 1 and {MAX_IMAGES}"),
        );
        for (index, share) in self.shares.iter().enumerate() {
            problems.require(
                (0.0..=1.0).contains(share),
                &format!("arms.substitution.shares.{index}"),
                format!("{share} is not a share between 0 and 1"),
            );
        }
        let condition = |share: f64| {
            let n_synthetic = (total as f64 * share).round() as usize;
            Condition {
                n_real: total.saturating_sub(n_synthetic),
                n_synthetic,
            }
        };
        let key = "arms.substitution.shares";
        arm(
            ArmKind::Substitution,
            &self.shares,
            condition,
            key,
            problems,
        )
    }
}

impl AdditionSpec {
    fn levels(&self, problems: &mut Problems) -> Arm {
        let n_real = self.real;
        problems.require(
            (1..=MAX_IMAGES).contains(&n_real),
            "arms.addition.real",
            format!("{n_real} is not between 1 and {MAX_IMAGES}"),
        );
        for (index, multiple) in self.multiples.iter().enumerate() {
            problems.require(
                *multiple >= 0.0 && multiple * n_real as f64 <= MAX_IMAGES as f64,
                &format!("arms.addition.multiples.{index}"),
                format!("{multiple} is not a number of synthetic images per real one"),
            );
        }
        let condition = |multiple: f64| Condition {
            n_real,
            n_synthetic: (n_real as f64 * multiple).round() as usize,
        };
        let key = "arms.addition.multiples";
        arm(ArmKind::Addition, &self.multiples, condition, key, problems)
    }
}

/// Sorts the ratios, puts real-only first and refuses two that give the same set.
fn arm(
    kind: ArmKind,
    ratios: &[f64],
    condition: impl Fn(f64) -> Condition,
    key: &str,
    problems: &mut Problems,
) -> Arm {
    let mut ratios: Vec<f64> = ratios.iter().copied().chain([0.0]).collect();
    ratios.sort_by(f64::total_cmp);
    ratios.dedup();
    let levels: Vec<Level> = ratios
        .iter()
        .map(|&ratio| Level {
            ratio,
            condition: condition(ratio),
        })
        .collect();
    problems.require(
        levels.len() > 1,
        key,
        "there is no ratio but real-only, so there is nothing to compare",
    );
    for pair in levels.windows(2) {
        problems.require(
            pair[0].condition != pair[1].condition,
            key,
            format!(
                "{} and {} give the same number of images; leave one out",
                pair[0].ratio, pair[1].ratio
            ),
        );
    }
    Arm { kind, levels }
}

impl ExperimentPlan {
    /// Every condition once, in the order of the arms.
    pub fn conditions(&self) -> Vec<Condition> {
        let mut seen = BTreeSet::new();
        self.arms
            .iter()
            .flat_map(|arm| &arm.levels)
            .map(|level| level.condition)
            .filter(|condition| seen.insert(*condition))
            .collect()
    }

    /// The trials, seed by seed: a run that is cut short leaves whole blocks, which
    /// is what the analysis can use.
    pub fn trials(&self) -> Vec<Trial> {
        let context = PlanHash::of(&(
            &self.real,
            &self.class_agnostic,
            &self.synthetic,
            &self.train,
        ));
        let mut trials = Vec::new();
        for (block, &seed) in self.seeds.iter().enumerate() {
            for condition in self.conditions() {
                trials.push(Trial {
                    id: format!(
                        "r{}-s{}-seed{seed}",
                        condition.n_real, condition.n_synthetic
                    ),
                    condition,
                    seed,
                    hash: PlanHash::of(&(&context, condition, seed)),
                    exhibits: block == 0,
                });
            }
        }
        trials
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
                } = level.condition;
                let shared = match first.insert(level.condition, arm.kind) {
                    Some(kind) => format!("  (same trials as in {})", kind.name()),
                    None => String::new(),
                };
                // Writing to a String cannot fail.
                let _ = writeln!(
                    text,
                    "{:<13} {:>6}  {n_real:>6} real + {n_synthetic:>6} synthetic  x {} seeds{shared}",
                    arm.kind.name(),
                    arm.kind.label(level.ratio),
                    self.seeds.len(),
                );
            }
        }
        let total = self.conditions().len() * self.seeds.len();
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const YAML: &str = "
real: data/real
synthetic: {dataset: data/synthetic}
arms:
  substitution: {total: 100, shares: [0.5, 0.25, 1]}
  addition: {real: 100, multiples: [0, 1, 2]}
train: {settings: {steps: 10, warmup_steps: 2}}
";

    pub(in crate::experiment) fn plan() -> ExperimentPlan {
        parse(YAML).unwrap()
    }

    fn parse(yaml: &str) -> Result<ExperimentPlan, SpecError> {
        let path = Path::new("experiment.yaml");
        crate::spec::parse::<ExperimentSpec>(yaml, path, &[])?.into_plan(path, 7)
    }

    #[test]
    fn real_only_is_added_and_shared_trials_run_once() {
        let plan = plan();
        let ratios: Vec<f64> = plan.arms[0].levels.iter().map(|l| l.ratio).collect();
        assert_eq!(ratios, [0.0, 0.25, 0.5, 1.0]);
        assert_eq!(plan.seeds, [7, 8, 9, 10, 11]);
        assert_eq!(plan.conditions().len(), 6, "real-only stands in both arms");
        let trials = plan.trials();
        assert_eq!(trials.len(), 30);
        let ids: BTreeSet<_> = trials.iter().map(|trial| &trial.id).collect();
        assert_eq!(ids.len(), 30);
        assert_eq!(trials[0].id, "r100-s0-seed7");
        assert_eq!((plan.real_needed(), plan.synthetic_needed()), (100, 200));
    }

    #[test]
    fn adding_seeds_keeps_the_hashes_and_other_settings_change_them() {
        let plan = plan();
        let mut longer = plan.clone();
        longer.seeds.push(99);
        assert_eq!(plan.trials()[..], longer.trials()[..30]);
        let mut other = plan.clone();
        other.train = TrainSpec::default().into_plan(Path::new("x")).unwrap();
        assert_ne!(plan.trials()[0].hash, other.trials()[0].hash);
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let yaml = YAML
            .replace("[0.5, 0.25, 1]", "[0.5, 1.5, 0.501]")
            .replace("real: 100", "real: 0")
            + "seeds: [1, 1]\nsmallest_effect: 0\n";
        let message = parse(&yaml).unwrap_err().to_string();
        for key in [
            "seeds",
            "shares.1",
            "0.5 and 0.501",
            "addition.real",
            "smallest_effect",
        ] {
            assert!(message.contains(key), "{key} is missing in {message}");
        }
    }

    #[test]
    fn the_real_path_can_be_overridden_and_seeds_must_be_numbers() {
        let path = Path::new("e.yaml");
        let set = |text: &str| [text.parse().unwrap()];
        let spec: ExperimentSpec = crate::spec::parse(YAML, path, &set("real=x/y")).unwrap();
        assert_eq!(spec.real, Path::new("x/y"));
        let error =
            crate::spec::parse::<ExperimentSpec>(YAML, path, &set("seeds=many")).unwrap_err();
        assert!(error.to_string().contains("a number of seeds"), "{error}");
    }

    #[test]
    fn the_grid_is_described_with_counts_and_time() {
        let text = plan().describe(10, Some(3.0));
        assert!(text.contains("25 %") && text.contains("75 real"), "{text}");
        assert!(
            text.contains("same trials as in substitution"),
            "real-only is shared: {text}"
        );
        assert!(
            text.contains("30 trials, 10 finished, 20 to run; about 60 s"),
            "{text}"
        );
    }
}
