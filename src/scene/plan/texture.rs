//! Checks of pictures on surfaces.

use super::super::spec::{DecalSpec, MappingSpec, SceneSpec, TextureSpec};
use super::super::text;
use super::check_range;
use crate::spec::Problems;

/// The longest line of a decal, in characters.
const MAX_TEXT: usize = 64;

pub(super) fn check(problems: &mut Problems, spec: &SceneSpec) {
    for (key, texture) in spec.textures() {
        check_texture(problems, &key, texture);
    }
    for (key, decal) in spec.decals() {
        check_decal(problems, &key, decal);
    }
    for (index, family) in spec.objects.iter().enumerate() {
        let ok = family.decals.is_empty() || family.shape.is_some();
        let key = format!("objects[{index}].decals");
        problems.require(
            ok,
            &key,
            "lie on a `shape`; write them under one of the parts",
        );
    }
}

fn check_texture(problems: &mut Problems, key: &str, texture: &TextureSpec) {
    let ok = texture.file.is_some() != texture.folder.is_some();
    problems.require(ok, key, "needs either `file` or `folder`");
    if let MappingSpec::Tiles {
        side_mm,
        rotation_deg,
    } = &texture.mapping
    {
        let key = format!("{key}.mapping.tiles");
        check_range(problems, &format!("{key}.side_mm"), side_mm, 0.01, 1e6);
        let key = format!("{key}.rotation_deg");
        check_range(problems, &key, rotation_deg, -3600.0, 3600.0);
    }
}

fn check_decal(problems: &mut Problems, key: &str, decal: &DecalSpec) {
    let given = [
        decal.file.is_some(),
        decal.folder.is_some(),
        !decal.text.is_empty(),
    ];
    let ok = given.iter().filter(|is_given| **is_given).count() == 1;
    problems.require(ok, key, "needs one of `file`, `folder` and `text`");
    for line in &decal.text {
        let key = format!("{key}.text");
        let length = line.chars().count();
        let ok = !line.trim().is_empty() && length <= MAX_TEXT;
        problems.require(
            ok,
            &key,
            format!("`{line}` is not 1 to {MAX_TEXT} characters long"),
        );
        let missing = text::missing(line);
        if !missing.is_empty() {
            let missing: Vec<String> = missing.iter().map(|c| format!("`{c}`")).collect();
            let missing = missing.join(", ");
            problems.add(
                &key,
                format!("`{line}` has {missing}, which cannot be drawn; show a picture instead"),
            );
        }
    }
    let ok = (0.02..=0.4).contains(&decal.weight);
    problems.require(ok, &format!("{key}.weight"), "is not within 0.02..=0.4");
    let ok = (0.0..=1.0).contains(&decal.probability);
    problems.require(ok, &format!("{key}.probability"), "is not within 0..=1");
    for along in &decal.position_mm {
        check_range(problems, &format!("{key}.position_mm"), along, -1e5, 1e5);
    }
    check_range(
        problems,
        &format!("{key}.height_mm"),
        &decal.height_mm,
        1e-3,
        1e5,
    );
    if let Some(width_mm) = &decal.width_mm {
        check_range(problems, &format!("{key}.width_mm"), width_mm, 1e-3, 1e5);
    }
    let key = format!("{key}.rotation_deg");
    check_range(problems, &key, &decal.rotation_deg, -3600.0, 3600.0);
}
