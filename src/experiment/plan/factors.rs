//! What is crossed with the ratio: factors with levels, and the cells that are tried.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Arm, ArmKind, SceneSource, SyntheticSource};
use crate::detector::{TrainPlan, TrainSpec};
use crate::experiment::design::{self, MAX_CELLS};
use crate::experiment::regime::AugmentationSettings;
use crate::experiment::trial::Condition;
use crate::seed::PlanHash;
use crate::spec::{Override, Problems, SpecError};

/// One thing that is tried in several ways at every ratio.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactorSpec {
    /// Letters, digits, `_` and `-`: it stands in the trials' names.
    pub name: String,
    /// Two or more; the others are compared with the first.
    pub levels: Vec<LevelSpec>,
}

/// One way, which changes nothing where nothing is given.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelSpec {
    /// As a factor's.
    pub name: String,
    /// Values of the scene's keys, each as `key=value`, after those of `synthetic.scene.set`.
    #[serde(default)]
    pub scene: Vec<String>,
    /// Other synthetic images than `synthetic`.
    #[serde(default)]
    pub source: Option<SyntheticSource>,
    /// Values of the train settings' keys, each as `key=value`.
    #[serde(default)]
    pub train: Vec<String>,
    /// What is done to the real training images and their labels.
    #[serde(default)]
    pub real: Option<TreatmentSpec>,
    /// The same for the synthetic ones.
    #[serde(default)]
    pub synthetic: Option<TreatmentSpec>,
}

/// A preset as `admix augment` takes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreatmentSpec {
    pub preset: PathBuf,
    /// Values of the preset's keys, each as `key=value`.
    #[serde(default)]
    pub set: Vec<String>,
    /// The dose, where the preset has a ladder.
    #[serde(default)]
    pub severity: Option<usize>,
}

/// A factor of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Factor {
    pub name: String,
    /// The first is the one that the others are compared with.
    pub levels: Vec<String>,
}

/// One combination of levels, and what it changes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cell {
    /// Index of each factor's level.
    pub levels: Vec<usize>,
    /// Which of the plan's sources its synthetic images come from.
    pub source: usize,
    /// Settings of its trainings, where they are others than the plan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<TrainPlan>,
    /// What is done to its real training images, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub real: Vec<AugmentationSettings>,
    /// What is done to its synthetic training images, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub synthetic: Vec<AugmentationSettings>,
}

impl Cell {
    /// Whether a training on these images is the same in both cells.
    fn is_alike(&self, other: &Cell, condition: Condition) -> bool {
        let train = |cell: &Cell| cell.train.as_ref().map(PlanHash::of);
        let synthetic = |cell: &Cell| (cell.source, cell.synthetic.clone());
        train(self) == train(other)
            && (condition.n_real == 0 || self.real == other.real)
            && (condition.n_synthetic == 0 || synthetic(self) == synthetic(other))
    }
}

/// The factors of a plan with their cells; none of either where nothing is crossed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Crossing {
    pub factors: Vec<Factor>,
    /// The combinations that are tried. The first has the first level of every factor.
    pub cells: Vec<Cell>,
}

impl Crossing {
    pub fn is_empty(&self) -> bool {
        self.factors.is_empty()
    }

    /// How many levels each factor has.
    pub fn level_counts(&self) -> Vec<usize> {
        self.factors.iter().map(|f| f.levels.len()).collect()
    }

    /// The condition in a cell: in the first of those cells in which it is the same training.
    pub fn place(&self, condition: Condition, cell: usize) -> Condition {
        let own = &self.cells[cell];
        let first = self
            .cells
            .iter()
            .position(|other| own.is_alike(other, condition));
        let cell = first.unwrap_or(cell);
        Condition {
            cell,
            source: match condition.n_synthetic {
                0 => 0,
                _ => self.cells[cell].source,
            },
            ..condition
        }
    }

    /// The levels of a cell as people name them; `None` where nothing is crossed.
    pub fn name(&self, cell: usize) -> Option<String> {
        let names = self.named_levels(cell)?;
        let named = names.iter().map(|(factor, level)| match *level {
            // A level that says nothing by itself.
            "on" | "off" | "yes" | "no" => format!("{factor} {level}"),
            _ => (*level).to_owned(),
        });
        Some(named.collect::<Vec<_>>().join(", "))
    }

    /// What a cell adds to its trials' names: the levels that are not the first of their
    /// factor, so that the names stay where another factor is added. No name holds a `+` or a
    /// `.`, so that no two cells add the same.
    pub fn suffix(&self, cell: usize) -> String {
        let Some(levels) = self.named_levels(cell) else {
            return String::new();
        };
        let others = levels
            .iter()
            .zip(&self.cells[cell].levels)
            .filter(|(_, level)| **level > 0)
            .map(|((factor, level), _)| format!("+{factor}.{level}"));
        others.collect()
    }

    fn named_levels(&self, cell: usize) -> Option<Vec<(&str, &str)>> {
        let cell = self.cells.get(cell).filter(|_| !self.is_empty())?;
        let pairs = self.factors.iter().zip(&cell.levels);
        let named = pairs.map(|(f, &level)| (f.name.as_str(), f.levels[level].as_str()));
        Some(named.collect())
    }

    /// Each arm in each cell. Copies of real images come from no source and stay as they are.
    pub(super) fn cross(&self, arms: &mut Vec<Arm>) {
        if self.is_empty() {
            return;
        }
        let first: Vec<Arm> = arms
            .iter()
            .filter(|arm| arm.kind != ArmKind::Augmentation)
            .cloned()
            .collect();
        for cell in 1..self.cells.len() {
            arms.extend(first.iter().map(|arm| {
                let levels = arm.levels.iter().map(|level| super::Level {
                    condition: self.place(level.condition, cell),
                    ..*level
                });
                Arm {
                    kind: arm.kind,
                    source: self.cells[cell].source,
                    cell,
                    levels: levels.collect(),
                }
            }));
        }
    }
}

/// What the factors' cells need that the plan already has.
pub(super) struct Base<'a> {
    pub synthetic: &'a SyntheticSource,
    pub train: &'a TrainPlan,
    /// The experiment's file, for errors.
    pub path: &'a Path,
}

/// Crosses the factors. The sources that the cells need beyond the first are added to
/// `sources` with a name.
///
/// # Errors
/// A preset or a training setting that cannot be read or is wrong; what is wrong with the
/// factors themselves becomes a problem.
pub(super) fn cross(
    specs: &[FactorSpec],
    cells: Option<usize>,
    base: &Base,
    sources: &mut Vec<(String, SyntheticSource)>,
    problems: &mut Problems,
) -> Result<Crossing, SpecError> {
    if specs.is_empty() {
        problems.require(
            cells.is_none(),
            "cells",
            "there are no factors to take cells of; give `factors`",
        );
        return Ok(Crossing::default());
    }
    problems.require(
        sources.is_empty(),
        "other_synthetic",
        "sources and factors are both given; make the sources levels of a factor, each with \
         `source: {scene or dataset}`",
    );
    check_names(specs, problems);
    let counts: Vec<usize> = specs.iter().map(|factor| factor.levels.len()).collect();
    let all = counts
        .iter()
        .try_fold(1_usize, |all, &count| all.checked_mul(count));
    let Some(all) = all.filter(|all| *all <= MAX_CELLS) else {
        problems.add(
            "factors",
            format!(
                "there are more than {MAX_CELLS} combinations of levels; leave some factors out"
            ),
        );
        return Ok(Crossing::default());
    };
    let wanted = cells.unwrap_or(all);
    let least = design::fewest_cells(&counts);
    if wanted > all || wanted < least {
        problems.add(
            "cells",
            format!(
                "{wanted} is not between {least}, the fewest that tell every main effect, and \
                 {all}, all combinations"
            ),
        );
    }
    if !problems.is_empty() {
        return Ok(Crossing::default());
    }
    let mut crossing = Crossing {
        factors: specs
            .iter()
            .map(|spec| Factor {
                name: spec.name.clone(),
                levels: spec.levels.iter().map(|level| level.name.clone()).collect(),
            })
            .collect(),
        cells: Vec::new(),
    };
    for levels in design::choose(&counts, wanted) {
        let chosen: Vec<&LevelSpec> = specs
            .iter()
            .zip(&levels)
            .map(|(factor, &level)| &factor.levels[level])
            .collect();
        let source = source_of(&chosen, base.synthetic, sources, problems);
        let train = train_of(&chosen, base)?;
        let mut cell = Cell {
            levels,
            source,
            train,
            real: Vec::new(),
            synthetic: Vec::new(),
        };
        for level in &chosen {
            if let Some(treatment) = &level.real {
                cell.real.push(treatment.settings()?);
            }
            if let Some(treatment) = &level.synthetic {
                cell.synthetic.push(treatment.settings()?);
            }
        }
        crossing.cells.push(cell);
    }
    Ok(crossing)
}

impl TreatmentSpec {
    fn settings(&self) -> Result<AugmentationSettings, SpecError> {
        AugmentationSettings::of(&self.preset, &self.set, self.severity)
    }
}

fn check_names(specs: &[FactorSpec], problems: &mut Problems) {
    let mut factors = BTreeSet::new();
    for (index, factor) in specs.iter().enumerate() {
        let key = format!("factors.{index}");
        check_name(&factor.name, &format!("{key}.name"), problems);
        problems.require(
            factors.insert(&factor.name),
            &format!("{key}.name"),
            format!("{} names two factors", factor.name),
        );
        problems.require(
            factor.levels.len() > 1,
            &format!("{key}.levels"),
            "one level or none leaves nothing to compare; give two or more",
        );
        let mut levels = BTreeSet::new();
        for (index, level) in factor.levels.iter().enumerate() {
            let key = format!("{key}.levels.{index}");
            check_name(&level.name, &format!("{key}.name"), problems);
            problems.require(
                levels.insert(&level.name),
                &format!("{key}.name"),
                format!("{} names two levels", level.name),
            );
            problems.require(
                level.source.is_none() || level.scene.is_empty(),
                &format!("{key}.scene"),
                "it would change `synthetic.scene`, which `source` replaces; use `source.scene.set`",
            );
        }
    }
}

fn check_name(name: &str, key: &str, problems: &mut Problems) {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    problems.require(
        !name.is_empty() && name.chars().all(fits),
        key,
        format!("{name:?} has other characters than letters, digits, `_` and `-`, or none"),
    );
}

/// Index of the source that these levels give, which is added where it is new.
fn source_of(
    chosen: &[&LevelSpec],
    synthetic: &SyntheticSource,
    sources: &mut Vec<(String, SyntheticSource)>,
    problems: &mut Problems,
) -> usize {
    let own: Vec<&LevelSpec> = chosen
        .iter()
        .copied()
        .filter(|level| level.source.is_some() || !level.scene.is_empty())
        .collect();
    if own.is_empty() {
        return 0;
    }
    let replacing = own.iter().filter_map(|level| level.source.as_ref());
    let replacing: Vec<&SyntheticSource> = replacing.collect();
    if replacing.len() > 1 {
        problems.add(
            "factors",
            "levels of two factors have a `source`; join them into one factor",
        );
        return 0;
    }
    let mut source = replacing
        .first()
        .map_or(synthetic, |source| *source)
        .clone();
    let set: Vec<String> = own.iter().flat_map(|level| level.scene.clone()).collect();
    match &mut source {
        SyntheticSource::Scene(SceneSource { set: own, .. }) => own.extend(set),
        SyntheticSource::Dataset(folder) => {
            if !set.is_empty() {
                problems.add(
                    "factors",
                    format!(
                        "a level sets keys of a scene, and the synthetic images are those of {}; \
                         give `synthetic.scene`",
                        folder.display()
                    ),
                );
                return 0;
            }
        }
    }
    if source == *synthetic {
        return 0;
    }
    if let Some(index) = sources.iter().position(|(_, known)| *known == source) {
        return index + 1;
    }
    let name: Vec<&str> = own.iter().map(|level| level.name.as_str()).collect();
    sources.push((name.join(", "), source));
    sources.len()
}

/// The train settings under these levels, where they change any.
fn train_of(chosen: &[&LevelSpec], base: &Base) -> Result<Option<TrainPlan>, SpecError> {
    let overrides = chosen
        .iter()
        .flat_map(|level| &level.train)
        .map(|text| text.parse::<Override>())
        .collect::<Result<Vec<_>, _>>()?;
    if overrides.is_empty() {
        return Ok(None);
    }
    let usual = serde_json::to_string(base.train).expect("a plan serialises");
    let spec: TrainSpec = crate::spec::parse(&usual, base.path, &overrides)?;
    Ok(Some(spec.into_plan(base.path)?))
}
