//! The cluster's name, which may be made up until somebody knows a better one.

use crate::server::ClusterName;

/// What follows when two nodes compare their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meeting {
    /// It is the same name, or the other side takes ours.
    Keep,
    /// We take theirs.
    Adopt,
    /// Both were configured, and differ.
    Conflict,
}

/// A made-up name yields to a configured one; of two made-up ones the greater text wins.
pub(super) fn meet(ours: &ClusterName, theirs: &ClusterName) -> Meeting {
    match (ours.dynamic, theirs.dynamic) {
        (false, false) if ours.text != theirs.text => Meeting::Conflict,
        (true, false) => Meeting::Adopt,
        (true, true) if ours.text < theirs.text => Meeting::Adopt,
        _ => Meeting::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str, dynamic: bool) -> ClusterName {
        let text = text.to_owned();
        ClusterName { text, dynamic }
    }

    #[test]
    fn made_up_names_yield() {
        let (configured, other) = (name("A", false), name("B", false));
        let (small, great) = (name("C", true), name("D", true));
        assert_eq!(meet(&configured, &configured), Meeting::Keep);
        assert_eq!(meet(&configured, &other), Meeting::Conflict);
        assert_eq!(meet(&configured, &great), Meeting::Keep);
        assert_eq!(meet(&great, &configured), Meeting::Adopt);
        assert_eq!(meet(&small, &great), Meeting::Adopt);
        assert_eq!(meet(&great, &small), Meeting::Keep);
        assert_eq!(meet(&small, &small), Meeting::Keep);
    }
}
