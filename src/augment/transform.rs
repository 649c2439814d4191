//! Concrete transforms and their application to pixels and labels.

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
use super::{blur, compression, fault, optics, transfer};
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
                let curve = photometric::gamma(*power as f32);
                picture.map(|_, value| curve(value));
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
            } => {
                let rain = Rain {
                    rate_mm_h,
                    angle_deg,
                    exposure_s,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotation::BoundingBox;
    use image::Rgb;
    use serde_json::{Map, Value, json};

    /// A white rectangle on black, with its box, polygon, mask and two keypoints.
    fn marked() -> (RgbImage, Vec<Annotation>) {
        let bbox = BoundingBox::from([50.0, 20.0, 20.0, 10.0]);
        let image = RgbImage::from_fn(120, 80, |x, y| {
            let inside = (50..70).contains(&x) && (20..30).contains(&y);
            Rgb([if inside { 255 } else { 0 }; 3])
        });
        let label = |id, segmentation: Value| Annotation {
            id,
            category_id: 1,
            bbox,
            area: bbox.area(),
            is_crowd: false,
            extra: Map::from_iter([
                ("segmentation".to_owned(), segmentation),
                (
                    "keypoints".to_owned(),
                    json!([50.5, 20.5, 2, 69.5, 29.5, 1, 0, 0, 0]),
                ),
                ("num_keypoints".to_owned(), json!(2)),
            ]),
        };
        let polygon = json!([[50, 20, 70, 20, 70, 30, 50, 30]]);
        // Columns of 80 pixels: 50 empty ones, and 20 rows above in the next.
        let mut counts = vec![50 * 80 + 20];
        for _ in 0..19 {
            counts.extend([10, 70]);
        }
        counts.extend([10, 50 + 50 * 80]);
        let mask = json!({"size": [80, 120], "counts": counts});
        let mut plain = label(3, Value::Null);
        plain.extra.clear();
        (image, vec![label(1, polygon), label(2, mask), plain])
    }

    fn affine(rotate_deg: f64, scale: f64, shear_deg: f64) -> Drawn {
        Drawn::from(Transform::Affine {
            rotate_deg,
            scale,
            shear_deg,
            translate_x: 0.05,
            translate_y: -0.02,
            min_visible: 0.25,
        })
    }

    fn flip() -> Drawn {
        Drawn::from(Transform::FlipHorizontal {
            keypoint_pairs: vec![[0, 1]],
        })
    }

    /// A share of the width, and as good as all of the height.
    fn crop(x: f64, width: f64, min_visible: f64) -> Drawn {
        Drawn::from(Transform::Crop {
            size: width.sqrt(),
            aspect: width,
            x,
            y: 0.0,
            min_visible,
        })
    }

    fn apply(steps: &[Drawn], image: RgbImage, annotations: Vec<Annotation>) -> Augmented {
        let subject = Subject {
            image,
            annotations,
            depth: None,
        };
        super::apply(steps, subject, &Library::default()).unwrap()
    }

    /// Steps that bend lines or move the horizon.
    fn bending() -> [Drawn; 3] {
        let min_visible = 0.25;
        [
            Transform::Perspective {
                pan_deg: 8.0,
                tilt_deg: -6.0,
                view_deg: 60.0,
                min_visible,
            },
            Transform::LensDistortion {
                k1: 0.3,
                k2: 0.05,
                min_visible,
            },
            Transform::Elastic {
                strength: 0.2,
                distance: 0.2,
                min_visible,
            },
        ]
        .map(|transform| Drawn::from(transform).with_seed(3))
    }

    fn extent_of_white(image: &RgbImage) -> BoundingBox {
        let [mut low, mut high] = [[f64::INFINITY; 2], [0.0_f64; 2]];
        for (x, y, pixel) in image.enumerate_pixels() {
            if pixel[0] > 100 {
                low = [low[0].min(f64::from(x)), low[1].min(f64::from(y))];
                high = [
                    high[0].max(f64::from(x) + 1.0),
                    high[1].max(f64::from(y) + 1.0),
                ];
            }
        }
        BoundingBox::from_corners(low[0], low[1], high[0], high[1])
    }

    fn assert_close(a: &BoundingBox, b: &BoundingBox, tolerance: f64, what: &str) {
        let (a, b): ([f64; 4], [f64; 4]) = ((*a).into(), (*b).into());
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() <= tolerance, "{what}: {a} and {b}");
        }
    }

    #[test]
    fn boxes_polygons_masks_and_keypoints_follow_the_pixels() {
        for transforms in [
            vec![flip()],
            vec![Drawn::from(Transform::FlipVertical {
                keypoint_pairs: vec![[0, 1]],
            })],
            vec![affine(20.0, 1.2, 0.0)],
            vec![affine(-35.0, 0.9, 8.0)],
            vec![flip(), affine(10.0, 1.0, 0.0), crop(0.5, 0.9, 0.25)],
            vec![bending()[0].clone()],
            vec![bending()[1].clone()],
            vec![bending()[2].clone()],
            vec![
                bending()[2].clone(),
                affine(10.0, 1.0, 0.0),
                bending()[0].clone(),
            ],
            vec![
                crop(0.3, 0.8, 0.0),
                Drawn::from(Transform::Resize { factor: 1.0 }),
            ],
        ] {
            let (image, labels) = marked();
            let out = apply(&transforms, image, labels);
            let seen = extent_of_white(&out.image);
            for label in &out.annotations {
                assert_close(&label.bbox, &seen, 1.5, &format!("{transforms:?}"));
            }
            let rle = &out.annotations[1].extra["segmentation"];
            let white = out.image.pixels().filter(|pixel| pixel[0] > 187).count() as f64;
            assert!((out.annotations[1].area / white - 1.0).abs() < 0.1);
            assert_eq!(rle["size"], json!([out.image.height(), out.image.width()]));
            let points = out.annotations[0].extra["keypoints"].as_array().unwrap();
            for point in points.chunks(3).filter(|point| point[2] != json!(0)) {
                let [x, y] = [0, 1].map(|i| point[i].as_f64().unwrap());
                let grown = seen.x - 1.0..=seen.right() + 1.0;
                assert!(grown.contains(&x), "{x} in {seen:?}");
                assert!((seen.y - 1.0..=seen.bottom() + 1.0).contains(&y));
            }
        }
    }

    /// The corners of the box, turned by hand with the matrix of the documentation.
    #[test]
    fn the_box_after_an_affine_is_the_hull_of_its_polygon() {
        let (image, labels) = marked();
        let out = apply(&[affine(30.0, 1.1, 0.0)], image, labels);
        let (sin, cos) = 30_f64.to_radians().sin_cos();
        let turned = [[50.0, 20.0], [70.0, 20.0], [70.0, 30.0], [50.0, 30.0]].map(|[x, y]| {
            let (x, y) = (x - 60.0, y - 40.0);
            [
                60.0 + 1.1 * (x * cos - y * sin) + 0.05 * 120.0,
                40.0 + 1.1 * (x * sin + y * cos) - 0.02 * 80.0,
            ]
        });
        let axis = |i: usize| turned.map(|point| point[i]);
        let least = |i| axis(i).into_iter().fold(f64::INFINITY, f64::min);
        let most = |i| axis(i).into_iter().fold(0.0, f64::max);
        let hull = BoundingBox::from_corners(least(0), least(1), most(0), most(1));
        assert_close(&out.annotations[0].bbox, &hull, 1e-9, "polygon");
        assert_close(&out.annotations[2].bbox, &hull, 1e-9, "box alone");
        assert!((out.annotations[0].area - 200.0 * 1.21).abs() < 1e-9);
        assert_eq!(out.changes, Some(LabelChanges::default()));
    }

    #[test]
    fn flipping_twice_is_the_identity() {
        let (image, labels) = marked();
        // A step in between keeps the flips from being joined.
        let still = Drawn::from(Transform::Exposure { ev: 0.0 });
        let out = apply(&[flip(), still, flip()], image.clone(), labels.clone());
        assert_eq!(out.image, image);
        assert_eq!(out.annotations[2], labels[2]);
        for (label, before) in out.annotations.iter().zip(&labels) {
            assert_eq!(label.bbox, before.bbox);
            for key in ["keypoints", "segmentation"] {
                let flat = |label: &Annotation| -> Vec<f64> {
                    let text = label
                        .extra
                        .get(key)
                        .map(Value::to_string)
                        .unwrap_or_default();
                    let parts = text.split(|c: char| !(c.is_ascii_digit() || c == '.'));
                    parts.filter_map(|part| part.parse().ok()).collect()
                };
                assert_eq!(flat(label), flat(before), "{key}");
            }
        }
    }

    /// A crop of the left 60 of 120 pixels leaves 10 of the box's 20: half of it.
    #[test]
    fn a_crop_cuts_boxes_and_drops_those_hardly_visible() {
        let (image, labels) = marked();
        let out = apply(&[crop(0.0, 0.5, 0.5)], image.clone(), labels.clone());
        assert_eq!(out.image.dimensions(), (60, 80));
        let changes = out.changes.unwrap();
        assert_eq!((changes.cut, changes.dropped.len()), (3, 0));
        for label in &out.annotations {
            assert_eq!(label.bbox, BoundingBox::from([50.0, 20.0, 10.0, 10.0]));
            assert!((label.area - 100.0).abs() < 1e-9);
        }
        let first = &out.annotations[0].extra;
        assert_eq!(
            first["keypoints"],
            json!([50.5, 20.5, 2, 0.0, 0.0, 0, 0.0, 0.0, 0])
        );
        assert_eq!(first["num_keypoints"], 1);
        let out = apply(&[crop(0.0, 0.5, 0.51)], image, labels);
        let changes = out.changes.unwrap();
        assert!(out.annotations.is_empty());
        assert_eq!((changes.cut, changes.dropped.len()), (0, 3));
        assert_eq!(
            (changes.dropped[1].id, changes.dropped[1].visible),
            (2, 0.5)
        );
    }

    #[test]
    fn resizing_scales_image_and_labels() {
        let (image, labels) = marked();
        let out = apply(&[Transform::Resize { factor: 0.5 }.into()], image, labels);
        assert_eq!(out.image.dimensions(), (60, 40));
        for label in &out.annotations {
            assert_eq!(label.bbox, BoundingBox::from([25.0, 10.0, 10.0, 5.0]));
            assert!((label.area - 50.0).abs() < 1e-9);
        }
        let extent = extent_of_white(&out.image);
        assert_close(&out.annotations[0].bbox, &extent, 1.0, "extent");
    }

    /// The string is that of the same runs by COCO's own coding.
    #[test]
    fn a_compressed_mask_is_carried_and_stays_compressed() {
        let (image, mut labels) = marked();
        let counts = labels[1].extra["segmentation"]["counts"].clone();
        let counts: Vec<u32> = serde_json::from_value(counts).unwrap();
        let (h, w) = (80, 120);
        let text = hotcoco::mask::rle_to_string(&hotcoco::Rle { h, w, counts });
        labels[1].extra["segmentation"]["counts"] = json!(text);
        let out = apply(&[flip()], image, labels);
        let mask = &out.annotations[1].extra["segmentation"];
        let text = mask["counts"].as_str().unwrap();
        let rle = hotcoco::mask::rle_from_string(text, 80, 120).unwrap();
        assert_eq!(hotcoco::mask::to_bbox(&rle), [50.0, 20.0, 20.0, 10.0]);
        assert_eq!(hotcoco::mask::area(&rle), 200);
        assert_eq!(out.changes, Some(LabelChanges::default()));
    }

    #[test]
    fn what_cannot_be_carried_is_named() {
        let (image, mut labels) = marked();
        labels[0].extra["segmentation"] = json!("corrupt");
        labels[1].extra["keypoints"] = json!([1, 2]);
        labels[2]
            .extra
            .insert("cuboid".to_owned(), json!({"at": [1, 2]}));
        labels[2].extra.insert("colour".to_owned(), json!("red"));
        labels[2]
            .extra
            .insert("visible_fraction".to_owned(), json!(0.5));
        let mirror = Drawn::from(Transform::FlipHorizontal {
            keypoint_pairs: Vec::new(),
        });
        let out = apply(&[mirror], image.clone(), labels.clone());
        let lost: Vec<String> = out.changes.unwrap().lost.into_keys().collect();
        assert_eq!(lost.len(), 4, "{lost:?}");
        for part in ["cuboid", "keypoint_pairs", "x, y, v", "neither polygons"] {
            assert!(
                lost.iter().any(|what| what.contains(part)),
                "{part} in {lost:?}"
            );
        }
        assert_eq!(out.annotations[2].extra["colour"], "red");
        assert_eq!(out.annotations[2].extra["visible_fraction"], 0.5);
        assert!(!out.annotations[2].extra.contains_key("cuboid"));
        let light = apply(
            &[Transform::Exposure { ev: 1.0 }.into()],
            image,
            labels.clone(),
        );
        assert_eq!((light.annotations, light.changes), (labels, None));
    }

    /// Level 100 is 0.12744 in linear light; twice that is level 138.18 by the formula of
    /// IEC 61966-2-1. Level 188 is 0.5029, which one stop takes beyond white.
    #[test]
    fn one_stop_doubles_linear_light_until_it_clips() {
        let image = RgbImage::from_pixel(2, 2, Rgb([100, 0, 188]));
        let up = Drawn::from(Transform::Exposure { ev: 1.0 });
        let out = apply(&[up], image.clone(), Vec::new()).image;
        assert_eq!(out.get_pixel(0, 0).0, [138, 0, 255]);
        let identity = [
            Transform::Exposure { ev: 0.0 },
            Transform::Defocus { radius_px: 0.0 },
            Transform::ColourTemperature {
                kelvin: 6504.0,
                tint_duv: 0.0,
            },
        ]
        .map(Drawn::from);
        assert_eq!(apply(&identity, image.clone(), Vec::new()).image, image);
    }

    /// Red twice as bright: level 100 becomes 138 as above; green and blue stay.
    #[test]
    fn white_balance_scales_channels_in_linear_light() {
        let image = RgbImage::from_pixel(1, 1, Rgb([100; 3]));
        let (red, blue) = (2.0, 1.0);
        let warm = Drawn::from(Transform::WhiteBalance { red, blue });
        let out = apply(&[warm], image, Vec::new()).image;
        assert_eq!(out.get_pixel(0, 0).0, [138, 100, 100]);
    }

    /// Stripes of black and white average to 0.5 in linear light, which is level 188.
    #[test]
    fn downscaling_averages_light_and_keeps_the_size() {
        let image = RgbImage::from_fn(64, 64, |x, _| Rgb([if x % 2 == 0 { 0 } else { 255 }; 3]));
        let out = apply(
            &[Transform::Downscale { factor: 0.25 }.into()],
            image,
            Vec::new(),
        )
        .image;
        assert_eq!(out.dimensions(), (64, 64));
        assert!(out.get_pixel(32, 32)[0].abs_diff(188) <= 2);
    }
}
