//! `admix sweep`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Common;
use super::progress::Progress;
use crate::augment::{AugmentSpec, augment_dataset};
use crate::dataset::{Dataset, DatasetError, Split, write_atomically};
use crate::detector::{ComputeDevice, Detector};
use crate::evaluation::evaluate;
use crate::generate::{self, Sidecars};
use crate::observer::Observer;
use crate::render::RenderDevice;
use crate::scene::ScenePlan;
use crate::seed::PlanHash;
use crate::spec;
use crate::sweep::{Point, RunSpec, SweepPlan, SweepSpec};

/// Arguments of `admix sweep`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  admix sweep presets/sweep_exposure.yaml -o runs/exposure --dry-run
  admix sweep presets/sweep_exposure.yaml -o runs/exposure --set model=runs/baseline
  admix sweep presets/imagenet_c.yaml -o runs/mpc --set model=runs/baseline --set run.augment.input=data/real")]
pub struct SweepArgs {
    /// What is run, and over which keys.
    #[arg(value_name = "SWEEP.yaml")]
    sweep: PathBuf,
    /// Folder of results.csv and summary.json. A sweep that was interrupted goes on there.
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Keep the images of each point, which are otherwise removed once they are scored.
    #[arg(long)]
    keep: bool,
    /// Where the detector computes: cpu, or wgpu or cuda where the program was built with them.
    #[arg(long, default_value = "cpu")]
    device: ComputeDevice,
    #[command(flatten)]
    common: Common,
}

/// What came out at one point.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Outcome {
    /// Of the whole sweep's plan and this point: a result of another plan is not taken over.
    hash: PlanHash,
    images: usize,
    labels: usize,
    /// Where a detector was given.
    ap: Option<f64>,
    ap50: Option<f64>,
}

pub(super) fn run(args: SweepArgs) -> anyhow::Result<()> {
    let common = &args.common;
    let spec: SweepSpec = spec::load(&args.sweep, &common.overrides)?;
    let plan = spec.into_plan(&args.sweep)?;
    let points = plan.points(common.seed);
    // A wrong key or file shows before the first image is written.
    let task = Task::open(&args, &plan)?;
    for point in &points {
        task.content(point)?;
    }
    if common.dry_run {
        return print_plan(&args, &plan, &points);
    }
    let progress = Progress::new(common.json);
    let workers = rayon::ThreadPoolBuilder::new()
        .num_threads(common.jobs())
        .build()?;
    std::fs::create_dir_all(&args.out).map_err(|source| DatasetError::Write {
        path: args.out.clone(),
        source,
    })?;
    let clean = workers.install(|| task.clean(&args, &progress))?;
    let mut outcomes = Vec::new();
    for (index, point) in points.iter().enumerate() {
        let told: Vec<String> = point
            .settings
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        progress.message(&format!(
            "{} of {}: {}",
            index + 1,
            points.len(),
            told.join(" ")
        ));
        outcomes.push(workers.install(|| task.outcome(&args, index, point, &progress))?);
    }
    let results = Results {
        points: &points,
        outcomes: &outcomes,
        clean: clean.as_ref(),
    };
    write_atomically(&args.out.join("results.csv"), results.csv(&plan).as_bytes())?;
    let summary = results.summary();
    write_atomically(
        &args.out.join("summary.json"),
        &serde_json::to_vec_pretty(&summary)?,
    )?;
    if common.json {
        println!("{summary}");
    } else {
        print!("{}", results.table());
        println!("{}", args.out.join("results.csv").display());
    }
    Ok(())
}

/// What is run at every point, opened once.
struct Task<'a> {
    plan: &'a SweepPlan,
    detector: Option<Detector>,
    /// What is augmented.
    input: Option<Dataset>,
    /// Of the images that are augmented and of the detector's weights: results of others are
    /// not taken over.
    sources: PlanHash,
}

impl<'a> Task<'a> {
    fn open(args: &SweepArgs, plan: &'a SweepPlan) -> anyhow::Result<Self> {
        let model = plan.model.as_deref();
        let detector = model
            .map(|model| Detector::load(model, args.device))
            .transpose()?;
        let input = match &plan.run {
            RunSpec::Augment { input, split, .. } => Some(opened(input, *split)?),
            RunSpec::Generate { .. } => None,
        };
        let weights = model
            .map(|model| std::fs::read(model.join("model.safetensors")))
            .transpose()?;
        let weights = weights.map(|bytes| blake3::hash(&bytes).to_hex().to_string());
        let images: Option<Vec<_>> = input.as_ref().map(|input: &Dataset| {
            let samples = input.samples.iter();
            samples
                .map(|sample| (&sample.path, &sample.record.hash, sample.annotations.len()))
                .collect()
        });
        let sources = PlanHash::of(&(weights, images));
        Ok(Task {
            plan,
            detector,
            input,
            sources,
        })
    }

    /// What the preset or scene says with the point's settings.
    fn content(&self, point: &Point) -> anyhow::Result<PlanHash> {
        let overrides = point.overrides()?;
        Ok(match &self.plan.run {
            RunSpec::Augment { preset, .. } => {
                let spec = AugmentSpec::load(preset, &overrides, None)?;
                PlanHash::of(&spec.into_plan(preset)?)
            }
            RunSpec::Generate { scene, .. } => PlanHash::of(&ScenePlan::load(scene, &overrides)?),
        })
    }

    /// The data set of one point, written to `folder` or found there.
    fn dataset(
        &self,
        args: &SweepArgs,
        point: &Point,
        folder: &Path,
        progress: &Progress,
    ) -> anyhow::Result<Dataset> {
        let (overrides, seed) = (point.overrides()?, args.common.seed);
        match (&self.plan.run, &self.input) {
            (RunSpec::Augment { preset, .. }, Some(input)) => {
                let plan = AugmentSpec::load(preset, &overrides, None)?.into_plan(preset)?;
                Ok(augment_dataset(&plan, input, seed, folder, progress)?.0)
            }
            (RunSpec::Augment { input, split, .. }, None) => opened(input, *split),
            (RunSpec::Generate { scene, images }, _) => {
                let plan = ScenePlan::load(scene, &overrides)?;
                let device = RenderDevice::new(plan.spec().image.renderer, args.common.jobs())?;
                let sidecars = Sidecars::default();
                Ok(generate::generate(
                    &plan,
                    *images,
                    seed,
                    folder,
                    args.common.jobs(),
                    sidecars,
                    &device,
                    progress,
                )?)
            }
        }
    }

    fn outcome(
        &self,
        args: &SweepArgs,
        index: usize,
        point: &Point,
        progress: &Progress,
    ) -> anyhow::Result<Outcome> {
        let content = self.content(point)?;
        let seed = args.common.seed;
        let hash = PlanHash::of(&("sweep", self.plan, seed, point, content, &self.sources));
        let folder = args.out.join("points").join(format!("{index:04}"));
        let record = folder.with_extension("json");
        if let Some(done) = finished(&record, &hash) {
            return Ok(done);
        }
        let dataset = self.dataset(args, point, &folder, progress)?;
        let outcome = self.scored(hash, &dataset, progress)?;
        write_atomically(&record, &serde_json::to_vec(&outcome)?)?;
        if self.detector.is_some() && !args.keep {
            std::fs::remove_dir_all(&folder)?;
        }
        Ok(outcome)
    }

    /// The detector on the images as they are.
    fn clean(&self, args: &SweepArgs, progress: &Progress) -> anyhow::Result<Option<Outcome>> {
        let (Some(input), Some(_)) = (&self.input, &self.detector) else {
            return Ok(None);
        };
        let hash = PlanHash::of(&("clean", &self.plan.run, &self.plan.model, &self.sources));
        let record = args.out.join("clean.json");
        if let Some(done) = finished(&record, &hash) {
            return Ok(Some(done));
        }
        progress.message("the images as they are");
        let outcome = self.scored(hash, input, progress)?;
        write_atomically(&record, &serde_json::to_vec(&outcome)?)?;
        Ok(Some(outcome))
    }

    fn scored(
        &self,
        hash: PlanHash,
        dataset: &Dataset,
        progress: &Progress,
    ) -> anyhow::Result<Outcome> {
        let (mut ap, mut ap50) = (None, None);
        if let Some(detector) = &self.detector {
            let dataset = detector.relabelled(dataset);
            let detections = detector.predict(&dataset, progress)?;
            let evaluation = evaluate(&dataset, &detections)?;
            (ap, ap50) = (Some(evaluation.ap()), Some(evaluation.ap50()));
        }
        Ok(Outcome {
            hash,
            images: dataset.samples.len(),
            labels: dataset.box_count(),
            ap,
            ap50,
        })
    }
}

fn opened(input: &Path, split: Option<Split>) -> anyhow::Result<Dataset> {
    let dataset = Dataset::open(input)?;
    let part = match split {
        Some(split) => dataset.split(split),
        None => dataset,
    };
    super::augment::refuse_empty(&part, input, split)?;
    Ok(part)
}

/// A result of an earlier run of the same plan.
fn finished(record: &Path, hash: &PlanHash) -> Option<Outcome> {
    let bytes = std::fs::read(record).ok()?;
    let outcome: Outcome = serde_json::from_slice(&bytes).ok()?;
    (outcome.hash == *hash).then_some(outcome)
}

/// All that came out.
struct Results<'a> {
    points: &'a [Point],
    outcomes: &'a [Outcome],
    clean: Option<&'a Outcome>,
}

impl Results<'_> {
    fn csv(&self, plan: &SweepPlan) -> String {
        let quoted = |text: &str| {
            if text.contains([',', '"', '\n']) {
                format!("\"{}\"", text.replace('"', "\"\""))
            } else {
                text.to_owned()
            }
        };
        let keys: Vec<String> = plan.keys().map(quoted).collect();
        let mut csv = format!("{},images,labels,ap,ap50\n", keys.join(","));
        for (point, outcome) in self.points.iter().zip(self.outcomes) {
            let mut cells: Vec<String> = point
                .settings
                .iter()
                .map(|(_, value)| quoted(&shown(value)))
                .collect();
            let score = |score: Option<f64>| score.map(|ap| format!("{ap:.4}")).unwrap_or_default();
            cells.push(outcome.images.to_string());
            cells.push(outcome.labels.to_string());
            cells.push(score(outcome.ap));
            cells.push(score(outcome.ap50));
            csv.push_str(&cells.join(","));
            csv.push('\n');
        }
        csv
    }

    /// Mean AP over all points, as mPC is over corruptions and severities (Michaelis et al.
    /// 2019, "Benchmarking robustness in object detection", equation 1), if each was scored.
    fn mean_ap(&self) -> Option<f64> {
        let scores: Option<Vec<f64>> = self.outcomes.iter().map(|outcome| outcome.ap).collect();
        let scores = scores.filter(|scores| !scores.is_empty())?;
        Some(scores.iter().sum::<f64>() / scores.len() as f64)
    }

    fn clean_ap(&self) -> Option<f64> {
        self.clean.and_then(|outcome| outcome.ap)
    }

    /// Share of the clean AP that is left.
    fn relative(&self) -> Option<f64> {
        let clean = self.clean_ap().filter(|clean| *clean > 0.0)?;
        Some(self.mean_ap()? / clean)
    }

    fn summary(&self) -> Value {
        let points: Vec<Value> = self
            .points
            .iter()
            .zip(self.outcomes)
            .map(|(point, outcome)| {
                let settings: serde_json::Map<String, Value> =
                    point.settings.iter().cloned().collect();
                json!({"settings": settings, "images": outcome.images,
                       "labels": outcome.labels, "ap": outcome.ap, "ap50": outcome.ap50})
            })
            .collect();
        json!({"clean_ap": self.clean_ap(), "mean_ap": self.mean_ap(),
               "relative_ap": self.relative(), "points": points})
    }

    fn table(&self) -> String {
        let mut table = String::new();
        for (point, outcome) in self.points.iter().zip(self.outcomes) {
            let settings = point.settings.iter();
            let settings: Vec<String> = settings
                .map(|(key, value)| {
                    let name = key.rsplit('.').next().unwrap_or(key);
                    format!("{name} {}", shown(value))
                })
                .collect();
            let settings = settings.join(", ");
            // Writing to a string cannot fail.
            let _ = match outcome.ap {
                Some(ap) => writeln!(table, "{settings:<40} AP {:6.2}", 100.0 * ap),
                None => writeln!(
                    table,
                    "{settings:<40} {} images, {} labels",
                    outcome.images, outcome.labels
                ),
            };
        }
        if let Some(mean) = self.mean_ap() {
            let _ = write!(table, "mean AP {:.2}", 100.0 * mean);
            if let (Some(clean), Some(relative)) = (self.clean_ap(), self.relative()) {
                let (clean, relative) = (100.0 * clean, 100.0 * relative);
                let _ = write!(
                    table,
                    "; {relative:.1} % of {clean:.2} on the images as they are"
                );
            }
            table.push('\n');
        }
        table
    }
}

/// A text without its quotes.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn print_plan(args: &SweepArgs, plan: &SweepPlan, points: &[Point]) -> anyhow::Result<()> {
    if args.common.json {
        println!(
            "{}",
            json!({"out": args.out, "plan": plan, "points": points})
        );
        return Ok(());
    }
    println!(
        "{} points would go to {}:",
        points.len(),
        args.out.display()
    );
    for point in points {
        let settings: Vec<String> = point
            .settings
            .iter()
            .map(|(key, value)| format!("{key}={}", shown(value)))
            .collect();
        println!("  {}", settings.join(" "));
    }
    Ok(())
}
