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
//! - A delivery is written only while its `valid_until` has not passed; once one of a subscription
//!   is handed back, everything that waits behind it on that subscription is handed back too, or
//!   a first delivery would overtake it.
//! - Nothing is taken from the socket while enough commands wait for the node.

use std::collections::{BTreeMap, VecDeque};

use tandemmq_model::{
    AckMode, Command, Delivery, DeliveryId, Epoch, Outcome, SubscriptionId, Time,
};

/// Commands that wait for the node; above that the socket is not read. Small, so that the bound
/// is met in every run.
const COMMANDS_MAX: usize = 32;

/// What waits to be written.
#[derive(Debug)]
pub enum Out {
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
pub enum Wrote {
    /// A message was handed to the socket, on a subscription of that mode.
    Message(Delivery, AckMode, SubscriptionKind),
    /// Anything else was handed to the socket.
    Other(Out),
    /// It was too late; so many deliveries went back.
    HandedBack(usize),
    /// Nothing waited.
    Nothing,
}

/// What a subscription is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionKind {
    /// Takes messages from a queue.
    Consumer,
    /// Gets copies: a browser, or a topic's subscriber.
    Copies,
}

/// The broker's side of one connection.
#[derive(Debug, Default)]
pub struct Session {
    socket: VecDeque<Command>,
    commands: VecDeque<Command>,
    outbox: VecDeque<Out>,
    subscriptions: BTreeMap<SubscriptionId, (AckMode, SubscriptionKind)>,
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
    pub fn handle_input(&mut self, command: Command) {
        if self.ended {
            return;
        }
        self.socket.push_back(command);
        self.read();
    }

    /// True when that subscription takes messages from a queue.
    pub fn consumes(&self, subscription: SubscriptionId) -> bool {
        matches!(self.subscriptions.get(&subscription), Some((_, SubscriptionKind::Consumer)))
    }

    /// Up to so many commands for the node, in order.
    pub fn take_commands(&mut self, max: usize) -> Vec<Command> {
        let count = self.commands.len().min(max);
        let taken = self.commands.drain(..count).collect();
        self.read();
        taken
    }

    /// True when a command waits for the node.
    pub fn has_commands(&self) -> bool {
        !self.commands.is_empty()
    }

    /// The node wants this written.
    pub fn push(&mut self, out: Out) {
        self.outbox.push_back(out);
    }

    /// True when something waits to be written.
    pub fn wants_write(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// The socket takes the next thing, at this moment of the node's boot clock.
    pub fn write_next(&mut self, now: Time) -> Wrote {
        match self.outbox.pop_front() {
            None => Wrote::Nothing,
            Some(Out::Delivery(delivery, valid_until)) if now > valid_until => {
                self.hand_back(delivery)
            }
            Some(Out::Delivery(delivery, _)) => self.wrote(delivery),
            Some(other) => Wrote::Other(other),
        }
    }

    fn read(&mut self) {
        while self.commands.len() < COMMANDS_MAX {
            let Some(command) = self.socket.pop_front() else { return };
            if let Command::Subscribe(subscribe, _) = &command {
                let copies = subscribe.browser || !subscribe.destination.kind.is_queue();
                let kind =
                    if copies { SubscriptionKind::Copies } else { SubscriptionKind::Consumer };
                self.subscriptions.insert(subscribe.subscription, (subscribe.ack_mode, kind));
            }
            self.commands.push_back(command);
        }
    }

    fn wrote(&mut self, delivery: Delivery) -> Wrote {
        let Delivery::Message { subscription, id, .. } = &delivery else {
            return Wrote::Other(Out::Delivery(delivery, Time::NEVER));
        };
        self.commands.push_back(Command::Written(*subscription, *id));
        let (mode, kind) = self
            .subscriptions
            .get(subscription)
            .copied()
            .unwrap_or((AckMode::Auto, SubscriptionKind::Copies));
        Wrote::Message(delivery, mode, kind)
    }

    fn hand_back(&mut self, delivery: Delivery) -> Wrote {
        let Delivery::Message { subscription, id, .. } = &delivery else {
            return Wrote::Other(Out::Delivery(delivery, Time::NEVER));
        };
        let subscription = *subscription;
        let mut back: Vec<DeliveryId> = vec![*id];
        self.outbox.retain(|out| match out {
            Out::Delivery(Delivery::Message { subscription: of, id, .. }, _)
                if *of == subscription =>
            {
                back.push(*id);
                false
            }
            _ => true,
        });
        let count = back.len();
        for id in back {
            self.commands.push_back(Command::NotDelivered(subscription, id));
        }
        Wrote::HandedBack(count)
    }
}
