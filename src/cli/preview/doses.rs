//! A preset's doses side by side.

use std::path::Path;

use super::{Figures, PreviewArgs, Tiles, open, spread, tile};
use crate::augment::{AugmentPlan, AugmentSpec, Library, Subject, apply};
use crate::cli::UserMistake;
use crate::cli::drawing::caption;
use crate::dataset::read_image;

/// How often a preset without a ladder is drawn.
const DRAWS: usize = 5;

/// Each image as it is, and then at each severity of the preset's ladder.
pub(super) fn tiles(args: &PreviewArgs, of: &Path) -> anyhow::Result<Tiles> {
    if args.truth {
        let message = "--truth: the doses of a preset are shown without sidecars";
        return Err(UserMistake(message.to_owned()).into());
    }
    let preset = AugmentSpec::load(&args.input, &args.common.overrides, None)?;
    let severities = preset.severities();
    // What stands above a column, its plan, and what is added to the seed.
    let columns: Vec<(String, AugmentPlan, u64)> = if severities == 0 {
        let plan = preset.into_plan(&args.input)?;
        (0..DRAWS as u64)
            .map(|draw| {
                (
                    format!("seed {}", args.common.seed + draw),
                    plan.clone(),
                    draw,
                )
            })
            .collect()
    } else {
        (1..=severities)
            .map(|severity| {
                let overrides = &args.common.overrides;
                let dose = AugmentSpec::load(&args.input, overrides, Some(severity))?;
                let plan = dose.into_plan(&args.input)?;
                Ok((format!("severity {severity}"), plan, 0))
            })
            .collect::<anyhow::Result<_>>()?
    };
    let dataset = open(of, args)?;
    let libraries = columns
        .iter()
        .map(|(_, plan, _)| Library::open(plan, &dataset))
        .collect::<Result<Vec<_>, _>>()?;
    let (mut figures, mut tiles) = (Figures::default(), Vec::new());
    for sample in spread(&dataset, args.count) {
        let image = read_image(&sample.path)?;
        figures.add(&image, &sample.annotations);
        let mut as_it_is = tile(&image, args.drawn(&sample.annotations));
        caption(&mut as_it_is, "as it is");
        tiles.push(as_it_is);
        for ((name, plan, draw), library) in columns.iter().zip(&libraries) {
            let steps = plan.draw(args.common.seed + draw, &sample.file_name, library);
            let subject = Subject {
                image: image.clone(),
                annotations: sample.annotations.clone(),
                depth: crate::augment::depth_of(&dataset.root, sample)?,
            };
            let out = apply(&steps, subject, library)?;
            let mut dose = tile(&out.image, args.drawn(&out.annotations));
            caption(&mut dose, name);
            tiles.push(dose);
        }
    }
    Ok(Tiles {
        tiles,
        per_image: 1 + columns.len(),
        summary: figures.summary(&dataset.categories),
    })
}
