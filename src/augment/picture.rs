//! The pixels on their way through the transforms.

use image::{ImageBuffer, Rgb, RgbImage};

use super::photometric::{self, LINEAR_OF_LEVEL, Linear};

/// An image that is brought into linear light only where a transform needs it.
///
/// A transform of single values, such as exposure, changes 256 entries a channel as long as
/// nothing has mixed pixels: the result is that of the long way, at the cost of a table.
#[derive(Debug, Clone)]
pub(super) struct Picture(State);

#[derive(Debug, Clone)]
enum State {
    Levels {
        image: RgbImage,
        /// Linear light of each level of each channel; `None` where it is what it was.
        curves: Option<Box<Curves>>,
    },
    Light(Linear),
}

type Curves = [[f32; 256]; 3];

impl Picture {
    pub fn new(image: RgbImage) -> Self {
        Picture(State::Levels {
            image,
            curves: None,
        })
    }

    /// Width and height, in pixels.
    pub fn size(&self) -> [u32; 2] {
        let (width, height) = match &self.0 {
            State::Levels { image, .. } => image.dimensions(),
            State::Light(light) => light.dimensions(),
        };
        [width, height]
    }

    /// Whether a change of single values costs no more than a table's.
    pub fn is_levels(&self) -> bool {
        matches!(self.0, State::Levels { .. })
    }

    /// Replaces each value of linear light, given its channel, by another.
    pub fn map(&mut self, change: impl Fn(usize, f32) -> f32) {
        match &mut self.0 {
            State::Levels { curves, .. } => {
                let curves = curves.get_or_insert_with(|| Box::new([*LINEAR_OF_LEVEL; 3]));
                for (channel, curve) in curves.iter_mut().enumerate() {
                    for value in curve {
                        *value = change(channel, *value);
                    }
                }
            }
            State::Light(light) => {
                for pixel in light.pixels_mut() {
                    for (channel, value) in pixel.0.iter_mut().enumerate() {
                        *value = change(channel, *value);
                    }
                }
            }
        }
    }

    /// Light beyond white and below black is lost, as on a sensor.
    pub fn clip(&mut self) {
        self.map(|_, value| value.clamp(0.0, 1.0));
    }

    /// The picture in linear light, to be changed at will.
    pub fn light(&mut self) -> &mut Linear {
        if let State::Levels { image, curves } = &self.0 {
            self.0 = State::Light(match curves {
                Some(curves) => through(image, curves),
                None => photometric::decode(image),
            });
        }
        match &mut self.0 {
            State::Light(light) => light,
            State::Levels { .. } => unreachable!("levels were just turned into light"),
        }
    }

    pub fn set_light(&mut self, light: Linear) {
        self.0 = State::Light(light);
    }

    /// Clips at white and rounds to 8 bits, if that has not been done.
    pub fn levels(&mut self) -> &mut RgbImage {
        if !matches!(&self.0, State::Levels { curves: None, .. }) {
            let state = std::mem::replace(&mut self.0, State::Light(Linear::new(0, 0)));
            self.0 = State::Levels {
                image: Picture(state).into_image(),
                curves: None,
            };
        }
        match &mut self.0 {
            State::Levels { image, .. } => image,
            State::Light(_) => unreachable!("light was just turned into levels"),
        }
    }

    pub fn set_levels(&mut self, image: RgbImage) {
        *self = Picture::new(image);
    }

    /// The finished picture in 8 bits.
    pub fn into_image(self) -> RgbImage {
        match self.0 {
            State::Levels {
                image,
                curves: None,
            } => image,
            State::Levels {
                mut image,
                curves: Some(curves),
            } => {
                let tables = curves.map(|curve| curve.map(photometric::level_of));
                for Rgb(pixel) in image.pixels_mut() {
                    for (value, table) in pixel.iter_mut().zip(&tables) {
                        *value = table[usize::from(*value)];
                    }
                }
                image
            }
            State::Light(light) => photometric::encode(&light),
        }
    }

    /// A picture of `size` pixels by a move of whole pixels: what is at `x` comes from
    /// `start + x` along an axis, or from `start - x` where it is `mirrored`. Black comes from
    /// outside.
    pub fn moved(self, size: [u32; 2], axes: [WholeMove; 2]) -> Self {
        match self.0 {
            // Black stays black only as long as no curve has lifted it.
            State::Levels {
                image,
                curves: None,
            } => Picture::new(moved(&image, size, axes)),
            state => {
                let mut picture = Picture(state);
                let light = moved(picture.light(), size, axes);
                Picture(State::Light(light))
            }
        }
    }
}

/// A move along one axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct WholeMove {
    pub start: i64,
    pub mirrored: bool,
}

impl WholeMove {
    fn from(self, place: usize, side: usize) -> Option<usize> {
        let place = place as i64;
        let from = if self.mirrored {
            self.start - place
        } else {
            self.start + place
        };
        usize::try_from(from).ok().filter(|from| *from < side)
    }
}

fn moved<T: image::Primitive>(
    image: &ImageBuffer<Rgb<T>, Vec<T>>,
    size: [u32; 2],
    [across, down]: [WholeMove; 2],
) -> ImageBuffer<Rgb<T>, Vec<T>>
where
    Rgb<T>: image::Pixel<Subpixel = T>,
{
    let [width, height] = [image.width(), image.height()].map(|side| side as usize);
    let mut out = ImageBuffer::new(size[0], size[1]);
    let mut columns = (0..size[0] as usize).filter(|x| across.from(*x, width).is_some());
    let Some(first) = columns.next() else {
        return out;
    };
    let last = columns.next_back().unwrap_or(first);
    let ends = [first, last].map(|x| across.from(x, width).unwrap_or(0));
    let [low, high] = [ends[0].min(ends[1]), ends[0].max(ends[1])];
    let stride = 3 * size[0] as usize;
    for (y, line) in out.chunks_exact_mut(stride).enumerate() {
        let Some(row) = down.from(y, height) else {
            continue;
        };
        let from = &image.as_raw()[3 * (row * width + low)..3 * (row * width + high + 1)];
        let to = &mut line[3 * first..3 * (last + 1)];
        if across.mirrored {
            let (to, from) = (to.as_chunks_mut::<3>().0, from.as_chunks::<3>().0);
            for (to, from) in to.iter_mut().zip(from.iter().rev()) {
                *to = *from;
            }
        } else {
            to.copy_from_slice(from);
        }
    }
    out
}

fn through(image: &RgbImage, curves: &Curves) -> Linear {
    let mut light = Linear::new(image.width(), image.height());
    for (to, from) in light.pixels_mut().zip(image.pixels()) {
        for channel in 0..3 {
            to[channel] = curves[channel][usize::from(from[channel])];
        }
    }
    light
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the tables give is what decoding, changing every value and encoding gives.
    #[test]
    fn single_values_change_alike_on_either_way() {
        let image = RgbImage::from_fn(256, 3, |x, y| Rgb([x as u8, 255 - x as u8, (x * y) as u8]));
        let change = |channel: usize, value: f32| value * [1.7, 0.4, 1.1][channel] + 0.01;
        let mut by_table = Picture::new(image.clone());
        by_table.map(change);
        by_table.clip();
        let mut by_light = Picture::new(image.clone());
        by_light.light();
        by_light.map(change);
        by_light.clip();
        assert_eq!(by_table.clone().light(), by_light.light());
        let table = by_table.into_image();
        assert_eq!(table, by_light.into_image());
        assert_ne!(table, image);
    }

    #[test]
    fn an_untouched_picture_is_given_back_and_levels_are_rounded_once() {
        let image = RgbImage::from_fn(16, 16, |x, y| Rgb([x as u8 * 16, y as u8, 7]));
        let mut picture = Picture::new(image.clone());
        assert_eq!(picture.size(), [16, 16]);
        assert_eq!(picture.levels(), &image);
        picture.map(|_, value| value * 0.5);
        picture.map(|_, value| value * 2.0);
        assert_eq!(
            picture.into_image(),
            image,
            "nothing was rounded in between"
        );
    }

    #[test]
    fn moves_fill_with_black_whatever_the_curves_and_mirror() {
        let image = RgbImage::from_fn(2, 2, |x, y| Rgb([0, 100 + 10 * x as u8, 200 + y as u8]));
        let still = WholeMove {
            start: 0,
            mirrored: false,
        };
        let mirror = WholeMove {
            start: 1,
            mirrored: true,
        };
        let plain = Picture::new(image.clone()).moved([3, 2], [mirror, still]);
        let plain = plain.into_image();
        assert_eq!(plain.get_pixel(2, 0).0, [0; 3]);
        assert_eq!(plain.get_pixel(0, 1), image.get_pixel(1, 1));
        let mut lifted = Picture::new(image);
        lifted.map(|_, value| value + 0.5);
        let right = WholeMove { start: -1, ..still };
        let lifted = lifted.moved([3, 2], [right, still]).into_image();
        assert_eq!(lifted.get_pixel(0, 1).0, [0; 3]);
        assert!(lifted.get_pixel(1, 0)[0] > 150);
    }
}
