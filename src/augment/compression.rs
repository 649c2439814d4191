//! Compression and transport, on 8-bit values: what codecs and channels do to a picture.

mod resampling;
mod video;

use image::RgbImage;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::seed::SeedKey;

pub use resampling::Filter;
pub(super) use resampling::{banding, resample};
pub(super) use video::video;

/// Resolution of colour beside that of brightness.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Subsampling {
    /// All of it.
    #[serde(rename = "4:4:4")]
    Full,
    /// Half along rows.
    #[serde(rename = "4:2:2")]
    Half,
    /// Half in both directions, as cameras and the web do.
    #[default]
    #[serde(rename = "4:2:0")]
    Quarter,
}

/// Compresses to baseline JPEG with the quantisation tables of ITU-T T.81 annex K scaled by
/// `quality` in `1..=100`.
pub(super) fn jpeg(image: &RgbImage, quality: u8, subsampling: Subsampling) -> Vec<u8> {
    const WITHIN: &str = "no reader lets an image in above 16,384 pixels a side";
    let side = |length: u32| u16::try_from(length).expect(WITHIN);
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, quality.clamp(1, 100));
    encoder.set_sampling_factor(match subsampling {
        Subsampling::Full => SamplingFactor::F_1_1,
        Subsampling::Half => SamplingFactor::F_2_1,
        Subsampling::Quarter => SamplingFactor::F_2_2,
    });
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
    decoded(bytes).expect("a JPEG that was just encoded decodes")
}

fn decoded(bytes: &[u8]) -> Option<RgbImage> {
    let image = image::load_from_memory_with_format(bytes, image::ImageFormat::Jpeg);
    Some(image.ok()?.into_rgb8())
}

/// Sends the picture as a JPEG in which `errors` bits of the coded picture are wrong. Where a
/// decoder gives up on it, half as many are tried at other places, and so on down to none.
pub(super) fn bit_errors(image: &RgbImage, quality: u8, errors: usize, seed: u64) -> RgbImage {
    let sent = jpeg(image, quality, Subsampling::Quarter);
    let Some(start) = start_of_scan(&sent) else {
        return decode(&sent);
    };
    let key = SeedKey::new(b"bit errors", seed);
    let mut count = errors;
    for attempt in 0.. {
        if count == 0 {
            break;
        }
        let mut generator = key.generator("places", attempt);
        let mut received = sent.clone();
        for _ in 0..count {
            // The end marker stays.
            let place = generator.random_range(start..sent.len() - 2);
            let flipped = received[place] ^ (1 << generator.random_range(0..8));
            // 255 begins a marker, of which decoders resynchronise: such bytes stay as they are.
            let is_marker = |byte: u8| byte == u8::MAX;
            if !is_marker(flipped) && !is_marker(received[place]) && !is_marker(received[place - 1])
            {
                received[place] = flipped;
            }
        }
        let size = image.dimensions();
        if let Some(picture) = decoded(&received).filter(|picture| picture.dimensions() == size) {
            return picture;
        }
        count /= 2;
    }
    decode(&sent)
}

/// Where the coded picture begins, after the header of the scan (ITU-T T.81, B.2.3).
fn start_of_scan(bytes: &[u8]) -> Option<usize> {
    let mut place = 2;
    loop {
        let header = bytes.get(place..place + 4)?;
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let next = place + 2 + length;
        if header[0] != 0xFF {
            return None;
        }
        if header[1] == 0xDA {
            // Some room, so that a place before the first byte can be looked at.
            return (next + 3 < bytes.len()).then_some(next + 1);
        }
        place = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the encoder's portable code: that with vectors gives others.
    #[test]
    fn the_bytes_do_not_depend_on_the_processor() {
        let image = RgbImage::from_fn(203, 117, |x, y| {
            image::Rgb([(x * y / 7) as u8, (x * 3 + y) as u8, (x ^ (5 * y)) as u8])
        });
        let bytes = [
            (20, Subsampling::Quarter),
            (75, Subsampling::Half),
            (95, Subsampling::Full),
        ]
        .map(|(quality, subsampling)| crc32c::crc32c(&jpeg(&image, quality, subsampling)));
        assert_eq!(bytes, [601_222_894, 355_110_141, 3_697_304_255]);
    }

    use image::Rgb;

    fn picture() -> RgbImage {
        RgbImage::from_fn(96, 64, |x, y| {
            Rgb([(x * 2) as u8, (y * 3) as u8, ((x * y) % 251) as u8])
        })
    }

    fn error(a: &RgbImage, b: &RgbImage) -> u64 {
        let pairs = a.iter().zip(b.iter());
        pairs.map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum()
    }

    #[test]
    fn lower_quality_is_smaller_and_farther_from_the_image() {
        let image = picture();
        let (mut size, mut last) = (usize::MAX, 0);
        for quality in [95, 70, 40, 10] {
            let bytes = jpeg(&image, quality, Subsampling::Quarter);
            let now = error(&decode(&bytes), &image);
            assert!(bytes.len() < size && now > last, "quality {quality}");
            (size, last) = (bytes.len(), now);
        }
    }

    #[test]
    fn less_colour_is_smaller_and_farther_from_the_image() {
        // Colour in stripes of one pixel.
        let image = RgbImage::from_fn(96, 64, |x, _| {
            Rgb([if x % 2 == 0 { 200 } else { 60 }, 120, 120])
        });
        let of = |subsampling| error(&decode(&jpeg(&image, 95, subsampling)), &image);
        let [full, half, quarter] =
            [Subsampling::Full, Subsampling::Half, Subsampling::Quarter].map(of);
        assert!(
            4 * full < half && half <= quarter,
            "{full} {half} {quarter}"
        );
    }

    #[test]
    fn bit_errors_spoil_the_picture_and_keep_its_size() {
        let image = picture();
        let clean = decode(&jpeg(&image, 80, Subsampling::Quarter));
        assert_eq!(bit_errors(&image, 80, 0, 1), clean);
        let mut spoilt = 0;
        for seed in 0..20 {
            let received = bit_errors(&image, 80, 4, seed);
            assert_eq!(received.dimensions(), image.dimensions());
            assert_eq!(received, bit_errors(&image, 80, 4, seed));
            spoilt += usize::from(received != clean);
        }
        assert!(spoilt >= 15, "{spoilt} of 20");
        let point = RgbImage::from_pixel(1, 1, Rgb([9; 3]));
        assert_eq!(bit_errors(&point, 50, 100, 1).dimensions(), (1, 1));
    }
}
