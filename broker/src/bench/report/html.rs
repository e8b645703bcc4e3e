//! One page that needs nothing else: tables and plots, no script, no other file.

use std::fmt::Write as _;

use super::svg::{self, Bar, Curve};
use super::table;
use super::{Report, RowReport};

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;max-width:75rem;margin:2rem auto;\
    padding:0 1rem;color:#1c2430;background:#fff}table{border-collapse:collapse;margin:1rem 0;\
    display:block;overflow-x:auto}th,td{border:1px solid #cbd3dd;padding:.3rem .6rem;\
    text-align:left;vertical-align:top;font-size:13px}th{background:#eef2f6}\
    svg{max-width:100%;height:auto;font:12px system-ui,sans-serif;fill:#1c2430}\
    .s0{fill:#2563a8}.s1{fill:#d0842a}.l0,.l1{fill:none;stroke-width:2}.l0{stroke:#2563a8}\
    .l1{stroke:#d0842a}.band{stroke:#1c2430;stroke-width:2}.grid{stroke:#dde3ea}\
    .unsafe{background:#fdf0d8}.failed{background:#fbdcdc}.note{color:#566273}";

/// The page.
pub(in crate::bench) fn page(report: &Report) -> String {
    let mut page =
        String::from("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>");
    let _ = write!(
        page,
        "<title>jetwake bench</title><style>{STYLE}</style></head><body>\
         <h1>jetwake bench</h1><p><code>{}</code></p><p>{}, {}</p>",
        escape(&report.command),
        escape(&report.machine),
        escape(&table::rounds(report.runs)),
    );
    for note in report.notes() {
        let _ = write!(page, "<p class=\"note\">{}</p>", escape(&note));
    }
    page.push_str("<h2>Results</h2>");
    page.push_str(&main_table(report));
    page.push_str("<h2>How the messages fared</h2>");
    page.push_str(&html_table(&table::detail_table(report), |_| ""));
    for row in &report.rows {
        page.push_str(&row_section(row));
    }
    page + "</body></html>\n"
}

/// A line is marked by its worst side.
fn main_table(report: &Report) -> String {
    let metrics = |row: &RowReport| vec![class(row); row.metrics.len()];
    let classes: Vec<&str> = report.rows.iter().flat_map(metrics).collect();
    html_table(&table::main_table(report), |line| {
        classes.get(line).copied().unwrap_or("")
    })
}

fn class(row: &RowReport) -> &'static str {
    if row.sides.iter().any(|side| side.failure.is_some()) {
        "failed"
    } else if row
        .sides
        .iter()
        .any(|side| side.acks_are_safe == Some(false))
    {
        "unsafe"
    } else {
        ""
    }
}

fn html_table(lines: &[Vec<String>], class: impl Fn(usize) -> &'static str) -> String {
    let mut html = String::from("<table>");
    for (number, line) in lines.iter().enumerate() {
        let (tag, class) = match number.checked_sub(1) {
            None => ("th", ""),
            Some(number) => ("td", class(number)),
        };
        let _ = write!(html, "<tr class=\"{class}\">");
        for cell in line {
            let _ = write!(html, "<{tag}>{}</{tag}>", escape(&cell.replace("**", "")));
        }
        html.push_str("</tr>");
    }
    html + "</table>"
}

/// A row's plots.
fn row_section(row: &RowReport) -> String {
    let mut html = format!("<h2>{}</h2>", escape(&row.name));
    for side in &row.sides {
        if let Some(failure) = &side.failure {
            let text = format!("{}, {}: failed: {failure}", side.server, side.mode);
            let _ = write!(html, "<p class=\"failed\">{}</p>", escape(&text));
        }
    }
    if let Some(metric) = row.metrics.first() {
        let values = row.sides.iter().zip(&metric.values).enumerate();
        let bars: Vec<Bar> = values
            .filter_map(|(number, (side, range))| {
                let range = range.as_ref()?;
                let value = metric.unit.text(range.median);
                Some(Bar {
                    side: number,
                    label: format!("{}, {}: {value}", side.server, side.mode),
                    values: [range.median, range.min, range.max],
                })
            })
            .collect();
        html.push_str(&svg::bars(&bars));
        let ratio = table::ratio_text(metric).replace("**", "");
        if !ratio.is_empty() {
            let _ = write!(html, "<p>ratio {}</p>", escape(&ratio));
        }
    }
    let curves: Vec<Curve<'_>> = row
        .sides
        .iter()
        .enumerate()
        .filter_map(|(number, side)| {
            let latency = side.load.as_ref()?.latency.as_ref()?;
            Some(Curve {
                side: number,
                label: format!("{}, {}", side.server, side.mode),
                points: &latency.curve,
            })
        })
        .collect();
    if !curves.is_empty() {
        html.push_str("<p>Latency by percentile, all runs together</p>");
        html.push_str(&svg::curves(&curves));
    }
    html
}

/// Text that stands for itself.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
