//! The textures that are drawn into, and the passes over them.

const SHADOW_SIDE_PX: u32 = 1024;
pub(super) const SAMPLES: u32 = 4;
pub(super) const RADIANCE: wgpu::TextureFormat = wgpu::TextureFormat::Rgba16Float;
pub(super) const COLOUR: wgpu::TextureFormat = wgpu::TextureFormat::Rgba8Unorm;
pub(super) const IDS: wgpu::TextureFormat = wgpu::TextureFormat::R32Uint;
pub(super) const DISTANCE: wgpu::TextureFormat = wgpu::TextureFormat::R32Float;
pub(super) const DEPTH: wgpu::TextureFormat = wgpu::TextureFormat::Depth32Float;

#[derive(Debug)]
pub(super) struct Targets {
    pub shadow: wgpu::TextureView,
    pub samples: wgpu::TextureView,
    pub samples_depth: wgpu::TextureView,
    pub radiance: wgpu::TextureView,
    pub truth_depth: wgpu::TextureView,
    pub colour: wgpu::Texture,
    pub ids: wgpu::Texture,
    pub distance: wgpu::Texture,
}

impl Targets {
    pub(super) fn new(device: &wgpu::Device, size: wgpu::Extent3d) -> Self {
        use wgpu::TextureUsages as Usage;
        let texture = |format, size, sample_count, usage| {
            device.create_texture(&wgpu::TextureDescriptor {
                label: None,
                size,
                mip_level_count: 1,
                sample_count,
                dimension: wgpu::TextureDimension::D2,
                format,
                usage: Usage::RENDER_ATTACHMENT | usage,
                view_formats: &[],
            })
        };
        let view = |format, size, samples, usage| {
            texture(format, size, samples, usage).create_view(&Default::default())
        };
        let square = wgpu::Extent3d {
            width: SHADOW_SIDE_PX,
            height: SHADOW_SIDE_PX,
            depth_or_array_layers: 1,
        };
        Targets {
            shadow: view(DEPTH, square, 1, Usage::TEXTURE_BINDING),
            samples: view(RADIANCE, size, SAMPLES, Usage::empty()),
            samples_depth: view(DEPTH, size, SAMPLES, Usage::empty()),
            radiance: view(RADIANCE, size, 1, Usage::TEXTURE_BINDING),
            truth_depth: view(DEPTH, size, 1, Usage::empty()),
            colour: texture(COLOUR, size, 1, Usage::COPY_SRC),
            ids: texture(IDS, size, 1, Usage::COPY_SRC),
            distance: texture(DISTANCE, size, 1, Usage::COPY_SRC),
        }
    }
}

pub(super) fn colour_attachment<'a>(
    view: &'a wgpu::TextureView,
    resolve_target: Option<&'a wgpu::TextureView>,
) -> Option<wgpu::RenderPassColorAttachment<'a>> {
    Some(wgpu::RenderPassColorAttachment {
        view,
        depth_slice: None,
        resolve_target,
        ops: wgpu::Operations {
            load: wgpu::LoadOp::Clear(wgpu::Color::TRANSPARENT),
            store: wgpu::StoreOp::Store,
        },
    })
}

pub(super) fn begin_pass<'e>(
    encoder: &'e mut wgpu::CommandEncoder,
    colours: &[Option<wgpu::RenderPassColorAttachment>],
    depth: Option<&wgpu::TextureView>,
) -> wgpu::RenderPass<'e> {
    encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
        label: None,
        color_attachments: colours,
        depth_stencil_attachment: depth.map(|view| wgpu::RenderPassDepthStencilAttachment {
            view,
            depth_ops: Some(wgpu::Operations {
                load: wgpu::LoadOp::Clear(1.0),
                store: wgpu::StoreOp::Store,
            }),
            stencil_ops: None,
        }),
        timestamp_writes: None,
        occlusion_query_set: None,
        multiview_mask: None,
    })
}
