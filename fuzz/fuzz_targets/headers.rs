//! Header blocks and the other small texts that clients send: no input makes a reader panic.
#![no_main]

use jetwake_protocol::ack::{AckKind, AckSubject, parse_flow_control};
use jetwake_protocol::header::{self, Headers, Status};
use jetwake_protocol::subject::{self, Transform, transform::Strictness};
use jetwake_protocol::time::{format_duration, format_time, parse_duration, parse_time};
use libfuzzer_sys::fuzz_target;

fn headers(block: &[u8]) {
    let mut out = Vec::new();
    for (name, value) in header::iter(block) {
        if let Some(first) = header::get(block, name) {
            assert!(first.len() <= block.len() && value.len() <= block.len());
        }
        out.clear();
        header::remove(&mut out, block, name);
        assert!(header::iter(&out).all(|(kept, _)| kept != name));
    }
    if let Some(status) = Status::parse(block) {
        out.clear();
        status.write(&mut out);
        assert_eq!(Status::parse(&out), Some(status));
    }
    out.clear();
    Headers::copied(&mut out, block).add(b"K", b"v").end();
    let _ = header::status::strip(block);
}

fn subjects(input: &[u8]) {
    let (left, right) = input.split_at(input.len() / 2);
    assert_eq!(subject::overlap(left, right), subject::overlap(right, left));
    if subject::is_literal(left) && subject::is_valid(left) && subject::is_valid(right) {
        assert_eq!(
            subject::matches(right, left),
            subject::is_subset_of(left, right)
        );
    }
    if let (Ok(source), Ok(destination)) = (std::str::from_utf8(left), std::str::from_utf8(right))
        && let Ok(transform) = Transform::new(source, destination, Strictness::Lenient)
    {
        transform.apply(left, 7, &mut Vec::new());
    }
    let _ = (
        AckSubject::parse(input),
        parse_flow_control(input),
        AckKind::parse(input),
    );
}

fn times(text: &str) {
    if let Some(nanos) = parse_time(text) {
        assert_eq!(parse_time(&format_time(nanos)), Some(nanos));
    }
    if let Some(nanos) = parse_duration(text) {
        assert_eq!(parse_duration(&format_duration(nanos)), Some(nanos));
    }
}

fuzz_target!(|data: &[u8]| {
    headers(data);
    subjects(data);
    if let Ok(text) = std::str::from_utf8(data) {
        times(text);
    }
});
