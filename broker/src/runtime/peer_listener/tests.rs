//! The accepting side of a link against a socket that plays the peer.

use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::*;

struct Port {
    address: std::net::SocketAddr,
    events: mpsc::UnboundedReceiver<NodeEvent>,
}

impl Port {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, events) = mpsc::unbounded_channel();
        tokio::spawn(run(listener, None, sender));
        Self { address, events }
    }

    async fn connect(&mut self) -> (TcpStream, InboundId, oneshot::Sender<()>) {
        let stream = TcpStream::connect(self.address).await.unwrap();
        match self.events.recv().await {
            Some(NodeEvent::InboundUp { inbound, closer }) => (stream, inbound, closer),
            other => panic!("an accepted connection is said, not {other:?}"),
        }
    }

    async fn frame(&mut self) -> Bytes {
        match self.events.recv().await {
            Some(NodeEvent::PeerFrame { frame, .. }) => frame,
            other => panic!("a frame was expected, not {other:?}"),
        }
    }

    async fn expect_down(&mut self, expected: InboundId) {
        match self.events.recv().await {
            Some(NodeEvent::Machine(Event::InboundDown { inbound })) => {
                assert_eq!(inbound, expected);
            }
            other => panic!("the end of the connection was expected, not {other:?}"),
        }
    }
}

fn encoded(body: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

#[tokio::test]
async fn frames_come_out_whole_however_they_are_cut() {
    let mut port = Port::new().await;
    let (mut stream, inbound, _closer) = port.connect().await;
    let large = vec![9; 300_000];
    let mut bytes = encoded(b"hello");
    bytes.extend(encoded(b"x"));
    bytes.extend(encoded(&large));
    let (first, rest) = bytes.split_at(7);
    stream.write_all(first).await.unwrap();
    stream.flush().await.unwrap();
    tokio::task::yield_now().await;
    stream.write_all(rest).await.unwrap();
    assert_eq!(port.frame().await, "hello");
    assert_eq!(port.frame().await, "x");
    assert_eq!(port.frame().await, large);
    drop(stream);
    port.expect_down(inbound).await;
}

#[tokio::test]
async fn length_beyond_the_limit_ends_the_connection_before_anything_is_allocated() {
    let mut port = Port::new().await;
    let too_long = u32::try_from(PEER_FRAME_BYTES_MAX + 1).unwrap();
    for (hello, length) in [
        (false, HELLO_BYTES_MAX as u32 + 1),
        (true, too_long),
        (true, 0),
    ] {
        let (mut stream, inbound, _closer) = port.connect().await;
        if hello {
            stream.write_all(&encoded(b"hello")).await.unwrap();
            assert_eq!(port.frame().await, "hello");
        }
        stream.write_all(&length.to_be_bytes()).await.unwrap();
        port.expect_down(inbound).await;
    }
}

#[tokio::test]
async fn dropping_the_closer_closes_the_connection() {
    let mut port = Port::new().await;
    let (mut stream, inbound, closer) = port.connect().await;
    drop(closer);
    port.expect_down(inbound).await;
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn more_connections_than_allowed_are_closed() {
    let mut port = Port::new().await;
    let mut open = Vec::new();
    for _ in 0..INBOUND_MAX {
        open.push(port.connect().await);
    }
    let mut refused = TcpStream::connect(port.address).await.unwrap();
    assert_eq!(refused.read(&mut [0]).await.unwrap(), 0);
    open.clear();
}
