//! Builds training sets at exact real/synthetic ratios.
//!
//! Each pool gets one random order, which depends on the seed and on the image alone.
//! A mixture takes images from the front of each order, so that draws nest: at the
//! same seed, a mixture with more synthetic images holds those of one with fewer, and
//! likewise for real ones. Differences along a mixing curve then come from the images
//! that were added or replaced, not from another draw.
//!
//! Where `images_per_class` is asked for, the pool's order is walked twice. The first
//! walk takes each image that holds an asked class which is still short and none that
//! is full; the second fills up with images that hold no asked class. The counts are
//! exact or the draw is an error; draws with different class counts need not nest.

mod leakage;
mod plan;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use thiserror::Error;

pub use leakage::{Leak, LeakReason, check_leakage};
pub use plan::{MixPlan, MixSpec, Policy, PolicySpec, Ratio, Source, SourceSpec};

use crate::annotation::Category;
use crate::dataset::{Begun, Dataset, DatasetError, DatasetWriter, ImageFile, NewSample, Sample};
use crate::observer::Observer;
use crate::seed::{PlanHash, SeedKey};

/// Why a mixture cannot be drawn or written.
#[derive(Debug, Error)]
pub enum MixError {
    #[error("{asked} {pool} images are asked for, but {path} has {available} in its training split; ask for fewer or add images", path = path.display())]
    TooFew {
        pool: Pool,
        path: std::path::PathBuf,
        asked: usize,
        available: usize,
    },
    #[error(
        "{pool} images: {asked} with class `{class}` are asked for among {total}, but only {reached} can be had exactly; change images_per_class or the total"
    )]
    ClassCount {
        pool: Pool,
        class: String,
        asked: usize,
        reached: usize,
        total: usize,
    },
    #[error("{pool} images: class `{class}` of images_per_class is not in {path}; its classes are {known}", path = path.display())]
    UnknownClass {
        pool: Pool,
        class: String,
        path: std::path::PathBuf,
        known: String,
    },
    #[error("{count} group(s) stand both in training and in val or test of {path}: {names}; move each group into one split", path = path.display(), count = groups.len(), names = first_names(groups))]
    GroupStraddles {
        path: std::path::PathBuf,
        groups: Vec<String>,
    },
    #[error("{count} training image(s) give held-out images away:\n  {list}\nremove them from training or from the held-out set", count = leaks.len(), list = first_leaks(leaks))]
    Leakage { leaks: Vec<Leak> },
    #[error(transparent)]
    Dataset(#[from] DatasetError),
}

impl MixError {
    /// Whether the user's files or numbers are at fault.
    pub fn is_mistake(&self) -> bool {
        !matches!(self, MixError::Dataset(DatasetError::Write { .. }))
    }
}

fn first_names(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(5).map(String::as_str).collect();
    let more = if names.len() > shown.len() {
        ", ..."
    } else {
        ""
    };
    format!("{}{more}", shown.join(", "))
}

fn first_leaks(leaks: &[Leak]) -> String {
    let mut shown: Vec<String> = leaks.iter().take(20).map(Leak::to_string).collect();
    if leaks.len() > shown.len() {
        shown.push(format!("... and {} more", leaks.len() - shown.len()));
    }
    shown.join("\n  ")
}

/// The two sides of a mixture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    Real,
    Synthetic,
}

impl std::fmt::Display for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Pool::Real => "real",
            Pool::Synthetic => "synthetic",
        })
    }
}

/// A drawn mixture: which images, in which order, with classes joined by name.
#[derive(Debug, Clone)]
pub struct Mixture {
    /// The real data set's classes with their identifiers, then classes that only the
    /// synthetic one has.
    pub categories: Vec<Category>,
    /// Real images first, each pool in its random order. Category identifiers are
    /// those of `categories`.
    pub entries: Vec<(Pool, Sample)>,
    plan: MixPlan,
    seed: u64,
}

/// Draws a mixture without replacement. `real` and `synthetic` may hold further
/// splits, which are not drawn from; `synthetic` is not looked at where none of it is
/// asked for.
///
/// # Errors
/// Too few images, class counts that cannot be had, and groups that straddle splits.
/// Copies of held-out images are looked for by [`check_leakage`], once for a whole pool.
pub fn draw(
    plan: &MixPlan,
    real: &Dataset,
    synthetic: &Dataset,
    seed: u64,
) -> Result<Mixture, MixError> {
    let real_pool = pool_of(real, &plan.real);
    let (real_count, synthetic_count) = match plan.policy {
        Policy::Substitution { total, share } => (total - share.of(total), share.of(total)),
        Policy::Addition { real, synthetic } => (real.unwrap_or(real_pool.len()), synthetic),
    };
    check_groups(real, &plan.real, &real_pool)?;
    let mut categories = real.categories.clone();
    let drawn = draw_from(Pool::Real, &plan.real, real, &real_pool, real_count, seed)?;
    let mut entries: Vec<_> = drawn
        .into_iter()
        .map(|sample| (Pool::Real, sample.clone()))
        .collect();
    if let Some(source) = plan.synthetic.as_ref().filter(|_| synthetic_count > 0) {
        let pool = pool_of(synthetic, source);
        check_groups(synthetic, source, &pool)?;
        check_made_from_held_out(real, plan, &pool)?;
        let drawn = draw_from(
            Pool::Synthetic,
            source,
            synthetic,
            &pool,
            synthetic_count,
            seed,
        )?;
        let ids = join_categories(&mut categories, synthetic);
        entries.extend(drawn.into_iter().map(|sample| {
            let mut sample = sample.clone();
            for annotation in &mut sample.annotations {
                annotation.category_id = ids[&annotation.category_id];
            }
            (Pool::Synthetic, sample)
        }));
    } else if synthetic_count > 0 {
        return Err(MixError::TooFew {
            pool: Pool::Synthetic,
            path: synthetic.root.clone(),
            asked: synthetic_count,
            available: 0,
        });
    }
    Ok(Mixture {
        categories,
        entries,
        plan: plan.clone(),
        seed,
    })
}

/// The samples of the source's split, or all where the data set has no splits.
fn pool_of<'a>(dataset: &'a Dataset, source: &Source) -> Vec<&'a Sample> {
    let has_splits = dataset.samples.iter().any(|s| s.record.split.is_some());
    dataset
        .samples
        .iter()
        .filter(|sample| !has_splits || sample.record.split == Some(source.split))
        .collect()
}

/// A group of the pool must not stand in another split of its data set.
fn check_groups(dataset: &Dataset, source: &Source, pool: &[&Sample]) -> Result<(), MixError> {
    let held_out: HashSet<&str> = dataset
        .samples
        .iter()
        .filter(|sample| {
            sample
                .record
                .split
                .is_some_and(|split| split != source.split)
        })
        .map(Sample::group)
        .collect();
    straddling(dataset, pool.iter().copied(), &held_out)
}

/// An image made from a photograph keeps its group; held-out groups stay out.
fn check_made_from_held_out(
    real: &Dataset,
    plan: &MixPlan,
    pool: &[&Sample],
) -> Result<(), MixError> {
    let held_out: HashSet<&str> = real
        .samples
        .iter()
        .filter(|sample| {
            sample
                .record
                .split
                .is_some_and(|split| split != plan.real.split)
        })
        .map(Sample::group)
        .collect();
    let copies = pool.iter().copied().filter(|s| s.record.counts_as_real());
    straddling(real, copies, &held_out)
}

fn straddling<'a>(
    dataset: &Dataset,
    samples: impl Iterator<Item = &'a Sample>,
    held_out: &HashSet<&str>,
) -> Result<(), MixError> {
    let groups: BTreeSet<&str> = samples
        .map(Sample::group)
        .filter(|group| held_out.contains(group))
        .collect();
    if groups.is_empty() {
        return Ok(());
    }
    Err(MixError::GroupStraddles {
        path: dataset.root.clone(),
        groups: groups.into_iter().map(str::to_owned).collect(),
    })
}

fn draw_from<'a>(
    pool: Pool,
    source: &Source,
    dataset: &Dataset,
    samples: &[&'a Sample],
    count: usize,
    seed: u64,
) -> Result<Vec<&'a Sample>, MixError> {
    if count > samples.len() {
        return Err(MixError::TooFew {
            pool,
            path: dataset.root.clone(),
            asked: count,
            available: samples.len(),
        });
    }
    // A constant context: the order must be the same for every ratio of an experiment.
    let key = SeedKey::new(b"mixture order", seed).child(&pool.to_string(), 0);
    let mut order = samples.to_vec();
    order
        .sort_by_cached_key(|sample| (key.child(&sample.file_name, sample.id).to_u64(), sample.id));
    if source.images_per_class.is_empty() {
        order.truncate(count);
        return Ok(order);
    }
    draw_balanced(pool, source, dataset, &order, count)
}

/// The rule of the module's documentation for exact class counts.
fn draw_balanced<'a>(
    pool: Pool,
    source: &Source,
    dataset: &Dataset,
    order: &[&'a Sample],
    count: usize,
) -> Result<Vec<&'a Sample>, MixError> {
    let mut left: BTreeMap<u32, usize> = BTreeMap::new();
    for (class, asked) in &source.images_per_class {
        let category = dataset.categories.iter().find(|c| c.name == *class);
        let category = category.ok_or_else(|| MixError::UnknownClass {
            pool,
            class: class.clone(),
            path: dataset.root.clone(),
            known: first_names(
                &dataset
                    .categories
                    .iter()
                    .map(|c| c.name.clone())
                    .collect::<Vec<_>>(),
            ),
        })?;
        left.insert(category.id, *asked);
    }
    let asked_classes = |sample: &Sample| -> BTreeSet<u32> {
        let ids = sample.annotations.iter().map(|a| a.category_id);
        ids.filter(|id| left.contains_key(id)).collect()
    };
    let classes: Vec<BTreeSet<u32>> = order.iter().map(|sample| asked_classes(sample)).collect();
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
    for (class, asked) in &source.images_per_class {
        let category = dataset.categories.iter().find(|c| c.name == *class);
        let short = category.map_or(0, |category| left[&category.id]);
        if short > 0 {
            return Err(MixError::ClassCount {
                pool,
                class: class.clone(),
                asked: *asked,
                reached: asked - short,
                total: count,
            });
        }
    }
    if taken.len() < count {
        return Err(MixError::TooFew {
            pool,
            path: dataset.root.clone(),
            asked: count,
            available: taken.len(),
        });
    }
    taken.sort_unstable();
    Ok(taken.into_iter().map(|index| order[index]).collect())
}

/// Adds classes that are new by name, and maps the identifiers of `other`.
fn join_categories(categories: &mut Vec<Category>, other: &Dataset) -> HashMap<u32, u32> {
    let mut next = categories.iter().map(|c| c.id).max().map_or(1, |id| id + 1);
    let mut ids = HashMap::new();
    for category in &other.categories {
        let known = categories.iter().find(|c| c.name == category.name);
        let id = match known {
            Some(known) => known.id,
            None => {
                categories.push(Category {
                    id: next,
                    ..category.clone()
                });
                next += 1;
                next - 1
            }
        };
        ids.insert(category.id, id);
    }
    ids
}

impl Mixture {
    /// How many images come from a pool.
    pub fn count(&self, pool: Pool) -> usize {
        self.entries
            .iter()
            .filter(|(from, _)| *from == pool)
            .count()
    }

    /// The mixture as a data set whose images lie where they were drawn from, for
    /// [`check_leakage`] and for training without a copy. Identifiers are those that
    /// [`Mixture::write`] gives; `root` is the real data set's folder.
    pub fn to_dataset(&self) -> Dataset {
        let samples = self.entries.iter().zip(1..).map(|((_, sample), id)| {
            let mut sample = sample.clone();
            sample.id = id;
            sample.record.id = id;
            sample
        });
        Dataset {
            root: self.plan.real.path.clone(),
            categories: self.categories.clone(),
            samples: samples.collect(),
            warnings: Vec::new(),
        }
    }

    /// Writes the mixture as a training set. Images are hard links where the file
    /// system allows; the manifest keeps origin, group and drawn factors and names
    /// each image's source. An interrupted run goes on.
    ///
    /// # Errors
    /// A folder made by something else, or an image that cannot be read or written.
    pub fn write(&self, out: &Path, observer: &dyn Observer) -> Result<Dataset, MixError> {
        let drawn: Vec<_> = self
            .entries
            .iter()
            .map(|(pool, sample)| (pool, &sample.path, &sample.record.hash))
            .collect();
        let hash = PlanHash::of(&("mix", &self.plan, self.seed, drawn));
        let writer = match DatasetWriter::begin(out, &hash, &self.categories)? {
            Begun::Complete(dataset) => return Ok(dataset),
            Begun::Writing(writer) => writer,
        };
        observer.begin("mix", self.entries.len() as u64, writer.done_count() as u64);
        for (index, (pool, sample)) in (0..).zip(&self.entries) {
            if writer.is_done(index) {
                continue;
            }
            writer.publish(index, self.new_sample(*pool, sample))?;
            observer.advance(1);
        }
        observer.end();
        Ok(writer.finish()?)
    }

    fn new_sample(&self, pool: Pool, sample: &Sample) -> NewSample {
        let extension = Path::new(&sample.file_name)
            .extension()
            .and_then(|extension| extension.to_str())
            .unwrap_or("png");
        let mut record = sample.record.clone();
        record.source = sample.path.display().to_string();
        record.group = sample.group().to_owned();
        record.split = Some(self.plan.real.split);
        NewSample {
            file_name: format!("{pool}_{:06}.{extension}", sample.id),
            image: ImageFile::Existing(sample.path.clone()),
            width: sample.width,
            height: sample.height,
            annotations: sample.annotations.clone(),
            record,
            sidecars: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;
    use crate::annotation::{Annotation, BoundingBox};
    use crate::dataset::{Origin, Record, Split};
    use crate::observer::Silent;

    /// `count` training images, image `i` with class `1 + i % 3`, and three test images.
    fn dataset(root: &str, names: [&str; 3], origin: Origin, count: u64) -> Dataset {
        let sample = |id: u64| {
            let file_name = format!("{id}.png");
            let mut record = Record::new(id, file_name.clone(), origin);
            record.split = Some(if id < count {
                Split::Train
            } else {
                Split::Test
            });
            record.group = format!("{root}-g{}", id / 2 + 100 * u64::from(id >= count));
            let bbox = BoundingBox::from([1.0, 1.0, 2.0, 2.0]);
            Sample {
                id,
                path: PathBuf::from(root).join("images").join(&file_name),
                file_name,
                width: 8,
                height: 8,
                annotations: vec![Annotation {
                    id,
                    category_id: 1 + (id % 3) as u32,
                    bbox,
                    area: bbox.area(),
                    is_crowd: false,
                    extra: Default::default(),
                }],
                record,
            }
        };
        Dataset {
            root: root.into(),
            categories: (1..)
                .zip(names)
                .map(|(id, name)| Category {
                    id,
                    name: name.into(),
                    supercategory: String::new(),
                })
                .collect(),
            samples: (0..count + 3).map(sample).collect(),
            warnings: Vec::new(),
        }
    }

    fn real(count: u64) -> Dataset {
        dataset("real", ["one", "two", "three"], Origin::Real, count)
    }

    fn synthetic(count: u64) -> Dataset {
        dataset("made", ["two", "one", "four"], Origin::Synthetic, count)
    }

    fn plan(policy: Policy) -> MixPlan {
        MixPlan {
            real: Source::train_of("real"),
            synthetic: Some(Source::train_of("made")),
            policy,
        }
    }

    fn substitution(total: usize, share: f64) -> MixPlan {
        let share = Ratio::new(share).unwrap();
        plan(Policy::Substitution { total, share })
    }

    fn ids(mixture: &Mixture, pool: Pool) -> Vec<u64> {
        let of_pool = mixture.entries.iter().filter(|(from, _)| *from == pool);
        of_pool.map(|(_, sample)| sample.id).collect()
    }

    proptest! {
        #[test]
        fn counts_are_exact_and_draws_nest(
            total in 1_usize..60,
            low in 0.0..=1.0,
            high in 0.0..=1.0,
            seed in any::<u64>(),
        ) {
            let (low, high) = if low <= high { (low, high) } else { (high, low) };
            let (real, synthetic) = (real(60), synthetic(60));
            let few = draw(&substitution(total, low), &real, &synthetic, seed).unwrap();
            let many = draw(&substitution(total, high), &real, &synthetic, seed).unwrap();
            for (mixture, share) in [(&few, low), (&many, high)] {
                prop_assert_eq!(mixture.entries.len(), total);
                let exact = share * total as f64;
                prop_assert!((mixture.count(Pool::Synthetic) as f64 - exact).abs() <= 0.5 + 1e-6);
                let distinct: HashSet<_> = mixture.entries.iter().map(|(_, s)| &s.path).collect();
                prop_assert_eq!(distinct.len(), total);
                prop_assert!(mixture.entries.iter().all(|(_, s)| s.record.split == Some(Split::Train)));
            }
            prop_assert!(ids(&many, Pool::Synthetic).starts_with(&ids(&few, Pool::Synthetic)));
            prop_assert!(ids(&few, Pool::Real).starts_with(&ids(&many, Pool::Real)));
            let more = plan(Policy::Addition { real: Some(few.count(Pool::Real)), synthetic: 60 });
            let more = draw(&more, &real, &synthetic, seed).unwrap();
            prop_assert_eq!(ids(&more, Pool::Real), ids(&few, Pool::Real));
            prop_assert!(ids(&more, Pool::Synthetic).starts_with(&ids(&many, Pool::Synthetic)));
        }

        #[test]
        fn class_counts_are_exact_where_asked(one in 0_usize..10, two in 0_usize..10, rest in 0_usize..10) {
            let mut plan = plan(Policy::Addition { real: Some(one + two + rest), synthetic: 0 });
            plan.real.images_per_class = [("one".into(), one), ("two".into(), two)].into();
            let mixture = draw(&plan, &real(30), &synthetic(0), 1).unwrap();
            let count = |class| mixture.entries.iter().filter(|(_, s)| s.annotations[0].category_id == class).count();
            prop_assert_eq!((count(1), count(2), count(3)), (one, two, rest));
        }
    }

    #[test]
    fn another_seed_draws_others() {
        let draw = |seed| draw(&substitution(20, 0.5), &real(60), &synthetic(60), seed).unwrap();
        assert_ne!(
            ids(&draw(0), Pool::Synthetic),
            ids(&draw(1), Pool::Synthetic)
        );
        assert_ne!(ids(&draw(0), Pool::Real), ids(&draw(0), Pool::Synthetic));
    }

    #[test]
    fn classes_are_joined_by_name() {
        let mixture = draw(&substitution(60, 0.5), &real(60), &synthetic(60), 0).unwrap();
        let name = |id| &mixture.categories.iter().find(|c| c.id == id).unwrap().name;
        for (pool, sample) in &mixture.entries {
            let names = match pool {
                Pool::Real => ["one", "two", "three"],
                Pool::Synthetic => ["two", "one", "four"],
            };
            let class = sample.annotations[0].category_id;
            assert_eq!(name(class), names[(sample.id % 3) as usize]);
        }
        assert_eq!(mixture.categories.len(), 4);
    }

    #[test]
    fn too_many_is_an_error_with_both_numbers() {
        let error = draw(&substitution(50, 0.5), &real(9), &synthetic(60), 0).unwrap_err();
        assert!(error.to_string().contains("25 real") && error.to_string().contains("has 9"));
        assert!(error.is_mistake());
    }

    #[test]
    fn a_group_in_training_and_test_is_an_error() {
        let mut real = real(10);
        let group = real.samples[0].record.group.clone();
        real.samples[11].record.group = group;
        let error = draw(&substitution(4, 0.5), &real, &synthetic(9), 0).unwrap_err();
        assert!(
            matches!(&error, MixError::GroupStraddles { groups, .. } if groups == &["real-g0"])
        );
    }

    #[test]
    fn a_copy_made_from_a_held_out_photograph_is_an_error() {
        let (real, mut made) = (real(10), synthetic(9));
        made.samples[0].record.source_origin = Some(Origin::Real);
        made.samples[0].record.group = real.samples[12].record.group.clone();
        let error = draw(&substitution(4, 0.5), &real, &made, 0).unwrap_err();
        assert!(matches!(error, MixError::GroupStraddles { .. }));
    }

    /// Gives every sample of a data set an image of its own on disk.
    fn with_images(mut dataset: Dataset, root: &Path, tint: u8) -> Dataset {
        std::fs::create_dir_all(root.join("images")).unwrap();
        for sample in &mut dataset.samples {
            sample.path = root.join("images").join(&sample.file_name);
            let id = sample.id as u32 + u32::from(tint);
            image::RgbImage::from_fn(64, 64, |x, y| {
                let bit = (x / 8 * 7919 + y / 8 * 104_729 + id * 15_485_863) % 1013;
                image::Rgb([(bit / 4) as u8, tint, 90])
            })
            .save(&sample.path)
            .unwrap();
        }
        dataset.root = root.to_owned();
        dataset
    }

    #[test]
    fn a_written_mixture_keeps_where_images_came_from_and_leaks_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let real = with_images(real(10), &folder.path().join("real"), 0);
        let made = with_images(synthetic(10), &folder.path().join("made"), 200);
        let mixture = draw(&substitution(8, 0.25), &real, &made, 5).unwrap();
        let held_out = real.split(Split::Test);
        check_leakage(&mixture.to_dataset(), &held_out).unwrap();
        let out = folder.path().join("mix");
        let written = mixture.write(&out, &Silent).unwrap();
        assert_eq!(written.samples.len(), 8);
        for (sample, (_, from)) in written.samples.iter().zip(&mixture.entries) {
            assert_eq!(sample.record.source, from.path.display().to_string());
            assert_eq!(sample.record.group, from.record.group);
            assert_eq!(sample.record.origin, from.record.origin);
            assert_eq!(sample.record.split, Some(Split::Train));
            assert_eq!(
                std::fs::read(&sample.path).unwrap(),
                std::fs::read(&from.path).unwrap()
            );
        }
        let mut leaking = written.clone();
        std::fs::copy(&held_out.samples[1].path, folder.path().join("copy.png")).unwrap();
        leaking.samples[3].path = folder.path().join("copy.png");
        let error = check_leakage(&leaking, &held_out).unwrap_err().to_string();
        assert!(error.contains("copy.png is the same file as") && error.contains("11.png"));
        assert!(error.contains("1 training image(s)"));
    }
}
