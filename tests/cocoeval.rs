//! COCO metrics equal pycocotools 2.0.11 on the cases in `cocoeval_cases/`, each of
//! which says in `why` what it probes. Two cases differ on purpose; their values are
//! pinned too, so that a change shows.

use std::path::{Path, PathBuf};

use admix::evaluation::{Evaluation, Parameters, score_files};
use serde_json::Value;

const TOLERANCE: f64 = 1e-9;

/// Cases where admix departs from pycocotools, as `docs/evaluation.md` explains.
const DEVIATING: [&str; 2] = ["annotation_id_zero", "params_maxdets_300"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cocoeval_cases")
}

fn case_names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn run(name: &str) -> (Evaluation, Value) {
    let case = folder().join(name);
    let expected: Value =
        serde_json::from_slice(&std::fs::read(case.join("expected.json")).unwrap()).unwrap();
    let mut parameters = Parameters::default();
    for (key, value) in expected["params"].as_object().unwrap() {
        match key.as_str() {
            "useCats" => parameters.class_agnostic = value == 0,
            "maxDets" => {
                parameters.max_dets = serde_json::from_value(value.clone()).unwrap();
            }
            other => panic!("{name}: parameter {other} is not known to this test"),
        }
    }
    let evaluation = score_files(&case.join("gt.json"), &case.join("dt.json"), parameters).unwrap();
    (evaluation, expected)
}

/// Every number of `expected` that `evaluation` does not equal, by name.
fn differences(evaluation: &Evaluation, stats: &Value, per_class: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut compare = |name: String, ours: f64, theirs: &Value| {
        let theirs = theirs.as_f64().unwrap();
        if (ours - theirs).abs() > TOLERANCE {
            wrong.push(format!("{name}: {ours} instead of {theirs}"));
        }
    };
    let expected = stats.as_array().unwrap();
    assert_eq!(expected.len(), 12);
    for (index, theirs) in expected.iter().enumerate() {
        compare(
            admix::evaluation::STAT_NAMES[index].to_owned(),
            evaluation.stats[index],
            theirs,
        );
    }
    let per_class = per_class.as_object().unwrap();
    assert_eq!(per_class.len(), evaluation.per_category.len());
    for (id, theirs) in per_class {
        let name = if id == "-1" {
            "all".to_owned()
        } else {
            format!("c{id}")
        };
        let ours = serde_json::to_value(evaluation.per_category[&name]).unwrap();
        for (key, theirs) in theirs.as_object().unwrap() {
            compare(format!("{name} {key}"), ours[key].as_f64().unwrap(), theirs);
        }
    }
    wrong
}

#[test]
fn thirty_cases_equal_pycocotools() {
    let names = case_names();
    assert_eq!(names.len(), 32);
    let mut wrong = Vec::new();
    for name in names
        .iter()
        .filter(|name| !DEVIATING.contains(&name.as_str()))
    {
        let (evaluation, expected) = run(name);
        for difference in differences(&evaluation, &expected["stats"], &expected["per_class"]) {
            wrong.push(format!("{name}: {difference}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn an_object_with_identifier_zero_is_found_like_any_other() {
    let (evaluation, expected) = run("annotation_id_zero");
    assert!(!differences(&evaluation, &expected["stats"], &expected["per_class"]).is_empty());
    let fixed = &expected["id_zero_fixed"];
    let wrong = differences(&evaluation, &fixed["stats"], &fixed["per_class"]);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn average_precision_is_defined_for_other_numbers_of_detections() {
    let (evaluation, expected) = run("params_maxdets_300");
    assert_eq!(
        expected["stats"][0], -1.0,
        "pycocotools leaves it undefined"
    );
    // All else equals pycocotools, and AP is what its own curves give for the class.
    let mut stats = expected["stats"].clone();
    stats[0] = expected["per_class"]["1"]["AP"].clone();
    let wrong = differences(&evaluation, &stats, &expected["per_class"]);
    assert!(wrong.is_empty(), "{wrong:#?}");
}
