//! `admix bench train`.

use clap::Args;

/// Arguments of `admix bench train`.
#[derive(Debug, Args)]
pub struct TrainArgs {}

pub(super) fn run(_args: TrainArgs) -> anyhow::Result<super::Rate> {
    anyhow::bail!("admix bench train is being built")
}
