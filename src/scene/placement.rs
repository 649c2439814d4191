//! Where objects lie: scattered, in a grid, or as they came to rest.
//!
//! Groups of objects are placed in order, each next to what was placed before.

mod check;
mod dropped;
mod footprint;
mod layout;
mod settle;
mod sight;
mod spec;

use glam::{Mat4, Vec2};
use rand::RngExt;

pub(super) use self::check::{check, check_room};
use self::footprint::{Footprint, Surface};
use self::layout::{Layout, Site, Thing};
use self::sight::Sight;
pub use self::spec::{Method, PlacementSpec, Placements, Zone};
use super::body::draw_object;
use super::instance::{Camera, Object};
use super::plan::ScenePlan;
use super::sampler::{metres, pick};
use super::spec::{Class, Family, Paint};
use crate::seed::{Generator, SeedKey};
use crate::spec::Distribution;

/// Attempts to find room for one object before it is left out.
const PLACEMENT_ATTEMPTS: usize = 60;

/// The most objects of one group.
const MAX_OBJECTS: u64 = 500;

/// All objects of an image, the dressing first, and how many found no room. Limits on what is
/// hidden need the camera.
pub(super) fn sample_objects(
    plan: &ScenePlan,
    key: &SeedKey,
    camera: Option<&Camera>,
) -> (Vec<Object>, u32) {
    let spec = plan.spec();
    let mut generator = key.generator("layout", 0);
    let mut layout = Layout::default();
    if !spec.dressing.is_empty() {
        let chosen = pick(&spec.dressing, |dressing| dressing.weight, &mut generator);
        layout.dress(plan, chosen, &mut generator);
    }
    // Only scenes that limit what is hidden pay for looking.
    let groups = &spec.placement.0;
    let is_limited = groups.iter().any(|group| group.max_hidden.is_some());
    let mut sight = camera
        .filter(|_| is_limited)
        .map(|camera| Sight::new(plan, camera));
    if let Some(sight) = &mut sight {
        for object in &layout.objects {
            sight.add(object, None);
        }
    }
    for (number, placement) in (0..).zip(groups) {
        // The first group goes on with the scene's own stream.
        let key = match number {
            0 => *key,
            _ => key.child("group", number),
        };
        if number > 0 {
            generator = key.generator("layout", 0);
        }
        let group = Group::new(plan, placement, key);
        group.place(&mut layout, &mut sight, &mut generator);
    }
    (layout.objects, layout.not_placed)
}

/// An object that looks for a place.
struct Drawn<'a> {
    object: Object,
    family: &'a Family,
    /// The object's own stream, for all that is drawn of it from here on.
    generator: Generator,
}

/// A group of objects to be placed.
struct Group<'a> {
    plan: &'a ScenePlan,
    spec: &'a PlacementSpec,
    key: SeedKey,
    /// What `count` is drawn from.
    families: Vec<&'a Family>,
    /// What `distractors` is drawn from.
    distractors: Vec<&'a Family>,
}

/// One of a family's paints; meshes from files may have none.
fn pick_paint<'a>(family: &'a Family, generator: &mut Generator) -> Option<&'a Paint> {
    match family.paints.as_slice() {
        [] => None,
        paints => Some(pick(paints, |paint| paint.weight, generator)),
    }
}

/// The family and paint that all objects have, where they are alike.
type Kind<'a> = Option<(&'a Family, Option<&'a Paint>)>;

impl<'a> Group<'a> {
    fn new(plan: &'a ScenePlan, spec: &'a PlacementSpec, key: SeedKey) -> Self {
        let of_group = members(spec, &plan.spec().objects);
        let is_unlabelled = |family: &&Family| family.class == Class::Unlabelled;
        let (distractors, families) = match spec.distractors {
            Some(_) => of_group.into_iter().partition(is_unlabelled),
            None => (Vec::new(), of_group),
        };
        Group {
            plan,
            spec,
            key,
            families,
            distractors,
        }
    }

    fn place(&self, layout: &mut Layout<'a>, sight: &mut Option<Sight>, generator: &mut Generator) {
        let count = draw_count(&self.spec.count, generator);
        let kind = self.draw_kind(generator);
        let distractors = draw_count(&self.spec.distractors, generator);
        let draws = (0..count + distractors).map(|number| match number < count {
            true => self.draw(number, &self.families, kind),
            false => self.draw(number, &self.distractors, None),
        });
        let sites = self.sites(layout);
        match &self.spec.method {
            Method::Scattered => {
                let first = layout.things.len();
                for drawn in draws {
                    self.scatter(drawn, first, &sites, layout, sight);
                }
            }
            Method::Grid { .. } => self.fill_grids(&sites, kind, layout, sight, generator),
            Method::Dropped { .. } => self.drop_all(draws.collect(), &sites, layout, generator),
        }
    }

    fn draw_kind(&self, generator: &mut Generator) -> Kind<'a> {
        let family = *pick(&self.families, |family| family.weight, generator);
        let paint = pick_paint(family, generator);
        (generator.random::<f64>() < self.spec.same_kind).then_some((family, paint))
    }

    fn draw(&self, number: u64, families: &[&'a Family], kind: Kind<'a>) -> Drawn<'a> {
        let mut generator = self.key.generator("object", number);
        let (family, paint) = kind.unwrap_or_else(|| {
            let family = *pick(families, |family| family.weight, &mut generator);
            let paint = pick_paint(family, &mut generator);
            (family, paint)
        });
        let mut object = draw_object(self.plan, family, paint, &mut generator);
        // A stream of its own: how boxes are drawn does not move what is drawn.
        let margin = &self.plan.spec().labels.margin;
        let margin = margin.sample(&mut self.key.generator("label", number));
        object.label_margin = margin.clamp(-0.5, 2.0) as f32;
        Drawn {
            object,
            family,
            generator,
        }
    }

    fn sites(&self, layout: &Layout) -> Vec<Site> {
        let area = self.spec.area_mm;
        let area = area.map(|[x, y]| Vec2::new(x as f32, y as f32) / 2000.0);
        let centre = Vec2::from(self.spec.centre_mm.map(metres));
        let Some(name) = &self.spec.surface else {
            return vec![Site {
                centre,
                half: area.unwrap_or(Vec2::INFINITY),
                yaw: 0.0,
                height: 0.0,
                surface: None,
            }];
        };
        let on = |surface: Surface| Site {
            centre: surface.centre + Vec2::from_angle(surface.yaw).rotate(centre),
            half: area.unwrap_or(surface.half),
            yaw: surface.yaw,
            height: surface.top,
            surface: Some(surface),
        };
        layout.surfaces(name).into_iter().map(on).collect()
    }

    /// Places one object where there is room. Those from `first` on are the group's.
    fn scatter(
        &self,
        drawn: Drawn<'a>,
        first: usize,
        sites: &[Site],
        layout: &mut Layout<'a>,
        sight: &mut Option<Sight>,
    ) {
        let Drawn {
            object,
            family,
            mut generator,
        } = drawn;
        let half = object.world_half_extents_m().truncate() * (1.0 - self.spec.overlap as f32);
        let neighbours = first..layout.things.len();
        let near = generator.random::<f64>() < self.spec.clustering && !neighbours.is_empty();
        for attempt in 0..PLACEMENT_ATTEMPTS {
            let mut unit = || generator.random::<f32>() * 2.0 - 1.0;
            let any_yaw = unit() * std::f32::consts::PI;
            let near = near && attempt < PLACEMENT_ATTEMPTS / 2;
            let (along, across) = match near {
                // An angle, and how far away.
                true => (unit() * std::f32::consts::PI, 1.25 + 0.35 * unit()),
                false => (unit(), unit()),
            };
            let Some(site) = one_of(sites, &mut generator) else {
                break;
            };
            let centre = if near {
                let other = &layout.things[generator.random_range(neighbours.clone())].footprint;
                other.centre
                    + Vec2::from_angle(along)
                        * across
                        * (other.half.max_element() + half.max_element())
            } else {
                site.place(Vec2::new(along, across) * site.half)
            };
            let yaw = self.yaw(site, &mut generator).unwrap_or(any_yaw);
            if site.contains(centre) && self.put(&object, family, site, centre, yaw, layout, sight)
            {
                return;
            }
        }
        layout.not_placed += 1;
    }

    /// The turn about the upright axis, in radians, where the scene gives one.
    fn yaw(&self, site: &Site, generator: &mut Generator) -> Option<f32> {
        let degrees = self.spec.yaw_deg.as_ref()?.sample(generator) as f32;
        Some(site.yaw + degrees.to_radians())
    }

    /// Puts one object into each filled cell of a grid on each site.
    fn fill_grids(
        &self,
        sites: &[Site],
        kind: Kind<'a>,
        layout: &mut Layout<'a>,
        sight: &mut Option<Sight>,
        generator: &mut Generator,
    ) {
        let Method::Grid {
            columns,
            rows,
            spacing_mm,
            jitter_mm,
            fill,
        } = &self.spec.method
        else {
            return;
        };
        let fill = fill.sample(generator);
        let spacing = Vec2::from(spacing_mm.map(metres));
        let middle = Vec2::new(*columns as f32 - 1.0, *rows as f32 - 1.0) / 2.0;
        let cells = (0..*rows).flat_map(|row| (0..*columns).map(move |column| (column, row)));
        let cells = sites
            .iter()
            .flat_map(|site| cells.clone().map(move |cell| (site, cell)));
        let mut filled = 0;
        for (number, (site, (column, row))) in (0..).zip(cells) {
            if generator.random::<f64>() >= fill {
                continue;
            }
            filled += 1;
            if filled > MAX_OBJECTS {
                layout.not_placed += 1;
                continue;
            }
            let mut drawn = self.draw(number, &self.families, kind);
            let cell = (Vec2::new(column as f32, row as f32) - middle) * spacing;
            let is_placed = (0..PLACEMENT_ATTEMPTS).any(|_| {
                let mut jitter = || metres(jitter_mm.sample(&mut drawn.generator));
                let centre = site.place(cell + Vec2::new(jitter(), jitter()));
                let yaw = self.yaw(site, &mut drawn.generator).unwrap_or(site.yaw);
                self.put(
                    &drawn.object,
                    drawn.family,
                    site,
                    centre,
                    yaw,
                    layout,
                    sight,
                )
            });
            layout.not_placed += u32::from(!is_placed);
        }
    }

    /// Puts an object at a place, unless something forbids it.
    #[expect(
        clippy::too_many_arguments,
        reason = "an object, its place and what is there already"
    )]
    fn put(
        &self,
        object: &Object,
        family: &'a Family,
        site: &Site,
        centre: Vec2,
        yaw: f32,
        layout: &mut Layout<'a>,
        sight: &mut Option<Sight>,
    ) -> bool {
        let half = object.world_half_extents_m();
        let whole = Footprint::standing(centre, half, yaw, site.height);
        let footprint = Footprint {
            half: whole.half * (1.0 - self.spec.overlap as f32),
            ..whole
        };
        let support = site.surface.map(|surface| surface.index);
        let gap = metres(self.spec.gap_mm);
        let is_free = layout.things.iter().enumerate().all(|(index, thing)| {
            support == Some(index) || !footprint.overlaps(&thing.footprint, gap)
        });
        let is_held = site.surface.is_none_or(|surface| surface.holds(&whole));
        let is_allowed = !self.spec.keep_out.iter().any(|zone| whole.meets(zone));
        if !(is_free && is_held && is_allowed) {
            return false;
        }
        let pose = Mat4::from_translation(centre.extend(site.height + half.z))
            * Mat4::from_rotation_z(yaw);
        let object = object.clone().moved(pose);
        if let Some(sight) = sight {
            let limit = self
                .spec
                .max_hidden
                .filter(|_| object.category_id.is_some());
            if !sight.try_add(&object, limit.map(|limit| limit as f32)) {
                return false;
            }
        }
        let thing = Thing {
            footprint,
            name: Some(&family.name),
            shape: family.shape.as_ref(),
        };
        layout.push(object, thing);
        true
    }
}

/// The families that a group's objects are of.
fn members<'a>(spec: &PlacementSpec, all: &'a [Family]) -> Vec<&'a Family> {
    let is_member =
        |family: &&Family| spec.families.is_empty() || spec.families.contains(&family.name);
    all.iter().filter(is_member).collect()
}

fn draw_count(count: &Option<Distribution>, generator: &mut Generator) -> u64 {
    let drawn = count.as_ref().map_or(0.0, |count| count.sample(generator));
    drawn.round().clamp(0.0, MAX_OBJECTS as f64) as u64
}

/// One of several, each as likely; nothing is drawn where there is no choice.
fn one_of<'a, T>(items: &'a [T], generator: &mut Generator) -> Option<&'a T> {
    match items.len() {
        0 | 1 => items.first(),
        count => items.get(generator.random_range(0..count)),
    }
}

#[cfg(test)]
pub(in crate::scene::placement) mod tests {
    use std::path::Path;

    use glam::Vec3;
    use proptest::prelude::*;

    use super::super::instance::SceneInstance;
    use super::*;
    use crate::scene::{SceneSpec, sample};
    use crate::spec::{self, SpecError};

    const VIEW: &str = r##"
image: {width_px: 320, height_px: 240}
camera: {distance_mm: 600, vertical_fov_deg: 45, tilt_deg: 30, roll_deg: 0, offset_mm: 0}
lights: []
environment: {uniform: {level: 1, kelvin: 6600}}
exposure_ev: 0
sensor: {noise: 0, blur_px: 0, vignetting: 0}
ground: {paints: [{body: "#808080"}], texture_strength: 0, texture_scale_mm: 1, roughness: 1}
"##;

    /// Three families: dice, crates with flat tops, and stones without a label.
    const FAMILIES: &str = r##"
objects:
  - {name: die, class: upper_face, shape: {die: {size_mm: 16, rounding: 0.3, pip_radius: 0.2}}, paints: [{body: "#ffffff"}]}
  - {name: crate, class: {fixed: crate}, shape: {box: {size_mm: [40, 30, 20]}}, scale: {uniform: [0.8, 1.2]}, paints: [{body: "#ffffff"}]}
  - {name: stone, class: unlabelled, shape: {ellipsoid: {size_mm: [14, 10, 8]}}, paints: [{body: "#ffffff"}]}
"##;

    pub(in crate::scene::placement) fn try_plan(placement: &str) -> Result<ScenePlan, SpecError> {
        let path = Path::new("s.yaml");
        let text = format!("{VIEW}{FAMILIES}{placement}");
        spec::parse::<SceneSpec>(&text, path, &[])?.into_plan(path)
    }

    pub(in crate::scene::placement) fn draw(placement: &str, index: u64) -> SceneInstance {
        sample(
            &try_plan(placement).unwrap(),
            &SeedKey::new(b"placement", 0),
            index,
        )
    }

    /// The upright box of an object that stands on its foot.
    fn footprint(object: &Object) -> Footprint {
        let (_, turn, at) = object.world_from_object.to_scale_rotation_translation();
        let axis = turn * Vec3::X;
        // A die may stand on any face, but all its sides are alike.
        let is_die = object.family == "die";
        let yaw = match is_die && axis.truncate().length() < 0.5 {
            true => (turn * Vec3::Y).truncate().to_angle(),
            false => axis.truncate().to_angle(),
        };
        let half = object.half_extents_m;
        Footprint::standing(at.truncate(), half, yaw, at.z - half.z)
    }

    fn apart(objects: &[Object], gap_m: f32) -> bool {
        let all: Vec<Footprint> = objects.iter().map(footprint).collect();
        (0..all.len()).all(|a| (0..a).all(|b| !all[a].overlaps(&all[b], gap_m - 1e-5)))
    }

    fn counts(scene: &SceneInstance) -> [usize; 3] {
        ["die", "crate", "stone"].map(|name| {
            scene
                .objects
                .iter()
                .filter(|object| object.family == name)
                .count()
        })
    }

    #[test]
    fn a_grid_has_an_object_in_each_cell() {
        let scene = draw(
            "placement: {families: [die], centre_mm: [5, -10], method: {grid: {columns: 3, rows: 2, spacing_mm: [40, 30]}}}",
            0,
        );
        assert_eq!((scene.objects.len(), scene.not_placed), (6, 0));
        let cells = [-15.0, 15.0]
            .iter()
            .flat_map(|y| [-40.0, 0.0, 40.0].map(|x| (x, *y)));
        for (object, (x, y)) in scene.objects.iter().zip(cells) {
            let expected = Vec3::new(x + 5.0, y - 10.0, 8.0) / 1000.0;
            let at = object.world_from_object.w_axis.truncate();
            assert!((at - expected).length() < 1e-6, "{at} is not {expected}");
            assert!(
                footprint(object)
                    .yaw
                    .rem_euclid(std::f32::consts::FRAC_PI_2)
                    < 1e-4
            );
        }
    }

    #[test]
    fn a_grid_is_filled_with_the_stated_probability() {
        let text = "placement: {families: [die], method: {grid: {columns: 10, rows: 10, spacing_mm: [30, 30], jitter_mm: {uniform: [-6, 6]}, fill: 0.3}}}";
        let mut filled = 0;
        for index in 0..10 {
            let scene = draw(text, index);
            assert!(apart(&scene.objects, 0.0));
            filled += scene.objects.len() + scene.not_placed as usize;
        }
        // Five standard deviations of a binomial distribution.
        assert!(
            (filled as f64 - 300.0).abs() < 5.0 * (1000.0_f64 * 0.3 * 0.7).sqrt(),
            "{filled}"
        );
    }

    #[test]
    fn families_stand_on_dressing_and_on_each_other() {
        let text = r##"
dressing:
  - weight: 1
    parts:
      - {name: board, shape: {box: {size_mm: [300, 120, 8]}}, position_mm: [0, 0, 0], colour: "#806040"}
      - {name: board, shape: {box: {size_mm: [300, 120, 8]}}, position_mm: [0, 0, 150], colour: "#806040"}
placement:
  - {count: 6, surface: board, families: [crate], yaw_deg: {uniform: [-10, 10]}, gap_mm: 3}
  - {count: 3, surface: crate, families: [die]}
  - {count: 4, area_mm: [500, 500], families: [stone], keep_out: [{rectangle: {centre_mm: [0, 0], size_mm: [300, 120]}}]}
"##;
        let mut heights = Vec::new();
        for index in 0..20 {
            let scene = draw(text, index);
            assert_eq!(counts(&scene), [3, 6, 4], "{index}");
            assert!(apart(&scene.objects[2..], 0.0));
            let crates = || {
                scene
                    .objects
                    .iter()
                    .filter(|object| object.family == "crate")
            };
            let all: Vec<Object> = crates().cloned().collect();
            assert!(apart(&all, 0.003));
            for object in crates() {
                let own = footprint(object);
                assert!(own.yaw.to_degrees().abs() < 10.001);
                let corners = own.corners();
                let limit = Vec2::new(0.15, 0.06) + 1e-5;
                assert!(corners.iter().all(|corner| corner.abs().cmple(limit).all()));
                heights.push((own.low * 1000.0).round() as i32);
            }
            for die in scene.objects.iter().filter(|object| object.family == "die") {
                let die = footprint(die);
                let below = crates().map(footprint);
                let mut below = below.filter(|below| below.distance(die.centre) == 0.0);
                assert!(below.any(|below| (below.high - die.low).abs() < 1e-5));
            }
            for stone in scene
                .objects
                .iter()
                .filter(|object| object.family == "stone")
            {
                assert_eq!((footprint(stone).low * 1e6).round(), 0.0);
            }
        }
        heights.sort_unstable();
        heights.dedup();
        assert_eq!(heights, [8, 158], "both boards are used, and nothing else");
    }

    #[test]
    fn distractors_are_counted_apart() {
        let scene = draw(
            "placement: {count: 5, distractors: 4, area_mm: [600, 600]}",
            0,
        );
        let [dice, crates, stones] = counts(&scene);
        assert_eq!((dice + crates, stones), (5, 4));
        assert!(
            scene
                .objects
                .iter()
                .all(|object| { (object.family == "stone") == object.category_id.is_none() })
        );
        // Without them, all families make up the count.
        let mixed = (0..20)
            .map(|index| counts(&draw("placement: {count: 5, area_mm: [600, 600]}", index))[2]);
        assert!(
            (10..60).contains(&mixed.sum::<usize>()),
            "about a third of 100"
        );
    }

    #[test]
    fn things_keep_out_of_zones() {
        let text = "placement: {count: 30, area_mm: [400, 400], keep_out: [{disc: {centre_mm: [50, 0], diameter_mm: 150}}, {rectangle: {centre_mm: [-100, 50], size_mm: [80, 200]}}]}";
        let plan = try_plan(text).unwrap();
        let zones = &plan.spec().placement.0[0].keep_out;
        let mut seen = 0;
        for index in 0..20 {
            for object in draw(text, index).objects {
                assert!(!zones.iter().any(|zone| footprint(&object).meets(zone)));
                seen += 1;
            }
        }
        assert!(seen > 300, "{seen}");
    }

    #[test]
    fn tables_and_paint_hinder_nothing() {
        let text = r##"
dressing: [{weight: 1, parts: [{shape: {box: {size_mm: [400, 400, 10]}}, position_mm: [0, 0, 100], colour: "#806040"}]}]
placement: {count: 4, area_mm: [200, 200], families: [die]}
"##;
        assert_eq!(draw(text, 0).not_placed, 0);
        let resting = text.replace("0, 100]", "0, 10]");
        assert_eq!(draw(&resting, 0).not_placed, 4, "dice are 16 mm high");
        let paint = "dressing: [{weight: 1, parts: [{shape: {quad: {size_mm: [400, 400]}}, position_mm: [0, 0, 0.3], colour: \"#ffffff\"}]}]\nplacement: {count: 4, area_mm: [200, 200], families: [die]}";
        assert_eq!(
            draw(paint, 0).not_placed,
            0,
            "a line on a floor can be stood on"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn nothing_overlaps(
            count in 1..40_u32,
            clustering in 0.0..1.0_f64,
            gap_mm in 0.0..8.0_f64,
            yaw_deg in proptest::option::of(-180.0..180.0_f64),
            index in 0..1000_u64,
        ) {
            let yaw = yaw_deg.map_or(String::new(), |yaw| format!(", yaw_deg: {yaw}"));
            let text = format!(
                "placement: {{count: {count}, area_mm: [300, 300], clustering: {clustering}, gap_mm: {gap_mm}{yaw}}}"
            );
            let scene = draw(&text, index);
            prop_assert!(apart(&scene.objects, gap_mm as f32 / 1000.0));
            prop_assert_eq!(scene.objects.len() + scene.not_placed as usize, count as usize);
        }
    }
}
