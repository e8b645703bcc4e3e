//! What a stream counts, against a model that is nothing but a list of messages and nats-server's formulas.

use super::rig::{Rig, block};

#[derive(Clone, Debug)]
struct Kept {
    seq: u64,
    subject: String,
    headers: usize,
    payload: usize,
}

/// The whole of a stream's limits that are about size and number.
#[derive(Clone, Copy, Debug)]
struct Limits {
    memory: bool,
    new: bool,
    max_msgs: i64,
    max_bytes: i64,
    max_msg_size: i64,
    per_subject: i64,
}

#[derive(Debug)]
struct Model {
    limits: Limits,
    kept: Vec<Kept>,
    last_seq: u64,
}

impl Model {
    fn size(&self, one: &Kept) -> i64 {
        let (subject, headers, payload) = (one.subject.len(), one.headers, one.payload);
        let size = match (self.limits.memory, headers) {
            (true, _) => 16 + subject + headers + payload,
            (false, 0) => 22 + subject + payload + 8,
            (false, _) => 22 + subject + 4 + headers + payload + 8,
        };
        size as i64
    }

    fn bytes(&self) -> i64 {
        self.kept.iter().map(|one| self.size(one)).sum()
    }

    fn over(&self, number: usize, bytes: i64) -> bool {
        let limits = self.limits;
        (limits.max_msgs > 0 && number as i64 > limits.max_msgs)
            || (limits.max_bytes > 0 && bytes > limits.max_bytes)
    }

    /// Drops what is too much, oldest first.
    fn trim(&mut self) {
        let most = self.limits.per_subject;
        for at in (0..self.kept.len()).rev() {
            let subject = self.kept[at].subject.clone();
            let newer = self.kept[at..].iter().filter(|one| one.subject == subject);
            if most > 0 && newer.count() as i64 > most {
                self.kept.remove(at);
            }
        }
        while self.over(self.kept.len(), self.bytes()) {
            self.kept.remove(0);
        }
    }

    /// The code that a publish is refused with, 0 for none.
    fn publish(&mut self, subject: &str, headers: usize, payload: usize) -> u32 {
        let limits = self.limits;
        if limits.max_msg_size >= 0 && (headers + payload) as i64 > limits.max_msg_size {
            return 10054;
        }
        let one = Kept {
            seq: self.last_seq + 1,
            subject: subject.to_owned(),
            headers,
            payload,
        };
        let mut same = self.kept.iter().filter(|old| old.subject == subject);
        let oldest = same.next().map_or(0, |old| self.size(old));
        let full = limits.per_subject > 0
            && self
                .kept
                .iter()
                .filter(|old| old.subject == subject)
                .count() as i64
                >= limits.per_subject;
        // What replaces the oldest of its subject passes if it is not larger than that.
        let size = self.size(&one);
        let number = self.over(self.kept.len() + 1, 0) && !full;
        let bytes = self.over(0, self.bytes() + size) && !(full && oldest >= size);
        if limits.new && (number || bytes) {
            return 10077;
        }
        self.last_seq += 1;
        self.kept.push(one);
        self.trim();
        0
    }
}

fn config(limits: &Limits) -> String {
    let Limits {
        memory,
        new,
        max_msgs,
        max_bytes,
        max_msg_size,
        per_subject,
    } = *limits;
    let (storage, discard) = (
        if memory { "memory" } else { "file" },
        if new { "new" } else { "old" },
    );
    format!(
        r#"{{"name":"S","subjects":["s.>"],"storage":"{storage}","discard":"{discard}","max_msgs":{max_msgs},"max_bytes":{max_bytes},"max_msg_size":{max_msg_size},"max_msgs_per_subject":{per_subject}}}"#
    )
}

fn check(rig: &mut Rig, model: &Model, step: usize) {
    let info: serde_json::Value = serde_json::from_str(&rig.api("STREAM.INFO.S", "")).unwrap();
    let state = &info["state"];
    assert_eq!(state["messages"], model.kept.len(), "{step} {model:?}");
    assert_eq!(state["bytes"], model.bytes(), "{step} {model:?}");
    assert_eq!(state["last_seq"], model.last_seq, "{step} {model:?}");
    if let Some(first) = model.kept.first() {
        assert_eq!(state["first_seq"], first.seq, "{step} {model:?}");
    }
    let account: serde_json::Value = serde_json::from_str(&rig.api("INFO", "")).unwrap();
    let used = if model.limits.memory {
        "memory"
    } else {
        "storage"
    };
    assert_eq!(account[used], model.bytes(), "{step}");
    let reserved = model.limits.max_bytes.max(0);
    assert_eq!(account[format!("reserved_{used}")], reserved, "{step}");
}

fn run(seed: u64) {
    let mut random = seed;
    let mut below = |end: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % end
    };
    let mut limits = Limits {
        memory: seed.is_multiple_of(2),
        new: seed % 4 < 2,
        max_msgs: -1,
        max_bytes: -1,
        max_msg_size: -1,
        per_subject: -1,
    };
    let mut rig = Rig::new();
    rig.stream(&config(&limits));
    let mut model = Model {
        limits,
        kept: Vec::new(),
        last_seq: 0,
    };
    for step in 0..300 {
        match below(14) {
            0 => {
                limits.max_msgs = [-1, 5, 12][below(3) as usize];
                limits.max_bytes = [-1, 300, 700, 701, 1500][below(5) as usize];
                limits.max_msg_size = [-1, 60, 90][below(3) as usize];
                limits.per_subject = [-1, 1, 3][below(3) as usize];
                let answer = rig.api("STREAM.UPDATE.S", &config(&limits));
                assert!(!answer.contains("\"error\""), "{answer}");
                model.limits = limits;
                model.trim();
            }
            1 if !model.kept.is_empty() => {
                let at = below(model.kept.len() as u64) as usize;
                let seq = model.kept.remove(at).seq;
                rig.api("STREAM.MSG.DELETE.S", &format!(r#"{{"seq":{seq}}}"#));
            }
            2 => {
                rig.api("STREAM.PURGE.S", r#"{"filter":"s.a","keep":1}"#);
                let last = model.kept.iter().rposition(|one| one.subject == "s.a");
                let last = last.map(|at| model.kept[at].seq);
                model
                    .kept
                    .retain(|one| one.subject != "s.a" || Some(one.seq) == last);
            }
            3 if !limits.memory => rig = rig.crash(seed + step as u64),
            _ => {
                let subject = ["s.a", "s.bb", "s.ccc"][below(3) as usize];
                let value = "h".repeat(below(20) as usize + 1);
                let headers = if below(2) == 0 {
                    String::new()
                } else {
                    block(&[("X", &value)])
                };
                let payload = "p".repeat(below(80) as usize);
                let answer = rig.ask(subject, &headers, &payload).payload;
                let code = model.publish(subject, headers.len(), payload.len());
                let refused = answer.contains(&format!("\"err_code\":{code},"));
                assert_eq!(
                    code != 0,
                    answer.contains("\"error\""),
                    "{step} {answer} {model:?}"
                );
                assert!(code == 0 || refused, "{step} {answer} {code}");
            }
        }
        check(&mut rig, &model, step as usize);
    }
}

#[test]
fn counts_and_limits_are_those_of_the_formulas() {
    (0..24).for_each(run);
}
