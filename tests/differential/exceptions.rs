//! Differences that are meant: where the reference server has a defect that clients are better without.
//!
//! Each has a name and a reason. A program that shows one ends there, because the states differ from
//! then on.

use std::collections::BTreeMap;

use crate::pair::Difference;
use crate::program::{Op, Program};

/// A difference that is meant.
#[derive(Debug)]
pub(crate) struct Exception {
    pub(crate) name: &'static str,
    pub(crate) reason: &'static str,
    applies: fn(&Program, &Difference) -> bool,
}

const ALL: &[Exception] = &[
    Exception {
        name: "directory-still-there",
        reason: "the reference removes a stream's files after the answer, and a new stream of that \
            name may fail meanwhile",
        applies: |_, difference| theirs(difference, "error creating store for stream"),
    },
    Exception {
        name: "consumers-in-parallel",
        reason: "consumers deliver independently of each other: only the order within one is kept",
        applies: |_, difference| {
            let (ours, theirs) = (
                by_consumer(&difference.ours),
                by_consumer(&difference.theirs),
            );
            ours == theirs && ours.keys().filter(|name| !name.is_empty()).count() > 1
        },
    },
    Exception {
        name: "memory-tail",
        reason: "the reference moves a filtered consumer's delivered stream sequence over a tail that \
            does not match, but only for streams in memory",
        applies: |program, difference| {
            has(program, "\"storage\":\"memory\"") && only_differ_in(difference, "\"stream_seq\":")
        },
    },
    Exception {
        name: "filter-change-wakes",
        reason: "after an update of the filters the reference goes on waiting for messages that match \
            the old ones; we deliver at once",
        applies: |program, difference| {
            let creates = |op: &Op| format!("{op:?}").contains("CONSUMER.CREATE.S0.");
            program.ops.iter().filter(|op| creates(op)).count() > 1
                && (only_differ_in(difference, "\"num_pending\":")
                    || has(program, "\"retention\":\"interest\"")
                        && ours(difference, "stream_info_response")
                    || difference.ours.len() > difference.theirs.len()
                        && ours(difference, "[$JS.ACK."))
        },
    },
    Exception {
        name: "filter-change-pending",
        reason: "what a consumer's new filters exclude stays pending in the reference when it leaves the \
            stream; for us it is settled",
        applies: |program, difference| {
            let creates = |op: &Op| format!("{op:?}").contains("CONSUMER.CREATE.S0.");
            program.ops.iter().filter(|op| creates(op)).count() > 1
                && theirs(difference, "consumer_list_response")
                && differ_in(difference, "\"num_ack_pending\":0")
        },
    },
    Exception {
        name: "room-by-a-limit",
        reason: "when a limit removes a pending message and so makes room for the next, the reference \
            delivers that before it counts the message that was stored",
        applies: |program, difference| {
            has(program, "\"max_msgs")
                && has(program, "\"max_ack_pending\"")
                && ours(difference, "[$JS.ACK.")
                && only_differ_in(difference, "<time>.")
        },
    },
    Exception {
        name: "partial-purge-floor",
        reason: "a purge of some subjects raises the consumer sequence of the reference's ack floor over \
            messages that are still pending",
        applies: |program, difference| {
            has(program, "STREAM.PURGE")
                && has(program, "\"filter\":")
                && only_differ_in(difference, "\"ack_floor\":{\"consumer_seq\":")
        },
    },
    Exception {
        name: "removal-acks-all",
        reason: "with ack policy all, a limit or a deletion that removes a pending message acks all before \
            it in the reference, also those that nobody acknowledged",
        applies: |program, difference| {
            has(program, "\"ack_policy\":\"all\"") && theirs(difference, "consumer_list_response")
        },
    },
    Exception {
        name: "given-up-at-once",
        reason: "a message over max_deliver is given up at its deadline or NAK and the ack floor passes \
            it; the reference waits for the next pull, and keeps the floor",
        applies: |program, difference| {
            has(program, "\"max_deliver\":") && theirs(difference, "consumer_list_response")
        },
    },
    Exception {
        name: "limits-to-interest",
        reason: "consumers that were there before a stream's retention became interest or workqueue do \
            not release messages in the reference until its next repair",
        applies: |program, difference| {
            let update = |op: &Op| {
                let text = format!("{op:?}");
                text.contains("STREAM.UPDATE") && text.contains("\"retention\":\"interest\"")
            };
            program.ops.iter().any(update) && ours(difference, "stream_info_response")
        },
    },
    Exception {
        name: "deliver-group-update",
        reason: "the reference follows the interest of a push consumer's first deliver_group until it \
            restarts",
        applies: |program, difference| {
            has(program, "\"deliver_group\"")
                && (differ_in(difference, "\"push_bound\"") || theirs(difference, "[$JS.ACK."))
        },
    },
    Exception {
        name: "up-to-beyond-the-end",
        reason: "for a file the reference finds nothing when up_to_seq lies beyond the last sequence; \
            for memory it finds what we find",
        applies: |_, difference| theirs(difference, "404 No Results"),
    },
    Exception {
        name: "not-supported-yet",
        reason: "mirrors, sources, counters, schedules and snapshots are not built yet and say so",
        applies: |_, difference| ours(difference, "not supported yet"),
    },
];

/// The exception that explains a difference.
pub(crate) fn explain(program: &Program, difference: &Difference) -> Option<&'static Exception> {
    ALL.iter().find(|e| (e.applies)(program, difference))
}

fn has(program: &Program, text: &str) -> bool {
    program
        .ops
        .iter()
        .any(|op| format!("{op:?}").contains(text))
}

/// Deliveries by the consumer in their ack subject, the rest under no name.
fn by_consumer(lines: &[String]) -> BTreeMap<String, Vec<&String>> {
    let mut found: BTreeMap<String, Vec<&String>> = BTreeMap::new();
    for line in lines {
        let name = line.split("[$JS.ACK.").nth(1);
        let name = name.and_then(|rest| rest.split('.').nth(1));
        let name = name.unwrap_or_default().to_owned();
        found.entry(name).or_default().push(line);
    }
    found
}

/// Whether both said the same but for the numbers after `field`.
fn only_differ_in(difference: &Difference, field: &str) -> bool {
    let without = |lines: &[String]| -> Vec<String> {
        let blank = |line: &String| {
            let mut parts = line.split(field);
            let first = parts.next().unwrap_or_default().to_owned();
            let rest = parts.map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()));
            rest.fold(first, |text, part| text + field + part)
        };
        lines.iter().map(blank).collect()
    };
    without(&difference.ours) == without(&difference.theirs)
}

/// Whether one of them said something, and the other did not.
fn differ_in(difference: &Difference, text: &str) -> bool {
    let count = |lines: &[String]| lines.concat().matches(text).count();
    count(&difference.ours) != count(&difference.theirs)
}

fn ours(difference: &Difference, text: &str) -> bool {
    difference.ours.iter().any(|line| line.contains(text))
}

fn theirs(difference: &Difference, text: &str) -> bool {
    difference.theirs.iter().any(|line| line.contains(text))
}
