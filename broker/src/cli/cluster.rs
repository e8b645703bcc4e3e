//! The flags of a cluster.

use super::flags::{Flag, Given};
use super::{Refused, bad_value, refused};
use crate::options::{ClusterOptions, Credentials, RouteUrl, split_address};

/// Lays one flag over the options; flags of something else change nothing.
pub(super) fn apply(given: &Given, cluster: &mut ClusterOptions) -> Result<(), Refused> {
    let text = || Some(given.value.clone()).filter(|value| !value.is_empty());
    match given.flag {
        Flag::Cluster => listen(&given.value, cluster).map_err(|text| refused(&text))?,
        Flag::ClusterName => {
            if given.value.contains(char::is_whitespace) {
                return Err(refused("cluster name cannot contain spaces"));
            }
            cluster.name = text();
        }
        Flag::Routes => {
            let routes = RouteUrl::parse_list(&given.value);
            cluster.routes = routes.map_err(|text| refused(&text))?;
        }
        Flag::ClusterAdvertise => cluster.advertise = text(),
        Flag::NoAdvertise => cluster.no_advertise = given.value == "true",
        Flag::ConnectRetries => {
            let retries: i64 = given.value.parse().map_err(|_| bad_value(given))?;
            // Less than none is none.
            cluster.connect_retries = u32::try_from(retries.max(0)).unwrap_or(u32::MAX);
        }
        _ => {}
    }
    Ok(())
}

/// `nats://[user:password@]host:port`: -1 takes a free port, 0 and an empty text are no cluster. The errors
/// are those of Go's parser of URLs.
fn listen(url: &str, cluster: &mut ClusterOptions) -> Result<(), String> {
    if url.is_empty() {
        cluster.port = None;
        return Ok(());
    }
    let free = url.strip_suffix(":-1");
    let url = free.map_or_else(|| url.to_owned(), |front| format!("{front}:0"));
    let Some((_, rest)) = url.split_once("://") else {
        return Err(format!(
            "parse {url:?}: first path segment in URL cannot contain colon"
        ));
    };
    let (who, address) = match rest.rsplit_once('@') {
        Some((who, address)) => (Some(who), address),
        None => (None, rest),
    };
    let Some((host, port)) = split_address(address) else {
        let port = address.rsplit_once(':').map_or("", |(_, port)| port);
        return Err(format!(
            "parse {url:?}: invalid port {:?} after host",
            format!(":{port}")
        ));
    };
    let Some(port) = port else {
        return Err(format!("address {address}: missing port in address"));
    };
    if let Some(who) = who {
        let (user, password) = who
            .split_once(':')
            .ok_or("expected cluster password to be set")?;
        cluster.credentials = Some(Credentials {
            user: user.to_owned(),
            password: password.to_owned(),
        });
    }
    cluster.host = host;
    cluster.port = (port > 0 || free.is_some()).then_some(port);
    Ok(())
}
