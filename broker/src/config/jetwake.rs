//! The `jetwake` block: what nats-server has no key for.

use jetwake_protocol::conf::{Node, Value};

use super::Findings;
use super::values::{self, Read};
use crate::options::Options;

const JOURNAL_FILE_MIN: u32 = 256 << 10;
const JOURNAL_FILE_MAX: u32 = 1 << 30;

pub(super) fn apply(node: &Node, options: &mut Options, findings: &mut Findings<'_>) -> Read<()> {
    let Value::Map(map) = &node.value else {
        return Err(format!(
            "expected a map to define jetwake, got {}",
            node.value.go_type()
        ));
    };
    for entry in map {
        let (key, node) = (entry.key.to_ascii_lowercase(), &entry.node);
        let read = match key.as_str() {
            "journal_file_max" => {
                journal_file(node).map(|bytes| options.journal_file_max = Some(bytes))
            }
            "scrub_period" => values::duration(node, "scrub_period", findings)
                .map(|period| options.scrub_period = Some(period)),
            _ if entry.used => Ok(()),
            _ => {
                findings.unknown(&entry.key, node, &[]);
                Ok(())
            }
        };
        if let Err(text) = read {
            findings.error(node.position, &text);
        }
    }
    Ok(())
}

fn journal_file(node: &Node) -> Read<u32> {
    let bytes = values::int(node)?;
    let range = JOURNAL_FILE_MIN..=JOURNAL_FILE_MAX;
    let bytes = u32::try_from(bytes)
        .ok()
        .filter(|bytes| range.contains(bytes));
    bytes.ok_or_else(|| "journal_file_max must be between 256KB and 1GB".to_owned())
}
