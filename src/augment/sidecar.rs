//! Pictures beside the image: object numbers and depth, moved along with the pixels.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageFormat};

use super::geometry::{Motion, warp_nearest};
use super::{AugmentError, DepthMap, Drawn, Stage};
use crate::dataset::{DatasetError, SIDECARS, Sample, sidecar_path};

/// The sidecars of an image, resampled to the nearest pixel where transforms move it:
/// path in the new data set, and content. Normals would have to turn with the picture, and
/// are left out there; none is carried where the picture has become another one.
///
/// # Errors
/// A sidecar that cannot be read or has another size than the image.
pub(super) fn carried_sidecars(
    root: &Path,
    file_name: &str,
    new_stem: &str,
    steps: &[Drawn],
    size: [u32; 2],
) -> Result<Vec<(String, Vec<u8>)>, AugmentError> {
    let mut carried = Vec::new();
    let is_new = steps
        .iter()
        .any(|step| step.transform.stage() == Stage::Composition);
    for folder in SIDECARS {
        let path = root.join(sidecar_path(folder, file_name));
        if !path.is_file() {
            continue;
        }
        let bytes = std::fs::read(&path).map_err(|source| DatasetError::Read {
            path: path.clone(),
            source,
        })?;
        let bytes = match Motion::of_all(steps, size) {
            _ if is_new => continue,
            Some(_) if folder == "normals" => continue,
            Some(motion) => moved(&bytes, &path, &motion, size)?,
            None => bytes,
        };
        carried.push((format!("{folder}/{new_stem}.png"), bytes));
    }
    Ok(carried)
}

fn moved(
    bytes: &[u8],
    path: &Path,
    motion: &Motion,
    [width, height]: [u32; 2],
) -> Result<Vec<u8>, AugmentError> {
    let fail = |message: String| DatasetError::Image {
        path: path.to_owned(),
        message,
    };
    let values = image::load_from_memory_with_format(bytes, ImageFormat::Png)
        .map_err(|error| fail(error.to_string()))?;
    let (w, h) = (values.width(), values.height());
    if (w, h) != (width, height) {
        let message = format!("it has {w} x {h} pixels and its image {width} x {height}");
        return Err(fail(message).into());
    }
    let mut out = Vec::new();
    let mut file = Cursor::new(&mut out);
    match values {
        DynamicImage::ImageLuma8(values) => {
            warp_nearest(&values, motion).write_to(&mut file, ImageFormat::Png)
        }
        values => warp_nearest(&values.into_luma16(), motion).write_to(&mut file, ImageFormat::Png),
    }
    .map_err(|error| fail(error.to_string()))?;
    Ok(out)
}

/// Tenths of a millimetre, in which depth is stored.
const DEPTH_UNIT_M: f32 = 1e-4;

/// Distances beside an image, where its data set has them. Files end at 6.55 metres: those of
/// a picture of which more than a tenth lies beyond say too little, and are left out.
///
/// # Errors
/// A file that is no picture.
pub fn depth_of(root: &Path, sample: &Sample) -> Result<Option<DepthMap>, AugmentError> {
    let path = root.join(sidecar_path("depth", &sample.file_name));
    if !path.is_file() {
        return Ok(None);
    }
    let picture = image::open(&path).map_err(|error| DatasetError::Image {
        path,
        message: error.to_string(),
    })?;
    let units = picture.into_luma16();
    let beyond = units.iter().filter(|unit| **unit == u16::MAX).count();
    if beyond * 10 > units.len() {
        return Ok(None);
    }
    let metres = units.iter().map(|unit| DEPTH_UNIT_M * f32::from(*unit));
    let (width, height) = units.dimensions();
    Ok(DepthMap::from_raw(width, height, metres.collect()))
}
