//! Compressed segments: the other suites once more, and what only chunks can bring about.

use super::*;

/// Runs suites with stores that compress, plain ones and encrypted ones.
fn packed(run: impl Fn()) {
    COMPRESSED.set(true);
    run();
    ENCRYPTED.set(true);
    run();
    ENCRYPTED.set(false);
    COMPRESSED.set(false);
}

#[test]
fn maintenance() {
    packed(|| {
        maintain::survivors_move_to_segments_and_files_go();
        maintain::segments_without_life_are_removed();
        maintain::overwritten_keys_do_not_pile_up_in_segments();
        maintain::a_dropped_group_leaves_nothing();
        maintain::a_damaged_segment_is_set_aside_and_not_removed();
        maintain::old_checkpoint_files_are_carried_over();
        maintain::a_lent_message_survives_the_recycling_of_its_file();
        maintain::a_held_group_keeps_its_files();
    });
}

#[test]
fn crashes_in_maintenance() {
    packed(maintain::maintenance_survives_a_crash_after_every_call);
}

#[test]
fn a_flipped_bit_costs_at_most_its_chunk() {
    packed(|| sealed::flip_everywhere(9));
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config {
        cases: 40, failure_persistence: None, ..Default::default()
    })]

    #[test]
    fn stores_that_compress_agree_with_the_model_across_restarts(steps in restart::steps()) {
        packed(|| restart::agree(&steps));
    }

    #[test]
    fn noise_alters_nothing(seed in proptest::num::u64::ANY, times in 1..5_u8) {
        packed(|| sealed::noise(seed, times));
    }
}

fn segments(disk: &FaultDisk) -> Vec<(String, Vec<u8>)> {
    let mut files = redo::content(disk);
    files.retain(|(name, _)| name.starts_with("segment"));
    files
}

/// A message like those of many applications.
fn json(at: u64) -> Written {
    let payload = format!(
        r#"{{"order":{at},"customer":"c-{}","status":"accepted","items":[{{"sku":"sku-{}","qty":2}}]}}"#,
        at * 7919 % 1000,
        at * 104_729 % 1000
    );
    Written {
        group: GROUP,
        index: 0,
        kind: Kind::Message,
        seq: at,
        key: format!("orders.{}", at % 3).into_bytes(),
        headers: Vec::new(),
        payload: payload.into_bytes(),
    }
}

/// A store with one group.
type Filled = Single;

impl Filled {
    /// Copies what there is; what comes later begins another section.
    fn seal(&mut self) {
        self.round(u32::MAX);
    }

    fn round(&mut self, through: u32) {
        let mut job = self.store.begin_copy(through);
        add(&mut job, GROUP, &mut self.messages);
        let copied = job.run().unwrap();
        assert!(copied.lost.is_empty());
        self.store.finish_copy(&copied);
        copied.relocate(GROUP, &mut self.messages);
        self.checkpoint();
    }

    fn checkpoint(&mut self) {
        self.maintain(false);
    }
}

#[test]
fn json_gets_smaller_and_noise_stays_what_it_is() {
    packed(|| {
        let mut filled = Filled::new();
        for seq in 1..=600 {
            filled.append(&json(seq));
        }
        filled.seal();
        let size: usize = segments(&filled.disk).iter().map(|(_, b)| b.len()).sum();
        let tables = 600 * 28 + 1000;
        let bytes = filled.messages.state().bytes as usize;
        assert!((size - tables) * 2 < bytes, "{size} for {bytes}");
        let filled = filled.reopen();
        filled.check(json);

        let noise = |seq| {
            let mut state = seq;
            let mut next = || {
                state = u64::wrapping_mul(state, 6_364_136_223_846_793_005).wrapping_add(99);
                (state >> 33) as u8
            };
            Written {
                // The second is longer than a chunk.
                payload: (0..if seq == 2 { 70_000 } else { 1000 })
                    .map(|_| next())
                    .collect(),
                ..json(seq)
            }
        };
        let mut filled = Filled::new();
        for seq in 1..=100 {
            filled.append(&noise(seq));
        }
        filled.seal();
        let size: usize = segments(&filled.disk).iter().map(|(_, b)| b.len()).sum();
        let plain = 98 * (1000 + 80 + 28) + 70_000;
        assert!(size < plain + 2000, "{size} for {plain}");
        filled.reopen().check(noise);
    });
}

#[test]
fn compression_can_be_switched_on_and_off() {
    let mut filled = Filled::new();
    for part in 0..3_u64 {
        COMPRESSED.set(part == 1);
        for at in 1..=100 {
            filled.append(&json(part * 100 + at));
        }
        filled.seal();
    }
    COMPRESSED.set(false);
    let features: Vec<u8> = segments(&filled.disk).iter().map(|(_, b)| b[17]).collect();
    assert_eq!(features, [0, 2, 0]);
    filled.check(json);
    let mut filled = filled.reopen();
    filled.check(json);
    // What is rewritten follows the setting of the day.
    filled.messages.remove_front(181, &mut |_, _| {});
    filled.round(0);
    let features: Vec<u8> = segments(&filled.disk).iter().map(|(_, b)| b[17]).collect();
    assert_eq!(features, [0, 0]);
    filled.reopen().check(json);
}

#[test]
fn what_is_compressed_is_not_adopted() {
    adopt_files();
    COMPRESSED.set(true);
    let mut filled = Filled::new();
    for seq in 1..=200 {
        filled.append(&json(seq));
    }
    let groups = &mut [(GROUP, b"blob".to_vec(), Some(&mut filled.messages))];
    maintain(&mut filled.store, filled.writer.durable(), true, groups).unwrap();
    COMPRESSED.set(false);
    let journals = redo::content(&filled.disk);
    let journals = journals
        .iter()
        .filter(|(name, _)| name.starts_with("journal"));
    assert_eq!(journals.count(), 1);
    filled.check(json);
}

/// Whether any segment holds these bytes, compressed or not.
fn is_in_segments(disk: &FaultDisk, bytes: &[u8]) -> bool {
    let holds = |content: &[u8]| content.windows(bytes.len()).any(|window| window == bytes);
    segments(disk).iter().any(|(_, content)| {
        let seed = crate::format::Seed::new(crate::format::Fields(content).u64(24));
        let chunk =
            |at: usize| crate::chunk::Chunk::open(content.get(at..)?, seed, None, at as u32);
        let mut chunks = (64..content.len()).step_by(8).filter_map(chunk);
        holds(content) || chunks.any(|(chunk, _)| holds(&chunk.bytes))
    })
}

#[test]
fn an_erased_message_goes_with_its_chunk() {
    for crash in [false, true] {
        COMPRESSED.set(true);
        let mut filled = Filled::new();
        for seq in 1..=60 {
            filled.append(&json(seq));
        }
        filled.seal();
        let secret = json(30).payload;
        filled.messages.remove(30, true).unwrap();
        assert!(is_in_segments(&filled.disk, &secret));
        assert!(filled.messages.is_wasteful());
        if crash {
            // The removal is durable, and nothing was copied yet.
            filled.checkpoint();
            filled = filled.reopen();
            assert!(is_in_segments(&filled.disk, &secret));
            assert!(filled.messages.is_wasteful());
        }
        filled.round(0);
        assert!(!is_in_segments(&filled.disk, &secret));
        assert!(is_in_segments(&filled.disk, &json(31).payload));
        assert!(!filled.messages.is_wasteful());
        assert_eq!(filled.messages.state().messages, 59);
        filled.check(json);
        filled = filled.reopen();
        assert!(!filled.messages.is_wasteful());
        filled.check(json);
        COMPRESSED.set(false);
    }
}

#[test]
fn a_message_erased_while_it_is_copied_goes_with_its_chunk() {
    COMPRESSED.set(true);
    let mut filled = Filled::new();
    for seq in 1..=20 {
        filled.append(&json(seq));
    }
    let mut job = filled.store.begin_copy(u32::MAX);
    add(&mut job, GROUP, &mut filled.messages);
    let copied = job.run().unwrap();
    filled.messages.remove(7, true).unwrap();
    filled.store.finish_copy(&copied);
    copied.relocate(GROUP, &mut filled.messages);
    filled.checkpoint();
    assert!(is_in_segments(&filled.disk, &json(7).payload));
    assert!(filled.messages.is_wasteful());
    filled.round(0);
    COMPRESSED.set(false);
    assert!(!is_in_segments(&filled.disk, &json(7).payload));
    filled.check(json);
}
