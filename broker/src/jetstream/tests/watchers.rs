//! Many consumers with filters on one stream: what each still has to see is exact after every step.

use jetwake_protocol::subject;
use serde_json::{Value, json};

use super::rig::Rig;

const FILTERS: [&[&str]; 9] = [
    &[],
    &["k.a.1"],
    &["k.a.*"],
    &["k.*.2"],
    &["k.>"],
    &["k.b.1", "k.b.2"],
    &["k.c.>", "k.a.1"],
    &["k.b"],
    &["k.c.3"],
];

#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn subject(&mut self) -> String {
        let (group, number) = (["a", "b", "c"][self.below(3)], self.below(4));
        format!("k.{group}.{number}")
    }
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

impl Rig {
    fn put_consumer(&mut self, name: &str, filters: &[&str], push: bool, action: &str) {
        let mut config = json!({
            "durable_name": name, "name": name, "ack_policy": "explicit",
            "filter_subjects": filters, "max_ack_pending": 50,
        });
        if push {
            config["deliver_subject"] = json!(format!("nobody.{name}"));
        }
        let body = json!({"stream_name": "S", "config": config, "action": action});
        let answer = self.api(&format!("CONSUMER.CREATE.S.{name}"), &body.to_string());
        assert!(!answer.contains("\"error\""), "{answer}");
    }

    /// Sequence and subject of every message.
    fn stored(&mut self) -> Vec<(u64, String)> {
        let (_, first, last) = self.state("S");
        let mut found = Vec::new();
        for seq in first..=last {
            let answer = parse(&self.api("STREAM.MSG.GET.S", &json!({"seq": seq}).to_string()));
            if let Some(subject) = answer["message"]["subject"].as_str() {
                found.push((seq, subject.to_owned()));
            }
        }
        found
    }

    fn check(&mut self, names: &[String], step: usize) {
        let stored = self.stored();
        for name in names {
            let info = parse(&self.api(&format!("CONSUMER.INFO.S.{name}"), ""));
            let filters: Vec<&str> = match &info["config"] {
                one if one["filter_subject"].is_string() => {
                    vec![one["filter_subject"].as_str().unwrap()]
                }
                many => many["filter_subjects"]
                    .as_array()
                    .map(|all| all.iter().map(|one| one.as_str().unwrap()).collect())
                    .unwrap_or_default(),
            };
            let wanted = |subject: &str| {
                filters.is_empty()
                    || filters
                        .iter()
                        .any(|one| subject::matches(one.as_bytes(), subject.as_bytes()))
            };
            let delivered = info["delivered"]["stream_seq"].as_u64().unwrap();
            let left = stored
                .iter()
                .filter(|(seq, subject)| *seq > delivered && wanted(subject))
                .count();
            assert_eq!(
                info["num_pending"],
                json!(left),
                "{name} at step {step}: {info}"
            );
        }
    }

    fn fetch_and_ack(&mut self, name: &str, random: &mut Random) {
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.S.{name}");
        let body = json!({"batch": 1 + random.below(4), "no_wait": true}).to_string();
        self.out.sent.clear();
        self.send(&next, "_INBOX.f", "", &body);
        self.settle();
        let replies: Vec<String> = self
            .take()
            .into_iter()
            .filter(|one| one.route == "_INBOX.f" && !one.reply.is_empty())
            .map(|one| one.reply)
            .collect();
        for reply in replies {
            if random.below(3) > 0 {
                self.send(&reply, "", "", "");
            }
        }
        self.settle();
    }

    fn random_step(&mut self, names: &[String], random: &mut Random) {
        let subject = random.subject();
        match random.below(16) {
            0 => {
                let name = &names[random.below(names.len())];
                let filters = FILTERS[random.below(FILTERS.len())];
                let push = name.starts_with('p');
                self.put_consumer(name, filters, push, "update");
            }
            1 => {
                let body = [
                    json!({"filter": subject}),
                    json!({"filter": "k.*.1", "keep": 1}),
                    json!({"filter": "k.b.>", "keep": 2}),
                    json!({"keep": 20}),
                ];
                let body = body[random.below(4)].to_string();
                self.api("STREAM.PURGE.S", &body);
            }
            2 => {
                let (_, first, last) = self.state("S");
                let seq = first + random.below((last + 1 - first) as usize + 1) as u64;
                self.api("STREAM.PURGE.S", &json!({"seq": seq}).to_string());
            }
            3 => {
                let (_, first, last) = self.state("S");
                let seq = first + random.below((last + 1 - first) as usize + 1) as u64;
                self.api("STREAM.MSG.DELETE.S", &json!({"seq": seq}).to_string());
            }
            4 => {
                self.publish(&subject, &[("Nats-Rollup", "sub")], "r");
            }
            5..8 => {
                let name = &names[random.below(names.len())];
                if name.starts_with('c') {
                    self.fetch_and_ack(name, random);
                }
            }
            _ => {
                self.publish(&subject, &[], "x");
            }
        }
    }
}

fn run(seed: u64, retention: &str) {
    let mut random = Random(seed);
    let mut rig = Rig::new();
    rig.stream(&format!(
        r#"{{"name":"S","subjects":["k.>"],"retention":"{retention}","allow_rollup_hdrs":true,"max_msgs":60}}"#
    ));
    let mut names = Vec::new();
    for (number, filters) in FILTERS.iter().enumerate() {
        for kind in ["p", "c"] {
            let name = format!("{kind}{number}");
            rig.put_consumer(&name, filters, kind == "p", "create");
            names.push(name);
        }
    }
    for step in 0..150 {
        rig.random_step(&names, &mut random);
        if step % 5 == 0 {
            rig.check(&names, step);
        }
        if step % 50 == 49 {
            rig = rig.crash(seed);
            rig.check(&names, step);
        }
    }
}

#[test]
fn pending_counts_are_exact_with_limits() {
    (1..6).for_each(|seed| run(seed, "limits"));
}

#[test]
fn pending_counts_are_exact_with_interest() {
    (1..6).for_each(|seed| run(seed, "interest"));
}
