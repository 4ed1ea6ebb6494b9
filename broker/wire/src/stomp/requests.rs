//! Requests of one connection whose answer somebody waits for.
//!
//! Receipts go out in the order in which the answers arrive, with one exception: DISCONNECT's
//! comes last. A request without a receipt is not kept: only its refusal is answered.

use std::collections::BTreeMap;

use bytestring::ByteString;
use tandemmq_model::Request;

/// Bytes that one waiting request costs beside its receipt's name and body.
const REQUEST_BYTES: usize = 64;

/// What an answer is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// The client asked for a receipt of this name.
    Receipt(ByteString),
    /// The client wants to leave, perhaps with a receipt.
    Disconnect(Option<ByteString>),
    /// The session itself wants to know when the engine has come this far.
    Fence,
}

/// The requests that wait.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    last: u64,
    waiting: BTreeMap<u64, (Waiting, usize)>,
    bytes: usize,
}

// === impl Requests ===

impl Requests {
    /// A new request. `body_bytes`: what of the client is kept until the answer.
    pub(crate) fn open(&mut self, waiting: Option<Waiting>, body_bytes: usize) -> Request {
        self.last += 1;
        let request = Request {
            id: self.last,
            wants_receipt: waiting.is_some(),
        };
        if let Some(waiting) = waiting {
            let name = match &waiting {
                Waiting::Receipt(name) | Waiting::Disconnect(Some(name)) => name.len(),
                Waiting::Disconnect(None) | Waiting::Fence => 0,
            };
            let bytes = REQUEST_BYTES + name + body_bytes;
            self.bytes += bytes;
            self.waiting.insert(request.id, (waiting, bytes));
        }
        request
    }

    /// The number of the next request.
    pub(crate) fn next_id(&self) -> u64 {
        self.last + 1
    }

    /// The answer came: gives what waited for it, none when nobody did.
    pub(crate) fn close(&mut self, id: u64) -> Option<Waiting> {
        let (waiting, bytes) = self.waiting.remove(&id)?;
        self.bytes -= bytes;
        Some(waiting)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The bytes that they make somebody keep.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// True when nothing older than this request waits.
    pub(crate) fn nothing_before(&self, id: u64) -> bool {
        self.waiting
            .first_key_value()
            .is_none_or(|(first, _)| *first >= id)
    }
}
