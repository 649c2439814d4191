//! Draws the concrete scene of one image.

use glam::{Mat3, Mat4, Vec2, Vec3};
use rand::RngExt;

use super::background::sample_background;
use super::body::{draw_dressing, draw_object};
use super::instance::{Camera, Ground, Object, SceneInstance, Sensor};
use super::light;
use super::placement::{Footprint, find_room};
use super::plan::ScenePlan;
use super::spec::Dressing;
use crate::seed::{Generator, SeedKey};
use crate::spec::Distribution;

/// Draws scene `index`. The result depends on plan, key and index only.
pub fn sample(plan: &ScenePlan, key: &SeedKey, index: u64) -> SceneInstance {
    let spec = plan.spec();
    let key = key.child("scene", index);
    let mut view = key.generator("view", 0);
    let mut draw = |distribution: &Distribution| distribution.sample(&mut view) as f32;
    let (distance, fov, tilt, roll) = (
        draw(&spec.camera.distance_mm).max(20.0) / 1000.0,
        draw(&spec.camera.vertical_fov_deg).clamp(1.0, 150.0),
        draw(&spec.camera.tilt_deg).clamp(-75.0, 75.0).to_radians(),
        draw(&spec.camera.roll_deg).to_radians(),
    );
    let target_m = Vec3::new(
        draw(&spec.camera.offset_mm),
        draw(&spec.camera.offset_mm),
        0.0,
    ) / 1000.0;
    // The tilt leans the camera towards the image's bottom edge.
    let turn = Mat3::from_rotation_z(roll);
    let camera = Camera {
        position_m: target_m + turn * Vec3::new(0.0, -tilt.sin(), tilt.cos()) * distance,
        target_m,
        up: turn * Vec3::Y,
        vertical_fov_deg: fov,
    };
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
    let (objects, not_placed) = sample_objects(plan, &key);
    let environment = light::sample_environment(&spec.environment, plan.library(), &key);
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
            linear_rgb: ground.body.linear_rgb(),
            texture_strength,
            texture_scale_m,
            roughness: ground_roughness,
        },
        objects,
        not_placed,
    }
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

fn sample_objects(plan: &ScenePlan, key: &SeedKey) -> (Vec<Object>, u32) {
    let spec = plan.spec();
    let mut layout = key.generator("layout", 0);
    let mut objects = Vec::new();
    let mut taken: Vec<Footprint> = Vec::new();
    if !spec.dressing.is_empty() {
        let chosen = pick(&spec.dressing, |dressing| dressing.weight, &mut layout);
        dress(plan, chosen, &mut objects, &mut taken, &mut layout);
    }
    let count = spec
        .placement
        .count
        .sample(&mut layout)
        .round()
        .clamp(0.0, 500.0) as u64;
    let family = pick(&spec.objects, |family| family.weight, &mut layout);
    let paint = pick(&family.paints, |paint| paint.weight, &mut layout);
    let same = (layout.random::<f64>() < spec.placement.same_kind).then_some((family, paint));
    let first = taken.len();
    let mut not_placed = 0;
    for number in 0..count {
        let mut generator = key.generator("object", number);
        let (family, paint) = same.unwrap_or_else(|| {
            let family = pick(&spec.objects, |family| family.weight, &mut generator);
            (
                family,
                pick(&family.paints, |paint| paint.weight, &mut generator),
            )
        });
        let mut object = draw_object(plan, family, paint, &mut generator);
        // A stream of its own: how boxes are drawn does not move what is drawn.
        let margin = spec
            .labels
            .margin
            .sample(&mut key.generator("label", number));
        object.label_margin = margin.clamp(-0.5, 2.0) as f32;
        let neighbours = first..taken.len();
        match find_room(
            &spec.placement,
            object.world_half_extents_m(),
            &taken,
            neighbours,
            &mut generator,
        ) {
            Some(footprint) => {
                let height = object.world_half_extents_m().z;
                let pose = Mat4::from_translation(footprint.centre.extend(height))
                    * Mat4::from_rotation_z(footprint.yaw);
                taken.push(footprint);
                objects.push(object.moved(pose));
            }
            None => not_placed += 1,
        }
    }
    (objects, not_placed)
}

pub(super) fn metres(mm: f64) -> f32 {
    (mm / 1000.0) as f32
}

fn dress(
    plan: &ScenePlan,
    chosen: &Dressing,
    objects: &mut Vec<Object>,
    taken: &mut Vec<Footprint>,
    generator: &mut Generator,
) {
    for part in &chosen.parts {
        let object = draw_dressing(plan, part, generator);
        let mut jitter = || {
            let unit = Distribution::Normal { mean: 0.0, sd: 1.0 };
            unit.sample(generator) * part.jitter_mm
        };
        let [x, y, z] = part.position_mm;
        let centre = Vec2::new(metres(x + jitter()), metres(y + jitter()));
        taken.push(Footprint {
            centre,
            half: object.half_extents_m.truncate(),
            yaw: 0.0,
        });
        let height = metres(z) + object.half_extents_m.z;
        objects.push(object.moved(Mat4::from_translation(centre.extend(height))));
    }
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
