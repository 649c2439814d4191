use glam::Mat4;
use rand::RngExt;
use serde_json::json;

use super::*;
use crate::scene::shape::tests::volume;
use crate::seed::SeedKey;

fn spec(file: &str) -> MeshSpec {
    MeshSpec {
        file: file.to_owned(),
        longest_side_mm: None,
        unit_mm: None,
        up: UpAxis::Z,
    }
}

/// Writes a file into a folder of its own and reads it.
fn read_as(name: &str, bytes: &[u8], spec: &MeshSpec) -> Result<MeshFile, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), bytes).unwrap();
    read(spec, folder.path())
}

/// A box of 2 x 4 x 6 with two materials: its top, and all else.
const BOX: &str = "\
v -1 -2 -3
v 1 -2 -3
v 1 2 -3
v -1 2 -3
v -1 -2 3
v 1 -2 3
v 1 2 3
v -1 2 3
vt 0 0
usemtl side
f 4 3 2 1
f 1 2 6 5
f 2 3 7 6
f 3 4 8 7
f -8/1 -4/1 -1/1 -5/1
usemtl lid
f 5 6 7 8
";

#[test]
fn a_box_of_two_materials_is_read_from_an_obj_file() {
    let folder = tempfile::tempdir().unwrap();
    let obj = format!("mtllib box.mtl\n{BOX}");
    std::fs::write(folder.path().join("box.obj"), obj).unwrap();
    let library = "newmtl side\nKd 1 0.5 0\nNs 98\nmap_Kd -s 1 1 1 wood.png\n# lid\nnewmtl lid\nKd 0.5 0.5 0.5\nPm 1\nPr 0.25\nKe 1 0 0\n";
    std::fs::write(folder.path().join("box.mtl"), library).unwrap();
    let mesh = read(&spec("box.obj"), folder.path()).unwrap();
    let names: Vec<&str> = mesh.files.iter().map(|[name, _]| name.as_str()).collect();
    assert_eq!(names, ["box.obj", "box.mtl"]);
    let [side, lid] = mesh.surfaces.as_slice() else {
        panic!("{} surfaces", mesh.surfaces.len());
    };
    assert_eq!(side.geometry.triangles.len(), 10);
    assert_eq!(lid.geometry.triangles.len(), 2);
    let sum: f32 = mesh.surfaces.iter().map(|s| volume(&s.geometry)).sum();
    assert!((sum - 48.0).abs() < 1e-3, "{sum}");
    // Faces at right angles are not smoothed.
    assert!(lid.geometry.normals.iter().all(|normal| *normal == Vec3::Z));
    let picture = side.picture.as_ref().unwrap();
    assert_eq!(
        picture.source,
        Embedded::File(folder.path().join("wood.png"))
    );
    assert_eq!(side.material.linear_rgb, [1.0; 3]);
    assert!((side.material.roughness - 0.02_f32.powf(0.25)).abs() < 1e-6);
    assert_eq!((lid.material.metallic, lid.material.roughness), (1.0, 0.25));
    assert!((lid.material.linear_rgb[0] - 0.2140).abs() < 1e-3);
    assert!(lid.material.glows());
    // Their origin is the lower left.
    assert!(side.geometry.uvs.contains(&Vec2::new(0.0, 1.0)));
}

#[test]
fn sizes_and_axes_are_those_that_the_scene_gives() {
    let size = |spec: &MeshSpec| {
        let mesh = read_as("box.obj", BOX.as_bytes(), spec).unwrap();
        let points = mesh.surfaces.iter().flat_map(|s| &s.geometry.positions);
        let (low, high) = points.fold((Vec3::INFINITY, Vec3::NEG_INFINITY), |(low, high), at| {
            (low.min(*at), high.max(*at))
        });
        assert!((low + high).length() < 1e-5, "its middle is the origin");
        high - low
    };
    let upright = spec("box.obj");
    assert_eq!(size(&upright), Vec3::new(2.0, 4.0, 6.0));
    let turned = MeshSpec {
        up: UpAxis::Y,
        ..upright.clone()
    };
    assert_eq!(size(&turned), Vec3::new(2.0, 6.0, 4.0));
    let inches = MeshSpec {
        unit_mm: Some(25.4),
        ..upright.clone()
    };
    assert!((size(&inches).z - 0.1524).abs() < 1e-6);
    let long = MeshSpec {
        longest_side_mm: Some(120.0),
        ..upright
    };
    assert!((size(&long) - Vec3::new(0.04, 0.08, 0.12)).length() < 1e-6);
}

#[test]
fn round_surfaces_without_normals_are_smooth() {
    // A prism of 24 sides.
    let mut text = String::new();
    for side in 0..24 {
        let turn = std::f32::consts::TAU * side as f32 / 24.0;
        for z in [0, 1] {
            text += &format!("v {} {} {z}\n", turn.cos(), turn.sin());
        }
    }
    for side in 0..24 {
        let [a, b] = [side, (side + 1) % 24].map(|side| side * 2 + 1);
        text += &format!("f {a} {b} {} {}\n", b + 1, a + 1);
    }
    let mesh = read_as("prism.obj", text.as_bytes(), &spec("prism.obj")).unwrap();
    let geometry = &mesh.surfaces[0].geometry;
    for (at, normal) in geometry.positions.iter().zip(&geometry.normals) {
        let out = at.truncate().normalize().extend(0.0);
        assert!(normal.dot(out) > 0.995, "{normal} at {at}");
    }
}

/// A binary glTF file of this text and these bytes.
fn glb(document: &serde_json::Value, mut binary: Vec<u8>) -> Vec<u8> {
    let mut text = document.to_string().into_bytes();
    text.resize(text.len().next_multiple_of(4), b' ');
    binary.resize(binary.len().next_multiple_of(4), 0);
    let mut bytes = b"glTF".to_vec();
    let word = |bytes: &mut Vec<u8>, value: usize| bytes.extend((value as u32).to_le_bytes());
    word(&mut bytes, 2);
    word(&mut bytes, 28 + text.len() + binary.len());
    word(&mut bytes, text.len());
    bytes.extend(b"JSON");
    bytes.extend(&text);
    word(&mut bytes, binary.len());
    bytes.extend(b"BIN\0");
    bytes.extend(&binary);
    bytes
}

/// A pyramid on a square, as one list of triangles, under a node with this transformation.
fn pyramid(node: Mat4) -> Vec<u8> {
    let positions: [[f32; 3]; 5] = [
        [-1., -1., 0.],
        [1., -1., 0.],
        [1., 1., 0.],
        [-1., 1., 0.],
        [0., 0., 3.],
    ];
    let indices: [u16; 18] = [0, 2, 1, 0, 3, 2, 0, 1, 4, 1, 2, 4, 2, 3, 4, 3, 0, 4];
    let mut binary: Vec<u8> = bytemuck::cast_slice(&positions).to_vec();
    binary.extend(bytemuck::cast_slice::<u16, u8>(&indices));
    binary.extend(b"not a picture");
    let document = json!({
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"children": [1]}, {"mesh": 0, "matrix": node.to_cols_array().to_vec()}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1, "material": 0}]}],
        "materials": [{
            "pbrMetallicRoughness": {
                "baseColorFactor": [0.8, 0.4, 0.2, 1.0], "metallicFactor": 0.25, "roughnessFactor": 0.5,
                "baseColorTexture": {"index": 0}
            },
            "emissiveFactor": [0.0, 0.5, 0.0]
        }],
        "textures": [{"source": 0}],
        "images": [{"bufferView": 2, "mimeType": "image/png"}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 5, "type": "VEC3", "min": [-1, -1, 0], "max": [1, 1, 3]},
            {"bufferView": 1, "componentType": 5123, "count": 18, "type": "SCALAR"}
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": 60},
            {"buffer": 0, "byteOffset": 60, "byteLength": 36},
            {"buffer": 0, "byteOffset": 96, "byteLength": 13}
        ],
        "buffers": [{"byteLength": 109}]
    });
    glb(&document, binary)
}

#[test]
fn a_pyramid_is_read_from_a_gltf_file_under_any_transformation() {
    for (node, expected) in [
        (Mat4::IDENTITY, 4.0),
        (
            Mat4::from_rotation_x(1.0) * Mat4::from_translation(Vec3::ONE),
            4.0,
        ),
        (Mat4::from_scale(Vec3::new(2.0, 1.0, 0.5)), 4.0),
        // Mirrored triangles still face outwards.
        (Mat4::from_scale(Vec3::new(-1.0, 1.0, 2.0)), 8.0),
    ] {
        let mesh = read_as("p.glb", &pyramid(node), &spec("p.glb")).unwrap();
        let [surface] = mesh.surfaces.as_slice() else {
            panic!("one material");
        };
        let found = volume(&surface.geometry);
        assert!(
            (found / expected - 1.0).abs() < 1e-4,
            "{found} for {expected}"
        );
        for triangle in &surface.geometry.triangles {
            let [a, b, c] = triangle.map(|index| surface.geometry.positions[index as usize]);
            let normal = surface.geometry.normals[triangle[0] as usize];
            assert!((b - a).cross(c - a).normalize().dot(normal) > 0.99);
        }
        let material = surface.material;
        assert_eq!(material.linear_rgb, [0.8, 0.4, 0.2]);
        assert_eq!((material.metallic, material.roughness), (0.25, 0.5));
        assert_eq!(material.emission_linear_rgb, [0.0, 0.5, 0.0]);
        let picture = surface.picture.as_ref().unwrap();
        assert!(picture.is_opaque);
        assert_eq!(
            picture.source,
            Embedded::Bytes(Arc::from(&b"not a picture"[..]))
        );
    }
}

#[test]
fn what_is_wrong_with_a_file_is_told() {
    let of = |name: &str, bytes: &[u8]| read_as(name, bytes, &spec(name)).unwrap_err();
    for (text, expected) in [
        (
            "v 0 0 0\nv 1 0 0\nf 1 2 3\n",
            "line 3: there is no position 3, only 2",
        ),
        ("v 0 0 zero\n", "line 1: `zero` is not a number"),
        ("v 0 0\n", "line 1: `0 0` has fewer than 3 numbers"),
        ("v 0 0 0\nf 1 1\n", "line 2: a face has 2 corners"),
        (
            "v 0 0 0\nf 1/2 1 1\n",
            "line 2: there is no texture coordinate 2, only 0",
        ),
        (
            "v 0 0 0\nv 1 0 0\nv nan 1 0\nf 1 2 3\n",
            "a corner, number 2, that is nowhere",
        ),
        ("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", "has no triangles"),
        (
            "mtllib none.mtl\n",
            "line 1: names `none.mtl`, which cannot be read",
        ),
        (
            "v 0 0 0\nv 1e9 0 0\nv 0 1 0\nf 1 2 3\n",
            "would be 1000000000 m long",
        ),
        ("", "has no triangles"),
    ] {
        let problem = of("m.obj", text.as_bytes());
        assert!(problem.contains(expected), "{problem}");
    }
    assert!(of("m.obj", b"\xff\xfe").contains("no text in UTF-8"));
    assert!(of("m.stl", b"solid").contains("is no .glb, .gltf or .obj file"));
    assert!(of("m.glb", b"glTF\x02\0\0\0").contains("is no sound glTF file"));
    let whole = pyramid(Mat4::IDENTITY);
    assert!(of("m.glb", &whole[..whole.len() - 20]).contains("glTF"));
    let missing = spec("none.obj");
    let problem = read(&missing, Path::new("/nowhere")).unwrap_err();
    assert!(problem.starts_with("cannot be read"), "{problem}");
    let apart = json!({
        "asset": {"version": "2.0"},
        "buffers": [{"byteLength": 4, "uri": "https://example.org/a.bin"}]
    });
    let problem = of("m.gltf", apart.to_string().as_bytes());
    assert!(
        problem.contains("`https://example.org/a.bin`, which is no file"),
        "{problem}"
    );
}

#[test]
fn no_bytes_make_a_reader_fall_over() {
    let whole = pyramid(Mat4::IDENTITY);
    let mut generator = SeedKey::new(b"mutations", 7).generator("bytes", 0);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..4000 {
        let mut glb = whole.clone();
        let mut obj = BOX.as_bytes().to_vec();
        for bytes in [&mut glb, &mut obj] {
            for _ in 0..generator.random_range(1..4) {
                let at = generator.random_range(0..bytes.len());
                bytes[at] = match generator.random_range(0..3) {
                    0 => generator.random(),
                    // Numbers stay numbers and change.
                    _ => b"0123456789-./"[generator.random_range(0..13)],
                };
            }
        }
        for (name, bytes) in [("m.glb", &glb), ("m.obj", &obj)] {
            let mut files = Files {
                folder: Path::new("/nowhere"),
                read: Vec::new(),
            };
            let raw = match name {
                "m.glb" => gltf::read(bytes, &mut files),
                _ => obj::read(bytes, &mut files),
            };
            match raw.and_then(|raw| finished(raw, &spec(name))) {
                Ok(_) => read += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(
        read > 500 && refused > 500,
        "{read} read and {refused} refused"
    );
}
