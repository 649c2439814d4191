//! Concrete transforms and their application to pixels and labels.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::path::Path;

use image::imageops::{self, FilterType};
use image::{ImageBuffer, Luma, RgbImage};

use super::camera::{self, Camera, Colour};
use super::collage::{self, Cutting, Pasting};
use super::geometry::{self, Motion};
use super::label::{Carriage, LabelChanges};
use super::photometric::{self, Linear};
use super::picture::Picture;
use super::weather::{self, Rain, Snow};
use super::{AugmentError, Drawn, Library, Transform};
use super::{blur, compression, corruption, fault, optics, transfer};
use crate::annotation::Annotation;
use crate::dataset::read_image;

/// Distances from the camera's plane in metres, of an image's size; 0 where nothing is.
pub type DepthMap = ImageBuffer<Luma<f32>, Vec<f32>>;

/// What is augmented.
#[derive(Debug, Clone)]
pub struct Subject {
    pub image: RgbImage,
    pub annotations: Vec<Annotation>,
    /// Used by what depends on distance; without it, a plain ramp is taken in its place.
    pub depth: Option<DepthMap>,
}

/// An image and its labels after some transforms.
#[derive(Debug, Clone)]
pub struct Augmented {
    pub image: RgbImage,
    pub annotations: Vec<Annotation>,
    /// What became of the labels; `None` where no transform could change any.
    pub changes: Option<LabelChanges>,
}

/// Applies steps in order. Neighbouring geometric transforms are joined into one,
/// so that pixels are resampled and labels cut once.
///
/// A label keeps its outline (polygons, run-length mask) and keypoints. Its box is
/// the moved box where that stays upright and whole, else the extent of the moved
/// outline within the image, or of the moved box's outline where there is none. A
/// label of which less than `min_visible` is left is dropped.
///
/// # Errors
/// Another picture that a step takes from cannot be read.
pub fn apply(
    steps: &[Drawn],
    subject: Subject,
    library: &Library,
) -> Result<Augmented, AugmentError> {
    let mut work = Work {
        picture: Picture::new(subject.image),
        labels: subject.annotations,
        depth: subject.depth,
        changes: None,
        library,
    };
    let mut rest = steps;
    while let Some(first) = rest.first() {
        let neighbours = rest.iter().take_while(|next| moves_pixels(next)).count();
        let (now, later) = rest.split_at(neighbours.max(1));
        rest = later;
        match Motion::of_all(now, work.picture.size()) {
            Some(motion) => work.move_along(now, &motion),
            None => work.change(first)?,
        }
    }
    Ok(Augmented {
        image: work.picture.into_image(),
        annotations: work.labels,
        changes: work.changes,
    })
}

/// Whether pixels only change places, so that several steps can be done in one go.
fn moves_pixels(step: &Drawn) -> bool {
    matches!(
        step.transform,
        Transform::FlipHorizontal { .. }
            | Transform::FlipVertical { .. }
            | Transform::Affine { .. }
            | Transform::Crop { .. }
            | Transform::Perspective { .. }
            | Transform::LensDistortion { .. }
            | Transform::Elastic { .. }
            | Transform::RollingShutter { .. }
    )
}

fn min_visible(step: &Drawn) -> f64 {
    match &step.transform {
        Transform::Affine { min_visible, .. }
        | Transform::Crop { min_visible, .. }
        | Transform::Perspective { min_visible, .. }
        | Transform::LensDistortion { min_visible, .. }
        | Transform::Elastic { min_visible, .. }
        | Transform::RollingShutter { min_visible, .. } => *min_visible,
        _ => 0.0,
    }
}

fn keypoint_pairs(step: &Drawn) -> &[[usize; 2]] {
    match &step.transform {
        Transform::FlipHorizontal { keypoint_pairs }
        | Transform::FlipVertical { keypoint_pairs } => keypoint_pairs,
        _ => &[],
    }
}

/// A subject between two steps.
struct Work<'a> {
    picture: Picture,
    labels: Vec<Annotation>,
    depth: Option<DepthMap>,
    changes: Option<LabelChanges>,
    library: &'a Library<'a>,
}

impl Work<'_> {
    fn move_along(&mut self, steps: &[Drawn], motion: &Motion) {
        let from = self.picture.size();
        let picture = std::mem::replace(&mut self.picture, Picture::new(RgbImage::new(0, 0)));
        self.picture = match steps {
            [
                Drawn {
                    transform: Transform::Resize { .. },
                    ..
                },
            ] => resized(picture, motion.size),
            _ => geometry::warp(picture, motion),
        };
        let depth = self.depth.take();
        self.depth = depth.map(|depth| geometry::warp_nearest(&depth, motion));
        let carriage = Carriage {
            motion,
            from,
            min_visible: steps.iter().map(min_visible).fold(0.0, f64::max),
            keypoint_pairs: steps
                .iter()
                .map(keypoint_pairs)
                .find(|pairs| !pairs.is_empty())
                .unwrap_or(&[]),
        };
        let labels = std::mem::take(&mut self.labels);
        self.labels = carriage.carry(labels, self.changes.get_or_insert_default());
    }

    /// One step that moves nothing.
    fn change(&mut self, step: &Drawn) -> Result<(), AugmentError> {
        let picture = &mut self.picture;
        match &step.transform {
            Transform::Exposure { ev } => {
                let gain = ev.exp2() as f32;
                picture.map(|_, value| value * gain);
            }
            Transform::WhiteBalance { red, blue } => scale(picture, [*red, 1.0, *blue]),
            Transform::ColourTemperature { kelvin, tint_duv } => {
                scale(
                    picture,
                    photometric::colour_temperature_gains(*kelvin, *tint_duv),
                );
            }
            Transform::Defocus { radius_px } => {
                let blurred = optics::defocus(picture.light(), *radius_px);
                picture.set_light(blurred);
            }
            Transform::MotionBlur {
                length_px,
                angle_deg,
            } => {
                let psf = blur::line(*length_px, *angle_deg);
                let blurred = blur::convolve(picture.light(), &psf);
                picture.set_light(blurred);
            }
            Transform::DefocusByDepth { .. }
            | Transform::CameraShake { .. }
            | Transform::ChromaticAberration { .. }
            | Transform::Vignette { .. }
            | Transform::Flare { .. }
            | Transform::LensDirt { .. }
            | Transform::Drops { .. } => self.through_lens(step),
            Transform::Fog { .. }
            | Transform::Rain { .. }
            | Transform::Snow { .. }
            | Transform::LowSun { .. } => self.through_air(step),
            Transform::Noise { shot, read } => {
                photometric::noise(picture.light(), *shot as f32, *read as f32, step.seed());
            }
            Transform::Camera { .. } => {
                if let Some(camera) = camera_of(step) {
                    let taken = camera::photograph(picture.light(), &camera);
                    picture.set_light(taken);
                }
            }
            Transform::Gamma { power } => {
                let power = *power as f32;
                if picture.is_levels() {
                    let curve = photometric::gamma(power);
                    picture.map(|_, value| curve(value));
                } else {
                    let curve = photometric::gamma_of_many(power);
                    picture.map(|_, value| curve(value));
                }
            }
            Transform::Downscale { factor } => {
                let [width, height] = picture.size();
                let small = [width, height].map(|side| geometry::part(side, *factor));
                let small = averaged(picture, small);
                let large = imageops::resize(&small, width, height, FilterType::Triangle);
                picture.set_light(large);
            }
            Transform::Resample { factor, down, up } => {
                let out = compression::resample(picture.levels(), *factor, *down, *up);
                picture.set_levels(out);
            }
            Transform::Corruption { severity, kind } => {
                let out =
                    corruption::corrupt(picture.levels(), *kind, *severity as u8, step.seed());
                picture.set_levels(out);
            }
            Transform::Banding { levels, dither } => {
                compression::banding(picture.levels(), *levels as u32, *dither);
            }
            Transform::Jpeg {
                quality,
                subsampling,
            } => {
                let bytes = compression::jpeg(picture.levels(), *quality as u8, *subsampling);
                picture.set_levels(compression::decode(&bytes));
            }
            Transform::Video { qp, deblock } => {
                let out = compression::video(picture.levels(), *qp, *deblock);
                picture.set_levels(out);
            }
            Transform::BitErrors { errors, quality } => {
                let (quality, errors) = (*quality as u8, *errors as usize);
                let out = compression::bit_errors(picture.levels(), quality, errors, step.seed());
                picture.set_levels(out);
            }
            Transform::MatchHistogram { strength, .. } => {
                if let Some(reference) = reference(step)? {
                    transfer::match_histogram(picture.levels(), &reference, *strength);
                }
            }
            Transform::MatchColour { strength, .. } => {
                if let Some(reference) = reference(step)? {
                    let reference = photometric::decode(&reference);
                    transfer::match_colour(picture.light(), &reference, *strength);
                }
            }
            Transform::MatchSpectrum { share, .. } => {
                if let Some(reference) = reference(step)? {
                    transfer::match_spectrum(picture.levels(), &reference, *share);
                }
            }
            Transform::Mosaic { .. }
            | Transform::MixUp { .. }
            | Transform::CopyPaste { .. }
            | Transform::CutOut { .. } => return self.compose(step),
            Transform::LabelDelay { .. } => {
                if let [earlier] = step.donors() {
                    self.labels = self.library.labels(earlier)?;
                }
                self.changes.get_or_insert_default();
            }
            Transform::LabelMissing { .. }
            | Transform::LabelShift { .. }
            | Transform::LabelScale { .. }
            | Transform::LabelClass { .. }
            | Transform::LabelDuplicate { .. } => {
                let (size, classes) = (picture.size(), &self.library.classes);
                let labels = std::mem::take(&mut self.labels);
                let changes = self.changes.get_or_insert_default();
                self.labels = fault::plant(step, labels, size, classes, changes);
            }
            Transform::FlipHorizontal { .. }
            | Transform::FlipVertical { .. }
            | Transform::Affine { .. }
            | Transform::Crop { .. }
            | Transform::Perspective { .. }
            | Transform::LensDistortion { .. }
            | Transform::Elastic { .. }
            | Transform::RollingShutter { .. }
            | Transform::Resize { .. } => {}
        }
        Ok(())
    }

    /// Distances in the picture, or those of a flat ground where none are known.
    fn distances(&self, near_m: f64, horizon: f64) -> Cow<'_, DepthMap> {
        let size = self.picture.size();
        match &self.depth {
            Some(depth) if <[u32; 2]>::from(depth.dimensions()) == size => Cow::Borrowed(depth),
            _ => Cow::Owned(weather::ground_distances(size, near_m, horizon)),
        }
    }

    fn through_air(&mut self, step: &Drawn) {
        let seed = step.seed();
        match step.transform {
            Transform::Fog {
                visibility_m,
                airlight,
                patchiness,
                near_m,
                horizon,
            } => {
                let depth = self.distances(near_m, horizon).into_owned();
                let light = self.picture.light();
                weather::fog(light, &depth, visibility_m, airlight, patchiness, seed);
            }
            Transform::Rain {
                rate_mm_h,
                angle_deg,
                exposure_s,
                brightness,
            } => {
                let rain = Rain {
                    rate_mm_h,
                    angle_deg,
                    exposure_s,
                    brightness,
                    seed,
                };
                weather::rain(self.picture.light(), rain);
            }
            Transform::Snow {
                flakes_m3,
                size_mm,
                angle_deg,
                exposure_s,
            } => {
                let snow = Snow {
                    flakes_m3,
                    size_mm,
                    angle_deg,
                    exposure_s,
                    seed,
                };
                weather::snow(self.picture.light(), snow);
            }
            Transform::LowSun { x, strength } => {
                weather::low_sun(self.picture.light(), x, strength);
            }
            _ => {}
        }
    }

    fn through_lens(&mut self, step: &Drawn) {
        let seed = step.seed();
        match step.transform {
            Transform::DefocusByDepth {
                focus_m,
                strength_px,
                near_m,
                horizon,
            } => {
                let depth = self.distances(near_m, horizon).into_owned();
                let light = self.picture.light();
                let blurred = optics::defocus_by_depth(light, &depth, focus_m, strength_px);
                self.picture.set_light(blurred);
            }
            Transform::CameraShake { length_px } => {
                let blurred = optics::camera_shake(self.picture.light(), length_px, seed);
                self.picture.set_light(blurred);
            }
            Transform::ChromaticAberration {
                red_scale,
                blue_scale,
            } => {
                let light = self.picture.light();
                let fringed = optics::chromatic_aberration(light, red_scale, blue_scale);
                self.picture.set_light(fringed);
            }
            Transform::Vignette { strength } => {
                optics::vignette(self.picture.light(), strength);
            }
            Transform::Flare { x, y, strength } => {
                optics::flare(self.picture.light(), [x, y], strength, seed);
            }
            Transform::LensDirt { amount } => {
                optics::lens_dirt(self.picture.light(), amount, seed);
            }
            Transform::Drops { count, radius_px } => {
                optics::drops(self.picture.light(), count as usize, radius_px, seed);
            }
            _ => {}
        }
    }

    /// One step that changes what is in the picture.
    fn compose(&mut self, step: &Drawn) -> Result<(), AugmentError> {
        let changes = self.changes.get_or_insert_default();
        let (picture, labels) = (&mut self.picture, &mut self.labels);
        match &step.transform {
            Transform::Mosaic {
                x,
                y,
                scale,
                min_visible,
            } => {
                let [a, b, c] = step.donors() else {
                    return Ok(());
                };
                let [a, b, c] = [a, b, c].map(|name| self.library.sample(name));
                let own = (picture.levels().clone(), std::mem::take(labels));
                let (size, meeting) = (picture.size(), [*x, *y]);
                let pictures = [own, a?, b?, c?];
                (*picture, *labels) =
                    collage::mosaic(pictures, size, meeting, *scale, *min_visible, changes);
                // The other pictures' distances are not known.
                self.depth = None;
            }
            Transform::MixUp { share } => {
                if let [donor] = step.donors() {
                    let other = self.library.sample(donor)?;
                    collage::mix_up(picture, labels, other, *share, changes);
                }
            }
            Transform::CopyPaste {
                count,
                scale,
                feather_px,
                min_visible,
            } => {
                if let [donor] = step.donors() {
                    let pasting = Pasting {
                        count: *count as usize,
                        scale: *scale,
                        feather_px: *feather_px,
                        min_visible: *min_visible,
                        seed: step.seed(),
                    };
                    let other = self.library.sample(donor)?;
                    collage::copy_paste(picture, labels, other, pasting, changes);
                }
            }
            Transform::CutOut {
                count,
                size,
                grey,
                min_visible,
            } => {
                let cutting = Cutting {
                    count: *count as usize,
                    size: *size,
                    grey: *grey,
                    min_visible: *min_visible,
                    seed: step.seed(),
                };
                collage::cut_out(picture, labels, cutting, changes);
            }
            _ => {}
        }
        Ok(())
    }
}

fn camera_of(step: &Drawn) -> Option<Camera> {
    let Transform::Camera {
        ev,
        iso,
        full_well_e,
        read_noise_e,
        row_noise_e,
        dark_current_e,
        hot_pixels,
        hot_pixel_e,
        bits,
        denoise,
        sharpen,
        tone,
        headroom_ev,
        red_gain,
        blue_gain,
        telephone,
        sony,
        canon,
        nikon,
    } = step.transform
    else {
        return None;
    };
    Some(Camera {
        ev,
        iso,
        full_well_e,
        read_noise_e,
        row_noise_e,
        dark_current_e,
        hot_pixels,
        hot_pixel_e,
        bits: bits as u8,
        denoise,
        sharpen,
        tone,
        headroom_ev,
        colour: Colour {
            weights: [telephone, sony, canon, nikon],
            red_gain,
            blue_gain,
        },
        seed: step.seed(),
    })
}

fn scale(picture: &mut Picture, gains: [f64; 3]) {
    picture.map(|channel, value| value * gains[channel] as f32);
}

/// The picture that a step makes its own like.
fn reference(step: &Drawn) -> Result<Option<RgbImage>, AugmentError> {
    let path = step.donors().first();
    Ok(path.map(|path| read_image(Path::new(path))).transpose()?)
}

fn resized(mut picture: Picture, size: [u32; 2]) -> Picture {
    let small = averaged(&mut picture, size);
    picture.set_light(small);
    picture
}

/// Averages over the area that falls on each new pixel. The sensor has clipped before.
fn averaged(picture: &mut Picture, [width, height]: [u32; 2]) -> Linear {
    picture.clip();
    imageops::resize(picture.light(), width, height, FilterType::Triangle)
}
