//! `recover`: after the loss of a majority, the survivor becomes a group of its own (row 19).
//!
//! Order: the lease is read, then everybody is asked; only when no majority answers the lease is
//! swapped at exactly that revision, and the volume is written last. An election that happened
//! meanwhile has changed the revision, so it refuses.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use rustix::fs::{FlockOperation, flock};
use tandemmq_cluster::lease::{Lease, LeaseAnswer, LeaseRecord, LeaseRequest, LeaseStore};
use tandemmq_cluster::{Survivor, look_at_survivor, recover_alone};
use tandemmq_journal::{Founding, JournalConfig};
use tandemmq_model::{BootNonce, Epoch, GroupId, Offset};

use crate::cli::show::say;
use crate::cli::{CliError, CliResult};
use crate::config::Config;
use crate::election::FileLease;
use crate::runtime::journal_config;
use crate::storage::FileStorage;
use crate::supervisor::cluster_file::{ClusterFile, GroupEntry};
use crate::supervisor::observe::observe;
use crate::supervisor::plan::broker_folder;

/// Options of `recover`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tandemmq recover --dir ./cluster --survivor a-0                       what would be lost; changes nothing\n  tandemmq recover --dir ./cluster --survivor a-0 --accept-data-loss    does it\n\nOnly after the loss of a majority of a group's volumes. Stop `tandemmq up` first, start it again\nafterwards: brokers with blank data folders then join the survivor by themselves. A broker that\nstill has a folder of the old group keeps out; move its data folder away to let it join."
)]
pub(super) struct Args {
    /// Folder of `tandemmq up`
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The broker whose volume is left
    #[arg(long, value_name = "NAME")]
    survivor: String,
    /// Yes: what the survivor does not hold is lost, whoever acknowledged it
    #[arg(long)]
    accept_data_loss: bool,
}

/// What the command works on.
struct Target {
    storage: FileStorage,
    journal: JournalConfig,
    lease: FileLease,
    _lock: File,
}

/// Recovers.
pub(super) async fn run(args: Args) -> CliResult {
    let cluster = ClusterFile::read(&args.dir)?;
    let Some((group, _)) = cluster.find(&args.survivor) else {
        let names: Vec<&str> = cluster
            .brokers()
            .map(|broker| broker.name.as_str())
            .collect();
        let text = format!(
            "--survivor {}: allowed are {}",
            args.survivor,
            names.join(", ")
        );
        return Err(CliError::Usage(text));
    };
    let group = group.clone();
    let mut target = open(&args, &group)?;
    let survivor = look_at_survivor(&target.storage, &target.journal)
        .map_err(|error| anyhow!("{}: {error}", args.survivor))?;
    let lease = read_lease(&mut target.lease)?;
    let new = new_group(&lease, &survivor)?;
    let answering = answering(&cluster, &group, &args.survivor).await;
    describe(&args, &group, &survivor);
    if answering.len() > group.brokers.len() / 2 {
        let text =
            "a majority of the group answers, so nothing is lost and nothing to be recovered";
        return Err(anyhow!("{text}: {}", answering.join(", ")).into());
    }
    if !args.accept_data_loss {
        let text = "nothing was changed; to go on, accept the loss with --accept-data-loss";
        return Err(CliError::Usage(text.to_owned()));
    }
    let seen = Epoch(lease.record.epoch.max(lease.record.master_epoch));
    let seen = seen.max(survivor.promised);
    swap_group(&mut target.lease, lease, new, &survivor, seen)?;
    let boot = BootNonce(getrandom::u64().context("the system gives no random bytes")?);
    let epoch = recover_alone(&target.storage, &target.journal, new, boot, seen)?;
    say!(
        "{} is the only voter of group {} (id {new}) in epoch {epoch}. Start it again: tandemmq up --dir {}",
        args.survivor,
        group.name,
        args.dir.display()
    );
    Ok(ExitCode::SUCCESS)
}

fn open(args: &Args, group: &GroupEntry) -> anyhow::Result<Target> {
    let folder = broker_folder(&args.dir, &group.name, &args.survivor);
    let config = Config::load(&folder.join("broker.toml"))?;
    let lock =
        lock(&config.data_dir).with_context(|| format!("{} must be stopped", args.survivor))?;
    let journal = config.data_dir.join("journal");
    let storage = FileStorage::open(&journal)
        .with_context(|| format!("cannot open the journal in {}", journal.display()))?;
    let lease = FileLease::open(&config.election.lease_dir, "recover")
        .with_context(|| format!("cannot use {}", config.election.lease_dir.display()))?;
    Ok(Target {
        storage,
        journal: journal_config(&config),
        lease,
        _lock: lock,
    })
}

/// The broker's own lock: it is not running, and does not start meanwhile.
fn lock(data_dir: &Path) -> anyhow::Result<File> {
    if !data_dir.is_dir() {
        bail!("{}: no such folder", data_dir.display());
    }
    let file = File::create(data_dir.join("lock"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => bail!("a broker uses {}", data_dir.display()),
    }
}

fn read_lease(store: &mut FileLease) -> anyhow::Result<Lease> {
    match store.call(LeaseRequest::Read) {
        LeaseAnswer::Ok(lease) => Ok(lease),
        other => bail!("the lease cannot be read: {other:?}"),
    }
}

/// A new id; the one of a recovery that was begun and did not end.
fn new_group(lease: &Lease, survivor: &Survivor) -> anyhow::Result<GroupId> {
    match &lease.record.group {
        Some(group) if group.id == survivor.group => {
            let mut bytes = [0; 16];
            getrandom::fill(&mut bytes).context("the system gives no random bytes")?;
            Ok(GroupId(u128::from_ne_bytes(bytes)))
        }
        Some(group) if group.members == [survivor.member] => Ok(group.id),
        Some(group) => bail!(
            "the lease belongs to group {}, this volume to {}: it is not the survivor",
            group.id,
            survivor.group
        ),
        None => bail!("the lease names no group: start the group once, so that it is written back"),
    }
}

/// Brokers that answer and could be part of a quorum.
async fn answering(cluster: &ClusterFile, group: &GroupEntry, survivor: &str) -> Vec<String> {
    let view = observe(cluster).await;
    let group = view.groups.into_iter().find(|seen| seen.name == group.name);
    let brokers = group.map(|group| group.brokers).unwrap_or_default();
    let could = brokers.into_iter().filter(|broker| {
        let status = broker.status.as_ref();
        broker.entry.name != survivor
            && status.is_some_and(|status| status.group_id.is_some() && status.log_state == "clean")
    });
    could.map(|broker| broker.entry.name).collect()
}

fn describe(args: &Args, group: &GroupEntry, survivor: &Survivor) {
    let (epoch, last) = survivor.last;
    say!(
        "{} holds the log of group {} up to offset {last} (epoch {epoch}), log state {:?}",
        args.survivor,
        group.name,
        survivor.log_state
    );
    let most = survivor.others.iter().map(|(_, offset)| *offset).max();
    let most = most.unwrap_or(Offset::ZERO);
    for (member, offset) in &survivor.others {
        let name = group.brokers.get(usize::from(member.ordinal));
        let name = name.map_or("a former broker", |broker| broker.name.as_str());
        say!("  {name} was last heard to have {offset}");
    }
    if most > last {
        let count = most.0 - last.0;
        say!(
            "Lost for sure: {count} records that others have acknowledged and {} lacks.",
            args.survivor
        );
    }
    say!(
        "Lost perhaps: whatever the others acknowledged after {} heard of them last.",
        args.survivor
    );
}

/// The swap names the revision that was read before anybody was asked.
fn swap_group(
    store: &mut FileLease,
    lease: Lease,
    new: GroupId,
    survivor: &Survivor,
    seen: Epoch,
) -> anyhow::Result<()> {
    if lease
        .record
        .group
        .as_ref()
        .is_some_and(|group| group.id == new)
    {
        return Ok(()); // Swapped by a recovery that did not end.
    }
    let record = LeaseRecord {
        holder: String::new(),
        epoch: seen.0 + 1,
        handover_to: String::new(),
        promote_to: String::new(),
        group_proposal: None,
        group: Some(Founding {
            id: new,
            members: vec![survivor.member],
        }),
        ..lease.record
    };
    let swap = LeaseRequest::Swap {
        uid: lease.uid,
        revision: lease.revision,
        record,
    };
    match store.call(swap) {
        LeaseAnswer::Ok(_) => Ok(()),
        LeaseAnswer::Conflict => {
            bail!("the lease has changed meanwhile: somebody lives. Nothing was changed")
        }
        other => bail!("the lease cannot be written: {other:?}. Nothing was changed"),
    }
}

#[cfg(test)]
mod tests {
    use tandemmq_model::{Incarnation, MemberId};

    use super::*;
    use crate::testing::TempDir;

    const OLD: GroupId = GroupId(1);
    const NEW: GroupId = GroupId(2);

    fn survivor() -> Survivor {
        Survivor {
            member: MemberId {
                ordinal: 1,
                incarnation: Incarnation(7),
            },
            group: OLD,
            log_state: tandemmq_journal::LogState::Clean,
            last: (Epoch(3), Offset(9)),
            promised: Epoch(3),
            others: Vec::new(),
        }
    }

    /// A lease of the old group.
    fn lease_of(folder: &Path) -> FileLease {
        let mut store = FileLease::open(folder, "test").unwrap();
        let lease = read_lease(&mut store).unwrap();
        let group = Founding {
            id: OLD,
            members: vec![survivor().member],
        };
        swap(&mut store, lease, |record| record.group = Some(group));
        store
    }

    fn swap(store: &mut FileLease, lease: Lease, change: impl FnOnce(&mut LeaseRecord)) {
        let mut record = lease.record;
        change(&mut record);
        let answer = store.call(LeaseRequest::Swap {
            uid: lease.uid,
            revision: lease.revision,
            record,
        });
        assert!(matches!(answer, LeaseAnswer::Ok(_)), "{answer:?}");
    }

    #[test]
    fn h35_a_lease_that_an_election_changed_is_not_swapped() {
        let temp = TempDir::new();
        let mut store = lease_of(temp.path());
        let read = read_lease(&mut store).unwrap();
        // The others come back and elect, after they were asked and before the swap.
        let now = read_lease(&mut store).unwrap();
        swap(&mut store, now, |record| record.epoch = 4);
        let refused = swap_group(&mut store, read, NEW, &survivor(), Epoch(3));
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("somebody lives"), "{text}");
        let after = read_lease(&mut store).unwrap().record;
        assert_eq!((after.group.unwrap().id, after.epoch), (OLD, 4));
    }

    #[test]
    fn a_swap_that_was_done_is_not_done_again() {
        let temp = TempDir::new();
        let mut store = lease_of(temp.path());
        let read = read_lease(&mut store).unwrap();
        assert_ne!(new_group(&read, &survivor()).unwrap(), OLD);
        swap_group(&mut store, read, NEW, &survivor(), Epoch(3)).unwrap();
        let after = read_lease(&mut store).unwrap();
        assert_eq!(after.record.epoch, 4, "above everything seen");
        // It died before it wrote the volume: the same id again, and nothing to swap.
        assert_eq!(new_group(&after, &survivor()).unwrap(), NEW);
        let revision = after.revision.clone();
        swap_group(&mut store, after, NEW, &survivor(), Epoch(3)).unwrap();
        assert_eq!(read_lease(&mut store).unwrap().revision, revision);
    }
}
