use super::*;

fn args(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn options(line: &str) -> Options {
    let Ok(Command::Serve(line)) = parse(&args(line)) else {
        panic!("not a server to run: {line}")
    };
    let mut options = Options::default();
    line.apply(&mut options).unwrap();
    options
}

#[test]
fn a_port_of_minus_one_is_a_free_one_and_zero_the_default() {
    assert_eq!(options("-p -1").port, 0);
    assert_eq!(options("-p 0").port, 4222);
    assert_eq!(options("-p 4333").port, 4333);
    assert!(!parse(&args("-p 99999")).unwrap_err().usage);
    assert!(parse(&args("-p abc")).unwrap_err().usage);
}

#[test]
fn a_store_directory_alone_does_not_turn_jetstream_on() {
    assert!(options("--store_dir /x").jetstream.is_none());
    let jetstream = options("-sd=/x -js").jetstream.unwrap();
    assert_eq!(jetstream.store_dir, PathBuf::from("/x"));
    assert_eq!(jetstream.sync, SyncPolicy::Always);
}

#[test]
fn durability_is_relaxed_only_by_name() {
    let sync = |line: &str| options(line).jetstream.unwrap().sync;
    assert_eq!(
        sync("-js --sync lazy"),
        SyncPolicy::Lazy(LAZY_SYNC_INTERVAL)
    );
    assert_eq!(
        sync("-js --sync 10s"),
        SyncPolicy::Lazy(Duration::from_secs(10))
    );
    assert!(parse(&args("-js --sync sometimes")).is_err());
}

#[test]
fn credentials() {
    let user = Auth::User {
        user: "u".into(),
        password: "p".into(),
    };
    assert_eq!(options("--user u --pass p").auth, Some(user));
    assert_eq!(options("--auth t").auth, Some(Auth::Token("t".into())));
    assert!(parse(&args("--pass p")).is_err());
}

#[test]
fn a_configuration_to_check_needs_its_name() {
    let refused = parse(&args("-t")).unwrap_err();
    assert_eq!(
        refused.text,
        "must specify [-c, --config] option to check configuration file syntax"
    );
    assert!(matches!(parse(&args("-t -c x")), Ok(Command::Check(_))));
}

#[test]
fn commands_and_refusals() {
    assert!(matches!(parse(&args("version")), Ok(Command::Version)));
    assert!(matches!(parse(&args("--help")), Ok(Command::Help)));
    #[cfg(feature = "bench")]
    assert!(matches!(parse(&args("bench -x y")), Ok(Command::Bench(rest)) if rest == ["-x", "y"]));
    assert!(matches!(parse(&args("--signal ldm=1")), Ok(Command::Signal(s)) if s == "ldm=1"));
    assert!(!parse(&args("-routes x")).unwrap_err().usage);
    assert!(parse(&args("-bogus")).unwrap_err().usage);
}
