//! The wire parser: no input makes it panic, and cutting the input changes nothing.
//!
//! The first byte says where the input is cut; the second holds flags.
#![no_main]

use jetwake_protocol::wire::{ClientOp, ClientParser, ConnectOptions, Limits, ParseError};
use libfuzzer_sys::fuzz_target;

fn run(parts: &[&[u8]], headers: bool) -> (Vec<String>, Option<ParseError>) {
    let mut parser = ClientParser::new(Limits {
        max_control_line: 128,
        max_payload: 256,
    });
    parser.set_headers_allowed(headers);
    let (mut buffer, mut ops) = (Vec::new(), Vec::new());
    for part in parts {
        buffer.extend_from_slice(part);
        let mut consumed = 0;
        loop {
            match parser.next(&buffer[consumed..]) {
                Ok(None) => break,
                Ok(Some(parsed)) => {
                    if let ClientOp::Connect(json) = parsed.op {
                        let _ = ConnectOptions::default().merge(json);
                    }
                    ops.push(format!("{:?}", parsed.op));
                    assert!(parsed.consumed > 0);
                    consumed += parsed.consumed;
                }
                Err(error) => return (ops, Some(error)),
            }
        }
        assert!(parser.needed() > buffer.len() - consumed);
        buffer.drain(..consumed);
    }
    (ops, None)
}

fuzz_target!(|data: &[u8]| {
    let [cut, flags, input @ ..] = data else {
        return;
    };
    let (head, tail) = input.split_at(usize::from(*cut).min(input.len()));
    let headers = flags & 1 == 0;
    assert_eq!(run(&[input], headers), run(&[head, tail], headers));
});
