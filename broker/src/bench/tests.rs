//! Whole runs against an embedded server.

use std::time::Duration;

use clap::ValueEnum;

use super::client::Credentials;
use super::plan::{self, Scale};
use super::scenario::{self, Budget, Params, Scenario, Target};
use crate::Server;

/// Few messages, so that debug builds are quick.
fn params(scenario: Scenario) -> Params {
    Params {
        budget: Budget {
            messages: 300,
            time: Duration::from_secs(20),
        },
        warmup: Duration::from_millis(5),
        ..plan::params(scenario, Scale::SINGLE)
    }
}

/// Runs `work`, which blocks, beside an embedded server.
fn with_server<T>(work: impl FnOnce(&Target) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let server = runtime
        .block_on(Server::builder().jetstream().start())
        .unwrap();
    let result = work(&Target {
        address: server.client_addr(),
        credentials: Credentials::default(),
        pid: Some(std::process::id()),
        monitor: None,
    });
    runtime.block_on(server.shutdown());
    result
}

fn check(params: &Params, target: &Target) {
    let (sample, evidence) = scenario::measure(params, target)
        .unwrap_or_else(|error| panic!("{:?}: {error}", params.scenario));
    assert!(sample.messages > 0 && sample.elapsed > Duration::ZERO);
    evidence.settle(target).unwrap();
    evidence.check(target).unwrap();
    scenario::delete_streams(target, evidence.streams()).unwrap();
}

#[test]
fn every_scenario_runs_and_passes_its_check() {
    with_server(|target| {
        for scenario in Scenario::value_variants() {
            check(&params(*scenario), target);
        }
    });
}

#[test]
fn scenarios_run_with_many_of_everything() {
    with_server(|target| {
        for scenario in Scenario::value_variants() {
            let streams = match scenario {
                Scenario::PublishSync | Scenario::PublishAsync | Scenario::PublishBatch => 3,
                _ => 1,
            };
            let params = Params {
                clients: 3,
                streams,
                subjects: 7,
                in_flight: 4,
                batch: 10,
                subscribers: 2,
                size: 20,
                memory: true,
                ..params(*scenario)
            };
            check(&params, target);
            check(
                &Params {
                    acks: false,
                    size: 0,
                    ..params
                },
                target,
            );
        }
    });
}

#[test]
fn reports_hold_no_secrets() {
    let args = "--url nats://u:p@h --user u --password x --token=y core".split(' ');
    let args: Vec<String> = args.map(str::to_owned).collect();
    assert_eq!(
        super::without_secrets(&args).join(" "),
        "--url ***@h --user u --password *** --token=*** core"
    );
}

/// Calls the JetStream API.
fn call(target: &Target, name: &str, body: &str) {
    let subject = format!("$JS.API.{name}");
    let answer = target.connect().unwrap().request(&subject, body.as_bytes());
    let answer = String::from_utf8(answer.unwrap()).unwrap();
    assert!(answer.contains("\"success\":true"), "{answer}");
}

#[test]
fn a_lost_message_is_found_and_named() {
    with_server(|target| {
        for scenario in [Scenario::PublishAsync, Scenario::PublishBatch] {
            let (_, evidence) = scenario::measure(&params(scenario), target).unwrap();
            let stream = &evidence.streams()[0];
            call(
                target,
                &format!("STREAM.MSG.DELETE.{stream}"),
                "{\"seq\":42}",
            );
            let error = evidence.check(target).unwrap_err().to_string();
            assert!(error.contains("1 of "), "{error}");
            assert!(error.ends_with("are missing: sequence 42"), "{error}");
        }
    });
}

#[test]
fn a_purged_stream_is_found() {
    with_server(|target| {
        let (_, evidence) = scenario::measure(&params(Scenario::ConsumePull), target).unwrap();
        call(
            target,
            &format!("STREAM.PURGE.{}", evidence.streams()[0]),
            "",
        );
        let error = evidence.check(target).unwrap_err().to_string();
        assert!(
            error.contains("300 of 300 acknowledged messages are missing"),
            "{error}"
        );
    });
}
