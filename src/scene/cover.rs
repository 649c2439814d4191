//! Draws which pictures a surface shows, and where.

use std::ops::Range;

use glam::{Mat3, Vec2, Vec3};
use rand::RngExt;

use super::instance::{Decal, Mapping, Texture, Tiles, facing_plane};
use super::library::Library;
use super::spec::{DecalSpec, MappingSpec, Side, TextureSpec};
use super::text;
use crate::seed::Generator;
use crate::spec::Distribution;

/// The texture of one surface, whose place in the tiles is drawn too.
pub(super) fn draw_texture(
    spec: &TextureSpec,
    library: &Library,
    generator: &mut Generator,
) -> Texture {
    let layer = one_of(library.layers_of_texture(spec), generator);
    let mapping = match &spec.mapping {
        MappingSpec::Surface => Mapping::Surface,
        MappingSpec::Tiles {
            side_mm,
            rotation_deg,
        } => {
            let side_m = side_mm.sample(generator).max(0.01) as f32 / 1000.0;
            let turn_rad = (rotation_deg.sample(generator) as f32).to_radians();
            Mapping::Tiles(Tiles {
                // The picture turns the other way than the places in it.
                turn_per_m: Vec2::from_angle(-turn_rad) / side_m,
                offset: Vec2::new(generator.random(), generator.random()),
            })
        }
    };
    Texture {
        layer,
        mapping,
        linear_rgb: [1.0; 3],
    }
}

/// The decals of a shape with this middle and these half extents, before it is scaled.
pub(super) fn draw_decals(
    specs: &[DecalSpec],
    library: &Library,
    bounds: [Vec3; 2],
    generator: &mut Generator,
) -> Vec<Decal> {
    let drawn = specs
        .iter()
        .map(|spec| draw_decal(spec, library, bounds, generator));
    drawn.flatten().collect()
}

/// `None` where this part lacks it.
fn draw_decal(
    spec: &DecalSpec,
    library: &Library,
    [middle, half]: [Vec3; 2],
    generator: &mut Generator,
) -> Option<Decal> {
    let is_there = generator.random::<f64>() < spec.probability;
    let layer = one_of(library.layers_of_decal(spec), generator);
    let linear_rgb = match spec.colours.as_slice() {
        [] if spec.text.is_empty() => [1.0; 3],
        [] => [0.0; 3],
        colours => colours[generator.random_range(0..colours.len())].linear_rgb(),
    };
    let mut draw = |of: &Distribution| of.sample(generator) as f32;
    let place = Vec2::from(spec.position_mm.each_ref().map(&mut draw)) / 1000.0;
    let textures = library.textures();
    // That of a text is the height of its capitals.
    let [factor, raised] = match spec.text.is_empty() {
        true => [1.0, 0.0],
        false => text::frame(spec.weight as f32),
    };
    let given = draw(&spec.height_mm).max(1e-3) / 1000.0;
    let height = given * factor;
    let width = match &spec.width_mm {
        Some(width_mm) => draw(width_mm).max(1e-3) / 1000.0,
        None => height * textures.aspect(layer),
    };
    let turn = Vec2::from_angle(draw(&spec.rotation_deg).to_radians());
    let normal = normal_of(spec.side);
    let [right, up] = facing_plane(normal);
    let axes = Mat3::from_cols(
        right * turn.x + up * turn.y,
        up * turn.x - right * turn.y,
        normal,
    );
    let place = right * place.x + up * place.y + axes.y_axis * (raised * given);
    let middle = middle + half * normal + place;
    is_there.then(|| Decal {
        layer,
        decal_from_local: Decal::placed(axes, middle, Vec2::new(width, height)),
        filled: textures.filled(layer),
        linear_rgb,
    })
}

fn normal_of(side: Side) -> Vec3 {
    match side {
        Side::Front => Vec3::NEG_Y,
        Side::Back => Vec3::Y,
        Side::Left => Vec3::NEG_X,
        Side::Right => Vec3::X,
        Side::Top => Vec3::Z,
        Side::Bottom => Vec3::NEG_Z,
    }
}

fn one_of(layers: Range<usize>, generator: &mut Generator) -> usize {
    match layers.len() {
        // A checked spec has one at least.
        0 | 1 => layers.start,
        _ => generator.random_range(layers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_seen_upright_from_outside() {
        for (side, right, up) in [
            (Side::Front, Vec3::X, Vec3::Z),
            (Side::Back, Vec3::NEG_X, Vec3::Z),
            (Side::Left, Vec3::NEG_Y, Vec3::Z),
            (Side::Right, Vec3::Y, Vec3::Z),
            (Side::Top, Vec3::X, Vec3::Y),
            (Side::Bottom, Vec3::X, Vec3::NEG_Y),
        ] {
            let normal = normal_of(side);
            assert_eq!(facing_plane(normal), [right, up], "{side:?}");
            assert_eq!(right.cross(up), normal, "{side:?}");
        }
    }

    #[test]
    fn a_decal_spans_its_size_around_its_middle() {
        let axes = Mat3::from_cols(Vec3::X, Vec3::Z, Vec3::NEG_Y);
        let middle = Vec3::new(0.1, -0.3, 0.2);
        let placed = Decal::placed(axes, middle, Vec2::new(0.4, 0.2));
        let at = |point: Vec3| placed.transform_point3(point);
        assert!(at(middle).length() < 1e-6);
        let corner = at(middle + Vec3::new(0.2, 0.0, 0.1));
        assert!((corner - Vec3::new(1.0, 1.0, 0.0)).length() < 1e-5);
        assert!((at(middle + Vec3::NEG_Y).z - 1.0).abs() < 1e-5);
    }

    #[test]
    fn tiles_turn_counter_clockwise() {
        let tiles = |turn_deg: f32| Tiles {
            turn_per_m: Vec2::from_angle(-turn_deg.to_radians()) / 0.5,
            offset: Vec2::ZERO,
        };
        assert!((tiles(0.0).at(Vec2::new(0.5, 1.0)) - Vec2::new(1.0, -2.0)).length() < 1e-5);
        // What the picture has to the right then lies upwards.
        assert!((tiles(90.0).at(Vec2::new(0.0, 0.5)) - Vec2::new(1.0, 0.0)).length() < 1e-5);
    }
}
