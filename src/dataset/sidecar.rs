//! Files beside an image: pictures with a value a pixel.

use std::path::{Path, PathBuf};

use super::{DatasetError, Sample};

/// Folders of sidecars, each with a PNG file an image of the image's name: objects' numbers
/// and depth in 16 bits, classes in 8, and normals in three times 8.
pub const SIDECARS: [&str; 4] = ["masks", "depth", "class_masks", "normals"];

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
