//! What is seen where no object is, pixel by pixel, as both renderers show it.

use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use glam::Vec3;
use half::f16;

use super::view::View;
use crate::scene::{Photo, PhotoError, Picture, SceneInstance, value_noise};

/// The largest radiance of a picture's white, which no exposure reaches: the shoulder of the
/// development ends at full scale only far from it.
const WHITEST: f32 = 0.995;

/// A picture that does not depend on the camera, as radiance that the development at 0 EV
/// gives back as it was.
#[derive(Debug, Clone)]
pub(super) struct Fill {
    /// Row by row from the top left.
    radiance: Vec<Vec3>,
}

impl Fill {
    /// The picture of a scene; `None` where its background is its environment.
    ///
    /// # Errors
    /// A photograph is not there any more.
    pub(super) fn new(scene: &SceneInstance) -> Result<Option<Self>, PhotoError> {
        let (width, height) = (scene.width_px as usize, scene.height_px as usize);
        let colour = |linear_rgb: Vec3| Vec3::from(linear_rgb.to_array().map(undeveloped));
        let by_place = |at: &dyn Fn(usize, usize) -> Vec3| {
            let pixels = (0..width * height).map(|index| at(index % width, index / width));
            pixels.map(colour).collect()
        };
        let radiance = match &scene.background.picture {
            Picture::Environment => return Ok(None),
            Picture::Colour { linear_rgb } => vec![colour(*linear_rgb); width * height],
            Picture::Gradient {
                top_linear_rgb,
                bottom_linear_rgb,
            } => by_place(&|_, y| {
                let down = (y as f32 + 0.5) / height as f32;
                top_linear_rgb.lerp(*bottom_linear_rgb, down)
            }),
            Picture::Noise {
                first_linear_rgb,
                second_linear_rgb,
                scale_px,
                offset,
            } => by_place(&|x, y| {
                let at = Vec3::new(x as f32, y as f32, 0.0) / *scale_px + *offset;
                let noise = 0.65 * value_noise(at) + 0.35 * value_noise(at * 2.7);
                // Mostly between a quarter and three quarters.
                let share = (2.0 * noise - 0.5).clamp(0.0, 1.0);
                first_linear_rgb.lerp(*second_linear_rgb, share)
            }),
            Picture::Photo {
                photo,
                crop_px,
                is_mirrored,
            } => photo_radiance(photo, *crop_px, *is_mirrored, width, height)?,
        };
        Ok(Some(Fill { radiance }))
    }

    /// Its mean.
    pub(super) fn mean(&self) -> Vec3 {
        let sum: Vec3 = self.radiance.iter().sum();
        sum / self.radiance.len().max(1) as f32
    }
}

/// Radiance of each pixel where no object is, with a fourth number that means nothing. Where
/// there is no picture, `beyond` tells it for a unit direction and an angle in which it may be
/// averaged.
pub(super) fn backdrop(
    scene: &SceneInstance,
    view: &View,
    fill: Option<&Fill>,
    beyond: impl Fn(Vec3, f32) -> Vec3,
) -> Vec<[f16; 4]> {
    let stored = |radiance: Vec3| {
        let largest = f16::MAX.to_f32();
        let values = radiance.min(Vec3::splat(largest)).extend(1.0);
        values.to_array().map(f16::from_f32)
    };
    if let Some(fill) = fill {
        return fill.radiance.iter().copied().map(stored).collect();
    }
    let (width, height) = (scene.width_px as usize, scene.height_px as usize);
    let half_side_m = scene.ground.half_side_m;
    let pixel_rad = 1.0 / view.focal_px;
    let pixels = (0..width * height).map(|index| {
        let at = |place: usize, count: usize| (place as f32 + 0.5) / count as f32 * 2.0 - 1.0;
        let ray = view.ray(at(index % width, width), -at(index / width, height));
        // Most pixels show the ground.
        let down = view.position.z / -ray.z.min(-1e-9);
        let on_ground = (view.position + ray * down).truncate().abs().max_element();
        let is_ground = ray.z < 0.0 && view.position.z > 0.0 && on_ground < 0.99 * half_side_m;
        if is_ground && !scene.background.covers_ground {
            return Vec3::ZERO;
        }
        beyond(ray.normalize(), pixel_rad)
    });
    pixels.map(stored).collect()
}

/// The part of a photograph in the image's size.
fn photo_radiance(
    photo: &Photo,
    [left, top, crop_width, crop_height]: [f32; 4],
    is_mirrored: bool,
    width: usize,
    height: usize,
) -> Result<Vec<Vec3>, PhotoError> {
    const SIZES: &str = "both pictures have three bytes a pixel";
    let [photo_width, photo_height] = photo.size_px();
    let pixels = photo.read()?.into_raw();
    let source = Image::from_vec_u8(photo_width, photo_height, pixels, PixelType::U8x3);
    let mut sized = Image::new(width as u32, height as u32, PixelType::U8x3);
    let options = ResizeOptions::new()
        .crop(
            f64::from(left),
            f64::from(top),
            f64::from(crop_width),
            f64::from(crop_height),
        )
        .resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    Resizer::new()
        .resize(&source.expect(SIZES), &mut sized, &options)
        .expect(SIZES);
    let table: Vec<f32> = (0..=255)
        .map(|value| undeveloped(crate::scene::Colour([value; 3]).linear_rgb()[0]))
        .collect();
    let of_pixel = |pixel: &[u8; 3]| Vec3::from(pixel.map(|value| table[usize::from(value)]));
    let rows = sized.buffer().as_chunks::<3>().0.chunks(width);
    Ok(rows
        .flat_map(|row| {
            let straight = row.iter().map(of_pixel);
            match is_mirrored {
                true => straight.rev().collect::<Vec<_>>(),
                false => straight.collect(),
            }
        })
        .collect())
}

/// The radiance that the shoulder of the development turns into this value at 0 EV.
fn undeveloped(linear: f32) -> f32 {
    let over = linear.min(WHITEST) - 0.7;
    if over <= 0.0 {
        linear
    } else {
        0.7 - 0.3 * (1.0 - over / 0.3).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shoulder_is_undone() {
        for value in [0.0, 0.3, 0.7, 0.8, 0.99] {
            let radiance = undeveloped(value);
            let over = (radiance - 0.7).max(0.0);
            let developed = radiance.min(0.7) + 0.3 * (1.0 - (-over / 0.3).exp());
            assert!((developed - value).abs() < 1e-5, "{value}: {developed}");
        }
        assert!(undeveloped(1.0).is_finite());
    }
}
