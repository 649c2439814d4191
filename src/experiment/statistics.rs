//! Two-way layout (condition x seed), simultaneous intervals, and seeds needed.
//!
//! Every condition is run with the same seeds, so that seeds are blocks: the model
//! is `y = mean + condition + seed + error` with one error variance. Methods:
//! randomised complete block analysis (Montgomery, *Design and Analysis of
//! Experiments*, ch. 4), many-to-one intervals (Dunnett 1955, 1964), mean intervals
//! with Satterthwaite's degrees of freedom (1946).

use statrs::distribution::{ChiSquared, Continuous, ContinuousCDF, Normal, StudentsT};

/// Below this variance runs count as identical: AP is no finer than this.
const IDENTICAL_VARIANCE: f64 = 1e-14;

/// Whether an interval has one bound or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sides {
    One,
    Two,
}

/// A complete two-way layout: at least two conditions and two seeds, no gap.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    means: Vec<f64>,
    seeds: usize,
    /// Mean squares between conditions, between seeds, and of the residual.
    pub mean_square_conditions: f64,
    pub mean_square_seeds: f64,
    pub mean_square_error: f64,
}

impl Layout {
    /// Fits the layout to `values[condition][seed]`. `None` where there are fewer
    /// than two conditions or seeds, rows of unequal length, or a value that is not
    /// finite.
    pub fn fit(values: &[Vec<f64>]) -> Option<Self> {
        let seeds = values.first()?.len();
        let complete = values
            .iter()
            .all(|row| row.len() == seeds && row.iter().all(|value| value.is_finite()));
        if values.len() < 2 || seeds < 2 || !complete {
            return None;
        }
        let (k, n) = (values.len() as f64, seeds as f64);
        let means: Vec<f64> = values
            .iter()
            .map(|row| row.iter().sum::<f64>() / n)
            .collect();
        let grand = means.iter().sum::<f64>() / k;
        let seed_means: Vec<f64> = (0..seeds)
            .map(|seed| values.iter().map(|row| row[seed]).sum::<f64>() / k)
            .collect();
        let conditions: f64 = n * means.iter().map(|mean| (mean - grand).powi(2)).sum::<f64>();
        let blocks: f64 = k * seed_means.iter().map(|m| (m - grand).powi(2)).sum::<f64>();
        let mut error = 0.0;
        for (row, mean) in values.iter().zip(&means) {
            for (value, seed_mean) in row.iter().zip(&seed_means) {
                error += (value - mean - seed_mean + grand).powi(2);
            }
        }
        Some(Layout {
            means,
            seeds,
            mean_square_conditions: conditions / (k - 1.0),
            mean_square_seeds: blocks / (n - 1.0),
            mean_square_error: error / ((k - 1.0) * (n - 1.0)),
        })
    }

    /// Mean of each condition, in the order of the rows.
    pub fn means(&self) -> &[f64] {
        &self.means
    }

    /// Residual degrees of freedom.
    pub fn error_degrees(&self) -> f64 {
        (self.means.len() as f64 - 1.0) * (self.seeds as f64 - 1.0)
    }

    /// Whether the runs do not vary at all once condition and seed are known, so
    /// that no interval can be drawn.
    pub fn is_degenerate(&self) -> bool {
        self.mean_square_error <= IDENTICAL_VARIANCE
    }

    /// F statistic of the conditions and its p-value.
    pub fn condition_test(&self) -> (f64, f64) {
        let f = self.mean_square_conditions / self.mean_square_error;
        let between = self.means.len() as f64 - 1.0;
        // P(F > f) through the beta function: degrees of freedom are positive here.
        let x = self.error_degrees() / (self.error_degrees() + between * f);
        let p = statrs::function::beta::beta_reg(self.error_degrees() / 2.0, between / 2.0, x);
        (f, p)
    }

    /// Standard error of the difference of two condition means, paired by seed.
    pub fn difference_error(&self) -> f64 {
        (2.0 * self.mean_square_error / self.seeds as f64).sqrt()
    }

    /// Half width of a 1 - `alpha` interval of one condition's mean over new seeds:
    /// its variance is that of seeds and error together, estimated by
    /// `(MS_seed + (k-1) MS_error) / k` with Satterthwaite's degrees of freedom.
    pub fn mean_half_width(&self, alpha: f64) -> f64 {
        let (k, n) = (self.means.len() as f64, self.seeds as f64);
        let part_seed = self.mean_square_seeds / k;
        let part_error = self.mean_square_error * (k - 1.0) / k;
        let variance = part_seed + part_error;
        if variance <= IDENTICAL_VARIANCE {
            return 0.0;
        }
        let degrees = variance.powi(2)
            / (part_seed.powi(2) / (n - 1.0) + part_error.powi(2) / self.error_degrees());
        t_quantile(1.0 - alpha / 2.0, degrees) * (variance / n).sqrt()
    }
}

/// Quantile of Student's t with `degrees` > 0 degrees of freedom.
pub fn t_quantile(probability: f64, degrees: f64) -> f64 {
    StudentsT::new(0.0, 1.0, degrees).map_or(f64::NAN, |t| t.inverse_cdf(probability))
}

fn normal() -> Normal {
    Normal::standard()
}

/// Critical value for comparing `comparisons` conditions with one reference so that
/// all intervals hold together with probability 1 - `alpha`: the quantile of the
/// largest of equally correlated (1/2) t variables (Dunnett 1955, eq. 3). Integrated
/// numerically, to about four digits.
pub fn dunnett_critical_value(comparisons: usize, degrees: f64, alpha: f64, sides: Sides) -> f64 {
    if comparisons <= 1 {
        let tail = if sides == Sides::Two {
            alpha / 2.0
        } else {
            alpha
        };
        return t_quantile(1.0 - tail, degrees);
    }
    let (mut low, mut high) = (0.0, 200.0);
    for _ in 0..40 {
        let middle = 0.5 * (low + high);
        if dunnett_coverage(middle, comparisons, degrees, sides) < 1.0 - alpha {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// Probability that all `comparisons` statistics stay within `critical`.
fn dunnett_coverage(critical: f64, comparisons: usize, degrees: f64, sides: Sides) -> f64 {
    const STEPS: usize = 48;
    let normal = normal();
    // Given the reference's error z and the scale s of the variance estimate, the
    // comparisons are independent.
    let given_scale = |s: f64| {
        simpson(-6.0, 6.0, STEPS, |z| {
            let upper = normal.cdf(z + std::f64::consts::SQRT_2 * critical * s);
            let inside = match sides {
                Sides::One => upper,
                Sides::Two => upper - normal.cdf(z - std::f64::consts::SQRT_2 * critical * s),
            };
            normal.pdf(z) * inside.powi(comparisons as i32)
        })
    };
    let Ok(chi_squared) = ChiSquared::new(degrees) else {
        return f64::NAN;
    };
    let (low, high) = (
        (chi_squared.inverse_cdf(1e-7) / degrees).sqrt(),
        (chi_squared.inverse_cdf(1.0 - 1e-7) / degrees).sqrt(),
    );
    simpson(low, high, STEPS, |s| {
        // Density of s where degrees * s^2 is chi-squared.
        chi_squared.pdf(degrees * s * s) * 2.0 * degrees * s * given_scale(s)
    })
}

/// Simpson's rule with an even number of steps.
fn simpson(low: f64, high: f64, steps: usize, f: impl Fn(f64) -> f64) -> f64 {
    let width = (high - low) / steps as f64;
    let inner: f64 = (1..steps)
        .map(|index| f(low + width * index as f64) * if index % 2 == 1 { 4.0 } else { 2.0 })
        .sum();
    (f(low) + inner + f(high)) * width / 3.0
}

/// Power that "can be detected" stands for.
const POWER: f64 = 0.8;

/// The true difference that a comparison with standard error `difference_error` and
/// critical value `critical` finds with 80 % power.
pub fn minimal_detectable_difference(difference_error: f64, critical: f64, degrees: f64) -> f64 {
    (critical + t_quantile(POWER, degrees)) * difference_error
}

/// Seeds for finding a true difference `margin` with 80 % power, where paired
/// differences have standard deviation `deviation` and the critical value for many
/// seeds is `critical`: `(c + z)^2 (s/d)^2 + c^2 / 2` (Guenther 1981). One one-sided
/// comparison at 5 % gives the rule `6.2 (s/d)^2 + 1.4`.
pub fn seeds_needed(deviation: f64, margin: f64, critical: f64) -> u64 {
    let power = normal().inverse_cdf(POWER);
    let seeds = (critical + power).powi(2) * (deviation / margin).powi(2) + critical.powi(2) / 2.0;
    seeds.ceil().max(2.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::SeedKey;
    use rand_distr::Distribution as _;

    /// Vascular grafts: yield at four extrusion pressures, six batches of resin
    /// (Montgomery, Design and Analysis of Experiments, table 4.3).
    fn grafts() -> Vec<Vec<f64>> {
        vec![
            vec![90.3, 89.2, 98.2, 93.9, 87.4, 97.9],
            vec![92.5, 89.5, 90.6, 94.7, 87.0, 95.8],
            vec![85.5, 90.8, 89.6, 86.2, 88.0, 93.4],
            vec![82.5, 89.5, 85.6, 87.4, 78.9, 90.7],
        ]
    }

    #[test]
    fn montgomerys_block_design_is_reproduced() {
        let layout = Layout::fit(&grafts()).unwrap();
        assert!((layout.mean_square_conditions - 59.39).abs() < 0.005);
        assert!((layout.mean_square_seeds - 38.45).abs() < 0.005);
        assert!((layout.mean_square_error - 7.33).abs() < 0.005);
        assert_eq!(layout.error_degrees(), 15.0);
        let (f, p) = layout.condition_test();
        assert!((f - 8.11).abs() < 0.005, "{f}");
        assert!((p - 0.0019).abs() < 0.0001, "{p}");
    }

    #[test]
    fn t_quantiles_agree_with_the_table() {
        for (probability, degrees, expected) in [
            (0.975, 4.0, 2.776),
            (0.975, 15.0, 2.131),
            (0.95, 10.0, 1.812),
            (0.995, 20.0, 2.845),
        ] {
            assert!((t_quantile(probability, degrees) - expected).abs() < 0.0006);
        }
    }

    #[test]
    fn dunnetts_table_is_reproduced() {
        // Dunnett (1964), table II, two-sided 5 %; and (1955), table 1a, one-sided 5 %.
        for (comparisons, degrees, sides, expected) in [
            (1, 10.0, Sides::Two, 2.23),
            (2, 10.0, Sides::Two, 2.57),
            (4, 10.0, Sides::Two, 2.89),
            (3, 20.0, Sides::Two, 2.54),
            (4, 20.0, Sides::Two, 2.65),
            (2, 20.0, Sides::One, 2.03),
            (4, 20.0, Sides::One, 2.30),
        ] {
            let found = dunnett_critical_value(comparisons, degrees, 0.05, sides);
            assert!(
                (found - expected).abs() < 0.0075,
                "{comparisons} comparisons, {degrees} degrees: {found}"
            );
        }
    }

    #[test]
    fn the_rule_for_seeds_is_the_published_one() {
        let one_sided = normal().inverse_cdf(0.95);
        for ratio in [0.5f64, 1.0, 2.0, 4.0] {
            let rule = (6.2 * ratio.powi(2) + 1.4).ceil().max(2.0);
            let found = seeds_needed(ratio, 1.0, one_sided) as f64;
            assert!((found - rule).abs() <= 1.0, "{ratio}: {found} and {rule}");
        }
    }

    #[test]
    fn incomplete_and_constant_layouts_are_told_apart() {
        assert_eq!(Layout::fit(&[vec![0.1, 0.2], vec![0.1]]), None);
        assert_eq!(Layout::fit(&[vec![0.1, f64::NAN], vec![0.1, 0.2]]), None);
        assert_eq!(Layout::fit(&[vec![0.1, 0.2]]), None);
        let constant = Layout::fit(&[vec![0.3; 5], vec![0.5; 5]]).unwrap();
        assert!(constant.is_degenerate());
        assert_eq!(constant.mean_half_width(0.05), 0.0);
    }

    /// Simulates five seeds x five conditions and counts how often the intervals
    /// hold. Binomial error of 2,000 runs is half a percent.
    #[test]
    fn intervals_cover_what_they_promise() {
        const RUNS: u64 = 2_000;
        let (conditions, seeds) = (5usize, 5usize);
        let noise = rand_distr::Normal::new(0.0, 1.0).unwrap();
        let degrees = ((conditions - 1) * (seeds - 1)) as f64;
        let critical = dunnett_critical_value(conditions - 1, degrees, 0.05, Sides::Two);
        let (mut simultaneous, mut single) = (0, 0);
        for run in 0..RUNS {
            let mut generator = SeedKey::new(b"coverage", 1).generator("run", run);
            let blocks: Vec<f64> = (0..seeds)
                .map(|_| 0.02 * noise.sample(&mut generator))
                .collect();
            let values: Vec<Vec<f64>> = (0..conditions)
                .map(|_| {
                    blocks
                        .iter()
                        .map(|block| block + 0.01 * noise.sample(&mut generator))
                        .collect()
                })
                .collect();
            let layout = Layout::fit(&values).unwrap();
            let reach = critical * layout.difference_error();
            let means = layout.means();
            let all = means
                .iter()
                .skip(1)
                .all(|mean| (mean - means[0]).abs() <= reach);
            simultaneous += u32::from(all);
            single += u32::from(means[0].abs() <= layout.mean_half_width(0.05));
        }
        let share = |count: u32| f64::from(count) / RUNS as f64;
        assert!(
            (share(simultaneous) - 0.95).abs() < 0.015,
            "{}",
            share(simultaneous)
        );
        assert!((share(single) - 0.95).abs() < 0.025, "{}", share(single));
    }
}
