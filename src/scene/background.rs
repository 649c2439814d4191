//! What is seen behind the objects of one scene.

use std::sync::Arc;

use glam::Vec3;
use rand::RngExt;
use serde::{Serialize, Serializer};

use super::library::{Library, Photo};
use super::spec::{BackgroundSpec, Colour, PictureSpec};
use crate::seed::{Generator, SeedKey};

/// What is seen behind the objects.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Background {
    pub picture: Picture,
    /// Whether the ground shows the picture too, under the objects' shadows.
    pub covers_ground: bool,
}

/// What fills the image behind the objects. Colours are as they are seen at 0 EV.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Picture {
    /// What the light comes from.
    #[default]
    Environment,
    Colour {
        linear_rgb: Vec3,
    },
    /// From the upper to the lower edge.
    Gradient {
        top_linear_rgb: Vec3,
        bottom_linear_rgb: Vec3,
    },
    /// Patches of two colours of about this size.
    Noise {
        first_linear_rgb: Vec3,
        second_linear_rgb: Vec3,
        scale_px: f32,
        /// Where in the noise the image lies.
        offset: Vec3,
    },
    /// A part of a photograph.
    Photo {
        #[serde(rename = "file", serialize_with = "as_file")]
        photo: Arc<Photo>,
        /// Left and upper edge, width and height, in pixels of the photograph.
        crop_px: [f32; 4],
        /// Whether left and right are exchanged.
        is_mirrored: bool,
    },
}

fn as_file<S: Serializer>(photo: &Arc<Photo>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(photo.file())
}

/// Draws the background of an image whose sides have this ratio of width to height.
pub(super) fn sample_background(
    spec: &BackgroundSpec,
    library: &Library,
    aspect: f32,
    key: &SeedKey,
) -> Background {
    let mut generator = key.generator("background", 0);
    let picture = match &spec.picture {
        PictureSpec::Environment => Picture::Environment,
        PictureSpec::Colour { colours } => Picture::Colour {
            linear_rgb: draw_colour(colours, &mut generator),
        },
        PictureSpec::Gradient { top, bottom } => Picture::Gradient {
            top_linear_rgb: draw_colour(top, &mut generator),
            bottom_linear_rgb: draw_colour(bottom, &mut generator),
        },
        PictureSpec::Noise { colours, scale_px } => Picture::Noise {
            first_linear_rgb: draw_colour(colours, &mut generator),
            second_linear_rgb: draw_colour(colours, &mut generator),
            scale_px: (scale_px.sample(&mut generator) as f32).max(1.0),
            offset: Vec3::from_array(generator.random()) * 1000.0,
        },
        PictureSpec::Photos(photos) => {
            let number = generator.random_range(0..library.photos().len());
            let photo = &library.photos()[number];
            let share = (photos.crop.sample(&mut generator) as f32).clamp(0.05, 1.0);
            let [width, height] = photo.size_px().map(|side| side as f32);
            let size = [width.min(height * aspect), height.min(width / aspect)];
            let [crop_width, crop_height] = size.map(|side| side * share);
            let [left, top]: [f32; 2] = generator.random();
            Picture::Photo {
                photo: Arc::clone(photo),
                crop_px: [
                    left * (width - crop_width),
                    top * (height - crop_height),
                    crop_width,
                    crop_height,
                ],
                is_mirrored: photos.mirror && generator.random(),
            }
        }
    };
    Background {
        picture,
        covers_ground: spec.covers_ground,
    }
}

/// One of these colours, or any where there are none.
fn draw_colour(colours: &[Colour], generator: &mut Generator) -> Vec3 {
    let colour = match colours.len() {
        0 => Colour(generator.random()),
        count => colours[generator.random_range(0..count)],
    };
    Vec3::from(colour.linear_rgb())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(picture: PictureSpec, index: u64) -> Picture {
        let spec = BackgroundSpec {
            picture,
            covers_ground: true,
        };
        let key = SeedKey::new(b"background", index);
        let drawn = sample_background(&spec, &Library::default(), 1.5, &key);
        assert!(drawn.covers_ground);
        drawn.picture
    }

    #[test]
    fn colours_come_from_the_list_or_from_anywhere() {
        let grey = Colour([128; 3]);
        let from_list = draw(
            PictureSpec::Colour {
                colours: vec![grey],
            },
            0,
        );
        let linear_rgb = Vec3::from(grey.linear_rgb());
        assert_eq!(from_list, Picture::Colour { linear_rgb });
        let any = |index| draw(PictureSpec::Colour { colours: vec![] }, index);
        assert_eq!(any(1), any(1));
        assert_ne!(any(1), any(2));
    }
}
