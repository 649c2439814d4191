//! What the images of a sheet are like, in numbers, to compare renders with photographs.

use std::collections::BTreeMap;

use image::RgbImage;
use serde::Serialize;

use crate::annotation::{Annotation, Category};

/// Measures of the images that were added.
#[derive(Debug, Default)]
pub(super) struct Figures {
    per_image: Vec<f64>,
    /// Longer side of each box over that of its image.
    sides: Vec<f64>,
    classes: BTreeMap<u32, usize>,
    mean_rgb: Vec<[f64; 3]>,
    contrast: Vec<f64>,
}

/// The 10 %, 50 % and 90 % points.
type Spread = [f64; 3];

/// What is printed.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub images: usize,
    pub boxes: usize,
    pub boxes_an_image: Spread,
    /// Longer side of a box at an image width of 320 pixels (of its longer side).
    pub box_side_px_at_320: Spread,
    /// Share of the boxes, by class name.
    pub classes: BTreeMap<String, f64>,
    /// Mean over the images of their mean colours, in 0..=255.
    pub mean_rgb: [f64; 3],
    /// Standard deviation of an image's grey values, in 0..=255.
    pub contrast: Spread,
}

impl Figures {
    pub(super) fn add(&mut self, image: &RgbImage, boxes: &[Annotation]) {
        let longer = f64::from(image.width().max(image.height()).max(1));
        self.per_image.push(boxes.len() as f64);
        for object in boxes {
            let side = object.bbox.width.max(object.bbox.height);
            self.sides.push(side / longer);
            *self.classes.entry(object.category_id).or_default() += 1;
        }
        let pixels = f64::from(image.width()) * f64::from(image.height());
        let (mut sum, mut grey_sum, mut grey_squares) = ([0.0; 3], 0.0, 0.0);
        for pixel in image.pixels() {
            let rgb = pixel.0.map(f64::from);
            let grey = rgb.iter().sum::<f64>() / 3.0;
            grey_sum += grey;
            grey_squares += grey * grey;
            for (total, value) in sum.iter_mut().zip(rgb) {
                *total += value;
            }
        }
        let mean = grey_sum / pixels;
        self.contrast
            .push((grey_squares / pixels - mean * mean).max(0.0).sqrt());
        self.mean_rgb.push(sum.map(|total| total / pixels));
    }

    pub(super) fn summary(self, categories: &[Category]) -> Summary {
        let (images, boxes) = (self.per_image.len(), self.sides.len());
        let share = |category: &Category| {
            let count = self.classes.get(&category.id).copied().unwrap_or(0);
            let share = count as f64 / boxes.max(1) as f64;
            (category.name.clone(), rounded(share, 1000.0))
        };
        let mean = |channel: usize| {
            let sum: f64 = self.mean_rgb.iter().map(|rgb| rgb[channel]).sum();
            rounded(sum / images.max(1) as f64, 10.0)
        };
        let sides = self.sides.iter().map(|share| share * 320.0).collect();
        Summary {
            images,
            boxes,
            classes: categories.iter().map(share).collect(),
            mean_rgb: [mean(0), mean(1), mean(2)],
            boxes_an_image: spread(self.per_image),
            box_side_px_at_320: spread(sides),
            contrast: spread(self.contrast),
        }
    }
}

fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

/// Order statistics, without interpolation; zeros where there are no values.
fn spread(mut values: Vec<f64>) -> Spread {
    values.sort_by(f64::total_cmp);
    [0.1, 0.5, 0.9].map(|share| {
        let index = (share * values.len().saturating_sub(1) as f64).round();
        values
            .get(index as usize)
            .map_or(0.0, |value| rounded(*value, 10.0))
    })
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let three = |[low, middle, high]: Spread| format!("{low} / {middle} / {high}");
        writeln!(
            f,
            "{} images, {} boxes (10 % / median / 90 %)",
            self.images, self.boxes
        )?;
        writeln!(f, "boxes an image           {}", three(self.boxes_an_image))?;
        writeln!(
            f,
            "box side at 320 px       {}",
            three(self.box_side_px_at_320)
        )?;
        writeln!(f, "contrast                 {}", three(self.contrast))?;
        let [red, green, blue] = self.mean_rgb;
        writeln!(f, "mean colour              {red} {green} {blue}")?;
        let classes = self.classes.iter();
        let classes: Vec<String> = classes.map(|(name, s)| format!("{name} {s}")).collect();
        write!(f, "classes                  {}", classes.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotation::BoundingBox;

    #[test]
    fn figures_of_known_images() {
        let mut figures = Figures::default();
        let half = |x: u32| image::Rgb(if x < 32 { [0; 3] } else { [200; 3] });
        let image = RgbImage::from_fn(64, 32, |x, _| half(x));
        let object = |category_id, bbox: [f64; 4]| Annotation {
            id: 0,
            category_id,
            bbox: BoundingBox::from(bbox),
            area: 0.0,
            is_crowd: false,
            extra: serde_json::Map::new(),
        };
        figures.add(
            &image,
            &[
                object(1, [0.0, 0.0, 8.0, 4.0]),
                object(2, [0.0, 0.0, 4.0, 16.0]),
                object(2, [0.0, 0.0, 4.0, 12.0]),
            ],
        );
        let category = |(id, name): (u32, &str)| Category {
            id,
            name: name.to_owned(),
            ..Category::default()
        };
        let summary = figures.summary(&[(1, "a"), (2, "b"), (3, "c")].map(category));
        assert_eq!((summary.images, summary.boxes), (1, 3));
        assert_eq!(summary.box_side_px_at_320, [40.0, 60.0, 80.0]);
        assert_eq!(summary.contrast[1], 100.0);
        assert_eq!(summary.mean_rgb, [100.0; 3]);
        let shares: Vec<f64> = summary.classes.values().copied().collect();
        assert_eq!(shares, [0.333, 0.667, 0.0]);
    }
}
