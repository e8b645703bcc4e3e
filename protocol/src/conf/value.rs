//! The tree that a configuration becomes.

use std::collections::BTreeMap;

/// Where a value stands, as error messages name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Index into [`Document::files`].
    pub file: usize,
    /// Line, counted from 1.
    pub line: u32,
    /// Column as the real server counts: from 0 in the first line, from 1 in all others.
    pub column: u32,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A whole number, with its unit applied.
    Int(i64),
    /// A number with decimals.
    Float(f64),
    /// true, yes, on; false, no, off.
    Bool(bool),
    /// A string of any form.
    Text(String),
    /// A point in time, nanoseconds since 1970.
    Date(i64),
    /// A list.
    Array(Vec<Node>),
    /// Keys and values.
    Map(Map),
}

impl Value {
    /// The type's name in messages about wrong types.
    #[must_use]
    pub const fn go_type(&self) -> &'static str {
        match self {
            Self::Int(_) => "int64",
            Self::Float(_) => "float64",
            Self::Bool(_) => "bool",
            Self::Text(_) => "string",
            Self::Date(_) => "time.Time",
            Self::Array(_) => "[]interface {}",
            Self::Map(_) => "map[string]interface {}",
        }
    }
}

/// A value with its place. In a map the place is that of the key.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it stands.
    pub position: Position,
}

impl Node {
    /// How many nodes the tree under this one has, itself included.
    pub(super) fn count(&self) -> usize {
        match &self.value {
            Value::Array(items) => 1 + items.iter().map(Self::count).sum::<usize>(),
            Value::Map(map) => 1 + map.iter().map(|entry| entry.node.count()).sum::<usize>(),
            _ => 1,
        }
    }

    /// How deep the tree under this one is; 1 for a scalar.
    pub(super) fn depth(&self) -> usize {
        let deepest = match &self.value {
            Value::Array(items) => items.iter().map(Self::depth).max(),
            Value::Map(map) => map.iter().map(|entry| entry.node.depth()).max(),
            _ => None,
        };
        1 + deepest.unwrap_or(0)
    }
}

/// One key of a map.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key as written.
    pub key: String,
    /// Its value.
    pub node: Node,
    /// Whether a variable reference names this key: then it is no mistake if nothing else knows it.
    pub used: bool,
}

/// A map in the order of the file. Of duplicate keys the last one wins.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Map {
    entries: Vec<Entry>,
    index: BTreeMap<String, usize>,
}

impl Map {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.index.get(key).map(|&at| &self.entries[at].node)
    }

    /// The entries in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.entries.iter()
    }

    /// Number of keys.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn set(&mut self, entry: Entry) {
        match self.index.get(&entry.key) {
            Some(&at) => self.entries[at] = entry,
            None => {
                self.index.insert(entry.key.clone(), self.entries.len());
                self.entries.push(entry);
            }
        }
    }

    /// The value of a key that a variable names.
    pub(super) fn refer(&mut self, key: &str) -> Option<&Node> {
        let entry = &mut self.entries[*self.index.get(key)?];
        entry.used = true;
        Some(&entry.node)
    }
}

impl<'m> IntoIterator for &'m Map {
    type Item = &'m Entry;
    type IntoIter = std::slice::Iter<'m, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Map {
    type Item = Entry;
    type IntoIter = std::vec::IntoIter<Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

/// A parsed configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The top-level keys.
    pub root: Map,
    /// The names of the files that were read, the first one's first.
    pub files: Vec<String>,
}

impl Document {
    /// A position as `file:line:column`.
    #[must_use]
    pub fn locate(&self, position: Position) -> String {
        let file = self.files.get(position.file).map_or("", String::as_str);
        format!("{file}:{}:{}", position.line, position.column)
    }
}
