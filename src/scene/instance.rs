//! One concrete scene: plain data that can be printed, stored and replayed.

use glam::{Mat3, Mat4, Vec2, Vec3};
use serde::Serialize;

#[cfg(test)]
use super::asset::Assets;
use super::background::Background;
use super::environment::Environment;
use super::lens::Distortion;
use super::projection::{Aperture, Motion};

/// Everything that one image shows. World space is in metres, right-handed, z up; the
/// ground is z = 0. Radiances are relative: 1 is full scale at an exposure of 0 EV.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SceneInstance {
    pub width_px: u32,
    pub height_px: u32,
    pub camera: Camera,
    pub lights: Vec<Light>,
    pub environment: Environment,
    pub background: Background,
    pub exposure_ev: f32,
    pub sensor: Sensor,
    pub ground: Ground,
    pub objects: Vec<Object>,
    /// Objects that found no room.
    pub not_placed: u32,
}

/// A camera: a pinhole, and how its lens and its exposure depart from one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Camera {
    pub position_m: Vec3,
    pub target_m: Vec3,
    /// Direction of the image's top, not parallel to the line of sight.
    pub up: Vec3,
    /// That of the pinhole.
    pub vertical_fov_deg: f32,
    /// Where the line of sight meets the image, from its middle to the right and down.
    pub principal_offset_px: Vec2,
    pub distortion: Distortion,
    /// `None` where everything is sharp.
    pub aperture: Option<Aperture>,
    /// `None` where it stands still.
    pub motion: Option<Motion>,
    /// Frames that are averaged where aperture or motion blur the image.
    pub subframes: u32,
}

/// Looks down on the origin from one metre.
impl Default for Camera {
    fn default() -> Self {
        Camera {
            position_m: Vec3::Z,
            target_m: Vec3::ZERO,
            up: Vec3::Y,
            vertical_fov_deg: 45.0,
            principal_offset_px: Vec2::ZERO,
            distortion: Distortion::None,
            aperture: None,
            motion: None,
            subframes: 16,
        }
    }
}

impl Camera {
    /// Unit vectors to the right, up and along the line of sight.
    pub fn axes(&self) -> [Vec3; 3] {
        let forward = (self.target_m - self.position_m).normalize();
        let right = forward.cross(self.up).normalize();
        [right, right.cross(forward), forward]
    }

    /// Focal length in pixels of an image of this height.
    pub fn focal_px(&self, height_px: u32) -> f32 {
        height_px as f32 / 2.0 / (self.vertical_fov_deg.to_radians() / 2.0).tan()
    }
}

/// A light that casts shadows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Light {
    /// Radiance of a white diffuse surface that faces it, one metre away from all but a
    /// directional light.
    pub intensity: f32,
    /// Correlated colour temperature; 6,600 is white.
    pub kelvin: f32,
    pub source: LightSource,
}

/// Where a light is and how it spreads.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LightSource {
    /// Infinitely far.
    Directional {
        /// Unit vector towards the light.
        towards: Vec3,
        angular_diameter_deg: f32,
    },
    /// A ball.
    Point { position_m: Vec3, radius_m: f32 },
    /// A ball that shines within a cone around `axis`, a unit vector.
    Spot {
        position_m: Vec3,
        radius_m: f32,
        axis: Vec3,
        /// Cosine of half the cone's angle.
        cos_outer: f32,
        /// Cosine of the angle from which on it fades.
        cos_inner: f32,
    },
    /// A rectangle that shines towards `half_width x half_height`.
    Area {
        position_m: Vec3,
        half_width_m: Vec3,
        half_height_m: Vec3,
    },
}

impl Light {
    /// Intensity in linear RGB.
    pub fn linear_rgb(&self) -> Vec3 {
        kelvin_rgb(self.kelvin) * self.intensity
    }

    /// The radiance of a white diffuse surface at a point which faces the middle of the
    /// light, when nothing stands between, and the unit vector towards that middle.
    pub fn arriving(&self, at_m: Vec3) -> (Vec3, Vec3) {
        let colour = self.linear_rgb();
        let falloff = |position_m: Vec3| {
            let between = position_m - at_m;
            let squared = between.length_squared().max(1e-12);
            (1.0 / squared, between / squared.sqrt())
        };
        match self.source {
            LightSource::Directional { towards, .. } => (colour, towards),
            LightSource::Point { position_m, .. } => {
                let (share, towards) = falloff(position_m);
                (colour * share, towards)
            }
            LightSource::Spot {
                position_m,
                axis,
                cos_outer,
                cos_inner,
                ..
            } => {
                let (share, towards) = falloff(position_m);
                let edge = smoothstep(cos_outer, cos_inner, -towards.dot(axis));
                (colour * share * edge, towards)
            }
            LightSource::Area {
                position_m,
                half_width_m,
                half_height_m,
            } => {
                let (share, towards) = falloff(position_m);
                let front = half_width_m.cross(half_height_m).normalize();
                (colour * share * (-towards.dot(front)).max(0.0), towards)
            }
        }
    }
}

/// A smooth step from 0 at `low` to 1 at `high`.
pub fn smoothstep(low: f32, high: f32, value: f32) -> f32 {
    let t = ((value - low) / (high - low).max(1e-9)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Linear RGB of a black body's hue at luminance 1, relative to 6,600 K, by Wien's
/// approximation of Planck's law.
pub fn kelvin_rgb(kelvin: f32) -> Vec3 {
    let relative = |wavelength_um: f32| {
        let exponent = SECOND_RADIATION_CONSTANT / wavelength_um;
        (exponent / 6600.0 - exponent / kelvin).exp()
    };
    let rgb = Vec3::from(PRIMARIES_UM.map(relative));
    rgb / luminance(rgb)
}

/// The temperature in 1,000..=40,000 K at which [`kelvin_rgb`] has the same ratio of red to
/// blue.
pub(super) fn rgb_kelvin(rgb: Vec3) -> f32 {
    let [red, _, blue] = PRIMARIES_UM.map(|um| SECOND_RADIATION_CONSTANT / um);
    let ratio = (rgb.x.max(1e-9) / rgb.z.max(1e-9)).ln();
    let inverse = 1.0 / 6600.0 + ratio / (blue - red);
    1.0 / inverse.clamp(1.0 / 40_000.0, 1.0 / 1000.0)
}

/// Dominant wavelengths of the sRGB primaries.
pub(super) const PRIMARIES_UM: [f32; 3] = [0.611, 0.549, 0.465];

/// Of Planck's law, in micrometres times kelvin.
const SECOND_RADIATION_CONSTANT: f32 = 14_388.0;

/// Luminance of linear sRGB (IEC 61966-2-1).
pub fn luminance(linear_rgb: Vec3) -> f32 {
    linear_rgb.dot(Vec3::new(0.2126, 0.7152, 0.0722))
}

/// What lens and sensor add.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sensor {
    pub noise: f32,
    pub blur_px: f32,
    pub vignetting: f32,
    /// Whether it sees no colours.
    pub monochrome: bool,
    /// Seed of the noise's pattern.
    pub noise_seed: u32,
}

/// The plane that objects lie on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ground {
    /// Half the side of its square.
    pub half_side_m: f32,
    pub linear_rgb: [f32; 3],
    pub texture_strength: f32,
    pub texture_scale_m: f32,
    pub roughness: f32,
    pub picture: Option<Texture>,
    /// Mean colour of the picture over the paint.
    pub picture_linear_rgb: [f32; 3],
}

impl Ground {
    /// The colour that it lends to what lies on it.
    pub fn mean_linear_rgb(&self) -> [f32; 3] {
        match self.picture {
            Some(_) => self.picture_linear_rgb,
            None => self.linear_rgb,
        }
    }
}

/// How a surface is coloured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    #[default]
    Plain,
    /// Streaks of a second colour over this share of the surface.
    Marble { share: f32, linear_rgb: [f32; 3] },
    /// Pips on six faces: one +x, two +y, three +z, four -z, five -y, six -x. The radius is
    /// over half the die's size; the body may be marbled.
    Pips {
        radius: f32,
        linear_rgb: [f32; 3],
        marbling: f32,
        marble_linear_rgb: [f32; 3],
    },
}

/// A picture that covers a surface; the body's colour shows where it is transparent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Texture {
    /// Number of its layer among the family's textures.
    pub layer: usize,
    pub mapping: Mapping,
    /// Factor on its colours.
    pub linear_rgb: [f32; 3],
}

/// Where a point of a surface is in a picture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mapping {
    /// At its texture coordinates.
    Surface,
    /// In tiles on the plane along the part's axes that it faces.
    Tiles(Tiles),
}

/// Tiles of a plane.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Tiles {
    /// Cosine and sine of the turn, over a tile's side in metres.
    pub turn_per_m: Vec2,
    /// In tiles.
    pub offset: Vec2,
}

impl Tiles {
    /// Where a point of the plane is, in tiles to the right and down; metres.
    pub fn at(&self, plane_m: Vec2) -> Vec2 {
        let at = self.turn_per_m.rotate(plane_m);
        Vec2::new(at.x, -at.y) + self.offset
    }
}

/// The axes, to the right and up as one looks at it, of the plane along the axes that a normal
/// faces.
pub fn facing_plane(normal: Vec3) -> [Vec3; 2] {
    let size = normal.abs();
    if size.z >= size.x && size.z >= size.y {
        let up = Vec3::Y * sign(normal.z);
        return [Vec3::X, up];
    }
    let right = match size.x >= size.y {
        true => Vec3::Y * sign(normal.x),
        false => Vec3::NEG_X * sign(normal.y),
    };
    [right, Vec3::Z]
}

fn sign(value: f32) -> f32 {
    if value < 0.0 { -1.0 } else { 1.0 }
}

/// A picture on one side of a part.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Decal {
    /// Number of its layer among the family's textures.
    pub layer: usize,
    /// To the picture's plane: its edges lie at -1 and 1 along x to the right and along y up;
    /// z is 1 along the normal of the side that it lies on.
    pub decal_from_local: Mat4,
    /// The share of the layer that it takes.
    pub filled: Vec2,
    /// Factor on its colours.
    pub linear_rgb: [f32; 3],
}

impl Decal {
    /// What a metre of the part's space takes of the layer's side: the mean of both directions.
    pub fn layers_per_m(&self) -> f32 {
        let along = |row: usize| self.decal_from_local.row(row).truncate().length() / 2.0;
        (along(0) * self.filled.x * along(1) * self.filled.y).sqrt()
    }

    /// A decal of this size around `middle` on a surface with the side's axes to the right, up
    /// and outwards.
    pub(super) fn placed(axes: Mat3, middle: Vec3, size: Vec2) -> Mat4 {
        let decal_from_local = Mat3::from_diagonal((2.0 / size).extend(1.0)) * axes.transpose();
        Mat4::from_mat3(decal_from_local) * Mat4::from_translation(-middle)
    }
}

/// How a surface reflects; by default none is smooth and black.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Material {
    pub linear_rgb: [f32; 3],
    pub pattern: Pattern,
    /// 0 is a mirror, 1 is matt.
    pub roughness: f32,
    /// 1 for bare metal.
    pub metallic: f32,
    /// Strength of the reflection of what is no metal: 1 is that of glass or plastic.
    pub gloss: f32,
    /// How much the ground shines through, in 0..=1.
    pub translucency: f32,
    /// Share of the surface under a smooth layer of lacquer, whose roughness comes with it.
    pub clear_coat: f32,
    pub clear_coat_roughness: f32,
    /// Radiance that the surface itself gives off; a texture's colour is multiplied by it.
    pub emission_linear_rgb: [f32; 3],
    pub texture: Option<Texture>,
    /// What the body is where it has no surface: light passes straight through it.
    pub medium: Option<Medium>,
}

/// What happens to light along its way through a body.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Medium {
    /// Share lost a metre, as a natural logarithm (Beer-Lambert law).
    pub absorption_per_m: [f32; 3],
    /// Radiance gained a metre.
    pub glow_per_m: [f32; 3],
    /// How much the medium's density varies, in 0..=1, and over what length.
    pub mottling: f32,
    pub mottling_scale_m: f32,
}

/// One object: a rigid body that is labelled as a whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Object {
    /// The family's name, or `dressing`.
    pub family: String,
    /// Identifier of its category; `None` for what is not labelled.
    pub category_id: Option<u32>,
    /// Its pose: a rotation, then a translation, from its own space, whose origin is the middle
    /// of the box around it.
    pub world_from_object: Mat4,
    /// Half the size of that box along the object's own axes.
    pub half_extents_m: Vec3,
    pub parts: Vec<Part>,
    /// Its named points in its own space, in the order of its category's names.
    pub keypoints_m: Vec<Vec3>,
    /// How much longer its box's sides are than its visible extent, as a share of it.
    pub label_margin: f32,
}

/// One surface of an object.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// Number of its mesh among the family's assets.
    pub mesh: usize,
    /// From the mesh's space; may scale along its axes.
    pub world_from_local: Mat4,
    /// Half the size of its mesh along its own axes, scaled.
    pub half_extents_m: Vec3,
    pub material: Material,
    /// The last lies uppermost.
    pub decals: Vec<Decal>,
}

impl Object {
    /// The object after a rotation and translation of the world.
    pub fn moved(mut self, by: Mat4) -> Self {
        self.world_from_object = by * self.world_from_object;
        for part in &mut self.parts {
            part.world_from_local = by * part.world_from_local;
        }
        self
    }

    /// Half the size of the box around it along the world's axes, which encloses its own box.
    pub fn world_half_extents_m(&self) -> Vec3 {
        let [x, y, z] = [
            self.world_from_object.x_axis,
            self.world_from_object.y_axis,
            self.world_from_object.z_axis,
        ]
        .map(|axis| axis.truncate().abs());
        x * self.half_extents_m.x + y * self.half_extents_m.y + z * self.half_extents_m.z
    }
}

impl SceneInstance {
    /// The parts of all objects in order, each with its object's index.
    pub fn parts(&self) -> impl Iterator<Item = (usize, &Part)> {
        let numbered = self.objects.iter().enumerate();
        numbered.flat_map(|(index, object)| object.parts.iter().map(move |part| (index, part)))
    }
}

#[cfg(test)]
impl SceneInstance {
    /// Grey matt ground and nothing else, in the dark, without blur, noise or vignetting.
    pub(crate) fn bare(side_px: u32, camera: Camera) -> Self {
        SceneInstance {
            width_px: side_px,
            height_px: side_px,
            camera,
            lights: Vec::new(),
            environment: Environment::Uniform {
                level: 0.0,
                kelvin: 6600.0,
            },
            background: Background::default(),
            exposure_ev: 0.0,
            sensor: Sensor {
                noise: 0.0,
                blur_px: 0.0,
                vignetting: 0.0,
                monochrome: false,
                noise_seed: 0,
            },
            ground: Ground {
                half_side_m: 3.0,
                linear_rgb: [0.5; 3],
                texture_strength: 0.0,
                texture_scale_m: 0.02,
                roughness: 1.0,
                picture: None,
                picture_linear_rgb: [0.0; 3],
            },
            objects: Vec::new(),
            not_placed: 0,
        }
    }
}

#[cfg(test)]
impl Object {
    /// An object of one part at a place.
    pub(crate) fn at(assets: &Assets, mesh: usize, pose: Mat4, material: Material) -> Self {
        let half_extents_m = assets.meshes[mesh].half_extents_m;
        Object {
            family: "thing".to_owned(),
            category_id: Some(1),
            world_from_object: pose,
            half_extents_m,
            parts: vec![Part {
                mesh,
                world_from_local: pose,
                half_extents_m,
                material,
                decals: Vec::new(),
            }],
            keypoints_m: Vec::new(),
            label_margin: 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_light_is_red_and_cold_light_blue() {
        assert!((kelvin_rgb(6600.0) - Vec3::ONE).abs().max_element() < 1e-5);
        let (warm, cold) = (kelvin_rgb(3000.0), kelvin_rgb(10_000.0));
        assert!(warm.x > warm.y && warm.y > warm.z);
        assert!(cold.x < cold.y && cold.y < cold.z);
        for kelvin in [1800.0, 5778.0, 6600.0, 12_000.0] {
            assert!((rgb_kelvin(kelvin_rgb(kelvin)) / kelvin - 1.0).abs() < 1e-3);
        }
        assert!((rgb_kelvin(Vec3::X) - 1000.0).abs() < 0.1);
    }

    #[test]
    fn light_falls_off_with_the_square_of_the_distance() {
        let position_m = Vec3::new(0.0, 0.0, 2.0);
        let light = |source| Light {
            intensity: 8.0,
            kelvin: 6600.0,
            source,
        };
        let point = light(LightSource::Point {
            position_m,
            radius_m: 0.1,
        });
        let (colour, towards) = point.arriving(Vec3::ZERO);
        assert!((colour - 2.0).abs().max_element() < 1e-4 && towards == Vec3::Z);
        let spot = light(LightSource::Spot {
            position_m,
            radius_m: 0.1,
            axis: Vec3::NEG_Z,
            cos_outer: 0.8,
            cos_inner: 0.9,
        });
        assert!((spot.arriving(Vec3::ZERO).0 - 2.0).abs().max_element() < 1e-4);
        assert_eq!(spot.arriving(Vec3::new(2.0, 0.0, 0.0)).0, Vec3::ZERO);
        let area = light(LightSource::Area {
            position_m,
            half_width_m: Vec3::new(0.0, 0.5, 0.0),
            half_height_m: Vec3::new(0.5, 0.0, 0.0),
        });
        assert!((area.arriving(Vec3::ZERO).0 - 2.0).abs().max_element() < 1e-4);
        assert_eq!(area.arriving(Vec3::new(0.0, 0.0, 4.0)).0, Vec3::ZERO);
    }
}
