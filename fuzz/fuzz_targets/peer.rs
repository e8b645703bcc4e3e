//! Frames between nodes: no input makes a reader panic or takes more memory than it is long, and what was read
//! is written back as the same.
#![no_main]

use jetwake_protocol::peer::frame::{self, HEADER, MAX_BODY};
use jetwake_protocol::peer::{Gossip, Hello, Kind, Pulse, Update};
use libfuzzer_sys::fuzz_target;

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes);
    bytes
}

/// The kind and the body of the one frame.
fn only(bytes: &[u8]) -> (Kind, &[u8]) {
    let found = frame::next(bytes, MAX_BODY).unwrap().unwrap();
    assert_eq!(found.body.end, bytes.len());
    (found.kind, &bytes[found.body])
}

fn bodies(body: &[u8]) {
    if let Ok(hello) = Hello::read(body) {
        let bytes = written(|out| hello.append(out));
        assert!(bytes.len() <= HEADER + body.len());
        let (kind, again) = only(&bytes);
        assert_eq!(kind, Kind::HELLO);
        assert!(Hello::read(again) == Ok(hello));
    }
    if let Ok(gossip) = Gossip::read(body) {
        let bytes = written(|out| gossip.append(out));
        assert_eq!(Gossip::read(only(&bytes).1), Ok(gossip));
    }
    if let Ok(update) = Update::read(body) {
        let bytes = written(|out| update.append(out));
        assert_eq!(Update::read(only(&bytes).1), Ok(update));
    }
    if let Ok(pulse) = Pulse::read(body) {
        let bytes = written(|out| pulse.append(out, Kind::PONG));
        assert_eq!(Pulse::read(only(&bytes).1), Ok(pulse));
    }
}

/// Reads frames as a link does, to the end or to the first that cannot be accepted.
fn stream(mut input: &[u8]) {
    while let Ok(Some(found)) = frame::next(input, MAX_BODY) {
        let (frame, rest) = input.split_at(found.body.end);
        let mut again = Vec::new();
        assert!(frame::append(&mut again, found.kind, &frame[found.body]));
        // The reserved byte is the only one that is not read.
        assert_eq!(again[4..12], frame[4..12]);
        input = rest;
    }
}

fuzz_target!(|data: &[u8]| {
    stream(data);
    bodies(data);
    // Behind a header that is right, so that bodies are reached.
    let mut framed = Vec::new();
    let kind = Kind(data.first().copied().unwrap_or_default());
    assert!(frame::append(&mut framed, kind, data));
    let (read, body) = only(&framed);
    assert!(read == kind && body == data);
    for end in 0..framed.len().min(64) {
        assert_eq!(frame::next(&framed[..end], MAX_BODY), Ok(None));
    }
    stream(&framed);
});
