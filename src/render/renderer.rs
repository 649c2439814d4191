//! Draws one scene after another into the same targets.

use wgpu::util::DeviceExt;

use super::context::{GpuContext, RenderError};
use super::ground_truth::GroundTruth;
use super::uniforms::{ObjectUniform, SceneUniform};
use super::{mesh, shader};
use crate::scene::{SceneInstance, Template};

const SHADOW_SIDE_PX: u32 = 1024;
const SAMPLES: u32 = 4;
const RADIANCE: wgpu::TextureFormat = wgpu::TextureFormat::Rgba16Float;
const COLOUR: wgpu::TextureFormat = wgpu::TextureFormat::Rgba8Unorm;
const IDS: wgpu::TextureFormat = wgpu::TextureFormat::R32Uint;
const DISTANCE: wgpu::TextureFormat = wgpu::TextureFormat::R32Float;
const DEPTH: wgpu::TextureFormat = wgpu::TextureFormat::Depth32Float;

/// What one scene looks like.
#[derive(Debug, Clone)]
pub struct Frame {
    /// 8-bit sRGB.
    pub rgb: image::RgbImage,
    pub truth: GroundTruth,
}

/// Pipelines and targets for images of one size; used by one thread at a time.
#[derive(Debug)]
pub struct Renderer<'a> {
    context: &'a GpuContext,
    size: wgpu::Extent3d,
    meshes: Vec<(Template, wgpu::Buffer, u32)>,
    layouts: Layouts,
    pipelines: Pipelines,
    targets: Targets,
    shadow_sampler: wgpu::Sampler,
}

#[derive(Debug)]
struct Layouts {
    scene: wgpu::BindGroupLayout,
    shadow: wgpu::BindGroupLayout,
    amodal: wgpu::BindGroupLayout,
    radiance: wgpu::BindGroupLayout,
}

#[derive(Debug)]
struct Pipelines {
    shadow: wgpu::RenderPipeline,
    objects: wgpu::RenderPipeline,
    ground: wgpu::RenderPipeline,
    visible: wgpu::RenderPipeline,
    amodal: wgpu::RenderPipeline,
    post: wgpu::RenderPipeline,
}

#[derive(Debug)]
struct Targets {
    shadow: wgpu::TextureView,
    samples: wgpu::TextureView,
    samples_depth: wgpu::TextureView,
    radiance: wgpu::TextureView,
    truth_depth: wgpu::TextureView,
    colour: wgpu::Texture,
    ids: wgpu::Texture,
    distance: wgpu::Texture,
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
    fn new(device: &wgpu::Device) -> Self {
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
    fn new(device: &wgpu::Device, layouts: &Layouts) -> Self {
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
            amodal: make(&amodal),
            post: make(&post),
        }
    }
}

impl Targets {
    fn new(device: &wgpu::Device, size: wgpu::Extent3d) -> Self {
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

fn colour_attachment<'a>(
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

fn begin_pass<'e>(
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

/// Bytes of one row of 4-byte pixels in a read-back buffer.
fn padded_row(width: u32) -> u32 {
    (width * 4).next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT)
}

impl<'a> Renderer<'a> {
    /// Makes pipelines and targets for images of `width_px` x `height_px`.
    pub fn new(context: &'a GpuContext, width_px: u32, height_px: u32) -> Self {
        let device = &context.device;
        let size = wgpu::Extent3d {
            width: width_px,
            height: height_px,
            depth_or_array_layers: 1,
        };
        let upload = |template| {
            let vertices = mesh::build(template);
            let buffer = device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
                label: None,
                contents: bytemuck::cast_slice(&vertices),
                usage: wgpu::BufferUsages::VERTEX,
            });
            (template, buffer, vertices.len() as u32)
        };
        let layouts = Layouts::new(device);
        Renderer {
            context,
            size,
            meshes: vec![upload(Template::RoundedBox), upload(Template::Cylinder)],
            pipelines: Pipelines::new(device, &layouts),
            layouts,
            targets: Targets::new(device, size),
            shadow_sampler: device.create_sampler(&wgpu::SamplerDescriptor {
                mag_filter: wgpu::FilterMode::Linear,
                min_filter: wgpu::FilterMode::Linear,
                compare: Some(wgpu::CompareFunction::LessEqual),
                ..Default::default()
            }),
        }
    }

    /// Draws a scene of this renderer's size.
    ///
    /// # Errors
    /// The device was lost.
    pub fn render(&mut self, scene: &SceneInstance) -> Result<Frame, RenderError> {
        let device = &self.context.device;
        let init = |contents: &[u8], usage| {
            device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
                label: None,
                contents,
                usage,
            })
        };
        let mut objects: Vec<ObjectUniform> =
            scene.objects.iter().map(ObjectUniform::new).collect();
        if objects.is_empty() {
            // A binding cannot be empty; this object is never drawn.
            objects.push(bytemuck::Zeroable::zeroed());
        }
        let uniform = init(
            bytemuck::bytes_of(&SceneUniform::new(scene)),
            wgpu::BufferUsages::UNIFORM,
        );
        let storage = init(bytemuck::cast_slice(&objects), wgpu::BufferUsages::STORAGE);
        let counts = init(
            &vec![0; objects.len() * 4],
            wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        );
        let group = |layout, resources: &[wgpu::BindingResource]| {
            let entries: Vec<_> = (0..)
                .zip(resources)
                .map(|(binding, resource)| wgpu::BindGroupEntry {
                    binding,
                    resource: resource.clone(),
                })
                .collect();
            device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout,
                entries: &entries,
            })
        };
        let (layouts, targets) = (&self.layouts, &self.targets);
        let groups = Groups {
            scene: group(
                &layouts.scene,
                &[uniform.as_entire_binding(), storage.as_entire_binding()],
            ),
            shadow: group(
                &layouts.shadow,
                &[
                    wgpu::BindingResource::TextureView(&targets.shadow),
                    wgpu::BindingResource::Sampler(&self.shadow_sampler),
                ],
            ),
            amodal: group(&layouts.amodal, &[counts.as_entire_binding()]),
            radiance: group(
                &layouts.radiance,
                &[wgpu::BindingResource::TextureView(&targets.radiance)],
            ),
        };
        let mut encoder = device.create_command_encoder(&Default::default());
        self.encode(&mut encoder, scene, &groups);
        let images = [&targets.colour, &targets.ids, &targets.distance]
            .map(|texture| self.copy_texture(&mut encoder, texture));
        let counts_back = self.readable(counts.size());
        encoder.copy_buffer_to_buffer(&counts, 0, &counts_back, 0, counts.size());
        self.context.queue.submit([encoder.finish()]);
        let [colour, ids, distance] = &images;
        for buffer in images.iter().chain([&counts_back]) {
            buffer.slice(..).map_async(wgpu::MapMode::Read, |_| {});
        }
        device
            .poll(wgpu::PollType::wait_indefinitely())
            .map_err(|error| RenderError::Lost {
                message: error.to_string(),
            })?;
        let pixels = self.read_rows(colour)?;
        let rgb = pixels
            .chunks_exact(4)
            .flat_map(|p| [p[0], p[1], p[2]])
            .collect();
        let amodal = self.read(&counts_back)?;
        let amodal = words(&amodal);
        Ok(Frame {
            rgb: image::RgbImage::from_raw(self.size.width, self.size.height, rgb)
                .expect("the buffer has three bytes a pixel"),
            truth: GroundTruth {
                width_px: self.size.width,
                ids: words(&self.read_rows(ids)?),
                depth_m: words(&self.read_rows(distance)?)
                    .into_iter()
                    .map(f32::from_bits)
                    .collect(),
                amodal_px: amodal[..scene.objects.len()].to_vec(),
            },
        })
    }

    fn encode(&self, encoder: &mut wgpu::CommandEncoder, scene: &SceneInstance, groups: &Groups) {
        let (pipelines, targets) = (&self.pipelines, &self.targets);
        let view = |texture: &wgpu::Texture| texture.create_view(&Default::default());
        let mut pass = begin_pass(encoder, &[], Some(&targets.shadow));
        pass.set_bind_group(0, &groups.scene, &[]);
        pass.set_pipeline(&pipelines.shadow);
        self.draw(&mut pass, scene);
        drop(pass);

        let colours = [colour_attachment(&targets.samples, Some(&targets.radiance))];
        let mut pass = begin_pass(encoder, &colours, Some(&targets.samples_depth));
        pass.set_bind_group(0, &groups.scene, &[]);
        pass.set_bind_group(1, &groups.shadow, &[]);
        pass.set_pipeline(&pipelines.objects);
        self.draw(&mut pass, scene);
        pass.set_pipeline(&pipelines.ground);
        pass.draw(0..4, 0..1);
        drop(pass);

        let (ids, distance) = (view(&targets.ids), view(&targets.distance));
        let colours = [
            colour_attachment(&ids, None),
            colour_attachment(&distance, None),
        ];
        let mut pass = begin_pass(encoder, &colours, Some(&targets.truth_depth));
        pass.set_bind_group(0, &groups.scene, &[]);
        pass.set_pipeline(&pipelines.visible);
        self.draw(&mut pass, scene);
        drop(pass);

        let mut pass = begin_pass(encoder, &[], Some(&targets.truth_depth));
        pass.set_bind_group(0, &groups.scene, &[]);
        pass.set_bind_group(1, &groups.amodal, &[]);
        pass.set_pipeline(&pipelines.amodal);
        self.draw(&mut pass, scene);
        drop(pass);

        let colour = view(&targets.colour);
        let mut pass = begin_pass(encoder, &[colour_attachment(&colour, None)], None);
        pass.set_bind_group(0, &groups.scene, &[]);
        pass.set_bind_group(1, &groups.radiance, &[]);
        pass.set_pipeline(&pipelines.post);
        pass.draw(0..3, 0..1);
    }

    /// Draws every object; runs of one template go into one call.
    fn draw(&self, pass: &mut wgpu::RenderPass, scene: &SceneInstance) {
        let mut first = 0;
        for run in scene.objects.chunk_by(|a, b| a.template == b.template) {
            let last = first + run.len() as u32;
            for (template, buffer, count) in &self.meshes {
                if *template == run[0].template {
                    pass.set_vertex_buffer(0, buffer.slice(..));
                    pass.draw(0..*count, first..last);
                }
            }
            first = last;
        }
    }

    fn readable(&self, size: u64) -> wgpu::Buffer {
        self.context.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        })
    }

    fn copy_texture(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        texture: &wgpu::Texture,
    ) -> wgpu::Buffer {
        let row = padded_row(self.size.width);
        let buffer = self.readable(u64::from(row) * u64::from(self.size.height));
        encoder.copy_texture_to_buffer(
            texture.as_image_copy(),
            wgpu::TexelCopyBufferInfo {
                buffer: &buffer,
                layout: wgpu::TexelCopyBufferLayout {
                    offset: 0,
                    bytes_per_row: Some(row),
                    rows_per_image: None,
                },
            },
            self.size,
        );
        buffer
    }

    fn read(&self, buffer: &wgpu::Buffer) -> Result<Vec<u8>, RenderError> {
        let view = buffer.get_mapped_range(..);
        let view = view.map_err(|error| RenderError::Lost {
            message: error.to_string(),
        })?;
        Ok(view.to_vec())
    }

    /// The rows of a copied texture, without their padding.
    fn read_rows(&self, buffer: &wgpu::Buffer) -> Result<Vec<u8>, RenderError> {
        let bytes = self.read(buffer)?;
        let row = self.size.width as usize * 4;
        let rows = bytes.chunks(padded_row(self.size.width) as usize);
        Ok(rows.flat_map(|padded| &padded[..row]).copied().collect())
    }
}

fn words(bytes: &[u8]) -> Vec<u32> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|word| u32::from_le_bytes(*word)).collect()
}

struct Groups {
    scene: wgpu::BindGroup,
    shadow: wgpu::BindGroup,
    amodal: wgpu::BindGroup,
    radiance: wgpu::BindGroup,
}
