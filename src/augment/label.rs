//! Labels carried along with the pixels: boxes, polygons, masks and keypoints.

use std::collections::BTreeMap;

use hotcoco::{Rle, mask};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::geometry::Motion;
use crate::annotation::{Annotation, BoundingBox, Outline, Polygon, numbers};

/// Keys with lists of numbers that are carried along or do not depend on the picture.
const CARRIED: [&str; 6] = [
    "segmentation",
    "keypoints",
    "amodal_segmentation",
    "amodal_bbox",
    "size_m",
    "world_from_object",
];

/// What geometric steps did to the labels of one image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LabelChanges {
    /// Labels that were cut at the image's edge and kept.
    pub cut: usize,
    /// Labels that were dropped, since too little of them is visible.
    pub dropped: Vec<DroppedLabel>,
    /// What could not be carried along, with the number of labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lost: BTreeMap<String, usize>,
    /// Faults that were planted: the transform's name, and the identifiers of the labels in
    /// the source data set that have it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub faults: BTreeMap<String, Vec<u64>>,
}

/// A label that too little is visible of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DroppedLabel {
    /// Identifier in the source data set.
    pub id: u64,
    pub category_id: u32,
    /// Visible share of the object, in `0..1`.
    pub visible: f64,
}

impl LabelChanges {
    pub(super) fn lose(&mut self, what: &str) {
        *self.lost.entry(what.to_owned()).or_default() += 1;
    }

    fn drop(&mut self, label: &Annotation, visible: f64) {
        self.dropped.push(DroppedLabel {
            id: label.id,
            category_id: label.category_id,
            visible: (visible * 1e4).round() / 1e4,
        });
    }
}

/// How labels are to be carried.
pub(super) struct Carriage<'a> {
    pub motion: &'a Motion,
    /// Size of the image that they come from, in pixels.
    pub from: [u32; 2],
    /// Least visible share of an object that is kept.
    pub min_visible: f64,
    /// Keypoints that swap names in a mirror, by their number from 0.
    pub keypoint_pairs: &'a [[usize; 2]],
}

/// A shape after the move, within the new image.
struct Moved {
    shape: Option<Outline>,
    bbox: Option<BoundingBox>,
    /// Share of the shape within the new image, in `0..=1`.
    visible: f64,
    /// Factor by which the area of the whole shape grew.
    growth: f64,
}

impl Carriage<'_> {
    /// Moves every label; those that too little is visible of are dropped.
    pub fn carry(&self, labels: Vec<Annotation>, changes: &mut LabelChanges) -> Vec<Annotation> {
        labels
            .into_iter()
            .filter_map(|label| self.carry_one(label, changes))
            .collect()
    }

    fn carry_one(&self, mut label: Annotation, changes: &mut LabelChanges) -> Option<Annotation> {
        let moved_box = self.polygons(&[corners(&label.bbox).to_vec()]);
        let shape = self.shape(&mut label, changes);
        let moved = shape.map(|shape| match shape {
            Outline::Polygons(polygons) => self.polygons(&polygons),
            Outline::Mask { rle, compressed } => self.mask(&rle, compressed),
        });
        let visible = moved
            .as_ref()
            .map_or(moved_box.visible, |moved| moved.visible);
        let hull = moved.as_ref().and_then(|moved| moved.bbox);
        // An upright box is carried exactly; only what is turned or cut can be made
        // tighter by the outline.
        let upright = self.motion.keeps_boxes_upright();
        let is_cut = visible < 1.0 - 1e-9 || moved_box.visible < 1.0 - 1e-9;
        let bbox = if upright && !is_cut {
            moved_box.bbox
        } else {
            hull.or(moved_box.bbox)
        };
        let Some(bbox) = bbox.filter(|_| visible > 0.0 && visible >= self.min_visible) else {
            changes.drop(&label, visible);
            return None;
        };
        changes.cut += usize::from(is_cut);
        label.area *= moved.as_ref().unwrap_or(&moved_box).growth * visible;
        label.bbox = bbox;
        if let Some(moved) = moved {
            match moved.shape {
                Some(shape) => {
                    if let Outline::Mask { rle, .. } = &shape {
                        label.area = mask::area(rle) as f64;
                    }
                    label
                        .extra
                        .insert("segmentation".to_owned(), shape.to_json());
                }
                None => changes.lose("segmentation: less than a pixel was left of it"),
            }
        }
        self.carry_keypoints(&mut label, changes);
        self.carry_whole(&mut label, changes);
        scale_visible_fraction(&mut label, visible);
        self.remove_unknown_places(&mut label, changes);
        Some(label)
    }

    /// The box and the mask of the whole object, hidden parts included.
    fn carry_whole(&self, label: &mut Annotation, changes: &mut LabelChanges) {
        let moved = self.take_outline("amodal_segmentation", label, changes);
        let mask = moved.map(|outline| match outline {
            Outline::Polygons(polygons) => self.polygons(&polygons),
            Outline::Mask { rle, compressed } => self.mask(&rle, compressed),
        });
        let list = label.extra.shift_remove("amodal_bbox");
        let list = list.as_ref().and_then(numbers);
        let bbox: Option<[f64; 4]> = list.and_then(|list| list.try_into().ok());
        let moved = bbox.map(|bbox| self.polygons(&[corners(&bbox.into()).to_vec()]));
        let inside = mask.as_ref().or(moved.as_ref()).map(|moved| moved.visible);
        let truncated = label.extra.get("truncated").and_then(Value::as_f64);
        if let (Some(inside), Some(share)) = (inside, truncated) {
            let share = ((1.0 - (1.0 - share) * inside) * 1e4).round() / 1e4;
            label.extra.insert("truncated".to_owned(), json!(share));
        }
        // Where the picture is turned, the box of the outline is tighter than that of the box.
        let hull = mask.as_ref().and_then(|mask| mask.bbox);
        let around = moved.and_then(|moved| moved.bbox);
        let upright = self.motion.keeps_boxes_upright();
        let around = if upright { around } else { hull.or(around) };
        if let (Some(_), Some(around)) = (bbox, around) {
            let around = around.joined(&label.bbox);
            label.extra.insert("amodal_bbox".to_owned(), json!(around));
        }
        if let Some(shape) = mask.and_then(|mask| mask.shape) {
            label
                .extra
                .insert("amodal_segmentation".to_owned(), shape.to_json());
        }
    }

    /// Takes the segmentation out of a label.
    fn shape(&self, label: &mut Annotation, changes: &mut LabelChanges) -> Option<Outline> {
        self.take_outline("segmentation", label, changes)
    }

    fn take_outline(
        &self,
        key: &str,
        label: &mut Annotation,
        changes: &mut LabelChanges,
    ) -> Option<Outline> {
        let value = label.extra.shift_remove(key)?;
        if value.is_null() || value.as_array().is_some_and(Vec::is_empty) {
            return None;
        }
        let shape = Outline::parse(&value, self.from);
        if shape.is_none() {
            changes.lose(&format!(
                "{key}: neither polygons nor a mask of the image's size"
            ));
        }
        shape
    }

    fn polygons(&self, polygons: &[Polygon]) -> Moved {
        let [width, height] = self.motion.size.map(f64::from);
        let (mut before, mut whole, mut inside, mut kept) = (0.0, 0.0, 0.0, Vec::new());
        for polygon in polygons {
            let moved = self.outline(polygon);
            before += area(polygon);
            whole += area(&moved);
            let clipped = clip(moved, width, height);
            let left = area(&clipped);
            if clipped.len() >= 3 && left > 0.0 {
                inside += left;
                kept.push(clipped);
            }
        }
        let visible = if whole > 0.0 { inside / whole } else { 0.0 };
        Moved {
            bbox: hull(kept.iter().flatten()),
            // Rounding must not make a whole object look cut.
            visible: if visible > 1.0 - 1e-9 { 1.0 } else { visible },
            shape: (!kept.is_empty()).then_some(Outline::Polygons(kept)),
            growth: if before > 0.0 { whole / before } else { 1.0 },
        }
    }

    /// A polygon after the move. Where lines bend, its edges are followed in short pieces.
    fn outline(&self, polygon: &[[f64; 2]]) -> Polygon {
        const PIECE_PX: f64 = 4.0;
        if !self.motion.bends_lines() {
            return polygon.iter().map(|p| self.motion.point(*p)).collect();
        }
        let mut moved = Polygon::new();
        for (from, to) in polygon.iter().zip(polygon.iter().cycle().skip(1)) {
            let length = (to[0] - from[0]).hypot(to[1] - from[1]);
            let pieces = (length / PIECE_PX).ceil().clamp(1.0, 4096.0) as usize;
            for piece in 0..pieces {
                let t = piece as f64 / pieces as f64;
                let place = [0, 1].map(|axis| from[axis] + t * (to[axis] - from[axis]));
                moved.push(self.motion.point(place));
            }
        }
        moved
    }

    fn mask(&self, rle: &Rle, compressed: bool) -> Moved {
        let [width, height] = self.motion.size;
        let source = mask::decode(rle);
        let on = |x: usize, y: usize| source[x * rle.h as usize + y] != 0;
        let before: BoundingBox = mask::to_bbox(rle).into();
        let (mut whole, mut inside) = (0_u64, 0_u64);
        for x in before.x as usize..before.right() as usize {
            for y in (before.y as usize..before.bottom() as usize).filter(|y| on(x, *y)) {
                let [x, y] = self.motion.point([x as f64 + 0.5, y as f64 + 0.5]);
                let (w, h) = (f64::from(width), f64::from(height));
                whole += 1;
                inside += u64::from((0.0..w).contains(&x) && (0.0..h).contains(&y));
            }
        }
        let around = self.outline(&corners(&before));
        let around = hull(around.iter()).expect("four corners have an extent");
        let bound = |value: f64, most: u32| value.clamp(0.0, f64::from(most)) as u32;
        let mut target = vec![0_u8; width as usize * height as usize];
        for x in bound(around.x, width)..bound(around.right().ceil(), width) {
            for y in bound(around.y, height)..bound(around.bottom().ceil(), height) {
                let [u, v] = self.motion.back([f64::from(x) + 0.5, f64::from(y) + 0.5]);
                let within = u >= 0.0 && v >= 0.0 && u < f64::from(rle.w) && v < f64::from(rle.h);
                if within && on(u as usize, v as usize) {
                    target[x as usize * height as usize + y as usize] = 1;
                }
            }
        }
        let rle = mask::encode(&target, height, width).ok();
        let rle = rle.filter(|rle| mask::area(rle) > 0);
        Moved {
            bbox: rle.as_ref().map(|rle| mask::to_bbox(rle).into()),
            visible: inside as f64 / whole.max(1) as f64,
            growth: 1.0,
            shape: rle.map(|rle| Outline::Mask { rle, compressed }),
        }
    }

    /// COCO keypoints are `[x, y, v]` each, with `v` 0 for one that is not labelled.
    fn carry_keypoints(&self, label: &mut Annotation, changes: &mut LabelChanges) {
        let Some(value) = label.extra.get("keypoints") else {
            return;
        };
        let Some(flat) = numbers(value).filter(|flat| flat.len() % 3 == 0) else {
            label.extra.shift_remove("keypoints");
            label.extra.shift_remove("num_keypoints");
            changes.lose("keypoints: not a list of x, y, v");
            return;
        };
        let [width, height] = self.motion.size.map(f64::from);
        let mut points: Vec<[f64; 3]> = flat
            .chunks_exact(3)
            .map(|point| {
                let [x, y] = self.motion.point([point[0], point[1]]);
                let inside = (0.0..width).contains(&x) && (0.0..height).contains(&y);
                if point[2] > 0.0 && inside {
                    [x, y, point[2]]
                } else {
                    [0.0; 3]
                }
            })
            .collect();
        if self.motion.mirrors() {
            if self.keypoint_pairs.is_empty() {
                changes.lose(
                    "keypoints: left and right keep their names in the mirror; give keypoint_pairs",
                );
            }
            for &[a, b] in self.keypoint_pairs {
                if a < points.len() && b < points.len() {
                    points.swap(a, b);
                }
            }
        }
        let labelled = points.iter().filter(|point| point[2] > 0.0).count();
        // The visibility is a whole number in files.
        let flat: Vec<Value> = points
            .iter()
            .flat_map(|[x, y, v]| [json!(x), json!(y), json!(*v as u8)])
            .collect();
        label.extra.insert("keypoints".to_owned(), flat.into());
        if label.extra.contains_key("num_keypoints") {
            label
                .extra
                .insert("num_keypoints".to_owned(), json!(labelled));
        }
    }

    /// Other keys with lists of numbers may be places, which would now be wrong.
    fn remove_unknown_places(&self, label: &mut Annotation, changes: &mut LabelChanges) {
        let places: Vec<String> = label
            .extra
            .iter()
            .filter(|(key, value)| !CARRIED.contains(&key.as_str()) && holds_numbers(value))
            .map(|(key, _)| key.clone())
            .collect();
        for key in places {
            label.extra.shift_remove(&key);
            changes.lose(&format!(
                "{key}: removed, since it may hold places that have moved"
            ));
        }
    }
}

fn corners(bbox: &BoundingBox) -> [[f64; 2]; 4] {
    let ([left, top], [right, bottom]) = ([bbox.x, bbox.y], [bbox.right(), bbox.bottom()]);
    [[left, top], [right, top], [right, bottom], [left, bottom]]
}

fn holds_numbers(value: &Value) -> bool {
    match value {
        Value::Array(items) => items
            .iter()
            .any(|item| item.is_number() || holds_numbers(item)),
        Value::Object(map) => map.values().any(holds_numbers),
        _ => false,
    }
}

/// Takes what is hidden from the labels of an image of `size` pixels: the marked pixels of
/// `hidden`, row by row. An outline becomes the mask of what is left, and its box is the extent
/// of that; a box without an outline stays. A hidden keypoint is marked as one that is not
/// seen. A label of which less than `min_visible` is left is dropped.
pub(super) fn hide(
    labels: &mut Vec<Annotation>,
    size: [u32; 2],
    hidden: &[u8],
    min_visible: f64,
    changes: &mut LabelChanges,
) {
    let [width, height] = size;
    let is_hidden = |x: u32, y: u32| hidden[y as usize * width as usize + x as usize] != 0;
    let all = std::mem::take(labels);
    for mut label in all {
        let segmentation = label.extra.get("segmentation");
        let outline = segmentation.and_then(|value| Outline::parse(value, size));
        let mut canvas = Vec::new();
        if let Some(outline) = &outline {
            canvas.resize(hidden.len(), 0);
            outline.draw(&mut canvas, size.map(|side| side as usize), size);
        }
        let is_own = |x: u32, y: u32| {
            canvas.is_empty() || canvas[y as usize * width as usize + x as usize] != 0
        };
        let range = |low: f64, high: f64, most: u32| {
            let bound = |value: f64| value.clamp(0.0, f64::from(most)) as u32;
            bound(low.floor())..bound(high.ceil())
        };
        let (mut own, mut lost) = (0_u64, 0_u64);
        for y in range(label.bbox.y, label.bbox.bottom(), height) {
            for x in range(label.bbox.x, label.bbox.right(), width) {
                let is_own = is_own(x, y);
                own += u64::from(is_own);
                lost += u64::from(is_own && is_hidden(x, y));
            }
        }
        if lost > 0 {
            let visible = 1.0 - lost as f64 / own as f64;
            if lost == own || visible < min_visible {
                changes.drop(&label, visible);
                continue;
            }
            if outline.is_some() {
                let left = |x: u32, y: u32| is_own(x, y) && !is_hidden(x, y);
                let rest = Outline::of_pixels(size, &label.bbox, left);
                label.area = (own - lost) as f64;
                label.bbox = rest.extent().unwrap_or(label.bbox);
                label
                    .extra
                    .insert("segmentation".to_owned(), rest.to_json());
            }
            scale_visible_fraction(&mut label, visible);
        }
        let keypoints = label.extra.get("keypoints").and_then(numbers);
        if let Some(points) = keypoints.filter(|flat| flat.len() % 3 == 0) {
            let flat: Vec<Value> = points
                .chunks_exact(3)
                .flat_map(|point| {
                    let [x, y] = [point[0], point[1]];
                    let inside =
                        x >= 0.0 && y >= 0.0 && x < f64::from(width) && y < f64::from(height);
                    let unseen = point[2] > 1.0 && inside && is_hidden(x as u32, y as u32);
                    let v = if unseen { 1 } else { point[2] as u8 };
                    [json!(x), json!(y), json!(v)]
                })
                .collect();
            label.extra.insert("keypoints".to_owned(), flat.into());
        }
        labels.push(label);
    }
}

fn scale_visible_fraction(label: &mut Annotation, visible: f64) {
    if let Some(share) = label.extra.get("visible_fraction").and_then(Value::as_f64) {
        let share = (share * visible * 1e4).round() / 1e4;
        let key = "visible_fraction".to_owned();
        label.extra.insert(key, json!(share));
    }
}

/// Area of a polygon (shoelace formula), in square pixels.
fn area(polygon: &[[f64; 2]]) -> f64 {
    let next = polygon.iter().cycle().skip(1);
    let twice: f64 = polygon
        .iter()
        .zip(next)
        .map(|([x, y], [u, v])| x * v - u * y)
        .sum();
    twice.abs() / 2.0
}

/// The part of a polygon within an image (Sutherland and Hodgman 1974). A concave
/// polygon that is cut into pieces keeps edges of no width between them.
fn clip(polygon: Polygon, width: f64, height: f64) -> Polygon {
    // Axis, bound, and the sign of the inside.
    [
        (0, 0.0, 1.0),
        (0, width, -1.0),
        (1, 0.0, 1.0),
        (1, height, -1.0),
    ]
    .into_iter()
    .fold(polygon, |polygon, (axis, bound, sign)| {
        let depth = |point: &[f64; 2]| sign * (point[axis] - bound);
        let mut kept = Polygon::new();
        for (from, to) in polygon.iter().zip(polygon.iter().cycle().skip(1)) {
            let (a, b) = (depth(from), depth(to));
            if a >= 0.0 {
                kept.push(*from);
            }
            if (a > 0.0 && b < 0.0) || (a < 0.0 && b > 0.0) {
                let t = a / (a - b);
                let mut crossing = [0, 1].map(|i| from[i] + t * (to[i] - from[i]));
                crossing[axis] = bound;
                kept.push(crossing);
            }
        }
        kept
    })
}

fn hull<'a>(points: impl Iterator<Item = &'a [f64; 2]>) -> Option<BoundingBox> {
    let [mut low, mut high] = [[f64::INFINITY; 2], [f64::NEG_INFINITY; 2]];
    for [x, y] in points {
        low = [low[0].min(*x), low[1].min(*y)];
        high = [high[0].max(*x), high[1].max(*y)];
    }
    (low[0] <= high[0]).then(|| BoundingBox::from_corners(low[0], low[1], high[0], high[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The triangle has area 8; the line x = 2 cuts a smaller one of area 2 off.
    #[test]
    fn a_polygon_is_cut_at_the_edge() {
        let triangle = vec![[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]];
        assert_eq!(area(&triangle), 8.0);
        let cut = clip(triangle.clone(), 2.0, 9.0);
        assert_eq!(area(&cut), 6.0);
        let extent = hull(cut.iter()).unwrap();
        assert_eq!(extent, BoundingBox::from([0.0, 0.0, 2.0, 4.0]));
        let outside: Polygon = triangle.iter().map(|[x, y]| [x - 9.0, *y]).collect();
        assert!(clip(outside, 2.0, 9.0).is_empty());
        // A square around the image becomes the image.
        let around = vec![[-1.0, -1.0], [9.0, -1.0], [9.0, 9.0], [-1.0, 9.0]];
        assert_eq!(area(&clip(around, 2.0, 3.0)), 6.0);
    }
}
