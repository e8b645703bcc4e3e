//! A cluster of cores: how it begins, who answers, and what operators do.

use super::cluster::Nodes;

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
