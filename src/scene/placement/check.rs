//! What can be wrong with where a scene wants its objects.

use glam::Vec2;

use super::footprint::flat_top;
use super::members;
use super::spec::{Method, PlacementSpec, Zone};
use crate::scene::asset::Assets;
use crate::scene::plan::{MAX_LENGTH_MM, check_range};
use crate::scene::spec::{Class, Family, PoseSpec, SceneSpec, Shape};
use crate::spec::{Distribution, Problems};

/// The most objects of one group.
const MAX_OBJECTS: f64 = super::MAX_OBJECTS as f64;

/// Notes all problems of the groups of a scene, apart from those that need its meshes.
pub(in crate::scene) fn check(scene: &SceneSpec, problems: &mut Problems) {
    let groups = &scene.placement.0;
    problems.require(!groups.is_empty(), "placement", "needs one group at least");
    for (set_index, set) in scene.dressing.iter().enumerate() {
        for (index, part) in set.parts.iter().enumerate() {
            let is_empty = part
                .name
                .as_ref()
                .is_some_and(|name| name.trim().is_empty());
            let key = format!("dressing[{set_index}].parts[{index}].name");
            problems.require(!is_empty, &key, "is empty: leave it out");
        }
    }
    for (number, group) in groups.iter().enumerate() {
        let key = scene.placement.key(number);
        let mut group = Check {
            scene,
            group,
            number,
            key,
            problems: &mut *problems,
        };
        group.check_amounts();
        group.check_method();
        group.check_families();
        group.check_surface();
        group.check_zones();
    }
    let is_limited = groups.iter().any(|group| group.max_hidden.is_some());
    let looks_at_object = matches!(scene.camera.pose, Some(PoseSpec::AtObject { .. }));
    problems.require(
        !(is_limited && looks_at_object),
        "camera.pose",
        "at_object looks where objects are already, so that no group of the scene can have max_hidden",
    );
    for (number, group) in groups.iter().enumerate() {
        let is_dropped = matches!(group.method, Method::Dropped { .. });
        problems.require(
            !(is_limited && is_dropped),
            &format!("{}.method", scene.placement.key(number)),
            "what is dropped may hide anything: no group of the scene can have max_hidden",
        );
    }
}

struct Check<'a> {
    scene: &'a SceneSpec,
    group: &'a PlacementSpec,
    number: usize,
    key: String,
    problems: &'a mut Problems,
}

impl Check<'_> {
    fn require(&mut self, ok: bool, name: &str, problem: impl std::fmt::Display) {
        let key = format!("{}.{name}", self.key);
        self.problems.require(ok, &key, problem);
    }

    fn range(&mut self, name: &str, of: &Distribution, low: f64, high: f64) {
        check_range(
            self.problems,
            &format!("{}.{name}", self.key),
            of,
            low,
            high,
        );
    }

    fn check_amounts(&mut self) {
        let group = self.group;
        for (name, count) in [("count", &group.count), ("distractors", &group.distractors)] {
            if let Some(count) = count {
                self.range(name, count, 0.0, MAX_OBJECTS);
            }
        }
        for (name, share) in [
            ("clustering", group.clustering),
            ("same_kind", group.same_kind),
            ("overlap", group.overlap),
            ("max_hidden", group.max_hidden.unwrap_or(0.0)),
        ] {
            let ok = (0.0..=1.0).contains(&share);
            self.require(ok, name, format!("{share} is not within 0..=1"));
        }
        let ok = (0.0..=1e6).contains(&group.gap_mm);
        self.require(ok, "gap_mm", "is not within 0..=1000000");
        let ok = group.gap_mm == 0.0 || group.overlap == 0.0;
        self.require(ok, "overlap", "cannot be had together with gap_mm");
        if let Some(yaw) = &group.yaw_deg {
            self.range("yaw_deg", yaw, -3600.0, 3600.0);
        }
        let ok = group.centre_mm.iter().all(|x| x.abs() <= MAX_LENGTH_MM);
        let rule = format!("is not within {MAX_LENGTH_MM} of the middle");
        self.require(ok, "centre_mm", rule);
        if let Some(area) = group.area_mm {
            let ok = area
                .iter()
                .all(|side| *side > 0.0 && *side <= MAX_LENGTH_MM);
            let rule = format!("both sides must be positive and at most {MAX_LENGTH_MM}");
            self.require(ok, "area_mm", rule);
        }
    }

    fn check_method(&mut self) {
        let group = self.group;
        let is_grid = matches!(group.method, Method::Grid { .. });
        if is_grid {
            for (name, is_given) in [
                ("count", group.count.is_some()),
                ("distractors", group.distractors.is_some()),
                ("area_mm", group.area_mm.is_some()),
            ] {
                self.require(!is_given, name, "follows from the grid: leave it out");
            }
        } else {
            self.require(group.count.is_some(), "count", "is missing");
            let ok = group.area_mm.is_some() || group.surface.is_some();
            self.require(
                ok,
                "area_mm",
                "is missing: the ground has no size of its own",
            );
        }
        if group.method != Method::Scattered {
            for (name, value) in [("clustering", group.clustering), ("overlap", group.overlap)] {
                self.require(value == 0.0, name, "is for objects that are scattered");
            }
        }
        match &group.method {
            Method::Scattered => {}
            Method::Grid {
                columns,
                rows,
                spacing_mm,
                jitter_mm,
                fill,
            } => {
                let cells = u64::from(*columns) * u64::from(*rows);
                let ok = (1..=super::MAX_OBJECTS).contains(&cells);
                let limit = super::MAX_OBJECTS;
                self.require(
                    ok,
                    "method.grid",
                    format!("{cells} cells are not 1 to {limit}"),
                );
                let ok = spacing_mm.iter().all(|side| (1e-3..=1e6).contains(side));
                self.require(
                    ok,
                    "method.grid.spacing_mm",
                    "is not within 0.001..=1000000",
                );
                self.range("method.grid.jitter_mm", jitter_mm, -1e6, 1e6);
                self.range("method.grid.fill", fill, 0.0, 1.0);
            }
            Method::Dropped {
                height_mm,
                from_mm,
                friction,
                restitution,
            } => {
                let ok =
                    from_mm.is_none_or(|from| from.iter().all(|side| (0.0..=1e6).contains(side)));
                self.require(ok, "method.dropped.from_mm", "is not within 0..=1000000");
                self.range("method.dropped.height_mm", height_mm, 0.0, 1e5);
                self.range("method.dropped.friction", friction, 0.0, 2.0);
                self.range("method.dropped.restitution", restitution, 0.0, 1.0);
                let ok = group.yaw_deg.is_none();
                self.require(ok, "yaw_deg", "what is dropped has any turn: leave it out");
                let ok = group.gap_mm == 0.0;
                self.require(ok, "gap_mm", "what is dropped may touch: leave it out");
            }
        }
    }

    fn check_families(&mut self) {
        let group = self.group;
        let families = &self.scene.objects;
        for (index, name) in group.families.iter().enumerate() {
            let is_known = families.iter().any(|family| family.name == *name);
            let known: Vec<&str> = families.iter().map(|family| family.name.as_str()).collect();
            let problem = format!("`{name}` is no family; there are {}", known.join(", "));
            self.require(is_known, &format!("families[{index}]"), problem);
        }
        let chosen = members(group, families);
        let weight = |is_member: &dyn Fn(&Family) -> bool| {
            let members = chosen.iter().filter(|family| is_member(family));
            members.map(|family| family.weight).sum::<f64>()
        };
        let is_unlabelled = |family: &Family| family.class == Class::Unlabelled;
        if group.distractors.is_some() {
            let ok = weight(&is_unlabelled) > 0.0;
            self.require(
                ok,
                "distractors",
                "no family of the group is `class: unlabelled`",
            );
            let ok = weight(&|family| !is_unlabelled(family)) > 0.0;
            self.require(ok, "count", "all families of the group are distractors");
        } else {
            let ok = weight(&|_| true) > 0.0;
            self.require(ok, "families", "none of them has a weight above 0");
        }
    }

    /// Families may lie on those of earlier groups only, so that no two lie on each other.
    fn check_surface(&mut self) {
        let scene = self.scene;
        let Some(name) = &self.group.surface else {
            return;
        };
        let has_part = |parts: &[crate::scene::spec::DressingPart]| {
            parts.iter().any(|part| part.name.as_ref() == Some(name))
        };
        let is_dressing = scene.dressing.iter().any(|set| has_part(&set.parts));
        let places = |group: &PlacementSpec| {
            let mut members = members(group, &scene.objects).into_iter();
            members.any(|family| family.name == *name)
        };
        let mut earlier = scene.placement.0[..self.number].iter();
        let is_earlier =
            earlier.any(|group| !matches!(group.method, Method::Dropped { .. }) && places(group));
        let is_family = scene.objects.iter().any(|family| family.name == *name);
        if !(is_dressing || is_earlier) {
            let problem = match is_family {
                true => format!("no group before this one stands `{name}` on anything"),
                false => format!("`{name}` is neither the name of a dressing part nor a family"),
            };
            self.require(false, "surface", problem);
            return;
        }
        for (index, set) in scene.dressing.iter().enumerate() {
            let ok = is_earlier || set.weight <= 0.0 || has_part(&set.parts);
            self.require(
                ok,
                "surface",
                format!("dressing[{index}] has no part named `{name}`"),
            );
        }
        // What is dropped finds its own support.
        if matches!(self.group.method, Method::Dropped { .. }) {
            return;
        }
        let parts = scene.dressing.iter().flat_map(|set| &set.parts);
        let parts = parts.filter(|part| part.name.as_ref() == Some(name));
        let families = scene
            .objects
            .iter()
            .filter(|family| is_earlier && family.name == *name);
        let shapes: Vec<Option<&Shape>> = parts
            .map(|part| Some(&part.shape))
            .chain(families.map(|family| family.shape.as_ref()))
            .collect();
        let is_flat = |shape: &Option<&Shape>| shape.is_some_and(|shape| flat_top(shape).is_some());
        self.require(
            shapes.iter().all(is_flat),
            "surface",
            format!("`{name}` has no flat top: it must be a box, cylinder, quad or blunt cone"),
        );
    }

    fn check_zones(&mut self) {
        let (area, centre) = (self.group.area_mm, self.group.centre_mm);
        for (index, zone) in self.group.keep_out.iter().enumerate() {
            let (place, sizes) = match zone {
                Zone::Rectangle { centre_mm, size_mm } => (centre_mm, size_mm.to_vec()),
                Zone::Disc {
                    centre_mm,
                    diameter_mm,
                } => (centre_mm, vec![*diameter_mm]),
            };
            let ok = place.iter().all(|x| x.abs() <= MAX_LENGTH_MM)
                && sizes
                    .iter()
                    .all(|size| *size > 0.0 && *size <= MAX_LENGTH_MM);
            let rule = format!("sizes must be positive, and nothing over {MAX_LENGTH_MM}");
            self.require(ok, &format!("keep_out[{index}]"), rule);
            if let (Some(area), None) = (area, &self.group.surface) {
                let ok = !encloses(zone, centre, area);
                let problem = "covers all of area_mm, so that nothing finds room";
                self.require(ok, &format!("keep_out[{index}]"), problem);
            }
        }
    }
}

/// Whether a zone leaves nothing of a rectangle.
fn encloses(zone: &Zone, centre: [f64; 2], size: [f64; 2]) -> bool {
    let signs = [-0.5, 0.5];
    let mut corners = signs
        .iter()
        .flat_map(|x| signs.map(|y| [centre[0] + x * size[0], centre[1] + y * size[1]]));
    corners.all(|[x, y]| match zone {
        Zone::Rectangle { centre_mm, size_mm } => {
            (x - centre_mm[0]).abs() <= size_mm[0] / 2.0
                && (y - centre_mm[1]).abs() <= size_mm[1] / 2.0
        }
        Zone::Disc {
            centre_mm,
            diameter_mm,
        } => (x - centre_mm[0]).hypot(y - centre_mm[1]) <= diameter_mm / 2.0,
    })
}

/// Notes groups whose objects cannot find room, whatever is drawn: even the fewest and the
/// smallest share more area than there is, or the smallest is larger than what it shall lie on.
pub(in crate::scene) fn check_room(scene: &SceneSpec, assets: &Assets, problems: &mut Problems) {
    for (number, group) in scene.placement.0.iter().enumerate() {
        let sizes = members(group, &scene.objects).into_iter();
        let least = sizes
            .map(|family| least_size_m(family, assets))
            .fold(None, least_area);
        let Some(least) = least else { continue };
        let key = scene.placement.key(number);
        if let (Method::Scattered, Some(area), Some(count)) =
            (&group.method, group.area_mm, &group.count)
        {
            let area = Vec2::from(area.map(|side| side as f32 / 1000.0));
            let count = count.support().0.max(0.0) as f32;
            let own = least * (1.0 - group.overlap as f32);
            // Objects reach over the area's edge by half their diagonal.
            let around = area + own.length();
            let ok = group.surface.is_some() || count * own.x * own.y <= around.x * around.y;
            let problem = format!(
                "is too small: {count} objects of at least {:.1} x {:.1} mm have no room in it",
                own.x * 1000.0,
                own.y * 1000.0
            );
            problems.require(ok, &format!("{key}.area_mm"), problem);
        }
        let is_dropped = matches!(group.method, Method::Dropped { .. });
        let parts = scene.dressing.iter().flat_map(|set| &set.parts);
        let tops: Vec<Vec2> = parts
            .filter(|part| part.name.is_some() && part.name == group.surface)
            .filter_map(|part| {
                let share = flat_top(&part.shape)?;
                let mesh = assets.meshes_of(&part.shape)?.start;
                Some(assets.meshes[mesh].half_extents_m.truncate() * share)
            })
            .collect();
        let half = least / 2.0;
        let fits = |top: &Vec2| {
            let (top, half) = (sorted(*top), sorted(half));
            top.cmpge(half).all() || top.length() >= half.length()
        };
        problems.require(
            is_dropped || tops.is_empty() || tops.iter().any(fits),
            &format!("{key}.surface"),
            "its top is smaller than the smallest object",
        );
    }
}

fn sorted(of: Vec2) -> Vec2 {
    Vec2::new(of.min_element(), of.max_element())
}

/// The sides of the smallest footprint of a family; zero where that is not known.
fn least_size_m(family: &Family, assets: &Assets) -> Vec2 {
    let Some(shape) = &family.shape else {
        return Vec2::ZERO;
    };
    let Some(meshes) = assets.meshes_of(shape) else {
        return Vec2::ZERO;
    };
    let meshes = assets.meshes[meshes].iter();
    let least = meshes
        .map(|mesh| mesh.half_extents_m.truncate() * 2.0)
        .reduce(Vec2::min);
    let lowest = |factor: &Distribution| factor.support().0.max(0.0) as f32;
    let [x, y, _] = &family.stretch;
    least.unwrap_or(Vec2::ZERO) * lowest(&family.scale) * Vec2::new(lowest(x), lowest(y))
}

fn least_area(least: Option<Vec2>, next: Vec2) -> Option<Vec2> {
    match least {
        Some(least) if least.element_product() <= next.element_product() => Some(least),
        _ => Some(next),
    }
}

#[cfg(test)]
mod tests {
    use crate::scene::placement::tests::try_plan;

    #[test]
    fn all_problems_of_all_groups_are_told_with_their_keys() {
        let text = r##"
dressing:
  - {weight: 1, parts: [{name: ball, shape: {sphere: {diameter_mm: 50}}, position_mm: [0, 0, 0], colour: "#ffffff"}]}
  - {weight: 1}
placement:
  - {method: {grid: {columns: 0, rows: 3, spacing_mm: [5, 0]}}, count: 3, clustering: 0.5}
  - {count: 600, surface: crate, families: [crate, lamp], max_hidden: 1.5}
  - {surface: shelf, gap_mm: -1}
  - {count: 2, surface: ball, distractors: 3, families: [die]}
  - {count: 2, area_mm: [100, 0], method: {dropped: {height_mm: -5, from_mm: [-1, 1], friction: 9}}, yaw_deg: 3}
  - {count: 2, area_mm: [100, 100], keep_out: [{disc: {centre_mm: [0, 0], diameter_mm: 200}}, {rectangle: {centre_mm: [0, 0], size_mm: [1, 0]}}]}
"##;
        let message = try_plan(text).unwrap_err().to_string();
        for part in [
            "placement[0].count: follows from the grid",
            "placement[0].clustering: is for objects that are scattered",
            "placement[0].method.grid: 0 cells",
            "placement[0].method.grid.spacing_mm",
            "placement[1].count: draws of 600..=600",
            "placement[1].families[1]: `lamp` is no family; there are die, crate, stone",
            "placement[1].max_hidden: 1.5 is not within 0..=1",
            "placement[2].surface: `shelf` is neither",
            "placement[2].count: is missing",
            "placement[2].gap_mm",
            "placement[3].surface: dressing[1] has no part named `ball`",
            "placement[3].surface: `ball` has no flat top",
            "placement[3].distractors: no family",
            "placement[4].area_mm: both sides",
            "placement[4].method.dropped.height_mm",
            "placement[4].method.dropped.from_mm",
            "placement[4].method.dropped.friction",
            "placement[4].method: what is dropped may hide anything",
            "placement[4].yaw_deg",
            "placement[5].keep_out[0]: covers all",
            "placement[5].keep_out[1]: sizes",
        ] {
            assert!(message.contains(part), "{part} is not in {message}");
        }
    }

    #[test]
    fn families_lie_on_families_of_earlier_groups_only() {
        let on = |first: &str, second: &str| {
            let group = |families: &str, on: &str| {
                format!("  - {{count: 1, area_mm: [200, 200], families: [{families}]{on}}}\n")
            };
            let text = group("crate", first) + &group("die", second);
            try_plan(&format!("placement:\n{text}")).map_err(|error| error.to_string())
        };
        assert!(on("", ", surface: crate").is_ok());
        let message = on(", surface: die", "").unwrap_err();
        assert!(
            message.contains("placement[0].surface: no group before this one"),
            "{message}"
        );
        let message = on(", surface: crate", "").unwrap_err();
        assert!(
            message.contains("placement[0].surface: no group before this one"),
            "{message}"
        );
        let message = on("", ", surface: die").unwrap_err();
        assert!(
            message.contains("placement[1].surface"),
            "a group on itself: {message}"
        );
    }

    #[test]
    fn too_small_an_area_is_a_problem() {
        let area = |side: u32| {
            let text =
                format!("placement: {{count: 40, area_mm: [{side}, {side}], families: [crate]}}");
            try_plan(&text).map_err(|error| error.to_string())
        };
        assert!(area(300).is_ok());
        let message = area(80).unwrap_err();
        assert!(
            message.contains("placement.area_mm: is too small: 40 objects"),
            "{message}"
        );
        let text = r##"
dressing: [{weight: 1, parts: [{name: stub, shape: {cylinder: {diameter_mm: 20, height_mm: 50}}, position_mm: [0, 0, 0], colour: "#ffffff"}]}]
placement: {count: 1, surface: stub, families: [crate]}
"##;
        let message = try_plan(text).unwrap_err().to_string();
        assert!(
            message.contains("placement.surface: its top is smaller"),
            "{message}"
        );
    }
}
