//! What is recorded brings the same consumer back.

use jetwake_protocol::jetstream::consumer::{AckPolicy, ConsumerConfig, DeliverPolicy};
use proptest::prelude::*;

use super::rig::*;
use crate::jetstream::consumer::ctx::Ctx;
use crate::jetstream::consumer::{Consumer, NewConsumer, Removal};

/// Recovers a consumer from a snapshot and the records after it.
fn recover(rig: &mut Rig, snapshot: &[u8], records: &[Vec<u8>]) -> Consumer {
    let config = rig.consumer.config().clone();
    let new = NewConsumer {
        id: 8,
        name: "a",
        config,
        created: START,
        single: false,
    };
    let mut consumer = Consumer::restore(ctx!(rig), new, snapshot).unwrap();
    for record in records {
        consumer.replay(record).unwrap();
    }
    consumer.recover(ctx!(rig));
    consumer
}

fn snapshot(consumer: &Consumer) -> Vec<u8> {
    let mut bytes = Vec::new();
    consumer.snapshot(&mut bytes);
    bytes
}

/// Both consumers, apart from how far each has looked for messages.
fn assert_same(live: &Consumer, recovered: &mut Consumer) {
    recovered.state.next = live.state.next;
    assert_eq!(snapshot(live), snapshot(recovered));
    assert_eq!(live.num_pending.get(), recovered.num_pending.get());
}

#[derive(Clone, Debug)]
enum Step {
    Publish(u8),
    Next(u8),
    Say(u8, u8),
    Pass(u16),
    Remove(u8),
    Purge(u8),
    MaxDeliver(u8),
    Snapshot,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<u8>().prop_map(Step::Publish),
        3 => (1..6_u8).prop_map(Step::Next),
        6 => (any::<u8>(), any::<u8>()).prop_map(|(which, what)| Step::Say(which, what)),
        3 => (0..700_u16).prop_map(Step::Pass),
        1 => any::<u8>().prop_map(Step::Remove),
        1 => any::<u8>().prop_map(Step::Purge),
        1 => (0..4_u8).prop_map(Step::MaxDeliver),
        1 => Just(Step::Snapshot),
    ]
}

fn perform(rig: &mut Rig, step: &Step) {
    use jetwake_storage::MessageStore;
    match *step {
        Step::Publish(which) => rig.publish(["q.a", "q.b", "x"][usize::from(which) % 3]),
        Step::Next(batch) => rig.next("r", &batch.to_string()),
        Step::Say(which, what) => {
            let delivered: Vec<String> = rig
                .out
                .sent
                .iter()
                .filter(|sent| delivery(sent).is_some())
                .map(|sent| sent.reply.clone())
                .collect();
            if let Some(index) = usize::from(which).checked_rem(delivered.len()) {
                let payload = ["", "", "+ACK", "-NAK", "-NAK 300ms", "+WPI", "+TERM"];
                let payload = payload[usize::from(what) % payload.len()];
                rig.ack_subject(&delivered[index], "", payload);
            }
        }
        Step::Pass(time) => rig.pass(i64::from(time) * MS),
        Step::Remove(which) => {
            let state = rig.messages.state();
            let seq = state.first_seq + u64::from(which) % 10;
            if rig.messages.meta(seq).is_some() {
                rig.remove(seq, Removal::Limit);
            }
        }
        Step::Purge(which) => {
            let state = rig.messages.state();
            let upto = (state.first_seq + u64::from(which) % 4).min(state.last_seq);
            let subject = [None, Some("q.a"), Some("x")][usize::from(which) % 3];
            rig.purge(subject, upto);
        }
        Step::MaxDeliver(limit) => {
            rig.update(|config| config.max_deliver = i64::from(limit).max(1) - 1);
        }
        Step::Snapshot => {}
    }
}

fn config(kind: u8) -> ConsumerConfig {
    let mut config = pull();
    config.ack_wait = 400 * MS;
    config.max_ack_pending = 20;
    match kind % 5 {
        0 => {}
        1 => config.ack_policy = AckPolicy::All,
        2 => config.ack_policy = AckPolicy::None,
        3 => config.backoff = vec![100 * MS, 300 * MS],
        _ => {
            config.deliver_policy = DeliverPolicy::LastPerSubject;
            config.filter_subject = "q.*".into();
        }
    }
    config
}

/// The number that the index gives for the messages that are still to come.
fn counted(rig: &Rig) -> u64 {
    use jetwake_storage::MessageStore;
    let next = rig.consumer.state.next;
    let last = rig.messages.state().last_seq;
    (next..=last)
        .filter(|seq| {
            rig.messages
                .meta(*seq)
                .is_some_and(|meta| rig.consumer.needs(*seq, meta.key, &rig.messages))
        })
        .count() as u64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_random_life_is_recovered_from_its_log(
        kind in any::<u8>(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut rig = Rig::new(config(kind), &["q.a", "q.b", "q.a"]);
        let first = snapshot(&rig.consumer);
        let (mut later, mut from) = (first.clone(), 0);
        for step in &steps {
            perform(&mut rig, step);
            prop_assert_eq!(rig.consumer.num_pending.get(), counted(&rig), "{:?}", step);
            if matches!(step, Step::Snapshot) {
                (later, from) = (snapshot(&rig.consumer), rig.log.records.len());
            }
        }
        let records = rig.log.records.clone();
        let mut recovered = recover(&mut rig, &first, &records);
        assert_same(&rig.consumer, &mut recovered);
        let mut recovered = recover(&mut rig, &later, &records[from..]);
        assert_same(&rig.consumer, &mut recovered);
    }

    #[test]
    fn damaged_snapshots_and_records_are_refused_or_read(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut rig = Rig::new(pull(), &["q"]);
        let new = NewConsumer { id: 8, name: "a", config: pull(), created: START, single: false };
        let _ = Consumer::restore(ctx!(rig), new, &bytes);
        let _ = rig.consumer.replay(&bytes);
    }
}

#[test]
fn a_delivery_time_survives_exactly() {
    let mut config = pull();
    config.ack_wait = 6 * S;
    let mut rig = Rig::new(config, &["q"]);
    rig.pass(3 * S);
    rig.next("r", "1");
    rig.pass(S);
    let records = rig.log.records.clone();
    let first = {
        let mut fresh = Rig::new(rig.consumer.config().clone(), &["q"]);
        fresh.consumer.pump(ctx!(fresh), &mut 10);
        snapshot(&fresh.consumer)
    };
    let mut recovered = recover(&mut rig, &first, &records);
    assert_eq!(recovered.deadline(), Some(START + 9 * S));
}

#[test]
fn a_last_per_subject_consumer_goes_on_as_one() {
    let mut config = pull();
    config.deliver_policy = DeliverPolicy::LastPerSubject;
    config.filter_subject = ">".into();
    let mut rig = Rig::new(config, &["a", "b", "c", "a", "d", "c"]);
    let first = snapshot(&rig.consumer);
    rig.next("r", "1");
    let records = rig.log.records.clone();
    rig.consumer = recover(&mut rig, &first, &records);
    rig.take();
    assert_eq!(rig.info().num_pending, 3);
    rig.next("r", "10");
    assert_eq!(rig.take(), ["r<4#1", "r<5#1", "r<6#1"]);
}
