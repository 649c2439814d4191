//! `admix bench render`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Args;

use crate::generate::scene_key;
use crate::render::{RenderDevice, SceneRenderer};
use crate::scene::{self, ScenePlan};
use crate::spec::Override;

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
    /// Images that are drawn at a time, as in `generate` [default: all cores].
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Override a value of the scene file; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<Override>,
}

pub(super) fn run(args: RenderArgs) -> anyhow::Result<super::Rate> {
    let plan = ScenePlan::load(&args.scene, &args.overrides)?;
    let image = &plan.spec().image;
    let key = scene_key(&plan, args.seed);
    let jobs = args
        .jobs
        .map_or_else(rayon::current_num_threads, NonZeroUsize::get);
    let device = RenderDevice::new(image.renderer, jobs)?;
    let mut renderers: Vec<SceneRenderer> = (0..jobs)
        .map(|_| SceneRenderer::new(&device, plan.assets(), image))
        .collect();
    // The first images compile the shaders.
    for renderer in &mut renderers {
        renderer.render(&scene::sample(&plan, &key, 0))?;
    }
    let next = AtomicU64::new(0);
    let began = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = renderers
            .iter_mut()
            .map(|renderer| {
                scope.spawn(|| -> anyhow::Result<()> {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= args.count {
                            return Ok(());
                        }
                        renderer.render(&scene::sample(&plan, &key, index))?;
                    }
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })?;
    let wall_s = began.elapsed().as_secs_f64();
    Ok(super::Rate {
        name: format!(
            "render {} on {}",
            args.scene.display(),
            device.summary().name
        ),
        items_per_s: args.count as f64 / wall_s.max(1e-9),
        wall_s,
        items: args.count,
        peak_rss_mib: super::peak_rss_mib(),
    })
}
