//! The developer: from the numbers of a raw file to a picture.

use super::denoise::{Planes, Profile, denoise};
use super::sensor::{MARGIN, Raw};
use super::tone::Curve;
use super::{Camera, colour, demosaic};
use crate::augment::photometric::Linear;

/// At most this share of the numbers is taken off for dark current; a sensor that is
/// full in the dark gives white.
const MOST_DARK: f64 = 0.875;

/// How one camera's numbers become light.
struct Levels {
    /// Number of no light: black level and mean dark current.
    black_dn: f64,
    /// Light in one number, green.
    light_per_dn: f64,
    balance: [f64; 3],
}

impl Levels {
    fn new(camera: &Camera) -> Self {
        let converter = camera.converter();
        let range = converter.top_dn - converter.black_dn;
        let dark = camera.dark_current_e.max(0.0) * converter.gain_dn_per_e;
        let dark = dark.min(MOST_DARK * range);
        Levels {
            black_dn: converter.black_dn + dark,
            light_per_dn: 1.0 / (range - dark),
            balance: camera.balance(),
        }
    }

    /// Light on one row of photosites, white-balanced and clipped at 1.
    fn balance_row(&self, dn: &[u16], row: usize, to: &mut [f32]) {
        let [red, green, blue] = self.balance.map(|gain| (gain * self.light_per_dn) as f32);
        let (even, odd) = if row.is_multiple_of(2) {
            (red, green)
        } else {
            (green, blue)
        };
        let black = self.black_dn as f32;
        for (x, (to, dn)) in to.iter_mut().zip(dn).enumerate() {
            let gain = if x & 1 == 0 { even } else { odd };
            let light = (f32::from(*dn) - black) * gain;
            *to = if light < 1.0 { light } else { 1.0 };
        }
    }

    /// The noise of a flat field (EMVA 1288, linear model) in terms of light.
    fn profile(&self, camera: &Camera) -> Profile {
        let light_per_e = camera.converter().gain_dn_per_e * self.light_per_dn;
        let dark = camera.dark_current_e + camera.read_noise_e.powi(2) + camera.row_noise_e.powi(2);
        Profile {
            shot: light_per_e as f32,
            floor: (light_per_e.powi(2) * dark + self.light_per_dn.powi(2) / 12.0) as f32,
            balance: self.balance.map(|gain| gain as f32),
        }
    }
}

/// Develops a raw file with the settings with which it was taken: black level, white
/// balance, demosaicing, noise filter, colour matrix, sharpening, tone curve. White is
/// where the least amplified channel is full, and all channels are clipped there.
pub fn develop(raw: &Raw, camera: &Camera) -> Linear {
    const FITS: &str = "a picture has three values a pixel";
    let [width, height] = raw.size_px;
    if width == 0 || height == 0 {
        return Linear::new(width as u32, height as u32);
    }
    let levels = Levels::new(camera);
    let profile = levels.profile(camera);
    let mut planes = demosaiced(raw.size_px, profile.slack(), |row, to| {
        levels.balance_row(&raw.dn[row * raw.stride()..], row, to);
    });
    if camera.denoise > 0.0 {
        denoise(&mut planes, &profile, camera.denoise.min(1.0) as f32);
    }
    finish(&mut planes, camera);
    Linear::from_raw(width as u32, height as u32, planes.rows).expect(FITS)
}

/// All colours of each pixel of a mosaic whose rows, with their margin, `fill` gives.
pub(super) fn demosaiced(
    size_px: [usize; 2],
    slack: f32,
    mut fill: impl FnMut(usize, &mut [f32]),
) -> Planes {
    let [width, height] = size_px;
    let stride = width + 2 * MARGIN;
    let mut planes = Planes {
        size_px,
        rows: vec![0.0; 3 * width * height],
    };
    let mut mosaic = vec![0.0; 5 * stride];
    let mut rgb = vec![0.0; 3 * width];
    for row in 0..height + 2 * MARGIN {
        fill(row, &mut mosaic[row % 5 * stride..][..stride]);
        let Some(y) = row.checked_sub(4) else {
            continue;
        };
        let rows = std::array::from_fn(|dy| &mosaic[(y + dy) % 5 * stride..][..stride]);
        let (red, rest) = rgb.split_at_mut(width);
        let (green, blue) = rest.split_at_mut(width);
        demosaic::row(rows, y, slack, [&mut *red, &mut *green, &mut *blue]);
        let (red, green, blue) = (&red[..width], &green[..width], &blue[..width]);
        let [luma, first, second] = planes.rows_mut(y).map(|row| &mut row[..width]);
        for x in 0..width {
            first[x] = red[x] - green[x];
            second[x] = blue[x] - green[x];
            luma[x] = green[x] + 0.25 * (first[x] + second[x]);
        }
    }
    planes
}

/// From rows of luma and chroma to the picture's rows of linear sRGB, in place.
fn finish(planes: &mut Planes, camera: &Camera) {
    let [width, height] = planes.size_px;
    let rgb_from_camera = colour::inverse(&colour::camera_from_rgb(camera.colour.weights));
    // Luma goes to all alike, since the rows sum to 1; the chromas as far as they are
    // not in luma.
    let weights = rgb_from_camera.map(|row| [(row[0] - 0.25) as f32, (row[2] - 0.25) as f32]);
    let curve = (camera.tone > 0.0).then(|| Curve::apply(camera.tone.min(1.0)));
    let mut sharpener = Sharpener::new(planes.size_px, camera.sharpen.max(0.0) as f32);
    let mut row = vec![0.0; 3 * width];
    for step in 0..height + 2 {
        if step < height {
            let to = &mut planes.rows[3 * step * width..][..3 * width];
            row.copy_from_slice(to);
            colours(&row, weights, to);
            sharpener.see(step, to);
        }
        if let Some(y) = step.checked_sub(2) {
            let rgb = &mut planes.rows[3 * y * width..][..3 * width];
            sharpener.apply(y, rgb);
            match &curve {
                Some(curve) => rgb.iter_mut().for_each(|v| *v = curve.at(*v).min(1.0)),
                None => rgb.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0)),
            }
        }
    }
}

/// One row of luma and chromas to pixels of linear sRGB.
fn colours(from: &[f32], weights: [[f32; 2]; 3], to: &mut [f32]) {
    let (luma, chroma) = from.split_at(from.len() / 3);
    let (first, second) = chroma.split_at(luma.len());
    let pixels = to.chunks_exact_mut(3).zip(luma).zip(first).zip(second);
    for (((to, luma), first), second) in pixels {
        for (to, weights) in to.iter_mut().zip(weights) {
            *to = luma + weights[0] * first + weights[1] * second;
        }
    }
}

/// Unsharp masking: the square root of luminance, near to how bright it looks, is moved
/// away from its mean over 5 x 5 pixels with binomial weights (a spread of 1 pixel),
/// and the same light is added to all channels, so that the colour difference stays.
struct Sharpener {
    size_px: [usize; 2],
    amount: f32,
    /// The last five rows of square roots.
    roots: Vec<f32>,
    column: Vec<f32>,
    more: Vec<f32>,
}

impl Sharpener {
    fn new(size_px: [usize; 2], amount: f32) -> Self {
        let [width, _] = size_px;
        Sharpener {
            size_px,
            amount,
            roots: vec![0.0; 5 * width],
            column: vec![0.0; width + 4],
            more: vec![0.0; width],
        }
    }

    /// Takes the picture's next row, `y`.
    fn see(&mut self, y: usize, rgb: &[f32]) {
        if self.amount <= 0.0 {
            return;
        }
        let [width, _] = self.size_px;
        let roots = &mut self.roots[y % 5 * width..][..width];
        for (root, rgb) in roots.iter_mut().zip(rgb.chunks_exact(3)) {
            let luminance = 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2];
            *root = luminance.max(0.0);
        }
        roots.iter_mut().for_each(|root| *root = root.sqrt());
    }

    /// Sharpens row `y`, once row `y + 2`, or the last, was taken.
    fn apply(&mut self, y: usize, rgb: &mut [f32]) {
        const BINOMIAL: [f32; 3] = [0.375, 0.25, 0.0625];
        if self.amount <= 0.0 {
            return;
        }
        let ([width, height], amount) = (self.size_px, self.amount);
        let row = |dy: usize| {
            let y = (y + dy).saturating_sub(2).min(height - 1);
            &self.roots[y % 5 * width..][..width]
        };
        let (a, b, c, d, e) = (row(0), row(1), row(2), row(3), row(4));
        let inner = &mut self.column[2..][..width];
        for x in 0..width {
            let outer = BINOMIAL[2] * (a[x] + e[x]);
            inner[x] = outer + BINOMIAL[1] * (b[x] + d[x]) + BINOMIAL[0] * c[x];
        }
        let (first, last) = (inner[0], inner[width - 1]);
        self.column[..2].fill(first);
        self.column[width + 2..].fill(last);
        let at = |dx: usize| &self.column[dx..][..width];
        let (a, b, m, d, e) = (at(0), at(1), at(2), at(3), at(4));
        let more = &mut self.more[..width];
        for x in 0..width {
            let outer = BINOMIAL[2] * (a[x] + e[x]);
            let mean = outer + BINOMIAL[1] * (b[x] + d[x]) + BINOMIAL[0] * m[x];
            let sharper = c[x] + amount * (c[x] - mean);
            let sharper = if sharper > 0.0 { sharper } else { 0.0 };
            more[x] = sharper * sharper - c[x] * c[x];
        }
        for (rgb, more) in rgb.chunks_exact_mut(3).zip(&*more) {
            rgb.iter_mut().for_each(|value| *value += more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::camera::expose;
    use image::Rgb;

    /// The noise filter knows the noise: the variance of luma in a flat field, with all of
    /// the camera's noise but that of rows, is the one that the profile gives.
    #[test]
    fn the_profile_is_the_noise_of_a_developed_flat_field() {
        for (iso, light, dark_current_e) in
            [(100.0, 0.5, 0.0), (1600.0, 0.2, 20.0), (6400.0, 0.05, 4.0)]
        {
            let camera = Camera {
                ev: -(iso / 100.0_f64).log2(),
                iso,
                dark_current_e,
                row_noise_e: 0.0,
                hot_pixels: 0.0,
                tone: 0.0,
                ..Camera::default()
            };
            let raw = expose(&Linear::from_pixel(300, 200, Rgb([light; 3])), &camera);
            let levels = Levels::new(&camera);
            let profile = levels.profile(&camera);
            let mut planes = demosaiced(raw.size_px, profile.slack(), |row, to| {
                levels.balance_row(&raw.dn[row * raw.stride()..], row, to);
            });
            let rows = (0..200).flat_map(|y| planes.rows_mut(y)[0].to_vec());
            let luma: Vec<f64> = rows.map(f64::from).collect();
            let mean = luma.iter().sum::<f64>() / luma.len() as f64;
            let variance = luma.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / luma.len() as f64;
            let expected = f64::from(profile.luma(mean as f32));
            assert!(
                (variance / expected - 1.0).abs() < 0.06,
                "ISO {iso}: {variance}, {expected}"
            );
            let brighter = 1.0 / (1.0 - dark_current_e / (15_000.0 * 100.0 / iso));
            assert!(
                (mean / f64::from(light) / brighter - 1.0).abs() < 0.02,
                "ISO {iso}: {mean}"
            );
        }
    }
}
