//! Four numbers, vectors or colours at a time.

use std::ops::{Add, AddAssign, Mul, Neg, Sub};

use glam::{BVec4A, Vec3, Vec4};

/// Rays that are shaded together.
pub(super) const WIDTH: usize = 4;

/// Four vectors or colours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Vec3x4 {
    pub x: Vec4,
    pub y: Vec4,
    pub z: Vec4,
}

impl Vec3x4 {
    #[inline(always)]
    pub(super) fn new(x: Vec4, y: Vec4, z: Vec4) -> Self {
        Vec3x4 { x, y, z }
    }

    #[inline(always)]
    pub(super) fn splat(v: Vec3) -> Self {
        Vec3x4::new(Vec4::splat(v.x), Vec4::splat(v.y), Vec4::splat(v.z))
    }

    #[inline(always)]
    pub(super) fn from_lanes(lanes: [Vec3; WIDTH]) -> Self {
        Vec3x4::new(
            Vec4::from(lanes.map(|v| v.x)),
            Vec4::from(lanes.map(|v| v.y)),
            Vec4::from(lanes.map(|v| v.z)),
        )
    }

    #[inline(always)]
    pub(super) fn lanes(self) -> [Vec3; WIDTH] {
        let (x, y, z) = (self.x.to_array(), self.y.to_array(), self.z.to_array());
        [0, 1, 2, 3].map(|lane| Vec3::new(x[lane], y[lane], z[lane]))
    }

    #[inline(always)]
    pub(super) fn dot(self, other: Self) -> Vec4 {
        self.x * other.x + self.y * other.y + self.z * other.z
    }

    #[inline(always)]
    pub(super) fn normalized(self) -> Self {
        self * (1.0 / sqrt(self.dot(self).max(Vec4::splat(1e-30))))
    }

    /// Channel by channel.
    #[inline(always)]
    pub(super) fn times(self, other: Self) -> Self {
        Vec3x4::new(self.x * other.x, self.y * other.y, self.z * other.z)
    }

    #[inline(always)]
    pub(super) fn lerp(self, other: Self, share: Vec4) -> Self {
        self + (other - self) * share
    }

    #[inline(always)]
    pub(super) fn map(self, of: impl Fn(Vec4) -> Vec4) -> Self {
        Vec3x4::new(of(self.x), of(self.y), of(self.z))
    }

    #[inline(always)]
    pub(super) fn sum(self) -> Vec4 {
        self.x + self.y + self.z
    }

    #[inline(always)]
    pub(super) fn select(mask: BVec4A, yes: Self, no: Self) -> Self {
        Vec3x4::new(
            Vec4::select(mask, yes.x, no.x),
            Vec4::select(mask, yes.y, no.y),
            Vec4::select(mask, yes.z, no.z),
        )
    }
}

impl Add for Vec3x4 {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Vec3x4::new(self.x + other.x, self.y + other.y, self.z + other.z)
    }
}

impl AddAssign for Vec3x4 {
    #[inline(always)]
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Vec3x4 {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Vec3x4::new(self.x - other.x, self.y - other.y, self.z - other.z)
    }
}

impl Neg for Vec3x4 {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Vec3x4::new(-self.x, -self.y, -self.z)
    }
}

impl Mul<Vec4> for Vec3x4 {
    type Output = Self;
    #[inline(always)]
    fn mul(self, factor: Vec4) -> Self {
        Vec3x4::new(self.x * factor, self.y * factor, self.z * factor)
    }
}

#[inline(always)]
pub(super) fn sqrt(v: Vec4) -> Vec4 {
    Vec4::from(v.to_array().map(f32::sqrt))
}

/// 2 to a power of -16 to 0, to 1e-5, by the series of its sixteenth part.
#[inline(always)]
pub(super) fn exp2_of_negative(power: Vec4) -> Vec4 {
    let y = power * (std::f32::consts::LN_2 / 16.0);
    let mut sum = Vec4::splat(1.0 / 5040.0);
    for factor in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        sum = sum * y + factor;
    }
    let squared = sum * sum;
    let fourth = squared * squared;
    let eighth = fourth * fourth;
    eighth * eighth
}

/// Sine and cosine of a turn times a number of 0 to 1, to 1e-5.
#[inline(always)]
pub(super) fn sin_cos_of_turn(turn: Vec4) -> (Vec4, Vec4) {
    // Half a turn off, both only change their signs.
    let t = turn - 0.5;
    let size = t.abs();
    let folded = Vec4::select(size.cmpgt(Vec4::splat(0.25)), 0.5 - size, size);
    let sine = quarter_sine(folded);
    let sine = Vec4::select(t.cmplt(Vec4::ZERO), sine, -sine);
    (sine, -quarter_sine(0.25 - size))
}

/// Sine of a turn times a number within a quarter.
#[inline(always)]
fn quarter_sine(turn: Vec4) -> Vec4 {
    let x = turn * (2.0 * std::f32::consts::PI);
    let s = x * x;
    let series = s * (1.0 / 362_880.0) - 1.0 / 5040.0;
    let series = s * series + 1.0 / 120.0;
    let series = s * series - 1.0 / 6.0;
    x * (s * series + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_near_those_of_the_library() {
        for step in 0..=400 {
            let unit = step as f32 / 400.0;
            let (sine, cosine) = sin_cos_of_turn(Vec4::splat(unit));
            let angle = unit * 2.0 * std::f32::consts::PI;
            assert!((sine.x - angle.sin()).abs() < 1e-5, "{unit}: {sine}");
            assert!((cosine.y - angle.cos()).abs() < 1e-5, "{unit}: {cosine}");
            let power = -16.0 * unit;
            let found = exp2_of_negative(Vec4::splat(power)).z;
            assert!(
                (found / power.exp2() - 1.0).abs() < 1e-4,
                "{power}: {found}"
            );
        }
    }

    #[test]
    fn lanes_come_back_as_they_were_put_in() {
        let lanes = [Vec3::X, Vec3::new(1.0, 2.0, 3.0), Vec3::ZERO, Vec3::NEG_Z];
        let packed = Vec3x4::from_lanes(lanes);
        assert_eq!(packed.lanes(), lanes);
        assert_eq!(packed.dot(packed), Vec4::new(1.0, 14.0, 0.0, 1.0));
        assert_eq!(packed.normalized().lanes()[3], Vec3::NEG_Z);
    }
}
