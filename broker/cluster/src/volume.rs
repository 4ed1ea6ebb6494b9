//! Row 16: does this volume belong to this place?
//!
//! | stamped ordinal | stamped volume id | group | verdict |
//! |---|---|---|---|
//! | own | that of the volume bound to this process, or neither has one | any | fits |
//! | another's | any | any | swapped: out of everything |
//! | own | another one | none | blank: to be formatted anew, under a new incarnation |
//! | own | another one | a group | foreign: a restored snapshot or a clone; out of everything |
//!
//! A snapshot restored under a new claim has promised and acknowledged what it does not remember any
//! more: if it voted as the member that it was, acknowledged messages could be lost (H26). A volume
//! that is bound again under a new claim keeps its id and fits (H31).

use tandemmq_journal::Identity;

use crate::NodeConfig;

/// What is to be done with a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeVerdict {
    /// It is this member's.
    Fits,
    /// It holds nothing: format it anew.
    FormatAnew,
    /// It is another's: it takes part in nothing, and nothing is written to it.
    KeptOut {
        /// `VolumeSwapped` or `VolumeForeign`.
        reason: &'static str,
        /// A sentence.
        text: String,
    },
}

/// Judges a volume by what is stamped into it and by where it is.
pub fn judge_volume(config: &NodeConfig, identity: &Identity) -> VolumeVerdict {
    if identity.member.ordinal != config.ordinal {
        return swapped(config, identity);
    }
    let bound = config.volume_id.as_deref();
    let stamped = identity.volume_id.as_deref();
    if bound == stamped {
        return VolumeVerdict::Fits;
    }
    if identity.group.is_none() {
        return VolumeVerdict::FormatAnew;
    }
    let name = |id: Option<&str>| id.unwrap_or("no volume that has a name").to_owned();
    VolumeVerdict::KeptOut {
        reason: "VolumeForeign",
        text: format!(
            "the data was written on {}, this is {}: a restored snapshot or a clone has no vote, \
             because it does not remember what it acknowledged; bring the old volume back, or delete \
             this claim and its pod to have the member rebuilt from its peers",
            name(stamped),
            name(bound)
        ),
    }
}

fn swapped(config: &NodeConfig, identity: &Identity) -> VolumeVerdict {
    let owner = config
        .members
        .get(usize::from(identity.member.ordinal))
        .map_or("no broker of this group", |peer| &*peer.name);
    VolumeVerdict::KeptOut {
        reason: "VolumeSwapped",
        text: format!(
            "{} has the volume of {owner}: swap the volumes back, nothing is read or written meanwhile",
            config.name
        ),
    }
}

#[cfg(test)]
mod tests {
    use tandemmq_engine::EngineConfig;
    use tandemmq_journal::{Founding, JournalConfig};
    use tandemmq_model::{GroupId, Incarnation, MemberId};

    use super::*;
    use crate::{Confirmation, PeerConfig, Timing};

    fn config(volume_id: Option<&str>) -> NodeConfig {
        let member = |ordinal: u8| PeerConfig {
            ordinal,
            name: format!("a-{ordinal}").into(),
        };
        NodeConfig {
            group: "a".into(),
            name: "a-1".into(),
            holder: None,
            ordinal: 1,
            volume_id: volume_id.map(Into::into),
            confirmation: Confirmation::ByOperator,
            members: (0..3).map(member).collect(),
            client_address: "a-1:61613".into(),
            timing: Timing::default(),
            journal: JournalConfig::default(),
            engine: EngineConfig::default(),
        }
    }

    fn identity(ordinal: u8, volume_id: Option<&str>, grouped: bool) -> Identity {
        let member = MemberId {
            ordinal,
            incarnation: Incarnation(7),
        };
        Identity {
            member,
            volume_id: volume_id.map(str::to_owned),
            group: grouped.then(|| Founding {
                id: GroupId(1),
                members: vec![member],
            }),
            former: Vec::new(),
        }
    }

    #[test]
    fn h26_restored_snapshot_of_a_member_is_kept_out_and_a_blank_one_is_formatted_anew() {
        let bound = config(Some("pv-restored"));
        let of_a_group = judge_volume(&bound, &identity(1, Some("pv-old"), true));
        assert!(
            matches!(&of_a_group, VolumeVerdict::KeptOut { reason: "VolumeForeign", text }
                if text.contains("pv-old") && text.contains("pv-restored")),
            "{of_a_group:?}"
        );
        assert_eq!(
            judge_volume(&bound, &identity(1, Some("pv-old"), false)),
            VolumeVerdict::FormatAnew
        );
    }

    #[test]
    fn h31_volume_that_is_bound_again_under_another_claim_fits() {
        // The claim's own name and UID are new then; the volume's name is not.
        let bound = config(Some("pv-1"));
        assert_eq!(
            judge_volume(&bound, &identity(1, Some("pv-1"), true)),
            VolumeVerdict::Fits
        );
    }

    #[test]
    fn volume_from_a_place_without_volume_ids_is_foreign_where_there_are_some() {
        let verdict = judge_volume(&config(Some("pv-1")), &identity(1, None, true));
        assert!(
            matches!(verdict, VolumeVerdict::KeptOut { .. }),
            "{verdict:?}"
        );
        let verdict = judge_volume(&config(None), &identity(1, Some("pv-1"), true));
        assert!(
            matches!(verdict, VolumeVerdict::KeptOut { .. }),
            "{verdict:?}"
        );
        assert_eq!(
            judge_volume(&config(None), &identity(1, None, true)),
            VolumeVerdict::Fits
        );
    }

    #[test]
    fn volume_of_another_place_is_swapped_whatever_its_id() {
        let verdict = judge_volume(&config(Some("pv-1")), &identity(2, Some("pv-1"), true));
        assert!(
            matches!(&verdict, VolumeVerdict::KeptOut { reason: "VolumeSwapped", text }
                if text.contains("a-2")),
            "{verdict:?}"
        );
    }
}
