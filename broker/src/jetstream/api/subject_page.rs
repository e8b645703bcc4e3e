//! A page of the subjects of a stream in their order. Every page looks at all names, but only those of the page are
//! put in order and become strings.

use std::cmp::Ordering;

/// Subjects with their number of messages, in one buffer.
#[derive(Debug, Default)]
pub(super) struct Found {
    names: Vec<u8>,
    list: Vec<One>,
}

#[derive(Debug)]
struct One {
    start: usize,
    end: usize,
    count: u64,
}

fn name<'a>(names: &'a [u8], one: &One) -> &'a [u8] {
    names.get(one.start..one.end).unwrap_or(&[])
}

impl Found {
    /// Adds a subject.
    pub(super) fn add(&mut self, subject: &[u8], count: u64) {
        let start = self.names.len();
        self.names.extend_from_slice(subject);
        let end = self.names.len();
        self.list.push(One { start, end, count });
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Those at `offset` and up to `limit` after it, of all in order; themselves in any order.
    pub(super) fn page(
        &mut self,
        offset: usize,
        limit: usize,
    ) -> impl Iterator<Item = (String, u64)> {
        let names = &self.names;
        let order = |a: &One, b: &One| -> Ordering { name(names, a).cmp(name(names, b)) };
        let list = &mut self.list;
        let offset = offset.min(list.len());
        if (1..list.len()).contains(&offset) {
            list.select_nth_unstable_by(offset, order);
        }
        let (_, rest) = list.split_at_mut(offset);
        if limit < rest.len() {
            rest.select_nth_unstable_by(limit, order);
        }
        let shown = rest.iter().take(limit);
        shown.map(|one| {
            let name = String::from_utf8_lossy(name(names, one));
            (name.into_owned(), one.count)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Found;

    #[test]
    fn pages_are_those_of_the_sorted_list() {
        let all: Vec<(String, u64)> = (0..1000_u64)
            .map(|n| (format!("s.{}", n * 7919 % 1000), n))
            .collect();
        let mut sorted = all.clone();
        sorted.sort();
        for (offset, limit) in [
            (0, 100),
            (100, 100),
            (950, 100),
            (999, 1),
            (1000, 5),
            (2000, 5),
        ] {
            let mut found = Found::default();
            for (subject, count) in &all {
                found.add(subject.as_bytes(), *count);
            }
            let page: BTreeMap<String, u64> = found.page(offset, limit).collect();
            let wanted = sorted.iter().skip(offset).take(limit).cloned();
            assert_eq!(page, wanted.collect::<BTreeMap<_, _>>());
        }
    }
}
