//! The data that the trials draw from, checked before the first training.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::plan::ExperimentPlan;
use super::{DataRecord, ExperimentError};
use crate::annotation::{BoundingBox, Category};
use crate::dataset::{Dataset, DatasetError, Origin, Split};
use crate::mix::{HeldOut, MixError};
use crate::observer::Silent;
use crate::seed::PlanHash;

/// Real and synthetic images with the same categories.
#[derive(Debug)]
pub struct Sources {
    /// The train split of the real data.
    pub real: Dataset,
    /// The test split of the real data, which every trial is evaluated on.
    pub test: Dataset,
    /// The val split of the real data, by which settings are chosen; may be empty.
    pub validation: Dataset,
    /// The pools of synthetic images, in the order of the plan's sources.
    pub pools: Vec<Pool>,
    /// The test images, which every training set is compared with.
    pub held_out: HeldOut,
    /// Training images that were left out because they give test images away, and why.
    pub left_out: Vec<String>,
}

/// Synthetic images of one source.
#[derive(Debug)]
pub struct Pool {
    /// What trials draw from.
    pub train: Dataset,
    /// What no trial trains on; may be none.
    pub test: Dataset,
}

/// The real data set, checked as far as it can be without a synthetic one: a pool of
/// renders may cost an hour, so nothing is rendered for data that cannot be used.
#[derive(Debug)]
pub struct RealData {
    root: PathBuf,
    train: Dataset,
    validation: Dataset,
    test: Dataset,
    held_out: HeldOut,
    left_out: Vec<String>,
}

impl RealData {
    /// Opens the real data set of `plan` and leaves copies and near duplicates of test
    /// images out of its train split.
    ///
    /// # Errors
    /// [`ExperimentError::Data`] with every problem at once: too few images, no test
    /// split, a group in both train and test.
    pub fn open(plan: &ExperimentPlan) -> Result<Self, ExperimentError> {
        let real = Dataset::open(&plan.real)?;
        let (mut train, test) = (real.split(Split::Train), real.split(Split::Test));
        let validation = real.split(Split::Val);
        let held_out = HeldOut::of(&[&test], &Silent).map_err(mixing)?;
        let left_out = leave_leaks_out(&mut train, &held_out, &real.root).map_err(mixing)?;
        let mut data = Self::of(plan, train, validation, test, held_out)?;
        data.root = real.root;
        data.left_out = left_out;
        Ok(data)
    }

    fn of(
        plan: &ExperimentPlan,
        train: Dataset,
        validation: Dataset,
        test: Dataset,
        held_out: HeldOut,
    ) -> Result<Self, ExperimentError> {
        let mut problems = Vec::new();
        check_real_counts(plan, &train, &test, &mut problems);
        if plan.rate_check.is_some() || plan.halving.is_some() {
            check_validation(plan, &train, &validation, &mut problems);
        }
        check_groups(&train, &test, "test", &mut problems);
        no_problems(&problems)?;
        Ok(RealData {
            root: train.root.clone(),
            train,
            validation,
            test,
            held_out,
            left_out: Vec::new(),
        })
    }
}

fn mixing(error: MixError) -> ExperimentError {
    ExperimentError::Data {
        problems: format!("  - {error}"),
    }
}

impl Sources {
    /// Opens the pools of the plan's sources and joins their classes with those of the real
    /// data. Copies and near duplicates of test images are left out first.
    ///
    /// # Errors
    /// [`ExperimentError::Data`] with every problem at once: too few images, synthetic
    /// classes that the real data lack.
    pub fn open(
        plan: &ExperimentPlan,
        mut real: RealData,
        pools: &[PathBuf],
    ) -> Result<Self, ExperimentError> {
        let mut opened = Vec::new();
        for folder in pools {
            let mut pool = Dataset::open(folder)?;
            let leaks = leave_leaks_out(&mut pool, &real.held_out, &real.root).map_err(mixing)?;
            real.left_out.extend(leaks);
            opened.push(pool);
        }
        Self::of(plan, real, opened)
    }

    /// What the output folder should remember of these data.
    ///
    /// # Errors
    /// An image that cannot be read.
    pub fn record(&self) -> Result<DataRecord, ExperimentError> {
        let mut images = Vec::new();
        for sample in self.real.samples.iter().chain(&self.test.samples) {
            let bytes = std::fs::read(&sample.path).map_err(|source| DatasetError::Read {
                path: sample.path.clone(),
                source,
            })?;
            let labels: Vec<(u32, BoundingBox, bool)> = sample
                .annotations
                .iter()
                .map(|label| (label.category_id, label.bbox, label.is_crowd))
                .collect();
            let content = blake3::hash(&bytes).to_hex().to_string();
            images.push((&sample.file_name, content, labels));
        }
        Ok(DataRecord {
            real: PlanHash::of(&images),
            left_out: self.left_out.clone(),
        })
    }

    fn of(
        plan: &ExperimentPlan,
        real: RealData,
        pools: Vec<Dataset>,
    ) -> Result<Self, ExperimentError> {
        let mut problems = Vec::new();
        let (mut train, mut test) = (real.train, real.test);
        let mut validation = real.validation;
        let mut pools: Vec<Pool> = pools.into_iter().map(|pool| Pool::of(pool, plan)).collect();
        for pool in &mut pools {
            check_synthetic_count(plan, &pool.train, &mut problems);
            match &plan.class_agnostic {
                Some(name) => {
                    join_classes(&mut pool.train, name);
                    join_classes(&mut pool.test, name);
                }
                None => {
                    match_classes(&mut pool.train, &train.categories, &mut problems);
                    // It has the same classes, of which enough has been said.
                    match_classes(&mut pool.test, &train.categories, &mut Vec::new());
                }
            }
        }
        if let Some(name) = &plan.class_agnostic {
            join_classes(&mut train, name);
            join_classes(&mut test, name);
            join_classes(&mut validation, name);
        }
        no_problems(&problems)?;
        Ok(Sources {
            real: train,
            test,
            validation,
            pools,
            held_out: real.held_out,
            left_out: real.left_out,
        })
    }
}

impl Pool {
    fn of(mut images: Dataset, plan: &ExperimentPlan) -> Self {
        let mut test = hold_out(&mut images, plan);
        // A folder without a manifest does not say where its images come from; here the
        // user has.
        for sample in images.samples.iter_mut().chain(&mut test.samples) {
            if sample.record.counts_as_real() {
                sample.record.source_origin = Some(Origin::Synthetic);
            }
        }
        Pool {
            train: images,
            test,
        }
    }
}

/// Takes synthetic images out of the pool that no trial may train on: those of its own test
/// split where it has one, else the last ones that the largest trial can spare, with their
/// groups. What remains in the pool is its train split.
fn hold_out(pool: &mut Dataset, plan: &ExperimentPlan) -> Dataset {
    let has_splits = pool.samples.iter().any(|s| s.record.split.is_some());
    if has_splits {
        let mut unseen = pool.split(Split::Test);
        unseen.samples.truncate(plan.synthetic_test);
        *pool = pool.split(Split::Train);
        if !unseen.samples.is_empty() {
            return unseen;
        }
    }
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for sample in &pool.samples {
        *sizes.entry(sample.group()).or_default() += 1;
    }
    let spare = pool.samples.len().saturating_sub(plan.synthetic_needed());
    let mut left = spare.min(plan.synthetic_test);
    let mut groups: BTreeSet<&str> = BTreeSet::new();
    for sample in pool.samples.iter().rev() {
        let size = sizes[sample.group()];
        if size > left {
            break;
        }
        if groups.insert(sample.group()) {
            left -= size;
        }
    }
    let unseen = pool.filtered(|sample| groups.contains(sample.group()));
    *pool = pool.filtered(|sample| !groups.contains(sample.group()));
    unseen
}

fn no_problems(problems: &[String]) -> Result<(), ExperimentError> {
    if problems.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| format!("  - {problem}"))
        .collect();
    Err(ExperimentError::Data {
        problems: lines.join("\n"),
    })
}

/// Drops the training images that give test images away, and says why.
fn leave_leaks_out(
    dataset: &mut Dataset,
    held_out: &HeldOut,
    real_root: &Path,
) -> Result<Vec<String>, MixError> {
    let train = dataset.filtered(|sample| sample.record.split.is_none_or(|s| s == Split::Train));
    let leaks = held_out.leaks(&train, real_root, &Silent)?;
    let paths: BTreeSet<&str> = leaks.iter().map(|leak| leak.train.as_str()).collect();
    dataset
        .samples
        .retain(|sample| !paths.contains(sample.path.to_string_lossy().as_ref()));
    Ok(leaks.iter().map(|leak| leak.to_string()).collect())
}

fn check_real_counts(
    plan: &ExperimentPlan,
    train: &Dataset,
    test: &Dataset,
    problems: &mut Vec<String>,
) {
    let (root, real_needed) = (plan.real.display(), plan.real_needed());
    if train.samples.len() < real_needed {
        problems.push(format!(
            "{root} has {} images in its train split and the largest trial needs {real_needed}; \
             lower arms.substitution.total or `real` of the other arms",
            train.samples.len()
        ));
    }
    let rendered = train
        .samples
        .iter()
        .filter(|sample| !sample.record.counts_as_real())
        .count();
    if rendered > 0 && !plan.regimes.is_empty() {
        problems.push(format!(
            "{root} has {rendered} images in its train split that manifest.jsonl calls synthetic; \
             the arms pretraining, curriculum and auxiliary would take them for those of the synthetic source, \
             so remove them or correct their origin"
        ));
    }
    if test.box_count() == 0 {
        problems.push(format!(
            "{root} has no labelled images in a test split, so nothing can be measured; \
             give annotations/test.json or a `split` in manifest.jsonl"
        ));
    }
}

fn check_synthetic_count(plan: &ExperimentPlan, synthetic: &Dataset, problems: &mut Vec<String>) {
    let synthetic_needed = plan.synthetic_needed();
    if synthetic.samples.len() < synthetic_needed {
        problems.push(format!(
            "{} has {} synthetic images and the largest trial needs {synthetic_needed}; \
             make more or leave the largest ratio out",
            synthetic.root.display(),
            synthetic.samples.len()
        ));
    }
}

/// Whether settings can be chosen by the val split.
fn check_validation(
    plan: &ExperimentPlan,
    train: &Dataset,
    validation: &Dataset,
    problems: &mut Vec<String>,
) {
    if validation.box_count() == 0 {
        problems.push(format!(
            "{} has no labelled images in a val split, by which rate_check and halving choose; give \
             annotations/val.json or a `split` in manifest.jsonl, or leave them out",
            plan.real.display()
        ));
    }
    check_groups(train, validation, "val", problems);
}

fn check_groups(train: &Dataset, other: &Dataset, name: &str, problems: &mut Vec<String>) {
    let trained: BTreeSet<&str> = train.samples.iter().map(|s| s.group()).collect();
    let shared: BTreeSet<&str> = other
        .samples
        .iter()
        .map(|s| s.group())
        .filter(|group| trained.contains(group))
        .collect();
    if let Some(first) = shared.first() {
        problems.push(format!(
            "{} group(s) stand in both the train and the {name} split, such as `{first}`; \
             a split must keep a group together",
            shared.len()
        ));
    }
}

/// Gives every box the one class `name`.
fn join_classes(dataset: &mut Dataset, name: &str) {
    dataset.categories = vec![Category {
        id: 1,
        name: name.to_owned(),
        ..Category::default()
    }];
    for sample in &mut dataset.samples {
        for annotation in &mut sample.annotations {
            annotation.category_id = 1;
        }
    }
}

/// Gives the boxes of `dataset` the identifiers that their classes' names have in
/// `categories`.
fn match_classes(dataset: &mut Dataset, categories: &[Category], problems: &mut Vec<String>) {
    let by_name: BTreeMap<&str, u32> = categories
        .iter()
        .map(|category| (category.name.as_str(), category.id))
        .collect();
    let mut map = BTreeMap::new();
    let mut unknown = Vec::new();
    for category in &dataset.categories {
        match by_name.get(category.name.as_str()) {
            Some(&id) => {
                map.insert(category.id, id);
            }
            None => unknown.push(category.name.as_str()),
        }
    }
    if !unknown.is_empty() {
        let known: Vec<&str> = by_name.keys().copied().collect();
        problems.push(format!(
            "the synthetic classes {} are not among the real ones ({}); rename them or set class_agnostic",
            unknown.join(", "),
            known.join(", ")
        ));
        return;
    }
    dataset.categories = categories.to_vec();
    for sample in &mut dataset.samples {
        for annotation in &mut sample.annotations {
            if let Some(&id) = map.get(&annotation.category_id) {
                annotation.category_id = id;
            }
        }
    }
}
