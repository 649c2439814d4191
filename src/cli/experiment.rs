//! `admix experiment`.

use clap::Args;

use super::Common;

/// Arguments of `admix experiment`.
#[derive(Debug, Args)]
pub struct ExperimentArgs {
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: ExperimentArgs) -> anyhow::Result<()> {
    let _ = args.common;
    anyhow::bail!("admix experiment is being built")
}
