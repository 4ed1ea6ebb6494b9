//! A journal against a list of batches: random appends, cuts, promises, syncs, kills and power cuts.
//!
//! What must hold: what was told as synced is there after every crash, unless it was cut since; a
//! promise that was told as stored is there or a later one; what is there is a prefix of what was
//! appended, batch for batch; a batch that was cut does not come back once the cut is done; the
//! member is never taken for damaged.

use std::time::Duration;

use tandemmq_model::{Epoch, Offset};

#[cfg(feature = "mutants")]
use super::damage;
use super::testing::{Member, Rng, config, promised};
use crate::{Batch, DiskOp, JournalConfig, JournalEvent, LogState};

/// The log as it should be, and what was said of it.
struct Reference {
    batches: Vec<Batch>,
    /// The log before each cut that may not be done yet: until then it may come back.
    before_cuts: Vec<Vec<Batch>>,
    /// Tickets of promises: epoch and ticket, oldest first.
    promises: Vec<(u64, u64)>,
    synced: Offset,
    stored: u64,
    epoch: u64,
}

struct Walk {
    rng: Rng,
    member: Option<Member>,
    out: Option<DiskOp>,
    is: Reference,
    crashes: u64,
    cuts: u64,
    rolls: usize,
}

fn end(batches: &[Batch]) -> Offset {
    batches.last().map_or(Offset::ZERO, Batch::last)
}

impl Walk {
    fn new(seed: u64) -> Self {
        let config = JournalConfig {
            tail_bytes_max: 20_000,
            ..config(1 << 16)
        };
        let is = Reference {
            batches: Vec::new(),
            before_cuts: Vec::new(),
            promises: Vec::new(),
            synced: Offset::ZERO,
            stored: 0,
            epoch: 1,
        };
        let member = Some(Member::new(config));
        Self {
            rng: Rng::new(seed),
            member,
            out: None,
            is,
            crashes: 0,
            cuts: 0,
            rolls: 0,
        }
    }

    fn member(&mut self) -> &mut Member {
        self.member
            .as_mut()
            .expect("there is one between two steps")
    }

    fn step(&mut self) -> Result<(), String> {
        match self.rng.below(100) {
            0..35 => self.append(),
            35..40 => self.cut(),
            40..45 => self.promise(),
            45..48 => self.pass(),
            48..70 => self.poll(),
            70..94 => self.finish()?,
            94..97 => self.crash(false)?,
            _ => self.crash(true)?,
        }
        Ok(())
    }

    fn append(&mut self) {
        // A log after a deep cut knows its end only when the disk has done it.
        let Some(_) = self.member().journal.last_crc() else {
            return;
        };
        let length = if self.rng.below(30) == 0 {
            100_000
        } else {
            self.rng.below(3_000)
        };
        let body = vec![self.rng.next() as u8; length as usize];
        let bodies: Vec<&[u8]> = (0..=self.rng.below(3)).map(|_| &body[..]).collect();
        let epoch = self.is.epoch;
        let batch = self.member().extend(epoch, &bodies);
        self.is.batches.push(batch);
    }

    fn cut(&mut self) {
        if self.is.batches.is_empty() {
            return;
        }
        let keep = self.rng.below(self.is.batches.len() as u64) as usize;
        let keep = keep.max(self.is.batches.len().saturating_sub(6));
        self.is.before_cuts.push(self.is.batches.clone());
        self.is.batches.truncate(keep);
        let to = end(&self.is.batches);
        self.is.synced = self.is.synced.min(to);
        self.is.epoch += 1;
        self.cuts += 1;
        self.promise();
        self.member().journal.cut(to);
    }

    fn promise(&mut self) {
        self.is.epoch += self.rng.below(2);
        let epoch = self.is.epoch;
        let ticket = self.member().journal.store_control(promised(epoch));
        self.is.promises.push((epoch, ticket));
    }

    /// Time passes: the durable mark comes due.
    fn pass(&mut self) {
        let member = self.member();
        member.now.boot = member.now.boot + Duration::from_millis(700);
        member.journal.handle_timeout(member.now);
    }

    fn poll(&mut self) {
        if self.out.is_none() {
            self.out = self.member().poll();
        }
    }

    fn finish(&mut self) -> Result<(), String> {
        let Some(op) = self.out.take() else {
            return Ok(());
        };
        let cut_done = op.ends_a_cut();
        let member = self.member();
        member.finish(op);
        let events = std::mem::take(&mut member.events);
        let idle = member.journal.is_idle();
        for event in events {
            match event {
                JournalEvent::Synced(to) => self.is.synced = to,
                JournalEvent::Stored(ticket) => self.is.stored = ticket,
                JournalEvent::Fatal(reason) => return Err(format!("fatal: {reason}")),
                other => return Err(format!("nobody asked for {other:?}")),
            }
        }
        if cut_done && idle {
            self.is.before_cuts.clear();
        }
        let (synced, appended) = (self.is.synced, end(&self.is.batches));
        (synced <= appended)
            .then_some(())
            .ok_or_else(|| format!("{synced} synced, {appended} appended"))
    }

    fn crash(&mut self, power: bool) -> Result<(), String> {
        self.crashes += 1;
        let mut member = self.member.take().expect("there is one between two steps");
        if let Some(op) = self.out.take() {
            // It dies somewhere inside of what was out, or just after.
            let calls = self.rng.below(16);
            member.disk.stop_after(Some(calls));
            member.finish(op);
            member.disk.stop_after(None);
        }
        self.rolls += member.disk_names("journal");
        let rng = &mut self.rng;
        let member = if power {
            member.power_cut(&mut || rng.next())
        } else {
            member.killed()
        };
        self.judge(&member)?;
        self.is.batches = member.log();
        self.is.before_cuts.clear();
        self.is.synced = member.journal.synced();
        let promise = member.journal.control().promise.epoch;
        self.is.promises = vec![(promise.0, 0)];
        self.is.stored = 0;
        self.is.epoch = self.is.epoch.max(promise.0) + 1;
        self.member = Some(member);
        Ok(())
    }

    /// What a start found, against what was said before.
    fn judge(&self, member: &Member) -> Result<(), String> {
        if member.journal.control().log_state != LogState::Clean {
            return Err(format!(
                "taken for {:?}",
                member.journal.control().log_state
            ));
        }
        let found = member.log();
        if end(&found) < self.is.synced {
            return Err(format!(
                "{} was synced, {} is left",
                self.is.synced,
                end(&found)
            ));
        }
        let is_prefix = |of: &Vec<Batch>| of.starts_with(&found);
        if !is_prefix(&self.is.batches) && !self.is.before_cuts.iter().any(is_prefix) {
            return Err(format!("{} batches, not those of the log", found.len()));
        }
        let told = self
            .is
            .promises
            .iter()
            .rfind(|(_, ticket)| *ticket <= self.is.stored);
        let promise = member.journal.control().promise.epoch;
        match told {
            Some((epoch, _)) if promise < Epoch(*epoch) => Err(format!(
                "promise {epoch} was told as stored, {promise} is left"
            )),
            _ => Ok(()),
        }
    }
}

fn walk(seed: u64, steps: usize) -> Result<Walk, String> {
    let mut walk = Walk::new(seed);
    for step in 0..steps {
        walk.step()
            .map_err(|what| format!("seed {seed}, step {step}: {what}"))?;
    }
    walk.crash(true)
        .map_err(|what| format!("seed {seed}, at the end: {what}"))?;
    Ok(walk)
}

#[test]
fn a_journal_keeps_what_it_said_through_every_crash() {
    let (mut crashes, mut cuts, mut rolls) = (0, 0, 0);
    for seed in 0..60 {
        let walk = walk(seed, 400).unwrap_or_else(|what| panic!("{what}"));
        crashes += walk.crashes;
        cuts += walk.cuts;
        rolls += walk.rolls;
    }
    assert!(
        crashes > 500 && cuts > 300 && rolls > 1000,
        "an idle walk: {crashes} {cuts} {rolls}"
    );
}

/// Each seeded fault of the journal is noticed by these claims (`--features mutants`).
#[cfg(feature = "mutants")]
#[test]
fn every_seeded_fault_is_noticed() {
    use crate::mutants::{self, Mutant};
    let noticed = |mutant| match mutant {
        Mutant::UnsureTailTrusted => {
            by_claim(damage::the_unsure_tail_is_on_the_disk_before_it_counts)
        }
        Mutant::DamageTakenForTornTail => {
            by_claim(damage::damage_below_the_mark_is_stored_first_and_nothing_is_cut_away)
        }
        _ => (0..400).find_map(|seed| match std::panic::catch_unwind(|| walk(seed, 400)) {
            Ok(walked) => walked.err(),
            Err(_) => Some(format!("seed {seed}: panic")),
        }),
    };
    for mutant in Mutant::ALL.into_iter().chain(Mutant::OWN) {
        mutants::set(Some(mutant));
        let caught = noticed(mutant);
        mutants::set(None);
        println!("{mutant:?}: {caught:?}");
        assert!(caught.is_some(), "{mutant:?} is not noticed");
    }
}

#[cfg(feature = "mutants")]
fn by_claim(claim: fn()) -> Option<String> {
    std::panic::catch_unwind(claim)
        .err()
        .map(|_| "a claim of `damage` fails".to_owned())
}
