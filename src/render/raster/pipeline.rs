//! One pipeline a pass, and the layouts of what they bind.

use super::meshes::Vertex;
use super::shader;
use super::target::{COLOUR, DEPTH, DISTANCE, IDS, RADIANCE, SAMPLES};

#[derive(Debug)]
pub(super) struct Layouts {
    pub scene: wgpu::BindGroupLayout,
    pub light: wgpu::BindGroupLayout,
    pub samples: wgpu::BindGroupLayout,
    pub shade: wgpu::BindGroupLayout,
    pub radiance: wgpu::BindGroupLayout,
}

#[derive(Debug)]
pub(super) struct Pipelines {
    pub geometry: wgpu::RenderPipeline,
    pub shadow: wgpu::RenderPipeline,
    pub classify: wgpu::RenderPipeline,
    /// One a class of pixels, where all shadows are sharp and where not.
    pub sharp: Vec<wgpu::RenderPipeline>,
    pub soft: Vec<wgpu::RenderPipeline>,
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
                ],
            ),
            radiance: layout(
                Stages::FRAGMENT,
                &[texture(Sample::Float { filterable: false }, Dimension::D2)],
            ),
        }
    }
}

/// How one pipeline differs from the others.
struct Pass<'a> {
    source: &'a str,
    extra: Option<&'a wgpu::BindGroupLayout>,
    formats: &'a [wgpu::TextureFormat],
    depth: Option<wgpu::CompareFunction>,
    has_mesh: bool,
    constants: &'a [(&'a str, f64)],
}

/// The class of edges, whose pixels have several samples; a constant of the shaders too.
const EDGE: u32 = 4;

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
    let attributes = wgpu::vertex_attr_array![0 => Float32x3, 1 => Float32x3];
    let buffers = [Some(wgpu::VertexBufferLayout {
        array_stride: size_of::<Vertex>() as u64,
        step_mode: wgpu::VertexStepMode::Vertex,
        attributes: &attributes,
    })];
    let targets: Vec<_> = pass
        .formats
        .iter()
        .map(|format| Some((*format).into()))
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
            buffers: if pass.has_mesh { &buffers } else { &[] },
        },
        primitive: wgpu::PrimitiveState {
            cull_mode: pass.has_mesh.then_some(wgpu::Face::Back),
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

impl Pipelines {
    /// Pipelines for scenes of this many lights with `supersampling` samples a pixel along
    /// each axis.
    pub(super) fn new(
        device: &wgpu::Device,
        layouts: &Layouts,
        lights: usize,
        supersampling: u32,
    ) -> Self {
        use wgpu::CompareFunction::{Always, Equal, Greater, Less};
        let smooth = ("SMOOTH", f64::from(u8::from(supersampling > 1)));
        let geometry = Pass {
            source: shader::GEOMETRY,
            extra: None,
            formats: &[SAMPLES],
            depth: Some(Greater),
            has_mesh: true,
            constants: &[],
        };
        let shadow = Pass {
            source: shader::SHADOW,
            extra: Some(&layouts.light),
            formats: &[],
            depth: Some(Less),
            ..geometry
        };
        let classify = Pass {
            source: shader::CLASSIFY,
            extra: Some(&layouts.samples),
            formats: &[IDS, DISTANCE],
            depth: Some(Always),
            has_mesh: false,
            constants: &[smooth],
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
                has_mesh: false,
                constants: &[
                    smooth,
                    ("CLASS", f64::from(class)),
                    ("LIGHTS", lights as f64),
                    ("SOFT", f64::from(u8::from(soft))),
                ],
            })
        };
        Pipelines {
            geometry: make(&geometry),
            shadow: make(&shadow),
            classify: make(&classify),
            sharp: classes().map(|class| shade(class, false)).collect(),
            soft: classes().map(|class| shade(class, true)).collect(),
            post: make(&post),
        }
    }
}
