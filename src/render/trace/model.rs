//! The scene as rays meet it: triangles in the world, and the surfaces that they show.

use std::sync::Arc;

use glam::{Mat3, Mat4, Vec2, Vec3, Vec4};

use super::super::view::{Ball, TOLERANCE_PX, View, level_for};
use super::lanes::{Vec3x4, WIDTH};
use super::lobe::Surface;
use super::packet::Hierarchy;
use super::pattern::{cloth, density, marble, pip};
use crate::scene::{Assets, Decal, Medium, Part, Pattern, SceneInstance, Texture, Textures};

/// How far from a surface rays set out, over the largest of its coordinates.
const OFFSET: f32 = 2e-5;

/// One triangle in the world.
#[derive(Debug, Clone, Copy)]
struct Facet {
    corners: [Vec3; 3],
    normals: [Vec3; 3],
    /// Unit normal of the triangle, on the side of the corners' normals.
    geometric: Vec3,
    /// The part's number: 0 for the ground.
    part: u32,
}

impl Facet {
    fn new(corners: [Vec3; 3], normals: [Vec3; 3], part: u32) -> Self {
        let [a, b, c] = corners;
        let flat = (b - a).cross(c - a).normalize_or(Vec3::Z);
        // Triangles of a mirrored part turn the other way than their normals.
        let is_mirrored = flat.dot(normals[0] + normals[1] + normals[2]) < 0.0;
        Facet {
            corners,
            normals,
            geometric: if is_mirrored { -flat } else { flat },
            part,
        }
    }
}

/// What a surface of one part needs to be known by.
#[derive(Debug, Clone)]
pub(super) struct Skin {
    /// The object's number, from 1; 0 for the ground.
    owner: u32,
    pub local_from_world: Mat4,
    /// Normals go with the inverse transpose; they lose their length.
    pub local_from_normal: Mat3,
    half_extents: Vec3,
    pub scale: f32,
    surface: Surface,
    pattern: Pattern,
    pub texture: Option<Texture>,
    pub decals: Vec<Decal>,
    translucency: f32,
    medium: Option<Medium>,
    /// The part's middle.
    middle: Vec3,
}

/// The ground's texture.
#[derive(Debug, Clone, Copy)]
struct Cloth {
    strength: f32,
    cells_per_m: f32,
    seed: f32,
}

/// Everything that rays can meet in one scene.
#[derive(Debug)]
pub(super) struct Model {
    pub solid: Hierarchy,
    /// Bodies that light passes straight through.
    pub media: Hierarchy,
    solid_facets: Vec<Facet>,
    /// Texture coordinates of their corners; none where no surface shows a picture.
    solid_uvs: Vec<[Vec2; 3]>,
    pub textures: Arc<Textures>,
    media_facets: Vec<Facet>,
    skins: Vec<Skin>,
    ground: Vec3,
    cloth: Cloth,
}

/// Where a ray meets a triangle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meeting {
    pub direction: Vec3,
    /// The triangle's number, and the weights of its second and third corner.
    pub number: u32,
    pub u: f32,
    pub v: f32,
    /// Side of what the ray stands for where it meets the triangle, in metres.
    pub width_m: f32,
}

/// Points of surfaces.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hits {
    /// Where rays set out from.
    pub origin: Vec3x4,
    /// Normals of the triangles, towards the viewer.
    pub geometric: Vec3x4,
    pub surfaces: [Surface; WIDTH],
}

/// What light loses and gains along one ray.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Optical {
    /// Natural logarithm of the share that is lost.
    pub absorption: Vec3,
    pub glow: Vec3,
}

impl Model {
    /// `levels` are those that the camera needs.
    pub(super) fn new(
        scene: &SceneInstance,
        assets: &Assets,
        view: &View,
        balls: &[Ball],
        levels: &[Option<usize>],
    ) -> Self {
        let mut skins = vec![ground_skin(scene)];
        let (mut solid_facets, mut media_facets) = (ground_facets(scene), Vec::new());
        // The ground's pictures are tiled.
        let mut solid_uvs = vec![[Vec2::ZERO; 3]; solid_facets.len()];
        let parts = scene.parts().zip(balls).zip(levels);
        for (number, (((owner, part), ball), level)) in (1..).zip(parts) {
            // What is out of sight is seen in mirrors and by its shadow.
            let level = level.unwrap_or_else(|| {
                let distance = (ball.centre - view.position).length() - ball.radius;
                let tolerance_m = TOLERANCE_PX * distance.max(view.near) / view.focal_px;
                level_for(part, assets, tolerance_m)
            });
            let facets = match part.material.medium {
                Some(_) => &mut media_facets,
                None => &mut solid_facets,
            };
            add_facets(facets, part, assets, level, number);
            if !assets.textures.is_empty() && part.material.medium.is_none() {
                let geometry = &assets.meshes[part.mesh].levels[level].geometry;
                let corners = |triangle: &[u32; 3]| triangle.map(|at| geometry.uvs[at as usize]);
                solid_uvs.extend(geometry.triangles.iter().map(corners));
            }
            skins.push(Skin::new(owner, part, assets, ball.centre));
        }
        let corners = |facets: &[Facet]| -> Vec<[Vec3; 3]> {
            facets.iter().map(|facet| facet.corners).collect()
        };
        Model {
            solid: Hierarchy::new(&corners(&solid_facets)),
            media: Hierarchy::new(&corners(&media_facets)),
            solid_facets,
            solid_uvs,
            textures: assets.textures.clone(),
            media_facets,
            skins,
            ground: Vec3::from(scene.ground.mean_linear_rgb()),
            cloth: Cloth {
                strength: scene.ground.texture_strength,
                cells_per_m: 1.0 / scene.ground.texture_scale_m,
                seed: (scene.sensor.noise_seed % 1000) as f32,
            },
        }
    }

    pub(super) fn has_media(&self) -> bool {
        !self.media_facets.is_empty()
    }

    /// The number of the object that a triangle belongs to; 0 for the ground.
    pub(super) fn owner(&self, number: u32, is_medium: bool) -> u32 {
        let facets = if is_medium {
            &self.media_facets
        } else {
            &self.solid_facets
        };
        self.skins[facets[number as usize].part as usize].owner
    }

    /// The surfaces where rays meet triangles.
    #[inline(always)]
    pub(super) fn hits(&self, meetings: &[Meeting; WIDTH]) -> Hits {
        let facets = meetings.map(|meeting| &self.solid_facets[meeting.number as usize]);
        let number = |of: fn(&Meeting) -> f32| Vec4::from(meetings.each_ref().map(of));
        let (u, v) = (number(|meeting| meeting.u), number(|meeting| meeting.v));
        let weights = [1.0 - u - v, u, v];
        let direction = Vec3x4::from_lanes(meetings.map(|meeting| meeting.direction));
        let corners = [0, 1, 2].map(|n| Vec3x4::from_lanes(facets.map(|facet| facet.corners[n])));
        let normals = [0, 1, 2].map(|n| Vec3x4::from_lanes(facets.map(|facet| facet.normals[n])));
        let mixed = |[a, b, c]: [Vec3x4; 3]| a * weights[0] + b * weights[1] + c * weights[2];
        let (position, normal) = (mixed(corners), mixed(normals).normalized());
        let geometric = Vec3x4::from_lanes(facets.map(|facet| facet.geometric));
        let is_behind = direction.dot(geometric).cmpgt(Vec4::ZERO);
        // On the curved surface that the triangle stands for, so that it does not shade
        // itself (Hanika 2021, "Hacking the shadow terminator").
        let mut raised = position;
        for ((corner, normal), weight) in corners.into_iter().zip(normals).zip(weights) {
            let below = (position - corner).dot(normal).min(Vec4::ZERO);
            raised = raised - normal * (weight * below);
        }
        let geometric = Vec3x4::select(is_behind, -geometric, geometric);
        let size = position.map(Vec4::abs);
        let reach = size.x.max(size.y).max(size.z).max(Vec4::splat(1e-3)) * OFFSET;
        let origin = Vec3x4::select(is_behind, position, raised) + geometric * reach;
        let turned = Vec3x4::select(is_behind, -normal, normal).lanes();
        let (positions, normals) = (position.lanes(), normal.lanes());
        let surface = |lane: usize| {
            let mut surface = self.surface(&meetings[lane], positions[lane], normals[lane]);
            if is_behind.test(lane) {
                surface.normal = -surface.normal;
            }
            if surface.normal.dot(turned[lane]) <= 0.0 {
                surface.normal = turned[lane];
            }
            surface
        };
        Hits {
            origin,
            geometric,
            surfaces: [surface(0), surface(1), surface(2), surface(3)],
        }
    }

    #[inline(always)]
    fn surface(&self, meeting: &Meeting, world: Vec3, normal: Vec3) -> Surface {
        let number = self.solid_facets[meeting.number as usize].part;
        let skin = &self.skins[number as usize];
        let mut surface = Surface {
            normal,
            ..skin.surface
        };
        if number == 0 {
            if skin.texture.is_some() {
                surface.albedo = self.covered(meeting, skin, world, normal, surface.albedo);
            }
            if self.cloth.strength > 0.0 {
                let at = (world.truncate() * self.cloth.cells_per_m).extend(self.cloth.seed);
                surface.albedo *= cloth(at, self.cloth.strength);
            }
            return surface;
        }
        let is_plain = matches!(skin.pattern, Pattern::Plain) && skin.decals.is_empty();
        if is_plain && skin.texture.is_none() && skin.translucency == 0.0 {
            return surface;
        }
        self.patterned(meeting, number, world, surface)
    }

    fn patterned(
        &self,
        meeting: &Meeting,
        number: u32,
        world: Vec3,
        mut surface: Surface,
    ) -> Surface {
        let (skin, normal) = (&self.skins[number as usize], surface.normal);
        let (mut pip_radius, mut pips) = (0.0, None);
        match skin.pattern {
            Pattern::Plain => {}
            Pattern::Marble { share, linear_rgb } => {
                skin.marble(number, world, share, linear_rgb, &mut surface);
            }
            Pattern::Pips {
                radius,
                linear_rgb,
                marbling,
                marble_linear_rgb,
            } => {
                skin.marble(number, world, marbling, marble_linear_rgb, &mut surface);
                (pip_radius, pips) = (radius, Some(Vec3::from(linear_rgb)));
            }
        }
        if skin.texture.is_some() || !skin.decals.is_empty() {
            surface.albedo = self.covered(meeting, skin, world, normal, surface.albedo);
        }
        if skin.texture.is_some() {
            surface.emission *= surface.albedo;
        }
        if skin.translucency > 0.0 {
            // Light that crosses the body is tinted by it and leaves mostly near the ground.
            let height = world.z / (2.0 * skin.half_extents.z * skin.scale).max(1e-9);
            let through = skin.translucency * (0.35 + 0.65 * (1.0 - height.clamp(0.0, 1.0)));
            let tinted = surface.albedo.max(Vec3::ZERO).map(f32::sqrt) * self.ground;
            surface.albedo = surface.albedo.lerp(tinted, through * 0.6);
        }
        if let Some(colour) = pips {
            let local = skin.local_from_world.transform_point3(world);
            let found = pip(local / skin.half_extents, pip_radius);
            surface.albedo = surface.albedo.lerp(colour, found.coverage);
            surface.gloss *= 1.0 - 0.5 * found.coverage;
            // Normals go with the inverse transpose.
            let to_local = skin.local_from_world;
            let tilt = Vec3::new(
                to_local.x_axis.truncate().dot(found.tilt),
                to_local.y_axis.truncate().dot(found.tilt),
                to_local.z_axis.truncate().dot(found.tilt),
            );
            surface.normal = (normal + tilt / skin.scale).normalize_or(normal);
        }
        surface
    }

    /// Texture coordinates where a ray meets a triangle, and what a metre there takes of the
    /// picture's side.
    pub(super) fn texture_coordinates(&self, meeting: &Meeting) -> (Vec2, f32) {
        let [a, b, c] = self.solid_uvs[meeting.number as usize];
        let [p, q, r] = self.solid_facets[meeting.number as usize].corners;
        let (u, v) = (meeting.u, meeting.v);
        let share = (b - a).perp_dot(c - a).abs();
        let area_m2 = (q - p).cross(r - p).length().max(1e-18);
        (a * (1.0 - u - v) + b * u + c * v, (share / area_m2).sqrt())
    }

    /// What a ray from the camera loses and gains in media up to `end`. `faces` are all the
    /// triangles of media that it meets: their distances and numbers.
    ///
    /// Each face counts its distance with the density there, those that the ray leaves by with
    /// a plus, as `media.wgsl` does.
    pub(super) fn optical(
        &self,
        origin: Vec3,
        direction: Vec3,
        end: f32,
        faces: impl Iterator<Item = (f32, u32)>,
    ) -> Optical {
        let mut sum = Optical::default();
        for (distance, number) in faces {
            let facet = &self.media_facets[number as usize];
            let skin = &self.skins[facet.part as usize];
            let Some(medium) = skin.medium else {
                continue;
            };
            let at = origin + direction * distance;
            let local = skin.local_from_world.transform_point3(at) * skin.scale;
            let dense = density(local / medium.mottling_scale_m, medium.mottling, facet.part);
            let leaves = facet.geometric.dot(direction) > 0.0;
            // From the body's middle, since small numbers keep more of their digits.
            let seen = distance.min(end) - (skin.middle - origin).length();
            let way = if leaves { seen } else { -seen } * dense;
            sum.absorption += Vec3::from(medium.absorption_per_m) * way;
            sum.glow += Vec3::from(medium.glow_per_m) * way;
        }
        Optical {
            absorption: sum.absorption.max(Vec3::ZERO),
            glow: sum.glow.max(Vec3::ZERO),
        }
    }
}

impl Skin {
    fn new(owner: usize, part: &Part, assets: &Assets, middle: Vec3) -> Self {
        let material = &part.material;
        let half = assets.meshes[part.mesh].half_extents_m;
        Skin {
            owner: owner as u32 + 1,
            local_from_world: part.world_from_local.inverse(),
            local_from_normal: Mat3::from_mat4(part.world_from_local).transpose(),
            half_extents: half,
            scale: part.half_extents_m.length() / half.length().max(1e-9),
            surface: Surface {
                albedo: Vec3::from(material.linear_rgb),
                normal: Vec3::Z,
                roughness: material.roughness,
                gloss: material.gloss,
                metallic: material.metallic,
                coat: material.clear_coat,
                coat_roughness: material.clear_coat_roughness,
                emission: Vec3::from(material.emission_linear_rgb),
            },
            pattern: material.pattern,
            texture: material.texture,
            decals: part.decals.clone(),
            translucency: material.translucency,
            medium: material.medium,
            middle,
        }
    }

    fn marble(
        &self,
        number: u32,
        world: Vec3,
        share: f32,
        second: [f32; 3],
        surface: &mut Surface,
    ) {
        if share > 0.0 {
            let at = self.local_from_world.transform_point3(world) * self.scale;
            let streaks = marble(at, number) * share;
            surface.albedo = surface.albedo.lerp(Vec3::from(second), streaks);
        }
    }
}

fn ground_skin(scene: &SceneInstance) -> Skin {
    let ground = &scene.ground;
    Skin {
        owner: 0,
        local_from_world: Mat4::IDENTITY,
        local_from_normal: Mat3::IDENTITY,
        half_extents: Vec3::ONE,
        scale: 1.0,
        surface: Surface {
            albedo: Vec3::from(ground.linear_rgb),
            normal: Vec3::Z,
            roughness: ground.roughness,
            gloss: 1.0 - ground.roughness,
            metallic: 0.0,
            coat: 0.0,
            coat_roughness: 1.0,
            emission: Vec3::ZERO,
        },
        pattern: Pattern::Plain,
        texture: ground.picture,
        decals: Vec::new(),
        translucency: 0.0,
        medium: None,
        middle: Vec3::ZERO,
    }
}

fn ground_facets(scene: &SceneInstance) -> Vec<Facet> {
    let half = scene.ground.half_side_m;
    let corner = |x: f32, y: f32| Vec3::new(x * half, y * half, 0.0);
    let square = [
        corner(-1.0, -1.0),
        corner(1.0, -1.0),
        corner(1.0, 1.0),
        corner(-1.0, 1.0),
    ];
    let facet =
        |corners: [usize; 3]| Facet::new(corners.map(|index| square[index]), [Vec3::Z; 3], 0);
    vec![facet([0, 1, 2]), facet([0, 2, 3])]
}

fn add_facets(facets: &mut Vec<Facet>, part: &Part, assets: &Assets, level: usize, number: u32) {
    let geometry = &assets.meshes[part.mesh].levels[level].geometry;
    let positions: Vec<Vec3> = geometry
        .positions
        .iter()
        .map(|at| part.world_from_local.transform_point3(*at))
        .collect();
    // Normals go with the inverse transpose.
    let turn = glam::Mat3::from_mat4(part.world_from_local)
        .inverse()
        .transpose();
    let normals: Vec<Vec3> = geometry
        .normals
        .iter()
        .map(|normal| (turn * *normal).normalize_or_zero())
        .collect();
    facets.extend(geometry.triangles.iter().map(|triangle| {
        let corners = triangle.map(|index| positions[index as usize]);
        Facet::new(
            corners,
            triangle.map(|index| normals[index as usize]),
            number,
        )
    }));
}
