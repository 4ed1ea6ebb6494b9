//! Liveness: once faults are over, everything is served, consumed and in step within a bound.

use std::time::Duration;

use tandemmq_cluster::Role;
use tandemmq_journal::LogState;
use tandemmq_model::DestinationKind;

use super::{INSPECT, World};
use crate::happening::Happening;
use crate::oracle::{Invariant, Violation};
use crate::trace::Step;

/// After the last fault. A suspicion, an election with a few collisions, the clients' own patience
/// and the work left fit many times, also on a clock of half speed.
pub(super) const LIVENESS_MAX: Duration = Duration::from_secs(40);

impl World {
    /// The oracle's slow look.
    pub(super) fn inspect(&mut self) {
        self.agenda.after(INSPECT, Happening::Inspect);
        self.absolve();
        let Some(settled) = self.settled_at else {
            return;
        };
        let Some(why) = self.unsettled() else {
            self.history.finish();
            self.judge_history();
            self.note(Step::Process, &[9], || {
                "everything is served and in step".to_owned()
            });
            self.finished = true;
            return;
        };
        if self.agenda.now().since(settled) > LIVENESS_MAX {
            let text = format!("{} s after the last fault {why}", LIVENESS_MAX.as_secs());
            self.violate(Violation::new(Invariant::Liveness, text));
        }
    }

    /// What is not yet as it must be, in words.
    fn unsettled(&self) -> Option<String> {
        if let Some(why) = self.out_of_step() {
            return Some(why);
        }
        if let Some(client) = self.clients.iter().position(|client| !client.is_done()) {
            return Some(format!(
                "client {client} is not done: {:?}",
                self.clients[client]
            ));
        }
        let status = self.nodes[self.master()?].machine()?.status();
        let full = status.destinations.iter().find(|stats| {
            stats.kind == DestinationKind::Queue && (stats.depth > 0 || stats.in_flight > 0)
        });
        full.map(|stats| format!("queue {} holds {} messages", stats.name, stats.depth))
    }

    /// Who is not a clean voter in step with a master who serves, in words.
    pub(crate) fn out_of_step(&self) -> Option<String> {
        let Some(master) = self.master() else {
            return Some("nobody is master".to_owned());
        };
        if !self.nodes[master].listens() {
            return Some(format!("master {master} has not opened its ports"));
        }
        let machine = self.nodes[master].machine().expect("a master runs");
        let wanted = machine.offsets();
        for (node, this) in self.nodes.iter().enumerate() {
            let Some(machine) = this.machine() else {
                return Some(format!("{node} is down"));
            };
            let offsets = machine.offsets();
            if machine.log_state() != LogState::Clean || !machine.is_voter() {
                return Some(format!(
                    "{node} does not vote: {:?}, {}",
                    machine.log_state(),
                    machine.status().message
                ));
            }
            if machine.status().reason == "Damaged" {
                return Some(format!("{node}: {}", machine.status().message));
            }
            if node != master && machine.role() == Role::Master {
                return Some(format!("{node} and {master} are masters"));
            }
            if offsets.applied != wanted.appended || offsets.synced != wanted.synced {
                return Some(format!(
                    "{node} is at {offsets:?}, master {master} at {wanted:?}"
                ));
            }
        }
        None
    }
}
