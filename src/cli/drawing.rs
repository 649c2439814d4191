//! Boxes and their names, drawn on pictures.

use font8x8::legacy::BASIC_LEGACY;
use image::{Rgb, RgbImage};
use imageproc::drawing::{draw_filled_rect_mut, draw_hollow_rect_mut};
use imageproc::rect::Rect;

use crate::annotation::BoundingBox;

/// One colour a class, in turn.
const COLOURS: [[u8; 3]; 8] = [
    [230, 60, 60],
    [40, 140, 240],
    [30, 170, 80],
    [240, 150, 20],
    [160, 70, 200],
    [0, 180, 180],
    [230, 80, 170],
    [120, 110, 30],
];

/// Side of a character, in pixels.
const GLYPH_PX: i32 = 8;

/// The colour of a class.
pub(super) fn class_colour(class: usize) -> Rgb<u8> {
    Rgb(COLOURS[class % COLOURS.len()])
}

/// Draws the outline of a box, given in pixels of the picture times `scale`, with lines of
/// `line_px` pixels within the box.
pub(super) fn outline(
    image: &mut RgbImage,
    b: &BoundingBox,
    scale: f64,
    colour: Rgb<u8>,
    line_px: u32,
) {
    let at = |value: f64| (value * scale).round() as i32;
    let side = |length: f64| ((length * scale).round() as u32).max(1);
    let (width, height) = (side(b.width), side(b.height));
    for inset in 0..line_px {
        if width <= 2 * inset || height <= 2 * inset {
            break;
        }
        let rect = Rect::at(at(b.x) + inset as i32, at(b.y) + inset as i32)
            .of_size(width - 2 * inset, height - 2 * inset);
        draw_hollow_rect_mut(image, rect, colour);
    }
}

/// Marks a place in the picture: a full square where it shows, else the square's corners.
pub(super) fn keypoint(image: &mut RgbImage, at: [f64; 2], colour: Rgb<u8>, shows: bool) {
    const REACH_PX: i32 = 2;
    let [x0, y0] = at.map(|along| along.floor() as i32);
    for (dx, dy) in
        (-REACH_PX..=REACH_PX).flat_map(|dy| (-REACH_PX..=REACH_PX).map(move |dx| (dx, dy)))
    {
        let is_rim = dx.abs() == REACH_PX || dy.abs() == REACH_PX;
        let is_corner = dx.abs() == REACH_PX && dy.abs() == REACH_PX;
        let colour = match (shows, is_rim, is_corner) {
            // A white rim tells it from an object of its colour.
            (true, true, _) | (false, _, true) => Rgb([255; 3]),
            (true, ..) => colour,
            (false, ..) => continue,
        };
        let place = u32::try_from(x0 + dx).ok().zip(u32::try_from(y0 + dy).ok());
        if let Some(pixel) = place.and_then(|(x, y)| image.get_pixel_mut_checked(x, y)) {
            *pixel = colour;
        }
    }
}

/// Writes `text` on a ground of `colour` above a box, or within it where there is no room
/// above. Characters outside ASCII are shown as `?`.
pub(super) fn label(image: &mut RgbImage, b: &BoundingBox, text: &str, colour: Rgb<u8>) {
    let width = text.chars().count() as i32 * GLYPH_PX + 2;
    let height = GLYPH_PX + 2;
    let room = |side: u32, taken: i32| (side as i32 - taken).max(0);
    let left = (b.x.round() as i32).clamp(0, room(image.width(), width));
    let above = b.y.round() as i32 - height;
    let top = if above >= 0 {
        above
    } else {
        b.y.round() as i32
    };
    let top = top.clamp(0, room(image.height(), height));
    let ground = Rect::at(left, top).of_size(width as u32, height as u32);
    draw_filled_rect_mut(image, ground, colour);
    for (index, character) in text.chars().enumerate() {
        let glyph = BASIC_LEGACY
            .get(character as usize)
            .unwrap_or(&BASIC_LEGACY[usize::from(b'?')]);
        let x0 = left + 1 + index as i32 * GLYPH_PX;
        for (y, row) in glyph.iter().enumerate() {
            for x in (0..GLYPH_PX).filter(|x| row >> x & 1 == 1) {
                // Both are at least zero.
                let (x, y) = ((x0 + x) as u32, (top + 1) as u32 + y as u32);
                if let Some(pixel) = image.get_pixel_mut_checked(x, y) {
                    *pixel = Rgb([255; 3]);
                }
            }
        }
    }
}

/// Writes `text` at the lower left of a tile.
pub(super) fn caption(tile: &mut RgbImage, text: &str) {
    let foot = BoundingBox::from_corners(0.0, f64::from(tile.height()), 0.0, 0.0);
    label(tile, &foot, text, Rgb([0; 3]));
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLOUR: Rgb<u8> = Rgb([200, 0, 0]);

    fn count(image: &RgbImage, colour: Rgb<u8>) -> usize {
        image.pixels().filter(|pixel| **pixel == colour).count()
    }

    #[test]
    fn a_label_stands_above_its_box_and_stays_in_the_picture() {
        let mut image = RgbImage::new(64, 64);
        let b = BoundingBox::from([10.0, 30.0, 20.0, 20.0]);
        label(&mut image, &b, "1", COLOUR);
        let white = count(&image, Rgb([255; 3]));
        assert!((10..40).contains(&white), "{white} pixels of a one");
        assert_eq!(count(&image, COLOUR), 100 - white);
        assert_eq!(*image.get_pixel(10, 20), COLOUR);
        assert_eq!(*image.get_pixel(10, 31), Rgb([0; 3]));
        for place in [[-5.0, -5.0], [60.0, 62.0], [500.0, 500.0]] {
            let mut image = RgbImage::new(64, 64);
            let b = BoundingBox::from([place[0], place[1], 20.0, 20.0]);
            label(&mut image, &b, "é1", COLOUR);
            let drawn = count(&image, COLOUR) + count(&image, Rgb([255; 3]));
            assert_eq!(drawn, 18 * 10, "{place:?}");
        }
        let mut tiny = RgbImage::new(3, 3);
        label(&mut tiny, &b, "long name", COLOUR);
        assert!(count(&tiny, Rgb([0; 3])) < 9);
    }

    #[test]
    fn an_outline_keeps_within_its_box() {
        let mut image = RgbImage::new(64, 64);
        let b = BoundingBox::from([10.0, 12.0, 20.0, 10.0]);
        outline(&mut image, &b, 2.0, COLOUR, 2);
        assert_eq!(*image.get_pixel(20, 24), COLOUR);
        assert_eq!(*image.get_pixel(59, 43), COLOUR);
        assert_eq!(*image.get_pixel(22, 26), Rgb([0; 3]), "two lines, no more");
        assert_eq!(count(&image, COLOUR), 40 * 20 - 36 * 16);
        outline(
            &mut image,
            &BoundingBox::from([5.0, 5.0, 0.2, 0.2]),
            1.0,
            COLOUR,
            9,
        );
    }
}
