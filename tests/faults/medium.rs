//! A medium that fails.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use jetwake_tests::daemon::get;
use jetwake_tests::jetstream::{api, number};
use jetwake_tests::layer::{Layer, Names};
use jetwake_tests::process::Scratch;
use jetwake_tests::wire::Client;

use crate::data::Data;
use crate::subject::{Home, Subject, Verdict};

const PATIENCE: Duration = Duration::from_secs(4);

/// Whether plain messages still arrive.
pub(crate) fn core_works(address: SocketAddr) -> bool {
    let exchange = || {
        let mut client = Client::connect(address)?;
        client.set_limit(PATIENCE)?;
        client.subscribe("core.test", "");
        client.publish(b"core.test", b"", b"hello");
        client
            .next_message()
            .map(|message| message.payload == b"hello")
    };
    exchange().unwrap_or(false)
}

/// The status of a monitoring page.
fn status(monitor: SocketAddr, path: &str) -> String {
    match get(monitor, path) {
        Ok(reply) => format!("{} {}", reply.status, reply.body.trim()),
        Err(error) => error.to_string(),
    }
}

fn on_layer(subject: &Subject) -> io::Result<(Scratch, Layer, Home)> {
    let place = Scratch::new(&std::env::temp_dir(), "faults-disk")?;
    let layer = Layer::mount(place.path(), Names::Journaled)?;
    let home = subject.home(Some(layer.path()))?;
    Ok((place, layer, home))
}

/// Every sync fails.
pub(crate) fn failed_sync(subject: &Subject, _seed: u64) -> io::Result<Verdict> {
    let (_place, mut layer, home) = on_layer(subject)?;
    let mut server = home.start()?;
    let address = server.address();
    let data = Data::fill(address, 2, 200, 1000)?;
    layer.image().orders().fail_syncs(true);
    let mut client = Client::connect(address)?;
    client.set_limit(PATIENCE)?;
    let mut verdict = Verdict::default();
    let answer = client.request("F0.data", b"after the failure");
    let acked = answer
        .as_ref()
        .is_ok_and(|answer| number(answer, "seq").is_some_and(|s| s > 0));
    verdict.text = match &answer {
        _ if acked => "publishes are acknowledged".to_owned(),
        Ok(text) => format!("publishes: {}", String::from_utf8_lossy(text)),
        Err(error) => format!("publishes: {error}"),
    };
    let again = match client.request("F0.data", b"once more") {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) => error.to_string(),
    };
    verdict.text.push_str(&format!("; once more: {again}"));
    // A server that does not sync does not notice.
    verdict.demand(!acked, || "an ack without a sync".to_owned());
    let info = match api(&mut client, "INFO", "") {
        Ok(_) => "answers".to_owned(),
        Err(error) => error.to_string(),
    };
    verdict.text.push_str(&format!("; API {info}"));
    let health = status(home.monitor(), "/healthz");
    verdict.demand(acked || !health.starts_with("200"), || {
        format!("healthz: {health}")
    });
    verdict.text.push_str(&format!("; healthz {health}"));
    let up = core_works(address) && status(home.monitor(), "/varz").starts_with("200");
    verdict.demand(up, || "core pub/sub or monitoring is down".to_owned());
    verdict.text.push_str(if up {
        "; core and monitoring up"
    } else {
        "; core or monitoring down"
    });
    server.kill()?;
    layer.image().orders().fail_syncs(false);
    layer.remount()?;
    let server = home.start()?;
    let damage = data.check(server.address())?;
    verdict.demand(damage.is_none(), || format!("after a restart: {damage:?}"));
    Ok(verdict)
}

/// Every read of a file fails while a client reads.
pub(crate) fn failed_read(subject: &Subject, _seed: u64) -> io::Result<Verdict> {
    let (_place, mut layer, home) = on_layer(subject)?;
    let mut server = home.start()?;
    let data = Data::fill(server.address(), 3, 1500, 2000)?;
    server.kill()?;
    layer.remount()?;
    let mut server = home.start()?;
    let address = server.address();
    jetwake_tests::load::wait_for_jetstream(address)?;
    // Every file's name begins with nothing.
    layer.image().orders().fail_reads(Some(""));
    layer.drop_pages()?;
    let harmed = data.check(address);
    let failed = layer.image().orders().failed();
    layer.image().orders().fail_reads(None);
    let mut verdict = Verdict::default();
    let alive = core_works(address);
    verdict.text = format!(
        "{failed} reads failed, the process {}",
        if alive { "lives" } else { "is gone" }
    );
    verdict.demand(failed > 0, || "no read reached the medium".to_owned());
    verdict.demand(alive, || "a read error ended the process".to_owned());
    let altered = harmed.as_ref().is_ok_and(|damage| damage.altered > 0);
    verdict.demand(!altered, || format!("{harmed:?}"));
    if alive {
        let after = data.check(address)?;
        let back = if after.is_none() {
            "everything is read"
        } else {
            "not everything is read"
        };
        verdict
            .text
            .push_str(&format!("; {back} when the medium works again"));
    }
    server.kill()?;
    layer.remount()?;
    let server = home.start()?;
    let damage = data.check(server.address())?;
    verdict.demand(damage.is_none(), || format!("after a restart: {damage:?}"));
    drop(server);
    Ok(verdict)
}
