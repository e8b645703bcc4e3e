//! Which subjects the streams of an account own: says whether a filter overlaps with any of them, at the cost of the
//! filter and of what is near it, however many streams there are.
//!
//! A tree with one level per token. Nodes lie in one list and are reused; nothing recurses, because a filter may be as
//! long as a request.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

const ROOT: u32 = 0;

#[derive(Debug, Default)]
struct Node {
    literal: HashMap<Box<[u8]>, u32, FixedState>,
    star: Option<u32>,
    /// Owners whose filter ends here.
    ends: Vec<u32>,
    /// Owners of everything below.
    rest: Vec<u32>,
}

impl Node {
    fn children(&self) -> impl Iterator<Item = u32> {
        self.literal.values().copied().chain(self.star)
    }

    fn is_empty(&self) -> bool {
        self.literal.is_empty()
            && self.star.is_none()
            && self.ends.is_empty()
            && self.rest.is_empty()
    }
}

/// The filters of one account's streams.
#[derive(Debug)]
pub(crate) struct Subjects {
    nodes: Vec<Node>,
    free: Vec<u32>,
}

impl Default for Subjects {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
            free: Vec::new(),
        }
    }
}

fn first_token(filter: &[u8]) -> (&[u8], Option<&[u8]>) {
    match filter.iter().position(|byte| *byte == b'.') {
        Some(dot) => (&filter[..dot], Some(&filter[dot + 1..])),
        None => (filter, None),
    }
}

fn other(owners: &[u32], except: u32) -> bool {
    owners.iter().any(|owner| *owner != except)
}

impl Subjects {
    /// A stream owns what `filter` matches.
    pub(crate) fn add(&mut self, filter: &[u8], owner: u32) {
        let mut at = ROOT;
        let mut rest = Some(filter);
        while let Some(filter) = rest {
            let (token, tail) = first_token(filter);
            if token == b">" && tail.is_none() {
                return self.nodes[at as usize].rest.push(owner);
            }
            at = self.child(at, token);
            rest = tail;
        }
        self.nodes[at as usize].ends.push(owner);
    }

    fn child(&mut self, at: u32, token: &[u8]) -> u32 {
        let node = &self.nodes[at as usize];
        let known = match token {
            b"*" => node.star,
            _ => node.literal.get(token).copied(),
        };
        if let Some(known) = known {
            return known;
        }
        let new = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(Node::default());
            self.nodes.len() as u32 - 1
        });
        let node = &mut self.nodes[at as usize];
        if token == b"*" {
            node.star = Some(new);
        } else {
            node.literal.insert(token.into(), new);
        }
        new
    }

    /// A stream does not own it any more.
    pub(crate) fn remove(&mut self, filter: &[u8], owner: u32) {
        let mut path = Vec::new();
        let mut at = ROOT;
        let mut rest = Some(filter);
        let mut below = false;
        while let Some(filter) = rest {
            let (token, tail) = first_token(filter);
            below = token == b">" && tail.is_none();
            if below {
                break;
            }
            let node = &self.nodes[at as usize];
            let next = match token {
                b"*" => node.star,
                _ => node.literal.get(token).copied(),
            };
            let Some(next) = next else { return };
            path.push((at, token));
            at = next;
            rest = tail;
        }
        let node = &mut self.nodes[at as usize];
        let owners = if below {
            &mut node.rest
        } else {
            &mut node.ends
        };
        if let Some(place) = owners.iter().position(|known| *known == owner) {
            owners.swap_remove(place);
        }
        self.prune(at, &path);
    }

    /// Frees the nodes at the end of a path that lead nowhere any more.
    fn prune(&mut self, mut at: u32, path: &[(u32, &[u8])]) {
        for (parent, token) in path.iter().rev() {
            if !self.nodes[at as usize].is_empty() {
                return;
            }
            self.nodes[at as usize] = Node::default();
            self.free.push(at);
            let node = &mut self.nodes[*parent as usize];
            if *token == b"*" {
                node.star = None;
            } else {
                node.literal.remove(*token);
            }
            at = *parent;
        }
    }

    /// Whether a stream other than `except` owns a subject that `filter` matches.
    pub(crate) fn overlaps(&self, filter: &[u8], except: u32) -> bool {
        let mut open = vec![(ROOT, Some(filter))];
        while let Some((at, rest)) = open.pop() {
            let node = &self.nodes[at as usize];
            let Some(rest) = rest else {
                if other(&node.ends, except) {
                    return true;
                }
                continue;
            };
            let (token, tail) = first_token(rest);
            if other(&node.rest, except) {
                return true;
            }
            match (token, tail) {
                (b">", None) if self.any_below(at, except) => return true,
                (b">", None) => {}
                (b"*", _) => open.extend(node.children().map(|next| (next, tail))),
                _ => {
                    let literal = node.literal.get(token).copied();
                    open.extend(
                        literal
                            .into_iter()
                            .chain(node.star)
                            .map(|next| (next, tail)),
                    );
                }
            }
        }
        false
    }

    fn any_below(&self, at: u32, except: u32) -> bool {
        let mut open: Vec<u32> = self.nodes[at as usize].children().collect();
        while let Some(at) = open.pop() {
            let node = &self.nodes[at as usize];
            if other(&node.ends, except) || other(&node.rest, except) {
                return true;
            }
            open.extend(node.children());
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use jetwake_protocol::subject;

    use super::*;

    #[test]
    fn says_what_comparing_all_would_say() {
        const TOKENS: [&str; 4] = ["a", "b", "*", "c"];
        let mut random = 1_u64;
        let mut below = |end: usize| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % end
        };
        let mut subjects = Subjects::default();
        let mut all: Vec<(String, u32)> = Vec::new();
        for step in 0..20_000 {
            let mut filter: Vec<&str> = (0..=below(4)).map(|_| TOKENS[below(4)]).collect();
            if below(4) == 0 {
                filter.push(">");
            }
            let filter = filter.join(".");
            let except = below(8) as u32;
            let slow = all.iter().any(|(known, owner)| {
                *owner != except && subject::overlap(known.as_bytes(), filter.as_bytes())
            });
            assert_eq!(
                subjects.overlaps(filter.as_bytes(), except),
                slow,
                "{filter}"
            );
            if all.len() > step / 300 || (below(3) == 0 && !all.is_empty()) {
                let (known, owner) = all.swap_remove(below(all.len()));
                subjects.remove(known.as_bytes(), owner);
            } else {
                subjects.add(filter.as_bytes(), except);
                all.push((filter, except));
            }
        }
        for (known, owner) in all {
            subjects.remove(known.as_bytes(), owner);
        }
        assert!(subjects.nodes[0].is_empty());
        assert_eq!(subjects.free.len(), subjects.nodes.len() - 1);
    }

    #[test]
    fn a_filter_as_long_as_a_request_is_no_trouble() {
        let long = vec!["a"; 200_000].join(".");
        let mut subjects = Subjects::default();
        subjects.add(long.as_bytes(), 1);
        assert!(subjects.overlaps(b"a.>", 2));
        assert!(!subjects.overlaps(b"a.>", 1));
        assert!(subjects.overlaps(long.as_bytes(), 2));
        subjects.remove(long.as_bytes(), 1);
        assert!(!subjects.overlaps(b"a.>", 2));
    }
}
