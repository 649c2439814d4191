//! `admix mix`.

use clap::Args;

use super::Common;

/// Arguments of `admix mix`.
#[derive(Debug, Args)]
pub struct MixArgs {
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: MixArgs) -> anyhow::Result<()> {
    let _ = args.common;
    anyhow::bail!("admix mix is being built")
}
