//! `admix augment`.

use clap::Args;

use super::Common;

/// Arguments of `admix augment`.
#[derive(Debug, Args)]
pub struct AugmentArgs {
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: AugmentArgs) -> anyhow::Result<()> {
    let _ = args.common;
    anyhow::bail!("admix augment is being built")
}
