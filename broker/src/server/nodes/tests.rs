//! Three routers whose links are buffers: what arrives when is up to the test.

mod harness;

use std::collections::BTreeMap;

use super::*;
use crate::jetstream::tag::{Tag, TagKind};
use crate::routing::SubId;
use harness::{Cluster, Got, Random};

/// A subscription as the model knows it.
struct Sub {
    client: usize,
    sid: u64,
    filter: &'static str,
    queue: Option<&'static str>,
}

fn matches(filter: &str, subject: &str) -> bool {
    let mut trie: crate::routing::Trie<(), ()> = crate::routing::Trie::default();
    trie.insert(filter.as_bytes(), None, SubId(1), ());
    trie.has_any_interest(subject.as_bytes())
}

const CLIENTS: usize = 9;

/// Publishes and says who got it: by client and subscription.
fn publish(cluster: &mut Cluster, from: usize, subject: &str, id: u64) -> Vec<(usize, Got)> {
    let payload = id.to_string();
    let size = payload.len();
    cluster.says(
        from,
        &format!("PUB {subject} inbox.{from} {size}\r\n{payload}\r\n"),
    );
    cluster.settle();
    let mut all = Vec::new();
    for client in 0..CLIENTS {
        all.extend(cluster.read(client).into_iter().map(|got| (client, got)));
    }
    assert!(
        all.iter()
            .all(|(_, got)| got.status.is_some() || got.payload == payload)
    );
    all
}

fn check(subs: &[Sub], from: usize, subject: &str, got: &[(usize, Got)]) {
    let matching = || subs.iter().filter(|sub| matches(sub.filter, subject));
    let mut plain = BTreeMap::new();
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for sub in matching() {
        match sub.queue {
            None => *plain.entry((sub.client, sub.sid)).or_insert(0) += 1,
            Some(queue) => groups.entry(queue).or_default().push((sub.client, sub.sid)),
        }
    }
    let nobody = plain.is_empty() && groups.is_empty();
    let refusals: Vec<_> = got.iter().filter(|(_, got)| got.status.is_some()).collect();
    assert_eq!(refusals.len(), usize::from(nobody), "{subject}: {got:?}");
    assert!(refusals.iter().all(|(client, _)| *client == from));
    for (client, got) in got.iter().filter(|(_, got)| got.status.is_none()) {
        let key = (*client, got.sid);
        if plain.remove(&key).is_some() {
            continue;
        }
        let group = groups.iter().find(|(_, members)| members.contains(&key));
        let name = *group
            .unwrap_or_else(|| panic!("{subject} came to {key:?}, unasked or twice"))
            .0;
        groups.remove(name);
    }
    assert!(plain.is_empty(), "{subject} did not come to {plain:?}");
    assert!(groups.is_empty(), "{subject} did not come to {groups:?}");
}

fn program(cluster: &mut Cluster, random: &mut Random) {
    const FILTERS: [&str; 7] = ["a.x", "a.y", "a.*", "*.x", ">", "b.>", "b.x.z"];
    const SUBJECTS: [&str; 6] = ["a.x", "a.y", "b.x", "b.x.z", "c.y", "c"];
    const QUEUES: [Option<&str>; 4] = [None, None, Some("q"), Some("r")];
    let mut subs: Vec<Sub> = Vec::new();
    for client in 0..CLIENTS {
        cluster.says(client, &format!("SUB inbox.{client} 1\r\n"));
    }
    for step in 2..400 {
        let client = random.below(CLIENTS);
        match random.below(10) {
            0..3 => {
                let sub = Sub {
                    client,
                    sid: step,
                    filter: FILTERS[random.below(FILTERS.len())],
                    queue: QUEUES[random.below(QUEUES.len())],
                };
                let queue = sub.queue.unwrap_or("");
                cluster.says(
                    client,
                    &format!("SUB {} {queue} {}\r\n", sub.filter, sub.sid),
                );
                subs.push(sub);
            }
            3..6 if !subs.is_empty() => {
                let sub = subs.swap_remove(random.below(subs.len()));
                cluster.says(sub.client, &format!("UNSUB {}\r\n", sub.sid));
            }
            6 => cluster.break_and_join(random.below(3), random.below(3)),
            _ => {
                cluster.settle();
                let subject = SUBJECTS[random.below(SUBJECTS.len())];
                let got = publish(cluster, client, subject, step);
                check(&subs, client, subject, &got);
            }
        }
        cluster.deliver_some(random);
    }
}

#[tokio::test]
async fn everybody_gets_everything_once_wherever_it_is_published() {
    for seed in 1..=8 {
        let mut cluster = Cluster::new(CLIENTS).await;
        let mut random = Random(seed);
        program(&mut cluster, &mut random);
    }
}

#[tokio::test]
async fn a_group_shares_by_its_members_wherever_they_are() {
    let mut cluster = Cluster::new(CLIENTS).await;
    // Clients 0, 3, 6 are at the first router, and so on.
    for (client, members) in [(0, 1), (1, 2), (2, 3)] {
        for sid in 0..members {
            cluster.says(client, &format!("SUB work.* q {sid}\r\n"));
        }
    }
    cluster.settle();
    for from in 3..6 {
        let mut counts = BTreeMap::new();
        for id in 0..3000 {
            let got = publish(&mut cluster, from, "work.a", id);
            assert_eq!(got.len(), 1);
            *counts.entry((got[0].0, got[0].1.sid)).or_insert(0) += 1;
        }
        // 500 each; the deviation is 20.
        assert_eq!(counts.len(), 6);
        assert!(
            counts.values().all(|count| (380..620).contains(count)),
            "{counts:?}"
        );
    }
}

#[tokio::test]
async fn a_fresh_inbox_is_known_where_the_request_arrives() {
    let mut cluster = Cluster::new(2).await;
    cluster.says(1, "SUB service 1\r\n");
    cluster.settle();
    for id in 0..100 {
        cluster.says(
            0,
            &format!("SUB in.{id} {id}\r\nUNSUB {id} 1\r\nPUB service in.{id} 0\r\n\r\n"),
        );
        cluster.deliver(0, 1);
        let request = cluster.read(1).remove(0);
        let reply = request.reply.unwrap();
        cluster.says(1, &format!("PUB {reply} 2\r\nok\r\n"));
        cluster.deliver(1, 0);
        let answer = cluster.read(0).remove(0);
        assert_eq!((answer.sid, &*answer.payload), (id, "ok"));
        cluster.settle();
        assert_eq!(cluster.listens(1, 0), 0, "the inbox was used up");
    }
}

#[tokio::test]
async fn a_member_that_has_gone_is_replaced_by_another_one_there() {
    let mut cluster = Cluster::new(2).await;
    cluster.says(1, "SUB s q 1\r\nSUB s q 2\r\n");
    cluster.settle();
    for sid in [1, 2] {
        cluster.says(0, "PUB s 1\r\nx\r\n");
        cluster.says(1, &format!("UNSUB {sid}\r\n"));
        cluster.deliver(0, 1);
        let got = cluster.read(1);
        let other: Vec<u64> = if sid == 1 { vec![2] } else { vec![] };
        assert_eq!(got.iter().map(|got| got.sid).collect::<Vec<_>>(), other);
        if sid == 1 {
            cluster.settle();
        }
    }
    // Nobody says so before the news has come.
    cluster.settle();
    cluster.says(0, "SUB r 1\r\nPUB s r 0\r\n\r\n");
    assert!(cluster.read(0)[0].status.is_some());
}

#[tokio::test]
async fn messages_between_nodes_count_on_both() {
    let mut cluster = Cluster::new(2).await;
    cluster.says(1, "SUB a 1\r\nSUB a 2\r\n");
    cluster.settle();
    cluster.says(0, "PUB a 5\r\nhello\r\nPUB a 3\r\nall\r\n");
    cluster.settle();
    assert_eq!(cluster.read(1).len(), 4);
    assert_eq!(cluster.traffic(0), [(2, 8), (2, 8)]);
    assert_eq!(cluster.traffic(1), [(2, 8), (4, 16)]);
}

#[tokio::test]
async fn what_is_routed_keeps_its_parts() {
    let mut cluster = Cluster::new(3).await;
    cluster.says(1, "SUB a.> 7\r\n");
    cluster.connect_without_headers(2);
    cluster.says(2, "SUB a.> 8\r\n");
    cluster.settle();
    let headers = "NATS/1.0\r\nK: v\r\n\r\n";
    let (size, total) = (headers.len(), headers.len() + 4);
    cluster.says(
        0,
        &format!("HPUB a.b re.ply {size} {total}\r\n{headers}body\r\n"),
    );
    cluster.settle();
    let got = cluster.read(1).remove(0);
    assert_eq!(got.subject, "a.b");
    assert_eq!(got.reply.as_deref(), Some("re.ply"));
    assert_eq!((&*got.headers, &*got.payload), (headers, "body"));
    let got = cluster.read(2).remove(0);
    assert_eq!((&*got.headers, &*got.payload), ("", "body"));
    // The subject that is looked up may be another one than the one that is shown.
    let mut deliverer = cluster.deliverer(0);
    assert!(deliverer.publish(0, b"a.route", (b"shown", b"r"), (b"", b"p")));
    deliverer.flush();
    cluster.settle();
    let got = cluster.read(1).remove(0);
    assert_eq!((&*got.subject, &*got.payload), ("shown", "p"));
}

fn tag(kind: TagKind) -> Tag {
    Tag {
        kind,
        stream: 1,
        consumer: 0,
    }
}

#[tokio::test]
async fn listeners_get_what_they_are_there_for() {
    let mut cluster = Cluster::new(3).await;
    let listen = |cluster: &mut Cluster, router, kind, subject: &str| {
        let mut deliverer = cluster.deliverer(router);
        deliverer.listen(0, subject.as_bytes(), tag(kind));
        deliverer.flush();
    };
    for router in [1, 2] {
        listen(&mut cluster, router, TagKind::Api, "$JS.API.>");
        listen(
            &mut cluster,
            router,
            TagKind::DirectGet,
            "$JS.API.DIRECT.GET.S",
        );
    }
    listen(&mut cluster, 1, TagKind::Publish, "orders.>");
    cluster.settle();
    let mut ask = |from: usize, subject: &str| {
        cluster.says(from, &format!("PUB {subject} r 0\r\n\r\n"));
        cluster.settle();
        [0, 1, 2].map(|router| cluster.heard(router).len())
    };
    assert_eq!(ask(0, "orders.x"), [0, 1, 0]);
    assert_eq!(ask(1, "orders.x"), [0, 1, 0]);
    assert_eq!(ask(2, "orders.x"), [0, 1, 0]);
    // Those who have it do it themselves; for the others one does.
    assert_eq!(ask(1, "$JS.API.INFO"), [0, 1, 0]);
    assert_eq!(ask(2, "$JS.API.INFO"), [0, 0, 1]);
    let mut sums = [0; 3];
    for _ in 0..64 {
        let heard = ask(0, "$JS.API.INFO");
        assert_eq!(heard.iter().sum::<usize>(), 1);
        (0..3).for_each(|at| sums[at] += heard[at]);
    }
    assert!(sums[1] > 0 && sums[2] > 0, "{sums:?}");
    // One of each: the listener of the API knows that direct gets are not for it.
    assert_eq!(ask(1, "$JS.API.DIRECT.GET.S"), [0, 2, 0]);
    assert_eq!(ask(0, "$JS.API.DIRECT.GET.S").iter().sum::<usize>(), 2);
}

#[tokio::test]
async fn what_is_listened_to_can_be_told_ahead_of_the_messages() {
    let mut cluster = Cluster::new(2).await;
    cluster.says(0, "SUB news 1\r\n");
    cluster.settle();
    let mut deliverer = cluster.deliverer(1);
    deliverer.listen(0, b"orders", tag(TagKind::Next));
    assert!(deliverer.publish(0, b"news", (b"news", b""), (b"", b"x")));
    deliverer.tell();
    cluster.settle();
    assert!(cluster.router(0).has_any_interest(0, b"orders"));
    assert!(cluster.read(0).is_empty());
    deliverer.flush();
    cluster.settle();
    assert_eq!(cluster.read(0).len(), 1);
}

#[tokio::test]
async fn a_watch_sees_subscriptions_on_other_nodes() {
    let mut cluster = Cluster::new(2).await;
    let router = cluster.router(0);
    let watch = tag(TagKind::Deliver);
    assert!(!router.watch(0, b"deliver", None, watch));
    cluster.says(1, "SUB deliver 1\r\n");
    assert!(!router.has_interest(0, b"deliver", None));
    cluster.settle();
    assert!(router.has_interest(0, b"deliver", None));
    assert!(!router.has_interest(0, b"deliver", Some(b"q")));
    assert_eq!(router.watched(0, watch), Some(true));
    assert_eq!(cluster.turned(0), 1);
    cluster.break_link(0, 1);
    assert_eq!(router.watched(0, watch), Some(false));
    assert_eq!(cluster.turned(0), 1);
    assert!(!router.has_any_interest(0, b"deliver"));
}

#[tokio::test]
async fn what_belongs_to_the_server_stays_there() {
    let mut cluster = Cluster::new(1).await;
    cluster.says(0, "SUB r 1\r\nPUB $SYS.REQ.USER.INFO r 0\r\n\r\n");
    assert_eq!(cluster.read(0).len(), 1);
    cluster.settle();
    assert_eq!(cluster.listens(1, 0), 1, "only the inbox is told");
}

#[tokio::test]
async fn a_node_that_joins_while_much_changes_knows_the_sum() {
    harness::race();
}
