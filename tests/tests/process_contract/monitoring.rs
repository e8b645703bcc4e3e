//! Monitoring: the names and types of all fields, and what closed connections leave behind.
//!
//! `shapes/*.json` is what nats-server 2.15.1 answers, with each value replaced by its type.

use std::net::SocketAddr;

use jetwake_tests::daemon::{Daemon, Lines, eventually, get};
use jetwake_tests::jetstream::api;
use jetwake_tests::process::Scratch;
use jetwake_tests::wire::Client;
use serde_json::Value;

use crate::scratch;

struct Rig {
    server: Daemon,
    clients: SocketAddr,
    monitor: SocketAddr,
    _dir: Scratch,
}

impl Rig {
    fn start(more: &str) -> Self {
        let dir = scratch("monitor");
        let text = format!(
            "listen: \"127.0.0.1:-1\"\nhttp: \"127.0.0.1:-1\"\nserver_tags: [ \"a:b\" ]\n{more}\n"
        );
        std::fs::write(dir.path().join("x.conf"), text).unwrap();
        let mut server = Daemon::start(dir.path(), &["-c", "x.conf"]).unwrap();
        let clients = server.ready().unwrap();
        let monitor = server.monitor().unwrap();
        Self {
            server,
            clients,
            monitor,
            _dir: dir,
        }
    }

    fn json(&self, path: &str) -> Value {
        let reply = get(self.monitor, path).unwrap();
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        assert!(reply.headers.contains("\r\nContent-Type: application/json"));
        assert!(reply.headers.contains("\r\nAccess-Control-Allow-Origin: *"));
        reply.json()
    }

    /// Waits until that many connections have ended.
    fn closed(&self, count: usize, path: &str) -> Value {
        eventually(|| {
            let connz = self.json(path);
            (connz["connections"].as_array()?.len() == count).then_some(connz)
        })
        .unwrap()
    }
}

/// Fields whose name or type is not as in `shape`; lists are compared by their first entries.
fn differences(shape: &Value, found: &Value, path: &str, out: &mut Vec<String>) {
    let kind = match found {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) | Value::Object(_) => "",
    };
    match (shape, found) {
        (Value::Object(shape), Value::Object(found)) => {
            for (key, shape) in shape {
                let path = format!("{path}.{key}");
                match found.get(key) {
                    Some(found) => differences(shape, found, &path, out),
                    None => out.push(format!("{path} is missing")),
                }
            }
            let extra = found.keys().filter(|key| !shape.contains_key(*key));
            out.extend(extra.map(|key| format!("{path}.{key} is not nats-server's")));
        }
        (Value::Array(shape), Value::Array(found)) => match (shape.first(), found.first()) {
            (Some(shape), Some(found)) => differences(shape, found, &format!("{path}[0]"), out),
            (None, None) => {}
            _ => out.push(format!("{path} is empty, or should be")),
        },
        (Value::String(shape), _) if shape == kind => {}
        _ => out.push(format!("{path} is {found}, not {shape}")),
    }
}

fn same_fields(found: &Value, shape: &str) {
    let shape = serde_json::from_str(shape).unwrap();
    let mut out = Vec::new();
    differences(&shape, found, "", &mut out);
    assert!(out.is_empty(), "{out:#?}");
}

const JETSTREAM: &str = "jetstream { store_dir: store, sync_interval: always }";

#[test]
fn varz_and_jsz_have_all_fields() {
    let rig = Rig::start(JETSTREAM);
    let mut client = Client::connect(rig.clients).unwrap();
    api(
        &mut client,
        "STREAM.CREATE.S",
        r#"{"name":"S","subjects":["s.>"]}"#,
    )
    .unwrap();
    let consumer =
        r#"{"stream_name":"S","config":{"name":"C","durable_name":"C","ack_policy":"explicit"}}"#;
    api(&mut client, "CONSUMER.CREATE.S.C", consumer).unwrap();
    client.request("s.1", b"hello").unwrap();
    let jsz = rig.json("/jsz?streams=1&consumers=1&config=1");
    same_fields(&jsz, include_str!("shapes/jsz.json"));
    let counts = ["streams", "consumers", "messages", "accounts", "total"];
    assert_eq!(counts.map(|key| jsz[key].clone()), [1, 1, 1, 1, 1]);
    assert_eq!(
        jsz["api"],
        serde_json::json!({"level": 5, "total": 2, "errors": 0})
    );
    let account = &jsz["account_details"][0];
    assert_eq!(account["reserved_storage"], u64::MAX);
    assert_eq!(
        account["stream_detail"][0]["cluster"]["leader"],
        rig.json("/varz")["server_name"]
    );
    assert_eq!(rig.json("/jsz").get("account_details"), None);
}

#[test]
fn varz_has_all_fields() {
    let rig = Rig::start(&format!(
        "{JETSTREAM}\nauthorization {{ user: u, pass: p }}"
    ));
    let varz = rig.json("/varz");
    same_fields(&varz, include_str!("shapes/varz.json"));
    assert_eq!(varz["version"], "2.15.1");
    assert_eq!(varz["port"], rig.clients.port());
    assert_eq!(varz["http_port"], -1, "as configured");
    assert_eq!(varz["tags"], serde_json::json!(["a:b"]));
    assert_eq!(varz["http_req_stats"]["/varz"], 1);
}

#[test]
fn connz_has_all_fields() {
    let rig = Rig::start("authorization { user: u, pass: p }");
    let mut client = Lines::connect(rig.clients).unwrap();
    client
        .send(
            "CONNECT {\"user\":\"u\",\"pass\":\"p\",\"lang\":\"go\",\"version\":\"1\",\"name\":\"n\"}\r\n\
             SUB foo 1\r\nPUB foo 2\r\nhi\r\nPING\r\n",
        )
        .unwrap();
    client.expect("PONG").unwrap();
    let connz = rig.json("/connz?subs=1&auth=1");
    same_fields(&connz, include_str!("shapes/connz.json"));
    let connection = &connz["connections"][0];
    assert_eq!(connection["kind"], "Client");
    assert_eq!(connection["authorized_user"], "u");
    assert_eq!(connection["in_msgs"], 1);
    assert_eq!(connection["out_bytes"], 2);
    assert_eq!(connection["subscriptions_list"], serde_json::json!(["foo"]));
    let subsz = rig.json("/subsz?subs=1&test=foo");
    same_fields(&subsz, include_str!("shapes/subsz.json"));
    assert_eq!(subsz["subscriptions_list"][0]["cid"], connection["cid"]);
    assert_eq!(rig.json("/subscriptionsz")["total"], 0);
    for (filter, shown, total) in [
        ("user=u", 1, 1),
        ("user=x", 0, 1),
        ("acc=$G", 1, 1),
        ("acc=$SYS", 0, 0),
        ("acc=$G&user=x", 0, 1),
        ("mqtt_client=x", 0, 1),
    ] {
        let found = rig.json(&format!("/connz?{filter}"));
        let counts = [&found["num_connections"], &found["total"]];
        assert_eq!(counts, [&shown.into(), &Value::from(total)], "{filter}");
    }
    let none = rig.json("/connz?cid=99999&limit=7");
    assert_eq!(
        (&none["num_connections"], &none["limit"]),
        (&0.into(), &1.into())
    );
    let nonsense = rig.json("/connz?limit=-1&offset=-1");
    assert_eq!(
        (&nonsense["offset"], &nonsense["limit"]),
        (&0.into(), &1024.into())
    );
}

#[test]
fn closed_connections_are_kept_with_their_reason() {
    let rig = Rig::start("authorization { user: u, pass: p }");
    let hello = |password: &str| {
        let mut client = Lines::connect(rig.clients).unwrap();
        let login = "\"user\":\"u\",\"lang\":\"go\",\"version\":\"1\",\"name\":\"n\"";
        client
            .send(&format!(
                "CONNECT {{{login},\"pass\":\"{password}\"}}\r\nPING\r\n"
            ))
            .unwrap();
        client
    };
    let mut stays = hello("p");
    stays.expect("PONG").unwrap();
    let mut goes = hello("p");
    goes.send("SUB q 1\r\nPING\r\n").unwrap();
    goes.expect("PONG").unwrap();
    goes.expect("PONG").unwrap();
    drop(goes);
    rig.closed(1, "/connz?state=closed");
    let mut stranger = hello("wrong");
    stranger.expect("-ERR 'Authorization Violation'").unwrap();
    drop(stranger);
    rig.closed(2, "/connz?state=closed");
    let mut broken = hello("p");
    broken.send("BOGUS\r\n").unwrap();
    broken.expect("-ERR 'Unknown Protocol Operation'").unwrap();
    drop(broken);
    let connz = rig.closed(3, "/connz?state=closed&subs=detail");
    same_fields(&connz, include_str!("shapes/connz_closed.json"));
    let reasons = |connz: &Value| -> Vec<String> {
        let list = connz["connections"].as_array().unwrap();
        list.iter()
            .map(|c| c["reason"].as_str().unwrap_or("").to_owned())
            .collect()
    };
    let (left, refused, violation) = (
        "Client Closed",
        "Authentication Failure",
        "Protocol Violation",
    );
    assert_eq!(reasons(&connz), [left, refused, violation]);
    assert_eq!(
        connz["connections"][0]["subscriptions_list_detail"][0]["subject"],
        "q"
    );
    let newest = rig.json("/connz?state=closed&sort=stop");
    assert_eq!(reasons(&newest), [violation, refused, left]);
    let by_reason = rig.json("/connz?state=closed&sort=reason");
    assert_eq!(reasons(&by_reason), [refused, left, violation]);
    let page = rig.json("/connz?state=closed&offset=1&limit=1");
    assert_eq!(reasons(&page), [refused]);
    assert_eq!(
        (&page["num_connections"], &page["total"]),
        (&1.into(), &3.into())
    );
    for state in ["any", "all"] {
        let all = rig.json(&format!("/connz?state={state}"));
        assert_eq!(reasons(&all), ["", left, refused, violation]);
        assert_eq!(all["connections"][0].get("stop"), None);
    }
    assert_eq!(rig.json("/connz")["total"], 1);
}

#[test]
fn only_so_many_closed_connections_are_kept() {
    let rig = Rig::start("max_closed_clients: 2");
    let mut last = Value::Null;
    for count in [1, 2, 2, 2] {
        let mut client = Lines::connect(rig.clients).unwrap();
        let info = client.expect("INFO ").unwrap();
        let info: Value = serde_json::from_str(info.trim_start_matches("INFO ")).unwrap();
        client.send("CONNECT {}\r\nPING\r\n").unwrap();
        client.expect("PONG").unwrap();
        drop(client);
        last = info["client_id"].clone();
        eventually(|| {
            let connz = rig.json("/connz?state=closed");
            let list = connz["connections"].as_array()?;
            (list.len() == count && list.last()?["cid"] == last).then_some(())
        })
        .unwrap();
    }
    let kept = rig.json("/connz?state=closed")["connections"].clone();
    let before = last.as_u64().unwrap() - 1;
    assert_eq!(kept[0]["cid"], before);
}

#[test]
fn a_connection_too_many_leaves_its_reason() {
    let rig = Rig::start("max_connections: 1");
    let _first = Client::connect(rig.clients).unwrap();
    let mut second = Lines::connect(rig.clients).unwrap();
    second
        .expect("-ERR 'maximum connections exceeded'")
        .unwrap();
    drop(second);
    let connz = rig.closed(1, "/connz?state=closed");
    assert_eq!(
        connz["connections"][0]["reason"],
        "Maximum Connections Exceeded"
    );
}

#[test]
fn other_servers_are_none() {
    let rig = Rig::start("");
    same_fields(&rig.json("/routez"), include_str!("shapes/routez.json"));
    same_fields(&rig.json("/leafz"), include_str!("shapes/leafz.json"));
    same_fields(&rig.json("/gatewayz"), include_str!("shapes/gatewayz.json"));
}

#[test]
fn health_and_index_and_what_does_not_exist() {
    let mut rig = Rig::start(JETSTREAM);
    for query in ["", "?js-enabled-only=true", "?js-server-only=true"] {
        let reply = get(rig.monitor, &format!("/healthz{query}")).unwrap();
        assert_eq!(
            (reply.status, reply.body.as_str()),
            (200, r#"{"status":"ok"}"#)
        );
    }
    let index = get(rig.monitor, "/").unwrap();
    assert_eq!(index.status, 200);
    assert!(
        index
            .headers
            .contains("\r\nContent-Type: text/html; charset=utf-8")
    );
    let nowhere = get(rig.monitor, "/nope").unwrap();
    assert_eq!(
        (nowhere.status, nowhere.body.as_str()),
        (404, "404 page not found\n")
    );
    assert!(
        nowhere
            .headers
            .contains("\r\nX-Content-Type-Options: nosniff")
    );
    for (path, text) in [
        (
            "/connz?sort=stop",
            "sort by stop only valid on closed connections",
        ),
        ("/connz?state=closed&sort=zz", "invalid sorting option: zz"),
        ("/connz?state=zz", "Error decoding state for zz"),
        (
            "/connz?subs=zz",
            "Error decoding boolean for 'subs': strconv.ParseBool: parsing \"zz\": invalid syntax",
        ),
    ] {
        let reply = get(rig.monitor, path).unwrap();
        assert_eq!((reply.status, reply.body.trim_end()), (400, text), "{path}");
    }
    assert!(rig.server.is_running().unwrap());
}
