use proptest::prelude::*;

use super::*;

/// A source of a few files and variables.
struct Fixture;

impl Source for Fixture {
    fn variable(&self, name: &str) -> Option<String> {
        let text = match name {
            "PORT" => "8080",
            "BLANKS" => "a b",
            "CYCLE" => "$CYCLE",
            "CHAIN" => "$PORT",
            "EMPTY" => "",
            "LIST" => "[ a, b ]",
            _ => return None,
        };
        Some(text.to_owned())
    }

    fn include(&self, from: &str, path: &str) -> Result<Included, String> {
        let text = match path {
            "users.conf" => "user: a\npass: b\n",
            "nested.conf" => "inner { include users.conf }",
            "loop.conf" => "include loop.conf",
            "fork.conf" => "include leaf.conf\ninclude leaf.conf\n",
            "leaf.conf" => "",
            "bad.conf" => "a: {\n",
            "scope.conf" => "x: $OUTER",
            _ => return Err(format!("open {path}: no such file or directory")),
        };
        assert!(from.ends_with(".conf"));
        Ok(Included {
            name: path.to_owned(),
            text: text.to_owned(),
        })
    }
}

fn read(text: &str) -> Document {
    parse("t.conf", text, &Fixture).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn refused(text: &str) -> String {
    parse("t.conf", text, &Fixture).unwrap_err().0
}

/// The value of the key `x`.
fn x(text: &str) -> Value {
    read(text)
        .root
        .get("x")
        .unwrap_or_else(|| panic!("no x in {text:?}"))
        .value
        .clone()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn scalars() {
    for (source, value) in [
        ("x: 4222", Value::Int(4222)),
        ("x = -5", Value::Int(-5)),
        ("x 1.5", Value::Float(1.5)),
        ("x: -1.5", Value::Float(-1.5)),
        ("x: TRUE", Value::Bool(true)),
        ("x: off", Value::Bool(false)),
        (
            "x: 2016-05-04T18:53:41Z",
            Value::Date(1_462_388_021_000_000_000),
        ),
        ("x: abc", text("abc")),
        ("x: 'a\\n'", text("a\\n")),
        ("x: \"a\\n\\x41\\\"\\\\\\t\\r\"", text("a\nA\"\\\t\r")),
        ("x: \"two\nlines\"", text("two\nlines")),
        ("x: a\\x2cb", text("a,b")),
        ("x: \\x74rue", text("true")),
        ("x: (\n one\n two\n)\n", text("\n one\n two\n")),
        ("x: (\n a)\n)", text("\n a)\n")),
        ("x: 2s", text("2s")),
        ("x: 100ms", text("100ms")),
        ("x: 5k5", text("5k5")),
        ("x: 1e5", text("1e5")),
        ("x: 1]", text("1]")),
        ("x: 127.0.0.1:4222", text("127.0.0.1:4222")),
        ("x: nats://u:p@h:1", text("nats://u:p@h:1")),
        ("x: a#b", text("a#b")),
        ("x:", text("")),
        ("x\n\n5", Value::Int(5)),
        ("'x' 5", Value::Int(5)),
        ("\"x\":5", Value::Int(5)),
        ("x: 1; y: 2", Value::Int(1)),
        ("x: 1 # c", Value::Int(1)),
        ("// c\nx: 1 // c", Value::Int(1)),
        ("x: 1\nx: 2", Value::Int(2)),
    ] {
        assert_eq!(x(source), value, "{source:?}");
    }
}

#[test]
fn units() {
    for (source, value) in [
        ("1k", 1000),
        ("1K", 1000),
        ("2m", 2_000_000),
        ("1g", 1_000_000_000),
        ("1t", 1_000_000_000_000),
        ("1p", 1_000_000_000_000_000),
        ("1e", 1_000_000_000_000_000_000),
        ("1kb", 1024),
        ("1Ki", 1024),
        ("1KiB", 1024),
        ("1mb", 1 << 20),
        ("-3gib", -3 << 30),
        ("1tb", 1 << 40),
        ("1pi", 1 << 50),
        ("1eb", 1 << 60),
    ] {
        assert_eq!(x(&format!("x: {source}")), Value::Int(value), "{source}");
    }
}

#[test]
fn arrays_and_maps() {
    let Value::Array(items) = x("x [ a, 1 # c\n true\n { y: 2 }, [z] ]") else {
        panic!("no array");
    };
    assert_eq!(items.len(), 5);
    for source in ["x: [-1k]", "x: [ -1000, ]", "x: [\n-1000\n]"] {
        let Value::Array(items) = x(source) else {
            panic!("no array")
        };
        assert_eq!(items[0].value, Value::Int(-1000), "{source:?}");
    }
    let Value::Map(map) = x("x { a: 1, b 2; c\n3\n d = {}\n 'e':\n 5 }") else {
        panic!("no map");
    };
    let keys: Vec<_> = map.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["a", "b", "c", "d", "e"]);
    assert_eq!(map.get("c").map(|node| &node.value), Some(&Value::Int(3)));
}

#[test]
fn the_whole_text_may_stand_in_braces() {
    let json = "{\n\"x\": 1,\n\"y\": {\"z\": [1, 2]}\n}\n";
    assert_eq!(read(json).root.len(), 2);
    assert_eq!(read("{ x: 1 }\ny: 2").root.len(), 2);
    assert_eq!(read("{ { x: 1 }, y: 2 }").root.len(), 2);
    assert_eq!(read("x: 1\n}\n").root.len(), 1);
    for empty in ["", "{}", "{ }}", "}", "# c", "// c\n", "{ {"] {
        assert!(read(empty).root.is_empty(), "{empty:?}");
    }
}

/// Observed with the real server.
#[test]
fn error_texts() {
    let map_end = "Expected a map value terminator \",\" or a map terminator \"}\", but got";
    let array_end =
        "Expected an array value terminator \",\" or an array terminator \"]\", but got";
    let level_end = "value to end with a new line, comment or EOF, but got";
    for (source, line, reason) in [
        (
            "port:\n4222",
            2,
            "Expected value but found new line".to_owned(),
        ),
        (
            "port 4222 debug true",
            1,
            format!("Expected a top-level {level_end} 'd' instead."),
        ),
        (
            "{ a: 1",
            1,
            format!("Expected a block-level {level_end} '\0' instead."),
        ),
        (
            "{ {} x",
            1,
            "Expected a block-level to end with a '}', but got 'x' instead.".to_owned(),
        ),
        (": 5", 1, "Unexpected key separator ':'".to_owned()),
        ("a { : 5 }", 1, "Unexpected key separator ':'.".to_owned()),
        (
            "a { b: , }",
            1,
            "Unexpected map value terminator \",\".".to_owned(),
        ),
        ("a { b: 1", 1, format!("{map_end} '\0' instead.")),
        ("a { x: 1 y: 2 }", 1, format!("{map_end} 'y' instead.")),
        ("a { b: 1\n", 2, "Unexpected EOF processing map.".to_owned()),
        ("a { x", 1, "Unexpected EOF processing map key.".to_owned()),
        (
            "a { 'x",
            1,
            "Unexpected EOF processing quoted map key.".to_owned(),
        ),
        (
            "a { \"x",
            1,
            "Unexpected EOF processing double quoted map key.".to_owned(),
        ),
        (
            "a { ] }",
            1,
            "Unexpected array end ']' processing map.".to_owned(),
        ),
        (
            "a: [1,,2]",
            1,
            "Unexpected array value terminator ','.".to_owned(),
        ),
        ("a: [", 1, format!("{array_end} '\0' instead.")),
        ("a [ x y ]", 1, format!("{array_end} 'y' instead.")),
        ("a: .5", 1, "Floats must start with a digit".to_owned()),
        (
            "a: -.5",
            1,
            "Floats must start with a digit, not '.'.".to_owned(),
        ),
        (
            "a: 1.x",
            1,
            "Floats must have a digit after the '.', but got 'x' instead.".to_owned(),
        ),
        ("a: -x", 1, "Expected a digit but got 'x'.".to_owned()),
        (
            "a: 201-",
            1,
            "All ISO8601 dates must be in full Zulu form.".to_owned(),
        ),
        (
            "a: 2016-x",
            1,
            "Expected digit in ISO8601 datetime, but found 'x' instead.".to_owned(),
        ),
        (
            "a: 2016-05-04T18:53:41+",
            1,
            "Expected 'Z' in ISO8601 datetime, but found '+' instead.".to_owned(),
        ),
        ("a: \"x", 1, "Unexpected EOF.".to_owned()),
        ("/ a", 1, "Unexpected EOF.".to_owned()),
        (
            "a: \"\\q\"",
            1,
            "Invalid escape character 'q'. Only the following escape characters are allowed: \
             \\xXX, \\t, \\n, \\r, \\\", \\\\."
                .to_owned(),
        ),
        (
            "a: \"\\xzz\"",
            1,
            "Expected two hexadecimal digits after '\\x', but got 'zz'".to_owned(),
        ),
        (
            "a: \"\\x\n\"",
            2,
            "Expected two hexadecimal digits after '\\x', but hit end of line".to_owned(),
        ),
        (
            "a: (\nfoo )\n",
            3,
            "Unexpected EOF processing block.".to_owned(),
        ),
        (
            "include \n",
            2,
            "Expected include value but found new line".to_owned(),
        ),
        (
            "include 5",
            1,
            "Expected include value but found start of a number".to_owned(),
        ),
        (
            "include [x]",
            1,
            "Expected include value but found start of an array".to_owned(),
        ),
        (
            "include 'x",
            1,
            "Unexpected EOF in quoted include".to_owned(),
        ),
        (
            "include \"x",
            1,
            "Unexpected EOF in double quoted include".to_owned(),
        ),
    ] {
        assert_eq!(
            refused(source),
            format!("Parse error on line {line}: '{reason}'"),
            "{source:?}"
        );
    }
    for (source, message) in [
        ("port", "config is invalid (t.conf:1:4)"),
        ("x: 1\n}x", "config is invalid (t.conf:2:3)"),
        (
            "a: 99999999999999999999",
            "integer '99999999999999999999' is out of the range",
        ),
        (
            "a: 2016-13-04T18:53:41Z",
            "expected Zulu formatted DateTime, but got '2016-13-04T18:53:41Z'",
        ),
    ] {
        assert_eq!(refused(source), message, "{source:?}");
    }
}

#[test]
fn positions_are_those_of_keys() {
    let document = read("a: 1, b: 2\n  c { d: 3 }\n'e': [ x, {f: 1} ]");
    let place = |map: &Map, key: &str| document.locate(map.get(key).unwrap().position);
    assert_eq!(place(&document.root, "a"), "t.conf:1:0");
    assert_eq!(place(&document.root, "b"), "t.conf:1:6");
    assert_eq!(place(&document.root, "c"), "t.conf:2:3");
    assert_eq!(place(&document.root, "e"), "t.conf:3:2");
    let Value::Map(map) = &document.root.get("c").unwrap().value else {
        panic!("no map")
    };
    assert_eq!(place(map, "d"), "t.conf:2:7");
    let Value::Array(items) = &document.root.get("e").unwrap().value else {
        panic!("no array")
    };
    assert_eq!(document.locate(items[0].position), "t.conf:3:8");
    let Value::Map(map) = &items[1].value else {
        panic!("no map")
    };
    assert_eq!(place(map, "f"), "t.conf:3:12");
}

#[test]
fn variables_are_looked_up_from_the_inside_out() {
    assert_eq!(x("A: 1\nx: $A"), Value::Int(1));
    let document = read("A: 1\nB: 2\nm { A: 3, x: [ $A, { y: $B } ] }");
    let used: Vec<_> = document
        .root
        .iter()
        .map(|entry| (entry.key.as_str(), entry.used))
        .collect();
    assert_eq!(used, [("A", false), ("B", true), ("m", false)]);
    let Value::Map(map) = &document.root.get("m").unwrap().value else {
        panic!("no map")
    };
    assert!(map.iter().any(|entry| entry.key == "A" && entry.used));
    assert_eq!(
        refused("x: $A\nA: 1"),
        "variable reference for 'A' on line 1 can not be found"
    );
    assert_eq!(
        refused("m { A: 1 }\nx: $A"),
        "variable reference for 'A' on line 2 can not be found"
    );
    assert_eq!(x("x: \"$A\""), text("$A"));
}

#[test]
fn variables_of_the_environment_are_values() {
    assert_eq!(x("x: $PORT"), Value::Int(8080));
    assert_eq!(x("x: $CHAIN"), Value::Int(8080));
    assert_eq!(x("x: $EMPTY"), text(""));
    assert!(matches!(x("x: $LIST"), Value::Array(items) if items.len() == 2));
    assert_eq!(
        refused("\nx: $BLANKS"),
        "variable reference for 'BLANKS' on line 2 could not be parsed: Parse error on line 1: \
         'Expected a top-level value to end with a new line, comment or EOF, but got 'b' instead.'"
    );
    let cycle = "variable reference for 'CYCLE' on line 1 could not be parsed: ";
    assert_eq!(
        refused("x: $CYCLE"),
        format!("{cycle}{cycle}variable reference cycle for 'CYCLE'")
    );
}

#[test]
fn bcrypt_hashes() {
    assert_eq!(x("x: $2a$11$abc."), text("$2a$11$abc."));
    assert_eq!(
        refused("x: $2b$11"),
        "variable reference for '2b$11' on line 1 can not be found"
    );
}

#[test]
fn includes_merge_into_the_current_map() {
    let document = read("a: 1\ninclude users.conf\nm { INCLUDE 'users.conf', c: 1 }");
    assert_eq!(document.files, ["t.conf", "users.conf", "users.conf"]);
    let user = document.root.get("user").unwrap();
    assert_eq!(document.locate(user.position), "users.conf:1:0");
    assert_eq!(
        x("include nested.conf\nx: $inner").go_type(),
        "map[string]interface {}"
    );
    assert_eq!(read("include: 5").root.len(), 1);
    assert_eq!(
        refused("include none.conf"),
        "error parsing include file 'none.conf', open none.conf: no such file or directory"
    );
    assert_eq!(
        refused("include bad.conf"),
        "error parsing include file 'bad.conf', Parse error on line 2: 'Unexpected EOF processing map.'"
    );
    assert!(refused("OUTER: 1\ninclude scope.conf").contains("'OUTER' on line 1 can not be found"));
    assert!(refused("include loop.conf").ends_with("too many files include each other"));
}

#[test]
fn damage_is_bounded() {
    for open in ["a: [", "a: {a"] {
        assert!(refused(&open.replace("a: ", "").repeat(5000)).len() < 200);
    }
    assert!(refused(&format!("a: {}", "[".repeat(5000))).contains("nested too deeply"));
    assert_eq!(read(&"include fork.conf\n".repeat(300)).files.len(), 901);
    assert!(refused(&"include fork.conf\n".repeat(400)).ends_with("too many files"));
    let mut doubling = "v0: [ a, b ]\n".to_owned();
    for n in 1..64 {
        doubling += &format!("v{n}: [ $v{}, $v{} ]\n", n - 1, n - 1);
    }
    assert!(refused(&doubling).ends_with("copies too much"));
}

proptest! {
    #[test]
    fn any_text_is_survived(text in "[a-c{}\\[\\]:=,;'\"()\\\\x0-9.$#/ \\n\\r-]{0,40}") {
        let _ = parse("t.conf", &text, &Fixture);
    }

    #[test]
    fn quoted_text_is_read_back(value in "[^\\x00]{0,20}") {
        let quoted = value
            .replace('\\', "\\\\")
            .replace('"', "\\\"");
        prop_assert_eq!(x(&format!("x: \"{quoted}\"")), text(&value));
    }
}
