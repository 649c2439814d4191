//! `admix eval`.

use clap::Args;

use super::Common;

/// Arguments of `admix eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: EvalArgs) -> anyhow::Result<()> {
    let _ = args.common;
    anyhow::bail!("admix eval is being built")
}
