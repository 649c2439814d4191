//! Lines of text as pictures, in a font of strokes.

use glam::Vec2;
use image::{GrayImage, Luma};

/// Strokes of each character and how wide they are in all. The capitals' height is 100, the
/// origin is at the left end of the line that they stand on, y goes up.
///
/// `m` begins a line through points; of one point it is a dot. `a` is an arc: centre, radii,
/// and its two ends in degrees, counter-clockwise from the right.
#[rustfmt::skip]
const GLYPHS: [(char, i32, &str); 90] = [
    (' ', 14, ""),
    ('A', 60, "m 0 0 30 100 60 0 m 11 36 49 36"),
    ('B', 60, "m 0 0 0 100 34 100 a 34 77 23 23 -90 90 m 0 54 36 54 a 36 27 24 27 -90 90 m 36 0 0 0"),
    ('C', 54, "a 32 50 32 50 50 310"),
    ('D', 60, "m 0 0 0 100 25 100 a 25 50 35 50 -90 90 m 25 0 0 0"),
    ('E', 50, "m 50 0 0 0 0 100 50 100 m 0 52 43 52"),
    ('F', 48, "m 0 0 0 100 48 100 m 0 52 41 52"),
    ('G', 62, "a 32 50 32 50 50 348 m 63 40 63 48 40 48"),
    ('H', 58, "m 0 0 0 100 m 58 0 58 100 m 0 52 58 52"),
    ('I', 0, "m 0 0 0 100"),
    ('J', 38, "m 38 100 38 24 a 19 24 19 24 180 360"),
    ('K', 56, "m 0 0 0 100 m 54 100 0 38 m 18 59 56 0"),
    ('L', 48, "m 0 100 0 0 48 0"),
    ('M', 72, "m 0 0 0 100 36 30 72 100 72 0"),
    ('N', 58, "m 0 0 0 100 58 0 58 100"),
    ('O', 66, "a 33 50 33 50 0 360"),
    ('P', 58, "m 0 0 0 100 32 100 a 32 73 26 27 -90 90 m 32 46 0 46"),
    ('Q', 68, "a 33 50 33 50 0 360 m 42 24 68 -6"),
    ('R', 58, "m 0 0 0 100 32 100 a 32 73 26 27 -90 90 m 32 46 0 46 m 30 46 58 0"),
    ('S', 58, "a 29 75 27 25 40 270 a 29 25 29 25 -140 90"),
    ('T', 60, "m 0 100 60 100 m 30 0 30 100"),
    ('U', 58, "m 0 100 0 30 a 29 30 29 30 180 360 m 58 30 58 100"),
    ('V', 60, "m 0 100 30 0 60 100"),
    ('W', 86, "m 0 100 21 0 43 88 65 0 86 100"),
    ('X', 56, "m 0 0 56 100 m 0 100 56 0"),
    ('Y', 58, "m 0 100 29 46 58 100 m 29 46 29 0"),
    ('Z', 56, "m 2 100 54 100 0 0 56 0"),
    ('0', 54, "a 27 50 27 50 0 360"),
    ('1', 26, "m 0 78 26 100 26 0"),
    ('2', 54, "a 27 72 26 28 -28 172 m 50 59 0 0 54 0"),
    ('3', 54, "a 26 76 24 24 -90 150 m 16 52 26 52 a 26 26 28 26 -150 90"),
    ('4', 56, "m 41 0 41 100 0 30 56 30"),
    ('5', 54, "m 50 100 9 100 5 54 a 27 33 27 33 -150 139"),
    ('6', 54, "a 27 32 27 32 0 360 a 50 32 50 68 96 180"),
    ('7', 54, "m 0 100 54 100 18 0"),
    ('8', 54, "a 27 76 23 24 0 360 a 27 26 27 26 0 360"),
    ('9', 54, "a 27 68 27 32 0 360 a 4 68 50 68 -84 0"),
    ('a', 50, "a 25 34 25 34 0 360 m 50 68 50 0"),
    ('b', 50, "m 0 0 0 100 a 25 34 25 34 0 360"),
    ('c', 42, "a 25 34 25 34 50 310"),
    ('d', 50, "a 25 34 25 34 0 360 m 50 0 50 100"),
    ('e', 50, "m 0 34 50 34 a 25 34 25 34 0 312"),
    ('f', 34, "m 14 0 14 78 a 34 78 20 22 90 180 m 0 66 32 66"),
    ('g', 50, "a 25 34 25 34 0 360 m 50 68 50 -6 a 25 -6 25 24 -150 0"),
    ('h', 46, "m 0 0 0 100 a 23 44 23 24 0 180 m 46 44 46 0"),
    ('i', 0, "m 0 0 0 68 m 0 94"),
    ('j', 16, "m 16 68 16 -12 a 0 -12 16 18 270 360 m 16 94"),
    ('k', 44, "m 0 0 0 100 m 42 68 0 26 m 16 42 44 0"),
    ('l', 0, "m 0 0 0 100"),
    ('m', 76, "m 0 0 0 68 a 19 46 19 22 0 180 m 38 46 38 0 a 57 46 19 22 0 180 m 76 46 76 0"),
    ('n', 46, "m 0 0 0 68 a 23 44 23 24 0 180 m 46 44 46 0"),
    ('o', 50, "a 25 34 25 34 0 360"),
    ('p', 50, "m 0 68 0 -30 a 25 34 25 34 0 360"),
    ('q', 50, "a 25 34 25 34 0 360 m 50 68 50 -30"),
    ('r', 34, "m 0 0 0 68 a 24 40 24 28 62 180"),
    ('s', 44, "a 22 51 20 17 40 270 a 22 17 22 17 -140 90"),
    ('t', 34, "m 14 96 14 22 a 32 22 18 22 180 285 m 0 66 32 66"),
    ('u', 46, "m 0 68 0 24 a 23 24 23 24 180 360 m 46 68 46 0"),
    ('v', 46, "m 0 68 23 0 46 68"),
    ('w', 70, "m 0 68 17 0 35 62 53 0 70 68"),
    ('x', 44, "m 0 0 44 68 m 0 68 44 0"),
    ('y', 46, "m 0 68 23 2 m 46 68 12 -30"),
    ('z', 44, "m 2 68 42 68 0 0 44 0"),
    ('.', 0, "m 0 0"),
    (',', 6, "m 6 0 0 -18"),
    (':', 0, "m 0 0 m 0 58"),
    (';', 6, "m 6 0 0 -18 m 6 58"),
    ('-', 32, "m 0 42 32 42"),
    ('+', 52, "m 0 42 52 42 m 26 16 26 68"),
    ('/', 40, "m 0 -8 40 106"),
    ('%', 76, "a 14 82 14 18 0 360 a 62 18 14 18 0 360 m 62 100 14 0"),
    ('(', 16, "a 40 46 40 66 128 232"),
    (')', 16, "a -24 46 40 66 -52 52"),
    ('!', 0, "m 0 100 0 30 m 0 0"),
    ('?', 48, "a 24 75 24 25 -58 170 m 37 54 24 40 24 28 m 24 0"),
    ('#', 70, "m 16 0 28 100 m 42 0 54 100 m 2 34 64 34 m 6 68 68 68"),
    ('&', 66, "a 30 80 17 20 -35 215 m 16 69 66 0 m 44 69 9 42 a 26 24 26 24 132 335 m 50 14 62 38"),
    ('\'', 0, "m 0 100 0 76"),
    ('"', 20, "m 0 100 0 76 m 20 100 20 76"),
    ('*', 40, "m 20 100 20 60 m 3 90 37 70 m 3 70 37 90"),
    ('=', 50, "m 0 54 50 54 m 0 30 50 30"),
    ('_', 56, "m 0 -14 56 -14"),
    ('<', 46, "m 46 70 0 42 46 14"),
    ('>', 46, "m 0 70 46 42 0 14"),
    ('@', 84, "a 42 42 42 56 -60 260 a 42 44 20 24 0 360 m 62 66 62 32 a 73 32 11 12 180 360 m 84 32 84 44"),
    ('$', 58, "a 29 75 27 25 40 270 a 29 25 29 25 -140 90 m 29 114 29 -14"),
    ('\u{b0}', 26, "a 13 86 13 14 0 360"),
    ('\u{d7}', 40, "m 4 24 40 60 m 4 60 40 24"),
    ('|', 0, "m 0 112 0 -22"),
    ('\\', 40, "m 0 106 40 -8"),
];

/// Where the lowest and the highest strokes of a line may lie.
const LOW: f32 = -36.0;
const HIGH: f32 = 118.0;

/// Degrees of an arc between two of the points that it is drawn through.
const STEP_DEG: f32 = 7.5;

/// A stroke's segments and the width of the line in the capitals' hundredths.
struct Line {
    segments: Vec<[Vec2; 2]>,
    width: f32,
}

impl Line {
    fn new(text: &str, weight: f32) -> Self {
        let bearing = 8.0 + 60.0 * weight;
        let mut line = Line {
            segments: Vec::new(),
            width: 0.0,
        };
        for (_, width, strokes) in text.chars().filter_map(glyph) {
            line.width += bearing;
            line.add(strokes);
            line.width += *width as f32 + bearing;
        }
        line
    }

    fn add(&mut self, strokes: &str) {
        let offset = Vec2::new(self.width, 0.0);
        let mut words = strokes.split(' ').peekable();
        while let Some(kind) = words.next() {
            let mut numbers = Vec::new();
            while let Some(number) = words.peek().and_then(|word| word.parse::<f32>().ok()) {
                numbers.push(number);
                words.next();
            }
            let points: Vec<Vec2> = match (kind, numbers.as_slice()) {
                ("a", [x, y, across, up, from, to]) => {
                    let steps = ((to - from) / STEP_DEG).ceil().max(1.0) as usize;
                    let at = |step: usize| {
                        let share = step as f32 / steps as f32;
                        let turn = (from + (to - from) * share).to_radians();
                        Vec2::new(*x, *y) + Vec2::new(*across, *up) * Vec2::from_angle(turn)
                    };
                    (0..=steps).map(at).collect()
                }
                (_, [x, y]) => vec![Vec2::new(*x, *y); 2],
                (_, numbers) => numbers
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .map(|point| Vec2::from(*point))
                    .collect(),
            };
            let pairs = points.windows(2);
            self.segments
                .extend(pairs.map(|pair| [pair[0] + offset, pair[1] + offset]));
        }
    }
}

fn glyph(character: char) -> Option<&'static (char, i32, &'static str)> {
    GLYPHS.iter().find(|(known, ..)| *known == character)
}

/// Height of a picture of a text, and how far its middle lies above that of the capitals, both
/// over the capitals' height.
pub(super) fn frame(weight: f32) -> [f32; 2] {
    [(HIGH - LOW) / 100.0 + weight, (HIGH + LOW) / 200.0 - 0.5]
}

/// Characters of a text that the font lacks, each once.
pub(super) fn missing(text: &str) -> Vec<char> {
    let mut missing: Vec<char> = text.chars().filter(|c| glyph(*c).is_none()).collect();
    missing.sort_unstable();
    missing.dedup();
    missing
}

/// A line of text as a picture of this height: 255 inside strokes, 0 outside. `weight` is the
/// strokes' width over the height of capitals. Characters that the font lacks are left out.
pub(super) fn draw(text: &str, height_px: u32, weight: f32) -> GrayImage {
    let line = Line::new(text, weight);
    let radius = 50.0 * weight;
    let px = height_px as f32 / (100.0 * frame(weight)[0]);
    let width_px = (line.width * px).ceil().max(1.0) as u32;
    let mut picture = GrayImage::new(width_px, height_px);
    // One pixel around a stroke is partly covered.
    let reach = radius * px + 1.0;
    for segment in line.segments {
        let [from, to] = segment.map(|at| Vec2::new(at.x, HIGH + radius - at.y) * px);
        let (low, high) = (from.min(to) - reach, from.max(to) + reach);
        let range = |low: f32, high: f32, size: u32| {
            low.max(0.0) as u32..(high.ceil().max(0.0) as u32).min(size)
        };
        for y in range(low.y, high.y, height_px) {
            for x in range(low.x, high.x, width_px) {
                let at = Vec2::new(x as f32, y as f32) + 0.5;
                let covered = (radius * px - distance(at, from, to) + 0.5).clamp(0.0, 1.0);
                let Luma([before]) = *picture.get_pixel(x, y);
                let now = (covered * 255.0).round() as u8;
                picture.put_pixel(x, y, Luma([before.max(now)]));
            }
        }
    }
    picture
}

/// From a point to a segment.
fn distance(at: Vec2, from: Vec2, to: Vec2) -> f32 {
    let along = to - from;
    let share = (at - from).dot(along) / along.length_squared().max(1e-9);
    at.distance(from + along * share.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_has_ink_of_its_own() {
        let mut seen = std::collections::HashMap::new();
        for (character, ..) in GLYPHS.iter().skip(1) {
            let picture = draw(&character.to_string(), 60, 0.1);
            assert!(picture.contains(&255), "{character}");
            // Ink keeps off the picture's edges.
            let (width, height) = picture.dimensions();
            let edges = picture
                .enumerate_pixels()
                .filter(|(x, y, _)| *x == 0 || *y == 0 || x + 1 == width || y + 1 == height);
            assert!(
                edges.into_iter().all(|(.., ink)| ink.0 == [0]),
                "{character}"
            );
            let other = seen.insert(picture.into_raw(), *character);
            // Only these two are alike.
            assert!(
                other.is_none() || (other, *character) == (Some('I'), 'l'),
                "{character}"
            );
        }
    }

    #[test]
    fn strokes_are_as_long_and_wide_as_said() {
        let ink = |text: &str, weight: f32| -> f32 {
            let picture = draw(text, 292, weight);
            let px = 292.0 / (HIGH - LOW + 100.0 * weight);
            picture
                .iter()
                .map(|value| f32::from(*value) / 255.0)
                .sum::<f32>()
                / (px * px)
        };
        for weight in [0.08_f32, 0.2] {
            let wide = 100.0 * weight;
            let ends = std::f32::consts::PI * (wide / 2.0).powi(2);
            for (text, length) in [("I", 100.0), ("-", 32.0), (".", 0.0)] {
                let (found, expected) = (ink(text, weight), length * wide + ends);
                assert!(
                    (found / expected - 1.0).abs() < 0.02,
                    "{text}: {found}, {expected}"
                );
            }
        }
    }

    #[test]
    fn longer_texts_are_wider_and_lines_align() {
        let width = |text: &str| draw(text, 100, 0.12).width();
        assert!(width("AB") > width("A") && width("A B") > width("AB"));
        assert_eq!(missing("Stop 50 €é€"), ['é', '€']);
        // The lowest ink of letters without a descender is on one line.
        let lowest = |text: &str| {
            let picture = draw(text, 146, 0.1);
            let inked = picture
                .enumerate_pixels()
                .filter(|(.., ink)| ink.0[0] > 127);
            inked.map(|(_, y, _)| y).max().unwrap()
        };
        assert_eq!(lowest("H"), lowest("x"));
        assert!(lowest("p") > lowest("x") + 20);
    }
}
