//! Settings of the `cluster` block.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// How this server finds others and is found. Without a port there is no cluster.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The cluster's name; made up if `None`.
    pub name: Option<String>,
    /// Address to listen on for other nodes.
    pub host: String,
    /// Port for other nodes, 0 takes a free one; no cluster if `None`.
    pub port: Option<u16>,
    /// Nodes to connect to, for ever.
    pub routes: Vec<RouteUrl>,
    /// What other nodes have to say to be let in: user and password, which may be a bcrypt hash.
    pub credentials: Option<Credentials>,
    /// Time that a node has to say who it is.
    pub auth_timeout: Duration,
    /// `host[:port]` to tell other nodes instead of the listen address.
    pub advertise: Option<String>,
    /// Keeps where this server's clients connect from the clients of others.
    pub no_advertise: bool,
    /// How often a node that was only heard of is dialled again.
    pub connect_retries: u32,
    /// Doubles the pause between attempts, up to 30 seconds.
    pub connect_backoff: bool,
    /// Time between pings to a node that is not heard. Nodes are pinged twice a second anyway: only a
    /// shorter time makes a difference.
    pub ping_interval: Option<Duration>,
    /// Pings that may stay unanswered; the clients' if `None`.
    pub ping_max: Option<u32>,
    /// Longest time that one flush to a node may take; the clients' if `None`.
    pub write_deadline: Option<Duration>,
    /// nats-server's number of connections between two nodes, which monitoring shows. Here there are two,
    /// whatever it says.
    pub pool_size: i64,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            name: None,
            host: "0.0.0.0".to_owned(),
            port: None,
            routes: Vec::new(),
            credentials: None,
            auth_timeout: Duration::from_secs(2),
            advertise: None,
            no_advertise: false,
            connect_retries: 0,
            connect_backoff: false,
            ping_interval: None,
            ping_max: None,
            write_deadline: None,
            pool_size: 3,
        }
    }
}

impl ClusterOptions {
    /// How many routes lead to other nodes, as far as addresses tell.
    pub(crate) fn others(&self) -> usize {
        let own = |route: &&RouteUrl| {
            let local = |host: &str| matches!(host, "localhost" | "127.0.0.1" | "::1" | "0.0.0.0");
            route.port == self.port
                && (route.host == self.host || local(&route.host) && local(&self.host))
        };
        self.routes.iter().filter(|route| !own(route)).count()
    }
}

/// A user with its password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({:?}, [REDACTED])", self.user)
    }
}

/// Where another node listens: `nats-route://user:password@host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteUrl {
    /// What stands before `://`.
    pub scheme: String,
    /// Host name or address, an IPv6 address without brackets.
    pub host: String,
    /// The port; one without cannot be dialled.
    pub port: Option<u16>,
    /// What to say to be let in.
    pub credentials: Option<Credentials>,
}

impl RouteUrl {
    /// Reads an URL.
    ///
    /// # Errors
    /// When it is none: the reason, in nats-server's words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        Self::read(text).ok_or_else(|| format!("error parsing route url [{text:?}]"))
    }

    /// Reads a list of URLs with commas between.
    ///
    /// # Errors
    /// When one of them is none.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        let given = text.split(',').filter(|url| !url.trim().is_empty());
        given.map(Self::parse).collect()
    }

    fn read(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let rest = rest.split('/').next()?;
        let (credentials, address) = match rest.rsplit_once('@') {
            Some((who, address)) => {
                let (user, password) = who.split_once(':').unwrap_or((who, ""));
                let credentials = Credentials {
                    user: unescape(user),
                    password: unescape(password),
                };
                (Some(credentials), address)
            }
            None => (None, rest),
        };
        let (host, port) = split_address(address)?;
        Some(Self {
            scheme: scheme.to_owned(),
            host,
            port,
            credentials,
        })
    }

    /// The URL of `host:port`.
    pub(crate) fn of_address(address: &str, credentials: Option<Credentials>) -> Option<Self> {
        let (host, port) = split_address(address)?;
        Some(Self {
            scheme: "nats-route".to_owned(),
            host,
            port: Some(port?),
            credentials,
        })
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        match self.port {
            Some(port) => super::join_host_port(&self.host, port),
            None => self.host.clone(),
        }
    }
}

impl From<SocketAddr> for RouteUrl {
    fn from(address: SocketAddr) -> Self {
        Self {
            scheme: "nats-route".to_owned(),
            host: address.ip().to_string(),
            port: Some(address.port()),
            credentials: None,
        }
    }
}

/// As a log shows it: without the password.
impl fmt::Display for RouteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        if let Some(credentials) = &self.credentials {
            write!(f, "{}:xxxxx@", credentials.user)?;
        }
        f.write_str(&self.address())
    }
}

/// `host[:port]`, with brackets around an IPv6 address.
pub(crate) fn split_address(address: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':'))
        }
        None => match address.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => (host, Some(port)),
            _ => (address, None),
        },
    };
    let port = match port {
        Some(port) => Some(port.parse().ok()?),
        None => None,
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// What is wrong with `host[:port]`, in the words of nats-server's runtime.
pub(crate) fn address_fault(address: &str) -> Option<String> {
    if split_address(address).is_some() && (address.starts_with('[') || !address.contains("::")) {
        return None;
    }
    Some(match address.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => {
            format!("strconv.Atoi: parsing {port:?}: invalid syntax")
        }
        _ => format!("address {address}: too many colons in address"),
    })
}

/// Resolves `%41` and the like; what is no such thing stays as it is.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let escaped = (first == b'%')
            .then(|| behind.get(..2))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_url_may_hold_a_user_and_shows_no_password() {
        let url = RouteUrl::parse("nats-route://u:p%40ss@127.0.0.1:6222/").unwrap();
        let credentials = url.credentials.clone().unwrap();
        assert_eq!(url.address(), "127.0.0.1:6222");
        assert_eq!(credentials.user, "u");
        assert_eq!(credentials.password, "p@ss");
        assert_eq!(url.to_string(), "nats-route://u:xxxxx@127.0.0.1:6222");
    }

    #[test]
    fn addresses_are_taken_apart() {
        let split = |text| split_address(text).unwrap();
        assert_eq!(split("a:1"), ("a".to_owned(), Some(1)));
        assert_eq!(split("a"), ("a".to_owned(), None));
        assert_eq!(split("[::1]:2"), ("::1".to_owned(), Some(2)));
        assert_eq!(split("[::1]"), ("::1".to_owned(), None));
        assert_eq!(split_address(":1"), None);
        assert_eq!(split_address("a:b"), None);
        for good in ["x", "x:1", "[::1]", "[::1]:2"] {
            assert_eq!(address_fault(good), None, "{good}");
        }
        let faults = [
            ("a:b", "strconv.Atoi: parsing \"b\": invalid syntax"),
            (":::", "address :::: too many colons in address"),
            ("::1", "address ::1: too many colons in address"),
        ];
        for (address, text) in faults {
            assert_eq!(address_fault(address).as_deref(), Some(text));
        }
        let refused = |text| RouteUrl::parse(text).unwrap_err();
        assert_eq!(refused("::bad"), "error parsing route url [\"::bad\"]");
        assert_eq!(refused("a:1"), "error parsing route url [\"a:1\"]");
        assert_eq!(refused("nats://"), "error parsing route url [\"nats://\"]");
        assert_eq!(RouteUrl::parse("nats://a").unwrap().port, None);
        let list = RouteUrl::parse_list("nats://a:1, nats://b:2,").unwrap();
        assert_eq!(list.len(), 2);
    }
}
