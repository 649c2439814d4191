//! Daylight: the clear sky of Preetham, Shirley and Smits (1999, "A practical analytic model
//! for daylight"), the overcast one of Moon and Spencer (1942), and the sun behind air.

use std::f32::consts::{PI, TAU};

use glam::{Mat3, Vec3};
use serde::Serialize;

use super::instance::{PRIMARIES_UM, kelvin_rgb, luminance};

/// Illuminance of a surface that faces the sun above the air, in klx (Darula, Kittler and
/// Gueymard 2005).
const SOLAR_KLX: f32 = 133.3;

/// Temperature of the sun's surface.
const SOLAR_KELVIN: f32 = 5778.0;

const SUN_DIAMETER_DEG: f32 = 0.53;

/// Absorption of ozone at the primaries' wavelengths in 1/cm, and its thickness in cm (Preetham
/// et al. 1999, table 2 and appendix A.1).
const OZONE_PER_CM: [f32; 3] = [0.119, 0.084, 0.0075];
const OZONE_CM: f32 = 0.35;

/// What reaches the ground under clouds without a gap, over what does under a clear sky (Kasten
/// and Czeplak 1980).
const UNDER_CLOUDS: f32 = 0.25;

/// Daylight above the horizon.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sky {
    turbidity: f32,
    /// 0 clear, 1 without a gap between the clouds.
    overcast: f32,
    /// Unit vector.
    towards_sun: Vec3,
    /// Whether the sun itself shines.
    has_sun: bool,
    /// Radiance of a white matt surface that faces up.
    level: f32,
    /// Follow from the above.
    #[serde(skip)]
    clear: Clear,
    /// Luminance overhead of the overcast sky, weighted by its share.
    #[serde(skip)]
    clouds: f32,
    /// Of a white surface that faces the sun.
    #[serde(skip)]
    sun: Vec3,
    /// Radiance a unit of luminance.
    #[serde(skip)]
    scale: f32,
}

impl Sky {
    pub(super) fn new(
        turbidity: f32,
        overcast: f32,
        towards_sun: Vec3,
        has_sun: bool,
        level: f32,
    ) -> Self {
        let clear = Clear::new(turbidity, towards_sun);
        let sun = SOLAR_KLX / PI * kelvin_rgb(SOLAR_KELVIN) * transmittance(turbidity, towards_sun);
        let from_sun = luminance(sun) * towards_sun.z;
        let from_sky = mean_over_cosine(|direction| clear.luminance(direction, towards_sun));
        let from_clouds = UNDER_CLOUDS * (from_sky + from_sun);
        let shown = if has_sun { from_sun } else { 0.0 };
        let all = (1.0 - overcast) * (from_sky + shown) + overcast * from_clouds;
        Sky {
            turbidity,
            overcast,
            towards_sun,
            has_sun,
            level,
            clear,
            // A level surface has 7/9 of the luminance overhead.
            clouds: overcast * from_clouds * 9.0 / 7.0,
            sun: (1.0 - overcast) * sun,
            scale: level / all,
        }
    }

    /// Radiance from a unit direction; that of the horizon from below it.
    pub(super) fn radiance(&self, direction: Vec3) -> Vec3 {
        let clouds = Vec3::splat(self.clouds * (1.0 + 2.0 * direction.z.max(0.0)) / 3.0);
        let clear = self.clear.linear_rgb(direction, self.towards_sun);
        (clear * (1.0 - self.overcast) + clouds) * self.scale
    }

    /// What a white surface that faces the sun has from it, the unit vector towards it, and its
    /// angular diameter in degrees; none where it is hidden.
    pub(super) fn sun(&self) -> Option<(Vec3, Vec3, f32)> {
        let shines = self.has_sun && self.overcast < 1.0;
        shines.then_some((self.sun * self.scale, self.towards_sun, SUN_DIAMETER_DEG))
    }
}

/// Share of the sun's light that the air lets through, at the primaries' wavelengths (Preetham
/// et al. 1999, appendix A.1, with the air mass of Kasten and Young 1989).
fn transmittance(turbidity: f32, towards_sun: Vec3) -> Vec3 {
    let elevation_deg = towards_sun.z.asin().to_degrees();
    let air = 1.0 / (towards_sun.z + 0.50572 * (elevation_deg + 6.07995).powf(-1.6364));
    let haze = 0.04608 * turbidity - 0.04586;
    Vec3::from(std::array::from_fn(|primary| {
        let um = PRIMARIES_UM[primary];
        let molecules = 0.008735 * um.powf(-4.08);
        let aerosols = haze * um.powf(-1.3);
        (-air * (molecules + aerosols) - air * OZONE_CM * OZONE_PER_CM[primary]).exp()
    }))
}

/// Mean over the upper half, weighted by the cosine from straight up.
fn mean_over_cosine(value: impl Fn(Vec3) -> f32) -> f32 {
    const RINGS: usize = 48;
    const SECTORS: usize = 48;
    let mut sum = 0.0;
    for ring in 0..RINGS {
        let share = (ring as f32 + 0.5) / RINGS as f32;
        let (radius, z) = ((1.0 - share).sqrt(), share.sqrt());
        for sector in 0..SECTORS {
            let (sin, cos) = ((sector as f32 + 0.5) / SECTORS as f32 * TAU).sin_cos();
            sum += value(Vec3::new(radius * cos, radius * sin, z));
        }
    }
    sum / (RINGS * SECTORS) as f32
}

/// The clear sky: luminance in kcd/m2 and chromaticities x and y of CIE 1931 overhead, and the
/// five numbers of how each changes over the sky (Perez et al. 1993), over its value overhead.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Clear {
    overhead: [f32; 3],
    shape: [[f32; 5]; 3],
}

impl Clear {
    /// Preetham et al. 1999, appendix A.2.
    fn new(turbidity: f32, towards_sun: Vec3) -> Self {
        let t = turbidity;
        let angle = towards_sun.z.clamp(-1.0, 1.0).acos();
        let line = |[slope, start]: [f32; 2]| slope * t + start;
        let shape = [
            [
                [0.1787, -1.4630],
                [-0.3554, 0.4275],
                [-0.0227, 5.3251],
                [0.1206, -2.5771],
                [-0.0670, 0.3703],
            ],
            [
                [-0.0193, -0.2592],
                [-0.0665, 0.0008],
                [-0.0004, 0.2125],
                [-0.0641, -0.8989],
                [-0.0033, 0.0452],
            ],
            [
                [-0.0167, -0.2608],
                [-0.0950, 0.0092],
                [-0.0079, 0.2102],
                [-0.0441, -1.6537],
                [-0.0109, 0.0529],
            ],
        ]
        .map(|terms| terms.map(line));
        let chi = (4.0 / 9.0 - t / 120.0) * (PI - 2.0 * angle);
        let luminance = (4.0453 * t - 4.9710) * chi.tan() - 0.2155 * t + 2.4192;
        let cubic = |terms: [[f32; 4]; 3]| {
            let [squared, linear, constant] =
                terms.map(|[a, b, c, d]| ((a * angle + b) * angle + c) * angle + d);
            (squared * t + linear) * t + constant
        };
        let x = cubic([
            [0.00166, -0.00375, 0.00209, 0.0],
            [-0.02903, 0.06377, -0.03202, 0.00394],
            [0.11693, -0.21196, 0.06052, 0.25886],
        ]);
        let y = cubic([
            [0.00275, -0.00610, 0.00317, 0.0],
            [-0.04214, 0.08970, -0.04153, 0.00516],
            [0.15346, -0.26756, 0.06670, 0.26688],
        ]);
        let mut overhead = [luminance.max(0.01), x, y];
        for (value, terms) in overhead.iter_mut().zip(&shape) {
            *value /= perez(terms, 1.0, Separation::new(Vec3::Z, towards_sun));
        }
        Clear { overhead, shape }
    }

    /// Luminance, x and y.
    fn values(&self, direction: Vec3, towards_sun: Vec3) -> [f32; 3] {
        let from_sun = Separation::new(direction, towards_sun);
        let up = direction.z.max(1e-3);
        std::array::from_fn(|which| self.overhead[which] * perez(&self.shape[which], up, from_sun))
    }

    fn luminance(&self, direction: Vec3, towards_sun: Vec3) -> f32 {
        let from_sun = Separation::new(direction, towards_sun);
        self.overhead[0] * perez(&self.shape[0], direction.z.max(1e-3), from_sun)
    }

    /// Linear sRGB (IEC 61966-2-1); colours beyond it are cut.
    fn linear_rgb(&self, direction: Vec3, towards_sun: Vec3) -> Vec3 {
        let [luminance, x, y] = self.values(direction, towards_sun);
        // The fit strays towards magenta near the horizon, which no daylight does: all lies on
        // the green side of the CIE's daylights (CIE 015, section 4.1.2).
        let y = y.max((2.870 - 3.000 * x) * x - 0.275);
        let xyz = Vec3::new(x, y, 1.0 - x - y) * (luminance / y.max(1e-3));
        let rgb_from_xyz = Mat3::from_cols_array(&[
            3.2406, -0.9689, 0.0557, -1.5372, 1.8758, -0.2040, -0.4986, 0.0415, 1.0570,
        ]);
        (rgb_from_xyz * xyz).max(Vec3::ZERO)
    }
}

/// The angle between a direction and the sun.
#[derive(Clone, Copy)]
struct Separation {
    cosine: f32,
    angle_rad: f32,
}

impl Separation {
    fn new(direction: Vec3, towards_sun: Vec3) -> Self {
        let cosine = direction.dot(towards_sun).clamp(-1.0, 1.0);
        Separation {
            cosine,
            angle_rad: cosine.acos(),
        }
    }
}

/// Perez et al. 1993: `up` is the cosine of the angle to straight up.
fn perez([a, b, c, d, e]: &[f32; 5], up: f32, from_sun: Separation) -> f32 {
    let Separation { cosine, angle_rad } = from_sun;
    (1.0 + a * (b / up).exp()) * (1.0 + c * (d * angle_rad).exp() + e * cosine * cosine)
}

#[cfg(test)]
mod tests {
    use super::super::environment::{Environment, matt};
    use super::*;

    fn towards(elevation_deg: f32) -> Vec3 {
        let (sin, cos) = elevation_deg.to_radians().sin_cos();
        Vec3::new(0.0, cos, sin)
    }

    #[test]
    fn the_sky_and_its_sun_have_the_stated_level() {
        for elevation in [5.0, 20.0, 45.0, 90.0] {
            for turbidity in [2.0, 3.0, 6.0, 10.0] {
                for (overcast, has_sun) in [(0.0, true), (0.0, false), (0.5, true), (1.0, true)] {
                    let towards = towards(elevation);
                    let sky = Sky::new(turbidity, overcast, towards, has_sun, 0.8);
                    let from_sky = luminance(matt(&Environment::Sky(sky), Vec3::Z));
                    let sun = sky
                        .sun()
                        .map_or(0.0, |(rgb, towards, _)| luminance(rgb) * towards.z);
                    let all = from_sky + sun;
                    // Colours that sRGB lacks cost a little.
                    assert!(
                        (all / 0.8 - 1.0).abs() < 0.03,
                        "{elevation} {turbidity} {overcast} {has_sun}: {all}"
                    );
                    assert_eq!(sun > 0.0, has_sun && overcast < 1.0);
                }
            }
        }
    }

    #[test]
    fn a_clear_sky_is_blue_and_a_low_sun_is_red_and_weak() {
        let noon = Sky::new(2.5, 0.0, towards(60.0), true, 1.0);
        let away = noon.radiance(Vec3::new(0.0, -0.6, 0.8));
        assert!(away.z > 1.5 * away.x && away.y > away.x, "{away}");
        let side = noon.radiance(Vec3::new(1.0, 0.0, 0.02).normalize());
        assert!(side.y > 0.97 * side.x.min(side.z), "not magenta: {side}");
        let near = noon.radiance(towards(62.0));
        assert!(luminance(near) > 3.0 * luminance(away), "{near} {away}");
        let evening = Sky::new(2.5, 0.0, towards(5.0), true, 1.0);
        let ratio = |sky: &Sky| {
            let sun = sky.sun().unwrap().0;
            sun.x / sun.z
        };
        assert!(ratio(&evening) > 3.0 * ratio(&noon) && ratio(&noon) > 1.0);
        // On a clear day a level floor has about a quarter of its light from the sky.
        let from_sun = luminance(noon.sun().unwrap().0) * towards(60.0).z;
        assert!((0.65..0.85).contains(&from_sun), "{from_sun}");
    }

    #[test]
    fn an_overcast_sky_is_three_times_as_bright_overhead_as_at_the_horizon() {
        let sky = Sky::new(3.0, 1.0, towards(40.0), true, 1.0);
        let (up, side) = (sky.radiance(Vec3::Z), sky.radiance(Vec3::X));
        assert!((up / side - 3.0).abs().max_element() < 1e-4 && up.x == up.z);
        assert!((up.x - 9.0 / 7.0).abs() < 1e-3);
    }

    #[test]
    fn zenith_values_are_the_papers() {
        // Worked by hand from appendix A.2: turbidity 2, sun 45 degrees from straight up.
        let clear = Clear::new(2.0, towards(45.0));
        let [luminance, x, y] = clear.values(Vec3::Z, towards(45.0));
        let chi = (4.0_f32 / 9.0 - 2.0 / 120.0) * std::f32::consts::FRAC_PI_2;
        assert!((luminance - (3.1196 * chi.tan() + 1.9882)).abs() < 1e-3);
        assert!(
            (x - 0.24095).abs() < 2e-4 && (y - 0.24372).abs() < 2e-4,
            "{x} {y}"
        );
    }
}
