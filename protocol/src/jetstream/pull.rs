//! The body of a pull request (`CONSUMER.MSG.NEXT`).

use super::is_zero;
use super::json::{JsonError, Rules, from_json, object};
use serde::Serialize;

/// What a pull request asks for. Durations are nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PullRequest {
    /// How long it lives, 0 until it is served.
    #[serde(skip_serializing_if = "is_zero")]
    pub expires: i64,
    /// Number of messages. Less than 1 gives one, but is what the status at the end counts down from.
    #[serde(skip_serializing_if = "is_zero")]
    pub batch: i64,
    /// Most bytes, 0 for no limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_bytes: i64,
    /// Whether only what is there is wanted.
    #[serde(skip_serializing_if = "is_zero")]
    pub no_wait: bool,
    /// How often silence is filled.
    #[serde(rename = "idle_heartbeat", skip_serializing_if = "is_zero")]
    pub heartbeat: i64,
    /// The priority group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Served only if at least as many messages are undelivered.
    #[serde(skip_serializing_if = "is_zero")]
    pub min_pending: i64,
    /// Served only if at least as many deliveries wait for an ack.
    #[serde(skip_serializing_if = "is_zero")]
    pub min_ack_pending: i64,
    /// The pin of the client.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// 0 is served first, 9 last.
    #[serde(skip_serializing_if = "is_zero")]
    pub priority: i64,
}

object!(PullRequest {
    "expires" => expires: "time.Duration",
    "batch" => batch: "int",
    "max_bytes" => max_bytes: "int",
    "no_wait" => no_wait: "bool",
    "idle_heartbeat" => heartbeat: "time.Duration",
    "group" => group: "string",
    "min_pending" => min_pending: "int",
    "min_ack_pending" => min_ack_pending: "int",
    "id" => id: "string",
    "priority" => priority: "int",
});

/// Why a pull request is answered with `400 Bad Request - <this>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullError {
    /// The body is not understood.
    Json(JsonError),
    /// The heartbeat does not fit twice into the lifetime.
    HeartbeatTooLarge,
}

impl std::fmt::Display for PullError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PullError::Json(error) => error.fmt(formatter),
            PullError::HeartbeatTooLarge => formatter.write_str("heartbeat value too large"),
        }
    }
}

impl std::error::Error for PullError {}

impl PullRequest {
    /// Reads the body: JSON, a bare number, or anything else, which asks for one message.
    ///
    /// JSON without a batch asks for zero, which gives one message as well.
    pub fn parse(body: &[u8]) -> Result<Self, PullError> {
        let body = body.trim_ascii();
        let request = match body.first() {
            Some(b'{') => from_json(body, "", Rules::Single).map_err(PullError::Json)?,
            _ => PullRequest {
                batch: decimal(body).unwrap_or(1),
                ..PullRequest::default()
            },
        };
        let two_beats = request.heartbeat.saturating_mul(2);
        if request.heartbeat > 0 && two_beats > request.expires {
            return Err(PullError::HeartbeatTooLarge);
        }
        Ok(request)
    }
}

fn decimal(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<PullRequest, String> {
        PullRequest::parse(body.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn anything_but_json_asks_for_a_number() {
        for (body, batch) in [
            ("", 1),
            ("5", 5),
            (" 7 ", 7),
            ("x", 1),
            ("0", 0),
            ("-3", -3),
        ] {
            assert_eq!(parse(body).unwrap().batch, batch, "{body}");
        }
        assert_eq!(parse("{}").unwrap(), PullRequest::default());
        assert_eq!(parse(r#"{"batch":-1}"#).unwrap().batch, -1);
        assert_eq!(
            parse(r#"{"batch":3,"bogus":{},"NO_WAIT":true}"#)
                .unwrap()
                .batch,
            3
        );
    }

    #[test]
    fn complaints() {
        let complaint = |body| parse(body).unwrap_err();
        assert_eq!(
            complaint("{bad"),
            "invalid character 'b' looking for beginning of object key string"
        );
        assert_eq!(
            complaint(r#"{"batch":"x"}"#),
            "json: cannot unmarshal string into Go struct field .batch of type int"
        );
        assert_eq!(
            complaint(r#"{"idle_heartbeat":1}"#),
            "heartbeat value too large"
        );
        assert!(parse(r#"{"idle_heartbeat":1,"expires":2}"#).is_ok());
    }
}
