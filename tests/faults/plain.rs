//! Faults that need no special disk.

// The rig touches files and waits for processes.
#![allow(clippy::disallowed_methods)]

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::data::Data;
use crate::subject::{Subject, Verdict};

/// How much of the end goes.
const TAIL: u64 = 100;

/// All files below a directory.
pub(crate) fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        match path.is_dir() {
            true => found.extend(files(&path)?),
            false => found.push(path),
        }
    }
    found.sort();
    Ok(found)
}

/// Where the last byte that is not zero ends.
pub(crate) fn content_end(path: &Path) -> io::Result<u64> {
    let bytes = fs::read(path)?;
    let last = bytes.iter().rposition(|byte| *byte != 0);
    Ok(last.map_or(0, |last| last as u64 + 1))
}

/// The file with the newest messages.
fn tail_file(store: &Path) -> io::Result<PathBuf> {
    let mut newest = (SystemTime::UNIX_EPOCH, PathBuf::new());
    for path in files(store)? {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let data =
            name.ends_with(".blk") || name.starts_with("journal") || name.starts_with("lane");
        let modified = fs::metadata(&path)?.modified()?;
        if data && content_end(&path)? > 4096 && modified > newest.0 {
            newest = (modified, path);
        }
    }
    Ok(newest.1)
}

/// The last bytes of the newest messages are zero.
pub(crate) fn torn_tail(subject: &Subject, _seed: u64) -> io::Result<Verdict> {
    tail(subject, |path, end| {
        let file = File::options().write(true).open(path)?;
        file.write_all_at(&[0; TAIL as usize], end - TAIL)
    })
}

/// The file of the newest messages ends early.
pub(crate) fn cut_tail(subject: &Subject, _seed: u64) -> io::Result<Verdict> {
    tail(subject, |path, end| {
        File::options().write(true).open(path)?.set_len(end - TAIL)
    })
}

fn tail(subject: &Subject, harm: impl FnOnce(&Path, u64) -> io::Result<()>) -> io::Result<Verdict> {
    let home = subject.home(None)?;
    let mut server = home.start()?;
    let data = Data::fill(server.address(), 2, 300, 2000)?;
    server.kill()?;
    home.take_log();
    let path = tail_file(&home.store())?;
    harm(&path, content_end(&path)?)?;
    let mut verdict = Verdict::default();
    let server = match home.start() {
        Ok(server) => server,
        Err(error) => {
            verdict.text = "does not start".to_owned();
            verdict.broken.push(error.to_string());
            return Ok(verdict);
        }
    };
    let damage = data.check(server.address())?;
    let log = home.take_log();
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let named = log.contains(&name);
    verdict.text = format!(
        "{} of 600 messages lost, {}, {}",
        damage.lost,
        if named {
            "the log names the file"
        } else {
            "the log does not name the file"
        },
        if damage.stated {
            "state.lost says it"
        } else {
            "no state.lost"
        },
    );
    verdict.demand(damage.streams_lost == 0, || format!("{damage:?}"));
    verdict.demand(damage.lost <= 1 && damage.altered == 0, || {
        format!("{damage:?}")
    });
    // What was written last may never have been acknowledged: a word in the log is enough.
    verdict.demand(named || damage.lost == 0, || {
        "no word in the log".to_owned()
    });
    Ok(verdict)
}

/// Two servers, one directory.
pub(crate) fn second_process(subject: &Subject, _seed: u64) -> io::Result<Verdict> {
    let home = subject.home(None)?;
    let server = home.start()?;
    let data = Data::fill(server.address(), 1, 10, 100)?;
    let launch = home.second()?;
    let mut verdict = Verdict::default();
    match launch.start() {
        Ok(_) => {
            verdict.text = "the second one starts".to_owned();
            verdict
                .broken
                .push("two processes use one directory".to_owned());
        }
        Err(_) => {
            let log = fs::read_to_string(&launch.log)?;
            let last = log.lines().last().unwrap_or_default();
            let message = last.split_once("] ").map_or(last, |(_, message)| message);
            verdict.text = format!("the second one ends: {message}");
        }
    }
    let damage = data.check(server.address())?;
    verdict.demand(damage.is_none(), || format!("{damage:?}"));
    Ok(verdict)
}
