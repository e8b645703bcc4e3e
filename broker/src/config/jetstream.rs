//! The `jetstream` block.

use jetwake_protocol::conf::{Map, Node, Position, Value};

use super::Findings;
use super::values::{self, Read};
use crate::cli::sync_policy;
use crate::options::{Cipher, EncryptionOptions, JetStreamOptions, Options, SyncPolicy};

/// Keys of nats-server that this server has nothing behind yet.
const NOT_BUILT: &[&str] = &[
    "extension_hint",
    "max_outstanding_catchup",
    "max_buffered_size",
    "max_buffered_msgs",
    "request_queue_limit",
    "info_queue_limit",
    "meta_compact",
    "meta_compact_size",
    "meta_compact_sync",
    "max_concurrent_io",
    "tpm",
];

pub(super) fn apply(node: &Node, options: &mut Options, findings: &mut Findings<'_>) -> Read<()> {
    match &node.value {
        Value::Bool(on) => switch(*on, options),
        Value::Text(word) => match word.to_ascii_lowercase().as_str() {
            "enabled" | "enable" => switch(true, options),
            "disabled" | "disable" => switch(false, options),
            other => {
                return Err(format!(
                    "expected 'enabled' or 'disabled' for string value, got {other:?}"
                ));
            }
        },
        Value::Map(map) => block(map, node.position, options, findings),
        other => {
            return Err(format!(
                "expected map, bool or string to define JetStream, got {}",
                other.go_type()
            ));
        }
    }
    Ok(())
}

fn switch(on: bool, options: &mut Options) {
    if on {
        options
            .jetstream
            .get_or_insert_with(JetStreamOptions::default);
    } else {
        options.jetstream = None;
    }
}

fn block(map: &Map, at: Position, options: &mut Options, findings: &mut Findings<'_>) {
    let mut jetstream = options.jetstream.take().unwrap_or_default();
    let mut keys = Keys::default();
    let mut enabled = true;
    for entry in map {
        let key = entry.key.to_ascii_lowercase();
        let read = match key.as_str() {
            "enabled" | "enable" => values::boolean(&entry.node).map(|on| enabled = on),
            _ => match known(&key, &entry.node, &mut jetstream, findings)
                .or_else(|| keys.read(&key, &entry.node))
            {
                Some(read) => read,
                None if entry.used => Ok(()),
                None => {
                    findings.unknown(&entry.key, &entry.node, NOT_BUILT);
                    Ok(())
                }
            },
        };
        if let Err(text) = read {
            // nats-server notices a wrong type only after it has left the block.
            let wrong_type = text.starts_with("interface conversion");
            let position = if wrong_type { at } else { entry.node.position };
            findings.error(position, &text);
        }
    }
    jetstream.encryption = keys.options();
    options.jetstream = enabled.then_some(jetstream);
}

fn known(
    key: &str,
    node: &Node,
    jetstream: &mut JetStreamOptions,
    findings: &mut Findings<'_>,
) -> Option<Read<()>> {
    Some(match key {
        "strict" => values::boolean(node).map(|strict| jetstream.strict = strict),
        "store_dir" | "store" | "storedir" => {
            values::text(node).map(|dir| jetstream.store_dir = dir.into())
        }
        "max_memory_store" | "max_mem_store" | "max_mem" => {
            values::storage(node, "max_mem_store").map(|max| jetstream.max_memory = max)
        }
        "max_file_store" | "max_file" => {
            values::storage(node, "max_file_store").map(|max| jetstream.max_file = max)
        }
        "limits" => limits(node, jetstream, findings),
        "sync_interval" | "sync" => sync(node, key, findings).map(|sync| jetstream.sync = sync),
        "unique_tag" => {
            values::text(node).map(|tag| jetstream.unique_tag = tag.trim().to_ascii_lowercase())
        }
        "domain" => values::text(node).and_then(|domain| {
            if domain.contains(['.', '*', '>']) {
                return Err("invalid domain name: may not contain ., * or >".to_owned());
            }
            jetstream.domain = Some(domain).filter(|d| !d.is_empty());
            Ok(())
        }),
        _ => return None,
    })
}

/// What the block says about encryption.
#[derive(Default)]
struct Keys {
    key: String,
    previous: String,
    cipher: Cipher,
}

impl Keys {
    fn read(&mut self, key: &str, node: &Node) -> Option<Read<()>> {
        Some(match key {
            "encryption_key" | "key" | "ek" => values::text(node).map(|key| self.key = key),
            "prev_encryption_key" | "prev_key" | "prev_ek" => {
                values::text(node).map(|key| self.previous = key)
            }
            "cipher" => values::text(node).and_then(|name| {
                self.cipher = match name.to_ascii_lowercase().as_str() {
                    "chacha" | "chachapoly" => Cipher::ChaCha,
                    "aes" => Cipher::Aes,
                    _ => return Err(format!("Unknown cipher type: {name:?}")),
                };
                Ok(())
            }),
            _ => return None,
        })
    }

    /// An empty key is none.
    fn options(self) -> Option<EncryptionOptions> {
        (!self.key.is_empty()).then(|| EncryptionOptions {
            key: self.key,
            previous: Some(self.previous).filter(|key| !key.is_empty()),
            cipher: self.cipher,
        })
    }
}

fn sync(node: &Node, key: &str, findings: &mut Findings<'_>) -> Read<SyncPolicy> {
    match &node.value {
        Value::Text(text) => sync_policy(text)
            .ok_or_else(|| format!("error parsing {key}: time: invalid duration {text:?}")),
        _ => values::duration(node, key, findings).map(SyncPolicy::Lazy),
    }
}

/// Keys of the `limits` block that this server has nothing behind yet.
const LIMITS_NOT_BUILT: &[&str] = &["max_ha_assets", "batch"];

fn limits(node: &Node, jetstream: &mut JetStreamOptions, findings: &mut Findings<'_>) -> Read<()> {
    let Value::Map(map) = &node.value else {
        return Err(format!(
            "expected a map to define limits, got {}",
            node.value.go_type()
        ));
    };
    let limits = &mut jetstream.limits;
    for entry in map {
        let (key, node) = (entry.key.to_ascii_lowercase(), &entry.node);
        let read = match key.as_str() {
            "max_ack_pending" => values::int(node).map(|most| limits.max_ack_pending = most.max(0)),
            "max_request_batch" => {
                values::int(node).map(|most| limits.max_request_batch = most.max(0))
            }
            "duplicate_window" => values::duration(node, &key, findings)
                .map(|longest| limits.duplicate_window = longest),
            // -1 is no limit.
            "default_max_consumers" => values::int(node)
                .map(|most| limits.default_max_consumers = usize::try_from(most).unwrap_or(0)),
            _ if entry.used => Ok(()),
            _ => {
                findings.unknown(&entry.key, node, LIMITS_NOT_BUILT);
                Ok(())
            }
        };
        if let Err(text) = read {
            findings.error(node.position, &text);
        }
    }
    Ok(())
}
