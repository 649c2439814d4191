//! `admix experiment`: the grid of ratios and seeds, and its report.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Args;

use super::progress::Progress;
use super::report::print_report;
use super::train::use_threads;
use super::{Common, UserMistake};
use crate::detector::throughput::{ENDLESS, TrainingLoad};
use crate::detector::{TrainPlan, TrainSpec};
use crate::experiment::{
    Credentials, DetectorExecutor, ExperimentPlan, ExperimentSpec, RealData, SceneSource, Sources,
    SyntheticSource, Tracker, load_results, power, progress, record_data, write_report,
};
use crate::generate::{self, Sidecars};
use crate::render::RenderDevice;
use crate::scene::ScenePlan;
use crate::seed::PlanHash;

/// Arguments of `admix experiment`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  admix experiment presets/demo.yaml -o runs/demo
  admix experiment presets/tipping_dice.yaml -o runs/dice --set real=data/dice --dry-run
  admix experiment presets/tipping_dice.yaml -o runs/dice --set seeds=8
  admix experiment presets/ways_dice.yaml -o runs/ways --set real=data/dice
  admix experiment presets/demo.yaml -o runs/demo --mlflow http://127.0.0.1:5000

The same command again goes on where a killed one stopped. More seeds or ratios may
be asked for later: finished trials are kept.")]
pub struct ExperimentArgs {
    /// The experiment's YAML file.
    #[arg(value_name = "EXPERIMENT.yaml")]
    spec: PathBuf,
    /// Output folder.
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Trials that run at a time. They share the worker threads; two keep two cores
    /// busier than one does, and need twice the memory.
    #[arg(long, value_name = "N", default_value = "2")]
    at_once: NonZeroUsize,
    /// Tells an MLflow tracking server of each finished trial, a run each. Who asks is taken
    /// from MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.
    #[arg(long, value_name = "ADDRESS")]
    mlflow: Option<String>,
    /// Name of the experiment there; that of the output folder where left out.
    #[arg(long, value_name = "NAME", requires = "mlflow")]
    mlflow_experiment: Option<String>,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: ExperimentArgs) -> anyhow::Result<()> {
    let spec: ExperimentSpec = crate::spec::load(&args.spec, &args.common.overrides)?;
    let plan = spec.into_plan(&args.spec, args.common.seed)?;
    // A wrong key of the last scene is told before the first is rendered.
    for (_, source) in plan.sources() {
        if let SyntheticSource::Scene(scene) = source {
            scene_plan(scene)?;
        }
    }
    if args.common.dry_run {
        return print_plan(&plan, &args);
    }
    // Said before anything is rendered for a training that cannot begin.
    plan.train.device.check()?;
    let tracker = tracker(&args)?;
    use_threads(&args.common);
    let observer = Progress::new(false);
    let real = RealData::open(&plan)?;
    let mut pools = Vec::new();
    for (_, source) in plan.sources() {
        pools.push(synthetic_pool(&plan, source, &args, &observer)?);
    }
    let sources = Sources::open(&plan, real, &pools)?;
    for leak in &sources.left_out {
        crate::observer::Observer::message(&observer, &format!("left out of training: {leak}"));
    }
    record_data(&args.out, &sources.record()?)?;
    if progress(&plan, &args.out)?.finished == 0
        && let Some(seconds) = estimate(&plan)
    {
        crate::observer::Observer::message(&observer, &told(&plan, seconds));
    }
    let executor = DetectorExecutor::new(sources, &plan).with_tracker(tracker);
    crate::experiment::run(&plan, &args.out, &executor, args.at_once, &observer)?;
    executor.draw_pairs(&args.out)?;
    let files = write_report(&args.out)?;
    print_report(&files, args.common.json)
}

/// Opened before anything is rendered, since an address may be wrong.
fn tracker(args: &ExperimentArgs) -> anyhow::Result<Option<Tracker>> {
    let Some(address) = &args.mlflow else {
        return Ok(None);
    };
    let folder = args.out.file_name().map(|name| name.to_string_lossy());
    let name = match (&args.mlflow_experiment, folder) {
        (Some(name), _) => name.clone(),
        (None, Some(folder)) => folder.into_owned(),
        (None, None) => "admix".to_owned(),
    };
    let tracker = Tracker::open(address, &name, &credentials(), milliseconds);
    Ok(Some(tracker.map_err(|e| UserMistake(e.to_string()))?))
}

/// Who asks, from the environment.
fn credentials() -> Credentials {
    let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    Credentials {
        token: value("MLFLOW_TRACKING_TOKEN"),
        user: value("MLFLOW_TRACKING_USERNAME").zip(value("MLFLOW_TRACKING_PASSWORD")),
    }
}

fn milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// The folder of the synthetic images of one source; those of a scene are rendered first,
/// into `OUT/pools/`, where a second run finds them.
fn synthetic_pool(
    plan: &ExperimentPlan,
    source: &SyntheticSource,
    args: &ExperimentArgs,
    observer: &Progress,
) -> anyhow::Result<PathBuf> {
    let scene = match source {
        SyntheticSource::Dataset(path) => return Ok(path.clone()),
        SyntheticSource::Scene(scene) => scene,
    };
    let scene_plan = scene_plan(scene)?;
    let count = scene.images.unwrap_or_else(|| plan.synthetic_needed()) + plan.synthetic_test;
    let hash = PlanHash::of(&scene_plan);
    let name = format!("{}-{count}", &hash.as_str()[..12]);
    let folder = args.out.join("pools");
    std::fs::create_dir_all(&folder)?;
    let out = folder.join(name);
    generate::generate(
        &scene_plan,
        count as u64,
        args.common.seed,
        &out,
        args.common.jobs(),
        Sidecars::default(),
        &RenderDevice::new(scene_plan.spec().image.renderer, args.common.jobs())?,
        observer,
    )?;
    Ok(out)
}

fn scene_plan(scene: &SceneSource) -> anyhow::Result<ScenePlan> {
    let overrides = scene.overrides().map_err(UserMistake)?;
    Ok(ScenePlan::load(&scene.file, &overrides)?)
}

fn print_plan(plan: &ExperimentPlan, args: &ExperimentArgs) -> anyhow::Result<()> {
    let so_far = progress(plan, &args.out)?;
    use_threads(&args.common);
    if args.common.json {
        let estimated = (so_far.finished == 0).then(|| estimate(plan)).flatten();
        let grid = serde_json::json!({
            "plan": plan,
            "trials": plan.trials(),
            "finished": so_far.finished,
            "seconds_per_trial": so_far.seconds_per_trial,
            "estimated_seconds": estimated,
        });
        println!("{}", serde_json::to_string_pretty(&grid)?);
    } else {
        print!(
            "{}",
            plan.describe(
                so_far.finished,
                so_far
                    .seconds_per_trial
                    .map(|seconds| seconds / args.at_once.get() as f64),
            )
        );
        if so_far.finished == 0
            && let Some(seconds) = estimate(plan)
        {
            println!("{}", told(plan, seconds));
        }
        print!("{}", power(plan, &load_results(plan, &args.out)?));
    }
    Ok(())
}

/// Training steps that an estimate is made from, after one that warms up.
const ESTIMATE_STEPS: u32 = 3;

/// Seconds that the trainings of a plan will take, by a few of their steps on this machine. `None`
/// where they cannot be run here.
fn estimate(plan: &ExperimentPlan) -> Option<f64> {
    let mut per_step: Vec<(PlanHash, f64)> = Vec::new();
    let mut seconds = 0.0;
    let trials = plan.trials();
    for trial in &trials {
        let train = plan.train_of(trial.condition);
        let hash = PlanHash::of(train);
        let known = per_step.iter().find(|(known, _)| *known == hash);
        let step = match known {
            Some((_, step)) => *step,
            None => {
                let step = seconds_per_step(train)?;
                per_step.push((hash, step));
                step
            }
        };
        seconds += step * train.steps as f64;
    }
    Some(seconds)
}

fn told(plan: &ExperimentPlan, seconds: f64) -> String {
    let trials = plan.trials().len();
    let minutes = (seconds / 60.0).ceil();
    format!(
        "estimate: {minutes:.0} minutes for the trainings of {} trials ({:.0} s each), by \
         {ESTIMATE_STEPS} of their steps on this machine as busy as it is; rendering and scoring \
         come on top",
        trials,
        seconds / trials.max(1) as f64
    )
}

fn seconds_per_step(train: &TrainPlan) -> Option<f64> {
    // However few steps a trial has, those measured are within the schedule.
    let endless = TrainSpec {
        steps: ENDLESS,
        ..TrainSpec::clone(train)
    };
    let endless = endless.into_plan(Path::new("estimate")).ok()?;
    let mut load = TrainingLoad::new(endless, 0).ok()?;
    load.step().ok()?;
    let began = Instant::now();
    for _ in 0..ESTIMATE_STEPS {
        load.step().ok()?;
    }
    Some(began.elapsed().as_secs_f64() / f64::from(ESTIMATE_STEPS))
}
