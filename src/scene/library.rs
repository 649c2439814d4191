//! The pictures that a scene file names: radiance maps and photographs beside it.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::{ImageReader, RgbImage, RgbaImage};
use serde::{Serialize, Serializer};
use thiserror::Error;

use super::mesh_file::{self, Embedded, MeshFile, Picture};
use super::radiance_map::RadianceMap;
use super::spec::{
    DecalSpec, EnvironmentSpec, MapSpec, MeshSpec, PictureSpec, SceneSpec, TextureSpec,
};
use super::text;
use super::texture::{MAX_LAYERS, Source, Textures};
use crate::spec::Problems;

/// The most maps of a folder; all are kept in memory.
const MAX_MAPS: usize = 32;

/// The largest photograph, in pixels.
const MAX_PHOTO_PX: u64 = 100_000_000;

/// The smallest side of a photograph, in pixels.
const MIN_PHOTO_SIDE_PX: u32 = 16;

/// Height of the pictures that texts are drawn to.
const TEXT_HEIGHT_PX: u32 = 128;

/// File names of photographs end so.
const PHOTO_ENDINGS: [&str; 7] = ["jpg", "jpeg", "png", "bmp", "tif", "tiff", "webp"];

/// File names of radiance maps end so.
const MAP_ENDINGS: [&str; 2] = ["hdr", "exr"];

/// A photograph that changed since its scene was read.
#[derive(Debug, Error)]
#[error("cannot read the photograph {path}: {message}; leave the files alone while images are made", path = path.display())]
pub struct PhotoError {
    path: PathBuf,
    message: String,
}

/// A photograph on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Photo {
    path: PathBuf,
    file: String,
    hash: String,
    size_px: [u32; 2],
}

impl Photo {
    /// Its name in the scene file's terms.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// Width and height.
    pub fn size_px(&self) -> [u32; 2] {
        self.size_px
    }

    /// Its pixels, 8-bit sRGB.
    ///
    /// # Errors
    /// The file is not what it was.
    pub fn read(&self) -> Result<RgbImage, PhotoError> {
        let fail = |message: String| PhotoError {
            path: self.path.clone(),
            message,
        };
        let reader = ImageReader::open(&self.path).and_then(ImageReader::with_guessed_format);
        let picture = reader.map_err(|error| fail(error.to_string()))?.decode();
        let picture = picture
            .map_err(|error| fail(error.to_string()))?
            .into_rgb8();
        if [picture.width(), picture.height()] != self.size_px {
            return Err(fail("its size has changed".to_owned()));
        }
        Ok(picture)
    }
}

/// The pictures of one scene family. It serialises as names and hashes of the files, so that
/// other files make another plan.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Library {
    maps: Vec<Arc<RadianceMap>>,
    photos: Vec<Arc<Photo>>,
    textures: Arc<Textures>,
    /// What the textures' layers show.
    shown: Vec<(Shown, Range<usize>)>,
    meshes: Vec<(MeshSpec, MeshFile)>,
    /// Names and hashes of the files of textures and meshes.
    other_files: Vec<[String; 2]>,
}

/// What some layers of textures show.
#[derive(Debug, Clone, PartialEq)]
enum Shown {
    Pictures { of: Named, is_fitted: bool },
    Text { lines: Vec<String>, weight: f64 },
}

/// One picture or all of a folder, by their name beside the scene file.
#[derive(Debug, Clone, PartialEq)]
enum Named {
    File(String),
    Folder(String),
}

impl Named {
    /// `None` unless it is one of the two.
    fn new(file: &Option<String>, folder: &Option<String>) -> Option<Self> {
        match (file, folder) {
            (Some(file), None) => Some(Named::File(file.clone())),
            (None, Some(folder)) => Some(Named::Folder(folder.clone())),
            _ => None,
        }
    }
}

impl Shown {
    /// `None` where the spec does not say what is shown.
    fn by_texture(spec: &TextureSpec) -> Option<Self> {
        let of = Named::new(&spec.file, &spec.folder)?;
        let is_fitted = false;
        Some(Shown::Pictures { of, is_fitted })
    }

    fn by_decal(spec: &DecalSpec) -> Option<Self> {
        match (Named::new(&spec.file, &spec.folder), spec.text.is_empty()) {
            (Some(of), true) => {
                let is_fitted = true;
                Some(Shown::Pictures { of, is_fitted })
            }
            (None, false) if spec.file.is_none() => Some(Shown::Text {
                lines: spec.text.clone(),
                weight: spec.weight,
            }),
            _ => None,
        }
    }
}

impl Serialize for Library {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let maps = self.maps.iter().map(|map| [map.file(), map.hash()]);
        let photos = self.photos.iter();
        let photos = photos.map(|photo| [photo.file.as_str(), &photo.hash]);
        let others = self.other_files.iter();
        let others = others.map(|[file, hash]| [file.as_str(), hash]);
        serializer.collect_seq(maps.chain(photos).chain(others))
    }
}

impl Library {
    /// Reads what the scene file at `path` names; photographs of backgrounds are looked at and not
    /// decoded.
    pub(super) fn read(spec: &SceneSpec, path: &Path, problems: &mut Problems) -> Self {
        let beside = path.parent().unwrap_or(Path::new(""));
        let mut library = Library::default();
        if let EnvironmentSpec::Map(map) = &spec.environment {
            library.read_maps(map, beside, problems);
        }
        if let PictureSpec::Photos(photos) = &spec.background.picture {
            library.read_photos(&photos.folder, beside, problems);
        }
        library.read_meshes(spec, beside, problems);
        library.read_textures(spec, beside, problems);
        library
    }

    pub(super) fn is_empty(&self) -> bool {
        self.maps.is_empty() && self.photos.is_empty() && self.other_files.is_empty()
    }

    /// None where the environment is no map.
    pub(super) fn maps(&self) -> &[Arc<RadianceMap>] {
        &self.maps
    }

    /// None where the background has no photographs.
    pub(super) fn photos(&self) -> &[Arc<Photo>] {
        &self.photos
    }

    /// All that surfaces show.
    pub(super) fn textures(&self) -> &Arc<Textures> {
        &self.textures
    }

    /// The layers that a texture may show; of a checked spec there is one at least.
    pub(super) fn layers_of_texture(&self, spec: &TextureSpec) -> Range<usize> {
        self.layers_of(Shown::by_texture(spec))
    }

    /// The layers that a decal may show; of a checked spec there is one at least.
    pub(super) fn layers_of_decal(&self, spec: &DecalSpec) -> Range<usize> {
        self.layers_of(Shown::by_decal(spec))
    }

    fn layers_of(&self, shown: Option<Shown>) -> Range<usize> {
        let mut known = self.shown.iter();
        let found = known.find(|(known, _)| Some(known) == shown.as_ref());
        found.map_or(0..0, |(_, layers)| layers.clone())
    }

    /// The mesh of a file; of a checked spec there is one.
    pub(super) fn mesh(&self, spec: &MeshSpec) -> Option<&MeshFile> {
        let mut known = self.meshes.iter();
        let found = known.find(|(known, _)| known == spec);
        found.map(|(_, mesh)| mesh)
    }

    fn read_meshes(&mut self, spec: &SceneSpec, beside: &Path, problems: &mut Problems) {
        for (key, mesh) in spec.meshes() {
            if self.mesh(mesh).is_some() {
                continue;
            }
            match mesh_file::read(mesh, beside) {
                Ok(read) => {
                    self.other_files.extend(read.files.iter().cloned());
                    self.meshes.push((mesh.clone(), read));
                }
                Err(problem) => problems.add(&key, format!("`{}` {problem}", mesh.file)),
            }
        }
    }

    fn read_textures(&mut self, spec: &SceneSpec, beside: &Path, problems: &mut Problems) {
        let mut sources = Vec::new();
        for (key, shown) in shown_by(spec) {
            let Some(shown) = shown else {
                // What is wrong with it is told where specs are checked.
                continue;
            };
            if self.shown.iter().any(|(known, _)| *known == shown) {
                continue;
            }
            let first = sources.len();
            match &shown {
                Shown::Text { lines, weight } => sources.extend(lines.iter().map(|line| Source {
                    picture: inked(line, *weight as f32),
                    is_fitted: true,
                })),
                Shown::Pictures { of, is_fitted } => {
                    for file in files_of(of, beside, &key, problems) {
                        if sources.len() > MAX_LAYERS {
                            break;
                        }
                        match read_picture(&beside.join(&file)) {
                            Ok((picture, hash)) => {
                                let is_fitted = *is_fitted;
                                sources.push(Source { picture, is_fitted });
                                self.other_files.push([file, hash]);
                            }
                            Err(problem) => problems.add(&key, format!("`{file}` {problem}")),
                        }
                    }
                }
            }
            self.shown.push((shown, first..sources.len()));
            if sources.len() > MAX_LAYERS {
                problems.add(&key, too_many());
                return;
            }
        }
        for (spec, mesh) in &mut self.meshes {
            let key = format!("the mesh `{}`", spec.file);
            for surface in &mut mesh.surfaces {
                let Some(picture) = &surface.picture else {
                    continue;
                };
                match read_mesh_picture(picture) {
                    Ok((picture, file)) => {
                        surface.material.layer = Some(sources.len());
                        let is_fitted = false;
                        sources.push(Source { picture, is_fitted });
                        self.other_files.extend(file);
                    }
                    Err(problem) => problems.add(&key, problem),
                }
            }
            if sources.len() > MAX_LAYERS {
                problems.add(&key, too_many());
                return;
            }
        }
        self.textures = Arc::new(Textures::new(sources));
    }

    fn read_maps(&mut self, spec: &MapSpec, beside: &Path, problems: &mut Problems) {
        let (key, files) = match (&spec.file, &spec.folder) {
            (Some(file), None) => ("environment.map.file", vec![file.clone()]),
            (None, Some(folder)) => {
                let key = "environment.map.folder";
                let files = listed(folder, beside, &MAP_ENDINGS, key, problems);
                let ok = files.len() <= MAX_MAPS;
                let count = files.len();
                problems.require(
                    ok,
                    key,
                    format!("`{folder}` holds {count} maps; at most {MAX_MAPS} can be used"),
                );
                (key, if ok { files } else { Vec::new() })
            }
            _ => {
                problems.add("environment.map", "needs either `file` or `folder`");
                return;
            }
        };
        for file in files {
            match RadianceMap::read(&beside.join(&file), &file, spec.sun) {
                Ok(map) => self.maps.push(Arc::new(map)),
                Err(problem) => problems.add(key, format!("`{file}` {problem}")),
            }
        }
    }

    fn read_photos(&mut self, folder: &str, beside: &Path, problems: &mut Problems) {
        let key = "background.picture.photos.folder";
        for file in listed(folder, beside, &PHOTO_ENDINGS, key, problems) {
            match look_at_photo(beside.join(&file), &file) {
                Ok(photo) => self.photos.push(Arc::new(photo)),
                Err(problem) => problems.add(key, format!("`{file}` {problem}")),
            }
        }
    }
}

/// The files of a folder with one of these endings, in the order of their names, each with the
/// folder before it.
fn listed(
    folder: &str,
    beside: &Path,
    endings: &[&str],
    key: &str,
    problems: &mut Problems,
) -> Vec<String> {
    let entries = match std::fs::read_dir(beside.join(folder)) {
        Ok(entries) => entries,
        Err(error) => {
            problems.add(
                key,
                format!("the folder `{folder}` cannot be read: {error}"),
            );
            return Vec::new();
        }
    };
    let is_one = |name: &str| {
        let ending = Path::new(name)
            .extension()
            .and_then(|ending| ending.to_str());
        let ending = ending.map(str::to_ascii_lowercase);
        !name.starts_with('.') && ending.is_some_and(|ending| endings.contains(&ending.as_str()))
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| is_one(name)).collect();
    names.sort_unstable();
    if names.is_empty() {
        let endings = endings.join(", ");
        problems.add(
            key,
            format!("the folder `{folder}` holds no picture with one of the endings {endings}"),
        );
    }
    let folder = folder.trim_end_matches('/');
    names
        .iter()
        .map(|name| format!("{folder}/{name}"))
        .collect()
}

fn too_many() -> String {
    format!("all surfaces show at most {MAX_LAYERS} pictures and texts")
}

/// Where textures and decals stand, and what they show.
fn shown_by(spec: &SceneSpec) -> Vec<(String, Option<Shown>)> {
    let textures = spec.textures().into_iter();
    let textures = textures.map(|(key, texture)| (key, Shown::by_texture(texture)));
    let decals = spec.decals().into_iter();
    let decals = decals.map(|(key, decal)| (key, Shown::by_decal(decal)));
    textures.chain(decals).collect()
}

fn files_of(of: &Named, beside: &Path, key: &str, problems: &mut Problems) -> Vec<String> {
    match of {
        Named::File(file) => vec![file.clone()],
        Named::Folder(folder) => listed(folder, beside, &PHOTO_ENDINGS, key, problems),
    }
}

/// A line of text, white on nothing.
fn inked(line: &str, weight: f32) -> RgbaImage {
    let coverage = text::draw(line, TEXT_HEIGHT_PX, weight);
    RgbaImage::from_fn(coverage.width(), coverage.height(), |x, y| {
        image::Rgba([255, 255, 255, coverage.get_pixel(x, y).0[0]])
    })
}

/// Decodes a picture, and hashes its file.
fn read_picture(path: &Path) -> Result<(RgbaImage, String), String> {
    // Its size is known before any of it is decoded.
    let photo = look_at_photo(path.to_owned(), "")?;
    let reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format);
    let reader = reader.map_err(|error| format!("cannot be read: {error}"))?;
    let picture = reader.decode();
    let picture = picture.map_err(|error| format!("is no sound picture: {error}"))?;
    Ok((picture.into_rgba8(), photo.hash))
}

/// Decodes the picture of a mesh; with the name and hash of its file, if it has one of its own.
fn read_mesh_picture(picture: &Picture) -> Result<(RgbaImage, Option<[String; 2]>), String> {
    let (mut found, file) = match &picture.source {
        Embedded::File(path) => {
            let name = path.display().to_string();
            let read = read_picture(path);
            let (found, hash) = read.map_err(|problem| format!("`{name}` {problem}"))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            (found, Some([name.into_owned(), hash]))
        }
        Embedded::Bytes(bytes) => {
            let fail = |error: String| format!("holds a picture that is not sound: {error}");
            let open = || {
                let cursor = std::io::Cursor::new(bytes.as_ref());
                ImageReader::new(cursor).with_guessed_format()
            };
            let size = open().map_err(|error| fail(error.to_string()))?;
            let size = size.into_dimensions();
            let (width, height) = size.map_err(|error| fail(error.to_string()))?;
            check_size(width, height)?;
            let reader = open().map_err(|error| fail(error.to_string()))?;
            let found = reader.decode().map_err(|error| fail(error.to_string()))?;
            (found.into_rgba8(), None)
        }
    };
    if picture.is_opaque {
        found.pixels_mut().for_each(|pixel| pixel.0[3] = 255);
    }
    Ok((found, file))
}

/// Whether a picture is neither tiny nor huge.
fn check_size(width: u32, height: u32) -> Result<(), String> {
    let pixels = u64::from(width) * u64::from(height);
    let ok = width.min(height) >= MIN_PHOTO_SIDE_PX && pixels <= MAX_PHOTO_PX;
    ok.then_some(()).ok_or_else(|| {
        format!(
            "is {width}x{height} pixels; a picture has sides of {MIN_PHOTO_SIDE_PX} pixels or more, and at most {MAX_PHOTO_PX} pixels"
        )
    })
}

fn look_at_photo(path: PathBuf, file: &str) -> Result<Photo, String> {
    let mut hasher = blake3::Hasher::new();
    let opened = File::open(&path).and_then(|opened| hasher.update_reader(opened).map(|_| ()));
    opened.map_err(|error| format!("cannot be read: {error}"))?;
    let reader = ImageReader::open(&path).and_then(ImageReader::with_guessed_format);
    let reader = reader.map_err(|error| format!("cannot be read: {error}"))?;
    let size = reader.into_dimensions();
    let (width, height) = size.map_err(|error| format!("is no sound picture: {error}"))?;
    check_size(width, height)?;
    Ok(Photo {
        path,
        file: file.to_owned(),
        hash: hasher.finalize().to_hex().to_string(),
        size_px: [width, height],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_read_in_order_and_problems_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("photos");
        std::fs::create_dir(&inner).unwrap();
        let read = |name: &str| {
            let (mut library, mut problems) = (Library::default(), Problems::default());
            library.read_photos(name, folder.path(), &mut problems);
            let result = problems.into_result(Path::new("scene.yaml"), ());
            (library, result.map_err(|error| error.to_string()))
        };
        assert!(
            read("none")
                .1
                .unwrap_err()
                .contains("`none` cannot be read")
        );
        assert!(read("photos").1.unwrap_err().contains("holds no picture"));
        for (name, side) in [("b.png", 20), ("a.JPG", 30)] {
            RgbImage::new(side, 18).save(inner.join(name)).unwrap();
        }
        std::fs::write(inner.join("notes.txt"), "not a picture").unwrap();
        let (library, result) = read("photos/");
        result.unwrap();
        let files: Vec<&str> = library.photos.iter().map(|photo| photo.file()).collect();
        assert_eq!(files, ["photos/a.JPG", "photos/b.png"]);
        assert_eq!(library.photos[0].size_px(), [30, 18]);
        assert_eq!(library.photos[1].read().unwrap().dimensions(), (20, 18));
        // Another picture is another plan.
        let before = serde_json::to_string(&library).unwrap();
        RgbImage::from_pixel(20, 18, image::Rgb([9; 3]))
            .save(inner.join("b.png"))
            .unwrap();
        assert_ne!(serde_json::to_string(&read("photos").0).unwrap(), before);
        std::fs::remove_file(inner.join("b.png")).unwrap();
        let error = library.photos[1].read().unwrap_err().to_string();
        assert!(error.contains("b.png"), "{error}");
        std::fs::write(inner.join("c.png"), "broken").unwrap();
        RgbImage::new(8, 8).save(inner.join("d.png")).unwrap();
        let told = read("photos").1.unwrap_err();
        assert!(
            told.contains("c.png") && told.contains("d.png` is 8x8"),
            "{told}"
        );
    }
}
