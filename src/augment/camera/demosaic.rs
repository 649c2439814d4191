//! The missing two colours of each photosite.

use super::sensor::MARGIN;

/// How far beyond the values around it, in shares of them, an interpolated value may
/// go. The linear filters overshoot at edges by shares of the *bright* side, which in the
/// dark shows as a row of dots.
const BEYOND: f32 = 0.25;

/// One row of red, green and blue from five rows of a balanced RGGB mosaic, by the
/// gradient-corrected linear filters of Malvar, He and Cutler 2004 ("High-quality
/// linear interpolation for demosaicing of Bayer-patterned color images", figure 2).
///
/// Two things are not linear, both at edges only, where the filters would draw rows of
/// dots: green leans towards the direction of less change (Hamilton and Adams 1997, of
/// whose two directions the filter of Malvar et al. is the mean), and a value that goes
/// beyond those around it by over a quarter and `slack` is held there. With a slack of a
/// few standard deviations of the noise, noise is treated linearly.
///
/// `rows` are the sensor's rows y - 2 to y + 2 with their margin, `y` counts from the
/// first row of the picture. Nothing is brighter than 1, where the sensor is full.
pub(super) fn row(rows: [&[f32]; 5], y: usize, slack: f32, to: [&mut [f32]; 3]) {
    let [red, green, blue] = to;
    // Rows of blue are rows of red with the colours' parts exchanged.
    if y.is_multiple_of(2) {
        row_of(rows, 0, slack, [red, green, blue]);
    } else {
        row_of(rows, 1, slack, [blue, green, red]);
    }
}

/// `own` is the colour that has photosites in this row, at columns of parity `at`;
/// `other` is the one that has none.
fn row_of(rows: [&[f32]; 5], at: usize, slack: f32, [own, green, other]: [&mut [f32]; 3]) {
    let width = own.len();
    let part = |row: usize, dx: usize| &rows[row][dx..dx + width];
    let (above2, below2) = (part(0, MARGIN), part(4, MARGIN));
    let (above, below) = (part(1, MARGIN), part(3, MARGIN));
    let (above_left, above_right) = (part(1, MARGIN - 1), part(1, MARGIN + 1));
    let (below_left, below_right) = (part(3, MARGIN - 1), part(3, MARGIN + 1));
    let (left2, left, centre, right, right2) =
        (part(2, 0), part(2, 1), part(2, 2), part(2, 3), part(2, 4));
    let (green, other) = (&mut green[..width], &mut other[..width]);
    for x in 0..width {
        let c = centre[x];
        let (level, upright) = (left[x] + right[x], above[x] + below[x]);
        let (level2, upright2) = (left2[x] + right2[x], above2[x] + below2[x]);
        let corners = (above_left[x] + above_right[x]) + (below_left[x] + below_right[x]);
        let cross2 = level2 + upright2;
        let (along, across) = (2.0 * c - level2, 2.0 * c - upright2);
        let bend_level = (left[x] - right[x]).abs() + along.abs();
        let bend_upright = (above[x] - below[x]).abs() + across.abs();
        let lean = (bend_upright - bend_level) / (bend_upright + bend_level + 4.0 * slack);
        let green_level = 0.5 * level + 0.25 * along;
        let green_upright = 0.5 * upright + 0.25 * across;
        let green_here =
            0.5 * ((green_level + green_upright) + lean * (green_level - green_upright));
        let other_here = (6.0 * c + 2.0 * corners - 1.5 * cross2) * 0.125;
        let own_beside = (5.0 * c + 4.0 * level - corners - level2 + 0.5 * upright2) * 0.125;
        let other_beside = (5.0 * c + 4.0 * upright - corners - upright2 + 0.5 * level2) * 0.125;
        let (level_low, level_high) = span(left[x], right[x]);
        let (upright_low, upright_high) = span(above[x], below[x]);
        let (upper_low, upper_high) = span(above_left[x], above_right[x]);
        let (lower_low, lower_high) = span(below_left[x], below_right[x]);
        let ring = (
            least(level_low, upright_low),
            most(level_high, upright_high),
        );
        let outer = (least(upper_low, lower_low), most(upper_high, lower_high));
        let green_here = within(green_here, ring, slack);
        let other_here = within(other_here, outer, slack);
        let own_beside = within(own_beside, (level_low, level_high), slack);
        let other_beside = within(other_beside, (upright_low, upright_high), slack);
        let is_own = x & 1 == at;
        own[x] = if is_own { c } else { own_beside };
        green[x] = if is_own { green_here } else { c };
        other[x] = if is_own { other_here } else { other_beside };
    }
}

/// Keeps an interpolated value from going far beyond the values around it.
#[inline]
fn within(value: f32, (low, high): (f32, f32), slack: f32) -> f32 {
    let high = least((1.0 + BEYOND) * high + slack, 1.0);
    least(most(value, (1.0 - BEYOND) * low - slack), high)
}

#[inline]
fn span(a: f32, b: f32) -> (f32, f32) {
    (least(a, b), most(a, b))
}

/// As `f32::min`, but for numbers only: one instruction instead of several.
#[inline]
fn least(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// As `f32::max`, but for numbers only.
#[inline]
fn most(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slack at which nothing counts as an edge.
    const LINEAR: f32 = 1e6;

    /// A mosaic of `size + 4` photosites a side of a picture given by its formula.
    fn mosaic(size: usize, colour: impl Fn(usize, f32, f32) -> f32) -> Vec<f32> {
        let side = size + 2 * MARGIN;
        (0..side * side)
            .map(|place| {
                let (x, y) = (place % side, place / side);
                colour(x % 2 + y % 2, x as f32 - 2.0, y as f32 - 2.0)
            })
            .collect()
    }

    fn demosaic(size: usize, mosaic: &[f32]) -> Vec<[Vec<f32>; 3]> {
        let side = size + 2 * MARGIN;
        (0..size)
            .map(|y| {
                let rows = std::array::from_fn(|dy| &mosaic[(y + dy) * side..][..side]);
                let mut to = [vec![0.0; size], vec![0.0; size], vec![0.0; size]];
                row(rows, y, LINEAR, to.each_mut().map(|plane| &mut plane[..]));
                to
            })
            .collect()
    }

    /// The filters reproduce planes exactly, whatever the colours' offsets: the centres
    /// of their corrections vanish on them.
    #[test]
    fn sloping_light_of_any_colour_is_reproduced_exactly() {
        let light =
            |colour: usize, x: f32, y: f32| [0.2, 0.3, 0.25][colour] + 0.004 * x - 0.003 * y;
        for (y, row) in demosaic(20, &mosaic(20, light)).iter().enumerate() {
            for (colour, plane) in row.iter().enumerate() {
                for (x, value) in plane.iter().enumerate() {
                    let exact = light(colour, x as f32, y as f32);
                    assert!((value - exact).abs() < 1e-6, "{colour} at {x}, {y}");
                }
            }
        }
    }

    /// Each photosite of value 8 in the dark spreads by the numbers of the paper's
    /// figure 2; in all, a red one adds 8 to red per its quarter share of the sites.
    #[test]
    fn a_single_red_photosite_spreads_as_in_the_paper() {
        let lit = |_, x: f32, y: f32| f32::from(u8::from(x == 4.0 && y == 4.0)) * 0.8;
        let rows = demosaic(9, &mosaic(9, lit));
        let at =
            |colour: usize, x: usize, y: usize| (rows[y][colour][x] * 10.0 * 4.0).round() / 4.0;
        assert_eq!(
            [at(0, 4, 4), at(0, 5, 4), at(0, 5, 5), at(0, 6, 4)],
            [8.0, 4.0, 2.0, 0.0]
        );
        assert_eq!(
            [at(1, 4, 4), at(1, 6, 4), at(1, 4, 2), at(1, 5, 4)],
            [4.0, -1.0, -1.0, 0.0]
        );
        assert_eq!([at(2, 4, 4), at(2, 6, 4)], [6.0, -1.5]);
    }

    #[test]
    fn nothing_is_brighter_than_a_full_sensor() {
        let edge = |_, x: f32, _| if x < 5.0 { 0.0 } else { 1.0 };
        let rows = demosaic(12, &mosaic(12, edge));
        let brightest = rows
            .iter()
            .flatten()
            .flatten()
            .fold(0.0_f32, |a, b| a.max(*b));
        assert_eq!(brightest, 1.0);
    }

    /// Between black and white columns the plain filters leave every second pixel of the
    /// dark side grey.
    #[test]
    fn an_edge_of_grey_is_not_dotted() {
        let edge = |_: usize, x: f32, _: f32| if x < 6.0 { 0.02 } else { 0.8 };
        let greens = |slack: f32| {
            let light = mosaic(12, edge);
            let mut to = [vec![0.0; 12], vec![0.0; 12], vec![0.0; 12]];
            [4, 5].map(|y| {
                let rows = std::array::from_fn(|dy| &light[(y + dy) * 16..][..16]);
                row(rows, y, slack, to.each_mut().map(|plane| &mut plane[..]));
                to[1][5]
            })
        };
        let apart = |[a, b]: [f32; 2]| (a - b).abs();
        assert!(apart(greens(LINEAR)) > 0.08 && apart(greens(0.001)) < 0.01);
    }
}
