//! `admix bench score`.

use clap::Args;

/// Arguments of `admix bench score`.
#[derive(Debug, Args)]
pub struct ScoreArgs {}

pub(super) fn run(_args: ScoreArgs) -> anyhow::Result<super::Rate> {
    anyhow::bail!("admix bench score is being built")
}
