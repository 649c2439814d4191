//! `admix report`.

use clap::Args;

use super::Common;

/// Arguments of `admix report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: ReportArgs) -> anyhow::Result<()> {
    let _ = args.common;
    anyhow::bail!("admix report is being built")
}
