//! Random programs, one generator per area.

mod consumers;
mod core;
mod publish;
mod reads;
mod streams;

use serde_json::{Map, Value};

use crate::program::{Area, Program};
use crate::random::Random;

/// The program of an area that follows from a seed.
pub(crate) fn program(area: Area, seed: u64) -> Program {
    let random = &mut Random::new(seed);
    match area {
        Area::Core => core::program(random),
        Area::Api => streams::program(random),
        Area::Publish => publish::program(random),
        Area::Consume => consumers::delivering(random),
        Area::ConsumerApi => consumers::configuring(random),
        Area::Read => reads::program(random),
        Area::Push => consumers::pushing(random),
    }
}

/// A JetStream program that is compared by the state of its streams and consumers.
fn checked(ops: Vec<crate::program::Op>, streams: &[&str]) -> Program {
    let mut checks = Vec::new();
    for stream in streams {
        let body = "{\"subjects_filter\":\">\",\"deleted_details\":true}";
        checks.push((format!("$JS.API.STREAM.INFO.{stream}"), body.to_owned()));
        checks.push((format!("$JS.API.CONSUMER.LIST.{stream}"), String::new()));
    }
    Program {
        ops,
        connect: String::new(),
        checks,
    }
}

/// Fields of a JSON object, of which each is set once in so many programs.
#[derive(Debug, Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn set(&mut self, name: &str, value: impl Into<Value>) -> &mut Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Sets a field once in `n` times, to one of some values written as JSON.
    fn maybe(&mut self, random: &mut Random, n: usize, name: &str, values: &[&str]) -> &mut Self {
        if random.once_in(n) {
            let text = random.pick(values);
            let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
            self.0.insert(name.to_owned(), value);
        }
        self
    }

    fn value(self) -> Value {
        Value::Object(self.0)
    }

    fn text(self) -> String {
        self.value().to_string()
    }
}
