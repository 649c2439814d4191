//! Small pictures with boxes, for pages.

use base64::Engine;
use image::imageops::thumbnail;
use image::{ImageError, Rgb, RgbImage};

use crate::annotation::BoundingBox;

const JPEG_QUALITY: u8 = 82;

/// Shrinks an image so that its longer side has at most `side_px` pixels, draws the outlines of
/// `boxes` (in pixels of the image, each with its colour) and encodes it as a JPEG.
///
/// # Errors
/// An image without pixels.
pub fn jpeg_with_boxes(
    image: &RgbImage,
    boxes: &[(BoundingBox, [u8; 3])],
    side_px: u32,
) -> Result<Vec<u8>, ImageError> {
    let longer = image.width().max(image.height()).max(1);
    let scale = (f64::from(side_px) / f64::from(longer)).min(1.0);
    let side = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    let mut small = thumbnail(image, side(image.width()), side(image.height()));
    for (bbox, colour) in boxes {
        outline(&mut small, bbox, scale, Rgb(*colour));
    }
    let mut bytes = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
    small.write_with_encoder(encoder)?;
    Ok(bytes)
}

/// A JPEG as the address of an image in a page.
pub fn jpeg_address(bytes: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    format!("data:image/jpeg;base64,{text}")
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
        let red = [255, 0, 0];
        let boxes = [
            (BoundingBox::from([100.0, 40.0, 200.0, 100.0]), red),
            (BoundingBox::from([-50.0, -50.0, 5000.0, 9000.0]), red),
        ];
        let bytes = jpeg_with_boxes(&RgbImage::new(480, 240), &boxes, 240).unwrap();
        let image = image::load_from_memory(&bytes).unwrap().into_rgb8();
        assert_eq!(image.dimensions(), (240, 120));
        let is_red = |x, y| image.get_pixel(x, y)[0] > 100;
        assert!(is_red(100, 20) && is_red(50, 45), "the box's edges");
        assert!(!is_red(100, 45), "the box's middle");
        assert!(is_red(0, 60), "the clipped box follows the image's edge");
        assert!(jpeg_address(&bytes).starts_with("data:image/jpeg;base64,/9j/"));
    }
}
