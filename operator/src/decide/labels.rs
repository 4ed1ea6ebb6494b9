//! The role label of the pods, repeated: the brokers write it themselves; an old master on a lost
//! node cannot, and the Services go by it.
//!
//! Only while a master is known: without one the brokers know better.

use crate::decide::step::Step;
use crate::observe::GroupSeen;

/// The label changes of a group whose master is `master`.
#[must_use]
pub fn decide(group: &GroupSeen, master: Option<&str>) -> Vec<Step> {
    let Some(master) = master else {
        return vec![];
    };
    let change = |seat: &crate::observe::pod::Seat| {
        let pod = seat.seen.as_ref()?;
        let role = if seat.pod == master {
            "master"
        } else {
            "slave"
        };
        (pod.role.as_deref() != Some(role)).then(|| Step::LabelPod {
            pod: seat.pod.clone(),
            uid: pod.uid.clone(),
            role,
        })
    };
    group.seats.iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::testing::healthy;
    use crate::observe::report::Answer;

    #[test]
    fn an_old_master_that_nobody_reaches_is_labelled_slave() {
        let mut it = healthy();
        for (ordinal, role) in [(0, "master"), (1, "master"), (2, "slave")] {
            it.seats[ordinal].seen.as_mut().unwrap().role = Some(role.into());
        }
        it.seats[0].answer = Answer::Silent;
        let steps = decide(&it, Some("orders-a-1"));
        let wanted = Step::LabelPod {
            pod: "orders-a-0".into(),
            uid: "pod0".into(),
            role: "slave",
        };
        assert_eq!(steps, [wanted]);
    }

    #[test]
    fn without_a_master_no_label_is_touched() {
        assert_eq!(decide(&healthy(), None), []);
    }
}
