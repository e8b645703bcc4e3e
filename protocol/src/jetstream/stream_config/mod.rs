//! Defaults, validation and update rules of stream configurations.
//!
//! [`normalize`] fills in defaults and runs the checks in the order in which clients see them fail;
//! the order is the order of the calls in that function. Facts about the server and the other
//! streams are handed in.

pub(crate) mod metadata;
mod origins;
mod subjects;
mod update;

use super::account::AccountLimits;
use super::error::ApiError;
use super::stream::{DiscardPolicy, PersistMode, RetentionPolicy, StorageType, StreamConfig};
use crate::time::format_duration;

pub use metadata::{same, with_dynamic_metadata};
pub use origins::check_filters;
pub use subjects::{check_ownership, overlaps_any};
pub use update::{check_consumers, check_update};

const NAME_LENGTH_MAX: usize = 255;
const DESCRIPTION_LENGTH_MAX: usize = 4096;
const METADATA_SIZE_MAX: usize = 128 * 1024;
const REPLICAS_MAX: i64 = 5;
const DUPLICATES_DEFAULT: i64 = 120_000_000_000;
const AGE_MIN: i64 = 100_000_000;
const SECOND: i64 = 1_000_000_000;

/// What a stream configuration is judged against.
#[derive(Clone, Copy)]
pub struct StreamFacts<'a> {
    /// The limits of the account (of the tier, if there are tiers).
    pub account: &'a AccountLimits,
    /// The server's limit for `duplicate_window`, 0 for none.
    pub max_duplicates: i64,
    /// Finds another stream of the account by name.
    pub stream: &'a dyn Fn(&str) -> Option<&'a StreamConfig>,
}

impl std::fmt::Debug for StreamFacts<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("StreamFacts")
            .field("account", self.account)
            .field("max_duplicates", &self.max_duplicates)
            .finish_non_exhaustive()
    }
}

type Checked = Result<(), ApiError>;

fn refuse(text: &str) -> Checked {
    Err(ApiError::stream_invalid_config(text))
}

/// Whether a name may be given to a stream or consumer.
pub fn is_valid_name(name: &str) -> bool {
    const FORBIDDEN: &[u8] = b" \t\r\n\x0c.*>\\/";
    !name.is_empty() && !name.bytes().any(|byte| FORBIDDEN.contains(&byte))
}

/// What only a create request is refused for, before anything else is looked at.
pub fn check_create(config: &StreamConfig) -> Checked {
    if config.sealed {
        return refuse("stream configuration for create can not be sealed");
    }
    if config.mirror.is_none() && config.mirror_direct {
        return refuse("stream has no mirror but does have mirror direct");
    }
    Ok(())
}

/// Fills in defaults and validates. In pedantic mode nothing is adjusted silently.
pub fn normalize(
    mut config: StreamConfig,
    pedantic: bool,
    facts: &StreamFacts<'_>,
) -> Result<StreamConfig, ApiError> {
    check_texts(&config)?;
    metadata::stamp(&mut config);
    check_replicas(&mut config)?;
    check_limits(&mut config, pedantic)?;
    check_age(&config)?;
    check_duplicates(&mut config, pedantic, facts)?;
    check_rollups(&config)?;
    check_counter(&config)?;
    check_discard_per_subject(&config)?;
    check_markers(&mut config, pedantic)?;
    check_schedules(&mut config, pedantic)?;
    check_persist_mode(&config)?;
    origins::check_mirror(&mut config, pedantic, facts)?;
    origins::check_sources(&config, facts)?;
    origins::check_externals(&config)?;
    origins::check_cycles(&config, facts)?;
    subjects::check_subjects(&mut config)?;
    check_account(&config, facts.account)?;
    subjects::check_transform(&config)?;
    subjects::check_republish(&mut config, pedantic)?;
    check_placement(&mut config)?;
    Ok(config)
}

fn check_texts(config: &StreamConfig) -> Checked {
    if !is_valid_name(&config.name) {
        return refuse(r"stream name is required and can not contain '.', '*', '>', '\', '/'");
    }
    if config.name.len() > NAME_LENGTH_MAX {
        return refuse("stream name is too long, maximum allowed is 255");
    }
    if config.description.len() > DESCRIPTION_LENGTH_MAX {
        return refuse("stream description is too long, maximum allowed is 4096");
    }
    if metadata::size(&config.metadata) > METADATA_SIZE_MAX {
        return refuse("stream metadata exceeds maximum size of 131072 bytes");
    }
    Ok(())
}

fn check_replicas(config: &mut StreamConfig) -> Checked {
    if config.num_replicas == 0 {
        config.num_replicas = 1;
    }
    if config.num_replicas > REPLICAS_MAX {
        return refuse("maximum replicas is 5");
    }
    if config.num_replicas < 0 {
        return Err(ApiError::replicas_count_cannot_be_negative());
    }
    Ok(())
}

fn check_limits(config: &mut StreamConfig, pedantic: bool) -> Checked {
    let mut size = i64::from(config.max_msg_size);
    for (name, limit) in [
        ("max_msgs", &mut config.max_msgs),
        ("max_msgs_per_subject", &mut config.max_msgs_per_subject),
        ("max_bytes", &mut config.max_bytes),
        ("max_msg_size", &mut size),
        ("max_consumers", &mut config.max_consumers),
    ] {
        if pedantic && *limit < -1 {
            return Err(ApiError::pedantic(format_args!("{name} must be set to -1")));
        }
        if *limit == 0 || *limit < -1 {
            *limit = -1;
        }
    }
    if size == -1 {
        config.max_msg_size = -1;
    }
    Ok(())
}

fn check_age(config: &StreamConfig) -> Checked {
    if config.max_age < 0 {
        return refuse("max age can not be negative");
    }
    if config.max_age > 0 && config.max_age < AGE_MIN {
        return refuse("max age needs to be >= 100ms");
    }
    Ok(())
}

fn check_duplicates(config: &mut StreamConfig, pedantic: bool, facts: &StreamFacts<'_>) -> Checked {
    let server = facts.max_duplicates;
    if config.duplicates == 0 && config.mirror.is_none() && config.sources.is_empty() {
        config.duplicates = default_duplicates(config.max_age, server, pedantic)?;
    }
    if config.duplicates < 0 {
        return refuse("duplicates window can not be negative");
    }
    if config.duplicates == 0 {
        return Ok(());
    }
    if config.max_age != 0 && config.duplicates > config.max_age {
        return refuse("duplicates window can not be larger then max age");
    }
    if server > 0 && config.duplicates > server {
        let server = format_duration(server);
        let text = format!("duplicates window can not be larger then server limit of {server}");
        return refuse(&text);
    }
    if config.duplicates < AGE_MIN {
        return refuse("duplicates window needs to be >= 100ms");
    }
    Ok(())
}

fn default_duplicates(max_age: i64, server: i64, pedantic: bool) -> Result<i64, ApiError> {
    let mut window = DUPLICATES_DEFAULT;
    if server > 0 && window > server {
        if pedantic {
            let text = "duplicate window limits are higher than current limits";
            return Err(ApiError::pedantic(text));
        }
        window = server;
    }
    if max_age != 0 && max_age < window {
        if pedantic {
            return Err(ApiError::pedantic(
                "duplicate window cannot be bigger than max age",
            ));
        }
        window = max_age;
    }
    Ok(window)
}

fn check_rollups(config: &StreamConfig) -> Checked {
    if config.deny_purge && config.allow_rollup_hdrs {
        return refuse("roll-ups require the purge permission");
    }
    Ok(())
}

fn check_counter(config: &StreamConfig) -> Checked {
    if !config.allow_msg_counter {
        return Ok(());
    }
    if config.discard == DiscardPolicy::New {
        return refuse("counter stream cannot use discard new");
    }
    if config.allow_msg_ttl {
        return refuse("counter stream cannot use message TTLs");
    }
    if config.allow_msg_schedules {
        return refuse("counter stream cannot use message schedules");
    }
    if config.retention != RetentionPolicy::Limits {
        return refuse("counter stream can only use limits retention");
    }
    Ok(())
}

fn check_discard_per_subject(config: &StreamConfig) -> Checked {
    if !config.discard_new_per_subject {
        return Ok(());
    }
    if config.discard != DiscardPolicy::New {
        return refuse("discard new per subject requires discard new policy to be set");
    }
    if config.max_msgs_per_subject <= 0 {
        return refuse("discard new per subject requires max msgs per subject > 0");
    }
    Ok(())
}

fn check_markers(config: &mut StreamConfig, pedantic: bool) -> Checked {
    let ttl = config.subject_delete_marker_ttl;
    if ttl < 0 {
        return refuse("subject delete marker TTL must not be negative");
    }
    // A mirror refuses markers with an error of its own.
    if ttl == 0 || config.mirror.is_some() {
        return Ok(());
    }
    if ttl < SECOND {
        return refuse("subject delete marker TTL must be at least 1 second");
    }
    if pedantic && !config.allow_msg_ttl {
        return refuse("subject delete marker cannot be set if message TTLs are disabled");
    }
    if pedantic && !config.allow_rollup_hdrs {
        return refuse("subject delete marker cannot be set if roll-ups are disabled");
    }
    config.allow_msg_ttl = true;
    config.allow_rollup_hdrs = true;
    config.deny_purge = false;
    Ok(())
}

fn check_schedules(config: &mut StreamConfig, pedantic: bool) -> Checked {
    // Mirrors and sources refuse schedules with errors of their own.
    if !config.allow_msg_schedules || config.mirror.is_some() || !config.sources.is_empty() {
        return Ok(());
    }
    if config.discard == DiscardPolicy::New {
        return refuse("message scheduling cannot use discard new");
    }
    if pedantic && !config.allow_rollup_hdrs {
        return refuse("message scheduling cannot be set if roll-ups are disabled");
    }
    config.allow_rollup_hdrs = true;
    config.deny_purge = false;
    Ok(())
}

fn check_persist_mode(config: &StreamConfig) -> Checked {
    if config.persist_mode != PersistMode::Async {
        return Ok(());
    }
    if config.storage != StorageType::File {
        return refuse("async persist mode is only supported on file storage");
    }
    if config.num_replicas > 1 {
        return refuse("async persist mode is not supported on replicated streams");
    }
    if config.allow_atomic {
        return refuse("async persist mode is not supported with atomic batch publish");
    }
    Ok(())
}

fn check_account(config: &StreamConfig, account: &AccountLimits) -> Checked {
    if account.max_bytes_required && config.max_bytes <= 0 {
        return Err(ApiError::stream_max_bytes_required());
    }
    let ceiling = match config.storage {
        StorageType::File => account.store_max_stream_bytes,
        StorageType::Memory => account.memory_max_stream_bytes,
    };
    if ceiling > 0 && config.max_bytes > ceiling {
        return Err(ApiError::stream_max_stream_bytes_exceeded());
    }
    Ok(())
}

fn check_placement(config: &mut StreamConfig) -> Checked {
    let Some(placement) = &config.placement else {
        return Ok(());
    };
    if !placement.preferred.is_empty() {
        return refuse("preferred server not permitted in placement");
    }
    if placement.cluster.is_empty() && placement.tags.is_empty() {
        config.placement = None;
    }
    Ok(())
}

/// The error for the first feature that this server does not have yet. Runs after every other
/// check, so that a wrong configuration is always refused for what is wrong with it.
pub fn unsupported(config: &StreamConfig) -> Option<ApiError> {
    let features = [
        ("mirror", config.mirror.is_some()),
        ("sources", !config.sources.is_empty()),
        ("allow_msg_schedules", config.allow_msg_schedules),
        (
            "persist_mode async",
            config.persist_mode == PersistMode::Async,
        ),
    ];
    let (feature, _) = features.into_iter().find(|(_, used)| *used)?;
    let text = format!("{feature} is not supported yet by this server");
    Some(ApiError::stream_invalid_config(text))
}

#[cfg(test)]
mod tests;
