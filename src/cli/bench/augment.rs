//! `admix bench augment`.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use crate::augment::{AugmentSpec, Library, Subject, apply};
use crate::spec;

/// Arguments of `admix bench augment`.
#[derive(Debug, Args)]
pub struct AugmentArgs {
    /// What may be drawn.
    #[arg(value_name = "PRESET.yaml")]
    preset: PathBuf,
    /// Number of 640 x 640 images, on one thread.
    #[arg(short = 'n', long, default_value_t = 50)]
    images: u64,
}

pub(super) fn run(args: AugmentArgs) -> anyhow::Result<super::Rate> {
    let spec: AugmentSpec = spec::load(&args.preset, &[])?;
    let plan = spec.into_plan(&args.preset)?;
    let image = image::RgbImage::from_fn(640, 640, |x, y| {
        image::Rgb([x as u8, y as u8, (x ^ y) as u8])
    });
    let library = Library::default();
    let started = Instant::now();
    for index in 0..args.images {
        let subject = Subject {
            image: image.clone(),
            annotations: Vec::new(),
            depth: None,
        };
        let steps = plan.draw(0, &format!("{index}.png"), &library);
        std::hint::black_box(apply(&steps, subject, &library)?);
    }
    let wall_s = started.elapsed().as_secs_f64();
    Ok(super::Rate {
        name: "augment".to_owned(),
        items_per_s: args.images as f64 / wall_s.max(1e-9),
        wall_s,
        items: args.images,
        peak_rss_mib: super::peak_rss_mib(),
    })
}
