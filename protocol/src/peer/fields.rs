//! Fields of a body: little-endian numbers, texts with a length of 16 bits in front, lists of texts
//! with a count of 16 bits in front, bytes with a length of 32 bits in front. What follows the last known field is skipped: a later version
//! may have more.

/// A body that does not hold what its kind promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It ends too early.
    #[error("the body ends too early")]
    Short,
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    NotText,
    /// A number stands for nothing.
    #[error("a field has an unknown value")]
    Unknown,
}

/// Reads fields one after the other.
pub(super) struct Reader<'b>(pub(super) &'b [u8]);

impl<'b> Reader<'b> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], BodyError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(BodyError::Short)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, BodyError> {
        self.take::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, BodyError> {
        self.take().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, BodyError> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, BodyError> {
        self.take().map(i32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, BodyError> {
        self.take().map(u64::from_le_bytes)
    }

    /// Bytes with a length of 32 bits in front.
    pub(super) fn bytes(&mut self) -> Result<&'b [u8], BodyError> {
        let length = self.u32()? as usize;
        let (head, rest) = self.0.split_at_checked(length).ok_or(BodyError::Short)?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn text(&mut self) -> Result<String, BodyError> {
        let length = usize::from(self.u16()?);
        let (head, rest) = self.0.split_at_checked(length).ok_or(BodyError::Short)?;
        self.0 = rest;
        let text = std::str::from_utf8(head).map_err(|_| BodyError::NotText)?;
        Ok(text.to_owned())
    }

    pub(super) fn texts(&mut self) -> Result<Vec<String>, BodyError> {
        let count = self.u16()?;
        // Each needs at least its length: a lie about the count ends early.
        (0..count).map(|_| self.text()).collect()
    }
}

/// Appends bytes with their length in front. They are far shorter than a length can say: a body's limit is.
pub(super) fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Appends a text. One that is longer than its length can say is cut.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.extend_from_slice(&(end as u16).to_le_bytes());
    out.extend_from_slice(&text.as_bytes()[..end]);
}

/// Appends a list of texts, the first 65,535 of them.
pub(super) fn texts(out: &mut Vec<u8>, list: &[String]) {
    let count = list.len().min(usize::from(u16::MAX));
    out.extend_from_slice(&(count as u16).to_le_bytes());
    for one in &list[..count] {
        text(out, one);
    }
}
