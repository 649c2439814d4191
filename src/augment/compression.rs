//! JPEG.

use image::RgbImage;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

/// Compresses as cameras and the web do: baseline, chroma at half resolution (4:2:0),
/// the quantisation tables of ITU-T T.81 annex K scaled by `quality` in `1..=100`.
pub(super) fn jpeg(image: &RgbImage, quality: u8) -> Vec<u8> {
    const WITHIN: &str = "no reader lets an image in above 16,384 pixels a side";
    let side = |length: u32| u16::try_from(length).expect(WITHIN);
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, quality.clamp(1, 100));
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder
        .encode(
            image,
            side(image.width()),
            side(image.height()),
            ColorType::Rgb,
        )
        .expect("encoding into memory fails only for sizes, which were checked");
    bytes
}

pub(super) fn decode(bytes: &[u8]) -> RgbImage {
    image::load_from_memory_with_format(bytes, image::ImageFormat::Jpeg)
        .expect("a JPEG that was just encoded decodes")
        .into_rgb8()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn lower_quality_is_smaller_and_farther_from_the_image() {
        let image = RgbImage::from_fn(96, 64, |x, y| {
            Rgb([(x * 2) as u8, (y * 3) as u8, ((x * y) % 251) as u8])
        });
        let (mut size, mut error) = (usize::MAX, 0);
        for quality in [95, 70, 40, 10] {
            let bytes = jpeg(&image, quality);
            let pairs = decode(&bytes);
            let pairs = pairs.iter().zip(image.iter());
            let now: u64 = pairs.map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
            assert!(bytes.len() < size && now > error, "quality {quality}");
            (size, error) = (bytes.len(), now);
        }
    }
}
