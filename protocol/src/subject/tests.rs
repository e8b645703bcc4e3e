use proptest::prelude::*;

use super::*;

#[test]
fn validity() {
    for good in [
        &b"a"[..],
        b"a.b",
        b"*",
        ">".as_bytes(),
        b"a.*.b",
        b"a.>",
        b"foo*",
        b"a.>b.c",
        b"\xff",
    ] {
        assert!(is_valid(good), "{}", good.escape_ascii());
    }
    for bad in [
        &b""[..],
        b".",
        b"a.",
        b".a",
        b"a..b",
        b"a.>.b",
        b">.a",
        b"a b",
        b"a.\x0c",
        b"a\tb",
    ] {
        assert!(!is_valid(bad), "{}", bad.escape_ascii());
    }
}

#[test]
fn literals_and_publishing() {
    assert!(is_literal(b"a*.b>"));
    assert!(has_wildcards(b"a.*.b") && has_wildcards(b"a.>"));
    assert!(is_valid_pedantic(b"foo*.b") && !is_valid_pedantic(b"a..b"));
    assert!(!is_valid_pedantic(b"a.*") && !is_valid_pedantic(b"a.>.b"));
    assert!(!is_valid_publish(b"a b") && is_valid_publish(b"a.b"));
}

#[test]
fn matching() {
    assert!(matches(b"foo.>", b"foo.a.b") && !matches(b"foo.>", b"foo"));
    assert!(matches(b"foo.*", b"foo.*") && matches(b"foo.>", b"foo.*"));
    assert!(matches(b"*.b", b"a.b") && !matches(b"*.b", b"a.b.c") && !matches(b"*", b"a.b"));
    assert!(!matches(b"a.*", b"a.") && !matches(b"a*", b"ab") && matches(b"a*", b"a*"));
}

#[test]
fn subsets() {
    assert!(is_subset_of(b"a.*", b"a.>") && !is_subset_of(b"a.>", b"a.*"));
    assert!(is_subset_of(b"a.>", b">") && is_subset_of(b"*.b", b"*.*"));
    assert!(!is_subset_of(b"*.b", b"a.b") && !is_subset_of(b"a", b"a.>"));
}

#[test]
fn overlaps() {
    assert!(overlap(b"a.*", b"*.b") && overlap(b"a.>", b"*.b.c") && overlap(b"a", b"a"));
    assert!(!overlap(b"a.*", b"b.*") && !overlap(b"a.>", b"a") && !overlap(b"a.*", b"a.*.>"));
}

fn filter() -> impl Strategy<Value = String> {
    let token = prop_oneof![Just("a"), Just("b"), Just("*")];
    (proptest::collection::vec(token, 1..4), any::<bool>()).prop_map(|(mut tokens, rest)| {
        if rest {
            tokens.push(">");
        }
        tokens.join(".")
    })
}

fn subject() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof![Just("a"), Just("b")], 1..5)
        .prop_map(|tokens| tokens.join("."))
}

proptest! {
    #[test]
    fn a_common_subject_means_overlap(a in filter(), b in filter(), s in subject()) {
        let (a, b, s) = (a.as_bytes(), b.as_bytes(), s.as_bytes());
        if matches(a, s) && matches(b, s) {
            prop_assert!(overlap(a, b));
        }
        if is_subset_of(a, b) && matches(a, s) {
            prop_assert!(matches(b, s) && overlap(a, b));
        }
        prop_assert_eq!(overlap(a, b), overlap(b, a));
        prop_assert_eq!(is_subset_of(s, a), matches(a, s));
    }
}
