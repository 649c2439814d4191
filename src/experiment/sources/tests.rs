use super::super::plan::tests::{plan, plan_with_ways};
use super::*;
use crate::annotation::Annotation;
use crate::dataset::{Record, Sample};

fn dataset(names: &[&str], count: u64, split: Option<Split>) -> Dataset {
    let categories = names
        .iter()
        .enumerate()
        .map(|(index, name)| Category {
            id: 10 * (index as u32 + 1),
            name: (*name).to_owned(),
            ..Category::default()
        })
        .collect();
    let sample = |id: u64| Sample {
        id,
        path: "none.png".into(),
        file_name: format!("{split:?}{id}.png"),
        width: 10,
        height: 10,
        annotations: vec![Annotation {
            id,
            category_id: 10,
            bbox: BoundingBox::from([1.0, 1.0, 4.0, 4.0]),
            area: 16.0,
            is_crowd: false,
            extra: Default::default(),
        }],
        record: Record {
            split,
            ..Record::new(id, "x.png", Origin::Real)
        },
    };
    Dataset {
        root: "pool".into(),
        categories,
        samples: (1..=count).map(sample).collect(),
        warnings: Vec::new(),
    }
}

/// The images have no files to compare.
fn of(plan: &ExperimentPlan, real: Dataset, pool: Dataset) -> Result<Sources, ExperimentError> {
    let held_out = HeldOut::of(&[], &Silent).unwrap();
    let (train, test) = (real.split(Split::Train), real.split(Split::Test));
    let real = RealData::of(plan, train, real.split(Split::Val), test, held_out)?;
    Sources::of(plan, real, vec![pool])
}

fn real(train: u64, test: u64) -> Dataset {
    let mut real = dataset(&["die", "coin"], train, Some(Split::Train));
    let mut tested = dataset(&["die", "coin"], test, Some(Split::Test)).samples;
    for sample in &mut tested {
        sample.id += train;
    }
    real.samples.extend(tested);
    real
}

#[test]
fn classes_are_joined_by_name() {
    let mut pool = dataset(&["coin"], 200, None);
    let sources = of(&plan(), real(100, 10), pool.clone()).unwrap();
    assert_eq!(
        sources.pools[0].train.samples[0].annotations[0].category_id,
        20
    );
    assert_eq!(sources.pools[0].train.categories, sources.test.categories);
    assert!(!sources.pools[0].train.samples[0].record.counts_as_real());
    assert!(sources.real.samples[0].record.counts_as_real());
    pool.categories[0].name = "token".into();
    let error = of(&plan(), real(100, 10), pool.clone()).unwrap_err();
    assert!(error.to_string().contains("token"), "{error}");
    let mut agnostic = plan();
    agnostic.class_agnostic = Some("thing".into());
    let sources = of(&agnostic, real(100, 10), pool).unwrap();
    for dataset in [&sources.real, &sources.test, &sources.pools[0].train] {
        assert_eq!(dataset.categories[0].name, "thing");
        assert_eq!(dataset.samples[0].annotations[0].category_id, 1);
    }
}

#[test]
fn images_that_the_largest_trial_can_spare_are_held_out() {
    let mut plan = plan();
    plan.synthetic_test = 30;
    let names = |dataset: &Dataset| -> Vec<u64> { dataset.samples.iter().map(|s| s.id).collect() };
    for (images, spared) in [(260, 30), (210, 10), (200, 0)] {
        let sources = of(&plan, real(100, 10), dataset(&["die"], images, None)).unwrap();
        let unseen = names(&sources.pools[0].test);
        let expected: Vec<u64> = (images - spared + 1..=images).collect();
        assert_eq!(unseen, expected);
        assert_eq!(sources.pools[0].train.samples.len() as u64, images - spared);
        let real = sources.pools[0].test.samples.iter();
        assert!(real.clone().all(|s| !s.record.counts_as_real()));
    }
    // A pool with a test split of its own gives that.
    let mut pool = dataset(&["die"], 210, Some(Split::Train));
    for sample in &mut pool.samples[..5] {
        sample.record.split = Some(Split::Test);
    }
    let sources = of(&plan, real(100, 10), pool.clone()).unwrap();
    assert_eq!(names(&sources.pools[0].test), [1, 2, 3, 4, 5]);
    assert_eq!(sources.pools[0].train.samples.len(), 205);
    // A group is not torn apart.
    for sample in &mut pool.samples {
        sample.record.split = None;
        sample.record.group = (sample.id / 4).to_string();
    }
    let sources = of(&plan, real(100, 10), pool).unwrap();
    let unseen: BTreeSet<&str> = sources.pools[0]
        .test
        .samples
        .iter()
        .map(|s| s.group())
        .collect();
    assert!(!unseen.is_empty());
    assert!(
        sources.pools[0]
            .train
            .samples
            .iter()
            .all(|s| !unseen.contains(s.group()))
    );
}

#[test]
fn everything_that_is_missing_is_told_at_once() {
    let message = |real: Dataset, names: &[&str]| {
        let error = of(&plan(), real, dataset(names, 10, None)).unwrap_err();
        error.to_string()
    };
    for (error, parts) in [
        (message(real(99, 0), &["die"]), ["needs 100", "test split"]),
        (message(real(100, 10), &["token"]), ["needs 200", "token"]),
    ] {
        for part in parts {
            assert!(error.contains(part), "{part} is missing in {error}");
        }
    }
}

#[test]
fn arms_that_tell_the_sources_apart_need_real_images_that_count_as_real() {
    let mut data = real(100, 10);
    data.samples[0].record.origin = Origin::Synthetic;
    let pool = dataset(&["die"], 200, None);
    assert!(of(&plan(), data.clone(), pool.clone()).is_ok());
    let error = of(&plan_with_ways(), data, pool).unwrap_err().to_string();
    assert!(error.contains("1 images in its train split"), "{error}");
}

#[test]
fn a_group_in_train_and_test_is_refused() {
    let mut real = real(100, 10);
    real.samples[0].record.group = "burst".into();
    real.samples[105].record.group = "burst".into();
    let error = of(&plan(), real, dataset(&["die"], 200, None)).unwrap_err();
    assert!(error.to_string().contains("`burst`"), "{error}");
}

#[test]
fn rates_are_chosen_by_a_val_split_of_its_own() {
    let plan = crate::experiment::plan::tests::plan_with_rates();
    let pool = || dataset(&["die", "coin"], 400, None);
    let error = of(&plan, real(100, 5), pool()).unwrap_err().to_string();
    assert!(
        error.contains("no labelled images in a val split"),
        "{error}"
    );
    let mut with_val = real(100, 5);
    let mut added = dataset(&["die", "coin"], 3, Some(Split::Val)).samples;
    for sample in &mut added {
        sample.id += 1_000;
    }
    with_val.samples.extend(added);
    let sources = of(&plan, with_val.clone(), pool()).unwrap();
    assert_eq!(sources.validation.samples.len(), 3);
    for sample in &mut with_val.samples {
        sample.record.group = "one scene".into();
    }
    let error = of(&plan, with_val, pool()).unwrap_err().to_string();
    assert!(
        error.contains("both the train and the val split"),
        "{error}"
    );
}
