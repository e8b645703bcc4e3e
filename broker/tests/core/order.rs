//! What a client has seen holds everywhere: a tool that looks at the server behind a client's back is never late.
//!
//! The client here is a thread of its own that wakes up the moment the server writes. Each round is one chance to
//! catch the server between two steps.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use jetwake::server::Running;

use crate::support::{QUIET, start};

const ROUNDS: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(20);

struct Client(BufReader<TcpStream>);

impl Client {
    /// Connects and reads INFO.
    fn connect(server: &Running) -> Self {
        let socket = TcpStream::connect(server.client_addr()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Self(BufReader::new(socket));
        client.0.read_line(&mut String::new()).unwrap();
        client
    }

    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn expect(&mut self, expected: &str) {
        let mut found = vec![0; expected.len()];
        self.0.read_exact(&mut found).unwrap();
        assert_eq!(String::from_utf8_lossy(&found), expected);
    }

    fn expect_end(&mut self, expected: &str) {
        let mut found = String::new();
        self.0.read_to_string(&mut found).unwrap();
        assert_eq!(found, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_sees_the_end_finds_nothing_left_of_the_connection() {
    let server = start(|options| options.max_closed_clients = 2 * ROUNDS).await;
    let shared = server.shared();
    for round in 1..=ROUNDS {
        let mut client = Client::connect(&server);
        client.send(&format!("{QUIET}SUB a 1\r\nFOO\r\n"));
        client.expect_end("-ERR 'Unknown Protocol Operation'\r\n");
        let left = (shared.connection_count(), shared.subscription_count());
        assert_eq!(left, (0, 0), "round {round}");
        assert_eq!(shared.closed_connections().len(), round);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_is_turned_away_is_remembered_already() {
    let server = start(|options| {
        options.max_connections = 0;
        options.max_closed_clients = 2 * ROUNDS;
    })
    .await;
    for round in 1..=ROUNDS {
        let mut client = Client::connect(&server);
        client.expect_end("-ERR 'maximum connections exceeded'\r\n");
        assert_eq!(server.shared().closed_connections().len(), round);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_has_the_last_message_has_no_subscription_any_more() {
    let server = start(|_| {}).await;
    let mut client = Client::connect(&server);
    client.send(QUIET);
    for round in 1..=ROUNDS {
        client.send("SUB a 1\r\nUNSUB 1 1\r\nPUB a 0\r\n\r\n");
        client.expect("MSG a 1 0\r\n\r\n");
        assert_eq!(server.shared().subscription_count(), 0, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_has_a_message_finds_it_counted() {
    let server = start(|_| {}).await;
    let mut client = Client::connect(&server);
    client.send(&format!("{QUIET}SUB a 1\r\n"));
    for round in 1..=ROUNDS as u64 {
        client.send("PUB a 0\r\n\r\n");
        client.expect("MSG a 1 0\r\n\r\n");
        let traffic = &server.shared().traffic;
        let counted = (traffic.inbound().msgs, traffic.outbound().msgs);
        assert_eq!(counted, (round, round));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_the_pong_knows_that_others_have_the_message() {
    let server = start(|_| {}).await;
    let (mut one, mut two) = (Client::connect(&server), Client::connect(&server));
    one.send(&format!("{QUIET}SUB a 1\r\nPING\r\n"));
    one.expect("PONG\r\n");
    two.send(&format!("{QUIET}SUB a 2\r\nPING\r\n"));
    two.expect("PONG\r\n");
    for _ in 0..ROUNDS {
        one.send("PING\r\nPUB a 0\r\n\r\nPING\r\n");
        one.expect("PONG\r\nMSG a 1 0\r\n\r\nPONG\r\n");
        two.send("PING\r\n");
        two.expect("MSG a 2 0\r\n\r\nPONG\r\n");
    }
}
