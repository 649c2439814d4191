//! Wavefront OBJ files and their materials.

use std::collections::HashMap;
use std::path::Path;

use glam::{Vec2, Vec3};

use super::{Embedded, FileMaterial, Files, Picture, Raw};

/// What has no material.
const PLAIN: FileMaterial = FileMaterial {
    linear_rgb: [0.5; 3],
    metallic: 0.0,
    roughness: 0.7,
    emission_linear_rgb: [0.0; 3],
    layer: None,
};

/// Indices of a corner's position, texture coordinates and normal.
type Corner = (u32, Option<u32>, Option<u32>);

/// What a file lists before its faces.
#[derive(Default)]
struct Lists {
    positions: Vec<Vec3>,
    uvs: Vec<Vec2>,
    normals: Vec<Vec3>,
}

/// Faces of one material.
struct Faces {
    known: HashMap<Corner, u32>,
    has_normals: bool,
    raw: Raw,
}

pub(super) fn read(bytes: &[u8], files: &mut Files) -> Result<Vec<Raw>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is no text in UTF-8")?;
    let mut lists = Lists::default();
    let mut materials = HashMap::new();
    let mut faces: Vec<Faces> = Vec::new();
    let mut by_name: HashMap<String, usize> = HashMap::new();
    let mut name = String::new();
    for (number, line) in (1..).zip(text.lines()) {
        let at_line = |problem: String| format!("is not sound in line {number}: {problem}");
        let (kind, rest) = first_word(line);
        match kind {
            "v" => lists
                .positions
                .push(Vec3::from(numbers(rest).map_err(at_line)?)),
            "vn" => lists
                .normals
                .push(Vec3::from(numbers(rest).map_err(at_line)?)),
            "vt" => {
                let [u, v] = numbers(rest).map_err(at_line)?;
                // Their origin is the lower left.
                lists.uvs.push(Vec2::new(u, 1.0 - v));
            }
            "usemtl" => name = rest.to_owned(),
            "mtllib" => {
                let read = read_materials(rest, files);
                materials.extend(read.map_err(at_line)?);
            }
            "f" => {
                let index = *by_name.entry(name.clone()).or_insert_with(|| {
                    faces.push(Faces::new(materials.get(&name)));
                    faces.len() - 1
                });
                faces[index].add(rest, &lists).map_err(at_line)?;
            }
            _ => {}
        }
    }
    Ok(faces.into_iter().map(Faces::finished).collect())
}

fn first_word(line: &str) -> (&str, &str) {
    let line = line.split('#').next().unwrap_or("").trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (word, rest.trim())
}

/// The first `N` numbers of a line.
fn numbers<const N: usize>(text: &str) -> Result<[f32; N], String> {
    let mut words = text.split_whitespace();
    let mut found = [0.0; N];
    for value in &mut found {
        let word = words.next();
        let word = word.ok_or_else(|| format!("`{text}` has fewer than {N} numbers"))?;
        *value = word
            .parse()
            .map_err(|_| format!("`{word}` is not a number"))?;
    }
    Ok(found)
}

impl Faces {
    fn new(material: Option<&(FileMaterial, Option<Picture>)>) -> Self {
        let (material, picture) = material.cloned().unwrap_or((PLAIN, None));
        Faces {
            known: HashMap::new(),
            has_normals: true,
            raw: Raw {
                positions: Vec::new(),
                normals: Some(Vec::new()),
                uvs: Vec::new(),
                triangles: Vec::new(),
                material,
                picture,
            },
        }
    }

    /// Adds a polygon as a fan of triangles.
    fn add(&mut self, text: &str, lists: &Lists) -> Result<(), String> {
        let mut corners = Vec::new();
        for word in text.split_whitespace() {
            corners.push(self.corner(word, lists)?);
        }
        if corners.len() < 3 {
            return Err(format!("a face has {} corners", corners.len()));
        }
        let fans = corners[1..].windows(2);
        let triangles = fans.map(|pair| [corners[0], pair[0], pair[1]]);
        self.raw.triangles.extend(triangles);
        Ok(())
    }

    /// The number of a corner such as `3/1/2`, `3//2` or `-1`.
    fn corner(&mut self, word: &str, lists: &Lists) -> Result<u32, String> {
        let mut parts = word.split('/');
        let mut index = |count: usize, what: &str| {
            let part = parts.next().filter(|part| !part.is_empty());
            part.map(|part| resolved(part, count, what)).transpose()
        };
        let position = index(lists.positions.len(), "position")?;
        let position = position.ok_or_else(|| format!("`{word}` names no position"))?;
        let uv = index(lists.uvs.len(), "texture coordinate")?;
        let normal = index(lists.normals.len(), "normal")?;
        self.has_normals &= normal.is_some();
        let raw = &mut self.raw;
        let normals = raw.normals.get_or_insert_default();
        Ok(
            *self.known.entry((position, uv, normal)).or_insert_with(|| {
                let number = raw.positions.len() as u32;
                raw.positions.push(lists.positions[position as usize]);
                raw.uvs
                    .push(uv.map_or(Vec2::ZERO, |uv| lists.uvs[uv as usize]));
                normals.push(normal.map_or(Vec3::ZERO, |normal| lists.normals[normal as usize]));
                number
            }),
        )
    }

    fn finished(mut self) -> Raw {
        if !self.has_normals {
            self.raw.normals = None;
        }
        self.raw
    }
}

/// An index from 0, of one from 1 or from the end by a negative number.
fn resolved(word: &str, count: usize, what: &str) -> Result<u32, String> {
    let fail = || format!("there is no {what} {word}, only {count}");
    let number: i64 = word
        .parse()
        .map_err(|_| format!("`{word}` is not a whole number"))?;
    let index = match number {
        ..0 => count as i64 + number,
        _ => number - 1,
    };
    let is_one = (0..count as i64).contains(&index);
    is_one.then_some(index as u32).ok_or_else(fail)
}

type Materials = HashMap<String, (FileMaterial, Option<Picture>)>;

fn read_materials(file: &str, files: &mut Files) -> Result<Materials, String> {
    let name = file.to_owned();
    let bytes = files.read_named(&name)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut materials = Materials::new();
    let mut current: Option<String> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let (kind, rest) = first_word(line);
        if kind == "newmtl" {
            materials.insert(rest.to_owned(), (PLAIN, None));
            current = Some(rest.to_owned());
        } else if let Some((material, picture)) =
            current.as_ref().and_then(|name| materials.get_mut(name))
        {
            let read = read_key(kind, rest, material, picture, (&name, files));
            read.map_err(|problem| format!("`{name}` line {number}: {problem}"))?;
        }
    }
    Ok(materials)
}

fn read_key(
    kind: &str,
    rest: &str,
    material: &mut FileMaterial,
    picture: &mut Option<Picture>,
    (library, files): (&str, &Files),
) -> Result<(), String> {
    let share = |text: &str| -> Result<f32, String> {
        let [value] = numbers(text)?;
        Ok(value.clamp(0.0, 1.0))
    };
    // Editors write what they show, which is sRGB.
    let linear = |text: &str| -> Result<[f32; 3], String> {
        let rgb: [f32; 3] = numbers(text)?;
        Ok(rgb.map(|value| match value <= 0.04045 {
            true => value.max(0.0) / 12.92,
            false => ((value + 0.055) / 1.055).powf(2.4),
        }))
    };
    match kind {
        "Kd" => material.linear_rgb = linear(rest)?.map(|value| value.min(1.0)),
        "Ke" => material.emission_linear_rgb = linear(rest)?,
        "Pm" => material.metallic = share(rest)?,
        "Pr" => material.roughness = share(rest)?,
        "Ns" => {
            let [exponent] = numbers(rest)?;
            // The width of a microfacet lobe like that of this exponent (Walter et al. 2007),
            // which is the roughness squared.
            material.roughness = (2.0 / (exponent.max(0.0) + 2.0)).sqrt().sqrt();
        }
        "map_Kd" => {
            // Options stand before the name.
            let name = rest.rsplit(char::is_whitespace).next().unwrap_or(rest);
            let beside = Path::new(library).parent().unwrap_or(Path::new(""));
            let name = beside.join(name.replace('\\', "/"));
            *picture = Some(Picture {
                source: Embedded::File(files.path(&name.to_string_lossy())?),
                is_opaque: false,
            });
            // The picture alone says the colour.
            material.linear_rgb = [1.0; 3];
        }
        _ => {}
    }
    Ok(())
}
