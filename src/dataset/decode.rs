//! Image files to pixels, within limits.

use std::io::Cursor;
use std::path::Path;

use image::{ImageReader, RgbImage};

use super::DatasetError;

/// The largest side of an image that is decoded, in pixels. A file that claims more
/// is refused before memory is set aside for it.
pub const MAX_SIDE_PX: u32 = 16_384;

/// The most memory that decoding one image may take, in bytes.
const MAX_DECODE_BYTES: u64 = 1 << 30;

/// Reads an image file as 8-bit sRGB.
///
/// # Errors
/// A missing, truncated or oversized file, or one of an unknown format.
pub fn read_image(path: &Path) -> Result<RgbImage, DatasetError> {
    let bytes = std::fs::read(path).map_err(|source| DatasetError::Read {
        path: path.to_owned(),
        source,
    })?;
    decode_image(&bytes, path)
}

/// As [`read_image`], from the file's bytes; `path` only names them.
pub fn decode_image(bytes: &[u8], path: &Path) -> Result<RgbImage, DatasetError> {
    let fail = |message: String| DatasetError::Image {
        path: path.to_owned(),
        message,
    };
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| fail(error.to_string()))?;
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(MAX_SIDE_PX);
    limits.max_image_height = Some(MAX_SIDE_PX);
    limits.max_alloc = Some(MAX_DECODE_BYTES);
    reader.limits(limits);
    Ok(reader
        .decode()
        .map_err(|error| fail(error.to_string()))?
        .into_rgb8())
}

/// Size of an image in pixels, from its header.
///
/// # Errors
/// A missing file, an unknown format, or an image beyond [`MAX_SIDE_PX`].
pub fn image_size(path: &Path) -> Result<(u32, u32), DatasetError> {
    let fail = |message: String| DatasetError::Image {
        path: path.to_owned(),
        message,
    };
    let (width, height) = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(|source| DatasetError::Read {
            path: path.to_owned(),
            source,
        })?
        .into_dimensions()
        .map_err(|error| fail(error.to_string()))?;
    if width > MAX_SIDE_PX || height > MAX_SIDE_PX {
        return Err(fail(format!(
            "it claims {width} x {height} pixels, and at most {MAX_SIDE_PX} a side are read"
        )));
    }
    Ok((width, height))
}
