//! Every dependency's licence is among those that `deny.toml` allows.

use std::path::Path;
use std::process::Command;

fn allowed() -> Vec<spdx::Licensee> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let list = text
        .split_once("allow = [")
        .unwrap()
        .1
        .split_once(']')
        .unwrap()
        .0;
    let names: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    assert!(names.contains(&"MIT"), "the list is read");
    names
        .iter()
        .map(|name| spdx::Licensee::parse(name).unwrap())
        .collect()
}

fn is_allowed(expression: &str, allowed: &[spdx::Licensee]) -> bool {
    let Ok(expression) = spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX) else {
        return false;
    };
    expression.evaluate(|requirement| allowed.iter().any(|licence| licence.satisfies(requirement)))
}

/// Crates that `deny.toml` makes an exception for, whatever their licence.
fn exceptions() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("crate = \""));
    lines
        .map(|rest| rest.trim_end_matches('"').to_owned())
        .collect()
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--edges",
            "normal,build,dev",
            "--prefix",
            "none",
        ])
        .args(["--format", "{p}|{l}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let listing = String::from_utf8(output.stdout).unwrap();
    let (allowed, exceptions) = (allowed(), exceptions());
    let mut refused = Vec::new();
    let mut count = 0;
    for line in listing.lines().map(|line| line.trim_end_matches(" (*)")) {
        let (package, licence) = line.split_once('|').unwrap();
        let name = package.split(' ').next().unwrap();
        count += 1;
        if !exceptions.iter().any(|exception| exception == name) && !is_allowed(licence, &allowed) {
            refused.push(line);
        }
    }
    refused.sort_unstable();
    refused.dedup();
    assert!(count > 100, "the dependencies are listed");
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn a_copyleft_licence_is_refused() {
    let allowed = allowed();
    assert!(!is_allowed("GPL-3.0-only", &allowed));
    assert!(!is_allowed("MIT AND GPL-3.0-only", &allowed));
    assert!(is_allowed("GPL-2.0-only OR MIT", &allowed));
}
