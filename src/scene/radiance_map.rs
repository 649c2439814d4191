//! Pictures of all directions, as measured light: equirectangular radiance maps.

use std::f32::consts::{PI, TAU};
use std::io::Cursor;
use std::path::Path;

use glam::Vec3;
use image::{ImageFormat, ImageReader};

use super::instance::luminance;

/// Rows of a map as it is kept, at least and at most.
const MIN_ROWS: usize = 128;
const MAX_ROWS: usize = 1024;

/// The widest map that is read, in pixels.
const MAX_WIDTH_PX: u32 = 8192;

/// The narrowest.
const MIN_WIDTH_PX: u32 = 8;

/// The brightest spot lies within this angle of the brightest texel.
const SPOT_RADIUS_DEG: f32 = 5.0;

/// What surrounds the spot lies within this angle.
const RING_RADIUS_DEG: f32 = 9.0;

/// How much brighter than what surrounds it a spot is.
const SPOT_CONTRAST: f32 = 4.0;

/// Lights have to stand this high.
const MIN_ELEVATION_DEG: f32 = 5.0;

/// Light from all directions. The middle of the picture faces along x, its left half towards y,
/// its upper edge up. It is scaled so that a white matt surface that faces up has a luminance
/// of 1.
#[derive(Clone)]
pub struct RadianceMap {
    file: String,
    hash: String,
    /// The finest first; each further one has half the rows and columns.
    levels: Vec<Level>,
    spot: Option<Spot>,
}

/// A part of a map that shines as a light of its own and is not in the map any more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spot {
    /// Unit vector.
    pub towards: Vec3,
    /// Radiance of a white surface that faces it.
    pub arriving: Vec3,
    pub angular_diameter_deg: f32,
}

/// Texels in rows, twice as many columns as rows.
#[derive(Clone)]
struct Level {
    rows: usize,
    texels: Vec<Vec3>,
}

impl std::fmt::Debug for RadianceMap {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let name = (&self.file, &self.hash);
        f.debug_tuple("RadianceMap").field(&name).finish()
    }
}

/// The same file has the same light.
impl PartialEq for RadianceMap {
    fn eq(&self, other: &Self) -> bool {
        (&self.file, &self.hash) == (&other.file, &other.hash)
    }
}

impl RadianceMap {
    /// Reads a map; `file` is its name in the scene file. With `takes_spot` its brightest spot
    /// becomes a light, where one stands out.
    ///
    /// # Errors
    /// What is wrong with the file, as a sentence.
    pub(super) fn read(path: &Path, file: &str, takes_spot: bool) -> Result<Self, String> {
        let ending = path.extension().and_then(|ending| ending.to_str());
        let format = match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("hdr") => ImageFormat::Hdr,
            Some("exr") => ImageFormat::OpenExr,
            _ => return Err("is not a radiance map: it needs the ending .hdr or .exr".to_owned()),
        };
        let bytes = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
        let reader = || ImageReader::with_format(Cursor::new(&bytes), format);
        let broken = |error: image::ImageError| {
            format!(
                "is not a sound .{ending} file: {error}",
                ending = ending.unwrap_or_default()
            )
        };
        let (width, height) = reader().into_dimensions().map_err(broken)?;
        if width != 2 * height || !(MIN_WIDTH_PX..=MAX_WIDTH_PX).contains(&width) {
            return Err(format!(
                "is {width}x{height} pixels; an equirectangular map is twice as wide as high, and {MIN_WIDTH_PX} to {MAX_WIDTH_PX} wide"
            ));
        }
        let mut reader = reader();
        // Its size was checked.
        reader.no_limits();
        let picture = reader.decode().map_err(broken)?.into_rgb32f();
        let texels: Vec<Vec3> = picture.pixels().map(|pixel| Vec3::from(pixel.0)).collect();
        if !texels.iter().all(|texel| texel.is_finite()) {
            return Err("holds values that are not finite numbers".to_owned());
        }
        let hash = blake3::hash(&bytes).to_hex().to_string();
        Self::new(file, hash, height as usize, texels, takes_spot)
    }

    /// From `2 * rows * rows` texels in rows.
    pub(super) fn new(
        file: &str,
        hash: String,
        rows: usize,
        texels: Vec<Vec3>,
        takes_spot: bool,
    ) -> Result<Self, String> {
        let kept = (1 << rows.ilog2()).clamp(MIN_ROWS, MAX_ROWS);
        // Filters of whoever wrote the file may have left a little less than no light.
        let texels = texels
            .into_iter()
            .map(|texel| texel.max(Vec3::ZERO))
            .collect();
        let mut finest = resampled(Level { rows, texels }, kept);
        let spot = takes_spot.then(|| take_spot(&mut finest)).flatten();
        let mut map = RadianceMap {
            file: file.to_owned(),
            hash,
            levels: vec![finest],
            spot,
        };
        let level = map.levels[0].matt_above();
        let level = level
            + map
                .spot
                .map_or(0.0, |s| luminance(s.arriving) * s.towards.z);
        if level < 1e-12 {
            return Err("has no light above its horizon".to_owned());
        }
        for texel in &mut map.levels[0].texels {
            *texel /= level;
        }
        if let Some(spot) = &mut map.spot {
            spot.arriving /= level;
        }
        while let Some(level) = map.levels.last()
            && level.rows > 8
        {
            let coarser = resampled(level.clone(), level.rows / 2);
            map.levels.push(coarser);
        }
        Ok(map)
    }

    /// Its name in the scene file.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// BLAKE3 of the file.
    pub(super) fn hash(&self) -> &str {
        &self.hash
    }

    pub(super) fn spot(&self) -> Option<&Spot> {
        self.spot.as_ref()
    }

    /// Texels in rows where there are this many rows, a power of two in 8..=128.
    pub(super) fn rows(&self, rows: usize) -> &[Vec3] {
        let found = self.levels.iter().find(|level| level.rows <= rows);
        found.map_or(&[], |level| &level.texels)
    }

    /// Radiance from a unit direction, averaged over about this angle.
    pub(super) fn radiance(&self, direction: Vec3, angle_rad: f32) -> Vec3 {
        let finest = self.levels[0].rows as f32;
        let coarser = (angle_rad * finest / PI).max(1.0).log2() as usize;
        let level = &self.levels[coarser.min(self.levels.len() - 1)];
        let across = 0.5 - direction.y.atan2(direction.x) / TAU;
        let down = direction.z.clamp(-1.0, 1.0).acos() / PI;
        level.between_texels(across, down)
    }
}

impl Level {
    fn columns(&self) -> usize {
        2 * self.rows
    }

    /// Of a row: the cosine of its angle from straight up at its middle, and a texel's solid
    /// angle.
    fn row(&self, row: usize) -> (f32, f32) {
        let angle = |edge: f32| edge / self.rows as f32 * PI;
        let row = row as f32;
        let area = (angle(row).cos() - angle(row + 1.0).cos()) * TAU / self.columns() as f32;
        (angle(row + 0.5).cos(), area)
    }

    /// Unit vector to the middle of a texel.
    fn direction(&self, row: usize, column: usize) -> Vec3 {
        let z = self.row(row).0;
        let azimuth = (0.5 - (column as f32 + 0.5) / self.columns() as f32) * TAU;
        let radius = (1.0 - z * z).max(0.0).sqrt();
        Vec3::new(radius * azimuth.cos(), radius * azimuth.sin(), z)
    }

    /// Luminance of a white matt surface that faces up.
    fn matt_above(&self) -> f32 {
        let mut sum = 0.0;
        for (row, texels) in self.texels.chunks(self.columns()).enumerate() {
            let (z, area) = self.row(row);
            let light: f32 = texels.iter().map(|texel| luminance(*texel)).sum();
            sum += f64::from(light * z.max(0.0) * area / PI);
        }
        sum as f32
    }

    /// At a place in the picture, whose sides are 1.
    fn between_texels(&self, across: f32, down: f32) -> Vec3 {
        let x = across * self.columns() as f32 - 0.5;
        let y = (down * self.rows as f32 - 0.5).clamp(0.0, self.rows as f32 - 1.0);
        let (left, top) = (x.floor(), y.floor());
        let row = |index: f32| (index as usize).min(self.rows - 1);
        let column = |index: f32| index.rem_euclid(self.columns() as f32) as usize % self.columns();
        let texel = |row: usize, column: usize| self.texels[row * self.columns() + column];
        let line =
            |row: usize| texel(row, column(left)).lerp(texel(row, column(left + 1.0)), x - left);
        line(row(top)).lerp(line(row(top + 1.0)), y - top)
    }
}

/// The same light in `rows` rows: each new texel has the mean of what it covers, by solid angle.
fn resampled(level: Level, rows: usize) -> Level {
    if level.rows == rows {
        return level;
    }
    let columns = 2 * rows;
    let (old_rows, old_columns) = (level.rows, level.columns());
    // Old cells that a new one covers, with shares of their sum.
    let covered = |index: usize, count: usize, old: usize, size: &dyn Fn(f64, f64) -> f64| {
        let edge = |index: usize| index as f64 * old as f64 / count as f64;
        let (from, to) = (edge(index), edge(index + 1));
        let last = (to.ceil() as usize).min(old);
        let all = size(from, to);
        (from.floor() as usize..last)
            .map(|cell| {
                let (low, high) = (from.max(cell as f64), to.min(cell as f64 + 1.0));
                (cell, (size(low, high) / all) as f32)
            })
            .collect::<Vec<_>>()
    };
    let width = |from: f64, to: f64| to - from;
    let area = |from: f64, to: f64| {
        let angle = |edge: f64| edge / old_rows as f64 * std::f64::consts::PI;
        angle(from).cos() - angle(to).cos()
    };
    let across: Vec<_> = (0..columns)
        .map(|column| covered(column, columns, old_columns, &width))
        .collect();
    let mut texels = Vec::with_capacity(rows * columns);
    for row in 0..rows {
        let down = covered(row, rows, old_rows, &area);
        texels.extend(across.iter().map(|cells| {
            let mut sum = Vec3::ZERO;
            for (old_row, by_row) in &down {
                for (old_column, by_column) in cells {
                    let texel = level.texels[old_row * old_columns + old_column];
                    sum += texel * (by_row * by_column);
                }
            }
            sum
        }));
    }
    Level { rows, texels }
}

/// Takes what is brighter than its surroundings out of the map around its brightest texel.
/// `None`, and the map is left alone, where nothing stands out or it stands too low.
fn take_spot(level: &mut Level) -> Option<Spot> {
    let columns = level.columns();
    let brightness = |texel: &Vec3| luminance(*texel);
    let peak = (0..level.texels.len()).max_by(|a, b| {
        let [a, b] = [a, b].map(|index| brightness(&level.texels[*index]));
        a.total_cmp(&b)
    })?;
    let near = |radius_deg: f32| radius_deg.to_radians().cos();
    let (spot_edge, ring_edge) = (near(SPOT_RADIUS_DEG), near(RING_RADIUS_DEG));
    // The brightest texel may lie at the rim of a spot that is evenly bright.
    let highest = brightness(&level.texels[peak]);
    let first = level.direction(peak / columns, peak % columns);
    let middle = (0..2).fold(first, |middle, _| {
        let bright = (0..level.texels.len()).filter_map(|index| {
            let value = brightness(&level.texels[index]);
            if 2.0 * value <= highest {
                return None;
            }
            let direction = level.direction(index / columns, index % columns);
            let is_near = direction.dot(middle) >= spot_edge;
            is_near.then(|| direction * (value * level.row(index / columns).1))
        });
        bright.sum::<Vec3>().normalize_or(middle)
    });
    let (mut within, mut ring, mut ring_area) = (Vec::new(), 0.0, 0.0);
    for index in 0..level.texels.len() {
        let (row, column) = (index / columns, index % columns);
        let direction = level.direction(row, column);
        let cosine = direction.dot(middle);
        let area = level.row(row).1;
        if cosine >= spot_edge {
            within.push((index, direction, area));
        } else if cosine >= ring_edge {
            ring += brightness(&level.texels[index]) * area;
            ring_area += area;
        }
    }
    let around = ring / ring_area.max(1e-12);
    if highest <= SPOT_CONTRAST * around.max(1e-12) {
        return None;
    }
    let (mut light, mut towards) = (Vec3::ZERO, Vec3::ZERO);
    let (mut sum, mut squares) = (0.0, 0.0);
    let mut left = Vec::new();
    for (index, direction, area) in within {
        let texel = level.texels[index];
        let value = brightness(&texel);
        let over = value - around;
        if over > 0.0 {
            let taken = texel * (over / value);
            light += taken * area;
            towards += direction * (over * area);
            sum += over * area;
            squares += over * over * area;
            left.push((index, texel - taken));
        }
    }
    let towards = towards.try_normalize()?;
    if towards.z < MIN_ELEVATION_DEG.to_radians().sin() {
        return None;
    }
    for (index, texel) in left {
        level.texels[index] = texel;
    }
    // The solid angle of an even disc with the same moments.
    let area = sum * sum / squares.max(1e-30);
    let diameter = 2.0 * (area / PI).sqrt();
    Some(Spot {
        towards,
        arriving: light / PI,
        angular_diameter_deg: diameter.to_degrees().clamp(0.1, 2.0 * SPOT_RADIUS_DEG),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::environment::{Environment, matt};
    use super::*;

    /// A grey map of `rows` rows whose texels by direction are these.
    fn map(rows: usize, takes_spot: bool, value: impl Fn(Vec3) -> f32) -> RadianceMap {
        let empty = Level {
            rows,
            texels: Vec::new(),
        };
        let texels = (0..2 * rows * rows).map(|index| {
            Vec3::splat(value(
                empty.direction(index / (2 * rows), index % (2 * rows)),
            ))
        });
        let texels = texels.collect();
        RadianceMap::new("test.hdr", String::new(), rows, texels, takes_spot).unwrap()
    }

    fn environment(map: RadianceMap, rotation_deg: f32, level: f32) -> Environment {
        Environment::Map {
            map: Arc::new(map),
            rotation_deg,
            level,
        }
    }

    #[test]
    fn a_uniform_map_is_a_uniform_environment() {
        for rows in [5, 64, 300] {
            let even = environment(map(rows, true, |_| 7.0), 33.0, 0.6);
            assert_eq!(even.sun(), None, "nothing stands out");
            for direction in [Vec3::X, Vec3::Z, Vec3::new(0.6, 0.0, -0.8), Vec3::NEG_X] {
                let seen = even.radiance(direction, 0.0);
                assert!((seen - 0.6).abs().max_element() < 1e-3, "{seen}");
                assert!((matt(&even, direction) - 0.6).abs().max_element() < 2e-3);
            }
        }
    }

    #[test]
    fn a_bright_texel_lights_from_its_side_and_turns_with_the_map() {
        let side = |direction: Vec3| {
            let towards = Vec3::new(0.8, 0.0, 0.6);
            if direction.dot(towards) > 0.995 {
                500.0
            } else {
                0.1
            }
        };
        for (rotation_deg, bright) in [(0.0, Vec3::X), (90.0, Vec3::Y), (180.0, Vec3::NEG_X)] {
            let lit = environment(map(64, false, side), rotation_deg, 0.5);
            let (front, back) = (matt(&lit, bright), matt(&lit, -bright));
            assert!(front.x > 10.0 * back.x, "{rotation_deg}: {front} {back}");
            let up = matt(&lit, Vec3::Z).x;
            assert!((up - 0.5).abs() < 5e-3, "{up}");
            let seen = lit.radiance((bright * 0.8 + Vec3::Z * 0.6).normalize(), 0.0);
            assert!(seen.x > 10.0, "{seen}");
        }
    }

    #[test]
    fn the_brightest_spot_becomes_a_light_and_no_light_is_lost() {
        let towards = Vec3::new(0.0, 0.6, 0.8);
        let radius_deg = 2.0_f32;
        let sun = |direction: Vec3| {
            let is_sun = direction.dot(towards) > radius_deg.to_radians().cos();
            if is_sun { 3000.0 } else { 1.0 }
        };
        let without = environment(map(256, false, sun), 0.0, 1.0);
        let with = environment(map(256, true, sun), 0.0, 1.0);
        let light = with.sun().unwrap();
        let super::super::instance::LightSource::Directional {
            towards: found,
            angular_diameter_deg,
        } = light.source
        else {
            panic!("{light:?}");
        };
        assert!(found.dot(towards) > 0.9999, "{found}");
        assert!((angular_diameter_deg - 2.0 * radius_deg).abs() < 0.3);
        let joint = matt(&with, Vec3::Z).x + light.intensity * found.z;
        assert!((joint - 1.0).abs() < 5e-3 && (matt(&without, Vec3::Z).x - 1.0).abs() < 5e-3);
        assert!(with.radiance(towards, 0.0).x < 2.0 * with.radiance(Vec3::X, 0.0).x);
        assert!(without.sun().is_none());
    }

    #[test]
    fn coarser_levels_keep_the_light() {
        let patterned = map(200, false, |direction| 1.0 + direction.x + direction.y);
        let sums = patterned.levels.iter().map(Level::matt_above);
        for sum in sums {
            // Few rows are a coarse sum over the cosine.
            assert!((sum - 1.0).abs() < 0.03, "{sum}");
        }
        let above = map(64, false, |direction| direction.z.max(0.0));
        let (sharp, wide) = (
            above.radiance(Vec3::Z, 0.0).x,
            above.radiance(Vec3::Z, 0.7).x,
        );
        assert!(sharp > wide && wide > 0.5 * sharp, "{sharp} {wide}");
    }

    #[test]
    fn files_that_are_no_maps_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let save = |name: &str, width: u32, height: u32, value: f32| {
            let path = folder.path().join(name);
            let picture = image::Rgb32FImage::from_pixel(width, height, image::Rgb([value; 3]));
            picture.save(&path).unwrap();
            path
        };
        let told = |path: &Path| RadianceMap::read(path, "it", false).unwrap_err();
        assert!(told(Path::new("none.hdr")).contains("cannot be read"));
        assert!(told(Path::new("photo.jpg")).contains(".exr"));
        assert!(told(&save("square.hdr", 32, 32, 1.0)).contains("twice as wide"));
        assert!(told(&save("dark.hdr", 32, 16, 0.0)).contains("no light"));
        assert!(told(&save("nan.exr", 32, 16, f32::NAN)).contains("not finite"));
        let broken = folder.path().join("broken.hdr");
        std::fs::write(&broken, "not a picture").unwrap();
        assert!(told(&broken).contains("not a sound .hdr file"));
        for name in ["even.hdr", "even.exr"] {
            let map = RadianceMap::read(&save(name, 64, 32, 0.25), name, false).unwrap();
            assert!((map.radiance(Vec3::X, 0.0) - 1.0).abs().max_element() < 1e-2);
            assert_eq!((map.file(), map.hash().len()), (name, 64));
        }
    }
}
