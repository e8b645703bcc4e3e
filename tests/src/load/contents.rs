//! Message bodies that say who sent them and cannot be mistaken for another's.

/// Every so many messages are large.
const LARGE_EVERY: u64 = 61;

/// The contents of a message: `<writer> <n> <filler>`, which no other message has.
pub(super) fn contents(writer: usize, n: u64) -> Vec<u8> {
    let mut body = format!("{writer} {n} ").into_bytes();
    let mut state = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (writer as u64) << 56;
    let large = if n % LARGE_EVERY == LARGE_EVERY - 1 {
        6000
    } else {
        0
    };
    let filler = 32 + state % 360 + large;
    for _ in 0..filler.div_ceil(4) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        body.extend_from_slice(&state.to_le_bytes()[2..6]);
    }
    body
}

/// The writer and number that a body claims.
pub(super) fn claim(body: &[u8]) -> Option<(usize, u64)> {
    let mut words = body
        .splitn(3, |byte| *byte == b' ')
        .map(std::str::from_utf8);
    let writer = words.next()?.ok()?.parse().ok()?;
    let n = words.next()?.ok()?.parse().ok()?;
    Some((writer, n))
}
