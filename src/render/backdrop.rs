//! What is seen where no object is, pixel by pixel, as both renderers show it.

use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use glam::{Vec2, Vec3};
use half::f16;

use super::view::View;
use crate::scene::{Photo, PhotoError, Picture, Projection, SceneInstance, value_noise};

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

/// Radiance of each pixel of what is drawn where no object is, with a fourth number that means
/// nothing. Where there is no picture, `beyond` tells it for a unit direction and an angle in which it may be
/// averaged.
pub(super) fn backdrop(
    scene: &SceneInstance,
    projection: &Projection,
    view: &View,
    fill: Option<&Fill>,
    beyond: impl Fn(Vec3, f32) -> Vec3,
) -> Vec<[f16; 4]> {
    let stored = |radiance: Vec3| {
        let largest = f16::MAX.to_f32();
        let values = radiance.min(Vec3::splat(largest)).extend(1.0);
        values.to_array().map(f16::from_f32)
    };
    let [width, height] = view.size_px.map(|side| side as usize);
    match fill {
        Some(fill) if !projection.is_distorted() => {
            return fill.radiance.iter().copied().map(stored).collect();
        }
        // The picture is there before the lens bends it, which it shall not.
        Some(fill) => {
            let last = Vec2::new(scene.width_px as f32, scene.height_px as f32) - 1.0;
            let pixels = (0..width * height).map(|index| {
                let at = Vec2::new((index % width) as f32, (index / width) as f32) + 0.5;
                let tangents = view.tangents_at(at);
                let direction = Vec3::new(tangents.x, -tangents.y, 1.0);
                let seen = projection.image_point(direction).unwrap_or(Vec2::ZERO);
                let place = seen.clamp(Vec2::ZERO, last);
                fill.radiance[place.y as usize * scene.width_px as usize + place.x as usize]
            });
            return pixels.map(stored).collect();
        }
        None => {}
    }
    let half_side_m = scene.ground.half_side_m;
    let pixel_rad = 1.0 / view.focal_px;
    let ray = |x: f32, y: f32| view.ray(Vec2::new(x, y));
    let is_ground = |ray: Vec3| {
        let down = view.position.z / -ray.z.min(-1e-9);
        let place = (view.position + ray * down).truncate();
        ray.z < 0.0 && view.position.z > 0.0 && place.abs().max_element() < half_side_m
    };
    let pixels = (0..width * height).map(|index| {
        let (x, y) = ((index % width) as f32, (index / width) as f32);
        // Most pixels show the ground, with all that lies around them.
        let corners = [(-1.0, -1.0), (2.0, -1.0), (-1.0, 2.0), (2.0, 2.0)];
        let hidden = corners
            .iter()
            .all(|(right, down)| is_ground(ray(x + right, y + down)));
        if hidden && !scene.background.covers_ground {
            return Vec3::ZERO;
        }
        beyond(ray(x + 0.5, y + 0.5).normalize(), pixel_rad)
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
    use std::path::Path;

    use super::super::{Frame, GpuContext, Renderer};
    use super::*;
    use crate::scene::{self, ScenePlan};
    use crate::seed::SeedKey;

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

    /// A white ball of 60 mm on a grey ground, seen from straight above, with further keys.
    const SCENE: &str = "
image: {width_px: 160, height_px: 120, format: png}
camera: {distance_mm: 400, vertical_fov_deg: 30, tilt_deg: 0, roll_deg: 0, offset_mm: 0}
exposure_ev: 0
sensor: {noise: 0, blur_px: 0, vignetting: 0}
ground: {paints: [{body: '#808080'}], texture_strength: 0, texture_scale_mm: 10, roughness: 1}
placement: {count: 1, area_mm: [1, 1]}
objects:
  - name: ball
    class: {fixed: ball}
    shape: {sphere: {diameter_mm: 60}}
    paints: [{body: '#ffffff'}]
    material: {roughness: 1}
";

    /// The frame of a scene of this folder, and the scene.
    fn rendered(folder: &Path, keys: &str, overrides: &[&str]) -> (Frame, SceneInstance) {
        let path = folder.join("scene.yaml");
        std::fs::write(&path, format!("{SCENE}{keys}")).unwrap();
        let overrides: Vec<_> = overrides.iter().map(|text| text.parse().unwrap()).collect();
        let plan = ScenePlan::load(&path, &overrides).unwrap();
        let instance = scene::sample(&plan, &SeedKey::new(b"backdrop", 0), 0);
        let context = GpuContext::new().unwrap();
        let image = &plan.spec().image;
        let (width, height) = (image.width_px, image.height_px);
        let mut renderer = Renderer::new(&context, plan.assets(), width, height, 2);
        (renderer.render(&instance).unwrap(), instance)
    }

    fn at(frame: &Frame, x: u32, y: u32) -> [i32; 3] {
        frame.rgb.get_pixel(x, y).0.map(i32::from)
    }

    /// A photograph that is redder to the right and greener downwards.
    fn save_photo(folder: &Path) -> image::RgbImage {
        std::fs::create_dir_all(folder.join("photos")).unwrap();
        let photo = image::RgbImage::from_fn(320, 240, |x, y| {
            image::Rgb([(x * 3 / 4) as u8, (y + 10) as u8, 90])
        });
        photo.save(folder.join("photos/one.png")).unwrap();
        photo
    }

    const PHOTOS: &str = "
lights: [{directional: {intensity: 0.8, kelvin: 6600, elevation_deg: 45, azimuth_deg: 180, angular_diameter_deg: 1}}]
environment: {uniform: {level: 0.3, kelvin: 6600}}
background: {picture: {photos: {folder: photos, mirror: false}}, covers_ground: true}
";

    #[test]
    #[ignore = "needs a Vulkan adapter: make test installs one and runs these"]
    fn a_photograph_is_seen_as_it_is_and_keeps_shadows() {
        let folder = tempfile::tempdir().unwrap();
        let photo = save_photo(folder.path());
        let (frame, instance) = rendered(folder.path(), PHOTOS, &["placement.count=0"]);
        for (x, y) in [(5, 5), (80, 60), (150, 20), (20, 110), (155, 115)] {
            let expected = photo.get_pixel(2 * x, 2 * y).0.map(i32::from);
            let seen = at(&frame, x, y);
            let far = expected.iter().zip(seen).map(|(a, b)| (a - b).abs());
            assert!(far.max() <= Some(3), "{x} {y}: {expected:?} {seen:?}");
        }
        let told = serde_json::to_value(&instance.background).unwrap();
        assert_eq!(told["picture"]["photo"]["file"], "photos/one.png");

        let (with_ball, _) = rendered(folder.path(), PHOTOS, &[]);
        let boxes = with_ball.truth.visible_objects();
        let bbox = boxes[0].bbox;
        let row = (bbox.y + bbox.height / 2.0) as u32;
        // The light comes from the left.
        let (lit, dark) = (bbox.x as u32 - 12, (bbox.x + bbox.width) as u32 + 6);
        let (free, shadowed) = (at(&frame, dark, row), at(&with_ball, dark, row));
        assert!(3 * shadowed[0] < 2 * free[0], "{shadowed:?} {free:?}");
        let left = (at(&frame, lit, row)[0] - at(&with_ball, lit, row)[0]).abs();
        assert!(left < 12, "{left}");
        assert!(
            at(&with_ball, 80, 60)[1] > 150,
            "the ball hides the picture"
        );
    }

    #[test]
    #[ignore = "needs a Vulkan adapter: make test installs one and runs these"]
    fn the_sky_stands_above_the_ground() {
        let keys = "
lights: []
environment: {sky: {level: 0.6, sun_elevation_deg: 40, sun_azimuth_deg: 60}}
";
        let folder = tempfile::tempdir().unwrap();
        let tilt = ["camera.tilt_deg=75", "camera.vertical_fov_deg=60"];
        let (frame, instance) = rendered(folder.path(), keys, &tilt);
        assert_eq!(instance.lights.len(), 1, "the sun");
        let (sky, ground) = (at(&frame, 80, 2), at(&frame, 20, 110));
        assert!(sky[2] > sky[0] + 20, "{sky:?}");
        assert!((ground[0] - ground[2]).abs() < 25, "{ground:?}");
        assert_eq!(frame.truth.depth_m[80 + 160 * 2], 0.0);
    }

    #[test]
    #[ignore = "needs a Vulkan adapter: make test installs one and runs these"]
    fn a_map_lights_from_the_side_of_its_bright_texel() {
        let folder = tempfile::tempdir().unwrap();
        // The middle of the picture's left half faces along y.
        let map = image::Rgb32FImage::from_fn(128, 64, |x, y| {
            let is_bright = (31..33).contains(&x) && (23..25).contains(&y);
            image::Rgb([if is_bright { 900.0 } else { 0.2 }; 3])
        });
        map.save(folder.path().join("lamp.hdr")).unwrap();
        let keys = |sun: bool| {
            format!(
                "lights: []\nenvironment: {{map: {{file: lamp.hdr, level: 0.4, sun: {sun}}}}}\n"
            )
        };
        for sun in [false, true] {
            // How much brighter the halves of the ball along x and y are than the others.
            let slope = |turn: &str| {
                let turn = format!("environment.map.rotation_deg={turn}");
                let (frame, instance) = rendered(folder.path(), &keys(sun), &[&turn]);
                assert_eq!(instance.lights.len(), usize::from(sun));
                let mut sums = [0, 0];
                let mut count = 0;
                for (x, y, pixel) in frame.rgb.enumerate_pixels() {
                    if frame.truth.ids[(y * 160 + x) as usize] == 1 {
                        let value = i32::from(pixel[1]);
                        sums[0] += if x >= 80 { value } else { -value };
                        sums[1] += if y < 60 { value } else { -value };
                        count += 1;
                    }
                }
                assert!(count > 500);
                sums.map(|sum| 2 * sum / count)
            };
            let [along_x, along_y] = slope("0");
            assert!(along_y > 60 && along_x.abs() < 25, "{along_x} {along_y}");
            let [along_x, along_y] = slope("-90");
            assert!(along_x > 60 && along_y.abs() < 25, "{along_x} {along_y}");
        }
    }

    #[test]
    #[ignore = "needs a Vulkan adapter: make test installs one and runs these"]
    fn a_uniform_map_is_drawn_as_a_uniform_environment() {
        let folder = tempfile::tempdir().unwrap();
        let even = image::Rgb32FImage::from_pixel(32, 16, image::Rgb([5.0; 3]));
        even.save(folder.path().join("even.exr")).unwrap();
        let draw = |environment: &str| {
            let keys = format!("lights: []\nenvironment: {environment}\n");
            rendered(folder.path(), &keys, &["objects.0.material.gloss=1"])
                .0
                .rgb
        };
        let map = draw("{map: {file: even.exr, level: 0.5}}");
        let uniform = draw("{uniform: {level: 0.5, kelvin: 6600}}");
        let far = map.iter().zip(uniform.iter()).map(|(a, b)| a.abs_diff(*b));
        assert!(far.max() <= Some(2));
    }
}
