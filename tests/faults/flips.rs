//! One flipped bit in each kind of file.

// The rig copies stores.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use jetwake_tests::choices::Choices;

use crate::data::Data;
use crate::plain::{content_end, files};
use crate::subject::{Home, Subject, Verdict};

/// Flips a kind of file: some at its front, some at its end, the rest anywhere.
const FLIPS: usize = 12;
const EDGE: u64 = 64;

/// What flips in a kind of file led to.
#[derive(Debug, Default)]
struct Row {
    flips: usize,
    harmless: usize,
    most_lost: usize,
    streams_lost: usize,
    altered: usize,
    acks_forgotten: u64,
    /// Losses without a word in the log.
    silent: usize,
    /// Losses without a word in the stream's state.
    unstated: usize,
    not_started: usize,
    unreadable: usize,
}

/// On a store that was closed in order.
pub(crate) fn after_stop(subject: &Subject, seed: u64) -> io::Result<Verdict> {
    flips(subject, seed, true)
}

/// On a store whose server was killed.
pub(crate) fn after_kill(subject: &Subject, seed: u64) -> io::Result<Verdict> {
    flips(subject, seed, false)
}

fn flips(subject: &Subject, seed: u64, orderly: bool) -> io::Result<Verdict> {
    let home = subject.home(None)?;
    let mut server = home.start()?;
    let mut data = Data::fill(server.address(), 3, 1500, 2000)?;
    data.consume(server.address(), 200)?;
    if orderly {
        let pid = server.pid().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        server.wait()?;
    } else {
        server.kill()?;
    }
    let store = home.store();
    let pristine = store.with_extension("pristine");
    fs::rename(&store, &pristine)?;
    let mut kinds: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in files(&pristine)? {
        if content_end(&path)? > 0 {
            kinds.entry(kind(&path)).or_default().push(path);
        }
    }
    let mut verdict = Verdict::default();
    copy(&pristine, &store)?;
    let mut server = home.start()?;
    let baseline = data.check(server.address())?;
    server.kill()?;
    fs::remove_dir_all(&store)?;
    if !baseline.is_none() {
        verdict.text = format!(
            "without a flip already {} messages lost, {} acks forgotten",
            baseline.lost, baseline.acks_forgotten
        );
        verdict.broken.push(format!("without a flip: {baseline:?}"));
        data.forgive_acks(baseline.acks_forgotten);
    }
    let mut choices = Choices::new(seed);
    for (kind, paths) in kinds {
        let mut row = Row::default();
        for index in 0..FLIPS {
            let path = &paths[choices.below(paths.len())];
            let end = content_end(path)?;
            let edge = EDGE.min(end) as usize;
            let offset = match index % 4 {
                0 => choices.below(edge) as u64,
                1 => end - 1 - choices.below(edge) as u64,
                _ => choices.below(end as usize) as u64,
            };
            copy(&pristine, &store)?;
            let inside = path.strip_prefix(&pristine).unwrap_or(path);
            let bit = choices.below(8) as u8;
            flip(&store.join(inside), offset, bit)?;
            let place = format!("{} at {offset} bit {bit}", inside.display());
            one(&home, &data, inside, &place, &mut row, &mut verdict)?;
            fs::remove_dir_all(&store)?;
        }
        verdict.text.push_str(&line(&kind, &row));
    }
    Ok(verdict)
}

/// A file's kind: its name without numbers.
fn kind(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.replace(|c: char| c.is_ascii_digit() || c == '-', "")
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        match path.is_dir() {
            true => copy(&path, &target)?,
            false => fs::copy(&path, &target).map(drop)?,
        }
    }
    Ok(())
}

fn flip(path: &Path, offset: u64, bit: u8) -> io::Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)?;
    file.write_all_at(&[byte[0] ^ (1 << bit)], offset)
}

/// Starts the server on the damaged store and compares.
fn one(
    home: &Home,
    data: &Data,
    file: &Path,
    place: &str,
    row: &mut Row,
    verdict: &mut Verdict,
) -> io::Result<()> {
    row.flips += 1;
    home.take_log();
    let mut server = match home.start() {
        Ok(server) => server,
        Err(error) => {
            row.not_started += 1;
            verdict.broken.push(format!("{place}: {error}"));
            return Ok(());
        }
    };
    let damage = data.check(server.address())?;
    server.kill()?;
    let name = file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let named = home.take_log().contains(&name);
    if damage.is_none() {
        row.harmless += 1;
        return Ok(());
    }
    row.most_lost = row.most_lost.max(damage.lost);
    row.streams_lost += damage.streams_lost;
    row.altered += damage.altered;
    row.acks_forgotten = row.acks_forgotten.max(damage.acks_forgotten);
    row.silent += usize::from(!named);
    row.unstated += usize::from(!damage.stated);
    row.unreadable += damage.unreadable.len();
    let contained = damage.streams_lost == 0
        && damage.lost <= 1
        && damage.altered == 0
        && damage.acks_forgotten <= 1
        && damage.unreadable.is_empty();
    verdict.demand(contained, || format!("{place}: {damage:?}"));
    verdict.demand(named, || format!("{place}: no word in the log; {damage:?}"));
    verdict.demand(damage.stated || damage.lost == 0, || {
        format!("{place}: no word in the state; {damage:?}")
    });
    Ok(())
}

fn line(kind: &str, row: &Row) -> String {
    let mut text = format!(
        "\n    {kind}: {} of {} flips harmless",
        row.harmless, row.flips
    );
    let mut add = |count: u64, what: &str| {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    };
    add(row.most_lost as u64, "messages lost at most");
    add(row.streams_lost as u64, "times a stream lost");
    add(row.altered as u64, "messages altered");
    add(row.acks_forgotten, "acks forgotten at most");
    add(row.silent as u64, "times silent");
    add(row.unstated as u64, "times not in the state");
    add(row.unreadable as u64, "times unreadable");
    add(row.not_started as u64, "times no start");
    text
}
