//! `promote`: asks the group, by its lease, to make a broker master.
//!
//! The wish is one field of the lease, written by compare-and-swap; the reigning master reads it
//! and hands over. So whoever may write the lease folder may promote, and nobody else.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use tandemmq_cluster::lease::{LeaseAnswer, LeaseRecord, LeaseRequest, LeaseStore};

use crate::cli::show::say;
use crate::cli::{CliError, CliResult, parse_duration, show};
use crate::election::FileLease;
use crate::supervisor::cluster_file::ClusterFile;
use crate::supervisor::local_group::describe;
use crate::supervisor::observe::{GroupView, observe};
use crate::supervisor::plan::lease_folder;

/// The master renews the lease every two seconds or so; losing to it this often means that
/// something else is wrong.
const SWAPS_MAX: u32 = 20;

/// Between two looks at the group.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Options of `promote`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tandemmq promote --dir ./cluster --broker a-1\n  tandemmq promote --dir ./cluster --broker a-1 --timeout 30s\n\nRefused while a broker of the group is away or behind: every one of them may be needed."
)]
pub(super) struct Args {
    /// Folder of `tandemmq up`
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The broker to make master
    #[arg(long, value_name = "NAME")]
    broker: String,
    /// Give up after so long
    #[arg(long, default_value = "15s", value_parser = parse_duration)]
    timeout: Duration,
}

/// Promotes.
pub(super) async fn run(args: Args) -> CliResult {
    let cluster = ClusterFile::read(&args.dir)?;
    let Some((group, _)) = cluster.find(&args.broker) else {
        let names: Vec<&str> = cluster
            .brokers()
            .map(|broker| broker.name.as_str())
            .collect();
        let text = format!("--broker {}: allowed are {}", args.broker, names.join(", "));
        return Err(CliError::Usage(text));
    };
    let group = group.name.clone();
    let view = look(&args, &group).await?;
    if view.master.as_ref() == Some(&args.broker) {
        say!("{} is master already", args.broker);
        return Ok(ExitCode::SUCCESS);
    }
    if !view.is_whole() {
        let text = "not every broker of the group is in step, so it may be needed where it is";
        return Err(anyhow!("{text}: {}", describe(&view)).into());
    }
    let mut lease = FileLease::open(&lease_folder(&args.dir, &group), "promote")?;
    let begun = Instant::now();
    ask(&mut lease, &args.broker)?;
    match wait(&args, &group, begun).await {
        Ok(view) => {
            let epoch = view
                .master_view()
                .and_then(|master| master.epoch)
                .unwrap_or_default();
            let time = show::duration(begun.elapsed());
            say!(
                "{} is master of group {group} in epoch {epoch} after {time}",
                args.broker
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            withdraw(&mut lease, &args.broker);
            Err(error.into())
        }
    }
}

async fn look(args: &Args, group: &str) -> anyhow::Result<GroupView> {
    let cluster = ClusterFile::read(&args.dir)?;
    let view = observe(&cluster).await;
    let found = view.groups.into_iter().find(|view| view.name == group);
    found.ok_or_else(|| anyhow!("group {group} has gone from cluster.json"))
}

async fn wait(args: &Args, group: &str, begun: Instant) -> anyhow::Result<GroupView> {
    loop {
        let view = look(args, group).await?;
        if view.master.as_ref() == Some(&args.broker) {
            return Ok(view);
        }
        if begun.elapsed() > args.timeout {
            let now = describe(&view);
            bail!(
                "{} is not master after {:?}; the group is: {now}",
                args.broker,
                args.timeout
            );
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

/// Writes the wish.
fn ask(lease: &mut impl LeaseStore, broker: &str) -> anyhow::Result<()> {
    change(lease, |record| {
        let asked = record.promote_to != broker;
        record.promote_to = broker.to_owned();
        asked
    })
}

/// Takes the wish back, unless it is another one by now. What cannot be done is said.
fn withdraw(lease: &mut impl LeaseStore, broker: &str) {
    let result = change(lease, |record| {
        let ours = record.promote_to == broker;
        if ours {
            record.promote_to.clear();
        }
        ours
    });
    if let Err(error) = result {
        eprintln!("the wish stays in the lease: {error:#}");
    }
}

/// Changes the record by compare-and-swap until it is as wanted; `edit` says whether there was
/// anything to change.
fn change(
    lease: &mut impl LeaseStore,
    edit: impl Fn(&mut LeaseRecord) -> bool,
) -> anyhow::Result<()> {
    for _ in 0..SWAPS_MAX {
        let mut current = match lease.call(LeaseRequest::Read) {
            LeaseAnswer::Ok(current) => current,
            LeaseAnswer::Unavailable(text) => bail!("the lease cannot be read: {text}"),
            LeaseAnswer::Conflict | LeaseAnswer::Unknown => continue,
        };
        if !edit(&mut current.record) {
            return Ok(());
        }
        let swap = LeaseRequest::Swap {
            uid: current.uid,
            revision: current.revision,
            record: current.record,
        };
        match lease.call(swap) {
            LeaseAnswer::Ok(_) => return Ok(()),
            // Unknown: the next read tells whether it was written.
            LeaseAnswer::Conflict | LeaseAnswer::Unknown => {}
            LeaseAnswer::Unavailable(text) => bail!("the lease cannot be written: {text}"),
        }
    }
    bail!("the lease changed {SWAPS_MAX} times meanwhile; try again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::temp_folder::TempFolder;

    /// Answers as told before it passes a call on.
    struct Flaky {
        inner: FileLease,
        answers: Vec<LeaseAnswer>,
    }

    impl LeaseStore for Flaky {
        fn call(&mut self, request: LeaseRequest) -> LeaseAnswer {
            match (request, self.answers.pop()) {
                (LeaseRequest::Swap { .. }, Some(answer)) => answer,
                (request, _) => self.inner.call(request),
            }
        }
    }

    fn record(lease: &mut impl LeaseStore) -> LeaseRecord {
        match lease.call(LeaseRequest::Read) {
            LeaseAnswer::Ok(lease) => lease.record,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_wish_is_written_past_conflicts_and_unknown_answers_and_keeps_the_rest() {
        let folder = TempFolder::create("promote").unwrap();
        let mut inner = FileLease::open(folder.path(), "test").unwrap();
        change(&mut inner, |record| {
            record.epoch = 7;
            true
        })
        .unwrap();
        // Every call takes one answer off the list, reads included.
        let answers = vec![
            LeaseAnswer::Conflict,
            LeaseAnswer::Conflict,
            LeaseAnswer::Unknown,
            LeaseAnswer::Unknown,
        ];
        let mut lease = Flaky { inner, answers };
        ask(&mut lease, "a-1").unwrap();
        let record = record(&mut lease);
        assert_eq!((record.promote_to.as_str(), record.epoch), ("a-1", 7));
    }

    #[test]
    fn a_wish_is_taken_back_unless_it_is_another_one() {
        let folder = TempFolder::create("promote").unwrap();
        let mut lease = FileLease::open(folder.path(), "test").unwrap();
        ask(&mut lease, "a-1").unwrap();
        withdraw(&mut lease, "a-2");
        assert_eq!(record(&mut lease).promote_to, "a-1");
        withdraw(&mut lease, "a-1");
        assert_eq!(record(&mut lease).promote_to, "");
    }

    #[test]
    fn a_lease_that_is_away_is_an_error() {
        struct Away;
        impl LeaseStore for Away {
            fn call(&mut self, _: LeaseRequest) -> LeaseAnswer {
                LeaseAnswer::Unavailable("no folder".into())
            }
        }
        assert!(
            ask(&mut Away, "a-1")
                .unwrap_err()
                .to_string()
                .contains("no folder")
        );
    }
}
