//! Which of several connections between two nodes is the one that counts.
//!
//! Both may dial at the same time, and a connection may be dead on one side while the other still
//! believes in it. So one of the two decides alone: the one with the lower number. It opens at most one
//! link at a time and says so; the other follows.

use std::time::Duration;

use jetwake_protocol::peer::NodeId;

/// A link from which nothing came for this long may be replaced: pings come more often.
pub(super) const QUIET: Duration = Duration::from_millis(1500);

/// Whether `me` decides about links with `other`.
pub(super) fn decides(me: NodeId, other: NodeId) -> bool {
    me < other
}

/// A link that is open already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Existing<'e> {
    /// The other side's key, another one at each start of it.
    pub(super) server_id: &'e str,
    /// Since something came from there.
    pub(super) silence: Duration,
    /// It was closed; its end is not through yet.
    pub(super) closed: bool,
}

/// What the deciding side does with one more connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It becomes the link.
    Open,
    /// It becomes the link, and the old one is closed: it is dead.
    Replace,
    /// There is a link.
    Duplicate,
}

/// Decides about a connection with a node whose key is `server_id`.
pub(super) fn verdict(existing: Option<Existing<'_>>, server_id: &str) -> Verdict {
    match existing {
        None => Verdict::Open,
        // The process behind the old link is gone: two cannot have one number.
        Some(link) if link.closed || link.server_id != server_id => Verdict::Replace,
        Some(link) if link.silence >= QUIET => Verdict::Replace,
        Some(_) => Verdict::Duplicate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(server_id: &str, silence: u64) -> Option<Existing<'_>> {
        let silence = Duration::from_millis(silence);
        Some(Existing {
            server_id,
            silence,
            closed: false,
        })
    }

    #[test]
    fn exactly_one_of_two_nodes_decides() {
        let (a, b) = (NodeId(1), NodeId(2));
        assert!(decides(a, b) && !decides(b, a));
        assert!(!decides(a, a), "nobody is linked to itself");
    }

    #[test]
    fn the_first_connection_stays() {
        assert_eq!(verdict(None, "A"), Verdict::Open);
        assert_eq!(verdict(link("A", 0), "A"), Verdict::Duplicate);
        assert_eq!(verdict(link("A", 1499), "A"), Verdict::Duplicate);
    }

    #[test]
    fn a_dead_link_gives_way() {
        assert_eq!(verdict(link("A", 1500), "A"), Verdict::Replace);
        assert_eq!(verdict(link("A", 0), "B"), Verdict::Replace);
        let closed = Some(Existing {
            server_id: "A",
            silence: Duration::ZERO,
            closed: true,
        });
        assert_eq!(verdict(closed, "A"), Verdict::Replace);
    }
}
