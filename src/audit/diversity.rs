//! How varied the images of a set are.

use nalgebra::DMatrix;

use super::feature::{ImageMeasures, measure_all};
use super::gap::image_row;
use super::scale::Scale;
use super::{AuditError, Side};
use crate::dataset::Dataset;
use crate::observer::Silent;

/// Most images that a score is taken of, evenly over the set: its cost is cubic.
const MAX_IMAGES: usize = 400;

/// The longer side that images are brought to, in pixels.
const SIDE_PX: u32 = 320;

/// The units in which images of several sets are compared: mean and deviation of each of their
/// numbers in a reference set.
#[derive(Debug, Clone)]
pub struct DiversityScale(Scale);

impl DiversityScale {
    /// Measures the reference.
    ///
    /// # Errors
    /// A reference without images, or an image that cannot be read.
    pub fn of(reference: &Dataset) -> Result<Self, AuditError> {
        let rows = rows(reference)?;
        Ok(DiversityScale(Scale::of(rows.iter().map(Vec::as_slice))))
    }

    /// The Vendi score of a set (Friedman and Dieng 2023): the number of images, all unlike each
    /// other, that would be as varied. It is 1 where all are alike and at most their number.
    /// Two images are as similar as `exp(-d / 2)`, where `d` is the mean squared difference of
    /// their standardised numbers: of pixels, and of boxes where there are any. Scores of sets of
    /// other sizes are not to be compared.
    ///
    /// # Errors
    /// A set without images, or an image that cannot be read.
    pub fn vendi_score(&self, images: &Dataset) -> Result<f64, AuditError> {
        let rows = rows(images)?;
        let standardised: Vec<Vec<f64>> = rows.iter().map(|row| self.0.standardised(row)).collect();
        Ok(vendi_score(&standardised))
    }
}

fn rows(images: &Dataset) -> Result<Vec<Vec<f64>>, AuditError> {
    let mut part = images.clone();
    let step = part.samples.len().div_ceil(MAX_IMAGES).max(1);
    part.samples = part.samples.into_iter().step_by(step).collect();
    let measured = measure_all(&Side::whole(part)?, SIDE_PX, "measure", &Silent)?;
    let row = |image: &ImageMeasures| image_row(image, true);
    Ok(measured.iter().map(row).collect())
}

/// The exponential of the entropy of the similarity matrix's eigenvalues over its size.
fn vendi_score(rows: &[Vec<f64>]) -> f64 {
    let n = rows.len();
    if n == 0 {
        return 0.0;
    }
    let similarity = |a: &[f64], b: &[f64]| {
        let squares: f64 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
        (-0.5 * squares / a.len().max(1) as f64).exp()
    };
    let matrix = DMatrix::from_fn(n, n, |i, j| similarity(&rows[i], &rows[j]) / n as f64);
    let entropy: f64 = matrix
        .symmetric_eigenvalues()
        .iter()
        .filter(|value| **value > 0.0)
        .map(|value| -value * value.ln())
        .sum();
    entropy.exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alike_images_count_as_one_and_unlike_ones_each_for_itself() {
        let alike = vec![vec![0.5, -1.0]; 20];
        assert!((vendi_score(&alike) - 1.0).abs() < 1e-6);
        let apart: Vec<Vec<f64>> = (0..12).map(|i| vec![20.0 * f64::from(i)]).collect();
        assert!((vendi_score(&apart) - 12.0).abs() < 1e-6);
        // Three of one kind and one of another: eigenvalues 3/4 and 1/4.
        let kinds: Vec<Vec<f64>> = [0.0, 0.0, 0.0, 30.0].map(|x| vec![x]).to_vec();
        let expected = (-(0.75_f64 * 0.75_f64.ln() + 0.25 * 0.25_f64.ln())).exp();
        assert!((vendi_score(&kinds) - expected).abs() < 1e-6);
        assert_eq!(vendi_score(&[]), 0.0);
    }
}
