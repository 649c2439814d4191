//! The ways in which a training sees an image: mirrored, zoomed, shifted, recoloured, cut.

use rand::RngExt;

use super::assignment::Target;
use super::config::{InputSize, TrainPlan};
use super::image_store::StoredImage;
use super::letterbox::Letterbox;
use crate::annotation::BoundingBox;
use crate::seed::Generator;

/// What lies around an image, 8-bit sRGB.
const BORDER: f32 = 114.0;

/// Smallest share of an object's area that must stay visible for its label to stay.
const MIN_VISIBLE: f64 = 0.25;

/// Smallest side of an object in input pixels.
pub(super) const MIN_SIDE_PX: f64 = 2.0;

/// Share of the training windows that are laid around an object where there is one.
/// Objects are few pixels of most images; what is far from them has its share too.
const WINDOWS_AT_OBJECTS: f64 = 0.75;

/// Mean and standard deviation of ImageNet's red, green and blue in `0..=1`, which
/// published weights expect the input to be normalised with.
pub(super) const CHANNELS: [(f32, f32); 3] = [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)];

/// Network input of an 8-bit colour.
pub(super) fn normalised(rgb: [f32; 3]) -> [f32; 3] {
    let mut out = rgb;
    for (value, (mean, deviation)) in out.iter_mut().zip(CHANNELS) {
        *value = (*value / 255.0 - mean) / deviation;
    }
    out
}

/// One way to see a training image, drawn and ready to apply.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct View {
    /// The whole letterboxed image.
    input: InputSize,
    /// What is seen of it.
    size: InputSize,
    /// Left and top edge of what is seen, in pixels of the moved input.
    origin: [f64; 2],
    /// Mirrored left and right, top and bottom.
    flip: [bool; 2],
    /// Then mirrored along the diagonal.
    transpose: bool,
    scale: f64,
    /// Shift as a share of the input's width and height.
    shift: [f64; 2],
    brightness: f32,
    contrast: f32,
    saturation: f32,
}

impl View {
    /// The image as it is.
    pub fn plain(input: InputSize) -> View {
        View {
            input,
            size: input,
            origin: [0.0; 2],
            flip: [false; 2],
            transpose: false,
            scale: 1.0,
            shift: [0.0; 2],
            brightness: 1.0,
            contrast: 1.0,
            saturation: 1.0,
        }
    }

    /// Draws how a training sees `image`.
    pub fn draw(plan: &TrainPlan, image: &StoredImage, generator: &mut Generator) -> Self {
        let spec = &plan.augmentation;
        let shift =
            |generator: &mut Generator| spec.translate * (2.0 * generator.random::<f64>() - 1.0);
        let mut view = View {
            flip: [spec.flip_horizontal, spec.flip_vertical]
                .map(|share| generator.random::<f64>() < share),
            scale: spec.scale.sample(generator),
            shift: [shift(generator), shift(generator)],
            brightness: spec.brightness.sample(generator) as f32,
            contrast: spec.contrast.sample(generator) as f32,
            saturation: spec.saturation.sample(generator) as f32,
            transpose: generator.random::<f64>() < spec.transpose,
            ..View::plain(plan.input)
        };
        if let Some(window) = plan.window {
            view.origin = view.window_origin(window, image, generator);
            view.size = window;
        }
        view
    }

    /// Where a window lies: anywhere, or anywhere around the centre of an object.
    fn window_origin(
        &self,
        window: InputSize,
        image: &StoredImage,
        generator: &mut Generator,
    ) -> [f64; 2] {
        let at_object = generator.random::<f64>() < WINDOWS_AT_OBJECTS;
        let objects = &image.targets;
        let centre = (at_object && !objects.is_empty()).then(|| {
            let object = &objects[generator.random_range(0..objects.len())];
            let b = self.moved(&object.bbox);
            [b.x + b.width / 2.0, b.y + b.height / 2.0]
        });
        [0, 1].map(|axis| {
            let side = length(window, axis);
            let last = (length(self.input, axis) - side).max(0.0);
            let (low, high) = match centre {
                Some(centre) => (centre[axis] - side, centre[axis]),
                None => (0.0, last),
            };
            let (low, high) = (low.clamp(0.0, last), high.clamp(0.0, last));
            low + (high - low) * generator.random::<f64>()
        })
    }

    /// The axis of the image that the axis `axis` of the view runs along, and the
    /// other way round.
    fn other(&self, axis: usize) -> usize {
        if self.transpose { 1 - axis } else { axis }
    }

    /// Along the image's axis `axis`, from the input to the view's axis.
    fn forward(&self, axis: usize, value: f64) -> f64 {
        let seen = self.other(axis);
        let (from, to) = (length(self.input, axis), length(self.input, seen));
        let value = if self.flip[axis] { from - value } else { value };
        (value - from / 2.0) * self.scale + to / 2.0 + self.shift[seen] * to - self.origin[seen]
    }

    /// Along the view's axis `seen`, from the view to the input: the inverse of
    /// [`View::forward`].
    fn backward(&self, seen: usize, value: f64) -> f64 {
        let axis = self.other(seen);
        let (from, to) = (length(self.input, axis), length(self.input, seen));
        let value = value + self.origin[seen] - self.shift[seen] * to - to / 2.0;
        let value = value / self.scale + from / 2.0;
        if self.flip[axis] { from - value } else { value }
    }

    /// Where a box of the input is seen; it may reach out of the view.
    pub fn moved(&self, b: &BoundingBox) -> BoundingBox {
        let along = |axis: usize, low: f64, high: f64| {
            let (low, high) = (self.forward(axis, low), self.forward(axis, high));
            (low.min(high), low.max(high))
        };
        let sides = [along(0, b.x, b.right()), along(1, b.y, b.bottom())];
        let ((x0, x1), (y0, y1)) = (sides[self.other(0)], sides[self.other(1)]);
        BoundingBox::from_corners(x0, y0, x1, y1)
    }

    /// The objects that can still be seen, clipped to the view.
    pub fn targets(&self, image: &StoredImage) -> Vec<Target> {
        let seen = |target: &Target| {
            let moved = self.moved(&target.bbox);
            let bbox = moved.clipped_to(length(self.size, 0), length(self.size, 1))?;
            let visible = bbox.area() >= MIN_VISIBLE * moved.area();
            let large = bbox.width >= MIN_SIDE_PX && bbox.height >= MIN_SIDE_PX;
            (visible && large).then_some(Target {
                bbox,
                class: target.class,
            })
        };
        image.targets.iter().filter_map(seen).collect()
    }

    /// Draws the image into `pixels` (`[height, width, 3]` of the view, normalised) with
    /// bilinear interpolation.
    pub fn render(&self, image: &StoredImage, pixels: &mut [f32]) {
        let columns = self.taps(0, &image.letterbox);
        let rows = self.taps(1, &image.letterbox);
        let line = image.letterbox.content_width * 3;
        for (row, out) in rows
            .iter()
            .zip(pixels.chunks_exact_mut(self.size.width * 3))
        {
            for (column, out) in columns.iter().zip(out.chunks_exact_mut(3)) {
                let (Some(row), Some(column)) = (row, column) else {
                    out.copy_from_slice(&normalised([BORDER; 3]));
                    continue;
                };
                let (x, y) = if self.transpose {
                    (row, column)
                } else {
                    (column, row)
                };
                let mut rgb = [0.0f32; 3];
                for (channel, value) in rgb.iter_mut().enumerate() {
                    let at =
                        |y: usize, x: usize| f32::from(image.pixels[y * line + x * 3 + channel]);
                    let mix = |a: f32, b: f32, share: f32| a + (b - a) * share;
                    let above = mix(at(y.0, x.0), at(y.0, x.1), x.2);
                    let below = mix(at(y.1, x.0), at(y.1, x.1), x.2);
                    *value = mix(above, below, y.2);
                }
                out.copy_from_slice(&normalised(self.coloured(rgb)));
            }
        }
    }

    /// What objects cover in the view, `[height, width]`, in `0..=1`. The image must have been
    /// read with its mask.
    pub fn mask(&self, image: &StoredImage) -> Vec<f32> {
        let columns = self.taps(0, &image.letterbox);
        let rows = self.taps(1, &image.letterbox);
        let width = image.letterbox.content_width;
        let mut out = Vec::with_capacity(rows.len() * columns.len());
        for (row, column) in rows
            .iter()
            .flat_map(|row| columns.iter().map(move |c| (row, c)))
        {
            let (Some(row), Some(column)) = (row, column) else {
                out.push(0.0);
                continue;
            };
            let (x, y) = if self.transpose {
                (row, column)
            } else {
                (column, row)
            };
            let at = |x: usize, y: usize| f32::from(image.mask[y * width + x]) / 255.0;
            let mix = |a: f32, b: f32, share: f32| a + (b - a) * share;
            let above = mix(at(x.0, y.0), at(x.1, y.0), x.2);
            let below = mix(at(x.0, y.1), at(x.1, y.1), x.2);
            out.push(mix(above, below, y.2));
        }
        out
    }

    /// For each pixel along the view's axis `seen` the two source pixels and the share of
    /// the second, or `None` outside the image.
    fn taps(&self, seen: usize, letterbox: &Letterbox) -> Vec<Option<(usize, usize, f32)>> {
        let (first, content) = match self.other(seen) {
            0 => (letterbox.left, letterbox.content_width),
            _ => (letterbox.top, letterbox.content_height),
        };
        let tap = |index: usize| {
            let place = self.backward(seen, index as f64 + 0.5) - first;
            (0.0..content as f64).contains(&place).then(|| {
                let place = (place - 0.5).clamp(0.0, (content - 1) as f64);
                let low = place as usize;
                (low, (low + 1).min(content - 1), (place - low as f64) as f32)
            })
        };
        (0..length(self.size, seen) as usize).map(tap).collect()
    }

    /// Applies saturation, contrast and brightness to an 8-bit colour.
    fn coloured(&self, [r, g, b]: [f32; 3]) -> [f32; 3] {
        // Luma of ITU-R BT.601.
        let grey = 0.299 * r + 0.587 * g + 0.114 * b;
        [r, g, b].map(|value| {
            let value = grey + (value - grey) * self.saturation;
            let value = 127.5 + (value - 127.5) * self.contrast;
            (value * self.brightness).clamp(0.0, 255.0)
        })
    }
}

/// An image as it is, for the network: `[height, width, 3]`, normalised.
pub(super) fn plain_input(letterbox: Letterbox, pixels: Vec<u8>, input: InputSize) -> Vec<f32> {
    let image = StoredImage {
        letterbox,
        pixels,
        targets: Vec::new(),
        crowds: Vec::new(),
        is_real: true,
        mask: Vec::new(),
    };
    let mut out = vec![0.0; input.height * input.width * 3];
    View::plain(input).render(&image, &mut out);
    out
}

/// Length along x (0) or y (1), in pixels.
fn length(size: InputSize, axis: usize) -> f64 {
    [size.width, size.height][axis] as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detector::TrainSpec;
    use crate::detector::config::AugmentationSpec;
    use crate::detector::image_store::red_box;
    use crate::seed::SeedKey;

    const INPUT: InputSize = InputSize {
        height: 64,
        width: 64,
    };

    #[test]
    fn boxes_follow_the_pixels() {
        let image = red_box(true);
        for window in [None, Some((64, 32))] {
            let (height, width) = window.unwrap_or((64, 64));
            let spec = TrainSpec {
                input: INPUT,
                window: window.map(|(height, width)| InputSize { height, width }),
                augmentation: AugmentationSpec {
                    flip_vertical: 0.5,
                    transpose: 0.5,
                    ..AugmentationSpec::default()
                },
                ..TrainSpec::default()
            };
            let plan = spec.into_plan("test".as_ref()).unwrap();
            let mut seen = 0;
            for index in 0..60 {
                let mut generator = SeedKey::new(b"view", 0).generator("view", index);
                let view = View {
                    brightness: 1.0,
                    contrast: 1.0,
                    saturation: 1.0,
                    ..View::draw(&plan, &image, &mut generator)
                };
                let Some(bounds) = red_bounds(&view, &image, width, height) else {
                    continue;
                };
                let mut pixels = vec![0.0; height * width * 3];
                view.render(&image, &mut pixels);
                for (pixel, share) in pixels.chunks_exact(3).zip(view.mask(&image)) {
                    let red = normalised([255.0 * share, 0.0, 0.0])[0];
                    let is_border = (pixel[1] - normalised([0.0; 3])[1]).abs() > 1e-6;
                    assert!(is_border || (pixel[0] - red).abs() < 0.02, "{view:?}");
                    assert!(!is_border || share == 0.0, "{view:?}");
                }
                for Target { bbox: b, .. } in view.targets(&image) {
                    let corners = [b.x, b.y, b.right(), b.bottom()];
                    for (corner, bound) in corners.iter().zip(bounds) {
                        assert!((corner - bound).abs() <= 1.0, "{view:?}: {b:?} {bounds:?}");
                    }
                    seen += 1;
                }
            }
            assert!(seen > 40, "{seen}");
        }
    }

    /// Left, top, right and bottom of what is red in a view.
    fn red_bounds(
        view: &View,
        image: &StoredImage,
        width: usize,
        height: usize,
    ) -> Option<[f64; 4]> {
        let mut pixels = vec![0.0; height * width * 3];
        view.render(image, &mut pixels);
        let red = |&(x, y): &(usize, usize)| {
            let at = (y * width + x) * 3;
            pixels[at] > 0.0 && pixels[at + 1] < -1.0
        };
        let places: Vec<_> = (0..height)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .filter(red)
            .collect();
        let x = || places.iter().map(|place| place.0);
        let y = || places.iter().map(|place| place.1);
        let bounds = [x().min()?, y().min()?, x().max()? + 1, y().max()? + 1];
        Some(bounds.map(|bound| bound as f64))
    }

    #[test]
    fn the_plain_view_changes_no_pixel() {
        let image = red_box(true);
        let out = plain_input(image.letterbox, image.pixels.clone(), INPUT);
        let wanted: Vec<f32> = image
            .pixels
            .chunks_exact(3)
            .flat_map(|rgb| normalised([rgb[0], rgb[1], rgb[2]].map(f32::from)))
            .collect();
        assert_eq!(out, wanted);
    }
}
