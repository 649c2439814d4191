//! `report.html`, `results.csv` and `summary.json` of an experiment.

mod chart;
mod factors;
mod figures;
mod learning_curve;
mod overlay;
mod page;
mod rates;
mod why;

use std::path::{Path, PathBuf};

use super::ExperimentError;
use super::plan::ExperimentPlan;
use super::runner::{load_plan, load_results};
use super::tipping_point::{Summary, analyse};
use super::trial::TrialResult;
use crate::dataset::write_atomically;

/// The twelve numbers, as columns of `results.csv`.
const STAT_COLUMNS: &str =
    "ap,ap50,ap75,ap_small,ap_medium,ap_large,ar_1,ar_10,ar_100,ar_small,ar_medium,ar_large";

/// Where the report was written, and what it says.
#[derive(Debug, Clone)]
pub struct ReportFiles {
    pub html: PathBuf,
    pub csv: PathBuf,
    pub summary_json: PathBuf,
    /// Each figure of the page as SVG, and its numbers as CSV.
    pub figures: Vec<PathBuf>,
    pub summary: Summary,
}

/// Writes the report of the experiment in `out` from its plan and finished trials.
///
/// # Errors
/// No experiment in `out`, damaged results, or a file that cannot be written.
pub fn write_report(out: &Path) -> Result<ReportFiles, ExperimentError> {
    let plan = load_plan(out)?;
    let results = load_results(&plan, out)?;
    let summary = analyse(&plan, &results);
    let files = ReportFiles {
        html: out.join("report.html"),
        csv: out.join("results.csv"),
        summary_json: out.join("summary.json"),
        figures: figures::write_figures(&summary, out)?,
        summary,
    };
    write_atomically(&files.csv, csv(&results, &plan).as_bytes())?;
    let json = serde_json::to_vec_pretty(&files.summary).expect("a summary serialises");
    write_atomically(&files.summary_json, &json)?;
    let html = page::render(&plan, &results, &files.summary, out)?;
    write_atomically(&files.html, html.as_bytes())?;
    Ok(files)
}

/// One row a trial. Identifiers are made of digits and letters, so that nothing
/// needs quoting.
fn csv(results: &[TrialResult], plan: &ExperimentPlan) -> String {
    let mut text = format!(
        "trial,n_real,n_synthetic,source,cell,regime,rate,seed,{STAT_COLUMNS},validation_ap,steps,seconds\n"
    );
    for result in results {
        let condition = result.trial.condition;
        let validation = result.measurement.validation_ap;
        let stats: Vec<String> = result
            .measurement
            .stats
            .iter()
            .map(|value| format!("{value:.6}"))
            .collect();
        text.push_str(&format!(
            "{},{},{},{},{},{},{},{},{},{},{},{:.3}\n",
            result.trial.id,
            condition.n_real,
            condition.n_synthetic,
            condition.source + 1,
            plan.crossing
                .name(condition.cell)
                .unwrap_or_default()
                .replace(", ", "+"),
            condition.regime.name(),
            plan.rate_of(condition),
            result.trial.seed,
            stats.join(","),
            validation.map_or(String::new(), |ap| format!("{ap:.6}")),
            result.measurement.steps,
            result.seconds
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::exhibit::{ExhibitKind, draw_exhibit};
    use super::super::plan::tests::{plan, plan_with_factors, plan_with_rates, plan_with_ways};
    use super::super::runner::tests::{Mock, ONE};
    use super::super::runner::{DataRecord, record_data};
    use super::super::trial::{Measurement, Trial};
    use super::super::{Executor, run};
    use super::*;
    use crate::annotation::BoundingBox;
    use crate::observer::{Observer, Silent};
    use crate::seed::PlanHash;

    /// The mock, with a picture for each kind of exhibit.
    struct Drawing(Mock);

    impl Executor for Drawing {
        fn units(&self, _: &Trial) -> u64 {
            1
        }

        fn run(
            &self,
            trial: &Trial,
            folder: &Path,
            observer: &dyn Observer,
        ) -> Result<Measurement, ExperimentError> {
            let mut measurement = self.0.run(trial, folder, observer)?;
            if trial.exhibits {
                let source = folder.join("source.png");
                image::RgbImage::from_pixel(64, 48, image::Rgb([90, 120, 90]))
                    .save(&source)
                    .unwrap();
                for (kind, name) in [
                    (ExhibitKind::TrainReal, "train_0"),
                    (ExhibitKind::TrainSynthetic, "train_1"),
                    (ExhibitKind::Detections, "test_0"),
                ] {
                    let bbox = BoundingBox::from([8.0, 8.0, 20.0, 20.0]);
                    let caption = "a <b> & \"c\"".to_owned();
                    let boxes = [(bbox, [255, 180, 0])];
                    measurement
                        .exhibits
                        .push(draw_exhibit(kind, &source, &boxes, folder, name, caption).unwrap());
                }
            }
            Ok(measurement)
        }
    }

    #[test]
    fn the_report_is_one_safe_file_and_is_rebuilt_alike() {
        let folder = tempfile::tempdir().unwrap();
        let mut plan = plan();
        plan.class_agnostic = Some("<script>alert(1)</script>".into());
        run(
            &plan,
            folder.path(),
            &Drawing(Mock::new(0.01)),
            ONE,
            &Silent,
        )
        .unwrap();
        let data = DataRecord {
            real: PlanHash::of(&"photographs"),
            left_out: vec!["7.jpg is a near duplicate of <9.jpg>".to_owned()],
        };
        record_data(folder.path(), &data).unwrap();
        let files = write_report(folder.path()).unwrap();
        let html = std::fs::read_to_string(&files.html).unwrap();
        assert!(!html.contains("<script"), "text is escaped");
        assert!(html.contains("<li>7.jpg is a near duplicate of &lt;9.jpg&gt;</li>"));
        assert!(html.contains("a &lt;b&gt; &amp; &quot;c&quot;"));
        for forbidden in ["http://", "https://", "src=\"/", "@import", "url("] {
            assert!(
                !html.contains(forbidden),
                "the page fetches nothing: {forbidden}"
            );
        }
        assert!(html.contains("data:image/jpeg;base64,"));
        assert_eq!(html.matches("<svg").count(), html.matches("</svg>").count());
        assert!(
            html.matches("class=\"seed\"").count() >= 2 * 30,
            "every seed is drawn"
        );
        let csv = std::fs::read_to_string(&files.csv).unwrap();
        assert_eq!(csv.lines().count(), 31);
        let columns = csv.lines().next().unwrap().split(',').count();
        assert!(csv.lines().all(|line| line.split(',').count() == columns));
        let json: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&files.summary_json).unwrap()).unwrap();
        assert_eq!(json["arms"][0]["peak"]["ratio"], 0.25);
        for arm in json["arms"].as_array().unwrap() {
            assert!(html.contains(arm["sentence"].as_str().unwrap()));
        }
        write_report(folder.path()).unwrap();
        assert_eq!(std::fs::read_to_string(&files.html).unwrap(), html);
        let names: Vec<String> = files
            .figures
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        for name in [
            "substitution.svg",
            "substitution_difference.svg",
            "addition.csv",
        ] {
            assert!(names.iter().any(|other| other == name), "{names:?}");
        }
        for path in &files.figures {
            let text = std::fs::read_to_string(path).unwrap();
            if path.extension().is_some_and(|e| e == "svg") {
                assert!(text.starts_with("<svg xmlns=") && text.contains("--accent:"));
            } else {
                let columns = text.lines().next().unwrap().split(',').count();
                assert!(text.lines().count() > 2);
                assert!(
                    text.lines().all(|line| line.split(',').count() == columns),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn other_ways_to_use_the_images_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        let plan = plan_with_ways();
        let mock = Mock::new(0.01);
        run(&plan, folder.path(), &mock, ONE, &Silent).unwrap();
        let files = write_report(folder.path()).unwrap();
        let html = std::fs::read_to_string(&files.html).unwrap();
        assert_eq!(files.summary.ways.len(), 2);
        for way in &files.summary.ways {
            assert!(html.contains(&way.sentence), "{}", way.sentence);
        }
        for part in [
            "<h2>Other ways to use the same images</h2>",
            "<h2>Training on synthetic images first, then on real ones</h2>",
            "<h2>Adding synthetic images with the auxiliary task</h2>",
            "<p>How: 5 of 10 steps on the synthetic images, then 5 on the real ones",
            "<tr><th scope=\"row\">auxiliary</th><td>real-only</td><td>100 + 0</td>",
            "synthetic images trained on first, per real image",
            "synthetic images added with the auxiliary task, per real image",
        ] {
            assert!(html.contains(part), "{part} is missing");
        }
        let csv = std::fs::read_to_string(&files.csv).unwrap();
        let rows: Vec<Vec<&str>> = csv.lines().map(|l| l.split(',').collect()).collect();
        assert_eq!(
            rows[0][..8],
            [
                "trial",
                "n_real",
                "n_synthetic",
                "source",
                "cell",
                "regime",
                "rate",
                "seed"
            ]
        );
        let of_regime = |name: &str| rows.iter().filter(|row| row[5] == name).count();
        assert_eq!(
            ["joint", "pretraining", "auxiliary"].map(of_regime),
            [30, 10, 15]
        );
        let json: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&files.summary_json).unwrap()).unwrap();
        assert_eq!(json["ways"][1]["regime"], "auxiliary");
        assert_eq!(json["ways"][1]["comparisons"][2]["label"], "2x");
    }

    #[test]
    fn factors_have_their_effects_a_drawing_and_their_arms_behind_a_fold() {
        let folder = tempfile::tempdir().unwrap();
        let plan = plan_with_factors(None);
        let mock = Mock::new(0.01);
        run(&plan, folder.path(), &mock, ONE, &Silent).unwrap();
        let files = write_report(folder.path()).unwrap();
        let html = std::fs::read_to_string(&files.html).unwrap();
        for part in [
            "What else changes the AP (addition)",
            "faulty in place of clean",
            "<details><summary>Adding synthetic images to the real ones: traced, faulty",
            "for=\"curve1_3\">addition, traced, faulty",
            "4 of 4 combinations",
        ] {
            assert!(html.contains(part), "{part} is missing");
        }
        let verdicts = html.matches("<p class=\"verdict").count();
        assert_eq!(verdicts, 2, "the first cell's arm and the factors");
        let csv = std::fs::read_to_string(folder.path().join("figures/factors_addition.csv"));
        assert!(
            csv.unwrap()
                .contains("labels,\"faulty in place of clean\",")
        );
        let rows = std::fs::read_to_string(&files.csv).unwrap();
        assert!(
            rows.contains(
                "r10-s20-seed7+fidelity.traced+labels.faulty,10,20,2,traced+faulty,joint"
            )
        );
    }

    #[test]
    fn other_learning_rates_have_their_table() {
        let folder = tempfile::tempdir().unwrap();
        let plan = plan_with_rates();
        let mock = Mock::new(0.01);
        run(&plan, folder.path(), &mock, ONE, &Silent).unwrap();
        let files = write_report(folder.path()).unwrap();
        let html = std::fs::read_to_string(&files.html).unwrap();
        for part in [
            "Does an arm win or lose by its learning rate?",
            "<th>rate x 0.3: val, test</th><th>rate x 1: val, test</th><th>rate x 3: val, test</th>",
            "<tr><th scope=\"row\">pretraining 2x</th><td>",
            "not all finished",
        ] {
            assert!(html.contains(part), "{part} is missing");
        }
        let csv = std::fs::read_to_string(&files.csv).unwrap();
        assert!(
            csv.contains("r100-s0-rate0.3-seed7,100,0,1,,joint,0.3,7,"),
            "{csv}"
        );
    }

    #[test]
    fn an_unfinished_experiment_is_reported_without_claims() {
        let folder = tempfile::tempdir().unwrap();
        let mut dying = Mock::new(0.01);
        dying.fail_at = Some(4);
        run(&plan(), folder.path(), &dying, ONE, &Silent).unwrap_err();
        let files = write_report(folder.path()).unwrap();
        assert!(files.summary.conclusion.contains("no claim"));
        let html = std::fs::read_to_string(&files.html).unwrap();
        assert!(
            html.contains("4 of 30 trials"),
            "the page says how far it came"
        );
    }
}
