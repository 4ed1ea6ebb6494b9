//! The suite itself: a right store passes, and each way to be wrong is found.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;

/// How the store under test is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    No,
    IgnoresUid,
    IgnoresRevision,
    UidSurvivesDelete,
    WritesThoughUnavailable,
    ForgetsPromoteTo,
    ReusesRevision,
}

struct Shared {
    wrong: Wrong,
    fault: Fault,
    lease: Lease,
    objects: u64,
    revisions: u64,
}

struct Handle(Rc<RefCell<Shared>>);

struct MemoryBench(Rc<RefCell<Shared>>);

impl Shared {
    fn new(wrong: Wrong) -> Self {
        Self {
            wrong,
            fault: Fault::None,
            lease: Lease::default(),
            objects: 0,
            revisions: 0,
        }
    }

    fn swap(&mut self, uid: &str, revision: &Revision, record: LeaseRecord) -> LeaseAnswer {
        let uid_fits = uid == self.lease.uid || self.wrong == Wrong::IgnoresUid;
        let revision_fits =
            *revision == self.lease.revision || self.wrong == Wrong::IgnoresRevision;
        if !uid_fits || !revision_fits {
            return LeaseAnswer::Conflict;
        }
        if self.lease.uid.is_empty() {
            self.objects += u64::from(self.wrong != Wrong::UidSurvivesDelete);
            self.lease.uid = format!("uid {}", self.objects);
        }
        self.revisions += u64::from(self.wrong != Wrong::ReusesRevision || self.revisions == 0);
        self.lease.revision = Revision(self.revisions.to_string());
        self.lease.record = record;
        if self.wrong == Wrong::ForgetsPromoteTo {
            self.lease.record.promote_to.clear();
        }
        LeaseAnswer::Ok(self.lease.clone())
    }
}

impl LeaseStore for Handle {
    fn call(&mut self, request: LeaseRequest) -> LeaseAnswer {
        let mut shared = self.0.borrow_mut();
        let lost = matches!(shared.fault, Fault::Unavailable | Fault::RequestLost);
        let answer = match request {
            _ if lost && shared.wrong != Wrong::WritesThoughUnavailable => LeaseAnswer::Unknown,
            LeaseRequest::Read => LeaseAnswer::Ok(shared.lease.clone()),
            LeaseRequest::Swap {
                uid,
                revision,
                record,
            } => shared.swap(&uid, &revision, record),
        };
        match shared.fault {
            Fault::None => answer,
            Fault::Unavailable => LeaseAnswer::Unavailable("away".into()),
            Fault::AnswerLost | Fault::RequestLost => LeaseAnswer::Unknown,
        }
    }
}

impl Bench for MemoryBench {
    fn reset(&mut self) {
        let wrong = self.0.borrow().wrong;
        *self.0.borrow_mut() = Shared::new(wrong);
    }

    fn open(&mut self) -> Box<dyn LeaseStore> {
        Box::new(Handle(Rc::clone(&self.0)))
    }

    fn set_fault(&mut self, fault: Fault) {
        self.0.borrow_mut().fault = fault;
    }

    fn delete(&mut self) {
        self.0.borrow_mut().lease = Lease::default();
    }
}

fn run(wrong: Wrong) {
    check(&mut MemoryBench(Rc::new(RefCell::new(Shared::new(wrong)))));
}

#[test]
fn a_right_store_passes() {
    run(Wrong::No);
}

#[test]
fn every_wrong_store_is_found() {
    for wrong in [
        Wrong::IgnoresUid,
        Wrong::IgnoresRevision,
        Wrong::UidSurvivesDelete,
        Wrong::WritesThoughUnavailable,
        Wrong::ForgetsPromoteTo,
        Wrong::ReusesRevision,
    ] {
        let found = std::panic::catch_unwind(|| run(wrong)).is_err();
        assert!(found, "a store that is wrong by {wrong:?} must not pass");
    }
}
