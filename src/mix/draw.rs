//! Draws a mixture: which images, in which order.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::balance::balanced;
use super::{HeldOut, Leak, MixError, MixPlan, Policy, Pool, Source};
use crate::annotation::Category;
use crate::dataset::{Dataset, Sample};
use crate::observer::Observer;
use crate::seed::SeedKey;

/// A drawn mixture: which images, in which order, with classes joined by name. It was
/// compared with the held-out images, since [`draw`] alone makes it.
#[derive(Debug, Clone)]
pub struct Mixture {
    pub(super) categories: Vec<Category>,
    pub(super) entries: Vec<(Pool, Sample)>,
    pub(super) plan: MixPlan,
    pub(super) seed: u64,
}

/// How often a class stands in a mixture, real and synthetic.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ClassCount {
    pub name: String,
    /// Real and synthetic images that hold the class.
    pub images: [usize; 2],
    /// Real and synthetic boxes of the class.
    pub boxes: [usize; 2],
}

/// Draws a mixture without replacement. `real` and `synthetic` may hold further
/// splits, which are not drawn from but must be among `held_out`. `synthetic` is not
/// looked at where none of it is asked for. Drawn images are decoded, on the current
/// rayon pool, unless they were compared with `held_out` before.
///
/// # Errors
/// Too few images, class counts that cannot be had, and [`MixError::Leakage`] with
/// every group of the pools that is held out and every drawn copy of a held-out image.
pub fn draw(
    plan: &MixPlan,
    real: &Dataset,
    synthetic: Option<&Dataset>,
    held_out: &HeldOut,
    seed: u64,
    observer: &dyn Observer,
) -> Result<Mixture, MixError> {
    let real_pool = Candidates::of(Pool::Real, &plan.real, real);
    let (real_count, synthetic_count) = match plan.policy {
        Policy::Substitution { total, share } => (total - share.of(total), share.of(total)),
        Policy::Addition { real, synthetic } => {
            (real.unwrap_or(real_pool.samples.len()), synthetic)
        }
    };
    let mut pools = vec![(real_pool, real_count)];
    if synthetic_count > 0 {
        let (Some(source), Some(synthetic)) = (&plan.synthetic, synthetic) else {
            return Err(MixError::TooFew {
                pool: Pool::Synthetic,
                path: plan.real.path.clone(),
                asked: synthetic_count,
                available: 0,
            });
        };
        let pool = Candidates::of(Pool::Synthetic, source, synthetic);
        pools.push((pool, synthetic_count));
    }
    let mut drawn = Vec::new();
    for (pool, count) in &pools {
        drawn.push(pool.draw(*count, seed)?);
    }
    let mut leaks = Vec::new();
    for ((pool, _), drawn) in pools.iter().zip(&drawn) {
        leaks.extend(pool.leaks(drawn, held_out, &real.root, observer)?);
    }
    if !leaks.is_empty() {
        return Err(MixError::Leakage { leaks });
    }
    let (mut categories, mut entries) = (Vec::new(), Vec::new());
    for ((pool, _), drawn) in pools.iter().zip(drawn) {
        let ids = join_categories(&mut categories, pool.dataset);
        entries.extend(drawn.into_iter().map(|sample| {
            let mut sample = sample.clone();
            for annotation in &mut sample.annotations {
                annotation.category_id = ids[&annotation.category_id];
            }
            (pool.pool, sample)
        }));
    }
    Ok(Mixture {
        categories,
        entries,
        plan: plan.clone(),
        seed,
    })
}

/// The images that may be drawn from one data set.
pub(super) struct Candidates<'a> {
    pub pool: Pool,
    pub source: &'a Source,
    pub dataset: &'a Dataset,
    pub samples: Vec<&'a Sample>,
}

impl<'a> Candidates<'a> {
    /// The samples of the source's split, or all where the data set has no splits.
    fn of(pool: Pool, source: &'a Source, dataset: &'a Dataset) -> Self {
        let has_splits = dataset.samples.iter().any(|s| s.record.split.is_some());
        let samples = dataset
            .samples
            .iter()
            .filter(|sample| !has_splits || sample.record.split == Some(source.split));
        Candidates {
            pool,
            source,
            dataset,
            samples: samples.collect(),
        }
    }

    pub fn too_few(&self, asked: usize, available: usize) -> MixError {
        MixError::TooFew {
            pool: self.pool,
            path: self.dataset.root.clone(),
            asked,
            available,
        }
    }

    /// The groups of the pool that are held out, else the drawn copies.
    fn leaks(
        &self,
        drawn: &[&Sample],
        held_out: &HeldOut,
        real_root: &Path,
        observer: &dyn Observer,
    ) -> Result<Vec<Leak>, MixError> {
        if let Some(path) = held_out.not_compared(self.dataset) {
            let given = held_out.len();
            return Err(MixError::NotCompared { path, given });
        }
        let groups = held_out.shared_groups(&self.dataset.root, real_root, &self.samples);
        if groups.is_empty() {
            held_out.copies(drawn, observer)
        } else {
            Ok(groups)
        }
    }

    fn draw(&self, count: usize, seed: u64) -> Result<Vec<&'a Sample>, MixError> {
        if count > self.samples.len() {
            return Err(self.too_few(count, self.samples.len()));
        }
        // A constant context: the order must be the same for every ratio of an experiment.
        let key = SeedKey::new(b"mixture order", seed).child(&self.pool.to_string(), 0);
        let place = |sample: &Sample| key.child(&sample.file_name, sample.id).to_u64();
        let mut order = self.samples.clone();
        order.sort_by_cached_key(|sample| (place(sample), sample.id));
        if self.source.images_per_class.is_empty() {
            order.truncate(count);
            return Ok(order);
        }
        balanced(self, &order, count)
    }
}

/// Adds classes that are new by name, and maps the identifiers of `other`. The first
/// data set's classes keep theirs.
fn join_categories(categories: &mut Vec<Category>, other: &Dataset) -> HashMap<u32, u32> {
    let mut next = categories.iter().map(|c| c.id).max().map_or(1, |id| id + 1);
    let first = categories.is_empty();
    let mut ids = HashMap::new();
    for category in &other.categories {
        let known = categories.iter().find(|c| c.name == category.name);
        let id = match known {
            Some(known) => known.id,
            None => {
                let id = if first { category.id } else { next };
                next += u32::from(!first);
                categories.push(Category {
                    id,
                    ..category.clone()
                });
                id
            }
        };
        ids.insert(category.id, id);
    }
    ids
}

impl Mixture {
    /// The real data set's classes with their identifiers, then classes that only the
    /// synthetic one has.
    pub fn categories(&self) -> &[Category] {
        &self.categories
    }

    /// Real images first, each pool in its random order. Category identifiers are
    /// those of [`Mixture::categories`].
    pub fn entries(&self) -> &[(Pool, Sample)] {
        &self.entries
    }

    /// How many images come from a pool.
    pub fn count(&self, pool: Pool) -> usize {
        self.entries
            .iter()
            .filter(|(from, _)| *from == pool)
            .count()
    }

    /// How often each class stands in the mixture.
    pub fn class_counts(&self) -> Vec<ClassCount> {
        let mut counts: Vec<ClassCount> = self
            .categories
            .iter()
            .map(|category| ClassCount {
                name: category.name.clone(),
                images: [0; 2],
                boxes: [0; 2],
            })
            .collect();
        let ids = self.categories.iter().map(|category| category.id);
        let places: HashMap<u32, usize> = ids.zip(0..).collect();
        for (pool, sample) in &self.entries {
            let side = usize::from(*pool == Pool::Synthetic);
            let mut met = BTreeSet::new();
            for annotation in &sample.annotations {
                let count = &mut counts[places[&annotation.category_id]];
                count.boxes[side] += 1;
                count.images[side] += usize::from(met.insert(annotation.category_id));
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::super::{LeakReason, Ratio, held_out_part};
    use super::*;
    use crate::annotation::{Annotation, BoundingBox};
    use crate::dataset::{Origin, Record, Split};
    use crate::observer::Silent;

    /// `count` training images, image `i` with class `1 + i % 3`, and three test images.
    fn with_tests(root: &str, names: [&str; 3], origin: Origin, count: u64) -> Dataset {
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
                    ..Category::default()
                })
                .collect(),
            samples: (0..count + 3).map(sample).collect(),
            warnings: Vec::new(),
        }
    }

    /// Without the test images, which have no files to compare with.
    fn dataset(root: &str, names: [&str; 3], origin: Origin, count: u64) -> Dataset {
        with_tests(root, names, origin, count).split(Split::Train)
    }

    fn real(count: u64) -> Dataset {
        dataset("real", ["one", "two", "three"], Origin::Real, count)
    }

    fn synthetic(count: u64) -> Dataset {
        dataset("made", ["two", "one", "four"], Origin::Synthetic, count)
    }

    fn draw_all(
        plan: &MixPlan,
        real: &Dataset,
        synthetic: &Dataset,
        seed: u64,
    ) -> Result<Mixture, MixError> {
        let held_out = HeldOut::of(&[], &Silent).unwrap();
        draw(plan, real, Some(synthetic), &held_out, seed, &Silent)
    }

    fn plan(policy: Policy) -> MixPlan {
        MixPlan {
            real: Source::train_of("real"),
            synthetic: Some(Source::train_of("made")),
            policy,
            held_out: Vec::new(),
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
            let few = draw_all(&substitution(total, low), &real, &synthetic, seed).unwrap();
            let many = draw_all(&substitution(total, high), &real, &synthetic, seed).unwrap();
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
            let more = draw_all(&more, &real, &synthetic, seed).unwrap();
            prop_assert_eq!(ids(&more, Pool::Real), ids(&few, Pool::Real));
            prop_assert!(ids(&more, Pool::Synthetic).starts_with(&ids(&many, Pool::Synthetic)));
        }

        #[test]
        fn class_counts_are_exact_where_asked(one in 0_usize..10, two in 0_usize..10, rest in 0_usize..10) {
            let mut plan = plan(Policy::Addition { real: Some(one + two + rest), synthetic: 0 });
            plan.real.images_per_class = [("one".into(), one), ("two".into(), two)].into();
            let mixture = draw_all(&plan, &real(30), &synthetic(0), 1).unwrap();
            let count = |class| mixture.entries.iter().filter(|(_, s)| s.annotations[0].category_id == class).count();
            prop_assert_eq!((count(1), count(2), count(3)), (one, two, rest));
        }
    }

    #[test]
    fn another_seed_draws_others() {
        let draw =
            |seed| draw_all(&substitution(20, 0.5), &real(60), &synthetic(60), seed).unwrap();
        assert_ne!(
            ids(&draw(0), Pool::Synthetic),
            ids(&draw(1), Pool::Synthetic)
        );
        assert_ne!(ids(&draw(0), Pool::Real), ids(&draw(0), Pool::Synthetic));
    }

    #[test]
    fn classes_are_joined_by_name() {
        let mixture = draw_all(&substitution(60, 0.5), &real(60), &synthetic(60), 0).unwrap();
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
        let error = draw_all(&substitution(50, 0.5), &real(9), &synthetic(60), 0).unwrap_err();
        assert!(error.to_string().contains("25 real") && error.to_string().contains("has 9"));
        assert!(error.is_mistake());
    }

    /// Real and synthetic data with held-out images, each with a picture of its own on
    /// disk.
    fn on_disk(folder: &Path) -> (Dataset, Dataset) {
        let real = with_tests("real", ["one", "two", "three"], Origin::Real, 10);
        let made = with_tests("made", ["two", "one", "four"], Origin::Synthetic, 10);
        (
            with_images(real, &folder.join("real"), 0),
            with_images(made.split(Split::Train), &folder.join("made"), 200),
        )
    }

    fn with_images(mut dataset: Dataset, root: &Path, tint: u8) -> Dataset {
        std::fs::create_dir_all(root.join("images")).unwrap();
        for sample in &mut dataset.samples {
            sample.path = root.join("images").join(&sample.file_name);
            let id = sample.id as u32 + u32::from(tint);
            image::RgbImage::from_fn(64, 64, |x, y| {
                let cell = [(x / 8) as u8, (y / 8) as u8, id as u8];
                let bit = blake3::hash(&cell).as_bytes()[0];
                image::Rgb([bit, tint, 90])
            })
            .save(&sample.path)
            .unwrap();
        }
        dataset.root = root.to_owned();
        dataset
    }

    fn leaks(error: MixError) -> Vec<Leak> {
        assert!(error.is_mistake());
        match error {
            MixError::Leakage { leaks } => leaks,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_written_mixture_keeps_where_images_came_from() {
        let folder = tempfile::tempdir().unwrap();
        let (real, made) = on_disk(folder.path());
        let held_out = HeldOut::of(&[&held_out_part(&real)], &Silent).unwrap();
        let plan = substitution(8, 0.25);
        let mixture = draw(&plan, &real, Some(&made), &held_out, 5, &Silent).unwrap();
        let written = mixture.write(&folder.path().join("mix"), &Silent).unwrap();
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
    }

    #[test]
    fn a_copy_of_a_test_image_is_an_error_that_names_both() {
        let folder = tempfile::tempdir().unwrap();
        let (real, made) = on_disk(folder.path());
        let test = held_out_part(&real);
        let plan = plan(Policy::Addition {
            real: None,
            synthetic: 10,
        });
        let clean = HeldOut::of(&[&test], &Silent).unwrap();
        draw(&plan, &real, Some(&made), &clean, 0, &Silent).unwrap();
        // The same file among the renders, and a brighter JPEG among the photographs.
        std::fs::copy(&test.samples[1].path, &made.samples[4].path).unwrap();
        let mut brighter = image::open(&test.samples[2].path).unwrap().into_rgb8();
        image::imageops::colorops::brighten_in_place(&mut brighter, 8);
        let mut spoilt = real.clone();
        spoilt.samples[3].path = folder.path().join("brighter.jpg");
        brighter.save(&spoilt.samples[3].path).unwrap();
        let held_out = HeldOut::of(&[&test], &Silent).unwrap();
        let error = draw(&plan, &spoilt, Some(&made), &held_out, 0, &Silent).unwrap_err();
        let text = error.to_string();
        for part in [
            "2 training image(s)",
            "brighter.jpg is a near duplicate of",
            "images/12.png",
            "made/images/4.png is the same file as",
            "images/11.png",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert_eq!(leaks(error).len(), 2);
        // A second draw finds them again: only clean images are remembered.
        let error = draw(&plan, &spoilt, Some(&made), &held_out, 1, &Silent).unwrap_err();
        assert_eq!(leaks(error).len(), 2);
    }

    #[test]
    fn a_held_out_group_in_training_is_an_error_that_names_both() {
        let folder = tempfile::tempdir().unwrap();
        let (mut real, mut made) = on_disk(folder.path());
        let held_out = HeldOut::of(&[&held_out_part(&real)], &Silent).unwrap();
        let plan = substitution(4, 0.5);
        let group = real.samples[12].record.group.clone();
        // A render may have a group of the same name; one made from a photograph not.
        made.samples[0].record.group = group.clone();
        draw(&plan, &real, Some(&made), &held_out, 0, &Silent).unwrap();
        made.samples[0].record.source_origin = Some(Origin::Real);
        let error = draw(&plan, &real, Some(&made), &held_out, 0, &Silent).unwrap_err();
        let found = leaks(error).remove(0);
        assert_eq!(found.reason, LeakReason::SameGroup);
        assert!(found.train.ends_with("made/images/0.png"), "{found}");
        assert!(found.held_out.ends_with("real/images/12.png"), "{found}");
        // Within one data set, whether the image is drawn or not.
        real.samples[0].record.group = group;
        for seed in 0..4 {
            let error = draw(&plan, &real, Some(&made), &held_out, seed, &Silent).unwrap_err();
            assert!(leaks(error)[0].train.ends_with("real/images/0.png"));
        }
    }

    #[test]
    fn held_out_images_that_were_not_given_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let (real, made) = on_disk(folder.path());
        let nothing = HeldOut::of(&[], &Silent).unwrap();
        let plan = substitution(4, 0.5);
        let error = draw(&plan, &real, Some(&made), &nothing, 0, &Silent).unwrap_err();
        assert!(matches!(error, MixError::NotCompared { given: 0, .. }));
    }

    #[test]
    fn classes_are_counted_on_each_side() {
        let mixture = draw_all(&substitution(6, 0.5), &real(3), &synthetic(3), 0).unwrap();
        let counts = mixture.class_counts();
        // Image i holds class 1 + i % 3, and `one` is the renders' second class.
        assert_eq!(counts.len(), 4);
        assert_eq!((&counts[0].name[..], counts[0].images), ("one", [1, 1]));
        assert_eq!((&counts[2].name[..], counts[2].boxes), ("three", [1, 0]));
        assert_eq!((&counts[3].name[..], counts[3].boxes), ("four", [0, 1]));
    }
}
