use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::bench::plan::{self, Scale, Storage};

fn run(rate: f64, nanos: u64) -> Run {
    let mut latency = phase::histogram().unwrap();
    latency.record_n(nanos, 100).unwrap();
    Run {
        value: rate,
        sample: Some(Sample {
            messages: 100,
            bytes: 12_800,
            elapsed: Duration::from_secs(1),
            latency,
            server_cpu: Some(Duration::from_micros(250)),
            server_memory: Some(10 << 20),
            generator_cpu: Duration::from_micros(950_000),
            busiest: Duration::from_micros(950_000),
        }),
        check: "100 acknowledged, all read back".to_owned(),
    }
}

fn report(storages: [Storage; 2], cells: [Cell; 2]) -> Report {
    let params = plan::params(Scenario::PublishSync, Scale::SINGLE);
    let side = |storage| Side {
        program: None,
        storage,
    };
    let names = vec!["ours".to_owned(), "<theirs>".to_owned()];
    let plan = plan::row(params, storages.map(side).to_vec());
    Report {
        jetwake_bench: "0".to_owned(),
        command: "jetwake bench".to_owned(),
        unix_time: 1,
        machine: "2 cores".to_owned(),
        rows: vec![row(&plan, &cells, &names)],
        servers: names,
        shares_machine: true,
        bare_sync_seconds: Some(1e-4),
        runs: 3,
    }
}

fn good() -> Report {
    report(
        [Storage::Durable, Storage::Lazy],
        [
            Ok(vec![
                run(300.0, 1_000),
                run(310.0, 1_000),
                run(320.0, 1_000),
            ]),
            Ok(vec![run(100.0, 3_000), run(90.0, 3_000), run(110.0, 3_000)]),
        ],
    )
}

#[test]
fn the_table_holds_median_band_ratio_and_mode() {
    let text = text(&good());
    for expected in [
        "310 msgs/s (300..320)",
        "**3.00x** (2.91..3.44)",
        "2.50",
        "file durable (sync before ack)",
        "file lazy (acks before sync)",
        "publish, one at a time, p99",
        "95 % SATURATED",
        "100 acknowledged, all read back",
    ] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
}

#[test]
fn every_line_with_an_unsafe_number_says_so() {
    for storage in [Storage::Lazy, Storage::Memory, Storage::File] {
        let cell = || Ok(vec![run(777.0, 1_000)]);
        let report = report([storage, storage], [cell(), cell()]);
        let numbers = text(&report);
        let lines = numbers.lines().filter(|line| line.starts_with("| publish"));
        for line in lines {
            assert!(line.contains(storage.words()), "{line}");
        }
        let page = page(&report);
        let rows = page.split("<tr class=").filter(|row| row.contains("777"));
        for row in rows {
            assert!(row.contains(storage.words()), "{row}");
        }
        assert!(page.contains("class=\"unsafe\""));
    }
}

#[test]
fn sides_that_win_in_turn_show_no_difference() {
    let report = report(
        [Storage::Durable, Storage::Durable],
        [
            Ok(vec![run(100.0, 5), run(120.0, 5)]),
            Ok(vec![run(110.0, 5), run(110.0, 5)]),
        ],
    );
    assert!(text(&report).contains("no difference: 1.00x (0.91..1.09)"));
}

#[test]
fn a_failed_side_fails_the_report() {
    let missing = "3 of 100 acknowledged messages are missing: sequence 1, 2, 3";
    let report = report(
        [Storage::Durable, Storage::Durable],
        [Err(missing.to_owned()), Ok(vec![run(100.0, 5)])],
    );
    assert!(report.has_failures() && !good().has_failures());
    assert!(text(&report).contains(missing));
    assert!(page(&report).contains(missing));
    let first = text(&report);
    let line = first
        .lines()
        .find(|line| line.starts_with("| publish"))
        .unwrap();
    assert!(line.contains("failed"), "{line}");
}

#[test]
fn json_has_the_numbers_with_their_names() {
    let json: Value = serde_json::from_str(&good().json()).unwrap();
    let row = &json["rows"][0];
    assert_eq!(row["parameters"]["scenario"], "publish-sync");
    assert_eq!(row["metrics"][0]["unit"], "msgs/s");
    assert_eq!(row["metrics"][1]["unit"], "seconds");
    assert_eq!(row["metrics"][0]["ratio"]["median"], 3.0);
    assert_eq!(row["metrics"][0]["ratio"]["no_difference"], false);
    assert_eq!(row["metrics"][0]["values"][1]["min"], 90.0);
    let lazy = &row["sides"][1];
    assert_eq!(lazy["acks_are_safe"], false);
    assert_eq!(lazy["mode"], "file lazy (acks before sync)");
    assert_eq!(lazy["load"]["server_cpu_micros"]["median"], 2.5);
    assert_eq!(lazy["load"]["generator_saturated"], true);
    assert_eq!(
        lazy["load"]["latency"]["curve"].as_array().unwrap().len(),
        CURVE.len()
    );
}

#[test]
fn the_page_is_well_formed_and_needs_nothing_else() {
    let page = page(&good());
    expect_well_formed(&page);
    for outside in ["http://", "https://", "<script", "<link", "src="] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("<polyline") && page.contains("<rect"));
    assert!(page.contains("&lt;theirs&gt;") && !page.contains("<theirs>"));
}

/// Every element is closed, in order.
fn expect_well_formed(page: &str) {
    let body = page.strip_prefix("<!DOCTYPE html>\n").unwrap();
    let mut open: Vec<&str> = Vec::new();
    for piece in body.split('<').skip(1) {
        let (tag, _) = piece.split_once('>').unwrap();
        let name = tag.split([' ', '/']).find(|word| !word.is_empty()).unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "</{name}>");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}
