//! What the factors that are crossed with the ratio change: quality, quantity, richness.
//!
//! Factors and ratio are crossed in one layout, the conditions of an arm in all of its cells.
//! A main effect is the mean, over the ratios with synthetic images, of what a level changes
//! in place of its factor's first; its interaction with the ratio is by how much it changes
//! more at the largest ratio than at the smallest. Quantity is one of the effects: what the
//! largest ratio changes in place of the smallest. Every effect is a contrast of the condition
//! means, with the weights that the design gives; main effects hold together at 95 %, and so do
//! interactions (Bonferroni).

use serde::Serialize;

use super::{ALPHA, Estimate, Grid, Refusal, Standing, standing};
use crate::experiment::design::{Effect, Model};
use crate::experiment::plan::{Arm, ArmKind, Crossing, ExperimentPlan};
use crate::experiment::sentence::{listed, signed};
use crate::experiment::statistics::{Layout, t_quantile};
use crate::experiment::trial::Condition;

/// Weight of a condition below which it does not count.
const NO_WEIGHT: f64 = 1e-9;

/// The factors' effects in one arm.
#[derive(Debug, Clone, Serialize)]
pub struct FactorSummary {
    pub kind: ArmKind,
    /// Combinations of levels that were tried, and all that there are.
    pub cells: usize,
    pub cells_of_all: usize,
    pub sentence: String,
    pub refusal: Option<Refusal>,
    /// The factors' main effects and that of quantity, the largest first.
    pub main_effects: Vec<FactorEffect>,
    /// With the ratio, and of two factors, the largest first.
    pub interactions: Vec<FactorEffect>,
    /// Whether an interaction of two factors would be taken for a main effect, since too few
    /// combinations were tried.
    pub mixed_with_interactions: bool,
}

/// What one change does.
#[derive(Debug, Clone, Serialize)]
pub struct FactorEffect {
    /// The factor, or `quantity`; of an interaction both.
    pub factor: String,
    /// Such as `faulty in place of clean`.
    pub change: String,
    pub difference: Estimate,
    pub standing: Standing,
    /// The same at each ratio: its label and the difference.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub at_ratios: Vec<(String, Estimate)>,
}

/// An arm in all cells as one table.
struct Table<'a> {
    layout: &'a Layout,
    /// Label and row of each cell, by rising ratio; real-only first.
    ratios: Vec<(String, Vec<usize>)>,
}

impl Table<'_> {
    /// The weights of the cells at some ratios, as those of the layout's rows; `None` where
    /// the cells are all one there.
    fn rows(&self, parts: &[(usize, f64)], of_cells: &[f64]) -> Option<Vec<(usize, f64)>> {
        let mut rows: Vec<(usize, f64)> = Vec::new();
        for &(ratio, share) in parts {
            for (&row, weight) in self.ratios[ratio].1.iter().zip(of_cells) {
                match rows.iter_mut().find(|(known, _)| *known == row) {
                    Some((_, sum)) => *sum += share * weight,
                    None => rows.push((row, share * weight)),
                }
            }
        }
        rows.retain(|(_, weight)| weight.abs() > NO_WEIGHT);
        (!rows.is_empty()).then_some(rows)
    }

    fn estimate(&self, rows: &[(usize, f64)], family: usize) -> Estimate {
        let contrast = self.layout.contrast(rows);
        let tail = ALPHA / (2.0 * family.max(1) as f64);
        Estimate::of(&contrast, t_quantile(1.0 - tail, contrast.degrees))
    }

    /// The ratios with synthetic images, in equal parts.
    fn all_ratios(&self) -> Vec<(usize, f64)> {
        let count = self.ratios.len() - 1;
        (1..=count)
            .map(|ratio| (ratio, 1.0 / count as f64))
            .collect()
    }
}

/// What a change is called, and the weights of the rows whose sum it is.
struct Wanted {
    factor: String,
    change: String,
    rows: Vec<(usize, f64)>,
    at_ratios: Vec<(String, Vec<(usize, f64)>)>,
}

impl Grid<'_> {
    /// The factors' effects in each arm that they are crossed with.
    pub(super) fn factors(&self, plan: &ExperimentPlan) -> Vec<FactorSummary> {
        let crossing = &plan.crossing;
        let further = |kind: ArmKind| plan.arms.iter().any(|a| a.cell > 0 && a.kind == kind);
        let first = plan
            .arms
            .iter()
            .filter(|arm| arm.cell == 0 && further(arm.kind));
        first
            .map(|arm| {
                let of_kind: Vec<&Arm> = plan
                    .arms
                    .iter()
                    .filter(|other| other.kind == arm.kind)
                    .collect();
                let mut all: Vec<Condition> =
                    of_kind.iter().flat_map(|arm| arm.conditions()).collect();
                all.sort();
                all.dedup();
                self.of(&all).crossed(crossing, arm, &of_kind)
            })
            .collect()
    }

    fn crossed(&self, crossing: &Crossing, first: &Arm, arms: &[&Arm]) -> FactorSummary {
        let counts = crossing.level_counts();
        let mut summary = FactorSummary {
            kind: first.kind,
            cells: crossing.cells.len(),
            cells_of_all: counts.iter().product(),
            sentence: String::new(),
            refusal: None,
            main_effects: Vec::new(),
            interactions: Vec::new(),
            mixed_with_interactions: false,
        };
        let about = format!("Factors ({})", first.kind.name());
        let cells: Vec<Vec<usize>> = crossing.cells.iter().map(|c| c.levels.clone()).collect();
        let told = self.allowed(first).and_then(|(layout, _)| {
            let rows = |level: usize| -> Option<Vec<usize>> {
                let conditions = arms.iter().map(|arm| arm.levels[level].condition);
                conditions.map(|condition| self.row(condition)).collect()
            };
            let ratios = first.levels.iter().zip(0..);
            let ratios: Option<Vec<(String, Vec<usize>)>> = ratios
                .map(|(level, index)| Some((first.kind.label(level.ratio), rows(index)?)))
                .collect();
            // A condition whose runs do not vary has no row.
            let ratios = ratios.ok_or(Refusal::NoVariation)?;
            let model = Model::of(&counts, &cells).ok_or(Refusal::NoVariation)?;
            Ok((Table { layout, ratios }, model))
        });
        let (table, model) = match told {
            Ok(found) => found,
            Err(refusal) => {
                summary.sentence = format!("{about}: no claim, because {}.", refusal.reason());
                summary.refusal = Some(refusal);
                return summary;
            }
        };
        summary.mixed_with_interactions = model.mixes_pairs_with_main_effects();
        summary.main_effects = self.effects(&table, main_effects(crossing, &table, &model));
        summary.interactions = self.effects(&table, interactions(crossing, &table, &model));
        summary.sentence = sentence(&about, &summary, self.smallest_effect);
        summary
    }

    fn effects(&self, table: &Table, wanted: Vec<Wanted>) -> Vec<FactorEffect> {
        let family = wanted.len();
        let mut effects: Vec<FactorEffect> = wanted
            .into_iter()
            .map(|wanted| {
                let difference = table.estimate(&wanted.rows, family);
                let each = wanted.at_ratios.len() * family;
                FactorEffect {
                    factor: wanted.factor,
                    change: wanted.change,
                    difference,
                    standing: standing(difference, self.smallest_effect),
                    at_ratios: wanted
                        .at_ratios
                        .into_iter()
                        .map(|(label, rows)| (label, table.estimate(&rows, each)))
                        .collect(),
                }
            })
            .collect();
        let size = |effect: &FactorEffect| effect.difference.value.abs();
        effects.sort_by(|a, b| size(b).total_cmp(&size(a)));
        effects
    }
}

/// Each factor's levels in place of its first, and the largest ratio in place of the smallest.
fn main_effects(crossing: &Crossing, table: &Table, model: &Model) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for effect in model.effects() {
        let Effect::Main { factor, level } = effect else {
            continue;
        };
        let weights = model.weights(effect);
        let Some(rows) = table.rows(&table.all_ratios(), &weights) else {
            continue;
        };
        let at = table.ratios.iter().zip(0..);
        wanted.push(Wanted {
            factor: crossing.factors[factor].name.clone(),
            change: change(crossing, factor, level),
            rows,
            at_ratios: at
                .filter_map(|((label, _), ratio)| {
                    Some((label.clone(), table.rows(&[(ratio, 1.0)], &weights)?))
                })
                .collect(),
        });
    }
    let last = table.ratios.len() - 1;
    let even = vec![1.0 / crossing.cells.len() as f64; crossing.cells.len()];
    if last > 1
        && let Some(rows) = table.rows(&[(last, 1.0), (1, -1.0)], &even)
    {
        wanted.push(Wanted {
            factor: "quantity".to_owned(),
            change: format!("{} in place of {}", table.ratios[last].0, table.ratios[1].0),
            rows,
            at_ratios: Vec::new(),
        });
    }
    wanted
}

/// By how much a change is another at the largest ratio than at the smallest at which there is
/// one, and how much two changes depend on each other.
fn interactions(crossing: &Crossing, table: &Table, model: &Model) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    let last = table.ratios.len() - 1;
    for effect in model.effects() {
        let weights = model.weights(effect);
        let (factor, text, rows) = match effect {
            Effect::Main { factor, level } => {
                let changes = |ratio: &usize| table.rows(&[(*ratio, 1.0)], &weights).is_some();
                let Some(first) = (0..last).find(changes) else {
                    continue;
                };
                let name = &crossing.factors[factor].name;
                (
                    format!("{name} x ratio"),
                    format!(
                        "{}, at {} against {}",
                        change(crossing, factor, level),
                        table.ratios[last].0,
                        table.ratios[first].0
                    ),
                    table.rows(&[(last, 1.0), (first, -1.0)], &weights),
                )
            }
            Effect::Pair { first, second } => {
                let [one, other] = [first.0, second.0].map(|f| &crossing.factors[f].name);
                (
                    format!("{one} x {other}"),
                    format!(
                        "{}, with {} against {}",
                        change(crossing, first.0, first.1),
                        crossing.factors[second.0].levels[second.1],
                        crossing.factors[second.0].levels[0],
                    ),
                    table.rows(&table.all_ratios(), &weights),
                )
            }
        };
        if let Some(rows) = rows {
            wanted.push(Wanted {
                factor,
                change: text,
                rows,
                at_ratios: Vec::new(),
            });
        }
    }
    wanted
}

fn change(crossing: &Crossing, factor: usize, level: usize) -> String {
    let levels = &crossing.factors[factor].levels;
    format!("{} in place of {}", levels[level], levels[0])
}

fn sentence(about: &str, summary: &FactorSummary, smallest_effect: f64) -> String {
    let told = |effects: &[FactorEffect], standing: &[Standing]| -> Vec<String> {
        effects
            .iter()
            .filter(|effect| standing.contains(&effect.standing))
            .map(|effect| {
                format!(
                    "{} ({}) {}",
                    effect.change,
                    effect.factor,
                    signed(effect.difference)
                )
            })
            .collect()
    };
    let mut clauses = Vec::new();
    let mains = told(&summary.main_effects, &[Standing::Better, Standing::Harm]);
    if !mains.is_empty() {
        clauses.push(format!("what changes the AP is {}", listed(&mains)));
    }
    // Too small to matter on either side.
    let small: Vec<String> = summary
        .main_effects
        .iter()
        .filter(|effect| {
            effect.standing == Standing::NoHarm && effect.difference.high < smallest_effect
        })
        .map(|effect| effect.factor.clone())
        .collect();
    if !small.is_empty() {
        clauses.push(format!(
            "a change of {smallest_effect} AP or more is excluded for {}",
            listed(&small)
        ));
    }
    let noisy: Vec<String> = summary
        .main_effects
        .iter()
        .filter(|effect| {
            !matches!(effect.standing, Standing::Better | Standing::Harm)
                && !small.contains(&effect.factor)
        })
        .map(|effect| format!("{} ({})", effect.factor, signed(effect.difference)))
        .collect();
    if !noisy.is_empty() {
        clauses.push(format!("too noisy to say of {}", listed(&noisy)));
    }
    let together = told(&summary.interactions, &[Standing::Better, Standing::Harm]);
    if !together.is_empty() {
        clauses.push(format!(
            "changes depend on each other: {}",
            listed(&together)
        ));
    }
    format!("{about}: {}.", clauses.join("; "))
}

#[cfg(test)]
mod tests {
    use super::super::analyse;
    use super::*;
    use crate::experiment::plan::tests::plan_with_factors;
    use crate::experiment::trial::{Measurement, TrialResult};
    use crate::seed::SeedKey;
    use rand_distr::{Distribution as _, Normal};

    /// Faulty labels of real images cost 0.06 at every ratio, and the traced scene gains 0.02
    /// for each synthetic image per real one.
    fn results(plan: &ExperimentPlan, noise: f64) -> Vec<TrialResult> {
        let normal = Normal::new(0.0, noise).unwrap();
        let key = SeedKey::new(b"factors", 0);
        let trials = plan.trials().into_iter().map(|trial| {
            let c = trial.condition;
            let levels = &plan.crossing.cells[c.cell].levels;
            let multiple = c.n_synthetic as f64 / c.n_real.max(1) as f64;
            let mut stats = [-1.0; 12];
            stats[0] = 0.5 - 0.06 * levels[1] as f64 + 0.02 * multiple * levels[0] as f64
                - 0.01 * multiple
                + normal.sample(&mut key.generator(&trial.id, 0));
            TrialResult {
                trial,
                measurement: Measurement {
                    stats,
                    ..Measurement::default()
                },
                seconds: 1.0,
            }
        });
        trials.collect()
    }

    fn holds(estimate: Estimate, truth: f64) -> bool {
        estimate.low < truth && truth < estimate.high && estimate.high - estimate.low < 0.02
    }

    #[test]
    fn main_effects_and_interactions_are_those_of_the_truth() {
        let plan = plan_with_factors(None);
        let summary = analyse(&plan, &results(&plan, 0.002));
        let [factors] = &summary.factors[..] else {
            panic!("{:?}", summary.factors);
        };
        assert_eq!((factors.cells, factors.cells_of_all), (4, 4));
        let named: Vec<(&str, &str)> = factors
            .main_effects
            .iter()
            .map(|e| (e.factor.as_str(), e.change.as_str()))
            .collect();
        assert_eq!(
            named,
            [
                ("labels", "faulty in place of clean"),
                ("fidelity", "traced in place of raster"),
                ("quantity", "2x in place of 1x"),
            ],
            "the largest first"
        );
        // At 1x and 2x of 0.02 each: 0.03 on average. More images cost 0.01 with the first
        // scene and gain 0.01 with the second.
        let truths = [-0.06, 0.03, 0.0];
        for (effect, truth) in factors.main_effects.iter().zip(truths) {
            assert!(holds(effect.difference, truth), "{effect:?}");
        }
        let at = |index: usize| -> Vec<&str> {
            let effect = &factors.main_effects[index];
            effect
                .at_ratios
                .iter()
                .map(|(label, _)| label.as_str())
                .collect()
        };
        assert_eq!(
            at(0),
            ["0x", "1x", "2x"],
            "labels are faulty at real-only too"
        );
        assert_eq!(at(1), ["1x", "2x"], "real-only has no scene");
        let with_ratio = factors
            .interactions
            .iter()
            .find(|effect| effect.factor == "fidelity x ratio")
            .unwrap();
        assert!(holds(with_ratio.difference, 0.02), "{with_ratio:?}");
        assert_eq!(factors.interactions.len(), 3);
        assert!(
            factors.sentence.starts_with(
                "Factors (addition): what changes the AP is faulty in place of clean (labels) -0.0"
            ) && factors.sentence.contains("excluded for quantity")
                && factors
                    .sentence
                    .contains("changes depend on each other: traced"),
            "{}",
            factors.sentence
        );
        assert!(summary.conclusion.contains(&factors.sentence));
        assert!(
            !summary.conclusion.contains("(traced"),
            "further cells' arms stay out of it: {}",
            summary.conclusion
        );
    }

    #[test]
    fn an_arm_is_named_with_its_levels() {
        let plan = plan_with_factors(None);
        let summary = analyse(&plan, &results(&plan, 0.002));
        let sentence = &summary.arms[3].sentence;
        assert!(
            sentence.starts_with("Adding synthetic images (traced, faulty): "),
            "{sentence}"
        );
    }

    #[test]
    fn a_fraction_tells_main_effects_and_says_what_it_cannot() {
        let plan = plan_with_factors(Some(3));
        let summary = analyse(&plan, &results(&plan, 0.002));
        let factors = &summary.factors[0];
        assert_eq!((factors.cells, factors.cells_of_all), (3, 4));
        assert!(factors.mixed_with_interactions);
        assert!(holds(factors.main_effects[0].difference, -0.06));
        assert!(
            factors
                .interactions
                .iter()
                .all(|e| e.factor.ends_with("x ratio"))
        );
    }

    #[test]
    fn without_enough_seeds_nothing_is_claimed() {
        let plan = plan_with_factors(None);
        let mut few = results(&plan, 0.002);
        few.pop();
        let summary = analyse(&plan, &few);
        assert!(summary.factors[0].sentence.contains("no claim"));
        assert!(summary.factors[0].main_effects.is_empty());
    }
}
