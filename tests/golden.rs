//! Every scene in the repository looks as it did: small pictures against those that are kept
//! in `tests/golden/`. `make golden` renews them.

use std::fmt;
use std::path::{Path, PathBuf};

use admix::render::{Frame, RenderDevice, SceneRenderer};
use admix::scene::{self, RendererChoice, ScenePlan};
use admix::seed::SeedKey;
use admix::spec::Override;
use image::{ImageBuffer, Luma, RgbImage};

/// Numbers of objects, as they are kept.
type Ids = ImageBuffer<Luma<u16>, Vec<u16>>;

/// Where this variable is set, the pictures are written and not compared.
const RENEW: &str = "ADMIX_RENEW_GOLDEN";

/// About the pixels of one picture; its sides are as its scene's.
const AREA_PX: f64 = 128.0 * 96.0;

/// All pictures together, in bytes.
const MOST_BYTES: u64 = 400_000;

/// Scenes of which pictures are traced too, in a quarter of the pixels: surfaces under a sky, a
/// room with lamps, media.
const TRACED: [&str; 3] = ["daylight", "warehouse", "blood_cells"];

/// Mean absolute difference of all channels, of 255. Two versions of a driver round differently,
/// which moves few values, and these by one; a picture that is three percent brighter, dark as
/// it may be, differs by more.
const MOST_MEAN: f64 = 0.15;

/// A pixel is far off from here on, in any channel, of 255: rounding alone does not go so far.
const FAR: u8 = 8;

/// Share of pixels that may be far off: the outlines where rounding picks another surface.
const MOST_FAR: f64 = 0.005;

/// Share of pixels that may show another object.
const MOST_RELABELLED: f64 = 0.005;

#[derive(Debug, Clone)]
struct Picture {
    rgb: RgbImage,
    ids: Ids,
}

/// How far two pictures of one size are apart.
#[derive(Debug, Clone, Copy)]
struct Difference {
    mean: f64,
    far: f64,
    relabelled: f64,
}

impl Difference {
    /// `None` where the sizes differ.
    fn between(actual: &Picture, golden: &Picture) -> Option<Self> {
        let same_size = actual.rgb.dimensions() == golden.rgb.dimensions()
            && actual.ids.dimensions() == golden.ids.dimensions();
        if !same_size {
            return None;
        }
        let pixels = f64::from(actual.rgb.width() * actual.rgb.height());
        let (mut sum, mut far) = (0.0, 0.0);
        for (a, b) in actual.rgb.pixels().zip(golden.rgb.pixels()) {
            let apart = [0, 1, 2].map(|channel| a[channel].abs_diff(b[channel]));
            sum += apart.iter().map(|step| f64::from(*step)).sum::<f64>();
            far += f64::from(u8::from(apart.iter().any(|step| *step >= FAR)));
        }
        let labels = actual.ids.pixels().zip(golden.ids.pixels());
        let relabelled = labels.filter(|(a, b)| a != b).count();
        Some(Self {
            mean: sum / pixels / 3.0,
            far: far / pixels,
            relabelled: relabelled as f64 / pixels,
        })
    }

    fn is_small(&self) -> bool {
        self.mean <= MOST_MEAN && self.far <= MOST_FAR && self.relabelled <= MOST_RELABELLED
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "channels differ by {:.3} of 255 on average (at most {MOST_MEAN}), {:.2} % of pixels \
             by {FAR} or more (at most {:.2} %), {:.2} % show another object (at most {:.2} %)",
            self.mean,
            self.far * 100.0,
            MOST_FAR * 100.0,
            self.relabelled * 100.0,
            MOST_RELABELLED * 100.0
        )
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn golden_folder() -> PathBuf {
    root().join("tests/golden")
}

/// The scenes' names, in order.
fn scene_names() -> Vec<String> {
    let files = std::fs::read_dir(root().join("scenes")).unwrap();
    let mut names: Vec<String> = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert!(names.len() >= 12, "{names:?}");
    names
}

/// The first scene of a family, small.
fn plan(name: &str, area_px: f64, more: &[&str]) -> ScenePlan {
    let path = root().join("scenes").join(format!("{name}.yaml"));
    let image = ScenePlan::load(&path, &[]).unwrap().spec().image.clone();
    let aspect = f64::from(image.width_px) / f64::from(image.height_px);
    let width = (area_px * aspect).sqrt().round();
    let overrides: Vec<Override> = [
        format!("image.width_px={width}"),
        format!("image.height_px={}", (width / aspect).round()),
    ]
    .iter()
    .map(String::as_str)
    .chain(more.iter().copied())
    .map(|text| text.parse().unwrap())
    .collect();
    ScenePlan::load(&path, &overrides).unwrap()
}

fn draw(device: &RenderDevice, plan: &ScenePlan) -> Picture {
    // Not the plan's own key: a new key of scene files shall not change what is drawn.
    let instance = scene::sample(plan, &SeedKey::new(b"golden", 2), 0);
    let mut renderer = SceneRenderer::new(device, plan.assets(), &plan.spec().image);
    let Frame { rgb, truth } = renderer.render(&instance).unwrap();
    let ids = truth.ids.iter().map(|id| u16::try_from(*id).unwrap());
    let ids = Ids::from_vec(rgb.width(), rgb.height(), ids.collect()).unwrap();
    Picture { rgb, ids }
}

/// The two files of a picture in a folder.
fn files(folder: &Path, name: &str) -> [PathBuf; 2] {
    ["png", "ids.png"].map(|ending| folder.join(format!("{name}.{ending}")))
}

fn write(folder: &Path, name: &str, picture: &Picture) {
    use image::codecs::png::{CompressionType, FilterType, PngEncoder};
    std::fs::create_dir_all(folder).unwrap();
    let [rgb, ids] = files(folder, name);
    let encoder = |path| {
        let file = std::fs::File::create(path).unwrap();
        PngEncoder::new_with_quality(file, CompressionType::Best, FilterType::Adaptive)
    };
    picture.rgb.write_with_encoder(encoder(&rgb)).unwrap();
    picture.ids.write_with_encoder(encoder(&ids)).unwrap();
}

fn read(folder: &Path, name: &str) -> Result<Picture, String> {
    let open = |path: &Path| {
        image::open(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    let [rgb, ids] = files(folder, name);
    Ok(Picture {
        rgb: open(&rgb)?.to_rgb8(),
        ids: open(&ids)?.to_luma16(),
    })
}

/// What differs, eight times as much.
fn amplified(actual: &RgbImage, golden: &RgbImage) -> RgbImage {
    RgbImage::from_fn(golden.width(), golden.height(), |x, y| {
        let (Some(a), b) = (actual.get_pixel_checked(x, y), golden.get_pixel(x, y)) else {
            return image::Rgb([255, 0, 255]);
        };
        image::Rgb([0, 1, 2].map(|channel| a[channel].abs_diff(b[channel]).saturating_mul(8)))
    })
}

/// What is wrong with a picture, if anything; its own and the difference are then written.
fn fault(name: &str, actual: &Picture) -> Option<String> {
    let written = Path::new(env!("CARGO_TARGET_TMPDIR")).join("golden");
    let complaint = match read(&golden_folder(), name) {
        Err(error) => error,
        Ok(golden) => match Difference::between(actual, &golden) {
            Some(difference) if difference.is_small() => return None,
            Some(difference) => {
                std::fs::create_dir_all(&written).unwrap();
                let picture = amplified(&actual.rgb, &golden.rgb);
                let path = written.join(format!("{name}.difference.png"));
                picture.save(path).unwrap();
                difference.to_string()
            }
            None => format!(
                "{:?} pixels in place of {:?}",
                actual.rgb.dimensions(),
                golden.rgb.dimensions()
            ),
        },
    };
    write(&written, name, actual);
    Some(format!("{name}: {complaint}"))
}

/// Compares, or renews, the pictures of some scenes.
fn check(pictures: impl Iterator<Item = (String, Picture)>) {
    let mut faults = Vec::new();
    for (name, picture) in pictures {
        let shown = picture.ids.pixels().filter(|id| id[0] > 0).count();
        assert!(shown > 20, "{name} shows no object, so it tells little");
        if std::env::var_os(RENEW).is_some() {
            write(&golden_folder(), &name, &picture);
        } else {
            faults.extend(fault(&name, &picture));
        }
    }
    assert!(
        faults.is_empty(),
        "{} picture(s) are not what they were:\n  {}\nThey are in {}/golden, beside what differs, \
         eight times as much. Look at them; if the change is meant, `make golden` renews the \
         pictures in tests/golden.",
        faults.len(),
        faults.join("\n  "),
        env!("CARGO_TARGET_TMPDIR"),
    );
}

#[test]
#[ignore = "needs a Vulkan adapter: make test installs one and runs these"]
fn rasterised_scenes_look_as_they_did() {
    let device = RenderDevice::new(RendererChoice::Raster, 1).unwrap();
    check(scene_names().into_iter().map(|name| {
        let picture = draw(&device, &plan(&name, AREA_PX, &[]));
        (name, picture)
    }));
}

#[test]
fn traced_scenes_look_as_they_did() {
    check(TRACED.into_iter().map(|name| {
        let more = ["image.renderer={path_traced: {samples: 8, bounces: 3}}"];
        let plan = plan(name, AREA_PX / 4.0, &more);
        let device = RenderDevice::new(plan.spec().image.renderer, 2).unwrap();
        (format!("{name}.traced"), draw(&device, &plan))
    }));
}

/// The names of all pictures that are kept.
fn kept_names() -> Vec<String> {
    let traced = TRACED.iter().map(|name| format!("{name}.traced"));
    scene_names().into_iter().chain(traced).collect()
}

#[test]
fn the_pictures_kept_are_those_compared_and_small() {
    let folder = golden_folder();
    let mut expected: Vec<PathBuf> = kept_names()
        .iter()
        .flat_map(|name| files(&folder, name))
        .collect();
    let mut found: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "`make golden` writes the missing ones");
    let bytes: u64 = found
        .iter()
        .map(|path| path.metadata().unwrap().len())
        .sum();
    assert!(bytes <= MOST_BYTES, "{bytes} bytes");
}

/// Spoils each picture that is kept, which the comparison must find.
fn assert_found(spoil: impl Fn(&mut Picture)) {
    for name in kept_names() {
        let golden = read(&golden_folder(), &name).unwrap();
        let itself = Difference::between(&golden, &golden).unwrap();
        assert!(itself.is_small(), "{name}: {itself}");
        let mut spoilt = golden.clone();
        spoil(&mut spoilt);
        let difference = Difference::between(&spoilt, &golden).unwrap();
        assert!(!difference.is_small(), "{name}: {difference}");
    }
}

#[test]
fn a_picture_three_percent_brighter_is_found() {
    for factor in [1.03, 0.97] {
        assert_found(|picture| {
            for pixel in picture.rgb.pixels_mut() {
                pixel.0 = pixel
                    .0
                    .map(|value| (f64::from(value) * factor).round() as u8);
            }
        });
    }
}

#[test]
fn a_picture_moved_by_a_pixel_is_found() {
    assert_found(|picture| {
        let rgb = picture.rgb.clone();
        for (x, y, pixel) in picture.rgb.enumerate_pixels_mut() {
            *pixel = *rgb.get_pixel(x.saturating_sub(1), y);
        }
    });
}

#[test]
fn objects_that_change_their_numbers_are_found() {
    assert_found(|picture| {
        for pixel in picture.ids.pixels_mut() {
            pixel[0] += u16::from(pixel[0] > 0);
        }
    });
}

#[test]
fn a_patch_that_loses_its_shadow_is_found() {
    assert_found(|picture| {
        for y in 40..48 {
            for x in 20..32 {
                let pixel = picture.rgb.get_pixel_mut(x, y);
                pixel.0 = pixel.0.map(|value| value.saturating_add(24).max(24));
            }
        }
    });
}

#[test]
fn rounding_by_one_in_few_pixels_is_no_change() {
    for name in kept_names() {
        let golden = read(&golden_folder(), &name).unwrap();
        let mut rounded = golden.clone();
        for (index, pixel) in rounded.rgb.pixels_mut().enumerate() {
            if index % 10 == 0 {
                pixel.0 = pixel.0.map(|value| value ^ 1);
            }
        }
        let difference = Difference::between(&rounded, &golden).unwrap();
        assert!(difference.is_small(), "{name}: {difference}");
    }
}
