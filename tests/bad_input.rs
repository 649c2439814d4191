//! Bad data sets and detections get a clear error or a named warning, never a panic.

use std::path::{Path, PathBuf};

use admix::dataset::{Dataset, Depth, read_image};
use admix::evaluation::{Parameters, score_files};
use admix::observer::Silent;
use assert_cmd::Command;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A sound COCO set of one 40 x 30 JPEG, for a test to spoil.
fn sound() -> (TempDir, Value) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("images")).unwrap();
    image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8 * 6, y as u8 * 8, 90]))
        .save(folder.path().join("images/a.jpg"))
        .unwrap();
    let labels = json!({
        "images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 10]}],
        "categories": [{"id": 1, "name": "die"}],
    });
    (folder, labels)
}

fn open(folder: &Path, labels: &Value) -> Result<Dataset, String> {
    open_text(folder, &labels.to_string())
}

fn open_text(folder: &Path, labels: &str) -> Result<Dataset, String> {
    std::fs::write(folder.join("annotations.json"), labels).unwrap();
    Dataset::open(folder).map_err(|error| error.to_string())
}

fn assert_error(spoil: impl Fn(&mut Value), parts: &[&str]) {
    let (folder, mut labels) = sound();
    open(folder.path(), &labels).expect("the set is sound before it is spoilt");
    spoil(&mut labels);
    let message = open(folder.path(), &labels).unwrap_err();
    for part in parts.iter().chain(&["annotations.json"]) {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

fn assert_warning(spoil: impl Fn(&mut Value), part: &str, boxes_left: usize) {
    let (folder, mut labels) = sound();
    spoil(&mut labels);
    let dataset = open(folder.path(), &labels).unwrap();
    let warning = &dataset.warnings[0];
    assert!(warning.kind.contains(part), "{warning}");
    assert!(
        warning.count == 1 && warning.examples[0].contains("annotations.json"),
        "{warning}"
    );
    assert_eq!(dataset.box_count(), boxes_left);
}

#[test]
fn errors_name_the_file_and_the_record() {
    let duplicate = |key: &'static str| {
        move |labels: &mut Value| {
            let first = labels[key][0].clone();
            labels[key].as_array_mut().unwrap().push(first);
        }
    };
    assert_error(duplicate("images"), &["image id 1 stands twice"]);
    assert_error(duplicate("annotations"), &["annotation id 1 stands twice"]);
    assert_error(
        |l| l["annotations"][0]["category_id"] = json!(9),
        &["annotation 1", "category 9"],
    );
    assert_error(
        |l| l["annotations"][0]["image_id"] = json!(9),
        &["annotation 1", "image 9"],
    );
    assert_error(
        |l| l["images"][0]["file_name"] = json!("../a.jpg"),
        &["../a.jpg", "outside"],
    );
    assert_error(
        |l| l["images"][0]["file_name"] = json!("/etc/passwd"),
        &["outside"],
    );
    assert_error(
        |l| l["images"][0]["file_name"] = json!("gone.jpg"),
        &["missing", "gone.jpg"],
    );
    assert_error(
        |l| l["images"][0]["width"] = json!(60_000),
        &["larger than", "60000"],
    );
    assert_error(|l| l["images"][0]["width"] = json!(0), &["without width"]);
    assert_error(
        |l| l["images"][0]["width"] = json!("wide"),
        &["images[0].width", "line 1 column"],
    );
    assert_error(
        |l| l["annotations"][0]["bbox"] = json!([1, 2, null, 4]),
        &["line 1 column"],
    );
    assert_error(
        |l| l["annotations"][0]["bbox"] = json!([1, 2, 3]),
        &["line 1 column"],
    );
    assert_error(
        |l| l["annotations"][0]["iscrowd"] = json!("x"),
        &["iscrowd"],
    );
    assert_error(
        |l| l["categories"] = json!([{"id": 1, "name": "die"}, {"id": 1, "name": "x"}]),
        &["category id 1"],
    );
    let message = {
        let (folder, mut labels) = sound();
        labels["categories"] = json!([{"id": 1, "name": "die"}, {"id": 2, "name": ""}]);
        open(folder.path(), &labels).unwrap_err()
    };
    assert!(message.contains("categories: a class has an empty name"));
}

#[test]
fn malformed_json_is_placed() {
    let (folder, _) = sound();
    for (text, place) in [
        ("{\n \"images\": [,\n", "line 2 column"),
        ("", "line 1 column 0"),
        (
            "{\"images\": [], \"categories\": []} trailing",
            "line 1 column",
        ),
        (
            "{\"images\": [], \"categories\": [], \"annotations\": [{\"id\": 1e999}]}",
            "line 1 column",
        ),
    ] {
        let message = open_text(folder.path(), text).unwrap_err();
        assert!(message.contains(place), "{message}");
    }
}

#[test]
fn what_can_be_mended_is_a_counted_warning() {
    let set_box =
        |numbers: Value| move |l: &mut Value| l["annotations"][0]["bbox"] = numbers.clone();
    assert_warning(set_box(json!([1, 2, -5, 4])), "no or negative size", 0);
    assert_warning(set_box(json!([100, 2, 5, 4])), "outside its image", 0);
    assert_warning(set_box(json!([30, 2, 25, 4])), "cut at the edge", 1);
    assert_warning(
        |l| {
            let gone = json!({"id": 2, "file_name": "gone.jpg", "width": 40, "height": 30});
            l["images"].as_array_mut().unwrap().push(gone);
        },
        "missing",
        1,
    );
    assert_warning(
        |l| {
            l["images"] = json!([]);
            l["annotations"] = json!([]);
        },
        "without images",
        0,
    );
}

const YOLO_LINE: &str = "0 0.5 0.5 0.2 0.2\n";
const VOC_DIE: &str = "<object><name>die</name><bndbox><xmin>1</xmin><ymin>1</ymin>\
    <xmax>10</xmax><ymax>10</ymax></bndbox></object>";

/// A sound YOLO set of two images, of which a test spoils the first.
fn sound_yolo() -> TempDir {
    let (folder, _) = sound();
    let path = |name: &str| folder.path().join(name);
    std::fs::copy(path("images/a.jpg"), path("images/b.jpg")).unwrap();
    std::fs::create_dir(path("labels")).unwrap();
    for name in ["a", "b"] {
        std::fs::write(path(&format!("labels/{name}.txt")), YOLO_LINE).unwrap();
    }
    let yaml = "train: images\nval: images\nnames: [die]\n";
    std::fs::write(path("data.yaml"), yaml).unwrap();
    folder
}

/// A sound VOC set of two images, of which a test spoils the first.
fn sound_voc() -> TempDir {
    let (folder, _) = sound();
    let path = |name: &str| folder.path().join(name);
    std::fs::rename(path("images"), path("JPEGImages")).unwrap();
    std::fs::copy(path("JPEGImages/a.jpg"), path("JPEGImages/b.jpg")).unwrap();
    std::fs::create_dir(path("Annotations")).unwrap();
    for name in ["a", "b"] {
        let xml = path(&format!("Annotations/{name}.xml"));
        std::fs::write(xml, voc_xml(VOC_DIE)).unwrap();
    }
    folder
}

fn voc_xml(objects: &str) -> String {
    format!(
        "<annotation>\n<size><width>40</width><height>30</height></size>\n{objects}\n</annotation>"
    )
}

/// Opens a set in which `file` holds `bytes` instead, or is gone.
fn open_spoilt(folder: &TempDir, file: &str, bytes: Option<&[u8]>) -> Result<Dataset, String> {
    let path = folder.path().join(file);
    match bytes {
        Some(bytes) => std::fs::write(path, bytes).unwrap(),
        None => std::fs::remove_file(path).unwrap(),
    }
    Dataset::open(folder.path()).map_err(|error| error.to_string())
}

fn assert_one_warning(dataset: &Dataset, kind: &str, place: &str) {
    let [warning] = dataset.warnings.as_slice() else {
        panic!("{kind}: {:?}", dataset.warnings);
    };
    assert!(warning.kind.contains(kind), "{warning}");
    assert!(
        warning.count == 1 && warning.examples[0].contains(place),
        "{warning}"
    );
}

#[test]
fn faults_of_yolo_are_named_errors_or_counted_warnings() {
    assert!(open_spoilt(&sound_yolo(), "labels/a.txt", Some(b"")).is_ok());
    for (line, part) in [
        ("3 0.5 0.5 0.2 0.2", "a.txt: line 2: class 3"),
        ("die 0.5 0.5 0.2 0.2", "a.txt: line 2: `die`"),
        ("0 0.5 0.5", "a.txt: line 2: 2 numbers"),
    ] {
        let text = format!("{YOLO_LINE}{line}\n");
        let message =
            open_spoilt(&sound_yolo(), "labels/a.txt", Some(text.as_bytes())).unwrap_err();
        assert!(message.contains(part), "{message}");
    }
    for (line, kind) in [
        ("0 5 5 0.1 0.1", "outside its image"),
        ("0 0.5 0.5 0 0", "no or negative size"),
        ("0 nan 0.5 0.2 0.2", "not finite"),
        ("0 1e308 1e308 1e308 1e308", "not finite"),
    ] {
        let dataset = open_spoilt(&sound_yolo(), "labels/a.txt", Some(line.as_bytes())).unwrap();
        assert_one_warning(&dataset, kind, "a.txt line 1");
        assert_eq!(dataset.box_count(), 1, "{line}");
    }
    for bytes in [None, Some(&b"no image"[..]), Some(&huge_bmp())] {
        let dataset = open_spoilt(&sound_yolo(), "images/a.jpg", bytes).unwrap();
        let kind = match bytes {
            None => "label file whose image is missing",
            Some(_) => "image cannot be read: left out",
        };
        assert_one_warning(&dataset, kind, "/a.");
        assert_eq!(dataset.samples.len(), 1);
    }
    for (yaml, part) in [
        ("train: images\nnames: [die\n", "data.yaml:3:1"),
        ("train: gone\nnames: [die]\n", "`gone` is not there"),
        ("train: images\nnames: [die, die]\n", "two classes"),
        ("train: images\nnames: ['']\n", "empty name"),
    ] {
        let message = open_spoilt(&sound_yolo(), "data.yaml", Some(yaml.as_bytes())).unwrap_err();
        assert!(
            message.contains(part) && message.contains("data.yaml"),
            "{message}"
        );
    }
    // Class numbers need not follow on each other.
    let yaml = b"train: images\nnames: {0: die, 70: coin}\n";
    let dataset = open_spoilt(&sound_yolo(), "data.yaml", Some(yaml)).unwrap();
    assert_eq!(dataset.categories[1].id, 71);
    // Some editors begin a file with a byte order mark.
    let marked = format!("\u{feff}{YOLO_LINE}");
    let dataset = open_spoilt(&sound_yolo(), "labels/a.txt", Some(marked.as_bytes())).unwrap();
    assert_eq!(dataset.box_count(), 2);
}

#[test]
fn faults_of_voc_are_named_errors_or_counted_warnings() {
    let spoilt = |objects: &str| {
        let xml = voc_xml(objects);
        open_spoilt(&sound_voc(), "Annotations/a.xml", Some(xml.as_bytes()))
    };
    assert_eq!(spoilt(VOC_DIE).unwrap().box_count(), 2);
    for (from, to, kind) in [
        ("<xmax>10<", "<xmax>NaN<", "not finite"),
        ("<xmax>10<", "<xmax>0<", "no or negative size"),
        ("<xmin>1<", "<xmin>90<", "no or negative size"),
        (
            "<xmin>1</xmin><ymin>1</ymin><xmax>10<",
            "<xmin>50</xmin><ymin>1</ymin><xmax>60<",
            "outside its image",
        ),
    ] {
        let objects = VOC_DIE.replace(from, to);
        assert_ne!(objects, VOC_DIE);
        let dataset = spoilt(&objects).unwrap();
        assert_one_warning(&dataset, kind, "a.xml object 1");
        assert_eq!(dataset.box_count(), 1);
    }
    for (from, to, part) in [
        ("<xmax>10<", "<xmax>ten<", "object[1].bndbox.xmax"),
        ("<name>die<", "<name> <", "empty name"),
        ("</name>", "</nam>", "a.xml: line 3"),
    ] {
        let objects = format!("{VOC_DIE}{}", VOC_DIE.replace(from, to));
        let message = spoilt(&objects).unwrap_err();
        assert!(
            message.contains(part) && message.contains("Annotations"),
            "{message}"
        );
    }
    for (text, part) in [("", "a.xml"), ("<html/>", "<html>"), ("no xml", "a.xml")] {
        let message =
            open_spoilt(&sound_voc(), "Annotations/a.xml", Some(text.as_bytes())).unwrap_err();
        assert!(message.contains(part), "{message}");
    }
    let dataset = open_spoilt(&sound_voc(), "JPEGImages/a.jpg", None).unwrap();
    assert_one_warning(&dataset, "image file is missing", "a.xml");
    let huge = voc_xml(VOC_DIE).replace("<width>40<", "<width>60000<");
    let dataset = open_spoilt(&sound_voc(), "Annotations/a.xml", Some(huge.as_bytes())).unwrap();
    assert_one_warning(&dataset, "larger than", "a.xml: 60000 x 30");
}

#[cfg(unix)]
#[test]
fn names_that_are_not_utf8_are_left_out_or_refused() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let odd = |folder: &Path, ending: &str| {
        let name = [b"\xff".as_slice(), ending.as_bytes()].concat();
        folder.join(OsStr::from_bytes(&name))
    };
    for (folder, from, ending) in [
        (sound_yolo(), "images", ".jpg"),
        (sound_voc(), "Annotations", ".xml"),
    ] {
        let from = folder.path().join(from);
        std::fs::copy(from.join(format!("a{ending}")), odd(&from, ending)).unwrap();
        let dataset = Dataset::open(folder.path()).unwrap();
        assert_one_warning(&dataset, "not UTF-8", ending);
        assert_eq!(dataset.samples.len(), 2);
    }
    let (folder, labels) = sound();
    let set = odd(folder.path(), "set");
    std::fs::create_dir_all(set.join("images")).unwrap();
    std::fs::copy(folder.path().join("images/a.jpg"), set.join("images/a.jpg")).unwrap();
    std::fs::write(set.join("annotations.json"), labels.to_string()).unwrap();
    let output = Command::cargo_bin("admix")
        .unwrap()
        .current_dir(folder.path())
        .args([OsStr::new("convert"), set.as_os_str(), OsStr::new("out")])
        .args(["--to", "yolo"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(2) && text.contains("not UTF-8"),
        "{text}"
    );
}

#[test]
fn coco_with_gaps_a_byte_order_mark_or_detections() {
    let (folder, mut labels) = sound();
    labels["categories"] = json!([{"id": 90, "name": "z"}, {"id": 1, "name": "die"}]);
    let dataset = open_text(folder.path(), &format!("\u{feff}{labels}")).unwrap();
    let ids: Vec<u32> = dataset.categories.iter().map(|c| c.id).collect();
    assert_eq!((ids, dataset.box_count()), (vec![1, 90], 1));
    let message = open_text(folder.path(), "[{\"image_id\": 1}]").unwrap_err();
    assert!(message.contains("as detections are"), "{message}");
    std::fs::write(folder.path().join("manifest.jsonl"), "\n{\"id\": 1,,}\n").unwrap();
    let message = open(folder.path(), &labels).unwrap_err();
    assert!(
        message.contains("manifest.jsonl: line 2: column 10: "),
        "{message}"
    );
}

/// A BMP header that claims 60,000 x 60,000 pixels.
fn huge_bmp() -> Vec<u8> {
    let mut bytes = b"BM".to_vec();
    bytes.extend([0; 8]);
    bytes.extend(54_u32.to_le_bytes());
    bytes.extend(40_u32.to_le_bytes());
    bytes.extend(60_000_u32.to_le_bytes());
    bytes.extend(60_000_u32.to_le_bytes());
    bytes.extend([1, 0, 24, 0]);
    bytes.extend([0; 24]);
    bytes
}

#[test]
fn bad_image_files_are_found_and_never_decoded_into_memory() {
    let (folder, labels) = sound();
    let image = folder.path().join("images/a.jpg");
    let whole = std::fs::read(&image).unwrap();
    for (bytes, depth, part) in [
        (
            whole[..whole.len() / 2].to_vec(),
            Depth::Pixels,
            "cannot be read",
        ),
        (whole[..10].to_vec(), Depth::Header, "cannot be read"),
        (Vec::new(), Depth::Header, "cannot be read"),
        (b"no image at all".to_vec(), Depth::Header, "cannot be read"),
        (huge_bmp(), Depth::Header, "cannot be read"),
        (huge_bmp(), Depth::Pixels, "cannot be read"),
    ] {
        std::fs::write(&image, &bytes).unwrap();
        let dataset = open(folder.path(), &labels).unwrap();
        let warnings = dataset.verify_images(depth, 2, &Silent).unwrap();
        assert_eq!(warnings.len(), 1, "{} bytes at {depth:?}", bytes.len());
        assert!(warnings[0].kind.contains(part) && warnings[0].examples[0].contains("a.jpg"));
        assert!(read_image(&image).is_err());
    }
    std::fs::write(&image, &whole).unwrap();
    let mut labels = labels;
    labels["images"][0]["width"] = json!(41);
    let dataset = open(folder.path(), &labels).unwrap();
    let warnings = dataset.verify_images(Depth::Header, 1, &Silent).unwrap();
    assert!(warnings[0].examples[0].contains("40 x 30 instead of 41 x 30"));
}

#[test]
fn what_is_no_data_set_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let message = Dataset::open(folder.path()).unwrap_err().to_string();
    assert!(
        message.contains("YOLO") && message.contains("COCO"),
        "{message}"
    );
    let message = Dataset::open(&folder.path().join("gone"))
        .unwrap_err()
        .to_string();
    assert!(message.contains("no such folder"), "{message}");
}

fn score_error(ground_truth: &Value, detections: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    std::fs::write(path("gt.json"), ground_truth.to_string()).unwrap();
    std::fs::write(path("dt.json"), detections).unwrap();
    score_files(&path("gt.json"), &path("dt.json"), Parameters::default())
        .unwrap_err()
        .to_string()
}

#[test]
fn bad_detections_are_placed() {
    let (_folder, labels) = sound();
    for (detections, part) in [
        (
            "[{\"image_id\": 1, \"category_id\": 1, \"bbox\": [1, 2, 3], \"score\": 1}]",
            "[0].bbox",
        ),
        (
            "[{\"image_id\": 1, \"category_id\": 1, \"bbox\": [1, 2, 3, 4]}]",
            "missing field `score`",
        ),
        (
            "[{\"image_id\": 7, \"category_id\": 1, \"bbox\": [1, 2, 3, 4], \"score\": 1}]",
            "image 7",
        ),
        (
            "[{\"image_id\": 1, \"category_id\": 1, \"bbox\": [NaN, 2, 3, 4], \"score\": 1}]",
            "line 1 column",
        ),
        ("{}", "a list of detections"),
        ("[", "line 1 column 1"),
        ("[] []", "nothing after it"),
    ] {
        let message = score_error(&labels, detections);
        assert!(
            message.contains("dt.json") && message.contains(part),
            "{message}"
        );
    }
    let mut twice = labels.clone();
    twice["images"]
        .as_array_mut()
        .unwrap()
        .push(json!({"id": 1}));
    assert!(score_error(&twice, "[]").contains("gt.json: image id 1 stands twice"));
}

#[test]
fn the_program_ends_with_2_and_says_why() {
    let (folder, labels) = sound();
    std::fs::write(folder.path().join("annotations.json"), labels.to_string()).unwrap();
    let out = folder.path().join("out");
    let run = |arguments: &[&str]| {
        let (code, _, text) = admix(folder.path(), arguments);
        (code, text)
    };
    let (code, text) = run(&["score", "annotations.json", "gone.json"]);
    assert!(
        code == Some(2) && text.contains("gone.json"),
        "{code:?} {text}"
    );
    let (code, text) = run(&["convert", "gone", "out", "--to", "yolo"]);
    assert!(code == Some(2) && text.contains("gone"), "{code:?} {text}");
    let (code, text) = run(&["convert", ".", "out", "--to", "yolo", "--split", "test"]);
    assert!(
        code == Some(2) && text.contains("split test"),
        "{code:?} {text}"
    );
    assert!(!out.exists());
    let (code, text) = run(&["convert", ".", "out", "--to", "yolo"]);
    assert!(
        code == Some(0) && out.join("data.yaml").is_file(),
        "{code:?} {text}"
    );
    let (code, text) = run(&["convert", ".", "out", "--to", "voc"]);
    assert!(
        code == Some(2) && text.contains("exists"),
        "{code:?} {text}"
    );
}

/// The program's exit code, standard output and standard error, run in `folder`.
fn admix(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::cargo_bin("admix")
        .unwrap()
        .current_dir(folder)
        // No driver file is there, so that no adapter answers.
        .envs(["VK_DRIVER_FILES", "VK_ICD_FILENAMES"].map(|name| (name, "/nonexistent")))
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn without_an_adapter_the_remedy_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let scene = concat!(env!("CARGO_MANIFEST_DIR"), "/scenes/dice.yaml");
    for arguments in [
        &["generate", scene, "-n", "1", "-o", "out"][..],
        &["preview", scene, "-o", "out.png"],
        &["bench", "render", scene, "-n", "1"],
    ] {
        let (code, _, text) = admix(folder.path(), arguments);
        assert_eq!(code, Some(1), "{text}");
        assert!(
            text.contains("no Vulkan adapter") && text.contains("make vulkan"),
            "{text}"
        );
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let (code, text, _) = admix(folder.path(), &["doctor"]);
    assert!(
        code == Some(0) && text.contains("rendering cannot run"),
        "{text}"
    );
    let (_, text, _) = admix(folder.path(), &["doctor", "--json"]);
    let result: Value = serde_json::from_str(&text).unwrap();
    assert!(result["adapter"].is_null(), "{result}");
    assert!(result["problem"].as_str().unwrap().contains("make vulkan"));
}

#[test]
fn real_images_that_cannot_be_compared_with_are_told_before_rendering() {
    let (folder, labels) = sound();
    std::fs::write(folder.path().join("annotations.json"), labels.to_string()).unwrap();
    let empty = json!({"images": [], "annotations": [], "categories": []});
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    let file = folder.path().join("empty/annotations.json");
    std::fs::write(file, empty.to_string()).unwrap();
    let scene = concat!(env!("CARGO_MANIFEST_DIR"), "/scenes/dice.yaml");
    for (options, part) in [
        (&["--like", "gone"][..], "there is no such folder"),
        (&["--like", "empty"], "no usable images"),
        (&["--like", ".", "--like-split", "test"], "has no splits"),
        (&["--like", ".", "--like-split", "tset"], "is not a split"),
        (&["--like-split", "train"], "--like <DATASET>"),
    ] {
        let generate = ["generate", scene, "-n", "1", "-o", "out", "--dry-run"];
        for arguments in [&generate[..6], &generate[..]] {
            let (code, _, text) = admix(folder.path(), &[arguments, options].concat());
            assert!(code == Some(2) && text.contains(part), "{code:?} {text}");
        }
    }
    assert!(!folder.path().join("out").exists());
}

#[test]
fn a_missing_file_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, text) = admix(
        folder.path(),
        &["generate", "gone.yaml", "-n", "1", "-o", "out"],
    );
    assert_eq!(code, Some(2), "{text}");
    assert_eq!(text.matches("os error 2").count(), 1, "{text}");
}

#[test]
fn arguments_out_of_range_are_refused() {
    let (folder, labels) = sound();
    std::fs::write(folder.path().join("annotations.json"), labels.to_string()).unwrap();
    let scene = concat!(env!("CARGO_MANIFEST_DIR"), "/scenes/dice.yaml");
    let image = "images/a.jpg";
    for (arguments, part) in [
        (&["generate", scene, "-n", "0", "-o", "out"][..], "1.."),
        (&["preview", scene, "-n", "0", "-o", "out.png"], "1.."),
        (&["preview", ".", "-o", "out.jpg"], "a PNG file"),
        (
            &["preview", ".", "-o", "o.png", "--set", "a=1"],
            "reads no YAML",
        ),
        (&["doctor", "--set", "a=1"], "reads no YAML"),
        (&["audit", "gone"], "there is no such folder"),
        (&["audit", ".", "--fail-at", "2"], "not between 0 and 1"),
        (&["audit", ".", "--split", "val"], "no usable images"),
        (&["audit", ".", "--against", "."], "--out"),
        (
            &[
                "predict", "--model", "m", image, "-o", "out", "--set", "a=1",
            ],
            "reads no YAML",
        ),
        (
            &[
                "predict",
                "--model",
                "m",
                image,
                "-o",
                "out",
                "--min-score",
                "7",
            ],
            "0 to 1",
        ),
    ] {
        let (code, _, text) = admix(folder.path(), arguments);
        assert!(code == Some(2) && text.contains(part), "{code:?} {text}");
    }
    let (code, _, text) = admix(folder.path(), &["preview", ".", "-o", "new/sheet.png"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(
        read_image(&folder.path().join("new/sheet.png"))
            .unwrap()
            .height(),
        240
    );
}

#[test]
fn an_audit_tells_its_findings_and_fails_where_asked() {
    let (folder, mut labels) = sound();
    let write = |labels: &Value| {
        std::fs::write(folder.path().join("annotations.json"), labels.to_string()).unwrap();
    };
    let twice = json!({"id": 2, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 10.4]});
    labels["annotations"].as_array_mut().unwrap().push(twice);
    let gone = json!({"id": 2, "file_name": "gone.jpg", "width": 40, "height": 30});
    labels["images"].as_array_mut().unwrap().push(gone);
    write(&labels);
    let asked = ["audit", ".", "-o", "audited", "--json", "--fail-at", "0.9"];
    let (code, text, error) = admix(folder.path(), &asked);
    assert_eq!(code, Some(1), "{error}");
    assert!(
        error.contains("2 findings are as severe as 0.9 or more"),
        "{error}"
    );
    let told: Value = serde_json::from_str(&text).unwrap();
    let issue = |index: usize| {
        told["findings"][index]["issue"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!([issue(0), issue(1)], ["duplicate_box", "unusable_label"]);
    let written = std::fs::read(folder.path().join("audited/audit.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), told);
    let page = std::fs::read_to_string(folder.path().join("audited/audit.html")).unwrap();
    assert!(page.contains("One object boxed twice") && page.contains("gone.jpg"));
    let (code, text, error) = admix(folder.path(), &["audit", "."]);
    assert_eq!(code, Some(0), "{error}");
    assert!(text.contains("such as a.jpg: die: IoU 0.96"), "{text}");
}

/// A pool that nothing can be made of would cost its rendering; without an adapter the
/// order of the checks shows.
#[test]
fn an_experiment_checks_the_real_data_before_it_renders() {
    let folder = tempfile::tempdir().unwrap();
    let root = env!("CARGO_MANIFEST_DIR");
    let preset = format!("{root}/presets/demo.yaml");
    let scene = format!("synthetic.scene.file={root}/scenes/dice.yaml");
    let real = format!("real={root}/samples/dice");
    let run = |real: &str, total: &str| {
        let arguments = ["experiment", &preset, "-o", "out", "--set", &scene];
        let arguments = [&arguments[..], &["--set", real, "--set", total]].concat();
        admix(folder.path(), &arguments)
    };
    for (real, total, part) in [
        ("real=gone", "arms.substitution.total=24", "gone"),
        (
            &real,
            "arms.substitution.total=9000",
            "the largest trial needs 9000",
        ),
    ] {
        let (code, _, text) = run(real, total);
        assert!(code == Some(2) && text.contains(part), "{code:?} {text}");
        assert!(!folder.path().join("out").exists(), "nothing is rendered");
    }
    let (code, _, text) = run(&real, "arms.substitution.total=24");
    assert!(code == Some(1) && text.contains("make vulkan"), "{text}");
}

#[test]
fn a_reader_that_leaves_early_causes_no_panic() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_admix"))
        .args([
            "generate",
            "scenes/dice.yaml",
            "-n",
            "1",
            "-o",
            "unused",
            "--dry-run",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdout(writer)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.is_empty(), "{said}");
    assert!(!output.status.success(), "it was cut off");
}
