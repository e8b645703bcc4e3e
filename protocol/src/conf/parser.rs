//! Statements, maps, arrays, variables and includes.

use super::cursor::{Cursor, END, is_blank, is_line_end, is_separator};
use super::scalar::{self, Scalar};
use super::value::{Document, Entry, Map, Node, Position, Value};
use super::{ConfError, MAX_CHAIN, MAX_COPIES, MAX_DEPTH, MAX_FILES, Source};

/// Parses a configuration; `name` is the file's name in error positions and for relative includes.
///
/// # Errors
/// At the first mistake, in the real server's words.
pub fn parse(name: &str, text: &str, source: &dyn Source) -> Result<Document, ConfError> {
    let mut shared = Shared {
        source,
        files: vec![name.to_owned()],
        copies: 0,
        including: 1,
    };
    let root = Parser::new(text, 0, &mut shared, Vec::new()).document()?;
    Ok(Document {
        root,
        files: shared.files,
    })
}

/// What the parsers of a file, its includes and its environment variables share.
struct Shared<'s> {
    source: &'s dyn Source,
    files: Vec<String>,
    copies: usize,
    including: usize,
}

impl Shared<'_> {
    /// Whether a value may be copied to this depth.
    fn admit(&mut self, node: &Node, depth: usize) -> bool {
        self.copies += node.count();
        self.copies <= MAX_COPIES && depth + node.depth() <= MAX_DEPTH
    }
}

struct Parser<'t, 's, 'p> {
    cursor: Cursor<'t>,
    file: usize,
    shared: &'p mut Shared<'s>,
    /// The maps under construction, innermost last: the scopes of variables.
    scopes: Vec<Map>,
    /// The environment variables whose values are being parsed.
    pending_variables: Vec<String>,
    depth: usize,
    /// Open braces around top-level keys; they make no map.
    blocks: usize,
}

/// What follows a key.
enum AfterKey {
    Value,
    Include,
    End,
}

impl<'t, 's, 'p> Parser<'t, 's, 'p> {
    fn new(text: &'t str, file: usize, shared: &'p mut Shared<'s>, pending: Vec<String>) -> Self {
        Self {
            cursor: Cursor::new(text, file),
            file,
            shared,
            scopes: Vec::new(),
            pending_variables: pending,
            depth: 0,
            blocks: 0,
        }
    }

    fn document(mut self) -> Result<Map, ConfError> {
        self.scopes.push(Map::default());
        loop {
            self.cursor.skip_while(char::is_whitespace);
            if self.cursor.is_at_comment() {
                self.cursor.skip_comment();
                continue;
            }
            match self.cursor.peek() {
                '{' => {
                    self.cursor.bump();
                    self.blocks += 1;
                }
                '}' if self.blocks > 0 => self.close_block()?,
                END if self.cursor.is_at_end() => break,
                '/' | END => return Err(self.cursor.error("Unexpected EOF.")),
                _ => {
                    if !self.top_statement()? {
                        break;
                    }
                }
            }
        }
        Ok(self.scopes.pop().unwrap_or_default())
    }

    /// The brace that closes a block around top-level keys is next. Inside another block a
    /// separator, a comment or that block's end must follow.
    fn close_block(&mut self) -> Result<(), ConfError> {
        self.cursor.bump();
        self.blocks -= 1;
        while self.blocks > 0 {
            self.cursor.skip_while(char::is_whitespace);
            if self.cursor.is_at_comment() {
                self.cursor.skip_comment();
                return Ok(());
            }
            match self.cursor.peek() {
                '}' => self.blocks -= 1,
                ',' | ';' => {
                    self.cursor.bump();
                    return Ok(());
                }
                _ => {
                    let before = "Expected a block-level to end with a '}', but got ";
                    return Err(self.cursor.unexpected(before, " instead."));
                }
            }
            self.cursor.bump();
        }
        Ok(())
    }

    /// One key with its value; false if the text ended after the key.
    fn top_statement(&mut self) -> Result<bool, ConfError> {
        let (key, position, bare) = self.top_key()?;
        match self.after_key(&key, bare) {
            AfterKey::Include => self.include()?,
            AfterKey::Value => {
                self.cursor.skip_while(is_blank);
                let value = self.value(false)?;
                self.set(key, Node { value, position });
            }
            AfterKey::End => return self.end_after_key(&key),
        }
        self.top_value_end()?;
        Ok(true)
    }

    fn top_key(&mut self) -> Result<(String, Position, bool), ConfError> {
        match self.cursor.peek() {
            c if is_separator(c) => Err(self.cursor.unexpected("Unexpected key separator ", "")),
            quote @ ('"' | '\'') => self.quoted_key(quote, "Unexpected EOF."),
            _ => Ok(self.bare_key()),
        }
    }

    /// A last `}` closes a text that is wrapped in one pair of braces.
    fn end_after_key(&self, key: &str) -> Result<bool, ConfError> {
        if key == "}" {
            return Ok(false);
        }
        let Position { line, column, .. } = self.cursor.position();
        let file = self.shared.files.get(self.file).map_or("", String::as_str);
        Err(ConfError(format!(
            "config is invalid ({file}:{line}:{column})"
        )))
    }

    fn quoted_key(
        &mut self,
        quote: char,
        at_end: &str,
    ) -> Result<(String, Position, bool), ConfError> {
        self.cursor.bump();
        let position = self.cursor.position();
        let start = self.cursor.at();
        self.cursor.skip_while(|c| c != quote && c != END);
        if self.cursor.peek() != quote {
            return Err(self.cursor.error(at_end));
        }
        let key = self.cursor.since(start).to_owned();
        self.cursor.bump();
        Ok((key, position, false))
    }

    /// The first character belongs to the key whatever it is.
    fn bare_key(&mut self) -> (String, Position, bool) {
        let position = self.cursor.position();
        let start = self.cursor.at();
        self.cursor.bump();
        self.cursor
            .skip_while(|c| !c.is_whitespace() && !is_separator(c) && c != END);
        (self.cursor.since(start).to_owned(), position, true)
    }

    fn after_key(&mut self, key: &str, bare: bool) -> AfterKey {
        if bare && key.eq_ignore_ascii_case("include") && self.cursor.peek().is_whitespace() {
            return AfterKey::Include;
        }
        self.cursor.skip_while(char::is_whitespace);
        match self.cursor.peek() {
            c if is_separator(c) => {
                self.cursor.bump();
                AfterKey::Value
            }
            END => AfterKey::End,
            _ => AfterKey::Value,
        }
    }

    fn top_value_end(&mut self) -> Result<(), ConfError> {
        loop {
            if self.cursor.is_at_comment() {
                self.cursor.skip_comment();
                return Ok(());
            }
            match self.cursor.peek() {
                c if is_blank(c) || c == '/' => {
                    self.cursor.bump();
                }
                '}' if self.blocks > 0 => return self.close_block(),
                c if is_line_end(c) || matches!(c, ';' | ',') => {
                    self.cursor.bump();
                    return Ok(());
                }
                '}' | END if self.blocks == 0 => {
                    self.cursor.bump();
                    return Ok(());
                }
                _ => {
                    let level = if self.blocks > 0 { "block" } else { "top" };
                    let before = format!(
                        "Expected a {level}-level value to end with a new line, comment or EOF, \
                         but got "
                    );
                    return Err(self.cursor.unexpected(&before, " instead."));
                }
            }
        }
    }

    fn value(&mut self, in_array: bool) -> Result<Value, ConfError> {
        match self.cursor.peek() {
            '[' => self.nested(Self::array),
            '{' => self.nested(Self::map),
            _ => match scalar::read(&mut self.cursor, in_array)? {
                Scalar::Value(value) => Ok(value),
                Scalar::Variable(name, line) => self.variable(&name, line),
            },
        }
    }

    fn nested(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<Value, ConfError>,
    ) -> Result<Value, ConfError> {
        self.cursor.bump();
        if self.depth == MAX_DEPTH {
            return Err(self.cursor.error("Maps and arrays are nested too deeply."));
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn array(&mut self) -> Result<Value, ConfError> {
        let mut items = Vec::new();
        loop {
            self.cursor.skip_while(char::is_whitespace);
            if self.cursor.is_at_comment() {
                self.cursor.skip_comment();
                continue;
            }
            match self.cursor.peek() {
                ',' | '/' => {
                    self.cursor.bump();
                    return Err(self.cursor.error("Unexpected array value terminator ','."));
                }
                ']' => {
                    self.cursor.bump();
                    return Ok(Value::Array(items));
                }
                _ => {}
            }
            items.push(self.array_item()?);
            if self.array_value_end()? {
                return Ok(Value::Array(items));
            }
        }
    }

    /// Items are placed where their text starts, maps and arrays where it ends.
    fn array_item(&mut self) -> Result<Node, ConfError> {
        let mut position = self.cursor.position();
        if matches!(self.cursor.peek(), '"' | '\'' | '(') {
            position.column += 1;
        }
        let nested = matches!(self.cursor.peek(), '[' | '{');
        let value = self.value(true)?;
        if nested {
            position = self.cursor.position();
        }
        Ok(Node { value, position })
    }

    /// True if the array ended.
    fn array_value_end(&mut self) -> Result<bool, ConfError> {
        loop {
            if self.cursor.is_at_comment() {
                self.cursor.skip_comment();
                continue;
            }
            match self.cursor.peek() {
                c if is_blank(c) => {
                    self.cursor.bump();
                }
                c if is_line_end(c) || matches!(c, ',' | '/') => {
                    self.cursor.bump();
                    return Ok(false);
                }
                ']' => {
                    self.cursor.bump();
                    return Ok(true);
                }
                _ => {
                    let before = "Expected an array value terminator \",\" or an array terminator \
                        \"]\", but got ";
                    return Err(self.cursor.unexpected(before, " instead."));
                }
            }
        }
    }

    fn map(&mut self) -> Result<Value, ConfError> {
        self.scopes.push(Map::default());
        while self.map_statement()? {}
        Ok(Value::Map(self.scopes.pop().unwrap_or_default()))
    }

    /// One key with its value; false at the end of the map.
    fn map_statement(&mut self) -> Result<bool, ConfError> {
        self.cursor.skip_while(char::is_whitespace);
        if self.cursor.is_at_comment() {
            self.cursor.skip_comment();
            return Ok(true);
        }
        if self.cursor.peek() == '}' {
            self.cursor.bump();
            return Ok(false);
        }
        if self.cursor.peek() == '/' {
            self.cursor.bump();
        }
        let (key, position, bare) = self.map_key()?;
        match self.after_key(&key, bare) {
            AfterKey::Include => self.include()?,
            AfterKey::Value | AfterKey::End => {
                let value = self.map_value()?;
                self.set(key, Node { value, position });
            }
        }
        self.map_value_end()
    }

    fn map_key(&mut self) -> Result<(String, Position, bool), ConfError> {
        match self.cursor.peek() {
            c if is_separator(c) => Err(self.cursor.unexpected("Unexpected key separator ", ".")),
            ']' => Err(self
                .cursor
                .unexpected("Unexpected array end ", " processing map.")),
            '\'' => self.quoted_key('\'', "Unexpected EOF processing quoted map key."),
            '"' => self.quoted_key('"', "Unexpected EOF processing double quoted map key."),
            END => Err(self.cursor.error("Unexpected EOF processing map.")),
            _ => {
                let key = self.bare_key();
                if self.cursor.peek() == END {
                    return Err(self.cursor.error("Unexpected EOF processing map key."));
                }
                Ok(key)
            }
        }
    }

    /// Unlike at the top, a map's value may stand on a later line than its key.
    fn map_value(&mut self) -> Result<Value, ConfError> {
        self.cursor.skip_while(char::is_whitespace);
        match self.cursor.peek() {
            ',' => {
                self.cursor.bump();
                Err(self.cursor.error("Unexpected map value terminator \",\"."))
            }
            '}' => {
                self.cursor.bump();
                Err(self.cursor.error("Expected value but found end of map"))
            }
            _ => self.value(false),
        }
    }

    /// False if the map ended.
    fn map_value_end(&mut self) -> Result<bool, ConfError> {
        loop {
            if self.cursor.is_at_comment() {
                self.cursor.skip_comment();
                continue;
            }
            match self.cursor.peek() {
                c if is_blank(c) => {
                    self.cursor.bump();
                }
                c if is_line_end(c) || matches!(c, ',' | ';' | '/') => {
                    self.cursor.bump();
                    return Ok(true);
                }
                '}' => {
                    self.cursor.bump();
                    return Ok(false);
                }
                _ => {
                    let before =
                        "Expected a map value terminator \",\" or a map terminator \"}\", but got ";
                    return Err(self.cursor.unexpected(before, " instead."));
                }
            }
        }
    }

    fn set(&mut self, key: String, node: Node) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.set(Entry {
                key,
                node,
                used: false,
            });
        }
    }

    /// The value that `$name` stands for.
    fn variable(&mut self, name: &str, line: u32) -> Result<Value, ConfError> {
        // Bcrypt hashes of the common kind need no quotes.
        if name.starts_with("2a$") {
            return Ok(Value::Text(format!("${name}")));
        }
        let reference = |reason: &str| {
            ConfError(format!(
                "variable reference for '{name}' on line {line} {reason}"
            ))
        };
        let found = self
            .scopes
            .iter_mut()
            .rev()
            .find_map(|scope| scope.refer(name));
        let node = match found {
            // Measured before it is copied.
            Some(node) => self.shared.admit(node, self.depth).then(|| node.clone()),
            None => match self.environment(name) {
                Ok(Some(node)) => self.shared.admit(&node, self.depth).then_some(node),
                Ok(None) => return Err(reference("can not be found")),
                Err(error) => return Err(reference(&format!("could not be parsed: {error}"))),
            },
        };
        node.map(|node| node.value)
            .ok_or_else(|| reference("copies too much"))
    }

    /// An environment variable's text is a value itself and may refer to others.
    fn environment(&mut self, name: &str) -> Result<Option<Node>, ConfError> {
        if self.pending_variables.iter().any(|pending| pending == name)
            || self.pending_variables.len() == MAX_CHAIN
        {
            return Err(ConfError(format!("variable reference cycle for '{name}'")));
        }
        let Some(text) = self.shared.source.variable(name) else {
            return Ok(None);
        };
        let mut pending = self.pending_variables.clone();
        pending.push(name.to_owned());
        let statement = format!("pk={text}");
        let map = Parser::new(&statement, self.file, self.shared, pending).document()?;
        Ok(map
            .into_iter()
            .find(|entry| entry.key == "pk")
            .map(|entry| entry.node))
    }

    /// Merges the keys of another file into the current map.
    fn include(&mut self) -> Result<(), ConfError> {
        self.cursor.skip_while(is_blank);
        let path = self.include_path()?;
        let failed = |reason: &dyn std::fmt::Display| {
            ConfError(format!("error parsing include file '{path}', {reason}"))
        };
        if self.shared.including == MAX_CHAIN {
            return Err(failed(&"too many files include each other"));
        }
        if self.shared.files.len() == MAX_FILES {
            return Err(failed(&"too many files"));
        }
        let from = self
            .shared
            .files
            .get(self.file)
            .cloned()
            .unwrap_or_default();
        let included = self
            .shared
            .source
            .include(&from, &path)
            .map_err(|error| failed(&error))?;
        let file = self.shared.files.len();
        self.shared.files.push(included.name);
        self.shared.including += 1;
        let parser = Parser::new(&included.text, file, self.shared, Vec::new());
        let map = parser.document().map_err(|error| failed(&error))?;
        self.shared.including -= 1;
        if let Some(scope) = self.scopes.last_mut() {
            map.into_iter().for_each(|entry| scope.set(entry));
        }
        Ok(())
    }

    fn include_path(&mut self) -> Result<String, ConfError> {
        let start = match self.cursor.peek() {
            '[' => "start of an array",
            '{' => "start of a map",
            '(' => "start of a block",
            c if c.is_ascii_digit() || c == '-' => "start of a number",
            '\\' => "escape sequence",
            c if is_line_end(c) => "new line",
            quote @ ('\'' | '"') => return self.quoted_path(quote),
            _ => {
                let start = self.cursor.at();
                self.cursor.skip_while(|c| {
                    !is_line_end(c) && !is_blank(c) && !matches!(c, END | ';' | '}' | '\'')
                });
                let path = self.cursor.since(start).to_owned();
                if self.cursor.peek() == '\'' {
                    self.cursor.bump();
                }
                return Ok(path);
            }
        };
        self.cursor.bump();
        Err(self
            .cursor
            .error(format_args!("Expected include value but found {start}")))
    }

    fn quoted_path(&mut self, quote: char) -> Result<String, ConfError> {
        self.cursor.bump();
        let start = self.cursor.at();
        self.cursor.skip_while(|c| c != quote && c != END);
        if self.cursor.peek() != quote {
            let kind = if quote == '"' {
                "double quoted"
            } else {
                "quoted"
            };
            return Err(self
                .cursor
                .error(format_args!("Unexpected EOF in {kind} include")));
        }
        let path = self.cursor.since(start).to_owned();
        self.cursor.bump();
        Ok(path)
    }
}
