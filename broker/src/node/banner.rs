//! The lines that a server prints at its start, in nats-server's order: test harnesses wait for some of them.

use std::fmt;

use crate::log::Logger;
use crate::options::{Cipher, JetStreamOptions, Options, SyncPolicy};
use crate::version;

use super::limits::Limits;

/// Who the server is.
pub(super) fn identity(logger: &Logger, name: &str, id: &str, cluster: &str, options: &Options) {
    logger.info(format_args!("Starting nats-server"));
    logger.info(format_args!("  Version:  {}", version::CLAIMED));
    logger.info(format_args!("  Git:      [{}]", version::GIT_COMMIT));
    logger.info(format_args!("  Engine:   jetwake {}", version::OWN));
    if !cluster.is_empty() {
        logger.info(format_args!("  Cluster:  {cluster}"));
    }
    logger.info(format_args!("  Name:     {name}"));
    if options.jetstream.is_some() {
        logger.info(format_args!("  Node:     {}", node_id(name)));
    }
    logger.info(format_args!("  ID:       {id}"));
    if options
        .auth
        .as_ref()
        .is_some_and(crate::options::Auth::is_plaintext)
    {
        logger.warn(format_args!(
            "Plaintext passwords detected, use nkeys or bcrypt"
        ));
    }
}

/// What JetStream starts with. A relaxed sync policy is said aloud.
pub(super) fn jetstream(logger: &Logger, options: &JetStreamOptions, limits: &Limits) {
    logger.info(format_args!("Starting JetStream"));
    logger.info(format_args!("---------------- JETSTREAM ----------------"));
    logger.info(format_args!("  Strict:          {}", options.strict));
    logger.info(format_args!(
        "  Max Memory:      {}",
        Size(limits.max_memory)
    ));
    logger.info(format_args!("  Max Storage:     {}", Size(limits.max_file)));
    logger.info(format_args!(
        "  Store Directory: \"{}\"",
        options.data_dir().display()
    ));
    if let Some(domain) = &options.domain {
        logger.info(format_args!("  Domain:          {domain}"));
    }
    if let Some(encryption) = &options.encryption {
        let cipher = match encryption.cipher {
            Cipher::Aes => "AES-GCM",
            Cipher::ChaCha => "ChaCha20-Poly1305",
        };
        logger.info(format_args!("  Encryption:      {cipher}"));
    }
    logger.info(format_args!("  API Level:       5"));
    match options.sync {
        SyncPolicy::Always => logger.info(format_args!("  Sync:            before each ack")),
        SyncPolicy::Lazy(every) => logger.warn(format_args!(
            "  Sync:            every {every:?}: a power cut loses acknowledged messages"
        )),
    }
    logger.info(format_args!("-------------------------------------------"));
}

/// Eight characters that stand for the server's name in a group.
fn node_id(name: &str) -> String {
    jetwake_protocol::ack::account_hash(name.as_bytes())
        .iter()
        .map(|b| char::from(*b))
        .collect()
}

/// A number of bytes with the unit that fits, as nats-server prints it.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KB", "MB", "GB", "TB", "PB", "EB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let exponent = (self.0.ilog2() / 10) as usize;
        let unit = UNITS.get(exponent - 1).copied().unwrap_or("EB");
        let value = self.0 as f64 / (1u64 << (10 * exponent)) as f64;
        write!(f, "{value:.2} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::Size;

    #[test]
    fn sizes_are_printed_as_nats_server_prints_them() {
        assert_eq!(Size(18_957_376_512).to_string(), "17.66 GB");
        assert_eq!(Size(60_441_427_968).to_string(), "56.29 GB");
        assert_eq!(Size(512).to_string(), "512 B");
        assert_eq!(Size(64 << 20).to_string(), "64.00 MB");
    }
}
