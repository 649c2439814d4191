//! Faults of single images, by what is usual in their set.

use std::collections::BTreeMap;

use super::photograph::{Measures, Photograph};
use super::{Finding, Issue, Usual, severity};
use crate::dataset::Dataset;

/// Deviations of the set from which on an image is unusual.
const DEVIATIONS: f64 = 5.0;

/// Least differences that count, whatever the set varies: in EV, in logarithms of ratios, in
/// levels.
const EXPOSURE_EV: f64 = 1.25;
const CONTRAST_FACTOR: f64 = 2.0;
const SHARPNESS_FACTOR: f64 = 2.0;
const BLUR: f64 = 0.12;
const NOISE_LEVELS: f64 = 2.5;
const BLOCK_LEVELS: f64 = 0.8;
const AREA_FACTOR: f64 = 4.0;
const ASPECT_FACTOR: f64 = 1.6;

/// Absolute limits: 99 % of the pixels up to a level and a share of clipped pixels, where the
/// image leans to that side of its set too; a range of levels; a quality of JPEG.
const BLACK_LEVEL: u8 = 32;
const CLIPPED_SHARE: f64 = 0.5;
const FLAT_RANGE: u8 = 24;
const POOR_QUALITY: u32 = 30;

/// Share of the limit by which an image leans to one side of its set.
const LEANING: f64 = 0.4;

/// Channels closer than this in 99 % of the pixels are grey; in most images of a set of coloured
/// ones they are further apart.
const GREY_LEVELS: u8 = 6;
const COLOURED_SHARE: f64 = 0.8;

/// What is usual in a set.
struct UsualImage {
    exposure: Option<Usual>,
    contrast: Option<Usual>,
    sharpness: Option<Usual>,
    blur: Option<Usual>,
    noise: Option<Usual>,
    blocks: Option<Usual>,
    area: Option<Usual>,
    aspect: Option<Usual>,
    /// Share of the images that are not grey.
    coloured: f64,
    /// The most frequent colour profile; none counts as sRGB.
    profile: Profile,
}

/// A colour profile by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Profile {
    /// None, which readers take for sRGB, or one that calls itself so.
    Srgb,
    /// Its content hash.
    Other([u8; 32]),
}

impl Profile {
    fn of(photograph: &Photograph) -> Self {
        match &photograph.facts.colour_profile {
            Some(profile) if !profile.windows(4).any(|name| name == b"sRGB") => {
                Profile::Other(blake3::hash(profile).into())
            }
            _ => Profile::Srgb,
        }
    }
}

impl UsualImage {
    fn of(readable: &[&Photograph]) -> Self {
        let of = |value: &dyn Fn(&Photograph) -> f64| Usual::of(readable.iter().map(|p| value(p)));
        let coloured = readable.iter().filter(|p| !is_grey(&p.measures)).count();
        let mut profiles: BTreeMap<Profile, usize> = BTreeMap::new();
        for photograph in readable {
            *profiles.entry(Profile::of(photograph)).or_default() += 1;
        }
        let most = profiles.into_iter().max_by_key(|(_, count)| *count);
        UsualImage {
            exposure: of(&|p| p.measures.exposure_ev),
            contrast: of(&|p| p.measures.contrast.max(0.5).ln()),
            sharpness: of(&|p| p.measures.log_sharpness),
            blur: of(&|p| p.measures.blur),
            noise: of(&|p| p.measures.noise),
            blocks: of(&|p| p.measures.blocks),
            area: of(&log_area),
            aspect: of(&log_aspect),
            coloured: coloured as f64 / readable.len().max(1) as f64,
            profile: most.map_or(Profile::Srgb, |(profile, _)| profile),
        }
    }
}

fn is_grey(measures: &Measures) -> bool {
    measures.colour < GREY_LEVELS
}

fn log_area(photograph: &Photograph) -> f64 {
    let (width, height) = photograph.size;
    (f64::from(width) * f64::from(height)).max(1.0).ln()
}

fn log_aspect(photograph: &Photograph) -> f64 {
    let (width, height) = photograph.size;
    (f64::from(width.max(1)) / f64::from(height.max(1))).ln()
}

pub(super) fn check(dataset: &Dataset, photographs: &[Result<Photograph, String>]) -> Vec<Finding> {
    let readable: Vec<&Photograph> = photographs.iter().flatten().collect();
    let usual = UsualImage::of(&readable);
    let mut findings = Vec::new();
    for (index, read) in photographs.iter().enumerate() {
        let mut add = |found: Option<(Issue, f64, String)>| {
            findings.extend(found.map(|(issue, severity, message)| {
                Finding::of_image(issue, severity, dataset, index, message)
            }));
        };
        match read {
            Err(message) => add(Some((Issue::Unreadable, 1.0, message.clone()))),
            Ok(photograph) => {
                let sample = &dataset.samples[index];
                if photograph.size != (sample.width, sample.height) {
                    let ((width, height), said) = (photograph.size, (sample.width, sample.height));
                    let message =
                        format!("{width} x {height} px, labels say {} x {}", said.0, said.1);
                    add(Some((Issue::SizeMismatch, 0.95, message)));
                }
                let [issue, other] = exposure(photograph, &usual);
                add(issue);
                add(other);
                add(blurred(photograph, &usual));
                add(noisy(photograph, &usual));
                add(blocky(photograph, &usual));
                add(grey(photograph, &usual));
                add(file(photograph));
                add(profile(photograph, &usual));
                add(size(photograph, &usual));
                add(shape(photograph, &usual));
            }
        }
    }
    findings
}

type Fault = Option<(Issue, f64, String)>;

/// Too dark, too bright, or without contrast.
fn exposure(photograph: &Photograph, usual: &UsualImage) -> [Fault; 2] {
    let measures = &photograph.measures;
    let [low, _, high] = measures.percentiles;
    let relative = usual.exposure.as_ref().map(|usual| {
        let difference = measures.exposure_ev - usual.median;
        (
            usual.excess(measures.exposure_ev, EXPOSURE_EV, DEVIATIONS),
            difference,
        )
    });
    let (excess, difference) = relative.unwrap_or_default();
    // Where the whole set is as dark or as bright, that is how it is taken.
    let leans = |direction: f64| relative.is_none_or(|(excess, _)| direction * excess > LEANING);
    let black = f64::from(BLACK_LEVEL) / f64::from(high.max(1));
    let clipped = measures.clipped / CLIPPED_SHARE;
    let exposed = if excess < -1.0 || (black > 1.0 && leans(-1.0)) {
        let message = format!("{difference:+.1} EV to the set; 99 % of it up to level {high}");
        Some((Issue::Dark, severity((-excess).max(black)), message))
    } else if excess > 1.0 || (clipped > 1.0 && leans(1.0)) {
        let share = 100.0 * measures.clipped;
        let message = format!("{difference:+.1} EV to the set; {share:.0} % of it clipped");
        Some((Issue::Bright, severity(excess.max(clipped)), message))
    } else {
        None
    };
    let range = high.saturating_sub(low);
    let factor = usual.contrast.as_ref().map_or(0.0, |usual| {
        -usual.excess(
            measures.contrast.max(0.5).ln(),
            CONTRAST_FACTOR.ln(),
            DEVIATIONS,
        )
    });
    // What is dark or bright has little contrast by that alone.
    let flat = (exposed.is_none() && (factor > 1.0 || range < FLAT_RANGE)).then(|| {
        let absolute = f64::from(FLAT_RANGE) / f64::from(range.max(1));
        let message = format!(
            "98 % of it within {range} levels; deviation {:.1} levels",
            measures.contrast
        );
        (Issue::LowContrast, severity(factor.max(absolute)), message)
    });
    [exposed, flat]
}

/// By the effect of a further blur and by the detail that is left; either may be hidden by noise
/// or by a plain subject.
fn blurred(photograph: &Photograph, usual: &UsualImage) -> Fault {
    let measures = &photograph.measures;
    let [low, _, high] = measures.percentiles;
    if high.saturating_sub(low) < FLAT_RANGE {
        // Without contrast there is nothing to be sharp.
        return None;
    }
    let blur = usual.blur.as_ref()?;
    let sharpness = usual.sharpness.as_ref()?;
    let by_blur = blur.excess(measures.blur, BLUR, DEVIATIONS);
    let by_detail = -sharpness.excess(measures.log_sharpness, SHARPNESS_FACTOR.ln(), DEVIATIONS);
    let excess = by_blur.max(by_detail);
    // One of them alone may be the subject's; both have to point the same way.
    (excess > 1.0 && by_blur.min(by_detail) > 0.3).then(|| {
        let factor = (measures.log_sharpness - sharpness.median).exp();
        let message = format!(
            "blur {:.2} of 1, usual is {:.2}; {:.0} % of the usual detail",
            measures.blur,
            blur.median,
            100.0 * factor
        );
        (Issue::Blurred, severity(excess), message)
    })
}

fn noisy(photograph: &Photograph, usual: &UsualImage) -> Fault {
    let noise = photograph.measures.noise;
    let usual = usual.noise.as_ref()?;
    let excess = usual.excess(noise, NOISE_LEVELS, DEVIATIONS);
    (excess > 1.0).then(|| {
        let message = format!("noise of {noise:.1} levels, usual is {:.1}", usual.median);
        (Issue::Noisy, severity(excess), message)
    })
}

/// By the file's own quality, or, where it was saved anew, by the borders of its blocks.
fn blocky(photograph: &Photograph, usual: &UsualImage) -> Fault {
    let measures = &photograph.measures;
    let quality = photograph.facts.jpeg_quality;
    let poor = quality.filter(|quality| *quality < POOR_QUALITY);
    let usual = usual.blocks.as_ref()?;
    let excess = usual.excess(measures.blocks, BLOCK_LEVELS, DEVIATIONS);
    if poor.is_none() && excess <= 1.0 {
        return None;
    }
    let absolute = poor.map_or(0.0, |quality| f64::from(POOR_QUALITY) / f64::from(quality));
    let told = poor.map_or(String::new(), |quality| {
        format!("JPEG of quality {quality}; ")
    });
    let message = format!(
        "{told}steps at borders of blocks exceed others by {:.1} levels, usual is {:.1}",
        measures.blocks, usual.median
    );
    Some((Issue::Blocky, severity(excess.max(absolute)), message))
}

fn grey(photograph: &Photograph, usual: &UsualImage) -> Fault {
    let measures = &photograph.measures;
    // A black image has no colour to have, nor has a white one.
    let is_odd = is_grey(measures)
        && usual.coloured >= COLOURED_SHARE
        && measures.percentiles[2] >= BLACK_LEVEL
        && measures.clipped < CLIPPED_SHARE;
    is_odd.then(|| {
        let message = format!("{:.0} % of the images are coloured", 100.0 * usual.coloured);
        (Issue::Grey, 0.5 * usual.coloured, message)
    })
}

fn file(photograph: &Photograph) -> Fault {
    photograph.facts.is_turned.then(|| {
        let message = "viewers turn it, readers of data sets do not".to_owned();
        (Issue::Rotated, 0.7, message)
    })
}

fn profile(photograph: &Photograph, usual: &UsualImage) -> Fault {
    let own = Profile::of(photograph);
    (own != usual.profile && own != Profile::Srgb).then(|| {
        let message = "it has a colour profile other than sRGB".to_owned();
        (Issue::ColourProfile, 0.5, message)
    })
}

fn size(photograph: &Photograph, usual: &UsualImage) -> Fault {
    let usual = usual.area.as_ref()?;
    let excess = usual.excess(log_area(photograph), AREA_FACTOR.ln(), DEVIATIONS);
    (excess.abs() > 1.0).then(|| {
        let (width, height) = photograph.size;
        let factor = (log_area(photograph) - usual.median).exp();
        let message = format!("{width} x {height} px, {factor:.2} times the usual area");
        (Issue::OddSize, 0.8 * severity(excess.abs()), message)
    })
}

fn shape(photograph: &Photograph, usual: &UsualImage) -> Fault {
    let usual = usual.aspect.as_ref()?;
    let excess = usual.excess(log_aspect(photograph), ASPECT_FACTOR.ln(), DEVIATIONS);
    (excess.abs() > 1.0).then(|| {
        let (width, height) = photograph.size;
        let message = format!(
            "{width} x {height} px: {:.2} wide to high, usual is {:.2}",
            log_aspect(photograph).exp(),
            usual.median.exp()
        );
        (Issue::OddShape, 0.8 * severity(excess.abs()), message)
    })
}
