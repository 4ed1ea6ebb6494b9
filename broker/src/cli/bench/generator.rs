//! Producers that cost little: one task a connection, frames made once and patched, one write for
//! all that the window allows, receipts found by their bytes.
//!
//! RECEIPTs of one connection's SENDs come in the order of the SENDs (they follow the log), so the
//! generator knows whose receipt comes next; another order is an error.

use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::stomp_client::Connection;

/// Digits of a receipt's number: enough for years, always as many, so that they can be patched.
const DIGITS: usize = 12;

/// Bytes of one read: receipts of a whole window.
const READ_BYTES: usize = 16 << 10;

/// What a producer did between two moments.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// From the moment a message was handed to the socket to its receipt.
    pub(super) latencies: Vec<Duration>,
}

/// When to count: messages sent before `from` are warm-up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) from: Instant,
    pub(super) until: Instant,
}

/// One SEND with a place for its receipt's number.
pub(super) struct Template {
    bytes: Vec<u8>,
    digits: usize,
}

/// One connection's state.
struct Producer {
    socket: TcpStream,
    template: Rc<Template>,
    /// When each unanswered message was written, by number.
    written: std::collections::VecDeque<Instant>,
    next: u64,
    out: Vec<u8>,
    input: Vec<u8>,
}

// === impl Template ===

impl Template {
    /// A persistent message of that many bytes to that queue.
    pub(super) fn new(queue: &str, bytes: usize) -> Self {
        let head = format!("SEND\ndestination:/queue/{queue}\npersistent:true\nreceipt:");
        let tail = format!("\ncontent-length:{bytes}\n\n");
        let digits = head.len();
        let mut all = head.into_bytes();
        all.extend_from_slice(&[b'0'; DIGITS]);
        all.extend_from_slice(tail.as_bytes());
        all.extend_from_slice(&crate::stomp_client::body_of(bytes));
        all.push(0);
        Self { bytes: all, digits }
    }

    fn put(&self, number: u64, out: &mut Vec<u8>) {
        let start = out.len() + self.digits;
        out.extend_from_slice(&self.bytes);
        let digits = format!("{number:0width$}", width = DIGITS);
        out[start..start + DIGITS].copy_from_slice(digits.as_bytes());
    }
}

/// Sends with `window` messages unanswered at once until the time is over, then waits for the last
/// receipts.
pub(super) async fn produce(
    connection: Connection,
    template: Rc<Template>,
    window: usize,
    time: Window,
) -> anyhow::Result<Sent> {
    let mut producer = Producer {
        socket: connection.into_socket(),
        template,
        written: std::collections::VecDeque::with_capacity(window),
        next: 0,
        out: Vec::new(),
        input: Vec::with_capacity(READ_BYTES),
    };
    let mut sent = Sent::default();
    loop {
        if Instant::now() < time.until {
            producer.fill(window);
        } else if producer.written.is_empty() {
            return Ok(sent);
        }
        producer.write().await?;
        producer.read().await?;
        producer.take_receipts(|begun, now| {
            if begun >= time.from && now <= time.until {
                sent.latencies.push(now - begun);
            }
        })?;
    }
}

// === impl Producer ===

impl Producer {
    fn fill(&mut self, window: usize) {
        let now = Instant::now();
        while self.written.len() < window {
            self.template.put(self.next, &mut self.out);
            self.next += 1;
            self.written.push_back(now);
        }
    }

    async fn write(&mut self) -> anyhow::Result<()> {
        let mut done = 0;
        while done < self.out.len() {
            match self.socket.try_write(&self.out[done..]) {
                Ok(bytes) => done += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.socket.writable().await?;
                }
                Err(error) => return Err(error).context("writing"),
            }
        }
        self.out.clear();
        Ok(())
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        loop {
            self.socket.readable().await?;
            match self.socket.try_read_buf(&mut self.input) {
                Ok(0) => bail!("the broker closed the connection"),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("reading"),
            }
        }
    }

    fn take_receipts(&mut self, mut each: impl FnMut(Instant, Instant)) -> anyhow::Result<()> {
        let now = Instant::now();
        let mut start = 0;
        while let Some(length) = self.input[start..].iter().position(|&byte| byte == 0) {
            let number = receipt_of(&self.input[start..start + length])?;
            let expected = self.next - self.written.len() as u64;
            if number != expected {
                bail!("receipt {number} came, {expected} should be next");
            }
            let begun = self.written.pop_front().context("a receipt for nothing")?;
            each(begun, now);
            start += length + 1;
        }
        self.input.drain(..start);
        Ok(())
    }
}

/// The number of a RECEIPT, heart-beats before it skipped.
fn receipt_of(frame: &[u8]) -> anyhow::Result<u64> {
    let text = std::str::from_utf8(frame).context("a frame that is no text")?;
    let text = text.trim_start_matches(['\n', '\r']);
    let id = text.strip_prefix("RECEIPT\n").and_then(|rest| {
        rest.lines()
            .find_map(|line| line.strip_prefix("receipt-id:"))
    });
    match id.and_then(|id| id.parse().ok()) {
        Some(number) => Ok(number),
        None => bail!("instead of a RECEIPT: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patched_frame_is_a_frame() {
        let template = Template::new("Q", 10);
        let mut out = Vec::new();
        template.put(7, &mut out);
        template.put(123, &mut out);
        let mut codec = tandemmq_wire::stomp::ClientCodec::new();
        codec.feed(out);
        for number in ["000000000007", "000000000123"] {
            let frame = codec.next_frame().unwrap().unwrap();
            assert_eq!(frame.get("receipt"), Some(number));
            assert_eq!(
                (frame.get("destination"), frame.body.len()),
                (Some("/queue/Q"), 10)
            );
        }
    }

    #[test]
    fn receipts_are_found_and_anything_else_is_an_error() {
        assert_eq!(
            receipt_of(b"\n\nRECEIPT\nreceipt-id:000000000012\n\n").unwrap(),
            12
        );
        assert!(
            receipt_of(b"ERROR\nmessage:no\n\n")
                .unwrap_err()
                .to_string()
                .contains("no")
        );
    }
}
