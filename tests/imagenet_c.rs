//! The corruptions of ImageNet-C against figures of the published implementation: the distance
//! of each corrupted photograph to the clean one. See imagenet_c/SOURCE.md.

use std::collections::BTreeMap;
use std::path::Path;

use admix::augment::{Corruption, Drawn, Library, Subject, Transform, apply};
use image::RgbImage;

/// Mean and standard deviation over seeds of the PSNR in dB, for each severity.
type Figures = BTreeMap<String, Vec<[f64; 2]>>;

fn corrupted(image: &RgbImage, kind: Corruption, severity: usize, seed: u64) -> RgbImage {
    let severity = severity as f64;
    let step = Drawn::from(Transform::Corruption { severity, kind }).with_seed(seed);
    let subject = Subject {
        image: image.clone(),
        annotations: Vec::new(),
        depth: None,
    };
    let out = apply(&[step], subject, &Library::default());
    out.expect("no other picture is needed").image
}

fn psnr_db(a: &RgbImage, b: &RgbImage) -> f64 {
    let squares: f64 = a
        .iter()
        .zip(b.iter())
        .map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2))
        .sum();
    10.0 * (255.0 * 255.0 * a.len() as f64 / squares).log10()
}

/// How far the mean over `seeds` may be from the published figure, in dB.
fn tolerance_db(kind: Corruption, [_, sd]: [f64; 2]) -> f64 {
    use Corruption::*;
    match kind {
        JpegCompression => 0.15,
        GaussianBlur => 0.1,
        DefocusBlur | ZoomBlur | Brightness | Contrast | Saturate | Pixelate => 0.3,
        GaussianNoise | ShotNoise | ImpulseNoise | SpeckleNoise => 0.1,
        MotionBlur | ElasticTransform | GlassBlur | Snow => 3.0 * sd,
        // Their textures are other ones: three standard deviations and one decibel.
        Fog | Frost => 3.0 * sd + 1.0,
        Spatter => 3.0 * sd + 3.0,
    }
}

fn seeds(kind: Corruption) -> u64 {
    use Corruption::*;
    match kind {
        GlassBlur => 16,
        MotionBlur | ElasticTransform | Snow | Fog | Frost | Spatter => 5,
        _ => 1,
    }
}

#[test]
fn corruptions_are_as_far_from_the_photographs_as_published() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/imagenet_c");
    let text = std::fs::read_to_string(folder.join("reference.json")).unwrap();
    let reference: BTreeMap<String, Figures> = serde_json::from_str(&text).unwrap();
    let (mut checked, mut missed) = (0, Vec::new());
    for (photo, figures) in &reference {
        let image = image::open(folder.join(format!("{photo}.png")));
        let image = image.unwrap().into_rgb8();
        for kind in Corruption::ALL {
            for (index, published) in figures[kind.name()].iter().enumerate() {
                let severity = index + 1;
                let count = seeds(kind);
                let of = |seed| psnr_db(&corrupted(&image, kind, severity, seed), &image);
                let mean = (0..count).map(of).sum::<f64>() / count as f64;
                let off = (mean - published[0]).abs();
                let most = tolerance_db(kind, *published);
                let line = format!(
                    "{photo} {kind} {severity}: {mean:.3} dB, published {:.3}, off {off:.3}, at most {most:.3}",
                    published[0]
                );
                println!("{line}");
                checked += 1;
                if off > most {
                    missed.push(line);
                }
            }
        }
    }
    assert_eq!(checked, 3 * 19 * 5);
    assert!(
        missed.is_empty(),
        "{} cells:\n{}",
        missed.len(),
        missed.join("\n")
    );
}
