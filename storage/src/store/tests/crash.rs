//! The power fails after every single disk call of a script, and again inside recovery.

use super::*;

/// What a script asked for and what it was promised.
#[derive(Debug, Default)]
struct Outcome {
    submitted: Vec<Written>,
    /// How many of them were reported durable.
    acked: usize,
    /// The disk refused, as it does once the machine has stopped.
    stopped: bool,
}

/// Appends messages in batches of one to three; sometimes writes twice before a sync.
fn script(disk: &FaultDisk, seed: u64, from: u64, count: u64) -> Outcome {
    let mut outcome = Outcome::default();
    let Ok(mut opened) = open(disk, seed) else {
        outcome.stopped = true;
        return outcome;
    };
    for at in from..from + count {
        let record = Written::message(at);
        opened.store.append(&record.record());
        outcome.submitted.push(record);
        if at % 3 == 1 {
            continue;
        }
        opened.store.seal();
        let wrote = opened.writer.write();
        let synced = if at % 4 == 2 {
            Ok(None)
        } else {
            opened.writer.sync().map(Some)
        };
        match (wrote, synced) {
            (Ok(_), Ok(None)) => {}
            (Ok(_), Ok(Some(_))) => {
                outcome.acked = outcome.submitted.len();
                opened.writer.idle().ok();
            }
            _ => {
                outcome.stopped = true;
                return outcome;
            }
        }
    }
    outcome
}

/// What is there must be what was submitted, in order, and at least what was promised.
fn check(disk: &FaultDisk, seed: u64, submitted: &[Written], acked: usize, what: &str) -> usize {
    let opened = open(disk, seed).unwrap();
    assert!(opened.report.lost.is_empty(), "{what}: {:?}", opened.report);
    let found: Vec<Written> = replayed(opened.replay)
        .into_iter()
        .map(|(record, ..)| record)
        .collect();
    assert!(
        found.len() >= acked,
        "{what}: {} of {acked} acknowledged",
        found.len()
    );
    assert!(
        found.len() <= submitted.len(),
        "{what}: more than was submitted"
    );
    assert_eq!(found, submitted[..found.len()], "{what}");
    found.len()
}

#[test]
pub(super) fn what_was_acknowledged_survives_a_crash_after_every_call() {
    let total = {
        let disk = FaultDisk::new();
        script(&disk, 1, 0, 50);
        disk.calls()
    };
    assert!(total > 60, "{total} calls");
    for last in 0..=total {
        for crash in 0..4 {
            let what = format!("crash after call {last}, seed {crash}");
            let disk = FaultDisk::new();
            disk.stop_after(last);
            let first = script(&disk, 1, 0, 50);
            let disk = disk.crash(crash);
            let mut kept = first.submitted;
            let found = check(&disk.kill(), 2, &kept, first.acked, &what);
            kept.truncate(found);
            // The next life goes on where recovery ended, and its power fails, too.
            disk.stop_after(3 + last % 17);
            let second = script(&disk, 3, found as u64, 12);
            kept.extend(second.submitted);
            check(
                &disk.crash(crash + 9),
                4,
                &kept,
                found + second.acked,
                &format!("{what}, twice"),
            );
        }
    }
}

#[test]
pub(super) fn a_crash_inside_recovery_changes_nothing() {
    for seed in 0..40 {
        let disk = FaultDisk::new();
        disk.stop_after(20 + seed * 2);
        let outcome = script(&disk, 1, 0, 50);
        let crashed = disk.crash(seed);
        let found = check(
            &crashed.kill(),
            2,
            &outcome.submitted,
            outcome.acked,
            "recovery",
        );
        for last in 0..12 {
            let disk = crashed.kill();
            disk.stop_after(last);
            if let Ok(opened) = open(&disk, 3) {
                drop(opened);
            }
            let what = format!("seed {seed}, recovery stopped after call {last}");
            let again = check(
                &disk.crash(last),
                4,
                &outcome.submitted,
                outcome.acked,
                &what,
            );
            assert!(again <= found.max(again));
        }
    }
}

#[test]
pub(super) fn a_full_disk_stops_the_store_and_keeps_what_was_acknowledged() {
    for call in 1..60 {
        for fault in [crate::Fault::Io, crate::Fault::Full] {
            let disk = FaultDisk::new();
            disk.fail_at(call, fault);
            let outcome = script(&disk, 1, 0, 50);
            assert!(outcome.stopped || outcome.submitted.len() == 50);
            let what = format!("call {call} failed");
            check(
                &disk.crash(call),
                2,
                &outcome.submitted,
                outcome.acked,
                &what,
            );
        }
    }
}
