//! What the shaders read, mirrored in Rust.

use glam::{Mat4, Vec3, Vec4, camera::rh};

use crate::scene::{Object, SceneInstance, Surface};

/// Half the side of the square that the shadow map covers, in metres, at least.
const SHADOW_REACH_M: f32 = 0.25;

/// Mirrors `Scene` of the shaders.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(super) struct SceneUniform {
    clip_from_world: Mat4,
    light_from_world: Mat4,
    camera_position: [f32; 4],
    light_direction: [f32; 4],
    light_colour: [f32; 4],
    ambient: [f32; 4],
    ground_colour: [f32; 4],
    ground_texture: [f32; 4],
    sensor: [f32; 4],
    image: [u32; 4],
}

/// Mirrors `Object` of the shaders.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(super) struct ObjectUniform {
    world_from_local: Mat4,
    half_extents: [f32; 4],
    body: [f32; 4],
    second: [f32; 4],
    pips: [f32; 4],
    material: [f32; 4],
}

fn with(rgb: [f32; 3], last: f32) -> [f32; 4] {
    [rgb[0], rgb[1], rgb[2], last]
}

/// Linear RGB of a black body's hue at luminance 1, relative to 6,600 K, by Wien's
/// approximation of Planck's law.
fn kelvin_rgb(kelvin: f32) -> [f32; 3] {
    // Taken at the sRGB primaries' dominant wavelengths.
    let relative = |wavelength_um: f32| {
        let exponent = 14_388.0 / wavelength_um;
        (exponent / 6600.0 - exponent / kelvin).exp()
    };
    let rgb = [0.611, 0.549, 0.465].map(relative);
    let luminance = 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2];
    rgb.map(|value| value / luminance)
}

impl SceneUniform {
    pub(super) fn new(scene: &SceneInstance) -> Self {
        let camera = &scene.camera;
        let aspect = scene.width_px as f32 / scene.height_px as f32;
        let far = (camera.position_m - camera.target_m).length() * 20.0;
        let clip_from_view = rh::proj::directx::perspective(
            camera.vertical_fov_deg.to_radians(),
            aspect,
            far / 2000.0,
            far,
        );
        let view_from_world = rh::view::look_at_mat4(camera.position_m, camera.target_m, camera.up);
        let reach = scene.objects.iter().fold(SHADOW_REACH_M, |reach, object| {
            reach.max(
                object.world_from_local.w_axis.truncate().length() + object.half_extents_m.length(),
            )
        });
        let direction = scene.light.direction;
        let up = if direction.z > 0.9 { Vec3::Y } else { Vec3::Z };
        let scale = Vec3::new(1.0 / reach, 1.0 / reach, -0.5 / reach);
        let light_from_world = Mat4::from_translation(Vec3::new(0.0, 0.0, 0.5))
            * Mat4::from_scale(scale)
            * rh::view::look_at_mat4(direction, Vec3::ZERO, up)
            * Mat4::from_translation(direction);
        let colour = kelvin_rgb(scene.light.kelvin);
        // Half of the room's light keeps the lamp's hue after its bounces.
        let ambient = colour.map(|value| (0.5 + 0.5 * value) * scene.light.ambient);
        SceneUniform {
            clip_from_world: clip_from_view * view_from_world,
            light_from_world,
            camera_position: with(camera.position_m.to_array(), 1.0),
            light_direction: with(direction.to_array(), scene.light.softness_m / (2.0 * reach)),
            light_colour: with(colour.map(|value| value * scene.light.intensity), 0.0),
            ambient: with(ambient, scene.objects.len() as f32),
            ground_colour: with(scene.ground_linear_rgb, 0.0),
            ground_texture: [
                scene.ground_texture_strength,
                1.0 / scene.ground_texture_scale_m,
                (scene.sensor.noise_seed % 1000) as f32,
                scene.ground_roughness,
            ],
            sensor: [
                scene.exposure_ev.exp2(),
                scene.sensor.blur_px,
                scene.sensor.vignetting,
                scene.sensor.noise,
            ],
            image: [scene.width_px, scene.height_px, scene.sensor.noise_seed, 0],
        }
    }
}

impl ObjectUniform {
    pub(super) fn new(object: &Object) -> Self {
        let is_die = f32::from(u8::from(object.surface == Surface::Die));
        ObjectUniform {
            world_from_local: object.world_from_local,
            half_extents: Vec4::from((object.half_extents_m, object.rounding_m)).to_array(),
            body: with(object.body_linear_rgb, object.marbling),
            second: with(object.second_linear_rgb, object.pip_radius),
            pips: with(object.pips_linear_rgb, is_die),
            material: [object.roughness, object.gloss, object.translucency, 0.0],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;
    use crate::render::shader;

    fn layout(name: &str) -> (usize, Vec<(String, usize)>) {
        let module = naga::front::wgsl::parse_str(shader::FORWARD).unwrap();
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
            SceneUniform,
            "Scene",
            clip_from_world,
            light_from_world,
            camera_position,
            light_direction,
            light_colour,
            ambient,
            ground_colour,
            ground_texture,
            sensor,
            image
        );
        same_layout!(
            ObjectUniform,
            "Object",
            world_from_local,
            half_extents,
            body,
            second,
            pips,
            material
        );
    }

    #[test]
    fn warm_light_is_red_and_cold_light_blue() {
        assert!(kelvin_rgb(6600.0).iter().all(|v| (v - 1.0).abs() < 1e-5));
        let (warm, cold) = (kelvin_rgb(3000.0), kelvin_rgb(10_000.0));
        assert!(warm[0] > warm[1] && warm[1] > warm[2]);
        assert!(cold[0] < cold[1] && cold[1] < cold[2]);
    }
}
