//! The codec, and members against a trivial journal.

use bytes::Bytes;
use raft::eraftpb;

use super::codec::Body;
use super::{Change, Message};

mod sim;

#[test]
fn messages_survive_their_bytes_and_no_prefix_does() {
    let mut one = eraftpb::Message::default();
    one.set_msg_type(eraftpb::MessageType::MsgAppend);
    (one.term, one.index, one.commit) = (3, 4, 5);
    let mut entry = eraftpb::Entry::default();
    (entry.term, entry.index, entry.data) = (3, 5, Bytes::from_static(b"data"));
    one.set_entries(vec![entry].into());
    let mut state = eraftpb::Message::default();
    state.set_msg_type(eraftpb::MessageType::MsgSnapshot);
    state.term = 9;
    let meta = state.mut_snapshot().mut_metadata();
    (meta.index, meta.term) = (7, 8);
    meta.mut_conf_state().voters = vec![1, 2, 3];
    let asleep = Body::Asleep { term: 1, index: 2 };
    for body in [
        asleep,
        Body::Engine(Box::new(one)),
        Body::Engine(Box::new(state)),
    ] {
        let message = Message(body);
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let bytes = Bytes::from(bytes);
        assert_eq!(Message::decode(bytes.clone()), Ok(message));
        for len in 0..bytes.len() {
            assert!(Message::decode(bytes.slice(..len)).is_err(), "cut to {len}");
        }
    }
}

#[test]
fn changes_survive_their_bytes() {
    for node in [1, 127, 128, u64::MAX] {
        for change in [
            Change::Voter(node),
            Change::Learner(node),
            Change::Remove(node),
        ] {
            assert_eq!(Change::decode(&change.encode()), Ok(Some(change)));
        }
    }
    assert_eq!(Change::decode(&[]), Ok(None));
    assert!(Change::decode(&[0x10, 9, 0x18, 1]).is_err());
}

#[test]
fn damaged_bytes_are_refused_or_have_one_meaning() {
    let mut one = eraftpb::Message::default();
    one.set_msg_type(eraftpb::MessageType::MsgSnapshot);
    one.term = 9;
    one.mut_snapshot().mut_metadata().mut_conf_state().voters = vec![1, 2];
    let mut append = eraftpb::Message::default();
    append.set_msg_type(eraftpb::MessageType::MsgAppend);
    append.term = 9;
    let mut entry = eraftpb::Entry::default();
    (entry.term, entry.index, entry.data) = (3, 1, Bytes::from_static(b"data"));
    append.set_entries(vec![entry].into());
    for message in [one, append] {
        let mut bytes = Vec::new();
        Message(Body::Engine(Box::new(message))).encode(&mut bytes);
        for at in 0..bytes.len() {
            for flip in 1..=u8::MAX {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                if let Ok(read) = Message::decode(damaged.clone().into()) {
                    let mut again = Vec::new();
                    read.encode(&mut again);
                    assert_eq!(again, damaged, "byte {at}");
                }
            }
        }
    }
}
