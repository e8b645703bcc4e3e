//! Makes what two servers say comparable: times, random ids and counters of calls become holes.
//!
//! Everything else stays as it is, byte for byte: the order of fields and the form of numbers too.

/// Replaces what no two servers agree on.
pub(crate) fn normalise(text: &[u8], year: &str) -> String {
    let text = text.escape_ascii().to_string().replace("\\\"", "\"");
    let text = without_times(&text, year);
    let text = between(&text, "\"api\":{", "}", "<api>");
    let text = without_ack_subjects(&text);
    let text = without_random_names(&text);
    let text = between(&text, "\"pause_remaining\":", "}", "<ns>");
    let text = between(&text, "\"client_id\":", ",", "<id>");
    let text = between(&text, "\"id\":\"", "\"", "<id>");
    between(&text, "INFO {", "}", "<info>")
}

/// An ack subject without its time; other subjects as they are.
pub(crate) fn reply(subject: &str) -> String {
    let mut tokens: Vec<&str> = subject.split('.').collect();
    if subject.starts_with("$JS.ACK.") && tokens.len() == 9 {
        tokens[7] = "<time>";
    }
    if subject.starts_with("$JS.FC.") {
        tokens.pop();
        tokens.push("<token>");
    }
    tokens.join(".")
}

/// The names of consumers that a server invented: eight characters, and none in the configuration.
fn without_random_names(text: &str) -> String {
    const BEGIN: &str = "\"name\":\"";
    const NEXT: &str = "\",\"created\"";
    let mut parts = text.split(BEGIN);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(BEGIN);
        match part.get(8..) {
            Some(rest) if rest.starts_with(NEXT) => {
                out.push_str("<random>");
                out.push_str(rest);
            }
            _ => out.push_str(part),
        }
    }
    out
}

/// The times in the ack subjects that a text names.
fn without_ack_subjects(text: &str) -> String {
    let mut parts = text.split("$JS.ACK.");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(['\\', ' ', '"']).unwrap_or(part.len());
        out.push_str(&reply(&format!("$JS.ACK.{}", &part[..end])));
        out.push_str(&part[end..]);
    }
    out
}

/// Replaces what stands between each `begin` and the next `end`.
fn between(text: &str, begin: &str, end: &str, hole: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(begin) {
        out.push_str(before);
        out.push_str(begin);
        out.push_str(hole);
        rest = after.find(end).map_or("", |at| &after[at..]);
    }
    out.push_str(rest);
    out
}

/// Times of this year (programs use other years only).
fn without_times(text: &str, year: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let begin = format!("{year}-");
    while let Some(at) = rest.find(&begin) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = rest
            .find(|c: char| !(c.is_ascii_digit() || "-:.T".contains(c)))
            .unwrap_or(rest.len());
        out.push_str(if length < 19 {
            &rest[..length]
        } else {
            "<time>"
        });
        rest = &rest[length..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_years_times_become_holes() {
        let text = b"{\"ts\":\"2026-11-24T01:02:03.4Z\",\"a\":\"2020-01-01T00:00:00Z\"}";
        assert_eq!(
            normalise(text, "2026"),
            "{\"ts\":\"<time>Z\",\"a\":\"2020-01-01T00:00:00Z\"}"
        );
    }

    #[test]
    fn ack_subjects_lose_their_time() {
        assert_eq!(
            reply("$JS.ACK.S.C.1.2.3.99.0"),
            "$JS.ACK.S.C.1.2.3.<time>.0"
        );
        assert_eq!(reply("a.b"), "a.b");
    }
}
