//! Shapes as meshes with sizes.

use glam::Vec3;

use super::instance::{Surface, Template};
use super::spec::Shape;

/// What a shape is drawn with; lengths in metres.
pub(super) struct Body {
    pub template: Template,
    pub surface: Surface,
    pub half_extents: Vec3,
    pub rounding: f32,
    pub pip_radius: f32,
}

/// The body of a shape, scaled as a whole.
pub(super) fn body_of(shape: &Shape, scale: f32) -> Body {
    let metres = |mm: f64| mm as f32 / 1000.0 * scale;
    let body = |template, half_extents: Vec3, rounding| Body {
        template,
        surface: Surface::Plain,
        half_extents,
        rounding,
        pip_radius: 0.0,
    };
    match *shape {
        Shape::Die {
            size_mm,
            rounding,
            pip_radius,
        } => Body {
            surface: Surface::Die,
            pip_radius: pip_radius as f32,
            ..body(
                Template::RoundedBox,
                Vec3::splat(metres(size_mm) / 2.0),
                metres(size_mm) / 2.0 * rounding as f32,
            )
        },
        Shape::Box {
            size_mm,
            rounding_mm,
        } => body(
            Template::RoundedBox,
            Vec3::from(size_mm.map(metres)) / 2.0,
            metres(rounding_mm),
        ),
        Shape::Sphere { diameter_mm } => {
            let radius = metres(diameter_mm) / 2.0;
            body(Template::RoundedBox, Vec3::splat(radius), radius)
        }
        Shape::Capsule {
            length_mm,
            diameter_mm,
        } => {
            let radius = metres(diameter_mm) / 2.0;
            body(
                Template::RoundedBox,
                Vec3::new(metres(length_mm) / 2.0, radius, radius),
                radius,
            )
        }
        Shape::Cylinder {
            diameter_mm,
            height_mm,
            rounding_mm,
        } => {
            let radius = metres(diameter_mm) / 2.0;
            body(
                Template::Cylinder,
                Vec3::new(radius, radius, metres(height_mm) / 2.0),
                metres(rounding_mm),
            )
        }
    }
}
