//! A scene spec that was checked as a whole.

mod camera;
mod surroundings;
mod texture;

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::asset::Assets;
use super::keypoint;
use super::library::Library;
use super::placement;
use super::shape::signed_area;
use super::spec::{
    BackgroundSpec, Class, FamilyPart, ImageSpec, LabelRule, LightSpec, MaterialSpec, MediumEffect,
    Paint, PathTracing, RendererChoice, SceneSpec, Shape,
};
use crate::annotation::Category;
use crate::spec::{self, Distribution, Override, Problems, SpecError};

/// The upper faces' class names, by number of pips.
const FACES: [&str; 6] = ["one", "two", "three", "four", "five", "six"];

/// The largest image side that is rendered, in pixels.
const MAX_SIDE_PX: u32 = 4096;

/// The most lights of one image.
const MAX_LIGHTS: usize = 4;

/// The largest side of a shape and the farthest place of a thing, in millimetres.
pub(super) const MAX_LENGTH_MM: f64 = 1e7;

/// The most points of a profile or an outline.
const MAX_POINTS: usize = 256;

/// The most variants of a bent shape.
const MAX_VARIANTS: usize = 64;

/// A scene family that can be drawn.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScenePlan {
    spec: SceneSpec,
    categories: Vec<Category>,
    #[serde(rename = "files", skip_serializing_if = "Library::is_empty")]
    library: Library,
    /// Follows from the spec.
    #[serde(skip)]
    assets: Arc<Assets>,
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

    /// The meshes that its scenes are drawn with.
    pub fn assets(&self) -> &Assets {
        &self.assets
    }

    /// The pictures that it names.
    pub(super) fn library(&self) -> &Library {
        &self.library
    }

    /// The plan of the scenes alone: without how boxes are drawn around their objects and which
    /// of their points are named, what draws their images and how these are encoded.
    pub fn of_scenes(&self) -> Self {
        let mut plan = self.clone();
        let exact = LabelRule::default();
        (plan.spec.labels.margin, plan.spec.labels.square) = (exact.margin, exact.square);
        for family in &mut plan.spec.objects {
            (family.keypoints, family.skeleton) = Default::default();
        }
        for category in &mut plan.categories {
            (category.keypoints, category.skeleton) = Default::default();
        }
        let ImageSpec {
            width_px,
            height_px,
            ..
        } = plan.spec.image;
        plan.spec.image = ImageSpec::new(width_px, height_px);
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
    /// Checks the spec as a whole. Files that it names lie beside the scene file at `path`.
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
            .map(|(id, (name, supercategory))| {
                let mut category = Category {
                    id,
                    name: name.to_owned(),
                    supercategory: supercategory.to_owned(),
                    ..Category::default()
                };
                let class = match supercategory {
                    "die" => Class::UpperFace,
                    _ => Class::Fixed(name.to_owned()),
                };
                keypoint::name_points(&mut category, &self.objects, &class);
                category
            })
            .collect();
        let library = Library::read(&self, path, &mut problems);
        // What is no sound shape has no mesh.
        problems.into_result(path, ())?;
        let assets = Arc::new(Assets::new(&self, &library));
        let mut problems = Problems::default();
        placement::check_room(&self, &assets, &mut problems);
        problems.into_result(path, ())?;
        Ok(ScenePlan {
            spec: self,
            categories,
            library,
            assets,
        })
    }

    fn check_view(&self, problems: &mut Problems) {
        for (key, side) in [
            ("image.width_px", self.image.width_px),
            ("image.height_px", self.image.height_px),
        ] {
            let ok = (8..=MAX_SIDE_PX).contains(&side);
            problems.require(ok, key, format!("{side} is not within 8..={MAX_SIDE_PX}"));
        }
        let ok = (1..=2).contains(&self.image.supersampling);
        problems.require(ok, "image.supersampling", "must be 1 or 2");
        if let RendererChoice::PathTraced(tracing) = &self.image.renderer {
            check_tracing(problems, tracing);
            let ok = self.background == BackgroundSpec::default();
            let rule = "path_traced shows no picture behind the objects: leave `background` out";
            problems.require(ok, "image.renderer", rule);
        }
        camera::check_camera(problems, &self.camera, &self.image);
        let sensor = &self.sensor;
        for (key, distribution, low, high) in [
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
        ] {
            check_range(problems, key, distribution, low, high);
        }
        let ok = (10.0..=MAX_LENGTH_MM).contains(&self.ground.side_mm);
        let rule = format!("is not within 10..={MAX_LENGTH_MM}");
        problems.require(ok, "ground.side_mm", rule);
        self.check_lights(problems);
    }

    fn check_lights(&self, problems: &mut Problems) {
        self.check_surroundings(problems);
        for (index, light) in self.lights.iter().enumerate() {
            let mut check = |name: &str, distribution: &Distribution, low: f64, high: f64| {
                let key = format!("lights[{index}].{name}");
                check_range(problems, &key, distribution, low, high);
            };
            match light {
                LightSpec::Directional {
                    intensity,
                    kelvin,
                    elevation_deg,
                    angular_diameter_deg,
                    ..
                } => {
                    check("directional.intensity", intensity, 0.0, 1e3);
                    check("directional.kelvin", kelvin, 1000.0, 40_000.0);
                    check("directional.elevation_deg", elevation_deg, 5.0, 90.0);
                    check(
                        "directional.angular_diameter_deg",
                        angular_diameter_deg,
                        0.0,
                        90.0,
                    );
                }
                LightSpec::Point {
                    intensity,
                    kelvin,
                    diameter_mm,
                    position_mm,
                } => {
                    for along in position_mm {
                        check("point.position_mm", along, -1e6, 1e6);
                    }
                    check("point.intensity", intensity, 0.0, 1e6);
                    check("point.kelvin", kelvin, 1000.0, 40_000.0);
                    check("point.diameter_mm", diameter_mm, 0.0, 1e5);
                }
                LightSpec::Spot {
                    intensity,
                    kelvin,
                    diameter_mm,
                    cone_deg,
                    position_mm,
                    target_mm,
                } => {
                    for along in position_mm.iter().chain(target_mm) {
                        check("spot.position_mm or target_mm", along, -1e6, 1e6);
                    }
                    check("spot.intensity", intensity, 0.0, 1e6);
                    check("spot.kelvin", kelvin, 1000.0, 40_000.0);
                    check("spot.diameter_mm", diameter_mm, 0.0, 1e5);
                    check("spot.cone_deg", cone_deg, 1.0, 170.0);
                }
                LightSpec::Area {
                    intensity,
                    kelvin,
                    size_mm,
                    position_mm,
                    target_mm,
                } => {
                    for along in position_mm.iter().chain(target_mm) {
                        check("area.position_mm or target_mm", along, -1e6, 1e6);
                    }
                    check("area.intensity", intensity, 0.0, 1e6);
                    check("area.kelvin", kelvin, 1000.0, 40_000.0);
                    for side in size_mm {
                        check("area.size_mm", side, 0.1, 1e5);
                    }
                }
            }
        }
    }

    fn check_things(&self, problems: &mut Problems) {
        check_paints(problems, "ground.paints", &self.ground.paints);
        placement::check(self, problems);
        let share = self.labels.min_visible_fraction;
        problems.require(
            (0.0..=1.0).contains(&share),
            "labels.min_visible_fraction",
            format!("{share} is not within 0..=1"),
        );
        let weights: Vec<f64> = self.dressing.iter().map(|d| d.weight).collect();
        if !weights.is_empty() {
            check_weights(problems, "dressing", &weights);
        }
        for (index, dressing) in self.dressing.iter().enumerate() {
            for (part_index, part) in dressing.parts.iter().enumerate() {
                let key = format!("dressing[{index}].parts[{part_index}]");
                check_shape(problems, &key, &part.shape);
                let ok = part.position_mm.iter().all(|x| x.abs() <= MAX_LENGTH_MM);
                let rule = format!("is not within -{MAX_LENGTH_MM}..={MAX_LENGTH_MM}");
                problems.require(ok, &format!("{key}.position_mm"), rule);
                let ok = (0.0..=MAX_LENGTH_MM).contains(&part.jitter_mm);
                let rule = format!("is not within 0..={MAX_LENGTH_MM}");
                problems.require(ok, &format!("{key}.jitter_mm"), rule);
                let ok = part.colour.is_some() || matches!(part.shape, Shape::Mesh(_));
                problems.require(ok, &format!("{key}.colour"), "is missing");
                check_material(problems, &key, &part.material);
            }
        }
        let weights: Vec<f64> = self.objects.iter().map(|f| f.weight).collect();
        check_weights(problems, "objects", &weights);
        keypoint::check(&self.objects, problems);
        texture::check(problems, self);
        for (index, family) in self.objects.iter().enumerate() {
            let key = format!("objects[{index}]");
            // Meshes from files have colours of their own.
            let is_painted = family.shapes().all(|shape| matches!(shape, Shape::Mesh(_)));
            if !is_painted || !family.paints.is_empty() {
                check_paints(problems, &format!("{key}.paints"), &family.paints);
            }
            check_material(problems, &key, &family.material);
            check_size(problems, &key, &family.scale, &family.stretch);
            let ok = family.shape.is_some() == family.parts.is_empty();
            problems.require(ok, &key, "needs either `shape` or `parts`");
            if let Some(shape) = &family.shape {
                check_shape(problems, &key, shape);
            }
            for (index, part) in family.parts.iter().enumerate() {
                check_part(problems, &format!("{key}.parts[{index}]"), part);
            }
            let ok = family.parts.is_empty() || family.parts.iter().any(|p| p.probability >= 1.0);
            problems.require(
                ok,
                &format!("{key}.parts"),
                "one part at least must be there for certain: leave its probability at 1",
            );
            let is_die = matches!(family.shape, Some(Shape::Die { .. }));
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

fn check_tracing(problems: &mut Problems, tracing: &PathTracing) {
    for (name, value, range) in [
        ("samples", tracing.samples, 1..=65_536),
        ("bounces", tracing.bounces, 0..=32),
    ] {
        let key = format!("image.renderer.path_traced.{name}");
        let (low, high) = (range.start(), range.end());
        let message = format!("{value} is not within {low}..={high}");
        problems.require(range.contains(&value), &key, message);
    }
}

pub(super) fn check_range(
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

fn check_size(
    problems: &mut Problems,
    key: &str,
    scale: &Distribution,
    stretch: &[Distribution; 3],
) {
    check_range(problems, &format!("{key}.scale"), scale, 0.01, 100.0);
    for factor in stretch {
        check_range(problems, &format!("{key}.stretch"), factor, 0.01, 100.0);
    }
}

fn check_material(problems: &mut Problems, key: &str, material: &MaterialSpec) {
    let key = format!("{key}.material");
    for (name, distribution, high) in [
        ("roughness", &material.roughness, 1.0),
        ("gloss", &material.gloss, 1.0),
        ("metallic", &material.metallic, 1.0),
        ("marbling", &material.marbling, 1.0),
        ("translucency", &material.translucency, 1.0),
        ("clear_coat", &material.clear_coat, 1.0),
        ("clear_coat_roughness", &material.clear_coat_roughness, 1.0),
        ("emission", &material.emission, 1e4),
    ] {
        check_range(problems, &format!("{key}.{name}"), distribution, 0.0, high);
    }
    if let Some(medium) = &material.medium {
        let mut check = |name: &str, distribution: &Distribution, low, high| {
            check_range(
                problems,
                &format!("{key}.medium.{name}"),
                distribution,
                low,
                high,
            );
        };
        check("thickness_mm", &medium.thickness_mm, 1e-3, 1e5);
        check("mottling", &medium.mottling, 0.0, 1.0);
        check("mottling_scale_mm", &medium.mottling_scale_mm, 1e-3, 1e5);
        if let MediumEffect::Glows { level } = &medium.effect {
            check("effect.glows.level", level, 0.0, 1e4);
        }
    }
}

fn check_part(problems: &mut Problems, key: &str, part: &FamilyPart) {
    check_shape(problems, key, &part.shape);
    check_size(problems, key, &part.scale, &part.stretch);
    for along in &part.position_mm {
        check_range(problems, &format!("{key}.position_mm"), along, -1e5, 1e5);
    }
    for turn in &part.rotation_deg {
        check_range(
            problems,
            &format!("{key}.rotation_deg"),
            turn,
            -3600.0,
            3600.0,
        );
    }
    let ok = (0.0..=1.0).contains(&part.probability);
    problems.require(ok, &format!("{key}.probability"), "is not within 0..=1");
    if !part.paints.is_empty() {
        check_paints(problems, &format!("{key}.paints"), &part.paints);
    }
    if let Some(material) = &part.material {
        check_material(problems, key, material);
    }
}

fn check_shape(problems: &mut Problems, key: &str, shape: &Shape) {
    let positive = |value: f64| value > 0.0 && value <= MAX_LENGTH_MM;
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
        Shape::Ellipsoid { size_mm } => size_mm.iter().all(|side| positive(*side)),
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
        Shape::Cone {
            bottom_diameter_mm,
            top_diameter_mm,
            height_mm,
        } => {
            let ends = [bottom_diameter_mm, top_diameter_mm];
            positive(height_mm)
                && ends.iter().all(|end| (0.0..=MAX_LENGTH_MM).contains(end))
                && ends.iter().any(|end| positive(*end))
        }
        Shape::Torus {
            diameter_mm,
            tube_mm,
        } => positive(diameter_mm) && positive(tube_mm) && tube_mm <= diameter_mm / 2.0,
        Shape::Disc {
            diameter_mm,
            rim_mm,
            middle_mm,
        } => [diameter_mm, rim_mm, middle_mm].into_iter().all(positive),
        Shape::Lathe { ref profile_mm } => is_profile(profile_mm),
        Shape::Extrusion {
            ref outline_mm,
            height_mm,
        } => positive(height_mm) && is_outline(outline_mm),
        Shape::Mesh(ref mesh) => {
            let sizes = [mesh.longest_side_mm, mesh.unit_mm];
            let mut given = sizes.into_iter().flatten();
            sizes.contains(&None) && given.all(positive)
        }
        Shape::Quad { size_mm } => size_mm.iter().all(|side| positive(*side)),
        Shape::Bent {
            ref shape,
            amount_mm,
            scale_mm,
            variants,
        } => {
            check_shape(problems, &format!("{key}.shape.bent"), shape);
            positive(amount_mm)
                && positive(scale_mm)
                && (1..=MAX_VARIANTS).contains(&variants)
                && !matches!(**shape, Shape::Bent { .. } | Shape::Mesh(_))
        }
    };
    let rule = match shape {
        Shape::Lathe { .. } => {
            "profile_mm needs 3 to 256 pairs of radius and height, from radius 0 at the lower end to radius 0 at the upper, no radius negative, neighbours apart"
        }
        Shape::Extrusion { .. } => {
            "outline_mm needs 3 to 256 corners of a polygon that does not cross itself, and height_mm must be positive"
        }
        Shape::Torus { .. } => "tube_mm must be positive and at most half of diameter_mm",
        Shape::Cone { .. } => "height_mm and one diameter must be positive, the other not negative",
        Shape::Disc { .. } => "sizes must be positive",
        Shape::Mesh(_) => {
            "a mesh has one of longest_side_mm and unit_mm at most, which must be positive"
        }
        Shape::Bent { .. } => {
            "amount_mm and scale_mm must be positive, variants within 1..=64, and what is bent neither bent itself nor from a file"
        }
        _ => {
            "sizes must be positive, roundings at most half the smallest side, pip_radius at most 0.25"
        }
    };
    let message = format!("{rule}; no length may be over {MAX_LENGTH_MM} mm");
    problems.require(ok, &format!("{key}.shape"), message);
}

/// Whether a profile encloses a solid when it is turned.
fn is_profile(points: &[[f64; 2]]) -> bool {
    let ends_on_axis = [points.first(), points.last()]
        .iter()
        .all(|end| end.is_some_and(|at| at[0] == 0.0));
    (3..=MAX_POINTS).contains(&points.len())
        && ends_on_axis
        && points
            .iter()
            .all(|at| (0.0..=MAX_LENGTH_MM).contains(&at[0]) && at[1].abs() <= MAX_LENGTH_MM)
        && points.windows(2).all(|pair| pair[0] != pair[1])
        && points.iter().any(|at| at[0] > 0.0)
}

/// Whether corners make a polygon that has an area and does not cross itself.
fn is_outline(corners: &[[f64; 2]]) -> bool {
    let count = corners.len();
    let is_near = |x: &f64| x.abs() <= MAX_LENGTH_MM;
    if !(3..=MAX_POINTS).contains(&count) || !corners.iter().flatten().all(is_near) {
        return false;
    }
    let points: Vec<glam::Vec2> = corners
        .iter()
        .map(|[x, y]| glam::Vec2::new(*x as f32, *y as f32))
        .collect();
    let side = |index: usize| (points[index], points[(index + 1) % count]);
    let crosses = |a: usize, b: usize| {
        let ((p, q), (r, s)) = (side(a), side(b));
        let turn =
            |from: glam::Vec2, to: glam::Vec2, at: glam::Vec2| (to - from).perp_dot(at - from);
        turn(p, q, r) * turn(p, q, s) <= 0.0 && turn(r, s, p) * turn(r, s, q) <= 0.0
    };
    let are_neighbours = |a: usize, b: usize| a.abs_diff(b) <= 1 || a.abs_diff(b) == count - 1;
    let pairs = (0..count).flat_map(|a| (0..a).map(move |b| (a, b)));
    signed_area(&points).abs() > 0.0
        && pairs
            .filter(|(a, b)| !are_neighbours(*a, *b))
            .all(|(a, b)| !crosses(a, b))
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
            let path = entry.unwrap().path();
            if path.is_file() {
                ScenePlan::load(&path, &[]).unwrap();
                count += 1;
            }
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
        spec.objects[0].shape = Some(Shape::Sphere { diameter_mm: -1.0 });
        spec.placement.0[0].clustering = 2.0;
        spec.image.supersampling = 3;
        spec.image.renderer = RendererChoice::PathTraced(PathTracing {
            samples: 0,
            bounces: 33,
            ..PathTracing::default()
        });
        spec.lights = vec![spec.lights[0].clone(); 5];
        spec.objects[1].shape = Some(Shape::Extrusion {
            // Crosses itself.
            outline_mm: vec![[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0]],
            height_mm: 1.0,
        });
        spec.objects[2].shape = Some(Shape::Lathe {
            // Has a hole along its axis.
            profile_mm: vec![[1.0, 0.0], [2.0, 0.0], [2.0, 1.0]],
        });
        let message = spec.into_plan(Path::new("s.yaml")).unwrap_err().to_string();
        for part in [
            "image.width_px",
            "objects[0].shape",
            "objects[0].class",
            "objects[1].shape",
            "objects[2].shape",
            "placement.clustering",
            "image.supersampling",
            "image.renderer.path_traced.samples",
            "image.renderer.path_traced.bounces",
            "at most 4 lights",
        ] {
            assert!(message.contains(part), "{part} is not in {message}");
        }
    }
}
