//! Draws scenes by following paths of light, on the processor.
//!
//! Slower than the rasteriser, and without its short cuts: shadows, reflections and light
//! between surfaces are those of the scene's geometry. Materials, lights, surroundings,
//! development and ground truth are the same, so that the two check each other.

mod denoise;
mod develop;
mod lanes;
mod light;
mod lobe;
mod model;
mod packet;
mod path;
mod pattern;
mod sample;
mod sky;
#[cfg(test)]
mod tests;

use rayon::ThreadPool;
use rayon::prelude::*;

use self::light::Emitter;
use self::model::Model;
use self::path::{Pixel, Scratch, TILE_PX, Tracer};
use self::sample::{Points, mixed};
use self::sky::Sky;
use super::frame::{Frame, GroundTruth};
use super::raster::environment::Surroundings;
use super::silhouette::silhouettes;
use super::view::{Ball, View};
use crate::scene::{Assets, PathTracing, SceneInstance};

/// Traces the images of one family. Its threads share each image, so that a single one is
/// quick, too; pixels do not depend on which thread traces them.
#[derive(Debug)]
pub struct PathTracer<'a> {
    assets: &'a Assets,
    workers: &'a ThreadPool,
    settings: PathTracing,
    points: Points,
}

impl<'a> PathTracer<'a> {
    pub fn new(assets: &'a Assets, workers: &'a ThreadPool, settings: PathTracing) -> Self {
        PathTracer {
            assets,
            workers,
            settings,
            points: Points::new(settings.samples as usize),
        }
    }

    /// Draws a scene of this tracer's family.
    pub fn render(&self, scene: &SceneInstance) -> Frame {
        self.workers.install(|| self.render_here(scene))
    }

    fn render_here(&self, scene: &SceneInstance) -> Frame {
        let view = View::new(scene);
        let balls: Vec<Ball> = scene
            .parts()
            .map(|(_, part)| Ball::around(part, self.assets))
            .collect();
        let levels = view.levels(scene, self.assets, &balls);
        let draw = || {
            let model = Model::new(scene, self.assets, &view, &balls, &levels);
            let sky = Sky::new(&Surroundings::new(scene));
            self.trace(scene, &view, &model, &sky)
        };
        let (pixels, silhouettes) =
            rayon::join(draw, || silhouettes(scene, self.assets, &view, &levels));
        let radiance = match self.settings.denoise {
            true => denoise::denoised(&pixels, scene.width_px as usize),
            false => pixels.iter().map(|pixel| pixel.radiance).collect(),
        };
        Frame {
            rgb: develop::develop(scene, radiance),
            truth: GroundTruth {
                width_px: scene.width_px,
                ids: pixels.iter().map(|pixel| pixel.id).collect(),
                depth_m: pixels.iter().map(|pixel| pixel.depth_m).collect(),
                silhouettes,
            },
        }
    }

    fn trace(&self, scene: &SceneInstance, view: &View, model: &Model, sky: &Sky) -> Vec<Pixel> {
        let lights: Vec<Emitter> = scene.lights.iter().map(Emitter::new).collect();
        let (width, height) = (scene.width_px as usize, scene.height_px as usize);
        let tracer = Tracer {
            model,
            sky,
            lights: &lights,
            points: &self.points,
            view,
            size_px: [width, height],
            bounces: self.settings.bounces,
            noise_seed: mixed(scene.sensor.noise_seed),
            gain: scene.exposure_ev.exp2(),
        };
        let mut pixels = vec![Pixel::default(); width * height];
        pixels
            .par_chunks_mut(width * TILE_PX)
            .enumerate()
            .for_each_init(Scratch::default, |scratch, (strip, rows)| {
                tracer.strip(strip * TILE_PX, rows, scratch);
            });
        pixels
    }
}
