//! Pictures on surfaces, as `include/texture.wgsl` has them.

use glam::{Vec2, Vec3, Vec4};

use super::model::{Meeting, Model, Skin};
use crate::scene::{Mapping, facing_plane};

/// The least cosine of the angle under which a surface is averaged, as in `shade.wgsl`.
const LEAST_COSINE: f32 = 1.0 / 16.0;

impl Model {
    /// The colour of a surface under its texture and its decals.
    pub(super) fn covered(
        &self,
        meeting: &Meeting,
        skin: &Skin,
        world: Vec3,
        normal: Vec3,
        body: Vec3,
    ) -> Vec3 {
        let local = skin.local_from_world.transform_point3(world);
        let own = skin.local_from_normal * normal;
        let cosine = normal.dot(meeting.direction).abs().max(LEAST_COSINE);
        // The mean of both sides of what the ray stands for, which is long at a small angle.
        let width_m = meeting.width_m / cosine.sqrt();
        let mut colour = body;
        if let Some(texture) = &skin.texture {
            let (uv, footprint) = match &texture.mapping {
                Mapping::Tiles(tiles) => {
                    let [right, up] = facing_plane(own);
                    let at = local * skin.scale;
                    let plane_m = Vec2::new(at.dot(right), at.dot(up));
                    (tiles.at(plane_m), width_m * tiles.turn_per_m.length())
                }
                Mapping::Surface => {
                    let (uv, density) = self.texture_coordinates(meeting);
                    (uv, width_m * density)
                }
            };
            let found = self.textures.at(texture.layer, uv, footprint);
            colour = over(colour, found, Vec3::from(texture.linear_rgb));
        }
        for decal in &skin.decals {
            let at = decal.decal_from_local.transform_point3(local).truncate();
            let out = decal.decal_from_local.row(2).truncate();
            if at.abs().max_element() < 1.0 && out.dot(own) > 0.0 {
                let place = 0.5 + at * Vec2::new(0.5, -0.5) * decal.filled;
                let footprint = width_m / skin.scale * decal.layers_per_m();
                let found = self.textures.at(decal.layer, place, footprint);
                colour = over(colour, found, Vec3::from(decal.linear_rgb));
            }
        }
        colour
    }
}

/// A colour times alpha, and alpha, over another.
fn over(below: Vec3, found: Vec4, tint: Vec3) -> Vec3 {
    found.truncate() * tint + below * (1.0 - found.w)
}
