//! Numbers in the records of a consumer: variable length, little groups first, seven bits a byte.

/// A record of a consumer that does not make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("damaged consumer record at byte {0}")]
pub struct Corrupt(pub usize);

/// Appends a number.
pub(super) fn put(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

/// Appends a signed number; small absolute values stay short.
pub(super) fn put_signed(into: &mut Vec<u8>, number: i64) {
    put(into, ((number << 1) ^ (number >> 63)) as u64);
}

/// Reads a record from its start to its end.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn corrupt(&self) -> Corrupt {
        Corrupt(self.at)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Corrupt> {
        let byte = *self.bytes.get(self.at).ok_or(Corrupt(self.at))?;
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn number(&mut self) -> Result<u64, Corrupt> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.corrupt())
    }

    pub(super) fn signed(&mut self) -> Result<i64, Corrupt> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// A number that fits 32 bits.
    pub(super) fn small(&mut self) -> Result<u32, Corrupt> {
        let at = self.at;
        u32::try_from(self.number()?).map_err(|_| Corrupt(at))
    }

    /// The number of items that follow, each at least one byte long.
    pub(super) fn count(&mut self) -> Result<usize, Corrupt> {
        let at = self.at;
        let count = self.number()?;
        let left = (self.bytes.len() - self.at) as u64;
        if count > left {
            return Err(Corrupt(at));
        }
        Ok(count as usize)
    }
}
