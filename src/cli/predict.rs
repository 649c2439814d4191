//! `admix predict`.

use clap::Args;

use super::Common;

/// Arguments of `admix predict`.
#[derive(Debug, Args)]
pub struct PredictArgs {
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: PredictArgs) -> anyhow::Result<()> {
    let _ = args.common;
    anyhow::bail!("admix predict is being built")
}
