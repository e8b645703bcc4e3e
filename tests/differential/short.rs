//! A short run of the differential rig with a fixed seed, when `NATS_SERVER` names the reference.

mod exceptions;
mod generate;
mod lane;
mod normal;
mod pair;
mod program;
mod random;
mod rig;
mod shrink;

use std::time::Duration;

#[test]
fn no_program_tells_the_servers_apart() {
    let Some(reference) = std::env::var_os("NATS_SERVER") else {
        return;
    };
    let options = rig::Options {
        reference: reference.into(),
        programs: 70,
        limit: Duration::from_secs(120),
        ..rig::Options::default()
    };
    let mut text = String::new();
    let report = rig::run(&options, |line| {
        text.push_str(line);
        text.push('\n');
    });
    let report = report.unwrap();
    assert_eq!(report.differences, 0, "{text}{report}");
}
