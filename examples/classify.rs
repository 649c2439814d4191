//! Classifies a photograph by torchvision's MobileNetV2, to see that its weights are read as
//! they were meant: `make pretrained`, then
//!
//! ```sh
//! cargo run --release --example classify weights/mobilenet_v2-b0353104.pth photo.jpg
//! ```
//!
//! Prints the five most likely classes of ImageNet (their index in torchvision's order, for
//! instance 281 for "tabby") and their probabilities.

use anyhow::{Context, bail};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [weights, photo] = arguments.as_slice() else {
        bail!("usage: classify WEIGHTS PHOTO");
    };
    let image = image::open(photo).with_context(|| photo.clone())?.to_rgb8();
    for (class, probability) in admix::detector::pretrained::classify(weights.as_ref(), &image)? {
        println!("{class:>4}  {probability:.4}");
    }
    Ok(())
}
