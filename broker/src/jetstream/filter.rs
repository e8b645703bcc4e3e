//! Subject patterns as sets of keys, for the message store.

use jetwake_protocol::subject;
use jetwake_storage::KeyFilter;

/// The subjects that a pattern matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubjectFilter {
    pattern: Vec<u8>,
    literal: bool,
    everything: bool,
}

impl SubjectFilter {
    /// The subjects that match `pattern`; an invalid pattern matches nothing but itself.
    pub(crate) fn new(pattern: &[u8]) -> Self {
        Self {
            pattern: pattern.to_vec(),
            literal: !subject::has_wildcards(pattern),
            everything: pattern == b">",
        }
    }

    /// Just this subject.
    pub(crate) fn literal_of(subject: &[u8]) -> Self {
        Self {
            pattern: subject.to_vec(),
            literal: true,
            everything: false,
        }
    }

    /// All subjects.
    pub(crate) fn everything() -> Self {
        Self::new(b">")
    }
}

impl KeyFilter for SubjectFilter {
    fn matches(&self, key: &[u8]) -> bool {
        if self.literal {
            return self.pattern == key;
        }
        self.everything || subject::matches(&self.pattern, key)
    }

    fn literal(&self) -> Option<&[u8]> {
        self.literal.then_some(&self.pattern)
    }

    fn is_everything(&self) -> bool {
        self.everything
    }
}

/// The subjects that any of several patterns match.
#[derive(Clone, Debug)]
pub(crate) struct AnyOf(pub(crate) Vec<SubjectFilter>);

impl KeyFilter for AnyOf {
    fn matches(&self, key: &[u8]) -> bool {
        self.0.iter().any(|filter| filter.matches(key))
    }

    fn literal(&self) -> Option<&[u8]> {
        match self.0.as_slice() {
            [only] => only.literal(),
            _ => None,
        }
    }

    fn is_everything(&self) -> bool {
        self.0.iter().any(SubjectFilter::is_everything)
    }
}
