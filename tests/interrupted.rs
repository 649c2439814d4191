//! A killed run goes on where it was and ends with the bytes of an uninterrupted one.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use assert_cmd::cargo::CommandCargoExt;

const SCENE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenes/shapes.yaml");

fn generate(folder: &Path, out: &str) -> Command {
    let mut command = Command::cargo_bin("admix").unwrap();
    command
        .current_dir(folder)
        .args([
            "generate", SCENE, "-n", "48", "-o", out, "--masks", "--depth",
        ])
        .args(["--set", "image={width_px: 160, height_px: 120}"])
        .args(["--set", "placement.count=3"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Every file below a folder, by its relative path.
fn contents(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
#[ignore = "needs a Vulkan adapter: make test installs one and runs these"]
fn generate_survives_kills_without_a_byte_of_difference() {
    let folder = tempfile::tempdir().unwrap();
    assert!(generate(folder.path(), "whole").status().unwrap().success());
    let records = folder.path().join("killed.partial/records");
    let published = || std::fs::read_dir(&records).map_or(0, |entries| entries.count());
    // Killed twice, each time after some more images.
    for least in [3, 9] {
        let mut child = generate(folder.path(), "killed").spawn().unwrap();
        while published() < least && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!((least..48).contains(&published()), "{}", published());
    }
    assert!(
        generate(folder.path(), "killed")
            .status()
            .unwrap()
            .success()
    );
    let whole = contents(&folder.path().join("whole"));
    assert_eq!(whole.len(), 3 * 48 + 3);
    assert_eq!(whole, contents(&folder.path().join("killed")));
}

/// Ten trials of a few steps each, on the sample photographs' stand-ins.
fn experiment(folder: &Path, out: &str) -> Command {
    let dice = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/dice");
    let spec = format!(
        "real: {dice}
synthetic: {{dataset: {dice}}}
class_agnostic: die
synthetic_test: 4
arms: {{substitution: {{total: 8, shares: [0, 1]}}}}
seeds: 5
train:
  settings:
    width_multiplier: 0.1
    input: {{height: 96, width: 96}}
    output_strides: [16]
    fuse_strides: []
    head_channels: 8
    steps: 12
    warmup_steps: 2
    batch_size: 2
    checkpoint_every: 4
"
    );
    std::fs::write(folder.join("experiment.yaml"), spec).unwrap();
    let mut command = Command::cargo_bin("admix").unwrap();
    command
        .current_dir(folder)
        .args(["experiment", "experiment.yaml", "-o", out])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

#[test]
fn an_experiment_survives_kills_with_the_same_summary() {
    let folder = tempfile::tempdir().unwrap();
    let succeeds = |out: &str| experiment(folder.path(), out).status().unwrap().success();
    assert!(succeeds("whole"));
    let trials = folder.path().join("killed/trials");
    let finished = || {
        let entries = std::fs::read_dir(&trials).into_iter().flatten();
        let results = entries.filter(|e| e.as_ref().unwrap().path().join("result.json").exists());
        results.count()
    };
    // Killed at once, and then each time after some more trials, at whatever they were at.
    for (least, wait_ms) in [(0, 50), (1, 7), (4, 23), (7, 3)] {
        let mut child = experiment(folder.path(), "killed").spawn().unwrap();
        while finished() < least && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(wait_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!((least..10).contains(&finished()), "{}", finished());
    }
    assert!(succeeds("killed"));
    assert_eq!(finished(), 10);
    for file in [
        "summary.json",
        "figures/substitution.csv",
        "plan.json",
        "data.json",
    ] {
        let read = |out: &str| std::fs::read(folder.path().join(out).join(file)).unwrap();
        assert!(read("whole") == read("killed"), "{file} differs");
    }
}
