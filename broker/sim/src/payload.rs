//! The body of every simulated message: who sent it, in which attempt, in which transaction.
//!
//! ```text
//! magic 8 | producer u32 | seq u32 | conn u32 | index u32 | tx u32 (0: none) | filler
//! ```
//! The oracle finds it in any record that carries a message by looking for the magic, so it needs
//! no knowledge of how the engine encodes a record.

use tandemmq_model::Bytes;

/// Never part of anything else that is stored.
const MAGIC: &[u8; 8] = b"\x93sim\xC1msg";
const LENGTH: usize = 28;

/// One message a producer means to send, however often it has to write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SendId {
    /// Which producer.
    pub producer: u32,
    /// Counted by it from 1.
    pub seq: u32,
}

/// One SEND frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    /// Which message.
    pub id: SendId,
    /// On which of the producer's connections, counted from 1.
    pub conn: u32,
    /// Place among the SEND frames of that connection, from 1.
    pub index: u32,
    /// In which of the connection's transactions, 0 for none.
    pub tx: u32,
}

impl Attempt {
    /// The body of that frame, `filler` bytes longer than it must be.
    pub fn body(&self, filler: usize) -> Bytes {
        let mut body = Vec::with_capacity(LENGTH + filler);
        body.extend_from_slice(MAGIC);
        for field in [
            self.id.producer,
            self.id.seq,
            self.conn,
            self.index,
            self.tx,
        ] {
            body.extend_from_slice(&field.to_be_bytes());
        }
        body.resize(LENGTH + filler, b'.');
        body.into()
    }

    /// The first attempt named in these bytes.
    pub fn find(bytes: &[u8]) -> Option<Self> {
        let at = bytes
            .windows(MAGIC.len())
            .position(|window| window == MAGIC)?;
        let field = |number: usize| -> Option<u32> {
            let from = at + MAGIC.len() + 4 * number;
            Some(u32::from_be_bytes(
                bytes.get(from..from + 4)?.try_into().ok()?,
            ))
        };
        Some(Self {
            id: SendId {
                producer: field(0)?,
                seq: field(1)?,
            },
            conn: field(2)?,
            index: field(3)?,
            tx: field(4)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_found_inside_any_record() {
        let attempt = Attempt {
            id: SendId {
                producer: 3,
                seq: 9,
            },
            conn: 2,
            index: 5,
            tx: 7,
        };
        let mut record = b"some head".to_vec();
        record.extend_from_slice(&attempt.body(10));
        record.extend_from_slice(b"some tail");
        assert_eq!(Attempt::find(&record), Some(attempt));
        assert_eq!(Attempt::find(b"nothing of ours"), None);
    }
}
