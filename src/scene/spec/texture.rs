//! Pictures on surfaces, and the files that a scene names.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Colour, DressingPart, Family, FamilyPart, MeshSpec, SceneSpec, Shape, none, one};
use crate::spec::Distribution;

/// A picture that covers a surface.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TextureSpec {
    /// A picture beside the scene file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// A folder of pictures beside the scene file, of which each object shows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    #[serde(default)]
    pub mapping: MappingSpec,
}

/// How a picture lies on a surface.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum MappingSpec {
    /// As the shape's texture coordinates say: once on each face of a box, once around what is
    /// round, once on the whole ground.
    #[default]
    Surface,
    /// Side by side on the planes along the shape's axes, from a place that is drawn.
    Tiles {
        /// Side of one tile.
        side_mm: Distribution,
        #[serde(default = "none")]
        rotation_deg: Distribution,
    },
}

/// A picture or a text on one side of a shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecalSpec {
    pub side: Side,
    /// A picture beside the scene file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// A folder of pictures beside the scene file, of which each object shows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Lines of text, of which each object shows one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub text: Vec<String>,
    /// Width of a text's strokes over the height of its capitals.
    #[serde(default = "regular")]
    pub weight: f64,
    /// Of which one is drawn. Pictures are multiplied by it; texts are black without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub colours: Vec<Colour>,
    /// Its middle from the middle of the side, to the right and upwards as one looks at it.
    #[serde(default = "middle")]
    pub position_mm: [Distribution; 2],
    /// Of the picture, or of the text's capitals.
    pub height_mm: Distribution,
    /// As the picture's or the text's proportions say where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width_mm: Option<Distribution>,
    /// Counter-clockwise, as one looks at it.
    #[serde(default = "none")]
    pub rotation_deg: Distribution,
    /// How often an object has it.
    #[serde(default = "one")]
    pub probability: f64,
}

/// A side of a shape as it is placed with a yaw of 0: the front looks against the y axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Front,
    Back,
    Left,
    Right,
    /// Its upper edge is towards the y axis.
    Top,
    /// Its upper edge is against the y axis.
    Bottom,
}

fn regular() -> f64 {
    0.15
}

fn middle() -> [Distribution; 2] {
    [none(), none()]
}

impl SceneSpec {
    /// All textures, each with the path of its key.
    pub(in crate::scene) fn textures(&self) -> Vec<(String, &TextureSpec)> {
        let ground = self.ground.picture.as_ref();
        let ground = ground.map(|picture| ("ground.picture".to_owned(), picture));
        let dressing = self.dressing_parts();
        let dressing = dressing.map(|(key, part)| (key, &part.material));
        let families = self.families();
        let families = families.map(|(key, family)| (key, &family.material));
        let parts = self.family_parts();
        let parts = parts.filter_map(|(key, part)| Some((key, part.material.as_ref()?)));
        let materials = dressing.chain(families).chain(parts);
        let textures = materials.filter_map(|(key, material)| {
            let texture = material.texture.as_ref()?;
            Some((format!("{key}.material.texture"), texture))
        });
        ground.into_iter().chain(textures).collect()
    }

    /// All decals, each with the path of its key.
    pub(in crate::scene) fn decals(&self) -> Vec<(String, &DecalSpec)> {
        let dressing = self.dressing_parts().map(|(key, part)| (key, &part.decals));
        let families = self.families().map(|(key, family)| (key, &family.decals));
        let parts = self.family_parts().map(|(key, part)| (key, &part.decals));
        let lists = dressing.chain(families).chain(parts);
        let numbered = lists.flat_map(|(key, decals)| {
            let decals = decals.iter().enumerate();
            decals.map(move |(index, decal)| (format!("{key}.decals[{index}]"), decal))
        });
        numbered.collect()
    }

    /// All mesh files, each with the path of its key.
    pub(in crate::scene) fn meshes(&self) -> Vec<(String, &MeshSpec)> {
        let dressing = self.dressing_parts().map(|(key, part)| (key, &part.shape));
        let families = self.families();
        let families = families.filter_map(|(key, family)| Some((key, family.shape.as_ref()?)));
        let parts = self.family_parts().map(|(key, part)| (key, &part.shape));
        let shapes = dressing.chain(families).chain(parts);
        let meshes = shapes.filter_map(|(key, shape)| match shape {
            Shape::Mesh(mesh) => Some((format!("{key}.shape.mesh.file"), mesh)),
            _ => None,
        });
        meshes.collect()
    }

    fn families(&self) -> impl Iterator<Item = (String, &Family)> {
        let families = self.objects.iter().enumerate();
        families.map(|(index, family)| (format!("objects[{index}]"), family))
    }

    fn dressing_parts(&self) -> impl Iterator<Item = (String, &DressingPart)> {
        let sets = self.dressing.iter().enumerate();
        sets.flat_map(|(set, dressing)| {
            let parts = dressing.parts.iter().enumerate();
            parts.map(move |(index, part)| (format!("dressing[{set}].parts[{index}]"), part))
        })
    }

    fn family_parts(&self) -> impl Iterator<Item = (String, &FamilyPart)> {
        self.families().flat_map(|(key, family)| {
            let parts = family.parts.iter().enumerate();
            parts.map(move |(index, part)| (format!("{key}.parts[{index}]"), part))
        })
    }
}
