//! Who is master, by the contract: the pod with the highest epoch that says master and serving,
//! and that a majority of the group's pods (itself included) names with that epoch.
//!
//! The Lease is not asked: it says who wants to be, the members say whom they follow.

use crate::observe::GroupSeen;
use crate::observe::pod::Seat;
use crate::observe::report::Report;

/// The master of a group.
#[derive(Debug, Clone, Copy)]
pub struct Master<'a> {
    /// Its place.
    pub seat: &'a Seat,
    /// What it says.
    pub report: &'a Report,
}

/// Finds the master.
#[must_use]
pub fn master_of(group: &GroupSeen) -> Option<Master<'_>> {
    group
        .seats
        .iter()
        .filter_map(|seat| {
            let report = seat.report().filter(|r| r.claims_to_serve())?;
            Some(Master { seat, report })
        })
        .max_by_key(|master| master.report.epoch)
        .filter(|master| followers(group, master) >= group.quorum())
}

/// Pods that name this master with this epoch, itself included.
fn followers(group: &GroupSeen, master: &Master<'_>) -> usize {
    let follows = |seat: &&Seat| {
        seat.pod == master.seat.pod
            || seat
                .report()
                .and_then(|r| r.master.as_ref())
                .is_some_and(|m| m.name == master.seat.pod && m.epoch == master.report.epoch)
    };
    group.seats.iter().filter(follows).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::testing::{group, says};

    fn name(group: &GroupSeen) -> Option<&str> {
        master_of(group).map(|m| m.seat.pod.as_str())
    }

    #[test]
    fn a_majority_makes_the_master_and_the_lease_does_not() {
        let mut it = group(3);
        says(&mut it, 0, |r| r.reigns(4, 0));
        says(&mut it, 1, |r| r.follows(4, 0));
        assert_eq!(name(&it), Some("orders-a-0"));
    }

    #[test]
    fn a_master_that_only_itself_believes_in_is_none() {
        let mut it = group(3);
        says(&mut it, 0, |r| r.reigns(4, 0));
        says(&mut it, 1, |r| r.follows(3, 0));
        assert_eq!(name(&it), None);
    }

    #[test]
    fn of_two_that_claim_it_the_higher_epoch_counts() {
        let mut it = group(3);
        says(&mut it, 0, |r| r.reigns(4, 0));
        says(&mut it, 1, |r| r.follows(5, 2));
        says(&mut it, 2, |r| r.reigns(5, 2));
        assert_eq!(name(&it), Some("orders-a-2"));
    }

    #[test]
    fn a_master_that_does_not_serve_is_none() {
        let mut it = group(1);
        says(&mut it, 0, |r| {
            r.reigns(4, 0);
            r.serving = false;
        });
        assert_eq!(name(&it), None);
        says(&mut it, 0, |r| r.reigns(4, 0));
        assert_eq!(name(&it), Some("orders-a-0"));
    }
}
