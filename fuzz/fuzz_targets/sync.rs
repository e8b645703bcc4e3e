//! What replicas say to each other about a stream's state: any bytes give a question, an answer or a
//! complaint, and what was accepted survives being written and read again.
#![no_main]

use jetwake_protocol::peer::sync::{Answer, Ask, Messages, State, is_ask};
use libfuzzer_sys::fuzz_target;

fn messages(mut from: Messages<'_>) {
    let mut again = Vec::new();
    let all = from.0;
    while let Ok(Some(message)) = from.take() {
        message.append(&mut again);
    }
    assert!(all.starts_with(&again));
}

fn state(bytes: &[u8]) {
    let Ok(state) = State::read(bytes) else {
        return;
    };
    let mut again = Vec::new();
    state.append(Messages(&[]), &mut again);
    let (head, _) = State::split(&again).unwrap();
    assert_eq!(State::read(head).as_ref(), Ok(&state));
}

fuzz_target!(|bytes: &[u8]| {
    if is_ask(bytes) {
        if let Ok((exchange, ask)) = Ask::read(bytes) {
            let mut again = Vec::new();
            ask.append(exchange, &mut again);
            assert!(bytes.starts_with(&again));
        }
        return;
    }
    match Answer::read(bytes) {
        Ok((_, Answer::Chunk(chunk))) => messages(chunk.messages),
        Ok((_, Answer::State { bytes, .. })) => {
            if let Ok((head, rest)) = State::split(bytes) {
                state(head);
                messages(rest);
            }
        }
        _ => {}
    }
    state(bytes);
    messages(Messages(bytes));
});
