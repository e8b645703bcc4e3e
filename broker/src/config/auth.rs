//! The `authorization` block, as far as one user or a token goes.

use std::time::Duration;

use jetwake_protocol::conf::{Node, Value};

use super::Findings;
use super::values::{self, Read};
use crate::options::{Auth, Options};

/// Keys of nats-server that this server has nothing behind yet.
const NOT_BUILT: &[&str] = &[
    "users",
    "nkeys",
    "default_permissions",
    "auth_callout",
    "auth_hook",
    "permissions",
    "proxy_required",
];

pub(super) fn apply(node: &Node, options: &mut Options, findings: &mut Findings<'_>) -> Read<()> {
    let Value::Map(map) = &node.value else {
        return Err(format!(
            "expected a map to define authorization, got {}",
            node.value.go_type()
        ));
    };
    let (mut user, mut password, mut token) = (None, None, None);
    for entry in map {
        let node = &entry.node;
        let read = match entry.key.to_ascii_lowercase().as_str() {
            "user" | "username" => values::text(node).map(|text| user = Some(text)),
            "pass" | "password" => values::text(node).map(|text| password = Some(text)),
            "token" => values::text(node).map(|text| token = Some(text)),
            "timeout" => timeout(node, findings).map(|time| options.auth_timeout = time),
            _ if entry.used => Ok(()),
            _ => {
                findings.unknown(&entry.key, node, NOT_BUILT);
                Ok(())
            }
        };
        if let Err(text) = read {
            findings.error(node.position, &text);
        }
    }
    match (user, token) {
        (Some(_), Some(_)) => return Err("Cannot have a user/pass and token".to_owned()),
        (Some(user), None) => {
            options.auth = Some(Auth::User {
                user,
                password: password.unwrap_or_default(),
            });
        }
        (None, Some(token)) => options.auth = Some(Auth::Token(token)),
        (None, None) => {}
    }
    Ok(())
}

/// Seconds, whole or with decimals, or a duration.
pub(super) fn timeout(node: &Node, findings: &mut Findings<'_>) -> Read<Duration> {
    match node.value {
        Value::Int(seconds) => {
            let seconds = u64::try_from(seconds).map_err(|_| "timeout can not be negative")?;
            Ok(Duration::from_secs(seconds))
        }
        Value::Float(seconds) => Duration::try_from_secs_f64(seconds)
            .map_err(|error| format!("error parsing timeout: {error}")),
        _ => values::duration(node, "timeout", findings),
    }
}
