//! `admix bench score`.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use rand::RngExt;

use super::super::UserMistake;
use crate::annotation::{Annotation, BoundingBox, Category, Detection};
use crate::dataset::{Dataset, Origin, Record, Sample};
use crate::evaluation::evaluate;
use crate::seed::{Generator, SeedKey};

/// Side of the made-up images, in pixels.
const SIDE_PX: f64 = 640.0;

/// Arguments of `admix bench score`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  admix bench score
  admix bench score --images 5000 --detections 250000 --categories 80")]
pub struct ScoreArgs {
    /// Images.
    #[arg(long, default_value_t = 1000)]
    images: u64,
    /// Detections in all; there is one object for every four.
    #[arg(long, default_value_t = 100_000)]
    detections: u64,
    /// Classes.
    #[arg(long, default_value_t = 10)]
    categories: u32,
    /// Seed of the boxes.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Items are detections; the time is that of matching and accumulation.
pub(super) fn run(args: ScoreArgs) -> anyhow::Result<super::Rate> {
    if args.images == 0 || args.detections == 0 || args.categories == 0 {
        let message = "--images, --detections and --categories must be above 0";
        return Err(UserMistake(message.to_owned()).into());
    }
    let (dataset, detections) = made_up(&args);
    let began = Instant::now();
    let evaluation = evaluate(&dataset, &detections).context("scoring made-up detections")?;
    let wall_s = began.elapsed().as_secs_f64();
    anyhow::ensure!(evaluation.ap() > 0.0, "made-up detections found nothing");
    Ok(super::Rate {
        name: "score".to_owned(),
        items_per_s: args.detections as f64 / wall_s.max(1e-9),
        wall_s,
        items: args.detections,
        peak_rss_mib: super::peak_rss_mib(),
    })
}

/// Objects at random, each with one detection near it and three anywhere.
fn made_up(args: &ScoreArgs) -> (Dataset, Vec<Detection>) {
    let mut generator = SeedKey::new(b"bench score", args.seed).generator("boxes", 0);
    let mut samples: Vec<Sample> = (1..=args.images).map(empty_sample).collect();
    let mut detections = Vec::new();
    for index in 0..args.detections {
        let image = (index / 4) % args.images;
        let category_id = 1 + u32::try_from((index / 4) % u64::from(args.categories)).unwrap_or(0);
        let mut bbox = random_box(&mut generator);
        if index % 4 == 0 {
            samples[image as usize].annotations.push(Annotation {
                id: index + 1,
                category_id,
                bbox,
                area: bbox.area(),
                is_crowd: false,
                extra: serde_json::Map::new(),
            });
            bbox.x += bbox.width * generator.random_range(-0.2..0.2);
        }
        detections.push(Detection {
            image_id: image + 1,
            category_id,
            bbox,
            score: generator.random(),
        });
    }
    let categories = (1..=args.categories).map(|id| Category {
        id,
        name: format!("class {id}"),
        ..Category::default()
    });
    let dataset = Dataset {
        root: PathBuf::new(),
        categories: categories.collect(),
        samples,
        warnings: Vec::new(),
    };
    (dataset, detections)
}

fn empty_sample(id: u64) -> Sample {
    let file_name = format!("{id:08}.png");
    Sample {
        id,
        path: PathBuf::from(&file_name),
        record: Record::new(id, file_name.clone(), Origin::Synthetic),
        file_name,
        width: SIDE_PX as u32,
        height: SIDE_PX as u32,
        annotations: Vec::new(),
    }
}

fn random_box(generator: &mut Generator) -> BoundingBox {
    let mut side = || generator.random_range(8.0..160.0);
    let (width, height) = (side(), side());
    BoundingBox {
        x: generator.random_range(0.0..SIDE_PX - width),
        y: generator.random_range(0.0..SIDE_PX - height),
        width,
        height,
    }
}
