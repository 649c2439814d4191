//! `admix bench render`.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use crate::generate::scene_key;
use crate::render::{GpuContext, Renderer};
use crate::scene::{self, ScenePlan};

/// Arguments of `admix bench render`.
#[derive(Debug, Args)]
pub struct RenderArgs {
    /// Scene file.
    scene: PathBuf,
    /// Number of images.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    count: u64,
    /// Seed of everything that is drawn at random.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

pub(super) fn run(args: RenderArgs) -> anyhow::Result<super::Rate> {
    let plan = ScenePlan::load(&args.scene, &[])?;
    let context = GpuContext::new()?;
    let image = &plan.spec().image;
    let mut renderer = Renderer::new(&context, image.width_px, image.height_px);
    let key = scene_key(&plan, args.seed);
    // The first image compiles the shaders.
    renderer.render(&scene::sample(&plan, &key, 0))?;
    let began = Instant::now();
    for index in 0..args.count {
        renderer.render(&scene::sample(&plan, &key, index))?;
    }
    let wall_s = began.elapsed().as_secs_f64();
    Ok(super::Rate {
        name: format!(
            "render {} on {}",
            args.scene.display(),
            context.summary().name
        ),
        items_per_s: args.count as f64 / wall_s.max(1e-9),
        wall_s,
        items: args.count,
        peak_rss_mib: super::peak_rss_mib(),
    })
}
