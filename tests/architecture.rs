//! Enforces who may use whom, so that the layout stays what ARCHITECTURE.md says.

use std::path::{Path, PathBuf};

/// What every module may use.
const SHARED: &[&str] = &["annotation", "html", "observer", "seed", "spec"];

/// Module, and the modules that it may use besides [`SHARED`] and itself.
const ALLOWED: &[(&str, &[&str])] = &[
    ("annotation", &[]),
    ("audit", &["dataset"]),
    ("augment", &["dataset"]),
    ("dataset", &[]),
    ("detector", &["dataset"]),
    ("evaluation", &["dataset"]),
    (
        "experiment",
        &[
            "audit",
            "augment",
            "dataset",
            "detector",
            "evaluation",
            "mix",
        ],
    ),
    ("generate", &["augment", "dataset", "render", "scene"]),
    ("html", &[]),
    ("mix", &["dataset"]),
    ("observer", &[]),
    ("render", &["scene"]),
    ("scene", &[]),
    ("seed", &[]),
    ("spec", &[]),
    ("sweep", &["dataset"]),
];

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// (top-level module, path, source without comments) of every file in `src`.
fn sources() -> Vec<(String, PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    files.sort();
    assert!(files.len() > 20, "the sources are found");
    let read = |path: PathBuf| {
        let first = path
            .strip_prefix(&src)
            .unwrap()
            .components()
            .next()
            .unwrap();
        let module = first
            .as_os_str()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs")
            .to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let code: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        (module, path, code.join("\n"))
    };
    files.into_iter().map(read).collect()
}

/// The part of a file that is not tests, which stand at its foot.
fn without_tests(code: &str) -> &str {
    code.split("#[cfg(test)]").next().unwrap_or(code)
}

#[test]
fn modules_use_only_whom_they_may() {
    let mut broken = Vec::new();
    for (module, path, code) in sources() {
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == module) else {
            assert!(
                ["cli", "main", "lib"].contains(&module.as_str()),
                "{} is in no known module",
                path.display()
            );
            continue;
        };
        for (other, _) in ALLOWED.iter().chain(&[("cli", &[][..])]) {
            let uses = code.contains(&format!("crate::{other}::"))
                || code.contains(&format!("crate::{other};"));
            let may = *other == module || SHARED.contains(other) || allowed.contains(other);
            if uses && !may {
                broken.push(format!("{} uses {other}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn each_heavy_library_is_named_in_one_module() {
    let mut broken = Vec::new();
    for (module, path, code) in sources() {
        for (library, home) in [
            ("wgpu", "render"),
            ("burn", "detector"),
            ("serde_yaml", "spec"),
            ("rand_chacha", "seed"),
            ("rapier3d", "scene"),
        ] {
            // Not a module of that name in another library.
            let is_root = |place: usize| {
                let before = code[..place].chars().next_back();
                !before.is_some_and(|c| c == ':' || c == '_' || c.is_alphanumeric())
            };
            let start = format!("{library}::");
            let names = code.match_indices(&start).any(|(place, _)| is_root(place))
                || code.contains(&format!("use {library}"));
            if names && module != home {
                broken.push(format!("{} names {library}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn below_cli_nothing_prints_or_reads_clock_and_environment() {
    let mut broken = Vec::new();
    for (module, path, code) in sources() {
        if ["cli", "main"].contains(&module.as_str()) {
            continue;
        }
        for forbidden in [
            "println!",
            "eprintln!",
            "dbg!(",
            "print!(",
            "Instant::now",
            "SystemTime::now",
            "std::env::",
            "anyhow::",
        ] {
            if without_tests(&code).contains(forbidden) {
                broken.push(format!("{} has {forbidden}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn no_allow_attributes_and_no_stubs() {
    let mut broken = Vec::new();
    for (_, path, code) in sources() {
        for forbidden in [
            "#[allow(",
            "#![allow(",
            "todo!(",
            "unimplemented!(",
            "is being built",
        ] {
            if code.contains(forbidden) {
                broken.push(format!("{} has {forbidden}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
