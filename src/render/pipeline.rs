//! One pipeline a pass, and the layouts of what they bind.

use super::target::{COLOUR, DEPTH, DISTANCE, IDS, RADIANCE, SAMPLES};
use super::{mesh, shader};

#[derive(Debug)]
pub(super) struct Layouts {
    pub scene: wgpu::BindGroupLayout,
    pub shadow: wgpu::BindGroupLayout,
    pub amodal: wgpu::BindGroupLayout,
    pub radiance: wgpu::BindGroupLayout,
}

#[derive(Debug)]
pub(super) struct Pipelines {
    pub shadow: wgpu::RenderPipeline,
    pub objects: wgpu::RenderPipeline,
    pub ground: wgpu::RenderPipeline,
    pub visible: wgpu::RenderPipeline,
    pub visible_ground: wgpu::RenderPipeline,
    pub amodal: wgpu::RenderPipeline,
    pub post: wgpu::RenderPipeline,
}

fn entry(
    binding: u32,
    stages: wgpu::ShaderStages,
    ty: wgpu::BindingType,
) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: stages,
        ty,
        count: None,
    }
}

fn buffer_type(ty: wgpu::BufferBindingType) -> wgpu::BindingType {
    wgpu::BindingType::Buffer {
        ty,
        has_dynamic_offset: false,
        min_binding_size: None,
    }
}

fn texture_type(sample_type: wgpu::TextureSampleType) -> wgpu::BindingType {
    wgpu::BindingType::Texture {
        sample_type,
        view_dimension: wgpu::TextureViewDimension::D2,
        multisampled: false,
    }
}

impl Layouts {
    pub(super) fn new(device: &wgpu::Device) -> Self {
        use wgpu::{BufferBindingType as Kind, ShaderStages as Stages};
        let layout = |entries: &[wgpu::BindGroupLayoutEntry]| {
            device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: None,
                entries,
            })
        };
        Layouts {
            scene: layout(&[
                entry(0, Stages::VERTEX_FRAGMENT, buffer_type(Kind::Uniform)),
                entry(
                    1,
                    Stages::VERTEX_FRAGMENT,
                    buffer_type(Kind::Storage { read_only: true }),
                ),
            ]),
            shadow: layout(&[
                entry(
                    0,
                    Stages::FRAGMENT,
                    texture_type(wgpu::TextureSampleType::Depth),
                ),
                entry(
                    1,
                    Stages::FRAGMENT,
                    wgpu::BindingType::Sampler(wgpu::SamplerBindingType::Comparison),
                ),
            ]),
            amodal: layout(&[entry(
                0,
                Stages::FRAGMENT,
                buffer_type(Kind::Storage { read_only: false }),
            )]),
            radiance: layout(&[entry(
                0,
                Stages::FRAGMENT,
                texture_type(wgpu::TextureSampleType::Float { filterable: false }),
            )]),
        }
    }
}

/// How one pipeline differs from the others.
struct Pass<'a> {
    source: &'a str,
    vertex: &'a str,
    fragment: Option<&'a str>,
    extra: Option<&'a wgpu::BindGroupLayout>,
    formats: &'a [wgpu::TextureFormat],
    depth: Option<wgpu::CompareFunction>,
    samples: u32,
    has_mesh: bool,
}

fn pipeline(device: &wgpu::Device, layouts: &Layouts, pass: &Pass) -> wgpu::RenderPipeline {
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(pass.vertex),
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
        array_stride: size_of::<mesh::Vertex>() as u64,
        step_mode: wgpu::VertexStepMode::Vertex,
        attributes: &attributes,
    })];
    let targets: Vec<_> = pass
        .formats
        .iter()
        .map(|format| Some((*format).into()))
        .collect();
    let fragment = pass.fragment.map(|entry_point| wgpu::FragmentState {
        module: &module,
        entry_point: Some(entry_point),
        compilation_options: Default::default(),
        targets: &targets,
    });
    device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
        label: pass.fragment,
        layout: Some(&layout),
        vertex: wgpu::VertexState {
            module: &module,
            entry_point: Some(pass.vertex),
            compilation_options: Default::default(),
            buffers: if pass.has_mesh { &buffers } else { &[] },
        },
        primitive: wgpu::PrimitiveState {
            topology: if pass.vertex == "ground_vertex" {
                wgpu::PrimitiveTopology::TriangleStrip
            } else {
                wgpu::PrimitiveTopology::TriangleList
            },
            cull_mode: pass.has_mesh.then_some(wgpu::Face::Back),
            ..Default::default()
        },
        depth_stencil: pass.depth.map(|compare| wgpu::DepthStencilState {
            format: DEPTH,
            depth_write_enabled: Some(compare == wgpu::CompareFunction::Less),
            depth_compare: Some(compare),
            stencil: Default::default(),
            bias: Default::default(),
        }),
        multisample: wgpu::MultisampleState {
            count: pass.samples,
            ..Default::default()
        },
        fragment,
        multiview_mask: None,
        cache: None,
    })
}

impl Pipelines {
    pub(super) fn new(device: &wgpu::Device, layouts: &Layouts) -> Self {
        use wgpu::CompareFunction::{Always, Less};
        let shadow = Pass {
            source: shader::SHADOW,
            vertex: "vertex",
            fragment: None,
            extra: None,
            formats: &[],
            depth: Some(Less),
            samples: 1,
            has_mesh: true,
        };
        let objects = Pass {
            source: shader::FORWARD,
            fragment: Some("object_fragment"),
            extra: Some(&layouts.shadow),
            formats: &[RADIANCE],
            samples: SAMPLES,
            ..shadow
        };
        let ground = Pass {
            vertex: "ground_vertex",
            fragment: Some("ground_fragment"),
            has_mesh: false,
            ..objects
        };
        let visible = Pass {
            source: shader::GROUND_TRUTH,
            fragment: Some("visible"),
            formats: &[IDS, DISTANCE],
            ..shadow
        };
        let visible_ground = Pass {
            vertex: "ground_vertex",
            has_mesh: false,
            ..visible
        };
        let amodal = Pass {
            fragment: Some("count"),
            extra: Some(&layouts.amodal),
            formats: &[],
            depth: Some(Always),
            ..visible
        };
        let post = Pass {
            source: shader::POST,
            fragment: Some("fragment"),
            extra: Some(&layouts.radiance),
            formats: &[COLOUR],
            depth: None,
            has_mesh: false,
            ..shadow
        };
        let make = |pass: &Pass| pipeline(device, layouts, pass);
        Pipelines {
            shadow: make(&shadow),
            objects: make(&objects),
            ground: make(&ground),
            visible: make(&visible),
            visible_ground: make(&visible_ground),
            amodal: make(&amodal),
            post: make(&post),
        }
    }
}
