//! The functions of a destination token: `$n` and `{{name(arguments)}}`.

use super::TransformError;

/// A function of a destination. Before [`Function::resolved`] tokens are 1-based wildcard numbers,
/// after it 0-based token positions of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Function {
    Wildcard(i64),
    /// No tokens: the whole subject is hashed.
    Partition {
        buckets: i32,
        tokens: Vec<i64>,
    },
    Random {
        buckets: i32,
    },
    Split {
        token: i64,
        delimiter: String,
    },
    /// One of the functions of a token and a length.
    Cut {
        cut: Cut,
        token: i64,
        len: i32,
    },
}

/// How a token is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    SplitFromLeft,
    SplitFromRight,
    SliceFromLeft,
    SliceFromRight,
    Left,
    Right,
}

impl Function {
    pub(super) fn wildcards(&self) -> &[i64] {
        match self {
            Self::Random { .. } => &[],
            Self::Partition { tokens, .. } => tokens,
            Self::Wildcard(token) | Self::Split { token, .. } | Self::Cut { token, .. } => {
                std::slice::from_ref(token)
            }
        }
    }

    /// A partition of a source without wildcards hashes the whole subject, whatever it lists.
    pub(super) fn without_tokens(self) -> Self {
        match self {
            Self::Partition { buckets, .. } => Self::Partition {
                buckets,
                tokens: Vec::new(),
            },
            other => other,
        }
    }

    /// Replaces wildcard numbers by token positions. Numbers below one are not refused anywhere and
    /// mean the first token.
    pub(super) fn resolved(mut self, positions: &[usize]) -> Self {
        let resolve = |index: &mut i64| {
            let at = usize::try_from(*index - 1)
                .ok()
                .and_then(|at| positions.get(at));
            *index = at.map_or(0, |&at| at as i64);
        };
        match &mut self {
            Self::Random { .. } => {}
            Self::Partition { tokens, .. } => tokens.iter_mut().for_each(resolve),
            Self::Wildcard(token) | Self::Split { token, .. } | Self::Cut { token, .. } => {
                resolve(token);
            }
        }
        self
    }
}

/// Whether a token stands in double braces, so that it must be a function.
pub(super) fn looks_like_call(token: &str) -> bool {
    token.len() > 4 && token.starts_with("{{") && token.ends_with("}}")
}

/// Reads a destination token; `None` for literal text.
pub(super) fn parse_token(token: &str) -> Result<Option<Function>, TransformError> {
    if let Some(digits) = token.strip_prefix('$') {
        // `$SYS` and the like are literals.
        return Ok(digits.parse().ok().map(Function::Wildcard));
    }
    if !looks_like_call(token) {
        return Ok(None);
    }
    let unknown = || TransformError::UnknownFunction(token.to_owned());
    let inner = token[2..token.len() - 2].trim();
    let (name, rest) = inner.split_once('(').ok_or_else(unknown)?;
    let arguments = rest.strip_suffix(')').ok_or_else(unknown)?;
    let arguments = Arguments {
        token,
        list: arguments
            .split(',')
            .map(|text| text.trim_matches(' '))
            .collect(),
    };
    let name = name.trim();
    let is = |words: &[&str]| is_name(name, words);
    let function = if is(&["wildcard"]) {
        Function::Wildcard(arguments.index()?)
    } else if is(&["partition"]) {
        arguments.partition()?
    } else if is(&["random"]) {
        arguments.random()?
    } else if is(&["split"]) {
        arguments.split()?
    } else {
        let cut = CUTS
            .iter()
            .find(|(words, _)| is(words))
            .ok_or_else(unknown)?
            .1;
        let (token, len) = arguments.index_and_len()?;
        Function::Cut { cut, token, len }
    };
    Ok(Some(function))
}

const CUTS: [(&[&str], Cut); 6] = [
    (&["split", "from", "left"], Cut::SplitFromLeft),
    (&["split", "from", "right"], Cut::SplitFromRight),
    (&["slice", "from", "left"], Cut::SliceFromLeft),
    (&["slice", "from", "right"], Cut::SliceFromRight),
    (&["left"], Cut::Left),
    (&["right"], Cut::Right),
];

/// Each word of a name may start with a capital; the rest is lower case.
fn is_name(name: &str, words: &[&str]) -> bool {
    let mut rest = name.as_bytes();
    for word in words {
        let Some((head, tail)) = rest.split_at_checked(word.len()) else {
            return false;
        };
        let word = word.as_bytes();
        if !head[0].eq_ignore_ascii_case(&word[0]) || head[1..] != word[1..] {
            return false;
        }
        rest = tail;
    }
    rest.is_empty()
}

/// The arguments of one function, with the token they are reported under.
struct Arguments<'t> {
    token: &'t str,
    list: Vec<&'t str>,
}

impl Arguments<'_> {
    fn index(&self) -> Result<i64, TransformError> {
        match self.list[..] {
            [] | [""] => Err(TransformError::NotEnoughArguments(self.token.to_owned())),
            [index] => self.number(index),
            _ => Err(TransformError::TooManyArguments(self.token.to_owned())),
        }
    }

    fn partition(&self) -> Result<Function, TransformError> {
        let buckets = self.number(self.list.first().copied().unwrap_or_default())?;
        let tokens = self.list.iter().skip(1).map(|index| self.number(index));
        Ok(Function::Partition {
            buckets,
            tokens: tokens.collect::<Result<_, _>>()?,
        })
    }

    fn random(&self) -> Result<Function, TransformError> {
        match self.list[..] {
            [buckets] => Ok(Function::Random {
                buckets: self.number(buckets)?,
            }),
            // The real server reports a surplus with these words.
            _ => Err(TransformError::NotEnoughArguments(self.token.to_owned())),
        }
    }

    fn pair(&self) -> Result<(&str, &str), TransformError> {
        match self.list[..] {
            [first, second] => Ok((first, second)),
            [] | [_] => Err(TransformError::NotEnoughArguments(self.token.to_owned())),
            _ => Err(TransformError::TooManyArguments(self.token.to_owned())),
        }
    }

    fn split(&self) -> Result<Function, TransformError> {
        let (index, delimiter) = self.pair()?;
        let token = self.number(index)?;
        if delimiter.contains([' ', '.']) {
            return Err(TransformError::InvalidArgument(self.token.to_owned()));
        }
        Ok(Function::Split {
            token,
            delimiter: delimiter.to_owned(),
        })
    }

    fn index_and_len(&self) -> Result<(i64, i32), TransformError> {
        let (index, len) = self.pair()?;
        Ok((self.number(index)?, self.number(len)?))
    }

    fn number<N: std::str::FromStr>(&self, text: &str) -> Result<N, TransformError> {
        text.parse()
            .map_err(|_| TransformError::InvalidArgument(self.token.to_owned()))
    }
}
