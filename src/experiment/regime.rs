//! How a trial uses its images: the trainings that it is made of.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::trial::Regime;
use crate::augment::{AugmentPlan, AugmentSpec};
use crate::dataset::{Dataset, Sample};
use crate::detector::{StartSpec, TrainPlan, TrainSpec};
use crate::seed::PlanHash;
use crate::spec::{Override, Problems, SpecError};

/// Folder of a trial's detector, the one that is evaluated.
pub(super) const DETECTOR: &str = "detector";

/// Folder of what a trial learnt from its synthetic images alone.
const PRETRAINING: &str = "pretraining";

/// Settings of the regimes that an experiment has arms of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RegimeSettings {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretraining: Option<PretrainingSettings>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curriculum: Option<CurriculumSettings>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auxiliary: Option<AuxiliarySettings>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub augmentation: Option<AugmentationSettings>,
}

/// How copies of the real images are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AugmentationSettings {
    /// As `admix augment` takes it.
    pub preset: PathBuf,
    /// Values of the preset's keys, each as `key=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
    /// The dose, where the preset has a ladder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<usize>,
    /// Of what the preset says.
    pub policy: PlanHash,
}

impl AugmentationSettings {
    /// What the preset says, if it is what it was.
    ///
    /// # Errors
    /// A preset that cannot be read, or says another thing than when the plan was made.
    pub(super) fn policy(&self) -> Result<AugmentPlan, SpecError> {
        let policy = Self::read(&self.preset, &self.set, self.severity)?;
        if PlanHash::of(&policy) == self.policy {
            return Ok(policy);
        }
        Err(SpecError::Problems {
            path: self.preset.clone(),
            problems: vec![
                "it was changed while the experiment ran; run the experiment anew".to_owned(),
            ],
        })
    }

    fn read(
        preset: &Path,
        set: &[String],
        severity: Option<usize>,
    ) -> Result<AugmentPlan, SpecError> {
        let overrides = set.iter().map(|text| text.parse::<Override>());
        let overrides = overrides.collect::<Result<Vec<_>, _>>()?;
        AugmentSpec::load(preset, &overrides, severity)?.into_plan(preset)
    }

    /// # Errors
    /// A preset that cannot be read or is not one, with these values of its keys.
    pub(super) fn of(
        preset: &Path,
        set: &[String],
        severity: Option<usize>,
    ) -> Result<Self, SpecError> {
        Ok(AugmentationSettings {
            policy: PlanHash::of(&Self::read(preset, set, severity)?),
            preset: preset.to_owned(),
            set: set.to_vec(),
            severity,
        })
    }
}

/// A training on the synthetic images, and from its weights one on the real ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PretrainingSettings {
    /// Share of the optimiser steps that the synthetic images get, above 0 and below 1.
    pub share_of_steps: f64,
    /// Learning rate on the real images as a share of the usual one, above 0, at most 1.
    pub rate: f64,
}

/// Trainings of as many steps, each from the weights of the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurriculumSettings {
    /// What they see; two or more, each another than the one before.
    pub order: Vec<Seen>,
}

/// The weights in the loss under which real and synthetic images are mixed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AuxiliarySettings {
    /// Of the auxiliary task; above 0, at most 1e4.
    pub image_class_weight: f64,
    /// Of what synthetic images say of objectness, boxes and classes; `0..=1e4`.
    pub synthetic_weight: f64,
}

impl PretrainingSettings {
    /// Steps on the synthetic images and on the real ones; `total` together.
    fn steps(&self, total: u64) -> [u64; 2] {
        let first = ((self.share_of_steps * total as f64).round() as u64).clamp(1, total.max(1));
        [first, total.saturating_sub(first)]
    }
}

/// The images of a trial that one of its trainings sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    Mixed,
    Real,
    Synthetic,
}

impl Seen {
    fn name(self) -> &'static str {
        match self {
            Seen::Mixed => "both mixed",
            Seen::Real => "the real images",
            Seen::Synthetic => "the synthetic images",
        }
    }
}

/// One training of a trial.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    pub folder: PathBuf,
    pub plan: TrainPlan,
    seen: Seen,
}

impl Stage {
    /// Those of the trial's images that this training sees.
    pub fn images(&self, drawn: &Dataset) -> Dataset {
        drawn.filtered(|sample: &Sample| match self.seen {
            Seen::Mixed => true,
            Seen::Real => sample.record.counts_as_real(),
            Seen::Synthetic => !sample.record.counts_as_real(),
        })
    }
}

/// The trainings of a trial in `folder`, in their order; the last one makes its detector
/// and their steps add up to those of `train`.
///
/// # Errors
/// Settings with which a training cannot be run, or that are not there.
pub(super) fn stages(
    regime: Regime,
    train: &TrainPlan,
    settings: &RegimeSettings,
    folder: &Path,
) -> Result<Vec<Stage>, SpecError> {
    let detector = folder.join(DETECTOR);
    let stage = |folder: PathBuf, spec: TrainSpec, seen: Seen| {
        let plan = spec.into_plan(&folder)?;
        Ok(Stage { folder, plan, seen })
    };
    let mut spec = TrainSpec::clone(train);
    match regime {
        Regime::Joint | Regime::Augmentation => Ok(vec![stage(detector, spec, Seen::Mixed)?]),
        Regime::Auxiliary => {
            let auxiliary = settings.auxiliary.ok_or_else(|| missing(regime, folder))?;
            spec.loss.image_class_weight = auxiliary.image_class_weight;
            spec.loss.synthetic_weight = auxiliary.synthetic_weight;
            Ok(vec![stage(detector, spec, Seen::Mixed)?])
        }
        Regime::Curriculum => {
            let curriculum = settings
                .curriculum
                .as_ref()
                .ok_or_else(|| missing(regime, folder))?;
            let parts = curriculum.order.len() as u64;
            let mut stages: Vec<Stage> = Vec::new();
            for (number, &seen) in (1..).zip(&curriculum.order) {
                let mut part = spec.clone();
                // Rounded so that they add up.
                let steps = train.steps * number / parts - train.steps * (number - 1) / parts;
                shorten(&mut part, steps);
                if let Some(before) = stages.last() {
                    part.start = Some(StartSpec {
                        weights: before.folder.clone(),
                        backbone_rate: train.start.as_ref().map_or(1.0, |s| s.backbone_rate),
                    });
                }
                let own = match number {
                    _ if number == parts => detector.clone(),
                    _ => folder.join(format!("part_{number}")),
                };
                stages.push(stage(own, part, seen)?);
            }
            Ok(stages)
        }
        Regime::Pretraining => {
            let pretraining = settings
                .pretraining
                .ok_or_else(|| missing(regime, folder))?;
            let [first, second] = pretraining.steps(train.steps);
            let weights = folder.join(PRETRAINING);
            let mut tuned = spec.clone();
            shorten(&mut spec, first);
            shorten(&mut tuned, second);
            tuned.optimizer = tuned.optimizer.scaled(pretraining.rate);
            // A backbone that its own start spares is spared here too, as in the trials
            // that this one is compared with.
            let backbone_rate = train
                .start
                .as_ref()
                .map_or(1.0, |start| start.backbone_rate);
            tuned.start = Some(StartSpec {
                weights: weights.clone(),
                backbone_rate,
            });
            Ok(vec![
                stage(weights, spec, Seen::Synthetic)?,
                stage(detector, tuned, Seen::Real)?,
            ])
        }
    }
}

fn missing(regime: Regime, folder: &Path) -> SpecError {
    SpecError::Problems {
        path: folder.to_owned(),
        problems: vec![format!("the plan has no settings for {}", regime.name())],
    }
}

/// Gives a training `steps` of its steps, and as large a share of its warm-up, rounded down
/// so that it stays the shorter one.
fn shorten(spec: &mut TrainSpec, steps: u64) {
    spec.warmup_steps = spec.warmup_steps * steps / spec.steps.max(1);
    spec.steps = steps;
}

impl RegimeSettings {
    /// Whether all arms mix their images plainly.
    pub fn is_empty(&self) -> bool {
        self.pretraining.is_none()
            && self.curriculum.is_none()
            && self.auxiliary.is_none()
            && self.augmentation.is_none()
    }

    /// Adds what keeps trainings with the settings of `train` from being run in these ways.
    pub(super) fn check(&self, train: &TrainPlan, problems: &mut Problems) {
        if let Some(pretraining) = &self.pretraining {
            let share = pretraining.share_of_steps;
            problems.require(
                !(0.0..1.0).contains(&share) || pretraining.steps(train.steps)[1] > 0,
                "arms.pretraining.share_of_steps",
                format!(
                    "{share} leaves none of {} steps for the real images",
                    train.steps
                ),
            );
            problems.require(
                train.loss.synthetic_weight > 0.0,
                "arms.pretraining",
                "with train's loss.synthetic_weight 0 synthetic images alone teach nothing; raise it",
            );
        }
        if let Some(curriculum) = &self.curriculum {
            problems.require(
                train.steps >= curriculum.order.len() as u64,
                "arms.curriculum.order",
                format!(
                    "{} trainings cannot share {} steps",
                    curriculum.order.len(),
                    train.steps
                ),
            );
            problems.require(
                train.loss.synthetic_weight > 0.0
                    || !curriculum.order.contains(&Seen::Synthetic),
                "arms.curriculum.order",
                "with train's loss.synthetic_weight 0 synthetic images alone teach nothing; raise it",
            );
        }
        if !problems.is_empty() {
            return;
        }
        // What remains are the limits of a training itself, such as the least learning rate.
        for (regime, has_arm) in [
            (Regime::Pretraining, self.pretraining.is_some()),
            (Regime::Curriculum, self.curriculum.is_some()),
            (Regime::Auxiliary, self.auxiliary.is_some()),
        ] {
            if !has_arm {
                continue;
            }
            let key = format!("arms.{}", regime.name());
            match stages(regime, train, self, Path::new("")) {
                Ok(_) => {}
                Err(SpecError::Problems {
                    problems: found, ..
                }) => found.iter().for_each(|problem| problems.add(&key, problem)),
                Err(error) => problems.add(&key, error),
            }
        }
    }

    /// What the trials of a regime do with their images in trainings of `steps` steps;
    /// `None` for plain mixing.
    pub fn describe(&self, regime: Regime, steps: u64) -> Option<String> {
        match regime {
            Regime::Joint => None,
            Regime::Augmentation => self.augmentation.as_ref().map(|augmentation| {
                format!(
                    "the real images of each trial, copied and augmented by {}",
                    augmentation.preset.display()
                )
            }),
            Regime::Pretraining => self.pretraining.map(|pretraining| {
                let [first, second] = pretraining.steps(steps);
                format!(
                    "{first} of {steps} steps on the synthetic images, then {second} on the real \
                     ones at {} of the learning rate",
                    pretraining.rate
                )
            }),
            Regime::Curriculum => self.curriculum.as_ref().map(|curriculum| {
                let names: Vec<&str> = curriculum.order.iter().map(|seen| seen.name()).collect();
                format!(
                    "{steps} steps in {} equal parts: {}, each from the weights of the one before",
                    names.len(),
                    names.join(", then ")
                )
            }),
            Regime::Auxiliary => self.auxiliary.map(|auxiliary| {
                format!(
                    "mixed, with image_class_weight {} and synthetic_weight {}; real-only has the \
                     auxiliary task too",
                    auxiliary.image_class_weight, auxiliary.synthetic_weight
                )
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: RegimeSettings = RegimeSettings {
        pretraining: Some(PretrainingSettings {
            share_of_steps: 0.3,
            rate: 0.1,
        }),
        curriculum: None,
        auxiliary: Some(AuxiliarySettings {
            image_class_weight: 0.7,
            synthetic_weight: 0.2,
        }),
        augmentation: None,
    };

    fn train(edit: impl Fn(&mut TrainSpec)) -> TrainPlan {
        let mut spec = TrainSpec {
            steps: 101,
            warmup_steps: 20,
            ..TrainSpec::default()
        };
        edit(&mut spec);
        spec.into_plan(Path::new("train.yaml")).unwrap()
    }

    fn json(plan: &TrainPlan) -> String {
        serde_json::to_string(plan).unwrap()
    }

    #[test]
    fn mixing_is_one_training_with_the_settings_as_they_are() {
        let train = train(|_| {});
        let stages = stages(Regime::Joint, &train, &SETTINGS, Path::new("t")).unwrap();
        assert_eq!(stages.len(), 1);
        assert_eq!(json(&stages[0].plan), json(&train));
        assert_eq!(
            (&stages[0].folder, stages[0].seen),
            (&PathBuf::from("t/detector"), Seen::Mixed)
        );
    }

    #[test]
    fn the_auxiliary_regime_changes_two_weights_of_the_loss() {
        let plain = train(|_| {});
        let stages = stages(Regime::Auxiliary, &plain, &SETTINGS, Path::new("t")).unwrap();
        let expected = train(|spec| {
            spec.loss.image_class_weight = 0.7;
            spec.loss.synthetic_weight = 0.2;
        });
        assert_eq!(stages.len(), 1);
        assert_eq!(json(&stages[0].plan), json(&expected));
        assert_eq!(stages[0].seen, Seen::Mixed);
    }

    #[test]
    fn pretraining_shares_steps_and_warm_up_and_starts_from_the_first_weights() {
        let train = train(|_| {});
        let stages = stages(Regime::Pretraining, &train, &SETTINGS, Path::new("t")).unwrap();
        let [first, second] = &stages[..] else {
            panic!("{stages:?}");
        };
        assert_eq!((first.plan.steps, second.plan.steps), (30, 71));
        assert_eq!((first.plan.warmup_steps, second.plan.warmup_steps), (5, 14));
        let usual = train.optimizer.learning_rate();
        assert_eq!(first.plan.optimizer.learning_rate(), usual);
        assert_eq!(second.plan.optimizer.learning_rate(), usual * 0.1);
        assert_eq!((&first.plan.start, first.seen), (&None, Seen::Synthetic));
        assert_eq!(second.seen, Seen::Real);
        let start = second.plan.start.as_ref().unwrap();
        assert_eq!((&start.weights, start.backbone_rate), (&first.folder, 1.0));
        assert_eq!(second.folder, Path::new("t/detector"));
    }

    #[test]
    fn a_start_of_the_settings_is_that_of_the_first_training() {
        let own = StartSpec {
            weights: "w.pth".into(),
            backbone_rate: 0.2,
        };
        let train = train(|spec| spec.start = Some(own.clone()));
        let stages = stages(Regime::Pretraining, &train, &SETTINGS, Path::new("t")).unwrap();
        assert_eq!(stages[0].plan.start, Some(own));
        let second = stages[1].plan.start.as_ref().unwrap();
        assert_eq!(second.weights, stages[0].folder);
        assert_eq!(second.backbone_rate, 0.2);
    }

    #[test]
    fn a_curriculum_shares_the_steps_and_each_part_starts_from_the_one_before() {
        let train = train(|_| {});
        let settings = RegimeSettings {
            curriculum: Some(CurriculumSettings {
                order: vec![Seen::Synthetic, Seen::Mixed, Seen::Real],
            }),
            ..RegimeSettings::default()
        };
        let mut problems = Problems::default();
        settings.check(&train, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        let stages = stages(Regime::Curriculum, &train, &settings, Path::new("t")).unwrap();
        let told: Vec<_> = stages
            .iter()
            .map(|s| {
                let start = s.plan.start.as_ref().map(|start| start.weights.clone());
                (s.folder.clone(), s.plan.steps, s.seen, start)
            })
            .collect();
        let [first, second, last] = ["t/part_1", "t/part_2", "t/detector"].map(PathBuf::from);
        assert_eq!(
            told,
            [
                (first.clone(), 33, Seen::Synthetic, None),
                (second.clone(), 34, Seen::Mixed, Some(first)),
                (last, 34, Seen::Real, Some(second)),
            ]
        );
        let short = self::train(|spec| {
            spec.steps = 2;
            spec.warmup_steps = 0;
        });
        let mut problems = Problems::default();
        settings.check(&short, &mut problems);
        let message = problems.into_result(Path::new("e.yaml"), ()).unwrap_err();
        assert!(
            message
                .to_string()
                .contains("3 trainings cannot share 2 steps")
        );
        let how = settings.describe(Regime::Curriculum, 101).unwrap();
        assert!(
            how.contains("then both mixed, then the real images"),
            "{how}"
        );
    }

    #[test]
    fn steps_add_up_and_the_warm_up_always_fits() {
        for steps in [2, 3, 7, 100] {
            for share_of_steps in [0.001, 0.25, 0.5, 0.74] {
                let train = train(|spec| {
                    spec.steps = steps;
                    spec.warmup_steps = steps - 1;
                });
                let settings = RegimeSettings {
                    pretraining: Some(PretrainingSettings {
                        share_of_steps,
                        rate: 1.0,
                    }),
                    curriculum: None,
                    auxiliary: None,
                    augmentation: None,
                };
                let mut problems = Problems::default();
                settings.check(&train, &mut problems);
                assert!(problems.is_empty(), "{problems:?}");
                let stages =
                    stages(Regime::Pretraining, &train, &settings, Path::new("t")).unwrap();
                let sum: u64 = stages.iter().map(|stage| stage.plan.steps).sum();
                assert_eq!(sum, steps);
                assert!(stages.iter().all(|stage| stage.plan.steps > 0));
            }
        }
    }

    #[test]
    fn trainings_that_cannot_be_run_are_told() {
        let told = |train: &TrainPlan, rate: f64| {
            let mut settings = SETTINGS.clone();
            settings.pretraining = Some(PretrainingSettings {
                share_of_steps: 0.9,
                rate,
            });
            let mut problems = Problems::default();
            settings.check(train, &mut problems);
            problems
                .into_result(Path::new("e.yaml"), ())
                .map_err(|error| error.to_string())
        };
        assert_eq!(told(&train(|_| {}), 0.1), Ok(()));
        let short = train(|spec| {
            spec.steps = 4;
            spec.warmup_steps = 0;
            spec.loss.synthetic_weight = 0.0;
        });
        let message = told(&short, 0.1).unwrap_err();
        for part in ["0.9 leaves none of 4 steps", "teach nothing"] {
            assert!(message.contains(part), "{part} is missing in {message}");
        }
        let message = told(&train(|_| {}), 1e-12).unwrap_err();
        assert!(
            message.contains("arms.pretraining: optimizer.adamw.learning_rate"),
            "{message}"
        );
        let none = RegimeSettings::default();
        for regime in [Regime::Pretraining, Regime::Curriculum, Regime::Auxiliary] {
            let error = stages(regime, &train(|_| {}), &none, Path::new("t")).unwrap_err();
            assert!(error.to_string().contains("no settings"), "{error}");
        }
    }
}
