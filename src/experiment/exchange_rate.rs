//! What synthetic images are worth in real ones: the learning curve of real images alone, and
//! where on it a mixture stands.

use rand_distr::{Distribution as _, StandardNormal};
use serde::{Deserialize, Serialize};

use super::statistics::{Layout, t_quantile};
use super::tipping_point::{ALPHA, Estimate};
use super::trial::Condition;
use crate::seed::{Generator, SeedKey};

/// Fewest numbers of real images that a curve of three parameters is fitted to.
pub const MIN_POINTS: usize = 4;

/// Draws of the parametric bootstrap.
const DRAWS: usize = 1000;

/// Places at which the curve's band is given.
const BAND_PLACES: usize = 33;

/// What an image costs, in money or in hours; both in one unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Taking and labelling a real image.
    pub real: f64,
    /// Making a synthetic one.
    pub synthetic: f64,
}

/// AP of `n` real images: `limit - gap * n^-rate`, a power law (Hestness et al. 2017, "Deep
/// Learning Scaling is Predictable, Empirically", section 3).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PowerLaw {
    pub limit: f64,
    /// At least 0: more real images do no harm.
    pub gap: f64,
    pub rate: f64,
}

/// The learning curve of real images, and what the mixtures are worth on it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExchangeRate {
    /// Why nothing is said, where nothing is.
    pub refusal: Option<String>,
    pub sentence: String,
    pub curve: Option<PowerLaw>,
    /// (real images, AP of the fitted curve with its pointwise 95 % interval).
    pub band: Vec<(f64, Estimate)>,
    /// (real images, mean AP) that the curve is fitted to.
    pub points: Vec<(usize, f64)>,
    pub rows: Vec<Worth>,
}

/// What the synthetic images of a mixture are worth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Worth {
    pub condition: Condition,
    /// As many real images alone score as much; a side that lies beyond the real images tried
    /// is at the fewest or the most of them.
    pub equivalent: Estimate,
    /// Whether the value or a side lies beyond the real images tried.
    pub is_bounded: bool,
    /// The equivalent less the real images that the mixture has.
    pub worth: Estimate,
    /// What these real images would have cost, less the price of the synthetic ones.
    pub saved: Option<Estimate>,
}

impl PowerLaw {
    fn at(&self, n: f64) -> f64 {
        self.limit - self.gap * n.powf(-self.rate)
    }

    /// The least squares fit; of each rate the other two are a straight line's.
    fn fit(points: &[(f64, f64)]) -> Self {
        const RATES: usize = 60;
        // From nearly a logarithm to a curve that ends after a doubling or two.
        let rate = |step: usize| 0.05 * 60.0_f64.powf(step as f64 / (RATES - 1) as f64);
        let fits = (0..RATES).map(|step| Self::with_rate(points, rate(step)));
        let misfit =
            |fit: &Self| -> f64 { points.iter().map(|(n, ap)| (fit.at(*n) - ap).powi(2)).sum() };
        fits.min_by(|a, b| misfit(a).total_cmp(&misfit(b)))
            .unwrap_or(PowerLaw {
                limit: 0.0,
                gap: 0.0,
                rate: 1.0,
            })
    }

    fn with_rate(points: &[(f64, f64)], rate: f64) -> Self {
        let count = points.len() as f64;
        let u: Vec<f64> = points.iter().map(|(n, _)| n.powf(-rate)).collect();
        let mean_u = u.iter().sum::<f64>() / count;
        let mean_ap = points.iter().map(|(_, ap)| ap).sum::<f64>() / count;
        let (mut uu, mut uy) = (0.0, 0.0);
        for (u, (_, ap)) in u.iter().zip(points) {
            uu += (u - mean_u).powi(2);
            uy += (u - mean_u) * (ap - mean_ap);
        }
        let gap = if uu > 0.0 { (-uy / uu).max(0.0) } else { 0.0 };
        PowerLaw {
            limit: mean_ap + gap * mean_u,
            gap,
            rate,
        }
    }

    /// How many real images score `ap`, within `range`, and whether that is not at its end.
    fn images_for(&self, ap: f64, range: [f64; 2]) -> (f64, bool) {
        let [fewest, most] = range;
        if ap >= self.at(most) {
            return (most, false);
        }
        if ap <= self.at(fewest) {
            return (fewest, false);
        }
        let n = ((self.limit - ap) / self.gap).powf(-1.0 / self.rate);
        (n.clamp(fewest, most), true)
    }
}

/// Fits the curve to `real`, rows of the layout by rising number of real images, and reads
/// the worth of `mixed` from it.
///
/// The intervals are a parametric bootstrap: the means are drawn anew around themselves with
/// the layout's residual error, widened as Student's t is, and with what other test images
/// would have given; curve and worth are found anew from each draw.
pub(super) fn exchange(
    layout: &Layout,
    real: &[(usize, usize)],
    mixed: &[(Condition, usize)],
    prices: Option<Prices>,
) -> ExchangeRate {
    let means = layout.means();
    let points: Vec<(usize, f64)> = real.iter().map(|(n, row)| (*n, means[*row])).collect();
    let refused = |reason: String| ExchangeRate {
        sentence: format!("What synthetic images are worth: no claim, because {reason}."),
        refusal: Some(reason),
        curve: None,
        band: Vec::new(),
        points: points.clone(),
        rows: Vec::new(),
    };
    if real.len() < MIN_POINTS {
        return refused(format!(
            "a learning curve needs {MIN_POINTS} numbers of real images and there are {}",
            real.len()
        ));
    }
    let ((fewest, first), (most, last)) = (real[0], real[real.len() - 1]);
    let rise = layout.difference(last, first);
    if rise.value <= t_quantile(1.0 - ALPHA, rise.degrees) * rise.error {
        return refused(format!(
            "{most} real images are not clearly better than {fewest} ({:+.3} AP), so that real \
             images are no measure",
            rise.value
        ));
    }
    let range = [fewest as f64, most as f64];
    let fit = |means: &[f64]| {
        let points: Vec<(f64, f64)> = real
            .iter()
            .map(|(n, row)| (*n as f64, means[*row]))
            .collect();
        PowerLaw::fit(&points)
    };
    let curve = fit(means);
    let key = SeedKey::new(b"exchange rate", 0);
    let draws: Vec<(PowerLaw, Vec<f64>)> = (0..DRAWS)
        .map(|draw| {
            let means = layout.redrawn(draw, &mut key.generator("means", draw as u64));
            (fit(&means), means)
        })
        .collect();
    let places = (0..BAND_PLACES)
        .map(|i| range[0] * (range[1] / range[0]).powf(i as f64 / (BAND_PLACES - 1) as f64));
    let band = places.map(|n| {
        let values = draws.iter().map(|(curve, _)| curve.at(n)).collect();
        (n, percentiles(curve.at(n), values))
    });
    let rows: Vec<Worth> = mixed
        .iter()
        .map(|(condition, row)| {
            let (value, inside) = curve.images_for(means[*row], range);
            let found: Vec<f64> = draws
                .iter()
                .map(|(curve, means)| curve.images_for(means[*row], range).0)
                .collect();
            let equivalent = percentiles(value, found);
            let ends = [equivalent.low, equivalent.high];
            let worth = equivalent.map(|n| n - condition.n_real as f64);
            Worth {
                condition: *condition,
                equivalent,
                is_bounded: !inside || ends.iter().any(|end| range.contains(end)),
                worth,
                saved: prices.map(|prices| {
                    let cost = condition.n_synthetic as f64 * prices.synthetic;
                    worth.map(|images| images * prices.real - cost)
                }),
            }
        })
        .collect();
    ExchangeRate {
        refusal: None,
        sentence: sentence(&rows, range),
        curve: Some(curve),
        band: band.collect(),
        points: points.clone(),
        rows,
    }
}

/// What the most synthetic images of a mixture are worth whose worth is clear of 0, or that
/// none is.
fn sentence(rows: &[Worth], [fewest, most]: [f64; 2]) -> String {
    let named = |row: &Worth| {
        let count = |n: f64| {
            if n <= fewest {
                format!("at most {fewest:.0}")
            } else if n >= most {
                format!("at least {most:.0}")
            } else {
                format!("{n:.0}")
            }
        };
        let Condition {
            n_real,
            n_synthetic,
            ..
        } = row.condition;
        let equivalent = row.equivalent;
        format!(
            "{n_real} real and {n_synthetic} synthetic images score as {} real ones alone [{}, {}]",
            count(equivalent.value),
            count(equivalent.low),
            count(equivalent.high)
        )
    };
    let best = rows
        .iter()
        .max_by(|a, b| a.worth.value.total_cmp(&b.worth.value));
    match best {
        None => "What synthetic images are worth: nothing was mixed.".to_owned(),
        // At the fewest real images tried a bound says only that it is no more.
        Some(best) if best.worth.low > 0.0 && best.equivalent.low > fewest => {
            format!("What synthetic images are worth: {}.", named(best))
        }
        Some(best) => format!(
            "What synthetic images are worth: none is clearly worth a real one; at best {}.",
            named(best)
        ),
    }
}

/// The value with the 2.5 and 97.5 percentiles of its draws, which it lies between.
fn percentiles(value: f64, mut draws: Vec<f64>) -> Estimate {
    draws.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = share * (draws.len() - 1) as f64;
        draws[place.round() as usize]
    };
    Estimate {
        value,
        low: at(ALPHA / 2.0).min(value),
        high: at(1.0 - ALPHA / 2.0).max(value),
    }
}

impl Layout {
    /// The means as another experiment might have found them: with new residual errors, all
    /// scaled by what the residual variance may really be (t-scaled), and on other test images.
    /// The seeds' own effects are left out, since they move all means alike.
    fn redrawn(&self, draw: usize, generator: &mut Generator) -> Vec<f64> {
        let degrees = self.error_degrees();
        let chi_squared = rand_distr::ChiSquared::new(degrees)
            .map_or(degrees, |chi_squared| chi_squared.sample(generator));
        let deviation =
            (self.mean_square_error / self.seeds() as f64 * degrees / chi_squared).sqrt();
        let images = self.image_deviations(draw % self.image_draws().max(1));
        self.means()
            .iter()
            .zip(images)
            .map(|(mean, image)| {
                let z: f64 = StandardNormal.sample(generator);
                mean + deviation * z + image
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::Normal;

    const TRUTH: PowerLaw = PowerLaw {
        limit: 0.6,
        gap: 0.8,
        rate: 0.5,
    };
    const REAL: [usize; 5] = [10, 20, 40, 80, 160];

    /// Five numbers of real images, then 20 real with 80 synthetic images that are worth 40.
    fn layout(seed: u64, deviation: f64, mixed_as: f64) -> Layout {
        let mut generator = SeedKey::new(b"worth", seed).generator("runs", 0);
        let normal = Normal::new(0.0, deviation).unwrap();
        let counts = REAL.iter().map(|n| *n as f64).chain([mixed_as]);
        let rows: Vec<Vec<f64>> = counts
            .map(|n| {
                (0..8)
                    .map(|_| TRUTH.at(n) + normal.sample(&mut generator))
                    .collect()
            })
            .collect();
        Layout::fit(&rows).unwrap()
    }

    fn found(layout: &Layout) -> ExchangeRate {
        let real: Vec<(usize, usize)> = REAL.into_iter().zip(0..).collect();
        let prices = Prices {
            real: 2.0,
            synthetic: 0.1,
        };
        exchange(
            layout,
            &real,
            &[(Condition::joint(20, 80), 5)],
            Some(prices),
        )
    }

    #[test]
    fn the_worth_of_known_images_is_found() {
        let rate = found(&layout(1, 0.002, 40.0));
        let curve = rate.curve.unwrap();
        assert!(
            (curve.limit - 0.6).abs() < 0.03 && (curve.rate - 0.5).abs() < 0.15,
            "{curve:?}"
        );
        let [row] = rate.rows[..] else { panic!() };
        assert!(
            row.equivalent.low < 40.0 && 40.0 < row.equivalent.high,
            "{row:?}"
        );
        assert!(
            row.equivalent.high - row.equivalent.low < 12.0 && !row.is_bounded,
            "{row:?}"
        );
        assert!((row.worth.value - (row.equivalent.value - 20.0)).abs() < 1e-9);
        let saved = row.saved.unwrap();
        assert!((saved.value - (2.0 * row.worth.value - 8.0)).abs() < 1e-9);
        assert!(
            rate.sentence
                .contains("20 real and 80 synthetic images score as"),
            "{}",
            rate.sentence
        );
        assert!(
            rate.band
                .iter()
                .all(|(_, ap)| ap.low <= ap.value && ap.value <= ap.high)
        );
    }

    /// Binomial: three deviations below 95 of 100 experiments.
    #[test]
    fn the_interval_holds_the_truth() {
        let experiments = 150;
        let holds = (0..experiments).filter(|&seed| {
            let row = found(&layout(100 + seed, 0.02, 40.0)).rows[0];
            row.equivalent.low <= 40.0 && 40.0 <= row.equivalent.high
        });
        let share = holds.count() as f64 / experiments as f64;
        assert!(share > 0.89, "{share}");
    }

    #[test]
    fn beyond_the_real_images_tried_only_a_bound_is_said() {
        let rate = found(&layout(3, 0.002, 1000.0));
        let row = rate.rows[0];
        assert!(row.is_bounded && row.equivalent.value == 160.0, "{row:?}");
        assert!(
            rate.sentence.contains("as at least 160 real ones"),
            "{}",
            rate.sentence
        );
    }

    /// As good as fewer real images than any tried: that is no proof of being worth one.
    #[test]
    fn at_most_the_fewest_is_no_worth() {
        let layout = layout(5, 0.002, 9.0);
        let real: Vec<(usize, usize)> = REAL.into_iter().zip(0..).collect();
        let rate = exchange(&layout, &real, &[(Condition::joint(0, 100), 5)], None);
        let row = rate.rows[0];
        assert!(row.is_bounded && row.worth.low > 0.0, "{row:?}");
        assert!(
            rate.sentence.contains("none is clearly worth a real one"),
            "{}",
            rate.sentence
        );
    }

    #[test]
    fn a_flat_curve_and_a_short_one_are_no_measure() {
        let flat = Layout::fit(
            &(0..6)
                .map(|row| {
                    (0..8)
                        .map(|n| 0.5 + 0.01 * f64::from((row + 3 * n) % 5))
                        .collect()
                })
                .collect::<Vec<Vec<f64>>>(),
        );
        let rate = found(&flat.unwrap());
        assert!(rate.sentence.contains("no measure"), "{}", rate.sentence);
        assert!(rate.rows.is_empty() && rate.curve.is_none());
        let layout = layout(4, 0.01, 40.0);
        let short = exchange(&layout, &[(10, 0), (20, 1), (40, 2)], &[], None);
        assert!(short.refusal.unwrap().contains("needs 4 numbers"));
    }
}
