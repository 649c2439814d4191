//! The map from an image to the network's input: one scale, centred.

use super::config::InputSize;
use crate::annotation::BoundingBox;

/// Where an image lies in the network's input. Both keep their aspect.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Letterbox {
    /// Size of the content within the input, in pixels.
    pub content_width: usize,
    pub content_height: usize,
    /// Left and top edge of the content within the input, in pixels.
    pub left: f64,
    pub top: f64,
    /// Input pixels an image pixel, along x and y. They differ by rounding only.
    pub scale_x: f64,
    pub scale_y: f64,
}

impl Letterbox {
    /// Fits an image of `width` x `height` pixels, both at least 1, into `input`.
    pub fn fit(width: u32, height: u32, input: InputSize) -> Self {
        let (width, height) = (f64::from(width.max(1)), f64::from(height.max(1)));
        let scale = (input.width as f64 / width).min(input.height as f64 / height);
        let content_width = ((width * scale).round() as usize).clamp(1, input.width);
        let content_height = ((height * scale).round() as usize).clamp(1, input.height);
        Letterbox {
            content_width,
            content_height,
            left: ((input.width - content_width) / 2) as f64,
            top: ((input.height - content_height) / 2) as f64,
            scale_x: content_width as f64 / width,
            scale_y: content_height as f64 / height,
        }
    }

    /// A box of the image, in input pixels.
    pub fn to_input(&self, b: &BoundingBox) -> BoundingBox {
        BoundingBox {
            x: b.x * self.scale_x + self.left,
            y: b.y * self.scale_y + self.top,
            width: b.width * self.scale_x,
            height: b.height * self.scale_y,
        }
    }

    /// A box of the input, in image pixels.
    pub fn to_image(&self, b: &BoundingBox) -> BoundingBox {
        BoundingBox {
            x: (b.x - self.left) / self.scale_x,
            y: (b.y - self.top) / self.scale_y,
            width: b.width / self.scale_x,
            height: b.height / self.scale_y,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_survive_the_round_trip_and_stay_inside() {
        let input = InputSize {
            height: 192,
            width: 320,
        };
        for (width, height) in [(640, 640), (1333, 211), (37, 901), (320, 192), (1, 1)] {
            let letterbox = Letterbox::fit(width, height, input);
            let whole = BoundingBox::from([0.0, 0.0, f64::from(width), f64::from(height)]);
            let inside = letterbox.to_input(&whole);
            assert!(
                inside.x >= 0.0 && inside.right() <= 320.0 + 1e-9,
                "{inside:?}"
            );
            assert!(
                inside.y >= 0.0 && inside.bottom() <= 192.0 + 1e-9,
                "{inside:?}"
            );
            let touches =
                (inside.width - 320.0).abs() < 1e-9 || (inside.height - 192.0).abs() < 1e-9;
            assert!(touches, "{inside:?} fills one side");
            let b = BoundingBox::from([0.1, 0.2, 0.5, 0.7]);
            let back: [f64; 4] = letterbox.to_image(&letterbox.to_input(&b)).into();
            for (a, b) in back.iter().zip([0.1, 0.2, 0.5, 0.7]) {
                assert!((a - b).abs() < 1e-9, "{back:?}");
            }
        }
    }
}
