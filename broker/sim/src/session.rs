//! One client's connection as the simulated broker holds it: what a socket task and a wire session
//! do between the node and a client.
//!
//! ```text
//!  client ──socket──> commands ──(node accepts)──> NodeMachine
//!  client <──wire── outbox <──────Deliver, Reply── NodeMachine
//! ```
//!
//! Invariants
//! - Commands of one connection go in in order, `Written` and `NotDelivered` among them.
//! - A delivery is written only while its `valid_until` has not passed. Once one of a subscription
//!   is handed back, younger ones that the engine dispatched before it heard of that are handed
//!   back too, or they would overtake it; a request sent behind the returns (the fence) tells when
//!   it has heard.
//! - Nothing is taken from the socket while enough commands wait for the node.

use std::collections::{BTreeMap, VecDeque};

use tandemmq_model::{
    AckMode, Command, Delivery, DeliveryId, Destination, Epoch, MessageId, Outcome, Request,
    SubscriptionId, Time, TxName,
};

/// Commands that wait for the node; above that the socket is not read. Small, so that the bound
/// is met in every run.
const COMMANDS_MAX: usize = 32;

/// Requests of the session itself are numbered from here on; no client counts that far.
const FENCES_FROM: u64 = 1 << 62;

/// What waits to be written.
#[derive(Debug)]
pub(crate) enum Out {
    /// A delivery and the moment (the node's boot clock) until which it may be written.
    Delivery(Delivery, Time),
    /// An answer, given by the master of that epoch.
    Reply {
        /// To which request.
        request: u64,
        /// The answer.
        outcome: Outcome,
        /// Whose.
        epoch: Epoch,
    },
}

/// What became of the next thing in the outbox.
#[derive(Debug)]
pub(crate) enum Wrote {
    /// A message was handed to the socket, on a subscription of that mode.
    Message(Delivery, AckMode, SubscriptionKind),
    /// Anything else was handed to the socket.
    Other(Out),
    /// It was too late, or had to wait for one that was: it went back.
    HandedBack,
    /// Nothing waited.
    Nothing,
}

/// What a subscription is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubscriptionKind {
    /// Takes messages from a queue.
    Consumer,
    /// Gets copies: a browser, or a topic's subscriber.
    Copies,
}

/// The broker's side of one connection.
#[derive(Debug, Default)]
pub(crate) struct Session {
    socket: VecDeque<Command>,
    commands: VecDeque<Command>,
    /// Each with the last fence that was answered when it came.
    outbox: VecDeque<(Out, u64)>,
    subscriptions: BTreeMap<SubscriptionId, (AckMode, SubscriptionKind)>,
    /// Handed back and not seen again, with the fence behind each.
    returned: BTreeMap<SubscriptionId, VecDeque<(MessageId, u64)>>,
    fences: u64,
    answered: u64,
    /// The queue its consumer takes from.
    pub queue: Option<Destination>,
    /// At some time another consumer was at the same queue: first deliveries have no order then.
    pub competes: bool,
    /// It subscribed to a queue since this was last looked at.
    pub joined: bool,
    /// A write is planned.
    pub writing: bool,
    /// The node knows of the connection.
    pub announced: bool,
    /// The client is gone; the node is told once all commands are in.
    pub ended: bool,
}

// === impl Session ===

impl Session {
    /// A command arrived from the client.
    pub(crate) fn handle_input(&mut self, command: Command) {
        if self.ended {
            return;
        }
        self.socket.push_back(command);
        self.read();
    }

    /// True when that subscription takes messages from a queue.
    pub(crate) fn consumes(&self, subscription: SubscriptionId) -> bool {
        matches!(
            self.subscriptions.get(&subscription),
            Some((_, SubscriptionKind::Consumer))
        )
    }

    /// Up to so many commands for the node, in order.
    pub(crate) fn take_commands(&mut self, max: usize) -> Vec<Command> {
        let count = self.commands.len().min(max);
        let taken = self.commands.drain(..count).collect();
        self.read();
        taken
    }

    /// True when a command waits for the node.
    pub(crate) fn has_commands(&self) -> bool {
        !self.commands.is_empty()
    }

    /// The node wants this written.
    pub(crate) fn push(&mut self, out: Out) {
        match out {
            Out::Reply { request, .. } if request >= FENCES_FROM => {
                self.answered = request - FENCES_FROM;
            }
            out => self.outbox.push_back((out, self.answered)),
        }
    }

    /// True when something waits to be written.
    pub(crate) fn wants_write(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// The socket takes the next thing, at this moment of the node's boot clock.
    pub(crate) fn write_next(&mut self, now: Time) -> Wrote {
        match self.outbox.pop_front() {
            None => Wrote::Nothing,
            Some((Out::Delivery(delivery, valid_until), known)) => {
                self.write_delivery(now, delivery, valid_until, known)
            }
            Some((other, _)) => Wrote::Other(other),
        }
    }

    fn read(&mut self) {
        while self.commands.len() < COMMANDS_MAX {
            let Some(command) = self.socket.pop_front() else {
                return;
            };
            if let Command::Subscribe(subscribe, _) = &command {
                let copies = subscribe.browser || !subscribe.destination.kind.is_queue();
                let kind = if copies {
                    SubscriptionKind::Copies
                } else {
                    SubscriptionKind::Consumer
                };
                self.subscriptions
                    .insert(subscribe.subscription, (subscribe.ack_mode, kind));
                if kind == SubscriptionKind::Consumer {
                    self.queue = Some(subscribe.destination.clone());
                    self.joined = true;
                }
            }
            self.commands.push_back(command);
        }
    }

    fn write_delivery(
        &mut self,
        now: Time,
        delivery: Delivery,
        valid_until: Time,
        known: u64,
    ) -> Wrote {
        let Delivery::Message {
            subscription,
            id,
            message_id,
            ..
        } = &delivery
        else {
            return Wrote::Other(Out::Delivery(delivery, valid_until));
        };
        let (subscription, id) = (*subscription, *id);
        let order = self.returned.entry(subscription).or_default();
        let place = order
            .iter()
            .position(|(returned, _)| returned == message_id);
        let before = place.unwrap_or(order.len());
        let held_up = order.iter().take(before).any(|(_, fence)| *fence > known);
        if now > valid_until || held_up {
            let fence = self.fences + 1;
            match place {
                Some(place) => order[place].1 = fence,
                None => order.push_back((*message_id, fence)),
            }
            return self.hand_back(subscription, id);
        }
        order.drain(..before + usize::from(place.is_some()));
        self.commands.push_back(Command::Written(subscription, id));
        let known = self.subscriptions.get(&subscription).copied();
        let (mode, kind) = known.unwrap_or((AckMode::Auto, SubscriptionKind::Copies));
        Wrote::Message(delivery, mode, kind)
    }

    fn hand_back(&mut self, subscription: SubscriptionId, id: DeliveryId) -> Wrote {
        self.fences += 1;
        self.commands
            .push_back(Command::NotDelivered(subscription, id));
        // An unknown transaction is refused in its turn, which is all that is wanted of it.
        let fence = Request {
            id: FENCES_FROM + self.fences,
            wants_receipt: true,
        };
        self.commands
            .push_back(Command::Abort(TxName::from_static("fence"), fence));
        Wrote::HandedBack
    }
}
