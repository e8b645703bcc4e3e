//! The server's log in nats-server's format, which operators and test harnesses parse:
//! `[pid] 2026/11/22 09:14:37.693020 [INF] text`, one line a call, to stderr or a file, never buffered.
//!
//! A shell module: it reads the clock and writes to a file.

// The log is where the clock is read for its own time stamps and where its file is opened.
#![allow(clippy::disallowed_methods)]

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use parking_lot::Mutex;

use crate::options::LogOptions;

/// A handle on the log; clones write to the same place.
#[derive(Clone)]
pub struct Logger {
    inner: Arc<Inner>,
}

struct Inner {
    options: LogOptions,
    pid: u32,
    zone: TimeZone,
    sink: Mutex<Sink>,
}

enum Sink {
    Stderr { colour: bool },
    File { file: File, path: PathBuf },
    Nowhere,
}

impl fmt::Debug for Logger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logger")
            .field("options", &self.inner.options)
            .finish_non_exhaustive()
    }
}

impl Logger {
    /// Opens the log that the options describe.
    ///
    /// # Errors
    /// When the log file cannot be opened.
    pub fn open(options: &LogOptions) -> io::Result<Self> {
        let sink = match &options.file {
            _ if options.silent => Sink::Nowhere,
            Some(path) if !path.as_os_str().is_empty() => Sink::File {
                file: append(path)?,
                path: path.clone(),
            },
            _ => Sink::Stderr {
                colour: rustix::termios::isatty(io::stderr()),
            },
        };
        let inner = Inner {
            options: options.clone(),
            pid: std::process::id(),
            zone: if options.utc {
                TimeZone::UTC
            } else {
                TimeZone::system()
            },
            sink: Mutex::new(sink),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// A log that keeps nothing.
    pub fn silent() -> Self {
        let options = LogOptions {
            silent: true,
            ..LogOptions::default()
        };
        let sink = Mutex::new(Sink::Nowhere);
        Self {
            inner: Arc::new(Inner {
                options,
                pid: 0,
                zone: TimeZone::UTC,
                sink,
            }),
        }
    }

    /// Opens the log file again under its name, after it was moved away.
    ///
    /// # Errors
    /// When the file cannot be opened; the old one stays in use then.
    pub fn reopen(&self) -> io::Result<()> {
        let mut sink = self.inner.sink.lock();
        if let Sink::File { file, path } = &mut *sink {
            *file = append(path)?;
        }
        Ok(())
    }

    /// Whether `[DBG]` lines are written.
    pub fn debugs(&self) -> bool {
        self.inner.options.debug
    }

    /// Whether `[TRC]` lines are written.
    pub fn traces(&self) -> bool {
        self.inner.options.trace
    }

    /// Longest payload to show in a trace, 0 = all of it.
    pub fn max_traced_msg_len(&self) -> usize {
        self.inner.options.max_traced_msg_len
    }

    /// An `[INF]` line.
    pub fn info(&self, text: fmt::Arguments<'_>) {
        self.write("INF", text);
    }

    /// A `[WRN]` line.
    pub fn warn(&self, text: fmt::Arguments<'_>) {
        self.write("WRN", text);
    }

    /// An `[ERR]` line.
    pub fn error(&self, text: fmt::Arguments<'_>) {
        self.write("ERR", text);
    }

    /// An `[FTL]` line; the caller ends the process.
    pub fn fatal(&self, text: fmt::Arguments<'_>) {
        self.write("FTL", text);
    }

    /// A `[DBG]` line, if the operator asked for them.
    pub fn debug(&self, text: fmt::Arguments<'_>) {
        if self.debugs() {
            self.write("DBG", text);
        }
    }

    /// A `[TRC]` line, if the operator asked for them.
    pub fn trace(&self, text: fmt::Arguments<'_>) {
        if self.traces() {
            self.write("TRC", text);
        }
    }

    fn write(&self, level: &str, text: fmt::Arguments<'_>) {
        let mut sink = self.inner.sink.lock();
        let colour = match &*sink {
            Sink::Nowhere => return,
            Sink::Stderr { colour } => *colour,
            Sink::File { .. } => false,
        };
        let line = self.line(level, colour, text);
        // A log that cannot be written has nowhere to say so.
        let _ = match &mut *sink {
            Sink::Stderr { .. } => io::stderr().write_all(line.as_bytes()),
            Sink::File { file, .. } => file.write_all(line.as_bytes()),
            Sink::Nowhere => Ok(()),
        };
    }

    fn line(&self, level: &str, colour: bool, text: fmt::Arguments<'_>) -> String {
        let options = &self.inner.options;
        let level = if colour {
            coloured(level)
        } else {
            format!("[{level}]")
        };
        if options.time {
            let time = time_stamp(&self.inner.zone);
            format!("[{}] {time} {level} {text}\n", self.inner.pid)
        } else {
            format!("[{}] {level} {text}\n", self.inner.pid)
        }
    }
}

fn coloured(level: &str) -> String {
    let code = match level {
        "INF" => 32,
        "DBG" => 36,
        "WRN" => 33,
        "TRC" => 34,
        _ => 31,
    };
    format!("[\x1b[{code}m{level}\x1b[0m]")
}

/// Only the operator and its group may read what clients do.
fn append(path: &std::path::Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o640).open(path)
}

/// `2026/11/22 09:14:37.693020`, in local time unless the operator asked for UTC.
fn time_stamp(zone: &TimeZone) -> impl fmt::Display {
    Timestamp::now()
        .to_zoned(zone.clone())
        .strftime("%Y/%m/%d %H:%M:%S%.6f")
        .to_string()
}
