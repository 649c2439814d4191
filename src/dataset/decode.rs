//! Image files to pixels, within limits.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};

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

/// What an image file says beside its pixels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileFacts {
    /// Whether its EXIF asks to turn or mirror the pixels, which readers of data sets do not.
    pub is_turned: bool,
    /// The colour profile, where there is one.
    pub colour_profile: Option<Vec<u8>>,
    /// Quality of a JPEG on the scale of the Independent JPEG Group, 1 to 100, by its table for
    /// luminance.
    pub jpeg_quality: Option<u32>,
}

/// As [`read_image`], from the file's bytes; `path` only names them.
pub fn decode_image(bytes: &[u8], path: &Path) -> Result<RgbImage, DatasetError> {
    let fail = |message: String| DatasetError::Image {
        path: path.to_owned(),
        message,
    };
    let decoded = reader(bytes, path)?.decode();
    Ok(decoded
        .map_err(|error| fail(error.to_string()))?
        .into_rgb8())
}

/// As [`decode_image`], with what else the file says.
pub fn decode_with_facts(bytes: &[u8], path: &Path) -> Result<(RgbImage, FileFacts), DatasetError> {
    let fail = |error: image::ImageError| DatasetError::Image {
        path: path.to_owned(),
        message: error.to_string(),
    };
    let reader = reader(bytes, path)?;
    let is_jpeg = reader.format() == Some(ImageFormat::Jpeg);
    let mut decoder = reader.into_decoder().map_err(fail)?;
    let turned = decoder.orientation().map_err(fail)?;
    let facts = FileFacts {
        is_turned: turned != image::metadata::Orientation::NoTransforms,
        colour_profile: decoder.icc_profile().map_err(fail)?,
        jpeg_quality: if is_jpeg { jpeg_quality(bytes) } else { None },
    };
    let decoded = DynamicImage::from_decoder(decoder).map_err(fail)?;
    Ok((decoded.into_rgb8(), facts))
}

/// A reader within limits.
fn reader<'a>(bytes: &'a [u8], path: &Path) -> Result<ImageReader<Cursor<&'a [u8]>>, DatasetError> {
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
    Ok(reader)
}

/// The quality that scales the table of ITU-T T.81, table K.1, to the file's first one for
/// luminance, as the Independent JPEG Group's library does it. `None` where there is no such
/// table.
fn jpeg_quality(bytes: &[u8]) -> Option<u32> {
    const DEFINE_TABLES: u8 = 0xDB;
    const START_OF_SCAN: u8 = 0xDA;
    // The first values of table K.1 in the file's order, which low qualities do not clip at 255,
    // and their sum.
    const FIRST: usize = 10;
    const STANDARD_SUM: f64 = 132.0;
    let mut at = 2;
    loop {
        let &[0xFF, marker, high, low] = bytes.get(at..at + 4)? else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if marker == DEFINE_TABLES {
            let table = bytes.get(at + 4..at + 2 + length)?;
            let (kind, values) = table.split_first()?;
            let sum: u32 = match kind >> 4 {
                0 => values.get(..FIRST)?.iter().map(|v| u32::from(*v)).sum(),
                _ => values
                    .get(..2 * FIRST)?
                    .chunks_exact(2)
                    .map(|v| u32::from(u16::from_be_bytes([v[0], v[1]])))
                    .sum(),
            };
            let scale = 100.0 * f64::from(sum) / STANDARD_SUM;
            let quality = match scale <= 100.0 {
                true => (200.0 - scale) / 2.0,
                false => 5000.0 / scale,
            };
            return Some(quality.round().clamp(1.0, 100.0) as u32);
        }
        if marker == START_OF_SCAN {
            return None;
        }
        at += 2 + length;
    }
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
    fn the_quality_of_a_jpeg_is_read_from_its_table() {
        let picture = image::RgbImage::from_pixel(16, 16, image::Rgb([90, 120, 30]));
        for quality in [10, 30, 50, 75, 95] {
            let mut bytes = Vec::new();
            let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, quality);
            picture.write_with_encoder(encoder).unwrap();
            let (decoded, facts) = decode_with_facts(&bytes, Path::new("a.jpg")).unwrap();
            assert_eq!(decoded, decode_image(&bytes, Path::new("a.jpg")).unwrap());
            let found = facts.jpeg_quality.unwrap();
            // Entries are rounded and kept above 0.
            assert!(
                found.abs_diff(u32::from(quality)) <= 1,
                "{quality}: {found}"
            );
            assert!(!facts.is_turned && facts.colour_profile.is_none());
            for length in 0..bytes.len().min(200) {
                let _ = jpeg_quality(&bytes[..length]);
            }
        }
    }

    #[test]
    fn an_exif_that_turns_the_image_is_seen() {
        let whole = jpeg(16);
        // One entry of a little-endian TIFF directory: tag 0x0112, type short, count 1.
        let exif = |orientation: u8| -> Vec<u8> {
            let mut bytes =
                b"\xFF\xD8\xFF\xE1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"
                    .to_vec();
            bytes.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
            bytes.extend(&whole[2..]);
            bytes
        };
        for (orientation, turned) in [(1, false), (6, true), (3, true)] {
            let (_, facts) = decode_with_facts(&exif(orientation), Path::new("a.jpg")).unwrap();
            assert_eq!(facts.is_turned, turned, "{orientation}");
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
