use super::*;

fn parser() -> ClientParser {
    let mut parser = ClientParser::new(Limits::default());
    parser.set_headers_allowed(true);
    parser
}

fn one(input: &[u8]) -> Result<Option<ClientOp<'_>>, ParseError> {
    let parsed = parser().next(input)?;
    Ok(parsed.map(|parsed| {
        assert_eq!(parsed.consumed, input.len());
        parsed.op
    }))
}

#[test]
fn publish_in_both_forms() {
    let Ok(Some(ClientOp::Publish(message))) = one(b"pub\ta.b \t 0002  \r\nhi\r\n") else {
        panic!("no publish");
    };
    assert_eq!((message.subject, message.reply), (&b"a.b"[..], None));
    assert_eq!((message.headers, message.payload), (&b""[..], &b"hi"[..]));
    assert_eq!(
        (message.header_digits, message.size_digits),
        (&b""[..], &b"0002"[..])
    );

    let Ok(Some(ClientOp::Publish(message))) = one(b"HPUB a r 12 14\r\nNATS/1.0\r\n\r\nhi\r\n")
    else {
        panic!("no publish");
    };
    assert_eq!(
        (message.subject, message.reply),
        (&b"a"[..], Some(&b"r"[..]))
    );
    assert_eq!(
        (message.headers, message.payload),
        (&b"NATS/1.0\r\n\r\n"[..], &b"hi"[..])
    );
    assert_eq!(
        (message.header_digits, message.size_digits),
        (&b"12"[..], &b"14"[..])
    );
}

#[test]
fn lines_may_end_with_a_bare_line_feed_but_payloads_may_not() {
    assert_eq!(one(b"PING\n"), Ok(Some(ClientOp::Ping)));
    let expected = ClientOp::Subscribe {
        subject: b"a",
        queue: None,
        sid: b"1",
    };
    assert_eq!(one(b"SUB a 1\n"), Ok(Some(expected)));
    assert!(matches!(
        one(b"PUB a 2\nhi\r\n"),
        Ok(Some(ClientOp::Publish(_)))
    ));
    assert_eq!(one(b"PUB a 2\r\nhi\n"), Err(ParseError::UnknownOperation));
    assert_eq!(one(b"PUB a 2\r\nhix"), Err(ParseError::UnknownOperation));
}

#[test]
fn operations_without_arguments_ignore_what_follows() {
    assert_eq!(one(b"PINGxyz 1\r\n"), Ok(Some(ClientOp::Ping)));
    assert_eq!(one(b"PoNg\r\n"), Ok(Some(ClientOp::Pong)));
    assert_eq!(one(b"+OK\r\n"), Ok(Some(ClientOp::Ok)));
    assert_eq!(one(b"INFO {}\r\n"), Ok(Some(ClientOp::Info(b"{}"))));
    assert_eq!(one(b"INFO{}\r\n"), Ok(Some(ClientOp::Info(b"{}"))));
    assert_eq!(one(b"CONNECT{}\r\n"), Ok(Some(ClientOp::Connect(b"{}"))));
    assert_eq!(one(b"-ERR hello\r\n"), Ok(Some(ClientOp::Err(b"hello"))));
    assert_eq!(one(b"CONNECT {}\r\n"), Ok(Some(ClientOp::Connect(b"{}"))));
    assert_eq!(one(b"CONNECT\r\n"), Ok(Some(ClientOp::Connect(b""))));
}

#[test]
fn argument_errors_close_silently() {
    for input in [
        &b"SUB a b c d\r\n"[..],
        b"SUB a\r\n",
        b"SUB \r\n",
        b"PUB a 2 \r\r\n",
        b"PUB a\r2\r\n",
        b"UNSUB 1 2 3\r\n",
        b"PUB a\r\n",
        b"PUB a -1\r\n",
        b"PUB a 3 4 5\r\n",
        b"PUB a 1234567890\r\n",
        b"HPUB a 14 12\r\n",
        b"HPUB a 12\r\n",
    ] {
        assert_eq!(
            one(input),
            Err(ParseError::ProtocolViolation),
            "{}",
            input.escape_ascii()
        );
    }
    let mut parser = ClientParser::new(Limits::default());
    assert_eq!(
        parser.next(b"HPUB a 12 14\r\n"),
        Err(ParseError::HeadersNotSupported)
    );
}

#[test]
fn unknown_operations_are_refused_at_the_first_wrong_byte() {
    for input in [
        &b"FOO\r\n"[..],
        b"\r\n",
        b"\n",
        b"SUB\r\n",
        b"UNSUB\r\n",
        b"PUBx",
        b"G",
        b"PX",
        b"\x16\x03\x01",
        b"SU\n",
        b"-ERR\r\n",
    ] {
        assert_eq!(
            one(input),
            Err(ParseError::UnknownOperation),
            "{}",
            input.escape_ascii()
        );
    }
    for input in [&b""[..], b"p", b"Hp", b"unsu", b"UNSUB", b"-e", b"+"] {
        assert_eq!(one(input), Ok(None), "{}", input.escape_ascii());
    }
}

#[test]
fn control_line_limit_counts_the_arguments() {
    let line = |len: usize| format!("SUB {} 1\r\n", "a".repeat(len - 2));
    assert!(matches!(one(line(4096).as_bytes()), Ok(Some(_))));
    assert_eq!(one(line(4097).as_bytes()), Err(ParseError::MaxControlLine));
    let padded = format!("SUB {}a 1\r\n", " ".repeat(5000));
    assert!(matches!(parser().next(padded.as_bytes()), Ok(Some(_))));
    let ping = format!("PING{}", "x".repeat(5000));
    assert_eq!(one(ping.as_bytes()), Ok(None));
    let ping = format!("PING{}", "x".repeat(100_000));
    assert_eq!(one(ping.as_bytes()), Err(ParseError::MaxControlLine));
    let endless = format!("SUB {}", "a".repeat(4097));
    assert_eq!(one(endless.as_bytes()), Err(ParseError::MaxControlLine));
}

#[test]
fn payload_limit_is_checked_before_the_payload() {
    assert_eq!(one(b"PUB a 1048577\r\n"), Err(ParseError::MaxPayload));
    assert_eq!(one(b"PUB a 1048576\r\n"), Ok(None));
    let mut parser = parser();
    parser.set_limits(Limits {
        max_payload: 4,
        ..Limits::default()
    });
    assert_eq!(parser.next(b"HPUB a 2 5\r\n"), Err(ParseError::MaxPayload));
}

#[test]
fn unsubscribe_maximum() {
    let unsub = |max| Ok(Some(ClientOp::Unsubscribe { sid: b"1", max }));
    assert_eq!(one(b"UNSUB 1\r\n"), unsub(None));
    assert_eq!(one(b"UNSUB 1 5\r\n"), unsub(Some(5)));
    assert_eq!(one(b"UNSUB 1 0\r\n"), unsub(None));
    assert_eq!(one(b"UNSUB 1 -3\r\n"), unsub(None));
    assert_eq!(one(b"UNSUB 1 x\r\n"), unsub(None));
}

#[test]
fn needed_is_exact_while_a_payload_is_awaited() {
    let mut parser = parser();
    let input = b"PUB a 5\r\nhello\r\n";
    assert_eq!(parser.next(&input[..4]), Ok(None));
    assert_eq!(parser.needed(), 5);
    assert_eq!(parser.next(&input[..11]), Ok(None));
    assert_eq!(parser.needed(), input.len());
    assert!(matches!(parser.next(input), Ok(Some(_))));
}
