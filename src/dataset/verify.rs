//! Compares images with what the label files say of them.

use rayon::prelude::*;

use super::decode::image_size;
use super::{Dataset, DatasetError, Warning, Warnings, read_image};
use crate::observer::Observer;

/// How much of an image is read to verify it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Its header: format and size.
    Header,
    /// All of it, which finds truncated files.
    Pixels,
}

impl Dataset {
    /// Reads every image, on `jobs` threads, and reports those that cannot be read and
    /// those whose size is not what the label file says. Nothing is changed.
    ///
    /// # Errors
    /// Threads that cannot be started.
    pub fn verify_images(
        &self,
        depth: Depth,
        jobs: usize,
        observer: &dyn Observer,
    ) -> Result<Vec<Warning>, DatasetError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(jobs)
            .build()
            .map_err(|error| DatasetError::Read {
                path: self.root.clone(),
                source: std::io::Error::other(error),
            })?;
        observer.begin("verify", self.samples.len() as u64, 0);
        let check = |sample: &super::Sample| {
            let size = match depth {
                Depth::Header => image_size(&sample.path),
                Depth::Pixels => read_image(&sample.path).map(|image| image.dimensions()),
            };
            observer.advance(1);
            match size {
                Err(error) => Some(("image cannot be read", error.to_string())),
                Ok(size) if size != (sample.width, sample.height) => Some((
                    "image size differs from the label file's",
                    format!(
                        "{}: {} x {} instead of {} x {}",
                        sample.path.display(),
                        size.0,
                        size.1,
                        sample.width,
                        sample.height
                    ),
                )),
                Ok(_) => None,
            }
        };
        let found: Vec<_> = pool.install(|| self.samples.par_iter().map(check).collect());
        observer.end();
        let mut warnings = Warnings::default();
        for (kind, place) in found.into_iter().flatten() {
            warnings.add(kind, place);
        }
        Ok(warnings.into_vec())
    }
}
