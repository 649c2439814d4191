//! What hides what, in a small picture that is drawn while objects are placed.

use glam::{Vec2, Vec3};

use crate::scene::asset::{Assets, Geometry};
use crate::scene::instance::{Camera, Object, Part};
use crate::scene::plan::ScenePlan;
use crate::scene::projection::Projection;

/// The longer side of the small picture, in pixels, at most.
const MAX_SIDE_PX: f32 = 512.0;

/// How far in pixels of the small picture triangles may lie from the true surface.
const TOLERANCE_PX: f32 = 0.3;

/// Nothing nearer to the camera than this is drawn, in metres.
const NEAR_M: f32 = 1e-3;

/// A small picture of what was placed: which object each pixel shows, and how far away.
///
/// It has one sample a pixel, through a lens without blur, at a longer side of at most
/// [`MAX_SIDE_PX`]. What it says of an object's hidden share is off by the pixels along the
/// object's outline, which the final picture divides otherwise.
pub(super) struct Sight<'a> {
    assets: &'a Assets,
    projection: Projection,
    /// Pixels of the small picture that one of the image has along each axis.
    scale: Vec2,
    focal_px: f32,
    width: usize,
    height: usize,
    depth: Vec<f32>,
    /// Number of the object that a pixel shows among `seen`.
    owner: Vec<Option<usize>>,
    seen: Vec<Seen>,
    /// The object that is being looked at, and the pixels that it covers.
    scratch: Vec<f32>,
    covered: Vec<usize>,
}

/// What is known of one object.
struct Seen {
    /// Pixels that it covers, hidden or not.
    covered: usize,
    visible: usize,
    /// The largest share of it that may be hidden.
    limit: Option<f32>,
}

impl Seen {
    fn allows(&self, visible: usize) -> bool {
        let hidden = self.covered.saturating_sub(visible) as f32;
        self.limit
            .is_none_or(|limit| hidden <= limit * self.covered as f32)
    }
}

impl<'a> Sight<'a> {
    pub(super) fn new(plan: &'a ScenePlan, camera: &Camera) -> Self {
        let image = &plan.spec().image;
        let longer = image.width_px.max(image.height_px) as f32;
        let scale = (MAX_SIDE_PX / longer).min(1.0);
        let side = |px: u32| ((px as f32 * scale).round() as usize).max(1);
        let (width, height) = (side(image.width_px), side(image.height_px));
        Sight {
            assets: plan.assets(),
            projection: camera.projection(image.width_px, image.height_px),
            scale: Vec2::new(
                width as f32 / image.width_px as f32,
                height as f32 / image.height_px as f32,
            ),
            focal_px: camera.focal_px(height as u32),
            width,
            height,
            depth: vec![f32::INFINITY; width * height],
            owner: vec![None; width * height],
            seen: Vec::new(),
            scratch: vec![f32::INFINITY; width * height],
            covered: Vec::new(),
        }
    }

    /// Adds an object, whatever it hides.
    pub(super) fn add(&mut self, object: &Object, limit: Option<f32>) {
        self.cover(object);
        self.keep(limit);
    }

    /// Adds an object, unless more than `limit` of it would be hidden, or it would hide more
    /// of another than that other's limit.
    pub(super) fn try_add(&mut self, object: &Object, limit: Option<f32>) -> bool {
        self.cover(object);
        let mut losses = vec![0; self.seen.len()];
        let mut visible = 0;
        for pixel in &self.covered {
            if self.scratch[*pixel] < self.depth[*pixel] {
                visible += 1;
                if let Some(owner) = self.owner[*pixel] {
                    losses[owner] += 1;
                }
            }
        }
        let own = Seen {
            covered: self.covered.len(),
            visible,
            limit,
        };
        let others = self.seen.iter().zip(losses);
        let is_allowed = own.allows(visible)
            && others
                .filter(|(_, loss)| *loss > 0)
                .all(|(seen, loss)| seen.allows(seen.visible - loss));
        if is_allowed {
            self.keep(limit);
        } else {
            self.forget();
        }
        is_allowed
    }

    /// Writes the object that was looked at into the picture.
    fn keep(&mut self, limit: Option<f32>) {
        let number = self.seen.len();
        let mut visible = 0;
        for pixel in &self.covered {
            if self.scratch[*pixel] < self.depth[*pixel] {
                self.depth[*pixel] = self.scratch[*pixel];
                if let Some(owner) = self.owner[*pixel].replace(number) {
                    self.seen[owner].visible -= 1;
                }
                visible += 1;
            }
        }
        self.seen.push(Seen {
            covered: self.covered.len(),
            visible,
            limit,
        });
        self.forget();
    }

    fn forget(&mut self) {
        for pixel in self.covered.drain(..) {
            self.scratch[pixel] = f32::INFINITY;
        }
    }

    /// Finds the pixels of an object and their depths. Light passes through media, which
    /// neither hide nor are hidden.
    fn cover(&mut self, object: &Object) {
        let assets = self.assets;
        let parts = object.parts.iter();
        for part in parts.filter(|part| part.material.medium.is_none()) {
            let level = self.level(part);
            let geometry = &assets.meshes[part.mesh].levels[level].geometry;
            let corners = self.project(part, geometry);
            for triangle in &geometry.triangles {
                let [a, b, c] = triangle.map(|index| corners[index as usize]);
                if let (Some(a), Some(b), Some(c)) = (a, b, c) {
                    self.fill([a, b, c]);
                }
            }
        }
    }

    fn level(&self, part: &Part) -> usize {
        let frame = part.world_from_local;
        let scale = [frame.x_axis, frame.y_axis, frame.z_axis]
            .iter()
            .fold(1e-9, |most: f32, axis| most.max(axis.length()));
        let middle = self.assets.meshes[part.mesh].centre_m;
        let at = self.projection.camera_point(frame.transform_point3(middle));
        let depth = at.z - part.half_extents_m.length();
        let tolerance_m = TOLERANCE_PX * depth.max(NEAR_M) / self.focal_px;
        self.assets.meshes[part.mesh].level_for(tolerance_m / scale)
    }

    /// Each corner's place in the picture and its inverse depth; `None` behind the camera.
    fn project(&self, part: &Part, geometry: &Geometry) -> Vec<Option<Vec3>> {
        let corners = geometry.positions.iter().map(|position| {
            let in_world = part.world_from_local.transform_point3(*position);
            let at = self.projection.camera_point(in_world);
            let seen = self.projection.image_point(at).filter(|_| at.z > NEAR_M)?;
            Some((seen * self.scale).extend(1.0 / at.z))
        });
        corners.collect()
    }

    /// Covers the pixels whose centres lie within a triangle. Inverse depth is linear across
    /// the picture.
    fn fill(&mut self, corners: [Vec3; 3]) {
        let [a, b, c] = corners;
        let low = a.min(b).min(c).truncate().max(Vec2::ZERO);
        let high = a.max(b).max(c).truncate();
        let last = Vec2::new(self.width as f32, self.height as f32) - 1.0;
        let (low, high) = (
            (low - 0.5).ceil().max(Vec2::ZERO),
            (high - 0.5).floor().min(last),
        );
        let area = (b - a).truncate().perp_dot((c - a).truncate());
        if area == 0.0 || low.cmpgt(high).any() {
            return;
        }
        for row in low.y as usize..=high.y as usize {
            for column in low.x as usize..=high.x as usize {
                let at = Vec2::new(column as f32, row as f32) + 0.5;
                let share = |from: Vec3, to: Vec3| {
                    (to - from).truncate().perp_dot(at - from.truncate()) / area
                };
                let (of_a, of_b, of_c) = (share(b, c), share(c, a), share(a, b));
                if of_a >= 0.0 && of_b >= 0.0 && of_c >= 0.0 {
                    let depth = 1.0 / (of_a * a.z + of_b * b.z + of_c * c.z);
                    let pixel = row * self.width + column;
                    if self.scratch[pixel] == f32::INFINITY {
                        self.covered.push(pixel);
                    }
                    self.scratch[pixel] = self.scratch[pixel].min(depth);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use glam::Mat4;

    use super::*;
    use crate::scene::body::draw_dressing;
    use crate::seed::SeedKey;

    const SCENE: &str = r##"
image: {width_px: 400, height_px: 400}
camera: {distance_mm: 1000, vertical_fov_deg: 40, tilt_deg: 0, roll_deg: 0, offset_mm: 0}
lights: []
environment: {uniform: {level: 1, kelvin: 6600}}
exposure_ev: 0
sensor: {noise: 0, blur_px: 0, vignetting: 0}
ground: {paints: [{body: "#808080"}], texture_strength: 0, texture_scale_mm: 1, roughness: 1}
dressing:
  - weight: 1
    parts:
      - {shape: {box: {size_mm: [100, 100, 10]}}, position_mm: [0, 0, 0], colour: "#ffffff"}
placement: {count: 0, area_mm: [100, 100]}
objects:
  - {name: ball, class: {fixed: ball}, shape: {sphere: {diameter_mm: 50}}, paints: [{body: "#ffffff"}]}
"##;

    #[test]
    fn what_hides_too_much_is_refused() {
        let spec: crate::scene::SceneSpec =
            crate::spec::parse(SCENE, Path::new("s.yaml"), &[]).unwrap();
        let plan = spec.into_plan(Path::new("s.yaml")).unwrap();
        let camera = Camera {
            position_m: Vec3::Z,
            target_m: Vec3::ZERO,
            up: Vec3::Y,
            vertical_fov_deg: 40.0,
            ..Camera::default()
        };
        let part = &plan.spec().dressing[0].parts[0];
        let mut generator = SeedKey::new(b"sight", 0).generator("part", 0);
        let plate = draw_dressing(&plan, part, &mut generator);
        let at = |x: f32, z: f32| {
            let pose = Mat4::from_translation(Vec3::new(x, 0.0, z));
            plate.clone().moved(pose)
        };
        let mut sight = Sight::new(&plan, &camera);
        assert!(sight.try_add(&at(0.0, 0.0), Some(0.3)));
        // 0.1 m at 1 m are 55 pixels.
        let side = (sight.seen[0].covered as f32).sqrt();
        assert!((side - 55.5).abs() < 1.5, "{side}");
        assert!(!sight.try_add(&at(0.05, 0.02), None), "hides half of it");
        assert_eq!(
            sight.seen[0].visible, sight.seen[0].covered,
            "a refusal leaves no trace"
        );
        assert!(
            !sight.try_add(&at(0.05, -0.02), Some(0.3)),
            "is itself hidden by half"
        );
        assert!(sight.try_add(&at(0.05, -0.02), None), "has no limit");
        assert!(sight.try_add(&at(-0.08, 0.02), None), "hides a fifth");
        let hidden = 1.0 - sight.seen[0].visible as f32 / sight.seen[0].covered as f32;
        assert!((0.15..0.3).contains(&hidden), "{hidden}");
        assert!(
            sight.try_add(&at(5.0, 0.0), Some(0.0)),
            "is out of the picture"
        );
    }
}
