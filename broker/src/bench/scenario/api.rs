//! The few calls of the JetStream API that scenarios need.
//!
//! Requests are JSON text and answers are JSON trees: the benchmark drives any NATS server, so it must
//! not lean on how this one models the API.

use std::io;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::client::Client;

/// How long background work of the server may take until it shows.
pub(super) const SETTLE: Duration = Duration::from_secs(10);

/// Calls `$JS.API.<name>`; an answer with an error is an error.
pub(super) fn call(client: &mut Client, name: &str, body: &Value) -> io::Result<Value> {
    let text = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let answer = client.request(&format!("$JS.API.{name}"), text.as_bytes())?;
    let answer: Value = serde_json::from_slice(&answer).map_err(io::Error::other)?;
    match answer.get("error") {
        Some(error) => Err(io::Error::other(format!("{name}: {error}"))),
        None => Ok(answer),
    }
}

/// Waits until JetStream answers, which is after a server's INFO.
pub(super) fn wait(client: &mut Client) -> io::Result<()> {
    let begin = Instant::now();
    loop {
        match call(client, "INFO", &Value::Null) {
            Ok(_) => return Ok(()),
            Err(error) if begin.elapsed() > SETTLE => return Err(error),
            Err(_) => {}
        }
    }
}

/// Creates a stream.
pub(super) fn create_stream(client: &mut Client, config: &Value) -> io::Result<()> {
    wait(client)?;
    let name = text(config, "name");
    call(client, &format!("STREAM.CREATE.{name}"), config).map(drop)
}

/// Creates a consumer; without a name, an ephemeral one whose name the server gives.
pub(super) fn create_consumer(
    client: &mut Client,
    stream: &str,
    config: &Value,
) -> io::Result<String> {
    let body = json!({ "stream_name": stream, "config": config });
    let subject = match config["durable_name"].as_str() {
        Some(name) => format!("CONSUMER.DURABLE.CREATE.{stream}.{name}"),
        None => format!("CONSUMER.CREATE.{stream}"),
    };
    let answer = call(client, &subject, &body)?;
    Ok(text(&answer, "name").to_owned())
}

/// How many messages a stream holds, and its last sequence.
pub(super) fn stream_state(client: &mut Client, stream: &str) -> io::Result<(u64, u64)> {
    let answer = call(client, &format!("STREAM.INFO.{stream}"), &Value::Null)?;
    let state = &answer["state"];
    match (state["messages"].as_u64(), state["last_seq"].as_u64()) {
        (Some(messages), Some(last)) => Ok((messages, last)),
        _ => Err(io::Error::other(format!(
            "unexpected stream info: {answer}"
        ))),
    }
}

/// Waits until a consumer knows every message up to `last` as acknowledged: acks are processed
/// behind the messages.
pub(super) fn expect_acknowledged(
    client: &mut Client,
    stream: &str,
    consumer: &str,
    last: u64,
) -> io::Result<()> {
    let begin = Instant::now();
    loop {
        let info = call(
            client,
            &format!("CONSUMER.INFO.{stream}.{consumer}"),
            &Value::Null,
        )?;
        let floor = info["ack_floor"]["stream_seq"].as_u64();
        if floor == Some(last) && info["num_ack_pending"].as_u64() == Some(0) {
            return Ok(());
        }
        if begin.elapsed() > SETTLE {
            return Err(io::Error::other(format!(
                "acks up to sequence {last} of {stream} were sent, the consumer's floor is \
                 {floor:?} with {} pending",
                info["num_ack_pending"]
            )));
        }
    }
}

fn text<'a>(json: &'a Value, field: &str) -> &'a str {
    json[field].as_str().unwrap_or_default()
}
