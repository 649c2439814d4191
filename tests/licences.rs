//! Every dependency's licence is among those that `deny.toml` allows.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn allowed() -> Vec<spdx::Licensee> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let list = text.split_once("allow = [").unwrap().1.split_once(']').unwrap().0;
    let names: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    assert!(names.contains(&"MIT"), "the list is read");
    names.iter().map(|name| spdx::Licensee::parse(name).unwrap()).collect()
}

fn is_allowed(expression: &str, allowed: &[spdx::Licensee]) -> bool {
    let expression = spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX).unwrap();
    expression.evaluate(|requirement| allowed.iter().any(|licence| licence.satisfies(requirement)))
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "the dependencies are listed");
    let allowed = allowed();
    let refused: Vec<String> = packages
        .iter()
        .filter(|package| !package["license"].as_str().is_some_and(|text| is_allowed(text, &allowed)))
        .map(|package| format!("{} {}: {}", package["name"], package["version"], package["license"]))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn a_copyleft_licence_is_refused() {
    let allowed = allowed();
    assert!(!is_allowed("GPL-3.0-only", &allowed));
    assert!(!is_allowed("MIT AND GPL-3.0-only", &allowed));
    assert!(is_allowed("GPL-2.0-only OR MIT", &allowed));
}
