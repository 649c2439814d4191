//! `admix predict`.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use image::RgbImage;
use serde_json::{Value, json};

use super::drawing::{class_colour, label, outline};
use super::progress::Progress;
use super::train::use_threads;
use super::{Common, UserMistake};
use crate::dataset::{read_image, write_atomically};
use crate::detector::{ComputeDevice, Detector, ScoredBox};
use crate::observer::Observer;

/// Lines of a drawn box, in pixels.
const LINE_PX: u32 = 2;

/// Colour of the pixels that a segmentation takes for objects.
const TINT: [u16; 3] = [0, 220, 160];

/// Arguments of `admix predict`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  admix predict --model runs/baseline photo.jpg -o predicted
  admix predict --model runs/baseline photos/*.jpg -o predicted --min-score 0.5")]
pub struct PredictArgs {
    /// Folder of a trained detector.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Image files.
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Folder to write the drawn images and predictions.json to.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Lowest score that is drawn and listed.
    #[arg(long, default_value_t = 0.3, value_name = "0..1")]
    min_score: f64,
    /// Where to compute: cpu, or wgpu or cuda where the program was built with them.
    #[arg(long, default_value = "cpu")]
    device: ComputeDevice,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: PredictArgs) -> anyhow::Result<()> {
    args.common.refuse_overrides("`predict`")?;
    if !(0.0..=1.0).contains(&args.min_score) {
        let message = format!("--min-score {}: 0 to 1 is allowed", args.min_score);
        return Err(UserMistake(message).into());
    }
    use_threads(&args.common);
    let names = output_names(&args.images)?;
    let detector = Detector::load(&args.model, args.device)?;
    if args.common.dry_run {
        println!(
            "predict {} images with {} into {}",
            args.images.len(),
            args.model.display(),
            args.output.display()
        );
        return Ok(());
    }
    std::fs::create_dir_all(&args.output)
        .with_context(|| format!("cannot create {}", args.output.display()))?;
    let progress = Progress::new(false);
    progress.begin("predict", args.images.len() as u64, 0);
    let mut listed = Vec::new();
    for (path, name) in args.images.iter().zip(names) {
        let mut image = read_image(path)?;
        let mut found = detector.predict_image(&image)?;
        found.retain(|found| found.score >= args.min_score);
        if let Some(object) = detector.object_pixels(&image)? {
            tint(&mut image, &object);
        }
        draw(&mut image, &found, detector.classes());
        let mut png = Cursor::new(Vec::new());
        image.write_to(&mut png, image::ImageFormat::Png)?;
        write_atomically(&args.output.join(name), png.get_ref())?;
        listed.push(as_json(path, &found, detector.classes()));
        progress.advance(1);
    }
    progress.end();
    let text = serde_json::to_string_pretty(&listed)?;
    let path = args.output.join("predictions.json");
    write_atomically(&path, text.as_bytes())?;
    if args.common.json {
        println!("{text}");
    } else {
        println!("{} images in {}", listed.len(), args.output.display());
    }
    Ok(())
}

/// One PNG name an image; two images of one name would overwrite each other.
fn output_names(images: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for path in images {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("{stem}.png");
        if names.contains(&name) {
            let message = format!(
                "{}: another image is called {stem} too; predict them into different folders",
                path.display()
            );
            return Err(UserMistake(message).into());
        }
        names.push(name);
    }
    Ok(names)
}

fn as_json(path: &Path, found: &[ScoredBox], classes: &[String]) -> Value {
    let boxes: Vec<Value> = found
        .iter()
        .map(|found| {
            json!({
                "category": classes[found.class],
                "bbox": found.bbox,
                "score": found.score,
            })
        })
        .collect();
    json!({"image": path.display().to_string(), "detections": boxes})
}

/// Tints the pixels that belong to objects.
fn tint(image: &mut RgbImage, object: &[bool]) {
    for (pixel, _) in image
        .pixels_mut()
        .zip(object)
        .filter(|(_, object)| **object)
    {
        for (value, tint) in pixel.0.iter_mut().zip(TINT) {
            *value = ((3 * u16::from(*value) + 2 * tint) / 5) as u8;
        }
    }
}

/// Outlines what was found, worst first, so that the best name is on top.
fn draw(image: &mut RgbImage, found: &[ScoredBox], classes: &[String]) {
    for found in found.iter().rev() {
        let colour = class_colour(found.class);
        outline(image, &found.bbox, 1.0, colour, LINE_PX);
        let percent = (found.score * 100.0).round();
        let text = match classes {
            [_] => format!("{percent}"),
            _ => format!("{} {percent}", classes[found.class]),
        };
        label(image, &found.bbox, &text, colour);
    }
}
