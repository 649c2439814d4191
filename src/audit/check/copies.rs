//! Images that are another one again: the same file, saved anew, mirrored, turned or cropped.

use rayon::prelude::*;

use super::crops::{self, Corners};
use super::photograph::Photograph;
use super::{Finding, Issue};
use crate::dataset::{Dataset, Likeness, Sample};
use crate::observer::Observer;

/// How an image repeats another.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Copy {
    SameFile,
    Near,
    Turned(crate::dataset::Turn),
    /// With the share of the other's area that it shows.
    Part(f64),
}

pub(super) fn check(
    dataset: &Dataset,
    photographs: &[Result<Photograph, String>],
    observer: &dyn Observer,
) -> Vec<Finding> {
    let readable: Vec<(usize, &Photograph)> = photographs
        .iter()
        .enumerate()
        .filter_map(|(index, read)| Some((index, read.as_ref().ok()?)))
        .collect();
    observer.begin("compare", readable.len() as u64, 0);
    let of_one = |(place, (index, photograph)): (usize, &(usize, &Photograph))| {
        let earlier = readable[..place].iter();
        let found: Vec<Finding> = earlier
            .filter_map(|(other, earlier)| {
                let copy = copy(earlier, photograph)?;
                Some(finding(dataset, *other, *index, copy))
            })
            .collect();
        observer.advance(1);
        found
    };
    let found = readable.par_iter().enumerate().flat_map_iter(of_one);
    let mut found: Vec<Finding> = found.collect();
    observer.end();
    let corners: Vec<(usize, &Corners)> = readable
        .iter()
        .map(|(index, photograph)| (*index, &photograph.corners))
        .collect();
    let is_known = |crop: &crops::Crop, found: &[Finding]| {
        let pair = [[crop.whole, crop.part], [crop.part, crop.whole]];
        let mut samples = found.iter().map(|finding| &finding.samples[..]);
        samples.any(|samples| pair.iter().any(|pair| pair == samples))
    };
    for crop in crops::find(&corners) {
        if !is_known(&crop, &found) {
            let copy = Copy::Part(crop.share);
            found.push(finding(dataset, crop.whole, crop.part, copy));
        }
    }
    found
}

fn copy(one: &Photograph, other: &Photograph) -> Option<Copy> {
    match one.print.likeness(&other.print) {
        Some(Likeness::SameFile) => Some(Copy::SameFile),
        Some(Likeness::NearDuplicate) => Some(Copy::Near),
        None => one.print.turn_to(&other.print).map(Copy::Turned),
    }
}

fn finding(dataset: &Dataset, first: usize, second: usize, copy: Copy) -> Finding {
    let samples = [first, second].map(|index| &dataset.samples[index]);
    let (issue, severity, how) = match copy {
        Copy::SameFile => (Issue::SameFile, 0.7, "the same file".to_owned()),
        Copy::Near => (
            Issue::NearDuplicate,
            0.6,
            "nearly the same picture".to_owned(),
        ),
        Copy::Turned(turn) => (Issue::Mirrored, 0.5, turn.name().to_owned()),
        Copy::Part(share) => (
            Issue::Cropped,
            0.5,
            format!("{:.0} % of the other's area", 100.0 * share),
        ),
    };
    let splits = samples.map(|sample| sample.record.split);
    let (issue, severity, message) = match splits {
        [Some(one), Some(other)] if one != other => {
            let message = format!("{how}, in {one} and in {other}");
            (Issue::CopyInSplits, 0.9 + severity / 10.0, message)
        }
        _ => (issue, severity, how),
    };
    let labels = match copy {
        // A part may hold fewer objects.
        Copy::Part(_) => "",
        _ => labels_differ(samples),
    };
    Finding {
        other: Some(samples[0].file_name.clone()),
        samples: vec![second, first],
        message: message + labels,
        ..Finding::of_image(issue, severity, dataset, second, String::new())
    }
}

/// Copies that are labelled unlike each other say two things of one picture.
fn labels_differ(samples: [&Sample; 2]) -> &'static str {
    let [one, other] = samples.map(|sample| {
        let mut classes: Vec<u32> = sample.annotations.iter().map(|a| a.category_id).collect();
        classes.sort_unstable();
        classes
    });
    match one == other {
        true => "",
        false => "; their labels differ",
    }
}
