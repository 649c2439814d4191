//! Two-way layout (condition x seed), simultaneous intervals, and seeds needed.
//!
//! Every condition is run with the same seeds, so that seeds are blocks: the model
//! is `y = mean + condition + seed + error` with one error variance. Methods:
//! randomised complete block analysis (Montgomery, *Design and Analysis of
//! Experiments*, ch. 4), many-to-one intervals (Dunnett 1955, 1964), mean intervals
//! with Satterthwaite's degrees of freedom (1946). Where the same runs were also scored on
//! test images drawn anew, the spread over the draws is a second, independent part of each
//! variance (Efron and Tibshirani 1993, *An Introduction to the Bootstrap*, ch. 8).

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
    images: Option<ImageNoise>,
}

/// What the layout's means would have been on other test images.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageNoise {
    /// Independent groups of test images that were drawn from.
    pub groups: usize,
    /// `means[condition][draw]` over the seeds; the same draws for every condition.
    pub means: Vec<Vec<f64>>,
}

impl ImageNoise {
    /// Variance over the draws of a weighted sum of means.
    fn variance(&self, weights: &[(usize, f64)]) -> f64 {
        let draws = self.means.first().map_or(0, Vec::len);
        if draws < 2 {
            return 0.0;
        }
        let value = |draw: usize| -> f64 {
            let parts = weights
                .iter()
                .map(|(row, weight)| weight * self.means[*row][draw]);
            parts.sum()
        };
        let mean = (0..draws).map(value).sum::<f64>() / draws as f64;
        let squares: f64 = (0..draws).map(|draw| (value(draw) - mean).powi(2)).sum();
        // A bootstrap of few groups is too narrow by (groups - 1) / groups.
        let groups = self.groups.max(2) as f64;
        squares / (draws - 1) as f64 * groups / (groups - 1.0)
    }

    fn degrees(&self) -> f64 {
        self.groups.max(2) as f64 - 1.0
    }
}

/// A weighted sum of condition means whose weights add up to 0, such as a difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contrast {
    pub value: f64,
    /// Standard error over new seeds and, where they were drawn anew, new test images.
    pub error: f64,
    /// Degrees of freedom of the standard error.
    pub degrees: f64,
    /// The part of the variance that more seeds do not make smaller.
    pub image_variance: f64,
}

impl Contrast {
    /// The interval of `critical` standard errors to either side.
    pub fn interval(&self, critical: f64) -> [f64; 2] {
        let reach = critical * self.error;
        [self.value - reach, self.value + reach]
    }
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
            images: None,
        })
    }

    /// Adds what other test images would have given. Noise that has not a row for each
    /// condition is left aside.
    pub fn with_images(mut self, images: ImageNoise) -> Self {
        let draws = images.means.first().map_or(0, Vec::len);
        let complete = images.means.len() == self.means.len()
            && images.means.iter().all(|row| row.len() == draws);
        self.images = (complete && draws > 1).then_some(images);
        self
    }

    /// Whether its intervals speak of other test images too.
    pub fn knows_images(&self) -> bool {
        self.images.is_some()
    }

    pub fn seeds(&self) -> usize {
        self.seeds
    }

    /// Test splits drawn anew.
    pub fn image_draws(&self) -> usize {
        let means = self.images.as_ref().and_then(|images| images.means.first());
        means.map_or(0, Vec::len)
    }

    /// What each mean was off its average over all draws in one of them; 0 without any.
    pub fn image_deviations(&self, draw: usize) -> Vec<f64> {
        let Some(images) = &self.images else {
            return vec![0.0; self.means.len()];
        };
        let off = |row: &Vec<f64>| row[draw] - row.iter().sum::<f64>() / row.len() as f64;
        images.means.iter().map(off).collect()
    }

    /// A weighted sum of the conditions' means, each given by its row; the weights add up
    /// to 0, so that the seeds' own effects cancel.
    pub fn contrast(&self, weights: &[(usize, f64)]) -> Contrast {
        let value = weights
            .iter()
            .map(|(row, weight)| weight * self.means[*row])
            .sum();
        let squares: f64 = weights.iter().map(|(_, weight)| weight * weight).sum();
        let of_seeds = squares * self.mean_square_error / self.seeds as f64;
        let (image_variance, image_degrees) = match &self.images {
            Some(images) => (images.variance(weights), images.degrees()),
            None => (0.0, f64::INFINITY),
        };
        let parts = [
            (of_seeds, self.error_degrees()),
            (image_variance, image_degrees),
        ];
        let (variance, degrees) = satterthwaite(&parts);
        Contrast {
            value,
            error: variance.sqrt(),
            degrees,
            image_variance,
        }
    }

    /// Mean of one condition minus that of another.
    pub fn difference(&self, row: usize, reference: usize) -> Contrast {
        self.contrast(&[(row, 1.0), (reference, -1.0)])
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

    /// Half width of a 1 - `alpha` interval of one condition's mean over new seeds (and new
    /// test images): the variance over seeds is that of seeds and error together, estimated
    /// by `(MS_seed + (k-1) MS_error) / k` with Satterthwaite's degrees of freedom.
    pub fn mean_half_width(&self, row: usize, alpha: f64) -> f64 {
        let (k, n) = (self.means.len() as f64, self.seeds as f64);
        let mut parts = vec![
            (self.mean_square_seeds / k / n, n - 1.0),
            (
                self.mean_square_error * (k - 1.0) / k / n,
                self.error_degrees(),
            ),
        ];
        if let Some(images) = &self.images {
            parts.push((images.variance(&[(row, 1.0)]), images.degrees()));
        }
        let (variance, degrees) = satterthwaite(&parts);
        if variance <= IDENTICAL_VARIANCE {
            return 0.0;
        }
        t_quantile(1.0 - alpha / 2.0, degrees) * variance.sqrt()
    }
}

/// The sum of independent estimates of variance, each with its degrees of freedom, and the
/// degrees of freedom of the sum.
fn satterthwaite(parts: &[(f64, f64)]) -> (f64, f64) {
    let variance: f64 = parts.iter().map(|(part, _)| part).sum();
    let spread: f64 = parts
        .iter()
        .map(|(part, degrees)| part * part / degrees)
        .sum();
    let most = parts
        .iter()
        .map(|(_, degrees)| *degrees)
        .fold(1.0, f64::max);
    let degrees = if spread > 0.0 {
        variance * variance / spread
    } else {
        most
    };
    (variance, degrees.min(1e6))
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
/// comparison at 5 % gives the rule `6.2 (s/d)^2 + 1.4`. `image_variance` of a difference is
/// there for any number of seeds; `None` where it alone hides the margin.
pub fn seeds_needed(
    deviation: f64,
    margin: f64,
    critical: f64,
    image_variance: f64,
) -> Option<u64> {
    let allowed = (margin / (critical + normal().inverse_cdf(POWER))).powi(2) - image_variance;
    if allowed <= 0.0 {
        return None;
    }
    let seeds = deviation.powi(2) / allowed + critical.powi(2) / 2.0;
    Some(seeds.ceil().max(2.0) as u64)
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

    /// A difference of two means of six blocks; with image noise its variance adds up, and a
    /// part that is common to both conditions cancels.
    #[test]
    fn contrasts_add_the_noise_of_images() {
        let layout = Layout::fit(&grafts()).unwrap();
        let plain = layout.difference(0, 3);
        assert!((plain.value - 7.05).abs() < 1e-9);
        assert!((plain.error - (2.0 * layout.mean_square_error / 6.0).sqrt()).abs() < 1e-12);
        assert!((plain.degrees - 15.0).abs() < 1e-9);
        let half = layout.contrast(&[(0, 0.5), (1, 0.5), (3, -1.0)]);
        assert!((half.error / plain.error - 0.75_f64.sqrt()).abs() < 1e-12);
        // Draws that move condition 0 by -1, 0 and 1, and all conditions alike by 5.
        let common = [5.0, -5.0, 0.0];
        let mut means: Vec<Vec<f64>> = vec![common.to_vec(); 4];
        for (value, own) in means[0].iter_mut().zip([-1.0, 0.0, 1.0]) {
            *value += own;
        }
        let noisy = layout.clone().with_images(ImageNoise { groups: 11, means });
        let difference = noisy.difference(0, 3);
        assert!((difference.image_variance - 1.1).abs() < 1e-12);
        let expected = plain.error.powi(2) + 1.1;
        assert!((difference.error.powi(2) - expected).abs() < 1e-9);
        assert!(difference.degrees > 15.0 && difference.degrees < 25.0);
        assert_eq!(
            noisy.difference(1, 3),
            Contrast {
                image_variance: 0.0,
                ..layout.difference(1, 3)
            }
        );
        assert!(noisy.mean_half_width(1, 0.05) > layout.mean_half_width(1, 0.05));
        let short = ImageNoise {
            groups: 11,
            means: vec![vec![1.0, 2.0]; 3],
        };
        assert!(!layout.with_images(short).knows_images());
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
            let found = seeds_needed(ratio, 1.0, one_sided, 0.0).unwrap() as f64;
            assert!((found - rule).abs() <= 1.0, "{ratio}: {found} and {rule}");
        }
        // An eighth of what may be is the images: one more seed; all of it: none help.
        let with_images = seeds_needed(1.0, 1.0, one_sided, 0.02).unwrap();
        assert_eq!(with_images, 9);
        assert_eq!(seeds_needed(1.0, 1.0, one_sided, 0.2), None);
    }

    #[test]
    fn incomplete_and_constant_layouts_are_told_apart() {
        assert_eq!(Layout::fit(&[vec![0.1, 0.2], vec![0.1]]), None);
        assert_eq!(Layout::fit(&[vec![0.1, f64::NAN], vec![0.1, 0.2]]), None);
        assert_eq!(Layout::fit(&[vec![0.1, 0.2]]), None);
        let constant = Layout::fit(&[vec![0.3; 5], vec![0.5; 5]]).unwrap();
        assert!(constant.is_degenerate());
        assert_eq!(constant.mean_half_width(0, 0.05), 0.0);
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
            let means = layout.means();
            let all = (1..conditions).all(|row| {
                let [low, high] = layout.difference(row, 0).interval(critical);
                low <= 0.0 && 0.0 <= high
            });
            simultaneous += u32::from(all);
            single += u32::from(means[0].abs() <= layout.mean_half_width(0, 0.05));
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
