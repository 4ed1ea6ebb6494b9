//! The contract suite of Lease stores: every store passes it, the simulator's too.
//!
//! A store is shown to the suite as a [`Bench`], which can make it empty, open one more handle
//! (another broker's) and break it. What the suite claims:
//!
//! - A read answers with the newest record, whole; an empty store with `Lease::default()`.
//! - A swap is done exactly when the store still holds the uid and revision it names: of two that
//!   name the same one is done, however long ago the other was read.
//! - A new version has a new revision; a new object has a new uid.
//! - `Conflict` and `Unavailable` have written nothing; `Unknown` all or nothing.
//!
//! Not here: how long a call may take (the shell's timeout), and what a store does when its content
//! is edited from outside.

use tandemmq_journal::Founding;
use tandemmq_model::{GroupId, Incarnation, MemberId};

use super::{Lease, LeaseAnswer, LeaseRecord, LeaseRequest, LeaseStore, Revision};

/// Swaps by others while one holder sleeps. More than any store keeps of old versions (a folder
/// keeps 16).
const SWAPS_WHILE_ASLEEP: u64 = 40;

/// How a store is broken from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It works.
    None,
    /// It cannot be reached.
    Unavailable,
    /// A swap is done, its answer is lost.
    AnswerLost,
    /// A swap is lost on its way, and so is the answer.
    RequestLost,
}

/// A store as the suite drives it.
pub trait Bench {
    /// Throws the store away and starts with an empty one that works.
    fn reset(&mut self);
    /// One more handle on the store, as another broker has it. Faults reach it too.
    fn open(&mut self) -> Box<dyn LeaseStore>;
    /// Breaks or heals the store.
    fn set_fault(&mut self, fault: Fault);
    /// Deletes the object from outside.
    fn delete(&mut self);
}

/// Runs the whole suite; panics with a sentence where the store breaks the contract.
pub fn check(bench: &mut dyn Bench) {
    let claims: [fn(&mut dyn Bench); 10] = [
        empty_store_reads_as_the_default,
        first_swap_makes_the_object_and_every_field_reads_back,
        swap_keeps_the_uid_and_makes_a_new_revision,
        of_two_racers_one_wins,
        swap_needs_the_exact_uid_and_revision,
        holder_that_slept_over_many_swaps_conflicts,
        no_update_is_lost_between_many_handles,
        deleted_lease_comes_back_under_another_uid,
        unavailable_store_has_written_nothing,
        unknown_swap_was_done_wholly_or_not_at_all,
    ];
    for claim in claims {
        bench.reset();
        claim(bench);
    }
}

fn empty_store_reads_as_the_default(bench: &mut dyn Bench) {
    let mut store = bench.open();
    assert_eq!(
        read(&mut *store),
        Lease::default(),
        "an empty store reads as the default"
    );
}

fn first_swap_makes_the_object_and_every_field_reads_back(bench: &mut dyn Bench) {
    let mut store = bench.open();
    let record = full_record();
    let written = done(swap(&mut *store, &Lease::default(), record.clone()));
    assert_eq!(
        written.record, record,
        "the answer of a swap is the record written"
    );
    assert_ne!(written.uid, "", "an object has a uid");
    assert_ne!(
        written.revision,
        Revision::default(),
        "a version has a revision"
    );
    assert_eq!(
        read(&mut *store),
        written,
        "a read answers what the swap answered"
    );
    assert_eq!(
        read(&mut *bench.open()),
        written,
        "another handle reads the same"
    );
}

fn swap_keeps_the_uid_and_makes_a_new_revision(bench: &mut dyn Bench) {
    let mut store = bench.open();
    let first = done(swap(&mut *store, &Lease::default(), held_by("one")));
    let second = done(swap(&mut *store, &first, held_by("two")));
    assert_eq!(second.uid, first.uid, "it is the same object");
    assert_ne!(second.revision, first.revision, "it is another version");
    let same = done(swap(&mut *store, &second, held_by("two")));
    assert_ne!(
        same.revision, second.revision,
        "a version that says the same is another version"
    );
}

fn of_two_racers_one_wins(bench: &mut dyn Bench) {
    let (mut one, mut two) = (bench.open(), bench.open());
    for round in 0..4 {
        let (seen, also_seen) = (read(&mut *one), read(&mut *two));
        assert_eq!(seen, also_seen, "both racers start from the same version");
        let won = done(swap(&mut *two, &also_seen, held_by("two")));
        let answer = swap(&mut *one, &seen, held_by("one"));
        assert_eq!(
            answer,
            LeaseAnswer::Conflict,
            "the later racer of round {round} conflicts"
        );
        assert_eq!(read(&mut *one), won, "the loser wrote nothing");
    }
}

fn swap_needs_the_exact_uid_and_revision(bench: &mut dyn Bench) {
    let mut store = bench.open();
    let made_up = Lease {
        uid: "u".into(),
        revision: Revision("1".into()),
        ..Lease::default()
    };
    let refused = swap(&mut *store, &made_up, held_by("one"));
    assert_eq!(
        refused,
        LeaseAnswer::Conflict,
        "an empty store holds no such version"
    );

    let first = done(swap(&mut *store, &Lease::default(), held_by("one")));
    let second = done(swap(&mut *store, &first, held_by("two")));
    for (uid, revision, why) in [
        (
            String::new(),
            Revision::default(),
            "the store is not empty any more",
        ),
        (
            second.uid.clone(),
            first.revision,
            "the revision is an old one",
        ),
        (
            second.uid.clone(),
            Revision("made up".into()),
            "there is no such revision",
        ),
        (
            "another object".into(),
            second.revision.clone(),
            "the uid is another object's",
        ),
        (String::new(), second.revision.clone(), "the uid is missing"),
    ] {
        let stale = Lease {
            uid,
            revision,
            ..Lease::default()
        };
        let answer = swap(&mut *store, &stale, held_by("three"));
        assert_eq!(answer, LeaseAnswer::Conflict, "{why}");
        assert_eq!(read(&mut *store), second, "a Conflict wrote nothing: {why}");
    }
}

fn holder_that_slept_over_many_swaps_conflicts(bench: &mut dyn Bench) {
    let (mut sleeper, mut other) = (bench.open(), bench.open());
    let seen = done(swap(&mut *sleeper, &Lease::default(), held_by("sleeper")));
    let mut newest = seen.clone();
    for _ in 0..SWAPS_WHILE_ASLEEP {
        newest = done(swap(&mut *other, &newest, held_by("other")));
    }
    let answer = swap(&mut *sleeper, &seen, held_by("sleeper"));
    assert_eq!(
        answer,
        LeaseAnswer::Conflict,
        "what the sleeper read is long gone"
    );
    assert_eq!(read(&mut *other), newest, "the sleeper wrote nothing");
}

fn no_update_is_lost_between_many_handles(bench: &mut dyn Bench) {
    let mut handles: Vec<_> = (0..3).map(|_| bench.open()).collect();
    let mut seen: Vec<Lease> = handles
        .iter_mut()
        .map(|handle| read(&mut **handle))
        .collect();
    let mut swapped = 0;
    for turn in 0..60_usize {
        // Every handle reads rarely and swaps often, so most swaps are stale.
        let at = (turn * 7 + turn / 5) % handles.len();
        if turn % 4 == 0 {
            seen[at] = read(&mut *handles[at]);
        }
        let mut record = seen[at].record.clone();
        record.epoch += 1;
        if let LeaseAnswer::Ok(lease) = swap(&mut *handles[at], &seen[at], record) {
            swapped += 1;
            seen[at] = lease;
        }
    }
    assert!(swapped > 3, "the handles did get to write");
    assert_eq!(
        read(&mut *handles[0]).record.epoch,
        swapped,
        "each swap counts once"
    );
}

fn deleted_lease_comes_back_under_another_uid(bench: &mut dyn Bench) {
    let mut store = bench.open();
    let before = done(swap(&mut *store, &Lease::default(), held_by("one")));
    bench.delete();
    assert_eq!(
        read(&mut *store),
        Lease::default(),
        "a deleted Lease reads as an empty store"
    );
    let stale = swap(&mut *store, &before, held_by("one"));
    assert_eq!(
        stale,
        LeaseAnswer::Conflict,
        "the object that was read is gone"
    );
    let after = done(swap(&mut *store, &Lease::default(), held_by("two")));
    assert_ne!(after.uid, before.uid, "a new object has a new uid");
    let stale = swap(&mut *store, &before, held_by("one"));
    assert_eq!(
        stale,
        LeaseAnswer::Conflict,
        "an old uid never fits the new object"
    );
}

fn unavailable_store_has_written_nothing(bench: &mut dyn Bench) {
    let mut store = bench.open();
    let before = done(swap(&mut *store, &Lease::default(), held_by("one")));
    bench.set_fault(Fault::Unavailable);
    for request in [LeaseRequest::Read, request(&before, held_by("two"))] {
        let answer = store.call(request.clone());
        assert!(
            matches!(answer, LeaseAnswer::Unavailable(_)),
            "{request:?} of a store that is away is Unavailable, not {answer:?}"
        );
    }
    bench.set_fault(Fault::None);
    assert_eq!(
        read(&mut *store),
        before,
        "an Unavailable swap wrote nothing"
    );
    done(swap(&mut *store, &before, held_by("two")));
}

fn unknown_swap_was_done_wholly_or_not_at_all(bench: &mut dyn Bench) {
    for fault in [Fault::AnswerLost, Fault::RequestLost] {
        bench.reset();
        let mut store = bench.open();
        let before = done(swap(&mut *store, &Lease::default(), held_by("one")));
        bench.set_fault(fault);
        let answer = swap(&mut *store, &before, full_record());
        assert_eq!(
            answer,
            LeaseAnswer::Unknown,
            "a swap without an answer is Unknown"
        );
        bench.set_fault(Fault::None);
        let now = read(&mut *store);
        if fault == Fault::AnswerLost {
            assert_eq!(now.record, full_record(), "the swap was done wholly");
            let again = swap(&mut *store, &before, held_by("two"));
            assert_eq!(again, LeaseAnswer::Conflict, "a blind repeat conflicts");
        } else {
            assert_eq!(now, before, "the swap was not done at all");
            done(swap(&mut *store, &before, held_by("two")));
        }
    }
}

// === helpers ===

fn read(store: &mut dyn LeaseStore) -> Lease {
    done(store.call(LeaseRequest::Read))
}

fn request(seen: &Lease, record: LeaseRecord) -> LeaseRequest {
    LeaseRequest::Swap {
        uid: seen.uid.clone(),
        revision: seen.revision.clone(),
        record,
    }
}

fn swap(store: &mut dyn LeaseStore, seen: &Lease, record: LeaseRecord) -> LeaseAnswer {
    store.call(request(seen, record))
}

fn done(answer: LeaseAnswer) -> Lease {
    match answer {
        LeaseAnswer::Ok(lease) => lease,
        other => panic!("a call that nothing stands against is done, not {other:?}"),
    }
}

fn held_by(holder: &str) -> LeaseRecord {
    LeaseRecord {
        holder: holder.into(),
        ..LeaseRecord::default()
    }
}

/// A record whose fields are all different from the default and from each other, with characters
/// that a text format has to escape.
fn full_record() -> LeaseRecord {
    let founding = |id: u128| Founding {
        id: GroupId(id),
        members: (0..3)
            .map(|ordinal| MemberId {
                ordinal,
                incarnation: Incarnation(u128::MAX - id - u128::from(ordinal)),
            })
            .collect(),
    };
    LeaseRecord {
        holder: "a-1_\"quoted\"\\_\u{e9}\n".into(),
        // The year 2100: a Lease of Kubernetes holds dates.
        renewed_ms: 4_102_444_800_123,
        epoch: u64::MAX,
        master_epoch: 7,
        master_address: "127.0.0.1:61613".into(),
        handover_to: "a-2".into(),
        promote_to: "a-0".into(),
        group_proposal: Some(founding(1)),
        group: Some(founding(u128::MAX / 3)),
    }
}

#[cfg(test)]
mod tests;
