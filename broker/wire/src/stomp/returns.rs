//! Deliveries that were given back, and what must not overtake them.
//!
//! A delivery past its time goes back to the engine and comes again later. Others of its
//! subscription may be on their way meanwhile, dispatched before the engine heard of the return:
//! written, they would come before older messages. So the session remembers what it gave back, in
//! the order of dispatch, until the engine has surely heard of it:
//!
//! ```text
//!        given back                    fence answered            comes again, or a younger one does
//!   ──────────────────> Pending ──────────────────────> Home ──────────────────────> forgotten
//! ```
//!
//! The fence is a request sent right behind the returns. What is dispatched after its answer knows
//! of them: when a younger message comes then, another consumer has the older one.
//!
//! Rule: a delivery is written only if nothing before it is pending; else it is given back too and
//! keeps its place in the order. The oldest is never held up, so every message comes through.

use std::collections::{BTreeMap, VecDeque};

use tandemmq_model::{Delivery, DeliveryId, MessageId, SubscriptionId};

/// Whether a delivery may still be written by its own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    InTime,
    Late,
}

/// Which returns a delivery's dispatch knew of. Taken when it arrives, for later answers say
/// nothing about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known(u64);

/// What to do with a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Write,
    GiveBack,
}

/// A message that was given back, and the fence behind it.
type GivenBack = (MessageId, u64);

/// What one connection gave back and did not see again. Not more messages than the engine has out
/// to it.
#[derive(Debug, Default)]
pub(crate) struct Returns {
    by_subscription: BTreeMap<SubscriptionId, VecDeque<GivenBack>>,
    /// Every fence up to this one was answered.
    answered: u64,
    /// What the engine was not told yet.
    due: Due,
}

/// What the engine must be told now.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// Deliveries to give back, in the order of dispatch.
    pub(crate) deliveries: Vec<(SubscriptionId, DeliveryId)>,
    /// The fence behind them, if one is needed.
    pub(crate) fence: Option<u64>,
}

// === impl Returns ===

impl Returns {
    /// The last fence answered: what arrives from here on was dispatched knowing of all returns
    /// before it.
    pub(crate) fn known(&self) -> Known {
        Known(self.answered)
    }

    /// Judges the next delivery of a subscription. When it is given back, the fence of that number
    /// must follow.
    pub(crate) fn judge(
        &mut self,
        subscription: SubscriptionId,
        message: MessageId,
        age: Age,
        known: Known,
        fence: u64,
    ) -> Verdict {
        if age == Age::InTime && !self.by_subscription.contains_key(&subscription) {
            return Verdict::Write;
        }
        let order = self.by_subscription.entry(subscription).or_default();
        let place = order.iter().position(|(own, _)| *own == message);
        let before = place.unwrap_or(order.len());
        let is_held_up = order.iter().take(before).any(|(_, fence)| *fence > known.0);
        if age == Age::InTime && !is_held_up {
            order.drain(..before + usize::from(place.is_some()));
            if order.is_empty() {
                self.by_subscription.remove(&subscription);
            }
            return Verdict::Write;
        }
        match place {
            Some(place) => order[place].1 = fence,
            None => order.push_back((message, fence)),
        }
        self.due.fence = Some(fence);
        Verdict::GiveBack
    }

    /// Notes a delivery to be given back; the end of a browser has nothing to give.
    pub(crate) fn give_back(&mut self, delivery: &Delivery) {
        if let Delivery::Message {
            subscription, id, ..
        } = delivery
        {
            self.due.deliveries.push((*subscription, *id));
        }
    }

    /// What the engine must be told.
    pub(crate) fn take_due(&mut self) -> Due {
        std::mem::take(&mut self.due)
    }

    /// The engine answered that fence, and so has heard of everything before it.
    pub(crate) fn answered(&mut self, fence: u64) {
        self.answered = self.answered.max(fence);
    }

    /// The subscription ended.
    pub(crate) fn forget(&mut self, subscription: SubscriptionId) {
        self.by_subscription.remove(&subscription);
    }
}
