//! The recorded state by itself.

use super::*;

fn state(acks: Acks) -> State {
    let rules = Rules {
        acks,
        ack_wait: 100,
        backoff: Vec::new(),
        max_deliver: 0,
    };
    State::new(rules, 1, None)
}

#[test]
fn a_snapshot_holds_everything() {
    let mut state = state(Acks::Explicit);
    state.apply(&Op::Deliver { seq: 1, len: 5 }, 10);
    state.apply(&Op::Deliver { seq: 90, len: 1 }, 12);
    state.apply(&Op::Ack { seq: 2, len: 1 }, 0);
    state.apply(&Op::Requeue { seq: 4 }, 0);
    state.apply(&Op::Delay { seq: 3, due: 5000 }, 0);
    state.apply(&Op::GiveUp { seq: 5 }, 0);
    let mut bytes = Vec::new();
    state.save(&mut bytes);
    let mut loaded = State::load(&bytes).unwrap();
    let mut again = Vec::new();
    loaded.save(&mut again);
    assert_eq!(bytes, again);
    assert_eq!(loaded.next_queued(), Some(4));
    assert_eq!(loaded.next_due(), Some(110));
    assert!(State::load(&bytes[..bytes.len() - 1]).is_err());
}

#[test]
fn an_acked_message_in_the_queue_is_passed_over() {
    let mut state = state(Acks::Explicit);
    state.apply(&Op::Deliver { seq: 1, len: 3 }, 10);
    state.apply(&Op::Expire, 110);
    assert_eq!(state.pending.queued(), 3);
    state.apply(&Op::Ack { seq: 1, len: 1 }, 0);
    assert_eq!((state.next_queued(), state.pending.queued()), (Some(2), 2));
    state.apply(&Op::Redeliver { seq: 2, len: 1 }, 120);
    assert_eq!(state.next_queued(), Some(3));
    assert_eq!(state.next_due(), Some(220));
}
