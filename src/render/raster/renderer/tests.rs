//! The rasteriser on small scenes.

use glam::{Mat3, Mat4, Vec3};

use super::*;
use crate::scene::{
    Camera, Environment, Light, LightSource, Material, Medium, Object, Pattern, Shape,
};

const SIDE_PX: u32 = 160;
const HALF_M: f32 = 0.008;

/// A white die with black pips whose face towards `local_up` lies uppermost, its edges
/// along the image's, seen from straight above without blur, noise or gloss.
fn upright_die(assets: &Assets, local_up: Vec3, light_towards: Vec3) -> SceneInstance {
    let side = if local_up.z == 0.0 { Vec3::Z } else { Vec3::X };
    let rotation = Mat3::from_cols(side, local_up.cross(side), local_up).transpose();
    let pose = Mat4::from_translation(Vec3::Z * HALF_M) * Mat4::from_mat3(rotation);
    let camera = Camera {
        position_m: Vec3::new(0.0, 0.0, 0.2),
        target_m: Vec3::ZERO,
        vertical_fov_deg: 12.0,
        ..Camera::default()
    };
    let white = Material {
        linear_rgb: [0.9; 3],
        pattern: Pattern::Pips {
            radius: 0.18,
            linear_rgb: [0.01; 3],
            marbling: 0.0,
            marble_linear_rgb: [0.9; 3],
        },
        roughness: 1.0,
        ..Material::default()
    };
    let mut scene = SceneInstance::bare(SIDE_PX, camera);
    scene.lights = vec![Light {
        intensity: 0.6,
        kelvin: 6600.0,
        source: LightSource::Directional {
            towards: light_towards.normalize(),
            angular_diameter_deg: 4.0,
        },
    }];
    scene.environment = Environment::Uniform {
        level: 0.3,
        kelvin: 6600.0,
    };
    scene.objects = vec![Object::at(assets, 0, pose, white)];
    scene
}

fn die() -> Assets {
    let mut assets = Assets::default();
    assets.add(&Shape::Die {
        size_mm: f64::from(2000.0 * HALF_M),
        rounding: 0.1,
        pip_radius: 0.18,
    });
    assets.lights = 1;
    assets
}

/// Centres of the dark regions of the die, in halves of its side from its middle, x to
/// the right and y up.
fn pip_centres(frame: &Frame) -> Vec<(f32, f32)> {
    let bbox = &frame.truth.visible_objects()[0].bbox;
    let is_dark = |x: u32, y: u32| {
        frame.truth.ids[(y * SIDE_PX + x) as usize] == 1 && frame.rgb.get_pixel(x, y)[1] < 90
    };
    let mut seen = vec![false; (SIDE_PX * SIDE_PX) as usize];
    let mut centres = Vec::new();
    for start in 0..SIDE_PX * SIDE_PX {
        let mut open = vec![(start % SIDE_PX, start / SIDE_PX)];
        let mut found = Vec::new();
        while let Some((x, y)) = open.pop() {
            let is_new = x < SIDE_PX && y < SIDE_PX && is_dark(x, y);
            if is_new && !std::mem::replace(&mut seen[(y * SIDE_PX + x) as usize], true) {
                found.push((x as f32 + 0.5, y as f32 + 0.5));
                open.extend([(x + 1, y), (x, y + 1)]);
                open.extend([(x.wrapping_sub(1), y), (x, y.wrapping_sub(1))]);
            }
        }
        if found.len() >= 8 {
            let mean =
                |of: fn(&(f32, f32)) -> f32| found.iter().map(of).sum::<f32>() / found.len() as f32;
            let half = bbox.width as f32 / 2.0;
            let middle = (bbox.x as f32 + half, bbox.y as f32 + half);
            centres.push((
                (mean(|p| p.0) - middle.0) / half,
                (middle.1 - mean(|p| p.1)) / half,
            ));
        }
    }
    centres
}

#[test]
#[ignore = "needs a Vulkan adapter: make test installs one and runs these"]
fn each_face_has_its_pips_in_the_usual_places() {
    let context = GpuContext::new().unwrap();
    let assets = die();
    let mut renderer = Renderer::new(&context, &assets, SIDE_PX, SIDE_PX, 2);
    // Opposite faces sum to seven; one, two and three run counter-clockwise.
    let faces = [Vec3::X, Vec3::Y, Vec3::Z];
    for (pips, up) in (1..).zip(faces.into_iter().chain([-Vec3::Z, -Vec3::Y, -Vec3::X])) {
        let frame = renderer.render(&upright_die(&assets, up, Vec3::Z)).unwrap();
        let centres = pip_centres(&frame);
        assert_eq!(centres.len(), pips, "{centres:?}");
        // Turned by half a circle, every face looks the same.
        for (x, y) in &centres {
            let twin = |(a, b): &(f32, f32)| (a + x).abs() < 0.08 && (b + y).abs() < 0.08;
            assert!(centres.iter().any(twin), "{pips}: {centres:?}");
        }
        let is_corner = |(x, y): &&(f32, f32)| x.abs().min(y.abs()) > 0.35;
        let is_middle = |(x, y): &&(f32, f32)| x.abs().max(y.abs()) < 0.08;
        let (corners, middles) = (
            centres.iter().filter(is_corner).count(),
            centres.iter().filter(is_middle).count(),
        );
        let expected = [(0, 1), (2, 0), (2, 1), (4, 0), (4, 1), (4, 0)];
        assert_eq!(
            (corners, middles),
            expected[pips - 1],
            "{pips}: {centres:?}"
        );
    }
}

#[test]
#[ignore = "needs a Vulkan adapter: make test installs one and runs these"]
fn the_shadow_falls_away_from_the_light() {
    let context = GpuContext::new().unwrap();
    let assets = die();
    let mut renderer = Renderer::new(&context, &assets, SIDE_PX, SIDE_PX, 2);
    let row = SIDE_PX / 2;
    for (towards, column_lit, column_dark) in [(1.0, 130, 29), (-1.0, 29, 130)] {
        let light = Vec3::new(towards, 0.0, 1.0);
        let frame = renderer
            .render(&upright_die(&assets, Vec3::Z, light))
            .unwrap();
        let at = |x: u32| {
            assert_eq!(
                frame.truth.ids[(row * SIDE_PX + x) as usize],
                0,
                "{x} is ground"
            );
            i32::from(frame.rgb.get_pixel(x, row)[1])
        };
        let (lit, dark) = (at(column_lit), at(column_dark));
        assert!(lit > dark + 30, "{lit} beside {dark}");
    }
}

/// Linear value of a developed pixel whose brightness lies below the shoulder.
fn linear(encoded: u8) -> f32 {
    let value = f32::from(encoded) / 255.0;
    ((value + 0.055) / 1.055).powf(2.4)
}

#[test]
#[ignore = "needs a Vulkan adapter: make test installs one and runs these"]
fn media_absorb_and_glow_by_their_thickness() {
    let context = GpuContext::new().unwrap();
    let mut assets = Assets::default();
    let side_mm = f64::from(2000.0 * HALF_M);
    assets.add(&Shape::Box {
        size_mm: [side_mm; 3],
        rounding_mm: 0.0,
    });
    assets.has_media = true;
    let mut scene = upright_die(&assets, Vec3::Z, Vec3::Z);
    scene.lights.clear();
    let mut renderer = Renderer::new(&context, &assets, SIDE_PX, SIDE_PX, 2);
    let nothing = Medium {
        absorption_per_m: [0.0; 3],
        glow_per_m: [0.0; 3],
        mottling: 0.0,
        mottling_scale_m: 1.0,
    };
    let mut draw = |medium: Medium, copies: usize| {
        let mut object = scene.objects[0].clone();
        object.parts[0].material.medium = Some(medium);
        scene.objects = vec![object; copies];
        let frame = renderer.render(&scene).unwrap();
        let middle = (SIDE_PX / 2 * SIDE_PX + SIDE_PX / 2) as usize;
        assert_eq!(frame.truth.ids[middle], 1);
        let silhouette = &frame.truth.silhouettes[0];
        assert!(silhouette.is_transparent);
        let seen = frame.truth.visible_objects();
        assert_eq!((seen.len(), seen[0].visible_fraction), (copies, 1.0));
        let at = |x: u32| frame.rgb.get_pixel(x, SIDE_PX / 2).0.map(linear);
        (at(SIDE_PX / 2), at(2))
    };
    let thickness_m = 2.0 * HALF_M;
    let absorbing = Medium {
        absorption_per_m: [0.2, 0.7, 1.5].map(|depth| depth / thickness_m),
        ..nothing
    };
    for copies in [1, 2] {
        let (through, beside) = draw(absorbing, copies);
        for (channel, depth) in [0.2_f32, 0.7, 1.5].into_iter().enumerate() {
            let expected = beside[channel] * (-depth * copies as f32).exp();
            let found = through[channel];
            assert!((found - expected).abs() < 0.004, "{found} for {expected}");
        }
    }
    let glowing = Medium {
        glow_per_m: [0.05, 0.1, 0.2].map(|level| level / thickness_m),
        ..nothing
    };
    let (through, beside) = draw(glowing, 1);
    for (channel, level) in [0.05, 0.1, 0.2].into_iter().enumerate() {
        let gained = through[channel] - beside[channel];
        assert!((gained - level).abs() < 0.006, "{gained} for {level}");
    }
}

#[test]
#[ignore = "needs a Vulkan adapter: make test installs one and runs these"]
fn a_ball_does_not_shadow_itself_in_spots() {
    let context = GpuContext::new().unwrap();
    let mut assets = Assets::default();
    assets.add(&Shape::Sphere { diameter_mm: 60.0 });
    assets.lights = 1;
    let mut scene = upright_die(&assets, Vec3::Z, Vec3::new(2.4, 0.0, 1.0));
    scene.camera.position_m = Vec3::new(0.0, 0.0, 0.6);
    scene.camera.vertical_fov_deg = 8.0;
    // Wide, and brighter than the rest, so that spots would show.
    scene.environment = Environment::Uniform {
        level: 0.1,
        kelvin: 6600.0,
    };
    scene.lights[0].intensity = 0.8;
    if let LightSource::Directional {
        angular_diameter_deg,
        ..
    } = &mut scene.lights[0].source
    {
        *angular_diameter_deg = 6.1;
    }
    let matt = Material {
        linear_rgb: [0.8; 3],
        roughness: 1.0,
        ..Material::default()
    };
    let pose = Mat4::from_translation(Vec3::Z * 0.03);
    scene.objects = vec![Object::at(&assets, 0, pose, matt)];
    let mut renderer = Renderer::new(&context, &assets, SIDE_PX, SIDE_PX, 2);
    let frame = renderer.render(&scene).unwrap();
    // Towards the light the ball grows brighter all the way.
    for y in 40..120 {
        let on_ball = |x: &u32| frame.truth.ids[(y * SIDE_PX + x) as usize] == 1;
        let row: Vec<u8> = (0..SIDE_PX)
            .filter(on_ball)
            .map(|x| frame.rgb.get_pixel(x, y)[1])
            .collect();
        assert!(row.len() > 80, "{}", row.len());
        for pair in row[2..row.len() - 2].windows(2) {
            assert!(
                pair[1] + 3 >= pair[0],
                "row {y}: {} after {}",
                pair[1],
                pair[0]
            );
        }
    }
}
