//! A cluster of cores: how it begins, who answers, and what operators do.

use jetwake_storage::FaultDisk;

use super::cluster::Nodes;
use super::rig::{Rig, SECOND, START};
use crate::jetstream::Settings;

const R3: &str = r#"{"name":"S","subjects":["s.>"],"num_replicas":3}"#;

fn cluster(count: u64) -> Nodes {
    let mut nodes = Nodes::new(count);
    nodes.meet();
    nodes.pass(1_000_000_000);
    nodes
}

#[test]
fn three_nodes_become_one_cluster_and_any_of_them_answers() {
    let mut nodes = cluster(3);
    let created = nodes.api(2, "STREAM.CREATE.S", R3);
    assert!(created.contains("\"did_create\":true"), "{created}");
    assert!(created.contains("\"raft_group\":\"S-R3F-"), "{created}");
    for node in 1..=3 {
        let info = nodes.api(node, "STREAM.INFO.S", "");
        let info: serde_json::Value = serde_json::from_str(&info).unwrap();
        assert_eq!(info["cluster"]["name"], "C");
        assert_eq!(
            info["cluster"]["replicas"].as_array().unwrap().len(),
            2,
            "{info}"
        );
        for replica in info["cluster"]["replicas"].as_array().unwrap() {
            assert_eq!(replica["current"], true, "{info}");
        }
        let names = nodes.api(node, "STREAM.NAMES", "");
        assert!(names.contains("\"streams\":[\"S\"]"), "{names}");
        let list = nodes.api(node, "STREAM.LIST", "");
        assert!(list.contains("\"total\":1"), "{list}");
        assert!(list.contains("\"name\":\"S\""), "{list}");
        let account = nodes.api(node, "INFO", "");
        assert!(account.contains("\"streams\":1"), "{account}");
    }
    let again = nodes.api(1, "STREAM.CREATE.S", R3);
    assert!(again.contains("did_create"), "{again}");
    let other = r#"{"name":"S","subjects":["t.>"],"num_replicas":3}"#;
    assert!(nodes.api(3, "STREAM.CREATE.S", other).contains("10058"));
    let overlap = r#"{"name":"T","subjects":["s.a"],"num_replicas":1}"#;
    assert!(nodes.api(3, "STREAM.CREATE.T", overlap).contains("10065"));
    let alone = r#"{"name":"T","subjects":["t"],"num_replicas":1}"#;
    let created = nodes.api(3, "STREAM.CREATE.T", alone);
    assert!(created.contains("\"did_create\":true"), "{created}");
    let many = r#"{"name":"U","subjects":["u"],"num_replicas":5}"#;
    let refused = nodes.api(3, "STREAM.CREATE.U", many);
    assert!(
        refused.contains("no suitable peers for placement"),
        "{refused}"
    );
    assert!(nodes.api(1, "STREAM.INFO.X", "").contains("10059"));
    let deleted = nodes.api(1, "STREAM.DELETE.S", "");
    assert!(deleted.contains("\"success\":true"), "{deleted}");
    for node in 1..=3 {
        assert!(nodes.api(node, "STREAM.INFO.S", "").contains("10059"));
        assert!(
            nodes
                .api(node, "STREAM.INFO.T", "")
                .contains("\"name\":\"T\"")
        );
    }
}

#[test]
fn a_cluster_survives_its_leader_and_a_restart_of_everything() {
    let mut nodes = cluster(3);
    nodes.api(1, "STREAM.CREATE.S", R3);
    for round in 0..3 {
        let victim = round % 3 + 1;
        nodes.crash(victim, round);
        nodes.pass(1_500_000_000);
        let other = victim % 3 + 1;
        let name = format!("T{round}");
        let config = format!(r#"{{"name":"{name}","subjects":["{name}"],"num_replicas":2}}"#);
        let created = nodes.api(other, &format!("STREAM.CREATE.{name}"), &config);
        assert!(created.contains("\"did_create\":true"), "{created}");
        nodes.restart(victim);
        nodes.pass(2_000_000_000);
    }
    for node in 1..=3 {
        nodes.crash(node, 7);
    }
    for node in 1..=3 {
        nodes.restart(node);
    }
    nodes.pass(4_000_000_000);
    for node in 1..=3 {
        let names = nodes.api(node, "STREAM.NAMES", "");
        assert!(names.contains("[\"S\",\"T0\",\"T1\",\"T2\"]"), "{names}");
    }
}

#[test]
fn leadership_is_handed_over() {
    let mut nodes = cluster(3);
    nodes.api(1, "STREAM.CREATE.S", R3);
    let leader = |nodes: &mut Nodes| {
        let info = nodes.api(1, "STREAM.INFO.S", "");
        let info: serde_json::Value = serde_json::from_str(&info).unwrap();
        info["cluster"]["leader"].as_str().unwrap().to_owned()
    };
    let first = leader(&mut nodes);
    let preferred = if first == "n2" { "n3" } else { "n2" };
    let body = format!(r#"{{"placement":{{"preferred":"{preferred}"}}}}"#);
    let down = nodes.api(1, "STREAM.LEADER.STEPDOWN.S", &body);
    assert!(down.contains("\"success\":true"), "{down}");
    nodes.pass(200_000_000);
    assert_eq!(leader(&mut nodes), preferred);
    let body = r#"{"placement":{"preferred":"zz"}}"#;
    let refused = nodes.api(1, "STREAM.LEADER.STEPDOWN.S", body);
    assert!(
        refused.contains("preferred server \\\"zz\\\" not known"),
        "{refused}"
    );
}

#[test]
fn consumers_show_their_groups() {
    let mut nodes = cluster(3);
    nodes.api(1, "STREAM.CREATE.S", R3);
    let body = r#"{"stream_name":"S","config":{"durable_name":"D","ack_policy":"explicit"}}"#;
    let created = nodes.api(2, "CONSUMER.DURABLE.CREATE.S.D", body);
    let created: serde_json::Value = serde_json::from_str(&created).unwrap();
    let group = created["cluster"]["raft_group"].as_str().unwrap();
    assert!(group.starts_with("C-R3F-") && group.len() == 14, "{group}");
    let info = nodes.api(3, "CONSUMER.INFO.S.D", "");
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["cluster"]["raft_group"], *group);
    assert_eq!(info["cluster"]["replicas"].as_array().unwrap().len(), 2);
    let body = r#"{"stream_name":"S","config":{"ack_policy":"explicit","inactive_threshold":100000000000}}"#;
    let created = nodes.api(1, "CONSUMER.CREATE.S", body);
    let created: serde_json::Value = serde_json::from_str(&created).unwrap();
    assert_eq!(
        created["cluster"].as_object().unwrap().len(),
        2,
        "{created}"
    );
}

#[test]
fn of_two_streams_that_want_the_same_at_once_one_gets_it() {
    let mut nodes = cluster(3);
    for (name, subject) in [("A", "x.>"), ("B", "x.a")] {
        let config = format!(r#"{{"name":"{name}","subjects":["{subject}"],"num_replicas":3}}"#);
        let path = format!("$JS.API.STREAM.CREATE.{name}");
        nodes
            .node(2)
            .send(&path, &format!("_INBOX.{name}"), "", &config);
    }
    let mut answers = Vec::new();
    while answers.len() < 2 {
        nodes.pass(50_000_000);
        let sent = nodes.node(2).take();
        answers.extend(
            sent.into_iter()
                .filter(|one| one.route.starts_with("_INBOX.")),
        );
    }
    let created = |one: &&super::rig::Sent| one.payload.contains("\"did_create\":true");
    assert_eq!(answers.iter().filter(created).count(), 1, "{answers:?}");
    let refused = answers.iter().filter(|one| one.payload.contains("10065"));
    assert_eq!(refused.count(), 1, "{answers:?}");
}

/// The disk of a server without a cluster that has a stream with a message.
fn with_a_stream(later: i64) -> FaultDisk {
    let mut rig = Rig::open(FaultDisk::new(), Settings::default(), START + later);
    let config = r#"{"name":"OLD","subjects":["old.>"],"num_replicas":1}"#;
    rig.send("$JS.API.STREAM.CREATE.OLD", "_INBOX.1", "", config);
    rig.settle();
    rig.send("old.x", "_INBOX.1", "", "kept");
    rig.settle();
    rig.disk.crash(1)
}

#[test]
fn streams_from_before_the_cluster_are_taken_over() {
    let disks = [FaultDisk::new(), with_a_stream(1), with_a_stream(2)];
    let mut nodes = Nodes::on(disks);
    nodes.meet();
    nodes.pass(4 * SECOND);
    let names = nodes.api(1, "STREAM.NAMES", "");
    assert!(names.contains("\"streams\":[\"OLD\"]"), "{names}");
    let info = nodes.api(1, "STREAM.INFO.OLD", "");
    assert!(info.contains("\"messages\":1"), "{info}");
    assert!(
        info.contains("\"cluster\":{\"name\":\"C\",\"leader\":\"n"),
        "{info}"
    );
    let refused = |node: u64, nodes: &mut Nodes| {
        let lines = &nodes.node(node).out.lines;
        lines.iter().any(|line| line.contains("is not taken over"))
    };
    let refused: Vec<u64> = (1..=3).filter(|node| refused(*node, &mut nodes)).collect();
    assert!(refused == [2] || refused == [3], "{refused:?}");
    let grown = r#"{"name":"OLD","subjects":["old.>"],"num_replicas":2}"#;
    let grown = nodes.api(1, "STREAM.UPDATE.OLD", grown);
    assert!(grown.contains("\"num_replicas\":2"), "{grown}");
}

#[test]
fn a_stream_shrinks_to_one_replica_and_grows_again() {
    let mut nodes = cluster(3);
    nodes.api(1, "STREAM.CREATE.S", R3);
    let replicas = |nodes: &mut Nodes| {
        let info = nodes.api(2, "STREAM.INFO.S", "");
        let info: serde_json::Value = serde_json::from_str(&info).unwrap();
        let others = info["cluster"]["replicas"].as_array().map_or(0, Vec::len);
        let current = info["cluster"]["replicas"].as_array().into_iter().flatten();
        (others, current.filter(|one| one["current"] == true).count())
    };
    for (wanted, expected) in [(1, (0, 0)), (3, (2, 2)), (2, (1, 1)), (1, (0, 0))] {
        let config = format!(r#"{{"name":"S","subjects":["s.>"],"num_replicas":{wanted}}}"#);
        let changed = nodes.api(3, "STREAM.UPDATE.S", &config);
        assert!(
            changed.contains(&format!("\"num_replicas\":{wanted}")),
            "{changed}"
        );
        nodes.pass(6_000_000_000);
        assert_eq!(replicas(&mut nodes), expected, "{wanted} replicas");
    }
}
