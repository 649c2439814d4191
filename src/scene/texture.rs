//! Pictures that surfaces show.

use std::sync::LazyLock;

use fast_image_resize::images::Image;
use fast_image_resize::{PixelType, ResizeOptions, Resizer};
use glam::{Vec2, Vec4};
use image::RgbaImage;

/// The longest side of a layer, in texels.
const MAX_SIDE_PX: u32 = 2048;

/// The shortest.
const MIN_SIDE_PX: u32 = 64;

/// Layers that a family may have: what every adapter can hold.
pub(super) const MAX_LAYERS: usize = 256;

/// All layers and their levels take less memory than this, in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// Pictures are made smaller than this before they are resampled in floating point.
const MAX_SOURCE_PX: u32 = 2 * MAX_SIDE_PX;

/// What of a layer's side stays free around a picture that keeps its proportions, so that
/// nothing of it comes over the other edge.
const MARGIN: f32 = 1.0 / 64.0;

/// A picture and how it fills its layer.
#[derive(Debug)]
pub(super) struct Source {
    /// sRGB with straight alpha.
    pub picture: RgbaImage,
    /// Whether it keeps its proportions, and leaves room around; otherwise it fills the layer.
    pub is_fitted: bool,
}

/// One picture as a square with a power of two texels a side.
#[derive(Debug, Clone, PartialEq)]
struct Layer {
    /// From the finest to one texel: sRGB-encoded colours times alpha, and alpha.
    levels: Vec<Vec<[u8; 4]>>,
    /// Share of width and height that the picture takes, in the middle.
    filled: Vec2,
    /// The picture's width over its height.
    aspect: f32,
}

/// The pictures that a family's surfaces show, all resampled to one size.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Textures {
    side_px: u32,
    layers: Vec<Layer>,
}

impl Textures {
    pub(super) fn new(sources: Vec<Source>) -> Self {
        if sources.is_empty() {
            return Textures::default();
        }
        let side_px = side_for(&sources);
        let layers = sources.into_iter().map(|source| layer(source, side_px));
        Textures {
            side_px,
            layers: layers.collect(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// Texels along each side of a layer; 0 where there are none.
    pub fn side_px(&self) -> u32 {
        self.side_px
    }

    /// The levels of one layer from the finest on, in rows: sRGB-encoded colours that are
    /// multiplied by alpha in linear light, and alpha.
    pub fn levels(&self, layer: usize) -> impl Iterator<Item = &[[u8; 4]]> {
        self.layers[layer].levels.iter().map(Vec::as_slice)
    }

    /// The share of a layer's width and height that its picture takes, in the middle.
    pub(super) fn filled(&self, layer: usize) -> Vec2 {
        self.layers[layer].filled
    }

    /// Width over height of a layer's picture.
    pub(super) fn aspect(&self, layer: usize) -> f32 {
        self.layers[layer].aspect
    }

    /// Linear colour times alpha, and alpha, around a point of a layer; the unit square
    /// repeats. `footprint` is the side of what is averaged, over the layer's side.
    pub fn at(&self, layer: usize, uv: Vec2, footprint: f32) -> Vec4 {
        let levels = &self.layers[layer].levels;
        let last = levels.len() - 1;
        let level = (footprint * self.side_px as f32).max(1.0).log2();
        let level = level.min(last as f32);
        let (finer, share) = (level as usize, level.fract());
        let sample = |number: usize| bilinear(&levels[number], self.side_px >> number, uv);
        match share > 0.0 {
            true => sample(finer).lerp(sample((finer + 1).min(last)), share),
            false => sample(finer),
        }
    }
}

/// The side for which all pictures keep their detail, where there is room for that.
fn side_for(sources: &[Source]) -> u32 {
    let longest = |source: &Source| source.picture.width().max(source.picture.height());
    let longest = sources.iter().map(longest).max().unwrap_or(1);
    // A little detail is given up before four times the memory is taken.
    let mut side = (longest - longest / 4).next_power_of_two();
    side = side.clamp(MIN_SIDE_PX, MAX_SIDE_PX);
    let bytes = |side: u32| sources.len() as u64 * u64::from(side).pow(2) * 4 * 4 / 3;
    while bytes(side) > MAX_BYTES && side > MIN_SIDE_PX {
        side /= 2;
    }
    side
}

fn layer(source: Source, side: u32) -> Layer {
    let mut picture = source.picture;
    let longest = picture.width().max(picture.height());
    if longest > MAX_SOURCE_PX {
        let scale = f64::from(MAX_SOURCE_PX) / f64::from(longest);
        let [width, height] = [picture.width(), picture.height()]
            .map(|length| ((f64::from(length) * scale) as u32).max(1));
        picture = image::imageops::thumbnail(&picture, width, height);
    }
    let size = Vec2::new(picture.width() as f32, picture.height() as f32);
    let room = match source.is_fitted {
        true => size / size.max_element() * (1.0 - 2.0 * MARGIN),
        false => Vec2::ONE,
    };
    let taken = (room * side as f32).round().max(Vec2::ONE);
    let [width, height] = taken.to_array().map(|length| length as u32);
    let resized = resampled(&picture, width, height);
    let mut texels = vec![Vec4::ZERO; (side * side) as usize];
    let [left, top] = [(side - width) / 2, (side - height) / 2].map(|first| first as usize);
    for (row, line) in resized.chunks_exact(width as usize).enumerate() {
        let first = (top + row) * side as usize + left;
        texels[first..first + line.len()].copy_from_slice(line);
    }
    let filled = taken / side as f32;
    let mut levels = vec![encoded(&texels)];
    let mut side = side as usize;
    while side > 1 {
        texels = halved(&texels, side);
        side /= 2;
        levels.push(encoded(&texels));
    }
    Layer {
        levels,
        filled,
        aspect: size.x / size.y,
    }
}

/// Linear colours times alpha, and alpha, at another size.
fn resampled(picture: &RgbaImage, width: u32, height: u32) -> Vec<Vec4> {
    let linear = picture.pixels().map(|pixel| decoded(pixel.0, true));
    let mut texels: Vec<Vec4> = linear.collect();
    if picture.dimensions() == (width, height) {
        return texels;
    }
    let (from_width, from_height) = picture.dimensions();
    let bytes = bytemuck::cast_slice_mut(&mut texels);
    let from = Image::from_slice_u8(from_width, from_height, bytes, PixelType::F32x4)
        .expect("the buffer has four floats a pixel");
    let mut to = Image::new(width, height, PixelType::F32x4);
    // Alpha is in the colours already.
    let options = ResizeOptions::new().use_alpha(false);
    Resizer::new()
        .resize(&from, &mut to, &options)
        .expect("both images have pixels of one type");
    // The filter rings a little past what colours there are.
    let texels = to.buffer().as_chunks::<16>().0.iter();
    let in_range = |texel: &[u8; 16]| -> Vec4 {
        let texel: Vec4 = bytemuck::pod_read_unaligned(texel);
        texel.clamp(Vec4::ZERO, Vec4::splat(texel.w.clamp(0.0, 1.0)))
    };
    texels.map(in_range).collect()
}

/// Means of squares of four texels.
fn halved(texels: &[Vec4], side: usize) -> Vec<Vec4> {
    let half = side / 2;
    let mean = |index: usize| {
        let first = index / half * 2 * side + index % half * 2;
        let upper = texels[first] + texels[first + 1];
        let lower = texels[first + side] + texels[first + side + 1];
        (upper + lower) / 4.0
    };
    (0..half * half).map(mean).collect()
}

/// Linear light of each sRGB value (IEC 61966-2-1).
static LINEAR: LazyLock<[f32; 256]> = LazyLock::new(|| {
    std::array::from_fn(|value| {
        let value = value as f32 / 255.0;
        match value <= 0.04045 {
            true => value / 12.92,
            false => ((value + 0.055) / 1.055).powf(2.4),
        }
    })
});

/// Linear colour and alpha of a texel; a straight one's colour is multiplied by its alpha.
fn decoded([red, green, blue, alpha]: [u8; 4], is_straight: bool) -> Vec4 {
    let alpha = f32::from(alpha) / 255.0;
    let factor = if is_straight { alpha } else { 1.0 };
    let [red, green, blue] = [red, green, blue].map(|value| LINEAR[value as usize] * factor);
    Vec4::new(red, green, blue, alpha)
}

fn encoded(texels: &[Vec4]) -> Vec<[u8; 4]> {
    let byte = |value: f32| (value * 255.0 + 0.5) as u8;
    let curve = |linear: f32| match linear <= 0.003_130_8 {
        true => 12.92 * linear,
        false => 1.055 * linear.powf(1.0 / 2.4) - 0.055,
    };
    let texel = |texel: &Vec4| {
        let [red, green, blue, alpha] = texel.to_array();
        let [red, green, blue] = [red, green, blue].map(|linear| byte(curve(linear)));
        [red, green, blue, byte(alpha)]
    };
    texels.iter().map(texel).collect()
}

/// Between four texels of a level that repeats.
fn bilinear(texels: &[[u8; 4]], side: u32, uv: Vec2) -> Vec4 {
    let at = (uv - uv.floor()) * side as f32 - 0.5;
    let (corner, share) = (at.floor(), at - at.floor());
    // A power of two: the mask wraps around both edges.
    let mask = side as i32 - 1;
    let texel = |dx: i32, dy: i32| {
        let x = (corner.x as i32 + dx) & mask;
        let y = (corner.y as i32 + dy) & mask;
        decoded(texels[(y * side as i32 + x) as usize], false)
    };
    let upper = texel(0, 0).lerp(texel(1, 0), share.x);
    let lower = texel(0, 1).lerp(texel(1, 1), share.x);
    upper.lerp(lower, share.y)
}

#[cfg(test)]
mod tests {
    use image::Rgba;

    use super::*;

    fn filling(picture: RgbaImage) -> Source {
        Source {
            picture,
            is_fitted: false,
        }
    }

    #[test]
    fn texels_are_found_where_the_picture_has_them() {
        let picture = RgbaImage::from_fn(64, 64, |x, y| Rgba([x as u8 * 4, y as u8 * 4, 0, 255]));
        let textures = Textures::new(vec![filling(picture)]);
        assert_eq!(textures.side_px(), 64);
        let found = textures.at(0, Vec2::new(40.5, 10.5) / 64.0, 0.0);
        let expected = decoded([160, 40, 0, 255], true);
        assert!((found - expected).abs().max_element() < 1e-6);
        // It repeats.
        let further = textures.at(0, Vec2::new(40.5, 10.5) / 64.0 - 3.0, 0.0);
        assert!((found - further).abs().max_element() < 1e-4);
    }

    #[test]
    fn what_is_seen_from_afar_is_the_mean_in_linear_light() {
        let checker = |x: u32, y: u32| Rgba([255 * ((x + y) % 2) as u8, 0, 0, 255]);
        let textures = Textures::new(vec![filling(RgbaImage::from_fn(128, 128, checker))]);
        let found = textures.at(0, Vec2::splat(0.3), 1.0);
        assert!((found - Vec4::new(0.5, 0.0, 0.0, 1.0)).abs().max_element() < 3e-3);
        // Between two levels it changes evenly.
        let [near, middle, far] =
            [0.25, 0.354, 0.5].map(|side| textures.at(0, Vec2::splat(0.3), side));
        assert!(((near + far) / 2.0 - middle).abs().max_element() < 2e-3);
    }

    #[test]
    fn a_fitted_picture_keeps_its_proportions_and_nothing_is_around_it() {
        let picture = RgbaImage::from_pixel(256, 64, Rgba([255; 4]));
        let textures = Textures::new(vec![Source {
            picture,
            is_fitted: true,
        }]);
        let filled = textures.filled(0);
        assert!((filled.x / filled.y / textures.aspect(0) - 1.0).abs() < 0.03);
        let at = |share: Vec2| textures.at(0, 0.5 + filled * share / 2.0, 0.0);
        assert_eq!(at(Vec2::ZERO), Vec4::ONE);
        assert_eq!(at(Vec2::new(0.98, 0.0)), Vec4::ONE);
        assert_eq!(at(Vec2::new(0.0, 1.2)), Vec4::ZERO);
        let edge = at(Vec2::new(0.0, 1.0));
        assert!((0.2..0.8).contains(&edge.w) && edge.x == edge.w, "{edge}");
    }

    #[test]
    fn transparent_texels_lend_no_colour() {
        let picture = RgbaImage::from_fn(64, 64, |x, _| match x < 32 {
            true => Rgba([0, 255, 0, 0]),
            false => Rgba([255, 0, 0, 255]),
        });
        let found = Textures::new(vec![filling(picture)]).at(0, Vec2::splat(0.5), 1.0);
        assert!((found - Vec4::new(0.5, 0.0, 0.0, 0.5)).abs().max_element() < 3e-3);
    }

    #[test]
    fn many_or_large_pictures_take_bounded_memory() {
        let large = || filling(RgbaImage::new(5000, 40));
        assert_eq!(side_for(&[large()]), MAX_SIDE_PX);
        let many: Vec<Source> = (0..150).map(|_| large()).collect();
        assert_eq!(side_for(&many), 512);
        assert_eq!(side_for(&[filling(RgbaImage::new(1, 3))]), MIN_SIDE_PX);
        assert_eq!(side_for(&[filling(RgbaImage::new(1100, 600))]), 1024);
    }
}
