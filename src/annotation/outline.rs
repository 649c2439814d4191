//! The outline of an object, as COCO files keep it in `segmentation`.

use hotcoco::{Rle, mask};
use serde_json::{Value, json};

use super::BoundingBox;

/// Corners in pixels, `[x, y]`; the last is joined to the first.
pub type Polygon = Vec<[f64; 2]>;

/// The pixels of an object.
#[derive(Debug, Clone)]
pub enum Outline {
    /// The union of polygons.
    Polygons(Vec<Polygon>),
    /// A run-length mask of the image's size.
    Mask {
        rle: Rle,
        /// Whether it was read from COCO's compressed text.
        compressed: bool,
    },
}

impl Outline {
    /// Reads the value of `segmentation`. `size` is the image's, `[width, height]` in pixels.
    /// `None` for what is neither polygons nor a mask of that size.
    pub fn parse(value: &Value, size: [u32; 2]) -> Option<Self> {
        match value {
            Value::Array(_) => polygons_of(value),
            _ => mask_of(value, size),
        }
    }

    /// The mask of the pixels within `bbox` that are on, in an image of `size`, `[width,
    /// height]` in pixels. It is written compressed, as pycocotools does.
    pub fn of_pixels(
        [width, height]: [u32; 2],
        bbox: &BoundingBox,
        is_on: impl Fn(u32, u32) -> bool,
    ) -> Self {
        let range = |low: f64, high: f64, most: u32| {
            let bound = |value: f64| value.clamp(0.0, f64::from(most)) as u32;
            bound(low.floor())..bound(high.ceil())
        };
        // Runs go down one column after another, off and on by turns.
        let (mut counts, mut end, mut run) = (Vec::new(), 0, 0);
        for x in range(bbox.x, bbox.right(), width) {
            for y in range(bbox.y, bbox.bottom(), height).filter(|y| is_on(x, *y)) {
                let place = x * height + y;
                if run > 0 && place == end {
                    run += 1;
                } else {
                    counts.extend((run > 0).then_some(run));
                    counts.push(place - end);
                    run = 1;
                }
                end = place + 1;
            }
        }
        counts.extend((run > 0).then_some(run));
        counts.extend((width * height > end).then_some(width * height - end));
        let (h, w) = (height, width);
        Outline::Mask {
            rle: Rle { h, w, counts },
            compressed: true,
        }
    }

    /// The box around the outline; `None` where it has no pixels.
    pub fn extent(&self) -> Option<BoundingBox> {
        match self {
            Outline::Polygons(polygons) => {
                let points = || polygons.iter().flatten();
                let low = |axis: usize| points().map(|p| p[axis]).fold(f64::INFINITY, f64::min);
                let high =
                    |axis: usize| points().map(|p| p[axis]).fold(f64::NEG_INFINITY, f64::max);
                let (left, top) = (low(0), low(1));
                left.is_finite()
                    .then(|| BoundingBox::from_corners(left, top, high(0), high(1)))
            }
            Outline::Mask { rle, .. } => (mask::area(rle) > 0).then(|| mask::to_bbox(rle).into()),
        }
    }

    /// Marks the object's pixels in `canvas`, an image of `[width, height]` pixels, row by row,
    /// onto which the whole of the image, whose size is `from`, is scaled.
    pub fn draw(&self, canvas: &mut [u8], [width, height]: [usize; 2], from: [u32; 2]) {
        let scale = [
            width as f64 / f64::from(from[0]),
            height as f64 / f64::from(from[1]),
        ];
        let polygon = |polygon: &Polygon| -> Vec<f64> {
            let points = polygon.iter();
            points
                .flat_map(|[x, y]| [x * scale[0], y * scale[1]])
                .collect()
        };
        let (rle, step) = match self {
            Outline::Polygons(polygons) => {
                let scaled: Vec<Vec<f64>> = polygons.iter().map(polygon).collect();
                match mask::fr_polys(&scaled, height as u32, width as u32) {
                    Ok(rle) => (rle, [1.0; 2]),
                    Err(_) => return,
                }
            }
            Outline::Mask { rle, .. } => (rle.clone(), scale),
        };
        // Column by column.
        let source = mask::decode(&rle);
        for (y, line) in canvas.chunks_exact_mut(width).enumerate() {
            for (x, pixel) in line.iter_mut().enumerate() {
                let place =
                    |index: usize, axis: usize| ((index as f64 + 0.5) / step[axis]) as usize;
                if source[place(x, 0) * rle.h as usize + place(y, 1)] != 0 {
                    *pixel = u8::MAX;
                }
            }
        }
    }

    /// As in COCO files; a mask is written as it was read, compressed or not.
    pub fn to_json(&self) -> Value {
        match self {
            Outline::Polygons(polygons) => polygons
                .iter()
                .map(|polygon| polygon.iter().flatten().copied().collect::<Vec<f64>>())
                .collect::<Vec<_>>()
                .into(),
            Outline::Mask { rle, compressed } => {
                let counts = if *compressed {
                    json!(mask::rle_to_string(rle))
                } else {
                    json!(rle.counts)
                };
                json!({"size": [rle.h, rle.w], "counts": counts})
            }
        }
    }
}

/// Finite numbers of a flat list.
pub fn numbers(value: &Value) -> Option<Vec<f64>> {
    let items = value.as_array()?;
    items
        .iter()
        .map(|item| item.as_f64().filter(|number| number.is_finite()))
        .collect()
}

fn polygons_of(value: &Value) -> Option<Outline> {
    let polygons: Option<Vec<Polygon>> = value
        .as_array()?
        .iter()
        .map(|polygon| {
            let flat = numbers(polygon)?;
            let pairs = flat.len() >= 6 && flat.len() % 2 == 0;
            pairs.then(|| flat.chunks_exact(2).map(|p| [p[0], p[1]]).collect())
        })
        .collect();
    polygons.map(Outline::Polygons)
}

/// A run-length mask, which must have the size of the image.
fn mask_of(value: &Value, [width, height]: [u32; 2]) -> Option<Outline> {
    let size = numbers(value.get("size")?)?;
    if size != [f64::from(height), f64::from(width)] {
        return None;
    }
    let (rle, compressed) = match value.get("counts")? {
        Value::String(text) => (mask::rle_from_string(text, height, width).ok()?, true),
        counts => {
            let counts: Option<Vec<u32>> = numbers(counts)?
                .into_iter()
                .map(|run| (run >= 0.0 && run <= f64::from(u32::MAX)).then_some(run as u32))
                .collect();
            let counts = counts?;
            mask::check_counts(&counts, height, width).ok()?;
            let (h, w) = (height, width);
            (Rle { h, w, counts }, false)
        }
    };
    Some(Outline::Mask { rle, compressed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_masks_of_the_images_size_and_whole_polygons_are_read() {
        let mask = |size: Value, counts: Value| json!({"size": size, "counts": counts});
        let reads = |value: Value| Outline::parse(&value, [3, 2]).is_some();
        assert!(reads(mask(json!([2, 3]), json!([1, 2, 3]))));
        assert!(!reads(mask(json!([3, 2]), json!([1, 2, 3]))));
        assert!(
            !reads(mask(json!([2, 3]), json!([1, 20, 3]))),
            "too many pixels"
        );
        assert!(!reads(mask(json!([2, 3]), json!([-1, 2]))));
        assert!(!reads(mask(json!([2, 3]), json!("\u{1}\u{2}"))));
        assert!(reads(json!([[0, 0, 1, 0, 1, 1]])));
        assert!(!reads(json!([[0, 0, 1, 0]])));
        assert!(!reads(json!([[0, 0, 1, 0, 1]])));
    }

    #[test]
    fn masks_of_pixels_are_those_of_the_encoder() {
        // On a 3x2 image: rows `.##` and `#.#`.
        let rows = [[0, 1, 1], [1, 0, 1]];
        let whole = BoundingBox::from([0.0, 0.0, 3.0, 2.0]);
        let on = |x: u32, y: u32| rows[y as usize][x as usize] == 1;
        let outline = Outline::of_pixels([3, 2], &whole, on);
        let Outline::Mask { rle, .. } = &outline else {
            panic!("a mask is made");
        };
        // Down the columns: off, then three on from the second pixel, one off, two on.
        assert_eq!(rle.counts, [1, 2, 1, 2]);
        // As pycocotools 2.0 encodes them.
        assert_eq!(outline.to_json(), json!({"size": [2, 3], "counts": "1210"}));
        let corner = BoundingBox::from([0.0, 0.0, 1.0, 1.0]);
        for (bbox, counts) in [(&whole, vec![0, 6]), (&corner, vec![0, 1, 5])] {
            let Outline::Mask { rle, .. } = Outline::of_pixels([3, 2], bbox, |_, _| true) else {
                panic!("a mask is made");
            };
            assert_eq!(rle.counts, counts);
        }
        // A disc, against the library's own encoder.
        let disc = |x: u32, y: u32| (x as i32 - 20).pow(2) + (y as i32 - 9).pow(2) < 70;
        let bbox = BoundingBox::from([5.0, 0.0, 30.0, 19.0]);
        let outline = Outline::of_pixels([40, 19], &bbox, disc);
        let columns = (0..40).flat_map(|x| (0..19).map(move |y| u8::from(disc(x, y))));
        let expected = mask::encode(&columns.collect::<Vec<_>>(), 19, 40).unwrap();
        let Outline::Mask { rle, .. } = &outline else {
            panic!("a mask is made");
        };
        assert_eq!(rle.counts, expected.counts);
        let json = outline.to_json();
        assert_eq!(Outline::parse(&json, [40, 19]).unwrap().to_json(), json);
    }

    #[test]
    fn polygons_and_masks_are_drawn_at_another_size() {
        // The right half of the lower half of an image of 8x4 pixels.
        let polygon = json!([[4, 2, 8, 2, 8, 4, 4, 4]]);
        let columns: Vec<u32> = vec![16 + 2, 2, 2, 2, 2, 2, 2, 2];
        let mask = json!({"size": [4, 8], "counts": columns});
        for (value, [width, height]) in [(&polygon, [16, 8]), (&mask, [16, 8]), (&mask, [4, 2])] {
            let outline = Outline::parse(value, [8, 4]).unwrap();
            let mut canvas = vec![0; width * height];
            outline.draw(&mut canvas, [width, height], [8, 4]);
            for (index, pixel) in canvas.iter().enumerate() {
                let (x, y) = (index % width, index / width);
                let inside = x >= width / 2 && y >= height / 2;
                assert_eq!(*pixel == u8::MAX, inside, "{value}: {x}, {y}");
            }
        }
    }
}
