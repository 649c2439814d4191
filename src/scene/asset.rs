//! What a scene family draws with: its meshes, each at several levels of detail.

use std::ops::Range;
use std::sync::Arc;

use glam::{Vec2, Vec3};

use super::library::Library;
use super::mesh_file::FileMaterial;
use super::shape;
use super::spec::{Family, MaterialSpec, MeshSpec, SceneSpec, Shape};
use super::texture::Textures;

/// A surface as triangles.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Geometry {
    /// In metres, in the object's own space.
    pub positions: Vec<Vec3>,
    /// Unit vectors, one a position.
    pub normals: Vec<Vec3>,
    /// Texture coordinates, one a position; the origin is the image's top left.
    pub uvs: Vec<Vec2>,
    /// Counter-clockwise from outside.
    pub triangles: Vec<[u32; 3]>,
}

/// One level of detail.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    pub geometry: Geometry,
    /// How far the triangles may lie from the true surface, in metres.
    pub error_m: f32,
}

/// Half the thickness of the box around a flat mesh at least, over half its shorter side, and up
/// to how many metres.
const LEAST_THICKNESS: f32 = 2e-3;
const LEAST_THICKNESS_M: f32 = 5e-5;

/// A surface at several levels of detail.
#[derive(Debug, Clone, PartialEq)]
pub struct Mesh {
    /// From the finest to the coarsest; never empty.
    pub levels: Vec<Level>,
    /// Centre and half extents of its bounding box, in metres.
    pub centre_m: Vec3,
    pub half_extents_m: Vec3,
    /// What its file says of its surface, where it is from one.
    pub material: Option<FileMaterial>,
}

impl Mesh {
    fn new(levels: Vec<Level>) -> Self {
        let positions = &levels[0].geometry.positions;
        let low = positions.iter().copied().fold(Vec3::INFINITY, Vec3::min);
        let high = positions
            .iter()
            .copied()
            .fold(Vec3::NEG_INFINITY, Vec3::max);
        let mut half_extents_m = (high - low) / 2.0;
        // What lies on the ground without thickness would share its plane.
        let least = LEAST_THICKNESS * half_extents_m.x.min(half_extents_m.y);
        half_extents_m.z = half_extents_m.z.max(least.min(LEAST_THICKNESS_M));
        Mesh {
            centre_m: (low + high) / 2.0,
            half_extents_m,
            levels,
            material: None,
        }
    }

    /// The coarsest level whose error is at most `tolerance_m`, or else the finest.
    pub fn level_for(&self, tolerance_m: f32) -> usize {
        let fits = |level: &Level| level.error_m <= tolerance_m;
        self.levels.iter().rposition(fits).unwrap_or(0)
    }
}

/// Everything that the scenes of a family share.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Assets {
    pub meshes: Vec<Mesh>,
    /// Lights of one scene, at most.
    pub lights: usize,
    /// Whether any body lets light straight through.
    pub has_media: bool,
    /// Whether any surface is lacquered or gives off light.
    pub has_finish: bool,
    /// Whether what is seen past the ground is a picture of its own.
    pub has_backdrop: bool,
    /// Whether the ground shows that picture too.
    pub covers_ground: bool,
    /// What surfaces show.
    pub textures: Arc<Textures>,
    /// Each with the numbers of its variants' meshes.
    shapes: Vec<(Shape, Range<usize>)>,
}

impl Assets {
    /// The meshes of all shapes that a spec names, and the textures of its files.
    pub(super) fn new(spec: &SceneSpec, library: &Library) -> Self {
        let materials = || {
            let dressing = spec.dressing.iter().flat_map(|set| &set.parts);
            let dressing = dressing.map(|part| &part.material);
            dressing.chain(spec.objects.iter().flat_map(Family::materials))
        };
        let mut assets = Assets {
            lights: spec.max_lights(),
            has_media: materials().any(|material| material.medium.is_some()),
            has_finish: materials().any(MaterialSpec::has_finish),
            has_backdrop: spec.has_backdrop(),
            covers_ground: spec.background.covers_ground,
            textures: library.textures().clone(),
            ..Assets::default()
        };
        for (_, mesh) in spec.meshes() {
            assets.add_file(mesh, library);
        }
        let dressing = spec.dressing.iter().flat_map(|set| &set.parts);
        for shape in dressing.map(|part| &part.shape) {
            assets.add(shape);
        }
        for shape in spec.objects.iter().flat_map(Family::shapes) {
            assets.add(shape);
        }
        assets
    }

    /// One mesh for each material of a file.
    fn add_file(&mut self, spec: &MeshSpec, library: &Library) {
        let shape = Shape::Mesh(spec.clone());
        if self.meshes_of(&shape).is_some() {
            return;
        }
        let first = self.meshes.len();
        let surfaces = library.mesh(spec).map_or(&[][..], |mesh| &mesh.surfaces);
        self.meshes.extend(surfaces.iter().map(|surface| Mesh {
            material: Some(surface.material),
            ..Mesh::new(vec![Level {
                geometry: surface.geometry.clone(),
                error_m: 0.0,
            }])
        }));
        self.has_finish |= surfaces.iter().any(|surface| surface.material.glows());
        self.shapes.push((shape, first..self.meshes.len()));
    }

    /// The number of a shape's first mesh; its meshes are made if they are new.
    pub fn add(&mut self, shape: &Shape) -> usize {
        if let Some(known) = self.meshes_of(shape) {
            return known.start;
        }
        let first = self.meshes.len();
        let variants = (0..shape::variants(shape)).map(|variant| shape::levels(shape, variant));
        self.meshes.extend(variants.map(Mesh::new));
        let numbers = first..self.meshes.len();
        self.shapes.push((shape.clone(), numbers));
        first
    }

    /// The numbers of a shape's meshes, one a variant.
    pub(super) fn meshes_of(&self, shape: &Shape) -> Option<Range<usize>> {
        let mut known = self.shapes.iter();
        let found = known.find(|(known, _)| known == shape);
        found.map(|(_, numbers)| numbers.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coarser_levels_are_taken_where_they_suffice() {
        let mut assets = Assets::default();
        let shape = Shape::Sphere { diameter_mm: 20.0 };
        let number = assets.add(&shape);
        assert_eq!(assets.add(&shape), number, "one mesh a shape");
        let mesh = &assets.meshes[number];
        assert!((mesh.half_extents_m - Vec3::splat(0.01)).length() < 1e-4);
        assert_eq!(mesh.level_for(0.0), 0);
        assert_eq!(mesh.level_for(1.0), mesh.levels.len() - 1);
        let middle = mesh.level_for(1e-4);
        assert!(0 < middle && middle < mesh.levels.len() - 1);
        assert!(mesh.levels[middle].error_m <= 1e-4);
        let counts: Vec<usize> = mesh
            .levels
            .iter()
            .map(|level| level.geometry.triangles.len())
            .collect();
        assert!(
            counts.is_sorted_by(|finer, coarser| finer > coarser),
            "{counts:?}"
        );
    }
}
