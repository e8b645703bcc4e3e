//! The store directory of an embedded server: the one it was given, or a temporary one that goes away with it.
//!
//! A shell module: it makes and removes directories.

// Temporary directories are made and removed here.
#![allow(clippy::disallowed_methods)]

use std::io;
use std::path::{Path, PathBuf};

/// Whether something that is not a directory lies where `dir`, or a directory above it, should be.
pub(super) fn is_blocked(dir: &Path) -> bool {
    dir.ancestors()
        .find_map(|dir| std::fs::metadata(dir).ok())
        .is_some_and(|found| !found.is_dir())
}

/// A temporary directory. Removed when dropped, kept when the thread that drops it panics: a failed test's data
/// can be looked at.
#[derive(Debug)]
pub(super) struct TemporaryDir {
    path: PathBuf,
}

impl TemporaryDir {
    /// Makes one; `unique` tells it from others of this process.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn make(unique: u64) -> io::Result<Self> {
        let name = format!("jetwake-{}-{unique:016x}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path)?;
        Ok(Self { path })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TemporaryDir {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "jetwake: the store directory of the failed test is kept: {}",
                self.path.display()
            );
            return;
        }
        // What cannot be removed is the temporary directory's own cleaner's.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
