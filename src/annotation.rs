//! What an image is labelled with, and what a detector says about it.

mod outline;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

pub use outline::{Outline, Polygon, numbers};

/// A class of objects. Identifiers are those of the data set's files and need not
/// be contiguous; names are what data sets are joined by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Category {
    pub id: u32,
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub supercategory: String,
    /// Names of the points that `keypoints` of its annotations holds, in their order.
    #[serde(
        default,
        deserialize_with = "lenient",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub keypoints: Vec<String>,
    /// Pairs of keypoints that a line joins, by their number from 1, as in COCO.
    #[serde(
        default,
        deserialize_with = "lenient",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub skeleton: Vec<[u32; 2]>,
}

/// Reads a list, and none where a file of another tool holds something else in its place.
fn lenient<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// An axis-aligned box in pixels of its image: `x` to the right, `y` down, origin
/// at the outer corner of the top left pixel. In files it is COCO's `[x, y, w, h]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 4]", into = "[f64; 4]")]
pub struct BoundingBox {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

impl From<[f64; 4]> for BoundingBox {
    fn from([x, y, width, height]: [f64; 4]) -> Self {
        BoundingBox {
            x,
            y,
            width,
            height,
        }
    }
}

impl From<BoundingBox> for [f64; 4] {
    fn from(b: BoundingBox) -> Self {
        [b.x, b.y, b.width, b.height]
    }
}

impl BoundingBox {
    /// The box with the given corners, in pixels.
    pub fn from_corners(left: f64, top: f64, right: f64, bottom: f64) -> Self {
        BoundingBox {
            x: left,
            y: top,
            width: right - left,
            height: bottom - top,
        }
    }

    pub fn right(&self) -> f64 {
        self.x + self.width
    }

    pub fn bottom(&self) -> f64 {
        self.y + self.height
    }

    /// Area in square pixels; 0 for an empty box.
    pub fn area(&self) -> f64 {
        self.width.max(0.0) * self.height.max(0.0)
    }

    /// The part of the box inside an image of `width` x `height` pixels, or `None`
    /// where nothing is left.
    pub fn clipped_to(&self, width: f64, height: f64) -> Option<Self> {
        let clipped = BoundingBox::from_corners(
            self.x.max(0.0),
            self.y.max(0.0),
            self.right().min(width),
            self.bottom().min(height),
        );
        (clipped.width > 0.0 && clipped.height > 0.0).then_some(clipped)
    }

    /// The smallest box around both.
    pub fn joined(&self, other: &Self) -> Self {
        Self::from_corners(
            self.x.min(other.x),
            self.y.min(other.y),
            self.right().max(other.right()),
            self.bottom().max(other.bottom()),
        )
    }

    /// Intersection over union, in `0..=1`; 0 where both boxes are empty.
    pub fn iou(&self, other: &Self) -> f64 {
        let width = self.right().min(other.right()) - self.x.max(other.x);
        let height = self.bottom().min(other.bottom()) - self.y.max(other.y);
        let intersection = width.max(0.0) * height.max(0.0);
        let union = self.area() + other.area() - intersection;
        if union > 0.0 {
            intersection / union
        } else {
            0.0
        }
    }
}

/// One labelled object of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Annotation {
    /// Identifier in the data set's file, unique there.
    pub id: u64,
    pub category_id: u32,
    pub bbox: BoundingBox,
    /// Area in square pixels; that of the mask where there is one.
    pub area: f64,
    /// A region of many objects, which evaluation neither rewards nor punishes.
    pub is_crowd: bool,
    /// Further keys of the record, kept as they were read (segmentation,
    /// visible fraction, pose), so that nothing is lost on the way through.
    pub extra: serde_json::Map<String, serde_json::Value>,
}

/// One object that a detector found. `image_id` and `category_id` are those of the
/// data set that was predicted on, as in COCO's results format.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    pub image_id: u64,
    pub category_id: u32,
    pub bbox: BoundingBox,
    /// Confidence in `0..=1`.
    pub score: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iou_of_known_boxes() {
        let a = BoundingBox::from([0.0, 0.0, 2.0, 2.0]);
        let b = BoundingBox::from([1.0, 1.0, 2.0, 2.0]);
        assert!((a.iou(&b) - 1.0 / 7.0).abs() < 1e-12);
        assert_eq!(a.iou(&BoundingBox::from([5.0, 5.0, 1.0, 1.0])), 0.0);
        assert_eq!(
            BoundingBox::from([0.0; 4]).iou(&BoundingBox::from([0.0; 4])),
            0.0
        );
    }

    #[test]
    fn keypoint_names_of_another_form_are_left_out() {
        let read = |text: &str| serde_json::from_str::<Category>(text).unwrap();
        let arm =
            read(r#"{"id": 1, "name": "arm", "keypoints": ["a", "b"], "skeleton": [[1, 2]]}"#);
        assert_eq!((arm.keypoints.len(), arm.skeleton[0]), (2, [1, 2]));
        let text = serde_json::to_string(&arm).unwrap();
        assert_eq!(read(&text), arm);
        let odd = read(r#"{"id": 1, "name": "arm", "keypoints": null, "skeleton": {"a": 1}}"#);
        assert!(odd.keypoints.is_empty() && odd.skeleton.is_empty());
    }

    #[test]
    fn clipping_keeps_the_inside_and_drops_the_outside() {
        let b = BoundingBox::from([-2.0, 3.0, 5.0, 10.0]);
        assert_eq!(
            b.clipped_to(8.0, 8.0),
            Some(BoundingBox::from([0.0, 3.0, 3.0, 5.0]))
        );
        assert_eq!(b.clipped_to(8.0, 3.0), None);
    }
}
