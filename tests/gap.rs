//! `generate --like` compares what it rendered with real images, again and alike.

use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn generate(folder: &Path, more: &[&str]) -> String {
    let (scene, real) = (
        format!("{ROOT}/scenes/shapes.yaml"),
        format!("{ROOT}/samples/dice"),
    );
    let output = Command::cargo_bin("admix")
        .unwrap()
        .current_dir(folder)
        .args(["generate", &scene, "-n", "12", "-o", "out", "--like", &real])
        .args(["--set", "image={width_px: 160, height_px: 120}"])
        .args(["--set", "placement.count=3"])
        .args(more)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "needs a Vulkan adapter: make test installs one and runs these"]
fn the_comparison_is_made_again_without_rendering() {
    let folder = tempfile::tempdir().unwrap();
    let text = generate(folder.path(), &[]);
    assert!(text.contains("The synthetic images "), "{text}");
    assert!(text.contains("split train of "), "{text}");
    let read = |name: &str| std::fs::read(folder.path().join("out").join(name)).unwrap();
    let image = folder.path().join("out/images/000003.jpg");
    let rendered = std::fs::metadata(&image).unwrap().modified().unwrap();
    let first = [read("gap.json"), read("gap.html")];
    let result: Value =
        serde_json::from_str(&generate(folder.path(), &["--json", "--jobs", "1"])).unwrap();
    assert_eq!(first, [read("gap.json"), read("gap.html")]);
    let again = std::fs::metadata(&image).unwrap().modified().unwrap();
    assert_eq!(rendered, again, "a whole data set is not rendered again");
    let numbers: Value = serde_json::from_slice(&first[0]).unwrap();
    assert_eq!(result["gap"], numbers);
    assert_eq!(numbers["features"].as_array().unwrap().len(), 14);
    assert_eq!(numbers["synthetic"]["images"], 12);
    assert_eq!(numbers["real"]["split"], "train");
    let other: Value = serde_json::from_str(&generate(
        folder.path(),
        &["--json", "--like-split", "test"],
    ))
    .unwrap();
    assert_eq!(other["gap"]["real"]["split"], "test");
    assert_ne!(other["gap"]["real"]["images"], numbers["real"]["images"]);
}
