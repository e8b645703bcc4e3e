//! Plays one script against a server and stops at the first difference.
//!
//! PING lines of the server are answered and skipped unless the script handles them itself, so that
//! a slow machine does not change what a script sees.

// This is a shell: it polls until a deadline.
#![allow(clippy::disallowed_methods)]

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::connection::{Connection, Item};
use super::parse::{Line, Script, Statement, Verb};
use super::pattern::Pattern;
use super::text::{self, Names};

/// How the client's bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Each group of lines in one write.
    Whole,
    /// Each byte in a write of its own.
    EveryByte,
}

/// The first difference between a script and a server.
#[derive(Debug)]
pub struct Failure {
    /// The script's line, counted from 1.
    pub line: usize,
    /// What the script wants.
    pub expected: String,
    /// What came.
    pub got: String,
    /// What went over the wire before, newest last.
    pub before: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.before {
            writeln!(f, "    {event}")?;
        }
        writeln!(f, "  expected: {}", self.expected)?;
        writeln!(f, "  got:      {}", self.got)
    }
}

const PLAIN: &[u8] = b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";
const FULL: &[u8] = b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\
    \"no_responders\":true,\"protocol\":1}\r\nPING\r\n";
const HISTORY: usize = 14;

/// Plays `script`; `id` must be unique on that server.
///
/// # Errors
/// The first difference.
pub fn run(script: &Script, address: SocketAddr, id: &str, mode: Mode) -> Result<(), Failure> {
    let mut player = Player {
        address,
        mode,
        names: Names::from([("id".to_owned(), id.as_bytes().to_vec())]),
        connections: HashMap::new(),
        with_inbox: HashSet::new(),
        deadline: script.deadline,
        manual_ping: script.manual_ping,
        history: VecDeque::new(),
        last_request: Vec::new(),
        line: 0,
    };
    for statement in &script.statements {
        player.play(statement).map_err(|(expected, got)| Failure {
            line: player.line,
            expected,
            got,
            before: player.history.iter().cloned().collect(),
        })?;
    }
    Ok(())
}

type Step<T = ()> = Result<T, (String, String)>;

struct Player {
    address: SocketAddr,
    mode: Mode,
    names: Names,
    connections: HashMap<String, Connection>,
    with_inbox: HashSet<String>,
    deadline: Duration,
    manual_ping: bool,
    history: VecDeque<String>,
    last_request: Vec<u8>,
    line: usize,
}

impl Player {
    fn play(&mut self, statement: &Statement) -> Step {
        match statement {
            Statement::Send { who, lines } => self.send_lines(who, lines),
            Statement::Expect { who, lines } => self.expect_lines(who, lines),
            Statement::Any { who, lines } => self.expect_any(who, lines),
            Statement::Request { who, line } => self.request(who, line),
            Statement::Answer { who, line } => self.answer(who, line),
            Statement::Poll { who, line } => self.poll(who, line),
            Statement::Do { who, verb, number } => {
                self.line = *number;
                self.act(who, verb)
            }
        }
    }

    fn act(&mut self, who: &str, verb: &Verb) -> Step {
        match verb {
            Verb::Connect => self.connect(who),
            Verb::Plain => self.send(who, PLAIN, &[]),
            Verb::Full => {
                self.send(who, FULL, &[])?;
                self.expect(who, b"PONG")?;
                self.expect(who, b"INFO <json {\"connect_info\":true}> ")
            }
            Verb::Open => {
                self.send(who, b"PING\r\n", &[])?;
                self.expect(who, b"PONG")
            }
            Verb::Close => {
                if let Some(mut connection) = self.connections.remove(who) {
                    connection.close();
                }
                self.with_inbox.remove(who);
                Ok(())
            }
            Verb::Closed => match self.read(who, self.deadline)? {
                Item::End(rest) if rest.is_empty() => Ok(()),
                other => Err((format!("{who} closed by the server"), describe(&other))),
            },
            Verb::Cut => loop {
                match self.read(who, self.deadline)? {
                    Item::Bytes(bytes) if !bytes.starts_with(b"-ERR") => {}
                    Item::End(_) => return Ok(()),
                    other => return Err((format!("{who} cut off in silence"), describe(&other))),
                }
            },
            Verb::Silent(time) => match self.read(who, *time)? {
                Item::Nothing(rest) if rest.is_empty() => Ok(()),
                other => Err((format!("nothing on {who} for {time:?}"), describe(&other))),
            },
        }
    }

    fn connect(&mut self, who: &str) -> Step {
        let connection = Connection::open(self.address)
            .map_err(|error| (format!("{who} connects"), error.to_string()))?;
        self.connections.insert(who.to_owned(), connection);
        self.names.insert("in".to_owned(), Vec::new());
        Ok(())
    }

    /// The named connection; the first mention opens it and takes its INFO line.
    fn connection(&mut self, who: &str) -> Step<&mut Connection> {
        if !self.connections.contains_key(who) {
            self.connect(who)?;
            self.expect(who, b"INFO <json {}> ")?;
        }
        self.connections
            .get_mut(who)
            .ok_or_else(|| (format!("{who} is open"), "nothing".to_owned()))
    }

    fn send(&mut self, who: &str, bytes: &[u8], cuts: &[usize]) -> Step {
        let mode = self.mode;
        self.connection(who)?;
        self.note(who, "->", bytes);
        let connection = self.connection(who)?;
        match mode {
            Mode::Whole => connection.send(bytes, cuts),
            Mode::EveryByte => connection.send(bytes, &Connection::every_byte(bytes)),
        }
        Ok(())
    }

    fn send_lines(&mut self, who: &str, lines: &[Line]) -> Step {
        self.line = lines.first().map_or(0, |line| line.number);
        let needs_inbox = lines.iter().any(|line| line.text.contains("{in}"));
        let (mut bytes, mut cuts) = (Vec::new(), Vec::new());
        if needs_inbox {
            bytes.extend(self.subscribe_inbox(who));
        }
        let mut resolved: Vec<(Vec<u8>, Vec<usize>)> = Vec::new();
        for line in lines.iter().rev() {
            self.set_sizes(&resolved);
            let (mut line_bytes, line_cuts) = text::unescape(&self.substitute(who, &line.text));
            if !line.raw {
                line_bytes.extend_from_slice(b"\r\n");
            }
            resolved.push((line_bytes, line_cuts));
        }
        for (line_bytes, line_cuts) in resolved.into_iter().rev() {
            cuts.extend(line_cuts.iter().map(|cut| cut + bytes.len()));
            bytes.extend(line_bytes);
        }
        self.send(who, &bytes, &cuts)
    }

    /// `{len}` and `{hlen}` describe the lines that follow, which `later` holds in reverse order.
    fn set_sizes(&mut self, later: &[(Vec<u8>, Vec<usize>)]) {
        let following: Vec<&[u8]> = later
            .iter()
            .rev()
            .map(|(line, _)| line.as_slice())
            .collect();
        let has_headers = following
            .first()
            .is_some_and(|line| line.starts_with(b"NATS/1.0"));
        let blank = following.iter().position(|line| *line == b"\r\n");
        let header_lines = match blank {
            Some(blank) if has_headers => blank + 1,
            _ => 0,
        };
        let header: usize = following[..header_lines]
            .iter()
            .map(|line| line.len())
            .sum();
        let body = following
            .get(header_lines)
            .map_or(0, |line| line.len().saturating_sub(2));
        self.names
            .insert("hlen".to_owned(), header.to_string().into_bytes());
        self.names
            .insert("len".to_owned(), (header + body).to_string().into_bytes());
    }

    fn substitute(&mut self, who: &str, line: &str) -> Vec<u8> {
        let inbox = self.inbox(who);
        self.names.insert("in".to_owned(), inbox.into_bytes());
        text::substitute(line, &self.names)
    }

    fn inbox(&self, who: &str) -> String {
        format!("in.{}.{who}", String::from_utf8_lossy(&self.names["id"]))
    }

    /// The SUB line of the connection's inbox, once.
    fn subscribe_inbox(&mut self, who: &str) -> Vec<u8> {
        if self.with_inbox.insert(who.to_owned()) {
            format!("SUB {} 9\r\n", self.inbox(who)).into_bytes()
        } else {
            Vec::new()
        }
    }

    fn request(&mut self, who: &str, line: &Line) -> Step {
        self.line = line.number;
        let subscription = self.subscribe_inbox(who);
        let (subject, body) = line.text.split_once(' ').unwrap_or((&line.text, ""));
        let (subject, body) = (self.substitute(who, subject), self.substitute(who, body));
        let (body, _) = text::unescape(&body);
        let mut request = b"PUB ".to_vec();
        request.extend(subject);
        request.extend_from_slice(format!(" {} {}\r\n", self.inbox(who), body.len()).as_bytes());
        request.extend(body);
        request.extend_from_slice(b"\r\n");
        self.last_request = request.clone();
        self.send(who, &[subscription, request].concat(), &[])
    }

    fn answer(&mut self, who: &str, line: &Line) -> Step {
        let expected = self.expected_answer(who, line);
        self.expect(who, &expected)
    }

    fn expected_answer(&mut self, who: &str, line: &Line) -> Vec<u8> {
        self.line = line.number;
        let mut expected = format!("MSG {} 9 <len>\r\n", self.inbox(who)).into_bytes();
        expected.extend(self.substitute(who, &line.text));
        expected
    }

    /// Repeats the last request until its answer is the expected one, for what a server does in its
    /// own time.
    fn poll(&mut self, who: &str, line: &Line) -> Step {
        let expected = self.expected_answer(who, line);
        let request = self.last_request.clone();
        let end = Instant::now() + self.deadline;
        loop {
            match self.expect(who, &expected) {
                Err(difference) if Instant::now() > end => return Err(difference),
                Err(_) => self.send(who, &request, &[])?,
                Ok(()) => return Ok(()),
            }
        }
    }

    fn expect_lines(&mut self, who: &str, lines: &[Line]) -> Step {
        for item in items(lines) {
            self.line = item.first().map_or(0, |line| line.number);
            let expected = self.expected(who, item);
            self.expect(who, &expected)?;
        }
        Ok(())
    }

    fn expected(&mut self, who: &str, item: &[Line]) -> Vec<u8> {
        let lines: Vec<Vec<u8>> = item
            .iter()
            .map(|line| self.substitute(who, &line.text))
            .collect();
        lines.join(b"\r\n".as_slice())
    }

    fn expect(&mut self, who: &str, expected: &[u8]) -> Step {
        let wanted = format!("{who} <- {}", text::show(expected));
        match self.read_unless(who, expected == b"PING")? {
            Item::Bytes(bytes) if Pattern::new(expected).matches(&bytes, &mut self.names) => Ok(()),
            other => Err((wanted, describe(&other))),
        }
    }

    /// Collects what each connection has got up to the answer of a PING and compares the whole. What is still
    /// missing then may be on its way from another thread of the server: it is asked for again until the deadline.
    fn expect_any(&mut self, who: &[String], lines: &[Line]) -> Step {
        let first = who.first().map_or("", String::as_str);
        self.line = lines.first().map_or(0, |line| line.number);
        let mut missing = Vec::new();
        for item in items(lines) {
            missing.push(self.expected(first, item));
        }
        let end = Instant::now() + self.deadline;
        loop {
            for name in who {
                self.collect(who, name, &mut missing)?;
            }
            if missing.is_empty() || Instant::now() > end {
                break;
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err((wanted(who, &missing), "nothing more".to_owned()))
    }

    /// Takes what one connection has got up to the answer of a PING off `missing`.
    fn collect(&mut self, who: &[String], name: &str, missing: &mut Vec<Vec<u8>>) -> Step {
        self.send(name, b"PING\r\n", &[])?;
        loop {
            match self.read(name, self.deadline)? {
                Item::Bytes(bytes) if bytes == b"PONG" => return Ok(()),
                Item::Bytes(bytes) => {
                    let names = &mut self.names;
                    let found = missing
                        .iter()
                        .position(|p| Pattern::new(p).matches(&bytes, names));
                    match found {
                        Some(index) => drop(missing.remove(index)),
                        None => return Err((wanted(who, missing), text::show(&bytes))),
                    }
                }
                other => return Err((wanted(who, missing), describe(&other))),
            }
        }
    }

    fn read(&mut self, who: &str, limit: Duration) -> Step<Item> {
        self.read_within(who, limit, false)
    }

    fn read_unless(&mut self, who: &str, wants_ping: bool) -> Step<Item> {
        self.read_within(who, self.deadline, wants_ping)
    }

    /// The next item that the script has to see.
    fn read_within(&mut self, who: &str, limit: Duration, wants_ping: bool) -> Step<Item> {
        loop {
            let item = self
                .connection(who)?
                .item(limit)
                .map_err(|reason| (format!("{who} gets well-formed items"), reason))?;
            match item {
                Item::Bytes(bytes) if bytes == b"PING" && !wants_ping && !self.manual_ping => {
                    self.connection(who)?.send(b"PONG\r\n", &[]);
                }
                Item::Bytes(bytes) => {
                    self.note(who, "<-", &bytes);
                    return Ok(Item::Bytes(bytes));
                }
                other => return Ok(other),
            }
        }
    }

    fn note(&mut self, who: &str, arrow: &str, bytes: &[u8]) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        let shown = if bytes.starts_with(b"INFO ") {
            "INFO …".into()
        } else {
            text::show(bytes)
        };
        self.history.push_back(format!("{who} {arrow} {shown}"));
    }
}

fn wanted(who: &[String], missing: &[Vec<u8>]) -> String {
    let items: Vec<String> = missing.iter().map(|item| text::show(item)).collect();
    format!(
        "{} <- {} of [{}]",
        who.join("|"),
        items.len(),
        items.join(", ")
    )
}

fn describe(item: &Item) -> String {
    match item {
        Item::Bytes(bytes) => text::show(bytes),
        Item::End(rest) if rest.is_empty() => "end of stream".to_owned(),
        Item::End(rest) => format!("end of stream after {}", text::show(rest)),
        Item::Nothing(rest) if rest.is_empty() => "nothing within the deadline".to_owned(),
        Item::Nothing(rest) => format!("only {} within the deadline", text::show(rest)),
    }
}

/// Groups expected lines into protocol items: a payload follows MSG, headers and a payload HMSG.
fn items(lines: &[Line]) -> Vec<&[Line]> {
    let mut groups = Vec::new();
    let mut start = 0;
    while start < lines.len() {
        let first = lines[start].text.as_str();
        let mut end = start + 1;
        if first.starts_with("HMSG ") && !first.contains("\\n") {
            while end < lines.len() && !lines[end].text.is_empty() {
                end += 1;
            }
            end += 2;
        } else if first.starts_with("MSG ") && !first.contains("\\n") {
            end += 1;
        }
        let end = end.min(lines.len());
        groups.push(&lines[start..end]);
        start = end;
    }
    groups
}
