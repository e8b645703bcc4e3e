//! Does what a plan says, round by round: each round does every piece of work once, the two sides of a
//! row one after the other, and the next round in the opposite order, so that what drifts on the
//! machine meets both sides alike.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;

use super::plan::{Row, Side, Storage, Work};
use super::progress::Progress;
use super::scenario::{self, Params, Sample, Target};
use super::server::{Server, Setting};

/// Where servers come from.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    /// The server at `--url`.
    pub external: Option<Target>,
    /// Where the stores of started servers go.
    pub stores: PathBuf,
    /// A started server is killed after the run and started again before the check.
    pub verify_restart: bool,
}

/// One run.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// Messages a second, seconds or bytes.
    pub value: f64,
    /// What a load measured.
    pub sample: Option<Sample>,
    /// What was checked afterwards.
    pub check: String,
}

/// The runs of a row's side, or why there are none.
pub(super) type Cell = Result<Vec<Run>, String>;

/// What one side does: rows that share it share its runs.
#[derive(Clone, Debug, PartialEq)]
struct Job {
    /// The column: a program that is compared with itself is run twice.
    number: usize,
    side: Side,
    work: Work,
}

impl Job {
    fn of(row: &Row, number: usize, side: &Side) -> Self {
        let mut job = Job {
            number,
            side: side.clone(),
            work: row.work.clone(),
        };
        if let Work::Load(params) = &mut job.work {
            params.memory = side.storage == Storage::Memory;
        }
        if !job.work.uses_streams() {
            // One setting for all: nothing is stored.
            job.side.storage = Storage::Memory;
        }
        job
    }
}

/// Runs every row and returns the cells of each, in the order of its sides.
pub(super) fn run(
    rows: &[Row],
    runs: u32,
    ground: &Ground,
    progress: &mut Progress,
) -> Vec<Vec<Cell>> {
    let (jobs, of_row) = list(rows);
    progress.begin(jobs.len() * runs as usize);
    let mut cells: HashMap<usize, Cell> = HashMap::new();
    for round in 0..runs {
        let mut order = of_row.clone();
        if round % 2 == 1 {
            order.iter_mut().for_each(|sides| sides.reverse());
        }
        let mut done = vec![false; jobs.len()];
        for (row, sides) in rows.iter().zip(&order) {
            for &number in sides {
                if std::mem::replace(&mut done[number], true) {
                    continue;
                }
                progress.step(&format!("run {} of {runs}: {}", round + 1, row.name));
                let cell = cells.entry(number).or_insert(Ok(Vec::new()));
                // A failure is not repeated in every round.
                if let Ok(known) = cell {
                    match once(&jobs[number], ground) {
                        Ok(run) => known.push(run),
                        Err(error) => *cell = Err(error.to_string()),
                    }
                }
            }
        }
    }
    progress.end();
    let cell = |number: &usize| cells.get(number).cloned().unwrap_or(Ok(Vec::new()));
    of_row
        .iter()
        .map(|sides| sides.iter().map(cell).collect())
        .collect()
}

/// What there is to do, and for each row which of it its sides do.
fn list(rows: &[Row]) -> (Vec<Job>, Vec<Vec<usize>>) {
    let mut jobs: Vec<Job> = Vec::new();
    let mut of_row = Vec::new();
    for row in rows {
        let place = |(number, side): (usize, &Side)| {
            let job = Job::of(row, number, side);
            jobs.iter()
                .position(|known| *known == job)
                .unwrap_or_else(|| {
                    jobs.push(job);
                    jobs.len() - 1
                })
        };
        of_row.push(row.sides.iter().enumerate().map(place).collect());
    }
    (jobs, of_row)
}

fn once(job: &Job, ground: &Ground) -> io::Result<Run> {
    let setting = match &job.work {
        work if !work.uses_streams() => Setting::Core,
        _ => job.side.storage.setting(),
    };
    let start = || {
        let program = job.side.program.as_ref();
        let program = program.ok_or_else(|| io::Error::other("no program to start"))?;
        Server::start(program, setting, &ground.stores)
    };
    match &job.work {
        Work::Footprint(footprint) => Ok(Run {
            value: footprint.measure(&start)?,
            sample: None,
            check: String::new(),
        }),
        Work::Load(params) => match &ground.external {
            Some(target) => on_running_server(params, target),
            None => on_fresh_server(params, start()?, ground.verify_restart),
        },
    }
}

fn on_running_server(params: &Params, target: &Target) -> io::Result<Run> {
    let (sample, evidence) = scenario::measure(params, target)?;
    let checked = evidence
        .settle(target)
        .and_then(|()| evidence.check(target));
    scenario::delete_streams(target, evidence.streams())?;
    Ok(finished(sample, checked?))
}

fn on_fresh_server(params: &Params, mut server: Server, restart: bool) -> io::Result<Run> {
    let target = |server: &Server| Target {
        address: server.address(),
        credentials: Default::default(),
        pid: Some(server.pid()),
        monitor: None,
    };
    let (sample, evidence) = scenario::measure(params, &target(&server))?;
    evidence.settle(&target(&server))?;
    let mut suffix = "";
    if restart && !params.memory && !evidence.streams().is_empty() {
        server.kill()?;
        server.restart()?;
        scenario::wait_for_streams(&target(&server))?;
        suffix = ", after kill -9 and restart";
    }
    let checked = evidence.check(&target(&server))?;
    Ok(finished(sample, checked + suffix))
}

fn finished(sample: Sample, check: String) -> Run {
    Run {
        value: sample.messages as f64 / sample.elapsed.as_secs_f64(),
        sample: Some(sample),
        check,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::plan::{self, Scale};
    use crate::bench::scenario::Scenario;

    #[test]
    fn rows_share_runs_and_sides_never_do() {
        let side = |storage| Side {
            program: None,
            storage,
        };
        let row = |scenario, storages: [Storage; 2]| {
            let params = plan::params(scenario, Scale::SINGLE);
            plan::row(params, storages.map(side).to_vec())
        };
        use Storage::{Durable, Lazy};
        let (jobs, of_row) = list(&[
            row(Scenario::PublishSync, [Durable, Lazy]),
            row(Scenario::PublishSync, [Durable, Durable]),
            row(Scenario::Core, [Durable, Lazy]),
            row(Scenario::Core, [Lazy, Durable]),
        ]);
        assert_eq!(of_row, [[0, 1], [0, 2], [3, 4], [3, 4]]);
        assert_eq!(jobs.len(), 5);
    }
}
