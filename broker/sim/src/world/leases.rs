//! Calls of the Lease store, their travel and what can happen to them on the way.

use tandemmq_cluster::lease::{LeaseAnswer, LeaseRequest, LeaseStore};
use tandemmq_cluster::{Event, LeaseRequestId, Timing};

use super::World;
use crate::happening::{AnswerWanted, Happening};
use crate::trace::Step;

/// How the store misbehaves at the moment.
#[derive(Debug, Default)]
pub(crate) struct LeaseFaults {
    /// So many faults keep it away.
    pub(crate) away: u32,
    /// So many faults lose answers.
    pub(crate) unknown: u32,
}

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    Unavailable,
    RequestLost,
    AnswerLost,
    /// Done long after the caller was told `Unknown`.
    Late,
}

impl World {
    /// A process calls the store.
    pub(super) fn call_lease(
        &mut self,
        node: usize,
        run: u64,
        id: LeaseRequestId,
        request: LeaseRequest,
    ) {
        let there = self.lease_latency();
        let timeout = Timing::default().lease_timeout;
        let unknown = Happening::LeaseAnswer {
            node,
            run,
            id,
            answer: LeaseAnswer::Unknown,
        };
        let fate = self.lease_fate();
        self.note(Step::Lease, &[1, node as u64, id.0, fate as u64], || {
            format!("{node} calls the Lease ({fate:?}): {}", brief(&request))
        });
        let call = |answer| Happening::LeaseCall {
            node,
            run,
            id,
            request,
            answer,
        };
        match fate {
            Fate::Fine => self.agenda.after(there, call(AnswerWanted::Yes)),
            Fate::Unavailable => {
                let answer = LeaseAnswer::Unavailable("the store is away".to_owned());
                let answer = Happening::LeaseAnswer {
                    node,
                    run,
                    id,
                    answer,
                };
                self.agenda.after(there * 2, answer);
            }
            Fate::RequestLost => self.agenda.after(timeout, unknown),
            Fate::AnswerLost => {
                self.agenda.after(there, call(AnswerWanted::TooLate));
                self.agenda.after(timeout, unknown);
            }
            Fate::Late => {
                let late = self.streams.lease.millis(1_000, 4_000);
                self.agenda.after(late, call(AnswerWanted::TooLate));
                self.agenda.after(timeout, unknown);
            }
        }
    }

    pub(super) fn lease_called(
        &mut self,
        node: usize,
        run: u64,
        id: LeaseRequestId,
        request: LeaseRequest,
        wanted: AnswerWanted,
    ) {
        let answer = self.lease.call(request);
        if wanted == AnswerWanted::Yes {
            let back = self.lease_latency();
            self.agenda.after(
                back,
                Happening::LeaseAnswer {
                    node,
                    run,
                    id,
                    answer,
                },
            );
        }
    }

    pub(super) fn lease_answered(
        &mut self,
        node: usize,
        run: u64,
        id: LeaseRequestId,
        answer: LeaseAnswer,
    ) {
        if !self.nodes[node].is_run(run) {
            return;
        }
        self.note(
            Step::Lease,
            &[2, node as u64, id.0, answer_number(&answer)],
            || format!("{node} hears of the Lease: {}", brief_answer(&answer)),
        );
        self.give(node, Event::Lease(id, answer));
    }

    fn lease_latency(&mut self) -> std::time::Duration {
        let (least, most) = self.plan.lease;
        self.streams.lease.duration(least, most)
    }

    fn lease_fate(&mut self) -> Fate {
        // Drawn in any case, so that a fault that ends changes no later draw.
        let draw = self.streams.lease.below(100);
        if self.lease_faults.away > 0 {
            return if draw < 60 {
                Fate::Unavailable
            } else {
                Fate::RequestLost
            };
        }
        if self.lease_faults.unknown == 0 {
            return Fate::Fine;
        }
        match draw {
            0..=24 => Fate::AnswerLost,
            25..=39 => Fate::RequestLost,
            40..=54 => Fate::Late,
            55..=64 => Fate::Unavailable,
            _ => Fate::Fine,
        }
    }
}

fn answer_number(answer: &LeaseAnswer) -> u64 {
    match answer {
        LeaseAnswer::Ok(_) => 0,
        LeaseAnswer::Conflict => 1,
        LeaseAnswer::Unavailable(_) => 2,
        LeaseAnswer::Unknown => 3,
    }
}

fn brief(request: &LeaseRequest) -> String {
    match request {
        LeaseRequest::Read => "read".to_owned(),
        LeaseRequest::Swap {
            revision, record, ..
        } => format!(
            "swap {} for holder '{}', epoch {}, master epoch {}, group {}",
            revision.0,
            record.holder,
            record.epoch,
            record.master_epoch,
            if record.group.is_some() {
                "named"
            } else {
                "none"
            }
        ),
    }
}

fn brief_answer(answer: &LeaseAnswer) -> String {
    match answer {
        LeaseAnswer::Ok(lease) => format!(
            "ok, {} holder '{}', epoch {}",
            lease.revision.0, lease.record.holder, lease.record.epoch
        ),
        other => format!("{other:?}"),
    }
}
