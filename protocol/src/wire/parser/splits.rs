//! The result of parsing does not depend on where the input was cut.

use proptest::prelude::*;

use super::*;

/// Everything that a stream parses to, with the bytes arriving in the given pieces.
fn parse_all(input: &[u8], cuts: &[usize]) -> (Vec<String>, Option<ParseError>) {
    let limits = Limits {
        max_control_line: 64,
        max_payload: 64,
    };
    let mut parser = ClientParser::new(limits);
    parser.set_headers_allowed(true);
    let (mut buffer, mut ops) = (Vec::new(), Vec::new());
    let mut from = 0;
    for &cut in cuts.iter().chain([&input.len()]) {
        buffer.extend_from_slice(&input[from..cut.max(from)]);
        from = cut.max(from);
        let mut consumed = 0;
        loop {
            match parser.next(&buffer[consumed..]) {
                Ok(Some(parsed)) => {
                    assert!(parsed.consumed > 0);
                    ops.push(format!("{:?}", parsed.op));
                    consumed += parsed.consumed;
                }
                Ok(None) => break,
                Err(error) => return (ops, Some(error)),
            }
        }
        assert!(parser.needed() > buffer.len() - consumed);
        buffer.drain(..consumed);
    }
    (ops, None)
}

fn operation() -> impl Strategy<Value = Vec<u8>> {
    let token = "[a-zA-Z0-9.*>$_-]{1,20}";
    let blank = "[ \t]{1,3}";
    let payload = proptest::collection::vec(any::<u8>(), 0..70);
    let end = prop_oneof![Just("\r\n"), Just("\n")];
    prop_oneof![
        Just(b"PING\r\n".to_vec()),
        Just(b"+OK\n".to_vec()),
        Just(b"CONNECT {\"verbose\":false}\r\n".to_vec()),
        ("(?i:sub)", blank, token, blank, token, end.clone()).prop_map(
            |(op, b1, subject, b2, sid, end)| {
                format!("{op}{b1}{subject}{b2}{sid}{end}").into_bytes()
            }
        ),
        (
            "(?i:unsub)",
            blank,
            "[0-9]{1,4}( [0-9x]{1,3})?",
            end.clone()
        )
            .prop_map(|(op, blank, rest, end)| format!("{op}{blank}{rest}{end}").into_bytes()),
        ("(?i:pub)", token, blank, payload.clone(), end.clone()).prop_map(
            |(op, subject, blank, payload, end)| {
                let line = format!("{op}{blank}{subject}{blank}{}{end}", payload.len());
                [line.as_bytes(), &payload, b"\r\n"].concat()
            }
        ),
        ("(?i:hpub)", token, token, payload, end).prop_map(|(op, subject, reply, payload, end)| {
            let line = format!(
                "{op} {subject} {reply} {} {}{end}",
                payload.len() / 2,
                payload.len()
            );
            [line.as_bytes(), &payload, b"\r\n"].concat()
        }),
        "[ -~]{0,12}\r\n".prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn random_cuts_change_nothing(
        ops in proptest::collection::vec(operation(), 1..8),
        mut cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
    ) {
        let input = ops.concat();
        let mut cuts: Vec<_> = cuts.drain(..).map(|cut| cut.index(input.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(parse_all(&input, &[]), parse_all(&input, &cuts));
    }

    #[test]
    fn byte_by_byte_changes_nothing(ops in proptest::collection::vec(operation(), 1..4)) {
        let input = ops.concat();
        let cuts: Vec<_> = (0..=input.len()).collect();
        prop_assert_eq!(parse_all(&input, &[]), parse_all(&input, &cuts));
    }

    #[test]
    fn any_bytes_are_survived(input in proptest::collection::vec(any::<u8>(), 0..80)) {
        let cuts: Vec<_> = (0..=input.len()).collect();
        prop_assert_eq!(parse_all(&input, &[]), parse_all(&input, &cuts));
    }

    #[test]
    fn what_a_client_writes_is_what_it_meant(
        subject in "[a-z.]{1,20}",
        reply in proptest::option::of("[a-z.]{1,20}"),
        headers in proptest::collection::vec(any::<u8>(), 0..9),
        payload in proptest::collection::vec(any::<u8>(), 0..9),
    ) {
        let reply_arg = reply.as_ref().map_or(String::new(), |reply| format!("{reply} "));
        let (header_len, total) = (headers.len(), headers.len() + payload.len());
        let line = format!("HPUB {subject} {reply_arg}{header_len} {total}\r\n");
        let input = [line.as_bytes(), &headers, &payload, b"\r\n"].concat();
        let mut parser = ClientParser::new(Limits::default());
        parser.set_headers_allowed(true);
        let Ok(Some(Parsed { op: ClientOp::Publish(message), consumed })) = parser.next(&input)
        else {
            panic!("not parsed");
        };
        prop_assert_eq!(consumed, input.len());
        prop_assert_eq!(message.subject, subject.as_bytes());
        prop_assert_eq!(message.reply, reply.as_ref().map(String::as_bytes));
        prop_assert_eq!((message.headers, message.payload), (&headers[..], &payload[..]));
    }
}
