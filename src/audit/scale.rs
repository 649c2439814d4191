//! The units in which images are compared.

/// Standardised values are cut here: one odd image must not decide.
const CLIP_DEVIATIONS: f64 = 4.0;

/// Mean and deviation of each input in some images.
#[derive(Debug, Clone)]
pub(super) struct Scale(Vec<(f64, f64)>);

impl Scale {
    /// Of what is known of each input.
    pub fn of<'a>(rows: impl Iterator<Item = &'a [f64]> + Clone) -> Self {
        let inputs = rows.clone().next().map_or(0, <[f64]>::len);
        let of_input = |input: usize| {
            let known = rows.clone().map(|row| row[input]).filter(|v| v.is_finite());
            let count = known.clone().count().max(1) as f64;
            let mean = known.clone().sum::<f64>() / count;
            let variance = known.map(|value| (value - mean).powi(2)).sum::<f64>() / count;
            (mean, variance.sqrt())
        };
        Scale((0..inputs).map(of_input).collect())
    }

    /// Standardised and cut values. What is not known, or never differs, becomes the mean.
    pub fn standardised(&self, row: &[f64]) -> Vec<f64> {
        let values = row.iter().zip(&self.0).map(|(value, (mean, deviation))| {
            if value.is_finite() && *deviation > 1e-9 * mean.abs().max(1e-3) {
                ((value - mean) / deviation).clamp(-CLIP_DEVIATIONS, CLIP_DEVIATIONS)
            } else {
                0.0
            }
        });
        values.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_in_deviations_and_unknown_ones_are_the_mean() {
        let rows = [[8.0, 5.0, 0.0], [12.0, 5.0, 2.0]];
        let scale = Scale::of(rows.iter().map(|row| row.as_slice()));
        assert_eq!(scale.standardised(&[14.0, 7.0, f64::NAN]), [2.0, 0.0, 0.0]);
        assert_eq!(
            scale.standardised(&[1e6, 5.0, 0.0]),
            [CLIP_DEVIATIONS, 0.0, -1.0]
        );
    }
}
