//! Encrypted stores: the other suites once more, and what only keys can bring about.

use super::*;
use crate::crypt::KeyError;
use crate::disk::Disk;

/// Runs suites with encrypted stores.
fn encrypted(run: impl FnOnce()) {
    ENCRYPTED.set(true);
    run();
    ENCRYPTED.set(false);
}

#[test]
fn crashes() {
    encrypted(|| {
        crash::what_was_acknowledged_survives_a_crash_after_every_call();
        crash::a_crash_inside_recovery_changes_nothing();
        crash::a_full_disk_stops_the_store_and_keeps_what_was_acknowledged();
    });
}

#[test]
fn damage() {
    encrypted(|| {
        damage::one_flipped_bit_costs_at_most_its_record();
        damage::cut_files_are_reported_and_the_rest_is_served();
        damage::messages_with_damaged_bytes_are_refused();
    });
}

#[test]
fn maintenance() {
    encrypted(|| {
        maintain::survivors_move_to_segments_and_files_go();
        maintain::segments_without_life_are_removed();
        maintain::overwritten_keys_do_not_pile_up_in_segments();
        maintain::a_dropped_group_leaves_nothing();
        maintain::a_damaged_segment_is_set_aside_and_not_removed();
        maintain::a_file_number_that_a_checkpoint_covers_is_not_used_again();
        maintain::old_checkpoint_files_are_carried_over();
        maintain::a_lent_message_survives_the_recycling_of_its_file();
        maintain::a_held_group_keeps_its_files();
    });
}

#[test]
fn crashes_in_maintenance() {
    encrypted(maintain::maintenance_survives_a_crash_after_every_call);
}

#[test]
fn damage_in_segments_and_checkpoints() {
    encrypted(maintain::one_flipped_bit_in_segment_or_checkpoint_costs_at_most_one_message);
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config {
        cases: 20, failure_persistence: None, ..Default::default()
    })]

    #[test]
    fn encrypted_stores_agree_with_the_model_across_restarts(steps in restart::steps()) {
        encrypted(|| restart::agree(&steps));
    }
}

/// Every file with its bytes.
fn content(disk: &FaultDisk) -> Vec<(String, Vec<u8>)> {
    let mut names = disk.list(Path::new(DIR)).unwrap();
    names.sort();
    let read = |name: String| {
        let file = disk.open(&Path::new(DIR).join(&name)).unwrap();
        let mut bytes = vec![0; file.size().unwrap() as usize];
        file.read_at(0, &mut bytes).unwrap();
        (name, bytes)
    };
    names.into_iter().map(read).collect()
}

/// What must not be found in any file.
const SECRETS: [&[u8]; 5] = [
    b"orders.secret",
    b"X-Secret-Header",
    b"a secret payload",
    b"secret-consumer",
    b"secret-stream",
];

fn secrets_in(disk: &FaultDisk) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (name, bytes) in content(disk) {
        for (at, secret) in SECRETS.iter().enumerate() {
            if bytes.windows(secret.len()).any(|window| window == *secret) {
                found.push((name.clone(), at));
            }
        }
    }
    found
}

fn secret_message(seq: u64) -> Written {
    Written {
        group: GROUP,
        index: 0,
        kind: Kind::Message,
        seq,
        key: [SECRETS[0], b".", &[b'a' + seq as u8 % 7]].concat(),
        headers: [b"NATS/1.0\r\n", SECRETS[1], b": 1\r\n\r\n"].concat(),
        payload: SECRETS[2].repeat(1 + seq as usize % 9),
    }
}

/// A store with some of everything in journal, segments and checkpoints.
struct Secrets {
    store: Store,
    writer: JournalWriter,
    messages: FileMessages,
    next: u64,
}

impl Secrets {
    fn new(opened: Opened) -> Self {
        let Opened {
            mut store, writer, ..
        } = opened;
        let messages = store.create_group(GROUP, 0);
        Self {
            store,
            writer,
            messages,
            next: 1,
        }
    }

    /// Goes on with what was found, which must be everything that was written before.
    fn again(opened: Opened, next: u64) -> Self {
        let Opened {
            store,
            writer,
            mut groups,
            replay,
            report,
        } = opened;
        assert_eq!(report, Report::default());
        let group = groups.pop().unwrap();
        assert_eq!(group.blob, SECRETS[4]);
        let mut messages = group.messages;
        replay
            .run(&mut |item| {
                if item.record.kind == Kind::Message {
                    insert(&mut messages, &item.record, item.location);
                } else {
                    assert_eq!(item.record.payload, SECRETS[3]);
                }
            })
            .unwrap();
        let this = Self {
            store,
            writer,
            messages,
            next,
        };
        this.check();
        this
    }

    fn check(&self) {
        assert_eq!(self.messages.state().last_seq, self.next - 1);
        for seq in 1..self.next {
            let Some(stored) = self.messages.get(seq).unwrap() else {
                assert_eq!(seq % 4, 0, "{seq}");
                continue;
            };
            let wanted = secret_message(seq);
            assert_eq!(stored.key, wanted.key);
            assert_eq!(stored.headers, wanted.headers);
            assert_eq!(stored.payload, wanted.payload);
        }
    }

    fn write(&mut self, count: u64) {
        for seq in self.next..self.next + count {
            let record = secret_message(seq);
            let record = record.record();
            let appended = self.store.append(&record);
            let control = Record {
                kind: Kind::Control(3),
                seq: 0,
                key: &[],
                headers: &[],
                payload: SECRETS[3],
                ..record
            };
            self.store.append(&control);
            write_and_sync(&mut self.store, &mut self.writer);
            insert(&mut self.messages, &record, appended.location);
            if seq.is_multiple_of(4) {
                self.messages.remove(seq, seq.is_multiple_of(8));
            }
        }
        self.next += count;
    }

    fn maintain(&mut self, retire: bool) {
        let groups = &mut [(GROUP, SECRETS[4].to_vec(), Some(&mut self.messages))];
        maintain(&mut self.store, self.writer.durable(), retire, groups).unwrap();
    }
}

fn open_with(disk: &FaultDisk, encryption: Option<Encryption>) -> Result<Opened, StoreError> {
    let options = Options {
        encryption,
        ..options(9)
    };
    Store::open(Arc::new(disk.clone()), Path::new(DIR), options)
}

fn fill(disk: &FaultDisk, encryption: Option<Encryption>) -> u64 {
    let mut secrets = Secrets::new(open_with(disk, encryption).unwrap());
    for _ in 0..3 {
        secrets.write(60);
        secrets.maintain(true);
    }
    secrets.write(20);
    secrets.check();
    secrets.next
}

#[test]
fn nothing_of_what_was_stored_can_be_read_in_any_file() {
    for seed in [1, 2] {
        let disk = FaultDisk::new();
        let mut secrets =
            Secrets::new(open_with(&disk, Some(encryption(b"k", None, seed))).unwrap());
        for _ in 0..3 {
            secrets.write(60);
            assert_eq!(secrets_in(&disk), []);
            secrets.maintain(true);
            assert_eq!(secrets_in(&disk), []);
            secrets.maintain(false);
            assert_eq!(secrets_in(&disk), []);
        }
        let kinds = ["journal", "segment", "checkpoint"];
        for kind in kinds {
            let mut names = content(&disk).into_iter().map(|(name, _)| name);
            assert!(names.any(|name| name.starts_with(kind)), "{kind}");
        }
        let next = secrets.next;
        drop(secrets);
        let opened = open_with(&disk, Some(encryption(b"k", None, seed + 10)));
        let mut secrets = Secrets::again(opened.unwrap(), next);
        secrets.write(10);
        assert_eq!(secrets_in(&disk), []);
    }
}

#[test]
fn a_plain_store_is_readable() {
    let disk = FaultDisk::new();
    fill(&disk, None);
    assert!(!secrets_in(&disk).is_empty());
}

#[test]
fn the_wrong_key_changes_nothing() {
    let disk = FaultDisk::new();
    let next = fill(&disk, Some(encryption(b"right", None, 1)));
    let before = content(&disk);
    let wrong = [
        (None, KeyError::NotEnabled),
        (Some(encryption(b"wrong", None, 2)), KeyError::Wrong),
        (
            Some(encryption(b"wrong", Some(b"also wrong"), 2)),
            KeyError::Wrong,
        ),
    ];
    for (encryption, expected) in wrong {
        match open_with(&disk, encryption) {
            Err(StoreError::Key(error)) => assert_eq!(error, expected),
            other => panic!("{other:?}"),
        }
        assert_eq!(content(&disk), before);
    }
    let opened = open_with(&disk, Some(encryption(b"right", None, 2)));
    Secrets::again(opened.unwrap(), next);
}

#[test]
fn a_new_key_takes_over_at_once() {
    let disk = FaultDisk::new();
    let next = fill(&disk, Some(encryption(b"old", None, 1)));
    let opened = open_with(&disk, Some(encryption(b"new", Some(b"old"), 2)));
    let mut secrets = Secrets::again(opened.unwrap(), next);
    secrets.write(5);
    drop(secrets);
    let opened = open_with(&disk, Some(encryption(b"old", None, 3)));
    assert!(matches!(opened, Err(StoreError::Key(KeyError::Wrong))));
    let opened = open_with(&disk, Some(encryption(b"new", None, 3)));
    Secrets::again(opened.unwrap(), next + 5);
}

#[test]
fn a_crash_while_the_key_changes_leaves_every_file_readable_with_both() {
    let filled = FaultDisk::new();
    let next = fill(&filled, Some(encryption(b"old", None, 1)));
    let both = || Some(encryption(b"new", Some(b"old"), 2));
    let calls = {
        let disk = filled.kill();
        drop(open_with(&disk, both()).unwrap());
        disk.calls()
    };
    for last in 0..calls {
        let disk = filled.kill();
        disk.stop_after(last);
        drop(open_with(&disk, both()));
        let disk = disk.crash(last);
        Secrets::again(open_with(&disk, both()).unwrap(), next);
    }
}

#[test]
fn a_plain_store_that_gets_a_key_is_written_anew() {
    let disk = FaultDisk::new();
    let next = fill(&disk, None);
    let opened = open_with(&disk, Some(encryption(b"k", None, 1)));
    let mut secrets = Secrets::again(opened.unwrap(), next);
    secrets.write(1);
    let mut rounds = 0;
    while secrets
        .store
        .plan_retire(secrets.writer.durable(), u64::MAX)
        .is_some()
    {
        secrets.maintain(true);
        rounds += 1;
        assert!(rounds < 40, "{:?}", secrets_in(&disk));
    }
    assert_eq!(secrets_in(&disk), []);
    secrets.check();
    let next = secrets.next;
    drop(secrets);
    let opened = open_with(&disk, Some(encryption(b"k", None, 2)));
    Secrets::again(opened.unwrap(), next);
}

#[test]
fn a_crash_while_a_store_is_written_anew_loses_nothing() {
    let plain = FaultDisk::new();
    let next = fill(&plain, None);
    let run = |disk: &FaultDisk| -> Option<u64> {
        let opened = open_with(disk, Some(encryption(b"k", None, 1))).ok()?;
        let mut secrets = Secrets::again(opened, next);
        let record = secret_message(next);
        let appended = secrets.store.append(&record.record());
        secrets.store.seal();
        secrets.writer.write().ok()?;
        let durable = secrets.writer.sync().ok()?;
        insert(&mut secrets.messages, &record.record(), appended.location);
        let groups = &mut [(GROUP, SECRETS[4].to_vec(), Some(&mut secrets.messages))];
        for _ in 0..4 {
            maintain(&mut secrets.store, durable, true, groups).ok()?;
        }
        Some(disk.calls())
    };
    let calls = run(&plain.kill()).unwrap();
    for last in (0..calls).step_by(3) {
        let disk = plain.kill();
        disk.stop_after(last);
        run(&disk);
        let disk = disk.crash(last);
        let opened = open_with(&disk, Some(encryption(b"k", None, 2))).unwrap();
        let found = opened.groups[0].messages.state().last_seq;
        let mut replayed = 0;
        let (mut messages, mut highest) = (opened.groups, found);
        let messages = &mut messages[0].messages;
        opened
            .replay
            .run(&mut |item| {
                if item.record.kind == Kind::Message {
                    insert(messages, &item.record, item.location);
                    highest = item.record.seq;
                    replayed += 1;
                }
            })
            .unwrap();
        assert!(
            highest >= next - 1,
            "{last}: {highest}, {replayed} replayed"
        );
        for seq in (1..next).filter(|seq| seq % 4 != 0) {
            let stored = messages.get(seq).unwrap().unwrap();
            assert_eq!(stored.payload, secret_message(seq).payload, "{last}");
        }
    }
}

/// The sealed bytes of a message, where they are.
fn sealed(disk: &FaultDisk, location: Location) -> Vec<u8> {
    let (kind, number, offset) = match location {
        Location::Journal { file, offset } => ("journal", file, offset),
        Location::Segment { file, offset } => ("segment", file, offset),
    };
    let wanted = format!("{kind}-{number:010}");
    let (_, bytes) = content(disk)
        .into_iter()
        .find(|(name, _)| *name == wanted)
        .unwrap();
    let body = offset as usize + crate::format::RECORD_HEADER;
    bytes[body..body + 24].to_vec()
}

#[test]
fn an_erased_message_is_gone_and_its_file_is_in_order() {
    let disk = FaultDisk::new();
    let key = || Some(encryption(b"k", None, 1));
    let mut secrets = Secrets::new(open_with(&disk, key()).unwrap());
    secrets.write(60);
    secrets.maintain(true);
    secrets.write(6);
    // One in a segment and one in the journal, which a reader is about to look at.
    let victims = [5, 65];
    let places = victims.map(|seq| secrets.messages.location(seq).unwrap());
    assert!(matches!(places[0], Location::Segment { .. }));
    assert!(matches!(places[1], Location::Journal { .. }));
    let bytes = places.map(|place| sealed(&disk, place));
    let mut scrub = secrets.store.begin_scrub(u64::MAX);
    assert_eq!(scrub.add(GROUP, &secrets.messages, 0), None);
    for seq in victims {
        secrets.messages.remove(seq, true).unwrap();
    }
    secrets.maintain(false);
    for (name, content) in content(&disk) {
        for gone in &bytes {
            assert!(!content.windows(24).any(|window| window == gone), "{name}");
        }
    }
    // Nothing is there any more, and nothing else is wrong.
    let found = scrub.run().suspects;
    assert_eq!(found, victims.map(|seq| (GROUP, seq)));
    let state = secrets.messages.state();
    let reopened = open_with(&disk.kill(), key()).unwrap();
    assert_eq!(reopened.report, Report::default());
    assert_eq!(reopened.groups[0].messages.state(), state);
    secrets.messages.remove_front(60, &mut |_, _| {});
    for _ in 0..2 {
        secrets.write(20);
        secrets.maintain(true);
    }
    let names = disk.list(Path::new(DIR)).unwrap();
    assert!(
        names.iter().all(|name| !name.ends_with(".damaged")),
        "{names:?}"
    );
}

#[test]
fn an_erased_message_is_not_missed_when_tables_are_made_again() {
    let disk = FaultDisk::new();
    let key = || Some(encryption(b"k", None, 1));
    let mut secrets = Secrets::new(open_with(&disk, key()).unwrap());
    secrets.write(60);
    secrets.maintain(true);
    secrets.messages.remove(5, true).unwrap();
    secrets.maintain(false);
    let state = secrets.messages.state();
    drop(secrets);
    let names = || content(&disk).into_iter();
    let (segment, bytes) = names()
        .find(|(name, _)| name.starts_with("segment"))
        .unwrap();
    let path = Path::new(DIR).join(&segment);
    let mut made_again = 0;
    for back in (1..=bytes.len()).step_by(64) {
        let disk = disk.kill();
        disk.flip(&path, bytes.len() - back, 1);
        let opened = open_with(&disk, key()).unwrap();
        assert!(
            !opened.report.lost.contains(&(GROUP, 5)),
            "{back}: {:?}",
            opened.report
        );
        assert_eq!(opened.groups[0].messages.state().last_seq, state.last_seq);
        made_again += usize::from(!opened.report.lines.is_empty());
    }
    assert!(made_again > 0);
}
