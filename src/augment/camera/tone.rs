//! The S-shaped tone curve that a camera lays over its pictures, and its inverse.

use crate::augment::photometric::{linear_from_srgb, srgb_from_linear};

/// Octaves below white that have their own cells; darker light goes straight to 0.
const OCTAVES: u32 = 16;
/// Cells in each octave, as a power of two.
const CELL_BITS: u32 = 6;
/// Position of the first cell: the bits of 2^-OCTAVES.
const FIRST: u32 = (127 - OCTAVES) << 23;
const CELLS: usize = (OCTAVES as usize) << CELL_BITS;

/// A monotone curve through 0 and 1 on linear light. Cells are spaced as the floats
/// are, so that dark light is as exact as bright light, without a power or logarithm.
pub(super) struct Curve {
    /// Value at the start of each cell, and the rise to the next.
    cells: Vec<[f32; 2]>,
    /// Slope from 0 to the first cell.
    toe: f32,
}

impl Curve {
    /// The curve of share `share` in `0..=1`: `(1 - share) x + share (3 x^2 - 2 x^3)`
    /// on encoded values x (Brooks et al. 2019, on tone mapping, where the share is 1).
    pub(super) fn apply(share: f64) -> Self {
        Self::of(|x| x + share * (3.0 * x * x - 2.0 * x * x * x - x))
    }

    /// The inverse of [`Curve::apply`]. With u and v the encoded values less 1/2, the
    /// curve is `v = (1 + share / 2) u - 2 share u^3`; the middle root of that cubic is
    /// a sine of a third of an angle.
    pub(super) fn undo(share: f64) -> Self {
        if share <= 1e-6 {
            return Self::of(|x| x);
        }
        let slope = 1.0 + share / 2.0;
        let scale = (slope / (6.0 * share)).sqrt();
        let peak = 2.0 / 3.0 * scale * slope;
        Self::of(|x| 0.5 + 2.0 * scale * (((x - 0.5) / peak).clamp(-1.0, 1.0).asin() / 3.0).sin())
    }

    fn of(encoded: impl Fn(f64) -> f64) -> Self {
        let at = |cell: usize| {
            let light = f32::from_bits(FIRST + ((cell as u32) << (23 - CELL_BITS)));
            let encoded = encoded(f64::from(srgb_from_linear(light))).clamp(0.0, 1.0);
            linear_from_srgb(encoded as f32)
        };
        let mut values: Vec<f32> = (0..=CELLS).map(at).collect();
        values[CELLS] = 1.0;
        let toe = values[0] / f32::from_bits(FIRST);
        let cells = values.windows(2).map(|w| [w[0], w[1] - w[0]]).collect();
        Curve { cells, toe }
    }

    /// The curve's value; light beyond white is beyond the curve and stays.
    #[inline]
    pub(super) fn at(&self, light: f32) -> f32 {
        const FRACTION: u32 = (1 << (23 - CELL_BITS)) - 1;
        let place = light.to_bits().wrapping_sub(FIRST);
        match self.cells.get((place >> (23 - CELL_BITS)) as usize) {
            Some([value, rise]) => {
                let share = (place & FRACTION) as f32 * (1.0 / (FRACTION + 1) as f32);
                value + share * rise
            }
            None if light >= 1.0 => light,
            // Written so that no number at all becomes black.
            None if light > 0.0 => light * self.toe,
            None => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_curve_is_the_smoothstep_of_the_encoded_value() {
        let curve = Curve::apply(1.0);
        for level in 0..=2000 {
            let x = level as f32 / 2000.0;
            let exact = x * x * (3.0 - 2.0 * x);
            let got = srgb_from_linear(curve.at(linear_from_srgb(x)));
            assert!((got - exact).abs() * 255.0 < 0.05, "{x}: {got} and {exact}");
        }
        // Worked by hand: 1/4 becomes 3/16 - 2/64 = 10/64.
        let quarter = curve.at(linear_from_srgb(0.25));
        assert!((srgb_from_linear(quarter) - 10.0 / 64.0).abs() < 1e-4);
    }

    #[test]
    fn undoing_inverts_every_share_within_a_quarter_of_a_level() {
        for share in [0.0, 1e-5, 0.1, 0.5, 0.9, 1.0] {
            let (undo, apply) = (Curve::undo(share), Curve::apply(share));
            let mut last = -1.0;
            for level in 0..=2000 {
                let x = level as f32 / 2000.0;
                let scene = undo.at(linear_from_srgb(x));
                assert!(scene >= last, "share {share} falls at {x}");
                last = scene;
                let off = 255.0 * (srgb_from_linear(apply.at(scene)) - x).abs();
                assert!(off < 0.25, "share {share} at {x}: {off} levels");
            }
        }
    }

    #[test]
    fn light_beyond_white_stays_and_no_light_is_black() {
        let curve = Curve::undo(1.0);
        assert_eq!(
            [curve.at(1.0), curve.at(7.5), curve.at(0.0)],
            [1.0, 7.5, 0.0]
        );
        assert_eq!([curve.at(-0.2), curve.at(f32::NAN)], [0.0, 0.0]);
    }
}
