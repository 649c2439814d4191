//! Ground truth as pictures.

use std::path::Path;

use anyhow::Context;
use image::{DynamicImage, Rgb, RgbImage};

use crate::cli::drawing::class_colour;
use crate::dataset::{SIDECARS, sidecar_path};
use crate::generate::encoded_normal;
use crate::render::GroundTruth;
use crate::scene::SceneInstance;

/// Objects' numbers, depth, classes and normals of a rendered frame, in the order of
/// [`SIDECARS`].
pub(super) fn frame_pictures(
    instance: &SceneInstance,
    truth: &GroundTruth,
) -> [RgbImage; SIDECARS.len()] {
    let (width, height) = (instance.width_px, instance.height_px);
    let class_of = |id: &u32| {
        let object = instance.objects.get((*id as usize).wrapping_sub(1));
        object.and_then(|object| object.category_id).unwrap_or(0)
    };
    let normals = truth.normals.as_deref().unwrap_or_default();
    let normals: Vec<[u8; 3]> = normals
        .iter()
        .map(|normal| encoded_normal(*normal))
        .collect();
    [
        numbers(width, height, truth.ids.iter().copied()),
        depth(width, height, &truth.depth_m),
        numbers(width, height, truth.ids.iter().map(class_of)),
        RgbImage::from_fn(width, height, |x, y| {
            Rgb(normals
                .get((y * width + x) as usize)
                .copied()
                .unwrap_or_default())
        }),
    ]
}

/// The sidecar in `folder` of an image as a picture; `None` where there is none.
pub(super) fn sidecar_picture(
    root: &Path,
    folder: &str,
    file_name: &str,
) -> anyhow::Result<Option<RgbImage>> {
    let path = root.join(sidecar_path(folder, file_name));
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let values = image::load_from_memory_with_format(&bytes, image::ImageFormat::Png)
        .with_context(|| format!("cannot decode {}", path.display()))?;
    let (width, height) = (values.width(), values.height());
    Ok(Some(match (folder, values) {
        ("depth", values) => {
            let tenths = values.into_luma16().into_raw();
            depth(
                width,
                height,
                &tenths.into_iter().map(f32::from).collect::<Vec<_>>(),
            )
        }
        (_, DynamicImage::ImageLuma8(ids)) => {
            numbers(width, height, ids.into_raw().into_iter().map(u32::from))
        }
        (_, DynamicImage::ImageLuma16(ids)) => {
            numbers(width, height, ids.into_raw().into_iter().map(u32::from))
        }
        (_, other) => other.into_rgb8(),
    }))
}

/// A colour a number; 0 is black.
fn numbers(width: u32, height: u32, values: impl Iterator<Item = u32>) -> RgbImage {
    let colour = |id| match id {
        0 => [0; 3],
        id => class_colour(id as usize).0,
    };
    let pixels = values.flat_map(colour).collect();
    RgbImage::from_raw(width, height, pixels).expect("there is one number a pixel")
}

/// From near (white) to far (dark); black where nothing is.
fn depth(width: u32, height: u32, values: &[f32]) -> RgbImage {
    let seen = values.iter().copied().filter(|depth| *depth > 0.0);
    let (near, far) = seen.fold((f32::INFINITY, 0.0_f32), |(near, far), depth| {
        (near.min(depth), far.max(depth))
    });
    let grey = |depth: &f32| match *depth {
        depth if depth <= 0.0 => [0; 3],
        depth => {
            let share = (far - depth) / (far - near).max(1e-6);
            [(55.0 + 200.0 * share) as u8; 3]
        }
    };
    let pixels = values.iter().flat_map(grey).collect();
    RgbImage::from_raw(width, height, pixels).expect("there is one depth a pixel")
}
