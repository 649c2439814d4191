//! What objects cover of what they lie on, seen from above.

use glam::{Vec2, Vec3};

use super::spec::Zone;
use crate::scene::sampler::metres;
use crate::scene::spec::Shape;

/// How deep things may reach into each other along the vertical, in metres: what is flatter, such
/// as paint on a floor, is in nothing's way.
const TOUCH_M: f32 = 5e-4;

/// Height that a thing without any is given, so that cards do not lie in each other.
const LEAST_HEIGHT_M: f32 = 1e-3;

/// The upright box that an object takes up, in metres.
#[derive(Debug, Clone, Copy)]
pub(super) struct Footprint {
    pub centre: Vec2,
    /// Half its sides, along axes turned by `yaw`.
    pub half: Vec2,
    pub yaw: f32,
    /// From where to where it reaches above the ground.
    pub low: f32,
    pub high: f32,
}

impl Footprint {
    /// That of an object of these half extents which stands at a height.
    pub(super) fn standing(centre: Vec2, half: Vec3, yaw: f32, low: f32) -> Self {
        Footprint {
            centre,
            half: half.truncate(),
            yaw,
            low,
            high: low + (2.0 * half.z).max(LEAST_HEIGHT_M),
        }
    }

    fn axes(&self) -> [Vec2; 2] {
        let (sin, cos) = self.yaw.sin_cos();
        [Vec2::new(cos, sin), Vec2::new(-sin, cos)]
    }

    /// Its corners, in order around it.
    pub(super) fn corners(&self) -> [Vec2; 4] {
        let [x, y] = self.axes();
        let (x, y) = (x * self.half.x, y * self.half.y);
        [x + y, y - x, -x - y, x - y].map(|corner| self.centre + corner)
    }

    /// Whether two rectangles come closer than `gap`, by the separating axis theorem; 0 asks
    /// whether they share area.
    fn is_near(&self, other: &Footprint, gap: f32) -> bool {
        let between = other.centre - self.centre;
        let reach = |f: &Footprint, axis: Vec2, gap: f32| {
            let [u, v] = f.axes();
            (f.half.x + gap) * u.dot(axis).abs() + (f.half.y + gap) * v.dot(axis).abs()
        };
        let mut all = self.axes().into_iter().chain(other.axes());
        all.all(|axis| between.dot(axis).abs() < reach(self, axis, gap) + reach(other, axis, 0.0))
    }

    /// Whether two things share space, or come closer than `gap` beside each other.
    pub(super) fn overlaps(&self, other: &Footprint, gap: f32) -> bool {
        self.low + TOUCH_M < other.high
            && other.low + TOUCH_M < self.high
            && self.is_near(other, gap)
    }

    /// Distance of a point from its rectangle; 0 inside.
    pub(super) fn distance(&self, at: Vec2) -> f32 {
        let local = Vec2::from(self.axes().map(|axis| axis.dot(at - self.centre)));
        (local.abs() - self.half).max(Vec2::ZERO).length()
    }

    /// Whether any of it lies in a zone, at whatever height.
    pub(super) fn meets(&self, zone: &Zone) -> bool {
        let place = |mm: [f64; 2]| Vec2::from(mm.map(metres));
        match *zone {
            Zone::Rectangle { centre_mm, size_mm } => {
                let zone = Footprint {
                    centre: place(centre_mm),
                    half: place(size_mm) / 2.0,
                    yaw: 0.0,
                    ..*self
                };
                self.is_near(&zone, 0.0)
            }
            Zone::Disc {
                centre_mm,
                diameter_mm,
            } => self.distance(place(centre_mm)) < metres(diameter_mm) / 2.0,
        }
    }
}

/// The top of something that was placed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surface {
    /// Its number among what was placed.
    pub index: usize,
    pub centre: Vec2,
    pub half: Vec2,
    pub yaw: f32,
    /// Whether it is an ellipse instead of a rectangle.
    pub is_round: bool,
    /// Heights of its foot and of its top.
    pub base: f32,
    pub top: f32,
}

impl Surface {
    /// Whether a point lies on it.
    pub(super) fn covers(&self, at: Vec2) -> bool {
        let local = Vec2::from_angle(-self.yaw).rotate(at - self.centre).abs();
        match self.is_round {
            true => (local / self.half).length() <= 1.0 + 1e-4,
            false => local.cmple(self.half + 1e-5).all(),
        }
    }

    /// Whether all of a footprint lies on it.
    pub(super) fn holds(&self, footprint: &Footprint) -> bool {
        footprint
            .corners()
            .into_iter()
            .all(|corner| self.covers(corner))
    }
}

/// Whether a shape is round about its upright axis.
pub(super) fn is_round(shape: &Shape) -> bool {
    match shape {
        Shape::Sphere { .. }
        | Shape::Ellipsoid { .. }
        | Shape::Cylinder { .. }
        | Shape::Cone { .. }
        | Shape::Torus { .. }
        | Shape::Disc { .. }
        | Shape::Lathe { .. } => true,
        Shape::Bent { shape, .. } => is_round(shape),
        _ => false,
    }
}

/// How much of a shape's half extents along x and y its flat top has; `None` where there is no
/// flat top.
pub(super) fn flat_top(shape: &Shape) -> Option<Vec2> {
    let share = |rounding: f64, side: f64| (1.0 - 2.0 * rounding / side) as f32;
    let share = match *shape {
        Shape::Box {
            size_mm: [x, y, _],
            rounding_mm,
        } => Vec2::new(share(rounding_mm, x), share(rounding_mm, y)),
        Shape::Cylinder {
            diameter_mm,
            rounding_mm,
            ..
        } => Vec2::splat(share(rounding_mm, diameter_mm)),
        Shape::Cone {
            bottom_diameter_mm,
            top_diameter_mm,
            ..
        } => {
            let widest = bottom_diameter_mm.max(top_diameter_mm);
            Vec2::splat((top_diameter_mm / widest) as f32)
        }
        Shape::Quad { .. } => Vec2::ONE,
        _ => return None,
    };
    (share.min_element() > 0.0).then_some(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f32, yaw: f32) -> Footprint {
        Footprint::standing(Vec2::new(x, 0.0), Vec3::ONE, yaw, 0.0)
    }

    #[test]
    fn footprints_overlap_only_where_they_share_space() {
        assert!(at(0.0, 0.0).overlaps(&at(1.9, 0.0), 0.0));
        assert!(!at(0.0, 0.0).overlaps(&at(2.1, 0.0), 0.0));
        let eighth = std::f32::consts::FRAC_PI_4;
        assert!(at(0.0, 0.0).overlaps(&at(2.3, eighth), 0.0));
        assert!(!at(0.0, 0.0).overlaps(&at(2.5, eighth), 0.0));
        let above = Footprint::standing(Vec2::ZERO, Vec3::ONE, 0.0, 2.0);
        assert!(
            !at(0.0, 0.0).overlaps(&above, 0.0),
            "one stands on the other"
        );
    }

    #[test]
    fn a_gap_keeps_footprints_apart() {
        assert!(at(0.0, 0.0).overlaps(&at(2.4, 0.0), 0.5));
        assert!(!at(0.0, 0.0).overlaps(&at(2.6, 0.0), 0.5));
    }

    #[test]
    fn zones_are_met_where_they_share_area() {
        let rectangle = |x: f64| Zone::Rectangle {
            centre_mm: [x, 0.0],
            size_mm: [1000.0, 1000.0],
        };
        assert!(at(0.0, 0.0).meets(&rectangle(1400.0)));
        assert!(!at(0.0, 0.0).meets(&rectangle(1600.0)));
        let disc = |x: f64, y: f64| Zone::Disc {
            centre_mm: [x, y],
            diameter_mm: 2000.0,
        };
        assert!(at(0.0, 0.0).meets(&disc(0.0, 1900.0)));
        assert!(
            at(0.0, 0.0).meets(&disc(1600.0, 1600.0)),
            "0.85 from the corner"
        );
        assert!(
            !at(0.0, 0.0).meets(&disc(1800.0, 1800.0)),
            "1.13 from the corner"
        );
        assert!(at(0.0, 0.0).meets(&disc(0.0, 0.0)));
    }

    #[test]
    fn a_surface_holds_what_lies_on_it_as_a_whole() {
        let surface = |is_round| Surface {
            index: 0,
            centre: Vec2::new(1.0, 0.0),
            half: Vec2::new(3.0, 3.0),
            yaw: 0.5,
            is_round,
            base: 0.0,
            top: 1.0,
        };
        let out = Vec2::from_angle(0.5);
        let print = |far: f32| {
            let centre = Vec2::new(1.0, 0.0) + out * far;
            Footprint::standing(centre, Vec3::ONE, 0.5, 1.0)
        };
        assert!(surface(false).holds(&print(1.99)) && !surface(false).holds(&print(2.01)));
        // A corner at (far + 1, 1) is on the disc of radius 3 up to far = 8^0.5 - 1.
        assert!(surface(true).holds(&print(1.82)) && !surface(true).holds(&print(1.84)));
    }

    #[test]
    fn flat_tops_are_known() {
        let round_box = Shape::Box {
            size_mm: [10.0, 20.0, 5.0],
            rounding_mm: 1.0,
        };
        assert_eq!(flat_top(&round_box), Some(Vec2::new(0.8, 0.9)));
        let tip = Shape::Cone {
            bottom_diameter_mm: 4.0,
            top_diameter_mm: 0.0,
            height_mm: 3.0,
        };
        assert_eq!(flat_top(&tip), None);
        assert_eq!(flat_top(&Shape::Sphere { diameter_mm: 1.0 }), None);
    }
}
