//! The server at `--url`: its address and who the client is there.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use super::super::args::Args;
use super::super::client::Credentials;
use super::super::scenario::Target;
use super::super::usage::Monitor;

const DEFAULT_PORT: u16 = 4222;

/// The target that the arguments describe.
pub(super) fn target(args: &Args, url: &str) -> Result<Target, String> {
    let (mut credentials, address) = parse_url(url)?;
    if args.user.is_some() || args.token.is_some() {
        credentials = Credentials {
            user: args.user.clone(),
            password: args.password.clone(),
            token: args.token.clone(),
        };
    }
    let address = resolve(&address).map_err(|error| format!("{url}: {error}"))?;
    let monitor = args.monitor.as_deref().map(|url| {
        let host = url.strip_prefix("http://").unwrap_or(url);
        Monitor(host.trim_end_matches('/').to_owned())
    });
    Ok(Target {
        address,
        credentials,
        pid: None,
        monitor,
    })
}

/// Credentials and `host:port` of a URL.
fn parse_url(url: &str) -> Result<(Credentials, String), String> {
    let rest = match url.split_once("://") {
        Some(("nats", rest)) => rest,
        Some((scheme, _)) => return Err(format!("{url}: {scheme}:// is not supported")),
        None => url,
    };
    let rest = rest.trim_end_matches('/');
    let (secret, host) = match rest.rsplit_once('@') {
        Some((secret, host)) => (Some(secret), host),
        None => (None, rest),
    };
    let mut credentials = Credentials::default();
    match secret.map(|secret| secret.split_once(':').ok_or(secret)) {
        Some(Ok((user, password))) => {
            credentials.user = Some(user.to_owned());
            credentials.password = Some(password.to_owned());
        }
        Some(Err(token)) => credentials.token = Some(token.to_owned()),
        None => {}
    }
    if host.is_empty() {
        return Err(format!("{url}: no host"));
    }
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.contains(']'));
    let address = if has_port {
        host.to_owned()
    } else {
        format!("{host}:{DEFAULT_PORT}")
    };
    Ok((credentials, address))
}

fn resolve(address: &str) -> io::Result<SocketAddr> {
    let first = address.to_socket_addrs()?.next();
    first.ok_or_else(|| io::Error::other("no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_hold_credentials() {
        let parsed = |url: &str| parse_url(url).unwrap();
        let (credentials, address) = parsed("nats://u:p:q@h:1");
        assert_eq!(credentials.user.as_deref(), Some("u"));
        assert_eq!(credentials.password.as_deref(), Some("p:q"));
        assert_eq!(address, "h:1");
        assert_eq!(parsed("t@h").0.token.as_deref(), Some("t"));
        assert_eq!(parsed("h").1, "h:4222");
        assert_eq!(parsed("[::1]").1, "[::1]:4222");
    }
}
