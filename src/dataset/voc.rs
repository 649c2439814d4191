//! Reads Pascal VOC: `JPEGImages/`, `Annotations/*.xml` and `ImageSets/Main/*.txt`.
//!
//! Corners in the files are pixel indices that count from 1 and belong to the box
//! (VOC2012 development kit, section 4.1), so the box is `xmin - 1 .. xmax`.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::decode::image_size;
use super::intake::{
    IMAGE_ENDINGS, Numbering, box_in_image, fault_of_names, files_below, keep_utf8_names,
    name_below, read_text, relative_or_error, size_is_usable,
};
use super::{Dataset, DatasetError, Split, Warnings};
use crate::annotation::{Annotation, BoundingBox, Category};

#[derive(Deserialize)]
struct Xml {
    filename: Option<String>,
    size: Option<Size>,
    #[serde(default)]
    object: Vec<Object>,
}

#[derive(Deserialize)]
struct Size {
    width: u32,
    height: u32,
}

#[derive(Deserialize)]
struct Object {
    name: String,
    #[serde(default)]
    difficult: u8,
    bndbox: Corners,
}

#[derive(Deserialize)]
struct Corners {
    xmin: f64,
    ymin: f64,
    xmax: f64,
    ymax: f64,
}

/// Class names in their order, for classes without objects and a fixed numbering.
pub(super) const LABELS_FILE: &str = "labels.txt";

/// Whether the folder holds VOC label files.
pub(super) fn is_here(root: &Path) -> bool {
    let is_xml = |entry: std::fs::DirEntry| entry.path().extension().is_some_and(|e| e == "xml");
    std::fs::read_dir(root.join("Annotations")).is_ok_and(|entries| entries.flatten().any(is_xml))
}

pub(super) fn open(root: &Path) -> Result<Dataset, DatasetError> {
    let folder = root.join("Annotations");
    let mut warnings = Warnings::default();
    let splits = splits(root, &mut warnings)?;
    let mut numbering = Numbering::new(root)?;
    let mut files = Vec::new();
    let mut paths = files_below(&folder)?;
    keep_utf8_names(&mut paths, &folder, &mut warnings);
    for path in paths {
        if path.extension().is_some_and(|ending| ending == "xml") {
            let xml = parse(&path)?;
            files.push((path, xml));
        }
    }
    let categories = categories(root, &files)?;
    if let Some(fault) = fault_of_names(categories.iter().map(|c| &c.name)) {
        return Err(DatasetError::Format {
            path: folder,
            message: fault,
        });
    }
    let ids: HashMap<&str, u32> = categories.iter().map(|c| (c.name.as_str(), c.id)).collect();
    for (order, (path, xml)) in (1_u64..).zip(files) {
        let stem = name_below(&path.with_extension(""), &folder);
        let Some((image, size)) = image_of(root, &path, &stem, &xml, &mut warnings)? else {
            continue;
        };
        let file_name = name_below(&image, &root.join("JPEGImages"));
        let mut annotations = Vec::new();
        for (number, object) in xml.object.into_iter().enumerate() {
            let place = format!("{} object {}", path.display(), number + 1);
            let c = object.bndbox;
            let bbox = BoundingBox::from_corners(c.xmin - 1.0, c.ymin - 1.0, c.xmax, c.ymax);
            let Some(bbox) = box_in_image(bbox, size, &place, &mut warnings) else {
                continue;
            };
            let mut extra = Map::new();
            if object.difficult != 0 {
                extra.insert("difficult".to_owned(), Value::from(1));
            }
            annotations.push(Annotation {
                id: 0,
                category_id: ids[object.name.as_str()],
                bbox,
                area: bbox.area(),
                // VOC leaves difficult objects out of its evaluation, as COCO does crowds.
                is_crowd: object.difficult != 0,
                extra,
            });
        }
        let split = splits.get(&stem).copied();
        numbering.add(order, image, file_name, size, split, annotations)?;
    }
    Ok(Dataset {
        root: root.to_owned(),
        categories,
        samples: numbering.into_samples(),
        warnings: warnings.into_vec(),
    })
}

/// The split of each image, from the lists that name a split. `trainval.txt` and the
/// lists of one class say nothing more and are not read.
fn splits(root: &Path, warnings: &mut Warnings) -> Result<HashMap<String, Split>, DatasetError> {
    let mut splits = HashMap::new();
    for split in Split::ALL {
        let path = root.join("ImageSets/Main").join(format!("{split}.txt"));
        if !path.is_file() {
            continue;
        }
        for stem in read_text(&path)?.lines().map(str::trim) {
            if stem.is_empty() {
                continue;
            }
            if let Some(other) = splits.insert(stem.to_owned(), split)
                && other != split
            {
                let kind = "image stands in several splits: the last of train, val, test taken";
                warnings.add(kind, format!("{} {stem}", path.display()));
            }
        }
    }
    Ok(splits)
}

fn categories(root: &Path, files: &[(PathBuf, Xml)]) -> Result<Vec<Category>, DatasetError> {
    let path = root.join(LABELS_FILE);
    let mut names: Vec<String> = Vec::new();
    if path.is_file() {
        for line in read_text(&path)?.lines().map(str::trim) {
            if !line.is_empty() && !names.iter().any(|name| name == line) {
                names.push(line.to_owned());
            }
        }
    }
    let met: BTreeSet<&str> = files
        .iter()
        .flat_map(|(_, xml)| xml.object.iter().map(|object| object.name.as_str()))
        .collect();
    let listed = names.len();
    for name in met {
        if !names[..listed].iter().any(|other| other == name) {
            names.push(name.to_owned());
        }
    }
    let category = |(id, name)| Category {
        id,
        name,
        ..Category::default()
    };
    Ok((1..).zip(names).map(category).collect())
}

/// Path of an image and its width and height in pixels.
type SizedImage = (PathBuf, (u32, u32));

/// Path and size of the image of a label file, or `None` where it is left out.
fn image_of(
    root: &Path,
    path: &Path,
    stem: &str,
    xml: &Xml,
    warnings: &mut Warnings,
) -> Result<Option<SizedImage>, DatasetError> {
    let folder = root.join("JPEGImages");
    let named = match xml.filename.as_deref().map(str::trim) {
        Some(name) if !name.is_empty() => Some(folder.join(relative_or_error(name, path)?)),
        _ => None,
    };
    let by_stem = IMAGE_ENDINGS
        .iter()
        .map(|ending| folder.join(format!("{stem}.{ending}")));
    let place = path.display().to_string();
    let Some(image) = by_stem.chain(named).find(|image| image.is_file()) else {
        warnings.add("image file is missing: left out", place);
        return Ok(None);
    };
    let size = match &xml.size {
        Some(size) if size.width > 0 && size.height > 0 => (size.width, size.height),
        // Some tools write 0 x 0 for a size that they did not know.
        _ => match image_size(&image) {
            Ok(size) => size,
            Err(error) => {
                warnings.add("image cannot be read: left out", error.to_string());
                return Ok(None);
            }
        },
    };
    Ok(size_is_usable(size, &place, warnings).then_some((image, size)))
}

fn parse(path: &Path) -> Result<Xml, DatasetError> {
    let text = read_text(path)?;
    let fail = |message: String| DatasetError::Format {
        path: path.to_owned(),
        message,
    };
    let expected = "<annotation> with <object><name> and <bndbox> is expected";
    let mut xml = quick_xml::de::Deserializer::from_str(&text);
    let parsed = serde_path_to_error::deserialize(&mut xml).map_err(|error| {
        fail(match syntax_error_line(&text) {
            Some(line) => format!("line {line}: {}", error.inner()),
            None => format!("{}: {}; {expected}", error.path(), error.inner()),
        })
    })?;
    match root_element(&text) {
        Some(name) if name == "annotation" => Ok(parsed),
        Some(name) => Err(fail(format!("the root is <{name}>; {expected}"))),
        None => Err(fail(format!("there is no element; {expected}"))),
    }
}

/// The name of the outermost element, which the deserialiser does not look at.
fn root_element(text: &str) -> Option<String> {
    let mut reader = quick_xml::Reader::from_str(text);
    loop {
        match reader.read_event().ok()? {
            quick_xml::events::Event::Start(tag) | quick_xml::events::Event::Empty(tag) => {
                return Some(String::from_utf8_lossy(tag.name().as_ref()).into_owned());
            }
            quick_xml::events::Event::Eof => return None,
            _ => {}
        }
    }
}

/// The line of the first error of syntax, which the deserialiser does not tell.
fn syntax_error_line(text: &str) -> Option<usize> {
    let mut reader = quick_xml::Reader::from_str(text);
    loop {
        match reader.read_event() {
            Ok(quick_xml::events::Event::Eof) => return None,
            Ok(_) => {}
            Err(_) => {
                let end = usize::try_from(reader.error_position())
                    .ok()?
                    .min(text.len());
                let before = &text.as_bytes()[..end];
                return Some(1 + before.iter().filter(|&&byte| byte == b'\n').count());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(root: &Path, objects: &str) {
        for folder in ["JPEGImages", "Annotations", "ImageSets/Main"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        image::RgbImage::new(20, 10)
            .save(root.join("JPEGImages/a.png"))
            .unwrap();
        std::fs::write(root.join("ImageSets/Main/val.txt"), "a\n").unwrap();
        let xml = format!("<annotation>\n<filename>a.png</filename>\n{objects}\n</annotation>");
        std::fs::write(root.join("Annotations/a.xml"), xml).unwrap();
    }

    const DIE: &str = "<object><name>die</name><difficult>1</difficult>\
        <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>20</xmax><ymax>10</ymax></bndbox></object>";

    #[test]
    fn corners_count_from_one_and_belong_to_the_box() {
        let folder = tempfile::tempdir().unwrap();
        // Further elements may stand between the objects.
        make(
            folder.path(),
            &format!("{DIE}<segmented>0</segmented>{DIE}"),
        );
        let dataset = Dataset::open(folder.path()).unwrap();
        let sample = &dataset.split(Split::Val).samples[0];
        assert_eq!(
            sample.annotations[0].bbox,
            BoundingBox::from([0.0, 0.0, 20.0, 10.0])
        );
        assert_eq!(sample.annotations.len(), 2);
        assert!(sample.annotations[0].is_crowd);
        assert_eq!((sample.width, sample.height), (20, 10));
        assert_eq!(dataset.categories[0].name, "die");
    }

    #[test]
    fn faults_of_xml_name_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), "<object></obj>");
        let message = Dataset::open(folder.path()).unwrap_err().to_string();
        assert!(message.contains("a.xml: line 3"), "{message}");
        make(folder.path(), "<object><name>die</name></object>");
        let message = Dataset::open(folder.path()).unwrap_err().to_string();
        assert!(message.contains("bndbox"), "{message}");
    }
}
