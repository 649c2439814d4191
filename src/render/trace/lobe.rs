//! How a surface scatters light: a diffuse lobe, a GGX lobe, and lacquer over both.

use std::f32::consts::{FRAC_1_PI, PI};

use glam::{Vec2, Vec3};

use super::sample::{across, cosine_hemisphere};

/// Reflection of lacquer, plastic or glass at a right angle, as in `shade.wgsl`.
pub(super) const LACQUER_F0: f32 = 0.04;

/// The least cosine between a normal and the view, as in `shade.wgsl`.
const LEAST_COSINE: f32 = 1e-3;

/// What a point of a surface is like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Surface {
    pub albedo: Vec3,
    /// Of the shading; towards the viewer.
    pub normal: Vec3,
    pub roughness: f32,
    pub gloss: f32,
    pub metallic: f32,
    /// Share under lacquer, and the lacquer's roughness.
    pub coat: f32,
    pub coat_roughness: f32,
    pub emission: Vec3,
}

/// The specular albedo of a rough dielectric or metal for even light, the rasteriser's fit
/// (Karis 2013, "Physically based shading on mobile").
#[inline(always)]
pub(super) fn specular_albedo(f0: Vec3, roughness: f32, view_cosine: f32) -> Vec3 {
    let x = 1.0 - roughness;
    let y = 0.0425 - 0.0275 * roughness;
    let a = (x * x).min((-9.28 * view_cosine).exp2()) * x + y;
    let scale = -1.04 * a + (1.04 - 0.572 * roughness);
    let offset = 1.04 * a + (0.022 * roughness - 0.04);
    (f0 * scale + offset * (f0 * 25.0).min(Vec3::ONE)).clamp(Vec3::ZERO, Vec3::ONE)
}

/// GGX's distribution over a roughness squared, `alpha`; directions are about the normal, z.
#[derive(Debug, Clone, Copy)]
struct Mirror {
    f0: Vec3,
    f90: Vec3,
    alpha_squared: f32,
    alpha: f32,
}

impl Mirror {
    #[inline(always)]
    fn new(f0: Vec3, roughness: f32) -> Self {
        let alpha = (roughness * roughness).max(0.002);
        Mirror {
            f0,
            f90: (f0 * 25.0).min(Vec3::ONE),
            alpha_squared: alpha * alpha,
            alpha,
        }
    }

    /// The denominator's root of Smith's shadowing of a direction with this cosine.
    #[inline(always)]
    fn root(&self, cosine: f32) -> f32 {
        (self.alpha_squared + (1.0 - self.alpha_squared) * cosine * cosine).sqrt()
    }

    /// Reflectance times the cosine of the light, and the density of `sampled`. Smith's
    /// height-correlated shadowing (Heitz 2014, equation 99) and Schlick's Fresnel.
    #[inline(always)]
    fn evaluated(&self, view: Vec3, light: Vec3, half: Vec3) -> (Vec3, f32) {
        let flat = half.x * half.x + half.y * half.y;
        let d = flat + self.alpha_squared * half.z * half.z;
        let distribution = self.alpha_squared / (PI * d * d);
        let (view_root, light_root) = (self.root(view.z), self.root(light.z));
        let visibility = 0.5 / (light.z * view_root + view.z * light_root);
        let m = (1.0 - view.dot(half)).max(0.0);
        let m2 = m * m;
        let fresnel = self.f0 + (self.f90 - self.f0) * (m2 * m2 * m);
        // Of visible normals, over the Jacobian of reflection (Heitz 2018, equation 17).
        let density = 0.5 * distribution / (view.z + view_root);
        (fresnel * (distribution * visibility * light.z), density)
    }

    /// A direction towards light, by the normals that are seen from `view` (Dupuy and Benyoub
    /// 2023, "Sampling visible GGX normals with spherical caps").
    #[inline(always)]
    fn sampled(&self, view: Vec3, at: Vec2) -> Vec3 {
        let stretched = (view * Vec3::new(self.alpha, self.alpha, 1.0)).normalize();
        let height = (1.0 - at.y) * (1.0 + stretched.z) - stretched.z;
        let around = Vec2::from_angle(2.0 * PI * at.x) * (1.0 - height * height).max(0.0).sqrt();
        let cap = around.extend(height) + stretched;
        let half = (cap * Vec3::new(self.alpha, self.alpha, 1.0)).normalize();
        2.0 * view.dot(half) * half - view
    }
}

/// A surface seen from one direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lobes {
    axes: [Vec3; 3],
    view: Vec3,
    /// Diffuse albedo, of what is not mirrored.
    diffuse: Vec3,
    mirror: Mirror,
    lacquer: Mirror,
    /// Share under lacquer.
    coat: f32,
    /// What lacquer lets through of the light below it.
    kept: f32,
    /// Probabilities of the mirror and of the lacquer; the rest is diffuse.
    chances: [f32; 2],
    /// Share of even light that is sent back, by which pictures are smoothed.
    pub reflected: Vec3,
}

impl Lobes {
    /// `view` is the unit vector towards the viewer.
    #[inline(always)]
    pub(super) fn new(surface: &Surface, view: Vec3) -> Self {
        let mut normal = surface.normal;
        let cosine = normal.dot(view);
        if cosine < LEAST_COSINE {
            // As far as it must be for the viewer to see this side.
            normal = (normal + view * (2.0 * LEAST_COSINE - cosine)).normalize();
        }
        let [x, y] = across(normal);
        let view = Vec3::new(view.dot(x), view.dot(y), view.dot(normal).max(LEAST_COSINE));
        let gloss = Vec3::splat(LACQUER_F0 * surface.gloss);
        let f0 = gloss.lerp(surface.albedo, surface.metallic);
        let mirrored = specular_albedo(f0, surface.roughness, view.z);
        let diffuse = surface.albedo * (1.0 - surface.metallic) * (1.0 - mirrored);
        let coat_mirrored = if surface.coat > 0.0 {
            specular_albedo(Vec3::splat(LACQUER_F0), surface.coat_roughness, view.z).x
        } else {
            0.0
        };
        let under = surface.coat * coat_mirrored;
        let kept = 1.0 - under;
        let weights = [
            kept * diffuse.element_sum(),
            kept * mirrored.element_sum(),
            3.0 * under,
        ];
        let sum: f32 = weights.iter().sum();
        let chances = if sum > 1e-6 { [weights[1] / sum, weights[2] / sum] } else { [0.0; 2] };
        Lobes {
            axes: [x, y, normal],
            view,
            diffuse,
            mirror: Mirror::new(f0, surface.roughness),
            lacquer: Mirror::new(Vec3::splat(LACQUER_F0), surface.coat_roughness),
            coat: surface.coat,
            kept,
            chances,
            reflected: kept * (diffuse + mirrored) + under,
        }
    }

    #[inline(always)]
    fn local(&self, direction: Vec3) -> Vec3 {
        Vec3::from(self.axes.map(|axis| direction.dot(axis)))
    }

    /// Reflectance times the cosine of the light, and the density with which `sampled` takes
    /// the direction.
    #[inline(always)]
    pub(super) fn evaluated(&self, light: Vec3) -> (Vec3, f32) {
        self.evaluated_local(self.local(light))
    }

    #[inline(always)]
    fn evaluated_local(&self, light: Vec3) -> (Vec3, f32) {
        if light.z <= 0.0 {
            return (Vec3::ZERO, 0.0);
        }
        let half = (self.view + light).normalize();
        let (mirrored, density) = self.mirror.evaluated(self.view, light, half);
        let even = light.z * FRAC_1_PI;
        let [mirror_chance, coat_chance] = self.chances;
        let mut sum = (self.diffuse * even + mirrored) * self.kept;
        let mut total =
            (1.0 - mirror_chance - coat_chance) * even + mirror_chance * density;
        if self.coat > 0.0 {
            let (mirrored, density) = self.lacquer.evaluated(self.view, light, half);
            sum += self.coat * mirrored;
            total += coat_chance * density;
        }
        (sum, total)
    }

    /// A direction towards light with its reflectance times the cosine over the density, and
    /// the density; `None` where it lies below the surface. `choice` is in 0..1.
    #[inline(always)]
    pub(super) fn sampled(&self, choice: f32, at: Vec2) -> Option<(Vec3, Vec3, f32)> {
        let [mirror_chance, coat_chance] = self.chances;
        let light = if choice < mirror_chance {
            self.mirror.sampled(self.view, at)
        } else if choice < mirror_chance + coat_chance {
            self.lacquer.sampled(self.view, at)
        } else {
            cosine_hemisphere(at)
        };
        let (reflectance, density) = self.evaluated_local(light);
        let [x, y, normal] = self.axes;
        (density > 0.0)
            .then(|| (x * light.x + y * light.y + normal * light.z, reflectance / density, density))
    }

    /// How much of light from all sides is sent back, by the lobes themselves.
    #[cfg(test)]
    fn albedo(&self, side: u32) -> Vec3 {
        let mut sum = Vec3::ZERO;
        for index in 0..side * side {
            let unit = |step: u32| (step as f32 + 0.5) / side as f32;
            let at = Vec2::new(unit(index % side), unit(index / side));
            let choice = super::sample::mixed(index) as f32 / 4_294_967_296.0;
            sum += self.sampled(choice, at).map_or(Vec3::ZERO, |(_, weight, _)| weight);
        }
        sum / (side * side) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surface() -> Surface {
        Surface {
            albedo: Vec3::ONE,
            normal: Vec3::Z,
            roughness: 0.5,
            gloss: 1.0,
            metallic: 0.0,
            coat: 0.0,
            coat_roughness: 0.2,
            emission: Vec3::ZERO,
        }
    }

    fn view(cosine: f32) -> Vec3 {
        Vec3::new((1.0 - cosine * cosine).sqrt(), 0.0, cosine)
    }

    fn cases() -> Vec<(Lobes, &'static str)> {
        let mut cases = Vec::new();
        for cosine in [0.95, 0.5, 0.15] {
            for (roughness, metallic, coat, name) in [
                (0.3, 0.0, 0.0, "plastic"),
                (0.8, 0.0, 0.0, "matt"),
                (0.4, 1.0, 0.0, "metal"),
                (0.9, 0.5, 0.7, "lacquer"),
            ] {
                let surface = Surface {
                    roughness,
                    metallic,
                    coat,
                    coat_roughness: 0.35,
                    ..surface()
                };
                cases.push((Lobes::new(&surface, view(cosine)), name));
            }
        }
        cases
    }

    /// The middles of cells of equal solid angle over the upper half.
    fn hemisphere(rings: usize, sectors: usize) -> impl Iterator<Item = Vec3> {
        (0..rings * sectors).map(move |index| {
            let z = ((index / sectors) as f32 + 0.5) / rings as f32;
            let turn = ((index % sectors) as f32 + 0.5) / sectors as f32 * 2.0 * PI;
            (Vec2::from_angle(turn) * (1.0 - z * z).sqrt()).extend(z)
        })
    }

    #[test]
    fn sampled_directions_follow_the_density() {
        const RINGS: usize = 6;
        const SECTORS: usize = 8;
        let cell = |direction: Vec3| {
            let turn = direction.y.atan2(direction.x) / (2.0 * PI) + 0.5;
            let ring = (direction.z * RINGS as f32).min(RINGS as f32 - 1.0) as usize;
            ring * SECTORS + (turn * SECTORS as f32).min(SECTORS as f32 - 1.0) as usize
        };
        for (lobes, name) in cases() {
            let mut expected = [0.0_f64; RINGS * SECTORS];
            let (rings, sectors) = (600, 800);
            for direction in hemisphere(rings, sectors) {
                let (_, density) = lobes.evaluated_local(direction);
                let area = 2.0 * std::f64::consts::PI / (rings * sectors) as f64;
                expected[cell(direction)] += f64::from(density) * area;
            }
            let mut counts = [0.0_f64; RINGS * SECTORS];
            let points = super::super::sample::Points::new(65_536);
            let (pick, stream) = (points.stream(5, 0), points.stream(5, 1));
            for index in 0..points.count() {
                let sampled = lobes.sampled(pick.at(index).x, stream.at(index));
                if let Some((direction, _, density)) = sampled {
                    let again = lobes.evaluated(direction).1;
                    assert!((again / density - 1.0).abs() < 1e-2, "{again} for {density}");
                    counts[cell(lobes.local(direction))] += 1.0;
                }
            }
            let draws = points.count() as f64;
            let chi_square: f64 = counts
                .iter()
                .zip(&expected)
                .map(|(count, share)| (count - share * draws).powi(2) / (share * draws).max(5.0))
                .sum();
            // 48 cells: the 0.1 % point of chi-square is 84; the integral's own error is added.
            assert!(chi_square < 90.0, "{name}: {chi_square}");
        }
    }

    #[test]
    fn what_is_sampled_is_what_is_evaluated() {
        // The albedo by sampling and by integrating over the hemisphere.
        for (lobes, name) in cases() {
            let (rings, sectors) = (500, 700);
            let area = 2.0 * PI / (rings * sectors) as f32;
            let integrated: Vec3 =
                hemisphere(rings, sectors).map(|light| lobes.evaluated_local(light).0 * area).sum();
            let sampled = lobes.albedo(256);
            assert!(
                (integrated - sampled).abs().max_element() < 0.015,
                "{name}: {integrated} and {sampled}"
            );
        }
    }

    #[test]
    fn no_energy_is_gained_and_little_is_lost() {
        for step in 1..=10 {
            let roughness = step as f32 / 10.0;
            for cosine in [0.2, 0.5, 0.9] {
                for (metallic, most_lost) in [(0.0, 0.06), (1.0, 0.62 * roughness * roughness)] {
                    let surface = Surface {
                        roughness,
                        metallic,
                        ..surface()
                    };
                    let white = Lobes::new(&surface, view(cosine)).albedo(128).x;
                    // One reflection between facets: rough metal loses what is reflected twice.
                    assert!(
                        white < 1.03 && white > 1.0 - most_lost - 0.02,
                        "{white} at roughness {roughness}, cosine {cosine}, metallic {metallic}"
                    );
                }
            }
        }
    }

    #[test]
    fn reflection_is_the_same_both_ways() {
        // The mirror alone: the fitted share of diffuse light depends on the view.
        let mirror = Mirror::new(Vec3::splat(0.3), 0.4);
        let (a, b) = (view(0.8), Vec3::new(-0.3, 0.4, 0.75).normalize());
        let half = (a + b).normalize();
        let (there, back) = (mirror.evaluated(a, b, half).0 / b.z, mirror.evaluated(b, a, half).0 / a.z);
        assert!((there - back).abs().max_element() < 1e-5);
    }

    #[test]
    fn a_black_surface_scatters_nothing() {
        let black = Surface {
            albedo: Vec3::ZERO,
            gloss: 0.0,
            ..surface()
        };
        let lobes = Lobes::new(&black, Vec3::Z);
        assert_eq!(lobes.evaluated(Vec3::new(0.6, 0.0, 0.8)).0, Vec3::ZERO);
        assert_eq!(lobes.albedo(8), Vec3::ZERO);
    }
}
