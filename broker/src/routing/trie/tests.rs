use proptest::prelude::*;

use super::*;

/// The rule, as plainly as it can be written.
fn matches_naively(filter: &str, subject: &str) -> bool {
    let mut subject = subject.split('.').peekable();
    for token in filter.split('.') {
        match (token, subject.next()) {
            (_, None) => return false,
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (literal, Some(found)) if literal == found => {}
            _ => return false,
        }
    }
    subject.peek().is_none()
}

fn token() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("a"), Just("b"), Just("cc"), Just("*")]
}

fn filter() -> impl Strategy<Value = String> {
    (prop::collection::vec(token(), 1..5), any::<bool>()).prop_map(|(mut tokens, open)| {
        if open {
            tokens.push(">");
        }
        tokens.join(".")
    })
}

fn subject() -> impl Strategy<Value = String> {
    prop::collection::vec(token(), 1..6).prop_map(|tokens| tokens.join("."))
}

fn sorted(mut items: Vec<usize>) -> Vec<usize> {
    items.sort_unstable();
    items
}

proptest! {
    #[test]
    fn finds_what_the_naive_rule_finds_while_subscriptions_come_and_go(
        filters in prop::collection::vec((filter(), 0..3usize), 1..40),
        removed in prop::collection::vec(any::<bool>(), 40),
        subjects in prop::collection::vec(subject(), 1..20),
    ) {
        let queue_of = |kind: usize| [None, Some(&b"q"[..]), Some(&b"r"[..])][kind];
        let mut trie: Trie<usize, u32> = Trie::default();
        for (at, (filter, kind)) in filters.iter().enumerate() {
            trie.insert(filter.as_bytes(), queue_of(*kind), SubId(at as u64), at);
        }
        for (at, (filter, kind)) in filters.iter().enumerate().filter(|(at, _)| removed[*at]) {
            prop_assert_eq!(
                trie.remove(filter.as_bytes(), queue_of(*kind), SubId(at as u64)).map(|(at, _)| at),
                Some(at)
            );
        }
        for subject in &subjects {
            let expected = |kind: usize| -> Vec<usize> {
                let live = filters.iter().enumerate().filter(|(at, _)| !removed[*at]);
                live.filter(|(_, (filter, k))| *k == kind && matches_naively(filter, subject))
                    .map(|(at, _)| at)
                    .collect()
            };
            let mut found = Matches::default();
            trie.lookup(subject.as_bytes(), &mut found);
            prop_assert_eq!(sorted(found.plain), expected(0));
            prop_assert!(found.queues.iter().all(|group| !group.members.is_empty()));
            for kind in [1, 2] {
                let name = queue_of(kind).unwrap();
                let groups: Vec<_> = found.queues.iter().filter(|g| *g.name == *name).collect();
                let members = groups.first().map_or(Vec::new(), |g| g.members.clone());
                prop_assert!(groups.len() < 2);
                prop_assert_eq!(sorted(members), expected(kind));
                prop_assert_eq!(
                    trie.has_interest(subject.as_bytes(), Some(name)),
                    !expected(kind).is_empty()
                );
            }
            prop_assert_eq!(trie.has_interest(subject.as_bytes(), None), !expected(0).is_empty());
        }
    }

    #[test]
    fn an_emptied_trie_keeps_nothing(filters in prop::collection::vec(filter(), 1..40)) {
        let mut trie: Trie<usize, u32> = Trie::default();
        for (at, filter) in filters.iter().enumerate() {
            trie.insert(filter.as_bytes(), None, SubId(at as u64), at);
            trie.listen(filter.as_bytes(), at as u32, Announce::Each);
        }
        for (at, filter) in filters.iter().enumerate() {
            trie.remove(filter.as_bytes(), None, SubId(at as u64)).unwrap();
            prop_assert!(trie.unlisten(filter.as_bytes(), at as u32, Announce::Each).is_some());
            prop_assert!(trie.unlisten(filter.as_bytes(), at as u32, Announce::Each).is_none());
        }
        prop_assert!(trie.is_empty());
        prop_assert_eq!(trie.root.width(), 0);
    }
}

#[test]
fn a_published_subject_is_literal_text() {
    let mut trie: Trie<u8, u8> = Trie::default();
    trie.insert(b"foo.*", None, SubId(1), 1);
    trie.insert(b"foo.bar", None, SubId(2), 2);
    trie.insert(b">", None, SubId(3), 3);
    let mut found = Matches::default();
    trie.lookup(b"foo.*", &mut found);
    assert_eq!(found.plain, [3, 1]);
    for nothing in [&b"foo..bar"[..], b"", b".foo", b"foo."] {
        found.clear();
        trie.lookup(nothing, &mut found);
        assert!(found.is_empty());
    }
}

#[test]
fn filters_of_two_thousand_tokens_are_walked_and_dropped() {
    let filter = ["*"; 2048].join(".");
    let mut trie: Trie<u8, u8> = Trie::default();
    trie.insert(filter.as_bytes(), None, SubId(1), 1);
    assert!(trie.has_any_interest(["x"; 2048].join(".").as_bytes()));
    assert_eq!(
        trie.remove(filter.as_bytes(), None, SubId(1)),
        Some((1, -1))
    );
}

#[test]
fn filters_of_any_length_come_and_go() {
    let long = "a.".repeat(200_000) + "b";
    let wild = "*.".repeat(200_000) + ">";
    let mut trie: Trie<usize, u32> = Trie::default();
    for filter in [&long, &wild] {
        trie.listen(filter.as_bytes(), 1, Announce::Each);
        trie.listen(b"other", 1, Announce::Each);
        assert!(
            trie.unlisten(filter.as_bytes(), 1, Announce::Each)
                .is_some()
        );
        assert_eq!(trie.root.width(), 1);
        assert!(trie.unlisten(b"other", 1, Announce::Each).is_some());
    }
    trie.listen(long.as_bytes(), 1, Announce::Each);
    assert!(trie.has_any_interest(long.as_bytes()));
}

#[test]
fn removals_leave_nothing_behind_and_take_nothing_along() {
    let filters: [&[u8]; 6] = [b"a.b.c", b"a.b", b"a.b.c.>", b"a.*.c", b">", b"a"];
    let mut trie: Trie<usize, u32> = Trie::default();
    for first in 0..filters.len() {
        for filter in filters {
            trie.listen(filter, 1, Announce::Each);
        }
        for at in 0..filters.len() {
            assert!(
                trie.unlisten(filters[(first + at) % filters.len()], 1, Announce::Each)
                    .is_some()
            );
            for left in at + 1..filters.len() {
                let left = filters[(first + left) % filters.len()];
                assert!(trie.root.place(left).is_some_and(|leaf| leaf.is_some()));
            }
        }
        assert_eq!(trie.root.width(), 0);
    }
}

/// Everything that other nodes are told, in order.
fn shown(trie: &Trie<usize, u32>) -> Vec<(String, Option<String>, i32)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut all = Vec::new();
    trie.show(&mut |filter, queue, count| all.push((text(filter), queue.map(text), count)));
    all.sort();
    all
}

proptest! {
    #[test]
    fn what_is_shown_is_the_sum_of_what_was_told(
        filters in prop::collection::vec((filter(), 0..5usize), 1..40),
        removed in prop::collection::vec(any::<bool>(), 40),
    ) {
        let queues = [None, Some(&b"q"[..]), None, None, Some(&b"service"[..])];
        let announce = [Announce::Each, Announce::Each, Announce::Each, Announce::No, Announce::One(b"service")];
        let mut trie: Trie<usize, u32> = Trie::default();
        let mut told = std::collections::BTreeMap::new();
        for (at, (filter, kind)) in filters.iter().enumerate() {
            let delta = match kind {
                0 | 1 => trie.insert(filter.as_bytes(), queues[*kind], SubId(at as u64), at),
                kind => trie.listen(filter.as_bytes(), at as u32, announce[*kind]),
            };
            *told.entry((filter.clone(), queues[*kind])).or_insert(0) += delta;
        }
        for (at, (filter, kind)) in filters.iter().enumerate().filter(|(at, _)| removed[*at]) {
            let delta = match kind {
                0 | 1 => trie.remove(filter.as_bytes(), queues[*kind], SubId(at as u64)).unwrap().1,
                kind => trie.unlisten(filter.as_bytes(), at as u32, announce[*kind]).unwrap(),
            };
            *told.entry((filter.clone(), queues[*kind])).or_insert(0) += delta;
        }
        let told: Vec<_> = told
            .into_iter()
            .filter(|(_, count)| *count != 0)
            .map(|((filter, queue), count)| {
                (filter, queue.map(|queue| String::from_utf8(queue.to_vec()).unwrap()), count)
            })
            .collect();
        prop_assert_eq!(shown(&trie), told);
    }

    #[test]
    fn other_nodes_are_found_by_what_they_listen_to(
        filters in prop::collection::vec((filter(), 0..2usize, 0..3u64, 0..3u32), 1..40),
        subjects in prop::collection::vec(subject(), 1..20),
    ) {
        let queues = [None, Some(&b"q"[..])];
        let mut trie: Trie<usize, u32> = Trie::default();
        let mut model = std::collections::BTreeMap::new();
        for (filter, kind, peer, weight) in &filters {
            trie.set_remote(filter.as_bytes(), queues[*kind], PeerId(*peer), *weight);
            model.insert((filter.clone(), *kind, *peer), *weight);
        }
        for subject in &subjects {
            let matching = |wanted: usize| {
                let all = model.iter().filter(move |((_, kind, _), weight)| *kind == wanted && **weight > 0);
                all.filter(|((filter, ..), _)| matches_naively(filter, subject))
            };
            let mut found = Matches::default();
            trie.lookup(subject.as_bytes(), &mut found);
            let mut plain: Vec<_> = matching(0).map(|((_, _, peer), _)| *peer).collect();
            plain.sort_unstable();
            plain.dedup();
            let mut peers: Vec<_> = found.peers.iter().map(|peer| peer.0).collect();
            peers.sort_unstable();
            prop_assert_eq!(peers, plain);
            let mut weights: Vec<_> = matching(1).map(|((_, _, peer), weight)| (*peer, *weight)).collect();
            weights.sort_unstable();
            let groups = found.queues.iter().flat_map(|group| &group.remote);
            let mut remote: Vec<_> = groups.map(|(peer, weight)| (peer.0, *weight)).collect();
            remote.sort_unstable();
            prop_assert_eq!(remote, weights);
            prop_assert_eq!(trie.has_interest(subject.as_bytes(), None), matching(0).next().is_some());
        }
        for (filter, kind, peer) in model.keys() {
            trie.set_remote(filter.as_bytes(), queues[*kind], PeerId(*peer), 0);
        }
        prop_assert_eq!(trie.root.width(), 0);
    }
}

#[test]
fn plain_interest_is_told_often_enough_but_not_for_ever() {
    let mut trie: Trie<usize, u32> = Trie::default();
    let told: i32 = (0..1000)
        .map(|id| trie.insert(b"a", None, SubId(id), 1))
        .sum();
    assert_eq!(told, 64);
    assert_eq!(shown(&trie), [("a".to_owned(), None, 64)]);
    let told: i32 = (0..1000)
        .map(|id| trie.remove(b"a", None, SubId(id)).unwrap().1)
        .sum();
    assert_eq!(told, -64);
}
