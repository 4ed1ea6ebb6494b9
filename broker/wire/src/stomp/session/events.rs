//! What the engine, the shell and the clock say to a session.

use tandemmq_model::{Command, Delivery, Now, Outcome, Time};

use super::{FENCE, Item, Phase, StompSession, Waiting};
use crate::Session;

impl StompSession {
    pub(super) fn deliver(&mut self, deliveries: Vec<Delivery>, valid_until: Time) {
        match self.phase {
            Phase::Open => {
                let known = self.returns.known();
                for delivery in deliveries {
                    self.outbound
                        .push(Item::Delivery(delivery, valid_until, known));
                }
            }
            // The engine gives everything back when it hears of the end.
            Phase::Connecting | Phase::Leaving | Phase::Closing { .. } | Phase::Closed => {}
        }
    }

    pub(super) fn reply(&mut self, now: Now, id: u64, outcome: Outcome) {
        let waiting = self.requests.close(id);
        if !matches!(self.phase, Phase::Open | Phase::Leaving) {
            return;
        }
        match (waiting, outcome) {
            (Some(Waiting::Fence), _) => self.returns.answered(id),
            (Some(Waiting::Disconnect(receipt)), Outcome::Done) => self.left = Some((id, receipt)),
            (Some(Waiting::Disconnect(receipt)), Outcome::Refused(refusal)) => {
                self.fail(now, &refusal.text, receipt.as_ref());
            }
            (Some(Waiting::Receipt(receipt)), Outcome::Done) => {
                self.outbound.push(Item::Receipt(receipt));
            }
            (waiting, Outcome::Refused(refusal)) => {
                self.subscriptions.undo(id);
                let receipt = match waiting {
                    Some(Waiting::Receipt(receipt)) => Some(receipt),
                    _ => None,
                };
                self.push_error(&refusal.text, receipt.as_ref());
            }
            (None, Outcome::Done) => {}
        }
        self.leave_if_answered(now);
    }

    /// DISCONNECT's receipt comes after the answers to all frames before it.
    fn leave_if_answered(&mut self, now: Now) {
        let Some((_, receipt)) = self
            .left
            .take_if(|(id, _)| self.requests.nothing_before(*id))
        else {
            return;
        };
        if let Some(receipt) = receipt {
            self.outbound.push(Item::Receipt(receipt));
        }
        self.close(now, None);
    }

    pub(super) fn refuse(&mut self, now: Now, text: &str) {
        if !matches!(self.phase, Phase::Closing { .. } | Phase::Closed) {
            self.fail(now, text, None);
        }
    }

    /// Tells the engine what was not written.
    pub(super) fn give_back(&mut self) {
        let due = self.returns.take_due();
        for (subscription, id) in due.deliveries {
            self.commands
                .push_back(Command::NotDelivered(subscription, id));
        }
        if let Some(expected) = due.fence {
            let fence = self.requests.open(Some(Waiting::Fence), 0);
            assert_eq!(
                fence.id, expected,
                "nothing was asked since the returns were noted"
            );
            self.commands.push_back(Command::Abort(FENCE, fence));
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        match self.phase {
            Phase::Connecting => Some(self.started + self.config.limits.connect_timeout),
            Phase::Open | Phase::Leaving => {
                let moving = if self.outbound.is_flushed() {
                    self.activity.beat_due(self.heart_beat())
                } else {
                    Some(self.activity.stall_due(self.config.limits.stall_timeout))
                };
                [self.silence_due(), moving].into_iter().flatten().min()
            }
            Phase::Closing { delay_until, by } => delay_until.or(Some(by)),
            Phase::Closed => None,
        }
    }

    /// None while we do not read, or the client said that it leaves.
    fn silence_due(&self) -> Option<Time> {
        let listens = self.phase == Phase::Open && self.wants_input();
        self.activity
            .silence_due(self.heart_beat())
            .filter(|_| listens)
    }

    pub(super) fn fire(&mut self, now: Now) {
        if self.next_timeout().is_none_or(|due| now.boot < due) {
            return;
        }
        match self.phase {
            Phase::Connecting => {
                let limit = self.config.limits.connect_timeout.as_secs();
                self.fail(now, &format!("no CONNECT within {limit} s"), None);
            }
            Phase::Open | Phase::Leaving => self.fire_open(now),
            Phase::Closing {
                delay_until: Some(delay),
                by,
            } if now.boot < by => {
                assert!(delay <= now.boot, "the delay was the next timeout");
                self.phase = Phase::Closing {
                    delay_until: None,
                    by,
                };
            }
            Phase::Closing { .. } | Phase::Closed => self.close_now(),
        }
    }

    fn fire_open(&mut self, now: Now) {
        if self.silence_due().is_some_and(|due| due <= now.boot) {
            let limit = 2 * self.heart_beat().receive.as_millis();
            self.fail(
                now,
                &format!("heart-beat: nothing was received for {limit} ms"),
                None,
            );
        } else if self.outbound.is_flushed() {
            self.outbound.push(Item::Beat);
        } else {
            // It neither reads nor sends: an ERROR would not reach it either.
            self.close_now();
        }
    }
}
