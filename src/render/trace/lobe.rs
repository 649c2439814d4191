//! How surfaces scatter light: a diffuse lobe, a GGX lobe, and lacquer over both.

use std::f32::consts::{FRAC_1_PI, PI};

use glam::{Vec3, Vec4};

use super::lanes::{Vec3x4, WIDTH, exp2_of_negative, sin_cos_of_turn, sqrt};
use super::sample::{across, cosine_hemisphere};

/// Reflection of lacquer, plastic or glass at a right angle, as in `shade.wgsl`.
const LACQUER_F0: f32 = 0.04;

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
fn specular_albedo(f0: Vec3x4, roughness: Vec4, view_cosine: Vec4) -> Vec3x4 {
    let x = 1.0 - roughness;
    let y = 0.0425 - 0.0275 * roughness;
    let a = (x * x).min(exp2_of_negative(-9.28 * view_cosine)) * x + y;
    let scale = -1.04 * a + (1.04 - 0.572 * roughness);
    let offset = 1.04 * a + (0.022 * roughness - 0.04);
    f0.map(|f0| (f0 * scale + offset * grazing(f0)).clamp(Vec4::ZERO, Vec4::ONE))
}

/// Reflectance at a grazing angle: none where there is none at a right angle.
#[inline(always)]
fn grazing(f0: Vec4) -> Vec4 {
    (f0 * 25.0).min(Vec4::ONE)
}

/// GGX's distribution over a roughness squared, `alpha`; directions are about the normal, z.
#[derive(Debug, Clone, Copy)]
struct Mirror {
    f0: Vec3x4,
    alpha: Vec4,
}

impl Mirror {
    #[inline(always)]
    fn new(f0: Vec3x4, roughness: Vec4) -> Self {
        let alpha = (roughness * roughness).max(Vec4::splat(0.002));
        Mirror { f0, alpha }
    }

    /// The denominator's root of Smith's shadowing of a direction with this cosine.
    #[inline(always)]
    fn root(&self, cosine: Vec4) -> Vec4 {
        let squared = self.alpha * self.alpha;
        sqrt(squared + (1.0 - squared) * cosine * cosine)
    }

    /// Reflectance times the cosine of the light, and the density of `sampled`. Smith's
    /// height-correlated shadowing (Heitz 2014, equation 99) and Schlick's Fresnel.
    #[inline(always)]
    fn evaluated(&self, view: Vec3x4, light: Vec3x4, half: Vec3x4) -> (Vec3x4, Vec4) {
        let squared = self.alpha * self.alpha;
        let d = half.x * half.x + half.y * half.y + squared * half.z * half.z;
        let distribution = squared / (PI * d * d);
        let (view_root, light_root) = (self.root(view.z), self.root(light.z));
        let visibility = 0.5 / (light.z * view_root + view.z * light_root);
        let m = (1.0 - view.dot(half)).max(Vec4::ZERO);
        let m2 = m * m;
        let m5 = m2 * m2 * m;
        let shape = distribution * visibility * light.z;
        let reflected = self.f0.map(|f0| (f0 + (grazing(f0) - f0) * m5) * shape);
        // Of visible normals, over the Jacobian of reflection (Heitz 2018, equation 17).
        (reflected, 0.5 * distribution / (view.z + view_root))
    }
}

/// Directions towards light, by the normals of GGX that are seen from `view` (Dupuy and
/// Benyoub 2023, "Sampling visible GGX normals with spherical caps").
#[inline(always)]
fn mirrored(alpha: Vec4, view: Vec3x4, [u, v]: [Vec4; 2]) -> Vec3x4 {
    let stretched = Vec3x4::new(view.x * alpha, view.y * alpha, view.z).normalized();
    let height = (1.0 - v) * (1.0 + stretched.z) - stretched.z;
    let radius = sqrt((1.0 - height * height).max(Vec4::ZERO));
    let (sine, cosine) = sin_cos_of_turn(u);
    let cap = Vec3x4::new(cosine * radius, sine * radius, height) + stretched;
    let half = Vec3x4::new(cap.x * alpha, cap.y * alpha, cap.z).normalized();
    half * (2.0 * view.dot(half)) - view
}

/// Surfaces, each seen from one direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lobes {
    axes: [Vec3x4; 3],
    view: Vec3x4,
    /// Diffuse albedo, of what is not mirrored.
    diffuse: Vec3x4,
    mirror: Mirror,
    lacquer: Mirror,
    /// Share under lacquer.
    coat: Vec4,
    /// Whether any is lacquered.
    is_coated: bool,
    /// What lacquer lets through of the light below it.
    kept: Vec4,
    /// Probabilities of the mirror and of the lacquer; the rest is diffuse.
    chances: [Vec4; 2],
    /// Share of even light that is sent back, by which pictures are smoothed.
    pub reflected: Vec3x4,
}

impl Lobes {
    /// `view` holds unit vectors towards the viewer.
    #[inline(always)]
    pub(super) fn new(surfaces: &[Surface; WIDTH], view: Vec3x4) -> Self {
        let number = |of: fn(&Surface) -> f32| Vec4::from(surfaces.each_ref().map(of));
        let vector = |of: fn(&Surface) -> Vec3| Vec3x4::from_lanes(surfaces.each_ref().map(of));
        let (roughness, metallic) = (number(|s| s.roughness), number(|s| s.metallic));
        let (coat, coat_roughness) = (number(|s| s.coat), number(|s| s.coat_roughness));
        let (albedo, normal) = (vector(|s| s.albedo), vector(|s| s.normal));
        let cosine = normal.dot(view);
        // As far as it must be for the viewer to see this side.
        let tilted = (normal + view * (2.0 * LEAST_COSINE - cosine)).normalized();
        let least = Vec4::splat(LEAST_COSINE);
        let normal = Vec3x4::select(cosine.cmplt(least), tilted, normal);
        let [x, y] = across(normal);
        let view = Vec3x4::new(view.dot(x), view.dot(y), view.dot(normal).max(least));
        let gloss = LACQUER_F0 * number(|s| s.gloss);
        let f0 = Vec3x4::new(gloss, gloss, gloss).lerp(albedo, metallic);
        let mirrored = specular_albedo(f0, roughness, view.z);
        let diffuse = albedo.times(mirrored.map(|share| 1.0 - share)) * (1.0 - metallic);
        let lacquer_f0 = Vec3x4::splat(Vec3::splat(LACQUER_F0));
        let is_coated = coat.cmpgt(Vec4::ZERO).any();
        let under = match is_coated {
            true => coat * specular_albedo(lacquer_f0, coat_roughness, view.z).x,
            false => Vec4::ZERO,
        };
        let kept = 1.0 - under;
        let mirror_weight = kept * mirrored.sum();
        let sum = (kept * diffuse.sum() + mirror_weight + 3.0 * under).max(Vec4::splat(1e-9));
        Lobes {
            axes: [x, y, normal],
            view,
            diffuse,
            mirror: Mirror::new(f0, roughness),
            lacquer: Mirror::new(lacquer_f0, coat_roughness),
            coat,
            is_coated,
            kept,
            chances: [mirror_weight / sum, 3.0 * under / sum],
            reflected: (diffuse + mirrored).map(|share| kept * share + under),
        }
    }

    /// Reflectance times the cosine of the light, and the density with which `sampled` takes
    /// the direction; none of either below the surface.
    #[inline(always)]
    pub(super) fn evaluated(&self, light: Vec3x4) -> (Vec3x4, Vec4) {
        let [x, y, z] = self.axes.map(|axis| light.dot(axis));
        self.evaluated_local(Vec3x4::new(x, y, z))
    }

    #[inline(always)]
    fn evaluated_local(&self, light: Vec3x4) -> (Vec3x4, Vec4) {
        let is_above = light.z.cmpgt(Vec4::ZERO);
        let light = Vec3x4::new(light.x, light.y, light.z.max(Vec4::splat(1e-9)));
        let half = (self.view + light).normalized();
        let (mirrored, density) = self.mirror.evaluated(self.view, light, half);
        let even = light.z * FRAC_1_PI;
        let [mirror_chance, coat_chance] = self.chances;
        let mut sum = (self.diffuse * even + mirrored) * self.kept;
        let mut total = (1.0 - mirror_chance - coat_chance) * even + mirror_chance * density;
        if self.is_coated {
            let (mirrored, density) = self.lacquer.evaluated(self.view, light, half);
            sum += mirrored * self.coat;
            total += coat_chance * density;
        }
        let nothing = Vec3x4::splat(Vec3::ZERO);
        (
            Vec3x4::select(is_above, sum, nothing),
            Vec4::select(is_above, total, Vec4::ZERO),
        )
    }

    /// Directions towards light with their reflectance times the cosine over the density, and
    /// the density, which is 0 where the direction lies below the surface. `choice` is in 0..1.
    #[inline(always)]
    pub(super) fn sampled(&self, choice: Vec4, at: [Vec4; 2]) -> (Vec3x4, Vec3x4, Vec4) {
        let [mirror_chance, coat_chance] = self.chances;
        let is_mirror = choice.cmplt(mirror_chance);
        let is_even = choice.cmpge(mirror_chance + coat_chance);
        let alpha = Vec4::select(is_mirror, self.mirror.alpha, self.lacquer.alpha);
        let bounced = mirrored(alpha, self.view, at);
        let light = Vec3x4::select(is_even, cosine_hemisphere(at), bounced);
        let (reflectance, density) = self.evaluated_local(light);
        let [x, y, normal] = self.axes;
        let direction = x * light.x + y * light.y + normal * light.z;
        (
            direction,
            reflectance * (1.0 / density.max(Vec4::splat(1e-20))),
            density,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Points, mixed};
    use super::*;
    use glam::Vec2;

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

    /// Lobes of one surface, in all lanes.
    fn lobes(surface: Surface, view: Vec3) -> Lobes {
        Lobes::new(&[surface; WIDTH], Vec3x4::splat(view))
    }

    /// One of four equal results.
    fn evaluated(lobes: &Lobes, light: Vec3) -> (Vec3, f32) {
        let (reflectance, density) = lobes.evaluated(Vec3x4::splat(light));
        assert_eq!(reflectance.lanes()[0], reflectance.lanes()[3]);
        (reflectance.lanes()[1], density.y)
    }

    fn sampled(lobes: &Lobes, choice: f32, at: Vec2) -> Option<(Vec3, Vec3, f32)> {
        let at = [Vec4::splat(at.x), Vec4::splat(at.y)];
        let (direction, weight, density) = lobes.sampled(Vec4::splat(choice), at);
        (density.z > 0.0).then(|| (direction.lanes()[2], weight.lanes()[2], density.z))
    }

    /// How much of light from all sides is sent back, by sampling.
    fn albedo(lobes: &Lobes, side: u32) -> Vec3 {
        let mut sum = Vec3::ZERO;
        for index in 0..side * side {
            let unit = |step: u32| (step as f32 + 0.5) / side as f32;
            let at = Vec2::new(unit(index % side), unit(index / side));
            let choice = mixed(index) as f32 / 4_294_967_296.0;
            sum += sampled(lobes, choice, at).map_or(Vec3::ZERO, |(_, weight, _)| weight);
        }
        sum / (side * side) as f32
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
                cases.push((lobes(surface, view(cosine)), name));
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
            let ring = (direction.z * RINGS as f32).clamp(0.0, RINGS as f32 - 1.0) as usize;
            ring * SECTORS + (turn * SECTORS as f32).min(SECTORS as f32 - 1.0) as usize
        };
        let points = Points::new(65_536);
        for (lobes, name) in cases() {
            let mut expected = [0.0_f64; RINGS * SECTORS];
            let (rings, sectors) = (600, 800);
            for direction in hemisphere(rings, sectors) {
                let (_, density) = evaluated(&lobes, direction);
                let area = 2.0 * std::f64::consts::PI / (rings * sectors) as f64;
                expected[cell(direction)] += f64::from(density) * area;
            }
            let mut counts = [0.0_f64; RINGS * SECTORS];
            let (pick, stream) = (points.stream(5, 0), points.stream(5, 1));
            for index in 0..points.count() {
                let found = sampled(&lobes, pick.at(index).x, stream.at(index));
                if let Some((direction, _, density)) = found {
                    let again = evaluated(&lobes, direction).1;
                    assert!(
                        (again / density - 1.0).abs() < 2e-2,
                        "{again} for {density}"
                    );
                    counts[cell(direction)] += 1.0;
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
            let integrated: Vec3 = hemisphere(rings, sectors)
                .map(|light| evaluated(&lobes, light).0 * area)
                .sum();
            let sampled = albedo(&lobes, 256);
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
                for (metallic, most_lost) in
                    [(0.0, 0.06), (1.0, 0.06 + 0.62 * roughness * roughness)]
                {
                    let surface = Surface {
                        roughness,
                        metallic,
                        ..surface()
                    };
                    let white = albedo(&lobes(surface, view(cosine)), 128).x;
                    // The fitted share of what is not mirrored is too high by some hundredths at
                    // low angles. One reflection between facets: rough metal loses what is
                    // reflected twice.
                    assert!(
                        white < 1.08 && white > 1.0 - most_lost - 0.02,
                        "{white} at roughness {roughness}, cosine {cosine}, metallic {metallic}"
                    );
                }
            }
        }
    }

    #[test]
    fn reflection_is_the_same_both_ways() {
        // The mirror alone: the fitted share of diffuse light depends on the view.
        let mirror = Mirror::new(Vec3x4::splat(Vec3::splat(0.3)), Vec4::splat(0.4));
        let (a, b) = (view(0.8), Vec3::new(-0.3, 0.4, 0.75).normalize());
        let [a, b, half] = [a, b, (a + b).normalize()].map(Vec3x4::splat);
        let (there, back) = (
            mirror.evaluated(a, b, half).0,
            mirror.evaluated(b, a, half).0,
        );
        let difference = there.x / b.z - back.x / a.z;
        assert!(difference.abs().max_element() < 1e-5, "{difference}");
    }

    #[test]
    fn a_black_surface_scatters_nothing() {
        let black = Surface {
            albedo: Vec3::ZERO,
            gloss: 0.0,
            ..surface()
        };
        let lobes = lobes(black, Vec3::Z);
        assert_eq!(evaluated(&lobes, Vec3::new(0.6, 0.0, 0.8)).0, Vec3::ZERO);
        assert_eq!(albedo(&lobes, 8), Vec3::ZERO);
        assert_eq!(
            evaluated(&lobes, Vec3::new(0.6, 0.0, -0.8)).1,
            0.0,
            "from below"
        );
    }
}
