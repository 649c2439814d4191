//! The sensor: from light to the numbers of a raw file.

use rand::Rng as _;

use super::Camera;
use super::scene::{Scene, beyond};
use crate::augment::photometric::Linear;
use crate::augment::variates::{COUNTED_BELOW, Normals, Poissons, skewed};
use crate::seed::{Generator, SeedKey};

/// Photosites around the picture on each side, for filters that look beyond it; even,
/// so that the colours fall as without it. The scene goes on there as at the border.
pub const MARGIN: usize = 2;

/// What the sensor recorded, as in a raw file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// Width and height of the picture within the margin, pixels.
    pub size_px: [usize; 2],
    /// Rows of `size_px[0] + 2 MARGIN` numbers, `size_px[1] + 2 MARGIN` of them. Red is
    /// at even columns of even rows, blue at odd of odd, green elsewhere (RGGB).
    pub dn: Vec<u16>,
}

impl Raw {
    /// Photosites in a row.
    pub fn stride(&self) -> usize {
        self.size_px[0] + 2 * MARGIN
    }
}

/// The converter: what stands in the raw file for no light, for one electron, at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Converter {
    /// Number of no electrons, 1/16 of all numbers.
    pub black_dn: f64,
    /// Largest number.
    pub top_dn: f64,
    /// System gain K of EMVA 1288, numbers in one electron.
    pub gain_dn_per_e: f64,
}

impl Camera {
    /// The converter at this ISO setting: at ISO 100 a full well is the largest number.
    pub fn converter(&self) -> Converter {
        let numbers = f64::from(1_u32 << self.bits.clamp(8, 14));
        let (black_dn, top_dn) = (numbers / 16.0, numbers - 1.0);
        let white_e = self.full_well_e * 100.0 / self.iso;
        Converter {
            black_dn,
            top_dn,
            gain_dn_per_e: (top_dn - black_dn) / white_e,
        }
    }
}

/// Exposes the sensor to the photograph's light: the steps of Brooks et al. 2019 in
/// reverse order (tone curve, colour matrix, white balance, mosaic), then the noise of
/// EMVA 1288 (release 3.1, linear model): `dn = black + K (Poisson + read + row)`.
pub fn expose(image: &Linear, camera: &Camera) -> Raw {
    let size_px = [image.width() as usize, image.height() as usize];
    let mut raw = Raw {
        size_px,
        dn: Vec::new(),
    };
    if size_px.contains(&0) {
        return raw;
    }
    let [width, height] = size_px;
    let stride = raw.stride();
    raw.dn = vec![0; stride * (height + 2 * MARGIN)];
    let scene = Scene::new(camera);
    let mut noise = SensorNoise::new(camera, raw.dn.len());
    let mut light = vec![0.0; 3 * width];
    let mut electrons = vec![0.0; stride];
    let row = |y: usize| &image.as_raw()[3 * width * y..][..3 * width];
    for (y, to) in raw.dn.chunks_exact_mut(stride).enumerate() {
        let image_y = y.saturating_sub(MARGIN).min(height - 1);
        scene.light(row(image_y), &mut light);
        let steps = (image_y + MARGIN).abs_diff(y);
        if steps > 0 {
            let before = if y < MARGIN {
                1.min(height - 1)
            } else {
                height.saturating_sub(2)
            };
            let border = light.clone();
            let mut next = light.clone();
            scene.light(row(before), &mut next);
            beyond(&border, &next, steps, &mut light);
        }
        scene.mosaic(&light, y, &mut electrons);
        noise.read_out(&mut electrons, y, to);
    }
    raw
}

/// Everything random about the sensor. Each kind has a generator of its own, so that
/// changing one leaves the others' draws.
struct SensorNoise {
    normals: Normals,
    poissons: Poissons,
    sites: Generator,
    rows: Generator,
    dark_e: f32,
    read_e: f32,
    row_e: f32,
    /// Place and electrons of each hot pixel, in order of place.
    hot: std::iter::Peekable<std::vec::IntoIter<(usize, f32)>>,
    black_dn: f32,
    top_dn: f32,
    gain: f32,
    normal: Vec<f32>,
    bytes: Vec<u8>,
}

impl SensorNoise {
    fn new(camera: &Camera, sites: usize) -> Self {
        let key = SeedKey::new(b"camera sensor", camera.seed);
        let converter = camera.converter();
        let hot = hot_pixels(camera, sites, &mut key.generator("hot pixels", 0));
        SensorNoise {
            normals: Normals::new(),
            poissons: Poissons::new(),
            sites: key.generator("photosites", 0),
            rows: key.generator("rows", 0),
            dark_e: camera.dark_current_e.max(0.0) as f32,
            read_e: camera.read_noise_e.max(0.0) as f32,
            row_e: camera.row_noise_e.max(0.0) as f32,
            hot: hot.into_iter().peekable(),
            black_dn: converter.black_dn as f32,
            top_dn: converter.top_dn as f32,
            gain: converter.gain_dn_per_e as f32,
            normal: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Reads row `y` out: mean electrons from light become numbers.
    fn read_out(&mut self, electrons: &mut [f32], y: usize, to: &mut [u16]) {
        for mean in electrons.iter_mut() {
            *mean += self.dark_e;
        }
        let first = y * electrons.len();
        while let Some((place, extra)) = self
            .hot
            .next_if(|(place, _)| *place < first + electrons.len())
        {
            electrons[place - first] += extra;
        }
        self.normal.resize(electrons.len(), 0.0);
        self.normals
            .fill(&mut self.normal, &mut self.bytes, &mut self.sites);
        let read_variance = self.read_e * self.read_e;
        let row = self.row_e * self.normals.draw(&mut self.rows);
        let offset = self.black_dn + self.gain * row + 0.5;
        // Two loops over short pieces: the first is the same for all and vectorises, the
        // second mends the few that are dim, while the piece is at hand.
        for ((means, normals), to) in electrons
            .chunks(64)
            .zip(self.normal.chunks(64))
            .zip(to.chunks_mut(64))
        {
            let mut dim = false;
            for ((mean, z), to) in means.iter().zip(normals).zip(to.iter_mut()) {
                let value = skewed(*mean, read_variance, *z);
                *to = number(offset + self.gain * value, self.top_dn);
                dim |= *mean < COUNTED_BELOW;
            }
            if !dim {
                continue;
            }
            for ((mean, z), to) in means.iter().zip(normals).zip(to.iter_mut()) {
                if *mean < COUNTED_BELOW {
                    let count = self.poissons.draw(*mean, &mut self.sites);
                    let value = count as f32 + self.read_e * z;
                    *to = number(offset + self.gain * value, self.top_dn);
                }
            }
        }
    }
}

/// Rounds down (half was added) and clips.
#[inline]
fn number(dn: f32, top: f32) -> u16 {
    dn.max(0.0).min(top) as i32 as u16
}

/// Places of the hot pixels, by the gaps between them, and their exponential charge.
fn hot_pixels(camera: &Camera, sites: usize, generator: &mut Generator) -> Vec<(usize, f32)> {
    let share = camera.hot_pixels.clamp(0.0, 1.0);
    let mut hot = Vec::new();
    if share <= 0.0 || camera.hot_pixel_e <= 0.0 {
        return hot;
    }
    // In (0, 1], so that the logarithm is finite.
    let mut uniform = || (f64::from(generator.next_u32()) + 1.0) / 4_294_967_296.0;
    let mut place = 0.0;
    loop {
        if share < 1.0 {
            place += (uniform().ln() / (-share).ln_1p()).floor();
        }
        if place >= sites as f64 {
            return hot;
        }
        hot.push((
            place as usize,
            (-uniform().ln() * camera.hot_pixel_e) as f32,
        ));
        place += 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::camera::Colour;
    use image::Rgb;

    /// No noise but the photons', and the same sensitivity for all colours.
    const PLAIN: Camera = Camera {
        ev: 0.0,
        iso: 100.0,
        full_well_e: 10_000.0,
        read_noise_e: 0.0,
        row_noise_e: 0.0,
        dark_current_e: 0.0,
        hot_pixels: 0.0,
        hot_pixel_e: 0.0,
        bits: 14,
        denoise: 0.0,
        sharpen: 0.0,
        tone: 0.0,
        headroom_ev: 0.0,
        colour: Colour {
            weights: [1.0; 4],
            red_gain: 1.0,
            blue_gain: 1.0,
        },
        seed: 3,
    };

    /// Numbers above black of a flat field.
    fn field(size: [u32; 2], light: f64, camera: &Camera) -> (Vec<f64>, usize) {
        let image = Linear::from_pixel(size[0], size[1], Rgb([light as f32; 3]));
        let raw = expose(&image, camera);
        let black = camera.converter().black_dn;
        let dn = raw.dn.iter().map(|dn| f64::from(*dn) - black).collect();
        (dn, raw.stride())
    }

    fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }

    fn variance(values: &[f64]) -> f64 {
        let mean = mean(values);
        values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64
    }

    /// The photon transfer method of EMVA 1288: the variance of a flat field is a line over
    /// its mean, whose slope is the gain and whose start is the noise in the dark. The
    /// fit weighs each level by the inverse square of its variance.
    #[test]
    fn photon_transfer_gives_gain_and_read_noise_within_2_percent() {
        for (iso, read_noise_e) in [(100.0, 7.0), (400.0, 3.0), (1600.0, 1.5)] {
            let camera = Camera {
                iso,
                read_noise_e,
                ..PLAIN
            };
            let gain = camera.converter().gain_dn_per_e;
            let most_e = camera.full_well_e * 100.0 / iso * 0.9;
            let electrons = [
                0.0, 0.3, 1.0, 2.0, 4.0, 7.0, 11.0, 16.0, 22.0, 28.0, 31.9, 32.1, 36.0, 45.0, 60.0,
                80.0, 110.0, 150.0, 200.0, 260.0, 320.0, 400.0, 450.0, most_e,
            ];
            let [mut w, mut wx, mut wy, mut wxx, mut wxy] = [0.0; 5];
            for (level, electrons) in electrons.into_iter().enumerate() {
                let camera = Camera {
                    seed: level as u64,
                    ..camera
                };
                let (dn, _) = field([400, 300], electrons / camera.full_well_e, &camera);
                let (x, y) = (mean(&dn), variance(&dn) - 1.0 / 12.0);
                let error = 5.0 * (y / dn.len() as f64).sqrt();
                assert!(
                    (x - gain * electrons).abs() < error.max(1e-3),
                    "{electrons}: {x}"
                );
                let weight = 1.0 / (y * y);
                w += weight;
                wx += weight * x;
                wy += weight * y;
                wxx += weight * x * x;
                wxy += weight * x * y;
            }
            let slope = (w * wxy - wx * wy) / (w * wxx - wx * wx);
            let start = (wy - slope * wx) / w;
            assert!(
                (slope / gain - 1.0).abs() < 0.02,
                "ISO {iso}: {slope} and {gain}"
            );
            let expected = (gain * read_noise_e).powi(2);
            assert!(
                (start / expected - 1.0).abs() < 0.02,
                "ISO {iso}: {start}, {expected}"
            );
        }
    }

    #[test]
    fn iso_doubles_the_gain_and_halves_the_electrons_of_white() {
        let faster = Camera {
            iso: 200.0,
            ..PLAIN
        };
        let [slow, fast] = [PLAIN, faster].map(|camera| camera.converter().gain_dn_per_e);
        assert!((fast / slow - 2.0).abs() < 1e-12);
        let [slow, fast] = [PLAIN, faster].map(|c| mean(&field([200, 200], 0.3, &c).0));
        assert!((fast / slow - 2.0).abs() < 0.002, "{slow} and {fast}");
        let top = |camera: &Camera, light| field([8, 8], light, camera).0[0];
        assert_eq!(top(&faster, 0.6), 16383.0 - 1024.0);
        assert!(top(&PLAIN, 0.6) < 10_000.0);
    }

    /// Rounding a value that lies anywhere between two numbers has a variance of 1/12.
    #[test]
    fn quantisation_adds_a_twelfth() {
        for bits in [8, 10, 14] {
            let camera = Camera {
                bits,
                full_well_e: 1e9,
                ..PLAIN
            };
            let light = |x: u32, y: u32| ((x * 7919 + y * 104_729) % 99_991) as f32 / 99_991.0;
            let image = Linear::from_fn(300, 300, |x, y| Rgb([light(x, y) * 0.99; 3]));
            let raw = expose(&image, &camera);
            let converter = camera.converter();
            let errors: Vec<f64> = image
                .enumerate_pixels()
                .map(|(x, y, rgb)| {
                    let place = (y as usize + MARGIN) * raw.stride() + x as usize + MARGIN;
                    let full = converter.gain_dn_per_e * camera.full_well_e;
                    f64::from(raw.dn[place]) - converter.black_dn - f64::from(rgb[0]) * full
                })
                .collect();
            // The photons of 1e9 electrons leave 0.24 numbers in 14 bits: K^2 e / 2.
            let photons = converter.gain_dn_per_e.powi(2) * camera.full_well_e * 0.99 / 2.0;
            let expected = 1.0 / 12.0 + photons;
            assert!((variance(&errors) / expected - 1.0).abs() < 0.02, "{bits}");
            assert!(mean(&errors).abs() < 0.01);
        }
    }

    #[test]
    fn few_electrons_are_whole_ones() {
        let camera = Camera {
            iso: 51_200.0,
            ..PLAIN
        };
        let gain = camera.converter().gain_dn_per_e;
        let (dn, _) = field([60, 60], 5.0 / camera.full_well_e, &camera);
        let counts: Vec<f64> = dn
            .iter()
            .map(|dn| dn / gain)
            .filter(|n| *n < 19.0)
            .collect();
        assert!(counts.iter().all(|n| (n - n.round()).abs() < 0.6 / gain));
        assert!((variance(&counts) / 5.0 - 1.0).abs() < 0.12);
    }

    #[test]
    fn row_noise_is_seen_across_rows_only() {
        let camera = Camera {
            read_noise_e: 2.0,
            row_noise_e: 20.0,
            ..PLAIN
        };
        let gain = camera.converter().gain_dn_per_e;
        let (dn, stride) = field([64, 3000], 0.0, &camera);
        let rows: Vec<f64> = dn.chunks_exact(stride).map(mean).collect();
        let within: Vec<f64> = dn.chunks_exact(stride).map(variance).collect();
        assert!((variance(&rows).sqrt() / gain / 20.0 - 1.0).abs() < 0.06);
        let read = ((mean(&within) - 1.0 / 12.0).sqrt() / gain / 2.0 - 1.0).abs();
        assert!(read < 0.02);
        let columns: Vec<f64> = (0..stride)
            .map(|x| {
                mean(
                    &dn.iter()
                        .skip(x)
                        .step_by(stride)
                        .copied()
                        .collect::<Vec<_>>(),
                )
            })
            .collect();
        assert!(variance(&columns).sqrt() / gain < 0.1);
    }

    #[test]
    fn dark_current_has_its_mean_and_as_much_variance() {
        for dark_current_e in [0.5, 12.0, 400.0] {
            let camera = Camera {
                dark_current_e,
                read_noise_e: 3.0,
                iso: 200.0,
                ..PLAIN
            };
            let gain = camera.converter().gain_dn_per_e;
            let (dn, _) = field([400, 300], 0.0, &camera);
            let count = dn.len() as f64;
            let expected = dark_current_e + 9.0;
            let error = (mean(&dn) / gain - dark_current_e).abs();
            assert!(error < 5.0 * (expected / count).sqrt(), "{dark_current_e}");
            let found = (variance(&dn) - 1.0 / 12.0) / gain.powi(2);
            assert!(
                (found / expected - 1.0).abs() < 0.02,
                "{dark_current_e}: {found}"
            );
        }
    }

    #[test]
    fn hot_pixels_have_their_share_and_an_exponential_tail() {
        for hot_pixels in [0.001, 0.05] {
            let camera = Camera {
                hot_pixels,
                hot_pixel_e: 800.0,
                read_noise_e: 5.0,
                ..PLAIN
            };
            let gain = camera.converter().gain_dn_per_e;
            let (dn, _) = field([600, 500], 0.0, &camera);
            for threshold_e in [100.0, 800.0, 2400.0_f64] {
                let seen = dn.iter().filter(|dn| **dn > gain * threshold_e).count() as f64;
                let share = hot_pixels * (-threshold_e / 800.0).exp();
                let expected = share * dn.len() as f64;
                assert!(
                    (seen - expected).abs() < 4.0 * expected.sqrt(),
                    "{seen}, {expected}"
                );
            }
        }
    }

    #[test]
    fn noise_of_neighbouring_photosites_is_independent() {
        let camera = Camera {
            read_noise_e: 4.0,
            ..PLAIN
        };
        let (dn, stride) = field([500, 300], 0.2, &camera);
        let (centre, spread) = (mean(&dn), variance(&dn));
        for lag in [1, 2, stride, stride + 1] {
            let products = dn
                .iter()
                .zip(&dn[lag..])
                .map(|(a, b)| (a - centre) * (b - centre));
            let correlation = products.sum::<f64>() / dn.len() as f64 / spread;
            assert!(correlation.abs() < 0.012, "lag {lag}: {correlation}");
        }
    }
}
