//! The command line's flags as a table, and the parsing rules of nats-server: one or two dashes are the same,
//! `-flag value` and `-flag=value` are the same, boolean flags take only `=true` or `=false`, short flags do not
//! combine (`-DV` is a flag of its own).
//!
//! Pure: arguments in, meaning out.

use std::fmt;

/// What a flag stands for. Aliases share one variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    Port,
    Host,
    ServerName,
    ClientAdvertise,
    Config,
    Check,
    PidFile,
    PortsFileDir,
    HttpPort,
    LogFile,
    LogTime,
    LogTimeUtc,
    Debug,
    Trace,
    DebugTrace,
    MaxTracedMsgLen,
    User,
    Password,
    Token,
    JetStream,
    StoreDir,
    Sync,
    Signal,
    Cluster,
    ClusterName,
    Routes,
    ClusterAdvertise,
    NoAdvertise,
    ConnectRetries,
    Version,
    Help,
    /// nats-server has it, this server does not yet: it stops the start.
    NotBuilt,
}

/// Whether a flag takes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Nothing,
    Text,
}

/// One flag as given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    /// Its meaning.
    pub flag: Flag,
    /// Its name as typed, without dashes.
    pub name: String,
    /// Its value; `true` or `false` for a boolean flag.
    pub value: String,
}

/// Why the command line could not be understood. The texts are Go's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FlagError {
    /// No such flag.
    Unknown(String),
    /// The value is missing.
    NeedsArgument(String),
    /// A boolean flag got something else than `true` or `false`.
    NotBool { name: String, value: String },
    /// A flag of nats-server that is not built yet.
    NotBuilt(String),
    /// An argument that is not a flag.
    Command(String),
}

impl fmt::Display for FlagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "flag provided but not defined: -{name}"),
            Self::NeedsArgument(name) => write!(f, "flag needs an argument: -{name}"),
            Self::NotBool { name, value } => {
                write!(
                    f,
                    "invalid boolean value {value:?} for -{name}: parse error"
                )
            }
            Self::NotBuilt(name) => write!(f, "-{name} is not supported yet by this server"),
            Self::Command(word) => write!(f, "unrecognized command: {word:?}"),
        }
    }
}

const FLAGS: &[(&[&str], Flag, Takes)] = &[
    (&["p", "port"], Flag::Port, Takes::Text),
    (&["a", "addr", "net"], Flag::Host, Takes::Text),
    (&["n", "name", "server_name"], Flag::ServerName, Takes::Text),
    (&["client_advertise"], Flag::ClientAdvertise, Takes::Text),
    (&["c", "config"], Flag::Config, Takes::Text),
    (&["t"], Flag::Check, Takes::Nothing),
    (&["P", "pid"], Flag::PidFile, Takes::Text),
    (&["ports_file_dir"], Flag::PortsFileDir, Takes::Text),
    (&["m", "http_port"], Flag::HttpPort, Takes::Text),
    (&["l", "log"], Flag::LogFile, Takes::Text),
    (&["T", "logtime"], Flag::LogTime, Takes::Nothing),
    (&["logtime_utc"], Flag::LogTimeUtc, Takes::Nothing),
    (&["D", "debug"], Flag::Debug, Takes::Nothing),
    (&["V", "trace", "VV"], Flag::Trace, Takes::Nothing),
    (&["DV", "DVV"], Flag::DebugTrace, Takes::Nothing),
    (&["max_traced_msg_len"], Flag::MaxTracedMsgLen, Takes::Text),
    (&["user"], Flag::User, Takes::Text),
    (&["pass"], Flag::Password, Takes::Text),
    (&["auth"], Flag::Token, Takes::Text),
    (&["js", "jetstream"], Flag::JetStream, Takes::Nothing),
    (&["sd", "store_dir"], Flag::StoreDir, Takes::Text),
    (&["sync"], Flag::Sync, Takes::Text),
    (&["sl", "signal"], Flag::Signal, Takes::Text),
    (&["cluster", "cluster_listen"], Flag::Cluster, Takes::Text),
    (&["cluster_name"], Flag::ClusterName, Takes::Text),
    (&["routes"], Flag::Routes, Takes::Text),
    (&["cluster_advertise"], Flag::ClusterAdvertise, Takes::Text),
    (&["no_advertise"], Flag::NoAdvertise, Takes::Nothing),
    (&["connect_retries"], Flag::ConnectRetries, Takes::Text),
    (&["v", "version"], Flag::Version, Takes::Nothing),
    (&["h", "help", "help_tls"], Flag::Help, Takes::Nothing),
    (
        &[
            "ms",
            "https_port",
            "log_size_limit",
            "r",
            "remote_syslog",
            "tlscert",
            "tlskey",
            "tlscacert",
            "profile",
        ],
        Flag::NotBuilt,
        Takes::Text,
    ),
    (
        &["s", "syslog", "tls", "tlsverify"],
        Flag::NotBuilt,
        Takes::Nothing,
    ),
];

/// Parses the arguments behind the program's name.
///
/// # Errors
/// At the first argument that cannot be understood.
pub(super) fn parse(args: &[String]) -> Result<Vec<Given>, FlagError> {
    let mut given = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let Some(body) = flag_body(arg) else {
            return command(arg, given);
        };
        let (name, inline) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        let (flag, takes) = find(name).ok_or_else(|| FlagError::Unknown(name.to_owned()))?;
        let value = match (takes, inline) {
            (Takes::Nothing, value) => bool_value(name, value)?,
            (Takes::Text, Some(value)) => value,
            (Takes::Text, None) => rest
                .next()
                .cloned()
                .ok_or_else(|| FlagError::NeedsArgument(name.to_owned()))?,
        };
        if flag == Flag::NotBuilt && value != "false" {
            return Err(FlagError::NotBuilt(name.to_owned()));
        }
        given.push(Given {
            flag,
            name: name.to_owned(),
            value,
        });
    }
    Ok(given)
}

/// `help` and `version` stand for their flags, any other word is an error.
fn command(word: &str, mut given: Vec<Given>) -> Result<Vec<Given>, FlagError> {
    let flag = match word {
        "help" => Flag::Help,
        "version" => Flag::Version,
        _ => return Err(FlagError::Command(word.to_owned())),
    };
    given.push(Given {
        flag,
        name: word.to_owned(),
        value: "true".to_owned(),
    });
    Ok(given)
}

fn flag_body(arg: &str) -> Option<&str> {
    let body = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-'))?;
    (!body.is_empty()).then_some(body)
}

fn find(name: &str) -> Option<(Flag, Takes)> {
    let row = FLAGS.iter().find(|(names, ..)| names.contains(&name))?;
    Some((row.1, row.2))
}

fn bool_value(name: &str, value: Option<String>) -> Result<String, FlagError> {
    let Some(value) = value else {
        return Ok("true".to_owned());
    };
    match value.as_str() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok("true".to_owned()),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok("false".to_owned()),
        _ => Err(FlagError::NotBool {
            name: name.to_owned(),
            value,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn values(line: &str) -> Vec<(Flag, String)> {
        parse(&args(line))
            .unwrap()
            .into_iter()
            .map(|g| (g.flag, g.value))
            .collect()
    }

    #[test]
    fn one_or_two_dashes_with_or_without_equals() {
        let expected = vec![
            (Flag::Port, "-1".to_owned()),
            (Flag::JetStream, "true".to_owned()),
        ];
        assert_eq!(values("-p -1 -js"), expected);
        assert_eq!(values("--port=-1 --jetstream"), expected);
        assert_eq!(values("-port -1 --js=true"), expected);
    }

    #[test]
    fn short_flags_do_not_combine() {
        assert_eq!(values("-DV"), vec![(Flag::DebugTrace, "true".to_owned())]);
        assert_eq!(
            parse(&args("-jsD")),
            Err(FlagError::Unknown("jsD".to_owned()))
        );
    }

    #[test]
    fn what_is_not_built_names_itself() {
        let error = parse(&args("-p 1 -tlscert x")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "-tlscert is not supported yet by this server"
        );
    }

    #[test]
    fn errors_have_gos_texts() {
        let text = |line: &str| parse(&args(line)).unwrap_err().to_string();
        assert_eq!(text("-bogus"), "flag provided but not defined: -bogus");
        assert_eq!(text("-p"), "flag needs an argument: -p");
        assert_eq!(text("bogus"), "unrecognized command: \"bogus\"");
        assert_eq!(
            text("-js=maybe"),
            "invalid boolean value \"maybe\" for -js: parse error"
        );
    }
}
