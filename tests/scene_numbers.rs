//! Numbers that nothing can be drawn with are refused when a scene is read, by their key.

use std::path::{Path, PathBuf};

use admix::scene::{ScenePlan, SceneSpec};
use admix::spec;
use serde_yaml::Value;

/// Scene files of the repository.
fn scenes() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenes");
    let files = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "yaml"));
    paths.sort();
    assert!(paths.len() >= 12, "{paths:?}");
    paths
}

/// The keys that lead to each number.
fn numbers(value: &Value, keys: &[String]) -> Vec<Vec<String>> {
    let within = |key: String, inner: &Value| numbers(inner, &[keys, &[key]].concat());
    match value {
        Value::Number(_) => vec![keys.to_vec()],
        Value::Sequence(items) => (0..)
            .zip(items)
            .flat_map(|(index, item): (usize, _)| within(index.to_string(), item))
            .collect(),
        Value::Mapping(map) => map
            .iter()
            .flat_map(|(key, inner)| within(key.as_str().unwrap().to_owned(), inner))
            .collect(),
        _ => Vec::new(),
    }
}

/// Keys as they stand in messages: `objects[0].paints`.
fn written(keys: &[String]) -> String {
    let mut text = String::new();
    for key in keys {
        match key.parse::<usize>() {
            Ok(_) => text += &format!("[{key}]"),
            Err(_) if text.is_empty() => text += key,
            Err(_) => text += &format!(".{key}"),
        }
    }
    text
}

/// The value with another at some keys.
fn with(root: &Value, keys: &[String], value: f64) -> Value {
    let mut spoilt = root.clone();
    let place = keys.iter().fold(&mut spoilt, |place, key| match place {
        Value::Sequence(items) => &mut items[key.parse::<usize>().unwrap()],
        other => other.get_mut(key.as_str()).unwrap(),
    });
    *place = Value::from(value);
    spoilt
}

/// What no number may be, and what is told of it after its key.
const BAD: [(f64, &str, &str); 5] = [
    (f64::NAN, ".nan", ".nan is not a finite number"),
    (f64::INFINITY, ".inf", ".inf is not a finite number"),
    (f64::NEG_INFINITY, "-.inf", "-.inf is not a finite number"),
    (1e39, "1e39", " is not within -1e19..=1e19"),
    (-1e300, "-1e300", " is not within -1e19..=1e19"),
];

#[test]
fn numbers_that_nothing_can_be_reckoned_with_are_refused_wherever_they_stand() {
    for path in scenes() {
        let text = std::fs::read_to_string(&path).unwrap();
        let root: Value = serde_yaml::from_str(&text).unwrap();
        let places = numbers(&root, &[]);
        assert!(places.len() > 20, "{}", path.display());
        for (index, keys) in places.iter().enumerate() {
            let key = written(keys);
            for (bad, as_text, told) in BAD {
                let spoilt = with(&root, keys, bad);
                let check = |error: Option<String>| {
                    let error = error.unwrap_or_else(|| panic!("{key} may be {as_text}"));
                    let is_told = error.contains(&format!("{key}: ")) && error.ends_with(told);
                    assert!(is_told, "{}: {error}", path.display());
                };
                // Files and overrides are read in other ways, and slowly.
                if index % 60 == 0 {
                    let text = serde_yaml::to_string(&spoilt).unwrap();
                    let read = spec::parse::<SceneSpec>(&text, &path, &[]);
                    check(read.err().map(|error| error.to_string()));
                    let set = format!("{}={as_text}", keys.join("."));
                    let read = ScenePlan::load(&path, &[set.parse().unwrap()]);
                    check(read.err().map(|error| error.to_string()));
                }
                let read = spec::from_value::<SceneSpec>(spoilt, &path);
                check(read.err().map(|error| error.to_string()));
            }
        }
    }
}

/// Lengths that are numbers of their own, at a value that only a slip of the pen gives.
#[test]
fn lengths_of_a_slip_of_the_pen_are_refused() {
    let shapes = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenes/shapes.yaml");
    for (set, key) in [
        (
            "objects.0.shape={sphere: {diameter_mm: 1e8}}",
            "objects[0].shape",
        ),
        (
            "objects.0.shape={box: {size_mm: [20, 1e8, 20]}}",
            "objects[0].shape",
        ),
        (
            "objects.0.shape={lathe: {profile_mm: [[0, 0], [5, 1e8], [0, 2e8]]}}",
            "objects[0].shape",
        ),
        (
            "objects.0.shape={extrusion: {outline_mm: [[0, 0], [1e8, 0], [0, 5]], height_mm: 3}}",
            "objects[0].shape",
        ),
        ("placement.area_mm=[300, 1e8]", "placement.area_mm"),
        ("placement.centre_mm=[0, -1e8]", "placement.centre_mm"),
        (
            "placement.keep_out=[{disc: {centre_mm: [1e8, 0], diameter_mm: 5}}]",
            "placement.keep_out[0]",
        ),
        (
            "dressing=[{weight: 1, parts: [{shape: {sphere: {diameter_mm: 9}}, position_mm: [0, 0, 1e8], colour: '#ffffff'}]}]",
            "dressing[0].parts[0].position_mm",
        ),
        ("ground.side_mm=1e8", "ground.side_mm"),
    ] {
        let error = ScenePlan::load(&shapes, &[set.parse().unwrap()]).unwrap_err();
        assert!(error.to_string().contains(&format!("{key}: ")), "{error}");
    }
}
