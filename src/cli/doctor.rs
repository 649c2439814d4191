//! `admix doctor`.

use clap::Args;

use super::Common;

/// Arguments of `admix doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: DoctorArgs) -> anyhow::Result<()> {
    let _ = args.common;
    anyhow::bail!("admix doctor is being built")
}
