//! Draws what one object looks like, around the origin.

use glam::{Mat3, Mat4, Vec3};
use rand::RngExt;

use super::asset::{Geometry, Mesh};
use super::cover::{draw_decals, draw_texture};
use super::instance::{Decal, Mapping, Material, Medium, Object, Part, Pattern, Texture};
use super::mesh_file::FileMaterial;
use super::plan::ScenePlan;
use super::sampler::{metres, pick};
use super::spec::{
    Class, Colour, DecalSpec, DressingPart, Family, FamilyPart, KeypointSpec, MaterialSpec,
    MediumEffect, MediumSpec, Paint, Shape,
};
use crate::seed::Generator;
use crate::spec::Distribution;

/// An object of a family with its middle at the origin, and in one of the poses that it is
/// placed in: a die with its upper face up.
pub(super) fn draw_object(
    plan: &ScenePlan,
    family: &Family,
    paint: Option<&Paint>,
    generator: &mut Generator,
) -> Object {
    let scale = draw_scale(&family.scale, &family.stretch, generator);
    let pips = generator.random_range(1..=6_usize);
    let category_id = match &family.class {
        Class::UpperFace => plan.category_id(ScenePlan::face_name(pips)),
        Class::Fixed(name) => plan.category_id(name),
        Class::Unlabelled => None,
    };
    let keypoint = |point: &KeypointSpec| {
        let [x, y, z] = point.position_mm.map(metres);
        Vec3::new(x, y, z) * scale
    };
    let keypoints_m = family.keypoints.iter().map(keypoint).collect();
    let mut parts = Vec::new();
    if let Some(shape) = &family.shape {
        let look = Look {
            material: &family.material,
            paint,
            decals: &family.decals,
        };
        parts.extend(parts_of(plan, shape, scale, look, generator));
    }
    for part in &family.parts {
        let material = part.material.as_ref().unwrap_or(&family.material);
        parts.extend(draw_part(plan, part, scale, material, paint, generator));
    }
    let object = assembled(plan, family.name.clone(), category_id, parts, keypoints_m);
    match family.shape {
        Some(Shape::Die { .. }) => object.moved(Mat4::from_mat3(face_up(pips))),
        _ => object,
    }
}

/// An unlabelled thing with its middle at the origin.
pub(super) fn draw_dressing(
    plan: &ScenePlan,
    part: &DressingPart,
    generator: &mut Generator,
) -> Object {
    let paint = part.colour.map(|body| Paint { body, ..BLANK });
    let look = Look {
        material: &part.material,
        paint: paint.as_ref(),
        decals: &part.decals,
    };
    let parts = parts_of(plan, &part.shape, Vec3::ONE, look, generator);
    assembled(plan, "dressing".to_owned(), None, parts, Vec::new())
}

/// What a part of an object is in its object's space; nothing where this object lacks it.
fn draw_part(
    plan: &ScenePlan,
    spec: &FamilyPart,
    object_scale: Vec3,
    material: &MaterialSpec,
    paint: Option<&Paint>,
    generator: &mut Generator,
) -> Vec<Part> {
    let is_there = generator.random::<f64>() < spec.probability;
    let scale = draw_scale(&spec.scale, &spec.stretch, generator);
    let mut draw = |of: &[Distribution; 3]| {
        Vec3::from(of.each_ref().map(|along| along.sample(generator) as f32))
    };
    let position_m = draw(&spec.position_mm) / 1000.0;
    let turns = draw(&spec.rotation_deg) * (std::f32::consts::PI / 180.0);
    let paint = match spec.paints.as_slice() {
        [] => paint,
        paints => Some(pick(paints, |paint| paint.weight, generator)),
    };
    let look = Look {
        material,
        paint,
        decals: &spec.decals,
    };
    let mut parts = parts_of(plan, &spec.shape, scale, look, generator);
    if !is_there {
        parts.clear();
    }
    let turn = Mat4::from_rotation_z(turns.z)
        * Mat4::from_rotation_y(turns.y)
        * Mat4::from_rotation_x(turns.x);
    let placed = Mat4::from_scale(object_scale) * Mat4::from_translation(position_m) * turn;
    for part in &mut parts {
        part.world_from_local = placed * part.world_from_local;
        part.half_extents_m *= object_scale;
    }
    parts
}

/// Clamped, since the tails of a normal distribution have no end.
fn draw_scale(
    scale: &Distribution,
    stretch: &[Distribution; 3],
    generator: &mut Generator,
) -> Vec3 {
    let mut factor = |of: &Distribution| (of.sample(generator) as f32).clamp(0.01, 100.0);
    factor(scale) * Vec3::from(stretch.each_ref().map(factor))
}

/// What a shape looks like; without a paint as its file says.
#[derive(Clone, Copy)]
struct Look<'a> {
    material: &'a MaterialSpec,
    paint: Option<&'a Paint>,
    decals: &'a [DecalSpec],
}

/// A shape with its middle at the origin: one part, or one for each material of a mesh file.
fn parts_of(
    plan: &ScenePlan,
    shape: &Shape,
    scale: Vec3,
    look: Look,
    generator: &mut Generator,
) -> Vec<Part> {
    let numbers = plan.assets().meshes_of(shape);
    let numbers = numbers.expect("a plan has the meshes of all its shapes");
    let meshes = &plan.assets().meshes;
    let paint = look.paint.unwrap_or(&BLANK);
    let material = draw_material(plan, look.material, paint, shape, generator);
    let part = |number: usize, middle: Vec3, material: Material, decals: Vec<Decal>| Part {
        mesh: number,
        world_from_local: Mat4::from_scale(scale) * Mat4::from_translation(-middle),
        half_extents_m: meshes[number].half_extents_m * scale,
        material,
        decals,
    };
    if let Shape::Mesh(_) = shape {
        // The middle of all of them is the origin.
        let reach = |mesh: &Mesh| mesh.centre_m.abs() + mesh.half_extents_m;
        let half = meshes[numbers.clone()].iter().map(reach);
        let half = half.reduce(Vec3::max).unwrap_or(Vec3::ZERO);
        let decals = draw_decals(look.decals, plan.library(), [Vec3::ZERO, half], generator);
        let one = |number: usize| {
            let material = match (look.paint, &meshes[number].material) {
                (None, Some(own)) => material_of_file(own),
                _ => material,
            };
            part(number, Vec3::ZERO, material, decals.clone())
        };
        return numbers.map(one).collect();
    }
    let number = match numbers.len() {
        1 => numbers.start,
        _ => generator.random_range(numbers),
    };
    let mesh = &meshes[number];
    let bounds = [mesh.centre_m, mesh.half_extents_m];
    let decals = draw_decals(look.decals, plan.library(), bounds, generator);
    vec![part(number, mesh.centre_m, material, decals)]
}

/// The paint of what needs none.
const BLANK: Paint = Paint {
    weight: 1.0,
    body: Colour([255; 3]),
    second: None,
    pips: None,
};

fn material_of_file(of: &FileMaterial) -> Material {
    Material {
        linear_rgb: of.linear_rgb,
        roughness: of.roughness,
        metallic: of.metallic,
        gloss: 1.0,
        clear_coat_roughness: 1.0,
        emission_linear_rgb: of.emission_linear_rgb,
        texture: of.layer.map(|layer| Texture {
            layer,
            mapping: Mapping::Surface,
            linear_rgb: of.linear_rgb,
        }),
        ..Material::default()
    }
}

/// An object of these parts and keypoints with the middle of the box around them at the origin.
fn assembled(
    plan: &ScenePlan,
    family: String,
    category_id: Option<u32>,
    mut parts: Vec<Part>,
    mut keypoints_m: Vec<Vec3>,
) -> Object {
    let half_extents_m = if let [part] = parts.as_slice() {
        part.half_extents_m
    } else {
        let (mut low, mut high) = (Vec3::INFINITY, Vec3::NEG_INFINITY);
        for part in &parts {
            let geometry: &Geometry = &plan.assets().meshes[part.mesh].levels[0].geometry;
            for position in &geometry.positions {
                let at = part.world_from_local.transform_point3(*position);
                (low, high) = (low.min(at), high.max(at));
            }
        }
        let middle = (low + high) / 2.0;
        for keypoint in &mut keypoints_m {
            *keypoint -= middle;
        }
        let to_middle = Mat4::from_translation(-middle);
        for part in &mut parts {
            part.world_from_local = to_middle * part.world_from_local;
        }
        (high - low) / 2.0
    };
    Object {
        family,
        category_id,
        world_from_object: Mat4::IDENTITY,
        half_extents_m,
        parts,
        keypoints_m,
        label_margin: 0.0,
    }
}

fn draw_material(
    plan: &ScenePlan,
    spec: &MaterialSpec,
    paint: &Paint,
    shape: &Shape,
    generator: &mut Generator,
) -> Material {
    let mut draw = |distribution: &Distribution| distribution.sample(generator) as f32;
    let emission = draw(&spec.emission).max(0.0);
    let mut fraction = |distribution: &Distribution| draw(distribution).clamp(0.0, 1.0);
    let body = paint.body.linear_rgb();
    let second = paint.second.unwrap_or(paint.body).linear_rgb();
    let marbling = fraction(&spec.marbling);
    let pattern = match shape {
        Shape::Die { pip_radius, .. } => Pattern::Pips {
            radius: *pip_radius as f32,
            linear_rgb: paint.pips.map_or([0.9; 3], |colour| colour.linear_rgb()),
            marbling,
            marble_linear_rgb: second,
        },
        _ if marbling > 0.0 => Pattern::Marble {
            share: marbling,
            linear_rgb: second,
        },
        _ => Pattern::Plain,
    };
    Material {
        linear_rgb: body,
        pattern,
        roughness: fraction(&spec.roughness),
        metallic: fraction(&spec.metallic),
        gloss: fraction(&spec.gloss),
        translucency: fraction(&spec.translucency),
        clear_coat: fraction(&spec.clear_coat),
        clear_coat_roughness: fraction(&spec.clear_coat_roughness),
        emission_linear_rgb: body.map(|channel| channel * emission),
        medium: spec
            .medium
            .as_ref()
            .map(|medium| draw_medium(medium, body, generator)),
        texture: spec
            .texture
            .as_ref()
            .map(|texture| draw_texture(texture, plan.library(), generator)),
    }
}

fn draw_medium(spec: &MediumSpec, linear_rgb: [f32; 3], generator: &mut Generator) -> Medium {
    let mut draw = |distribution: &Distribution| distribution.sample(generator) as f32;
    let thickness_m = draw(&spec.thickness_mm).max(1e-3) / 1000.0;
    let (absorption_per_m, glow_per_m) = match &spec.effect {
        // Black would absorb without end.
        MediumEffect::Absorbs => (
            linear_rgb.map(|share| -share.clamp(1e-3, 1.0).ln() / thickness_m),
            [0.0; 3],
        ),
        MediumEffect::Glows { level } => {
            let level = draw(level).max(0.0);
            (
                [0.0; 3],
                linear_rgb.map(|share| share * level / thickness_m),
            )
        }
    };
    Medium {
        absorption_per_m,
        glow_per_m,
        mottling: draw(&spec.mottling).clamp(0.0, 1.0),
        mottling_scale_m: draw(&spec.mottling_scale_mm).max(1e-3) / 1000.0,
    }
}

/// Where a die's faces point, from one pip to six: opposite faces sum to seven. That is the
/// western handedness: one, two, three run counter-clockwise around their corner.
const FACE_NORMALS: [Vec3; 6] = [
    Vec3::X,
    Vec3::Y,
    Vec3::Z,
    Vec3::NEG_Z,
    Vec3::NEG_Y,
    Vec3::NEG_X,
];

/// The rotation that brings the face with `pips` pips up.
fn face_up(pips: usize) -> Mat3 {
    let normal = FACE_NORMALS[pips - 1];
    let side = if normal.z == 0.0 { Vec3::Z } else { Vec3::X };
    // Rows are the local axes that become world x, y and z.
    Mat3::from_cols(side, normal.cross(side), normal).transpose()
}

/// The pips of the face of a die in this pose that points nearest to straight up.
pub(super) fn upper_face(world_from_object: Mat4) -> usize {
    let height = |pips: &usize| {
        let normal = FACE_NORMALS[pips - 1];
        world_from_object.transform_vector3(normal).z
    };
    (1..=6)
        .max_by(|a, b| height(a).total_cmp(&height(b)))
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_brings_its_face_up_and_keeps_handedness() {
        for pips in 1..=6 {
            let turn = face_up(pips);
            assert!(
                (turn * FACE_NORMALS[pips - 1] - Vec3::Z).length() < 1e-6,
                "{pips}"
            );
            assert!((turn.determinant() - 1.0).abs() < 1e-6, "{pips}");
            assert_eq!(FACE_NORMALS[pips - 1], -FACE_NORMALS[6 - pips]);
            let leaning = Mat3::from_rotation_x(0.5) * turn;
            assert_eq!(upper_face(Mat4::from_mat3(leaning)), pips);
        }
    }
}
