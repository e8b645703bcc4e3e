//! Subject transforms: a source filter and a destination with functions over the source's wildcards.
//!
//! The same language serves account mappings, imports, stream transforms and republishing. Texts of
//! errors are those that clients and operators see.

mod apply;
mod function;

use function::{Function, parse_token};

/// Why a transform cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the names are the texts")]
pub enum TransformError {
    #[error("invalid subject")]
    InvalidSubject,
    #[error("invalid mapping destination: invalid transform{}", in_token(.0))]
    InvalidTransform(String),
    #[error("invalid mapping destination: unknown function in {0}")]
    UnknownFunction(String),
    #[error("invalid mapping destination: wildcard index out of range in {0}")]
    IndexOutOfRange(String),
    #[error("invalid mapping destination: not enough arguments passed to the function in {0}")]
    NotEnoughArguments(String),
    #[error(
        "invalid mapping destination: function argument is invalid or in the wrong format in {0}"
    )]
    InvalidArgument(String),
    #[error("invalid mapping destination: too many arguments passed to the function in {0}")]
    TooManyArguments(String),
    #[error("invalid mapping destination: not using all of the token wildcard(s) in {0}")]
    NotUsingAllWildcards(String),
    #[error(
        "invalid mapping destination: the only mapping function allowed for import transforms is {{{{Wildcard()}}}} in {0}"
    )]
    NotSupportedForImport(String),
}

fn in_token(token: &str) -> String {
    if token.is_empty() {
        String::new()
    } else {
        format!(" in {token}")
    }
}

/// How strictly a destination is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// Account mappings and streams: wildcard tokens may be dropped.
    Lenient,
    /// Imports: reversible, so every wildcard is used and no other function appears.
    Strict,
}

/// A checked transform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transform {
    source: String,
    destination: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// The source's tokens under its last token `>`.
    Rest {
        from: usize,
    },
    Function(Function),
}

impl Transform {
    /// Builds a transform; an empty source means `>`. Where an empty destination means "none", the
    /// caller does not come here.
    ///
    /// # Errors
    /// If a subject is invalid or the destination does not fit the source.
    pub fn new(
        source: &str,
        destination: &str,
        strictness: Strictness,
    ) -> Result<Self, TransformError> {
        let source = if source.is_empty() { ">" } else { source };
        if strictness == Strictness::Lenient {
            check_text(destination)?;
        }
        let open = |subject: &str| subject.rsplit('.').next() == Some(">");
        if !is_well_formed(source)
            || !is_well_formed(destination)
            || destination.split('.').any(|token| token == "*")
            || open(source) != open(destination)
        {
            return Err(TransformError::InvalidSubject);
        }
        let positions = wildcard_positions(source);
        let literal = positions.is_empty() && !open(source);
        let mut parts = Vec::new();
        let mut used = 0;
        for token in destination.split('.') {
            let part = match parse_token(token)? {
                Some(function) => {
                    let function = if literal {
                        function.without_tokens()
                    } else {
                        function
                    };
                    check_function(token, &function, strictness, &positions, literal)?;
                    used += function.wildcards().len();
                    Part::Function(function.resolved(&positions))
                }
                None if token == ">" => Part::Rest {
                    from: source.split('.').count() - 1,
                },
                None => Part::Literal(token.to_owned()),
            };
            parts.push(part);
        }
        if strictness == Strictness::Strict && used < positions.len() {
            return Err(TransformError::NotUsingAllWildcards(destination.to_owned()));
        }
        Ok(Self {
            source: source.to_owned(),
            destination: destination.to_owned(),
            parts,
        })
    }

    /// The source filter.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The destination as written.
    #[must_use]
    pub fn destination(&self) -> &str {
        &self.destination
    }

    /// Appends the transformed subject if the source matches; `random` feeds `{{random(k)}}`.
    pub fn apply(&self, subject: &[u8], random: u64, out: &mut Vec<u8>) -> bool {
        if self.source != ">" && !super::matches(self.source.as_bytes(), subject) {
            return false;
        }
        apply::append(&self.parts, subject, random, out);
        true
    }
}

/// Positions of the source's `*` tokens.
fn wildcard_positions(source: &str) -> Vec<usize> {
    let tokens = source.split('.').enumerate();
    tokens
        .filter(|(_, token)| *token == "*")
        .map(|(at, _)| at)
        .collect()
}

/// No empty token, and `>` only at the end. Text is not looked at: functions may hold blanks.
fn is_well_formed(subject: &str) -> bool {
    let mut ended = false;
    subject.split('.').all(|token| {
        let good = !token.is_empty() && !ended;
        ended = token == ">";
        good
    })
}

/// The check that mappings and streams make before the source is looked at.
fn check_text(destination: &str) -> Result<(), TransformError> {
    let mut ended = false;
    for token in destination.split('.') {
        if token.is_empty() || ended {
            return Err(TransformError::InvalidTransform(token.to_owned()));
        }
        if !function::looks_like_call(token) && token.contains(['\t', '\n', '\x0c', '\r', ' ']) {
            return Err(TransformError::InvalidTransform(String::new()));
        }
        ended = token == ">";
    }
    Ok(())
}

fn check_function(
    token: &str,
    function: &Function,
    strictness: Strictness,
    positions: &[usize],
    literal: bool,
) -> Result<(), TransformError> {
    if strictness == Strictness::Strict && !matches!(function, Function::Wildcard(_)) {
        return Err(TransformError::NotSupportedForImport(token.to_owned()));
    }
    if literal && !function.wildcards().is_empty() {
        return Err(TransformError::IndexOutOfRange(token.to_owned()));
    }
    for index in function.wildcards() {
        if usize::try_from(*index).is_ok_and(|index| index > positions.len()) {
            return Err(TransformError::IndexOutOfRange(format!(
                "{token}: [{index}]"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
