//! Meshes from glTF and Wavefront OBJ files.

mod gltf;
mod obj;

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use glam::{Vec2, Vec3};

use super::asset::Geometry;
use super::spec::{MeshSpec, UpAxis};

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// The most triangles of a mesh.
const MAX_TRIANGLES: usize = 2_000_000;

/// The most materials of a mesh.
const MAX_SURFACES: usize = 64;

/// The longest side of a mesh, in metres.
const MAX_SIDE_M: f32 = 1e4;

/// Faces that meet at less than this are smooth where a file gives no normals.
const CREASE_COSINE: f32 = 0.766;

/// What a file says of a surface. Colours are linear.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FileMaterial {
    pub linear_rgb: [f32; 3],
    pub metallic: f32,
    pub roughness: f32,
    pub emission_linear_rgb: [f32; 3],
    /// Number of its picture among the family's textures, which the colour multiplies.
    pub layer: Option<usize>,
}

impl FileMaterial {
    pub(super) fn glows(&self) -> bool {
        self.emission_linear_rgb != [0.0; 3]
    }
}

/// A picture that a file names or holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Embedded {
    File(PathBuf),
    Bytes(Arc<[u8]>),
}

/// The triangles of one material.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Surface {
    pub geometry: Geometry,
    pub material: FileMaterial,
    pub picture: Option<Picture>,
}

/// The picture of a surface's colour.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Picture {
    pub source: Embedded,
    /// Whether its alpha does not count.
    pub is_opaque: bool,
}

/// A mesh in metres, with the middle of the box around it at the origin and z upwards.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MeshFile {
    pub surfaces: Vec<Surface>,
    /// Names and hashes of all files that it was read from.
    pub files: Vec<[String; 2]>,
}

/// Triangles of one material as they stand in a file; normals may be missing.
struct Raw {
    positions: Vec<Vec3>,
    normals: Option<Vec<Vec3>>,
    uvs: Vec<Vec2>,
    triangles: Vec<[u32; 3]>,
    material: FileMaterial,
    picture: Option<Picture>,
}

/// Reads files beside a mesh, and notes their names and hashes.
struct Files<'a> {
    folder: &'a Path,
    read: Vec<[String; 2]>,
}

impl Files<'_> {
    fn read(&mut self, name: &str) -> Result<Vec<u8>, String> {
        let fail = |error: std::io::Error| format!("cannot be read: {error}");
        let file = File::open(self.folder.join(name)).map_err(fail)?;
        let mut bytes = Vec::new();
        // One byte more than is allowed tells that it is too large.
        let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
        if read.map_err(fail)? as u64 > MAX_BYTES {
            let most = MAX_BYTES >> 20;
            return Err(format!("is larger than {most} MiB"));
        }
        let hash = blake3::hash(&bytes).to_hex().to_string();
        self.read.push([name.to_owned(), hash]);
        Ok(bytes)
    }

    /// Reads a file that a mesh names.
    fn read_named(&mut self, name: &str) -> Result<Vec<u8>, String> {
        self.path(name)?;
        let read = self.read(name);
        read.map_err(|problem| format!("names `{name}`, which {problem}"))
    }

    /// Where a file that a mesh names lies.
    fn path(&self, name: &str) -> Result<PathBuf, String> {
        let is_address = name.contains("://");
        let ok = !is_address && !name.is_empty();
        ok.then(|| self.folder.join(name))
            .ok_or_else(|| format!("names `{name}`, which is no file beside it"))
    }
}

/// Reads the mesh that a scene file in the folder `beside` names.
///
/// # Errors
/// What is wrong with the file, as the end of a sentence that its name begins.
pub(super) fn read(spec: &MeshSpec, beside: &Path) -> Result<MeshFile, String> {
    let path = beside.join(&spec.file);
    let ending = path.extension().and_then(|ending| ending.to_str());
    let ending = ending.unwrap_or("").to_ascii_lowercase();
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or("is no name of a file")?;
    let mut files = Files {
        folder: path.parent().unwrap_or(Path::new("")),
        read: Vec::new(),
    };
    let raw = match ending.as_str() {
        "glb" | "gltf" => gltf::read(&files.read(name)?, &mut files)?,
        "obj" => obj::read(&files.read(name)?, &mut files)?,
        _ => return Err("is no .glb, .gltf or .obj file".to_owned()),
    };
    Ok(MeshFile {
        surfaces: finished(raw, spec)?,
        files: files.read,
    })
}

/// Checks triangles and brings them to metres around the origin.
fn finished(raw: Vec<Raw>, spec: &MeshSpec) -> Result<Vec<Surface>, String> {
    let count: usize = raw.iter().map(|raw| raw.triangles.len()).sum();
    if count > MAX_TRIANGLES {
        return Err(format!(
            "has {count} triangles; a mesh has at most {MAX_TRIANGLES}"
        ));
    }
    let mut surfaces = Vec::new();
    for raw in raw {
        let surface = whole(raw)?;
        // What has no area shows nothing.
        if !surface.geometry.triangles.is_empty() {
            surfaces.push(surface);
        }
    }
    if surfaces.is_empty() {
        return Err("has no triangles".to_owned());
    }
    if surfaces.len() > MAX_SURFACES {
        let count = surfaces.len();
        return Err(format!(
            "has {count} materials; a mesh has at most {MAX_SURFACES}"
        ));
    }
    let turned = |at: Vec3| match spec.up {
        UpAxis::Y => Vec3::new(at.x, -at.z, at.y),
        UpAxis::Z => at,
    };
    let (mut low, mut high) = (Vec3::INFINITY, Vec3::NEG_INFINITY);
    for surface in &mut surfaces {
        for normal in &mut surface.geometry.normals {
            *normal = turned(*normal);
        }
        for position in &mut surface.geometry.positions {
            *position = turned(*position);
            (low, high) = (low.min(*position), high.max(*position));
        }
    }
    let longest = (high - low).max_element();
    let scale = match spec.longest_side_mm {
        Some(side_mm) => side_mm as f32 / 1000.0 / longest,
        None => spec.unit_mm.unwrap_or(1000.0) as f32 / 1000.0,
    };
    let side_m = longest * scale;
    if !(1e-6..=MAX_SIDE_M).contains(&side_m) {
        return Err(format!(
            "would be {side_m} m long; give its size by `longest_side_mm` or its unit by `unit_mm`"
        ));
    }
    let middle = (low + high) / 2.0;
    for surface in &mut surfaces {
        for position in &mut surface.geometry.positions {
            *position = (*position - middle) * scale;
        }
    }
    Ok(surfaces)
}

/// Leaves out triangles without area, and adds normals that are missing.
fn whole(raw: Raw) -> Result<Surface, String> {
    if let Some(index) = raw.positions.iter().position(|at| !at.is_finite()) {
        return Err(format!("has a corner, number {index}, that is nowhere"));
    }
    let at = |index: u32| raw.positions[index as usize];
    let is_proper = |[a, b, c]: &[u32; 3]| {
        let area = (at(*b) - at(*a)).cross(at(*c) - at(*a)).length();
        area > 0.0 && area.is_finite()
    };
    let triangles: Vec<[u32; 3]> = raw.triangles.iter().copied().filter(is_proper).collect();
    let geometry = match raw.normals {
        Some(normals) => {
            let mut geometry = Geometry {
                normals: normals.iter().map(|n| n.normalize_or_zero()).collect(),
                positions: raw.positions,
                uvs: raw.uvs,
                triangles,
            };
            mend_normals(&mut geometry);
            geometry
        }
        None => smoothed(&raw.positions, &raw.uvs, &triangles),
    };
    Ok(Surface {
        geometry,
        material: raw.material,
        picture: raw.picture,
    })
}

/// Gives corners without a proper normal that of their triangle.
fn mend_normals(geometry: &mut Geometry) {
    for triangle in &geometry.triangles {
        let [a, b, c] = triangle.map(|index| geometry.positions[index as usize]);
        for index in triangle {
            let normal = &mut geometry.normals[*index as usize];
            if !normal.is_finite() || *normal == Vec3::ZERO {
                *normal = (b - a).cross(c - a).normalize_or(Vec3::Z);
            }
        }
    }
}

/// The same triangles with corners of their own, whose normals are the mean of the faces there
/// that meet at less than a crease, by their areas.
fn smoothed(positions: &[Vec3], uvs: &[Vec2], triangles: &[[u32; 3]]) -> Geometry {
    let key = |at: Vec3| at.to_array().map(f32::to_bits);
    let mut faces: HashMap<[u32; 3], Vec<Vec3>> = HashMap::new();
    let areas: Vec<Vec3> = triangles
        .iter()
        .map(|triangle| {
            let [a, b, c] = triangle.map(|index| positions[index as usize]);
            (b - a).cross(c - a)
        })
        .collect();
    for (triangle, area) in triangles.iter().zip(&areas) {
        for index in triangle {
            let place = key(positions[*index as usize]);
            faces.entry(place).or_default().push(*area);
        }
    }
    let mut geometry = Geometry::default();
    for (triangle, area) in triangles.iter().zip(&areas) {
        let own = area.normalize_or(Vec3::Z);
        let first = geometry.positions.len() as u32;
        for index in triangle {
            let at = positions[*index as usize];
            let others = faces.get(&key(at)).map_or(&[][..], Vec::as_slice);
            let is_smooth = |other: &&Vec3| other.normalize_or_zero().dot(own) > CREASE_COSINE;
            let sum: Vec3 = others.iter().filter(is_smooth).sum();
            geometry.positions.push(at);
            geometry.normals.push(sum.normalize_or(own));
            geometry.uvs.push(uvs[*index as usize]);
        }
        geometry.triangles.push([first, first + 1, first + 2]);
    }
    geometry
}

#[cfg(test)]
mod tests;
