//! Rain and snow: particles that fall while the shutter is open.

use rand::RngExt;
use rand_distr::Distribution as _;

use super::bright_light;
use crate::augment::photometric::Linear;
use crate::seed::{Generator, SeedKey};

/// Focal length of the camera that looks at the weather, as a share of the picture's width:
/// 53 degrees from side to side.
const FOCAL: f64 = 1.0;

/// About the most particles that are drawn. Where there would be more, the far ones, which are the
/// smallest, are left to the veil.
const MAX_PARTICLES: f64 = 6000.0;

/// How hard it rains, and how it is photographed.
#[derive(Debug, Clone, Copy)]
pub(in crate::augment) struct Rain {
    /// Rain fall, 2.5 is light and 50 violent.
    pub rate_mm_h: f64,
    /// Degrees from the vertical, positive to the right.
    pub angle_deg: f64,
    pub exposure_s: f64,
    /// Light of a drop, relative to that of the picture's brightest tenth.
    pub brightness: f64,
    pub seed: u64,
}

/// Draws streaks of rain up to 12 metres away.
///
/// Drops have the diameters of Marshall and Palmer 1948, `8000 exp(-4.1 R^-0.21 D)` drops a
/// cubic metre and millimetre, and fall at `9.65 - 10.3 exp(-0.6 D)` m/s (Atlas et al. 1973). A
/// drop shows the light of the sky, which it refracts from all around (Garg and Nayar 2007,
/// "Vision and rain", section 3); each pixel of its streak is covered for the time in which the
/// drop falls by its own diameter.
pub(in crate::augment) fn rain(image: &mut Linear, rain: Rain) {
    /// Smaller drops are not seen apart.
    const LEAST_MM: f64 = 0.5;
    const NEAR_M: f64 = 0.4;
    const FAR_M: f64 = 12.0;
    let slope = 4.1 * rain.rate_mm_h.max(0.01).powf(-0.21);
    let a_metre3 = 8000.0 / slope * (-slope * LEAST_MM).exp();
    let mut generator = SeedKey::new(b"rain", rain.seed).generator("drops", 0);
    let sky = bright_light(image);
    let light = sky.map(|sky| sky * rain.brightness as f32);
    let field = Field::new(image, a_metre3, NEAR_M, FAR_M);
    let count = field.count(a_metre3, &mut generator);
    let (sin, cos) = rain.angle_deg.to_radians().sin_cos();
    for _ in 0..count {
        let (place, metres) = field.place(&mut generator);
        let diameter_mm = LEAST_MM - (1.0 - generator.random::<f64>()).ln() / slope;
        let speed_m_s = 9.65 - 10.3 * (-0.6 * diameter_mm).exp();
        let px_a_metre = field.focal_px / metres;
        let length = speed_m_s * rain.exposure_s * px_a_metre;
        let streak = Streak {
            from: place,
            by: [length * sin, length * cos],
            width: diameter_mm / 1000.0 * px_a_metre,
            // The share of the exposure that a drop stays over a point.
            cover: (diameter_mm / 1000.0 / (speed_m_s * rain.exposure_s)).min(1.0),
        };
        streak.draw(image, light);
    }
    // Drops beyond are a thin mist together: a tenth of the contrast at 100 mm an hour.
    let veil = (0.001 * rain.rate_mm_h).min(0.3) as f32;
    for pixel in image.pixels_mut() {
        for (value, sky) in pixel.0.iter_mut().zip(sky) {
            *value += veil * (0.7 * sky - *value);
        }
    }
}

/// How thickly it snows, and how it is photographed.
#[derive(Debug, Clone, Copy)]
pub(in crate::augment) struct Snow {
    /// Flakes a cubic metre: 30 is light, 500 a blizzard.
    pub flakes_m3: f64,
    /// Diameter of a typical flake.
    pub size_mm: f64,
    /// Degrees from the vertical, positive to the right.
    pub angle_deg: f64,
    pub exposure_s: f64,
    pub seed: u64,
}

/// Draws snow flakes up to 15 metres away. They fall at about 1 m/s, are as bright as the sky,
/// and the near ones are out of focus.
pub(in crate::augment) fn snow(image: &mut Linear, snow: Snow) {
    const NEAR_M: f64 = 0.3;
    const FAR_M: f64 = 15.0;
    let mut generator = SeedKey::new(b"snow", snow.seed).generator("flakes", 0);
    let light = bright_light(image).map(|light| light.max(0.25));
    let field = Field::new(image, snow.flakes_m3, NEAR_M, FAR_M);
    let count = field.count(snow.flakes_m3, &mut generator);
    for _ in 0..count {
        let (place, metres) = field.place(&mut generator);
        let px_a_metre = field.focal_px / metres;
        let diameter_mm = snow.size_mm * generator.random_range(0.5..1.6);
        let sharp = diameter_mm / 1000.0 * px_a_metre;
        // Focused at some metres: a flake of an arm's length away is a wide pale disc.
        let blur = field.focal_px * 0.004 * (1.0 / metres - 0.2).max(0.0);
        let width = sharp.hypot(blur);
        let speed_m_s = generator.random_range(0.7..1.5);
        let angle = (snow.angle_deg + generator.random_range(-15.0..15.0)).to_radians();
        let length = speed_m_s * snow.exposure_s * px_a_metre;
        // Moving and blurring spread its light.
        let spread = sharp * sharp / (width * (width + length)).max(1e-9);
        let streak = Streak {
            from: place,
            by: [length * angle.sin(), length * angle.cos()],
            width,
            cover: (0.9 * spread.sqrt()).min(0.9),
        };
        streak.draw(image, light);
    }
    let veil = (0.0004 * snow.flakes_m3).min(0.35) as f32;
    for pixel in image.pixels_mut() {
        for (value, light) in pixel.0.iter_mut().zip(light) {
            *value += veil * (0.8 * light - *value);
        }
    }
}

/// The room in front of the camera in which particles are drawn.
struct Field {
    size: [f64; 2],
    focal_px: f64,
    near_m: f64,
    far_m: f64,
}

impl Field {
    /// For `a_metre3` particles a cubic metre.
    fn new(image: &Linear, a_metre3: f64, near_m: f64, far_m: f64) -> Self {
        let size = [image.width(), image.height()].map(f64::from);
        let focal_px = FOCAL * size[0].max(1.0);
        let section = (size[0] * size[1] / (focal_px * focal_px)).max(1e-9);
        let full_m = (near_m.powi(3) + 3.0 * MAX_PARTICLES / (section * a_metre3.max(1e-9))).cbrt();
        Field {
            size,
            focal_px,
            near_m,
            far_m: far_m.min(full_m),
        }
    }

    /// How many of `a_metre3` particles a cubic metre are in view: a Poisson draw.
    fn count(&self, a_metre3: f64, generator: &mut Generator) -> usize {
        let section = self.size[0] * self.size[1] / (self.focal_px * self.focal_px);
        let volume = section * (self.far_m.powi(3) - self.near_m.powi(3)) / 3.0;
        let mean = volume * a_metre3;
        let drawn =
            rand_distr::Poisson::new(mean.max(1e-9)).map_or(0.0, |law| law.sample(generator));
        drawn as usize
    }

    /// Place in pixels, a little beyond the upper edge too, and distance in metres. A volume
    /// further away is larger by the square of its distance.
    fn place(&self, generator: &mut Generator) -> ([f64; 2], f64) {
        let (near3, far3) = (self.near_m.powi(3), self.far_m.powi(3));
        let metres = (near3 + (far3 - near3) * generator.random::<f64>()).cbrt();
        let x = self.size[0] * generator.random_range(-0.1..1.1);
        let y = self.size[1] * generator.random_range(-0.1..1.0);
        ([x, y], metres)
    }
}

/// A particle's path during the exposure.
struct Streak {
    from: [f64; 2],
    by: [f64; 2],
    /// Pixels; less than one makes it fainter.
    width: f64,
    /// Share of the scene's light that it hides, `0..=1`.
    cover: f64,
}

impl Streak {
    fn draw(&self, image: &mut Linear, light: [f32; 3]) {
        let radius = (self.width / 2.0).max(0.5);
        let cover = self.cover * (self.width / 1.0).min(1.0);
        if cover < 1e-3 {
            return;
        }
        let size = [image.width(), image.height()];
        let [columns, rows] = [0, 1].map(|axis| {
            let (a, b) = (self.from[axis], self.from[axis] + self.by[axis]);
            let bound = |place: f64| place.clamp(0.0, f64::from(size[axis])) as u32;
            bound((a.min(b) - radius - 1.0).floor())..bound((a.max(b) + radius + 1.0).ceil())
        });
        let length2 = self.by[0].powi(2) + self.by[1].powi(2);
        // Along the streak, in shares of its length, for each pixel down and to the right.
        let [step_x, step_y] = self
            .by
            .map(|by| if length2 > 0.0 { by / length2 } else { 0.0 });
        let reach2 = (radius + 0.5).powi(2);
        let stride = 3 * size[0] as usize;
        for y in rows {
            let dy = f64::from(y) + 0.5 - self.from[1];
            let line = &mut image.as_mut()[y as usize * stride..][..stride];
            let pixels = line.as_chunks_mut::<3>().0[columns.start as usize..columns.end as usize]
                .iter_mut();
            for (x, pixel) in columns.clone().zip(pixels) {
                let dx = f64::from(x) + 0.5 - self.from[0];
                let along = (dx * step_x + dy * step_y).clamp(0.0, 1.0);
                let (across, down) = (dx - along * self.by[0], dy - along * self.by[1]);
                let away2 = across * across + down * down;
                if away2 < reach2 {
                    let edge = (radius + 0.5 - away2.sqrt()).min(1.0);
                    let share = (cover * edge) as f32;
                    for (value, light) in pixel.iter_mut().zip(light) {
                        *value += share * (light - *value);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn scene() -> Linear {
        Linear::from_fn(320, 200, |_, y| Rgb([if y < 60 { 0.8 } else { 0.1 }; 3]))
    }

    /// How much light is added to the dark part.
    fn added(image: &Linear) -> f64 {
        let pixels = image.enumerate_pixels().filter(|(_, y, _)| *y >= 60);
        pixels.map(|(_, _, pixel)| f64::from(pixel[0]) - 0.1).sum()
    }

    #[test]
    fn more_rain_and_more_snow_are_brighter() {
        let mut last = 0.0;
        for rate_mm_h in [2.0, 10.0, 60.0] {
            let mut wet = scene();
            rain(
                &mut wet,
                Rain {
                    rate_mm_h,
                    angle_deg: 10.0,
                    exposure_s: 0.005,
                    brightness: 3.0,
                    seed: 1,
                },
            );
            assert!(added(&wet) > last, "{rate_mm_h} mm/h");
            last = added(&wet);
        }
        let mut last = 0.0;
        for flakes_m3 in [10.0, 60.0, 300.0] {
            let mut white = scene();
            let size_mm = 5.0;
            snow(
                &mut white,
                Snow {
                    flakes_m3,
                    size_mm,
                    angle_deg: 0.0,
                    exposure_s: 0.01,
                    seed: 1,
                },
            );
            assert!(added(&white) > last, "{flakes_m3} a cubic metre");
            last = added(&white);
        }
    }

    /// The law of Marshall and Palmer at 10 mm/h: its slope is 2.53 a millimetre, so that
    /// 8000 / 2.53 * exp(-1.26) = 894 drops a cubic metre are above half a millimetre.
    #[test]
    fn the_number_of_drops_follows_the_law() {
        let slope = 4.1 * 10_f64.powf(-0.21);
        let expected = 8000.0 / slope * (-slope * 0.5).exp();
        assert!((expected - 894.0).abs() < 10.0, "{expected}");
        let image = Linear::new(100, 100);
        let field = Field::new(&image, expected, 1.0, 2.0);
        let crowded = Field::new(&image, 1e6, 1.0, 2.0);
        let volume = (crowded.far_m.powi(3) - 1.0) / 3.0;
        assert!((volume * 1e6 / MAX_PARTICLES - 1.0).abs() < 1e-6);
        // A pyramid of 1 x 1 at a distance of 1, between 1 and 2: 7/3 of a cubic metre.
        let mut generator = SeedKey::new(b"test", 0).generator("count", 0);
        let count = field.count(expected, &mut generator) as f64;
        assert!((count - expected * 7.0 / 3.0).abs() < 5.0 * count.sqrt());
    }
}
