//! Intervals and distributions of one real number, as they are written in YAML.

use std::borrow::Cow;
use std::fmt;

use rand::RngExt;
use rand_distr::Distribution as _;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::seed::Generator;

/// A closed interval `low..=high`, written `[low, high]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(into = "[f64; 2]")]
pub struct Interval {
    low: f64,
    high: f64,
}

impl From<Interval> for [f64; 2] {
    fn from(interval: Interval) -> Self {
        [interval.low, interval.high]
    }
}

impl Interval {
    /// `None` where a bound is not finite or `low > high`.
    pub fn new(low: f64, high: f64) -> Option<Self> {
        (low.is_finite() && high.is_finite() && low <= high).then_some(Interval { low, high })
    }

    pub fn low(&self) -> f64 {
        self.low
    }

    pub fn high(&self) -> f64 {
        self.high
    }

    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// A uniform draw.
    pub fn sample(&self, generator: &mut Generator) -> f64 {
        self.low + (self.high - self.low) * generator.random::<f64>()
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let [low, high] = <[f64; 2]>::deserialize(deserializer)?;
        Interval::new(low, high).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "[{low}, {high}] is not an interval: write [low, high] with low <= high"
            ))
        })
    }
}

impl JsonSchema for Interval {
    fn schema_name() -> Cow<'static, str> {
        "Interval".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The lower and the upper bound.",
            "type": "array",
            "items": {"type": "number"},
            "minItems": 2,
            "maxItems": 2,
        })
    }
}

/// A distribution of one real number, as data.
///
/// In YAML it is a plain number (always that value) or a one-key map:
/// `uniform: [low, high]`, `normal: {mean, sd}`,
/// `truncated_normal: {mean, sd, low, high}`, `log_uniform: [low, high]`,
/// `choice: {values: [..], weights: [..]}`, `poisson: {mean}`,
/// `beta: {alpha, beta, low, high}`. A value that exists is a valid distribution:
/// parameters are checked when it is read.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    Constant(f64),
    Uniform(Interval),
    Normal {
        mean: f64,
        sd: f64,
    },
    /// A normal distribution conditioned on `low..=high`.
    TruncatedNormal {
        mean: f64,
        sd: f64,
        low: f64,
        high: f64,
    },
    /// The logarithm is uniform; both bounds are positive.
    LogUniform(Interval),
    Choice {
        values: Vec<f64>,
        weights: Vec<f64>,
    },
    Poisson {
        mean: f64,
    },
    /// A beta distribution stretched from `0..=1` to `low..=high`.
    Beta {
        alpha: f64,
        beta: f64,
        low: f64,
        high: f64,
    },
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schemars(rename = "DrawnNumber")]
enum TaggedDistribution {
    /// Every number between the bounds is as likely.
    Uniform(Interval),
    /// A bell curve with this mean and standard deviation.
    Normal { mean: f64, sd: f64 },
    /// A bell curve without what lies beyond the bounds.
    TruncatedNormal {
        mean: f64,
        sd: f64,
        low: f64,
        high: f64,
    },
    /// The logarithm is uniform between those of the bounds, which are positive.
    LogUniform(Interval),
    /// One of these, as often as its weight says.
    Choice {
        values: Vec<f64>,
        #[serde(default)]
        weights: Vec<f64>,
    },
    /// A count of independent events.
    Poisson { mean: f64 },
    /// A beta distribution between the bounds, which are 0 and 1 unless they are said.
    Beta {
        alpha: f64,
        beta: f64,
        #[serde(default)]
        low: f64,
        #[serde(default = "one")]
        high: f64,
    },
}

fn one() -> f64 {
    1.0
}

impl Distribution {
    /// The smallest interval that every draw falls into; infinite bounds for
    /// `normal` and `poisson` are given as `f64::INFINITY`.
    pub fn support(&self) -> (f64, f64) {
        match self {
            Distribution::Constant(value) => (*value, *value),
            Distribution::Uniform(interval) | Distribution::LogUniform(interval) => {
                (interval.low, interval.high)
            }
            Distribution::Normal { .. } => (f64::NEG_INFINITY, f64::INFINITY),
            Distribution::TruncatedNormal { low, high, .. }
            | Distribution::Beta { low, high, .. } => (*low, *high),
            Distribution::Choice { values, .. } => values
                .iter()
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                    (low.min(*value), high.max(*value))
                }),
            Distribution::Poisson { .. } => (0.0, f64::INFINITY),
        }
    }

    /// Draws one value.
    pub fn sample(&self, generator: &mut Generator) -> f64 {
        const CHECKED: &str = "the parameters were checked when the distribution was read";
        match self {
            Distribution::Constant(value) => *value,
            Distribution::Uniform(interval) => interval.sample(generator),
            Distribution::Normal { mean, sd } => rand_distr::Normal::new(*mean, *sd)
                .expect(CHECKED)
                .sample(generator),
            Distribution::TruncatedNormal {
                mean,
                sd,
                low,
                high,
            } => sample_truncated_normal(*mean, *sd, *low, *high, generator),
            Distribution::LogUniform(interval) => {
                let log = Interval {
                    low: interval.low.ln(),
                    high: interval.high.ln(),
                };
                log.sample(generator)
                    .exp()
                    .clamp(interval.low, interval.high)
            }
            Distribution::Choice { values, weights } => {
                let total: f64 = weights.iter().sum();
                let mut left = generator.random::<f64>() * total;
                for (value, weight) in values.iter().zip(weights) {
                    if left < *weight {
                        return *value;
                    }
                    left -= weight;
                }
                // Rounding can leave a sliver beyond the last weight.
                values[values.len() - 1]
            }
            Distribution::Poisson { mean } => rand_distr::Poisson::new(*mean)
                .expect(CHECKED)
                .sample(generator),
            Distribution::Beta {
                alpha,
                beta,
                low,
                high,
            } => {
                low + (high - low)
                    * rand_distr::Beta::new(*alpha, *beta)
                        .expect(CHECKED)
                        .sample(generator)
            }
        }
    }

    fn checked(self) -> Result<Self, String> {
        let (low, high) = self.support();
        match &self {
            Distribution::Constant(value) if !value.is_finite() => {
                Err(format!("{value} is not a finite number"))
            }
            Distribution::Normal { mean, sd }
                if !(mean.is_finite() && sd.is_finite() && *sd >= 0.0) =>
            {
                Err("normal needs a finite mean and sd >= 0".into())
            }
            Distribution::TruncatedNormal { mean, sd, .. }
                if !(mean.is_finite()
                    && sd.is_finite()
                    && *sd > 0.0
                    && low < high
                    && low.is_finite()
                    && high.is_finite()) =>
            {
                Err("truncated_normal needs a finite mean, sd > 0 and low < high".into())
            }
            Distribution::LogUniform(_) if low <= 0.0 => {
                Err("log_uniform needs positive bounds".into())
            }
            Distribution::Choice { values, weights }
                if values.is_empty() || weights.len() != values.len() =>
            {
                Err("choice needs at least one value, and either no weights or one a value".into())
            }
            Distribution::Choice { values, weights }
                if values.iter().any(|v| !v.is_finite())
                    || weights.iter().any(|w| !w.is_finite() || *w < 0.0)
                    || weights.iter().sum::<f64>() <= 0.0 =>
            {
                Err("choice needs finite values and weights >= 0 that are not all zero".into())
            }
            Distribution::Poisson { mean }
                if !(mean.is_finite() && *mean > 0.0 && *mean <= 1e6) =>
            {
                Err("poisson needs a mean in (0, 1e6]".into())
            }
            Distribution::Beta { alpha, beta, .. }
                if !(*alpha > 0.0
                    && *beta > 0.0
                    && alpha.is_finite()
                    && beta.is_finite()
                    && low <= high
                    && low.is_finite()
                    && high.is_finite()) =>
            {
                Err("beta needs alpha > 0, beta > 0 and low <= high".into())
            }
            _ => Ok(self),
        }
    }
}

/// Rejection from the normal for a support that is likely, inversion of the uniform
/// proposal for one that is not (Robert 1995, "Simulation of truncated normal
/// variables", section 2, the two-sided case with a uniform proposal).
fn sample_truncated_normal(
    mean: f64,
    sd: f64,
    low: f64,
    high: f64,
    generator: &mut Generator,
) -> f64 {
    let (a, b) = ((low - mean) / sd, (high - mean) / sd);
    let nearest_to_mean = 0.0_f64.clamp(a, b);
    let wide = b - a > 1.0 && a < 0.5 && b > -0.5;
    loop {
        let z = if wide {
            let z: f64 = rand_distr::StandardNormal.sample(generator);
            if !(a..=b).contains(&z) {
                continue;
            }
            z
        } else {
            let z = a + (b - a) * generator.random::<f64>();
            if generator.random::<f64>() > ((nearest_to_mean * nearest_to_mean - z * z) / 2.0).exp()
            {
                continue;
            }
            z
        };
        return (mean + sd * z).clamp(low, high);
    }
}

impl<'de> Deserialize<'de> for Distribution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrMap;

        impl<'de> Visitor<'de> for NumberOrMap {
            type Value = Distribution;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number, or one of uniform, normal, truncated_normal, log_uniform, choice, poisson, beta with its parameters")
            }

            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Distribution, E> {
                Distribution::Constant(value).checked().map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Distribution, E> {
                Ok(Distribution::Constant(value as f64))
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Distribution, E> {
                Ok(Distribution::Constant(value as f64))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, _items: A) -> Result<Distribution, A::Error> {
                Err(serde::de::Error::custom(
                    "a list is not a distribution: write `uniform: [low, high]` for a range, or `choice: {values: [..]}`",
                ))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Distribution, A::Error> {
                let tagged = TaggedDistribution::deserialize(
                    serde::de::value::MapAccessDeserializer::new(map),
                )?;
                Distribution::from(tagged)
                    .checked()
                    .map_err(serde::de::Error::custom)
            }
        }

        deserializer.deserialize_any(NumberOrMap)
    }
}

impl JsonSchema for Distribution {
    fn schema_name() -> Cow<'static, str> {
        "Distribution".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let drawn = generator.subschema_for::<TaggedDistribution>();
        json_schema!({
            "description": "A number, or a distribution that it is drawn from.",
            "anyOf": [{"type": "number"}, drawn],
        })
    }
}

impl From<f64> for Distribution {
    fn from(value: f64) -> Self {
        Distribution::Constant(value)
    }
}

impl From<TaggedDistribution> for Distribution {
    fn from(tagged: TaggedDistribution) -> Self {
        match tagged {
            TaggedDistribution::Uniform(interval) => Distribution::Uniform(interval),
            TaggedDistribution::Normal { mean, sd } => Distribution::Normal { mean, sd },
            TaggedDistribution::TruncatedNormal {
                mean,
                sd,
                low,
                high,
            } => Distribution::TruncatedNormal {
                mean,
                sd,
                low,
                high,
            },
            TaggedDistribution::LogUniform(interval) => Distribution::LogUniform(interval),
            TaggedDistribution::Choice { values, weights } if weights.is_empty() => {
                let weights = vec![1.0; values.len()];
                Distribution::Choice { values, weights }
            }
            TaggedDistribution::Choice { values, weights } => {
                Distribution::Choice { values, weights }
            }
            TaggedDistribution::Poisson { mean } => Distribution::Poisson { mean },
            TaggedDistribution::Beta {
                alpha,
                beta,
                low,
                high,
            } => Distribution::Beta {
                alpha,
                beta,
                low,
                high,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::SeedKey;

    #[test]
    fn draws_stay_in_the_support_and_have_the_stated_mean() {
        let uniform = Interval::new(-2.0, 4.0).unwrap();
        let cases = [
            (Distribution::Uniform(uniform), 1.0),
            (Distribution::Normal { mean: 3.0, sd: 2.0 }, 3.0),
            (
                Distribution::TruncatedNormal {
                    mean: 0.0,
                    sd: 1.0,
                    low: -1.0,
                    high: 1.0,
                },
                0.0,
            ),
            // Mean of a standard normal above 2, below 8: phi(2) / (1 - Phi(2)) = 2.3732.
            (
                Distribution::TruncatedNormal {
                    mean: 0.0,
                    sd: 1.0,
                    low: 2.0,
                    high: 8.0,
                },
                2.3732,
            ),
            (
                Distribution::LogUniform(Interval::new(1.0, std::f64::consts::E).unwrap()),
                std::f64::consts::E - 1.0,
            ),
            (
                Distribution::Choice {
                    values: vec![1.0, 5.0],
                    weights: vec![3.0, 1.0],
                },
                2.0,
            ),
            (Distribution::Poisson { mean: 4.0 }, 4.0),
            (
                Distribution::Beta {
                    alpha: 2.0,
                    beta: 6.0,
                    low: 0.0,
                    high: 4.0,
                },
                1.0,
            ),
        ];
        for (index, (distribution, mean)) in cases.into_iter().enumerate() {
            let mut generator = SeedKey::new(b"test", 1).generator("draw", index as u64);
            let (low, high) = distribution.support();
            let n = 20_000;
            let draws: Vec<f64> = (0..n)
                .map(|_| distribution.sample(&mut generator))
                .collect();
            assert!(
                draws.iter().all(|draw| (low..=high).contains(draw)),
                "{distribution:?}"
            );
            let average = draws.iter().sum::<f64>() / n as f64;
            assert!(
                (average - mean).abs() < 0.06,
                "{distribution:?}: mean {average}, expected {mean}"
            );
        }
    }
}
