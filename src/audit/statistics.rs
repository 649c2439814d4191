//! Distances of two samples, and what chance would give.

/// Values of both sets in order, each with the group that it moves with.
#[derive(Debug, Clone)]
pub(super) struct Ranked {
    /// Group of each value, from the least value to the greatest.
    group: Vec<u32>,
    /// Whether the value is the last of those equal to it.
    ends_tie: Vec<bool>,
}

impl Ranked {
    /// Ranks finite values, given with their groups.
    pub fn new(mut values: Vec<(f64, u32)>) -> Self {
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        let next = values.iter().skip(1).map(|(value, _)| Some(*value));
        let ends_tie = values
            .iter()
            .zip(next.chain([None]))
            .map(|((value, _), next)| Some(*value) != next)
            .collect();
        Ranked {
            group: values.into_iter().map(|(_, group)| group).collect(),
            ends_tie,
        }
    }

    /// The one-sided Kolmogorov-Smirnov distances of the two sets, each in `0..=1`: how far
    /// the synthetic distribution function lies below the real one (synthetic values are
    /// higher), and how far above (they are lower). `is_real` tells the set of each group. A
    /// set without values is as far away as can be.
    pub fn distances(&self, is_real: &[bool]) -> [f64; 2] {
        let real = self.group.iter().filter(|g| is_real[**g as usize]).count() as i64;
        let synthetic = self.group.len() as i64 - real;
        if real == 0 || synthetic == 0 {
            return [1.0; 2];
        }
        // Whole numbers, so that permutations of the same sizes are compared exactly.
        let (mut difference, mut highest, mut lowest) = (0_i64, 0_i64, 0_i64);
        for (group, ends_tie) in self.group.iter().zip(&self.ends_tie) {
            difference += if is_real[*group as usize] {
                synthetic
            } else {
                -real
            };
            if *ends_tie {
                highest = highest.max(difference);
                lowest = lowest.min(difference);
            }
        }
        let scale = real as f64 * synthetic as f64;
        [highest as f64 / scale, -lowest as f64 / scale]
    }

    /// The two-sided distance, in `0..=1`.
    pub fn distance(&self, is_real: &[bool]) -> f64 {
        let [above, below] = self.distances(is_real);
        above.max(below)
    }
}

/// p-value of a statistic that `reached` of `permutations` random relabellings reach as well;
/// never zero (Phipson and Smyth 2010).
pub(super) fn permutation_p_value(reached: usize, permutations: usize) -> f64 {
    (1 + reached) as f64 / (1 + permutations) as f64
}

/// p-values that hold together (Holm 1979), in the order given, at most 1.
pub(super) fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut largest = 0.0_f64;
    for (rank, index) in order.into_iter().enumerate() {
        let factor = (p_values.len() - rank) as f64;
        largest = largest.max(factor * p_values[index]).min(1.0);
        adjusted[index] = largest;
    }
    adjusted
}

/// Quantile of sorted values, interpolated (type 7 of Hyndman and Fan 1996); NaN for none.
pub(super) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = share.clamp(0.0, 1.0) * last as f64;
    let (below, part) = (place.floor() as usize, place.fract());
    let above = (below + 1).min(last);
    sorted[below] + part * (sorted[above] - sorted[below])
}

/// Mean and variance (divided by n - 1; 0 for one value) of at least one value.
pub(super) fn mean_and_variance(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, squares / (count - 1.0).max(1.0))
}

/// Difference of the means, second minus first, over the root of the mean of both variances
/// (Cohen 1988, section 2.3); `None` where neither set varies.
pub(super) fn standardised_difference(first: &[f64], second: &[f64]) -> Option<f64> {
    let ((mean_1, variance_1), (mean_2, variance_2)) =
        (mean_and_variance(first), mean_and_variance(second));
    let deviation = ((variance_1 + variance_2) / 2.0).sqrt();
    // Below this, what varies is the last digit of equal values.
    let floor = 1e-9 * mean_1.abs().max(mean_2.abs()).max(1e-3);
    (deviation > floor).then(|| (mean_2 - mean_1) / deviation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(real: &[f64], synthetic: &[f64]) -> (Ranked, Vec<bool>) {
        let values = real.iter().chain(synthetic).copied().zip(0..).collect();
        let is_real = |index| index < real.len();
        let labels = (0..real.len() + synthetic.len()).map(is_real).collect();
        (Ranked::new(values), labels)
    }

    #[test]
    fn distances_of_known_samples() {
        for (real, synthetic, expected) in [
            (&[1.0, 2.0, 3.0, 4.0][..], &[2.5, 3.5, 4.5, 5.5][..], 0.5),
            // With ties: F differs by 1/2 at 2 and at 4 (scipy's ks_2samp agrees).
            (&[1.0, 2.0, 3.0, 4.0], &[3.0, 4.0, 5.0, 6.0], 0.5),
            (&[1.0, 1.0, 1.0], &[1.0, 1.0], 0.0),
            (&[1.0, 2.0], &[3.0], 1.0),
            (&[1.0, 2.0, 3.0, 4.0], &[1.5, 1.5], 0.75),
        ] {
            let (ranks, labels) = ranked(real, synthetic);
            assert_eq!(ranks.distance(&labels), expected, "{real:?} {synthetic:?}");
            let (ranks, labels) = ranked(synthetic, real);
            assert_eq!(
                ranks.distance(&labels),
                expected,
                "the distance is symmetric"
            );
        }
        let (ranks, labels) = ranked(&[1.0, 2.0, 3.0, 4.0], &[2.5, 3.5, 4.5, 5.5]);
        assert_eq!(ranks.distances(&labels), [0.5, 0.0], "synthetic is higher");
    }

    #[test]
    fn holm_of_a_worked_example() {
        // Wikipedia's example for Holm-Bonferroni: four tests.
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((found - expected).abs() < 1e-12, "{adjusted:?}");
        }
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn quantiles_are_interpolated() {
        let values = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(quantile(&values, 0.5), 2.5);
        assert!((quantile(&values, 0.1) - 1.3).abs() < 1e-12);
        assert_eq!((quantile(&values, 0.0), quantile(&values, 1.0)), (1.0, 4.0));
        assert_eq!(quantile(&[7.0], 0.9), 7.0);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn the_standardised_difference_has_a_sign_and_a_guard() {
        // Means 2 and 4, both variances 1.
        let d = standardised_difference(&[1.0, 2.0, 3.0], &[3.0, 4.0, 5.0]).unwrap();
        assert!((d - 2.0).abs() < 1e-12);
        assert_eq!(standardised_difference(&[1.0, 1.0], &[1.0]), None);
        assert_eq!(standardised_difference(&[0.1 + 0.2, 0.3], &[0.3]), None);
    }
}
