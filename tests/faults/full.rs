//! A disk that is full.

// The rig measures time.
#![allow(clippy::disallowed_methods)]

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use jetwake_tests::jetstream::{api, number};
use jetwake_tests::layer::{Layer, Names};
use jetwake_tests::process::Scratch;
use jetwake_tests::wire::Client;

use crate::data::{Data, body};
use crate::medium::core_works;
use crate::subject::{Subject, Verdict};

const CAPACITY: u64 = 64 << 20;
const SIZE: usize = 16 << 10;
const PATIENCE: Duration = Duration::from_secs(4);
/// A clear error comes at once.
const AT_ONCE: Duration = Duration::from_secs(1);
const RESUME_LIMIT: Duration = Duration::from_secs(15);
const CLEAR: &str = "10023";

/// How a publish ended.
#[derive(Debug)]
enum Answer {
    Acked(u64),
    Refused(String),
    Silence,
}

fn publish(client: &mut Client, stream: &str, body: &[u8]) -> Answer {
    match client.request(&format!("{stream}.data"), body) {
        Ok(answer) => match number(&answer, "seq").filter(|sequence| *sequence > 0) {
            Some(sequence) => Answer::Acked(sequence),
            None => Answer::Refused(String::from_utf8_lossy(&answer).into_owned()),
        },
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Answer::Silence,
        Err(error) => Answer::Refused(error.to_string()),
    }
}

/// Publishes until it goes wrong; how it went wrong, and how long the answer took.
fn until_full(client: &mut Client, data: &mut Data) -> (Answer, Duration, u64) {
    for n in 0.. {
        let body = body(5_000_000 + n, SIZE);
        let begin = Instant::now();
        match publish(client, "F1", &body) {
            Answer::Acked(sequence) => data.note(1, sequence, body),
            other => return (other, begin.elapsed(), n),
        }
    }
    unreachable!("the disk has an end")
}

/// Publishes until it works again; how long that took.
fn resumed(address: SocketAddr, data: &mut Data) -> io::Result<Option<Duration>> {
    let begin = Instant::now();
    let mut client = Client::connect(address)?;
    client.set_limit(Duration::from_millis(500))?;
    for n in 0.. {
        let body = body(9_000_000 + n, SIZE);
        if let Answer::Acked(sequence) = publish(&mut client, "F1", &body) {
            data.note(1, sequence, body);
            return Ok(Some(begin.elapsed()));
        }
        if begin.elapsed() > RESUME_LIMIT {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(None)
}

/// Space is freed by a purge.
pub(crate) fn purged(subject: &Subject, _seed: u64) -> io::Result<Verdict> {
    full(subject, |client, _, data, verdict| {
        let delete = api(client, "STREAM.MSG.DELETE.F1", "{\"seq\":1}");
        let purge = api(client, "STREAM.PURGE.F1", "");
        for (what, result) in [("delete", &delete), ("purge", &purge)] {
            let worked = if result.is_ok() { "works" } else { "fails" };
            verdict.text.push_str(&format!("; {what} {worked}"));
            verdict.demand(result.is_ok(), || format!("{what}: {result:?}"));
        }
        if purge.is_ok() {
            data.forget(1);
        }
    })
}

/// Somebody makes the disk larger.
pub(crate) fn enlarged(subject: &Subject, _seed: u64) -> io::Result<Verdict> {
    full(subject, |_, layer, _, verdict| {
        layer.image().orders().limit(Some(4 * CAPACITY));
        verdict.text.push_str("; enlarged");
    })
}

fn full(
    subject: &Subject,
    relief: impl FnOnce(&mut Client, &Layer, &mut Data, &mut Verdict),
) -> io::Result<Verdict> {
    let place = Scratch::new(&std::env::temp_dir(), "faults-disk")?;
    let mut layer = Layer::mount(place.path(), Names::Journaled)?;
    layer.image().orders().limit(Some(CAPACITY));
    let home = subject.home(Some(layer.path()))?;
    let mut server = home.start()?;
    let address = server.address();
    let mut data = Data::fill(address, 2, 100, 1000)?;
    let mut client = Client::connect(address)?;
    client.set_limit(PATIENCE)?;
    let (answer, took, count) = until_full(&mut client, &mut data);
    let mut verdict = Verdict {
        text: match &answer {
            Answer::Refused(text) => format!("full after {count}: {} in {took:.0?}", error(text)),
            _ => format!("full after {count}: no answer within {PATIENCE:?}"),
        },
        ..Verdict::default()
    };
    let clear = matches!(&answer, Answer::Refused(text) if text.contains(CLEAR));
    verdict.demand(clear && took < AT_ONCE, || {
        format!("{answer:?} after {took:?}")
    });
    verdict.demand(core_works(address), || "core pub/sub is down".to_owned());
    relief(&mut client, &layer, &mut data, &mut verdict);
    match resumed(address, &mut data)? {
        Some(time) => verdict
            .text
            .push_str(&format!("; resumes after {time:.0?}")),
        None => {
            verdict.text.push_str("; does not resume");
            verdict
                .broken
                .push(format!("no publish within {RESUME_LIMIT:?}"));
        }
    }
    server.kill()?;
    layer.remount()?;
    let server = home.start()?;
    let damage = data.check(server.address())?;
    if !damage.is_none() {
        let text = format!(
            "; after a restart {} lost, {} altered",
            damage.lost, damage.altered
        );
        verdict.text.push_str(&text);
        verdict.broken.push(format!("{damage:?}"));
    }
    Ok(verdict)
}

/// The error within an answer.
fn error(answer: &str) -> &str {
    answer.split_once("\"error\":").map_or(answer, |(_, rest)| {
        rest.split_once('}').map_or(rest, |(error, _)| error)
    })
}
