//! Whole pictures against what is known of them.

use std::path::Path;

use glam::{Mat4, Vec3};

use super::super::device::{RenderDevice, SceneRenderer};
use super::*;
use crate::annotation::BoundingBox;
use crate::scene::{
    self, Camera, Environment, Light, LightSource, Material, Medium, Object, RendererChoice,
    ScenePlan, Shape,
};
use crate::seed::{PlanHash, SeedKey};

const SIDE_PX: u32 = 64;
/// Height of the camera, which looks straight down.
const HEIGHT_M: f32 = 2.0;
/// Half the side of the square of ground that is seen.
const HALF_M: f32 = 0.5;

fn pool(threads: usize) -> ThreadPool {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
}

fn settings(samples: u32, bounces: u32) -> PathTracing {
    PathTracing {
        samples,
        bounces,
        denoise: false,
    }
}

/// Matt ground of half the light, seen from above, in the dark.
fn dark_scene() -> SceneInstance {
    let camera = Camera {
        position_m: Vec3::new(0.0, 0.0, HEIGHT_M),
        target_m: Vec3::ZERO,
        vertical_fov_deg: 2.0 * (HALF_M / HEIGHT_M).atan().to_degrees(),
        ..Camera::default()
    };
    let mut scene = SceneInstance::bare(SIDE_PX, camera);
    scene.sensor.noise_seed = 7;
    scene
}

fn object(mesh: usize, assets: &Assets, centre: Vec3, material: Material) -> Object {
    Object::at(assets, mesh, Mat4::from_translation(centre), material)
}

fn white() -> Material {
    Material {
        linear_rgb: [1.0; 3],
        roughness: 0.4,
        gloss: 1.0,
        ..Material::default()
    }
}

fn ball(radius_m: f32) -> Assets {
    let mut assets = Assets::default();
    assets.add(&Shape::Sphere {
        diameter_mm: f64::from(radius_m) * 2000.0,
    });
    assets
}

/// Pixels under the scene's own surroundings, or under a sky that is the same everywhere.
fn pixels(
    scene: &SceneInstance,
    assets: &Assets,
    settings: PathTracing,
    sky: Option<f32>,
) -> Vec<Pixel> {
    let workers = pool(2);
    let tracer = PathTracer::new(assets, &workers, settings);
    let projection = scene.camera.projection(scene.width_px, scene.height_px);
    let view = View::new(scene, &projection);
    let balls: Vec<Ball> = scene
        .parts()
        .map(|(_, part)| Ball::around(part, assets))
        .collect();
    let model = Model::new(scene, assets, &view, &balls, &vec![Some(0); balls.len()]);
    let sky = match sky {
        Some(level) => Sky::from_radiance(|_| Vec3::splat(level)),
        None => Sky::new(&Surroundings::new(scene, None)),
    };
    workers.install(|| {
        let beyond = |direction| sky.radiance(direction);
        tracer.trace(scene, &projection, &model, &sky, &beyond)
    })
}

/// Where the ray through a pixel's centre meets the ground.
fn ground_at(index: usize) -> Vec3 {
    let unit = |step: usize| ((step as f32 + 0.5) / SIDE_PX as f32 * 2.0 - 1.0) * HALF_M;
    let side = SIDE_PX as usize;
    Vec3::new(unit(index % side), -unit(index / side), 0.0)
}

#[test]
fn a_white_ball_in_white_light_is_white() {
    let assets = ball(0.2);
    for (metallic, roughness, most_lost) in [(0.0, 0.4, 0.04), (1.0, 0.2, 0.04), (1.0, 0.5, 0.16)] {
        let mut scene = dark_scene();
        scene.ground.half_side_m = 1e-4;
        let material = Material {
            metallic,
            roughness,
            ..white()
        };
        scene.objects = vec![object(0, &assets, Vec3::Z * 0.8, material)];
        let found = pixels(&scene, &assets, settings(64, 4), Some(1.0));
        let (mut sum, mut count) = (0.0, 0.0);
        for pixel in found.iter().filter(|pixel| pixel.id == 1) {
            sum += pixel.radiance.x;
            count += 1.0;
        }
        let mean = sum / count;
        assert!(count > 1000.0, "{count} pixels show the ball");
        assert!(
            mean < 1.01 && mean > 1.0 - most_lost,
            "{mean} at metallic {metallic}, roughness {roughness}"
        );
        let sky = found.iter().find(|pixel| pixel.id == 0).unwrap();
        assert!(
            (sky.radiance - 1.0).abs().max_element() < 1e-4,
            "seen directly"
        );
    }
}

#[test]
fn depth_is_that_of_ball_and_plane() {
    let radius = 0.3;
    let assets = ball(radius);
    let mut scene = dark_scene();
    let centre = Vec3::new(0.1, -0.05, 0.35);
    scene.objects = vec![object(0, &assets, centre, white())];
    let found = pixels(&scene, &assets, settings(1, 0), None);
    let mut on_ball = 0;
    for (index, pixel) in found.iter().enumerate() {
        let eye = scene.camera.position_m;
        let towards = (ground_at(index) - eye).normalize();
        let along = (centre - eye).dot(towards);
        let off = (centre - eye - towards * along).length();
        // Within what the triangles lie off the ball, neither is wrong at its outline.
        if (off - radius).abs() < 2e-3 {
            continue;
        }
        let (id, distance) = if off < radius {
            (1, along - (radius * radius - off * off).sqrt())
        } else {
            (0, HEIGHT_M / -towards.z)
        };
        on_ball += id;
        assert_eq!(pixel.id, id, "pixel {index}");
        let depth = distance * -towards.z;
        let slack = if off > 0.95 * radius { 1e-2 } else { 1e-3 };
        assert!(
            (pixel.depth_m - depth).abs() < slack,
            "{index}: {} for {depth}",
            pixel.depth_m
        );
    }
    assert!(on_ball > 500, "{on_ball}");
}

#[test]
fn a_ball_casts_the_shadow_that_geometry_says() {
    let (radius, height) = (0.1, 0.3);
    let assets = ball(radius);
    let mut scene = dark_scene();
    let centre = Vec3::new(0.0, 0.0, height);
    let towards = Vec3::new(0.6, 0.0, 0.8);
    scene.objects = vec![object(0, &assets, centre, white())];
    scene.lights = vec![Light {
        intensity: 0.7,
        kelvin: 6600.0,
        source: LightSource::Directional {
            towards,
            angular_diameter_deg: 0.0,
        },
    }];
    let found = pixels(&scene, &assets, settings(16, 0), Some(0.0));
    let (mut dark, mut bright) = (0, 0);
    // A pixel's width is 2 * 0.5 / 64.
    let near = 0.02;
    for (index, pixel) in found.iter().enumerate().filter(|(_, pixel)| pixel.id == 0) {
        let at = ground_at(index);
        let off = (centre - at).cross(towards).length();
        let eye_off = {
            let sight = (at - scene.camera.position_m).normalize();
            (centre - at).cross(sight).length()
        };
        if (off - radius).abs() < near || eye_off < radius + near {
            continue;
        }
        if off < radius {
            assert_eq!(
                pixel.radiance,
                Vec3::ZERO,
                "pixel {index} lies in the shadow"
            );
            dark += 1;
        } else {
            // Albedo, intensity, and the cosine.
            let expected = 0.5 * 0.7 * 0.8;
            assert!(
                (pixel.radiance.x / expected - 1.0).abs() < 1e-3,
                "{index}: {}",
                pixel.radiance
            );
            bright += 1;
        }
    }
    assert!(dark > 50 && bright > 1000, "{dark} and {bright}");
}

#[test]
fn a_wide_light_has_a_half_shadow() {
    // Half the sky's disc of a light is hidden behind the edge of a high box at its middle.
    let mut assets = Assets::default();
    assets.add(&Shape::Box {
        size_mm: [2000.0, 4000.0, 2.0],
        rounding_mm: 0.0,
    });
    let mut scene = dark_scene();
    scene.objects = vec![object(0, &assets, Vec3::new(-1.0, 0.0, 0.5), white())];
    scene.camera.position_m.z = 0.45;
    scene.camera.vertical_fov_deg = 60.0;
    scene.lights = vec![Light {
        intensity: 1.0,
        kelvin: 6600.0,
        source: LightSource::Directional {
            towards: Vec3::Z,
            angular_diameter_deg: 20.0,
        },
    }];
    let found = pixels(&scene, &assets, settings(64, 0), Some(0.0));
    let row = SIDE_PX as usize / 2 * SIDE_PX as usize;
    let middle: f32 = found[row + 31..row + 33]
        .iter()
        .map(|p| p.radiance.x)
        .sum::<f32>()
        / 2.0;
    let (dark, bright) = (found[row + 2].radiance.x, found[row + 61].radiance.x);
    assert!((middle - 0.25).abs() < 0.02, "{middle}");
    assert!(
        dark < 1e-3 && (bright - 0.5).abs() < 0.01,
        "{dark} and {bright}"
    );
}

#[test]
fn a_plane_under_a_lamp_is_as_bright_as_the_closed_form_says() {
    // A small square of a lamp straight above a point: a configuration factor of four right
    // triangles, which the light's own test checks; here through the whole renderer.
    let mut scene = dark_scene();
    let (half, above) = (0.2_f32, 0.6_f32);
    scene.lights = vec![Light {
        intensity: 0.4,
        kelvin: 6600.0,
        source: LightSource::Area {
            position_m: Vec3::new(0.0, 0.0, above),
            half_width_m: Vec3::new(0.0, half, 0.0),
            half_height_m: Vec3::new(half, 0.0, 0.0),
        },
    }];
    let found = pixels(&scene, &Assets::default(), settings(64, 0), Some(0.0));
    let middle = SIDE_PX as usize / 2 * (SIDE_PX as usize + 1);
    let x = half / above;
    let root = (1.0 + x * x).sqrt();
    let factor = 4.0 * 2.0 * (x / root * (x / root).atan()) / (2.0 * std::f32::consts::PI);
    let radiance = 0.4 * std::f32::consts::PI / (4.0 * half * half);
    let expected = 0.5 * radiance * factor;
    let seen = found[middle].radiance.x;
    assert!(
        (seen / expected - 1.0).abs() < 0.02,
        "{seen} for {expected}"
    );
}

#[test]
fn light_fades_and_grows_through_a_medium() {
    let mut assets = Assets::default();
    assets.add(&Shape::Box {
        size_mm: [600.0, 600.0, 200.0],
        rounding_mm: 0.0,
    });
    let mut scene = dark_scene();
    scene.environment = Environment::Uniform {
        level: 0.8,
        kelvin: 6600.0,
    };
    let without = pixels(&scene, &assets, settings(16, 2), None);
    let medium = Medium {
        absorption_per_m: [1.0, 3.0, 9.0],
        glow_per_m: [0.0, 0.5, 0.0],
        mottling: 0.0,
        mottling_scale_m: 1.0,
    };
    let material = Material {
        medium: Some(medium),
        ..white()
    };
    scene.objects = vec![object(0, &assets, Vec3::Z * 0.1, material)];
    let found = pixels(&scene, &assets, settings(16, 2), None);
    let middle = SIDE_PX as usize / 2 * (SIDE_PX as usize + 1);
    let (clear, seen) = (without[middle].radiance, found[middle].radiance);
    let expected = clear * (-Vec3::from(medium.absorption_per_m) * 0.2).exp()
        + Vec3::from(medium.glow_per_m) * 0.2;
    assert!(
        (seen / expected - 1.0).abs().max_element() < 5e-3,
        "{seen} for {expected}"
    );
    assert_eq!((found[middle].id, found[0].id), (1, 0));
    assert!((found[middle].depth_m - (HEIGHT_M - 0.2)).abs() < 1e-4);
}

/// A scene of the repository, in a small image.
fn plan(name: &str, side_px: u32, more: &[&str]) -> ScenePlan {
    let scenes = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenes");
    plan_at(&scenes.join(name), side_px, more)
}

fn plan_at(path: &Path, side_px: u32, more: &[&str]) -> ScenePlan {
    let mut overrides = vec![
        format!("image.width_px={side_px}").parse().unwrap(),
        format!("image.height_px={side_px}").parse().unwrap(),
        "sensor={noise: 0, blur_px: 0, vignetting: 0}"
            .parse()
            .unwrap(),
    ];
    overrides.extend(more.iter().map(|text| text.parse().unwrap()));
    ScenePlan::load(path, &overrides).unwrap()
}

#[test]
fn both_instruction_sets_give_the_same_pixels() {
    let plan = plan("dice.yaml", 48, &["camera.distance_mm=120"]);
    let scene = scene::sample(&plan, &SeedKey::new(b"sets", 0), 0);
    let projection = scene.camera.projection(scene.width_px, scene.height_px);
    let view = View::new(&scene, &projection);
    let balls: Vec<Ball> = scene
        .parts()
        .map(|(_, part)| Ball::around(part, plan.assets()))
        .collect();
    let levels = view.levels(&scene, plan.assets(), &balls);
    let model = Model::new(&scene, plan.assets(), &view, &balls, &levels);
    let lights: Vec<Emitter> = scene.lights.iter().map(Emitter::new).collect();
    let tracer = Tracer {
        model: &model,
        sky: &Sky::new(&Surroundings::new(&scene, None)),
        lights: &lights,
        points: &Points::new(4),
        projection: &projection,
        moments: std::slice::from_ref(&projection),
        beyond: &|_| Vec3::ZERO,
        size_px: [48, 48],
        bounces: 3,
        pixel_rad: 0.02,
        noise_seed: 9,
        gain: 1.0,
    };
    for top in (0..48).step_by(TILE_PX) {
        let mut wide = vec![Pixel::default(); 48 * TILE_PX];
        let mut plain = wide.clone();
        tracer.strip(top, &mut wide, &mut Scratch::default());
        tracer.strip_here(top, &mut plain, &mut Scratch::default());
        assert!(
            wide.iter()
                .all(|pixel| pixel.radiance.is_finite() && pixel.radiance != Vec3::ZERO)
        );
        assert_eq!(wide, plain, "rows from {top} on");
    }
}

#[test]
fn pixels_do_not_depend_on_the_number_of_threads() {
    let plan = plan("shapes.yaml", 72, &[]);
    let scene = scene::sample(&plan, &SeedKey::new(b"threads", 0), 0);
    let settings = PathTracing {
        samples: 5,
        ..PathTracing::default()
    };
    let draw =
        |threads: usize| PathTracer::new(plan.assets(), &pool(threads), settings).render(&scene);
    let (one, four) = (draw(1), draw(4));
    assert_eq!(one.rgb, four.rgb);
    assert_eq!(one.truth, four.truth);
}

fn error(a: &[Vec3], b: &[Vec3]) -> f32 {
    // Squared errors of bright pixels would hide the rest.
    let tone = |light: Vec3| light / (light + 1.0);
    let sum: f32 = a
        .iter()
        .zip(b)
        .map(|(a, b)| (tone(*a) - tone(*b)).length_squared())
        .sum();
    (sum / (3.0 * a.len() as f32)).sqrt()
}

#[test]
fn smoothing_brings_pictures_nearer_to_the_truth() {
    for (name, distance) in [
        ("dice.yaml", 120.0),
        ("shapes.yaml", 220.0),
        ("bench_30_meshes.yaml", 8000.0),
    ] {
        let plan = plan(name, 80, &[&format!("camera.distance_mm={distance}")]);
        let scene = scene::sample(&plan, &SeedKey::new(b"smoothing", 0), 1);
        let radiances =
            |pixels: &[Pixel]| -> Vec<Vec3> { pixels.iter().map(|p| p.radiance).collect() };
        let truth = radiances(&pixels(&scene, plan.assets(), settings(1024, 4), None));
        for (samples, most) in [(4, 0.85), (16, 0.95)] {
            let noisy = pixels(&scene, plan.assets(), settings(samples, 4), None);
            let smooth = denoise::denoised(&noisy, 80);
            let (before, after) = (error(&radiances(&noisy), &truth), error(&smooth, &truth));
            assert!(
                after < most * before,
                "{name}, {samples} samples: {after} of {before}"
            );
        }
    }
}

/// A folder with a scene whose surfaces show pictures in every way, each with distinct corners.
fn covered_scene() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let picture = image::RgbaImage::from_fn(64, 48, |x, y| match (x < 32, y < 24) {
        (true, true) => image::Rgba([230, 30, 30, 255]),
        (false, true) => image::Rgba([30, 30, 230, 255]),
        (true, false) => image::Rgba([240, 240, 240, 255]),
        // The paint shows here.
        (false, false) => image::Rgba([0, 0, 0, 0]),
    });
    picture.save(folder.path().join("corners.png")).unwrap();
    let texture = "texture: {file: corners.png}";
    let tiles = "texture: {file: corners.png, mapping: {tiles: {side_mm: 25, rotation_deg: 30}}}";
    let family = |name: &str, shape: &str, rest: &str| {
        format!(
            "  - {{name: {name}, class: {{fixed: {name}}}, shape: {shape}, paints: [{{body: \"#80c080\"}}], {rest}}}\n"
        )
    };
    let objects = [
        family(
            "box",
            "{box: {size_mm: [40, 60, 50], rounding_mm: 4}}",
            &format!("material: {{{texture}}}"),
        ),
        family(
            "tiled",
            "{box: {size_mm: [50, 50, 40]}}",
            &format!("material: {{{tiles}}}, stretch: [1, 1.5, 1]"),
        ),
        family(
            "ball",
            "{sphere: {diameter_mm: 55}}",
            &format!("material: {{emission: 0.2, {texture}}}"),
        ),
        family(
            "card",
            "{quad: {size_mm: [60, 50]}}",
            &format!("material: {{{texture}}}"),
        ),
        family(
            "labelled",
            "{cylinder: {diameter_mm: 50, height_mm: 50}}",
            "decals: [{side: front, file: corners.png, height_mm: 25, rotation_deg: 20}, \
             {side: top, text: [R7], height_mm: 20, colours: [\"#600000\"]}]",
        ),
    ];
    let scene = format!(
        "image: {{width_px: 200, height_px: 200}}\n\
         camera: {{distance_mm: 400, tilt_deg: 40, offset_mm: 0, roll_deg: 0, vertical_fov_deg: 40}}\n\
         lights: [{{directional: {{intensity: 0.5, kelvin: 6600, elevation_deg: 50, azimuth_deg: 240}}}}]\n\
         environment: {{uniform: {{level: 0.4, kelvin: 6600}}}}\n\
         exposure_ev: 0\n\
         sensor: {{noise: 0, blur_px: 0, vignetting: 0}}\n\
         ground: {{paints: [{{body: \"#808080\"}}], texture_strength: 0, texture_scale_mm: 20, roughness: 1, picture: {{file: corners.png, mapping: {{tiles: {{side_mm: 90}}}}}}}}\n\
         placement: {{method: {{grid: {{columns: 3, rows: 3, spacing_mm: [80, 90]}}}}, yaw_deg: {{uniform: [-30, 30]}}, gap_mm: 0}}\n\
         objects:\n{}",
        objects.concat()
    );
    std::fs::write(folder.path().join("covered.yaml"), scene).unwrap();
    folder
}

#[test]
#[ignore = "needs a Vulkan adapter: make test installs one and runs these"]
fn both_renderers_show_the_same() {
    let scenes = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenes");
    let covered = covered_scene();
    for (path, tolerance) in [
        (scenes.join("dice.yaml"), 4.0),
        (scenes.join("shapes.yaml"), 4.0),
        // Crowded, so that more light goes from one thing to the next.
        (covered.path().join("covered.yaml"), 5.0),
    ] {
        let name = path.display();
        // A tray's high walls keep light away that the rasteriser lets in.
        let no_tray = "dressing=[]";
        let traced = "image.renderer={path_traced: {samples: 256}}";
        let plans = [
            plan_at(&path, 200, &[no_tray]),
            plan_at(&path, 200, &[no_tray, traced]),
        ];
        let key = SeedKey::new(PlanHash::of(&plans[0].of_scenes()).as_str().as_bytes(), 0);
        let [raster, traced] = plans.each_ref().map(|plan| {
            let image = &plan.spec().image;
            let device = RenderDevice::new(image.renderer, 2).unwrap();
            let scene = scene::sample(plan, &key, 2);
            SceneRenderer::new(&device, plan.assets(), image)
                .render(&scene)
                .unwrap()
        });
        assert_ne!(
            plans[0].spec().image.renderer,
            plans[1].spec().image.renderer
        );
        assert_eq!(plans[0].spec().image.renderer, RendererChoice::Raster);
        let pairs = raster.rgb.as_raw().iter().zip(traced.rgb.as_raw());
        let sum: f64 = pairs.map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
        let mean = sum / raster.rgb.as_raw().len() as f64;
        assert!(mean < tolerance, "{name}: pixels differ by {mean}");
        let ids = raster.truth.ids.iter().zip(&traced.truth.ids);
        let same = ids.filter(|(a, b)| a == b).count() as f64 / raster.truth.ids.len() as f64;
        assert!(same >= 0.99, "{name}: {same} of the labels agree");
        let depths = raster.truth.depth_m.iter().zip(&traced.truth.depth_m);
        let near = depths.filter(|(a, b)| (*a - *b).abs() < 0.01 * *b).count() as f64;
        assert!(
            near >= 0.99 * raster.truth.depth_m.len() as f64,
            "{name}: {near} distances agree"
        );
        let (seen, again) = (
            raster.truth.visible_objects(),
            traced.truth.visible_objects(),
        );
        assert_eq!(seen.len(), again.len(), "{name}");
        for (a, b) in seen.iter().zip(&again) {
            let edges =
                |bbox: &BoundingBox| [bbox.x, bbox.y, bbox.x + bbox.width, bbox.y + bbox.height];
            let pairs = edges(&a.bbox).into_iter().zip(edges(&b.bbox));
            let farthest = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(farthest <= 1.0, "{name}: {:?} and {:?}", a.bbox, b.bbox);
        }
    }
}
