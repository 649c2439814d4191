use std::mem::{offset_of, size_of};

use glam::{Mat4, Vec3};

use super::super::super::shader;
use super::*;
use crate::render::Frame;
use crate::scene::{Aperture, Assets, Camera, Distortion, Material, Motion, Object, Shape};

const SIDE_PX: u32 = 240;

#[test]
fn the_uniform_agrees_with_the_shader() {
    let module = naga::front::wgsl::parse_str(shader::ACCUMULATE).unwrap();
    let mut types = module.types.iter();
    let found = types.find(|(_, found)| found.name.as_deref() == Some("Warp"));
    let naga::TypeInner::Struct { members, span } = &found.unwrap().1.inner else {
        panic!("Warp is no struct");
    };
    assert_eq!(*span as usize, size_of::<WarpUniform>());
    let offsets: Vec<usize> = members
        .iter()
        .map(|member| member.offset as usize)
        .collect();
    let mirrored = [
        offset_of!(WarpUniform, corners),
        offset_of!(WarpUniform, density),
        offset_of!(WarpUniform, weight),
    ];
    assert_eq!(offsets, mirrored);
}

/// Glowing balls of this radius at these places over a black ground.
fn balls(radius_m: f32, places: &[Vec3], camera: Camera) -> (Assets, SceneInstance) {
    let mut assets = Assets::default();
    assets.add(&Shape::Sphere {
        diameter_mm: f64::from(2000.0 * radius_m),
    });
    assets.has_finish = true;
    let glowing = Material {
        roughness: 1.0,
        emission_linear_rgb: [0.5; 3],
        ..Material::default()
    };
    let object = |place: &Vec3| Object::at(&assets, 0, Mat4::from_translation(*place), glowing);
    let mut scene = SceneInstance::bare(SIDE_PX, camera);
    (scene.ground.half_side_m, scene.ground.linear_rgb) = (0.001, [0.0; 3]);
    scene.objects = places.iter().map(object).collect();
    (assets, scene)
}

fn drawn(assets: &Assets, scene: &SceneInstance) -> Frame {
    let context = GpuContext::new().unwrap();
    let mut renderer = Renderer::new(&context, assets, scene.width_px, scene.height_px, 2);
    renderer.render(scene).unwrap()
}

/// Columns from the first to the last that anything is seen in, and rows.
fn extent(frame: &Frame) -> [u32; 4] {
    let lit: Vec<(u32, u32)> = frame
        .rgb
        .enumerate_pixels()
        .filter(|(_, _, colour)| colour[1] > 1)
        .map(|(x, y, _)| (x, y))
        .collect();
    [
        lit.iter().map(|at| at.0).min().unwrap(),
        lit.iter().map(|at| at.0).max().unwrap() + 1,
        lit.iter().map(|at| at.1).min().unwrap(),
        lit.iter().map(|at| at.1).max().unwrap() + 1,
    ]
}

#[test]
#[ignore = "needs a Vulkan adapter: make test installs one and runs these"]
fn a_point_out_of_focus_is_a_circle_as_wide_as_a_thin_lens_makes_it() {
    let aperture = Aperture {
        f_number: 2.0,
        focal_length_m: 0.05,
        focus_m: 1.0,
    };
    // The sensor stands where the lens makes a sharp image: v = f s / (s - f).
    let image_m = 0.05 * 1.0 / (1.0 - 0.05);
    let sensor_m = 0.02_f32;
    let camera = |distance_m: f32| Camera {
        position_m: Vec3::new(0.0, 0.0, distance_m),
        vertical_fov_deg: (2.0 * (sensor_m / 2.0 / image_m).atan()).to_degrees(),
        aperture: Some(aperture),
        subframes: 600,
        ..Camera::default()
    };
    let radius_m = 0.004;
    for distance_m in [0.7, 1.0, 1.6_f32] {
        let (assets, scene) = balls(radius_m, &[Vec3::ZERO], camera(distance_m));
        let frame = drawn(&assets, &scene);
        let pixel_m = sensor_m / SIDE_PX as f32;
        // Diameter A f |s2 - s1| / (s2 (s1 - f)) of a point, and the ball's own.
        let circle = 0.025 * 0.05 * (distance_m - 1.0).abs() / (distance_m * 0.95) / pixel_m;
        let own = 2.0 * radius_m / distance_m * image_m / pixel_m;
        let [left, right, top, bottom] = extent(&frame).map(|side| side as f32);
        for width in [right - left, bottom - top] {
            // A pixel that is touched counts as a whole.
            let off = width - (circle + own);
            assert!(
                (-1.0..=2.0).contains(&off),
                "{distance_m}: {width} for {circle} + {own}"
            );
        }
        let middle = (left + right) / 2.0 - SIDE_PX as f32 / 2.0;
        assert!(middle.abs() <= 1.0, "{middle}");
        // Labels are those of the pinhole.
        let truth = frame.truth.visible_objects();
        assert!(truth[0].bbox.width <= f64::from(own) + 2.0);
    }
}

#[test]
#[ignore = "needs a Vulkan adapter: make test installs one and runs these"]
fn a_moving_camera_draws_points_as_long_as_its_way() {
    let motion = |translation_m: Vec3, rotation_deg: Vec3| {
        Some(Motion {
            translation_m,
            rotation_deg,
        })
    };
    let radius_m = 0.006;
    let still = Camera::default();
    let focal_px = still.focal_px(SIDE_PX);
    let own = 2.0 * radius_m * focal_px;
    let turn = 4_f32.to_radians().tan() * focal_px;
    for (motion, wide, high) in [
        (
            motion(Vec3::new(0.1, 0.0, 0.0), Vec3::ZERO),
            0.1 * focal_px,
            0.0,
        ),
        (
            motion(Vec3::new(0.0, 0.06, 0.0), Vec3::ZERO),
            0.0,
            0.06 * focal_px,
        ),
        (motion(Vec3::ZERO, Vec3::new(0.0, 4.0, 0.0)), turn, 0.0),
    ] {
        let camera = Camera {
            motion,
            subframes: 64,
            ..still.clone()
        };
        let (assets, scene) = balls(radius_m, &[Vec3::ZERO], camera);
        let frame = drawn(&assets, &scene);
        let [left, right, top, bottom] = extent(&frame).map(|side| side as f32);
        // 64 equal times leave out a sixty-fourth of the way.
        let expected = [wide, high].map(|way| way * 63.0 / 64.0 + own);
        for (seen, expected) in [right - left, bottom - top].into_iter().zip(expected) {
            assert!(
                (-1.0..=2.0).contains(&(seen - expected)),
                "{seen} for {expected}"
            );
        }
        // The middle of the exposure is in the middle.
        let bbox = &frame.truth.visible_objects()[0].bbox;
        assert!((bbox.x + bbox.width / 2.0 - 120.0).abs() <= 1.0, "{bbox:?}");
    }
}

#[test]
#[ignore = "needs a Vulkan adapter: make test installs one and runs these"]
fn a_lens_bends_picture_and_labels_alike() {
    let lenses = [
        Distortion::BrownConrady {
            k1: -0.25,
            k2: 0.03,
            k3: 0.0,
            p1: 0.004,
            p2: -0.003,
        },
        Distortion::BrownConrady {
            k1: 0.2,
            k2: 0.05,
            k3: 0.0,
            p1: 0.0,
            p2: 0.0,
        },
        Distortion::Fisheye {
            k1: -0.02,
            k2: 0.003,
            k3: 0.0,
            k4: 0.0,
        },
    ];
    let radius_m = 0.03;
    let places = [
        Vec3::new(0.0, 0.0, 0.0),
        Vec3::new(-0.33, 0.31, 0.0),
        Vec3::new(0.34, 0.1, 0.1),
        Vec3::new(0.1, -0.35, -0.05),
    ];
    for distortion in lenses {
        let camera = Camera {
            distortion,
            principal_offset_px: Vec2::new(6.0, -4.0),
            vertical_fov_deg: 55.0,
            ..Camera::default()
        };
        let (assets, scene) = balls(radius_m, &places, camera);
        let frame = drawn(&assets, &scene);
        let projection = scene.camera.projection(SIDE_PX, SIDE_PX);
        let seen = frame.truth.visible_objects();
        assert_eq!(seen.len(), places.len());
        for object in &seen {
            let place = places[object.index];
            // Extents of the ball's surface as the projection has them.
            let (mut low, mut high) = (Vec2::INFINITY, Vec2::NEG_INFINITY);
            for step in 0..20_000 {
                let z = 1.0 - (step as f32 + 0.5) / 10_000.0;
                let around = Vec2::from_angle(2.399_963_2 * step as f32) * (1.0 - z * z).sqrt();
                let at = projection
                    .project(place + around.extend(z) * radius_m)
                    .unwrap();
                (low, high) = (low.min(at), high.max(at));
            }
            let expected = [low.x, low.y, high.x, high.y];
            let of = |bbox: &crate::annotation::BoundingBox| {
                [bbox.x, bbox.y, bbox.right(), bbox.bottom()].map(|side| side as f32)
            };
            for found in [of(&object.bbox), of(&object.amodal_bbox)] {
                for (found, expected) in found.into_iter().zip(expected) {
                    assert!((found - expected).abs() < 1.0, "{found} for {expected}");
                }
            }
            // Silhouettes and numbers agree, and nothing hides anything.
            let covered = frame.truth.silhouettes[object.index].pixels as f32;
            let share = object.visible_px as f32 / covered;
            assert!(
                (share - 1.0).abs() < 0.06,
                "{} of {covered}",
                object.visible_px
            );
            // The picture shows it in the same place.
            let centre = (low + high) / 2.0;
            let at = |x: f32, y: f32| frame.rgb.get_pixel(x as u32, y as u32)[1];
            assert!(at(centre.x, centre.y) > 100);
            assert!(at(low.x + 1.5, centre.y) > 40 && at(high.x - 1.5, centre.y) > 40);
            assert!(at(low.x - 2.0, centre.y) < 40 && at(high.x + 2.0, centre.y) < 40);
            // Distances are those along the line of sight.
            let pixel = centre.y as u32 * SIDE_PX + centre.x as u32;
            let depth = frame.truth.depth_m[pixel as usize];
            let expected = projection.camera_point(place).z - radius_m;
            assert!((depth - expected).abs() < 0.004, "{depth} for {expected}");
        }
    }
}

#[test]
#[ignore = "needs a Vulkan adapter: make test installs one and runs these"]
fn the_line_of_sight_may_lie_off_the_middle() {
    let camera = Camera {
        principal_offset_px: Vec2::new(30.0, -50.0),
        ..Camera::default()
    };
    let (assets, scene) = balls(0.05, &[Vec3::ZERO], camera);
    let frame = drawn(&assets, &scene);
    let object = &frame.truth.visible_objects()[0];
    for bbox in [&object.bbox, &object.amodal_bbox] {
        let middle = (bbox.x + bbox.width / 2.0, bbox.y + bbox.height / 2.0);
        let off = (middle.0 - 150.0).abs().max((middle.1 - 70.0).abs());
        assert!(off <= 0.5, "{bbox:?}");
    }
    let [left, right, top, bottom] = extent(&frame);
    assert!((left + right).abs_diff(300) <= 1 && (top + bottom).abs_diff(140) <= 1);
}

#[test]
#[ignore = "needs a Vulkan adapter: make test installs one and runs these"]
fn one_renderer_draws_all_kinds_of_cameras_in_any_order() {
    let barrel = |k1| Distortion::BrownConrady {
        k1,
        k2: 0.0,
        k3: 0.0,
        p1: 0.0,
        p2: 0.0,
    };
    let moving = Some(Motion {
        translation_m: Vec3::X * 0.05,
        rotation_deg: Vec3::ZERO,
    });
    let cameras = [
        Camera::default(),
        Camera {
            distortion: barrel(-0.2),
            ..Camera::default()
        },
        Camera {
            motion: moving,
            subframes: 5,
            ..Camera::default()
        },
        Camera {
            distortion: barrel(0.3),
            motion: moving,
            subframes: 4,
            ..Camera::default()
        },
    ];
    let scenes = cameras.map(|camera| balls(0.05, &[Vec3::ZERO, Vec3::X * 0.2], camera));
    let assets = &scenes[0].0;
    let context = GpuContext::new().unwrap();
    let mut renderer = Renderer::new(&context, assets, SIDE_PX, SIDE_PX, 2);
    let mut draw = |index: usize| renderer.render(&scenes[index].1).unwrap();
    let first: Vec<Frame> = (0..4).map(&mut draw).collect();
    for index in [3, 0, 2, 1, 1, 0] {
        let again = draw(index);
        assert!(again.rgb == first[index].rgb, "picture {index}");
        assert_eq!(again.truth, first[index].truth);
    }
}
