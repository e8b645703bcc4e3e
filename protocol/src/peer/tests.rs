use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::frame::{self, HEADER, MAX_BODY, MAX_GREETING};
use super::interest::{Entry, Interest};
use super::message::{Message, Messages};
use super::*;

fn hello() -> Hello {
    Hello {
        revision: Hello::REVISION,
        features: 5,
        link: Link::Bulk,
        node: NodeId(0x0123_4567_89ab_cdef),
        server_id: "NA".into(),
        server_name: "n1".into(),
        cluster: "C1".into(),
        dynamic: true,
        version: "2.15.1".into(),
        jetstream: true,
        domain: "hub".into(),
        leaving: false,
        tags: vec!["az:1".into(), String::new()],
        client_urls: vec!["127.0.0.1:4222".into()],
        cluster_url: "127.0.0.1:6222".into(),
        user: "u".into(),
        password: "p".into(),
    }
}

fn framed(kind: Kind, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(frame::append(&mut out, kind, body));
    out
}

#[test]
fn a_frame_has_these_bytes() {
    let bytes = framed(Kind::PING, b"123456789");
    let expected = [
        0xA7, 1, 4, 0, // mark, version, kind, reserved
        9, 0, 0, 0, // length
        0x83, 0x92, 0x06, 0xE3, // checksum of the body
    ];
    assert_eq!(bytes[..12], expected);
    assert_eq!(bytes[12..16], crc32c::crc32c(&expected).to_le_bytes());
    assert_eq!(&bytes[HEADER..], b"123456789");
}

#[test]
fn hello_comes_back_as_it_was() {
    let mut out = Vec::new();
    hello().append(&mut out);
    let found = frame::next(&out, MAX_GREETING).unwrap().unwrap();
    assert_eq!(found.kind, Kind::HELLO);
    assert_eq!(found.body.end, out.len());
    assert_eq!(Hello::read(&out[found.body]).unwrap(), hello());
}

#[test]
fn what_a_later_version_appends_to_a_body_is_skipped() {
    let mut out = Vec::new();
    hello().append(&mut out);
    let mut body = out[HEADER..].to_vec();
    body.extend_from_slice(b"more");
    assert_eq!(Hello::read(&body).unwrap(), hello());
}

#[test]
fn every_shorter_hello_is_refused() {
    let mut out = Vec::new();
    hello().append(&mut out);
    let body = &out[HEADER..];
    for end in 0..body.len() {
        assert_eq!(Hello::read(&body[..end]), Err(BodyError::Short), "{end}");
    }
}

#[test]
fn gossip_comes_back_as_it_was() {
    let address = |node, url: &str| Address {
        node: NodeId(node),
        url: url.into(),
    };
    let peers = Gossip(vec![address(1, "a:1"), address(u64::MAX, "[::1]:2")]);
    let mut out = Vec::new();
    peers.append(&mut out);
    assert_eq!(Gossip::read(&out[HEADER..]).unwrap(), peers);
    let update = Update {
        leaving: true,
        client_urls: vec!["a:1".into(), "b:2".into()],
    };
    out.clear();
    update.append(&mut out);
    assert_eq!(Update::read(&out[HEADER..]).unwrap(), update);
    out.clear();
    Pulse(7).append(&mut out, Kind::PONG);
    assert_eq!(Pulse::read(&out[HEADER..]).unwrap(), Pulse(7));
}

#[test]
fn text_of_another_protocol_is_no_frame() {
    for text in ["CONNECT {}\r\n", "INFO {}\r\n", "GET / HTTP/1.1\r\n"] {
        let read = frame::next(text.as_bytes(), MAX_BODY);
        assert_eq!(read, Err(FrameError::NotAFrame));
    }
}

#[test]
fn another_version_is_named() {
    let mut bytes = framed(Kind::HELLO, b"");
    bytes[1] = 2;
    let checksum = crc32c::crc32c(&bytes[..12]).to_le_bytes();
    bytes[12..16].copy_from_slice(&checksum);
    let error = frame::next(&bytes, MAX_BODY).unwrap_err();
    assert_eq!(error.to_string(), "version 2 is not spoken here, 1 is");
}

#[test]
fn a_length_is_believed_only_when_the_header_is_whole() {
    let bytes = framed(Kind::BULK, b"body");
    for at in 1..HEADER * 8 {
        let mut damaged = bytes.clone();
        damaged[at / 8] ^= 1 << (at % 8);
        let expected = if at < 8 {
            FrameError::NotAFrame
        } else {
            FrameError::DamagedHeader
        };
        assert_eq!(frame::next(&damaged, MAX_BODY), Err(expected), "bit {at}");
    }
    let mut damaged = bytes;
    damaged[HEADER] ^= 1;
    let read = frame::next(&damaged, MAX_BODY);
    assert_eq!(read, Err(FrameError::DamagedBody));
}

#[test]
fn a_body_beyond_the_limit_is_refused_by_its_header() {
    let bytes = framed(Kind::HELLO, &[0; 100]);
    let read = frame::next(&bytes[..HEADER], 99);
    assert_eq!(read, Err(FrameError::TooLarge(100)));
}

#[test]
fn only_bulk_kinds_travel_on_the_bulk_link() {
    assert_eq!(Kind::BULK.link(), Link::Bulk);
    for kind in [Kind::PING, Kind::INTEREST, Kind::MESSAGE, Kind::JETSTREAM] {
        assert_eq!(kind.link(), Link::Main);
    }
}

proptest! {
    #[test]
    fn frames_come_back_one_by_one_however_they_arrive(
        frames in vec((any::<u8>(), vec(any::<u8>(), 0..200)), 0..10),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = Vec::new();
        for (kind, body) in &frames {
            prop_assert!(frame::append(&mut bytes, Kind(*kind), body));
        }
        let mut read = Vec::new();
        let mut at = 0;
        for end in [cut.index(bytes.len() + 1), bytes.len()] {
            while let Some(found) = frame::next(&bytes[at..end], MAX_BODY).unwrap() {
                let body = bytes[at..][found.body.clone()].to_vec();
                at += found.body.end;
                read.push((found.kind.0, body));
            }
        }
        prop_assert_eq!(read, frames);
        prop_assert_eq!(at, bytes.len());
    }

    #[test]
    fn no_bytes_upset_a_reader(bytes in vec(any::<u8>(), 0..300)) {
        let _ = frame::next(&bytes, MAX_BODY);
        let _ = Hello::read(&bytes);
        let _ = Gossip::read(&bytes);
        let _ = Update::read(&bytes);
        let _ = Pulse::read(&bytes);
        if let Ok(interest) = Interest::read(&bytes) {
            interest.entries().for_each(drop);
        }
        if let Ok(messages) = Messages::read(&bytes) {
            for (_, queues) in messages.messages().flatten() {
                queues.iter().for_each(drop);
            }
        }
    }

    #[test]
    fn interest_comes_back(
        account in bytes(),
        entries in vec((bytes(), option::of(bytes()), any::<i32>()), 0..10),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut body = Vec::new();
        Interest::begin(&mut body, &account);
        let entry = |(filter, queue, delta)| Entry { filter, queue, delta };
        let entries: Vec<_> = entries
            .iter()
            .map(|(filter, queue, delta)| entry((&filter[..], queue.as_deref(), *delta)))
            .collect();
        let mut ends = vec![body.len()];
        for entry in &entries {
            Interest::append(&mut body, entry);
            ends.push(body.len());
        }
        let interest = Interest::read(&body).unwrap();
        prop_assert_eq!(interest.account, &account[..]);
        prop_assert_eq!(interest.entries().collect::<Result<Vec<_>, _>>(), Ok(entries));
        let cut = cut.index(body.len() + 1);
        let whole = Interest::read(&body[..cut])
            .and_then(|interest| interest.entries().collect::<Result<Vec<_>, _>>());
        prop_assert_eq!(whole.is_ok(), ends.contains(&cut));
    }

    #[test]
    fn messages_come_back(
        account in bytes(),
        messages in vec((any::<bool>(), [bytes(), bytes(), bytes(), bytes(), bytes()], vec(bytes(), 0..4)), 0..10),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut body = Vec::new();
        Messages::begin(&mut body, &account);
        let mut expected = Vec::new();
        let mut ends = vec![body.len()];
        for (same, [route, subject, reply, headers, payload], queues) in &messages {
            let route = if *same { subject } else { route };
            let message = Message { route, subject, reply, headers, payload };
            Messages::append(&mut body, &message, queues.iter().map(|queue| &queue[..]));
            ends.push(body.len());
            expected.push((message, queues.clone()));
        }
        let read = Messages::read(&body).unwrap();
        prop_assert_eq!(read.account, &account[..]);
        let found: Vec<_> = read
            .messages()
            .map(|read| read.map(|(m, queues)| (m, queues.iter().map(<[u8]>::to_vec).collect())))
            .collect::<Result<_, _>>()
            .unwrap();
        prop_assert_eq!(found, expected);
        let cut = cut.index(body.len() + 1);
        let whole = Messages::read(&body[..cut])
            .and_then(|read| read.messages().map(|read| read.map(drop)).collect::<Result<Vec<_>, _>>());
        prop_assert_eq!(whole.is_ok(), ends.contains(&cut));
    }
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..20)
}
