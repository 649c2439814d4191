//! How a lens bends the pinhole's image, and back.
//!
//! Points of the image are taken relative to the principal point, over the focal length, x to
//! the right and y down; directions are x to the right, y down, z along the line of sight.

use glam::{DMat2, DVec2, DVec3};
use serde::Serialize;

/// The least determinant of a distortion's derivative that counts as one to one: nearer to 0
/// a lens folds its image.
const LEAST_DETERMINANT: f64 = 0.02;

/// Steps from the principal point outwards, in each of which a solution follows from the last.
const STEPS: usize = 16;

/// How a lens departs from a pinhole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Distortion {
    #[default]
    None,
    /// Radial and tangential (Brown 1966, in the form and order of signs of OpenCV's
    /// `projectPoints`).
    BrownConrady {
        k1: f32,
        k2: f32,
        k3: f32,
        p1: f32,
        p2: f32,
    },
    /// A polynomial of the angle to the line of sight (Kannala and Brandt 2006, in the form of
    /// OpenCV's `fisheye`).
    Fisheye { k1: f32, k2: f32, k3: f32, k4: f32 },
}

impl Distortion {
    /// Where a direction is seen. `None` for what is not before a lens that sees less than
    /// half of all directions.
    pub fn bend(&self, direction: DVec3) -> Option<DVec2> {
        match self {
            Distortion::Fisheye { .. } => {
                let across = direction.truncate();
                let length = across.length();
                let angle = length.atan2(direction.z);
                let (radius, _) = self.fisheye(angle);
                // On the line of sight the angle is the tangent.
                let scale = if length > 1e-12 { radius / length } else { 1.0 };
                Some(across * scale)
            }
            _ if direction.z <= 0.0 => None,
            _ => Some(self.brown(direction.truncate() / direction.z).0),
        }
    }

    /// The direction, a unit vector, that is seen at a point; `None` where the lens is not one
    /// to one between the principal point and this one.
    pub fn straighten(&self, at: DVec2) -> Option<DVec3> {
        match self {
            Distortion::None => Some(at.extend(1.0).normalize()),
            Distortion::BrownConrady { .. } => {
                let quick = self.newton(at, at, 8);
                let found = quick.or_else(|| self.follow(at))?;
                Some(found.extend(1.0).normalize())
            }
            Distortion::Fisheye { .. } => {
                let radius = at.length();
                if radius < 1e-12 {
                    return Some(DVec3::Z);
                }
                let angle = self.angle(radius)?;
                Some((at * (angle.sin() / radius)).extend(angle.cos()))
            }
        }
    }

    /// As [`Self::straighten`], by small steps from the principal point, each of which must be
    /// one to one; with how much longer the lens draws small things there than a pinhole.
    pub fn straighten_surely(&self, at: DVec2) -> Option<(DVec3, f64)> {
        match self {
            Distortion::None => Some((at.extend(1.0).normalize(), 1.0)),
            Distortion::BrownConrady { .. } => {
                let found = self.follow(at)?;
                let scale = self.brown(found).1.determinant().sqrt();
                Some((found.extend(1.0).normalize(), scale))
            }
            Distortion::Fisheye { .. } => {
                let (mut angle, radius) = (0.0, at.length());
                for step in 1..=STEPS {
                    angle = self.newton_angle(radius * step as f64 / STEPS as f64, angle)?;
                }
                let across = at.normalize_or_zero() * angle.sin();
                Some((across.extend(angle.cos()), 1.0))
            }
        }
    }

    /// The distorted point, and its derivative, of a point one unit before the camera.
    fn brown(&self, at: DVec2) -> (DVec2, DMat2) {
        let Distortion::BrownConrady { k1, k2, k3, p1, p2 } = *self else {
            return (at, DMat2::IDENTITY);
        };
        let [k1, k2, k3, p1, p2] = [k1, k2, k3, p1, p2].map(f64::from);
        let (x, y) = (at.x, at.y);
        let r2 = at.length_squared();
        let radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3));
        let slope = k1 + r2 * (2.0 * k2 + r2 * 3.0 * k3);
        let seen = at * radial
            + DVec2::new(
                2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x),
                p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y,
            );
        let mixed = 2.0 * (x * y * slope + p1 * x + p2 * y);
        let derivative = DMat2::from_cols(
            DVec2::new(
                radial + 2.0 * x * x * slope + 2.0 * p1 * y + 6.0 * p2 * x,
                mixed,
            ),
            DVec2::new(
                mixed,
                radial + 2.0 * y * y * slope + 6.0 * p1 * y + 2.0 * p2 * x,
            ),
        );
        (seen, derivative)
    }

    /// Newton's method; `None` where it does not settle at a point that is one to one.
    fn newton(&self, goal: DVec2, start: DVec2, iterations: usize) -> Option<DVec2> {
        let mut at = start;
        for _ in 0..iterations {
            let (seen, derivative) = self.brown(at);
            if !is_one_to_one(&derivative) {
                return None;
            }
            let step = derivative.inverse() * (goal - seen);
            at += step;
            if step.length_squared() < 1e-24 {
                return is_one_to_one(&self.brown(at).1).then_some(at);
            }
        }
        None
    }

    fn follow(&self, goal: DVec2) -> Option<DVec2> {
        (1..=STEPS).try_fold(DVec2::ZERO, |at, step| {
            self.newton(goal * (step as f64 / STEPS as f64), at, 12)
        })
    }

    /// The distance from the principal point, and its derivative, of an angle.
    fn fisheye(&self, angle: f64) -> (f64, f64) {
        let Distortion::Fisheye { k1, k2, k3, k4 } = *self else {
            return (angle, 1.0);
        };
        let [k1, k2, k3, k4] = [k1, k2, k3, k4].map(f64::from);
        let a2 = angle * angle;
        let radius = angle * (1.0 + a2 * (k1 + a2 * (k2 + a2 * (k3 + a2 * k4))));
        let slope = 1.0 + a2 * (3.0 * k1 + a2 * (5.0 * k2 + a2 * (7.0 * k3 + a2 * 9.0 * k4)));
        (radius, slope)
    }

    fn newton_angle(&self, radius: f64, start: f64) -> Option<f64> {
        let mut angle = start;
        for _ in 0..12 {
            let (seen, slope) = self.fisheye(angle);
            if slope < LEAST_DETERMINANT {
                return None;
            }
            let step = (radius - seen) / slope;
            angle += step;
            if step.abs() < 1e-12 {
                let is_angle = (0.0..=std::f64::consts::PI).contains(&angle);
                return (is_angle && self.fisheye(angle).1 >= LEAST_DETERMINANT).then_some(angle);
            }
        }
        None
    }

    fn angle(&self, radius: f64) -> Option<f64> {
        let stepwise = || {
            (1..=STEPS).try_fold(0.0, |angle, step| {
                self.newton_angle(radius * step as f64 / STEPS as f64, angle)
            })
        };
        self.newton_angle(radius, radius).or_else(stepwise)
    }

    /// Whether the lens is one to one at this tangent of the angle to the line of sight, all
    /// around it.
    pub(super) fn is_one_to_one_at(&self, tangent: f64) -> bool {
        match self {
            Distortion::None => true,
            Distortion::BrownConrady { .. } => (0..24).all(|turn| {
                let around = DVec2::from_angle(f64::from(turn) * std::f64::consts::TAU / 24.0);
                is_one_to_one(&self.brown(around * tangent).1)
            }),
            Distortion::Fisheye { .. } => self.fisheye(tangent.atan()).1 >= LEAST_DETERMINANT,
        }
    }
}

/// The derivative is symmetric, so that it turns nothing over where trace and determinant are
/// positive.
fn is_one_to_one(derivative: &DMat2) -> bool {
    let trace = derivative.x_axis.x + derivative.y_axis.y;
    trace > 0.0 && derivative.determinant() >= LEAST_DETERMINANT
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BROWN: Distortion = Distortion::BrownConrady {
        k1: -0.28,
        k2: 0.07,
        k3: 0.011,
        p1: 0.0013,
        p2: -0.0021,
    };
    const FISHEYE: Distortion = Distortion::Fisheye {
        k1: -0.03,
        k2: 0.012,
        k3: -0.004,
        k4: 0.0008,
    };

    /// What `cv2.projectPoints` and `cv2.fisheye.projectPoints` of OpenCV 5.0.0 give for the
    /// coefficients above, a focal length of 500 and a principal point of 320, 240.
    #[test]
    fn points_are_where_opencv_puts_them() {
        let points = [
            DVec3::new(0.1, -0.2, 1.0),
            DVec3::new(0.6, 0.45, 1.5),
            DVec3::new(-0.5, 0.3, 0.8),
            DVec3::new(0.0, 0.0, 2.0),
        ];
        let brown = [
            [369.209_318_75, 141.508_862_5],
            [506.466_875, 380.209_531_25],
            [45.612_462_23, 404.643_147_66],
            [320.0, 240.0],
        ];
        let fisheye = [
            [369.120_750_32, 141.758_499_35],
            [504.358_796_6, 378.269_097_45],
            [52.724_401_79, 400.365_358_92],
            [320.0, 240.0],
        ];
        for (lens, expected) in [(BROWN, brown), (FISHEYE, fisheye)] {
            for (point, expected) in points.iter().zip(expected) {
                let seen = lens.bend(*point).unwrap() * 500.0 + DVec2::new(320.0, 240.0);
                // Coefficients are kept in single precision.
                let off = (seen - DVec2::from(expected)).length();
                assert!(off < 1e-4, "{seen} for {expected:?}");
            }
        }
    }

    #[test]
    fn a_lens_that_folds_its_image_is_found() {
        let barrel = Distortion::BrownConrady {
            k1: -0.5,
            k2: 0.0,
            k3: 0.0,
            p1: 0.0,
            p2: 0.0,
        };
        // r (1 - r^2 / 2) is largest at r = 0.816, where it is 0.544.
        assert!(barrel.straighten(DVec2::new(0.53, 0.0)).is_some());
        assert!(barrel.straighten_surely(DVec2::new(0.53, 0.0)).is_some());
        assert!(barrel.straighten(DVec2::new(0.55, 0.0)).is_none());
        assert!(barrel.straighten_surely(DVec2::new(0.0, -0.55)).is_none());
        assert!(barrel.is_one_to_one_at(0.8) && !barrel.is_one_to_one_at(0.83));
    }

    proptest! {
        #[test]
        fn straightening_undoes_bending(
            k in prop::array::uniform3(-0.08_f32..0.08),
            p in prop::array::uniform2(-0.01_f32..0.01),
            x in -0.9_f64..0.9,
            y in -0.9_f64..0.9,
        ) {
            let [k1, k2, k3] = k;
            let [p1, p2] = p;
            let direction = DVec3::new(x, y, 1.0).normalize();
            let lenses = [
                Distortion::BrownConrady { k1, k2, k3, p1, p2 },
                Distortion::Fisheye { k1, k2, k3: k3 / 4.0, k4: p1 },
                Distortion::None,
            ];
            for lens in lenses {
                let one_to_one = (0..=32).all(|step| {
                    lens.is_one_to_one_at(DVec2::new(x, y).length() * 1.1 * f64::from(step) / 32.0)
                });
                if one_to_one {
                    let seen = lens.bend(direction).unwrap();
                    for back in [lens.straighten(seen), lens.straighten_surely(seen).map(|f| f.0)] {
                        let back = back.expect("the lens is one to one");
                        prop_assert!((back - direction).length() < 1e-9, "{lens:?}: {back}");
                    }
                }
            }
        }

        #[test]
        fn a_fisheye_sees_behind_itself(angle in 0.0_f64..2.2, around in 0.0_f64..6.2) {
            let direction = (DVec2::from_angle(around) * angle.sin()).extend(angle.cos());
            let seen = FISHEYE.bend(direction).unwrap();
            let back = FISHEYE.straighten(seen).unwrap();
            prop_assert!((back - direction).length() < 1e-9);
        }
    }
}
