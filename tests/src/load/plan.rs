//! The streams of a site.

use std::time::Duration;

/// Which messages a stream keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// All.
    All,
    /// The newest so many.
    Newest(u64),
    /// The newest so many of each subject; a message with a rollup header removes all before it.
    NewestOfSubject(usize),
    /// Those younger than this.
    Younger(Duration),
    /// All without a time to live; the others for that long.
    TimeToLive,
    /// Those that no worker acknowledged.
    UntilAcked,
}

/// A stream and who works on it.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The stream's name; its subjects are `<name>.>`.
    pub name: &'static str,
    /// Its configuration besides name, subjects and storage.
    pub(super) config: &'static str,
    pub(super) keep: Keep,
    pub(super) writers: usize,
    /// Messages in flight of a writer.
    pub(super) window: usize,
    /// Number of keys of a writer; 0 for plain subjects.
    pub(super) keys: u64,
    /// Whether messages have ids, and are repeated after a crash.
    pub(super) ids: bool,
    /// What a worker filters, when there is one.
    pub(super) worker: Option<&'static str>,
    /// Whether somebody deletes and purges.
    pub(super) remover: bool,
}

const PLAIN: Plan = Plan {
    name: "LOG",
    config: "\"duplicate_window\":600000000000",
    keep: Keep::All,
    writers: 1,
    window: 64,
    keys: 0,
    ids: true,
    worker: None,
    remover: false,
};

/// Every kind of stream there is.
#[must_use]
pub fn all_plans() -> Vec<Plan> {
    vec![
        Plan {
            writers: 2,
            window: 256,
            worker: Some("LOG.*.sample"),
            ..PLAIN
        },
        Plan {
            name: "RING",
            config: "\"max_msgs\":3000,\"duplicate_window\":600000000000",
            keep: Keep::Newest(3000),
            window: 128,
            ..PLAIN
        },
        Plan {
            name: "QUEUE",
            config: "\"retention\":\"workqueue\",\"duplicate_window\":600000000000",
            keep: Keep::UntilAcked,
            worker: Some("QUEUE.>"),
            ..PLAIN
        },
        Plan {
            name: "KV1",
            config: "\"max_msgs_per_subject\":1,\"allow_rollup_hdrs\":true",
            keep: Keep::NewestOfSubject(1),
            writers: 2,
            keys: 300,
            ids: false,
            ..PLAIN
        },
        Plan {
            name: "KV3",
            config: "\"max_msgs_per_subject\":3,\"allow_rollup_hdrs\":true",
            keep: Keep::NewestOfSubject(3),
            keys: 50,
            ids: false,
            ..PLAIN
        },
        Plan {
            name: "AGE",
            config: "\"max_age\":3000000000,\"duplicate_window\":1000000000",
            keep: Keep::Younger(Duration::from_secs(3)),
            ids: false,
            ..PLAIN
        },
        Plan {
            name: "TTL",
            config: "\"allow_msg_ttl\":true",
            keep: Keep::TimeToLive,
            ids: false,
            ..PLAIN
        },
        Plan {
            name: "SHRED",
            remover: true,
            ..PLAIN
        },
    ]
}

impl Plan {
    /// Whether an acknowledged message leaves the stream.
    pub(super) fn removes_acked(&self) -> bool {
        self.keep == Keep::UntilAcked
    }

    /// The body of the request that creates the stream.
    pub(super) fn stream_config(&self) -> String {
        let Plan { name, config, .. } = self;
        format!(
            "{{\"name\":\"{name}\",\"subjects\":[\"{name}.>\"],\"storage\":\"file\",\
             \"allow_direct\":true,{config}}}"
        )
    }

    /// Where message `n` of a writer goes.
    pub(super) fn subject(&self, writer: usize, n: u64) -> String {
        let name = self.name;
        if self.keys > 0 {
            let key = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            return format!("{name}.{writer}.{}", key % self.keys);
        }
        let kind = if n.is_multiple_of(16) {
            "sample"
        } else {
            "bulk"
        };
        format!("{name}.{writer}.{kind}")
    }

    /// Whether message `n` of a writer removes all before it on its subject.
    pub(super) fn rolls_up(&self, n: u64) -> bool {
        matches!(self.keep, Keep::NewestOfSubject(_)) && n % 37 == 36
    }

    /// How long message `n` of a writer lives; `None` for ever.
    pub(super) fn time_to_live(&self, n: u64) -> Option<Duration> {
        let lives = self.keep == Keep::TimeToLive && !n.is_multiple_of(4);
        lives.then(|| Duration::from_secs(1 + n % 3))
    }

    /// The headers of message `n` of a writer.
    pub(super) fn headers(&self, writer: usize, n: u64) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        if self.ids {
            headers.push(("Nats-Msg-Id", format!("w{writer}-{n}")));
        }
        if let Some(ttl) = self.time_to_live(n) {
            headers.push(("Nats-TTL", format!("{}s", ttl.as_secs())));
        }
        if self.rolls_up(n) {
            headers.push(("Nats-Rollup", "sub".to_owned()));
        } else if self.keys > 0 && n % 17 == 16 {
            headers.push(("KV-Operation", "DEL".to_owned()));
        }
        headers
    }
}
