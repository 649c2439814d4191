//! Objects that fall and come to rest.

use glam::{Mat4, Quat, Vec2, Vec3};
use rand::RngExt;

use super::footprint::Footprint;
use super::settle::{Physics, extent, settle};
use super::spec::Method;
use super::{Drawn, Group, Layout, PLACEMENT_ATTEMPTS, Site, Thing, one_of};
use crate::scene::body::upper_face;
use crate::scene::instance::Object;
use crate::scene::plan::ScenePlan;
use crate::scene::sampler::metres;
use crate::scene::spec::{Class, Family};
use crate::seed::Generator;
use crate::spec::Distribution;

/// Places that an object may begin to fall from, of which the lowest is taken: towers of
/// objects fall hard and scatter.
const STARTS: usize = 4;

/// How far an object may lie below the foot of what it fell on, in metres.
const SINK_M: f32 = 1e-3;

/// The ball around an object that is about to fall.
struct Ball {
    centre: Vec3,
    radius: f32,
}

impl Ball {
    /// The least height from `z` on at which a ball at `place` meets no other ball and nothing
    /// that was placed.
    fn free_height(place: Vec2, mut z: f32, radius: f32, balls: &[Ball], things: &[Thing]) -> f32 {
        loop {
            let over_ball = |other: &Ball| {
                let reach = 1.02 * (radius + other.radius);
                let across = place.distance_squared(other.centre.truncate());
                let up = (reach * reach - across).max(0.0).sqrt();
                ((z - other.centre.z).abs() < up).then_some(other.centre.z + up)
            };
            let over_thing = |thing: &Thing| {
                let footprint = &thing.footprint;
                let is_met = footprint.distance(place) < radius
                    && z - radius < footprint.high
                    && z + radius > footprint.low;
                is_met.then_some(footprint.high + radius)
            };
            let balls = balls.iter().filter_map(over_ball);
            let least = balls
                .chain(things.iter().filter_map(over_thing))
                .fold(z, f32::max);
            if least <= z {
                return z;
            }
            z = least;
        }
    }
}

impl<'a> Group<'a> {
    /// Lets all objects fall, and keeps those that come to rest where they may.
    pub(super) fn drop_all(
        &self,
        draws: Vec<Drawn<'a>>,
        sites: &[Site],
        layout: &mut Layout<'a>,
        generator: &mut Generator,
    ) {
        let Method::Dropped {
            height_mm,
            from_mm,
            friction,
            restitution,
        } = &self.spec.method
        else {
            return;
        };
        let from = from_mm.map(|sides| Vec2::from(sides.map(metres)) / 2.0);
        let starts: Vec<Site> = sites
            .iter()
            .map(|site| Site {
                half: from.map_or(site.half, |from| from.min(site.half)),
                ..*site
            })
            .collect();
        let physics = Physics {
            friction: friction.sample(generator).clamp(0.0, 2.0) as f32,
            restitution: restitution.sample(generator).clamp(0.0, 1.0) as f32,
        };
        let (mut falling, mut families, mut balls) = (Vec::new(), Vec::new(), Vec::new());
        for drawn in draws {
            match self.start(drawn, height_mm, &starts, layout, &balls) {
                Some((object, family, ball)) => {
                    falling.push(object);
                    families.push(family);
                    balls.push(ball);
                }
                None => layout.not_placed += 1,
            }
        }
        let assets = self.plan.assets();
        let stays = |object: &Object| {
            let (low, high) = extent(object, assets);
            self.may_lie(low, high, object.world_from_object.w_axis.truncate(), sites)
        };
        let settled = settle(assets, &layout.objects, falling, physics, stays);
        for (object, family) in settled.into_iter().zip(families) {
            let Some(object) = object else {
                layout.not_placed += 1;
                continue;
            };
            let (low, high) = extent(&object, assets);
            let thing = Thing {
                footprint: box_of(low, high),
                name: Some(&family.name),
                shape: family.shape.as_ref(),
            };
            layout.push(relabelled(self.plan, family, object), thing);
        }
    }

    /// An object with any turn, where it begins to fall; `None` where keep-out zones leave it
    /// no place.
    fn start(
        &self,
        drawn: Drawn<'a>,
        height_mm: &Distribution,
        sites: &[Site],
        layout: &Layout,
        balls: &[Ball],
    ) -> Option<(Object, &'a Family, Ball)> {
        let Drawn {
            object,
            family,
            mut generator,
        } = drawn;
        let radius = object.half_extents_m.length();
        let height = metres(height_mm.sample(&mut generator).max(0.0));
        let turn = any_turn(&mut generator);
        let mut best: Option<Vec3> = None;
        let mut found = 0;
        for _ in 0..PLACEMENT_ATTEMPTS {
            let site = one_of(sites, &mut generator)?;
            let mut unit = || generator.random::<f32>() * 2.0 - 1.0;
            let place = site.place(Vec2::new(unit(), unit()) * site.half);
            let least = site.height + height + radius;
            let around = Footprint::standing(place, Vec3::splat(radius), 0.0, least - radius);
            if self.spec.keep_out.iter().any(|zone| around.meets(zone)) {
                continue;
            }
            let z = Ball::free_height(place, least, radius, balls, &layout.things);
            if best.is_none_or(|best| z < best.z) {
                best = Some(place.extend(z));
            }
            found += 1;
            // The first of the lowest places will do.
            if found == STARTS || z <= least {
                break;
            }
        }
        let centre = best?;
        let object = object.moved(Mat4::from_rotation_translation(turn, centre));
        Some((object, family, Ball { centre, radius }))
    }

    /// Whether an object with this extent may lie where it came to rest: its middle within the
    /// area, on what it was to fall on, and nothing of it in a zone.
    fn may_lie(&self, low: Vec3, high: Vec3, middle: Vec3, sites: &[Site]) -> bool {
        let at = middle.truncate();
        let is_on = |site: &Site| {
            let base = site.surface.map_or(0.0, |surface| surface.base);
            site.contains(at)
                && low.z > base - SINK_M
                && site.surface.is_none_or(|surface| surface.covers(at))
        };
        let around = box_of(low, high);
        sites.iter().any(is_on) && !self.spec.keep_out.iter().any(|zone| around.meets(zone))
    }
}

fn box_of(low: Vec3, high: Vec3) -> Footprint {
    let middle = (low + high) / 2.0;
    Footprint::standing(middle.truncate(), (high - low) / 2.0, 0.0, low.z)
}

/// The object with the class that it has as it lies: a die's face that points nearest to
/// straight up.
fn relabelled(plan: &ScenePlan, family: &Family, object: Object) -> Object {
    match family.class {
        Class::UpperFace => {
            let face = ScenePlan::face_name(upper_face(object.world_from_object));
            Object {
                category_id: plan.category_id(face),
                ..object
            }
        }
        _ => object,
    }
}

/// Any rotation, each as likely (Shoemake, "Uniform random rotations", Graphics Gems III,
/// 1992).
fn any_turn(generator: &mut Generator) -> Quat {
    let mut unit = || generator.random::<f32>();
    let (share, first, second) = (unit(), unit(), unit());
    let [first, second] =
        [first, second].map(|turn| Vec2::from_angle(turn * std::f32::consts::TAU));
    let (first, second) = (first * (1.0 - share).sqrt(), second * share.sqrt());
    Quat::from_xyzw(first.y, first.x, second.y, second.x)
}

#[cfg(test)]
mod tests {
    use glam::Vec4;

    use super::super::settle::tests::distances_m;
    use super::super::tests::{draw, try_plan};
    use super::*;

    const HEAP: &str = "placement: {count: 24, area_mm: [400, 400], families: [die, crate], method: {dropped: {height_mm: {uniform: [5, 40]}, from_mm: [60, 60]}}}";

    #[test]
    fn what_fell_lies_on_something_and_in_nothing() {
        let plan = try_plan(HEAP).unwrap();
        let mut seen = 0;
        for index in 0..4 {
            let scene = draw(HEAP, index);
            assert_eq!(scene.objects.len() + scene.not_placed as usize, 24);
            for (number, object) in scene.objects.iter().enumerate() {
                let (low, _) = extent(object, plan.assets());
                let others = distances_m(&scene.objects, number, plan.assets());
                let nearest = others.iter().copied().fold(low.z, f32::min);
                assert!(nearest.abs() < 1e-3, "{nearest} m from what carries it");
                // A fiftieth of a die.
                assert!(nearest > -3.2e-4, "{nearest} m deep in something");
                seen += 1;
            }
        }
        assert!(seen > 90, "{seen}");
    }

    #[test]
    fn what_lies_still_goes_on_doing_so() {
        let plan = try_plan(HEAP).unwrap();
        let physics = Physics {
            friction: 0.5,
            restitution: 0.2,
        };
        let mut moved_m = Vec::new();
        for index in 0..4 {
            let scene = draw(HEAP, index);
            let again = settle(plan.assets(), &[], scene.objects.clone(), physics, |_| true);
            for (before, after) in scene.objects.iter().zip(again) {
                let after = after.map_or(Vec4::INFINITY, |after| after.world_from_object.w_axis);
                moved_m.push((after - before.world_from_object.w_axis).length());
            }
        }
        // A world that begins anew has forgotten what its contacts carry, so that few of those
        // that lean may slip.
        let slipped = moved_m.iter().filter(|moved| **moved > 1e-3).count();
        assert!(
            slipped * 20 <= moved_m.len(),
            "{slipped} of {}: {moved_m:?}",
            moved_m.len()
        );
    }

    #[test]
    fn the_same_seed_gives_the_same_heap() {
        let (first, second) = (draw(HEAP, 7), draw(HEAP, 7));
        assert_eq!(first, second);
        assert_ne!(first.objects, draw(HEAP, 8).objects);
    }

    #[test]
    fn all_faces_come_up_about_equally_often_and_are_named() {
        let text = "placement: {count: 20, area_mm: [500, 500], families: [die], method: {dropped: {height_mm: 60}}}";
        let plan = try_plan(text).unwrap();
        let mut counts = [0_f64; 6];
        for index in 0..40 {
            for object in draw(text, index).objects {
                let face = upper_face(object.world_from_object);
                assert_eq!(
                    object.category_id,
                    plan.category_id(ScenePlan::face_name(face))
                );
                counts[face - 1] += 1.0;
            }
        }
        let expected = counts.iter().sum::<f64>() / 6.0;
        let chi_square: f64 = counts
            .iter()
            .map(|c| (c - expected).powi(2) / expected)
            .sum();
        // The 99.9 % point at five degrees of freedom.
        assert!(expected > 100.0 && chi_square < 20.5, "{counts:?}");
    }

    #[test]
    fn a_bowl_holds_what_falls_into_it_and_the_rest_is_counted() {
        let text = r##"
dressing:
  - weight: 1
    parts:
      - {name: bowl, shape: {lathe: {profile_mm: [[0, 0], [40, 0], [80, 45], [75, 48], [37, 6], [0, 6]]}}, position_mm: [0, 0, 0], colour: "#ffffff"}
placement: {count: 12, surface: bowl, area_mm: [60, 60], families: [stone, die], method: {dropped: {height_mm: 20}}}
"##;
        let mut held = 0;
        for index in 0..4 {
            let scene = draw(text, index);
            let fell = &scene.objects[1..];
            assert_eq!(fell.len() + scene.not_placed as usize, 12);
            for object in fell {
                let at = object.world_from_object.w_axis.truncate();
                assert!(at.truncate().length() < 0.075 && at.z > 0.006, "{at}");
            }
            let lowest = fell.iter().map(|object| object.world_from_object.w_axis.z);
            assert!(lowest.fold(1.0, f32::min) < 0.02, "the bowl is hollow");
            held += fell.len();
        }
        assert!(held > 24, "{held}");
    }
}
