//! The simulated store alone, and against the suite of all stores.

use std::cell::RefCell;
use std::rc::Rc;

use tandemmq_cluster::lease::contract::{self, Bench, Fault};

use super::*;

/// One store behind many handles, broken the way the suite wants it.
#[derive(Clone)]
struct Shared(Rc<RefCell<(SimLease, Fault)>>);

impl LeaseStore for Shared {
    fn call(&mut self, request: LeaseRequest) -> LeaseAnswer {
        let (store, fault) = &mut *self.0.borrow_mut();
        match fault {
            Fault::None => store.call(request),
            Fault::Unavailable => LeaseAnswer::Unavailable("away".to_owned()),
            Fault::RequestLost => LeaseAnswer::Unknown,
            Fault::AnswerLost => {
                store.call(request);
                LeaseAnswer::Unknown
            }
        }
    }
}

impl Bench for Shared {
    fn reset(&mut self) {
        *self.0.borrow_mut() = (SimLease::new(), Fault::None);
    }

    fn open(&mut self) -> Box<dyn LeaseStore> {
        Box::new(self.clone())
    }

    fn set_fault(&mut self, fault: Fault) {
        self.0.borrow_mut().1 = fault;
    }

    fn delete(&mut self) {
        self.0.borrow_mut().0.delete();
    }
}

#[test]
fn the_simulated_store_passes_the_contract_of_every_store() {
    contract::check(&mut Shared(Rc::new(RefCell::new((
        SimLease::new(),
        Fault::None,
    )))));
}

fn swap(store: &mut SimLease, read: &Lease, holder: &str) -> LeaseAnswer {
    let record = LeaseRecord {
        holder: holder.to_owned(),
        ..read.record.clone()
    };
    store.call(LeaseRequest::Swap {
        uid: read.uid.clone(),
        revision: read.revision.clone(),
        record,
    })
}

#[test]
fn of_two_swaps_that_read_the_same_version_one_conflicts() {
    let mut store = SimLease::new();
    let read = Lease::default();
    assert!(matches!(swap(&mut store, &read, "a"), LeaseAnswer::Ok(_)));
    assert_eq!(swap(&mut store, &read, "b"), LeaseAnswer::Conflict);
    assert_eq!(store.current().record.holder, "a");
}

#[test]
fn a_deleted_lease_comes_back_under_another_uid() {
    let mut store = SimLease::new();
    swap(&mut store, &Lease::default(), "a");
    let before = store.current().clone();
    store.delete();
    assert_eq!(swap(&mut store, &before, "a"), LeaseAnswer::Conflict);
    assert!(matches!(
        swap(&mut store, &Lease::default(), "b"),
        LeaseAnswer::Ok(_)
    ));
    assert_ne!(store.current().uid, before.uid);
}

#[test]
fn a_restored_backup_may_use_a_version_twice() {
    let mut store = SimLease::new();
    swap(&mut store, &Lease::default(), "a");
    let first = store.current().clone();
    swap(&mut store, &first, "b");
    let second = store.current().clone();
    assert!(store.restore(1, RestoredRevision::Reused, |_| true));
    assert_eq!(store.current().record.holder, "a");
    assert_eq!(
        store.current().revision,
        first.revision,
        "the counter went back too"
    );
    let restored = store.current().clone();
    swap(&mut store, &restored, "c");
    assert_eq!(store.current().revision, second.revision);
}
