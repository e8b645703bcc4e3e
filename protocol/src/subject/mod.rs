//! Subjects and subject filters on plain bytes.
//!
//! A subject is a dot-separated list of non-empty tokens without blanks. In a filter the whole token
//! `*` stands for one token and a last token `>` for one or more. Functions here neither allocate nor
//! require UTF-8.

pub mod transform;

pub use transform::{Transform, TransformError};

/// The tokens of a subject.
pub fn tokens(subject: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    subject.split(|&byte| byte == b'.')
}

/// Number of tokens (1 for an empty subject).
#[must_use]
pub fn token_count(subject: &[u8]) -> usize {
    memchr::memchr_iter(b'.', subject).count() + 1
}

/// Whether a subject or filter may be subscribed to.
#[must_use]
pub fn is_valid(subject: &[u8]) -> bool {
    let mut at_end = false;
    for token in tokens(subject) {
        if token.is_empty() || at_end {
            return false;
        }
        if token
            .iter()
            .any(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0c))
        {
            return false;
        }
        at_end = token == b">";
    }
    true
}

/// Whether no token is a wildcard. Does not check validity.
#[must_use]
pub fn is_literal(subject: &[u8]) -> bool {
    if memchr::memchr2(b'*', b'>', subject).is_none() {
        return true;
    }
    !tokens(subject).any(is_wildcard)
}

/// Whether a filter has a wildcard token.
#[must_use]
pub fn has_wildcards(filter: &[u8]) -> bool {
    !is_literal(filter)
}

/// What a pedantic connection demands of the subject of a PUB: no empty token and no wildcard.
#[must_use]
pub fn is_valid_pedantic(subject: &[u8]) -> bool {
    tokens(subject).all(|token| !token.is_empty() && !is_wildcard(token))
}

/// Whether a message may be published to the subject by the API: valid and without wildcards.
#[must_use]
pub fn is_valid_publish(subject: &[u8]) -> bool {
    is_valid(subject) && is_literal(subject)
}

fn is_wildcard(token: &[u8]) -> bool {
    matches!(token, b"*" | b">")
}

/// Whether a filter matches a subject; wildcards in the subject are plain text.
#[must_use]
pub fn matches(filter: &[u8], subject: &[u8]) -> bool {
    let mut subject_tokens = tokens(subject);
    for wanted in tokens(filter) {
        let Some(token) = subject_tokens.next() else {
            return false;
        };
        match wanted {
            b">" => return !token.is_empty(),
            b"*" => {
                if token.is_empty() {
                    return false;
                }
            }
            _ => {
                if wanted != token {
                    return false;
                }
            }
        }
    }
    subject_tokens.next().is_none()
}

/// Whether everything that `subject` (wildcards allowed) matches is matched by `filter` too.
#[must_use]
pub fn is_subset_of(subject: &[u8], filter: &[u8]) -> bool {
    let mut subject_tokens = tokens(subject);
    for wanted in tokens(filter) {
        let Some(token) = subject_tokens.next() else {
            return false;
        };
        match (token, wanted) {
            (b"", _) | (_, b"") => return false,
            (_, b">") => return true,
            (b">", _) => return false,
            (_, b"*") => {}
            _ => {
                if token != wanted {
                    return false;
                }
            }
        }
    }
    subject_tokens.next().is_none()
}

/// Whether some subject is matched by both filters.
#[must_use]
pub fn overlap(left: &[u8], right: &[u8]) -> bool {
    let (mut lefts, mut rights) = (tokens(left), tokens(right));
    loop {
        match (lefts.next(), rights.next()) {
            (None, None) => return true,
            (Some(b">"), Some(_)) | (Some(_), Some(b">")) => return true,
            (Some(a), Some(b)) if a == b || a == b"*" || b == b"*" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests;
