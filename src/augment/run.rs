//! Augments a whole data set.

use std::io::Cursor;
use std::path::Path;

use rayon::prelude::*;
use serde_json::json;

use super::{AugmentError, AugmentPlan, apply};
use crate::dataset::{
    Begun, Dataset, DatasetWriter, ImageFile, NewSample, Origin, Sample, read_image,
};
use crate::observer::Observer;
use crate::seed::PlanHash;

/// Writes one augmented image for each image of `input`, on the current rayon pool.
/// The result does not depend on the number of workers; an interrupted run goes on.
///
/// # Errors
/// An image that cannot be read, or a folder that cannot be written.
pub fn augment_dataset(
    plan: &AugmentPlan,
    input: &Dataset,
    seed: u64,
    out: &Path,
    observer: &dyn Observer,
) -> Result<Dataset, AugmentError> {
    let ids: Vec<_> = input
        .samples
        .iter()
        .map(|s| (s.id, &s.record.hash))
        .collect();
    let hash = PlanHash::of(&("augment", plan, seed, &input.root, ids));
    let writer = match DatasetWriter::begin(out, &hash, &input.categories)? {
        Begun::Complete(dataset) => return Ok(dataset),
        Begun::Writing(writer) => writer,
    };
    observer.begin(
        "augment",
        input.samples.len() as u64,
        writer.done_count() as u64,
    );
    input
        .samples
        .par_iter()
        .enumerate()
        .try_for_each(|(index, sample)| {
            let index = index as u64;
            if !writer.is_done(index) {
                writer.publish(index, augmented(plan, sample, seed, index, &hash)?)?;
                observer.advance(1);
            }
            Ok::<(), AugmentError>(())
        })?;
    observer.end();
    Ok(writer.finish()?)
}

fn augmented(
    plan: &AugmentPlan,
    sample: &Sample,
    seed: u64,
    index: u64,
    hash: &PlanHash,
) -> Result<NewSample, AugmentError> {
    let transforms = plan.draw(seed, index);
    let image = read_image(&sample.path)?;
    let (image, annotations) = apply(&transforms, image, sample.annotations.clone());
    let mut bytes = Vec::new();
    image
        .write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png)
        .map_err(|error| AugmentError::Encode {
            file_name: sample.file_name.clone(),
            message: error.to_string(),
        })?;
    let mut record = sample.record.clone();
    record.source_origin = Some(record.source_origin.unwrap_or(record.origin));
    record.origin = Origin::Augmented;
    record.source = sample.path.display().to_string();
    record.group = sample.group().to_owned();
    record.seed = Some(seed);
    record.plan = Some(hash.clone());
    record
        .factors
        .insert("transforms".to_owned(), json!(transforms));
    Ok(NewSample {
        file_name: format!("{:06}.png", sample.id),
        image: ImageFile::Bytes(bytes),
        width: image.width(),
        height: image.height(),
        annotations,
        record,
        sidecars: Vec::new(),
    })
}
