//! What a seed means: its own mix of faults, group, network, disks and workload (swarm testing).
//!
//! Every seed switches a random part of the faults off and draws the rates of the others, so that
//! no fault hides behind a more frequent one. All of it comes from one stream; nothing a run does
//! changes it.

use std::time::Duration;

use tandemmq_cluster::Confirmation;
use tandemmq_model::{AckMode, Destination};

use crate::client::consumer::ConsumerPlan;
use crate::client::producer::{AfterLoss, ProducerPlan};
use crate::disk::DiskTiming;
use crate::faults::{FaultKind, Rate};
use crate::net::NetTiming;
use crate::rng::{Rng, Stream};

/// Virtual time a group has to found itself before the first fault can strike: half of the seeds
/// strike earlier, into the founding.
const CALM_MAX: Duration = Duration::from_secs(3);

/// Clients that now and then do not read fill outboxes: seldom, or nothing else would be seen.
const DEAF_PERMILLE: u32 = 4;

/// The whole plan of one run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed it was drawn from.
    pub seed: u64,
    /// Brokers of the group.
    pub nodes: usize,
    /// Who confirms its founding.
    pub confirmation: Confirmation,
    /// Latencies between brokers.
    pub net: NetTiming,
    /// Latencies of disks.
    pub disk: DiskTiming,
    /// Latencies of the Lease store, from and to.
    pub lease: (Duration, Duration),
    /// Clock rates of the nodes, in thousandths of true time.
    pub clock_permille: Vec<u64>,
    /// Bytes of a segment.
    pub segment_bytes: u32,
    /// Bytes of log after which a checkpoint is made.
    pub checkpoint_bytes: u64,
    /// Bytes of log kept for a slave that lags.
    pub retain_bytes: u64,
    /// Of a thousand writes to a client so many meet one that does not read for a while.
    pub deaf_permille: u32,
    /// Which faults, how often.
    pub faults: Vec<Rate>,
    /// Before the first fault.
    pub calm: Duration,
    /// From the first fault to the last.
    pub storm: Duration,
    /// Producers.
    pub producers: Vec<ProducerPlan>,
    /// Consumers.
    pub consumers: Vec<ConsumerPlan>,
}

// === impl Plan ===

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed, Stream::Mix);
        let nodes = match rng.below(100) {
            0..=4 => 1,
            5..=16 => 5,
            _ => 3,
        };
        let calm = rng.duration(Duration::from_millis(200), CALM_MAX);
        let storm = rng.millis(4_000, 20_000);
        let queues = rng.between(1, 3);
        let messages = rng.between(15, 120) as u32;
        let segment_bytes = (8 * 1024) << rng.below(6);
        let segment = u64::from(segment_bytes);
        Self {
            seed,
            nodes,
            confirmation: Confirmation::ByFounder,
            net: draw_net(&mut rng),
            disk: draw_disk(&mut rng),
            lease: (rng.micros(100, 2_000), rng.millis(2, 80)),
            clock_permille: (0..nodes).map(|_| draw_clock(&mut rng)).collect(),
            segment_bytes,
            checkpoint_bytes: segment / *rng.pick(&[1, 1, 2]),
            retain_bytes: segment * *rng.pick(&[0, 0, 1, 2, 8]),
            deaf_permille: DEAF_PERMILLE,
            faults: draw_faults(&mut rng, nodes),
            calm,
            storm,
            producers: draw_producers(&mut rng, queues, messages, calm + storm),
            consumers: draw_consumers(&mut rng, queues),
        }
    }

    /// A calm plan for scripted schedules: no random fault, equal clocks, short latencies, one
    /// producer and one consumer that do nothing until the script wants them.
    pub fn calm(nodes: usize) -> Self {
        let millis = Duration::from_millis;
        let micros = Duration::from_micros;
        Self {
            seed: 0,
            nodes,
            confirmation: Confirmation::ByFounder,
            net: NetTiming {
                latency_min: micros(200),
                latency_max: micros(400),
                tail_permille: 0,
                tail_max: millis(1),
            },
            disk: DiskTiming {
                write: (micros(20), micros(40)),
                sync: (micros(300), micros(600)),
                tail_permille: 0,
                tail_max: millis(1),
            },
            lease: (micros(200), millis(1)),
            clock_permille: vec![1_000; nodes],
            segment_bytes: 256 * 1024,
            checkpoint_bytes: 128 * 1024,
            retain_bytes: 512 * 1024,
            deaf_permille: DEAF_PERMILLE,
            faults: Vec::new(),
            calm: Duration::ZERO,
            storm: Duration::ZERO,
            producers: Vec::new(),
            consumers: Vec::new(),
        }
    }
}

fn draw_net(rng: &mut Rng) -> NetTiming {
    let latency_min = rng.micros(30, 500);
    NetTiming {
        latency_min,
        latency_max: latency_min + rng.micros(50, 8_000),
        tail_permille: *rng.pick(&[0, 0, 5, 20, 100]),
        tail_max: rng.millis(10, 300),
    }
}

fn draw_disk(rng: &mut Rng) -> DiskTiming {
    let sync = rng.micros(50, 2_000);
    DiskTiming {
        write: (Duration::from_micros(5), rng.micros(10, 300)),
        sync: (sync, sync + rng.micros(50, 10_000)),
        tail_permille: *rng.pick(&[0, 0, 5, 30]),
        tail_max: rng.millis(10, 400),
    }
}

/// Most clocks are good; some gain or lose, a few are absurd.
fn draw_clock(rng: &mut Rng) -> u64 {
    match rng.below(20) {
        0 => 500,
        1 => 2_000,
        2..=5 => rng.between(950, 1_050),
        _ => 1_000,
    }
}

fn draw_faults(rng: &mut Rng, nodes: usize) -> Vec<Rate> {
    let share = rng.between(200, 700) as u32;
    let mut faults = Vec::new();
    for kind in FaultKind::ALL {
        let share = if kind.loses() { 250 } else { share };
        let chosen = rng.permille(share);
        // Drawn in any case: a seed's other rates stay what they are when a kind changes its share.
        let every = Duration::from_millis(400 << rng.below(6));
        let fits = match kind {
            // The only volume of a group has no peer that could remember it.
            FaultKind::Wipe | FaultKind::RollBack | FaultKind::BitFlip => nodes > 1,
            _ => true,
        };
        if chosen && fits {
            faults.push(Rate { kind, every });
        }
    }
    faults
}

fn queue_name(number: u64) -> Destination {
    Destination::queue(format!("Q{number}"))
}

fn draw_producers(rng: &mut Rng, queues: u64, messages: u32, time: Duration) -> Vec<ProducerPlan> {
    let count = rng.between(1, 4);
    (0..count)
        .map(|number| {
            let topic = rng.permille(60);
            let destination = if topic {
                Destination::topic("T")
            } else {
                // The first producers see to it that every queue is used.
                let queue = if number < queues {
                    number
                } else {
                    rng.below(queues)
                };
                queue_name(queue)
            };
            let persistent = number == 0 || rng.permille(800);
            ProducerPlan {
                destination: if number == 0 {
                    queue_name(0)
                } else {
                    destination
                },
                persistent,
                messages,
                window: *rng.pick(&[1, 1, 4, 16, 64]),
                pause: (Duration::ZERO, time / messages * 2),
                tx_permille: *rng.pick(&[0, 0, 100, 400]),
                tx_messages_max: rng.between(1, 8),
                abort_permille: *rng.pick(&[0, 200, 500]),
                filler_max: *rng.pick(&[0, 40, 400, 6_000]),
                expire_permille: *rng.pick(&[0, 0, 0, 50]),
                after_loss: *rng.pick(&[
                    AfterLoss::SendAgain,
                    AfterLoss::SendAgain,
                    AfterLoss::GiveUp,
                ]),
            }
        })
        .collect()
}

fn draw_consumers(rng: &mut Rng, queues: u64) -> Vec<ConsumerPlan> {
    let more = rng.below(3);
    let mut plans: Vec<ConsumerPlan> = (0..queues + more)
        .map(|number| {
            let queue = if number < queues {
                number
            } else {
                rng.below(queues)
            };
            draw_consumer(rng, queue_name(queue))
        })
        .collect();
    plans.push(ConsumerPlan {
        mode: AckMode::Individual,
        poison_permille: 0,
        ..draw_consumer(rng, Destination::queue("ActiveMQ.DLQ"))
    });
    plans.push(ConsumerPlan {
        mode: AckMode::Auto,
        ..draw_consumer(rng, Destination::topic("T"))
    });
    plans
}

fn draw_consumer(rng: &mut Rng, destination: Destination) -> ConsumerPlan {
    ConsumerPlan {
        destination,
        mode: *rng.pick(&[
            AckMode::Auto,
            AckMode::Client,
            AckMode::Individual,
            AckMode::Individual,
        ]),
        prefetch: *rng.pick(&[1, 2, 3, 10, 100]),
        think: (
            Duration::ZERO,
            *rng.pick(&[Duration::ZERO, Duration::from_millis(30)]),
        ),
        tx_permille: *rng.pick(&[0, 0, 200]),
        abort_permille: *rng.pick(&[0, 300]),
        poison_permille: *rng.pick(&[0, 0, 20, 100]),
        leave_permille: *rng.pick(&[0, 0, 20, 100]),
        browse_permille: *rng.pick(&[0, 0, 20]),
        cumulative_max: rng.between(1, 8) as usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ_in_their_mix_and_reach_every_fault_and_size() {
        let plans: Vec<Plan> = (1..=300).map(Plan::draw).collect();
        for kind in FaultKind::ALL {
            let with = plans
                .iter()
                .filter(|p| p.faults.iter().any(|rate| rate.kind == kind));
            let count = with.count();
            assert!(count > 3, "{} is in {count} of 300 seeds", kind.as_str());
            assert!(count < 300, "{} is in every seed", kind.as_str());
        }
        for nodes in [1, 3, 5] {
            assert!(
                plans.iter().any(|plan| plan.nodes == nodes),
                "no seed has {nodes} nodes"
            );
        }
    }
}
