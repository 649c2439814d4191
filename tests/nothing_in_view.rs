//! A scene whose camera sees none of its objects is told before it costs hours, and does not
//! pass for a data set.

use std::path::Path;

use assert_cmd::Command;
use tempfile::TempDir;

/// Balls around the origin. Where the camera looks is the test's.
fn scene(target_mm: &str) -> TempDir {
    let text = format!(
        r##"
image: {{width_px: 16, height_px: 16, format: png, renderer: {{path_traced: {{samples: 1, bounces: 0}}}}}}
camera:
  vertical_fov_deg: 40
  pose: {{in_box: {{position_mm: [0, 0, 600], target_mm: {target_mm}, roll_deg: 0}}}}
lights: []
environment: {{uniform: {{level: 0.8, kelvin: 6600}}}}
exposure_ev: 0
sensor: {{noise: 0, blur_px: 0, vignetting: 0}}
ground: {{paints: [{{body: "#808080"}}], texture_strength: 0, texture_scale_mm: 1, roughness: 1}}
placement: {{count: 3, area_mm: [200, 200]}}
labels: {{min_visible_px: 1, min_visible_fraction: 0}}
objects:
  - {{name: ball, class: {{fixed: ball}}, shape: {{sphere: {{diameter_mm: 60}}}}, paints: [{{body: "#b09060"}}]}}
"##
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("scene.yaml"), text).unwrap();
    folder
}

const AWAY: &str = "[0, 100000, 5000]";

fn admix(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::cargo_bin("admix")
        .unwrap()
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text)
}

fn generate(folder: &Path, count: &str, more: &[&str]) -> (Option<i32>, String) {
    let fixed = ["generate", "scene.yaml", "-o", "out", "-n", count];
    admix(folder, &[&fixed, more].concat())
}

#[test]
fn a_run_without_a_single_box_is_a_mistake() {
    let folder = scene(AWAY);
    // The second call finds the data set as it is.
    for _ in 0..2 {
        let (code, text) = generate(folder.path(), "20", &[]);
        assert_eq!(code, Some(2), "{text}");
        for part in [
            "out: none of the 60 labelled objects of 20 image",
            "camera",
            "placement",
            "admix preview",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("warning"), "told once: {text}");
    }
    assert!(folder.path().join("out/annotations.json").is_file());
}

#[test]
fn a_long_run_is_warned_of_early() {
    let folder = scene(AWAY);
    let (code, text) = generate(folder.path(), "24", &["--jobs", "1"]);
    assert_eq!(code, Some(2), "{text}");
    let early = text.find("warning: none of the 60 labelled objects of 20 image");
    let end = text.find("none of the 72 labelled objects of 24 image");
    assert!(early.is_some() && early < end, "{text}");
}

#[test]
fn a_few_images_are_only_warned_of() {
    let folder = scene(AWAY);
    let (code, text) = generate(folder.path(), "2", &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("warning: none of the 6 labelled"), "{text}");
    let preview = ["preview", "scene.yaml", "-o", "sheet.png", "-n", "3"];
    let (code, text) = admix(folder.path(), &preview);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("warning: none of the 9 labelled"), "{text}");
    assert!(folder.path().join("sheet.png").is_file());
}

#[test]
fn what_is_in_view_or_not_asked_for_is_not_missed() {
    for (target_mm, set) in [
        ("[0, 0, 0]", "placement.count=3"),
        (AWAY, "placement.count=0"),
        (AWAY, "objects.0.class=unlabelled"),
    ] {
        let folder = scene(target_mm);
        let (code, text) = generate(folder.path(), "20", &["--set", set]);
        assert_eq!(code, Some(0), "{text}");
        assert!(!text.contains("in view"), "{text}");
    }
}
