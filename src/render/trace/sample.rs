//! Points of low discrepancy, and maps from the unit square to what is sampled.

use std::f32::consts::PI;

use glam::{Vec2, Vec4};

use super::lanes::{Vec3x4, sqrt};

/// Numbers kept for all sets of points together, about.
const TABLE_POINTS: usize = 1 << 19;

/// Mixes all bits of a number (Wellons 2018, "Prospecting for hash functions").
#[inline(always)]
pub(super) fn mixed(value: u32) -> u32 {
    let mut h = value;
    h = (h ^ (h >> 16)).wrapping_mul(0x7feb_352d);
    h = (h ^ (h >> 15)).wrapping_mul(0x846c_a68b);
    h ^ (h >> 16)
}

/// Owen's scrambling of the bits of a number, seeded by `seed` (Laine and Karras 2011,
/// "Stratified sampling for stochastic transparency"; constants of Burley 2020, "Practical
/// hash-based Owen scrambling", listing 2).
fn scrambled(value: u32, seed: u32) -> u32 {
    let mut x = value.reverse_bits().wrapping_add(seed);
    for factor in [0x6c50_b47c, 0xb82f_1e52, 0xc7af_e638, 0x8d22_f6e6_u32] {
        x ^= x.wrapping_mul(factor);
    }
    x.reverse_bits()
}

/// The second coordinate of Sobol's sequence; the first is the reversed index.
fn sobol(index: u32) -> u32 {
    let (mut direction, mut left, mut sum) = (1_u32 << 31, index, 0);
    while left > 0 {
        if left & 1 == 1 {
            sum ^= direction;
        }
        direction ^= direction >> 1;
        left >>= 1;
    }
    sum
}

/// Sets of `count` points in the unit square, each Sobol's with a scrambling and an order of
/// its own. A pixel draws one set for each pair of its dimensions and moves it by a digital
/// shift, which keeps it as even as it was.
#[derive(Debug)]
pub(super) struct Points {
    count: usize,
    /// One set after another; their number is a power of two.
    points: Vec<[u32; 2]>,
    sets: usize,
}

/// One pair of dimensions of one pixel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream<'a> {
    points: &'a [[u32; 2]],
    shift: [u32; 2],
}

impl Points {
    pub(super) fn new(count: usize) -> Self {
        let sets = (TABLE_POINTS / count.max(1))
            .clamp(8, 64)
            .next_power_of_two();
        let set = |number: u32| {
            let seed = mixed(number ^ 0x5bd1_e995);
            let mut points: Vec<[u32; 2]> = (0..count as u32)
                .map(|index| {
                    [
                        scrambled(index.reverse_bits(), seed),
                        scrambled(sobol(index), mixed(seed)),
                    ]
                })
                .collect();
            // Fisher and Yates's shuffle: sets are not in step with each other.
            for last in (1..points.len()).rev() {
                let other = mixed(seed ^ mixed(last as u32)) as usize % (last + 1);
                points.swap(last, other);
            }
            points
        };
        Points {
            count,
            points: (0..sets as u32).flat_map(set).collect(),
            sets,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The points of a pair of dimensions; `pixel` is a hash of the image's seed and the place.
    #[inline(always)]
    pub(super) fn stream(&self, pixel: u32, dimension: u32) -> Stream<'_> {
        let a = mixed(pixel ^ dimension.wrapping_mul(0x9e37_79b9));
        let b = mixed(a ^ 0x68bc_21eb);
        let set = (a >> 8) as usize & (self.sets - 1);
        Stream {
            points: &self.points[set * self.count..(set + 1) * self.count],
            shift: [a, b],
        }
    }
}

impl Stream<'_> {
    /// Point `index`, each coordinate in 0..1.
    #[inline(always)]
    pub(super) fn at(&self, index: usize) -> Vec2 {
        let [x, y] = self.points[index];
        let unit = |bits: u32| (bits >> 8) as f32 * (1.0 / 16_777_216.0);
        Vec2::new(unit(x ^ self.shift[0]), unit(y ^ self.shift[1]))
    }
}

/// Two unit vectors at right angles to each and to each other (Duff et al. 2017, "Building an
/// orthonormal basis, revisited").
#[inline(always)]
pub(super) fn across(normal: Vec3x4) -> [Vec3x4; 2] {
    let Vec3x4 { x, y, z } = normal;
    let sign = Vec4::select(z.cmplt(Vec4::ZERO), Vec4::NEG_ONE, Vec4::ONE);
    let a = -1.0 / (sign + z);
    let b = x * y * a;
    [
        Vec3x4::new(1.0 + sign * x * x * a, sign * b, -sign * x),
        Vec3x4::new(b, sign + y * y * a, -y),
    ]
}

/// Points of the disc of radius 1, even over its area (Shirley and Chiu 1997).
#[inline(always)]
pub(super) fn disc([u, v]: [Vec4; 2]) -> [Vec4; 2] {
    let (x, y) = (u * 2.0 - 1.0, v * 2.0 - 1.0);
    let is_wide = x.abs().cmpgt(y.abs());
    let radius = Vec4::select(is_wide, x, y);
    let other = Vec4::select(is_wide, y, x);
    // In the middle both are nothing, and so is the point.
    let share = other / Vec4::select(radius.cmpeq(Vec4::ZERO), Vec4::ONE, radius);
    let (sine, cosine) = small_sin_cos(share * (PI / 4.0));
    [
        Vec4::select(is_wide, cosine, sine) * radius,
        Vec4::select(is_wide, sine, cosine) * radius,
    ]
}

/// Sine and cosine of an angle within a quarter of pi, by their series, to 1e-6.
#[inline(always)]
fn small_sin_cos(angle: Vec4) -> (Vec4, Vec4) {
    let s = angle * angle;
    let sine = angle * (1.0 + s * (-1.0 / 6.0 + s * (1.0 / 120.0 - s * (1.0 / 5040.0))));
    let cosine = 1.0 + s * (-0.5 + s * (1.0 / 24.0 + s * (-1.0 / 720.0 + s * (1.0 / 40320.0))));
    (sine, cosine)
}

/// Directions about z with a density of their cosine over pi (Malley's method).
#[inline(always)]
pub(super) fn cosine_hemisphere(at: [Vec4; 2]) -> Vec3x4 {
    let [x, y] = disc(at);
    Vec3x4::new(x, y, sqrt((1.0 - x * x - y * y).max(Vec4::ZERO)))
}

/// Directions about z within a cone, even over its solid angle. `versine` is 1 less the cosine
/// of half the cone's angle.
#[inline(always)]
pub(super) fn cone(at: [Vec4; 2], versine: Vec4) -> Vec3x4 {
    let [x, y] = disc(at);
    // Equal areas of the disc are equal solid angles of the cone.
    let height = (x * x + y * y) * versine;
    let scale = sqrt((versine * (2.0 - height)).max(Vec4::ZERO));
    Vec3x4::new(x * scale, y * scale, 1.0 - height)
}

#[cfg(test)]
mod tests {
    use super::*;
    use glam::Vec3;

    #[test]
    fn points_are_even_over_the_square() {
        let points = Points::new(64);
        assert_eq!(points.count(), 64);
        for pixel in 0..20 {
            let stream = points.stream(mixed(pixel), 3);
            // A net in base two: each box of an area of 1/64 holds one point.
            for (columns, rows) in [(64, 1), (16, 4), (8, 8), (2, 32), (1, 64)] {
                let mut counts = vec![0; 64];
                for index in 0..64 {
                    let at = stream.at(index);
                    assert!(at.min_element() >= 0.0 && at.max_element() < 1.0);
                    let (x, y) = (
                        (at.x * columns as f32) as usize,
                        (at.y * rows as f32) as usize,
                    );
                    counts[y * columns + x] += 1;
                }
                assert!(
                    counts.iter().all(|count| *count == 1),
                    "{columns}x{rows}: {counts:?}"
                );
            }
        }
        assert_ne!(points.stream(1, 0).at(0), points.stream(1, 1).at(0));
        assert_ne!(points.stream(1, 0).at(0), points.stream(2, 0).at(0));
    }

    #[test]
    fn axes_are_at_right_angles() {
        for normal in [Vec3::Z, Vec3::NEG_Z, Vec3::new(0.6, -0.48, 0.64), Vec3::X] {
            let [a, b] = across(Vec3x4::splat(normal)).map(|axis| axis.lanes()[1]);
            let errors = [
                a.dot(b),
                a.dot(normal),
                b.dot(normal),
                a.length() - 1.0,
                b.length() - 1.0,
            ];
            assert!(errors.iter().all(|error| error.abs() < 1e-6), "{errors:?}");
            assert!(a.cross(b).dot(normal) > 0.99);
        }
    }

    /// Chi-square of counts against equal expectations.
    fn chi_square(counts: &[f64]) -> f64 {
        let expected = counts.iter().sum::<f64>() / counts.len() as f64;
        counts
            .iter()
            .map(|count| (count - expected).powi(2) / expected)
            .sum()
    }

    #[test]
    fn directions_follow_their_densities() {
        // Rings of equal probability, each in four sectors. Sobol's points are evener than random
        // ones, so that the usual bound (63 degrees of freedom at 0.1 %: 103) is wide.
        let sector = |at: Vec2| usize::from(at.x > 0.0) * 2 + usize::from(at.y > 0.0);
        let mut cosine = vec![0.0; 64];
        let mut cap = vec![0.0; 64];
        let points = Points::new(65_536);
        let stream = points.stream(3, 0);
        for index in 0..points.count() {
            let at = stream.at(index);
            let at = [Vec4::splat(at.x), Vec4::splat(at.y)];
            let direction = cosine_hemisphere(at).lanes()[3];
            assert!((direction.length() - 1.0).abs() < 1e-5);
            let ring = (direction.truncate().length_squared() * 16.0).min(15.0) as usize;
            cosine[ring * 4 + sector(direction.truncate())] += 1.0;
            let direction = cone(at, Vec4::splat(0.3)).lanes()[0];
            assert!((direction.length() - 1.0).abs() < 1e-5 && direction.z >= 0.7 - 1e-5);
            let ring = ((1.0 - direction.z) / 0.3 * 16.0).min(15.0) as usize;
            cap[ring * 4 + sector(direction.truncate())] += 1.0;
        }
        for counts in [cosine, cap] {
            assert!(chi_square(&counts) < 103.0, "{}", chi_square(&counts));
        }
    }
}
