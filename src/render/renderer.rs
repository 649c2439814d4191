//! Draws one scene after another into the same targets.

use wgpu::util::DeviceExt;

use super::context::{GpuContext, RenderError};
use super::ground_truth::GroundTruth;
use super::mesh;
use super::pipeline::{Layouts, Pipelines};
use super::target::{Targets, begin_pass, colour_attachment};
use super::uniforms::{ObjectUniform, SceneUniform};
use crate::scene::{SceneInstance, Template};

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
        pass.set_pipeline(&pipelines.visible_ground);
        pass.draw(0..4, 0..1);
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

#[cfg(test)]
mod tests {
    use glam::{Mat3, Mat4, Vec3};

    use super::*;
    use crate::scene::{Camera, Light, Object, Sensor, Surface};

    const SIDE_PX: u32 = 160;
    const HALF_M: f32 = 0.008;

    /// A white die with black pips whose face towards `local_up` lies uppermost, its edges
    /// along the image's, seen from straight above without blur, noise or gloss.
    fn upright_die(local_up: Vec3, light_towards: Vec3) -> SceneInstance {
        let side = if local_up.z == 0.0 { Vec3::Z } else { Vec3::X };
        let rotation = Mat3::from_cols(side, local_up.cross(side), local_up).transpose();
        SceneInstance {
            width_px: SIDE_PX,
            height_px: SIDE_PX,
            camera: Camera {
                position_m: Vec3::new(0.0, 0.0, 0.2),
                target_m: Vec3::ZERO,
                up: Vec3::Y,
                vertical_fov_deg: 12.0,
            },
            light: Light {
                direction: light_towards.normalize(),
                intensity: 0.6,
                kelvin: 6600.0,
                softness_m: 0.001,
                ambient: 0.3,
            },
            exposure_ev: 0.0,
            sensor: Sensor {
                noise: 0.0,
                blur_px: 0.0,
                vignetting: 0.0,
                noise_seed: 0,
            },
            ground_linear_rgb: [0.5; 3],
            ground_texture_strength: 0.0,
            ground_texture_scale_m: 0.02,
            ground_roughness: 1.0,
            objects: vec![Object {
                family: "die".to_owned(),
                category_id: Some(1),
                template: Template::RoundedBox,
                surface: Surface::Die,
                world_from_local: Mat4::from_translation(Vec3::Z * HALF_M)
                    * Mat4::from_mat3(rotation),
                half_extents_m: Vec3::splat(HALF_M),
                rounding_m: 0.1 * HALF_M,
                body_linear_rgb: [0.9; 3],
                second_linear_rgb: [0.9; 3],
                pips_linear_rgb: [0.01; 3],
                pip_radius: 0.18,
                roughness: 1.0,
                gloss: 0.0,
                marbling: 0.0,
                translucency: 0.0,
                label_margin: 0.0,
            }],
            not_placed: 0,
        }
    }

    /// Centres of the dark regions of the die, in halves of its side from its middle, x to
    /// the right and y up.
    fn pip_centres(frame: &Frame) -> Vec<(f32, f32)> {
        let bbox = &frame.truth.visible_objects()[0].bbox;
        let is_dark = |x: u32, y: u32| {
            frame.truth.ids[(y * SIDE_PX + x) as usize] == 1 && frame.rgb.get_pixel(x, y)[1] < 90
        };
        let mut seen = vec![false; (SIDE_PX * SIDE_PX) as usize];
        let mut centres = Vec::new();
        for start in 0..SIDE_PX * SIDE_PX {
            let mut open = vec![(start % SIDE_PX, start / SIDE_PX)];
            let mut found = Vec::new();
            while let Some((x, y)) = open.pop() {
                let is_new = x < SIDE_PX && y < SIDE_PX && is_dark(x, y);
                if is_new && !std::mem::replace(&mut seen[(y * SIDE_PX + x) as usize], true) {
                    found.push((x as f32 + 0.5, y as f32 + 0.5));
                    open.extend([(x + 1, y), (x, y + 1)]);
                    open.extend([(x.wrapping_sub(1), y), (x, y.wrapping_sub(1))]);
                }
            }
            if found.len() >= 8 {
                let mean = |of: fn(&(f32, f32)) -> f32| {
                    found.iter().map(of).sum::<f32>() / found.len() as f32
                };
                let half = bbox.width as f32 / 2.0;
                let middle = (bbox.x as f32 + half, bbox.y as f32 + half);
                centres.push((
                    (mean(|p| p.0) - middle.0) / half,
                    (middle.1 - mean(|p| p.1)) / half,
                ));
            }
        }
        centres
    }

    #[test]
    #[ignore = "needs a Vulkan adapter: make test installs one and runs these"]
    fn each_face_has_its_pips_in_the_usual_places() {
        let context = GpuContext::new().unwrap();
        let mut renderer = Renderer::new(&context, SIDE_PX, SIDE_PX);
        // Opposite faces sum to seven; one, two and three run counter-clockwise.
        let faces = [Vec3::X, Vec3::Y, Vec3::Z];
        for (pips, up) in (1..).zip(faces.into_iter().chain([-Vec3::Z, -Vec3::Y, -Vec3::X])) {
            let frame = renderer.render(&upright_die(up, Vec3::Z)).unwrap();
            let centres = pip_centres(&frame);
            assert_eq!(centres.len(), pips, "{centres:?}");
            // Turned by half a circle, every face looks the same.
            for (x, y) in &centres {
                let twin = |(a, b): &(f32, f32)| (a + x).abs() < 0.08 && (b + y).abs() < 0.08;
                assert!(centres.iter().any(twin), "{pips}: {centres:?}");
            }
            let is_corner = |(x, y): &&(f32, f32)| x.abs().min(y.abs()) > 0.35;
            let is_middle = |(x, y): &&(f32, f32)| x.abs().max(y.abs()) < 0.08;
            let (corners, middles) = (
                centres.iter().filter(is_corner).count(),
                centres.iter().filter(is_middle).count(),
            );
            let expected = [(0, 1), (2, 0), (2, 1), (4, 0), (4, 1), (4, 0)];
            assert_eq!(
                (corners, middles),
                expected[pips - 1],
                "{pips}: {centres:?}"
            );
        }
    }

    #[test]
    #[ignore = "needs a Vulkan adapter: make test installs one and runs these"]
    fn the_shadow_falls_away_from_the_light() {
        let context = GpuContext::new().unwrap();
        let mut renderer = Renderer::new(&context, SIDE_PX, SIDE_PX);
        let row = SIDE_PX / 2;
        for (towards, column_lit, column_dark) in [(1.0, 130, 29), (-1.0, 29, 130)] {
            let light = Vec3::new(towards, 0.0, 1.0);
            let frame = renderer.render(&upright_die(Vec3::Z, light)).unwrap();
            let at = |x: u32| {
                assert_eq!(
                    frame.truth.ids[(row * SIDE_PX + x) as usize],
                    0,
                    "{x} is ground"
                );
                i32::from(frame.rgb.get_pixel(x, row)[1])
            };
            let (lit, dark) = (at(column_lit), at(column_dark));
            assert!(lit > dark + 30, "{lit} beside {dark}");
        }
    }
}
