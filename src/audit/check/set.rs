//! Faults of a data set as a whole.

use std::collections::{BTreeMap, BTreeSet};

use super::{ClassSummary, Finding, Issue, SplitSummary};
use crate::dataset::{Dataset, Split};

/// Boxes below which a class is rare.
const FEW_BOXES: usize = 10;

/// Share of all boxes below which it is.
const FEW_SHARE: f64 = 0.005;

pub(super) fn check(dataset: &Dataset) -> Vec<Finding> {
    let mut findings = rare_classes(dataset);
    findings.extend(missing_classes(dataset));
    findings.extend(shared_groups(dataset));
    findings
}

/// The splits that have images, and what has none.
pub(super) fn splits(dataset: &Dataset) -> Vec<SplitSummary> {
    let all = Split::ALL.into_iter().map(Some).chain([None]);
    let summary = |split: Option<Split>| {
        let own = dataset.samples.iter().filter(|s| s.record.split == split);
        SplitSummary {
            split,
            images: own.clone().count(),
            boxes: own.map(|sample| sample.annotations.len()).sum(),
        }
    };
    all.map(summary).filter(|split| split.images > 0).collect()
}

/// The classes in their order.
pub(super) fn classes(dataset: &Dataset) -> Vec<ClassSummary> {
    let mut counts: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
    for sample in &dataset.samples {
        let mut seen = BTreeSet::new();
        for object in &sample.annotations {
            let (boxes, images) = counts.entry(object.category_id).or_default();
            *boxes += 1;
            *images += usize::from(seen.insert(object.category_id));
        }
    }
    let categories = dataset.categories.iter();
    categories
        .map(|category| {
            let (boxes, images) = counts.get(&category.id).copied().unwrap_or_default();
            ClassSummary {
                name: category.name.clone(),
                boxes,
                images,
            }
        })
        .collect()
}

fn rare_classes(dataset: &Dataset) -> Vec<Finding> {
    let all = dataset.box_count();
    if all == 0 {
        return Vec::new();
    }
    let is_rare = |class: &ClassSummary| {
        class.boxes < FEW_BOXES || (class.boxes as f64) < FEW_SHARE * all as f64
    };
    classes(dataset)
        .into_iter()
        .filter(is_rare)
        .map(|class| {
            // One that no image has is a slip of a list, not of labelling.
            let severity = match class.boxes {
                0 => 0.4,
                _ => 0.6,
            };
            let message = format!(
                "{}: {} of {all} boxes, in {} images",
                class.name, class.boxes, class.images
            );
            Finding::of_set(Issue::RareClass, severity, message)
        })
        .collect()
}

fn missing_classes(dataset: &Dataset) -> Vec<Finding> {
    let mut present: BTreeMap<Split, BTreeSet<u32>> = BTreeMap::new();
    for sample in &dataset.samples {
        if let Some(split) = sample.record.split {
            let classes = sample.annotations.iter().map(|object| object.category_id);
            present.entry(split).or_default().extend(classes);
        }
    }
    let used: BTreeSet<u32> = present.values().flatten().copied().collect();
    let mut findings = Vec::new();
    for class in used {
        let lacking: Vec<String> = present
            .iter()
            .filter(|(_, classes)| !classes.contains(&class))
            .map(|(split, _)| split.to_string())
            .collect();
        if lacking.is_empty() {
            continue;
        }
        let name = dataset.category(class).map_or("?", |c| c.name.as_str());
        let message = format!("{name}: not in {}", lacking.join(" and "));
        findings.push(Finding::of_set(Issue::ClassMissingInSplit, 0.7, message));
    }
    findings
}

fn shared_groups(dataset: &Dataset) -> Vec<Finding> {
    let mut splits: BTreeMap<&str, BTreeMap<Split, usize>> = BTreeMap::new();
    for sample in &dataset.samples {
        if let Some(split) = sample.record.split {
            let counts = splits.entry(sample.group()).or_default();
            *counts.entry(split).or_default() += 1;
        }
    }
    let shared = splits.into_iter().filter(|(_, splits)| splits.len() > 1);
    shared
        .map(|(group, splits)| {
            let parts: Vec<String> = splits
                .iter()
                .map(|(split, count)| format!("{count} in {split}"))
                .collect();
            let message = format!("{group}: {}", parts.join(", "));
            Finding::of_set(Issue::GroupInSplits, 0.9, message)
        })
        .collect()
}
