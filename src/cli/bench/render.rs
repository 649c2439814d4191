//! `admix bench render`.

use clap::Args;

/// Arguments of `admix bench render`.
#[derive(Debug, Args)]
pub struct RenderArgs {}

pub(super) fn run(_args: RenderArgs) -> anyhow::Result<super::Rate> {
    anyhow::bail!("admix bench render is being built")
}
