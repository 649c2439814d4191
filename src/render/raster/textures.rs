//! The pictures of a family's surfaces on the adapter.

use super::context::GpuContext;
use crate::scene::Textures;

/// An array of all layers with their levels; one empty texel where there are none.
pub(super) fn upload(context: &GpuContext, textures: &Textures) -> wgpu::TextureView {
    let side = textures.side_px().max(1);
    let texture = context.device.create_texture(&wgpu::TextureDescriptor {
        label: Some("textures"),
        size: wgpu::Extent3d {
            width: side,
            height: side,
            depth_or_array_layers: textures.len().max(1) as u32,
        },
        mip_level_count: side.ilog2() + 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::Rgba8UnormSrgb,
        usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
        view_formats: &[],
    });
    for layer in 0..textures.len() {
        for (level, texels) in (0..).zip(textures.levels(layer)) {
            let side = side >> level;
            context.queue.write_texture(
                wgpu::TexelCopyTextureInfo {
                    texture: &texture,
                    mip_level: level,
                    origin: wgpu::Origin3d {
                        z: layer as u32,
                        ..wgpu::Origin3d::ZERO
                    },
                    aspect: wgpu::TextureAspect::All,
                },
                texels.as_flattened(),
                wgpu::TexelCopyBufferLayout {
                    offset: 0,
                    bytes_per_row: Some(4 * side),
                    rows_per_image: None,
                },
                wgpu::Extent3d {
                    width: side,
                    height: side,
                    depth_or_array_layers: 1,
                },
            );
        }
    }
    texture.create_view(&wgpu::TextureViewDescriptor {
        dimension: Some(wgpu::TextureViewDimension::D2Array),
        ..Default::default()
    })
}
