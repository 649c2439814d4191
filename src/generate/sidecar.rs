//! Images and the files beside them, encoded.

use image::{ImageBuffer, Luma, PixelWithColorType, Rgb};

use super::{GenerateError, Sidecars};
use crate::dataset::encode_png;
use crate::render::GroundTruth;
use crate::scene::{ImageFormat, SceneInstance};

/// Quality of JPEG files, in percent.
const JPEG_QUALITY: u8 = 90;

/// Path in the data set and content of the files that were asked for, of the image `stem`.
pub(super) fn files(
    instance: &SceneInstance,
    truth: &GroundTruth,
    wanted: Sidecars,
    stem: &str,
) -> Result<Vec<(String, Vec<u8>)>, GenerateError> {
    let (width, height) = (instance.width_px, instance.height_px);
    let mut files = Vec::new();
    let mut add = |folder: &str, bytes: Result<Vec<u8>, GenerateError>| {
        files.push((format!("{folder}/{stem}.png"), bytes?));
        Ok::<(), GenerateError>(())
    };
    if wanted.masks {
        let ids = truth.ids.iter().map(|id| *id as u16).collect();
        add("masks", png::<Luma<u16>>(width, height, ids, stem))?;
    }
    if wanted.depth {
        let tenths = |metres: &f32| (metres * 1e4).round() as u16;
        let depth = truth.depth_m.iter().map(tenths).collect();
        add("depth", png::<Luma<u16>>(width, height, depth, stem))?;
    }
    if wanted.class_masks {
        let class_of = |id: &u32| {
            let object = instance.objects.get((*id as usize).wrapping_sub(1));
            object.and_then(|object| object.category_id).unwrap_or(0) as u8
        };
        let classes = truth.ids.iter().map(class_of).collect();
        add("class_masks", png::<Luma<u8>>(width, height, classes, stem))?;
    }
    if wanted.normals {
        let normals = truth.normals.as_ref().ok_or(GenerateError::NoNormals)?;
        let colours = normals.iter().flat_map(|normal| encoded_normal(*normal));
        add(
            "normals",
            png::<Rgb<u8>>(width, height, colours.collect(), stem),
        )?;
    }
    Ok(files)
}

/// A unit normal as a colour: -1..=1 becomes 0..=255; black for none.
pub fn encoded_normal(normal: glam::Vec3) -> [u8; 3] {
    if normal == glam::Vec3::ZERO {
        return [0; 3];
    }
    let part = |value: f32| ((value * 0.5 + 0.5) * 255.0).round() as u8;
    normal.to_array().map(part)
}

fn png<P>(
    width: u32,
    height: u32,
    values: Vec<P::Subpixel>,
    name: &str,
) -> Result<Vec<u8>, GenerateError>
where
    P: PixelWithColorType,
    [P::Subpixel]: image::EncodableLayout,
{
    let image = ImageBuffer::<P, _>::from_raw(width, height, values);
    let image = image.expect("there is one value a pixel and channel");
    encode_png(&image).map_err(|error| GenerateError::Encode {
        name: name.to_owned(),
        message: error.to_string(),
    })
}

/// Encodes an image; `name` only names it in errors.
pub(super) fn encode(
    image: &image::RgbImage,
    format: ImageFormat,
    name: &str,
) -> Result<Vec<u8>, GenerateError> {
    let fail = |message: String| GenerateError::Encode {
        name: name.to_owned(),
        message,
    };
    match format {
        ImageFormat::Jpeg => {
            let mut bytes = Vec::new();
            let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, JPEG_QUALITY);
            encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_2);
            encoder
                .encode(
                    image,
                    image.width() as u16,
                    image.height() as u16,
                    jpeg_encoder::ColorType::Rgb,
                )
                .map_err(|error| fail(error.to_string()))?;
            Ok(bytes)
        }
        ImageFormat::Png => encode_png(image).map_err(|error| fail(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use glam::Vec3;

    use super::*;

    #[test]
    fn normals_are_colours_around_grey() {
        assert_eq!(encoded_normal(Vec3::Z), [128, 128, 255]);
        assert_eq!(encoded_normal(Vec3::NEG_X), [0, 128, 128]);
        assert_eq!(encoded_normal(Vec3::ZERO), [0, 0, 0]);
    }
}
