//! Clients over real sockets against the node's side of them; the machine is played by the test.

use std::net::SocketAddr;

use tandemmq_model::{Command, Outcome};
use tandemmq_wire::{AllowAnonymous, Limits, SessionConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, SupportedProtocolVersion};

use super::super::events::ClientSender;
use super::*;
use crate::metrics::Metrics;
use crate::testing::TempDir;
use crate::tls::clients::ClientTls;
use crate::tls::testing::{Authority, client, port_files, reloader};

struct Node {
    ports: Ports,
    events: mpsc::Receiver<ClientEvent>,
    address: SocketAddr,
}

impl Node {
    fn new(maximum_connections: u32) -> Self {
        Self::with_tls(maximum_connections, None)
    }

    fn with_tls(maximum_connections: u32, tls: Option<ClientTls>) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let port = ClientPort::bind(free).unwrap();
        let address = port.address();
        let (sender, events) = ClientSender::channel();
        let session = SessionConfig {
            group: "a".into(),
            server: "TandemMQ/test".into(),
            instance: 1,
            limits: Limits::default(),
        };
        let clients = Clients::new(
            session,
            Arc::new(AllowAnonymous),
            maximum_connections,
            sender,
            Arc::new(Metrics::new()),
        )
        .with_tls(tls);
        let mut ports = Ports::new(port, Arc::new(clients));
        ports.open();
        Self {
            ports,
            events,
            address,
        }
    }

    /// The next event that the machine hears of; commands are answered as done.
    async fn next(&mut self) -> Event {
        loop {
            let event = self.events.recv().await.unwrap();
            let Some((event, _)) = self.ports.translate(event) else {
                continue;
            };
            if let Event::Commands(conn, commands) = &event {
                for request in commands.iter().filter_map(request) {
                    let reply = SessionEvent::Reply {
                        request,
                        outcome: Outcome::Done,
                    };
                    self.ports.send(*conn, reply);
                }
            }
            return event;
        }
    }

    /// A client that was let in, and its number.
    async fn client(&mut self) -> (TcpStream, ConnId) {
        let mut client = self.dial().await;
        assert!(text(&mut client, "\0").await.starts_with("CONNECTED"));
        match self.next().await {
            Event::Connected(conn) => (client, conn),
            other => panic!("the machine hears of a client first, not {other:?}"),
        }
    }

    async fn dial(&self) -> TcpStream {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        client
            .write_all(b"CONNECT\naccept-version:1.2\nhost:h\n\n\0")
            .await
            .unwrap();
        client
    }
}

fn request(command: &Command) -> Option<u64> {
    match command {
        Command::Send { request, .. } | Command::Disconnect(request) => Some(request.id),
        _ => None,
    }
}

/// Reads until the text ends with `end`, or to the end of the stream.
async fn text(client: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut all = Vec::new();
    while !String::from_utf8_lossy(&all)
        .trim_end_matches('\n')
        .ends_with(end)
    {
        let mut bytes = [0; 1024];
        match client.read(&mut bytes).await {
            Ok(0) | Err(_) => break,
            Ok(count) => all.extend_from_slice(&bytes[..count]),
        }
    }
    String::from_utf8(all).unwrap()
}

#[tokio::test]
async fn a_send_reaches_the_machine_and_its_answer_the_client() {
    let mut node = Node::new(10);
    let (mut client, conn) = node.client().await;
    client
        .write_all(b"SEND\ndestination:/queue/q\nreceipt:r1\n\nbody\0DISCONNECT\nreceipt:r2\n\n\0")
        .await
        .unwrap();
    let mut commands = Vec::new();
    while commands.len() < 2 {
        match node.next().await {
            Event::Commands(from, more) if from == conn => commands.extend(more),
            other => panic!("commands were expected, not {other:?}"),
        }
    }
    let text = text(&mut client, "never").await;
    let (first, second) = (text.find("receipt-id:r1"), text.find("receipt-id:r2"));
    assert!(
        first.is_some() && first < second,
        "both receipts, in order, then the end: {text}"
    );
    assert!(matches!(node.next().await, Event::Disconnected(gone) if gone == conn));
}

#[tokio::test]
async fn client_above_the_maximum_gets_connected_then_an_error_then_the_end() {
    let mut node = Node::new(2);
    let (mut first, _) = node.client().await;
    let (second, second_conn) = node.client().await;
    let mut third = node.dial().await;
    let told = text(&mut third, "never").await;
    assert!(told.starts_with("CONNECTED"), "{told}");
    assert!(
        told.contains("ERROR") && told.contains("maximumConnections"),
        "{told}"
    );
    first
        .write_all(b"SEND\ndestination:/queue/q\nreceipt:r1\n\nbody\0")
        .await
        .unwrap();
    assert!(
        matches!(node.next().await, Event::Commands(..)),
        "the third was no event"
    );
    assert!(
        text(&mut first, "\0").await.contains("receipt-id:r1"),
        "the first stays usable"
    );
    drop(second);
    assert!(matches!(node.next().await, Event::Disconnected(gone) if gone == second_conn));
    node.client().await;
}

#[tokio::test]
async fn client_that_goes_on_sending_after_its_error_is_not_reset() {
    let mut node = Node::new(10);
    let (mut client, _) = node.client().await;
    client.write_all(b"NONSENSE\n\n\0").await.unwrap();
    let mut told = String::new();
    client.read_to_string(&mut told).await.unwrap();
    assert!(told.starts_with("ERROR"), "{told}");
    client.write_all(&[b'x'; 100_000]).await.unwrap();
    let reset = client.take_error().unwrap();
    assert!(
        reset.is_none(),
        "a reset may overtake the ERROR on a slower way: {reset:?}"
    );
}

#[tokio::test]
async fn closing_ends_every_connection_at_once_and_nothing_of_it_is_heard_again() {
    let mut node = Node::new(10);
    let (mut established, conn) = node.client().await;
    let mut stranger = TcpStream::connect(node.address).await.unwrap();
    established
        .write_all(b"SEND\ndestination:/queue/q\n\nbody\0")
        .await
        .unwrap();
    let waiting = node.events.recv().await.unwrap();
    node.ports.close();
    assert!(
        node.ports.translate(waiting).is_none(),
        "it belongs to an earlier opening"
    );
    while let Ok(event) = node.events.try_recv() {
        assert!(node.ports.translate(event).is_none());
    }
    assert_eq!(text(&mut established, "never").await, "");
    node.ports.open();
    // The stranger was in the backlog, or its `Accepted` is dropped now.
    let (_client, other) = node.client().await;
    assert_ne!(other, conn, "numbers of connections are never used twice");
    assert_eq!(text(&mut stranger, "never").await, "");
}

#[tokio::test]
async fn client_that_leaves_before_it_was_let_in_is_never_heard_of() {
    let mut node = Node::new(10);
    let stranger = TcpStream::connect(node.address).await.unwrap();
    drop(stranger);
    let (_client, conn) = node.client().await;
    assert_eq!(node.ports.conns.keys().copied().collect::<Vec<_>>(), [conn]);
}

#[tokio::test]
async fn commands_wait_in_the_socket_while_the_node_takes_none() {
    let mut node = Node::new(10);
    let (mut client, conn) = node.client().await;
    let frame = [
        b"SEND\ndestination:/queue/q\n\n".as_slice(),
        &[b'x'; 60_000],
        b"\0",
    ]
    .concat();
    // Far more than all buffers on the way hold, if nobody takes anything.
    let mut writes = 0;
    let full = async {
        loop {
            client.write_all(&frame).await.unwrap();
            writes += 1;
        }
    };
    let stuck = tokio::time::timeout(Duration::from_millis(500), full)
        .await
        .is_err();
    assert!(
        stuck && writes < 2_000,
        "{writes} frames of 60 kB went somewhere"
    );
    let mut taken = 0;
    while taken < writes {
        match node.next().await {
            Event::Commands(from, commands) if from == conn => taken += commands.len(),
            other => panic!("commands were expected, not {other:?}"),
        }
    }
}

/// A node whose port speaks TLS, and a client's configuration for it.
fn tls_node(version: &'static SupportedProtocolVersion) -> (Node, Arc<ClientConfig>) {
    let (authority, folder) = (Authority::new(), TempDir::new());
    authority.issue("localhost", folder.path());
    let tls = ClientTls::open(&port_files(folder.path()), &mut reloader()).unwrap();
    let node = Node::with_tls(10, Some(tls));
    (node, client(&authority, &[version], None))
}

async fn encrypted(address: SocketAddr, config: Arc<ClientConfig>) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(config);
    connector.connect(name, stream).await.unwrap()
}

#[tokio::test]
async fn session_over_tls_is_the_same_session() {
    for version in [&TLS12, &TLS13] {
        let (mut node, config) = tls_node(version);
        // It says nothing at all, and nobody waits for it.
        let _slow = TcpStream::connect(node.address).await.unwrap();
        let mut client = encrypted(node.address, config).await;
        // A frame larger than all buffers, so that writes are cut on both sides.
        let body = vec![b'x'; 3_000_000];
        client
            .write_all(b"CONNECT\naccept-version:1.2\nhost:h\n\n\0")
            .await
            .unwrap();
        assert!(text(&mut client, "\0").await.starts_with("CONNECTED"));
        let Event::Connected(conn) = node.next().await else {
            panic!("the machine hears of a client first");
        };
        let (mut read, mut write) = tokio::io::split(client);
        let sending = tokio::spawn(async move {
            let head = b"SEND\ndestination:/queue/q\nreceipt:r1\n\n";
            let bye = b"\0DISCONNECT\nreceipt:r2\n\n\0";
            let frames = [head.as_slice(), &body, bye].concat();
            write.write_all(&frames).await.unwrap();
            write.flush().await.unwrap();
            write
        });
        let mut commands = 0;
        while commands < 2 {
            match node.next().await {
                Event::Commands(from, more) if from == conn => commands += more.len(),
                other => panic!("commands were expected, not {other:?}"),
            }
        }
        let mut told = Vec::new();
        // `close_notify` is a clean end.
        read.read_to_end(&mut told).await.unwrap();
        let told = String::from_utf8(told).unwrap();
        let (first, second) = (told.find("receipt-id:r1"), told.find("receipt-id:r2"));
        assert!(first.is_some() && first < second, "{told}");
        sending.await.unwrap();
        assert!(matches!(node.next().await, Event::Disconnected(gone) if gone == conn));
    }
}

#[tokio::test]
async fn plain_bytes_to_a_tls_port_are_closed_and_never_heard_of() {
    let (mut node, config) = tls_node(&TLS13);
    let mut plain = node.dial().await;
    let mut answer = Vec::new();
    // An alert, or a reset.
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("CONNECTED"));
    let mut client = encrypted(node.address, config).await;
    client
        .write_all(b"CONNECT\naccept-version:1.2\nhost:h\n\n\0")
        .await
        .unwrap();
    assert!(matches!(node.next().await, Event::Connected(_)));
    assert_eq!(node.ports.conns.len(), 1, "the plain one is forgotten");
}

#[tokio::test]
async fn closing_ends_a_connection_within_its_handshake() {
    let (mut node, config) = tls_node(&TLS13);
    let mut silent = TcpStream::connect(node.address).await.unwrap();
    let _client = encrypted(node.address, config).await;
    // Both were accepted, in their order.
    while node.ports.conns.len() < 2 {
        let event = node.events.recv().await.unwrap();
        node.ports.translate(event);
    }
    node.ports.close();
    // Long before its time for a handshake is over.
    let ended = tokio::time::timeout(Duration::from_secs(5), text(&mut silent, "never"));
    assert_eq!(ended.await.as_deref(), Ok(""));
}
