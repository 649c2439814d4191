//! The policy: what may be drawn, with which probability.

use std::path::Path;

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::Transform;
use crate::seed::{PlanHash, SeedKey};
use crate::spec::{Distribution, Problems, SpecError};

/// A preset, as in YAML. Steps are put into the order of [`TransformSpec`]'s variants.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AugmentSpec {
    pub steps: Vec<StepSpec>,
}

/// A transform and the probability that an image gets it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepSpec {
    #[serde(default = "always")]
    pub probability: f64,
    pub transform: TransformSpec,
}

fn always() -> f64 {
    1.0
}

fn none() -> Distribution {
    Distribution::Constant(0.0)
}

fn unit() -> Distribution {
    Distribution::Constant(1.0)
}

/// Transforms with distributions for parameters; see [`Transform`] for their units.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TransformSpec {
    FlipHorizontal {},
    FlipVertical {},
    Affine {
        #[serde(default = "none")]
        rotate_deg: Distribution,
        #[serde(default = "unit")]
        scale: Distribution,
        #[serde(default = "none")]
        shear_deg: Distribution,
        #[serde(default = "none")]
        translate_x: Distribution,
        #[serde(default = "none")]
        translate_y: Distribution,
    },
    Exposure {
        ev: Distribution,
    },
    WhiteBalance {
        red: Distribution,
        blue: Distribution,
    },
    Defocus {
        radius_px: Distribution,
    },
    MotionBlur {
        length_px: Distribution,
        angle_deg: Distribution,
    },
    Noise {
        shot: Distribution,
        read: Distribution,
    },
    Gamma {
        power: Distribution,
    },
    Downscale {
        factor: Distribution,
    },
    Jpeg {
        quality: Distribution,
    },
}

impl TransformSpec {
    /// Place in the order geometry, light, lens, sensor, processing, compression.
    fn stage(&self) -> u8 {
        match self {
            Self::FlipHorizontal {} | Self::FlipVertical {} | Self::Affine { .. } => 0,
            Self::Exposure { .. } | Self::WhiteBalance { .. } => 1,
            Self::Defocus { .. } | Self::MotionBlur { .. } => 2,
            Self::Noise { .. } => 3,
            Self::Gamma { .. } | Self::Downscale { .. } => 4,
            Self::Jpeg { .. } => 5,
        }
    }

    /// Each parameter with the range that it must stay in.
    fn limits(&self) -> Vec<(&'static str, &Distribution, f64, f64)> {
        match self {
            Self::FlipHorizontal {} | Self::FlipVertical {} => vec![],
            Self::Affine {
                rotate_deg,
                scale,
                shear_deg,
                translate_x,
                translate_y,
            } => vec![
                ("rotate_deg", rotate_deg, -360.0, 360.0),
                ("scale", scale, 0.1, 10.0),
                ("shear_deg", shear_deg, -60.0, 60.0),
                ("translate_x", translate_x, -1.0, 1.0),
                ("translate_y", translate_y, -1.0, 1.0),
            ],
            Self::Exposure { ev } => vec![("ev", ev, -12.0, 12.0)],
            Self::WhiteBalance { red, blue } => {
                vec![("red", red, 0.1, 10.0), ("blue", blue, 0.1, 10.0)]
            }
            Self::Defocus { radius_px } => vec![("radius_px", radius_px, 0.0, 32.0)],
            Self::MotionBlur {
                length_px,
                angle_deg,
            } => vec![
                ("length_px", length_px, 0.0, 64.0),
                ("angle_deg", angle_deg, -360.0, 360.0),
            ],
            Self::Noise { shot, read } => vec![("shot", shot, 0.0, 1.0), ("read", read, 0.0, 1.0)],
            Self::Gamma { power } => vec![("power", power, 0.1, 10.0)],
            Self::Downscale { factor } => vec![("factor", factor, 0.02, 1.0)],
            Self::Jpeg { quality } => vec![("quality", quality, 1.0, 100.0)],
        }
    }
}

/// A checked policy.
#[derive(Debug, Clone, Serialize)]
pub struct AugmentPlan {
    steps: Vec<StepSpec>,
}

impl AugmentSpec {
    /// Checks the spec as a whole. `path` names it in errors.
    ///
    /// # Errors
    /// [`SpecError::Problems`] with all that is wrong.
    pub fn into_plan(mut self, path: &Path) -> Result<AugmentPlan, SpecError> {
        let mut problems = Problems::default();
        problems.require(!self.steps.is_empty(), "steps", "there is no step");
        for (index, step) in self.steps.iter().enumerate() {
            problems.require(
                (0.0..=1.0).contains(&step.probability),
                &format!("steps.{index}.probability"),
                format!("{} is not in 0..=1", step.probability),
            );
            for (name, distribution, low, high) in step.transform.limits() {
                let (from, to) = distribution.support();
                problems.require(
                    from >= low && to <= high,
                    &format!("steps.{index}.{name}"),
                    format!("draws from {from}..={to}, but must stay in {low}..={high}"),
                );
            }
        }
        self.steps.sort_by_key(|step| step.transform.stage());
        problems.into_result(path, AugmentPlan { steps: self.steps })
    }
}

impl AugmentPlan {
    /// The transforms of image `index`, in the order in which they are applied. They
    /// depend on plan, seed and index alone.
    pub fn draw(&self, seed: u64, index: u64) -> Vec<Transform> {
        let key = SeedKey::new(PlanHash::of(self).as_str().as_bytes(), seed);
        let mut transforms = Vec::new();
        for (step, number) in self.steps.iter().zip(0..) {
            let mut generator = key.child("step", number).generator("augment", index);
            if generator.random::<f64>() >= step.probability {
                continue;
            }
            let g = &mut generator;
            transforms.push(match &step.transform {
                TransformSpec::FlipHorizontal {} => Transform::FlipHorizontal,
                TransformSpec::FlipVertical {} => Transform::FlipVertical,
                TransformSpec::Affine {
                    rotate_deg,
                    scale,
                    shear_deg,
                    translate_x,
                    translate_y,
                } => Transform::Affine {
                    rotate_deg: rotate_deg.sample(g),
                    scale: scale.sample(g),
                    shear_deg: shear_deg.sample(g),
                    translate: [translate_x.sample(g), translate_y.sample(g)],
                },
                TransformSpec::Exposure { ev } => Transform::Exposure { ev: ev.sample(g) },
                TransformSpec::WhiteBalance { red, blue } => Transform::WhiteBalance {
                    gains: [red.sample(g), 1.0, blue.sample(g)],
                },
                TransformSpec::Defocus { radius_px } => Transform::Defocus {
                    radius_px: radius_px.sample(g),
                },
                TransformSpec::MotionBlur {
                    length_px,
                    angle_deg,
                } => Transform::MotionBlur {
                    length_px: length_px.sample(g),
                    angle_deg: angle_deg.sample(g),
                },
                TransformSpec::Noise { shot, read } => Transform::Noise {
                    shot: shot.sample(g),
                    read: read.sample(g),
                    seed: g.random(),
                },
                TransformSpec::Gamma { power } => Transform::Gamma {
                    power: power.sample(g),
                },
                TransformSpec::Downscale { factor } => Transform::Downscale {
                    factor: factor.sample(g),
                },
                TransformSpec::Jpeg { quality } => Transform::Jpeg {
                    quality: quality.sample(g).round() as u8,
                },
            });
        }
        transforms
    }
}
