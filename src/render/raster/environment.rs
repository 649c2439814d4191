//! The environment as the shaders read it: a map for reflections, a polynomial for the rest.

use glam::{Vec2, Vec3};
use half::f16;

use crate::scene::{Environment, SceneInstance};

/// Texels along a side of the map's finest level; each further level has half.
pub(super) const SIDE: u32 = 64;

/// Levels of the map, from a mirror's to a matt surface's.
pub(super) const LEVELS: u32 = 6;

/// Share of the ground that objects leave in light, roughly.
const GROUND_IN_LIGHT: f32 = 0.8;

/// The environment of one scene above its ground.
#[derive(Debug)]
pub(in crate::render) struct Surroundings {
    environment: Environment,
    /// Radiance of the ground.
    ground: Vec3,
}

impl Surroundings {
    pub(in crate::render) fn new(scene: &SceneInstance) -> Self {
        let mut surroundings = Surroundings {
            environment: scene.environment,
            ground: Vec3::ZERO,
        };
        let sky = evaluated(&surroundings.irradiance(), Vec3::Z);
        let lights: Vec3 = scene
            .lights
            .iter()
            .map(|light| {
                let (arriving, towards) = light.arriving(Vec3::ZERO);
                arriving * towards.z.max(0.0)
            })
            .sum();
        surroundings.ground =
            Vec3::from(scene.ground.linear_rgb) * (sky + lights) * GROUND_IN_LIGHT;
        surroundings
    }

    /// Radiance from a unit direction over the lobe of a mirror of this roughness.
    pub(in crate::render) fn radiance(&self, direction: Vec3, roughness: f32) -> Vec3 {
        let edge = 0.02 + 0.5 * roughness;
        let t = ((direction.z + edge) / (2.0 * edge)).clamp(0.0, 1.0);
        self.ground
            .lerp(self.environment.radiance(direction, roughness), t)
    }

    /// Texels of each level in rows, as half floats, four a texel. A level's outer texels lie
    /// on the edges of the octahedron's square.
    pub(super) fn map(&self) -> Vec<Vec<[f16; 4]>> {
        (0..LEVELS)
            .map(|level| {
                let side = SIDE >> level;
                let roughness = level as f32 / (LEVELS - 1) as f32;
                let texel = |index: u32| {
                    let at = Vec2::new((index % side) as f32, (index / side) as f32);
                    let direction = from_square(at / (side - 1) as f32 * 2.0 - 1.0);
                    let rgb = self.radiance(direction, roughness).extend(1.0);
                    // The largest half float.
                    rgb.min(glam::Vec4::splat(65_504.0))
                        .to_array()
                        .map(f16::from_f32)
                };
                (0..side * side).map(texel).collect()
            })
            .collect()
    }

    /// Radiance of a white diffuse surface as spherical harmonics of its normal, in the order
    /// and scale of the shaders (Ramamoorthi and Hanrahan 2001).
    pub(super) fn irradiance(&self) -> [Vec3; 9] {
        const DIRECTIONS: u32 = 512;
        let mut sums = [Vec3::ZERO; 9];
        for index in 0..DIRECTIONS {
            // Even over the sphere: a spiral of equal areas.
            let z = 1.0 - (2 * index + 1) as f32 / DIRECTIONS as f32;
            let around = Vec2::from_angle(2.399_963_2 * index as f32) * (1.0 - z * z).sqrt();
            let direction = around.extend(z);
            let radiance = self.radiance(direction, 0.0);
            for (sum, term) in sums.iter_mut().zip(terms(direction)) {
                *sum += radiance * term;
            }
        }
        // Squares of the harmonics' norms times the cosine's coefficients over pi, and the
        // area of the sphere over the number of directions.
        let area = 4.0 * std::f32::consts::PI / DIRECTIONS as f32;
        let bands = [
            0.079_577_47,
            0.238_732_41 * 2.0 / 3.0,
            1.092_548_4_f32.powi(2) / 4.0,
            0.315_391_57_f32.powi(2) / 4.0,
            0.546_274_2_f32.powi(2) / 4.0,
        ];
        let band = [0, 1, 1, 1, 2, 2, 3, 2, 4];
        std::array::from_fn(|term| sums[term] * area * bands[band[term]])
    }
}

/// The polynomials of the nine harmonics.
fn terms(n: Vec3) -> [f32; 9] {
    [
        1.0,
        n.y,
        n.z,
        n.x,
        n.x * n.y,
        n.y * n.z,
        3.0 * n.z * n.z - 1.0,
        n.x * n.z,
        n.x * n.x - n.y * n.y,
    ]
}

fn evaluated(harmonics: &[Vec3; 9], normal: Vec3) -> Vec3 {
    let sum: Vec3 = harmonics
        .iter()
        .zip(terms(normal))
        .map(|(c, t)| *c * t)
        .sum();
    sum.max(Vec3::ZERO)
}

/// The direction at a point of the octahedron's square -1..1.
pub(in crate::render) fn from_square(at: Vec2) -> Vec3 {
    let up = 1.0 - at.x.abs() - at.y.abs();
    let below = (-up).max(0.0);
    Vec3::new(at.x - below.copysign(at.x), at.y - below.copysign(at.y), up).normalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn even(level: f32, ground: f32) -> Surroundings {
        Surroundings {
            environment: Environment::Uniform {
                level,
                kelvin: 6600.0,
            },
            ground: Vec3::splat(ground),
        }
    }

    #[test]
    fn even_light_is_even_on_all_sides() {
        let harmonics = even(0.7, 0.7).irradiance();
        for normal in [Vec3::X, Vec3::Z, Vec3::new(0.6, 0.0, -0.8)] {
            let seen = evaluated(&harmonics, normal);
            assert!((seen - 0.7).abs().max_element() < 2e-3, "{seen}");
        }
    }

    #[test]
    fn a_bright_sky_lights_what_faces_it() {
        let harmonics = even(1.0, 0.0).irradiance();
        // Half the sky is seen from the side: exactly one half.
        for (normal, expected) in [(Vec3::Z, 1.0), (Vec3::X, 0.5), (Vec3::NEG_Z, 0.0)] {
            let seen = evaluated(&harmonics, normal).x;
            assert!((seen - expected).abs() < 0.05, "{seen} for {expected}");
        }
    }

    #[test]
    fn seams_of_the_map_agree() {
        let map = even(1.0, 0.2).map();
        for (level, texels) in map.iter().enumerate() {
            let side = (SIDE >> level) as usize;
            assert_eq!(texels.len(), side * side);
            for index in 0..side {
                // Folding maps each edge onto itself, mirrored.
                assert_eq!(texels[index], texels[side - 1 - index]);
            }
        }
    }
}
