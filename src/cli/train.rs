//! `admix train`.

use clap::Args;

use super::Common;

/// Arguments of `admix train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: TrainArgs) -> anyhow::Result<()> {
    let _ = args.common;
    anyhow::bail!("admix train is being built")
}
