//! Why a ratio scores as it does: the generator-fit index, kinds of errors, sizes of objects.

use serde::Serialize;

use super::{ALPHA, Estimate, find};
use crate::evaluation::ErrorKinds;
use crate::experiment::statistics::t_quantile;
use crate::experiment::trial::{Condition, Measurement, TrialResult};

/// Means over the complete seeds of one condition.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Why {
    /// AP on held-out synthetic images minus that on real ones, with its 95 % t interval over
    /// seeds; `None` where none were held out.
    pub generator_fit: Option<Estimate>,
    /// Vendi score of the training images.
    pub diversity: Option<f64>,
    /// Area under the ROC curve of a classifier between real and synthetic images by the
    /// detector's features.
    pub domain_auc: Option<f64>,
    /// By how much AP50 would rise without the errors of one kind.
    pub errors: Option<ErrorKinds>,
    /// AP of small, medium and large objects, where there are any (COCO's sizes).
    pub sizes: [Option<f64>; 3],
}

impl Why {
    pub(super) fn of(results: &[TrialResult], condition: Condition, seeds: &[u64]) -> Self {
        let measured: Vec<&Measurement> = seeds
            .iter()
            .filter_map(|&seed| Some(&find(results, condition, seed)?.measurement))
            .collect();
        let all = |of: &dyn Fn(&Measurement) -> Option<f64>| -> Option<Vec<f64>> {
            let values: Option<Vec<f64>> = measured.iter().map(|m| of(m)).collect();
            values.filter(|values| !values.is_empty())
        };
        let mean = |of: &dyn Fn(&Measurement) -> Option<f64>| {
            all(of).map(|values| values.iter().sum::<f64>() / values.len() as f64)
        };
        let error = |of: fn(&ErrorKinds) -> f64| mean(&|m| m.errors.as_ref().map(of));
        let errors = || {
            Some(ErrorKinds {
                missed: error(|e| e.missed)?,
                mislocated: error(|e| e.mislocated)?,
                confused: error(|e| e.confused)?,
                both: error(|e| e.both)?,
                duplicate: error(|e| e.duplicate)?,
                background: error(|e| e.background)?,
            })
        };
        Why {
            generator_fit: all(&Measurement::generator_fit).map(|values| interval(&values)),
            diversity: mean(&|m| m.diversity),
            domain_auc: mean(&|m| m.domain_auc),
            errors: errors(),
            sizes: [3, 4, 5].map(|size| mean(&|m| Some(m.stats[size]).filter(|ap| *ap >= 0.0))),
        }
    }
}

/// Mean with its t interval; of one value the interval is without end.
fn interval(values: &[f64]) -> Estimate {
    let n = values.len() as f64;
    let value = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - value).powi(2)).sum();
    let half = if values.len() > 1 {
        t_quantile(1.0 - ALPHA / 2.0, n - 1.0) * (squares / (n - 1.0) / n).sqrt()
    } else {
        f64::INFINITY
    };
    Estimate {
        value,
        low: value - half,
        high: value + half,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::plan::tests::plan;

    #[test]
    fn means_are_over_the_complete_seeds_and_absent_where_nothing_was_measured() {
        let plan = plan();
        let condition = plan.conditions()[0];
        let mut results: Vec<TrialResult> = plan
            .trials()
            .into_iter()
            .filter(|trial| trial.condition == condition)
            .zip(0..)
            .map(|(trial, index)| {
                let mut stats = [-1.0; 12];
                (stats[0], stats[3]) = (0.4, 0.2);
                let mut synthetic = stats;
                synthetic[0] = 0.5 + 0.01 * f64::from(index);
                TrialResult {
                    trial,
                    measurement: Measurement {
                        stats,
                        synthetic_stats: Some(synthetic),
                        errors: Some(ErrorKinds {
                            missed: 0.1 * f64::from(index),
                            mislocated: 0.0,
                            confused: 0.0,
                            both: 0.0,
                            duplicate: 0.0,
                            background: 0.05,
                        }),
                        ..Measurement::default()
                    },
                    seconds: 1.0,
                }
            })
            .collect();
        let why = Why::of(&results, condition, &plan.seeds);
        let fit = why.generator_fit.unwrap();
        // Mean of 0.10 to 0.14; t(0.975, 4) = 2.776, deviation 0.0158.
        assert!((fit.value - 0.12).abs() < 1e-9);
        assert!((fit.high - fit.value - 2.776 * 0.015_811 / 5.0_f64.sqrt()).abs() < 1e-4);
        let errors = why.errors.unwrap();
        assert!((errors.missed - 0.2).abs() < 1e-9 && (errors.background - 0.05).abs() < 1e-9);
        assert_eq!(
            (why.sizes[0].map(|ap| (ap * 10.0).round()), why.sizes[1]),
            (Some(2.0), None)
        );
        results[2].measurement.synthetic_stats = None;
        results[3].measurement.errors = None;
        let why = Why::of(&results, condition, &plan.seeds);
        assert_eq!((why.generator_fit, why.errors), (None, None));
        assert_eq!(Why::of(&[], condition, &plan.seeds), Why::default());
    }
}
