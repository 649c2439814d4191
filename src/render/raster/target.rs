//! The textures that are drawn into, and the passes over them.

use super::environment;
use super::shadow::SHADOW_SIDE_PX;
use super::uniforms::MAX_LIGHTS;
use crate::scene::Assets;

/// Object number and normal, and where surfaces show pictures texture coordinates and their
/// footprint.
pub(super) fn samples_format(assets: &Assets) -> wgpu::TextureFormat {
    match assets.textures.is_empty() {
        true => wgpu::TextureFormat::Rg32Uint,
        false => wgpu::TextureFormat::Rgba32Uint,
    }
}

pub(super) const RADIANCE: wgpu::TextureFormat = wgpu::TextureFormat::Rgba16Float;
/// Radiance of many frames, which half floats would round too much.
pub(super) const SUM: wgpu::TextureFormat = wgpu::TextureFormat::Rgba32Float;
pub(super) const COLOUR: wgpu::TextureFormat = wgpu::TextureFormat::Rgba8Unorm;
pub(super) const IDS: wgpu::TextureFormat = wgpu::TextureFormat::R32Uint;
pub(super) const DISTANCE: wgpu::TextureFormat = wgpu::TextureFormat::R32Float;
pub(super) const DEPTH: wgpu::TextureFormat = wgpu::TextureFormat::Depth32Float;

#[derive(Debug)]
pub(super) struct Targets {
    pub shadows: wgpu::TextureView,
    /// One layer of `shadows` each.
    pub shadow_layers: Vec<wgpu::TextureView>,
    pub samples: wgpu::TextureView,
    pub samples_depth: wgpu::TextureView,
    pub environment: wgpu::Texture,
    /// What is seen where no object is; one texel where that is the environment's map.
    pub backdrop: wgpu::Texture,
    /// The class of each pixel, as a depth.
    pub classes: wgpu::TextureView,
    pub radiance: wgpu::TextureView,
    /// What media absorb and what they glow, at each sample; one texel where there are none.
    pub optical: [wgpu::TextureView; 2],
    pub colour: wgpu::Texture,
    pub ids: wgpu::Texture,
    pub distance: wgpu::Texture,
}

impl Targets {
    /// Targets for images of this size with `supersampling` samples a pixel along each axis,
    /// with or without media and a backdrop.
    pub(super) fn new(
        device: &wgpu::Device,
        size: wgpu::Extent3d,
        supersampling: u32,
        assets: &Assets,
    ) -> Self {
        use wgpu::TextureUsages as Usage;
        let texture = |format, size, mip_level_count, usage| {
            device.create_texture(&wgpu::TextureDescriptor {
                label: None,
                size,
                mip_level_count,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format,
                usage,
                view_formats: &[],
            })
        };
        let drawn =
            |format, size, usage| texture(format, size, 1, Usage::RENDER_ATTACHMENT | usage);
        let extent = |width, height, depth_or_array_layers| wgpu::Extent3d {
            width,
            height,
            depth_or_array_layers,
        };
        let whole = wgpu::TextureViewDescriptor::default();
        let shadows = drawn(
            DEPTH,
            extent(SHADOW_SIDE_PX, SHADOW_SIDE_PX, MAX_LIGHTS as u32),
            Usage::TEXTURE_BINDING,
        );
        let layer = |number| {
            shadows.create_view(&wgpu::TextureViewDescriptor {
                dimension: Some(wgpu::TextureViewDimension::D2),
                base_array_layer: number,
                array_layer_count: Some(1),
                ..Default::default()
            })
        };
        let optical = || {
            let finer = size.width * supersampling;
            let size = match assets.has_media {
                true => extent(finer, size.height * supersampling, 1),
                false => extent(1, 1, 1),
            };
            drawn(RADIANCE, size, Usage::TEXTURE_BINDING).create_view(&whole)
        };
        let finer = extent(size.width * supersampling, size.height * supersampling, 1);
        Targets {
            shadow_layers: (0..MAX_LIGHTS as u32).map(layer).collect(),
            shadows: shadows.create_view(&whole),
            samples: drawn(samples_format(assets), finer, Usage::TEXTURE_BINDING)
                .create_view(&whole),
            samples_depth: drawn(DEPTH, finer, Usage::TEXTURE_BINDING).create_view(&whole),
            environment: texture(
                RADIANCE,
                extent(environment::SIDE, environment::SIDE, 1),
                environment::LEVELS,
                Usage::TEXTURE_BINDING | Usage::COPY_DST,
            ),
            backdrop: texture(
                RADIANCE,
                if assets.has_backdrop {
                    size
                } else {
                    extent(1, 1, 1)
                },
                1,
                Usage::TEXTURE_BINDING | Usage::COPY_DST,
            ),
            classes: drawn(DEPTH, size, Usage::empty()).create_view(&whole),
            radiance: drawn(RADIANCE, size, Usage::TEXTURE_BINDING).create_view(&whole),
            optical: [optical(), optical()],
            colour: drawn(COLOUR, size, Usage::COPY_SRC),
            ids: drawn(IDS, size, Usage::COPY_SRC),
            distance: drawn(DISTANCE, size, Usage::COPY_SRC),
        }
    }
}

pub(super) fn colour_attachment(
    view: &wgpu::TextureView,
) -> Option<wgpu::RenderPassColorAttachment<'_>> {
    attachment(view, wgpu::LoadOp::Clear(wgpu::Color::TRANSPARENT))
}

/// Goes on with what was drawn before.
pub(super) fn further_attachment(
    view: &wgpu::TextureView,
) -> Option<wgpu::RenderPassColorAttachment<'_>> {
    attachment(view, wgpu::LoadOp::Load)
}

fn attachment(
    view: &wgpu::TextureView,
    load: wgpu::LoadOp<wgpu::Color>,
) -> Option<wgpu::RenderPassColorAttachment<'_>> {
    Some(wgpu::RenderPassColorAttachment {
        view,
        depth_slice: None,
        resolve_target: None,
        ops: wgpu::Operations {
            load,
            store: wgpu::StoreOp::Store,
        },
    })
}

/// Begins a pass; `depth` comes with what it holds at first.
pub(super) fn begin_pass<'e>(
    encoder: &'e mut wgpu::CommandEncoder,
    colours: &[Option<wgpu::RenderPassColorAttachment>],
    depth: Option<(&wgpu::TextureView, wgpu::LoadOp<f32>)>,
) -> wgpu::RenderPass<'e> {
    encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
        label: None,
        color_attachments: colours,
        depth_stencil_attachment: depth.map(|(view, load)| {
            wgpu::RenderPassDepthStencilAttachment {
                view,
                depth_ops: Some(wgpu::Operations {
                    load,
                    store: wgpu::StoreOp::Store,
                }),
                stencil_ops: None,
            }
        }),
        timestamp_writes: None,
        occlusion_query_set: None,
        multiview_mask: None,
    })
}
