//! The checker: what clients wrote, were promised and got, judged at the end of a run.
//!
//! Every message of a run has a `SendId`: producer and sequence, carried in the header
//! [`ID_HEADER`]. The broker's `message-id` names the entry, so two message ids for one `SendId`
//! mean that one SEND was enqueued twice.
//!
//! Judged (the rules of `docs/guarantees.md`):
//! 1. what was acknowledged was received, or is still queued;
//! 2. what was received was sent;
//! 3. an id is enqueued at most as often as its SEND was written;
//! 4. of the deliveries of one entry at most one lacks the redelivered flag;
//! 5. on a destination with one consumer, first deliveries keep each producer's order;
//! 6. an entry whose ACK was answered with a RECEIPT never comes back;
//! 7. what was received has the body that was sent.
//!
//! A message without a RECEIPT at the end is *unknown*: it may have arrived or not; both are right.
//! Only persistent messages and `client` or `client-individual` consumers can be judged: `auto` may
//! lose what was handed to a socket that a kill resets.
//!
//! Not here: clients and faults. This is a set of facts and a verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

/// The header that carries a `SendId` through the broker.
pub(crate) const ID_HEADER: &str = "check-id";

/// Violations kept with their text; more are only counted. Ten show the pattern, thousands hide it.
pub(crate) const VIOLATIONS_SHOWN_MAX: usize = 10;

/// One message of a run: who sent it, and as which of its messages (counted from 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SendId {
    /// The producer.
    pub(crate) producer: u32,
    /// Its count.
    pub(crate) sequence: u64,
}

impl SendId {
    /// `<producer>-<sequence>`, as the header carries it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (producer, sequence) = text.split_once('-')?;
        Some(Self {
            producer: producer.parse().ok()?,
            sequence: sequence.parse().ok()?,
        })
    }
}

impl fmt::Display for SendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.producer, self.sequence)
    }
}

/// A connection of a run, in the order in which they were opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionNo(u64);

/// One MESSAGE as a consumer read it.
#[derive(Debug, Clone)]
pub(crate) struct Received<'a> {
    /// The send it claims to come from.
    pub(crate) id: SendId,
    /// The broker's name of the entry.
    pub(crate) message_id: &'a str,
    /// The flag.
    pub(crate) redelivered: bool,
    /// Where it was consumed.
    pub(crate) destination: &'a str,
    /// Which consumer of the run read it.
    pub(crate) consumer: u32,
    /// On which connection.
    pub(crate) connection: ConnectionNo,
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Violation {
    /// Rule 1.
    Lost {
        /// The message.
        id: SendId,
    },
    /// Rule 2.
    NeverSent {
        /// The message.
        id: SendId,
    },
    /// Rule 3.
    EnqueuedTooOften {
        /// The message.
        id: SendId,
        /// How often its SEND was written.
        written: u32,
        /// The names of its entries.
        entries: Vec<String>,
    },
    /// Rule 4.
    NotFlagged {
        /// The message.
        id: SendId,
        /// The entry.
        message_id: String,
        /// Deliveries without the flag.
        unflagged: u32,
    },
    /// Rule 5.
    OutOfOrder {
        /// The message that came late.
        id: SendId,
        /// The greatest sequence of that producer before it.
        after: u64,
        /// Where.
        destination: String,
    },
    /// Rule 6.
    CameBack {
        /// The message.
        id: SendId,
        /// The entry.
        message_id: String,
    },
    /// Rule 7.
    WrongBody {
        /// The message.
        id: SendId,
        /// The entry.
        message_id: String,
    },
    /// A RECEIPT for something that was not written.
    ReceiptForNothing {
        /// The message.
        id: SendId,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { id } => {
                write!(
                    f,
                    "message {id} was acknowledged but neither received nor still queued"
                )
            }
            Self::NeverSent { id } => write!(f, "message {id} was received but never sent"),
            Self::EnqueuedTooOften {
                id,
                written,
                entries,
            } => write!(
                f,
                "message {id} was written {written} times but enqueued {} times: {}",
                entries.len(),
                entries.join(", ")
            ),
            Self::NotFlagged {
                id,
                message_id,
                unflagged,
            } => write!(
                f,
                "message {id} ({message_id}) came {unflagged} times without redelivered:true"
            ),
            Self::OutOfOrder {
                id,
                after,
                destination,
            } => write!(
                f,
                "message {id} came on {destination} after sequence {after} of the same producer"
            ),
            Self::CameBack { id, message_id } => write!(
                f,
                "message {id} ({message_id}) came again after its ACK was answered with a RECEIPT"
            ),
            Self::WrongBody { id, message_id } => {
                write!(
                    f,
                    "message {id} ({message_id}) came with another body than was sent"
                )
            }
            Self::ReceiptForNothing { id } => {
                write!(
                    f,
                    "a RECEIPT came for message {id}, which was never written"
                )
            }
        }
    }
}

/// The figures of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Totals {
    /// Messages whose SEND was written at least once.
    pub(crate) sent: u64,
    /// Of these, answered with a RECEIPT.
    pub(crate) acknowledged: u64,
    /// Of these, refused by the broker with an ERROR.
    pub(crate) refused: u64,
    /// Neither: the connection died before the answer.
    pub(crate) unknown: u64,
    /// Different messages received.
    pub(crate) received: u64,
    /// Different messages seen in a queue at the end.
    pub(crate) queued: u64,
    /// Deliveries beyond the first of a message.
    pub(crate) duplicates: u64,
    /// Acknowledged, neither received nor queued.
    pub(crate) lost: u64,
    /// Messages enqueued more often than their SEND was written.
    pub(crate) enqueued_twice: u64,
}

/// The judgement of a run.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    /// The figures.
    pub(crate) totals: Totals,
    /// Broken rules, all of them.
    pub(crate) violations: Vec<Violation>,
}

impl Verdict {
    /// True when no rule was broken **and** something was acknowledged and received: a run that
    /// did nothing proves nothing.
    pub(crate) fn is_good(&self) -> bool {
        self.violations.is_empty() && self.totals.acknowledged > 0 && self.totals.received > 0
    }

    /// The first violations as lines, and how many more there are.
    pub(crate) fn lines(&self) -> Vec<String> {
        let shown = self.violations.iter().take(VIOLATIONS_SHOWN_MAX);
        let mut lines: Vec<String> = shown.map(ToString::to_string).collect();
        if self.violations.len() > VIOLATIONS_SHOWN_MAX {
            lines.push(format!(
                "… and {} more",
                self.violations.len() - VIOLATIONS_SHOWN_MAX
            ));
        }
        if self.totals.acknowledged == 0 || self.totals.received == 0 {
            lines.push("nothing was acknowledged or nothing received: an empty run".into());
        }
        lines
    }
}

/// What became of one send.
#[derive(Debug, Default)]
struct Sent {
    written: u32,
    acknowledged: bool,
    refused: bool,
    /// Deliveries of each entry that came from it: one entry unless a rule is broken.
    entries: Vec<Entry>,
    queued: bool,
}

/// One entry of a queue, by the broker's name for it.
#[derive(Debug)]
struct Entry {
    message_id: String,
    deliveries: u32,
    unflagged: u32,
    /// When its ACK was answered: the number the next connection would get.
    consumed: Option<ConnectionNo>,
}

/// First deliveries of one destination.
#[derive(Debug, Default)]
struct Order {
    consumers: BTreeSet<u32>,
    last: BTreeMap<u32, u64>,
    broken: Vec<(SendId, u64)>,
}

/// The facts of a run.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    sends: BTreeMap<SendId, Sent>,
    orders: BTreeMap<String, Order>,
    connections: u64,
    violations: Vec<Violation>,
}

// === impl Checker ===

impl Checker {
    /// A connection was opened.
    pub(crate) fn opened(&mut self) -> ConnectionNo {
        self.connections += 1;
        ConnectionNo(self.connections)
    }

    /// A SEND is about to be handed to the socket. Said before the write: what was only half
    /// written counts as written.
    pub(crate) fn written(&mut self, id: SendId) {
        self.sends.entry(id).or_default().written += 1;
    }

    /// Its RECEIPT came.
    pub(crate) fn acknowledged(&mut self, id: SendId) {
        match self.sends.get_mut(&id) {
            Some(sent) => sent.acknowledged = true,
            None => self.violations.push(Violation::ReceiptForNothing { id }),
        }
    }

    /// The broker refused it with an ERROR: it had no effect.
    pub(crate) fn refused(&mut self, id: SendId) {
        self.sends.entry(id).or_default().refused = true;
    }

    /// A consumer read it.
    pub(crate) fn received(&mut self, received: &Received<'_>) {
        let id = received.id;
        let Some(sent) = self.sends.get_mut(&id) else {
            self.violations.push(Violation::NeverSent { id });
            return;
        };
        let first = sent.entries.is_empty();
        let entry = sent.entry(received.message_id);
        entry.deliveries += 1;
        entry.unflagged += u32::from(!received.redelivered);
        // A connection opened before the RECEIPT may still hold an older copy in its buffer.
        if entry.consumed.is_some_and(|at| received.connection >= at) {
            let message_id = received.message_id.to_owned();
            self.violations.push(Violation::CameBack { id, message_id });
        }
        let once = sent.written == 1;
        let order = self
            .orders
            .entry(received.destination.to_owned())
            .or_default();
        order.consumers.insert(received.consumer);
        if first && once {
            order.first_delivery(id);
        }
    }

    /// What a consumer read is not what was sent.
    pub(crate) fn wrong_body(&mut self, id: SendId, message_id: &str) {
        let message_id = message_id.to_owned();
        self.violations
            .push(Violation::WrongBody { id, message_id });
    }

    /// The RECEIPT of a consumer's ACK came.
    pub(crate) fn consumed(&mut self, id: SendId, message_id: &str) {
        let next = ConnectionNo(self.connections + 1);
        if let Some(sent) = self.sends.get_mut(&id) {
            sent.entry(message_id).consumed = Some(next);
        }
    }

    /// It was seen in a queue after the end.
    pub(crate) fn queued(&mut self, id: SendId, message_id: &str) {
        match self.sends.get_mut(&id) {
            Some(sent) => {
                sent.queued = true;
                sent.entry(message_id);
            }
            None => self.violations.push(Violation::NeverSent { id }),
        }
    }

    /// The figures so far.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for sent in self.sends.values() {
            let deliveries: u64 = sent
                .entries
                .iter()
                .map(|entry| u64::from(entry.deliveries))
                .sum();
            totals.sent += u64::from(sent.written > 0);
            totals.acknowledged += u64::from(sent.acknowledged);
            totals.refused += u64::from(sent.refused && !sent.acknowledged);
            totals.unknown += u64::from(!sent.acknowledged && !sent.refused);
            totals.received += u64::from(deliveries > 0);
            totals.queued += u64::from(sent.queued);
            totals.duplicates += deliveries.saturating_sub(1);
            totals.lost += u64::from(sent.is_lost());
            totals.enqueued_twice += u64::from(sent.is_enqueued_too_often());
        }
        totals
    }

    /// Judges the run as if it ended now.
    pub(crate) fn judge(&self) -> Verdict {
        let mut violations = self.violations.clone();
        for (&id, sent) in &self.sends {
            sent.judge(id, &mut violations);
        }
        for (destination, order) in &self.orders {
            // Competing consumers have no order among them.
            if order.consumers.len() == 1 {
                violations.extend(
                    order
                        .broken
                        .iter()
                        .map(|&(id, after)| Violation::OutOfOrder {
                            id,
                            after,
                            destination: destination.clone(),
                        }),
                );
            }
        }
        Verdict {
            totals: self.totals(),
            violations,
        }
    }
}

impl Sent {
    fn entry(&mut self, message_id: &str) -> &mut Entry {
        let place = self
            .entries
            .iter()
            .position(|entry| entry.message_id == message_id);
        let place = place.unwrap_or_else(|| {
            self.entries.push(Entry::new(message_id));
            self.entries.len() - 1
        });
        &mut self.entries[place]
    }

    fn is_lost(&self) -> bool {
        let received = self.entries.iter().any(|entry| entry.deliveries > 0);
        self.acknowledged && !received && !self.queued
    }

    fn is_enqueued_too_often(&self) -> bool {
        // A refused SEND had no effect, so it allows no entry.
        let allowed = self.written.saturating_sub(u32::from(self.refused));
        self.entries.len() > allowed as usize
    }

    fn judge(&self, id: SendId, violations: &mut Vec<Violation>) {
        if self.is_lost() {
            violations.push(Violation::Lost { id });
        }
        if self.is_enqueued_too_often() {
            violations.push(Violation::EnqueuedTooOften {
                id,
                written: self.written,
                entries: self
                    .entries
                    .iter()
                    .map(|entry| entry.message_id.clone())
                    .collect(),
            });
        }
        for entry in self.entries.iter().filter(|entry| entry.unflagged > 1) {
            violations.push(Violation::NotFlagged {
                id,
                message_id: entry.message_id.clone(),
                unflagged: entry.unflagged,
            });
        }
    }
}

impl Entry {
    fn new(message_id: &str) -> Self {
        Self {
            message_id: message_id.to_owned(),
            deliveries: 0,
            unflagged: 0,
            consumed: None,
        }
    }
}

impl Order {
    fn first_delivery(&mut self, id: SendId) {
        let last = self.last.entry(id.producer).or_default();
        if id.sequence < *last {
            self.broken.push((id, *last));
        }
        *last = id.sequence.max(*last);
    }
}

#[cfg(test)]
mod tests;
