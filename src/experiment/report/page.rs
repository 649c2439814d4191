//! The page: one file, no network, readable on a phone and in dark mode.

use std::fmt::Write;
use std::path::Path;

use super::super::ExperimentError;
use super::super::exhibit::{Exhibit, ExhibitKind, Pair};
use super::super::plan::{ExperimentPlan, SyntheticSource};
use super::super::runner::{PAIRS, load_data, load_pairs, trial_folder};
use super::super::sentence::signed;
use super::super::tipping_point::{
    ArmSummary, Estimate, HarmOnset, LevelSummary, Standing, Summary,
};
use super::super::trial::TrialResult;
use super::chart;
use super::factors::{write_factors, write_halving};
use super::overlay::{self, write_overlays};
use super::rates::write_rates;
use super::why::{write_sources, write_why, write_worth};
use crate::dataset::DatasetError;
use crate::html::{STYLE, escape, jpeg_address};

/// Renders the page. Writing to a `String` cannot fail, here and below.
pub(super) fn render(
    plan: &ExperimentPlan,
    results: &[TrialResult],
    summary: &Summary,
    out: &Path,
) -> Result<String, ExperimentError> {
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <title>How much synthetic data?</title><style>{STYLE}</style></head><body><main>\n\
         <p class=\"kicker\">admix experiment &middot; {} of {} trials finished &middot; {} seeds complete</p>\n\
         <h1>How much synthetic data?</h1>\n",
        summary.trials_finished,
        summary.trials_total,
        summary.seeds_used.len()
    );
    for arm in summary.arms.iter().filter(|arm| arm.cell == 0) {
        let tone = tone(arm);
        let _ = writeln!(
            html,
            "<p class=\"verdict {tone}\">{}</p>",
            escape(&arm.sentence)
        );
    }
    for factors in &summary.factors {
        let tone = if factors.refusal.is_some() {
            "muted"
        } else {
            "open"
        };
        let sentence = escape(&factors.sentence);
        let _ = writeln!(html, "<p class=\"verdict {tone}\">{sentence}</p>");
    }
    if let Some(rate) = &summary.exchange_rate {
        let tone = if rate.refusal.is_some() {
            "muted"
        } else {
            "open"
        };
        let sentence = escape(&rate.sentence);
        let _ = writeln!(html, "<p class=\"verdict {tone}\">{sentence}</p>");
    }
    if let Some(halving) = &summary.halving {
        let tone = match halving.refusal {
            Some(_) => "muted",
            None => "open",
        };
        let sentence = escape(&halving.sentence);
        let _ = writeln!(html, "<p class=\"verdict {tone}\">{sentence}</p>");
    }
    if let Some(check) = &summary.rate_check {
        let tone = if check.is_complete { "open" } else { "muted" };
        let sentence = escape(&check.sentence);
        let _ = writeln!(html, "<p class=\"verdict {tone}\">{sentence}</p>");
    }
    write_overlays(&mut html, summary);
    let pairs = load_pairs(out)?;
    for arm in &summary.arms {
        // Those of further cells are summed up in the factors' effects.
        if arm.cell > 0 {
            let name = arm.source.as_deref().unwrap_or_default();
            let _ = writeln!(
                html,
                "<details><summary>{}: {}</summary>",
                arm_title(arm),
                escape(name)
            );
        }
        write_arm(&mut html, plan, arm, summary);
        write_exhibits(&mut html, arm, results, out)?;
        write_pairs(&mut html, plan, arm, &pairs, out)?;
        if arm.cell > 0 {
            html.push_str("</details>\n");
        }
    }
    write_factors(&mut html, summary);
    write_halving(&mut html, summary);
    write_worth(&mut html, summary);
    write_sources(&mut html, summary);
    write_ways(&mut html, summary);
    write_rates(&mut html, summary);
    write_too_noisy(&mut html, summary);
    write_left_out(
        &mut html,
        &load_data(out)?.map_or(Vec::new(), |data| data.left_out),
    );
    write_method(&mut html, plan, summary);
    html.push_str("</main></body></html>\n");
    Ok(html)
}

fn tone(arm: &ArmSummary) -> &'static str {
    match arm.harm_onset {
        None => "muted",
        Some(HarmOnset::From { .. }) => "bad",
        Some(HarmOnset::NotSeen { .. }) => "good",
        Some(HarmOnset::TooNoisy { .. }) => "open",
    }
}

fn arm_title(arm: &ArmSummary) -> &'static str {
    match arm.kind {
        super::super::plan::ArmKind::Substitution => "Replacing real images by synthetic ones",
        super::super::plan::ArmKind::Addition => "Adding synthetic images to the real ones",
        super::super::plan::ArmKind::Pretraining => {
            "Training on synthetic images first, then on real ones"
        }
        super::super::plan::ArmKind::Curriculum => "Training on synthetic and real images in turn",
        super::super::plan::ArmKind::Auxiliary => "Adding synthetic images with the auxiliary task",
        super::super::plan::ArmKind::Augmentation => "Adding augmented copies of the real images",
    }
}

fn write_arm(html: &mut String, plan: &ExperimentPlan, arm: &ArmSummary, summary: &Summary) {
    let of = match &arm.source {
        Some(source) => format!(": {}", escape(source)),
        None => String::new(),
    };
    let _ = writeln!(html, "<section><h2>{}{of}</h2>", arm_title(arm));
    if let Some(how) = plan.regimes.describe(arm.kind.regime(), plan.train.steps) {
        let _ = writeln!(html, "<p>How: {}.</p>", escape(&how));
    }
    let _ = writeln!(
        html,
        "<figure>{}<figcaption>Small dots: one training each. Line and large dots: mean over \
         the complete seeds. Band: 95 % interval of the mean for new seeds{}. Ring: highest mean; \
         bar above: ratios that cannot be told from it. Red bar below: where the loss may reach the \
         smallest effect of interest. Dashed: real-only.</figcaption></figure>",
        chart::curve(arm, "AP on the real test split", |p| p.1, |l| l.ap, true),
        if summary.test_groups.is_some() {
            " and new test images"
        } else {
            ""
        }
    );
    if let Some(svg) = chart::differences(arm, summary.smallest_effect) {
        let _ = writeln!(
            html,
            "<figure>{svg}<figcaption>Difference to real-only, paired by seed, with intervals \
             that hold together at 95 %. Shaded: less than the smallest effect of interest \
             ({} AP).</figcaption></figure>",
            summary.smallest_effect
        );
    }
    write_table(html, arm);
    write_why(html, arm);
    let _ = writeln!(
        html,
        "<details><summary>The same curve at IoU 0.50</summary><figure>{}</figure></details></section>",
        chart::curve(
            arm,
            "AP50 on the real test split",
            |p| p.2,
            |l| l.ap50,
            false
        )
    );
}

fn interval(estimate: Option<Estimate>) -> String {
    estimate.map_or("&ndash;".to_owned(), |e| {
        format!(
            "{:.3} <span class=\"range\">[{:.3}, {:.3}]</span>",
            e.value, e.low, e.high
        )
    })
}

pub(super) fn difference_interval(estimate: Option<Estimate>) -> String {
    estimate.map_or("&ndash;".to_owned(), |d| {
        format!(
            "{:+.3} <span class=\"range\">[{:+.3}, {:+.3}]</span>",
            d.value, d.low, d.high
        )
    })
}

fn write_table(html: &mut String, arm: &ArmSummary) {
    html.push_str(
        "<div class=\"scroll\"><table><thead><tr><th>synthetic</th><th>real</th><th>synth.</th>\
         <th>seeds</th><th>AP</th><th>AP50</th><th>difference to real-only</th><th>says</th></tr></thead><tbody>",
    );
    for level in &arm.levels {
        let difference = difference_interval(match level.standing {
            Standing::Reference => None,
            _ => level.difference,
        });
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{difference}</td>\
             <td><span class=\"chip {}\">{}</span></td></tr>",
            escape(&level.label),
            level.condition.n_real,
            level.condition.n_synthetic,
            level.points.len(),
            interval(level.ap),
            interval(level.ap50),
            standing_class(level.standing),
            level.standing.label()
        );
    }
    html.push_str("</tbody></table></div>\n");
}

pub(super) fn standing_class(standing: Standing) -> &'static str {
    match standing {
        Standing::Harm => "bad",
        Standing::Better => "good",
        Standing::NoHarm => "fine",
        Standing::TooNoisy => "open",
        Standing::Reference | Standing::NoClaim => "muted",
    }
}

/// The same images in other ways than mixing them, where the plan does both.
fn write_ways(html: &mut String, summary: &Summary) {
    if summary.ways.is_empty() {
        return;
    }
    html.push_str("<section><h2>Other ways to use the same images</h2>\n");
    for way in &summary.ways {
        let _ = writeln!(html, "<p>{}</p>", escape(&way.sentence));
    }
    html.push_str(
        "<div class=\"scroll\"><table><thead><tr><th>way</th><th>ratio</th><th>images</th>\
         <th>AP mixed</th><th>AP this way</th><th>difference to mixing</th><th>says</th></tr></thead><tbody>",
    );
    for way in &summary.ways {
        for comparison in &way.comparisons {
            let _ = write!(
                html,
                "<tr><th scope=\"row\">{}{}</th><td>{}</td><td>{} + {}</td><td>{}</td><td>{}</td><td>{}</td>\
                 <td><span class=\"chip {}\">{}</span></td></tr>",
                way.regime.name(),
                way.source
                    .as_ref()
                    .map_or(String::new(), |source| format!(", {}", escape(source))),
                escape(&comparison.label),
                comparison.condition.n_real,
                comparison.condition.n_synthetic,
                interval(comparison.ap_mixed),
                interval(comparison.ap),
                difference_interval(comparison.difference),
                standing_class(comparison.standing),
                comparison.standing.label_of_way()
            );
        }
    }
    html.push_str(
        "</tbody></table></div>\n<p>Each row trains on the same images of the same seeds (augmentation on \
         as many copies of the real ones in place of synthetic images), once \
         mixed and once in the other way, for the same number of steps. Differences are paired by \
         seed, and all of this table hold together at 95 % (Bonferroni).</p></section>\n",
    );
}

/// The pictures of one ratio: what was trained on, and what was then found.
fn write_exhibits(
    html: &mut String,
    arm: &ArmSummary,
    results: &[TrialResult],
    out: &Path,
) -> Result<(), ExperimentError> {
    let shown: Vec<(&LevelSummary, &TrialResult)> = arm
        .levels
        .iter()
        .filter_map(|level| {
            let result = results.iter().find(|result| {
                result.trial.condition == level.condition && !result.measurement.exhibits.is_empty()
            })?;
            Some((level, result))
        })
        .collect();
    let Some((_, first)) = shown.first() else {
        return Ok(());
    };
    let _ = writeln!(
        html,
        "<section><h3>What the detector saw, and what it then found (seed {})</h3>",
        first.trial.seed
    );
    type Shows = fn(ExhibitKind) -> bool;
    let strips: [(&str, Shows); 3] = [
        ("Training images", |kind| {
            matches!(kind, ExhibitKind::TrainReal | ExhibitKind::TrainSynthetic)
        }),
        (
            "Detections on real test images: right ones green, wrong ones orange",
            |kind| kind == ExhibitKind::Detections,
        ),
        (
            "The real test images that each detector does worst on",
            |kind| kind == ExhibitKind::Worst,
        ),
    ];
    for (title, shows) in strips {
        let has_any = |result: &TrialResult| {
            let exhibits = &result.measurement.exhibits;
            exhibits.iter().any(|exhibit| shows(exhibit.kind))
        };
        if !shown.iter().any(|(_, result)| has_any(result)) {
            continue;
        }
        let _ = writeln!(html, "<h4>{title}</h4><div class=\"strips\">");
        for (level, result) in &shown {
            let _ = write!(
                html,
                "<div class=\"strip\"><div class=\"strip-label\">{}<small><span>{} real </span><span>{} synthetic</span></small></div><div class=\"thumbs\">",
                escape(&level.label),
                level.condition.n_real,
                level.condition.n_synthetic
            );
            let folder = trial_folder(out, &result.trial);
            for exhibit in &result.measurement.exhibits {
                if shows(exhibit.kind) {
                    write_exhibit(html, exhibit, &folder)?;
                }
            }
            html.push_str("</div></div>\n");
        }
        html.push_str("</div>\n");
    }
    html.push_str("</section>\n");
    Ok(())
}

/// The test images on which an arm's largest ratio loses most, by real-only and by it.
fn write_pairs(
    html: &mut String,
    plan: &ExperimentPlan,
    arm: &ArmSummary,
    pairs: &[Pair],
    out: &Path,
) -> Result<(), ExperimentError> {
    let is_own = |pair: &&Pair| {
        let own = plan.arms.get(pair.arm);
        own.is_some_and(|own| {
            own.kind == arm.kind && own.cell == arm.cell && plan.setting_name(own) == arm.source
        })
    };
    let own: Vec<&Pair> = pairs.iter().filter(is_own).collect();
    let (Some(first), Some(last)) = (arm.levels.first(), arm.levels.last()) else {
        return Ok(());
    };
    if own.is_empty() {
        return Ok(());
    }
    let _ = writeln!(
        html,
        "<section><h3>Where {} loses most to real-only</h3><div class=\"strips\">",
        escape(&last.label)
    );
    type Side = fn(&Pair) -> &Exhibit;
    let sides: [(&LevelSummary, Side); 2] = [(first, |p| &p.without), (last, |p| &p.with)];
    for (level, side) in sides {
        let _ = write!(
            html,
            "<div class=\"strip\"><div class=\"strip-label\">{}<small><span>{} real </span><span>{} \
             synthetic</span></small></div><div class=\"thumbs\">",
            escape(&level.label),
            level.condition.n_real,
            level.condition.n_synthetic
        );
        for pair in &own {
            write_exhibit(html, side(pair), &out.join(PAIRS))?;
        }
        html.push_str("</div></div>\n");
    }
    html.push_str(
        "</div><p>The same test images, by the detectors of one seed. Right detections green, wrong \
         ones orange; an image counts by the harmonic mean of its precision and recall.</p></section>\n",
    );
    Ok(())
}

fn write_exhibit(
    html: &mut String,
    exhibit: &Exhibit,
    folder: &Path,
) -> Result<(), ExperimentError> {
    let (class, tag) = match exhibit.kind {
        ExhibitKind::TrainReal => ("real", "real"),
        ExhibitKind::TrainSynthetic => ("synthetic", "synthetic"),
        ExhibitKind::Detections | ExhibitKind::Worst => ("test", ""),
    };
    let path = folder.join(&exhibit.file);
    let bytes = std::fs::read(&path).map_err(|source| DatasetError::Read { path, source })?;
    let caption = escape(&exhibit.caption);
    let _ = write!(
        html,
        "<figure class=\"thumb {class}\"><img alt=\"{caption}\" title=\"{caption}\" loading=\"lazy\" src=\"{}\">",
        jpeg_address(&bytes)
    );
    if tag.is_empty() {
        html.push_str("</figure>");
    } else {
        let _ = write!(html, "<figcaption>{tag}</figcaption></figure>");
    }
    Ok(())
}

fn write_too_noisy(html: &mut String, summary: &Summary) {
    html.push_str("<section><h2>What was too noisy to say</h2><ul>");
    let before = html.len();
    for arm in summary.arms.iter().filter(|arm| arm.cell == 0) {
        let name = escape(&overlay::name(arm));
        if let Some(refusal) = &arm.refusal {
            let _ = write!(
                html,
                "<li>Everything about {name}: {}.</li>",
                escape(&refusal.reason())
            );
            continue;
        }
        for level in &arm.levels {
            match (level.standing, level.difference) {
                (Standing::TooNoisy, Some(difference)) => {
                    let _ = write!(
                        html,
                        "<li>{name} at {}: {} to real-only may be no loss or one that matters.</li>",
                        escape(&level.label),
                        signed(difference)
                    );
                }
                (Standing::NoClaim, _) => {
                    let _ = write!(
                        html,
                        "<li>{name} at {}: every run gave the same AP, so nothing is claimed of it.</li>",
                        escape(&level.label)
                    );
                }
                _ => {}
            }
        }
        if let Some(detectable) = arm.minimal_detectable_difference {
            let needed = match arm.seeds_needed {
                Some(seeds) => format!("about {seeds} seeds"),
                None => "more test images, whatever the number of seeds".to_owned(),
            };
            let _ = write!(
                html,
                "<li>{name}: a true difference of {detectable:.3} AP or more is found with 80 % power \
                 by these {} seeds; {} AP would need {needed}.</li>",
                summary.seeds_used.len(),
                summary.smallest_effect
            );
        }
    }
    write_too_noisy_ways(html, summary);
    if html.len() == before {
        html.push_str("<li>Nothing.</li>");
    }
    html.push_str("</ul></section>\n");
}

fn write_too_noisy_ways(html: &mut String, summary: &Summary) {
    for way in &summary.ways {
        let name = way.regime.name();
        for comparison in &way.comparisons {
            if let (Standing::TooNoisy, Some(difference)) =
                (comparison.standing, comparison.difference)
            {
                let _ = write!(
                    html,
                    "<li>{name} at {}: {} to mixing may be no loss or one that matters.</li>",
                    escape(&comparison.label),
                    signed(difference)
                );
            }
        }
        if let Some(detectable) = way.minimal_detectable_difference {
            let _ = write!(
                html,
                "<li>{name}: a true difference to mixing of {detectable:.3} AP or more is found \
                 with 80 % power by these {} seeds.</li>",
                summary.seeds_used.len()
            );
        }
    }
}

/// Images that no trial was trained on, because they would have given test images away.
fn write_left_out(html: &mut String, left_out: &[String]) {
    if left_out.is_empty() {
        return;
    }
    html.push_str("<section><h2>Left out of training</h2><ul>");
    for reason in left_out {
        let _ = write!(html, "<li>{}</li>", escape(reason));
    }
    html.push_str("</ul></section>\n");
}

fn write_method(html: &mut String, plan: &ExperimentPlan, summary: &Summary) {
    let synthetic: Vec<String> = plan
        .sources()
        .into_iter()
        .map(|(name, source)| {
            let from = match source {
                SyntheticSource::Dataset(path) => path.display().to_string(),
                SyntheticSource::Scene(scene) => {
                    let set = scene.set.iter().map(|set| format!(" with {set}"));
                    format!(
                        "rendered from {}{}",
                        scene.file.display(),
                        set.collect::<String>()
                    )
                }
            };
            match plan.other_synthetic.is_empty() {
                true => from,
                false => format!("{name}: {from}"),
            }
        })
        .collect();
    let train = format!(
        "{} steps of {} images in every trial, {} x {} px, MobileNetV2 x {}",
        plan.train.steps,
        plan.train.batch_size,
        plan.train.input.width,
        plan.train.input.height,
        plan.train.width_multiplier
    );
    let seeds: Vec<String> = summary.seeds_used.iter().map(u64::to_string).collect();
    let seconds = summary
        .seconds_per_trial
        .map_or("unknown".to_owned(), |s| format!("{s:.1} s on average"));
    let deviation = summary
        .difference_deviation
        .map_or("unknown".to_owned(), |d| format!("{d:.4} AP"));
    let groups = summary
        .test_groups
        .map_or("not drawn anew".to_owned(), |groups| groups.to_string());
    let rows = [
        ("Real data", plan.real.display().to_string()),
        ("Synthetic data", synthetic.join("; ")),
        (
            "Classes",
            plan.class_agnostic
                .as_ref()
                .map_or("as labelled".to_owned(), |name| {
                    format!("all joined as {name}")
                }),
        ),
        ("Training", train),
        ("Complete seeds", seeds.join(", ")),
        ("Time a trial", seconds),
        ("Deviation of a paired difference", deviation),
        ("Groups of test images", groups),
        ("Plan", summary.plan.as_str().to_owned()),
    ];
    html.push_str("<section><h2>How this was made</h2><dl>");
    for (name, value) in rows {
        let _ = write!(html, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
    }
    html.push_str(
        "</dl><p>Each trial draws its images by its seed, trains the same number of steps from \
         initial weights of the same seed, and is evaluated on the same real test split. Seeds are \
         blocks of a two-way layout; one residual variance serves all comparisons. Differences to \
         real-only hold together within an arm (Dunnett, 95 %); harm means that the whole interval \
         lies below zero and reaches the smallest effect of interest. The peak's ties follow Hsu's \
         comparison with the best. No claim is made from fewer than five seeds or from identical \
         runs. The tipping point and the break-even point are the ratios at which a t-test does not \
         contradict that the curve crosses there; between two ratios it is taken to be straight. ",
    );
    html.push_str(match summary.test_groups {
        Some(_) => {
            "The intervals speak of new seeds and of other test images of the same kind, which were \
             drawn from the groups of this test split; not of another pool of synthetic images or \
             another detector.</p></section>\n"
        }
        None => {
            "The intervals speak of new seeds on this test split and this pool of images, not of \
             other test images.</p></section>\n"
        }
    });
}
