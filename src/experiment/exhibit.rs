//! Small pictures that a trial leaves for the report.

use std::path::Path;

use image::{Rgb, RgbImage};
use serde::{Deserialize, Serialize};

use crate::annotation::BoundingBox;
use crate::dataset::{DatasetError, read_image, write_atomically};

/// Longest side of an exhibit, in pixels.
const SIDE_PX: u32 = 240;

const JPEG_QUALITY: u8 = 82;

/// What a picture shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExhibitKind {
    /// A real training image with its labels.
    TrainReal,
    /// A synthetic training image with its labels.
    TrainSynthetic,
    /// A test image with what the detector found.
    Detections,
    /// A test image that the detector does worst on, with what it found.
    Worst,
}

/// A picture in the trial's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exhibit {
    pub kind: ExhibitKind,
    /// File name in the trial's folder.
    pub file: String,
    pub caption: String,
}

/// Draws `boxes` (in pixels of the image at `source`) on it, shrinks it and writes it
/// into `folder` as a JPEG. Each box has its own colour.
///
/// # Errors
/// An image that cannot be read, or a file that cannot be written.
pub fn draw_exhibit(
    kind: ExhibitKind,
    source: &Path,
    boxes: &[(BoundingBox, [u8; 3])],
    folder: &Path,
    name: &str,
    caption: String,
) -> Result<Exhibit, DatasetError> {
    let image = read_image(source)?;
    let scale = (f64::from(SIDE_PX) / f64::from(image.width().max(image.height()))).min(1.0);
    let side = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    let mut small = image::imageops::thumbnail(&image, side(image.width()), side(image.height()));
    for (bbox, colour) in boxes {
        outline(&mut small, bbox, scale, Rgb(*colour));
    }
    let mut bytes = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
    small
        .write_with_encoder(encoder)
        .map_err(|error| DatasetError::Image {
            path: folder.join(name),
            message: error.to_string(),
        })?;
    let file = format!("{name}.jpg");
    write_atomically(&folder.join(&file), &bytes)?;
    Ok(Exhibit {
        kind,
        file,
        caption,
    })
}

/// Draws the outline of a box, given in pixels of the unscaled image; two pixels
/// wide where the box is large enough to stay visible inside.
fn outline(image: &mut RgbImage, bbox: &BoundingBox, scale: f64, colour: Rgb<u8>) {
    let (width, height) = image.dimensions();
    let place = |value: f64, limit: u32| (value * scale).round().clamp(0.0, f64::from(limit - 1));
    let (left, right) = (
        place(bbox.x, width) as u32,
        place(bbox.right(), width) as u32,
    );
    let (top, bottom) = (
        place(bbox.y, height) as u32,
        place(bbox.bottom(), height) as u32,
    );
    let thickness = if right - left > 12 && bottom - top > 12 {
        2
    } else {
        1
    };
    for inset in 0..thickness {
        let (left, right) = (left + inset, right - inset);
        let (top, bottom) = (top + inset, bottom - inset);
        for x in left..=right {
            image.put_pixel(x, top, colour);
            image.put_pixel(x, bottom, colour);
        }
        for y in top..=bottom {
            image.put_pixel(left, y, colour);
            image.put_pixel(right, y, colour);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_drawn_at_their_scaled_place_and_clipped() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source.png");
        RgbImage::new(480, 240).save(&source).unwrap();
        let red = [255, 0, 0];
        let boxes = [
            (BoundingBox::from([100.0, 40.0, 200.0, 100.0]), red),
            (BoundingBox::from([-50.0, -50.0, 5000.0, 9000.0]), red),
        ];
        let exhibit = draw_exhibit(
            ExhibitKind::TrainReal,
            &source,
            &boxes,
            folder.path(),
            "train_0",
            "a".into(),
        )
        .unwrap();
        let image = read_image(&folder.path().join(&exhibit.file)).unwrap();
        assert_eq!(image.dimensions(), (240, 120));
        let is_red = |x, y| image.get_pixel(x, y)[0] > 100;
        assert!(is_red(100, 20) && is_red(50, 45), "the box's edges");
        assert!(!is_red(100, 45), "the box's middle");
        assert!(is_red(0, 60), "the clipped box follows the image's edge");
    }
}
