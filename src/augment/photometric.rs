//! Light and sensor, all in linear light.

use std::sync::LazyLock;

use image::{ImageBuffer, Rgb, RgbImage};

use super::variates::Normals;
use super::wide::wide;
use crate::seed::SeedKey;

/// An image in linear light; 1.0 is sRGB white.
pub(super) type Linear = ImageBuffer<Rgb<f32>, Vec<f32>>;

/// Linear light of an encoded value in `0..=1` (IEC 61966-2-1).
pub fn linear_from_srgb(encoded: f32) -> f32 {
    if encoded <= 0.04045 {
        encoded / 12.92
    } else {
        ((encoded + 0.055) / 1.055).powf(2.4)
    }
}

/// Encoded value of linear light in `0..=1` (IEC 61966-2-1).
pub fn srgb_from_linear(linear: f32) -> f32 {
    if linear <= 0.003_130_8 {
        12.92 * linear
    } else {
        1.055 * linear.powf(1.0 / 2.4) - 0.055
    }
}

/// Linear light of each 8-bit level.
pub(super) static LINEAR_OF_LEVEL: LazyLock<[f32; 256]> =
    LazyLock::new(|| std::array::from_fn(|level| linear_from_srgb(level as f32 / 255.0)));

/// The least linear light that rounds to each 8-bit level.
/// There is none for the one beyond white.
static FLOOR_OF_LEVEL: LazyLock<[f32; 257]> = LazyLock::new(|| {
    std::array::from_fn(|level| match level {
        0 => f32::NEG_INFINITY,
        256 => f32::INFINITY,
        _ => linear_from_srgb((level as f32 - 0.5) / 255.0),
    })
});

/// Cells into which linear light is cut to find its level without a power: so many that each
/// is narrower than a level.
const CELLS: usize = 16384;

/// The level at the lower end of each cell, which reaches half a cell to either side of its
/// number.
static LEVEL_OF_CELL: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let level = |cell: usize| {
        let value = (cell as f32 - 0.5) / CELLS as f32;
        (FLOOR_OF_LEVEL.partition_point(|floor| *floor <= value) - 1) as u8
    };
    (0..=CELLS).map(level).collect()
});

/// Finds levels of linear light.
#[derive(Clone, Copy)]
pub(super) struct Levels {
    floors: &'static [f32; 257],
    cells: &'static [u8],
}

impl Levels {
    pub fn new() -> Self {
        Levels {
            floors: &FLOOR_OF_LEVEL,
            cells: &LEVEL_OF_CELL,
        }
    }

    /// The nearest 8-bit level of linear light; that beyond white is white.
    #[inline(always)]
    pub fn of(self, linear: f32) -> u8 {
        let value = linear.clamp(0.0, 1.0);
        // Adding this leaves the nearest whole number in the last bits. NaN comes out at some
        // cell, as it must at some level.
        const SHIFT: f32 = 8_388_608.0;
        let cell = (value * CELLS as f32 + SHIFT).to_bits() & 0x7FFF;
        let level = self.cells[(cell as usize).min(CELLS)];
        level + u8::from(self.floors[usize::from(level) + 1] <= value)
    }
}

pub(super) fn decode(image: &RgbImage) -> Linear {
    let table: &[f32; 256] = &LINEAR_OF_LEVEL;
    let mut linear = Linear::new(image.width(), image.height());
    for (to, from) in linear.iter_mut().zip(image.as_raw()) {
        *to = table[usize::from(*from)];
    }
    linear
}

/// Clips at white, as a sensor does, and rounds to 8 bits.
pub(super) fn encode(linear: &Linear) -> RgbImage {
    let mut image = RgbImage::new(linear.width(), linear.height());
    encode_values(linear.as_raw(), Levels::new(), &mut image);
    image
}

wide! {
    fn encode_values(linear: &[f32], levels: Levels, to: &mut [u8]) {
        for (to, from) in to.iter_mut().zip(linear) {
            *to = levels.of(*from);
        }
    }
}

/// The nearest 8-bit level of linear light; that beyond white is white.
pub(super) fn level_of(linear: f32) -> u8 {
    Levels::new().of(linear)
}

/// Raises an encoded value to a power, in linear light: below 1 brightens the dark parts.
pub(super) fn gamma(power: f32) -> impl Fn(f32) -> f32 {
    move |linear| {
        let encoded = srgb_from_linear(linear.clamp(0.0, 1.0));
        linear_from_srgb(encoded.powf(power))
    }
}

/// The same of many values: read from a table where the curve is not steep.
pub(super) fn gamma_of_many(power: f32) -> impl Fn(f32) -> f32 {
    const CELLS: usize = 4096;
    /// Below, where the curve can be steep, it is not read from the table.
    const TABLE_FROM: f32 = 0.02;
    let exact = gamma(power);
    let table: Vec<f32> = (0..=CELLS + 1)
        .map(|cell| exact((cell as f32 / CELLS as f32).min(1.0)))
        .collect();
    move |value| {
        let linear = value.clamp(0.0, 1.0);
        if linear < TABLE_FROM {
            return exact(linear);
        }
        let place = linear * CELLS as f32;
        let cell = place as usize;
        let share = place - cell as f32;
        table[cell] + share * (table[cell + 1] - table[cell])
    }
}

/// Poisson-Gaussian noise in its normal approximation: the variance of a value `v` is
/// `shot * v + read^2` (Foi et al. 2008, "Practical Poissonian-Gaussian noise
/// modeling", equation 3).
pub(super) fn noise(image: &mut Linear, shot: f32, read: f32, seed: u64) {
    let mut generator = SeedKey::new(b"sensor noise", seed).generator("pixels", 0);
    let normals = Normals::new();
    let (mut drawn, mut bytes) = (vec![0.0; 3 * image.width() as usize], Vec::new());
    for line in image.chunks_exact_mut(drawn.len().max(1)) {
        normals.fill(&mut drawn, &mut bytes, &mut generator);
        for (value, z) in line.iter_mut().zip(&drawn) {
            *value += (shot * value.max(0.0) + read * read).sqrt() * z;
        }
    }
}

/// Linear sRGB gains of a scene lit at `kelvin` and developed for [`NEUTRAL_KELVIN`];
/// the luminance of grey stays (Rec. 709 weights).
///
/// The light's chromaticity is that of a black body (Krystek 1985, "An algorithm to
/// calculate correlated colour temperature", for 1,000 to 15,000 K), moved by
/// `tint_duv` across the locus in CIE 1960 u, v; positive is greener (the sign of
/// ANSI C78.377).
pub fn colour_temperature_gains(kelvin: f64, tint_duv: f64) -> [f64; 3] {
    let light = light_linear_rgb(kelvin, tint_duv);
    let neutral = light_linear_rgb(NEUTRAL_KELVIN, 0.0);
    let gains: [f64; 3] = std::array::from_fn(|channel| light[channel] / neutral[channel]);
    let luminance = 0.2126 * gains[0] + 0.7152 * gains[1] + 0.0722 * gains[2];
    gains.map(|gain| gain / luminance)
}

/// The colour temperature at which nothing changes: that of D65, sRGB's white.
pub const NEUTRAL_KELVIN: f64 = 6504.0;

/// CIE 1960 u, v of a black body.
fn planck_uv(kelvin: f64) -> [f64; 2] {
    let t = kelvin;
    let u = (0.860_117_757 + 1.541_182_54e-4 * t + 1.286_412_12e-7 * t * t)
        / (1.0 + 8.424_202_35e-4 * t + 7.081_451_63e-7 * t * t);
    let v = (0.317_398_726 + 4.228_062_45e-5 * t + 4.204_816_91e-8 * t * t)
        / (1.0 - 2.897_418_16e-5 * t + 1.614_560_53e-7 * t * t);
    [u, v]
}

/// Linear sRGB of a light of luminance 1; a channel outside the gamut is 0.
fn light_linear_rgb(kelvin: f64, tint_duv: f64) -> [f64; 3] {
    let [u, v] = planck_uv(kelvin);
    // The locus runs from `cooler` to `warmer`; green lies across it, at higher v.
    let ([cooler_u, cooler_v], [warmer_u, warmer_v]) =
        (planck_uv(kelvin * 1.001), planck_uv(kelvin * 0.999));
    let (du, dv) = (warmer_u - cooler_u, warmer_v - cooler_v);
    let length = du.hypot(dv);
    let (u, v) = (u - tint_duv * dv / length, v + tint_duv * du / length);
    // CIE 1960 to XYZ with Y = 1, then to linear sRGB (IEC 61966-2-1).
    let x = 1.5 * u / v;
    let z = (4.0 - u - 10.0 * v) / (2.0 * v);
    [
        3.240_6 * x - 1.537_2 - 0.498_6 * z,
        -0.968_9 * x + 1.875_8 + 0.041_5 * z,
        0.055_7 * x - 0.204_0 + 1.057_0 * z,
    ]
    .map(|channel: f64| channel.max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(image: &Linear) -> f64 {
        image.iter().map(|v| f64::from(*v)).sum::<f64>() / image.len() as f64
    }

    #[test]
    fn eight_bits_survive_the_round_trip() {
        let all = RgbImage::from_fn(256, 1, |x, _| Rgb([x as u8; 3]));
        assert_eq!(encode(&decode(&all)), all);
    }

    #[test]
    fn the_table_rounds_as_the_formula_does() {
        let count = 300_000;
        let linear = Linear::from_fn(count, 1, |x, _| Rgb([x as f32 / count as f32 * 1.1; 3]));
        let image = encode(&linear);
        for (value, level) in linear.iter().zip(image.iter()) {
            let exact = srgb_from_linear(value.clamp(0.0, 1.0)) * 255.0;
            // The level is the nearest one; half way between two, either.
            let distance = (exact - f32::from(*level)).abs();
            assert!(distance < 0.5 + 1e-3, "{value}: {exact} and {level}");
        }
        let wild = Linear::from_fn(3, 1, |x, _| Rgb([[f32::NAN, -3.0, 9.0][x as usize]; 3]));
        assert_eq!(encode(&wild).as_raw()[3..9], [0, 0, 0, 255, 255, 255]);
    }

    /// Worked by hand: sRGB level 188 is 0.5029 in linear light, since
    /// ((188 / 255 + 0.055) / 1.055)^2.4 = 0.5029.
    #[test]
    fn mid_grey_has_half_the_light_of_white() {
        assert!((linear_from_srgb(188.0 / 255.0) - 0.5029).abs() < 1e-4);
        assert!((srgb_from_linear(0.5) * 255.0 - 187.52).abs() < 0.01);
    }

    #[test]
    fn gamma_raises_the_encoded_value() {
        // Level 64 to the power 0.5: 255 * sqrt(64 / 255) = 127.75.
        let raised =
            [64_u8, 0, 255].map(|level| level_of(gamma(0.5)(LINEAR_OF_LEVEL[usize::from(level)])));
        assert_eq!(raised, [128, 0, 255]);
        for power in [0.1, 0.8, 1.7, 10.0] {
            let raised = gamma(power);
            for x in 0..5000 {
                let value = x as f32 / 4999.0;
                let exact = srgb_from_linear(value).powf(power);
                let levels = 255.0 * (srgb_from_linear(raised(value)) - exact).abs();
                assert!(levels < 0.05, "{power} at {x}: {levels} levels off");
            }
        }
    }

    #[test]
    fn noise_has_the_models_variance_at_every_level() {
        let (shot, read) = (0.01, 0.02);
        for level in [0.0_f32, 0.05, 0.3, 1.0] {
            let mut image = Linear::from_pixel(200, 200, Rgb([level; 3]));
            noise(&mut image, shot, read, 1);
            let count = image.len() as f64;
            let variance = image
                .iter()
                .map(|v| f64::from(*v - level).powi(2))
                .sum::<f64>()
                / count;
            let expected = f64::from(shot * level + read * read);
            // Five standard errors of a variance: sqrt(2 / count) each.
            assert!((variance / expected - 1.0).abs() < 5.0 * (2.0 / count).sqrt());
            assert!((mean(&image) - f64::from(level)).abs() < 5.0 * (expected / count).sqrt());
        }
    }

    /// CIE illuminant A is a black body at 2,856 K with x = 0.44758, y = 0.40745
    /// (CIE 15), so u = 4x / (-2x + 12y + 3) = 0.25598 and v = 6y / (...) = 0.34954.
    #[test]
    fn the_locus_goes_through_illuminant_a() {
        let [u, v] = planck_uv(2856.0);
        assert!((u - 0.25598).abs() < 2e-4 && (v - 0.34954).abs() < 2e-4);
    }

    #[test]
    fn colour_temperature_warms_cools_and_tints_without_changing_luminance() {
        let neutral = colour_temperature_gains(NEUTRAL_KELVIN, 0.0);
        assert!(neutral.iter().all(|gain| (gain - 1.0).abs() < 1e-12));
        let mut last = f64::INFINITY;
        for kelvin in [2000.0, 3000.0, 4500.0, 6504.0, 9000.0, 15000.0] {
            let [red, green, blue] = colour_temperature_gains(kelvin, 0.0);
            assert!(
                red / blue < last,
                "{kelvin} K is cooler than the one before"
            );
            last = red / blue;
            assert!((0.2126 * red + 0.7152 * green + 0.0722 * blue - 1.0).abs() < 1e-12);
        }
        let green_share = |duv| {
            let [red, green, blue] = colour_temperature_gains(5000.0, duv);
            green / (red + blue)
        };
        assert!(green_share(0.02) > green_share(0.0) && green_share(0.0) > green_share(-0.02));
    }
}
