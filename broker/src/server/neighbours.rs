//! What clients are told about the cluster: its name, and where else they can connect.

use std::net::IpAddr;

use parking_lot::Mutex;

use crate::options::{Options, join_host_port, split_address};

/// The cluster's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterName {
    /// Empty without a cluster.
    pub text: String,
    /// Made up, not configured: it yields to a better one.
    pub dynamic: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Neighbours {
    /// Where clients of this server connect; empty if that is not for others to know.
    own: Vec<String>,
    /// Nothing is said to anybody.
    silent: bool,
    /// Said also while there is no other server.
    always: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    name: ClusterName,
    /// By server id: where its clients connect.
    others: Vec<(String, Vec<String>)>,
    leaving: bool,
}

impl Neighbours {
    /// What a server knows before it meets others. `made_up` is the cluster's name where the options have
    /// none, `interfaces` are the machine's addresses.
    pub(super) fn new(
        options: &Options,
        port: u16,
        made_up: String,
        interfaces: &[IpAddr],
    ) -> Self {
        let cluster = &options.cluster;
        let name = match &cluster.name {
            Some(name) => ClusterName {
                text: name.clone(),
                dynamic: false,
            },
            None if cluster.port.is_some() => ClusterName {
                text: made_up,
                dynamic: true,
            },
            None => ClusterName::default(),
        };
        Self {
            own: own_urls(options, port, interfaces),
            silent: cluster.no_advertise && cluster.port.is_some(),
            always: options
                .client_advertise
                .as_ref()
                .is_some_and(|url| !url.is_empty()),
            state: Mutex::new(State {
                name,
                others: Vec::new(),
                leaving: false,
            }),
        }
    }

    /// The cluster's name.
    pub fn name(&self) -> ClusterName {
        self.state.lock().name.clone()
    }

    /// Changes the cluster's name as `change` says; whether it did.
    pub(crate) fn rename(&self, change: impl FnOnce(&mut ClusterName) -> bool) -> bool {
        change(&mut self.state.lock().name)
    }

    /// What other servers may tell their clients about this one.
    pub(crate) fn own_urls(&self) -> Vec<String> {
        if self.silent || self.state.lock().leaving {
            Vec::new()
        } else {
            self.own.clone()
        }
    }

    /// This is where clients of another server connect. Whether that is news.
    pub(crate) fn set(&self, server_id: &str, urls: &[String]) -> bool {
        let others = &mut self.state.lock().others;
        let known = others.iter().position(|(id, _)| id == server_id);
        match known {
            Some(at) if urls.is_empty() => {
                others.remove(at);
                true
            }
            Some(at) => {
                let news = others[at].1 != urls;
                others[at].1 = urls.to_vec();
                news
            }
            None if urls.is_empty() => false,
            None => {
                others.push((server_id.to_owned(), urls.to_vec()));
                true
            }
        }
    }

    /// This server is about to leave: clients are only told of others.
    pub(super) fn leave(&self) {
        self.state.lock().leaving = true;
    }

    /// `connect_urls`: this server first, the others in a random order, so that clients spread.
    pub fn connect_urls(&self, random: u64) -> Vec<String> {
        let state = self.state.lock();
        if self.silent || (state.others.is_empty() && !self.always) {
            return Vec::new();
        }
        let mut others: Vec<_> = state.others.iter().flat_map(|(_, urls)| urls).collect();
        shuffle(&mut others, random);
        let own = if state.leaving { &[][..] } else { &self.own };
        own.iter().chain(others).cloned().collect()
    }
}

/// Where clients of this server connect: what the operator says, or where it listens. A server that listens
/// everywhere is at each of the machine's addresses.
fn own_urls(options: &Options, port: u16, interfaces: &[IpAddr]) -> Vec<String> {
    if let Some((host, advertised)) = options.client_advertise.as_deref().and_then(split_address) {
        return vec![join_host_port(&host, advertised.unwrap_or(port))];
    }
    let everywhere = options
        .host
        .parse()
        .is_ok_and(|ip: IpAddr| ip.is_unspecified());
    if !everywhere || interfaces.is_empty() {
        return vec![options.listen_addr(port)];
    }
    let url = |ip: &IpAddr| join_host_port(&ip.to_string(), port);
    interfaces.iter().map(url).collect()
}

fn shuffle<T>(list: &mut [T], random: u64) {
    let mut state = random | 1;
    for at in (1..list.len()).rev() {
        // xorshift: any order will do.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        list.swap(at, (state % (at as u64 + 1)) as usize);
    }
}

/// The machine's addresses that others can reach: not those of the machine or the link only.
pub(super) fn interfaces() -> Vec<IpAddr> {
    // Without a list the server is where it listens.
    let Ok(all) = nix::ifaddrs::getifaddrs() else {
        return Vec::new();
    };
    let ip = |address: nix::sys::socket::SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    all.filter_map(|interface| interface.address.and_then(ip))
        .filter(is_reachable)
        .collect()
}

fn is_reachable(ip: &IpAddr) -> bool {
    let local = match ip {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(local || ip.is_loopback() || ip.is_unspecified() || ip.is_multicast())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbours(change: impl FnOnce(&mut Options)) -> Neighbours {
        let mut options = Options {
            host: "127.0.0.1".to_owned(),
            ..Options::default()
        };
        options.cluster.port = Some(0);
        change(&mut options);
        let interfaces = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        Neighbours::new(&options, 4222, "made-up".to_owned(), &interfaces)
    }

    #[test]
    fn a_server_alone_says_nothing_unless_it_is_told_what() {
        assert!(neighbours(|_| {}).connect_urls(1).is_empty());
        let advertised = neighbours(|o| o.client_advertise = Some("example.com".to_owned()));
        assert_eq!(advertised.connect_urls(1), ["example.com:4222"]);
        let advertised = neighbours(|o| o.client_advertise = Some("[::1]:80".to_owned()));
        assert_eq!(advertised.connect_urls(1), ["[::1]:80"]);
    }

    #[test]
    fn own_urls_come_first_and_the_others_in_any_order() {
        let neighbours = neighbours(|o| o.host = "0.0.0.0".to_owned());
        assert!(neighbours.set("A", &["a:1".to_owned(), "a:2".to_owned()]));
        assert!(neighbours.set("B", &["b:1".to_owned()]));
        assert!(!neighbours.set("B", &["b:1".to_owned()]), "no news");
        let mut orders: Vec<_> = (0..100)
            .map(|random| neighbours.connect_urls(random))
            .collect();
        for order in &mut orders {
            assert_eq!(order[..2], ["192.0.2.1:4222", "[2001:db8::1]:4222"]);
        }
        orders.sort();
        orders.dedup();
        assert_eq!(orders.len(), 6, "all orders of three");
    }

    #[test]
    fn who_leaves_is_named_no_more() {
        let neighbours = neighbours(|_| {});
        neighbours.set("A", &["a:1".to_owned()]);
        assert_eq!(neighbours.connect_urls(1), ["127.0.0.1:4222", "a:1"]);
        neighbours.leave();
        assert_eq!(neighbours.connect_urls(1), ["a:1"]);
        assert!(neighbours.own_urls().is_empty());
        assert!(neighbours.set("A", &[]));
        assert!(!neighbours.set("A", &[]));
        assert!(neighbours.connect_urls(1).is_empty());
    }

    #[test]
    fn no_advertise_keeps_everything_quiet() {
        let neighbours = neighbours(|o| o.cluster.no_advertise = true);
        neighbours.set("A", &["a:1".to_owned()]);
        assert!(neighbours.connect_urls(1).is_empty());
        assert!(neighbours.own_urls().is_empty());
    }

    #[test]
    fn a_name_is_made_up_only_for_a_cluster() {
        assert!(neighbours(|_| {}).name().dynamic);
        assert_eq!(
            neighbours(|o| o.cluster.port = None).name(),
            ClusterName::default()
        );
        let named = neighbours(|o| {
            o.cluster.port = None;
            o.cluster.name = Some("C".to_owned());
        });
        assert_eq!(named.name().text, "C");
    }
}
