//! `journal verify|dump`: looks at the volume of a stopped broker, and changes nothing.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use rustix::fs::{FlockOperation, flock};
use tandemmq_journal::{Inspection, inspect};
use tandemmq_model::{Offset, RecordKind};

use crate::cli::show::{self, say};
use crate::cli::{CliResult, show::table};
use crate::storage::FileStorage;

/// Options of `journal`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tandemmq journal verify ./cluster/a/a-0/data\n  tandemmq journal dump ./cluster/a/a-0/data --from 1000 --limit 20\n\nThe broker must be stopped. Nothing is changed: a start, or its peers, mend what is wrong."
)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Read every file, say what each holds, and end with 1 when something is damaged
    Verify(Verify),
    /// Print the records that are kept, one a line: offset, epoch, kind, bytes, beginning
    Dump(Dump),
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// Data folder of a broker, or the journal folder in it
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Dump {
    /// Data folder of a broker, or the journal folder in it
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// First offset to print
    #[arg(long, value_name = "OFFSET", default_value_t = 1)]
    from: u64,
    /// Print so many records at the most
    #[arg(long, value_name = "COUNT", default_value_t = 1_000)]
    limit: u64,
}

/// Looks.
pub(super) fn run(args: &Args) -> CliResult {
    match &args.what {
        What::Verify(args) => verify(args),
        What::Dump(args) => dump(args),
    }
}

/// The journal's folder, while no broker uses it.
fn open(dir: &Path) -> anyhow::Result<(FileStorage, Option<File>)> {
    let inner = dir.join("journal");
    let (data, journal) = if inner.is_dir() {
        (Some(dir), inner)
    } else {
        (dir.parent(), dir.to_owned())
    };
    if !journal.is_dir() {
        bail!("{}: no such folder", journal.display());
    }
    let lock = data.map(|data| File::open(data.join("lock")));
    let lock = match lock {
        Some(Ok(file)) => Some(file),
        _ => None, // Copied from somewhere: nobody uses it.
    };
    if let Some(file) = &lock
        && flock(file, FlockOperation::NonBlockingLockShared).is_err()
    {
        bail!("{}: a broker uses it; stop it first", dir.display());
    }
    let storage = FileStorage::open(&journal)
        .with_context(|| format!("cannot open {}", journal.display()))?;
    Ok((storage, lock))
}

fn verify(args: &Verify) -> CliResult {
    let (storage, _lock) = open(&args.dir)?;
    let mut records = 0_u64;
    let found = inspect(&storage, &mut |_, _, _, _| records += 1).map_err(|e| anyhow!(e))?;
    print_member(&found);
    let mut files = table(
        &["FILE", "WHAT", "FIRST", "LAST", "PARTS", "BYTES", "STATE"],
        &[2, 3, 4, 5],
    );
    for file in &found.files {
        let (first, last) = file.span.map_or_else(Default::default, |(first, last)| {
            (first.to_string(), last.to_string())
        });
        let note = file.note.as_ref().map(|note| format!("ok; {note}"));
        let state = file
            .problem
            .as_ref()
            .map(|problem| format!("DAMAGED: {problem}"));
        files.add_row([
            file.name.clone(),
            file.what.to_owned(),
            first,
            last,
            show::thousands(file.parts),
            show::thousands(file.bytes),
            state.or(note).unwrap_or_else(|| "ok".to_owned()),
        ]);
    }
    show::print_table(&files);
    for name in &found.aside {
        say!("set aside: {name}");
    }
    let problems = found.problems().count();
    say!(
        "{} records are kept; {problems} files are damaged",
        show::thousands(records)
    );
    Ok(if problems == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print_member(found: &Inspection) {
    match &found.identity {
        None => say!("no identity: the volume is blank, or nothing says whose it is"),
        Some(identity) => {
            let group = identity.group.as_ref().map(|group| group.id.to_string());
            say!(
                "member {} incarnation {} of group {}",
                identity.member.ordinal,
                identity.member.incarnation,
                group.as_deref().unwrap_or("none yet")
            );
        }
    }
    if let Some(control) = &found.control {
        say!(
            "promised {}, log state {:?}",
            control.promise,
            control.log_state
        );
    }
    let checkpoint = found.checkpoint.map(|at| at.to_string());
    say!(
        "checkpoint {}, log from {} to {}, synced for sure up to {}",
        checkpoint.as_deref().unwrap_or("none"),
        found.log.0.next(),
        found.log.1,
        found.durable
    );
}

fn dump(args: &Dump) -> CliResult {
    let (storage, _lock) = open(&args.dir)?;
    let (mut printed, mut open) = (0, true);
    inspect(&storage, &mut |_, offset, epoch, record| {
        if offset < Offset(args.from) || printed >= args.limit || !open {
            return;
        }
        printed += 1;
        let kind = RecordKind::from_u8(record.kind).map_or_else(
            || format!("kind {}", record.kind),
            |kind| format!("{kind:?}"),
        );
        let text = beginning(&record.body);
        open = show::line(&format!(
            "{offset} {epoch} {kind} {} {text}",
            record.body.len()
        ));
    })
    .map_err(|e| anyhow!(e))?;
    Ok(ExitCode::SUCCESS)
}

/// What can be read of a body, on one line.
fn beginning(body: &[u8]) -> String {
    const SHOWN: usize = 64;
    let shown = body.iter().take(SHOWN).map(|byte| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '.',
    });
    shown.collect()
}
