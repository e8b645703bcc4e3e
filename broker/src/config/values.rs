//! Typed reading of values. A wrong type is an error in nats-server's words.

use std::time::Duration;

use jetwake_protocol::conf::{Node, Value};

use super::Findings;

/// A value, or the error to print behind its position.
pub(super) type Read<T> = Result<T, String>;

fn wrong_type(node: &Node, wanted: &str) -> String {
    format!(
        "interface conversion: interface {{}} is {}, not {wanted}",
        node.value.go_type()
    )
}

pub(super) fn text(node: &Node) -> Read<String> {
    match &node.value {
        Value::Text(text) => Ok(text.clone()),
        _ => Err(wrong_type(node, "string")),
    }
}

pub(super) fn boolean(node: &Node) -> Read<bool> {
    match node.value {
        Value::Bool(value) => Ok(value),
        _ => Err(wrong_type(node, "bool")),
    }
}

pub(super) fn int(node: &Node) -> Read<i64> {
    match node.value {
        Value::Int(value) => Ok(value),
        _ => Err(wrong_type(node, "int64")),
    }
}

/// A number that cannot be negative.
pub(super) fn size(node: &Node) -> Read<usize> {
    usize::try_from(int(node)?).map_err(|_| "value can not be negative".to_owned())
}

/// Bytes: a number with its unit, or a string that ends in K, M, G or T.
pub(super) fn storage(node: &Node, key: &str) -> Read<Option<u64>> {
    let bytes = match &node.value {
        Value::Int(value) => *value,
        Value::Text(text) => storage_text(text).ok_or_else(|| {
            let digits = text.get(..text.len().saturating_sub(1)).unwrap_or_default();
            format!("{key} strconv.ParseInt: parsing {digits:?}: invalid syntax")
        })?,
        _ => return Err(wrong_type(node, "string")),
    };
    Ok(u64::try_from(bytes).ok())
}

fn storage_text(text: &str) -> Option<i64> {
    let unit = text.chars().last()?;
    let shift = match unit.to_ascii_uppercase() {
        'K' => 10,
        'M' => 20,
        'G' => 30,
        'T' => 40,
        _ => return text.parse().ok(),
    };
    let number: i64 = text.get(..text.len() - 1)?.parse().ok()?;
    number.checked_mul(1 << shift)
}

/// A duration: a string like `"2s"`, or whole seconds with a warning.
pub(super) fn duration(node: &Node, key: &str, findings: &mut Findings<'_>) -> Read<Duration> {
    match &node.value {
        Value::Text(text) => match jetwake_protocol::time::parse_duration(text) {
            Some(nanos) => u64::try_from(nanos)
                .map(Duration::from_nanos)
                .map_err(|_| negative(key)),
            None => Err(format!(
                "error parsing {key}: time: invalid duration {text:?}"
            )),
        },
        Value::Int(seconds) => {
            let text =
                format!("invalid use of field \"{key}\": {key} should be converted to a duration");
            findings.warn(node.position, &text);
            u64::try_from(*seconds)
                .map(Duration::from_secs)
                .map_err(|_| negative(key))
        }
        _ => Err(wrong_type(node, "string")),
    }
}

fn negative(key: &str) -> String {
    format!("{key} can not be negative")
}

/// A string, or a list of strings.
pub(super) fn texts(node: &Node) -> Read<Vec<String>> {
    match &node.value {
        Value::Array(items) => items.iter().map(text).collect(),
        _ => text(node).map(|one| vec![one]),
    }
}

/// A port: -1 takes a free one, 0 in [`crate::options::Options`].
pub(super) fn port(number: i64, default: u16) -> Read<u16> {
    match number {
        -1 => Ok(0),
        0 => Ok(default),
        other => u16::try_from(other).map_err(|_| format!("invalid port {other}")),
    }
}

/// `host:port`, or a port alone.
pub(super) fn listen(node: &Node, default: u16) -> Read<(Option<String>, u16)> {
    let (host, number) = address(node)?;
    Ok((host, port(number, default)?))
}

/// `host:port`, or a port alone; the number as it is written.
pub(super) fn address(node: &Node) -> Read<(Option<String>, i64)> {
    match &node.value {
        Value::Int(number) => Ok((None, *number)),
        Value::Text(text) => {
            let (host, number) = text
                .rsplit_once(':')
                .ok_or_else(|| format!("could not parse address string {text:?}"))?;
            let number = number
                .parse()
                .map_err(|_| format!("could not parse port {number:?}"))?;
            let host = host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned();
            Ok((Some(host).filter(|h| !h.is_empty()), number))
        }
        _ => Err(format!(
            "expected port or host:port, got {}",
            node.value.go_type()
        )),
    }
}
