//! Named points of families: what a plan demands of them, and what its categories get.

use super::plan::ScenePlan;
use super::spec::{Class, Family};
use crate::annotation::Category;
use crate::spec::Problems;

/// Farthest that a keypoint lies from its object's origin along an axis, in millimetres.
const MAX_AWAY_MM: f64 = 1e5;

/// Checks the keypoints of all families. Those of one class must name the same points.
pub(super) fn check(families: &[Family], problems: &mut Problems) {
    for (index, family) in families.iter().enumerate() {
        check_family(&format!("objects[{index}]"), family, problems);
        let mut earlier = families[..index].iter().enumerate();
        let Some((other, first)) = earlier.find(|(_, other)| share_names(other, family)) else {
            continue;
        };
        let names = |family: &Family| -> Vec<String> {
            family.keypoints.iter().map(|p| p.name.clone()).collect()
        };
        if family.class != Class::Unlabelled && names(first) != names(family) {
            let listed = |family: &Family| match names(family).as_slice() {
                [] => "none".to_owned(),
                names => names.join(", "),
            };
            problems.add(
                &format!("objects[{index}].keypoints"),
                format!(
                    "{} here, but {} in objects[{other}]; families of one class name the same \
                     points in the same order",
                    listed(family),
                    listed(first)
                ),
            );
        } else if family.class != Class::Unlabelled && first.skeleton != family.skeleton {
            problems.add(
                &format!("objects[{index}].skeleton"),
                format!("differs from that of objects[{other}], which has the same class"),
            );
        }
    }
}

/// Whether objects of both families can be of one class.
fn share_names(one: &Family, other: &Family) -> bool {
    match (&one.class, &other.class) {
        (Class::UpperFace, Class::Fixed(name)) | (Class::Fixed(name), Class::UpperFace) => {
            (1..=6).any(|pips| ScenePlan::face_name(pips) == name)
        }
        (one, other) => one == other,
    }
}

fn check_family(key: &str, family: &Family, problems: &mut Problems) {
    let points = &family.keypoints;
    let ok = points.is_empty() || family.class != Class::Unlabelled;
    let rule = "an unlabelled family has no labels for them; give it a class or leave them out";
    problems.require(ok, &format!("{key}.keypoints"), rule);
    for (index, point) in points.iter().enumerate() {
        let key = format!("{key}.keypoints[{index}]");
        let ok = !point.name.trim().is_empty();
        problems.require(ok, &format!("{key}.name"), "the name is empty");
        let is_new = points[..index].iter().all(|other| other.name != point.name);
        let message = format!("`{}` stands twice", point.name);
        problems.require(is_new, &format!("{key}.name"), message);
        let range = -MAX_AWAY_MM..=MAX_AWAY_MM;
        let ok = point.position_mm.iter().all(|along| range.contains(along));
        let message = format!("is not within -{MAX_AWAY_MM}..={MAX_AWAY_MM}");
        problems.require(ok, &format!("{key}.position_mm"), message);
    }
    for (index, bone) in family.skeleton.iter().enumerate() {
        let key = format!("{key}.skeleton[{index}]");
        for name in bone {
            let ok = points.iter().any(|point| point.name == *name);
            problems.require(ok, &key, format!("`{name}` is none of the keypoints"));
        }
        problems.require(bone[0] != bone[1], &key, "joins a keypoint to itself");
    }
}

/// Gives a category the names and the skeleton of the first family of its class.
pub(super) fn name_points(category: &mut Category, families: &[Family], class: &Class) {
    let Some(family) = families.iter().find(|family| family.class == *class) else {
        return;
    };
    let points = &family.keypoints;
    category.keypoints = points.iter().map(|point| point.name.clone()).collect();
    // COCO counts from 1.
    let number = |name: &String| {
        let found = points.iter().position(|point| point.name == *name);
        found.map_or(0, |index| index as u32 + 1)
    };
    category.skeleton = family
        .skeleton
        .iter()
        .map(|bone| bone.each_ref().map(number))
        .collect();
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::scene::{ScenePlan, SceneSpec};
    use crate::spec;

    fn shapes(overrides: &[&str]) -> Result<ScenePlan, String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenes/shapes.yaml");
        let overrides: Vec<_> = overrides.iter().map(|text| text.parse().unwrap()).collect();
        let spec: SceneSpec = spec::load(&path, &overrides).map_err(|e| e.to_string())?;
        spec.into_plan(&path).map_err(|e| e.to_string())
    }

    const ENDS: &str =
        "[{name: left, position_mm: [-16, 0, 0]}, {name: right, position_mm: [16, 0, 0]}]";

    #[test]
    fn categories_name_their_keypoints() {
        let points = format!("objects.0.keypoints={ENDS}");
        let plan = shapes(&[&points, "objects.0.skeleton=[[right, left]]"]).unwrap();
        let category = &plan.categories()[0];
        assert_eq!(category.keypoints, ["left", "right"]);
        assert_eq!(category.skeleton, [[2, 1]]);
        assert!(plan.categories()[1].keypoints.is_empty());
        let bare = shapes(&[]).unwrap();
        let hash = |plan: &ScenePlan| crate::seed::PlanHash::of(&plan.of_scenes());
        assert_eq!(hash(&plan), hash(&bare), "the scenes stay the same");
    }

    #[test]
    fn keypoints_that_make_no_sense_are_refused() {
        let points = format!("objects.0.keypoints={ENDS}");
        for (overrides, expected) in [
            (
                vec![points.as_str(), "objects.1.class={fixed: box}"],
                "but left, right in objects[0]",
            ),
            (
                vec![&points, "objects.0.skeleton=[[left, tail]]"],
                "`tail` is none",
            ),
            (
                vec![&points, "objects.0.skeleton=[[left, left]]"],
                "to itself",
            ),
            (
                vec![&points, "objects.0.class=unlabelled"],
                "no labels for them",
            ),
            (
                vec![
                    "objects.0.keypoints=[{name: a, position_mm: [0, 0, 1e9]}, {name: a, position_mm: [0, 0, 0]}]",
                ],
                "stands twice",
            ),
        ] {
            let message = shapes(&overrides).unwrap_err();
            assert!(message.contains(expected), "{expected}: {message}");
        }
    }
}
