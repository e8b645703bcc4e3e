//! nats-server's configuration dialect: text to a tree of values with positions.
//!
//! Knows the grammar and nothing of what keys mean. Files and environment variables are reached only
//! through [`Source`]. Error texts are those of the real server. Damage of any kind ends in an error:
//! nesting, includes and the copies that variables make are bounded.

mod cursor;
mod parser;
mod scalar;
mod value;

pub use parser::parse;
pub use value::{Document, Entry, Map, Node, Position, Value};

/// Deepest nesting of maps and arrays.
const MAX_DEPTH: usize = 128;
/// Longest chain of files that include each other, and of environment variables that name others.
const MAX_CHAIN: usize = 32;
/// Most files that one configuration reads; a file included twice counts twice.
const MAX_FILES: usize = 1024;
/// Most values that references to variables may copy.
const MAX_COPIES: usize = 1_000_000;

/// Why a configuration cannot be read, in the real server's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfError(pub String);

/// A file that an include names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Included {
    /// Name for error positions; relative includes inside it start from here.
    pub name: String,
    /// The file's text.
    pub text: String,
}

/// What lies outside of the text.
pub trait Source {
    /// The value of an environment variable.
    fn variable(&self, name: &str) -> Option<String>;

    /// Reads the file `path`, as written in an include of the file `from`.
    ///
    /// # Errors
    /// The reason, for example `open b.conf: no such file or directory`.
    fn include(&self, from: &str, path: &str) -> Result<Included, String>;
}

#[cfg(test)]
mod tests;
