//! Draws the concrete scene of one image.

use glam::{Mat3, Mat4, Vec2, Vec3};
use rand::RngExt;

use super::instance::{Camera, Light, Object, SceneInstance, Sensor, Surface, Template};
use super::plan::ScenePlan;
use super::spec::{Class, Dressing, Family, Paint, Shape};
use crate::seed::{Generator, SeedKey};
use crate::spec::Distribution;

/// Attempts to find room for one object before it is left out.
const PLACEMENT_ATTEMPTS: usize = 60;

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
    let (elevation, azimuth) = (
        draw(&spec.light.elevation_deg)
            .clamp(5.0, 90.0)
            .to_radians(),
        draw(&spec.light.azimuth_deg).to_radians(),
    );
    let light = Light {
        direction: Vec3::new(
            elevation.cos() * azimuth.cos(),
            elevation.cos() * azimuth.sin(),
            elevation.sin(),
        ),
        intensity: draw(&spec.light.intensity).max(0.0),
        kelvin: draw(&spec.light.kelvin).clamp(1000.0, 40_000.0),
        softness_m: draw(&spec.light.softness_mm).max(0.0) / 1000.0,
        ambient: draw(&spec.light.ambient).max(0.0),
    };
    let exposure_ev = draw(&spec.exposure_ev).clamp(-20.0, 20.0);
    let (noise, blur_px, vignetting) = (
        draw(&spec.sensor.noise).clamp(0.0, 1.0),
        draw(&spec.sensor.blur_px).clamp(0.0, 10.0),
        draw(&spec.sensor.vignetting).clamp(0.0, 1.0),
    );
    let (texture_strength, texture_scale, ground_roughness) = (
        draw(&spec.ground.texture_strength).clamp(0.0, 1.0),
        draw(&spec.ground.texture_scale_mm).max(0.01) / 1000.0,
        draw(&spec.ground.roughness).clamp(0.0, 1.0),
    );
    let ground = pick(&spec.ground.paints, |paint| paint.weight, &mut view);
    let (objects, not_placed) = sample_objects(plan, &key);
    SceneInstance {
        width_px: spec.image.width_px,
        height_px: spec.image.height_px,
        camera,
        light,
        exposure_ev,
        sensor: Sensor {
            noise,
            blur_px,
            vignetting,
            noise_seed: view.random(),
        },
        ground_linear_rgb: ground.body.linear_rgb(),
        ground_texture_strength: texture_strength,
        ground_texture_scale_m: texture_scale,
        ground_roughness,
        objects,
        not_placed,
    }
}

/// One entry, with a probability in proportion to its weight.
fn pick<'a, T>(items: &'a [T], weight: impl Fn(&T) -> f64, generator: &mut Generator) -> &'a T {
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
        dress(chosen, &mut objects, &mut taken, &mut layout);
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
            plan,
            object.half_extents_m,
            &taken,
            neighbours,
            &mut generator,
        ) {
            Some(footprint) => {
                let height = object.half_extents_m.z;
                object.world_from_local = Mat4::from_translation(footprint.centre.extend(height))
                    * Mat4::from_rotation_z(footprint.yaw)
                    * object.world_from_local;
                taken.push(footprint);
                objects.push(object);
            }
            None => not_placed += 1,
        }
    }
    (objects, not_placed)
}

fn dress(
    chosen: &Dressing,
    objects: &mut Vec<Object>,
    taken: &mut Vec<Footprint>,
    generator: &mut Generator,
) {
    for part in &chosen.parts {
        let body = build_shape(&part.shape, 1.0);
        let mut jitter = || {
            let unit = Distribution::Normal { mean: 0.0, sd: 1.0 };
            unit.sample(generator) * part.jitter_mm
        };
        let [x, y, z] = part.position_mm;
        let centre = Vec2::new((x + jitter()) as f32, (y + jitter()) as f32) / 1000.0;
        taken.push(Footprint {
            centre,
            half: body.half_extents.truncate(),
            yaw: 0.0,
        });
        let colour = part.colour.linear_rgb();
        objects.push(Object {
            family: "dressing".to_owned(),
            category_id: None,
            template: body.template,
            surface: body.surface,
            world_from_local: Mat4::from_translation(
                centre.extend(z as f32 / 1000.0 + body.half_extents.z),
            ),
            half_extents_m: body.half_extents,
            rounding_m: body.rounding,
            body_linear_rgb: colour,
            second_linear_rgb: colour,
            pips_linear_rgb: colour,
            pip_radius: body.pip_radius,
            roughness: part.roughness as f32,
            gloss: 0.0,
            marbling: 0.0,
            translucency: 0.0,
            label_margin: 0.0,
        });
    }
}

struct Body {
    template: Template,
    surface: Surface,
    half_extents: Vec3,
    rounding: f32,
    pip_radius: f32,
}

fn build_shape(shape: &Shape, scale: f32) -> Body {
    let metres = |mm: f64| mm as f32 / 1000.0 * scale;
    let body = |template, half_extents: Vec3, rounding| Body {
        template,
        surface: Surface::Plain,
        half_extents,
        rounding,
        pip_radius: 0.0,
    };
    match *shape {
        Shape::Die {
            size_mm,
            rounding,
            pip_radius,
        } => Body {
            surface: Surface::Die,
            pip_radius: pip_radius as f32,
            ..body(
                Template::RoundedBox,
                Vec3::splat(metres(size_mm) / 2.0),
                metres(size_mm) / 2.0 * rounding as f32,
            )
        },
        Shape::Box {
            size_mm,
            rounding_mm,
        } => body(
            Template::RoundedBox,
            Vec3::from(size_mm.map(metres)) / 2.0,
            metres(rounding_mm),
        ),
        Shape::Sphere { diameter_mm } => {
            let radius = metres(diameter_mm) / 2.0;
            body(Template::RoundedBox, Vec3::splat(radius), radius)
        }
        Shape::Capsule {
            length_mm,
            diameter_mm,
        } => {
            let radius = metres(diameter_mm) / 2.0;
            body(
                Template::RoundedBox,
                Vec3::new(metres(length_mm) / 2.0, radius, radius),
                radius,
            )
        }
        Shape::Cylinder {
            diameter_mm,
            height_mm,
            rounding_mm,
        } => {
            let radius = metres(diameter_mm) / 2.0;
            body(
                Template::Cylinder,
                Vec3::new(radius, radius, metres(height_mm) / 2.0),
                metres(rounding_mm),
            )
        }
    }
}

/// The rotation that brings the face with `pips` pips up: a die's faces are one +x,
/// two +y, three +z, and opposite faces sum to seven. That is the western handedness:
/// one, two, three run counter-clockwise around their corner.
fn face_up(pips: usize) -> Mat3 {
    let normal = [
        Vec3::X,
        Vec3::Y,
        Vec3::Z,
        Vec3::NEG_Z,
        Vec3::NEG_Y,
        Vec3::NEG_X,
    ][pips - 1];
    let side = if normal.z == 0.0 { Vec3::Z } else { Vec3::X };
    // Rows are the local axes that become world x, y and z.
    Mat3::from_cols(side, normal.cross(side), normal).transpose()
}

fn draw_object(
    plan: &ScenePlan,
    family: &Family,
    paint: &Paint,
    generator: &mut Generator,
) -> Object {
    let mut draw = |distribution: &Distribution| distribution.sample(generator) as f32;
    let scale = draw(&family.scale).clamp(0.01, 100.0);
    let mut fraction = |distribution: &Distribution| draw(distribution).clamp(0.0, 1.0);
    let (roughness, gloss, marbling, translucency) = (
        fraction(&family.roughness),
        fraction(&family.gloss),
        fraction(&family.marbling),
        fraction(&family.translucency),
    );
    let body = build_shape(&family.shape, scale);
    let pips = generator.random_range(1..=6_usize);
    let category_id = match &family.class {
        Class::UpperFace => plan.category_id(ScenePlan::face_name(pips)),
        Class::Fixed(name) => plan.category_id(name),
        Class::Unlabelled => None,
    };
    let world_from_local = match body.surface {
        Surface::Die => Mat4::from_mat3(face_up(pips)),
        Surface::Plain => Mat4::IDENTITY,
    };
    let pip_colour = paint.pips.map_or([0.9; 3], |colour| colour.linear_rgb());
    Object {
        family: family.name.clone(),
        category_id,
        template: body.template,
        surface: body.surface,
        world_from_local,
        half_extents_m: body.half_extents,
        rounding_m: body.rounding,
        body_linear_rgb: paint.body.linear_rgb(),
        second_linear_rgb: paint.second.unwrap_or(paint.body).linear_rgb(),
        pips_linear_rgb: pip_colour,
        pip_radius: body.pip_radius,
        roughness,
        gloss,
        marbling,
        translucency,
        label_margin: 0.0,
    }
}

/// The rectangle on the ground that an object covers.
#[derive(Debug, Clone, Copy)]
struct Footprint {
    centre: Vec2,
    half: Vec2,
    yaw: f32,
}

impl Footprint {
    /// Whether two rectangles share area, by the separating axis theorem.
    fn overlaps(&self, other: &Footprint) -> bool {
        let between = other.centre - self.centre;
        let axes = |f: &Footprint| {
            let (sin, cos) = f.yaw.sin_cos();
            [Vec2::new(cos, sin), Vec2::new(-sin, cos)]
        };
        let reach = |f: &Footprint, axis: Vec2| {
            let [u, v] = axes(f);
            f.half.x * u.dot(axis).abs() + f.half.y * v.dot(axis).abs()
        };
        let mut all = axes(self).into_iter().chain(axes(other));
        all.all(|axis| between.dot(axis).abs() < reach(self, axis) + reach(other, axis))
    }
}

fn find_room(
    plan: &ScenePlan,
    half_extents: Vec3,
    taken: &[Footprint],
    neighbours: std::ops::Range<usize>,
    generator: &mut Generator,
) -> Option<Footprint> {
    let placement = &plan.spec().placement;
    let area = Vec2::new(placement.area_mm[0] as f32, placement.area_mm[1] as f32) / 2000.0;
    let half = half_extents.truncate();
    let near = generator.random::<f64>() < placement.clustering && !neighbours.is_empty();
    (0..PLACEMENT_ATTEMPTS).find_map(|attempt| {
        let mut unit = || generator.random::<f32>() * 2.0 - 1.0;
        let yaw = unit() * std::f32::consts::PI;
        let centre = if near && attempt < PLACEMENT_ATTEMPTS / 2 {
            let angle = unit() * std::f32::consts::PI;
            let stretch = 1.25 + 0.35 * unit();
            let other = taken[generator.random_range(neighbours.clone())];
            other.centre
                + Vec2::from_angle(angle)
                    * stretch
                    * (other.half.max_element() + half.max_element())
        } else {
            Vec2::new(unit(), unit()) * area
        };
        let candidate = Footprint { centre, half, yaw };
        let inside = centre.abs().cmple(area).all();
        let free = taken.iter().all(|other| !candidate.overlaps(other));
        (inside && free).then_some(candidate)
    })
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
    fn a_rotation_brings_its_face_up_and_keeps_handedness() {
        let normals = [
            Vec3::X,
            Vec3::Y,
            Vec3::Z,
            Vec3::NEG_Z,
            Vec3::NEG_Y,
            Vec3::NEG_X,
        ];
        for pips in 1..=6 {
            let turn = face_up(pips);
            assert!(
                (turn * normals[pips - 1] - Vec3::Z).length() < 1e-6,
                "{pips}"
            );
            assert!((turn.determinant() - 1.0).abs() < 1e-6, "{pips}");
            assert_eq!(normals[pips - 1], -normals[6 - pips]);
        }
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

    #[test]
    fn footprints_overlap_only_where_they_share_area() {
        let at = |x: f32, yaw: f32| Footprint {
            centre: Vec2::new(x, 0.0),
            half: Vec2::ONE,
            yaw,
        };
        assert!(at(0.0, 0.0).overlaps(&at(1.9, 0.0)));
        assert!(!at(0.0, 0.0).overlaps(&at(2.1, 0.0)));
        let eighth = std::f32::consts::FRAC_PI_4;
        assert!(at(0.0, 0.0).overlaps(&at(2.3, eighth)));
        assert!(!at(0.0, 0.0).overlaps(&at(2.5, eighth)));
    }
}
