use super::*;

fn run(source: &str, destination: &str, subject: &str) -> String {
    let transform = Transform::new(source, destination, Strictness::Lenient).unwrap();
    let mut out = Vec::new();
    assert!(transform.apply(subject.as_bytes(), 7, &mut out));
    String::from_utf8(out).unwrap()
}

fn refused(source: &str, destination: &str) -> String {
    Transform::new(source, destination, Strictness::Lenient)
        .unwrap_err()
        .to_string()
}

#[test]
fn functions_give_the_observed_results() {
    assert_eq!(run("f.*.*", "z.$2.{{wildcard(1)}}", "f.a.b"), "z.b.a");
    for (token, bucket) in [("abc", "2"), ("foo", "0"), ("hello", "0")] {
        assert_eq!(
            run("p.*", "{{partition(3,1)}}", &format!("p.{token}")),
            bucket
        );
    }
    let with = |function: &str, token: &str| run("*", &format!("{{{{{function}}}}}"), token);
    assert_eq!(with("split(1,-)", "ab-cd"), "ab.cd");
    assert_eq!(with("Split(1, -)", "-abc-def--ghi-"), "abc.def.ghi");
    assert_eq!(with("SplitFromLeft(1,2)", "ab-cd"), "ab.-cd");
    assert_eq!(with("splitfromright(1,3)", "12345"), "12.345");
    assert_eq!(with("splitfromright(1,9)", "12345"), "12345");
    assert_eq!(with("slicefromleft(1,3)", "1234567890"), "123.456.789.0");
    assert_eq!(with("slicefromright(1,3)", "abcdefgh"), "ab.cde.fgh");
    assert_eq!(with("left(1,2)", "abcd"), "ab");
    assert_eq!(with("right(1,2)", "abcd"), "cd");
    assert_eq!(with("random(4)", "x"), "3");
    assert_eq!(with("split(1,)", "abc"), "a.b.c");
    assert_eq!(with("split(1,*)", "a*b"), "a.b");
    assert_eq!(with("partition(-1,1)", "abc"), "440920331");
}

#[test]
fn the_tail_is_copied() {
    assert_eq!(run("r.>", "z.>", "r.a.b"), "z.a.b");
    assert_eq!(run("", "all.>", "r.a.b"), "all.r.a.b");
    assert_eq!(run("r.*.>", "$1.x.>", "r.a.b.c"), "a.x.b.c");
}

#[test]
fn a_subject_outside_the_source_is_left_alone() {
    let transform = Transform::new("a.*", "b.$1", Strictness::Lenient).unwrap();
    let mut out = Vec::new();
    assert!(!transform.apply(b"c.d", 0, &mut out) && out.is_empty());
}

#[test]
fn refusals() {
    for (source, destination) in [("a.>", "b"), ("a", "b.>"), ("a.*", "b.*"), ("a..b", "c")] {
        assert_eq!(refused(source, destination), "invalid subject");
    }
    let head = "invalid mapping destination: ";
    assert_eq!(
        refused("a.*", "{{foo(1)}}"),
        format!("{head}unknown function in {{{{foo(1)}}}}")
    );
    assert_eq!(
        refused("a.*", "$2"),
        format!("{head}wildcard index out of range in $2: [2]")
    );
    assert_eq!(
        refused("a.*", "{{split(1)}}"),
        format!("{head}not enough arguments passed to the function in {{{{split(1)}}}}")
    );
    assert_eq!(
        refused("a.*", "{{wildcard(1,2)}}"),
        format!("{head}too many arguments passed to the function in {{{{wildcard(1,2)}}}}")
    );
    assert_eq!(
        refused("a.*", "{{wildcard(x)}}"),
        format!("{head}function argument is invalid or in the wrong format in {{{{wildcard(x)}}}}")
    );
}

#[test]
fn sizes_out_of_range_leave_the_token_alone() {
    for function in [
        "left(1,0)",
        "left(1,-1)",
        "left(1,9)",
        "right(1,0)",
        "slicefromleft(1,0)",
        "slicefromright(1,-1)",
        "splitfromleft(1,3)",
        "splitfromright(1,0)",
    ] {
        assert_eq!(
            run("a.*", &format!("{{{{{function}}}}}"), "a.abc"),
            "abc",
            "{function}"
        );
    }
    assert_eq!(
        run("a.*", "{{partition(0,1)}}.{{random(0)}}", "a.abc"),
        "0.0"
    );
}

#[test]
fn wildcard_numbers_below_one_mean_the_first_token() {
    assert_eq!(run("a.*", "$0.$-1.{{wildcard(0)}}", "a.tok"), "a.a.a");
}

#[test]
fn sources_without_wildcards_take_partition_and_random_only() {
    assert_eq!(run("a", "x.{{partition(3,7)}}", "a"), "x.1");
    assert_eq!(run("a.>", "{{partition(3)}}.>", "a.b.c"), "0.b.c");
    assert!(refused("a", "$1").ends_with("wildcard index out of range in $1"));
    assert!(refused("a.>", "$1.>").ends_with("wildcard index out of range in $1: [1]"));
}

#[test]
fn what_is_no_function_is_text() {
    for text in ["{{wildcard(1)", "x{{wildcard(1)}}", "$1x", "{{}}", "$SYS"] {
        assert_eq!(run("a.*", text, "a.b"), text);
    }
    assert_eq!(run("a.*", "{{ Wildcard ( 1 ) }}", "a.b"), "b");
    for unknown in [
        "{{SPLITFROMLEFT(1,2)}}",
        "{{wildcard}}",
        "{{partition(3,1}}",
    ] {
        assert!(refused("a.*", unknown).contains("unknown function in "));
    }
}

#[test]
fn malformed_destinations() {
    let text = "invalid mapping destination: invalid transform";
    assert_eq!(refused("a.*", "b c"), text);
    assert_eq!(refused("a.*", "c..d"), text);
    assert_eq!(refused("a.*", ">.x"), format!("{text} in x"));
}

#[test]
fn imports_use_every_wildcard_and_nothing_else() {
    let strict = |source, destination| Transform::new(source, destination, Strictness::Strict);
    strict("a.*.*", "b.$2.$1").unwrap();
    assert!(matches!(
        strict("a.*.*", "b.$1"),
        Err(TransformError::NotUsingAllWildcards(_))
    ));
    assert!(matches!(
        strict("a.*", "b.{{left(1,2)}}"),
        Err(TransformError::NotSupportedForImport(_))
    ));
}
