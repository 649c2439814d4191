//! Smooth noise in space, as the shaders draw it.

use glam::{IVec3, Vec3};

/// A number in 0..1 for a cell of the grid.
fn hash(cell: IVec3) -> f32 {
    let mut h = (cell.x as u32).wrapping_mul(0x9e37_79b1)
        ^ (cell.y as u32).wrapping_mul(0x85eb_ca77)
        ^ (cell.z as u32).wrapping_mul(0xc2b2_ae3d);
    h = (h ^ (h >> 15)).wrapping_mul(0x2c1b_3c6d);
    h = (h ^ (h >> 12)).wrapping_mul(0x297a_2d39);
    ((h ^ (h >> 15)) >> 8) as f32 / 16_777_216.0
}

/// Value noise in 0..1 with a mean of one half: a random number at each point with whole
/// coordinates, smoothed between them.
pub fn value_noise(at: Vec3) -> f32 {
    let floor = at.floor();
    let cell = floor.as_ivec3();
    let t = at - floor;
    let s = t * t * (3.0 - 2.0 * t);
    let mut sum = 0.0;
    for corner in 0..8 {
        let offset = IVec3::new(corner & 1, (corner >> 1) & 1, corner >> 2);
        let weight = Vec3::select(offset.cmpeq(IVec3::ONE), s, 1.0 - s);
        sum += hash(cell.wrapping_add(offset)) * weight.element_product();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_smooth_and_centred() {
        let (mut sum, count) = (0.0, 4000);
        for index in 0..count {
            let at = Vec3::new(0.37, 0.61, -0.83) * index as f32;
            let value = value_noise(at);
            assert!((0.0..=1.0).contains(&value));
            assert!((value_noise(at + 1e-3) - value).abs() < 0.01);
            sum += value;
        }
        assert!((sum / count as f32 - 0.5).abs() < 0.02, "{sum}");
        // Numbers that the shaders give too.
        assert_eq!(
            value_noise(Vec3::new(3.0, -2.0, 7.0)),
            hash(IVec3::new(3, -2, 7))
        );
    }
}
