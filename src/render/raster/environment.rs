//! The environment as the shaders read it: a map for reflections, a polynomial for the rest.

use glam::{Vec2, Vec3};
use half::f16;

use super::octahedral::{Lobe, Splats, directions};
use crate::scene::{Cell, Environment, SceneInstance};

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
    /// All directions in small parts, where radiances have to be averaged.
    cells: Option<Vec<Cell>>,
    /// Radiance of the ground.
    ground: Vec3,
    /// The same where no object is near.
    open_ground: Vec3,
}

impl Surroundings {
    /// `ground_seen` is the mean radiance of the ground where a picture covers it.
    pub(in crate::render) fn new(scene: &SceneInstance, ground_seen: Option<Vec3>) -> Self {
        let mut surroundings = Surroundings {
            environment: scene.environment.clone(),
            cells: scene.environment.cells(),
            ground: Vec3::ZERO,
            open_ground: Vec3::ZERO,
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
        let lit = Vec3::from(scene.ground.mean_linear_rgb()) * (sky + lights);
        surroundings.open_ground = ground_seen.unwrap_or(lit);
        surroundings.ground = surroundings.open_ground * GROUND_IN_LIGHT;
        surroundings
    }

    /// Radiance from a unit direction over the lobe of a mirror of this roughness.
    pub(in crate::render) fn radiance(&self, direction: Vec3, roughness: f32) -> Vec3 {
        let above = self.environment.radiance(direction, roughness);
        let edge = 0.02 + 0.5 * roughness;
        self.ground.lerp(above, share_above(direction, edge))
    }

    /// Radiance from a unit direction where this is seen without a ground.
    fn above_ground(&self, direction: Vec3, above: Vec3) -> Vec3 {
        self.ground.lerp(above, share_above(direction, 0.02))
    }

    /// What is seen past the ground's edge, which may be averaged over this angle.
    pub(in crate::render) fn beyond(&self, direction: Vec3, angle_rad: f32) -> Vec3 {
        let seen = self.environment.radiance_within(direction, angle_rad);
        if self.environment.shows_below() {
            seen
        } else {
            // Haze hides less of the horizon than the map's texels can show.
            self.open_ground.lerp(seen, share_above(direction, 0.004))
        }
    }

    /// Texels of each level in rows, as half floats, four a texel. A level's outer texels lie
    /// on the edges of the octahedron's square.
    pub(super) fn map(&self) -> Vec<Vec<[f16; 4]>> {
        let radiances = match &self.cells {
            Some(cells) => self.averaged(cells),
            None => (0..LEVELS)
                .map(|level| {
                    let roughness = roughness_of(level);
                    let texels = directions(SIDE >> level);
                    let radiances = texels.map(|direction| self.radiance(direction, roughness));
                    radiances.collect()
                })
                .collect(),
        };
        let stored = |radiance: &Vec3| {
            let rgb = radiance.extend(1.0);
            // The largest half float.
            rgb.min(glam::Vec4::splat(65_504.0))
                .to_array()
                .map(f16::from_f32)
        };
        let levels = radiances.iter();
        levels
            .map(|level: &Vec<Vec3>| level.iter().map(stored).collect())
            .collect()
    }

    /// The levels of the map from the light of small parts.
    fn averaged(&self, cells: &[Cell]) -> Vec<Vec<Vec3>> {
        let mut finest = Splats::new(SIDE as usize);
        for cell in cells {
            let seen = self.above_ground(cell.direction, cell.radiance);
            finest.add(cell.direction, seen, cell.solid_angle);
        }
        finest.join_seams();
        let light = finest.lights();
        let coarser = (1..LEVELS).map(|level| {
            let lobe = Lobe::new(roughness_of(level));
            let texels = directions(SIDE >> level);
            texels
                .map(|direction| lobe.mean(direction, &light))
                .collect()
        });
        std::iter::once(finest.means()).chain(coarser).collect()
    }

    /// Radiance of a white diffuse surface as spherical harmonics of its normal, in the order
    /// and scale of the shaders (Ramamoorthi and Hanrahan 2001).
    pub(super) fn irradiance(&self) -> [Vec3; 9] {
        const DIRECTIONS: u32 = 512;
        let mut sums = [Vec3::ZERO; 9];
        let mut add = |direction: Vec3, light: Vec3| {
            for (sum, term) in sums.iter_mut().zip(terms(direction)) {
                *sum += light * term;
            }
        };
        // The area of the sphere over the number of directions, or each its own.
        let area = match &self.cells {
            Some(cells) => {
                for cell in cells {
                    let seen = self.above_ground(cell.direction, cell.radiance);
                    add(cell.direction, seen * cell.solid_angle);
                }
                1.0
            }
            None => {
                for index in 0..DIRECTIONS {
                    // Even over the sphere: a spiral of equal areas.
                    let z = 1.0 - (2 * index + 1) as f32 / DIRECTIONS as f32;
                    let around =
                        Vec2::from_angle(2.399_963_2 * index as f32) * (1.0 - z * z).sqrt();
                    let direction = around.extend(z);
                    add(direction, self.radiance(direction, 0.0));
                }
                4.0 * std::f32::consts::PI / DIRECTIONS as f32
            }
        };
        // Squares of the harmonics' norms times the cosine's coefficients over pi.
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

/// How much of what is seen in a direction lies above the horizon, whose edge is this soft.
fn share_above(direction: Vec3, edge: f32) -> f32 {
    ((direction.z + edge) / (2.0 * edge)).clamp(0.0, 1.0)
}

/// Roughness of the mirrors that a level is for.
fn roughness_of(level: u32) -> f32 {
    level as f32 / (LEVELS - 1) as f32
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

#[cfg(test)]
mod tests {
    use super::*;

    fn even(level: f32, ground: f32) -> Surroundings {
        Surroundings {
            environment: Environment::Uniform {
                level,
                kelvin: 6600.0,
            },
            cells: None,
            ground: Vec3::splat(ground),
            open_ground: Vec3::splat(ground),
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

    /// The same light as small parts.
    fn in_cells(level: f32, ground: f32) -> Surroundings {
        let cells = Environment::Gradient {
            zenith_linear_rgb: Vec3::splat(level),
            horizon_linear_rgb: Vec3::splat(level),
        }
        .cells();
        Surroundings {
            cells,
            ..even(level, ground)
        }
    }

    #[test]
    fn light_in_small_parts_is_as_light_that_is_averaged() {
        let harmonics = in_cells(0.7, 0.7).irradiance();
        for normal in [Vec3::X, Vec3::Z, Vec3::new(0.6, 0.0, -0.8)] {
            let seen = evaluated(&harmonics, normal);
            assert!((seen - 0.7).abs().max_element() < 2e-3, "{seen}");
        }
        for (level, texels) in in_cells(0.7, 0.7).map().iter().enumerate() {
            for texel in texels {
                assert!((texel[0].to_f32() - 0.7).abs() < 2e-3, "{level}");
            }
        }
        // Above and below, a mirror sees either, and a matt surface mostly that.
        let half = in_cells(1.0, 0.0).map();
        let at = |level: usize, direction: Vec3| {
            let nearest = directions(SIDE >> level)
                .enumerate()
                .max_by(|(_, a), (_, b)| {
                    let [a, b] = [a, b].map(|texel| texel.dot(direction));
                    a.total_cmp(&b)
                });
            half[level][nearest.unwrap().0][0].to_f32()
        };
        for level in 0..LEVELS as usize - 1 {
            let (up, down) = (at(level, Vec3::Z), at(level, Vec3::NEG_Z));
            assert!(up > 0.8 && down < 0.2, "{level}: {up} {down}");
        }
    }
}
