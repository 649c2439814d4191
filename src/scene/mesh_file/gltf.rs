//! glTF 2.0 files, binary or with their buffers beside them.
//!
//! Only their form is a library's: its checks of what they refer to end the program on some
//! broken files, so that every reference is followed here and may lead nowhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use glam::{Mat3, Mat4, Quat, Vec2, Vec3};
use gltf_json::accessor::{Accessor, ComponentType, Type};
use gltf_json::material::{AlphaMode, Material};
use gltf_json::mesh::{Mode, Primitive, Semantic};
use gltf_json::scene::Node;
use gltf_json::validation::{Checked, USize64};
use gltf_json::{Index, Root};

use super::{Embedded, FileMaterial, Files, Picture, Raw};

/// How deep nodes may lie within each other.
const MAX_DEPTH: usize = 64;

/// The most nodes that are visited.
const MAX_NODES: usize = 100_000;

/// Names of chunks of a binary file.
const JSON: &[u8] = b"JSON";
const BINARY: &[u8] = b"BIN\0";

pub(super) fn read(bytes: &[u8], files: &mut Files) -> Result<Vec<Raw>, String> {
    let (text, blob) = match bytes.starts_with(b"glTF") {
        true => chunks(bytes)?,
        false => (bytes, None),
    };
    let root: Root = gltf_json::deserialize::from_slice(text)
        .map_err(|error| format!("is no sound glTF file: {error}"))?;
    if let Some(extension) = root.extensions_required.first() {
        return Err(format!(
            "needs the extension {extension}, which is not read"
        ));
    }
    let buffers = read_buffers(&root, blob, files)?;
    let mut reader = Reader {
        root: &root,
        buffers,
        files,
        surfaces: BTreeMap::new(),
        visited: 0,
    };
    let scene = match root.scene {
        Some(scene) => root.get(scene),
        None => root.scenes.first(),
    };
    for node in &scene.ok_or("has no scene")?.nodes {
        reader.visit(*node, Mat4::IDENTITY, 0)?;
    }
    Ok(reader.surfaces.into_values().collect())
}

/// The text of a binary file, and its first buffer.
fn chunks(bytes: &[u8]) -> Result<(&[u8], Option<&[u8]>), String> {
    let cut = || "is no sound glTF file: it was cut off".to_owned();
    let word = |at: usize| {
        let word = bytes.get(at..at + 4)?;
        Some(u32::from_le_bytes(word.try_into().ok()?) as usize)
    };
    if word(4) != Some(2) {
        return Err("is a glTF file of another version than 2".to_owned());
    }
    let mut at = 12;
    let mut next = |kind: &[u8]| {
        let length = word(at)?;
        let is_kind = bytes.get(at + 4..at + 8)? == kind;
        let chunk = bytes.get(at + 8..)?.get(..length)?;
        at += 8 + length;
        is_kind.then_some(chunk)
    };
    let text = next(JSON).ok_or_else(cut)?;
    let is_more = bytes.len() > 20 + text.len();
    let blob = next(BINARY);
    if is_more && blob.is_none() {
        return Err(cut());
    }
    Ok((text, blob))
}

fn read_buffers(
    root: &Root,
    mut blob: Option<&[u8]>,
    files: &mut Files,
) -> Result<Vec<Vec<u8>>, String> {
    let mut buffers = Vec::new();
    for buffer in &root.buffers {
        let bytes = match &buffer.uri {
            None => blob.take().ok_or("has no binary part")?.to_vec(),
            Some(uri) => match decoded(uri)? {
                Some(bytes) => bytes,
                None => files.read_named(&uri.replace("%20", " "))?,
            },
        };
        let (found, said) = (bytes.len() as u64, buffer.byte_length.0);
        if found < said {
            return Err(format!(
                "has a buffer of {found} bytes where it says {said}: it was cut off"
            ));
        }
        buffers.push(bytes);
    }
    Ok(buffers)
}

/// The bytes of a data URI; `None` for the name of a file.
fn decoded(uri: &str) -> Result<Option<Vec<u8>>, String> {
    let Some(data) = uri.strip_prefix("data:") else {
        return Ok(None);
    };
    let (_, text) = data
        .split_once(";base64,")
        .ok_or("has data that is not in base64")?;
    let bytes = STANDARD.decode(text);
    bytes
        .map(Some)
        .map_err(|error| format!("has data that is not in base64: {error}"))
}

/// What no reference of a sound file does.
fn dangling() -> String {
    "refers to something that it does not hold".to_owned()
}

fn offset(of: Option<USize64>) -> Option<usize> {
    usize::try_from(of.map_or(0, |offset| offset.0)).ok()
}

fn transformation(node: &Node) -> Mat4 {
    if let Some(matrix) = &node.matrix {
        return Mat4::from_cols_array(matrix);
    }
    let turn = node
        .rotation
        .map_or(Quat::IDENTITY, |turn| Quat::from_array(turn.0).normalize());
    Mat4::from_scale_rotation_translation(
        Vec3::from(node.scale.unwrap_or([1.0; 3])),
        turn,
        Vec3::from(node.translation.unwrap_or_default()),
    )
}

struct Reader<'a, 'b> {
    root: &'a Root,
    buffers: Vec<Vec<u8>>,
    files: &'a Files<'b>,
    /// By the material's number; what has none comes first.
    surfaces: BTreeMap<Option<usize>, Raw>,
    visited: usize,
}

impl Reader<'_, '_> {
    fn visit(&mut self, node: Index<Node>, parent: Mat4, depth: usize) -> Result<(), String> {
        self.visited += 1;
        if depth > MAX_DEPTH || self.visited > MAX_NODES {
            return Err("has nodes that lie within each other without end".to_owned());
        }
        let node = self.root.get(node).ok_or_else(dangling)?;
        let world = parent * transformation(node);
        if let Some(mesh) = node.mesh {
            let mesh = self.root.get(mesh).ok_or_else(dangling)?;
            for primitive in &mesh.primitives {
                self.add(primitive, world)?;
            }
        }
        for child in node.children.iter().flatten() {
            self.visit(*child, world, depth + 1)?;
        }
        Ok(())
    }

    fn add(&mut self, primitive: &Primitive, world: Mat4) -> Result<(), String> {
        let Checked::Valid(mode @ (Mode::Triangles | Mode::TriangleStrip | Mode::TriangleFan)) =
            primitive.mode
        else {
            return Ok(());
        };
        let attribute = |semantic: Semantic| {
            let accessor = primitive.attributes.get(&Checked::Valid(semantic));
            let accessor = accessor.map(|accessor| self.root.get(*accessor).ok_or_else(dangling));
            accessor.transpose()
        };
        let positions = attribute(Semantic::Positions)?;
        let positions = positions.ok_or("has triangles without positions")?;
        let positions: Vec<[f32; 3]> = self.vectors(positions, Type::Vec3)?;
        let count = positions.len();
        let normals = attribute(Semantic::Normals)?;
        let normals = normals.map(|of| self.vectors::<3>(of, Type::Vec3));
        let normals = normals.transpose()?;
        let number = primitive.material.map(|material| material.value());
        let material = primitive
            .material
            .map(|of| self.root.get(of).ok_or_else(dangling));
        let material = material.transpose()?.cloned().unwrap_or_default();
        let texture = material.pbr_metallic_roughness.base_color_texture.as_ref();
        let set = texture.map_or(0, |texture| texture.tex_coord);
        let uvs = attribute(Semantic::TexCoords(set))?;
        let uvs = uvs
            .map(|of| self.vectors::<2>(of, Type::Vec2))
            .transpose()?;
        let others = [normals.as_ref().map(Vec::len), uvs.as_ref().map(Vec::len)];
        if others.into_iter().flatten().any(|other| other != count) {
            return Err("has triangles with more positions than normals or the reverse".to_owned());
        }
        let indices = match primitive.indices {
            Some(accessor) => self.indices(self.root.get(accessor).ok_or_else(dangling)?)?,
            None => (0..count as u32).collect(),
        };
        if let Some(index) = indices.iter().find(|index| **index as usize >= count) {
            return Err(format!(
                "has a triangle with corner {index}, where there are {count}"
            ));
        }
        let mut raw = match self.surfaces.remove(&number) {
            Some(raw) => raw,
            None => self.surface(&material)?,
        };
        let first = raw.positions.len() as u32;
        // Normals go with the inverse transpose.
        let turn = Mat3::from_mat4(world).inverse().transpose();
        let is_mirrored = world.determinant() < 0.0;
        let placed = |at: &[f32; 3]| world.transform_point3(Vec3::from(*at));
        raw.positions.extend(positions.iter().map(placed));
        match (&mut raw.normals, normals) {
            (Some(own), Some(normals)) => {
                own.extend(normals.iter().map(|normal| turn * Vec3::from(*normal)));
            }
            _ => raw.normals = None,
        }
        match uvs {
            Some(uvs) => raw.uvs.extend(uvs.into_iter().map(Vec2::from)),
            None => raw.uvs.extend(std::iter::repeat_n(Vec2::ZERO, count)),
        }
        let corners = triangles(mode, &indices).into_iter();
        let corners = corners.map(|[a, b, c]| match is_mirrored {
            true => [first + a, first + c, first + b],
            false => [first + a, first + b, first + c],
        });
        raw.triangles.extend(corners);
        self.surfaces.insert(number, raw);
        Ok(())
    }

    /// A material without triangles yet.
    fn surface(&self, material: &Material) -> Result<Raw, String> {
        let pbr = &material.pbr_metallic_roughness;
        let [red, green, blue, _] = pbr.base_color_factor.0;
        let is_opaque = material.alpha_mode == Checked::Valid(AlphaMode::Opaque);
        let picture = pbr.base_color_texture.as_ref().map(|texture| {
            let texture = self.root.get(texture.index).ok_or_else(dangling)?;
            let image = self.root.get(texture.source).ok_or_else(dangling)?;
            let source = self.picture(image)?;
            Ok::<_, String>(Picture { source, is_opaque })
        });
        Ok(Raw {
            positions: Vec::new(),
            normals: Some(Vec::new()),
            uvs: Vec::new(),
            triangles: Vec::new(),
            material: FileMaterial {
                linear_rgb: [red, green, blue].map(|value| value.clamp(0.0, 1.0)),
                metallic: pbr.metallic_factor.0.clamp(0.0, 1.0),
                roughness: pbr.roughness_factor.0.clamp(0.0, 1.0),
                emission_linear_rgb: material
                    .emissive_factor
                    .0
                    .map(|value| value.clamp(0.0, 1.0)),
                layer: None,
            },
            picture: picture.transpose()?,
        })
    }

    fn picture(&self, image: &gltf_json::Image) -> Result<Embedded, String> {
        if let Some(view) = image.buffer_view {
            let bytes = self.view(view)?;
            return Ok(Embedded::Bytes(Arc::from(bytes)));
        }
        let uri = image.uri.as_ref().ok_or("has a picture without a file")?;
        match decoded(uri)? {
            Some(bytes) => Ok(Embedded::Bytes(Arc::from(bytes))),
            None => Ok(Embedded::File(self.files.path(&uri.replace("%20", " "))?)),
        }
    }

    fn view(&self, view: Index<gltf_json::buffer::View>) -> Result<&[u8], String> {
        let view = self.root.get(view).ok_or_else(dangling)?;
        let buffer = self.buffers.get(view.buffer.value());
        let bytes = buffer.ok_or_else(dangling)?;
        let length = usize::try_from(view.byte_length.0).ok();
        let part = offset(view.byte_offset).and_then(|start| bytes.get(start..)?.get(..length?));
        part.ok_or_else(|| "has data that lies past the end of its buffer".to_owned())
    }

    /// Each element's bytes.
    fn elements(
        &self,
        accessor: &Accessor,
        size: usize,
    ) -> Result<impl Iterator<Item = &[u8]>, String> {
        if accessor.sparse.is_some() {
            return Err("has sparse accessors, which are not read".to_owned());
        }
        let index = accessor.buffer_view.ok_or("has an accessor without data")?;
        let bytes = self.view(index)?;
        let view = self.root.get(index).ok_or_else(dangling)?;
        let stride = view.byte_stride.map_or(size, |stride| stride.0);
        let count = usize::try_from(accessor.count.0).ok();
        let part = offset(accessor.byte_offset).and_then(|start| {
            let steps = count?.checked_sub(1)?.checked_mul(stride)?;
            let part = bytes.get(start..)?.get(..steps.checked_add(size)?)?;
            (stride >= size).then_some(part)
        });
        let part = part.ok_or("has an accessor that lies past the end of its data")?;
        let count = count.unwrap_or(0);
        Ok((0..count).map(move |number| &part[number * stride..][..size]))
    }

    /// Vectors of `N` floats, or of shares in whole numbers.
    fn vectors<const N: usize>(
        &self,
        accessor: &Accessor,
        kind: Type,
    ) -> Result<Vec<[f32; N]>, String> {
        if accessor.type_ != Checked::Valid(kind) {
            return Err(format!("has vectors that are not of {N} numbers"));
        }
        let number: fn(&[u8]) -> f32 = match (component(accessor), accessor.normalized) {
            (Some(ComponentType::F32), _) => {
                |bytes| f32::from_le_bytes(std::array::from_fn(|at| bytes[at]))
            }
            (Some(ComponentType::U8), true) => |bytes| f32::from(bytes[0]) / 255.0,
            (Some(ComponentType::U16), true) => {
                |bytes| f32::from(u16::from_le_bytes([bytes[0], bytes[1]])) / 65535.0
            }
            _ => return Err("has vectors of an unusual type of number".to_owned()),
        };
        let size = component(accessor).map_or(0, |kind| kind.size());
        let elements = self.elements(accessor, N * size)?;
        let vector = |bytes: &[u8]| std::array::from_fn(|at| number(&bytes[at * size..]));
        Ok(elements.map(vector).collect())
    }

    fn indices(&self, accessor: &Accessor) -> Result<Vec<u32>, String> {
        if accessor.type_ != Checked::Valid(Type::Scalar) {
            return Err("has indices that are no single numbers".to_owned());
        }
        let number: fn(&[u8]) -> u32 = match component(accessor) {
            Some(ComponentType::U8) => |bytes| u32::from(bytes[0]),
            Some(ComponentType::U16) => |bytes| u32::from(u16::from_le_bytes([bytes[0], bytes[1]])),
            Some(ComponentType::U32) => {
                |bytes| u32::from_le_bytes(std::array::from_fn(|at| bytes[at]))
            }
            _ => return Err("has indices of an unusual type of number".to_owned()),
        };
        let size = component(accessor).map_or(0, |kind| kind.size());
        Ok(self.elements(accessor, size)?.map(number).collect())
    }
}

fn component(accessor: &Accessor) -> Option<ComponentType> {
    match accessor.component_type {
        Checked::Valid(kind) => Some(kind.0),
        Checked::Invalid => None,
    }
}

/// Triangles of a list, a strip or a fan.
fn triangles(mode: Mode, indices: &[u32]) -> Vec<[u32; 3]> {
    match mode {
        Mode::TriangleStrip => {
            let windows = indices.windows(3).enumerate();
            // Every other one turns the other way.
            let turned = |(number, of): (usize, &[u32])| match number % 2 {
                0 => [of[0], of[1], of[2]],
                _ => [of[1], of[0], of[2]],
            };
            windows.map(turned).collect()
        }
        Mode::TriangleFan => {
            let (first, rest) = indices.split_first().unwrap_or((&0, &[]));
            rest.windows(2)
                .map(|pair| [*first, pair[0], pair[1]])
                .collect()
        }
        _ => indices.as_chunks::<3>().0.to_vec(),
    }
}
