use super::syntax::{Parser, SyntaxError};
use super::*;

/// Reads every value of a text; `Err` is the complaint with its offset.
fn read(text: &str) -> Result<(), String> {
    let mut parser = Parser::new(text.as_bytes());
    while !parser.at_end() {
        parser.value().map_err(|error| match error {
            SyntaxError::Truncated => "truncated".to_owned(),
            SyntaxError::Invalid { text, offset } => format!("{text} at offset {offset}"),
        })?;
    }
    Ok(())
}

#[test]
fn complaints_are_those_of_go() {
    for (text, complaint) in [
        (r#"{"name""#, "truncated"),
        ("{", "truncated"),
        (r#"{"name":"S"}{"#, "truncated"),
        (
            r#"{"name":"S"}x"#,
            "invalid character 'x' looking for beginning of value at offset 13",
        ),
        (
            r#"{"name":"S",}"#,
            "invalid character '}' looking for beginning of object key string at offset 13",
        ),
        (
            "{'a'}",
            r"invalid character '\'' looking for beginning of object key string at offset 2",
        ),
        (
            r#"{"name":S}"#,
            "invalid character 'S' looking for beginning of value at offset 9",
        ),
        (
            r#"{"a":é}"#,
            "invalid character 'é' looking for beginning of value at offset 7",
        ),
        (
            r#"{"name":"S" "a":1}"#,
            "invalid character '\"' after object key:value pair at offset 13",
        ),
        (
            r#"{"name" 1}"#,
            "invalid character '1' after object key at offset 9",
        ),
        (
            r#"{"a":tru}"#,
            "invalid character '}' in literal true (expecting 'e') at offset 9",
        ),
        (
            "{\"name\":\"\u{1}\"}",
            r"invalid character '\x01' in string at offset 10",
        ),
        (
            "{\"a\":\"x\ty\"}",
            r"invalid character '\t' in string at offset 8",
        ),
        (
            r#"{"name":"\x"}"#,
            r"invalid escape sequence `\x` in string at offset 11",
        ),
        (
            r#"{"name":"\u12"}"#,
            r#"invalid escape sequence `\u12"}` in string at offset 15"#,
        ),
        (
            r#"{"name":"\u12G4"}"#,
            r"invalid escape sequence `\u12G4` in string at offset 15",
        ),
        (
            r#"{"name":01}"#,
            "invalid character '1' after object key:value pair at offset 10",
        ),
        (
            r#"{"name":-}"#,
            "invalid character '}' in numeric literal at offset 10",
        ),
        (
            r#"{"name":1.}"#,
            "invalid character '}' in numeric literal at offset 11",
        ),
        (
            "[1}",
            "invalid character '}' after array element at offset 3",
        ),
    ] {
        assert_eq!(read(text), Err(complaint.to_owned()), "{text}");
    }
}

#[test]
fn good_texts_are_read() {
    for text in [
        "",
        "  ",
        "{} {}",
        "[1,-0,2.5e+3,true,false,null]",
        r#"{"a":{"b":[]}}"#,
    ] {
        assert_eq!(read(text), Ok(()), "{text}");
    }
}

#[test]
fn depth_is_bounded() {
    assert!(
        read(&"[".repeat(100_000))
            .unwrap_err()
            .starts_with("exceeded max depth")
    );
}

#[test]
fn escapes_are_resolved_and_bad_text_replaced() {
    let read = |text: &[u8]| {
        let kind = Parser::new(text).value().unwrap().kind;
        match kind {
            Kind::String(text) => text.into_owned(),
            _ => panic!("not a string"),
        }
    };
    assert_eq!(read(br#""a\n\u00e9\ud83d\ude00\/""#), "a\né😀/");
    assert_eq!(read(br#""\ud83dx\udc00""#), "\u{fffd}x\u{fffd}");
    assert_eq!(read(b"\"\xff\""), "\u{fffd}");
    assert_eq!(read(br#""\ud83d\u0041""#), "\u{fffd}A");
}

#[test]
fn responses_are_escaped_for_html() {
    let mut out = Vec::new();
    to_json("<a>&\u{2028}\"\n\u{1}é", &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#""\u003ca\u003e\u0026\u2028\"\n\u0001é""#
    );
}
