//! Every transform: its parameters, their bounds and defaults, and its place in the order of
//! light. One table makes the *spec*, whose numbers are distributions, and the concrete
//! transform, whose numbers are drawn, so that the two cannot come apart.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::compression::{Filter, Subsampling};
use super::corruption::Corruption;
use crate::seed::Generator;
use crate::spec::{Distribution, Interval};

/// Where a transform stands in the order in which light meets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// What is in the picture.
    Composition,
    /// Where its parts lie.
    Geometry,
    /// How bright the scene is, and of which colour.
    Light,
    /// What hangs in the air between scene and lens.
    Weather,
    Lens,
    Sensor,
    /// What is done with finished values.
    Processing,
    Compression,
    /// The faults of those who label.
    Labels,
}

/// The bounds of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bounds {
    pub low: f64,
    pub high: f64,
    /// Whether what is drawn is rounded.
    pub whole: bool,
}

impl From<RangeInclusive<f64>> for Bounds {
    fn from(range: RangeInclusive<f64>) -> Self {
        let (low, high) = range.into_inner();
        let whole = false;
        Bounds { low, high, whole }
    }
}

impl From<RangeInclusive<u32>> for Bounds {
    fn from(range: RangeInclusive<u32>) -> Self {
        let (low, high) = range.into_inner();
        Bounds {
            low: f64::from(low),
            high: f64::from(high),
            whole: true,
        }
    }
}

/// A number of a spec: what is written, and what holds where nothing is.
struct Number<'a> {
    written: Option<&'a Distribution>,
    default: fn() -> Distribution,
    bounds: Bounds,
}

// The table has some hundred numbers, at each of which copies of these would stand.
impl Number<'_> {
    #[inline(never)]
    fn draw(&self, generator: &mut Generator) -> f64 {
        let value = match self.written {
            Some(distribution) => distribution.sample(generator),
            None => (self.default)().sample(generator),
        };
        if self.bounds.whole {
            value.round()
        } else {
            value
        }
    }

    #[inline(never)]
    fn limit(&self, key: &'static str) -> (&'static str, Distribution, Bounds) {
        let distribution = self.written.cloned().unwrap_or_else(self.default);
        (key, distribution, self.bounds)
    }
}

/// Writes a default in where nothing is said.
#[inline(never)]
fn complete_with(number: &mut Option<Distribution>, default: fn() -> Distribution) {
    number.get_or_insert_with(default);
}

/// A default that is a range: any value in it is as likely.
fn uniform(low: f64, high: f64) -> Distribution {
    Distribution::Uniform(Interval::new(low, high).expect("defaults are written in order"))
}

/// The type of a number as it is written: what has a default may be left out.
macro_rules! written {
    () => { Distribution };
    ($default:expr) => { Option<Distribution> };
}

/// Writes the default in where nothing is said.
macro_rules! complete {
    ($key:ident) => {
        let _: &Distribution = $key;
    };
    ($key:ident $default:expr) => {
        complete_with($key, || $default.into());
    };
}

/// A number with its default and bounds.
macro_rules! number {
    ($key:ident in $bounds:expr) => {
        Number {
            written: Some($key),
            // Never asked for: what has no default is written.
            default: || Distribution::Constant(0.0),
            bounds: $bounds.into(),
        }
    };
    ($key:ident in $bounds:expr, $default:expr) => {
        Number {
            written: $key.as_ref(),
            default: || $default.into(),
            bounds: $bounds.into(),
        }
    };
}

/// `Stage Variant "name" { key: low..=high = default, ...; other_key: Type = default }`.
/// Bounds that are whole numbers make the parameter one. `seeded` marks what needs a seed
/// for each pixel or place. Keys after the semicolon are taken as they are written.
macro_rules! catalogue {
    ($(
        $(#[$about:meta])*
        $stage:ident $variant:ident $name:literal $($seeded:ident)? {
            $(
                $(#[$meaning:meta])*
                $key:ident: $low:literal..=$high:literal $(= $default:expr)?
            ),*
            $(; $(
                $(#[$other_meaning:meta])*
                $other:ident: $kind:ty = $other_default:expr
            ),+)?
        }
    )*) => {
        /// A transform with distributions for its numbers, as it is written in YAML.
        #[expect(clippy::large_enum_variant, reason = "a policy holds a handful of them")]
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case", deny_unknown_fields)]
        pub enum TransformSpec {
            $(
                $(#[$about])*
                $variant {
                    $($(#[$meaning])* $key: written!($($default)?),)*
                    $($($(#[$other_meaning])* $other: Option<$kind>,)+)?
                },
            )*
        }

        /// A transform with all its parameters; see [`TransformSpec`] for their meaning.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case", deny_unknown_fields)]
        pub enum Transform {
            $(
                $(#[$about])*
                $variant {
                    $($key: f64,)*
                    $($($other: $kind,)+)?
                },
            )*
        }

        impl Transform {
            /// Place in the order of light.
            pub fn stage(&self) -> Stage {
                match self {
                    $(Self::$variant { .. } => Stage::$stage,)*
                }
            }
        }

        impl TransformSpec {
            /// The name in YAML, by which draws are keyed.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $name,)*
                }
            }

            /// Place in the order of light.
            pub fn stage(&self) -> Stage {
                match self {
                    $(Self::$variant { .. } => Stage::$stage,)*
                }
            }

            /// Whether it needs a seed besides its numbers.
            pub(super) fn is_seeded(&self) -> bool {
                match self {
                    $(Self::$variant { .. } => [$(stringify!($seeded))?].contains(&"seeded"),)*
                }
            }

            /// Writes defaults in, so that a plan says all that it does.
            pub(super) fn complete(&mut self) {
                match self {
                    $(Self::$variant { $($key,)* $($($other,)+)? } => {
                        $(complete!($key $($default)?);)*
                        $($($other.get_or_insert_with(|| $other_default);)+)?
                    })*
                }
            }

            /// Each number with its key and the bounds that it must stay in, once completed.
            pub(super) fn limits(&self) -> Vec<(&'static str, Distribution, Bounds)> {
                match self {
                    $(Self::$variant { $($key,)* .. } => vec![$(
                        number!($key in $low..=$high $(, $default)?).limit(stringify!($key)),
                    )*],)*
                }
            }

            pub(super) fn draw(&self, generator: &mut Generator) -> Transform {
                match self {
                    $(Self::$variant { $($key,)* $($($other,)+)? } => Transform::$variant {
                        $($key: number!($key in $low..=$high $(, $default)?).draw(generator),)*
                        $($($other: $other.clone().unwrap_or_else(|| $other_default),)+)?
                    },)*
                }
            }
        }
    };
}

catalogue! {
    /// Labels come late: an image has those of an earlier one of its group. First of all, so
    /// that they move with the picture from then on.
    Composition LabelDelay "label_delay" {
        /// How many images earlier, in the order of file names.
        frames: 1..=1000
    }
    /// Four pictures meet at a point: this one, and three others of the data set. Each is
    /// scaled to cover its quarter at least, and keeps its labels.
    Composition Mosaic "mosaic" {
        /// Where they meet, as a share of width and height.
        x: 0.1..=0.9 = uniform(0.3, 0.7),
        y: 0.1..=0.9 = uniform(0.3, 0.7),
        /// Size of each picture, relative to its own.
        scale: 0.1..=2.0 = uniform(0.5, 1.0),
        /// A label of which a smaller share remains is dropped.
        min_visible: 0.0..=1.0 = 0.25
    }
    /// A double exposure with another picture of the data set; the labels of both are kept.
    Composition MixUp "mix_up" {
        /// Share of the other picture's light.
        share: 0.0..=1.0 = uniform(0.2, 0.5)
    }
    /// Objects of another picture of the data set, cut out along their outlines and put to
    /// other places. Labels without an outline are not taken.
    Composition CopyPaste "copy_paste" seeded {
        /// How many objects at most.
        count: 1..=100 = 3.0,
        /// Their size, relative to what it was.
        scale: 0.1..=4.0 = uniform(0.7, 1.3),
        /// Width of the soft edge, pixels.
        feather_px: 0.0..=16.0 = 1.0,
        /// A label that they leave a smaller share of is dropped.
        min_visible: 0.0..=1.0 = 0.25
    }
    /// Grey rectangles hide parts of the picture.
    Composition CutOut "cut_out" seeded {
        count: 1..=64 = 1.0,
        /// Sides of the rectangles, as a share of the shorter side of the picture.
        size: 0.01..=1.0 = uniform(0.05, 0.2),
        /// Encoded value of the grey.
        grey: 0.0..=1.0 = 0.5,
        /// A label that they leave a smaller share of is dropped.
        min_visible: 0.0..=1.0 = 0.25
    }

    /// Left and right change places; keypoints of a pair swap names.
    Geometry FlipHorizontal "flip_horizontal" {
        ;
        /// Keypoints that swap names, by their number from 0.
        keypoint_pairs: Vec<[usize; 2]> = Vec::new()
    }
    /// Top and bottom change places; keypoints of a pair swap names.
    Geometry FlipVertical "flip_vertical" {
        ;
        /// Keypoints that swap names, by their number from 0.
        keypoint_pairs: Vec<[usize; 2]> = Vec::new()
    }
    /// Shear along x, rotation and scale about the centre, then a shift. What comes from
    /// outside is black.
    Geometry Affine "affine" {
        /// Degrees, clockwise as seen.
        rotate_deg: -360.0..=360.0 = 0.0,
        /// Above 1 is nearer.
        scale: 0.1..=10.0 = 1.0,
        /// Degrees: `x + y tan(shear)`.
        shear_deg: -60.0..=60.0 = 0.0,
        /// Share of the width.
        translate_x: -1.0..=1.0 = 0.0,
        /// Share of the height.
        translate_y: -1.0..=1.0 = 0.0,
        /// A label of which a smaller share remains is dropped.
        min_visible: 0.0..=1.0 = 0.25
    }
    /// A part of the image, as an upright rectangle.
    Geometry Crop "crop" {
        /// Share of the sides that is left.
        size: 0.05..=1.0,
        /// Width over height, relative to those of the image.
        aspect: 0.25..=4.0 = 1.0,
        /// Place in the free room: 0 is left, 1 is right.
        x: 0.0..=1.0 = uniform(0.0, 1.0),
        /// Place in the free room: 0 is top, 1 is bottom.
        y: 0.0..=1.0 = uniform(0.0, 1.0),
        /// A label of which a smaller share remains is dropped.
        min_visible: 0.0..=1.0 = 0.25
    }
    /// The camera turns about its own centre: the view of a flat scene is foreshortened.
    Geometry Perspective "perspective" {
        /// Degrees to the right.
        pan_deg: -25.0..=25.0 = 0.0,
        /// Degrees upwards.
        tilt_deg: -25.0..=25.0 = 0.0,
        /// Horizontal angle of view of the photograph, degrees.
        view_deg: 10.0..=80.0 = 60.0,
        /// A label of which a smaller share remains is dropped.
        min_visible: 0.0..=1.0 = 0.25
    }
    /// Radial distortion: what is now at distance `r` from the centre, in half diagonals,
    /// comes from `r (1 + k1 r^2 + k2 r^4)`. Positive is a barrel.
    Geometry LensDistortion "lens_distortion" {
        k1: -0.2..=1.0,
        k2: -0.05..=0.5 = 0.0,
        /// A label of which a smaller share remains is dropped.
        min_visible: 0.0..=1.0 = 0.25
    }
    /// A smooth random shift of each place.
    Geometry Elastic "elastic" seeded {
        /// Largest shift, as a share of the distance between bumps.
        strength: 0.0..=0.25,
        /// Distance between bumps, as a share of the shorter side.
        distance: 0.02..=0.25 = 0.1,
        /// A label of which a smaller share remains is dropped.
        min_visible: 0.0..=1.0 = 0.25
    }

    /// Linear light times `2^ev`.
    Light Exposure "exposure" {
        /// Stops.
        ev: -12.0..=12.0
    }
    /// Gains in linear light; green keeps 1.
    Light WhiteBalance "white_balance" {
        red: 0.1..=10.0,
        blue: 0.1..=10.0
    }
    /// The scene under a light of this colour, developed for daylight.
    Light ColourTemperature "colour_temperature" {
        /// Kelvin; 6504 changes nothing.
        kelvin: 2000.0..=15000.0,
        /// Distance from the black-body locus in CIE 1960 u, v; positive is greener.
        tint_duv: -0.05..=0.05 = 0.0
    }

    /// Fog of an even light. Distances come from `depth/` beside the images; without it, from
    /// a flat ground.
    Weather Fog "fog" seeded {
        /// Metres at which 2 % of the contrast are left.
        visibility_m: 1.0..=100000.0,
        /// The fog's own linear light; 1 is white.
        airlight: 0.0..=2.0 = 0.6,
        /// Smooth variation of the density over the picture.
        patchiness: 0.0..=1.0 = 0.0,
        /// Without depth: distance of the ground at the lower edge, metres.
        near_m: 0.05..=1000.0 = 4.0,
        /// Without depth: share of the height above the horizon; below 0 no horizon is seen.
        horizon: -10.0..=0.95 = 0.35
    }
    /// Streaks of falling drops.
    Weather Rain "rain" seeded {
        /// 2.5 is light and 50 violent.
        rate_mm_h: 0.0..=200.0,
        /// Degrees from the vertical, positive to the right.
        angle_deg: -80.0..=80.0 = 0.0,
        /// Shutter time, seconds: longer streaks are fainter.
        exposure_s: 0.0002..=0.1 = 0.004,
        /// Light of a drop, relative to the brightest tenth of the picture: about 1 under an
        /// even sky, more against the light.
        brightness: 0.1..=20.0 = 4.0
    }
    /// Falling flakes.
    Weather Snow "snow" seeded {
        /// Flakes a cubic metre: 30 is light, 500 a blizzard.
        flakes_m3: 0.0..=2000.0,
        size_mm: 0.5..=30.0 = 5.0,
        /// Degrees from the vertical, positive to the right.
        angle_deg: -80.0..=80.0 = 0.0,
        /// Shutter time, seconds.
        exposure_s: 0.0002..=0.1 = 0.008
    }
    /// A low sun from a side: warm there, blue on the other side, with a veil of stray light.
    Weather LowSun "low_sun" {
        /// Place of the sun: 0 is left, 1 is right.
        x: 0.0..=1.0 = uniform(0.0, 1.0),
        strength: 0.0..=1.0
    }

    /// Blur by a disc.
    Lens Defocus "defocus" {
        /// Pixels.
        radius_px: 0.0..=32.0
    }
    /// Blur that follows distance. Distances come from `depth/` beside the images; without it,
    /// from a flat ground.
    Lens DefocusByDepth "defocus_by_depth" {
        /// Distance in focus, metres.
        focus_m: 0.01..=10000.0,
        /// Radius of the disc for what is infinitely far, pixels.
        strength_px: 0.0..=32.0,
        /// Without depth: distance of the ground at the lower edge, metres.
        near_m: 0.05..=1000.0 = 4.0,
        /// Without depth: share of the height above the horizon; below 0 no horizon is seen.
        horizon: -10.0..=0.95 = 0.35
    }
    /// Blur by a trembling hand.
    Lens CameraShake "camera_shake" seeded {
        /// Extent of the path, pixels.
        length_px: 0.0..=64.0
    }
    /// Red and blue are magnified about the centre.
    Lens ChromaticAberration "chromatic_aberration" {
        red_scale: 0.9..=1.1 = 1.002,
        blue_scale: 0.9..=1.1 = 0.998
    }
    /// Light falls off towards the corners.
    Lens Vignette "vignette" {
        /// Share of light that a corner loses.
        strength: 0.0..=1.0
    }
    /// Stray light of a bright source: a veil, rays and reflections.
    Lens Flare "flare" seeded {
        /// Place of the source, as shares of width and height.
        x: -1.0..=2.0 = uniform(0.0, 1.0),
        y: -1.0..=2.0 = uniform(-0.2, 0.4),
        /// Light beside the source, as a share of white.
        strength: 0.0..=4.0
    }
    /// Dust and smudges on the front lens.
    Lens LensDirt "lens_dirt" seeded {
        amount: 0.0..=1.0
    }
    /// Water drops on the front lens.
    Lens Drops "drops" seeded {
        count: 1..=500 = 20.0,
        /// Pixels.
        radius_px: 2.0..=200.0 = 12.0
    }
    /// The sensor is read row by row while the camera moves: rows are shifted, boxes with them.
    Lens RollingShutter "rolling_shutter" {
        /// Shift of the last row against the first, as a share of the width.
        skew: -0.5..=0.5 = 0.0,
        /// Vibration: shift of a row, as a share of the width.
        wobble: 0.0..=0.1 = 0.0,
        /// Vibrations over the height.
        waves: 0.1..=50.0 = 3.0,
        /// A label of which a smaller share remains is dropped.
        min_visible: 0.0..=1.0 = 0.25
    }
    /// Blur by a line.
    Lens MotionBlur "motion_blur" {
        /// Pixels; up to 1 changes nothing.
        length_px: 0.0..=64.0,
        /// Degrees from the x axis, clockwise as seen.
        angle_deg: -360.0..=360.0
    }

    /// Gaussian noise of variance `shot * v + read^2` at linear light `v`.
    Sensor Noise "noise" seeded {
        shot: 0.0..=1.0,
        read: 0.0..=1.0
    }

    /// The photograph is taken again: back to what the photosites gathered, exposed anew
    /// with the sensor's noise, and developed. `ev: -3` with `iso: 800` is as bright as before,
    /// with the noise of an eighth of the light.
    Sensor Camera "camera" seeded {
        /// Stops, light on the sensor relative to the photograph's.
        ev: -12.0..=12.0 = -3.0,
        /// At 100 a full well is white; above, the gain grows and fewer electrons are.
        iso: 100.0..=409600.0 = 800.0,
        /// Electrons in a full well; no real one holds over some 200,000, and 1e9 leaves no
        /// photon noise to be seen.
        full_well_e: 500.0..=1e9 = 15000.0,
        /// Noise of reading a photosite, electrons rms.
        read_noise_e: 0.0..=100.0 = 2.5,
        /// Noise that a row shares, electrons rms.
        row_noise_e: 0.0..=50.0 = 0.3,
        /// Mean electrons that gather in the dark. The mean is taken off, the noise stays.
        dark_current_e: 0.0..=10000.0 = 1.0,
        /// Share of photosites that gather many more.
        hot_pixels: 0.0..=0.05 = 1e-5,
        /// Mean of those further electrons.
        hot_pixel_e: 0.0..=200000.0 = 200.0,
        /// Bits of the converter; 1/16 of its numbers lie below black.
        bits: 8..=14 = 12.0,
        /// Strength of the noise filter.
        denoise: 0.0..=1.0 = 0.5,
        /// Amount of unsharp masking.
        sharpen: 0.0..=2.0 = 0.5,
        /// Share of the S-shaped tone curve in the photograph, undone and laid on again.
        tone: 0.0..=1.0 = 0.5,
        /// Stops by which clipped white may have been brighter; of use below 0 `ev` only.
        headroom_ev: 0.0..=12.0 = 2.0,
        /// White balance, red over green: near 2 in daylight, near 1.2 under a lamp.
        red_gain: 0.5..=4.0 = 2.0,
        /// White balance, blue over green: near 1.6 in daylight, near 2.8 under a lamp.
        blue_gain: 0.5..=4.0 = 1.6,
        /// Weights of four sensors' colour matrices: a telephone's (Nexus 6P), Sony ILCE-7R,
        /// Canon EOS 5D Mark II and Nikon D3.
        telephone: 0.001..=1.0 = 1.0,
        sony: 0.001..=1.0 = 1.0,
        canon: 0.001..=1.0 = 1.0,
        nikon: 0.001..=1.0 = 1.0
    }

    /// The encoded value to a power; below 1 brightens.
    Processing Gamma "gamma" {
        power: 0.1..=10.0
    }
    /// Reduced to a part of the size and enlarged back.
    Processing Downscale "downscale" {
        factor: 0.02..=1.0
    }
    /// Reduced to a part of the size for good, labels along with it.
    Processing Resize "resize" {
        factor: 0.02..=1.0
    }
    /// The histogram of each channel becomes that of another picture.
    Processing MatchHistogram "match_histogram" {
        /// 0 changes nothing, 1 matches wholly.
        strength: 0.0..=1.0 = 1.0;
        /// Data set or folder of pictures to be like; one of them is drawn.
        reference: PathBuf = PathBuf::new()
    }
    /// Mean and spread of lightness and of two colour axes become those of another picture.
    Processing MatchColour "match_colour" {
        /// 0 changes nothing, 1 matches wholly.
        strength: 0.0..=1.0 = 1.0;
        /// Data set or folder of pictures to be like; one of them is drawn.
        reference: PathBuf = PathBuf::new()
    }
    /// The amplitudes of the lowest frequencies become those of another picture.
    Processing MatchSpectrum "match_spectrum" {
        /// Half width of the square of frequencies, as a share of the shorter side.
        share: 0.0..=0.2 = 0.01;
        /// Data set or folder of pictures to be like; one of them is drawn.
        reference: PathBuf = PathBuf::new()
    }

    /// Reduced and enlarged with named filters, on encoded values, as devices do.
    Processing Resample "resample" {
        factor: 0.02..=1.0;
        down: Filter = Filter::Box,
        up: Filter = Filter::Bilinear
    }
    /// A corruption of ImageNet-C, on encoded values as published.
    Processing Corruption "corruption" seeded {
        severity: 1..=5 = 3.0;
        kind: Corruption = Corruption::GaussianNoise
    }
    /// Few levels a channel.
    Processing Banding "banding" {
        levels: 2..=256;
        /// Whether a pattern hides the steps.
        dither: bool = false
    }

    /// JPEG compression; two steps compress twice.
    Compression Jpeg "jpeg" {
        quality: 1..=100;
        /// Resolution of colour.
        subsampling: Subsampling = Subsampling::default()
    }
    /// The loss of a video frame coded on its own, as in H.264.
    Compression Video "video" {
        /// Quantisation: 23 is usual, 40 poor.
        qp: 0..=51;
        /// Whether edges between blocks are smoothed, as decoders do.
        deblock: bool = true
    }
    /// A JPEG of which some bits arrived wrong.
    Compression BitErrors "bit_errors" seeded {
        /// Wrong bits.
        errors: 0..=1000,
        quality: 1..=100 = 75.0
    }

    /// Objects are overlooked.
    Labels LabelMissing "label_missing" seeded {
        /// Probability of each label to be left out.
        share: 0.0..=1.0
    }
    /// Boxes lie beside their objects.
    Labels LabelShift "label_shift" seeded {
        /// Probability of each label to be shifted.
        share: 0.0..=1.0 = 1.0,
        /// Standard deviation of the shift in x and y, as a share of width and height.
        sd: 0.0..=2.0
    }
    /// Boxes are too large or too small.
    Labels LabelScale "label_scale" seeded {
        /// Probability of each label to be scaled.
        share: 0.0..=1.0 = 1.0,
        /// Standard deviation of the logarithm of the factor, for width and height apart.
        sd: 0.0..=2.0
    }
    /// Objects get the name of another class.
    Labels LabelClass "label_class" seeded {
        /// Probability of each label to be confused.
        share: 0.0..=1.0
    }
    /// Objects are labelled twice.
    Labels LabelDuplicate "label_duplicate" seeded {
        /// Probability of each label to be repeated.
        share: 0.0..=1.0,
        /// Standard deviation of the second box's shift, as a share of width and height.
        sd: 0.0..=2.0 = 0.03
    }
}
