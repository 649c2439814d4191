//! What was placed so far, and where more may lie.

use glam::{Mat4, Vec2};

use super::footprint::{Footprint, Surface, flat_top, is_round};
use crate::scene::body::draw_dressing;
use crate::scene::instance::Object;
use crate::scene::plan::ScenePlan;
use crate::scene::sampler::metres;
use crate::scene::spec::{Dressing, Shape};
use crate::seed::Generator;
use crate::spec::Distribution;

/// What was placed so far.
#[derive(Default)]
pub(super) struct Layout<'a> {
    pub objects: Vec<Object>,
    /// One an object.
    pub things: Vec<Thing<'a>>,
    pub not_placed: u32,
}

/// What later objects need to know of one that was placed.
pub(super) struct Thing<'a> {
    pub footprint: Footprint,
    /// What `surface` calls it.
    pub name: Option<&'a str>,
    /// Its shape, where it is of one part.
    pub shape: Option<&'a Shape>,
}

impl<'a> Layout<'a> {
    pub(super) fn push(&mut self, object: Object, thing: Thing<'a>) {
        self.objects.push(object);
        self.things.push(thing);
    }

    pub(super) fn dress(
        &mut self,
        plan: &ScenePlan,
        chosen: &'a Dressing,
        generator: &mut Generator,
    ) {
        for part in &chosen.parts {
            let object = draw_dressing(plan, part, generator);
            let mut jitter = || {
                let unit = Distribution::Normal { mean: 0.0, sd: 1.0 };
                unit.sample(generator) * part.jitter_mm
            };
            let [x, y, z] = part.position_mm;
            let centre = Vec2::new(metres(x + jitter()), metres(y + jitter()));
            let low = metres(z);
            let height = low + object.half_extents_m.z;
            let thing = Thing {
                // A sheet without thickness is in nothing's way.
                footprint: Footprint {
                    high: low + 2.0 * object.half_extents_m.z,
                    ..Footprint::standing(centre, object.half_extents_m, 0.0, low)
                },
                name: part.name.as_deref(),
                shape: Some(&part.shape),
            };
            let pose = Mat4::from_translation(centre.extend(height));
            self.push(object.moved(pose), thing);
        }
    }

    /// The tops of everything of a name.
    pub(super) fn surfaces(&self, name: &str) -> Vec<Surface> {
        let things = self.things.iter().zip(&self.objects).enumerate();
        let named = things.filter(|(_, (thing, _))| thing.name == Some(name));
        named
            .map(|(index, (thing, object))| {
                let share = thing.shape.and_then(flat_top).unwrap_or(Vec2::ONE);
                Surface {
                    index,
                    centre: thing.footprint.centre,
                    half: object.half_extents_m.truncate() * share,
                    yaw: thing.footprint.yaw,
                    is_round: thing.shape.is_some_and(is_round),
                    base: thing.footprint.low,
                    top: thing.footprint.low + 2.0 * object.half_extents_m.z,
                }
            })
            .collect()
    }
}

/// A rectangle that objects may lie in.
#[derive(Clone, Copy)]
pub(super) struct Site {
    pub centre: Vec2,
    pub half: Vec2,
    pub yaw: f32,
    pub height: f32,
    /// What lies below it, where that is not the ground.
    pub surface: Option<Surface>,
}

impl Site {
    /// A place in the world from one along its own axes.
    pub(super) fn place(&self, local: Vec2) -> Vec2 {
        self.centre + Vec2::from_angle(self.yaw).rotate(local)
    }

    pub(super) fn contains(&self, centre: Vec2) -> bool {
        let local = Vec2::from_angle(-self.yaw).rotate(centre - self.centre);
        local.abs().cmple(self.half).all()
    }
}
