//! From `experiment.yaml` to the list of trials.

mod arms;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::exchange_rate::Prices;
use super::regime::{AugmentationSettings, RegimeSettings};
use super::trial::{Condition, Regime, Trial};
use crate::detector::{TrainPlan, TrainSpec};
use crate::seed::PlanHash;
use crate::spec::{Override, Problems, SpecError};

use arms::largest_need;
pub use arms::{
    AdditionSpec, Arm, ArmKind, ArmsSpec, AugmentationSpec, AuxiliarySpec, LearningCurveSpec,
    Level, PretrainingSpec, SubstitutionSpec,
};

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
    #[serde(default)]
    pub seeds: Seeds,
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
    /// Rising numbers of real images that detectors are trained on alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub learning_curve: Vec<usize>,
    /// In the order in which they are run; unique.
    pub seeds: Vec<u64>,
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
            regimes.augmentation = Some(AugmentationSettings::of(&augmentation.preset)?);
        }
        // Copies of real images come from no source.
        let from_source = arms.iter().filter(|arm| arm.kind != ArmKind::Augmentation);
        let first: Vec<Arm> = from_source.cloned().collect();
        for source in 1..=self.other_synthetic.len() {
            arms.extend(first.iter().map(|arm| arm.of_source(source)));
        }
        let named = self.other_synthetic.iter();
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
        let train = self.train.into_plan(path)?;
        regimes.check(&train, &mut problems);
        let plan = ExperimentPlan {
            real: self.real,
            class_agnostic: self.class_agnostic,
            synthetic: self.synthetic,
            other_synthetic: self.other_synthetic.into_iter().collect(),
            synthetic_test: self.synthetic_test,
            arms,
            learning_curve,
            seeds,
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

    /// Name of an arm's source, where there are several.
    pub fn source_name(&self, source: usize) -> Option<&str> {
        let sources = self.sources();
        (sources.len() > 1).then(|| sources.get(source).map_or(FIRST_SOURCE, |(name, _)| name))
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
        let contexts: Vec<PlanHash> = self
            .sources()
            .iter()
            .map(|(_, source)| {
                let context =
                    PlanHash::of(&(&self.real, &self.class_agnostic, source, &self.train));
                match self.synthetic_test {
                    0 => context,
                    images => PlanHash::of(&(context, images)),
                }
            })
            .collect();
        let mut trials = Vec::new();
        for (block, &seed) in self.seeds.iter().enumerate() {
            for condition in self.conditions() {
                // A regime's settings concern its own trials alone, so that those of the
                // others are kept where an arm is added or changed.
                let context = &contexts[condition.source];
                let hash = match condition.regime {
                    Regime::Joint => PlanHash::of(&(context, condition, seed)),
                    Regime::Pretraining => {
                        PlanHash::of(&(context, condition, seed, &self.regimes.pretraining))
                    }
                    Regime::Auxiliary => {
                        PlanHash::of(&(context, condition, seed, &self.regimes.auxiliary))
                    }
                    Regime::Augmentation => {
                        PlanHash::of(&(context, condition, seed, &self.regimes.augmentation))
                    }
                };
                trials.push(Trial {
                    id: condition.trial_id(seed),
                    condition,
                    seed,
                    hash,
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
                    ..
                } = level.condition;
                let shared = match first.insert(level.condition, arm.kind) {
                    Some(kind) => format!("  (same trials as in {})", kind.name()),
                    None => String::new(),
                };
                // Writing to a String cannot fail.
                let source = match arm.kind {
                    ArmKind::Augmentation => "augmented",
                    _ => self.source_name(arm.source).unwrap_or(FIRST_SOURCE),
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
            .filter(|arm| arm.source == 0)
            .map(|arm| arm.kind)
        {
            if let Some(how) = self.regimes.describe(kind.regime(), self.train.steps) {
                let _ = writeln!(text, "{}: {how}", kind.name());
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

    /// Two further arms at the counts of `addition`.
    const WAYS: &str = "
  pretraining: {real: 100, multiples: [1, 2]}
  auxiliary: {real: 100, multiples: [1, 2]}
train:";

    pub(in crate::experiment) fn plan() -> ExperimentPlan {
        parse(YAML).unwrap()
    }

    /// [`plan`] with all arms, and an effect that 0.004 of noise can tell.
    pub(in crate::experiment) fn plan_with_ways() -> ExperimentPlan {
        parse(&(YAML.replace("\ntrain:", WAYS) + "smallest_effect: 0.02\n")).unwrap()
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
    fn augmented_copies_need_no_pool_and_follow_their_preset() {
        let preset = Path::new(env!("CARGO_MANIFEST_DIR")).join("presets/geometry.yaml");
        let arm = format!(
            "\n  augmentation: {{real: 100, multiples: [1, 9], preset: {}}}\ntrain:",
            preset.display()
        );
        let with_copies =
            YAML.replace("\ntrain:", &arm) + "other_synthetic: {folder: {dataset: data/other}}\n";
        let plan = parse(&with_copies).unwrap();
        assert_eq!(
            plan.synthetic_needed(),
            200,
            "the 900 copies come from no pool"
        );
        let copying = plan
            .arms
            .iter()
            .filter(|arm| arm.kind == ArmKind::Augmentation);
        assert_eq!(copying.count(), 1, "and so not from each source");
        let trials = plan.trials();
        assert!(
            trials
                .iter()
                .any(|t| t.id == "r100-s900-augmentation-seed7")
        );
        let text = plan.describe(0, None);
        assert!(
            text.contains("900 augmented") && text.contains("geometry.yaml"),
            "{text}"
        );
        let missing = with_copies.replace("geometry.yaml", "none.yaml");
        assert!(
            parse(&missing)
                .unwrap_err()
                .to_string()
                .contains("none.yaml")
        );
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

    #[test]
    fn other_ways_have_the_levels_of_addition_and_share_its_real_only() {
        let plan = plan_with_ways();
        let kinds: Vec<ArmKind> = plan.arms.iter().map(|arm| arm.kind).collect();
        assert_eq!(
            kinds,
            [
                ArmKind::Substitution,
                ArmKind::Addition,
                ArmKind::Pretraining,
                ArmKind::Auxiliary
            ]
        );
        let counts = |arm: &Arm| -> Vec<Condition> {
            let levels = arm.levels.iter();
            levels.map(|level| level.condition.mixed()).collect()
        };
        for arm in &plan.arms[2..] {
            assert_eq!(counts(arm), counts(&plan.arms[1]));
            assert_eq!(arm.kind.label(arm.levels[2].ratio), "2x");
        }
        let real_only = |index: usize| plan.arms[index].levels[0].condition;
        assert_eq!(
            real_only(2),
            real_only(1),
            "there is nothing to pretrain on"
        );
        assert_ne!(real_only(3), real_only(1));
        assert_eq!(plan.conditions().len(), 6 + 2 + 3);
        let ids: Vec<String> = plan.trials().into_iter().map(|trial| trial.id).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 55);
        for id in [
            "r100-s0-seed7",
            "r100-s100-pretraining-seed7",
            "r100-s0-auxiliary-seed7",
            "r100-s200-auxiliary-seed11",
        ] {
            assert!(ids.iter().any(|other| other == id), "{id} in {ids:?}");
        }
        let text = plan.describe(0, None);
        for part in [
            "pretraining       1x     100 real +    100 synthetic  x 5 seeds\n",
            "(same trials as in addition)",
            "pretraining: 5 of 10 steps on the synthetic images, then 5 on the real ones at 0.1",
            "auxiliary: mixed, with image_class_weight 0.5 and synthetic_weight 0;",
            "55 trials",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn trials_that_mix_keep_their_identifiers_and_hashes_beside_other_ways() {
        /// A condition as it was hashed when mixing was all that there was.
        #[derive(Serialize)]
        struct Counts {
            n_real: usize,
            n_synthetic: usize,
        }
        let (mut before, mut after) = (plan(), plan_with_ways());
        // As those were that held no synthetic images out.
        for plan in [&mut before, &mut after] {
            plan.synthetic_test = 0;
        }
        let known = after.trials();
        for trial in before.trials() {
            assert!(known.contains(&trial), "{trial:?}");
        }
        let trial = &before.trials()[0];
        let context = PlanHash::of(&(
            &before.real,
            &before.class_agnostic,
            &before.synthetic,
            &before.train,
        ));
        let counts = Counts {
            n_real: 100,
            n_synthetic: 0,
        };
        assert_eq!(trial.hash, PlanHash::of(&(&context, counts, 7u64)));
        let stored = serde_json::to_string(&before).unwrap();
        assert!(!stored.contains("regime"), "{stored}");
        let read: ExperimentPlan = serde_json::from_str(&stored).unwrap();
        assert_eq!(read.trials(), before.trials());
    }

    #[test]
    fn settings_of_a_way_change_the_hashes_of_its_trials_alone() {
        let plan = plan_with_ways();
        let mut other = plan.clone();
        other.regimes.pretraining.as_mut().unwrap().rate = 0.2;
        for (before, after) in plan.trials().iter().zip(&other.trials()) {
            let is_pretraining = before.condition.regime == Regime::Pretraining;
            assert_eq!(before.hash != after.hash, is_pretraining, "{}", before.id);
        }
        let stored = serde_json::to_string(&plan).unwrap();
        let read: ExperimentPlan = serde_json::from_str(&stored).unwrap();
        assert_eq!(read.trials(), plan.trials());
    }

    #[test]
    fn all_problems_of_the_other_ways_are_told_at_once() {
        let ways = "
  pretraining: {real: 0, multiples: [1, -2], share_of_steps: 1, rate: 0}
  auxiliary: {real: 100, multiples: [0], image_class_weight: 0, synthetic_weight: -1}
train:";
        let message = parse(&YAML.replace("\ntrain:", ways))
            .unwrap_err()
            .to_string();
        for key in [
            "pretraining.real",
            "pretraining.multiples.1",
            "pretraining.share_of_steps",
            "pretraining.rate",
            "auxiliary.multiples",
            "auxiliary.image_class_weight",
            "auxiliary.synthetic_weight",
        ] {
            assert!(message.contains(key), "{key} is missing in {message}");
        }
        let uneven = "\n  pretraining: {real: 9, multiples: [1], share_of_steps: 0.99}\ntrain:";
        let message = parse(&YAML.replace("\ntrain:", uneven))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("0.99 leaves none of 10 steps"),
            "{message}"
        );
    }

    #[test]
    fn the_presets_are_sound() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (name, conditions) in [
            ("demo", 3),
            ("tipping_dice", 12),
            ("tipping_blood_cells", 7),
            ("known_gap", 13),
            ("tipping_faces", 10),
            ("ways_dice", 11),
        ] {
            let path = root.join(format!("presets/{name}.yaml"));
            let spec: ExperimentSpec = crate::spec::load(&path, &[]).unwrap();
            let plan = spec.into_plan(&path, 0).unwrap();
            assert_eq!(plan.conditions().len(), conditions, "{name}");
        }
    }
}
