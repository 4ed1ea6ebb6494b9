//! Sends: where a message goes, and what must hold before it is taken.
//!
//! | destination | persistent | kept | answered |
//! |---|---|---|---|
//! | queue | yes | journal | when its record is applied |
//! | queue | no | memory | at once |
//! | temporary queue | either | memory | at once |
//! | topic, temporary topic | either | memory, while a subscriber has not consumed it | at once |
//!
//! In a transaction all are answered at once: accepted, no more.

use std::sync::Arc;

use bytes::Bytes;
use tandemmq_model::limits::NAME_BYTES_MAX;
use tandemmq_model::{ConnId, Destination, DestinationKind, Message, RecordKind, Refusal, TxName};

use super::destination::{DestKey, LiveDestination};
use super::pending::{AnswerTo, Then};
use super::topics::TopicMessage;
use super::transactions::HeldSend;
use super::transient::Transient;
use super::{Answered, Context, Live};
use crate::Admission;
use crate::mutants::{self, Mutant};
use crate::records;
use crate::refusals;
use crate::state::queue::QueueId;

impl Live {
    pub(super) fn send(
        &mut self,
        cx: &Context<'_>,
        conn: ConnId,
        message: Message,
        tx: Option<TxName>,
        answer: Option<AnswerTo>,
    ) -> Result<Answered, Refusal> {
        if let Some(name) = &tx {
            self.check_transaction(conn, name)?;
        }
        if is_journaled(&message) {
            check_journal_space(cx)?;
            let key = self.send_destination(cx, &message.destination)?;
            match tx {
                None => self.send_persistent(conn, key, &message, answer),
                Some(name) => self.send_persistent_in(conn, key, &message, &name),
            }
        } else {
            let key = self.send_destination(cx, &message.destination)?;
            let send = self.hold(key, message)?;
            match tx {
                None => {
                    self.publish(cx, vec![send]);
                    Ok(Answered::Now)
                }
                Some(name) => self.keep_send(conn, &name, send),
            }
        }
    }

    fn send_persistent(
        &mut self,
        conn: ConnId,
        key: DestKey,
        message: &Message,
        answer: Option<AnswerTo>,
    ) -> Result<Answered, Refusal> {
        let body =
            records::encode_enqueue(None, message).ok_or_else(refusals::message_too_large)?;
        if mutants::on(Mutant::DispatchBeforeCommit) {
            self.flush_acks_of(conn);
            let next = self.log.last().next();
            self.early.push_back((key, next, body.clone()));
        }
        self.propose_send(conn, key, body, answer);
        Ok(Answered::Later)
    }

    fn send_persistent_in(
        &mut self,
        conn: ConnId,
        key: DestKey,
        message: &Message,
        name: &TxName,
    ) -> Result<Answered, Refusal> {
        let tx = self.transaction_key(conn, name);
        let body =
            records::encode_enqueue(Some(tx), message).ok_or_else(refusals::message_too_large)?;
        self.count_operation(conn, name, body.len())?;
        self.set_journaled(conn, name);
        self.propose_send(conn, key, body, None);
        Ok(Answered::Now)
    }

    fn propose_send(&mut self, conn: ConnId, key: DestKey, body: Bytes, answer: Option<AnswerTo>) {
        self.destinations.expect_send(key);
        let then = Then::Enqueue {
            destination: key,
            body: body.clone(),
            answer,
        };
        self.propose_for(conn, RecordKind::Enqueue, body, then);
    }

    /// Takes memory for a message that is not journaled.
    fn hold(&mut self, key: DestKey, message: Message) -> Result<HeldSend, Refusal> {
        let size = message.memory_size() as u64;
        let needs_memory = self.needs_memory(&message);
        if needs_memory && !self.memory.fits(size) {
            return Err(refusals::memory_full(self.memory.max()));
        }
        if message.destination.kind.is_queue() {
            let transient = Transient::of(&message).ok_or_else(refusals::message_too_large)?;
            self.memory.take(size);
            self.destinations.expect_send(key);
            let place = self.next_place();
            return Ok(HeldSend::Queue {
                destination: key,
                place,
                transient,
            });
        }
        let size = if needs_memory { size } else { 0 };
        self.memory.take(size);
        self.destinations.expect_send(key);
        let count = self.next_place().count;
        let message = Arc::new(TopicMessage {
            message: Arc::new(message),
            count,
            size,
        });
        Ok(HeldSend::Topic {
            destination: key,
            message,
        })
    }

    /// True for a message that takes of the memory limit: not journaled, and somebody will hold it.
    pub(super) fn needs_memory(&self, message: &Message) -> bool {
        if is_journaled(message) {
            return false;
        }
        let found = self.destinations.find(&message.destination);
        let found = found.and_then(|key| self.destinations.get(key));
        match message.destination.kind {
            DestinationKind::Queue => true,
            DestinationKind::TempQueue => found.is_some(),
            DestinationKind::Topic | DestinationKind::TempTopic => {
                found.is_some_and(|topic| !topic.consumers.is_empty())
            }
        }
    }

    // === destinations ===

    /// The destination of a send: made on first use, unless it is temporary.
    fn send_destination(
        &mut self,
        cx: &Context<'_>,
        destination: &Destination,
    ) -> Result<DestKey, Refusal> {
        match self.destinations.find(destination) {
            Some(key) => Ok(key),
            None if destination.kind.is_temporary() => {
                Err(refusals::unknown_temporary(destination))
            }
            None => self.make_destination(cx, destination, None),
        }
    }

    pub(super) fn make_destination(
        &mut self,
        cx: &Context<'_>,
        destination: &Destination,
        owner: Option<ConnId>,
    ) -> Result<DestKey, Refusal> {
        let length = destination.name.len();
        if length == 0 || length > NAME_BYTES_MAX {
            return Err(refusals::bad_name());
        }
        let state = match destination.kind {
            DestinationKind::Queue => cx.state.find(&destination.name),
            _ => None,
        };
        let max = cx.config.destinations_max;
        if state.is_none() && self.is_full(cx, max) {
            return Err(refusals::too_many_destinations(max));
        }
        // A copy of the name: the one in hand is a slice of what a socket delivered.
        let name = bytestring::ByteString::from(&*destination.name);
        let destination = Destination {
            kind: destination.kind,
            name,
        };
        Ok(self
            .destinations
            .insert(LiveDestination::new(destination, owner, state)))
    }

    /// The destination that serves a queue of the State.
    pub(super) fn destination_of_queue(&mut self, cx: &Context<'_>, queue: QueueId) -> DestKey {
        if let Some(key) = self.destinations.of_queue(queue) {
            return key;
        }
        let destination = Destination::queue(cx.state.queue(queue).name().clone());
        // It may have been made by a subscription before its first record.
        if let Some(key) = self.destinations.find(&destination) {
            self.destinations.link(key, queue);
            return key;
        }
        self.destinations
            .insert(LiveDestination::new(destination, None, Some(queue)))
    }

    fn is_full(&mut self, cx: &Context<'_>, max: u32) -> bool {
        let count = |live: &Self| cx.state.queue_count() + live.destinations.unlinked();
        if count(self) >= max as usize && std::mem::take(&mut self.may_drop_idle) {
            self.destinations.drop_idle();
        }
        count(self) >= max as usize
    }
}

/// A topic without a durable subscription is never journaled, nor is anything temporary.
fn is_journaled(message: &Message) -> bool {
    message.persistent && message.destination.kind == DestinationKind::Queue
}

fn check_journal_space(cx: &Context<'_>) -> Result<(), Refusal> {
    match cx.admission {
        Admission::Open => Ok(()),
        Admission::RefuseProducers { reason } => Err(refusals::journal_space(reason)),
        Admission::PauseDispatch => Err(refusals::journal_full()),
    }
}
