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
