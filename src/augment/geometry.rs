//! Where pixels go: affine maps, and images resampled through them.

use image::{ImageBuffer, Luma, Rgb};

use super::Transform;
use super::photometric::Linear;

/// An affine map of pixel coordinates, whose origin is the outer corner of the top left
/// pixel: `x' = a x + b y + c`, `y' = d x + e y + f`, stored as `[a, b, c, d, e, f]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Affine([f64; 6]);

impl Affine {
    pub fn scale(x: f64, y: f64) -> Self {
        Affine([x, 0.0, 0.0, 0.0, y, 0.0])
    }

    /// This map, and then another.
    pub fn then(&self, next: &Self) -> Self {
        let ([a, b, c, d, e, f], n) = (self.0, next.0);
        Affine([
            n[0] * a + n[1] * d,
            n[0] * b + n[1] * e,
            n[0] * c + n[1] * f + n[2],
            n[3] * a + n[4] * d,
            n[3] * b + n[4] * e,
            n[3] * c + n[4] * f + n[5],
        ])
    }

    pub fn point(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let [a, b, c, d, e, f] = self.0;
        [a * x + b * y + c, d * x + e * y + f]
    }

    /// Factor by which areas grow; negative where left and right are swapped.
    pub fn determinant(&self) -> f64 {
        let [a, b, _, d, e, _] = self.0;
        a * e - b * d
    }

    pub fn inverse(&self) -> Self {
        let [a, b, c, d, e, f] = self.0;
        let determinant = self.determinant();
        let [a, b, d, e] = [e, -b, -d, a].map(|value| value / determinant);
        Affine([a, b, -(a * c + b * f), d, e, -(d * c + e * f)])
    }

    /// Whether each pixel covers exactly one afterwards, as in flips and crops.
    fn moves_whole_pixels(&self) -> bool {
        let [a, _, c, _, e, f] = self.0;
        let whole = c.fract() == 0.0 && f.fract() == 0.0;
        self.keeps_boxes_upright() && a.abs() == 1.0 && e.abs() == 1.0 && whole
    }

    /// Whether upright boxes stay upright boxes.
    pub fn keeps_boxes_upright(&self) -> bool {
        self.0[1] == 0.0 && self.0[3] == 0.0
    }
}

/// Where the pixels of an image go, and the size of the image that they go to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Motion {
    pub map: Affine,
    /// Width and height, in pixels.
    pub size: [u32; 2],
}

impl Motion {
    /// What one transform does to an image of `size` pixels; `None` for one that moves
    /// nothing.
    pub fn of(transform: &Transform, size: [u32; 2]) -> Option<Self> {
        let [width, height] = size.map(f64::from);
        let (map, size) = match transform {
            Transform::FlipHorizontal { .. } => ([-1.0, 0.0, width, 0.0, 1.0, 0.0], size),
            Transform::FlipVertical { .. } => ([1.0, 0.0, 0.0, 0.0, -1.0, height], size),
            Transform::Affine {
                rotate_deg,
                scale,
                shear_deg,
                translate,
                ..
            } => {
                let (sin, cos) = rotate_deg.to_radians().sin_cos();
                let shear = shear_deg.to_radians().tan();
                let [a, b] = [scale * cos, scale * (cos * shear - sin)];
                let [d, e] = [scale * sin, scale * (sin * shear + cos)];
                let (cx, cy) = (width / 2.0, height / 2.0);
                let c = cx - a * cx - b * cy + translate[0] * width;
                let f = cy - d * cx - e * cy + translate[1] * height;
                ([a, b, c, d, e, f], size)
            }
            Transform::Crop {
                width: share_x,
                height: share_y,
                x,
                y,
                ..
            } => {
                let cut = [part(size[0], *share_x), part(size[1], *share_y)];
                let left = (f64::from(size[0] - cut[0]) * x).round();
                let top = (f64::from(size[1] - cut[1]) * y).round();
                ([1.0, 0.0, -left, 0.0, 1.0, -top], cut)
            }
            Transform::Resize { factor } => {
                let to = size.map(|side| part(side, *factor));
                let [x, y] = [f64::from(to[0]) / width, f64::from(to[1]) / height];
                return Some(Motion {
                    map: Affine::scale(x, y),
                    size: to,
                });
            }
            _ => return None,
        };
        Some(Motion {
            map: Affine(map),
            size,
        })
    }

    /// What all transforms together do to an image of `size` pixels.
    pub fn of_all(transforms: &[Transform], size: [u32; 2]) -> Option<Self> {
        transforms.iter().fold(None, |whole: Option<Motion>, next| {
            let size = whole.map_or(size, |whole| whole.size);
            match (whole, Motion::of(next, size)) {
                (Some(whole), Some(next)) => Some(Motion {
                    map: whole.map.then(&next.map),
                    size: next.size,
                }),
                (whole, next) => next.or(whole),
            }
        })
    }
}

/// A part of a side, in whole pixels, at least one.
pub(super) fn part(side: u32, share: f64) -> u32 {
    ((f64::from(side) * share).round() as u32).clamp(1, side.max(1))
}

/// Resamples with bilinear weights; what comes from outside is black. Where the image
/// shrinks, several places a pixel are averaged, so that fine structure does not alias.
pub(super) fn warp(image: &Linear, motion: &Motion) -> Linear {
    let back = motion.map.inverse();
    if back.moves_whole_pixels() {
        return Linear::from_fn(motion.size[0], motion.size[1], |x, y| {
            let [x, y] = back.point([f64::from(x) + 0.5, f64::from(y) + 0.5]);
            let outside = Rgb([0.0; 3]);
            let inside = x >= 0.0 && y >= 0.0;
            let pixel = image.get_pixel_checked(x as u32, y as u32);
            *pixel.filter(|_| inside).unwrap_or(&outside)
        });
    }
    let shrink = motion.map.determinant().abs().sqrt().recip();
    let places = (shrink - 1e-6).ceil().clamp(1.0, 8.0) as u32;
    let offsets: Vec<f64> = (0..places)
        .map(|i| (f64::from(i) + 0.5) / f64::from(places))
        .collect();
    let weight = 1.0 / (places * places) as f32;
    Linear::from_fn(motion.size[0], motion.size[1], |x, y| {
        let mut sum = [0.0; 3];
        for dy in &offsets {
            for dx in &offsets {
                let from = back.point([f64::from(x) + dx, f64::from(y) + dy]);
                add_bilinear(image, from, weight, &mut sum);
            }
        }
        Rgb(sum)
    })
}

fn add_bilinear(image: &Linear, [x, y]: [f64; 2], weight: f32, sum: &mut [f32; 3]) {
    let (x, y) = (x - 0.5, y - 0.5);
    let (width, height) = (f64::from(image.width()), f64::from(image.height()));
    if x <= -1.0 || y <= -1.0 || x >= width || y >= height {
        return;
    }
    let (left, top) = (x.floor(), y.floor());
    let (u, v) = ((x - left) as f32, (y - top) as f32);
    let shares = [(1.0 - u) * (1.0 - v), u * (1.0 - v), (1.0 - u) * v, u * v];
    let row = 3 * image.width() as usize;
    if left >= 0.0 && top >= 0.0 && left + 1.0 < width && top + 1.0 < height {
        let first = top as usize * row + left as usize * 3;
        let upper = &image.as_raw()[first..first + 6];
        let lower = &image.as_raw()[first + row..first + row + 6];
        for (channel, sum) in sum.iter_mut().enumerate() {
            *sum += weight
                * (shares[0] * upper[channel]
                    + shares[1] * upper[channel + 3]
                    + shares[2] * lower[channel]
                    + shares[3] * lower[channel + 3]);
        }
        return;
    }
    for ((i, j), share) in [(0, 0), (1, 0), (0, 1), (1, 1)].into_iter().zip(shares) {
        let (x, y) = (left as i64 + i, top as i64 + j);
        if let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y))
            && let Some(pixel) = image.get_pixel_checked(x, y)
        {
            for (sum, value) in sum.iter_mut().zip(pixel.0) {
                *sum += weight * share * value;
            }
        }
    }
}

/// Identifiers or depths, of which each new pixel takes the nearest; 0 from outside.
pub(super) fn warp_nearest<T: image::Primitive>(
    image: &ImageBuffer<Luma<T>, Vec<T>>,
    motion: &Motion,
) -> ImageBuffer<Luma<T>, Vec<T>> {
    let back = motion.map.inverse();
    ImageBuffer::from_fn(motion.size[0], motion.size[1], |x, y| {
        let [x, y] = back.point([f64::from(x) + 0.5, f64::from(y) + 0.5]);
        let inside =
            x >= 0.0 && y >= 0.0 && x < f64::from(image.width()) && y < f64::from(image.height());
        if inside {
            *image.get_pixel(x as u32, y as u32)
        } else {
            Luma([T::zero()])
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn affine(rotate_deg: f64, scale: f64, shear_deg: f64, translate: [f64; 2]) -> Transform {
        Transform::Affine {
            rotate_deg,
            scale,
            shear_deg,
            translate,
            min_visible: 0.25,
        }
    }

    fn close([x, y]: [f64; 2], [u, v]: [f64; 2]) {
        assert!(
            (x - u).abs() < 1e-9 && (y - v).abs() < 1e-9,
            "{x}, {y} and {u}, {v}"
        );
    }

    /// Worked by hand for an image of 200 x 100 pixels, whose centre is (100, 50).
    #[test]
    fn points_go_where_they_should() {
        let at = |transform: &Transform, point| {
            Motion::of(transform, [200, 100]).unwrap().map.point(point)
        };
        // Right of the centre goes below it: clockwise as seen.
        close(
            at(&affine(90.0, 1.0, 0.0, [0.0; 2]), [120.0, 50.0]),
            [100.0, 70.0],
        );
        close(
            at(&affine(0.0, 2.0, 0.0, [0.0; 2]), [110.0, 45.0]),
            [120.0, 40.0],
        );
        close(
            at(&affine(0.0, 1.0, 45.0, [0.0; 2]), [100.0, 60.0]),
            [110.0, 60.0],
        );
        close(
            at(&affine(0.0, 1.0, 0.0, [0.1, -0.2]), [0.0, 0.0]),
            [20.0, -20.0],
        );
        // 160 x 50 pixels are left; a quarter of the free 40 is 10, half of 50 is 25.
        let crop = Transform::Crop {
            width: 0.8,
            height: 0.5,
            x: 0.25,
            y: 0.5,
            min_visible: 0.25,
        };
        assert_eq!(Motion::of(&crop, [200, 100]).unwrap().size, [160, 50]);
        close(at(&crop, [15.0, 30.0]), [5.0, 5.0]);
        let resize = Transform::Resize { factor: 0.333 };
        assert_eq!(Motion::of(&resize, [200, 100]).unwrap().size, [67, 33]);
        close(at(&resize, [200.0, 100.0]), [67.0, 33.0]);
    }

    #[test]
    fn composition_and_inverse_are_those_of_maps() {
        let steps = [
            affine(20.0, 1.3, 5.0, [0.1, 0.0]),
            Transform::FlipHorizontal {
                keypoint_pairs: Vec::new(),
            },
            Transform::Resize { factor: 0.5 },
        ];
        let whole = Motion::of_all(&steps, [64, 48]).unwrap();
        assert_eq!(whole.size, [32, 24]);
        let mut point = [11.0, 7.0];
        let mut size = [64, 48];
        for step in &steps {
            let motion = Motion::of(step, size).unwrap();
            (point, size) = (motion.map.point(point), motion.size);
        }
        close(whole.map.point([11.0, 7.0]), point);
        close(whole.map.inverse().point(point), [11.0, 7.0]);
    }

    #[test]
    fn flips_and_crops_move_pixels_without_resampling() {
        let image = Linear::from_fn(7, 5, |x, y| Rgb([x as f32, y as f32, (x * y) as f32]));
        let flip = Transform::FlipHorizontal {
            keypoint_pairs: Vec::new(),
        };
        let once = Motion::of(&flip, [7, 5]).unwrap();
        let flipped = warp(&image, &once);
        assert_eq!(flipped.get_pixel(0, 3), image.get_pixel(6, 3));
        assert_eq!(warp(&flipped, &once), image);
    }

    #[test]
    fn shrinking_averages_instead_of_aliasing() {
        let stripes = Linear::from_fn(64, 64, |x, _| Rgb([(x % 2) as f32; 3]));
        let small = warp(
            &stripes,
            &Motion::of(&affine(0.0, 0.25, 0.0, [0.0; 2]), [64, 64]).unwrap(),
        );
        assert!((small.get_pixel(32, 32)[0] - 0.5).abs() < 0.05);
    }
}
