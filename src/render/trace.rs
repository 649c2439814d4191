//! Draws scenes by following paths of light, on the processor.
//!
//! Slower than the rasteriser, and without its short cuts: shadows, reflections and light
//! between surfaces are those of the scene's geometry. Materials, lights, surroundings,
//! development and ground truth are the same, so that the two check each other.

mod cover;
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

use glam::Vec3;
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
use crate::scene::{Assets, PathTracing, Projection, SceneInstance};

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
        let projection = scene.camera.projection(scene.width_px, scene.height_px);
        let view = View::new(scene, &projection);
        let balls: Vec<Ball> = scene
            .parts()
            .map(|(_, part)| Ball::around(part, self.assets))
            .collect();
        let levels = view.levels(scene, self.assets, &balls);
        let draw = || {
            let model = Model::new(scene, self.assets, &view, &balls, &levels);
            let surroundings = Surroundings::new(scene, None);
            let sky = Sky::new(&surroundings);
            let pixel_rad = 1.0 / projection.focal_px;
            let beyond = |direction| match self.assets.has_backdrop {
                true => surroundings.beyond(direction, pixel_rad),
                false => sky.radiance(direction),
            };
            self.trace(scene, &projection, &model, &sky, &beyond)
        };
        let (pixels, silhouettes) = rayon::join(draw, || {
            silhouettes(scene, self.assets, &projection, &view, &levels)
        });
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
                normals: None,
            },
        }
    }

    /// `beyond` is what the camera sees past everything, by direction.
    fn trace(
        &self,
        scene: &SceneInstance,
        projection: &Projection,
        model: &Model,
        sky: &Sky,
        beyond: &(dyn Fn(Vec3) -> Vec3 + Sync),
    ) -> Vec<Pixel> {
        let moments = moments(scene, self.points.count());
        let lights: Vec<Emitter> = scene.lights.iter().map(Emitter::new).collect();
        let (width, height) = (scene.width_px as usize, scene.height_px as usize);
        let tracer = Tracer {
            model,
            sky,
            lights: &lights,
            points: &self.points,
            projection,
            moments: &moments,
            beyond,
            size_px: [width, height],
            bounces: self.settings.bounces,
            pixel_rad: 1.0 / projection.focal_px / (self.points.count() as f32).sqrt(),
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

/// Moments of the exposure that are told apart, at most.
const MOMENTS: usize = 64;

/// The camera at even times of the exposure, one a sample; a single one where it stands still.
fn moments(scene: &SceneInstance, samples: usize) -> Vec<Projection> {
    let count = match scene.camera.motion {
        Some(_) => samples.clamp(1, MOMENTS),
        None => 1,
    };
    let at = |moment: usize| {
        let camera = scene.camera.at_time((moment as f32 + 0.5) / count as f32);
        camera.projection(scene.width_px, scene.height_px)
    };
    (0..count).map(at).collect()
}
