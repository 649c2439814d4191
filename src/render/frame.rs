//! What both renderers give for a scene: its picture, and the labels of its pixels.

use glam::Vec3;

use crate::annotation::BoundingBox;

/// What one scene looks like.
#[derive(Debug, Clone)]
pub struct Frame {
    /// 8-bit sRGB.
    pub rgb: image::RgbImage,
    pub truth: GroundTruth,
}

/// Labels of one frame, at one sample a pixel, row by row from the top left.
#[derive(Debug, Clone, PartialEq)]
pub struct GroundTruth {
    pub width_px: u32,
    /// 0 for the ground, otherwise the object's index in its scene plus one.
    pub ids: Vec<u32>,
    /// Distance from the camera's plane in metres; 0 beyond the edge of the ground.
    pub depth_m: Vec<f32>,
    /// One an object.
    pub silhouettes: Vec<Silhouette>,
    /// Unit normals of the surfaces, where they were asked for: x to the right, y up, z
    /// towards the camera; zero beyond the edge of the ground.
    pub normals: Option<Vec<Vec3>>,
}

/// Pixels of a rectangle, one bit each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PixelSet {
    /// Column and row of the rectangle's first pixel.
    pub left: u32,
    pub top: u32,
    /// Words of a row, whose lowest bit is its first pixel.
    pub words: usize,
    pub rows: Vec<u64>,
}

impl PixelSet {
    pub fn contains(&self, x: u32, y: u32) -> bool {
        let (Some(column), Some(row)) = (x.checked_sub(self.left), y.checked_sub(self.top)) else {
            return false;
        };
        let (word, bit) = (column as usize / 64, column % 64);
        let found = self.rows.get(row as usize * self.words + word);
        word < self.words && found.is_some_and(|bits| bits >> bit & 1 == 1)
    }
}

/// What an object would cover inside the image if nothing hid it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Silhouette {
    /// Pixels whose centres it would cover.
    pub pixels: u32,
    /// Their extent; `None` where there are none.
    pub bbox: Option<BoundingBox>,
    /// The same pixels one by one.
    pub covered: PixelSet,
    /// Share of its outline that lies outside the image, to about a hundredth; `None` for
    /// what the image shows nothing of or what reaches behind the camera.
    pub truncated: Option<f64>,
    /// Whether light passes through all of it. What lies before such an object tints it and
    /// does not hide it, so that all of it counts as visible.
    pub is_transparent: bool,
}

/// What is seen of one object.
#[derive(Debug, Clone, PartialEq)]
pub struct VisibleObject {
    /// Index in the scene.
    pub index: usize,
    /// Exact extent of the visible pixels.
    pub bbox: BoundingBox,
    /// Extent of all pixels that it would cover inside the image.
    pub amodal_bbox: BoundingBox,
    pub visible_px: u32,
    /// Visible pixels over those that it would cover inside the image.
    pub visible_fraction: f64,
}

impl GroundTruth {
    /// Whether a pixel is among the visible ones of an object.
    pub fn shows(&self, index: usize, x: u32, y: u32) -> bool {
        match self.silhouettes.get(index) {
            Some(silhouette) if silhouette.is_transparent => silhouette.covered.contains(x, y),
            _ => self.id_at(x, y) == index as u32 + 1,
        }
    }

    /// Whether an object is at a pixel, hidden or not.
    pub fn covers(&self, index: usize, x: u32, y: u32) -> bool {
        let silhouette = self.silhouettes.get(index);
        self.shows(index, x, y) || silhouette.is_some_and(|whole| whole.covered.contains(x, y))
    }

    fn id_at(&self, x: u32, y: u32) -> u32 {
        let inside = x < self.width_px;
        let place = y as usize * self.width_px as usize + x as usize;
        self.ids.get(place).copied().filter(|_| inside).unwrap_or(0)
    }

    /// Every object that shows at least one pixel, in the scene's order.
    pub fn visible_objects(&self) -> Vec<VisibleObject> {
        let none = (u32::MAX, u32::MAX, 0, 0, 0);
        let mut extents = vec![none; self.silhouettes.len()];
        for (row, ids) in (0..).zip(self.ids.chunks(self.width_px.max(1) as usize)) {
            for (column, id) in (0..).zip(ids) {
                let found = id
                    .checked_sub(1)
                    .and_then(|id| extents.get_mut(id as usize));
                if let Some((left, top, right, bottom, count)) = found {
                    *left = column.min(*left);
                    *top = row.min(*top);
                    *right = (column + 1).max(*right);
                    *bottom = (row + 1).max(*bottom);
                    *count += 1;
                }
            }
        }
        let objects = extents.into_iter().zip(&self.silhouettes).enumerate();
        objects
            .filter_map(|(index, ((left, top, right, bottom, count), silhouette))| {
                let corners = [left, top, right, bottom].map(f64::from);
                let [left, top, right, bottom] = corners;
                let (bbox, visible_px) = match silhouette.bbox {
                    Some(bbox) if silhouette.is_transparent => (bbox, silhouette.pixels),
                    _ if count == 0 => return None,
                    _ => (BoundingBox::from_corners(left, top, right, bottom), count),
                };
                Some(VisibleObject {
                    index,
                    bbox,
                    amodal_bbox: silhouette.bbox.map_or(bbox, |whole| whole.joined(&bbox)),
                    visible_px,
                    visible_fraction: f64::from(visible_px)
                        / f64::from(silhouette.pixels.max(visible_px)),
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_exact_pixel_extents() {
        let silhouette = |pixels, corners: [f64; 4], is_transparent| {
            let [left, top, right, bottom] = corners;
            Silhouette {
                pixels,
                bbox: Some(BoundingBox::from_corners(left, top, right, bottom)),
                is_transparent,
                ..Silhouette::default()
            }
        };
        let truth = GroundTruth {
            width_px: 4,
            ids: vec![0, 1, 1, 0, 0, 1, 3, 3],
            depth_m: vec![0.0; 8],
            silhouettes: vec![
                silhouette(6, [1.0, 0.0, 4.0, 2.0], false),
                silhouette(5, [0.0, 0.0, 3.0, 2.0], false),
                silhouette(2, [2.0, 1.0, 4.0, 2.0], false),
                silhouette(4, [0.0, 0.0, 2.0, 2.0], true),
            ],
            normals: None,
        };
        let seen = truth.visible_objects();
        assert_eq!(seen.len(), 3);
        let whole = BoundingBox::from_corners(1.0, 0.0, 4.0, 2.0);
        assert_eq!(seen[0].amodal_bbox, whole);
        assert_eq!(
            (seen[2].index, seen[2].visible_px),
            (3, 4),
            "shines through"
        );
        assert_eq!(seen[0].bbox, BoundingBox::from_corners(1.0, 0.0, 3.0, 2.0));
        assert_eq!((seen[0].visible_px, seen[0].visible_fraction), (3, 0.5));
        assert_eq!((seen[1].index, seen[1].visible_fraction), (2, 1.0));
    }
    #[test]
    fn pixels_of_an_object_are_its_visible_and_its_hidden_ones() {
        let covered = PixelSet {
            left: 1,
            top: 0,
            words: 1,
            // The first two columns of the upper row and the second of the lower.
            rows: vec![0b11, 0b10],
        };
        let silhouette = |is_transparent| Silhouette {
            covered: covered.clone(),
            is_transparent,
            ..Silhouette::default()
        };
        let truth = GroundTruth {
            width_px: 4,
            ids: vec![0, 0, 1, 0, 1, 0, 0, 2],
            depth_m: vec![0.0; 8],
            silhouettes: vec![silhouette(false), silhouette(true)],
            normals: None,
        };
        let pixels = |is_on: &dyn Fn(u32, u32) -> bool| -> Vec<(u32, u32)> {
            let all = (0..3).flat_map(|y| (0..5).map(move |x| (x, y)));
            all.filter(|(x, y)| is_on(*x, *y)).collect()
        };
        assert_eq!(pixels(&|x, y| truth.shows(0, x, y)), [(2, 0), (0, 1)]);
        let whole = [(1, 0), (2, 0), (0, 1), (2, 1)];
        assert_eq!(pixels(&|x, y| truth.covers(0, x, y)), whole);
        assert_eq!(
            pixels(&|x, y| truth.shows(1, x, y)),
            [(1, 0), (2, 0), (2, 1)]
        );
    }
}
