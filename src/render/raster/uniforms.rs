//! What the shaders read, mirrored in Rust.

use glam::{Mat4, Vec2, Vec3, Vec4};

use super::super::view::{Ball, View};
use super::environment::{LEVELS, Surroundings};
use super::occluders::TILE_PX;
use super::shadow::{SHADOW_SIDE_PX, ShadowView};
use crate::scene::{
    Assets, Decal, Light, LightSource, Mapping, Medium, Part, Pattern, SceneInstance, Texture,
    Tiles,
};

/// Lights of one scene, at most.
pub(super) const MAX_LIGHTS: usize = 4;

/// Gathers of four texels in the search for what stands before a light; also those of a
/// sharp shadow. A constant of the shader too.
const SEARCH_TAPS: usize = 4;

/// Gathers of a soft shadow.
const SHADOW_TAPS: usize = 10;

/// Weights of the lens blur, at most.
const BLUR_WEIGHTS: usize = 20;

/// Mirrors `Light` of the shaders.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(super) struct LightUniform {
    light_from_world: Mat4,
    place: Vec4,
    colour: Vec4,
    axis: Vec4,
    cone: [f32; 4],
    shadow: [f32; 4],
}

/// Mirrors `Scene` of the shaders.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(super) struct SceneUniform {
    clip_from_world: Mat4,
    camera_position: Vec4,
    camera_right: Vec4,
    camera_up: Vec4,
    camera_forward: Vec4,
    irradiance: [Vec4; 9],
    ground_texture: [f32; 4],
    sensor: [f32; 4],
    blur: [f32; BLUR_WEIGHTS],
    image: [u32; 4],
    counts: [u32; 4],
    discs: [Vec4; SEARCH_TAPS + SHADOW_TAPS],
    lights: [LightUniform; MAX_LIGHTS],
}

/// Mirrors `Part` of the shaders.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(super) struct PartUniform {
    world_from_local: Mat4,
    local_from_world: Mat4,
    half_extents: Vec4,
    body: [f32; 4],
    second: [f32; 4],
    pips: [f32; 4],
    material: [f32; 4],
    occluder: Vec4,
    emission: [f32; 4],
    coat: [f32; 4],
    absorption: [f32; 4],
    glow: [f32; 4],
    texture: [f32; 4],
    tiles: [f32; 4],
    owner: [u32; 4],
}

/// Mirrors `Decal` of the shaders.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(super) struct DecalUniform {
    decal_from_local: Mat4,
    tint: [f32; 4],
    filled: [f32; 4],
}

impl DecalUniform {
    pub(super) fn new(decal: &Decal) -> Self {
        let [across, up] = decal.filled.to_array();
        DecalUniform {
            decal_from_local: decal.decal_from_local,
            tint: with(decal.linear_rgb, decal.layer as f32),
            filled: [across / 2.0, up / 2.0, decal.layers_per_m(), 0.0],
        }
    }
}

/// Factor and layer of a texture, and how it is tiled.
fn texture_terms(texture: Option<Texture>) -> ([f32; 4], [f32; 4]) {
    let Some(texture) = texture else {
        return ([0.0; 4], [0.0; 4]);
    };
    let tiles = match texture.mapping {
        Mapping::Surface => [0.0; 4],
        Mapping::Tiles(Tiles { turn_per_m, offset }) => {
            [turn_per_m.x, turn_per_m.y, offset.x, offset.y]
        }
    };
    (with(texture.linear_rgb, texture.layer as f32 + 1.0), tiles)
}

fn with(rgb: [f32; 3], last: f32) -> [f32; 4] {
    [rgb[0], rgb[1], rgb[2], last]
}

impl LightUniform {
    fn new(light: &Light, shadow: &ShadowView) -> Self {
        let colour = light.linear_rgb();
        let none = (Vec3::ZERO, 0.0, [0.0; 2]);
        let (place, wide, (axis, kind, cone)) = match light.source {
            LightSource::Directional {
                towards,
                angular_diameter_deg,
            } => {
                let tangent = (angular_diameter_deg.to_radians() / 2.0).tan();
                (towards.extend(0.0), tangent, none)
            }
            LightSource::Point {
                position_m,
                radius_m,
            } => (position_m.extend(1.0), radius_m, none),
            LightSource::Spot {
                position_m,
                radius_m,
                axis,
                cos_outer,
                cos_inner,
            } => {
                let cone = [cos_outer, cos_inner];
                (position_m.extend(1.0), radius_m, (axis, 1.0, cone))
            }
            LightSource::Area {
                position_m,
                half_width_m,
                half_height_m,
            } => {
                let front = half_width_m.cross(half_height_m);
                // The radius of a disc of the same area.
                let radius = (4.0 * front.length() / std::f32::consts::PI).sqrt();
                (
                    position_m.extend(1.0),
                    radius,
                    (front.normalize(), 2.0, [0.0; 2]),
                )
            }
        };
        let [first, second] = shadow.terms;
        let [search, taps] = shadow_taps(wide * shadow.width_per_unit * shadow.reach);
        LightUniform {
            light_from_world: shadow.light_from_world,
            place,
            colour: colour.extend(wide),
            axis: axis.extend(kind),
            cone: [cone[0], cone[1], search, taps],
            shadow: [first, second, shadow.width_per_unit, shadow.texel],
        }
    }
}

/// Gathers of four texels for the search of what stands between, and for the shadow, where
/// its edges are at most `blur` of the map's width wide.
fn shadow_taps(blur: f32) -> [f32; 2] {
    if blur * SHADOW_SIDE_PX as f32 <= 2.0 {
        [0.0, SEARCH_TAPS as f32]
    } else {
        [SEARCH_TAPS as f32, SHADOW_TAPS as f32]
    }
}

/// Points that are even over a disc of radius 1 (Vogel 1979), first as many as the search has
/// gathers and then as many as a soft shadow.
fn discs() -> [Vec4; SEARCH_TAPS + SHADOW_TAPS] {
    std::array::from_fn(|index| {
        let (index, count) = match index.checked_sub(SEARCH_TAPS) {
            None => (index, SEARCH_TAPS),
            Some(index) => (index, SHADOW_TAPS),
        };
        let radius = ((index as f32 + 0.5) / count as f32).sqrt();
        let at = radius * Vec2::from_angle(2.399_963_2 * index as f32);
        at.extend(0.0).extend(0.0)
    })
}

/// Weights of a normal blur by distance along one axis, and how far it reaches.
pub(in crate::render) fn blur_weights(sigma_px: f32) -> ([f32; BLUR_WEIGHTS], usize) {
    let mut weights = [0.0; BLUR_WEIGHTS];
    let reach = if sigma_px < 0.2 {
        0
    } else {
        ((2.0 * sigma_px).ceil() as usize).min(BLUR_WEIGHTS - 1)
    };
    for (offset, weight) in weights.iter_mut().enumerate().take(reach + 1) {
        let squares = (offset * offset) as f32;
        *weight = (-squares / (2.0 * sigma_px * sigma_px).max(1e-6)).exp();
    }
    let sum = 2.0 * weights.iter().sum::<f32>() - weights[0];
    (weights.map(|weight| weight / sum), reach)
}

impl SceneUniform {
    pub(super) fn new(
        scene: &SceneInstance,
        view: &View,
        surroundings: &Surroundings,
        shadows: &[ShadowView],
        supersampling: u32,
    ) -> Self {
        let [right, up, forward] = view.axes;
        let [horizontal, vertical] = view.tangents;
        let (blur, reach) = blur_weights(scene.sensor.blur_px);
        let mut lights = [bytemuck::Zeroable::zeroed(); MAX_LIGHTS];
        for ((slot, light), shadow) in lights.iter_mut().zip(&scene.lights).zip(shadows) {
            *slot = LightUniform::new(light, shadow);
        }
        let ground = &scene.ground;
        SceneUniform {
            clip_from_world: view.clip_from_world(),
            camera_position: view.position.extend(view.near),
            camera_right: (right * horizontal).extend(view.middle[0] / horizontal),
            camera_up: (up * vertical).extend(view.middle[1] / vertical),
            camera_forward: forward.extend(0.0),
            irradiance: surroundings.irradiance().map(|term| term.extend(0.0)),
            ground_texture: [
                ground.texture_strength,
                1.0 / ground.texture_scale_m,
                (scene.sensor.noise_seed % 1000) as f32,
                f32::from(u8::from(ground.picture.is_some())),
            ],
            sensor: [
                scene.exposure_ev.exp2(),
                reach as f32,
                scene.sensor.vignetting,
                scene.sensor.noise,
            ],
            blur,
            image: [
                view.size_px[0],
                view.size_px[1],
                scene.sensor.noise_seed,
                supersampling,
            ],
            counts: [
                u32::from(scene.sensor.monochrome),
                view.size_px[0].div_ceil(TILE_PX),
                LEVELS,
                0,
            ],
            discs: discs(),
            lights,
        }
    }
}

impl SceneUniform {
    /// Whether any light is wide enough for soft shadows.
    pub(super) fn has_soft_shadows(&self) -> bool {
        self.lights.iter().any(|light| light.cone[2] > 0.0)
    }
}

impl PartUniform {
    /// A part of the object with this index in its scene, whose decals begin at `first_decal`.
    pub(super) fn new(
        object: usize,
        part: &Part,
        assets: &Assets,
        occluder: Ball,
        first_decal: usize,
    ) -> Self {
        let material = &part.material;
        let body = material.linear_rgb;
        let (marbling, second, pip_radius, pips, pattern) = match material.pattern {
            Pattern::Plain => (0.0, body, 0.0, body, 0.0),
            Pattern::Marble { share, linear_rgb } => (share, linear_rgb, 0.0, body, 1.0),
            Pattern::Pips {
                radius,
                linear_rgb,
                marbling,
                marble_linear_rgb,
            } => (marbling, marble_linear_rgb, radius, linear_rgb, 2.0),
        };
        let is_covered = material.texture.is_some() || !part.decals.is_empty();
        // What is covered is no longer plain, even without streaks.
        let pattern = if is_covered {
            f32::max(pattern, 1.0)
        } else {
            pattern
        };
        let (texture, tiles) = texture_terms(material.texture);
        let half = assets.meshes[part.mesh].half_extents_m;
        let scale = part.half_extents_m.length() / half.length().max(1e-9);
        let medium = material.medium.unwrap_or(Medium {
            absorption_per_m: [0.0; 3],
            glow_per_m: [0.0; 3],
            mottling: 0.0,
            mottling_scale_m: 1.0,
        });
        PartUniform {
            world_from_local: part.world_from_local,
            local_from_world: part.world_from_local.inverse(),
            half_extents: half.extend(scale),
            body: with(body, marbling),
            second: with(second, pip_radius),
            pips: with(pips, pattern),
            material: [
                material.roughness,
                material.gloss,
                material.translucency,
                material.metallic,
            ],
            occluder: occluder.centre.extend(occluder.radius),
            emission: with(material.emission_linear_rgb, 0.0),
            coat: [material.clear_coat, material.clear_coat_roughness, 0.0, 0.0],
            absorption: with(medium.absorption_per_m, medium.mottling),
            glow: with(medium.glow_per_m, 1.0 / medium.mottling_scale_m),
            texture,
            tiles,
            owner: [
                object as u32 + 1,
                first_decal as u32,
                part.decals.len() as u32,
                0,
            ],
        }
    }

    /// The ground, whose mesh reaches from -1 to 1.
    pub(super) fn ground(scene: &SceneInstance) -> Self {
        let ground = &scene.ground;
        let (texture, tiles) = texture_terms(ground.picture);
        let world_from_local =
            Mat4::from_scale(Vec3::new(ground.half_side_m, ground.half_side_m, 1.0));
        PartUniform {
            world_from_local,
            local_from_world: world_from_local.inverse(),
            half_extents: Vec4::ONE,
            body: with(ground.linear_rgb, 0.0),
            second: with(ground.mean_linear_rgb(), 0.0),
            pips: with([0.0; 3], 3.0),
            material: [ground.roughness, 1.0 - ground.roughness, 0.0, 0.0],
            occluder: Vec4::ZERO,
            texture,
            tiles,
            ..bytemuck::Zeroable::zeroed()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::super::shader;
    use super::*;

    fn layout(name: &str) -> (usize, Vec<(String, usize)>) {
        let module = naga::front::wgsl::parse_str(shader::SHADE).unwrap();
        let found = module
            .types
            .iter()
            .find(|(_, t)| t.name.as_deref() == Some(name));
        let naga::TypeInner::Struct { members, span } = &found.unwrap().1.inner else {
            panic!("{name} is no struct");
        };
        let members = members
            .iter()
            .map(|m| (m.name.clone().unwrap(), m.offset as usize));
        (*span as usize, members.collect())
    }

    macro_rules! same_layout {
        ($mirror:ty, $name:literal, $($field:ident),+) => {
            let expected = vec![$((stringify!($field).to_owned(), offset_of!($mirror, $field))),+];
            assert_eq!(layout($name), (size_of::<$mirror>(), expected));
        };
    }

    #[test]
    fn structs_agree_with_the_shaders() {
        same_layout!(
            LightUniform,
            "Light",
            light_from_world,
            place,
            colour,
            axis,
            cone,
            shadow
        );
        same_layout!(
            SceneUniform,
            "Scene",
            clip_from_world,
            camera_position,
            camera_right,
            camera_up,
            camera_forward,
            irradiance,
            ground_texture,
            sensor,
            blur,
            image,
            counts,
            discs,
            lights
        );
        same_layout!(
            PartUniform,
            "Part",
            world_from_local,
            local_from_world,
            half_extents,
            body,
            second,
            pips,
            material,
            occluder,
            emission,
            coat,
            absorption,
            glow,
            texture,
            tiles,
            owner
        );
        same_layout!(DecalUniform, "Decal", decal_from_local, tint, filled);
    }

    #[test]
    fn a_blur_keeps_the_sum_of_light() {
        for sigma in [0.0, 0.1, 0.3, 1.0, 4.0, 10.0] {
            let (weights, reach) = blur_weights(sigma);
            let sum = weights[0] + 2.0 * weights[1..].iter().sum::<f32>();
            assert!((sum - 1.0).abs() < 1e-5, "{sigma}: {sum}");
            assert!(weights[reach] > 0.0 && weights[reach + 1..].iter().all(|w| *w == 0.0));
        }
        assert_eq!(blur_weights(0.1).1, 0);
    }
}
