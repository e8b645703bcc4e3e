//! The functions of a destination token: `$n` and `{{name(arguments)}}`.

use super::TransformError;

/// A function of a destination. Before [`Function::resolved`] indexes are 1-based wildcard numbers,
/// after it 0-based token positions of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Function {
    Wildcard(usize),
    /// No tokens: the whole subject is hashed.
    Partition {
        buckets: u32,
        tokens: Vec<usize>,
    },
    Random {
        buckets: u32,
    },
    Split {
        token: usize,
        delimiter: String,
    },
    SplitFromLeft {
        token: usize,
        at: usize,
    },
    SplitFromRight {
        token: usize,
        at: usize,
    },
    SliceFromLeft {
        token: usize,
        size: usize,
    },
    SliceFromRight {
        token: usize,
        size: usize,
    },
    Left {
        token: usize,
        len: usize,
    },
    Right {
        token: usize,
        len: usize,
    },
}

impl Function {
    pub(super) fn wildcards(&self) -> &[usize] {
        match self {
            Self::Random { .. } => &[],
            Self::Partition { tokens, .. } => tokens,
            Self::Wildcard(token)
            | Self::Split { token, .. }
            | Self::SplitFromLeft { token, .. }
            | Self::SplitFromRight { token, .. }
            | Self::SliceFromLeft { token, .. }
            | Self::SliceFromRight { token, .. }
            | Self::Left { token, .. }
            | Self::Right { token, .. } => std::slice::from_ref(token),
        }
    }

    /// Replaces wildcard numbers (already checked) by token positions.
    pub(super) fn resolved(mut self, positions: &[usize]) -> Self {
        let resolve = |index: &mut usize| {
            *index = positions
                .get(index.wrapping_sub(1))
                .copied()
                .unwrap_or(usize::MAX);
        };
        match &mut self {
            Self::Random { .. } => {}
            Self::Partition { tokens, .. } => tokens.iter_mut().for_each(resolve),
            Self::Wildcard(token)
            | Self::Split { token, .. }
            | Self::SplitFromLeft { token, .. }
            | Self::SplitFromRight { token, .. }
            | Self::SliceFromLeft { token, .. }
            | Self::SliceFromRight { token, .. }
            | Self::Left { token, .. }
            | Self::Right { token, .. } => resolve(token),
        }
        self
    }
}

/// Reads a destination token; `None` for literal text.
pub(super) fn parse_token(token: &str) -> Result<Option<Function>, TransformError> {
    if let Some(digits) = token.strip_prefix('$') {
        // `$SYS` and the like are literals.
        return Ok(digits.parse().ok().map(Function::Wildcard));
    }
    let Some(inner) = token
        .strip_prefix("{{")
        .and_then(|rest| rest.strip_suffix("}}"))
    else {
        return Ok(None);
    };
    let unknown = || TransformError::UnknownFunction(token.to_owned());
    let inner = inner.trim();
    let (name, rest) = inner.split_once('(').ok_or_else(unknown)?;
    let arguments = rest.strip_suffix(')').ok_or_else(unknown)?;
    let arguments = Arguments {
        token,
        list: arguments.split(',').map(str::trim).collect(),
    };
    let function = match name.trim().to_ascii_lowercase().as_str() {
        "wildcard" => Function::Wildcard(arguments.only_index()?),
        "partition" => arguments.partition()?,
        "random" => Function::Random {
            buckets: arguments.single()?,
        },
        "split" => arguments.split()?,
        "splitfromleft" => {
            let (token, at) = arguments.index_and_size()?;
            Function::SplitFromLeft { token, at }
        }
        "splitfromright" => {
            let (token, at) = arguments.index_and_size()?;
            Function::SplitFromRight { token, at }
        }
        "slicefromleft" => {
            let (token, size) = arguments.index_and_size()?;
            Function::SliceFromLeft { token, size }
        }
        "slicefromright" => {
            let (token, size) = arguments.index_and_size()?;
            Function::SliceFromRight { token, size }
        }
        "left" => {
            let (token, len) = arguments.index_and_size()?;
            Function::Left { token, len }
        }
        "right" => {
            let (token, len) = arguments.index_and_size()?;
            Function::Right { token, len }
        }
        _ => return Err(unknown()),
    };
    Ok(Some(function))
}

/// The arguments of one function, with the token they are reported under.
struct Arguments<'t> {
    token: &'t str,
    list: Vec<&'t str>,
}

impl Arguments<'_> {
    fn only_index(&self) -> Result<usize, TransformError> {
        match self.list[..] {
            [""] => Err(TransformError::NotEnoughArguments(self.token.to_owned())),
            [index] => self.number(index),
            _ => Err(TransformError::TooManyArguments(self.token.to_owned())),
        }
    }

    fn single(&self) -> Result<u32, TransformError> {
        match self.list[..] {
            [""] => Err(TransformError::NotEnoughArguments(self.token.to_owned())),
            [buckets] => self.number(buckets),
            _ => Err(TransformError::TooManyArguments(self.token.to_owned())),
        }
    }

    fn partition(&self) -> Result<Function, TransformError> {
        if self.list == [""] {
            return Err(TransformError::NotEnoughArguments(self.token.to_owned()));
        }
        let buckets = self.number(self.list[0])?;
        let tokens = self.list[1..].iter().map(|index| self.number(index));
        Ok(Function::Partition {
            buckets,
            tokens: tokens.collect::<Result<_, _>>()?,
        })
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
        if delimiter.is_empty() || delimiter.contains([' ', '.', '*', '>']) {
            return Err(TransformError::InvalidArgument(self.token.to_owned()));
        }
        Ok(Function::Split {
            token,
            delimiter: delimiter.to_owned(),
        })
    }

    fn index_and_size(&self) -> Result<(usize, usize), TransformError> {
        let (index, size) = self.pair()?;
        Ok((self.number(index)?, self.number(size)?))
    }

    fn number<N: std::str::FromStr>(&self, text: &str) -> Result<N, TransformError> {
        text.parse()
            .map_err(|_| TransformError::InvalidArgument(self.token.to_owned()))
    }
}
