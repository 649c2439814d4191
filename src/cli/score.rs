//! `admix score`.

use clap::Args;

use super::Common;

/// Arguments of `admix score`.
#[derive(Debug, Args)]
pub struct ScoreArgs {
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: ScoreArgs) -> anyhow::Result<()> {
    let _ = args.common;
    anyhow::bail!("admix score is being built")
}
