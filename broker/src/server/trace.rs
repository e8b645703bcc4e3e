//! The protocol trace (`-V`): every operation of every connection as a `[TRC]` line, in
//! nats-server's format. Called only when the log takes such lines.

use std::fmt::Write;

use jetwake_protocol::wire::{ClientOp, Publish, WireError};

use super::connection::Connection;
use super::deliver::Message;
use super::shared::Shared;
use super::subscription::Subscription;

/// Fields of CONNECT that a log must not show.
const SECRETS: [&str; 4] = ["pass", "auth_token", "sig", "proxy_sig"];

pub(super) fn received(shared: &Shared, connection: &Connection, op: &ClientOp<'_>) {
    let label = connection.label();
    let line = match op {
        ClientOp::Connect(json) => format!("CONNECT {}", redacted(json)),
        ClientOp::Ping => "PING".to_owned(),
        ClientOp::Pong => "PONG".to_owned(),
        ClientOp::Ok => "+OK".to_owned(),
        ClientOp::Info(json) => format!("INFO {}", text(json)),
        ClientOp::Err(error) => format!("-ERR {}", text(error)),
        ClientOp::Publish(message) => published(message),
        ClientOp::Subscribe {
            subject,
            queue,
            sid,
        } => {
            let parts = [Some(*subject), *queue, Some(*sid)];
            format!("SUB {}", words(&parts))
        }
        ClientOp::Unsubscribe { sid, max: None } => format!("UNSUB {}", text(sid)),
        ClientOp::Unsubscribe {
            sid,
            max: Some(max),
        } => format!("UNSUB {} {max}", text(sid)),
    };
    shared.logger.trace(format_args!("{label} - <<- [{line}]"));
    if let ClientOp::Publish(message) = op {
        let payload = payload(message.body, shared.logger.max_traced_msg_len());
        shared
            .logger
            .trace(format_args!("{label} - <<- MSG_PAYLOAD: [{payload}]"));
    }
}

pub(super) fn delivered(shared: &Shared, sub: &Subscription, message: &Message<'_>) {
    let headers = !message.headers.is_empty();
    let name = if headers { "HMSG" } else { "MSG" };
    let reply = Some(message.reply).filter(|reply| !reply.is_empty());
    let header_digits = headers.then_some(message.header_digits);
    let parts = [
        Some(message.subject),
        Some(&sub.sid),
        reply,
        header_digits,
        Some(message.size_digits),
    ];
    let label = sub.connection.label();
    shared
        .logger
        .trace(format_args!("{label} - ->> [{name} {}]", words(&parts)));
    let max = shared.logger.max_traced_msg_len();
    let body = payload(&[message.headers, message.payload].concat(), max);
    shared
        .logger
        .trace(format_args!("{label} - ->> MSG_PAYLOAD: [{body}]"));
}

pub(super) fn sent(shared: &Shared, connection: &Connection, line: &[u8]) {
    let label = connection.label();
    let line = text(line.trim_ascii_end());
    let shown = line.strip_prefix('+').unwrap_or(&line);
    shared.logger.trace(format_args!("{label} - ->> [{shown}]"));
}

pub(super) fn sent_err(shared: &Shared, connection: &Connection, error: WireError<'_>) {
    let mut line = b"-ERR ".to_vec();
    error.write_text(&mut line);
    sent(shared, connection, &line);
}

pub(super) fn ended(shared: &Shared, sub: &Subscription) {
    let label = sub.connection.label();
    shared
        .logger
        .trace(format_args!("{label} - <-> [DELSUB {}]", text(&sub.sid)));
}

fn published(message: &Publish<'_>) -> String {
    let headers = !message.header_digits.is_empty();
    let header_digits = headers.then_some(message.header_digits);
    let parts = [
        Some(message.subject),
        message.reply,
        header_digits,
        Some(message.size_digits),
    ];
    format!("{} {}", if headers { "HPUB" } else { "PUB" }, words(&parts))
}

/// The bytes as a quoted string, cut where the operator wants it cut.
fn payload(bytes: &[u8], max: usize) -> String {
    let cut = if max > 0 && bytes.len() > max {
        &bytes[..max]
    } else {
        bytes
    };
    let more = if cut.len() < bytes.len() { "..." } else { "" };
    let mut quoted = String::new();
    // Writing into a string never fails.
    let _ = write!(quoted, "\"{}{more}\"", cut.escape_ascii());
    quoted
}

/// The text of CONNECT with its secrets crossed out, otherwise as the client wrote it.
fn redacted(json: &[u8]) -> String {
    let source = text(json);
    let mut shown = String::with_capacity(source.len());
    let mut rest = source.as_str();
    let mut secret = false;
    while let Some(start) = rest.find('"') {
        let (between, quoted) = rest.split_at(start);
        // A secret that is not a string is nobody's password.
        secret &= between.trim() == ":";
        let literal = string_literal(quoted);
        shown.push_str(between);
        shown.push_str(if secret { "\"[REDACTED]\"" } else { literal });
        let name = literal.trim_matches('"');
        secret = !secret && SECRETS.iter().any(|key| name.eq_ignore_ascii_case(key));
        rest = &quoted[literal.len()..];
    }
    shown + rest
}

/// The JSON string at the front of `text`, with its quotes.
fn string_literal(text: &str) -> &str {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return &text[..=at],
            _ => {}
        }
    }
    text
}

fn words(parts: &[Option<&[u8]>]) -> String {
    parts
        .iter()
        .flatten()
        .map(|part| text(part))
        .collect::<Vec<_>>()
        .join(" ")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_reach_the_log() {
        let shown = redacted(br#"{"user": "pass","Pass" : "ge\"heim","sig":"s","auth_token":"t"}"#);
        let expected = r#"{"user": "pass","Pass" : "[REDACTED]","sig":"[REDACTED]","auth_token":"[REDACTED]"}"#;
        assert_eq!(shown, expected);
        assert_eq!(
            redacted(br#"{"a":"pass","b":"c"}"#),
            r#"{"a":"pass","b":"c"}"#
        );
        assert_eq!(redacted(br#"{"pass":"cut"#), r#"{"pass":"[REDACTED]""#);
    }

    #[test]
    fn long_payloads_are_cut() {
        assert_eq!(payload(b"hi\r\n", 0), r#""hi\r\n""#);
        assert_eq!(payload(b"hello", 2), r#""he...""#);
    }
}
