//! The assets' triangles on the adapter, and lists of what to draw of them.

use std::ops::Range;

use wgpu::util::DeviceExt;

use crate::scene::Assets;

/// Mirrors `VertexIn` of the shaders.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(super) struct Vertex {
    position: [f32; 3],
    normal: [f32; 3],
    uv: [f32; 2],
}

/// Where one level's triangles are.
#[derive(Debug, Clone)]
struct Part {
    indices: Range<u32>,
    base_vertex: i32,
}

#[derive(Debug)]
pub(super) struct Meshes {
    vertices: wgpu::Buffer,
    indices: wgpu::Buffer,
    /// By mesh and level.
    parts: Vec<Vec<Part>>,
    ground: Part,
}

impl Meshes {
    pub(super) fn new(device: &wgpu::Device, assets: &Assets) -> Self {
        let mut vertices = Vec::new();
        let mut indices: Vec<u32> = Vec::new();
        let mut add = |corners: &mut dyn Iterator<Item = Vertex>, triangles: &[[u32; 3]]| {
            let base_vertex = vertices.len() as i32;
            let first = indices.len() as u32;
            vertices.extend(corners);
            indices.extend(triangles.as_flattened());
            Part {
                indices: first..indices.len() as u32,
                base_vertex,
            }
        };
        // A square from -1 to 1 that faces up.
        let corner = |(x, y)| Vertex {
            position: [x, y, 0.0],
            normal: [0.0, 0.0, 1.0],
            uv: [0.0; 2],
        };
        let square = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)];
        let ground = add(&mut square.into_iter().map(corner), &[[0, 1, 2], [0, 2, 3]]);
        let mut parts = Vec::new();
        for mesh in &assets.meshes {
            let levels = mesh.levels.iter().map(|level| {
                let geometry = &level.geometry;
                let corners = geometry.positions.iter().zip(&geometry.normals);
                let corners = corners.zip(&geometry.uvs);
                let mut corners = corners.map(|((position, normal), uv)| Vertex {
                    position: position.to_array(),
                    normal: normal.to_array(),
                    uv: uv.to_array(),
                });
                add(&mut corners, &geometry.triangles)
            });
            parts.push(levels.collect());
        }
        let buffer = |contents: &[u8], usage| {
            device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
                label: Some("meshes"),
                contents,
                usage,
            })
        };
        Meshes {
            vertices: buffer(bytemuck::cast_slice(&vertices), wgpu::BufferUsages::VERTEX),
            indices: buffer(bytemuck::cast_slice(&indices), wgpu::BufferUsages::INDEX),
            parts,
            ground,
        }
    }
}

/// What is drawn in one pass: runs of the same triangles, and the numbers of their objects
/// in the list that all passes share.
#[derive(Debug, Default)]
pub(super) struct DrawList {
    runs: Vec<(Part, Range<u32>)>,
}

impl DrawList {
    /// Parts of one mesh and level go into one run. `drawn` is the list of all passes; a part's
    /// number there is one more than in the scene, the ground's is 0.
    pub(super) fn new(
        meshes: &Meshes,
        of_parts: impl Iterator<Item = (usize, Option<usize>)>,
        with_ground: bool,
        drawn: &mut Vec<u32>,
    ) -> Self {
        let mut visible: Vec<(usize, usize, u32)> = (1..)
            .zip(of_parts)
            .filter_map(|(number, (mesh, level))| Some((mesh, level?, number)))
            .collect();
        visible.sort_unstable();
        let mut runs = Vec::new();
        for run in visible.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let first = drawn.len() as u32;
            drawn.extend(run.iter().map(|(.., number)| number));
            let (mesh, level, _) = run[0];
            runs.push((meshes.parts[mesh][level].clone(), first..drawn.len() as u32));
        }
        if with_ground {
            let first = drawn.len() as u32;
            drawn.push(0);
            runs.push((meshes.ground.clone(), first..first + 1));
        }
        DrawList { runs }
    }

    pub(super) fn draw(&self, pass: &mut wgpu::RenderPass, meshes: &Meshes) {
        pass.set_vertex_buffer(0, meshes.vertices.slice(..));
        pass.set_index_buffer(meshes.indices.slice(..), wgpu::IndexFormat::Uint32);
        for (part, instances) in &self.runs {
            pass.draw_indexed(part.indices.clone(), part.base_vertex, instances.clone());
        }
    }
}
