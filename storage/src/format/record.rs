//! Records: one header, then key, header block and payload.

use super::{Fields, Seed, put};

/// Size of a record's header.
pub(crate) const RECORD_HEADER: usize = 56;
/// The part of the header that an encrypted body is bound to.
const BOUND: std::ops::RangeFrom<usize> = 8..;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message of the group.
    Message,
    /// Anything else that the layer above wants to have back; the tag is its own.
    Control(u8),
    /// The group's log ends before this record's index: what had that index or a higher one is
    /// void.
    Truncate,
    /// The group begins anew: everything of it before this record is void, and its log goes on
    /// behind this record's index. The payload is the state that it begins with, if there is one.
    Reset,
    /// A message that is in the journal already, or lies damaged somewhere: written again so that an
    /// older file may go. It replaces nothing, whatever its index.
    MessageAgain,
    /// A control record that is in the journal already, written again; it replaces nothing.
    ControlAgain(u8),
    /// The group goes on from a state that came from elsewhere, the one after this record's index
    /// and term. The record's sequence is an index: what had that one or a higher one before this
    /// record is void. One behind the log's end voids nothing. What has no index stays, and so does the group's checkpoint.
    Install,
}

impl Kind {
    fn bytes(self) -> [u8; 2] {
        match self {
            Self::Message => [1, 0],
            Self::Control(tag) => [2, tag],
            Self::Truncate => [3, 0],
            Self::Reset => [4, 0],
            Self::MessageAgain => [5, 0],
            Self::ControlAgain(tag) => [6, tag],
            Self::Install => [7, 0],
        }
    }

    fn parse(kind: u8, tag: u8) -> Option<Self> {
        match kind {
            1 => Some(Self::Message),
            2 => Some(Self::Control(tag)),
            3 => Some(Self::Truncate),
            4 => Some(Self::Reset),
            5 => Some(Self::MessageAgain),
            6 => Some(Self::ControlAgain(tag)),
            7 => Some(Self::Install),
            _ => None,
        }
    }

    /// Whether the record holds a message.
    #[must_use]
    pub fn is_message(self) -> bool {
        matches!(self, Self::Message | Self::MessageAgain)
    }

    /// The kind of a copy of such a record, which replaces nothing. What says something about the
    /// log has none.
    #[must_use]
    pub fn again(self) -> Option<Self> {
        match self {
            Self::Message | Self::MessageAgain => Some(Self::MessageAgain),
            Self::Control(tag) | Self::ControlAgain(tag) => Some(Self::ControlAgain(tag)),
            Self::Truncate | Self::Reset | Self::Install => None,
        }
    }

    /// The kind that a copy was made of; any other kind is its own.
    #[must_use]
    pub fn original(self) -> Self {
        match self {
            Self::MessageAgain => Self::Message,
            Self::ControlAgain(tag) => Self::Control(tag),
            other => other,
        }
    }
}

/// A record to append.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The group.
    pub group: u64,
    /// What it is.
    pub kind: Kind,
    /// Position in the group's log; 0 when the group keeps none.
    pub index: u64,
    /// Term of the leader that decided it.
    pub term: u32,
    /// Sequence of a message; what [`Kind::Install`] says; 0 otherwise.
    pub seq: u64,
    /// Nanoseconds since 1970.
    pub timestamp: i64,
    /// Key of a message; at most 65,535 bytes.
    pub key: &'a [u8],
    /// Header block of a message.
    pub headers: &'a [u8],
    /// Payload.
    pub payload: &'a [u8],
}

impl Record<'_> {
    /// What it takes up in a file.
    #[must_use]
    pub fn size(&self) -> usize {
        record_size(self.key.len(), self.headers.len(), self.payload.len())
    }
}

/// A record's header after its checksum was found right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) body_sum: u32,
    pub(crate) group: u64,
    pub(crate) index: u64,
    pub(crate) seq: u64,
    pub(crate) timestamp: i64,
    pub(crate) term: u32,
    pub(crate) headers_len: usize,
    pub(crate) payload_len: usize,
    pub(crate) key_len: usize,
    pub(crate) kind: Kind,
}

/// Why a record's header is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// The bytes do not prove themselves.
    Damaged,
    /// They do, but their kind is not known to this version; the record is this long.
    Unknown(usize),
}

/// Rounds up to the alignment of records.
pub(crate) const fn padded(len: usize) -> usize {
    len.next_multiple_of(8)
}

/// What a record takes up in a file.
pub(crate) const fn record_size(key: usize, headers: usize, payload: usize) -> usize {
    padded(RECORD_HEADER + key + headers + payload)
}

fn body_sum(record: &Record<'_>) -> u32 {
    let mut sum = crc32c::crc32c(record.key);
    if !record.headers.is_empty() {
        sum = crc32c::crc32c_append(sum, record.headers);
    }
    crc32c::crc32c_append(sum, record.payload)
}

/// The header of a record whose payload takes up `tag` bytes more than it has, without checksums.
fn header(record: &Record<'_>, tag: usize) -> [u8; RECORD_HEADER] {
    let [kind, kind_tag] = record.kind.bytes();
    let payload = (record.payload.len() + tag) as u32;
    let mut header = [0; RECORD_HEADER];
    put(&mut header, 8, record.group.to_le_bytes());
    put(&mut header, 16, record.index.to_le_bytes());
    put(&mut header, 24, record.seq.to_le_bytes());
    put(&mut header, 32, record.timestamp.to_le_bytes());
    put(&mut header, 40, record.term.to_le_bytes());
    put(&mut header, 44, (record.headers.len() as u32).to_le_bytes());
    put(&mut header, 48, payload.to_le_bytes());
    put(&mut header, 52, (record.key.len() as u16).to_le_bytes());
    header[54] = kind;
    header[55] = kind_tag;
    header
}

/// Appends a record that will lie at `offset` of a file with this seed.
pub(crate) fn encode_record(out: &mut Vec<u8>, seed: Seed, offset: u32, record: &Record<'_>) {
    let mut header = header(record, 0);
    put(&mut header, 4, body_sum(record).to_le_bytes());
    let sum = seed.sum(offset, &header[4..]);
    put(&mut header, 0, sum.to_le_bytes());
    let size = record_size(record.key.len(), record.headers.len(), record.payload.len());
    let end = out.len() + size;
    out.reserve(size);
    out.extend_from_slice(&header);
    out.extend_from_slice(record.key);
    out.extend_from_slice(record.headers);
    out.extend_from_slice(record.payload);
    out.resize(end, 0);
}

/// As [`encode_record`], with a body that `seal` encrypts: it gets the bytes that the body is bound
/// to, and the place where the body begins in `out`, to which it appends `tag` bytes.
pub(crate) fn encode_sealed(
    out: &mut Vec<u8>,
    seed: Seed,
    offset: u32,
    record: &Record<'_>,
    tag: usize,
    seal: impl FnOnce(&[u8], &mut Vec<u8>, usize),
) {
    let mut header = header(record, tag);
    let (key, headers, payload) = (record.key, record.headers, record.payload);
    let size = record_size(key.len(), headers.len(), payload.len() + tag);
    let start = out.len();
    let body = start + RECORD_HEADER;
    out.reserve(size);
    out.extend_from_slice(&header);
    out.extend_from_slice(key);
    out.extend_from_slice(headers);
    out.extend_from_slice(payload);
    seal(&header[BOUND], out, body);
    put(&mut header, 4, crc32c::crc32c(&out[body..]).to_le_bytes());
    let sum = seed.sum(offset, &header[4..]);
    put(&mut header, 0, sum.to_le_bytes());
    out[start..body].copy_from_slice(&header);
    out.resize(start + size, 0);
}

/// Gives a copied record the checksum of its new place.
pub(crate) fn restamp(record: &mut [u8], seed: Seed, offset: u32) {
    if let Some(header) = record.get_mut(..RECORD_HEADER) {
        let sum = seed.sum(offset, &header[4..]);
        put(header, 0, sum.to_le_bytes());
    }
}

impl RecordHeader {
    /// Decodes the header at the start of `bytes`, which lies at `offset` of a file with this seed.
    pub(crate) fn decode(bytes: &[u8], seed: Seed, offset: u32) -> Result<Self, HeaderError> {
        let header = bytes.get(..RECORD_HEADER).ok_or(HeaderError::Damaged)?;
        let fields = Fields(header);
        // Cheap refusal first: a search for the next good record tries every multiple of 8.
        if header[54] == 0 || fields.u32(0) != seed.sum(offset, &header[4..]) {
            return Err(HeaderError::Damaged);
        }
        let size = record_size(
            usize::from(fields.u16(52)),
            fields.u32(44) as usize,
            fields.u32(48) as usize,
        );
        Self::fields(header).ok_or(HeaderError::Unknown(size))
    }

    /// Reads a header that was found right before, without checking it again.
    pub(crate) fn again(bytes: &[u8]) -> Option<Self> {
        Self::fields(bytes.get(..RECORD_HEADER)?)
    }

    fn fields(header: &[u8]) -> Option<Self> {
        let fields = Fields(header);
        let kind = Kind::parse(header[54], header[55])?;
        Some(Self {
            body_sum: fields.u32(4),
            group: fields.u64(8),
            index: fields.u64(16),
            seq: fields.u64(24),
            timestamp: fields.i64(32),
            term: fields.u32(40),
            headers_len: fields.u32(44) as usize,
            payload_len: fields.u32(48) as usize,
            key_len: usize::from(fields.u16(52)),
            kind,
        })
    }

    /// Length of key, header block and payload together.
    pub(crate) fn body_len(&self) -> usize {
        self.key_len + self.headers_len + self.payload_len
    }

    /// What the record takes up in a file.
    pub(crate) fn size(&self) -> usize {
        padded(RECORD_HEADER + self.body_len())
    }

    /// Whether the record at `offset` ends within a file of this size.
    pub(crate) fn fits(&self, offset: u32, file: u64) -> bool {
        u64::from(offset) + (RECORD_HEADER + self.body_len()) as u64 <= file
    }

    /// The body behind the header at the start of `bytes`, if it is there and unaltered.
    pub(crate) fn body<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let body = bytes.get(RECORD_HEADER..RECORD_HEADER + self.body_len())?;
        (crc32c::crc32c(body) == self.body_sum).then_some(body)
    }

    /// Splits a body into key, header block and payload.
    pub(crate) fn split<'a>(&self, body: &'a [u8]) -> (&'a [u8], &'a [u8], &'a [u8]) {
        let (key, rest) = body.split_at(self.key_len.min(body.len()));
        let (headers, payload) = rest.split_at(self.headers_len.min(rest.len()));
        (key, headers, payload)
    }

    /// Decrypts the record at the start of `bytes`, whose body was found unaltered. `into` gets the
    /// record as it would lie in a plain file, but for its checksums; the header returned is the
    /// one there.
    pub(crate) fn open(
        mut self,
        bytes: &[u8],
        into: &mut Vec<u8>,
        open: impl FnOnce(&[u8], &mut [u8]) -> Option<usize>,
    ) -> Option<Self> {
        into.clear();
        into.extend_from_slice(bytes.get(..RECORD_HEADER + self.body_len())?);
        let (header, body) = into.split_at_mut(RECORD_HEADER);
        let sealed = body.len();
        let opened = open(&header[BOUND], body)?;
        self.payload_len = self.payload_len.checked_sub(sealed - opened)?;
        put(header, 48, (self.payload_len as u32).to_le_bytes());
        into.truncate(RECORD_HEADER + opened);
        Some(self)
    }

    /// The record as it was appended.
    pub(crate) fn record<'a>(&self, body: &'a [u8]) -> Record<'a> {
        let (key, headers, payload) = self.split(body);
        Record {
            group: self.group,
            kind: self.kind,
            index: self.index,
            term: self.term,
            seq: self.seq,
            timestamp: self.timestamp,
            key,
            headers,
            payload,
        }
    }
}
