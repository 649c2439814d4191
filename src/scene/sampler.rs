//! Draws the concrete scene of one image.

use glam::{Vec2, Vec3};
use rand::RngExt;

use super::background::sample_background;
use super::cover::draw_texture;
use super::instance::{Ground, Mapping, Object, SceneInstance, Sensor, Texture, Tiles};
use super::library::Library;
use super::light;
use super::placement;
use super::plan::ScenePlan;
use super::pose::sample_camera;
use super::spec::{PoseSpec, SceneSpec, TextureSpec};
use crate::seed::{Generator, SeedKey};
use crate::spec::Distribution;

/// Draws scene `index`. The result depends on plan, key and index only.
pub fn sample(plan: &ScenePlan, key: &SeedKey, index: u64) -> SceneInstance {
    let spec = plan.spec();
    let key = key.child("scene", index);
    let mut view = key.generator("view", 0);
    let mut look =
        |objects: &[Object]| sample_camera(&spec.camera, &spec.image, objects, &mut view, &key);
    let looks_at_object = matches!(spec.camera.pose, Some(PoseSpec::AtObject { .. }));
    let camera = (!looks_at_object).then(|| look(&[]));
    let (objects, not_placed) = placement::sample_objects(plan, &key, camera.as_ref());
    let camera = camera.unwrap_or_else(|| look(&objects));
    let mut draw = |distribution: &Distribution| distribution.sample(&mut view) as f32;
    let exposure_ev = draw(&spec.exposure_ev).clamp(-20.0, 20.0);
    let (noise, blur_px, vignetting) = (
        draw(&spec.sensor.noise).clamp(0.0, 1.0),
        draw(&spec.sensor.blur_px).clamp(0.0, 10.0),
        draw(&spec.sensor.vignetting).clamp(0.0, 1.0),
    );
    let (texture_strength, texture_scale_m, ground_roughness) = (
        draw(&spec.ground.texture_strength).clamp(0.0, 1.0),
        draw(&spec.ground.texture_scale_mm).max(0.01) / 1000.0,
        draw(&spec.ground.roughness).clamp(0.0, 1.0),
    );
    let ground = pick(&spec.ground.paints, |paint| paint.weight, &mut view);
    let environment = light::sample_environment(&spec.environment, plan.library(), &key);
    let picture = spec.ground.picture.as_ref();
    let picture = picture.map(|picture| sample_picture(picture, spec, plan.library(), &key));
    let paint = ground.body.linear_rgb();
    let picture_linear_rgb = picture.map_or(paint, |picture: Texture| {
        let mean = plan.library().textures().at(picture.layer, Vec2::ZERO, 1.0);
        (mean.truncate() + Vec3::from(paint) * (1.0 - mean.w)).to_array()
    });
    let mut lights = light::sample_lights(&spec.lights, &key);
    lights.extend(environment.sun());
    let aspect = spec.image.width_px as f32 / spec.image.height_px as f32;
    SceneInstance {
        width_px: spec.image.width_px,
        height_px: spec.image.height_px,
        camera,
        lights,
        environment,
        background: sample_background(&spec.background, plan.library(), aspect, &key),
        exposure_ev,
        sensor: Sensor {
            noise,
            blur_px,
            vignetting,
            monochrome: spec.sensor.monochrome,
            noise_seed: view.random(),
        },
        ground: Ground {
            half_side_m: metres(spec.ground.side_mm) / 2.0,
            linear_rgb: paint,
            texture_strength,
            texture_scale_m,
            roughness: ground_roughness,
            picture,
            picture_linear_rgb,
        },
        objects,
        not_placed,
    }
}

/// The ground's picture; without tiles it lies on all of the ground once.
fn sample_picture(
    picture: &TextureSpec,
    spec: &SceneSpec,
    library: &Library,
    key: &SeedKey,
) -> Texture {
    let mut texture = draw_texture(picture, library, &mut key.generator("ground", 0));
    if texture.mapping == Mapping::Surface {
        texture.mapping = Mapping::Tiles(Tiles {
            turn_per_m: Vec2::X / metres(spec.ground.side_mm),
            offset: Vec2::splat(0.5),
        });
    }
    texture
}

/// One entry, with a probability in proportion to its weight.
pub(super) fn pick<'a, T>(
    items: &'a [T],
    weight: impl Fn(&T) -> f64,
    generator: &mut Generator,
) -> &'a T {
    let total: f64 = items.iter().map(&weight).sum();
    let mut left = generator.random::<f64>() * total;
    let mut last = &items[0];
    for item in items.iter().filter(|item| weight(item) > 0.0) {
        last = item;
        if left < weight(item) {
            break;
        }
        left -= weight(item);
    }
    last
}

pub(super) fn metres(mm: f64) -> f32 {
    (mm / 1000.0) as f32
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn dice() -> ScenePlan {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenes/dice.yaml");
        ScenePlan::load(&path, &[]).unwrap()
    }

    #[test]
    fn a_scene_depends_on_seed_and_index_only() {
        let plan = dice();
        let key = SeedKey::new(b"test", 1);
        assert_eq!(sample(&plan, &key, 5), sample(&plan, &key, 5));
        assert_ne!(sample(&plan, &key, 5), sample(&plan, &key, 6));
        assert_ne!(
            sample(&plan, &key, 5),
            sample(&plan, &SeedKey::new(b"test", 2), 5)
        );
    }

    #[test]
    fn every_face_comes_up_about_equally_often() {
        let plan = dice();
        let key = SeedKey::new(b"faces", 0);
        let mut counts = [0_f64; 6];
        for index in 0..400 {
            for object in sample(&plan, &key, index).objects {
                if let Some(id) = object.category_id.filter(|id| *id <= 6) {
                    counts[id as usize - 1] += 1.0;
                }
            }
        }
        let expected = counts.iter().sum::<f64>() / 6.0;
        let chi_square: f64 = counts
            .iter()
            .map(|c| (c - expected).powi(2) / expected)
            .sum();
        // The 99.9 % point at five degrees of freedom.
        assert!(expected > 100.0 && chi_square < 20.5, "{counts:?}");
    }
}
