//! The page of an audit: one file, no network, worst first.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use image::RgbImage;
use rayon::prelude::*;

use super::super::AuditError;
use super::{Audit, Finding, Issue, Part};
use crate::annotation::BoundingBox;
use crate::dataset::{Dataset, read_image, write_atomically};
use crate::html::{STYLE, escape, jpeg_address, jpeg_with_boxes};

const AUDIT_STYLE: &str = include_str!("page.css");

/// Findings of an issue that are shown with a picture, and in words.
const PICTURES: usize = 12;
const LINES: usize = 200;

/// Longer side of a picture, in pixels.
const SIDE_PX: u32 = 220;

/// What is shown around a box, in its own lengths to each side, and at least in pixels.
const AROUND: f64 = 0.75;
const AROUND_PX: f64 = 24.0;

/// Of boxes, by turns.
const COLOURS: [[u8; 3]; 2] = [[255, 170, 40], [80, 200, 255]];

/// Where an audit was written.
#[derive(Debug, Clone)]
pub struct AuditFiles {
    pub html: PathBuf,
    pub json: PathBuf,
}

/// Writes `audit.html` and `audit.json` into an existing folder.
///
/// # Errors
/// A file that cannot be written.
pub fn write_audit(
    audit: &Audit,
    dataset: &Dataset,
    folder: &Path,
) -> Result<AuditFiles, AuditError> {
    let files = AuditFiles {
        html: folder.join("audit.html"),
        json: folder.join("audit.json"),
    };
    let json = serde_json::to_vec_pretty(audit).expect("numbers and text serialise");
    write_atomically(&files.json, &json)?;
    write_atomically(&files.html, render(audit, dataset).as_bytes())?;
    Ok(files)
}

/// Renders the page. Writing to a `String` cannot fail, here and below.
fn render(audit: &Audit, dataset: &Dataset) -> String {
    let name = dataset.root.display().to_string();
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <title>Audit of {0}</title><style>{STYLE}{AUDIT_STYLE}</style></head><body><main>\n\
         <p class=\"kicker\">admix audit &middot; {1} images &middot; {2} boxes</p>\n\
         <h1>{0}</h1>\n",
        escape(&name),
        audit.images,
        audit.boxes
    );
    let tone = match audit.findings.first() {
        None => "good",
        Some(worst) if worst.severity >= 0.8 => "bad",
        Some(_) => "open",
    };
    let _ = writeln!(
        html,
        "<p class=\"verdict {tone}\">{}</p>",
        escape(&sentence(audit))
    );
    write_overview(&mut html, audit);
    for issue in issues(audit) {
        write_issue(&mut html, audit, dataset, issue);
    }
    write_tables(&mut html, audit);
    html.push_str(
        "<section><h2>How this was made</h2><p>Images and boxes are compared with what is usual in this \
         set or class (median and median absolute deviation): unusual is not wrong, and what is wrong \
         everywhere is usual. Severity is what the fault does to a detector as far as is known without \
         training one; the worst comes first.</p></section>\n</main></body></html>\n",
    );
    html
}

/// What was found, in a sentence.
pub(super) fn sentence(audit: &Audit) -> String {
    if audit.findings.is_empty() {
        return "Nothing was found that labels, images or the set as a whole show by themselves."
            .to_owned();
    }
    let images: BTreeSet<&str> = audit
        .findings
        .iter()
        .filter_map(|finding| finding.image.as_deref())
        .collect();
    let worst: Vec<String> = issues(audit)
        .into_iter()
        .take(3)
        .map(|issue| format!("{} ({})", issue.title(), audit.of(issue).count()))
        .collect();
    format!(
        "{} findings, on {} of {} images. Worst: {}.",
        audit.findings.len(),
        images.len(),
        audit.images,
        worst.join("; ")
    )
}

/// The issues that were found, that of the worst finding first.
fn issues(audit: &Audit) -> Vec<Issue> {
    let mut issues: Vec<Issue> = Vec::new();
    for finding in &audit.findings {
        if !issues.contains(&finding.issue) {
            issues.push(finding.issue);
        }
    }
    issues
}

fn write_overview(html: &mut String, audit: &Audit) {
    if audit.findings.is_empty() {
        return;
    }
    html.push_str(
        "<div class=\"scroll\"><table><thead><tr><th>issue</th><th>found</th><th>worst</th>\
         <th>what it does, and what to do</th></tr></thead><tbody>",
    );
    for issue in issues(audit) {
        let worst = audit.of(issue).map(|f| f.severity).fold(0.0, f64::max);
        let part = match issue.part() {
            Part::Labels => "labels",
            Part::Images => "images",
            Part::Set => "set",
        };
        let _ = write!(
            html,
            "<tr><th scope=\"row\"><a href=\"#{key}\">{part}: {}</a></th><td>{}</td><td>{worst:.2} <span \
             class=\"severity\"><i style=\"width:{:.0}%\"></i></span></td><td class=\"text\">{}</td></tr>",
            issue.title(),
            audit.of(issue).count(),
            100.0 * worst,
            issue.advice(),
            key = key(issue),
        );
    }
    html.push_str("</tbody></table></div>\n");
}

/// The issue as it stands in the JSON file.
fn key(issue: Issue) -> String {
    let value = serde_json::to_value(issue).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn write_issue(html: &mut String, audit: &Audit, dataset: &Dataset, issue: Issue) {
    let findings: Vec<&Finding> = audit.of(issue).collect();
    let _ = writeln!(
        html,
        "<section id=\"{}\"><h2>{} <span class=\"muted\">({})</span></h2><p>{}</p>",
        key(issue),
        capitalised(issue.title()),
        findings.len(),
        issue.advice()
    );
    let shown: Vec<&Finding> = findings
        .iter()
        .copied()
        .filter(|finding| !finding.samples.is_empty())
        .take(PICTURES)
        .collect();
    let cards: Vec<String> = shown.par_iter().map(|f| card(f, dataset)).collect();
    if !cards.is_empty() {
        let _ = writeln!(html, "<div class=\"cards\">{}</div>", cards.concat());
    }
    let rest: Vec<&Finding> = findings
        .iter()
        .copied()
        .filter(|finding| !shown.iter().any(|own| std::ptr::eq(*own, *finding)))
        .collect();
    if !rest.is_empty() {
        write_lines(html, &rest, !shown.is_empty());
    }
    html.push_str("</section>\n");
}

/// Findings in words; behind a fold where others are shown before.
fn write_lines(html: &mut String, findings: &[&Finding], is_folded: bool) {
    if is_folded {
        let _ = write!(html, "<details><summary>{} more</summary>", findings.len());
    }
    html.push_str("<ul>");
    for finding in findings.iter().take(LINES) {
        let place = finding.image.as_deref().unwrap_or_default();
        let other = finding.other.as_deref();
        let other = other.map_or(String::new(), |other| format!(" and {other}"));
        let place = match place.is_empty() {
            true => String::new(),
            false => format!("{place}{other}: "),
        };
        let line = escape(&(place + &finding.message));
        let _ = write!(html, "<li>{line}</li>");
    }
    if findings.len() > LINES {
        let _ = write!(
            html,
            "<li>{} more in audit.json</li>",
            findings.len() - LINES
        );
    }
    html.push_str("</ul>");
    if is_folded {
        html.push_str("</details>");
    }
    html.push('\n');
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// A finding with its picture or pictures.
fn card(finding: &Finding, dataset: &Dataset) -> String {
    let caption = format!(
        "<b>{}</b><br>{}",
        escape(finding.image.as_deref().unwrap_or_default()),
        escape(&finding.message)
    );
    let other = finding.other.as_deref();
    let other = other.map_or(String::new(), |other| format!("<br>and {}", escape(other)));
    let pictures: Vec<String> = finding
        .samples
        .iter()
        .filter_map(|&index| {
            let sample = dataset.samples.get(index)?;
            let image = read_image(&sample.path).ok()?;
            let jpeg = picture(&image, &finding.boxes)?;
            Some(format!(
                "<img alt=\"{}\" loading=\"lazy\" src=\"{}\">",
                escape(&sample.file_name),
                jpeg_address(&jpeg)
            ))
        })
        .collect();
    let pictures = match pictures.len() {
        2 => format!("<div class=\"pair\">{}</div>", pictures.concat()),
        _ => pictures.concat(),
    };
    format!("<figure class=\"card\">{pictures}<figcaption>{caption}{other}</figcaption></figure>")
}

/// The image, or what is around the boxes of a finding.
fn picture(image: &RgbImage, boxes: &[BoundingBox]) -> Option<Vec<u8>> {
    let coloured = |boxes: &[BoundingBox]| -> Vec<(BoundingBox, [u8; 3])> {
        boxes
            .iter()
            .copied()
            .zip(COLOURS.into_iter().cycle())
            .collect()
    };
    let (width, height) = (f64::from(image.width()), f64::from(image.height()));
    let around = boxes.iter().copied().reduce(|a, b| {
        let (right, bottom) = (a.right().max(b.right()), a.bottom().max(b.bottom()));
        BoundingBox::from_corners(a.x.min(b.x), a.y.min(b.y), right, bottom)
    });
    let around = around.and_then(|bbox| {
        let margin = (AROUND * bbox.width.max(bbox.height)).max(AROUND_PX);
        let grown = BoundingBox::from_corners(
            bbox.x - margin,
            bbox.y - margin,
            bbox.right() + margin,
            bbox.bottom() + margin,
        );
        grown.clipped_to(width, height)
    });
    let Some(part) = around else {
        return jpeg_with_boxes(image, &coloured(boxes), SIDE_PX).ok();
    };
    let (left, top) = (part.x.floor(), part.y.floor());
    let size = [part.right().ceil() - left, part.bottom().ceil() - top];
    let [part_width, part_height] = size.map(|side| side.max(1.0) as u32);
    let view = image::imageops::crop_imm(image, left as u32, top as u32, part_width, part_height);
    let moved: Vec<BoundingBox> = boxes
        .iter()
        .map(|bbox| BoundingBox {
            x: bbox.x - left,
            y: bbox.y - top,
            ..*bbox
        })
        .collect();
    jpeg_with_boxes(&view.to_image(), &coloured(&moved), SIDE_PX).ok()
}

fn write_tables(html: &mut String, audit: &Audit) {
    html.push_str(
        "<section><h2>What the set holds</h2><div class=\"scroll\"><table><thead><tr><th>class</th>\
         <th>boxes</th><th>share</th><th>images</th></tr></thead><tbody>",
    );
    for class in &audit.classes {
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{:.1} %</td><td>{}</td></tr>",
            escape(&class.name),
            class.boxes,
            100.0 * class.boxes as f64 / audit.boxes.max(1) as f64,
            class.images
        );
    }
    html.push_str(
        "</tbody></table></div>\n<div class=\"scroll\"><table><thead><tr><th>split</th><th>images</th>\
         <th>boxes</th></tr></thead><tbody>",
    );
    for split in &audit.splits {
        let name = split
            .split
            .map_or("none".to_owned(), |split| split.to_string());
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{name}</th><td>{}</td><td>{}</td></tr>",
            split.images, split.boxes
        );
    }
    html.push_str("</tbody></table></div></section>\n");
}
