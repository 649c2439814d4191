//! The faults of those who label, in measured doses.

use rand::RngExt;
use rand_distr::Distribution as _;

use super::geometry::{Affine, Motion};
use super::label::{Carriage, LabelChanges};
use super::{Drawn, Transform};
use crate::annotation::Annotation;
use crate::seed::{Generator, SeedKey};

/// Plants the fault that `step` names into the labels of an image of `size` pixels. Which
/// labels have it is told in `changes`. Steps of other kinds plant nothing.
///
/// `classes` are the identifiers of all classes of the data set.
pub(super) fn plant(
    step: &Drawn,
    labels: Vec<Annotation>,
    size: [u32; 2],
    classes: &[u32],
    changes: &mut LabelChanges,
) -> Vec<Annotation> {
    let (name, share) = match &step.transform {
        Transform::LabelMissing { share } => ("label_missing", *share),
        Transform::LabelShift { share, .. } => ("label_shift", *share),
        Transform::LabelScale { share, .. } => ("label_scale", *share),
        Transform::LabelClass { share } => ("label_class", *share),
        Transform::LabelDuplicate { share, .. } => ("label_duplicate", *share),
        _ => return labels,
    };
    if name == "label_class" && classes.len() < 2 {
        changes.lose("label_class: there is only one class to choose from");
        return labels;
    }
    let key = SeedKey::new(b"label fault", step.seed());
    let (mut kept, mut faulty) = (Vec::new(), Vec::new());
    for label in labels {
        // Keyed by the label, so that a larger dose holds the labels of a smaller one.
        let mut generator = key.generator(name, label.id);
        if generator.random::<f64>() >= share {
            kept.push(label);
            continue;
        }
        faulty.push(label.id);
        match &step.transform {
            Transform::LabelShift { sd, .. } => {
                kept.extend(shifted(label, *sd, size, &mut generator, changes));
            }
            Transform::LabelScale { sd, .. } => {
                let [x, y] = [normal(&mut generator), normal(&mut generator)]
                    .map(|z| (sd * z).clamp(-3.0, 3.0).exp());
                let centre = [
                    label.bbox.x + label.bbox.width / 2.0,
                    label.bbox.y + label.bbox.height / 2.0,
                ];
                let map = Affine::shift(-centre[0], -centre[1])
                    .then(&Affine::scale(x, y))
                    .then(&Affine::shift(centre[0], centre[1]));
                kept.extend(moved(label, map, size, changes));
            }
            Transform::LabelClass { .. } => {
                let others: Vec<u32> = classes
                    .iter()
                    .copied()
                    .filter(|class| *class != label.category_id)
                    .collect();
                let category_id = others[generator.random_range(0..others.len())];
                kept.push(Annotation {
                    category_id,
                    ..label
                });
            }
            Transform::LabelDuplicate { sd, .. } => {
                kept.push(label.clone());
                kept.extend(shifted(label, *sd, size, &mut generator, changes));
            }
            // Missing: it is not kept.
            _ => {}
        }
    }
    if !faulty.is_empty() {
        changes
            .faults
            .entry(name.to_owned())
            .or_default()
            .extend(faulty);
    }
    kept
}

fn normal(generator: &mut Generator) -> f64 {
    rand_distr::StandardNormal.sample(generator)
}

/// A label moved by normal shares of its sides. One that leaves the image altogether is gone.
fn shifted(
    label: Annotation,
    sd: f64,
    size: [u32; 2],
    generator: &mut Generator,
    changes: &mut LabelChanges,
) -> Option<Annotation> {
    let [x, y] = [label.bbox.width, label.bbox.height].map(|side| side * sd * normal(generator));
    moved(label, Affine::shift(x, y), size, changes)
}

fn moved(
    label: Annotation,
    map: Affine,
    size: [u32; 2],
    changes: &mut LabelChanges,
) -> Option<Annotation> {
    let carriage = Carriage {
        motion: &Motion::affine(map, size),
        from: size,
        min_visible: 0.0,
        keypoint_pairs: &[],
    };
    carriage.carry(vec![label], changes).pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: [u32; 2] = [4000, 4000];

    /// 1,000 boxes of 40 x 20 pixels, far from the edges.
    fn labels() -> Vec<Annotation> {
        (0..1000_u32)
            .map(|i| {
                let [x, y] = [i % 40, i / 40].map(|i| f64::from(500 + 60 * i));
                Annotation {
                    id: u64::from(i),
                    category_id: 1 + i % 3,
                    bbox: [x, y, 40.0, 20.0].into(),
                    area: 800.0,
                    is_crowd: false,
                    extra: Default::default(),
                }
            })
            .collect()
    }

    fn planted(transform: Transform) -> (Vec<Annotation>, LabelChanges) {
        let mut changes = LabelChanges::default();
        let step = Drawn::from(transform).with_seed(5);
        let out = plant(&step, labels(), SIZE, &[1, 2, 3], &mut changes);
        (out, changes)
    }

    #[test]
    fn a_share_of_the_labels_is_missing_and_a_larger_dose_holds_the_smaller() {
        let (few, less) = planted(Transform::LabelMissing { share: 0.2 });
        let (fewer, more) = planted(Transform::LabelMissing { share: 0.5 });
        // Four standard errors of a share of 1,000.
        assert!((few.len() as f64 - 800.0).abs() < 51.0, "{}", few.len());
        assert!((fewer.len() as f64 - 500.0).abs() < 64.0, "{}", fewer.len());
        let (less, more) = (&less.faults["label_missing"], &more.faults["label_missing"]);
        assert_eq!(less.len() + few.len(), 1000);
        assert!(less.iter().all(|id| more.contains(id)));
    }

    #[test]
    fn boxes_are_shifted_and_scaled_by_the_stated_spread() {
        let spread = |values: &[f64]| {
            (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt()
        };
        let (out, _) = planted(Transform::LabelShift {
            share: 1.0,
            sd: 0.1,
        });
        let before = labels();
        let shift = |axis: fn(&Annotation) -> f64| -> Vec<f64> {
            out.iter()
                .zip(&before)
                .map(|(a, b)| axis(a) - axis(b))
                .collect()
        };
        // A standard deviation from 1,000 draws is known to 2.2 %: four of those.
        assert!((spread(&shift(|label| label.bbox.x)) / 4.0 - 1.0).abs() < 0.09);
        assert!((spread(&shift(|label| label.bbox.y)) / 2.0 - 1.0).abs() < 0.09);
        let (out, _) = planted(Transform::LabelScale {
            share: 1.0,
            sd: 0.2,
        });
        let grown: Vec<f64> = out
            .iter()
            .map(|label| (label.bbox.width / 40.0).ln())
            .collect();
        assert!((spread(&grown) / 0.2 - 1.0).abs() < 0.09);
        let centre = |label: &Annotation| label.bbox.x + label.bbox.width / 2.0;
        assert!(
            out.iter()
                .zip(&before)
                .all(|(a, b)| (centre(a) - centre(b)).abs() < 1e-9)
        );
    }

    #[test]
    fn classes_are_confused_with_another_and_labels_repeated() {
        let (out, changes) = planted(Transform::LabelClass { share: 0.3 });
        let wrong = &changes.faults["label_class"];
        for (after, before) in out.iter().zip(labels()) {
            let confused = after.category_id != before.category_id;
            assert_eq!(confused, wrong.contains(&after.id));
        }
        assert!((wrong.len() as f64 - 300.0).abs() < 58.0);
        let (out, changes) = planted(Transform::LabelDuplicate {
            share: 0.3,
            sd: 0.03,
        });
        assert_eq!(out.len(), 1000 + changes.faults["label_duplicate"].len());
        let step = Drawn::from(Transform::LabelClass { share: 1.0 });
        let mut changes = LabelChanges::default();
        assert_eq!(plant(&step, labels(), SIZE, &[1], &mut changes), labels());
        assert_eq!(changes.lost.len(), 1);
    }
}
