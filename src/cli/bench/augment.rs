//! `admix bench augment`.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use image::RgbImage;

use crate::annotation::{Annotation, BoundingBox};
use crate::augment::{AugmentSpec, Library, Subject, apply};
use crate::cli::UserMistake;
use crate::dataset::{pictures_in, read_image};

/// Arguments of `admix bench augment`.
#[derive(Debug, Args)]
pub struct AugmentArgs {
    /// What may be drawn.
    #[arg(value_name = "PRESET.yaml")]
    preset: PathBuf,
    /// Number of images, with ten boxes each, on one thread.
    #[arg(short = 'n', long, default_value_t = 50)]
    images: u64,
    /// Folder of pictures to take by turns [default: a pattern of 640 x 384].
    #[arg(short, long, value_name = "DIR")]
    input: Option<PathBuf>,
}

pub(super) fn run(args: AugmentArgs) -> anyhow::Result<super::Rate> {
    let plan = AugmentSpec::load(&args.preset, &[], None)?.into_plan(&args.preset)?;
    let pictures = match &args.input {
        Some(folder) => {
            let files = pictures_in(folder)?;
            let pictures: Result<Vec<RgbImage>, _> =
                files.iter().map(|file| read_image(file)).collect();
            pictures?
        }
        None => vec![RgbImage::from_fn(640, 384, |x, y| {
            image::Rgb([x as u8, y as u8, (x ^ y) as u8])
        })],
    };
    if pictures.is_empty() {
        let folder = args.input.unwrap_or_default();
        let message = format!("{} holds no picture", folder.display());
        return Err(UserMistake(message).into());
    }
    let library = Library::default();
    let one = |index: u64| -> anyhow::Result<()> {
        let image = &pictures[index as usize % pictures.len()];
        let subject = Subject {
            image: image.clone(),
            annotations: boxes(image),
            depth: None,
        };
        let steps = plan.draw(0, &format!("{index}.png"), &library);
        std::hint::black_box(apply(&steps, subject, &library)?);
        Ok(())
    };
    // Tables are made when they are first asked for.
    one(0)?;
    let started = Instant::now();
    (0..args.images).try_for_each(one)?;
    let wall_s = started.elapsed().as_secs_f64();
    Ok(super::Rate {
        name: "augment".to_owned(),
        items_per_s: args.images as f64 / wall_s.max(1e-9),
        wall_s,
        items: args.images,
        peak_rss_mib: super::peak_rss_mib(),
    })
}

/// Ten boxes over the picture.
fn boxes(image: &RgbImage) -> Vec<Annotation> {
    let size = [image.width(), image.height()].map(f64::from);
    (0..10_u32)
        .map(|index| {
            let share = f64::from(index) / 10.0;
            let bbox = BoundingBox {
                x: size[0] * share,
                y: size[1] * (0.9 - share),
                width: size[0] / 10.0,
                height: size[1] / 10.0,
            };
            Annotation {
                id: u64::from(index),
                category_id: 1,
                bbox,
                area: bbox.area(),
                is_crowd: false,
                extra: serde_json::Map::new(),
            }
        })
        .collect()
}
