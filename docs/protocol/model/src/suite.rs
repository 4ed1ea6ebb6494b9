//! The suite: the protocol holds, and every weakening of it is caught.
//!
//! A row is what must come out and the command that must give it. `hard` judges by the damage alone,
//! not by the inner invariants. The small suite is what `make test` runs.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use crate::args::Args;
use crate::explore::{self, Outcome};
use crate::{founding, group};

const HOLDS: &str = "complete, no violation";

/// In both suites, then in the whole one only.
const SMALL: &[(&str, &str)] = &[
    (HOLDS, "check 3 2 1"),
    // Unique while the Lease never forgets, and broken by one lost annotation.
    (HOLDS, "check 3 2 1 lease=0 mut=bynumber"),
    ("VIOLATED", "check 3 2 1 lease=1 mut=bynumber"),
    ("VIOLATED", "check 3 2 1 hard mut=nosync"),
    ("VIOLATED", "check 3 2 1 hard mut=nosync_self"),
    ("VIOLATED", "check 3 2 1 hard mut=skiprec"),
    ("VIOLATED", "check 3 2 1 hard mut=masterkeeps"),
    ("VIOLATED", "check 3 2 1 hard mut=ackold"),
    ("VIOLATED", "check 3 2 1 hard mut=nofence"),
    ("VIOLATED", "check 3 2 1 hard mut=truncdup"),
    ("VIOLATED", "check 3 2 1 hard mut=ackunsynced"),
    ("VIOLATED", "check 3 2 1 hard mut=selfunsynced"),
    ("VIOLATED", "check 3 2 1 hard mut=applyunmatched"),
    ("VIOLATED", "check 3 2 1 hard mut=amnesia"),
    ("VIOLATED", "check 3 3 0 hard mut=nolower"),
    ("VIOLATED", "check 3 3 0 hard mut=ackunverified"),
    ("VIOLATED", "check 3 3 0 mut=fetchnotag"),
    ("VIOLATED", "check 4 2 0 reconfig hard mut=ordinal"),
    // Damaged journals, remembered acks.
    (HOLDS, "check 3 2 0 corr=1"),
    ("VIOLATED", "check 3 2 1 corr=1 hard mut=fetchdamaged"),
    ("VIOLATED", "check 3 2 1 corr=1 hard mut=repairvotes"),
    ("VIOLATED W1", "check 3 2 1 witness mut=nocutmark"),
    // From every state: a quorum that is up gets a master, can hand over, gets everybody into step.
    (HOLDS, "live 3 2 0 prevote unanimous"),
    ("VIOLATED L2", "live 3 2 0 mut=exitearly"),
    ("VIOLATED L3", "live 3 2 0 corr=1 mut=cleannever"),
    ("VIOLATED L4", "live 3 2 0 prevote mut=norefusal"),
    ("VIOLATED L4", "live 3 2 0 prevote mut=refusehigher"),
    // Founding and identity.
    (
        HOLDS,
        "founding 3 1 2 faults=5 nobackup noshelf nosnap asks=1",
    ),
    (HOLDS, "founding 1 2 2 faults=2"),
    (
        "VIOLATED F2",
        "founding 3 2 1 faults=1 nobackup noshelf mut=keepname",
    ),
    (
        "VIOLATED F2",
        "founding 3 2 1 faults=1 nobackup noshelf mut=byordinal",
    ),
    (
        "VIOLATED F2",
        "founding 3 2 1 faults=1 nobackup noshelf mut=nouid",
    ),
    (
        "VIOLATED F2",
        "founding 3 2 1 faults=1 nobackup noshelf mut=configmap",
    ),
    (
        "VIOLATED F2",
        "founding 3 2 1 faults=1 nobackup noshelf mut=stamplate",
    ),
    (
        "VIOLATED F",
        "founding 3 1 2 faults=4 nobackup noshelf nosnap asks=1 mut=noconfirm",
    ),
    (
        "VIOLATED F",
        "founding 3 1 2 faults=4 nobackup noshelf nosnap asks=1 mut=firstbymajority",
    ),
    (
        "VIOLATED F0",
        "founding 3 1 2 faults=2 nobackup noshelf nosnap mut=noconfirm,firstbymajority,leaseblind",
    ),
    (
        "VIOLATED F0",
        "founding 3 1 2 faults=1 nobackup noshelf nosnap \
         mut=noconfirm,firstbymajority,leaseblind,blindcas",
    ),
    // Blank volumes that join, a recovered group that grows.
    (HOLDS, "check 4 1 0 join"),
    (HOLDS, "check 3 2 0 grow"),
    (HOLDS, "live 2 2 1 grow"),
    ("VIOLATED L1", "live 2 2 0 grow mut=cleanlate"),
    ("VIOLATED L1", "live 2 2 0 grow mut=ackunclean"),
    ("VIOLATED L1", "live 2 2 0 grow mut=nocatchup"),
    ("VIOLATED L1", "live 4 1 0 join mut=cleanlate"),
    ("VIOLATED I1", "check 4 2 0 join hard mut=joinagain"),
    ("VIOLATED I5", "check 3 3 1 grow mut=lowepoch"),
    // A volume rolled back in place: accused, formatted anew, back as another member.
    (HOLDS, "live 4 1 0 rollback=1"),
    ("VIOLATED I1", "check 4 2 0 rollback=1 hard mut=nowitness"),
    (
        "VIOLATED I1",
        "check 4 2 0 rollback=1 hard mut=nopromisememory",
    ),
    ("VIOLATED I7", "check 4 2 0 rollback=1 hard mut=noackmemory"),
    (
        "VIOLATED I7",
        "check 4 2 0 rollback=1 hard mut=masterforgets",
    ),
    (
        "VIOLATED I1",
        "check 4 2 0 rollback=1 hard mut=accusedvotes",
    ),
    (
        "VIOLATED S",
        "check 4 1 1 rollback=1 corr=1 mut=formatearly",
    ),
    ("VIOLATED L1", "live 4 1 0 rollback=1 mut=formatkeeps"),
    (
        "VIOLATED W1",
        "check 3 2 1 corr=1 witness mut=accusedamaged",
    ),
    // Recovered by hand.
    (
        HOLDS,
        "founding 3 3 2 faults=2 recover nobackup noshelf nosnap",
    ),
    (
        "VIOLATED F3",
        "founding 3 3 2 faults=1 recover nobackup noshelf nosnap mut=recoverlive",
    ),
    (
        "VIOLATED F3",
        "founding 3 3 2 faults=1 recover nobackup noshelf nosnap mut=recovernocas",
    ),
    (
        "VIOLATED F3",
        "founding 3 3 2 faults=1 recover nobackup noshelf nosnap mut=recoverblind",
    ),
    (
        "VIOLATED F3",
        "founding 3 3 2 faults=1 recover nobackup noshelf nosnap mut=anyversion",
    ),
    (
        "VIOLATED F",
        "founding 3 3 2 faults=2 recover nobackup noshelf nosnap mut=volumefirst",
    ),
    (
        "VIOLATED F3",
        "founding 3 3 2 faults=3 recover nobackup noshelf nosnap mut=statusfirst",
    ),
    (
        "VIOLATED F3",
        "founding 3 3 2 faults=2 recover nobackup noshelf nosnap mut=statuslast",
    ),
    (
        "VIOLATED F3",
        "founding 3 3 2 faults=3 recover nobackup noshelf nosnap mut=noreread",
    ),
    (
        "VIOLATED F3",
        "founding 3 3 2 faults=3 recover nobackup noshelf nosnap mut=learnany",
    ),
    (
        "VIOLATED F3",
        "founding 3 3 2 faults=1 recover nobackup noshelf nosnap mut=leaseblind",
    ),
    (
        "VIOLATED F2",
        "founding 3 3 2 faults=1 recover nobackup noshelf nosnap mut=oldvotes",
    ),
    (
        "VIOLATED F2",
        "founding 3 3 2 faults=1 recover nobackup noshelf nosnap mut=byordinal",
    ),
    // Checkpoints, Config changes, the commit by counting.
    (HOLDS, "check 3 2 2"),
    ("VIOLATED", "check 3 4 0 hard mut=fig8"),
    ("VIOLATED", "check 4 2 0 reconfig hard mut=nojoint"),
    ("VIOLATED", "check 4 2 0 reconfig hard mut=earlyfinal"),
    ("VIOLATED", "check 3 2 1 ck=1 hard mut=nodirsync"),
    ("VIOLATED", "check 3 2 1 ck=1 hard mut=nosidesync"),
    ("VIOLATED", "check 3 2 1 ck=1 hard mut=dropfirst"),
    ("VIOLATED", "check 3 2 1 ck=1 hard mut=fetchbase"),
    ("VIOLATED", "check 3 2 1 ck=1 hard mut=prominside,noballot"),
    ("VIOLATED", "check 3 2 2 ck=1 hard mut=norecheck"),
    ("VIOLATED", "check 3 2 2 ck=1 mut=keepsuffix"),
    ("VIOLATED", "check 3 3 0 ck=1 hard mut=ckunapplied"),
    ("VIOLATED", "check 3 2 1 corr=1 hard mut=cleanearly"),
    ("VIOLATED L1", "live 3 2 0 ck=1 prevote mut=row12,nofetchck"),
    ("VIOLATED L2", "live 3 2 0 ck=1 mut=row12"),
    (
        "VIOLATED F0",
        "founding 3 1 2 faults=3 nobackup noshelf nosnap mut=majority,firstbymajority",
    ),
    (
        "VIOLATED F0",
        "founding 3 1 2 faults=3 nobackup noshelf nosnap mut=staleanswers,firstbymajority",
    ),
    ("VIOLATED F1", "founding 1 1 2 faults=3 mut=leaseblind"),
    // Documented: a Lease from before the recovery brings the old group back, and one volume rolled
    // back in place is enough.
    (
        "VIOLATED F3",
        "founding 3 3 2 faults=2 recover noshelf nosnap",
    ),
    (
        "VIOLATED F2",
        "founding 3 2 2 faults=1 nobackup noshelf inplace",
    ),
];

/// Longest first, so that no processor waits for the last one.
const LARGE: &[(&str, &str)] = &[
    (HOLDS, "check 3 3 1"),
    (HOLDS, "check 3 2 2 corr=1"),
    (HOLDS, "live 3 2 1 ck=1 prevote"),
    (HOLDS, "check 3 2 1 ck=2"),
    (HOLDS, "check 3 2 2 witness"),
    ("VIOLATED", "check 4 2 0 reconfig hard mut=oldcfg"),
    (HOLDS, "check 3 2 1 ck=1 witness"),
    (HOLDS, "check 3 2 1 corr=1"),
    ("VIOLATED W1", "check 3 3 0 corr=1 witness mut=nocutclean"),
    (
        "VIOLATED S",
        "check 4 2 1 rollback=1 corr=1 mut=formatstale,countsaside",
    ),
    (
        "VIOLATED S",
        "check 4 1 2 rollback=1 corr=1 mut=formatatstart",
    ),
    (HOLDS, "check 4 2 0 rollback=1"),
    (HOLDS, "check 4 1 1 rollback=1 corr=1"),
    (HOLDS, "check 3 3 0 grow"),
    (HOLDS, "live 4 1 0 join"),
    (HOLDS, "live 3 2 0 grow"),
    (HOLDS, "check 3 2 1 corr=1 witness"),
    (
        HOLDS,
        "founding 3 3 2 faults=3 recover nobackup noshelf nosnap",
    ),
    (HOLDS, "check 3 3 0"),
    (HOLDS, "founding 3 2 2 faults=2 nobackup noshelf"),
    (HOLDS, "check 3 2 1 ck=1"),
    (HOLDS, "check 4 1 0 changes=2"),
    (HOLDS, "live 3 2 0 ck=1"),
    (HOLDS, "live 3 2 0 ck=1 prevote"),
    (HOLDS, "check 3 2 1 lease=2"),
    (HOLDS, "founding 1 2 2 faults=3"),
];

/// One search, by its command line.
pub fn explore(args: &Args) -> Outcome {
    let (seconds, states) = (args.seconds(), args.states());
    match args.command() {
        "founding" => explore::check(&founding::Model::new(args), seconds, states),
        _ => explore::check(&group::Model::new(args), seconds, states),
    }
}

/// Runs the rows on all processors; true when each gave what it must.
pub fn run(small: bool) -> bool {
    let start = Instant::now();
    let large = if small { &[] } else { LARGE };
    let rows: Vec<_> = large.iter().chain(SMALL).collect();
    let (next, wrong) = (AtomicUsize::new(0), AtomicBool::new(false));
    let print = Mutex::new(());
    let work = || {
        while let Some((wanted, line)) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = explore(&Args::of_line(line)).line();
            let ok = outcome.contains(wanted);
            if !ok {
                wrong.store(true, Ordering::Relaxed);
            }
            let _one_line_at_a_time = print.lock();
            println!("{} {line}: {outcome}", if ok { "ok   " } else { "WRONG" });
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let wrong = wrong.load(Ordering::Relaxed);
    let (verdict, took) = (
        if wrong { "WRONG" } else { "all as it must be" },
        start.elapsed(),
    );
    println!(
        "{} searches in {:.0} s: {verdict}",
        rows.len(),
        took.as_secs_f64()
    );
    !wrong
}
