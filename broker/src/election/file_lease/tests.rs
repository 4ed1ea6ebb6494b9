//! `FileLease` against the contract suite, and what only a folder can do wrong.

use std::cell::Cell;
use std::rc::Rc;

use tandemmq_cluster::lease::contract::{self, Bench, Fault};

use super::*;
use crate::testing::TempDir;

struct FolderBench {
    folder: TempDir,
    fault: Rc<Cell<Fault>>,
}

/// A handle whose calls or answers get lost, as they do when the shell's time limit ends.
struct Lossy {
    inner: FileLease,
    fault: Rc<Cell<Fault>>,
}

impl FolderBench {
    fn new() -> Self {
        Self {
            folder: TempDir::new(),
            fault: Rc::new(Cell::new(Fault::None)),
        }
    }

    fn lease_dir(&self) -> PathBuf {
        self.folder.path().join("lease")
    }

    fn away(&self) -> PathBuf {
        self.folder.path().join("away")
    }

    fn store(&self, owner: &str) -> FileLease {
        FileLease::open(&self.lease_dir(), owner).unwrap()
    }
}

impl Bench for FolderBench {
    fn reset(&mut self) {
        self.set_fault(Fault::None);
        if self.lease_dir().exists() {
            fs::remove_dir_all(self.lease_dir()).unwrap();
        }
    }

    fn open(&mut self) -> Box<dyn LeaseStore> {
        Box::new(Lossy {
            inner: self.store("a-0"),
            fault: Rc::clone(&self.fault),
        })
    }

    fn set_fault(&mut self, fault: Fault) {
        let was = self.fault.replace(fault);
        if fault == Fault::Unavailable {
            fs::rename(self.lease_dir(), self.away()).unwrap();
        } else if was == Fault::Unavailable {
            fs::rename(self.away(), self.lease_dir()).unwrap();
        }
    }

    fn delete(&mut self) {
        let store = self.store("operator");
        for revision in store.revisions().unwrap() {
            fs::remove_file(store.path(revision)).unwrap();
        }
    }
}

impl LeaseStore for Lossy {
    fn call(&mut self, request: LeaseRequest) -> LeaseAnswer {
        match self.fault.get() {
            Fault::None | Fault::Unavailable => self.inner.call(request),
            Fault::RequestLost => LeaseAnswer::Unknown,
            Fault::AnswerLost => {
                self.inner.call(request);
                LeaseAnswer::Unknown
            }
        }
    }
}

fn held_by(holder: &str) -> LeaseRecord {
    LeaseRecord {
        holder: holder.into(),
        ..LeaseRecord::default()
    }
}

fn swap(store: &FileLease, seen: &Lease, holder: &str) -> LeaseAnswer {
    store.swap(&seen.uid, &seen.revision, held_by(holder))
}

fn swapped(store: &FileLease, seen: &Lease, holder: &str) -> Lease {
    match swap(store, seen, holder) {
        LeaseAnswer::Ok(lease) => lease,
        other => panic!("nothing stands against this swap, but it ended as {other:?}"),
    }
}

#[test]
fn file_lease_passes_the_contract_suite() {
    contract::check(&mut FolderBench::new());
}

#[test]
fn holder_stopped_before_its_link_conflicts_when_its_revision_was_pruned() {
    let bench = FolderBench::new();
    let (sleeper, other) = (bench.store("a-0"), bench.store("a-1"));
    let first = swapped(&other, &Lease::default(), "other");
    let prepared = sleeper.prepare(&first.uid, &first.revision, held_by("sleeper"));
    let prepared = prepared.unwrap().expect("the version is the newest still");
    let mut newest = first;
    for _ in 0..=KEPT_REVISIONS + 1 {
        newest = swapped(&other, &newest, "other");
    }
    assert!(
        !sleeper.path(2).exists(),
        "the revision the sleeper is about to link was pruned"
    );
    assert_eq!(sleeper.publish(prepared), LeaseAnswer::Conflict);
    assert!(
        !sleeper.path(2).exists(),
        "the sleeper took its file away again"
    );
    assert_eq!(other.read().unwrap().1, newest);
}

#[test]
fn holder_stopped_before_its_link_conflicts_when_the_lease_was_deleted() {
    let mut bench = FolderBench::new();
    let (sleeper, other) = (bench.store("a-0"), bench.store("a-1"));
    let first = swapped(&other, &Lease::default(), "other");
    let prepared = sleeper.prepare(&first.uid, &first.revision, held_by("sleeper"));
    let prepared = prepared.unwrap().expect("the version is the newest still");
    bench.delete();
    assert_eq!(sleeper.publish(prepared), LeaseAnswer::Conflict);
    assert_eq!(
        other.read().unwrap().1,
        Lease::default(),
        "the deleted Lease stays deleted"
    );
}

#[test]
fn first_swap_stopped_before_its_link_conflicts_when_revision_1_was_pruned() {
    let bench = FolderBench::new();
    let (sleeper, other) = (bench.store("a-0"), bench.store("a-1"));
    let prepared = sleeper.prepare("", &Revision::default(), held_by("sleeper"));
    let prepared = prepared.unwrap().expect("the store is empty");
    let mut newest = Lease::default();
    for _ in 0..=KEPT_REVISIONS {
        newest = swapped(&other, &newest, "other");
    }
    assert!(!sleeper.path(1).exists(), "revision 1 was pruned");
    assert_eq!(sleeper.publish(prepared), LeaseAnswer::Conflict);
    assert_eq!(
        other.revisions().unwrap().first(),
        Some(&2),
        "the sleeper's file is gone"
    );
}

#[test]
fn swap_that_was_followed_before_it_looked_was_done_all_the_same() {
    let bench = FolderBench::new();
    let (one, two) = (bench.store("a-0"), bench.store("a-1"));
    let first = swapped(&one, &Lease::default(), "one");
    let second = swapped(&one, &first, "one");
    let third = swapped(&two, &second, "two");
    assert!(
        one.settle(1, 2).unwrap(),
        "revision 2 was the first of its number"
    );
    assert_eq!(two.read().unwrap().1, third);
}

#[test]
fn of_two_prepared_swaps_one_is_linked() {
    let bench = FolderBench::new();
    let (one, two) = (bench.store("a-0"), bench.store("a-1"));
    let prepare = |store: &FileLease, holder| {
        store
            .prepare("", &Revision::default(), held_by(holder))
            .unwrap()
            .expect("it is empty")
    };
    let (first, second) = (prepare(&one, "one"), prepare(&two, "two"));
    assert!(matches!(two.publish(second), LeaseAnswer::Ok(_)));
    assert_eq!(one.publish(first), LeaseAnswer::Conflict);
    assert_eq!(one.read().unwrap().1.record.holder, "two");
}

#[test]
fn racing_threads_lose_no_update() {
    const THREADS: usize = 4;
    const SWAPS: u64 = 25;
    let bench = FolderBench::new();
    let folder = bench.lease_dir();
    let run = |index: usize| {
        let store = FileLease::open(&folder, &format!("a-{index}")).unwrap();
        let mut done = 0;
        while done < SWAPS {
            let (_, seen) = store.read().unwrap();
            let mut record = seen.record.clone();
            record.epoch += 1;
            match store.swap(&seen.uid, &seen.revision, record) {
                LeaseAnswer::Ok(_) => done += 1,
                LeaseAnswer::Conflict => {}
                other => panic!("a working folder answers Ok or Conflict, not {other:?}"),
            }
        }
    };
    // Threads on a real folder: what is claimed is about the file system's `link`.
    std::thread::scope(|scope| {
        for index in 0..THREADS {
            let run = &run;
            scope.spawn(move || run(index));
        }
    });
    let (_, last) = bench.store("a-0").read().unwrap();
    assert!(
        last.record.epoch >= THREADS as u64 * SWAPS,
        "every Ok is in the count"
    );
}

#[test]
fn the_last_sixteen_revisions_are_kept_and_nothing_temporary_stays() {
    let bench = FolderBench::new();
    let store = bench.store("a-0");
    let mut newest = Lease::default();
    for _ in 0..40 {
        newest = swapped(&store, &newest, "one");
    }
    assert_eq!(store.revisions().unwrap(), (25..=40).collect::<Vec<_>>());
    let files = fs::read_dir(bench.lease_dir()).unwrap().count();
    assert_eq!(files, 16, "no temporary file stays");
}

#[test]
fn leftovers_of_the_same_owner_are_removed_at_open() {
    let bench = FolderBench::new();
    bench.store("a-0");
    let own = bench.lease_dir().join(".lease-a-0.12.tmp");
    let others = bench.lease_dir().join(".lease-a-1.12.tmp");
    for path in [&own, &others] {
        fs::write(path, "half").unwrap();
    }
    bench.store("a-0");
    assert!(!own.exists() && others.exists());
}

#[test]
fn damaged_file_is_unavailable_and_names_the_damage() {
    let bench = FolderBench::new();
    let mut store = bench.store("a-0");
    fs::write(store.path(7), "{\"uid\":").unwrap();
    let LeaseAnswer::Unavailable(text) = store.call(LeaseRequest::Read) else {
        panic!("a damaged file cannot be read");
    };
    assert!(text.contains("damaged"), "{text}");
}
