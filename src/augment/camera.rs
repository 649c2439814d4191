//! A camera in reverse and forward.
//!
//! A finished photograph is taken back to the light that fell on the sensor, exposed
//! anew with the sensor's noise, and developed again. The way back is that of Brooks et
//! al. 2019 ("Unprocessing Images for Learned Raw Denoising"); the sensor is the linear
//! model of the EMVA standard 1288, release 3.1.

mod colour;
mod demosaic;
mod denoise;
mod develop;
mod scene;
mod sensor;
mod tone;
mod window;

use super::photometric::Linear;
use develop::develop;
use sensor::expose;

/// A camera and its settings for one picture, with no choice left. The ranges are those that
/// the table of transforms keeps.
///
/// The photograph is taken as an exposure in which sRGB white just filled the wells of
/// green photosites. A picture keeps its brightness when `ev` and `iso` change against
/// each other: `ev: -3.0, iso: 800.0` looks as bright as the photograph, with the noise
/// of an eighth of the electrons.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Camera {
    /// Light on the sensor relative to the photograph's, stops, `-12..=12`.
    pub ev: f64,
    /// ISO setting, `100..=409_600`. At 100 a full well is the converter's largest
    /// number; above, the analogue gain grows and fewer electrons make white. Settings
    /// below 100 are no gain of a sensor but a darker development of ISO 100.
    pub iso: f64,
    /// Electrons in a full well, `500..=1e9`; no real one holds over some 200,000, and
    /// 1e9 leaves no photon noise to be seen.
    pub full_well_e: f64,
    /// Temporal noise of reading a photosite, electrons rms, `0..=100`.
    pub read_noise_e: f64,
    /// Noise that a row of photosites shares, electrons rms, `0..=50`.
    pub row_noise_e: f64,
    /// Mean electrons that gather in the dark during the exposure, `0..=10_000`. Their
    /// mean is taken off again, their photon-like noise stays.
    pub dark_current_e: f64,
    /// Share of photosites that gather many more in the dark, `0..=0.05`.
    pub hot_pixels: f64,
    /// Mean of those further electrons, distributed exponentially, `0..=200_000`.
    pub hot_pixel_e: f64,
    /// Bits of the converter, `8..=14`; 1/16 of the numbers lie below black.
    pub bits: u8,
    /// Strength of the noise filter, `0..=1`; 0.5 is usual.
    pub denoise: f64,
    /// Amount of unsharp masking, `0..=2`.
    pub sharpen: f64,
    /// Share of the S-shaped tone curve in the photograph, `0..=1`, undone before and
    /// laid over the result again.
    pub tone: f64,
    /// Stops by which the photograph's clipped white may have been brighter than white,
    /// `0..=12`. Of use below 0 `ev` only, where blown skies would else turn grey.
    pub headroom_ev: f64,
    /// The colours that the sensor sees.
    pub colour: Colour,
    /// Seed of all noise.
    pub seed: u64,
}

/// The colour response of a sensor in the scene's light.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Colour {
    /// Weights of four real sensors' colour matrices, each at least 0: a telephone
    /// (Nexus 6P), Sony ILCE-7R, Canon EOS 5D Mark II, Nikon D3. Their sum is of no
    /// importance.
    pub weights: [f64; 4],
    /// White-balance gain of red over green, `0.5..=4`: near 2 in daylight, near 1.2 in
    /// the light of a lamp.
    pub red_gain: f64,
    /// White-balance gain of blue over green, `0.5..=4`: near 1.6 in daylight, near 2.8
    /// in the light of a lamp.
    pub blue_gain: f64,
}

#[cfg(test)]
impl Default for Camera {
    /// A good compact camera in a living room: an eighth of the light, ISO 800.
    fn default() -> Self {
        Camera {
            ev: -3.0,
            iso: 800.0,
            full_well_e: 15_000.0,
            read_noise_e: 2.5,
            row_noise_e: 0.3,
            dark_current_e: 1.0,
            hot_pixels: 1e-5,
            hot_pixel_e: 200.0,
            bits: 12,
            denoise: 0.5,
            sharpen: 0.5,
            tone: 0.5,
            headroom_ev: 2.0,
            colour: Colour::default(),
            seed: 0,
        }
    }
}

#[cfg(test)]
impl Default for Colour {
    /// Equal parts of all sensors in daylight.
    fn default() -> Self {
        Colour {
            weights: [1.0; 4],
            red_gain: 2.0,
            blue_gain: 1.6,
        }
    }
}

/// Takes the photograph again with this camera, whose numbers are in their ranges.
///
/// Light in and out is linear sRGB; light beyond 1 that comes in is real and is seen
/// at a lower exposure. What comes out is within `0..=1`. Linear light rather than an
/// 8-bit picture is taken, because a lens or weather before the sensor acts on light,
/// and light beyond white would be lost.
pub(super) fn photograph(image: &Linear, camera: &Camera) -> Linear {
    develop(&expose(image, camera), camera)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::photometric::{linear_from_srgb, srgb_from_linear};
    use image::Rgb;
    use proptest::prelude::*;

    /// Gives a picture back, but for demosaicing.
    fn identity() -> Camera {
        Camera {
            ev: 0.0,
            iso: 100.0,
            full_well_e: 1e9,
            read_noise_e: 0.0,
            row_noise_e: 0.0,
            dark_current_e: 0.0,
            hot_pixels: 0.0,
            bits: 14,
            denoise: 0.0,
            sharpen: 0.0,
            tone: 0.0,
            ..Camera::default()
        }
    }

    fn flat(light: [f32; 3]) -> Linear {
        Linear::from_pixel(64, 48, Rgb(light))
    }

    fn moments(image: &Linear, channel: usize) -> (f64, f64) {
        let values: Vec<f64> = image.pixels().map(|p| f64::from(p[channel])).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        (mean, squares / values.len() as f64)
    }

    /// Slopes of up to 3 levels a pixel, up to the border.
    #[test]
    fn a_smooth_picture_comes_back_within_a_level() {
        let image = Linear::from_fn(97, 61, |x, y| {
            let (x, y) = (x as f32 / 97.0, y as f32 / 61.0);
            let wave = |phase: f32| 128.0 + 100.0 * (2.0 * x + 1.5 * y + phase).sin();
            Rgb([0.0, 0.7, 1.3].map(|phase| linear_from_srgb(wave(phase) / 255.0)))
        });
        for tone in [0.0, 0.5, 1.0] {
            for weights in [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]] {
                let mut camera = identity();
                camera.tone = tone;
                camera.colour.weights = weights;
                let again = photograph(&image, &camera);
                for (x, y, pixel) in again.enumerate_pixels() {
                    for (a, b) in pixel.0.into_iter().zip(image.get_pixel(x, y).0) {
                        let off = 255.0 * (srgb_from_linear(a) - srgb_from_linear(b)).abs();
                        assert!(off < 1.0, "{tone}, {x}, {y}: {off}");
                    }
                }
            }
        }
    }

    #[test]
    fn less_light_at_a_higher_iso_is_as_bright_and_as_noisy_as_its_electrons() {
        let camera = Camera {
            full_well_e: 20_000.0,
            ..identity()
        };
        let dim = Camera {
            ev: -3.0,
            iso: 800.0,
            ..camera
        };
        let image = Linear::from_pixel(300, 200, Rgb([0.4; 3]));
        let [full, eighth] = [camera, dim].map(|camera| moments(&photograph(&image, &camera), 1));
        assert!((full.0 - 0.4).abs() < 0.001 && (eighth.0 - 0.4).abs() < 0.001);
        assert!(
            (eighth.1 / full.1 / 8.0 - 1.0).abs() < 0.06,
            "{full:?}, {eighth:?}"
        );
    }

    /// At +3 stops all colours of a sky are beyond white. Its red is balanced by 2 and would
    /// reach twice white, a pink, were it not clipped where green is full.
    #[test]
    fn blown_highlights_are_neutral_white() {
        let sky = [0.55, 0.7, 0.95];
        let camera = Camera {
            ev: 3.0,
            ..identity()
        };
        for pixel in photograph(&flat(sky), &camera).pixels() {
            assert_eq!(pixel.0, [1.0; 3]);
        }
        // A channel that is not full keeps what it has.
        let deep = photograph(&flat([0.02, 0.2, 0.9]), &Camera { ev: 2.0, ..camera });
        let (red, blue) = (moments(&deep, 0).0, moments(&deep, 2).0);
        assert!(red < 0.2 && blue > 0.95, "{red} {blue}");
    }

    #[test]
    fn light_beyond_white_survives_a_lower_exposure() {
        let camera = Camera {
            ev: -3.0,
            headroom_ev: 0.0,
            ..identity()
        };
        for (light, expected) in [(4.0, 0.5), (2.0, 0.25), (1.0, 0.125), (9.0, 1.0)] {
            for tone in [0.0, 0.5] {
                let camera = Camera { tone, ..camera };
                let seen = moments(&photograph(&flat([light; 3]), &camera), 1).0;
                let plain = tone == 0.0 || expected == 1.0;
                assert!(!plain || (seen - expected).abs() < 1e-3, "{light}: {seen}");
            }
        }
    }

    #[test]
    fn headroom_keeps_clipped_white_and_nothing_else() {
        let camera = Camera {
            ev: -3.0,
            headroom_ev: 12.0,
            ..identity()
        };
        let seen =
            |light: f32, camera: &Camera| moments(&photograph(&flat([light; 3]), camera), 1).0;
        assert!((seen(1.0, &camera) - 1.0).abs() < 1e-3);
        assert!((seen(0.8, &camera) - 0.1).abs() < 1e-3);
        let one_stop = Camera {
            headroom_ev: 1.0,
            ..camera
        };
        assert!((seen(1.0, &one_stop) - 0.25).abs() < 1e-3);
        assert!((seen(0.95, &Camera { ev: 0.0, ..camera }) - 0.95).abs() < 1e-3);
    }

    #[test]
    fn developed_noise_is_correlated_and_sharpening_raises_it() {
        let camera = Camera {
            full_well_e: 5000.0,
            ..identity()
        };
        let image = Linear::from_pixel(200, 200, Rgb([0.3; 3]));
        let picture = photograph(&image, &camera);
        let (mean, variance) = moments(&picture, 0);
        let red = |x: u32, y: u32| f64::from(picture.get_pixel(x, y)[0]) - mean;
        let places = (0..200).flat_map(|y| (0..199).map(move |x| (x, y)));
        let product: f64 = places.map(|(x, y)| red(x, y) * red(x + 1, y)).sum();
        let correlation = product / f64::from(200 * 199) / variance;
        assert!(correlation > 0.2, "{correlation}");
        let sharper = photograph(
            &image,
            &Camera {
                sharpen: 1.0,
                ..camera
            },
        );
        assert!(moments(&sharper, 1).1 > 1.5 * moments(&picture, 1).1);
        assert!((moments(&sharper, 1).0 - mean).abs() < 0.01);
    }

    #[test]
    fn a_sensor_full_in_the_dark_gives_white() {
        let camera = Camera {
            iso: 6400.0,
            dark_current_e: 10_000.0,
            ..Camera::default()
        };
        assert_eq!(
            moments(&photograph(&flat([0.1; 3]), &camera), 1),
            (1.0, 0.0)
        );
    }

    #[test]
    fn dark_current_leaves_black_black() {
        let camera = Camera {
            dark_current_e: 500.0,
            full_well_e: 15_000.0,
            ..identity()
        };
        let black = moments(&photograph(&flat([0.0; 3]), &camera), 1).0;
        assert!(srgb_from_linear(black as f32) * 255.0 < 4.0, "{black}");
    }

    #[test]
    fn the_same_seed_gives_the_same_picture_and_another_does_not() {
        let image = flat([0.2, 0.4, 0.1]);
        let camera = Camera::default();
        let picture = photograph(&image, &camera);
        assert_eq!(picture, photograph(&image, &camera));
        assert_ne!(picture, photograph(&image, &Camera { seed: 1, ..camera }));
    }

    fn any_camera() -> impl Strategy<Value = Camera> {
        let light = (
            -12.0..=12.0,
            100.0..=409_600.0,
            500.0..=1e9,
            0.0..=100.0,
            0.0..=50.0,
        );
        let dark = (0.0..=10_000.0, 0.0..=0.05, 0.0..=200_000.0, 8..=14_u8);
        let look = (0.0..=1.0, 0.0..=2.0, 0.0..=1.0, 0.0..=12.0);
        let colour = (prop::array::uniform4(0.0..=1.0), 0.5..=4.0, 0.5..=4.0);
        (light, dark, look, colour, any::<u64>()).prop_map(|(light, dark, look, colour, seed)| {
            Camera {
                ev: light.0,
                iso: light.1,
                full_well_e: light.2,
                read_noise_e: light.3,
                row_noise_e: light.4,
                dark_current_e: dark.0,
                hot_pixels: dark.1,
                hot_pixel_e: dark.2,
                bits: dark.3,
                denoise: look.0,
                sharpen: look.1,
                tone: look.2,
                headroom_ev: look.3,
                colour: Colour {
                    weights: colour.0,
                    red_gain: colour.1,
                    blue_gain: colour.2,
                },
                seed,
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn every_setting_and_size_gives_light_from_black_to_white(
            camera in any_camera(),
            width in 1..12_u32,
            height in 1..12_u32,
        ) {
            let wild = [0.0, 0.5, 1.0, f32::NAN, f32::INFINITY, -1.0, 70.0];
            for values in [&wild[..], &wild[..3]] {
                let image = Linear::from_fn(width, height, |x, y| {
                    Rgb([0, 1, 2].map(|c| values[(x + 3 * y + c) as usize % values.len()]))
                });
                let picture = photograph(&image, &camera);
                prop_assert_eq!(picture.dimensions(), (width, height));
                prop_assert!(picture.iter().all(|value| (0.0..=1.0).contains(value)));
            }
        }
    }

    #[test]
    fn narrow_pictures_keep_their_colour() {
        for (width, height) in [(1, 1), (1, 7), (7, 1), (2, 2), (3, 5)] {
            let image = Linear::from_pixel(width, height, Rgb([0.6, 0.3, 0.1]));
            let picture = photograph(&image, &identity());
            for (a, b) in picture.iter().zip(image.iter()) {
                assert!((a - b).abs() < 2e-3, "{width} x {height}: {a} and {b}");
            }
        }
        assert_eq!(
            photograph(&Linear::new(0, 0), &identity()).dimensions(),
            (0, 0)
        );
    }
}
