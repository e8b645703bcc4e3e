//! The filters of one consumer as a set of subjects.

use jetwake_protocol::subject;
use jetwake_storage::{KeyFilter, MessageStore, Meta};

/// The union of a consumer's filters; without any, all subjects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    patterns: Vec<Box<[u8]>>,
    literal: bool,
    everything: bool,
    /// The patterns if none has wildcards and there are several: the store finds each by itself much faster than
    /// their union.
    literals: Vec<Literal>,
}

/// One subject.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Literal(Box<[u8]>);

impl KeyFilter for Literal {
    fn matches(&self, key: &[u8]) -> bool {
        *self.0 == *key
    }

    fn literal(&self) -> Option<&[u8]> {
        Some(&self.0)
    }

    fn is_everything(&self) -> bool {
        false
    }
}

impl Filter {
    /// The union of these patterns.
    pub(super) fn new<'a>(patterns: impl Iterator<Item = &'a [u8]>) -> Self {
        let patterns: Vec<Box<[u8]>> = patterns.map(Box::from).collect();
        let everything = patterns.is_empty() || patterns.iter().any(|pattern| **pattern == *b">");
        let literal = patterns.len() == 1 && !subject::has_wildcards(&patterns[0]);
        let mut literals = Vec::new();
        if patterns.len() > 1 && !patterns.iter().any(|one| subject::has_wildcards(one)) {
            literals.extend(patterns.iter().cloned().map(Literal));
            literals.sort_unstable();
            literals.dedup();
        }
        Self {
            patterns,
            literal,
            everything,
            literals,
        }
    }

    /// The first message at or after `from` that the filters let through.
    pub(super) fn next(&self, messages: &dyn MessageStore, from: u64) -> Option<Meta> {
        if self.literals.is_empty() {
            return messages.next_matching(from, self);
        }
        let each = self.literals.iter();
        let firsts = each.filter_map(|one| messages.next_matching(from, one));
        firsts.min_by_key(|meta| meta.seq)
    }

    /// How many messages at or after `from` the filters let through.
    pub(super) fn count(&self, messages: &dyn MessageStore, from: u64) -> u64 {
        if self.literals.is_empty() {
            return messages.count_matching(from, self);
        }
        let each = self.literals.iter();
        each.map(|one| messages.count_matching(from, one)).sum()
    }

    /// Whether everything that the filters let through matches `pattern` too.
    pub(super) fn is_covered_by(&self, pattern: &[u8]) -> bool {
        if self.patterns.is_empty() {
            return pattern == b">";
        }
        self.patterns
            .iter()
            .all(|own| subject::is_subset_of(own, pattern))
    }

    /// Whether the filters let everything through that matches `pattern`.
    pub(super) fn covers(&self, pattern: &[u8]) -> bool {
        let covers = |own: &[u8]| subject::is_subset_of(pattern, own);
        self.everything || self.patterns.iter().any(|own| covers(own))
    }
}

impl KeyFilter for Filter {
    fn matches(&self, key: &[u8]) -> bool {
        if self.everything {
            return true;
        }
        if self.literal {
            return *self.patterns[0] == *key;
        }
        self.patterns
            .iter()
            .any(|pattern| subject::matches(pattern, key))
    }

    fn literal(&self) -> Option<&[u8]> {
        self.literal.then(|| &*self.patterns[0])
    }

    fn is_everything(&self) -> bool {
        self.everything
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(patterns: &[&str]) -> Filter {
        Filter::new(patterns.iter().map(|pattern| pattern.as_bytes()))
    }

    #[test]
    fn matches_the_union() {
        assert!(filter(&[]).matches(b"a.b"));
        assert!(filter(&["a.*", "b"]).matches(b"a.b"));
        assert!(filter(&["a.*", "b"]).matches(b"b"));
        assert!(!filter(&["a.*", "b"]).matches(b"b.c"));
        assert_eq!(filter(&["a.b"]).literal(), Some(&b"a.b"[..]));
        assert_eq!(filter(&["a.*"]).literal(), None);
        assert!(filter(&["a", ">"]).is_everything());
    }

    #[test]
    fn several_literals_are_found_one_by_one() {
        let mut messages = jetwake_storage::MemoryMessages::new();
        for (at, key) in ["a", "x", "b", "a", "x"].into_iter().enumerate() {
            let insert = jetwake_storage::Insert {
                seq: at as u64 + 1,
                timestamp: 0,
                key: key.as_bytes(),
                headers: b"",
                payload: b"",
                location: None,
            };
            messages.insert(&insert).unwrap();
        }
        let filter = filter(&["b", "a", "none", "a"]);
        let found = |from| filter.next(&messages, from).map(|meta| meta.seq);
        let all: Vec<_> = (0..7).map(found).collect();
        assert_eq!(
            all,
            [Some(1), Some(1), Some(3), Some(3), Some(4), None, None]
        );
        assert_eq!(filter.count(&messages, 0), 3);
        assert_eq!(filter.count(&messages, 4), 1);
    }

    #[test]
    fn is_covered_by_a_wider_pattern_only() {
        assert!(filter(&["a.b", "a.c"]).is_covered_by(b"a.*"));
        assert!(!filter(&["a.b", "b.c"]).is_covered_by(b"a.*"));
        assert!(!filter(&[]).is_covered_by(b"a.*"));
        assert!(filter(&[]).is_covered_by(b">"));
    }
}
