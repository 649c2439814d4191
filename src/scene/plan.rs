//! A scene spec that was checked as a whole.

use std::path::Path;

use serde::Serialize;

use super::spec::{Class, LabelRule, Paint, SceneSpec, Shape};
use crate::annotation::Category;
use crate::spec::{self, Distribution, Override, Problems, SpecError};

/// The upper faces' class names, by number of pips.
const FACES: [&str; 6] = ["one", "two", "three", "four", "five", "six"];

/// The largest image side that is rendered, in pixels.
const MAX_SIDE_PX: u32 = 4096;

/// The most objects of one image.
const MAX_OBJECTS: f64 = 500.0;

/// A scene family that can be drawn.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScenePlan {
    spec: SceneSpec,
    categories: Vec<Category>,
}

impl ScenePlan {
    /// Reads and checks a scene file.
    ///
    /// # Errors
    /// An unreadable file, YAML that is not a scene, or all problems of one that is.
    pub fn load(path: &Path, overrides: &[Override]) -> Result<Self, SpecError> {
        spec::load::<SceneSpec>(path, overrides)?.into_plan(path)
    }

    pub fn spec(&self) -> &SceneSpec {
        &self.spec
    }

    /// The plan with boxes drawn exactly, for what does not depend on how they are drawn.
    pub fn with_exact_boxes(&self) -> Self {
        let mut plan = self.clone();
        let exact = LabelRule::default();
        (plan.spec.labels.margin, plan.spec.labels.square) = (exact.margin, exact.square);
        plan
    }

    /// Categories with identifiers from 1: the faces of dice first, then fixed class
    /// names in the order of their families.
    pub fn categories(&self) -> &[Category] {
        &self.categories
    }

    /// The identifier of a class name of this plan.
    pub(super) fn category_id(&self, name: &str) -> Option<u32> {
        let found = self.categories.iter().find(|c| c.name == name);
        found.map(|category| category.id)
    }

    /// The class name of a die's upper face with 1..=6 pips.
    pub(super) fn face_name(pips: usize) -> &'static str {
        FACES[pips - 1]
    }
}

impl SceneSpec {
    /// Checks the spec as a whole; `path` only names it in errors.
    ///
    /// # Errors
    /// All problems at once.
    pub fn into_plan(self, path: &Path) -> Result<ScenePlan, SpecError> {
        let mut problems = Problems::default();
        self.check_view(&mut problems);
        self.check_things(&mut problems);
        let mut names: Vec<(&str, &str)> = Vec::new();
        if self.objects.iter().any(|f| f.class == Class::UpperFace) {
            names.extend(FACES.map(|face| (face, "die")));
        }
        for family in &self.objects {
            if let Class::Fixed(name) = &family.class
                && !names.iter().any(|(known, _)| known == name)
            {
                names.push((name, ""));
            }
        }
        let categories = (1..)
            .zip(names)
            .map(|(id, (name, supercategory))| Category {
                id,
                name: name.to_owned(),
                supercategory: supercategory.to_owned(),
            })
            .collect();
        problems.into_result(
            path,
            ScenePlan {
                spec: self,
                categories,
            },
        )
    }

    fn check_view(&self, problems: &mut Problems) {
        for (key, side) in [
            ("image.width_px", self.image.width_px),
            ("image.height_px", self.image.height_px),
        ] {
            let ok = (8..=MAX_SIDE_PX).contains(&side);
            problems.require(ok, key, format!("{side} is not within 8..={MAX_SIDE_PX}"));
        }
        let (camera, light, sensor) = (&self.camera, &self.light, &self.sensor);
        for (key, distribution, low, high) in [
            ("camera.distance_mm", &camera.distance_mm, 20.0, 1e5),
            (
                "camera.vertical_fov_deg",
                &camera.vertical_fov_deg,
                1.0,
                150.0,
            ),
            ("camera.tilt_deg", &camera.tilt_deg, -75.0, 75.0),
            ("light.intensity", &light.intensity, 0.0, 100.0),
            ("light.kelvin", &light.kelvin, 1000.0, 40_000.0),
            ("light.elevation_deg", &light.elevation_deg, 5.0, 90.0),
            ("light.softness_mm", &light.softness_mm, 0.0, 1e4),
            ("light.ambient", &light.ambient, 0.0, 100.0),
            ("exposure_ev", &self.exposure_ev, -20.0, 20.0),
            ("sensor.noise", &sensor.noise, 0.0, 1.0),
            ("sensor.blur_px", &sensor.blur_px, 0.0, 10.0),
            ("labels.margin", &self.labels.margin, -0.5, 2.0),
            ("sensor.vignetting", &sensor.vignetting, 0.0, 1.0),
            (
                "ground.texture_strength",
                &self.ground.texture_strength,
                0.0,
                1.0,
            ),
            (
                "ground.texture_scale_mm",
                &self.ground.texture_scale_mm,
                0.01,
                1e5,
            ),
            ("ground.roughness", &self.ground.roughness, 0.0, 1.0),
            ("placement.count", &self.placement.count, 0.0, MAX_OBJECTS),
        ] {
            check_range(problems, key, distribution, low, high);
        }
    }

    fn check_things(&self, problems: &mut Problems) {
        check_paints(problems, "ground.paints", &self.ground.paints);
        let placement = &self.placement;
        for (key, value) in [
            ("placement.clustering", placement.clustering),
            ("placement.same_kind", placement.same_kind),
            (
                "labels.min_visible_fraction",
                self.labels.min_visible_fraction,
            ),
        ] {
            let ok = (0.0..=1.0).contains(&value);
            problems.require(ok, key, format!("{value} is not within 0..=1"));
        }
        let area = placement.area_mm;
        let ok = area.iter().all(|side| side.is_finite() && *side > 0.0);
        problems.require(ok, "placement.area_mm", "both sides must be positive");
        let weights: Vec<f64> = self.dressing.iter().map(|d| d.weight).collect();
        if !weights.is_empty() {
            check_weights(problems, "dressing", &weights);
        }
        for (index, dressing) in self.dressing.iter().enumerate() {
            for (part_index, part) in dressing.parts.iter().enumerate() {
                let key = format!("dressing[{index}].parts[{part_index}]");
                check_shape(problems, &key, &part.shape);
                let ok = part.position_mm.iter().all(|x| x.is_finite())
                    && part.jitter_mm.is_finite()
                    && part.jitter_mm >= 0.0;
                problems.require(
                    ok,
                    &key,
                    "position_mm and jitter_mm must be finite, jitter_mm not negative",
                );
                let ok = (0.0..=1.0).contains(&part.roughness);
                problems.require(ok, &key, "roughness must be within 0..=1");
            }
        }
        let weights: Vec<f64> = self.objects.iter().map(|f| f.weight).collect();
        check_weights(problems, "objects", &weights);
        for (index, family) in self.objects.iter().enumerate() {
            let key = format!("objects[{index}]");
            check_shape(problems, &key, &family.shape);
            check_paints(problems, &format!("{key}.paints"), &family.paints);
            for (name, distribution, low, high) in [
                ("scale", &family.scale, 0.01, 100.0),
                ("roughness", &family.roughness, 0.0, 1.0),
                ("gloss", &family.gloss, 0.0, 1.0),
                ("marbling", &family.marbling, 0.0, 1.0),
                ("translucency", &family.translucency, 0.0, 1.0),
            ] {
                check_range(problems, &format!("{key}.{name}"), distribution, low, high);
            }
            let is_die = matches!(family.shape, Shape::Die { .. });
            let ok = family.class != Class::UpperFace || is_die;
            problems.require(
                ok,
                &format!("{key}.class"),
                "upper_face needs the shape `die`; write {fixed: NAME}",
            );
            if let Class::Fixed(name) = &family.class {
                let ok = !name.trim().is_empty();
                problems.require(ok, &format!("{key}.class"), "the class name is empty");
            }
        }
    }
}

fn check_range(
    problems: &mut Problems,
    key: &str,
    distribution: &Distribution,
    low: f64,
    high: f64,
) {
    let (least, most) = distribution.support();
    // Poisson and normal tails are cut at the range when they are drawn.
    let ok = (least >= low || least.is_infinite()) && (most <= high || most.is_infinite());
    problems.require(
        ok,
        key,
        format!("draws of {least}..={most} are not within {low}..={high}"),
    );
}

fn check_weights(problems: &mut Problems, key: &str, weights: &[f64]) {
    let ok =
        weights.iter().all(|w| w.is_finite() && *w >= 0.0) && weights.iter().sum::<f64>() > 0.0;
    problems.require(
        ok,
        key,
        "needs entries whose weights are not negative and not all 0",
    );
}

fn check_paints(problems: &mut Problems, key: &str, paints: &[Paint]) {
    let weights: Vec<f64> = paints.iter().map(|paint| paint.weight).collect();
    check_weights(problems, key, &weights);
}

fn check_shape(problems: &mut Problems, key: &str, shape: &Shape) {
    let positive = |value: f64| value.is_finite() && value > 0.0;
    let fits = |rounding: f64, side: f64| (0.0..=side / 2.0).contains(&rounding);
    let ok = match *shape {
        Shape::Die {
            size_mm,
            rounding,
            pip_radius,
        } => positive(size_mm) && fits(rounding, 2.0) && fits(pip_radius, 0.5),
        Shape::Box {
            size_mm,
            rounding_mm,
        } => {
            size_mm.iter().all(|side| positive(*side))
                && fits(
                    rounding_mm,
                    size_mm.iter().copied().fold(f64::INFINITY, f64::min),
                )
        }
        Shape::Sphere { diameter_mm } => positive(diameter_mm),
        Shape::Capsule {
            length_mm,
            diameter_mm,
        } => positive(diameter_mm) && positive(length_mm) && length_mm >= diameter_mm,
        Shape::Cylinder {
            diameter_mm,
            height_mm,
            rounding_mm,
        } => {
            positive(diameter_mm)
                && positive(height_mm)
                && fits(rounding_mm, diameter_mm.min(height_mm))
        }
    };
    problems.require(
        ok,
        &format!("{key}.shape"),
        "sizes must be positive, roundings at most half the smallest side, pip_radius at most 0.25",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dice() -> SceneSpec {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenes/dice.yaml");
        spec::load(&path, &[]).unwrap()
    }

    #[test]
    fn every_scene_in_the_repository_is_a_plan() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenes");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            ScenePlan::load(&entry.unwrap().path(), &[]).unwrap();
            count += 1;
        }
        assert!(count >= 2);
    }

    #[test]
    fn faces_come_first_and_in_order() {
        let plan = dice().into_plan(Path::new("dice.yaml")).unwrap();
        let names: Vec<&str> = plan.categories().iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names[..6], FACES);
        assert_eq!(plan.category_id("six"), Some(6));
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let mut spec = dice();
        spec.image.width_px = 0;
        spec.objects[0].shape = Shape::Sphere { diameter_mm: -1.0 };
        spec.placement.clustering = 2.0;
        let message = spec.into_plan(Path::new("s.yaml")).unwrap_err().to_string();
        for part in [
            "image.width_px",
            "objects[0].shape",
            "objects[0].class",
            "placement.clustering",
        ] {
            assert!(message.contains(part), "{part} is not in {message}");
        }
    }
}
