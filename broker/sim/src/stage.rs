//! A scripted run: a calm world, one producer, and the hands of a script in it.
//!
//! A schedule says what must be possible at each of its steps ([`Stage::until`]); a step that does
//! not come is a violation of the schedule itself, so that a schedule cannot pass by doing
//! nothing. The oracle watches all the while.

use std::time::Duration;

use tandemmq_cluster::{Offsets, Role};
use tandemmq_model::{Destination, Offset};

use crate::client::Program;
use crate::client::consumer::{Consumer, ConsumerPlan};
use crate::client::producer::{Producer, ProducerPlan};
use crate::net::Ending;
use crate::oracle::{Invariant, Violation};
use crate::peek::Kind;
use crate::seeds::Plan;
use crate::trace::Detail;
use crate::world::{Crash, Kept, Rule, Verdict, World};

/// Whether a schedule's claim holds.
pub(crate) type Judged = Result<(), Violation>;

/// A step that takes longer than this does not come.
const STEP_MAX: Duration = Duration::from_secs(15);

const PRODUCER: usize = 0;

/// One scripted run.
pub(crate) struct Stage {
    /// The world, for whatever has no word of its own here.
    pub world: World,
}

// === impl Stage ===

impl Stage {
    /// A calm world of that many brokers; the producer has nothing to send yet.
    pub(crate) fn new(nodes: usize, detail: Detail) -> Self {
        Self::of(Plan::calm(nodes), detail)
    }

    /// The same of another plan.
    pub(crate) fn of(plan: Plan, detail: Detail) -> Self {
        let mut world = World::new(plan, detail);
        world.add_client(Program::Producer(Producer::new(ProducerPlan::plain(
            queue(),
        ))));
        Self { world }
    }

    /// A violation of the schedule's own claim, unless the fact holds.
    pub(crate) fn must(&self, fact: bool, claim: &str) -> Judged {
        self.unviolated()?;
        if fact {
            Ok(())
        } else {
            Err(Violation::new(Invariant::Schedule, claim))
        }
    }

    /// Lets time pass until the fact holds.
    pub(crate) fn until(&mut self, step: &str, fact: impl Fn(&World) -> bool) -> Judged {
        let came = self.world.wait_for(STEP_MAX, fact);
        self.unviolated()?;
        let text = format!("this step does not come: {step}");
        if came {
            Ok(())
        } else {
            Err(Violation::new(Invariant::Schedule, text))
        }
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, millis: u64) -> Judged {
        self.world.pass(Duration::from_millis(millis));
        self.unviolated()
    }

    /// Waits for a master with open ports, other than `not`.
    pub(crate) fn master(&mut self, not: Option<usize>) -> Result<usize, Violation> {
        let serving = |world: &World| {
            (0..world.nodes.len()).find(|node| {
                Some(*node) != not
                    && world.nodes[*node].listens()
                    && world.nodes[*node].role() == Role::Master
            })
        };
        self.until("a member serves as master", |world| {
            serving(world).is_some()
        })?;
        Ok(serving(&self.world).expect("just waited for"))
    }

    /// Waits until everybody who runs has everything the master has.
    pub(crate) fn in_step(&mut self) -> Judged {
        self.until("all who run are in step", |world| {
            let Some(master) = world.master() else {
                return false;
            };
            let Some(of) = world.nodes[master].machine().map(|m| m.offsets()) else {
                return false;
            };
            world
                .nodes
                .iter()
                .filter_map(|node| node.machine())
                .all(|machine| {
                    let offsets = machine.offsets();
                    offsets.synced == of.appended && offsets.applied == of.appended
                })
        })
    }

    /// Waits until every member is a clean voter in step and nobody speaks of damage.
    pub(crate) fn all_vote(&mut self) -> Judged {
        self.until("all are clean voters in step", |world| {
            world.out_of_step().is_none()
        })
    }

    /// Every broker but this one.
    pub(crate) fn others(&self, than: usize) -> Vec<usize> {
        (0..self.world.nodes.len())
            .filter(|node| *node != than)
            .collect()
    }

    /// A member's offsets; zero while it is down.
    pub(crate) fn offsets(&self, node: usize) -> Offsets {
        self.world.nodes[node]
            .machine()
            .map_or_else(Offsets::default, |m| m.offsets())
    }

    /// The record before the first one of a member's log.
    pub(crate) fn log_start(&self, node: usize) -> Offset {
        let machine = self.world.nodes[node].machine();
        machine.map_or(Offset::ZERO, |machine| machine.journal().log_start())
    }

    /// The record up to which a member's newest checkpoint goes.
    pub(crate) fn checkpoint(&self, node: usize) -> Offset {
        let machine = self.world.nodes[node].machine();
        let newest = machine.and_then(|machine| machine.journal().newest_checkpoint());
        newest.map_or(Offset::ZERO, |(offset, _)| offset)
    }

    /// The generation of a member's Config.
    pub(crate) fn generation(&self, node: usize) -> u64 {
        self.world.generation(node)
    }

    /// The producer has so many more messages to send; nothing is waited for.
    pub(crate) fn offer(&mut self, messages: u32) {
        self.world.offer(PRODUCER, messages, 0);
    }

    /// The same, each with a body of so many bytes more.
    pub(crate) fn offer_large(&mut self, messages: u32, bytes: usize) {
        self.world.offer(PRODUCER, messages, bytes);
    }

    /// From now on all that is sent is in transactions of up to so many messages.
    pub(crate) fn send_in_transactions(&mut self, messages: u64) {
        self.world.producer(PRODUCER).send_in_transactions(messages);
    }

    /// From now on the producer does not send again what is unanswered when its connection dies.
    pub(crate) fn give_up_the_lost(&mut self) {
        self.world.producer(PRODUCER).give_up_the_lost();
    }

    /// Sends so many messages and waits for their receipts.
    pub(crate) fn produce(&mut self, messages: u32) -> Judged {
        self.offer(messages);
        let wanted = self.acknowledged() + u64::from(messages);
        self.until("the receipts of what was sent", move |world| {
            world.history().totals().acknowledged >= wanted
        })
    }

    /// Durable messages acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.world.history().totals().acknowledged
    }

    /// kill -9, no restart.
    pub(crate) fn kill(&mut self, node: usize) {
        self.world.crash(node, Crash::Kill);
    }

    /// Power cut, no restart.
    pub(crate) fn power_cut(&mut self, node: usize) {
        self.world.crash(node, Crash::PowerCut);
    }

    /// Starts what is down.
    pub(crate) fn start(&mut self, node: usize) {
        self.world.restart_after(node, Duration::from_millis(1));
    }

    /// Nothing passes in this direction; its connection breaks, so that the other end knows.
    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.world.net.cut(from, to);
        self.world.break_link(from, to, Ending::Closed);
    }

    /// Nothing passes between these two.
    pub(crate) fn part(&mut self, one: usize, other: usize) {
        self.cut(one, other);
        self.cut(other, one);
    }

    /// Nothing passes between this member and all others.
    pub(crate) fn isolate(&mut self, node: usize) {
        for other in self.others(node) {
            self.part(node, other);
        }
    }

    /// The direction is as before.
    pub(crate) fn heal(&mut self, from: usize, to: usize) {
        self.world.heal(from, to);
    }

    /// Undoes `isolate`.
    pub(crate) fn rejoin(&mut self, node: usize) {
        for other in self.others(node) {
            self.heal(node, other);
            self.heal(other, node);
        }
    }

    /// What becomes of these frames from now on.
    pub(crate) fn frames(
        &mut self,
        kind: Kind,
        from: impl Into<Option<usize>>,
        to: impl Into<Option<usize>>,
        verdict: Verdict,
    ) {
        let rule = Rule {
            from: from.into(),
            to: to.into(),
            kind: Some(kind),
            verdict,
        };
        self.world.rule(rule);
    }

    /// While all Appends from the one to the other are held: lets pass what brings the other's
    /// log up to that offset, and nothing that would bring it further.
    pub(crate) fn bring_up_to(&mut self, from: usize, to: usize, wanted: Offset) -> Judged {
        for _ in 0..50 {
            if self.offsets(to).synced >= wanted {
                break;
            }
            // One at a time. An Append behind the end of the log is refused, and so tells its
            // sender where that is.
            let end = self.offsets(to).appended;
            let held = self
                .world
                .take_kept(|kept| kept.from == from && kept.to == to);
            let after = |kept: &&Kept| kept.peek.prev.map_or(Offset::ZERO, |(_, prev)| prev);
            let next = held
                .iter()
                .find(|kept| after(kept) == end && end < wanted)
                .or_else(|| held.iter().find(|kept| after(kept) > end));
            if let Some(frame) = next {
                self.world.deliver_kept(frame);
            }
            let left = held
                .iter()
                .filter(|kept| after(kept) > end)
                .skip(1)
                .cloned();
            self.world.keep_again(left.collect());
            self.pass(20)?;
        }
        let text = format!("member {to} has the records up to {wanted} and no more");
        self.must(self.offsets(to).synced == wanted, &text)
    }

    /// Frames pass again; what was held is gone, as with the connection it was sent on.
    pub(crate) fn frames_pass(&mut self) {
        self.world.clear_rules();
        let kept = self.world.take_kept(|_| true);
        for pair in kept.iter().map(|kept| (kept.from, kept.to)) {
            self.world.break_link(pair.0, pair.1, Ending::Closed);
        }
    }

    /// Everything is given back and a consumer takes all there is; the oracle has the last word.
    pub(crate) fn finish(&mut self) -> Judged {
        self.frames_pass();
        self.world
            .add_client(Program::Consumer(Consumer::new(ConsumerPlan::plain(
                queue(),
            ))));
        self.world.settle();
        self.world.pass(Duration::from_secs(90));
        self.unviolated()?;
        self.must(self.acknowledged() > 0, "something was acknowledged")?;
        self.must(self.world.is_finished(), "the run comes to its end")
    }

    fn unviolated(&self) -> Judged {
        self.world
            .violation()
            .map_or(Ok(()), |violation| Err(violation.clone()))
    }
}

fn queue() -> Destination {
    Destination::queue("Q0")
}
