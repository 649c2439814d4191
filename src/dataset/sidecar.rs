//! Files beside an image: pictures with a value a pixel.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{EncodableLayout, ImageBuffer, PixelWithColorType};

use super::{DatasetError, Sample};

/// Folders of sidecars, each with a PNG file an image of the image's name: objects' numbers
/// and depth in 16 bits, classes in 8, and normals in three times 8.
pub const SIDECARS: [&str; 4] = ["masks", "depth", "class_masks", "normals"];

/// An image as a PNG file, packed fast rather than small.
///
/// # Errors
/// The image has no pixels.
pub fn encode_png<P>(image: &ImageBuffer<P, Vec<P::Subpixel>>) -> image::ImageResult<Vec<u8>>
where
    P: PixelWithColorType,
    [P::Subpixel]: EncodableLayout,
{
    let mut bytes = Vec::new();
    image.write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png)?;
    Ok(bytes)
}

/// Where the sidecar in `folder` of the image `file_name` is, relative to the data set.
pub fn sidecar_path(folder: &str, file_name: &str) -> PathBuf {
    Path::new(folder).join(Path::new(file_name).with_extension("png"))
}

/// All sidecars of a sample as the new image `file_name` has them: path and content.
pub(super) fn of_sample(
    root: &Path,
    sample: &Sample,
    file_name: &str,
) -> Result<Vec<(String, Vec<u8>)>, DatasetError> {
    let mut found = Vec::new();
    for folder in SIDECARS {
        let path = root.join(sidecar_path(folder, &sample.file_name));
        if !path.is_file() {
            continue;
        }
        let bytes = std::fs::read(&path).map_err(|source| DatasetError::Read { path, source })?;
        let name = sidecar_path(folder, file_name);
        found.push((name.to_string_lossy().into_owned(), bytes));
    }
    Ok(found)
}
