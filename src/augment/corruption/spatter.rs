//! Water and mud that splash onto the lens.

use super::blur::{Edge, gaussian};
use super::{Encoded, Plane};
use crate::augment::variates::Normals;
use crate::seed::Generator;

/// One severity.
pub(super) struct Spatter {
    mean: f32,
    sd: f32,
    sigma: f64,
    threshold: f32,
    /// Of water its light, of mud the width of its soft edge.
    strength: f32,
    is_mud: bool,
}

pub(super) const DOSES: [Spatter; 5] = [
    Spatter {
        mean: 0.65,
        sd: 0.3,
        sigma: 4.0,
        threshold: 0.69,
        strength: 0.6,
        is_mud: false,
    },
    Spatter {
        mean: 0.65,
        sd: 0.3,
        sigma: 3.0,
        threshold: 0.68,
        strength: 0.6,
        is_mud: false,
    },
    Spatter {
        mean: 0.65,
        sd: 0.3,
        sigma: 2.0,
        threshold: 0.68,
        strength: 0.5,
        is_mud: false,
    },
    Spatter {
        mean: 0.65,
        sd: 0.3,
        sigma: 1.0,
        threshold: 0.65,
        strength: 1.5,
        is_mud: true,
    },
    Spatter {
        mean: 0.67,
        sd: 0.4,
        sigma: 1.0,
        threshold: 0.65,
        strength: 1.5,
        is_mud: true,
    },
];

/// Smooth noise above a threshold is wet. Water adds pale turquoise light, more towards the
/// middle of a drop; mud covers in brown.
///
/// Published work shades water by edge detection, distance, equalisation and an emboss filter;
/// here the equalised distance to the edge alone does it.
pub(super) fn spatter(picture: &mut Encoded, dose: &Spatter, generator: &mut Generator) {
    let normals = Normals::new();
    let mut liquid = picture.plane();
    for value in &mut liquid.values {
        *value = dose.mean + dose.sd * normals.draw(generator);
    }
    let size = [picture.width, picture.height, 1];
    gaussian(
        &mut liquid.values,
        size,
        [dose.sigma; 2],
        4.0,
        Edge::Nearest,
    );
    for value in &mut liquid.values {
        *value = if *value < dose.threshold { 0.0 } else { *value };
    }
    if dose.is_mud {
        let mut cover: Vec<f32> = liquid
            .values
            .iter()
            .map(|value| f32::from(*value > dose.threshold))
            .collect();
        gaussian(
            &mut cover,
            size,
            [f64::from(dose.strength); 2],
            4.0,
            Edge::Nearest,
        );
        let brown = [63.0, 42.0, 20.0].map(|level| level / 255.0);
        for (pixel, cover) in picture.values.chunks_exact_mut(3).zip(cover) {
            let cover = if cover < 0.8 { 0.0 } else { cover };
            for (value, brown) in pixel.iter_mut().zip(brown) {
                *value = *value * (1.0 - cover) + brown * cover;
            }
        }
        return;
    }
    let depth = equalised(&distances(&liquid));
    let mut light: Vec<f32> = liquid
        .values
        .iter()
        .zip(&depth)
        .map(|(liquid, depth)| liquid * depth)
        .collect();
    let most = light.iter().copied().fold(0.0, f32::max);
    let scale = if most > 0.0 {
        dose.strength / most
    } else {
        0.0
    };
    gaussian(&mut light, size, [1.0; 2], 4.0, Edge::Nearest);
    let turquoise = [175.0, 238.0, 238.0].map(|level| level / 255.0);
    for (pixel, light) in picture.values.chunks_exact_mut(3).zip(light) {
        for (value, tint) in pixel.iter_mut().zip(turquoise) {
            *value += light * scale * tint;
        }
    }
}

/// Distance of each place to the nearest edge between wet and dry, in pixels, within 8 %: two
/// passes with steps of 3 and 4 thirds (Borgefors 1986).
fn distances(liquid: &Plane) -> Vec<f32> {
    let (width, height) = (liquid.width, liquid.height);
    let is_wet = |x: usize, y: usize| liquid.values[y * width + x] > 0.0;
    let far = (3 * (width + height)) as i32;
    let mut thirds: Vec<i32> = (0..width * height)
        .map(|place| {
            let (x, y) = (place % width, place / width);
            let differs = |x: usize, y: usize, other: bool| is_wet(x, y) != other;
            let own = is_wet(x, y);
            let edge = (x > 0 && differs(x - 1, y, own)) || (y > 0 && differs(x, y - 1, own));
            if edge { 0 } else { far }
        })
        .collect();
    let steps = [(-1, 0, 3), (-1, -1, 4), (0, -1, 3), (1, -1, 4)];
    let mut pass = |places: &mut dyn Iterator<Item = usize>, sign: i64| {
        for place in places {
            let (x, y) = ((place % width) as i64, (place / width) as i64);
            for (dx, dy, length) in steps {
                let (x, y) = (x + sign * dx, y + sign * dy);
                if x >= 0 && y >= 0 && x < width as i64 && y < height as i64 {
                    let before = thirds[y as usize * width + x as usize];
                    thirds[place] = thirds[place].min(before + length);
                }
            }
        }
    };
    pass(&mut (0..width * height), 1);
    pass(&mut (0..width * height).rev(), -1);
    thirds
        .into_iter()
        .map(|thirds| thirds as f32 / 3.0)
        .collect()
}

/// Distances up to 20 pixels, spread such that each value from 0 to 1 is as frequent.
fn equalised(distances: &[f32]) -> Vec<f32> {
    const MOST: usize = 20;
    let level = |distance: &f32| (*distance as usize).min(MOST);
    let mut counts = [0_usize; MOST + 1];
    for distance in distances {
        counts[level(distance)] += 1;
    }
    let mut up_to = counts;
    for index in 1..=MOST {
        up_to[index] += up_to[index - 1];
    }
    let least = counts.iter().copied().find(|count| *count > 0).unwrap_or(0);
    let range = (distances.len() - least).max(1) as f32;
    let spread = |distance| up_to[level(distance)].saturating_sub(least) as f32 / range;
    distances.iter().map(spread).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_to_the_nearest_edge_and_spread_evenly() {
        let mut plane = Plane {
            width: 31,
            height: 31,
            values: vec![1.0; 31 * 31],
        };
        plane.values[15 * 31 + 15] = 0.0;
        let found = distances(&plane);
        assert_eq!(found[15 * 31 + 15], 0.0);
        // The edge lies on the far side of the dry place.
        assert_eq!(found[15 * 31 + 21], 5.0);
        assert!((found[19 * 31 + 19] - 5.0).abs() < 0.8);
        let spread = equalised(&[0.0, 1.0, 2.0, 3.0]);
        assert_eq!(spread, [0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0]);
    }
}
