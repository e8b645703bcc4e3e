//! The configuration dialect: every text gives a document or an error, in bounded time and memory.
//!
//! A NUL splits the input: what follows is the file that every include reads and the value of every
//! environment variable with a name in capitals.
#![no_main]

use jetwake_protocol::conf::{Included, Source, Value, parse};
use libfuzzer_sys::fuzz_target;

struct Other<'d>(&'d str);

impl Source for Other<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        name.starts_with(|c: char| c.is_ascii_uppercase())
            .then(|| self.0.to_owned())
    }

    fn include(&self, _from: &str, path: &str) -> Result<Included, String> {
        Ok(Included {
            name: path.to_owned(),
            text: self.0.to_owned(),
        })
    }
}

fn visit(value: &Value, depth: usize) {
    assert!(depth < 1000);
    match value {
        Value::Array(items) => items.iter().for_each(|item| visit(&item.value, depth + 1)),
        Value::Map(map) => map
            .iter()
            .for_each(|entry| visit(&entry.node.value, depth + 1)),
        _ => {}
    }
}

fuzz_target!(|data: &str| {
    let (text, other) = data.split_once('\0').unwrap_or((data, ""));
    if let Ok(document) = parse("fuzz.conf", text, &Other(other)) {
        visit(&Value::Map(document.root), 0);
    }
});
