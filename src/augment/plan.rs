//! The policy: what may be drawn, with which probability.

use std::collections::BTreeMap;
use std::path::Path;

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::Transform;
use crate::seed::{Generator, SeedKey};
use crate::spec::{Distribution, Interval, Problems, SpecError};

/// A preset, as in YAML. Steps are put into the order of light: see
/// [`TransformSpec::stage`].
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

fn anywhere() -> Distribution {
    Distribution::Uniform(Interval::new(0.0, 1.0).expect("0 is below 1"))
}

/// The least share of an object that must stay visible for its label to be kept, where
/// the preset does not say.
fn quarter() -> f64 {
    0.25
}

/// Transforms with distributions for parameters; see [`Transform`] for their meaning.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TransformSpec {
    FlipHorizontal {
        #[serde(default)]
        keypoint_pairs: Vec<[usize; 2]>,
    },
    FlipVertical {
        #[serde(default)]
        keypoint_pairs: Vec<[usize; 2]>,
    },
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
        #[serde(default = "quarter")]
        min_visible: f64,
    },
    /// `size` is the share of the sides that is left, `aspect` stretches the crop's
    /// width against its height, `x` and `y` say where in the free room it lies.
    Crop {
        size: Distribution,
        #[serde(default = "unit")]
        aspect: Distribution,
        #[serde(default = "anywhere")]
        x: Distribution,
        #[serde(default = "anywhere")]
        y: Distribution,
        #[serde(default = "quarter")]
        min_visible: f64,
    },
    Exposure {
        ev: Distribution,
    },
    WhiteBalance {
        red: Distribution,
        blue: Distribution,
    },
    ColourTemperature {
        kelvin: Distribution,
        #[serde(default = "none")]
        tint_duv: Distribution,
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
    Resize {
        factor: Distribution,
    },
    Jpeg {
        quality: Distribution,
    },
}

impl TransformSpec {
    /// Place in the order geometry, light, lens, sensor, processing, compression.
    /// Steps of one stage keep the order in which they are written.
    pub fn stage(&self) -> u8 {
        match self {
            Self::FlipHorizontal { .. }
            | Self::FlipVertical { .. }
            | Self::Affine { .. }
            | Self::Crop { .. } => 0,
            Self::Exposure { .. } | Self::WhiteBalance { .. } | Self::ColourTemperature { .. } => 1,
            Self::Defocus { .. } | Self::MotionBlur { .. } => 2,
            Self::Noise { .. } => 3,
            Self::Gamma { .. } | Self::Downscale { .. } | Self::Resize { .. } => 4,
            Self::Jpeg { .. } => 5,
        }
    }

    /// The name in YAML, which draws are keyed by.
    fn name(&self) -> &'static str {
        match self {
            Self::FlipHorizontal { .. } => "flip_horizontal",
            Self::FlipVertical { .. } => "flip_vertical",
            Self::Affine { .. } => "affine",
            Self::Crop { .. } => "crop",
            Self::Exposure { .. } => "exposure",
            Self::WhiteBalance { .. } => "white_balance",
            Self::ColourTemperature { .. } => "colour_temperature",
            Self::Defocus { .. } => "defocus",
            Self::MotionBlur { .. } => "motion_blur",
            Self::Noise { .. } => "noise",
            Self::Gamma { .. } => "gamma",
            Self::Downscale { .. } => "downscale",
            Self::Resize { .. } => "resize",
            Self::Jpeg { .. } => "jpeg",
        }
    }

    /// Each parameter with the range that it must stay in.
    fn limits(&self) -> Vec<(&'static str, &Distribution, f64, f64)> {
        match self {
            Self::FlipHorizontal { .. } | Self::FlipVertical { .. } => vec![],
            Self::Affine {
                rotate_deg,
                scale,
                shear_deg,
                translate_x,
                translate_y,
                ..
            } => vec![
                ("rotate_deg", rotate_deg, -360.0, 360.0),
                ("scale", scale, 0.1, 10.0),
                ("shear_deg", shear_deg, -60.0, 60.0),
                ("translate_x", translate_x, -1.0, 1.0),
                ("translate_y", translate_y, -1.0, 1.0),
            ],
            Self::Crop {
                size, aspect, x, y, ..
            } => vec![
                ("size", size, 0.05, 1.0),
                ("aspect", aspect, 0.25, 4.0),
                ("x", x, 0.0, 1.0),
                ("y", y, 0.0, 1.0),
            ],
            Self::Exposure { ev } => vec![("ev", ev, -12.0, 12.0)],
            Self::WhiteBalance { red, blue } => {
                vec![("red", red, 0.1, 10.0), ("blue", blue, 0.1, 10.0)]
            }
            Self::ColourTemperature { kelvin, tint_duv } => vec![
                ("kelvin", kelvin, 2000.0, 15000.0),
                ("tint_duv", tint_duv, -0.05, 0.05),
            ],
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
            Self::Downscale { factor } | Self::Resize { factor } => {
                vec![("factor", factor, 0.02, 1.0)]
            }
            Self::Jpeg { quality } => vec![("quality", quality, 1.0, 100.0)],
        }
    }

    fn draw(&self, g: &mut Generator) -> Transform {
        match self {
            Self::FlipHorizontal { keypoint_pairs } => Transform::FlipHorizontal {
                keypoint_pairs: keypoint_pairs.clone(),
            },
            Self::FlipVertical { keypoint_pairs } => Transform::FlipVertical {
                keypoint_pairs: keypoint_pairs.clone(),
            },
            Self::Affine {
                rotate_deg,
                scale,
                shear_deg,
                translate_x,
                translate_y,
                min_visible,
            } => Transform::Affine {
                rotate_deg: rotate_deg.sample(g),
                scale: scale.sample(g),
                shear_deg: shear_deg.sample(g),
                translate: [translate_x.sample(g), translate_y.sample(g)],
                min_visible: *min_visible,
            },
            Self::Crop {
                size,
                aspect,
                x,
                y,
                min_visible,
            } => {
                let (size, stretch) = (size.sample(g), aspect.sample(g).sqrt());
                Transform::Crop {
                    width: (size * stretch).min(1.0),
                    height: (size / stretch).min(1.0),
                    x: x.sample(g),
                    y: y.sample(g),
                    min_visible: *min_visible,
                }
            }
            Self::Exposure { ev } => Transform::Exposure { ev: ev.sample(g) },
            Self::WhiteBalance { red, blue } => Transform::WhiteBalance {
                gains: [red.sample(g), 1.0, blue.sample(g)],
            },
            Self::ColourTemperature { kelvin, tint_duv } => Transform::ColourTemperature {
                kelvin: kelvin.sample(g),
                tint_duv: tint_duv.sample(g),
            },
            Self::Defocus { radius_px } => Transform::Defocus {
                radius_px: radius_px.sample(g),
            },
            Self::MotionBlur {
                length_px,
                angle_deg,
            } => Transform::MotionBlur {
                length_px: length_px.sample(g),
                angle_deg: angle_deg.sample(g),
            },
            Self::Noise { shot, read } => Transform::Noise {
                shot: shot.sample(g),
                read: read.sample(g),
                seed: g.random(),
            },
            Self::Gamma { power } => Transform::Gamma {
                power: power.sample(g),
            },
            Self::Downscale { factor } => Transform::Downscale {
                factor: factor.sample(g),
            },
            Self::Resize { factor } => Transform::Resize {
                factor: factor.sample(g),
            },
            Self::Jpeg { quality } => Transform::Jpeg {
                quality: quality.sample(g).round() as u8,
            },
        }
    }
}

/// A checked policy, with its steps in the order in which they are applied.
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
            let transform = &step.transform;
            problems.require(
                (0.0..=1.0).contains(&step.probability),
                &format!("steps.{index}.probability"),
                format!("{} is not in 0..=1", step.probability),
            );
            let key = |name: &str| format!("steps.{index}.transform.{}.{name}", transform.name());
            for (name, distribution, low, high) in transform.limits() {
                let (from, to) = distribution.support();
                problems.require(
                    from >= low && to <= high,
                    &key(name),
                    format!("draws from {from}..={to}, but must stay in {low}..={high}"),
                );
            }
            if let TransformSpec::Affine { min_visible, .. }
            | TransformSpec::Crop { min_visible, .. } = transform
            {
                problems.require(
                    (0.0..=1.0).contains(min_visible),
                    &key("min_visible"),
                    format!("{min_visible} is not in 0..=1"),
                );
            }
        }
        self.steps.sort_by_key(|step| step.transform.stage());
        problems.into_result(path, AugmentPlan { steps: self.steps })
    }
}

impl AugmentPlan {
    /// The steps in the order in which they are applied.
    pub fn steps(&self) -> &[StepSpec] {
        &self.steps
    }

    /// The transforms of the image called `name`, in the order in which they are
    /// applied.
    ///
    /// What a step draws depends on the seed, the name and which step of its kind it is:
    /// not on the other images, nor on the other steps. A preset that differs in one
    /// step thus leaves the draws of the others as they are.
    pub fn draw(&self, seed: u64, name: &str) -> Vec<Transform> {
        let key = SeedKey::new(b"augment", seed).child(name, 0);
        let mut met: BTreeMap<&str, u64> = BTreeMap::new();
        let mut transforms = Vec::new();
        for step in &self.steps {
            let kind = step.transform.name();
            let number = met.entry(kind).or_default();
            let mut generator = key.generator(kind, *number);
            *number += 1;
            if generator.random::<f64>() < step.probability {
                transforms.push(step.transform.draw(&mut generator));
            }
        }
        transforms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;

    fn plan(text: &str) -> Result<AugmentPlan, SpecError> {
        let path = Path::new("preset.yaml");
        spec::parse::<AugmentSpec>(text, path, &[])?.into_plan(path)
    }

    const EVERYTHING: &str = "steps:
  - {transform: {jpeg: {quality: {uniform: [20, 90]}}}}
  - {transform: {gamma: {power: 1.1}}}
  - {transform: {downscale: {factor: 0.5}}}
  - {transform: {resize: {factor: 0.5}}}
  - {transform: {noise: {shot: 0.001, read: 0.01}}}
  - {transform: {motion_blur: {length_px: 5, angle_deg: {uniform: [0, 180]}}}}
  - {transform: {defocus: {radius_px: 2}}}
  - {transform: {colour_temperature: {kelvin: {uniform: [3000, 9000]}}}}
  - {transform: {white_balance: {red: 1.1, blue: 0.9}}}
  - {transform: {exposure: {ev: {uniform: [-2, 2]}}}}
  - {transform: {crop: {size: {uniform: [0.5, 1]}}}}
  - {transform: {affine: {rotate_deg: {uniform: [-10, 10]}}}}
  - {transform: {flip_vertical: {}}}
  - {probability: 0.5, transform: {flip_horizontal: {keypoint_pairs: [[1, 2]]}}}
";

    #[test]
    fn steps_follow_the_light_and_are_keyed_by_name_alone() {
        let all = plan(EVERYTHING).unwrap();
        let stages: Vec<u8> = all.steps().iter().map(|s| s.transform.stage()).collect();
        assert!(stages.is_sorted());
        let one = plan("steps: [{transform: {exposure: {ev: {uniform: [-2, 2]}}}}]").unwrap();
        let mut flips = 0;
        for index in 0..40 {
            let name = format!("{index}.png");
            let drawn = all.draw(7, &name);
            assert_eq!(drawn, all.draw(7, &name));
            let exposure = one.draw(7, &name).remove(0);
            assert!(drawn.contains(&exposure), "other steps change nothing");
            flips += drawn.len() - 13;
        }
        assert!(
            (10..30).contains(&flips),
            "{flips} of 40 at probability 0.5"
        );
        assert_ne!(all.draw(7, "a.png"), all.draw(8, "a.png"));
        assert_ne!(all.draw(7, "a.png"), all.draw(7, "b.png"));
    }

    #[test]
    fn two_steps_of_a_kind_draw_apart_and_transforms_replay_from_json() {
        let step = "{transform: {exposure: {ev: {uniform: [-2, 2]}}}}";
        let twice = plan(&format!("steps: [{step}, {step}]")).unwrap();
        let drawn = twice.draw(0, "a");
        assert_ne!(drawn[0], drawn[1]);
        let drawn = plan(EVERYTHING).unwrap().draw(0, "a");
        let json = serde_json::to_string(&drawn).unwrap();
        assert_eq!(
            serde_json::from_str::<Vec<Transform>>(&json).unwrap(),
            drawn
        );
    }

    #[test]
    fn all_problems_are_told_with_their_keys() {
        let error = plan(
            "steps:
  - {probability: 1.5, transform: {exposure: {ev: {normal: {mean: 0, sd: 1}}}}}
  - {transform: {crop: {size: 1.5, min_visible: 2}}}
  - {transform: {colour_temperature: {kelvin: 100}}}",
        )
        .unwrap_err()
        .to_string();
        for part in [
            "5 problem(s)",
            "steps.0.probability",
            "steps.0.transform.exposure.ev: draws from -inf..=inf",
            "steps.1.transform.crop.size",
            "steps.1.transform.crop.min_visible: 2 is not in 0..=1",
            "steps.2.transform.colour_temperature.kelvin",
        ] {
            assert!(error.contains(part), "{part} is missing in {error}");
        }
        assert!(
            plan("steps: []")
                .unwrap_err()
                .to_string()
                .contains("no step")
        );
    }

    #[test]
    fn a_crop_has_the_share_and_the_shape_that_were_asked_for() {
        let crop = plan("steps: [{transform: {crop: {size: 0.4, aspect: 4}}}]").unwrap();
        let Transform::Crop {
            width,
            height,
            x,
            y,
            ..
        } = crop.draw(0, "a").remove(0)
        else {
            panic!("the only step is a crop");
        };
        assert!((width - 0.8).abs() < 1e-12 && (height - 0.2).abs() < 1e-12);
        assert!((0.0..=1.0).contains(&x) && (0.0..=1.0).contains(&y) && x != y);
    }

    #[test]
    fn the_presets_are_sound() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("presets");
        for (name, steps) in [("exposure_quality.yaml", 8), ("geometry.yaml", 3)] {
            let path = folder.join(name);
            let plan = spec::load::<AugmentSpec>(&path, &[]).and_then(|s| s.into_plan(&path));
            assert_eq!(plan.unwrap().steps().len(), steps, "{name}");
        }
    }
}
