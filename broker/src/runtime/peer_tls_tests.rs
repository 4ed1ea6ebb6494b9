//! Links over TLS on loopback, both ends as they run in a broker, and strangers beside them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tandemmq_cluster::{Event, Frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, SupportedProtocolVersion};

use super::events::NodeEvent;
use super::peer_link::{self, LinkSender};
use super::peer_listener;
use crate::testing::TempDir;
use crate::tls::peers::PeerTls;
use crate::tls::testing::{Authority, GROUP, OTHER_GROUP, client, peer_tls, reloader};

/// Far more than a handshake takes; only a failure waits for it.
const LONG: Duration = Duration::from_secs(20);

type Events = UnboundedReceiver<NodeEvent>;

/// A broker's accepting side.
struct Port {
    address: SocketAddr,
    events: Events,
}

impl Port {
    async fn new(tls: Option<PeerTls>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, events) = mpsc::unbounded_channel();
        tokio::spawn(peer_listener::run(listener, tls, sender));
        Self { address, events }
    }

    /// A broker's dialling side that dials this port.
    fn dialled_by(&self, tls: Option<PeerTls>) -> Events {
        let (sender, events) = mpsc::unbounded_channel();
        let address = self.address.to_string();
        tokio::spawn(peer_link::run(1, address, tls, 7, sender));
        events
    }

    /// A frame of the group's own member gets through, and nothing else came before it.
    async fn expect_only_the_member(&mut self, tls: PeerTls) {
        let mut dialler = self.dialled_by(Some(tls));
        let link = up(&mut dialler).await;
        link.send(frame(5)).unwrap();
        let first = next(&mut self.events).await;
        assert!(matches!(first, NodeEvent::InboundUp { .. }), "{first:?}");
        match next(&mut self.events).await {
            NodeEvent::PeerFrame { frame: got, .. } => assert_eq!(got, frame(5).to_bytes()),
            other => panic!("a frame was expected, not {other:?}"),
        }
    }
}

async fn next(events: &mut Events) -> NodeEvent {
    timeout(LONG, events.recv())
        .await
        .expect("in time")
        .expect("the other side runs")
}

async fn up(events: &mut Events) -> LinkSender {
    match next(events).await {
        NodeEvent::OutboundUp { ordinal: 1, link } => link,
        other => panic!("a link was expected, not {other:?}"),
    }
}

async fn expect_down(events: &mut Events) {
    let event = next(events).await;
    let down = matches!(
        event,
        NodeEvent::Machine(Event::OutboundDown { ordinal: 1 })
    );
    assert!(down, "the end of a link is said, not {event:?}");
}

async fn accepted(events: &mut Events) -> oneshot::Sender<()> {
    match next(events).await {
        NodeEvent::InboundUp { closer, .. } => closer,
        other => panic!("the accepted link is said first, not {other:?}"),
    }
}

async fn expect_both_down(dialler: &mut Events, port: &mut Port) {
    expect_down(dialler).await;
    let down = next(&mut port.events).await;
    assert!(matches!(
        down,
        NodeEvent::Machine(Event::InboundDown { .. })
    ));
}

fn frame(size: usize) -> Frame {
    Frame {
        head: Bytes::from_static(b"head"),
        batches: vec![vec![7; size].into()],
    }
}

/// Dials like a peer; true when a byte of a frame could be written and the port did not end it.
async fn stranger_gets_in(address: SocketAddr, config: Arc<ClientConfig>) -> bool {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(GROUP).unwrap();
    let Ok(mut tls) = TlsConnector::from(config).connect(name, stream).await else {
        return false;
    };
    // With TLS 1.3 a client is done before the server has judged it.
    let _ = tls.write_all(&[0, 0, 0, 1, b'x']).await;
    let _ = tls.flush().await;
    let ended = timeout(LONG, tls.read(&mut [0])).await;
    !matches!(ended, Ok(Ok(0) | Err(_)))
}

const MODERN: &[&SupportedProtocolVersion] = &[&TLS13];

#[tokio::test]
async fn frames_of_the_group_pass_in_order_and_an_end_is_noticed_at_once() {
    let (authority, folder) = (Authority::new(), TempDir::new());
    let tls = peer_tls(&authority.issue_peers(GROUP, folder.path()));
    let mut port = Port::new(Some(tls.clone())).await;
    let mut dialler = port.dialled_by(Some(tls));
    for _ in 0..2 {
        let link = up(&mut dialler).await;
        let closer = accepted(&mut port.events).await;
        // Larger than all buffers on the way, so that writes are cut.
        for size in [0, 3_000_000, 5] {
            link.send(frame(size)).unwrap();
        }
        for size in [0, 3_000_000, 5] {
            match next(&mut port.events).await {
                NodeEvent::PeerFrame { frame: got, .. } => {
                    assert!(
                        got == frame(size).to_bytes(),
                        "a frame of {size} was changed"
                    );
                }
                other => panic!("a frame was expected, not {other:?}"),
            }
        }
        drop(closer);
        expect_both_down(&mut dialler, &mut port).await;
    }
}

#[tokio::test]
async fn dropping_the_sender_closes_an_encrypted_link() {
    let (authority, folder) = (Authority::new(), TempDir::new());
    let tls = peer_tls(&authority.issue_peers(GROUP, folder.path()));
    let mut port = Port::new(Some(tls.clone())).await;
    let mut dialler = port.dialled_by(Some(tls));
    let link = up(&mut dialler).await;
    let _held = accepted(&mut port.events).await;
    drop(link);
    expect_both_down(&mut dialler, &mut port).await;
}

#[tokio::test]
async fn strangers_get_nothing_through_and_the_member_links_all_the_same() {
    let (authority, folder) = (Authority::new(), TempDir::new());
    let own = peer_tls(&authority.issue_peers(GROUP, &folder.path().join("own")));
    let mut port = Port::new(Some(own.clone())).await;

    let other_ca = folder.path().join("other-ca");
    Authority::new().issue(GROUP, &other_ca);
    let other_group = folder.path().join("other-group");
    authority.issue(OTHER_GROUP, &other_group);
    for (what, shown) in [
        ("no certificate", None),
        ("another CA", Some(other_ca.as_path())),
        ("another group of the same CA", Some(other_group.as_path())),
    ] {
        let config = client(&authority, MODERN, shown);
        assert!(!stranger_gets_in(port.address, config).await, "{what}");
    }
    let old = client(&authority, &[&TLS12], Some(&folder.path().join("own")));
    assert!(!stranger_gets_in(port.address, old).await, "TLS 1.2");

    let mut plain = TcpStream::connect(port.address).await.unwrap();
    plain.write_all(&[0, 0, 0, 1, b'x']).await.unwrap();
    let mut answer = Vec::new();
    // An alert, or a reset.
    let _ = timeout(LONG, plain.read_to_end(&mut answer))
        .await
        .expect("plain bytes are closed");
    // It says nothing for as long as it is let, and keeps nobody.
    let _silent = TcpStream::connect(port.address).await.unwrap();
    port.expect_only_the_member(own).await;
}

#[tokio::test]
async fn the_same_client_with_the_groups_certificate_gets_in() {
    let (authority, folder) = (Authority::new(), TempDir::new());
    let own = peer_tls(&authority.issue_peers(GROUP, folder.path()));
    let mut port = Port::new(Some(own)).await;
    let config = client(&authority, MODERN, Some(folder.path()));
    tokio::spawn(stranger_gets_in(port.address, config));
    let first = next(&mut port.events).await;
    assert!(matches!(first, NodeEvent::InboundUp { .. }), "{first:?}");
    let second = next(&mut port.events).await;
    assert!(matches!(second, NodeEvent::PeerFrame { .. }), "{second:?}");
}

#[tokio::test]
async fn nothing_is_sent_to_a_port_that_is_not_of_the_group() {
    let (authority, folder) = (Authority::new(), TempDir::new());
    let own = peer_tls(&authority.issue_peers(GROUP, &folder.path().join("own")));
    let other_ca = Authority::new().issue_peers(GROUP, &folder.path().join("other-ca"));
    let other_group = authority.issue_peers(OTHER_GROUP, &folder.path().join("other-group"));
    for tls in [
        Some(peer_tls(&other_ca)),
        Some(peer_tls(&other_group)),
        None,
    ] {
        let what = format!("{tls:?}");
        let port = Port::new(tls).await;
        let address = port.address.to_string();
        let end = peer_link::dial(&address, Some(&own)).await.err();
        let end = end.unwrap_or_else(|| panic!("a link to {what}"));
        assert!(end.needs_a_look, "{what}: {end:?}");
    }
}

#[tokio::test]
async fn plain_peer_learns_that_the_other_one_speaks_tls() {
    let (authority, folder) = (Authority::new(), TempDir::new());
    let own = peer_tls(&authority.issue_peers(GROUP, folder.path()));
    let mut port = Port::new(Some(own)).await;
    let address = port.address.to_string();
    let mut socket = peer_link::dial(&address, None).await.unwrap();
    let (link, queue) = LinkSender::new();
    link.send(frame(5)).unwrap();
    let end = timeout(LONG, peer_link::carry(&mut socket, queue)).await;
    let end = end.expect("the port closes it");
    assert!(
        end.needs_a_look && end.why.contains("[tls.peers]"),
        "{end:?}"
    );
    assert!(port.events.try_recv().is_err(), "nothing came through");
}

#[tokio::test]
async fn dialler_learns_that_its_certificate_was_refused() {
    let (authority, folder) = (Authority::new(), TempDir::new());
    let own = peer_tls(&authority.issue_peers(GROUP, &folder.path().join("own")));
    let port = Port::new(Some(own)).await;
    // It believes the group's CA, but shows a certificate of another one.
    let mixed = Authority::new().issue_peers(GROUP, &folder.path().join("mixed"));
    std::fs::write(&mixed.ca_file, authority.pem()).unwrap();
    let address = port.address.to_string();
    let dialled = peer_link::dial(&address, Some(&peer_tls(&mixed))).await;
    let end = match dialled {
        Err(end) => end,
        Ok(mut socket) => {
            let (_link, queue) = LinkSender::new();
            timeout(LONG, peer_link::carry(&mut socket, queue))
                .await
                .expect("the port closes it")
        }
    };
    assert!(end.needs_a_look && end.why.contains("refuses"), "{end:?}");
}

#[tokio::test]
async fn swapped_certificates_are_used_without_a_restart() {
    let folder = TempDir::new();
    let (first, second) = (Authority::new(), Authority::new());
    let served = folder.path().join("served");
    let config = first.issue_peers(GROUP, &served);
    let mut reloader = reloader();
    let tls = PeerTls::open(&config, &mut reloader).unwrap();
    let mut port = Port::new(Some(tls)).await;
    let renewed = peer_tls(&second.issue_peers(GROUP, &folder.path().join("renewed")));
    let address = port.address.to_string();
    assert!(
        peer_link::dial(&address, Some(&renewed)).await.is_err(),
        "the new CA is not known yet"
    );
    second.issue_peers(GROUP, &served);
    reloader.look();
    port.expect_only_the_member(renewed).await;
    let old = client(&first, MODERN, None);
    assert!(
        !stranger_gets_in(port.address, old).await,
        "the old CA is forgotten"
    );
}

#[test]
fn certificate_that_does_not_fit_is_refused_at_the_start_with_the_reason() {
    let (authority, folder) = (Authority::new(), TempDir::new());
    let open = |change: &dyn Fn(&Path), name: &str| {
        let mut config = authority.issue_peers(GROUP, folder.path());
        change(folder.path());
        config.name = name.to_owned();
        let refused = PeerTls::open(&config, &mut reloader()).expect_err(name);
        format!("{refused:#}")
    };
    let text = open(&|_| {}, OTHER_GROUP);
    assert!(text.contains("not valid for tls.peers.name"), "{text}");
    let other_key = |folder: &Path| {
        let cert = std::fs::read(folder.join("cert.pem")).unwrap();
        authority.issue(GROUP, folder);
        std::fs::write(folder.join("cert.pem"), cert).unwrap();
    };
    let text = open(&other_key, GROUP);
    assert!(text.contains("the certificate and its key"), "{text}");
    let no_key = |folder: &Path| std::fs::write(folder.join("key.pem"), "secret").unwrap();
    let text = open(&no_key, GROUP);
    assert!(
        text.contains("no private key") && !text.contains("secret"),
        "{text}"
    );
}
