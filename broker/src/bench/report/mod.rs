//! What was measured, ready to be shown: as a table, as JSON, as a page.
//!
//! Pure: runs in, text out. A number of a mode that may lose what it acknowledged never stands without
//! the words for the mode beside it.

mod html;
mod svg;
mod table;
#[cfg(test)]
mod tests;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::format::{bytes, seconds, thousands};
use super::phase;
use super::plan::{Row, Side, Work};
use super::runner::{Cell, Run};
use super::scenario::{Params, Sample, Scenario};
use super::stats::{Range, Ratio};

pub(super) use html::page;
pub(super) use table::text;

/// The share of one thread's time above which the load generator may be what limits the rate.
const SATURATED: f64 = 0.9;
const NANOS: f64 = 1e9;
/// Shares of the messages for which curves show the latency.
const CURVE: [f64; 14] = [
    0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 99.999, 100.0,
];

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    /// The version of this program.
    pub jetwake_bench: String,
    /// How it was called.
    pub command: String,
    /// Seconds since 1970.
    pub unix_time: u64,
    /// Processor and number of cores.
    pub machine: String,
    /// Names of the sides' servers.
    pub servers: Vec<String>,
    /// The servers were started here, so that they share the machine with the load generator.
    pub shares_machine: bool,
    /// Seconds of a bare 4 KiB write and `fdatasync` where the stores are.
    pub bare_sync_seconds: Option<f64>,
    /// Rounds.
    pub runs: u32,
    /// The rows.
    pub rows: Vec<RowReport>,
}

impl Report {
    /// Whether a run failed or a message was missing.
    pub(super) fn has_failures(&self) -> bool {
        let mut sides = self.rows.iter().flat_map(|row| &row.sides);
        sides.any(|side| side.failure.is_some())
    }

    /// As JSON.
    pub(super) fn json(&self) -> String {
        // Plain data with text keys: serializing it cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// What holds for all numbers.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.shares_machine {
            let text = "The load generator runs on the same machine as the server.";
            notes.push(text.to_owned());
        }
        if let Some(time) = self.bare_sync_seconds {
            notes.push(format!(
                "A bare 4 KiB write and fdatasync where the stores are takes {} (median): one durable \
                 message at a time cannot take less.",
                seconds(time)
            ));
        }
        if self.servers.len() == 2 {
            notes.push(
                "A ratio above 1 means that the first column is better. It is the median of the \
                 ratios of each round (lowest..highest); when these include 1, no difference was \
                 shown."
                    .to_owned(),
            );
        }
        notes
    }
}

/// A row.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RowReport {
    /// Its name.
    pub name: String,
    /// Payload bytes, clients and the like; none for start and memory.
    pub parameters: Option<Parameters>,
    /// What is compared.
    pub metrics: Vec<Metric>,
    /// The sides.
    pub sides: Vec<SideReport>,
}

/// The parameters of a load.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Parameters {
    scenario: String,
    size: usize,
    clients: usize,
    streams: u64,
    subjects: u64,
    in_flight: usize,
    batch: u64,
    subscribers: usize,
    acks: bool,
}

/// One number that a row has for each side.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Metric {
    /// `p50` and the like; empty for the row's main number.
    pub name: String,
    /// What is counted.
    pub unit: Unit,
    /// The first side's against the second's, by pairs of runs; above one is better.
    pub ratio: Option<Ratio>,
    /// Each side's values.
    pub values: Vec<Option<Range>>,
}

/// A number's meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Unit {
    /// Less is better.
    #[serde(rename = "seconds")]
    Seconds,
    /// Less is better.
    #[serde(rename = "bytes")]
    Bytes,
    /// So many a second; more is better.
    #[serde(untagged)]
    Rate(&'static str),
}

impl Unit {
    /// A number with its unit.
    pub(super) fn text(self, value: f64) -> String {
        match self {
            Unit::Rate(unit) => format!("{} {unit}", thousands(value)),
            Unit::Seconds => seconds(value),
            Unit::Bytes => bytes(value),
        }
    }
}

/// One side of a row.
#[derive(Clone, Debug, Serialize)]
pub(super) struct SideReport {
    /// Its server.
    pub server: String,
    /// What an ack means there.
    pub mode: String,
    /// Whether an acknowledged message survives a power cut; nothing where nothing is stored.
    pub acks_are_safe: Option<bool>,
    /// Why there are no numbers.
    pub failure: Option<String>,
    /// What was checked after each run.
    pub check: String,
    /// What a load took.
    pub load: Option<Load>,
}

/// What a load took, over all runs.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Load {
    /// Messages of a run.
    pub messages: Range,
    /// Payload bytes a second.
    pub bytes_per_second: Range,
    /// Microseconds of server processor time a message.
    pub server_cpu_micros: Option<Range>,
    /// Resident bytes of the server at the end.
    pub server_memory: Option<Range>,
    /// Microseconds of the generator's processor time a message.
    pub generator_cpu_micros: Range,
    /// The share of its time that the generator's busiest thread was on a processor.
    pub generator_busiest: Range,
    /// Whether that thread may be what limits the rate.
    pub generator_saturated: bool,
    /// Latencies, where a message has one.
    pub latency: Option<Latency>,
}

/// Seconds that messages took.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Latency {
    /// Half of the messages took no longer.
    pub p50: Range,
    /// 99 of 100.
    pub p99: Range,
    /// 999 of 1,000.
    pub p99_9: Range,
    /// All.
    pub max: Range,
    /// Percent of the messages and seconds, of all runs together.
    pub curve: Vec<(f64, f64)>,
}

/// Puts a row together from the runs of its sides.
pub(super) fn row(row: &Row, cells: &[Cell], names: &[String]) -> RowReport {
    let sides = row.sides.iter().zip(cells).enumerate();
    RowReport {
        name: row.name.clone(),
        parameters: match &row.work {
            Work::Load(params) => Some(parameters(params)),
            Work::Footprint(_) => None,
        },
        metrics: metrics(&row.work, cells),
        sides: sides
            .map(|(number, (side, cell))| {
                let server = names.get(number).cloned().unwrap_or_default();
                side_report(&row.work, side, cell, server)
            })
            .collect(),
    }
}

fn parameters(params: &Params) -> Parameters {
    Parameters {
        scenario: clap::ValueEnum::to_possible_value(&params.scenario)
            .map_or_else(String::new, |value| value.get_name().to_owned()),
        size: params.size,
        clients: params.clients,
        streams: params.streams,
        subjects: params.subjects,
        in_flight: params.in_flight,
        batch: params.batch,
        subscribers: params.subscribers,
        acks: params.acks,
    }
}

fn metrics(work: &Work, cells: &[Cell]) -> Vec<Metric> {
    match work {
        Work::Footprint(footprint) => {
            let unit = if footprint.is_time() {
                Unit::Seconds
            } else {
                Unit::Bytes
            };
            vec![metric("", unit, cells, |run| Some(run.value))]
        }
        Work::Load(params) => {
            let rate = Unit::Rate(params.scenario.unit());
            let mut metrics = vec![metric("", rate, cells, |run| Some(run.value))];
            // Where messages go one at a time, what they take is as telling as how many there are.
            if params.in_flight == 1 && !params.scenario.is_consume() && times(params.scenario) {
                for (name, percent) in [("p50", 50.0), ("p99", 99.0)] {
                    metrics.push(metric(name, Unit::Seconds, cells, |run| {
                        run.sample.as_ref().and_then(|sample| at(sample, percent))
                    }));
                }
            }
            metrics
        }
    }
}

fn times(scenario: Scenario) -> bool {
    !matches!(scenario, Scenario::Core | Scenario::CorePublish)
}

fn metric(name: &str, unit: Unit, cells: &[Cell], value: impl Fn(&Run) -> Option<f64>) -> Metric {
    let values: Vec<Vec<f64>> = cells
        .iter()
        .map(|cell| cell.iter().flatten().filter_map(&value).collect())
        .collect();
    let ratio = match &values[..] {
        [first, second] => Ratio::of(first, second, matches!(unit, Unit::Rate(_))),
        _ => None,
    };
    Metric {
        name: name.to_owned(),
        unit,
        ratio,
        values: values.into_iter().map(Range::of).collect(),
    }
}

fn side_report(work: &Work, side: &Side, cell: &Cell, server: String) -> SideReport {
    let stores = work.uses_streams();
    let (failure, load, check) = match cell {
        Ok(runs) => {
            let samples = runs.iter().filter_map(|run| run.sample.as_ref());
            let check = runs.last().map_or("", |run| &run.check);
            (None, load(&samples.collect::<Vec<_>>()), check.to_owned())
        }
        Err(problem) => (Some(problem.clone()), None, String::new()),
    };
    SideReport {
        server,
        mode: if stores {
            side.storage.words().to_owned()
        } else {
            "nothing stored".to_owned()
        },
        acks_are_safe: stores.then(|| side.storage.is_safe()),
        failure,
        check,
        load,
    }
}

fn load(samples: &[&Sample]) -> Option<Load> {
    let range = |value: &dyn Fn(&Sample) -> f64| Range::of(samples.iter().map(|s| value(s)));
    let optional = |value: &dyn Fn(&Sample) -> Option<f64>| {
        Range::of(samples.iter().filter_map(|sample| value(sample)))
    };
    let micros = |time: std::time::Duration, sample: &Sample| {
        time.as_secs_f64() * 1e6 / sample.messages as f64
    };
    let busiest = range(&|s| s.busiest.as_secs_f64() / s.elapsed.as_secs_f64())?;
    Some(Load {
        messages: range(&|s| s.messages as f64)?,
        bytes_per_second: range(&|s| s.bytes as f64 / s.elapsed.as_secs_f64())?,
        server_cpu_micros: optional(&|s| s.server_cpu.map(|cpu| micros(cpu, s))),
        server_memory: optional(&|s| s.server_memory.map(|bytes| bytes as f64)),
        generator_cpu_micros: range(&|s| micros(s.generator_cpu, s))?,
        generator_busiest: busiest,
        generator_saturated: busiest.median >= SATURATED,
        latency: latency(samples),
    })
}

fn latency(samples: &[&Sample]) -> Option<Latency> {
    let range = |percent| Range::of(samples.iter().filter_map(|sample| at(sample, percent)));
    let mut all: Histogram<u64> = phase::histogram().ok()?;
    for sample in samples {
        all.add(&sample.latency).ok()?;
    }
    let point = |percent| {
        (
            percent,
            all.value_at_quantile(percent / 100.0) as f64 / NANOS,
        )
    };
    Some(Latency {
        p50: range(50.0)?,
        p99: range(99.0)?,
        p99_9: range(99.9)?,
        max: range(100.0)?,
        curve: CURVE.map(point).to_vec(),
    })
}

/// The seconds that so many percent of a run's messages did not exceed.
fn at(sample: &Sample, percent: f64) -> Option<f64> {
    let nanos = sample.latency.value_at_quantile(percent / 100.0);
    (!sample.latency.is_empty()).then(|| nanos as f64 / NANOS)
}
