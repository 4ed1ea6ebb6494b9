//! Proposals: what was given to the log and is not applied yet, in order.
//!
//! Offsets follow the order of proposals. Others may put a record between them (a Config); its
//! offset is noted as foreign, so that the record applied next on a master is either foreign or
//! answers the first proposal. While dispatch is paused nothing but messages may be
//! proposed, and messages are refused: what comes up is held, without an offset, and proposed when
//! the pause ends. It is bounded by what was in flight when the pause began.

use std::collections::VecDeque;

use bytes::Bytes;
use tandemmq_model::{ConnId, Offset, Record};

use super::destination::{DestKey, Place};
use super::transactions::HeldSend;
use crate::Backlog;

/// Whom to answer when a record is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnswerTo {
    pub conn: ConnId,
    pub request: u64,
}

/// What to do when the record is applied.
#[derive(Debug)]
pub(crate) enum Then {
    /// A message becomes dispatchable; its body is kept if there is room.
    Enqueue {
        destination: DestKey,
        body: Bytes,
        answer: Option<AnswerTo>,
    },
    /// So many entries are gone.
    Ack {
        destination: DestKey,
        count: u64,
        answers: Vec<AnswerTo>,
    },
    /// So many entries are gone or dead letters.
    DeadLetter {
        destination: DestKey,
        places: Vec<Place>,
        answer: Option<AnswerTo>,
    },
    /// An operation of an open transaction is kept aside.
    KeepAside,
    /// A transaction takes effect.
    Commit {
        acked: Vec<DestKey>,
        sends: Vec<HeldSend>,
        answer: Option<AnswerTo>,
    },
    /// A transaction is forgotten.
    RollBack { answer: Option<AnswerTo> },
}

impl Then {
    /// The answers behind the record, which stay unsaid then. For seeded faults only.
    pub(crate) fn take_answers(&mut self) -> Vec<AnswerTo> {
        match self {
            Self::Enqueue { answer, .. }
            | Self::DeadLetter { answer, .. }
            | Self::Commit { answer, .. }
            | Self::RollBack { answer } => answer.take().into_iter().collect(),
            Self::Ack { answers, .. } => std::mem::take(answers),
            Self::KeepAside => Vec::new(),
        }
    }
}

#[derive(Debug)]
struct Proposal {
    offset: Offset,
    bytes: usize,
    then: Then,
}

#[derive(Debug)]
enum Waiting {
    Record(Record, Then),
    Barrier(AnswerTo),
}

#[derive(Debug)]
pub(crate) struct Proposals {
    next: Offset,
    proposed: VecDeque<Proposal>,
    /// Offsets of records that are not the engine's, not applied yet. As few as the group changes
    /// its members: one at a time.
    foreign: VecDeque<Offset>,
    bytes: usize,
    held: VecDeque<Waiting>,
    is_paused: bool,
    /// Requests that are answered once all records up to that offset are applied.
    barriers: VecDeque<(Offset, AnswerTo)>,
}

impl Proposals {
    pub(crate) fn new(next: Offset, is_paused: bool) -> Self {
        Self {
            next,
            proposed: VecDeque::new(),
            foreign: VecDeque::new(),
            bytes: 0,
            held: VecDeque::new(),
            is_paused,
            barriers: VecDeque::new(),
        }
    }

    /// The last offset given to a record, the engine's or a foreign one.
    pub(crate) const fn last(&self) -> Offset {
        Offset(self.next.0 - 1)
    }

    pub(crate) const fn is_paused(&self) -> bool {
        self.is_paused
    }

    pub(crate) fn backlog(&self) -> Backlog {
        Backlog {
            records: self.proposed.len() + self.held.len(),
            bytes: self.bytes,
        }
    }

    /// The record to append now; none while it must be held.
    pub(crate) fn propose(&mut self, record: Record, then: Then) -> Option<Record> {
        if self.is_paused {
            self.held.push_back(Waiting::Record(record, then));
            return None;
        }
        let bytes = record.body.len();
        self.bytes += bytes;
        self.proposed.push_back(Proposal {
            offset: self.next,
            bytes,
            then,
        });
        self.next = self.next.next();
        Some(record)
    }

    /// The next offset is taken by a record that somebody else proposes. What is held stays after
    /// it.
    pub(crate) fn skip(&mut self) {
        self.foreign.push_back(self.next);
        self.next = self.next.next();
    }

    /// That request is answered after everything proposed so far.
    pub(crate) fn push_barrier(&mut self, answer: AnswerTo) {
        if self.held.is_empty() {
            self.barriers.push_back((self.last(), answer));
        } else {
            self.held.push_back(Waiting::Barrier(answer));
        }
    }

    /// The next request whose barrier is passed.
    pub(crate) fn pop_barrier(&mut self, applied: Offset) -> Option<AnswerTo> {
        self.barriers
            .pop_front_if(|(offset, _)| *offset <= applied)
            .map(|(_, answer)| answer)
    }

    pub(crate) fn pause(&mut self) {
        self.is_paused = true;
    }

    /// The records that were held, to be appended now in this order.
    pub(crate) fn resume(&mut self) -> Vec<Record> {
        self.is_paused = false;
        let mut records = Vec::new();
        for waiting in std::mem::take(&mut self.held) {
            match waiting {
                Waiting::Record(record, then) => records.extend(self.propose(record, then)),
                Waiting::Barrier(answer) => self.push_barrier(answer),
            }
        }
        records
    }

    /// The proposal behind the record that was just applied; none behind a foreign one.
    pub(crate) fn applied(&mut self, offset: Offset) -> Option<Then> {
        if self
            .foreign
            .pop_front_if(|foreign| *foreign == offset)
            .is_some()
        {
            return None;
        }
        let proposal = self
            .proposed
            .pop_front()
            .expect("a master applies what its engine proposed or skipped");
        assert_eq!(
            proposal.offset, offset,
            "records are applied in the order of proposal"
        );
        self.bytes -= proposal.bytes;
        Some(proposal.then)
    }
}
