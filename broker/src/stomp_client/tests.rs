//! The client against a scripted broker on a loopback socket.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::receiver::{Ack, AckReceipts, Sink, receive_all};
use super::sender::{Plan, Source, Unknown, send_all};
use super::*;

const CONNECTED: &str = "CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\0";

/// Serves one connection after the other. Each answers every frame that contains a key of its
/// script with the value; `CLOSE` closes.
async fn broker(
    scripts: Vec<Vec<(&'static str, &'static str)>>,
) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let log = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&log);
    tokio::spawn(async move {
        for script in scripts {
            let (mut socket, _) = listener.accept().await.unwrap();
            serve(&mut socket, &script, &seen).await;
        }
    });
    (address, log)
}

async fn serve(
    socket: &mut TcpStream,
    script: &[(&'static str, &'static str)],
    log: &Mutex<Vec<String>>,
) {
    let mut bytes = Vec::new();
    loop {
        while let Some(end) = bytes.iter().position(|&byte| byte == 0) {
            let frame: Vec<u8> = bytes.drain(..=end).collect();
            let frame = String::from_utf8(frame).unwrap();
            log.lock()
                .unwrap()
                .push(frame.trim_start().trim_end_matches('\0').to_owned());
            let answers = script.iter().filter(|(key, _)| frame.contains(key));
            for (_, answer) in answers {
                if *answer == "CLOSE" {
                    return;
                }
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        }
        if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

fn failover(address: &str) -> Failover {
    Failover::eager(vec![address.to_owned()])
}

#[derive(Default)]
struct Fates {
    acknowledged: Vec<u64>,
    refused: Vec<(u64, String)>,
    unknown: Vec<u64>,
    written: Vec<u64>,
}

impl Source for Fates {
    fn frame(&mut self, sequence: u64) -> Frame {
        Frame::new("SEND")
            .header("destination", "/queue/Q")
            .text(format!("m{sequence}"))
    }
    fn written(&mut self, sequence: u64) {
        self.written.push(sequence);
    }
    fn acknowledged(&mut self, sequence: u64) {
        self.acknowledged.push(sequence);
    }
    fn refused(&mut self, sequence: u64, text: &str) {
        self.refused.push((sequence, text.to_owned()));
    }
    fn unknown(&mut self, sequence: u64) {
        self.unknown.push(sequence);
    }
}

fn plan(count: u64, unknown: Unknown) -> Plan {
    Plan {
        count: Some(count),
        window: 2,
        pause: Duration::ZERO,
        receipt_timeout: Duration::from_secs(5),
        unknown,
    }
}

/// Acknowledges 1, dies with 2 and 3 unanswered; the next connection answers everything.
fn dying_broker() -> Vec<Vec<(&'static str, &'static str)>> {
    let bye = ("DISCONNECT", "RECEIPT\nreceipt-id:bye\n\n\0");
    vec![
        vec![
            ("CONNECT", CONNECTED),
            ("receipt:1\n", "RECEIPT\nreceipt-id:1\n\n\0"),
            ("receipt:3\n", "CLOSE"),
        ],
        vec![
            ("CONNECT", CONNECTED),
            ("receipt:2\n", "RECEIPT\nreceipt-id:2\n\n\0"),
            ("receipt:3\n", "RECEIPT\nreceipt-id:3\n\n\0"),
            ("receipt:4\n", "ERROR\nreceipt-id:4\nmessage:no room\n\n\0"),
            bye,
        ],
    ]
}

#[tokio::test]
async fn what_was_unanswered_when_the_connection_broke_is_unknown_and_not_sent_again() {
    let (address, log) = broker(dying_broker()).await;
    let mut fates = Fates::default();
    let (_stop, mut stopped) = watch::channel(false);
    let plan = plan(4, Unknown::Leave);
    send_all(&mut failover(&address), &plan, &mut fates, &mut stopped)
        .await
        .unwrap();
    assert_eq!(fates.acknowledged, [1]);
    assert_eq!(fates.unknown, [2, 3]);
    assert_eq!(fates.refused, [(4, "no room".to_owned())]);
    assert_eq!(fates.written, [1, 2, 3, 4]);
    let sends = log
        .lock()
        .unwrap()
        .iter()
        .filter(|frame| frame.starts_with("SEND"))
        .count();
    assert_eq!(sends, 4, "no SEND is repeated behind the user's back");
}

#[tokio::test]
async fn with_resend_the_unknown_ones_are_sent_again() {
    let (address, _) = broker(dying_broker()).await;
    let mut fates = Fates::default();
    let (_stop, mut stopped) = watch::channel(false);
    let plan = plan(3, Unknown::Resend);
    send_all(&mut failover(&address), &plan, &mut fates, &mut stopped)
        .await
        .unwrap();
    assert_eq!(fates.acknowledged, [1, 2, 3]);
    assert_eq!(fates.written, [1, 2, 3, 2, 3]);
    assert!(fates.unknown.is_empty());
}

#[tokio::test]
async fn a_broker_that_answers_nothing_is_given_up() {
    let scripts = vec![
        vec![("CONNECT", CONNECTED)],
        vec![("CONNECT", "ERROR\nmessage:no\n\n\0")],
    ];
    let (address, _) = broker(scripts).await;
    let mut fates = Fates::default();
    let (_stop, mut stopped) = watch::channel(false);
    let plan = Plan {
        receipt_timeout: Duration::from_millis(50),
        ..plan(1, Unknown::Leave)
    };
    // The one message is unknown then, so nothing is left to do.
    send_all(&mut failover(&address), &plan, &mut fates, &mut stopped)
        .await
        .unwrap();
    assert_eq!(fates.unknown, [1]);
}

#[tokio::test]
async fn a_refused_login_is_not_tried_again() {
    let refusal = "ERROR\nmessage:wrong user or password\n\n\0";
    let (address, log) = broker(vec![vec![("CONNECT", refusal)]]).await;
    let error = failover(&address).connect().await.err().unwrap();
    assert!(matches!(&error, ClientError::Refused { text, .. } if text.contains("password")));
    assert_eq!(log.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn the_list_is_searched_for_the_one_that_listens() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead_address = dead.local_addr().unwrap().to_string();
    drop(dead);
    let (address, _) = broker(vec![vec![("CONNECT", CONNECTED)]]).await;
    let mut failover = Failover::eager(vec![dead_address, address.clone()]);
    assert_eq!(failover.connect().await.ok().unwrap().address(), address);
}

#[tokio::test]
async fn attempts_are_limited_when_the_url_says_so() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = dead.local_addr().unwrap().to_string();
    drop(dead);
    let url: BrokerUrl = format!("failover:(tcp://{address})?maxReconnectAttempts=2")
        .parse()
        .unwrap();
    let error = Failover::new(&url, None).connect().await.err().unwrap();
    assert!(matches!(error, ClientError::GaveUp { .. }), "{error}");
}

#[test]
fn silence_is_limited_only_where_heart_beats_were_agreed_on() {
    let connected = |value: &'static str| Frame::new("CONNECTED").header("heart-beat", value);
    let limit = |value, asked| silence_max(&connected(value), asked);
    assert_eq!(
        limit("1000,0", HeartBeat::Expected),
        Some(Duration::from_secs(3))
    );
    assert_eq!(
        limit("20000,0", HeartBeat::Expected),
        Some(Duration::from_secs(60))
    );
    assert_eq!(limit("0,0", HeartBeat::Expected), None);
    assert_eq!(limit("1000,0", HeartBeat::None), None);
    assert_eq!(
        silence_max(&Frame::new("CONNECTED"), HeartBeat::Expected),
        None
    );
}

#[tokio::test]
async fn silence_ends_a_connection_with_heart_beats() {
    let connected = "CONNECTED\nversion:1.2\nheart-beat:1000,0\n\n\0";
    let (address, log) = broker(vec![vec![("CONNECT", connected)]]).await;
    let mut connection = Connection::open(&address, None, HeartBeat::Expected)
        .await
        .ok()
        .unwrap();
    assert!(log.lock().unwrap()[0].contains("heart-beat:0,1000"));
    connection.silence_max = Some(Duration::from_millis(50));
    let error = connection.next().await.unwrap_err();
    assert!(matches!(error, ClientError::Timeout(_)), "{error}");
}

#[derive(Default)]
struct Bodies {
    bodies: Vec<String>,
    consumed: Vec<String>,
}

impl Sink for Bodies {
    fn received(&mut self, frame: &Frame) {
        self.bodies
            .push(String::from_utf8_lossy(&frame.body).into_owned());
    }
    fn consumed(&mut self, message_id: &str) {
        self.consumed.push(message_id.to_owned());
    }
}

#[tokio::test]
async fn each_message_is_acknowledged_by_its_own_ack_and_the_receipts_are_told() {
    let messages = "MESSAGE\nsubscription:s\nmessage-id:ID:1\nack:k1\ndestination:/queue/Q\n\none\0\
                    MESSAGE\nsubscription:s\nmessage-id:ID:2\nack:k2\ndestination:/queue/Q\n\ntwo\0";
    let script = vec![
        ("CONNECT", CONNECTED),
        ("SUBSCRIBE", messages),
        ("id:k1\n", "RECEIPT\nreceipt-id:ID\\c1\n\n\0"),
        ("id:k2\n", "RECEIPT\nreceipt-id:ID\\c2\n\n\0"),
        ("DISCONNECT", "RECEIPT\nreceipt-id:bye\n\n\0"),
    ];
    let (address, log) = broker(vec![script]).await;
    let plan = receiver::Plan {
        destination: "/queue/Q".into(),
        ack: Ack::Individual,
        receipts: AckReceipts::Each,
        prefetch: Some(7),
        count: Some(2),
        idle: None,
        pause: Duration::ZERO,
    };
    let mut bodies = Bodies::default();
    let (_stop, mut stopped) = watch::channel(false);
    let end = receive_all(&mut failover(&address), &plan, &mut bodies, &mut stopped).await;
    assert_eq!(end.ok(), Some(receiver::End::Count));
    assert_eq!(bodies.bodies, ["one", "two"]);
    assert_eq!(bodies.consumed, ["ID:1", "ID:2"]);
    let log = log.lock().unwrap();
    assert!(log[1].contains("ack:client-individual") && log[1].contains("activemq.prefetchSize:7"));
}
