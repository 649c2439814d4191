//! `admix convert`.

use clap::Args;

use super::Common;

/// Arguments of `admix convert`.
#[derive(Debug, Args)]
pub struct ConvertArgs {
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: ConvertArgs) -> anyhow::Result<()> {
    let _ = args.common;
    anyhow::bail!("admix convert is being built")
}
