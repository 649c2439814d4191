//! Tests on drawn measures, which need no image files.

use rand::RngExt;
use rand_distr::{Distribution, Normal, Poisson};

use super::*;
use crate::dataset::{Dataset, Origin, Record, Sample};
use crate::observer::Silent;

/// A set of `count` images whose files do not exist, in groups of `per_group`.
fn side(count: usize, per_group: usize) -> Side {
    let sample = |index: usize| {
        let mut record = Record::new(index as u64 + 1, "", Origin::Real);
        record.group = format!("group {}", index / per_group);
        Sample {
            id: index as u64 + 1,
            path: PathBuf::new(),
            file_name: format!("{index}.png"),
            width: 100,
            height: 100,
            annotations: Vec::new(),
            record,
        }
    };
    let dataset = Dataset {
        root: PathBuf::from("some <set>"),
        categories: Vec::new(),
        samples: (0..count).map(sample).collect(),
        warnings: Vec::new(),
    };
    Side::whole(dataset).unwrap()
}

/// How drawn images differ from standard ones.
#[derive(Clone, Copy, Default)]
pub(in super::super) struct Tweak {
    pub brightness: f64,
    pub size: f64,
    pub no_boxes: bool,
    pub noise_spread: f64,
}

/// Images that look as if measured, `per_group` of a group being alike in their light.
fn draw(seed: u64, count: usize, per_group: usize, tweak: Tweak) -> Vec<ImageMeasures> {
    let mut generator = SeedKey::new(b"images", seed).generator("images", 0);
    let normal = |mean: f64, deviation: f64, generator: &mut _| {
        Normal::new(mean, deviation).unwrap().sample(generator)
    };
    let mut light = 0.0;
    let mut images = Vec::new();
    for index in 0..count {
        if index % per_group == 0 {
            light = normal(120.0 + tweak.brightness, 12.0, &mut generator);
        }
        let boxes = Poisson::new(5.0).unwrap().sample(&mut generator) as usize;
        // Sizes of an image's boxes go together, as a photograph is near or far.
        let size = normal(8.0 + tweak.size, 1.5, &mut generator);
        let mut pixels = [0.0; PIXEL_FEATURES.len()];
        for pixel in &mut pixels {
            *pixel = normal(10.0, 2.0, &mut generator);
        }
        pixels[0] = normal(light, 1.0, &mut generator);
        pixels[6] = normal(3.0, 0.5 + tweak.noise_spread, &mut generator);
        let mut measured = |_| {
            let overlap = if generator.random_bool(0.8) { 0.0 } else { 0.1 };
            [
                size,
                generator.random_range(0.0..100.0),
                generator.random_range(0.0..100.0),
                1.0,
                overlap,
            ]
        };
        let boxes = if tweak.no_boxes { 0 } else { boxes };
        images.push(ImageMeasures {
            pixels,
            mean_rgb: [light; 3],
            boxes: (0..boxes).map(&mut measured).collect(),
        });
    }
    images
}

fn compared(
    real: Vec<ImageMeasures>,
    synthetic: Vec<ImageMeasures>,
    per_group: usize,
    seed: u64,
) -> Gap {
    let sides = [side(real.len(), per_group), side(synthetic.len(), 1)];
    let measured = |images: Vec<ImageMeasures>, index: usize| Measured {
        side: &sides[index],
        group: groups(&sides[index]),
        images,
    };
    gap_of(
        &measured(real, 0),
        &measured(synthetic, 1),
        640,
        seed,
        &Silent,
    )
}

/// A comparison of drawn images, `counts` of each set.
pub(in super::super) fn gap(counts: [usize; 2], tweak: Tweak) -> Gap {
    let real = draw(1, counts[0], 1, Tweak::default());
    compared(real, draw(2, counts[1], 1, tweak), 1, 0)
}

fn find<'a>(gap: &'a Gap, key: &str) -> &'a FeatureGap {
    gap.features.iter().find(|g| g.feature.key == key).unwrap()
}

#[test]
fn what_was_changed_is_found_and_said_which_way() {
    let tweak = Tweak {
        brightness: -30.0,
        size: 2.5,
        ..Tweak::default()
    };
    let gap = gap([60, 50], tweak);
    let first: Vec<&str> = gap.features[..2].iter().map(|g| g.feature.key).collect();
    assert_eq!(first, ["brightness", "object_size"]);
    let differences = [Shift::Lower, Shift::Higher].map(|shift| Difference {
        shift: Some(shift),
        breadth: None,
    });
    assert_eq!(gap.features[0].difference, Some(differences[0]));
    assert_eq!(gap.features[1].difference, Some(differences[1]));
    assert!(gap.features[0].standardised_difference.unwrap() < -1.5);
    let others = gap.features[2..].iter().filter(|g| g.difference.is_some());
    assert_eq!(others.count(), 0, "what is alike is not claimed to differ");
    assert!(gap.classifier.unwrap().auc > 0.9);
}

#[test]
fn a_wider_spread_is_no_shift() {
    let tweak = Tweak {
        noise_spread: 2.0,
        ..Tweak::default()
    };
    let gap = gap([80, 80], tweak);
    let noise = find(&gap, "noise");
    let expected = Difference {
        shift: None,
        breadth: Some(Breadth::Wider),
    };
    assert_eq!(noise.difference, Some(expected), "{noise:?}");
}

#[test]
fn a_shift_follows_the_medians_and_equal_medians_the_means() {
    let spread = |values: &[f64]| Spread::of(values.to_vec());
    let real = spread(&[0.0, 0.0, 0.0, 0.0, 1.0]);
    let synthetic = spread(&[0.0, 0.0, 0.0, 1.0, 1.0]);
    let found = way([0.2, 0.0], false, &real, &synthetic);
    assert_eq!((found.shift, found.breadth), (Some(Shift::Higher), None));
    // The median went up, but the largest distance is below: no shift, a wider range.
    let real = spread(&[3.0, 4.0, 5.0]);
    let synthetic = spread(&[0.0, 5.0, 9.0]);
    let found = way([0.3, 0.4], false, &real, &synthetic);
    assert_eq!((found.shift, found.breadth), (None, Some(Breadth::Wider)));
    let found = way([0.1, 0.4], true, &spread(&[4.0, 8.0]), &spread(&[4.0, 5.0]));
    let expected = (Some(Shift::Lower), Some(Breadth::Narrower));
    assert_eq!((found.shift, found.breadth), expected);
}

#[test]
fn sets_of_one_kind_are_seldom_claimed_to_differ() {
    let mut areas = 0.0;
    let mut claims = [0, 0];
    for seed in 0..40 {
        let real = draw(2 * seed, 50, 1, Tweak::default());
        let synthetic = draw(2 * seed + 1, 50, 1, Tweak::default());
        let gap = compared(real, synthetic, 1, seed);
        let separation = gap.classifier.unwrap();
        areas += separation.auc / 40.0;
        claims[0] += usize::from(gap.features.iter().any(|g| g.difference.is_some()));
        claims[1] += usize::from(separation.p_value <= 0.05);
    }
    assert!((areas - 0.5).abs() < 0.03, "mean area {areas}");
    assert!(claims[0] <= 4 && claims[1] <= 4, "{claims:?} of 40");
}

#[test]
fn bursts_of_one_kind_are_seldom_claimed_to_differ() {
    // Ten photographs of one light count as one: as fifty they would differ nearly always.
    let claimed = (0..20).filter(|seed| {
        let real = draw(2 * seed, 100, 10, Tweak::default());
        let synthetic = draw(2 * seed + 1, 50, 1, Tweak::default());
        let gap = compared(real, synthetic, 10, *seed);
        assert_eq!(gap.real.groups, 10);
        find(&gap, "brightness").p_value <= 0.05
    });
    let count = claimed.count();
    assert!(count <= 3, "{count} of 20");
}

#[test]
fn a_set_compared_with_itself_differs_in_nothing() {
    let images = draw(5, 40, 1, Tweak::default());
    let gap = compared(images.clone(), images, 1, 0);
    for feature in &gap.features {
        assert_eq!((feature.ks_distance, feature.p_holm), (0.0, 1.0));
        assert_eq!(feature.difference, None);
    }
    assert!(gap.sentences[0].contains("No clear difference"));
    assert!(gap.classifier.unwrap().p_value > 0.05);
}

#[test]
fn what_rounds_alike_is_alike() {
    let image = |aspect: f64| ImageMeasures {
        pixels: [0.0; PIXEL_FEATURES.len()],
        mean_rgb: [0.0; 3],
        boxes: vec![[5.0, 50.0, 50.0, aspect, 0.0]],
    };
    let gap = compared(vec![image(1.001); 20], vec![image(0.999); 20], 1, 0);
    assert_eq!(find(&gap, "aspect").ks_distance, 0.0);
    let gap = compared(vec![image(1.01); 20], vec![image(0.99); 20], 1, 0);
    assert_eq!(find(&gap, "aspect").ks_distance, 1.0);
}

#[test]
fn p_values_agree_with_exact_ones() {
    // Five against five without overlap: 2 of 252 arrangements have distance 1.
    let image = |value: f64| ImageMeasures {
        pixels: [value; PIXEL_FEATURES.len()],
        mean_rgb: [value; 3],
        boxes: Vec::new(),
    };
    let images = |from: u32| (0..5).map(|i| image(f64::from(from + i))).collect();
    let gap = compared(images(0), images(5), 1, 3);
    assert_eq!(gap.features[0].ks_distance, 1.0);
    let p = gap.features[0].p_value;
    assert!((p - 2.0 / 252.0).abs() < 0.005, "{p}");
    // 1, 2, 3, 4 against 2.5, 3.5, 4.5, 5.5: the exact p-value is 27/35 (scipy).
    let images = |from: f64| (0..4).map(|i| image(from + f64::from(i))).collect();
    let gap = compared(images(1.0), images(2.5), 1, 3);
    let p = gap.features[0].p_value;
    assert!((p - 27.0 / 35.0).abs() < 0.03, "{p}");
}

#[test]
fn boxes_of_an_image_move_together() {
    // One near and many far images: as single boxes, twenty of one size would be evidence.
    let image = |size: f64, count: usize| ImageMeasures {
        pixels: [0.0; PIXEL_FEATURES.len()],
        mean_rgb: [0.0; 3],
        boxes: vec![[size, 50.0, 50.0, 1.0, 0.0]; count],
    };
    let mut real: Vec<_> = (0..10)
        .map(|i| image(5.0 + 0.1 * f64::from(i), 4))
        .collect();
    let synthetic: Vec<_> = (0..10)
        .map(|i| image(5.05 + 0.1 * f64::from(i), 4))
        .collect();
    real.push(image(20.0, 40));
    let gap = compared(real, synthetic, 1, 0);
    let size = find(&gap, "object_size");
    assert!(size.ks_distance >= 0.5, "{}", size.ks_distance);
    assert!(size.p_value > 0.1, "{}", size.p_value);
}

#[test]
fn few_images_and_no_boxes_are_told_and_claim_nothing() {
    let far = Tweak {
        brightness: 500.0,
        ..Tweak::default()
    };
    let gap_1 = gap([1, 30], far);
    assert!(gap_1.features.iter().all(|g| g.difference.is_none()));
    assert!(gap_1.classifier.is_none());
    assert!(
        gap_1.sentences[0].contains("Nothing is claimed"),
        "{gap_1:?}"
    );
    assert!(
        gap_1.notes[0].contains("the real set has 1"),
        "{:?}",
        gap_1.notes
    );
    let gap_2 = gap([1, 1], far);
    assert_eq!(gap_2.features.len(), 14);
    let bare = Tweak {
        no_boxes: true,
        ..Tweak::default()
    };
    let gap_3 = gap([30, 30], bare);
    assert_eq!(gap_3.features.len(), PIXEL_FEATURES.len());
    assert!(gap_3.notes[0].starts_with("The synthetic set has no boxes"));
    assert_eq!(gap_3.classifier.unwrap().inputs.len(), PIXEL_FEATURES.len());
}

#[test]
fn the_seed_decides_and_threads_do_not() {
    let json = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap().install(|| {
            let real = draw(1, 30, 1, Tweak::default());
            let synthetic = draw(2, 30, 1, Tweak::default());
            serde_json::to_string(&compared(real, synthetic, 1, 7)).unwrap()
        })
    };
    assert_eq!(json(1), json(3));
}
