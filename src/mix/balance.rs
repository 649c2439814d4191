//! Exact numbers of images that contain a class.
//!
//! The pool's order is walked twice. The first walk takes each image that holds an
//! asked class which is still short and none that is full; the second fills up with
//! images that hold no asked class. The counts are exact or the draw is an error;
//! draws with different class counts need not nest.

use std::collections::{BTreeMap, BTreeSet};

use super::MixError;
use super::draw::Candidates;
use crate::dataset::Sample;

/// Takes `count` images from the front of `order` by the rule above.
pub(super) fn balanced<'a>(
    candidates: &Candidates<'a>,
    order: &[&'a Sample],
    count: usize,
) -> Result<Vec<&'a Sample>, MixError> {
    let pool = candidates.pool;
    let mut wanted: Vec<(u32, &str, usize)> = Vec::new();
    for (class, asked) in &candidates.source.images_per_class {
        wanted.push((category_id(candidates, class)?, class, *asked));
    }
    let mut left: BTreeMap<u32, usize> = wanted.iter().map(|(id, _, n)| (*id, *n)).collect();
    let classes: Vec<BTreeSet<u32>> = order
        .iter()
        .map(|sample| {
            let ids = sample.annotations.iter().map(|a| a.category_id);
            ids.filter(|id| left.contains_key(id)).collect()
        })
        .collect();
    let mut taken = Vec::new();
    for (index, classes) in classes.iter().enumerate() {
        if taken.len() < count && !classes.is_empty() && classes.iter().all(|id| left[id] > 0) {
            for id in classes {
                left.entry(*id).and_modify(|left| *left -= 1);
            }
            taken.push(index);
        }
    }
    let others = (0..order.len()).filter(|index| classes[*index].is_empty());
    let missing = count - taken.len();
    taken.extend(others.take(missing));
    for (id, class, asked) in wanted {
        if left[&id] > 0 {
            return Err(MixError::ClassCount {
                pool,
                class: class.to_owned(),
                asked,
                reached: asked - left[&id],
                total: count,
            });
        }
    }
    if taken.len() < count {
        return Err(candidates.too_few(count, taken.len()));
    }
    taken.sort_unstable();
    Ok(taken.into_iter().map(|index| order[index]).collect())
}

fn category_id(candidates: &Candidates, class: &str) -> Result<u32, MixError> {
    let categories = &candidates.dataset.categories;
    let found = categories.iter().find(|category| category.name == class);
    found.map(|category| category.id).ok_or_else(|| {
        let known: Vec<&str> = categories.iter().map(|c| c.name.as_str()).collect();
        MixError::UnknownClass {
            pool: candidates.pool,
            class: class.to_owned(),
            path: candidates.dataset.root.clone(),
            known: known.join(", "),
        }
    })
}
