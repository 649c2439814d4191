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
            let least = balls.chain(things.iter().filter_map(over_thing)).fold(z, f32::max);
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
            friction,
            restitution,
        } = &self.spec.method
        else {
            return;
        };
        let physics = Physics {
            friction: friction.sample(generator).clamp(0.0, 2.0) as f32,
            restitution: restitution.sample(generator).clamp(0.0, 1.0) as f32,
        };
        let (mut falling, mut families, mut balls) = (Vec::new(), Vec::new(), Vec::new());
        for drawn in draws {
            match self.start(drawn, height_mm, sites, layout, &balls) {
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
    let [first, second] = [first, second].map(|turn| Vec2::from_angle(turn * std::f32::consts::TAU));
    let (first, second) = (first * (1.0 - share).sqrt(), second * share.sqrt());
    Quat::from_xyzw(first.y, first.x, second.y, second.x)
}
