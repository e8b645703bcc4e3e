//! The configuration file: nats-server's dialect and keys, laid over [`Options`].
//!
//! Every key is in one of three lists: understood, known to nats-server but not built here yet, unknown. The last
//! two stop the start with the key's name and line; nothing is accepted and ignored.
//!
//! A shell module: it reads files and the environment.

// The file that the operator names, and those that it includes, are read here.
#![allow(clippy::disallowed_methods)]

mod auth;
mod cluster;
mod jetstream;
mod jetwake;
mod server;
#[cfg(test)]
mod tests;
mod values;

use std::io;
use std::path::{Path, PathBuf};

use jetwake_protocol::conf::{self, Document, Included, Node, Position, Source};
use sha2::{Digest, Sha256};

use crate::options::Options;

/// What a configuration file said beside its options.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Things an operator should mend; the start goes on.
    pub warnings: Vec<String>,
    /// `sha256:...` of the content.
    pub digest: String,
}

/// Why a configuration file was refused: all reasons, a line each.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// Lays a configuration file over `options`.
///
/// # Errors
/// When the file cannot be read or understood.
pub fn load(path: &Path, options: &mut Options) -> Result<Loaded, ConfigError> {
    let name = path.to_string_lossy();
    let text = std::fs::read_to_string(path).map_err(|e| ConfigError(open_error(&name, &e)))?;
    let document = conf::parse(&name, &text, &Files).map_err(|e| ConfigError(e.to_string()))?;
    let mut findings = Findings {
        document: &document,
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    if document.root.is_empty() {
        findings
            .warnings
            .push(format!("{name}: config has no values or is empty"));
    }
    server::apply(&document.root, options, &mut findings);
    if !findings.errors.is_empty() {
        return Err(ConfigError(findings.errors.join("\n")));
    }
    let digest = Sha256::digest(text.as_bytes());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = format!("sha256:{digest}");
    options.config_digest.clone_from(&digest);
    Ok(Loaded {
        warnings: findings.warnings,
        digest,
    })
}

/// What is wrong with a file, gathered so that all of it is said at once.
struct Findings<'d> {
    document: &'d Document,
    errors: Vec<String>,
    warnings: Vec<String>,
}

impl Findings<'_> {
    fn error(&mut self, position: Position, text: &str) {
        self.errors
            .push(format!("{}: {text}", self.document.locate(position)));
    }

    fn warn(&mut self, position: Position, text: &str) {
        self.warnings
            .push(format!("{}: {text}", self.document.locate(position)));
    }

    /// A key that nothing here understands.
    fn unknown(&mut self, key: &str, node: &Node, not_built: &[&str]) {
        if not_built.contains(&key.to_ascii_lowercase().as_str()) {
            self.error(
                node.position,
                &format!("\"{key}\" is not supported yet by this server"),
            );
        } else {
            self.error(node.position, &format!("unknown field \"{key}\""));
        }
    }
}

/// The file system and the environment.
struct Files;

impl Source for Files {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn include(&self, from: &str, path: &str) -> Result<Included, String> {
        let beside = Path::new(from).parent().unwrap_or(Path::new(""));
        let path: PathBuf = beside.join(path);
        let name = path.to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).map_err(|error| open_error(&name, &error))?;
        Ok(Included { name, text })
    }
}

/// `open x.conf: no such file or directory`, in the words of nats-server's runtime.
pub(crate) fn open_error(name: &str, error: &io::Error) -> String {
    let reason = match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => return format!("read {name}: is a directory"),
        _ => error.to_string(),
    };
    format!("open {name}: {reason}")
}
