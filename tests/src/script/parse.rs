//! A script file as statements. Knows the format's syntax, not its meaning at run time.

use std::fmt;
use std::time::Duration;

/// What a script says about its server before the first statement.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Setup {
    /// Command line flags.
    pub flags: Vec<String>,
    /// Text of a configuration file; empty for none.
    pub config: String,
    /// JetStream in a store of its own.
    pub jetstream: bool,
    /// A server that no other script uses.
    pub isolated: bool,
}

/// A line of a script and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Counted from 1.
    pub number: usize,
    /// What follows the operator.
    pub text: String,
    /// Whether the bytes are taken as they are, without a line end added.
    pub raw: bool,
}

/// What a statement without an operator does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// Connects and leaves INFO to be expected by the script.
    Connect,
    /// Sends CONNECT with everything off.
    Plain,
    /// Sends CONNECT with headers, no responders and protocol 1; reads PONG and the second INFO.
    Full,
    /// Proves by PING and PONG that nothing else came and that the connection lives.
    Open,
    /// Expects the end of the stream.
    Closed,
    /// Reads and drops everything up to the end of the stream, which must come without an error
    /// line.
    Cut,
    /// Closes the client's side.
    Close,
    /// Expects that nothing comes for this long.
    Silent(Duration),
}

/// One step of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// `C1>`: lines sent in one write.
    Send { who: String, lines: Vec<Line> },
    /// `C1<`: lines expected next; they hold one or more protocol items.
    Expect { who: String, lines: Vec<Line> },
    /// `C1|C2~`: items expected in any order and on any of these connections, and nothing else.
    Any { who: Vec<String>, lines: Vec<Line> },
    /// `C1?`: a request to a subject (first word) with a body (the rest).
    Request { who: String, line: Line },
    /// `C1=`: the body of the answer to a request.
    Answer { who: String, line: Line },
    /// `C1*`: as `C1=`, but the request before is repeated until its answer matches.
    Poll { who: String, line: Line },
    /// `C1 word`.
    Do {
        who: String,
        verb: Verb,
        number: usize,
    },
}

/// A parsed file.
#[derive(Debug)]
pub struct Script {
    /// The server it needs.
    pub setup: Setup,
    /// Limit of each read.
    pub deadline: Duration,
    /// Whether the script itself handles the server's PING lines.
    pub manual_ping: bool,
    /// Whether the bytes may be cut anywhere; if not, the script is played whole only.
    pub cuttable: bool,
    /// The steps.
    pub statements: Vec<Statement>,
}

/// Why a file is not a script.
#[derive(Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The line, counted from 1.
    pub number: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.number, self.reason)
    }
}

/// Only failing scripts wait for it.
const DEADLINE: Duration = Duration::from_secs(60);

impl Script {
    /// Parses the text of a file.
    ///
    /// # Errors
    /// Names the first line that does not fit the format.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut script = Self {
            setup: Setup::default(),
            deadline: DEADLINE,
            manual_ping: false,
            cuttable: true,
            statements: Vec::new(),
        };
        let mut in_config = false;
        let mut described = false;
        for (index, line) in text.lines().enumerate() {
            let fail = |reason: String| ParseError {
                number: index + 1,
                reason,
            };
            if let Some(comment) = line.strip_prefix('#') {
                described |= !comment.trim().is_empty();
            } else if in_config && line.starts_with("  ") {
                script.setup.config.push_str(line);
                script.setup.config.push('\n');
            } else if !line.trim().is_empty() {
                if !described {
                    return Err(fail(
                        "a script starts with a comment that says what it proves".into(),
                    ));
                }
                let is_head = script.statements.is_empty();
                in_config = is_head && line == "config:";
                let done = in_config || (is_head && script.header(line).map_err(&fail)?);
                if !done {
                    script.statement(line, index + 1).map_err(fail)?;
                }
            }
        }
        if script.statements.is_empty() {
            return Err(ParseError {
                number: 0,
                reason: "no statements".into(),
            });
        }
        Ok(script)
    }

    /// Takes a `key: value` line; false if the line is none.
    fn header(&mut self, line: &str) -> Result<bool, String> {
        let Some((key, value)) = line.split_once(": ") else {
            return Ok(false);
        };
        match (key, value.trim()) {
            ("server", flags) => {
                self.setup.flags = flags.split_whitespace().map(str::to_owned).collect();
            }
            ("jetstream", "yes") => self.setup.jetstream = true,
            ("isolated", "yes") => self.setup.isolated = true,
            ("ping", "manual") => self.manual_ping = true,
            ("cuts", "none") => self.cuttable = false,
            ("deadline", value) => self.deadline = duration(value)?,
            _ if !key.contains(char::is_whitespace) => {
                return Err(format!("unknown header {line:?}"));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn statement(&mut self, line: &str, number: usize) -> Result<(), String> {
        let end = line
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '|')
            .ok_or_else(|| format!("no operator in {line:?}"))?;
        let (who, rest) = line.split_at(end);
        if !who.split('|').all(is_connection) {
            return Err(format!("{who:?} is no connection name (C1, C2, …)"));
        }
        let (operator, raw, text) = operator(rest);
        let (who, line) = (
            who.to_owned(),
            Line {
                number,
                text: text.to_owned(),
                raw,
            },
        );
        match operator {
            '>' => match self.statements.last_mut() {
                Some(Statement::Send { who: last, lines }) if *last == who => lines.push(line),
                _ => self.statements.push(Statement::Send {
                    who,
                    lines: vec![line],
                }),
            },
            '<' => match self.statements.last_mut() {
                Some(Statement::Expect { who: last, lines }) if *last == who => lines.push(line),
                _ => self.statements.push(Statement::Expect {
                    who,
                    lines: vec![line],
                }),
            },
            '~' => {
                let who: Vec<String> = who.split('|').map(str::to_owned).collect();
                match self.statements.last_mut() {
                    Some(Statement::Any { who: last, lines }) if *last == who => lines.push(line),
                    _ => self.statements.push(Statement::Any {
                        who,
                        lines: vec![line],
                    }),
                }
            }
            '?' => self.statements.push(Statement::Request { who, line }),
            '=' => self.statements.push(Statement::Answer { who, line }),
            '*' => self.statements.push(Statement::Poll { who, line }),
            ' ' => {
                let verb = verb(text)?;
                self.statements.push(Statement::Do { who, verb, number });
            }
            other => return Err(format!("unknown operator {other:?}")),
        }
        Ok(())
    }
}

/// The operator, whether it is doubled (raw), and the text after it and one blank.
fn operator(rest: &str) -> (char, bool, &str) {
    let operator = rest.chars().next().unwrap_or(' ');
    let rest = &rest[operator.len_utf8()..];
    if operator == ' ' {
        return (operator, false, rest.trim());
    }
    match rest.strip_prefix(operator) {
        Some(rest) => (operator, true, rest.strip_prefix(' ').unwrap_or(rest)),
        None => (operator, false, rest.strip_prefix(' ').unwrap_or(rest)),
    }
}

fn is_connection(name: &str) -> bool {
    name.strip_prefix('C').is_some_and(|digits| {
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn verb(text: &str) -> Result<Verb, String> {
    Ok(match text {
        "connect" => Verb::Connect,
        "plain" => Verb::Plain,
        "full" => Verb::Full,
        "open" => Verb::Open,
        "closed" => Verb::Closed,
        "cut" => Verb::Cut,
        "close" => Verb::Close,
        other => match other.strip_prefix("silent ") {
            Some(time) => Verb::Silent(duration(time)?),
            None => return Err(format!("unknown step {other:?}")),
        },
    })
}

fn duration(text: &str) -> Result<Duration, String> {
    text.strip_suffix("ms")
        .and_then(|number| number.parse().ok())
        .map(Duration::from_millis)
        .ok_or_else(|| format!("{text:?} is no number of ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_with_every_kind_of_line() {
        let text = "# What.\nserver: --auth x\nconfig:\n  a: 1\n  b: 2\n\nC1 connect\nC1> PING\n\
                    C1> PING\nC1>> x\nC1< PONG\nC1|C2~ PONG\nC1? $JS.API.INFO {}\nC1= {\"a\":1}\n\
                    C1 silent 5ms\n";
        let script = Script::parse(text).unwrap();
        assert_eq!(script.setup.flags, ["--auth", "x"]);
        assert_eq!(script.setup.config, "  a: 1\n  b: 2\n");
        assert_eq!(script.statements.len(), 7);
        let Statement::Send { lines, .. } = &script.statements[1] else {
            panic!()
        };
        assert_eq!(lines.len(), 3);
        assert!(lines[2].raw && lines[2].number == 10);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, number) in [
            ("C1> PING\n", 1),
            ("# x\nC1 jump\n", 2),
            ("# x\nfoo: bar\n", 2),
            ("# x\nC1> PING\nD1> PING\n", 3),
            ("# x\n", 0),
        ] {
            assert_eq!(Script::parse(text).unwrap_err().number, number, "{text}");
        }
    }
}
