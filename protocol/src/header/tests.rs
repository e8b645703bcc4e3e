use proptest::prelude::*;

use super::status::strip;
use super::*;

const BLOCK: &[u8] = b"NATS/1.0\r\nA: 1\r\nNats-Msg-Id:   x y \r\nA: 2\r\nAA:3\r\n\r\n";

#[test]
fn get_takes_the_first_and_keeps_blanks_at_the_end() {
    assert_eq!(get(BLOCK, b"A"), Some(&b"1"[..]));
    assert_eq!(get(BLOCK, b"Nats-Msg-Id"), Some(&b"x y "[..]));
    assert_eq!(get(BLOCK, b"AA"), Some(&b"3"[..]));
    assert_eq!(get(BLOCK, b"nats-msg-id"), None);
    assert_eq!(get(BLOCK, b"Id"), None);
    assert_eq!(get(b"NATS/1.0\r\nA: 1", b"A"), None);
    assert_eq!(get(b"", b"A"), None);
}

#[test]
fn iteration_trims() {
    let all: Vec<_> = iter(BLOCK).collect();
    let expected: [(&[u8], &[u8]); 4] = [
        (b"A", b"1"),
        (b"Nats-Msg-Id", b"x y"),
        (b"A", b"2"),
        (b"AA", b"3"),
    ];
    assert_eq!(all, expected);
    assert_eq!(iter(b"XXXX").count(), 0);
}

#[test]
fn building_and_extending() {
    let mut block = Vec::new();
    Headers::start(&mut block)
        .add(b"K", b"v")
        .add_number(b"N", 7)
        .end();
    assert_eq!(block, b"NATS/1.0\r\nK: v\r\nN: 7\r\n\r\n");
    let mut longer = Vec::new();
    Headers::copied(&mut longer, &block).add(b"L", b"w").end();
    assert_eq!(longer, b"NATS/1.0\r\nK: v\r\nN: 7\r\nL: w\r\n\r\n");
    let mut fresh = Vec::new();
    Headers::copied(&mut fresh, b"").add(b"L", b"w").end();
    assert_eq!(fresh, b"NATS/1.0\r\nL: w\r\n\r\n");
}

#[test]
fn removing() {
    let mut out = Vec::new();
    remove(&mut out, BLOCK, b"A");
    assert_eq!(out, b"NATS/1.0\r\nNats-Msg-Id:   x y \r\nAA:3\r\n\r\n");
    out.clear();
    remove_prefixed(&mut out, BLOCK, b"Nats-");
    assert_eq!(out, b"NATS/1.0\r\nA: 1\r\nA: 2\r\nAA:3\r\n\r\n");
    out.clear();
    remove_prefixed(&mut out, b"NATS/1.0\r\nA: 1\r\n\r\n", b"A");
    assert_eq!(out, b"");
}

#[test]
fn statuses() {
    let status = Status {
        code: 404,
        description: b"No Messages",
    };
    let mut block = Vec::new();
    status.write(&mut block);
    assert_eq!(block, b"NATS/1.0 404 No Messages\r\n\r\n");
    assert_eq!(Status::parse(&block), Some(status));
    assert_eq!(strip(&block), (VERSION, &b"\r\n\r\n"[..]));
    assert_eq!(Status::parse(EMPTY), None);
    assert_eq!(Status::parse(b"NATS/1.0 4x4\r\n\r\n"), None);
    assert_eq!(Status::parse(b"NATS/1.0 053\r\n\r\n"), None);
    let mut block = Vec::new();
    no_responders(&mut block, b"nobody");
    assert_eq!(block, b"NATS/1.0 503\r\nNats-Subject: nobody\r\n\r\n");
    assert_eq!(block.len(), 38);
}

proptest! {
    #[test]
    fn what_is_added_is_found(
        pairs in proptest::collection::vec(("[A-Za-z-]{1,8}", "[!-~]{0,9}"), 0..6)
    ) {
        let mut block = Vec::new();
        let mut headers = Headers::start(&mut block);
        for (name, value) in &pairs {
            headers.add(name.as_bytes(), value.as_bytes());
        }
        headers.end();
        let read: Vec<_> = iter(&block).collect();
        prop_assert_eq!(read.len(), pairs.len());
        for ((name, value), read) in pairs.iter().zip(read) {
            prop_assert_eq!((name.as_bytes(), value.as_bytes()), read);
            let first = pairs.iter().find(|(other, _)| other == name).map(|pair| pair.1.as_bytes());
            prop_assert_eq!(get(&block, name.as_bytes()), first);
        }
    }

    #[test]
    fn any_bytes_are_survived(block in proptest::collection::vec(any::<u8>(), 0..60)) {
        let mut out = Vec::new();
        let _ = (get(&block, b"A"), iter(&block).count(), Status::parse(&block), strip(&block));
        remove_prefixed(&mut out, &block, b"A");
    }
}
