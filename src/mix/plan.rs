//! What a mixture is made of: the spec as written in YAML and the plan made from it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::dataset::Split;
use crate::spec::{Problems, SpecError};

/// A share of synthetic images, in `0..=1`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Ratio(f64);

impl Ratio {
    /// `None` where `share` is not in `0..=1`.
    pub fn new(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then_some(Ratio(share))
    }

    /// The share, in `0..=1`.
    pub fn get(self) -> f64 {
        self.0
    }

    /// How many of `total` images are synthetic: the nearest whole number, halves up.
    pub fn of(self, total: usize) -> usize {
        // 0.145 * 100 falls short of 14.5 in binary; a share is meant as it is written.
        let exact = total as f64 * self.0;
        ((exact + 0.5 + 1e-9).floor() as usize).min(total)
    }
}

/// A data set of the mixture, as in YAML.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSpec {
    /// Folder of the data set.
    pub path: PathBuf,
    /// The split to draw from; a data set without splits is drawn from as a whole.
    #[serde(default = "train")]
    pub split: Split,
    /// Exact number of drawn images that contain a class, by name, where asked.
    #[serde(default)]
    pub images_per_class: BTreeMap<String, usize>,
}

fn train() -> Split {
    Split::Train
}

/// How counts follow from the ratio, as in YAML.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PolicySpec {
    /// A fixed total, of which a share is synthetic.
    Substitution { total: usize, share: f64 },
    /// A fixed number of real images (all where left out) and an added number of
    /// synthetic ones.
    Addition {
        real: Option<usize>,
        synthetic: usize,
    },
}

/// `MIX.yaml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixSpec {
    pub real: SourceSpec,
    /// May be left out where no synthetic image is asked for.
    pub synthetic: Option<SourceSpec>,
    pub policy: PolicySpec,
    /// Further data sets that training must not see, besides val and test of the two:
    /// their val and test splits, or all of them where they have no splits.
    #[serde(default)]
    pub held_out: Vec<PathBuf>,
    /// Overrides the command line's seed.
    pub seed: Option<u64>,
}

/// How many images are drawn from each pool.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// A fixed total, of which a share is synthetic.
    Substitution { total: usize, share: Ratio },
    /// Synthetic images on top of real ones; `real: None` takes all there are.
    Addition {
        real: Option<usize>,
        synthetic: usize,
    },
}

/// What is drawn from one data set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Source {
    /// Where the data set lies; [`super::draw`] takes it already opened.
    pub path: PathBuf,
    /// The split to draw from.
    pub split: Split,
    /// Exact number of drawn images that contain a class, by name, where asked.
    pub images_per_class: BTreeMap<String, usize>,
}

impl Source {
    /// The training split of a data set, without balance.
    pub fn train_of(path: impl Into<PathBuf>) -> Self {
        Source {
            path: path.into(),
            split: Split::Train,
            images_per_class: BTreeMap::new(),
        }
    }
}

/// A checked mixture.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MixPlan {
    pub real: Source,
    pub synthetic: Option<Source>,
    pub policy: Policy,
    /// Further data sets that training must not see, see [`MixSpec::held_out`].
    pub held_out: Vec<PathBuf>,
}

impl MixSpec {
    /// Checks the spec as a whole. `path` names it in errors.
    ///
    /// # Errors
    /// [`SpecError::Problems`] with all that is wrong.
    pub fn into_plan(self, path: &Path) -> Result<MixPlan, SpecError> {
        let mut problems = Problems::default();
        let (policy, asks_synthetic) = match self.policy {
            PolicySpec::Substitution { total, share } => {
                problems.require(total > 0, "policy.substitution.total", "must be at least 1");
                let ratio = Ratio::new(share);
                problems.require(
                    ratio.is_some(),
                    "policy.substitution.share",
                    format!("{share} is not in 0..=1; write 0.25 for a quarter synthetic"),
                );
                let share = ratio.unwrap_or(Ratio(0.0));
                (Policy::Substitution { total, share }, share.of(total) > 0)
            }
            PolicySpec::Addition { real, synthetic } => {
                problems.require(
                    real != Some(0) || synthetic > 0,
                    "policy.addition",
                    "asks for no image at all",
                );
                (Policy::Addition { real, synthetic }, synthetic > 0)
            }
        };
        problems.require(
            self.synthetic.is_some() || !asks_synthetic,
            "synthetic",
            "synthetic images are asked for, but no data set is given; write synthetic: {path: DIR}",
        );
        problems.require(
            self.synthetic
                .as_ref()
                .is_none_or(|source| source.path != self.real.path),
            "synthetic.path",
            "is the real data set itself, whose images would be drawn twice; give another one",
        );
        for (key, source) in [
            ("real", Some(&self.real)),
            ("synthetic", self.synthetic.as_ref()),
        ] {
            problems.require(
                source.is_none_or(|source| source.split == Split::Train),
                &format!("{key}.split"),
                "must be train: val and test are held out for measuring",
            );
        }
        let source = |spec: SourceSpec| Source {
            path: spec.path,
            split: spec.split,
            images_per_class: spec.images_per_class,
        };
        let plan = MixPlan {
            real: source(self.real),
            synthetic: self.synthetic.map(source),
            policy,
            held_out: self.held_out,
        };
        problems.into_result(path, plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;

    fn plan(text: &str) -> Result<MixPlan, SpecError> {
        let path = Path::new("mix.yaml");
        spec::parse::<MixSpec>(text, path, &[])?.into_plan(path)
    }

    #[test]
    fn a_share_is_rounded_as_it_is_written() {
        let of = |share, total| Ratio::new(share).unwrap().of(total);
        assert_eq!(of(0.145, 100), 15);
        assert_eq!(of(0.0, 7), 0);
        assert_eq!(of(1.0, 7), 7);
        assert_eq!(of(0.25, 149), 37);
        assert!(Ratio::new(1.01).is_none() && Ratio::new(f64::NAN).is_none());
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let error =
            plan("real: {path: a, split: test}\npolicy: {substitution: {total: 0, share: 1.5}}")
                .unwrap_err()
                .to_string();
        for part in ["3 problem(s)", "total", "1.5 is not in 0..=1", "real.split"] {
            assert!(error.contains(part), "{error}");
        }
        let error = plan("real: {path: a}\npolicy: {addition: {synthetic: 3}}").unwrap_err();
        assert!(error.to_string().contains("no data set is given"));
        let twice = "real: {path: a}\nsynthetic: {path: a}\npolicy: {addition: {synthetic: 3}}";
        let error = plan(twice).unwrap_err().to_string();
        assert!(error.contains("synthetic.path: is the real data set itself"));
    }

    #[test]
    fn the_presets_are_sound() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("presets");
        for name in ["mix_substitution.yaml", "mix_addition.yaml"] {
            let path = folder.join(name);
            let plan = spec::load::<MixSpec>(&path, &[]).and_then(|s| s.into_plan(&path));
            assert!(plan.unwrap().synthetic.is_some(), "{name}");
        }
    }
}
