//! Row 19: the one volume that is left of a group becomes a group of its own, by hand.
//!
//! ```text
//!   caller: Lease read -> nobody answers -> Lease swapped at that version, group old -> new
//!   here:   promise above every one seen, Config {survivor} -> D; identity -> D
//! ```
//! The volume is last: a swap that is refused has cost nothing. Done again after a crash it ends the
//! same. What the survivor does not hold is lost, whoever acknowledged it; what it holds is kept,
//! committed or not.

use tandemmq_journal::{
    BatchBuilder, DiskWorker, Founding, Identity, Journal, JournalConfig, JournalEvent, LogState,
    RecoverError, Recovered, Storage, recover,
};
use tandemmq_model::{Ballot, BootNonce, Epoch, GroupId, MemberId, Now, Offset, Time};

use crate::config_record;
use crate::group::configs_of;
use crate::group::quorum::Voters;

/// What a volume holds, before anything is done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survivor {
    /// Who it is.
    pub member: MemberId,
    /// Its group.
    pub group: GroupId,
    /// May its log be trusted?
    pub log_state: LogState,
    /// Its last record.
    pub last: (Epoch, Offset),
    /// The greatest epoch that it or anybody it heard of has promised.
    pub promised: Epoch,
    /// What each other member was heard to have on its disk at the most.
    pub others: Vec<(MemberId, Offset)>,
}

/// Why a volume cannot be recovered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecoverAloneError {
    /// There is nothing in it.
    #[error("the volume is blank: it holds nothing to recover")]
    Blank,
    /// It was never in a group.
    #[error("the volume has no group yet")]
    NoGroup,
    /// It has no vote, for a reason.
    #[error("the log is {0:?}: choose a survivor whose log is Clean")]
    NotClean(LogState),
    /// It cannot be read.
    #[error("{0}")]
    Journal(#[from] RecoverError),
    /// It cannot be written.
    #[error("{0}")]
    Disk(String),
}

/// What the volume of a stopped broker holds.
pub fn look_at_survivor<S: Storage>(
    storage: &S,
    config: &JournalConfig,
) -> Result<Survivor, RecoverAloneError> {
    let recovered = recover(storage, config)?.ok_or(RecoverAloneError::Blank)?;
    survivor_of(config, &recovered)
}

fn survivor_of(
    config: &JournalConfig,
    recovered: &Recovered,
) -> Result<Survivor, RecoverAloneError> {
    let identity = &recovered.identity;
    let group = identity.group.as_ref().ok_or(RecoverAloneError::NoGroup)?;
    let journal = Journal::new(config.clone(), recovered.clone());
    let heard = recovered.witness.iter().map(|row| row.promise.epoch);
    let own = [recovered.control.promise.epoch, journal.last_epoch()];
    let voters = configs_of(recovered, identity);
    let voters = voters.last().map(|(_, voters)| voters.members().to_vec());
    let others = voters.unwrap_or_default().into_iter();
    let others = others
        .filter(|member| *member != identity.member)
        .map(|member| {
            let row = recovered
                .witness
                .iter()
                .find(|row| row.incarnation == member.incarnation);
            (member, row.map_or(Offset::ZERO, |row| row.matched.1))
        });
    Ok(Survivor {
        member: identity.member,
        group: group.id,
        log_state: recovered.control.log_state,
        last: (journal.last_epoch(), journal.appended()),
        promised: heard.chain(own).max().unwrap_or_default(),
        others: others.collect(),
    })
}

/// Makes the volume the only voter of that new group, in an epoch above everything seen.
pub fn recover_alone<S: Storage>(
    storage: &S,
    config: &JournalConfig,
    new_group: GroupId,
    boot: BootNonce,
    seen: Epoch,
) -> Result<Epoch, RecoverAloneError> {
    let recovered = recover(storage, config)?.ok_or(RecoverAloneError::Blank)?;
    let survivor = survivor_of(config, &recovered)?;
    if survivor.log_state != LogState::Clean {
        return Err(RecoverAloneError::NotClean(survivor.log_state));
    }
    let member = survivor.member;
    let epoch = Epoch(survivor.promised.max(seen).0 + 1);
    let generation = configs_of(&recovered, &recovered.identity)
        .last()
        .map_or(0, |(_, voters)| voters.generation());
    let mut disk = Disk {
        worker: DiskWorker::new(storage.clone(), config.clone(), &recovered),
        journal: Journal::new(config.clone(), recovered),
    };
    let mut control = *disk.journal.control();
    control.promise = Ballot {
        epoch,
        member,
        boot,
    };
    disk.journal.store_control(control);
    let crc = disk
        .journal
        .last_crc()
        .expect("a log at rest knows its end");
    let (format, base) = (disk.journal.format(), disk.journal.appended().next());
    let mut batch = BatchBuilder::of_format(format, epoch, base, crc);
    let alone = Voters::of(generation + 1, vec![member], Vec::new());
    batch.push(&config_record::to_record(&alone));
    disk.journal.append(batch.finish());
    disk.settle()?;
    let before = disk.journal.identity().clone();
    let former = before
        .former
        .iter()
        .copied()
        .chain(before.group.map(|group| group.id));
    let identity = Identity {
        former: former.filter(|group| *group != new_group).collect(),
        group: Some(Founding {
            id: new_group,
            members: vec![member],
        }),
        ..disk.journal.identity().clone()
    };
    disk.journal.store_identity(identity);
    disk.settle()?;
    Ok(epoch)
}

/// A journal and its disk thread, in one hand.
struct Disk<S> {
    journal: Journal,
    worker: DiskWorker<S>,
}

impl<S: Storage> Disk<S> {
    /// Everything that was asked is on the disk.
    fn settle(&mut self) -> Result<(), RecoverAloneError> {
        let now = Now {
            boot: Time::from_millis(1),
            wall_ms: 0,
        };
        let wanted = self.journal.appended();
        while let Some(op) = self.journal.poll_op(now) {
            let done = self.worker.execute(op);
            self.journal.handle_done(now, done);
            while let Some(event) = self.journal.poll_event() {
                if let JournalEvent::Fatal(reason) = event {
                    return Err(RecoverAloneError::Disk(reason));
                }
            }
        }
        if self.journal.synced() < wanted {
            return Err(RecoverAloneError::Disk("no room for one record".to_owned()));
        }
        Ok(())
    }
}
