//! A line on the terminal that says how far the benchmark is. Nothing is written when standard error
//! is no terminal.

use std::io::{self, IsTerminal, Write};
use std::time::Instant;

const WIDTH: usize = 24;

/// The line.
#[derive(Debug)]
pub(super) struct Progress {
    shown: bool,
    total: usize,
    done: usize,
    begin: Instant,
}

impl Progress {
    /// Shown on a terminal only.
    pub(super) fn new() -> Self {
        Progress {
            shown: io::stderr().is_terminal(),
            total: 0,
            done: 0,
            begin: Instant::now(),
        }
    }

    /// So many steps are to come.
    pub(super) fn begin(&mut self, total: usize) {
        self.total = total;
    }

    /// The next step begins.
    pub(super) fn step(&mut self, text: &str) {
        if self.shown {
            let line = line(self.done, self.total, self.begin.elapsed().as_secs(), text);
            // A terminal that is gone does not stop the measurement.
            let _ = write!(io::stderr(), "\r\x1b[K{line}");
        }
        self.done += 1;
    }

    /// Clears the line.
    pub(super) fn end(&self) {
        if self.shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(done: usize, total: usize, seconds: u64, text: &str) -> String {
    let filled = WIDTH * done / total.max(1);
    let bar = "#".repeat(filled) + &"-".repeat(WIDTH.saturating_sub(filled));
    let left = match done {
        0 => String::new(),
        done => {
            let left = seconds * total.saturating_sub(done) as u64 / done as u64;
            format!(", {left} s left")
        }
    };
    format!("[{bar}] {done}/{total}{left}  {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_grows() {
        assert_eq!(line(0, 4, 0, "x"), "[------------------------] 0/4  x");
        assert_eq!(
            line(2, 4, 10, "x"),
            "[############------------] 2/4, 10 s left  x"
        );
        assert!(line(5, 4, 0, "x").starts_with("[##"));
    }
}
