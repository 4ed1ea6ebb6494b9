//! First deliveries to one consumer are in order, also when some come too late and go back.
//!
//! A small engine (offsets, a window, the lowest first) and a session talk over two queues of any
//! length; another consumer takes what it can. Random, with fixed seeds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tandemmq_model::{
    Command, Delivery, DeliveryId, Outcome, Refusal, RefusalKind, SubscriptionId, Time,
};

use super::random::Random;
use super::support::*;
use crate::SessionEvent;
use crate::stomp::Version;

struct Engine {
    subscription: SubscriptionId,
    available: BTreeSet<u64>,
    out: BTreeMap<DeliveryId, u64>,
    window: usize,
    last: u64,
    returned: usize,
    events: VecDeque<SessionEvent>,
}

impl Engine {
    fn handle(&mut self, command: Command) {
        match command {
            // What a client would acknowledge at once.
            Command::Written(_, id) => self.out.retain(|own, _| *own > id),
            Command::NotDelivered(_, id) => {
                let offset = self.out.remove(&id).expect("given back once");
                self.available.insert(offset);
                self.returned += 1;
            }
            Command::Abort(_, request) => self.events.push_back(SessionEvent::Reply {
                request: request.id,
                outcome: Outcome::Refused(Refusal {
                    kind: RefusalKind::Unknown,
                    text: "no such transaction".into(),
                }),
            }),
            other => panic!("unexpected {other:?}"),
        }
    }

    fn dispatch(&mut self, valid_until: Time) {
        let mut deliveries: Vec<Delivery> = Vec::new();
        while self.out.len() < self.window
            && let Some(offset) = self.available.pop_first()
        {
            self.last += 1;
            let mut one = delivery(self.subscription, offset, message(format!("{offset}")));
            if let Delivery::Message { id, .. } = &mut one {
                *id = DeliveryId(self.last);
            }
            self.out.insert(DeliveryId(self.last), offset);
            deliveries.push(one);
        }
        if !deliveries.is_empty() {
            self.events.push_back(SessionEvent::Deliver {
                deliveries,
                valid_until,
            });
        }
    }
}

/// The offsets that the client got, those another consumer took, and how many went back.
fn run(seed: u64) -> (Vec<u64>, usize, usize) {
    let mut random = Random(seed);
    let (mut peer, subscription) = Peer::subscribed(Version::V1_2, "client");
    let mut engine = Engine {
        subscription,
        available: (1..=60).collect(),
        out: BTreeMap::new(),
        window: 1 + random.below(12),
        last: 0,
        returned: 0,
        events: VecDeque::new(),
    };
    let mut commands = VecDeque::new();
    let (mut got, mut taken) = (Vec::new(), 0);
    for turn in 0..4_000 {
        // Trouble ends, then everything must come through.
        let is_troubled = turn < 300;
        match random.below(6) {
            0 | 1 => {
                let late = is_troubled && random.below(3) == 0;
                engine.dispatch(if late { Time::ZERO } else { VALID });
            }
            2 => {
                for _ in 0..1 + random.below(4) {
                    if let Some(event) = engine.events.pop_front() {
                        crate::Session::handle_event(&mut peer.session, peer.now, event);
                    }
                }
            }
            3 => {
                got.extend(peer.read().iter().map(|frame| {
                    std::str::from_utf8(&frame.body)
                        .unwrap()
                        .parse::<u64>()
                        .unwrap()
                }));
                commands.extend(peer.commands());
            }
            4 => {
                for _ in 0..1 + random.below(4) {
                    if let Some(command) = commands.pop_front() {
                        engine.handle(command);
                    }
                }
            }
            _ if is_troubled && random.below(4) == 0 => {
                taken += usize::from(engine.available.pop_first().is_some());
            }
            _ => {}
        }
    }
    (got, taken, engine.returned)
}

#[test]
fn first_deliveries_stay_in_order_and_complete_whatever_goes_back() {
    let mut returned = 0;
    for seed in 0..500 {
        let (got, taken, went_back) = run(seed);
        assert!(got.is_sorted(), "seed {seed}: {got:?}");
        assert_eq!(got.len() + taken, 60, "seed {seed}: {got:?}");
        returned += went_back;
    }
    assert!(
        returned > 5_000,
        "a run without returns proves nothing: {returned}"
    );
}
