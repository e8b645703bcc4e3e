//! All protocol scripts, one test per area; `scripts/README.md` says how to write and repeat them.

use std::collections::BTreeSet;
use std::fs;

use jetwake_tests::script::{directory, run_area};

macro_rules! areas {
    ($($area:ident),+ $(,)?) => {
        const AREAS: &[&str] = &[$(stringify!($area)),+];
        $(
            #[test]
            fn $area() {
                if let Err(report) = run_area(stringify!($area)) {
                    panic!("{report}");
                }
            }
        )+
    };
}

areas![
    acks,
    auth,
    connect,
    consumer_api,
    direct_get,
    headers,
    jetstream_api,
    kv,
    limits,
    no_responders,
    parse,
    ping,
    priority,
    pub_sub,
    publish,
    pull,
    push,
    queue,
    subjects,
    unsub,
    verbose_pedantic,
];

#[test]
fn every_directory_is_an_area() {
    let listed: BTreeSet<String> = AREAS.iter().map(|&area| area.to_owned()).collect();
    let found: BTreeSet<String> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    assert_eq!(listed, found);
}
