//! `admix doctor`.

use clap::Args;

use super::Common;
use crate::detector::ComputeDevice;
use crate::render::GpuContext;

/// Arguments of `admix doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  admix doctor
  admix doctor --json")]
pub struct DoctorArgs {
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: DoctorArgs) -> anyhow::Result<()> {
    args.common.refuse_overrides("`doctor`")?;
    let jobs = args.common.jobs();
    let context = GpuContext::new();
    if args.common.json {
        let (adapter, problem) = match &context {
            Ok(context) => (Some(context.summary()), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let training: Vec<&str> = ComputeDevice::ALL
            .into_iter()
            .filter(|device| device.check().is_ok())
            .map(ComputeDevice::name)
            .collect();
        let result = serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"), "jobs": jobs, "adapter": adapter, "problem": problem,
            "training": training,
        });
        println!("{result}");
        return Ok(());
    }
    println!("admix     {}", env!("CARGO_PKG_VERSION"));
    println!("threads   {jobs}");
    match context {
        Ok(context) => {
            let summary = context.summary();
            println!(
                "adapter   {} ({}, {})",
                summary.name, summary.backend, summary.device_type
            );
            println!("driver    {}", summary.driver);
            println!("rendering runs on {}", summary.name);
        }
        Err(error) => println!("rendering cannot run: {error}"),
    }
    for device in ComputeDevice::ALL {
        match device.check() {
            Ok(()) => println!("training  runs on {}", device.name()),
            Err(error) => println!("training  {error}"),
        }
    }
    Ok(())
}
