//! Draws one scene after another into the same targets.

mod exposure;

use wgpu::util::DeviceExt;

use super::super::backdrop::{Fill, backdrop};
use super::super::exposure::moments;
use super::super::frame::{Frame, GroundTruth};
use super::super::silhouette::silhouettes;
use super::super::view::{Ball, View};
use super::context::{GpuContext, RenderError};
use super::environment::{SIDE, Surroundings};
use super::meshes::{DrawList, Meshes};
use super::normals::{Normals, unpacked};
use super::occluders::{NO_OCCLUDER, occluder, tile_lists};
use super::pipeline::{Layouts, Pipelines};
use super::shadow::ShadowView;
use super::target::{Targets, begin_pass, colour_attachment, further_attachment};
use super::textures;
use super::uniforms::{DecalUniform, MAX_LIGHTS, PartUniform, SceneUniform};
use crate::scene::{Assets, Part, Projection, SceneInstance};
use exposure::Exposure;

/// Pipelines and targets for the images of one family; used by one thread at a time.
#[derive(Debug)]
pub struct Renderer<'a> {
    context: &'a GpuContext,
    assets: &'a Assets,
    size: wgpu::Extent3d,
    supersampling: u32,
    meshes: Meshes,
    layouts: Layouts,
    pipelines: Pipelines,
    targets: Targets,
    /// What scenes need that one pinhole's frame does not show; made for the first of them.
    exposure: Option<Exposure>,
    shadow_sampler: wgpu::Sampler,
    environment_sampler: wgpu::Sampler,
    depth_sampler: wgpu::Sampler,
    textures: wgpu::TextureView,
    texture_sampler: wgpu::Sampler,
    /// One group a light, which says its number.
    light_groups: Vec<wgpu::BindGroup>,
    /// Where colours, object numbers and distances are copied to.
    read_back: [wgpu::Buffer; 3],
    normals: Option<Normals>,
}

/// Bytes of one row of 4-byte pixels in a read-back buffer.
fn padded_row(width: u32) -> u32 {
    (width * 4).next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT)
}

/// Room for 4 bytes a pixel that the processor can read.
fn read_back_buffer(device: &wgpu::Device, size: wgpu::Extent3d) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: u64::from(padded_row(size.width)) * u64::from(size.height),
        usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
        mapped_at_creation: false,
    })
}

fn bind(
    device: &wgpu::Device,
    layout: &wgpu::BindGroupLayout,
    resources: &[wgpu::BindingResource],
) -> wgpu::BindGroup {
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
}

/// What the passes over one scene read and draw.
struct Work {
    scene: wgpu::BindGroup,
    samples: wgpu::BindGroup,
    shade: wgpu::BindGroup,
    optical: wgpu::BindGroup,
    radiance: wgpu::BindGroup,
    /// Whether any shadow is soft.
    is_soft: bool,
    /// What each light's map holds.
    shadows: Vec<DrawList>,
    seen: DrawList,
    /// Bodies that light passes through.
    media: DrawList,
}

/// What is drawn of a scene in one frame.
#[derive(Clone, Copy)]
struct Drawn<'a> {
    view: &'a View,
    /// Around each part, and the level at which it is drawn.
    balls: &'a [Ball],
    levels: &'a [Option<usize>],
    /// The picture behind the objects.
    fill: Option<&'a Fill>,
}

impl<'a> Renderer<'a> {
    /// Makes pipelines and targets for images of `width_px` x `height_px` with
    /// `supersampling` samples a pixel along each axis.
    pub fn new(
        context: &'a GpuContext,
        assets: &'a Assets,
        width_px: u32,
        height_px: u32,
        supersampling: u32,
    ) -> Self {
        let device = &context.device;
        let size = wgpu::Extent3d {
            width: width_px,
            height: height_px,
            depth_or_array_layers: 1,
        };
        let layouts = Layouts::new(device);
        let light_groups = (0..MAX_LIGHTS as u32).map(|number| {
            let buffer = device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
                label: None,
                contents: bytemuck::cast_slice(&[number, 0, 0, 0]),
                usage: wgpu::BufferUsages::UNIFORM,
            });
            bind(device, &layouts.light, &[buffer.as_entire_binding()])
        });
        let read_back = || read_back_buffer(device, size);
        let linear = wgpu::SamplerDescriptor {
            mag_filter: wgpu::FilterMode::Linear,
            min_filter: wgpu::FilterMode::Linear,
            ..Default::default()
        };
        Renderer {
            context,
            assets,
            size,
            supersampling,
            meshes: Meshes::new(device, assets),
            pipelines: Pipelines::new(device, &layouts, assets, supersampling),
            light_groups: light_groups.collect(),
            layouts,
            targets: Targets::new(device, size, supersampling, assets),
            exposure: None,
            shadow_sampler: device.create_sampler(&wgpu::SamplerDescriptor {
                compare: Some(wgpu::CompareFunction::LessEqual),
                ..linear.clone()
            }),
            environment_sampler: device.create_sampler(&linear),
            depth_sampler: device.create_sampler(&Default::default()),
            textures: textures::upload(context, &assets.textures),
            texture_sampler: device.create_sampler(&wgpu::SamplerDescriptor {
                address_mode_u: wgpu::AddressMode::Repeat,
                address_mode_v: wgpu::AddressMode::Repeat,
                mipmap_filter: wgpu::MipmapFilterMode::Linear,
                ..linear.clone()
            }),
            read_back: [read_back(), read_back(), read_back()],
            normals: None,
        }
    }

    /// The same renderer, whose ground truth holds normals too.
    pub fn with_normals(mut self) -> Self {
        let buffer = read_back_buffer(&self.context.device, self.size);
        self.normals = Some(Normals::new(
            self.context,
            &self.layouts,
            self.size,
            self.supersampling,
            buffer,
        ));
        self
    }

    /// Draws a scene of this renderer's family, once more where memory ran short.
    ///
    /// # Errors
    /// The device was lost or refuses, memory is short twice, or a photograph of the background is
    /// not there any more.
    pub fn render(&mut self, scene: &SceneInstance) -> Result<Frame, RenderError> {
        let GpuContext { device, faults, .. } = self.context;
        match faults.guarded(device, || self.draw(scene)) {
            // Frames of other threads may have ended meanwhile.
            Err(RenderError::OutOfMemory { .. }) => {
                // Its targets may be what there was no room for.
                self.exposure = None;
                faults.guarded(device, || self.draw(scene))
            }
            result => result,
        }
    }

    fn draw(&mut self, scene: &SceneInstance) -> Result<Frame, RenderError> {
        let device = &self.context.device;
        let projection = scene.camera.projection(scene.width_px, scene.height_px);
        let view = View::new(scene, &projection);
        let balls: Vec<Ball> = scene
            .parts()
            .map(|(_, part)| Ball::around(part, self.assets))
            .collect();
        let levels = view.levels(scene, self.assets, &balls);
        let moments = moments(&scene.camera);
        let fill = Fill::new(scene)?;
        let fill = fill.as_ref();
        if moments.len() == 1 && !projection.is_distorted() {
            let targets = &self.targets;
            let drawn = Drawn {
                view: &view,
                balls: &balls,
                levels: &levels,
                fill,
            };
            let work = self.prepare(scene, &projection, &drawn, targets);
            let mut encoder = device.create_command_encoder(&Default::default());
            self.encode(&mut encoder, &work, targets);
            self.draw_normals(&mut encoder, &work);
            self.develop(&mut encoder, &work.scene, &work.radiance);
            self.context.queue.submit([encoder.finish()]);
        } else {
            self.expose(scene, &projection, &moments, &balls, fill);
        }
        let of_normals = self.normals.iter().map(|normals| &normals.read_back);
        for buffer in self.read_back.iter().chain(of_normals) {
            buffer.slice(..).map_async(wgpu::MapMode::Read, |_| {});
        }
        // Found while the adapter draws.
        let silhouettes = silhouettes(scene, self.assets, &projection, &view, &levels);
        device
            .poll(wgpu::PollType::wait_indefinitely())
            .map_err(|error| RenderError::Lost {
                message: error.to_string(),
            })?;
        let [colour, ids, distance] = &self.read_back;
        let (width, height) = (self.size.width, self.size.height);
        let mut rgb = vec![0; (width * height * 3) as usize];
        self.read_rows(colour, |row, pixels: &[[u8; 4]]| {
            let line = &mut rgb[row * pixels.len() * 3..][..pixels.len() * 3];
            for (out, pixel) in line.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
                *out = [pixel[0], pixel[1], pixel[2]];
            }
        })?;
        let mut truth = GroundTruth {
            width_px: width,
            ids: Vec::with_capacity((width * height) as usize),
            depth_m: Vec::with_capacity((width * height) as usize),
            silhouettes,
            normals: None,
        };
        self.read_rows(ids, |_, row| truth.ids.extend_from_slice(row))?;
        self.read_rows(distance, |_, row| truth.depth_m.extend_from_slice(row))?;
        if let Some(normals) = &self.normals {
            let mut found = Vec::with_capacity((width * height) as usize);
            self.read_rows(&normals.read_back, |_, row: &[u32]| {
                found.extend(row.iter().map(|packed| unpacked(*packed, view.axes)));
            })?;
            truth.normals = Some(found);
        }
        Ok(Frame {
            rgb: image::RgbImage::from_raw(width, height, rgb)
                .expect("the buffer has three bytes a pixel"),
            truth,
        })
    }

    /// Uploads what is particular to a scene.
    fn prepare(
        &self,
        scene: &SceneInstance,
        projection: &Projection,
        drawn: &Drawn,
        targets: &Targets,
    ) -> Work {
        let Drawn {
            view,
            balls,
            levels,
            fill,
        } = *drawn;
        let device = &self.context.device;
        let init = |contents: &[u8], usage| {
            device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
                label: None,
                contents,
                usage,
            })
        };
        let lights = scene.lights.iter().take(MAX_LIGHTS);
        let shadow_views: Vec<ShadowView> = lights
            .map(|light| ShadowView::new(light, scene, self.assets, balls, view, levels))
            .collect();
        let mut drawn = Vec::new();
        let mut list = |levels: &[Option<usize>], with_ground| {
            let of_parts = scene.parts().map(|(_, part)| part.mesh);
            let of_parts = of_parts.zip(levels.iter().copied());
            DrawList::new(&self.meshes, of_parts, with_ground, &mut drawn)
        };
        // Of what is seen, the solid parts or the others.
        let of_kind = |is_medium: bool| -> Vec<Option<usize>> {
            let kinds = scene
                .parts()
                .map(|(_, part)| part.material.medium.is_some());
            let levels = levels.iter().zip(kinds);
            levels
                .map(|(level, kind)| level.filter(|_| kind == is_medium))
                .collect()
        };
        let seen = list(&of_kind(false), true);
        let media = list(&of_kind(true), false);
        let shadows = shadow_views
            .iter()
            .map(|shadow| list(&shadow.levels, false))
            .collect();
        let ground = fill.filter(|_| scene.background.covers_ground);
        let surroundings = Surroundings::new(scene, ground.map(Fill::mean));
        self.upload_environment(&surroundings, targets);
        if self.assets.has_backdrop {
            let beyond = |direction, angle_rad| surroundings.beyond(direction, angle_rad);
            let texels = backdrop(scene, projection, view, fill, beyond);
            self.upload(&targets.backdrop, 0, targets.backdrop.size(), &texels);
        }
        let occluders: Vec<Ball> = std::iter::once(NO_OCCLUDER)
            .chain(
                scene
                    .parts()
                    .zip(balls)
                    .map(|((_, part), ball)| occluder(ball.centre, part)),
            )
            .collect();
        let mut decals: Vec<DecalUniform> = Vec::new();
        let uniforms = |((object, part), ball): ((usize, &Part), &Ball)| {
            let first_decal = decals.len();
            decals.extend(part.decals.iter().map(DecalUniform::new));
            PartUniform::new(object, part, self.assets, *ball, first_decal)
        };
        let parts: Vec<PartUniform> = std::iter::once(PartUniform::ground(scene))
            .chain(scene.parts().zip(&occluders[1..]).map(uniforms))
            .collect();
        // A binding is never empty.
        decals.push(bytemuck::Zeroable::zeroed());
        let (tiles, occluding) = tile_lists(view, &occluders);
        let uniform = SceneUniform::new(
            scene,
            view,
            &surroundings,
            &shadow_views,
            self.supersampling,
        );
        let storage = |contents: &[u8]| init(contents, wgpu::BufferUsages::STORAGE);
        let uniform_buffer = init(bytemuck::bytes_of(&uniform), wgpu::BufferUsages::UNIFORM);
        let layouts = &self.layouts;
        let environment = targets.environment.create_view(&Default::default());
        let backdrop = targets.backdrop.create_view(&Default::default());
        Work {
            scene: bind(
                device,
                &layouts.scene,
                &[
                    uniform_buffer.as_entire_binding(),
                    storage(bytemuck::cast_slice(&parts)).as_entire_binding(),
                    storage(bytemuck::cast_slice(&drawn)).as_entire_binding(),
                ],
            ),
            samples: bind(
                device,
                &layouts.samples,
                &[
                    wgpu::BindingResource::TextureView(&targets.samples),
                    wgpu::BindingResource::TextureView(&targets.samples_depth),
                ],
            ),
            shade: bind(
                device,
                &layouts.shade,
                &[
                    wgpu::BindingResource::TextureView(&targets.samples),
                    wgpu::BindingResource::TextureView(&targets.samples_depth),
                    wgpu::BindingResource::TextureView(&targets.shadows),
                    wgpu::BindingResource::Sampler(&self.shadow_sampler),
                    wgpu::BindingResource::TextureView(&environment),
                    wgpu::BindingResource::Sampler(&self.environment_sampler),
                    storage(bytemuck::cast_slice(&tiles)).as_entire_binding(),
                    wgpu::BindingResource::Sampler(&self.depth_sampler),
                    storage(bytemuck::cast_slice(&occluding)).as_entire_binding(),
                    wgpu::BindingResource::TextureView(&backdrop),
                    wgpu::BindingResource::TextureView(&self.textures),
                    wgpu::BindingResource::Sampler(&self.texture_sampler),
                    storage(bytemuck::cast_slice(&decals)).as_entire_binding(),
                ],
            ),
            optical: bind(
                device,
                &layouts.optical,
                &targets
                    .optical
                    .each_ref()
                    .map(wgpu::BindingResource::TextureView),
            ),
            radiance: bind(
                device,
                &layouts.radiance,
                &[wgpu::BindingResource::TextureView(&targets.radiance)],
            ),
            is_soft: uniform.has_soft_shadows(),
            shadows,
            seen,
            media,
        }
    }

    fn upload_environment(&self, surroundings: &Surroundings, targets: &Targets) {
        for (level, texels) in (0..).zip(surroundings.map()) {
            let side = SIDE >> level;
            let size = wgpu::Extent3d {
                width: side,
                height: side,
                depth_or_array_layers: 1,
            };
            self.upload(&targets.environment, level, size, &texels);
        }
    }

    /// Fills a level of a texture with radiances in rows.
    fn upload(
        &self,
        texture: &wgpu::Texture,
        level: u32,
        size: wgpu::Extent3d,
        texels: &[[half::f16; 4]],
    ) {
        self.context.queue.write_texture(
            wgpu::TexelCopyTextureInfo {
                texture,
                mip_level: level,
                origin: wgpu::Origin3d::ZERO,
                aspect: wgpu::TextureAspect::All,
            },
            bytemuck::cast_slice(texels),
            wgpu::TexelCopyBufferLayout {
                offset: 0,
                bytes_per_row: Some(size.width * 8),
                rows_per_image: None,
            },
            size,
        );
    }

    /// Draws a frame's radiance, and its labels on the way.
    fn encode(&self, encoder: &mut wgpu::CommandEncoder, work: &Work, targets: &Targets) {
        use wgpu::LoadOp::{Clear, Load};
        let pipelines = &self.pipelines;
        let maps = targets.shadow_layers.iter().zip(&self.light_groups);
        for ((map, light), list) in maps.zip(&work.shadows) {
            let mut pass = begin_pass(encoder, &[], Some((map, Clear(1.0))));
            pass.set_pipeline(&pipelines.shadow);
            pass.set_bind_group(0, &work.scene, &[]);
            pass.set_bind_group(1, light, &[]);
            list.draw(&mut pass, &self.meshes);
        }

        self.draw_surfaces(encoder, work, targets);
        self.classify(encoder, work, targets);

        let colours = [colour_attachment(&targets.radiance)];
        let mut pass = begin_pass(encoder, &colours, Some((&targets.classes, Load)));
        pass.set_bind_group(0, &work.scene, &[]);
        pass.set_bind_group(1, &work.shade, &[]);
        let shade = if work.is_soft {
            &pipelines.soft
        } else {
            &pipelines.sharp
        };
        for pipeline in shade {
            pass.set_pipeline(pipeline);
            pass.draw(0..3, 0..1);
        }
        drop(pass);

        if let Some(media) = &pipelines.media {
            self.draw_media(encoder, work, targets, media);
            // The picture no longer needs the numbers and distances of what lies behind media.
            self.draw_media_surfaces(encoder, work, targets);
            self.classify(encoder, work, targets);
        }
    }

    /// Draws a frame's labels alone.
    fn encode_labels(&self, encoder: &mut wgpu::CommandEncoder, work: &Work, targets: &Targets) {
        self.draw_surfaces(encoder, work, targets);
        self.draw_media_surfaces(encoder, work, targets);
        self.classify(encoder, work, targets);
    }

    /// Which solid part is seen at each sample.
    fn draw_surfaces(&self, encoder: &mut wgpu::CommandEncoder, work: &Work, targets: &Targets) {
        let colours = [colour_attachment(&targets.samples)];
        let depth = Some((&targets.samples_depth, wgpu::LoadOp::Clear(0.0)));
        let mut pass = begin_pass(encoder, &colours, depth);
        pass.set_pipeline(&self.pipelines.geometry);
        pass.set_bind_group(0, &work.scene, &[]);
        work.seen.draw(&mut pass, &self.meshes);
    }

    /// The same of bodies that light passes through, before the others.
    fn draw_media_surfaces(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        work: &Work,
        targets: &Targets,
    ) {
        if self.pipelines.media.is_none() {
            return;
        }
        let colours = [further_attachment(&targets.samples)];
        let depth = Some((&targets.samples_depth, wgpu::LoadOp::Load));
        let mut pass = begin_pass(encoder, &colours, depth);
        pass.set_pipeline(&self.pipelines.geometry);
        pass.set_bind_group(0, &work.scene, &[]);
        work.media.draw(&mut pass, &self.meshes);
    }

    /// Makes the picture of radiance, and copies it and its labels to where they are read.
    fn develop(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        scene: &wgpu::BindGroup,
        radiance: &wgpu::BindGroup,
    ) {
        let (pipelines, targets) = (&self.pipelines, &self.targets);
        let colour = targets.colour.create_view(&Default::default());
        let mut pass = begin_pass(encoder, &[colour_attachment(&colour)], None);
        pass.set_pipeline(&pipelines.post);
        pass.set_bind_group(0, scene, &[]);
        pass.set_bind_group(1, radiance, &[]);
        pass.draw(0..3, 0..1);
        drop(pass);

        let images = [&targets.colour, &targets.ids, &targets.distance];
        let normals = self
            .normals
            .as_ref()
            .map(|normals| (&normals.texture, &normals.read_back));
        for (texture, buffer) in images.into_iter().zip(&self.read_back).chain(normals) {
            encoder.copy_texture_to_buffer(
                texture.as_image_copy(),
                wgpu::TexelCopyBufferInfo {
                    buffer,
                    layout: wgpu::TexelCopyBufferLayout {
                        offset: 0,
                        bytes_per_row: Some(padded_row(self.size.width)),
                        rows_per_image: None,
                    },
                },
                self.size,
            );
        }
    }

    /// Tells normals from the samples, where they are asked for.
    fn draw_normals(&self, encoder: &mut wgpu::CommandEncoder, work: &Work) {
        if let Some(normals) = &self.normals {
            normals.draw(encoder, &work.scene, &work.samples);
        }
    }

    /// Tells classes, object numbers and distances from the samples.
    fn classify(&self, encoder: &mut wgpu::CommandEncoder, work: &Work, targets: &Targets) {
        let images = [&targets.ids, &targets.distance];
        let views = images.map(|texture| texture.create_view(&Default::default()));
        let colours = views.each_ref().map(colour_attachment);
        let classes = Some((&targets.classes, wgpu::LoadOp::Clear(0.0)));
        let mut pass = begin_pass(encoder, &colours, classes);
        pass.set_pipeline(&self.pipelines.classify);
        pass.set_bind_group(0, &work.scene, &[]);
        pass.set_bind_group(1, &work.samples, &[]);
        pass.draw(0..3, 0..1);
    }

    /// What light loses and gains in media, into the picture.
    fn draw_media(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        work: &Work,
        targets: &Targets,
        [gather, loss, gain]: &[wgpu::RenderPipeline; 3],
    ) {
        let colours = targets.optical.each_ref().map(colour_attachment);
        let mut pass = begin_pass(encoder, &colours, None);
        pass.set_pipeline(gather);
        pass.set_bind_group(0, &work.scene, &[]);
        pass.set_bind_group(1, &work.samples, &[]);
        work.media.draw(&mut pass, &self.meshes);
        drop(pass);

        let colours = [further_attachment(&targets.radiance)];
        let mut pass = begin_pass(encoder, &colours, None);
        pass.set_bind_group(0, &work.scene, &[]);
        pass.set_bind_group(1, &work.optical, &[]);
        for pipeline in [loss, gain] {
            pass.set_pipeline(pipeline);
            pass.draw(0..3, 0..1);
        }
    }

    /// Gives the rows of a copied texture without their padding; the buffer can then be used
    /// again.
    fn read_rows<T: bytemuck::AnyBitPattern>(
        &self,
        buffer: &wgpu::Buffer,
        mut take: impl FnMut(usize, &[T]),
    ) -> Result<(), RenderError> {
        let view = buffer.get_mapped_range(..);
        let view = view.map_err(|error| RenderError::Lost {
            message: error.to_string(),
        })?;
        let padded = view.chunks(padded_row(self.size.width) as usize);
        for (row, bytes) in padded.enumerate() {
            take(
                row,
                bytemuck::cast_slice(&bytes[..self.size.width as usize * 4]),
            );
        }
        drop(view);
        buffer.unmap();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
