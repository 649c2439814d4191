//! `admix schema`.

use clap::{Args, ValueEnum};

use crate::{augment, scene};

/// Arguments of `admix schema`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  admix schema scene > scene.schema.json
  admix schema augment > preset.schema.json

Editors with a YAML language server then complete and check files that begin with
  # yaml-language-server: $schema=scene.schema.json")]
pub struct SchemaArgs {
    /// The kind of file.
    kind: Kind,
}

/// Kinds of files that have a schema.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Scene,
    Augment,
}

pub(super) fn run(args: SchemaArgs) -> anyhow::Result<()> {
    let schema = match args.kind {
        Kind::Scene => scene::scene_schema(),
        Kind::Augment => augment::preset_schema(),
    };
    println!("{}", serde_json::to_string_pretty(&schema)?);
    Ok(())
}
