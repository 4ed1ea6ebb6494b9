//! In which format of the journal a master writes.
//!
//! ```text
//! format of the log --all voters are heard and understand a greater one--> that one
//!        ^-------------------------- everything else ----------------------------+
//! ```
//! The number stands in the header of every batch, and that is all that is recorded: the log itself
//! says in which format it is, a cut of an uncommitted batch takes it back, and no second fact can
//! disagree. A master never goes below its log. A member that has one batch of a greater format
//! cannot go back to a version that does not understand it; so all voters must understand it
//! first, not a quorum: else a member that was away would come back to a log it cannot read.
//!
//! Whoever does not understand the log is sent nothing of it, may vote, and is not in step.

use tandemmq_model::{Incarnation, MemberId};

use super::Group;
use super::quorum::Voters;

/// The format of the next batch: `log` is that of the log, `said` the greatest one of each member
/// that is heard, oneself included.
fn to_write(log: u16, voters: &Voters, said: &[(Incarnation, u16)]) -> u16 {
    let greatest = |member: &MemberId| {
        let known = said.iter().find(|(who, _)| *who == member.incarnation);
        known.map_or(0, |(_, greatest)| *greatest)
    };
    let all = voters.members().iter().chain(voters.joining());
    let agreed = all.map(greatest).min();
    agreed.map_or(log, |agreed| agreed.max(log))
}

impl Group {
    /// The format of this master's next batch.
    pub(crate) fn format_to_write(&self) -> u16 {
        let log = self.journal.format();
        let serves = self.master().is_some_and(|master| master.serving);
        let Some(voters) = self.voters.as_ref().filter(|_| serves) else {
            return log;
        };
        let own = (self.me.incarnation, self.journal.format_max());
        let others = self.peers.iter().filter(|peer| peer.is_heard());
        let others = others.filter_map(|peer| Some((peer.member?.incarnation, peer.format_max())));
        let said: Vec<_> = std::iter::once(own).chain(others).collect();
        to_write(log, voters, &said)
    }

    /// That member can read this log as it goes on now.
    pub(super) fn understands_log(&self, ordinal: u8) -> bool {
        let format = self.journal.format();
        self.peer(ordinal)
            .is_some_and(|peer| peer.understands(format))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn member(n: u8) -> MemberId {
        MemberId {
            ordinal: n % 10,
            incarnation: Incarnation(1 + n as u128),
        }
    }

    fn three() -> Voters {
        Voters::new((0..3).map(member).collect())
    }

    fn said(greatest: &[u16]) -> Vec<(Incarnation, u16)> {
        let places = (0..).zip(greatest);
        places
            .map(|(n, greatest)| (member(n).incarnation, *greatest))
            .collect()
    }

    #[test]
    fn format_is_raised_once_every_voter_said_that_it_understands() {
        assert_eq!(to_write(1, &three(), &said(&[2, 2, 1])), 1, "one is older");
        assert_eq!(to_write(1, &three(), &said(&[2, 2])), 1, "one is not heard");
        assert_eq!(to_write(1, &three(), &said(&[2, 2, 2])), 2);
        assert_eq!(to_write(1, &three(), &said(&[4, 3, 9])), 3, "the least");
    }

    #[test]
    fn format_is_never_lowered() {
        assert_eq!(to_write(2, &three(), &said(&[2, 1, 1])), 2);
        assert_eq!(to_write(2, &three(), &said(&[2])), 2);
    }

    #[test]
    fn newcomer_of_a_change_under_way_is_asked_too_and_a_stranger_is_not() {
        let joint = three().with(member(12));
        let mut heard = said(&[2, 2, 2]);
        assert_eq!(to_write(1, &joint, &heard), 1, "the newcomer is not heard");
        heard.push((member(12).incarnation, 2));
        assert_eq!(to_write(1, &joint, &heard), 2);
        heard.push((member(13).incarnation, 1));
        assert_eq!(to_write(1, &joint, &heard), 2, "a stranger has no say");
    }
}
