//! A few rounds of the crash loop as a test; the long run is the `crash` program.

mod rig;

use std::time::Duration;

use rig::Options;

#[test]
fn three_kills_under_load_break_no_promise() {
    let options = Options {
        rounds: 3,
        load: Duration::from_millis(250),
        seed: 7,
        server_args: Vec::new(),
        directory: None,
    };
    let report = rig::run(&options, |line| println!("{line}")).unwrap();
    assert!(report.acknowledged > 0, "no load");
    assert!(report.confirmed_acks > 0, "no consumer load");
    assert_eq!(report.first_info.len(), report.first_answer.len());
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}
