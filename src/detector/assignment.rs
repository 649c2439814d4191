//! Which cells of the output maps learn which object.

use super::config::{AssignmentSpec, InputSize};
use crate::annotation::BoundingBox;

/// An object in input pixels with its class index.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    pub bbox: BoundingBox,
    pub class: usize,
}

/// The cells that learn an object, and those that learn nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Assignment {
    /// `(cell, index of the target)`, sorted by cell; cells are `row * columns + column`.
    pub positives: Vec<(usize, usize)>,
    /// Cells within crowd regions, whose objectness is left out of the loss.
    pub ignored: Vec<usize>,
}

/// Side of the objects that a map suits best, in cells (Lin et al. 2017, focal loss, section
/// 4: anchors of 32 pixels at stride 8).
const SUITED_CELLS: f64 = 4.0;

/// The output maps of a network, finest first. Their cells are numbered map by map.
#[derive(Debug, Clone)]
pub(super) struct Grids(Vec<Grid>);

impl Grids {
    /// The output maps of an input of `size`.
    pub fn of(size: InputSize, strides: &[usize]) -> Self {
        Grids(
            strides
                .iter()
                .map(|&stride| Grid::of(size, stride))
                .collect(),
        )
    }

    /// Cells of all maps.
    pub fn cells(&self) -> usize {
        self.0.iter().map(Grid::cells).sum()
    }

    /// Each map with the number of its first cell.
    pub fn maps(&self) -> impl Iterator<Item = (usize, Grid)> {
        self.0.iter().scan(0, |next, &grid| {
            let first = *next;
            *next += grid.cells();
            Some((first, grid))
        })
    }

    /// Index of the map that learns an object: the one whose suited size is nearest in ratio
    /// to the square root of the object's area.
    pub fn map_for(&self, b: &BoundingBox) -> usize {
        let side = b.area().sqrt().max(f64::MIN_POSITIVE);
        let octaves = |grid: &Grid| (side / (SUITED_CELLS * grid.stride as f64)).ln().abs();
        let nearest = self.0.iter().map(octaves).enumerate();
        nearest
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .map_or(0, |(index, _)| index)
    }

    /// Mean logarithm of the objects' widths and heights in cells, of each map; the suited
    /// size where it learns none.
    pub fn typical_log_sizes<'a>(
        &self,
        boxes: impl Iterator<Item = &'a BoundingBox>,
    ) -> Vec<[f32; 2]> {
        let mut sums = vec![([0.0f64; 2], 0u32); self.0.len()];
        for b in boxes {
            let map = self.map_for(b);
            let (sum, count) = &mut sums[map];
            let stride = self.0[map].stride as f64;
            for (sum, side) in sum.iter_mut().zip([b.width, b.height]) {
                *sum += (side.max(1.0) / stride).ln();
            }
            *count += 1;
        }
        let mean = |(sum, count): ([f64; 2], u32)| match count {
            0 => [SUITED_CELLS.ln() as f32; 2],
            _ => sum.map(|sum| (sum / f64::from(count)) as f32),
        };
        sums.into_iter().map(mean).collect()
    }
}

/// An output map: cells of `stride` x `stride` input pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    pub rows: usize,
    pub columns: usize,
    pub stride: usize,
}

impl Grid {
    /// The output map of an input of `size`.
    pub fn of(size: InputSize, stride: usize) -> Self {
        Grid {
            rows: size.height / stride,
            columns: size.width / stride,
            stride,
        }
    }

    pub fn cells(&self) -> usize {
        self.rows * self.columns
    }

    /// Centre of a cell in input pixels, `(x, y)`.
    pub fn centre(&self, cell: usize) -> (f64, f64) {
        let stride = self.stride as f64;
        (
            ((cell % self.columns) as f64 + 0.5) * stride,
            ((cell / self.columns) as f64 + 0.5) * stride,
        )
    }

    /// Distance from a cell's centre to a box's, in cells.
    fn distance(&self, cell: usize, b: &BoundingBox) -> f64 {
        let (x, y) = self.centre(cell);
        (x - b.x - b.width / 2.0).hypot(y - b.y - b.height / 2.0) / self.stride as f64
    }

    /// Cells whose row and column lie within `reach` of the box's centre cell.
    fn around(&self, b: &BoundingBox, reach: usize) -> impl Iterator<Item = usize> + use<> {
        let stride = self.stride as f64;
        let place = |value: f64, len: usize| ((value / stride).max(0.0) as usize).min(len - 1);
        let column = place(b.x + b.width / 2.0, self.columns);
        let row = place(b.y + b.height / 2.0, self.rows);
        let columns = column.saturating_sub(reach)..=(column + reach).min(self.columns - 1);
        let rows = row.saturating_sub(reach)..=(row + reach).min(self.rows - 1);
        let width = self.columns;
        rows.flat_map(move |row| columns.clone().map(move |column| row * width + column))
    }
}

/// Assigns cells to targets by the distance between their centres.
///
/// First every target takes the nearest free cell, the closest pair first, so that
/// neighbours whose centres share a cell stay apart: each target keeps at least one
/// cell while there are as many cells as targets. Then targets take further free
/// cells within the radius, again the closest pair first.
pub(super) fn assign(
    targets: &[Target],
    crowds: &[BoundingBox],
    grid: Grid,
    spec: &AssignmentSpec,
) -> Assignment {
    let mut owner: Vec<Option<usize>> = vec![None; grid.cells()];
    let mut held = vec![0usize; targets.len()];
    let mut reach = 1;
    loop {
        let pairs = sorted_pairs(targets, grid, reach, |target| held[target] == 0);
        for (_, target, cell) in pairs {
            if held[target] == 0 && owner[cell].is_none() {
                owner[cell] = Some(target);
                held[target] = 1;
            }
        }
        if held.iter().all(|&count| count > 0) || reach >= grid.rows.max(grid.columns) {
            break;
        }
        reach *= 2;
    }
    let reach = spec.radius_cells.ceil() as usize + 1;
    for (distance, target, cell) in sorted_pairs(targets, grid, reach, |_| true) {
        let room = held[target] < spec.cells_per_object && distance <= spec.radius_cells;
        if room && owner[cell].is_none() {
            owner[cell] = Some(target);
            held[target] += 1;
        }
    }
    let positives: Vec<(usize, usize)> = owner
        .iter()
        .enumerate()
        .filter_map(|(cell, owner)| owner.map(|target| (cell, target)))
        .collect();
    let ignored = (0..grid.cells())
        .filter(|&cell| owner[cell].is_none() && crowds.iter().any(|b| holds(b, grid.centre(cell))))
        .collect();
    Assignment { positives, ignored }
}

fn holds(b: &BoundingBox, (x, y): (f64, f64)) -> bool {
    (b.x..b.right()).contains(&x) && (b.y..b.bottom()).contains(&y)
}

/// `(distance, target, cell)` of the wanted targets, closest first; ties by index.
fn sorted_pairs(
    targets: &[Target],
    grid: Grid,
    reach: usize,
    wanted: impl Fn(usize) -> bool,
) -> Vec<(f64, usize, usize)> {
    let mut pairs: Vec<(f64, usize, usize)> = targets
        .iter()
        .enumerate()
        .filter(|(target, _)| wanted(*target))
        .flat_map(|(target, Target { bbox, .. })| {
            grid.around(bbox, reach)
                .map(move |cell| (grid.distance(cell, bbox), target, cell))
        })
        .collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid {
        rows: 6,
        columns: 8,
        stride: 16,
    };

    #[test]
    fn each_object_belongs_to_the_map_of_its_size() {
        let size = InputSize {
            height: 128,
            width: 256,
        };
        let grids = Grids::of(size, &[8, 16, 32]);
        let maps: Vec<(usize, usize)> = grids
            .maps()
            .map(|(first, grid)| (first, grid.cells()))
            .collect();
        assert_eq!(maps, [(0, 512), (512, 128), (640, 32)]);
        assert_eq!(grids.cells(), 672);
        // The borders lie at the geometric means of 32, 64 and 128 pixels.
        for (side, map) in [
            (1.0, 0),
            (45.0, 0),
            (46.0, 1),
            (90.0, 1),
            (91.0, 2),
            (900.0, 2),
        ] {
            let b = BoundingBox::from([0.0, 0.0, side / 2.0, side * 2.0]);
            assert_eq!(grids.map_for(&b), map, "{side}");
        }
        let boxes = [[0.0, 0.0, 16.0, 8.0], [5.0, 5.0, 64.0, 64.0]].map(BoundingBox::from);
        let sizes = grids.typical_log_sizes(boxes.iter());
        let wanted = [[2f32.ln(), 0.0], [4f32.ln(); 2], [4f32.ln(); 2]];
        for (got, wanted) in sizes.iter().flatten().zip(wanted.iter().flatten()) {
            assert!((got - wanted).abs() < 1e-6, "{sizes:?}");
        }
    }

    fn target(x: f64, y: f64) -> Target {
        Target {
            bbox: BoundingBox::from([x - 5.0, y - 5.0, 10.0, 10.0]),
            class: 0,
        }
    }

    fn cells_of(assignment: &Assignment, target: usize) -> Vec<usize> {
        let own = assignment.positives.iter().filter(|pair| pair.1 == target);
        own.map(|pair| pair.0).collect()
    }

    #[test]
    fn an_object_gets_its_centre_cell_and_the_nearest_neighbours() {
        // Row 2, column 3 has its centre at (56, 40); right of and below it.
        let assignment = assign(&[target(60.0, 42.0)], &[], GRID, &AssignmentSpec::default());
        assert_eq!(cells_of(&assignment, 0), [2 * 8 + 3, 2 * 8 + 4, 3 * 8 + 3]);
    }

    #[test]
    fn neighbours_that_share_a_cell_each_keep_one() {
        let targets: Vec<Target> = (0..5)
            .map(|i| target(55.0 + 0.5 * f64::from(i), 40.0))
            .collect();
        let spec = AssignmentSpec::default();
        let assignment = assign(&targets, &[], GRID, &spec);
        for index in 0..targets.len() {
            let cells = cells_of(&assignment, index).len();
            assert!((1..=3).contains(&cells), "target {index} has {cells}");
        }
        let mut cells: Vec<usize> = assignment.positives.iter().map(|pair| pair.0).collect();
        cells.dedup();
        assert_eq!(cells.len(), assignment.positives.len(), "no cell twice");
    }

    #[test]
    fn a_pile_larger_than_the_neighbourhood_still_keeps_all_apart() {
        let targets = vec![target(3.0, 3.0); 20];
        let assignment = assign(&targets, &[], GRID, &AssignmentSpec::default());
        assert!((0..20).all(|index| !cells_of(&assignment, index).is_empty()));
        let too_many = vec![target(3.0, 3.0); GRID.cells() + 5];
        let assignment = assign(&too_many, &[], GRID, &AssignmentSpec::default());
        assert_eq!(assignment.positives.len(), GRID.cells());
    }

    #[test]
    fn crowd_regions_are_ignored_but_not_where_an_object_is() {
        let crowd = BoundingBox::from([0.0, 0.0, 32.0, 32.0]);
        let assignment = assign(
            &[target(8.0, 8.0)],
            &[crowd],
            GRID,
            &AssignmentSpec {
                cells_per_object: 1,
                radius_cells: 1.0,
            },
        );
        assert_eq!(assignment.positives, [(0, 0)]);
        assert_eq!(assignment.ignored, [1, 8, 9]);
    }
}
