//! `admix generate`.

use clap::Args;

use super::Common;

/// Arguments of `admix generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: GenerateArgs) -> anyhow::Result<()> {
    let _ = args.common;
    anyhow::bail!("admix generate is being built")
}
