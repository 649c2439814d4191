//! From which points of the lens and at which times an image is taken.

use glam::Vec2;

use crate::scene::Camera;

/// The golden angle, in radians.
const GOLDEN_ANGLE: f32 = 2.399_963_2;

/// One point of the lens at one time of the exposure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Moment {
    /// In the unit disc, x to the right and y up.
    pub on_lens: Vec2,
    /// In 0..=1.
    pub time: f32,
}

impl Moment {
    pub(super) const MIDDLE: Moment = Moment {
        on_lens: Vec2::ZERO,
        time: 0.5,
    };
}

/// Moments whose mean is the image: the middle alone where nothing blurs, otherwise as many as
/// the camera's sub-frames. Points of the lens are even over its opening (Vogel 1979); each
/// equal share of the time has one moment, whose place among the points follows a sequence
/// that is not theirs.
pub(super) fn moments(camera: &Camera) -> Vec<Moment> {
    let count = camera.subframes.max(1);
    if count == 1 || (camera.aperture.is_none() && camera.motion.is_none()) {
        return vec![Moment::MIDDLE];
    }
    // The additive recurrence of the plastic number's square (Roberts 2018).
    let key = |index: u32| (f64::from(index) * 0.569_840_290_998).fract();
    let mut order: Vec<u32> = (0..count).collect();
    order.sort_by(|a, b| key(*a).total_cmp(&key(*b)));
    let mut found = vec![Moment::MIDDLE; count as usize];
    for (rank, index) in (0..).zip(order) {
        let radius = ((index as f32 + 0.5) / count as f32).sqrt();
        found[index as usize] = Moment {
            on_lens: radius * Vec2::from_angle(GOLDEN_ANGLE * index as f32),
            time: (rank as f32 + 0.5) / count as f32,
        };
    }
    found
}

#[cfg(test)]
mod tests {
    use glam::Vec3;

    use super::*;
    use crate::scene::{Aperture, Motion};

    #[test]
    fn moments_are_even_over_lens_and_time() {
        let mut camera = Camera {
            subframes: 64,
            ..Camera::default()
        };
        assert_eq!(moments(&camera), [Moment::MIDDLE]);
        camera.aperture = Some(Aperture {
            f_number: 2.0,
            focal_length_m: 0.05,
            focus_m: 1.0,
        });
        camera.motion = Some(Motion {
            translation_m: Vec3::X,
            rotation_deg: Vec3::ZERO,
        });
        let found = moments(&camera);
        assert_eq!(found.len(), 64);
        let mut times: Vec<f32> = found.iter().map(|moment| moment.time).collect();
        times.sort_by(f32::total_cmp);
        for (share, time) in (0..).zip(times) {
            assert!((time * 64.0 - share as f32 - 0.5).abs() < 1e-3);
        }
        let mean = found.iter().map(|moment| moment.on_lens).sum::<Vec2>() / 64.0;
        assert!(mean.length() < 0.03, "{mean}");
        // A disc's mean square radius is one half.
        let squares: f32 = found
            .iter()
            .map(|moment| moment.on_lens.length_squared())
            .sum();
        assert!((squares / 64.0 - 0.5).abs() < 1e-3);
        // Early moments lie on no one side of the lens.
        let (early, late): (Vec<&Moment>, Vec<&Moment>) =
            found.iter().partition(|moment| moment.time < 0.5);
        for half in [early, late] {
            let mean = half.iter().map(|moment| moment.on_lens).sum::<Vec2>() / 32.0;
            assert!(mean.length() < 0.2, "{mean}");
        }
    }
}
