//! Light from all directions on a square, by unfolding an octahedron (Cigolle et al. 2014), and
//! its averages over the lobes of rough mirrors.

use glam::{Vec2, Vec3};

/// The direction at a point of the octahedron's square -1..1.
pub(in crate::render) fn from_square(at: Vec2) -> Vec3 {
    let up = 1.0 - at.x.abs() - at.y.abs();
    let below = (-up).max(0.0);
    Vec3::new(at.x - below.copysign(at.x), at.y - below.copysign(at.y), up).normalize()
}

/// The point of the square -1..1 that stands for a direction.
#[inline]
pub(in crate::render) fn to_square(direction: Vec3) -> Vec2 {
    let flat = direction.truncate() / direction.abs().element_sum();
    if direction.z >= 0.0 {
        flat
    } else {
        let folded = 1.0 - Vec2::new(flat.y, flat.x).abs();
        folded.copysign(flat)
    }
}

/// Directions of a square's texels in rows; the outer ones lie on its edges.
pub(super) fn directions(side: u32) -> impl Iterator<Item = Vec3> {
    (0..side * side).map(move |index| {
        let at = Vec2::new((index % side) as f32, (index / side) as f32);
        from_square(at / (side - 1) as f32 * 2.0 - 1.0)
    })
}

/// Light that is spread over the four texels around where it comes from.
pub(super) struct Splats {
    side: usize,
    /// Radiance times solid angle, and solid angle.
    sums: Vec<(Vec3, f32)>,
}

impl Splats {
    pub(super) fn new(side: usize) -> Self {
        Splats {
            side,
            sums: vec![(Vec3::ZERO, 0.0); side * side],
        }
    }

    pub(super) fn add(&mut self, direction: Vec3, radiance: Vec3, solid_angle: f32) {
        let last = (self.side - 1) as f32;
        let at = (to_square(direction) * 0.5 + 0.5) * last;
        let first = at.floor().min(Vec2::splat(last - 1.0)).max(Vec2::ZERO);
        let share = at - first;
        let index = first.y as usize * self.side + first.x as usize;
        for (step, weight) in [
            (0, (1.0 - share.x) * (1.0 - share.y)),
            (1, share.x * (1.0 - share.y)),
            (self.side, (1.0 - share.x) * share.y),
            (self.side + 1, share.x * share.y),
        ] {
            let (light, area) = &mut self.sums[index + step];
            *light += radiance * (solid_angle * weight);
            *area += solid_angle * weight;
        }
    }

    /// Texels on the edges that stand for one direction get the same light.
    pub(super) fn join_seams(&mut self) {
        let (side, last) = (self.side, self.side - 1);
        let corners = [0, last, last * side, last * side + last];
        self.join(&corners);
        for along in 1..side / 2 {
            let mirrored = last - along;
            for (one, other) in [
                (along, mirrored),
                (last * side + along, last * side + mirrored),
                (along * side, mirrored * side),
                (along * side + last, mirrored * side + last),
            ] {
                self.join(&[one, other]);
            }
        }
    }

    fn join(&mut self, places: &[usize]) {
        let count = places.len() as f32;
        let light: Vec3 = places.iter().map(|place| self.sums[*place].0).sum();
        let area: f32 = places.iter().map(|place| self.sums[*place].1).sum();
        for place in places {
            self.sums[*place] = (light / count, area / count);
        }
    }

    /// Radiance of each texel.
    pub(super) fn means(&self) -> Vec<Vec3> {
        let means = self
            .sums
            .iter()
            .map(|(light, area)| *light / area.max(1e-12));
        means.collect()
    }

    /// The light of all texels.
    pub(super) fn lights(&self) -> Lights {
        let mut lights = Lights::default();
        for (direction, (light, area)) in directions(self.side as u32).zip(&self.sums) {
            for (column, value) in lights.directions.iter_mut().zip(direction.to_array()) {
                column.push(value);
            }
            for (column, value) in lights.values.iter_mut().zip(light.extend(*area).to_array()) {
                column.push(value);
            }
        }
        lights
    }
}

/// Light from many directions, one number after the other, which compilers turn into vectors.
#[derive(Default)]
pub(super) struct Lights {
    directions: [Vec<f32>; 3],
    /// Red, green and blue times solid angle, and the solid angle.
    values: [Vec<f32>; 4],
}

/// How a rough mirror that is seen from straight above weights the directions: the GGX
/// distribution of its facets (Walter et al. 2007) times the cosine (Karis 2013).
pub(super) struct Lobe {
    /// The fourth power of roughness, less 1.
    less: f32,
}

impl Lobe {
    pub(super) fn new(roughness: f32) -> Self {
        Lobe {
            less: roughness.powi(4) - 1.0,
        }
    }

    /// Mean radiance over the lobe around a direction.
    pub(super) fn mean(&self, around: Vec3, lights: &Lights) -> Vec3 {
        /// Sums are kept apart in this many parts, so that they need not wait for each other.
        const LANES: usize = 8;
        let [xs, ys, zs] = lights.directions.each_ref();
        let [reds, greens, blues, areas] = lights.values.each_ref();
        let mut sums = [[0.0_f32; LANES]; 4];
        let whole = xs.len() / LANES * LANES;
        for first in (0..whole).step_by(LANES) {
            let part = first..first + LANES;
            let (x, y, z) = (&xs[part.clone()], &ys[part.clone()], &zs[part.clone()]);
            let (r, g) = (&reds[part.clone()], &greens[part.clone()]);
            let (b, area) = (&blues[part.clone()], &areas[part]);
            for lane in 0..LANES {
                let cosine = x[lane] * around.x + y[lane] * around.y + z[lane] * around.z;
                // The square of the cosine between the normal and the facet's.
                let d = (0.5 + 0.5 * cosine) * self.less + 1.0;
                let weight = cosine.max(0.0) / (d * d);
                sums[0][lane] += weight * r[lane];
                sums[1][lane] += weight * g[lane];
                sums[2][lane] += weight * b[lane];
                sums[3][lane] += weight * area[lane];
            }
        }
        let [red, green, blue, area] = sums.map(|lanes| lanes.iter().sum::<f32>());
        Vec3::new(red, green, blue) / area.max(1e-12)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_square_and_the_sphere_are_inverse() {
        for direction in directions(16) {
            let back = from_square(to_square(direction));
            assert!((back - direction).length() < 1e-5, "{direction}");
        }
    }

    #[test]
    fn no_light_is_lost_on_the_square() {
        let mut splats = Splats::new(64);
        let towards = Vec3::new(0.3, -0.5, 0.4).normalize();
        splats.add(towards, Vec3::splat(8.0), 0.25);
        splats.add(Vec3::NEG_Z, Vec3::splat(4.0), 0.5);
        splats.join_seams();
        let sum: Vec3 = splats.sums.iter().map(|(light, _)| *light).sum();
        assert!((sum - 4.0).abs().max_element() < 1e-5, "{sum}");
        // Rougher mirrors see the spot dimmer and wider.
        let lights = splats.lights();
        let seen =
            |roughness: f32, direction: Vec3| Lobe::new(roughness).mean(direction, &lights).x;
        assert!(seen(0.2, towards) > 7.9, "{}", seen(0.2, towards));
    }

    #[test]
    fn a_rougher_mirror_has_a_wider_lobe() {
        let mut splats = Splats::new(64);
        for direction in directions(64) {
            let radiance = if direction.dot(Vec3::X) > 0.99 {
                1.0
            } else {
                0.0
            };
            splats.add(direction, Vec3::splat(radiance), 1.0);
        }
        let lights = splats.lights();
        let seen: Vec<f32> = [0.2, 0.4, 0.6, 0.8, 1.0]
            .iter()
            .map(|roughness| Lobe::new(*roughness).mean(Vec3::X, &lights).x)
            .collect();
        assert!(
            seen.is_sorted_by(|finer, rougher| finer > rougher),
            "{seen:?}"
        );
        assert!(seen[0] > 0.5 && seen[4] < 0.2, "{seen:?}");
    }
}
