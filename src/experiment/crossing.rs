//! Where a curve over the ratio falls to a level, and how far it is safe to go.
//!
//! Between neighbouring ratios the curve is taken to be straight. A place belongs to the
//! interval if the data do not contradict, at the 95 % level, that the curve crosses there:
//! the inversion of a t-test, as for a ratio of means (Fieller 1954). The true place is in the
//! interval as often as one test at that place holds, which does not depend on the curve's
//! shape nor on the number of seeds; docs/calibration.md checks it by simulation.

use serde::Serialize;

use super::statistics::{Contrast, Layout, t_quantile};
use super::umbrella::umbrella;

/// Places looked at between two ratios.
const STEPS: usize = 200;

/// A ratio with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Place {
    /// Where the fitted curve falls to the level; `None`: beyond the largest ratio tried.
    pub value: Option<f64>,
    pub low: f64,
    /// `None`: beyond the largest ratio tried.
    pub high: Option<f64>,
}

/// The ratios of an arm whose trials vary, with the rows of their conditions. The first is
/// real-only.
pub(super) struct Curve<'a> {
    pub layout: &'a Layout,
    pub ratios: Vec<f64>,
    pub rows: Vec<usize>,
}

impl Curve<'_> {
    /// Difference to real-only at a place: the segment that it lies in, and how far along.
    fn difference(&self, segment: usize, along: f64) -> Contrast {
        let mut weights = [
            (self.rows[segment], 1.0 - along),
            (self.rows[segment + 1], along),
            (self.rows[0], -1.0),
        ];
        if segment == 0 {
            weights[0].1 -= 1.0;
            return self.layout.contrast(&weights[..2]);
        }
        self.layout.contrast(&weights)
    }

    /// Where, from `first` of the ratios on, the difference to real-only falls to `level`;
    /// the interval holds with probability 1 - `alpha`.
    pub fn falls_to(&self, level: f64, first: usize, alpha: f64) -> Place {
        let segments = self.ratios.len() - 1;
        let mut possible: Option<[f64; 2]> = None;
        let mut ends_open = false;
        for segment in first..segments {
            for step in 0..=STEPS {
                let along = step as f64 / STEPS as f64;
                let there = self.difference(segment, along);
                let reach = t_quantile(1.0 - alpha / 2.0, there.degrees) * there.error;
                let away = there.value - level;
                if away.abs() <= reach {
                    let place = self.place(segment, along);
                    let from = possible.map_or(place, |[low, _]| low);
                    possible = Some([from, place]);
                }
                // Of the last ratio tried: whether the curve may still be above the level.
                ends_open = away + reach >= 0.0;
            }
        }
        let largest = self.ratios[segments];
        let fitted = self.fitted(level, first);
        // Without noise the curve may pass the level between two of the places.
        let [low, high] = possible.unwrap_or([fitted.unwrap_or(largest); 2]);
        Place {
            value: fitted.map(|value| value.clamp(low, high)),
            low,
            high: (!ends_open).then_some(high),
        }
    }

    fn place(&self, segment: usize, along: f64) -> f64 {
        self.ratios[segment] + along * (self.ratios[segment + 1] - self.ratios[segment])
    }

    /// The unimodal curve through the means, as (ratio, AP).
    pub fn fitted_means(&self) -> Vec<(f64, f64)> {
        let means: Vec<f64> = self
            .rows
            .iter()
            .map(|&row| self.layout.means()[row])
            .collect();
        self.ratios.iter().copied().zip(umbrella(&means)).collect()
    }

    /// Where the unimodal curve through the means falls to the level after `first`.
    fn fitted(&self, level: f64, first: usize) -> Option<f64> {
        let reference = self.layout.means()[self.rows[0]];
        let curve = self.fitted_means();
        let away: Vec<f64> = curve.iter().map(|(_, ap)| ap - reference - level).collect();
        let segment = (first..away.len() - 1).find(|&i| away[i] >= 0.0 && away[i + 1] < 0.0);
        match segment {
            Some(i) => Some(self.place(i, away[i] / (away[i] - away[i + 1]))),
            None if away[first] < 0.0 => Some(self.ratios[first]),
            None => None,
        }
    }

    /// The largest ratio up to which a loss of `margin` is excluded at every ratio tried, each
    /// by a one-sided test at `alpha`, in rising order up to the first that fails. In a fixed
    /// order no correction is due (Westfall and Krishen 2001): a false claim needs the test
    /// at the first harmful ratio to fail.
    pub fn safe_up_to(&self, margin: f64, alpha: f64) -> f64 {
        let safe = (1..self.rows.len()).take_while(|&index| {
            let there = self.layout.difference(self.rows[index], self.rows[0]);
            there.value - t_quantile(1.0 - alpha, there.degrees) * there.error > -margin
        });
        safe.last().map_or(0.0, |index| self.ratios[index])
    }
}
