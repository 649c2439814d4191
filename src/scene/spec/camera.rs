//! The camera as a scene file gives it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{none, nones};
use crate::spec::{Distribution, Interval};

/// A camera: where it is, its lens, and how it moves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CameraSpec {
    /// Distance of a camera that looks down on the ground; this, `tilt_deg`, `roll_deg` and
    /// `offset_mm` are there where `pose` is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distance_mm: Option<Distribution>,
    /// Of a pinhole; in place of `focal_length_mm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vertical_fov_deg: Option<Distribution>,
    /// Angle between the line of sight and straight down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tilt_deg: Option<Distribution>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roll_deg: Option<Distribution>,
    /// Where on the ground it looks, from the origin, along each axis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset_mm: Option<Distribution>,
    /// Any other place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pose: Option<PoseSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub focal_length_mm: Option<Distribution>,
    /// Width and height of the sensor, in the image's proportions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensor_mm: Option<[f64; 2]>,
    /// Where the line of sight meets the image, from its middle to the right and down.
    #[serde(default = "pair", skip_serializing_if = "is_pair")]
    pub principal_offset_px: [Distribution; 2],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distortion: Option<DistortionSpec>,
    /// Focal length over the diameter of the opening; without it everything is sharp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aperture_f_number: Option<Distribution>,
    /// Distance of what is sharp; that of what the camera looks at where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub focus_mm: Option<Distribution>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub motion: Option<MotionSpec>,
    /// Frames that are averaged where aperture or motion blur the image; 16 if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subframes: Option<u32>,
}

fn pair() -> [Distribution; 2] {
    [none(), none()]
}

fn is_pair(offset: &[Distribution; 2]) -> bool {
    *offset == pair()
}

/// Where a camera is and where it looks, unless it looks down on the ground.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PoseSpec {
    /// Anywhere on a sphere around what it looks at.
    OnSphere {
        #[serde(default = "nones")]
        target_mm: [Distribution; 3],
        distance_mm: Distribution,
        /// Above the horizon of the target.
        elevation_deg: Distribution,
        /// From the x axis towards the y axis.
        azimuth_deg: Distribution,
        #[serde(default = "none")]
        roll_deg: Distribution,
    },
    /// Anywhere in a box.
    InBox {
        position_mm: [Distribution; 3],
        #[serde(default = "nones")]
        target_mm: [Distribution; 3],
        #[serde(default = "none")]
        roll_deg: Distribution,
    },
    /// On a smooth curve through points.
    OnPath {
        points_mm: Vec<[f64; 3]>,
        /// Where on the curve: 0 is the first point, 1 the last, and each stretch between two
        /// points has the same share.
        #[serde(default = "anywhere")]
        along: Distribution,
        /// What it looks at; ahead along the curve where this is missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target_mm: Option<[Distribution; 3]>,
        #[serde(default = "none")]
        roll_deg: Distribution,
    },
    /// On a sphere around one of the objects, drawn at random.
    AtObject {
        /// From the object's middle.
        distance_mm: Distribution,
        elevation_deg: Distribution,
        azimuth_deg: Distribution,
        /// What it looks at, from the object's middle.
        #[serde(default = "nones")]
        offset_mm: [Distribution; 3],
        #[serde(default = "none")]
        roll_deg: Distribution,
    },
}

fn anywhere() -> Distribution {
    Distribution::Uniform(Interval::new(0.0, 1.0).expect("0 is below 1"))
}

/// How the lens departs from a pinhole, with OpenCV's coefficients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DistortionSpec {
    BrownConrady {
        #[serde(default = "none")]
        k1: Distribution,
        #[serde(default = "none")]
        k2: Distribution,
        #[serde(default = "none")]
        k3: Distribution,
        #[serde(default = "none")]
        p1: Distribution,
        #[serde(default = "none")]
        p2: Distribution,
    },
    Fisheye {
        #[serde(default = "none")]
        k1: Distribution,
        #[serde(default = "none")]
        k2: Distribution,
        #[serde(default = "none")]
        k3: Distribution,
        #[serde(default = "none")]
        k4: Distribution,
    },
}

impl DistortionSpec {
    /// Coefficients with their names, in the order of the fields.
    pub fn coefficients(&self) -> Vec<(&'static str, &Distribution)> {
        match self {
            DistortionSpec::BrownConrady { k1, k2, k3, p1, p2 } => {
                vec![("k1", k1), ("k2", k2), ("k3", k3), ("p1", p1), ("p2", p2)]
            }
            DistortionSpec::Fisheye { k1, k2, k3, k4 } => {
                vec![("k1", k1), ("k2", k2), ("k3", k3), ("k4", k4)]
            }
        }
    }
}

/// How the camera moves during the exposure, along and around its own axes: x to the right, y
/// down, z along the line of sight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MotionSpec {
    #[serde(default = "nones")]
    pub translation_mm: [Distribution; 3],
    #[serde(default = "nones")]
    pub rotation_deg: [Distribution; 3],
}
