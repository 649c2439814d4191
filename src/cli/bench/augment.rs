//! `admix bench augment`.

use clap::Args;

/// Arguments of `admix bench augment`.
#[derive(Debug, Args)]
pub struct AugmentArgs {}

pub(super) fn run(_args: AugmentArgs) -> anyhow::Result<super::Rate> {
    anyhow::bail!("admix bench augment is being built")
}
