//! Splitting the arguments of a control line at runs of blanks, eight bytes at a time.

/// A byte that separates arguments. CR is one in SUB and UNSUB but not in PUB and HPUB (`CR` says
/// which); LF never occurs inside a line.
const fn is_blank<const CR: bool>(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t') || (CR && byte == b'\r')
}

/// Index of the first blank at or after `from`, or the length of `line`.
#[inline]
fn find_blank<const CR: bool>(line: &[u8], mut from: usize) -> usize {
    const LOW: u64 = 0x2121_2121_2121_2121;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    while let Some(chunk) = line.get(from..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        // The lowest marked byte is exact: a borrow only disturbs bytes above it.
        let marked = word.wrapping_sub(LOW) & !word & HIGH;
        if marked == 0 {
            from += 8;
            continue;
        }
        let at = from + (marked.trailing_zeros() / 8) as usize;
        if is_blank::<CR>(line[at]) {
            return at;
        }
        from = at + 1;
    }
    while from < line.len() && !is_blank::<CR>(line[from]) {
        from += 1;
    }
    from
}

/// The non-empty arguments of a line, as byte ranges of that line.
#[derive(Debug, Clone)]
pub(super) struct Arguments<'b, const CR: bool> {
    line: &'b [u8],
    at: usize,
}

impl<'b, const CR: bool> Arguments<'b, CR> {
    pub(super) const fn new(line: &'b [u8], from: usize) -> Self {
        Self { line, at: from }
    }

    /// Collects up to `N` arguments; the count is `N + 1` if there are more.
    #[inline]
    pub(super) fn collect<const N: usize>(mut self) -> ([(usize, usize); N], usize) {
        let mut found = [(0, 0); N];
        let mut count = 0;
        while let Some(range) = self.next_range() {
            match found.get_mut(count) {
                Some(slot) => *slot = range,
                None => return (found, N + 1),
            }
            count += 1;
        }
        (found, count)
    }

    #[inline]
    fn next_range(&mut self) -> Option<(usize, usize)> {
        while self.at < self.line.len() && is_blank::<CR>(self.line[self.at]) {
            self.at += 1;
        }
        if self.at == self.line.len() {
            return None;
        }
        let start = self.at;
        self.at = find_blank::<CR>(self.line, start);
        Some((start, self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &[u8]) -> Vec<&[u8]> {
        let (ranges, count) = Arguments::<true>::new(line, 0).collect::<8>();
        ranges[..count]
            .iter()
            .map(|&(start, end)| &line[start..end])
            .collect()
    }

    #[test]
    fn splits_at_runs_of_blanks() {
        assert_eq!(split(b"  a.b \t 12\t"), [&b"a.b"[..], b"12"]);
        assert_eq!(split(b" \t "), [b""; 0]);
        assert_eq!(
            split(b"a-rather-long.subject x"),
            [&b"a-rather-long.subject"[..], b"x"]
        );
    }

    #[test]
    fn control_bytes_that_are_no_blanks_stay_in_the_argument() {
        assert_eq!(
            split(b"ab\x01\x0ccdefghi\x80\xff jk"),
            [&b"ab\x01\x0ccdefghi\x80\xff"[..], b"jk"]
        );
    }

    #[test]
    fn carriage_returns_count_where_asked_for() {
        assert_eq!(Arguments::<true>::new(b"a\rb", 0).collect::<3>().1, 2);
        assert_eq!(Arguments::<false>::new(b"a\rb", 0).collect::<3>().1, 1);
    }

    #[test]
    fn counts_one_more_than_fits() {
        assert_eq!(Arguments::<true>::new(b"a b c d", 0).collect::<2>().1, 3);
        assert_eq!(Arguments::<true>::new(b"a b", 0).collect::<2>().1, 2);
    }
}
