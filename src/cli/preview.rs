//! `admix preview`.

use clap::Args;

use super::Common;

/// Arguments of `admix preview`.
#[derive(Debug, Args)]
pub struct PreviewArgs {
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: PreviewArgs) -> anyhow::Result<()> {
    let _ = args.common;
    anyhow::bail!("admix preview is being built")
}
