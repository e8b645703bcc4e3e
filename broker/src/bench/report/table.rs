//! Tables for a terminal, which are Markdown as well.

use std::fmt::Write as _;

use super::{Load, Metric, Range, Report, RowReport, SideReport, Unit};
use crate::bench::format::{bytes, seconds, thousands};

/// The whole report.
pub(in crate::bench) fn text(report: &Report) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}, {}", report.machine, rounds(report.runs));
    for note in report.notes() {
        let _ = writeln!(text, "{note}");
    }
    text.push('\n');
    text.push_str(&layout(&main_table(report)));
    let details = detail_table(report);
    if details.len() > 1 {
        text.push_str("\nHow the messages fared, medians of the runs\n\n");
        text.push_str(&layout(&details));
    }
    text.push_str(&failures(report));
    text
}

pub(super) fn rounds(runs: u32) -> String {
    match runs {
        1 => "one run: no band can be given".to_owned(),
        runs => format!("medians of {runs} runs (lowest..highest)"),
    }
}

/// Main numbers; with two sides, their ratio.
pub(super) fn main_table(report: &Report) -> Vec<Vec<String>> {
    let two = report.servers.len() == 2;
    let mut head = vec!["work".to_owned()];
    for server in &report.servers {
        head.push(server.clone());
    }
    if two {
        head.push("ratio".to_owned());
    }
    for server in &report.servers {
        head.push(format!("server CPU us/msg: {server}"));
    }
    for server in &report.servers {
        head.push(format!("an ack means: {server}"));
    }
    let width = head.len();
    let mut table = vec![head];
    for row in &report.rows {
        for metric in &row.metrics {
            let mut line = main_line(report, row, metric, two);
            line.resize(width, String::new());
            table.push(line);
        }
    }
    table
}

fn main_line(report: &Report, row: &RowReport, metric: &Metric, two: bool) -> Vec<String> {
    let sides = report.servers.len();
    let side = |number: usize| row.sides.get(number);
    let mut line = vec![if metric.name.is_empty() {
        row.name.clone()
    } else {
        format!("{}, {}", row.name, metric.name)
    }];
    for number in 0..sides {
        let value = metric.values.get(number).copied().flatten();
        line.push(match (side(number), value) {
            (Some(_), Some(range)) => with_band(metric.unit, range),
            (Some(_), None) => "failed".to_owned(),
            (None, _) => String::new(),
        });
    }
    if two {
        line.push(ratio_text(metric));
    }
    for number in 0..sides {
        let cpu = side(number).and_then(|side| side.load.as_ref()?.server_cpu_micros);
        line.push(cpu.map_or_else(String::new, |cpu| micros(cpu.median)));
    }
    for number in 0..sides {
        line.push(side(number).map_or_else(String::new, |side| side.mode.clone()));
    }
    line
}

fn with_band(unit: Unit, range: Range) -> String {
    let median = unit.text(range.median);
    if range.min == range.max {
        return median;
    }
    let end = |value| match unit {
        Unit::Rate(_) => thousands(value),
        Unit::Seconds => seconds(value),
        Unit::Bytes => bytes(value),
    };
    format!("{median} ({}..{})", end(range.min), end(range.max))
}

pub(super) fn ratio_text(metric: &Metric) -> String {
    let Some(ratio) = metric.ratio else {
        return String::new();
    };
    let Range { median, min, max } = ratio.range;
    if ratio.no_difference {
        format!("no difference: {median:.2}x ({min:.2}..{max:.2})")
    } else {
        format!("**{median:.2}x** ({min:.2}..{max:.2})")
    }
}

pub(super) fn micros(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.1}")
    }
}

/// Latencies, memory and the generator: a line per side.
pub(super) fn detail_table(report: &Report) -> Vec<Vec<String>> {
    let head = [
        "work",
        "server",
        "an ack means",
        "p50",
        "p99",
        "p99.9",
        "max",
        "payload/s",
        "server memory",
        "generator us/msg",
        "busiest generator thread",
        "checked after each run",
    ];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    for row in &report.rows {
        for side in &row.sides {
            let Some(load) = &side.load else { continue };
            let line = detail_line(row, side, load);
            // Rows that compare the same runs with different ones share them.
            if !table.contains(&line) {
                table.push(line);
            }
        }
    }
    table
}

fn detail_line(row: &RowReport, side: &SideReport, load: &Load) -> Vec<String> {
    let mut line = vec![row.name.clone(), side.server.clone(), side.mode.clone()];
    let latency = load.latency.as_ref();
    for range in [
        latency.map(|l| l.p50),
        latency.map(|l| l.p99),
        latency.map(|l| l.p99_9),
        latency.map(|l| l.max),
    ] {
        line.push(range.map_or("-".to_owned(), |range| seconds(range.median)));
    }
    line.push(bytes(load.bytes_per_second.median));
    let memory = load.server_memory;
    line.push(memory.map_or("-".to_owned(), |range| bytes(range.median)));
    line.push(micros(load.generator_cpu_micros.median));
    line.push(busiest(load));
    line.push(side.check.clone());
    line
}

/// The busiest thread's share, and whether it may be the limit.
pub(super) fn busiest(load: &Load) -> String {
    let share = load.generator_busiest.median * 100.0;
    let word = if load.generator_saturated {
        " SATURATED"
    } else {
        ""
    };
    format!("{share:.0} %{word}")
}

fn failures(report: &Report) -> String {
    let mut text = String::new();
    for row in &report.rows {
        for side in &row.sides {
            if let Some(failure) = &side.failure {
                let (name, server, mode) = (&row.name, &side.server, &side.mode);
                let _ = writeln!(text, "\nFAILED: {name}, {server}, {mode}: {failure}");
            }
        }
    }
    text
}

/// Columns of one width, as Markdown.
fn layout(table: &[Vec<String>]) -> String {
    let columns = table.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = table.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, line) in table.iter().enumerate() {
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(text, "| {cell:<width$} ");
        }
        text.push_str("|\n");
        if number == 0 {
            for width in &widths {
                let _ = write!(text, "|{}", "-".repeat(width + 2));
            }
            text.push_str("|\n");
        }
    }
    text
}
