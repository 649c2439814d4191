//! One pipeline a pass, and the layouts of what they bind.

use super::meshes::Vertex;
use super::shader;
use super::target::{COLOUR, DEPTH, DISTANCE, IDS, RADIANCE, SUM, samples_format};
use crate::scene::Assets;

#[derive(Debug)]
pub(super) struct Layouts {
    pub scene: wgpu::BindGroupLayout,
    pub light: wgpu::BindGroupLayout,
    pub samples: wgpu::BindGroupLayout,
    pub shade: wgpu::BindGroupLayout,
    pub optical: wgpu::BindGroupLayout,
    pub radiance: wgpu::BindGroupLayout,
    pub accumulate: wgpu::BindGroupLayout,
    pub relabel: wgpu::BindGroupLayout,
}

#[derive(Debug)]
pub(super) struct Pipelines {
    pub geometry: wgpu::RenderPipeline,
    pub shadow: wgpu::RenderPipeline,
    pub classify: wgpu::RenderPipeline,
    /// One a class of pixels, where all shadows are sharp and where not.
    pub sharp: Vec<wgpu::RenderPipeline>,
    pub soft: Vec<wgpu::RenderPipeline>,
    /// What light loses and gains in media, and the two steps that apply it to the picture;
    /// none where the family has no media.
    pub media: Option<[wgpu::RenderPipeline; 3]>,
    pub post: wgpu::RenderPipeline,
}

fn buffer(ty: wgpu::BufferBindingType) -> wgpu::BindingType {
    wgpu::BindingType::Buffer {
        ty,
        has_dynamic_offset: false,
        min_binding_size: None,
    }
}

fn texture(
    sample_type: wgpu::TextureSampleType,
    view_dimension: wgpu::TextureViewDimension,
) -> wgpu::BindingType {
    wgpu::BindingType::Texture {
        sample_type,
        view_dimension,
        multisampled: false,
    }
}

impl Layouts {
    pub(super) fn new(device: &wgpu::Device) -> Self {
        use wgpu::{
            BufferBindingType as Buffer, SamplerBindingType as Sampler, ShaderStages as Stages,
            TextureSampleType as Sample, TextureViewDimension as Dimension,
        };
        let layout = |visibility, types: &[wgpu::BindingType]| {
            let entries: Vec<_> = (0..)
                .zip(types)
                .map(|(binding, ty)| wgpu::BindGroupLayoutEntry {
                    binding,
                    visibility,
                    ty: *ty,
                    count: None,
                })
                .collect();
            device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: None,
                entries: &entries,
            })
        };
        let storage = buffer(Buffer::Storage { read_only: true });
        let filtered = Sample::Float { filterable: true };
        Layouts {
            scene: layout(
                Stages::VERTEX_FRAGMENT,
                &[buffer(Buffer::Uniform), storage, storage],
            ),
            light: layout(Stages::VERTEX, &[buffer(Buffer::Uniform)]),
            samples: layout(
                Stages::FRAGMENT,
                &[
                    texture(Sample::Uint, Dimension::D2),
                    texture(Sample::Depth, Dimension::D2),
                ],
            ),
            shade: layout(
                Stages::FRAGMENT,
                &[
                    texture(Sample::Uint, Dimension::D2),
                    texture(Sample::Depth, Dimension::D2),
                    texture(Sample::Depth, Dimension::D2Array),
                    wgpu::BindingType::Sampler(Sampler::Comparison),
                    texture(filtered, Dimension::D2),
                    wgpu::BindingType::Sampler(Sampler::Filtering),
                    storage,
                    wgpu::BindingType::Sampler(Sampler::NonFiltering),
                    storage,
                    texture(Sample::Float { filterable: false }, Dimension::D2),
                    texture(filtered, Dimension::D2Array),
                    wgpu::BindingType::Sampler(Sampler::Filtering),
                    storage,
                ],
            ),
            optical: layout(
                Stages::FRAGMENT,
                &[texture(Sample::Float { filterable: false }, Dimension::D2); 2],
            ),
            radiance: layout(
                Stages::FRAGMENT,
                &[texture(Sample::Float { filterable: false }, Dimension::D2)],
            ),
            accumulate: layout(
                Stages::FRAGMENT,
                &[
                    texture(filtered, Dimension::D2),
                    texture(Sample::Float { filterable: false }, Dimension::D2),
                    storage,
                    buffer(Buffer::Uniform),
                    wgpu::BindingType::Sampler(Sampler::Filtering),
                ],
            ),
            relabel: layout(
                Stages::FRAGMENT,
                &[
                    texture(Sample::Uint, Dimension::D2),
                    texture(Sample::Depth, Dimension::D2),
                    storage,
                    buffer(Buffer::Uniform),
                ],
            ),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Faces {
    Front,
    Both,
}

/// How one pipeline differs from the others.
struct Pass<'a> {
    source: &'a str,
    extra: Option<&'a wgpu::BindGroupLayout>,
    formats: &'a [wgpu::TextureFormat],
    depth: Option<wgpu::CompareFunction>,
    /// Which triangles of meshes are drawn; none where the pass fills the whole image.
    faces: Option<Faces>,
    /// How a colour joins what is there: its factor, and that of what is there.
    blend: Option<[wgpu::BlendFactor; 2]>,
    constants: &'a [(&'a str, f64)],
}

/// The class of edges, whose pixels have several samples; a constant of the shaders too.
const EDGE: u32 = 4;

fn blended([src_factor, dst_factor]: [wgpu::BlendFactor; 2]) -> wgpu::BlendState {
    let component = wgpu::BlendComponent {
        src_factor,
        dst_factor,
        operation: wgpu::BlendOperation::Add,
    };
    wgpu::BlendState {
        color: component,
        alpha: wgpu::BlendComponent::REPLACE,
    }
}

fn pipeline(device: &wgpu::Device, layouts: &Layouts, pass: &Pass) -> wgpu::RenderPipeline {
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(pass.source.into()),
    });
    let groups: Vec<_> = std::iter::once(Some(&layouts.scene))
        .chain(pass.extra.map(Some))
        .collect();
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: None,
        bind_group_layouts: &groups,
        immediate_size: 0,
    });
    let attributes = wgpu::vertex_attr_array![0 => Float32x3, 1 => Float32x3, 2 => Float32x2];
    let buffers = [Some(wgpu::VertexBufferLayout {
        array_stride: size_of::<Vertex>() as u64,
        step_mode: wgpu::VertexStepMode::Vertex,
        attributes: &attributes,
    })];
    let targets: Vec<_> = pass
        .formats
        .iter()
        .map(|format| {
            Some(wgpu::ColorTargetState {
                blend: pass.blend.map(blended),
                ..(*format).into()
            })
        })
        .collect();
    device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
        label: None,
        layout: Some(&layout),
        vertex: wgpu::VertexState {
            module: &module,
            entry_point: Some("vertex"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: pass.constants,
                ..Default::default()
            },
            buffers: if pass.faces.is_some() { &buffers } else { &[] },
        },
        primitive: wgpu::PrimitiveState {
            cull_mode: (pass.faces == Some(Faces::Front)).then_some(wgpu::Face::Back),
            ..Default::default()
        },
        depth_stencil: pass.depth.map(|compare| wgpu::DepthStencilState {
            format: DEPTH,
            depth_write_enabled: Some(compare != wgpu::CompareFunction::Equal),
            depth_compare: Some(compare),
            stencil: Default::default(),
            bias: Default::default(),
        }),
        multisample: wgpu::MultisampleState::default(),
        fragment: (!targets.is_empty()).then(|| wgpu::FragmentState {
            module: &module,
            entry_point: Some("fragment"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: pass.constants,
                ..Default::default()
            },
            targets: &targets,
        }),
        multiview_mask: None,
        cache: None,
    })
}

/// The pass that tells normals from the samples.
pub(super) fn normals_pipeline(
    device: &wgpu::Device,
    layouts: &Layouts,
    supersampling: u32,
) -> wgpu::RenderPipeline {
    let pass = Pass {
        source: shader::NORMALS,
        extra: Some(&layouts.samples),
        formats: &[IDS],
        depth: None,
        faces: None,
        blend: None,
        constants: &[smooth(supersampling)],
    };
    pipeline(device, layouts, &pass)
}

/// The constant that says whether a pixel has several samples.
fn smooth(supersampling: u32) -> (&'static str, f64) {
    ("SMOOTH", f64::from(u8::from(supersampling > 1)))
}

/// What makes a picture of several frames, or of one that a lens bends; made when the first
/// such scene is drawn.
#[derive(Debug)]
pub(super) struct ExposurePipelines {
    /// Adds a frame as it is, or as the lens bends it.
    pub plain: wgpu::RenderPipeline,
    pub warped: wgpu::RenderPipeline,
    pub relabel: wgpu::RenderPipeline,
}

impl ExposurePipelines {
    pub(super) fn new(device: &wgpu::Device, layouts: &Layouts) -> Self {
        let accumulate = |warped: bool| {
            pipeline(
                device,
                layouts,
                &Pass {
                    source: shader::ACCUMULATE,
                    extra: Some(&layouts.accumulate),
                    formats: &[SUM],
                    depth: None,
                    faces: None,
                    blend: None,
                    constants: &[("WARPED", f64::from(u8::from(warped)))],
                },
            )
        };
        ExposurePipelines {
            plain: accumulate(false),
            warped: accumulate(true),
            relabel: pipeline(
                device,
                layouts,
                &Pass {
                    source: shader::RELABEL,
                    extra: Some(&layouts.relabel),
                    // Numbers, distances, packed normals.
                    formats: &[IDS, DISTANCE, IDS],
                    depth: None,
                    faces: None,
                    blend: None,
                    constants: &[],
                },
            ),
        }
    }
}

impl Pipelines {
    /// Pipelines for a family's scenes with `supersampling` samples a pixel along each axis.
    pub(super) fn new(
        device: &wgpu::Device,
        layouts: &Layouts,
        assets: &Assets,
        supersampling: u32,
    ) -> Self {
        use wgpu::BlendFactor::{Dst, One, Zero};
        use wgpu::CompareFunction::{Always, Equal, Greater, Less};
        let smooth = smooth(supersampling);
        let textured = ("TEXTURED", f64::from(u8::from(!assets.textures.is_empty())));
        let catcher = ("CATCHER", f64::from(u8::from(assets.covers_ground)));
        let geometry = Pass {
            source: shader::GEOMETRY,
            extra: None,
            formats: &[samples_format(assets)],
            depth: Some(Greater),
            faces: Some(Faces::Front),
            blend: None,
            constants: &[textured],
        };
        let shadow = Pass {
            source: shader::SHADOW,
            extra: Some(&layouts.light),
            formats: &[],
            depth: Some(Less),
            constants: &[],
            ..geometry
        };
        let classify = Pass {
            source: shader::CLASSIFY,
            extra: Some(&layouts.samples),
            formats: &[IDS, DISTANCE],
            depth: Some(Always),
            faces: None,
            blend: None,
            constants: &[smooth, catcher],
        };
        let post = Pass {
            source: shader::POST,
            extra: Some(&layouts.radiance),
            formats: &[COLOUR],
            depth: None,
            constants: &[],
            ..classify
        };
        let make = |pass: &Pass| pipeline(device, layouts, pass);
        // Only smooth pictures have edges.
        let classes = || {
            if supersampling > 1 {
                0..=EDGE
            } else {
                0..=EDGE - 1
            }
        };
        let shade = |class, soft| {
            make(&Pass {
                source: shader::SHADE,
                extra: Some(&layouts.shade),
                formats: &[RADIANCE],
                depth: Some(Equal),
                faces: None,
                blend: None,
                constants: &[
                    smooth,
                    catcher,
                    textured,
                    ("BACKDROP", f64::from(u8::from(assets.has_backdrop))),
                    ("CLASS", f64::from(class)),
                    ("LIGHTS", assets.lights as f64),
                    ("FINISHED", f64::from(u8::from(assets.has_finish))),
                    ("SOFT", f64::from(u8::from(soft))),
                ],
            })
        };
        let media = || {
            let gather = Pass {
                source: shader::MEDIA,
                extra: Some(&layouts.samples),
                formats: &[RADIANCE, RADIANCE],
                depth: None,
                faces: Some(Faces::Both),
                blend: Some([One, One]),
                constants: &[],
            };
            let compose = |adds: bool, blend| {
                make(&Pass {
                    source: shader::COMPOSE,
                    extra: Some(&layouts.optical),
                    formats: &[RADIANCE],
                    faces: None,
                    blend: Some(blend),
                    constants: &[("ADDS", f64::from(u8::from(adds)))],
                    ..gather
                })
            };
            [
                make(&gather),
                compose(false, [Dst, Zero]),
                compose(true, [One, One]),
            ]
        };
        Pipelines {
            media: assets.has_media.then(media),
            geometry: make(&geometry),
            shadow: make(&shadow),
            classify: make(&classify),
            sharp: classes().map(|class| shade(class, false)).collect(),
            soft: classes().map(|class| shade(class, true)).collect(),
            post: make(&post),
        }
    }
}
