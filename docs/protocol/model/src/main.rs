//! The group protocol, checked. The page beside this package says what is modelled.
//!
//! ```text
//! suite [small]                                holds where it should, breaks where it must
//! check 3 2 2                                  members epochs records
//! check 3 2 1 reconfig mut=ordinal             with one Config change and a mutation
//! check 3 2 1 lease=1 mut=bynumber             a Lease that forgets once
//! check 3 2 1 hard mut=nosync                  judged by the damage alone: I1, I6, I7
//! check 3 2 2 ck=2                             with two compactions; corr=1: a damaged journal
//! check 4 2 0 changes=2                        two Config changes
//! check 3 2 1 witness                          remembered acks accuse no healthy member
//! check 4 2 0 join                             the new voter is a blank volume that learns first
//! check 3 3 0 grow                             a recovered group of one, the others join in turn
//! check 4 2 0 rollback=1                       member 2 rolled back in place, accused, formatted
//! live 3 2 1 ck=1                              of every state: can each quorum get a master?
//! live 3 2 0 prevote unanimous                 the same with rows 1, 6, 17 as guards
//! walk 5 4 3 minutes=2                         random runs at larger bounds
//! founding 3 2 2 faults=3                      ordinals epochs records
//! founding 3 2 2 nobackup noshelf nosnap asks=1    kinds of faults left out
//! founding 3 3 2 faults=2 recover              starts founded; groups are recovered by hand
//! ```
//! `minutes=` and `states=` bound a search; what was cut off says so.

mod args;
mod explore;
mod founding;
mod group;
mod suite;

use std::process::ExitCode;

use args::Args;

fn main() -> ExitCode {
    let args = Args::of_process();
    let holds = match args.command() {
        "suite" => suite::run(args.has("small")),
        "walk" => group::walk::walk(&group::Model::new(&args), args.seconds()),
        "check" | "live" | "founding" => {
            let outcome = suite::explore(&args);
            println!("{outcome}");
            outcome.violated().is_none()
        }
        other => {
            eprintln!("no command {other:?}: suite, check, live, walk or founding");
            return ExitCode::from(2);
        }
    };
    if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
