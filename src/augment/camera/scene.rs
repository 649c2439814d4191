//! From the photograph back to the light on each photosite.

use super::sensor::MARGIN;
use super::tone::Curve;
use super::{Camera, Colour, colour};

/// More light than this, in sRGB white, fills every well at every setting.
const BLINDING: f32 = 1e6;

impl Camera {
    /// White-balance gains of red, green and blue, the lowest 1.
    pub(super) fn balance(&self) -> [f64; 3] {
        let Colour {
            red_gain,
            blue_gain,
            ..
        } = self.colour;
        let lowest = red_gain.min(blue_gain).min(1.0);
        [red_gain, 1.0, blue_gain].map(|gain| gain / lowest)
    }

    /// Electrons of a photosite of each colour from linear sRGB light, in rows.
    fn electrons_from_rgb(&self) -> [[f32; 3]; 3] {
        let camera_from_rgb = colour::camera_from_rgb(self.colour.weights);
        let balance = self.balance();
        let exposure = self.ev.exp2() * self.full_well_e;
        std::array::from_fn(|channel| {
            camera_from_rgb[channel].map(|value| (value * exposure / balance[channel]) as f32)
        })
    }
}

/// The photograph taken back to light on the sensor.
pub(super) struct Scene {
    undo_tone: Option<Curve>,
    electrons_from_rgb: [[f32; 3]; 3],
    /// Factor by which clipped white is raised, where the exposure leaves room for it.
    headroom: f32,
}

impl Scene {
    pub(super) fn new(camera: &Camera) -> Self {
        // What clips again needs no guess of how bright it was.
        let headroom = camera.headroom_ev.min(-camera.ev).max(0.0);
        Scene {
            undo_tone: (camera.tone > 0.0).then(|| Curve::undo(camera.tone)),
            electrons_from_rgb: camera.electrons_from_rgb(),
            headroom: headroom.exp2() as f32,
        }
    }

    /// One row in scene-linear light.
    pub(super) fn light(&self, from: &[f32], to: &mut [f32]) {
        match &self.undo_tone {
            Some(curve) => {
                for (to, from) in to.iter_mut().zip(from) {
                    *to = bounded(curve.at(*from));
                }
            }
            None => {
                for (to, from) in to.iter_mut().zip(from) {
                    *to = bounded(*from);
                }
            }
        }
        if self.headroom > 1.0 {
            for (to, from) in to.chunks_exact_mut(3).zip(from.chunks_exact(3)) {
                // The highlights' transform of Brooks et al. 2019 with their threshold of 0.9.
                let grey = (from[0] + from[1] + from[2]) * (1.0 / 3.0);
                if grey > 0.9 {
                    let near = ((grey - 0.9) * 10.0).min(1.0);
                    let raise = 1.0 + near * near * (self.headroom - 1.0);
                    to.iter_mut().for_each(|value| *value *= raise);
                }
            }
        }
    }

    /// Mean electrons of one row of photosites, row `y` of the sensor.
    pub(super) fn mosaic(&self, light: &[f32], y: usize, to: &mut [f32]) {
        let [red, green, blue] = &self.electrons_from_rgb;
        let (even, odd) = if y.is_multiple_of(2) {
            (red, green)
        } else {
            (green, blue)
        };
        let seen = |by: &[f32; 3], rgb: &[f32]| {
            (by[0] * rgb[0] + by[1] * rgb[1] + by[2] * rgb[2]).max(0.0)
        };
        let width = light.len() / 3;
        let inner = &mut to[MARGIN..MARGIN + width];
        for (to, rgb) in inner.chunks_exact_mut(2).zip(light.chunks_exact(6)) {
            to[0] = seen(even, &rgb[..3]);
            to[1] = seen(odd, &rgb[3..]);
        }
        let pixel = |x: usize| &light[3 * x..][..3];
        if width % 2 == 1 {
            inner[width - 1] = seen(even, pixel(width - 1));
        }
        let (second, second_last) = (1.min(width - 1), width.saturating_sub(2));
        let mut rgb = [0.0; 3];
        for steps in 1..=MARGIN {
            let by = |x: usize| if x.is_multiple_of(2) { even } else { odd };
            beyond(pixel(0), pixel(second), steps, &mut rgb);
            to[MARGIN - steps] = seen(by(MARGIN - steps), &rgb);
            let right = MARGIN + width - 1 + steps;
            beyond(pixel(width - 1), pixel(second_last), steps, &mut rgb);
            to[right] = seen(by(right), &rgb);
        }
    }
}

/// Light some steps beyond the border: it goes on as from the pixel before, by at most
/// half, so that the filters find no bend in a slope that reaches the border.
pub(super) fn beyond(border: &[f32], before: &[f32], steps: usize, to: &mut [f32]) {
    for ((to, border), before) in to.iter_mut().zip(border).zip(before) {
        let light = border + steps as f32 * (border - before);
        *to = light.max(0.5 * border).min(1.5 * border);
    }
}

/// Light that is a number, at least 0.
#[inline]
fn bounded(light: f32) -> f32 {
    // In this order no number at all becomes black.
    if light > 0.0 {
        light.min(BLINDING)
    } else {
        0.0
    }
}
