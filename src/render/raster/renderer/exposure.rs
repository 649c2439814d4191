//! Pictures that one pinhole's frame does not show: a lens bends them, or an open lens or a
//! moving camera blurs them. Frames are drawn one after the other, each is bent and added to
//! the picture, and labels are those of the middle of the exposure.

use glam::Vec2;
use wgpu::util::DeviceExt;

use super::super::super::backdrop::Fill;
use super::super::super::exposure::Moment;
use super::super::super::view::{Ball, View};
use super::super::context::GpuContext;
use super::super::pipeline::{ExposurePipelines, Layouts};
use super::super::target::{IDS, SUM, Targets, begin_pass, colour_attachment};
use super::{Drawn, Renderer, Work, bind};
use crate::scene::{Projection, SceneInstance};

/// Side of a cell of the grid that says where the lens bends the picture from, in pixels.
/// Between its corners a lens is straight to some hundredths of a pixel.
const CELL_PX: f32 = 8.0;

/// Mirrors `Warp` of the shaders.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct WarpUniform {
    corners: [u32; 2],
    density: [f32; 2],
    weight: [f32; 4],
}

/// What such pictures need, from one to the next.
#[derive(Debug)]
pub(super) struct Exposure {
    pipelines: ExposurePipelines,
    sampler: wgpu::Sampler,
    /// The sum so far is in one, and goes on in the other.
    sums: [wgpu::TextureView; 2],
    /// Where normals go that nobody asked for.
    unread: wgpu::TextureView,
    /// Where the image for a lens is drawn, and how large it is.
    plate: Option<([u32; 2], Targets)>,
}

impl Exposure {
    fn new(context: &GpuContext, layouts: &Layouts, size: wgpu::Extent3d) -> Self {
        let device = &context.device;
        let texture = |format| {
            let texture = device.create_texture(&wgpu::TextureDescriptor {
                label: None,
                size,
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format,
                usage: wgpu::TextureUsages::RENDER_ATTACHMENT
                    | wgpu::TextureUsages::TEXTURE_BINDING,
                view_formats: &[],
            });
            texture.create_view(&Default::default())
        };
        Exposure {
            pipelines: ExposurePipelines::new(device, layouts),
            sampler: device.create_sampler(&wgpu::SamplerDescriptor {
                mag_filter: wgpu::FilterMode::Linear,
                min_filter: wgpu::FilterMode::Linear,
                ..Default::default()
            }),
            sums: [texture(SUM), texture(SUM)],
            unread: texture(IDS),
            plate: None,
        }
    }
}

/// Where each corner of the grid over the picture comes from in the image that is drawn, and
/// the corners a row and a column.
fn origins(projection: &Projection, view: &View, size_px: [u32; 2]) -> (Vec<Vec2>, [u32; 2]) {
    let corners = size_px.map(|side| (side as f32 / CELL_PX).ceil() as u32 + 1);
    let [columns, rows] = corners;
    let size = Vec2::from(size_px.map(|side| side as f32));
    let cells = Vec2::new((columns - 1) as f32, (rows - 1) as f32);
    let places = (0..columns * rows).map(|index| {
        let corner = Vec2::new((index % columns) as f32, (index / columns) as f32);
        let direction = projection.camera_direction(corner / cells * size);
        view.image_point(Vec2::new(direction.x, -direction.y) / direction.z.max(1e-6))
    });
    (places.collect(), corners)
}

impl Renderer<'_> {
    /// Draws a scene in as many frames as there are moments, and its labels.
    pub(super) fn expose(
        &mut self,
        scene: &SceneInstance,
        projection: &Projection,
        moments: &[Moment],
        balls: &[Ball],
        fill: Option<&Fill>,
    ) {
        let context = self.context;
        let device = &context.device;
        let middle = View::new(scene, projection);
        let mut exposure = self
            .exposure
            .take()
            .unwrap_or_else(|| Exposure::new(context, &self.layouts, self.size));
        let is_warped = projection.is_distorted();
        if is_warped && exposure.plate.as_ref().map(|(size, _)| *size) != Some(middle.size_px) {
            let [width, height] = middle.size_px;
            let size = wgpu::Extent3d {
                width,
                height,
                depth_or_array_layers: 1,
            };
            let targets = Targets::new(device, size, self.supersampling, self.assets);
            exposure.plate = Some((middle.size_px, targets));
        }
        let plate = exposure.plate.as_ref().filter(|_| is_warped);
        let targets = plate.map_or(&self.targets, |(_, targets)| targets);
        let size_px = [self.size.width, self.size.height];
        let (places, corners) = origins(projection, &middle, size_px);
        let init = |contents: &[u8], usage| {
            device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
                label: None,
                contents,
                usage,
            })
        };
        let places = init(bytemuck::cast_slice(&places), wgpu::BufferUsages::STORAGE);
        let warp = |is_first: bool| {
            let cells = corners.map(|count| (count - 1) as f32);
            let uniform = WarpUniform {
                corners,
                density: [cells[0] / size_px[0] as f32, cells[1] / size_px[1] as f32],
                weight: [
                    1.0 / moments.len() as f32,
                    f32::from(u8::from(!is_first)),
                    0.0,
                    0.0,
                ],
            };
            init(bytemuck::bytes_of(&uniform), wgpu::BufferUsages::UNIFORM)
        };
        let prepare = |moment: Moment| {
            let view = View::at(scene, projection, moment);
            let levels = view.levels(scene, self.assets, balls);
            let drawn = Drawn {
                view: &view,
                balls,
                levels: &levels,
                fill,
            };
            self.prepare(scene, projection, &drawn, targets)
        };
        for (number, moment) in moments.iter().enumerate() {
            let work = prepare(*moment);
            let mut encoder = device.create_command_encoder(&Default::default());
            self.encode(&mut encoder, &work, targets);
            let [sum, before] = [number % 2, (number + 1) % 2].map(|side| &exposure.sums[side]);
            let group = bind(
                device,
                &self.layouts.accumulate,
                &[
                    wgpu::BindingResource::TextureView(&targets.radiance),
                    wgpu::BindingResource::TextureView(before),
                    places.as_entire_binding(),
                    warp(number == 0).as_entire_binding(),
                    wgpu::BindingResource::Sampler(&exposure.sampler),
                ],
            );
            let pipelines = &exposure.pipelines;
            let pipeline = if is_warped {
                &pipelines.warped
            } else {
                &pipelines.plain
            };
            let mut pass = begin_pass(&mut encoder, &[colour_attachment(sum)], None);
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, &work.scene, &[]);
            pass.set_bind_group(1, &group, &[]);
            pass.draw(0..3, 0..1);
            drop(pass);
            context.queue.submit([encoder.finish()]);
        }
        let work = prepare(Moment::MIDDLE);
        let mut encoder = device.create_command_encoder(&Default::default());
        // A single moment is the middle, whose labels are there already.
        if moments.len() > 1 {
            self.encode_labels(&mut encoder, &work, targets);
        }
        if is_warped {
            let pipeline = &exposure.pipelines.relabel;
            let warp = warp(true);
            let normals = match &self.normals {
                Some(normals) => normals.texture.create_view(&Default::default()),
                None => exposure.unread.clone(),
            };
            let inputs = [&places, &warp];
            self.relabel(&mut encoder, &work, targets, pipeline, inputs, &normals);
        } else {
            self.draw_normals(&mut encoder, &work);
        }
        let sum = &exposure.sums[(moments.len() + 1) % 2];
        let sum = [wgpu::BindingResource::TextureView(sum)];
        let radiance = bind(device, &self.layouts.radiance, &sum);
        self.develop(&mut encoder, &work.scene, &radiance);
        context.queue.submit([encoder.finish()]);
        self.exposure = Some(exposure);
    }

    /// Labels of the picture from the samples of the image that is drawn for its lens.
    fn relabel(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        work: &Work,
        targets: &Targets,
        pipeline: &wgpu::RenderPipeline,
        [places, warp]: [&wgpu::Buffer; 2],
        normals: &wgpu::TextureView,
    ) {
        let group = bind(
            &self.context.device,
            &self.layouts.relabel,
            &[
                wgpu::BindingResource::TextureView(&targets.samples),
                wgpu::BindingResource::TextureView(&targets.samples_depth),
                places.as_entire_binding(),
                warp.as_entire_binding(),
            ],
        );
        let images = [&self.targets.ids, &self.targets.distance];
        let views = images.map(|texture| texture.create_view(&Default::default()));
        let [ids, distance] = &views;
        let colours = [ids, distance, normals].map(colour_attachment);
        let mut pass = begin_pass(encoder, &colours, None);
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, &work.scene, &[]);
        pass.set_bind_group(1, &group, &[]);
        pass.draw(0..3, 0..1);
    }
}

#[cfg(test)]
mod tests;
