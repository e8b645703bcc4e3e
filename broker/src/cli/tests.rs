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
    assert!(!parse(&args("-tlscert x")).unwrap_err().usage);
    assert!(parse(&args("-bogus")).unwrap_err().usage);
}

#[test]
fn a_cluster_by_flags() {
    let options = options(
        "-cluster nats://u:p@127.0.0.1:-1 -routes nats://a:1,nats-route://b:2 -cluster_name C \
         -cluster_advertise x:3 -no_advertise -connect_retries 4",
    );
    let cluster = options.cluster;
    assert_eq!(
        (cluster.host.as_str(), cluster.port),
        ("127.0.0.1", Some(0))
    );
    assert_eq!(cluster.credentials.unwrap().user, "u");
    let routes: Vec<_> = cluster.routes.iter().map(|url| url.address()).collect();
    assert_eq!(routes, ["a:1", "b:2"]);
    assert_eq!(cluster.name.as_deref(), Some("C"));
    assert_eq!(cluster.advertise.as_deref(), Some("x:3"));
    assert!(cluster.no_advertise);
    assert_eq!(cluster.connect_retries, 4);
}

#[test]
fn bad_cluster_flags_have_nats_servers_texts() {
    let text = |line: &str| parse(&args(line)).unwrap_err().text;
    assert_eq!(
        text("--cluster nats://127.0.0.1"),
        "address 127.0.0.1: missing port in address"
    );
    assert_eq!(
        text("--cluster 127.0.0.1:-1"),
        "parse \"127.0.0.1:0\": first path segment in URL cannot contain colon"
    );
    assert_eq!(
        text("--cluster nats://127.0.0.1:abc"),
        "parse \"nats://127.0.0.1:abc\": invalid port \":abc\" after host"
    );
    assert_eq!(
        text("--cluster nats://u@127.0.0.1:1"),
        "expected cluster password to be set"
    );
    let blank = parse(&["--cluster_name".to_owned(), "a b".to_owned()]).unwrap_err();
    assert_eq!(blank.text, "cluster name cannot contain spaces");
    assert_eq!(
        text("--connect_retries abc"),
        "invalid value \"abc\" for flag -connect_retries: parse error"
    );
    assert_eq!(options("--cluster= -p 1").cluster.port, None);
    assert_eq!(options("--cluster nats://127.0.0.1:0").cluster.port, None);
}
