//! Image files to pixels, within limits.

use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, ImageReader, RgbImage};

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
    if reader.format() == Some(ImageFormat::Jpeg) && !jpeg_is_whole(bytes) {
        return Err(fail("the file is truncated".to_owned()));
    }
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

/// Whether a JPEG file reaches its end of image, which the decoder does not mind: it
/// paints what is missing grey. Walks the segments (ITU-T T.81, annex B.1.1), so that
/// neither a thumbnail within one nor data after the end misleads it.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xDA;
    const END_OF_IMAGE: u8 = 0xD9;
    let mut at = 2;
    let mut in_scan = false;
    loop {
        // Within a scan 0xFF is followed by 0, a restart marker or a fill byte.
        let Some(found) = bytes.get(at..).and_then(|rest| {
            rest.windows(2).position(|pair| {
                let is_data = in_scan && matches!(pair[1], 0 | 0xD0..=0xD7);
                pair[0] == 0xFF && pair[1] != 0xFF && !is_data
            })
        }) else {
            return false;
        };
        let marker = bytes[at + found + 1];
        at += found + 2;
        match marker {
            END_OF_IMAGE => return true,
            0 | 1 | 0xD0..=0xD8 => continue,
            _ => {}
        }
        let Some(&[high, low]) = bytes.get(at..at + 2) else {
            return false;
        };
        at += usize::from(u16::from_be_bytes([high, low]));
        in_scan = marker == START_OF_SCAN;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn jpeg(side: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        image::RgbImage::from_fn(side, side, |x, y| {
            image::Rgb([(x * 7) as u8, (y * 5) as u8, (x * y) as u8])
        })
        .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Jpeg)
        .unwrap();
        bytes
    }

    #[test]
    fn a_jpeg_cut_anywhere_is_refused() {
        let path = Path::new("a.jpg");
        let whole = jpeg(64);
        assert_eq!(decode_image(&whole, path).unwrap().dimensions(), (64, 64));
        for length in (0..whole.len()).step_by(37).chain([whole.len() - 1]) {
            assert!(decode_image(&whole[..length], path).is_err(), "{length}");
        }
    }

    #[test]
    fn a_thumbnail_or_what_follows_the_end_does_not_mislead() {
        let (whole, thumbnail) = (jpeg(64), jpeg(8));
        let mut embedded = vec![0xFF, 0xD8, 0xFF, 0xE1];
        embedded.extend((thumbnail.len() as u16 + 2).to_be_bytes());
        embedded.extend(&thumbnail);
        embedded.extend(&whole[2..]);
        assert!(jpeg_is_whole(&embedded));
        assert!(!jpeg_is_whole(&embedded[..embedded.len() - 2]));
        embedded.extend([0xFF, 0xDA, 1, 2, 3]);
        assert!(jpeg_is_whole(&embedded));
    }
}
