//! Faults as they strike: victim, duration, and what gives everything back.

use std::time::Duration;

use tandemmq_cluster::{Event, Role};
use tandemmq_journal::{LogState, ReadDone, ScrubAt, is_aside};
use tandemmq_model::Time;

use super::{Crash, World};
use crate::disk::Disk;
use crate::faults::{Fault, FaultKind};
use crate::happening::Happening;
use crate::lease::RestoredRevision;
use crate::net::Ending;
use crate::trace::Step;
use crate::volume::Volume;

/// Between the kill and the roll-back of a volume: its peers store what they heard at most one
/// second late, and the promise of the product needs that memory.
const MEMORY_STORED: Duration = Duration::from_millis(2_500);

/// What the storm must remember.
#[derive(Debug, Default)]
pub(crate) struct Storm {
    over: bool,
    /// A volume was lost or damaged, and not everybody is seen to be well again since.
    struck: bool,
    /// A volume is chosen to be rolled back.
    rolling: bool,
    snapshot: Option<Volume>,
}

impl World {
    pub(super) fn plan_storm(&mut self) {
        if self.plan.storm.is_zero() {
            return; // A schedule brings its own faults.
        }
        let (calm, rates) = (self.plan.calm, self.plan.faults.clone());
        for rate in rates {
            let wait = self.streams.faults.duration(Duration::ZERO, rate.every * 2);
            self.agenda.at(
                Time::ZERO + calm + wait,
                Happening::Fault(Fault::Strike(rate.kind)),
            );
        }
        let end = Time::ZERO + calm + self.plan.storm;
        self.agenda.at(end, Happening::Fault(Fault::Settle));
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Strike(kind) => self.strike_and_plan(kind),
            Fault::Heal(cuts) => {
                for (from, to) in cuts {
                    self.heal(from, to);
                }
            }
            Fault::FastLink(from, to) => self.net.delay(from, to, Duration::ZERO),
            Fault::Resume(node) => self.resume(node),
            Fault::FastDisk(node) => {
                self.nodes[node].disk.set_slow(1);
                self.unhang_disk(node);
            }
            Fault::LeaseBack => {
                self.lease_faults.away = self.lease_faults.away.saturating_sub(1);
            }
            Fault::LeaseClear => {
                self.lease_faults.unknown = self.lease_faults.unknown.saturating_sub(1);
            }
            Fault::RoomAgain(node) => self.nodes[node].disk.set_room(None),
            Fault::RollBackNow(node) => self.roll_back(node),
            Fault::Settle => self.settle(),
        }
    }

    fn strike_and_plan(&mut self, kind: FaultKind) {
        if self.storm.over {
            return;
        }
        let rate = self.plan.faults.iter().find(|rate| rate.kind == kind);
        let every = rate.expect("only kinds with a rate are planned").every;
        let wait = self.streams.faults.duration(every / 4, every * 2);
        self.agenda
            .after(wait, Happening::Fault(Fault::Strike(kind)));
        if self.strike(kind) {
            *self.counts.faults.entry(kind).or_default() += 1;
        }
    }

    /// True when it struck.
    fn strike(&mut self, kind: FaultKind) -> bool {
        self.note(Step::Fault, &[kind as u64], || {
            format!("fault {}", kind.as_str())
        });
        match kind {
            FaultKind::Kill => self.strike_crash(Crash::Kill),
            FaultKind::PowerCut => self.strike_crash(Crash::PowerCut),
            FaultKind::KillMasterMidway => self.strike_master_midway(),
            FaultKind::PowerCutAll => self.strike_all(),
            FaultKind::Partition => self.strike_partition(),
            FaultKind::CutOneWay => self.strike_one_way(),
            FaultKind::Flap => self.strike_flap(),
            FaultKind::SlowLink => self.strike_slow_link(),
            FaultKind::Pause => self.strike_pause(),
            FaultKind::SlowDisk => self.strike_slow_disk(),
            FaultKind::HangDisk => self.strike_hang(),
            FaultKind::SyncError => {
                let node = self.victim();
                self.nodes[node].disk.fail_next_sync();
                true
            }
            FaultKind::LeaseAway => self.strike_lease_away(),
            FaultKind::LeaseUnknown => {
                self.lease_faults.unknown += 1;
                let time = self.streams.faults.millis(500, 8_000);
                self.agenda.after(time, Happening::Fault(Fault::LeaseClear));
                true
            }
            FaultKind::LeaseStolen
            | FaultKind::LeaseDeleted
            | FaultKind::LeaseRestored
            | FaultKind::LeaseEdited => self.strike_lease_content(kind),
            FaultKind::ClientBreak => self.strike_client(),
            FaultKind::ClockJump => {
                let node = self.victim();
                let by = self.streams.faults.between(0, 7_200_000) as i64 - 3_600_000;
                self.nodes[node].jump_wall(by);
                true
            }
            FaultKind::Shutdown => {
                let node = self.victim();
                self.give(node, Event::Shutdown);
                true
            }
            FaultKind::Wipe => self.strike_wipe(),
            FaultKind::RollBack => self.strike_roll_back(),
            FaultKind::BitFlip => self.strike_bit(),
            FaultKind::Absence => self.strike_absence(),
            FaultKind::FullDisk => self.strike_full_disk(),
        }
    }

    /// Any member, the master in half of the cases.
    fn victim(&mut self) -> usize {
        let any = self.streams.faults.index(self.nodes.len());
        let master = self.master();
        if self.streams.faults.coin() {
            master.unwrap_or(any)
        } else {
            any
        }
    }

    /// The member that is master, of several the one with the greatest epoch.
    pub(crate) fn master(&self) -> Option<usize> {
        (0..self.nodes.len())
            .filter(|node| self.nodes[*node].role() == Role::Master)
            .max_by_key(|node| self.nodes[*node].machine().map(|m| m.promise().epoch))
    }

    fn is_founded(&self) -> bool {
        self.counts.reigns > 0
    }

    fn strike_crash(&mut self, how: Crash) -> bool {
        let node = self.victim();
        let wait = self.streams.faults.millis(20, 4_000);
        if !self.nodes[node].is_alive() {
            return false;
        }
        self.crash(node, how);
        self.restart_after(node, wait);
        true
    }

    fn strike_master_midway(&mut self) -> bool {
        let effects = self.streams.faults.below(60) as u32;
        let Some(master) = self.master() else {
            return false;
        };
        self.nodes[master].die_after(effects);
        true
    }

    fn strike_all(&mut self) -> bool {
        for node in 0..self.nodes.len() {
            let wait = self.streams.faults.millis(50, 3_000);
            if self.nodes[node].is_alive() {
                self.crash(node, Crash::PowerCut);
                self.restart_after(node, wait);
            }
        }
        true
    }

    fn strike_partition(&mut self) -> bool {
        let size = self.nodes.len() as u64;
        if size < 2 {
            return false;
        }
        let side = self.streams.faults.between(1, (1 << size) - 2);
        let one_way = self.streams.faults.permille(250);
        let mut cuts = Vec::new();
        for from in 0..self.nodes.len() {
            for to in 0..self.nodes.len() {
                let (a, b) = (side >> from & 1, side >> to & 1);
                if a == 1 && b == 0 || a == 0 && b == 1 && !one_way {
                    cuts.push((from, to));
                }
            }
        }
        self.cut_for_a_while(cuts);
        true
    }

    fn strike_one_way(&mut self) -> bool {
        let Some((from, to)) = self.direction() else {
            return false;
        };
        self.cut_for_a_while(vec![(from, to)]);
        true
    }

    fn cut_for_a_while(&mut self, cuts: Vec<(usize, usize)>) {
        let time = self.streams.faults.millis(100, 7_000);
        // A firewall that rejects resets connections; one that drops leaves them to wait.
        let resets = self.streams.faults.permille(300);
        for (from, to) in &cuts {
            self.net.cut(*from, *to);
            self.note(Step::Fault, &[*from as u64, *to as u64], || {
                format!("cut {from}->{to}")
            });
            if resets {
                self.break_link(*from, *to, Ending::Closed);
            }
        }
        self.agenda.after(time, Happening::Fault(Fault::Heal(cuts)));
    }

    /// One direction heals.
    pub(crate) fn heal(&mut self, from: usize, to: usize) {
        self.note(Step::Fault, &[from as u64, to as u64, 1], || {
            format!("heal {from}->{to}")
        });
        self.net
            .heal(from, to, &mut self.agenda, &mut self.streams.net);
    }

    fn direction(&mut self) -> Option<(usize, usize)> {
        let size = self.nodes.len();
        if size < 2 {
            return None;
        }
        let from = self.victim();
        let to = (from + 1 + self.streams.faults.index(size - 1)) % size;
        Some(if self.streams.faults.coin() {
            (from, to)
        } else {
            (to, from)
        })
    }

    fn strike_flap(&mut self) -> bool {
        let Some((from, to)) = self.direction() else {
            return false;
        };
        let linger = self.streams.faults.millis(1, 1_500);
        let copies = self.streams.faults.below(7) as usize;
        self.break_link(from, to, Ending::Lingers { linger, copies })
    }

    fn strike_slow_link(&mut self) -> bool {
        let Some((from, to)) = self.direction() else {
            return false;
        };
        let by = self.streams.faults.millis(2, 400);
        let time = self.streams.faults.millis(300, 5_000);
        self.net.delay(from, to, by);
        self.agenda
            .after(time, Happening::Fault(Fault::FastLink(from, to)));
        true
    }

    fn strike_pause(&mut self) -> bool {
        let node = self.victim();
        let most = if self.streams.faults.coin() {
            1_500
        } else {
            9_000
        };
        let time = self.streams.faults.millis(30, most);
        self.pause(node);
        self.agenda
            .after(time, Happening::Fault(Fault::Resume(node)));
        true
    }

    fn strike_slow_disk(&mut self) -> bool {
        let node = self.victim();
        let factor = 5 << self.streams.faults.below(5);
        let time = self.streams.faults.millis(500, 6_000);
        self.nodes[node].disk.set_slow(factor);
        self.agenda
            .after(time, Happening::Fault(Fault::FastDisk(node)));
        true
    }

    fn strike_hang(&mut self) -> bool {
        let node = self.victim();
        let time = self.streams.faults.millis(200, 9_000);
        self.nodes[node].disk.hang();
        self.agenda
            .after(time, Happening::Fault(Fault::FastDisk(node)));
        true
    }

    /// The disk moves again: what was overdue completes now.
    pub(crate) fn unhang_disk(&mut self, node: usize) {
        let run = self.nodes[node].run();
        if let Some(op) = self.nodes[node].disk.unhang() {
            self.agenda
                .after(Duration::ZERO, Happening::DiskDone { node, run, op });
        }
        self.start_disk(node);
    }

    /// A hanging disk completes so many operations and hangs again.
    pub(crate) fn let_through(&mut self, node: usize, operations: u32) {
        let run = self.nodes[node].run();
        if let Some(op) = self.nodes[node].disk.let_through(operations) {
            self.agenda
                .after(Duration::ZERO, Happening::DiskDone { node, run, op });
        }
        self.start_disk(node);
    }

    /// SIGTERM.
    pub(crate) fn shut_down(&mut self, node: usize) {
        self.give(node, Event::Shutdown);
    }

    /// The Lease store cannot be reached, or can.
    pub(crate) fn set_lease_away(&mut self, away: u32) {
        self.lease_faults.away = away;
    }

    /// Calls of the Lease store take so long each way.
    pub(crate) fn set_lease_latency(&mut self, least: Duration, most: Duration) {
        self.plan.lease = (least, most);
    }

    fn strike_lease_away(&mut self) -> bool {
        self.lease_faults.away += 1;
        let time = self.streams.faults.millis(300, 9_000);
        self.agenda.after(time, Happening::Fault(Fault::LeaseBack));
        true
    }

    /// Only of a founded group: while it is founded the Lease is the only place that knows it.
    fn strike_lease_content(&mut self, kind: FaultKind) -> bool {
        let rng = &mut self.streams.faults;
        let (back, coin, draw) = (rng.below(20) as usize, rng.coin(), rng.below(4));
        if !self.is_founded() || self.lease.current().record.group.is_none() {
            return false;
        }
        match kind {
            FaultKind::LeaseStolen => {
                let epoch = self.lease.current().record.epoch;
                let epoch = match draw {
                    0 => epoch.saturating_sub(1),
                    1 => 0,
                    2 => epoch,
                    _ => epoch.saturating_add(1),
                };
                self.lease.steal("intruder_0_0", epoch);
                true
            }
            FaultKind::LeaseDeleted => {
                self.lease.delete();
                true
            }
            FaultKind::LeaseEdited => {
                self.lease.edit(|record| {
                    record.epoch = u64::MAX;
                    if coin {
                        record.master_epoch = u64::MAX;
                    }
                });
                true
            }
            _ => {
                let revision = if coin {
                    RestoredRevision::Fresh
                } else {
                    RestoredRevision::Reused
                };
                self.lease.restore(1 + back, revision, |_| true)
            }
        }
    }

    fn strike_client(&mut self) -> bool {
        if self.clients.is_empty() {
            return false;
        }
        let client = self.streams.faults.index(self.clients.len());
        self.break_client(client);
        true
    }

    fn strike_absence(&mut self) -> bool {
        let node = self.victim();
        let wait = self.streams.faults.millis(3_000, 10_000);
        if !self.nodes[node].is_alive() {
            return false;
        }
        self.crash(node, Crash::Kill);
        self.restart_after(node, wait);
        true
    }

    fn strike_full_disk(&mut self) -> bool {
        let node = self.victim();
        let room = *self.streams.faults.pick(&[0, 0, 4_096, 32_768]);
        let time = self.streams.faults.millis(500, 8_000);
        self.nodes[node].disk.set_room(Some(room));
        self.agenda
            .after(time, Happening::Fault(Fault::RoomAgain(node)));
        true
    }

    /// A volume may be lost when every other one is known to be well.
    fn may_lose(&mut self) -> bool {
        let may = self.is_founded() && !self.storm.struck;
        self.storm.struck |= may;
        may
    }

    /// Once all are clean voters in step and nothing on their disks is wrong, the next volume may
    /// be lost, and nobody is excused any more.
    pub(super) fn absolve(&mut self) {
        let waits = self.storm.struck && !self.storm.rolling;
        if !waits || self.out_of_step().is_some() || !self.is_config_final() {
            return;
        }
        let well = |node: usize| !self.group.is_excused(node) || self.is_well(node);
        if !(0..self.nodes.len()).all(well) {
            return;
        }
        for node in 0..self.nodes.len() {
            self.group.absolve(node);
        }
        self.storm.struck = false;
        self.note(Step::Fault, &[3], || "all volumes are well".to_owned());
    }

    fn is_config_final(&self) -> bool {
        let machines = self.nodes.iter().filter_map(|node| node.machine());
        let mut generations = machines.map(|machine| machine.status().config_generation);
        generations.all(|generation| generation.is_multiple_of(2))
    }

    /// It is not below what it ever said, and all that is on its disk reads well.
    fn is_well(&self, node: usize) -> bool {
        let Some(machine) = self.nodes[node].machine() else {
            return false;
        };
        if !self.group.is_up_to_its_word(node) {
            return false;
        }
        let config = super::node::journal_config(&self.plan);
        let last = machine.journal().synced();
        if self.nodes[node].disk.would_find(&config) != Some((LogState::Clean, last)) {
            return false;
        }
        let mut at = ScrubAt::Start;
        loop {
            match self.nodes[node]
                .disk
                .read(&machine.journal().read_scrub(at))
            {
                ReadDone::Scrubbed(ScrubAt::Start) => return true,
                ReadDone::Scrubbed(next) => at = next,
                _ => return false,
            }
        }
    }

    /// One bit of one file turns, of a member that runs or is down. Not where a start would take it
    /// for a torn tail: only the peers' memory tells the two apart, and they may not have it yet.
    fn strike_bit(&mut self) -> bool {
        let node = self.victim();
        let (draw, bit) = (self.streams.faults.next_u64(), self.streams.faults.below(8));
        let files = self.nodes[node].disk.files();
        // The incarnation's own files; what was set aside is nobody's any more.
        let of_use = |(name, length): &(String, u64)| {
            let aside = is_aside(name);
            // Nobody looks at it before a start: bits would add up in both copies.
            *length > 0 && !aside && !name.starts_with("identity")
        };
        let files: Vec<_> = files.into_iter().filter(of_use).collect();
        if files.is_empty() || self.storm.struck || !self.is_founded() {
            return false;
        }
        let (name, length) = &files[(draw % files.len() as u64) as usize];
        let byte = (draw >> 16) % length;
        let config = super::node::journal_config(&self.plan);
        let before = self.nodes[node].disk.would_find(&config);
        self.nodes[node].disk.flip(name, byte, bit as u8);
        let after = self.nodes[node].disk.would_find(&config);
        let torn = after.is_some_and(|(state, _)| state == LogState::Clean) && after != before;
        if torn {
            self.nodes[node].disk.flip(name, byte, bit as u8);
            return false;
        }
        self.storm.struck = true;
        self.group.excuse(node);
        self.note(Step::Fault, &[node as u64, byte, bit], || {
            format!("bit {bit} of byte {byte} of {name} of {node} turns")
        });
        true
    }

    fn strike_wipe(&mut self) -> bool {
        let node = self.victim();
        let wait = self.streams.faults.millis(20, 2_000);
        if !self.may_lose() {
            return false;
        }
        self.wipe(node);
        self.restart_after(node, wait);
        true
    }

    /// The process is killed and its volume replaced by a blank one.
    pub(crate) fn wipe(&mut self, node: usize) {
        self.crash(node, Crash::Kill);
        self.nodes[node].disk.wipe();
        self.group.excuse(node);
        self.note(Step::Fault, &[node as u64], || {
            format!("the volume of {node} is wiped")
        });
    }

    /// The last batch of a member that is down is damaged.
    pub(crate) fn damage_end(&mut self, node: usize) {
        self.damage(node, "the end of the journal", Disk::damage_end);
    }

    /// The batch behind that place, of a member that is down, is damaged.
    pub(crate) fn damage_behind(&mut self, node: usize, end: &(String, u64)) {
        self.damage(node, "a batch", |disk| disk.damage_behind(end));
    }

    /// The first file of that kind, of a member that is down, is damaged.
    pub(crate) fn damage_first(&mut self, node: usize, kind: &str) {
        self.damage(node, kind, |disk| disk.damage_first(kind));
    }

    fn damage(&mut self, node: usize, what: &str, damage: impl FnOnce(&mut Disk)) {
        assert!(
            !self.nodes[node].is_alive(),
            "what runs would have it in memory"
        );
        damage(&mut self.nodes[node].disk);
        self.group.excuse(node);
        self.note(Step::Fault, &[node as u64], || {
            format!("{what} of {node} is damaged")
        });
    }

    /// Now a snapshot, later a kill, then the volume goes back.
    fn strike_roll_back(&mut self) -> bool {
        let node = self.victim();
        let until_kill = self.streams.faults.millis(300, 5_000);
        if !self.may_lose() {
            return false;
        }
        self.storm.rolling = true;
        self.take_snapshot(node);
        let kill = until_kill;
        self.agenda
            .after(kill, Happening::Fault(Fault::RollBackNow(node)));
        true
    }

    fn take_snapshot(&mut self, node: usize) {
        self.storm.snapshot = Some(self.nodes[node].disk.snapshot());
    }

    /// First call: kill, and wait until the peers have stored what they heard. Second call: the
    /// volume goes back, if the peers remember enough to notice; else it just starts again.
    fn roll_back(&mut self, node: usize) {
        if self.storm.over {
            return;
        }
        if !self.nodes[node].disk.is_set_aside() {
            self.crash(node, Crash::Kill);
            self.nodes[node].disk.set_aside();
            self.agenda
                .after(MEMORY_STORED, Happening::Fault(Fault::RollBackNow(node)));
            return;
        }
        self.nodes[node].disk.take_back();
        self.storm.rolling = false;
        if self.peers_remember(node)
            && let Some(snapshot) = self.storm.snapshot.take()
        {
            self.roll_back_to(node, &snapshot);
        }
        self.restart_after(node, Duration::from_millis(5));
    }

    /// The volume of a member that is down goes back to a snapshot.
    pub(crate) fn roll_back_to(&mut self, node: usize, snapshot: &Volume) {
        assert!(
            !self.nodes[node].is_alive(),
            "a volume is rolled back under nobody's feet"
        );
        self.nodes[node].disk.restore(snapshot);
        self.group.excuse(node);
        self.note(Step::Fault, &[node as u64], || {
            format!("the volume of {node} goes back")
        });
    }

    /// True when every majority that the member could help to form has one that would accuse it.
    fn peers_remember(&self, node: usize) -> bool {
        let config = super::node::journal_config(&self.plan);
        let (promise, matched) = self.group.told(node);
        let Some(member) = self.group.last_view(node).map(|view| view.member) else {
            return false;
        };
        let forgetful = (0..self.nodes.len())
            .filter(|other| *other != node)
            .filter(|other| {
                let rows = self.nodes[*other].disk.surviving_witness(&config);
                !rows.iter().any(|row| {
                    row.incarnation == member.incarnation
                        && row.promise.epoch >= promise.epoch
                        && (row.matched.0.epoch, row.matched.1) >= (matched.0.epoch, matched.1)
                })
            })
            .count();
        forgetful + 1 < self.nodes.len() / 2 + 1
    }

    /// Everything that was taken away is given back; no fault strikes any more.
    pub(crate) fn settle(&mut self) {
        self.storm.over = true;
        self.storm.rolling = false;
        self.note(Step::Fault, &[0], || "faults are over".to_owned());
        self.net.heal_all(&mut self.agenda, &mut self.streams.net);
        self.lease_faults.away = 0;
        self.lease_faults.unknown = 0;
        for node in 0..self.nodes.len() {
            self.nodes[node].disk.take_back();
            self.nodes[node].disk.set_slow(1);
            self.nodes[node].disk.forgive();
            self.nodes[node].disk.set_room(None);
            self.unhang_disk(node);
            self.resume(node);
            if !self.nodes[node].is_alive() {
                self.restart_after(node, Duration::from_millis(20));
            }
        }
        for client in &mut self.clients {
            client.settle();
        }
        self.settled_at = Some(self.agenda.now());
    }
}
