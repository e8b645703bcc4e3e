//! The headers that a publish is judged by, found in one pass over the block.
//!
//! Names are case-sensitive, the first occurrence wins, leading blanks of a value are not part of it, trailing
//! ones are, and an empty value counts as absent.

/// What the server reads from a published header block; empty = absent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PublishHeaders<'a> {
    /// `Nats-Msg-Id`.
    pub(crate) msg_id: &'a [u8],
    /// `Nats-Expected-Stream`.
    pub(crate) expected_stream: &'a [u8],
    /// `Nats-Expected-Last-Sequence`.
    pub(crate) expected_last_seq: &'a [u8],
    /// `Nats-Expected-Last-Subject-Sequence`.
    pub(crate) expected_subject_seq: &'a [u8],
    /// `Nats-Expected-Last-Subject-Sequence-Subject`.
    pub(crate) expected_subject: &'a [u8],
    /// `Nats-Expected-Last-Msg-Id`.
    pub(crate) expected_msg_id: &'a [u8],
    /// `Nats-Rollup`.
    pub(crate) rollup: &'a [u8],
    /// `Nats-TTL`.
    pub(crate) ttl: &'a [u8],
    /// `Nats-Incr`.
    pub(crate) incr: &'a [u8],
    /// `Nats-Batch-Id`.
    pub(crate) batch_id: &'a [u8],
    /// `Nats-Batch-Sequence`.
    pub(crate) batch_sequence: &'a [u8],
    /// `Nats-Batch-Commit`.
    pub(crate) batch_commit: &'a [u8],
    /// `Nats-Schedule`.
    pub(crate) schedule: &'a [u8],
    /// `Nats-Schedule-TTL`.
    pub(crate) schedule_ttl: &'a [u8],
    /// `Nats-Schedule-Next`.
    pub(crate) schedule_next: &'a [u8],
    /// `Nats-Scheduler`.
    pub(crate) scheduler: &'a [u8],
    /// `Nats-Stream-Source`.
    pub(crate) stream_source: &'a [u8],
}

impl<'a> PublishHeaders<'a> {
    /// Reads `block`, which may be empty.
    pub(crate) fn scan(block: &'a [u8]) -> Self {
        let mut found = Self::default();
        let mut emptied = false;
        for (name, value) in Fields::new(block) {
            let Some(rest) = name.strip_prefix(b"Nats-") else {
                continue;
            };
            let slot = match rest {
                b"Msg-Id" => &mut found.msg_id,
                b"Expected-Stream" => &mut found.expected_stream,
                b"Expected-Last-Sequence" => &mut found.expected_last_seq,
                b"Expected-Last-Subject-Sequence" => &mut found.expected_subject_seq,
                b"Expected-Last-Subject-Sequence-Subject" => &mut found.expected_subject,
                b"Expected-Last-Msg-Id" => &mut found.expected_msg_id,
                b"Rollup" => &mut found.rollup,
                b"TTL" => &mut found.ttl,
                b"Incr" => &mut found.incr,
                b"Batch-Id" => &mut found.batch_id,
                b"Batch-Sequence" => &mut found.batch_sequence,
                b"Batch-Commit" => &mut found.batch_commit,
                b"Schedule" => &mut found.schedule,
                b"Schedule-TTL" => &mut found.schedule_ttl,
                b"Schedule-Next" => &mut found.schedule_next,
                b"Scheduler" => &mut found.scheduler,
                b"Stream-Source" => &mut found.stream_source,
                _ => continue,
            };
            // The first line of a name counts, even if its value is empty, which means none.
            emptied |= value.is_empty();
            if slot.is_empty() && !(emptied && self::value(block, name).is_empty()) {
                *slot = value;
            }
        }
        found
    }
}

impl<'a> PublishHeaders<'a> {
    /// The subject whose last sequence is expected, for a message on `subject`.
    pub(crate) fn expectation_on(&self, subject: &'a [u8]) -> &'a [u8] {
        if self.expected_subject.is_empty() {
            subject
        } else {
            self.expected_subject
        }
    }
}

/// The value of one header of a block; empty when absent.
pub(crate) fn value<'a>(block: &'a [u8], name: &[u8]) -> &'a [u8] {
    Fields::new(block)
        .find(|(found, _)| *found == name)
        .map_or(&[], |(_, value)| value)
}

/// The block with a line more at its end.
pub(crate) fn appended(block: &[u8], line: &str) -> Vec<u8> {
    let start = block.strip_suffix(b"\r\n").unwrap_or(b"NATS/1.0\r\n");
    [start, line.as_bytes(), b"\r\n\r\n"].concat()
}

/// The block without the lines of one header.
pub(crate) fn without(block: &[u8], name: &[u8]) -> Vec<u8> {
    let is_it = |line: &&[u8]| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.first() == Some(&b':'))
    };
    block
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| !is_it(line))
        .collect::<Vec<_>>()
        .concat()
}

/// A number of a header: one that does not parse counts as a huge one, which matches nothing.
pub(crate) fn number(value: &[u8]) -> u64 {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = if digits {
        std::str::from_utf8(value).ok()
    } else {
        None
    };
    text.and_then(|text| text.parse().ok()).unwrap_or(u64::MAX)
}

/// The length of a status on the first line (`NATS/1.0 503 Text` has some, `NATS/1.0` none), which is not stored.
pub(crate) fn status_len(block: &[u8]) -> usize {
    let version = b"NATS/1.0".len();
    let Some(rest) = block.get(version..) else {
        return 0;
    };
    rest.iter().position(|byte| *byte == b'\r').unwrap_or(0)
}

/// The fields of a header block.
#[derive(Debug)]
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn new(block: &'a [u8]) -> Self {
        let mut fields = Self { rest: block };
        fields.line();
        fields
    }

    fn line(&mut self) -> &'a [u8] {
        let end = self
            .rest
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(self.rest.len(), |at| at + 1);
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest;
        line.strip_suffix(b"\n")
            .map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let line = self.line();
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                continue;
            };
            let (name, value) = line.split_at(colon);
            let value = value.get(1..).unwrap_or(&[]);
            let blanks = value.iter().take_while(|byte| **byte == b' ').count();
            return Some((name, value.get(blanks..).unwrap_or(&[])));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{PublishHeaders, appended, number, status_len, value, without};

    #[test]
    fn reads_what_the_peer_reads() {
        let block =
            b"NATS/1.0\r\nNats-Msg-Id:  a b \r\nnats-rollup: sub\r\nNats-Msg-Id: second\r\n\
            Nats-Expected-Stream:\r\nNats-Expected-Stream: S\r\n\r\n";
        let found = PublishHeaders::scan(block);
        assert_eq!(found.msg_id, b"a b ");
        assert_eq!(found.rollup, b"");
        assert_eq!(found.expected_stream, b"");
        assert_eq!(value(block, b"nats-rollup"), b"sub");
    }

    #[test]
    fn numbers_that_do_not_parse_match_nothing() {
        assert_eq!(number(b"17"), 17);
        assert_eq!(number(b"+17"), u64::MAX);
        assert_eq!(number(b"x"), u64::MAX);
    }

    #[test]
    fn rewrites_blocks() {
        let block = b"NATS/1.0\r\nA: b\r\nAB: c\r\n\r\n";
        assert_eq!(without(block, b"A"), b"NATS/1.0\r\nAB: c\r\n\r\n");
        assert_eq!(
            appended(block, "D: e"),
            b"NATS/1.0\r\nA: b\r\nAB: c\r\nD: e\r\n\r\n"
        );
        assert_eq!(appended(b"", "D: e"), b"NATS/1.0\r\nD: e\r\n\r\n");
    }

    #[test]
    fn finds_the_status() {
        assert_eq!(status_len(b"NATS/1.0\r\n\r\n"), 0);
        assert_eq!(status_len(b"NATS/1.0 503 X\r\n\r\n"), 6);
    }
}
