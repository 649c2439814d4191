//! Rigid bodies that fall until they lie still.

use std::ops::ControlFlow;

use glam::{Mat4, Quat, Vec3};
use rapier3d::parry::transformation::try_convex_hull;
use rapier3d::prelude::{
    ColliderBuilder, PhysicsWorld, Pose, RigidBody, RigidBodyBuilder, RigidBodyHandle, Rotation,
    SharedShape, TriMeshFlags, Vector,
};

use crate::scene::asset::{Assets, Geometry};
use crate::scene::instance::{Object, Part};

/// The simulation's time step. Lengths are scaled so that objects are about one unit long,
/// which the solver's tolerances are made for; time is then in seconds times the root of the
/// units a metre.
const STEP_S: f32 = 1.0 / 120.0;

/// Steps after which what still moves is left out.
const MAX_STEPS: usize = 3000;

/// Steps from one look at what lies still to the next.
const LOOK_STEPS: usize = 20;

/// Speed in units a second below which an object counts as lying still at the last step.
const STILL: f32 = 0.1;

/// Loss of spin a second, which stops what rolls.
const ROLLING_LOSS: f32 = 1.0;

/// Error of the hulls' surface, over the part's smallest half extent.
const HULL_ERROR: f32 = 0.01;

/// Half the thickness of what has none, over its largest half extent.
const SHEET: f32 = 0.01;

/// What everything is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Physics {
    pub friction: f32,
    pub restitution: f32,
}

/// Lets objects fall among others that stay where they are, above the ground at z = 0. Gives
/// each where it came to rest, or `None` where `stays` does not want it there or it still moves
/// in the end. What is not wanted is taken away once all lies still, and the rest falls on.
pub(super) fn settle(
    assets: &Assets,
    fixed: &[Object],
    falling: Vec<Object>,
    physics: Physics,
    stays: impl Fn(&Object) -> bool,
) -> Vec<Option<Object>> {
    if falling.is_empty() {
        return Vec::new();
    }
    let sizes = falling
        .iter()
        .map(|object| 2.0 * object.half_extents_m.max_element());
    let unit_m = (sizes.sum::<f32>() / falling.len() as f32).max(1e-6);
    let mut simulation = Simulation::new(unit_m, physics);
    for object in fixed {
        simulation.add_fixed(object, assets);
    }
    for object in falling {
        simulation.add_falling(object, assets);
    }
    for step in 1..=MAX_STEPS {
        simulation.world.step();
        if step % LOOK_STEPS == 0 && simulation.look(&stays).is_break() {
            break;
        }
    }
    simulation.finish(&stays)
}

/// The corners of all parts of an object in the world, on the hulls that it falls with.
fn corners<'a>(object: &'a Object, assets: &'a Assets) -> impl Iterator<Item = Vec3> + 'a {
    object.parts.iter().flat_map(|part| {
        let positions = &geometry(part, assets).positions;
        positions
            .iter()
            .map(|at| part.world_from_local.transform_point3(*at))
    })
}

/// The corners of the box around an object along the world's axes.
pub(super) fn extent(object: &Object, assets: &Assets) -> (Vec3, Vec3) {
    let nowhere = (Vec3::INFINITY, Vec3::NEG_INFINITY);
    corners(object, assets).fold(nowhere, |(low, high), at| (low.min(at), high.max(at)))
}

/// The coarsest level of a part that is good enough to fall with.
fn geometry<'a>(part: &Part, assets: &'a Assets) -> &'a Geometry {
    let frame = part.world_from_local;
    let scale = [frame.x_axis, frame.y_axis, frame.z_axis]
        .iter()
        .fold(1e-9, |most: f32, axis| most.max(axis.length()));
    let mesh = &assets.meshes[part.mesh];
    let level = mesh.level_for(HULL_ERROR * part.half_extents_m.min_element() / scale);
    &mesh.levels[level].geometry
}

struct Body {
    object: Object,
    handle: RigidBodyHandle,
    is_gone: bool,
}

struct Simulation {
    world: PhysicsWorld,
    physics: Physics,
    /// Metres a unit of the simulation's length.
    unit_m: f32,
    bodies: Vec<Body>,
}

impl Simulation {
    fn new(unit_m: f32, physics: Physics) -> Self {
        let mut world = PhysicsWorld::new();
        world.gravity = Vector::new(0.0, 0.0, -9.81);
        world.integration_parameters.dt = STEP_S;
        let mut simulation = Simulation {
            world,
            physics,
            unit_m,
            bodies: Vec::new(),
        };
        let ground = simulation.collider(SharedShape::halfspace(Vector::Z));
        simulation.world.insert_collider(ground, None);
        simulation
    }

    fn collider(&self, shape: SharedShape) -> ColliderBuilder {
        ColliderBuilder::new(shape)
            .friction(self.physics.friction)
            .restitution(self.physics.restitution)
    }

    fn add_fixed(&mut self, object: &Object, assets: &Assets) {
        for part in &object.parts {
            let geometry = geometry(part, assets);
            let points = self.points(part, geometry, Mat4::IDENTITY);
            let shape = match is_convex(&points, geometry) {
                true => hull(&points),
                false => mesh(&points, geometry).or_else(|| hull(&points)),
            };
            if let Some(shape) = shape {
                let collider = self.collider(shape);
                self.world.insert_collider(collider, None);
            }
        }
    }

    fn add_falling(&mut self, object: Object, assets: &Assets) {
        let (_, turn, centre_m) = object.world_from_object.to_scale_rotation_translation();
        let pose = Pose::from_parts(
            vector(centre_m / self.unit_m),
            Rotation::from_xyzw(turn.x, turn.y, turn.z, turn.w),
        );
        let body = RigidBodyBuilder::dynamic()
            .pose(pose)
            .angular_damping(ROLLING_LOSS);
        let handle = self.world.insert_body(body);
        let object_from_world = object.world_from_object.inverse();
        let mut is_gone = true;
        for part in &object.parts {
            let points = self.points(part, geometry(part, assets), object_from_world);
            if let Some(shape) = hull(&points) {
                let collider = self.collider(shape);
                self.world.insert_collider(collider, Some(handle));
                is_gone = false;
            }
        }
        // What has no volume would hang in the air.
        if is_gone {
            self.world.remove_body(handle);
        }
        self.bodies.push(Body {
            object,
            handle,
            is_gone,
        });
    }

    /// The corners of a part in the simulation's unit. A sheet becomes a thin plate, since what
    /// has no volume has no mass.
    fn points(&self, part: &Part, geometry: &Geometry, frame: Mat4) -> Vec<Vector> {
        let place = |at: Vec3| {
            let at = frame.transform_point3(part.world_from_local.transform_point3(at));
            vector(at / self.unit_m)
        };
        let half = part.half_extents_m;
        let most = half.max_element();
        if half.min_element() > SHEET * most / 10.0 {
            return geometry.positions.iter().map(|at| place(*at)).collect();
        }
        let thin = Vec3::select(
            half.cmple(Vec3::splat(SHEET * most / 10.0)),
            Vec3::ONE,
            Vec3::ZERO,
        );
        // In the mesh's space, which may be scaled.
        let scale = part
            .world_from_local
            .transform_vector3(thin)
            .length()
            .max(1e-9);
        let lift = thin * (SHEET * most / scale);
        let positions = geometry.positions.iter();
        positions
            .flat_map(|at| [place(*at - lift), place(*at + lift)])
            .collect()
    }

    /// Takes away what may not lie where it does; breaks once all the rest lies still.
    fn look(&mut self, stays: &impl Fn(&Object) -> bool) -> ControlFlow<()> {
        let mut all_still = true;
        for body in self.bodies.iter().filter(|body| !body.is_gone) {
            all_still &= self.world.bodies[body.handle].is_sleeping();
        }
        if !all_still {
            return ControlFlow::Continue(());
        }
        let unwanted: Vec<usize> = (0..self.bodies.len())
            .filter(|index| !self.bodies[*index].is_gone)
            .filter(|index| !stays(&self.placed(&self.bodies[*index])))
            .collect();
        if unwanted.is_empty() {
            return ControlFlow::Break(());
        }
        for index in unwanted {
            self.bodies[index].is_gone = true;
            self.world.remove_body(self.bodies[index].handle);
        }
        // What leant on them falls on.
        self.world.wake_up_all(true);
        ControlFlow::Continue(())
    }

    /// The object where its body is now.
    fn placed(&self, body: &Body) -> Object {
        let pose = self.world.bodies[body.handle].position();
        let (turn, at) = (pose.rotation, pose.translation);
        let turn = Quat::from_xyzw(turn.x, turn.y, turn.z, turn.w).normalize();
        let centre_m = Vec3::new(at.x, at.y, at.z) * self.unit_m;
        let to = Mat4::from_rotation_translation(turn, centre_m);
        let by = to * body.object.world_from_object.inverse();
        let moved = body.object.clone().moved(by);
        Object {
            world_from_object: to,
            ..moved
        }
    }

    fn finish(self, stays: &impl Fn(&Object) -> bool) -> Vec<Option<Object>> {
        let result = |body: &Body| {
            if body.is_gone || !is_still(&self.world.bodies[body.handle]) {
                return None;
            }
            let object = self.placed(body);
            (object.world_from_object.is_finite() && stays(&object)).then_some(object)
        };
        self.bodies.iter().map(result).collect()
    }
}

fn is_still(body: &RigidBody) -> bool {
    body.is_sleeping() || body.linvel().length() + body.angvel().length() < STILL
}

fn vector(at: Vec3) -> Vector {
    Vector::new(at.x, at.y, at.z)
}

/// The convex hull of points; `None` where they span no volume.
fn hull(points: &[Vector]) -> Option<SharedShape> {
    let (corners, triangles) = try_convex_hull(points).ok()?;
    SharedShape::convex_mesh(corners, &triangles)
}

/// A hollow thing, such as a bowl, as its surface.
fn mesh(points: &[Vector], geometry: &Geometry) -> Option<SharedShape> {
    let flags = TriMeshFlags::FIX_INTERNAL_EDGES | TriMeshFlags::DELETE_DEGENERATE_TRIANGLES;
    let triangles = geometry.triangles.clone();
    SharedShape::trimesh_with_flags(points.to_vec(), triangles, flags).ok()
}

/// Whether no corner lies in front of a triangle.
fn is_convex(points: &[Vector], geometry: &Geometry) -> bool {
    // A sheet's points are those of a plate.
    if points.len() != geometry.positions.len() {
        return true;
    }
    let size = points
        .iter()
        .fold(0.0, |most: f32, at| most.max((*at - points[0]).length()));
    geometry.triangles.iter().all(|triangle| {
        let [a, b, c] = triangle.map(|index| points[index as usize]);
        let normal = (b - a).cross(c - a);
        let tolerance = 1e-3 * size * normal.length();
        points.iter().all(|at| (*at - a).dot(normal) <= tolerance)
    })
}

#[cfg(test)]
pub(super) mod tests {
    use rapier3d::parry::query;

    use super::*;

    /// Distances of an object's hulls from those of the others, in metres; below 0 is depth.
    pub(in crate::scene::placement) fn distances_m(
        objects: &[Object],
        of: usize,
        assets: &Assets,
    ) -> Vec<f32> {
        let shapes = |object: &Object| -> Vec<SharedShape> {
            let parts = object.parts.iter();
            let points = parts.map(|part| {
                let positions = &geometry(part, assets).positions;
                let place = |at: &Vec3| vector(part.world_from_local.transform_point3(*at) * 100.0);
                positions.iter().map(place).collect::<Vec<_>>()
            });
            points.map(|points| hull(&points).unwrap()).collect()
        };
        let own = shapes(&objects[of]);
        let others = objects.iter().enumerate().filter(|(index, _)| *index != of);
        let others: Vec<SharedShape> = others.flat_map(|(_, other)| shapes(other)).collect();
        let at = Pose::IDENTITY;
        let between = |a: &SharedShape, b: &SharedShape| {
            let contact = query::contact(&at, &**a, &at, &**b, 1.0).unwrap();
            contact.map_or(0.01, |contact| contact.dist / 100.0)
        };
        own.iter()
            .flat_map(|a| others.iter().map(|b| between(a, b)).collect::<Vec<_>>())
            .collect()
    }
}
