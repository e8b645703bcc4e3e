//! The server's own keys in the metadata of configurations, and equality without them.
//!
//! `_nats.req.level` is stored; the other two are added to responses only and never compared.

use std::collections::BTreeMap;

use crate::jetstream::stream::{PersistMode, StreamConfig};
use crate::jetstream::{API_LEVEL, SERVER_VERSION};

const REQUIRED_LEVEL_KEY: &str = "_nats.req.level";
const VERSION_KEY: &str = "_nats.ver";
const LEVEL_KEY: &str = "_nats.level";

pub(crate) type Metadata = BTreeMap<String, String>;

/// Size of keys and values, as the limit counts it.
pub(crate) fn size(metadata: &Metadata) -> usize {
    metadata
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum()
}

/// Replaces what the client says about versions by the level that the configuration needs.
pub(crate) fn stamp_level(metadata: &mut Metadata, level: u32) {
    metadata.remove(VERSION_KEY);
    metadata.remove(LEVEL_KEY);
    metadata.insert(REQUIRED_LEVEL_KEY.to_owned(), level.to_string());
}

/// Adds the keys that only responses show.
pub(crate) fn add_dynamic(metadata: &mut Metadata) {
    metadata.insert(VERSION_KEY.to_owned(), SERVER_VERSION.to_owned());
    metadata.insert(LEVEL_KEY.to_owned(), API_LEVEL.to_string());
}

/// Whether two sets of metadata are the same but for the server's keys.
pub(crate) fn same_metadata(left: &Metadata, right: &Metadata) -> bool {
    let free = |(key, _): &(&String, &String)| {
        ![REQUIRED_LEVEL_KEY, VERSION_KEY, LEVEL_KEY].contains(&key.as_str())
    };
    left.iter().filter(free).eq(right.iter().filter(free))
}

pub(super) fn stamp(config: &mut StreamConfig) {
    let level = required_level(config);
    stamp_level(&mut config.metadata, level);
}

/// The smallest API level that knows everything the configuration uses.
fn required_level(config: &StreamConfig) -> u32 {
    if config.allow_batched {
        4
    } else if config.allow_msg_counter
        || config.allow_atomic
        || config.allow_msg_schedules
        || config.persist_mode == PersistMode::Async
    {
        2
    } else {
        u32::from(config.allow_msg_ttl || config.subject_delete_marker_ttl > 0)
    }
}

/// The configuration as CREATE, UPDATE and INFO of a stream show it.
pub fn with_dynamic_metadata(config: &StreamConfig) -> StreamConfig {
    let mut shown = config.clone();
    add_dynamic(&mut shown.metadata);
    shown
}

/// Whether two normalised configurations are the same but for the server's metadata.
pub fn same(left: &StreamConfig, right: &StreamConfig) -> bool {
    if !same_metadata(&left.metadata, &right.metadata) {
        return false;
    }
    let mut right = right.clone();
    right.metadata.clone_from(&left.metadata);
    *left == right
}
