//! A place in the text that counts lines the way error messages do.

use super::ConfError;
use super::value::Position;

/// Stands for the end of the text; a NUL in the text is taken for it as well.
pub(super) const END: char = '\0';

#[derive(Debug)]
pub(super) struct Cursor<'t> {
    text: &'t str,
    file: usize,
    at: usize,
    line: u32,
    /// Where columns of this line count from: for all but the first line, the line feed before it.
    line_start: usize,
}

impl<'t> Cursor<'t> {
    pub(super) const fn new(text: &'t str, file: usize) -> Self {
        Self {
            text,
            file,
            at: 0,
            line: 1,
            line_start: 0,
        }
    }

    pub(super) fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    pub(super) fn peek(&self) -> char {
        self.rest().chars().next().unwrap_or(END)
    }

    pub(super) fn bump(&mut self) -> char {
        let Some(next) = self.rest().chars().next() else {
            return END;
        };
        if next == '\n' {
            self.line += 1;
            self.line_start = self.at;
        }
        self.at += next.len_utf8();
        next
    }

    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) const fn line(&self) -> u32 {
        self.line
    }

    /// The text from an earlier place to here.
    pub(super) fn since(&self, start: usize) -> &'t str {
        &self.text[start..self.at]
    }

    /// At most `len` bytes before the cursor.
    pub(super) fn last_bytes(&self, len: usize) -> &'t [u8] {
        &self.text.as_bytes()[self.at.saturating_sub(len)..self.at]
    }

    /// Moves on while `wanted` holds.
    pub(super) fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        while !self.is_at_end() && wanted(self.peek()) {
            self.bump();
        }
    }

    /// Whether the text is used up, which a NUL is not.
    pub(super) const fn is_at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    pub(super) fn is_at_comment(&self) -> bool {
        self.peek() == '#' || self.rest().starts_with("//")
    }

    /// Moves to the end of the line, which stays.
    pub(super) fn skip_comment(&mut self) {
        self.skip_while(|c| !is_line_end(c));
    }

    pub(super) fn position(&self) -> Position {
        let column = u32::try_from(self.at - self.line_start).unwrap_or(u32::MAX);
        Position {
            file: self.file,
            line: self.line,
            column,
        }
    }

    pub(super) fn error(&self, reason: impl std::fmt::Display) -> ConfError {
        ConfError(format!("Parse error on line {}: '{reason}'", self.line))
    }

    /// Reports the next character, which counts as read.
    pub(super) fn unexpected(&mut self, before: &str, after: &str) -> ConfError {
        let found = show(self.bump());
        self.error(format_args!("{before}'{found}'{after}"))
    }
}

pub(super) const fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r')
}

pub(super) const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

pub(super) const fn is_separator(c: char) -> bool {
    matches!(c, ':' | '=')
}

/// A character as messages show it.
fn show(c: char) -> String {
    if c == '\n' {
        "\\n".to_owned()
    } else {
        c.to_string()
    }
}
