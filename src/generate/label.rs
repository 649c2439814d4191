//! The labels of a rendered scene.

use glam::DMat4;
use serde_json::{Map, Value, json};

use super::point;
use crate::annotation::{Annotation, BoundingBox, Outline};
use crate::render::{Frame, VisibleObject};
use crate::scene::{self, Camera, Object, SceneInstance, ScenePlan};

/// The labels of a frame by the plan's rule, and how many labelled objects show too
/// little for one. `with_segmentation` adds masks, which take room in files.
pub fn annotations(
    plan: &ScenePlan,
    instance: &SceneInstance,
    frame: &Frame,
    with_segmentation: bool,
) -> (Vec<Annotation>, usize) {
    let rule = &plan.spec().labels;
    let mut found = Vec::new();
    let labelled = instance.objects.iter().filter(|o| o.category_id.is_some());
    for seen in frame.truth.visible_objects() {
        let Some(category_id) = instance.objects[seen.index].category_id else {
            continue;
        };
        if seen.visible_px < rule.min_visible_px
            || seen.visible_fraction < rule.min_visible_fraction
        {
            continue;
        }
        let margin = f64::from(instance.objects[seen.index].label_margin);
        let (width, height) = (f64::from(instance.width_px), f64::from(instance.height_px));
        let drawn = drawn_box(seen.bbox, margin, rule.square);
        let Some(bbox) = drawn.clipped_to(width, height) else {
            continue;
        };
        let mut extra = extras(plan, instance, frame, &seen);
        if with_segmentation {
            extra.extend(masks(frame, &seen));
        }
        found.push(Annotation {
            id: 0,
            category_id,
            bbox,
            area: f64::from(seen.visible_px),
            is_crowd: false,
            extra,
        });
    }
    let missing = labelled.count() - found.len();
    (found, missing)
}

/// A box around the same centre with room around what it encloses.
fn drawn_box(exact: BoundingBox, margin: f64, square: bool) -> BoundingBox {
    let longer = exact.width.max(exact.height);
    let side = |length: f64| (if square { longer } else { length }) * (1.0 + margin);
    let (width, height) = (side(exact.width), side(exact.height));
    let drawn = [
        exact.x + (exact.width - width) / 2.0,
        exact.y + (exact.height - height) / 2.0,
        width,
        height,
    ];
    drawn.map(round4).into()
}

fn round4(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// To a hundredth of a micrometre, or to seven digits of a rotation.
fn round8(value: f64) -> f64 {
    (value * 1e8).round() / 1e8
}

/// What an annotation says besides its box.
fn extras(
    plan: &ScenePlan,
    instance: &SceneInstance,
    frame: &Frame,
    seen: &VisibleObject,
) -> Map<String, Value> {
    let object = &instance.objects[seen.index];
    let silhouette = &frame.truth.silhouettes[seen.index];
    let world_from_object = object.world_from_object.as_dmat4();
    let camera_from_object = camera_from_world(&instance.camera) * world_from_object;
    let size = (object.half_extents_m * 2.0).as_dvec3().to_array();
    let diameter = f64::from(scene::diameter_m(object, plan.assets()));
    let mut extra = Map::from_iter([
        (
            "visible_fraction".to_owned(),
            json!(round4(seen.visible_fraction)),
        ),
        ("instance".to_owned(), json!(seen.index + 1)),
        ("family".to_owned(), json!(object.family)),
        ("amodal_bbox".to_owned(), json!(seen.amodal_bbox)),
    ]);
    if let Some(share) = silhouette.truncated {
        extra.insert("truncated".to_owned(), json!(round4(share)));
    }
    extra.extend([
        ("size_m".to_owned(), json!(size.map(round8))),
        ("diameter_m".to_owned(), json!(round8(diameter))),
        ("world_from_object".to_owned(), rows(&world_from_object)),
        ("camera_from_object".to_owned(), rows(&camera_from_object)),
    ]);
    extra.extend(keypoints(instance, frame, object, seen.index));
    extra
}

fn masks(frame: &Frame, seen: &VisibleObject) -> [(String, Value); 2] {
    let (truth, size) = (&frame.truth, frame.rgb.dimensions().into());
    let visible = |x, y| truth.shows(seen.index, x, y);
    let whole = |x, y| truth.covers(seen.index, x, y);
    let visible = Outline::of_pixels(size, &seen.bbox, visible);
    let whole = Outline::of_pixels(size, &seen.amodal_bbox, whole);
    [
        ("segmentation".to_owned(), visible.to_json()),
        ("amodal_segmentation".to_owned(), whole.to_json()),
    ]
}

/// COCO's `keypoints` and `num_keypoints`, where the object has any.
fn keypoints(
    instance: &SceneInstance,
    frame: &Frame,
    object: &Object,
    index: usize,
) -> Vec<(String, Value)> {
    if object.keypoints_m.is_empty() {
        return Vec::new();
    }
    let mut flat = Vec::new();
    let mut labelled = 0;
    for keypoint_m in &object.keypoints_m {
        let found = point::keypoint(instance, &frame.truth, index, *keypoint_m);
        let [x, y] = found.place_px.map(round4);
        flat.extend([json!(x), json!(y), json!(found.visibility as u8)]);
        labelled += usize::from(found.visibility != point::Visibility::Outside);
    }
    vec![
        ("keypoints".to_owned(), flat.into()),
        ("num_keypoints".to_owned(), json!(labelled)),
    ]
}

/// The rows of a matrix.
fn rows(matrix: &DMat4) -> Value {
    let columns = matrix.transpose().to_cols_array_2d();
    json!(columns.map(|row| row.map(round8)))
}

/// From the world to the camera as OpenCV has it: x to the right, y down, z along the line of
/// sight, in metres.
pub(super) fn camera_from_world(camera: &Camera) -> DMat4 {
    let world_from_camera = camera.world_from_camera().as_dmat4();
    let position = world_from_camera.w_axis.truncate();
    // The inverse of a pose, without an inversion's rounding.
    let turn = glam::DMat3::from_mat4(world_from_camera).transpose();
    DMat4::from_mat3(turn) * DMat4::from_translation(-position)
}

#[cfg(test)]
mod tests {
    use glam::{DVec3, DVec4, Vec3};

    use super::*;

    #[test]
    fn a_loose_box_keeps_its_centre() {
        let exact = BoundingBox::from([10.0, 20.0, 4.0, 8.0]);
        assert_eq!(drawn_box(exact, 0.0, false), exact);
        assert_eq!(
            drawn_box(exact, 0.5, false),
            BoundingBox::from([9.0, 18.0, 6.0, 12.0])
        );
        assert_eq!(
            drawn_box(exact, 0.25, true),
            BoundingBox::from([7.0, 19.0, 10.0, 10.0])
        );
    }

    #[test]
    fn the_camera_looks_along_z_with_y_down() {
        let camera = Camera {
            position_m: Vec3::new(1.0, 2.0, 3.0),
            target_m: Vec3::new(1.0, 2.0, 0.0),
            up: Vec3::Y,
            vertical_fov_deg: 90.0,
            ..Camera::default()
        };
        let to_camera = camera_from_world(&camera);
        let found = to_camera * DVec4::new(1.5, 2.25, 1.0, 1.0);
        assert!(
            (found - DVec4::new(0.5, -0.25, 2.0, 1.0)).length() < 1e-9,
            "{found}"
        );
        let shift = rows(&DMat4::from_translation(DVec3::new(1.0, 2.0, 3.0)));
        assert_eq!(shift[0], json!([1.0, 0.0, 0.0, 1.0]), "rows, not columns");
        assert_eq!(shift[3], json!([0.0, 0.0, 0.0, 1.0]));
    }
}
