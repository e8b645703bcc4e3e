//! The lines that a server prints at its start, in nats-server's order: test harnesses wait for some of them.

use crate::log::Logger;
use crate::options::Options;
use crate::version;

/// Who the server is.
pub(super) fn identity(logger: &Logger, name: &str, id: &str, options: &Options) {
    logger.info(format_args!("Starting nats-server"));
    logger.info(format_args!("  Version:  {}", version::CLAIMED));
    logger.info(format_args!("  Git:      [{}]", version::GIT_COMMIT));
    logger.info(format_args!("  Engine:   jetwake {}", version::OWN));
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

/// Eight characters that stand for the server's name in a group.
fn node_id(name: &str) -> String {
    jetwake_protocol::ack::account_hash(name.as_bytes())
        .iter()
        .map(|b| char::from(*b))
        .collect()
}
