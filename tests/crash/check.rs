//! What must be true of a stream after any number of crashes.

use std::io;
use std::net::SocketAddr;

use jetwake_tests::jetstream::{Push, classify, push_all, stream_sequence, stream_state};
use jetwake_tests::wire::Client;

use crate::writer::{Writer, claim, contents};

/// A stream with more broken promises than this is reported as such, not message by message.
const REPORT_LIMIT: usize = 20;

/// Reads a whole stream in order and compares it with what its writers know.
pub(crate) fn stream(
    address: SocketAddr,
    name: &str,
    writers: &[&Writer],
    settled: bool,
) -> io::Result<Vec<String>> {
    let mut client = Client::connect(address)?;
    let (messages, last) = stream_state(&mut client, name)?;
    let mut check = Check::new(writers);
    if messages != last {
        check.fail(format!(
            "{messages} messages but the last sequence is {last}"
        ));
    }
    if last > 0 {
        // Consumers of earlier checks may still deliver to their inboxes.
        let inbox = format!("_INBOX.check.{}", client.local_port()?);
        push_all(&mut client, name, &inbox)?;
        read_all(&mut client, last, &mut check)?;
    }
    check.end(settled);
    spot_checks(&mut client, name, writers, &mut check)?;
    Ok(check
        .violations
        .into_iter()
        .map(|text| format!("{name}: {text}"))
        .collect())
}

fn read_all(client: &mut Client, last: u64, check: &mut Check<'_>) -> io::Result<()> {
    for expected in 1..=last {
        loop {
            let message = client.next_message()?;
            match classify(&message) {
                Push::Data => {
                    check.message(expected, stream_sequence(message.reply), message.payload);
                    break;
                }
                Push::FlowControl(subject) => client.publish(&subject, b"", b""),
                Push::Status => {}
            }
        }
        if check.violations.len() > REPORT_LIMIT {
            check.fail("and more".to_owned());
            break;
        }
    }
    Ok(())
}

/// Direct reads take another path through the server than consumers do.
fn spot_checks(
    client: &mut Client,
    name: &str,
    writers: &[&Writer],
    check: &mut Check<'_>,
) -> io::Result<()> {
    let mut client = Client::connect(client.peer()?)?;
    for writer in writers {
        for part in 1..=8 {
            let n = writer.sent().saturating_sub(1) * part / 8;
            let Some(sequence) = writer.acked_sequence(n) else {
                continue;
            };
            let request = format!("{{\"seq\":{sequence}}}");
            let subject = format!("$JS.API.DIRECT.GET.{name}");
            let body = client.request(&subject, request.as_bytes())?;
            if body != contents(writer.id(), n) {
                check.fail(format!(
                    "direct read of {sequence} is not writer {} {n}",
                    writer.id()
                ));
            }
        }
    }
    Ok(())
}

struct Check<'a> {
    writers: &'a [&'a Writer],
    /// The number of the next message of each writer.
    next: Vec<u64>,
    violations: Vec<String>,
}

impl<'a> Check<'a> {
    fn new(writers: &'a [&'a Writer]) -> Self {
        Check {
            writers,
            next: vec![0; writers.len()],
            violations: Vec::new(),
        }
    }

    fn fail(&mut self, text: String) {
        self.violations.push(text);
    }

    fn message(&mut self, expected: u64, sequence: Option<u64>, body: &[u8]) {
        if sequence != Some(expected) {
            self.fail(format!("sequence {sequence:?} where {expected} was due"));
        }
        let claimed = claim(body);
        let found = claimed.and_then(|(id, n)| {
            Some((
                self.writers.iter().position(|writer| writer.id() == id)?,
                id,
                n,
            ))
        });
        let Some((index, id, n)) = found.filter(|(_, id, n)| body == contents(*id, *n)) else {
            return self.fail(format!("message {expected} is altered: claims {claimed:?}"));
        };
        if n != self.next[index] {
            let due = self.next[index];
            self.fail(format!(
                "message {expected}: writer {id} number {n} where {due} was due"
            ));
        }
        self.next[index] = n + 1;
        if let Some(acked) = self.writers[index]
            .acked_sequence(n)
            .filter(|acked| *acked != expected)
        {
            self.fail(format!(
                "writer {id} number {n} is at {expected}, acknowledged as {acked}"
            ));
        }
    }

    fn end(&mut self, settled: bool) {
        for (writer, next) in self.writers.iter().zip(self.next.clone()) {
            let sent = writer.sent();
            let lost = (next..sent).find(|n| settled || writer.acked_sequence(*n).is_some());
            if let Some(n) = lost {
                let id = writer.id();
                let text = format!("writer {id}: number {n} is lost, the stream ends at {next}");
                self.violations.push(text);
            }
        }
    }
}
