//! Faults that are planted, and found with nothing beside.

use std::path::Path;

use image::{Rgb, RgbImage, imageops};
use rand::RngExt;

use super::*;
use crate::annotation::{Annotation, Category};
use crate::dataset::{Origin, Record, Sample};
use crate::observer::Silent;
use crate::seed::SeedKey;

/// Discs on a table, others for each number.
fn picture(number: u64) -> RgbImage {
    let mut generator = SeedKey::new(b"discs", number).generator("places", 0);
    let mut image = RgbImage::from_fn(160, 120, |x, y| {
        Rgb([(90 + x / 4) as u8, (100 + y / 4) as u8, 80])
    });
    for _ in 0..24 {
        let (x, y) = (
            generator.random_range(0..160),
            generator.random_range(0..120),
        );
        let radius: i32 = generator.random_range(4..12);
        let colour: [u8; 3] = generator.random();
        for dy in -radius..=radius {
            for dx in -radius..=radius {
                let (px, py) = (x + dx, y + dy);
                let is_inside = (0..160).contains(&px) && (0..120).contains(&py);
                if dx * dx + dy * dy <= radius * radius && is_inside {
                    image.put_pixel(px as u32, py as u32, Rgb(colour));
                }
            }
        }
    }
    image
}

fn label(category_id: u32, bbox: [f64; 4]) -> Annotation {
    Annotation {
        id: 0,
        category_id,
        bbox: BoundingBox::from(bbox),
        area: 0.0,
        is_crowd: false,
        extra: Default::default(),
    }
}

/// Twelve images of two classes, three objects each, in two splits.
fn dataset(folder: &Path) -> Dataset {
    let sample = |id: u64| {
        let name = format!("{id}.png");
        let path = folder.join(&name);
        picture(id).save(&path).unwrap();
        let mut record = Record::new(id, name.clone(), Origin::Real);
        record.split = Some(if id <= 8 { Split::Train } else { Split::Test });
        record.group = name.clone();
        let x = 10.0 + id as f64;
        Sample {
            id,
            path,
            file_name: name,
            width: 160,
            height: 120,
            annotations: vec![
                label(1, [x, 10.0, 20.0, 20.0]),
                label(1, [x, 60.0, 22.0, 20.0]),
                label(2, [x + 60.0, 30.0, 30.0, 30.0]),
            ],
            record,
        }
    };
    Dataset {
        root: folder.to_owned(),
        categories: [(1, "die"), (2, "coin")]
            .map(|(id, name)| Category {
                id,
                name: name.to_owned(),
                ..Category::default()
            })
            .to_vec(),
        samples: (1..=12).map(sample).collect(),
        warnings: Vec::new(),
    }
}

/// The issues that are found after a change, with the images they are of.
fn found(change: impl FnOnce(&mut Dataset)) -> Vec<(Issue, Option<String>)> {
    let folder = tempfile::tempdir().unwrap();
    let mut dataset = dataset(folder.path());
    change(&mut dataset);
    let audit = audit(&dataset, &Silent).unwrap();
    let files = write_audit(&audit, &dataset, folder.path()).unwrap();
    let html = std::fs::read_to_string(files.html).unwrap();
    for finding in &audit.findings {
        assert!((0.0..=1.0).contains(&finding.severity), "{finding:?}");
        assert!(html.contains(finding.issue.advice()), "{finding:?}");
    }
    assert!(!html.contains("<script") && !html.contains("http"));
    let severities: Vec<f64> = audit.findings.iter().map(|f| f.severity).collect();
    assert!(severities.is_sorted_by(|a, b| a >= b), "worst first");
    audit
        .findings
        .into_iter()
        .map(|f| (f.issue, f.image))
        .collect()
}

fn on(issue: Issue, image: &str) -> Vec<(Issue, Option<String>)> {
    vec![(issue, Some(image.to_owned()))]
}

#[test]
fn a_sound_set_has_no_findings() {
    assert_eq!(found(|_| {}), []);
}

#[test]
fn faults_of_labels_are_found() {
    let add =
        |annotation: Annotation| move |d: &mut Dataset| d.samples[2].annotations.push(annotation);
    let name = "3.png";
    for (issue, annotation) in [
        (Issue::DuplicateBox, label(1, [13.0, 10.5, 20.0, 20.0])),
        (Issue::TwoClasses, label(2, [13.0, 10.0, 20.0, 20.0])),
        (Issue::Crossing, label(1, [13.0, 14.0, 20.0, 20.0])),
        (Issue::TinyBox, label(1, [90.0, 90.0, 1.5, 8.0])),
        (Issue::WholeImageBox, label(1, [0.0, 0.0, 160.0, 120.0])),
        (Issue::OddBoxSize, label(1, [20.0, 20.0, 90.0, 90.0])),
        (Issue::OddBoxShape, label(1, [20.0, 90.0, 60.0, 9.0])),
    ] {
        assert_eq!(found(add(annotation)), on(issue, name), "{issue:?}");
    }
    let bare = found(|d| d.samples[4].annotations.clear());
    assert_eq!(bare, on(Issue::NoLabels, "5.png"));
    // A small box at the edge is what is left of a cut object.
    assert_eq!(found(add(label(1, [0.0, 50.0, 2.0, 14.0]))), []);
}

#[test]
fn faults_of_the_set_are_found() {
    let set = |issue| vec![(issue, None)];
    let rare = found(|d| {
        d.samples[0].annotations[2].category_id = 3;
        d.samples[9].annotations[2].category_id = 3;
        d.categories.push(Category {
            id: 3,
            name: "key".to_owned(),
            ..Category::default()
        });
    });
    assert_eq!(rare, set(Issue::RareClass));
    let alike = found(|d| {
        d.categories[1].name = "Dies".to_owned();
    });
    assert_eq!(alike, set(Issue::LikeNames));
    let shared = found(|d| d.samples[11].record.group = "1.png".to_owned());
    assert_eq!(shared, set(Issue::GroupInSplits));
    let missing = found(|d| {
        for sample in &mut d.samples[8..] {
            sample.annotations.truncate(2);
        }
    });
    assert!(
        missing.contains(&(Issue::ClassMissingInSplit, None)),
        "{missing:?}"
    );
    let dropped = found(|d| {
        d.warnings.push(crate::dataset::Warning {
            kind: "box outside its image: dropped".to_owned(),
            count: 4,
            examples: vec!["a.json, annotation 7".to_owned()],
        });
    });
    assert_eq!(dropped, set(Issue::UnusableLabel));
}

/// Another picture in place of an image.
fn replaced(index: usize, picture: RgbImage) -> Vec<(Issue, Option<String>)> {
    found(|d| {
        let sample = &mut d.samples[index];
        (sample.width, sample.height) = picture.dimensions();
        picture.save(&sample.path).unwrap();
    })
}

#[test]
fn faults_of_images_are_found() {
    let changed = |change: &dyn Fn(f64) -> f64| {
        let mut picture = picture(4);
        for value in picture.iter_mut() {
            *value = change(f64::from(*value)).clamp(0.0, 255.0) as u8;
        }
        picture
    };
    let cases: [(Issue, RgbImage); 6] = [
        (Issue::Dark, changed(&|v| v / 3.0)),
        (Issue::Bright, changed(&|v| v * 2.2)),
        (Issue::LowContrast, changed(&|v| 110.0 + (v - 110.0) / 5.0)),
        (Issue::Blurred, imageops::blur(&picture(4), 3.0)),
        (
            Issue::OddSize,
            imageops::resize(&picture(4), 640, 480, imageops::FilterType::Nearest),
        ),
        (
            Issue::OddShape,
            imageops::resize(&picture(4), 240, 80, imageops::FilterType::Triangle),
        ),
    ];
    for (issue, picture) in cases {
        let found = replaced(3, picture);
        assert!(
            found.contains(&(issue, Some("4.png".to_owned()))),
            "{issue:?}: {found:?}"
        );
        let of_images = found
            .iter()
            .filter(|(issue, _)| issue.part() == Part::Images);
        assert!(of_images.count() <= 2, "{issue:?}: {found:?}");
    }
    let mut generator = SeedKey::new(b"noise", 1).generator("pixels", 0);
    let mut noisy = picture(4);
    for value in noisy.iter_mut() {
        *value = value.saturating_add_signed(generator.random_range(-20..=20));
    }
    assert_eq!(replaced(3, noisy), on(Issue::Noisy, "4.png"));
    let grey = imageops::grayscale(&picture(4));
    let grey = RgbImage::from_fn(160, 120, |x, y| Rgb([grey.get_pixel(x, y)[0]; 3]));
    assert_eq!(replaced(3, grey), on(Issue::Grey, "4.png"));
    let broken = found(|d| std::fs::write(&d.samples[3].path, b"no picture").unwrap());
    assert_eq!(broken, on(Issue::Unreadable, "4.png"));
    let other = found(|d| d.samples[3].width = 161);
    assert_eq!(other, on(Issue::SizeMismatch, "4.png"));
}

#[test]
fn copies_are_found_with_their_original() {
    let copied = |copy: RgbImage, to: usize| {
        found(|d| {
            let sample = &mut d.samples[to];
            (sample.width, sample.height) = copy.dimensions();
            copy.save(&sample.path).unwrap();
        })
    };
    let mut brighter = picture(1);
    brighter
        .iter_mut()
        .for_each(|value| *value = value.saturating_add(12));
    assert_eq!(copied(picture(1), 5), on(Issue::SameFile, "6.png"));
    assert_eq!(
        copied(brighter.clone(), 5),
        on(Issue::NearDuplicate, "6.png")
    );
    let mirrored = imageops::flip_horizontal(&picture(1));
    assert_eq!(copied(mirrored.clone(), 5), on(Issue::Mirrored, "6.png"));
    for (copy, to) in [(brighter, 10), (mirrored, 11)] {
        let name = format!("{}.png", to + 1);
        assert_eq!(copied(copy, to), on(Issue::CopyInSplits, &name));
    }
    let part = imageops::crop_imm(&picture(1), 10, 8, 112, 84).to_image();
    assert_eq!(copied(part, 5), on(Issue::Cropped, "6.png"));
}

#[test]
fn a_set_without_images_is_refused_and_titles_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let mut dataset = dataset(folder.path());
    dataset.samples.clear();
    assert!(matches!(
        audit(&dataset, &Silent),
        Err(AuditError::NoImages { .. })
    ));
    let titles: std::collections::BTreeSet<&str> = Issue::ALL.iter().map(|i| i.title()).collect();
    assert_eq!(titles.len(), Issue::ALL.len());
}

#[test]
fn the_median_and_its_deviation_are_those_of_the_values() {
    let usual = Usual::of([1.0, 2.0, 3.0, 4.0, 100.0].into_iter()).unwrap();
    assert_eq!((usual.median, usual.deviation), (3.0, 1.4826));
    let even = Usual::of([1.0, 2.0, 3.0, 4.0, 5.0, 60.0].into_iter()).unwrap();
    assert_eq!(even.median, 3.5);
    assert!(Usual::of([1.0; 4].into_iter()).is_none());
    assert!((usual.excess(3.0 + 2.0 * 14.826, 1.0, 10.0) - 2.0).abs() < 1e-12);
    assert_eq!(usual.excess(2.0, 1.0, 0.0), -1.0);
}
