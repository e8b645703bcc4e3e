//! The border to the JetStream thread: what reaches its inbox, and what it sends from its own
//! thread.

use std::future::Future;
use std::io::{BufRead as _, BufReader, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jetwake::jetstream::tag::{AccountId, Tag, TagKind};
use jetwake::log::Logger;
use jetwake::options::Options;
use jetwake::server::{Bound, InboundBatch, JetStreamInbox, RouterHandle, Running};
use tokio::sync::{Notify, mpsc};

use crate::support::{MODERN, QUIET, Raw};

#[derive(Debug)]
enum Mail {
    Message {
        tag: Tag,
        subject: String,
        reply: String,
        payload: String,
    },
    Interest(Tag),
}

#[derive(Debug)]
struct FakeInbox {
    mail: mpsc::UnboundedSender<Mail>,
    full: AtomicBool,
    drained: Notify,
}

impl JetStreamInbox for FakeInbox {
    fn submit(&self, batch: &mut InboundBatch) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for message in batch.iter() {
            let (subject, reply) = (text(message.subject), text(message.reply));
            let payload = text(message.payload);
            self.mail
                .send(Mail::Message {
                    tag: message.tag,
                    subject,
                    reply,
                    payload,
                })
                .unwrap();
        }
        batch.clear();
    }

    fn interest_changed(&self, _account: AccountId, tag: Tag) {
        self.mail.send(Mail::Interest(tag)).unwrap();
    }

    fn is_full(&self) -> bool {
        self.full.load(Ordering::SeqCst)
    }

    fn has_room(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            loop {
                let drained = self.drained.notified();
                if !self.is_full() {
                    return;
                }
                drained.await;
            }
        })
    }
}

fn tag(kind: TagKind, stream: u32) -> Tag {
    Tag {
        kind,
        stream,
        consumer: 0,
    }
}

async fn start() -> (
    Running,
    RouterHandle,
    Arc<FakeInbox>,
    mpsc::UnboundedReceiver<Mail>,
) {
    let (mail, received) = mpsc::unbounded_channel();
    let inbox = Arc::new(FakeInbox {
        mail,
        full: AtomicBool::new(false),
        drained: Notify::new(),
    });
    let options = Options {
        host: "127.0.0.1".to_owned(),
        port: 0,
        ..Options::default()
    };
    let bound = Bound::bind(options, Logger::silent(), Some(inbox.clone()))
        .await
        .unwrap();
    let router = bound.router();
    (bound.serve(), router, inbox, received)
}

#[tokio::test]
async fn messages_come_once_for_each_listener_and_count_as_taken() {
    let (server, router, _inbox, mut received) = start().await;
    router
        .deliverer()
        .listen(0, b"orders.*", tag(TagKind::Publish, 1));
    router
        .deliverer()
        .listen(0, b"orders.>", tag(TagKind::Publish, 2));
    let mut raw = Raw::connect(&server).await;
    let connect = MODERN.replace("\"protocol\":1", "\"protocol\":0");
    raw.send(format!("{connect}SUB r 1\r\nPUB orders.x r 2\r\nhi\r\n"))
        .await;
    raw.expect_before_pong("").await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let Mail::Message {
            tag,
            subject,
            reply,
            payload,
        } = received.recv().await.unwrap()
        else {
            panic!("no message");
        };
        assert_eq!((&*subject, &*reply, &*payload), ("orders.x", "r", "hi"));
        streams.push(tag.stream);
    }
    streams.sort_unstable();
    assert_eq!(streams, [1, 2]);
    router
        .deliverer()
        .unlisten(0, b"orders.*", tag(TagKind::Publish, 1));
    router
        .deliverer()
        .unlisten(0, b"orders.>", tag(TagKind::Publish, 2));
    raw.send("PUB orders.x r 2\r\nhi\r\n").await;
    assert!(raw.line().await.starts_with("HMSG r 1 "));
}

/// The client is a thread that wakes up the moment the server writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_has_the_pong_knows_that_the_inbox_has_the_message() {
    let (server, router, _inbox, mut received) = start().await;
    router
        .deliverer()
        .listen(0, b"orders", tag(TagKind::Publish, 1));
    let mut client = std::net::TcpStream::connect(server.client_addr()).unwrap();
    client.write_all(QUIET.as_bytes()).unwrap();
    let mut lines = BufReader::new(client.try_clone().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("INFO "));
    for round in 0..1000 {
        client.write_all(b"PUB orders 2\r\nhi\r\nPING\r\n").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "PONG");
        assert!(received.try_recv().is_ok(), "round {round}");
    }
}

#[tokio::test]
async fn another_thread_sends_without_the_runtime() {
    let (server, router, _inbox, _received) = start().await;
    let mut raw = Raw::connect(&server).await;
    raw.send(format!("{QUIET}SUB deliver.x 7\r\n")).await;
    raw.expect_before_pong("").await;
    let sender = std::thread::spawn(move || {
        let mut deliverer = router.deliverer();
        let headers = b"NATS/1.0\r\n\r\n";
        assert!(!deliverer.publish(0, b"nobody", (b"nobody", b""), (b"", b"")));
        for _ in 0..1000 {
            assert!(deliverer.publish(0, b"deliver.x", (b"stored", b"ack"), (headers, b"hi")));
        }
        deliverer.flush();
    });
    for _ in 0..1000 {
        raw.expect("MSG stored 7 ack 2\r\nhi\r\n").await;
    }
    sender.join().unwrap();
}

#[tokio::test]
async fn watches_are_told_when_interest_turns() {
    let (server, router, _inbox, mut received) = start().await;
    let watch = tag(TagKind::Deliver, 3);
    assert!(!router.watch(0, b"deliver.x", None, watch));
    let mut raw = Raw::connect(&server).await;
    raw.send(format!("{QUIET}SUB deliver.x 1\r\n")).await;
    assert!(matches!(received.recv().await, Some(Mail::Interest(tag)) if tag == watch));
    assert_eq!(router.watched(0, watch), Some(true));
    assert!(router.has_interest(0, b"deliver.x", None));
    assert!(!router.has_interest(0, b"deliver.x", Some(b"q")));
    drop(raw);
    assert!(matches!(received.recv().await, Some(Mail::Interest(tag)) if tag == watch));
    assert_eq!(router.watched(0, watch), Some(false));
    assert!(!router.has_any_interest(0, b"deliver.x"));
}

#[tokio::test]
async fn a_full_inbox_holds_its_producers_back() {
    let (server, router, inbox, mut received) = start().await;
    router.deliverer().listen(0, b"s", tag(TagKind::Publish, 1));
    let mut raw = Raw::connect(&server).await;
    raw.send(QUIET).await;
    raw.expect_before_pong("").await;
    inbox.full.store(true, Ordering::SeqCst);
    raw.send("PUB s 1\r\n1\r\n").await;
    assert!(received.recv().await.is_some());
    raw.send("PUB s 1\r\n2\r\n").await;
    let mut other = Raw::connect(&server).await;
    other.send(QUIET).await;
    other.expect("").await;
    assert!(received.try_recv().is_err());
    inbox.full.store(false, Ordering::SeqCst);
    inbox.drained.notify_waiters();
    raw.expect_before_pong("").await;
    assert!(matches!(received.recv().await, Some(Mail::Message { payload, .. }) if payload == "2"));
}
