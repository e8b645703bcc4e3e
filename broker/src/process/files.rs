//! The pid file and the ports file.
//!
//! A shell module: it writes and removes those two files.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::{Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::open_error;
use crate::node::Server;
use crate::options::reachable;

/// Writes the process id: digits and nothing else, harnesses parse the whole file as a number. The file stays
/// behind at the end, as nats-server's does.
pub(super) fn write_pid(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    write!(file, "{}", std::process::id())
}

/// `<dir>/<program>_<pid>.ports`: where the listeners really are. Removed when dropped.
#[derive(Debug)]
pub(super) struct PortsFile {
    path: PathBuf,
}

#[derive(Serialize)]
struct Ports {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nats: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    monitoring: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cluster: Vec<String>,
}

impl PortsFile {
    pub(super) fn write(dir: &Path, server: &Server) -> io::Result<Self> {
        let ports = Ports {
            nats: urls("nats", Some(server.client_addr())),
            monitoring: urls("http", server.monitor_addr()),
            cluster: urls("nats", server.cluster_addr()),
        };
        let json = serde_json::to_string(&ports)?;
        let path = dir.join(format!("{}_{}.ports", program(), std::process::id()));
        // Harnesses poll for the file: it must never be seen half written.
        let temporary = path.with_extension("ports.tmp");
        std::fs::write(&temporary, json)
            .and_then(|()| std::fs::rename(&temporary, &path))
            .map_err(|error| {
                let name = path.to_string_lossy();
                io::Error::other(format!("({name}): {}", open_error(&name, &error)))
            })?;
        Ok(Self { path })
    }
}

impl Drop for PortsFile {
    fn drop(&mut self) {
        // Gone already is as good as removed.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Where clients on this machine connect: both loopbacks for a wildcard, IPv4 first.
fn urls(scheme: &str, addr: Option<SocketAddr>) -> Vec<String> {
    let Some(addr) = addr else { return Vec::new() };
    let mut ips = vec![reachable(addr.ip())];
    if addr.ip().is_unspecified() && addr.is_ipv6() {
        ips.push(Ipv6Addr::LOCALHOST.into());
    }
    ips.into_iter()
        .map(|ip| format!("{scheme}://{}", SocketAddr::new(ip, addr.port())))
        .collect()
}

/// The name the program was called by: harnesses look for it in the ports file's name.
fn program() -> String {
    let called = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&called)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    if name.is_empty() {
        "jetwake".to_owned()
    } else {
        name
    }
}
