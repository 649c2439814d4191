//! A mixture as a data set, in memory and on disk.

use std::path::Path;

use super::{MixError, Mixture, Pool};
use crate::dataset::{Begun, Dataset, DatasetWriter, ImageFile, NewSample, Sample};
use crate::observer::Observer;
use crate::seed::PlanHash;

impl Mixture {
    /// The mixture as a data set whose images lie where they were drawn from, for
    /// training without a copy. Identifiers are those that [`Mixture::write`] gives;
    /// `root` is the real data set's folder.
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
