//! Subscriptions, publishes and odd lines on three connections.

use crate::program::{Op, Program};
use crate::random::Random;

const SUBJECTS: &[&str] = &[
    "a", "a.b", "a.b.c", "a.c", "b", "b.a", "b.b.b", "A.b", "foo.bar", "$x.y", "_INBOX.q",
];
const FILTERS: &[&str] = &[
    "a", "a.b", "a.*", "*", "*.b", ">", "a.>", "*.*", "*.>", "b.*.b", "a.b.c", "$x.>", "foo.*",
    "a*", "a.>b", "b.a",
];
const ODD_SUBJECTS: &[&str] = &[
    "a..b", ".a", "a.", "a.*", ">", "a.>.b", "a b", "", "a*b", "a.**", "..", "a>", "\u{e9}.b",
];
const SIDS: &[&str] = &["1", "2", "3", "4", "x", "99999999999999999999"];
const ODD_LINES: &[&str] = &[
    "PING",
    "PONG",
    "ping",
    "+OK",
    "-ERR 'x'",
    "PUB",
    "PUB a",
    "PUB a x",
    "PUB a -1",
    "SUB",
    "SUB a",
    "SUB a b c d",
    "UNSUB",
    "UNSUB 77",
    "UNSUB 1 x",
    "UNSUB 1 -1",
    "HPUB a 5",
    "HPUB a 12 5",
    "HPUB a 0 0",
    "MSG a 1 1",
    "JUNK",
    "CONNECT {}",
    "CONNECT {\"verbose\":true}",
    "CONNECT",
    "CONNECT {bad",
    "INFO {}",
    "",
    " ",
    "PINGX",
    "PUB a 99999999999",
    "PUB a b c 1",
    "S",
    "U",
    "PUB a 2097152",
    "SUB  a  1",
    "SUB\ta\t1",
    "unsub 1",
    "UNSUB 1 0",
    "UNSUB",
    "PING x",
    "CONNECT {\"verbose\":false,\"headers\":false}",
    "HPUB a b 12 14 x",
    "CONNECT {\"verbose\":1}",
    "CONNECT {\"echo\":false}",
];
const HEADERS: &[&str] = &[
    "NATS/1.0\r\n\r\n",
    "NATS/1.0\r\nA: b\r\n\r\n",
    "NATS/1.0 503\r\n\r\n",
    "NATS/1.0 100 Idle\r\nX:y\r\n\r\n",
    "NATS/1.0\r\nA: b\r\na: c\r\nA: b\r\n\r\n",
    "JUNK\r\n\r\n",
    "NATS/1.0\r\nno colon\r\n\r\n",
    "NATS/2.0\r\nA: b\r\n\r\n",
    "\r\n",
    "",
];

pub(super) fn program(random: &mut Random) -> Program {
    let flag = |random: &mut Random| random.pick(&["true", "false"]);
    let connect = format!(
        "CONNECT {{\"verbose\":{},\"pedantic\":{},\"echo\":{},\"headers\":{},\
         \"no_responders\":{},\"protocol\":{}}}\r\n",
        if random.once_in(4) { "true" } else { "false" },
        flag(random),
        flag(random),
        if random.once_in(4) { "false" } else { "true" },
        flag(random),
        random.below(3),
    );
    let mut ops = Vec::new();
    for _ in 0..10 + random.below(40) {
        let connection = 1 + random.below(2);
        let line = operation(random);
        ops.push(Op::raw(connection, line));
    }
    Program {
        ops,
        connect,
        checks: Vec::new(),
    }
}

fn operation(random: &mut Random) -> Vec<u8> {
    match random.below(16) {
        0..=3 => subscribe(random),
        4 | 5 => unsubscribe(random),
        6..=10 => publish(random),
        11..=13 => publish_with_headers(random),
        14 => {
            // Several commands in one write.
            let mut bytes = subscribe(random);
            bytes.extend(publish(random));
            bytes.extend(unsubscribe(random));
            bytes.extend(publish(random));
            bytes
        }
        _ => format!("{}\r\n", random.pick(ODD_LINES)).into_bytes(),
    }
}

fn subscribe(random: &mut Random) -> Vec<u8> {
    let subject = if random.once_in(12) {
        random.pick(ODD_SUBJECTS)
    } else {
        random.pick(FILTERS)
    };
    // Numbers of queue subscriptions differ from others, because UNSUB with a maximum would make the
    // result depend on which member a server chose.
    if random.once_in(4) {
        let queue = random.pick(&["q", "r", "q.x"]);
        return format!("SUB {subject} {queue} {queue}{}\r\n", random.below(3)).into_bytes();
    }
    format!("SUB {subject} {}\r\n", random.pick(SIDS)).into_bytes()
}

fn unsubscribe(random: &mut Random) -> Vec<u8> {
    if random.once_in(4) {
        let queue = random.pick(&["q", "r", "q.x"]);
        return format!("UNSUB {queue}{}\r\n", random.below(3)).into_bytes();
    }
    let sid = random.pick(SIDS);
    match random.below(3) {
        0 => format!("UNSUB {sid}\r\n"),
        _ => format!("UNSUB {sid} {}\r\n", random.below(4)),
    }
    .into_bytes()
}

fn subject_and_reply(random: &mut Random) -> String {
    let subject = if random.once_in(15) {
        random.pick(ODD_SUBJECTS)
    } else {
        random.pick(SUBJECTS)
    };
    match random.below(4) {
        0 => format!("{subject} {}", random.pick(SUBJECTS)),
        1 if random.once_in(4) => format!("{subject} {}", random.pick(ODD_SUBJECTS)),
        _ => subject.to_owned(),
    }
}

fn publish(random: &mut Random) -> Vec<u8> {
    let payload = random.pick(&["", "x", "hello", "PING\r\n", "\r\n"]);
    let verb = random.pick(&["PUB", "PUB", "PUB", "pub", "Pub"]);
    let target = subject_and_reply(random);
    format!("{verb} {target} {}\r\n{payload}\r\n", payload.len()).into_bytes()
}

fn publish_with_headers(random: &mut Random) -> Vec<u8> {
    let headers = random.pick(HEADERS);
    let payload = random.pick(&["", "x", "hello"]);
    let total = headers.len() + payload.len();
    let target = subject_and_reply(random);
    format!(
        "HPUB {target} {} {total}\r\n{headers}{payload}\r\n",
        headers.len()
    )
    .into_bytes()
}
