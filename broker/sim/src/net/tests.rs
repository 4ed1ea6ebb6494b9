//! The network alone: order, cuts, and what an old connection may still deliver.

use super::*;
use crate::rng::Stream;

struct Wire {
    net: Net,
    agenda: Agenda<Happening>,
    rng: Rng,
}

fn wire() -> Wire {
    let timing = NetTiming {
        latency_min: Duration::from_micros(100),
        latency_max: Duration::from_millis(5),
        tail_permille: 100,
        tail_max: Duration::from_millis(50),
    };
    Wire {
        net: Net::new(2, timing),
        agenda: Agenda::new(),
        rng: Rng::new(1, Stream::Net),
    }
}

impl Wire {
    fn send(&mut self, text: &'static str) {
        let frame = Bytes::from_static(text.as_bytes());
        self.net.send(0, 1, frame, &mut self.agenda, &mut self.rng);
    }

    /// What arrives within a second on connections that are open at that moment.
    fn arrivals(&mut self) -> Vec<(InboundId, Bytes)> {
        let end = self.agenda.now() + Duration::from_secs(1);
        let mut seen = Vec::new();
        while let Some(happening) = self.agenda.next_until(end) {
            match happening {
                Happening::Arrive { conn, frame } if self.net.is_open(conn) => {
                    seen.push((conn, frame));
                }
                Happening::InboundEnds { conn } => {
                    self.net.forget(conn);
                }
                _ => {}
            }
        }
        seen
    }
}

#[test]
fn frames_of_one_connection_arrive_in_the_order_they_were_sent() {
    let mut wire = wire();
    wire.net.connect(0, 1, Time::ZERO);
    for text in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        wire.send(text);
    }
    let texts: Vec<_> = wire
        .arrivals()
        .into_iter()
        .map(|(_, frame)| frame)
        .collect();
    assert_eq!(texts, ["a", "b", "c", "d", "e", "f", "g", "h"]);
}

#[test]
fn a_cut_delays_and_loses_nothing_until_the_connection_breaks() {
    let mut wire = wire();
    wire.net.connect(0, 1, Time::ZERO);
    wire.net.cut(0, 1);
    wire.send("late");
    assert!(wire.arrivals().is_empty(), "the direction is cut");
    wire.net.heal(0, 1, &mut wire.agenda, &mut wire.rng);
    assert_eq!(wire.arrivals().len(), 1, "it was only delayed");
    wire.net.cut(0, 1);
    wire.send("lost");
    wire.net
        .end(0, 1, Ending::Closed, &mut wire.agenda, &mut wire.rng);
    wire.net.heal(0, 1, &mut wire.agenda, &mut wire.rng);
    assert!(wire.arrivals().is_empty(), "it died with its connection");
}

#[test]
fn a_broken_connection_repeats_its_last_frames_beside_the_new_one() {
    let mut wire = wire();
    let old = wire.net.connect(0, 1, Time::ZERO);
    wire.send("a");
    wire.send("b");
    assert_eq!(wire.arrivals().len(), 2);
    let ending = Ending::Lingers {
        linger: Duration::from_millis(100),
        copies: 2,
    };
    wire.net.end(0, 1, ending, &mut wire.agenda, &mut wire.rng);
    let new = wire.net.connect(0, 1, wire.agenda.now());
    wire.send("c");
    let seen = wire.arrivals();
    let on = |id| seen.iter().filter(|(conn, _)| *conn == id).count();
    assert_eq!((on(old), on(new)), (2, 1), "{seen:?}");
    assert!(!wire.net.is_open(old), "in the end the acceptor knows");
}

#[test]
fn nobody_hears_of_a_power_cut() {
    let mut wire = wire();
    let conn = wire.net.connect(0, 1, Time::ZERO);
    assert_eq!(wire.net.host_gone(1), [conn]);
    assert!(
        wire.net.outbound(0, 1).is_some(),
        "the dialler believes in its connection"
    );
    wire.send("into the void");
    assert!(wire.arrivals().is_empty());
    assert_eq!(
        wire.net.reset(conn),
        Some((0, 1)),
        "until the host is back and resets it"
    );
}
