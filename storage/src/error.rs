//! What can go wrong with the store as a whole.

use std::io;
use std::path::PathBuf;

use crate::crypt::KeyError;

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process, or another part of this one, has the directory open.
    #[error("the store directory {0} is in use by another process")]
    Locked(PathBuf),
    /// A file is of a version from before the first release, which is not read any more.
    #[error("{0} was written by an earlier development version")]
    Old(String),
    /// The disk refused a call while the store was opened or a job ran; nothing was promised on it.
    #[error("cannot {what} {name}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        name: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The store is encrypted, and not with the key that was given. Nothing was changed.
    #[error("error decrypting the store: {0}")]
    Key(#[from] KeyError),
    /// The journal could not be written or synced. What had not been reported durable is unknown,
    /// and nothing can be written until the store is opened again.
    #[error("the store stopped: {0}")]
    Failed(String),
}

impl StoreError {
    pub(crate) fn io(what: &'static str, name: impl Into<String>, source: io::Error) -> Self {
        Self::Io {
            what,
            name: name.into(),
            source,
        }
    }

    /// Whether the disk is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let full = |kind| {
            matches!(
                kind,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            )
        };
        matches!(self, Self::Io { source, .. } if full(source.kind()))
    }
}
