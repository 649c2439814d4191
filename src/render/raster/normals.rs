//! Reads back the normals of surfaces, for those who ask for them.

use glam::{Vec2, Vec3};

use super::context::GpuContext;
use super::octahedral::from_square;
use super::pipeline::{Layouts, normals_pipeline};
use super::target::{IDS, begin_pass, colour_attachment};

/// What the shader writes where there is no surface.
const NOTHING: u32 = 0x8000_8000;

/// The pass, what it draws into, and where that is copied to.
#[derive(Debug)]
pub(super) struct Normals {
    pipeline: wgpu::RenderPipeline,
    pub texture: wgpu::Texture,
    pub read_back: wgpu::Buffer,
}

impl Normals {
    pub(super) fn new(
        context: &GpuContext,
        layouts: &Layouts,
        size: wgpu::Extent3d,
        supersampling: u32,
        read_back: wgpu::Buffer,
    ) -> Self {
        let device = &context.device;
        Normals {
            pipeline: normals_pipeline(device, layouts, supersampling),
            texture: device.create_texture(&wgpu::TextureDescriptor {
                label: None,
                size,
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format: IDS,
                usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC,
                view_formats: &[],
            }),
            read_back,
        }
    }

    /// Draws them; `scene` and `samples` are bound as for the pass that tells classes.
    pub(super) fn draw(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        scene: &wgpu::BindGroup,
        samples: &wgpu::BindGroup,
    ) {
        let view = self.texture.create_view(&Default::default());
        let mut pass = begin_pass(encoder, &[colour_attachment(&view)], None);
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, scene, &[]);
        pass.set_bind_group(1, samples, &[]);
        pass.draw(0..3, 0..1);
    }
}

/// A normal of the world in the camera's space, whose axes are right, up and along the line
/// of sight: x to the right, y up, z towards the camera. Zero for no surface.
pub(super) fn unpacked(packed: u32, [right, up, forward]: [Vec3; 3]) -> Vec3 {
    if packed == NOTHING {
        return Vec3::ZERO;
    }
    let half = |bits: u32| f32::from(bits as u16 as i16).max(-32767.0) / 32767.0;
    let world = from_square(Vec2::new(half(packed), half(packed >> 16)));
    Vec3::new(world.dot(right), world.dot(up), -world.dot(forward))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the geometry pass packs them.
    fn packed(direction: Vec3) -> u32 {
        let sum = direction.abs().element_sum();
        let flat = direction.truncate() / sum;
        let sign = |value: f32| if value >= 0.0 { 1.0 } else { -1.0 };
        let folded = Vec2::new(
            (1.0 - flat.y.abs()) * sign(flat.x),
            (1.0 - flat.x.abs()) * sign(flat.y),
        );
        let at = if direction.z < 0.0 { folded } else { flat };
        let part = |value: f32| u32::from(((value * 32767.0).round() as i16) as u16);
        part(at.x) | part(at.y) << 16
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        // Straight down: the image's right is x and its top is y.
        let axes = [Vec3::X, Vec3::Y, Vec3::NEG_Z];
        for step in 0..200 {
            let (z, angle) = (1.0 - step as f32 / 100.0, step as f32 * 2.4);
            let flat = Vec2::from_angle(angle) * (1.0 - z * z).max(0.0).sqrt();
            let direction = flat.extend(z);
            let found = unpacked(packed(direction), axes);
            assert!(
                (found - direction).length() < 1e-3,
                "{direction} became {found}"
            );
        }
        assert_eq!(unpacked(NOTHING, axes), Vec3::ZERO);
    }
}
