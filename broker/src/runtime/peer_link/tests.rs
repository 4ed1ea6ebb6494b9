//! Our side of a link against a socket that plays the peer.

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

struct Peer {
    listener: TcpListener,
    events: mpsc::UnboundedReceiver<NodeEvent>,
}

impl Peer {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (sender, events) = mpsc::unbounded_channel();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(run(1, address, None, 7, sender));
        Self { listener, events }
    }

    async fn accept(&mut self) -> (TcpStream, LinkSender) {
        let (stream, _) = self.listener.accept().await.unwrap();
        match self.events.recv().await {
            Some(NodeEvent::OutboundUp { ordinal: 1, link }) => (stream, link),
            other => panic!("a dial that succeeds is said, not {other:?}"),
        }
    }

    async fn expect_down(&mut self) {
        let event = self.events.recv().await;
        let down = matches!(
            event,
            Some(NodeEvent::Machine(Event::OutboundDown { ordinal: 1 }))
        );
        assert!(down, "the end of a link is said, not {event:?}");
    }
}

fn frame(size: usize) -> Frame {
    Frame {
        head: Bytes::from_static(b"head"),
        batches: vec![vec![7; size].into(), "end".into()],
    }
}

#[tokio::test]
async fn frames_arrive_in_order_with_their_length_before_them() {
    let mut peer = Peer::new().await;
    let (mut stream, link) = peer.accept().await;
    // Larger than any socket buffer, so that writes are cut.
    for size in [0, 3_000_000, 5] {
        link.send(frame(size)).unwrap();
    }
    for size in [0, 3_000_000, 5] {
        assert_eq!(stream.read_u32().await.unwrap() as usize, 4 + size + 3);
        let mut bytes = vec![0; 4 + size + 3];
        stream.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, &frame(size).to_bytes()[..]);
    }
}

#[tokio::test]
async fn closed_by_the_peer_is_noticed_while_idle_and_dialled_again() {
    let mut peer = Peer::new().await;
    for _ in 0..3 {
        let (stream, _link) = peer.accept().await;
        drop(stream);
        peer.expect_down().await;
    }
}

#[tokio::test]
async fn peer_that_writes_on_a_link_is_thrown_out() {
    let mut peer = Peer::new().await;
    let (mut stream, _link) = peer.accept().await;
    stream.write_all(b"?").await.unwrap();
    peer.expect_down().await;
}

#[tokio::test]
async fn dropping_the_sender_closes_the_link() {
    let mut peer = Peer::new().await;
    let (mut stream, link) = peer.accept().await;
    drop(link);
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    peer.expect_down().await;
}

#[test]
fn queue_refuses_what_goes_beyond_its_bytes() {
    let (sender, mut queue) = LinkSender::new();
    let largest = PEER_FRAME_BYTES_MAX - 7;
    let mut taken = 0;
    while sender.send(frame(largest)).is_ok() {
        taken += 1;
    }
    assert_eq!(
        taken, 3,
        "four of the largest and their overhead are too many"
    );
    let mut outgoing = Outgoing::default();
    queue.take_waiting(&mut outgoing);
    assert_eq!(
        outgoing.len(),
        PEER_FRAME_BYTES_MAX + 4,
        "one frame is taken at once"
    );
}

#[test]
fn pauses_double_up_to_the_longest_with_jitter() {
    let mut backoff = Backoff::new(1);
    let mut least = BACKOFF_MIN;
    for _ in 0..10 {
        let pause = backoff.pause();
        assert!(
            pause >= least / 2 && pause <= least,
            "{pause:?} of {least:?}"
        );
        least = (least * 2).min(BACKOFF_MAX);
    }
    backoff.reset();
    assert!(backoff.pause() <= BACKOFF_MIN);
}
