//! The filters of one consumer as a set of subjects.

use jetwake_protocol::subject;
use jetwake_storage::KeyFilter;

/// The union of a consumer's filters; without any, all subjects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    patterns: Vec<Box<[u8]>>,
    literal: bool,
    everything: bool,
}

impl Filter {
    /// The union of these patterns.
    pub(super) fn new<'a>(patterns: impl Iterator<Item = &'a [u8]>) -> Self {
        let patterns: Vec<Box<[u8]>> = patterns.map(Box::from).collect();
        let everything = patterns.is_empty() || patterns.iter().any(|pattern| **pattern == *b">");
        let literal = patterns.len() == 1 && !subject::has_wildcards(&patterns[0]);
        Self {
            patterns,
            literal,
            everything,
        }
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
    fn is_covered_by_a_wider_pattern_only() {
        assert!(filter(&["a.b", "a.c"]).is_covered_by(b"a.*"));
        assert!(!filter(&["a.b", "b.c"]).is_covered_by(b"a.*"));
        assert!(!filter(&[]).is_covered_by(b"a.*"));
        assert!(filter(&[]).is_covered_by(b">"));
    }
}
